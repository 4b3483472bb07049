//! A room's schema as the tables of `Joined`, and back.

use flatbuffers::{ForwardsUOffset, Vector, WIPOffset};

use super::{Builder, from_wire, to_wire};
use crate::client_message::DecodeError;
use crate::generated::wire;
use crate::ids::ComponentId;
use crate::limits;
use crate::quantise::Mode;
use crate::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Interpolation, Kind, Ring, RoomSchema,
    RowLayout, SchemaError, Scope, TopicDesc, WritePolicy,
};

const FIELD_TYPES: [(FieldType, wire::FieldType); 13] = [
    (FieldType::U8, wire::FieldType::U8),
    (FieldType::I8, wire::FieldType::I8),
    (FieldType::U16, wire::FieldType::U16),
    (FieldType::I16, wire::FieldType::I16),
    (FieldType::U32, wire::FieldType::U32),
    (FieldType::I32, wire::FieldType::I32),
    (FieldType::F32, wire::FieldType::F32),
    (FieldType::Bool, wire::FieldType::Bool),
    (FieldType::Quant8, wire::FieldType::Quant8),
    (FieldType::Quant16, wire::FieldType::Quant16),
    (FieldType::Quant24, wire::FieldType::Quant24),
    (FieldType::Quant32, wire::FieldType::Quant32),
    (FieldType::EntityRef, wire::FieldType::EntityRef),
];

const MODES: [(Mode, wire::QuantMode); 2] =
    [(Mode::Clamp, wire::QuantMode::Clamp), (Mode::Wrap, wire::QuantMode::Wrap)];

const INTERPOLATIONS: [(Interpolation, wire::Interpolation); 3] = [
    (Interpolation::Step, wire::Interpolation::Step),
    (Interpolation::Linear, wire::Interpolation::Linear),
    (Interpolation::Angle, wire::Interpolation::Angle),
];

const SCOPES: [(Scope, wire::Scope); 3] = [
    (Scope::Room, wire::Scope::Room),
    (Scope::Owner, wire::Scope::Owner),
    (Scope::Team, wire::Scope::Team),
];

const WRITE_POLICIES: [(WritePolicy, wire::WritePolicy); 4] = [
    (WritePolicy::Server, wire::WritePolicy::Server),
    (WritePolicy::Owner, wire::WritePolicy::Owner),
    (WritePolicy::Members, wire::WritePolicy::Members),
    (WritePolicy::Host, wire::WritePolicy::Host),
];

pub(super) fn put_schema(
    b: &mut Builder,
    schema: &RoomSchema,
) -> WIPOffset<wire::RoomSchema<'static>> {
    let components: Vec<_> =
        schema.components().iter().map(|desc| put_component(b, desc)).collect();
    let components = b.create_vector(&components);
    let input = put_fields(b, schema.input());
    let topics: Vec<_> = schema.topics().iter().map(|desc| put_topic(b, desc)).collect();
    let topics = (!topics.is_empty()).then(|| b.create_vector(&topics));
    let args = wire::RoomSchemaArgs {
        components: Some(components),
        input: Some(input),
        topics,
        entities: to_wire(&WRITE_POLICIES, schema.entities_by()),
        interest: schema.interest().map(|interest| put_interest(b, interest)),
    };
    wire::RoomSchema::create(b, &args)
}

fn put_interest(b: &mut Builder, interest: &Interest) -> WIPOffset<wire::InterestDesc<'static>> {
    let rings: Vec<_> = interest
        .rings
        .iter()
        .map(|Ring { distance, every }| {
            wire::RingDesc::create(b, &wire::RingDescArgs { distance: *distance, every: *every })
        })
        .collect();
    let args = wire::InterestDescArgs {
        component: interest.component.0,
        x: interest.axes[0].0,
        y: interest.axes[1].0,
        cell_size: interest.cell_size,
        rings: Some(b.create_vector(&rings)),
    };
    wire::InterestDesc::create(b, &args)
}

fn put_topic(b: &mut Builder, desc: &TopicDesc) -> WIPOffset<wire::TopicDesc<'static>> {
    let args = wire::TopicDescArgs {
        name: Some(b.create_string(&desc.name)),
        publish: to_wire(&WRITE_POLICIES, desc.publish),
        history: desc.history,
    };
    wire::TopicDesc::create(b, &args)
}

