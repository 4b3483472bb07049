//! States without rooms: one in which everything moves, and one that members write.

use std::sync::Arc;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::Write;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, OpId, Tick};
use tickloom_server::room::described::Described;
use tickloom_server::room::logic::RoomType;
use tickloom_server::room::rewind::{Rewind, RewindSpec};
use tickloom_server::room::state::State;
use tickloom_server::room::tree::PARENT;
use tickloom_server::room::write::{Writer, apply, check};

use crate::{BODY, BODY_ROW_BYTES, MEMBER, body_schema, random_body};

/// How far behind a member is that gets a catch-up.
const CATCH_UP_TICKS: u32 = 20;

/// A state in which every entity moved in each of the last ticks.
#[derive(Debug)]
pub struct MovedState {
    state: State,
    entities: Vec<EntityId>,
    /// Two places for each entity, taken in turns: every move changes every row.
    places: [Vec<[u8; BODY_ROW_BYTES]>; 2],
}

impl MovedState {
    /// A state of bodies.
    ///
    /// # Panics
    /// When there are more than a room can have.
    #[must_use]
    pub fn new(entities_count: usize) -> Self {
        let mut state = State::new(Arc::new(body_schema()), entities_count + 1);
        let mut random = fastrand::Rng::with_seed(1);
        let entities: Vec<_> = (0..entities_count)
            .map(|_| state.spawn(MemberId::SERVER).expect("the state has room for all"))
            .collect();
        let places = [(); 2].map(|()| entities.iter().map(|_| random_body(&mut random)).collect());
        let mut moved = Self { state, entities, places };
        for _ in 0..2 * CATCH_UP_TICKS {
            moved.move_all();
            moved.end_tick();
        }
        moved.move_all();
        moved
    }

    /// Puts every entity somewhere else.
    pub fn move_all(&mut self) {
        for (entity, row) in self.entities.iter().zip(&self.places[0]) {
            self.state.set_row(BODY, *entity, row);
        }
        self.places.swap(0, 1);
    }

    /// A past of half a second at 60 Hz, of everything that moves.
    #[must_use]
    pub fn rewind(&self) -> Rewind {
        Rewind::new(&RewindSpec { components: vec![BODY], max: RewindSpec::MAX }, 16_667)
    }

    /// Ends a tick in which one entity moved: its whole column is noted.
    pub fn note(&mut self, rewind: &mut Rewind) {
        self.state.set_row(BODY, self.entities[0], &self.places[0][0]);
        self.places.swap(0, 1);
        rewind.note(&self.state);
        self.end_tick();
    }

    fn end_tick(&mut self) {
        self.state.mark_sent();
        self.state.advance();
    }

    /// Overwrites `chunks` with what happened in this tick.
    pub fn encode_delta(&mut self, chunks: &mut Vec<u8>) {
        self.encode(Tick(self.state.building().0 - 1), chunks);
    }

    /// Overwrites `chunks` with what happened in the last second.
    pub fn encode_catch_up(&mut self, chunks: &mut Vec<u8>) {
        self.encode(Tick(self.state.building().0 - CATCH_UP_TICKS), chunks);
    }

    /// Overwrites `chunks` with everything.
    pub fn encode_snapshot(&mut self, chunks: &mut Vec<u8>) {
        self.encode(Tick::ZERO, chunks);
    }

    fn encode(&mut self, since: Tick, chunks: &mut Vec<u8>) {
        chunks.clear();
        self.state.encode(since, chunks);
    }
}

/// Components of a built-in `state` room: behind `name` and `host` as they are described.
const CURSOR: ComponentId = ComponentId(2);
const PRESENCE: ComponentId = ComponentId(3);
const SHARED: ComponentId = ComponentId(4);
const ITEM: ComponentId = ComponentId(5);
const LAYER: ComponentId = ComponentId(6);

/// Entities that others hang below, at most [`BELOW_EACH`] layers below each of them.
const LAYERS: usize = 100;

const BELOW_EACH: usize = 10;

