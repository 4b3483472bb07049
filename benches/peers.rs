//! The clients of a measurement: plain sockets that speak WebSocket and count what they get.
//!
//! They are the same for the server and for the raw sockets beneath it, and they do as little as
//! possible: one loop on one thread, an upgrade each, frames that are counted and not looked at
//! (a delta's tick excepted, which inputs report back). What arrives is checked by the load
//! generator and by `tick_latency`; here it only has to be as many on both ends.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the clients are an edge: they own sockets and pace themselves"
)]

use std::hint::spin_loop;
use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tickloom_loadtest::plan::{Scheme, Url};
use tickloom_loadtest::tls::{Encryption, Tls, Trust};
use tickloom_protocol::client_message::{
    ClientEncoder, ClientMessage, Input, Join, Publish, Recipients,
};
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::ids::{InputSeq, Moment, OpId, Tick, TopicId};
use tickloom_protocol::link::{End, Link};
use tickloom_protocol::server_message::ServerMessage;

use crate::frames::FrameCounter;
use crate::masked_frame;

/// Events taken at once: few, so that reading frames delays no input for long.
const EVENTS_MAX: usize = 64;

/// How long a server may take for anything it is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an answer may take on average: a hundred times what it does.
const ANSWER_MAX: Duration = Duration::from_millis(1);

/// All clients and their loop.
pub struct Peers {
    poll: Poll,
    events: Events,
    /// Keyed by token.
    peers: Vec<Peer>,
    buffer: Box<[u8]>,
    arrivals: Vec<Arrival>,
    encoder: ClientEncoder,
    /// Masks what is sent, for all of them: that part of a link remembers nothing.
    masker: Link,
    frame: Vec<u8>,
    received: Received,
    ended_count: usize,
    /// What connections are encrypted with, if they are.
    encryption: Option<Encryption>,
}

/// What all clients got since they connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Frames of data; what a server says when it stops is not among them.
    pub frames: u64,
    /// All bytes behind the upgrades' answers, as they were before they were encrypted.
    pub bytes: u64,
}

/// Frames that one client got in one turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// Whose.
    pub peer: usize,
    /// How many.
    pub frames: u64,
}

/// How the time between two inputs is spent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pacing {
    /// On the core, so that no input is late: for a client that has a core of its own.
    Spinning,
    /// Asleep, a millisecond at a time: for a client that shares its core with a server.
    Dozing,
}

struct Peer {
    stream: TcpStream,
    tls: Option<Box<Tls>>,
    counter: FrameCounter,
    /// The newest tick it was shown.
    applied_tick: Tick,
    seq: InputSeq,
    /// Frames of data it got.
    frames: u64,
    ended: bool,
}

impl Peers {
    /// Opens connections and upgrades each to a WebSocket at `target`, one after the other.
    ///
    /// # Errors
    /// The server does not let one of them in.
    pub fn connect(address: SocketAddr, target: &str, peers_count: usize) -> anyhow::Result<Self> {
        Self::connect_with(None, address, target, peers_count)
    }

    /// The same over encrypted connections, whatever certificate is shown.
    ///
    /// # Errors
    /// The server does not let one of them in.
    pub fn connect_encrypted(
        address: SocketAddr,
        target: &str,
        peers_count: usize,
    ) -> anyhow::Result<Self> {
        let (authority, path) = (address.to_string(), target.to_owned());
        let url = Url { scheme: Scheme::Wss, authority, path };
        let encryption = Encryption::of(&url, &Trust::Anybody)?;
        Self::connect_with(encryption, address, target, peers_count)
    }

