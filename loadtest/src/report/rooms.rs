//! What a report says about clients in rooms: the scenario, its phases, and what became of
//! writes, publications, slow readers and replacements.

use std::fmt::{Result, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::text::{ms, percent, ppm_exact, short, thousands, write_times};
use super::{Report, micros};
use crate::driver::Measured;
use crate::plan::RoomLoad;
use crate::scenario::bots::{Bot, BotKind};
use crate::tally::Summary;

/// What was asked of the clients.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RoomScenario {
    /// What it is called.
    pub name: String,
    /// Rooms; 0 where they come and go.
    pub rooms_count: u32,
    /// What the busiest bots send per second; 0 when nobody sends by the clock.
    pub rate_hz_max: u32,
    /// All kinds of clients.
    pub bots: Vec<Bot>,
    /// From one client that is replaced to the next; null without churn.
    pub churn_period_us: Option<u64>,
}

/// What was measured in one phase.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PhaseReport {
    /// Clients at its beginning.
    pub clients_from: u32,
    /// Clients at its end.
    pub clients_to: u32,
    /// How long it took.
    pub duration_us: u64,
    /// Clients that got a seat and a snapshot.
    pub clients_joined: u64,
    /// How old state was.
    pub state_age_us: Summary,
    /// How long until what was sent arrived.
    pub delivery_us: Summary,
    /// How long until what was asked for was there.
    pub input_ack_us: Summary,
    /// How long it took to get a seat and a snapshot.
    pub join_us: Summary,
    /// Bytes read.
    pub bytes_down: u64,
}

impl RoomScenario {
    pub(super) fn new(load: &RoomLoad, clients_count: u32) -> Self {
        let period_us = load.churn.and_then(|churn| churn.period_us(clients_count));
        Self {
            name: load.scenario.clone(),
            rooms_count: if load.is_lobby() { 0 } else { load.cast.rooms_count() },
            rate_hz_max: load.rate_hz_max(),
            bots: load.cast.bots().to_vec(),
            churn_period_us: period_us,
        }
    }

    /// Whether the clients go from room to room.
    pub(super) fn is_lobby(&self) -> bool {
        self.has(&[BotKind::Lobby])
    }

    /// Whether some of the clients do one of these.
    pub(super) fn has(&self, kinds: &[BotKind]) -> bool {
        self.bots.iter().any(|bot| kinds.contains(&bot.kind))
    }
}

/// What each phase added up to.
pub(super) fn phases(load: Option<&RoomLoad>, measured: &Measured) -> Vec<PhaseReport> {
    let phases = load.map_or(&[][..], |load| &load.phases.0);
    let reports = phases.iter().zip(&measured.phases).map(|(phase, tally)| PhaseReport {
        clients_from: phase.from,
        clients_to: phase.to,
        duration_us: micros(phase.duration),
        clients_joined: tally.counters.clients_joined,
        state_age_us: tally.state_age.summary(),
        delivery_us: tally.delivery.summary(),
        input_ack_us: tally.input_ack.summary(),
        join_us: tally.join.summary(),
        bytes_down: tally.counters.bytes_down,
    });
    reports.collect()
}

impl Report {
    pub(super) fn write_rooms(&self, out: &mut String) -> Result {
        let (summary, counters) = (&self.summary, &self.counters);
        let Some(rooms) = &self.scenario.rooms else { return Ok(()) };
        let has_ticks = rooms.bots.iter().any(|bot| bot.kind.is_player());
        if has_ticks || summary.state_age_us.count > 0 {
            write_times(out, "state_age", &summary.state_age_us)?;
        }
        if rooms.is_lobby() {
            write_times(out, "join", &summary.join_us)?;
        } else if !rooms.bots.iter().all(|bot| bot.kind == BotKind::Idle) {
            write_times(out, "delivery", &summary.delivery_us)?;
            write_times(out, "input_ack", &summary.input_ack_us)?;
        }
        if has_ticks {
            write_times(out, "tick_jitter", &summary.tick_jitter_us)?;
        }
        if rooms.is_lobby() {
            self.write_lobby(out)?;
        }
        self.write_room_checks(out)?;
        if counters.inputs_sent > 0 || has_ticks {
            self.write_inputs(out)?;
        }
        if rooms.has(&[BotKind::State]) {
            self.write_writes(out)?;
        }
        if rooms.has(&[BotKind::Chat, BotKind::Danmaku, BotKind::Quotes]) {
            self.write_talk(out)?;
        }
        self.write_slow(out)?;
        self.write_absences(out)?;
        self.write_storm(out)?;
        self.write_memory(out)?;
        self.write_phases(out)
    }

