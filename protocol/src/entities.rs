//! Entities x components, values only: what a room holds now, without any history.
//!
//! The server's state is this plus the tick of each change; a client's replica is this and
//! nothing else. Both write a stream's snapshot with the same code, so equal state gives equal
//! bytes, and a checksum over those bytes is the state's hash.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use crate::chunks::{
    ChunkKind, GapWriter, SectionKind, Value, put_bytes, put_chunk, put_section, put_value,
    put_varint,
};
use crate::ids::{ComponentId, EntityId, MemberId, StreamId};
use crate::limits;
use crate::props::Props;
use crate::schema::{Kind, RoomSchema, Scope};

/// The entities of a room and the values of their components.
#[derive(Clone, Debug)]
pub struct Entities {
    schema: Arc<RoomSchema>,
    /// Owners by entity id; meaningful where `alive` is set.
    owners: Vec<MemberId>,
    /// By entity id: a bit for each component the entity has a value of; 0 where `alive` is not
    /// set.
    values: Vec<u64>,
    alive: FixedBitSet,
    /// By component id.
    columns: Vec<Column>,
}

const _: () = assert!(limits::COMPONENTS_MAX <= u64::BITS as usize, "a bit for each component");

#[derive(Clone, Debug)]
enum Column {
    Packed(PackedColumn),
    Opaque(BTreeMap<EntityId, Box<[u8]>>),
    Props(BTreeMap<EntityId, Props>),
}

#[derive(Clone, Debug)]
struct PackedColumn {
    row_bytes: usize,
    /// Rows by entity id, back to back; meaningful where the entity has a value.
    rows: Vec<u8>,
}

/// Which stream's content to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// All entities, and the values of components with scope `Room`.
    Room,
    /// The values of components with scope `Owner`, for the entities this member owns.
    Member(MemberId),
}

impl View {
    /// The stream that carries this view.
    #[must_use]
    pub const fn stream(self) -> StreamId {
        match self {
            Self::Room => StreamId::ROOM,
            Self::Member(_) => StreamId::MEMBER,
        }
    }

    /// The scope of the components in this view.
    #[must_use]
    pub const fn scope(self) -> Scope {
        match self {
            Self::Room => Scope::Room,
            Self::Member(_) => Scope::Owner,
        }
    }
}

impl Entities {
    /// No entities but the room itself.
    #[must_use]
    pub fn new(schema: Arc<RoomSchema>) -> Self {
        let columns = schema
            .components()
            .iter()
            .map(|component| match &component.kind {
                Kind::Packed(layout) => {
                    Column::Packed(PackedColumn { row_bytes: layout.row_bytes(), rows: Vec::new() })
                }
                Kind::Opaque { .. } => Column::Opaque(BTreeMap::new()),
                Kind::Props => Column::Props(BTreeMap::new()),
            })
            .collect();
        let mut entities = Self {
            schema,
            owners: Vec::new(),
            values: Vec::new(),
            alive: FixedBitSet::new(),
            columns,
        };
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
        self.values.fill(0);
        for column in &mut self.columns {
            column.clear();
        }
        self.insert(EntityId::ROOM, MemberId::SERVER);
    }

    /// Removes the values of all components of `scope`.
    pub fn clear_scope(&mut self, scope: Scope) {
        let mut kept = u64::MAX;
        let components = self.schema.components().iter().enumerate();
        for (index, _) in components.filter(|(_, desc)| desc.scope == scope) {
            self.columns[index].clear();
            kept &= !bit(ComponentId(index as u8));
        }
        for values in &mut self.values {
            *values &= kept;
        }
    }

    /// Adds an entity without values, or changes the owner of one that is there.
    ///
    /// # Panics
    /// When the id is at or over [`limits::ENTITY_ID_MAX`]; ids from the wire are checked where
    /// they are read.
    pub fn insert(&mut self, entity: EntityId, owner: MemberId) {
        assert!(entity.0 < limits::ENTITY_ID_MAX, "{entity:?} is over the limit");
        let index = entity.index();
        if self.owners.len() <= index {
            self.owners.resize(index + 1, MemberId::SERVER);
            self.values.resize(index + 1, 0);
        }
        self.owners[index] = owner;
        self.alive.grow_and_insert(index);
    }

