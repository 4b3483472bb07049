//! The file in which what happened to one room is kept, to make it happen again.
//!
//! A room's logic knows nothing but its seed and what comes from outside, so that is all that is
//! kept: who joined and left, what they did, wrote and said, each with the tick it happened in.
//! Inputs are kept as they arrived and not as ticks took them: taking is the room's own doing,
//! which a replay repeats, and a repeated input costs nothing that way.
//!
//! ```text
//! file       := "tickloom recording\n" version:u8 unix_ms:u64 crc:u32 record*
//! record     := length body crc:u32                  crc: CRC-32 (ISO-HDLC) of the body, above of
//!                                                    everything before it
//! body       := 1 header                             the first record, and only there
//!             | 2 ticks ms event*                    both since the record before
//!             | 3 ticks shown:u32 hidden:u32         the state's hash behind the tick before
//!             | 4 ticks reason:u8                    the last record, if there was time for it
//! event      := head ...                             head := member << 3 | kind
//! kind       := 0 as the last one, with the next seq | 1 row, with the next seq | 2 seq row
//!             | 3 name options (join, of nobody yet) | 4 (leave) | 5 if_tick changes (write)
//!             | 6 topic recipients body (publish) | 7 other
//! other      := 0 name options (spectate) | 1 flags:u8 metadata? (configure) | 2 kicked message
//!             | 3 seen (saw) | 4 (drop) | 5 (return) | 6 (pass over)
//! ```
//!
//! Numbers without a type are LEB128, texts and bytes stand behind their length, rows have the
//! length that the header says, and words are little endian. `ticks` and `ms` count from the record
//! before; `ticks` is 0 only behind events. Passwords are left out: of one that was set it is only
//! kept that it was. A file whose end is missing is whole up to its last whole record.

mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use crate::chunks::{put_bytes, put_varint, put_varint64};
use crate::client_message::{Configure, Recipients};
use crate::ids::{self, InputSeq, MemberId, RoomKey, Tick, TopicId};

pub use reader::{Damage, Entry, Reader, RecordingError, Tail};

/// What every file begins with. A person who looks into one sees what it is.
pub const MAGIC: &[u8] = b"tickloom recording\n";

/// The version of the grammar that this crate writes and reads.
pub const VERSION: u8 = 1;

/// Ticks from one hash of the state to the next.
pub const CHECKPOINT_TICKS: u32 = 60;

/// Bytes of events after which a record ends although its tick does not.
const RECORD_BYTES: usize = 64 * 1024;

const HEADER: u8 = 1;
const EVENTS: u8 = 2;
const CHECKPOINT: u8 = 3;
const END: u8 = 4;

const KIND_BITS: u32 = 3;
const INPUT_AGAIN: u32 = 0;
const INPUT_NEXT: u32 = 1;
const INPUT: u32 = 2;
const JOIN: u32 = 3;
const LEAVE: u32 = 4;
const WRITE: u32 = 5;
const PUBLISH: u32 = 6;
const OTHER: u32 = 7;

const SPECTATE: u8 = 0;
const CONFIGURE: u8 = 1;
const KICK: u8 = 2;
const SAW: u8 = 3;
const DROP: u8 = 4;
const RETURN: u8 = 5;
const PASS_OVER: u8 = 6;

/// Flags of a configuration: what is said, and what of it is true.
const LOCKED: [u8; 2] = [1 << 0, 1 << 1];
const LISTED: [u8; 2] = [1 << 2, 1 << 3];
const PASSWORD: [u8; 2] = [1 << 4, 1 << 5];
const METADATA: u8 = 1 << 6;

/// What stands for a password.
const HIDDEN: &str = "*";

/// What a room was made with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// The version of the server.
    pub server: Box<str>,
    /// Which room.
    pub room: RoomKey,
    /// What its randomness was seeded with.
    pub seed: u64,
    /// What its first joiner sent.
    pub options: Box<[u8]>,
    /// What the room said of itself then: properties in the grammar of [`crate::chunks`].
    pub metadata: Box<[u8]>,
    /// Ticks per second; 0 in a room that ticks when something changed.
    pub tick_rate_hz: u32,
    /// The hash of everything else that it was made of: with another one, the same events mean
    /// something else.
    pub spec_hash: u32,
    /// The length of an input.
    pub input_row_bytes: usize,
}

/// When something happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoggedAt {
    /// In which tick: the one that was under construction.
    pub tick: Tick,
    /// Milliseconds since the recording began, rounded to when that tick was taken.
    pub ms: u64,
}

