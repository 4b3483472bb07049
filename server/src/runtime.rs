//! Starts one pinned thread per shard, one for plain HTTP and one that watches, connects their mailboxes, and
//! stops them.
#![expect(clippy::disallowed_types, reason = "an edge module: listeners and polls")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use core_affinity::CoreId;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use mio::net::TcpListener;
use mio::{Poll, Waker};
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};

use crate::board::{Activity, Board};
use crate::config::{Config, WatchdogConfig};
use crate::directory::{Directory, ShardIndex};
use crate::http::Doors;
use crate::mailbox::{Mailbox, mailbox};
use crate::reactor::{MAILBOX, Parts, Reactor, ShardReport, monotonic_now};
use crate::recording::writer;
use crate::rooms::RoomTypes;
use crate::shard::{Shard, ShardConfig, Surroundings};
use crate::tls::identity::Identity;
use crate::tokens::Secret;
use crate::watchdog;
use crate::{failure_files, http};

/// Connections the kernel keeps for us between two turns of a loop. It takes the lower of this
/// and `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;

/// Bytes that the kernel takes for a connection before the other end's window lets it send them.
/// What it takes is no longer ours to replace by something newer, and without a bound it takes
/// megabytes: a slow client would see the past of minutes ago.
const KERNEL_UNSENT_BYTES_MAX: u32 = 16 * 1024;

/// The last part of a stop's deadline, of this many: shards have dropped everybody by then, and
/// only their threads have to end.
const STOP_MARGIN_PARTS: u32 = 10;

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    identity: Option<Identity>,
    stopper: Stopper,
    threads: Vec<JoinHandle<io::Result<ShardReport>>>,
    notices: Receiver<Notice>,
    /// Never sent to: the files about failures are written when it is disconnected.
    failures_written: Option<Receiver<Infallible>>,
    /// Never sent to: the recordings are written when it is disconnected.
    recordings_written: Option<Receiver<Infallible>>,
    /// Never sent to: the HTTP thread serves until it is disconnected.
    http_ended: Receiver<Infallible>,
    /// Never sent to: the watchdog watches until it is dropped.
    _watched: Sender<Infallible>,
}

/// What a waiting server is told.
#[derive(Clone, Copy, Debug)]
enum Notice {
    /// There is a deadline now.
    StopRequested,
    /// A shard's thread is about to end.
    Ended(ShardIndex),
}

/// The cores this process may run on: affinity masks and cpusets are honoured.
#[must_use]
pub fn allowed_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Starts a server. It accepts connections when this returns.
///
/// # Errors
/// The certificate cannot be shown (a [`TlsError`] inside), the address cannot be listened on, the
/// directory for failures or for recordings cannot be made, or the kernel refuses a poll, a timer,
/// a thread or random bytes.
///
/// [`TlsError`]: crate::tls::identity::TlsError
pub fn serve(config: &Config, room_types: &RoomTypes) -> io::Result<Server> {
    let shards_count = config.cores.len().max(1);
    let identity = Identity::of(&config.tls, config.listen).map_err(io::Error::other)?;
    let failures = config.failures_dir.as_deref().map(failure_files::open).transpose()?;
    let (failures, failures_written) = failures.unzip();
    let recordings = config.recording.as_ref();
    let recordings = recordings.map(|config| writer::open(config, shards_count)).transpose()?;
    let (recordings, recordings_written) = recordings.unzip();
    let mut recordings = recordings.into_iter().flatten();
    let directory = Directory::new(shards_count, config.seed);
    let board = Arc::new(Board::new(shards_count, monotonic_now(), config.memory_bytes_max));
    let listeners = listen(config.listen, shards_count)?;
    let address = listeners[0].local_addr()?;

    let mut mailboxes = Vec::with_capacity(shards_count);
    let mut edges = Vec::with_capacity(shards_count);
    for listener in listeners {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), MAILBOX)?);
        let (sender, inbox) = mailbox(waker, config.letters_max);
        mailboxes.push(sender);
        edges.push((poll, listener, inbox));
    }
    let doors = Doors {
        directory,
        mailboxes: mailboxes.clone(),
        api_key: config.api_key.clone(),
        seats_rate: config.seats_rate,
        room_types: room_types.clone(),
    };
    let (http, http_ended) = http::open(config.http, Arc::clone(&board), doors)?;
    let (notifier, notices) = unbounded();
    let server = Surroundings {
        board: Arc::clone(&board),
        directory,
        room_types: room_types.clone(),
        tls: identity.as_ref().map(|identity| Arc::clone(identity.config())),
        secret: draw_secret()?,
    };
    let mut threads = Vec::with_capacity(shards_count);
    for (index, (poll, listener, inbox)) in edges.into_iter().enumerate() {
        let parts = Parts {
            poll,
            listener,
            inbox,
            mailboxes: mailboxes.clone(),
            write_stamps: config.write_stamps,
            failures: failures.clone(),
            recordings: recordings.next(),
            http: http.clone(),
        };
        let shard_config = ShardConfig::of(config, &server, ShardIndex(index));
        let core = config.cores.get(index).copied();
        let builder = thread::Builder::new().name(format!("shard-{index}"));
        let notifier = notifier.clone();
        threads.push(builder.spawn(move || run_shard(core, parts, shard_config, &notifier))?);
    }
    let _watched = watch(config.watchdog, Arc::clone(&board))?;
    let stopper = Stopper { board, mailboxes, notifier, deadline: config.stop.deadline };
    Ok(Server {
        address,
        identity,
        stopper,
        threads,
        notices,
        failures_written,
        recordings_written,
        http_ended,
        _watched,
    })
}

