//! When a shard has more to do than time: it leaves things out, one after the other, the dearest
//! last, and nobody new is let in before ticks slip for those who are here.
//!
//! ```text
//! busy 70 %          far cells are sent less often
//! and ticks late     state is sent every other time
//! still              catch-ups get half the bytes, joins are told to come later
//! still              time runs slower, in rooms that allow it
//! ```
//!
//! Looked at once a second, with gaps between the ways in and the ways out, so that nothing flaps.

use std::time::Duration;

use tickloom_protocol::server_message::TimeSync;

/// Busy for so much of a second, and ticks began late: overload.
const BUSY_PERCENT_MAX: u128 = 95;

/// Busy for less than this: over.
const BUSY_PERCENT_CALM: u128 = 85;

const _: () = assert!(BUSY_PERCENT_CALM < BUSY_PERCENT_MAX);

/// Busy for more than this, on a moving average, over [`UP_AFTER`]: one level more is left out.
const STRAINED_PERMILLE: u64 = 700;
/// Busy for less than this over [`DOWN_AFTER`]: one level less.
const RELAXED_PERMILLE: u64 = 500;
const UP_AFTER: Duration = Duration::from_secs(1);
/// Longer than the way up, since the load of a moment ago was a lighter one.
const DOWN_AFTER: Duration = Duration::from_secs(5);
/// Time over which the average forgets.
const SMOOTHING: Duration = Duration::from_millis(500);

const _: () = assert!(RELAXED_PERMILLE < STRAINED_PERMILLE);

/// The slowest that time runs: a quarter.
const SCALE_Q16_MIN: u32 = TimeSync::REAL_TIME / 4;

/// What a shard does that has more to do than time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenBusy {
    /// It leaves out what it can, and refuses upgrades and joins until it has air again.
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

/// How much a shard leaves out. Each level includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(u8)]
pub enum LoadLevel {
    /// Nothing.
    #[default]
    Nothing,
    /// Cells far from a member are sent half as often.
    FarCells,
    /// All state is sent half as often. Rooms tick on at their rate and take every input.
    Sends,
    /// Catch-ups and snapshots of a tick get half the bytes, and who wants a seat is told to come
    /// back later.
    Newcomers,
    /// Time runs slower in rooms that allow it.
    Time,
}

impl LoadLevel {
    const ALL: [Self; 5] =
        [Self::Nothing, Self::FarCells, Self::Sends, Self::Newcomers, Self::Time];

    /// One that leaves out more, or the last.
    fn more(self) -> Self {
        Self::ALL[(self as usize + 1).min(Self::ALL.len() - 1)]
    }

    /// One that leaves out less, or the first.
    fn less(self) -> Self {
        Self::ALL[(self as usize).saturating_sub(1)]
    }
}

/// Which level a shard is at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ladder {
    level: LoadLevel,
    /// [`TimeSync::REAL_TIME`] below the last level.
    scale_q16: u32,
    busy_permille: u64,
    /// How long it was too busy in a row since the level changed, and how long it was not.
    strained: Duration,
    relaxed: Duration,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            level: LoadLevel::Nothing,
            scale_q16: TimeSync::REAL_TIME,
            busy_permille: 0,
            strained: Duration::ZERO,
            relaxed: Duration::ZERO,
        }
    }
}

impl Ladder {
    /// Another second is over. Beyond the first level late ticks are needed, too: a shard whose
    /// ticks are on time is merely well used.
    pub fn handle_load(&mut self, load: Load) {
        let elapsed_us = load.elapsed.as_micros().max(1) as u64;
        let busy_permille = (load.busy.as_micros() as u64 * 1000 / elapsed_us).min(1000);
        let smoothing_us = SMOOTHING.as_micros() as u64;
        self.busy_permille = (self.busy_permille * smoothing_us + busy_permille * elapsed_us)
            / (smoothing_us + elapsed_us);
        let is_late = load.ticks_overrun > 0;
        let has_more = self.level == LoadLevel::Nothing || is_late;
        let is_strained = self.busy_permille > STRAINED_PERMILLE && has_more;
        let is_relaxed = self.busy_permille < RELAXED_PERMILLE;
        let add = |time: Duration, holds| if holds { time + load.elapsed } else { Duration::ZERO };
        self.strained = add(self.strained, is_strained);
        self.relaxed = add(self.relaxed, is_relaxed);
        if self.strained >= UP_AFTER {
            self.strained = Duration::ZERO;
            if self.level == LoadLevel::Time {
                self.slow_down();
            }
            self.level = self.level.more();
        } else if is_relaxed && self.scale_q16 < TimeSync::REAL_TIME {
            // Time is what was left out last, so it comes back first.
            self.scale_q16 = (self.scale_q16 / 4 * 5).min(TimeSync::REAL_TIME);
            self.relaxed = Duration::ZERO;
        } else if self.relaxed >= DOWN_AFTER {
            self.relaxed = Duration::ZERO;
            self.level = self.level.less();
        }
    }

