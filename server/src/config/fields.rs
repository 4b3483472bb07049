//! Reads a table key by key, and knows afterwards which keys nobody asked for.

use std::ops::RangeInclusive;

use crate::config::node::{Entry, Node, Raw, Table};
use crate::config::problem::{Problem, Span};
use crate::config::suggestions::nearest;
use crate::config::value::{Value, accepts_within, misfit, read_within};

/// Past this many problems, unknown keys are not looked into any more: a client can send hundreds,
/// and whoever writes a file has enough to do.
const PROBLEMS_MAX: usize = 64;

/// The keys of one table.
pub struct Fields<'a> {
    /// What leads here, such as `rooms.board`. Empty at the top.
    path: String,
    table: &'a Table,
    /// Where the table stands.
    span: &'a Span,
    asked: Vec<&'static str>,
    /// Keys whose values have been complained about.
    wrong: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The keys of `node`, which stands at `path`; `None`, and a problem, when it is no table.
    pub fn of(path: String, node: &'a Node, problems: &mut Vec<Problem>) -> Option<Self> {
        let Raw::Table(table) = &node.raw else {
            let problem = Problem::new(format!("{} takes a table", quoted(&path)));
            problems.push(problem.at(&node.span, misfit(&node.raw)));
            return None;
        };
        Some(Self { path, table, span: &node.span, asked: Vec::new(), wrong: Vec::new() })
    }

    /// The entry of this name.
    pub fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Whether one of the keys has been complained about: a rule about it would be broken by a
    /// value that nobody wrote.
    #[must_use]
    pub fn any_wrong(&self, keys: &[&str]) -> bool {
        self.wrong.iter().any(|key| keys.contains(key))
    }

    /// What leads to a key of this table.
    #[must_use]
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A value, if it is there and right.
    pub fn read<T: Value>(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<T> {
        self.read_with(key, problems, T::read, T::accepts)
    }

    /// A value of a range, if it is there and right.
    pub fn read_within<T: Value + PartialOrd>(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<T>,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let read = |raw: &Raw| read_within(raw, range);
        self.read_with(key, problems, read, || accepts_within(range))
    }

    fn read_with<T>(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
        read: impl Fn(&Raw) -> Result<T, String>,
        accepts: impl Fn() -> String,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        let complaint = match read(&entry.node.raw) {
            Ok(value) => return Some(value),
            Err(complaint) => complaint,
        };
        self.wrong.push(key);
        let problem = Problem::new(format!("`{}` takes {}", self.path_of(key), accepts()));
        problems.push(problem.at(&entry.node.span, complaint));
        None
    }

    /// The members of a list, each with its path. Nothing when it is not there.
    pub fn list(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<Vec<(String, &'a Node)>> {
        let entry = self.entry(key)?;
        let path = self.path_of(key);
        let Raw::List(list) = &entry.node.raw else {
            let problem = Problem::new(format!("`{path}` takes a list of tables"));
            problems.push(problem.at(&entry.node.span, misfit(&entry.node.raw)));
            return None;
        };
        let numbered = list.iter().enumerate();
        Some(numbered.map(|(at, node)| (format!("{path}[{at}]"), node)).collect())
    }

    /// A key that must be there is not.
    #[must_use]
    pub fn missing(&self, key: &str) -> Problem {
        let problem = Problem::new(format!("{} needs `{key}`", quoted(&self.path)));
        problem.at(self.span, "")
    }

    /// Complains about every key that nobody asked for.
    pub fn finish(self, problems: &mut Vec<Problem>) {
        for entry in &self.table.entries {
            if self.asked.contains(&&*entry.key) {
                continue;
            }
            if problems.len() >= PROBLEMS_MAX {
                return;
            }
            let problem = Problem::new(format!("unknown key `{}`", self.path_of(&entry.key)));
            problems.push(match nearest(&entry.key, self.asked.iter().copied()) {
                Some(near) => problem.at(&entry.key_span, format!("did you mean `{near}`?")),
                None => {
                    let keys = self.asked.join(", ");
                    problem.at(&entry.key_span, "").help(format!("there are {keys}"))
                }
            });
        }
    }
}

/// What leads to a table, as people say it.
fn quoted(path: &str) -> String {
    if path.is_empty() { "the description".to_owned() } else { format!("`{path}`") }
}
