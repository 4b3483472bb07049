//! A client of any WebSocket server that sends back what it gets: to the sender, or to everybody.
//!
//! ```text
//! new -> request -> upgraded: playing
//! closed loop:  as many messages on their way as asked for; each answer sends the next
//! open loop:    each message at its intended moment, from which its time counts
//! broadcast:    the same, and every message of every sender is counted at every receiver
//! finish -> what was sent in the window and did not come back
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use fastrand::Rng;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::deflate::Offer;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::link::{End, Link, LinkLimits, Received};
use tickloom_protocol::time::Timestamp;

use super::{Client, LATE_US_MAX, Ledger, OUTPUT_BYTES_MAX, Setup, Stage, Turn};
use crate::payload::{self, Stamp};
use crate::plan::{EchoLoad, Load, MessageKind, Pattern};
use crate::tally::Window;
use crate::workload::InputSchedule;

/// Messages of one client that may wait for their answer. A server that falls further behind an
/// open loop does not keep up, and what it still owes counts as blocked.
const PENDING_MAX: usize = 16 * 1024;

/// How long the last messages of a broadcast may take: nobody can tell whether more will come.
const BROADCAST_TAIL_US: u64 = 1_000_000;

/// A sender of messages that come back.
pub struct EchoClient {
    wire: Wire,
    output: Vec<u8>,
    stage: Stage,
    stage_since: Timestamp,
    index: u32,
    clients_count: u32,
    load: EchoLoad,
    /// Present when messages are sent by the clock.
    schedule: Option<InputSchedule>,
    /// The next message of the schedule; meaningful while playing.
    next_intended: u64,
    /// The number of the next message.
    next_number: u32,
    /// Messages that have not come back, in the order they were sent. Empty for broadcasts.
    pending: VecDeque<(u32, Timestamp)>,
    /// The number after that of the newest answer.
    next_answer: u32,
    /// The number of the last message of each sender, plus one; empty but for broadcasts.
    seen: Vec<u32>,
    message: Vec<u8>,
}

enum Wire {
    /// The request is sent; the head of the answer is collected.
    Upgrading { key: ClientKey, head: Vec<u8> },
    /// Messages flow.
    Open(Box<Link>),
    /// Nothing follows.
    Over,
}

impl Client for EchoClient {
    fn new(setup: &Setup<'_>, now: Timestamp) -> Self {
        let (plan, index) = (setup.plan, setup.index);
        let Load::Echo(load) = &plan.load else {
            unreachable!("the driver makes these clients for echo loads only")
        };
        let nonce = Rng::with_seed(plan.seed ^ u64::from(index) << 32 ^ now.0).u128(..);
        let mut key = ClientKey::offering(nonce.to_le_bytes(), load.subprotocol.as_deref());
        if plan.deflate {
            key = key.with_deflate(Offer::default());
        }
        let (schedule, senders_count) = match load.pattern {
            Pattern::Closed { .. } => (None, 0),
            Pattern::Open { rate_hz } => (Some((rate_hz, plan.clients_count)), 0),
            Pattern::Broadcast { senders_count, rate_hz } => {
                let sends = index < senders_count;
                (sends.then_some((rate_hz, senders_count)), senders_count)
            }
        };
        Self {
            output: key.request(&setup.url.authority, &setup.url.path),
            wire: Wire::Upgrading { key, head: Vec::new() },
            stage: Stage::Upgrading,
            stage_since: now,
            index,
            clients_count: plan.clients_count,
            load: load.clone(),
            schedule: schedule.map(|(rate_hz, sharers)| {
                InputSchedule::shared(setup.start, rate_hz, sharers, index)
            }),
            next_intended: 0,
            next_number: 0,
            pending: VecDeque::new(),
            next_answer: 0,
            seen: vec![0; senders_count as usize],
            message: Vec::new(),
        }
    }

    fn handle_bytes(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        turn.count_arrived(bytes);
        let Wire::Upgrading { key, head } = &mut self.wire else {
            return self.handle_frames(bytes, turn);
        };
        head.extend_from_slice(bytes);
        match key.parse_response(head) {
            Ok(None) => {}
            Ok(Some(upgraded)) => {
                let rest = head.split_off(upgraded.head_bytes);
                let limits = LinkLimits::of(End::Client);
                let link = Link::with(End::Client, limits, upgraded.deflate);
                self.wire = Wire::Open(Box::new(link));
                self.upgraded(turn);
                self.handle_frames(&rest, turn);
            }
            Err(error) => {
                turn.tally.errors.count(&error.to_string(), &format!("client {}", self.index));
                self.end(turn);
            }
        }
    }

