//! Messages from server to client: closed enum in, FlatBuffers out, and the way back.
//!
//! Rooms do not encode a `Delta` here, but with [`crate::delta_prefix`], which shares nearly all
//! of it between members.

mod schema_table;

use flatbuffers::{FlatBufferBuilder, Vector, VerifierOptions, WIPOffset};

use crate::client_message::{DecodeError, to_wire, verified};
use crate::generated::wire;
use crate::ids::{EntityId, InputSeq, MemberId, OpId, Tick};
use crate::limits;
use crate::schema::RoomSchema;
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
    /// The seat is gone.
    Left(Left<'a>),
    /// What the client wrote or published takes effect.
    Accepted(Accepted),
    /// The server stops: close, and come back later.
    GoAway {
        /// When to come back, in milliseconds from now. Each client is told another moment.
        retry_ms: u32,
    },
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
    /// The room's name, when the server chose it; empty when the client did.
    pub room: Box<str>,
    /// What brings the client back to its seat, once; empty when nothing does.
    pub token: Box<[u8]>,
    /// How long the seat is kept after the end of the connection, in milliseconds.
    pub grace_ms: u32,
    /// Whether a resume got the same seat and misses nothing.
    pub recovered: bool,
    /// Whether the client only watches.
    pub spectator: bool,
}

impl Joined {
    /// A seat in a room of a known name, for a member that comes new and cannot resume.
    #[must_use]
    pub fn new(
        member: MemberId,
        entity: EntityId,
        clock: RoomClock,
        tick: Tick,
        schema: RoomSchema,
    ) -> Self {
        let (room, token) = (Box::default(), Box::default());
        let (grace_ms, recovered, spectator) = (0, false, false);
        Self { member, entity, clock, tick, schema, room, token, grace_ms, recovered, spectator }
    }
}

/// The end of a seat whose connection goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left<'a> {
    /// Why, for programs.
    pub reason: LeaveReason,
    /// Why, for people.
    pub message: &'a str,
}

/// Why a seat is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LeaveReason {
    /// It was given back.
    #[default]
    Asked,
    /// The host or the room's logic took it away.
    Kicked,
    /// The same client came back to it over another connection.
    Replaced,
    /// The room has ended.
    RoomEnded,
}

/// When a room's ticks are due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomClock {
    /// When tick 0 would have been due, on the server's clock.
    pub epoch: Timestamp,
    /// Microseconds from one tick to the next; 0 in a room that has no rate and ticks when
    /// something changed.
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
    /// The last write of this member that was accepted or refused;
    /// [`OpId::NONE`] when none was since the delta before.
    pub ack_op: OpId,
    /// How much the server leaves out to keep up, 0 to 4.
    pub load_level: u8,
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
    /// How fast the room's time runs against real time, in 65536ths.
    pub scale_q16: u32,
}

impl TimeSync {
    /// Time runs as it should.
    pub const REAL_TIME: u32 = 1 << 16;
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
    /// Which write or publication; [`OpId::NONE`] when it was something else or had no number.
    pub op: OpId,
}

/// A write or publication that takes effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Accepted {
    /// Which one.
    pub op: OpId,
    /// The tick whose state shows it.
    pub tick: Tick,
    /// The entities it added, in the order of its enters.
    pub entities: Vec<EntityId>,
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
    /// The policy of a component, a topic or of entities does not let this member.
    NotAllowed,
    /// Something a conditional write touches changed since.
    Conflict,
    /// The write does not fit the room: an entity that is gone, a value over a limit, a cycle.
    Invalid,
    /// Too much happened in this tick; try again after the next.
    Busy,
    /// There is no room of this name.
    UnknownRoom,
    /// There is a room of this name already.
    RoomExists,
    /// The room takes nobody any more.
    RoomLocked,
    /// The room is private, and this is not its password.
    WrongPassword,
    /// The token for a reserved seat is unknown, used, or too old.
    BadSeat,
}

