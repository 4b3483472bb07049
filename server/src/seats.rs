//! Seats that another program has kept for its users: what the HTTP thread asks a shard, and what
//! it is answered.
//!
//! ```text
//! POST /api/seats --Mail::Reserve--> the room's shard --oneshot: tokens, or why not--> answer
//! ```
//!
//! The shard never waits: it answers once, into a place of its own for each question, and if
//! nobody listens any more the seats are free again when their time is over.

use tickloom_protocol::ids::RoomKey;
use tokio::sync::oneshot;

use crate::room::write::Refusal;
use crate::session::PendingJoin;
use crate::tokens::Token;

/// Seats that one question may ask for.
pub const SEATS_MAX: usize = 100;

/// Which seats to keep.
#[derive(Clone, PartialEq, Debug)]
pub struct SeatsWanted {
    /// In which room, which may have to be made. Its member's name is of no use.
    pub room: PendingJoin,
    /// How their members will be called, one each; empty to leave that to the member.
    pub names: Vec<Box<str>>,
}

/// Seats that are kept.
#[derive(Clone, Debug)]
pub struct SeatsKept {
    /// In which room.
    pub room: RoomKey,
    /// What to show for each, in the order of the names.
    pub tokens: Vec<Token>,
}

/// What a shard says.
pub type SeatsAnswer = Result<SeatsKept, Refusal>;

/// A question on its way to a shard.
#[derive(Debug)]
pub struct Reserve {
    /// What is asked.
    pub wanted: SeatsWanted,
    answer: oneshot::Sender<SeatsAnswer>,
}

impl Reserve {
    /// A question, and where its answer will be.
    #[must_use]
    pub fn new(wanted: SeatsWanted) -> (Self, oneshot::Receiver<SeatsAnswer>) {
        let (answer, receiver) = oneshot::channel();
        (Self { wanted, answer }, receiver)
    }

    /// Answers it. Whoever asked may be gone.
    pub(crate) fn answer(self, answer: SeatsAnswer) {
        let _ = self.answer.send(answer);
    }
}
