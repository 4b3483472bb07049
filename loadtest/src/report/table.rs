//! A run second by second, as lines: what the clients saw, and beside it what the server says.

use std::fmt::Write;

use super::text::{percent, short, thousands};
use crate::driver::Interval;
use crate::plan::Headline;
use crate::server_view::ServerSecond;

/// Lines between two heads.
const LINES_PER_HEAD: u32 = 20;

/// Shards whose busy share has a place of its own; of more, the range is shown.
const SHARDS_SHOWN_MAX: usize = 4;

/// The lines of one run.
#[derive(Clone, Debug)]
pub struct Table {
    headline: Headline,
    /// Lines since the last head; `None` before the first.
    lines_count: Option<u32>,
    /// Whether the last head has the server's columns.
    has_view: bool,
}

impl Table {
    /// A table without lines.
    #[must_use]
    pub fn new(headline: Headline) -> Self {
        Self { headline, lines_count: None, has_view: false }
    }

    /// One second as a line, with a head before it when one is due.
    pub fn lines(&mut self, second: &Interval) -> Vec<String> {
        let mut lines = Vec::new();
        let has_view = self.has_view || second.server.is_some();
        let is_due = self.lines_count.is_none_or(|count| count >= LINES_PER_HEAD);
        if is_due || has_view != self.has_view {
            self.has_view = has_view;
            self.lines_count = Some(0);
            lines.push(self.head());
        }
        self.lines_count = self.lines_count.map(|count| count + 1);
        lines.push(self.line(second));
        lines
    }

    fn head(&self) -> String {
        let clients = match self.headline {
            Headline::StateAge => "state_age p50/p99    input_ack p99  rx msg/s  rx Mb/s  tx msg/s",
            Headline::Events => "delivery p50/p99     input_ack p99     msg/s  rx Mb/s  tx msg/s",
            Headline::Lobby => "join p50/p99        joins/s  rooms/s   refused  rx Mb/s",
            Headline::RoundTrip => "rtt p50/p99           msg/s  rx Mb/s  tx msg/s",
            Headline::Delivery => "delivery p50/p99      msg/s  rx Mb/s  tx msg/s",
        };
        let view = if self.has_view {
            "  | srv busy    tick p99  overruns  queued kB  lagging"
        } else {
            ""
        };
        format!("    t   conns  {clients}  errs  gen lag p99  srv cpu    srv rss{view}")
    }

    fn line(&self, second: &Interval) -> String {
        let mut line =
            format!("{:>4}s  {:>6}", second.t_us.div_ceil(1_000_000), thousands(second.playing));
        if second.measured {
            line.push_str(&self.clients(second));
        } else {
            let width = self.clients(second).chars().count();
            let _ = write!(line, "  {:<width$}", "not measured", width = width - 2);
        }
        let lag_ms = second.sched_lag_p99_us as f64 / 1e3;
        let lag = if second.measured { format!("{lag_ms:>8.2} ms") } else { " ".repeat(11) };
        // Writing to a string does not fail.
        let _ = write!(line, "  {:>4}  {lag}  {}", second.errors, process(second));
        if self.has_view {
            let _ = write!(line, "  | {}", second.server.as_ref().map_or(String::new(), view));
        }
        line.trim_end().to_owned()
    }

    fn clients(&self, second: &Interval) -> String {
        let times = |p50_us: u64, p99_us: u64| {
            format!("  {:>6.2} / {:<6.2} ms", p50_us as f64 / 1e3, p99_us as f64 / 1e3)
        };
        let mbit = second.bytes_down as f64 * 8.0 / 1e6;
        let (times, received, sent) = match self.headline {
            Headline::StateAge => (
                times(second.state_age_p50_us, second.state_age_p99_us),
                second.deltas_received,
                second.inputs_sent,
            ),
            Headline::Events => (
                times(second.delivery_p50_us, second.delivery_p99_us),
                second.events_received,
                second.ops_sent,
            ),
            Headline::Lobby => (
                times(second.join_p50_us, second.join_p99_us),
                second.lobby_joins,
                second.lobby_refusals,
            ),
            Headline::RoundTrip => (
                times(second.rtt_p50_us, second.rtt_p99_us),
                second.messages_received,
                second.messages_sent,
            ),
            Headline::Delivery => (
                times(second.delivery_p50_us, second.delivery_p99_us),
                second.messages_received,
                second.messages_sent,
            ),
        };
        let (received, sent) = (short(received), short(sent));
        match self.headline {
            Headline::StateAge | Headline::Events => format!(
                "{times}   {:>8.1} ms    {received:>8}  {mbit:>7.1}  {sent:>8}",
                second.input_ack_p99_us as f64 / 1e3,
            ),
            Headline::Lobby => {
                let made = short(second.lobby_rooms_made);
                format!("{times} {received:>8}  {made:>7}  {sent:>8}  {mbit:>7.1}")
            }
            Headline::RoundTrip | Headline::Delivery => {
                format!("{times} {received:>8}  {mbit:>7.1}  {sent:>8}")
            }
        }
    }
}

