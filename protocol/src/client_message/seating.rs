//! Messages about seats: asking for one, coming back to one, and what a host does with a room.

use flatbuffers::{FlatBufferBuilder, WIPOffset};

use super::{ClientMessage, DecodeError};
use crate::generated::wire;
use crate::ids::{MemberId, OpId, Tick};
use crate::limits;

/// Which room a client asks for, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Join<'a> {
    /// The registered room type.
    pub room_type: &'a str,
    /// The room's name. When it is empty the server finds or names one.
    pub room: &'a str,
    /// What the member wants to be called.
    pub name: &'a str,
    /// Bytes for the room's logic.
    pub options: &'a [u8],
    /// Whether the room may or must exist.
    pub mode: JoinMode,
    /// Whether only to watch.
    pub spectate: bool,
    /// The password of a private room; that of a new one, when it is made.
    pub password: &'a str,
    /// A token for a reserved seat; empty without one.
    pub seat: &'a [u8],
    /// What a new room says of itself: properties in the grammar of [`crate::chunks`].
    pub metadata: &'a [u8],
    /// What the metadata of a room must hold when the server finds one; the same grammar.
    pub filter: &'a [u8],
    /// What to come back to.
    pub resume: Option<Resume<'a>>,
}

/// Whether the room that is asked for may or must exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum JoinMode {
    /// It is made when it does not.
    #[default]
    JoinOrCreate,
    /// It must not, and is made.
    Create,
    /// It must.
    Join,
}

/// What a client had when its connection broke.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Resume<'a> {
    /// The seat.
    pub member: MemberId,
    /// The token that came with the seat, or with the last resume.
    pub token: &'a [u8],
    /// The tick of its replica; [`Tick::ZERO`] asks for a snapshot.
    pub tick: Tick,
    /// The number of the first event said to everybody that it has not heard.
    pub events_from: u64,
    /// The same for those said to it alone.
    pub private_from: u64,
}

/// What a host changes about its room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Configure<'a> {
    /// What the answer will name; [`OpId::NONE`] for no answer but a refusal.
    pub op: OpId,
    /// Whether nobody else may join.
    pub locked: Option<bool>,
    /// Whether the room is found by those who do not know its name.
    pub listed: Option<bool>,
    /// The password newcomers must know; empty for none.
    pub password: Option<&'a str>,
    /// What the room says of itself: properties in the grammar of [`crate::chunks`].
    pub metadata: Option<&'a [u8]>,
}

/// A member that a host sends away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kick<'a> {
    /// What the answer will name; [`OpId::NONE`] for no answer but a refusal.
    pub op: OpId,
    /// Whom.
    pub member: MemberId,
    /// Why, for people.
    pub message: &'a str,
}

type Builder = FlatBufferBuilder<'static>;

const MODES: [(JoinMode, wire::JoinMode); 3] = [
    (JoinMode::JoinOrCreate, wire::JoinMode::JoinOrCreate),
    (JoinMode::Create, wire::JoinMode::Create),
    (JoinMode::Join, wire::JoinMode::Join),
];

const SWITCHES: [(Option<bool>, wire::Switch); 3] =
    [(None, wire::Switch::Keep), (Some(false), wire::Switch::Off), (Some(true), wire::Switch::On)];

