//! A session's seat in a room: what it was sent, and what it wants to do.

use std::collections::VecDeque;

use tickloom_protocol::ids::{EntityId, InputSeq, Moment, OpId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::server_message::DeltaHead;
use tickloom_protocol::time::Timestamp;

use crate::rate::Bucket;
use crate::room::attention::Attention;
use crate::room::broadcast::MemberWindow;
use crate::room::events::{Hearing, Listener};
use crate::room::logic::Freshness;
use crate::room::sight::Sight;
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
    /// [`SessionId::NOBODY`] while it is away.
    pub(super) session: SessionId,
    entity: EntityId,
    /// The how-manieth member of the room it is.
    joined_in: u64,
    role: Role,
    /// How often it changed its own entity.
    pub(crate) presence: Bucket,
    /// The tick the member has, once its queue drains; [`Tick::ZERO`] when it needs a snapshot.
    pub(crate) baseline: Tick,
    /// What it was told of what was said.
    pub(crate) hearing: Hearing,
    pub(crate) answers: Answers,
    /// Since which tick it waits for a snapshot or a catch-up; [`Tick::ZERO`] when it keeps up.
    pub(crate) behind_since: Tick,
    /// How it takes compressed frames; absent when it is sent none.
    pub(crate) window: Option<MemberWindow>,
    pub(crate) inputs: InputQueue,
    /// What it sees, in a room with interest, once it was sent something.
    pub(crate) sight: Option<Box<Sight>>,
    /// Until when its seat is kept; [`Timestamp::ZERO`] while it is here.
    pub(super) away_until: Timestamp,
    /// How often it came back.
    pub(super) returns: u32,
    /// The number of the first public event that was its to hear.
    pub(super) came_at: u64,
    /// How its client keeps up; absent until it has said so.
    pub(super) attention: Option<Box<Attention>>,
}

impl Member {
    /// A seat whose member was sent nothing yet.
    #[must_use]
    pub fn new(session: SessionId, entity: EntityId, hearing: Hearing, joined_in: u64) -> Self {
        let (baseline, behind_since) = (Tick::ZERO, Tick::ZERO);
        let (inputs, answers) = (InputQueue::default(), Answers::default());
        let (window, sight) = (None, None);
        Self {
            session,
            entity,
            joined_in,
            role: Role::Player,
            presence: Bucket::default(),
            baseline,
            hearing,
            answers,
            behind_since,
            window,
            inputs,
            sight,
            away_until: Timestamp::ZERO,
            returns: 0,
            came_at: hearing.public,
            attention: None,
        }
    }

    /// Somebody who only watches: it owns nothing, and the room's own entity stands for it.
    #[must_use]
    pub fn spectator(session: SessionId, hearing: Hearing, joined_in: u64) -> Self {
        let member = Self::new(session, EntityId::ROOM, hearing, joined_in);
        Self { role: Role::Spectator, ..member }
    }

    /// Whether it only watches.
    #[must_use]
    pub fn is_spectator(&self) -> bool {
        self.role != Role::Player
    }

    /// Makes a spectator one that is shown everything late.
    #[must_use]
    pub fn late(self) -> Self {
        Self { role: Role::LateSpectator, ..self }
    }

    /// Whether it is shown everything late, and not with all others.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.role == Role::LateSpectator
    }

    /// Who sits here.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What it sees, in a room with interest, once it was sent something or looked elsewhere.
    #[must_use]
    pub fn sight(&self) -> Option<&Sight> {
        self.sight.as_deref()
    }

    /// Looks at a place, or at its own entity.
    pub fn look(&mut self, camera: Option<[f32; 2]>) {
        self.sight.get_or_insert_default().look(camera);
    }

    /// What its next state says to it alone. `previous` is the state that was sent before.
    pub(crate) fn head(&mut self, tick: Tick, base: Tick, previous: Tick) -> DeltaHead {
        let is_delta = base == previous && base != Tick::ZERO;
        DeltaHead {
            tick,
            base,
            ack: self.inputs.acked(),
            margin: self.inputs.margin(),
            ack_op: if is_delta { self.answers.take_news() } else { self.answers.take_all() },
            load_level: 0,
        }
    }

    /// It was sent a state, and what was said up to an event.
    pub(crate) fn note_sent(&mut self, tick: Tick, events_next: u64) {
        self.baseline = tick;
        self.hearing.public = events_next;
        self.hearing.private = self.hearing.private_next;
        self.hearing.history = false;
    }

    /// Who it is among all that ever sat in the room; those who are here longer are less.
    #[must_use]
    pub fn listener(&self) -> Listener {
        Listener(self.joined_in)
    }

    /// Until when its seat is kept; `None` when it is here.
    #[must_use]
    pub fn away_until(&self) -> Option<Timestamp> {
        self.is_away().then_some(self.away_until)
    }

    /// Whether its connection broke and its seat is kept.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.session == SessionId::NOBODY
    }

    /// How often it came back.
    #[must_use]
    pub fn returns(&self) -> u32 {
        self.returns
    }

    /// Whether it is sent no state because nobody looks at it or its client does not keep up.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.attention.as_ref().is_some_and(|attention| attention.is_paused())
    }

    /// The entity that is the member's own.
    #[must_use]
    pub fn entity(&self) -> EntityId {
        self.entity
    }
}

