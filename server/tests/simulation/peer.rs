//! The two kinds of clients: honest ones, whose replica must never break, and hostile ones, who
//! must not harm anybody.

use std::hash::{DefaultHasher, Hash, Hasher};

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::{ClientMessage, Interest, Join, Report};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::deflate::Offer;
use tickloom_protocol::handshake::{ClientKey, UpgradeError};
use tickloom_protocol::ids::{InputSeq, OpId, Tick};
use tickloom_protocol::replica::{Applied, Outcome as Taken};
use tickloom_protocol::server_message::{DeltaHead, LeaveReason, RefusalCode};
use tickloom_protocol::ticket::Returning;

use crate::described::{Truth, Witness};
use crate::lobby::{Seat, Visit};
use crate::outcome::Outcome;

/// What a client says of how it keeps up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reports {
    Nothing,
    TheTruth,
    /// That it shows this tick for ever, whatever it is sent.
    Stuck(Tick),
    Hidden,
}

/// An honest client and what it has seen.
pub struct Honest {
    pub client: Client,
    /// It asked for the end, or was told that the server stops.
    pub leaving: bool,
    /// Its `Leave` is on the way.
    pub asked_to_leave: bool,
    pub upgraded: bool,
    /// It is waiting for the answer to a `Join`.
    pub joining: bool,
    /// The server has said that it stops.
    told_to_go: bool,
    /// It was closed because its room failed.
    pub room_failed: bool,
    refusals: u32,
    sent: InputSeq,
    acked: InputSeq,
    /// The last write or publication of this seat that a delta said was answered.
    answered: OpId,
    witness: Witness,
    visit: Visit,
    /// What it comes back with, until it has asked for its seat.
    returning: Option<Returning>,
    reports: Reports,
    /// Bytes that are no whole frame yet.
    unread: Vec<u8>,
}

impl Honest {
    pub fn new(rng: &mut fastrand::Rng) -> Self {
        let nonce = std::array::from_fn(|_| rng.u8(..));
        // Some join by address.
        let joining = rng.u8(0..4) == 0;
        let target = if joining {
            let room_type =
                ["arena", "chaos", "board", "feed", "meadow", "meadow"][rng.usize(0..6)];
            format!("/ws/{room_type}/room-{}?name=sim", rng.u8(0..6))
        } else {
            "/ws".to_owned()
        };
        let key = ClientKey::new(nonce);
        let key = if rng.u8(0..4) == 0 { key } else { key.with_deflate(offer(rng)) };
        Self {
            client: Client::connect_with(key, "sim", &target),
            leaving: false,
            asked_to_leave: false,
            upgraded: false,
            joining,
            told_to_go: false,
            room_failed: false,
            refusals: 0,
            sent: InputSeq(0),
            acked: InputSeq(0),
            answered: OpId::NONE,
            witness: Witness::default(),
            visit: Visit::default(),
            returning: None,
            reports: if rng.bool() { Reports::Nothing } else { Reports::TheTruth },
            unread: Vec::new(),
        }
    }

    /// The same client over another connection, if it has a seat to come back to.
    pub fn come_back(mut self, rng: &mut fastrand::Rng) -> Option<Self> {
        let is_done = self.leaving || self.asked_to_leave;
        let returning = self.client.part().filter(|_| !is_done)?;
        let fresh = Self::new(rng);
        let nonce = std::array::from_fn(|_| rng.u8(..));
        let key = ClientKey::new(nonce).with_deflate(offer(rng));
        let client = Client::connect_with(key, "sim", "/ws");
        let (witness, joining, returning) = (self.witness, false, Some(returning));
        Some(Self { client, witness, joining, returning, ..fresh })
    }

