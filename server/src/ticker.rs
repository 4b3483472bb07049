//! When a room ticks: at a fixed step or when something changed. Numbers are never skipped and
//! never run backwards; their due times move when a room slips, slows down or sleeps.

use std::time::Duration;

use tickloom_protocol::ids::Tick;
use tickloom_protocol::server_message::{RoomClock, TimeSync};
use tickloom_protocol::time::Timestamp;

use crate::room::logic::Cadence;

/// Steps a late room makes up for in one go. More would make the shard later still.
pub const CATCH_UP_STEPS_MAX: u32 = 3;

/// A room that is later than this after catching up lets its clock slip instead.
pub const LATENESS_MAX: Duration = Duration::from_millis(250);

/// The schedule of one room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticker {
    cadence: Cadence,
    /// When tick 0 would have been due.
    epoch: Timestamp,
    /// With a rate: due times leave this remainder when divided by the step.
    phase_us: u64,
    /// The last tick that was begun.
    tick: Tick,
    /// Without a rate: when the last tick was begun.
    begun_at: Timestamp,
    /// Something changed that no tick has shown yet.
    is_wanted: bool,
    rest: Rest,
    /// How fast the room's time runs, in 65536ths; never 0.
    scale_q16: u32,
    sends: Sends,
}

/// Whether a room has anything to do by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Rest {
    /// Its ticks are due at its rate, or when something changes.
    Awake,
    /// Nothing is due until something changes.
    Asleep,
    /// Nothing is due before that, unless something changes.
    AsleepUntil(Timestamp),
}

/// How often state is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sends {
    /// As often as the room's cadence says.
    All,
    /// Half as often.
    EveryOther,
}

impl Ticker {
    /// A schedule whose first tick is due within one step after `now`, or at the first change.
    ///
    /// `phase` says where in a step, as a share of 2^32. Rooms that are made together would tick
    /// together, each waiting for those before it; with phases that are spread evenly they do not.
    #[must_use]
    pub fn new(now: Timestamp, cadence: Cadence, phase: u32) -> Self {
        let mut ticker = Self {
            cadence,
            epoch: now,
            phase_us: 0,
            tick: Tick::ZERO,
            begun_at: Timestamp::ZERO,
            is_wanted: false,
            rest: Rest::Awake,
            scale_q16: TimeSync::REAL_TIME,
            sends: Sends::All,
        };
        ticker.phase_us = (u64::from(ticker.clock().tick_us) * u64::from(phase)) >> 32;
        ticker.slip(now);
        ticker
    }

