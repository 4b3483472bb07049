//! What a report says about storms: rounds in which everybody was cut off at once.

use std::fmt::{Result, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::metrics::Unit;
use super::text::{ms, percent, thousands};
use super::{Report, micros};
use crate::driver::Measured;
use crate::plan::Plan;
use crate::tally::Summary;

/// What was measured in one round.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RoundReport {
    /// When everybody was cut off, in microseconds since measuring began.
    pub at_us: u64,
    /// Connections that were cut.
    pub cut: u64,
    /// Clients that got their seat back.
    pub resumed: u64,
    /// Of those, the ones to which nothing that was said is missing.
    pub recovered: u64,
    /// Of those, the ones that were brought up to date by a snapshot.
    pub snapshots: u64,
    /// Clients that did not get their seat back.
    pub refused: u64,
    /// Attempts to come back that failed and were made again.
    pub retries: u64,
    /// From the cut to the room's newest state.
    pub resume_us: Summary,
    /// How late the server's ticks began, 99 % of them, in its worst second; null when it does not
    /// say.
    pub tick_late_p99_us: Option<u64>,
    /// The server's memory when the round was over; null when it is not known.
    pub server_bytes: Option<u64>,
}

/// What each round added up to.
pub(super) fn rounds(plan: &Plan, measured: &Measured) -> Vec<RoundReport> {
    let Some(storm) = plan.storm() else { return Vec::new() };
    let window = measured.window;
    let rounds = storm.rounds(window).zip(&measured.rounds);
    let reports = rounds.map(|((begin, end), round)| {
        let (tally, counters) = (&round.tally, &round.tally.counters);
        let after = measured.server.0.iter().find(|sample| sample.at >= end);
        RoundReport {
            at_us: micros(begin.saturating_since(window.from)),
            cut: counters.drops_cut,
            resumed: counters.drops_resumed,
            recovered: counters.drops_recovered,
            snapshots: counters.drops_snapshots,
            refused: counters.drops_refused,
            retries: counters.drops_retries,
            resume_us: tally.resume.summary(),
            tick_late_p99_us: round.tick_late_p99_us,
            server_bytes: after.map(|sample| sample.resident_bytes),
        }
    });
    reports.collect()
}

/// The figures of a storm.
pub(super) fn metrics(rounds: &[RoundReport]) -> [(&'static str, Unit, Option<u64>); 3] {
    let worst = rounds.iter().map(|round| round.resume_us.p99).max();
    let short = rounds.iter().map(|round| round.cut.saturating_sub(round.recovered)).max();
    let growth_ppm = growth_ppm(rounds).map(|ppm| u64::try_from(ppm).unwrap_or(0));
    [
        ("storm.resume_p99_max_us", Unit::Micros, worst),
        ("storm.unrecovered_max", Unit::Count, short),
        ("storm.rss_growth_ppm", Unit::Ppm, growth_ppm),
    ]
}

/// How much the server's memory grew from the end of the first round to that of the last.
fn growth_ppm(rounds: &[RoundReport]) -> Option<i64> {
    let (first, last) = (rounds.first()?.server_bytes?, rounds.last()?.server_bytes?);
    let grown = i128::from(last) - i128::from(first);
    i64::try_from((grown * 1_000_000).checked_div(i128::from(first))?).ok()
}

impl Report {
    pub(super) fn write_storm(&self, out: &mut String) -> Result {
        for (number, round) in self.storm.iter().enumerate() {
            let late = round.tick_late_p99_us.map_or("unknown".to_owned(), ms);
            let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
            writeln!(
                out,
                "  storm {:<2}      {} cut  {} resumed  {} recovered  {} by a snapshot  {} without \
                 their seat  {} retries   resume p50 {:<9} p99 {:<9} ticks late p99 {late:<9} rss {}",
                number + 1,
                thousands(round.cut),
                thousands(round.resumed),
                thousands(round.recovered),
                thousands(round.snapshots),
                thousands(round.refused),
                thousands(round.retries),
                ms(round.resume_us.p50),
                ms(round.resume_us.p99),
                round.server_bytes.map_or("unknown".to_owned(), mib),
            )?;
        }
        let Some(growth_ppm) = growth_ppm(&self.storm) else { return Ok(()) };
        let sign = if growth_ppm < 0 { "-" } else { "+" };
        let growth = percent(growth_ppm.unsigned_abs());
        writeln!(out, "  storm memory  {sign}{growth} from the first round's end to the last's")
    }
}
