//! Benchmarks by stage of the data path, and what they are made of.
//!
//! ```text
//! codec          messages, frames and packed rows, in nanoseconds
//! tick           a room's whole tick without sockets
//! state          the parts before a broadcast: changes, writes of members, one encoder
//! fanout         the broadcast: one tick for every member, queued in memory
//! hop            mail between shards: its sender's part, and how long it is on its way
//! replay         what happened to an arena, again and faster
//! instructions   the pure code again, counted: the same answer on any machine and any load
//!
//! floor          what the kernel alone takes per tick, echo and delivery, on raw loopback
//! against_floor  the room server beside it, in pairs, held against targets
//! two_shards     what two shards carry more than one
//! memory         what an idle client costs
//! quiet          what rooms and clients cost that do nothing
//! accept         newcomers that are let in
//! deflate        compression, per tick and viewer
//! wss            what encryption costs
//! tick_latency   how old state is at real clients, and where the time went
//! ```
//!
//! This library holds the fixtures. Without sockets: a schema whose rows have a known size, a
//! crowd that moves, one of each message, [`queues`], [`states`], an [`audience`] and [`rooms`].
//! With sockets: the clients of every measurement ([`peers`]), the server that is nothing but system
//! calls ([`plain`]) and the one that is measured ([`run`]). And what to make of it: the health of
//! the [`machine`], the [`window`] of a run, and the verdict on [`pairs`] of runs. What all of them
//! can be [`asked`] for. Everything is seeded, so that two runs measure the same bytes.

pub mod asked;

pub mod machine;
pub mod window;

pub mod audience;
pub mod queues;
pub mod rooms;
pub mod states;

pub mod frames;
pub mod peers;

pub mod plain;

pub mod arena_load;
pub mod run;

pub mod pairs;

use std::sync::Arc;

use tickloom_protocol::chunks::{ChunkKind, put_chunk};
use tickloom_protocol::client_message::{ClientMessage, Input};
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{ComponentId, EntityId, InputSeq, MemberId, Moment, StreamId, Tick};
use tickloom_protocol::replica::Replica;
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_protocol::server_message::{Delta, DeltaHead, Joined, RoomClock};
use tickloom_protocol::time::Timestamp;

/// The only component of [`body_schema`].
pub const BODY: ComponentId = ComponentId(0);

/// Bytes of a row of [`BODY`]: two positions of 16 bits and an angle of 8.
pub const BODY_ROW_BYTES: usize = 5;

/// Who owns the crowd, and whose replica sees it.
pub const MEMBER: MemberId = MemberId(1);

/// Bytes of an input message.
pub const INPUT_PAYLOAD_BYTES: usize = 64;

/// Bytes of a masked frame around an input, as a client sends it.
pub const INPUT_FRAME_BYTES: usize = 2 + 4 + INPUT_PAYLOAD_BYTES;

/// A room of bodies: `x` and `y` in [-1024, 1024] with 16 bits, `yaw` with 8.
///
/// # Panics
/// Never: the description is within all limits.
#[must_use]
pub fn body_schema() -> RoomSchema {
    let body = vec![
        FieldDesc::quantised("x", FieldType::Quant16, -1024.0, 1024.0),
        FieldDesc::quantised("y", FieldType::Quant16, -1024.0, 1024.0),
        FieldDesc::angle("yaw", FieldType::Quant8),
    ];
    let input = vec![
        FieldDesc::new("dx", FieldType::I8),
        FieldDesc::new("dy", FieldType::I8),
        FieldDesc::new("buttons", FieldType::U16),
    ];
    let body = ComponentDesc::packed("body", body).expect("the layout is within its limits");
    RoomSchema::new(vec![body], input).expect("the schema is within its limits")
}

/// A row of [`BODY`]: a body that is somewhere.
fn random_body(random: &mut fastrand::Rng) -> [u8; BODY_ROW_BYTES] {
    let mut row = [0; BODY_ROW_BYTES];
    random.fill(&mut row);
    // The highest 16-bit step of a symmetric range is not in use.
    row[1] &= 0x7f;
    row[3] &= 0x7f;
    row
}

/// Entities 1 to n of a room, each with a body.
#[derive(Debug)]
pub struct Crowd {
    entities: Entities,
    ids: Vec<EntityId>,
    random: fastrand::Rng,
    /// Reused by the encoders, as a room reuses its own.
    body: Vec<u8>,
}

impl Crowd {
    /// A crowd at random places.
    #[must_use]
    pub fn new(entities_count: u32) -> Self {
        let mut entities = Entities::new(Arc::new(body_schema()));
        let ids: Vec<_> = (1..=entities_count).map(EntityId).collect();
        for &entity in &ids {
            entities.insert(entity, MEMBER);
        }
        let random = fastrand::Rng::with_seed(u64::from(entities_count));
        let mut crowd = Self { entities, ids, random, body: Vec::new() };
        crowd.move_all();
        crowd
    }