fn process(second: &Interval) -> String {
    if second.server_resident_bytes == 0 {
        return format!("{:>7}  {:>9}", "-", "-");
    }
    let rss_mib = second.server_resident_bytes as f64 / f64::from(1 << 20);
    format!("{:>7}  {rss_mib:>5.1} MiB", percent(second.server_core_ppm))
}

fn view(second: &ServerSecond) -> String {
    let or_dash = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let whole = |ppm: u64| (ppm + 5_000) / 10_000;
    let busy: Vec<u64> = second.busy_ppm().map(whole).collect();
    let busy = match (&busy[..], busy.iter().min(), busy.iter().max()) {
        (_, Some(least), Some(most)) if busy.len() > SHARDS_SHOWN_MAX => format!("{least}-{most}%"),
        ([], ..) => "-".to_owned(),
        (shares, ..) => {
            shares.iter().map(|share| format!("{share}%")).collect::<Vec<_>>().join(" ")
        }
    };
    let tick = second.tick_p99_us_max().map(|us| format!("{:.2} ms", us as f64 / 1e3));
    format!(
        "{busy:<10}  {:>8}  {:>8}  {:>9}  {:>7}",
        or_dash(tick),
        or_dash(second.ticks_overrun().map(|count| count.to_string())),
        or_dash(second.queued_bytes().map(|bytes| (bytes / 1000).to_string())),
        or_dash(second.members_lagging_count().map(|count| count.to_string())),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_view::ShardSecond;

    fn second(server: Option<ServerSecond>) -> Interval {
        Interval { t_us: 1_000_000, measured: true, playing: 5, server, ..Interval::default() }
    }

    fn seen(shards: usize) -> Option<ServerSecond> {
        let shard = ShardSecond {
            busy_ppm: Some(614_999),
            tick_p99_us: Some(4_100),
            tick_late_p99_us: Some(90),
            ticks_overrun: Some(3),
            queued_bytes: None,
            members_lagging_count: Some(0),
            rooms_count: Some(9),
        };
        Some(ServerSecond { shards: vec![shard; shards] })
    }

    #[test]
    fn a_head_comes_first_every_twenty_lines_and_when_the_server_begins_to_speak() {
        let mut table = Table::new(Headline::StateAge);
        let heads: Vec<usize> = (0..50)
            .filter(|at| table.lines(&second((*at == 30).then(|| seen(1)).flatten())).len() == 2)
            .collect();
        assert_eq!(heads, [0, 20, 30]);
    }

    #[test]
    fn the_servers_columns_stand_beside_the_clients() {
        for (shards, busy) in [(1, "61% "), (2, "61% 61% "), (8, "61-61% ")] {
            let lines = Table::new(Headline::RoundTrip).lines(&second(seen(shards)));
            assert!(lines[0].contains("| srv busy"), "{lines:?}");
            let (_, view) = lines[1].split_once("| ").expect("the server's columns");
            assert!(view.starts_with(busy) && view.contains("4.10 ms"), "{lines:?}");
            assert_eq!(view.split_whitespace().rev().nth(1), Some("-"), "{lines:?}");
        }
    }

    #[test]
    fn columns_stand_below_their_heads() {
        for headline in [
            Headline::StateAge,
            Headline::Events,
            Headline::Lobby,
            Headline::RoundTrip,
            Headline::Delivery,
        ] {
            let mut table = Table::new(headline);
            let measured = table.lines(&second(seen(1)));
            let unmeasured = table.lines(&Interval { measured: false, ..second(seen(1)) });
            let bar = |line: &String| line.chars().position(|c| c == '|');
            assert_eq!(bar(&measured[0]), bar(&measured[1]), "{measured:#?}");
            assert_eq!(bar(&measured[0]), bar(&unmeasured[0]), "{measured:#?} {unmeasured:#?}");
        }
    }
}
