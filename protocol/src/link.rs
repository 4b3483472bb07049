//! WebSocket frames to messages and back, without a socket.
//!
//! A [`Link`] wraps tungstenite's `WebSocketContext`: bytes that arrived go in, whole messages
//! come out, and whatever the protocol itself wants to send (a pong, a close, a client's masked
//! frame) is appended to an output buffer. That buffer always takes everything, so between two
//! calls the link holds no unsent bytes and its output can be queued beside frames that were
//! encoded once for many members: they only ever meet at frame borders.
//!
//! In front of it stands a gate, which inflates compressed messages (RFC 7692) and counts the
//! frames of a message; tungstenite knows neither.

mod gate;

use std::io::{self, Read, Write};

use bytes::Bytes;
use tungstenite::error::{CapacityError, Error, ProtocolError};
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::protocol::frame::{CloseFrame, Frame, FrameHeader};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Message, Utf8Bytes};

use crate::close::CloseReason;
use crate::deflate::{Agreement, Compressors, Inflater, Kind};
use crate::limits;
use crate::link::gate::Gate;

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Receives masked frames of up to [`limits::CLIENT_MESSAGE_BYTES_MAX`].
    Server,
    /// Receives unmasked frames of up to [`limits::SERVER_MESSAGE_BYTES_MAX`].
    Client,
}

/// What one message of the other end may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkLimits {
    /// Bytes, across all its frames and inflated.
    pub message_bytes_max: usize,
    /// Frames it comes in; absent, as many as it likes.
    pub fragments_max: Option<u32>,
}

impl LinkLimits {
    /// What one end takes unless it was told otherwise. A client trusts its server more.
    #[must_use]
    pub const fn of(end: End) -> Self {
        match end {
            End::Server => Self {
                message_bytes_max: limits::CLIENT_MESSAGE_BYTES_MAX,
                fragments_max: Some(limits::CLIENT_FRAGMENTS_MAX),
            },
            End::Client => {
                Self { message_bytes_max: limits::SERVER_MESSAGE_BYTES_MAX, fragments_max: None }
            }
        }
    }
}

/// Compressed messages that came so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InflatedCounts {
    /// How many.
    pub messages: u64,
    /// Bytes of their payloads as they came.
    pub bytes_before: u64,
    /// Bytes of what they stand for.
    pub bytes_after: u64,
}

/// Something the other end sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// A whole binary message.
    Binary(Bytes),
    /// A whole text message.
    Text(Utf8Bytes),
    /// A ping (already answered) or a pong: proof of life, nothing else.
    Alive,
    /// The other end closed; the answering close frame is in the output. Nothing follows.
    Closed(CloseReason),
}

/// One end of a WebSocket, after the handshake.
///
/// Contract: after new bytes arrive, call [`Link::poll`] until it returns `Ok(None)` or closes,
/// and send what it appended to `output` before sleeping.
#[derive(Debug)]
pub struct Link {
    context: WebSocketContext,
    gate: Gate,
    end: End,
    deflate: Option<Agreement>,
}

impl Link {
    /// A link whose handshake is complete, with the usual limits and without compression.
    #[must_use]
    pub fn new(end: End) -> Self {
        Self::with(end, LinkLimits::of(end), None)
    }

    /// A link whose handshake is complete.
    #[must_use]
    pub fn with(end: End, limits: LinkLimits, deflate: Option<Agreement>) -> Self {
        let (role, other) = match end {
            End::Server => (Role::Server, deflate.map(|agreement| agreement.client)),
            End::Client => (Role::Client, deflate.map(|agreement| agreement.server)),
        };
        let LinkLimits { message_bytes_max, .. } = limits;
        // The defaults cost 128 KiB per connection, zero-filled on every read, and allow an
        // unlimited write buffer. With these a link holds about half a KiB while idle. Output
        // never waits here, so the write buffer holds one message at most.
        let config = WebSocketConfig::default()
            .read_buffer_size(512)
            .write_buffer_size(0)
            .max_write_buffer_size(message_bytes_max + 1024)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let inflater = other
            .filter(|sender| sender.keeps_context)
            .map(|_| Box::new(Inflater::keeping_context()));
        Self {
            context: WebSocketContext::new(role, Some(config)),
            gate: Gate::new(end, limits, deflate.is_some(), inflater),
            end,
            deflate,
        }
    }

