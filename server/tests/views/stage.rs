//! A room's state, its members and their replicas, and what a seed does to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, StreamId, Tick};
use tickloom_protocol::replica::{Outcome, Replica};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Ring, RoomSchema, Scope, TopicDesc,
};
use tickloom_protocol::server_message::ServerMessage;
use tickloom_server::outbox::{Outbox, OutboxLimits};
use tickloom_server::room::broadcast::{Broadcast, Content, Occasion, SharedWindow, ViewSettings};
use tickloom_server::room::events::EventLog;
use tickloom_server::room::member::Member;
use tickloom_server::room::sight::SightLimits;
use tickloom_server::room::state::places::PlaceId;
use tickloom_server::room::state::{State, TeamId};
use tickloom_server::session::SessionId;
use tickloom_server::session_table::Outboxes;

const BODY: ComponentId = ComponentId(0);
const HEALTH: ComponentId = ComponentId(1);
const NOTES: ComponentId = ComponentId(2);
const SECRET: ComponentId = ComponentId(3);
const PLAN: ComponentId = ComponentId(4);

const EXTENT: f64 = 64.0;
const CELL: f32 = 16.0;
const NEW_CELLS_MAX: usize = 6;
/// States a member may have waiting.
const STATES_WAITING_MAX: u32 = 3;
/// States after which every ring has been told everything.
const SLOWEST: usize = 8;

/// The rings of most tests: 7 x 7 of 8 x 8 cells.
pub fn rings() -> Vec<Ring> {
    let ring = |distance, every| Ring { distance, every };
    vec![ring(1, 1), ring(2, 2), ring(3, 4)]
}

fn schema(rings: Vec<Ring>) -> Arc<RoomSchema> {
    let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, -EXTENT, EXTENT);
    let byte = |name| vec![FieldDesc::new(name, FieldType::U16)];
    let body = vec![axis("x"), axis("y"), FieldDesc::new("step", FieldType::U16)];
    let components = vec![
        ComponentDesc::packed("body", body).expect("a row").as_motion(),
        ComponentDesc::packed("health", byte("hp")).expect("a row"),
        ComponentDesc::props("notes"),
        ComponentDesc::packed("secret", byte("of")).expect("a row").for_owner(),
        ComponentDesc::packed("plan", byte("of")).expect("a row").for_team(),
    ];
    let axes = [FieldId(0), FieldId(1)];
    let interest = Interest { component: BODY, axes, cell_size: CELL, rings };
    let schema = RoomSchema::new(components, vec![])
        .and_then(|schema| schema.with_topics(vec![TopicDesc::new("chat")]))
        .and_then(|schema| schema.with_interest(interest));
    Arc::new(schema.expect("a schema"))
}

struct Boxes(Vec<Outbox>);

impl Outboxes for Boxes {
    fn outbox(&mut self, session: SessionId) -> Option<&mut Outbox> {
        self.0.get_mut(session.index as usize)
    }
}

struct Client {
    index: usize,
    replica: Replica,
    /// Its socket takes nothing.
    is_stalled: bool,
}

pub struct Stage {
    seed: u64,
    rng: Rng,
    schema: Arc<RoomSchema>,
    state: State,
    events: EventLog,
    pub broadcast: Broadcast,
    window: SharedWindow,
    members: BTreeMap<MemberId, Member>,
    clients: BTreeMap<MemberId, Client>,
    boxes: Boxes,
    sent: Tick,
    joined: u16,
    /// What every body was in the last states, the newest last.
    bodies: Vec<BTreeMap<EntityId, Vec<u8>>>,
    /// Views compared.
    pub checked: u64,
    /// Bytes delivered, and a hash over them.
    pub bytes: u64,
    pub hash: u32,
}

