//! Rooms without sockets: an arena with players in it, and states in which everything moves.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::ids::{EntityId, InputSeq, MemberId, RoomKey, Tick};
use tickloom_protocol::schema::{FieldId, RowLayout};
use tickloom_protocol::time::Timestamp;
use tickloom_server::config::Config;
use tickloom_server::outbox::Outbox;
use tickloom_server::room::arena::{Arena, BUTTON_FIRE};
use tickloom_server::room::broadcast::{Broadcast, Content, Occasion};
use tickloom_server::room::events::EventLog;
use tickloom_server::room::logic::RoomType;
use tickloom_server::room::member::Member;
use tickloom_server::room::state::State;
use tickloom_server::room::{Fate, Room};
use tickloom_server::session::{PendingJoin, SessionId};
use tickloom_server::session_table::Outboxes;

use crate::{BODY, body_schema, random_body};

/// Bytes of an input row of an arena: two sticks, an angle and buttons.
pub const ARENA_INPUT_BYTES: usize = 4;

/// Ticks before an arena is measured. Joiners have their snapshots, shots are in the air, and the
/// next tick is none of those that state a hash.
const WARM_UP_TICKS: u32 = 210;

/// Ticks after which players do the same again.
const STEERING_TICKS: usize = 64;

/// How far behind a member is that gets a catch-up.
const CATCH_UP_TICKS: u32 = 20;

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
        let drained = self.0.iter_mut().map(|outbox| {
            let bytes = outbox.bytes();
            outbox.advance(bytes);
            bytes
        });
        drained.sum()
    }
}

impl Outboxes for MemoryOutboxes {
    fn outbox(&mut self, session: SessionId) -> Option<&mut Outbox> {
        self.0.get_mut(session.index as usize)
    }
}

/// A player of an arena: walks in a direction for a while, then in another, and fires now and
/// then.
#[derive(Clone, Debug)]
pub struct Steering {
    random: fastrand::Rng,
    heading: f64,
    /// Inputs until the next change of direction.
    inputs_left: u32,
}

impl Steering {
    /// A player. Each seed does something else, always the same.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), heading: 0.0, inputs_left: 0 }
    }

    /// What the player does next, as a row of an arena's input.
    pub fn next_row(&mut self, layout: &RowLayout) -> [u8; ARENA_INPUT_BYTES] {
        if self.inputs_left == 0 {
            self.inputs_left = self.random.u32(10..40);
            self.heading = self.random.f64() * TAU;
        }
        self.inputs_left -= 1;
        let fires = self.random.u8(..8) == 0;
        let aim = (self.heading + self.random.f64() - 0.5).rem_euclid(TAU);
        let buttons = if fires { f64::from(BUTTON_FIRE) } else { 0.0 };
        let numbers = [self.heading.cos(), self.heading.sin(), aim, buttons];
        let mut row = [0; ARENA_INPUT_BYTES];
        for (field, number) in numbers.into_iter().enumerate() {
            layout.write(&mut row, FieldId(field as u8), number);
        }
        row
    }
}

/// An arena whose members all send an input for every tick.
#[derive(Debug)]
pub struct ArenaRoom {
    room: Room,
    broadcast: Broadcast,
    outboxes: MemoryOutboxes,
    members: Vec<MemberId>,
    /// Rows of all members, tick by tick, [`STEERING_TICKS`] of them.
    rows: Vec<[u8; ARENA_INPUT_BYTES]>,
    seq: InputSeq,
}

impl ArenaRoom {
    /// An arena that was played in for some seconds.
    ///
    /// # Panics
    /// When an arena does not take so many.
    #[must_use]
    pub fn new(members_count: usize) -> Self {
        let key = RoomKey::parse("arena", "bench").expect("both names are short");
        let arena = Arena::default();
        let mut room = Room::new(key.clone(), &arena, &[], Timestamp::ZERO, 1).expect("a room");
        let join = PendingJoin { key, name: "player".into(), options: [].into() };
        let members: Vec<MemberId> = (0..members_count)
            .map(|index| {
                let session = SessionId { index: index as u32, generation: 0 };
                let joined = room.join(Timestamp::ZERO, session, &join);
                joined.expect("a new arena has free seats").member
            })
            .collect();
        let schema = arena.spec().schema;
        let mut players: Vec<Steering> = (0..members_count as u64).map(Steering::new).collect();
        let rows = (0..STEERING_TICKS).flat_map(|_| {
            players.iter_mut().map(|player| player.next_row(schema.input())).collect::<Vec<_>>()
        });
        let mut arena = Self {
            rows: rows.collect(),
            room,
            broadcast: Broadcast::default(),
            outboxes: MemoryOutboxes::new(members_count),
            members,
            seq: InputSeq(0),
        };
        for _ in 0..WARM_UP_TICKS {
            arena.tick();
        }
        arena
    }

