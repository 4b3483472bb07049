//! Messages from client to server: FlatBuffers in, a closed enum out, and the way back.
//!
//! Decoding verifies the buffer once, within bounds that make the dearest message cheap, and
//! checks every length. What comes out borrows from the message and needs no further checks but
//! those that depend on the room.

mod seating;

use flatbuffers::{FlatBufferBuilder, Verifiable, VerifierOptions, WIPOffset};

use crate::close::CloseReason;
use crate::generated::wire;
use crate::ids::{InputSeq, MemberId, Moment, OpId, Tick, TopicId};
use crate::limits;

pub use seating::{Configure, Join, JoinMode, Kick, Resume};

/// One message of a client.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ClientMessage<'a> {
    /// Asks for a seat in a room.
    Join(Join<'a>),
    /// Gives the seat back; the connection stays and may join again.
    Leave,
    /// What the player does in one tick.
    Input(Input<'a>),
    /// Asks for the server's time.
    Ping {
        /// Echoed in the answer.
        client_us: u64,
    },
    /// Asks for a snapshot because the replica is of no use any more.
    Resync {
        /// The tick the replica had before it broke.
        have_tick: Tick,
        /// What broke it.
        reason: ResyncReason,
    },
    /// Changes the room's state.
    Write(Write<'a>),
    /// Says something to the room's members.
    Publish(Publish<'a>),
    /// Changes what a room is to newcomers, as its host.
    Configure(Configure<'a>),
    /// Sends a member away, as the room's host.
    Kick(Kick<'a>),
    /// Says where the member looks, in a room that does not send everybody everything.
    Interest(Interest),
    /// Says how the client keeps up.
    Report(Report),
    /// A kind of message this version does not know: ignored and counted.
    Unknown(u8),
}

/// What a player does in one tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Input<'a> {
    /// Ascending per member.
    pub seq: InputSeq,
    /// The last tick the client applied.
    pub applied_tick: Tick,
    /// The moment that the player saw when it acted; [`Moment::ZERO`] for the newest.
    pub seen: Moment,
    /// A packed row in the room's input layout.
    pub row: &'a [u8],
}

/// A change of the room's state: all of it happens, or nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Write<'a> {
    /// What the answer will name; [`OpId::NONE`] for no answer but a refusal.
    pub op: OpId,
    /// Unless [`Tick::ZERO`]: refuse it when something it touches changed after this tick.
    pub if_tick: Tick,
    /// The changes, in the grammar of [`crate::changes`].
    pub changes: &'a [u8],
}

/// Something said to the room's members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish<'a> {
    /// What the answer will name; [`OpId::NONE`] for no answer but a refusal.
    pub op: OpId,
    /// On which topic.
    pub topic: TopicId,
    /// To whom; to everybody when empty.
    pub to: Recipients<'a>,
    /// What, in bytes that only clients understand.
    pub body: &'a [u8],
}

/// The members a publication is for, as they lie in the message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recipients<'a> {
    /// Little-endian ids, two bytes each.
    bytes: &'a [u8],
}

impl<'a> Recipients<'a> {
    /// Writes `members` into `buffer`, from which the list borrows.
    pub fn put(members: &[MemberId], buffer: &'a mut Vec<u8>) -> Self {
        buffer.clear();
        buffer.extend(members.iter().flat_map(|member| member.0.to_le_bytes()));
        Self { bytes: buffer }
    }

    /// A list from its bytes, and back.
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether it is for everybody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The members named.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = MemberId> + DoubleEndedIterator {
        let ids = self.bytes.as_chunks::<2>().0;
        ids.iter().map(|id| MemberId(u16::from_le_bytes(*id)))
    }
}

/// Where a member looks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Interest {
    /// At its own entity, wherever that goes.
    Own,
    /// At a place, in the units of the room's positions; both are finite.
    At {
        /// Across.
        x: f32,
        /// Along.
        y: f32,
    },
}

/// How a client keeps up, once a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The last tick its picture shows.
    pub applied_tick: Tick,
    /// Whether nobody sees it: a page in the background.
    pub hidden: bool,
}

/// Why a replica broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResyncReason {
    /// A delta started from a tick the replica does not have.
    Gap,
    /// A delta could not be read.
    Malformed,
    /// The replica's hash was not the room's.
    HashMismatch,
}

