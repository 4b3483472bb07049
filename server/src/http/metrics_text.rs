//! `/metrics`: Prometheus' text format 0.0.4, written by hand because there is little to it.
//!
//! Names are in base units and say them; counters end in `_total`. Labels are few and bounded:
//! `core` is a shard's index, `kind` and `code` come from lists of ours, `room_type` from the
//! server's. Nothing a client chose is
//! in here, and no id.

mod families;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use self::families::{Part, SHARD_FAMILIES, Unit};
use super::process::ProcessFacts;
use super::{ShardEntry, StatsReport};
use crate::board::{Board, ShardBoard};
use crate::buckets::Buckets;
use crate::ledger::Phase;

/// What the body is.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a family's numbers do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// The whole text.
pub(super) fn render(report: &StatsReport, board: &Board, process: &ProcessFacts) -> String {
    let mut text = Exposition::default();
    put_server(&mut text, report);
    put_shards(&mut text, report);
    put_ledger(&mut text, report);
    put_ticks(&mut text, board);
    put_http(&mut text, report);
    put_process(&mut text, process);
    text.text
}

fn put_server(text: &mut Exposition, report: &StatsReport) {
    text.family("tickloom_build_info", Kind::Gauge, "Which build this is; always 1.");
    text.sample("", &[("version", report.version)], 1);
    text.family("tickloom_ready", Kind::Gauge, "1 while new clients are welcome, as in /readyz.");
    text.sample("", &[], u64::from(report.unready.is_empty()));
    if let Some(max) = report.memory_bytes_max {
        let help = "Resident memory above which nobody new is let in.";
        text.family("tickloom_memory_max_bytes", Kind::Gauge, help);
        text.sample("", &[], max);
    }
}

fn put_shards(text: &mut Exposition, report: &StatsReport) {
    let help = "Time since the shard's thread last turned; above 2 it has stalled.";
    put_age(text, report, ("tickloom_beat_age_seconds", help), |shard| shard.beat_us);
    let name = "tickloom_published_age_seconds";
    let help = "Age of the shard's numbers in this text.";
    put_age(text, report, (name, help), |shard| shard.published_us);
    for family in SHARD_FAMILIES {
        text.family(family.name, family.kind, family.help);
        for shard in &report.shards {
            let core = shard.shard.to_string();
            for Part { label, value } in family.parts {
                let labels = [("core", &*core), (family.label, label)];
                let labels = &labels[..if label.is_empty() { 1 } else { 2 }];
                match family.unit {
                    Unit::One => text.sample("", labels, value(&shard.stats)),
                    Unit::Micros => text.sample("", labels, Seconds(value(&shard.stats))),
                }
            }
        }
    }
}

