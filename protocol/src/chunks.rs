//! The packed grammar inside `Delta.chunks`. Little endian; `v` is an unsigned LEB128 of at most
//! 32 bits.
//!
//! ```text
//! chunks  := chunk*
//! chunk   := stream:v kind:u8 len:v body[len]
//! body    := leaves enters section*                kind 1 snapshot (no leaves), kind 2 delta
//!          | crc32:u32                             kind 3 hash of the stream after this message
//!          | first:v64 event* 0                    kind 4 events; `first` numbers the first of them
//!          | section*                              kind 5 motion of a cell: rows only
//!          |                                       kind 6 gone: the stream is not received any more
//! leaves  := (gap)* 0
//! enters  := (gap owner:v)* 0
//! section := 1 component:u8 (gap row)* 0           packed rows, whole
//!          | 2 component:u8 (gap)* 0               component removed
//!          | 3 component:u8 (gap len:v bytes)* 0   opaque values
//!          | 4 component:u8 (gap (klen:v key value)* 0)* 0    properties; Nil removes a key
//! event   := (topic + 1):v from:v len:v bytes
//! gap     := v, difference to the previous id of the same list, which starts at -1; never 0
//! value   := 0 nil | 1 false | 2 true | 3 zigzag:v64 | 4 f64 | 5 len:v utf8 | 6 len:v bytes
//!          | 7 entity:v
//! ```
//!
//! Lists are ascending and end with a zero, so both sides work in one pass. Reading is bounded
//! by the input: nothing is allocated for a length before the bytes behind it were seen.

mod reader;

pub use reader::{Chunk, GapReader, Reader, Said};

use smol_str::SmolStr;

use crate::ids::{ComponentId, EntityId, MemberId, StreamId, TopicId};
use crate::limits;

/// What a chunk does to its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ChunkKind {
    /// Replaces everything the stream holds.
    Snapshot = 1,
    /// Changes what the stream holds.
    Delta = 2,
    /// States what the stream must hold now.
    Hash = 3,
    /// Tells what happened: state is what is, events are what was said.
    Events = 4,
    /// Where the entities of a cell are now.
    Motion = 5,
    /// The stream is not received any more; what it held is out of view.
    Gone = 6,
}

/// What a section carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SectionKind {
    /// Packed rows.
    Rows = 1,
    /// Components taken off entities.
    Removed = 2,
    /// Opaque values.
    Opaque = 3,
    /// Properties.
    Props = 4,
}

/// A property's value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// No value: the key is removed.
    Nil,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Num(f64),
    /// A text.
    Str(SmolStr),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// An entity of the same room.
    Entity(EntityId),
}

impl Value {
    /// Whether a replica would take the value: numbers are finite, texts and bytes within
    /// [`limits::PROP_VALUE_BYTES_MAX`], entities below [`limits::ENTITY_ID_MAX`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        match self {
            Self::Nil | Self::Bool(_) | Self::Int(_) => true,
            Self::Num(num) => num.is_finite(),
            Self::Str(text) => text.len() <= limits::PROP_VALUE_BYTES_MAX,
            Self::Bytes(bytes) => bytes.len() <= limits::PROP_VALUE_BYTES_MAX,
            Self::Entity(entity) => entity.0 < limits::ENTITY_ID_MAX,
        }
    }
}

