//! Two reports side by side: every figure of both, whether the runs can be compared, and whether
//! the second was slower. Pure: the text of two files in, text and an exit code out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;
use serde_json::Value;

use crate::rank_test::RankTest;
use crate::report::SCHEMA;
use crate::report::text::{figure, ms};
use crate::verdict::Exit;

/// How likely a difference by chance may be, and still be called one.
const ALPHA: f64 = 0.05;

/// Fewest seconds of each run: from about eight, the test's approximation is a good one.
const SECONDS_MIN: usize = 8;

/// What two runs may ask for differently and still be compared.
const SCENARIO_FREE: [&str; 5] = ["url", "seed", "duration_us", "warmup_us", "local_addresses"];

/// What two runs must have in common of their machine and their generator.
const HOST_FACTS: [&str; 7] =
    ["kernel", "cpu_model", "cores_count", "affinity", "governor", "clock_source", "profile"];

/// As much of a report as a comparison takes.
#[derive(Clone, Debug, Deserialize)]
pub struct Recorded {
    schema: String,
    verdict: String,
    #[serde(default)]
    scenario: BTreeMap<String, Value>,
    #[serde(default)]
    environment: BTreeMap<String, Value>,
    #[serde(default)]
    cores: BTreeMap<String, Value>,
    #[serde(default)]
    metrics: BTreeMap<String, u64>,
    #[serde(default)]
    intervals: Vec<BTreeMap<String, Value>>,
}

/// Why a file is not a report.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// It is not one at all.
    #[error("this is not a report as --json writes it: {0}")]
    NotAReport(#[from] serde_json::Error),
    /// It is of another version.
    #[error("its schema is `{0}`, and this version reads `{SCHEMA}`")]
    OtherSchema(String),
}

/// Whether the second run was slower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Difference {
    /// It was faster.
    Better,
    /// It was slower.
    Worse,
    /// Chance explains what differs.
    None,
    /// There are too few seconds to tell.
    Unknown,
}

/// Two runs, compared.
#[derive(Clone, Debug)]
pub struct Compared {
    /// What keeps them from being comparable; empty when they are.
    pub obstacles: Vec<String>,
    /// By the seconds' 99th percentiles of what the run is about.
    pub difference: Difference,
    /// The median second's 99th percentile of both.
    pub medians_us: (u64, u64),
    test: Option<RankTest>,
    seconds: (usize, usize),
    headline: &'static str,
}

impl Recorded {
    /// Reads a report.
    ///
    /// # Errors
    /// [`RecordedError`].
    pub fn parse(text: &str) -> Result<Self, RecordedError> {
        let recorded: Self = serde_json::from_str(text)?;
        if recorded.schema != SCHEMA {
            return Err(RecordedError::OtherSchema(recorded.schema));
        }
        Ok(recorded)
    }

    /// The distribution the run is about.
    fn headline(&self) -> &'static str {
        match self.scenario.get("kind").and_then(Value::as_str) {
            Some("echo") => "rtt",
            Some("broadcast") => "delivery",
            _ => "state_age",
        }
    }

    /// The measured seconds' 99th percentiles of it.
    fn seconds_us(&self) -> Vec<u64> {
        let key = format!("{}_p99_us", self.headline());
        let is_measured = |second: &&BTreeMap<String, Value>| {
            second.get("measured").and_then(Value::as_bool) == Some(true)
        };
        let measured = self.intervals.iter().filter(is_measured);
        measured.filter_map(|second| second.get(&key)?.as_u64()).collect()
    }
}

impl Compared {
    /// Compares two runs.
    #[must_use]
    pub fn new(before: &Recorded, after: &Recorded) -> Self {
        let (first, second) = (before.seconds_us(), after.seconds_us());
        let is_enough = first.len().min(second.len()) >= SECONDS_MIN;
        let test = is_enough.then(|| RankTest::new(&first, &second));
        let pairs = (first.len() * second.len()) as f64;
        let difference = match test {
            None => Difference::Unknown,
            Some(test) if test.p >= ALPHA => Difference::None,
            Some(test) if test.u < pairs / 2.0 => Difference::Worse,
            Some(_) => Difference::Better,
        };
        Self {
            obstacles: obstacles(before, after),
            difference,
            medians_us: (median(&first), median(&second)),
            test,
            seconds: (first.len(), second.len()),
            headline: before.headline(),
        }
    }

