//! The kernel's share: a server that is system calls and nothing else. After the upgrade it looks
//! at no byte; it reads as many and writes as many as a room server would have to.
//!
//! ```text
//! one thread, one epoll, one timer; everything in it is one of
//!   tick     read one input of every connection, write one frame to every connection
//!   echo     read one frame, write its unmasked size to the same connection
//!   fanout   read one frame, write the same frame to every connection
//! ```
//!
//! `tick` exists in three forms: in [`Order::Exchange`] the inputs of a tick wait already and are
//! read in one go, in [`Order::Ticks`] they come as players send them and each wakes the loop, and
//! in [`Order::Rooms`] they wait until it is the turn of their room.
#![expect(clippy::disallowed_types, reason = "a measurement of the edge: it owns sockets")]

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tickloom_protocol::handshake::Head;

use crate::frames::data_frame;
use crate::machine::{Cores, thread_cpu};
use crate::{INPUT_FRAME_BYTES, INPUT_PAYLOAD_BYTES};

/// What the server's thread is called.
pub const PLAIN_THREAD: &str = "plain";

/// Bytes of an unmasked frame around what an input frame has inside.
pub const ECHO_FRAME_BYTES: usize = 2 + INPUT_PAYLOAD_BYTES;

// Neither is a connection.
const TIMER: Token = Token(usize::MAX);
const BELL: Token = Token(usize::MAX - 1);

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the server is told. Each order is answered by one [`Done`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Accept so many connections and upgrade each, one after the other.
    Accept(usize),
    /// From now on, write frames of so many bytes.
    FrameBytes(usize),
    /// Write one frame to every connection.
    Write,
    /// Read one input of every connection.
    Read,
    /// Read one input of every connection, then write one frame to every connection.
    Exchange,
    /// Tick so many times in these intervals: inputs are read as they come.
    Ticks {
        /// How often.
        count: u32,
        /// From one to the next.
        interval: Duration,
    },
    /// Tick so many times in these intervals, room after room, each at its own moment: its inputs
    /// are read and its frames written then.
    Rooms {
        /// How often.
        count: u32,
        /// From one to the next.
        interval: Duration,
        /// How many rooms. Neighbours by index are in different ones.
        rooms: usize,
    },
    /// Answer frames until told to halt.
    Echo,
    /// Write to everybody for each frame until told to halt.
    Fanout,
}

/// What came of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Done {
    /// CPU time it took.
    pub cpu: Duration,
    /// Frames of [`INPUT_FRAME_BYTES`] that were read.
    pub read: u64,
    /// Frames that were written.
    pub written: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Ticks that were over before the loop came to them.
    pub missed: u64,
}

/// The handle of the server's thread.
pub struct PlainServer {
    address: SocketAddr,
    orders: Sender<Order>,
    dones: Receiver<anyhow::Result<Done>>,
    bell: Arc<Waker>,
    thread: JoinHandle<()>,
}

impl PlainServer {
    /// Starts one on a free port of loopback.
    ///
    /// # Errors
    /// The kernel has no socket, poll, timer or thread for it.
    pub fn start(cores: Option<Cores>) -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("loopback")?;
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        let bell = Arc::new(Waker::new(poll.registry(), BELL)?);
        let mut end = ServerEnd::new(listener, poll)?;
        let (orders, inbox) = channel();
        let (answers, dones) = channel();
        let thread = thread::Builder::new().name(PLAIN_THREAD.to_owned());
        let thread = thread.spawn(move || {
            let pinned = cores.map_or(Ok(()), Cores::pin_server);
            if let Err(error) = pinned {
                let _ = answers.send(Err(error));
                return;
            }
            while let Ok(order) = inbox.recv() {
                // Fails only when nobody waits for an answer any more.
                let _ = answers.send(end.obey(order));
            }
        })?;
        Ok(Self { address, orders, dones, bell, thread })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells it what to do and does not wait for it.
    ///
    /// # Errors
    /// Its thread is gone.
    pub fn begin(&self, order: Order) -> anyhow::Result<()> {
        self.orders.send(order).context("the plain server's thread is gone")
    }

    /// Waits until it has done what it was told.
    ///
    /// # Errors
    /// It could not, or does not come to an end.
    pub fn finish(&self) -> anyhow::Result<Done> {
        self.dones.recv_timeout(PATIENCE).context("the plain server does not answer")?
    }

