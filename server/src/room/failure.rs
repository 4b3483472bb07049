//! Why a room cannot go on, and how its logic's panics are kept from everybody else.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tickloom_protocol::ids::MemberId;

use crate::room::broadcast::Oversized;

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
    /// The input it happened on, if it was one: whose, and the row.
    pub input: Option<(MemberId, Box<[u8]>)>,
}

impl std::error::Error for Panicked {}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the room's logic panicked: {}", self.message)?;
        if let Some((member, row)) = &self.input {
            write!(f, " (on the input {row:02x?} of member {})", member.0)?;
        }
        Ok(())
    }
}

/// Calls a room's logic and catches its panic. The caller never calls that logic again: nothing
/// of it or of the state it changed is looked at afterwards, so it does not matter how far it got.
pub(super) fn guard<T>(call: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(call))
        .map_err(|panic| Panicked { message: message_of(&*panic), input: None })
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    // Long enough for any message a person wrote, short enough for a log line.
    text.unwrap_or("no message").chars().take(200).collect()
}
