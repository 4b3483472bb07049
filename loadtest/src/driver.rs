//! The edge: threads, sockets and the clock. It moves bytes and time in and out of clients, and
//! decides nothing about them.
//!
//! ```text
//! ramp -------------------> warmup --> window ---------------> drain --> close
//! connect at a fixed rate   play       from       until        inputs   1000, then
//! until all are settled     unmeasured measured, a tally a     stop     the threads
//!                                      second from each        tails    end
//!                                      thread                  arrive
//! ```

mod probe;
mod reactor;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tickloom_protocol::time::Timestamp;

pub use probe::Clock;
use reactor::{Beat, Command, Mail, Reactor, Task};

use crate::client::Ledger;
use crate::health::{HostSample, HostTrack, ProcessSample, ProcessTrack, ThreadHealth};
use crate::plan::{Plan, Url};
use crate::spawn::Server;
use crate::tally::{Tally, Window};

/// How long after the last connection was begun clients may take to join.
const JOINED_WITHIN: Duration = Duration::from_secs(15);

/// Descriptors needed beside the clients' sockets: polls, timers, files, the server's pipe.
const DESCRIPTORS_SPARE: u64 = 64;

/// Time between two progress lines, and between two looks at processes.
const SECOND: Duration = Duration::from_secs(1);

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
    /// Too few file descriptors.
    #[error(
        "--clients {clients} needs {needed} file descriptors and the limit is {limit}; ask for \
         fewer clients or raise the hard limit (ulimit -Hn)"
    )]
    Descriptors {
        /// What `--clients` said.
        clients: u32,
        /// What they need.
        needed: u64,
        /// What there is.
        limit: u64,
    },
    /// The generator itself cannot work.
    #[error("the generator cannot start: {0}")]
    Setup(#[from] io::Error),
}

/// Everything a run is given.
pub struct Run<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The server.
    pub url: &'a Url,
    /// Its process, when we started it.
    pub server: Option<&'a mut Server>,
    /// Cores for the threads, one each; empty to leave them to the scheduler.
    pub cores: &'a [usize],
    /// Set when somebody wants the run to end early.
    pub interrupted: &'a AtomicBool,
    /// Called once a second.
    pub progress: &'a mut dyn FnMut(&Interval),
}

/// One second of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Interval {
    /// Seconds since the run began, at the interval's end.
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
    /// Deltas received.
    pub deltas_received: u64,
    /// Bytes read.
    pub bytes_down: u64,
    /// Inputs sent.
    pub inputs_sent: u64,
    /// Everything that went wrong.
    pub errors: u64,
    /// How late the generator was.
    pub sched_lag_p99_us: u64,
    /// The server's share of one core since the sample before, in parts of a million.
    pub server_core_ppm: u64,
    /// The server's resident memory.
    pub server_resident_bytes: u64,
}

/// What a run measured.
pub struct Measured {
    /// Everything added up.
    pub totals: Tally,
    /// One for each client that had state in the window.
    pub ledgers: Vec<Ledger>,
    /// Second by second.
    pub intervals: Vec<Interval>,
    /// The generator's threads.
    pub threads: Vec<ThreadHealth>,
    /// What was measured.
    pub window: Window,
    /// From the first connection until everybody had joined or failed.
    pub ramp: Duration,
    /// The server's process over the window.
    pub server: ProcessTrack,
    /// This process over the window.
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

/// Raises the limit of file descriptors as far as it goes, for this process and its children.
///
/// # Errors
/// [`RunError::Descriptors`] when that is too few for `clients` sockets.
pub fn raise_descriptor_limit(clients: u32) -> Result<(), RunError> {
    let needed = u64::from(clients) + DESCRIPTORS_SPARE;
    let limits = getrlimit(Resource::Nofile);
    let limit = limits.maximum.unwrap_or(u64::MAX);
    if needed > limit {
        return Err(RunError::Descriptors { clients, needed, limit });
    }
    setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits })
        .map_err(io::Error::from)?;
    Ok(())
}

