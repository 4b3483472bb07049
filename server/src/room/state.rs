//! The authoritative state of a room: [`Entities`] plus the tick of every change.
//!
//! One encoder serves everybody. `encode(since)` is the tick's delta (`since` = the tick sent
//! last), a catch-up (`since` = the tick a member fell behind at) and a snapshot (`since` = 0).
//! TCP is ordered, so there are no acknowledgements and no history per client: what a member has
//! is one tick number.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fixedbitset::FixedBitSet;
use tickloom_protocol::chunks::{
    ChunkKind, GapWriter, SectionKind, Value, put_bytes, put_chunk, put_section, put_value,
    put_varint,
};
use tickloom_protocol::entities::{Entities, View, hash_of_snapshot};
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::schema::{FieldId, Kind, RoomSchema, Scope};

/// Ticks before the id of a despawned entity is given out again. Clients draw the past, by a few
/// ticks, and must not mistake a newcomer for one who just left. Longer rests cost memory in every
/// replica, whose columns are as long as the highest id: at 5 Hz and a hundred shots a second, 64
/// ticks made them four times as long.
const REUSE_AFTER_TICKS: u32 = 16;

/// Despawns remembered for catch-ups in any room. Beyond this, a room remembers as many as it has
/// entities: a catch-up with more leaves than that would be longer than a snapshot.
const GRAVES_MIN: usize = 256;

/// The body of a chunk in which nobody leaves, enters or changes.
const EMPTY_BODY: [u8; 2] = [0, 0];

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

