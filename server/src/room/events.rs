//! What was said in a room and is still kept: for those who fall behind, and for those who come
//! late.
//!
//! Events lie here in the bytes they have on the wire, so that sending them is copying. A member
//! that keeps up gets each event with the next state; one that does not gets what is still here,
//! and counts the rest by the numbers that are missing.

use std::collections::VecDeque;

use tickloom_protocol::chunks::{ChunkKind, put_chunk, put_event, put_varint64};
use tickloom_protocol::ids::{MemberId, StreamId, TopicId};

/// Events that one tick carries. Everybody who keeps up must get them, so they cannot be dropped
/// before they are sent.
const UNSENT_MAX: usize = 4096;

/// Bytes of events that one tick carries: a quarter of the largest message.
const UNSENT_BYTES_MAX: usize = 1024 * 1024;

/// The events a room keeps.
#[derive(Debug)]
pub struct EventLog {
    kept_max: usize,
    kept_bytes_max: usize,
    public: Lane,
    private: Lane,
    /// Who each private event is for, with its number on that member's stream: as many as the
    /// private entries say, in their order.
    recipients: VecDeque<(MemberId, u64)>,
    scratch: Vec<u8>,
    body: Vec<u8>,
}

/// Events in the order they happened, as bytes.
#[derive(Debug, Default)]
struct Lane {
    entries: VecDeque<Entry>,
    bytes: VecDeque<u8>,
    /// How many entries were dropped so far.
    dropped: u64,
    /// How many entries were sent to everybody who keeps up.
    sent: u64,
    /// Bytes behind those.
    unsent_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    bytes: u32,
    /// How many recipients; 0 for everybody.
    recipients: u16,
}

/// What a member has heard: two numbers, however far it is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hearing {
    /// The number of the next public event to send it.
    pub public: u64,
    /// The number of the next event to send that was said to it alone.
    pub private: u64,
    /// The number that the next event said to it alone will get.
    pub private_next: u64,
}

impl EventLog {
    /// An empty log that keeps this many events in this many bytes.
    #[must_use]
    pub fn new(kept_max: usize, kept_bytes_max: usize) -> Self {
        Self {
            kept_max,
            kept_bytes_max,
            public: Lane::default(),
            private: Lane::default(),
            recipients: VecDeque::new(),
            scratch: Vec::new(),
            body: Vec::new(),
        }
    }

    /// What a member that joins now has heard; with `history`, everything that is kept is still
    /// to come.
    #[must_use]
    pub fn hearing_of_newcomer(&self, history: bool) -> Hearing {
        let public = if history { self.public.first() } else { self.next() };
        Hearing { public, private: 1, private_next: 1 }
    }

    /// Says something to everybody. `false` when this tick carries no more.
    pub fn publish(&mut self, from: MemberId, topic: TopicId, body: &[u8]) -> bool {
        self.scratch.clear();
        put_event(&mut self.scratch, topic, from, body);
        let pushed = self.public.push(&self.scratch, 0);
        self.public.trim(self.kept_max, self.kept_bytes_max).for_each(drop);
        pushed
    }

    /// Says something to some. Each of `recipients` comes with its [`Hearing::private_next`],
    /// which the caller then raises. `false` when this tick carries no more.
    pub fn publish_to(
        &mut self,
        from: MemberId,
        topic: TopicId,
        body: &[u8],
        recipients: &[(MemberId, u64)],
    ) -> bool {
        self.scratch.clear();
        put_event(&mut self.scratch, topic, from, body);
        let pushed = self.private.push(&self.scratch, recipients.len() as u16);
        if pushed {
            self.recipients.extend(recipients);
        }
        for dropped in self.private.trim(self.kept_max, self.kept_bytes_max) {
            self.recipients.drain(..usize::from(dropped.recipients));
        }
        pushed
    }

    /// The number that the next public event will get.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.public.first() + self.public.entries.len() as u64
    }

    /// Appends the public events from number `from` on as a chunk. Without any there is no chunk,
    /// unless `always`: that tells a newcomer where the numbers are.
    pub fn encode(&mut self, from: u64, always: bool, output: &mut Vec<u8>) {
        let next = self.next();
        if from == next && !always {
            return;
        }
        // Behind a hole stands the number of what is there, and the member sees the hole.
        let first = from.max(self.public.first());
        self.body.clear();
        put_varint64(&mut self.body, first);
        let skipped = (first - self.public.first()) as usize;
        let start: usize =
            self.public.entries.range(..skipped).map(|entry| entry.bytes as usize).sum();
        let (front, back) = self.public.bytes.as_slices();
        let from_front = start.min(front.len());
        self.body.extend_from_slice(&front[from_front..]);
        self.body.extend_from_slice(&back[start - from_front..]);
        self.body.push(0);
        put_chunk(output, StreamId::ROOM, ChunkKind::Events, &self.body);
    }

    /// Appends what was said to one member alone since it last heard, if anything was.
    pub fn encode_private(&mut self, member: MemberId, hearing: Hearing, output: &mut Vec<u8>) {
        if hearing.private == hearing.private_next {
            return;
        }
        self.scratch.clear();
        let mut first = hearing.private_next;
        let (mut byte, mut recipient) = (0, 0);
        for entry in &self.private.entries {
            let recipients = recipient..recipient + usize::from(entry.recipients);
            let bytes = byte..byte + entry.bytes as usize;
            (recipient, byte) = (recipients.end, bytes.end);
            let found = self.recipients.range(recipients).find(|(id, _)| *id == member);
            if let Some((_, seq)) = found
                && *seq >= hearing.private
            {
                first = first.min(*seq);
                self.scratch.extend(self.private.bytes.range(bytes));
            }
        }
        self.body.clear();
        put_varint64(&mut self.body, first);
        self.body.extend_from_slice(&self.scratch);
        self.body.push(0);
        put_chunk(output, StreamId::MEMBER, ChunkKind::Events, &self.body);
    }

    /// Everybody who keeps up has what is here: from now on it may be dropped.
    pub fn mark_sent(&mut self) {
        for lane in [&mut self.public, &mut self.private] {
            lane.sent = lane.dropped + lane.entries.len() as u64;
            lane.unsent_bytes = 0;
        }
    }
}

