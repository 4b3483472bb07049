//! What a `Write` asks for: the body of a delta chunk, in the other direction.
//!
//! ```text
//! changes := leaves enters section*       as in [`crate::chunks`]
//! ```
//!
//! Entities that the write adds have no id yet. In the enters, and wherever else the write refers
//! to them, they are [`limits::ENTITY_ID_MAX`], the id after it, and so on, in this order; their
//! owner is either the writer or the room (0). The answer lists the ids they got.

use std::collections::BTreeMap;

use crate::chunks::{
    ChunkError, GapReader, GapWriter, Reader, SectionKind, Value, put_bytes, put_value, put_varint,
};
use crate::ids::{ComponentId, EntityId, MemberId};
use crate::limits;
use crate::schema::{Kind, RoomSchema};

/// Where the ids of entities that a write adds end.
const IDS_MAX: u32 = limits::ENTITY_ID_MAX + limits::SPAWNS_PER_WRITE_MAX as u32;

/// An entity in a write: one that is there, or one that the write adds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Target(u32);

impl Target {
    /// The entity that the write's enter number `position` adds.
    ///
    /// # Panics
    /// When a write cannot add that many.
    #[must_use]
    pub fn added(position: usize) -> Self {
        assert!(position < limits::SPAWNS_PER_WRITE_MAX, "{position} is too many for a write");
        Self(limits::ENTITY_ID_MAX + position as u32)
    }

    /// Which of the write's enters adds it; `None` for an entity that is there.
    #[must_use]
    pub fn position(self) -> Option<usize> {
        self.0.checked_sub(limits::ENTITY_ID_MAX).map(|position| position as usize)
    }

    /// The entity, given those that the write has added. `None` when it adds no such entity.
    #[must_use]
    pub fn resolve(self, added: &[EntityId]) -> Option<EntityId> {
        match self.position() {
            None => Some(EntityId(self.0)),
            Some(position) => added.get(position).copied(),
        }
    }
}

impl From<EntityId> for Target {
    fn from(entity: EntityId) -> Self {
        Self(entity.0)
    }
}

/// One change of a write.
#[derive(Clone, PartialEq, Debug)]
pub enum Change<'a> {
    /// An entity goes.
    Leave(EntityId),
    /// An entity comes; the writer's own or the room's.
    Enter {
        /// Whose.
        owner: MemberId,
    },
    /// A packed value.
    Row(ComponentId, Target, &'a [u8]),
    /// A component is taken off.
    Removed(ComponentId, Target),
    /// An opaque value.
    Opaque(ComponentId, Target, &'a [u8]),
    /// A property; [`Value::Nil`] removes it. An entity in it is a [`Target`] still.
    Prop(ComponentId, Target, &'a str, Value),
}

/// Reads the changes of a write into `changes`. What comes out fits `schema` in kinds, lengths and
/// ranges; whether it fits the room's entities and the writer's rights is not looked at.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read_changes<'a>(
    bytes: &'a [u8],
    schema: &RoomSchema,
    changes: &mut Vec<Change<'a>>,
) -> Result<(), ChunkError> {
    let mut reader = Reader::new(bytes);
    let mut leaves = GapReader::default();
    while let Some(entity) = leaves.next(&mut reader)? {
        changes.push(Change::Leave(entity));
    }
    let mut enters = GapReader::default();
    let mut expected = limits::ENTITY_ID_MAX;
    while let Some(entity) = enters.next_below(IDS_MAX, &mut reader)? {
        if entity.0 != expected {
            return Err(ChunkError::UnknownEntity(entity.0));
        }
        expected += 1;
        changes.push(Change::Enter { owner: reader.member()? });
    }
    while let Some((kind, component)) = reader.section()? {
        read_section(kind, component, schema, &mut reader, changes)?;
    }
    Ok(())
}

fn read_section<'a>(
    kind: SectionKind,
    component: ComponentId,
    schema: &RoomSchema,
    reader: &mut Reader<'a>,
    changes: &mut Vec<Change<'a>>,
) -> Result<(), ChunkError> {
    let wrong = ChunkError::WrongComponent(component.0);
    let desc = schema.components().get(component.index()).ok_or(wrong)?;
    let mut gaps = GapReader::default();
    while let Some(EntityId(id)) = gaps.next_below(IDS_MAX, reader)? {
        let target = Target(id);
        match (kind, &desc.kind) {
            (SectionKind::Rows, Kind::Packed(layout)) => {
                let row = reader.take(layout.row_bytes())?;
                if !layout.accepts(row) {
                    return Err(ChunkError::BadValue);
                }
                changes.push(Change::Row(component, target, row));
            }
            (SectionKind::Removed, _) => changes.push(Change::Removed(component, target)),
            (SectionKind::Opaque, Kind::Opaque { value_bytes_max, .. }) => {
                let value = reader.sized()?;
                if value.len() > *value_bytes_max {
                    return Err(ChunkError::OpaqueTooLong);
                }
                changes.push(Change::Opaque(component, target, value));
            }
            (SectionKind::Props, Kind::Props) => {
                while let Some((key, value)) = reader.prop_below(IDS_MAX)? {
                    changes.push(Change::Prop(component, target, key, value));
                }
            }
            (SectionKind::Rows | SectionKind::Opaque | SectionKind::Props, _) => return Err(wrong),
        }
    }
    Ok(())
}

