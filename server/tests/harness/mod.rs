//! What the tests of a shard share: a shard without sockets whose clock is a number, and clients
//! whose sockets take as much as a test lets them.
#![allow(dead_code, reason = "each test file is a crate that uses some of it")]

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::deflate::Offer;
use tickloom_protocol::events::OwnedEvent;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, OpId, Tick, TopicId};
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::{Accepted, RefusalCode};
use tickloom_protocol::time::Timestamp;
use tickloom_server::allowance::Allowance;
use tickloom_server::config::Config;
use tickloom_server::outbox::OutboxLimits;
use tickloom_server::room::Room;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{NO_SOCKET, Reads, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig};

/// Limits of an outbox that no ordinary test meets.
pub const WIDE: OutboxLimits = OutboxLimits { soft_bytes_max: 256 << 10, hard_bytes_max: 1 << 20 };

/// A shard of its own server.
pub fn shard(room_types: RoomTypes, outbox: OutboxLimits) -> Shard {
    let config = Config::loopback();
    Shard::new(ShardConfig {
        allowance: Allowance::UNLIMITED,
        outbox,
        sessions_max: 2_000,
        rooms_max: 10,
        // Who is cut off is gone, but in tests about coming back.
        room_grace: Duration::ZERO,
        ..ShardConfig::alone(&config, room_types)
    })
}

/// A shard and the sockets of its clients.
pub struct World {
    pub shard: Shard,
    pub now: Timestamp,
    lines: BTreeMap<SessionId, Line>,
}

/// A socket.
#[derive(Default)]
struct Line {
    /// Takes nothing at all while this is set.
    is_stuck: bool,
    /// What it took and its client has not read.
    taken: Vec<u8>,
    is_closed: bool,
    /// When it is to be read.
    reads: Option<Reads>,
}

/// A client and what it has seen.
pub struct Peer {
    pub id: SessionId,
    pub client: Client,
    /// In the order they happened; see also the lists below.
    pub events: Vec<ClientEvent>,
}

impl World {
    pub fn new(room_types: RoomTypes, outbox: OutboxLimits) -> Self {
        Self::of(shard(room_types, outbox))
    }

    pub fn of(shard: Shard) -> Self {
        Self { shard, now: Timestamp(1_000_000), lines: BTreeMap::new() }
    }

    /// A connection from somewhere that has said nothing yet.
    pub fn accept(&mut self, peer: SocketAddr) -> SessionId {
        let id = self.shard.handle_accept(self.now, peer);
        self.lines.insert(id, Line::default());
        self.obey();
        id
    }

    /// Bytes of a connection arrive; returns what its socket took since.
    pub fn say(&mut self, id: SessionId, bytes: &[u8]) -> Vec<u8> {
        self.shard.handle_bytes(self.now, id, bytes);
        self.obey();
        self.lines.get_mut(&id).map(|line| mem::take(&mut line.taken)).unwrap_or_default()
    }

    /// A connection ends at the other end.
    pub fn hang_up(&mut self, id: SessionId) {
        self.shard.handle_disconnect(self.now, id);
        self.obey();
    }

    /// When a connection is to be read.
    pub fn reads(&self, id: SessionId) -> Reads {
        self.lines[&id].reads.unwrap_or(Reads::OnArrival)
    }

    /// Whether a connection's socket is gone.
    pub fn is_over(&self, id: SessionId) -> bool {
        self.lines[&id].is_closed
    }

    /// A client that is upgraded.
    pub fn connect(&mut self) -> Peer {
        self.connect_with(ClientKey::new([7; 16]))
    }

    pub fn connect_with(&mut self, key: ClientKey) -> Peer {
        let id = self.shard.handle_accept(self.now, NO_SOCKET);
        self.lines.insert(id, Line::default());
        let client = Client::connect_with(key, "test", "/ws");
        let mut peer = Peer { id, client, events: Vec::new() };
        self.turn(&mut peer);
        assert_eq!(mem::take(&mut peer.events), [ClientEvent::Upgraded]);
        peer
    }

    /// A client that was given a seat, and has seen nothing but that.
    pub fn join(&mut self, room_type: &str, name: &str) -> Peer {
        self.join_with(room_type, name, &[])
    }

    pub fn join_with(&mut self, room_type: &str, name: &str, options: &[u8]) -> Peer {
        let peer = self.connect();
        self.seat(peer, room_type, name, options)
    }

