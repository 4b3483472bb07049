//! The flags, made from the table of keys. Values stay text here: what is wrong with them is told
//! together with everything else that is wrong.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};

use crate::config::node::Raw;
use crate::config::settings::{KEYS, Key, Settings};

/// What the command line says about the configuration.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The keys that flags set.
    pub keys: Vec<(&'static Key, Raw)>,
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help("Configuration file; `tickloom.toml` in the working folder if there is one");
        command.arg(config).args(KEYS.iter().filter_map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn argument(key: &'static Key) -> Option<Arg> {
    let flag = key.flag?;
    let shown = (key.show)(&Settings::default());
    let about = key.about.iter().map(|line| line.trim()).collect::<Vec<_>>();
    let default = match flag.value_name {
        Some(_) => format!(" [default: {}]", shown.trim_matches('"')),
        None => String::new(),
    };
    let sources = format!("{default} [env: {}]", key.variable());
    let sentence = about.join(" ");
    let sentence = sentence.split_once(". ").map_or(&*sentence, |(first, _)| first);
    let arg = Arg::new(flag.name)
        .long(flag.name)
        .help(format!("{}{sources}", sentence.trim_end_matches('.')))
        .long_help(format!("{}\n{}", about.join("\n"), sources.trim()));
    Some(match flag.value_name {
        Some(value_name) => arg.value_name(value_name).allow_negative_numbers(true),
        None => arg.action(ArgAction::SetTrue),
    })
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let keys = KEYS.iter().filter_map(|key| {
            let flag = key.flag?;
            let raw = match flag.value_name {
                Some(_) => Raw::Word(matches.get_one::<String>(flag.name)?.clone()),
                None if matches.get_flag(flag.name) => Raw::Bool(true),
                None => return None,
            };
            Some((key, raw))
        });
        Ok(Self { config: matches.get_one("config").cloned(), keys: keys.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
