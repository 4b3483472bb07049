//! A shard whose connections are encrypted, and clients that are not on sockets.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use rustls::version::TLS13;
use rustls::{ClientConfig, SupportedProtocolVersion};
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::time::Timestamp;
use tickloom_server::config::Config;
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{NO_SOCKET, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig};
use tickloom_server::tls::identity::{Identity, TlsSource};

use crate::tls_client::{TlsClient, trusting};

pub fn identity() -> Identity {
    let listen = "127.0.0.1:0".parse().expect("an address");
    Identity::of(&TlsSource::Made, listen).expect("randomness").expect("a certificate")
}

pub struct World {
    pub shard: Shard,
    pub now: Timestamp,
    pub identity: Identity,
}

/// A connection as its client sees it.
pub struct Line {
    pub id: SessionId,
    pub tls: TlsClient,
    pub client: Client,
    pub events: Vec<ClientEvent>,
    /// The server shut its writing half down.
    pub is_shut_down: bool,
    /// The server dropped the socket.
    pub is_closed: bool,
}

impl World {
    pub fn new() -> Self {
        Self::with(&Config::loopback())
    }

    pub fn with(config: &Config) -> Self {
        let identity = identity();
        let room_types = RoomTypes::default().with(Arena::new(60));
        let shard_config = ShardConfig {
            tls: Some(Arc::clone(identity.config())),
            ..ShardConfig::alone(config, room_types)
        };
        Self { shard: Shard::new(shard_config), now: Timestamp(1_000_000), identity }
    }

    pub fn client_config(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        Arc::new(trusting(self.identity.certificate(), version))
    }

    pub fn accept(&mut self) -> SessionId {
        let id = self.shard.handle_accept(self.now, NO_SOCKET);
        while self.shard.poll_effect().is_some() {}
        id
    }

    /// A connection on which nothing was said.
    pub fn connect(&mut self, config: &Arc<ClientConfig>) -> Line {
        Line {
            id: self.accept(),
            tls: TlsClient::new(config),
            client: Client::connect("localhost", "/ws", [7; 16]),
            events: Vec::new(),
            is_shut_down: false,
            is_closed: false,
        }
    }

    /// A player with a seat.
    pub fn join(&mut self, room: &str) -> Line {
        let mut line = self.connect(&self.client_config(&TLS13));
        self.exchange(&mut line, usize::MAX);
        line.client.join(Join { room_type: "arena", room, name: "tester", ..Join::default() });
        self.exchange(&mut line, usize::MAX);
        assert!(line.events.contains(&ClientEvent::Joined), "{:?}", line.events);
        line
    }

    /// What a client has to say arrives in pieces, and what it is sent it reads in pieces, until
    /// nobody has anything to say.
    pub fn exchange(&mut self, line: &mut Line, piece: usize) {
        loop {
            let said = line.client.take_output();
            line.tls.say(&said);
            let up = line.tls.take_output();
            for bytes in up.chunks(piece) {
                self.shard.handle_bytes(self.now, line.id, bytes);
                self.take_steps();
            }
            let down = self.depart(line, piece);
            if up.is_empty() && down.is_empty() {
                return;
            }
            for bytes in down.chunks(piece) {
                line.tls.read(bytes).expect("valid records");
                line.client.handle_bytes(&mem::take(&mut line.tls.heard));
                line.events.extend(std::iter::from_fn(|| line.client.poll_event()));
            }
        }
    }

    /// What the server sends, taken by a socket in pieces.
    pub fn depart(&mut self, line: &mut Line, piece: usize) -> Vec<u8> {
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            while let Some(out) = self.shard.outgoing(line.id, &mut buffer) {
                let sent = out.len().min(piece);
                bytes.extend_from_slice(&out[..sent]);
                self.shard.handle_sent(self.now, line.id, sent);
            }
            let Some(effect) = self.shard.poll_effect() else { return bytes };
            match effect {
                Effect::ShutDown(id) if id == line.id => line.is_shut_down = true,
                Effect::Close(id) if id == line.id => line.is_closed = true,
                Effect::ShutDown(_) | Effect::Close(_) | Effect::Read(..) => {}
                Effect::Deliver { .. }
                | Effect::Record(_)
                | Effect::Recording(_)
                | Effect::HandOver { .. } => {
                    panic!("{effect:?}")
                }
            }
        }
    }

    /// Time passes while the shard does what is due.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.shard.handle_timeout(self.now);
    }

    /// Handshakes that wait are gone on with.
    fn take_steps(&mut self) {
        while self.shard.next_due().is_some_and(|due| due <= self.now) {
            self.shard.handle_timeout(self.now);
        }
    }
}
