//! The mio edge of one shard: it polls, reads, calls, writes and re-arms. It has no policy.
//!
//! Readiness is edge-triggered, which leaves three duties: a read that fills the buffer goes on
//! the `ready` list, because no event will say that more is there; a socket that took less than
//! it was offered waits for its writable event; and what was queued while reading is flushed at
//! the end of the same turn.
#![expect(clippy::disallowed_types, reason = "the mio edge")]

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec,
};
use tickloom_protocol::time::Timestamp;

use crate::failure_files::FailureSender;
use crate::http::{Arrival, HttpSender};
use crate::ledger::Stopwatch;
use crate::mailbox::{Inbox, Letter, Mailbox};
use crate::metrics::{Metrics, Shed};
use crate::recording::writer::RecordingSender;
use crate::room::RoomId;
use crate::room::broadcast::BroadcastCounts;
use crate::session::SessionId;
use crate::shard::Shard;

mod accept;
mod effects;
mod pulse;

use accept::Acceptor;
use pulse::Pulse;

// Session tokens hold a generation above 32 bits of index; these hold an index that no table
// reaches.
const LISTENER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// The token behind which a shard's mailbox wakes it.
pub const MAILBOX: Token = Token(usize::MAX - 2);

/// Bytes read from one connection before others get their turn.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Place in the buffer that a member of a room finds when the room is read.
const READ_ROOM_BYTES_MIN: usize = 4 * 1024;

/// Bytes copied together for one write. One contiguous write is cheaper than a gathering one up
/// to sizes far above a tick's frame.
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Events taken from the kernel at once, before rooms whose tick is due have their turn. When
/// thousands of connections break or come in one moment, each of these takes some ten microseconds,
/// and a tick waits for all that were taken. None is starved: what was reported once goes behind
/// the others.
const EVENTS_MAX: usize = 32;

/// Time since the machine started: the clock all shards, clients on this machine and load
/// generators share.
#[must_use]
pub fn monotonic_now() -> Timestamp {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    Timestamp(now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000)
}

/// What shards measure their rooms with.
const STOPWATCH: Stopwatch = Stopwatch::new(monotonic_nanos);

/// The same clock in nanoseconds, for measuring.
fn monotonic_nanos() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// One shard and its sockets.
pub struct Reactor {
    poll: Poll,
    acceptor: Acceptor,
    timer: OwnedFd,
    /// What the timer is set to.
    timer_due: Option<Timestamp>,
    shard: Shard,
    pulse: Pulse,
    /// By the session's index. A socket is here exactly while its session is in the shard.
    sockets: Vec<Option<Socket>>,
    inbox: Inbox,
    /// By shard index; the reactor's own is among them.
    mailboxes: Vec<Mailbox>,
    /// Connections whose last read filled the buffer, each once: with a place for every event, one
    /// that never stops sending would be read more often from turn to turn.
    ready: VecDeque<SessionId>,
    /// The sessions to read before the next room ticks; empty between rooms.
    on_turn: Vec<SessionId>,
    /// What was read and not handed on yet, with its place in the buffer; empty between rooms.
    taken: Vec<(SessionId, usize, Taken)>,
    read_buffer: Box<[u8]>,
    write_buffer: Box<[u8]>,
    writes: Option<Vec<WriteStamp>>,
    failures: Option<FailureSender>,
    recordings: Option<RecordingSender>,
    http: HttpSender,
    /// What neither the HTTP thread nor another shard took: it comes back once the shard's effects
    /// are done.
    not_taken: Vec<Arrival>,
    undelivered: Vec<Letter>,
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Taken {
    /// Nothing is there, or nobody.
    Nothing,
    /// A signal came first.
    Interrupted,
    /// So many bytes.
    Bytes(usize),
    /// The other end sends nothing more.
    End,
    /// The connection is no more.
    Broken,
}

impl Taken {
    fn length(self) -> usize {
        match self {
            Self::Bytes(length) => length,
            Self::Nothing | Self::Interrupted | Self::End | Self::Broken => 0,
        }
    }
}

struct Socket {
    id: SessionId,
    stream: TcpStream,
    /// The client's port, if writes are stamped with it.
    peer_port: u16,
    /// The kernel took less than it was offered; a writable event will follow.
    is_blocked: bool,
    /// It is not to be read, whatever its events say.
    is_paused: bool,
    /// It is on the `ready` list.
    is_listed: bool,
    /// The other end sends nothing more; what it has sent may still be there.
    is_ending: bool,
}

/// When one write left, for benchmarks that ask for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteStamp {
    /// The client's port.
    pub peer_port: u16,
    /// When the turn's work was done and flushing began.
    pub queued: Timestamp,
    /// When the write returned.
    pub written: Timestamp,
}

