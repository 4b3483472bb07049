//! What one connection may ask of the server, and what it has asked. Whoever asks for more is
//! read no faster than it may send; whoever is far behind by then is closed.

use std::time::Duration;

use tickloom_protocol::time::Timestamp;

use crate::rate::{Bucket, Rate};

/// What one connection may send. `None` is without a limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Messages per second.
    pub messages: Option<Rate>,
    /// Bytes per second.
    pub bytes: Option<Rate>,
    /// Pings and pongs of WebSocket per second. Each ping is answered, and costs a write.
    pub controls: Option<Rate>,
    /// How far ahead of its rates it may get before it is closed.
    pub lead_max: Duration,
    /// Rooms that it may make.
    pub rooms_max: Option<usize>,
}

impl Allowance {
    /// Everything, as often as anybody likes: for tests and measurements.
    pub const UNLIMITED: Self = Self {
        messages: None,
        bytes: None,
        controls: None,
        lead_max: Duration::MAX,
        rooms_max: None,
    };
}

/// What one connection has asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    messages: Bucket,
    bytes: Bucket,
    controls: Bucket,
    /// Rooms that were made for it.
    pub rooms: usize,
}

impl Usage {
    /// Counts a message. What each of these returns is how far the connection is ahead: the time
    /// for which it is not to be read.
    pub fn charge_message(&mut self, now: Timestamp, allowance: &Allowance) -> Duration {
        charge(&mut self.messages, now, allowance.messages, 1)
    }

    /// Counts a ping or a pong.
    pub fn charge_control(&mut self, now: Timestamp, allowance: &Allowance) -> Duration {
        charge(&mut self.controls, now, allowance.controls, 1)
    }

    /// Counts bytes.
    pub fn charge_bytes(
        &mut self,
        now: Timestamp,
        allowance: &Allowance,
        bytes: usize,
    ) -> Duration {
        charge(&mut self.bytes, now, allowance.bytes, bytes as u64)
    }
}

fn charge(bucket: &mut Bucket, now: Timestamp, rate: Option<Rate>, units: u64) -> Duration {
    rate.map_or(Duration::ZERO, |rate| bucket.charge(now, rate, units))
}
