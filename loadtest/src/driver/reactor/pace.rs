//! How much a slow reader may read, and when again. Pure.

use std::time::Duration;

use tickloom_protocol::time::Timestamp;

/// What a reader may save up: the bytes of this time.
const SAVED: Duration = Duration::from_millis(200);

/// Least bytes worth a read.
const READ_BYTES_MIN: u64 = 64;

/// A reader that takes so many bytes per second and no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    bytes_per_s: u64,
    /// Bytes it may have read by `at`, beyond those it has; in millionths.
    saved: u64,
    at: Timestamp,
}

impl Pace {
    pub(super) fn new(bytes_per_s: u32, now: Timestamp) -> Self {
        Self { bytes_per_s: u64::from(bytes_per_s).max(1), saved: 0, at: now }
    }

    /// Bytes it may read now; 0 when it has to wait.
    pub(super) fn allowance(&mut self, now: Timestamp) -> usize {
        let since_us = now.saturating_since(self.at).as_micros() as u64;
        let earned = since_us.saturating_mul(self.bytes_per_s);
        self.saved = self.saved.saturating_add(earned).min(self.saved_max());
        self.at = self.at.max(now);
        let bytes = self.saved / 1_000_000;
        if bytes < READ_BYTES_MIN { 0 } else { bytes as usize }
    }

    /// It has read so much.
    pub(super) fn handle_read(&mut self, bytes: usize) {
        self.saved = self.saved.saturating_sub(bytes as u64 * 1_000_000);
    }

    /// When it may read again: with half of what it can save, so that reads are not many and tiny.
    pub(super) fn resumes_at(&self) -> Timestamp {
        let missing = (self.saved_max() / 2).saturating_sub(self.saved);
        self.at + Duration::from_micros(missing.div_ceil(self.bytes_per_s))
    }

    fn saved_max(&self) -> u64 {
        (self.bytes_per_s * SAVED.as_micros() as u64).max(2 * READ_BYTES_MIN * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_to_its_rate_however_often_it_is_asked() {
        for bytes_per_s in [1, 500, 4_000, 1_000_000] {
            for step_us in [100, 7_000, 250_000] {
                let mut pace = Pace::new(bytes_per_s, Timestamp(0));
                let (mut read, seconds) = (0, 600);
                let mut at = Timestamp(0);
                while at < Timestamp(seconds * 1_000_000) {
                    let bytes = pace.allowance(at);
                    pace.handle_read(bytes);
                    read += bytes as u64;
                    at = at + Duration::from_micros(step_us.max(seconds * 10));
                }
                let most = seconds * u64::from(bytes_per_s);
                let saved = (u64::from(bytes_per_s) / 5).max(2 * READ_BYTES_MIN);
                assert!(read <= most + saved, "{bytes_per_s} B/s every {step_us} us: {read}");
                let misses_some = step_us > 200_000;
                let least = if misses_some { most * 3 / 4 } else { most - saved };
                assert!(read + saved >= least, "{bytes_per_s} B/s every {step_us} us: {read}");
            }
        }
    }

    #[test]
    fn who_may_not_read_is_told_when() {
        let mut pace = Pace::new(4_000, Timestamp(1_000_000));
        assert_eq!(pace.allowance(Timestamp(1_000_000)), 0);
        let again = pace.resumes_at();
        assert_eq!(again, Timestamp(1_100_000));
        assert_eq!(pace.allowance(again), 400);
        pace.handle_read(400);
        assert!(pace.resumes_at() > again);
    }
}
