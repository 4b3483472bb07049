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
    alive: FixedBitSet,
    /// By component id.
    columns: Vec<Column>,
}

/// The values of one component.
#[derive(Clone, Debug)]
struct Column {
    /// By entity id; set only where the entity is alive. A few cache lines for a whole room, which
    /// is what a delta touches beside the rows themselves.
    present: FixedBitSet,
    values: Values,
    /// What the values take in a snapshot, at most.
    bytes: usize,
}

/// All values of a packed component, as they lie.
#[derive(Clone, Copy, Debug)]
pub struct PackedColumn<'a> {
    /// Which entities have one, by id.
    pub present: &'a FixedBitSet,
    /// Rows by entity id, back to back; meaningful where present.
    pub rows: &'a [u8],
}

/// What a value takes in a snapshot beside itself, at most: a gap, a length and an end.
const VALUE_OVERHEAD_BYTES: usize = 7;

/// What an entity takes in a snapshot beside its values, at most: a gap and an owner.
const ENTITY_BYTES: usize = 6;

#[derive(Clone, Debug)]
enum Values {
    /// Rows by entity id, back to back; meaningful where present.
    Packed { row_bytes: usize, rows: Vec<u8> },
    /// An entry exactly where present.
    Opaque(BTreeMap<EntityId, Box<[u8]>>),
    /// An entry exactly where present, none of them empty.
    Props(BTreeMap<EntityId, Props>),
}

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
        let columns = schema.components().iter().map(|desc| Column::new(&desc.kind)).collect();
        let mut entities = Self { schema, owners: Vec::new(), alive: FixedBitSet::new(), columns };
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
        for column in &mut self.columns {
            column.remove(entity);
        }
    }

    /// Removes an entity and the values everybody in view sees. What was told in private stays:
    /// it does not depend on a view.
    pub fn remove_public(&mut self, entity: EntityId) {
        if entity == EntityId::ROOM || !self.contains(entity) {
            return;
        }
        self.alive.remove(entity.index());
        self.clear_public(entity);
    }

    /// Removes the values of an entity that everybody in view sees.
    pub fn clear_public(&mut self, entity: EntityId) {
        let components = self.schema.components().iter();
        for (column, desc) in self.columns.iter_mut().zip(components) {
            if desc.scope == Scope::Room {
                column.remove(entity);
            }
        }
    }

    /// Removes one value; says whether there was one.
    pub fn remove_value(&mut self, component: ComponentId, entity: EntityId) -> bool {
        self.columns.get_mut(component.index()).is_some_and(|column| column.remove(entity))
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

    /// All values of a component. None when it is not packed.
    #[must_use]
    pub fn packed(&self, component: ComponentId) -> Option<PackedColumn<'_>> {
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
        let column = &mut self.columns[component.index()];
        let Values::Packed { row_bytes, rows } = &mut column.values else {
            panic!("{component:?} is not packed");
        };
        let start = entity.index() * *row_bytes;
        if !column.present.contains(entity.index()) {
            column.present.grow_and_insert(entity.index());
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
        let column = self.columns.get(component.index())?;
        match &column.values {
            Values::Packed { row_bytes, rows } if column.present.contains(entity.index()) => {
                rows.get(entity.index() * row_bytes..)?.get(..*row_bytes)
            }
            Values::Packed { .. } | Values::Opaque(_) | Values::Props(_) => None,
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
        if values.get(&entity).is_some_and(|old| **old == *value) {
            return false;
        }
        let before = values.insert(entity, value.into());
        column.bytes -= before.map_or(0, |before| before.len() + VALUE_OVERHEAD_BYTES);
        column.bytes += value.len() + VALUE_OVERHEAD_BYTES;
        column.present.grow_and_insert(entity.index());
        true
    }

    /// An opaque value.
    #[must_use]
    pub fn opaque(&self, component: ComponentId, entity: EntityId) -> Option<&[u8]> {
        match &self.columns.get(component.index())?.values {
            Values::Opaque(values) => values.get(&entity).map(|value| &**value),
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
            let Some(props) = values.get_mut(&entity) else { return false };
            column.bytes -= props.get(key).map_or(0, |value| prop_bytes(key, value));
            let removed = props.remove(key);
            if props.is_empty() {
                column.remove(entity);
            }
            return removed;
        }
        if !column.present.contains(entity.index()) {
            column.present.grow_and_insert(entity.index());
            column.bytes += VALUE_OVERHEAD_BYTES;
        }
        let props = values.entry(entity).or_default();
        column.bytes -= props.get(key).map_or(0, |value| prop_bytes(key, value));
        column.bytes += prop_bytes(key, &value);
        props.set(key, value)
    }

    /// The properties of one entity and component, if it has any.
    #[must_use]
    pub fn props(&self, component: ComponentId, entity: EntityId) -> Option<&Props> {
        match &self.columns.get(component.index())?.values {
            Values::Props(values) => values.get(&entity),
            Values::Packed { .. } | Values::Opaque(_) => None,
        }
    }

    /// Whether the entity has a value of this component.
    #[must_use]
    #[inline]
    pub fn has_value(&self, component: ComponentId, entity: EntityId) -> bool {
        let column = self.columns.get(component.index());
        column.is_some_and(|column| column.present.contains(entity.index()))
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
        let column = &self.columns[component.index()];
        let ids = ids.filter(|entity| column.present.contains(entity.index()));
        match &column.values {
            Values::Packed { row_bytes, rows } => {
                put_section(output, SectionKind::Rows, component, |output, gaps| {
                    for entity in ids {
                        gaps.put(output, entity);
                        let start = entity.index() * row_bytes;
                        output.extend_from_slice(&rows[start..start + row_bytes]);
                    }
                });
            }
            Values::Opaque(values) => {
                put_section(output, SectionKind::Opaque, component, |output, gaps| {
                    for entity in ids {
                        let Some(value) = values.get(&entity) else { continue };
                        gaps.put(output, entity);
                        put_bytes(output, value);
                    }
                });
            }
            Values::Props(values) => {
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
                View::Room | View::Held(_) => {
                    let present = self.columns[index].present.ones();
                    self.put_values(component, present.map(|id| EntityId(id as u32)), output);
                }
                View::Member(member) => {
                    let owned = self.ids().filter(|id| self.owners[id.index()] == member);
                    self.put_values(component, owned, output);
                }
            }
        }
    }

    /// Appends the body of a snapshot chunk of `ids`, ascending: the entities and their values that
    /// everybody in view sees.
    pub fn put_group(&self, ids: impl Iterator<Item = EntityId> + Clone, output: &mut Vec<u8>) {
        output.push(0);
        let mut gaps = GapWriter::default();
        for entity in ids.clone() {
            gaps.put(output, entity);
            put_varint(output, u32::from(self.owners[entity.index()].0));
        }
        output.push(0);
        for (index, desc) in self.schema.components().iter().enumerate() {
            if desc.scope == Scope::Room {
                self.put_values(ComponentId(index as u8), ids.clone(), output);
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

/// What a property takes in a snapshot, at most: its key and its value behind their lengths.
#[must_use]
pub fn prop_bytes(key: &str, value: &Value) -> usize {
    let value_bytes = match value {
        Value::Nil => return 0,
        Value::Bool(_) => 0,
        Value::Entity(_) => 3,
        Value::Num(_) => 8,
        Value::Int(_) => 10,
        Value::Str(text) => text.len() + 3,
        Value::Bytes(bytes) => bytes.len() + 3,
    };
    key.len() + 2 + value_bytes
}

/// The hash of the view whose snapshot has this body.
#[must_use]
pub fn hash_of_snapshot(body: &[u8]) -> u32 {
    crc32fast::hash(body)
}

impl Column {
    fn new(kind: &Kind) -> Self {
        let values = match kind {
            Kind::Packed(layout) => {
                Values::Packed { row_bytes: layout.row_bytes(), rows: Vec::new() }
            }
            Kind::Opaque { .. } => Values::Opaque(BTreeMap::new()),
            Kind::Props => Values::Props(BTreeMap::new()),
        };
        Self { present: FixedBitSet::new(), values, bytes: 0 }
    }

    fn clear(&mut self) {
        self.present.clear();
        self.bytes = 0;
        match &mut self.values {
            Values::Packed { .. } => {}
            Values::Opaque(values) => values.clear(),
            Values::Props(values) => values.clear(),
        }
    }

    fn remove(&mut self, entity: EntityId) -> bool {
        let present = self.present.contains(entity.index());
        if present {
            self.present.remove(entity.index());
            let bytes = match &mut self.values {
                Values::Packed { row_bytes, .. } => *row_bytes,
                Values::Opaque(values) => values.remove(&entity).map_or(0, |value| value.len()),
                Values::Props(values) => values.remove(&entity).map_or(0, |props| {
                    props.iter().map(|(key, value)| prop_bytes(key, value)).sum()
                }),
            };
            self.bytes -= bytes + VALUE_OVERHEAD_BYTES;
        }
        present
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
