//! A talker: publishes now and then, and hears what everybody says.
//!
//! Each publication carries its sender, its number and the moment it was meant to be sent, so
//! every receiver can tell by itself whether it is late, missing, doubled or out of order.

use std::collections::VecDeque;

use fastrand::Rng;
use tickloom_protocol::client::{Client as ProtocolClient, Seat};
use tickloom_protocol::ids::{ComponentId, EntityId, OpId, StreamId, TopicId};
use tickloom_protocol::schema::FieldId;
use tickloom_protocol::server_message::{Accepted, DeltaHead, RefusalCode};
use tickloom_protocol::time::Timestamp;

use super::hearing::{Arrival, Hearing};
use super::{Absence, Identity, MissingName, Workload};
use crate::client::{Ledger, Talk, Turn};
use crate::payload::{self, Stamp};
use crate::plan::MessageKind;
use crate::scenario::bots::{BotKind, Place};

/// Publications that may wait for their answer: half a minute of the fastest.
const PENDING_MAX: usize = 16 * 1024;

/// A talker.
pub(super) struct Relay {
    topic_name: &'static str,
    /// Present from `Joined` on.
    topic: Option<TopicId>,
    /// Whether it is for the room's host alone to publish.
    is_hosted: bool,
    /// Where the room says who is its host, when it does.
    host: Option<(ComponentId, FieldId)>,
    /// Whether it is this client's turn to talk at all.
    talks: bool,
    is_slow: bool,
    sender: u32,
    payload_bytes: (u32, u32),
    rng: Rng,
    next_number: u32,
    /// Publications without an answer, in the order they were sent.
    pending: VecDeque<(OpId, Timestamp)>,
    body: Vec<u8>,
    hearing: Hearing,
    /// When it heard its first delta: what was said before that is history.
    since: Option<Timestamp>,
    talk: Talk,
}

impl Relay {
    pub(super) fn new(place: &Place<'_>, identity: Identity) -> Self {
        let is_hosted = place.bot.kind == BotKind::Quotes;
        Self {
            topic_name: place.bot.kind.topic().unwrap_or_default(),
            topic: None,
            is_hosted,
            host: None,
            // Where nobody says who the host is, the first of the room is as good as any.
            talks: !is_hosted || place.position == 0,
            is_slow: place.read_rate.is_some(),
            sender: identity.sender,
            payload_bytes: place.bot.payload_bytes,
            rng: Rng::with_seed(identity.seed),
            next_number: 0,
            pending: VecDeque::new(),
            body: Vec::new(),
            hearing: Hearing::default(),
            since: None,
            talk: Talk::default(),
        }
    }

    fn handle_event(&mut self, body: &[u8], turn: &mut Turn<'_>) {
        let kind = MessageKind::Binary;
        let stamp = payload::read(body, kind);
        let stamp = stamp.filter(|stamp| payload::is_whole(*stamp, kind, body.len(), body));
        let counters = &mut turn.tally.counters;
        let Some(stamp) = stamp else {
            counters.events_foreign += 1;
            return;
        };
        match self.hearing.handle_publication(stamp.sender, stamp.number) {
            Arrival::Next | Arrival::AfterHole(_) => {}
            Arrival::Repeated => {
                counters.events_doubled += 1;
                return count_wrong("an event came twice", self.sender, stamp, turn);
            }
            Arrival::Overtaken => {
                counters.events_overtaken += 1;
                return count_wrong("an event came after a later one", self.sender, stamp, turn);
            }
        }
        if !turn.window.contains(stamp.intended) {
            return;
        }
        counters.events_received += 1;
        self.talk.received += 1;
        let was_here = self.since.is_some_and(|since| since <= stamp.intended);
        if stamp.sender == self.sender || !was_here {
            return;
        }
        let times =
            if self.is_slow { &mut turn.tally.slow_delivery } else { &mut turn.tally.delivery };
        times.record_between(stamp.intended, turn.now);
    }

    /// Takes the answer off what is awaited, with what an older server would have left out.
    fn answered(&mut self, op: OpId) -> Option<Timestamp> {
        let at = self.pending.iter().position(|(pending, _)| *pending == op)?;
        self.pending.remove(at).map(|(_, intended)| intended)
    }
}

