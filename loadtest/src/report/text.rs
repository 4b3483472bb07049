//! The report for people: what was asked, what was measured, whether to believe it.

use std::fmt::{Result, Write};

use super::{EchoScenario, Kind, Report, RoomScenario, Scenario, Table};
use crate::health::MemoryTrend;
use crate::plan::MessageKind;
use crate::tally::{Kinds, Summary};
use crate::verdict::{Reach, Verdict};

/// Whether the text shows the run second by second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seconds {
    /// It does.
    Shown,
    /// It does not: they were seen live.
    Left,
}

impl Report {
    /// The report for people.
    #[must_use]
    pub fn text(&self, seconds: Seconds) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write_text(seconds, &mut text);
        text
    }

    fn write_text(&self, seconds: Seconds, out: &mut String) -> Result {
        write_head(out, self)?;
        self.write_connects(out)?;
        if seconds == Seconds::Shown {
            let mut table = Table::new(self.headline);
            for interval in self.intervals.iter().filter(|interval| interval.measured) {
                for line in table.lines(interval) {
                    writeln!(out, "{line}")?;
                }
            }
        }
        self.write_thresholds(out)?;
        self.write_verdict(out)?;
        let summary = &self.summary;
        match self.scenario.kind {
            Kind::Rooms => self.write_rooms(out)?,
            Kind::Echo => {
                write_times(out, "rtt", &summary.rtt_us)?;
                self.write_message_checks(out)?;
            }
            Kind::Broadcast => {
                write_times(out, "delivery", &summary.delivery_us)?;
                self.write_message_checks(out)?;
            }
        }
        self.write_costs(out)?;
        write_kinds(out, "closes", &self.close_codes)?;
        write_kinds(out, "refusals", &self.refusals)?;
        write_kinds(out, "errors", &self.errors)
    }

    fn write_connects(&self, out: &mut String) -> Result {
        let (counters, connect) = (&self.counters, &self.summary.connect_us);
        write!(
            out,
            "connect  {}/{}  {}  (p50 {} p99 {})",
            thousands(counters.clients_connected),
            thousands(counters.clients_begun.max(u64::from(self.scenario.clients_count))),
            ms(self.ramp_us),
            ms(connect.p50),
            ms(connect.p99),
        )?;
        if counters.tls_full + counters.tls_resumed > 0 {
            let counts = [counters.tls_full, counters.tls_resumed].map(thousands);
            write!(out, "   tls {} full, {} resumed", counts[0], counts[1])?;
        }
        if self.scenario.kind != Kind::Rooms {
            return writeln!(out);
        }
        let (joined, join) = (thousands(counters.clients_joined), &self.summary.join_us);
        writeln!(out, "   join+snapshot {joined}  p50 {} p99 {}", ms(join.p50), ms(join.p99))
    }

    fn write_thresholds(&self, out: &mut String) -> Result {
        if self.thresholds.is_empty() {
            return Ok(());
        }
        writeln!(out, "■ THRESHOLDS")?;
        for outcome in &self.thresholds {
            let mark = if outcome.ok { '✓' } else { '✗' };
            let actual = outcome
                .actual
                .map_or("nothing measured".to_owned(), |actual| figure(&outcome.metric, actual));
            writeln!(out, "  {mark} {:<32} {actual}", outcome.check)?;
        }
        let undecided = self.judgement.verdict != Verdict::Valid
            && self.thresholds.iter().any(|outcome| !outcome.ok);
        if undecided {
            writeln!(out, "  the run is not VALID, so nothing is decided by a cross")?;
        }
        Ok(())
    }

    fn write_verdict(&self, out: &mut String) -> Result {
        let (generator, judgement) = (&self.generator, &self.judgement);
        let verdict = match judgement.verdict {
            Verdict::Valid => "VALID",
            Verdict::Noisy => "NOISY",
            Verdict::Invalid => "INVALID",
        };
        let psi = generator.psi_ppm.map_or("unknown".to_owned(), percent);
        writeln!(
            out,
            "■ RESULT  {verdict}{}   (gen lag p99 {}, gen busy {}, gen cpu {}, host PSI {psi})",
            if self.interrupted { ", interrupted" } else { "" },
            ms(self.summary.sched_lag_us.p99),
            percent(generator.busy_ppm_max),
            percent(generator.core_ppm),
        )?;
        for reason in &judgement.reasons {
            writeln!(out, "  because       {reason}")?;
        }
        for failure in &judgement.failures {
            writeln!(out, "■ FAILED  {failure}")?;
        }
        Ok(())
    }

    fn write_reach(&self, what: &str, out: &mut String) -> Result {
        let Reach { expected, lost } = self.reach;
        if expected == 0 {
            return write!(out, "  reach         nothing was to arrive");
        }
        let (arrived, expected) = (thousands(expected - lost), thousands(expected));
        let share = ppm_exact(self.reach_ppm);
        write!(out, "  reach         {share}  ({arrived} of {expected} {what})")
    }

    pub(super) fn write_room_checks(&self, out: &mut String) -> Result {
        let counters = &self.counters;
        let what = if self.agreement.events_expected > 0 { "events" } else { "deltas" };
        self.write_reach(what, out)?;
        writeln!(
            out,
            "   gaps {}  dups {}  malformed {}  resyncs {}",
            counters.gaps, counters.duplicates, counters.malformed, counters.resyncs,
        )?;
        writeln!(
            out,
            "  replicas      {} hash checks  mismatches {}   {} compared at the end  diverged rooms \
             {}",
            thousands(counters.hashes_checked),
            counters.hash_mismatches,
            thousands(self.agreement.replicas_compared),
            self.agreement.rooms_diverged,
        )?;
        if counters.views_counted > 0 {
            let mean = |count: u64| count as f64 / counters.views_counted as f64;
            writeln!(
                out,
                "  views         {} at the end, of {:.1} cells with somebody and {:.1} entities on \
                 average",
                thousands(counters.views_counted),
                mean(counters.view_cells),
                mean(counters.view_entities),
            )?;
        }
        writeln!(
            out,
            "  brought up    catch-ups {}  conflated {}  unasked snapshots {}  clock slips {}",
            counters.catch_ups,
            counters.conflated,
            counters.snapshots_unasked,
            counters.clock_slips,
        )
    }

    pub(super) fn write_inputs(&self, out: &mut String) -> Result {
        let counters = &self.counters;
        write!(
            out,
            "  inputs        {} sent  {} acknowledged  {} not  {} blocked  {} skipped",
            thousands(counters.inputs_sent),
            thousands(counters.inputs_acked),
            thousands(counters.inputs_unacked),
            thousands(counters.inputs_blocked),
            thousands(counters.inputs_skipped),
        )?;
        let on_time = counters.on_time_ppm().map(percent);
        writeln!(out, "{}", on_time.map_or(String::new(), |share| format!("   in time {share}")))
    }

    fn write_message_checks(&self, out: &mut String) -> Result {
        let counters = &self.counters;
        let rate = self.metrics.get("messages_per_s").copied().unwrap_or(0);
        let what = if self.scenario.kind == Kind::Echo { "messages" } else { "deliveries" };
        writeln!(out, "  throughput    {} {what}/s", thousands(rate))?;
        self.write_reach(what, out)?;
        writeln!(
            out,
            "   lost {}  wrong {}  changed kind {}  \
             not ours {}",
            thousands(self.reach.lost),
            counters.messages_wrong,
            counters.messages_changed_kind,
            counters.messages_foreign,
        )?;
        writeln!(
            out,
            "  sent          {} messages  {} blocked  {} skipped",
            thousands(counters.messages_sent),
            thousands(counters.messages_blocked),
            thousands(counters.messages_skipped),
        )
    }

    fn write_costs(&self, out: &mut String) -> Result {
        let per_client = |bytes: u64| {
            let seconds = self.measured_us as f64 / 1e6;
            let clients = self.counters.clients_joined as f64;
            if seconds * clients > 0.0 { bytes as f64 / seconds / clients / 1e3 } else { 0.0 }
        };
        writeln!(
            out,
            "  wire          down {:.2} kB/s/client   up {:.2} kB/s/client   ({} MB and {} MB)",
            per_client(self.counters.bytes_down),
            per_client(self.counters.bytes_up),
            self.counters.bytes_down / 1_000_000,
            self.counters.bytes_up / 1_000_000,
        )?;
        let counters = &self.counters;
        if counters.messages_inflated > 0 {
            let (before, after) = (counters.inflated_bytes_before, counters.inflated_bytes_after);
            writeln!(
                out,
                "  deflate       {} messages inflated from {} kB to {} kB ({:.1} %)",
                thousands(counters.messages_inflated),
                thousands(before / 1_000),
                thousands(after / 1_000),
                before as f64 / after.max(1) as f64 * 100.0,
            )?;
        }
        if let Some(server) = &self.server {
            let (unit, cpu_ns) = match self.scenario.kind {
                Kind::Rooms => ("client/tick", server.cpu_ns_per_client_tick),
                Kind::Echo => ("message", server.cpu_ns_per_message),
                Kind::Broadcast => ("delivery", server.cpu_ns_per_message),
            };
            writeln!(
                out,
                "  server        {:.2} us cpu/{unit}   {} of a core   {}",
                cpu_ns as f64 / 1e3,
                percent(server.core_ppm),
                server.memory.as_ref().map_or(String::new(), memory_text),
            )?;
        }
        self.write_view(out)?;
        let memory = self.generator.memory.as_ref().map_or(String::new(), memory_text);
        writeln!(out, "  generator     {} of a core   {memory}", percent(self.generator.core_ppm))
    }
}