impl State {
    /// A state with nothing but the room itself, about to build tick 1.
    #[must_use]
    pub fn new(schema: Arc<RoomSchema>, entities_max: usize) -> Self {
        let histories = schema.components().iter().map(|_| History::default()).collect();
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
        let rested = self
            .free
            .front()
            .is_some_and(|(died, _)| died.0.saturating_add(REUSE_AFTER_TICKS) <= self.building.0);
        let entity = match self.free.pop_front_if(|_| rested) {
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
        if owner != MemberId::SERVER {
            let owned = self.owned.entry(owner).or_default();
            let position = owned.partition_point(|other| *other < entity);
            owned.insert(position, entity);
        }
        Some(entity)
    }

    /// Removes an entity with all its values. The room itself and strangers are left alone.
    pub fn despawn(&mut self, entity: EntityId) {
        let Some(owner) = self.entities.owner(entity) else { return };
        if entity == EntityId::ROOM {
            return;
        }
        self.entities.remove(entity);
        self.entities_count -= 1;
        for history in &mut self.histories {
            history.keys.remove(&entity);
        }
        if let Some(owned) = self.owned.get_mut(&owner) {
            owned.retain(|other| *other != entity);
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
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
        for entity in self.owned.get(&owner).cloned().unwrap_or_default() {
            self.despawn(entity);
        }
    }

    /// Sets a packed value from its row. Writing the same row again is no change.
    ///
    /// # Panics
    /// When the component is not packed, the row is not one of its rows, or, in debug builds, the
    /// entity is gone: all three are bugs of a room's logic.
    pub fn set_row(&mut self, component: ComponentId, entity: EntityId, row: &[u8]) {
        if self.entities.set_row(component, entity, row) {
            self.touch(component, entity);
        }
    }

    /// Sets a packed value from one number per field, in field order.
    ///
    /// # Panics
    /// As [`State::set_row`], or when there are more numbers than fields.
    pub fn set_numbers(&mut self, component: ComponentId, entity: EntityId, numbers: &[f64]) {
        let layout = self.schema.layout(component).expect("a packed component");
        let mut row = [0; limits::FIELDS_MAX * 4];
        let row = &mut row[..layout.row_bytes()];
        for (field, number) in numbers.iter().enumerate() {
            layout.write(row, FieldId(field as u8), *number);
        }
        if self.entities.set_row(component, entity, row) {
            self.touch(component, entity);
        }
    }

    /// Sets an opaque value.
    ///
    /// # Panics
    /// When the component is not opaque or the value is longer than its description allows.
    pub fn set_opaque(&mut self, component: ComponentId, entity: EntityId, value: &[u8]) {
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
    /// may be over its limit, or there may be too many keys.
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
        let props = self.entities.props(component, entity);
        let is_new = props.is_none_or(|props| props.get(key).is_none());
        let full = props.is_some_and(|props| props.len() >= limits::PROP_KEYS_MAX);
        let key_fits = (1..=limits::PROP_KEY_BYTES_MAX).contains(&key.len());
        if !key_fits || !value.is_valid() || (is_new && full && value != Value::Nil) {
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

    /// A member's entities in ascending order.
    #[must_use]
    pub fn owned(&self, member: MemberId) -> &[EntityId] {
        self.owned.get(&member).map_or(&[], |owned| owned)
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

    // ---- encoding ------------------------------------------------------------------------------

    /// Appends the room stream's chunk: everything that changed after `since`, or a snapshot when
    /// `since` is [`Tick::ZERO`].
    ///
    /// # Panics
    /// In debug builds, when the state does not reach back to `since`.
    pub fn encode(&mut self, since: Tick, output: &mut Vec<u8>) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let kind = if since == Tick::ZERO {
            self.entities.put_snapshot(View::Room, &mut body);
            ChunkKind::Snapshot
        } else {
            debug_assert!(self.reaches_back_to(since), "{since} is before {}", self.floor);
            self.put_structure(since, &mut body);
            self.put_sections(since, &mut body);
            ChunkKind::Delta
        };
        put_chunk(output, View::Room.stream(), kind, &body);
        self.body = body;
    }

    /// Appends the member stream's chunk for one member, if there is anything to say.
    pub fn encode_member(&mut self, member: MemberId, since: Tick, output: &mut Vec<u8>) {
        if self.last_private_change() <= since {
            return;
        }
        let body = self.member_body(member, since);
        if body.len() > EMPTY_BODY.len() {
            let kind = if since == Tick::ZERO { ChunkKind::Snapshot } else { ChunkKind::Delta };
            put_chunk(output, View::Member(member).stream(), kind, &body);
        }
        self.body = body;
    }

    /// Appends a chunk that states the hash of the room stream.
    pub fn encode_hash(&mut self, output: &mut Vec<u8>) {
        self.entities.put_hash_chunk(View::Room, &mut self.body, output);
    }

    /// Appends a chunk that states the hash of one member's stream, if it may have content.
    pub fn encode_member_hash(&mut self, member: MemberId, output: &mut Vec<u8>) {
        if self.last_private_change() == Tick::ZERO {
            return;
        }
        let body = self.member_body(member, Tick::ZERO);
        let hash = hash_of_snapshot(&body).to_le_bytes();
        put_chunk(output, View::Member(member).stream(), ChunkKind::Hash, &hash);
        self.body = body;
    }

    fn last_private_change(&self) -> Tick {
        let histories = self.histories.iter().zip(self.schema.components());
        let private = histories.filter(|(_, desc)| desc.scope == Scope::Owner);
        private.map(|(history, _)| history.last_change).max().unwrap_or_default()
    }

    /// What changed after `since` on one member's stream, in the buffer `body`; with
    /// [`Tick::ZERO`], the body of its snapshot.
    fn member_body(&mut self, member: MemberId, since: Tick) -> Vec<u8> {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.extend_from_slice(&EMPTY_BODY);
        let owned = self.owned.get(&member).map_or(&[][..], |owned| owned);
        for (index, history) in self.histories.iter().enumerate() {
            let scope = self.schema.components()[index].scope;
            if scope != Scope::Owner || history.last_change <= since {
                continue;
            }
            self.candidates.clear();
            let changed = |entity: &&EntityId| {
                history.changed.get(entity.index()).is_some_and(|changed| *changed > since)
            };
            self.candidates.extend(owned.iter().filter(changed));
            self.put_changes(ComponentId(index as u8), since, &self.candidates, &mut body);
        }
        body
    }

    /// Forgets what changed up to the tick under construction, because it was encoded for
    /// everybody who keeps up.
    pub fn mark_sent(&mut self) {
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

    /// Leaves and enters since `since`.
    fn put_structure(&mut self, since: Tick, body: &mut Vec<u8>) {
        self.candidates.clear();
        let recent = self.graves.iter().rev().take_while(|grave| grave.died > since);
        self.candidates
            .extend(recent.filter(|grave| grave.born <= since).map(|grave| grave.entity));
        self.candidates.sort_unstable();
        let mut gaps = GapWriter::default();
        for entity in &self.candidates {
            gaps.put(body, *entity);
        }
        body.push(0);

        let mut gaps = GapWriter::default();
        let mut put_enter = |index: usize| {
            let entity = EntityId(index as u32);
            let Some(owner) = self.entities.owner(entity) else { return };
            gaps.put(body, entity);
            put_varint(body, u32::from(owner.0));
        };
        if since >= self.dirty_since {
            self.spawned.ones().for_each(&mut put_enter);
        } else {
            let born = self.born.iter().enumerate();
            born.filter(|(_, born)| **born > since).for_each(|(index, _)| put_enter(index));
        }
        body.push(0);
    }

    /// The room-wide components' changes since `since`.
    fn put_sections(&mut self, since: Tick, body: &mut Vec<u8>) {
        for (index, history) in self.histories.iter().enumerate() {
            let scope = self.schema.components()[index].scope;
            if scope != Scope::Room || history.last_change <= since {
                continue;
            }
            self.candidates.clear();
            if since >= self.dirty_since {
                self.candidates.extend(history.dirty.ones().map(|index| EntityId(index as u32)));
            } else {
                let changed = history.changed.iter().enumerate();
                let recent = changed.filter(|(_, changed)| **changed > since);
                self.candidates.extend(recent.map(|(index, _)| EntityId(index as u32)));
            }
            self.put_changes(ComponentId(index as u8), since, &self.candidates, body);
        }
    }

    /// The changes of one component for `entities`, whose values changed after `since`.
    fn put_changes(
        &self,
        component: ComponentId,
        since: Tick,
        entities: &[EntityId],
        body: &mut Vec<u8>,
    ) {
        let is_props = matches!(self.schema.components()[component.index()].kind, Kind::Props);
        if is_props && since != Tick::ZERO {
            return self.put_prop_changes(component, since, entities, body);
        }
        self.entities.put_values(component, entities.iter().copied(), body);
        let last_removal = self.histories[component.index()].last_removal;
        if since != Tick::ZERO && last_removal > since {
            put_section(body, SectionKind::Removed, component, |output, gaps| {
                for entity in entities {
                    let known =
                        self.entities.contains(*entity) && self.born[entity.index()] <= since;
                    if known && !self.entities.has_value(component, *entity) {
                        gaps.put(output, *entity);
                    }
                }
            });
        }
    }

    fn put_prop_changes(
        &self,
        component: ComponentId,
        since: Tick,
        entities: &[EntityId],
        body: &mut Vec<u8>,
    ) {
        let history = &self.histories[component.index()];
        put_section(body, SectionKind::Props, component, |output, gaps| {
            for entity in entities {
                let Some(keys) = history.keys.get(entity) else { continue };
                gaps.put(output, *entity);
                let props = self.entities.props(component, *entity);
                for (key, _) in keys.iter().filter(|(_, changed)| **changed > since) {
                    put_bytes(output, key.as_bytes());
                    let value = props.and_then(|props| props.get(key));
                    put_value(output, value.unwrap_or(&Value::Nil));
                }
                output.push(0);
            }
        });
    }

    /// Checks what the field comments promise. Debug builds call it after every tick.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn check_invariants(&self) {
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
