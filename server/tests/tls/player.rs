//! A client of an encrypted connection on a blocking socket.
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]

use std::io::Write;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ClientConfig;
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;

pub use crate::plain_player::{DEADLINE, connect};
use crate::plain_player::{read, until};
use crate::tls_client::TlsClient;

pub struct Player {
    pub stream: TcpStream,
    pub tls: TlsClient,
    pub client: Client,
}

impl Player {
    pub fn join(address: SocketAddr, config: &Arc<ClientConfig>, room: &str) -> Self {
        let mut player = Self::connect(address, config);
        player.until(|event| matches!(event, ClientEvent::Upgraded));
        player.client.join(Join { room_type: "arena", room, name: "tester", ..Join::default() });
        player.until(|event| matches!(event, ClientEvent::Joined));
        player
    }

    /// A connection on which everything is still to be said.
    pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let client = Client::connect("localhost", "/ws", [7; 16]);
        Self { stream: connect(address), tls: TlsClient::new(config), client }
    }

    /// Reads until something happens; returns it.
    pub fn until(&mut self, wanted: impl Fn(&ClientEvent) -> bool) -> ClientEvent {
        let Self { stream, tls, client } = self;
        let mut buffer = [0; 4096];
        until(client, wanted, |client| {
            tls.say(&client.take_output());
            stream.write_all(&tls.take_output()).expect("sent");
            tls.read(read(stream, &mut buffer)).expect("valid records");
            client.handle_bytes(&mem::take(&mut tls.heard));
        })
    }

    pub fn until_applied(&mut self) {
        self.until(|event| matches!(event, ClientEvent::Applied { .. }));
    }
}

/// Sends a request over an encrypted connection and reads to its end.
pub fn ask(address: SocketAddr, config: &Arc<ClientConfig>, request: &str) -> String {
    let (mut stream, mut tls) = (connect(address), TlsClient::new(config));
    tls.say(request.as_bytes());
    let mut buffer = [0; 4096];
    while !tls.is_done {
        stream.write_all(&tls.take_output()).expect("sent");
        tls.read(read(&mut stream, &mut buffer)).expect("valid records");
    }
    String::from_utf8(tls.heard).expect("text")
}

impl Player {
    /// Agrees on keys; says whether the certificate it was shown is the one it trusts.
    pub fn is_trusted(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            self.stream.write_all(&self.tls.take_output()).expect("sent");
            if !self.tls.connection.is_handshaking() {
                return true;
            }
            if self.tls.read(read(&mut self.stream, &mut buffer)).is_err() {
                return false;
            }
        }
    }
}
