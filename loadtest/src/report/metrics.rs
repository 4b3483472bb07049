//! The flat block of a report: every figure under one name, an integer whose unit is the end of
//! the name. CI reads it with one lookup, and thresholds are written against it.

use super::{RoundReport, ServerUse, SettledMemory, Summaries, storm};
use crate::agreement::Agreement;
use crate::driver::Interval;
use crate::health::MemoryTrend;
use crate::server_view::ServerSecond;
use crate::tally::{Counters, Summary};

/// What a figure is counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Microseconds.
    Micros,
    /// Nanoseconds.
    Nanos,
    /// Parts of a million.
    Ppm,
    /// Bytes.
    Bytes,
    /// Things.
    Count,
    /// Things per second.
    PerSecond,
}

impl Unit {
    /// How names of such figures end.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Micros => "_us",
            Self::Nanos => "_ns",
            Self::Ppm => "_ppm",
            Self::Bytes => "_bytes",
            Self::Count | Self::PerSecond => "",
        }
    }

    /// How many of this unit one of `typed` is; `None` when it is no such thing.
    #[must_use]
    pub fn factor(self, typed: &str) -> Option<f64> {
        Some(match (self, typed) {
            (Self::Micros, "us") | (Self::Nanos, "ns") => 1.0,
            (Self::Micros, "ms") | (Self::Nanos, "us") => 1e3,
            (Self::Micros, "s") | (Self::Nanos, "ms") => 1e6,
            (Self::Ppm, "ppm") | (Self::Bytes, "B") => 1.0,
            (Self::Ppm, "%") => 1e4,
            (Self::Bytes, "kB") => 1e3,
            (Self::Bytes, "MB") => 1e6,
            (Self::Bytes, "GB") => 1e9,
            (Self::Bytes, "KiB") => 1024.0,
            (Self::Bytes, "MiB") => 1024.0 * 1024.0,
            (Self::Bytes, "GiB") => 1024.0 * 1024.0 * 1024.0,
            (Self::Count | Self::PerSecond, "") | (Self::PerSecond, "/s") => 1.0,
            (Self::Count | Self::PerSecond, "k") | (Self::PerSecond, "k/s") => 1e3,
            (Self::Count | Self::PerSecond, "m") | (Self::PerSecond, "m/s") => 1e6,
            // Whatever else was typed is not a unit of this.
            _ => return None,
        })
    }

    /// What to type, for error messages.
    #[must_use]
    pub fn examples(self) -> &'static str {
        match self {
            Self::Micros => "us, ms or s, such as 80ms",
            Self::Nanos => "ns, us or ms, such as 6us",
            Self::Ppm => "% or ppm, such as 99.9%",
            Self::Bytes => "B, kB, KiB, MB, MiB, GB or GiB, such as 64MiB",
            Self::Count => "things, such as 250 or 5k",
            Self::PerSecond => "things per second, such as 250 or 5k/s",
        }
    }
}

/// One figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metric {
    /// What it is called, its unit included.
    pub name: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// `None` when nothing was measured.
    pub value: Option<u64>,
}

/// What figures are taken from. The default has none of them, and all of their names.
#[derive(Clone, Copy, Default)]
pub(super) struct Figures<'a> {
    pub(super) summaries: Summaries,
    pub(super) counters: Option<&'a Counters>,
    /// `None` when nothing was expected.
    pub(super) reach_ppm: Option<u64>,
    /// Everything that went wrong.
    pub(super) errors: u64,
    pub(super) measured_us: u64,
    pub(super) server: Option<&'a ServerUse>,
    pub(super) generator_core_ppm: u64,
    pub(super) generator_busy_ppm: u64,
    pub(super) intervals: &'a [Interval],
    pub(super) agreement: Option<&'a Agreement>,
    pub(super) settled: Option<SettledMemory>,
    pub(super) storm: &'a [RoundReport],
}

