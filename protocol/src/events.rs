//! What was said in a room, as one member hears it: in order, without repeats, and with a count of
//! what was missed.
//!
//! State is what is; a member that falls behind is brought to the newest and misses nothing. Events
//! are what was said; a room keeps a bounded number of them, so a member that falls far behind
//! misses some. The numbers of a stream's events have no holes, so a member counts by itself.

use std::ops::Range;

use crate::chunks::{ChunkError, Reader, Said};
use crate::ids::{EventSeq, MemberId, StreamId, TopicId};
use crate::limits;

/// One event. Those of [`StreamId::MEMBER`] were said to this member and not to everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// To everybody or to this member.
    pub stream: StreamId,
    /// Its number on the stream.
    pub seq: EventSeq,
    /// On which topic.
    pub topic: TopicId,
    /// By whom; [`MemberId::SERVER`] when the room's logic said it.
    pub from: MemberId,
    /// What.
    pub body: &'a [u8],
}

/// An [`Event`] that outlives its delta.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedEvent {
    /// As in [`Event`], as the next three.
    pub stream: StreamId,
    /// Its number on the stream.
    pub seq: EventSeq,
    /// On which topic.
    pub topic: TopicId,
    /// By whom.
    pub from: MemberId,
    /// What.
    pub body: Box<[u8]>,
}

impl From<Event<'_>> for OwnedEvent {
    fn from(Event { stream, seq, topic, from, body }: Event<'_>) -> Self {
        Self { stream, seq, topic, from, body: body.into() }
    }
}

/// The events of the delta given to a replica last, none unless it was applied.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    positions: Positions,
    /// The delta before it had no events of the room's yet: what it leaves out is history.
    is_new: bool,
    entries: Vec<Entry>,
    bodies: Vec<u8>,
}

/// Where a member is on both streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Positions {
    room: Position,
    member: Position,
}

impl Default for Positions {
    fn default() -> Self {
        // A room was there before the member; what is said to this member alone begins with it.
        let member = Position { next: 1, lost: 0 };
        Self { room: Position::default(), member }
    }
}

/// Where a member is on one stream.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// The number of the event it expects next; 0 before it has heard of any.
    next: u64,
    lost: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    stream: StreamId,
    seq: EventSeq,
    topic: TopicId,
    from: MemberId,
    body: Range<usize>,
}