/// Why bytes are not a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// The FlatBuffers verifier refused the buffer.
    #[error("not a valid FlatBuffers envelope")]
    Malformed,
    /// A field is longer than its limit.
    #[error("`{0}` exceeds its limit")]
    TooLong(&'static str),
    /// An enum holds a value this version does not know.
    #[error("`{0}` holds an unknown value")]
    OutOfRange(&'static str),
}

impl From<DecodeError> for CloseReason {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::Malformed => Self::MALFORMED,
            DecodeError::TooLong(_) => {
                Self::new(Self::TOO_LONG.code(), &format!("too-long: {error}"))
            }
            DecodeError::OutOfRange(_) => {
                Self::new(Self::OUT_OF_RANGE.code(), &format!("out-of-range: {error}"))
            }
        }
    }
}

/// Bounds for the verifier: they cap the work a crafted buffer can cause, which the library's
/// defaults do not.
const VERIFIER: VerifierOptions = VerifierOptions {
    max_depth: limits::TABLE_DEPTH_MAX,
    max_tables: limits::CLIENT_TABLES_MAX,
    max_apparent_size: limits::CLIENT_MESSAGE_BYTES_MAX + limits::APPARENT_SLACK_BYTES,
    ignore_missing_null_terminator: false,
};

impl<'a> ClientMessage<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// What is wrong with the bytes, as a [`DecodeError`] that converts to a [`CloseReason`].
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let envelope = verified::<wire::ClientEnvelope<'_>>(bytes, &VERIFIER)?;
        let tag = envelope.body_type();
        let message = match tag {
            wire::ClientBody::Join => {
                envelope.body_as_join().map(seating::decode_join).transpose()?
            }
            wire::ClientBody::Leave => Some(Self::Leave),
            wire::ClientBody::Input => envelope.body_as_input().map(decode_input).transpose()?,
            wire::ClientBody::Ping => {
                envelope.body_as_ping().map(|ping| Self::Ping { client_us: ping.client_us() })
            }
            wire::ClientBody::Resync => envelope.body_as_resync().map(decode_resync).transpose()?,
            wire::ClientBody::Write => envelope.body_as_write().map(|write| {
                Self::Write(Write {
                    op: OpId(write.op()),
                    if_tick: Tick(write.if_tick()),
                    changes: write.changes().map(|changes| changes.bytes()).unwrap_or_default(),
                })
            }),
            wire::ClientBody::Publish => {
                envelope.body_as_publish().map(decode_publish).transpose()?
            }
            wire::ClientBody::Configure => {
                envelope.body_as_configure().map(seating::decode_configure).transpose()?
            }
            wire::ClientBody::Kick => {
                envelope.body_as_kick().map(seating::decode_kick).transpose()?
            }
            wire::ClientBody::Interest => {
                envelope.body_as_interest().map(decode_interest).transpose()?
            }
            wire::ClientBody::Report => envelope.body_as_report().map(|report| {
                let applied_tick = Tick(report.applied_tick());
                Self::Report(Report { applied_tick, hidden: report.hidden() })
            }),
            // "No union": a kind that no version has, whatever the bytes behind it.
            wire::ClientBody::NONE => None,
            // A newer client's message; its bytes were not looked into.
            unknown => Some(Self::Unknown(unknown.0)),
        };
        message.ok_or(DecodeError::Malformed)
    }
}