    /// Takes bytes off the front of `input` until a message is whole or `input` is empty. A
    /// compressed message gets an inflater of its own; see [`Link::poll_with`].
    ///
    /// # Errors
    /// As [`Link::poll_with`].
    pub fn poll(
        &mut self,
        input: &mut &[u8],
        output: &mut Vec<u8>,
    ) -> Result<Option<Received>, CloseReason> {
        self.poll_with(input, output, &mut Inflater::default())
    }

    /// Takes bytes off the front of `input` until a message is whole or `input` is empty. The
    /// inflater is for everybody who compresses each message by itself.
    ///
    /// # Errors
    /// The other end broke the protocol or a limit. The matching close frame is in `output`;
    /// flush it and drop the connection.
    pub fn poll_with(
        &mut self,
        input: &mut &[u8],
        output: &mut Vec<u8>,
        inflater: &mut Inflater,
    ) -> Result<Option<Received>, CloseReason> {
        let Self { context, gate, .. } = self;
        let mut pipe = Pipe { source: Some((gate, inflater)), input, output, refusal: None };
        match context.read(&mut pipe) {
            Ok(Message::Binary(payload)) => Ok(Some(Received::Binary(payload))),
            Ok(Message::Text(text)) => Ok(Some(Received::Text(text))),
            Ok(Message::Ping(_) | Message::Pong(_)) => Ok(Some(Received::Alive)),
            Ok(Message::Close(frame)) => {
                // The answer waits inside the context; flushing it reports ConnectionClosed on a
                // server's end, which says nothing new.
                let _ = context.flush(&mut pipe);
                Ok(Some(Received::Closed(frame.map_or(CloseReason::NORMAL, close_reason))))
            }
            // A raw frame is only ever written, never read.
            Ok(Message::Frame(_)) => Ok(None),
            Err(Error::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                let Some(reason) = pipe.refusal else { return Ok(None) };
                self.close(&reason, output);
                Err(reason)
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                Ok(Some(Received::Closed(CloseReason::NORMAL)))
            }
            Err(error) => {
                let reason = guilt(&error);
                self.close(&reason, output);
                Err(reason)
            }
        }
    }

    /// Appends a whole binary message to `output`.
    pub fn send_binary(&mut self, payload: Bytes, output: &mut Vec<u8>) {
        self.send(Message::Binary(payload), output);
    }

    /// Appends a whole text message to `output`.
    pub fn send_text(&mut self, text: Utf8Bytes, output: &mut Vec<u8>) {
        self.send(Message::Text(text), output);
    }

    /// Appends a whole message to `output`, compressed when that was agreed on and is worth it.
    /// The other end need not keep a window for it. A text must be UTF-8.
    pub fn send_deflated(
        &mut self,
        kind: Kind,
        payload: Bytes,
        compressors: &mut Compressors,
        output: &mut Vec<u8>,
    ) {
        let ours = self.deflate.map(|agreement| match self.end {
            End::Server => agreement.server,
            End::Client => agreement.client,
        });
        let compressed =
            ours.and_then(|sender| compressors.compress(sender.window_bits(), &[&payload]));
        let header = FrameHeader {
            rsv1: compressed.is_some(),
            opcode: kind.opcode(),
            ..FrameHeader::default()
        };
        let payload = compressed.map(Bytes::copy_from_slice).unwrap_or(payload);
        self.send(Message::Frame(Frame::from_payload(header, payload)), output);
    }

