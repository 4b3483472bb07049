//! Where entities are, in a room with interest: the cell of each, now and in what was sent last.
//!
//! An entity with a position is in the cell that holds it, every other one is *everywhere*: it goes
//! to all members, on the stream of the room. Both are places, and a place is what a stream tells
//! of. Only what moved from one to another is looked at when state is sent.

use fixedbitset::FixedBitSet;
use tickloom_protocol::ids::{CellId, ComponentId, EntityId, StreamId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::schema::{FieldId, Grid, RoomSchema};

/// A place, by its position: everywhere first, then the cells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PlaceId(u32);

/// The states that the slowest ring waits for, and how many send times are kept.
pub const EVERY_MAX: usize = limits::RING_EVERY_MAX as usize;

/// Where entities are.
#[derive(Debug)]
pub struct Places {
    grid: Grid,
    component: ComponentId,
    axes: [FieldId; 2],
    /// By entity id: its place, [`PlaceId::NOWHERE`] when it is not alive.
    now: Vec<PlaceId>,
    /// The same in what was sent last.
    sent: Vec<PlaceId>,
    /// By entity id: the tick whose state first showed it where `sent` says.
    arrived: Vec<Tick>,
    /// Entities of which `now`, or which entity it is, may differ from what was sent.
    restless: FixedBitSet,
    places: Vec<Place>,
    /// Places with `is_touched` set.
    touched: Vec<PlaceId>,
    /// When the last states were sent, by their number modulo the length.
    sent_at: [Tick; EVERY_MAX],
    /// The number of the state under construction, once it is settled.
    state_number: u32,
    /// Hashes of cells go out with states below this number.
    hashes_until: u32,
}

/// What one state carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Schedule {
    state_number: u32,
}

impl Schedule {
    /// Whether it carries the motion of a row of cells for those who get every `every`th, a power
    /// of two. Rows take turns, which spreads the load; the cells of one go together, so that what
    /// a member gets of them is one piece.
    #[must_use]
    #[inline]
    pub fn is_due(self, row: u16, every: u8) -> bool {
        let phase = self.state_number.wrapping_add(row.into());
        phase & u32::from(every.saturating_sub(1)) == 0
    }
}

/// What is in one place.
#[derive(Clone, Debug, Default)]
struct Place {
    /// Ascending.
    entities: Vec<EntityId>,
    /// Since the last state; ascending.
    entered: Vec<EntityId>,
    left: Vec<EntityId>,
    /// Something entered, left, or changed in what every subscriber is told.
    is_touched: bool,
}

impl PlaceId {
    /// Not in a cell: seen by all members.
    pub const EVERYWHERE: Self = Self(0);
    /// Not alive.
    pub const NOWHERE: Self = Self(u32::MAX);

    /// The place that is a cell.
    #[must_use]
    pub const fn of_cell(cell: CellId) -> Self {
        Self(cell.0 + 1)
    }

    /// The place of the first cell of a row of so many.
    #[must_use]
    pub const fn of_row(row: u16, columns: usize) -> Self {
        Self(row as u32 * columns as u32 + 1)
    }

    /// The place so many cells further on in its row.
    #[must_use]
    pub const fn plus(self, columns: usize) -> Self {
        Self(self.0 + columns as u32)
    }

    /// The cell, unless it is everywhere.
    #[must_use]
    pub const fn cell(self) -> Option<CellId> {
        match self.0.checked_sub(1) {
            Some(cell) => Some(CellId(cell)),
            None => None,
        }
    }

    /// The stream that tells of it.
    #[must_use]
    pub const fn stream(self) -> StreamId {
        match self.cell() {
            Some(cell) => StreamId::of_cell(cell),
            None => StreamId::ROOM,
        }
    }

    /// The position in a table of all places.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Places {
    /// The places of a room with interest, with the room itself everywhere.
    pub(super) fn new(schema: &RoomSchema) -> Option<Self> {
        let (interest, grid) = (schema.interest()?, schema.grid()?);
        let mut places = Self {
            grid,
            component: interest.component,
            axes: interest.axes,
            now: Vec::new(),
            sent: Vec::new(),
            arrived: Vec::new(),
            restless: FixedBitSet::new(),
            places: vec![Place::default(); grid.cells_count() + 1],
            touched: Vec::new(),
            sent_at: [Tick::ZERO; EVERY_MAX],
            state_number: 0,
            hashes_until: 0,
        };
        places.put(EntityId::ROOM, PlaceId::EVERYWHERE);
        Some(places)
    }

    /// The cells.
    #[must_use]
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The component that holds positions.
    pub(super) fn component(&self) -> ComponentId {
        self.component
    }

    /// How many places there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// Where an entity is.
    #[must_use]
    pub fn of(&self, entity: EntityId) -> PlaceId {
        self.now.get(entity.index()).copied().unwrap_or(PlaceId::NOWHERE)
    }

    /// The entities of a place, ascending.
    #[must_use]
    pub fn entities(&self, place: PlaceId) -> &[EntityId] {
        &self.places[place.index()].entities
    }

    /// The number of the state that was settled last.
    #[must_use]
    pub fn state_number(&self) -> u32 {
        self.state_number
    }

