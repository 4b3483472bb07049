//! Looks at the server from outside: shards that do not move any more, memory that runs out.
//!
//! It is a thread of its own, because whoever hangs cannot say so. [`Watchdog`] and
//! [`MemoryGate`] judge and are pure; [`watch`] has the clock.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tickloom_protocol::time::Timestamp;

use crate::board::{Activity, Board};
use crate::config::WatchdogConfig;
use crate::reactor::monotonic_now;

/// The longest the watchdog looks away. Shards that do nothing beat as often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest, so that it does not spin on a limit that is just being passed.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);

/// How soon a stalled shard's recovery is seen.
const RECOVERY_LOOK_EVERY: Duration = Duration::from_millis(100);

/// A look may be this late. What it is later than that, the watchdog was itself held up, by a
/// debugger, a suspended machine or one without time for anybody: nobody can be blamed for it.
const LATENESS_MAX: Duration = Duration::from_millis(500);

/// Admission begins again this far below the cap on memory, or it would flap: a 20th.
const MEMORY_HYSTERESIS_PARTS: u64 = 20;

/// Something about a shard that a person should know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// It has not come out of its poll for too long.
    Stalled(Silence),
    /// It has again; the silence is how long it lasted.
    Recovered(Silence),
    /// It will not any more, as far as anybody can tell.
    Hung(Silence),
}

/// A shard that was not heard of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Silence {
    /// The shard's index.
    pub shard: usize,
    /// For how long it was silent.
    pub lasted: Duration,
    /// What it was about when it was looked at.
    pub activity: Activity,
}

/// Judges the beats of all shards.
#[derive(Debug)]
pub struct Watchdog {
    config: WatchdogConfig,
    watched: Vec<Watched>,
    looked_at: Timestamp,
    /// How long to look away.
    pause: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    beat: Timestamp,
    activity: Activity,
    /// How long the beat has been the same.
    silent_for: Duration,
    /// How long the activity has been the same, too. A turn of 10,000 rooms may be long, but it
    /// goes from room to room.
    stuck_for: Duration,
    is_stalled: bool,
    is_hung: bool,
}

impl Watchdog {
    /// A watchdog that has not looked yet.
    #[must_use]
    pub fn new(config: WatchdogConfig, shards_count: usize, now: Timestamp) -> Self {
        let watched = Watched {
            beat: Timestamp::ZERO,
            activity: Activity::Starting,
            silent_for: Duration::ZERO,
            stuck_for: Duration::ZERO,
            is_stalled: false,
            is_hung: false,
        };
        Self { config, watched: vec![watched; shards_count], looked_at: now, pause: LOOK_EVERY_MIN }
    }

    /// How long to look away before the next look.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Looks at all shards and writes on the board which of them have stalled.
    pub fn look(&mut self, now: Timestamp, board: &Board) -> Vec<Finding> {
        let elapsed = now.saturating_since(self.looked_at).min(self.pause + LATENESS_MAX);
        self.looked_at = now;
        self.pause = LOOK_EVERY.min(self.config.unready_after / 2).max(LOOK_EVERY_MIN);
        let mut findings = Vec::new();
        for (shard, watched) in self.watched.iter_mut().enumerate() {
            let place = board.shard(shard);
            let before = *watched;
            watched.update(now, place.beat(), place.activity(), elapsed);
            let silence = |lasted| Silence { shard, lasted, activity: watched.activity };
            let (silent_for, stuck_for) = (watched.silent_for, watched.stuck_for);
            let is_stalled = silent_for >= self.config.unready_after;
            match (before.is_stalled, is_stalled) {
                (false, true) => findings.push(Finding::Stalled(silence(silent_for))),
                (true, false) => findings.push(Finding::Recovered(silence(before.silent_for))),
                (false, false) | (true, true) => {}
            }
            let is_hung = is_stalled && stuck_for >= self.config.abort_after;
            if is_hung && !before.is_hung {
                findings.push(Finding::Hung(silence(silent_for)));
            }
            (watched.is_stalled, watched.is_hung) = (is_stalled, is_hung);
            place.set_stalled(is_stalled.then_some(silent_for));
            let limit = if is_stalled {
                self.config.abort_after.saturating_sub(stuck_for).min(RECOVERY_LOOK_EVERY)
            } else {
                self.config.unready_after - silent_for
            };
            self.pause = self.pause.min(limit.max(LOOK_EVERY_MIN));
        }
        findings
    }
}

