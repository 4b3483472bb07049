//! The server's own view of a second, beside the clients': what its `/stats.json` says, of two
//! looks what lies between them. Pure; the driver does the asking.
//!
//! Every field may be missing. A server that knows less, or nothing, leaves holes in the report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most shards taken from one answer: more than any machine has cores.
const SHARDS_MAX: usize = 1024;

/// One look at a server: its counters so far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ServerLook {
    /// The server's version.
    pub version: Option<String>,
    shards: Vec<ShardLook>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(default)]
struct ShardLook {
    /// When the numbers are from, on the server's clock.
    published_us: Option<u64>,
    /// Since the shard started.
    busy_us: Option<u64>,
    /// Since the shard started.
    ticks_overrun: Option<u64>,
    /// Of the last second.
    tick_duration_p99_us: Option<u64>,
    /// Of the last second.
    tick_lateness_p99_us: Option<u64>,
    /// At this moment.
    outbox_bytes: Option<u64>,
    /// At this moment.
    members_lagging_count: Option<u64>,
    /// At this moment.
    rooms_count: Option<u64>,
}

/// What the server says about one second.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServerSecond {
    /// Each shard, by its index.
    pub shards: Vec<ShardSecond>,
}

/// What one shard says about one second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ShardSecond {
    /// Share of the time it was busy, in parts of a million.
    pub busy_ppm: Option<u64>,
    /// 99th percentile of the durations of its rooms' ticks.
    pub tick_p99_us: Option<u64>,
    /// 99th percentile of how late its rooms' ticks began.
    pub tick_late_p99_us: Option<u64>,
    /// Ticks that began later than a whole step.
    pub ticks_overrun: Option<u64>,
    /// Bytes queued for clients, at the second's end.
    pub queued_bytes: Option<u64>,
    /// Members that get no state until their queue has drained, at the second's end.
    pub members_lagging_count: Option<u64>,
    /// Rooms at the second's end, empty ones that linger included.
    pub rooms_count: Option<u64>,
}

impl ServerLook {
    /// Reads the body of an answer; `None` when it says nothing about shards.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let mut look: Self = serde_json::from_slice(body).ok()?;
        look.shards.truncate(SHARDS_MAX);
        (!look.shards.is_empty()).then_some(look)
    }

    /// Rooms of all shards.
    #[must_use]
    pub fn rooms_count(&self) -> Option<u64> {
        sum(self.shards.iter().map(|shard| shard.rooms_count))
    }

    /// What happened since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> ServerSecond {
        let between = |(index, now): (usize, &ShardLook)| {
            let then = before.shards.get(index).cloned().unwrap_or_default();
            let wall_us = difference(then.published_us, now.published_us);
            let busy_us = difference(then.busy_us, now.busy_us);
            ShardSecond {
                busy_ppm: busy_us.zip(wall_us).and_then(|(busy_us, wall_us)| {
                    Some((busy_us.saturating_mul(1_000_000)).checked_div(wall_us)?.min(1_000_000))
                }),
                tick_p99_us: now.tick_duration_p99_us,
                tick_late_p99_us: now.tick_lateness_p99_us,
                ticks_overrun: difference(then.ticks_overrun, now.ticks_overrun),
                queued_bytes: now.outbox_bytes,
                members_lagging_count: now.members_lagging_count,
                rooms_count: now.rooms_count,
            }
        };
        ServerSecond { shards: self.shards.iter().enumerate().map(between).collect() }
    }
}

impl ServerSecond {
    /// The busy share of every shard that says it.
    pub fn busy_ppm(&self) -> impl Iterator<Item = u64> {
        self.shards.iter().filter_map(|shard| shard.busy_ppm)
    }

    /// The slowest shard's ticks.
    #[must_use]
    pub fn tick_p99_us_max(&self) -> Option<u64> {
        self.shards.iter().filter_map(|shard| shard.tick_p99_us).max()
    }

