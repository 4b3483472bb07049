//! Virtual clients: what a driver calls, whatever the clients do.
//!
//! ```text
//! room   a player in a room: replica, inputs, the age of state
//! echo   a sender of messages that come back, to itself or to everybody
//! ```

mod echo;
mod room;

use serde::{Deserialize, Serialize};
use tickloom_protocol::ids::Tick;
use tickloom_protocol::time::Timestamp;

pub use echo::EchoClient;
pub use room::{AGE_SAMPLE_US, RoomClient};

use crate::plan::{Plan, Url};
use crate::tally::{Tally, Window};

/// How late something may be sent before it is left out and counted instead.
const LATE_US_MAX: u64 = 1_000_000;

/// Unsent bytes past which sends are left out and counted: the server has stopped reading.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// What distinguishes one client from another.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// What all clients are to do.
    pub plan: &'a Plan,
    /// The server.
    pub url: &'a Url,
    /// The client's number in the run.
    pub index: u32,
    /// When all schedules begin.
    pub start: Timestamp,
    /// The server's clock minus ours, in microseconds; 0 on one machine.
    pub clock_offset_us: i64,
}

/// What a client is called with: the moment, and where its numbers go.
pub struct Turn<'a> {
    /// The moment.
    pub now: Timestamp,
    /// What counts.
    pub window: Window,
    /// Where it is counted.
    pub tally: &'a mut Tally,
}

/// How far a client is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// The request is on its way, or the TCP connection before it.
    Upgrading,
    /// `Join` is sent; the seat or the first snapshot is missing.
    Joining,
    /// It does what it is there for.
    Playing,
    /// We sent a close; the answer is missing.
    Closing,
    /// Nothing follows.
    Ended,
}

/// What a client had of its room's ticks inside the window, for `reach`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ledger {
    /// The number of its room.
    pub room: u32,
    /// Ticks from one send to the next.
    pub send_every: u8,
    /// The tick it had when measuring began.
    #[serde(with = "TickNumber")]
    pub first: Tick,
    /// The newest tick it had, as of the window's end.
    #[serde(with = "TickNumber")]
    pub last: Tick,
    /// Sends between the two that never became state.
    pub lost: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Tick")]
struct TickNumber(u32);

/// One virtual client.
///
/// Contract: after every `handle_*` the caller writes [`Client::output_mut`] before it sleeps.
pub trait Client: Send {
    /// A client that begins to connect at `now`. Its request is in the output.
    fn new(setup: &Setup<'_>, now: Timestamp) -> Self;

    /// Takes in bytes that arrived.
    fn handle_bytes(&mut self, bytes: &[u8], turn: &mut Turn<'_>);

    /// Sends everything that is due.
    fn handle_timer(&mut self, turn: &mut Turn<'_>);

    /// The socket ended: the server closed it, or `error` says what happened.
    fn handle_disconnect(&mut self, error: &str, turn: &mut Turn<'_>);

    /// Sends a close frame; what the server says after that is not counted.
    fn handle_stop(&mut self);

    /// A second ends at `turn.now`: what goes on belongs to it up to then.
    fn handle_second(&mut self, turn: &mut Turn<'_>);

    /// Closes the books at the end of the run. Only clients of rooms have a ledger, and only
    /// when they had state in the window.
    fn finish(&mut self, turn: &mut Turn<'_>) -> Option<Ledger>;

    /// How far the client is.
    fn stage(&self) -> Stage;

    /// When to call [`Client::handle_timer`] next.
    fn next_due_at(&self) -> Option<Timestamp>;

    /// Whether nothing of the window is on its way any more.
    fn has_tail(&self, window: Window) -> bool;

    /// Microseconds a tail may be expected to take; `None` while that is unknown.
    fn tail_us(&self) -> Option<u64>;

    /// Bytes to send. Those that were sent are to be dropped from it.
    fn output_mut(&mut self) -> &mut Vec<u8>;
}
