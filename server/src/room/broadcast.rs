//! From a room's state to its members' outboxes: encode once, share with everybody.
//!
//! ```text
//! frame of one member := header | prefix | shared chunks | private chunks
//!                        `- own, ~65 B -'  `- encoded once '- own, often none
//! ```
//!
//! The shared chunks are encoded once per tick and starting tick: nearly always the tick's delta
//! for everybody, sometimes a snapshot for those who just joined, or a catch-up for those whose
//! queue drained. A member that is behind costs a few numbers.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::ids::{MemberId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::link::put_binary_header;
use tickloom_protocol::server_message::DeltaHead;

use crate::outbox::{Backpressure, LARGE_BYTES_MIN};
use crate::room::events::{EventLog, Hearing};
use crate::room::member::Member;
use crate::room::state::State;
use crate::session::SessionId;
use crate::session_table::Outboxes;

/// Bytes of snapshots and catch-ups that one tick encodes, beside one that it always does. Those who
/// keep up must not wait for those who come or fall behind: a megabyte takes about a millisecond.
const RECOVERY_BYTES_MAX: usize = 256 * 1024;

/// The buffers of one shard's broadcasts, and counts of what went out.
#[derive(Debug, Default)]
pub struct Broadcast {
    prefix: DeltaPrefix,
    /// This tick's shared chunks; one entry nearly always.
    shared: Vec<Shared>,
    /// Bytes encoded for recoveries in this tick.
    recovery_bytes: usize,
    /// Headers, prefixes and chunks of this tick, back to back, shared or not.
    frames: Vec<u8>,
    private: Vec<u8>,
    chunks: Vec<u8>,
    pool: Pool,
    parcels: Vec<Parcel>,
    /// Members that need more than the tick's delta, with the tick since which they wait.
    behind: Vec<(Tick, MemberId)>,
    members: Vec<MemberId>,
    counts: BroadcastCounts,
}

/// Shared chunks up to this many bytes are copied into each member's frame, so that the frame is
/// one piece: that costs less than counting references to several.
const COPIED_BYTES_MAX: usize = 1024;

/// Where a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Start {
    /// The tick it has; [`Tick::ZERO`] for a snapshot.
    since: Tick,
    /// The number of the first event it has not heard.
    events_from: u64,
    /// Whether it also gets what was said before that.
    history: bool,
}

/// Chunks that every member in the same position gets.
#[derive(Debug)]
struct Shared {
    start: Start,
    chunks: Piece,
}

/// One member's frame.
#[derive(Debug)]
struct Parcel {
    session: SessionId,
    /// What is in one piece from its first byte, in `frames`.
    head: Range<usize>,
    /// Shared chunks that are not in it, as an index into `shared`.
    shared: Option<usize>,
    /// Private chunks that are not in it.
    tail: Option<Piece>,
}

/// A piece of a frame.
#[derive(Clone, Debug)]
enum Piece {
    /// A range of `frames`.
    Small(Range<usize>),
    /// Bytes of their own: whoever holds a piece of `frames` holds all of them.
    Large(Bytes),
}

impl Piece {
    /// Puts bytes where pieces of their size are kept.
    fn put(bytes: &[u8], frames: &mut Vec<u8>) -> Self {
        if bytes.len() >= LARGE_BYTES_MIN {
            return Self::Large(Bytes::copy_from_slice(bytes));
        }
        let start = frames.len();
        frames.extend_from_slice(bytes);
        Self::Small(start..frames.len())
    }

    fn len(&self) -> usize {
        match self {
            Self::Small(range) => range.len(),
            Self::Large(bytes) => bytes.len(),
        }
    }

    fn of(&self, frames: &Bytes) -> Bytes {
        match self {
            Self::Small(range) => frames.slice(range.clone()),
            Self::Large(bytes) => bytes.clone(),
        }
    }
}

/// Memory for the frames of one tick. When they have all left, the next tick uses it again, so a
/// steady room allocates nothing; a socket that takes no more copies what it still holds.
#[derive(Debug, Default)]
struct Pool {
    free: BytesMut,
}

