//! When a room ticks: at a fixed step or when something changed. Numbers are never skipped and
//! never run backwards.

use std::time::Duration;

use tickloom_protocol::ids::Tick;
use tickloom_protocol::server_message::RoomClock;
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
    /// Without a rate: something changed that no tick has shown yet.
    is_wanted: bool,
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
        };
        ticker.phase_us = (u64::from(ticker.clock().tick_us) * u64::from(phase)) >> 32;
        ticker.slip(now);
        ticker
    }

    /// Something changed. A room with a rate ticks anyway.
    pub fn want(&mut self) {
        self.is_wanted = true;
    }

    /// When the next tick is due; `None` in a room without a rate in which nothing changed.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        match self.cadence {
            Cadence::Fixed { .. } => Some(self.clock().due(self.tick.next())),
            Cadence::OnChange { interval } => self.is_wanted.then_some(self.begun_at + interval),
        }
    }

    /// Begins the next tick and says how late it is.
    pub fn begin(&mut self, now: Timestamp) -> Duration {
        let lateness = match self.cadence {
            Cadence::Fixed { .. } => now.saturating_since(self.clock().due(self.tick.next())),
            // It was due when something changed, which is now.
            Cadence::OnChange { .. } => Duration::ZERO,
        };
        self.tick = self.tick.next();
        self.begun_at = now;
        self.is_wanted = false;
        lateness
    }

    /// Moves the schedule so that the next tick is due within one step after `now`: after a stall
    /// that catching up would only prolong, and after a pause without members.
    pub fn slip(&mut self, now: Timestamp) {
        let step_us = u64::from(self.clock().tick_us);
        if step_us == 0 {
            return;
        }
        let past_us = (now.0 + step_us - self.phase_us) % step_us;
        let next_due_us = now.0 + step_us - past_us;
        // The epoch may lie before the clock's origin only if the room ticked before it.
        let elapsed_us = u64::from(self.tick.next().0) * step_us;
        self.epoch = Timestamp(next_due_us.saturating_sub(elapsed_us));
    }

    /// Whether state is sent at the current tick.
    #[must_use]
    pub fn is_send_tick(&self) -> bool {
        self.tick.0.is_multiple_of(u32::from(self.clock().send_every))
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
