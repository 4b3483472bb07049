//! A value as it was written, before anybody knows what it should be: from TOML with its place,
//! from JSON, from the environment or the command line without.
//!
//! Deserialising straight into structs would end at the first problem and speak of Rust's types;
//! from nodes, everything that is wrong can be told at once and in the user's words.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::problem::{Problem, Source, Span};

/// A value and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// What was written.
    pub raw: Raw,
    /// Where.
    pub span: Span,
}

/// A value as it was written.
#[derive(Clone, PartialEq, Debug)]
pub enum Raw {
    /// Quoted text.
    Text(String),
    /// What the environment and flags have: text that may mean anything.
    Word(String),
    /// A whole number. Wide enough for what either format can write.
    Integer(i128),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// Several.
    List(Vec<Node>),
    /// By name.
    Table(Table),
    /// A date or a time, which nothing here is; or a number that no type holds.
    Strange(&'static str),
}

/// Named values in the order they were written.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table {
    /// No name twice.
    pub entries: Vec<Entry>,
}

/// A named value.
#[derive(Clone, PartialEq, Debug)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where the name stands.
    pub key_span: Span,
    /// Its value.
    pub node: Node,
}

impl Raw {
    /// What it is, to follow "this is".
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Word(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Bool(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Strange(what) => what,
        }
    }

    /// The text of what is written as text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Word(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number this is, or that an unquoted word spells.
    #[must_use]
    pub fn integer(&self) -> Option<i128> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Word(word) => word.replace('_', "").parse().ok(),
            _ => None,
        }
    }
}

impl Table {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// Everything that is not TOML.
    pub fn from_toml(source: &Source) -> Result<Self, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        if errors.is_empty() {
            return Ok(Self::of(table.get_ref()));
        }
        let problem = |error: toml::de::Error| {
            let problem = Problem::new(format!("{} is not TOML", source.name));
            problem.at(&error.span(), error.message())
        };
        Err(errors.into_iter().map(problem).collect())
    }

    fn of(table: &DeTable<'_>) -> Self {
        let entry = |(key, value): (&Spanned<DeString<'_>>, &Spanned<_>)| Entry {
            key: key.get_ref().to_string(),
            key_span: Some(key.span()),
            node: Node::of(value),
        };
        let mut entries: Vec<Entry> = table.iter().map(entry).collect();
        entries.sort_by_key(|entry| entry.key_span.as_ref().map(|span| span.start));
        Self { entries }
    }

    /// The entry of this name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Node {
    fn of(value: &Spanned<DeValue<'_>>) -> Self {
        let raw = match value.get_ref() {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or(Raw::Strange("a number that is too large"), Raw::Integer),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .map_or(Raw::Strange("a number that is too large"), Raw::Float),
            DeValue::Boolean(truth) => Raw::Bool(*truth),
            DeValue::Datetime(_) => Raw::Strange("a date or a time"),
            DeValue::Array(list) => Raw::List(list.iter().map(Self::of).collect()),
            DeValue::Table(table) => Raw::Table(Table::of(table)),
        };
        Self { raw, span: Some(value.span()) }
    }
}

/// JSON knows no places; whoever reports problems names the path instead.
impl From<serde_json::Value> for Node {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value;
        let raw = match value {
            Value::Null => Raw::Strange("null"),
            Value::Bool(truth) => Raw::Bool(truth),
            Value::String(text) => Raw::Text(text),
            Value::Number(number) => match (number.as_i128(), number.as_f64()) {
                (Some(whole), _) => Raw::Integer(whole),
                (None, Some(real)) => Raw::Float(real),
                (None, None) => Raw::Strange("a number that is too large"),
            },
            Value::Array(list) => Raw::List(list.into_iter().map(Self::from).collect()),
            Value::Object(object) => {
                let entry = |(key, value)| Entry { key, key_span: None, node: Self::from(value) };
                Raw::Table(Table { entries: object.into_iter().map(entry).collect() })
            }
        };
        Self { raw, span: None }
    }
}