fn put_age(
    text: &mut Exposition,
    report: &StatsReport,
    (name, help): (&'static str, &str),
    at_us: fn(&ShardEntry) -> u64,
) {
    text.family(name, Kind::Gauge, help);
    for shard in &report.shards {
        let age_us = report.at_us.saturating_sub(at_us(shard));
        text.sample("", &[("core", &shard.shard.to_string())], Seconds(age_us));
    }
}

/// Room types are as many as the server offers.
fn put_ledger(text: &mut Exposition, report: &StatsReport) {
    // Before there was a room there is nothing to say, and no family is without samples.
    if report.shards.iter().all(|shard| shard.ledger.types.is_empty()) {
        return;
    }
    let help = "Time that rooms took, by what it was for.";
    text.family("tickloom_room_seconds_total", Kind::Counter, help);
    for shard in &report.shards {
        let core = shard.shard.to_string();
        for (room_type, spent) in &shard.ledger.types {
            let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            let plain = |letter| if is_plain(letter) { letter } else { '_' };
            let room_type: String = room_type.chars().map(plain).collect();
            for phase in Phase::ALL {
                let labels = [("core", &*core), ("room_type", &room_type), ("phase", phase.name())];
                text.sample("", &labels, Seconds(spent.of(phase) / 1_000));
            }
        }
    }
}

fn put_ticks(text: &mut Exposition, board: &Board) {
    let name = "tickloom_tick_duration_seconds";
    let help = "How long a room's tick took, encoding included.";
    put_histogram(text, board, (name, help), |shard| shard.ticks().0);
    let help = "How late a room's tick began.";
    put_histogram(text, board, ("tickloom_tick_lateness_seconds", help), |shard| shard.ticks().1);
}

fn put_histogram(
    text: &mut Exposition,
    board: &Board,
    (name, help): (&'static str, &str),
    buckets_of: fn(&ShardBoard) -> Buckets,
) {
    text.family(name, Kind::Histogram, help);
    for (index, shard) in board.shards().iter().enumerate() {
        let (core, buckets) = (index.to_string(), buckets_of(shard));
        let core = ("core", &*core);
        for (bound_us, count) in buckets.cumulative() {
            text.sample("_bucket", &[core, ("le", &Seconds(bound_us).to_string())], count);
        }
        text.sample("_bucket", &[core, ("le", "+Inf")], buckets.count());
        text.sample("_sum", &[core], Seconds(buckets.sum_us()));
        text.sample("_count", &[core], buckets.count());
    }
}

fn put_http(text: &mut Exposition, report: &StatsReport) {
    let http = &report.http;
    let name = "tickloom_http_requests_total";
    text.family(name, Kind::Counter, "Plain HTTP requests answered, by class of status.");
    for (class, count) in http.requests.iter().enumerate() {
        text.sample("", &[("code", &format!("{}xx", class + 1))], *count);
    }
    for (name, kind, help, value) in [
        (
            "tickloom_http_connections",
            Kind::Gauge,
            "Connections of the HTTP thread.",
            http.connections_count,
        ),
        (
            "tickloom_http_connections_opened_total",
            Kind::Counter,
            "Connections handed to the HTTP thread.",
            http.connections_opened,
        ),
        (
            "tickloom_http_refused_total",
            Kind::Counter,
            "Connections answered 503 because the HTTP thread had as many as it may.",
            http.refused,
        ),
        (
            "tickloom_http_upgrades_total",
            Kind::Counter,
            "Connections of the HTTP thread that asked for WebSocket and went back to a shard.",
            http.upgrades,
        ),
        (
            "tickloom_seats_limited_total",
            Kind::Counter,
            "Requests for seats answered 429 because they came oftener than they may.",
            http.seats_limited,
        ),
    ] {
        text.family(name, kind, help);
        text.sample("", &[], value);
    }
}

fn put_process(text: &mut Exposition, process: &ProcessFacts) {
    let whole = |value: Option<u64>| value.map(|value| value as f64);
    for (name, kind, help, value) in [
        (
            "process_cpu_seconds_total",
            Kind::Counter,
            "User and system time on processors.",
            process.cpu_seconds,
        ),
        (
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory.",
            whole(process.resident_bytes),
        ),
        (
            "process_virtual_memory_bytes",
            Kind::Gauge,
            "Virtual memory.",
            whole(process.virtual_bytes),
        ),
        ("process_threads", Kind::Gauge, "Threads.", whole(process.threads_count)),
        ("process_open_fds", Kind::Gauge, "Open file descriptors.", whole(process.open_fds)),
        ("process_max_fds", Kind::Gauge, "File descriptors it may open.", whole(process.fds_max)),
        (
            "process_start_time_seconds",
            Kind::Gauge,
            "When it started, since 1970.",
            process.start_seconds,
        ),
    ] {
        if let Some(value) = value {
            text.family(name, kind, help);
            text.sample("", &[], value);
        }
    }
}

/// Microseconds that are written as seconds, exactly.
#[derive(Clone, Copy, Debug)]
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// The text so far.
#[derive(Debug, Default)]
struct Exposition {
    text: String,
    name: &'static str,
}

impl Exposition {
    /// Begins a family of samples.
    fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.name = name;
        // Writing to a string does not fail.
        let _ = write!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A number of the family begun last.
    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        for (index, (name, value)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            // No label of ours has anything to escape.
            let _ = write!(self.text, "{before}{name}=\"{value}\"");
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}
