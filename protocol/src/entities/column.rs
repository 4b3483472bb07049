//! The values of one component.

use std::collections::BTreeMap;

use fixedbitset::FixedBitSet;

use crate::chunks::Value;
use crate::ids::EntityId;
use crate::props::Props;
use crate::schema::Kind;

/// The values of one component.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// By slot; of what everybody sees, set only where the entity is alive. A few cache lines for a whole room, which
    /// is what a delta touches beside the rows themselves.
    pub present: FixedBitSet,
    pub values: Values,
    /// What the values take in a snapshot, at most.
    pub bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Rows by slot, back to back; meaningful where present.
    Packed { row_bytes: usize, rows: Vec<u8> },
    /// An entry exactly where present.
    Opaque(BTreeMap<EntityId, Box<[u8]>>),
    /// An entry exactly where present, none of them empty.
    Props(BTreeMap<EntityId, Props>),
}

/// What a value takes in a snapshot beside itself, at most: a gap, a length and an end.
pub(super) const VALUE_OVERHEAD_BYTES: usize = 7;

impl Column {
    pub fn new(kind: &Kind) -> Self {
        let values = match kind {
            Kind::Packed(layout) => {
                Values::Packed { row_bytes: layout.row_bytes(), rows: Vec::new() }
            }
            Kind::Opaque { .. } => Values::Opaque(BTreeMap::new()),
            Kind::Props => Values::Props(BTreeMap::new()),
        };
        Self { present: FixedBitSet::new(), values, bytes: 0 }
    }

    pub fn clear(&mut self) {
        self.present.clear();
        self.bytes = 0;
        match &mut self.values {
            Values::Packed { .. } => {}
            Values::Opaque(values) => values.clear(),
            Values::Props(values) => values.clear(),
        }
    }

    pub fn remove(&mut self, slot: usize, entity: EntityId) -> bool {
        let present = self.present.contains(slot);
        if present {
            self.present.remove(slot);
            let bytes = match &mut self.values {
                Values::Packed { row_bytes, .. } => *row_bytes,
                Values::Opaque(values) => values.remove(&entity).map_or(0, |value| value.len()),
                Values::Props(values) => values.remove(&entity).map_or(0, |props| {
                    props.iter().map(|(key, value)| prop_bytes(key, value)).sum()
                }),
            };
            self.bytes -= bytes + VALUE_OVERHEAD_BYTES;
        }
        present
    }
}

/// What a property takes in a snapshot, at most: its key and its value behind their lengths.
#[must_use]
pub fn prop_bytes(key: &str, value: &Value) -> usize {
    let value_bytes = match value {
        Value::Nil => return 0,
        Value::Bool(_) => 0,
        Value::Entity(_) => 3,
        Value::Num(_) => 8,
        Value::Int(_) => 10,
        Value::Str(text) => text.len() + 3,
        Value::Bytes(bytes) => bytes.len() + 3,
    };
    key.len() + 2 + value_bytes
}
