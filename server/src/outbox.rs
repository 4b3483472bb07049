//! What a session still has to be sent: whole frames, shared where they are the same for many.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// Bounds of one session's queue, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutboxLimits {
    /// From here on the session is congested: it gets no state until its queue is empty.
    pub soft_bytes_max: usize,
    /// From here on the session is lost and closes. The one message that made it congested may be
    /// longer than all this, such as the snapshot of a large room: then it may still queue as much
    /// more as lies between the two limits.
    pub hard_bytes_max: usize,
}

/// A slice of at least this many bytes has memory of its own; a smaller one may be a piece of
/// something larger, such as all frames of a tick.
pub const LARGE_BYTES_MIN: usize = 16 * 1024;

/// Whether a session takes more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backpressure {
    /// It keeps up.
    Ready,
    /// It fell behind and its queue is not empty yet: send nothing but control messages.
    Congested,
    /// It is hopelessly behind: close it.
    Overflow,
}

/// A queue of frames. Only whole frames go in, so whatever is queued by whom, frames never
/// interleave.
#[derive(Debug)]
pub struct Outbox {
    limits: OutboxLimits,
    /// Non-empty slices; the first one may be partly sent already.
    queue: VecDeque<Bytes>,
    /// The sum of the slices' lengths.
    bytes: usize,
    /// What `bytes` was when it passed the soft limit; 0 again when the queue is empty.
    congested_at: usize,
    /// States queued since the queue was empty last.
    states_waiting: u32,
    /// How many slices at the front hold no memory but their own.
    unshared: usize,
    /// Its member was passed over, and is owed the state once the queue is empty.
    owes_state: bool,
}

