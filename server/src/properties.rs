//! What a room says of itself, and what somebody looks for: a few properties, checked.

use std::collections::BTreeMap;

use tickloom_protocol::chunks::{ChunkError, Reader, Value, put_bytes, put_value};
use tickloom_protocol::limits;

/// Properties by key, none twice and none without a value.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Properties {
    by_key: BTreeMap<Box<str>, Value>,
}

/// Why bytes are not properties.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PropertiesError {
    /// They are not a list of properties.
    #[error(transparent)]
    Malformed(#[from] ChunkError),
    /// Something follows the list.
    #[error("bytes follow the zero that ends the properties")]
    Trailing,
    /// A key comes twice.
    #[error("the key {0:?} comes twice")]
    Twice(Box<str>),
    /// A value that says nothing outside of a room.
    #[error("the value of {0:?} must be a boolean, a number, a text or bytes")]
    Meaningless(Box<str>),
    /// There are more than a list of rooms has place for.
    #[error("properties have at most {} bytes", limits::METADATA_BYTES_MAX)]
    TooLong,
}

impl Properties {
    /// Properties in the grammar of chunks; no bytes are none.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, PropertiesError> {
        let mut properties = Self::default();
        if bytes.is_empty() {
            return Ok(properties);
        }
        if bytes.len() > limits::METADATA_BYTES_MAX {
            return Err(PropertiesError::TooLong);
        }
        let mut reader = Reader::new(bytes);
        while let Some((key, value)) = reader.prop()? {
            properties.insert(key, value)?;
        }
        if reader.is_empty() { Ok(properties) } else { Err(PropertiesError::Trailing) }
    }

    /// Adds one.
    ///
    /// # Errors
    /// Its key is there already, or its value means nothing here.
    pub fn insert(&mut self, key: &str, value: Value) -> Result<(), PropertiesError> {
        if matches!(value, Value::Nil | Value::Entity(_)) || !value.is_valid() {
            return Err(PropertiesError::Meaningless(key.into()));
        }
        match self.by_key.insert(key.into(), value) {
            None => Ok(()),
            Some(_) => Err(PropertiesError::Twice(key.into())),
        }
    }

    /// The bytes that [`Properties::parse`] reads.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in &self.by_key {
            put_bytes(&mut bytes, key.as_bytes());
            put_value(&mut bytes, value);
        }
        if !bytes.is_empty() {
            bytes.push(0);
        }
        bytes
    }

    /// Whether everything in `filter` is here, with the same value: 1 is not 1.0.
    #[must_use]
    pub fn hold(&self, filter: &Self) -> bool {
        filter.by_key.iter().all(|(key, value)| self.by_key.get(key) == Some(value))
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.by_key.get(key)
    }

    /// All of them, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.by_key.iter().map(|(key, value)| (&**key, value))
    }

    /// Whether they are short enough to travel.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.bytes().len() <= limits::METADATA_BYTES_MAX
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use tickloom_protocol::ids::EntityId;

    use super::*;

    fn bytes(rows: &[(&str, Value)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, value) in rows {
            put_bytes(&mut bytes, key.as_bytes());
            put_value(&mut bytes, value);
        }
        bytes.push(0);
        bytes
    }

    #[test]
    fn bytes_are_properties_or_there_is_a_reason_why_not() {
        let text = |text: &str| Value::Str(text.into());
        let long = "x".repeat(limits::METADATA_BYTES_MAX);
        for (bytes, expected) in [
            (vec![], Ok(0)),
            (vec![0], Ok(0)),
            (bytes(&[("mode", text("duel")), ("rank", Value::Int(3))]), Ok(2)),
            (bytes(&[("a", Value::Bool(true)), ("b", Value::Num(0.5))]), Ok(2)),
            (vec![1], Err(PropertiesError::Malformed(ChunkError::Truncated))),
            (vec![0, 0], Err(PropertiesError::Trailing)),
            (
                bytes(&[("a", Value::Int(1)), ("a", Value::Int(2))]),
                Err(PropertiesError::Twice("a".into())),
            ),
            (bytes(&[("a", Value::Nil)]), Err(PropertiesError::Meaningless("a".into()))),
            (
                bytes(&[("a", Value::Entity(EntityId(1)))]),
                Err(PropertiesError::Meaningless("a".into())),
            ),
            (bytes(&[("a", text(&long))]), Err(PropertiesError::TooLong)),
        ] {
            let parsed = Properties::parse(&bytes);
            assert_eq!(parsed.map(|parsed| parsed.iter().count()), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_room_fits_when_it_holds_everything_that_is_looked_for() {
        let properties = |rows: &[(&str, Value)]| Properties::parse(&bytes(rows)).expect("valid");
        let (one, duel) = (("rank", Value::Int(1)), ("mode", Value::Str("duel".into())));
        let room = properties(&[one.clone(), duel.clone()]);
        for (filter, holds) in [
            (vec![], true),
            (vec![one.clone()], true),
            (vec![duel.clone(), one], true),
            (vec![("rank", Value::Num(1.0))], false),
            (vec![("rank", Value::Int(2)), duel], false),
            (vec![("region", Value::Str("eu".into()))], false),
        ] {
            assert_eq!(room.hold(&properties(&filter)), holds, "{filter:?}");
        }
    }
}
