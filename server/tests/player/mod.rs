//! A client on a blocking socket, and plain requests.
#![allow(dead_code, reason = "each test file is a crate that uses some of it")]
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]
#![expect(clippy::disallowed_methods, reason = "deadlines of real sockets need the real clock")]

use std::io::{self, Read, Write};
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

/// Sends a request and reads the answer.
pub fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(request).expect("sent");
    read_response(&mut stream).expect("an answer")
}

/// Asks for a page; the connection ends behind it.
pub fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").into_bytes()
}

/// Reads one answer with a length, or to the end of the connection. What was pipelined behind it
/// is left.
pub fn read_response(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            break;
        }
        bytes.push(byte[0]);
        if bytes.ends_with(b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if let Some(length) = length.and_then(|text| text.parse::<usize>().ok()) {
                let start = bytes.len();
                bytes.resize(start + length, 0);
                stream.read_exact(&mut bytes[start..])?;
                break;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// What arrives next.
pub fn read<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> &'a [u8] {
    let length = stream.read(buffer).expect("bytes");
    assert!(length > 0, "the server closed without a word");
    &buffer[..length]
}

/// Lets a client say what it has to say and hear what comes, until something happens; returns it.
pub fn until(
    client: &mut Client,
    wanted: impl Fn(&ClientEvent) -> bool,
    mut exchange: impl FnMut(&mut Client),
) -> ClientEvent {
    let started = Instant::now();
    loop {
        while let Some(event) = client.poll_event() {
            if wanted(&event) {
                return event;
            }
            assert!(!matches!(event, ClientEvent::Broken(_)), "{event:?}");
        }
        assert!(started.elapsed() < DEADLINE, "it did not happen");
        exchange(client);
    }
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
        player.client.join(Join { room_type, room, name: "tester", ..Join::default() });
        player.until(|event| matches!(event, ClientEvent::Joined));
        player
    }

    /// Reads until something happens; returns it.
    pub fn until(&mut self, wanted: impl Fn(&ClientEvent) -> bool) -> ClientEvent {
        let (stream, mut buffer) = (&mut self.stream, [0; 4096]);
        until(&mut self.client, wanted, |client| {
            stream.write_all(&client.take_output()).expect("sent");
            client.handle_bytes(read(stream, &mut buffer));
        })
    }

    pub fn until_closed(&mut self) -> u16 {
        match self.until(|event| matches!(event, ClientEvent::Closed(_))) {
            ClientEvent::Closed(reason) => reason.code(),
            _ => unreachable!("only a close was wanted"),
        }
    }
}
