//! Counts of durations by fixed bounds, as Prometheus wants histograms.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds, in microseconds. Some are a tick at a rate people use: 128, 60, 30, 20 and 10 Hz.
pub const BOUNDS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_000, 4_000, 7_812, 16_667, 33_333, 50_000, 100_000, 250_000,
    1_000_000,
];

/// Counts between bounds, and one for what is above them all.
const COUNTS: usize = BOUNDS_US.len() + 1;

/// Durations counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Buckets {
    counts: [u64; COUNTS],
    sum_us: u64,
}

/// Durations counted, as one thread stores them for others.
#[derive(Debug, Default)]
pub struct SharedBuckets {
    counts: [AtomicU64; COUNTS],
    sum_us: AtomicU64,
}

impl Buckets {
    /// Counts a duration.
    pub fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.counts[BOUNDS_US.partition_point(|bound| *bound < micros)] += 1;
        self.sum_us = self.sum_us.saturating_add(micros);
    }

    /// For each bound, how many durations are not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        BOUNDS_US.into_iter().zip(counts)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// How long they are together, in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

impl SharedBuckets {
    /// Stores them for others. Only one thread may.
    pub fn store(&self, buckets: &Buckets) {
        for (place, count) in self.counts.iter().zip(buckets.counts) {
            place.store(count, Ordering::Relaxed);
        }
        self.sum_us.store(buckets.sum_us, Ordering::Relaxed);
    }

    /// What was stored last; perhaps some of it is from the time before.
    #[must_use]
    pub fn load(&self) -> Buckets {
        Buckets {
            counts: std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed)),
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_for_every_bound_that_it_is_not_above() {
        let mut buckets = Buckets::default();
        for micros in [0, 50, 51, 1_000_000, 1_000_001] {
            buckets.record(Duration::from_micros(micros));
        }
        let counts: Vec<(u64, u64)> = buckets.cumulative().collect();
        assert_eq!(counts[..2], [(50, 2), (100, 3)]);
        assert_eq!(counts[12..], [(250_000, 3), (1_000_000, 4)]);
        assert_eq!((buckets.count(), buckets.sum_us()), (5, 2_000_102));
        let shared = SharedBuckets::default();
        shared.store(&buckets);
        assert_eq!(shared.load(), buckets);
    }
}