    fn handle_timer(&mut self, turn: &mut Turn<'_>) {
        while let Some(intended) = self.next_due_at().filter(|at| *at <= turn.now) {
            self.next_intended += 1;
            if intended >= turn.window.until {
                continue;
            }
            let late_us = turn.now.0 - intended.0;
            let counters = &mut turn.tally.counters;
            if turn.window.contains(intended) {
                turn.tally.sched_lag.record(late_us);
            }
            if late_us > LATE_US_MAX {
                counters.messages_skipped += 1;
            } else if self.output.len() > OUTPUT_BYTES_MAX || self.pending.len() >= PENDING_MAX {
                counters.messages_blocked += 1;
            } else {
                self.send(intended, turn);
            }
        }
    }

    fn handle_disconnect(&mut self, error: &str, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Ended | Stage::Away => {}
            Stage::Closing => self.stage = Stage::Ended,
            Stage::Upgrading | Stage::Joining => {
                turn.tally.errors.count(error, &format!("client {}", self.index));
                self.end(turn);
            }
            Stage::Playing => {
                turn.tally.closes.count("1006", error);
                self.end(turn);
            }
        }
    }

    fn handle_stop(&mut self) {
        match &mut self.wire {
            Wire::Open(link) if self.stage == Stage::Playing => {
                link.close(&CloseReason::NORMAL, &mut self.output);
                self.stage = Stage::Closing;
            }
            _ => self.stage = Stage::Ended,
        }
    }

    fn handle_leave(&mut self, _turn: &mut Turn<'_>) -> Option<Ledger> {
        self.handle_stop();
        None
    }

    fn handle_second(&mut self, _turn: &mut Turn<'_>) {}

    fn finish(&mut self, turn: &mut Turn<'_>) -> Option<Ledger> {
        for (_, intended) in self.pending.drain(..) {
            if turn.window.contains(intended) {
                turn.tally.counters.messages_lost += 1;
                // It took at least until now.
                turn.tally.rtt.record_between(intended, turn.now);
            }
        }
        None
    }

    fn stage(&self) -> Stage {
        self.stage
    }

    fn next_due_at(&self) -> Option<Timestamp> {
        if self.stage != Stage::Playing {
            return None;
        }
        self.schedule?.intended(self.next_intended)
    }

    fn has_tail(&self, _window: Window) -> bool {
        self.stage != Stage::Playing || self.pending.is_empty()
    }

    fn tail_us(&self) -> Option<u64> {
        matches!(self.load.pattern, Pattern::Broadcast { .. }).then_some(BROADCAST_TAIL_US)
    }

    fn output_mut(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }
}

impl EchoClient {
    fn upgraded(&mut self, turn: &mut Turn<'_>) {
        turn.tally.counters.clients_connected += 1;
        turn.tally.counters.clients_joined += 1;
        turn.tally.connect.record_between(self.stage_since, turn.now);
        self.stage = Stage::Playing;
        self.stage_since = turn.now;
        if let Some(schedule) = &self.schedule {
            self.next_intended = schedule.first_from(turn.now);
        }
        if let Pattern::Closed { in_flight } = self.load.pattern {
            (0..in_flight).for_each(|_| self.send(turn.now, turn));
        }
    }

    fn handle_frames(&mut self, bytes: &[u8], turn: &mut Turn<'_>) {
        let mut input = bytes;
        while let Wire::Open(link) = &mut self.wire {
            let inflated_before = link.inflated();
            let polled = link.poll(&mut input, &mut self.output);
            turn.count_inflated(inflated_before, link.inflated());
            match polled {
                Ok(None) => return,
                Ok(Some(Received::Binary(message))) => {
                    self.handle_message(&message, MessageKind::Binary, turn);
                }
                Ok(Some(Received::Text(text))) => {
                    self.handle_message(text.as_bytes(), MessageKind::Text, turn);
                }
                Ok(Some(Received::Alive)) => {}
                Ok(Some(Received::Closed(reason))) | Err(reason) => self.closed(&reason, turn),
            }
        }
    }