/// The state of a built-in `state` room with items in a tree of layers, and what changes it.
#[derive(Debug)]
pub struct SharedState {
    state: State,
    writer: Writer,
    /// The inner entities of the tree.
    layers: Vec<EntityId>,
    /// Its leaves.
    items: Vec<EntityId>,
    /// Two writes of the same values, taken in turns: each changes all of them.
    writes: [Vec<u8>; 2],
    /// By how many layers the items are shifted.
    shift: usize,
}

impl SharedState {
    /// Changes in one write.
    pub const CHANGES: usize = 16;

    /// A state with one member and this many entities in its tree.
    ///
    /// # Panics
    /// When there are more than a room can have, or no items beside the layers.
    #[must_use]
    pub fn new(tree_count: usize) -> Self {
        let spec = Described::state().spec();
        let mut state = State::new(spec.schema, spec.entities_max);
        let mut spawn = |owner| state.spawn(owner).expect("the state has room for all");
        let entity = spawn(MEMBER);
        let layers: Vec<_> = (0..LAYERS).map(|_| spawn(MemberId::SERVER)).collect();
        let items: Vec<_> = (LAYERS..tree_count).map(|_| spawn(MemberId::SERVER)).collect();
        assert!(!items.is_empty(), "layers alone hold nothing");
        for (index, layer) in layers.iter().enumerate().skip(1) {
            let parent = Value::Entity(layers[(index - 1) / BELOW_EACH]);
            assert!(state.set_prop(LAYER, *layer, PARENT, parent), "layers make no circle");
        }
        let writer = Writer { member: MEMBER, entity, is_host: true, seats_free: 10 };
        let writes = [0, 1].map(|turn| put_write(entity, &layers, &items, turn));
        let mut shared = Self { state, writer, layers, items, writes, shift: 0 };
        shared.move_items();
        shared.write();
        shared
    }

    /// Hangs every item below another layer than before, and says how many those are.
    ///
    /// # Panics
    /// Never: layers are never below items.
    pub fn move_items(&mut self) -> usize {
        self.shift += 1;
        for (index, item) in self.items.iter().enumerate() {
            let layer = self.layers[(index + self.shift) % LAYERS];
            let is_set = self.state.set_prop(LAYER, *item, PARENT, Value::Entity(layer));
            assert!(is_set, "items make no circle");
        }
        self.items.len()
    }

    /// Reads a write of [`SharedState::CHANGES`] changes, checks it and applies it.
    ///
    /// # Panics
    /// When it is refused, which makes the measurement worthless.
    pub fn write(&mut self) {
        self.writes.swap(0, 1);
        let write = Write { op: OpId(1), if_tick: Tick::ZERO, changes: &self.writes[0] };
        let changes = check(&self.state, self.writer, &write).expect("all of it is allowed");
        assert_eq!(changes.len(), Self::CHANGES, "nothing was left out");
        apply(&mut self.state, write.op, &changes);
    }

    /// Bytes of a write.
    #[must_use]
    pub fn write_bytes(&self) -> usize {
        self.writes[0].len()
    }
}

/// The changes of someone at work: a cursor, what others see of them, values that all share, and
/// items that get new content and another place.
fn put_write(entity: EntityId, layers: &[EntityId], items: &[EntityId], turn: u8) -> Vec<u8> {
    let mut changes = ChangesBuilder::default();
    changes.row(CURSOR, entity, &[turn; 4]);
    for (key, number) in [("tool", 3), ("selected", 70), ("page", 1)] {
        changes.prop(PRESENCE, entity, key, &Value::Int(number + i64::from(turn)));
    }
    for key in ["title", "grid", "zoom", "background"] {
        let value = Value::Str(format!("{key} {turn}").into());
        changes.prop(SHARED, EntityId::ROOM, key, &value);
    }
    for (index, item) in items.iter().take(4).enumerate() {
        changes.opaque(ITEM, *item, &[turn; 64]);
        // Far from where moving all items puts them, so that both writes move them.
        changes.link(LAYER, *item, PARENT, layers[LAYERS / 2 + 2 * index + usize::from(turn)]);
    }
    let mut bytes = Vec::new();
    changes.put(&mut bytes);
    bytes
}