impl Report {
    /// The worst measured second of each, by the server's own account.
    fn write_view(&self, out: &mut String) -> Result {
        let shown = |(name, label): (&str, &str)| {
            Some(format!("{label} {}", figure(name, *self.metrics.get(name)?)))
        };
        let figures: Vec<String> = [
            ("server.busy_max_ppm", "busiest shard"),
            ("server.tick_p99_max_us", "tick p99"),
            ("server.tick_late_p99_max_us", "late p99"),
            ("server.ticks_overrun", "overruns"),
            ("server.queued_max_bytes", "queued"),
            ("server.lagging_max", "lagging"),
        ]
        .into_iter()
        .filter_map(shown)
        .collect();
        if figures.is_empty() {
            return Ok(());
        }
        writeln!(out, "  server says   at worst: {}", figures.join("   "))
    }
}

fn write_head(out: &mut String, report: &Report) -> Result {
    let (scenario, cores) = (&report.scenario, &report.cores);
    let load = match (&scenario.echo, &scenario.rooms) {
        (Some(echo), _) => echo_load(scenario, echo),
        (None, Some(rooms)) => room_load(scenario, rooms),
        (None, None) => String::new(),
    };
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, "loadtest {version}  {}  {load} · seed {}", scenario.url, scenario.seed)?;
    let list = |cores: &[usize]| match cores {
        [] => "any".to_owned(),
        _ => cores.iter().map(usize::to_string).collect::<Vec<_>>().join(","),
    };
    write!(out, "cores    ")?;
    if cores.shared {
        write!(out, "{} shared by server and generator", list(&cores.generator))?;
    } else if scenario.spawned {
        write!(out, "server {}  generator {}", list(&cores.server), list(&cores.generator))?;
    } else {
        write!(out, "generator {}", list(&cores.generator))?;
    }
    let clock = report.clock;
    if clock.shared {
        writeln!(out, "   clock shared")
    } else {
        writeln!(out, "   clock estimated, ages are right within ±{}", ms(clock.error_us))
    }
}

