//! Makes happen again what a recording says, in a real room that nobody listens to.
//!
//! ```
//! use tickloom_server::prelude::*;
//! use tickloom_server::recording::replay::Replay;
//!
//! # fn file_and_types() -> (Vec<u8>, RoomTypes) { Default::default() }
//! let (file, room_types) = file_and_types();
//! match Replay::open(&file, &room_types) {
//!     Ok(mut replay) => println!("{:?}", replay.run(None)?),
//!     Err(error) => println!("{error}"),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use tickloom_protocol::client_message::{Kick, Publish, Write};
use tickloom_protocol::ids::{OpId, Tick};
use tickloom_protocol::recording::{
    EndReason, Entry, Event, Header, LoggedAt, Reader, RecordingError, StateHash, Tail,
};
use tickloom_protocol::time::Timestamp;

use crate::outbox::Outbox;
use crate::properties::Properties;
use crate::room::broadcast::Broadcast;
use crate::room::failure::{Failure, FailureRecord};
use crate::room::logic::Denial;
use crate::room::{Fate, Room};
use crate::rooms::RoomTypes;
use crate::session::{Claim, SessionId};
use crate::session_table::Outboxes;
use crate::tokens::Token;

/// A recording on its way from its beginning to its end.
pub struct Replay<'a> {
    reader: Reader<'a>,
    /// What the recording says next, if its turn has not come yet.
    next: Option<Entry<'a>>,
    room: Room,
    broadcast: Broadcast,
    done: Done,
}

/// What was replayed so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// Ticks.
    pub ticks: u32,
    /// Checkpoints whose hash was the same.
    pub checkpoints: u64,
    /// Inputs of members.
    pub inputs: u64,
    /// Everything else that happened.
    pub others: u64,
}

/// How a replay stopped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Behind the tick that was asked for.
    Until,
    /// With the recording.
    AtEnd(Ending),
    /// The same as in the recording should be and is not.
    Astray(Astray),
}

/// How a recording ended that its replay followed to the end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ending {
    /// Its room ended.
    Room(EndReason),
    /// Its room's logic panicked, and does so again.
    Panicked(Box<FailureRecord>),
    /// It is not known how its room went on.
    Tail(Tail),
}

/// How a replay leaves its recording.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Astray {
    /// It comes to another state.
    #[error("behind tick {tick} {what} (recorded {recorded}, now {replayed})", what = differs(*recorded, *replayed))]
    Hash {
        /// Behind which tick.
        tick: Tick,
        /// What was recorded.
        recorded: StateHash,
        /// What it is now.
        replayed: StateHash,
    },
    /// The room goes on or ends where it did not.
    #[error("in tick {tick} the room {what}")]
    Fate {
        /// When.
        tick: Tick,
        /// What it does other than recorded.
        what: String,
    },
    /// Something is recorded that no server lets happen.
    #[error("in tick {tick} {what}, which no server lets happen: this is not what was recorded")]
    Impossible {
        /// When.
        tick: Tick,
        /// What.
        what: &'static str,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Until => f.write_str("stopped where it was told to"),
            Self::AtEnd(ending) => ending.fmt(f),
            Self::Astray(astray) => write!(f, "desync: {astray}"),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room(EndReason::Empty) => "ended with its room, to which nobody came back",
            Self::Room(EndReason::Closed) => "ended with its room, whose logic ended it",
            Self::Room(EndReason::Oversized) => {
                "ended with its room, whose state no longer fitted into a message"
            }
            Self::Room(EndReason::Panicked) => "ended with its room, whose logic panicked",
            Self::Panicked(record) => {
                let (tick, panicked) = (record.tick, &record.panicked);
                return write!(f, "ended with its room in tick {tick}, as recorded: {panicked}");
            }
            Self::Tail(Tail::Ended | Tail::Open) => {
                "ended before its room: the server stopped, or gave the recording up"
            }
            Self::Tail(Tail::Cut(bytes)) => {
                return write!(
                    f,
                    "ended in the middle of a record, whose {bytes} bytes are left out: the \
                     server was cut off while it wrote them"
                );
            }
        })
    }
}

/// Why a recording cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// Nobody knows what its rooms do.
    #[error("there is no room type `{0}` here, of which the recording is")]
    UnknownRoomType(Box<str>),
    /// Its type has no room for what the first joiner sent.
    #[error("the room type has no such room any more: {0}")]
    Denied(String),
    /// The room type is not what it was.
    #[error(
        "rooms of type `{room_type}` are not what they were when this one was recorded: {what}"
    )]
    OtherSpec {
        /// Which.
        room_type: Box<str>,
        /// What differs.
        what: &'static str,
    },
}

/// Where two hashes differ, in words.
fn differs(recorded: StateHash, replayed: StateHash) -> &'static str {
    match (recorded.shown == replayed.shown, recorded.hidden == replayed.hidden) {
        (false, true) => "what members are shown is something else",
        (true, false) => "members are shown the same, but what the logic keeps to itself differs",
        _ => "the state is another one",
    }
}

