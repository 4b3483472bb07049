//! Valid bytes of every kind, for the seeds to damage.

use std::sync::Arc;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::{ChunkKind, Value, put_chunk, put_event, put_varint64};
use tickloom_protocol::client_message::{
    ClientEncoder, ClientMessage, Configure, Input, Interest, Join, Kick, Publish, Recipients,
    Report, Resume, ResyncReason, Write,
};
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{
    ComponentId, EntityId, InputSeq, MemberId, Moment, OpId, StreamId, Tick, TopicId,
};
use tickloom_protocol::limits;
use tickloom_protocol::link::{End, put_binary_header};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, RoomSchema, TopicDesc, WritePolicy,
};
use tickloom_protocol::server_message::{
    Accepted, Delta, DeltaHead, Joined, LeaveReason, Left, RefusalCode, Refused, RoomClock,
    ServerEncoder, ServerMessage, TimeSync,
};
use tickloom_protocol::time::Timestamp;

use crate::frame::masked;

pub const MEMBER: MemberId = MemberId(3);
pub const PROPS: ComponentId = ComponentId(2);
pub const OPAQUE_BYTES_MAX: usize = 40;

pub fn schema() -> RoomSchema {
    let body = vec![
        FieldDesc::quantised("x", FieldType::Quant16, -8.0, 8.0),
        FieldDesc::new("hp", FieldType::U8),
    ];
    let card = vec![FieldDesc::new("card", FieldType::U8)];
    let components = vec![
        ComponentDesc::packed("body", body).expect("layout"),
        ComponentDesc::opaque("map", "text/plain", OPAQUE_BYTES_MAX),
        ComponentDesc::props("profile").as_tree().writable_by(WritePolicy::Members),
        ComponentDesc::packed("hand", card).expect("layout").for_owner(),
    ];
    let news = TopicDesc { publish: WritePolicy::Host, history: true, ..TopicDesc::new("news") };
    RoomSchema::new(components, vec![FieldDesc::new("keys", FieldType::U8)])
        .and_then(|schema| schema.with_topics(vec![TopicDesc::new("chat"), news]))
        .expect("schema")
        .with_entities_by(WritePolicy::Members)
}

pub fn room() -> Entities {
    let mut room = Entities::new(Arc::new(schema()));
    for entity in [1, 2, 5, 900] {
        let entity = EntityId(entity);
        room.insert(entity, MEMBER);
        room.set_row(ComponentId(0), entity, &[1, 2, 3]);
        room.set_opaque(ComponentId(1), entity, b"opaque");
        room.set_row(ComponentId(3), entity, &[7]);
        for (key, value) in [
            ("int", Value::Int(-300)),
            ("num", Value::Num(0.5)),
            ("str", Value::Str("né".into())),
            ("bytes", Value::Bytes([1, 2].into())),
            ("entity", Value::Entity(EntityId(2))),
            ("yes", Value::Bool(true)),
        ] {
            room.set_prop(PROPS, entity, key, value);
        }
    }
    room
}

pub fn snapshot_chunks(room: &Entities) -> Vec<u8> {
    let mut chunks = Vec::new();
    for view in [View::Room, View::Member(MEMBER)] {
        let mut body = Vec::new();
        room.put_snapshot(view, &mut body);
        put_chunk(&mut chunks, view.stream(), ChunkKind::Snapshot, &body);
        room.put_hash_chunk(view, &mut body, &mut chunks);
    }
    chunks
}

pub fn chunks() -> Vec<Vec<u8>> {
    let chunk = |stream, kind, body: &[u8]| {
        let mut chunks = Vec::new();
        put_chunk(&mut chunks, stream, kind, body);
        chunks
    };
    let delta = |stream, body: &[u8]| chunk(stream, ChunkKind::Delta, body);
    let events = |stream, first, bodies: &[&[u8]]| {
        let mut body = Vec::new();
        put_varint64(&mut body, first);
        for (index, bytes) in bodies.iter().enumerate() {
            put_event(&mut body, TopicId(index as u16 % 2), MEMBER, bytes);
        }
        body.push(0);
        chunk(stream, ChunkKind::Events, &body)
    };
    vec![
        snapshot_chunks(&room()),
        delta(StreamId::ROOM, &[6, 0, 6, 3, 1, 9, 0, 1, 0, 2, 9, 9, 9, 5, 8, 8, 8, 0]),
        delta(StreamId::ROOM, &[0, 0, 2, 1, 2, 1, 0, 3, 1, 1, 2, b'h', b'i', 0]),
        delta(StreamId::ROOM, &[0, 0, 4, 2, 2, 3, b'i', b'n', b't', 0, 1, b'z', 3, 0xff, 1, 0, 0]),
        delta(StreamId::MEMBER, &[0, 0, 1, 3, 2, 42, 0]),
        events(StreamId::ROOM, 3, &[b"hello", b"", b"again"]),
        events(StreamId::ROOM, limits::EVENT_SEQ_MAX - 1, &[b"last but one", b"last"]),
        events(StreamId::MEMBER, 1, &[b"psst"]),
        events(StreamId::MEMBER, limits::EVENT_SEQ_MAX, &[]),
    ]
}

