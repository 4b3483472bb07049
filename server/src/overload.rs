//! When a shard has more to do than time: nobody new is let in before ticks slip for those who are
//! here. Looked at once a second, with a gap between the way in and the way out, so that it does
//! not flap.

use std::time::Duration;

/// Busy for so much of a second, and ticks began late: overload.
const BUSY_PERCENT_MAX: u128 = 95;

/// Busy for less than this: over.
const BUSY_PERCENT_CALM: u128 = 85;

const _: () = assert!(BUSY_PERCENT_CALM < BUSY_PERCENT_MAX);

/// What a shard does that has more to do than time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenBusy {
    /// It refuses upgrades and joins until it has air again.
    LetNobodyIn,
    /// It goes on as if nothing was, and ticks slip for everybody.
    GoOn,
}

/// What one second was like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    /// Time outside of the poll.
    pub busy: Duration,
    /// Time altogether.
    pub elapsed: Duration,
    /// Ticks that began later than a whole step.
    pub ticks_overrun: u64,
}

/// Whether a shard takes new work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Overload {
    is_over: bool,
}

impl Overload {
    /// Another second is over. A busy shard whose ticks are on time is merely well used, and late
    /// ticks of one that is not busy have another cause, which turning people away will not mend.
    pub fn handle_load(&mut self, load: Load) {
        let busy_percent = load.busy.as_micros() * 100 / load.elapsed.as_micros().max(1);
        if self.is_over {
            self.is_over = busy_percent >= BUSY_PERCENT_CALM;
        } else {
            self.is_over = busy_percent >= BUSY_PERCENT_MAX && load.ticks_overrun > 0;
        }
    }

    /// Whether nobody new is let in.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newcomers_wait_from_late_ticks_until_there_is_air_again() {
        let mut overload = Overload::default();
        for (busy_ms, elapsed_ms, ticks_overrun, is_over) in [
            (400, 1_000, 0, false),
            // Well used.
            (990, 1_000, 0, false),
            // Late for another reason, such as a machine that slept.
            (500, 1_000, 9, false),
            (949, 1_000, 9, false),
            (950, 1_000, 1, true),
            (940, 1_000, 0, true),
            (850, 1_000, 0, true),
            (849, 1_000, 5, false),
            (940, 1_000, 5, false),
            // A second that lasted longer.
            (1_900, 2_000, 1, true),
            (0, 0, 0, false),
        ] {
            overload.handle_load(Load {
                busy: Duration::from_millis(busy_ms),
                elapsed: Duration::from_millis(elapsed_ms),
                ticks_overrun,
            });
            assert_eq!(
                overload.is_over(),
                is_over,
                "{busy_ms} of {elapsed_ms} ms, {ticks_overrun}"
            );
        }
    }
}
