//! Entities x components, values only: what a room holds now, without any history.
//!
//! The server's state is this plus the tick of each change; a client's replica is this and
//! nothing else. Both write a stream's snapshot with the same code, so equal state gives equal
//! bytes, and a checksum over those bytes is the state's hash.

mod column;
mod slots;

use std::sync::Arc;

use fixedbitset::FixedBitSet;

use crate::chunks::{
    ChunkKind, GapWriter, SectionKind, Value, put_bytes, put_chunk, put_section, put_value,
    put_varint,
};
use crate::entities::column::{Column, VALUE_OVERHEAD_BYTES, Values, grow_to};
pub(crate) use crate::entities::slots::Slot;
use crate::entities::slots::{Dealt, Slots};
use crate::ids::{ComponentId, EntityId, MemberId, StreamId};
use crate::limits;
use crate::props::Props;
use crate::schema::{RoomSchema, Scope};

pub use crate::entities::column::prop_bytes;

/// The entities of a room and the values of their components.
#[derive(Clone, Debug)]
pub struct Entities {
    schema: Arc<RoomSchema>,
    slots: Slots,
    /// Owners by slot; meaningful where `alive` is set.
    owners: Vec<MemberId>,
    /// By slot.
    alive: FixedBitSet,
    /// By component id.
    columns: Vec<Column>,
}

/// All values of a packed component, as they lie in a room that is known whole.
#[derive(Clone, Copy, Debug)]
pub struct PackedColumn<'a> {
    /// Which entities have one, by id.
    pub present: &'a FixedBitSet,
    /// Rows by entity id, back to back; meaningful where present.
    pub rows: &'a [u8],
}

/// What an entity takes in a snapshot beside its values, at most: a gap and an owner.
const ENTITY_BYTES: usize = 6;

/// Which stream's content to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// All entities, and the values of components with scope `Room`.
    Room,
    /// The values of components with scope `Owner`, for the entities this member owns.
    Member(MemberId),
    /// All values of components with a private scope: a replica has only those it was told.
    Held(Scope),
}

impl View {
    /// The stream that carries this view.
    #[must_use]
    pub const fn stream(self) -> StreamId {
        match self {
            Self::Room | Self::Held(Scope::Room) => StreamId::ROOM,
            Self::Member(_) | Self::Held(Scope::Owner) => StreamId::MEMBER,
            Self::Held(Scope::Team) => StreamId::TEAM,
        }
    }

    /// The scope of the components in this view.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Room => Scope::Room,
            Self::Member(_) => Scope::Owner,
            Self::Held(scope) => scope,
        }
    }
}

impl Entities {
    /// No entities but the room itself.
    #[must_use]
    pub fn new(schema: Arc<RoomSchema>) -> Self {
        Self::lying(schema, Slots::ById)
    }

    /// The same for those who know few entities of very many: memory goes by how many those are,
    /// and not by their ids.
    #[must_use]
    pub fn few(schema: Arc<RoomSchema>) -> Self {
        Self::lying(schema, Slots::Dealt(Dealt::default()))
    }

    fn lying(schema: Arc<RoomSchema>, slots: Slots) -> Self {
        let columns = schema.components().iter().map(|desc| Column::new(&desc.kind)).collect();
        let (owners, alive) = (Vec::new(), FixedBitSet::new());
        let mut entities = Self { schema, slots, owners, alive, columns };
        entities.insert(EntityId::ROOM, MemberId::SERVER);
        entities
    }

    /// What the entities are made of.
    #[must_use]
    pub fn schema(&self) -> &Arc<RoomSchema> {
        &self.schema
    }

    /// Removes everything but the room itself, with all values.
    pub fn clear(&mut self) {
        self.alive.clear();
        for column in &mut self.columns {
            column.clear();
        }
        self.slots.clear();
        self.insert(EntityId::ROOM, MemberId::SERVER);
    }