    /// Something changed. A room with a rate that is awake ticks anyway.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// When the room has something to do: tick, or wake up. `None` in one that sleeps or has no
    /// rate while nothing changes.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        match (self.cadence, self.rest) {
            (Cadence::Fixed { .. }, Rest::Awake) => Some(self.tick_due()),
            (Cadence::Fixed { .. }, _) if self.is_wanted => Some(self.begun_at),
            (Cadence::OnChange { interval }, _) if self.is_wanted => {
                let intervals = if self.sends == Sends::All { 1 } else { 2 };
                Some(self.begun_at + interval * intervals)
            }
            (_, Rest::AsleepUntil(at)) => Some(at),
            (_, Rest::Asleep) | (Cadence::OnChange { .. }, Rest::Awake) => None,
        }
    }

    /// Begins the next tick and says how late it is.
    pub fn begin(&mut self, now: Timestamp) -> Duration {
        debug_assert!(!self.is_asleep(), "a room that sleeps has no ticks");
        let lateness = match self.cadence {
            Cadence::Fixed { .. } => now.saturating_since(self.tick_due()),
            // It was due when something changed, which is now.
            Cadence::OnChange { .. } => Duration::ZERO,
        };
        self.epoch = self.epoch + self.stretch();
        self.tick = self.tick.next();
        self.begun_at = now;
        self.is_wanted = false;
        self.rest = Rest::Awake;
        lateness
    }

    /// Has no more ticks until something changes, or until this time has passed since the last.
    /// Room time stands still meanwhile. Without a rate it stands still anyway.
    pub fn sleep(&mut self, at_most: Option<Duration>) {
        self.rest = match at_most {
            Some(time) => Rest::AsleepUntil(self.begun_at + time),
            None => Rest::Asleep,
        };
    }

    /// Ends a sleep: the next tick is due within one step after `now`.
    pub fn wake(&mut self, now: Timestamp) {
        self.rest = Rest::Awake;
        self.slip(now);
    }

    /// From the next tick on, time runs at `scale_q16` / 65536 of real time. Says whether that is
    /// another pace than before.
    ///
    /// # Panics
    /// When that is no time at all.
    pub fn set_scale(&mut self, scale_q16: u32) -> bool {
        assert_ne!(scale_q16, 0, "a room whose time stands still sleeps");
        std::mem::replace(&mut self.scale_q16, scale_q16) != scale_q16
    }

    /// From now on, state is sent so often.
    pub fn set_sends(&mut self, sends: Sends) {
        self.sends = sends;
    }

    /// Moves the schedule so that the next tick is due within one step after `now`: after a stall
    /// that catching up would only prolong, and after a pause without members.
    pub fn slip(&mut self, now: Timestamp) {
        let step_us = u64::from(self.clock().tick_us);
        if step_us == 0 {
            return;
        }
        let past_us = (now.0 + step_us - self.phase_us) % step_us;
        // A step that takes longer would end later.
        let next_due_us = (now.0 + step_us - past_us).saturating_sub(self.stretch_us());
        // The epoch may lie before the clock's origin only if the room ticked before it.
        let elapsed_us = u64::from(self.tick.next().0) * step_us;
        self.epoch = Timestamp(next_due_us.saturating_sub(elapsed_us));
    }

    /// Whether state is sent at the current tick.
    #[must_use]
    pub fn is_send_tick(&self) -> bool {
        let send_every = u32::from(self.clock().send_every);
        match (self.cadence, self.sends) {
            (Cadence::Fixed { .. }, Sends::EveryOther) => {
                self.tick.0.is_multiple_of(2 * send_every)
            }
            // Without a rate, there are fewer ticks instead: what changed must be shown.
            (Cadence::OnChange { .. }, _) | (_, Sends::All) => {
                self.tick.0.is_multiple_of(send_every)
            }
        }
    }

    /// Whether the room has a rate and sleeps.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        matches!(self.cadence, Cadence::Fixed { .. }) && self.rest != Rest::Awake
    }

    /// How fast the room's time runs, in 65536ths of real time; 0 while it sleeps.
    #[must_use]
    pub fn scale_q16(&self) -> u32 {
        if self.is_asleep() { 0 } else { self.scale_q16 }
    }

    /// The last tick that was begun.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The schedule as clients need it.
    #[must_use]
    pub fn clock(&self) -> RoomClock {
        let (tick_us, send_every) = match self.cadence {
            Cadence::Fixed { tick_rate_hz, send_every } => (1_000_000 / tick_rate_hz, send_every),
            Cadence::OnChange { .. } => (0, 1),
        };
        RoomClock { epoch: self.epoch, tick_us, send_every }
    }

    /// With a rate: when the next tick is due.
    fn tick_due(&self) -> Timestamp {
        self.clock().due(self.tick.next()) + self.stretch()
    }

    /// What a step takes longer than it should.
    fn stretch(&self) -> Duration {
        Duration::from_micros(self.stretch_us())
    }

    fn stretch_us(&self) -> u64 {
        let step_us = u64::from(self.clock().tick_us);
        (step_us * u64::from(TimeSync::REAL_TIME) / u64::from(self.scale_q16))
            .saturating_sub(step_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_due_at_fixed_steps_and_lateness_does_not_accumulate() {
        let cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 1 };
        let mut ticker = Ticker::new(Timestamp(101_000), cadence, u32::MAX / 50);
        assert_eq!(ticker.next_due(), Some(Timestamp(150_999)));
        assert_eq!(ticker.begin(Timestamp(151_699)), Duration::from_micros(700));
        assert_eq!(ticker.next_due(), Some(Timestamp(200_999)), "the schedule does not move");
        assert_eq!(ticker.begin(Timestamp(200_999)), Duration::ZERO);
    }

    #[test]
    fn the_first_tick_is_due_within_a_step_at_the_phase() {
        let cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 1 };
        for (now, share, due) in [
            (0, 0, 50_000),
            (1, 0, 50_000),
            (49_999, 0, 50_000),
            (50_000, 0, 100_000),
            (0, 1 << 31, 25_000),
            (25_000, 1 << 31, 75_000),
            (30_000, 1 << 31, 75_000),
        ] {
            let second = Timestamp(1_000_000);
            let ticker = Ticker::new(Timestamp(second.0 + now), cadence, share);
            assert_eq!(ticker.next_due(), Some(Timestamp(second.0 + due)), "at {now}, {share}");
        }
    }

    #[test]
    fn a_slip_moves_the_schedule_but_not_the_count() {
        let cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 2 };
        let mut ticker = Ticker::new(Timestamp(0), cadence, 0);
        for tick in 1..=4 {
            ticker.begin(Timestamp(tick * 50_000));
            assert_eq!(ticker.is_send_tick(), tick % 2 == 0, "tick {tick}");
        }
        ticker.slip(Timestamp(901_234));
        assert_eq!((ticker.tick(), ticker.next_due()), (Tick(4), Some(Timestamp(950_000))));
    }

    #[test]
    fn a_sleeping_room_has_no_due_time_and_goes_on_with_the_next_number() {
        let cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 1 };
        let mut ticker = Ticker::new(Timestamp(0), cadence, 0);
        ticker.begin(Timestamp(50_000));
        ticker.sleep(None);
        assert_eq!((ticker.next_due(), ticker.scale_q16()), (None, 0));
        ticker.want();
        let now = Timestamp(9_020_000);
        assert!(ticker.next_due().is_some_and(|due| due <= now), "it wakes at once");
        ticker.wake(now);
        assert_eq!(ticker.next_due(), Some(Timestamp(9_050_000)));
        assert_eq!(ticker.begin(Timestamp(9_050_000)), Duration::ZERO);
        assert_eq!((ticker.tick(), ticker.scale_q16()), (Tick(2), TimeSync::REAL_TIME));
        ticker.sleep(Some(Duration::from_secs(1)));
        assert_eq!(ticker.next_due(), Some(Timestamp(10_050_000)));
    }

    #[test]
    fn slow_time_stretches_the_steps_to_come_and_moves_no_tick_that_was() {
        let cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 1 };
        let mut ticker = Ticker::new(Timestamp(0), cadence, 0);
        ticker.begin(Timestamp(50_000));
        ticker.set_scale(TimeSync::REAL_TIME / 4);
        for due in [250_000, 450_000, 650_000] {
            assert_eq!(ticker.next_due(), Some(Timestamp(due)));
            assert_eq!(ticker.begin(Timestamp(due)), Duration::ZERO);
            assert_eq!(ticker.clock().due(ticker.tick()), Timestamp(due), "clients are told so");
        }
        ticker.set_scale(TimeSync::REAL_TIME);
        assert_eq!(ticker.next_due(), Some(Timestamp(700_000)));
        ticker.set_scale(TimeSync::REAL_TIME / 2);
        ticker.slip(Timestamp(900_001));
        let due = ticker.next_due().expect("it is awake");
        assert!(due > Timestamp(900_001) && due <= Timestamp(950_001), "{due:?}");
    }

    #[test]
    fn half_the_sends_are_every_other_and_without_a_rate_later() {
        let cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 2 };
        let mut ticker = Ticker::new(Timestamp(0), cadence, 0);
        ticker.set_sends(Sends::EveryOther);
        let sent: Vec<u64> = (1..=12)
            .filter(|tick| {
                ticker.begin(Timestamp(tick * 50_000));
                ticker.is_send_tick()
            })
            .collect();
        assert_eq!(sent, [4, 8, 12]);
        let interval = Duration::from_millis(50);
        let mut ticker = Ticker::new(Timestamp(0), Cadence::OnChange { interval }, 0);
        ticker.set_sends(Sends::EveryOther);
        ticker.begin(Timestamp(1_000_000));
        assert!(ticker.is_send_tick(), "what changed is shown");
        ticker.want();
        assert_eq!(ticker.next_due(), Some(Timestamp(1_100_000)));
    }

    #[test]
    fn without_a_rate_a_change_is_shown_at_once_and_the_next_after_the_interval() {
        let cadence = Cadence::OnChange { interval: Duration::from_millis(50) };
        let mut ticker = Ticker::new(Timestamp(0), cadence, 7);
        assert_eq!(ticker.next_due(), None, "nothing changed");
        ticker.want();
        let now = Timestamp(1_000_000);
        assert!(ticker.next_due().is_some_and(|due| due <= now));
        ticker.begin(now);
        assert_eq!(ticker.next_due(), None, "it was shown");
        ticker.want();
        assert_eq!(ticker.next_due(), Some(Timestamp(1_050_000)));
        assert_eq!((ticker.tick(), ticker.clock().tick_us), (Tick(1), 0));
    }
}
