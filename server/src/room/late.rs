//! What spectators see of a room whose type shows it late, so that nobody who plays can be told by
//! somebody who watches what the others do.
//!
//! ```text
//! each state sent --record--> frames of the last seconds --deliver, `delay` later--> spectators
//!                               `- a snapshot among them now and then, for newcomers
//! ```
//!
//! A frame is encoded once and is the same for all of them: it has nothing of a member's own. A
//! spectator goes from frame to frame by ticks; who reads slowly is only shown things later, and
//! who is so slow that its next frame is gone begins again with a snapshot. A newcomer begins with
//! the newest snapshot that is old enough; in a room that has not been sent for so long it waits.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::ids::Tick;
use tickloom_protocol::limits;
use tickloom_protocol::link::put_binary_header;
use tickloom_protocol::server_message::DeltaHead;
use tickloom_protocol::time::Timestamp;

use crate::outbox::{Backpressure, Outbox};
use crate::room::events::EventLog;
use crate::room::state::State;

/// Bytes of frames that one room keeps. Where they are fewer than its delay needs, spectators miss
/// what does not fit and go on from the next snapshot.
const FRAMES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Snapshots within a delay: a newcomer is shown what is older than it must be by one part at most.
const SNAPSHOTS_PER_DELAY: u32 = 4;

/// From one snapshot to the next, at least: each is as long as the whole state.
const SNAPSHOT_EVERY_MIN: Duration = Duration::from_secs(1);

/// The frames of one room's last seconds.
#[derive(Debug)]
pub struct LateShow {
    delay: Duration,
    prefix: DeltaPrefix,
    /// Ascending by tick; of the same tick, the delta before the snapshot. Begins with a snapshot
    /// that is old enough to be shown, once there is one.
    frames: VecDeque<Frame>,
    /// Of all frames together.
    bytes: usize,
    /// The tick that the next delta starts from; [`Tick::ZERO`] before the first snapshot.
    last: Tick,
    /// The number of the first event that no frame has.
    events_from: u64,
    snapshot_at: Timestamp,
    chunks: Vec<u8>,
}

/// One message for everybody who watches.
#[derive(Debug)]
struct Frame {
    /// When it was the present.
    at: Timestamp,
    tick: Tick,
    /// [`Tick::ZERO`] for a snapshot.
    base: Tick,
    bytes: Bytes,
}

impl LateShow {
    /// Shows everything so much later.
    #[must_use]
    pub fn new(delay: Duration) -> Self {
        Self {
            delay,
            prefix: DeltaPrefix::new(),
            frames: VecDeque::new(),
            bytes: 0,
            last: Tick::ZERO,
            events_from: 1,
            snapshot_at: Timestamp::ZERO,
            chunks: Vec::new(),
        }
    }

    /// Keeps the state under construction, which is being sent to everybody else.
    pub fn record(
        &mut self,
        now: Timestamp,
        state: &mut State,
        events: &mut EventLog,
        with_hash: bool,
    ) {
        if !state.reaches_back_to(self.last) {
            // What lies between is lost: everybody begins again with the snapshot below.
            self.snapshot_at = now;
        } else if self.last != Tick::ZERO {
            self.chunks.clear();
            state.encode(self.last, &mut self.chunks);
            events.encode(self.events_from, false, &mut self.chunks);
            if with_hash {
                state.encode_hash(&mut self.chunks);
            }
            self.push(now, state.building(), self.last);
        }
        self.events_from = events.next();
        if now >= self.snapshot_at {
            self.chunks.clear();
            state.encode(Tick::ZERO, &mut self.chunks);
            let has_topics = !state.schema().topics().is_empty();
            events.encode(self.events_from, has_topics, &mut self.chunks);
            state.encode_hash(&mut self.chunks);
            self.push(now, state.building(), Tick::ZERO);
            self.snapshot_at = now + (self.delay / SNAPSHOTS_PER_DELAY).max(SNAPSHOT_EVERY_MIN);
        }
        self.last = state.building();
    }

    fn push(&mut self, at: Timestamp, tick: Tick, base: Tick) {
        let head = DeltaHead { tick, base, ..DeltaHead::default() };
        let payload_bytes = self.prefix.bytes() + self.chunks.len();
        if payload_bytes > limits::SERVER_MESSAGE_BYTES_MAX {
            // Clients would not take it. They begin again with a snapshot that is smaller.
            return;
        }
        let mut frame = Vec::with_capacity(payload_bytes + 16);
        put_binary_header(payload_bytes, &mut frame);
        self.prefix.put(&head, self.chunks.len(), &mut frame);
        frame.extend_from_slice(&self.chunks);
        self.bytes += frame.len();
        self.frames.push_back(Frame { at, tick, base, bytes: frame.into() });
    }

    /// Drops what nobody will be shown who was shown everything by now: what lies before the newest
    /// snapshot that is old enough, and what there is no room for.
    pub fn forget(&mut self, now: Timestamp) {
        let shown = self.shown_by(now);
        let newest = (0..shown).rev().find(|at| self.frames[*at].base == Tick::ZERO);
        for _ in 0..newest.unwrap_or(0) {
            self.drop_first();
        }
        while self.bytes > FRAMES_BYTES_MAX {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.bytes.len();
        }
    }

    /// How many of the frames are old enough.
    fn shown_by(&self, now: Timestamp) -> usize {
        self.frames.partition_point(|frame| now.saturating_since(frame.at) >= self.delay)
    }

    /// Queues what a spectator is to be shown by now, as long as it takes it. Returns the tick that
    /// it has then.
    pub fn deliver(&self, now: Timestamp, mut has: Tick, outbox: &mut Outbox) -> Tick {
        let shown = self.shown_by(now);
        let next = self.frames.partition_point(|frame| frame.tick <= has);
        // One that was shown nothing yet, or whose next frame is gone, needs a snapshot.
        let follows = self.frames.get(next).is_some_and(|frame| frame.base == has);
        let begins = has == Tick::ZERO || (next < shown && !follows);
        if begins {
            has = Tick::ZERO;
        }
        let first = if begins { 0 } else { next };
        for frame in self.frames.iter().take(shown).skip(first) {
            // Snapshots are for those who begin.
            if frame.base != has {
                continue;
            }
            if outbox.backpressure() != Backpressure::Ready {
                break;
            }
            outbox.push(frame.bytes.clone());
            has = frame.tick;
        }
        has
    }
}