    /// Ends an order that has no end of its own.
    ///
    /// # Errors
    /// It failed before.
    pub fn halt(&self) -> anyhow::Result<Done> {
        self.bell.wake()?;
        self.finish()
    }

    /// Tells it what to do and waits for it.
    ///
    /// # Errors
    /// It could not.
    pub fn obey(&self, order: Order) -> anyhow::Result<Done> {
        self.begin(order)?;
        self.finish()
    }

    /// Ends it, and with it all its connections.
    pub fn stop(self) {
        drop(self.orders);
        self.thread.join().expect("the plain server does not panic");
    }
}

// ---- on its thread -----------------------------------------------------------------------------

struct ServerEnd {
    listener: std::net::TcpListener,
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    /// Keyed by token.
    streams: Vec<TcpStream>,
    buffer: Box<[u8]>,
    frame: Vec<u8>,
    bytes_read: u64,
    written: u64,
    turns: u64,
}

/// What one turn of the loop found beside bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Turn {
    ticks_due: u64,
    halt: bool,
}

impl ServerEnd {
    fn new(listener: std::net::TcpListener, poll: Poll) -> anyhow::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self {
            listener,
            poll,
            events: Events::with_capacity(1024),
            timer,
            streams: Vec::new(),
            buffer: vec![0; 64 * 1024].into(),
            frame: data_frame(ECHO_FRAME_BYTES),
            bytes_read: 0,
            written: 0,
            turns: 0,
        })
    }

    fn obey(&mut self, order: Order) -> anyhow::Result<Done> {
        let (cpu, bytes_read) = (thread_cpu(), self.bytes_read);
        let (written, turns, mut missed) = (self.written, self.turns, 0);
        match order {
            Order::Accept(count) => (0..count).try_for_each(|_| self.accept())?,
            Order::FrameBytes(bytes) => self.frame = data_frame(bytes),
            Order::Write => self.write_all()?,
            Order::Read => self.read_inputs()?,
            Order::Exchange => {
                self.read_inputs()?;
                self.write_all()?;
            }
            Order::Ticks { count, interval } => missed = self.run_ticks(count, interval)?,
            Order::Rooms { count, interval, rooms } => {
                self.run_rooms(count, interval, rooms)?;
            }
            Order::Echo => while !self.turn(Self::echo)?.halt {},
            Order::Fanout => while !self.turn(Self::fan_out)?.halt {},
        }
        let bytes_read = self.bytes_read - bytes_read;
        let input_bytes = INPUT_FRAME_BYTES as u64;
        ensure!(bytes_read.is_multiple_of(input_bytes), "{order:?} read {bytes_read} bytes");
        Ok(Done {
            cpu: thread_cpu() - cpu,
            read: bytes_read / input_bytes,
            written: self.written - written,
            turns: self.turns - turns,
            missed,
        })
    }

    /// Takes a connection in. It blocks: nothing is measured yet.
    fn accept(&mut self) -> anyhow::Result<()> {
        let (mut stream, _) = self.listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut head = Vec::new();
        let upgrade = loop {
            let length = stream.read(&mut self.buffer)?;
            ensure!(length > 0, "a client hung up");
            head.extend_from_slice(&self.buffer[..length]);
            match Head::parse(&head) {
                Ok(None) => {}
                Ok(Some((Head::Upgrade(upgrade), _))) => break upgrade,
                other => bail!("a client asked for something else: {other:?}"),
            }
        };
        stream.write_all(&upgrade.response())?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(self.streams.len()), interest)?;
        self.streams.push(stream);
        Ok(())
    }

    fn write_all(&mut self) -> anyhow::Result<()> {
        (0..self.streams.len()).try_for_each(|index| self.write(index))
    }

    fn write(&mut self, index: usize) -> anyhow::Result<()> {
        let written = self.streams[index].write(&self.frame).context("a client does not read")?;
        ensure!(written == self.frame.len(), "a socket took {written} bytes only");
        self.written += 1;
        Ok(())
    }

    fn read_inputs(&mut self) -> anyhow::Result<()> {
        let target = self.bytes_read + self.input_bytes_per_tick();
        while self.bytes_read < target {
            self.turn(Self::take)?;
        }
        Ok(())
    }

    /// Reads inputs as they come and writes frames when a tick is due. Returns the ticks that
    /// were missed.
    fn run_ticks(&mut self, count: u32, interval: Duration) -> anyhow::Result<u64> {
        let target = self.bytes_read + u64::from(count) * self.input_bytes_per_tick();
        let (mut elapsed, mut missed) = (0, 0);
        self.arm(interval)?;
        while elapsed < u64::from(count) || self.bytes_read < target {
            let due = self.turn(Self::take)?.ticks_due;
            if due > 0 {
                elapsed += due;
                missed += due - 1;
                self.write_all()?;
            }
            if elapsed >= u64::from(count) {
                self.arm(Duration::ZERO)?;
            }
        }
        Ok(missed)
    }

    /// Reads and writes room after room when the timer says so, and makes up for turns that are
    /// late.
    fn run_rooms(&mut self, count: u32, interval: Duration, rooms: usize) -> anyhow::Result<()> {
        let target = self.bytes_read + u64::from(count) * self.input_bytes_per_tick();
        // What arrives must not wake the loop.
        self.register_all(Interest::WRITABLE)?;
        self.arm(interval / rooms as u32)?;
        let (turns, mut taken, mut due) = (count as usize * rooms, 0, 0);
        while taken < turns {
            due += self.turn(Self::take)?.ticks_due;
            while due > 0 && taken < turns {
                let members = (taken % rooms..self.streams.len()).step_by(rooms);
                for index in members.clone() {
                    self.bytes_read += self.read(index)?;
                }
                for index in members {
                    self.write(index)?;
                }
                (taken, due) = (taken + 1, due - 1);
            }
        }
        self.arm(Duration::ZERO)?;
        self.register_all(Interest::READABLE | Interest::WRITABLE)?;
        while self.bytes_read < target {
            self.turn(Self::take)?;
        }
        Ok(())
    }

    fn register_all(&mut self, interest: Interest) -> anyhow::Result<()> {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            self.poll.registry().reregister(stream, Token(index), interest)?;
        }
        Ok(())
    }

    /// One turn of the loop: reads what there is and hands the number of frames on.
    fn turn(
        &mut self,
        mut on_frames: impl FnMut(&mut Self, usize, u64) -> anyhow::Result<()>,
    ) -> anyhow::Result<Turn> {
        let mut turn = Turn::default();
        // Elsewhere while the loop runs, so that what it calls may have the rest.
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(PATIENCE)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(()) if events.is_empty() => bail!("nothing happened for {PATIENCE:?}"),
            result => result?,
        }
        self.turns += 1;
        for event in &events {
            match event.token() {
                BELL => turn.halt = true,
                TIMER => {
                    let mut expirations = [0; 8];
                    if rustix::io::read(&self.timer, &mut expirations).is_ok() {
                        turn.ticks_due += u64::from_ne_bytes(expirations);
                    }
                }
                Token(index) if event.is_readable() => {
                    let bytes = self.read(index)?;
                    self.bytes_read += bytes;
                    on_frames(self, index, bytes / INPUT_FRAME_BYTES as u64)?;
                }
                // A socket that takes more again.
                Token(_) => {}
            }
        }
        self.events = events;
        Ok(turn)
    }

    /// Reads until a short read, past which there is nothing, and says how much there was.
    fn read(&mut self, index: usize) -> anyhow::Result<u64> {
        let mut total = 0;
        loop {
            match self.streams[index].read(&mut self.buffer) {
                Ok(0) => bail!("connection {index} ended"),
                Ok(length) => {
                    total += length as u64;
                    if length < self.buffer.len() {
                        return Ok(total);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(total),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, _: usize, _: u64) -> anyhow::Result<()> {
        Ok(())
    }

    fn echo(&mut self, index: usize, frames: u64) -> anyhow::Result<()> {
        (0..frames).try_for_each(|_| self.write(index))
    }

    fn fan_out(&mut self, _: usize, frames: u64) -> anyhow::Result<()> {
        (0..frames).try_for_each(|_| self.write_all())
    }

    /// Makes the timer ring every `interval`; never, when that is zero.
    fn arm(&self, interval: Duration) -> anyhow::Result<()> {
        let interval = Timespec {
            tv_sec: interval.as_secs() as i64,
            tv_nsec: i64::from(interval.subsec_nanos()),
        };
        let timer = Itimerspec { it_interval: interval, it_value: interval };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }

    fn input_bytes_per_tick(&self) -> u64 {
        (INPUT_FRAME_BYTES * self.streams.len()) as u64
    }
}
