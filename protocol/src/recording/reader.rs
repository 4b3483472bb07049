//! Reads a recording off the front of its bytes. Nothing is trusted: a file comes from a disk, or
//! from somebody who reports a fault.

use std::collections::BTreeMap;

use super::{
    CHECKPOINT, CHECKPOINT_TICKS, CONFIGURE, DROP, END, EVENTS, EndReason, Event, HEADER, HIDDEN,
    Header, INPUT, INPUT_AGAIN, INPUT_NEXT, JOIN, KICK, KIND_BITS, LEAVE, LISTED, LOCKED, LoggedAt,
    MAGIC, METADATA, OTHER, PASS_OVER, PASSWORD, PUBLISH, RETURN, SAW, SPECTATE, StateHash,
    VERSION, WRITE,
};
use crate::chunks::{self, ChunkError};
use crate::client_message::{Configure, Recipients};
use crate::ids::{self, InputSeq, MemberId, OpId, RoomKey, Tick, TopicId};
use crate::limits;

/// Bytes of a checksum.
const CRC_BYTES: usize = 4;

/// Bytes before the first record.
const PROLOGUE_BYTES: usize = MAGIC.len() + 1 + 8 + CRC_BYTES;

/// The last moment there can be, in milliseconds: nine thousand years, which is far from the end of
/// a number of microseconds.
const MS_MAX: u64 = 1 << 48;

/// What a recording says next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry<'a> {
    /// Something happened.
    Event(LoggedAt, Event<'a>),
    /// What the hash was behind a tick.
    Checkpoint(Tick, StateHash),
    /// The room ended in this tick.
    End(Tick, EndReason),
}

/// How a recording stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tail {
    /// With the end of its room.
    Ended,
    /// Behind a whole record: the server stopped, or gave the recording up.
    Open,
    /// In the middle of a record that was never written to its end, with so many bytes of it.
    Cut(usize),
}

/// What is wrong with a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordingError {
    /// It begins with something else.
    #[error("this is no recording of a room: it does not begin with `tickloom recording`")]
    NotARecording,
    /// It was written by another version.
    #[error("this is a recording of format {0}, and this program reads format {VERSION}")]
    Version(u8),
    /// It ends before it says what room it is about.
    #[error("this recording ends before it says which room it is of: its server stopped first")]
    NoHeader,
    /// It does not keep to the grammar or to its checksums.
    #[error("the recording is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where the record begins.
        offset: usize,
        /// What is wrong there.
        what: Damage,
    },
}

/// What is wrong with a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Damage {
    /// Bytes changed after they were written.
    #[error("the checksum is of something else")]
    Checksum,
    /// A kind of record or event that there is not, or not here.
    #[error("nothing of kind {0} belongs here")]
    Kind(u32),
    /// A piece of it cannot be.
    #[error("{0}")]
    Piece(#[from] ChunkError),
    /// A name that is no text or no name.
    #[error("a name is none")]
    Name,
    /// A tick beyond the last there can be, or one that was over.
    #[error("a tick or time cannot be there")]
    Time,
    /// A piece that is longer than anybody may send it.
    #[error("something is longer than it may be")]
    Length,
    /// There is more behind the end.
    #[error("something stands behind the end")]
    Excess,
}

/// Reads one recording from its beginning to its end.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    unix_ms: u64,
    header: Header,
    /// What was not read yet, and how much was.
    rest: &'a [u8],
    offset: usize,
    /// Events of the record that is being read.
    events: chunks::Reader<'a>,
    /// Where that record begins.
    events_at: usize,
    at: LoggedAt,
    /// Whether the record before was of events, whose tick may go on.
    is_within_tick: bool,
    /// The last input of each member that sent one.
    inputs: BTreeMap<MemberId, (InputSeq, &'a [u8])>,
    tail: Tail,
}

