//! The layers and how they are laid over each other: defaults < file < environment < flags.

use crate::config::node::{Entry, Node, Raw, Table};
use crate::config::problem::{Problem, Source};
use crate::config::settings::{KEYS, Key, Origin, SECTIONS, Settings, VARIABLE_PREFIX};
use crate::config::suggestions::nearest;
use crate::room::description::{self, Descriptions};

/// What the user said, where.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The configuration file.
    pub file: Option<Source>,
    /// Variables of the environment and their values; those of others are passed over.
    pub environment: Vec<(String, String)>,
    /// Keys that flags set.
    pub flags: Vec<(&'static Key, Raw)>,
}

/// What the user asked for. A key whose value is wrong keeps the one of the layer below.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The value of every key.
    pub settings: Settings,
    /// The room types of the file.
    pub rooms: Descriptions,
    /// The file.
    pub file: Option<Source>,
    /// What is wrong so far.
    pub problems: Vec<Problem>,
    /// The keys some of whose values were wrong.
    pub wrong: Vec<&'static Key>,
}

impl Layers {
    /// Lays one over the other.
    #[must_use]
    pub fn merge(self) -> Asked {
        let mut asked = Asked::default();
        if let Some(file) = self.file {
            match Table::from_toml(&file) {
                Ok(table) => asked.read_file(&file, &table),
                Err(problems) => asked.problems = problems,
            }
            asked.file = Some(file);
        }
        for (variable, value) in self.environment {
            asked.read_variable(&variable, value);
        }
        for (key, raw) in self.flags {
            if let Some(flag) = key.flag {
                let written = raw.text().map_or_else(String::new, |text| format!(" {text}"));
                let note = format!("--{}{written} on the command line", flag.name);
                asked.set(key, &raw, Origin::Flag(flag.name), &note);
            }
        }
        asked
    }
}

impl Asked {
    fn read_file(&mut self, file: &Source, table: &Table) {
        for entry in &table.entries {
            let section = &*entry.key;
            if section == "rooms" {
                self.rooms = description::read_all(&entry.node, &mut self.problems);
            } else if SECTIONS.iter().any(|(name, _)| *name == section) {
                self.read_section(file, section, &entry.node);
            } else {
                self.problems.push(unknown_section(entry));
            }
        }
    }

    fn read_section(&mut self, file: &Source, section: &str, node: &Node) {
        let Raw::Table(table) = &node.raw else {
            let problem = Problem::new(format!("`{section}` is a section"));
            let problem = problem.at(&node.span, format!("this is {}", node.raw.kind()));
            let [name, value] = first_key(section);
            self.problems.push(problem.help(format!("write [{section}], then {name} = {value}")));
            return;
        };
        for entry in &table.entries {
            let Some(key) = Key::find(section, &entry.key) else {
                self.problems.push(unknown_key(section, entry));
                continue;
            };
            let span = entry.node.span.clone().unwrap_or_default();
            let place = format!("{}:{}", file.name, file.line(span.start));
            self.set(key, &entry.node.raw, Origin::File { place, span }, "");
        }
    }

    fn read_variable(&mut self, variable: &str, value: String) {
        let Some(rest) = variable.strip_prefix(VARIABLE_PREFIX) else { return };
        if is_service_link(rest, &value) {
            return;
        }
        if let Some(key) = KEYS.iter().find(|key| key.variable() == variable) {
            let note = format!("{variable}={value} in the environment");
            let origin = Origin::Environment(variable.to_owned());
            self.set(key, &Raw::Word(value), origin, &note);
            return;
        }
        let problem = Problem::new(format!("unknown variable `{variable}` in the environment"));
        let variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
        let suffixes = variables.iter().filter_map(|name| name.strip_prefix(VARIABLE_PREFIX));
        self.problems.push(match nearest(rest, suffixes) {
            Some(near) => problem.help(format!("did you mean `{VARIABLE_PREFIX}{near}`?")),
            None => problem.help("`tickloom config default` names every variable"),
        });
    }

    fn set(&mut self, key: &'static Key, raw: &Raw, origin: Origin, note: &str) {
        let span = match &origin {
            Origin::File { span, .. } => Some(span.clone()),
            Origin::Default | Origin::Environment(_) | Origin::Flag(_) => None,
        };
        let Err(label) = (key.set)(&mut self.settings, raw, origin) else { return };
        let problem = Problem::new(format!("`{}` takes {}", key.path(), (key.accepts)()));
        let label = match (note.is_empty(), label.is_empty()) {
            (true, _) => label,
            (false, true) => note.to_owned(),
            (false, false) => format!("{note}: {label}"),
        };
        self.problems.push(problem.at(&span, label));
        self.wrong.push(key);
    }
}

/// The first key of a section and its default.
fn first_key(section: &str) -> [String; 2] {
    let key = KEYS.iter().find(|key| key.section == section);
    let shown = |key: &Key| [key.name.to_owned(), (key.show)(&Settings::default())];
    key.map(shown).unwrap_or_default()
}

fn unknown_section(entry: &Entry) -> Problem {
    let name = &entry.key;
    let sections = SECTIONS.iter().map(|(name, _)| *name).chain(["rooms"]);
    if matches!(entry.node.raw, Raw::Table(_)) {
        let problem = Problem::new(format!("unknown section `[{name}]`"));
        return match nearest(name, sections.clone()) {
            Some(near) => problem.at(&entry.key_span, format!("did you mean `[{near}]`?")),
            None => {
                let sections: Vec<_> = sections.map(|name| format!("[{name}]")).collect();
                let help = format!("there are {}", sections.join(", "));
                problem.at(&entry.key_span, "").help(help)
            }
        };
    }
    let problem = Problem::new(format!("unknown key `{name}` before the first section"));
    let near = nearest(name, KEYS.iter().map(|key| key.name));
    match KEYS.iter().find(|key| Some(key.name) == near) {
        Some(key) => {
            let label = format!("did you mean `{}` in [{}]?", key.name, key.section);
            problem.at(&entry.key_span, label)
        }
        None => problem.at(&entry.key_span, "").help("every key stands in a section"),
    }
}

fn unknown_key(section: &str, entry: &Entry) -> Problem {
    let name = &entry.key;
    let problem = Problem::new(format!("unknown key `{section}.{name}`"));
    let siblings = || KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
    let elsewhere = KEYS.iter().find(|key| key.name == name);
    match (elsewhere, nearest(name, siblings())) {
        (Some(key), _) => {
            let label = format!("did you mean `{}` in [{}]?", key.name, key.section);
            problem.at(&entry.key_span, label)
        }
        (None, Some(near)) => problem.at(&entry.key_span, format!("did you mean `{near}`?")),
        (None, None) => {
            let names = siblings().collect::<Vec<_>>().join(", ");
            problem.at(&entry.key_span, "").help(format!("[{section}] has {names}"))
        }
    }
}

/// Kubernetes tells every pod where the services of its namespace are, by their names: one called
/// `tickloom` must not keep the server from starting.
fn is_service_link(rest: &str, value: &str) -> bool {
    rest == "PORT" && value.contains("://")
        || rest.starts_with("PORT_")
        || rest.starts_with("SERVICE_")
}
