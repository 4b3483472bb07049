//! What an echoed message consists of: a stamp that says whose it is, and filler that shows
//! whether it came back whole.
//!
//! ```text
//! binary:  sender u32 LE | number u32 LE | intended us u64 LE | filler ...     16 bytes and more
//! text:    the same 16 bytes as hex digits                    | filler ...     32 bytes and more
//! filler:  letters that begin with the one of the message's number
//! ```

use data_encoding::HEXLOWER;
use tickloom_protocol::time::Timestamp;

use crate::plan::MessageKind;

/// Bytes of a stamp before it is written as text.
const STAMP_BYTES: usize = 16;

/// The alphabet, often enough that filler is compared in large pieces.
const LETTERS: [u8; 26 * 40] = letters();

const fn letters() -> [u8; 26 * 40] {
    let mut letters = [0; 26 * 40];
    let mut at = 0;
    while at < letters.len() {
        letters[at] = b'a' + (at % 26) as u8;
        at += 1;
    }
    letters
}

/// Whose message it is, and when it was meant to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stamp {
    /// The sender's number in the run.
    pub sender: u32,
    /// The message's number, counted by its sender.
    pub number: u32,
    /// When it was meant to be sent.
    pub intended: Timestamp,
}

/// Bytes a stamp takes in a message.
#[must_use]
pub const fn stamp_bytes(kind: MessageKind) -> usize {
    match kind {
        MessageKind::Text => STAMP_BYTES * 2,
        MessageKind::Binary => STAMP_BYTES,
    }
}

/// Replaces `message` by one of `bytes` bytes that carries `stamp`.
pub fn write(stamp: Stamp, kind: MessageKind, bytes: usize, message: &mut Vec<u8>) {
    let mut raw = [0; STAMP_BYTES];
    raw[..4].copy_from_slice(&stamp.sender.to_le_bytes());
    raw[4..8].copy_from_slice(&stamp.number.to_le_bytes());
    raw[8..].copy_from_slice(&stamp.intended.0.to_le_bytes());
    message.clear();
    match kind {
        MessageKind::Binary => message.extend_from_slice(&raw),
        MessageKind::Text => message.extend_from_slice(HEXLOWER.encode(&raw).as_bytes()),
    }
    for piece in filler(stamp.number, bytes.saturating_sub(message.len())) {
        message.extend_from_slice(piece);
    }
}

/// The stamp of a message of ours; `None` for somebody else's.
#[must_use]
pub fn read(message: &[u8], kind: MessageKind) -> Option<Stamp> {
    let head = message.get(..stamp_bytes(kind))?;
    let mut raw = [0; STAMP_BYTES];
    match kind {
        MessageKind::Binary => raw.copy_from_slice(head),
        MessageKind::Text => {
            HEXLOWER.decode_mut(head, &mut raw).ok()?;
        }
    }
    let (ids, intended) = raw.split_at(8);
    let (sender, number) = ids.split_at(4);
    Some(Stamp {
        sender: u32::from_le_bytes(sender.try_into().ok()?),
        number: u32::from_le_bytes(number.try_into().ok()?),
        intended: Timestamp(u64::from_le_bytes(intended.try_into().ok()?)),
    })
}

/// Whether `message` is, behind its stamp, what was sent.
#[must_use]
pub fn is_whole(stamp: Stamp, kind: MessageKind, bytes: usize, message: &[u8]) -> bool {
    if message.len() != bytes {
        return false;
    }
    let mut rest = &message[stamp_bytes(kind).min(bytes)..];
    filler(stamp.number, rest.len()).all(|piece| {
        let (head, tail) = rest.split_at(piece.len());
        rest = tail;
        head == piece
    })
}

fn filler(number: u32, bytes: usize) -> impl Iterator<Item = &'static [u8]> {
    let offset = number as usize % 26;
    // Whole alphabets, so that the next piece begins with the same letter.
    let piece_max = LETTERS.len() - 26;
    (0..bytes.div_ceil(piece_max)).map(move |piece| {
        let length = (bytes - piece * piece_max).min(piece_max);
        &LETTERS[offset..offset + length]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_sent_and_any_changed_byte_shows() {
        let stamp = Stamp { sender: 7, number: 300, intended: Timestamp(1 << 40) };
        for kind in [MessageKind::Text, MessageKind::Binary] {
            for bytes in [stamp_bytes(kind), 64, 1013, 1014, 1015, 1100, 65_536] {
                let mut message = vec![1, 2, 3];
                write(stamp, kind, bytes, &mut message);
                assert_eq!(message.len(), bytes);
                assert_eq!(read(&message, kind), Some(stamp), "{kind:?} {bytes}");
                assert!(is_whole(stamp, kind, bytes, &message), "{kind:?} {bytes}");
                assert!(kind == MessageKind::Binary || message.is_ascii());
                for at in [0, stamp_bytes(kind), bytes / 2, bytes - 1] {
                    let Some(byte) = message.get_mut(at) else { continue };
                    *byte ^= 1;
                    let same_stamp = read(&message, kind) == Some(stamp);
                    let whole = is_whole(stamp, kind, bytes, &message);
                    assert!(!(same_stamp && whole), "{kind:?} {bytes}: byte {at}");
                    message[at] ^= 1;
                }
                assert!(!is_whole(stamp, kind, bytes, &message[..bytes - 1]));
            }
        }
    }

    #[test]
    fn what_is_too_short_or_not_hex_is_somebody_elses() {
        assert_eq!(read(b"welcome", MessageKind::Binary), None);
        assert_eq!(read(b"Request served by e286e427f61668 today", MessageKind::Text), None);
    }
}
