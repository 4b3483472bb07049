//! Messages to frames with RSV1.

use flate2::{Compress, Compression, FlushCompress};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::{FLUSH_TAIL, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// What a message is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

impl Kind {
    pub(crate) fn opcode(self) -> OpCode {
        OpCode::Data(match self {
            Self::Text => Data::Text,
            Self::Binary => Data::Binary,
        })
    }
}

/// The level at which everything is compressed. Level 6 takes five times as long and saves a tenth
/// of the bytes.
const LEVEL: Compression = Compression::new(1);

/// Compresses messages, each with a window on those before it since the last
/// [`Compressor::reset`]. Whoever inflates one of them must have inflated all of them. It takes
/// 250 to 380 KiB.
#[derive(Debug)]
pub struct Compressor {
    stream: Compress,
    compressed: Vec<u8>,
}

impl Compressor {
    /// A compressor with a window of this many bits.
    ///
    /// # Panics
    /// When they are not within [`WINDOW_BITS_MIN`] and [`WINDOW_BITS_MAX`].
    #[must_use]
    pub fn new(window_bits: u8) -> Self {
        let stream = Compress::new_with_window_bits(LEVEL, false, window_bits);
        Self { stream, compressed: Vec::new() }
    }

    /// Forgets all messages: the next one can be inflated by everybody.
    pub fn reset(&mut self) {
        self.stream.reset();
    }

    /// The payload that stands for a message, which comes in pieces.
    pub fn compress(&mut self, pieces: &[&[u8]]) -> &[u8] {
        self.compressed.clear();
        if pieces.iter().all(|piece| piece.is_empty()) {
            // An empty block. zlib does not write one where it has just flushed.
            self.compressed.push(0);
            return &self.compressed;
        }
        for piece in pieces {
            self.put(piece, FlushCompress::None);
        }
        self.put(&[], FlushCompress::Sync);
        let end = self.compressed.len() - FLUSH_TAIL.len();
        debug_assert_eq!(self.compressed[end..], FLUSH_TAIL, "a flush ends like this");
        self.compressed.truncate(end);
        &self.compressed
    }

    /// Appends a server's frame with a message to `output`.
    pub fn put_frame(&mut self, kind: Kind, pieces: &[&[u8]], output: &mut Vec<u8>) {
        let payload = self.compress(pieces);
        put_payload(kind, payload, output);
    }

    fn put(&mut self, mut rest: &[u8], flush: FlushCompress) {
        loop {
            if self.compressed.capacity() - self.compressed.len() < 64 {
                self.compressed.reserve(rest.len() + 256);
            }
            let taken_before = self.stream.total_in();
            self.stream
                .compress_vec(rest, &mut self.compressed, flush)
                .expect("there is space, and nothing is compressed after the end");
            rest = &rest[(self.stream.total_in() - taken_before) as usize..];
            // A flush is over when it left space.
            if rest.is_empty() && self.compressed.len() < self.compressed.capacity() {
                return;
            }
        }
    }
}

/// Appends a server's frame around a compressed payload.
fn put_payload(kind: Kind, payload: &[u8], output: &mut Vec<u8>) {
    let header = FrameHeader { rsv1: true, opcode: kind.opcode(), ..FrameHeader::default() };
    // Writing to memory does not fail, and a length below 2^63 always has a header.
    let _ = header.format(payload.len() as u64, output);
    output.extend_from_slice(payload);
}

/// Compresses each message by itself, for connections with windows of any size. It holds one
/// [`Compressor`] for each size that was needed.
#[derive(Debug, Default)]
pub struct Compressors {
    /// Shorter messages are not worth the time.
    bytes_min: usize,
    by_window_bits: [Option<Box<Compressor>>; (WINDOW_BITS_MAX - WINDOW_BITS_MIN + 1) as usize],
}

impl Compressors {
    /// Compressors for messages of at least this many bytes.
    #[must_use]
    pub fn new(bytes_min: usize) -> Self {
        Self { bytes_min, ..Self::default() }
    }

    /// The payload that stands for a message by itself, for a window of this many bits. `None`
    /// when the message is short or does not get smaller, or when there is no compressing for the
    /// window.
    pub fn compress(&mut self, window_bits: u8, pieces: &[&[u8]]) -> Option<&[u8]> {
        let plain_bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        if plain_bytes < self.bytes_min {
            return None;
        }
        let position = window_bits.checked_sub(WINDOW_BITS_MIN)?;
        let place = self.by_window_bits.get_mut(usize::from(position))?;
        let compressor = place.get_or_insert_with(|| Box::new(Compressor::new(window_bits)));
        compressor.reset();
        let payload = compressor.compress(pieces);
        (payload.len() < plain_bytes).then_some(payload)
    }

    /// Appends a server's frame with a message to `output`, if it is worth it.
    /// Says whether it is.
    pub fn put_frame(
        &mut self,
        window_bits: u8,
        kind: Kind,
        pieces: &[&[u8]],
        output: &mut Vec<u8>,
    ) -> bool {
        let Some(payload) = self.compress(window_bits, pieces) else { return false };
        put_payload(kind, payload, output);
        true
    }
}
