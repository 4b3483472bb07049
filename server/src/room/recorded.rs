//! A room's part in its own recording: what it is made of, what happens to it, and its hash.
//!
//! Every public function of a room that lets something in from outside says so here before it has
//! an effect. What a room does by itself is not recorded: a replay does it again.

use tickloom_protocol::chunks::put_varint;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::recording::{
    CHECKPOINT_TICKS, EndReason, Event, Header, Recorder, StateHash,
};
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::{Joined, RoomClock, ServerEncoder, ServerMessage};
use tickloom_protocol::time::Timestamp;

use super::Room;
use crate::recording::Recording;
use crate::room::logic::{Cadence, RoomSpec};

/// Bytes after which what was recorded is handed over, when no checkpoint comes before.
const PIECE_BYTES: usize = 16 * 1024;

/// Most bytes that may wait to be handed over. That happens after each tick, so more would mean
/// that one tick takes in more than a disk does in a hundredth of a second.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// What a room records of itself.
#[derive(Debug)]
pub(super) struct RoomRecorder {
    recorder: Recorder,
    began: Timestamp,
    /// Set by a checkpoint, with which a piece ends.
    is_due: bool,
    /// Set when more was to be recorded than may wait. What waits stays, and no more is added.
    is_overfull: bool,
}

/// What a room has recorded since it was asked last.
#[derive(Debug)]
pub enum Recorded {
    /// Nothing that is worth handing over.
    Nothing,
    /// Whole records.
    Records(Vec<u8>),
    /// The recording ended, because too much happened at once.
    Overfull,
}