const LEAVE_REASONS: [(LeaveReason, wire::LeaveReason); 4] = [
    (LeaveReason::Asked, wire::LeaveReason::Asked),
    (LeaveReason::Kicked, wire::LeaveReason::Kicked),
    (LeaveReason::Replaced, wire::LeaveReason::Replaced),
    (LeaveReason::RoomEnded, wire::LeaveReason::RoomEnded),
];

const REFUSAL_CODES: [(RefusalCode, wire::RefusalCode); 17] = [
    (RefusalCode::UnknownRoomType, wire::RefusalCode::UnknownRoomType),
    (RefusalCode::BadRoomName, wire::RefusalCode::BadRoomName),
    (RefusalCode::BadOptions, wire::RefusalCode::BadOptions),
    (RefusalCode::RoomFull, wire::RefusalCode::RoomFull),
    (RefusalCode::ServerFull, wire::RefusalCode::ServerFull),
    (RefusalCode::AlreadyJoined, wire::RefusalCode::AlreadyJoined),
    (RefusalCode::NotJoined, wire::RefusalCode::NotJoined),
    (RefusalCode::Denied, wire::RefusalCode::Denied),
    (RefusalCode::NotAllowed, wire::RefusalCode::NotAllowed),
    (RefusalCode::Conflict, wire::RefusalCode::Conflict),
    (RefusalCode::Invalid, wire::RefusalCode::Invalid),
    (RefusalCode::Busy, wire::RefusalCode::Busy),
    (RefusalCode::UnknownRoom, wire::RefusalCode::UnknownRoom),
    (RefusalCode::RoomExists, wire::RefusalCode::RoomExists),
    (RefusalCode::RoomLocked, wire::RefusalCode::RoomLocked),
    (RefusalCode::WrongPassword, wire::RefusalCode::WrongPassword),
    (RefusalCode::BadSeat, wire::RefusalCode::BadSeat),
];

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
                    scale_q16: sync.scale_q16,
                };
                (wire::ServerBody::TimeSync, wire::TimeSync::create(b, &args).as_union_value())
            }
            ServerMessage::Refused(refused) => {
                let args = wire::RefusedArgs {
                    code: to_wire(&REFUSAL_CODES, refused.code),
                    message: Some(b.create_string(refused.message)),
                    retry_ms: refused.retry_ms,
                    op: refused.op.0,
                };
                (wire::ServerBody::Refused, wire::Refused::create(b, &args).as_union_value())
            }
            ServerMessage::Left(Left { reason, message }) => {
                let message = (!message.is_empty()).then(|| b.create_string(message));
                let args = wire::LeftArgs { reason: to_wire(&LEAVE_REASONS, *reason), message };
                let left = wire::Left::create(b, &args);
                (wire::ServerBody::Left, left.as_union_value())
            }
            ServerMessage::Accepted(accepted) => {
                (wire::ServerBody::Accepted, put_accepted(b, accepted).as_union_value())
            }
            ServerMessage::GoAway { retry_ms } => {
                let args = wire::GoAwayArgs { retry_ms: *retry_ms };
                (wire::ServerBody::GoAway, wire::GoAway::create(b, &args).as_union_value())
            }
            ServerMessage::Unknown(tag) => {
                let empty = wire::Left::create(b, &wire::LeftArgs::default());
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
        ack_op: head.ack_op.0,
        load_level: head.load_level,
    };
    wire::Delta::create(b, &args)
}

fn put_accepted(b: &mut Builder, accepted: &Accepted) -> WIPOffset<wire::Accepted<'static>> {
    let entities = accepted.entities.iter().map(|entity| entity.0);
    let entities = (!accepted.entities.is_empty()).then(|| b.create_vector_from_iter(entities));
    let args = wire::AcceptedArgs { op: accepted.op.0, tick: accepted.tick.0, entities };
    wire::Accepted::create(b, &args)
}