    /// Removes the values of all components of `scope`.
    pub fn clear_scope(&mut self, scope: Scope) {
        let components = self.schema.components().iter();
        for (column, _) in
            self.columns.iter_mut().zip(components).filter(|(_, desc)| desc.scope == scope)
        {
            column.clear();
        }
        let Self { slots, alive, columns, .. } = self;
        slots.take_back(|slot| is_unused(alive, columns, slot));
    }

    /// Adds an entity without values, or changes the owner of one that is there.
    ///
    /// # Panics
    /// When the id is at or over [`limits::ENTITY_ID_MAX`]; ids from the wire are checked where
    /// they are read.
    pub fn insert(&mut self, entity: EntityId, owner: MemberId) {
        self.place(entity, owner);
    }

    /// The same; returns the slot, which is the entity's until it is removed.
    ///
    /// # Panics
    /// As [`Entities::insert`].
    pub(crate) fn place(&mut self, entity: EntityId, owner: MemberId) -> Slot {
        assert!(entity.0 < limits::ENTITY_ID_MAX, "{entity:?} is over the limit");
        let slot = self.slots.find_or_deal(entity);
        if self.owners.len() <= slot {
            self.owners.resize(slot + 1, MemberId::SERVER);
        }
        self.owners[slot] = owner;
        self.alive.grow_and_insert(slot);
        Slot(slot as u32)
    }

    /// Removes an entity and its values. The room itself stays.
    pub fn remove(&mut self, entity: EntityId) {
        let Some(slot) = self.slot(entity).filter(|_| entity != EntityId::ROOM) else { return };
        self.alive.remove(slot);
        for column in &mut self.columns {
            column.remove(slot);
        }
        self.take_slot_back(entity);
    }

    /// Removes an entity and the values everybody in view sees. What was told in private stays:
    /// it does not depend on a view.
    pub fn remove_public(&mut self, entity: EntityId) {
        let Some(slot) = self.slot(entity).filter(|_| entity != EntityId::ROOM) else { return };
        self.alive.remove(slot);
        self.clear_public(entity);
        self.take_slot_back(entity);
    }

    /// Removes the values of an entity that everybody in view sees.
    pub fn clear_public(&mut self, entity: EntityId) {
        let Some(slot) = self.slots.find(entity) else { return };
        let components = self.schema.components().iter();
        for (column, desc) in self.columns.iter_mut().zip(components) {
            if desc.scope == Scope::Room {
                column.remove(slot);
            }
        }
    }

    /// Removes one value; says whether there was one.
    pub fn remove_value(&mut self, component: ComponentId, entity: EntityId) -> bool {
        let Some(slot) = self.slots.find(entity) else { return false };
        let column = self.columns.get_mut(component.index());
        let was_there = column.is_some_and(|column| column.remove(slot));
        self.take_slot_back(entity);
        was_there
    }

    /// The slot of an entity that is there.
    #[inline]
    fn slot(&self, entity: EntityId) -> Option<usize> {
        self.slots.find(entity).filter(|slot| self.alive.contains(*slot))
    }

    /// Takes back the slot of an entity of which nothing is known any more.
    fn take_slot_back(&mut self, entity: EntityId) {
        let Self { slots, alive, columns, .. } = self;
        slots.take_back_of(entity, |slot| is_unused(alive, columns, slot));
    }

    /// Sets a packed row; says whether that changed anything.
    ///
    /// # Panics
    /// When the component is not packed or the row has another length.
    #[inline]
    pub fn set_row(&mut self, component: ComponentId, entity: EntityId, row: &[u8]) -> bool {
        if self.row(component, entity) == Some(row) {
            return false;
        }
        self.overwrite_row(component, entity, row);
        true
    }

