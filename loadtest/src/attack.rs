//! Clients that mean harm: they hold what a server has only so many of, and give nothing for it.
//!
//! An attacker speaks through bytes and moments like every other client; the edge that gives it
//! sockets is [`crate::driver::attack`]. What it reports is how long the server put up with it.
//!
//! | kind | what it does | what ends it |
//! |---|---|---|
//! | `silent` | connects and says nothing | the deadline of a request head |
//! | `slow-head` | one byte of a request head per second | the same |
//! | `slow-body` | a whole head, then one byte of its body per second | the deadline of a body |
//! | `unfinished` | upgrades, then sends all but the last byte of the largest message | the time to join |
//! | `flood` | upgrades, hangs up, and comes back at once | nothing: it is turned away or served |
//! | `handshakes` | begins TLS, hangs up when that is answered, and comes back at once | the same |
//!
//! The last one speaks to `wss://`, where it costs a server most and itself nothing: all say the
//! same hello, which was made once, while every answer is a key exchange and a signature. The
//! others do not encrypt.

pub(crate) mod report;

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use tickloom_protocol::handshake::{ClientKey, TLS_HANDSHAKE_RECORD};
use tickloom_protocol::limits;
use tickloom_protocol::time::Timestamp;

use crate::plan::{Scheme, Url};
use crate::tls::{Encryption, Tls, Trust, TrustError};

pub use report::Findings;

/// Bytes of an answer that are kept: its status line is within them.
const ANSWER_BYTES_MAX: usize = 64;

/// How an attacker harms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum AttackKind {
    /// Connects and says nothing.
    Silent,
    /// Sends a request head, one byte per second.
    SlowHead,
    /// Sends a request whose body comes with one byte per second.
    SlowBody,
    /// Upgrades and sends all of the largest message but its last byte.
    Unfinished,
    /// Upgrades, hangs up when it is answered, and comes back at once.
    Flood,
    /// Begins a TLS handshake, hangs up when it is answered, and comes back at once.
    Handshakes,
}

impl AttackKind {
    /// How it speaks to a server.
    #[must_use]
    pub fn scheme(self) -> Scheme {
        match self {
            Self::Silent | Self::SlowHead | Self::SlowBody | Self::Unfinished | Self::Flood => {
                Scheme::Ws
            }
            Self::Handshakes => Scheme::Wss,
        }
    }

    /// Whether it hangs up as soon as it is answered.
    fn wants_answers(self) -> bool {
        matches!(self, Self::Flood | Self::Handshakes)
    }
}

impl fmt::Display for AttackKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no kind is hidden").get_name())
    }
}

/// What a server answered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Answer {
    /// A response with this status.
    Status(u16),
    /// Its hello, behind which its certificate and its signature come.
    Hello,
    /// Why there will be no encryption.
    Alert,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Hello => f.write_str("hello"),
            Self::Alert => f.write_str("alert"),
        }
    }
}

/// The first byte of a TLS record that says what went wrong.
const TLS_ALERT_RECORD: u8 = 0x15;

/// What to do to which server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attack {
    /// The server.
    pub url: Url,
    /// How.
    pub kind: AttackKind,
    /// Connections at the same time; one that ends is replaced.
    pub connections_count: NonZeroU32,
    /// Connections to open per second.
    pub connect_rate_hz: NonZeroU32,
    /// For how long.
    pub duration: Duration,
    /// How long the server may put up with one.
    pub lifetime_max: Option<Duration>,
}

/// One connection of an attack.
#[derive(Debug)]
pub struct Attacker {
    /// What it has to say, from `said` on.
    lines: Bytes,
    said: usize,
    pace: Pace,
    /// When it may say more.
    next_at: Timestamp,
    answer: Vec<u8>,
    wants_answer: bool,
}

/// How fast it speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pace {
    /// All at once.
    AtOnce,
    /// So many bytes at once, then one per second.
    Drips {
        /// Said at once.
        at_once: usize,
    },
}

/// Between two bytes of one that drips.
const DRIP: Duration = Duration::from_secs(1);

impl Attack {
    /// What every connection of this attack says, whole.
    ///
    /// # Errors
    /// The server's host is no name that a certificate could have.
    pub fn lines(&self) -> Result<Bytes, TrustError> {
        let Url { authority, path, .. } = &self.url;
        let upgrade = ClientKey::new([7; 16]).request(authority, path);
        Ok(match self.kind {
            AttackKind::Silent => Bytes::new(),
            AttackKind::SlowHead | AttackKind::Flood => upgrade.into(),
            AttackKind::SlowBody => {
                let head = format!(
                    "POST / HTTP/1.1\r\nHost: {authority}\r\nContent-Type: text/plain\r\n\
                     Content-Length: {BODY_BYTES}\r\n\r\n"
                );
                [head.as_bytes(), &[b'x'; BODY_BYTES]].concat().into()
            }
            AttackKind::Unfinished => {
                let length = limits::CLIENT_MESSAGE_BYTES_MAX as u64;
                let mut lines = upgrade;
                // A masked binary frame (RFC 6455 section 5.2) whose last byte never comes.
                lines.extend_from_slice(&[0x82, 0xff]);
                lines.extend_from_slice(&length.to_be_bytes());
                lines.resize(lines.len() + 4 + limits::CLIENT_MESSAGE_BYTES_MAX - 1, 0);
                lines.into()
            }
            AttackKind::Handshakes => hello(&self.url)?,
        })
    }

