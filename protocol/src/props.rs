//! The properties of one entity: keys and values, ascending by key.
//!
//! Entities have few keys, and every client of a room holds all of them: a sorted vector takes a
//! fifth of what a tree does. Keys and short texts lie in it.

use smol_str::SmolStr;

use crate::chunks::Value;

/// Keys and their values.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Props {
    /// Ascending by key, no key twice, no value [`Value::Nil`].
    entries: Vec<(SmolStr, Value)>,
}

impl Props {
    /// Sets a key; says whether that changed anything.
    pub(crate) fn set(&mut self, key: &str, value: Value) -> bool {
        debug_assert!(value != Value::Nil, "{key} is removed, not set to nothing");
        match self.position(key) {
            Ok(at) if self.entries[at].1 == value => false,
            Ok(at) => {
                self.entries[at].1 = value;
                true
            }
            Err(at) => {
                // Most entities have one or two keys and a room has thousands of entities.
                self.entries.reserve_exact(1);
                self.entries.insert(at, (key.into(), value));
                true
            }
        }
    }

    /// Removes a key; says whether it was there.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let found = self.position(key);
        if let Ok(at) = found {
            self.entries.remove(at);
        }
        found.is_ok()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.position(key).ok().map(|at| &self.entries[at].1)
    }

    /// All keys and values, ascending by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (&**key, value))
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.entries.binary_search_by(|(other, _)| (**other).cmp(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_in_order_and_changes_are_told() {
        let mut props = Props::default();
        for (key, value, changed) in
            [("b", 1, true), ("a", 2, true), ("b", 1, false), ("b", 3, true)]
        {
            assert_eq!(props.set(key, Value::Int(value)), changed, "{key} {value}");
        }
        let entries: Vec<_> = props.iter().collect();
        assert_eq!(entries, [("a", &Value::Int(2)), ("b", &Value::Int(3))]);
        assert!(props.remove("a") && !props.remove("a"));
        assert_eq!((props.get("a"), props.get("b")), (None, Some(&Value::Int(3))));
        assert_eq!((props.len(), props.is_empty()), (1, false));
    }
}
