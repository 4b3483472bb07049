//! Whether two samples come from the same distribution, by ranks alone: the Mann-Whitney U test.
//!
//! H. B. Mann and D. R. Whitney, "On a Test of Whether one of Two Random Variables is
//! Stochastically Larger than the Other", Annals of Mathematical Statistics 18 (1947), 50-60; the
//! normal approximation with its corrections for ties and for continuity as in M. Hollander,
//! D. A. Wolfe and E. Chicken, "Nonparametric Statistical Methods", section 4.1.
//!
//! Latencies have no distribution worth assuming, and a test on ranks is not moved by one second
//! that went wrong. Seconds of one run are not quite independent, which makes the test a little
//! too sure of itself.

use libm::erfc;

/// The outcome of a test.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RankTest {
    /// Pairs of one from each sample in which the first is larger; ties count half.
    pub u: f64,
    /// How likely it is to see samples as different as these, or more so, when they come from the
    /// same distribution.
    pub p: f64,
}

impl RankTest {
    /// Compares two samples, on both sides. Neither may be empty.
    #[must_use]
    pub fn new(first: &[u64], second: &[u64]) -> Self {
        let (n1, n2) = (first.len() as f64, second.len() as f64);
        let mut all: Vec<(u64, bool)> = first.iter().map(|value| (*value, true)).collect();
        all.extend(second.iter().map(|value| (*value, false)));
        all.sort_unstable();
        let (mut rank_sum, mut ties, mut below) = (0.0, 0.0, 0.0);
        for tied in all.chunk_by(|a, b| a.0 == b.0) {
            let count = tied.len() as f64;
            let rank = below + (count + 1.0) / 2.0;
            rank_sum += rank * tied.iter().filter(|(_, is_first)| *is_first).count() as f64;
            ties += count.powi(3) - count;
            below += count;
        }
        let u = rank_sum - n1 * (n1 + 1.0) / 2.0;
        let n = n1 + n2;
        let variance = n1 * n2 / 12.0 * (n + 1.0 - ties / (n * (n - 1.0)));
        let distance = (u - n1 * n2 / 2.0).abs() - 0.5;
        // All values equal: nothing could be more alike.
        let p =
            if variance > 0.0 { erfc(distance / variance.sqrt() / 2.0_f64.sqrt()) } else { 1.0 };
        Self { u, p: p.min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_samples_give_their_known_values() {
        // The first row is the worked example of scipy.stats.mannwhitneyu (asymptotic); the ties
        // of the second are worked by hand: ranks 1 3.5 3.5 3.5 3.5 6.5 6.5 8, variance
        // 16 / 12 x (9 - (60 + 6) / 56), distance 3.5 - 0.5.
        let rows: [(&[u64], &[u64], f64, f64); 4] = [
            (&[19, 22, 16, 29, 24], &[20, 11, 17, 12], 17.0, 0.111_346_886_533_140_41),
            (&[1, 2, 2, 3], &[2, 3, 4, 2], 4.5, 0.352_896_7),
            (&[7, 7, 7], &[7, 7], 3.0, 1.0),
            (&[1, 2, 3, 4, 5, 6, 7, 8], &[11, 12, 13, 14, 15, 16, 17, 18], 0.0, 0.000_939_3),
        ];
        for (first, second, u, p) in rows {
            let test = RankTest::new(first, second);
            assert!((test.u - u).abs() < 1e-9, "{first:?} {second:?}: {test:?}");
            assert!((test.p - p).abs() < 1e-6, "{first:?} {second:?}: {test:?}");
            let mirrored = RankTest::new(second, first);
            assert!((mirrored.p - test.p).abs() < 1e-12, "{mirrored:?} {test:?}");
        }
    }
}