/// Runs a plan against a server that is there.
///
/// # Errors
/// [`RunError`]; once clients connect, everything that goes wrong is part of the result.
pub fn run(mut run: Run<'_>) -> Result<Measured, RunError> {
    let url = run.url;
    let unreachable = |error| RunError::Unreachable { url: url.clone(), error };
    let address = resolve(url).map_err(unreachable)?;
    let clock = probe::probe(address, url).map_err(unreachable)?;

    if let Some(core) = run.cores.last() {
        // Off the server's cores: adding up a second's histograms takes a while.
        pin(*core);
    }
    let (sender, mail) = mpsc::channel();
    let start = now() + Duration::from_millis(20);
    let mut threads = Vec::new();
    for thread in 0..run.plan.threads_count {
        let (commands, inbox) = mpsc::channel();
        let task = Task {
            thread,
            address,
            url: url.clone(),
            plan: run.plan.clone(),
            start,
            clock_offset_us: clock.offset_us,
        };
        let reactor = Reactor::new(task, inbox, sender.clone())?;
        let core = run.cores.get(thread).copied();
        let handle =
            thread::Builder::new().name(format!("generator-{thread}")).spawn(move || {
                if let Some(id) = core {
                    // A core that cannot be had leaves the thread where the scheduler puts it.
                    let _ = core_affinity::set_for_current(CoreId { id });
                }
                reactor.run()
            })?;
        threads.push((handle, commands));
    }
    drop(sender);
    let (handles, commands): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
    let mut conductor = Conductor::new(&mut run, start, clock, commands);
    conductor.conduct(&mail);
    let measured = conductor.measured;
    for handle in handles {
        handle.join().map_err(|_| io::Error::other("a generator thread panicked"))??;
    }
    Ok(measured)
}

fn resolve(url: &Url) -> io::Result<SocketAddr> {
    let mut addresses = url.authority.to_socket_addrs()?;
    addresses.next().ok_or_else(|| io::Error::other("the name has no address"))
}

/// The main thread's part: when the window is, and what the seconds add up to.
struct Conductor<'a, 'b> {
    run: &'a mut Run<'b>,
    start: Timestamp,
    commands: Vec<mpsc::Sender<Command>>,
    /// Clients that joined or failed, over all threads that are done with it.
    threads_settled: usize,
    threads_finished: usize,
    /// When clients that have not joined are given up.
    give_up_at: Timestamp,
    next_look_at: Timestamp,
    stopped: bool,
    /// Beats by their end, until all threads sent theirs.
    open_seconds: BTreeMap<Timestamp, Vec<Beat>>,
    last_server_sample: Option<ProcessSample>,
    server_core_ppm: u64,
    measured: Measured,
}

impl<'a, 'b> Conductor<'a, 'b> {
    fn new(
        run: &'a mut Run<'b>,
        start: Timestamp,
        clock: Clock,
        commands: Vec<mpsc::Sender<Command>>,
    ) -> Self {
        let ramp_us =
            u64::from(run.plan.clients_count) * 1_000_000 / u64::from(run.plan.connect_rate_hz);
        let measured = Measured {
            totals: Tally::default(),
            ledgers: Vec::new(),
            intervals: Vec::new(),
            threads: vec![ThreadHealth::default(); commands.len()],
            window: Window::UNDECIDED,
            ramp: Duration::ZERO,
            server: ProcessTrack::default(),
            generator: ProcessTrack::default(),
            host: HostTrack::default(),
            started_unix_us: read(ClockId::Realtime),
            clock,
            interrupted: false,
            server_died: None,
        };
        Self {
            run,
            start,
            commands,
            threads_settled: 0,
            threads_finished: 0,
            give_up_at: start + Duration::from_micros(ramp_us) + JOINED_WITHIN,
            next_look_at: start,
            stopped: false,
            open_seconds: BTreeMap::new(),
            last_server_sample: None,
            server_core_ppm: 0,
            measured,
        }
    }