    fn connect_with(
        encryption: Option<Encryption>,
        address: SocketAddr,
        target: &str,
        peers_count: usize,
    ) -> anyhow::Result<Self> {
        let mut peers = Self {
            poll: Poll::new()?,
            events: Events::with_capacity(EVENTS_MAX),
            peers: Vec::with_capacity(peers_count),
            buffer: vec![0; 256 * 1024].into(),
            arrivals: Vec::new(),
            encoder: ClientEncoder::default(),
            masker: Link::new(End::Client),
            frame: Vec::new(),
            received: Received::default(),
            ended_count: 0,
            encryption,
        };
        peers.add(address, target, peers_count)?;
        Ok(peers)
    }

    /// Opens some more.
    ///
    /// # Errors
    /// The server does not let one of them in.
    pub fn add(
        &mut self,
        address: SocketAddr,
        target: &str,
        peers_count: usize,
    ) -> anyhow::Result<()> {
        for index in self.peers.len()..self.peers.len() + peers_count {
            // Nobody resumes what somebody else began.
            let tls = self.encryption.as_ref().map(Encryption::of_client);
            let mut tls = tls.map(|encryption| Box::new(Tls::new(&encryption)));
            let stream = upgrade(address, target, index, tls.as_deref_mut())
                .with_context(|| format!("connection {index} to {address}{target}"))?;
            let mut stream = TcpStream::from_std(stream);
            self.poll.registry().register(&mut stream, Token(index), Interest::READABLE)?;
            self.peers.push(Peer {
                stream,
                tls,
                counter: FrameCounter::default(),
                applied_tick: Tick::ZERO,
                seq: InputSeq(0),
                frames: 0,
                ended: false,
            });
        }
        Ok(())
    }

    // ---- sending -------------------------------------------------------------------------------

    /// Asks for a seat.
    ///
    /// # Errors
    /// The socket does not take it.
    pub fn join(&mut self, peer: usize, room_type: &str, room: &str) -> anyhow::Result<()> {
        let join = Join { room_type, room, name: "bench", ..Join::default() };
        self.send(peer, ClientMessage::Join(join))
    }

    /// Says what a player does next.
    ///
    /// # Errors
    /// The socket does not take it.
    pub fn input(&mut self, peer: usize, row: &[u8]) -> anyhow::Result<()> {
        let player = &mut self.peers[peer];
        player.seq.0 += 1;
        let (seq, applied_tick) = (player.seq, player.applied_tick);
        self.send(peer, ClientMessage::Input(Input { seq, applied_tick, seen: Moment::ZERO, row }))
    }

    /// Says something to everybody in the room, which answers only when it refuses.
    ///
    /// # Errors
    /// The socket does not take it.
    pub fn publish(&mut self, peer: usize, topic: TopicId, body: &[u8]) -> anyhow::Result<()> {
        let publish = Publish { op: OpId::NONE, topic, to: Recipients::default(), body };
        self.send(peer, ClientMessage::Publish(publish))
    }

    fn send(&mut self, peer: usize, message: ClientMessage<'_>) -> anyhow::Result<()> {
        let payload = Bytes::copy_from_slice(self.encoder.encode(message));
        let mut frame = mem::take(&mut self.frame);
        frame.clear();
        self.masker.send_binary(payload, &mut frame);
        let sent = self.send_frame(peer, &frame);
        self.frame = frame;
        sent
    }

    /// Sends a whole frame as it is.
    ///
    /// # Errors
    /// The socket does not take it.
    pub fn send_frame(&mut self, peer: usize, frame: &[u8]) -> anyhow::Result<()> {
        let Peer { stream, tls, .. } = &mut self.peers[peer];
        if let Some(tls) = tls {
            return write_encrypted(stream, tls, frame);
        }
        let written = stream.write(frame).context("the server does not read")?;
        ensure!(written == frame.len(), "a socket took {written} bytes only");
        Ok(())
    }

