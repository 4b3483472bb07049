//! The values of one component.

use fixedbitset::FixedBitSet;

use crate::chunks::Value;
use crate::props::Props;
use crate::schema::Kind;

/// The values of one component.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// By slot; of what everybody sees, set only where the entity is alive. A few cache lines for a
    /// whole room, which is what a delta touches beside the rows themselves.
    pub present: FixedBitSet,
    pub values: Values,
    /// What the values take in a snapshot, at most.
    pub bytes: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Values {
    /// Rows by slot, back to back; meaningful where present.
    Packed { row_bytes: usize, rows: Vec<u8> },
    /// By slot; without any bytes where not present.
    Opaque(Vec<Box<[u8]>>),
    /// By slot; without any key exactly where not present.
    Props(Vec<Props>),
}

/// What a value takes in a snapshot beside itself, at most: a gap, a length and an end.
pub(super) const VALUE_OVERHEAD_BYTES: usize = 7;

impl Column {
    pub fn new(kind: &Kind) -> Self {
        let values = match kind {
            Kind::Packed(layout) => {
                Values::Packed { row_bytes: layout.row_bytes(), rows: Vec::new() }
            }
            Kind::Opaque { .. } => Values::Opaque(Vec::new()),
            Kind::Props => Values::Props(Vec::new()),
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

    pub fn remove(&mut self, slot: usize) -> bool {
        let present = self.present.contains(slot);
        if present {
            self.present.remove(slot);
            let bytes = match &mut self.values {
                Values::Packed { row_bytes, .. } => *row_bytes,
                Values::Opaque(values) => std::mem::take(&mut values[slot]).len(),
                Values::Props(values) => {
                    let props = std::mem::take(&mut values[slot]);
                    props.iter().map(|(key, value)| prop_bytes(key, value)).sum()
                }
            };
            self.bytes -= bytes + VALUE_OVERHEAD_BYTES;
        }
        present
    }
}

/// The value of a slot, of as many as it takes.
pub(super) fn grow_to<T: Default>(values: &mut Vec<T>, slot: usize) -> &mut T {
    if values.len() <= slot {
        values.resize_with(slot + 1, T::default);
    }
    &mut values[slot]
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
