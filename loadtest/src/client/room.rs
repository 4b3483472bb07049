//! A player in a room: the protocol's client, the player behind it, and the stamps that turn what
//! arrives into numbers. It is the same in memory and on a socket.
//!
//! ```text
//! new -> request -> Upgraded -> Join -> Joined -> first snapshot: playing
//!        every delta: age ramp closed, delivery, jitter, acks     -> tally
//!        every input: intended time kept until a delta acks it    -> tally
//! finish -> the last ramp, the unacknowledged inputs, the ledger for reach
//! ```

use std::collections::VecDeque;

use tickloom_protocol::client::{Client as ProtocolClient, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::{InputSeq, Tick};
use tickloom_protocol::replica::{Applied, ApplyError, Outcome};
use tickloom_protocol::server_message::{DeltaHead, RoomClock};
use tickloom_protocol::time::Timestamp;

use super::{Client, LATE_US_MAX, Ledger, OUTPUT_BYTES_MAX, Setup, Stage, Turn};
use crate::plan::Load;
use crate::tally::Window;
use crate::workload::{Bot, InputFields, InputSchedule, room_of};

/// Microseconds between two samples of a client's state age: 100 Hz.
pub const AGE_SAMPLE_US: u64 = 10_000;

/// Inputs kept while they wait for their acknowledgement: 32 seconds at 128 Hz.
const PENDING_INPUTS_MAX: usize = 4096;

/// A player in a room.
pub struct RoomClient {
    protocol: ProtocolClient,
    stage: Stage,
    bot: Bot,
    index: u32,
    room: u32,
    clock_offset_us: i64,
    schedule: InputSchedule,
    /// The next input to send; meaningful while playing.
    next_input: u64,
    /// Present from `Joined` on.
    input_fields: Option<InputFields>,
    row: Vec<u8>,
    /// Inputs without an acknowledgement, ascending.
    pending: VecDeque<(InputSeq, Timestamp)>,
    /// When the current stage began.
    stage_since: Timestamp,
    /// Present from the first snapshot on.
    shown: Option<Shown>,
    /// Whether a resync was asked for and not answered yet.
    broken: bool,
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
}

impl Client for RoomClient {
    fn new(setup: &Setup<'_>, now: Timestamp) -> Self {
        let (plan, index) = (setup.plan, setup.index);
        let Load::Rooms(load) = &plan.load else {
            unreachable!("the driver makes players for rooms only")
        };
        let mut bot = Bot::new(plan.seed, index);
        Self {
            protocol: ProtocolClient::connect(&setup.url.authority, &setup.url.path, bot.nonce()),
            stage: Stage::Upgrading,
            bot,
            index,
            room: room_of(index, plan.clients_count, load.rooms_count),
            clock_offset_us: setup.clock_offset_us,
            schedule: InputSchedule::new(setup.start, load.input_rate_hz, index),
            next_input: 0,
            input_fields: None,
            row: Vec::new(),
            pending: VecDeque::new(),
            stage_since: now,
            shown: None,
            broken: false,
            ledger: None,
        }
    }

    fn handle_bytes(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        if turn.window.contains(turn.now) {
            turn.tally.counters.bytes_down += bytes.len() as u64;
        }
        self.protocol.handle_bytes(bytes);
        while let Some(event) = self.protocol.poll_event() {
            self.handle_event(event, turn);
        }
        self.check_invariants();
    }

    fn handle_timer(&mut self, turn: &mut Turn<'_>) {
        while let Some(intended) = self.next_due_at().filter(|at| *at <= turn.now) {
            self.next_input += 1;
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
                self.send_input(intended, turn);
            }
        }
        self.check_invariants();
    }

    fn handle_disconnect(&mut self, error: &str, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Ended => {}
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
        } else if self.stage == Stage::Upgrading {
            self.stage = Stage::Ended;
        }
    }

    fn handle_second(&mut self, turn: &mut Turn<'_>) {
        self.sample_age(turn);
    }

    fn finish(&mut self, turn: &mut Turn<'_>) -> Option<Ledger> {
        if self.stage == Stage::Playing {
            self.sample_age(turn);
        }
        while let Some((_, intended)) = self.pending.pop_front() {
            self.count_unacked(intended, turn);
        }
        let clock = self.protocol.seat().map(|seat| seat.clock);
        let shown = self.shown?;
        let mut ledger = self.ledger.or_else(|| {
            // Nothing at all arrived in the window.
            let send_every = clock?.send_every;
            Some(Ledger {
                room: self.room,
                send_every,
                first: shown.tick,
                last: shown.tick,
                lost: 0,
            })
        })?;
        if let Some(clock) = clock {
            ledger.last = ledger.last.min(self.cutoff(&clock, turn.window));
        }
        Some(ledger)
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn next_due_at(&self) -> Option<Timestamp> {
        if self.stage != Stage::Playing {
            return None;
        }
        self.schedule.intended(self.next_input)
    }

    fn has_tail(&self, window: Window) -> bool {
        match (self.stage, self.shown, self.protocol.seat()) {
            (Stage::Playing, Some(shown), Some(seat)) => {
                shown.tick >= self.cutoff(&seat.clock, window)
            }
            _ => true,
        }
    }

    fn tail_us(&self) -> Option<u64> {
        let clock = self.protocol.seat()?.clock;
        Some(u64::from(clock.tick_us) * u64::from(clock.send_every) * 3)
    }

    fn output_mut(&mut self) -> &mut Vec<u8> {
        self.protocol.output_mut()
    }
}

