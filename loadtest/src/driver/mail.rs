//! What the conductor and the generator's threads tell each other. A worker process is told the
//! same, as lines.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tickloom_protocol::time::Timestamp;

use crate::client::Ledger;
use crate::health::ThreadHealth;
use crate::plan::{Plan, Url};
use crate::tally::{Micros, Tally, Window};

/// What a thread is to do.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Task {
    /// Which of the plan's shares this is.
    pub(super) share: usize,
    pub(super) address: SocketAddr,
    pub(super) url: Url,
    pub(super) plan: Plan,
    /// When the ramp and all schedules begin.
    #[serde(with = "Micros")]
    pub(super) start: Timestamp,
    pub(super) clock_offset_us: i64,
    /// The core to run on; `None` to leave that to the scheduler.
    pub(super) core: Option<usize>,
}

/// What the conductor asks of a generator thread.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Command {
    /// Measure this window, then drain, close and end.
    Measure(Window),
    /// The window ends at this moment at the latest.
    Stop(#[serde(with = "Micros")] Timestamp),
}

/// What a generator thread tells the conductor.
#[derive(Serialize, Deserialize)]
pub(super) enum Mail {
    /// All of its clients have joined or failed.
    Settled,
    /// What the last second held.
    Beat(Box<Beat>),
    /// It closed its books; nothing follows.
    Finished(Box<Books>),
    /// It cannot go on, and says why.
    Failed(String),
}

/// What a thread has when the drain is over.
#[derive(Serialize, Deserialize)]
pub(super) struct Books {
    pub(super) share: usize,
    pub(super) ledgers: Vec<Ledger>,
    /// Since the last beat.
    pub(super) tally: Tally,
    /// Since the last beat.
    pub(super) health: ThreadHealth,
}

/// One thread's second.
#[derive(Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) share: usize,
    /// The second's end; the same for all threads.
    #[serde(with = "Micros")]
    pub(super) until: Timestamp,
    pub(super) tally: Tally,
    /// Clients that play, at its end.
    pub(super) playing: u64,
    /// As far as the second is in the window.
    pub(super) health: ThreadHealth,
}
