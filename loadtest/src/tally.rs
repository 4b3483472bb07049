//! What was measured: histograms of microseconds and counters, all of which add up.
//!
//! Every thread fills its own [`Tally`] and hands it over once a second; sums over threads and
//! seconds are again a tally. Nothing here reads a clock.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{
    Deserializer as HdrReader, Serializer as _, V2DeflateSerializer,
};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tickloom_protocol::time::Timestamp;

/// Longest time a histogram tells apart; what is longer counts as this. Two minutes is far past
/// every deadline of the protocol.
const TIME_US_MAX: u64 = 120_000_000;

/// Significant digits of a recorded time. Three keep the error below 0.1 % in 150 KiB.
const TIME_DIGITS: u8 = 3;

/// Error samples kept per kind; the count goes on.
const SAMPLE_BYTES_MAX: usize = 200;

/// The stretch of time that is measured: what happens in it counts, the ramp before it and the
/// drain after it do not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// The first moment that counts.
    #[serde(with = "Micros")]
    pub from: Timestamp,
    /// The first moment that no longer counts.
    #[serde(with = "Micros")]
    pub until: Timestamp,
}

/// How a moment is told to another process of this machine, which has the same clock.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Timestamp")]
pub(crate) struct Micros(u64);

impl Window {
    /// No moment counts: it is not decided yet when measuring begins.
    pub const UNDECIDED: Self = Self { from: Timestamp(u64::MAX), until: Timestamp(u64::MAX) };

    /// Whether `at` counts.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.until
    }

    /// Whether measuring has begun at `at`.
    #[must_use]
    pub fn has_begun(&self, at: Timestamp) -> bool {
        self.from <= at
    }
}

/// A distribution of times in microseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, TIME_US_MAX, TIME_DIGITS);
        Self(histogram.expect("the bounds are constants that fit each other"))
    }
}

impl Times {
    /// Adds one time.
    #[inline]
    pub fn record(&mut self, time_us: u64) {
        self.0.saturating_record(time_us);
    }

    /// Adds how long after `earlier` `later` is; nothing when it is not.
    #[inline]
    pub fn record_between(&mut self, earlier: Timestamp, later: Timestamp) {
        self.record(later.0.saturating_sub(earlier.0));
    }

    /// Adds everything `other` holds.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// How many times were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that `quantile` (0 to 1) of all times do not exceed; 0 without any.
    #[must_use]
    pub fn quantile_us(&self, quantile: f64) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(quantile) }
    }

    /// The largest time; 0 without any.
    #[must_use]
    pub fn max_us(&self) -> u64 {
        self.0.max()
    }

    /// The usual quantiles.
    #[must_use]
    pub fn summary(&self) -> Summary {
        if self.0.is_empty() {
            return Summary::default();
        }
        Summary {
            min: self.0.min(),
            mean: self.0.mean() as u64,
            p50: self.quantile_us(0.5),
            p90: self.quantile_us(0.9),
            p95: self.quantile_us(0.95),
            p99: self.quantile_us(0.99),
            p999: self.quantile_us(0.999),
            p9999: self.quantile_us(0.9999),
            max: self.0.max(),
            count: self.0.len(),
        }
    }
}

/// The compressed form that HdrHistogram's other implementations read too, in base64.
impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(S::Error::custom)?;
        serializer.serialize_str(&BASE64.encode(&bytes))
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text.as_bytes()).map_err(D::Error::custom)?;
        let theirs: Histogram<u64> =
            HdrReader::new().deserialize(&mut bytes.as_slice()).map_err(D::Error::custom)?;
        let mut times = Self::default();
        times.0.add(&theirs).map_err(D::Error::custom)?;
        Ok(times)
    }
}

/// A distribution's quantiles, in microseconds. All zero when `count` is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Summary {
    /// The smallest.
    pub min: u64,
    /// The mean.
    pub mean: u64,
    /// The median.
    pub p50: u64,
    /// 90 % are at most this.
    pub p90: u64,
    /// 95 % are at most this.
    pub p95: u64,
    /// 99 % are at most this.
    pub p99: u64,
    /// 99.9 % are at most this.
    pub p999: u64,
    /// 99.99 % are at most this.
    pub p9999: u64,
    /// The largest.
    pub max: u64,
    /// How many there were.
    pub count: u64,
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything that is counted.
        #[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
        pub struct Counters { $($(#[$doc])* pub $name: u64,)* }

        impl Counters {
            /// Every count with its name.
            #[must_use]
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }

            /// Adds everything `other` counted.
            pub fn add(&mut self, other: &Self) { $(self.$name += other.$name;)* }
        }
    };
}

