//! `tickloom codegen`: room types in, a module of types out.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tickloom_server::Config;
use tickloom_server::bindings::typescript;
use tickloom_server::config::layers::Asked;
use tickloom_server::config::problem::Problem;
use tickloom_server::config::suggestions::nearest;
use tickloom_server::rooms::{RoomTypes, built_in_types};

/// The languages there are.
#[derive(Subcommand)]
pub enum Language {
    /// TypeScript, for `@tickloom/client`: a type and a constant to join with for each room type
    Ts(Wish),
}

/// What was asked for.
#[derive(Args)]
pub struct Wish {
    /// The room types; all that a server with this configuration has, when none is named
    #[arg(value_name = "TYPE")]
    room_types: Vec<String>,
    /// The configuration that describes rooms; `tickloom.toml` in the working folder if there is
    /// one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to write it; standard output without. A file that says the same is left alone
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write nothing, and exit with 1 if the file would change
    #[arg(long, requires = "out")]
    check: bool,
}

/// Writes TypeScript.
///
/// # Errors
/// What is wrong with what was asked for.
pub fn typescript_of(wish: &Wish, asked: &Asked) -> Result<ExitCode, Problem> {
    let tick_rate_hz = asked.settings.tick.rate.value.0;
    let config = Config { rooms: asked.rooms.clone(), tick_rate_hz, ..Config::loopback() };
    let text = text(&built_in_types(&config), &wish.room_types)?;
    let Some(file) = &wish.out else { return Ok(super::print(&text)) };
    let name = file.display();
    let is_same = match fs::read(file) {
        Ok(bytes) => bytes == text.as_bytes(),
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(Problem::new(format!("cannot read `{name}`: {error}"))),
    };
    if is_same {
        return Ok(super::print(&format!("{name} is up to date\n")));
    }
    if wish.check {
        return Ok(outdated(file));
    }
    let written = fs::write(file, text);
    written.map_err(|error| Problem::new(format!("cannot write `{name}`: {error}")))?;
    Ok(super::print(&format!("wrote {name}\n")))
}

fn text(room_types: &RoomTypes, wanted: &[String]) -> Result<String, Problem> {
    let all = room_types.by_name();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains_key(&***name)) {
        let problem = Problem::new(format!("there is no room type `{unknown}`"));
        let names: Vec<String> = all.keys().map(|name| format!("`{name}`")).collect();
        let problem =
            problem.note(format!("with this configuration there are {}", names.join(", ")));
        let near = nearest(unknown, all.keys().copied());
        let near = near.map(|name| format!("did you mean `{name}`?"));
        return Err(problem.help(near.unwrap_or_else(|| {
            "name the configuration that describes it with --config".to_owned()
        })));
    }
    let chosen = all
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == **name));
    Ok(typescript(chosen.map(|(_, room_type)| &***room_type)))
}

fn outdated(file: &Path) -> ExitCode {
    let problem = Problem::new(format!("`{}` is not what the room types make", file.display()));
    let problem = problem.help("the same command without --check writes it");
    eprintln!("{}", problem.render(None, &super::renderer()));
    ExitCode::FAILURE
}