impl Lane {
    /// The number of the oldest entry that is kept, or would be.
    fn first(&self) -> u64 {
        self.dropped + 1
    }

    fn push(&mut self, event: &[u8], recipients: u16) -> bool {
        let unsent = self.dropped + self.entries.len() as u64 - self.sent;
        if unsent as usize >= UNSENT_MAX || self.unsent_bytes + event.len() > UNSENT_BYTES_MAX {
            return false;
        }
        self.entries.push_back(Entry { bytes: event.len() as u32, recipients });
        self.bytes.extend(event);
        self.unsent_bytes += event.len();
        true
    }

    /// Drops the oldest entries that were sent, until the rest is within the limits.
    fn trim(&mut self, kept_max: usize, bytes_max: usize) -> impl Iterator<Item = Entry> {
        std::iter::from_fn(move || {
            let is_full = self.entries.len() > kept_max || self.bytes.len() > bytes_max;
            let entry = self.entries.pop_front_if(|_| is_full && self.dropped < self.sent)?;
            self.dropped += 1;
            self.bytes.drain(..entry.bytes as usize);
            Some(entry)
        })
    }
}

#[cfg(test)]
mod tests {
    use tickloom_protocol::chunks::Reader;
    use tickloom_protocol::limits;

    use super::*;

    const TOPIC: TopicId = TopicId(0);

    fn say(log: &mut EventLog, text: &str) -> bool {
        log.publish(MemberId(1), TOPIC, text.as_bytes())
    }

    /// The first number and the bodies of a chunk; `None` without one.
    fn read(chunk: &[u8]) -> Option<(u64, Vec<String>)> {
        let mut body = Reader::new(chunk).chunk().expect("a chunk")?.body;
        let first = body.varint64().expect("a number");
        let mut bodies = Vec::new();
        while let Some(said) = body.event().expect("an event") {
            bodies.push(String::from_utf8_lossy(said.body).into_owned());
        }
        Some((first, bodies))
    }

    fn heard(log: &mut EventLog, from: u64) -> Option<(u64, Vec<String>)> {
        let mut chunk = Vec::new();
        log.encode(from, false, &mut chunk);
        read(&chunk)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn events_are_numbered_and_the_oldest_go_first() {
        let mut log = EventLog::new(3, 1000);
        for text in ["a", "b", "c", "d", "e"] {
            assert!(say(&mut log, text));
            log.mark_sent();
        }
        for (from, expected) in [
            (6, None),
            (5, Some((5, texts(&["e"])))),
            (3, Some((3, texts(&["c", "d", "e"])))),
            (1, Some((3, texts(&["c", "d", "e"])))),
        ] {
            assert_eq!(heard(&mut log, from), expected, "from {from}");
        }
        assert_eq!(log.hearing_of_newcomer(true).public, 3);
        assert_eq!(log.hearing_of_newcomer(false).public, 6);
    }

    #[test]
    fn what_was_not_sent_is_not_dropped_and_a_tick_carries_only_so_much() {
        let mut log = EventLog::new(2, 1000);
        for _ in 0..UNSENT_MAX {
            assert!(say(&mut log, "x"));
        }
        assert!(!say(&mut log, "too many"));
        assert_eq!(
            heard(&mut log, 1).map(|(first, all)| (first, all.len())),
            Some((1, UNSENT_MAX))
        );
        log.mark_sent();
        assert!(say(&mut log, "y"));
        assert_eq!(heard(&mut log, 1).map(|(_, all)| all.len()), Some(2));
        let large = "z".repeat(limits::EVENT_BYTES_MAX);
        let fits = (0..).take_while(|_| say(&mut log, &large)).count();
        assert_eq!(fits, UNSENT_BYTES_MAX / limits::EVENT_BYTES_MAX - 1);
    }

    #[test]
    fn what_is_said_to_one_is_numbered_for_that_one() {
        let mut log = EventLog::new(2, 1000);
        let (a, b) = (MemberId(1), MemberId(2));
        let mut hearing = log.hearing_of_newcomer(false);
        for (text, to) in [("1", &[(a, 1)][..]), ("2", &[(a, 2), (b, 1)]), ("3", &[(b, 2)])] {
            assert!(log.publish_to(MemberId::SERVER, TOPIC, text.as_bytes(), to));
        }
        hearing.private_next = 3;
        let private = |log: &mut EventLog, member, hearing| {
            let mut chunk = Vec::new();
            log.encode_private(member, hearing, &mut chunk);
            read(&chunk)
        };
        assert_eq!(private(&mut log, a, hearing), Some((1, texts(&["1", "2"]))));
        assert_eq!(private(&mut log, b, hearing), Some((1, texts(&["2", "3"]))));
        log.mark_sent();
        assert!(log.publish_to(MemberId::SERVER, TOPIC, b"4", &[(b, 3)]));
        // The first two are gone: one of two is left for the one, two of three for the other.
        let behind = Hearing { private_next: 4, ..hearing };
        assert_eq!(private(&mut log, a, hearing), Some((3, texts(&[]))));
        assert_eq!(private(&mut log, b, behind), Some((2, texts(&["3", "4"]))));
        let upright = Hearing { private: 4, ..behind };
        assert_eq!(private(&mut log, b, upright), None);
    }
}