    /// Says how it keeps up, if it is one of those that do.
    pub fn report(&mut self, rng: &mut fastrand::Rng) {
        let Some(tick) = self.client.seat().map(|seat| seat.replica.tick()) else { return };
        self.reports = match (self.reports, rng.u8(0..8)) {
            (Reports::Nothing, _) => return,
            (Reports::TheTruth, 0) => Reports::Hidden,
            (Reports::TheTruth, 1) => Reports::Stuck(tick),
            (Reports::Hidden, 0..=2) => Reports::TheTruth,
            (unchanged, _) => unchanged,
        };
        self.say_report(tick);
    }

    /// Looks, and says so, if it says anything.
    pub fn wake(&mut self) {
        let Some(tick) = self.client.seat().map(|seat| seat.replica.tick()) else { return };
        if self.reports != Reports::Nothing {
            self.reports = Reports::TheTruth;
            self.say_report(tick);
        }
    }

    fn say_report(&mut self, tick: Tick) {
        let applied_tick = if let Reports::Stuck(since) = self.reports { since } else { tick };
        let hidden = self.reports == Reports::Hidden;
        self.client.send(ClientMessage::Report(Report { applied_tick, hidden }));
    }

    pub fn join(&mut self, seats: &mut Vec<Seat>, rng: &mut fastrand::Rng) {
        self.joining = true;
        self.visit.begin(&mut self.client, seats, rng);
    }

    pub fn leave(&mut self) {
        self.asked_to_leave = true;
        self.client.leave();
    }

    /// What it has done and seen in a described room.
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// What members do in rooms of this kind.
    pub fn act(&mut self, rng: &mut fastrand::Rng, outcome: &mut Outcome) {
        if self.look(rng) {
            outcome.looks += 1;
        }
        if self.visit.act(&mut self.client, rng) {
            // Spectators try now and then, to no effect.
            return self.input(rng);
        }
        if !self.witness.act(&mut self.client, rng) {
            self.input(rng);
        }
    }

    /// Now and then it looks elsewhere, in rooms in which that means something. Says whether.
    fn look(&mut self, rng: &mut fastrand::Rng) -> bool {
        let Some(seat) = self.client.seat() else { return false };
        let chance = if seat.is_spectator { 0..3 } else { 0..12 };
        if seat.replica.entities().schema().interest().is_none() || rng.u8(chance) > 0 {
            return false;
        }
        // Some look at places that are none.
        let mut axis = || rng.f32() * 200.0 - 100.0;
        let place = Interest::At { x: axis(), y: axis() };
        let interest = if rng.u8(0..3) == 0 { Interest::Own } else { place };
        self.client.send(ClientMessage::Interest(interest));
        true
    }

    fn input(&mut self, rng: &mut fastrand::Rng) {
        let Some(seat) = self.client.seat() else { return };
        let schema = seat.replica.entities().schema();
        let row: Vec<u8> = (0..schema.input().row_bytes()).map(|_| rng.u8(0..255)).collect();
        if schema.input().accepts(&row)
            && let Some(seq) = self.client.input(&row)
        {
            self.sent = seq;
        }
    }

    /// Takes in bytes and checks everything that happens. Returns false when it is over.
    pub fn handle_bytes(&mut self, bytes: &[u8], truth: &mut Truth, outcome: &mut Outcome) -> bool {
        self.unread.extend_from_slice(bytes);
        // One frame at a time, so that what is checked is what that frame did.
        while let Some(end) = self.frame_end() {
            let frame: Vec<u8> = self.unread.drain(..end).collect();
            self.client.handle_bytes(&frame);
            while let Some(event) = self.client.poll_event() {
                if !self.handle_event(event, truth, outcome) {
                    return false;
                }
            }
        }
        true
    }

    /// Where the first whole frame of what is unread ends, or what comes before all frames.
    fn frame_end(&self) -> Option<usize> {
        if !self.upgraded {
            // A head that is passed on in parts would take the first frames along with its end.
            let head = self.unread.windows(4).position(|end| end == b"\r\n\r\n");
            return head.map(|at| at + 4);
        }
        let (head_bytes, length) = match self.unread.get(1)? {
            126 => {
                let length = self.unread.get(2..4)?.try_into().expect("two bytes");
                (4, usize::from(u16::from_be_bytes(length)))
            }
            127 => {
                let length = self.unread.get(2..10)?.try_into().expect("eight bytes");
                (10, u64::from_be_bytes(length) as usize)
            }
            length => (2, usize::from(*length)),
        };
        (self.unread.len() >= head_bytes + length).then_some(head_bytes + length)
    }

