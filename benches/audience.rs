//! A room's members without sockets, for whom a tick is encoded, framed and queued.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick, TopicId};
use tickloom_protocol::schema::{ComponentDesc, RoomSchema, TopicDesc};
use tickloom_server::config::Config;
use tickloom_server::outbox::{Backpressure, Outbox};
use tickloom_server::room::broadcast::{
    Broadcast, BroadcastCounts, Content, Occasion, SharedWindow,
};
use tickloom_server::room::description::Description;
use tickloom_server::room::events::EventLog;
use tickloom_server::room::member::Member;
use tickloom_server::room::state::State;
use tickloom_server::session::SessionId;
use tickloom_server::session_table::Outboxes;

/// Longest chunk that members can be told.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// The only component of an audience's room.
const TEXT: ComponentId = ComponentId(0);

/// The only topic.
const TOPIC: TopicId = TopicId(0);

/// Outboxes in memory, by index of the session.
#[derive(Debug)]
pub struct MemoryOutboxes(Vec<Outbox>);

impl MemoryOutboxes {
    /// Empty outboxes with the limits a server has by default.
    #[must_use]
    pub fn new(sessions_count: usize) -> Self {
        let limits = Config::loopback().outbox;
        Self((0..sessions_count).map(|_| Outbox::new(limits)).collect())
    }

    /// Drops everything that is queued, as if sockets had taken it, and says how much that was.
    pub fn drain(&mut self) -> usize {
        self.drain_each(|_| {})
    }

    /// The same, and tells how much it was for each.
    pub fn drain_each(&mut self, mut tell: impl FnMut(usize)) -> usize {
        let drained = self.0.iter_mut().map(|outbox| {
            let bytes = outbox.bytes();
            outbox.advance(bytes);
            tell(bytes);
            bytes
        });
        drained.sum()
    }

    /// The same as [`MemoryOutboxes::drain`] for the first so many: the others take nothing.
    pub fn drain_first(&mut self, sessions_count: usize) {
        for outbox in &mut self.0[..sessions_count] {
            outbox.advance(outbox.bytes());
        }
    }

    /// Queues as much for one as makes it congested.
    pub fn congest(&mut self, index: usize) {
        let bytes = Bytes::from_static(&[0; 1024]);
        while self.0[index].backpressure() == Backpressure::Ready {
            self.0[index].push(bytes.clone());
        }
    }
}

impl Outboxes for MemoryOutboxes {
    fn outbox(&mut self, session: SessionId) -> Option<&mut Outbox> {
        self.0.get_mut(session.index as usize)
    }
}

/// What members are told in every tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// A value of the room, in a chunk of this many bytes.
    Chunk(usize),
    /// One publication with a body of this many bytes, and nothing else.
    Event(usize),
}

/// Members with an entity each, who are told the same in every tick: a broadcast, and as little
/// to encode as can be.
#[derive(Debug)]
pub struct Audience {
    state: State,
    events: EventLog,
    members: BTreeMap<MemberId, Member>,
    broadcast: Broadcast,
    window: SharedWindow,
    outboxes: MemoryOutboxes,
    news: News,
    /// What is said next; every tick says something else.
    text: Vec<u8>,
    sent: Tick,
}

impl Audience {
    /// Members who were sent their snapshots, and a tick to send them.
    ///
    /// # Panics
    /// When the news are longer than this room can tell.
    #[must_use]
    pub fn new(members_count: u16, news: News) -> Self {
        let text = ComponentDesc::opaque("text", "text/plain", CHUNK_BYTES_MAX);
        let topics = vec![TopicDesc::new("danmaku")];
        let schema = RoomSchema::new(vec![text], vec![]);
        let schema = schema.and_then(|schema| schema.with_topics(topics));
        let schema = schema.expect("the schema is within its limits");
        let kept = Description::default();
        let events = EventLog::new(kept.events_max, kept.events_bytes_max, schema.topics());
        let mut state = State::new(Arc::new(schema), usize::from(members_count) + 1);
        let members = (0..members_count).map(|index| {
            let id = MemberId(index + 1);
            let session = SessionId { index: index.into(), generation: 0 };
            let entity = state.spawn(id).expect("the state has room for all");
            (id, Member::new(session, entity, events.hearing_of_newcomer(), id.0.into()))
        });
        let mut audience = Self {
            members: members.collect(),
            state,
            events,
            broadcast: Broadcast::default(),
            window: SharedWindow::default(),
            outboxes: MemoryOutboxes::new(members_count.into()),
            news,
            text: Vec::new(),
            sent: Tick::ZERO,
        };
        audience.send();
        match news {
            News::Event(bytes) => audience.text.resize(bytes, 0),
            News::Chunk(bytes) => {
                // What is around a text is the same for one that is a little longer.
                let overhead = audience.chunk_bytes(bytes) - bytes;
                let chunk_bytes = audience.chunk_bytes(bytes - overhead);
                assert_eq!(chunk_bytes, bytes, "the news are as long as asked");
            }
        }
        audience.begin_tick();
        audience
    }

    /// Tells of a text of this many bytes from now on, and says how long the chunk is.
    fn chunk_bytes(&mut self, text_bytes: usize) -> usize {
        self.text = vec![0; text_bytes];
        self.begin_tick();
        let mut chunk = Vec::new();
        self.state.encode(self.sent, &mut chunk);
        chunk.len()
    }

    /// Ends the tick that was sent, empties the outboxes, and has news for the next one. Says how
    /// many bytes were in the outboxes.
    ///
    /// # Panics
    /// When the room does not take the news.
    pub fn begin_tick(&mut self) -> usize {
        if self.sent == self.state.building() {
            self.state.mark_sent();
            self.events.mark_sent();
            self.state.advance();
        }
        self.text.fill(self.state.building().0 as u8);
        match self.news {
            News::Chunk(_) => self.state.set_opaque(TEXT, EntityId::ROOM, &self.text),
            News::Event(_) => {
                let is_said = self.events.publish(MemberId(1), TOPIC, &self.text);
                assert!(is_said, "a tick carries one event");
            }
        }
        self.outboxes.drain()
    }

    /// Queues the tick for every member: this is what is measured.
    ///
    /// # Panics
    /// Never: the longest news fit a message.
    pub fn send(&mut self) {
        let occasion = Occasion { previous: self.sent, with_hash: false, states_waiting_max: 20 };
        let (state, events) = (&mut self.state, &mut self.events);
        let content = Content { state, events, window: &mut self.window };
        let sent = self.broadcast.send(content, &mut self.members, occasion, &mut self.outboxes);
        sent.expect("the news fit a message");
        self.sent = self.state.building();
    }

    /// What went out so far.
    #[must_use]
    pub fn counts(&self) -> BroadcastCounts {
        self.broadcast.counts()
    }
}
