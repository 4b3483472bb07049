//! The start of every `Delta` as bytes: what differs between members, and nothing else.
//!
//! Nearly all of a delta is the same for every member of a room. A [`DeltaPrefix`] writes the
//! part that is not, about seventy bytes, and promises a last vector whose bytes follow it in the
//! frame. The FlatBuffers format allows this because readers follow offsets forward and alignment
//! counts from the start of the buffer.

use crate::ids::{InputSeq, OpId, Tick};
use crate::server_message::{Delta, DeltaHead, ServerEncoder, ServerMessage};

/// The start of every `Delta`, up to and including the length of its last vector.
#[derive(Clone, Debug)]
pub struct DeltaPrefix {
    template: Vec<u8>,
    tick_at: usize,
    base_at: usize,
    ack_at: usize,
    margin_at: usize,
    ack_op_at: usize,
    load_level_at: usize,
}

impl Default for DeltaPrefix {
    fn default() -> Self {
        Self::new()
    }
}

impl DeltaPrefix {
    /// Builds the template once: an ordinary `Delta` with an empty vector, in which the varying
    /// fields are found by the values planted there.
    #[must_use]
    pub fn new() -> Self {
        let head = DeltaHead {
            tick: Tick(0xa1a2_a3a4),
            base: Tick(0xb1b2_b3b4),
            ack: InputSeq(0xc1c2_c3c4),
            margin: 0x5d,
            ack_op: OpId(0xd1d2_d3d4),
            load_level: 0x6e,
        };
        let message = ServerMessage::Delta(Delta { head, chunks: &[] });
        let template = ServerEncoder::default().encode(&message).to_vec();
        let find = |needle: &[u8]| {
            let position = template.windows(needle.len()).position(|window| window == needle);
            position.expect("a planted value is in the buffer")
        };
        assert!(template.ends_with(&[0; 4]), "the empty vector is the end of the buffer");
        Self {
            tick_at: find(&head.tick.0.to_le_bytes()),
            base_at: find(&head.base.0.to_le_bytes()),
            ack_at: find(&head.ack.0.to_le_bytes()),
            margin_at: find(&[head.margin as u8]),
            ack_op_at: find(&head.ack_op.0.to_le_bytes()),
            load_level_at: find(&[head.load_level]),
            template,
        }
    }

    /// Bytes of the prefix.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.template.len()
    }

    /// Appends the prefix for one member. Exactly `chunks_bytes` bytes of chunks must follow.
    pub fn put(&self, head: &DeltaHead, chunks_bytes: usize, output: &mut Vec<u8>) {
        let start = output.len();
        output.extend_from_slice(&self.template);
        let prefix = &mut output[start..];
        let mut patch = |at: usize, value: u32| {
            prefix[at..at + 4].copy_from_slice(&value.to_le_bytes());
        };
        patch(self.tick_at, head.tick.0);
        patch(self.base_at, head.base.0);
        patch(self.ack_at, head.ack.0);
        patch(self.ack_op_at, head.ack_op.0);
        patch(self.template.len() - 4, chunks_bytes as u32);
        prefix[self.margin_at] = head.margin as u8;
        prefix[self.load_level_at] = head.load_level;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_message::DecodeError;
    use crate::limits;

    #[test]
    fn a_prefix_and_its_chunks_are_one_valid_message() {
        let prefix = DeltaPrefix::new();
        for length in 0..9 {
            let chunks = &[1, 2, 3, 4, 5, 6, 7, 8, 9][..length];
            let (tick, ack, ack_op) = (Tick(u32::MAX), InputSeq(77), OpId(78));
            let head = DeltaHead { tick, base: Tick::ZERO, ack, margin: -1, ack_op, load_level: 3 };
            let mut bytes = Vec::new();
            prefix.put(&head, length, &mut bytes);
            assert_eq!(bytes.len(), prefix.bytes());
            bytes.extend_from_slice(chunks);
            let decoded = ServerMessage::decode(&bytes);
            assert_eq!(decoded, Ok(ServerMessage::Delta(Delta { head, chunks })), "{length}");
        }
    }

    #[test]
    fn a_prefix_that_lies_about_its_length_is_refused() {
        let mut bytes = Vec::new();
        DeltaPrefix::new().put(&DeltaHead::default(), 4, &mut bytes);
        bytes.extend_from_slice(&[1, 2, 3]);
        assert_eq!(ServerMessage::decode(&bytes), Err(DecodeError::Malformed));
    }

    #[test]
    fn a_prefix_is_small() {
        let bytes = DeltaPrefix::new().bytes();
        assert!(bytes <= 76, "{bytes} bytes");
    }

    #[test]
    fn a_delta_of_exactly_the_limit_is_taken() {
        let prefix = DeltaPrefix::new();
        let chunks = vec![0; limits::SERVER_MESSAGE_BYTES_MAX - prefix.bytes()];
        let head = DeltaHead::default();
        let mut bytes = Vec::new();
        prefix.put(&head, chunks.len(), &mut bytes);
        bytes.extend_from_slice(&chunks);
        assert!(
            ServerMessage::decode(&bytes)
                == Ok(ServerMessage::Delta(Delta { head, chunks: &chunks }))
        );
    }
}
