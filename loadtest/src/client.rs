//! Virtual clients: what a driver calls, whatever the clients do.
//!
//! ```text
//! room   a client in a room: replica, the age of state, and what its workload does
//! lobby  a client that goes from room to room, and the noticeboard on which codes are
//! echo   a sender of messages that come back, to itself or to everybody
//! ```

mod echo;
mod lobby;
mod noticeboard;
mod room;

use serde::{Deserialize, Serialize};
use tickloom_protocol::ids::Tick;
use tickloom_protocol::link::InflatedCounts;
use tickloom_protocol::replica::ApplyError;
use tickloom_protocol::time::Timestamp;

pub use echo::EchoClient;
pub use lobby::LobbyClient;
pub use noticeboard::Noticeboard;
use room::connect;
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
    /// How many clients had that number before it.
    pub life: u32,
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
    /// What the clients of this thread tell each other.
    pub board: &'a mut Noticeboard,
}

impl Turn<'_> {
    /// Counts what a connection brought.
    fn count_arrived(&mut self, bytes: &[u8]) {
        if self.window.contains(self.now) {
            self.tally.counters.bytes_down += bytes.len() as u64;
        }
    }

    /// Counts a delta that did not fit its replica.
    fn count_broken(&mut self, error: &ApplyError) {
        let counters = &mut self.tally.counters;
        match error {
            ApplyError::Gap { .. } => counters.gaps += 1,
            ApplyError::Malformed { .. } => counters.malformed += 1,
            ApplyError::HashMismatch { .. } => counters.hash_mismatches += 1,
        }
        self.tally.errors.count("replica", &error.to_string());
    }

    /// Counts what was inflated between two moments of a link.
    fn count_inflated(&mut self, before: InflatedCounts, after: InflatedCounts) {
        if self.window.contains(self.now) && after.messages > before.messages {
            let counters = &mut self.tally.counters;
            counters.messages_inflated += after.messages - before.messages;
            counters.inflated_bytes_before += after.bytes_before - before.bytes_before;
            counters.inflated_bytes_after += after.bytes_after - before.bytes_after;
        }
    }
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
    /// Its connection was cut, and it is to come back over another one.
    Away,
    /// We sent a close; the answer is missing.
    Closing,
    /// Nothing follows.
    Ended,
}

/// What a client had of its room, for the checks that take more than one of its clients.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// The number of its room.
    pub room: u32,
    /// Ticks from one send to the next, as of the newest tick it had.
    pub send_every: u32,
    /// Sends from the first tick to the newest.
    pub sends: u32,
    /// The tick it had when measuring began.
    #[serde(with = "TickNumber")]
    pub first: Tick,
    /// The newest tick it had, as of the window's end.
    #[serde(with = "TickNumber")]
    pub last: Tick,
    /// Sends between the two that never became state.
    pub lost: u32,
    /// Whether it was there until the end, or wanted to be.
    pub stayed: bool,
    /// Whether it was there from the window's beginning to its end.
    pub whole: bool,
    /// Whether it reads slowly, on purpose.
    pub is_slow: bool,
    /// What its replica is at the end.
    pub digest: Option<Digest>,
    /// What it said and heard.
    pub talk: Option<Talk>,
    /// What it added to the room's count.
    pub increments: Option<Increments>,
}

/// A replica in two numbers: those of one room at one tick have one hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Digest {
    /// Its tick.
    #[serde(with = "TickNumber")]
    pub tick: Tick,
    /// The hash of what everybody in the room has.
    pub hash: u32,
}

/// What a client said and heard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Talk {
    /// Publications meant for the window that the room accepted.
    pub accepted: u64,
    /// Publications that the room refused.
    pub refused: u64,
    /// Publications that got no answer.
    pub unanswered: u64,
    /// Publications of anybody that were meant for the window and came.
    pub received: u64,
    /// Publications that the room said this client missed.
    pub lost: u64,
    /// Senders' numbers that are missing between those that came.
    pub holes: u64,
    /// How far the room's numbers and what it announced as lost were apart at most.
    pub disagreement: u64,
}

/// What a client added to the count that all clients of a room raise together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Increments {
    /// How often it raised it by one.
    pub accepted: u64,
    /// How often it tried to and got no answer.
    pub unanswered: u64,
    /// The tick of its first state, and the count in it.
    pub first: Option<(u32, i64)>,
    /// The count in its last state.
    pub last: i64,
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

    /// Gives back what it has and sends a close frame, in the middle of a run: its books are closed.
    fn handle_leave(&mut self, turn: &mut Turn<'_>) -> Option<Ledger>;

    /// Its connection is about to be cut without a word. Says whether it has something to come back
    /// with: then it is [`Stage::Away`], and otherwise as if nothing had happened.
    fn handle_cut(&mut self, _turn: &mut Turn<'_>) -> bool {
        false
    }

    /// Begins to connect again. Its request is in the output.
    fn come_back(&mut self, _setup: &Setup<'_>, _now: Timestamp) {}

    /// When to call [`Client::come_back`], while it is [`Stage::Away`].
    fn returns_at(&self) -> Option<Timestamp> {
        None
    }

    /// Whether it came back and did not get what it had: somebody else is to come in its place.
    fn is_displaced(&self) -> bool {
        false
    }

    /// A second ends at `turn.now`: what goes on belongs to it up to then.
    fn handle_second(&mut self, turn: &mut Turn<'_>);

    /// The window is over: whoever is hidden is seen from here on.
    fn handle_window_end(&mut self, _turn: &mut Turn<'_>) {}

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
