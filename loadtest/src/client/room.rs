//! A client in a room: the protocol's client, the workload behind it, and the stamps that turn
//! what arrives into numbers. It is the same in memory and on a socket.
//!
//! ```text
//! new -> request -> Upgraded -> Join -> Joined -> first snapshot: playing
//!        every delta: age ramp closed, delivery, jitter; workload -> tally
//!        every act:   at its intended moment, by the workload     -> tally
//! finish -> the last ramp, what was not answered, the ledger
//! ```

mod absence;
mod books;
mod sends;

use fastrand::Rng;
use tickloom_protocol::client::{Client as ProtocolClient, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::deflate::Offer;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::ids::{OpId, Tick};
use tickloom_protocol::replica::{Applied, Outcome};
use tickloom_protocol::server_message::{DeltaHead, RefusalCode, RoomClock};
use tickloom_protocol::time::Timestamp;

use super::{Client, LATE_US_MAX, Ledger, OUTPUT_BYTES_MAX, Setup, Stage, Turn};
use crate::plan::Load;
use crate::scenario::bots::Bot;
use crate::tally::Window;
use crate::workload::{Identity, SPREAD, Schedule, Workload, schedule, workload};
use absence::Absences;

/// Microseconds between two samples of a client's state age: 100 Hz.
pub const AGE_SAMPLE_US: u64 = 10_000;

/// A tail of such rooms, to be awaited by everybody before the first one leaves.
const SETTLED_TAIL_US: u64 = 900_000;

/// A client in a room.
pub struct RoomClient {
    protocol: ProtocolClient,
    stage: Stage,
    bot: Bot,
    workload: Box<dyn Workload>,
    index: u32,
    /// How many clients were in its place before it.
    life: u32,
    room: u32,
    is_slow: bool,
    clock_offset_us: i64,
    schedule: Schedule,
    /// The next act to do; meaningful while playing and active.
    next_act: u64,
    /// Whether the workload acted by the clock when it was last asked.
    was_active: bool,
    /// When the current stage began.
    stage_since: Timestamp,
    /// Present from the first snapshot on.
    shown: Option<Shown>,
    /// Whether a resync was asked for and not answered yet.
    broken: bool,
    absences: Absences,
    ledger: Option<Ledger>,
}

/// The state a client would show, for its age.
#[derive(Clone, Copy, Debug)]
struct Shown {
    tick: Tick,
    /// When its tick was due, on our clock.
    due: Timestamp,
    applied_at: Timestamp,
    /// Ages are recorded up to here, exclusive.
    sampled_until: Timestamp,
    /// How much the server left out when it was sent.
    load_level: u8,
    /// Whether its room ticks at a rate: the age of state that only changes on demand is no news.
    has_age: bool,
}

impl Client for RoomClient {
    fn new(setup: &Setup<'_>, now: Timestamp) -> Self {
        let (plan, index) = (setup.plan, setup.index);
        let Load::Rooms(load) = &plan.load else {
            unreachable!("the driver makes these clients for rooms only")
        };
        let place = load.cast.place(index);
        let sender = index.wrapping_add(setup.life.wrapping_mul(plan.clients_count));
        let seed = plan.seed ^ (u64::from(sender) + 1).wrapping_mul(SPREAD);
        let identity = Identity { index, sender, seed };
        let role = load.script.as_ref().map(|script| script.role(setup.start, index));
        Self {
            protocol: connect(setup, !seed),
            stage: Stage::Upgrading,
            bot: place.bot.clone(),
            workload: workload(&place, identity, role.clone()),
            index,
            life: setup.life,
            room: place.room,
            is_slow: place.read_rate.is_some(),
            clock_offset_us: setup.clock_offset_us,
            schedule: schedule(&place, setup.start, index, role),
            next_act: 0,
            was_active: false,
            stage_since: now,
            shown: None,
            broken: false,
            absences: Absences::new(setup, seed),
            ledger: None,
        }
    }

    fn handle_bytes(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        turn.count_arrived(bytes);
        self.absences.note_heard(turn.now);
        let inflated_before = self.protocol.inflated();
        let mut input = bytes;
        let mut has_more = true;
        while has_more {
            // One message at a time: what was said with a delta is gone with the next.
            has_more = self.protocol.handle_next(&mut input);
            while let Some(event) = self.protocol.poll_event() {
                self.handle_event(event, turn);
            }
        }
        turn.count_inflated(inflated_before, self.protocol.inflated());
        self.check_invariants();
    }

    fn handle_timer(&mut self, turn: &mut Turn<'_>) {
        self.mind_presence(turn);
        while let Some(intended) = self.next_act_at().filter(|at| *at <= turn.now) {
            self.next_act += 1;
            if intended >= turn.window.until {
                continue;
            }
            let late_us = turn.now.0 - intended.0;
            if turn.window.contains(intended) {
                turn.tally.sched_lag.record(late_us);
            }
            if late_us > LATE_US_MAX {
                turn.tally.counters.inputs_skipped += 1;
            } else if self.protocol.output_mut().len() > OUTPUT_BYTES_MAX {
                turn.tally.counters.inputs_blocked += 1;
            } else {
                self.workload.act(intended, &mut self.protocol, turn);
            }
        }
        self.check_invariants();
    }

    fn handle_disconnect(&mut self, error: &str, turn: &mut Turn<'_>) {
        if self.is_coming() && self.retry(turn) {
            return;
        }
        match self.stage {
            Stage::Ended | Stage::Away => {}
            Stage::Closing => self.stage = Stage::Ended,
            Stage::Upgrading => {
                turn.tally.errors.count(error, &format!("client {}", self.index));
                self.end(turn);
            }
            Stage::Joining | Stage::Playing => {
                turn.tally.closes.count("1006", error);
                self.end(turn);
            }
        }
    }

    fn handle_stop(&mut self) {
        if matches!(self.stage, Stage::Joining | Stage::Playing) {
            self.protocol.close();
            self.stage = Stage::Closing;
        } else if matches!(self.stage, Stage::Upgrading | Stage::Away) {
            self.stage = Stage::Ended;
        }
    }

    fn handle_leave(&mut self, turn: &mut Turn<'_>) -> Option<Ledger> {
        let ledger = self.close_books(turn, false);
        // Whoever was displaced before it was answered has no seat to give back.
        if matches!(self.stage, Stage::Joining | Stage::Playing) && self.protocol.seat().is_some() {
            self.protocol.leave();
        }
        self.handle_stop();
        ledger
    }

    fn handle_cut(&mut self, turn: &mut Turn<'_>) -> bool {
        self.go_away(turn)
    }

    fn come_back(&mut self, setup: &Setup<'_>, now: Timestamp) {
        self.protocol = connect(setup, now.0 ^ u64::from(self.index).wrapping_mul(SPREAD));
        self.stage = Stage::Upgrading;
        self.stage_since = now;
    }

    fn returns_at(&self) -> Option<Timestamp> {
        self.absences.returns_at().filter(|_| self.stage == Stage::Away)
    }

    fn is_displaced(&self) -> bool {
        self.absences.is_displaced()
    }

    fn handle_second(&mut self, turn: &mut Turn<'_>) {
        self.sample_age(turn);
    }

    fn handle_window_end(&mut self, turn: &mut Turn<'_>) {
        self.absences.report_now(turn.now);
        self.mind_presence(turn);
    }

    fn finish(&mut self, turn: &mut Turn<'_>) -> Option<Ledger> {
        self.close_books(turn, true)
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn next_due_at(&self) -> Option<Timestamp> {
        let absences = Some(&self.absences).filter(|_| self.stage == Stage::Playing);
        let minds_at = absences.and_then(Absences::next_due_at);
        self.next_act_at().into_iter().chain(minds_at).min()
    }

    fn has_tail(&self, window: Window) -> bool {
        match (self.stage, self.shown, self.protocol.seat()) {
            // Whoever is away is awaited, and whoever is hidden.
            (Stage::Playing, ..) if !self.absences.is_here() => false,
            (Stage::Playing, Some(shown), Some(seat)) if seat.clock.tick_us > 0 => {
                shown.tick >= self.cutoff(&seat.clock, window)
            }
            // A replacement is awaited until it has its state.
            (Stage::Upgrading | Stage::Joining | Stage::Away, ..) => false,
            _ => true,
        }
    }

    fn tail_us(&self) -> Option<u64> {
        let clock = self.protocol.seat()?.clock;
        if clock.tick_us == 0 {
            return Some(SETTLED_TAIL_US);
        }
        let load_level = self.shown.map_or(0, |shown| shown.load_level);
        Some(u64::from(clock.tick_us) * u64::from(sends::interval(&clock, load_level)) * 3)
    }

    fn output_mut(&mut self) -> &mut Vec<u8> {
        self.protocol.output_mut()
    }
}

impl RoomClient {
    /// Records how old the state is, on the client's grid of 100 Hz, up to `turn.now`.
    fn sample_age(&mut self, turn: &mut Turn<'_>) {
        let Some(shown) = self.shown.as_mut().filter(|shown| shown.has_age) else { return };
        let from_us = shown.sampled_until.0.max(turn.window.from.0);
        let until_us = turn.now.0.min(turn.window.until.0);
        shown.sampled_until = shown.sampled_until.max(turn.now);
        // Clients sample at different moments, or a whole run would see one point of each tick.
        let phase_us = u64::from(self.index) * 7919 % AGE_SAMPLE_US;
        let past_grid_us = (from_us % AGE_SAMPLE_US + AGE_SAMPLE_US - phase_us) % AGE_SAMPLE_US;
        let mut at_us = from_us.saturating_add((AGE_SAMPLE_US - past_grid_us) % AGE_SAMPLE_US);
        let ages = if self.is_slow { &mut turn.tally.slow_age } else { &mut turn.tally.state_age };
        while at_us < until_us {
            ages.record(at_us.saturating_sub(shown.due.0));
            at_us += AGE_SAMPLE_US;
        }
    }

    /// Whether it is on its way to a seat.
    fn is_coming(&self) -> bool {
        matches!(self.stage, Stage::Upgrading | Stage::Joining)
    }

    /// When it acts next by the clock.
    fn next_act_at(&self) -> Option<Timestamp> {
        if self.stage != Stage::Playing || !self.was_active {
            return None;
        }
        self.schedule.intended(self.next_act)
    }

    fn handle_event(&mut self, event: ClientEvent, turn: &mut Turn<'_>) {
        let counters = &mut turn.tally.counters;
        match event {
            ClientEvent::Upgraded => self.upgraded(turn),
            ClientEvent::Joined => self.joined(turn),
            ClientEvent::Applied { head, applied, .. } => self.applied(head, applied, turn),
            ClientEvent::Broken(error) => {
                self.broken = true;
                turn.count_broken(&error);
            }
            ClientEvent::TimeSync(sync) => {
                // Nobody here pings, so the server says that a clock slipped.
                counters.clock_slips += u64::from(sync.client_us == 0);
            }
            ClientEvent::Refused { code, message, op, .. } => {
                self.refused(op, code, &message, turn);
            }
            ClientEvent::Accepted(accepted) => {
                if let Some(seat) = self.protocol.seat() {
                    self.workload.handle_accepted(&accepted, seat, turn);
                }
            }
            // The close that follows counts.
            ClientEvent::GoAway { .. } => {}
            // What was asked for.
            ClientEvent::Left(_) if self.stage == Stage::Closing => {}
            ClientEvent::Left(_) => {
                turn.tally.closes.count("left", "the seat was given back unasked");
                self.end(turn);
            }
            ClientEvent::Unknown(_) => counters.unknown_messages += 1,
            ClientEvent::UpgradeFailed(_) if self.retry(turn) => {}
            ClientEvent::UpgradeFailed(error) => {
                let error = error.to_string();
                turn.tally.errors.count(&error, &format!("client {}", self.index));
                self.end(turn);
            }
            ClientEvent::Closed(reason) => self.closed(&reason, turn),
        }
    }

    fn upgraded(&mut self, turn: &mut Turn<'_>) {
        if let Some(returning) = self.absences.take_returning() {
            self.protocol.resume(returning);
            self.stage = Stage::Joining;
            return;
        }
        turn.tally.counters.clients_connected += 1;
        turn.tally.connect.record_between(self.stage_since, turn.now);
        let (room, name) = (format!("load-{}", self.room), format!("bot-{}", self.index));
        let (room_type, options) = (self.bot.room_type.as_str(), self.bot.options.as_bytes());
        self.protocol.join(Join {
            room_type,
            room: &room,
            name: &name,
            options,
            ..Join::default()
        });
        self.stage = Stage::Joining;
        self.stage_since = turn.now;
    }

    fn joined(&mut self, turn: &mut Turn<'_>) {
        self.seated_again(turn);
        let Some(seat) = self.protocol.seat() else { return };
        if let Err(missing) = self.workload.handle_joined(seat) {
            turn.tally.counters.names_missing += 1;
            let room_type = &self.bot.room_type;
            turn.tally.errors.count("missing name", &format!("room type `{room_type}`: {missing}"));
            self.end(turn);
            self.protocol.close();
        }
    }

    fn refused(&mut self, op: OpId, code: RefusalCode, message: &str, turn: &mut Turn<'_>) {
        if op != OpId::NONE && self.workload.handle_refused(op, code, turn) {
            return;
        }
        if self.is_coming() && self.retry(turn) {
            return;
        }
        turn.tally.counters.names_missing += u64::from(code == RefusalCode::UnknownRoomType);
        turn.tally.refusals.count(&format!("{code:?}"), message);
        if self.stage == Stage::Joining {
            self.end(turn);
        }
    }

    fn applied(&mut self, head: DeltaHead, applied: Applied, turn: &mut Turn<'_>) {
        let counted = turn.window.contains(turn.now);
        let counters = &mut turn.tally.counters;
        counters.hashes_checked += u64::from(applied.hashes_checked);
        counters.deltas_received += u64::from(counted);
        if let Some(seat) = self.protocol.seat() {
            self.workload.handle_applied(head, seat, turn);
        }
        let counters = &mut turn.tally.counters;
        match applied.outcome {
            Outcome::Duplicate => counters.duplicates += 1,
            Outcome::Awaiting => counters.ignored_awaiting += 1,
            Outcome::Snapshot | Outcome::Delta => {
                counters.deltas_applied += u64::from(counted);
                self.advanced(head, applied.outcome, turn);
            }
        }
        self.wake(turn.now);
    }

    /// Begins with the next act when it is this client's turn to act at all.
    fn wake(&mut self, now: Timestamp) {
        let is_here = self.stage == Stage::Playing && !self.absences.is_hidden();
        let is_active = is_here && self.workload.is_active();
        if is_active && !self.was_active {
            self.next_act = self.schedule.first_from(now);
        }
        self.was_active = is_active;
    }

    /// The replica moved to a newer tick: ends the old state's ramp and begins another.
    fn advanced(&mut self, head: DeltaHead, outcome: Outcome, turn: &mut Turn<'_>) {
        let Some(clock) = self.protocol.seat().map(|seat| seat.clock) else { return };
        let (due, before) = (self.due(&clock, head.tick), self.shown);
        self.sample_age(turn);
        self.write_ledger(&clock, head, outcome, turn.window, turn.now);
        let was_broken = std::mem::take(&mut self.broken);
        let (tick, now) = (head.tick, turn.now);
        let has_age = clock.tick_us > 0;
        let (load_level, applied_at) = (head.load_level, now);
        self.shown = Some(Shown { tick, due, applied_at, sampled_until: now, load_level, has_age });
        let Some(before) = before else {
            return self.playing(turn);
        };
        if self.note_state(outcome, turn) {
            return;
        }
        let (from, until) = ((before.tick, before.load_level), (head.tick, head.load_level));
        // What came was sent, whatever the level was between the two.
        let sends = sends::between(&clock, from, until).max(1);
        let counters = &mut turn.tally.counters;
        if self.is_slow {
            let is_catch_up = outcome == Outcome::Snapshot || sends > 1;
            counters.slow_catch_ups += u64::from(is_catch_up);
        }
        match outcome {
            Outcome::Snapshot if was_broken => counters.resyncs += 1,
            Outcome::Snapshot => {
                counters.snapshots_unasked += 1;
                counters.conflated += u64::from(sends.saturating_sub(1));
            }
            _ if sends > 1 => {
                counters.catch_ups += 1;
                counters.conflated += u64::from(sends - 1);
            }
            _ => {}
        }
        let counts = outcome == Outcome::Delta && turn.window.contains(turn.now);
        if !counts || !has_age || self.is_slow {
            return;
        }
        counters.applied_before_due += u64::from(turn.now < due);
        turn.tally.delivery.record_between(due, turn.now);
        if sends == 1 {
            let ticks = u64::from(head.tick.0 - before.tick.0);
            let interval_us = u64::from(clock.tick_us) * ticks;
            let arrival_us = turn.now.0.saturating_sub(before.applied_at.0);
            turn.tally.tick_jitter.record(arrival_us.abs_diff(interval_us));
        }
    }

    fn playing(&mut self, turn: &mut Turn<'_>) {
        turn.tally.counters.clients_joined += 1;
        turn.tally.counters.churn_joins += u64::from(self.life > 0);
        turn.tally.join.record_between(self.stage_since, turn.now);
        self.stage = Stage::Playing;
        self.stage_since = turn.now;
    }

    fn closed(&mut self, reason: &CloseReason, turn: &mut Turn<'_>) {
        if self.is_coming() && self.retry(turn) {
            return;
        }
        match self.stage {
            Stage::Closing | Stage::Ended => self.stage = Stage::Ended,
            Stage::Away => {}
            Stage::Upgrading | Stage::Joining | Stage::Playing => {
                if self.is_slow && reason.code() == CloseReason::SLOW_CONSUMER.code() {
                    // It asked for it.
                    turn.tally.counters.slow_closed += 1;
                } else {
                    turn.tally.closes.count(&reason.code().to_string(), reason.reason());
                }
                self.end(turn);
            }
        }
    }

    fn end(&mut self, turn: &mut Turn<'_>) {
        if self.shown.is_none() {
            turn.tally.counters.clients_failed += 1;
        }
        self.sample_age(turn);
        self.stage = Stage::Ended;
    }

    /// When `tick` was due, on our clock.
    fn due(&self, clock: &RoomClock, tick: Tick) -> Timestamp {
        Timestamp(clock.due(tick).0.saturating_add_signed(-self.clock_offset_us))
    }

    /// The last tick that was due inside the window.
    fn cutoff(&self, clock: &RoomClock, window: Window) -> Tick {
        if clock.tick_us == 0 {
            return Tick::MAX;
        }
        let until_us = window.until.0.saturating_add_signed(self.clock_offset_us);
        let ticks = until_us.saturating_sub(clock.epoch.0) / u64::from(clock.tick_us);
        u32::try_from(ticks).map_or(Tick::MAX, Tick)
    }

    fn check_invariants(&self) {
        debug_assert!(
            self.stage != Stage::Playing || self.shown.is_some(),
            "client {}: playing means having state",
            self.index
        );
        debug_assert!(
            !self.was_active || self.shown.is_some(),
            "client {}: acting takes having state",
            self.index
        );
    }
}

/// A connection that is begun, with a key that no other has.
pub(super) fn connect(setup: &Setup<'_>, seed: u64) -> ProtocolClient {
    let mut key = ClientKey::new(Rng::with_seed(seed).u128(..).to_le_bytes());
    if setup.plan.deflate {
        key = key.with_deflate(Offer::default());
    }
    ProtocolClient::connect_with(key, &setup.url.authority, &setup.url.path)
}

#[cfg(test)]
mod tests;