    fn upgraded(&mut self) {
        self.upgraded = true;
        if let Some(returning) = self.returning.take() {
            self.joining = true;
            self.client.resume(returning);
        }
    }

    fn joined(&mut self, truth: &mut Truth, outcome: &mut Outcome) {
        self.joining = false;
        self.refusals = 0;
        (self.sent, self.acked) = (InputSeq(0), InputSeq(0));
        self.answered = OpId::NONE;
        let seat = self.client.seat().expect("it has just got one");
        if seat.is_resumed {
            outcome.resumes += 1;
            outcome.recovered += u64::from(seat.is_recovered);
            self.witness.comes_back();
        } else {
            assert!(!seat.is_recovered, "nothing to recover");
            outcome.joins += 1;
            self.witness = Witness::default();
            self.visit.joined(&self.client, &mut truth.seats_taken, outcome);
        }
    }

    fn applied(&mut self, head: &DeltaHead, applied: Applied, outcome: &mut Outcome) {
        assert!(head.ack >= self.acked, "acks never go back");
        assert!(head.ack <= self.sent, "only what was sent is acknowledged");
        self.acked = head.ack;
        assert!(head.ack_op == OpId::NONE || head.ack_op >= self.answered, "nor these");
        self.answered = self.answered.max(head.ack_op);
        let hashes_checked = u64::from(applied.hashes_checked);
        outcome.hashes_checked += hashes_checked;
        if self.client.seat().is_some_and(|seat| seat.replica.streams().next().is_some()) {
            outcome.view_hashes += hashes_checked;
        }
        match applied.outcome {
            Taken::Snapshot => outcome.snapshots += 1,
            Taken::Delta if head.tick.0 - head.base.0 > 2 => outcome.catch_ups += 1,
            Taken::Delta => outcome.deltas += 1,
            Taken::Duplicate | Taken::Awaiting => panic!("{:?}", applied.outcome),
        }
    }

    /// Returns false when it is over.
    fn handle_event(
        &mut self,
        event: ClientEvent,
        truth: &mut Truth,
        outcome: &mut Outcome,
    ) -> bool {
        let mut hasher = DefaultHasher::new();
        format!("{event:?}").hash(&mut hasher);
        outcome.trace = outcome.trace.rotate_left(5) ^ hasher.finish();
        match event {
            ClientEvent::Upgraded => self.upgraded(),
            ClientEvent::Joined => self.joined(truth, outcome),
            ClientEvent::Applied { head, applied, events, .. } => {
                self.applied(&head, applied, outcome);
                self.witness.applied(&self.client, &events, truth, &mut outcome.described);
            }
            ClientEvent::Broken(error) => panic!("a replica broke: {error}"),
            ClientEvent::Refused { code, op, .. }
                if self.visit.answered(&self.client, op, Some(code), outcome) => {}
            ClientEvent::Refused { code, op, .. } if op != OpId::NONE => {
                self.witness.refused(op, code, &mut outcome.described);
            }
            ClientEvent::Accepted(accepted)
                if self.visit.answered(&self.client, accepted.op, None, outcome) => {}
            ClientEvent::Accepted(accepted) => {
                self.witness.accepted(&self.client, &accepted, truth, &mut outcome.described);
            }
            // Its `Leave` crossed the word that it had to go; a join may be under way since.
            ClientEvent::Refused { code: RefusalCode::NotJoined, .. } => {}
            ClientEvent::Refused { code, .. } => {
                self.visit.refused(code, outcome);
                self.joining = false;
                self.refusals += 1;
                // Who keeps asking is closed; an honest client gives up before that.
                if self.refusals > 10 {
                    self.leaving = true;
                    self.client.close();
                }
            }
            ClientEvent::Left(reason) => {
                self.asked_to_leave = false;
                outcome.kicked += u64::from(reason == LeaveReason::Kicked);
                outcome.rooms_ended += u64::from(reason == LeaveReason::RoomEnded);
            }
            ClientEvent::TimeSync(_) => {}
            ClientEvent::GoAway { retry_ms } => {
                assert!(!self.told_to_go && retry_ms <= 5_000, "{retry_ms} ms");
                self.told_to_go = true;
            }
            ClientEvent::Closed(reason) if reason.code() == CloseReason::ROOM_FAILED.code() => {
                outcome.failed += 1;
                self.room_failed = true;
                return false;
            }
            ClientEvent::Closed(reason) => {
                let by_stop = reason.code() == CloseReason::RESTART.code();
                assert_eq!(by_stop, self.told_to_go, "{reason}");
                assert!(self.leaving, "an honest client was closed: {reason}");
                return false;
            }
            ClientEvent::UpgradeFailed(UpgradeError::Status(429)) => {
                outcome.turned_away += 1;
                return false;
            }
            ClientEvent::UpgradeFailed(error) => {
                assert!(self.leaving, "an honest client was not upgraded: {error}");
                return false;
            }
            ClientEvent::Unknown(tag) => panic!("unknown message {tag}"),
        }
        true
    }
}

