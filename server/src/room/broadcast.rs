//! From a room's state to its members' outboxes: encode once, share with everybody.
//!
//! ```text
//! frame of one member := header | prefix | shared chunks | private chunks
//!                        `- own, ~65 B -'  `- one Bytes -'  `- own, often none
//! ```
//!
//! The shared chunks are encoded once per tick and starting tick: nearly always the tick's delta
//! for everybody, sometimes a snapshot for those who just joined, or a catch-up for those whose
//! queue drained. A member that is behind costs one number.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::ids::{MemberId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::link::put_binary_header;
use tickloom_protocol::server_message::DeltaHead;

use crate::outbox::Backpressure;
use crate::room::member::Member;
use crate::room::state::State;
use crate::session::SessionId;
use crate::session_table::Outboxes;

/// The buffers of one shard's broadcasts, and counts of what went out.
#[derive(Debug, Default)]
pub struct Broadcast {
    prefix: DeltaPrefix,
    /// This tick's shared chunks by starting tick; one entry nearly always.
    shared: Vec<(Tick, Bytes)>,
    /// Headers, prefixes and private chunks of this tick, back to back.
    own: Vec<u8>,
    private: Vec<u8>,
    parcels: Vec<Parcel>,
    members: Vec<MemberId>,
    counts: BroadcastCounts,
}

/// One member's frame: two ranges of `own` around shared bytes.
#[derive(Debug)]
struct Parcel {
    session: SessionId,
    head: Range<usize>,
    /// Index into `shared`.
    shared: usize,
    tail: Range<usize>,
}

/// What a broadcast is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occasion {
    /// The tick that was broadcast before this one.
    pub previous: Tick,
    /// Whether to state the hash of each stream.
    pub with_hash: bool,
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
    /// Times shared chunks were encoded.
    pub encodings: u64,
}

impl Broadcast {
    /// Queues the state of the tick under construction for every member that takes it.
    ///
    /// # Errors
    /// [`Oversized`], when a member's message would be; nobody gets anything then.
    pub fn send(
        &mut self,
        state: &mut State,
        members: &mut BTreeMap<MemberId, Member>,
        occasion: Occasion,
        outboxes: &mut impl Outboxes,
    ) -> Result<(), Oversized> {
        self.shared.clear();
        self.parcels.clear();
        let mut own = std::mem::take(&mut self.own);
        own.clear();
        for (id, member) in members.iter_mut() {
            let Some(outbox) = outboxes.outbox(member.session()) else { continue };
            if outbox.backpressure() != Backpressure::Ready {
                self.counts.skipped += 1;
                continue;
            }
            self.put_member(state, *id, member, occasion, &mut own)?;
        }
        let sent = Bytes::copy_from_slice(&own);
        self.own = own;
        for parcel in &self.parcels {
            let Some(outbox) = outboxes.outbox(parcel.session) else { continue };
            outbox.push(sent.slice(parcel.head.clone()));
            outbox.push(self.shared[parcel.shared].1.clone());
            outbox.push(sent.slice(parcel.tail.clone()));
        }
        Ok(())
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

    fn put_member(
        &mut self,
        state: &mut State,
        id: MemberId,
        member: &mut Member,
        occasion: Occasion,
        own: &mut Vec<u8>,
    ) -> Result<(), Oversized> {
        let reachable = state.reaches_back_to(member.baseline);
        let since = if reachable { member.baseline } else { Tick::ZERO };
        match since {
            Tick::ZERO => self.counts.snapshots += 1,
            since if since == occasion.previous => self.counts.deltas += 1,
            _ => self.counts.catch_ups += 1,
        }
        let shared = self.shared_since(state, since, occasion);
        self.private.clear();
        state.encode_member(id, since, &mut self.private);
        if occasion.with_hash {
            state.encode_member_hash(id, &mut self.private);
        }
        let head = DeltaHead {
            tick: state.building(),
            base: since,
            ack: member.inputs.acked(),
            margin: member.inputs.margin(),
        };
        let chunks_bytes = self.shared[shared].1.len() + self.private.len();
        let bytes = self.prefix.bytes() + chunks_bytes;
        if bytes > limits::SERVER_MESSAGE_BYTES_MAX {
            return Err(Oversized { bytes });
        }
        let start = own.len();
        put_binary_header(bytes, own);
        self.prefix.put(&head, chunks_bytes, own);
        let middle = own.len();
        own.extend_from_slice(&self.private);
        let session = member.session();
        let tail = middle..own.len();
        self.parcels.push(Parcel { session, head: start..middle, shared, tail });
        member.baseline = state.building();
        Ok(())
    }

    /// The position of the chunks since `since` in `shared`; encodes them when they are new.
    fn shared_since(&mut self, state: &mut State, since: Tick, occasion: Occasion) -> usize {
        if let Some(position) = self.shared.iter().position(|(tick, _)| *tick == since) {
            return position;
        }
        let mut chunks = Vec::new();
        state.encode(since, &mut chunks);
        if occasion.with_hash {
            state.encode_hash(&mut chunks);
        }
        self.counts.encodings += 1;
        self.shared.push((since, Bytes::from(chunks)));
        self.shared.len() - 1
    }
}