impl Watched {
    fn update(&mut self, now: Timestamp, beat: Timestamp, activity: Activity, elapsed: Duration) {
        // Before its first poll and after its last one a thread has nothing to beat for.
        let beats = !matches!(activity, Activity::Starting | Activity::Ended);
        let moved = beat != self.beat || !beats;
        let since_beat =
            if beats { now.saturating_since(beat).min(elapsed) } else { Duration::ZERO };
        self.silent_for = if moved { since_beat } else { self.silent_for + elapsed };
        let is_stuck = !moved && activity == self.activity;
        self.stuck_for = if is_stuck { self.stuck_for + elapsed } else { since_beat };
        (self.beat, self.activity) = (beat, activity);
    }
}

/// Judges whether memory is short.
#[derive(Clone, Copy, Debug)]
pub struct MemoryGate {
    bytes_max: Option<u64>,
    is_full: bool,
}

impl MemoryGate {
    /// A gate that opens again a 20th below `bytes_max`; without one it never closes.
    #[must_use]
    pub fn new(bytes_max: Option<u64>) -> Self {
        Self { bytes_max, is_full: false }
    }

    /// The process has this much memory; says whether that is too much.
    pub fn handle_sample(&mut self, bytes: u64) -> bool {
        self.is_full = self.bytes_max.is_some_and(|max| {
            let below = max - max / MEMORY_HYSTERESIS_PARTS;
            bytes > if self.is_full { below } else { max }
        });
        self.is_full
    }
}

/// Watches until the other end of `until` is dropped. A shard that hangs takes the process with
/// it, unless it is stopping anyway.
pub fn watch(config: WatchdogConfig, board: &Arc<Board>, until: &Receiver<Infallible>) {
    let started = monotonic_now();
    let mut watchdog = Watchdog::new(config, board.shards().len(), started);
    let mut gate = MemoryGate::new(board.memory_bytes_max());
    let mut memory_at = started;
    loop {
        let now = monotonic_now();
        for finding in watchdog.look(now, board) {
            report(finding, board);
        }
        if now >= memory_at {
            memory_at = now + LOOK_EVERY;
            watch_memory(&mut gate, board);
        }
        match until.recv_timeout(watchdog.pause()) {
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Ok(never) => match never {},
        }
    }
}

fn report(finding: Finding, board: &Board) {
    let (Finding::Stalled(silence) | Finding::Recovered(silence) | Finding::Hung(silence)) =
        finding;
    let Silence { shard, lasted, activity } = silence;
    let lasted_ms = lasted.as_millis() as u64;
    match finding {
        Finding::Stalled(_) => {
            tracing::error!(event = "shard.stalled", shard, lasted_ms, %activity, "it is silent");
        }
        Finding::Recovered(_) => {
            tracing::warn!(event = "shard.recovered", shard, lasted_ms, "it is back");
        }
        Finding::Hung(_) => {
            // Whoever is told to stop is waited for by somebody with a deadline.
            let stopping = board.stop_by().is_some();
            tracing::error!(event = "shard.hung", shard, lasted_ms, %activity, stopping, "giving up");
            if !stopping {
                // Rooms that nobody ticks are worse than a restart.
                std::process::abort();
            }
        }
    }
}

fn watch_memory(gate: &mut MemoryGate, board: &Board) {
    let Some(bytes) = resident_bytes() else { return };
    let was_full = board.is_memory_full();
    let is_full = gate.handle_sample(bytes);
    board.set_memory(bytes, is_full);
    let cap = board.memory_bytes_max();
    match (was_full, is_full) {
        (false, true) => {
            tracing::warn!(event = "memory.full", bytes, cap, "nobody new is let in");
        }
        (true, false) => tracing::info!(event = "memory.free", bytes, cap, "letting in again"),
        (false, false) | (true, true) => {}
    }
}

