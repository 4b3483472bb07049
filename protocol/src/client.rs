//! One client without its socket: handshake, link and replica in one type.
//!
//! Load generators, tests, the simulation and native games all drive the same [`Client`]; they
//! differ in where its bytes come from.
//!
//! ```text
//! connect -> Upgraded -> join() -> Joined -> Applied (snapshot) -> Applied ... -> Closed
//!               '------> resume() -> Joined -> Applied (catch-up) -> ...    part() <-'
//! ```

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;

use bytes::Bytes;

use crate::changes::ChangesBuilder;
use crate::chunks::Value;
use crate::client_message::{
    ClientEncoder, ClientMessage, Configure, Input, Join, Kick, Publish, Recipients, Write,
};
use crate::clock::Timetable;
use crate::close::CloseReason;
use crate::events::OwnedEvent;
use crate::handshake::{ClientKey, UpgradeError};
use crate::ids::{ComponentId, EntityId, InputSeq, MemberId, Moment, OpId, Tick, TopicId};
use crate::link::{End, InflatedCounts, Link, LinkLimits, Received};
use crate::pending::PendingProps;
use crate::replica::{Applied, ApplyError, Outcome, Replica};
use crate::server_message::{
    Accepted, Delta, DeltaHead, Joined, LeaveReason, RefusalCode, Refused, RoomClock,
    ServerMessage, TimeSync,
};
use crate::ticket::{Returning, Ticket};

/// A client of one server.
///
/// Contract: after every call that changes it, take [`Client::poll_event`] until `None` and send
/// [`Client::take_output`] before sleeping.
pub struct Client {
    phase: Phase,
    seat: Option<Seat>,
    encoder: ClientEncoder,
    events: VecDeque<ClientEvent>,
    output: Vec<u8>,
    last_op: OpId,
    /// The names of the room it asked for last, and its own.
    asked: Option<Box<Asked>>,
    /// What it takes to the seat it has asked for, until it gets one.
    returning: Option<Box<Returning>>,
}

struct Asked {
    room_type: Box<str>,
    room: Box<str>,
    name: Box<str>,
}

enum Phase {
    /// The request is sent; the answer, as far as it came, is in `head`.
    Upgrading { key: ClientKey, head: Vec<u8> },
    /// Messages flow.
    Open(Box<Link>),
    /// A close frame was sent or received, or the upgrade failed.
    Closed,
}

/// A seat in a room, from the client's side.
#[derive(Debug)]
pub struct Seat {
    /// The client's member id.
    pub member: MemberId,
    /// The entity that is the client's own.
    pub entity: EntityId,
    /// When the room's ticks are due.
    pub clock: RoomClock,
    /// The same, with what [`Client::ping`] told of it since.
    pub timetable: Timetable,
    /// The room's name, when the server chose it; empty when the client did.
    pub room: Box<str>,
    /// Whether the client only watches.
    pub is_spectator: bool,
    /// What the client knows of the room.
    pub replica: Replica,
    /// What it wrote with [`Client::write_prop`] and the replica does not show yet.
    pub pending: PendingProps,
    /// Whether it is the seat that the client had over another connection before.
    pub is_resumed: bool,
    /// Whether it is, and nothing that was said meanwhile is missing. What is, the replica counts.
    pub is_recovered: bool,
    /// How long the seat is kept when the connection breaks, in milliseconds; 0 not at all.
    pub grace_ms: u32,
    token: Box<[u8]>,
    last_seq: InputSeq,
}

/// Something that happened to a client.
#[derive(Clone, PartialEq, Debug)]
pub enum ClientEvent {
    /// The upgrade went through; messages may be sent.
    Upgraded,
    /// A seat was given; see [`Client::seat`].
    Joined,
    /// A delta, a catch-up or a snapshot was taken.
    Applied {
        /// What it said to this member.
        head: DeltaHead,
        /// What it did.
        applied: Applied,
        /// Bytes of its chunks.
        chunks_bytes: usize,
        /// What was said with it. The replica has that of the last delta only, and bytes may
        /// bring several.
        events: Vec<OwnedEvent>,
    },
    /// A delta did not fit; a resync was asked for.
    Broken(ApplyError),
    /// The server told its time.
    TimeSync(TimeSync),
    /// The server refused something; the connection is still usable.
    Refused {
        /// Why, for programs.
        code: RefusalCode,
        /// Why, for people.
        message: Box<str>,
        /// When to try again, in milliseconds; 0 means that trying again will not help.
        retry_ms: u32,
        /// Which write or publication; [`OpId::NONE`] when it was something else.
        op: OpId,
    },
    /// A write or publication takes effect.
    Accepted(Accepted),
    /// The server stops: close, and come back after this many milliseconds.
    GoAway {
        /// Milliseconds from now.
        retry_ms: u32,
    },
    /// The seat is gone; the connection goes on.
    Left(LeaveReason),
    /// A message of a kind this version does not know was passed over.
    Unknown(u8),
    /// The server answered the upgrade with something else. Nothing follows.
    UpgradeFailed(UpgradeError),
    /// The connection is over. Nothing follows.
    Closed(CloseReason),
}

