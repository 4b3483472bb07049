//! The edge: threads, processes, sockets and the clock. It moves bytes and time in and out of
//! clients, and decides nothing about them.
//!
//! ```text
//! conductor (main thread)
//!   |  commands                     mail: beats, books  ^
//!   v                                                   |
//! reactor thread, and its like;   worker process: the same threads, commands and mail as lines
//!
//! ramp -------------------> warmup --> window ---------------> drain --> close
//! connect at a fixed rate   play       from       until        sending  1000, then
//! until all are settled     unmeasured measured, a tally a     stops    the threads
//!                                      second from each        tails    end
//!                                      thread                  arrive
//! ```

mod attack;
mod conductor;
mod mail;
mod probe;
mod reactor;
mod view;
mod worker;

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use core_affinity::CoreId;
use rustix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickloom_protocol::time::Timestamp;

pub use attack::attack;
use conductor::Conductor;
use mail::{Command, Mail, Task};
pub use probe::Clock;
use reactor::Reactor;
use view::View;
use worker::Worker;
pub use worker::serve as serve_worker;

use crate::client::{EchoClient, Ledger, LobbyClient, RoomClient};
use crate::health::{HostTrack, ProcessTrack, ThreadHealth};
use crate::plan::{Load, Plan, Storm, Url};
use crate::scenario::phases::Phases;
use crate::server_view::ServerSecond;
use crate::spawn::Server;
use crate::tally::{Tally, Window};
use crate::tls::{Encryption, TrustError};

/// Time between two progress lines, and between two looks at processes.
const SECOND: Duration = Duration::from_secs(1);

/// From the moment the threads are asked for to the first connection.
const START_AFTER: Duration = Duration::from_millis(20);

/// The same when processes have to start first.
const START_PROCESSES_AFTER: Duration = Duration::from_millis(300);

/// Why a run did not take place.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No server answers.
    #[error("cannot reach {url}: {error}\n  is the server running, and is this its address?")]
    Unreachable {
        /// What was to be reached.
        url: Url,
        /// What happened.
        error: io::Error,
    },
    /// Nobody is trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The generator itself cannot work.
    #[error("the generator cannot go on")]
    Generator(#[from] io::Error),
}

/// Everything a run is given.
pub struct Run<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The server.
    pub url: &'a Url,
    /// Its process, when we started it.
    pub server: Option<&'a mut Server>,
    /// Cores the threads take in turn; empty to leave them to the scheduler.
    pub cores: &'a [usize],
    /// Set when somebody wants the run to end early.
    pub interrupted: &'a AtomicBool,
    /// Called once a second.
    pub progress: &'a mut dyn FnMut(&Interval),
}

/// One second of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// Microseconds since the run began, at the interval's end.
    pub t_us: u64,
    /// Whether it counts.
    pub measured: bool,
    /// Clients that play, at its end.
    pub playing: u64,
    /// Median age of state.
    pub state_age_p50_us: u64,
    /// Age of state.
    pub state_age_p99_us: u64,
    /// Input to acknowledgement.
    pub input_ack_p99_us: u64,
    /// Median time from a message to its echo.
    pub rtt_p50_us: u64,
    /// Time from a message to its echo.
    pub rtt_p99_us: u64,
    /// Median time from a message, or a tick that was due, to those who get it.
    pub delivery_p50_us: u64,
    /// Time from a message, or a tick that was due, to those who get it.
    pub delivery_p99_us: u64,
    /// Median time from when a room was to be asked for to its first state.
    pub join_p50_us: u64,
    /// Time from when a room was to be asked for to its first state.
    pub join_p99_us: u64,
    /// Seats taken by clients that go from room to room.
    pub lobby_joins: u64,
    /// Rooms they made.
    pub lobby_rooms_made: u64,
    /// Times they were not let in, for a reason.
    pub lobby_refusals: u64,
    /// Deltas received.
    pub deltas_received: u64,
    /// Messages that came back.
    pub messages_received: u64,
    /// Bytes read.
    pub bytes_down: u64,
    /// Publications received.
    pub events_received: u64,
    /// Writes and publications sent.
    pub ops_sent: u64,
    /// Inputs sent.
    pub inputs_sent: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Everything that went wrong.
    pub errors: u64,
    /// How late the generator was.
    pub sched_lag_p99_us: u64,
    /// The server's share of one core since the sample before, in parts of a million.
    pub server_core_ppm: u64,
    /// The server's resident memory.
    pub server_resident_bytes: u64,
    /// What the server says about the same second.
    pub server: Option<ServerSecond>,
}