    fn write_lobby(&self, out: &mut String) -> Result {
        let counters = &self.counters;
        let rate = |name| thousands(self.metrics.get(name).copied().unwrap_or(0));
        writeln!(
            out,
            "  lobby         {} joins/s  {} rooms made/s   {} created  {} by code  {} found",
            rate("lobby.joins_per_s"),
            rate("lobby.rooms_made_per_s"),
            thousands(counters.lobby_created),
            thousands(counters.lobby_by_code),
            thousands(counters.lobby_found),
        )?;
        writeln!(
            out,
            "  not let in    {} full  {} locked  {} private  {} gone   {} locks by hosts",
            thousands(counters.lobby_full),
            thousands(counters.lobby_locked),
            thousands(counters.lobby_private),
            thousands(counters.lobby_gone),
            thousands(counters.lobby_locks),
        )?;
        writeln!(
            out,
            "  seats         {} strayed  {} let in wrongly  {} kept out wrongly  {} unanswered   \
             rooms left {}",
            counters.lobby_strayed,
            counters.lobby_let_in,
            counters.lobby_kept_out,
            counters.lobby_unanswered,
            self.rooms_left.map_or("unknown".to_owned(), thousands),
        )
    }

    fn write_writes(&self, out: &mut String) -> Result {
        let (counters, agreement) = (&self.counters, &self.agreement);
        writeln!(
            out,
            "  writes        {} sent  {} accepted  {} conflicts  {} refused  {} unanswered   {} \
             cursor moves",
            thousands(counters.ops_sent),
            thousands(counters.ops_accepted),
            thousands(counters.ops_conflicts),
            thousands(counters.ops_refused),
            thousands(counters.ops_unanswered),
            thousands(counters.moves_sent),
        )?;
        writeln!(
            out,
            "  promises      {} looked for  {} missing  {} unseen   {} of {} counts wrong",
            thousands(counters.writes_checked),
            counters.writes_missing,
            counters.writes_unseen,
            agreement.counts_wrong,
            agreement.counts_compared,
        )
    }

    fn write_talk(&self, out: &mut String) -> Result {
        let (counters, agreement) = (&self.counters, &self.agreement);
        writeln!(
            out,
            "  published     {} sent  {} accepted  {} refused  {} unanswered   {} received",
            thousands(counters.ops_sent),
            thousands(counters.ops_accepted),
            thousands(counters.ops_refused),
            thousands(counters.ops_unanswered),
            short(counters.events_received),
        )?;
        let reach = agreement.reach();
        let heard = match reach.expected {
            0 => "nobody was there all the time".to_owned(),
            expected => {
                let arrived = expected - reach.lost;
                format!("{}  ({} of {})", ppm_exact(reach.ppm()), short(arrived), short(expected))
            }
        };
        writeln!(
            out,
            "  heard         {heard}   announced as lost {}  not announced {}  doubled {}  \
             overtaken {}  not ours {}",
            thousands(counters.events_lost),
            agreement.events_unaccounted + agreement.events_skipped + counters.events_unannounced,
            counters.events_doubled,
            counters.events_overtaken,
            counters.events_foreign,
        )
    }

    fn write_slow(&self, out: &mut String) -> Result {
        let (counters, agreement, summary) = (&self.counters, &self.agreement, &self.summary);
        if agreement.slow_readers > 0 || counters.slow_closed > 0 {
            for (name, times) in
                [("slow_age", &summary.slow_age_us), ("slow_deliv.", &summary.slow_delivery_us)]
            {
                if times.count > 0 {
                    write_times(out, name, times)?;
                }
            }
            writeln!(
                out,
                "  slow readers  {} of {} converged when let drain   caught up {} times  events lost \
                 {}  closed with 1013 {}",
                thousands(agreement.slow_converged),
                thousands(agreement.slow_readers),
                thousands(counters.slow_catch_ups),
                thousands(counters.slow_lost),
                thousands(counters.slow_closed),
            )?;
        }
        if counters.churn_leaves > 0 {
            let (joins, join) = (thousands(counters.churn_joins), &self.summary.join_us);
            writeln!(
                out,
                "  churn         {} left  {joins} came   join+snapshot p99 {}",
                thousands(counters.churn_leaves),
                ms(join.p99),
            )?;
        }
        Ok(())
    }

