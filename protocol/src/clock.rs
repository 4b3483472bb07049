//! Time as a client sees it: what the server's clock says, when a room's ticks are due, and how far
//! ahead of them to act.
//!
//! ```text
//! Ping, TimeSync -> ServerClock -- the server's time --> Timetable -- tick --> which input to send
//! Delta.margin   -> Lead -------- how much of it ahead ---^
//! ```
//!
//! [`ServerClock::act_at`] puts the three together. Nothing here reads a clock: every function is
//! told what the client's own says.

mod lead;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::ids::Tick;
use crate::server_message::{RoomClock, TimeSync};
use crate::time::Timestamp;

pub use lead::Lead;

/// Pings of the beginning, when nothing is known yet.
const EAGER_PINGS: u32 = 10;
const EAGER_PING_EVERY: Duration = Duration::from_millis(500);
/// From one ping to the next afterwards: two clocks drift apart by some 50 us per second.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Samples of which the one with the shortest round trip counts. What a line delays, and it delays
/// one direction more than the other, is in the long ones.
const SAMPLES: usize = 8;

/// The estimate goes this part of the way to each new one, so that time never jumps in a picture.
const SLEW_PART: i64 = 5;
/// And no further than this at once.
const SLEW_US_MAX: i64 = 25_000;
/// Off by more than this it jumps all the same: the clock was set, or the device slept.
const SNAP_US: i64 = 150_000;

/// What one answered ping says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// From the ping to its answer.
    pub round_trip: Duration,
    /// The server's clock minus the client's, in microseconds. It may be wrong by half the round
    /// trip either way.
    pub offset_us: i64,
}

impl Sample {
    /// What an answer says that arrived at `now` on the client's clock. None when nobody asked, or
    /// when it was not this client.
    #[must_use]
    pub fn of(now: Timestamp, sync: &TimeSync) -> Option<Self> {
        if sync.client_us == 0 {
            return None;
        }
        let round_trip_us = now.0.checked_sub(sync.client_us)?;
        // The answer was written somewhere between the two: in the middle, at best.
        let middle_us = sync.client_us + round_trip_us / 2;
        let offset_us = i128::from(sync.server.0) - i128::from(middle_us);
        let offset_us = i64::try_from(offset_us).ok()?;
        Some(Self { round_trip: Duration::from_micros(round_trip_us), offset_us })
    }
}

/// The server's clock, estimated.
#[derive(Clone, Debug, Default)]
pub struct ServerClock {
    /// The last ones, at most [`SAMPLES`]. Empty exactly while nothing is known.
    samples: VecDeque<Sample>,
    offset_us: i64,
    pings: u32,
    ping_at: Timestamp,
}

impl ServerClock {
    /// What to say in a [`Ping`](crate::client_message::ClientMessage::Ping), if it is time for
    /// one: every half second at first and every 5 s later on.
    pub fn poll_ping(&mut self, now: Timestamp) -> Option<u64> {
        if now < self.ping_at {
            return None;
        }
        let every = if self.pings < EAGER_PINGS { EAGER_PING_EVERY } else { PING_EVERY };
        self.pings = self.pings.saturating_add(1);
        self.ping_at = now + every;
        // 0 would say that nobody asked.
        Some(now.0.max(1))
    }

    /// When [`ServerClock::poll_ping`] has the next one.
    #[must_use]
    pub fn ping_due(&self) -> Timestamp {
        self.ping_at
    }

    /// The server told its time. What answers no ping says nothing about the clock.
    pub fn handle_sync(&mut self, now: Timestamp, sync: &TimeSync) {
        let Some(sample) = Sample::of(now, sync) else { return };
        let is_first = self.samples.is_empty();
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        let best = self.best().map_or(sample.offset_us, |best| best.offset_us);
        let error_us = best.saturating_sub(self.offset_us);
        self.offset_us += if is_first || error_us.saturating_abs() > SNAP_US {
            error_us
        } else {
            (error_us / SLEW_PART).clamp(-SLEW_US_MAX, SLEW_US_MAX)
        };
    }

    /// What the server's clock says when the client's says `now`. None before the first answer.
    #[must_use]
    pub fn server_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.best()?;
        Some(Timestamp(now.0.saturating_add_signed(self.offset_us)))
    }

    /// How long a message is under way, at best. None before the first answer.
    #[must_use]
    pub fn one_way(&self) -> Option<Duration> {
        self.best().map(|best| best.round_trip / 2)
    }

    /// The tick that an input is for which leaves now: it arrives `lead` before that tick is due.
    /// None before the first answer, and in a room without a rate.
    #[must_use]
    pub fn act_at(&self, now: Timestamp, timetable: &Timetable, lead: Duration) -> Option<f64> {
        timetable.tick_at(self.server_at(now)? + self.one_way()? + lead)
    }

    fn best(&self) -> Option<&Sample> {
        // Of equals the newest: the clocks drift.
        self.samples.iter().rev().min_by_key(|sample| sample.round_trip)
    }
}

/// When the ticks of one room are due, on the server's clock.
///
/// A room's time may run slower than the server's, and stands still while the room sleeps; the
/// numbers of its ticks go on from where they were.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timetable {
    clock: RoomClock,
    /// Behind this tick, time runs at `scale_q16`.
    from: Tick,
    scale_q16: u32,
}

impl Timetable {
    /// The timetable of a room whose last tick was `tick`, as `Joined` says.
    #[must_use]
    pub fn new(clock: RoomClock, tick: Tick) -> Self {
        Self { clock, from: tick, scale_q16: TimeSync::REAL_TIME }
    }

    /// The server told its time. Without a seat it says nothing about a room.
    pub fn handle_sync(&mut self, sync: &TimeSync) {
        if sync.epoch != Timestamp::ZERO {
            self.clock.epoch = sync.epoch;
            (self.from, self.scale_q16) = (sync.tick, sync.scale_q16);
        }
    }

    /// When a tick is or was due. One of a room that sleeps never is.
    #[must_use]
    pub fn due(&self, tick: Tick) -> Timestamp {
        let later = tick.0.saturating_sub(self.from.0);
        let base = self.clock.due(tick.min(self.from));
        if later == 0 {
            return base;
        }
        let room_us = u64::from(later) * u64::from(self.clock.tick_us);
        let us = (u128::from(room_us) << 16).checked_div(u128::from(self.scale_q16));
        let us = us.and_then(|us| u64::try_from(us).ok()).unwrap_or(u64::MAX);
        Timestamp(base.0.saturating_add(us))
    }

    /// The tick that is due at a moment of the server's clock, with the part of the next that has
    /// passed. None in a room without a rate.
    #[must_use]
    pub fn tick_at(&self, server: Timestamp) -> Option<f64> {
        if self.clock.tick_us == 0 {
            return None;
        }
        let from = self.clock.due(self.from);
        let mut us = server.0 as f64 - from.0 as f64;
        if us > 0.0 {
            us *= f64::from(self.scale_q16) / f64::from(TimeSync::REAL_TIME);
        }
        Some(f64::from(self.from.0) + us / f64::from(self.clock.tick_us))
    }

    /// How fast the room's time runs, in 65536ths of real time.
    #[must_use]
    pub fn scale_q16(&self) -> u32 {
        self.scale_q16
    }

    /// From one tick to the next as long as time runs as it should; zero in a room without a rate.
    #[must_use]
    pub fn tick_length(&self) -> Duration {
        Duration::from_micros(u64::from(self.clock.tick_us))
    }
}