    /// How much is left out.
    #[must_use]
    pub fn level(self) -> LoadLevel {
        self.level
    }

    /// How fast time runs in rooms that allow it, in 65536ths.
    #[must_use]
    pub fn scale_q16(self) -> u32 {
        self.scale_q16
    }

    /// As far as would make what was done in the last second fit, if ticks were all there was.
    fn slow_down(&mut self) {
        let scale_q16 = u64::from(self.scale_q16) * STRAINED_PERMILLE / self.busy_permille;
        self.scale_q16 = (scale_q16 as u32).max(SCALE_Q16_MIN);
    }
}

/// Whether a shard takes new work, and how much it leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Overload {
    is_over: bool,
    ladder: Ladder,
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
        self.ladder.handle_load(load);
    }

    /// Whether nobody new is let in.
    #[must_use]
    pub fn is_over(self) -> bool {
        self.is_over
    }

    /// Whether those who are in get no seat for now.
    #[must_use]
    pub fn defers_joins(self) -> bool {
        self.is_over || self.ladder.level >= LoadLevel::Newcomers
    }

    /// What is left out.
    #[must_use]
    pub fn ladder(self) -> Ladder {
        self.ladder
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

    /// Seconds of a shard that would need so much of each to leave nothing out. Returns the level
    /// and the scale of each.
    fn run(ladder: &mut Ladder, demand_percent: u64, seconds: usize) -> Vec<(LoadLevel, u32)> {
        let mut seen = Vec::new();
        for _ in 0..seconds {
            let left_percent = match ladder.level() {
                LoadLevel::Nothing => 100,
                LoadLevel::FarCells => 90,
                LoadLevel::Sends => 60,
                LoadLevel::Newcomers => 55,
                LoadLevel::Time => 55 * u64::from(ladder.scale_q16()) / 65_536,
            };
            let needed = demand_percent * left_percent / 100;
            ladder.handle_load(Load {
                busy: Duration::from_millis(needed.min(100) * 10),
                elapsed: Duration::from_secs(1),
                ticks_overrun: u64::from(needed > 100),
            });
            seen.push((ladder.level(), ladder.scale_q16()));
        }
        seen
    }

    #[test]
    fn levels_go_up_one_by_one_and_come_down_again() {
        use LoadLevel::{FarCells, Newcomers, Nothing, Sends, Time};
        const REAL: u32 = TimeSync::REAL_TIME;
        let mut ladder = Ladder::default();
        assert_eq!(run(&mut ladder, 20, 3), [(Nothing, REAL); 3]);
        let up = run(&mut ladder, 300, 20);
        let levels: Vec<LoadLevel> = up.iter().map(|(level, _)| *level).collect();
        assert_eq!(levels[..4], [FarCells, Sends, Newcomers, Time], "a level per second");
        assert!(up[4].1 < REAL, "and then time");
        let (level, scale_q16) = up[19];
        let needed = 300 * 55 * u64::from(scale_q16) / 65_536;
        assert!(level == Time && needed <= 10_000, "what is left fits: {needed}");
        assert_eq!(up[10..], vec![(level, scale_q16); 10], "and nothing flaps");
        let down = run(&mut ladder, 20, 40);
        let mut falling = down.clone();
        falling.sort_by_key(|(level, scale)| (std::cmp::Reverse(*level), *scale));
        assert_eq!(down, falling, "time comes back first, and then level by level");
        let changes = down.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
        assert_eq!((changes, down[39]), (4, (Nothing, REAL)));
    }

    #[test]
    fn time_is_never_slower_than_a_quarter() {
        let mut ladder = Ladder::default();
        let seen = run(&mut ladder, 10_000, 60);
        assert_eq!(seen[59], (LoadLevel::Time, TimeSync::REAL_TIME / 4));
    }

    #[test]
    fn a_shard_that_is_merely_well_used_leaves_out_far_cells_at_most() {
        let mut ladder = Ladder::default();
        let seen = run(&mut ladder, 99, 60);
        assert_eq!(seen[59].0, LoadLevel::FarCells);
        let seen = run(&mut ladder, 65, 60);
        assert_eq!(seen[59].0, LoadLevel::FarCells, "and does so until there is air");
        // Late for another reason, such as a machine that slept.
        let mut ladder = Ladder::default();
        for _ in 0..20 {
            let (busy, elapsed) = (Duration::from_millis(300), Duration::from_secs(1));
            ladder.handle_load(Load { busy, elapsed, ticks_overrun: 9 });
        }
        assert_eq!(ladder.level(), LoadLevel::Nothing);
    }

    #[test]
    fn one_busy_moment_is_forgotten() {
        let mut ladder = Ladder::default();
        for _ in 0..20 {
            for busy_ms in [10, 100] {
                let elapsed = Duration::from_millis(100);
                ladder.handle_load(Load {
                    busy: Duration::from_millis(busy_ms),
                    elapsed,
                    ticks_overrun: 1,
                });
            }
        }
        assert_eq!(ladder.level(), LoadLevel::Nothing, "busy for half of the time");
    }
}
