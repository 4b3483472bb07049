//! A measured stretch of a run: what the threads of both ends got, and what others took.

use std::time::Duration;

use anyhow::Context;
use tickloom_protocol::time::Timestamp;
use tickloom_server::reactor::monotonic_now;

use crate::machine::{ThreadTime, stalled};

/// What the machine said at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    at: Timestamp,
    stalled: Duration,
    servers: Option<ThreadTime>,
    clients: Option<ThreadTime>,
}

impl Sample {
    /// Now. The servers' threads are those whose names begin with `servers`; the calling thread
    /// is the clients'.
    ///
    /// The kernel adds up a thread's time when it goes to sleep and at each of its own ticks, so
    /// a sample is at most 4 ms of a running server behind.
    #[must_use]
    pub fn take(servers: &str) -> Self {
        Self {
            at: monotonic_now(),
            stalled: stalled(),
            servers: ThreadTime::of_named(servers),
            clients: ThreadTime::of_this(),
        }
    }
}

/// From one sample to a later one.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Where it begins.
    pub start: Sample,
    /// Where it ends.
    pub end: Sample,
}

impl Window {
    /// Whether a moment is in it.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start.at <= at && at < self.end.at
    }

    /// How long it was.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.end.at.saturating_since(self.start.at)
    }

    /// How much of the time some thread of the machine wanted a core and had none. Each of our
    /// own wake-ups counts for some microseconds, and there are thousands per second.
    #[must_use]
    pub fn contention(&self) -> f64 {
        let stalled = self.end.stalled.saturating_sub(self.start.stalled);
        stalled.as_secs_f64() / self.wall().as_secs_f64()
    }

    /// How much of the time threads of either end wanted a core and had none.
    #[must_use]
    pub fn waiting(&self) -> Option<f64> {
        let waiting = self.servers()?.waiting + self.clients()?.waiting;
        Some(waiting.as_secs_f64() / self.wall().as_secs_f64())
    }

    /// What the servers' threads got.
    #[must_use]
    pub fn servers(&self) -> Option<ThreadTime> {
        Some(self.end.servers?.since(self.start.servers?))
    }

    /// What the clients' thread got.
    #[must_use]
    pub fn clients(&self) -> Option<ThreadTime> {
        Some(self.end.clients?.since(self.start.clients?))
    }

    /// Nanoseconds of CPU that the servers' threads used for each of `units_count`.
    ///
    /// # Errors
    /// The kernel does not account for threads, or nothing was done.
    pub fn server_cpu_ns_per(&self, units_count: u64) -> anyhow::Result<f64> {
        let servers = self.servers().context("/proc/self/task/*/schedstat cannot be read")?;
        anyhow::ensure!(units_count > 0, "nothing was done that could be measured");
        Ok(servers.on_core.as_nanos() as f64 / units_count as f64)
    }
}