    fn write_absences(&self, out: &mut String) -> Result {
        let (counters, summary) = (&self.counters, &self.summary);
        if counters.drops_cut > 0 {
            writeln!(
                out,
                "  cut off       {} connections  {} resumed  {} recovered  {} by a snapshot  {} \
                 without their seat   {} retries  {} events lost  {} unanswered",
                thousands(counters.drops_cut),
                thousands(counters.drops_resumed),
                thousands(counters.drops_recovered),
                thousands(counters.drops_snapshots),
                thousands(counters.drops_refused),
                thousands(counters.drops_retries),
                thousands(counters.drops_lost),
                thousands(counters.drops_unanswered),
            )?;
            write_times(out, "resume", &summary.resume_us)?;
        }
        if counters.hidden_times > 0 {
            writeln!(
                out,
                "  hidden        {} times  {} seen again  {} states sent meanwhile",
                thousands(counters.hidden_times),
                thousands(counters.hidden_returns),
                thousands(counters.hidden_states),
            )?;
            if summary.wake_us.count > 0 {
                write_times(out, "wake", &summary.wake_us)?;
            }
        }
        Ok(())
    }

    fn write_memory(&self, out: &mut String) -> Result {
        let Some(settled) = &self.settled else { return Ok(()) };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            out,
            "  server memory {:.1} MiB before the first, {:.1} with all, {:.1} at the end",
            mib(settled.first_bytes),
            mib(settled.before_bytes),
            mib(settled.after_bytes),
        )?;
        let sign = if settled.growth_ppm < 0 { "-" } else { "+" };
        let growth = percent(settled.growth_ppm.unsigned_abs());
        let per_client = settled.bytes_per_client.unwrap_or(0) as f64 / 1024.0;
        writeln!(out, "  ({sign}{growth})   {per_client:.1} KiB/client")
    }

    fn write_phases(&self, out: &mut String) -> Result {
        for (number, phase) in self.phases.iter().enumerate() {
            let PhaseReport { clients_from, clients_to, .. } = phase;
            let clients = match clients_from == clients_to {
                true => short(u64::from(*clients_to)),
                false => format!("{clients_from} -> {clients_to}"),
            };
            let (age, delivery) = (&phase.state_age_us, &phase.delivery_us);
            writeln!(
                out,
                "  phase {:<2}      {clients:<14} {:>8}   state_age p50 {:<9} p99 {:<9} delivery \
                 p50 {:<9} p99 {:<9} joins {}",
                number + 1,
                ms(phase.duration_us),
                ms(age.p50),
                ms(age.p99),
                ms(delivery.p50),
                ms(delivery.p99),
                thousands(phase.clients_joined),
            )?;
        }
        Ok(())
    }
}

/// The server's memory while the same clients were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SettledMemory {
    /// Before the first client.
    pub first_bytes: u64,
    /// When measuring began.
    pub before_bytes: u64,
    /// When everybody had settled after it.
    pub after_bytes: u64,
    /// From one to the other, in parts of a million of the one.
    pub growth_ppm: i64,
    /// What one client took when measuring began; null when that cannot be told.
    pub bytes_per_client: Option<u64>,
}

impl SettledMemory {
    /// `clients_count` were there when measuring began.
    pub(super) fn new(measured: &Measured, clients_count: u32) -> Option<Self> {
        let first_bytes = measured.server_bytes_at_first?;
        let before_bytes = measured.server.0.first()?.resident_bytes;
        let after_bytes = measured.server_bytes_at_last?;
        let grown = i128::from(after_bytes) - i128::from(before_bytes);
        let growth_ppm = (grown * 1_000_000).checked_div(i128::from(before_bytes)).unwrap_or(0);
        let bytes_per_client =
            before_bytes.saturating_sub(first_bytes).checked_div(u64::from(clients_count));
        Some(Self {
            first_bytes,
            before_bytes,
            after_bytes,
            growth_ppm: i64::try_from(growth_ppm).unwrap_or(i64::MAX),
            bytes_per_client,
        })
    }
}
