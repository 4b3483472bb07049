//! What `config default` and `config effective` print. Both are configuration files themselves.

use std::fmt::Write;

use crate::config::layers::Asked;
use crate::config::settings::{KEYS, SECTIONS, Settings};
use crate::config::{Config, describe_cores};

const HEAD: &str = "\
# tickloom.toml: every key may be left out; what stands here are the defaults.
# Durations are \"250ms\", \"10s\", \"2m\" or \"1h\", sizes \"64KiB\", \"1MiB\" or \"10kB\",
# rates 20 or \"20/s\".
# The variable named with a key wins over this file, its flag over both.
";

/// Described room types, for people who have seen none yet.
pub const ROOMS_EXAMPLE: &str = include_str!("rooms_example.toml");

/// The file with all defaults.
#[must_use]
pub fn default_page() -> String {
    let settings = Settings::default();
    let mut page = HEAD.to_owned();
    for (section, about) in SECTIONS {
        let _ = writeln!(page, "\n#{about}\n[{section}]");
        for key in KEYS.iter().filter(|key| key.section == *section) {
            for line in key.about {
                let _ = writeln!(page, "#{line}");
            }
            let flag = key.flag.map_or_else(String::new, |flag| format!(" or --{}", flag.name));
            let _ = writeln!(page, "# Takes {}; {}{flag}.", (key.accepts)(), key.variable());
            let _ = writeln!(page, "{} = {}", key.name, (key.show)(&settings));
        }
    }
    page.push_str("\n# Room types that need no code, one table each. An example:\n");
    for line in ROOMS_EXAMPLE.lines() {
        let _ = writeln!(page, "{}", format!("# {line}").trim_end());
    }
    page
}

/// What holds here and now, and why.
#[must_use]
pub fn effective_page(asked: &Asked, config: &Config) -> String {
    let lines = KEYS.iter().map(|key| format!("{} = {}", key.name, (key.show)(&asked.settings)));
    let lines: Vec<String> = lines.collect();
    let width = lines.iter().map(String::len).max().unwrap_or_default();
    let mut page = String::new();
    let mut section = "";
    for (key, line) in KEYS.iter().zip(&lines) {
        if key.section != section {
            section = key.section;
            let gap = if page.is_empty() { "" } else { "\n" };
            let _ = writeln!(page, "{gap}[{section}]");
        }
        let _ = writeln!(page, "{line:width$}  # {}", (key.origin)(&asked.settings));
    }
    let (cores, connections_max) = (describe_cores(&config.cores), config.connections_max);
    let _ = writeln!(page, "\n# Here that is {cores} and {connections_max} connections.");
    for (name, description) in &asked.rooms {
        let (components, topics) = (description.components.len(), description.topics.len());
        let from = asked.file.as_ref().map_or("", |file| &file.name);
        let _ = writeln!(
            page,
            "# [rooms.{name}] comes from {from}: components {components}, topics {topics}."
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::layers::Layers;
    use crate::config::problem::Source;
    use crate::config::settings::Origin;

    fn read(text: String) -> Asked {
        let file = Some(Source { name: "tickloom.toml".to_owned(), text });
        let asked = Layers { file, ..Layers::default() }.merge();
        assert_eq!(asked.problems, [], "{:?}", asked.file);
        asked
    }

    #[test]
    fn the_page_of_defaults_reads_as_the_defaults() {
        let asked = read(default_page());
        for key in KEYS {
            let shown = (key.show)(&asked.settings);
            assert_eq!(shown, (key.show)(&Settings::default()), "{key:?}");
            let origin = (key.origin)(&asked.settings);
            assert!(matches!(origin, Origin::File { .. }), "{key:?} is on the page: {origin}");
        }
        assert!(asked.rooms.is_empty(), "the rooms are only an example");
    }

    #[test]
    fn the_example_on_the_page_is_a_configuration() {
        let page = default_page();
        let (_, example) = page.split_once("An example:\n").expect("there is one");
        let lines = example.lines().map(|line| line.trim_start_matches('#').trim_start());
        let text = lines.filter(|line| !line.starts_with("tick_rate")).collect::<Vec<_>>();
        // The one comment of the example that is prose.
        let text = text.into_iter().filter(|line| !line.starts_with("u8 i8"));
        let asked = read(text.collect::<Vec<_>>().join("\n"));
        let board = &asked.rooms["board"];
        assert_eq!((board.components.len(), board.topics.len()), (3, 1));
    }

    #[test]
    fn the_effective_page_reads_as_what_it_shows() {
        let asked = read("[tick]\nrate = 30\n[log]\nlevel = \"warn\"\n".to_owned());
        let page = effective_page(&asked, &Config::loopback());
        let again = read(page);
        for key in KEYS {
            assert_eq!((key.show)(&again.settings), (key.show)(&asked.settings), "{key:?}");
        }
    }
}
