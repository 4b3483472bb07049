//! What a shard says about itself once a second.

use std::time::Duration;

use tickloom_protocol::server_message::TimeSync;

use crate::board::ShardStats;
use crate::ledger::{LedgerPage, Phase, Stopwatch};
use crate::metrics::{Metrics, Shed};
use crate::overload::{Load, WhenBusy};
use crate::room::RoomId;
use crate::session::Seat;
use crate::shard::Shard;

impl Shard {
    /// The shard's numbers at this moment, those "of the last second" since the last call. Time
    /// outside of its calls is the edge's to know: `busy_us` is left at zero.
    ///
    /// It walks over all sessions: 30 us for 10,000 of them, once a second. A sum kept up to date
    /// would cost something with each byte queued and sent.
    pub fn take_stats(&mut self) -> ShardStats {
        let duration = self.metrics.tick_duration_us.take_second();
        let lateness = self.metrics.tick_lateness_us.take_second();
        let sent = self.broadcast.counts();
        let ladder = self.overload.ladder();
        let slowed = u64::from(TimeSync::REAL_TIME - ladder.scale_q16());
        let mut stats = ShardStats {
            frames_compressed: sent.packed,
            frames_compressed_bytes_before: sent.packed_bytes_before,
            frames_compressed_bytes_after: sent.packed_bytes_after,
            compressions: sent.compressions,
            compression_resets: sent.window_resets,
            sessions_count: self.sessions.count() as u64,
            handshakes_waiting_count: self.handshakes_waiting() as u64,
            overloaded: u64::from(self.overload.is_over()),
            load_level: ladder.level() as u64,
            time_slowed_percent: slowed * 100 / u64::from(TimeSync::REAL_TIME),
            rooms_count: self.rooms.count() as u64,
            members_away_count: self.absences.len() as u64,
            members_paused_count: self.rooms.paused_count() as u64,
            tick_duration_p50_us: duration.p50_us,
            tick_duration_p99_us: duration.p99_us,
            tick_lateness_p99_us: lateness.p99_us,
            ..counters(&self.metrics)
        };
        for (_, session) in self.sessions.iter() {
            let encrypted = session.tls.as_ref().map_or(0, |tls| tls.unsent_bytes());
            stats.outbox_bytes += (session.outbox.bytes() + encrypted) as u64;
            let Some(seat) = session.seat() else { continue };
            stats.members_count += 1;
            if session.outbox.owes_state() {
                stats.members_lagging_count += 1;
                let staleness_us = self.staleness(seat).as_micros() as u64;
                stats.staleness_us_max = stats.staleness_us_max.max(staleness_us);
            }
        }
        stats
    }

    /// From now on, rooms' ticks are measured with this. Nothing but [`Shard::take_ledger`] depends
    /// on what it says.
    pub fn set_stopwatch(&mut self, stopwatch: Stopwatch) {
        self.stopwatch = stopwatch;
        self.rooms.for_each_mut(|_, room| room.set_stopwatch(stopwatch));
    }

    /// The queues of a room's members were written, which took so long.
    pub fn charge_flush(&mut self, room: RoomId, nanos: u64) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.charge(Phase::Flush, nanos);
        }
    }

    /// Where the shard's time went: by room type since the start, by room since the last call.
    pub fn take_ledger(&mut self) -> LedgerPage {
        self.ledger.turn_page(&mut self.rooms)
    }

    /// Another second is over, of which the shard was busy for so long.
    pub fn handle_load(&mut self, busy: Duration, elapsed: Duration) {
        let ticks_overrun = self.metrics.ticks_overrun - self.ticks_overrun_before;
        self.ticks_overrun_before = self.metrics.ticks_overrun;
        if self.config.busy == WhenBusy::LetNobodyIn {
            self.overload.handle_load(Load { busy, elapsed, ticks_overrun });
            self.broadcast.set_load_level(self.overload.ladder().level());
        }
    }

    /// How far the state that is on its way to a member is behind its room's. Zero for one that waits for a snapshot: what
    /// it has is of no use, whatever its age. Zero in a room without a rate, too.
    fn staleness(&self, seat: Seat) -> Duration {
        let Some(room) = self.rooms.get(seat.room) else { return Duration::ZERO };
        match room.members().get(&seat.member).map(|member| member.baseline.0) {
            None | Some(0) => Duration::ZERO,
            Some(has) => {
                let ticks = u64::from(room.sent().0.saturating_sub(has));
                Duration::from_micros(ticks * u64::from(room.clock().tick_us))
            }
        }
    }
}

/// What was counted since the start.
fn counters(metrics: &Metrics) -> ShardStats {
    let mut stats = ShardStats {
        ticks: metrics.ticks,
        ticks_overrun: metrics.ticks_overrun,
        slips: metrics.slips,
        accepted: metrics.accepted,
        upgrades: metrics.upgrades,
        handed_over: metrics.handed_over,
        heads_refused: metrics.heads_refused,
        origins_refused: metrics.origins_refused,
        handshakes_full: metrics.handshakes_full,
        handshakes_resumed: metrics.handshakes_resumed,
        handshakes_failed: metrics.handshakes_failed,
        messages: metrics.messages,
        inputs: metrics.inputs,
        inputs_dropped: metrics.inputs_dropped,
        ops: metrics.ops,
        pauses: metrics.pauses,
        rate_limited: metrics.rate_limited,
        joins: metrics.joins,
        refusals: metrics.refusals,
        resyncs: metrics.resyncs,
        kicks: metrics.kicks,
        seats_reserved: metrics.seats_reserved,
        drops: metrics.drops,
        resumes: metrics.resumes,
        resumes_recovered: metrics.resumes_recovered,
        takeovers: metrics.takeovers,
        graces_expired: metrics.graces_expired,
        rooms_failed: metrics.rooms_failed,
        recordings: metrics.recordings,
        recordings_stopped: metrics.recordings_stopped,
        shed_connections: metrics.shed(Shed::Connections),
        shed_descriptors: metrics.shed(Shed::Descriptors),
        shed_address_connections: metrics.shed(Shed::AddressConnections),
        shed_address_handshakes: metrics.shed(Shed::AddressHandshakes),
        shed_address_absences: metrics.shed(Shed::AddressAbsences),
        shed_address_rooms: metrics.shed(Shed::AddressRooms),
        shed_handshakes: metrics.shed(Shed::Handshakes),
        shed_busy_upgrades: metrics.shed(Shed::BusyUpgrades),
        shed_busy_joins: metrics.shed(Shed::BusyJoins),
        shed_memory_upgrades: metrics.shed(Shed::MemoryUpgrades),
        shed_memory_joins: metrics.shed(Shed::MemoryJoins),
        shed_rooms: metrics.shed(Shed::Rooms),
        shed_room_makers: metrics.shed(Shed::RoomMakers),
        shed_mailbox: metrics.shed(Shed::Mailbox),
        ..ShardStats::default()
    };
    for (code, count) in &metrics.closes {
        let place = match code {
            1000 | 1001 => &mut stats.closes_done,
            1002 | 1003 | 1007 | 1008 | 1009 | 4501..=4999 => &mut stats.closes_client_fault,
            1011 => &mut stats.closes_room_failed,
            1012 => &mut stats.closes_restart,
            1013 => &mut stats.closes_overload,
            4001 => &mut stats.closes_silence,
            // Codes of rooms' own, which the server does not know the sense of.
            _ => &mut stats.closes_other,
        };
        *place += count;
    }
    stats
}