/// Collects the changes of one write. Those of one component take effect in the order of the
/// calls; different components do not meet.
#[derive(Clone, Debug, Default)]
pub struct ChangesBuilder {
    leaves: Vec<EntityId>,
    enters: Vec<MemberId>,
    /// Sections in the order of their first item.
    sections: Vec<Section>,
}

#[derive(Clone, Debug)]
struct Section {
    kind: SectionKind,
    component: ComponentId,
    /// What was written about each entity, in the section's own grammar.
    items: BTreeMap<Target, Vec<u8>>,
}

impl ChangesBuilder {
    /// Removes an entity.
    pub fn leave(&mut self, entity: EntityId) -> &mut Self {
        if let Err(position) = self.leaves.binary_search(&entity) {
            self.leaves.insert(position, entity);
        }
        self
    }

    /// Adds an entity of the writer's own, or of the room with [`MemberId::SERVER`].
    ///
    /// # Panics
    /// After [`limits::SPAWNS_PER_WRITE_MAX`] of them.
    pub fn enter(&mut self, owner: MemberId) -> Target {
        let target = Target::added(self.enters.len());
        self.enters.push(owner);
        target
    }

    /// Sets a packed value.
    pub fn row(
        &mut self,
        component: ComponentId,
        target: impl Into<Target>,
        row: &[u8],
    ) -> &mut Self {
        let item = self.item(SectionKind::Rows, component, target.into());
        item.clear();
        item.extend_from_slice(row);
        self
    }

    /// Takes a component off an entity.
    pub fn remove(&mut self, component: ComponentId, target: impl Into<Target>) -> &mut Self {
        self.item(SectionKind::Removed, component, target.into());
        self
    }

    /// Sets an opaque value.
    pub fn opaque(
        &mut self,
        component: ComponentId,
        target: impl Into<Target>,
        value: &[u8],
    ) -> &mut Self {
        let item = self.item(SectionKind::Opaque, component, target.into());
        item.clear();
        put_bytes(item, value);
        self
    }

    /// Sets a property. To refer to an entity that the write adds, see [`ChangesBuilder::link`].
    pub fn prop(
        &mut self,
        component: ComponentId,
        target: impl Into<Target>,
        key: &str,
        value: &Value,
    ) -> &mut Self {
        let item = self.item(SectionKind::Props, component, target.into());
        put_bytes(item, key.as_bytes());
        put_value(item, value);
        self
    }

    /// Sets a property to an entity, which the same write may add.
    pub fn link(
        &mut self,
        component: ComponentId,
        target: impl Into<Target>,
        key: &str,
        entity: impl Into<Target>,
    ) -> &mut Self {
        let Target(id) = entity.into();
        self.prop(component, target, key, &Value::Entity(EntityId(id)))
    }

    /// Appends the changes.
    pub fn put(&self, output: &mut Vec<u8>) {
        let mut gaps = GapWriter::default();
        for entity in &self.leaves {
            gaps.put(output, *entity);
        }
        output.push(0);
        let mut gaps = GapWriter::default();
        for (position, owner) in self.enters.iter().enumerate() {
            gaps.put(output, EntityId(limits::ENTITY_ID_MAX + position as u32));
            put_varint(output, u32::from(owner.0));
        }
        output.push(0);
        for section in &self.sections {
            output.push(section.kind as u8);
            output.push(section.component.0);
            let mut gaps = GapWriter::default();
            for (Target(id), item) in &section.items {
                gaps.put(output, EntityId(*id));
                output.extend_from_slice(item);
                if section.kind == SectionKind::Props {
                    output.push(0);
                }
            }
            output.push(0);
        }
    }

    fn item(&mut self, kind: SectionKind, component: ComponentId, target: Target) -> &mut Vec<u8> {
        // Behind a section of another kind the same kind starts anew: a row that is set after its
        // removal must also lie there.
        let last = self.sections.iter().rposition(|section| section.component == component);
        let same = last.filter(|&position| self.sections[position].kind == kind);
        let position = same.unwrap_or_else(|| {
            self.sections.push(Section { kind, component, items: BTreeMap::new() });
            self.sections.len() - 1
        });
        self.sections[position].items.entry(target).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ComponentDesc, FieldDesc, FieldType};

