//! From a room's state to its members' outboxes: encode once, share with everybody.
//!
//! ```text
//! frame of one member := header | prefix | shared chunks | private chunks
//!                        `- own, ~65 B -'  `- encoded once '- own, often none
//! ```
//!
//! The shared chunks are encoded once per tick and starting tick: nearly always the tick's delta
//! for everybody, sometimes a snapshot for those who just joined, or a catch-up for those whose
//! queue drained. A member that is behind costs a few numbers. Where members inflate, the frames
//! that are the same for several of them are compressed once; see `packing`.

mod cell_chunks;
mod packing;
mod views;

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tickloom_protocol::deflate::Compressors;
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::ids::{MemberId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::link::put_binary_header;
use tickloom_protocol::server_message::DeltaHead;

use crate::outbox::{Backpressure, LARGE_BYTES_MIN};
use crate::overload::LoadLevel;
use crate::room::broadcast::packing::{Likeness, Packer, VARIANTS_MAX, Variant};
use crate::room::events::{EventLog, Hearing};
use crate::room::member::Member;
use crate::room::state::State;
use crate::session::SessionId;
use crate::session_table::Outboxes;

pub use crate::room::broadcast::packing::{MemberWindow, SharedWindow};
pub use crate::room::broadcast::views::ViewSettings;
use crate::room::broadcast::views::Views;

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
    /// What is compressed of it. Empty where nobody inflates.
    variants: Vec<Variant>,
    packer: Packer,
    views: Views,
    /// Members that need more than the tick's delta, with the tick since which they wait.
    behind: Vec<(Tick, MemberId)>,
    members: Vec<MemberId>,
    counts: BroadcastCounts,
    load_level: LoadLevel,
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
#[derive(Clone, Debug)]
struct Parcel {
    member: MemberId,
    session: SessionId,
    /// What is in one piece from its first byte, in `frames`.
    head: Range<usize>,
    /// Shared chunks that are not in it, as an index into `shared`.
    shared: Option<usize>,
    /// Private chunks that are not in it.
    tail: Option<Piece>,
    /// Where the payload begins in `frames`.
    payload_at: usize,
    /// Which variant it is, as an index into `variants`.
    variant: Option<usize>,
    /// Whether it becomes the next frame of the room's window.
    follows: bool,
    /// The whole frame once it is compressed.
    packed: Option<Piece>,
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

    fn bytes<'a>(&'a self, frames: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Small(range) => &frames[range.clone()],
            Self::Large(bytes) => bytes,
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
    /// What compressed frames may refer to.
    pub window: &'a mut SharedWindow,
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
    /// Frames of members whose rings were shrunk, because they would be sent too much.
    pub strained: u64,
    /// Times shared chunks were encoded.
    pub encodings: u64,
    /// Times a frame was compressed, however many members it was for.
    pub compressions: u64,
    /// Times a room's window began anew.
    pub window_resets: u64,
    /// Frames queued compressed.
    pub packed: u64,
    /// What those would have had in bytes.
    pub packed_bytes_before: u64,
    /// What they have.
    pub packed_bytes_after: u64,
}

impl Broadcast {
    /// Buffers of a shard that compresses messages of at least so many bytes, for so many rooms
    /// with a window.
    #[must_use]
    pub fn compressing(bytes_min: usize, windows_max: usize) -> Self {
        Self { packer: Packer::new(bytes_min, windows_max), ..Self::default() }
    }

    /// What compresses a message by itself.
    pub fn compressors(&mut self) -> &mut Compressors {
        &mut self.packer.single
    }

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
        self.begin();
        let building = content.state.building();
        for (id, member) in members.iter_mut().filter(|(_, member)| !member.is_late()) {
            if self.keeps_up(*id, member, building, occasion, outboxes) {
                self.put_member(&mut content, *id, member, occasion.previous, occasion)?;
            }
        }
        let deferred = self.recover(&mut content, members, occasion)?;
        if !self.variants.is_empty() {
            self.pack(content.window, members);
        }
        self.push_parcels(outboxes);
        Ok(deferred)
    }

    /// Forgets the tick before.
    fn begin(&mut self) {
        self.shared.clear();
        self.parcels.clear();
        self.variants.clear();
        self.behind.clear();
        self.frames.clear();
        self.recovery_bytes = 0;
    }

    /// Whether a member takes the tick's delta. If it needs more, it waits among those behind; if it
    /// cannot take anything, it is passed over.
    fn keeps_up(
        &mut self,
        id: MemberId,
        member: &mut Member,
        building: Tick,
        occasion: Occasion,
        outboxes: &mut impl Outboxes,
    ) -> bool {
        if member.is_paused() {
            return false;
        }
        let Some(outbox) = outboxes.outbox(member.session()) else { return false };
        let is_stale = outbox.states_waiting() >= occasion.states_waiting_max;
        if is_stale || outbox.backpressure() != Backpressure::Ready {
            outbox.owe_state();
            self.counts.skipped += 1;
        } else if member.baseline == occasion.previous && occasion.previous != Tick::ZERO {
            self.counts.deltas += 1;
            return true;
        } else {
            self.behind.push((member.behind_since, id));
        }
        if member.behind_since == Tick::ZERO {
            member.behind_since = building;
        }
        false
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
        let share = if self.load_level >= LoadLevel::Newcomers { 2 } else { 1 };
        let recovery_bytes_max = RECOVERY_BYTES_MAX / share;
        for (_, id) in &behind {
            let Some(member) = members.get_mut(id) else { continue };
            let reachable = content.state.reaches_back_to(member.baseline);
            let since = if reachable { member.baseline } else { Tick::ZERO };
            let is_encoded = self.position(Start::of(member, since)).is_some();
            if !is_encoded && self.recovery_bytes >= recovery_bytes_max {
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
            if let Some(packed) = &parcel.packed {
                outbox.push(packed.of(&frames));
                continue;
            }
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

    /// How much is left out from now on.
    pub fn set_load_level(&mut self, level: LoadLevel) {
        self.load_level = level;
    }

    /// How much is left out.
    #[must_use]
    pub fn load_level(&self) -> LoadLevel {
        self.load_level
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
        content.state.encode_private(id, since, &mut self.private);
        content.events.encode_private(member.listener(), member.hearing, &mut self.private);
        if occasion.with_hash {
            content.state.encode_private_hashes(id, &mut self.private);
        }
        let head = member.head(content.state.building(), since, occasion.previous);
        let head = DeltaHead { load_level: self.load_level as u8, ..head };
        let bytes = self.prefix.bytes() + self.shared[shared].chunks.len() + self.private.len();
        if bytes > limits::SERVER_MESSAGE_BYTES_MAX {
            return Err(Oversized { bytes });
        }
        let likeness =
            self.private.is_empty().then_some((shared, head.ack, head.margin, head.ack_op));
        match self.position_of(likeness).filter(|_| member.window.is_some()) {
            Some(variant) => {
                let alike = self.parcels[self.variants[variant].parcel].clone();
                self.parcels.push(Parcel { member: id, session: member.session(), ..alike });
            }
            None => {
                let parcel = self.put_parcel(&head, shared, id, member.session());
                let is_delta = since == occasion.previous && since != Tick::ZERO;
                let is_for_many = likeness.is_some() || since == Tick::ZERO;
                if member.window.is_some() && is_for_many && self.variants.len() < VARIANTS_MAX {
                    self.put_variant(likeness, is_delta, parcel);
                }
            }
        }
        let variant = self.parcels.last().and_then(|parcel| parcel.variant);
        if let (Some(variant), Some(window)) = (variant, &member.window) {
            self.variants[variant].add(window, content.window);
        }
        member.note_sent(content.state.building(), content.events.next());
        Ok(shared)
    }

    /// Puts a member's frame together as it is without compression.
    fn put_parcel(
        &mut self,
        head: &DeltaHead,
        shared: usize,
        member: MemberId,
        session: SessionId,
    ) -> usize {
        let chunks_bytes = self.shared[shared].chunks.len() + self.private.len();
        let start = self.frames.len();
        put_binary_header(self.prefix.bytes() + chunks_bytes, &mut self.frames);
        let payload_at = self.frames.len();
        self.prefix.put(head, chunks_bytes, &mut self.frames);
        let (mut copied, mut tail) = (None, None);
        match &self.shared[shared].chunks {
            Piece::Small(range) if range.len() <= COPIED_BYTES_MAX => {
                self.frames.extend_from_within(range.clone());
            }
            Piece::Small(_) | Piece::Large(_) => copied = Some(shared),
        }
        let mut end = self.frames.len();
        if copied.is_none() && self.private.len() <= COPIED_BYTES_MAX {
            self.frames.extend_from_slice(&self.private);
            end = self.frames.len();
        } else if !self.private.is_empty() {
            tail = Some(Piece::put(&self.private, &mut self.frames));
        }
        self.parcels.push(Parcel {
            member,
            session,
            head: start..end,
            shared: copied,
            tail,
            payload_at,
            variant: None,
            follows: false,
            packed: None,
        });
        self.parcels.len() - 1
    }

    /// Notes that a parcel may be compressed, with those that will be like it.
    fn put_variant(&mut self, likeness: Option<Likeness>, is_delta: bool, parcel: usize) {
        self.parcels[parcel].variant = Some(self.variants.len());
        let Parcel { head, shared, tail, .. } = &self.parcels[parcel];
        let shared_bytes = shared.map_or(0, |shared| self.shared[shared].chunks.len());
        let bytes = head.len() + shared_bytes + tail.as_ref().map_or(0, Piece::len);
        self.variants.push(Variant::new(likeness, is_delta, parcel, bytes));
    }

    fn position_of(&self, likeness: Option<Likeness>) -> Option<usize> {
        likeness?;
        self.variants.iter().position(|variant| variant.likeness == likeness)
    }

    /// Compresses what was put together, each variant once or twice, and says which parcel becomes
    /// which frame.
    fn pack(&mut self, window: &mut SharedWindow, members: &mut BTreeMap<MemberId, Member>) {
        let Self { frames, shared, parcels, variants, packer, counts, .. } = self;
        let resets = window.choose(variants, packer);
        counts.window_resets += u64::from(resets);
        for parcel in parcels.iter_mut() {
            let Some(variant) = parcel.variant.map(|at| &mut variants[at]) else { continue };
            let theirs = members.get(&parcel.member).and_then(|member| member.window.as_ref());
            let Some(theirs) = theirs else { continue };
            parcel.follows = variant.is_for(theirs, window);
            if !parcel.follows {
                variant.add_single(theirs);
            }
        }
        for variant in variants.iter_mut() {
            let Parcel { head, shared: chunks, tail, payload_at, .. } = &parcels[variant.parcel];
            for for_window in [true, false] {
                let chunks = chunks.map(|at| shared[at].chunks.bytes(frames));
                let tail = tail.as_ref().map(|tail| tail.bytes(frames));
                let head = &frames[*payload_at..head.end];
                let pieces = [head, chunks.unwrap_or_default(), tail.unwrap_or_default()];
                packer.frame.clear();
                let is_made = if for_window {
                    variant.pack_shared(window, resets, &pieces, &mut packer.frame)
                } else {
                    variant.pack_single(&mut packer.single, &pieces, &mut packer.frame)
                };
                if is_made {
                    counts.compressions += 1;
                    let frame = Piece::put(&packer.frame, frames);
                    variant.frames[usize::from(for_window)] = Some(frame);
                }
            }
        }
        for parcel in parcels.iter_mut() {
            let Some(variant) = parcel.variant.map(|at| &variants[at]) else { continue };
            parcel.packed = variant.frames[usize::from(parcel.follows)].clone();
            let Some(packed) = &parcel.packed else { continue };
            counts.packed += 1;
            counts.packed_bytes_before += variant.bytes as u64;
            counts.packed_bytes_after += packed.len() as u64;
            let member = members.get_mut(&parcel.member);
            if let Some(theirs) = member.and_then(|member| member.window.as_mut()) {
                theirs.note(parcel.follows, window);
            }
        }
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
