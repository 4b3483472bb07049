//! What stands in front of tungstenite and reads the headers of frames.
//!
//! ```text
//!              +-- ordinary frames, as they are ------------------------+
//! input -> gate|                                                        +-> tungstenite
//!              +-- compressed message: held, unmasked, inflated at its --+
//!                  end, then one ordinary frame
//! ```
//!
//! What is not allowed goes through wherever tungstenite can tell, so that it is refused in one
//! place. The gate itself refuses what only it knows: too many frames to one message, an ordinary
//! message within a compressed one, and what does not inflate.

use tungstenite::protocol::frame::FrameHeader;

use super::{End, InflatedCounts, LinkLimits};
use crate::close::CloseReason;
use crate::deflate::{InflateError, Inflater, Kind};

/// The longest header of a frame: two bytes, a length of eight, a mask of four.
const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const RSV1: u8 = 0x40;
const CONTROL: u8 = 0x08;

/// The state between two reads. While nothing is under way it holds no memory but its own.
#[derive(Debug)]
pub(super) struct Gate {
    end: End,
    limits: LinkLimits,
    /// Whether there is nothing to look for.
    is_open: bool,
    /// Whether a message may be compressed.
    inflates: bool,
    /// A header that came in pieces.
    header: SplitHeader,
    /// Bytes of the present frame's payload that are still to come.
    payload_left: u64,
    /// Where they go.
    course: Course,
    /// Which message has begun and not ended.
    message: Message,
    /// Frames of that message so far.
    fragments: u32,
    /// Payload of those frames, as their headers announce it.
    message_bytes: u64,
    /// The compressed message as far as it came, unmasked.
    held: Vec<u8>,
    /// An inflated message as a frame, of which this much was handed on.
    ready: Vec<u8>,
    ready_from: usize,
    /// Why nothing goes through any more.
    refusal: Option<CloseReason>,
    /// What inflates the messages of a sender that keeps its context.
    inflater: Option<Box<Inflater>>,
    inflated: InflatedCounts,
}

/// A header that came in pieces: `0 <= passed <= filled <= 14`.
#[derive(Clone, Copy, Debug, Default)]
struct SplitHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    filled: u8,
    /// How much of a whole one was handed on.
    passed: u8,
    is_whole: bool,
}

/// Where a frame's payload goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Course {
    /// On, as it is.
    Pass,
    /// Into `held`. The key is turned so that its first byte is for the next byte of payload.
    Hold { key: [u8; 4], is_final: bool },
}

/// Which message has begun and not ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Message {
    /// None.
    Over,
    /// One that goes through.
    Plain,
    /// One that is held.
    Compressed(Kind),
}

/// The first bytes of a frame.
struct Header {
    first: u8,
    header_bytes: usize,
    payload_bytes: u64,
    key: Option<[u8; 4]>,
}

impl Header {
    /// Reads a header, when it is whole.
    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (payload_bytes, at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            length => (u64::from(length), 2),
        };
        if second & 0x80 == 0 {
            return Some(Self { first, header_bytes: at, payload_bytes, key: None });
        }
        let key = *bytes.get(at..)?.first_chunk()?;
        Some(Self { first, header_bytes: at + 4, payload_bytes, key: Some(key) })
    }
}

impl Gate {
    pub(super) fn new(
        end: End,
        limits: LinkLimits,
        inflates: bool,
        inflater: Option<Box<Inflater>>,
    ) -> Self {
        Self {
            end,
            limits,
            is_open: limits.fragments_max.is_none() && !inflates,
            inflates,
            header: SplitHeader::default(),
            payload_left: 0,
            course: Course::Pass,
            message: Message::Over,
            fragments: 0,
            message_bytes: 0,
            held: Vec::new(),
            ready: Vec::new(),
            ready_from: 0,
            refusal: None,
            inflater,
            inflated: InflatedCounts::default(),
        }
    }

    /// Whether something has begun and not ended.
    pub(super) fn is_within_message(&self) -> bool {
        self.payload_left > 0 || self.header.filled > 0 || self.message != Message::Over
    }

    pub(super) fn inflated(&self) -> InflatedCounts {
        self.inflated
    }

    /// Takes bytes off the front of `input` and puts what goes through into `buffer`; says how much
    /// that is. It is nothing only when there is no more input.
    ///
    /// # Errors
    /// What is wrong with the bytes behind those that went through before.
    pub(super) fn read(
        &mut self,
        input: &mut &[u8],
        buffer: &mut [u8],
        shared: &mut Inflater,
    ) -> Result<usize, CloseReason> {
        let chunk = &input[..input.len().min(buffer.len())];
        let has_more_first = self.has_more_first();
        if self.is_open || (chunk.is_empty() && !has_more_first) {
            return Ok(take(input, chunk.len(), buffer));
        }
        let run = if has_more_first { 0 } else { self.scan(chunk) };
        if run > 0 {
            return Ok(take(input, run, buffer));
        }
        self.read_slowly(input, buffer, shared)
    }

