//! Frames of clients, made by hand: a link masks at random, and no link sends what is wrong.

use tickloom_protocol::link::put_binary_header;

/// The mask of the examples in RFC 6455, section 5.7.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A masked frame with this first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    put_binary_header(payload.len(), &mut frame);
    frame[0] = first;
    frame[1] |= 0x80;
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
