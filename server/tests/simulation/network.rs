//! A connection between one client and one shard: two queues of bytes with weather.

use std::collections::VecDeque;
use std::time::Duration;

use tickloom_protocol::time::Timestamp;

/// Bytes a direction holds before its sender is told to wait.
const WINDOW_BYTES: usize = 1_200;

/// One direction of a connection.
#[derive(Debug, Default)]
pub struct Direction {
    /// Pieces in order; none arrives before its moment, nor before an earlier one.
    pieces: VecDeque<(Timestamp, Vec<u8>)>,
    bytes: usize,
    /// Nothing arrives before this.
    stalled_until: Timestamp,
    /// The sender said that nothing follows.
    pub ended: bool,
    /// Every byte is a piece of its own.
    trickles: bool,
}

impl Direction {
    /// A line that carries single bytes, close behind each other.
    pub fn trickling() -> Self {
        Self { trickles: true, ..Self::default() }
    }

    /// Bytes the sender may still put in.
    pub fn window(&self) -> usize {
        WINDOW_BYTES.saturating_sub(self.bytes)
    }

    /// Puts bytes in, cut into pieces that arrive at moments of their own.
    pub fn send(&mut self, now: Timestamp, mut bytes: &[u8], rng: &mut fastrand::Rng) {
        self.bytes += bytes.len();
        while !bytes.is_empty() {
            let (cut, delay_us) = match rng.u8(0..3) {
                _ if self.trickles => (1, rng.u64(1..100)),
                0 => (rng.usize(1..=bytes.len()), rng.u64(50..20_000)),
                _ => (bytes.len(), rng.u64(50..20_000)),
            };
            let (piece, rest) = bytes.split_at(cut);
            let delay = Duration::from_micros(delay_us);
            let earliest = self.pieces.back().map_or(now, |(at, _)| *at);
            self.pieces.push_back((earliest.max(now + delay), piece.to_vec()));
            bytes = rest;
        }
    }

    /// The next piece that has arrived.
    pub fn receive(&mut self, now: Timestamp) -> Option<Vec<u8>> {
        if now < self.stalled_until || self.pieces.front()?.0 > now {
            return None;
        }
        let (_, piece) = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Holds everything back for a while.
    pub fn stall(&mut self, until: Timestamp) {
        self.stalled_until = until;
    }

    /// Lets everything through from now on.
    pub fn calm(&mut self) {
        self.stalled_until = Timestamp::ZERO;
        for (at, _) in &mut self.pieces {
            *at = Timestamp::ZERO;
        }
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}
