//! A session's seat in a room: what it was sent, and what it wants to do.

use std::collections::VecDeque;

use tickloom_protocol::ids::{EntityId, InputSeq, Tick};
use tickloom_protocol::limits;

use crate::room::broadcast::MemberWindow;
use crate::room::events::{Hearing, Listener};
use crate::room::logic::Freshness;
use crate::session::SessionId;

/// Inputs a member may have waiting. At 20 Hz this is 0.8 s of play; a client further ahead than
/// that has a broken clock.
pub const INPUTS_WAITING_MAX: usize = 16;

/// With more inputs than this waiting, two are taken per tick.
const INPUTS_CROWDED: usize = 4;

/// Ticks over which a queue that never ran short counts as standing. What stands there is delay
/// that a burst left behind and that nothing else would take away: a client sends one input per
/// tick and a tick takes one.
const STANDING_TICKS: u8 = 16;

/// Ticks a member's last input is repeated when nothing arrives, before it counts as neutral.
const REPEATS_MAX: u32 = 8;

/// A seat in a room.
#[derive(Debug)]
pub struct Member {
    session: SessionId,
    entity: EntityId,
    /// The how-manieth member of the room it is.
    joined_in: u64,
    /// The tick the member has, once its queue drains; [`Tick::ZERO`] when it needs a snapshot.
    pub(crate) baseline: Tick,
    /// What it was told of what was said.
    pub(crate) hearing: Hearing,
    /// Since which tick it waits for a snapshot or a catch-up; [`Tick::ZERO`] when it keeps up.
    pub(crate) behind_since: Tick,
    /// How it takes compressed frames; absent when it is sent none.
    pub(crate) window: Option<MemberWindow>,
    pub(crate) inputs: InputQueue,
}

impl Member {
    /// A seat whose member was sent nothing yet.
    #[must_use]
    pub fn new(session: SessionId, entity: EntityId, hearing: Hearing, joined_in: u64) -> Self {
        let (baseline, behind_since) = (Tick::ZERO, Tick::ZERO);
        let inputs = InputQueue::default();
        let window = None;
        Self { session, entity, joined_in, baseline, hearing, behind_since, window, inputs }
    }

    /// Who sits here.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Who it is among all that ever sat in the room; those who are here longer are less.
    #[must_use]
    pub fn listener(&self) -> Listener {
        Listener(self.joined_in)
    }

    /// The entity that is the member's own.
    #[must_use]
    pub fn entity(&self) -> EntityId {
        self.entity
    }
}

/// A member's inputs between arrival and the tick that takes them.
#[derive(Debug, Default)]
pub struct InputQueue {
    /// At most [`INPUTS_WAITING_MAX`], ascending.
    waiting: VecDeque<InputRow>,
    /// The last input taken; repeated while nothing arrives.
    last: Option<InputRow>,
    /// `seq` of the newest input received; a lower one is old news.
    received: InputSeq,
    /// `seq` of the newest input taken or dropped.
    acked: InputSeq,
    /// How many inputs waited when the last tick began; below zero, for how many ticks in a row
    /// there was none.
    margin: i32,
    /// Ticks since the queue was last measured, and the fewest inputs that waited in one.
    window: (u8, usize),
}

/// One input, kept by value.
#[derive(Clone, Copy, Debug)]
pub struct InputRow {
    seq: InputSeq,
    length: u8,
    bytes: [u8; limits::INPUT_ROW_BYTES_MAX],
}

impl InputRow {
    /// The packed row, in the room's input layout.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

/// What a member does in one tick: nothing, one input, or two.
pub type TickInputs = [Option<(InputRow, Freshness)>; 2];

impl InputQueue {
    /// Takes in an input. One that is not newer than the newest is dropped. When too many wait,
    /// the oldest is dropped and counts as acknowledged, or its sender would wait for it for
    /// ever.
    ///
    /// # Panics
    /// When the row is longer than the limit that decoding checks.
    pub fn push(&mut self, seq: InputSeq, row: &[u8]) {
        if seq <= self.received {
            return;
        }
        self.received = seq;
        if self.waiting.len() >= INPUTS_WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.acked = oldest.seq;
        }
        let mut bytes = [0; limits::INPUT_ROW_BYTES_MAX];
        bytes[..row.len()].copy_from_slice(row);
        self.waiting.push_back(InputRow { seq, length: row.len() as u8, bytes });
    }