impl Stage {
    pub fn new(seed: u64, rings: Vec<Ring>) -> Self {
        let schema = schema(rings);
        Self {
            seed,
            rng: Rng::with_seed(seed),
            state: State::new(Arc::clone(&schema), 600),
            events: EventLog::new(64, 4096, schema.topics()),
            schema,
            broadcast: Broadcast::default(),
            window: SharedWindow::default(),
            members: BTreeMap::new(),
            clients: BTreeMap::new(),
            boxes: Boxes(Vec::new()),
            sent: Tick::ZERO,
            joined: 0,
            bodies: Vec::new(),
            checked: 0,
            bytes: 0,
            hash: 0,
        }
    }

    // ---- what happens --------------------------------------------------------------------------

    /// A few things happen, and mostly a state is sent.
    pub fn step(&mut self) {
        for _ in 0..self.rng.usize(0..12) {
            self.happen();
        }
        if self.rng.u8(0..10) == 0 {
            self.state.advance();
        } else {
            self.send();
        }
    }

    fn happen(&mut self) {
        match self.rng.u8(0..36) {
            0 => {
                let place = self.somewhere();
                self.join_at(place);
            }
            1 => self.leave(),
            2..=4 => drop(self.spawn()),
            5 | 6 => {
                if let Some(entity) = self.stranger() {
                    self.state.despawn(entity);
                }
            }
            7..=20 => {
                if let Some(entity) = self.anybody() {
                    self.walk(entity);
                }
            }
            21 => {
                if let Some(entity) = self.anybody() {
                    let place = self.somewhere();
                    self.put(entity, place);
                }
            }
            22 => {
                if let Some(entity) = self.stranger() {
                    self.state.remove_value(BODY, entity);
                }
            }
            23 | 24 => {
                if let Some(entity) = self.anybody() {
                    let hp = self.rng.u16(..);
                    self.state.set_numbers(HEALTH, entity, &[f64::from(hp)]);
                }
            }
            25 => {
                if let Some(entity) = self.anybody() {
                    self.state.remove_value(HEALTH, entity);
                }
            }
            26 | 27 => {
                let (key, value) = (["a", "b"][self.rng.usize(0..2)], self.rng.i64(0..3));
                let value = if value == 0 { Value::Nil } else { Value::Int(value) };
                if let Some(entity) = self.anybody() {
                    self.state.set_prop(NOTES, entity, key, value);
                }
            }
            28 => {
                self.state.set_prop(NOTES, EntityId::ROOM, "n", Value::Int(self.rng.i64(0..9)));
            }
            29..=31 => self.tell_in_private(),
            32 => {
                if let Some(member) = self.any_member() {
                    let team = [None, Some(TeamId(1)), Some(TeamId(2))][self.rng.usize(0..3)];
                    self.state.set_team(member, team);
                }
            }
            33 => {
                if let Some(client) = self.any_member().and_then(|id| self.clients.get_mut(&id)) {
                    client.is_stalled = !client.is_stalled;
                }
            }
            _ => self.look(),
        }
    }

    fn look(&mut self) {
        let camera = [self.rng.f32() * 160.0 - 80.0, self.rng.f32() * 160.0 - 80.0];
        let camera = self.rng.bool().then_some(camera);
        if let Some(member) = self.any_member().and_then(|id| self.members.get_mut(&id)) {
            member.look(camera);
        }
    }

    /// Values that name whom they are for.
    fn tell_in_private(&mut self) {
        let Some(entity) = self.anybody() else { return };
        let Some(owner) = self.state.entities().owner(entity) else { return };
        let component = if self.rng.bool() { SECRET } else { PLAN };
        if self.rng.u8(0..4) == 0 {
            self.state.remove_value(component, entity);
        } else {
            self.state.set_numbers(component, entity, &[f64::from(owner.0)]);
        }
    }

    /// From here on, chance goes its own way, whatever happened before.
    pub fn reseed(&mut self, seed: u64) {
        self.rng = Rng::with_seed(seed);
    }

    pub fn populate(&mut self, count: usize) {
        for _ in 0..count {
            self.spawn();
        }
    }

