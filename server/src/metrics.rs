//! What a shard counts: plain integers and histograms that only their thread touches.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tickloom_protocol::close::CloseReason;

/// Counters and histograms of one shard, since it started.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Connections accepted or adopted.
    pub sessions_opened: u64,
    /// Connections ended or handed on.
    pub sessions_closed: u64,
    /// Requests that became WebSockets.
    pub upgrades: u64,
    /// Requests answered in plain HTTP.
    pub http_requests: u64,
    /// Heads answered with an error.
    pub heads_refused: u64,
    /// Messages decoded.
    pub messages: u64,
    /// Messages of a kind this version does not know.
    pub messages_unknown: u64,
    /// Inputs that reached a room.
    pub inputs: u64,
    /// Writes and publications that took effect.
    pub ops: u64,
    /// Seats given.
    pub joins: u64,
    /// Joins and other requests refused.
    pub refusals: u64,
    /// Snapshots asked for by clients whose replica broke.
    pub resyncs: u64,
    /// Close frames sent, by code.
    pub closes: BTreeMap<u16, u64>,
    /// Ticks of all rooms.
    pub ticks: u64,
    /// Ticks that began later than a whole step.
    pub ticks_overrun: u64,
    /// Times a room's clock slipped.
    pub slips: u64,
    /// Rooms that could not go on.
    pub rooms_failed: u64,
    /// How late ticks began, in microseconds.
    pub tick_lateness_us: Histogram<u32>,
    /// How long one room's tick took, encoding included, in microseconds. Filled by the edge,
    /// which has the clock.
    pub tick_duration_us: Histogram<u32>,
}

/// Longest duration a histogram tells apart from longer ones: a minute.
const DURATION_US_MAX: u64 = 60_000_000;

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || {
            Histogram::new_with_bounds(1, DURATION_US_MAX, 3).expect("three digits up to a minute")
        };
        Self {
            sessions_opened: 0,
            sessions_closed: 0,
            upgrades: 0,
            http_requests: 0,
            heads_refused: 0,
            messages: 0,
            messages_unknown: 0,
            inputs: 0,
            ops: 0,
            joins: 0,
            refusals: 0,
            resyncs: 0,
            closes: BTreeMap::new(),
            ticks: 0,
            ticks_overrun: 0,
            slips: 0,
            rooms_failed: 0,
            tick_lateness_us: histogram(),
            tick_duration_us: histogram(),
        }
    }
}

impl Metrics {
    /// Counts a close frame.
    pub fn count_close(&mut self, reason: &CloseReason) {
        *self.closes.entry(reason.code()).or_default() += 1;
    }

    /// Adds a duration to one of the histograms.
    pub fn record(histogram: &mut Histogram<u32>, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        histogram.saturating_record(micros.min(DURATION_US_MAX));
    }
}