    /// Lets everybody send once per interval, `rounds` times, evenly spread over the interval.
    /// Says how late the latest was.
    ///
    /// # Errors
    /// What `send` or reading in between fails with.
    pub fn pace(
        &mut self,
        interval: Duration,
        rounds: u32,
        pacing: Pacing,
        mut send: impl FnMut(&mut Self, usize) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut lateness_max = Duration::ZERO;
        let peers_count = self.peers.len() as u32;
        for round in 0..rounds {
            for index in 0..peers_count {
                let due = start + interval * round + interval * index / peers_count;
                self.turn(Some(Duration::ZERO))?;
                while Instant::now() < due {
                    match pacing {
                        Pacing::Spinning => spin_loop(),
                        Pacing::Dozing => drop(self.turn(Some(Duration::from_millis(1)))?),
                    }
                }
                lateness_max = lateness_max.max(due.elapsed());
                send(self, index as usize)?;
            }
        }
        Ok(lateness_max)
    }

    /// Keeps one message in flight on every connection until `messages` were answered, and then
    /// waits for those that are out. Returns how many were sent.
    ///
    /// # Errors
    /// A message is not answered, or more than once.
    pub fn keep_in_flight(&mut self, messages: u64) -> anyhow::Result<u64> {
        let message = masked_frame();
        (0..self.count()).try_for_each(|peer| self.send_frame(peer, &message))?;
        let first = self.received.frames;
        let (mut sent, mut arrivals) = (self.count() as u64, Vec::new());
        let deadline = Instant::now() + PATIENCE + ANSWER_MAX * messages as u32;
        while self.received.frames - first < messages {
            ensure!(Instant::now() < deadline, "{sent} were sent, {:?}", self.received);
            arrivals.clear();
            arrivals.extend_from_slice(self.turn(Some(PATIENCE))?);
            for arrival in &arrivals {
                ensure!(arrival.frames == 1, "one message got {} answers", arrival.frames);
                self.send_frame(arrival.peer, &message)?;
            }
            sent += arrivals.len() as u64;
        }
        self.read_until_frames(first + sent)?;
        Ok(sent)
    }

    // ---- receiving -----------------------------------------------------------------------------

    /// One turn of the loop: takes in what there is by `timeout`.
    ///
    /// # Errors
    /// A connection broke.
    pub fn turn(&mut self, timeout: Option<Duration>) -> anyhow::Result<&[Arrival]> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result?,
        }
        self.arrivals.clear();
        for event in &self.events {
            let index = event.token().0;
            let peer = &mut self.peers[index];
            let before = self.received.frames;
            let was_ended = peer.ended;
            peer.read(&mut self.buffer, &mut self.received, event.is_read_closed())
                .with_context(|| format!("connection {index}"))?;
            self.ended_count += usize::from(peer.ended && !was_ended);
            let frames = self.received.frames - before;
            if frames > 0 {
                self.arrivals.push(Arrival { peer: index, frames });
            }
        }
        Ok(&self.arrivals)
    }

    /// Takes in frames until there were so many since the beginning.
    ///
    /// # Errors
    /// They do not come, or a connection ends.
    pub fn read_until_frames(&mut self, frames: u64) -> anyhow::Result<()> {
        self.read_until(|peers| peers.received.frames >= frames)
            .with_context(|| format!("waiting for frame {frames}, {:?}", self.received))
    }

    /// Takes in frames until everybody has this many since they connected.
    ///
    /// # Errors
    /// They do not come, or a connection ends.
    pub fn read_until_each_has(&mut self, frames: u64) -> anyhow::Result<()> {
        let lack = |peers: &Self| peers.peers.iter().filter(|peer| peer.frames < frames).count();
        let read = self.read_until(|peers| lack(peers) == 0);
        read.with_context(|| format!("{} clients did not get {frames} frames", lack(self)))
    }

    /// Takes in what comes in some time.
    ///
    /// # Errors
    /// A connection ends.
    pub fn read_for(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        self.read_until(|_| Instant::now() >= end)
    }

    /// Takes in all that a server that was told to stop still sends.
    ///
    /// # Errors
    /// It does not end its connections.
    pub fn read_to_end(&mut self) -> anyhow::Result<Received> {
        let deadline = Instant::now() + PATIENCE;
        while self.ended_count < self.peers.len() {
            ensure!(Instant::now() < deadline, "the server does not end its connections");
            self.turn(Some(Duration::from_millis(10)))?;
        }
        Ok(self.received)
    }

    fn read_until(&mut self, mut is_done: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_done(self) {
            ensure!(Instant::now() < deadline, "nothing for {PATIENCE:?}");
            // Short enough for callers that watch a clock.
            self.turn(Some(Duration::from_millis(1)))?;
            ensure!(self.ended_count == 0, "the server ended {} connections", self.ended_count);
        }
        Ok(())
    }

    /// What came so far.
    #[must_use]
    pub fn received(&self) -> Received {
        self.received
    }

    /// How many clients there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.peers.len()
    }
}