/// What a shard did while it ran.
#[derive(Clone, Debug)]
pub struct ShardReport {
    /// Its counters.
    pub metrics: Metrics,
    /// What its rooms sent.
    pub broadcast: BroadcastCounts,
    /// When each write left, if that was asked for.
    pub writes: Vec<WriteStamp>,
}

/// Whether a reactor stamps every write. It costs a clock read and sixteen bytes each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteStamps {
    /// Keep them for the report.
    Keep,
    /// Do not take them.
    Skip,
}

/// What a reactor is made from.
#[derive(Debug)]
pub struct Parts {
    /// Readiness of everything below; the mailbox's waker is registered with it.
    pub poll: Poll,
    /// Where connections come from.
    pub listener: TcpListener,
    /// The shard's own mail.
    pub inbox: Inbox,
    /// Every shard's mailbox, by shard index.
    pub mailboxes: Vec<Mailbox>,
    /// Whether to stamp writes.
    pub write_stamps: WriteStamps,
    /// Who keeps how rooms failed, if anybody does.
    pub failures: Option<FailureSender>,
    /// Who writes what rooms record, if anybody does.
    pub recordings: Option<RecordingSender>,
    /// Who answers requests that are no upgrades.
    pub http: HttpSender,
}

impl Reactor {
    /// A reactor around a fresh shard.
    ///
    /// # Errors
    /// The kernel has no timer or no room in its poll for us.
    pub fn new(parts: Parts, mut shard: Shard) -> io::Result<Self> {
        shard.set_stopwatch(STOPWATCH);
        let Parts { poll, mut listener, inbox, mailboxes, write_stamps, .. } = parts;
        let Parts { failures, recordings, http, .. } = parts;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let registry = poll.registry();
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        registry.register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let (board, index) = (shard.config().board.clone(), shard.config().index);
        Ok(Self {
            poll,
            acceptor: Acceptor::new(listener)?,
            timer,
            timer_due: None,
            shard,
            pulse: Pulse::new(board, index.0, monotonic_now()),
            sockets: Vec::new(),
            inbox,
            mailboxes,
            ready: VecDeque::new(),
            on_turn: Vec::new(),
            taken: Vec::new(),
            read_buffer: vec![0; READ_BYTES_MAX].into(),
            write_buffer: vec![0; WRITE_BYTES_MAX].into(),
            writes: (write_stamps == WriteStamps::Keep).then(Vec::new),
            failures,
            recordings,
            http,
            not_taken: Vec::new(),
            undelivered: Vec::new(),
        })
    }

    /// Runs until the shard was told to stop and nobody is left.
    ///
    /// # Errors
    /// The poll or the timer failed, which nothing can be done about.
    pub fn run(mut self) -> io::Result<ShardReport> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while !self.shard.is_finished() {
            let timeout = self.arm()?;
            match self.poll.poll(&mut events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            let now = monotonic_now();
            self.pulse.begin_turn(now);
            self.notice_stop(now);
            for event in &events {
                self.handle_event(now, event);
            }
            self.read_ready(now);
            self.accept(now);
            self.flush_and_obey();
            self.run_rooms();
            self.shard.handle_deadlines(monotonic_now());
            self.flush_and_obey();
            self.pulse.end_turn(monotonic_now(), &mut self.shard);
        }
        // Sessions that were still on their way when the last one here had gone.
        self.shard.metrics_mut().stopped_cut += self.inbox.drain().count() as u64;
        Ok(ShardReport {
            metrics: self.shard.metrics().clone(),
            broadcast: self.shard.broadcast_counts(),
            writes: self.writes.unwrap_or_default(),
        })
    }

