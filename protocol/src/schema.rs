//! What a room is made of: components and their fields, described at run time.
//!
//! The description travels in `Joined`. A client reads the server's layout by field name, so a
//! server that adds, drops or reorders fields does not corrupt anybody.

use crate::ids::{ComponentId, TopicId};
use crate::limits;
use crate::quantise::{Mode, Quantiser};

/// The type of a field in a packed row. Little endian, no padding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum FieldType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Quant8,
    Quant16,
    Quant24,
    Quant32,
    EntityRef,
}

impl FieldType {
    /// Bytes of the field in a row.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool | Self::Quant8 => 1,
            Self::U16 | Self::I16 | Self::Quant16 => 2,
            Self::Quant24 => 3,
            Self::U32 | Self::I32 | Self::F32 | Self::Quant32 | Self::EntityRef => 4,
        }
    }

    const fn is_quantised(self) -> bool {
        matches!(self, Self::Quant8 | Self::Quant16 | Self::Quant24 | Self::Quant32)
    }
}

/// How a client gets from one value of a field to the next between two ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Interpolation {
    /// It jumps.
    #[default]
    Step,
    /// It moves in a straight line.
    Linear,
    /// It turns the short way round; the field's range is one turn.
    Angle,
}

/// One field of a packed row.
#[derive(Clone, PartialEq, Debug)]
pub struct FieldDesc {
    /// What clients look the field up by.
    pub name: Box<str>,
    /// How it lies in the row.
    pub field_type: FieldType,
    /// For quantised types: what happens outside the range.
    pub mode: Mode,
    /// For quantised types: the smallest value.
    pub min: f64,
    /// For quantised types: the largest value.
    pub max: f64,
    /// Advice to renderers.
    pub interpolation: Interpolation,
}

impl FieldDesc {
    /// A field whose type says everything, such as a `U8`.
    #[must_use]
    pub fn new(name: &str, field_type: FieldType) -> Self {
        Self {
            name: name.into(),
            field_type,
            mode: Mode::Clamp,
            min: 0.0,
            max: 1.0,
            interpolation: Interpolation::Step,
        }
    }

    /// A number in `[min, max]`, clamped, that moves in straight lines.
    #[must_use]
    pub fn quantised(name: &str, field_type: FieldType, min: f64, max: f64) -> Self {
        Self { min, max, interpolation: Interpolation::Linear, ..Self::new(name, field_type) }
    }

    /// An angle in radians, wrapped to `[0, 2 pi)`.
    #[must_use]
    pub fn angle(name: &str, field_type: FieldType) -> Self {
        Self {
            mode: Mode::Wrap,
            max: std::f64::consts::TAU,
            interpolation: Interpolation::Angle,
            ..Self::new(name, field_type)
        }
    }
}

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
        Self { name: name.into(), kind, scope, write, tree: false }
    }

    /// The same component, sent only to the member that owns the entity.
    #[must_use]
    pub fn for_owner(self) -> Self {
        Self { scope: Scope::Owner, ..self }
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
}

/// Everything a client must know to read a room's state and to write its inputs.
#[derive(Clone, PartialEq, Debug)]
pub struct RoomSchema {
    components: Vec<ComponentDesc>,
    input: RowLayout,
    topics: Vec<TopicDesc>,
    entities: WritePolicy,
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
        Ok(Self { components, input, topics: Vec::new(), entities: WritePolicy::Server })
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

/// Where each field of a packed row lies.
#[derive(Clone, PartialEq, Debug)]
pub struct RowLayout {
    fields: Vec<Field>,
    row_bytes: usize,
}

#[derive(Clone, PartialEq, Debug)]
struct Field {
    desc: FieldDesc,
    offset: usize,
    /// Present exactly when the type is quantised.
    quantiser: Option<Quantiser>,
}

/// A field's position in its layout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldId(pub u8);

impl RowLayout {
    const EMPTY: Self = Self { fields: Vec::new(), row_bytes: 0 };

