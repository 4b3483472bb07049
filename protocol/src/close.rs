//! Why a connection ends: a WebSocket close code, a reason people can read, and advice to clients.

use std::borrow::Cow;
use std::fmt;

use crate::limits;

/// What a client should do after a close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Reconnect after a random delay; the room is expected to be there.
    Reconnect,
    /// Do not come back by yourself: the cause would be the same.
    Stop,
}

/// The end of a connection, as a close frame says it (RFC 6455 section 7.4).
///
/// The reason always reads `slug: sentence`, so that programs match the slug and people read the
/// rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CloseReason {
    code: u16,
    reason: Cow<'static, str>,
}

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        impl CloseReason {
            $($(#[$doc])* pub const $name: Self = Self { code: $code, reason: Cow::Borrowed($text) };)*

            /// Every reason a server gives, for documentation and for tests.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }
    };
}

close_reasons! {
    /// The client is done.
    NORMAL = 1000, "normal: closed by the client";
    /// The other end spoke something that is not WebSocket.
    PROTOCOL = 1002, "protocol: bytes that break RFC 6455";
    /// Text where only binary messages have a meaning.
    TEXT = 1003, "text: this endpoint takes binary messages only";
    /// A text message that is not UTF-8.
    UTF8 = 1007, "utf8: a text message must be valid UTF-8";
    /// A binary message that does not verify as a client envelope.
    MALFORMED = 1007, "malformed: not a valid ClientEnvelope, see SPEC.md";
    /// A compressed message that is no deflate stream.
    INFLATE = 1007, "inflate: a compressed message does not inflate";
    /// A value outside its declared range.
    OUT_OF_RANGE = 1007, "out-of-range: a value is outside its declared range";
    /// A name or an option longer than its limit.
    TOO_LONG = 1008, "too-long: a field exceeds its limit, see SPEC.md";
    /// An input row whose length is not that of the room's input descriptor.
    BAD_INPUT = 1008, "bad-input: the row does not match the room's input descriptor";
    /// The client joined, was refused and tried again too often.
    TOO_MANY_JOINS = 1008, "too-many-joins: refused joins are bounded per connection";
    /// A message in more frames than this endpoint takes.
    FRAGMENTS = 1008, "fragments: a message came in too many frames";
    /// The client sent far more than it may.
    RATE_LIMITED = 1008, "rate-limited: far more came than this endpoint reads per second";
    /// A message that was begun and did not end in time.
    MESSAGE_TIMEOUT = 1008, "message-timeout: a message took too long from its first byte";
    /// No `Join` in time after the upgrade.
    JOIN_TIMEOUT = 1008, "join-timeout: send Join after connecting";
    /// A frame or message over its limit.
    TOO_BIG = 1009, "too-big: a message exceeds the limit of this endpoint";
    /// The room's own logic failed.
    ROOM_FAILED = 1011, "room-failed: the room stopped after an error of its own";
    /// The server stops or restarts.
    RESTART = 1012, "restart: the server is going away, reconnect";
    /// The client reads too slowly for what is queued for it.
    SLOW_CONSUMER = 1013, "slow-consumer: too many bytes queued, or none taken for too long";
    /// The server has no place for another connection.
    OVERLOADED = 1013, "overloaded: try again later";
    /// Nothing came from the client for too long, not even a pong.
    PING_TIMEOUT = 4001, "ping-timeout: no pong in time";
    /// The client came back to its seat over another connection.
    REPLACED = 4500, "replaced: this seat is used over another connection now";
}

impl CloseReason {
    /// A reason received from the other end, or one with a text made at run time. The text is
    /// cut at a character border so that it fits a control frame.
    #[must_use]
    pub fn new(code: u16, reason: &str) -> Self {
        let mut end = reason.len().min(limits::CLOSE_REASON_BYTES_MAX);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        Self { code, reason: Cow::Owned(reason[..end].to_owned()) }
    }

    /// The close code.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// The text after the code: `slug: sentence`.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// What a client should do next. 1000, 1002, 1003, 1007, 1008, 1009 and 4500-4999 are
    /// terminal; everything else is worth another try.
    #[must_use]
    pub const fn advice(&self) -> Advice {
        match self.code {
            1000 | 1002 | 1003 | 1007 | 1008 | 1009 | 4500..=4999 => Advice::Stop,
            _ => Advice::Reconnect,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_slug_and_fits_a_control_frame() {
        for reason in CloseReason::ALL {
            let (slug, sentence) = reason.reason().split_once(": ").expect("slug: sentence");
            assert!(!slug.contains(' ') && !sentence.is_empty(), "{reason}");
            assert!(reason.reason().len() <= limits::CLOSE_REASON_BYTES_MAX, "{reason}");
        }
    }

    #[test]
    fn long_reasons_are_cut_at_a_character_border() {
        let reason = CloseReason::new(1008, &"é".repeat(100));
        assert_eq!(reason.reason().len(), 122);
    }

    #[test]
    fn codes_tell_a_client_whether_to_come_back() {
        for (code, advice) in [
            (1000, Advice::Stop),
            (1006, Advice::Reconnect),
            (1008, Advice::Stop),
            (1012, Advice::Reconnect),
            (1013, Advice::Reconnect),
            (4001, Advice::Reconnect),
            (4500, Advice::Stop),
        ] {
            assert_eq!(CloseReason::new(code, "x").advice(), advice, "{code}");
        }
    }
}