/// Something that happened to a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// Somebody who was let in wanted a seat; whether they got one follows from the room.
    Join {
        /// What they want to be called.
        name: &'a str,
        /// Bytes for the room's logic.
        options: &'a [u8],
    },
    /// Somebody who was let in wanted to watch.
    Spectate {
        /// What they want to be called.
        name: &'a str,
        /// Bytes for the room's logic.
        options: &'a [u8],
    },
    /// The host changed what the room is to newcomers; what the logic says to that follows.
    Configure {
        /// The host.
        member: MemberId,
        /// How. Of a password it is only known whether there is one.
        configure: Configure<'a>,
    },
    /// The host sends somebody away; what the logic says to that follows, and so does the leave.
    Kick {
        /// The host.
        member: MemberId,
        /// Whom.
        kicked: MemberId,
        /// Why.
        message: &'a str,
    },
    /// A member's seat was taken back.
    Leave(MemberId),
    /// What a member says that it saw, in 256ths of a tick, with its inputs from here on.
    Saw {
        /// Who.
        member: MemberId,
        /// When that was.
        seen: ids::Moment,
    },
    /// A member's connection broke, and its seat is kept.
    Drop(MemberId),
    /// A member goes on over another connection, whether or not the one before had broken.
    Return(MemberId),
    /// The next member is not to get this id.
    PassOver(MemberId),
    /// An input of a member arrived.
    Input {
        /// Whose.
        member: MemberId,
        /// Its number.
        seq: InputSeq,
        /// What, in the room's input layout.
        row: &'a [u8],
    },
    /// A member wrote what it was allowed to; what the logic says to that follows from the room.
    Write {
        /// Who.
        member: MemberId,
        /// The condition.
        if_tick: Tick,
        /// What.
        changes: &'a [u8],
    },
    /// A member said what it was allowed to; what the logic says to that follows from the room.
    Publish {
        /// Who.
        member: MemberId,
        /// On which topic.
        topic: TopicId,
        /// To whom.
        to: Recipients<'a>,
        /// What.
        body: &'a [u8],
    },
}

/// The hash of a room behind a tick, in two halves, so that a replay that differs says where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StateHash {
    /// Of what members are shown, all of them together.
    pub shown: u32,
    /// Of what nobody is shown: the randomness to come, and what the logic keeps to itself.
    pub hidden: u32,
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{:08x}", self.shown, self.hidden)
    }
}

/// Why a recording ended in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// Nobody came back to the empty room.
    Empty,
    /// The room's logic ended it.
    Closed,
    /// Its state no longer fitted into a message, which a replay that sends none cannot tell.
    Oversized,
    /// The room's logic panicked.
    Panicked,
}

impl EndReason {
    const ALL: [Self; 4] = [Self::Empty, Self::Closed, Self::Oversized, Self::Panicked];
}

