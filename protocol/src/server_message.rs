//! Messages from server to client: closed enum in, FlatBuffers out, and the way back.
//!
//! Rooms do not encode a `Delta` here, but with [`crate::delta_prefix`], which shares nearly all
//! of it between members.

use flatbuffers::{FlatBufferBuilder, ForwardsUOffset, Vector, VerifierOptions, WIPOffset};

use crate::client_message::{DecodeError, verified};
use crate::generated::wire;
use crate::ids::{EntityId, InputSeq, MemberId, Tick};
use crate::limits;
use crate::quantise::Mode;
use crate::schema::{
    ComponentDesc, FieldDesc, FieldType, Interpolation, Kind, RoomSchema, RowLayout, SchemaError,
    Scope,
};
use crate::time::Timestamp;

/// One message of the server.
#[derive(Clone, PartialEq, Debug)]
pub enum ServerMessage<'a> {
    /// The client has a seat; a snapshot follows.
    Joined(Joined),
    /// State: a change, a catch-up or a snapshot.
    Delta(Delta<'a>),
    /// The server's time, as an answer to a ping or because a room's clock slipped.
    TimeSync(TimeSync),
    /// The client asked for something it does not get; the connection stays usable.
    Refused(Refused<'a>),
    /// The seat was given back as asked.
    Left,
    /// A kind of message this version does not know: ignored and counted.
    Unknown(u8),
}

/// A seat in a room.
#[derive(Clone, PartialEq, Debug)]
pub struct Joined {
    /// The client's own member id.
    pub member: MemberId,
    /// The entity that is the client's own.
    pub entity: EntityId,
    /// The room's clock.
    pub clock: RoomClock,
    /// The room's last completed tick.
    pub tick: Tick,
    /// What the room is made of.
    pub schema: RoomSchema,
}

/// When a room's ticks are due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomClock {
    /// When tick 0 would have been due, on the server's clock.
    pub epoch: Timestamp,
    /// Microseconds from one tick to the next.
    pub tick_us: u32,
    /// State is sent every this many ticks.
    pub send_every: u8,
}

impl RoomClock {
    /// When `tick` is due.
    #[must_use]
    pub fn due(&self, tick: Tick) -> Timestamp {
        Timestamp(self.epoch.0.saturating_add(u64::from(tick.0) * u64::from(self.tick_us)))
    }
}

/// A piece of state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Delta<'a> {
    /// What it says to this member.
    pub head: DeltaHead,
    /// What it says about the room, in the grammar of [`crate::chunks`].
    pub chunks: &'a [u8],
}

/// The part of a delta that differs between members.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeltaHead {
    /// The tick the receiver has after applying it.
    pub tick: Tick,
    /// The tick it must have before. [`Tick::ZERO`] makes this a snapshot.
    pub base: Tick,
    /// The last input of this member that the room consumed or dropped.
    pub ack: InputSeq,
    /// How many inputs were waiting before this tick took one; below zero, for how many ticks
    /// in a row none was.
    pub margin: i8,
}

/// Two clocks at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeSync {
    /// The client's time from its ping; 0 when nobody asked.
    pub client_us: u64,
    /// The server's time.
    pub server: Timestamp,
    /// The room's last completed tick; 0 outside a room.
    pub tick: Tick,
    /// When tick 0 would have been due; 0 outside a room.
    pub epoch: Timestamp,
}

/// Something a client does not get.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused<'a> {
    /// Why, for programs.
    pub code: RefusalCode,
    /// Why, for people.
    pub message: &'a str,
    /// When to try again, in milliseconds; 0 means that trying again will not help.
    pub retry_ms: u32,
}

/// Why a client does not get what it asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusalCode {
    /// The room type is not registered.
    UnknownRoomType,
    /// The room's name is empty or not printable.
    BadRoomName,
    /// The room's logic could not use the options.
    BadOptions,
    /// The room has no free seat.
    RoomFull,
    /// The server has no place for another room or member.
    ServerFull,
    /// The connection has a seat already.
    AlreadyJoined,
    /// The connection has no seat yet.
    NotJoined,
    /// The room's logic said no.
    Denied,
}