impl Pool {
    fn share(&mut self, bytes: &[u8]) -> Bytes {
        let has_place = self.free.capacity() >= bytes.len() || self.free.try_reclaim(bytes.len());
        if !has_place {
            self.free = BytesMut::with_capacity(bytes.len().next_power_of_two());
        }
        self.free.extend_from_slice(bytes);
        self.free.split().freeze()
    }
}

/// What a broadcast is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occasion {
    /// The tick that was broadcast before this one.
    pub previous: Tick,
    /// Whether to state the hash of each stream.
    pub with_hash: bool,
    /// States that may wait in a member's queue before it is passed over: a second of them. Bytes
    /// alone would let a client with a thin line see the past of a minute ago.
    pub states_waiting_max: u32,
}

/// What is to be said: state and events of one room.
#[derive(Debug)]
pub struct Content<'a> {
    /// What is.
    pub state: &'a mut State,
    /// What was said.
    pub events: &'a mut EventLog,
}

/// A room's state outgrew the largest message a client takes, so nobody can be told about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a message of {bytes} bytes is more than clients take")]
pub struct Oversized {
    /// The size of the message.
    pub bytes: usize,
}

/// What went out, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BroadcastCounts {
    /// Frames that moved a member from the previous tick to this one.
    pub deltas: u64,
    /// Frames that moved a member over several ticks at once.
    pub catch_ups: u64,
    /// Frames that replaced what a member had.
    pub snapshots: u64,
    /// Members passed over because their queue was not empty.
    pub skipped: u64,
    /// Snapshots and catch-ups put off to the next tick, because this one had encoded enough.
    pub deferred: u64,
    /// Times shared chunks were encoded.
    pub encodings: u64,
}

impl Broadcast {
    /// Queues the state of the tick under construction for every member that takes it. Says
    /// whether somebody was put off to the next tick.
    ///
    /// # Errors
    /// [`Oversized`], when a member's message would be; nobody gets anything then.
    pub fn send(
        &mut self,
        mut content: Content<'_>,
        members: &mut BTreeMap<MemberId, Member>,
        occasion: Occasion,
        outboxes: &mut impl Outboxes,
    ) -> Result<bool, Oversized> {
        self.shared.clear();
        self.parcels.clear();
        self.behind.clear();
        self.frames.clear();
        self.recovery_bytes = 0;
        for (id, member) in members.iter_mut() {
            let Some(outbox) = outboxes.outbox(member.session()) else { continue };
            let is_stale = outbox.states_waiting() >= occasion.states_waiting_max;
            if is_stale || outbox.backpressure() != Backpressure::Ready {
                outbox.owe_state();
                self.counts.skipped += 1;
            } else if member.baseline == occasion.previous && occasion.previous != Tick::ZERO {
                self.counts.deltas += 1;
                self.put_member(&mut content, *id, member, occasion.previous, occasion)?;
                continue;
            } else {
                self.behind.push((member.behind_since, *id));
            }
            if member.behind_since == Tick::ZERO {
                member.behind_since = content.state.building();
            }
        }
        let deferred = self.recover(&mut content, members, occasion)?;
        self.push_parcels(outboxes);
        Ok(deferred)
    }

    /// Brings members to the present from wherever they are, those that wait longest first.
    fn recover(
        &mut self,
        content: &mut Content<'_>,
        members: &mut BTreeMap<MemberId, Member>,
        occasion: Occasion,
    ) -> Result<bool, Oversized> {
        let mut behind = std::mem::take(&mut self.behind);
        behind.sort_unstable();
        let mut deferred = false;
        for (_, id) in &behind {
            let Some(member) = members.get_mut(id) else { continue };
            let reachable = content.state.reaches_back_to(member.baseline);
            let since = if reachable { member.baseline } else { Tick::ZERO };
            let is_encoded = self.position(Start::of(member, since)).is_some();
            if !is_encoded && self.recovery_bytes >= RECOVERY_BYTES_MAX {
                self.counts.deferred += 1;
                deferred = true;
                continue;
            }
            match since {
                Tick::ZERO => self.counts.snapshots += 1,
                _ => self.counts.catch_ups += 1,
            }
            let shared = self.put_member(content, *id, member, since, occasion)?;
            if !is_encoded {
                self.recovery_bytes += self.shared[shared].chunks.len();
            }
            member.behind_since = Tick::ZERO;
        }
        self.behind = behind;
        Ok(deferred)
    }

