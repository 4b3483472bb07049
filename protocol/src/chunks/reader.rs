//! Reads the grammar of chunks off the front of a byte slice, piece by piece.
//!
//! Nothing is trusted and nothing is allocated for a length before the bytes behind it were seen.

use super::{ChunkError, ChunkKind, SectionKind, Value};
use crate::ids::{ComponentId, EntityId, MemberId, StreamId, TopicId};
use crate::limits;

/// Reads the grammar's pieces off the front of a byte slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

/// One chunk, its body unread.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Which stream it belongs to.
    pub stream: StreamId,
    /// What it does.
    pub kind: ChunkKind,
    /// Its body.
    pub body: Reader<'a>,
}

/// One event in its chunk, which numbers it.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// On which topic.
    pub topic: TopicId,
    /// By whom.
    pub from: MemberId,
    /// What.
    pub body: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over all of `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes were not read yet.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The next chunk, or `None` at the end.
    ///
    /// # Errors
    /// [`ChunkError`], here and in every other method: what is wrong with the bytes.
    pub fn chunk(&mut self) -> Result<Option<Chunk<'a>>, ChunkError> {
        if self.is_empty() {
            return Ok(None);
        }
        let stream = StreamId(self.varint()?);
        let kind = match self.u8()? {
            1 => ChunkKind::Snapshot,
            2 => ChunkKind::Delta,
            3 => ChunkKind::Hash,
            4 => ChunkKind::Events,
            5 => ChunkKind::Motion,
            6 => ChunkKind::Gone,
            other => return Err(ChunkError::UnknownChunk(other)),
        };
        let body = Reader::new(self.sized()?);
        Ok(Some(Chunk { stream, kind, body }))
    }

    /// The head of the next section, or `None` at the end.
    pub fn section(&mut self) -> Result<Option<(SectionKind, ComponentId)>, ChunkError> {
        if self.is_empty() {
            return Ok(None);
        }
        let kind = match self.u8()? {
            1 => SectionKind::Rows,
            2 => SectionKind::Removed,
            3 => SectionKind::Opaque,
            4 => SectionKind::Props,
            other => return Err(ChunkError::UnknownSection(other)),
        };
        Ok(Some((kind, ComponentId(self.u8()?))))
    }

    /// One byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, ChunkError> {
        let (&first, rest) = self.bytes.split_first().ok_or(ChunkError::Truncated)?;
        self.bytes = rest;
        Ok(first)
    }

    /// A little-endian word.
    pub fn u32(&mut self) -> Result<u32, ChunkError> {
        let (word, rest) = self.bytes.split_first_chunk().ok_or(ChunkError::Truncated)?;
        self.bytes = rest;
        Ok(u32::from_le_bytes(*word))
    }

    /// An unsigned LEB128 of at most 32 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u32, ChunkError> {
        let first = self.u8()?;
        if first < 0x80 {
            return Ok(u32::from(first));
        }
        let value = self.varint64_rest(first)?;
        u32::try_from(value).map_err(|_| ChunkError::VarintTooLong)
    }

    /// An unsigned LEB128 of at most 64 bits.
    pub fn varint64(&mut self) -> Result<u64, ChunkError> {
        let first = self.u8()?;
        if first < 0x80 { Ok(u64::from(first)) } else { self.varint64_rest(first) }
    }

    fn varint64_rest(&mut self, first: u8) -> Result<u64, ChunkError> {
        let mut value = u64::from(first & 0x7f);
        for shift in (7..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ChunkError::VarintTooLong)
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ChunkError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(ChunkError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Bytes behind their length.
    pub fn sized(&mut self) -> Result<&'a [u8], ChunkError> {
        let length = self.varint()?;
        self.take(length as usize)
    }

    /// The next event, or `None` at the list's end.
    pub fn event(&mut self) -> Result<Option<Said<'a>>, ChunkError> {
        let topic = self.varint()?;
        if topic == 0 {
            return Ok(None);
        }
        let topic = u16::try_from(topic - 1).map_err(|_| ChunkError::BadEvent)?;
        let from = self.member()?;
        let body = self.sized()?;
        if body.len() > limits::EVENT_BYTES_MAX {
            return Err(ChunkError::BadEvent);
        }
        Ok(Some(Said { topic: TopicId(topic), from, body }))
    }

    /// A member id.
    pub fn member(&mut self) -> Result<MemberId, ChunkError> {
        u16::try_from(self.varint()?).map(MemberId).map_err(|_| ChunkError::MemberOutOfRange)
    }

    /// A key and its value in a list of properties, or `None` at the list's end.
    pub fn prop(&mut self) -> Result<Option<(&'a str, Value)>, ChunkError> {
        self.prop_below(limits::ENTITY_ID_MAX)
    }

    /// A key and its value where ids up to `ids_max`, exclusive, have a meaning.
    pub fn prop_below(&mut self, ids_max: u32) -> Result<Option<(&'a str, Value)>, ChunkError> {
        let key = self.sized()?;
        if key.is_empty() {
            return Ok(None);
        }
        if key.len() > limits::PROP_KEY_BYTES_MAX {
            return Err(ChunkError::PropTooLong);
        }
        let key = str::from_utf8(key).map_err(|_| ChunkError::BadValue)?;
        Ok(Some((key, self.value(ids_max)?)))
    }

    fn value(&mut self, ids_max: u32) -> Result<Value, ChunkError> {
        Ok(match self.u8()? {
            0 => Value::Nil,
            1 => Value::Bool(false),
            2 => Value::Bool(true),
            3 => {
                let zigzag = self.varint64()?;
                Value::Int((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
            }
            4 => {
                let bytes = self.take(8)?;
                let num = f64::from_le_bytes(bytes.try_into().map_err(|_| ChunkError::Truncated)?);
                if !num.is_finite() {
                    return Err(ChunkError::BadValue);
                }
                Value::Num(num)
            }
            5 => {
                let text = str::from_utf8(self.prop_value_bytes()?);
                Value::Str(text.map_err(|_| ChunkError::BadValue)?.into())
            }
            6 => Value::Bytes(self.prop_value_bytes()?.into()),
            7 => {
                let entity = self.varint()?;
                if entity >= ids_max {
                    return Err(ChunkError::EntityOutOfRange);
                }
                Value::Entity(EntityId(entity))
            }
            _ => return Err(ChunkError::BadValue),
        })
    }

    fn prop_value_bytes(&mut self) -> Result<&'a [u8], ChunkError> {
        let bytes = self.sized()?;
        if bytes.len() > limits::PROP_VALUE_BYTES_MAX {
            return Err(ChunkError::PropTooLong);
        }
        Ok(bytes)
    }
}

/// Reads the ids of a list written by [`super::GapWriter`].
#[derive(Debug, Default)]
pub struct GapReader {
    /// One more than the last id read; 0 before the first.
    next: u32,
}

impl GapReader {
    /// The next id, or `None` at the list's end.
    ///
    /// # Errors
    /// [`ChunkError::EntityOutOfRange`] or what is wrong with the varint.
    #[inline]
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<EntityId>, ChunkError> {
        self.next_below(limits::ENTITY_ID_MAX, reader)
    }

    /// The next id of a list in which ids up to `ids_max`, exclusive, have a meaning.
    ///
    /// # Errors
    /// As [`GapReader::next`].
    #[inline]
    pub fn next_below(
        &mut self,
        ids_max: u32,
        reader: &mut Reader<'_>,
    ) -> Result<Option<EntityId>, ChunkError> {
        let gap = reader.varint()?;
        if gap == 0 {
            return Ok(None);
        }
        match u32::try_from(u64::from(self.next) + u64::from(gap) - 1) {
            Ok(id) if id < ids_max => {
                self.next = id + 1;
                Ok(Some(EntityId(id)))
            }
            _ => Err(ChunkError::EntityOutOfRange),
        }
    }
}