    fn handle_message(&mut self, message: &[u8], kind: MessageKind, turn: &mut Turn<'_>) {
        let counters = &mut turn.tally.counters;
        let stamp = payload::read(message, self.load.kind);
        let Some(stamp) = stamp.filter(|stamp| stamp.sender < self.clients_count) else {
            // A greeting, a notice that somebody joined: what it replaced will be missed.
            counters.messages_foreign += 1;
            return;
        };
        counters.messages_changed_kind += u64::from(kind != self.load.kind);
        let bytes = self.load.payload_bytes as usize;
        let is_whole = payload::is_whole(stamp, self.load.kind, bytes, message);
        let is_next = match self.load.pattern {
            Pattern::Broadcast { .. } => self.is_next_of_sender(stamp),
            Pattern::Closed { .. } | Pattern::Open { .. } => self.is_next_answer(stamp),
        };
        if !(is_whole && is_next) {
            counters.messages_wrong += 1;
            let length = message.len();
            let sample = format!("client {} got {stamp:?} in {length} bytes", self.index);
            turn.tally.errors.count("message changed, repeated or out of order", &sample);
        } else if turn.window.contains(stamp.intended) {
            self.count_right(stamp, turn);
        }
        if let Pattern::Closed { in_flight } = self.load.pattern
            && self.pending.len() < in_flight as usize
            && turn.now < turn.window.until
            && self.stage == Stage::Playing
        {
            self.send(turn.now, turn);
        }
    }

    fn count_right(&self, stamp: Stamp, turn: &mut Turn<'_>) {
        let (counters, arrived) = (&mut turn.tally.counters, turn.now);
        match self.load.pattern {
            Pattern::Broadcast { .. } if stamp.sender == self.index => {
                counters.messages_to_sender += 1;
            }
            Pattern::Broadcast { .. } => {
                counters.messages_received += 1;
                turn.tally.delivery.record_between(stamp.intended, arrived);
            }
            Pattern::Closed { .. } | Pattern::Open { .. } => {
                counters.messages_received += 1;
                turn.tally.rtt.record_between(stamp.intended, arrived);
            }
        }
    }

    /// Takes the answer off what is awaited; says whether it came when it should.
    fn is_next_answer(&mut self, stamp: Stamp) -> bool {
        let wanted = |(number, intended): &(u32, Timestamp)| {
            stamp.sender == self.index && *number == stamp.number && *intended == stamp.intended
        };
        let Some(at) = self.pending.iter().position(wanted) else { return false };
        self.pending.remove(at);
        // What it overtook is late or lost, and wrong only when it still comes.
        let is_later = stamp.number >= self.next_answer;
        if is_later {
            self.next_answer = stamp.number.wrapping_add(1);
        }
        is_later
    }

    /// Messages of one sender may start anywhere, but then only go up.
    fn is_next_of_sender(&mut self, stamp: Stamp) -> bool {
        let Some(next) = self.seen.get_mut(stamp.sender as usize) else { return false };
        let is_later = stamp.number >= *next;
        if is_later {
            *next = stamp.number.saturating_add(1);
        }
        is_later
    }

    fn send(&mut self, intended: Timestamp, turn: &mut Turn<'_>) {
        let Wire::Open(link) = &mut self.wire else { return };
        let stamp = Stamp { sender: self.index, number: self.next_number, intended };
        self.next_number = self.next_number.wrapping_add(1);
        let (kind, bytes) = (self.load.kind, self.load.payload_bytes as usize);
        payload::write(stamp, kind, bytes, &mut self.message);
        match kind {
            MessageKind::Binary => {
                link.send_binary(Bytes::copy_from_slice(&self.message), &mut self.output);
            }
            MessageKind::Text => {
                let text = str::from_utf8(&self.message).expect("hex digits and letters");
                link.send_text(text.into(), &mut self.output);
            }
        }
        if !matches!(self.load.pattern, Pattern::Broadcast { .. }) {
            self.pending.push_back((stamp.number, intended));
        }
        if turn.window.contains(intended) {
            turn.tally.counters.messages_sent += 1;
        }
    }

    fn closed(&mut self, reason: &CloseReason, turn: &mut Turn<'_>) {
        match self.stage {
            Stage::Closing | Stage::Ended | Stage::Away => {
                self.wire = Wire::Over;
                self.stage = Stage::Ended;
            }
            Stage::Upgrading | Stage::Joining | Stage::Playing => {
                turn.tally.closes.count(&reason.code().to_string(), reason.reason());
                self.end(turn);
            }
        }
    }

    fn end(&mut self, turn: &mut Turn<'_>) {
        if self.stage == Stage::Upgrading {
            turn.tally.counters.clients_failed += 1;
        }
        self.wire = Wire::Over;
        self.stage = Stage::Ended;
    }
}

#[cfg(test)]
mod tests;