/// Resident memory of this process; `None` where `/proc` is missing.
fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: WatchdogConfig = WatchdogConfig {
        unready_after: Duration::from_secs(2),
        abort_after: Duration::from_secs(10),
    };

    fn at(millis: u64) -> Timestamp {
        Timestamp(1_000_000 + millis * 1_000)
    }

    /// What a look found, short.
    fn names(findings: &[Finding]) -> Vec<&'static str> {
        let name = |finding: &Finding| match finding {
            Finding::Stalled(_) => "stalled",
            Finding::Recovered(_) => "recovered",
            Finding::Hung(_) => "hung",
        };
        findings.iter().map(name).collect()
    }

    #[test]
    fn a_silent_shard_is_named_then_given_up_and_a_moving_one_is_not() {
        let board = Board::new(2, at(0), None);
        let mut watchdog = Watchdog::new(CONFIG, 2, at(0));
        let ticking = Activity::Ticking { room_slot: 3 };
        let mut found = Vec::new();
        let mut now = 0;
        while now < 12_000 {
            // Shard 0 idles; shard 1 begins a tick at 500 ms that never ends.
            board.shard(0).set_beat(at(now / 1_000 * 1_000));
            board.shard(0).set_activity(Activity::Polling);
            board.shard(1).set_beat(at(now.min(500)));
            board.shard(1).set_activity(if now < 500 { Activity::Polling } else { ticking });
            for finding in watchdog.look(at(now), &board) {
                let silence = match finding {
                    Finding::Stalled(silence) | Finding::Hung(silence) => silence,
                    Finding::Recovered(_) => panic!("{finding:?}"),
                };
                assert_eq!((silence.shard, silence.activity), (1, ticking));
                found.push((names(&[finding])[0], now));
            }
            now += watchdog.pause().as_millis() as u64;
        }
        let [("stalled", stalled), ("hung", hung)] = found[..] else { panic!("{found:?}") };
        assert!((2_500..=2_600).contains(&stalled), "{stalled}");
        assert!((10_500..=10_600).contains(&hung), "{hung}");
        assert!(board.shard(1).stalled_for() >= Some(Duration::from_secs(10)));
        assert_eq!(board.shard(0).stalled_for(), None);
    }

    #[test]
    fn a_shard_that_beats_again_has_recovered() {
        let board = Board::new(1, at(0), None);
        let mut watchdog = Watchdog::new(CONFIG, 1, at(0));
        board.shard(0).set_beat(at(0));
        board.shard(0).set_activity(Activity::Flushing);
        for (now, beat, expected) in [
            (10, 0, &[][..]),
            (1_000, 0, &[]),
            (2_000, 0, &["stalled"]),
            (2_100, 0, &[]),
            (2_200, 2_150, &["recovered"]),
            (2_300, 2_150, &[]),
        ] {
            board.shard(0).set_beat(at(beat));
            let findings = watchdog.look(at(now), &board);
            assert_eq!(names(&findings), expected, "at {now} ms");
            assert_eq!(board.shard(0).stalled_for().is_some(), (2_000..2_200).contains(&now));
            if let [Finding::Recovered(silence)] = findings[..] {
                assert_eq!(silence.lasted, Duration::from_millis(2_100));
            }
        }
    }

    #[test]
    fn a_long_turn_that_goes_from_room_to_room_is_stalled_but_not_hung() {
        let board = Board::new(1, at(0), None);
        let mut watchdog = Watchdog::new(CONFIG, 1, at(0));
        board.shard(0).set_beat(at(0));
        let mut found = Vec::new();
        for step in 0..200 {
            board.shard(0).set_activity(Activity::Ticking { room_slot: step });
            found.extend(names(&watchdog.look(at(u64::from(step) * 100), &board)));
        }
        assert_eq!(found, ["stalled"]);
    }

    #[test]
    fn nobody_is_blamed_while_the_watchdog_itself_was_held_up() {
        let board = Board::new(1, at(0), None);
        let mut watchdog = Watchdog::new(CONFIG, 1, at(0));
        board.shard(0).set_beat(at(900));
        board.shard(0).set_activity(Activity::Polling);
        assert_eq!(watchdog.look(at(1_000), &board), []);
        // The whole process was stopped for a minute, and the watchdog is the first to go on.
        assert_eq!(watchdog.look(at(61_000), &board), []);
        board.shard(0).set_beat(at(61_001));
        assert_eq!(watchdog.look(at(61_900), &board), []);
    }

    #[test]
    fn threads_that_have_not_begun_or_have_ended_need_not_beat() {
        let board = Board::new(2, at(0), None);
        let mut watchdog = Watchdog::new(CONFIG, 2, at(0));
        board.shard(1).set_beat(at(5));
        board.shard(1).set_activity(Activity::Ended);
        for step in 1..30 {
            assert_eq!(watchdog.look(at(step * 1_000), &board), []);
        }
    }

    #[test]
    fn memory_is_short_above_the_cap_until_it_is_a_20th_below() {
        let mut gate = MemoryGate::new(Some(1_000));
        for (bytes, expected) in
            [(999, false), (1_000, false), (1_001, true), (951, true), (950, false), (999, false)]
        {
            assert_eq!(gate.handle_sample(bytes), expected, "{bytes}");
        }
        assert!(!MemoryGate::new(None).handle_sample(u64::MAX));
    }

    #[test]
    fn this_process_has_memory() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100 * 1024));
    }
}
