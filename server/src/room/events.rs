//! What was said in a room and is still kept: for those who fall behind, and for those who come
//! late.
//!
//! Events lie here in the bytes they have on the wire, so that sending them is copying. A member
//! that keeps up gets each event with the next state; one that does not gets what is still here,
//! and counts the rest by the numbers that are missing.
//!
//! Topics with history have a second place, so that what is said on others, which may be much
//! more, does not push them out before somebody comes late.

use std::collections::VecDeque;
use std::ops::Range;

use tickloom_protocol::chunks::{ChunkKind, put_chunk, put_event, put_varint64};
use tickloom_protocol::ids::{MemberId, StreamId, TopicId};
use tickloom_protocol::limits;
use tickloom_protocol::schema::TopicDesc;

use crate::room::write::STATE_BYTES_MAX;

/// Events that one tick carries. Everybody who keeps up must get them, so they cannot be dropped
/// before they are sent.
const UNSENT_MAX: usize = 4096;

/// Bytes of events that one tick carries.
const UNSENT_BYTES_MAX: usize = 512 * 1024;

/// Most bytes of events a room keeps in each of its places, whatever its description says.
pub const KEPT_BYTES_MAX: usize = 256 * 1024;

/// What a member that is brought up may get in one message: what is kept and what is new of what
/// was said to everybody and to it alone, the history, and the state.
const _: () = assert!(
    2 * (UNSENT_BYTES_MAX + KEPT_BYTES_MAX) + KEPT_BYTES_MAX + STATE_BYTES_MAX
        < limits::SERVER_MESSAGE_BYTES_MAX
);

/// The events a room keeps.
#[derive(Debug)]
pub struct EventLog {
    kept_max: usize,
    kept_bytes_max: usize,
    public: Lane,
    private: Lane,
    history: History,
    /// Which topics have a history, by topic.
    has_history: Vec<bool>,
    /// Who each private event is for, with its number on that member's stream: as many as the
    /// private entries say, in their order.
    recipients: VecDeque<(Listener, u64)>,
    /// The same by recipient and number, with the bytes in the private lane. Empty when it was
    /// not made since one of them changed.
    by_listener: Vec<(Listener, u64, Range<usize>)>,
    /// Somebody was told that it will miss nothing: until the next broadcast nothing is dropped.
    is_held: bool,
    scratch: Vec<u8>,
    body: Vec<u8>,
}

/// A recipient: the how-manieth member of its room it is. Member ids are used again, and what was
/// said to one is not for the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Listener(pub u64);

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

/// What was said on topics with history, with its numbers.
#[derive(Debug, Default)]
struct History {
    /// The number of each event, ascending, and its bytes.
    entries: VecDeque<(u64, u32)>,
    bytes: VecDeque<u8>,
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
    /// It came new and is still to get what was said before it came.
    pub history: bool,
}

impl EventLog {
    /// An empty log of what is said on these topics, that keeps this many events in this many
    /// bytes.
    #[must_use]
    pub fn new(kept_max: usize, kept_bytes_max: usize, topics: &[TopicDesc]) -> Self {
        Self {
            kept_max,
            kept_bytes_max: kept_bytes_max.min(KEPT_BYTES_MAX),
            public: Lane::default(),
            private: Lane::default(),
            history: History::default(),
            has_history: topics.iter().map(|topic| topic.history).collect(),
            recipients: VecDeque::new(),
            by_listener: Vec::new(),
            is_held: false,
            scratch: Vec::new(),
            body: Vec::new(),
        }
    }

    /// What a member that joins now has heard: what is said in this tick is still to come, be it
    /// said a moment before. So all who join in one tick can share what they are sent.
    #[must_use]
    pub fn hearing_of_newcomer(&self) -> Hearing {
        let history = self.has_history.contains(&true);
        Hearing { public: self.public.sent + 1, private: 1, private_next: 1, history }
    }

    /// Says something to everybody. `false` when there is no such topic, the body is over its
    /// limit, or this tick carries no more.
    pub fn publish(&mut self, from: MemberId, topic: TopicId, body: &[u8]) -> bool {
        let Some(has_history) = self.has_history.get(topic.index()).copied() else { return false };
        if body.len() > limits::EVENT_BYTES_MAX {
            return false;
        }
        self.scratch.clear();
        put_event(&mut self.scratch, topic, from, body);
        let number = self.next();
        let pushed = self.public.push(&self.scratch, 0);
        if !self.is_held {
            self.public.trim(self.kept_max, self.kept_bytes_max).for_each(drop);
        }
        if pushed && has_history {
            self.history.push(number, &self.scratch);
            self.history.trim(self.kept_max, self.kept_bytes_max);
        }
        pushed
    }