counters! {
    /// Clients whose upgrade went through.
    clients_connected,
    /// Clients that got a seat and a first snapshot.
    clients_joined,
    /// Clients that ended before they had both.
    clients_failed,
    /// Deltas, catch-ups and snapshots that arrived in the window, whatever became of them.
    deltas_received,
    /// Of those, the ones that moved a replica on.
    deltas_applied,
    /// Hash chunks that matched, over the whole run.
    hashes_checked,
    /// Views of rooms with interest, one for each client that stayed to the end.
    views_counted,
    /// Cells with somebody in them, of all these views.
    view_cells,
    /// Entities of all these views.
    view_entities,
    /// Deltas after which a replica was not equal to its room, over the whole run.
    hash_mismatches,
    /// Deltas that started from a tick the replica did not have, over the whole run.
    gaps,
    /// Deltas whose chunks could not be read, over the whole run.
    malformed,
    /// Deltas for a tick the replica had already, over the whole run.
    duplicates,
    /// Deltas passed over while a resync was under way, over the whole run.
    ignored_awaiting,
    /// Snapshots that answered a resync.
    resyncs,
    /// Snapshots after the first that nobody asked for.
    snapshots_unasked,
    /// Deltas that cover more than one send interval.
    catch_ups,
    /// Send intervals that a catch-up or an unasked snapshot covered in passing.
    conflated,
    /// Deltas applied before their tick was due, which only a wrong clock can explain.
    applied_before_due,
    /// Times a server moved a room's clock because it fell behind, as seen by clients.
    clock_slips,
    /// Messages of a kind this version does not know.
    unknown_messages,
    /// Clients for which there is no such room type, or no component, field or topic they look up
    /// by name.
    names_missing,
    /// Clients that began to connect, replacements included.
    clients_begun,
    /// Of those, the ones that were taken back before they had a seat and a snapshot.
    clients_withdrawn,
    /// Inputs sent that were meant for the window.
    inputs_sent,
    /// Of those, the ones that were acknowledged.
    inputs_acked,
    /// Of those, the ones that were not acknowledged when the run ended.
    inputs_unacked,
    /// Deltas in the window that told a player whether its inputs were in time.
    margins_told,
    /// Of those, the ones before which an input waited for its tick.
    margins_positive,
    /// Inputs, writes and publications left out because the generator was more than a second late.
    inputs_skipped,
    /// The same, because the server did not take the bytes of earlier ones.
    inputs_blocked,
    /// Writes that asked for no answer, over the whole run: cursors.
    moves_sent,
    /// Writes and publications sent that were meant for the window and asked for an answer.
    ops_sent,
    /// Of those, the ones the room accepted.
    ops_accepted,
    /// Of those, the ones the room refused.
    ops_refused,
    /// Of those, the ones that somebody else's write came before, as their condition says.
    ops_conflicts,
    /// Of those, the ones without an answer when the run ended.
    ops_unanswered,
    /// Accepted writes that were looked for in the state they were promised for, over the whole
    /// run.
    writes_checked,
    /// Of those, the ones that were not there.
    writes_missing,
    /// Accepted writes whose state did not come until the run ended.
    writes_unseen,
    /// Publications meant for the window that came, at every receiver.
    events_received,
    /// Events that rooms announced as lost, over the whole run, at every receiver that does not
    /// read slowly.
    events_lost,
    /// Events that are missing in a room's count without an announcement, or the reverse.
    events_unannounced,
    /// Publications that came twice, over the whole run.
    events_doubled,
    /// Publications that came after a later one of their sender, over the whole run.
    events_overtaken,
    /// Events that are not ours, over the whole run.
    events_foreign,
    /// Times a slow reader was brought to a newer state at once, over the whole run.
    slow_catch_ups,
    /// Events that rooms announced as lost to slow readers, over the whole run.
    slow_lost,
    /// Slow readers whose connection the server closed with 1013.
    slow_closed,
    /// Clients that left in the middle of the run, on purpose.
    churn_leaves,
    /// Clients that came in their place and got a seat and a snapshot.
    churn_joins,
    /// Connections that were cut on purpose or given up.
    drops_cut,
    /// Of those, the ones whose client got its seat back.
    drops_resumed,
    /// Of those that were resumed, the ones to which nothing that was said is missing.
    drops_recovered,
    /// Of those that were cut, the ones whose client did not get its seat back: somebody else came.
    drops_refused,
    /// Attempts to come back that failed and were made again.
    drops_retries,
    /// Of those that were resumed, the ones that were brought up to date by a snapshot.
    drops_snapshots,
    /// Events that rooms announced as lost to those who came back.
    drops_lost,
    /// Inputs, writes and publications that a cut connection left without an answer.
    drops_unanswered,
    /// Times a client said that nobody sees it.
    hidden_times,
    /// States it was sent all the same.
    hidden_states,
    /// Times it was seen again and got its state.
    hidden_returns,
    /// Times it left or was cut off before.
    hidden_left,
    /// Seats in rooms that were made on request, of those asked for in the window.
    lobby_created,
    /// Seats in rooms that were asked for by their code, likewise.
    lobby_by_code,
    /// Seats in rooms that were searched for, likewise.
    lobby_found,
    /// Rooms that were made, on request or because nobody had one to be found, likewise.
    lobby_rooms_made,
    /// Times a room's code was asked for and the room was full, likewise.
    lobby_full,
    /// Times it was locked, likewise.
    lobby_locked,
    /// Times it was private and the password wrong, likewise.
    lobby_private,
    /// Times it was no more, likewise.
    lobby_gone,
    /// Times a host locked its room, over the whole run.
    lobby_locks,
    /// Seats in another room than the one that was asked for, over the whole run.
    lobby_strayed,
    /// Seats in rooms that were locked, full or private, over the whole run.
    lobby_let_in,
    /// Refusals by rooms that were open and had seats, over the whole run.
    lobby_kept_out,
    /// Rooms asked for, left, locked or unlocked without an answer when the run ended.
    lobby_unanswered,
    /// TLS handshakes with certificate and key exchange, over the whole run.
    tls_full,
    /// TLS handshakes by the ticket of a connection before, over the whole run.
    tls_resumed,
    /// Messages sent in the window, or meant to be.
    messages_sent,
    /// Of those, the ones that came back right; of a broadcast, those that came to others.
    messages_received,
    /// Of those of a broadcast, the ones that came to their sender, too.
    messages_to_sender,
    /// Of those, the ones that did not come back until the run ended.
    messages_lost,
    /// Messages that came back changed, twice or out of order, over the whole run.
    messages_wrong,
    /// Messages that are not ours, over the whole run: greetings, notices.
    messages_foreign,
    /// Messages that came as text but were sent as binary or the reverse, over the whole run.
    messages_changed_kind,
    /// Messages left out because the generator was more than a second late.
    messages_skipped,
    /// Messages left out because the server was too far behind with earlier ones.
    messages_blocked,
    /// Messages that came compressed in the window.
    messages_inflated,
    /// Bytes of their payloads as they came.
    inflated_bytes_before,
    /// Bytes of what they stand for.
    inflated_bytes_after,
    /// Bytes read from sockets in the window.
    bytes_down,
    /// Bytes written to sockets in the window.
    bytes_up,
}

