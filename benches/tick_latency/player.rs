//! One client: its socket, its replica, and when it got what.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mio::net::TcpStream;
use tickloom_benches::rooms::Steering;
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::time::Timestamp;

/// A client that plays.
pub(crate) struct Player {
    pub(crate) stream: TcpStream,
    client: Client,
    steering: Steering,
    pub(crate) stage: Stage,
    trace: Trace,
}

/// How far a player came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Stage {
    /// It asked for a WebSocket.
    Upgrading,
    /// It has one and may join.
    Upgraded,
    /// It has a seat and the room's state.
    Playing,
}

/// What one client saw.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// The client's own port, which names its writes in the server's report.
    pub(crate) port: u16,
    /// In the order they came.
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) hashes_checked: u64,
}

/// One delta, catch-up or snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Receipt {
    /// When the read returned that brought its end.
    pub(crate) at: Timestamp,
    /// When its tick was due.
    pub(crate) due: Timestamp,
    /// Ticks since the state before; 1 unless the client was behind or got a snapshot.
    pub(crate) ticks: u32,
    /// Receipts that came after this one in the same read.
    pub(crate) newer: usize,
}

impl Player {
    /// Connects and asks for a WebSocket.
    pub(crate) fn connect(address: SocketAddr, index: usize) -> anyhow::Result<Self> {
        let stream = std::net::TcpStream::connect(address)
            .with_context(|| format!("cannot open connection {index}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let port = stream.local_addr()?.port();
        let nonce = (index as u128).to_le_bytes();
        let mut player = Self {
            stream: TcpStream::from_std(stream),
            client: Client::connect("localhost", "/ws", nonce),
            steering: Steering::new(index as u64),
            stage: Stage::Upgrading,
            trace: Trace { port, receipts: Vec::new(), hashes_checked: 0 },
        };
        player.flush()?;
        Ok(player)
    }

    pub(crate) fn join(&mut self, room: &str) -> anyhow::Result<()> {
        self.client.join(Join { room_type: "arena", room, name: "bench", ..Join::default() });
        self.flush()
    }

    /// Sends what the player does next.
    pub(crate) fn send_input(&mut self) -> anyhow::Result<()> {
        let seat = self.client.seat().context("a player has a seat")?;
        let row = self.steering.next_row(seat.replica.entities().schema().input());
        self.client.input(&row);
        self.flush()
    }

    /// Takes in what a read returned. Everything but play is a failure of the run.
    pub(crate) fn handle_bytes(&mut self, at: Timestamp, bytes: &[u8]) -> anyhow::Result<()> {
        self.client.handle_bytes(bytes);
        let first = self.trace.receipts.len();
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Upgraded => self.stage = Stage::Upgraded,
                ClientEvent::Applied { head, applied, .. } => {
                    let outcome = applied.outcome;
                    let is_news = matches!(outcome, Outcome::Snapshot | Outcome::Delta);
                    ensure!(
                        is_news,
                        "port {}: tick {} was {outcome:?}",
                        self.trace.port,
                        head.tick
                    );
                    let seat = self.client.seat().context("state comes after the seat")?;
                    let (due, ticks) = (seat.clock.due(head.tick), head.tick.0 - head.base.0);
                    self.trace.receipts.push(Receipt { at, due, ticks, newer: 0 });
                    self.trace.hashes_checked += u64::from(applied.hashes_checked);
                    self.stage = Stage::Playing;
                }
                // Told by the room: its clock slipped, which the ages show.
                ClientEvent::Joined | ClientEvent::TimeSync(_) => {}
                ClientEvent::Broken(_)
                | ClientEvent::Refused { .. }
                | ClientEvent::Accepted(_)
                | ClientEvent::GoAway { .. }
                | ClientEvent::Left(_)
                | ClientEvent::Unknown(_)
                | ClientEvent::UpgradeFailed(_)
                | ClientEvent::Closed(_) => bail!("port {}: {event:?}", self.trace.port),
            }
        }
        for (newer, receipt) in self.trace.receipts[first..].iter_mut().rev().enumerate() {
            receipt.newer = newer;
        }
        self.flush()
    }

    /// Hangs up and says what was seen.
    pub(crate) fn trace(self) -> Trace {
        self.trace
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let output = self.client.output_mut();
        if output.is_empty() {
            return Ok(());
        }
        let written = self.stream.write(output).context("the server does not keep up")?;
        ensure!(written == output.len(), "a socket took {written} bytes only");
        output.clear();
        Ok(())
    }
}

impl Receipt {
    pub(crate) fn age(&self) -> Duration {
        self.at.saturating_since(self.due)
    }
}