    /// What was agreed on about compression.
    #[must_use]
    pub fn deflate(&self) -> Option<Agreement> {
        self.deflate
    }

    /// Compressed messages that came so far.
    #[must_use]
    pub fn inflated(&self) -> InflatedCounts {
        self.gate.inflated()
    }

    /// Appends an empty ping to `output`.
    pub fn send_ping(&mut self, output: &mut Vec<u8>) {
        self.send(Message::Ping(Bytes::new()), output);
    }

    /// Appends a close frame to `output`, unless one was sent before.
    pub fn close(&mut self, reason: &CloseReason, output: &mut Vec<u8>) {
        let frame = CloseFrame {
            code: CloseCode::from(reason.code()),
            reason: Utf8Bytes::from(reason.reason().to_owned()),
        };
        let mut pipe = Pipe { source: None, input: &mut &[][..], output, refusal: None };
        // Fails only when the link is closed already, which is what the caller wants.
        let _ = self.context.close(&mut pipe, Some(frame));
    }

    /// Whether a message, or a control frame, has begun and not ended. Not known, and denied, where
    /// messages may come in any number of frames and none is compressed.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        self.gate.is_within_message()
    }

    /// Whether messages may still be sent: false from the first close frame on, either way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.context.can_write()
    }

    fn send(&mut self, message: Message, output: &mut Vec<u8>) {
        let mut pipe = Pipe { source: None, input: &mut &[][..], output, refusal: None };
        // Fails only after a close frame, when there is nobody left to read the message.
        let _ = self.context.write(&mut pipe, message);
    }
}

/// The longest header of an unmasked frame (RFC 6455 section 5.2).
pub const BINARY_HEADER_BYTES_MAX: usize = 10;

/// Appends the header of an unmasked, final binary frame: what a server puts in front of a
/// payload that was encoded once for many members. 2, 4 or 10 bytes (RFC 6455 section 5.2).
pub fn put_binary_header(payload_bytes: usize, output: &mut impl Write) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Binary), ..FrameHeader::default() };
    // Writing to memory does not fail, and a length below 2^63 always has a header.
    let _ = header.format(payload_bytes as u64, output);
}

/// A whole unmasked frame around one payload, for messages that one client or all of a room get.
#[must_use]
pub fn binary_frame(payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(payload.len() + BINARY_HEADER_BYTES_MAX);
    put_binary_header(payload.len(), &mut frame);
    frame.extend_from_slice(payload);
    Bytes::from(frame)
}

/// tungstenite's view of the world: bytes that arrived, and a buffer that takes everything.
struct Pipe<'a, 'b> {
    /// What bytes come through; nothing comes without it.
    source: Option<(&'a mut Gate, &'a mut Inflater)>,
    input: &'a mut &'b [u8],
    output: &'a mut Vec<u8>,
    /// Why nothing comes any more.
    refusal: Option<CloseReason>,
}

impl Read for Pipe<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((gate, inflater)) = &mut self.source else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        match gate.read(self.input, buffer, inflater) {
            Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
            Ok(length) => Ok(length),
            Err(refusal) => {
                self.refusal = Some(refusal);
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }
}

impl Write for Pipe<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn close_reason(frame: CloseFrame) -> CloseReason {
    CloseReason::new(frame.code.into(), &frame.reason)
}