    /// The same for a client that offers to inflate.
    pub fn join_inflating(&mut self, room_type: &str, offer: Offer) -> Peer {
        let peer = self.connect_with(ClientKey::new([7; 16]).with_deflate(offer));
        self.seat(peer, room_type, "inflates", &[])
    }

    fn seat(&mut self, mut peer: Peer, room_type: &str, name: &str, options: &[u8]) -> Peer {
        peer.client.join(Join { room_type, room: "a", name, options, ..Join::default() });
        self.turn(&mut peer);
        assert_eq!(peer.events.first(), Some(&ClientEvent::Joined), "{:?}", peer.events);
        peer.events.remove(0);
        peer
    }

    /// What the client wants to say arrives, and what its socket took is read.
    pub fn turn(&mut self, peer: &mut Peer) {
        let output = peer.client.take_output();
        self.shard.handle_bytes(self.now, peer.id, &output);
        self.obey();
        self.read(peer);
    }

    /// What its socket took is read.
    pub fn read(&mut self, peer: &mut Peer) {
        let Some(line) = self.lines.get_mut(&peer.id) else { return };
        peer.client.handle_bytes(&mem::take(&mut line.taken));
        peer.events.extend(std::iter::from_fn(|| peer.client.poll_event()));
    }

    /// What its socket took is lost on the way.
    pub fn lose(&mut self, peer: &Peer) {
        if let Some(line) = self.lines.get_mut(&peer.id) {
            line.taken.clear();
        }
    }

    /// Bytes that a client sends, whatever they are.
    pub fn send(&mut self, peer: &Peer, bytes: &[u8]) {
        self.shard.handle_bytes(self.now, peer.id, bytes);
        self.obey();
    }

    pub fn turns<'a>(&mut self, peers: impl IntoIterator<Item = &'a mut Peer>) {
        for peer in peers {
            self.turn(peer);
        }
    }

    /// Its socket takes nothing from now on.
    pub fn block(&mut self, peer: &Peer) {
        self.lines.get_mut(&peer.id).expect("connected").is_stuck = true;
    }

    /// Its socket takes everything again.
    pub fn unblock(&mut self, peer: &Peer) {
        self.lines.get_mut(&peer.id).expect("connected").is_stuck = false;
        self.shard.list_for_flush(peer.id);
        self.obey();
    }

    pub fn disconnect(&mut self, peer: &Peer) {
        self.shard.handle_broken(self.now, peer.id);
        self.obey();
    }

    pub fn is_closed(&self, peer: &Peer) -> bool {
        self.lines[&peer.id].is_closed
    }

    /// Forgets the sockets that are gone.
    pub fn forget_closed(&mut self) {
        self.lines.retain(|_, line| !line.is_closed);
    }

    /// Bytes queued for a client.
    pub fn queued(&self, peer: &Peer) -> usize {
        self.shard.outbox(peer.id).map_or(0, |outbox| outbox.bytes())
    }

    /// Time passes in the steps the shard asks for.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.shard.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.shard.handle_timeout(self.now);
            self.obey();
        }
        self.now = end;
        self.shard.check_invariants();
    }

    /// The only room.
    pub fn room(&self) -> &Room {
        self.shard.rooms().iter().next().expect("a room").1
    }

    fn obey(&mut self) {
        loop {
            while let Some(id) = self.shard.poll_flush() {
                let Some(outbox) = self.shard.outbox(id) else { continue };
                let Some(line) = self.lines.get_mut(&id) else { continue };
                if line.is_stuck {
                    self.shard.handle_blocked(id);
                    continue;
                }
                let mut buffer = vec![0; outbox.bytes()];
                let sent = outbox.copy_front(&mut buffer);
                line.taken.extend_from_slice(&buffer);
                self.shard.handle_sent(self.now, id, sent);
            }
            match self.shard.poll_effect() {
                None => return,
                Some(Effect::Close(id)) => {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.is_closed = true;
                    }
                }
                Some(Effect::ShutDown(id)) => self.shard.handle_disconnect(self.now, id),
                // Bytes may always come earlier than they are asked for; see `World::reads`.
                Some(Effect::Read(id, reads)) => {
                    if let Some(line) = self.lines.get_mut(&id) {
                        line.reads = Some(reads);
                    }
                }
                Some(Effect::Record(_) | Effect::Recording(_)) => {}
                Some(Effect::Deliver { .. }) => unreachable!("there is one shard"),
                // The HTTP thread has it now.
                Some(Effect::HandOver { socket, .. }) => {
                    if let Some(line) = self.lines.get_mut(&socket) {
                        line.is_closed = true;
                    }
                }
            }
        }
    }
}

