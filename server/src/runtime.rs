//! Starts one pinned thread per shard, connects their mailboxes, and stops them.
#![expect(clippy::disallowed_types, reason = "an edge module: listeners and polls")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use core_affinity::CoreId;
use mio::net::TcpListener;
use mio::{Poll, Waker};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::Config;
use crate::directory::{Directory, ShardIndex};
use crate::mail::Mail;
use crate::mailbox::{Letter, Mailbox, mailbox};
use crate::reactor::{MAILBOX, Parts, Reactor, ShardReport};
use crate::rooms::RoomTypes;
use crate::shard::{Shard, ShardConfig};

/// Connections the kernel keeps for us between two turns of a loop. It takes the lower of this
/// and `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    mailboxes: Vec<Mailbox>,
    threads: Vec<JoinHandle<io::Result<ShardReport>>>,
}

/// The cores this process may run on: affinity masks and cpusets are honoured.
#[must_use]
pub fn allowed_cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// Starts a server. It accepts connections when this returns.
///
/// # Errors
/// The address cannot be listened on, or the kernel refuses a poll, a timer or a thread.
pub fn serve(config: &Config, room_types: &RoomTypes) -> io::Result<Server> {
    let shards_count = config.cores.len().max(1);
    let directory = Directory::new(shards_count, config.seed);
    let listeners = listen(config.listen, shards_count)?;
    let address = listeners[0].local_addr()?;

    let mut mailboxes = Vec::with_capacity(shards_count);
    let mut edges = Vec::with_capacity(shards_count);
    for listener in listeners {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), MAILBOX)?);
        let (sender, inbox) = mailbox(waker);
        mailboxes.push(sender);
        edges.push((poll, listener, inbox));
    }
    let mut threads = Vec::with_capacity(shards_count);
    for (index, (poll, listener, inbox)) in edges.into_iter().enumerate() {
        let parts = Parts {
            poll,
            listener,
            inbox,
            mailboxes: mailboxes.clone(),
            write_stamps: config.write_stamps,
        };
        let shard_config = ShardConfig {
            index: ShardIndex(index),
            directory,
            room_types: room_types.clone(),
            echo: config.echo,
            patience: config.patience,
            outbox: config.outbox,
            sessions_max: config.connections_max.div_ceil(shards_count),
            rooms_max: config.rooms_max.div_ceil(shards_count),
            room_linger: config.room_linger,
            stall_max: config.stall_max,
            seed: config.seed.wrapping_add(index as u64),
        };
        let core = config.cores.get(index).copied();
        let builder = thread::Builder::new().name(format!("shard-{index}"));
        threads.push(builder.spawn(move || run_shard(core, parts, shard_config))?);
    }
    Ok(Server { address, mailboxes, threads })
}

impl Server {
    /// Where it listens; with port 0 in the configuration, the port it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A handle that stops the server from another thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper { mailboxes: self.mailboxes.clone() }
    }

    /// Waits until every shard has ended.
    ///
    /// # Errors
    /// What ended a shard other than being told to stop.
    pub fn join(self) -> io::Result<Vec<ShardReport>> {
        let joined = self.threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a shard panicked")))
        });
        joined.collect()
    }
}

/// Stops a server.
#[derive(Clone, Debug)]
pub struct Stopper {
    mailboxes: Vec<Mailbox>,
}

impl Stopper {
    /// Tells every shard to close its sessions politely and to end.
    pub fn stop(&self) {
        for mailbox in &self.mailboxes {
            // Fails when the shard has ended already, which is what is wanted.
            let _ = mailbox.send(Letter { mail: Mail::Stop, socket: None });
        }
    }
}

fn run_shard(core: Option<usize>, parts: Parts, config: ShardConfig) -> io::Result<ShardReport> {
    let index = config.index.0;
    let guard = AbortOnPanic;
    if let Some(id) = core
        && !core_affinity::set_for_current(CoreId { id })
    {
        tracing::warn!(event = "shard.unpinned", shard = index, core = id, "could not pin");
    }
    let report = Reactor::new(parts, Shard::new(config)).and_then(Reactor::run);
    std::mem::forget(guard);
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
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
