//! One run of one server: a window, the work done in it, and whether both ends counted the same.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};
use tickloom_server::config::Config;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime::{self, Server};
use tickloom_server::session::Patience;
use tickloom_server::tls::identity::TlsSource;

use crate::machine::Cores;
use crate::peers::Peers;
use crate::plain::PLAIN_THREAD;
use crate::window::{Sample, Window};

/// How the names of a room server's threads begin.
const SHARD_THREADS: &str = "shard-";

/// What one run found.
#[derive(Clone, Debug)]
pub struct Run {
    /// The measured stretch.
    pub window: Window,
    /// Frames that clients got in the window: what was paid for.
    pub frames: u64,
    /// Bytes of such a frame, on average.
    pub frame_bytes: usize,
    /// What was done from beginning to end.
    pub work: Work,
    /// Why the run is not what it should have been, if it is not.
    pub doubt: Option<String>,
}

/// Frames as both ends counted them, from beginning to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Work {
    /// The server wrote.
    pub written: u64,
    /// The clients received.
    pub received: u64,
    /// The clients sent.
    pub sent: u64,
    /// The server read.
    pub read: u64,
}

/// Watches a window from the clients' end.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    servers: &'static str,
    start: Sample,
    frames: u64,
    bytes: u64,
}

impl Run {
    /// Nanoseconds of the server's CPU per frame that clients got.
    ///
    /// # Errors
    /// The kernel does not account for threads, or nothing was done.
    pub fn cpu_ns(&self) -> anyhow::Result<f64> {
        self.window.server_cpu_ns_per(self.frames)
    }
}

impl Work {
    /// Both ends must agree, or the run shows nothing.
    ///
    /// # Errors
    /// They do not.
    pub fn checked(self) -> anyhow::Result<Self> {
        let Self { written, received, sent, read } = self;
        ensure!(written == received, "{written} frames were written, {received} were received");
        ensure!(sent == read, "{sent} frames were sent, {read} were read");
        Ok(self)
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} out, {} in", self.received, self.read)
    }
}

impl Watch {
    /// Begins a window of a room server.
    #[must_use]
    pub fn room_server(peers: &Peers) -> Self {
        Self::begin(SHARD_THREADS, peers)
    }

    /// Begins a window of a plain server.
    #[must_use]
    pub fn plain_server(peers: &Peers) -> Self {
        Self::begin(PLAIN_THREAD, peers)
    }

    fn begin(servers: &'static str, peers: &Peers) -> Self {
        let received = peers.received();
        let start = Sample::take(servers);
        Self { servers, start, frames: received.frames, bytes: received.bytes }
    }

    /// Ends it.
    #[must_use]
    pub fn end(self, peers: &Peers) -> Watched {
        let window = Window { start: self.start, end: Sample::take(self.servers) };
        let received = peers.received();
        let frames = received.frames - self.frames;
        let frame_bytes = (received.bytes - self.bytes).checked_div(frames).unwrap_or_default();
        Watched { window, frames, frame_bytes: frame_bytes as usize }
    }
}

/// A window and what clients got in it.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    window: Window,
    frames: u64,
    frame_bytes: usize,
}

impl Watched {
    /// The run it was part of.
    ///
    /// # Errors
    /// The two ends counted differently.
    pub fn of(self, work: Work, doubt: Option<String>) -> anyhow::Result<Run> {
        let Self { window, frames, frame_bytes } = self;
        Ok(Run { window, frames, frame_bytes, work: work.checked()?, doubt })
    }
}

// ---- the measured server -----------------------------------------------------------------------

/// A room server in this process, unchanged but for its patience with silent clients.
pub struct RoomServer(Server);

/// What a room server counted while it ran.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ledger {
    /// Frames it wrote and clients received, by its rooms and its answers to joins.
    pub room_frames: u64,
    /// Frames clients received.
    pub received: u64,
    /// Inputs it took from them.
    pub inputs: u64,
    /// Messages it took from them, inputs and joins included.
    pub messages: u64,
    /// Members that were passed over, and those that caught up.
    pub behind: u64,
    /// Times that a room was too late to keep its clock.
    pub slips: u64,
}

impl RoomServer {
    /// Starts one with a shard on each of these cores; without any, one that is not pinned.
    ///
    /// # Errors
    /// It cannot serve on loopback.
    pub fn start(cores: &[usize], room_types: &RoomTypes) -> anyhow::Result<Self> {
        Self::start_with(TlsSource::Off, cores, room_types)
    }

    /// One whose connections are encrypted, or not.
    ///
    /// # Errors
    /// It cannot serve on loopback.
    pub fn start_with(
        tls: TlsSource,
        cores: &[usize],
        room_types: &RoomTypes,
    ) -> anyhow::Result<Self> {
        const LONG: Duration = Duration::from_secs(600);
        let defaults = Config::loopback();
        let config = Config {
            cores: cores.to_vec(),
            connections_max: 19_000,
            tls,
            patience: Patience { join: LONG, ping: LONG, ..defaults.patience },
            ..defaults
        };
        Ok(Self(runtime::serve(&config, room_types).context("cannot serve on loopback")?))
    }

    /// The cores of a server with one shard.
    #[must_use]
    pub fn one_core(cores: Option<Cores>) -> Vec<usize> {
        cores.map(|cores| cores.server).into_iter().collect()
    }

    /// The running server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.0
    }

    /// Stops it once everything that was sent was read by either end.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(self, mut peers: Peers) -> anyhow::Result<Ledger> {
        // What was sent last is read within a turn of its loop.
        peers.read_for(Duration::from_millis(100))?;
        self.0.stopper().stop();
        let received = peers.read_to_end()?;
        drop(peers);
        let mut ledger = Ledger {
            room_frames: 0,
            received: received.frames,
            inputs: 0,
            messages: 0,
            behind: 0,
            slips: 0,
        };
        for shard in self.0.join()? {
            let (metrics, sent) = (shard.metrics, shard.broadcast);
            ensure!(metrics.refusals == 0, "{} joins were refused", metrics.refusals);
            ledger.room_frames += metrics.joins + sent.deltas + sent.catch_ups + sent.snapshots;
            ledger.inputs += metrics.inputs;
            ledger.messages += metrics.messages;
            ledger.behind += sent.skipped + sent.catch_ups;
            ledger.slips += metrics.slips;
        }
        Ok(ledger)
    }
}

impl Ledger {
    /// Why a run in which members should have got every tick is not one.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        let Self { behind, slips, .. } = self;
        (behind + slips > 0).then(|| format!("members fell behind {behind} times, rooms {slips}"))
    }
}
