//! What a client keeps when its connection breaks, and comes back with.
//!
//! ```text
//! old Client --part()--> Returning { Ticket, Replica } --resume()--> new Client
//! ```
//!
//! A [`Ticket`] is enough to get the seat back; with the replica, what comes next is one catch-up
//! instead of a snapshot. Both are of the same moment, so that nothing is missed or heard twice.

use crate::client_message::{Join, Resume};
use crate::ids::{MemberId, Tick};
use crate::replica::Replica;

/// What brings a client back to its seat, once. It is a secret: whoever has it gets the seat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ticket {
    /// The room's type.
    pub room_type: Box<str>,
    /// The room's name.
    pub room: Box<str>,
    /// What the member called itself when it joined; with another name the token is wrong.
    pub name: Box<str>,
    /// The seat.
    pub member: MemberId,
    /// What proves that it was its own.
    pub token: Box<[u8]>,
    /// The tick of its replica; [`Tick::ZERO`] without one, and then a snapshot comes.
    pub tick: Tick,
    /// The number of the first event said to everybody that it has not heard; 0 when it has heard
    /// of none.
    pub events_from: u64,
    /// The same for those said to it alone.
    pub private_from: u64,
}

impl Ticket {
    /// The join that asks for the seat, and for any other one if that is gone.
    #[must_use]
    pub fn join(&self) -> Join<'_> {
        let (room_type, room, name) = (&self.room_type, &self.room, &self.name);
        Join { room_type, room, name, resume: Some(self.resume()), ..Join::default() }
    }

    /// What says in a `Join` which seat it was.
    #[must_use]
    pub fn resume(&self) -> Resume<'_> {
        let Self { member, ref token, tick, events_from, private_from, .. } = *self;
        Resume { member, token, tick, events_from, private_from }
    }
}

/// A client between two connections.
#[derive(Debug)]
pub struct Returning {
    /// What brings it back.
    pub ticket: Ticket,
    /// What it knows, as of the ticket's tick.
    pub(crate) replica: Option<Replica>,
}

/// A client that kept its ticket and nothing else, such as a page that was loaded again.
impl From<Ticket> for Returning {
    fn from(ticket: Ticket) -> Self {
        Self { ticket: Ticket { tick: Tick::ZERO, ..ticket }, replica: None }
    }
}