    /// Lays `fields` out in order, without padding.
    ///
    /// # Errors
    /// [`SchemaError::FieldsCount`], [`SchemaError::BadName`] or [`SchemaError::BadRange`].
    pub fn new(fields: Vec<FieldDesc>) -> Result<Self, SchemaError> {
        if fields.is_empty() || fields.len() > limits::FIELDS_MAX {
            return Err(SchemaError::FieldsCount);
        }
        check_names(fields.iter().map(|f| &*f.name))?;
        let mut offset = 0;
        let mut laid_out = Vec::with_capacity(fields.len());
        for desc in fields {
            let bytes = desc.field_type.bytes();
            let quantiser = if desc.field_type.is_quantised() {
                let bits = bytes as u32 * 8;
                let quantiser = Quantiser::new(bits, desc.mode, desc.min, desc.max);
                Some(quantiser.ok_or(SchemaError::BadRange)?)
            } else {
                None
            };
            laid_out.push(Field { desc, offset, quantiser });
            offset += bytes;
        }
        Ok(Self { fields: laid_out, row_bytes: offset })
    }

    /// Bytes of a row.
    #[must_use]
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// The fields in row order.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = &FieldDesc> {
        self.fields.iter().map(|field| &field.desc)
    }

    /// Looks a field up by name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<FieldId> {
        let position = self.fields.iter().position(|f| &*f.desc.name == name)?;
        u8::try_from(position).ok().map(FieldId)
    }

    /// Reads a field. Every type fits an `f64` exactly.
    ///
    /// # Panics
    /// When `row` is not a row of this layout.
    #[must_use]
    pub fn read(&self, row: &[u8], field: FieldId) -> f64 {
        let field = &self.fields[usize::from(field.0)];
        let bits = field.bits(row);
        match field.desc.field_type {
            FieldType::I8 => f64::from(bits as u8 as i8),
            FieldType::I16 => f64::from(bits as u16 as i16),
            FieldType::I32 => f64::from(bits as i32),
            FieldType::F32 => f64::from(f32::from_bits(bits)),
            FieldType::U8
            | FieldType::U16
            | FieldType::U32
            | FieldType::Bool
            | FieldType::EntityRef => f64::from(bits),
            FieldType::Quant8 | FieldType::Quant16 | FieldType::Quant24 | FieldType::Quant32 => {
                field.quantiser.map_or(0.0, |quantiser| quantiser.dequantise(bits))
            }
        }
    }

    /// Writes a field, always as a value that [`RowLayout::accepts`]: integers and floats
    /// saturate at the ends of their type, an entity at the highest id, booleans are
    /// `value != 0`, quantised fields follow their mode, NaN becomes 0 or the minimum.
    ///
    /// # Panics
    /// When `row` is not a row of this layout.
    pub fn write(&self, row: &mut [u8], field: FieldId, value: f64) {
        let field = &self.fields[usize::from(field.0)];
        let bits = match field.desc.field_type {
            FieldType::U8 => u32::from(value as u8),
            FieldType::U16 => u32::from(value as u16),
            FieldType::U32 => value as u32,
            FieldType::EntityRef => (value as u32).min(limits::ENTITY_ID_MAX - 1),
            FieldType::I8 => value as i8 as u32,
            FieldType::I16 => value as i16 as u32,
            FieldType::I32 => value as i32 as u32,
            FieldType::F32 if value.is_nan() => 0,
            FieldType::F32 => (value as f32).clamp(f32::MIN, f32::MAX).to_bits(),
            FieldType::Bool => u32::from(value != 0.0),
            FieldType::Quant8 | FieldType::Quant16 | FieldType::Quant24 | FieldType::Quant32 => {
                field.quantiser.map_or(0, |quantiser| quantiser.quantise(value))
            }
        };
        let bytes = field.desc.field_type.bytes();
        row[field.offset..field.offset + bytes].copy_from_slice(&bits.to_le_bytes()[..bytes]);
    }

    /// Whether `row` has the right length and every field holds a value its type allows:
    /// booleans are 0 or 1, floats are finite, quantised values are within their steps.
    #[must_use]
    pub fn accepts(&self, row: &[u8]) -> bool {
        row.len() == self.row_bytes
            && self.fields.iter().all(|field| {
                let bits = field.bits(row);
                match (field.desc.field_type, field.quantiser) {
                    (_, Some(quantiser)) => bits <= quantiser.q_max(),
                    (FieldType::Bool, None) => bits <= 1,
                    (FieldType::F32, None) => f32::from_bits(bits).is_finite(),
                    (FieldType::EntityRef, None) => bits < limits::ENTITY_ID_MAX,
                    // Every bit pattern of the other integers is a value.
                    (_, None) => true,
                }
            })
    }
}