impl Workload for Relay {
    fn handle_joined(&mut self, seat: &Seat) -> Result<(), MissingName> {
        let schema = seat.replica.entities().schema();
        let missing = MissingName { what: "topic", name: self.topic_name };
        self.topic = Some(schema.topic(self.topic_name).ok_or(missing)?);
        self.host = schema
            .component("host")
            .and_then(|host| Some((host, schema.layout(host)?.field("entity")?)));
        Ok(())
    }

    fn is_active(&self) -> bool {
        self.talks
    }

    fn act(&mut self, intended: Timestamp, protocol: &mut ProtocolClient, turn: &mut Turn<'_>) {
        let Some(topic) = self.topic else { return };
        if self.pending.len() >= PENDING_MAX {
            turn.tally.counters.inputs_blocked += 1;
            return;
        }
        let stamp = Stamp { sender: self.sender, number: self.next_number, intended };
        self.next_number = self.next_number.wrapping_add(1);
        let (least, most) = self.payload_bytes;
        let bytes = self.rng.u32(least..=most) as usize;
        payload::write(stamp, MessageKind::Binary, bytes, &mut self.body);
        let op = protocol.publish(topic, &[], &self.body);
        self.pending.push_back((op, intended));
        if turn.window.contains(intended) {
            turn.tally.counters.ops_sent += 1;
        }
    }

    fn handle_applied(&mut self, _head: DeltaHead, seat: &Seat, turn: &mut Turn<'_>) {
        self.since.get_or_insert(turn.now);
        let heard = seat.replica.heard();
        let lost = heard.lost();
        let mut count = 0;
        self.hearing.handle_delta();
        for event in heard.iter().filter(|event| event.stream == StreamId::ROOM) {
            count += 1;
            self.hearing.handle_event(event.seq.0, lost);
            if Some(event.topic) == self.topic {
                self.handle_event(event.body, turn);
            } else {
                turn.tally.counters.events_foreign += 1;
            }
        }
        let counters = &mut turn.tally.counters;
        let count_lost =
            if self.is_slow { &mut counters.slow_lost } else { &mut counters.events_lost };
        *count_lost += lost.saturating_sub(self.talk.lost);
        self.talk.lost = lost;
        if count > 0 {
            let disagreement = self.hearing.disagreement(lost);
            turn.tally.counters.events_unannounced +=
                disagreement.saturating_sub(self.talk.disagreement);
            self.talk.disagreement = self.talk.disagreement.max(disagreement);
        }
        if self.is_hosted
            && let Some((component, field)) = self.host
        {
            let entities = seat.replica.entities();
            let row = entities.row(component, EntityId::ROOM);
            let layout = entities.schema().layout(component);
            self.talks = row
                .zip(layout)
                .is_some_and(|(row, layout)| layout.read(row, field) == f64::from(seat.entity.0));
        }
    }

    fn handle_accepted(&mut self, accepted: &Accepted, _seat: &Seat, turn: &mut Turn<'_>) {
        let Some(intended) = self.answered(accepted.op) else { return };
        if !turn.window.contains(intended) {
            return;
        }
        turn.tally.counters.ops_accepted += 1;
        self.talk.accepted += 1;
        if !self.is_slow {
            turn.tally.input_ack.record_between(intended, turn.now);
        }
    }

    fn handle_refused(&mut self, op: OpId, _code: RefusalCode, turn: &mut Turn<'_>) -> bool {
        if let Some(intended) = self.answered(op) {
            // Everybody will find a hole where it would have been.
            self.talk.refused += 1;
            turn.tally.counters.ops_refused += u64::from(turn.window.contains(intended));
        }
        false
    }

    fn handle_absence(&mut self, absence: Absence, turn: &mut Turn<'_>) {
        if absence == Absence::Cut {
            turn.tally.counters.drops_unanswered += self.pending.len() as u64;
            self.talk.unanswered += self.pending.len() as u64;
            self.pending.clear();
        }
    }

    fn finish(&mut self, _seat: Option<&Seat>, turn: &mut Turn<'_>, ledger: &mut Ledger) {
        for (_, intended) in self.pending.drain(..) {
            self.talk.unanswered += 1;
            if ledger.stayed && turn.window.contains(intended) {
                turn.tally.counters.ops_unanswered += 1;
            }
        }
        self.talk.holes = self.hearing.holes();
        ledger.talk = Some(self.talk);
    }
}

fn count_wrong(kind: &str, receiver: u32, stamp: Stamp, turn: &mut Turn<'_>) {
    turn.tally.errors.count(kind, &format!("client {receiver} got {stamp:?}"));
}