const REFUSAL_CODES: [(RefusalCode, wire::RefusalCode); 8] = [
    (RefusalCode::UnknownRoomType, wire::RefusalCode::UnknownRoomType),
    (RefusalCode::BadRoomName, wire::RefusalCode::BadRoomName),
    (RefusalCode::BadOptions, wire::RefusalCode::BadOptions),
    (RefusalCode::RoomFull, wire::RefusalCode::RoomFull),
    (RefusalCode::ServerFull, wire::RefusalCode::ServerFull),
    (RefusalCode::AlreadyJoined, wire::RefusalCode::AlreadyJoined),
    (RefusalCode::NotJoined, wire::RefusalCode::NotJoined),
    (RefusalCode::Denied, wire::RefusalCode::Denied),
];

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

const SCOPES: [(Scope, wire::Scope); 2] =
    [(Scope::Room, wire::Scope::Room), (Scope::Owner, wire::Scope::Owner)];

fn to_wire<A: Copy + PartialEq, B: Copy>(table: &[(A, B)], value: A) -> B {
    table.iter().find(|(ours, _)| *ours == value).expect("the table lists every variant").1
}

fn from_wire<A: Copy, B: Copy + PartialEq>(
    table: &[(A, B)],
    value: B,
    field: &'static str,
) -> Result<A, DecodeError> {
    let found = table.iter().find(|(_, theirs)| *theirs == value);
    found.map(|(ours, _)| *ours).ok_or(DecodeError::OutOfRange(field))
}

// ---- encoding ----------------------------------------------------------------------------------

/// Writes messages of the server. One per shard; its buffer is reused.
#[derive(Default)]
pub struct ServerEncoder {
    builder: FlatBufferBuilder<'static>,
}

impl ServerEncoder {
    /// Encodes any message the server can send. A [`ServerMessage::Delta`] is encoded whole;
    /// rooms use [`crate::delta_prefix`] instead. [`ServerMessage::Unknown`] becomes an envelope with
    /// that tag and an empty table, as a newer version would look.
    pub fn encode(&mut self, message: &ServerMessage<'_>) -> &[u8] {
        let b = &mut self.builder;
        b.reset();
        let (body_type, body) = match message {
            ServerMessage::Joined(joined) => {
                (wire::ServerBody::Joined, put_joined(b, joined).as_union_value())
            }
            ServerMessage::Delta(delta) => {
                // The vector goes first, which puts it last in the buffer.
                let chunks = b.create_vector(delta.chunks);
                (wire::ServerBody::Delta, put_delta(b, delta.head, chunks).as_union_value())
            }
            ServerMessage::TimeSync(sync) => {
                let args = wire::TimeSyncArgs {
                    client_us: sync.client_us,
                    server_us: sync.server.0,
                    tick: sync.tick.0,
                    epoch_us: sync.epoch.0,
                };
                (wire::ServerBody::TimeSync, wire::TimeSync::create(b, &args).as_union_value())
            }
            ServerMessage::Refused(refused) => {
                let args = wire::RefusedArgs {
                    code: to_wire(&REFUSAL_CODES, refused.code),
                    message: Some(b.create_string(refused.message)),
                    retry_ms: refused.retry_ms,
                };
                (wire::ServerBody::Refused, wire::Refused::create(b, &args).as_union_value())
            }
            ServerMessage::Left => {
                let left = wire::Left::create(b, &wire::LeftArgs {});
                (wire::ServerBody::Left, left.as_union_value())
            }
            ServerMessage::Unknown(tag) => {
                let empty = wire::Left::create(b, &wire::LeftArgs {});
                (wire::ServerBody(*tag), empty.as_union_value())
            }
        };
        let args = wire::ServerEnvelopeArgs { body_type, body: Some(body) };
        let envelope = wire::ServerEnvelope::create(b, &args);
        b.finish_minimal(envelope);
        b.finished_data()
    }
}

