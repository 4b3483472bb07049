//! How often something may happen, in one word per client.
//!
//! The generic cell rate algorithm (ITU-T I.371, annex A, as a virtual scheduling algorithm): a
//! bucket remembers when all that happened so far would have happened at exactly the rate. While
//! that lies no further ahead than a whole burst takes, there is room. It needs no timer, no
//! refill and no clock of its own, and what was long ago has no weight.

use std::time::Duration;

use tickloom_protocol::time::Timestamp;

/// So many units per second, and how many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// Time that one unit takes.
    unit_ns: u64,
    /// Time that a whole burst takes.
    burst_ns: u64,
}

impl Rate {
    /// `per_second` units in the long run and `burst` at once. A rate of 0 counts as 1.
    #[must_use]
    pub const fn new(per_second: u64, burst: u64) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        // Beyond a unit per nanosecond it is no limit any more.
        let unit_ns = 1_000_000_000_u64.div_ceil(per_second);
        Self { unit_ns, burst_ns: unit_ns.saturating_mul(burst) }
    }
}

impl Rate {
    /// The share of one of so many: less per second and less at once.
    #[must_use]
    pub const fn part(self, count: usize) -> Self {
        // Each unit takes longer, and the same time is a whole burst, but for one unit.
        let unit_ns = self.unit_ns.saturating_mul(count as u64);
        let burst_ns = if self.burst_ns < unit_ns { unit_ns } else { self.burst_ns };
        Self { unit_ns, burst_ns }
    }
}

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bucket {
    /// When everything so far would have happened at the rate; 0 before the first time.
    level_ns: u64,
}

impl Bucket {
    /// A bucket from its word.
    #[must_use]
    pub const fn from_word(level_ns: u64) -> Self {
        Self { level_ns }
    }

    /// The bucket as a word.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        self.level_ns
    }

    /// Counts something that has happened anyway. Returns how long to wait until there is room
    /// again; zero when there still is.
    pub fn charge(&mut self, now: Timestamp, rate: Rate, units: u64) -> Duration {
        let now_ns = now.0.saturating_mul(1_000);
        let cost_ns = rate.unit_ns.saturating_mul(units);
        self.level_ns = self.level_ns.max(now_ns).saturating_add(cost_ns);
        Duration::from_nanos(self.level_ns.saturating_sub(now_ns.saturating_add(rate.burst_ns)))
    }

    /// When there is room for another unit; a moment that has passed when there is already. The
    /// rate must have room for one at all.
    #[must_use]
    pub fn room_at(self, rate: Rate) -> Timestamp {
        let at_ns = self.level_ns.saturating_add(rate.unit_ns).saturating_sub(rate.burst_ns);
        Timestamp(at_ns.div_ceil(1_000))
    }

    /// Counts one unit if there is room for it; says whether there was.
    pub fn take(&mut self, now: Timestamp, rate: Rate) -> bool {
        let mut after = *self;
        let has_room = after.charge(now, rate, 1) == Duration::ZERO;
        if has_room {
            *self = after;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp(millis * 1_000)
    }

    #[test]
    fn a_burst_passes_at_once_and_the_rest_at_the_rate() {
        let rate = Rate::new(10, 5);
        let mut bucket = Bucket::default();
        let taken = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now, rate)).count();
        for (now, expected) in [
            (1_000, 5),
            (1_000, 0),
            (1_099, 0),
            (1_100, 1),
            (1_350, 2),
            (1_400, 1),
            // A long silence earns a burst and no more.
            (60_000, 5),
            (60_100, 1),
        ] {
            assert_eq!(taken(&mut bucket, at(now)), expected, "at {now} ms");
        }
    }

    #[test]
    fn what_happened_anyway_is_waited_for() {
        let rate = Rate::new(1_000, 100);
        let mut bucket = Bucket::default();
        for (now, units, wait_ms) in
            [(0, 100, 0), (0, 1, 1), (0, 50, 51), (51, 0, 0), (51, 10, 10), (5_000, 100, 0)]
        {
            let wait = bucket.charge(at(now), rate, units);
            assert_eq!(wait, Duration::from_millis(wait_ms), "{units} at {now} ms");
        }
    }

    #[test]
    fn in_the_long_run_the_rate_is_met_whatever_the_pattern() {
        fastrand::seed(7);
        for per_second in [1, 3, 120, 262_144] {
            let rate = Rate::new(per_second, per_second);
            let (mut bucket, mut now, mut units) = (Bucket::default(), 0, 0);
            while now < 100_000 {
                let some = fastrand::u64(1..=per_second);
                let wait = bucket.charge(at(now), rate, some);
                units += some;
                now += wait.as_millis() as u64 + fastrand::u64(0..20);
            }
            let share = units as f64 / (per_second * (now / 1_000 + 1)) as f64;
            assert!((0.9..1.03).contains(&share), "{per_second}/s: {share}");
        }
    }

    #[test]
    fn there_is_room_at_the_moment_that_was_named_and_not_before() {
        for rate in [Rate::new(1_000, 3), Rate::new(3, 1), Rate::new(2_000, 200).part(7)] {
            let (mut bucket, mut now) = (Bucket::default(), at(1_000));
            for _ in 0..1_000 {
                while bucket.take(now, rate) {}
                let room_at = bucket.room_at(rate);
                assert!(room_at > now, "{rate:?}");
                assert!(!bucket.take(Timestamp(room_at.0 - 1), rate), "{rate:?}");
                now = room_at;
                assert!(bucket.take(now, rate), "{rate:?}");
            }
        }
        assert!(Bucket::default().room_at(Rate::new(1, 1)) <= at(0), "at once");
    }

    #[test]
    fn a_part_of_a_small_burst_still_has_room_for_one() {
        let part = Rate::new(10, 2).part(8);
        let mut bucket = Bucket::default();
        assert!(bucket.take(at(1_000), part));
        assert!(!bucket.take(at(1_799), part) && bucket.take(at(1_800), part));
    }

    #[test]
    fn absurd_numbers_saturate() {
        let mut bucket = Bucket::from_word(u64::MAX - 1);
        assert!(bucket.charge(Timestamp(u64::MAX), Rate::new(0, u64::MAX), u64::MAX).is_zero());
        assert!(!bucket.charge(at(0), Rate::new(u64::MAX, 0), 7).is_zero());
    }
}