/// Why bytes are not chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ChunkError {
    /// The bytes end inside something.
    #[error("the bytes end too early")]
    Truncated,
    /// A varint of more than its 32 or 64 bits.
    #[error("a varint exceeds its width")]
    VarintTooLong,
    /// An entity id at or over [`limits::ENTITY_ID_MAX`].
    #[error("an entity id exceeds its limit")]
    EntityOutOfRange,
    /// A member id over 16 bits.
    #[error("a member id exceeds its limit")]
    MemberOutOfRange,
    /// An unknown chunk kind.
    #[error("unknown chunk kind {0}")]
    UnknownChunk(u8),
    /// An unknown section kind.
    #[error("unknown section kind {0}")]
    UnknownSection(u8),
    /// An unknown stream.
    #[error("unknown stream {0}")]
    UnknownStream(u32),
    /// A component that the schema does not have, or not of this kind, or not on this stream.
    #[error("component {0} does not fit its section or stream")]
    WrongComponent(u8),
    /// A value for an entity that never entered.
    #[error("entity {0} is not known")]
    UnknownEntity(u32),
    /// A second hash, or any other chunk, behind the hash of its stream.
    #[error("a chunk follows the hash of stream {0}")]
    AfterHash(u32),
    /// A topic that the schema does not have, or a number or a body over its limit.
    #[error("an event's number, topic or body is out of range")]
    BadEvent,
    /// Bytes behind the end of the events in their chunk.
    #[error("bytes follow the events in their chunk")]
    AfterEvents,
    /// Anything in a chunk that says that its stream is gone.
    #[error("a chunk that ends a stream has no body")]
    GoneWithBody,
    /// A row of motion that is not motion, or something else among it.
    #[error("motion is rows of components that say so")]
    NotMotion,
    /// More than four bytes in a hash chunk.
    #[error("bytes follow the hash in its chunk")]
    HashTooLong,
    /// A leave or enter where the chunk may not have one.
    #[error("entities enter and leave in delta chunks of the room stream only")]
    UnexpectedStructure,
    /// An unknown value tag, a number that is not finite, or a text that is not UTF-8.
    #[error("a property value is malformed")]
    BadValue,
    /// A key, a value or a number of keys over its limit.
    #[error("a property exceeds its limit")]
    PropTooLong,
    /// An opaque value over its component's limit.
    #[error("an opaque value exceeds its limit")]
    OpaqueTooLong,
}

impl ChunkError {
    /// Whether the grammar was kept and a value is only too long: a writer may be told so, where
    /// anything else means that the two ends do not understand each other.
    #[must_use]
    pub const fn is_too_long(&self) -> bool {
        matches!(self, Self::PropTooLong | Self::OpaqueTooLong)
    }
}

/// Appends an unsigned LEB128.
#[inline]
pub fn put_varint(output: &mut Vec<u8>, value: u32) {
    put_varint64(output, u64::from(value));
}

/// Appends an unsigned LEB128 of up to 64 bits.
#[inline]
pub fn put_varint64(output: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        output.push(value as u8 | 0x80);
        value >>= 7;
    }
    output.push(value as u8);
}

/// Appends a length and bytes. Callers keep lengths within [`limits`].
pub fn put_bytes(output: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(output, bytes.len() as u32);
    output.extend_from_slice(bytes);
}

/// Appends a whole chunk.
pub fn put_chunk(output: &mut Vec<u8>, stream: StreamId, kind: ChunkKind, body: &[u8]) {
    put_varint(output, stream.0);
    output.push(kind as u8);
    put_bytes(output, body);
}

/// Appends one event to the body of an events chunk.
pub fn put_event(output: &mut Vec<u8>, topic: TopicId, from: MemberId, body: &[u8]) {
    put_varint(output, u32::from(topic.0) + 1);
    put_varint(output, u32::from(from.0));
    put_bytes(output, body);
}

/// Appends a property's value.
pub fn put_value(output: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Nil => output.push(0),
        Value::Bool(false) => output.push(1),
        Value::Bool(true) => output.push(2),
        Value::Int(int) => {
            output.push(3);
            put_varint64(output, (int.wrapping_shl(1) ^ (int >> 63)) as u64);
        }
        Value::Num(num) => {
            output.push(4);
            output.extend_from_slice(&num.to_le_bytes());
        }
        Value::Str(text) => {
            output.push(5);
            put_bytes(output, text.as_bytes());
        }
        Value::Bytes(bytes) => {
            output.push(6);
            put_bytes(output, bytes);
        }
        Value::Entity(entity) => {
            output.push(7);
            put_varint(output, entity.0);
        }
    }
}