/// Refuses the first field that is longer than it may be.
fn check(lengths: &[(&'static str, usize, usize)]) -> Result<(), DecodeError> {
    let long = lengths.iter().find(|(_, length, length_max)| length > length_max);
    long.map_or(Ok(()), |(field, ..)| Err(DecodeError::TooLong(field)))
}

pub(super) fn decode_join(join: wire::Join<'_>) -> Result<ClientMessage<'_>, DecodeError> {
    let mode = MODES.iter().find(|(_, mode)| *mode == join.mode());
    let join = Join {
        room_type: join.room_type(),
        room: join.room(),
        name: join.name().unwrap_or_default(),
        options: join.options().map(|options| options.bytes()).unwrap_or_default(),
        mode: mode.ok_or(DecodeError::OutOfRange("mode"))?.0,
        spectate: join.spectate(),
        password: join.password().unwrap_or_default(),
        seat: join.seat().map(|seat| seat.bytes()).unwrap_or_default(),
        metadata: join.metadata().map(|metadata| metadata.bytes()).unwrap_or_default(),
        filter: join.filter().map(|filter| filter.bytes()).unwrap_or_default(),
        resume: join.resume().map(decode_resume),
    };
    check(&[
        ("room_type", join.room_type.len(), limits::NAME_BYTES_MAX),
        ("room", join.room.len(), limits::NAME_BYTES_MAX),
        ("name", join.name.len(), limits::NAME_BYTES_MAX),
        ("options", join.options.len(), limits::JOIN_OPTIONS_BYTES_MAX),
        ("password", join.password.len(), limits::PASSWORD_BYTES_MAX),
        ("seat", join.seat.len(), limits::TOKEN_BYTES_MAX),
        ("metadata", join.metadata.len(), limits::METADATA_BYTES_MAX),
        ("filter", join.filter.len(), limits::METADATA_BYTES_MAX),
        ("token", join.resume.map_or(0, |resume| resume.token.len()), limits::TOKEN_BYTES_MAX),
    ])?;
    Ok(ClientMessage::Join(join))
}

fn decode_resume(resume: wire::Resume<'_>) -> Resume<'_> {
    Resume {
        member: MemberId(resume.member()),
        token: resume.token().map(|token| token.bytes()).unwrap_or_default(),
        tick: Tick(resume.tick()),
        events_from: resume.events_from(),
        private_from: resume.private_from(),
    }
}

pub(super) fn decode_configure(
    configure: wire::Configure<'_>,
) -> Result<ClientMessage<'_>, DecodeError> {
    let switch = |field, switch| {
        let found = SWITCHES.iter().find(|(_, known)| *known == switch);
        found.map(|(state, _)| *state).ok_or(DecodeError::OutOfRange(field))
    };
    let configure = Configure {
        op: OpId(configure.op()),
        locked: switch("locked", configure.locked())?,
        listed: switch("listed", configure.listed())?,
        password: configure.password(),
        metadata: configure.metadata().map(|metadata| metadata.bytes()),
    };
    check(&[
        ("password", configure.password.map_or(0, str::len), limits::PASSWORD_BYTES_MAX),
        ("metadata", configure.metadata.map_or(0, <[u8]>::len), limits::METADATA_BYTES_MAX),
    ])?;
    Ok(ClientMessage::Configure(configure))
}

pub(super) fn decode_kick(kick: wire::Kick<'_>) -> Result<ClientMessage<'_>, DecodeError> {
    let message = kick.message().unwrap_or_default();
    check(&[("message", message.len(), limits::CLOSE_REASON_BYTES_MAX)])?;
    let (op, member) = (OpId(kick.op()), MemberId(kick.member()));
    Ok(ClientMessage::Kick(Kick { op, member, message }))
}

pub(super) fn put_join(b: &mut Builder, join: &Join<'_>) -> WIPOffset<wire::Join<'static>> {
    let resume = join.resume.map(|resume| {
        let args = wire::ResumeArgs {
            member: resume.member.0,
            token: Some(b.create_vector(resume.token)),
            tick: resume.tick.0,
            events_from: resume.events_from,
            private_from: resume.private_from,
        };
        wire::Resume::create(b, &args)
    });
    let mut some = |bytes: &[u8]| (!bytes.is_empty()).then(|| b.create_vector(bytes));
    let (seat, metadata, filter) = (some(join.seat), some(join.metadata), some(join.filter));
    let password = (!join.password.is_empty()).then(|| b.create_string(join.password));
    let args = wire::JoinArgs {
        room_type: Some(b.create_string(join.room_type)),
        room: Some(b.create_string(join.room)),
        name: Some(b.create_string(join.name)),
        options: Some(b.create_vector(join.options)),
        mode: super::to_wire(&MODES, join.mode),
        spectate: join.spectate,
        password,
        seat,
        metadata,
        filter,
        resume,
    };
    wire::Join::create(b, &args)
}

pub(super) fn put_configure(
    b: &mut Builder,
    configure: &Configure<'_>,
) -> WIPOffset<wire::Configure<'static>> {
    let args = wire::ConfigureArgs {
        op: configure.op.0,
        locked: super::to_wire(&SWITCHES, configure.locked),
        listed: super::to_wire(&SWITCHES, configure.listed),
        password: configure.password.map(|password| b.create_string(password)),
        metadata: configure.metadata.map(|metadata| b.create_vector(metadata)),
    };
    wire::Configure::create(b, &args)
}

pub(super) fn put_kick(b: &mut Builder, kick: &Kick<'_>) -> WIPOffset<wire::Kick<'static>> {
    let message = Some(b.create_string(kick.message));
    let args = wire::KickArgs { op: kick.op.0, member: kick.member.0, message };
    wire::Kick::create(b, &args)
}
