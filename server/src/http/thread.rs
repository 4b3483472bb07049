//! The thread that serves plain HTTP, and the way to it.
//!
//! It is not pinned: the kernel runs it wherever there is time, and where there is none it gives
//! way to the shards.
#![expect(clippy::disallowed_types, reason = "an edge module: sockets between threads")]

use std::convert::Infallible;
use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::Router;
use tickloom_protocol::handshake::Refusal;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{self, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{JoinSet, LocalSet};

use super::connection::{self, End};
use super::counters::HttpCounters;
use super::routes::Site;
use super::stream::{Deadlines, HttpStream, Transport};
use super::{Doors, HandOver, HttpConfig, guard, pages, routes};
use crate::board::Board;
use crate::directory::ShardIndex;
use crate::mail::Mail;
use crate::mailbox::{Letter, Mailbox};
use crate::tls::Tls;

/// How much the kernel prefers shards when there is not time for all: as a `nice` value, with
/// which the thread still gets a tenth of a core.
const NICENESS: i32 = 10;

/// How long connections may take for their last answer when the server ends.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// A connection on its way to the thread.
#[derive(Debug)]
pub struct Arrival {
    /// What it says and where it comes from.
    pub hand_over: HandOver,
    /// Its socket.
    pub stream: TcpStream,
    /// The shard it comes from, to which it goes back for an upgrade.
    pub shard: ShardIndex,
}

/// The way to the thread. When the last one is dropped, the thread ends.
#[derive(Clone, Debug)]
pub struct HttpSender {
    sender: mpsc::Sender<(Arrival, OwnedSemaphorePermit)>,
    places: Arc<Semaphore>,
    counters: Arc<HttpCounters>,
}

impl HttpSender {
    /// Gives a connection to the thread.
    ///
    /// # Errors
    /// The connection, when the thread has as many as it may or is gone.
    pub fn send(&self, arrival: Arrival) -> Result<(), Box<Arrival>> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.counters.count_refused();
            return Err(Box::new(arrival));
        };
        self.sender.try_send((arrival, place)).map_err(|error| {
            self.counters.count_refused();
            Box::new(error.into_inner().0)
        })
    }
}

/// What connections of the thread share.
struct Shared {
    config: HttpConfig,
    router: Router,
    counters: Arc<HttpCounters>,
    /// By shard index.
    mailboxes: Vec<Mailbox>,
}

/// A connection that is there, and its place.
struct Counted {
    counters: Arc<HttpCounters>,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    fn new(counters: &Arc<HttpCounters>, place: OwnedSemaphorePermit) -> Self {
        counters.count_opened();
        Self { counters: Arc::clone(counters), _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.count_closed();
    }
}

/// Starts the thread. The receiver is disconnected when the thread has ended.
///
/// # Errors
/// The kernel refuses the thread or its event loop.
pub fn open(
    config: HttpConfig,
    board: Arc<Board>,
    doors: Doors,
) -> io::Result<(HttpSender, crossbeam_channel::Receiver<Infallible>)> {
    let counters = Arc::<HttpCounters>::default();
    let places = Arc::new(Semaphore::new(config.connections_max));
    let mailboxes = doors.mailboxes.clone();
    let site = Arc::new(Site::new(board, Arc::clone(&counters), doors));
    let guard = guard::Limits::new(&config, Arc::clone(&places));
    let files = if config.has_pages { pages::FILES } else { &[] };
    let router = guard::guard(routes::router(&site, files), &site, guard);
    open_with(config, router, counters, places, mailboxes)
}

/// Starts the thread with these routes.
pub(super) fn open_with(
    config: HttpConfig,
    router: Router,
    counters: Arc<HttpCounters>,
    places: Arc<Semaphore>,
    mailboxes: Vec<Mailbox>,
) -> io::Result<(HttpSender, crossbeam_channel::Receiver<Infallible>)> {
    // Every connection in it has a place.
    let (sender, arrivals) = mpsc::channel(config.connections_max);
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (running, ended) = crossbeam_channel::bounded(0);
    let sender = HttpSender { sender, places, counters: Arc::clone(&counters) };
    // It inherits its starter's cores, which are all the process may use: shards pin themselves.
    thread::Builder::new().name("http".to_owned()).spawn(move || {
        let _running = running;
        give_way();
        let shared = Shared { config, router, counters, mailboxes };
        run(&runtime, arrivals, shared);
    })?;
    Ok((sender, ended))
}

/// Lets shards have the processor first.
fn give_way() {
    // Of the calling thread: in Linux each has its own.
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(event = "http.nice", %error, "it competes with shards");
    }
}

/// Serves what arrives until nothing can any more, and then what is being answered.
fn run(
    runtime: &Runtime,
    mut arrivals: mpsc::Receiver<(Arrival, OwnedSemaphorePermit)>,
    shared: Shared,
) {
    let shared = Rc::new(shared);
    let (stop, stopped) = watch::channel(false);
    let local = LocalSet::new();
    local.block_on(runtime, async {
        let mut connections = JoinSet::new();
        while let Some((arrival, place)) = arrivals.recv().await {
            // Ended ones are let go of; a panic in one is its own and has been logged.
            while connections.try_join_next().is_some() {}
            let (shared, stopped) = (Rc::clone(&shared), stopped.clone());
            let counted = Counted::new(&shared.counters, place);
            connections.spawn_local(async move {
                let _counted = counted;
                serve(&shared, arrival, stopped).await;
            });
        }
        // Fails when there are no connections.
        let _ = stop.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        // Whoever takes longer is cut.
        let _ = tokio::time::timeout(GOODBYE_MAX, all).await;
    });
}

async fn serve(shared: &Shared, arrival: Arrival, stop: watch::Receiver<bool>) {
    let Arrival { hand_over: HandOver { peer, client, counted, tls, bytes }, stream, shard } =
        arrival;
    let config = &shared.config;
    let deadlines = Deadlines { write: config.body_timeout, drain: config.drain };
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let stream = HttpStream::new(Transport::new(stream, tls), bytes, deadlines);
    match connection::serve(stream, shared.router.clone(), config.idle_timeout, stop).await {
        End::Closed => {}
        End::Upgrade { stream, tls, bytes } => {
            let Ok(stream) = stream.into_std() else { return };
            shared.counters.count_upgrade();
            let mail = Mail::Upgrade(HandOver { peer, client, counted, tls, bytes });
            let socket = Some(mio::net::TcpStream::from_std(stream));
            if let Err(letter) = shared.mailboxes[shard.0].send(Letter { mail, socket })
                && let Letter { mail: Mail::Upgrade(hand_over), socket: Some(socket) } = *letter
            {
                refuse(socket.into(), hand_over.tls, deadlines).await;
            }
        }
    }
}

/// Says that there is no place.
async fn refuse(stream: TcpStream, tls: Option<Box<Tls>>, deadlines: Deadlines) {
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let mut stream = HttpStream::new(Transport::new(stream, tls), Vec::new(), deadlines);
    // Fails when the other end is gone.
    if stream.write_all(&Refusal::OVERLOADED.response()).await.is_ok() {
        let _ = stream.shutdown().await;
    }
}
