//! The authoritative state of a room: [`Entities`] plus the tick of every change.
//!
//! One encoder serves everybody. `encode(since)` is the tick's delta (`since` = the tick sent
//! last), a catch-up (`since` = the tick a member fell behind at) and a snapshot (`since` = 0).
//! TCP is ordered, so there are no acknowledgements and no history per client: what a member has
//! is one tick number.

mod encoding;
pub mod places;
mod streams;
mod teams;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::entities::Entities;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::schema::{FieldId, Kind, RoomSchema};

use crate::room::state::places::{PlaceId, Places};
use crate::room::state::teams::Teams;
use crate::room::tree::{PARENT, Tree, TreeError, check_place};

pub use crate::room::state::teams::TeamId;

/// Ticks before the id of a despawned entity is given out again. Clients draw the past, by a few
/// ticks, and must not mistake a newcomer for one who just left. Longer rests cost memory in every
/// replica, whose columns are as long as the highest id: at 5 Hz and a hundred shots a second, 64
/// ticks made them four times as long.
const REUSE_AFTER_TICKS: u32 = 16;

/// Despawns remembered for catch-ups in any room. Beyond this, a room remembers as many as it has
/// entities: a catch-up with more leaves than that would be longer than a snapshot.
const GRAVES_MIN: usize = 256;

/// The entities of a room and when each of their values changed last.
#[derive(Debug)]
pub struct State {
    schema: Arc<RoomSchema>,
    entities: Entities,
    /// The room itself included.
    entities_count: usize,
    entities_max: usize,
    /// The tick under construction: every change is stamped with it.
    building: Tick,
    /// When each entity was spawned, by id.
    born: Vec<Tick>,
    /// By component id.
    histories: Vec<History>,
    /// `spawned` and each history's `dirty` hold exactly what changed after this tick.
    dirty_since: Tick,
    spawned: FixedBitSet,
    /// Despawns in the order they happened. Complete for every tick after `floor`.
    graves: VecDeque<Grave>,
    floor: Tick,
    /// Ids to give out again, oldest despawn first.
    free: VecDeque<(Tick, EntityId)>,
    /// Each member's entities in ascending order; no empty lists.
    owned: BTreeMap<MemberId, Vec<EntityId>>,
    /// What the tree components say, for each of them.
    trees: Vec<(ComponentId, Tree)>,
    teams: Teams,
    /// Where entities are, in a room with interest.
    places: Option<Places>,
    /// In a room with interest: who was despawned since the last state, and whose it was.
    gone: Vec<(MemberId, EntityId)>,
    candidates: Vec<EntityId>,
    body: Vec<u8>,
}

/// When the values of one component changed.
#[derive(Debug, Default)]
struct History {
    last_change: Tick,
    last_removal: Tick,
    /// By entity id.
    changed: Vec<Tick>,
    dirty: FixedBitSet,
    /// For props: when each key changed, removed keys included.
    keys: BTreeMap<EntityId, BTreeMap<Box<str>, Tick>>,
}

#[derive(Clone, Copy, Debug)]
struct Grave {
    entity: EntityId,
    born: Tick,
    died: Tick,
}

/// Whether the id of an entity that was despawned may be given out again.
fn has_rested(died: Tick, building: Tick) -> bool {
    died.0.saturating_add(REUSE_AFTER_TICKS) <= building.0
}

impl State {
    /// A state with nothing but the room itself, about to build tick 1.
    #[must_use]
    pub fn new(schema: Arc<RoomSchema>, entities_max: usize) -> Self {
        let histories = schema.components().iter().map(|_| History::default()).collect();
        let trees = schema.components().iter().enumerate().filter(|(_, desc)| desc.tree);
        let trees = trees.map(|(index, _)| (ComponentId(index as u8), Tree::default())).collect();
        let places = Places::new(&schema);
        Self {
            entities: Entities::new(Arc::clone(&schema)),
            schema,
            entities_count: 1,
            entities_max: entities_max.min(limits::ENTITY_ID_MAX as usize),
            building: Tick::ZERO.next(),
            born: vec![Tick::ZERO],
            histories,
            dirty_since: Tick::ZERO,
            spawned: FixedBitSet::new(),
            graves: VecDeque::new(),
            floor: Tick::ZERO,
            free: VecDeque::new(),
            owned: BTreeMap::new(),
            trees,
            teams: Teams::default(),
            places,
            gone: Vec::new(),
            candidates: Vec::new(),
            body: Vec::new(),
        }
    }