/// What writes hold: every kind of change, and values at and over their limits.
pub fn changes() -> Vec<Vec<u8>> {
    let (body, map, hand) = (ComponentId(0), ComponentId(1), ComponentId(3));
    let put = |builder: &ChangesBuilder| {
        let mut bytes = Vec::new();
        builder.put(&mut bytes);
        bytes
    };
    let mut every = ChangesBuilder::default();
    let (own, shared) = (every.enter(MEMBER), every.enter(MemberId::SERVER));
    every.leave(EntityId(5)).row(body, own, &[1, 2, 3]).row(body, EntityId(900), &[4, 5, 6]);
    every.opaque(map, shared, b"opaque").remove(hand, EntityId(1)).remove(PROPS, EntityId(2));
    every.link(PROPS, own, "parent", shared).prop(PROPS, own, "order", &Value::Str("a0".into()));
    every.prop(PROPS, EntityId(1), "num", &Value::Num(0.5)).row(body, own, &[7, 8, 9]);
    let mut full = ChangesBuilder::default();
    for _ in 0..limits::SPAWNS_PER_WRITE_MAX {
        full.enter(MEMBER);
    }
    let mut over = ChangesBuilder::default();
    over.opaque(map, EntityId(1), &[b'x'; OPAQUE_BYTES_MAX + 1]);
    // Entities behind the last one that a write can add.
    let (enter, target) = ([0, 0x81, 0x80, 0x04, 3, 0], [0, 0, 2, 0, 0x81, 0x82, 0x04, 0]);
    let mut crafted = vec![enter.to_vec(), target.to_vec(), vec![0, 0]];
    crafted.extend([every, full, over].iter().map(put));
    crafted
}

/// Values just over their limits, in chunks that are well formed otherwise.
pub fn oversized_chunks() -> [Vec<u8>; 2] {
    let mut opaque = vec![0, 0, 3, 1, 2, OPAQUE_BYTES_MAX as u8 + 1];
    opaque.resize(opaque.len() + OPAQUE_BYTES_MAX + 1, b'x');
    opaque.push(0);
    let mut props = vec![0, 0, 4, 2, 2];
    for key in 0..2 * limits::PROP_KEYS_MAX {
        let key = format!("{key:03}");
        props.push(key.len() as u8);
        props.extend_from_slice(key.as_bytes());
        props.push(1);
    }
    props.extend_from_slice(&[0, 0]);
    [opaque, props].map(|body| {
        let mut chunks = Vec::new();
        put_chunk(&mut chunks, StreamId::ROOM, ChunkKind::Delta, &body);
        chunks
    })
}

