//! Before the first client: is there a server, and how does its clock relate to ours?
#![expect(clippy::disallowed_types, reason = "one blocking connection, before the mio edge")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustls::StreamOwned;
use schemars::JsonSchema;
use serde::Serialize;
use tickloom_protocol::client::{Client as ProtocolClient, ClientEvent};
use tickloom_protocol::clock::Sample;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::limits;

use super::now;
use crate::plan::{EchoLoad, Load, Url};
use crate::tls::Encryption;

/// How long the server may take for each step.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Pings of which the fastest counts.
const PINGS: usize = 8;

/// How the server's clock relates to ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Clock {
    /// Whether both are one clock of one machine.
    pub shared: bool,
    /// The server's clock minus ours.
    pub offset_us: i64,
    /// The offset may be wrong by this much either way.
    pub error_us: u64,
}

/// Upgrades one connection and, unless the server is on this machine, compares clocks.
///
/// An echo's times are all of our own clock, so its probe only looks whether somebody answers.
pub(super) fn probe(
    address: SocketAddr,
    url: &Url,
    load: &Load,
    encryption: Option<&Encryption>,
) -> io::Result<Clock> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.set_nodelay(true)?;
    let stream = encrypt(stream, encryption);
    let nonce = now().0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let nonce = [nonce, nonce].concat().try_into().expect("two halves of 8 bytes");
    if let Load::Echo(echo) = load {
        return probe_echo(stream, url, echo, nonce);
    }
    let client = ProtocolClient::connect(&url.authority, &url.path, nonce);
    let mut probe = Probe { stream, client };
    probe.wait_for(|event| matches!(event, ClientEvent::Upgraded).then_some(()))?;
    let mut clock = Clock { shared: true, ..Clock::default() };
    if !address.ip().is_loopback() {
        clock = probe.compare_clocks()?;
    }
    probe.client.close();
    probe.flush()?;
    Ok(clock)
}

/// A blocking stream.
pub(super) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// The stream itself, or one that encrypts what goes over it.
pub(super) fn encrypt(stream: TcpStream, encryption: Option<&Encryption>) -> Box<dyn Stream> {
    match encryption {
        None => Box::new(stream),
        Some(encryption) => Box::new(StreamOwned::new(encryption.connect(), stream)),
    }
}

fn probe_echo(
    mut stream: Box<dyn Stream>,
    url: &Url,
    load: &EchoLoad,
    nonce: [u8; 16],
) -> io::Result<Clock> {
    let key = ClientKey::offering(nonce, load.subprotocol.as_deref());
    stream.write_all(&key.request(&url.authority, &url.path))?;
    stream.flush()?;
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    while key.parse_response(&head).map_err(io::Error::other)?.is_none() {
        let read = stream.read(&mut buffer).map_err(late)?;
        if read == 0 || head.len() > limits::HEAD_BYTES_MAX {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&buffer[..read]);
    }
    // A close frame of ours: masked with zeros, without a code.
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0])?;
    stream.flush()?;
    Ok(Clock { shared: true, ..Clock::default() })
}

/// What a read that timed out means.
fn late(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s");
    }
    error
}

struct Probe {
    stream: Box<dyn Stream>,
    client: ProtocolClient,
}

impl Probe {
    fn compare_clocks(&mut self) -> io::Result<Clock> {
        let mut best = Clock { shared: false, offset_us: 0, error_us: u64::MAX };
        for _ in 0..PINGS {
            self.client.ping(now().0);
            let Sample { round_trip, offset_us } = self.wait_for(|event| match event {
                ClientEvent::TimeSync(sync) => Sample::of(now(), sync),
                _ => None,
            })?;
            let error_us = (round_trip.as_micros() as u64).div_ceil(2);
            if error_us < best.error_us {
                best = Clock { shared: false, offset_us, error_us };
            }
        }
        Ok(best)
    }

    fn wait_for<T>(&mut self, wanted: impl Fn(&ClientEvent) -> Option<T>) -> io::Result<T> {
        let mut buffer = [0; 4096];
        loop {
            self.flush()?;
            while let Some(event) = self.client.poll_event() {
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
                match event {
                    ClientEvent::UpgradeFailed(error) => return Err(io::Error::other(error)),
                    ClientEvent::Closed(reason) => {
                        return Err(io::Error::other(reason.to_string()));
                    }
                    // Whatever else it says is for clients that stay.
                    _ => {}
                }
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.client.handle_bytes(&buffer[..n]),
                Err(error) => return Err(late(error)),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let output = self.client.take_output();
        self.stream.write_all(&output)?;
        self.stream.flush()
    }
}