    /// A connection that was opened at `now`. `lines` are [`Attack::lines`].
    #[must_use]
    pub fn attacker(&self, lines: Bytes, now: Timestamp) -> Attacker {
        let pace = match self.kind {
            AttackKind::Silent
            | AttackKind::Unfinished
            | AttackKind::Flood
            | AttackKind::Handshakes => Pace::AtOnce,
            AttackKind::SlowHead => Pace::Drips { at_once: 1 },
            AttackKind::SlowBody => Pace::Drips { at_once: lines.len() - BODY_BYTES },
        };
        let wants_answer = self.kind.wants_answers();
        Attacker { lines, said: 0, pace, next_at: now, answer: Vec::new(), wants_answer }
    }
}

/// What a client says first that wants to encrypt, as browsers and other honest ones do.
fn hello(url: &Url) -> Result<Bytes, TrustError> {
    // Nobody stays to look at a certificate.
    let Some(encryption) = Encryption::of(url, &Trust::Anybody)? else { return Ok(Bytes::new()) };
    Ok(std::mem::take(Tls::new(&encryption).output(&mut Vec::new())).into())
}

/// Bytes of a body that takes more time than any server should give.
const BODY_BYTES: usize = 1000;

impl Attacker {
    /// What it wants to say now.
    #[must_use]
    pub fn output(&self, now: Timestamp) -> &[u8] {
        let end = match self.pace {
            Pace::AtOnce => self.lines.len(),
            Pace::Drips { at_once } if self.said < at_once => at_once,
            Pace::Drips { .. } if now < self.next_at => self.said,
            Pace::Drips { .. } => (self.said + 1).min(self.lines.len()),
        };
        &self.lines[self.said..end]
    }

    /// The socket took so many bytes of its output.
    pub fn handle_sent(&mut self, now: Timestamp, sent: usize) {
        self.said += sent;
        self.next_at = now + DRIP;
    }

    /// The server said something.
    pub fn handle_bytes(&mut self, bytes: &[u8]) {
        let room = ANSWER_BYTES_MAX.saturating_sub(self.answer.len());
        self.answer.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// What the server answered, as far as it is understood.
    #[must_use]
    pub fn answer(&self) -> Option<Answer> {
        match *self.answer.first()? {
            TLS_HANDSHAKE_RECORD => Some(Answer::Hello),
            TLS_ALERT_RECORD => Some(Answer::Alert),
            _ => {
                let line = self.answer.strip_prefix(b"HTTP/1.")?;
                let status = std::str::from_utf8(line.get(2..5)?).ok()?;
                status.parse().ok().map(Answer::Status)
            }
        }
    }

    /// Whether it has what it came for, and hangs up.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.wants_answer && self.answer().is_some()
    }
}

#[cfg(test)]
mod tests {
    use rustls::server::Acceptor;

    use super::*;

    fn attack(kind: AttackKind) -> Attack {
        Attack {
            url: Url { scheme: kind.scheme(), authority: "a:1".to_owned(), path: "/ws".to_owned() },
            kind,
            connections_count: NonZeroU32::MIN,
            connect_rate_hz: NonZeroU32::MIN,
            duration: Duration::from_secs(1),
            lifetime_max: None,
        }
    }

    #[test]
    fn those_who_drip_say_one_byte_a_second() {
        for (kind, first) in [(AttackKind::SlowHead, 1), (AttackKind::SlowBody, 78)] {
            let attack = attack(kind);
            let mut attacker = attack.attacker(attack.lines().expect("lines"), Timestamp(0));
            assert_eq!(attacker.output(Timestamp(0)).len(), first, "{kind:?}");
            attacker.handle_sent(Timestamp(0), first);
            assert_eq!(attacker.output(Timestamp(999_999)).len(), 0, "{kind:?}");
            assert_eq!(attacker.output(Timestamp(1_000_000)).len(), 1, "{kind:?}");
            attacker.handle_sent(Timestamp(1_000_000), 1);
            assert_eq!(attacker.output(Timestamp(1_500_000)).len(), 0, "{kind:?}");
        }
    }

    #[test]
    fn an_unfinished_message_lacks_one_byte_of_the_largest() {
        let lines = attack(AttackKind::Unfinished).lines().expect("lines");
        let head = lines.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        assert_eq!(lines.len() - head, 14 + limits::CLIENT_MESSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn an_answer_is_known_by_its_status_or_its_record_and_some_wait_for_no_more() {
        for (bytes, answer) in [
            (&b"HTTP/1.1 408 Request Timeout\r\n"[..], Some(Answer::Status(408))),
            (b"HTTP/1.1 4", None),
            (b"\x16\x03\x03", Some(Answer::Hello)),
            (b"\x15\x03\x03", Some(Answer::Alert)),
            (b"\x17\x03\x03", None),
            (b"", None),
        ] {
            for (kind, hangs_up) in [
                (AttackKind::Silent, false),
                (AttackKind::Flood, true),
                (AttackKind::Handshakes, true),
            ] {
                let attack = attack(kind);
                let mut attacker = attack.attacker(attack.lines().expect("lines"), Timestamp(0));
                attacker.handle_bytes(bytes);
                assert_eq!(attacker.answer(), answer, "{bytes:?}");
                assert_eq!(attacker.is_done(), hangs_up && answer.is_some(), "{kind} {bytes:?}");
            }
        }
    }

    #[test]
    fn a_server_begins_a_whole_handshake_with_whoever_says_the_hello() {
        let attack = attack(AttackKind::Handshakes);
        let attacker = attack.attacker(attack.lines().expect("a name"), Timestamp(0));
        let mut hello = attacker.output(Timestamp(0));
        let mut acceptor = Acceptor::default();
        while !hello.is_empty() {
            acceptor.read_tls(&mut hello).expect("read from memory");
        }
        let accepted = acceptor.accept().expect("it is a hello").expect("it is whole");
        let hello = accepted.client_hello();
        assert_eq!(hello.server_name(), Some("a"));
        assert!(hello.cipher_suites().len() > 1 && hello.alpn().is_some());
    }
}