/// Where nobody is sent anything: then nothing is encoded either.
struct Nobody;

impl Outboxes for Nobody {
    fn outbox(&mut self, _: SessionId) -> Option<&mut Outbox> {
        None
    }
}

impl<'a> Replay<'a> {
    /// Makes the room that a recording is of, of one of these types.
    ///
    /// # Errors
    /// Why it cannot be replayed.
    ///
    /// # Panics
    /// When the room type's own description is out of its ranges.
    pub fn open(file: &'a [u8], room_types: &RoomTypes) -> Result<Self, ReplayError> {
        let reader = Reader::open(file)?;
        let Header { room: key, seed, options, metadata, .. } = reader.header();
        let room_type = room_types.get(&key.room_type);
        let room_type =
            room_type.ok_or_else(|| ReplayError::UnknownRoomType(key.room_type.clone()))?;
        let room = Room::new(key.clone(), &**room_type, options, Timestamp::ZERO, *seed);
        let mut room = room.map_err(|Denial { message }| ReplayError::Denied(message))?;
        if let Ok(metadata) = Properties::parse(metadata) {
            room.admission_mut().set_metadata(metadata);
        }
        let (now, then) = (room.recording_header(options), reader.header());
        let what = if now.tick_rate_hz != then.tick_rate_hz {
            Some("they tick at another rate")
        } else if now.spec_hash != then.spec_hash || now.input_row_bytes != then.input_row_bytes {
            Some("their schema or their capacities are others")
        } else {
            None
        };
        if let Some(what) = what {
            let room_type = key.room_type.clone();
            return Err(ReplayError::OtherSpec { room_type, what });
        }
        let (broadcast, done) = (Broadcast::default(), Done::default());
        Ok(Self { reader, next: None, room, broadcast, done })
    }

    /// Goes on to the end of the recording or behind this tick.
    ///
    /// # Errors
    /// What is wrong with the recording.
    pub fn run(&mut self, until: Option<Tick>) -> Result<Verdict, RecordingError> {
        let verdict = self.advance(until, u64::MAX)?;
        Ok(verdict.expect("nobody has so many checkpoints"))
    }

    /// Goes on for so many checkpoints at most, to the end of the recording or behind this tick;
    /// `None` when it has not come to either.
    ///
    /// # Errors
    /// What is wrong with the recording.
    pub fn advance(
        &mut self,
        until: Option<Tick>,
        checkpoints_max: u64,
    ) -> Result<Option<Verdict>, RecordingError> {
        let checkpoints_max = self.done.checkpoints.saturating_add(checkpoints_max);
        while self.done.checkpoints < checkpoints_max {
            if self.next.is_none() {
                self.next = self.reader.next()?;
            }
            let Some(next) = self.next else {
                let tail = self.reader.tail();
                return Ok(Some(Verdict::AtEnd(Ending::Tail(tail))));
            };
            let (tick, is_behind) = match next {
                Entry::Event(moment, _) => (moment.tick, false),
                Entry::Checkpoint(tick, _) => (tick, true),
                Entry::End(tick, _) => (tick, false),
            };
            let goal = if is_behind { tick.next() } else { tick };
            if let Some(verdict) = self.tick_to(goal, until)? {
                return Ok(Some(verdict));
            }
            if until.is_some_and(|until| tick > until) {
                return Ok(Some(Verdict::Until));
            }
            self.next = None;
            if let Some(verdict) = self.apply(next) {
                return Ok(Some(verdict));
            }
        }
        Ok(None)
    }

    /// Ticks until this tick is under construction.
    fn tick_to(
        &mut self,
        goal: Tick,
        until: Option<Tick>,
    ) -> Result<Option<Verdict>, RecordingError> {
        while self.room.state().building() < goal {
            let tick = self.room.state().building();
            if until.is_some_and(|until| tick > until) {
                return Ok(Some(Verdict::Until));
            }
            let now = self.room.next_due().unwrap_or_default();
            // What woke the room is not recorded: that it ticked is.
            if self.room.is_asleep() {
                self.room.wake(now);
            }
            let report = self.room.tick(now, &mut self.broadcast, &mut Nobody);
            self.done.ticks += 1;
            if report.fate != Fate::Continues {
                return self.end(tick, report.fate).map(Some);
            }
        }
        Ok(None)
    }

    /// The room has ended of itself: so it has in the recording, or the replay is astray.
    fn end(&mut self, tick: Tick, fate: Fate) -> Result<Verdict, RecordingError> {
        let (reason, what) = match fate {
            Fate::Fails(Failure::Panicked(panicked)) => {
                (EndReason::Panicked, format!("fails, which it did not: {panicked}"))
            }
            Fate::Fails(Failure::Oversized(_)) | Fate::Ends | Fate::Continues => {
                (EndReason::Closed, "ends, which it did not".to_owned())
            }
        };
        // The hash behind the last tick stands before the end.
        if let Some(Entry::Checkpoint(at, recorded)) = self.next
            && at == tick
            && reason == EndReason::Closed
        {
            if let Some(verdict) = self.compare(at, recorded) {
                return Ok(verdict);
            }
            self.next = self.reader.next()?;
        }
        Ok(match self.next {
            Some(Entry::End(_, recorded)) if recorded == reason => {
                Verdict::AtEnd(self.ending(reason))
            }
            None => Verdict::AtEnd(self.ending(reason)),
            Some(_) => Verdict::Astray(Astray::Fate { tick, what }),
        })
    }