type Builder = FlatBufferBuilder<'static>;

fn put_delta<'a>(
    b: &mut FlatBufferBuilder<'a>,
    head: DeltaHead,
    chunks: WIPOffset<Vector<'a, u8>>,
) -> WIPOffset<wire::Delta<'a>> {
    let args = wire::DeltaArgs {
        tick: head.tick.0,
        base: head.base.0,
        ack_seq: head.ack.0,
        margin: head.margin,
        chunks: Some(chunks),
    };
    wire::Delta::create(b, &args)
}

fn put_joined(b: &mut Builder, joined: &Joined) -> WIPOffset<wire::Joined<'static>> {
    let components: Vec<_> =
        joined.schema.components().iter().map(|desc| put_component(b, desc)).collect();
    let components = b.create_vector(&components);
    let input = put_fields(b, joined.schema.input());
    let schema = wire::RoomSchemaArgs { components: Some(components), input: Some(input) };
    let schema = wire::RoomSchema::create(b, &schema);
    let args = wire::JoinedArgs {
        member: joined.member.0,
        entity: joined.entity.0,
        tick: joined.tick.0,
        tick_us: joined.clock.tick_us,
        send_every: joined.clock.send_every,
        epoch_us: joined.clock.epoch.0,
        schema: Some(schema),
    };
    wire::Joined::create(b, &args)
}

fn put_component(b: &mut Builder, desc: &ComponentDesc) -> WIPOffset<wire::ComponentDesc<'static>> {
    let mut args = wire::ComponentDescArgs {
        name: Some(b.create_string(&desc.name)),
        scope: to_wire(&SCOPES, desc.scope),
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

// ---- decoding ----------------------------------------------------------------------------------

const VERIFIER: VerifierOptions = VerifierOptions {
    max_depth: limits::TABLE_DEPTH_MAX,
    max_tables: limits::SERVER_TABLES_MAX,
    max_apparent_size: limits::SERVER_MESSAGE_BYTES_MAX + limits::APPARENT_SLACK_BYTES,
    ignore_missing_null_terminator: false,
};

impl<'a> ServerMessage<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let envelope = verified::<wire::ServerEnvelope<'_>>(bytes, &VERIFIER)?;
        let message = match envelope.body_type() {
            wire::ServerBody::Joined => {
                envelope.body_as_joined().map(decode_joined).transpose()?.map(Self::Joined)
            }
            wire::ServerBody::Delta => envelope.body_as_delta().map(decode_delta),
            wire::ServerBody::TimeSync => envelope.body_as_time_sync().map(|sync| {
                Self::TimeSync(TimeSync {
                    client_us: sync.client_us(),
                    server: Timestamp(sync.server_us()),
                    tick: Tick(sync.tick()),
                    epoch: Timestamp(sync.epoch_us()),
                })
            }),
            wire::ServerBody::Refused => {
                envelope.body_as_refused().map(decode_refused).transpose()?
            }
            wire::ServerBody::Left => Some(Self::Left),
            // "No union": a kind that no version has, whatever the bytes behind it.
            wire::ServerBody::NONE => None,
            // A newer server's message; its bytes were not looked into.
            unknown => Some(Self::Unknown(unknown.0)),
        };
        message.ok_or(DecodeError::Malformed)
    }
}