/// What a client may want of compression; most want what browsers want.
fn offer(rng: &mut fastrand::Rng) -> Offer {
    if rng.bool() {
        return Offer::default();
    }
    let mut bits = || rng.bool().then(|| rng.u8(9..=15));
    let (server_max_window_bits, client_max_window_bits) = (bits(), bits());
    Offer {
        server_no_context_takeover: rng.u8(0..4) == 0,
        server_max_window_bits,
        client_no_context_takeover: rng.bool(),
        client_max_window_bits,
    }
}

/// What a hostile client sends over its life. Frames have a mask of zeros, so that a seed gives
/// the same bytes every time.
pub fn hostile_bytes(rng: &mut fastrand::Rng) -> Vec<u8> {
    let nonce = std::array::from_fn(|_| rng.u8(..));
    let mut bytes = ClientKey::new(nonce).request("sim", "/ws");
    match rng.u8(0..5) {
        0 => bytes = (0..rng.usize(1..600)).map(|_| rng.u8(..)).collect(),
        1 => {
            let at = rng.usize(0..bytes.len());
            bytes[at] ^= 1 << rng.u8(0..8);
        }
        2 => bytes.truncate(rng.usize(1..bytes.len())),
        3 => bytes = b"GET /healthz HTTP/1.1\r\nHost: sim\r\n\r\n".to_vec(),
        _ => {}
    }
    for _ in 0..rng.usize(0..8) {
        let mut payload = if rng.bool() { join_payload(rng) } else { Vec::new() };
        if payload.is_empty() || rng.bool() {
            payload.extend((0..rng.usize(0..60)).map(|_| rng.u8(..)));
        }
        if !payload.is_empty() && rng.bool() {
            let at = rng.usize(0..payload.len());
            payload[at] ^= 1 << rng.u8(0..8);
        }
        let opcode = [0x82, 0x82, 0x82, 0x81, 0x89, 0x8a, 0x02, 0x80, 0x88, 0xc2][rng.usize(0..10)];
        let length = payload.len().min(125) as u8;
        bytes.extend_from_slice(&[opcode, 0x80 | length, 0, 0, 0, 0]);
        bytes.extend_from_slice(&payload[..usize::from(length)]);
    }
    bytes
}

fn join_payload(rng: &mut fastrand::Rng) -> Vec<u8> {
    use tickloom_protocol::client_message::{ClientEncoder, ClientMessage};
    let room = format!("room-{}", rng.u8(0..6));
    let join = Join { room_type: "chaos", room: &room, name: "x", ..Join::default() };
    ClientEncoder::default().encode(ClientMessage::Join(join)).to_vec()
}