/// Which of a member's writes were answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answers {
    /// The highest number that was accepted or refused.
    last: OpId,
    /// Whether no delta said so yet.
    is_news: bool,
}

impl Answers {
    /// A write was accepted or refused.
    pub fn push(&mut self, op: OpId) {
        if op > self.last {
            (self.last, self.is_news) = (op, true);
        }
    }

    /// What the next delta says: the highest number since the one before, if any. Members who say
    /// the same thing can share a compressed frame, which they would not if each repeated its own
    /// number for ever.
    pub fn take_news(&mut self) -> OpId {
        if std::mem::take(&mut self.is_news) { self.last } else { OpId::NONE }
    }

    /// What a message that may follow lost ones says: the highest number of all.
    pub fn take_all(&mut self) -> OpId {
        self.is_news = false;
        self.last
    }
}

/// What somebody is in a room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// To do something: it has a seat and an entity.
    Player,
    /// To watch what everybody sees.
    Spectator,
    /// To watch it when it is long over.
    LateSpectator,
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
    /// What the newest input said that its member saw.
    seen: Moment,
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
    seen: Moment,
    length: u8,
    bytes: [u8; limits::INPUT_ROW_BYTES_MAX],
}

impl InputRow {
    /// The packed row, in the room's input layout.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// The moment its member saw.
    #[must_use]
    pub fn seen(&self) -> Moment {
        self.seen
    }
}

/// What a member does in one tick: nothing, one input, or two.
pub type TickInputs = [Option<(InputRow, Freshness)>; 2];

/// What became of an input that arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intake {
    /// It waits for its tick.
    Waits,
    /// It waits, and the oldest that waited was dropped for it.
    Displaces,
    /// It was dropped: it is not newer than the newest, or too far ahead.
    Dropped,
}

impl InputQueue {
    /// Takes in an input. One that is not newer than the newest is dropped, and so is one that is
    /// more than [`limits::INPUTS_AHEAD_MAX`] ahead of the last acknowledged. When too many wait,
    /// the oldest is dropped and counts as acknowledged, or its sender would wait for it for
    /// ever.
    ///
    /// # Panics
    /// When the row is longer than the limit that decoding checks.
    pub fn push(&mut self, seq: InputSeq, seen: Moment, row: &[u8]) -> Intake {
        let ahead = seq.0.saturating_sub(self.acked.0);
        if seq <= self.received || ahead > limits::INPUTS_AHEAD_MAX {
            return Intake::Dropped;
        }
        self.received = seq;
        let mut intake = Intake::Waits;
        if self.waiting.len() >= INPUTS_WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.acked = oldest.seq;
            intake = Intake::Displaces;
        }
        let mut bytes = [0; limits::INPUT_ROW_BYTES_MAX];
        bytes[..row.len()].copy_from_slice(row);
        self.waiting.push_back(InputRow { seq, seen, length: row.len() as u8, bytes });
        intake
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

    /// Notes what inputs say from here on; says whether that is new.
    pub fn note_seen(&mut self, seen: Moment) -> bool {
        std::mem::replace(&mut self.seen, seen) != seen
    }