    /// Says something to some. Each of `recipients` comes with its [`Hearing::private_next`],
    /// which the caller then raises. `false` when this tick carries no more.
    pub fn publish_to(
        &mut self,
        from: MemberId,
        topic: TopicId,
        body: &[u8],
        recipients: &[(Listener, u64)],
    ) -> bool {
        self.by_listener.clear();
        self.scratch.clear();
        put_event(&mut self.scratch, topic, from, body);
        let pushed = self.private.push(&self.scratch, recipients.len() as u16);
        if pushed {
            self.recipients.extend(recipients);
        }
        if !self.is_held {
            for dropped in self.private.trim(self.kept_max, self.kept_bytes_max) {
                self.recipients.drain(..usize::from(dropped.recipients));
            }
        }
        pushed
    }

    /// Whether something was said that nobody has heard yet.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        [&self.public, &self.private].iter().any(|lane| lane.unsent_bytes > 0)
    }

    /// The number that the next public event will get.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.public.first() + self.public.entries.len() as u64
    }

    /// Appends what is kept of what was said before number `before` on topics with history: a
    /// chunk for each run of numbers.
    pub fn encode_history(&mut self, before: u64, output: &mut Vec<u8>) {
        let (mut byte, mut expected) = (0, 0);
        for (number, bytes) in self.history.entries.iter().take_while(|entry| entry.0 < before) {
            if *number != expected {
                put_history_run(&mut self.body, expected, output);
                put_varint64(&mut self.body, *number);
            }
            let event = byte..byte + *bytes as usize;
            byte = event.end;
            self.body.extend(self.history.bytes.range(event));
            expected = number + 1;
        }
        put_history_run(&mut self.body, expected, output);
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
        // Counted from the end: nearly everybody has heard nearly everything.
        let unheard = self.public.entries.range(skipped..);
        let start =
            self.public.bytes.len() - unheard.map(|entry| entry.bytes as usize).sum::<usize>();
        let (front, back) = self.public.bytes.as_slices();
        let from_front = start.min(front.len());
        self.body.extend_from_slice(&front[from_front..]);
        self.body.extend_from_slice(&back[start - from_front..]);
        self.body.push(0);
        put_chunk(output, StreamId::ROOM, ChunkKind::Events, &self.body);
    }

    /// Appends what was said to one member alone since it last heard, if anything was.
    pub fn encode_private(&mut self, listener: Listener, hearing: Hearing, output: &mut Vec<u8>) {
        if hearing.private == hearing.private_next {
            return;
        }
        if self.by_listener.is_empty() {
            self.sort_by_listener();
        }
        let from = (listener, hearing.private);
        let start = self.by_listener.partition_point(|(to, seq, _)| (*to, *seq) < from);
        let own = self.by_listener[start..].iter().take_while(|(to, ..)| *to == listener);
        // Without any left, the chunk says which comes next, and the member sees the hole.
        let first = own.clone().next().map_or(hearing.private_next, |(_, seq, _)| *seq);
        self.body.clear();
        put_varint64(&mut self.body, first);
        for (_, _, bytes) in own {
            self.body.extend(self.private.bytes.range(bytes.clone()));
        }
        self.body.push(0);
        put_chunk(output, StreamId::MEMBER, ChunkKind::Events, &self.body);
    }

    /// Whether everything is still kept that a member has not heard.
    #[must_use]
    pub fn keeps(&mut self, listener: Listener, hearing: Hearing) -> bool {
        if hearing.public < self.public.first() {
            return false;
        }
        if self.by_listener.is_empty() {
            self.sort_by_listener();
        }
        let from = (listener, hearing.private);
        let start = self.by_listener.partition_point(|(to, seq, _)| (*to, *seq) < from);
        let own = self.by_listener[start..].iter().take_while(|(to, ..)| *to == listener);
        own.count() as u64 == hearing.private_next - hearing.private
    }

    /// Drops nothing before the next broadcast. A tick carries a bounded number of events, so
    /// that is bounded, too.
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// Looking through everything for each member would cost a busy room the square of its size.
    fn sort_by_listener(&mut self) {
        let mut recipients = self.recipients.iter();
        let mut byte = 0;
        for entry in &self.private.entries {
            let bytes = byte..byte + entry.bytes as usize;
            byte = bytes.end;
            let to = recipients.by_ref().take(usize::from(entry.recipients));
            self.by_listener.extend(to.map(|(to, seq)| (*to, *seq, bytes.clone())));
        }
        self.by_listener.sort_unstable_by_key(|(to, seq, _)| (*to, *seq));
    }

    /// Everybody who keeps up has what is here: from now on it may be dropped.
    pub fn mark_sent(&mut self) {
        for lane in [&mut self.public, &mut self.private] {
            lane.sent = lane.dropped + lane.entries.len() as u64;
            lane.unsent_bytes = 0;
        }
        self.is_held = false;
        // A burst must not be paid for in memory for ever.
        self.by_listener.clear();
        self.by_listener.shrink_to(64);
    }
}

