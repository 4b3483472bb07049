//! What a room is made of: components and their fields, described at run time.
//!
//! The description travels in `Joined`. A client reads the server's layout by field name, so a
//! server that adds, drops or reorders fields does not corrupt anybody.

mod interest;
mod row;

pub use interest::{Grid, Interest, Ring};
pub use row::{FieldDesc, FieldId, FieldType, Interpolation, RowLayout};

use crate::ids::{ComponentId, TopicId};
use crate::limits;

/// What a component's values are.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// Rows of numbers in declared ranges; a whole row is one value.
    Packed(RowLayout),
    /// Bytes that only clients understand; the last writer wins.
    Opaque {
        /// What the bytes are, as a media type.
        content_type: Box<str>,
        /// Largest value in bytes.
        value_bytes_max: usize,
    },
    /// Keys and values; the last writer wins per key.
    Props,
}

/// Who receives a component's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// Every member of the room.
    #[default]
    Room,
    /// Only the member that owns the entity.
    Owner,
    /// The team of the member that owns the entity.
    Team,
}

/// Which clients may write something. The server's own logic always may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WritePolicy {
    /// None.
    #[default]
    Server,
    /// The member that owns the entity.
    Owner,
    /// Every member.
    Members,
    /// The room's host.
    Host,
}

/// One component of a room. Its id is its position in the schema.
#[derive(Clone, PartialEq, Debug)]
pub struct ComponentDesc {
    /// What clients look the component up by.
    pub name: Box<str>,
    /// What its values are.
    pub kind: Kind,
    /// Who receives them.
    pub scope: Scope,
    /// Who may write them.
    pub write: WritePolicy,
    /// Whether the key `parent` of these props, an entity, makes a tree of the entities. The
    /// server refuses what would close a cycle; the key `order` sorts children.
    pub tree: bool,
    /// Whether only the newest value counts, and a far-away member may get it late. Packed only;
    /// it has a meaning in rooms with interest.
    pub motion: bool,
}

impl ComponentDesc {
    /// A packed component for everyone in the room.
    ///
    /// # Errors
    /// See [`RowLayout::new`].
    pub fn packed(name: &str, fields: Vec<FieldDesc>) -> Result<Self, SchemaError> {
        let kind = Kind::Packed(RowLayout::new(fields)?);
        Ok(Self::new(name, kind))
    }

    /// An opaque component for everyone in the room.
    #[must_use]
    pub fn opaque(name: &str, content_type: &str, value_bytes_max: usize) -> Self {
        let kind = Kind::Opaque { content_type: content_type.into(), value_bytes_max };
        Self::new(name, kind)
    }

    /// A props component for everyone in the room.
    #[must_use]
    pub fn props(name: &str) -> Self {
        Self::new(name, Kind::Props)
    }

    fn new(name: &str, kind: Kind) -> Self {
        let (scope, write) = (Scope::default(), WritePolicy::default());
        Self { name: name.into(), kind, scope, write, tree: false, motion: false }
    }

    /// The same component, sent only to the member that owns the entity.
    #[must_use]
    pub fn for_owner(self) -> Self {
        Self { scope: Scope::Owner, ..self }
    }

    /// The same component, sent only to the team of the member that owns the entity.
    #[must_use]
    pub fn for_team(self) -> Self {
        Self { scope: Scope::Team, ..self }
    }

    /// The same packed component, whose values far-away members may get late.
    #[must_use]
    pub fn as_motion(self) -> Self {
        Self { motion: true, ..self }
    }

    /// The same component, which those clients may write.
    #[must_use]
    pub fn writable_by(self, write: WritePolicy) -> Self {
        Self { write, ..self }
    }

    /// The same props, as the places of entities in a tree.
    #[must_use]
    pub fn as_tree(self) -> Self {
        Self { tree: true, ..self }
    }
}

/// One topic of a room's events. Its id is its position in the schema.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicDesc {
    /// What clients look the topic up by.
    pub name: Box<str>,
    /// Who may publish: [`WritePolicy::Owner`] has no meaning here and means nobody.
    pub publish: WritePolicy,
    /// Whether those who join later get the events that are still kept.
    pub history: bool,
}

impl TopicDesc {
    /// A topic on which every member may publish, without history.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), publish: WritePolicy::Members, history: false }
    }
}