    const BODY: ComponentId = ComponentId(0);
    const MAP: ComponentId = ComponentId(1);
    const LAYER: ComponentId = ComponentId(2);

    fn schema() -> RoomSchema {
        let components = vec![
            ComponentDesc::packed("body", vec![FieldDesc::new("on", FieldType::Bool)])
                .expect("row"),
            ComponentDesc::opaque("map", "", 4),
            ComponentDesc::props("layer").as_tree(),
        ];
        RoomSchema::new(components, vec![]).expect("schema")
    }

    fn read(bytes: &[u8]) -> Result<Vec<Change<'_>>, ChunkError> {
        let mut changes = Vec::new();
        read_changes(bytes, &schema(), &mut changes).map(|()| changes)
    }

    #[test]
    fn what_a_builder_writes_is_what_is_read() {
        let mut builder = ChangesBuilder::default();
        let (first, second) = (builder.enter(MemberId::SERVER), builder.enter(MemberId(7)));
        builder.row(BODY, second, &[1]).row(BODY, EntityId(3), &[0]).leave(EntityId(9));
        builder.opaque(MAP, first, b"abcd").remove(BODY, EntityId(4)).leave(EntityId(2));
        builder.prop(LAYER, EntityId(0), "a", &Value::Int(-1)).link(LAYER, second, "parent", first);
        let mut bytes = Vec::new();
        builder.put(&mut bytes);
        let parent = Value::Entity(EntityId(limits::ENTITY_ID_MAX));
        let expected = vec![
            Change::Leave(EntityId(2)),
            Change::Leave(EntityId(9)),
            Change::Enter { owner: MemberId::SERVER },
            Change::Enter { owner: MemberId(7) },
            Change::Row(BODY, EntityId(3).into(), &[0]),
            Change::Row(BODY, second, &[1]),
            Change::Opaque(MAP, first, b"abcd"),
            Change::Removed(BODY, EntityId(4).into()),
            Change::Prop(LAYER, EntityId(0).into(), "a", Value::Int(-1)),
            Change::Prop(LAYER, second, "parent", parent),
        ];
        assert_eq!(read(&bytes), Ok(expected));
        for cut in 0..bytes.len() {
            // A cut is an error or, where a section ends, a shorter write.
            let _ = read(&bytes[..cut]);
        }
    }

    #[test]
    fn the_last_of_two_changes_of_one_value_lies_last() {
        let (mut builder, one, two) = (ChangesBuilder::default(), EntityId(1), EntityId(2));
        builder.row(BODY, one, &[1]).remove(BODY, two).remove(BODY, one).row(BODY, one, &[0]);
        let mut bytes = Vec::new();
        builder.put(&mut bytes);
        let expected = vec![
            Change::Row(BODY, one.into(), &[1]),
            Change::Removed(BODY, one.into()),
            Change::Removed(BODY, two.into()),
            Change::Row(BODY, one.into(), &[0]),
        ];
        assert_eq!(read(&bytes), Ok(expected));
    }

    #[test]
    fn what_does_not_fit_the_schema_is_refused() {
        for (name, bytes, error) in [
            ("no lists", &[][..], ChunkError::Truncated),
            ("component 3", &[0, 0, 1, 3, 1, 0, 0], ChunkError::WrongComponent(3)),
            ("rows of an opaque", &[0, 0, 1, 1, 1, 0, 0], ChunkError::WrongComponent(1)),
            ("a bool of 2", &[0, 0, 1, 0, 1, 2, 0], ChunkError::BadValue),
            ("5 of 4 bytes", &[0, 0, 3, 1, 1, 5, 1, 2, 3, 4, 5, 0], ChunkError::OpaqueTooLong),
            ("an enter with an id", &[0, 5, 0, 0], ChunkError::UnknownEntity(4)),
            (
                "the second added first",
                &[0, 0x82, 0x80, 4, 0, 0],
                ChunkError::UnknownEntity(65_537),
            ),
            ("no end", &[0, 0, 1, 0, 1, 1], ChunkError::Truncated),
        ] {
            assert_eq!(read(bytes), Err(error), "{name}");
            assert_eq!(error.is_too_long(), name == "5 of 4 bytes", "{name}");
        }
    }

    #[test]
    fn an_added_entity_resolves_in_its_place() {
        let added = [EntityId(5), EntityId(9)];
        for (target, expected) in [
            (Target::from(EntityId(7)), Some(EntityId(7))),
            (Target::added(1), Some(EntityId(9))),
            (Target::added(2), None),
        ] {
            assert_eq!(target.resolve(&added), expected, "{target:?}");
        }
    }
}