/// What became of a write or a publication.
pub type Answer = Result<Accepted, RefusalCode>;

impl Peer {
    pub fn member(&self) -> MemberId {
        self.client.seat().expect("a seat").member
    }

    pub fn entity(&self) -> EntityId {
        self.client.seat().expect("a seat").entity
    }

    pub fn tick(&self) -> Tick {
        self.client.seat().expect("a seat").replica.tick()
    }

    pub fn schema(&self) -> &RoomSchema {
        self.client.seat().expect("a seat").replica.entities().schema()
    }

    pub fn component(&self, name: &str) -> ComponentId {
        self.schema().component(name).unwrap_or_else(|| panic!("a component {name}"))
    }

    pub fn topic(&self, name: &str) -> TopicId {
        self.schema().topic(name).unwrap_or_else(|| panic!("a topic {name}"))
    }

    /// Writes and waits for the answer; what arrived until then stays in `events`.
    pub fn write(&mut self, world: &mut World, changes: &ChangesBuilder) -> Answer {
        self.write_if(world, changes, Tick::ZERO)
    }

    pub fn write_if(
        &mut self,
        world: &mut World,
        changes: &ChangesBuilder,
        if_tick: Tick,
    ) -> Answer {
        let op = self.client.write_if(changes, if_tick);
        world.turn(self);
        self.answer(op)
    }

    pub fn publish(
        &mut self,
        world: &mut World,
        topic: &str,
        to: &[MemberId],
        body: &[u8],
    ) -> Answer {
        let topic = self.topic(topic);
        let op = self.client.publish(topic, to, body);
        world.turn(self);
        self.answer(op)
    }

    fn answer(&self, op: OpId) -> Answer {
        let answer = self.events.iter().rev().find_map(|event| match event {
            ClientEvent::Accepted(accepted) if accepted.op == op => Some(Ok(accepted.clone())),
            ClientEvent::Refused { code, op: refused, .. } if *refused == op => Some(Err(*code)),
            _ => None,
        });
        answer.unwrap_or_else(|| panic!("no answer to {op:?} in {:?}", self.events))
    }

    /// What it heard since it was last asked.
    pub fn heard(&mut self) -> Vec<OwnedEvent> {
        let events = self.events.iter_mut().filter_map(|event| match event {
            ClientEvent::Applied { events, .. } => Some(mem::take(events)),
            _ => None,
        });
        events.flatten().collect()
    }

    /// The texts it heard since it was last asked.
    pub fn texts(&mut self) -> Vec<String> {
        let heard = self.heard();
        heard.iter().map(|event| String::from_utf8_lossy(&event.body).into_owned()).collect()
    }

    pub fn lost(&self) -> u64 {
        self.client.seat().expect("a seat").replica.heard().lost()
    }

    /// How the deltas came, and the ticks they led to.
    pub fn applied(&self) -> Vec<(Outcome, Tick)> {
        let events = self.events.iter().filter_map(|event| match event {
            ClientEvent::Applied { head, applied, .. } => Some((applied.outcome, head.tick)),
            _ => None,
        });
        events.collect()
    }

    /// Why it was closed.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.events.iter().find_map(|event| match event {
            ClientEvent::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    /// A property in its replica.
    pub fn prop(&self, component: &str, entity: EntityId, key: &str) -> Option<Value> {
        let entities = self.client.seat().expect("a seat").replica.entities();
        entities.props(self.component(component), entity)?.get(key).cloned()
    }

    /// An opaque value in its replica.
    pub fn opaque(&self, component: &str, entity: EntityId) -> Option<&[u8]> {
        let entities = self.client.seat().expect("a seat").replica.entities();
        entities.opaque(self.component(component), entity)
    }

    /// Whether its replica has the entity.
    pub fn sees(&self, entity: EntityId) -> bool {
        self.client.seat().expect("a seat").replica.entities().contains(entity)
    }
}

/// A write with one property.
pub fn prop(component: ComponentId, entity: EntityId, key: &str, value: Value) -> ChangesBuilder {
    let mut changes = ChangesBuilder::default();
    changes.prop(component, entity, key, &value);
    changes
}
