//! Which room types fail too often to be given new rooms, and how they failed last.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tickloom_protocol::time::Timestamp;

use crate::room::failure::FailureRecord;

/// Failures within [`WINDOW`] that put a room type into quarantine. One may be bad luck.
const FAILURES_MAX: usize = 3;

/// How long a failure counts, and so how long a quarantine lasts.
const WINDOW: Duration = Duration::from_secs(60);

/// Records kept of each room type. One failure often has the same cause as the one before.
const RECORDS_MAX: usize = 8;

/// The recent failures of each room type. Types are registered, so there are few.
#[derive(Debug, Default)]
pub struct Quarantine {
    /// At most [`FAILURES_MAX`] moments each, oldest first.
    failures: BTreeMap<Box<str>, VecDeque<Timestamp>>,
    /// At most [`RECORDS_MAX`] each, oldest first.
    records: BTreeMap<Box<str>, VecDeque<FailureRecord>>,
}

impl Quarantine {
    /// Counts a failure; says whether the type is in quarantine now.
    pub fn count_failure(&mut self, now: Timestamp, room_type: &str) -> bool {
        let failures = self.failures.entry(room_type.into()).or_default();
        if failures.len() == FAILURES_MAX {
            failures.pop_front();
        }
        failures.push_back(now);
        self.holds(now, room_type)
    }

    /// Keeps how a room failed.
    pub fn keep(&mut self, record: FailureRecord) {
        let records = self.records.entry(record.room.room_type.clone()).or_default();
        if records.len() == RECORDS_MAX {
            records.pop_front();
        }
        records.push_back(record);
    }

    /// How rooms failed last: by room type, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &FailureRecord> {
        self.records.values().flatten()
    }

    /// Whether a room type is in quarantine.
    #[must_use]
    pub fn holds(&self, now: Timestamp, room_type: &str) -> bool {
        self.failures.get(room_type).is_some_and(|failures| {
            let oldest = failures.front().copied().unwrap_or_default();
            failures.len() == FAILURES_MAX && now.saturating_since(oldest) < WINDOW
        })
    }
}

#[cfg(test)]
mod tests {
    use tickloom_protocol::ids::{RoomKey, Tick};

    use super::*;
    use crate::room::failure::Panicked;

    #[test]
    fn the_last_eight_records_of_each_type_are_kept() {
        let mut quarantine = Quarantine::default();
        for (room_type, seeds) in [("a", 0..11), ("b", 0..2)] {
            for seed in seeds {
                quarantine.keep(FailureRecord {
                    room: RoomKey::parse(room_type, "x").expect("a name"),
                    seed,
                    tick: Tick::ZERO,
                    members_count: 0,
                    panicked: Panicked {
                        message: String::new(),
                        hook: "on_tick",
                        member: None,
                        name: "".into(),
                        bytes: [].into(),
                        bytes_count: 0,
                    },
                });
            }
        }
        let seeds: Vec<u64> = quarantine.records().map(|record| record.seed).collect();
        assert_eq!(seeds, [3, 4, 5, 6, 7, 8, 9, 10, 0, 1]);
    }

    #[test]
    fn three_failures_within_a_minute_quarantine_a_type_until_they_are_old() {
        let mut quarantine = Quarantine::default();
        let at = |seconds: u64| Timestamp(seconds * 1_000_000);
        for (seconds, expected) in [(0, false), (50, false), (70, false), (80, true)] {
            assert_eq!(quarantine.count_failure(at(seconds), "a"), expected, "at {seconds} s");
        }
        for (room_type, seconds, expected) in
            [("a", 81, true), ("b", 81, false), ("a", 109, true), ("a", 110, false)]
        {
            assert_eq!(quarantine.holds(at(seconds), room_type), expected, "{room_type} {seconds}");
        }
    }
}