    /// All values of a component. None when it is not packed, or of [`Entities::few`].
    #[must_use]
    pub fn packed(&self, component: ComponentId) -> Option<PackedColumn<'_>> {
        if !matches!(self.slots, Slots::ById) {
            return None;
        }
        let Column { present, values, .. } = self.columns.get(component.index())?;
        match values {
            Values::Packed { rows, .. } => Some(PackedColumn { present, rows }),
            Values::Opaque(_) | Values::Props(_) => None,
        }
    }

    /// Sets a packed row without looking whether it changes anything, which is cheaper.
    ///
    /// # Panics
    /// As [`Entities::set_row`].
    #[inline]
    pub(crate) fn overwrite_row(&mut self, component: ComponentId, entity: EntityId, row: &[u8]) {
        let slot = self.slots.find_or_deal(entity);
        self.overwrite_row_at(component, Slot(slot as u32), row);
    }

    /// The same for an entity whose slot is known.
    ///
    /// # Panics
    /// As [`Entities::set_row`].
    #[inline]
    pub(crate) fn overwrite_row_at(&mut self, component: ComponentId, slot: Slot, row: &[u8]) {
        let slot = slot.index();
        let column = &mut self.columns[component.index()];
        let Values::Packed { row_bytes, rows } = &mut column.values else {
            panic!("{component:?} is not packed");
        };
        let start = slot * *row_bytes;
        if !column.present.contains(slot) {
            column.present.grow_and_insert(slot);
            column.bytes += *row_bytes + VALUE_OVERHEAD_BYTES;
            if rows.len() < start + *row_bytes {
                rows.resize(start + *row_bytes, 0);
            }
        }
        rows[start..start + *row_bytes].copy_from_slice(row);
    }

    /// A packed row.
    #[must_use]
    pub fn row(&self, component: ComponentId, entity: EntityId) -> Option<&[u8]> {
        let (column, slot) = self.value_at(component, entity)?;
        match &column.values {
            Values::Packed { row_bytes, rows } => rows.get(slot * row_bytes..)?.get(..*row_bytes),
            Values::Opaque(_) | Values::Props(_) => None,
        }
    }

    /// Sets an opaque value; says whether that changed anything.
    ///
    /// # Panics
    /// When the component is not opaque.
    pub fn set_opaque(&mut self, component: ComponentId, entity: EntityId, value: &[u8]) -> bool {
        let column = &mut self.columns[component.index()];
        let Values::Opaque(values) = &mut column.values else {
            panic!("{component:?} is not opaque");
        };
        let slot = self.slots.find_or_deal(entity);
        let is_there = column.present.contains(slot);
        let place = grow_to(values, slot);
        if is_there && **place == *value {
            return false;
        }
        column.bytes -= if is_there { place.len() + VALUE_OVERHEAD_BYTES } else { 0 };
        column.bytes += value.len() + VALUE_OVERHEAD_BYTES;
        *place = value.into();
        column.present.grow_and_insert(slot);
        true
    }

    /// An opaque value.
    #[must_use]
    pub fn opaque(&self, component: ComponentId, entity: EntityId) -> Option<&[u8]> {
        let (column, slot) = self.value_at(component, entity)?;
        match &column.values {
            Values::Opaque(values) => values.get(slot).map(|value| &**value),
            Values::Packed { .. } | Values::Props(_) => None,
        }
    }

    /// Sets a property, or removes it with [`Value::Nil`]; says whether that changed anything. A
    /// value that no replica would take ([`Value::is_valid`]) changes nothing.
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
        let column = &mut self.columns[component.index()];
        let Values::Props(values) = &mut column.values else {
            panic!("{component:?} is not props");
        };
        let value = match value {
            value if !value.is_valid() => return false,
            // The two zeros are equal but hash differently, so whether a change from one to the
            // other was noticed would show in the hash.
            Value::Num(0.0) => Value::Num(0.0),
            value => value,
        };
        if value == Value::Nil {
            let slot = self.slots.find(entity);
            let Some(props) = slot.and_then(|slot| values.get_mut(slot)) else { return false };
            column.bytes -= props.get(key).map_or(0, |value| prop_bytes(key, value));
            let removed = props.remove(key);
            if removed && props.is_empty() {
                self.remove_value(component, entity);
            }
            return removed;
        }
        let slot = self.slots.find_or_deal(entity);
        if !column.present.contains(slot) {
            column.present.grow_and_insert(slot);
            column.bytes += VALUE_OVERHEAD_BYTES;
        }
        let props = grow_to(values, slot);
        column.bytes -= props.get(key).map_or(0, |value| prop_bytes(key, value));
        column.bytes += prop_bytes(key, &value);
        props.set(key, value)
    }

    /// The properties of one entity and component, if it has any.
    #[must_use]
    pub fn props(&self, component: ComponentId, entity: EntityId) -> Option<&Props> {
        let (column, slot) = self.value_at(component, entity)?;
        match &column.values {
            Values::Props(values) => values.get(slot),
            Values::Packed { .. } | Values::Opaque(_) => None,
        }
    }

    /// Whether the entity has a value of this component.
    #[must_use]
    #[inline]
    pub fn has_value(&self, component: ComponentId, entity: EntityId) -> bool {
        self.value_at(component, entity).is_some()
    }

    /// Whether the entity is there.
    #[must_use]
    #[inline]
    pub fn contains(&self, entity: EntityId) -> bool {
        self.slot(entity).is_some()
    }

    /// Who owns the entity.
    #[must_use]
    pub fn owner(&self, entity: EntityId) -> Option<MemberId> {
        self.slot(entity).map(|slot| self.owners[slot])
    }

    /// All entities in ascending order, the room itself first.
    pub fn ids(&self) -> impl Iterator<Item = EntityId> {
        self.slots.of(&self.alive).map(|(entity, _)| entity)
    }

    /// How many entities there are, the room itself included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.alive.count_ones(..)
    }

    /// What a snapshot of everything takes, at most: of all views together.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        let values = self.columns.iter().map(|column| column.bytes + 4).sum::<usize>();
        values + self.count() * ENTITY_BYTES
    }

    // ---- writing sections ----------------------------------------------------------------------

    /// Appends a section with the values that `ids`, ascending, have of this component. Entities
    /// without one are passed over; a section without values leaves no trace.
    pub fn put_values(
        &self,
        component: ComponentId,
        ids: impl Iterator<Item = EntityId>,
        output: &mut Vec<u8>,
    ) {
        self.put_values_at(component, ids.filter_map(|entity| self.placed(entity)), output);
    }

    /// The same for entities whose slots are known.
    fn put_values_at(
        &self,
        component: ComponentId,
        places: impl Iterator<Item = (EntityId, usize)>,
        output: &mut Vec<u8>,
    ) {
        let column = &self.columns[component.index()];
        let places = places.filter(|(_, slot)| column.present.contains(*slot));
        match &column.values {
            Values::Packed { row_bytes, rows } => {
                put_section(output, SectionKind::Rows, component, |output, gaps| {
                    for (entity, slot) in places {
                        gaps.put(output, entity);
                        let start = slot * row_bytes;
                        output.extend_from_slice(&rows[start..start + row_bytes]);
                    }
                });
            }
            Values::Opaque(values) => {
                put_section(output, SectionKind::Opaque, component, |output, gaps| {
                    for (entity, slot) in places {
                        gaps.put(output, entity);
                        put_bytes(output, &values[slot]);
                    }
                });
            }
            Values::Props(values) => {
                put_section(output, SectionKind::Props, component, |output, gaps| {
                    for (entity, slot) in places {
                        gaps.put(output, entity);
                        for (key, value) in values[slot].iter() {
                            put_bytes(output, key.as_bytes());
                            put_value(output, value);
                        }
                        output.push(0);
                    }
                });
            }
        }
    }

    /// Appends the body of a snapshot chunk of `view`: everything it shows.
    pub fn put_snapshot(&self, view: View, output: &mut Vec<u8>) {
        output.push(0);
        if view == View::Room {
            let mut gaps = GapWriter::default();
            for (entity, slot) in self.slots.of(&self.alive) {
                gaps.put(output, entity);
                put_varint(output, u32::from(self.owners[slot].0));
            }
        }
        output.push(0);
        for (index, desc) in self.schema.components().iter().enumerate() {
            if desc.scope != view.scope() {
                continue;
            }
            let component = ComponentId(index as u8);
            match view {
                View::Room | View::Held(_) => {
                    let present = self.slots.of(&self.columns[index].present);
                    self.put_values_at(component, present, output);
                }
                View::Member(member) => {
                    let owned = self.slots.of(&self.alive);
                    let owned = owned.filter(|(_, slot)| self.owners[*slot] == member);
                    self.put_values_at(component, owned, output);
                }
            }
        }
    }

    /// Appends the body of a snapshot chunk of `ids`, ascending: the entities and their values that
    /// everybody in view sees.
    pub fn put_group(&self, ids: impl Iterator<Item = EntityId> + Clone, output: &mut Vec<u8>) {
        self.put_group_of(ids.filter_map(|entity| self.placed(entity)), output);
    }

    /// The same for entities whose slots are known.
    pub(crate) fn put_group_at(
        &self,
        places: impl Iterator<Item = (EntityId, Slot)> + Clone,
        output: &mut Vec<u8>,
    ) {
        self.put_group_of(places.map(|(entity, slot)| (entity, slot.index())), output);
    }

    fn put_group_of(
        &self,
        places: impl Iterator<Item = (EntityId, usize)> + Clone,
        output: &mut Vec<u8>,
    ) {
        output.push(0);
        let mut gaps = GapWriter::default();
        for (entity, slot) in places.clone() {
            gaps.put(output, entity);
            put_varint(output, u32::from(self.owners[slot].0));
        }
        output.push(0);
        for (index, desc) in self.schema.components().iter().enumerate() {
            if desc.scope == Scope::Room {
                self.put_values_at(ComponentId(index as u8), places.clone(), output);
            }
        }
    }

    /// An entity and its slot.
    #[inline]
    fn placed(&self, entity: EntityId) -> Option<(EntityId, usize)> {
        Some((entity, self.slots.find(entity)?))
    }

    /// The column that has a value of an entity, and where.
    #[inline]
    fn value_at(&self, component: ComponentId, entity: EntityId) -> Option<(&Column, usize)> {
        let slot = self.slots.find(entity)?;
        let column = self.columns.get(component.index())?;
        column.present.contains(slot).then_some((column, slot))
    }

    /// The hash of `view`: CRC-32 (ISO-HDLC) of its snapshot's body. `scratch` is overwritten.
    #[must_use]
    pub fn hash(&self, view: View, scratch: &mut Vec<u8>) -> u32 {
        scratch.clear();
        self.put_snapshot(view, scratch);
        hash_of_snapshot(scratch)
    }

    /// Appends a chunk that states the hash of `view`. `scratch` is overwritten.
    pub fn put_hash_chunk(&self, view: View, scratch: &mut Vec<u8>, output: &mut Vec<u8>) {
        let hash = self.hash(view, scratch);
        put_chunk(output, view.stream(), ChunkKind::Hash, &hash.to_le_bytes());
    }
}

/// The hash of the view whose snapshot has this body.
#[must_use]
pub fn hash_of_snapshot(body: &[u8]) -> u32 {
    crc32fast::hash(body)
}

/// Whether nothing lies in a slot.
fn is_unused(alive: &FixedBitSet, columns: &[Column], slot: usize) -> bool {
    !alive.contains(slot) && columns.iter().all(|column| !column.present.contains(slot))
}

#[cfg(test)]
mod tests;