/// Why a description cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchemaError {
    /// More components than [`limits::COMPONENTS_MAX`].
    #[error("a room has at most {} components", limits::COMPONENTS_MAX)]
    TooManyComponents,
    /// No fields, or more than [`limits::FIELDS_MAX`].
    #[error("a packed row has 1 to {} fields", limits::FIELDS_MAX)]
    FieldsCount,
    /// A name that is empty, too long, or used twice.
    #[error("names are unique and 1 to {} bytes long", limits::NAME_BYTES_MAX)]
    BadName,
    /// Rows that are together longer than [`limits::ROW_BYTES_SUM_MAX`].
    #[error("the rows of all components have at most {} bytes together", limits::ROW_BYTES_SUM_MAX)]
    RowsTooLong,
    /// A quantised field whose range is empty or not finite.
    #[error("a quantised field needs min < max, both finite")]
    BadRange,
    /// An input row longer than [`limits::INPUT_ROW_BYTES_MAX`].
    #[error("an input row has at most {} bytes", limits::INPUT_ROW_BYTES_MAX)]
    InputTooLong,
    /// An opaque component whose values could be longer than [`limits::OPAQUE_BYTES_MAX`].
    #[error("an opaque value has at most {} bytes", limits::OPAQUE_BYTES_MAX)]
    OpaqueTooLong,
    /// More topics than [`limits::TOPICS_MAX`].
    #[error("a room has at most {} topics", limits::TOPICS_MAX)]
    TooManyTopics,
    /// A tree that is not made of props everybody sees.
    #[error("a tree is a props component with the scope of the room")]
    BadTree,
    /// Motion that is not packed or not for everybody in view.
    #[error("motion is a packed component with the scope of the room")]
    BadMotion,
    /// Interest that is not in two quantised fields of a packed component everybody may see.
    #[error("positions are two quantised fields, clamped, of a packed component of the room")]
    BadPosition,
    /// Cells that are none, or too many.
    #[error("cells have a size above 0, and there are at most {} of them", limits::CELLS_MAX)]
    BadCells,
    /// Rings that are none, too many, too large or not ascending.
    #[error(
        "there are 1 to {} rings of ascending distances up to {}, with motion in every {}th state \
         or oftener",
        limits::RINGS_MAX,
        limits::RING_DISTANCE_MAX,
        limits::RING_EVERY_MAX
    )]
    BadRings,
}

/// Everything a client must know to read a room's state and to write its inputs.
#[derive(Clone, PartialEq, Debug)]
pub struct RoomSchema {
    components: Vec<ComponentDesc>,
    input: RowLayout,
    topics: Vec<TopicDesc>,
    entities: WritePolicy,
    interest: Option<Interest>,
}

impl RoomSchema {
    /// A checked schema. `input` may be empty for rooms that take no inputs.
    ///
    /// # Errors
    /// The first rule of [`SchemaError`] that the description breaks.
    pub fn new(components: Vec<ComponentDesc>, input: Vec<FieldDesc>) -> Result<Self, SchemaError> {
        if components.len() > limits::COMPONENTS_MAX {
            return Err(SchemaError::TooManyComponents);
        }
        check_names(components.iter().map(|c| &*c.name))?;
        if components.iter().any(|c| c.tree && (c.kind != Kind::Props || c.scope != Scope::Room)) {
            return Err(SchemaError::BadTree);
        }
        let moves = components.iter().filter(|c| c.motion);
        if { moves }.any(|c| !matches!(c.kind, Kind::Packed(_)) || c.scope != Scope::Room) {
            return Err(SchemaError::BadMotion);
        }
        if components.iter().any(|c| {
            matches!(c.kind, Kind::Opaque { value_bytes_max, .. }
                if value_bytes_max > limits::OPAQUE_BYTES_MAX)
        }) {
            return Err(SchemaError::OpaqueTooLong);
        }
        let row_bytes = components.iter().map(|c| match &c.kind {
            Kind::Packed(layout) => layout.row_bytes(),
            Kind::Opaque { .. } | Kind::Props => 0,
        });
        if row_bytes.sum::<usize>() > limits::ROW_BYTES_SUM_MAX {
            return Err(SchemaError::RowsTooLong);
        }
        let input = if input.is_empty() { RowLayout::EMPTY } else { RowLayout::new(input)? };
        if input.row_bytes() > limits::INPUT_ROW_BYTES_MAX {
            return Err(SchemaError::InputTooLong);
        }
        let (topics, entities) = (Vec::new(), WritePolicy::Server);
        Ok(Self { components, input, topics, entities, interest: None })
    }

    /// The same room, in which members get what is around them and not everything.
    ///
    /// # Errors
    /// [`SchemaError::BadPosition`], [`SchemaError::BadCells`] or [`SchemaError::BadRings`].
    pub fn with_interest(self, interest: Interest) -> Result<Self, SchemaError> {
        interest.grid(&self.components)?;
        Ok(Self { interest: Some(interest), ..self })
    }

    /// The same room, with topics.
    ///
    /// # Errors
    /// [`SchemaError::TooManyTopics`] or [`SchemaError::BadName`].
    pub fn with_topics(self, topics: Vec<TopicDesc>) -> Result<Self, SchemaError> {
        if topics.len() > limits::TOPICS_MAX {
            return Err(SchemaError::TooManyTopics);
        }
        check_names(topics.iter().map(|topic| &*topic.name))?;
        Ok(Self { topics, ..self })
    }