impl Outbox {
    /// An empty queue.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            queue: VecDeque::new(),
            bytes: 0,
            congested_at: 0,
            states_waiting: 0,
            unshared: 0,
            owes_state: false,
        }
    }

    /// Queues whole frames, or the next slice of a frame whose slices are queued back to back.
    pub fn push(&mut self, slice: Bytes) {
        if slice.is_empty() {
            return;
        }
        self.bytes += slice.len();
        self.queue.push_back(slice);
        if self.congested_at == 0 && self.bytes > self.limits.soft_bytes_max {
            self.congested_at = self.bytes;
        }
    }

    /// Copies as much of the queue's front as fits into `buffer`; says how much that is.
    #[must_use]
    pub fn copy_front(&self, buffer: &mut [u8]) -> usize {
        let mut copied = 0;
        for slice in &self.queue {
            let fits = slice.len().min(buffer.len() - copied);
            buffer[copied..copied + fits].copy_from_slice(&slice[..fits]);
            copied += fits;
            if fits < slice.len() {
                break;
            }
        }
        copied
    }

    /// The whole queue, when it is one slice: nothing need be copied then.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        match self.queue.as_slices() {
            ([slice], []) => Some(slice),
            _ => None,
        }
    }

    /// Drops the first `sent` bytes.
    ///
    /// # Panics
    /// When fewer bytes are queued.
    pub fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while sent > 0 {
            let front = self.queue.front_mut().expect("the sum of the slices is `bytes`");
            if sent < front.len() {
                front.advance(sent);
                break;
            }
            sent -= front.len();
            self.queue.pop_front();
            self.unshared = self.unshared.saturating_sub(1);
        }
        if self.queue.is_empty() {
            self.congested_at = 0;
            self.states_waiting = 0;
            // A burst must not be paid for in memory for ever.
            if self.queue.capacity() > 64 {
                self.queue.shrink_to(8);
            }
        }
    }

    /// Copies the small slices, so that what waits here holds no memory but its own. To be called
    /// when the socket takes no more: what is shared would stay with the slowest member.
    pub fn unshare(&mut self) {
        let small_bytes: usize = self.queue.range(self.unshared..).map(Bytes::len).sum();
        if small_bytes < LARGE_BYTES_MIN {
            let mut copy = Vec::with_capacity(small_bytes);
            copy.extend(self.queue.range(self.unshared..).flatten());
            self.queue.truncate(self.unshared);
            if !copy.is_empty() {
                self.queue.push_back(Bytes::from(copy));
            }
        } else {
            for slice in self.queue.range_mut(self.unshared..) {
                if slice.len() < LARGE_BYTES_MIN {
                    *slice = Bytes::copy_from_slice(slice);
                }
            }
        }
        self.unshared = self.queue.len();
    }

    /// Whether the session takes more.
    #[must_use]
    pub fn backpressure(&self) -> Backpressure {
        let OutboxLimits { soft_bytes_max, hard_bytes_max } = self.limits;
        let slack = hard_bytes_max.saturating_sub(soft_bytes_max);
        match self.congested_at {
            0 => Backpressure::Ready,
            at if self.bytes > hard_bytes_max.max(at + slack) => Backpressure::Overflow,
            _ => Backpressure::Congested,
        }
    }

    /// Notes that what is pushed next is a state.
    pub fn count_state(&mut self) {
        self.states_waiting += 1;
    }

    /// States queued since the queue was empty last.
    #[must_use]
    pub fn states_waiting(&self) -> u32 {
        self.states_waiting
    }

    /// Notes that its member was passed over.
    pub fn owe_state(&mut self) {
        self.owes_state = true;
    }

    /// Whether its member was passed over and its queue has not drained since.
    #[must_use]
    pub fn owes_state(&self) -> bool {
        self.owes_state
    }

    /// Whether the queue is empty again after its member was passed over. Says so once.
    pub fn take_owed(&mut self) -> bool {
        self.owes_state && self.is_empty() && std::mem::take(&mut self.owes_state)
    }

    /// Bytes queued.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether what is queued holds no memory but its own: no small slice is a piece of something
    /// larger.
    #[must_use]
    pub fn is_unshared(&self) -> bool {
        self.queue.iter().all(|slice| slice.len() >= LARGE_BYTES_MIN || slice.is_unique())
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Checks what the field comments promise.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn check_invariants(&self) {
        let sum: usize = self.queue.iter().map(Bytes::len).sum();
        assert_eq!(self.bytes, sum, "bytes is the sum of the slices");
        assert!(self.queue.iter().all(|slice| !slice.is_empty()), "no slice is empty");
        assert!(self.unshared <= self.queue.len(), "what was copied is still here");
        assert!(self.states_waiting == 0 || self.bytes > 0, "in an empty queue no state waits");
        assert!(self.congested_at == 0 || self.bytes > 0, "an empty queue is not congested");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(OutboxLimits { soft_bytes_max: 10, hard_bytes_max: 20 })
    }

    #[test]
    fn bytes_leave_in_order_whatever_the_socket_takes() {
        for step in 1..8 {
            let mut outbox = outbox();
            for slice in ["ab", "", "cde", "f"] {
                outbox.push(Bytes::from_static(slice.as_bytes()));
            }
            let mut sent = Vec::new();
            while !outbox.is_empty() {
                let mut buffer = vec![0; step];
                let copied = outbox.copy_front(&mut buffer);
                sent.extend_from_slice(&buffer[..copied]);
                outbox.advance(copied);
                outbox.check_invariants();
            }
            assert_eq!(sent, b"abcdef", "in steps of {step}");
        }
    }

    #[test]
    fn congestion_starts_above_the_soft_limit_and_ends_when_the_queue_is_empty() {
        let mut outbox = outbox();
        let rows = [
            (10, 0, Backpressure::Ready),
            (1, 0, Backpressure::Congested),
            (0, 10, Backpressure::Congested),
            (0, 1, Backpressure::Ready),
            (11, 0, Backpressure::Congested),
            (9, 0, Backpressure::Congested),
            (2, 0, Backpressure::Overflow),
            (0, 22, Backpressure::Ready),
            // One message longer than the hard limit is no reason to close.
            (30, 0, Backpressure::Congested),
            (10, 0, Backpressure::Congested),
            (1, 0, Backpressure::Overflow),
            (0, 41, Backpressure::Ready),
        ];
        for (push, advance, expected) in rows {
            outbox.push(Bytes::from(vec![0; push]));
            outbox.advance(advance);
            outbox.check_invariants();
            assert_eq!(outbox.backpressure(), expected, "+{push} -{advance}");
        }
    }
}