    /// Puts every entity somewhere else.
    pub fn move_all(&mut self) {
        for &entity in &self.ids {
            self.entities.set_row(BODY, entity, &random_body(&mut self.random));
        }
    }

    /// Overwrites `chunks` with a snapshot of the room.
    pub fn encode_snapshot(&mut self, chunks: &mut Vec<u8>) {
        self.body.clear();
        chunks.clear();
        self.entities.put_snapshot(View::Room, &mut self.body);
        put_chunk(chunks, StreamId::ROOM, ChunkKind::Snapshot, &self.body);
    }

    /// Overwrites `chunks` with a delta in which every entity moved.
    pub fn encode_delta(&mut self, chunks: &mut Vec<u8>) {
        self.body.clear();
        chunks.clear();
        // Nobody left and nobody entered.
        self.body.extend_from_slice(&[0, 0]);
        self.entities.put_values(BODY, self.ids.iter().copied(), &mut self.body);
        put_chunk(chunks, StreamId::ROOM, ChunkKind::Delta, &self.body);
    }

    /// How many entities move.
    #[must_use]
    pub fn count(&self) -> usize {
        self.ids.len()
    }
}

/// A replica and the bytes that keep it busy.
#[derive(Debug)]
pub struct Viewer {
    replica: Replica,
    snapshot: Vec<u8>,
    /// Two deltas with different places for everyone: applied in turns, each changes every row.
    deltas: [Vec<u8>; 2],
    tick: Tick,
}

impl Viewer {
    /// A viewer of a crowd, with the snapshot applied.
    #[must_use]
    pub fn new(entities_count: u32) -> Self {
        let mut crowd = Crowd::new(entities_count);
        let mut snapshot = Vec::new();
        crowd.encode_snapshot(&mut snapshot);
        let deltas = [(); 2].map(|()| {
            let mut chunks = Vec::new();
            crowd.move_all();
            crowd.encode_delta(&mut chunks);
            chunks
        });
        let replica = Replica::new(MEMBER, Arc::new(body_schema()));
        let mut viewer = Self { replica, snapshot, deltas, tick: Tick::ZERO };
        viewer.apply_snapshot();
        viewer
    }

    /// Applies the snapshot.
    ///
    /// # Panics
    /// When the replica refuses it, which makes the measurement worthless.
    pub fn apply_snapshot(&mut self) {
        self.tick = self.tick.next();
        let head = DeltaHead { tick: self.tick, base: Tick::ZERO, ..DeltaHead::default() };
        let delta = Delta { head, chunks: &self.snapshot };
        self.replica.apply(&delta).expect("a snapshot always fits");
    }

    /// Applies a delta in which everyone moved.
    ///
    /// # Panics
    /// When the replica refuses it, which makes the measurement worthless.
    pub fn apply_delta(&mut self) {
        let base = self.tick;
        self.tick = base.next();
        let head = DeltaHead { tick: self.tick, base, ..DeltaHead::default() };
        let delta = Delta { head, chunks: &self.deltas[self.tick.0 as usize % 2] };
        self.replica.apply(&delta).expect("the delta follows its base");
    }
}

/// What a player sends every tick: a row of 4 bytes.
#[must_use]
pub fn input() -> ClientMessage<'static> {
    ClientMessage::Input(Input {
        seq: InputSeq(77),
        applied_tick: Tick(1200),
        seen: Moment::ZERO,
        row: &[0x7f, 0x81, 3, 0],
    })
}

/// What a player is told about the room of [`body_schema`].
#[must_use]
pub fn joined() -> Joined {
    let clock = RoomClock { epoch: Timestamp(1 << 40), tick_us: 50_000, send_every: 1 };
    Joined::new(MEMBER, EntityId(1), clock, Tick(1200), body_schema())
}

/// What a delta says to one member.
#[must_use]
pub fn delta_head() -> DeltaHead {
    let (tick, base, ack) = (Tick(1201), Tick(1200), InputSeq(77));
    DeltaHead { tick, base, ack, margin: 1, ..DeltaHead::default() }
}

/// A final, masked binary frame around 64 bytes (RFC 6455 section 5.2).
#[must_use]
pub fn masked_frame() -> [u8; INPUT_FRAME_BYTES] {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = [0; INPUT_FRAME_BYTES];
    frame[..2].copy_from_slice(&[0x82, 0x80 | 64]);
    frame[2..6].copy_from_slice(&mask);
    for (position, byte) in frame[6..].iter_mut().enumerate() {
        *byte = position as u8 ^ mask[position % 4];
    }
    frame
}
