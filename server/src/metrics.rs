//! What a shard counts: plain integers and histograms that only their thread touches.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tickloom_protocol::close::CloseReason;

use crate::buckets::Buckets;

/// Counters and histograms of one shard, since it started.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections accepted or adopted.
    pub sessions_opened: u64,
    /// Connections ended or handed on.
    pub sessions_closed: u64,
    /// Requests that became WebSockets.
    pub upgrades: u64,
    /// Connections handed to the HTTP thread.
    pub handed_over: u64,
    /// Heads answered with an error.
    pub heads_refused: u64,
    /// Upgrades that a page of somebody else's asked for.
    pub origins_refused: u64,
    /// TLS handshakes with certificate and key exchange.
    pub handshakes_full: u64,
    /// TLS handshakes by the ticket of a connection before.
    pub handshakes_resumed: u64,
    /// TLS handshakes that failed or took too long.
    pub handshakes_failed: u64,
    /// Messages decoded.
    pub messages: u64,
    /// Messages of a kind this version does not know.
    pub messages_unknown: u64,
    /// Inputs that reached a room.
    pub inputs: u64,
    /// Inputs that were dropped: too old, too far ahead, or to make place for newer ones.
    pub inputs_dropped: u64,
    /// Writes and publications that took effect.
    pub ops: u64,
    /// Times a session was not read for a while because it was ahead of its rates.
    pub pauses: u64,
    /// Sessions closed because they were too far ahead of their rates.
    pub rate_limited: u64,
    /// Seats given.
    pub joins: u64,
    /// Joins and other requests refused.
    pub refusals: u64,
    /// Snapshots asked for by clients whose replica broke.
    pub resyncs: u64,
    /// Members that a host or a room's logic sent away.
    pub kicks: u64,
    /// Seats that were kept for somebody with a token.
    pub seats_reserved: u64,
    /// Members whose connection broke and whose seat was kept.
    pub drops: u64,
    /// Members that came back to their seat.
    pub resumes: u64,
    /// Those of them that missed nothing.
    pub resumes_recovered: u64,
    /// Those of them whose connection before still looked alive.
    pub takeovers: u64,
    /// Seats taken back because nobody came in time.
    pub graces_expired: u64,
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
    /// Recordings of rooms begun.
    pub recordings: u64,
    /// Recordings that ended before their room.
    pub recordings_stopped: u64,
    /// New work turned away, by kind.
    sheds: [u64; Shed::ALL.len()],
    /// Connections that took everything and were closed by both ends after the stop began.
    pub stopped_in_order: u64,
    /// Connections that ended otherwise after the stop began.
    pub stopped_cut: u64,
    /// How late ticks began, in microseconds.
    pub tick_lateness_us: Durations,
    /// How long one room's tick took, encoding included, in microseconds. Filled by the edge,
    /// which has the clock.
    pub tick_duration_us: Durations,
}

/// New work that is turned away so that those who are here do not suffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shed {
    /// A connection beyond the most there may be.
    Connections,
    /// A connection for which no file descriptor was left.
    Descriptors,
    /// A connection of an address that has as many as it may.
    AddressConnections,
    /// A connection of an address that comes more often than it may.
    AddressHandshakes,
    /// A seat whose connection broke, of an address for which as many are kept as may be.
    AddressAbsences,
    /// A join that needed another room, of an address that makes them more often than it may.
    AddressRooms,
    /// A connection while all addresses together come more often than they may.
    Handshakes,
    /// An upgrade while there was more to do than time.
    BusyUpgrades,
    /// A join while there was more to do than time.
    BusyJoins,
    /// An upgrade while memory was over its cap.
    MemoryUpgrades,
    /// A join while memory was over its cap.
    MemoryJoins,
    /// A join that needed a room beyond the most there may be.
    Rooms,
    /// A join that needed another room, of a connection that made as many as it may.
    RoomMakers,
    /// A session whose room's shard had a full mailbox.
    Mailbox,
}

impl Shed {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Connections,
        Self::Descriptors,
        Self::AddressConnections,
        Self::AddressHandshakes,
        Self::AddressAbsences,
        Self::AddressRooms,
        Self::Handshakes,
        Self::BusyUpgrades,
        Self::BusyJoins,
        Self::MemoryUpgrades,
        Self::MemoryJoins,
        Self::Rooms,
        Self::RoomMakers,
        Self::Mailbox,
    ];

    /// What logs call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::AddressConnections => "address_connections",
            Self::AddressHandshakes => "address_handshakes",
            Self::AddressAbsences => "address_absences",
            Self::AddressRooms => "address_rooms",
            Self::Handshakes => "handshakes",
            Self::BusyUpgrades => "busy_upgrades",
            Self::BusyJoins => "busy_joins",
            Self::MemoryUpgrades => "memory_upgrades",
            Self::MemoryJoins => "memory_joins",
            Self::Rooms => "rooms",
            Self::RoomMakers => "room_makers",
            Self::Mailbox => "mailbox",
        }
    }
}

