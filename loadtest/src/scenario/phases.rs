//! How many clients are there, and when: ramps and plateaus of the measured window.
//!
//! ```text
//! clients = "0 -> 4k", over = "20s"     ____________
//! hold = "60s"                         /            \
//! clients = "4k -> 1k", over = "10s"  /              \____
//! ```
//!
//! Clients come in the order of their numbers and go in the reverse order, so that every thread
//! knows by itself when its own are due.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tickloom_protocol::time::Timestamp;

/// Most phases of a scenario: each has a tally of its own in memory.
pub const PHASES_MAX: usize = 32;

/// A stretch of the measured window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Phase {
    /// Clients at its beginning.
    pub from: u32,
    /// Clients at its end.
    pub to: u32,
    /// How long it takes.
    pub duration: Duration,
}

/// What a phase does to one client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Change {
    /// It connects.
    Come,
    /// It leaves.
    Go,
}

/// All phases of a run, one after the other. Without any, all clients are there all the time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Phases(pub Vec<Phase>);

impl Phases {
    /// Clients that connect before the window, of `clients_count` in a run without phases.
    #[must_use]
    pub fn first_count(&self, clients_count: u32) -> u32 {
        self.0.first().map_or(clients_count, |phase| phase.from)
    }

    /// The most clients there are at once; 0 without phases.
    #[must_use]
    pub fn most(&self) -> u32 {
        self.0.iter().map(|phase| phase.from.max(phase.to)).max().unwrap_or(0)
    }

    /// How long all of them take.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.0.iter().map(|phase| phase.duration).sum()
    }

    /// When each phase ends, in a window that begins at `from`.
    pub fn ends(&self, from: Timestamp) -> impl Iterator<Item = Timestamp> {
        self.0.iter().scan(from, |at, phase| {
            *at = *at + phase.duration;
            Some(*at)
        })
    }

    /// The phase that `at` ends or lies in, in a window that begins at `from`.
    #[must_use]
    pub fn position(&self, from: Timestamp, at: Timestamp) -> Option<usize> {
        if at <= from {
            return None;
        }
        self.ends(from).position(|end| at <= end)
    }

    /// When client `index` comes and goes, in a window that begins at `from`.
    #[must_use]
    pub fn changes_of(&self, index: u32, from: Timestamp) -> Vec<(Timestamp, Change)> {
        let mut changes = Vec::new();
        let mut begin = from;
        for phase in &self.0 {
            let step_of = |position: u32, count: u32| {
                let us = phase.duration.as_micros() as u64;
                begin + Duration::from_micros(us * u64::from(position) / u64::from(count))
            };
            if (phase.from..phase.to).contains(&index) {
                let at = step_of(index - phase.from, phase.to - phase.from);
                changes.push((at, Change::Come));
            } else if (phase.to..phase.from).contains(&index) {
                let at = step_of(phase.from - 1 - index, phase.from - phase.to);
                changes.push((at, Change::Go));
            }
            begin = begin + phase.duration;
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase(from: u32, to: u32, seconds: u64) -> Phase {
        Phase { from, to, duration: Duration::from_secs(seconds) }
    }

    fn evening() -> Phases {
        Phases(vec![phase(0, 4, 2), phase(4, 4, 3), phase(4, 1, 3), phase(1, 2, 1)])
    }

    #[test]
    fn clients_come_in_order_and_go_in_reverse() {
        let from = Timestamp(1_000_000);
        for (index, expected) in [
            (0, vec![(0, Change::Come)]),
            (1, vec![(500, Change::Come), (7_000, Change::Go), (8_000, Change::Come)]),
            (2, vec![(1_000, Change::Come), (6_000, Change::Go)]),
            (3, vec![(1_500, Change::Come), (5_000, Change::Go)]),
            (4, vec![]),
        ] {
            let expected: Vec<_> = expected
                .into_iter()
                .map(|(ms, change)| (from + Duration::from_millis(ms), change))
                .collect();
            assert_eq!(evening().changes_of(index, from), expected, "client {index}");
        }
    }

    #[test]
    fn every_moment_belongs_to_the_phase_it_ends_or_lies_in() {
        let from = Timestamp(1_000_000);
        for (ms, position) in [
            (0, None),
            (1, Some(0)),
            (2_000, Some(0)),
            (2_001, Some(1)),
            (8_000, Some(2)),
            (9_000, Some(3)),
            (9_001, None),
        ] {
            let at = from + Duration::from_millis(ms);
            assert_eq!(evening().position(from, at), position, "{ms} ms");
        }
    }

    #[test]
    fn the_first_count_and_the_most_are_known() {
        let phases = evening();
        assert_eq!((phases.first_count(9), phases.most()), (0, 4));
        assert_eq!(phases.duration(), Duration::from_secs(9));
        let none = Phases::default();
        assert_eq!((none.first_count(9), none.most()), (9, 0));
        assert_eq!(none.changes_of(3, Timestamp(5)), []);
    }
}
