//! A server small enough to be seen through: one room, no socket, faults on request.
#![allow(dead_code, reason = "the unit tests and the smoke test each use a part")]

use std::sync::Arc;

use bytes::Bytes;
use tickloom_protocol::chunks::{ChunkKind, GapWriter, put_chunk, put_varint};
use tickloom_protocol::client_message::ClientMessage;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::handshake::Head;
use tickloom_protocol::ids::{ComponentId, EntityId, InputSeq, MemberId, StreamId, Tick};
use tickloom_protocol::link::{End, Link, Received};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_protocol::server_message::{
    Delta, DeltaHead, Joined, RoomClock, ServerEncoder, ServerMessage, TimeSync,
};
use tickloom_protocol::time::Timestamp;

const BODY: ComponentId = ComponentId(0);

/// What to do wrong with one member's next delta.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Fault {
    /// Nothing.
    #[default]
    None,
    /// State a hash that is not the room's.
    WrongHash,
    /// Leave the delta out and pretend it was sent.
    Gap,
    /// Send the delta twice.
    Duplicate,
    /// Send nothing now; the next delta covers both.
    Conflate,
    /// Send chunks that cannot be read.
    Garbage,
}

/// A room and its members.
pub(crate) struct Double {
    pub(crate) clock: RoomClock,
    pub(crate) tick: Tick,
    pub(crate) members: Vec<Peer>,
    /// How much it says that it leaves out; from 2 on, every other send.
    pub(crate) load_level: u8,
    entities: Entities,
    entered: Vec<EntityId>,
    encoder: ServerEncoder,
}

/// One connection, from the server's side.
#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) output: Vec<u8>,
    pub(crate) fault: Fault,
    pub(crate) closed: Option<u16>,
    pub(crate) inputs: Vec<(InputSeq, Vec<u8>)>,
    pub(crate) resyncs: usize,
    pub(crate) answers_resyncs: bool,
    head: Vec<u8>,
    link: Option<Link>,
    /// The tick the member has; zero without a seat or while it needs a snapshot.
    has: Tick,
    joined: bool,
    wants_snapshot: bool,
}

impl Double {
    pub(crate) fn new(clock: RoomClock) -> Self {
        let quantised = |name| FieldDesc::quantised(name, FieldType::Quant8, -1.0, 1.0);
        let input = vec![
            quantised("move_x"),
            quantised("move_y"),
            FieldDesc::angle("aim", FieldType::Quant8),
            FieldDesc::new("buttons", FieldType::U8),
        ];
        let body = vec![FieldDesc::new("age", FieldType::U8)];
        let components = vec![ComponentDesc::packed("body", body).expect("layout")];
        let schema = RoomSchema::new(components, input).expect("schema");
        Self {
            clock,
            tick: Tick(1),
            members: Vec::new(),
            load_level: 0,
            entities: Entities::new(Arc::new(schema)),
            entered: Vec::new(),
            encoder: ServerEncoder::default(),
        }
    }

    pub(crate) fn connect(&mut self) -> usize {
        self.members.push(Peer { answers_resyncs: true, ..Peer::default() });
        self.members.len() - 1
    }

    pub(crate) fn handle_bytes(&mut self, member: usize, bytes: &[u8], now: Timestamp) {
        let peer = &mut self.members[member];
        let mut rest = bytes;
        let mut after_head = Vec::new();
        if peer.link.is_none() {
            peer.head.extend_from_slice(bytes);
            let Some((Head::Upgrade(upgrade), used)) = Head::parse(&peer.head).expect("a head")
            else {
                return;
            };
            peer.output.extend(upgrade.response());
            peer.link = Some(Link::new(End::Server));
            after_head.extend_from_slice(&peer.head[used..]);
            rest = &after_head;
        }
        while self.members[member].closed.is_none() {
            let peer = &mut self.members[member];
            let link = peer.link.as_mut().expect("upgraded");
            match link.poll(&mut rest, &mut peer.output).expect("frames") {
                None => return,
                Some(Received::Binary(payload)) => self.handle_message(member, &payload, now),
                Some(Received::Closed(reason)) => peer.closed = Some(reason.code()),
                Some(Received::Text(_) | Received::Alive) => {}
            }
        }
    }

    /// One tick: every body ages, everybody gets a delta with the room's hash.
    pub(crate) fn tick(&mut self) {
        self.tick = self.tick.next();
        for id in (1..=self.members.len() as u32).map(EntityId) {
            if self.entities.contains(id) {
                self.entities.set_row(BODY, id, &[self.tick.0 as u8]);
            }
        }
        if self.load_level >= 2 && !self.tick.0.is_multiple_of(2) {
            return;
        }
        self.entered.sort();
        for member in 0..self.members.len() {
            self.send_state(member);
        }
        self.entered.clear();
    }