/// One round of a storm.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// What it added up to.
    pub tally: Tally,
    /// How late the server's ticks began, 99 % of them, in its worst second; `None` when it does
    /// not say.
    pub tick_late_p99_us: Option<u64>,
}

/// What a run measured.
pub struct Measured {
    /// Everything added up.
    pub totals: Tally,
    /// One for each client that had state in the window.
    pub ledgers: Vec<Ledger>,
    /// Second by second.
    pub intervals: Vec<Interval>,
    /// What each phase of the scenario added up to.
    pub phases: Vec<Tally>,
    /// The rounds of a storm, in order.
    pub rounds: Vec<Round>,
    /// The generator's threads.
    pub threads: Vec<ThreadHealth>,
    /// What was measured.
    pub window: Window,
    /// From the first connection until everybody had joined or failed.
    pub ramp: Duration,
    /// The server's processes over the window.
    pub server: ProcessTrack,
    /// The server's memory before the first client.
    pub server_bytes_at_first: Option<u64>,
    /// The server's memory when the last tail had arrived and everybody was still there.
    pub server_bytes_at_last: Option<u64>,
    /// The version the server gives itself.
    pub server_version: Option<String>,
    /// Rooms that were still there a while after the clients of a lobby had gone, beside those
    /// that were there before them; `None` when nobody was to go, or the server does not say.
    pub rooms_left: Option<u64>,
    /// The generator's processes over the window.
    pub generator: ProcessTrack,
    /// The host over the window.
    pub host: HostTrack,
    /// When the first connection was begun, in microseconds since 1970.
    pub started_unix_us: u64,
    /// How the two clocks relate.
    pub clock: Clock,
    /// Whether the run was cut short by hand.
    pub interrupted: bool,
    /// What became of the server, when it ended by itself.
    pub server_died: Option<String>,
}

/// The cores this thread may use. To be called before any thread is pinned.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    cores.iter().map(|core| core.id).collect()
}

/// The machine's monotonic clock.
pub(crate) fn now() -> Timestamp {
    Timestamp(read(ClockId::Monotonic))
}

/// CPU time of this thread so far, in microseconds.
pub(crate) fn thread_cpu_us() -> u64 {
    read(ClockId::ThreadCPUTime)
}

/// Microseconds since the clock's origin.
fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1000
}

/// Binds this thread to a core. One that cannot be had leaves the thread where it is.
fn pin(core: usize) {
    let _ = core_affinity::set_for_current(CoreId { id: core });
}

/// Runs a plan against a server that is there.
///
/// # Errors
/// [`RunError`]; once clients connect, everything that goes wrong is part of the result.
pub fn run(mut run: Run<'_>) -> Result<Measured, RunError> {
    let (url, plan) = (run.url, run.plan);
    let unreachable = |error| RunError::Unreachable { url: url.clone(), error };
    let address = resolve(url).map_err(unreachable)?;
    let encryption = Encryption::of(url, &plan.trust)?;
    let clock = probe::probe(address, url, &plan.load, encryption.as_ref()).map_err(unreachable)?;
    let view = View::open(address, &url.authority, encryption)?;

    let start_after = if plan.processes_count > 1 { START_PROCESSES_AFTER } else { START_AFTER };
    let start = now() + start_after;
    let task = |share: usize| Task {
        share,
        address,
        url: url.clone(),
        plan: plan.clone(),
        start,
        clock_offset_us: clock.offset_us,
        core: (!run.cores.is_empty()).then(|| run.cores[share % run.cores.len()]),
    };
    let (sender, mail) = mpsc::channel();
    let (mut commands, mut threads, mut workers) = (Vec::new(), Vec::new(), Vec::new());
    for process in 0..plan.processes_count {
        let shares = process * plan.threads_count..(process + 1) * plan.threads_count;
        if process == 0 {
            for share in shares {
                let (thread, inbox) = start_thread(task(share), sender.clone())?;
                threads.push(thread);
                commands.push(inbox);
            }
        } else {
            let (worker, inbox) = Worker::start(shares.map(task).collect(), sender.clone())?;
            workers.push(worker);
            commands.push(inbox);
        }
    }
    drop(sender);
    if let Some(core) = run.cores.last() {
        // Off the server's cores: adding up a second's histograms takes a while. After the
        // workers are started, which would inherit it.
        pin(*core);
    }
    let pids = workers.iter().map(Worker::pid).collect();
    let mut conductor = Conductor::new(&mut run, start, clock, commands, pids, view);
    conductor.conduct(&mail)?;
    conductor.await_rooms_gone();
    let measured = conductor.into_measured();
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a generator thread panicked"))??;
    }
    for worker in workers {
        worker.join()?;
    }
    Ok(measured)
}