    /// Removes an entity and its values. The room itself stays.
    pub fn remove(&mut self, entity: EntityId) {
        if entity == EntityId::ROOM || !self.contains(entity) {
            return;
        }
        self.alive.remove(entity.index());
        let mut left = std::mem::take(&mut self.values[entity.index()]);
        while left != 0 {
            self.columns[left.trailing_zeros() as usize].remove(entity);
            left &= left - 1;
        }
    }

    /// Removes one value; says whether there was one.
    pub fn remove_value(&mut self, component: ComponentId, entity: EntityId) -> bool {
        let present = self.has_value(component, entity);
        if present {
            self.values[entity.index()] &= !bit(component);
            self.columns[component.index()].remove(entity);
        }
        present
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

    /// Sets a packed row without looking whether it changes anything, which is cheaper.
    ///
    /// # Panics
    /// As [`Entities::set_row`].
    #[inline]
    pub(crate) fn overwrite_row(&mut self, component: ComponentId, entity: EntityId, row: &[u8]) {
        debug_assert!(self.contains(entity), "{entity:?} is not alive");
        let Column::Packed(column) = &mut self.columns[component.index()] else {
            panic!("{component:?} is not packed");
        };
        self.values[entity.index()] |= bit(component);
        column.overwrite(entity, row);
    }

    /// A packed row.
    #[must_use]
    pub fn row(&self, component: ComponentId, entity: EntityId) -> Option<&[u8]> {
        match self.columns.get(component.index())? {
            Column::Packed(column) if self.has_value(component, entity) => Some(column.row(entity)),
            Column::Packed(_) | Column::Opaque(_) | Column::Props(_) => None,
        }
    }

    /// Sets an opaque value; says whether that changed anything.
    ///
    /// # Panics
    /// When the component is not opaque.
    pub fn set_opaque(&mut self, component: ComponentId, entity: EntityId, value: &[u8]) -> bool {
        debug_assert!(self.contains(entity), "{entity:?} is not alive");
        let Column::Opaque(values) = &mut self.columns[component.index()] else {
            panic!("{component:?} is not opaque");
        };
        if values.get(&entity).is_some_and(|old| **old == *value) {
            return false;
        }
        values.insert(entity, value.into());
        self.values[entity.index()] |= bit(component);
        true
    }

    /// An opaque value.
    #[must_use]
    pub fn opaque(&self, component: ComponentId, entity: EntityId) -> Option<&[u8]> {
        match self.columns.get(component.index())? {
            Column::Opaque(values) => values.get(&entity).map(|value| &**value),
            Column::Packed(_) | Column::Props(_) => None,
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
        debug_assert!(self.contains(entity), "{entity:?} is not alive");
        let Column::Props(values) = &mut self.columns[component.index()] else {
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
            let Some(props) = values.get_mut(&entity) else { return false };
            let removed = props.remove(key);
            if props.is_empty() {
                self.remove_value(component, entity);
            }
            return removed;
        }
        self.values[entity.index()] |= bit(component);
        values.entry(entity).or_default().set(key, value)
    }

    /// The properties of one entity and component, if it has any.
    #[must_use]
    pub fn props(&self, component: ComponentId, entity: EntityId) -> Option<&Props> {
        match self.columns.get(component.index())? {
            Column::Props(values) => values.get(&entity),
            Column::Packed(_) | Column::Opaque(_) => None,
        }
    }

    /// Whether the entity has a value of this component.
    #[must_use]
    #[inline]
    pub fn has_value(&self, component: ComponentId, entity: EntityId) -> bool {
        self.values.get(entity.index()).is_some_and(|values| values & bit(component) != 0)
    }

    /// Whether the entity is there.
    #[must_use]
    #[inline]
    pub fn contains(&self, entity: EntityId) -> bool {
        self.alive.contains(entity.index())
    }

    /// Who owns the entity.
    #[must_use]
    pub fn owner(&self, entity: EntityId) -> Option<MemberId> {
        self.contains(entity).then(|| self.owners[entity.index()])
    }

    /// All entities in ascending order, the room itself first.
    pub fn ids(&self) -> impl Iterator<Item = EntityId> {
        self.alive.ones().map(|index| EntityId(index as u32))
    }

    /// How many entities there are, the room itself included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.alive.count_ones(..)
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
        let ids = ids.filter(|entity| self.has_value(component, *entity));
        match &self.columns[component.index()] {
            Column::Packed(column) => {
                put_section(output, SectionKind::Rows, component, |output, gaps| {
                    for entity in ids {
                        gaps.put(output, entity);
                        output.extend_from_slice(column.row(entity));
                    }
                });
            }
            Column::Opaque(values) => {
                put_section(output, SectionKind::Opaque, component, |output, gaps| {
                    for entity in ids {
                        let Some(value) = values.get(&entity) else { continue };
                        gaps.put(output, entity);
                        put_bytes(output, value);
                    }
                });
            }
            Column::Props(values) => {
                put_section(output, SectionKind::Props, component, |output, gaps| {
                    for entity in ids {
                        let Some(props) = values.get(&entity) else { continue };
                        gaps.put(output, entity);
                        for (key, value) in props.iter() {
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
            for entity in self.ids() {
                gaps.put(output, entity);
                put_varint(output, u32::from(self.owners[entity.index()].0));
            }
        }
        output.push(0);
        for (index, desc) in self.schema.components().iter().enumerate() {
            if desc.scope != view.scope() {
                continue;
            }
            let component = ComponentId(index as u8);
            match view {
                View::Room => self.put_values(component, self.ids(), output),
                View::Member(member) => {
                    let owned = self.ids().filter(|id| self.owners[id.index()] == member);
                    self.put_values(component, owned, output);
                }
            }
        }
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

/// A component's bit in [`Entities::values`]; none for an id that no schema has.
#[inline]
const fn bit(component: ComponentId) -> u64 {
    match 1_u64.checked_shl(component.0 as u32) {
        Some(bit) => bit,
        None => 0,
    }
}

impl Column {
    fn clear(&mut self) {
        match self {
            Self::Packed(_) => {}
            Self::Opaque(values) => values.clear(),
            Self::Props(values) => values.clear(),
        }
    }

    fn remove(&mut self, entity: EntityId) {
        match self {
            Self::Packed(_) => {}
            Self::Opaque(values) => drop(values.remove(&entity)),
            Self::Props(values) => drop(values.remove(&entity)),
        }
    }
}

impl PackedColumn {
    #[inline]
    fn overwrite(&mut self, entity: EntityId, row: &[u8]) {
        let start = entity.index() * self.row_bytes;
        let end = start + self.row_bytes;
        if self.rows.len() < end {
            self.rows.resize(end, 0);
        }
        self.rows[start..end].copy_from_slice(row);
    }

    #[inline]
    fn row(&self, entity: EntityId) -> &[u8] {
        let start = entity.index() * self.row_bytes;
        &self.rows[start..start + self.row_bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ComponentDesc;

    const PROFILE: ComponentId = ComponentId(0);

    fn entities() -> Entities {
        let schema = RoomSchema::new(vec![ComponentDesc::props("profile")], vec![]);
        Entities::new(Arc::new(schema.expect("schema")))
    }

    #[test]
    fn the_two_zeros_are_one_value_with_one_hash() {
        let mut hashes = Vec::new();
        for zeros in [[0.0, -0.0], [-0.0, 0.0]] {
            let mut entities = entities();
            for (zero, changes) in zeros.into_iter().zip([true, false]) {
                let changed = entities.set_prop(PROFILE, EntityId::ROOM, "k", Value::Num(zero));
                assert_eq!(changed, changes, "{zero:?} of {zeros:?}");
            }
            hashes.push(entities.hash(View::Room, &mut Vec::new()));
        }
        assert_eq!(hashes[0], hashes[1]);
    }

    #[test]
    fn numbers_that_are_not_finite_change_nothing() {
        for num in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut entities = entities();
            let room = EntityId::ROOM;
            assert!(!entities.set_prop(PROFILE, room, "k", Value::Num(num)), "{num}");
            assert!(!entities.has_value(PROFILE, room), "{num}: no empty value stays behind");
            entities.set_prop(PROFILE, room, "k", Value::Num(1.5));
            assert!(!entities.set_prop(PROFILE, room, "k", Value::Num(num)), "{num}");
            let props = entities.props(PROFILE, room).expect("a value");
            assert_eq!(props.get("k"), Some(&Value::Num(1.5)), "{num}: the value stays");
        }
    }
}