impl Counters {
    /// The share of ticks that found an input of their player's waiting, in parts of a million.
    #[must_use]
    pub fn on_time_ppm(&self) -> Option<u64> {
        (self.margins_positive * 1_000_000).checked_div(self.margins_told)
    }

    /// Seats taken in rooms by clients that go from one to the next.
    #[must_use]
    pub fn lobby_joins(&self) -> u64 {
        self.lobby_created + self.lobby_by_code + self.lobby_found
    }

    /// Times they were not let in, for a reason.
    #[must_use]
    pub fn lobby_refusals(&self) -> u64 {
        self.lobby_full + self.lobby_locked + self.lobby_private + self.lobby_gone
    }
}

/// How often something happened, with the first example.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Occurrences {
    /// How often.
    pub count: u64,
    /// What the first one said.
    pub sample: String,
}

/// Occurrences by kind.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Kinds(pub BTreeMap<String, Occurrences>);

impl Kinds {
    /// Counts one, keeping `sample` when it is the first of its kind.
    pub fn count(&mut self, kind: &str, sample: &str) {
        match self.0.get_mut(kind) {
            Some(occurrences) => occurrences.count += 1,
            None => {
                let sample: String = sample.chars().take(SAMPLE_BYTES_MAX).collect();
                self.0.insert(kind.to_owned(), Occurrences { count: 1, sample });
            }
        }
    }

    /// Adds everything `other` counted.
    pub fn add(&mut self, other: &Self) {
        for (kind, theirs) in &other.0 {
            let sample = || Occurrences { count: 0, sample: theirs.sample.clone() };
            self.0.entry(kind.clone()).or_insert_with(sample).count += theirs.count;
        }
    }