impl Client {
    /// A client that asks `host` for `target`, usually `/ws`. `nonce` must be random for every
    /// connection (RFC 6455 section 4.1).
    #[must_use]
    pub fn connect(host: &str, target: &str, nonce: [u8; 16]) -> Self {
        Self::connect_with(ClientKey::new(nonce), host, target)
    }

    /// A client that asks `host` for `target` with a key of its own, which may offer compression.
    #[must_use]
    pub fn connect_with(key: ClientKey, host: &str, target: &str) -> Self {
        let output = key.request(host, target);
        Self {
            phase: Phase::Upgrading { key, head: Vec::new() },
            seat: None,
            encoder: ClientEncoder::default(),
            events: VecDeque::new(),
            output,
            last_op: OpId::NONE,
            asked: None,
            returning: None,
        }
    }

    /// Takes in bytes that arrived.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        while self.handle_next(&mut input) {}
    }

    /// Takes in bytes off the front of `input`, up to the end of one message; says whether there
    /// may be another. What [`Replica::heard`] says is that of one delta, so whoever wants to hear
    /// everything takes events after each call.
    pub fn handle_next(&mut self, input: &mut &[u8]) -> bool {
        let Phase::Upgrading { key, head } = &mut self.phase else {
            return self.handle_frame(input);
        };
        head.extend_from_slice(mem::take(input));
        match key.parse_response(head) {
            Ok(None) => {}
            Ok(Some(upgraded)) => {
                let rest = head.split_off(upgraded.head_bytes);
                let limits = LinkLimits::of(End::Client);
                let link = Link::with(End::Client, limits, upgraded.deflate);
                self.phase = Phase::Open(Box::new(link));
                self.events.push_back(ClientEvent::Upgraded);
                // Nobody has joined yet, so there is nothing to hear in it.
                let mut rest = &rest[..];
                while self.handle_frame(&mut rest) {}
            }
            Err(error) => {
                self.phase = Phase::Closed;
                self.events.push_back(ClientEvent::UpgradeFailed(error));
            }
        }
        false
    }

    /// Asks for a seat in a room.
    pub fn join(&mut self, join: Join<'_>) {
        let Join { room_type, room, name, .. } = join;
        let (room_type, room, name) = (room_type.into(), room.into(), name.into());
        self.asked = Some(Box::new(Asked { room_type, room, name }));
        if join.resume.is_none() {
            self.returning = None;
        }
        self.send(ClientMessage::Join(join));
    }

    /// Asks for the seat that was had over another connection. [`Seat::is_resumed`] says whether
    /// it was given back; if not, a seat is one like any other.
    pub fn resume(&mut self, returning: Returning) {
        let ticket = returning.ticket.clone();
        self.resume_by(returning, ticket.join());
    }

    /// Asks for the seat that was had over another connection, by a join that says more than the
    /// ticket does, for the case that the seat is gone.
    pub fn resume_by(&mut self, returning: Returning, join: Join<'_>) {
        let ticket = returning.ticket.clone();
        self.returning = Some(Box::new(returning));
        self.join(Join { resume: Some(ticket.resume()), ..join });
    }

    /// What brings another client back to this one's seat. `None` without a seat, when the server
    /// keeps none, and when the seat was asked for by path: then the caller knows the names and
    /// this client does not.
    #[must_use]
    pub fn ticket(&self) -> Option<Ticket> {
        let (seat, asked) = (self.seat.as_ref()?, self.asked.as_ref()?);
        if seat.token.is_empty() {
            return None;
        }
        let room = if seat.room.is_empty() { &asked.room } else { &seat.room };
        let (events_from, private_from) = seat.replica.heard().resume_from();
        Some(Ticket {
            room_type: asked.room_type.clone(),
            room: room.clone(),
            name: asked.name.clone(),
            member: seat.member,
            token: seat.token.clone(),
            tick: seat.replica.tick(),
            events_from,
            private_from,
        })
    }

    /// Takes out what another client resumes with: this one's seat, or what it was to resume with
    /// itself and was not answered.
    pub fn part(&mut self) -> Option<Returning> {
        let Some(ticket) = self.ticket() else { return self.returning.take().map(|it| *it) };
        let replica = self.seat.take().map(|seat| seat.replica);
        Some(Returning { ticket, replica })
    }

    /// Gives the seat back.
    pub fn leave(&mut self) {
        self.send(ClientMessage::Leave);
    }

    /// Sends what the player does, as a row in the room's input layout. Returns the number the
    /// server will acknowledge, or `None` without a seat.
    pub fn input(&mut self, row: &[u8]) -> Option<InputSeq> {
        self.input_seeing(Moment::ZERO, row)
    }

    /// The same for a player who saw the room as it was at this moment, between two states that
    /// came.
    pub fn input_seeing(&mut self, seen: Moment, row: &[u8]) -> Option<InputSeq> {
        let seat = self.seat.as_mut()?;
        seat.last_seq.0 += 1;
        let (seq, applied_tick) = (seat.last_seq, seat.replica.tick());
        self.send(ClientMessage::Input(Input { seq, applied_tick, seen, row }));
        Some(seq)
    }

    /// Changes the room's state: all of `changes` or nothing. Returns the number that the answer
    /// will name.
    pub fn write(&mut self, changes: &ChangesBuilder) -> OpId {
        self.write_if(changes, Tick::ZERO)
    }

    /// Changes the room's state, unless something it touches changed after `if_tick`.
    pub fn write_if(&mut self, changes: &ChangesBuilder, if_tick: Tick) -> OpId {
        let op = self.next_op();
        let mut bytes = Vec::new();
        changes.put(&mut bytes);
        self.send(ClientMessage::Write(Write { op, if_tick, changes: &bytes }));
        op
    }

    /// Sets a property, which [`Seat::prop`] shows from now on; [`Value::Nil`] removes it. Returns
    /// the number that the answer will name, or `None` without a seat.
    pub fn write_prop(
        &mut self,
        component: ComponentId,
        entity: EntityId,
        key: &str,
        value: Value,
    ) -> Option<OpId> {
        self.seat.as_ref()?;
        let mut changes = ChangesBuilder::default();
        changes.prop(component, entity, key, &value);
        let op = self.write(&changes);
        let seat = self.seat.as_mut()?;
        seat.pending.write(op, component, entity, key, value);
        Some(op)
    }

    /// Says something to everybody in the room, or to the members named. Returns the number that
    /// the answer will name.
    pub fn publish(&mut self, topic: TopicId, to: &[MemberId], body: &[u8]) -> OpId {
        let op = self.next_op();
        let mut buffer = Vec::new();
        let to = Recipients::put(to, &mut buffer);
        self.send(ClientMessage::Publish(Publish { op, topic, to, body }));
        op
    }

    /// Changes what the room is to newcomers, as its host. Returns the number that the answer will
    /// name, whatever `configure` says.
    pub fn configure(&mut self, configure: Configure<'_>) -> OpId {
        let op = self.next_op();
        self.send(ClientMessage::Configure(Configure { op, ..configure }));
        op
    }

    /// Sends a member away, as the room's host, with a sentence for them. Returns the number that
    /// the answer will name.
    pub fn kick(&mut self, member: MemberId, message: &str) -> OpId {
        let op = self.next_op();
        self.send(ClientMessage::Kick(Kick { op, member, message }));
        op
    }

    fn next_op(&mut self) -> OpId {
        self.last_op = OpId(self.last_op.0.checked_add(1).unwrap_or(1));
        self.last_op
    }

    /// Asks for the server's time; `client_us` comes back in the answer.
    pub fn ping(&mut self, client_us: u64) {
        self.send(ClientMessage::Ping { client_us });
    }

    /// Sends any message, for tests of a server's manners.
    pub fn send(&mut self, message: ClientMessage<'_>) {
        let Phase::Open(link) = &mut self.phase else { return };
        let payload = Bytes::copy_from_slice(self.encoder.encode(message));
        link.send_binary(payload, &mut self.output);
    }

    /// Sends a close frame. The server's answer ends the client.
    pub fn close(&mut self) {
        self.close_with(&CloseReason::NORMAL);
    }

    /// Sends a close frame that says something else than that the client is done. After 1000 the
    /// seat is gone; after other codes it is kept for a while, as after no close frame at all.
    pub fn close_with(&mut self, reason: &CloseReason) {
        if let Phase::Open(link) = &mut self.phase {
            link.close(reason, &mut self.output);
        }
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// Takes the bytes to send; empty when there are none.
    pub fn take_output(&mut self) -> Vec<u8> {
        mem::take(&mut self.output)
    }

    /// Bytes to send. Those that were sent are to be dropped from it.
    pub fn output_mut(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The seat, from [`ClientEvent::Joined`] to [`ClientEvent::Left`]. The end of the connection
    /// leaves it readable: what the client knew last can still be compared with its room.
    #[must_use]
    pub fn seat(&self) -> Option<&Seat> {
        self.seat.as_ref()
    }

    /// Compressed messages that came so far; none any more once the connection is over.
    #[must_use]
    pub fn inflated(&self) -> InflatedCounts {
        match &self.phase {
            Phase::Open(link) => link.inflated(),
            Phase::Upgrading { .. } | Phase::Closed => InflatedCounts::default(),
        }
    }

    fn handle_frame(&mut self, input: &mut &[u8]) -> bool {
        let Phase::Open(link) = &mut self.phase else { return false };
        match link.poll(input, &mut self.output) {
            Ok(None) => return false,
            Ok(Some(Received::Binary(payload))) => self.handle_message(&payload),
            // Rooms speak binary; a text is a newer server's business.
            Ok(Some(Received::Text(_) | Received::Alive)) => {}
            Ok(Some(Received::Closed(reason))) | Err(reason) => self.end(reason),
        }
        true
    }

    fn handle_message(&mut self, payload: &[u8]) {
        let message = match ServerMessage::decode(payload) {
            Ok(message) => message,
            Err(error) => {
                let reason = CloseReason::from(error);
                if let Phase::Open(link) = &mut self.phase {
                    link.close(&reason, &mut self.output);
                }
                return self.end(reason);
            }
        };
        let event = match message {
            ServerMessage::Delta(delta) => match self.apply(&delta) {
                Some(event) => event,
                // A delta that crossed our Leave.
                None => return,
            },
            ServerMessage::Joined(joined) => {
                let returning = self.returning.take().map(|returning| *returning);
                self.seat = Some(Seat::new(joined, returning));
                ClientEvent::Joined
            }
            ServerMessage::TimeSync(sync) => {
                if let Some(seat) = &mut self.seat
                    && sync.epoch.0 != 0
                {
                    seat.clock.epoch = sync.epoch;
                    seat.timetable.handle_sync(&sync);
                }
                ClientEvent::TimeSync(sync)
            }
            ServerMessage::Refused(Refused { code, message, retry_ms, op }) => {
                if let Some(seat) = &mut self.seat {
                    seat.pending.handle_refused(op);
                }
                ClientEvent::Refused { code, message: message.into(), retry_ms, op }
            }
            ServerMessage::Accepted(accepted) => ClientEvent::Accepted(accepted),
            ServerMessage::GoAway { retry_ms } => ClientEvent::GoAway { retry_ms },
            ServerMessage::Left(left) => {
                self.seat = None;
                ClientEvent::Left(left.reason)
            }
            ServerMessage::Unknown(tag) => ClientEvent::Unknown(tag),
        };
        self.events.push_back(event);
    }

    fn apply(&mut self, delta: &Delta<'_>) -> Option<ClientEvent> {
        let seat = self.seat.as_mut()?;
        let have_tick = seat.replica.tick();
        match seat.replica.apply(delta) {
            Ok(applied) => {
                // What an unfit message acknowledges is said again by the snapshot to come.
                if matches!(applied.outcome, Outcome::Delta | Outcome::Snapshot) {
                    seat.pending.handle_ack(delta.head.ack_op);
                }
                let chunks_bytes = delta.chunks.len();
                let events = seat.replica.heard().iter().map(OwnedEvent::from).collect();
                Some(ClientEvent::Applied { head: delta.head, applied, chunks_bytes, events })
            }
            Err(error) => {
                let reason = error.resync_reason();
                self.send(ClientMessage::Resync { have_tick, reason });
                Some(ClientEvent::Broken(error))
            }
        }
    }

    fn end(&mut self, reason: CloseReason) {
        self.phase = Phase::Closed;
        self.events.push_back(ClientEvent::Closed(reason));
    }
}

impl Seat {
    /// A property as the member is to see it: with its own writes that are under way.
    #[must_use]
    pub fn prop(&self, component: ComponentId, entity: EntityId, key: &str) -> Option<&Value> {
        self.pending.get(self.replica.entities(), component, entity, key)
    }

    /// A seat, with what is known of it already when it is the one that was had before: another
    /// one never has the same member id.
    fn new(joined: Joined, returning: Option<Returning>) -> Self {
        let before = returning.filter(|before| before.ticket.member == joined.member);
        let is_resumed = before.is_some();
        let fresh = |schema| Replica::new(joined.member, Arc::new(schema));
        let replica = match before {
            None => fresh(joined.schema),
            Some(Returning { replica: Some(replica), .. }) => replica,
            Some(Returning { replica: None, ticket }) => {
                fresh(joined.schema).hearing_from(ticket.events_from, ticket.private_from)
            }
        };
        Self {
            member: joined.member,
            entity: joined.entity,
            clock: joined.clock,
            timetable: Timetable::new(joined.clock, joined.tick),
            room: joined.room,
            is_spectator: joined.spectator,
            replica,
            pending: PendingProps::default(),
            is_resumed,
            is_recovered: joined.recovered,
            grace_ms: joined.grace_ms,
            token: joined.token,
            last_seq: InputSeq(0),
        }
    }
}

#[cfg(test)]
mod tests;