impl Room {
    /// What its type wants to be kept of the room.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.spec.record
    }

    /// From now on, what happens to the room is recorded. It was just made, at `now` and for a first
    /// joiner with these options.
    pub fn begin_recording(&mut self, now: Timestamp, options: &[u8]) {
        debug_assert_eq!(self.joins_count, 0, "{}: something happened before", self.key);
        let recorder = Recorder::new(&self.recording_header(options));
        let recorder = RoomRecorder { recorder, began: now, is_due: false, is_overfull: false };
        self.recorder = Some(Box::new(recorder));
    }

    /// What a recording of this room begins with.
    #[must_use]
    pub fn recording_header(&self, options: &[u8]) -> Header {
        Header {
            server: env!("CARGO_PKG_VERSION").into(),
            room: self.key.clone(),
            seed: self.seed,
            options: options.into(),
            metadata: self.admission().metadata().bytes().into(),
            tick_rate_hz: match self.spec.cadence {
                Cadence::Fixed { tick_rate_hz, .. } => tick_rate_hz,
                Cadence::OnChange { .. } => 0,
            },
            spec_hash: hash_of_spec(&self.spec),
            input_row_bytes: self.spec.schema.input().row_bytes(),
        }
    }

    /// Nothing is recorded any more.
    pub fn stop_recording(&mut self) {
        self.recorder = None;
    }

    /// Whether what happens to the room is recorded.
    #[must_use]
    pub fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// Something happens to the room.
    #[inline]
    pub(super) fn record(&mut self, event: Event<'_>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.push(&event);
        }
    }

    /// The tick under construction is taken.
    #[inline]
    pub(super) fn record_tick(&mut self, now: Timestamp) {
        if let Some(RoomRecorder { recorder, began, .. }) = self.recorder.as_deref_mut() {
            recorder.end_tick(now.saturating_since(*began).as_millis() as u64);
        }
    }

    /// The tick has ended: now and then, what came of it is recorded, too.
    #[inline]
    pub(super) fn record_outcome(&mut self) {
        if self.recorder.is_some() && self.ticker.tick().0.is_multiple_of(CHECKPOINT_TICKS) {
            let hash = self.state_hash();
            if let Some(recorder) = &mut self.recorder {
                recorder.recorder.put_checkpoint(hash);
                recorder.is_due = true;
            }
        }
    }

    /// The beginning of a recording that has just begun.
    #[must_use]
    pub fn take_recording_head(&mut self) -> Vec<u8> {
        self.recorder.as_mut().map_or_else(Vec::new, |recorder| recorder.recorder.take())
    }

    /// What was recorded, if it is enough to be handed over or the room is empty: then it may end at
    /// any moment.
    #[must_use]
    pub fn take_recorded(&mut self) -> Recorded {
        let is_empty = self.members.is_empty();
        let Some(recorder) = &mut self.recorder else { return Recorded::Nothing };
        if recorder.is_overfull {
            self.recorder = None;
            return Recorded::Overfull;
        }
        let waiting = recorder.recorder.bytes();
        if waiting > 0 && (is_empty || recorder.is_due || waiting >= PIECE_BYTES) {
            recorder.is_due = false;
            return Recorded::Records(recorder.recorder.take());
        }
        Recorded::Nothing
    }

    /// Ends the recording with its room. What was recorded and not taken yet.
    #[must_use]
    pub fn end_recording(&mut self, reason: EndReason) -> Recorded {
        match self.recorder.take() {
            None => Recorded::Nothing,
            Some(recorder) if recorder.is_overfull => Recorded::Overfull,
            Some(mut recorder) => {
                recorder.recorder.end(reason);
                Recorded::Records(recorder.recorder.take())
            }
        }
    }

    /// The hash of everything that what is still to come depends on.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        let mut bytes = Vec::new();
        self.put_shown(&mut bytes);
        let shown = crc32fast::hash(&bytes);
        bytes.clear();
        self.put_hidden(&mut bytes);
        StateHash { shown, hidden: crc32fast::hash(&bytes) }
    }

    /// All entities with all values, whoever is shown them, and how much was said.
    fn put_shown(&self, output: &mut Vec<u8>) {
        let entities = self.state.entities();
        for entity in entities.ids() {
            put_varint(output, entity.0);
            put_varint(output, entities.owner(entity).unwrap_or(MemberId::SERVER).0.into());
        }
        for component in 0..self.state.schema().components().len() {
            entities.put_values(ComponentId(component as u8), entities.ids(), output);
        }
        output.extend(self.events.next().to_le_bytes());
        for (id, member) in &self.members {
            put_varint(output, id.0.into());
            put_varint(output, member.entity().0);
            put_varint(output, member.inputs.acked().0);
        }
        output.extend(self.host.unwrap_or(MemberId::SERVER).0.to_le_bytes());
    }

    /// What follows from no value: randomness to come, ids to come, and the logic's own.
    fn put_hidden(&self, output: &mut Vec<u8>) {
        output.extend(self.rng.get_seed().to_le_bytes());
        output.extend(self.next_member.to_le_bytes());
        output.extend(self.joins_count.to_le_bytes());
        output.extend((self.state.vacancies() as u64).to_le_bytes());
        self.logic.save(output);
    }
}

impl RoomRecorder {
    fn push(&mut self, event: &Event<'_>) {
        if self.is_overfull {
            return;
        }
        self.recorder.push(event);
        self.is_overfull = self.recorder.bytes() > WAITING_BYTES_MAX;
    }
}

/// The hash of what rooms are made of, beside their rate.
fn hash_of_spec(spec: &RoomSpec) -> u32 {
    let send_every = match spec.cadence {
        Cadence::Fixed { send_every, .. } => send_every,
        Cadence::OnChange { .. } => 1,
    };
    let mut bytes = Vec::new();
    let places = [spec.members_max, spec.spectators_max, spec.entities_max];
    for count in places.into_iter().chain([spec.events_max, spec.events_bytes_max]) {
        bytes.extend((count as u64).to_le_bytes());
    }
    // The wire has a form for schemas, which changes only when the wire does.
    let clock = RoomClock { epoch: Timestamp::ZERO, tick_us: 0, send_every };
    let schema = RoomSchema::clone(&spec.schema);
    let joined = Joined::new(MemberId::SERVER, EntityId::ROOM, clock, Tick::ZERO, schema);
    let mut encoder = ServerEncoder::default();
    bytes.extend_from_slice(encoder.encode(&ServerMessage::Joined(joined)));
    crc32fast::hash(&bytes)
}