    fn spawn(&mut self) -> Option<EntityId> {
        let owner = match self.any_member() {
            Some(member) if self.rng.bool() => member,
            _ => MemberId::SERVER,
        };
        let entity = self.state.spawn(owner)?;
        if self.rng.u8(0..5) > 0 {
            let place = self.somewhere();
            self.put(entity, place);
        }
        Some(entity)
    }

    /// Everybody walks who is nobody's.
    pub fn walk_strangers(&mut self) {
        let ids = self.state.entities().ids().skip(1);
        let is_strange = |id: &EntityId| self.state.entities().owner(*id) == Some(MemberId::SERVER);
        let ids: Vec<_> = ids.filter(is_strange).collect();
        ids.into_iter().for_each(|entity| self.walk(entity));
    }

    fn walk(&mut self, entity: EntityId) {
        let Some([x, y, _]) = self.state.numbers::<3>(BODY, entity) else { return };
        let mut step = || self.rng.f64() * 12.0 - 6.0;
        let place = [x + step(), y + step()];
        self.put(entity, place);
    }

    fn put(&mut self, entity: EntityId, [x, y]: [f64; 2]) {
        let step = f64::from(self.rng.u16(..));
        self.state.set_numbers(BODY, entity, &[x, y, step]);
    }

    fn somewhere(&mut self) -> [f64; 2] {
        [(); 2].map(|()| (self.rng.f64() * 2.0 - 1.0) * EXTENT)
    }

    pub fn teleport(&mut self, member: MemberId, place: [f64; 2]) {
        let entity = self.members[&member].entity();
        self.put(entity, place);
    }

    pub fn join_at(&mut self, place: [f64; 2]) {
        self.joined += 1;
        let id = MemberId(self.joined);
        let Some(entity) = self.state.spawn(id) else { return };
        self.put(entity, place);
        let index = self.boxes.0.len();
        let limits = OutboxLimits { soft_bytes_max: 1 << 20, hard_bytes_max: 1 << 21 };
        self.boxes.0.push(Outbox::new(limits));
        let session = SessionId { index: index as u32, generation: 0 };
        let hearing = self.events.hearing_of_newcomer();
        self.members.insert(id, Member::new(session, entity, hearing, u64::from(id.0)));
        let replica = Replica::new(id, Arc::clone(&self.schema));
        self.clients.insert(id, Client { index, replica, is_stalled: false });
    }

    fn leave(&mut self) {
        let Some(id) = self.any_member() else { return };
        self.members.remove(&id);
        self.clients.remove(&id);
        self.state.despawn_owned(id);
        self.state.forget_team(id);
    }

    pub fn stall_half(&mut self) -> Vec<MemberId> {
        let half: Vec<_> = self.clients.keys().copied().step_by(2).collect();
        for id in &half {
            self.clients.get_mut(id).expect("a client").is_stalled = true;
        }
        half
    }

