//! The board: a room that its members write, and what one of them writes.

use std::sync::Arc;

use tickloom_protocol::changes::{Change, ChangesBuilder, Target, read_changes};
use tickloom_protocol::chunks::Value;
use tickloom_protocol::entities::Entities;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, TopicId};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, RoomSchema, TopicDesc, WritePolicy,
};

use crate::files::{from_hex, golden, hex};
use crate::room::MEMBER;

pub const NAME: ComponentId = ComponentId(0);
pub const HOST: ComponentId = ComponentId(1);
pub const CURSOR: ComponentId = ComponentId(2);
pub const INK: ComponentId = ComponentId(3);
pub const LAYER: ComponentId = ComponentId(4);
pub const RULES: ComponentId = ComponentId(5);

pub const CHAT: TopicId = TopicId(0);
pub const NEWS: TopicId = TopicId(1);
pub const LOG: TopicId = TopicId(2);

pub fn schema() -> RoomSchema {
    let host = vec![FieldDesc::new("entity", FieldType::EntityRef)];
    let cursor = ["x", "y"].map(|name| FieldDesc::quantised(name, FieldType::Quant16, -8.0, 8.0));
    let components = vec![
        ComponentDesc::opaque("name", "text/plain", 64),
        ComponentDesc::packed("host", host).expect("layout"),
        ComponentDesc::packed("cursor", cursor.into())
            .expect("layout")
            .writable_by(WritePolicy::Owner),
        ComponentDesc::opaque("ink", "application/octet-stream", 1000)
            .writable_by(WritePolicy::Owner),
        ComponentDesc::props("layer").as_tree().writable_by(WritePolicy::Members),
        ComponentDesc::props("rules").writable_by(WritePolicy::Host),
    ];
    let topic = |name, publish, history| TopicDesc { publish, history, ..TopicDesc::new(name) };
    let topics = vec![
        topic("chat", WritePolicy::Members, true),
        topic("news", WritePolicy::Host, true),
        topic("log", WritePolicy::Server, false),
    ];
    RoomSchema::new(components, vec![])
        .and_then(|schema| schema.with_topics(topics))
        .expect("schema")
        .with_entities_by(WritePolicy::Members)
}

/// Two members, the first of them the host.
pub fn room() -> Entities {
    let mut room = Entities::new(Arc::new(schema()));
    for (entity, owner, name) in [(1, MEMBER, "Zoë"), (2, MemberId(9), "né")] {
        room.insert(EntityId(entity), owner);
        room.set_opaque(NAME, EntityId(entity), name.as_bytes());
    }
    room.set_row(HOST, EntityId::ROOM, &1_u32.to_le_bytes());
    room
}

/// The worked example of a write.
pub fn changes() -> Vec<u8> {
    let mut builder = ChangesBuilder::default();
    let (own, shared) = (builder.enter(MEMBER), builder.enter(MemberId::SERVER));
    builder
        .leave(EntityId(3))
        .row(CURSOR, EntityId(1), &[0xff, 0x7f, 0xfe, 0xff])
        .row(CURSOR, own, &[0, 0, 0xff, 0x7f])
        .remove(INK, EntityId(1))
        .opaque(INK, own, &[1, 2])
        .prop(LAYER, own, "order", &Value::Str("a0".into()))
        .link(LAYER, own, "parent", shared)
        .prop(LAYER, shared, "order", &Value::Str("a0V".into()))
        .prop(RULES, EntityId::ROOM, "open", &Value::Bool(true));
    let mut bytes = Vec::new();
    builder.put(&mut bytes);
    bytes
}

#[test]
fn the_worked_example_of_a_write_holds() {
    let spec = from_hex(
        "04 00  81 80 04 07 01 00 00 \
         01 02  02 ff 7f fe ff  ff ff 03 00 00 ff 7f  00 \
         02 03  02 00 \
         03 03  81 80 04 02 01 02  00 \
         04 04  81 80 04 05 6f 72 64 65 72 05 02 61 30  06 70 61 72 65 6e 74 07 81 80 04  00 \
                01 05 6f 72 64 65 72 05 03 61 30 56  00  00 \
         04 05  01 04 6f 70 65 6e 02  00  00",
    );
    assert_eq!(hex(&changes()), hex(&spec));
    let committed = golden("changes-worked-example.bin", &spec);
    let mut read = Vec::new();
    read_changes(&committed, &schema(), &mut read).expect("changes");
    let [own, shared] = [0, 1].map(Target::added);
    let text = |text: &str| Value::Str(text.into());
    let expected = vec![
        Change::Leave(EntityId(3)),
        Change::Enter { owner: MEMBER },
        Change::Enter { owner: MemberId::SERVER },
        Change::Row(CURSOR, EntityId(1).into(), &[0xff, 0x7f, 0xfe, 0xff]),
        Change::Row(CURSOR, own, &[0, 0, 0xff, 0x7f]),
        Change::Removed(INK, EntityId(1).into()),
        Change::Opaque(INK, own, &[1, 2]),
        Change::Prop(LAYER, own, "order", text("a0")),
        Change::Prop(LAYER, own, "parent", Value::Entity(EntityId(65_537))),
        Change::Prop(LAYER, shared, "order", text("a0V")),
        Change::Prop(RULES, EntityId::ROOM.into(), "open", Value::Bool(true)),
    ];
    assert_eq!(read, expected);
}
