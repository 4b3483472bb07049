//! One generator thread: a mio loop over its share of the clients.
//!
//! Sockets are registered for both directions once and read until a short read or the byte budget
//! of a turn; what the budget leaves goes on a ready list, because an edge-triggered poll will not
//! remind us. What is to be done waits in a heap by its moment, and one timerfd wakes the loop for
//! it: mio's own timeouts are rounded up to whole milliseconds.
#![expect(clippy::disallowed_types, reason = "the mio edge")]

mod comings;
mod ending;
mod pace;
mod slot;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use rustls::HandshakeKind;
use tickloom_protocol::time::Timestamp;

use super::mail::{Beat, Command, Mail, Task};
use super::{borders, next_second, now, thread_cpu_us};
use crate::client::{Client, Ledger, Noticeboard, Stage, Turn};
use crate::health::ThreadHealth;
use crate::scenario::phases::Change;
use crate::tally::{Counters, Tally, Window};
use crate::tls::{Encryption, Tls};
use comings::{Churning, Manner};
use ending::Ending;
use slot::Slot;

/// Bytes read at once. One buffer serves all clients of a thread.
const READ_BYTES_MAX: usize = 64 * 1024;

/// Bytes read from one socket before the others get their turn.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// Events taken per poll.
const EVENTS_MAX: usize = 1024;

/// Longest sleep, so that commands are noticed soon without a waker.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// Shortest sleep: inputs that close together are sent together.
const SLEEP_US_MIN: u64 = 200;

/// The timer's token; clients use their slot's index.
const TIMER: Token = Token(usize::MAX);

/// What a moment is for, with its slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wake {
    /// The client acts.
    Act(usize),
    /// A slow reader reads on.
    Read(usize),
    /// A phase has the client come or go.
    Change(usize, Change),
    /// Somebody leaves and is replaced.
    Churn,
    /// Somebody's connection is cut.
    Drop,
    /// Everybody's is.
    Storm,
    /// Whoever was cut off comes back.
    Return(usize),
}

/// One generator thread with its share of clients of one kind.
pub(super) struct Reactor<C> {
    task: Task,
    commands: mpsc::Receiver<Command>,
    mail: mpsc::Sender<Mail>,
    poll: Poll,
    timer: OwnedFd,
    /// One for each client there may be at once.
    slots: Vec<Slot<C>>,
    /// Slots whose first connection was begun before the window.
    begun_count: usize,
    /// What is to be done, and when.
    wakes: BinaryHeap<Reverse<(Timestamp, Wake)>>,
    churning: Option<Churning>,
    dropping: Option<Churning>,
    /// Of clients that left before the end.
    ledgers: Vec<Ledger>,
    /// Slots with bytes left unread.
    ready: Vec<usize>,
    read_buffer: Box<[u8]>,
    encryption: Option<Encryption>,
    /// What one read said, when it was encrypted. Empty between reads.
    plaintext: Vec<u8>,
    window: Window,
    ending: Ending,
    tally: Tally,
    board: Noticeboard,
    health: ThreadHealth,
    /// The thread's CPU time at the last beat.
    cpu_us_before: u64,
    next_beat_at: Timestamp,
    /// Clients that joined or failed before this second's tally began.
    settled_before: u64,
    settled_told: bool,
}

impl<C: Client> Reactor<C> {
    pub(super) fn new(
        task: Task,
        commands: mpsc::Receiver<Command>,
        mail: mpsc::Sender<Mail>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        let encryption = Encryption::of(&task.url, &task.plan.trust).map_err(io::Error::other)?;
        Ok(Self {
            commands,
            mail,
            poll,
            timer,
            slots: (0..clients_count(&task)).map(|_| Slot::empty()).collect(),
            begun_count: 0,
            wakes: BinaryHeap::new(),
            churning: None,
            dropping: None,
            ledgers: Vec::new(),
            ready: Vec::new(),
            read_buffer: vec![0; READ_BYTES_MAX].into_boxed_slice(),
            encryption,
            plaintext: Vec::new(),
            window: Window::UNDECIDED,
            ending: Ending::NotYet,
            tally: Tally::default(),
            board: Noticeboard::default(),
            health: ThreadHealth::default(),
            cpu_us_before: 0,
            next_beat_at: next_second(task.start, &[]),
            settled_before: 0,
            settled_told: false,
            task,
        })
    }

