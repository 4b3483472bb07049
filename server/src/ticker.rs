//! When a room ticks: a fixed step that never skips a number and never runs backwards.

use std::time::Duration;

use tickloom_protocol::ids::Tick;
use tickloom_protocol::server_message::RoomClock;
use tickloom_protocol::time::Timestamp;

/// Steps a late room makes up for in one go. More would make the shard later still.
pub const CATCH_UP_STEPS_MAX: u32 = 3;

/// A room that is later than this after catching up lets its clock slip instead.
pub const LATENESS_MAX: Duration = Duration::from_millis(250);

/// The schedule of one room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticker {
    clock: RoomClock,
    /// The last tick that was begun.
    tick: Tick,
}

impl Ticker {
    /// A schedule whose first tick is due one step after `now`.
    #[must_use]
    pub fn new(now: Timestamp, tick_us: u32, send_every: u8) -> Self {
        Self { clock: RoomClock { epoch: now, tick_us, send_every }, tick: Tick::ZERO }
    }

    /// When the next tick is due.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        self.clock.due(self.tick.next())
    }

    /// Begins the next tick and says how late it is.
    pub fn begin(&mut self, now: Timestamp) -> Duration {
        let lateness = now.saturating_since(self.next_due());
        self.tick = self.tick.next();
        lateness
    }

    /// Moves the schedule so that the next tick is due one step after `now`: after a stall that
    /// catching up would only prolong, and after a pause without members.
    pub fn slip(&mut self, now: Timestamp) {
        let elapsed = u64::from(self.tick.0) * u64::from(self.clock.tick_us);
        // The epoch may lie before the clock's origin only if the room ticked before it.
        self.clock.epoch = Timestamp(now.0.saturating_sub(elapsed));
    }

    /// Whether state is sent at the current tick.
    #[must_use]
    pub fn is_send_tick(&self) -> bool {
        self.tick.0.is_multiple_of(u32::from(self.clock.send_every))
    }

    /// The last tick that was begun.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// The schedule as clients need it.
    #[must_use]
    pub fn clock(&self) -> RoomClock {
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_due_at_fixed_steps_and_lateness_does_not_accumulate() {
        let mut ticker = Ticker::new(Timestamp(1_000), 50_000, 1);
        assert_eq!(ticker.next_due(), Timestamp(51_000));
        assert_eq!(ticker.begin(Timestamp(51_700)), Duration::from_micros(700));
        assert_eq!(ticker.next_due(), Timestamp(101_000), "the schedule does not move");
        assert_eq!(ticker.begin(Timestamp(101_000)), Duration::ZERO);
    }

    #[test]
    fn a_slip_moves_the_schedule_but_not_the_count() {
        let mut ticker = Ticker::new(Timestamp(0), 50_000, 2);
        for tick in 1..=4 {
            ticker.begin(Timestamp(tick * 50_000));
            assert_eq!(ticker.is_send_tick(), tick % 2 == 0, "tick {tick}");
        }
        ticker.slip(Timestamp(900_000));
        assert_eq!((ticker.tick(), ticker.next_due()), (Tick(4), Timestamp(950_000)));
    }
}