impl Field {
    fn bits(&self, row: &[u8]) -> u32 {
        let bytes = self.desc.field_type.bytes();
        let mut word = [0; 4];
        word[..bytes].copy_from_slice(&row[self.offset..self.offset + bytes]);
        u32::from_le_bytes(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_little_endian_without_padding() {
        let layout = RowLayout::new(vec![
            FieldDesc::new("hp", FieldType::U8),
            FieldDesc::new("dx", FieldType::I16),
            FieldDesc::quantised("x", FieldType::Quant24, 0.0, 16_777_215.0),
            FieldDesc::new("f", FieldType::F32),
            FieldDesc::new("on", FieldType::Bool),
        ])
        .expect("layout");
        let mut row = vec![0; layout.row_bytes()];
        for (name, value) in [("hp", 200.0), ("dx", -2.0), ("x", 66_051.0), ("f", 1.0), ("on", 3.0)]
        {
            layout.write(&mut row, layout.field(name).expect("field"), value);
        }
        assert_eq!(row, [200, 0xfe, 0xff, 3, 2, 1, 0, 0, 0x80, 0x3f, 1]);
        let values: Vec<f64> = (0..5).map(|f| layout.read(&row, FieldId(f))).collect();
        assert_eq!(values, [200.0, -2.0, 66_051.0, 1.0, 1.0]);
        assert!(layout.accepts(&row));
    }

    #[test]
    fn rows_with_impossible_values_are_not_accepted() {
        let rows: [(FieldDesc, &[u8]); 5] = [
            (FieldDesc::new("on", FieldType::Bool), &[2]),
            (FieldDesc::new("f", FieldType::F32), &f32::NAN.to_le_bytes()),
            (FieldDesc::new("f", FieldType::F32), &f32::INFINITY.to_le_bytes()),
            (FieldDesc::quantised("x", FieldType::Quant8, -1.0, 1.0), &[255]),
            (FieldDesc::new("hp", FieldType::U8), &[1, 2]),
        ];
        for (field, row) in rows {
            let name = format!("{field:?}");
            assert!(!RowLayout::new(vec![field]).expect("layout").accepts(row), "{name} {row:?}");
        }
    }

    #[test]
    fn whatever_is_written_is_accepted() {
        let f32_max = f64::from(f32::MAX);
        for (field_type, value, expected) in [
            (FieldType::F32, 1e39, f32_max),
            (FieldType::F32, -1e39, -f32_max),
            (FieldType::F32, f64::INFINITY, f32_max),
            (FieldType::F32, f64::NEG_INFINITY, -f32_max),
            (FieldType::F32, f64::NAN, 0.0),
            (FieldType::EntityRef, 65_535.0, 65_535.0),
            (FieldType::EntityRef, 65_536.0, 65_535.0),
            (FieldType::EntityRef, f64::INFINITY, 65_535.0),
            (FieldType::EntityRef, -1.0, 0.0),
            (FieldType::U8, 1e9, 255.0),
            (FieldType::I16, -1e9, -32_768.0),
            (FieldType::Bool, f64::NAN, 1.0),
            (FieldType::Quant24, f64::INFINITY, 1.0),
        ] {
            let layout = RowLayout::new(vec![FieldDesc::new("f", field_type)]).expect("layout");
            let mut row = vec![0; layout.row_bytes()];
            layout.write(&mut row, FieldId(0), value);
            assert!(layout.accepts(&row), "{field_type:?} {value}: {row:?}");
            assert_eq!(layout.read(&row, FieldId(0)), expected, "{field_type:?} {value}");
        }
    }

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
