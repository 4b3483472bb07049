//! Whole WebSocket frames of a server, told apart in a stream of bytes and counted.

use tickloom_protocol::link::put_binary_header;

/// Finds the ends of frames, however the bytes are cut. It looks at nothing but headers
/// (RFC 6455 section 5.2), so it costs the same whatever is inside.
#[derive(Clone, Debug, Default)]
pub struct FrameCounter {
    /// What came of a header so far.
    header: [u8; 10],
    header_bytes: usize,
    /// Bytes of the present frame's payload that are still to come; `None` between frames.
    payload_left: Option<u64>,
}

/// What is in a few bytes of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    /// Frames of data that ended in them.
    pub data: u64,
    /// Whether a close frame did.
    pub closed: bool,
}

impl FrameCounter {
    /// Takes in what arrived. `on_payload` is shown the payloads of data that lie wholly in it.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_payload: impl FnMut(&[u8])) -> Count {
        let mut count = Count::default();
        loop {
            let (left, is_new) = match self.payload_left {
                Some(left) => (left, false),
                None => match self.take_header(&mut bytes) {
                    Some(length) => (length, true),
                    None => return count,
                },
            };
            if (bytes.len() as u64) < left {
                self.payload_left = Some(left - bytes.len() as u64);
                return count;
            }
            let (payload, rest) = bytes.split_at(left as usize);
            bytes = rest;
            self.payload_left = None;
            match self.header[0] & 0x0f {
                0x8 => count.closed = true,
                // A ping or a pong.
                0x9 | 0xa => {}
                _ => {
                    count.data += 1;
                    if is_new {
                        on_payload(payload);
                    }
                }
            }
        }
    }

    /// Takes a header off the front; the length it states, once it is whole.
    fn take_header(&mut self, bytes: &mut &[u8]) -> Option<u64> {
        loop {
            let wanted = match (self.header_bytes, self.header[1]) {
                (0 | 1, _) => 2,
                (_, 126) => 4,
                (_, 127) => 10,
                (_, _) => 2,
            };
            if self.header_bytes == wanted {
                break;
            }
            let (first, rest) = bytes.split_first()?;
            self.header[self.header_bytes] = *first;
            self.header_bytes += 1;
            *bytes = rest;
        }
        let length = match self.header_bytes {
            2 => u64::from(self.header[1]),
            4 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            _ => self.header[2..].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        self.header_bytes = 0;
        Some(length)
    }
}

/// A frame of data that is `frame_bytes` long with its header, or the shortest longer one: where
/// headers grow, some lengths are nobody's, such as 128 and 129.
#[must_use]
pub fn data_frame(frame_bytes: usize) -> Vec<u8> {
    let mut frame = Vec::with_capacity(frame_bytes + 2);
    let (header_bytes, payload_bytes_min) = match frame_bytes {
        0..=127 => (2, 0),
        128..=65_539 => (4, 126),
        _ => (10, 65_536),
    };
    let payload_bytes = frame_bytes.saturating_sub(header_bytes).max(payload_bytes_min);
    put_binary_header(payload_bytes, &mut frame);
    frame.resize(frame.len() + payload_bytes, 0x42);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_whole_and_byte_by_byte() {
        let sizes = [2, 66, 127, 128, 130, 1_000, 65_539, 70_000];
        let mut stream: Vec<u8> = sizes.iter().flat_map(|size| data_frame(*size)).collect();
        // A ping, a pong and a close between and behind them do not count.
        stream.extend_from_slice(&[0x89, 0, 0x8a, 1, 7, 0x82, 0, 0x88, 2, 3, 0xe8]);
        for step in [1, 7, 4096, stream.len()] {
            let mut counter = FrameCounter::default();
            let mut total = Count::default();
            for piece in stream.chunks(step) {
                let count = counter.feed(piece, |_| {});
                total.data += count.data;
                assert!(!total.closed, "the close is last, step {step}");
                total.closed = count.closed;
            }
            assert_eq!(total, Count { data: sizes.len() as u64 + 1, closed: true }, "step {step}");
        }
    }

    #[test]
    fn payloads_are_shown_when_they_came_in_one_piece() {
        let frame = [data_frame(5), data_frame(6)].concat();
        let mut shown = Vec::new();
        let mut counter = FrameCounter::default();
        counter.feed(&frame[..8], |payload| shown.push(payload.len()));
        counter.feed(&frame[8..], |payload| shown.push(payload.len()));
        assert_eq!(shown, [3], "the second was cut");
    }

    #[test]
    fn a_frame_has_the_size_that_was_asked_for() {
        for (asked, expected) in [
            (0, 2),
            (66, 66),
            (127, 127),
            (128, 130),
            (130, 130),
            (290, 290),
            (65_539, 65_539),
            (65_540, 65_546),
            (70_000, 70_000),
        ] {
            assert_eq!(data_frame(asked).len(), expected, "{asked}");
        }
    }
}