    /// What the member does in one tick: one input, two when many wait or more than one always
    /// does, the last one again when none does, or nothing when nothing came for long.
    pub fn take_tick(&mut self) -> TickInputs {
        let waiting = self.waiting.len();
        let is_standing = self.measure(waiting);
        if waiting == 0 {
            self.margin = (self.margin.min(0) - 1).max(i32::from(i8::MIN));
            let repeats = self.margin.unsigned_abs() <= REPEATS_MAX;
            let last = self.last.filter(|_| repeats);
            return [last.map(|row| (row, Freshness::Repeated)), None];
        }
        self.margin = waiting as i32;
        let first = self.take_one();
        let drains = waiting > INPUTS_CROWDED || is_standing;
        let second = if drains { self.take_one() } else { None };
        [first, second]
    }

    /// Says, once per window, whether more than one input waited in each of its ticks.
    fn measure(&mut self, waiting: usize) -> bool {
        let (ticks, least) = self.window;
        let least = if ticks == 0 { waiting } else { least.min(waiting) };
        self.window = ((ticks + 1) % STANDING_TICKS, least);
        ticks + 1 == STANDING_TICKS && least > 1
    }

    fn take_one(&mut self) -> Option<(InputRow, Freshness)> {
        let row = self.waiting.pop_front()?;
        self.acked = row.seq;
        self.last = Some(row);
        Some((row, Freshness::Fresh))
    }

    /// The newest input that was taken or dropped.
    #[must_use]
    pub fn acked(&self) -> InputSeq {
        self.acked
    }

    /// How many inputs waited when the last tick began, or minus the ticks without one.
    #[must_use]
    pub fn margin(&self) -> i8 {
        self.margin as i8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(queue: &mut InputQueue) -> Vec<(u8, Freshness)> {
        let taken = queue.take_tick().into_iter().flatten();
        taken.map(|(row, freshness)| (row.bytes()[0], freshness)).collect()
    }

    #[test]
    fn one_input_is_taken_per_tick_and_two_when_many_wait() {
        let mut queue = InputQueue::default();
        for seq in 1..=6 {
            queue.push(InputSeq(seq), &[seq as u8]);
        }
        let fresh = Freshness::Fresh;
        assert_eq!(take(&mut queue), [(1, fresh), (2, fresh)]);
        assert_eq!((queue.acked(), queue.margin()), (InputSeq(2), 6));
        assert_eq!(take(&mut queue), [(3, fresh)]);
        assert_eq!((queue.acked(), queue.margin()), (InputSeq(3), 4));
    }

    #[test]
    fn a_delay_that_a_burst_left_behind_is_drained_one_input_per_window() {
        let mut queue = InputQueue::default();
        let mut seq = 0;
        let mut push = |queue: &mut InputQueue| {
            seq += 1;
            queue.push(InputSeq(seq), &[0]);
        };
        for _ in 0..3 {
            push(&mut queue);
        }
        let mut margins = Vec::new();
        for _ in 0..4 * u32::from(STANDING_TICKS) {
            push(&mut queue);
            take(&mut queue);
            margins.push(queue.margin());
        }
        let at = |window: usize| margins[window * usize::from(STANDING_TICKS) + 8];
        assert_eq!([at(0), at(1), at(2), at(3)], [4, 3, 2, 1]);
    }

    #[test]
    fn a_starved_member_repeats_its_last_input_and_then_stops() {
        let mut queue = InputQueue::default();
        assert_eq!(take(&mut queue), [], "nothing to repeat yet");
        queue.push(InputSeq(1), &[7]);
        take(&mut queue);
        for tick in 1..=8 {
            assert_eq!(take(&mut queue), [(7, Freshness::Repeated)], "tick {tick}");
            assert_eq!(i32::from(queue.margin()), -tick);
        }
        assert_eq!(take(&mut queue), []);
        for _ in 0..200 {
            take(&mut queue);
        }
        assert_eq!(queue.margin(), i8::MIN, "the margin is bounded");
    }

    #[test]
    fn old_inputs_are_dropped_and_overflow_acknowledges_the_oldest() {
        let mut queue = InputQueue::default();
        for seq in [5, 5, 4] {
            queue.push(InputSeq(seq), &[seq as u8]);
        }
        assert_eq!(take(&mut queue), [(5, Freshness::Fresh)]);
        for seq in 10..10 + INPUTS_WAITING_MAX as u32 + 3 {
            queue.push(InputSeq(seq), &[0]);
        }
        assert_eq!(queue.acked(), InputSeq(12), "10, 11 and 12 were dropped");
    }
}