fn put_component(b: &mut Builder, desc: &ComponentDesc) -> WIPOffset<wire::ComponentDesc<'static>> {
    let mut args = wire::ComponentDescArgs {
        name: Some(b.create_string(&desc.name)),
        scope: to_wire(&SCOPES, desc.scope),
        write: to_wire(&WRITE_POLICIES, desc.write),
        tree: desc.tree,
        motion: desc.motion,
        ..wire::ComponentDescArgs::default()
    };
    match &desc.kind {
        Kind::Packed(layout) => {
            args.kind = wire::ComponentKind::Packed;
            args.fields = Some(put_fields(b, layout));
        }
        Kind::Opaque { content_type, value_bytes_max } => {
            args.kind = wire::ComponentKind::Opaque;
            args.content_type = Some(b.create_string(content_type));
            args.value_bytes_max = *value_bytes_max as u32;
        }
        Kind::Props => args.kind = wire::ComponentKind::Props,
    }
    wire::ComponentDesc::create(b, &args)
}

type FieldVector<'a> = Vector<'a, ForwardsUOffset<wire::FieldDesc<'a>>>;

fn put_fields(b: &mut Builder, layout: &RowLayout) -> WIPOffset<FieldVector<'static>> {
    let fields: Vec<_> = layout
        .fields()
        .map(|field| {
            let args = wire::FieldDescArgs {
                name: Some(b.create_string(&field.name)),
                type_: to_wire(&FIELD_TYPES, field.field_type),
                mode: to_wire(&MODES, field.mode),
                min: field.min,
                max: field.max,
                interpolation: to_wire(&INTERPOLATIONS, field.interpolation),
            };
            wire::FieldDesc::create(b, &args)
        })
        .collect();
    b.create_vector(&fields)
}

pub(super) fn decode_schema(wire_schema: wire::RoomSchema<'_>) -> Result<RoomSchema, DecodeError> {
    let schema = wire_schema;
    let components = schema.components().iter().map(decode_component).collect::<Result<_, _>>()?;
    let input = decode_fields(schema.input())?;
    let topics = schema.topics().map(|topics| topics.iter().map(decode_topic).collect());
    let topics: Vec<TopicDesc> = topics.transpose()?.unwrap_or_default();
    let entities = from_wire(&WRITE_POLICIES, schema.entities(), "entities")?;
    let schema = RoomSchema::new(components, input).and_then(|schema| schema.with_topics(topics));
    let schema = schema.map_err(bad_schema)?.with_entities_by(entities);
    match schema_interest(&wire_schema) {
        Some(interest) => schema.with_interest(interest).map_err(bad_schema),
        None => Ok(schema),
    }
}

fn schema_interest(schema: &wire::RoomSchema<'_>) -> Option<Interest> {
    let desc = schema.interest()?;
    let ring = |ring: wire::RingDesc<'_>| Ring { distance: ring.distance(), every: ring.every() };
    Some(Interest {
        component: ComponentId(desc.component()),
        axes: [FieldId(desc.x()), FieldId(desc.y())],
        cell_size: desc.cell_size(),
        // One more than there may be, and the check refuses it.
        rings: desc.rings().iter().take(limits::RINGS_MAX + 1).map(ring).collect(),
    })
}

fn decode_topic(desc: wire::TopicDesc<'_>) -> Result<TopicDesc, DecodeError> {
    let publish = from_wire(&WRITE_POLICIES, desc.publish(), "publish")?;
    Ok(TopicDesc { name: desc.name().into(), publish, history: desc.history() })
}

fn bad_schema(_: SchemaError) -> DecodeError {
    DecodeError::OutOfRange("schema")
}

fn decode_component(desc: wire::ComponentDesc<'_>) -> Result<ComponentDesc, DecodeError> {
    let kind = match desc.kind() {
        wire::ComponentKind::Packed => {
            let fields = desc.fields().map(decode_fields).transpose()?.unwrap_or_default();
            Kind::Packed(RowLayout::new(fields).map_err(bad_schema)?)
        }
        wire::ComponentKind::Opaque => Kind::Opaque {
            content_type: desc.content_type().unwrap_or_default().into(),
            value_bytes_max: desc.value_bytes_max() as usize,
        },
        wire::ComponentKind::Props => Kind::Props,
        _ => return Err(DecodeError::OutOfRange("kind")),
    };
    let scope = from_wire(&SCOPES, desc.scope(), "scope")?;
    let write = from_wire(&WRITE_POLICIES, desc.write(), "write")?;
    Ok(ComponentDesc {
        name: desc.name().into(),
        kind,
        scope,
        write,
        tree: desc.tree(),
        motion: desc.motion(),
    })
}

fn decode_fields(fields: FieldVector<'_>) -> Result<Vec<FieldDesc>, DecodeError> {
    fields
        .iter()
        .map(|field| {
            Ok(FieldDesc {
                name: field.name().into(),
                field_type: from_wire(&FIELD_TYPES, field.type_(), "type")?,
                mode: from_wire(&MODES, field.mode(), "mode")?,
                min: field.min(),
                max: field.max(),
                interpolation: from_wire(&INTERPOLATIONS, field.interpolation(), "interpolation")?,
            })
        })
        .collect()
}