fn decode_input(input: wire::Input<'_>) -> Result<ClientMessage<'_>, DecodeError> {
    let row = input.row().map(|row| row.bytes()).unwrap_or_default();
    if row.len() > limits::INPUT_ROW_BYTES_MAX {
        return Err(DecodeError::TooLong("row"));
    }
    let applied_tick = Tick(input.applied_tick());
    let (seq, seen) = (InputSeq(input.seq()), Moment(input.render_q8()));
    Ok(ClientMessage::Input(Input { seq, applied_tick, seen, row }))
}

fn decode_resync(resync: wire::Resync<'_>) -> Result<ClientMessage<'_>, DecodeError> {
    let reason = match resync.reason() {
        wire::ResyncReason::Gap => ResyncReason::Gap,
        wire::ResyncReason::Malformed => ResyncReason::Malformed,
        wire::ResyncReason::HashMismatch => ResyncReason::HashMismatch,
        _ => return Err(DecodeError::OutOfRange("reason")),
    };
    Ok(ClientMessage::Resync { have_tick: Tick(resync.have_tick()), reason })
}

fn decode_publish(publish: wire::Publish<'_>) -> Result<ClientMessage<'_>, DecodeError> {
    let to = publish.to().map(|to| to.bytes()).unwrap_or_default();
    let body = publish.body().map(|body| body.bytes()).unwrap_or_default();
    if to.len() / 2 > limits::RECIPIENTS_MAX {
        return Err(DecodeError::TooLong("to"));
    }
    if body.len() > limits::EVENT_BYTES_MAX {
        return Err(DecodeError::TooLong("body"));
    }
    let (op, topic) = (OpId(publish.op()), TopicId(publish.topic()));
    Ok(ClientMessage::Publish(Publish { op, topic, to: Recipients { bytes: to }, body }))
}

fn decode_interest(interest: wire::Interest<'_>) -> Result<ClientMessage<'_>, DecodeError> {
    let (x, y) = (interest.x(), interest.y());
    if interest.own() {
        return Ok(ClientMessage::Interest(Interest::Own));
    }
    for (field, value) in [("x", x), ("y", y)] {
        if !value.is_finite() {
            return Err(DecodeError::OutOfRange(field));
        }
    }
    Ok(ClientMessage::Interest(Interest::At { x, y }))
}

/// The wire's word for a value; the table lists every variant.
pub(crate) fn to_wire<A: Copy + PartialEq, B: Copy>(table: &[(A, B)], value: A) -> B {
    table.iter().find(|(ours, _)| *ours == value).expect("the table lists every variant").1
}

/// Verifies `bytes` as a buffer whose root is a `T`, within the bounds of `options`.
pub(crate) fn verified<'a, T>(
    bytes: &'a [u8],
    options: &VerifierOptions,
) -> Result<T::Inner, DecodeError>
where
    T: flatbuffers::Follow<'a> + Verifiable + 'a,
{
    flatbuffers::root_with_opts::<T>(options, bytes).map_err(|_| DecodeError::Malformed)
}

/// Writes messages of a client. One per connection or thread; its buffer is reused.
#[derive(Default)]
pub struct ClientEncoder {
    builder: FlatBufferBuilder<'static>,
}

impl ClientEncoder {
    /// Encodes any message a client can send. [`ClientMessage::Unknown`] becomes an envelope
    /// with that tag and an empty table, as a newer version would look.
    pub fn encode(&mut self, message: ClientMessage<'_>) -> &[u8] {
        let b = &mut self.builder;
        b.reset();
        let (body_type, body) = match message {
            ClientMessage::Join(join) => {
                (wire::ClientBody::Join, seating::put_join(b, &join).as_union_value())
            }
            ClientMessage::Leave => {
                let leave = wire::Leave::create(b, &wire::LeaveArgs {});
                (wire::ClientBody::Leave, leave.as_union_value())
            }
            ClientMessage::Input(input) => {
                let args = wire::InputArgs {
                    seq: input.seq.0,
                    applied_tick: input.applied_tick.0,
                    row: Some(b.create_vector(input.row)),
                    render_q8: input.seen.0,
                };
                (wire::ClientBody::Input, wire::Input::create(b, &args).as_union_value())
            }
            ClientMessage::Ping { client_us } => {
                let ping = wire::Ping::create(b, &wire::PingArgs { client_us });
                (wire::ClientBody::Ping, ping.as_union_value())
            }
            ClientMessage::Resync { have_tick, reason } => {
                let reason = match reason {
                    ResyncReason::Gap => wire::ResyncReason::Gap,
                    ResyncReason::Malformed => wire::ResyncReason::Malformed,
                    ResyncReason::HashMismatch => wire::ResyncReason::HashMismatch,
                };
                let args = wire::ResyncArgs { have_tick: have_tick.0, reason };
                (wire::ClientBody::Resync, wire::Resync::create(b, &args).as_union_value())
            }
            ClientMessage::Write(write) => {
                let args = wire::WriteArgs {
                    op: write.op.0,
                    if_tick: write.if_tick.0,
                    changes: Some(b.create_vector(write.changes)),
                };
                (wire::ClientBody::Write, wire::Write::create(b, &args).as_union_value())
            }
            ClientMessage::Publish(publish) => {
                (wire::ClientBody::Publish, put_publish(b, &publish).as_union_value())
            }
            ClientMessage::Configure(configure) => {
                let configure = seating::put_configure(b, &configure);
                (wire::ClientBody::Configure, configure.as_union_value())
            }
            ClientMessage::Kick(kick) => {
                (wire::ClientBody::Kick, seating::put_kick(b, &kick).as_union_value())
            }
            ClientMessage::Interest(interest) => {
                let args = match interest {
                    Interest::Own => wire::InterestArgs { own: true, ..Default::default() },
                    Interest::At { x, y } => wire::InterestArgs { x, y, own: false },
                };
                (wire::ClientBody::Interest, wire::Interest::create(b, &args).as_union_value())
            }
            ClientMessage::Report(Report { applied_tick, hidden }) => {
                let args = wire::ReportArgs { applied_tick: applied_tick.0, hidden };
                (wire::ClientBody::Report, wire::Report::create(b, &args).as_union_value())
            }
            ClientMessage::Unknown(tag) => {
                let empty = wire::Leave::create(b, &wire::LeaveArgs {});
                (wire::ClientBody(tag), empty.as_union_value())
            }
        };
        let args = wire::ClientEnvelopeArgs { body_type, body: Some(body) };
        let envelope = wire::ClientEnvelope::create(b, &args);
        b.finish_minimal(envelope);
        b.finished_data()
    }
}

fn put_publish(
    b: &mut FlatBufferBuilder<'static>,
    publish: &Publish<'_>,
) -> WIPOffset<wire::Publish<'static>> {
    let to = publish.to;
    let args = wire::PublishArgs {
        op: publish.op.0,
        topic: publish.topic.0,
        to: (!to.is_empty()).then(|| b.create_vector_from_iter(to.iter().map(|member| member.0))),
        body: Some(b.create_vector(publish.body)),
    };
    wire::Publish::create(b, &args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives() {
        let mut to = Vec::new();
        let to = Recipients::put(&[MemberId(1), MemberId(u16::MAX)], &mut to);
        let body = b"hi";
        let messages = [
            ClientMessage::Join(Join {
                room_type: "arena",
                room: "a",
                name: "né",
                options: &[1],
                ..Join::default()
            }),
            ClientMessage::Join(Join {
                room_type: "arena",
                mode: JoinMode::Create,
                spectate: true,
                password: "open sesame",
                seat: &[1; 32],
                metadata: &[1, b'k', 2, 0],
                filter: &[1, b'k', 1, 0],
                resume: Some(Resume {
                    member: MemberId(7),
                    token: &[9; 32],
                    tick: Tick(3),
                    events_from: 4,
                    private_from: 5,
                }),
                ..Join::default()
            }),
            ClientMessage::Configure(Configure::default()),
            ClientMessage::Configure(Configure {
                op: OpId(1),
                locked: Some(true),
                listed: Some(false),
                password: Some(""),
                metadata: Some(&[0]),
            }),
            ClientMessage::Kick(Kick { op: OpId(2), member: MemberId(9), message: "bye" }),
            ClientMessage::Interest(Interest::Own),
            ClientMessage::Interest(Interest::At { x: -1.5, y: 2.0 }),
            ClientMessage::Report(Report { applied_tick: Tick(8), hidden: true }),
            ClientMessage::Leave,
            ClientMessage::Input(Input {
                seq: InputSeq(9),
                applied_tick: Tick(3),
                seen: Moment(1_000),
                row: &[1, 2, 3, 4],
            }),
            ClientMessage::Ping { client_us: u64::MAX },
            ClientMessage::Resync { have_tick: Tick(7), reason: ResyncReason::HashMismatch },
            ClientMessage::Write(Write { op: OpId(4), if_tick: Tick(8), changes: &[0, 0] }),
            ClientMessage::Publish(Publish { op: OpId(1), topic: TopicId(3), to, body }),
            ClientMessage::Publish(Publish {
                op: OpId::NONE,
                topic: TopicId(0),
                to: Recipients::default(),
                body,
            }),
            ClientMessage::Unknown(200),
        ];
        let mut encoder = ClientEncoder::default();
        for message in messages {
            let bytes = encoder.encode(message).to_vec();
            assert_eq!(ClientMessage::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn a_message_of_no_kind_is_malformed() {
        let mut bytes = ClientEncoder::default().encode(ClientMessage::Unknown(200)).to_vec();
        let tag_at = bytes.iter().position(|&byte| byte == 200).expect("the tag");
        bytes[tag_at] = 0;
        assert_eq!(ClientMessage::decode(&bytes), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_message_of_exactly_the_limit_is_looked_into() {
        let mut encoder = ClientEncoder::default();
        let mut encode = |options: &[u8]| {
            let join = Join { room_type: "t", room: "r", name: "n", options, ..Join::default() };
            encoder.encode(ClientMessage::Join(join)).to_vec()
        };
        let rest = encode(&[0; 4]).len() - 4;
        let bytes = encode(&vec![0; limits::CLIENT_MESSAGE_BYTES_MAX - rest]);
        assert_eq!(bytes.len(), limits::CLIENT_MESSAGE_BYTES_MAX);
        assert_eq!(ClientMessage::decode(&bytes), Err(DecodeError::TooLong("options")));
    }

    #[test]
    fn a_camera_without_a_place_is_out_of_range() {
        for (x, y, field) in [(f32::NAN, 0.0, "x"), (0.0, f32::INFINITY, "y")] {
            let message = ClientMessage::Interest(Interest::At { x, y });
            let bytes = ClientEncoder::default().encode(message).to_vec();
            assert_eq!(ClientMessage::decode(&bytes), Err(DecodeError::OutOfRange(field)));
        }
    }

    #[test]
    fn fields_over_their_limits_name_the_field() {
        let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
        let options = vec![0; limits::JOIN_OPTIONS_BYTES_MAX + 1];
        let join = Join { room_type: "t", room: "r", name: "n", ..Join::default() };
        let token = [0; limits::TOKEN_BYTES_MAX + 1];
        let metadata = [0; limits::METADATA_BYTES_MAX + 1];
        let password = "x".repeat(limits::PASSWORD_BYTES_MAX + 1);
        let resume = Some(Resume { token: &token, ..Resume::default() });
        let configure = Configure::default();
        let row = [0; limits::INPUT_ROW_BYTES_MAX + 1];
        let (seq, applied_tick) = (InputSeq(1), Tick(1));
        let input = Input { seq, applied_tick, seen: Moment::ZERO, row: &row };
        let (op, topic, mut buffer) = (OpId::NONE, TopicId(0), Vec::new());
        let to = Recipients::put(&[MemberId(1); limits::RECIPIENTS_MAX + 1], &mut buffer);
        let body = vec![0; limits::EVENT_BYTES_MAX + 1];
        for (message, field) in [
            (ClientMessage::Join(Join { room_type: &long, ..join }), "room_type"),
            (ClientMessage::Join(Join { room: &long, ..join }), "room"),
            (ClientMessage::Join(Join { name: &long, ..join }), "name"),
            (ClientMessage::Join(Join { options: &options, ..join }), "options"),
            (ClientMessage::Join(Join { password: &password, ..join }), "password"),
            (ClientMessage::Join(Join { seat: &token, ..join }), "seat"),
            (ClientMessage::Join(Join { metadata: &metadata, ..join }), "metadata"),
            (ClientMessage::Join(Join { filter: &metadata, ..join }), "filter"),
            (ClientMessage::Join(Join { resume, ..join }), "token"),
            (
                ClientMessage::Configure(Configure { password: Some(&password), ..configure }),
                "password",
            ),
            (
                ClientMessage::Configure(Configure { metadata: Some(&metadata), ..configure }),
                "metadata",
            ),
            (ClientMessage::Kick(Kick { op, member: MemberId(1), message: &password }), "message"),
            (ClientMessage::Input(input), "row"),
            (ClientMessage::Publish(Publish { op, topic, to, body: &[] }), "to"),
            (
                ClientMessage::Publish(Publish {
                    op,
                    topic,
                    to: Recipients::default(),
                    body: &body,
                }),
                "body",
            ),
        ] {
            let bytes = ClientEncoder::default().encode(message).to_vec();
            assert_eq!(ClientMessage::decode(&bytes), Err(DecodeError::TooLong(field)));
        }
    }
}