    /// How late the ticks of the latest shard began.
    #[must_use]
    pub fn tick_late_p99_us_max(&self) -> Option<u64> {
        self.shards.iter().filter_map(|shard| shard.tick_late_p99_us).max()
    }

    /// Late ticks of all shards.
    #[must_use]
    pub fn ticks_overrun(&self) -> Option<u64> {
        sum(self.shards.iter().map(|shard| shard.ticks_overrun))
    }

    /// Bytes queued by all shards.
    #[must_use]
    pub fn queued_bytes(&self) -> Option<u64> {
        sum(self.shards.iter().map(|shard| shard.queued_bytes))
    }

    /// Rooms of all shards.
    #[must_use]
    pub fn rooms_count(&self) -> Option<u64> {
        sum(self.shards.iter().map(|shard| shard.rooms_count))
    }

    /// Lagging members of all shards.
    #[must_use]
    pub fn members_lagging_count(&self) -> Option<u64> {
        sum(self.shards.iter().map(|shard| shard.members_lagging_count))
    }
}

fn difference(before: Option<u64>, now: Option<u64>) -> Option<u64> {
    // A counter that fell belongs to a server that was started anew.
    now?.checked_sub(before?)
}

fn sum(numbers: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    numbers.flatten().reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(body: &str) -> ServerLook {
        ServerLook::parse(body.as_bytes()).expect("a look")
    }

    #[test]
    fn two_looks_make_a_second_and_unknown_fields_do_not_matter() {
        let before = look(
            r#"{"version":"1","at_us":1,"shards":[
                {"shard":0,"published_us":1000000,"busy_us":100,"ticks_overrun":5},
                {"published_us":1000000,"busy_us":0,"activity":"polling"}]}"#,
        );
        let after = look(
            r#"{"shards":[
                {"published_us":3000000,"busy_us":1000100,"ticks_overrun":7,"outbox_bytes":70,
                 "tick_duration_p99_us":900,"members_lagging_count":2},
                {"published_us":2000000,"busy_us":250000,"outbox_bytes":1,
                 "tick_duration_p99_us":1200,"tick_lateness_p99_us":800}]}"#,
        );
        let second = after.since(&before);
        assert_eq!(second.busy_ppm().collect::<Vec<_>>(), [500_000, 250_000]);
        assert_eq!(second.tick_p99_us_max(), Some(1_200));
        assert_eq!(second.tick_late_p99_us_max(), Some(800));
        assert_eq!((second.ticks_overrun(), second.queued_bytes()), (Some(2), Some(71)));
        assert_eq!(second.members_lagging_count(), Some(2));
    }

    #[test]
    fn what_is_missing_or_went_backwards_is_a_hole() {
        let rows = [
            ("nothing known", r#"{"shards":[{}]}"#, r#"{"shards":[{}]}"#),
            (
                "a new server",
                r#"{"shards":[{"published_us":9,"busy_us":9,"ticks_overrun":9}]}"#,
                r#"{"shards":[{"published_us":1,"busy_us":1,"ticks_overrun":1}]}"#,
            ),
            (
                "the same moment",
                r#"{"shards":[{"published_us":9,"busy_us":9}]}"#,
                r#"{"shards":[{"published_us":9,"busy_us":9}]}"#,
            ),
            (
                "a shard that was not there",
                r#"{"shards":[]  ,"x":1}"#,
                r#"{"shards":[{"published_us":9,"busy_us":9}]}"#,
            ),
        ];
        for (name, before, after) in rows {
            let before = ServerLook::parse(before.as_bytes()).unwrap_or_default();
            let second = look(after).since(&before);
            assert_eq!(second.shards, [ShardSecond::default()], "{name}");
        }
        for body in ["", "ok\n", "[]", "{}", r#"{"shards":7}"#, r#"{"shards":[{"busy_us":"x"}]}"#] {
            assert_eq!(ServerLook::parse(body.as_bytes()), None, "{body}");
        }
    }
}