fn decode_delta(delta: wire::Delta<'_>) -> ServerMessage<'_> {
    ServerMessage::Delta(Delta {
        head: DeltaHead {
            tick: Tick(delta.tick()),
            base: Tick(delta.base()),
            ack: InputSeq(delta.ack_seq()),
            margin: delta.margin(),
        },
        chunks: delta.chunks().map(|chunks| chunks.bytes()).unwrap_or_default(),
    })
}

fn decode_refused(refused: wire::Refused<'_>) -> Result<ServerMessage<'_>, DecodeError> {
    Ok(ServerMessage::Refused(Refused {
        code: from_wire(&REFUSAL_CODES, refused.code(), "code")?,
        message: refused.message(),
        retry_ms: refused.retry_ms(),
    }))
}

fn decode_joined(joined: wire::Joined<'_>) -> Result<Joined, DecodeError> {
    let schema = joined.schema();
    let components = schema.components().iter().map(decode_component).collect::<Result<_, _>>()?;
    let input = decode_fields(schema.input())?;
    if joined.entity() >= limits::ENTITY_ID_MAX {
        return Err(DecodeError::OutOfRange("entity"));
    }
    let clock = RoomClock {
        epoch: Timestamp(joined.epoch_us()),
        tick_us: joined.tick_us(),
        send_every: joined.send_every(),
    };
    if clock.tick_us == 0 || clock.send_every == 0 {
        return Err(DecodeError::OutOfRange("clock"));
    }
    Ok(Joined {
        member: MemberId(joined.member()),
        entity: EntityId(joined.entity()),
        clock,
        tick: Tick(joined.tick()),
        schema: RoomSchema::new(components, input).map_err(bad_schema)?,
    })
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
    Ok(ComponentDesc { name: desc.name().into(), kind, scope })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> Joined {
        let body = vec![
            FieldDesc::quantised("x", FieldType::Quant16, -512.0, 512.0),
            FieldDesc::angle("yaw", FieldType::Quant8),
        ];
        let components = vec![
            ComponentDesc::packed("body", body).expect("layout"),
            ComponentDesc::opaque("map", "application/json", 1000),
            ComponentDesc::props("profile").for_owner(),
        ];
        let input = vec![FieldDesc::new("buttons", FieldType::U8)];
        Joined {
            member: MemberId(7),
            entity: EntityId(12),
            clock: RoomClock { epoch: Timestamp(1 << 40), tick_us: 50_000, send_every: 2 },
            tick: Tick(3),
            schema: RoomSchema::new(components, input).expect("schema"),
        }
    }

    #[test]
    fn every_message_survives() {
        let head = DeltaHead { tick: Tick(9), base: Tick(8), ack: InputSeq(5), margin: -3 };
        let messages = [
            ServerMessage::Joined(joined()),
            ServerMessage::Delta(Delta { head, chunks: &[1, 2, 3] }),
            ServerMessage::TimeSync(TimeSync {
                client_us: 1,
                server: Timestamp(2),
                tick: Tick(3),
                epoch: Timestamp(4),
            }),
            ServerMessage::Refused(Refused {
                code: RefusalCode::RoomFull,
                message: "full",
                retry_ms: 1000,
            }),
            ServerMessage::Left,
            ServerMessage::Unknown(99),
        ];
        let mut encoder = ServerEncoder::default();
        for message in messages {
            let bytes = encoder.encode(&message).to_vec();
            assert_eq!(ServerMessage::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_message_of_no_kind_is_malformed() {
        let mut bytes = ServerEncoder::default().encode(&ServerMessage::Unknown(200)).to_vec();
        let tag_at = bytes.iter().position(|&byte| byte == 200).expect("the tag");
        bytes[tag_at] = 0;
        assert_eq!(ServerMessage::decode(&bytes), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_seat_without_a_usable_entity_or_clock_is_out_of_range() {
        let joined = joined();
        let (entity_max, clock) = (EntityId(limits::ENTITY_ID_MAX), joined.clock);
        for (field, joined) in [
            ("entity", Joined { entity: entity_max, ..joined.clone() }),
            ("entity", Joined { entity: EntityId(u32::MAX), ..joined.clone() }),
            ("clock", Joined { clock: RoomClock { tick_us: 0, ..clock }, ..joined.clone() }),
            ("clock", Joined { clock: RoomClock { send_every: 0, ..clock }, ..joined.clone() }),
        ] {
            let message = ServerMessage::Joined(joined);
            let bytes = ServerEncoder::default().encode(&message).to_vec();
            let decoded = ServerMessage::decode(&bytes);
            assert_eq!(decoded, Err(DecodeError::OutOfRange(field)), "{message:?}");
        }
    }
}
