//! Two things measured in turns, and whether their ratio is where it should be.
//!
//! A shared machine changes its speed every few seconds. A figure of one side alone is therefore
//! worth little; a ratio of two that were measured one right after the other is worth something,
//! and the median of several such pairs can be held against a target.

use std::fmt;

use crate::machine::CONTENTION_MAX;
use crate::window::Window;

/// Share of a run in which some thread of the machine waited for a core, past which others were
/// busy: the bound of the load generator. Our own wake-ups alone stay far below it.
const PRESSURE_MAX: f64 = 0.2;

/// Pairs further apart than this share of their median do not agree.
const SPREAD_MAX: f64 = 0.25;

/// Where a ratio should be.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Target {
    /// Here or lower.
    AtMost(f64),
    /// Here or higher.
    AtLeast(f64),
    /// Anywhere: it is printed for comparison.
    Nowhere,
}

impl Target {
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(bound) => figure <= bound,
            Self::AtLeast(bound) => figure >= bound,
            Self::Nowhere => true,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::Nowhere => write!(f, "no target"),
        }
    }
}

/// Figures that should be the same, one of each pair.
#[derive(Clone, PartialEq, Debug)]
pub struct Figures {
    values: Vec<f64>,
    target: Target,
    /// The largest share of any run for which our threads together waited for a core.
    waiting: f64,
    /// The largest share of any run in which some thread of the machine did.
    pressure: f64,
    /// What else speaks against the latest run that something spoke against.
    doubt: Option<String>,
}

impl Figures {
    /// None yet.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self { values: Vec::new(), target, waiting: 0.0, pressure: 0.0, doubt: None }
    }

    /// Adds the figure of one pair and the windows it was measured in.
    pub fn push(&mut self, figure: f64, windows: &[Window]) {
        self.values.push(figure);
        for window in windows {
            self.waiting = self.waiting.max(window.waiting().unwrap_or_default());
            self.pressure = self.pressure.max(window.contention());
        }
    }

    /// A run was not what it should have been.
    pub fn doubt(&mut self, reason: String) {
        self.doubt = Some(reason);
    }

    /// The middle one; the mean of the two in the middle when their number is even.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        f64::midpoint(low, high)
    }

    /// The verdict, as one word or two with their reasons.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        Verdict {
            meets: self.target.is_met_by(self.median()),
            noise: self.noise(),
            target: self.target,
        }
    }

    fn noise(&self) -> Option<String> {
        let sorted = self.sorted();
        let apart = (sorted[sorted.len() - 1] - sorted[0]) / self.median();
        if apart > SPREAD_MAX {
            return Some(format!("the pairs are {:.0} % apart", apart * 100.0));
        }
        if self.waiting > CONTENTION_MAX {
            let percent = self.waiting * 100.0;
            return Some(format!("our threads waited for cores, {percent:.0} % of a run together"));
        }
        if self.pressure > PRESSURE_MAX {
            let percent = self.pressure * 100.0;
            return Some(format!("somebody waited for a core {percent:.0} % of a run"));
        }
        self.doubt.clone()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = self.sorted();
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        write!(f, "median {:.2} ({low:.2} to {high:.2}): {}", self.median(), self.verdict())
    }
}

/// Whether a target was met, and what speaks against believing it.
#[derive(Clone, PartialEq, Debug)]
pub struct Verdict {
    /// The median is where it should be.
    pub meets: bool,
    /// Why the figures are not to be believed, if they are not.
    pub noise: Option<String>,
    target: Target,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Target::Nowhere => write!(f, "{}", self.target)?,
            target if self.meets => write!(f, "meets {target}")?,
            target => write!(f, "misses {target}")?,
        }
        self.noise.iter().try_for_each(|reason| write!(f, ", NOISY: {reason}"))
    }
}

/// The exit code of a benchmark with targets: those of the load generator.
#[must_use]
pub fn exit_code(verdicts: &[Verdict]) -> u8 {
    const MISSED: u8 = 1;
    const TOO_BUSY: u8 = 98;
    if verdicts.iter().any(|verdict| !verdict.meets && verdict.noise.is_none()) {
        return MISSED;
    }
    if verdicts.iter().any(|verdict| verdict.noise.is_some()) { TOO_BUSY } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(target: Target, values: &[f64]) -> Figures {
        let mut figures = Figures::new(target);
        values.iter().for_each(|value| figures.push(*value, &[]));
        figures
    }

    #[test]
    fn the_median_decides_and_pairs_that_disagree_are_noisy() {
        let at_most = Target::AtMost(1.3);
        let at_least = Target::AtLeast(1.8);
        let rows: [(Target, &[f64], &str, u8); 7] = [
            (at_most, &[1.3], "median 1.30 (1.30 to 1.30): meets <= 1.3", 0),
            (at_most, &[1.4, 1.2, 1.25], "median 1.25 (1.20 to 1.40): meets <= 1.3", 0),
            (at_most, &[1.4, 1.35, 1.25], "median 1.35 (1.25 to 1.40): misses <= 1.3", 1),
            (at_most, &[1.2, 1.4], "median 1.30 (1.20 to 1.40): meets <= 1.3", 0),
            (
                at_most,
                &[1.5, 1.0, 2.0],
                "median 1.50 (1.00 to 2.00): misses <= 1.3, NOISY: the pairs are 67 % apart",
                98,
            ),
            (at_least, &[1.9, 1.7, 1.8], "median 1.80 (1.70 to 1.90): meets >= 1.8", 0),
            (Target::Nowhere, &[9.0], "median 9.00 (9.00 to 9.00): no target", 0),
        ];
        for (target, values, expected, code) in rows {
            let figures = figures(target, values);
            assert_eq!(figures.to_string(), expected);
            assert_eq!(exit_code(&[figures.verdict()]), code, "{expected}");
        }
    }

    #[test]
    fn a_believable_miss_outweighs_a_noisy_one() {
        let missed = figures(Target::AtMost(1.0), &[2.0]).verdict();
        let noisy = figures(Target::AtMost(1.0), &[1.0, 3.0]).verdict();
        assert_eq!(exit_code(std::slice::from_ref(&noisy)), 98);
        assert_eq!(exit_code(&[noisy, missed]), 1);
    }
}