fn room_load(scenario: &Scenario, rooms: &RoomScenario) -> String {
    let ticks = scenario.tick_rate_hz.map_or(String::new(), |hz| format!(" / {hz} Hz tick"));
    if rooms.is_lobby() {
        let seats = rooms.bots.iter().map(|bot| bot.room_size).max().unwrap_or(0);
        let clients = thousands(u64::from(scenario.clients_count));
        return format!("{} · {clients} bots · rooms of {seats} seats", rooms.name);
    }
    format!(
        "{} · {} bots · {} rooms · {} Hz in{ticks}",
        rooms.name,
        thousands(u64::from(scenario.clients_count)),
        thousands(u64::from(rooms.rooms_count)),
        rooms.rate_hz_max,
    )
}

fn echo_load(scenario: &Scenario, echo: &EchoScenario) -> String {
    let pattern = match (scenario.kind, echo.in_flight, echo.rate_hz) {
        (Kind::Broadcast, _, rate) => {
            format!("broadcast · {} sender(s) · {}/s", echo.senders_count, short_rate(rate))
        }
        (_, Some(in_flight), _) => format!("echo · {in_flight} in flight"),
        (_, None, rate) => format!("echo · {}/s", short_rate(rate)),
    };
    let kind = match echo.message_kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    };
    let clients = thousands(u64::from(scenario.clients_count));
    format!("{pattern} · {clients} clients · {} B {kind}", echo.payload_bytes)
}