/// What a file begins with, before its records; `unix_ms` is when it began.
#[must_use]
pub fn prologue(unix_ms: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.push(VERSION);
    bytes.extend(unix_ms.to_le_bytes());
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

/// Puts what happens to one room into records. It knows no files: whoever has one takes the whole
/// records that wait.
#[derive(Debug)]
pub struct Recorder {
    /// Whole records.
    records: Vec<u8>,
    /// Events since the last of them, all of one tick.
    events: Vec<u8>,
    /// What the last record was about.
    last: LoggedAt,
    /// Now: the tick under construction, and when it began.
    now: LoggedAt,
    /// The last input of each member that sent one.
    inputs: BTreeMap<MemberId, (InputSeq, Box<[u8]>)>,
}

impl Recorder {
    /// The recorder of a room that was just made and is about to build its first tick.
    #[must_use]
    pub fn new(header: &Header) -> Self {
        let mut recorder = Self {
            records: Vec::new(),
            events: Vec::new(),
            last: LoggedAt::default(),
            now: LoggedAt { tick: Tick::ZERO.next(), ms: 0 },
            inputs: BTreeMap::new(),
        };
        let mut body = vec![HEADER];
        for text in [&*header.server, &*header.room.room_type, &*header.room.room] {
            put_bytes(&mut body, text.as_bytes());
        }
        body.extend(header.seed.to_le_bytes());
        put_bytes(&mut body, &header.options);
        put_bytes(&mut body, &header.metadata);
        put_varint(&mut body, header.tick_rate_hz);
        body.extend(header.spec_hash.to_le_bytes());
        put_varint(&mut body, header.input_row_bytes as u32);
        put_record(&mut recorder.records, &body, &[]);
        recorder
    }

    /// Something happens to the room.
    pub fn push(&mut self, event: &Event<'_>) {
        if self.events.len() >= RECORD_BYTES {
            self.put_events();
        }
        let events = &mut self.events;
        match *event {
            Event::Join { name, options } => {
                put_head(events, MemberId::SERVER, JOIN);
                put_bytes(events, name.as_bytes());
                put_bytes(events, options);
            }
            Event::Spectate { name, options } => {
                put_other(events, MemberId::SERVER, SPECTATE);
                put_bytes(events, name.as_bytes());
                put_bytes(events, options);
            }
            Event::Configure { member, configure } => {
                put_other(events, member, CONFIGURE);
                put_configure(events, &configure);
            }
            Event::Kick { member, kicked, message } => {
                put_other(events, member, KICK);
                put_varint(events, kicked.0.into());
                put_bytes(events, message.as_bytes());
            }
            Event::Leave(member) => {
                put_head(events, member, LEAVE);
                self.inputs.remove(&member);
            }
            Event::Saw { member, seen } => {
                put_other(events, member, SAW);
                put_varint64(events, seen.0);
            }
            // The numbers of inputs begin anew with each connection.
            Event::Drop(member) => {
                put_other(events, member, DROP);
                self.inputs.remove(&member);
            }
            Event::Return(member) => {
                put_other(events, member, RETURN);
                self.inputs.remove(&member);
            }
            Event::PassOver(member) => put_other(events, member, PASS_OVER),
            Event::Input { member, seq, row } => self.push_input(member, seq, row),
            Event::Write { member, if_tick, changes } => {
                put_head(events, member, WRITE);
                put_varint(events, if_tick.0);
                put_bytes(events, changes);
            }
            Event::Publish { member, topic, to, body } => {
                put_head(events, member, PUBLISH);
                put_varint(events, u32::from(topic.0));
                put_bytes(events, to.bytes());
                put_bytes(events, body);
            }
        }
    }

    /// Who holds a key sends the same row tick after tick: that is one byte each.
    fn push_input(&mut self, member: MemberId, seq: InputSeq, row: &[u8]) {
        let events = &mut self.events;
        let last = self.inputs.get_mut(&member);
        let is_next = seq.0 == last.as_ref().map_or(1, |(seq, _)| seq.0.wrapping_add(1));
        match last {
            Some((last, held)) if is_next && **held == *row => {
                *last = seq;
                return put_head(events, member, INPUT_AGAIN);
            }
            Some((last, held)) if held.len() == row.len() => {
                *last = seq;
                held.copy_from_slice(row);
            }
            _ => drop(self.inputs.insert(member, (seq, row.into()))),
        }
        put_head(events, member, if is_next { INPUT_NEXT } else { INPUT });
        if !is_next {
            put_varint(events, seq.0);
        }
        events.extend_from_slice(row);
    }

    /// The tick under construction is taken, `ms` after the recording began. What happens from now
    /// on happens in the next one.
    pub fn end_tick(&mut self, ms: u64) {
        self.now.ms = ms.max(self.now.ms);
        self.put_events();
        self.now.tick = self.now.tick.next();
    }

    /// What the hash is behind the tick that ended last.
    pub fn put_checkpoint(&mut self, hash: StateHash) {
        let tick = Tick(self.now.tick.0.saturating_sub(1));
        let mut body = vec![CHECKPOINT];
        put_varint(&mut body, tick.0.saturating_sub(self.last.tick.0));
        body.extend(hash.shown.to_le_bytes());
        body.extend(hash.hidden.to_le_bytes());
        put_record(&mut self.records, &body, &[]);
        self.last.tick = tick;
    }

    /// Nothing will happen any more.
    pub fn end(&mut self, reason: EndReason) {
        self.put_events();
        let mut body = vec![END];
        put_varint(&mut body, self.now.tick.0 - self.last.tick.0);
        body.push(reason as u8);
        put_record(&mut self.records, &body, &[]);
    }

    fn put_events(&mut self) {
        if self.events.is_empty() {
            return;
        }
        let mut head = vec![EVENTS];
        put_varint(&mut head, self.now.tick.0 - self.last.tick.0);
        put_varint64(&mut head, self.now.ms - self.last.ms);
        put_record(&mut self.records, &head, &self.events);
        self.events.clear();
        self.last = self.now;
    }

    /// Bytes that wait, in whole records and on the way there.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.records.len() + self.events.len()
    }

    /// Ends the record under construction and takes everything that waits.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        self.put_events();
        std::mem::take(&mut self.records)
    }
}

fn put_head(events: &mut Vec<u8>, member: MemberId, kind: u32) {
    put_varint(events, (u32::from(member.0) << KIND_BITS) | kind);
}

fn put_other(events: &mut Vec<u8>, member: MemberId, kind: u8) {
    put_head(events, member, OTHER);
    events.push(kind);
}

fn put_configure(events: &mut Vec<u8>, configure: &Configure<'_>) {
    let Configure { locked, listed, password, metadata, .. } = *configure;
    let flags = |[said, is_so]: [u8; 2], value: Option<bool>| match value {
        None => 0,
        Some(false) => said,
        Some(true) => said | is_so,
    };
    let has_password = password.map(|password| !password.is_empty());
    let flags = flags(LOCKED, locked) | flags(LISTED, listed) | flags(PASSWORD, has_password);
    events.push(if metadata.is_some() { flags | METADATA } else { flags });
    if let Some(metadata) = metadata {
        put_bytes(events, metadata);
    }
}

fn put_record(records: &mut Vec<u8>, head: &[u8], rest: &[u8]) {
    put_varint(records, (head.len() + rest.len()) as u32);
    let start = records.len();
    records.extend_from_slice(head);
    records.extend_from_slice(rest);
    let crc = crc32fast::hash(&records[start..]);
    records.extend(crc.to_le_bytes());
}