impl Peer {
    /// Reads until a short read, past which there is nothing but perhaps the end.
    fn read(
        &mut self,
        buffer: &mut [u8],
        received: &mut Received,
        read_closed: bool,
    ) -> anyhow::Result<()> {
        while !self.ended {
            match self.stream.read(buffer) {
                Ok(0) => self.ended = true,
                Ok(length) => {
                    let mut partings = 0;
                    let plaintext = &mut Vec::new();
                    let bytes = match &mut self.tls {
                        None => &buffer[..length],
                        Some(tls) => {
                            tls.read(&buffer[..length], plaintext)?;
                            plaintext
                        }
                    };
                    received.bytes += bytes.len() as u64;
                    let count = self.counter.feed(bytes, |payload| {
                        match ServerMessage::decode(payload) {
                            Ok(ServerMessage::Delta(delta)) => self.applied_tick = delta.head.tick,
                            Ok(ServerMessage::GoAway { .. }) => partings += 1,
                            // Frames of a plain server are nothing at all.
                            _ => {}
                        }
                    });
                    let frames = count.data - partings;
                    self.frames += frames;
                    received.frames += frames;
                    self.ended = count.closed;
                    if length < buffer.len() && !read_closed {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// A connection whose other end speaks WebSocket. It blocks: nothing is measured yet, and one at
/// a time there is no backlog to overflow.
fn upgrade(
    address: SocketAddr,
    target: &str,
    index: usize,
    mut tls: Option<&mut Tls>,
) -> anyhow::Result<std::net::TcpStream> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let key = ClientKey::new((index as u128).to_le_bytes());
    let mut request = key.request("localhost", target);
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    if tls.is_none() {
        stream.write_all(&request)?;
    }
    loop {
        if let Some(tls) = &mut tls {
            write_encrypted_all(&mut stream, tls, &mut request)?;
        }
        let length = stream.read(&mut buffer)?;
        ensure!(length > 0, "the server hung up");
        match &mut tls {
            None => head.extend_from_slice(&buffer[..length]),
            Some(tls) => tls.read(&buffer[..length], &mut head)?,
        }
        match key.parse_response(&head) {
            // A handshake that goes on has said nothing yet.
            Ok(None) => {}
            Ok(Some(upgraded)) if upgraded.head_bytes == head.len() => break,
            Ok(Some(_)) => bail!("frames came before anything was asked"),
            Err(error) => return Err(error.into()),
        }
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

fn write_encrypted(stream: &mut impl Write, tls: &mut Tls, frame: &[u8]) -> anyhow::Result<()> {
    write_encrypted_all(stream, tls, &mut frame.to_vec())
}

/// Writes what the two ends still have to agree on, and then the plaintext.
fn write_encrypted_all(
    stream: &mut impl Write,
    tls: &mut Tls,
    plaintext: &mut Vec<u8>,
) -> anyhow::Result<()> {
    loop {
        let output = tls.output(plaintext);
        if output.is_empty() {
            return Ok(());
        }
        stream.write_all(output).context("the server does not read")?;
        output.clear();
    }
}
