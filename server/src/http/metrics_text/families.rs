//! Which number of a shard is which sample: the table behind `/metrics`.

use super::Kind;
use crate::board::ShardStats;

/// What a number is in on the board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unit {
    /// Something that is counted.
    One,
    /// Microseconds.
    Micros,
}

/// Samples of one name.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) unit: Unit,
    pub(super) help: &'static str,
    /// What tells its samples of one shard apart; empty when there is one.
    pub(super) label: &'static str,
    pub(super) parts: &'static [Part],
}

/// A sample of each shard.
#[derive(Debug)]
pub(super) struct Part {
    /// The label's value.
    pub(super) label: &'static str,
    /// Where the number is.
    pub(super) value: fn(&ShardStats) -> u64,
}

macro_rules! families {
    ($($kind:ident $unit:ident $name:literal $help:literal $(by $label:literal)? {
        $($value:literal: $field:ident),+ $(,)?
    })+) => {
        /// Each family of numbers that every shard has.
        pub(super) const SHARD_FAMILIES: &[Family] = &[$(Family {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            help: $help,
            label: concat!($($label)?),
            parts: &[$(Part { label: $value, value: |stats| stats.$field }),+],
        }),+];
    };
}

families! {
    Gauge One "tickloom_connections"
    "Connections, whatever they are about." {
        "": sessions_count,
    }
    Gauge One "tickloom_rooms"
    "Rooms, empty ones that linger included." {
        "": rooms_count,
    }
    Gauge One "tickloom_room_members"
    "Connections with a seat in a room." {
        "": members_count,
    }
    Gauge One "tickloom_slow_consumers"
    "Members that get no state until their queue has drained." {
        "": members_lagging_count,
    }
    Gauge One "tickloom_away_members"
    "Members whose connection broke and whose seat is kept." {
        "": members_away_count,
    }
    Gauge One "tickloom_paused_members"
    "Members that get no state because nobody looks, or because their clients do not keep up." {
        "": members_paused_count,
    }
    Gauge One "tickloom_send_queue_bytes"
    "Bytes queued for clients and not yet taken by the kernel." {
        "": outbox_bytes,
    }
    Gauge Micros "tickloom_staleness_max_seconds"
    "Age of the state that the furthest lagging member will have once its queue has drained." {
        "": staleness_us_max,
    }
    Gauge Micros "tickloom_tick_duration_last_second_seconds"
    "Percentiles of the durations of rooms' ticks over the last second." by "kind" {
        "p50": tick_duration_p50_us,
        "p99": tick_duration_p99_us,
    }
    Gauge Micros "tickloom_tick_lateness_last_second_seconds"
    "Percentiles of how late rooms' ticks began over the last second." by "kind" {
        "p99": tick_lateness_p99_us,
    }
    Gauge One "tickloom_tls_handshakes_waiting"
    "Connections whose TLS handshake has not begun, because others came first." {
        "": handshakes_waiting_count,
    }
    Gauge One "tickloom_overloaded"
    "1 while nobody new is let in because there is more to do than time." {
        "": overloaded,
    }
    Gauge One "tickloom_load_level"
    "How much is left out to keep up: 1 far cells, 2 every other send, 3 joins, 4 time." {
        "": load_level,
    }
    Gauge One "tickloom_time_slowed_percent"
    "How much slower than real time rooms run that allow it." {
        "": time_slowed_percent,
    }
    Counter Micros "tickloom_core_busy_seconds_total"
    "Time that the shard's thread did not wait for something to do." {
        "": busy_us,
    }
    Counter One "tickloom_ticks_total"
    "Ticks of all rooms." {
        "": ticks,
    }
    Counter One "tickloom_tick_overruns_total"
    "Ticks that began later than a whole step." {
        "": ticks_overrun,
    }
    Counter One "tickloom_tick_slips_total"
    "Times a room's clock slipped." {
        "": slips,
    }
    Counter One "tickloom_connections_opened_total"
    "Connections accepted." {
        "": accepted,
    }
    Counter One "tickloom_handshakes_total"
    "Request heads, by what became of them." by "kind" {
        "upgraded": upgrades,
        "http": handed_over,
        "refused": heads_refused,
    }
    Counter One "tickloom_origins_refused_total"
    "Upgrades refused for the page that asked." {
        "": origins_refused,
    }
    Counter One "tickloom_tls_handshakes_total"
    "TLS handshakes, by how they went." by "kind" {
        "full": handshakes_full,
        "resumed": handshakes_resumed,
        "failed": handshakes_failed,
    }
    Counter One "tickloom_received_messages_total"
    "Messages decoded." {
        "": messages,
    }
    Counter One "tickloom_inputs_total"
    "Inputs that reached a room." {
        "": inputs,
    }
    Counter One "tickloom_inputs_dropped_total"
    "Inputs that were dropped: too old, too far ahead, or to make place for newer ones." {
        "": inputs_dropped,
    }
    Counter One "tickloom_ops_total"
    "Writes and publications that took effect." {
        "": ops,
    }
    Counter One "tickloom_read_pauses_total"
    "Times a client was not read for a while because it was ahead of its rates." {
        "": pauses,
    }
    Counter One "tickloom_rate_limited_total"
    "Clients closed because they were too far ahead of their rates." {
        "": rate_limited,
    }
    Counter One "tickloom_joins_total"
    "Seats given." {
        "": joins,
    }
    Counter One "tickloom_refusals_total"
    "Joins and other requests refused." {
        "": refusals,
    }
    Counter One "tickloom_resyncs_total"
    "Snapshots asked for by clients whose replica broke." {
        "": resyncs,
    }
    Counter One "tickloom_kicks_total"
    "Members that a host or a room's logic sent away." {
        "": kicks,
    }
    Counter One "tickloom_seats_reserved_total"
    "Seats that were kept for somebody with a token." {
        "": seats_reserved,
    }
    Counter One "tickloom_drops_total"
    "Members whose connection broke and whose seat was kept." {
        "": drops,
    }
    Counter One "tickloom_resumes_total"
    "Members that came back to their seat." {
        "": resumes,
    }
    Counter One "tickloom_resumes_recovered_total"
    "Members that came back to their seat and missed nothing." {
        "": resumes_recovered,
    }
    Counter One "tickloom_takeovers_total"
    "Members that came back while their connection before still looked alive." {
        "": takeovers,
    }
    Counter One "tickloom_graces_expired_total"
    "Seats taken back because nobody came in time." {
        "": graces_expired,
    }
    Counter One "tickloom_compressed_frames_total"
    "Frames of rooms' state that were queued compressed." {
        "": frames_compressed,
    }
    Counter One "tickloom_compressed_frames_bytes_total"
    "Bytes of those frames, without compression and with it." by "kind" {
        "before": frames_compressed_bytes_before,
        "after": frames_compressed_bytes_after,
    }
    Counter One "tickloom_compressions_total"
    "Times a frame was compressed, however many members it was for." {
        "": compressions,
    }
    Counter One "tickloom_compression_resets_total"
    "Times a room began its window anew." {
        "": compression_resets,
    }
    Counter One "tickloom_rooms_failed_total"
    "Rooms that could not go on." {
        "": rooms_failed,
    }
    Counter One "tickloom_recordings_total"
    "Recordings of rooms begun." {
        "": recordings,
    }
    Counter One "tickloom_recordings_stopped_total"
    "Recordings that ended before their room, because they could not be kept." {
        "": recordings_stopped,
    }
    Counter One "tickloom_connections_closed_total"
    "Close frames sent, by what for." by "kind" {
        "done": closes_done,
        "client_fault": closes_client_fault,
        "room_failed": closes_room_failed,
        "restart": closes_restart,
        "overload": closes_overload,
        "silence": closes_silence,
        "other": closes_other,
    }
    Counter One "tickloom_shed_total"
    "New work turned away, by what there was too much of." by "kind" {
        "connections": shed_connections,
        "descriptors": shed_descriptors,
        "address_connections": shed_address_connections,
        "address_handshakes": shed_address_handshakes,
        "address_absences": shed_address_absences,
        "address_rooms": shed_address_rooms,
        "handshakes": shed_handshakes,
        "busy_upgrades": shed_busy_upgrades,
        "busy_joins": shed_busy_joins,
        "memory_upgrades": shed_memory_upgrades,
        "memory_joins": shed_memory_joins,
        "rooms": shed_rooms,
        "room_makers": shed_room_makers,
        "mailbox": shed_mailbox,
    }
}