    /// Sets the timer to the next thing due. Returns the poll's own timeout: zero when something
    /// waits already. The poll's timeouts are whole milliseconds, the timer's are exact.
    fn arm(&mut self) -> io::Result<Option<Duration>> {
        let due = [self.shard.next_due(), self.acceptor.retry_at(), Some(self.pulse.due())];
        let due = due.into_iter().flatten().min();
        let waits = !self.ready.is_empty() || self.acceptor.is_ready();
        if waits || due.is_some_and(|due| due <= monotonic_now()) {
            return Ok(Some(Duration::ZERO));
        }
        if due != self.timer_due {
            // Setting the timer also clears its expirations, so they need not be read; a zero
            // disarms it.
            let it_value = timespec(due.unwrap_or(Timestamp::ZERO));
            let it_interval = timespec(Timestamp::ZERO);
            let setting = Itimerspec { it_interval, it_value };
            rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &setting)?;
            self.timer_due = due;
        }
        Ok(None)
    }

    /// Stops once the board says so. It is no mail: a full mailbox would lose it.
    fn notice_stop(&mut self, now: Timestamp) {
        if let Some(until) = self.shard.config().board.stop_by()
            && !self.shard.is_stopping()
        {
            self.acceptor.close();
            self.shard.handle_stop(now, until);
            self.obey_all(now);
        }
    }

    fn handle_event(&mut self, now: Timestamp, event: &mio::event::Event) {
        match event.token() {
            LISTENER => self.acceptor.set_ready(),
            // What is due is found by looking at the clock; the timer must be set again.
            TIMER => self.timer_due = None,
            MAILBOX => self.take_mail(now),
            token => {
                let id = id_of(token);
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    let Some(socket) = socket_mut(&mut self.sockets, id) else { return };
                    socket.is_ending |= event.is_read_closed();
                    // Those on the list are read in a moment.
                    if !socket.is_listed {
                        self.read(now, id);
                    }
                }
                if event.is_writable()
                    && let Some(socket) = socket_mut(&mut self.sockets, id)
                {
                    socket.is_blocked = false;
                    self.shard.list_for_flush(id);
                }
            }
        }
    }

    /// Reads once, and lists the connection when there may be more.
    fn read(&mut self, now: Timestamp, id: SessionId) {
        let taken = self.take(id, 0);
        self.hand_on(now, id, 0, taken);
    }

    /// Reads the members of a room before it ticks: first all sockets, then what came. Kernel and
    /// shard each find their own code and data in the caches then.
    fn read_room(&mut self, now: Timestamp, room: RoomId) {
        let mut on_turn = std::mem::take(&mut self.on_turn);
        let mut taken = std::mem::take(&mut self.taken);
        self.shard.sessions_on_turn(room, &mut on_turn);
        let mut start = 0;
        for id in on_turn.drain(..) {
            if start > READ_BYTES_MAX - READ_ROOM_BYTES_MIN {
                self.hand_on_all(now, &mut taken);
                start = 0;
            }
            let what = self.take(id, start);
            taken.push((id, start, what));
            start += what.length();
        }
        self.hand_on_all(now, &mut taken);
        (self.on_turn, self.taken) = (on_turn, taken);
    }

    fn hand_on_all(&mut self, now: Timestamp, taken: &mut Vec<(SessionId, usize, Taken)>) {
        for (id, start, what) in taken.drain(..) {
            self.hand_on(now, id, start, what);
        }
    }

    /// Reads a socket once, into the buffer from `start` on.
    fn take(&mut self, id: SessionId, start: usize) -> Taken {
        let Some(socket) = socket_mut(&mut self.sockets, id) else { return Taken::Nothing };
        if socket.is_paused {
            return Taken::Nothing;
        }
        match socket.stream.read(&mut self.read_buffer[start..]) {
            Ok(0) => Taken::End,
            Ok(length) => Taken::Bytes(length),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => Taken::Nothing,
                io::ErrorKind::Interrupted => Taken::Interrupted,
                // Why it broke is the network's business.
                _ => Taken::Broken,
            },
        }
    }

    /// Tells the shard what a read brought, and lists the connection when there may be more.
    fn hand_on(&mut self, now: Timestamp, id: SessionId, start: usize, taken: Taken) {
        let end = start + taken.length();
        match taken {
            Taken::Nothing | Taken::Interrupted => {}
            Taken::Bytes(_) => self.shard.handle_bytes(now, id, &self.read_buffer[start..end]),
            Taken::End => self.shard.handle_disconnect(now, id),
            Taken::Broken => self.shard.handle_broken(now, id),
        }
        self.obey_all(now);
        let is_full = taken == Taken::Interrupted || end == self.read_buffer.len();
        let Some(socket) = socket_mut(&mut self.sockets, id) else { return };
        // A short read ends the data but not the connection's end behind it.
        let has_more = is_full || (socket.is_ending && taken != Taken::End);
        if has_more && taken != Taken::Nothing && !socket.is_listed {
            socket.is_listed = true;
            self.ready.push_back(id);
        }
    }

    /// One more read for every connection that had more than a buffer full.
    fn read_ready(&mut self, now: Timestamp) {
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(socket) = socket_mut(&mut self.sockets, id) {
                socket.is_listed = false;
            }
            self.read(now, id);
        }
    }

    fn accept(&mut self, now: Timestamp) {
        let mut streams = Vec::new();
        self.acceptor.accept(now, &mut streams);
        self.shard.metrics_mut().count_shed(Shed::Descriptors, self.acceptor.take_refused());
        for (stream, peer) in streams {
            let id = self.shard.handle_accept(now, peer);
            self.add_socket(now, id, stream);
            self.obey_all(now);
        }
    }

    fn add_socket(&mut self, now: Timestamp, id: SessionId, mut stream: TcpStream) {
        // Registering reports what is ready already, such as bytes that came before.
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut stream, token_of(id), interest) {
            tracing::warn!(event = "socket.register", %error, "a connection was dropped");
            self.shard.handle_broken(now, id);
            return;
        }
        let index = id.index as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        let peer = self.writes.as_ref().and_then(|_| stream.peer_addr().ok());
        let peer_port = peer.map_or(0, |peer| peer.port());
        debug_assert!(self.sockets[index].is_none(), "{id:?} takes the place of a socket");
        self.sockets[index] = Some(Socket {
            id,
            stream,
            peer_port,
            is_blocked: false,
            is_paused: false,
            is_listed: false,
            is_ending: false,
        });
    }

    fn take_mail(&mut self, now: Timestamp) {
        let letters: Vec<Letter> = self.inbox.drain().collect();
        for Letter { mail, socket } in letters {
            if let (Some(id), Some(stream)) = (self.shard.handle_mail(now, mail), socket) {
                self.add_socket(now, id, stream);
            }
            self.obey_all(now);
        }
    }

    /// Gives every room that is due its turn: reads its members, ticks it, writes to its members.
    fn run_rooms(&mut self) {
        self.shard.list_due_rooms(monotonic_now());
        while let Some(room) = self.shard.poll_room() {
            self.pulse.begin_reads();
            self.read_room(monotonic_now(), room);
            let begun = monotonic_now();
            let ticks_before = self.shard.metrics().ticks;
            self.shard.handle_room(begun, room);
            let metrics = self.shard.metrics_mut();
            let ticks = metrics.ticks - ticks_before;
            if ticks > 0 {
                let elapsed = monotonic_now().saturating_since(begun) / ticks as u32;
                Metrics::record(&mut metrics.tick_duration_us, elapsed);
            }
            let mut lap = STOPWATCH.start();
            self.flush_and_obey();
            self.shard.charge_flush(room, lap.split());
        }
    }

    /// Writes what is queued and does what the shard asks for, until neither is left.
    fn flush_and_obey(&mut self) {
        self.pulse.begin_flush();
        let now = monotonic_now();
        loop {
            while let Some(id) = self.shard.poll_flush() {
                self.flush(now, id);
            }
            if !self.obey_all(now) {
                return;
            }
        }
    }

    /// Writes a session's queue until it is empty or the socket is full.
    fn flush(&mut self, now: Timestamp, id: SessionId) {
        let Some(socket) = socket_mut(&mut self.sockets, id) else { return };
        while !socket.is_blocked
            && let Some(bytes) = self.shard.outgoing(id, &mut self.write_buffer)
        {
            match socket.stream.write(bytes) {
                Ok(sent) => {
                    if let Some(stamps) = &mut self.writes {
                        let (peer_port, written) = (socket.peer_port, monotonic_now());
                        stamps.push(WriteStamp { peer_port, queued: now, written });
                    }
                    self.shard.handle_sent(now, id, sent);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => socket.is_blocked = true,
                    io::ErrorKind::Interrupted => {}
                    _ => return self.shard.handle_broken(now, id),
                },
            }
        }
        if socket.is_blocked {
            self.shard.handle_blocked(id);
        }
    }

    /// Takes a socket that goes on elsewhere.
    fn let_go(&mut self, id: SessionId) -> Option<TcpStream> {
        let mut stream = self.take_socket(id)?.stream;
        // Fails only for a socket that is not registered, and this one is.
        let _ = self.poll.registry().deregister(&mut stream);
        Some(stream)
    }

    fn take_socket(&mut self, id: SessionId) -> Option<Socket> {
        let slot = self.sockets.get_mut(id.index as usize)?;
        slot.take_if(|socket| socket.id == id)
    }
}

fn timespec(at: Timestamp) -> Timespec {
    let micros = at.as_micros();
    Timespec { tv_sec: (micros / 1_000_000) as i64, tv_nsec: (micros % 1_000_000 * 1_000) as i64 }
}

fn socket_mut(sockets: &mut [Option<Socket>], id: SessionId) -> Option<&mut Socket> {
    sockets.get_mut(id.index as usize)?.as_mut().filter(|socket| socket.id == id)
}

fn token_of(id: SessionId) -> Token {
    Token((id.generation as usize) << 32 | id.index as usize)
}

fn id_of(token: Token) -> SessionId {
    SessionId { index: token.0 as u32, generation: (token.0 >> 32) as u32 }
}