fn short_rate(rate_hz: Option<u32>) -> String {
    short(u64::from(rate_hz.unwrap_or(0)))
}

pub(super) fn write_times(out: &mut String, name: &str, times: &Summary) -> Result {
    if times.count == 0 {
        return writeln!(out, "  {name:<12}  nothing measured");
    }
    writeln!(
        out,
        "  {name:<12}  p50 {:<9} p90 {:<9} p99 {:<9} p99.9 {:<9} max {:<9} n={}",
        ms(times.p50),
        ms(times.p90),
        ms(times.p99),
        ms(times.p999),
        ms(times.max),
        short(times.count),
    )
}

fn write_kinds(out: &mut String, name: &str, kinds: &Kinds) -> Result {
    for (kind, occurrences) in &kinds.0 {
        writeln!(out, "  {name:<12}  {} x {kind}: {}", occurrences.count, occurrences.sample)?;
    }
    Ok(())
}

fn memory_text(memory: &MemoryTrend) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let trend = if memory.flat {
        "flat".to_owned()
    } else {
        format!("growing {:.1} KiB/s", memory.slope_bytes_per_s as f64 / 1024.0)
    };
    format!(
        "rss {:.1} -> {:.1} MiB, max {:.1}, {trend}",
        mib(memory.first_bytes),
        mib(memory.last_bytes),
        mib(memory.max_bytes),
    )
}

/// A figure of the flat block in the unit that its name ends with.
pub(crate) fn figure(name: &str, value: u64) -> String {
    match name.rsplit_once('_').map(|(_, unit)| unit) {
        Some("us") => ms(value),
        Some("ns") => format!("{:.2} us", value as f64 / 1e3),
        Some("ppm") => ppm_exact(value),
        Some("bytes") => format!("{:.1} MiB", value as f64 / f64::from(1 << 20)),
        _ => thousands(value),
    }
}

/// Microseconds in the unit that people read most easily.
pub(crate) fn ms(us: u64) -> String {
    match us {
        0..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..10_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

/// A share to its last part.
pub(super) fn ppm_exact(ppm: u64) -> String {
    format!("{}.{:04} %", ppm / 10_000, ppm % 10_000)
}

pub(super) fn percent(ppm: u64) -> String {
    format!("{:.1} %", ppm as f64 / 1e4)
}

/// `1234567` as `1,234,567`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1234567` as `1.2M`.
pub(super) fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        for (number, grouped, shortened) in [
            (0, "0", "0"),
            (999, "999", "999"),
            (1_000, "1,000", "1000"),
            (99_800, "99,800", "99.8k"),
            (1_234_567, "1,234,567", "1.2M"),
        ] {
            assert_eq!((thousands(number).as_str(), short(number).as_str()), (grouped, shortened));
        }
        for (us, text) in [(500, "0.50 ms"), (58_000, "58.0 ms"), (12_000_000, "12.00 s")] {
            assert_eq!(ms(us), text);
        }
    }
}