    // ---- changing ------------------------------------------------------------------------------

    /// Adds an entity. `None` when the room has as many as it may have.
    pub fn spawn(&mut self, owner: MemberId) -> Option<EntityId> {
        if self.entities_count >= self.entities_max {
            return None;
        }
        let building = self.building;
        let entity = match self.free.pop_front_if(|(died, _)| has_rested(*died, building)) {
            Some((_, entity)) => entity,
            None if self.born.len() < limits::ENTITY_ID_MAX as usize => {
                self.born.push(Tick::ZERO);
                EntityId(self.born.len() as u32 - 1)
            }
            // Every id is taken or resting.
            None => return None,
        };
        self.entities.insert(entity, owner);
        self.entities_count += 1;
        self.born[entity.index()] = self.building;
        self.spawned.grow_and_insert(entity.index());
        if let Some(places) = &mut self.places {
            places.put(entity, PlaceId::EVERYWHERE);
        }
        if owner != MemberId::SERVER {
            let owned = self.owned.entry(owner).or_default();
            let position = owned.partition_point(|other| *other < entity);
            owned.insert(position, entity);
        }
        Some(entity)
    }

    /// Removes an entity with all its values. In rooms with trees, what hangs below it hangs
    /// nowhere afterwards, unless both are the room's: then it goes along. The room itself and
    /// strangers are left alone.
    pub fn despawn(&mut self, entity: EntityId) {
        if entity == EntityId::ROOM || !self.entities.contains(entity) {
            return;
        }
        if self.trees.is_empty() {
            return self.despawn_one(entity);
        }
        let mut gone = BTreeSet::new();
        // Leaves first: whoever goes has no children any more.
        for entity in self.extend_subtree(entity, &mut gone).into_iter().rev() {
            for index in 0..self.trees.len() {
                let (component, tree) = &self.trees[index];
                let (component, orphans) = (*component, tree.children(entity).collect::<Vec<_>>());
                for orphan in orphans {
                    self.set_prop(component, orphan, PARENT, Value::Nil);
                }
                self.trees[index].1.remove(entity);
            }
            self.despawn_one(entity);
        }
    }

