//! Why a room cannot go on, how its logic's panics are kept from everybody else, and what is kept
//! of them.
//!
//! A [`FailureRecord`] says which call of the logic panicked, with the bytes a client sent for it,
//! in which room and tick and under which seed: enough to write the test that fails. It holds what
//! players wrote and how they are called, so whoever keeps it keeps that.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tickloom_protocol::client_message::{Configure, Kick, Publish};
use tickloom_protocol::ids::{MemberId, RoomKey, Tick};
use tickloom_protocol::schema::RoomSchema;

use crate::room::broadcast::Oversized;
use crate::room::logic::Joiner;

/// Bytes kept of what a client sent: any input and most messages, and few enough for a log of
/// failures that nobody reads for a year.
const BYTES_MAX: usize = 4 * 1024;

/// Bytes of them that a log line shows: any input.
const SHOWN_BYTES_MAX: usize = 32;

/// Why a room cannot go on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// Its members cannot be told its state.
    #[error(transparent)]
    Oversized(#[from] Oversized),
    /// Its logic panicked, and what it left behind is nobody's.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// A panic of a room's logic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Panicked {
    /// What the panic said.
    pub message: String,
    /// Which function of the logic panicked, such as `on_input`.
    pub hook: &'static str,
    /// For whom it was called; nobody in `on_create` and `on_tick`.
    pub member: Option<MemberId>,
    /// The name of whoever joined, or of the topic; otherwise empty.
    pub name: Box<str>,
    /// The first 4,096 bytes of the input row, the join options, the changes of the write or the
    /// body of the publication.
    pub bytes: Box<[u8]>,
    /// How many bytes there were.
    pub bytes_count: usize,
}

/// A panic with its circumstances, as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailureRecord {
    /// Which room.
    pub room: RoomKey,
    /// The seed of the room's randomness.
    pub seed: u64,
    /// The tick under construction.
    pub tick: Tick,
    /// Its members then.
    pub members_count: usize,
    /// What happened.
    pub panicked: Panicked,
}

impl std::error::Error for Panicked {}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the room's logic panicked in {}: {}", self.hook, self.message)?;
        if let Some(member) = self.member {
            write!(f, " (member {}", member.0)?;
            if !self.name.is_empty() {
                write!(f, ", {:?}", self.name)?;
            }
            if !self.bytes.is_empty() {
                let shown = &self.bytes[..self.bytes.len().min(SHOWN_BYTES_MAX)];
                write!(f, ", {} bytes: {shown:02x?}", self.bytes_count)?;
            }
            write!(f, ")")?;
        }
        Ok(())
    }
}

impl Panicked {
    pub(super) fn new(message: String, call: Call<'_>, schema: &RoomSchema) -> Self {
        let (hook, member, name, bytes): (_, _, &str, &[u8]) = match call {
            Call::Create => ("on_create", None, "", &[]),
            Call::Join(joiner) => ("on_join", Some(joiner.member), joiner.name, joiner.options),
            Call::Spectate(joiner) => {
                ("on_spectate", Some(joiner.member), joiner.name, joiner.options)
            }
            Call::Input(member, row) => ("on_input", Some(member), "", row),
            Call::Write(member, changes) => ("on_write", Some(member), "", changes),
            Call::Publish(member, publish) => {
                let topic = schema.topics().get(publish.topic.index());
                let name = topic.map_or("", |topic| &topic.name);
                ("on_publish", Some(member), name, publish.body)
            }
            Call::Configure(member, configure) => {
                ("on_configure", Some(member), "", configure.metadata.unwrap_or_default())
            }
            Call::Kick(member, kick) => ("on_kick", Some(member), kick.message, &[]),
            Call::Host(host) => ("on_host", host, "", &[]),
            Call::Tick => ("on_tick", None, "", &[]),
            Call::Drop(member) => ("on_drop", Some(member), "", &[]),
            Call::Return(member) => ("on_return", Some(member), "", &[]),
            Call::Leave(member) => ("on_leave", Some(member), "", &[]),
        };
        Self {
            message,
            hook,
            member,
            name: name.into(),
            bytes: bytes[..bytes.len().min(BYTES_MAX)].into(),
            bytes_count: bytes.len(),
        }
    }
}

/// What a room's logic is called for. Costs a few words per call: what is in it is copied only
/// when the call panics.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call<'a> {
    Create,
    Join(&'a Joiner<'a>),
    Spectate(&'a Joiner<'a>),
    Input(MemberId, &'a [u8]),
    Write(MemberId, &'a [u8]),
    Publish(MemberId, &'a Publish<'a>),
    Configure(MemberId, &'a Configure<'a>),
    Kick(MemberId, &'a Kick<'a>),
    Host(Option<MemberId>),
    Tick,
    Drop(MemberId),
    Return(MemberId),
    Leave(MemberId),
}

/// Calls a room's logic and catches its panic, whose message it returns. The caller never calls
/// that logic again: nothing of it or of the state it changed is looked at afterwards, so it does
/// not matter how far it got.
pub(super) fn guard<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| message_of(&*panic))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    // Long enough for any message a person wrote, short enough for a log line.
    text.unwrap_or("no message").chars().take(200).collect()
}