    /// How many bytes at the front of `chunk` go through as they are, when nothing comes before
    /// them. This is where nearly all bytes pass, most often a whole frame at once.
    #[inline]
    fn scan(&mut self, chunk: &[u8]) -> usize {
        let mut run = 0;
        loop {
            if self.payload_left > 0 {
                if self.course != Course::Pass {
                    return run;
                }
                let taken = self.payload_left.min((chunk.len() - run) as u64);
                self.payload_left -= taken;
                run += taken as usize;
                if run == chunk.len() {
                    return run;
                }
            }
            let Some(header) = Header::read(&chunk[run..]) else { return run };
            let is_plain_and_whole = matches!(header.first, 0x81 | 0x82);
            if is_plain_and_whole && self.message == Message::Over {
                (self.payload_left, self.course) = (header.payload_bytes, Course::Pass);
            } else if matches!(self.course_of(&header), Ok(Course::Pass)) {
                self.enter(&header, Course::Pass);
            } else {
                // It has its turn when what is in front of it has left.
                return run;
            }
            run += header.header_bytes;
        }
    }

    /// Whether something waits that comes before the next byte of input.
    #[inline]
    fn has_more_first(&self) -> bool {
        self.header.filled > 0 || !self.ready.is_empty() || self.refusal.is_some()
    }

    /// Headers that come in pieces, compressed messages and refusals.
    #[cold]
    fn read_slowly(
        &mut self,
        input: &mut &[u8],
        buffer: &mut [u8],
        shared: &mut Inflater,
    ) -> Result<usize, CloseReason> {
        loop {
            if let Some(refusal) = &self.refusal {
                return Err(refusal.clone());
            }
            let passed = self.pass_ready(buffer);
            if passed > 0 {
                return Ok(passed);
            }
            let is_split = self.header.filled > 0;
            let chunk = &input[..input.len().min(buffer.len())];
            let run = if is_split { 0 } else { self.scan(chunk) };
            if run > 0 {
                return Ok(take(input, run, buffer));
            }
            if input.is_empty() {
                return Ok(0);
            }
            let step = match self.course {
                Course::Hold { .. } if self.payload_left > 0 => {
                    self.hold(input);
                    Ok(())
                }
                Course::Hold { .. } | Course::Pass => self.gather_header(input),
            };
            let is_whole = matches!(self.course, Course::Hold { is_final: true, .. });
            let step = match step {
                Ok(()) if is_whole && self.payload_left == 0 => self.finish(shared),
                step => step,
            };
            self.refusal = step.err();
        }
    }

    /// Hands on a header that came in pieces, or an inflated message.
    fn pass_ready(&mut self, buffer: &mut [u8]) -> usize {
        let SplitHeader { bytes, filled, passed, is_whole } = &mut self.header;
        if *is_whole {
            let mut rest = &bytes[usize::from(*passed)..usize::from(*filled)];
            let length = take(&mut rest, buffer.len(), buffer);
            *passed += length as u8;
            if rest.is_empty() {
                self.header = SplitHeader::default();
            }
            return length;
        }
        let mut rest = &self.ready[self.ready_from..];
        let length = take(&mut rest, buffer.len(), buffer);
        self.ready_from += length;
        if rest.is_empty() {
            (self.ready, self.ready_from) = (Vec::new(), 0);
        }
        length
    }

    /// Takes the next bytes of a header, and decides about its frame when it is whole.
    fn gather_header(&mut self, input: &mut &[u8]) -> Result<(), CloseReason> {
        let split = &mut self.header;
        while let Some((&byte, rest)) = input.split_first() {
            *input = rest;
            split.bytes[usize::from(split.filled)] = byte;
            split.filled += 1;
            let Some(header) = Header::read(&split.bytes[..usize::from(split.filled)]) else {
                continue;
            };
            let course = self.course_of(&header)?;
            self.enter(&header, course);
            match course {
                Course::Pass => self.header.is_whole = true,
                Course::Hold { .. } => self.header = SplitHeader::default(),
            }
            break;
        }
        Ok(())
    }

    /// Where a frame goes. What tungstenite refuses without our help passes.
    fn course_of(&self, header: &Header) -> Result<Course, CloseReason> {
        let reserved = header.first & RSV;
        match (header.first & 0x0f, self.message) {
            (0, Message::Plain | Message::Compressed(_))
                if self.limits.fragments_max.is_some_and(|max| self.fragments >= max) =>
            {
                Err(CloseReason::FRAGMENTS)
            }
            // Before tungstenite makes room for what it will refuse.
            (0, Message::Plain)
                if self.message_bytes.saturating_add(header.payload_bytes)
                    > self.limits.message_bytes_max as u64 =>
            {
                Err(CloseReason::TOO_BIG)
            }
            (0, Message::Compressed(_)) if reserved == 0 => self.hold_if_masked(header),
            (1 | 2, Message::Over) if reserved == RSV1 && self.inflates => {
                self.hold_if_masked(header)
            }
            (1 | 2, Message::Compressed(_)) => {
                Err(CloseReason::new(1002, "protocol: a message began within a compressed one"))
            }
            // Control frames, ordinary messages, and everything that breaks RFC 6455.
            _ => Ok(Course::Pass),
        }
    }