    /// Lets happen what the recording says.
    fn apply(&mut self, entry: Entry<'a>) -> Option<Verdict> {
        let event = match entry {
            Entry::Event(LoggedAt { tick, .. }, event) => {
                if let Some(what) = self.impossible(&event) {
                    return Some(Verdict::Astray(Astray::Impossible { tick, what }));
                }
                event
            }
            Entry::Checkpoint(tick, recorded) => return self.compare(tick, recorded),
            Entry::End(tick, reason) => return Some(self.at_recorded_end(tick, reason)),
        };
        self.done.others += 1;
        match event {
            Event::Join { name, options } => {
                // A refusal was one then, too.
                let _ = self.room.seat(Timestamp::ZERO, self.session(), name, options);
            }
            Event::Spectate { name, options } => {
                let _ = self.room.watch(Timestamp::ZERO, self.session(), name, options);
            }
            Event::Configure { member, configure } => {
                let _ = self.room.handle_configure(member, &configure, &Token::KNOWN);
            }
            Event::Kick { member, kicked, message } => {
                let kick = Kick { op: OpId::NONE, member: kicked, message };
                let _ = self.room.handle_kick(member, &kick);
            }
            Event::Leave(member) => self.room.leave(member),
            Event::Saw { member, seen } => {
                self.done.others -= 1;
                self.room.handle_sight(member, seen);
            }
            Event::Drop(member) => self.room.handle_drop(member, Timestamp::ZERO),
            Event::Return(member) => {
                let (token, tick) = (Box::default(), Tick::ZERO);
                let claim = Claim { member, token, tick, events_from: 0, private_from: 0 };
                let session = self.session();
                let _ = self.room.resume(session, &claim);
            }
            Event::PassOver(member) => self.room.pass_over(member),
            Event::Input { member, seq, row } => {
                self.done.others -= 1;
                self.done.inputs += 1;
                let seen = self.room.seen_by(member);
                self.room.handle_input(member, seq, seen, row);
            }
            Event::Write { member, if_tick, changes } => {
                let write = Write { op: OpId::NONE, if_tick, changes };
                let _ = self.room.handle_write(member, &write);
            }
            Event::Publish { member, topic, to, body } => {
                let publish = Publish { op: OpId::NONE, topic, to, body };
                let _ = self.room.handle_publish(member, &publish);
            }
        }
        None
    }

    /// What a shard checks before it tells a room, which relies on it. A file may say anything.
    fn impossible(&mut self, event: &Event<'_>) -> Option<&'static str> {
        match event {
            Event::Input { row, .. } if !self.room.state().schema().input().accepts(row) => {
                Some("an input is outside of its ranges")
            }
            Event::Join { .. } if self.room.seats_free(Timestamp::ZERO) == 0 => {
                Some("somebody takes a seat of a full room")
            }
            Event::Spectate { .. } if !self.room.has_place_to_watch() => {
                Some("somebody watches without a place")
            }
            _ => None,
        }
    }

    /// A session that no other member has.
    fn session(&self) -> SessionId {
        SessionId { index: self.done.others as u32, generation: 0 }
    }

    fn compare(&mut self, tick: Tick, recorded: StateHash) -> Option<Verdict> {
        let replayed = self.room.state_hash();
        if recorded == replayed {
            self.done.checkpoints += 1;
            return None;
        }
        Some(Verdict::Astray(Astray::Hash { tick, recorded, replayed }))
    }

    /// The recording says that the room ended here, and it is still there.
    fn at_recorded_end(&self, tick: Tick, reason: EndReason) -> Verdict {
        let is_so = match reason {
            EndReason::Empty => self.room.players_count() == 0,
            EndReason::Panicked => self.room.panicked().is_some(),
            EndReason::Oversized => true,
            EndReason::Closed => false,
        };
        if is_so {
            return Verdict::AtEnd(self.ending(reason));
        }
        let what = format!("goes on; when it was recorded, it ended there ({reason:?})");
        Verdict::Astray(Astray::Fate { tick, what })
    }

    fn ending(&self, reason: EndReason) -> Ending {
        match self.room.failure_record() {
            Some(record) => Ending::Panicked(Box::new(record)),
            None => Ending::Room(reason),
        }
    }

    /// What the recording says of itself.
    #[must_use]
    pub fn header(&self) -> &Header {
        self.reader.header()
    }

    /// When it began, in milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.reader.unix_ms()
    }

    /// What was replayed so far.
    #[must_use]
    pub fn done(&self) -> Done {
        self.done
    }

    /// The room as it is now.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.room
    }
}

impl std::fmt::Debug for Replay<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay")
            .field("room", &self.room)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
