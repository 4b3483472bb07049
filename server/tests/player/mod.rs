//! A client on a blocking socket, and plain requests.
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]
#![expect(clippy::disallowed_methods, reason = "deadlines of real sockets need the real clock")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;

/// Nothing here takes longer, except when something is wrong.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Sends a request and reads to the end.
pub fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("an answer and an end");
    response
}

/// A client on a blocking socket.
pub struct Player {
    pub stream: TcpStream,
    pub client: Client,
}

impl Player {
    pub fn connect(address: SocketAddr) -> Self {
        let client = Client::connect("localhost", "/ws", [7; 16]);
        let mut player = Self { stream: connect(address), client };
        player.until(|event| matches!(event, ClientEvent::Upgraded));
        player
    }

    pub fn join(address: SocketAddr, room_type: &str, room: &str) -> Self {
        let mut player = Self::connect(address);
        player.client.join(Join { room_type, room, name: "tester", options: &[] });
        player.until(|event| matches!(event, ClientEvent::Joined));
        player
    }

    /// Reads until something happens; returns it.
    pub fn until(&mut self, wanted: impl Fn(&ClientEvent) -> bool) -> ClientEvent {
        let started = Instant::now();
        let mut buffer = [0; 4096];
        loop {
            while let Some(event) = self.client.poll_event() {
                if wanted(&event) {
                    return event;
                }
                assert!(!matches!(event, ClientEvent::Broken(_)), "{event:?}");
            }
            let output = self.client.take_output();
            self.stream.write_all(&output).expect("sent");
            assert!(started.elapsed() < DEADLINE, "it did not happen");
            match self.stream.read(&mut buffer) {
                Ok(0) => panic!("the server closed without a word"),
                Ok(length) => self.client.handle_bytes(&buffer[..length]),
                Err(error) => panic!("{error}"),
            }
        }
    }

    pub fn until_closed(&mut self) -> u16 {
        match self.until(|event| matches!(event, ClientEvent::Closed(_))) {
            ClientEvent::Closed(reason) => reason.code(),
            _ => unreachable!("only a close was wanted"),
        }
    }
}