    /// The same room, in which those clients may add and remove entities that belong to the
    /// room. Unless it is [`WritePolicy::Server`], every member may add entities of its own.
    #[must_use]
    pub fn with_entities_by(self, entities: WritePolicy) -> Self {
        Self { entities, ..self }
    }

    /// All components; a component's id is its position.
    #[must_use]
    pub fn components(&self) -> &[ComponentDesc] {
        &self.components
    }

    /// The layout of an input row.
    #[must_use]
    pub fn input(&self) -> &RowLayout {
        &self.input
    }

    /// All topics; a topic's id is its position.
    #[must_use]
    pub fn topics(&self) -> &[TopicDesc] {
        &self.topics
    }

    /// Looks a topic up by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicId> {
        let position = self.topics.iter().position(|topic| &*topic.name == name)?;
        u16::try_from(position).ok().map(TopicId)
    }

    /// Which clients may add and remove entities that belong to the room.
    #[must_use]
    pub fn entities_by(&self) -> WritePolicy {
        self.entities
    }

    /// What members of the room get of it; `None` when they get everything.
    #[must_use]
    pub fn interest(&self) -> Option<&Interest> {
        self.interest.as_ref()
    }

    /// The cells of a room with interest.
    #[must_use]
    pub fn grid(&self) -> Option<Grid> {
        self.interest.as_ref()?.grid(&self.components).ok()
    }

    /// Looks a component up by name.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<ComponentId> {
        let position = self.components.iter().position(|c| &*c.name == name)?;
        u8::try_from(position).ok().map(ComponentId)
    }

    /// The layout of a packed component's rows.
    #[must_use]
    pub fn layout(&self, component: ComponentId) -> Option<&RowLayout> {
        match &self.components.get(component.index())?.kind {
            Kind::Packed(layout) => Some(layout),
            Kind::Opaque { .. } | Kind::Props => None,
        }
    }
}

fn check_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<(), SchemaError> {
    for (position, name) in names.clone().enumerate() {
        let unique = !names.clone().take(position).any(|earlier| earlier == name);
        if !unique || name.is_empty() || name.len() > limits::NAME_BYTES_MAX {
            return Err(SchemaError::BadName);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_all_components_together_are_bounded() {
        let components = |bytes: usize| {
            let packed = |index: usize, bytes: usize| {
                let fields =
                    (0..bytes).map(|f| FieldDesc::new(&format!("f{f}"), FieldType::U8)).collect();
                ComponentDesc::packed(&format!("c{index}"), fields).expect("layout")
            };
            let starts = (0..bytes).step_by(32);
            starts.map(|start| packed(start, 32.min(bytes - start))).collect()
        };
        for (bytes, expected) in [
            (limits::ROW_BYTES_SUM_MAX, Ok(())),
            (limits::ROW_BYTES_SUM_MAX + 1, Err(SchemaError::RowsTooLong)),
        ] {
            let schema = RoomSchema::new(components(bytes), vec![]).map(|_| ());
            assert_eq!(schema, expected, "{bytes} bytes");
        }
    }

    #[test]
    fn descriptions_that_cannot_work_are_refused() {
        let field = || FieldDesc::new("a", FieldType::U32);
        let packed = |fields| RowLayout::new(fields).map(|_| ());
        assert_eq!(packed(vec![]), Err(SchemaError::FieldsCount));
        assert_eq!(packed(vec![field(), field()]), Err(SchemaError::BadName));
        assert_eq!(packed(vec![FieldDesc::new("", FieldType::U8)]), Err(SchemaError::BadName));
        let empty_range = FieldDesc::quantised("x", FieldType::Quant8, 1.0, 1.0);
        assert_eq!(packed(vec![empty_range]), Err(SchemaError::BadRange));
        let schema = |components, input| RoomSchema::new(components, input).map(|_| ());
        let props = || ComponentDesc::props("p");
        assert_eq!(schema(vec![props(), props()], vec![]), Err(SchemaError::BadName));
        let long = (0..9).map(|i| FieldDesc::new(&format!("f{i}"), FieldType::U32)).collect();
        assert_eq!(schema(vec![], long), Err(SchemaError::InputTooLong));
        let many = (0..65).map(|i| ComponentDesc::props(&format!("c{i}"))).collect();
        assert_eq!(schema(many, vec![]), Err(SchemaError::TooManyComponents));
        let big = ComponentDesc::opaque("o", "x/y", limits::OPAQUE_BYTES_MAX + 1);
        assert_eq!(schema(vec![big], vec![]), Err(SchemaError::OpaqueTooLong));
    }
}
