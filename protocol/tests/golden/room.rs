//! The room of the vectors, and what happens in it from tick to tick.

use std::sync::Arc;

use tickloom_protocol::chunks::{
    ChunkKind, GapWriter, SectionKind, Value, put_bytes, put_chunk, put_section, put_value,
    put_varint,
};
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, StreamId, Tick};
use tickloom_protocol::replica::Replica;
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, Interpolation, RoomSchema};
use tickloom_protocol::server_message::{Delta, DeltaHead};

use crate::files::hex;

pub const MEMBER: MemberId = MemberId(7);
pub const STRANGER: MemberId = MemberId(9);

pub const BODY: ComponentId = ComponentId(0);
pub const EVERY: ComponentId = ComponentId(1);
pub const MAP: ComponentId = ComponentId(2);
pub const PROFILE: ComponentId = ComponentId(3);
pub const HAND: ComponentId = ComponentId(4);
pub const NOTES: ComponentId = ComponentId(5);
pub const SECRET: ComponentId = ComponentId(6);

pub fn schema() -> RoomSchema {
    let body = vec![
        FieldDesc::quantised("x", FieldType::Quant16, -512.0, 512.0),
        FieldDesc::quantised("y", FieldType::Quant16, -512.0, 512.0),
        FieldDesc::angle("yaw", FieldType::Quant8),
        FieldDesc::new("hp", FieldType::U8),
    ];
    let every = vec![
        FieldDesc::new("u8", FieldType::U8),
        FieldDesc::new("i8", FieldType::I8),
        FieldDesc::new("u16", FieldType::U16),
        FieldDesc::new("i16", FieldType::I16),
        FieldDesc::new("u32", FieldType::U32),
        FieldDesc::new("i32", FieldType::I32),
        FieldDesc::new("f32", FieldType::F32),
        FieldDesc::new("bool", FieldType::Bool),
        FieldDesc::quantised("quant8", FieldType::Quant8, 0.0, 1.0),
        FieldDesc::quantised("quant16", FieldType::Quant16, -1.0, 1.0),
        FieldDesc::quantised("quant24", FieldType::Quant24, -1000.0, 3000.0),
        FieldDesc {
            interpolation: Interpolation::Step,
            ..FieldDesc::angle("quant32", FieldType::Quant32)
        },
        FieldDesc::new("entity_ref", FieldType::EntityRef),
    ];
    let hand = vec![FieldDesc::new("card", FieldType::U8)];
    let components = vec![
        ComponentDesc::packed("body", body).expect("layout"),
        ComponentDesc::packed("every", every).expect("layout"),
        ComponentDesc::opaque("map", "application/json", 1000),
        ComponentDesc::props("profile"),
        ComponentDesc::packed("hand", hand).expect("layout").for_owner(),
        ComponentDesc::props("notes").for_owner(),
        ComponentDesc::opaque("secret", "application/octet-stream", 16).for_owner(),
    ];
    let input = vec![
        FieldDesc::new("buttons", FieldType::U8),
        FieldDesc::angle("aim", FieldType::Quant16),
        FieldDesc::new("dx", FieldType::I8),
    ];
    RoomSchema::new(components, input).expect("schema")
}

pub fn row(component: ComponentId, values: &[f64]) -> Vec<u8> {
    let schema = schema();
    let layout = schema.layout(component).expect("a packed component");
    let mut row = vec![0; layout.row_bytes()];
    for (field, value) in layout.fields().zip(values) {
        layout.write(&mut row, layout.field(&field.name).expect("its own field"), *value);
    }
    row
}

