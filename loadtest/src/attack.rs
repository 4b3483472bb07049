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

pub(crate) mod report;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::limits;
use tickloom_protocol::time::Timestamp;

use crate::plan::Url;

pub use report::Findings;

/// Bytes of an answer that are kept: its status line is within them.
const ANSWER_BYTES_MAX: usize = 64;

/// How an attacker harms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
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
}

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
    #[must_use]
    pub fn lines(&self) -> Bytes {
        let Url { authority, path, .. } = &self.url;
        let upgrade = ClientKey::new([7; 16]).request(authority, path);
        match self.kind {
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
        }
    }

    /// A connection that was opened at `now`. `lines` are [`Attack::lines`].
    #[must_use]
    pub fn attacker(&self, lines: Bytes, now: Timestamp) -> Attacker {
        let pace = match self.kind {
            AttackKind::Silent | AttackKind::Unfinished | AttackKind::Flood => Pace::AtOnce,
            AttackKind::SlowHead => Pace::Drips { at_once: 1 },
            AttackKind::SlowBody => Pace::Drips { at_once: lines.len() - BODY_BYTES },
        };
        Attacker { lines, said: 0, pace, next_at: now, answer: Vec::new() }
    }
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

    /// The HTTP status the server answered with, if it did.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        let line = self.answer.strip_prefix(b"HTTP/1.")?;
        std::str::from_utf8(line.get(2..5)?).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Scheme;

    fn attack(kind: AttackKind) -> Attack {
        Attack {
            url: Url { scheme: Scheme::Ws, authority: "a:1".to_owned(), path: "/ws".to_owned() },
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
            let mut attacker = attack.attacker(attack.lines(), Timestamp(0));
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
        let lines = attack(AttackKind::Unfinished).lines();
        let head = lines.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        assert_eq!(lines.len() - head, 14 + limits::CLIENT_MESSAGE_BYTES_MAX - 1);
    }

    #[test]
    fn an_answer_is_known_by_its_status() {
        for (answer, status) in [
            (&b"HTTP/1.1 408 Request Timeout\r\n"[..], Some(408)),
            (b"HTTP/1.1 4", None),
            (b"\x15\x03\x03", None),
            (b"", None),
        ] {
            let attack = attack(AttackKind::Silent);
            let mut attacker = attack.attacker(attack.lines(), Timestamp(0));
            attacker.handle_bytes(answer);
            assert_eq!(attacker.status(), status, "{answer:?}");
        }
    }
}