/// Appends the run in `body` as a chunk, unless none has begun, and makes way for the next.
fn put_history_run(body: &mut Vec<u8>, expected: u64, output: &mut Vec<u8>) {
    if expected > 0 {
        body.push(0);
        put_chunk(output, StreamId::ROOM, ChunkKind::Events, body);
    }
    body.clear();
}

impl History {
    fn push(&mut self, number: u64, event: &[u8]) {
        self.entries.push_back((number, event.len() as u32));
        self.bytes.extend(event);
    }

    fn trim(&mut self, kept_max: usize, bytes_max: usize) {
        while self.entries.len() > kept_max || self.bytes.len() > bytes_max {
            let Some((_, bytes)) = self.entries.pop_front() else { return };
            self.bytes.drain(..bytes as usize);
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
    use super::*;
    use tickloom_protocol::chunks::Reader;

    const TOPIC: TopicId = TopicId(0);

    fn log(kept_max: usize) -> EventLog {
        let history = TopicDesc { history: true, ..TopicDesc::new("chat") };
        EventLog::new(kept_max, 1000, &[TopicDesc::new("signal"), history])
    }

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
        let mut log = log(3);
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
        assert_eq!(log.hearing_of_newcomer().public, 6);
        say(&mut log, "f");
        assert_eq!(log.hearing_of_newcomer().public, 6, "what this tick says is still to come");
    }

    #[test]
    fn what_was_not_sent_is_not_dropped_and_a_tick_carries_only_so_much() {
        let mut log = log(2);
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
    fn who_comes_late_gets_the_topics_with_history_and_their_numbers() {
        // The story: one topic without history took it from all others.
        let mut log = log(4);
        let (signal, chat) = (TopicId(0), TopicId(1));
        for (topic, text) in [(chat, "1"), (chat, "2"), (signal, "3"), (chat, "4")] {
            assert!(log.publish(MemberId(1), topic, text.as_bytes()));
        }
        log.mark_sent();
        let from = log.hearing_of_newcomer().public;
        assert!(log.publish(MemberId(1), chat, b"5"));
        let history = |log: &mut EventLog| {
            let mut chunks = Vec::new();
            log.encode_history(from, &mut chunks);
            let mut runs = Vec::new();
            let mut reader = Reader::new(&chunks);
            while let Some(chunk) = reader.chunk().expect("a chunk") {
                let mut body = chunk.body;
                let first = body.varint64().expect("a number");
                let events = std::iter::from_fn(|| body.event().expect("an event"));
                runs.push((first, events.map(|said| said.body.to_vec()).collect::<Vec<_>>()));
            }
            runs
        };
        let texts = |texts: &[&[u8]]| texts.iter().map(|text| text.to_vec()).collect::<Vec<_>>();
        let expected = [(1, texts(&[b"1", b"2"])), (4, texts(&[b"4"]))];
        assert_eq!(history(&mut log), expected);
        for _ in 0..100 {
            log.mark_sent();
            assert!(log.publish(MemberId(1), signal, b"noise"));
        }
        assert_eq!(history(&mut log), expected, "other topics do not push them out");
        assert!(log.publish(MemberId(1), chat, b"106"));
        assert_eq!(history(&mut log), [(2, texts(&[b"2"])), (4, texts(&[b"4"]))]);
    }

    #[test]
    fn what_no_client_would_take_is_not_said() {
        // The story: a room's logic could say it, and every replica of the room broke on it.
        let mut log = log(4);
        let long = vec![0; limits::EVENT_BYTES_MAX + 1];
        for (topic, body, expected) in
            [(TopicId(2), &b"x"[..], false), (TOPIC, &long, false), (TOPIC, &long[1..], true)]
        {
            let said = log.publish(MemberId::SERVER, topic, body);
            assert_eq!(said, expected, "{topic:?}, {} bytes", body.len());
        }
    }

    #[test]
    fn what_is_said_to_one_is_numbered_for_that_one() {
        let mut log = log(2);
        let (a, b) = (Listener(1), Listener(2));
        let mut hearing = log.hearing_of_newcomer();
        for (text, to) in [("1", &[(a, 1)][..]), ("2", &[(a, 2), (b, 1)]), ("3", &[(b, 2)])] {
            assert!(log.publish_to(MemberId::SERVER, TOPIC, text.as_bytes(), to));
        }
        hearing.private_next = 3;
        let private = |log: &mut EventLog, listener, hearing| {
            let mut chunk = Vec::new();
            log.encode_private(listener, hearing, &mut chunk);
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