    /// What the newest input said that its member saw.
    #[must_use]
    pub fn seen(&self) -> Moment {
        self.seen
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
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
    use proptest::prelude::*;

    use super::*;

    fn take(queue: &mut InputQueue) -> Vec<(u8, Freshness)> {
        let taken = queue.take_tick().into_iter().flatten();
        taken.map(|(row, freshness)| (row.bytes()[0], freshness)).collect()
    }

    #[test]
    fn one_input_is_taken_per_tick_and_two_when_many_wait() {
        let mut queue = InputQueue::default();
        for seq in 1..=6 {
            queue.push(InputSeq(seq), Moment::ZERO, &[seq as u8]);
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
            queue.push(InputSeq(seq), Moment::ZERO, &[0]);
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
        queue.push(InputSeq(1), Moment::ZERO, &[7]);
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
            queue.push(InputSeq(seq), Moment::ZERO, &[seq as u8]);
        }
        assert_eq!(take(&mut queue), [(5, Freshness::Fresh)]);
        for seq in 10..10 + INPUTS_WAITING_MAX as u32 + 3 {
            queue.push(InputSeq(seq), Moment::ZERO, &[0]);
        }
        assert_eq!(queue.acked(), InputSeq(12), "10, 11 and 12 were dropped");
    }

    #[test]
    fn an_input_too_far_ahead_is_dropped_and_the_next_in_reach_is_taken() {
        let ahead = limits::INPUTS_AHEAD_MAX;
        let mut queue = InputQueue::default();
        assert_eq!(queue.push(InputSeq(ahead + 1), Moment::ZERO, &[1]), Intake::Dropped);
        assert_eq!(queue.push(InputSeq(u32::MAX), Moment::ZERO, &[1]), Intake::Dropped);
        assert_eq!(queue.push(InputSeq(ahead), Moment::ZERO, &[2]), Intake::Waits);
        assert_eq!(take(&mut queue), [(2, Freshness::Fresh)]);
        assert_eq!(
            queue.push(InputSeq(ahead + 1), Moment::ZERO, &[3]),
            Intake::Waits,
            "what was far is near"
        );
        assert_eq!(
            queue.push(InputSeq(u32::MAX), Moment::ZERO, &[4]),
            Intake::Dropped,
            "and nothing overflows"
        );
    }

    #[test]
    fn an_answer_is_news_once_and_stays_the_last() {
        let mut answers = Answers::default();
        assert_eq!((answers.take_news(), answers.take_all()), (OpId::NONE, OpId::NONE));
        for op in [3, 9, 4, 0] {
            answers.push(OpId(op));
        }
        assert_eq!(answers.take_news(), OpId(9), "the highest, in whatever order they came");
        assert_eq!(answers.take_news(), OpId::NONE);
        assert_eq!(answers.take_all(), OpId(9));
        answers.push(OpId(9));
        assert_eq!(answers.take_news(), OpId::NONE, "it was said");
    }

    /// What may happen to a queue.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Push(u32),
        Tick,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let seq = prop_oneof![8 => 0_u32..120, 1 => any::<u32>()];
        prop::collection::vec(prop_oneof![seq.prop_map(Step::Push), Just(Step::Tick)], 0..200)
    }

    proptest! {
        /// A model beside the queue: which inputs are in, and in what order they must come out.
        #[test]
        fn acknowledgements_ascend_and_name_only_what_was_taken_or_displaced(steps in steps()) {
            let mut queue = InputQueue::default();
            let mut waiting: VecDeque<u32> = VecDeque::new();
            let (mut received, mut acked) = (0, 0);
            for step in steps {
                match step {
                    Step::Push(seq) => {
                        let fits = seq > received && seq - acked <= limits::INPUTS_AHEAD_MAX;
                        let full = waiting.len() == INPUTS_WAITING_MAX;
                        let expected = match (fits, full) {
                            (false, _) => Intake::Dropped,
                            (true, false) => Intake::Waits,
                            (true, true) => Intake::Displaces,
                        };
                        prop_assert_eq!(queue.push(InputSeq(seq), Moment::ZERO, &seq.to_le_bytes()), expected);
                        if fits {
                            received = seq;
                            acked = if full { waiting.pop_front().unwrap() } else { acked };
                            waiting.push_back(seq);
                        }
                    }
                    Step::Tick => {
                        for (row, freshness) in queue.take_tick().into_iter().flatten() {
                            let seq = u32::from_le_bytes(row.bytes().try_into().unwrap());
                            if freshness == Freshness::Fresh {
                                prop_assert_eq!(Some(seq), waiting.pop_front());
                                acked = seq;
                            } else {
                                prop_assert!(waiting.is_empty(), "nothing waits");
                                prop_assert!(seq <= acked, "it was taken before");
                            }
                        }
                    }
                }
                prop_assert_eq!(queue.acked(), InputSeq(acked));
                prop_assert!(acked <= received);
            }
        }
    }
}