    fn hold_if_masked(&self, header: &Header) -> Result<Course, CloseReason> {
        if header.key.is_some() != (self.end == End::Server) {
            return Ok(Course::Pass);
        }
        // What does not compress gets longer: by an eighth where a fast compressor writes nine
        // bits for each of the upper bytes, and by five bytes for each block.
        let message_bytes_max = self.limits.message_bytes_max;
        let held_bytes_max = message_bytes_max + message_bytes_max / 8 + 1024;
        let room = held_bytes_max - self.held.len().min(held_bytes_max);
        if header.payload_bytes > room as u64 {
            return Err(CloseReason::TOO_BIG);
        }
        let is_final = header.first & FIN != 0;
        Ok(Course::Hold { key: header.key.unwrap_or_default(), is_final })
    }

    /// A frame begins.
    fn enter(&mut self, header: &Header, course: Course) {
        self.payload_left = header.payload_bytes;
        self.course = course;
        if header.first & CONTROL != 0 {
            return;
        }
        let kind = if header.first & 0x0f == 1 { Kind::Text } else { Kind::Binary };
        let is_first = header.first & 0x0f != 0;
        let (fragments, bytes) =
            if is_first { (0, 0) } else { (self.fragments, self.message_bytes) };
        self.fragments = fragments.saturating_add(1);
        self.message_bytes = bytes.saturating_add(header.payload_bytes);
        self.message = match (course, self.message) {
            (Course::Hold { .. }, Message::Compressed(kind)) => Message::Compressed(kind),
            // It is over when it is inflated.
            (Course::Hold { .. }, Message::Plain | Message::Over) => Message::Compressed(kind),
            (Course::Pass, _) if header.first & FIN != 0 => Message::Over,
            (Course::Pass, _) => Message::Plain,
        };
    }

    /// Takes payload of a compressed message.
    fn hold(&mut self, input: &mut &[u8]) {
        let length = self.payload_left.min(input.len() as u64) as usize;
        let (taken, rest) = input.split_at(length);
        *input = rest;
        self.payload_left -= length as u64;
        let start = self.held.len();
        self.held.extend_from_slice(taken);
        if let Course::Hold { key, .. } = &mut self.course {
            unmask(&mut self.held[start..], *key);
            key.rotate_left(length % 4);
        }
    }

    /// A compressed message is whole: makes an ordinary frame of it.
    fn finish(&mut self, shared: &mut Inflater) -> Result<(), CloseReason> {
        let Message::Compressed(kind) = self.message else { return Ok(()) };
        (self.course, self.message) = (Course::Pass, Message::Over);
        let held = std::mem::take(&mut self.held);
        let inflater = self.inflater.as_deref_mut().unwrap_or(shared);
        let mut frame = vec![0; HEADER_BYTES_MAX];
        match inflater.inflate(&held, self.limits.message_bytes_max, &mut frame) {
            Ok(()) => {}
            Err(InflateError::TooBig) => return Err(CloseReason::TOO_BIG),
            Err(InflateError::Broken) => return Err(CloseReason::INFLATE),
        }
        let payload_bytes = (frame.len() - HEADER_BYTES_MAX) as u64;
        self.inflated.messages += 1;
        self.inflated.bytes_before += held.len() as u64;
        self.inflated.bytes_after += payload_bytes;
        // A key of zeros leaves the payload as it is.
        let mask = (self.end == End::Server).then_some([0; 4]);
        let header = FrameHeader { opcode: kind.opcode(), mask, ..FrameHeader::default() };
        self.ready_from = HEADER_BYTES_MAX - header.len(payload_bytes);
        // It has exactly the length it said.
        let _ = header.format(payload_bytes, &mut &mut frame[self.ready_from..HEADER_BYTES_MAX]);
        self.ready = frame;
        Ok(())
    }
}

/// Moves bytes from the front of `input` to the front of `buffer`: `length`, or fewer when either
/// is shorter.
fn take(input: &mut &[u8], length: usize, buffer: &mut [u8]) -> usize {
    let length = length.min(input.len()).min(buffer.len());
    let (taken, rest) = input.split_at(length);
    buffer[..length].copy_from_slice(taken);
    *input = rest;
    length
}

/// Undoes the masking of RFC 6455 section 5.3.
fn unmask(bytes: &mut [u8], key: [u8; 4]) {
    let (whole, rest) = bytes.as_chunks_mut::<4>();
    let word = u32::from_ne_bytes(key);
    for chunk in whole {
        *chunk = (u32::from_ne_bytes(*chunk) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}