impl<'a> Reader<'a> {
    /// Reads what a file begins with.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(file: &'a [u8]) -> Result<Self, RecordingError> {
        let behind_magic = file.strip_prefix(MAGIC).ok_or(RecordingError::NotARecording)?;
        match behind_magic.first() {
            Some(&VERSION) => {}
            Some(version) => return Err(RecordingError::Version(*version)),
            None => return Err(RecordingError::NoHeader),
        }
        let (prologue, rest) =
            file.split_at_checked(PROLOGUE_BYTES).ok_or(RecordingError::NoHeader)?;
        let (prologue, crc) = prologue.split_last_chunk().ok_or(RecordingError::NoHeader)?;
        if crc32fast::hash(prologue) != u32::from_le_bytes(*crc) {
            return Err(RecordingError::Damaged { offset: 0, what: Damage::Checksum });
        }
        let unix_ms = prologue.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let damaged = |what| RecordingError::Damaged { offset: PROLOGUE_BYTES, what };
        let (body, used) = record(rest).map_err(damaged)?.ok_or(RecordingError::NoHeader)?;
        Ok(Self {
            unix_ms,
            header: header(body).map_err(damaged)?,
            rest: &rest[used..],
            offset: PROLOGUE_BYTES + used,
            events: chunks::Reader::new(&[]),
            events_at: 0,
            at: LoggedAt::default(),
            is_within_tick: false,
            inputs: BTreeMap::new(),
            tail: Tail::Open,
        })
    }

    /// When the recording began, in milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// What the room was made with.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// How the recording stops, once [`Reader::next`] has returned `None`.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.tail
    }

    /// What the recording says next; `None` at its end.
    ///
    /// # Errors
    /// What is wrong with it. There is nothing to read behind that.
    #[expect(clippy::should_implement_trait, reason = "an iterator would go on behind an error")]
    pub fn next(&mut self) -> Result<Option<Entry<'a>>, RecordingError> {
        while self.events.is_empty() {
            let offset = self.offset;
            let damaged = |what| RecordingError::Damaged { offset, what };
            if self.rest.is_empty() {
                return Ok(None);
            }
            if self.tail == Tail::Ended {
                return Err(damaged(Damage::Excess));
            }
            let Some((body, used)) = record(self.rest).map_err(damaged)? else {
                self.tail = Tail::Cut(self.rest.len());
                return Ok(None);
            };
            self.rest = &self.rest[used..];
            self.offset += used;
            if let Some(entry) = self.entry(body, offset).map_err(damaged)? {
                return Ok(Some(entry));
            }
        }
        let offset = self.events_at;
        let event = self.event().map_err(|what| RecordingError::Damaged { offset, what })?;
        Ok(Some(Entry::Event(self.at, event)))
    }

    /// What a record says by itself; events are read one by one.
    fn entry(&mut self, body: &'a [u8], offset: usize) -> Result<Option<Entry<'a>>, Damage> {
        let mut body = chunks::Reader::new(body);
        let kind = body.u8()?;
        if ![EVENTS, CHECKPOINT, END].contains(&kind) {
            return Err(Damage::Kind(kind.into()));
        }
        // A recorder lets no more ticks pass, so that no few bytes ask for a year of them: those of
        // a checkpoint, and the next one when a room fails before its checkpoint is taken.
        let ticks = body.varint()?;
        let tick = Tick(self.at.tick.0.saturating_add(ticks));
        let is_over = ticks == 0 && !self.is_within_tick;
        if is_over || ticks > CHECKPOINT_TICKS + 1 || tick > Tick::MAX {
            return Err(Damage::Time);
        }
        self.at.tick = tick;
        self.is_within_tick = kind == EVENTS;
        let entry = match kind {
            EVENTS => {
                let ms = self.at.ms.checked_add(body.varint64()?);
                self.at.ms = ms.filter(|ms| *ms <= MS_MAX).ok_or(Damage::Time)?;
                (self.events, self.events_at) = (body, offset);
                return Ok(None);
            }
            CHECKPOINT => {
                let hash = StateHash { shown: body.u32()?, hidden: body.u32()? };
                Entry::Checkpoint(tick, hash)
            }
            _ => {
                let reason = body.u8()?;
                let known = EndReason::ALL.get(usize::from(reason)).copied();
                self.tail = Tail::Ended;
                Entry::End(tick, known.ok_or(Damage::Kind(reason.into()))?)
            }
        };
        if body.is_empty() { Ok(Some(entry)) } else { Err(Damage::Excess) }
    }

    fn event(&mut self) -> Result<Event<'a>, Damage> {
        let row_bytes = self.header.input_row_bytes;
        let events = &mut self.events;
        let head = events.varint()?;
        let member = u16::try_from(head >> KIND_BITS).map(MemberId);
        let member = member.map_err(|_| Damage::Piece(ChunkError::MemberOutOfRange))?;
        let kind = head & ((1 << KIND_BITS) - 1);
        Ok(match kind {
            INPUT_AGAIN | INPUT_NEXT | INPUT => {
                let last = self.inputs.get(&member);
                let next = last.map_or(1, |(seq, _)| seq.0.wrapping_add(1));
                let seq = InputSeq(if kind == INPUT { events.varint()? } else { next });
                let row = match (kind, last) {
                    (INPUT_AGAIN, Some((_, row))) => row,
                    (INPUT_AGAIN, None) => return Err(Damage::Kind(kind)),
                    _ => events.take(row_bytes)?,
                };
                self.inputs.insert(member, (seq, row));
                Event::Input { member, seq, row }
            }
            JOIN => Event::Join { name: name(events)?, options: options(events)? },
            LEAVE => {
                self.inputs.remove(&member);
                Event::Leave(member)
            }
            WRITE => {
                let if_tick = Tick(events.varint()?);
                Event::Write { member, if_tick, changes: events.sized()? }
            }
            PUBLISH => {
                let topic = u16::try_from(events.varint()?).map(TopicId);
                let topic = topic.map_err(|_| Damage::Piece(ChunkError::BadEvent))?;
                let to = Recipients::of(sized(events, 2 * limits::RECIPIENTS_MAX)?);
                let body = sized(events, limits::EVENT_BYTES_MAX)?;
                Event::Publish { member, topic, to, body }
            }
            OTHER => return self.other(member),
            _ => return Err(Damage::Kind(kind)),
        })
    }

    fn other(&mut self, member: MemberId) -> Result<Event<'a>, Damage> {
        let events = &mut self.events;
        Ok(match events.u8()? {
            SPECTATE => Event::Spectate { name: name(events)?, options: options(events)? },
            CONFIGURE => {
                let flags = events.u8()?;
                let said =
                    |[said, is_so]: [u8; 2]| (flags & said != 0).then_some(flags & is_so != 0);
                let password = said(PASSWORD).map(|is_some| if is_some { HIDDEN } else { "" });
                let metadata = match flags & METADATA {
                    0 => None,
                    _ => Some(sized(events, limits::METADATA_BYTES_MAX)?),
                };
                let (op, locked, listed) = (OpId::NONE, said(LOCKED), said(LISTED));
                let configure = Configure { op, locked, listed, password, metadata };
                Event::Configure { member, configure }
            }
            KICK => {
                let kicked = events.member()?;
                let message = sized(events, limits::CLOSE_REASON_BYTES_MAX)?;
                let message = str::from_utf8(message).map_err(|_| Damage::Name)?;
                Event::Kick { member, kicked, message }
            }
            SAW => Event::Saw { member, seen: ids::Moment(events.varint64()?) },
            DROP => {
                self.inputs.remove(&member);
                Event::Drop(member)
            }
            RETURN => {
                self.inputs.remove(&member);
                Event::Return(member)
            }
            PASS_OVER => Event::PassOver(member),
            other => return Err(Damage::Kind(other.into())),
        })
    }
}