    /// What the state under construction carries.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        Schedule { state_number: self.state_number }
    }

    /// Whether the state under construction states the hashes of a row of cells. It does when the
    /// motion of every ring is due, for then all subscribers have the same.
    #[must_use]
    pub fn are_hashes_due(&self, row: u16) -> bool {
        let slowest = limits::RING_EVERY_MAX;
        self.state_number < self.hashes_until && self.schedule().is_due(row, slowest)
    }

    /// Has each cell state its hash once, beginning with the state to be settled next.
    pub fn want_hashes(&mut self) {
        self.hashes_until = self.state_number + 1 + EVERY_MAX as u32;
    }

    /// The tick of the `every`th state before the one under construction.
    pub(super) fn since(&self, every: u8) -> Tick {
        let number = self.state_number.wrapping_sub(u32::from(every));
        self.sent_at[number as usize % EVERY_MAX]
    }

    /// The tick of the last state that carried the motion of a row for those who get every
    /// `every`th.
    #[must_use]
    pub fn last_due(&self, row: u16, every: u8) -> Tick {
        let numbers = (0..u32::from(every)).map(|back| self.state_number.wrapping_sub(back));
        let is_due = |number: &u32| Schedule { state_number: *number }.is_due(row, every);
        let last = { numbers }.find(is_due);
        last.map_or(Tick::ZERO, |number| self.sent_at[number as usize % EVERY_MAX])
    }

    /// Whether every subscriber of a place is told something.
    #[must_use]
    pub fn is_touched(&self, place: PlaceId) -> bool {
        self.places[place.index()].is_touched
    }

    /// The entities that entered a place since the last state, ascending.
    pub(super) fn entered(&self, place: PlaceId) -> &[EntityId] {
        &self.places[place.index()].entered
    }

    /// The entities that left a place since the last state, ascending.
    pub(super) fn left(&self, place: PlaceId) -> &[EntityId] {
        &self.places[place.index()].left
    }

    /// Whether the state under construction is the first to show an entity in its place.
    pub(super) fn has_arrived(&self, entity: EntityId, building: Tick) -> bool {
        self.arrived.get(entity.index()) == Some(&building)
    }

    // ---- changing ------------------------------------------------------------------------------

    /// Puts an entity into a place.
    pub(super) fn put(&mut self, entity: EntityId, place: PlaceId) {
        let index = entity.index();
        if self.now.len() <= index {
            self.now.resize(index + 1, PlaceId::NOWHERE);
            self.sent.resize(index + 1, PlaceId::NOWHERE);
            self.arrived.resize(index + 1, Tick::ZERO);
        }
        let before = std::mem::replace(&mut self.now[index], place);
        self.restless.grow_and_insert(index);
        if before == place {
            return;
        }
        if before != PlaceId::NOWHERE {
            let entities = &mut self.places[before.index()].entities;
            if let Ok(position) = entities.binary_search(&entity) {
                entities.remove(position);
            }
        }
        if place != PlaceId::NOWHERE {
            let entities = &mut self.places[place.index()].entities;
            let position = entities.partition_point(|other| *other < entity);
            entities.insert(position, entity);
        }
    }

    /// Puts an entity where its position says.
    #[inline]
    pub(super) fn follow(&mut self, entity: EntityId, schema: &RoomSchema, row: &[u8]) {
        let Some(layout) = schema.layout(self.component) else { return };
        let [x, y] = self.axes.map(|axis| layout.read(row, axis) as f32);
        let cell = self.grid.cell(self.grid.place(x, y));
        let place = cell.map_or(PlaceId::EVERYWHERE, PlaceId::of_cell);
        if self.of(entity) != place {
            self.put(entity, place);
        }
    }

    /// Begins a state: sorts what moved since the last one by place. `is_new` says which entities
    /// were spawned since.
    pub(super) fn settle(&mut self, building: Tick, is_new: impl Fn(EntityId) -> bool) {
        for place in self.touched.drain(..) {
            let place = &mut self.places[place.index()];
            place.entered.clear();
            place.left.clear();
            place.is_touched = false;
        }
        self.state_number = self.state_number.wrapping_add(1);
        let mut restless = std::mem::take(&mut self.restless);
        for index in restless.ones() {
            let entity = EntityId(index as u32);
            let (from, to) = (self.sent[index], self.now[index]);
            // Whoever has the id of somebody who was there before is somebody else.
            if from == to && (to == PlaceId::NOWHERE || !is_new(entity)) {
                continue;
            }
            if from != PlaceId::NOWHERE {
                self.places[from.index()].left.push(entity);
                self.touch(from);
            }
            if to != PlaceId::NOWHERE {
                self.places[to.index()].entered.push(entity);
                self.arrived[index] = building;
                self.touch(to);
            }
            self.sent[index] = to;
        }
        restless.clear();
        self.restless = restless;
    }

    /// Notes that every subscriber of a place is told something.
    pub(super) fn touch(&mut self, place: PlaceId) {
        if place != PlaceId::NOWHERE && !self.places[place.index()].is_touched {
            self.places[place.index()].is_touched = true;
            self.touched.push(place);
        }
    }

    /// Ends a state.
    pub(super) fn mark_sent(&mut self, tick: Tick) {
        self.sent_at[self.state_number as usize % EVERY_MAX] = tick;
    }

    /// Checks what the field comments promise.
    ///
    /// # Panics
    /// When a promise is broken.
    pub(super) fn check_invariants(&self, is_alive: impl Fn(EntityId) -> bool) {
        let mut count = 0;
        for (index, place) in self.places.iter().enumerate() {
            assert!(place.entities.is_sorted(), "place {index} is in order");
            for entity in &place.entities {
                assert_eq!(self.of(*entity), PlaceId(index as u32), "{entity:?}");
                assert!(is_alive(*entity), "{entity:?} is somewhere");
            }
            count += place.entities.len();
        }
        let placed = self.now.iter().filter(|place| **place != PlaceId::NOWHERE);
        assert_eq!(placed.count(), count, "whoever is somewhere is in one place");
    }
}