impl Server {
    /// Where it listens; with port 0 in the configuration, the port it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who it says it is, when connections are encrypted. With it the certificate is read again
    /// from any thread.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// A handle that stops the server from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until every shard has ended. One that ends unasked stops the others, and when the
    /// server was told to stop, nobody is waited for longer than the deadline.
    ///
    /// # Errors
    /// What ended a shard other than being told to stop, or that one did not end in time.
    pub fn join(self) -> io::Result<Vec<ShardReport>> {
        let mut running: BTreeSet<usize> = (0..self.threads.len()).collect();
        while !running.is_empty() {
            let notice = match self.stopper.time_left() {
                None => self.notices.recv().ok(),
                Some(time) => self.notices.recv_timeout(time).ok(),
            };
            match notice {
                Some(Notice::StopRequested) => {}
                Some(Notice::Ended(shard)) => {
                    running.remove(&shard.0);
                    self.stopper.stop();
                }
                None => return Err(self.stopper.give_up(&running)),
            }
        }
        let joined = self.threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a shard panicked")))
        });
        let reports = joined.collect();
        // Its connections came from shards, which have ended: it says goodbye to them and ends.
        let _ = self.http_ended.recv_timeout(self.stopper.time_left().unwrap_or_default());
        for written in [self.failures_written, self.recordings_written].into_iter().flatten() {
            // A disk that hangs holds nobody up longer than a shard may.
            let _ = written.recv_timeout(self.stopper.time_left().unwrap_or_default());
        }
        reports
    }
}

/// Stops a server.
#[derive(Clone, Debug)]
pub struct Stopper {
    board: Arc<Board>,
    mailboxes: Vec<Mailbox>,
    notifier: Sender<Notice>,
    deadline: Duration,
}

impl Stopper {
    /// Tells every shard to close its sessions politely and to end. Only the first time counts.
    pub fn stop(&self) {
        if self.board.stop_by().is_some() {
            return;
        }
        self.board.request_stop(monotonic_now() + (self.deadline - self.margin()));
        for mailbox in &self.mailboxes {
            mailbox.wake();
        }
        // Fails when nobody waits for the end.
        let _ = self.notifier.send(Notice::StopRequested);
    }

    /// How long shards may still take, once there is a deadline.
    fn time_left(&self) -> Option<Duration> {
        let end = self.board.stop_by()? + self.margin();
        Some(end.saturating_since(monotonic_now()))
    }

    fn margin(&self) -> Duration {
        self.deadline / STOP_MARGIN_PARTS
    }

    /// Says which shards did not end in time.
    fn give_up(&self, running: &BTreeSet<usize>) -> io::Error {
        for shard in running {
            let activity = self.board.shard(*shard).activity();
            let sessions_count = self.board.shard(*shard).published().1.sessions_count;
            let message = "it did not stop in time, its connections are cut";
            tracing::error!(event = "stop.hung", shard, %activity, sessions_count, message);
        }
        let shards: Vec<String> = running.iter().map(usize::to_string).collect();
        let (shards, deadline) = (shards.join(", "), self.deadline);
        io::Error::other(format!("did not stop within {deadline:?}: shard {shards}"))
    }
}

/// Another secret at each start, so that no token of an earlier run means anything. Whoever gives
/// the server a seed does not give the secret away with it.
fn draw_secret() -> io::Result<Secret> {
    let mut bytes = [0; 32];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| io::Error::other("the system has no random bytes"))?;
    Ok(Secret::new(bytes))
}

/// Has shards watched until the sender is dropped.
fn watch(config: WatchdogConfig, board: Arc<Board>) -> io::Result<Sender<Infallible>> {
    let (watched, until) = bounded(0);
    let builder = thread::Builder::new().name("watchdog".to_owned());
    builder.spawn(move || watchdog::watch(config, &board, &until))?;
    Ok(watched)
}

fn run_shard(
    core: Option<usize>,
    parts: Parts,
    config: ShardConfig,
    notifier: &Sender<Notice>,
) -> io::Result<ShardReport> {
    let (index, board) = (config.index.0, Arc::clone(&config.board));
    let guard = AbortOnPanic;
    if let Some(id) = core
        && !core_affinity::set_for_current(CoreId { id })
    {
        tracing::warn!(event = "shard.unpinned", shard = index, core = id, "could not pin");
    }
    let report = Reactor::new(parts, Shard::new(config)).and_then(Reactor::run);
    std::mem::forget(guard);
    board.shard(index).set_activity(Activity::Ended);
    // Fails when nobody waits for the end.
    let _ = notifier.send(Notice::Ended(ShardIndex(index)));
    report
}

/// A shard that panics owns rooms nobody else can tick: half a server is worse than none, and a
/// supervisor restarts a process.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// One listener per shard on the same address; the kernel spreads connections over them.
fn listen(address: SocketAddr, shards_count: usize) -> io::Result<Vec<TcpListener>> {
    // With SO_REUSEPORT a second server would quietly share the port: an exclusive listener
    // finds out first, and resolves port 0.
    let exclusive = bind(address, Sharing::Exclusive)?;
    let address = exclusive.local_addr()?;
    if shards_count == 1 {
        return Ok(vec![exclusive]);
    }
    drop(exclusive);
    (0..shards_count).map(|_| bind(address, Sharing::Shared)).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Exclusive,
    Shared,
}

fn bind(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    // Accepted connections inherit it. A tick is one write; waiting for more to send together
    // only adds delay.
    socket.set_tcp_nodelay(true)?;
    // Also inherited.
    socket.set_tcp_notsent_lowat(KERNEL_UNSENT_BYTES_MAX)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