    /// What to exit with when the second may be slower by `regress_ppm_max`. A comparison that
    /// decides nothing does not pass.
    #[must_use]
    pub fn exit(&self, regress_ppm_max: Option<u64>) -> Exit {
        let Some(regress_ppm_max) = regress_ppm_max else { return Exit::Passed };
        if !self.obstacles.is_empty() || self.difference == Difference::Unknown {
            return Exit::Invalid;
        }
        let (before_us, after_us) = self.medians_us;
        let allowed = u128::from(before_us) * u128::from(1_000_000 + regress_ppm_max);
        let is_over = u128::from(after_us) * 1_000_000 > allowed;
        if self.difference == Difference::Worse && is_over { Exit::Failed } else { Exit::Passed }
    }

    /// The comparison for people.
    #[must_use]
    pub fn text(&self, before: &Recorded, after: &Recorded) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = self.write_text(before, after, &mut out);
        out
    }

    fn write_text(
        &self,
        before: &Recorded,
        after: &Recorded,
        out: &mut String,
    ) -> std::fmt::Result {
        writeln!(out, "{:<32} {:>14} {:>14} {:>8}", "", "A", "B", "B / A")?;
        writeln!(out, "{:<32} {:>14} {:>14}", "verdict", before.verdict, after.verdict)?;
        let names: BTreeSet<&String> = before.metrics.keys().chain(after.metrics.keys()).collect();
        for name in names {
            let (a, b) = (before.metrics.get(name).copied(), after.metrics.get(name).copied());
            if a.unwrap_or(0) == 0 && b.unwrap_or(0) == 0 {
                continue;
            }
            let shown = |value: Option<u64>| value.map_or("-".to_owned(), |v| figure(name, v));
            let ratio = match (a, b) {
                (Some(a), Some(b)) if a > 0 => format!("{:.3}", b as f64 / a as f64),
                _ => "-".to_owned(),
            };
            writeln!(out, "{name:<32} {:>14} {:>14} {ratio:>8}", shown(a), shown(b))?;
        }
        if self.obstacles.is_empty() {
            writeln!(out, "✓ comparable: the same load on the same machine")?;
        }
        for obstacle in &self.obstacles {
            writeln!(out, "✗ not comparable: {obstacle}")?;
        }
        self.write_difference(out)
    }

    fn write_difference(&self, out: &mut String) -> std::fmt::Result {
        let (headline, (a, b), (first, second)) = (self.headline, self.medians_us, self.seconds);
        let Some(test) = self.test else {
            return writeln!(
                out,
                "■ UNKNOWN  {first} and {second} measured seconds; {SECONDS_MIN} of each are needed"
            );
        };
        let word = match self.difference {
            Difference::Better => "BETTER",
            Difference::Worse => "WORSE",
            Difference::None => "NO DIFFERENCE",
            Difference::Unknown => "UNKNOWN",
        };
        let change = if a == 0 { 0.0 } else { (b as f64 / a as f64 - 1.0) * 100.0 };
        writeln!(
            out,
            "■ {word}  {headline} p99 of the median second {} -> {} ({change:+.1} %)   \
             Mann-Whitney U {:.1}, p {:.4}, {first} and {second} seconds",
            ms(a),
            ms(b),
            test.u,
            test.p,
        )
    }
}

