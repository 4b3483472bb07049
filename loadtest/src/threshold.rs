//! What must hold after a run: a figure, an operator, a limit. Pure.
//!
//! ```text
//! state_age.p99<80ms      reach>=99.99%      errors==0      server.cpu_ns_per_message<6us
//! figure of the report's `metrics` block    | < <= > >= == | number with a unit that fits
//! ```

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;

use crate::plan::units::parse_decimal;
use crate::report::metrics::{self, Metric, Unit};

/// Names further from all known ones than this share of their length are not misspelt ones.
const SIMILAR_MIN: f64 = 0.6;

/// What must hold.
#[derive(Clone, PartialEq, Debug)]
pub struct Threshold {
    metric: &'static str,
    operator: Operator,
    /// In the metric's own unit.
    limit: f64,
    /// As it was typed.
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operator {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

/// What became of a threshold.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Outcome {
    /// As it was typed.
    pub check: String,
    /// The figure's name in `metrics`.
    pub metric: String,
    /// What was measured, in the metric's unit; null when nothing was, which never passes.
    pub actual: Option<u64>,
    /// Whether it holds.
    pub ok: bool,
}

impl Threshold {
    /// Reads what was typed.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and with an unknown name which one is near.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            "expected a figure, an operator (< <= > >= ==) and a limit, such as \
             state_age.p99<80ms"
                .to_owned()
        };
        let at = text.find(['<', '>', '=']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let operators = [
            ("<=", Operator::AtMost),
            (">=", Operator::AtLeast),
            ("==", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::More),
        ];
        let found = operators
            .into_iter()
            .find_map(|(sign, operator)| Some((operator, rest.strip_prefix(sign)?)));
        let (operator, limit) = found.ok_or_else(wrong)?;
        let (metric, unit) = metric(name.trim())?;
        let limit = parse_limit(limit.trim(), unit)?;
        Ok(Self { metric, operator, limit, text: text.to_owned() })
    }

    /// Compares with what was measured.
    #[must_use]
    pub fn judge(&self, measured: &[Metric]) -> Outcome {
        let metric = measured.iter().find(|metric| metric.name == self.metric);
        let actual = metric.and_then(|metric| metric.value);
        let ok = actual.is_some_and(|actual| {
            let actual = actual as f64;
            match self.operator {
                Operator::Less => actual < self.limit,
                Operator::AtMost => actual <= self.limit,
                Operator::More => actual > self.limit,
                Operator::AtLeast => actual >= self.limit,
                Operator::Equal => actual == self.limit,
            }
        });
        Outcome { check: self.text.clone(), metric: self.metric.to_owned(), actual, ok }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The figure called `name`, with its unit at the end or without.
fn metric(name: &str) -> Result<(&'static str, Unit), String> {
    let known = metrics::names();
    let matches = |metric: &&(&'static str, Unit)| {
        metric.0 == name || metric.0.strip_suffix(metric.1.suffix()) == Some(name)
    };
    if let Some(metric) = known.iter().find(matches) {
        return Ok(*metric);
    }
    let short = |(full, unit): &(&'static str, Unit)| {
        full.strip_suffix(unit.suffix()).unwrap_or(full).to_owned()
    };
    let nearest = known
        .iter()
        .map(short)
        .map(|candidate| (strsim::normalized_damerau_levenshtein(name, &candidate), candidate))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    let hint = match nearest {
        Some((similar, name)) if similar >= SIMILAR_MIN => format!("did you mean `{name}`?"),
        _ => "it must be one of the report's `metrics`, such as state_age.p99, rtt.p99, reach or \
              errors"
            .to_owned(),
    };
    Err(format!("there is no figure `{name}`; {hint}"))
}

fn parse_limit(text: &str, unit: Unit) -> Result<f64, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, typed) = text.split_at(unit_at);
    let factor = unit.factor(typed);
    let number = parse_decimal(digits);
    number
        .zip(factor)
        .map(|(number, factor)| number * factor)
        .ok_or_else(|| format!("expected a limit in {}, found `{text}`", unit.examples()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_in_the_units_of_their_figure() {
        for (text, metric, limit) in [
            ("state_age.p99<80ms", "state_age.p99_us", 80_000.0),
            ("state_age.p99_us < 80000us", "state_age.p99_us", 80_000.0),
            ("rtt.max<=1.5s", "rtt.max_us", 1_500_000.0),
            ("reach>=99.99%", "reach_ppm", 999_900.0),
            ("errors==0", "errors", 0.0),
            ("messages_per_s>50k", "messages_per_s", 50_000.0),
            ("server.rss_max<64MiB", "server.rss_max_bytes", 67_108_864.0),
            ("server.cpu_per_message<6us", "server.cpu_per_message_ns", 6_000.0),
            ("gaps==0", "gaps", 0.0),
        ] {
            let threshold = Threshold::parse(text).expect(text);
            assert_eq!((threshold.metric, threshold.limit), (metric, limit), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (text, hint) in [
            ("state_age.p99", "an operator"),
            ("state_age.p99=80ms", "an operator"),
            ("state_age.p99<80", "such as 80ms"),
            ("state_age.p99<80MB", "such as 80ms"),
            ("reach>=0.9x", "such as 99.9%"),
            ("errors<-1", "such as 250 or 5k"),
            ("stat_age.p99<80ms", "did you mean `state_age.p99`?"),
            ("rtt.p95_us<80ms", "no"),
            ("hash_mismatch==0", "did you mean `hash_mismatches`?"),
            ("whatever<1", "one of the report's `metrics`"),
        ] {
            match Threshold::parse(text) {
                Ok(threshold) => assert_eq!(hint, "no", "{text}: {threshold:?}"),
                Err(error) => assert!(error.contains(hint), "{text}: {error}"),
            }
        }
    }

    #[test]
    fn every_operator_means_what_it_says_and_nothing_measured_never_passes() {
        let measured = |value| [Metric { name: "errors", unit: Unit::Count, value }];
        for (text, passes) in [
            ("errors<5", [true, false, false]),
            ("errors<=5", [true, true, false]),
            ("errors==5", [false, true, false]),
            ("errors>=5", [false, true, true]),
            ("errors>5", [false, false, true]),
        ] {
            let threshold = Threshold::parse(text).expect(text);
            let outcomes = [4, 5, 6].map(|value| threshold.judge(&measured(Some(value))).ok);
            assert_eq!(outcomes, passes, "{text}");
            assert!(!threshold.judge(&measured(None)).ok, "{text}");
            assert!(!threshold.judge(&[]).ok, "{text}");
        }
    }
}
