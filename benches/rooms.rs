//! A room without sockets: an arena with players in it.

use std::f64::consts::TAU;
use std::time::Duration;

use tickloom_protocol::ids::{InputSeq, MemberId, Moment, RoomKey};
use tickloom_protocol::schema::{FieldId, RowLayout};
use tickloom_protocol::time::Timestamp;
use tickloom_server::room::arena::{Arena, BUTTON_FIRE};
use tickloom_server::room::broadcast::Broadcast;
use tickloom_server::room::logic::RoomType;
use tickloom_server::room::{Fate, Room};
use tickloom_server::session::{PendingJoin, SessionId};

use crate::audience::MemoryOutboxes;

/// Bytes of an input row of an arena: two sticks, an angle and buttons.
pub const ARENA_INPUT_BYTES: usize = 4;

/// Ticks before an arena is measured. Joiners have their snapshots, shots are in the air, and the
/// next tick is none of those that state a hash.
const WARM_UP_TICKS: u32 = 210;

/// Ticks after which players do the same again.
const STEERING_TICKS: usize = 64;

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
        let arena = Arena::new(20);
        let mut room = Room::new(key.clone(), &arena, &[], Timestamp::ZERO, 1).expect("a room");
        let join = PendingJoin::new(key, "player");
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
            self.room.handle_input(*member, self.seq, Moment::ZERO, row);
        }
        let now = self.room.next_due().expect("an arena ticks at a rate");
        let report = self.room.tick(now, &mut self.broadcast, &mut self.outboxes);
        assert_eq!((report.lateness, report.fate), (Duration::ZERO, Fate::Continues));
        self.outboxes.drain()
    }
}