    fn conduct(&mut self, mail: &mpsc::Receiver<Mail>) {
        while self.threads_finished < self.commands.len() {
            if self.run.interrupted.load(Ordering::Relaxed) && !self.stopped {
                self.measured.interrupted = true;
                self.stop();
            }
            let at = now();
            if at >= self.next_look_at {
                self.look(at);
            }
            if self.measured.window == Window::UNDECIDED && at >= self.give_up_at {
                self.begin_warmup(at);
            }
            // Short enough to notice Ctrl-C at once and to look at the window's very ends.
            let wait = self.next_look_at.saturating_since(now()).min(Duration::from_millis(20));
            match mail.recv_timeout(wait) {
                Ok(Mail::Settled) => {
                    self.threads_settled += 1;
                    let all = self.threads_settled == self.commands.len();
                    if all && self.measured.window == Window::UNDECIDED {
                        self.begin_warmup(now());
                    }
                }
                Ok(Mail::Beat(beat)) => self.add_beat(*beat),
                Ok(Mail::Finished(books)) => {
                    self.threads_finished += 1;
                    self.measured.ledgers.extend(books.ledgers);
                    self.measured.totals.add(&books.tally);
                    self.measured.threads[books.thread].add(books.health);
                }
                Err(RecvTimeoutError::Timeout) => {}
                // A thread panicked: joining it says so.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn begin_warmup(&mut self, at: Timestamp) {
        self.measured.ramp = at.saturating_since(self.start);
        let from = at + self.run.plan.warmup;
        let window = Window { from, until: from + self.run.plan.duration };
        self.measured.window = window;
        self.next_look_at = self.next_look_at.min(from);
        self.tell(Command::Measure(window));
    }

    fn stop(&mut self) {
        self.stopped = true;
        let at = now();
        let window = &mut self.measured.window;
        *window = Window { from: window.from.min(at), until: window.until.min(at) };
        self.tell(Command::Stop(at));
    }

    fn tell(&self, command: Command) {
        for inbox in &self.commands {
            // A thread that is gone has panicked: joining it says so.
            let _ = inbox.send(command);
        }
    }

    /// Looks at the processes and the host: once a second, and at both ends of the window.
    fn look(&mut self, at: Timestamp) {
        let window = self.measured.window;
        // The last look belongs to the window: it is its end.
        let counts = window.has_begun(at) && self.next_look_at <= window.until;
        let sample = self.run.server.as_ref().and_then(|s| ProcessSample::take(Some(s.pid()), at));
        if let (Some(before), Some(sample)) = (self.last_server_sample, sample) {
            let wall_us = at.0.saturating_sub(before.at.0);
            let cpu_us = sample.cpu_us.saturating_sub(before.cpu_us);
            self.server_core_ppm = (cpu_us * 1_000_000).checked_div(wall_us).unwrap_or(0);
        }
        self.last_server_sample = sample.or(self.last_server_sample);
        if counts {
            self.measured.server.0.extend(sample);
            self.measured.generator.0.extend(ProcessSample::take(None, at));
            self.measured.host.0.push(HostSample::take());
        }
        self.next_look_at = next_second(self.next_look_at, window);
        if let Some(server) = &mut self.run.server
            && self.measured.server_died.is_none()
            && let Some(death) = server.poll_death()
        {
            self.measured.server_died = Some(death);
            self.stop();
        }
    }

    fn add_beat(&mut self, beat: Beat) {
        self.measured.threads[beat.thread].add(beat.health);
        self.measured.totals.add(&beat.tally);
        let second = self.open_seconds.entry(beat.until).or_default();
        let until = beat.until;
        second.push(beat);
        if second.len() < self.commands.len() {
            return;
        }
        let beats = self.open_seconds.remove(&until).unwrap_or_default();
        let (mut sum, mut playing) = (Tally::default(), 0);
        for beat in &beats {
            sum.add(&beat.tally);
            playing += beat.playing;
        }
        let interval = self.interval(until, playing, &sum);
        (self.run.progress)(&interval);
        self.measured.intervals.push(interval);
    }

    fn interval(&self, until: Timestamp, playing: u64, sum: &Tally) -> Interval {
        let counters = &sum.counters;
        let window = self.measured.window;
        let wrong = counters.gaps + counters.malformed + counters.hash_mismatches;
        Interval {
            t_us: until.0.saturating_sub(self.start.0),
            measured: window.from < until && until <= window.until,
            playing,
            state_age_p50_us: sum.state_age.quantile_us(0.5),
            state_age_p99_us: sum.state_age.quantile_us(0.99),
            input_ack_p99_us: sum.input_ack.quantile_us(0.99),
            deltas_received: counters.deltas_received,
            bytes_down: counters.bytes_down,
            inputs_sent: counters.inputs_sent,
            errors: wrong + sum.closes.total() + sum.refusals.total() + counters.clients_failed,
            sched_lag_p99_us: sum.sched_lag.quantile_us(0.99),
            server_core_ppm: self.server_core_ppm,
            server_resident_bytes: self.last_server_sample.map_or(0, |s| s.resident_bytes),
        }
    }
}

/// A second after `at`, or the end of the window that comes first: seconds are cut there.
fn next_second(at: Timestamp, window: Window) -> Timestamp {
    let next = at + SECOND;
    let border = |border: Timestamp| (at < border && border < next).then_some(border);
    border(window.from).or_else(|| border(window.until)).unwrap_or(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_cut_at_both_ends_of_the_window() {
        let window = Window { from: Timestamp(2_500_000), until: Timestamp(4_700_000) };
        let mut at = Timestamp(1_000_000);
        let mut seconds_us = Vec::new();
        for _ in 0..6 {
            at = next_second(at, window);
            seconds_us.push(at.0);
        }
        let expected = [2_000_000, 2_500_000, 3_500_000, 4_500_000, 4_700_000, 5_700_000];
        assert_eq!(seconds_us, expected);
        assert_eq!(next_second(Timestamp(7), Window::UNDECIDED), Timestamp(1_000_007));
    }
}