/// Starts a generator thread for clients of the kind its plan asks for.
fn start_thread(
    task: Task,
    mail: mpsc::Sender<Mail>,
) -> io::Result<(JoinHandle<io::Result<()>>, mpsc::Sender<Command>)> {
    let (commands, inbox) = mpsc::channel();
    let thread = match task.plan.load {
        Load::Rooms(ref rooms) if rooms.is_lobby() => {
            spawn_reactor(Reactor::<LobbyClient>::new(task, inbox, mail)?)?
        }
        Load::Rooms(_) => spawn_reactor(Reactor::<RoomClient>::new(task, inbox, mail)?)?,
        Load::Echo(_) => spawn_reactor(Reactor::<EchoClient>::new(task, inbox, mail)?)?,
    };
    Ok((thread, commands))
}

fn spawn_reactor<C: crate::client::Client + 'static>(
    reactor: Reactor<C>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let name = format!("generator-{}", reactor.share());
    thread::Builder::new().name(name).spawn(move || {
        if let Some(core) = reactor.core() {
            pin(core);
        }
        reactor.run()
    })
}

fn resolve(url: &Url) -> io::Result<SocketAddr> {
    let mut addresses = url.authority.to_socket_addrs()?;
    addresses.next().ok_or_else(|| io::Error::other("the name has no address"))
}

/// Where seconds are cut: at both ends of the window, of each phase in it, and of each round of a
/// storm.
fn borders(window: Window, phases: &Phases, storm: Option<Storm>) -> Vec<Timestamp> {
    if window == Window::UNDECIDED {
        return Vec::new();
    }
    let rounds = storm.into_iter().flat_map(|storm| storm.rounds(window));
    let rounds = rounds.flat_map(|(begin, end)| [begin, end]);
    let inner = phases.ends(window.from).chain(rounds).filter(|at| *at < window.until);
    let mut borders: Vec<_> =
        [window.from].into_iter().chain(inner).chain([window.until]).collect();
    // A round begins where the one before it ends.
    borders.dedup();
    borders
}

/// A second after `at`, or the border that comes first.
fn next_second(at: Timestamp, borders: &[Timestamp]) -> Timestamp {
    let next = at + SECOND;
    borders.iter().copied().find(|border| at < *border && *border < next).unwrap_or(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::phases::Phase;

    #[test]
    fn seconds_are_cut_at_both_ends_of_the_window() {
        let window = Window { from: Timestamp(2_500_000), until: Timestamp(4_700_000) };
        let mut at = Timestamp(1_000_000);
        let mut seconds_us = Vec::new();
        for _ in 0..6 {
            at = next_second(at, &borders(window, &Phases::default(), None));
            seconds_us.push(at.0);
        }
        let expected = [2_000_000, 2_500_000, 3_500_000, 4_500_000, 4_700_000, 5_700_000];
        assert_eq!(seconds_us, expected);
        let undecided = borders(Window::UNDECIDED, &Phases::default(), None);
        assert_eq!(next_second(Timestamp(7), &undecided), Timestamp(1_000_007));
    }

    #[test]
    fn seconds_are_cut_between_phases_and_no_phase_outlasts_the_window() {
        let phase = |seconds| Phase { from: 1, to: 1, duration: Duration::from_secs(seconds) };
        let window = Window { from: Timestamp(1_000_000), until: Timestamp(4_500_000) };
        let borders = borders(window, &Phases(vec![phase(1), phase(2), phase(9)]), None);
        assert_eq!(
            borders.iter().map(|at| at.0).collect::<Vec<_>>(),
            [1_000_000, 2_000_000, 4_000_000, 4_500_000]
        );
        assert_eq!(next_second(Timestamp(3_200_000), &borders), Timestamp(4_000_000));
    }

    #[test]
    fn seconds_are_cut_where_rounds_of_a_storm_begin_and_end() {
        let window = Window { from: Timestamp(1_000_000), until: Timestamp(9_500_000) };
        let storm = Some(Storm { every: Duration::from_millis(2_500) });
        let borders = borders(window, &Phases::default(), storm);
        let borders: Vec<u64> = borders.iter().map(|at| at.0).collect();
        assert_eq!(
            borders,
            [1_000_000, 3_500_000, 6_000_000, 8_500_000, 9_500_000],
            "a third round would not have its whole time"
        );
    }
}