fn obstacles(before: &Recorded, after: &Recorded) -> Vec<String> {
    let mut obstacles = Vec::new();
    for (name, run) in [("A", before), ("B", after)] {
        if run.verdict == "INVALID" {
            obstacles.push(format!("{name} is INVALID, its numbers are not to be used"));
        }
    }
    let mut differ = |facts: &[&str], a: &BTreeMap<String, Value>, b: &BTreeMap<String, Value>| {
        for fact in facts.iter().filter(|fact| a.get(**fact) != b.get(**fact)) {
            let shown = |facts: &BTreeMap<String, Value>| {
                facts.get(*fact).map_or("nothing".to_owned(), Value::to_string)
            };
            obstacles.push(format!("{fact} is {} in A and {} in B", shown(a), shown(b)));
        }
    };
    let asked: BTreeSet<&str> =
        before.scenario.keys().chain(after.scenario.keys()).map(String::as_str).collect();
    let fixed: Vec<&str> = asked.into_iter().filter(|fact| !SCENARIO_FREE.contains(fact)).collect();
    differ(&fixed, &before.scenario, &after.scenario);
    differ(&HOST_FACTS, &before.environment, &after.environment);
    differ(&["server", "generator"], &before.cores, &after.cores);
    obstacles
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => 0,
        count if count % 2 == 1 => sorted[count / 2],
        count => u64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recorded(seconds_us: &[u64], change: fn(&mut Value)) -> Recorded {
        let second = |us: &u64| json!({"measured": true, "rtt_p99_us": us, "state_age_p99_us": 0});
        let mut intervals: Vec<Value> = seconds_us.iter().map(second).collect();
        intervals.push(json!({"measured": false, "rtt_p99_us": 999_999}));
        let mut report = json!({
            "schema": SCHEMA,
            "verdict": "VALID",
            "scenario": {"kind": "echo", "clients_count": 10, "url": "ws://a", "seed": 1},
            "environment": {"kernel": "6.1", "git_revision": "abc"},
            "cores": {"server": [0], "generator": [1]},
            "metrics": {"rtt.p99_us": 100, "errors": 0},
            "intervals": intervals,
        });
        change(&mut report);
        Recorded::parse(&report.to_string()).expect("a report")
    }

    const BASE: [u64; 8] = [100, 101, 102, 103, 104, 105, 106, 107];

    #[test]
    fn slower_seconds_are_worse_and_chance_is_no_difference() {
        let scaled = |percent: u64| BASE.map(|us| us * percent);
        let base = recorded(&scaled(100), |_| {});
        for (percent, difference, exit) in [
            (120, Difference::Worse, Exit::Failed),
            (90, Difference::Better, Exit::Passed),
            (100, Difference::None, Exit::Passed),
            (101, Difference::None, Exit::Passed),
            (104, Difference::Worse, Exit::Passed),
        ] {
            let compared = Compared::new(&base, &recorded(&scaled(percent), |_| {}));
            assert_eq!(compared.difference, difference, "{percent} %: {compared:?}");
            assert_eq!(compared.exit(Some(50_000)), exit, "{percent} %");
            assert_eq!(compared.exit(None), Exit::Passed, "{percent} %");
        }
    }

    #[test]
    fn runs_that_differ_say_in_what_and_decide_nothing() {
        type Change = fn(&mut Value);
        let rows: [(Change, &str); 6] = [
            (|r| r["verdict"] = json!("INVALID"), "B is INVALID"),
            (
                |r| r["scenario"]["clients_count"] = json!(20),
                "clients_count is 10 in A and 20 in B",
            ),
            (|r| r["scenario"]["kind"] = json!("rooms"), "kind is"),
            (|r| r["environment"]["kernel"] = json!("6.2"), "kernel is"),
            (|r| r["cores"]["server"] = json!([1]), "server is [0] in A"),
            (|r| r["scenario"]["echo"] = json!({"rate_hz": 5}), "echo is nothing in A"),
        ];
        let base = recorded(&BASE, |_| {});
        for (change, obstacle) in rows {
            let other = recorded(&BASE.map(|us| us * 2), change);
            let compared = Compared::new(&base, &other);
            assert_eq!(compared.obstacles.len(), 1, "{obstacle}: {:?}", compared.obstacles);
            assert!(compared.obstacles[0].contains(obstacle), "{:?}", compared.obstacles);
            assert_eq!(compared.exit(Some(50_000)), Exit::Invalid, "{obstacle}");
            assert!(compared.text(&base, &other).contains("✗ not comparable"), "{obstacle}");
        }
        let alike: Change = |r| {
            r["scenario"]["url"] = json!("ws://b");
            r["scenario"]["seed"] = json!(2);
            r["environment"]["git_revision"] = json!("def");
        };
        assert!(Compared::new(&base, &recorded(&BASE, alike)).obstacles.is_empty());
    }

    #[test]
    fn few_seconds_tell_nothing() {
        let (few, enough) = (recorded(&BASE[..7], |_| {}), recorded(&BASE, |_| {}));
        let compared = Compared::new(&few, &enough);
        assert_eq!(compared.difference, Difference::Unknown);
        assert_eq!(compared.exit(Some(0)), Exit::Invalid);
        assert!(compared.text(&few, &enough).contains("■ UNKNOWN  7 and 8"));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for text in ["", "{}", "[1]", r#"{"schema":"k6/1","verdict":"VALID"}"#] {
            assert!(Recorded::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_table_shows_every_figure_with_its_ratio() {
        let base = recorded(&BASE, |_| {});
        let other = recorded(&BASE, |r| r["metrics"] = json!({"rtt.p99_us": 150, "gaps": 2}));
        let text = Compared::new(&base, &other).text(&base, &other);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect(name);
        assert!(line("rtt.p99_us").contains("0.10 ms") && line("rtt.p99_us").ends_with("1.500"));
        assert!(line("gaps").ends_with('-'), "{text}");
        assert!(!text.contains("errors"), "nothing in both is left out: {text}");
    }
}