impl RoomClient {
    /// Records how old the state is, on the client's grid of 100 Hz, up to `turn.now`.
    fn sample_age(&mut self, turn: &mut Turn<'_>) {
        let Some(shown) = &mut self.shown else { return };
        let from_us = shown.sampled_until.0.max(turn.window.from.0);
        let until_us = turn.now.0.min(turn.window.until.0);
        shown.sampled_until = shown.sampled_until.max(turn.now);
        // Clients sample at different moments, or a whole run would see one point of each tick.
        let phase_us = u64::from(self.index) * 7919 % AGE_SAMPLE_US;
        let past_grid_us = (from_us % AGE_SAMPLE_US + AGE_SAMPLE_US - phase_us) % AGE_SAMPLE_US;
        let mut at_us = from_us.saturating_add((AGE_SAMPLE_US - past_grid_us) % AGE_SAMPLE_US);
        while at_us < until_us {
            turn.tally.state_age.record(at_us.saturating_sub(shown.due.0));
            at_us += AGE_SAMPLE_US;
        }
    }

    fn handle_event(&mut self, event: ClientEvent, turn: &mut Turn<'_>) {
        let counters = &mut turn.tally.counters;
        match event {
            ClientEvent::Upgraded => self.upgraded(turn),
            ClientEvent::Joined => {
                let seat = self.protocol.seat().expect("Joined gives a seat");
                let layout = seat.replica.entities().schema().input();
                self.input_fields = Some(InputFields::new(layout));
            }
            ClientEvent::Applied { head, applied, .. } => self.applied(head, applied, turn),
            ClientEvent::Broken(error) => {
                self.broken = true;
                match error {
                    ApplyError::Gap { .. } => counters.gaps += 1,
                    ApplyError::Malformed { .. } => counters.malformed += 1,
                    ApplyError::HashMismatch { .. } => counters.hash_mismatches += 1,
                }
                turn.tally.errors.count("replica", &error.to_string());
            }
            ClientEvent::TimeSync(sync) => {
                // Nobody here pings, so the server says that a clock slipped.
                counters.clock_slips += u64::from(sync.client_us == 0);
            }
            ClientEvent::Refused { code, message, .. } => {
                turn.tally.refusals.count(&format!("{code:?}"), &message);
                if self.stage == Stage::Joining {
                    self.end(turn);
                }
            }
            // Nobody here writes; when the server closes, the close counts.
            ClientEvent::Accepted(_) | ClientEvent::GoAway { .. } => {}
            ClientEvent::Left => {
                turn.tally.closes.count("left", "the seat was given back unasked");
                self.end(turn);
            }
            ClientEvent::Unknown(_) => counters.unknown_messages += 1,
            ClientEvent::UpgradeFailed(error) => {
                let error = error.to_string();
                turn.tally.errors.count(&error, &format!("client {}", self.index));
                self.end(turn);
            }
            ClientEvent::Closed(reason) => self.closed(&reason, turn),
        }
    }

    fn upgraded(&mut self, turn: &mut Turn<'_>) {
        turn.tally.counters.clients_connected += 1;
        turn.tally.connect.record_between(self.stage_since, turn.now);
        let (room, name) = (format!("load-{}", self.room), format!("bot-{}", self.index));
        self.protocol.join(Join { room_type: "arena", room: &room, name: &name, options: &[] });
        self.stage = Stage::Joining;
        self.stage_since = turn.now;
    }

    fn applied(&mut self, head: DeltaHead, applied: Applied, turn: &mut Turn<'_>) {
        let counted = turn.window.contains(turn.now);
        let counters = &mut turn.tally.counters;
        counters.hashes_checked += u64::from(applied.hashes_checked);
        counters.deltas_received += u64::from(counted);
        self.acknowledged(head.ack, turn);
        let counters = &mut turn.tally.counters;
        match applied.outcome {
            Outcome::Duplicate => counters.duplicates += 1,
            Outcome::Awaiting => counters.ignored_awaiting += 1,
            Outcome::Snapshot | Outcome::Delta => {
                counters.deltas_applied += u64::from(counted);
                self.advanced(head, applied.outcome, turn);
            }
        }
    }

