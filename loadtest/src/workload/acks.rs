//! Inputs on their way, and how long until each is acknowledged.

use std::collections::VecDeque;

use tickloom_protocol::ids::InputSeq;
use tickloom_protocol::server_message::DeltaHead;
use tickloom_protocol::time::Timestamp;

use super::Absence;
use crate::client::{Ledger, Turn};

/// Inputs kept while they wait for their acknowledgement: 32 seconds at 128 Hz.
const PENDING_INPUTS_MAX: usize = 4096;

/// What one client waits for.
#[derive(Debug)]
pub(super) struct Acks {
    /// Reads slowly: what it waits for says nothing about the server.
    is_slow: bool,
    /// Inputs without an acknowledgement, ascending.
    pending: VecDeque<(InputSeq, Timestamp)>,
}

impl Acks {
    pub(super) fn new(is_slow: bool) -> Self {
        Self { is_slow, pending: VecDeque::new() }
    }

    /// An input was sent that was meant for this moment.
    pub(super) fn push(&mut self, seq: InputSeq, intended: Timestamp, turn: &mut Turn<'_>) {
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

    /// Whether its inputs are in time, of one that sends some.
    pub(super) fn count_margin(&self, head: DeltaHead, turn: &mut Turn<'_>) {
        if !self.is_slow && turn.window.contains(turn.now) {
            turn.tally.counters.margins_told += 1;
            turn.tally.counters.margins_positive += u64::from(head.margin > 0);
        }
    }

    pub(super) fn handle_applied(&mut self, head: DeltaHead, turn: &mut Turn<'_>) {
        while let Some(&(seq, intended)) = self.pending.front()
            && seq <= head.ack
        {
            self.pending.pop_front();
            if turn.window.contains(intended) {
                turn.tally.counters.inputs_acked += 1;
                if !self.is_slow {
                    turn.tally.input_ack.record_between(intended, turn.now);
                }
            }
        }
    }

    /// Inputs are acknowledged by states, of which none comes.
    pub(super) fn handle_absence(&mut self, absence: Absence, turn: &mut Turn<'_>) {
        for (_, intended) in self.pending.drain(..) {
            let counts = absence == Absence::Cut && turn.window.contains(intended);
            turn.tally.counters.drops_unanswered += u64::from(counts);
        }
    }

    pub(super) fn finish(&mut self, turn: &mut Turn<'_>, ledger: &Ledger) {
        while let Some((_, intended)) = self.pending.pop_front() {
            // Who leaves does not wait for answers.
            if ledger.stayed {
                self.count_unacked(intended, turn);
            }
        }
    }

    /// An input that was never acknowledged took at least until now.
    fn count_unacked(&self, intended: Timestamp, turn: &mut Turn<'_>) {
        if turn.window.contains(intended) {
            turn.tally.counters.inputs_unacked += 1;
            if !self.is_slow {
                turn.tally.input_ack.record_between(intended, turn.now);
            }
        }
    }
}