impl Heard {
    /// Forgets the events of the delta before.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bodies.clear();
        self.is_new = self.positions.room.next == 0;
    }

    /// Where the member is, for [`Heard::rewind`].
    pub(crate) fn positions(&self) -> Positions {
        self.positions
    }

    /// Forgets what was read since `positions`: the rest of its delta did not fit, so nobody
    /// was told. The room repeats it, or it counts as lost.
    pub(crate) fn rewind(&mut self, positions: Positions) {
        self.clear();
        self.positions = positions;
    }

    /// Takes in the body of an events chunk.
    pub(crate) fn read(
        &mut self,
        stream: StreamId,
        topics_count: usize,
        body: &mut Reader<'_>,
    ) -> Result<(), ChunkError> {
        let mut seq = body.varint64()?;
        if !(1..=limits::EVENT_SEQ_MAX).contains(&seq) {
            return Err(ChunkError::BadEvent);
        }
        let Positions { room, member } = &mut self.positions;
        let position = if stream == StreamId::ROOM { room } else { member };
        if position.next == 0 {
            // What was said before the member came is history and not lost, nor is what the first
            // message with events leaves out of it.
            position.next = seq;
        }
        let is_history = self.is_new && stream == StreamId::ROOM;
        if !is_history {
            position.lost += seq.saturating_sub(position.next);
        }
        position.next = position.next.max(seq);
        while let Some(Said { topic, from, body: bytes }) = body.event()? {
            if topic.index() >= topics_count || seq > limits::EVENT_SEQ_MAX {
                return Err(ChunkError::BadEvent);
            }
            // Below it are events that a snapshot repeats for those who come new.
            if seq == position.next {
                let start = self.bodies.len();
                self.bodies.extend_from_slice(bytes);
                let body = start..self.bodies.len();
                self.entries.push(Entry { stream, seq: EventSeq(seq), topic, from, body });
                position.next = seq + 1;
            }
            seq += 1;
        }
        if body.is_empty() { Ok(()) } else { Err(ChunkError::AfterEvents) }
    }

    /// The events of the delta applied last, each stream in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Event<'_>> {
        self.entries.iter().map(|entry| Event {
            stream: entry.stream,
            seq: entry.seq,
            topic: entry.topic,
            from: entry.from,
            body: &self.bodies[entry.body.clone()],
        })
    }

    /// The numbers of the first events, said to everybody and to this member alone, that it has not
    /// heard; the first is 0 before it has heard of any. What a resume says.
    #[must_use]
    pub fn resume_from(&self) -> (u64, u64) {
        (self.positions.room.next, self.positions.member.next)
    }

    /// Goes on where a member was that has kept nothing but [`Heard::resume_from`].
    pub(crate) fn go_on_from(&mut self, events_from: u64, private_from: u64) {
        self.positions.room.next = events_from;
        self.positions.member.next = private_from;
    }

    /// The number that the next event said to everybody will have; 1 before this member was told
    /// where the numbers are.
    #[must_use]
    pub fn expected(&self) -> EventSeq {
        EventSeq(self.positions.room.next.max(1))
    }

    /// How many events the room no longer had when this member was ready for them, since it came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.positions.room.lost + self.positions.member.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunks::{put_event, put_varint64};

    fn chunk(first: u64, bodies: &[&str]) -> Vec<u8> {
        let mut body = Vec::new();
        put_varint64(&mut body, first);
        for text in bodies {
            put_event(&mut body, TopicId(1), MemberId(3), text.as_bytes());
        }
        body.push(0);
        body
    }

    #[test]
    fn events_come_once_and_in_order_and_holes_are_counted() {
        let mut heard = Heard::default();
        for (first, bodies, expected, lost) in [
            (5, &["a", "b"][..], &[5, 6][..], 0),
            (7, &["c"], &[7], 0),
            // A snapshot repeats what is kept.
            (6, &["b", "c", "d"], &[8], 0),
            (9, &[], &[], 0),
            (12, &["x"], &[12], 3),
            (20, &[], &[], 10),
        ] {
            heard.clear();
            let bytes = chunk(first, bodies);
            heard.read(StreamId::ROOM, 2, &mut Reader::new(&bytes)).expect("a chunk");
            let seqs: Vec<u64> = heard.iter().map(|event| event.seq.0).collect();
            assert_eq!((seqs.as_slice(), heard.lost()), (expected, lost), "from {first}");
        }
    }

    #[test]
    fn holes_in_what_was_said_before_the_member_came_are_no_losses() {
        let mut heard = Heard::default();
        for (firsts, expected, lost) in
            [(&[3, 6, 9][..], &[3, 6, 9][..], 0), (&[10, 12], &[10, 12], 1), (&[15], &[15], 3)]
        {
            heard.clear();
            for first in firsts {
                let bytes = chunk(*first, &["x"]);
                heard.read(StreamId::ROOM, 2, &mut Reader::new(&bytes)).expect("a chunk");
            }
            let seqs: Vec<u64> = heard.iter().map(|event| event.seq.0).collect();
            assert_eq!((seqs.as_slice(), heard.lost()), (expected, lost), "{firsts:?}");
        }
    }

    #[test]
    fn events_of_the_two_streams_are_numbered_apart() {
        for (member_first, lost) in [(1, 0), (4, 3)] {
            let mut heard = Heard::default();
            for (stream, first) in [
                (StreamId::ROOM, 9),
                (StreamId::MEMBER, member_first),
                (StreamId::MEMBER, member_first + 1),
            ] {
                let bytes = chunk(first, &["x"]);
                heard.read(stream, 2, &mut Reader::new(&bytes)).expect("a chunk");
            }
            let heard = (heard.iter().len(), heard.lost());
            assert_eq!(heard, (3, lost), "the member's own begin with {member_first}");
        }
    }

    #[test]
    fn what_is_no_list_of_events_is_malformed() {
        let long = vec![0; limits::EVENT_BYTES_MAX + 1];
        let mut too_long = vec![1];
        put_event(&mut too_long, TopicId(0), MemberId(0), &long);
        for (name, bytes, error) in [
            ("nothing", vec![], ChunkError::Truncated),
            ("event 0", chunk(0, &["x"]), ChunkError::BadEvent),
            ("a number over the limit", chunk(u64::MAX, &[]), ChunkError::BadEvent),
            ("a second over it", chunk(limits::EVENT_SEQ_MAX, &["x", "y"]), ChunkError::BadEvent),
            ("no end", vec![1, 1, 0, 0], ChunkError::Truncated),
            ("topic 2 of 2", vec![1, 3, 0, 0, 0], ChunkError::BadEvent),
            ("bytes behind", vec![1, 0, 0], ChunkError::AfterEvents),
            ("a body over the limit", too_long, ChunkError::BadEvent),
        ] {
            let mut heard = Heard::default();
            let result = heard.read(StreamId::ROOM, 2, &mut Reader::new(&bytes));
            assert_eq!(result, Err(error), "{name}");
        }
    }
}