    /// All occurrences of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().map(|occurrences| occurrences.count).sum()
    }
}

/// Everything measured by one thread in one stretch of time, or by all of them in a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// TCP connect to upgrade, of every client.
    pub connect: Times,
    /// Join to first snapshot, of every client.
    pub join: Times,
    /// How old the newest state at a client is, sampled at 100 Hz per client: a stall counts for
    /// its full length.
    pub state_age: Times,
    /// From when a connection was cut to when its client has the room's newest state again.
    pub resume: Times,
    /// From when a client said that it is seen again to when it has the room's newest state.
    pub wake: Times,
    /// From when a tick was due to when its delta was applied; of a broadcast, from when a message
    /// or a publication was meant to be sent to when a receiver has it.
    pub delivery: Times,
    /// From when a message was meant to be sent to when it came back.
    pub rtt: Times,
    /// From when an input was meant to happen to the first delta that acknowledges it; a write, to
    /// the state that shows it; a publication, to its answer.
    pub input_ack: Times,
    /// The age of state of clients that read slowly, which `state_age` leaves out.
    pub slow_age: Times,
    /// The delivery of events to clients that read slowly, which `delivery` leaves out.
    pub slow_delivery: Times,
    /// How far two consecutive deltas are from one send interval apart.
    pub tick_jitter: Times,
    /// How late the generator sent inputs.
    pub sched_lag: Times,
    /// Everything that is counted.
    pub counters: Counters,
    /// Connections that ended although nobody here ended them, by close code.
    pub closes: Kinds,
    /// What the server refused, by code.
    pub refusals: Kinds,
    /// What failed before or below the protocol, by kind.
    pub errors: Kinds,
}

impl Tally {
    /// Adds everything `other` holds.
    pub fn add(&mut self, other: &Self) {
        self.connect.add(&other.connect);
        self.join.add(&other.join);
        self.resume.add(&other.resume);
        self.wake.add(&other.wake);
        self.state_age.add(&other.state_age);
        self.delivery.add(&other.delivery);
        self.rtt.add(&other.rtt);
        self.input_ack.add(&other.input_ack);
        self.slow_age.add(&other.slow_age);
        self.slow_delivery.add(&other.slow_delivery);
        self.tick_jitter.add(&other.tick_jitter);
        self.sched_lag.add(&other.sched_lag);
        self.counters.add(&other.counters);
        self.closes.add(&other.closes);
        self.refusals.add(&other.refusals);
        self.errors.add(&other.errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_over_threads() {
        let (mut left, mut right) = (Times::default(), Times::default());
        (1..=50).for_each(|ms| left.record(ms * 1000));
        (51..=100).for_each(|ms| right.record(ms * 1000));
        left.add(&right);
        let summary = left.summary();
        assert_eq!(summary.count, 100);
        for (name, value_us, expected_us) in [
            ("p50", summary.p50, 50_000),
            ("p99", summary.p99, 99_000),
            ("max", summary.max, 100_000),
        ] {
            let error_us: u64 = value_us.abs_diff(expected_us);
            assert!(error_us * 1000 <= expected_us, "{name} is {value_us}");
        }
        assert_eq!(Times::default().summary(), Summary::default());
    }

    #[test]
    fn a_tally_survives_the_way_from_one_process_to_another() {
        let mut tally = Tally::default();
        let times_us = [0, 1, 999, 1_000_000, TIME_US_MAX, 10 * TIME_US_MAX];
        times_us.into_iter().for_each(|us| tally.rtt.record(us));
        tally.counters.messages_sent = 7;
        tally.closes.count("1006", "gone");
        let line = serde_json::to_string(&tally).expect("JSON");
        let back: Tally = serde_json::from_str(&line).expect("the same JSON");
        assert_eq!(back.rtt.summary(), tally.rtt.summary());
        assert_eq!((back.counters, back.closes), (tally.counters, tally.closes));
        assert_eq!(back.state_age.count(), 0);
        // An empty second of all histograms has to stay small: it is sent by every thread.
        assert!(line.len() < 4096, "{} bytes", line.len());
    }

    #[test]
    fn kinds_keep_the_first_sample() {
        let (mut left, mut right) = (Kinds::default(), Kinds::default());
        left.count("1006", "first");
        right.count("1006", "second");
        right.count("1013", "slow");
        left.add(&right);
        assert_eq!((left.total(), left.0["1006"].sample.as_str()), (3, "first"));
    }
}