/// Translates what tungstenite says into whose fault it was.
fn guilt(error: &Error) -> CloseReason {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. } | CapacityError::TooManyHeaders) => {
            CloseReason::TOO_BIG
        }
        Error::Utf8(_) => CloseReason::UTF8,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            CloseReason::new(1006, "reset: the connection ended without a close frame")
        }
        Error::Protocol(error) => CloseReason::new(1002, &format!("protocol: {error}")),
        // The remaining variants belong to handshakes, TLS and URLs, none of which happen here.
        _ => CloseReason::PROTOCOL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of `step` and collects everything received.
    fn feed(link: &mut Link, bytes: &[u8], step: usize) -> (Vec<Received>, Vec<u8>, Option<u16>) {
        let (mut received, mut output) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            let mut input = piece;
            loop {
                match link.poll(&mut input, &mut output) {
                    Ok(Some(Received::Closed(reason))) => {
                        received.push(Received::Closed(reason));
                        return (received, output, None);
                    }
                    Ok(Some(message)) => received.push(message),
                    Ok(None) => break,
                    Err(reason) => return (received, output, Some(reason.code())),
                }
            }
        }
        (received, output, None)
    }

    fn hex(text: &str) -> Vec<u8> {
        text.split_whitespace().map(|b| u8::from_str_radix(b, 16).expect("hex")).collect()
    }

    #[test]
    fn masked_frames_become_messages_whole_and_byte_by_byte() {
        // "Hello" of RFC 6455 section 5.7, as binary; then a ping, then the same text.
        let bytes = hex("82 85 37 fa 21 3d 7f 9f 4d 51 58  89 80 00 00 00 00 \
                         81 85 37 fa 21 3d 7f 9f 4d 51 58");
        for step in [1, 3, bytes.len()] {
            let (received, output, error) = feed(&mut Link::new(End::Server), &bytes, step);
            let hello = Received::Binary(Bytes::from_static(b"Hello"));
            let text = Received::Text("Hello".into());
            assert_eq!(received, [hello, Received::Alive, text], "step {step}");
            assert_eq!((output, error), (hex("8a 00"), None), "the pong leaves, step {step}");
        }
    }

    #[test]
    fn broken_frames_are_closed_with_the_code_of_their_fault() {
        let rows = [
            ("unmasked", "82 01 00", 1002),
            ("reserved bit", "c2 80 00 00 00 00", 1002),
            ("reserved opcode", "83 80 00 00 00 00", 1002),
            ("fragmented ping", "09 80 00 00 00 00", 1002),
            ("continuation of nothing", "80 80 00 00 00 00", 1002),
            ("65,537 bytes", "82 ff 00 00 00 00 00 01 00 01 00 00 00 00", 1009),
            ("2^63 bytes", "82 ff 80 00 00 00 00 00 00 00 00 00 00 00", 1009),
            ("text that is not UTF-8", "81 81 00 00 00 00 ff", 1007),
        ];
        for (name, bytes, code) in rows {
            for step in [1, 64] {
                let (received, output, error) =
                    feed(&mut Link::new(End::Server), &hex(bytes), step);
                assert_eq!((received.len(), error), (0, Some(code)), "{name}, step {step}");
                assert_eq!(output[..1], hex("88"), "{name}: a close frame is in the output");
                assert_eq!(output[2..4], u16::to_be_bytes(code), "{name}");
            }
        }
    }

    #[test]
    fn a_close_is_answered_and_ends_the_link() {
        let mut link = Link::new(End::Server);
        let (received, output, _) = feed(&mut link, &hex("88 82 00 00 00 00 03 e8"), 64);
        assert_eq!(received, [Received::Closed(CloseReason::new(1000, ""))]);
        assert_eq!(output, hex("88 02 03 e8"));
        assert!(!link.is_open());
    }

    #[test]
    fn two_ends_understand_each_other() {
        let (mut client, mut server) = (Link::new(End::Client), Link::new(End::Server));
        let mut wire = Vec::new();
        client.send_binary(Bytes::from_static(b"up"), &mut wire);
        let (received, _, _) = feed(&mut server, &wire, 1);
        assert_eq!(received, [Received::Binary(Bytes::from_static(b"up"))]);
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![7; length];
            let mut frame = Vec::new();
            put_binary_header(payload.len(), &mut frame);
            frame.extend_from_slice(&payload);
            let (received, _, _) = feed(&mut client, &frame, 4096);
            assert_eq!(received, [Received::Binary(payload.into())], "{length} bytes");
        }
    }
}
