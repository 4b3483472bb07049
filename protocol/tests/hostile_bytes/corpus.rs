//! Valid bytes of every kind, for the seeds to damage.

use std::sync::Arc;

use tickloom_protocol::chunks::{ChunkKind, Value, put_chunk};
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage, Input, Join, ResyncReason};
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{ComponentId, EntityId, InputSeq, MemberId, OpId, StreamId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::link::{End, put_binary_header};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_protocol::server_message::{
    Delta, DeltaHead, Joined, RefusalCode, Refused, RoomClock, ServerEncoder, ServerMessage,
    TimeSync,
};
use tickloom_protocol::time::Timestamp;

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
        ComponentDesc::props("profile"),
        ComponentDesc::packed("hand", card).expect("layout").for_owner(),
    ];
    RoomSchema::new(components, vec![FieldDesc::new("keys", FieldType::U8)]).expect("schema")
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
    let delta = |stream, body: &[u8]| {
        let mut chunks = Vec::new();
        put_chunk(&mut chunks, stream, ChunkKind::Delta, body);
        chunks
    };
    vec![
        snapshot_chunks(&room()),
        delta(StreamId::ROOM, &[6, 0, 6, 3, 1, 9, 0, 1, 0, 2, 9, 9, 9, 5, 8, 8, 8, 0]),
        delta(StreamId::ROOM, &[0, 0, 2, 1, 2, 1, 0, 3, 1, 1, 2, b'h', b'i', 0]),
        delta(StreamId::ROOM, &[0, 0, 4, 2, 2, 3, b'i', b'n', b't', 0, 1, b'z', 3, 0xff, 1, 0, 0]),
        delta(StreamId::MEMBER, &[0, 0, 1, 3, 2, 42, 0]),
    ]
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
    [
        ClientMessage::Join(Join { room_type: "arena", room: "a", name: &long, options: &[] }),
        ClientMessage::Input(Input { seq: InputSeq(9), applied_tick: Tick(3), row: &row }),
        ClientMessage::Join(Join { room_type: "arena", room: "a", name: "Zoë", options: &[1, 2] }),
        ClientMessage::Leave,
        ClientMessage::Input(Input { seq: InputSeq(9), applied_tick: Tick(3), row: &[1, 2, 3] }),
        ClientMessage::Ping { client_us: 77 },
        ClientMessage::Resync { have_tick: Tick(7), reason: ResyncReason::Gap },
        ClientMessage::Unknown(99),
    ]
    .map(|message| encoder.encode(message).to_vec())
    .into()
}

pub fn joined() -> ServerMessage<'static> {
    ServerMessage::Joined(Joined {
        member: MEMBER,
        entity: EntityId(1),
        clock: RoomClock { epoch: Timestamp(1 << 40), tick_us: 50_000, send_every: 1 },
        tick: Tick(3),
        schema: schema(),
    })
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
    let sync = TimeSync { client_us: 1, server: Timestamp(2), tick: Tick(3), epoch: Timestamp(4) };
    let refused =
        Refused { code: RefusalCode::RoomFull, message: "full", retry_ms: 1, op: OpId(2) };
    for message in [
        ServerMessage::TimeSync(sync),
        ServerMessage::Refused(refused),
        ServerMessage::Left,
        ServerMessage::Unknown(99),
    ] {
        messages.push(encoder.encode(&message).to_vec());
    }
    messages
}

/// Frames as `end` receives them, one message each, control frames among them. A link masks at
/// random, so a client's frames are made by hand: a seed replays the same bytes.
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
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = Vec::new();
    put_binary_header(payload.len(), &mut frame);
    frame[0] = first;
    if end == End::Client {
        frame.extend_from_slice(payload);
        return frame;
    }
    frame[1] |= 0x80;
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