/// Writes the ids of an ascending list as gaps.
#[derive(Debug, Default)]
pub struct GapWriter {
    /// One more than the last id written; 0 before the first.
    next: u32,
}

impl GapWriter {
    /// Appends the gap to `entity`, which must be higher than the last one.
    #[inline]
    pub fn put(&mut self, output: &mut Vec<u8>, entity: EntityId) {
        debug_assert!(entity.0 >= self.next, "ids ascend: {} after {}", entity.0, self.next);
        put_varint(output, entity.0 + 1 - self.next);
        self.next = entity.0 + 1;
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }
}

/// Appends a section whose items `put_items` writes; leaves no trace when there are none.
pub fn put_section(
    output: &mut Vec<u8>,
    kind: SectionKind,
    component: ComponentId,
    put_items: impl FnOnce(&mut Vec<u8>, &mut GapWriter),
) {
    let start = output.len();
    output.push(kind as u8);
    output.push(component.0);
    let mut gaps = GapWriter::default();
    put_items(output, &mut gaps);
    if gaps.is_empty() {
        output.truncate(start);
    } else {
        output.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_survive_and_are_bounded() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(Reader::new(&bytes).varint(), Ok(value));
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(Reader::new(cut).varint(), Err(ChunkError::Truncated), "{value}");
        }
        for (bytes, error) in [
            (&[0xff, 0xff, 0xff, 0xff, 0x1f][..], ChunkError::VarintTooLong),
            (&[0x80; 11][..], ChunkError::VarintTooLong),
        ] {
            assert_eq!(Reader::new(bytes).varint(), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn ids_are_gaps_and_a_list_ends_with_zero() {
        let mut bytes = Vec::new();
        let mut gaps = GapWriter::default();
        for id in [0, 1, 5, 1000] {
            gaps.put(&mut bytes, EntityId(id));
        }
        bytes.push(0);
        assert_eq!(bytes, [1, 1, 4, 0xe3, 7, 0]);
        let (mut reader, mut gaps, mut ids) = (Reader::new(&bytes), GapReader::default(), vec![]);
        while let Some(id) = gaps.next(&mut reader).expect("a list") {
            ids.push(id.0);
        }
        assert_eq!(ids, [0, 1, 5, 1000]);
        assert!(reader.is_empty());
    }

    #[test]
    fn ids_past_the_limit_are_refused_even_when_gaps_add_up() {
        for bytes in [&[0x81, 0x80, 0x04][..], &[0xff, 0xff, 0x03, 0xff, 0xff, 0xff, 0xff, 0x0f]] {
            let (mut reader, mut gaps) = (Reader::new(bytes), GapReader::default());
            let mut last = gaps.next(&mut reader);
            if last.is_ok() {
                last = gaps.next(&mut reader);
            }
            assert_eq!(last, Err(ChunkError::EntityOutOfRange), "{bytes:?}");
        }
    }

    #[test]
    fn values_survive() {
        let values = [
            Value::Nil,
            Value::Bool(false),
            Value::Bool(true),
            Value::Int(0),
            Value::Int(-1),
            Value::Int(i64::MIN),
            Value::Int(i64::MAX),
            Value::Num(-0.5),
            Value::Str("né".into()),
            Value::Bytes([0, 255].into()),
            Value::Entity(EntityId(7)),
        ];
        for value in values {
            let mut bytes = Vec::new();
            put_bytes(&mut bytes, b"k");
            put_value(&mut bytes, &value);
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.prop(), Ok(Some(("k", value))), "{bytes:?}");
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn values_that_are_none_are_refused() {
        let nan = [&[1, b'k', 4][..], &f64::NAN.to_le_bytes()].concat();
        for (name, bytes) in [
            ("NaN", nan.as_slice()),
            ("tag 8", &[1, b'k', 8]),
            ("text that is not UTF-8", &[1, b'k', 5, 1, 0xff]),
            ("key that is not UTF-8", &[1, 0xff, 0]),
        ] {
            assert_eq!(Reader::new(bytes).prop(), Err(ChunkError::BadValue), "{name}");
        }
    }
}