fn put_joined(b: &mut Builder, joined: &Joined) -> WIPOffset<wire::Joined<'static>> {
    let schema = schema_table::put_schema(b, &joined.schema);
    let room = (!joined.room.is_empty()).then(|| b.create_string(&joined.room));
    let token = (!joined.token.is_empty()).then(|| b.create_vector(&joined.token));
    let args = wire::JoinedArgs {
        member: joined.member.0,
        entity: joined.entity.0,
        tick: joined.tick.0,
        tick_us: joined.clock.tick_us,
        send_every: joined.clock.send_every,
        epoch_us: joined.clock.epoch.0,
        schema: Some(schema),
        room,
        token,
        grace_ms: joined.grace_ms,
        recovered: joined.recovered,
        spectator: joined.spectator,
    };
    wire::Joined::create(b, &args)
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
                    scale_q16: sync.scale_q16(),
                })
            }),
            wire::ServerBody::Refused => {
                envelope.body_as_refused().map(decode_refused).transpose()?
            }
            wire::ServerBody::Left => envelope.body_as_left().map(decode_left).transpose()?,
            wire::ServerBody::Accepted => {
                envelope.body_as_accepted().map(decode_accepted).transpose()?
            }
            wire::ServerBody::GoAway => envelope
                .body_as_go_away()
                .map(|go_away| Self::GoAway { retry_ms: go_away.retry_ms() }),
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
            ack_op: OpId(delta.ack_op()),
            load_level: delta.load_level(),
        },
        chunks: delta.chunks().map(|chunks| chunks.bytes()).unwrap_or_default(),
    })
}

fn decode_refused(refused: wire::Refused<'_>) -> Result<ServerMessage<'_>, DecodeError> {
    Ok(ServerMessage::Refused(Refused {
        code: from_wire(&REFUSAL_CODES, refused.code(), "code")?,
        message: refused.message(),
        retry_ms: refused.retry_ms(),
        op: OpId(refused.op()),
    }))
}

fn decode_left(left: wire::Left<'_>) -> Result<ServerMessage<'_>, DecodeError> {
    let reason = from_wire(&LEAVE_REASONS, left.reason(), "reason")?;
    Ok(ServerMessage::Left(Left { reason, message: left.message().unwrap_or_default() }))
}

fn decode_accepted(accepted: wire::Accepted<'_>) -> Result<ServerMessage<'_>, DecodeError> {
    if accepted.entities().is_some_and(|ids| ids.len() > limits::SPAWNS_PER_WRITE_MAX) {
        return Err(DecodeError::TooLong("entities"));
    }
    let entities = accepted.entities().map(|ids| ids.iter().map(EntityId).collect());
    let entities: Vec<EntityId> = entities.unwrap_or_default();
    if entities.iter().any(|entity| entity.0 >= limits::ENTITY_ID_MAX) {
        return Err(DecodeError::OutOfRange("entities"));
    }
    let (op, tick) = (OpId(accepted.op()), Tick(accepted.tick()));
    Ok(ServerMessage::Accepted(Accepted { op, tick, entities }))
}

fn decode_joined(joined: wire::Joined<'_>) -> Result<Joined, DecodeError> {
    if joined.entity() >= limits::ENTITY_ID_MAX {
        return Err(DecodeError::OutOfRange("entity"));
    }
    let clock = RoomClock {
        epoch: Timestamp(joined.epoch_us()),
        tick_us: joined.tick_us(),
        send_every: joined.send_every(),
    };
    if clock.send_every == 0 {
        return Err(DecodeError::OutOfRange("clock"));
    }
    let token = joined.token().map(|token| token.bytes()).unwrap_or_default();
    let room = joined.room().unwrap_or_default();
    for (field, length, length_max) in [
        ("token", token.len(), limits::TOKEN_BYTES_MAX),
        ("room", room.len(), limits::NAME_BYTES_MAX),
    ] {
        if length > length_max {
            return Err(DecodeError::TooLong(field));
        }
    }
    Ok(Joined {
        member: MemberId(joined.member()),
        entity: EntityId(joined.entity()),
        clock,
        tick: Tick(joined.tick()),
        schema: schema_table::decode_schema(joined.schema())?,
        room: room.into(),
        token: token.into(),
        grace_ms: joined.grace_ms(),
        recovered: joined.recovered(),
        spectator: joined.spectator(),
    })
}

#[cfg(test)]
mod tests;