/// The name and unit of every figure there can be.
#[must_use]
pub fn names() -> Vec<(&'static str, Unit)> {
    Figures::default().metrics().into_iter().map(|metric| (metric.name, metric.unit)).collect()
}

/// The seven figures of one distribution.
macro_rules! distribution {
    ($metrics:ident, $name:literal, $summary:expr) => {
        let summary: Summary = $summary;
        let value = |value: u64| (summary.count > 0).then_some(value);
        $metrics.extend([
            (concat!($name, ".mean_us"), Unit::Micros, value(summary.mean)),
            (concat!($name, ".p50_us"), Unit::Micros, value(summary.p50)),
            (concat!($name, ".p90_us"), Unit::Micros, value(summary.p90)),
            (concat!($name, ".p95_us"), Unit::Micros, value(summary.p95)),
            (concat!($name, ".p99_us"), Unit::Micros, value(summary.p99)),
            (concat!($name, ".p999_us"), Unit::Micros, value(summary.p999)),
            (concat!($name, ".max_us"), Unit::Micros, value(summary.max)),
        ]);
    };
}

impl Figures<'_> {
    /// All figures.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let mut metrics: Vec<(&'static str, Unit, Option<u64>)> = Vec::new();
        let summaries = &self.summaries;
        distribution!(metrics, "state_age", summaries.state_age_us);
        distribution!(metrics, "delivery", summaries.delivery_us);
        distribution!(metrics, "rtt", summaries.rtt_us);
        distribution!(metrics, "input_ack", summaries.input_ack_us);
        distribution!(metrics, "slow_age", summaries.slow_age_us);
        distribution!(metrics, "slow_delivery", summaries.slow_delivery_us);
        distribution!(metrics, "tick_jitter", summaries.tick_jitter_us);
        distribution!(metrics, "connect", summaries.connect_us);
        distribution!(metrics, "join", summaries.join_us);
        distribution!(metrics, "resume", summaries.resume_us);
        distribution!(metrics, "wake", summaries.wake_us);
        distribution!(metrics, "sched_lag", summaries.sched_lag_us);
        metrics.extend([
            ("reach_ppm", Unit::Ppm, self.reach_ppm),
            ("inputs_on_time_ppm", Unit::Ppm, self.counters.and_then(Counters::on_time_ppm)),
            ("errors", Unit::Count, Some(self.errors)),
            ("generator.core_ppm", Unit::Ppm, Some(self.generator_core_ppm)),
            ("generator.busy_ppm", Unit::Ppm, Some(self.generator_busy_ppm)),
        ]);
        metrics.extend(self.rates());
        metrics.extend(self.server_process());
        metrics.extend(self.server_view());
        let counters = Counters::default();
        let counters = self.counters.unwrap_or(&counters);
        let families = families(counters);
        let has_other_name = |name: &&str| families.iter().any(|(field, ..)| field == name);
        let plain = counters.named().into_iter().filter(|(name, _)| !has_other_name(name));
        metrics.extend(plain.map(|(name, count)| (name, Unit::Count, Some(count))));
        metrics.extend(families.map(|(_, name, count)| (name, Unit::Count, Some(count))));
        metrics.extend(self.agreement());
        metrics.extend(self.settled_memory());
        metrics.extend(storm::metrics(self.storm));
        metrics.into_iter().map(|(name, unit, value)| Metric { name, unit, value }).collect()
    }

    fn rates(&self) -> [(&'static str, Unit, Option<u64>); 6] {
        let per_second = |count: fn(&Counters) -> u64| {
            let count = u128::from(count(self.counters?)) * 1_000_000;
            u64::try_from(count.checked_div(u128::from(self.measured_us))?).ok()
        };
        [
            ("messages_per_s", Unit::PerSecond, per_second(|c| c.messages_received)),
            ("deltas_per_s", Unit::PerSecond, per_second(|c| c.deltas_received)),
            ("bytes_down_per_s", Unit::PerSecond, per_second(|c| c.bytes_down)),
            ("bytes_up_per_s", Unit::PerSecond, per_second(|c| c.bytes_up)),
            ("lobby.joins_per_s", Unit::PerSecond, per_second(Counters::lobby_joins)),
            ("lobby.rooms_made_per_s", Unit::PerSecond, per_second(|c| c.lobby_rooms_made)),
        ]
    }

    fn agreement(&self) -> [(&'static str, Unit, Option<u64>); 6] {
        let agreed = |figure: fn(&Agreement) -> u64| Some(self.agreement.map_or(0, figure));
        [
            ("events.unaccounted", Unit::Count, agreed(|a| a.events_unaccounted)),
            ("events.skipped", Unit::Count, agreed(|a| a.events_skipped)),
            ("slow.readers", Unit::Count, agreed(|a| a.slow_readers)),
            ("slow.converged", Unit::Count, agreed(|a| a.slow_converged)),
            ("rooms.diverged", Unit::Count, agreed(|a| a.rooms_diverged)),
            ("rooms.counts_wrong", Unit::Count, agreed(|a| a.counts_wrong)),
        ]
    }

    fn settled_memory(&self) -> [(&'static str, Unit, Option<u64>); 2] {
        // What shrank did not grow.
        let growth = self.settled.map(|settled| u64::try_from(settled.growth_ppm).unwrap_or(0));
        let per_client = self.settled.and_then(|settled| settled.bytes_per_client);
        [
            ("server.rss_growth_ppm", Unit::Ppm, growth),
            ("server.rss_per_client_bytes", Unit::Bytes, per_client),
        ]
    }

    fn server_process(&self) -> [(&'static str, Unit, Option<u64>); 4] {
        let memory: Option<&MemoryTrend> = self.server.and_then(|server| server.memory.as_ref());
        let server = |figure: fn(&ServerUse) -> u64| self.server.map(figure).filter(|n| *n > 0);
        [
            ("server.core_ppm", Unit::Ppm, self.server.map(|server| server.core_ppm)),
            (
                "server.cpu_per_client_tick_ns",
                Unit::Nanos,
                server(|server| server.cpu_ns_per_client_tick),
            ),
            ("server.cpu_per_message_ns", Unit::Nanos, server(|s| s.cpu_ns_per_message)),
            ("server.rss_max_bytes", Unit::Bytes, memory.map(|memory| memory.max_bytes)),
        ]
    }

    /// The worst measured second of each, by the server's own account.
    fn server_view(&self) -> [(&'static str, Unit, Option<u64>); 6] {
        let measured = self.intervals.iter().filter(|interval| interval.measured);
        let seconds: Vec<&ServerSecond> = measured.filter_map(|i| i.server.as_ref()).collect();
        let worst = |figure: fn(&ServerSecond) -> Option<u64>| {
            seconds.iter().filter_map(|second| figure(second)).max()
        };
        let overruns = seconds.iter().filter_map(|second| second.ticks_overrun());
        [
            ("server.busy_max_ppm", Unit::Ppm, worst(|second| second.busy_ppm().max())),
            ("server.tick_p99_max_us", Unit::Micros, worst(ServerSecond::tick_p99_us_max)),
            (
                "server.tick_late_p99_max_us",
                Unit::Micros,
                worst(ServerSecond::tick_late_p99_us_max),
            ),
            ("server.ticks_overrun", Unit::Count, overruns.reduce(u64::saturating_add)),
            ("server.queued_max_bytes", Unit::Bytes, worst(ServerSecond::queued_bytes)),
            ("server.lagging_max", Unit::Count, worst(ServerSecond::members_lagging_count)),
        ]
    }
}

/// Counters whose figures are grouped by what they are about, under the name of the group.
fn families(counters: &Counters) -> [(&'static str, &'static str, u64); 45] {
    macro_rules! families {
        ($($field:ident $name:literal,)*) => {
            [$((stringify!($field), $name, counters.$field),)*]
        };
    }
    families![
        ops_sent "ops.sent",
        ops_accepted "ops.accepted",
        ops_refused "ops.refused",
        ops_conflicts "ops.conflicts",
        ops_unanswered "ops.unanswered",
        writes_checked "writes.checked",
        writes_missing "writes.missing",
        events_received "events.received",
        events_lost "events.lost",
        events_unannounced "events.unannounced",
        events_doubled "events.doubled",
        events_overtaken "events.overtaken",
        events_foreign "events.foreign",
        slow_catch_ups "slow.catch_ups",
        slow_lost "slow.lost",
        slow_closed "slow.closed",
        churn_leaves "churn.leaves",
        churn_joins "churn.joins",
        drops_cut "drops.cut",
        drops_resumed "drops.resumed",
        drops_recovered "drops.recovered",
        drops_refused "drops.refused",
        drops_retries "drops.retries",
        drops_snapshots "drops.snapshots",
        drops_lost "drops.lost",
        drops_unanswered "drops.unanswered",
        hidden_times "hidden.times",
        hidden_states "hidden.states",
        hidden_returns "hidden.returns",
        hidden_left "hidden.left",
        lobby_created "lobby.created",
        lobby_by_code "lobby.by_code",
        lobby_found "lobby.found",
        lobby_rooms_made "lobby.rooms_made",
        lobby_full "lobby.full",
        lobby_locked "lobby.locked",
        lobby_private "lobby.private",
        lobby_gone "lobby.gone",
        lobby_locks "lobby.locks",
        lobby_strayed "lobby.strayed",
        lobby_let_in "lobby.let_in",
        lobby_kept_out "lobby.kept_out",
        lobby_unanswered "lobby.unanswered",
        tls_full "tls.full",
        tls_resumed "tls.resumed",
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_view::ShardSecond;
    use std::collections::HashSet;

    fn value(figures: &Figures<'_>, name: &str) -> Option<u64> {
        let metrics = figures.metrics();
        metrics.iter().find(|metric| metric.name == name).expect(name).value
    }

    #[test]
    fn every_figure_has_a_name_of_its_own_that_ends_with_its_unit() {
        let names = names();
        let distinct: HashSet<_> = names.iter().map(|(name, _)| name).collect();
        assert_eq!(distinct.len(), names.len());
        for (name, unit) in names {
            assert!(name.ends_with(unit.suffix()), "{name}");
        }
    }

    #[test]
    fn what_was_not_measured_has_no_value() {
        let figures = Figures::default();
        for name in ["rtt.p99_us", "reach_ppm", "messages_per_s", "server.busy_max_ppm"] {
            assert_eq!(value(&figures, name), None, "{name}");
        }
        assert_eq!(value(&figures, "gaps"), Some(0));
    }

    #[test]
    fn the_servers_view_counts_its_worst_measured_second() {
        let second = |measured, busy_ppm, ticks_overrun| {
            let shard = ShardSecond { busy_ppm, ticks_overrun, ..ShardSecond::default() };
            let server = Some(ServerSecond { shards: vec![shard] });
            Interval { measured, server, ..Interval::default() }
        };
        let intervals = [
            second(false, Some(999_999), Some(9)),
            second(true, Some(300_000), Some(1)),
            second(true, Some(500_000), None),
            Interval { measured: true, ..Interval::default() },
        ];
        let figures = Figures { intervals: &intervals, ..Figures::default() };
        assert_eq!(value(&figures, "server.busy_max_ppm"), Some(500_000));
        assert_eq!(value(&figures, "server.ticks_overrun"), Some(1));
        assert_eq!(value(&figures, "server.tick_p99_max_us"), None);
    }

    #[test]
    fn rates_are_over_what_was_measured() {
        let counters = Counters { messages_received: 3_000, ..Counters::default() };
        let figures =
            Figures { counters: Some(&counters), measured_us: 1_500_000, ..Figures::default() };
        assert_eq!(value(&figures, "messages_per_s"), Some(2_000));
    }
}