    pub(crate) fn close(&mut self, member: usize, reason: &CloseReason) {
        let peer = &mut self.members[member];
        let link = peer.link.as_mut().expect("upgraded");
        link.close(reason, &mut peer.output);
        peer.closed = Some(reason.code());
    }

    pub(crate) fn take_output(&mut self, member: usize) -> Vec<u8> {
        std::mem::take(&mut self.members[member].output)
    }

    fn handle_message(&mut self, member: usize, payload: &[u8], now: Timestamp) {
        match ClientMessage::decode(payload).expect("a message") {
            ClientMessage::Join(join) => {
                assert_eq!((join.room_type, join.room), ("arena", "load-0"));
                self.join(member);
            }
            ClientMessage::Input(input) => {
                let layout = self.entities.schema().input();
                assert!(layout.accepts(input.row), "{:?}", input.row);
                self.members[member].inputs.push((input.seq, input.row.to_vec()));
            }
            ClientMessage::Resync { .. } => {
                let peer = &mut self.members[member];
                peer.resyncs += 1;
                peer.wants_snapshot = peer.answers_resyncs;
            }
            ClientMessage::Ping { client_us } => {
                let (tick, epoch) = (self.tick, self.clock.epoch);
                let sync = TimeSync {
                    client_us,
                    server: now,
                    tick,
                    epoch,
                    scale_q16: TimeSync::REAL_TIME,
                };
                self.send(member, &ServerMessage::TimeSync(sync));
            }
            ClientMessage::Leave
            | ClientMessage::Write(_)
            | ClientMessage::Publish(_)
            | ClientMessage::Configure(_)
            | ClientMessage::Kick(_)
            | ClientMessage::Interest(_)
            | ClientMessage::Report(_)
            | ClientMessage::Unknown(_) => {}
        }
    }

    fn join(&mut self, member: usize) {
        let id = member as u16 + 1;
        let entity = EntityId(u32::from(id));
        self.entities.insert(entity, MemberId(id));
        self.entities.set_row(BODY, entity, &[0]);
        self.entered.push(entity);
        let schema = (**self.entities.schema()).clone();
        let joined = Joined::new(MemberId(id), entity, self.clock, self.tick, schema);
        let joined = ServerMessage::Joined(joined);
        self.send(member, &joined);
        // The snapshot comes with the next tick, when everybody else learns of the newcomer.
        let peer = &mut self.members[member];
        (peer.joined, peer.wants_snapshot) = (true, true);
    }

    fn send_state(&mut self, member: usize) {
        let peer = &mut self.members[member];
        let fault = std::mem::take(&mut peer.fault);
        if !peer.joined || peer.closed.is_some() || fault == Fault::Conflate {
            return;
        }
        let is_snapshot = std::mem::take(&mut peer.wants_snapshot);
        let base = if is_snapshot { Tick::ZERO } else { peer.has };
        let ack = peer.inputs.last().map_or(InputSeq(0), |(seq, _)| *seq);
        peer.has = self.tick;
        let mut chunks = self.chunks(is_snapshot);
        match fault {
            Fault::WrongHash => {
                let last = chunks.len() - 1;
                chunks[last] ^= 1;
            }
            Fault::Garbage => chunks = vec![0, 2, 3, 0, 9, 9],
            Fault::Gap => return,
            Fault::None | Fault::Duplicate | Fault::Conflate => {}
        }
        let load_level = self.load_level;
        let head = DeltaHead { tick: self.tick, base, ack, load_level, ..DeltaHead::default() };
        let delta = ServerMessage::Delta(Delta { head, chunks: &chunks });
        self.send(member, &delta);
        if fault == Fault::Duplicate {
            self.send(member, &delta);
        }
    }

    fn chunks(&self, is_snapshot: bool) -> Vec<u8> {
        let (mut chunks, mut body) = (Vec::new(), Vec::new());
        let kind = if is_snapshot { ChunkKind::Snapshot } else { ChunkKind::Delta };
        if is_snapshot {
            self.entities.put_snapshot(View::Room, &mut body);
        } else {
            body.push(0);
            let mut gaps = GapWriter::default();
            for entity in &self.entered {
                gaps.put(&mut body, *entity);
                put_varint(&mut body, entity.0);
            }
            body.push(0);
            let ids = (1..=self.members.len() as u32).map(EntityId);
            self.entities.put_values(BODY, ids, &mut body);
        }
        put_chunk(&mut chunks, StreamId::ROOM, kind, &body);
        self.entities.put_hash_chunk(View::Room, &mut Vec::new(), &mut chunks);
        chunks
    }

    fn send(&mut self, member: usize, message: &ServerMessage<'_>) {
        let payload = Bytes::copy_from_slice(self.encoder.encode(message));
        let peer = &mut self.members[member];
        peer.link.as_mut().expect("upgraded").send_binary(payload, &mut peer.output);
    }
}