/// Durations since the start and those of the last second, in microseconds.
#[derive(Clone, Debug)]
pub struct Durations {
    /// Since the start, to three digits.
    pub whole: Histogram<u32>,
    /// Since the start, by fixed bounds.
    pub buckets: Buckets,
    /// Since the last [`Durations::take_second`]; two digits make it small enough to be looked
    /// through and cleared while rooms wait.
    second: Histogram<u32>,
}

/// Percentiles of a second, in microseconds; 0 when nothing happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Percentiles {
    /// The median.
    pub p50_us: u64,
    /// One in a hundred was longer.
    pub p99_us: u64,
}

/// Longest duration a histogram tells apart from longer ones: a minute.
const DURATION_US_MAX: u64 = 60_000_000;

impl Default for Metrics {
    fn default() -> Self {
        Self {
            accepted: 0,
            sessions_opened: 0,
            sessions_closed: 0,
            upgrades: 0,
            handed_over: 0,
            heads_refused: 0,
            origins_refused: 0,
            handshakes_full: 0,
            handshakes_resumed: 0,
            handshakes_failed: 0,
            messages: 0,
            messages_unknown: 0,
            inputs: 0,
            inputs_dropped: 0,
            ops: 0,
            pauses: 0,
            rate_limited: 0,
            joins: 0,
            refusals: 0,
            resyncs: 0,
            kicks: 0,
            seats_reserved: 0,
            drops: 0,
            resumes: 0,
            resumes_recovered: 0,
            takeovers: 0,
            graces_expired: 0,
            closes: BTreeMap::new(),
            ticks: 0,
            ticks_overrun: 0,
            slips: 0,
            rooms_failed: 0,
            recordings: 0,
            recordings_stopped: 0,
            sheds: [0; Shed::ALL.len()],
            stopped_in_order: 0,
            stopped_cut: 0,
            tick_lateness_us: Durations::default(),
            tick_duration_us: Durations::default(),
        }
    }
}

impl Metrics {
    /// Counts a close frame.
    pub fn count_close(&mut self, reason: &CloseReason) {
        *self.closes.entry(reason.code()).or_default() += 1;
    }

    /// Counts new work that was turned away.
    pub fn count_shed(&mut self, kind: Shed, count: u64) {
        self.sheds[kind as usize] += count;
    }

    /// How much new work of a kind was turned away.
    #[must_use]
    pub fn shed(&self, kind: Shed) -> u64 {
        self.sheds[kind as usize]
    }

    /// Adds a duration to one of the histograms.
    pub fn record(durations: &mut Durations, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        durations.whole.saturating_record(micros.min(DURATION_US_MAX));
        durations.second.saturating_record(micros.min(DURATION_US_MAX));
        durations.buckets.record(duration);
    }
}

impl Default for Durations {
    fn default() -> Self {
        let histogram = |digits| {
            Histogram::new_with_bounds(1, DURATION_US_MAX, digits).expect("digits up to a minute")
        };
        Self { whole: histogram(3), buckets: Buckets::default(), second: histogram(2) }
    }
}

impl Durations {
    /// What was recorded since the last call.
    pub fn take_second(&mut self) -> Percentiles {
        if self.second.is_empty() {
            return Percentiles::default();
        }
        let at = |quantile| self.second.value_at_quantile(quantile);
        let percentiles = Percentiles { p50_us: at(0.5), p99_us: at(0.99) };
        self.second.reset();
        percentiles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_last_second_only() {
        let mut durations = Durations::default();
        for micros in [9_000, 9_000, 9_000] {
            Metrics::record(&mut durations, Duration::from_micros(micros));
        }
        durations.take_second();
        for micros in 1..=100 {
            Metrics::record(&mut durations, Duration::from_micros(micros));
        }
        let second = durations.take_second();
        assert_eq!(second, Percentiles { p50_us: 50, p99_us: 99 });
        assert_eq!(durations.take_second(), Percentiles::default());
        assert_eq!(durations.whole.len(), 103);
    }

    #[test]
    fn every_kind_of_shed_has_a_place_and_a_name_of_its_own() {
        let mut metrics = Metrics::default();
        for (place, kind) in Shed::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?}");
            metrics.count_shed(kind, place as u64 + 1);
            assert!(Shed::ALL[..place].iter().all(|other| other.name() != kind.name()), "{kind:?}");
        }
        let counts = Shed::ALL.map(|kind| metrics.shed(kind));
        assert_eq!(counts, std::array::from_fn(|place| place as u64 + 1));
    }
}