    /// One tick: an input of every member, the room's step, and everything out of the outboxes.
    /// Says how many bytes that were.
    ///
    /// # Panics
    /// When the room wants to close, which an arena never does.
    pub fn tick(&mut self) -> usize {
        self.seq.0 += 1;
        let first = self.seq.0 as usize % STEERING_TICKS * self.members.len();
        for (member, row) in self.members.iter().zip(&self.rows[first..]) {
            self.room.handle_input(*member, self.seq, row);
        }
        let now = self.room.next_due().expect("an arena ticks at a rate");
        let report = self.room.tick(now, &mut self.broadcast, &mut self.outboxes);
        assert_eq!((report.lateness, report.fate), (Duration::ZERO, Fate::Continues));
        self.outboxes.drain()
    }
}

/// A state in which every entity moved in each of the last ticks.
#[derive(Debug)]
pub struct MovedState {
    state: State,
    entities: Vec<EntityId>,
    random: fastrand::Rng,
}

impl MovedState {
    /// A state of bodies.
    #[must_use]
    pub fn new(entities_count: usize) -> Self {
        let mut moved = Self::without_entities(entities_count);
        for _ in 0..entities_count {
            moved.spawn(MemberId::SERVER);
        }
        for _ in 0..2 * CATCH_UP_TICKS {
            moved.move_all();
            moved.end_tick();
        }
        moved.move_all();
        moved
    }

    fn without_entities(entities_max: usize) -> Self {
        let state = State::new(Arc::new(body_schema()), entities_max + 1);
        Self { state, entities: Vec::new(), random: fastrand::Rng::with_seed(1) }
    }

    fn spawn(&mut self, owner: MemberId) -> EntityId {
        let entity = self.state.spawn(owner).expect("the state has room for all");
        self.entities.push(entity);
        entity
    }

    fn move_all(&mut self) {
        for entity in &self.entities {
            self.state.set_row(BODY, *entity, &random_body(&mut self.random));
        }
    }

    fn end_tick(&mut self) {
        self.state.mark_sent();
        self.state.advance();
    }

    /// Overwrites `chunks` with what happened in this tick.
    pub fn encode_delta(&mut self, chunks: &mut Vec<u8>) {
        self.encode(Tick(self.state.building().0 - 1), chunks);
    }

    /// Overwrites `chunks` with what happened in the last second.
    pub fn encode_catch_up(&mut self, chunks: &mut Vec<u8>) {
        self.encode(Tick(self.state.building().0 - CATCH_UP_TICKS), chunks);
    }

    /// Overwrites `chunks` with everything.
    pub fn encode_snapshot(&mut self, chunks: &mut Vec<u8>) {
        self.encode(Tick::ZERO, chunks);
    }

    fn encode(&mut self, since: Tick, chunks: &mut Vec<u8>) {
        chunks.clear();
        self.state.encode(since, chunks);
    }
}

/// Members with an entity each, all of which move in every tick: a broadcast and nothing else.
#[derive(Debug)]
pub struct MovingCrowd {
    moved: MovedState,
    members: BTreeMap<MemberId, Member>,
    events: EventLog,
    broadcast: Broadcast,
    outboxes: MemoryOutboxes,
    sent: Tick,
}

impl MovingCrowd {
    /// A crowd that was sent its snapshots.
    #[must_use]
    pub fn new(members_count: u16) -> Self {
        let mut moved = MovedState::without_entities(members_count.into());
        let members = (0..members_count).map(|index| {
            let id = MemberId(index + 1);
            let session = SessionId { index: index.into(), generation: 0 };
            let hearing = EventLog::new(1, 1, &[]).hearing_of_newcomer();
            (id, Member::new(session, moved.spawn(id), hearing, id.0.into()))
        });
        let mut crowd = Self {
            members: members.collect(),
            moved,
            events: EventLog::new(1, 1, &[]),
            broadcast: Broadcast::default(),
            outboxes: MemoryOutboxes::new(members_count.into()),
            sent: Tick::ZERO,
        };
        crowd.begin_tick();
        crowd.send();
        crowd.begin_tick();
        crowd
    }

    /// Ends the tick that was sent, empties the outboxes, and moves everybody in the next one.
    pub fn begin_tick(&mut self) -> usize {
        if self.sent == self.moved.state.building() {
            self.moved.end_tick();
        }
        self.moved.move_all();
        self.outboxes.drain()
    }

    /// Queues the tick for every member: this is what is measured.
    pub fn send(&mut self) {
        let occasion = Occasion { previous: self.sent, with_hash: false };
        let content = Content { state: &mut self.moved.state, events: &mut self.events };
        let sent = self.broadcast.send(content, &mut self.members, occasion, &mut self.outboxes);
        sent.expect("the crowd fits a message");
        self.sent = self.moved.state.building();
    }
}