/// What somebody is called.
fn name<'a>(bytes: &mut chunks::Reader<'a>) -> Result<&'a str, Damage> {
    let name = sized(bytes, limits::NAME_BYTES_MAX)?;
    str::from_utf8(name).map_err(|_| Damage::Name)
}

/// What somebody brings along.
fn options<'a>(bytes: &mut chunks::Reader<'a>) -> Result<&'a [u8], Damage> {
    sized(bytes, limits::JOIN_OPTIONS_BYTES_MAX)
}

/// Bytes behind their length: no more of them than a client may send.
fn sized<'a>(bytes: &mut chunks::Reader<'a>, bytes_max: usize) -> Result<&'a [u8], Damage> {
    let sized = bytes.sized()?;
    if sized.len() > bytes_max { Err(Damage::Length) } else { Ok(sized) }
}

/// The body of the record that `bytes` begin with, and how many of them it takes; `None` when not
/// all of it is there.
fn record(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Damage> {
    let mut reader = chunks::Reader::new(bytes);
    let read = reader.sized().and_then(|body| Ok((body, reader.u32()?)));
    match read {
        Ok((body, crc)) if crc32fast::hash(body) == crc => {
            Ok(Some((body, bytes.len() - reader.len())))
        }
        Ok(_) => Err(Damage::Checksum),
        Err(ChunkError::Truncated) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn header(body: &[u8]) -> Result<Header, Damage> {
    let mut body = chunks::Reader::new(body);
    let kind = body.u8()?;
    if kind != HEADER {
        return Err(Damage::Kind(kind.into()));
    }
    let text = |bytes| str::from_utf8(bytes).map_err(|_| Damage::Name);
    let server = text(sized(&mut body, limits::NAME_BYTES_MAX)?)?;
    // It is printed.
    if server.chars().any(char::is_control) {
        return Err(Damage::Name);
    }
    let (room_type, room) = (text(body.sized()?)?, text(body.sized()?)?);
    let room = RoomKey::parse(room_type, room).ok_or(Damage::Name)?;
    let seed = u64::from_le_bytes(body.take(8)?.try_into().map_err(|_| ChunkError::Truncated)?);
    let options = options(&mut body)?.into();
    let metadata = sized(&mut body, limits::METADATA_BYTES_MAX)?.into();
    let (tick_rate_hz, spec_hash) = (body.varint()?, body.u32()?);
    let input_row_bytes = body.varint()? as usize;
    if input_row_bytes > limits::INPUT_ROW_BYTES_MAX || !body.is_empty() {
        return Err(Damage::Excess);
    }
    let server = server.into();
    Ok(Header { server, room, seed, options, metadata, tick_rate_hz, spec_hash, input_row_bytes })
}