    /// Which of the plan's shares this is.
    pub(super) fn share(&self) -> usize {
        self.task.share
    }

    /// The core to run on.
    pub(super) fn core(&self) -> Option<usize> {
        self.task.core
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut woken_at = now();
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            let at = now();
            self.beat(at);
            self.connect_due(at);
            self.wake_due(at);
            self.tell_settled();
            if self.step_ending(at) {
                return Ok(());
            }
            let timeout = self.set_timer()?;
            let asleep_at = now();
            self.count_time(woken_at, asleep_at, true);
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            woken_at = now();
            self.count_time(asleep_at, woken_at, false);
            for event in &events {
                let Token(slot) = event.token();
                if event.token() == TIMER || slot >= self.slots.len() {
                    continue;
                }
                if event.is_writable() || event.is_error() {
                    self.write_ready(slot);
                }
                if event.is_readable() || event.is_read_closed() {
                    self.read(slot, event.is_read_closed());
                }
            }
            for slot in std::mem::take(&mut self.ready) {
                self.read(slot, false);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Measure(window) => {
                self.window = window;
                self.schedule_changes();
            }
            Command::Stop(at) => {
                let Window { from, until } = self.window;
                self.window = Window { from: from.min(at), until: until.min(at) };
            }
        }
        // A second that is under way is cut where the window or a phase begins or ends.
        self.next_beat_at = self
            .borders()
            .into_iter()
            .filter(|border| *border < self.next_beat_at && *border > now())
            .min()
            .unwrap_or(self.next_beat_at);
    }

    fn borders(&self) -> Vec<Timestamp> {
        borders(self.window, self.task.plan.phases(), self.task.plan.storm())
    }

    /// Clients of this thread that connect before the window.
    fn first_count(&self) -> usize {
        let plan = &self.task.plan;
        share_of(plan.phases().first_count(plan.clients_count), &self.task)
    }

    /// The number in the run of client `slot` of this thread.
    fn index_of(&self, slot: usize) -> u32 {
        (self.task.share + slot * self.task.plan.shares_count()) as u32
    }

    /// When client `slot` of this thread begins to connect.
    fn connect_at(&self, slot: usize) -> Timestamp {
        let offset_us =
            u64::from(self.index_of(slot)) * 1_000_000 / u64::from(self.task.plan.connect_rate_hz);
        Timestamp(self.task.start.0 + offset_us)
    }

    fn wake_due(&mut self, at: Timestamp) {
        while let Some(&Reverse((due, wake))) = self.wakes.peek()
            && due <= at
        {
            self.wakes.pop();
            match wake {
                Wake::Act(key) => self.act(key, due),
                Wake::Read(key) => {
                    self.slots[key].paused = false;
                    self.read(key, false);
                }
                Wake::Change(key, change) => self.change(key, change),
                Wake::Churn => self.churn(),
                Wake::Drop => self.drop_one(),
                Wake::Storm => self.drop_all(),
                Wake::Return(key) => self.come_back(key),
            }
        }
    }

    fn act(&mut self, key: usize, due: Timestamp) {
        let slot = &mut self.slots[key];
        // Something was due earlier, and then this moment was not its next any more.
        if slot.timed.take_if(|at| *at == due).is_none() {
            return;
        }
        if let Some(client) = &mut slot.client {
            // Each act's own moment: a batch that takes long makes its last ones late.
            let turn = &mut Turn {
                now: now(),
                window: self.window,
                tally: &mut self.tally,
                board: &mut self.board,
            };
            client.handle_timer(turn);
        }
        self.after_turn(key);
    }