    pub fn unstall(&mut self) {
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            self.clients.get_mut(&id).expect("a client").is_stalled = false;
            self.take(id);
        }
    }

    // ---- sending -------------------------------------------------------------------------------

    pub fn send(&mut self) {
        let with_hash = self.rng.u8(0..6) == 0;
        let occasion =
            Occasion { previous: self.sent, with_hash, states_waiting_max: STATES_WAITING_MAX };
        let (state, events) = (&mut self.state, &mut self.events);
        let mut content = Content { state, events, window: &mut self.window };
        let limits = SightLimits { new_cells_max: NEW_CELLS_MAX, bytes_per_second_max: None };
        let settings = ViewSettings { limits, steps: 0 };
        let (members, boxes) = (&mut self.members, &mut self.boxes);
        let sent = self.broadcast.send_views(&mut content, members, occasion, settings, boxes);
        sent.expect("states are small");
        self.sent = self.state.building();
        self.state.mark_sent();
        self.events.mark_sent();
        self.state.advance();
        self.state.check_invariants();
        let ids = self.state.entities().ids();
        let bodies = ids.filter_map(|id| {
            let row = self.state.entities().row(BODY, id)?;
            Some((id, row.to_vec()))
        });
        self.bodies.push(bodies.collect());
        if self.bodies.len() > SLOWEST {
            self.bodies.remove(0);
        }
        let ids: Vec<_> = self.clients.keys().copied().collect();
        for id in ids {
            if self.clients[&id].is_stalled {
                continue;
            }
            self.take(id);
            if self.clients[&id].replica.tick() == self.sent {
                self.compare(id);
            }
        }
    }

    /// Nothing happens any more, and everybody is told everything.
    pub fn settle(&mut self) {
        self.unstall();
        for _ in 0..2 * SLOWEST + 64 / NEW_CELLS_MAX {
            self.send();
        }
        for (id, client) in &self.clients {
            assert_eq!(client.replica.tick(), self.sent, "seed={} {id:?} is behind", self.seed);
            for (stream, _) in client.replica.streams() {
                self.compare_bodies(client, stream, 1);
            }
        }
    }

    /// A socket takes everything, and its client applies it.
    fn take(&mut self, id: MemberId) {
        let seed = self.seed;
        let client = self.clients.get_mut(&id).expect("a client");
        let outbox = &mut self.boxes.0[client.index];
        let mut bytes = vec![0; outbox.bytes()];
        assert_eq!(outbox.copy_front(&mut bytes), bytes.len());
        outbox.advance(bytes.len());
        self.bytes += bytes.len() as u64;
        self.hash = tickloom_protocol::entities::hash_of_snapshot(&bytes)
            .wrapping_add(self.hash.rotate_left(5));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (payload, after) = split_frame(rest);
            rest = after;
            let Ok(ServerMessage::Delta(delta)) = ServerMessage::decode(payload) else {
                panic!("seed={seed}: a delta")
            };
            let applied = client.replica.apply(&delta);
            let applied = applied.unwrap_or_else(|error| panic!("seed={seed} {id:?}: {error}"));
            assert!(matches!(applied.outcome, Outcome::Delta | Outcome::Snapshot), "seed={seed}");
        }
    }

    // ---- comparing -----------------------------------------------------------------------------

    fn compare(&mut self, id: MemberId) {
        self.checked += 1;
        let (seed, client) = (self.seed, &self.clients[&id]);
        let places = self.state.places().expect("a room with interest");
        let sight = self.members[&id].sight().expect("it was sent something");
        let mut seen = vec![(PlaceId::EVERYWHERE, 1)];
        let cells = sight.subscriptions().iter();
        seen.extend(
            cells.map(|subscription| (PlaceId::of_cell(subscription.cell), subscription.every)),
        );
        let streams: BTreeMap<_, _> = client.replica.streams().collect();
        for stream in streams.keys() {
            let is_sent = seen.iter().any(|(place, _)| place.stream() == *stream);
            assert!(is_sent, "seed={seed} {id:?} knows {stream:?}, which it is not sent");
        }
        let mut known = 0;
        for (place, every) in seen {
            let ours = places.entities(place);
            known += ours.len();
            let theirs = client.replica.entities();
            for entity in ours {
                let owner = self.state.entities().owner(*entity);
                assert_eq!(theirs.owner(*entity), owner, "seed={seed} {id:?} {entity:?}");
                self.compare_values(client, *entity);
            }
            assert_eq!(
                streams.get(&place.stream()).copied().unwrap_or_default(),
                ours.len(),
                "seed={seed} {id:?} {place:?}"
            );
            // A cell that has just come nearer may still be told at the old rate's period.
            self.compare_bodies(client, place.stream(), usize::from(every).max(SLOWEST / 2));
        }
        assert_eq!(client.replica.entities().count(), known, "seed={seed} {id:?}: nobody else");
        self.compare_private(id);
    }

    fn compare_values(&self, client: &Client, entity: EntityId) {
        let (ours, theirs) = (self.state.entities(), client.replica.entities());
        let (seed, id) = (self.seed, client.replica.member());
        let health = (theirs.row(HEALTH, entity), ours.row(HEALTH, entity));
        assert_eq!(health.0, health.1, "seed={seed} {id:?} {entity:?}");
        let notes = (theirs.props(NOTES, entity), ours.props(NOTES, entity));
        assert_eq!(notes.0, notes.1, "seed={seed} {id:?} {entity:?}");
    }

    /// A body is one that the entity had within the last states.
    fn compare_bodies(&self, client: &Client, stream: StreamId, states: usize) {
        let place = stream.cell().map_or(PlaceId::EVERYWHERE, PlaceId::of_cell);
        let places = self.state.places().expect("a room with interest");
        for entity in places.entities(place) {
            let theirs = client.replica.entities().row(BODY, *entity);
            let recent = self.bodies.iter().rev().take(states);
            let mut ours = recent.map(|bodies| bodies.get(entity).map(Vec::as_slice));
            assert!(
                ours.any(|row| row == theirs),
                "seed={} {:?} {entity:?} in {place:?}: {theirs:?} is older than {states} states",
                self.seed,
                client.replica.member(),
            );
        }
    }

    /// Exactly the secrets of what is its own, and the plans of what its team owns.
    fn compare_private(&self, id: MemberId) {
        let (seed, theirs) = (self.seed, self.clients[&id].replica.entities());
        let team = self.state.team(id);
        for (component, scope) in [(SECRET, Scope::Owner), (PLAN, Scope::Team)] {
            for index in 0..700 {
                let entity = EntityId(index);
                let owner = self.state.entities().owner(entity);
                let is_theirs = match scope {
                    Scope::Owner => owner == Some(id),
                    _ => {
                        owner.is_some_and(|owner| team.is_some() && self.state.team(owner) == team)
                    }
                };
                let ours = self.state.entities().row(component, entity).filter(|_| is_theirs);
                let column = theirs.has_value(component, entity);
                let known = theirs.row(component, entity);
                assert_eq!(known, ours, "seed={seed} {id:?} {entity:?} {scope:?}");
                assert_eq!(column, ours.is_some(), "seed={seed} {id:?} {entity:?} {scope:?}");
            }
        }
    }

    // ---- looking -------------------------------------------------------------------------------

    pub fn first_member(&self) -> MemberId {
        *self.members.keys().next().expect("a member")
    }

    /// The cells a member is sent within three of a place.
    pub fn new_cells(&self, member: MemberId, [x, y]: [f32; 2]) -> usize {
        let grid = self.state.places().expect("a room with interest").grid();
        let middle = grid.place(x, y);
        let sight = self.members[&member].sight().expect("it was sent something");
        let near = sight.subscriptions().iter().filter(|subscription| {
            let place = grid.place_of(subscription.cell);
            (0..2).all(|axis| (place[axis] - middle[axis]).abs() <= 3)
        });
        near.count()
    }

    pub fn waiting_bytes(&self, members: &[MemberId]) -> usize {
        members.iter().map(|id| self.boxes.0[self.clients[id].index].bytes()).sum()
    }

    pub fn is_current(&self, member: MemberId) -> bool {
        self.clients[&member].replica.tick() == self.sent
    }

    fn any_member(&mut self) -> Option<MemberId> {
        let at = self.rng.usize(0..self.members.len().max(1));
        self.members.keys().nth(at).copied()
    }

    fn anybody(&mut self) -> Option<EntityId> {
        let ids: Vec<_> = self.state.entities().ids().skip(1).collect();
        (!ids.is_empty()).then(|| ids[self.rng.usize(0..ids.len())])
    }

    /// An entity that is not a member's own.
    fn stranger(&mut self) -> Option<EntityId> {
        let own: Vec<_> = self.members.values().map(Member::entity).collect();
        self.anybody().filter(|entity| !own.contains(entity))
    }
}

/// The payload of the first frame, and what follows it.
fn split_frame(bytes: &[u8]) -> (&[u8], &[u8]) {
    assert_eq!(bytes[0], 0x82, "a whole binary frame");
    let (length, head) = match bytes[1] {
        126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().expect("eight bytes")) as usize, 10),
        short => (usize::from(short), 2),
    };
    bytes[head..].split_at(length)
}