pub fn client_messages() -> Vec<Vec<u8>> {
    let mut encoder = ClientEncoder::default();
    let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
    let row = [0; limits::INPUT_ROW_BYTES_MAX + 1];
    let changes = changes().concat();
    let (op, topic) = (OpId(6), TopicId(1));
    let mut buffers = [Vec::new(), Vec::new()];
    let [few, many] = &mut buffers;
    let everybody = Recipients::default();
    let some = Recipients::put(&[MEMBER, MemberId(u16::MAX)], few);
    let too_many = Recipients::put(&[MEMBER; limits::RECIPIENTS_MAX + 1], many);
    let too_long = vec![b'x'; limits::EVENT_BYTES_MAX + 1];
    [
        ClientMessage::Join(Join { room_type: "arena", room: "a", name: &long, ..Join::default() }),
        ClientMessage::Input(Input {
            seq: InputSeq(9),
            applied_tick: Tick(3),
            seen: Moment(u64::MAX),
            row: &row,
        }),
        ClientMessage::Join(Join {
            room_type: "arena",
            room: "a",
            name: "Zoë",
            options: &[1, 2],
            password: "sesame",
            metadata: &[1, b'k', 2, 0],
            resume: Some(Resume { member: MEMBER, token: &[7; 32], ..Resume::default() }),
            ..Join::default()
        }),
        ClientMessage::Configure(Configure { op, password: Some(""), ..Configure::default() }),
        ClientMessage::Kick(Kick { op, member: MEMBER, message: "bye" }),
        ClientMessage::Interest(Interest::At { x: 1.0, y: f32::MIN }),
        ClientMessage::Interest(Interest::At { x: f32::NAN, y: 0.0 }),
        ClientMessage::Report(Report { applied_tick: Tick(3), hidden: true }),
        ClientMessage::Leave,
        ClientMessage::Input(Input {
            seq: InputSeq(9),
            applied_tick: Tick(3),
            seen: Moment(u64::MAX),
            row: &[1, 2, 3],
        }),
        ClientMessage::Ping { client_us: 77 },
        ClientMessage::Resync { have_tick: Tick(7), reason: ResyncReason::Gap },
        ClientMessage::Write(Write { op: OpId(5), if_tick: Tick(7), changes: &changes }),
        ClientMessage::Publish(Publish { op, topic, to: everybody, body: b"hello" }),
        ClientMessage::Publish(Publish { op, topic, to: some, body: b"hello" }),
        ClientMessage::Publish(Publish { op, topic, to: too_many, body: &[] }),
        ClientMessage::Publish(Publish { op, topic, to: everybody, body: &too_long }),
        ClientMessage::Unknown(99),
    ]
    .map(|message| encoder.encode(message).to_vec())
    .into()
}

pub fn joined() -> ServerMessage<'static> {
    let clock = RoomClock { epoch: Timestamp(1 << 40), tick_us: 50_000, send_every: 1 };
    ServerMessage::Joined(Joined::new(MEMBER, EntityId(1), clock, Tick(3), schema()))
}

pub fn server_messages() -> Vec<Vec<u8>> {
    let mut encoder = ServerEncoder::default();
    let mut messages = vec![encoder.encode(&joined()).to_vec()];
    for (index, chunks) in chunks().iter().enumerate() {
        let base = if index == 0 { 0 } else { 3 + index as u32 };
        let head =
            DeltaHead { tick: Tick(4 + index as u32), base: Tick(base), ..DeltaHead::default() };
        let message = ServerMessage::Delta(Delta { head, chunks });
        messages.push(encoder.encode(&message).to_vec());
    }
    let (server, tick, epoch) = (Timestamp(2), Tick(3), Timestamp(4));
    let sync = TimeSync { client_us: 1, server, tick, epoch, scale_q16: TimeSync::REAL_TIME };
    let refused =
        Refused { code: RefusalCode::RoomFull, message: "full", retry_ms: 1, op: OpId(2) };
    let accepted = |entities| Accepted { op: OpId(9), tick: Tick(4), entities };
    let most = vec![EntityId(7); limits::SPAWNS_PER_WRITE_MAX];
    for message in [
        ServerMessage::Accepted(accepted(vec![])),
        ServerMessage::Accepted(accepted(vec![EntityId(6), EntityId(7)])),
        ServerMessage::Accepted(accepted(most)),
        ServerMessage::GoAway { retry_ms: 1234 },
        ServerMessage::TimeSync(sync),
        ServerMessage::Refused(refused),
        ServerMessage::Left(Left::default()),
        ServerMessage::Left(Left { reason: LeaveReason::Kicked, message: "bye" }),
        ServerMessage::Unknown(99),
    ] {
        messages.push(encoder.encode(&message).to_vec());
    }
    messages
}

/// Frames as `end` receives them, one message each, control frames among them.
pub fn frames(end: End) -> Vec<Vec<u8>> {
    let messages = match end {
        End::Server => client_messages(),
        End::Client => server_messages(),
    };
    let control: [(u8, &[u8]); 8] = [
        (0x02, b"first of two"),
        (0x80, b"second of two"),
        (0x00, b""),
        (0x81, b"text"),
        (0x89, b""),
        (0x89, b"alive?"),
        (0x8a, b""),
        (0x88, b"\x03\xe8bye"),
    ];
    let messages = messages.iter().map(|message| (0x82, message.as_slice()));
    messages.chain(control).map(|(first, payload)| frame(end, first, payload)).collect()
}

pub fn frame(end: End, first: u8, payload: &[u8]) -> Vec<u8> {
    if end == End::Server {
        return masked(first, payload);
    }
    let mut frame = Vec::new();
    put_binary_header(payload.len(), &mut frame);
    frame[0] = first;
    frame.extend_from_slice(payload);
    frame
}