    /// A socket can be written to: for the first time, or again.
    fn write_ready(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        let Some(stream) = &slot.stream else { return };
        if !slot.connected {
            match (stream.take_error(), stream.peer_addr()) {
                (Ok(None), Ok(_)) => {
                    slot.connected = true;
                    // Inputs are small and must not wait for each other.
                    let _ = stream.set_nodelay(true);
                }
                (Ok(Some(error)) | Err(error), _) => {
                    return self.disconnect(key, &format!("connect: {}", error.kind()));
                }
                // A spurious event: the connection is still being made.
                (Ok(None), Err(_)) => return,
            }
        }
        self.after_turn(key);
    }

    fn read(&mut self, key: usize, read_closed: bool) {
        let mut bytes_left = TURN_BYTES_MAX;
        loop {
            let slot = &mut self.slots[key];
            let Some(stream) = slot.stream.as_mut().filter(|_| slot.connected) else { return };
            let Some(client) = &mut slot.client else { return };
            let mut bytes_max = READ_BYTES_MAX;
            if let Some(pace) = slot.pace.as_mut().filter(|_| client.stage() == Stage::Playing) {
                bytes_max = pace.allowance(now()).min(READ_BYTES_MAX);
                if bytes_max == 0 {
                    if !std::mem::replace(&mut slot.paused, true) {
                        self.wakes.push(Reverse((pace.resumes_at(), Wake::Read(key))));
                    }
                    break;
                }
            }
            let result = stream.read(&mut self.read_buffer[..bytes_max]);
            let turn = &mut Turn {
                now: now(),
                window: self.window,
                tally: &mut self.tally,
                board: &mut self.board,
            };
            match result {
                Ok(0) => return self.disconnect(key, "ended without a close frame"),
                Ok(read) => {
                    let bytes = &self.read_buffer[..read];
                    match &mut slot.tls {
                        None => client.handle_bytes(bytes, turn),
                        Some(tls) => {
                            let result = tls.read(bytes, &mut self.plaintext);
                            count_handshake(tls, &mut turn.tally.counters);
                            client.handle_bytes(&self.plaintext, turn);
                            self.plaintext.clear();
                            if let Err(error) = result {
                                return self.disconnect(key, &format!("tls: {error}"));
                            }
                        }
                    }
                    if let Some(pace) = &mut slot.pace {
                        pace.handle_read(read);
                    }
                    bytes_left = bytes_left.saturating_sub(read);
                    if read < bytes_max && !read_closed {
                        break;
                    }
                    if bytes_left == 0 {
                        self.ready.push(key);
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.disconnect(key, &format!("read: {}", error.kind())),
            }
        }
        self.after_turn(key);
    }

    /// Writes what a client has to say, puts it in the timer heap, and drops its socket when it
    /// is done.
    fn after_turn(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        let Some(stream) = slot.stream.as_mut().filter(|_| slot.connected) else { return };
        let Some(client) = &mut slot.client else { return };
        let (mut written, mut error) = (0, None);
        let is_flushed = loop {
            let output = match &mut slot.tls {
                None => client.output_mut(),
                Some(tls) => tls.output(client.output_mut()),
            };
            if output.is_empty() {
                break true;
            }
            match stream.write(output) {
                Ok(0) => break false,
                Ok(n) => {
                    written += n;
                    output.drain(..n);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    error = Some(e);
                    break false;
                }
            }
        };
        if written > 0 && self.window.contains(now()) {
            self.tally.counters.bytes_up += written as u64;
        }
        if let Some(error) = error {
            return self.disconnect(key, &format!("write: {}", error.kind()));
        }
        if (client.stage() == Stage::Ended && is_flushed) || client.stage() == Stage::Away {
            return self.gone(key);
        }
        if client.is_displaced() && !slot.replaced && self.ending == Ending::NotYet {
            slot.replaced = true;
            return self.leave(key, Manner::Farewell);
        }
        if let Some(at) = client.next_due_at()
            && slot.timed.is_none_or(|timed| at < timed)
        {
            slot.timed = Some(at);
            self.wakes.push(Reverse((at, Wake::Act(key))));
        }
    }

    fn disconnect(&mut self, key: usize, error: &str) {
        if let Some(client) = &mut self.slots[key].client {
            let turn = &mut Turn {
                now: now(),
                window: self.window,
                tally: &mut self.tally,
                board: &mut self.board,
            };
            client.handle_disconnect(error, turn);
            if client.is_displaced() && !self.slots[key].replaced && self.ending == Ending::NotYet {
                self.slots[key].replaced = true;
                return self.leave(key, Manner::Silence);
            }
        }
        self.gone(key);
    }

    /// Hands over the tally of every second that has ended.
    fn beat(&mut self, at: Timestamp) {
        while self.next_beat_at <= at {
            let until = self.next_beat_at;
            self.next_beat_at = next_second(until, &self.borders());
            self.hand_over(until);
        }
    }

    fn hand_over(&mut self, until: Timestamp) {
        let mut playing = 0;
        for client in self.slots.iter_mut().filter_map(|slot| slot.client.as_mut()) {
            // Ramps that are still going on belong to this second up to its end.
            let turn = &mut Turn {
                now: until,
                window: self.window,
                tally: &mut self.tally,
                board: &mut self.board,
            };
            client.handle_second(turn);
            playing += u64::from(client.stage() == Stage::Playing);
        }
        let tally = std::mem::take(&mut self.tally);
        let mut health = std::mem::take(&mut self.health);
        let cpu_us = thread_cpu_us();
        if self.window.from < until && until <= self.window.until {
            health.cpu_us = cpu_us - self.cpu_us_before;
        }
        self.cpu_us_before = cpu_us;
        self.settled_before += tally.counters.clients_joined + tally.counters.clients_failed;
        let beat = Beat { share: self.task.share, until, tally, playing, health };
        // The main thread waits for all of us, so it is there.
        let _ = self.mail.send(Mail::Beat(Box::new(beat)));
    }

    fn tell_settled(&mut self) {
        let counters = &self.tally.counters;
        let settled = self.settled_before + counters.clients_joined + counters.clients_failed;
        if !self.settled_told && settled >= self.first_count() as u64 {
            self.settled_told = true;
            let _ = self.mail.send(Mail::Settled);
        }
    }

    /// Arms the timer for the next thing to do; returns how long to sleep at most.
    fn set_timer(&mut self) -> io::Result<Duration> {
        if !self.ready.is_empty() {
            return Ok(Duration::ZERO);
        }
        let mut next = self.next_beat_at;
        if let Some(&Reverse((due, _))) = self.wakes.peek() {
            next = next.min(due);
        }
        if self.ending == Ending::NotYet && self.begun_count < self.first_count() {
            next = next.min(self.connect_at(self.begun_count));
        }
        let next_us = next.0.max(now().0 + SLEEP_US_MIN);
        let at = Timespec {
            tv_sec: i64::try_from(next_us / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: (next_us % 1_000_000 * 1000) as _,
        };
        let none = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = Itimerspec { it_interval: none, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &spec)?;
        Ok(SLEEP_MAX)
    }

    /// Adds a stretch of time to the thread's health, as far as it is in the window.
    fn count_time(&mut self, from: Timestamp, until: Timestamp, busy: bool) {
        let from_us = from.0.max(self.window.from.0);
        let us = until.0.min(self.window.until.0).saturating_sub(from_us);
        self.health.wall_us += us;
        if busy {
            self.health.busy_us += us;
        }
    }
}

fn count_handshake(tls: &mut Tls, counters: &mut Counters) {
    match tls.take_agreed() {
        Some(HandshakeKind::Resumed) => counters.tls_resumed += 1,
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) => {
            counters.tls_full += 1;
        }
        None => {}
    }
}

/// Of `clients_count` clients, those of a task.
fn share_of(clients_count: u32, task: &Task) -> usize {
    let shares = task.plan.shares_count();
    (clients_count as usize + shares - 1 - task.share) / shares
}

fn clients_count(task: &Task) -> usize {
    share_of(task.plan.clients_count, task)
}