    fn push_parcels(&mut self, outboxes: &mut impl Outboxes) {
        let frames = self.pool.share(&self.frames);
        for parcel in &self.parcels {
            let Some(outbox) = outboxes.outbox(parcel.session) else { continue };
            outbox.count_state();
            outbox.push(frames.slice(parcel.head.clone()));
            if let Some(shared) = parcel.shared {
                outbox.push(self.shared[shared].chunks.of(&frames));
            }
            if let Some(tail) = &parcel.tail {
                outbox.push(tail.of(&frames));
            }
        }
    }

    /// What went out so far.
    #[must_use]
    pub fn counts(&self) -> BroadcastCounts {
        self.counts
    }

    /// A list of members to reuse.
    pub(crate) fn member_scratch(&mut self) -> &mut Vec<MemberId> {
        &mut self.members
    }

    /// Prepares one member's frame; returns the position of its shared chunks.
    fn put_member(
        &mut self,
        content: &mut Content<'_>,
        id: MemberId,
        member: &mut Member,
        since: Tick,
        occasion: Occasion,
    ) -> Result<usize, Oversized> {
        let shared = self.shared_from(content, Start::of(member, since), occasion);
        self.private.clear();
        content.state.encode_member(id, since, &mut self.private);
        content.events.encode_private(member.listener(), member.hearing, &mut self.private);
        if occasion.with_hash {
            content.state.encode_member_hash(id, &mut self.private);
        }
        let head = DeltaHead {
            tick: content.state.building(),
            base: since,
            ack: member.inputs.acked(),
            margin: member.inputs.margin(),
        };
        let chunks_bytes = self.shared[shared].chunks.len() + self.private.len();
        let bytes = self.prefix.bytes() + chunks_bytes;
        if bytes > limits::SERVER_MESSAGE_BYTES_MAX {
            return Err(Oversized { bytes });
        }
        let start = self.frames.len();
        put_binary_header(bytes, &mut self.frames);
        self.prefix.put(&head, chunks_bytes, &mut self.frames);
        let mut parcel =
            Parcel { session: member.session(), head: start..start, shared: None, tail: None };
        match &self.shared[shared].chunks {
            Piece::Small(range) if range.len() <= COPIED_BYTES_MAX => {
                self.frames.extend_from_within(range.clone());
            }
            Piece::Small(_) | Piece::Large(_) => parcel.shared = Some(shared),
        }
        parcel.head.end = self.frames.len();
        if parcel.shared.is_none() && self.private.len() <= COPIED_BYTES_MAX {
            self.frames.extend_from_slice(&self.private);
            parcel.head.end = self.frames.len();
        } else if !self.private.is_empty() {
            parcel.tail = Some(Piece::put(&self.private, &mut self.frames));
        }
        self.parcels.push(parcel);
        member.baseline = content.state.building();
        member.hearing.public = content.events.next();
        member.hearing.private = member.hearing.private_next;
        member.hearing.history = false;
        Ok(shared)
    }

    fn position(&self, start: Start) -> Option<usize> {
        self.shared.iter().position(|shared| shared.start == start)
    }

    /// The position of the chunks from `start` in `shared`; encodes them when they are new.
    fn shared_from(
        &mut self,
        content: &mut Content<'_>,
        start: Start,
        occasion: Occasion,
    ) -> usize {
        if let Some(position) = self.position(start) {
            return position;
        }
        self.chunks.clear();
        content.state.encode(start.since, &mut self.chunks);
        if start.history {
            content.events.encode_history(start.events_from, &mut self.chunks);
        }
        let has_topics = !content.state.schema().topics().is_empty();
        let always = start.since == Tick::ZERO && has_topics;
        content.events.encode(start.events_from, always, &mut self.chunks);
        if occasion.with_hash {
            content.state.encode_hash(&mut self.chunks);
        }
        self.counts.encodings += 1;
        let chunks = Piece::put(&self.chunks, &mut self.frames);
        self.shared.push(Shared { start, chunks });
        self.shared.len() - 1
    }
}

impl Start {
    fn of(member: &Member, since: Tick) -> Self {
        let Hearing { public, history, .. } = member.hearing;
        Self { since, events_from: public, history }
    }
}
