//! Before the first client: is there a server, and how does its clock relate to ours?
#![expect(clippy::disallowed_types, reason = "one blocking connection, before the mio edge")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde::Serialize;
use tickloom_protocol::client::{Client as ProtocolClient, ClientEvent};
use tickloom_protocol::server_message::TimeSync;
use tickloom_protocol::time::Timestamp;

use super::now;
use crate::plan::Url;

/// How long the server may take for each step.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Pings of which the fastest counts.
const PINGS: usize = 8;

/// How the server's clock relates to ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Clock {
    /// Whether both are one clock of one machine.
    pub shared: bool,
    /// The server's clock minus ours.
    pub offset_us: i64,
    /// The offset may be wrong by this much either way.
    pub error_us: u64,
}

/// Upgrades one connection and, unless the server is on this machine, compares clocks.
pub(super) fn probe(address: SocketAddr, url: &Url) -> io::Result<Clock> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    stream.set_nodelay(true)?;
    let nonce = now().0.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let nonce = [nonce, nonce].concat().try_into().expect("two halves of 8 bytes");
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

struct Probe {
    stream: TcpStream,
    client: ProtocolClient,
}

impl Probe {
    fn compare_clocks(&mut self) -> io::Result<Clock> {
        let mut best = Clock { shared: false, offset_us: 0, error_us: u64::MAX };
        for _ in 0..PINGS {
            self.client.ping(now().0);
            let sync = self.wait_for(|event| match event {
                ClientEvent::TimeSync(sync) if sync.client_us != 0 => Some(*sync),
                _ => None,
            })?;
            let estimate = estimate(&sync, now());
            if estimate.error_us < best.error_us {
                best = estimate;
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let output = self.client.take_output();
        self.stream.write_all(&output)
    }
}

/// The answer was written somewhere between the ping and its receipt: in the middle, at best.
fn estimate(sync: &TimeSync, received_at: Timestamp) -> Clock {
    let round_trip_us = received_at.0.saturating_sub(sync.client_us);
    let middle_us = sync.client_us + round_trip_us / 2;
    let offset_us = i128::from(sync.server.0) - i128::from(middle_us);
    Clock {
        shared: false,
        offset_us: i64::try_from(offset_us).unwrap_or(0),
        error_us: round_trip_us.div_ceil(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickloom_protocol::ids::Tick;

    #[test]
    fn the_offset_is_taken_from_the_middle_of_the_round_trip() {
        for (server_us, offset_us) in [(1_050, 0), (9_050, 8_000), (50, -1_000)] {
            let sync = TimeSync {
                client_us: 1_000,
                server: Timestamp(server_us),
                tick: Tick(0),
                epoch: Timestamp(0),
            };
            let clock = estimate(&sync, Timestamp(1_100));
            assert_eq!(clock, Clock { shared: false, offset_us, error_us: 50 });
        }
    }
}