    /// The replica moved to a newer tick: ends the old state's ramp and begins another.
    fn advanced(&mut self, head: DeltaHead, outcome: Outcome, turn: &mut Turn<'_>) {
        let Some(clock) = self.protocol.seat().map(|seat| seat.clock) else { return };
        let (due, before) = (self.due(&clock, head.tick), self.shown);
        self.sample_age(turn);
        self.write_ledger(&clock, head, outcome, turn.window, turn.now);
        let was_broken = std::mem::take(&mut self.broken);
        self.shown =
            Some(Shown { tick: head.tick, due, applied_at: turn.now, sampled_until: turn.now });
        let Some(before) = before else {
            return self.playing(turn);
        };
        let counters = &mut turn.tally.counters;
        let sends = head.tick.0.saturating_sub(before.tick.0).div_ceil(u32::from(clock.send_every));
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
        if outcome != Outcome::Delta || !turn.window.contains(turn.now) {
            return;
        }
        counters.applied_before_due += u64::from(turn.now < due);
        turn.tally.delivery.record_between(due, turn.now);
        if sends == 1 {
            let interval_us = u64::from(clock.tick_us) * u64::from(clock.send_every);
            let arrival_us = turn.now.0.saturating_sub(before.applied_at.0);
            turn.tally.tick_jitter.record(arrival_us.abs_diff(interval_us));
        }
    }

    fn playing(&mut self, turn: &mut Turn<'_>) {
        turn.tally.counters.clients_joined += 1;
        turn.tally.join.record_between(self.stage_since, turn.now);
        self.stage = Stage::Playing;
        self.stage_since = turn.now;
        self.next_input = self.schedule.first_from(turn.now);
    }

    fn write_ledger(
        &mut self,
        clock: &RoomClock,
        head: DeltaHead,
        outcome: Outcome,
        window: Window,
        now: Timestamp,
    ) {
        if !window.has_begun(now) {
            return;
        }
        let cutoff = self.cutoff(clock, window);
        let had = self.shown.map_or(head.tick, |shown| shown.tick).min(cutoff);
        let ledger = self.ledger.get_or_insert(Ledger {
            room: self.room,
            send_every: clock.send_every,
            first: had,
            last: had,
            lost: 0,
        });
        let tick = head.tick.min(cutoff);
        if tick <= ledger.last {
            return;
        }
        if outcome == Outcome::Snapshot && self.broken {
            let sends = (tick.0 - ledger.last.0).div_ceil(u32::from(clock.send_every));
            ledger.lost += sends - 1;
        }
        ledger.last = tick;
    }

    fn acknowledged(&mut self, ack: InputSeq, turn: &mut Turn<'_>) {
        while let Some(&(seq, intended)) = self.pending.front()
            && seq <= ack
        {
            self.pending.pop_front();
            if turn.window.contains(intended) {
                turn.tally.counters.inputs_acked += 1;
                turn.tally.input_ack.record_between(intended, turn.now);
            }
        }
    }

    fn send_input(&mut self, intended: Timestamp, turn: &mut Turn<'_>) {
        let Some(fields) = &self.input_fields else { return };
        fields.write(&self.bot.steer(), &mut self.row);
        let Some(seq) = self.protocol.input(&self.row) else { return };
        if turn.window.contains(intended) {
            turn.tally.counters.inputs_sent += 1;
        }
        self.pending.push_back((seq, intended));
        if self.pending.len() > PENDING_INPUTS_MAX
            && let Some((_, oldest)) = self.pending.pop_front()
        {
            self.count_unacked(oldest, turn);
        }
    }

    /// An input that was never acknowledged took at least until now.
    fn count_unacked(&self, intended: Timestamp, turn: &mut Turn<'_>) {
        if turn.window.contains(intended) {
            turn.tally.counters.inputs_unacked += 1;
            turn.tally.input_ack.record_between(intended, turn.now);
        }
    }

    fn closed(&mut self, reason: &CloseReason, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Closing | Stage::Ended => self.stage = Stage::Ended,
            Stage::Upgrading | Stage::Joining | Stage::Playing => {
                turn.tally.closes.count(&reason.code().to_string(), reason.reason());
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
            self.pending.len() <= PENDING_INPUTS_MAX,
            "client {}: {} inputs pending",
            self.index,
            self.pending.len()
        );
    }
}

#[cfg(test)]
mod tests;