/// The room at tick 10, as the server holds it: it knows the stranger's hand too.
pub fn room() -> Entities {
    let mut room = Entities::new(Arc::new(schema()));
    for (entity, owner) in [(1, MEMBER), (2, STRANGER), (300, MemberId::SERVER)] {
        room.insert(EntityId(entity), owner);
    }
    room.set_row(BODY, EntityId(1), &row(BODY, &[0.0, 512.0, 0.0, 100.0]));
    room.set_row(BODY, EntityId(2), &row(BODY, &[-512.0, 1.5, std::f64::consts::PI, 255.0]));
    room.set_row(BODY, EntityId(300), &row(BODY, &[12.25, -7.75, 6.0, 0.0]));
    let every = [
        255.0,
        -128.0,
        65_535.0,
        -32_768.0,
        4_294_967_295.0,
        -2_147_483_648.0,
        -0.5,
        1.0,
        0.5,
        -0.25,
        1234.5,
        1.0,
        300.0,
    ];
    room.set_row(EVERY, EntityId(2), &row(EVERY, &every));
    room.set_opaque(MAP, EntityId::ROOM, br#"{"w":8}"#);
    for (key, value) in [
        ("no", Value::Bool(false)),
        ("yes", Value::Bool(true)),
        ("zero", Value::Int(0)),
        ("least", Value::Int(i64::MIN)),
        ("most", Value::Int(i64::MAX)),
        ("half", Value::Num(-0.5)),
        ("name", Value::Str("né".into())),
        ("raw", Value::Bytes([0, 255].into())),
        ("friend", Value::Entity(EntityId(300))),
    ] {
        room.set_prop(PROFILE, EntityId(1), key, value);
    }
    room.set_row(HAND, EntityId(1), &[12]);
    room.set_row(HAND, EntityId(2), &[99]);
    room.set_prop(NOTES, EntityId(1), "todo", Value::Str("win".into()));
    room.set_opaque(SECRET, EntityId(1), &[1, 2, 3]);
    room
}

pub fn snapshot_chunk(room: &Entities, view: View) -> Vec<u8> {
    let mut body = Vec::new();
    room.put_snapshot(view, &mut body);
    chunk(view.stream(), ChunkKind::Snapshot, &body)
}

pub fn hash_chunk(room: &Entities, view: View) -> Vec<u8> {
    let mut chunk = Vec::new();
    room.put_hash_chunk(view, &mut Vec::new(), &mut chunk);
    chunk
}

pub fn chunk(stream: StreamId, kind: ChunkKind, body: &[u8]) -> Vec<u8> {
    let mut chunk = Vec::new();
    put_chunk(&mut chunk, stream, kind, body);
    chunk
}

pub fn put_structure(body: &mut Vec<u8>, leaves: &[u32], enters: &[(u32, MemberId)]) {
    let mut gaps = GapWriter::default();
    leaves.iter().for_each(|&entity| gaps.put(body, EntityId(entity)));
    body.push(0);
    let mut gaps = GapWriter::default();
    for &(entity, owner) in enters {
        gaps.put(body, EntityId(entity));
        put_varint(body, owner.0.into());
    }
    body.push(0);
}

pub fn put_removed(body: &mut Vec<u8>, component: ComponentId, entity: EntityId) {
    put_section(body, SectionKind::Removed, component, |output, gaps| gaps.put(output, entity));
}

pub fn put_props(
    body: &mut Vec<u8>,
    component: ComponentId,
    entity: EntityId,
    props: &[(&str, Value)],
) {
    put_section(body, SectionKind::Props, component, |output, gaps| {
        gaps.put(output, entity);
        for (key, value) in props {
            put_bytes(output, key.as_bytes());
            put_value(output, value);
        }
        output.push(0);
    });
}

/// Moves `room` from tick 10 to 11 and says what changed: room stream, member stream.
pub fn step_11(room: &mut Entities) -> [Vec<u8>; 2] {
    let mut body = Vec::new();
    put_structure(&mut body, &[300], &[(5, STRANGER), (301, MemberId::SERVER)]);
    room.remove(EntityId(300));
    room.insert(EntityId(5), STRANGER);
    room.insert(EntityId(301), MemberId::SERVER);
    room.set_row(BODY, EntityId(1), &row(BODY, &[1.0, 511.0, 0.1, 99.0]));
    room.set_row(BODY, EntityId(5), &row(BODY, &[5.0, 5.0, 5.0, 5.0]));
    room.put_values(BODY, [1, 5].map(EntityId).into_iter(), &mut body);
    room.remove_value(EVERY, EntityId(2));
    put_removed(&mut body, EVERY, EntityId(2));
    room.set_opaque(MAP, EntityId::ROOM, br#"{"w":9}"#);
    room.set_opaque(MAP, EntityId(301), &[]);
    room.put_values(MAP, [0, 301].map(EntityId).into_iter(), &mut body);
    let changes =
        [("friend", Value::Nil), ("name", Value::Str("Zoë".into())), ("zero", Value::Int(-1))];
    put_props(&mut body, PROFILE, EntityId(1), &changes);
    for (key, value) in changes {
        room.set_prop(PROFILE, EntityId(1), key, value);
    }

    let mut private = Vec::new();
    put_structure(&mut private, &[], &[]);
    room.set_row(HAND, EntityId(1), &[13]);
    room.put_values(HAND, [EntityId(1)].into_iter(), &mut private);
    put_props(&mut private, NOTES, EntityId(1), &[("todo", Value::Nil)]);
    room.set_prop(NOTES, EntityId(1), "todo", Value::Nil);
    room.remove_value(SECRET, EntityId(1));
    put_removed(&mut private, SECRET, EntityId(1));
    [
        chunk(StreamId::ROOM, ChunkKind::Delta, &body),
        chunk(StreamId::MEMBER, ChunkKind::Delta, &private),
    ]
}

/// From tick 11 to 12: one row.
pub fn step_12(room: &mut Entities) -> Vec<u8> {
    let mut body = Vec::new();
    put_structure(&mut body, &[], &[]);
    room.set_row(BODY, EntityId(301), &row(BODY, &[-1.0, -1.0, 1.0, 1.0]));
    room.put_values(BODY, [EntityId(301)].into_iter(), &mut body);
    chunk(StreamId::ROOM, ChunkKind::Delta, &body)
}

/// From tick 12 to 15: entity 5 goes, and the member gets a new one under the same id.
pub fn step_15(room: &mut Entities) -> [Vec<u8>; 2] {
    let (mut body, mut private) = (Vec::new(), Vec::new());
    put_structure(&mut body, &[5], &[(5, MEMBER)]);
    put_structure(&mut private, &[], &[]);
    room.remove(EntityId(5));
    room.insert(EntityId(5), MEMBER);
    room.set_row(HAND, EntityId(5), &[1]);
    room.put_values(HAND, [EntityId(5)].into_iter(), &mut private);
    [
        chunk(StreamId::ROOM, ChunkKind::Delta, &body),
        chunk(StreamId::MEMBER, ChunkKind::Delta, &private),
    ]
}

pub fn replica() -> Replica {
    Replica::new(MEMBER, Arc::new(schema()))
}

pub fn delta(base: u32, tick: u32, chunks: &[u8]) -> Delta<'_> {
    let head = DeltaHead { tick: Tick(tick), base: Tick(base), ..DeltaHead::default() };
    Delta { head, chunks }
}

#[track_caller]
pub fn assert_shows(replica: &Replica, room: &Entities, name: &str) {
    for view in [View::Room, View::Member(MEMBER)] {
        let (mut have, mut expected) = (Vec::new(), Vec::new());
        replica.entities().put_snapshot(view, &mut have);
        room.put_snapshot(view, &mut expected);
        assert_eq!(hex(&have), hex(&expected), "{name}: {view:?}");
    }
}