    /// Adds to `gone` what goes with an entity, itself included, and returns what was not there
    /// yet, parents before children. A member's own takes nothing along: with everybody free to
    /// hang things below their own, whoever leaves would take them away from those who stay.
    pub fn extend_subtree(&self, entity: EntityId, gone: &mut BTreeSet<EntityId>) -> Vec<EntityId> {
        let is_rooms = |entity| self.entities.owner(entity) == Some(MemberId::SERVER);
        let mut found = Vec::new();
        found.extend(gone.insert(entity).then_some(entity));
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            next += 1;
            if !is_rooms(parent) {
                continue;
            }
            for child in self.trees.iter().flat_map(|(_, tree)| tree.children(parent)) {
                if is_rooms(child) && gone.insert(child) {
                    found.push(child);
                }
            }
        }
        found
    }

    fn despawn_one(&mut self, entity: EntityId) {
        let Some(owner) = self.entities.owner(entity) else { return };
        self.entities.remove(entity);
        self.entities_count -= 1;
        for history in &mut self.histories {
            history.keys.remove(&entity);
        }
        if let Some(owned) = self.owned.get_mut(&owner) {
            if let Ok(position) = owned.binary_search(&entity) {
                owned.remove(position);
            }
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
        }
        if let Some(places) = &mut self.places {
            places.put(entity, PlaceId::NOWHERE);
            self.gone.push((owner, entity));
        }
        let grave = Grave { entity, born: self.born[entity.index()], died: self.building };
        self.graves.push_back(grave);
        self.free.push_back((self.building, entity));
        // Graves of the tick under construction are in the delta to come: never dropped.
        let graves_max = GRAVES_MIN.max(self.entities_count);
        while self.graves.len() > graves_max
            && self.graves.front().is_some_and(|oldest| oldest.died < self.building)
        {
            let dropped = self.graves.pop_front().expect("the loop saw a front");
            self.floor = self.floor.max(dropped.died);
        }
    }

    /// Removes everything a member owns.
    pub fn despawn_owned(&mut self, owner: MemberId) {
        // From the back, where taking one out of the list moves no others.
        while let Some(entity) = self.owned.get(&owner).and_then(|owned| owned.last()).copied() {
            self.despawn(entity);
        }
    }

    /// Sets a packed value from its row. Writing the same row again is no change.
    ///
    /// # Panics
    /// When the component is not packed, the row is not one of its rows, or, in debug builds, the
    /// entity is gone: all three are bugs of a room's logic.
    pub fn set_row(&mut self, component: ComponentId, entity: EntityId, row: &[u8]) {
        debug_assert!(self.entities.contains(entity), "{entity:?} is not alive");
        if self.entities.set_row(component, entity, row) {
            self.touch_row(component, entity, row);
        }
    }

    /// Sets a packed value from one number per field, in field order.
    ///
    /// # Panics
    /// As [`State::set_row`], or when there are more numbers than fields.
    pub fn set_numbers(&mut self, component: ComponentId, entity: EntityId, numbers: &[f64]) {
        let layout = self.schema.layout(component).expect("a packed component");
        let mut row = [0; limits::FIELDS_MAX * 4];
        let length = layout.row_bytes();
        let row = &mut row[..length];
        for (field, number) in numbers.iter().enumerate() {
            layout.write(row, FieldId(field as u8), *number);
        }
        debug_assert!(self.entities.contains(entity), "{entity:?} is not alive");
        if self.entities.set_row(component, entity, row) {
            self.touch_row(component, entity, row);
        }
    }

    /// Sets an opaque value.
    ///
    /// # Panics
    /// When the component is not opaque or the value is longer than its description allows.
    pub fn set_opaque(&mut self, component: ComponentId, entity: EntityId, value: &[u8]) {
        debug_assert!(self.entities.contains(entity), "{entity:?} is not alive");
        if let Kind::Opaque { value_bytes_max, .. } =
            self.schema.components()[component.index()].kind
        {
            assert!(value.len() <= value_bytes_max, "{} bytes are too long", value.len());
        }
        if self.entities.set_opaque(component, entity, value) {
            self.touch(component, entity);
        }
    }

    /// Sets a property; [`Value::Nil`] removes it. Says whether it could be: the key or the value
    /// may be over its limit, there may be too many keys, or the place in a tree may be none.
    ///
    /// # Panics
    /// When the component is not props.
    pub fn set_prop(
        &mut self,
        component: ComponentId,
        entity: EntityId,
        key: &str,
        value: Value,
    ) -> bool {
        debug_assert!(self.entities.contains(entity), "{entity:?} is not alive");
        let props = self.entities.props(component, entity);
        let is_new = props.is_none_or(|props| props.get(key).is_none());
        let full = props.is_some_and(|props| props.len() >= limits::PROP_KEYS_MAX);
        let key_fits = (1..=limits::PROP_KEY_BYTES_MAX).contains(&key.len());
        if !key_fits || !value.is_valid() || (is_new && full && value != Value::Nil) {
            return false;
        }
        if key == PARENT && !self.hang(component, entity, &value) {
            return false;
        }
        if self.entities.set_prop(component, entity, key, value) {
            let history = &mut self.histories[component.index()];
            let keys = history.keys.entry(entity).or_default();
            match keys.get_mut(key) {
                Some(changed) => *changed = self.building,
                None => drop(keys.insert(key.into(), self.building)),
            }
            if keys.len() > 2 * limits::PROP_KEYS_MAX {
                // Forget the removed keys; whoever has not heard of them gets a snapshot.
                let props = self.entities.props(component, entity);
                keys.retain(|key, changed| {
                    *changed == self.building || props.is_some_and(|props| props.get(key).is_some())
                });
                self.floor = self.floor.max(Tick(self.building.0 - 1));
            }
            self.touch(component, entity);
        }
        true
    }

    /// Takes a component off an entity.
    pub fn remove_value(&mut self, component: ComponentId, entity: EntityId) {
        if let Some(props) = self.entities.props(component, entity) {
            let keys: Vec<Box<str>> = props.iter().map(|(key, _)| key.into()).collect();
            for key in keys {
                self.set_prop(component, entity, &key, Value::Nil);
            }
        } else if self.entities.remove_value(component, entity) {
            self.touch(component, entity);
            self.histories[component.index()].last_removal = self.building;
            if let Some(places) = &mut self.places
                && places.component() == component
            {
                places.put(entity, PlaceId::EVERYWHERE);
            }
        }
    }

    /// Takes over the place in a tree that `value` says; says whether there is such a place.
    fn hang(&mut self, component: ComponentId, child: EntityId, value: &Value) -> bool {
        let parent = match value {
            Value::Nil => None,
            Value::Entity(parent) => Some(*parent),
            Value::Bool(_) | Value::Int(_) | Value::Num(_) | Value::Str(_) | Value::Bytes(_) => {
                return self.tree(component).is_none();
            }
        };
        // The room itself hangs below nothing: it must not go with anything.
        if let Some(parent) = parent
            && self.tree(component).is_some()
            && (child == EntityId::ROOM
                || !self.entities.contains(parent)
                || self.check_place(component, child, parent).is_err())
        {
            return false;
        }
        let tree = self.trees.iter_mut().find(|(id, _)| *id == component);
        if let Some((_, tree)) = tree {
            tree.hang(child, parent);
        }
        true
    }

    fn check_place(
        &self,
        component: ComponentId,
        child: EntityId,
        parent: EntityId,
    ) -> Result<(), TreeError> {
        let tree = self.tree(component);
        check_place(child, parent, |entity| tree.and_then(|tree| tree.parent(*entity)))
    }

    /// Notes that a packed value is another one, which may say that its entity is elsewhere.
    #[inline]
    fn touch_row(&mut self, component: ComponentId, entity: EntityId, row: &[u8]) {
        self.touch(component, entity);
        if let Some(places) = &mut self.places
            && places.component() == component
        {
            places.follow(entity, &self.schema, row);
        }
    }

    #[inline]
    fn touch(&mut self, component: ComponentId, entity: EntityId) {
        let history = &mut self.histories[component.index()];
        let index = entity.index();
        if history.changed.len() <= index {
            history.changed.resize(index + 1, Tick::ZERO);
            history.dirty.grow(index + 1);
        }
        history.changed[index] = self.building;
        history.dirty.insert(index);
        history.last_change = self.building;
    }

    // ---- reading -------------------------------------------------------------------------------

    /// What the room holds now.
    #[must_use]
    pub fn entities(&self) -> &Entities {
        &self.entities
    }

    /// What the room is made of.
    #[must_use]
    pub fn schema(&self) -> &Arc<RoomSchema> {
        &self.schema
    }

    /// One field of a packed value, or `None` without one.
    #[must_use]
    pub fn number(&self, component: ComponentId, entity: EntityId, field: u8) -> Option<f64> {
        let row = self.entities.row(component, entity)?;
        let layout = self.schema.layout(component)?;
        Some(layout.read(row, FieldId(field)))
    }

    /// All fields of a packed value, in field order, or `None` without one.
    ///
    /// # Panics
    /// When the component does not have exactly this many fields: a bug of a room's logic.
    #[must_use]
    #[inline]
    pub fn numbers<const FIELDS: usize>(
        &self,
        component: ComponentId,
        entity: EntityId,
    ) -> Option<[f64; FIELDS]> {
        let row = self.entities.row(component, entity)?;
        let layout = self.schema.layout(component)?;
        let count = layout.fields().len();
        assert_eq!(count, FIELDS, "component {} has {count} fields", component.0);
        Some(std::array::from_fn(|field| layout.read(row, FieldId(field as u8))))
    }

    /// Where entities are; `None` in a room without interest.
    #[must_use]
    pub fn places(&self) -> Option<&Places> {
        self.places.as_ref()
    }

    /// A member's entities in ascending order.
    #[must_use]
    pub fn owned(&self, member: MemberId) -> &[EntityId] {
        self.owned.get(&member).map_or(&[], |owned| owned)
    }

    /// What a tree component says; `None` when the component is none.
    #[must_use]
    pub fn tree(&self, component: ComponentId) -> Option<&Tree> {
        self.trees.iter().find(|(id, _)| *id == component).map(|(_, tree)| tree)
    }

    /// How many entities could be added in this tick.
    #[must_use]
    pub fn vacancies(&self) -> usize {
        let rested = self.free.partition_point(|(died, _)| has_rested(*died, self.building));
        let ids = rested + (limits::ENTITY_ID_MAX as usize - self.born.len());
        ids.min(self.entities_max - self.entities_count)
    }

    /// When an entity's value of a component changed last; [`Tick::ZERO`] when it never did.
    #[must_use]
    pub fn changed_at(&self, component: ComponentId, entity: EntityId) -> Tick {
        let history = &self.histories[component.index()];
        history.changed.get(entity.index()).copied().unwrap_or_default()
    }

    /// When a property changed last; [`Tick::ZERO`] when it never did.
    #[must_use]
    pub fn prop_changed_at(&self, component: ComponentId, entity: EntityId, key: &str) -> Tick {
        let keys = self.histories[component.index()].keys.get(&entity);
        keys.and_then(|keys| keys.get(key)).copied().unwrap_or_default()
    }

    /// When an entity was added; [`Tick::ZERO`] for the room itself.
    #[must_use]
    pub fn born_at(&self, entity: EntityId) -> Tick {
        self.born.get(entity.index()).copied().unwrap_or_default()
    }

    /// Whether everything that changed after `tick` is still known.
    #[must_use]
    pub fn remembers(&self, tick: Tick) -> bool {
        tick >= self.floor
    }

    /// The tick under construction.
    #[must_use]
    pub fn building(&self) -> Tick {
        self.building
    }

    /// Whether everything that happened after `since` is still known. If not, only a snapshot
    /// helps.
    #[must_use]
    pub fn reaches_back_to(&self, since: Tick) -> bool {
        since >= self.floor && since < self.building
    }

    /// When a value of a component changed last.
    #[must_use]
    pub fn last_change(&self, component: ComponentId) -> Tick {
        self.histories[component.index()].last_change
    }

    /// Whether nothing changed since the last tick that was sent.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        let is_new = |tick: Tick| tick > self.dirty_since;
        let changed = self.histories.iter().any(|history| is_new(history.last_change));
        let died = self.graves.back().is_some_and(|grave| is_new(grave.died));
        !changed && !died && self.spawned.is_clear()
    }

    /// Forgets what changed up to the tick under construction, because it was encoded for
    /// everybody who keeps up.
    pub fn mark_sent(&mut self) {
        if let Some(places) = &mut self.places {
            places.mark_sent(self.building);
        }
        self.gone.clear();
        self.dirty_since = self.building;
        self.spawned.clear();
        for history in &mut self.histories {
            history.dirty.clear();
        }
    }

    /// Ends the tick under construction and begins the next.
    pub fn advance(&mut self) {
        self.building = self.building.next();
    }

    /// Checks what the field comments promise. Debug builds call it after every tick.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn check_invariants(&self) {
        if let Some(places) = &self.places {
            places.check_invariants(|entity| self.entities.contains(entity));
        }
        for (component, tree) in &self.trees {
            tree.check_invariants();
            for entity in self.entities.ids() {
                let said =
                    self.entities.props(*component, entity).and_then(|props| props.get(PARENT));
                let parent = tree.parent(entity).map(Value::Entity);
                assert_eq!(said, parent.as_ref(), "{entity:?} hangs where it says");
            }
        }
        for (member, owned) in &self.owned {
            assert!(!owned.is_empty(), "{member:?} has an empty list");
            assert!(owned.is_sorted(), "{member:?} has an unsorted list");
            for entity in owned {
                assert_eq!(self.entities.owner(*entity), Some(*member), "{entity:?}");
            }
        }
        let by_members = self.owned.values().map(Vec::len).sum::<usize>();
        let ids = self.entities.ids();
        let not_the_servers = ids.filter(|id| self.entities.owner(*id) != Some(MemberId::SERVER));
        assert_eq!(by_members, not_the_servers.count(), "every owned entity is in a list");
        assert_eq!(self.entities_count, self.entities.count(), "the count is kept");
        assert_eq!(
            self.entities.count() + self.free.len(),
            self.born.len(),
            "every id is alive or free"
        );
        assert!(self.dirty_since < self.building, "nothing was sent from the future");
    }
}
