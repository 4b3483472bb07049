//! A room in which anything happens, under one seed, and what is recorded of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use tickloom_server::directory::ShardIndex;
use tickloom_server::outbox::{Outbox, OutboxLimits};
use tickloom_server::prelude::*;
use tickloom_server::protocol::client_message::{Configure, Kick, Publish, Recipients, Write};
use tickloom_server::protocol::ids::{InputSeq, Moment, OpId, RoomKey};
use tickloom_server::protocol::recording::{EndReason, StateHash, prologue};
use tickloom_server::protocol::schema::FieldId;
use tickloom_server::protocol::server_message::ServerEncoder;
use tickloom_server::protocol::time::Timestamp;
use tickloom_server::room::broadcast::Broadcast;
use tickloom_server::room::recorded::Recorded;
use tickloom_server::room::{Fate, Room};
use tickloom_server::session::{PendingJoin, SessionId};
use tickloom_server::session_table::Outboxes;
use tickloom_server::tokens::{Secret, TokenKind, Tokens};

/// The lines of members, some of which take nothing for a while.
#[derive(Default)]
pub struct Lines(BTreeMap<SessionId, Outbox>);

impl Outboxes for Lines {
    fn outbox(&mut self, session: SessionId) -> Option<&mut Outbox> {
        self.0.get_mut(&session)
    }
}

/// A room in which anything happens, under one seed.
pub struct Stage {
    rng: fastrand::Rng,
    pub room: Room,
    pub now: Timestamp,
    pub broadcast: Broadcast,
    pub lines: Lines,
    tokens: Tokens,
    /// Whose seat has which line, and the number of its last input.
    pub seats: BTreeMap<MemberId, (SessionId, u32)>,
    sessions_count: u32,
    pub file: Vec<u8>,
    /// Behind every tick.
    pub hashes: Vec<StateHash>,
}

impl Stage {
    pub fn new(room_types: &RoomTypes, room_type: &str, seed: u64) -> Self {
        let key = RoomKey::parse(room_type, "stage").expect("a name");
        let room_type = room_types.get(room_type).expect("a type");
        let now = Timestamp(1_000_000);
        let room = Room::new(key, &**room_type, &[], now, seed).expect("a room without options");
        Self {
            rng: fastrand::Rng::with_seed(seed),
            room,
            now,
            broadcast: Broadcast::default(),
            lines: Lines::default(),
            tokens: Tokens::new(Secret::new([0; 32]), ShardIndex(0)),
            seats: BTreeMap::new(),
            sessions_count: 0,
            file: Vec::new(),
            hashes: Vec::new(),
        }
    }

    pub fn recorded(mut self) -> Self {
        self.room.begin_recording(self.now, &[]);
        self.file = prologue(7);
        self.file.extend(self.room.take_recording_head());
        self
    }

    pub fn join(&mut self) {
        let session = SessionId { index: self.sessions_count, generation: 0 };
        self.sessions_count += 1;
        let name = format!("player {}", self.rng.u8(..));
        let key = self.room.key().clone();
        let join = PendingJoin {
            options: Box::new([self.rng.u8(..)]),
            spectates: self.rng.u8(0..5) == 0,
            ..PendingJoin::new(key, &name)
        };
        if let Ok(joined) = self.room.join(self.now, session, &join) {
            let limits = OutboxLimits { soft_bytes_max: 2_000, hard_bytes_max: 1 << 20 };
            self.lines.0.insert(session, Outbox::new(limits));
            self.seats.insert(joined.member, (session, 0));
        }
    }

    fn leave(&mut self, member: MemberId) {
        self.room.leave(member);
        if let Some((session, _)) = self.seats.remove(&member) {
            self.lines.0.remove(&session);
        }
    }

    fn input(&mut self, member: MemberId) {
        let Some((_, seq)) = self.seats.get_mut(&member) else { return };
        // Now and then one gets lost, comes twice, or is what it was.
        *seq = (*seq + self.rng.u32(0..12) / 5).max(1);
        let schema = Arc::clone(self.room.state().schema());
        let layout = schema.input();
        let mut row = vec![0; layout.row_bytes()];
        let held = self.rng.bool();
        for (index, _) in layout.fields().enumerate() {
            let number = if held { 1.0 } else { self.rng.f64() * 2.0 - 1.0 };
            layout.write(&mut row, FieldId(index as u8), number);
        }
        self.room.handle_input(member, InputSeq(*seq), Moment(u64::from(*seq) * 200), &row);
    }

    fn write(&mut self, member: MemberId) {
        let mut changes = ChangesBuilder::default();
        let schema = Arc::clone(self.room.state().schema());
        let Some(shared) = schema.component("shared") else { return };
        let item = schema.component("item").expect("both or none");
        let layer = schema.component("layer").expect("both or none");
        let count = self.room.state().entities().count() as u32;
        let any = EntityId(self.rng.u32(0..count + 2));
        match self.rng.u8(0..5) {
            0 => {
                let added = changes.enter(MemberId::SERVER);
                changes.opaque(item, added, &vec![7; self.rng.usize(0..300)]);
                changes.prop(layer, added, "parent", &Value::Entity(any));
            }
            1 => {
                changes.leave(any);
            }
            _ => {
                let key = format!("key {}", self.rng.u8(0..20));
                changes.prop(shared, EntityId::ROOM, &key, &Value::Int(self.rng.i64(..)));
            }
        }
        let mut bytes = Vec::new();
        changes.put(&mut bytes);
        let if_tick = match self.rng.u8(0..4) {
            0 => Tick(self.room.state().building().0.saturating_sub(self.rng.u32(0..20))),
            _ => Tick::ZERO,
        };
        let write = Write { op: OpId(1), if_tick, changes: &bytes };
        let _ = self.room.handle_write(member, &write);
    }

    /// The host rules, and whoever else tries to does not.
    fn rule(&mut self, member: MemberId) {
        if self.rng.bool() {
            let password = Some(if self.rng.bool() { "" } else { "sesame" });
            let (locked, listed) = (Some(self.rng.bool()), Some(self.rng.bool()));
            let configure = Configure { op: OpId(1), locked, listed, password, metadata: None };
            let salt = self.tokens.next(TokenKind::Draw, self.room.key(), member);
            let _ = self.room.handle_configure(member, &configure, &salt);
            // Newcomers would have to know it.
            let open = Configure { locked: Some(false), password: Some(""), ..configure };
            let _ = self.room.handle_configure(member, &open, &salt);
            return;
        }
        let kicked = self.rng.choice(self.seats.keys()).copied().expect("somebody is here");
        let kick = Kick { op: OpId(1), member: kicked, message: "go" };
        if self.room.handle_kick(member, &kick).is_ok() {
            self.leave(kicked);
        }
    }

    fn publish(&mut self, member: MemberId) {
        let topics = self.room.state().schema().topics().len() as u16;
        let named: Vec<_> = self.seats.keys().copied().filter(|_| self.rng.u8(0..4) == 0).collect();
        let (mut buffer, body) = (Vec::new(), vec![b'x'; self.rng.usize(0..100)]);
        let to = Recipients::put(&named, &mut buffer);
        let topic = TopicId(self.rng.u16(0..=topics));
        let publish = Publish { op: OpId(1), topic, to, body: &body };
        let _ = self.room.handle_publish(member, &publish);
    }

    /// Something happens, and then a tick, if one is due.
    fn step(&mut self) {
        let wanted = 1 + usize::from(self.rng.u8(0..16));
        if self.seats.is_empty() || (self.seats.len() < wanted && self.rng.u8(0..8) == 0) {
            self.join();
        }
        let members: Vec<_> = self.seats.keys().copied().collect();
        for member in members {
            match self.rng.u16(0..400) {
                0 => self.leave(member),
                1..30 => self.write(member),
                30..50 => self.publish(member),
                50..56 => self.room.handle_resync(member),
                56..60 => self.rule(member),
                60..320 => self.input(member),
                _ => {}
            }
        }
        for outbox in self.lines.0.values_mut() {
            if self.rng.u8(0..5) != 0 {
                outbox.advance(outbox.bytes());
            }
            if outbox.take_owed() {
                self.room.handle_drained(MemberId(1));
            }
        }
        if self.rng.u8(0..200) == 0 {
            self.now = Timestamp(self.now.0 + 900_000);
            self.room.slip(self.now, &mut ServerEncoder::default(), &mut self.lines);
        }
        self.tick();
    }

    pub fn tick(&mut self) {
        let Some(due) = self.room.next_due().filter(|_| !self.seats.is_empty()) else { return };
        self.now = self.now.max(due);
        let report = self.room.tick(self.now, &mut self.broadcast, &mut self.lines);
        assert_eq!(report.fate, Fate::Continues);
        self.hashes.push(self.room.state_hash());
        if let Recorded::Records(bytes) = self.room.take_recorded() {
            self.file.extend(bytes);
        }
    }

    pub fn run(mut self, ticks: u32) -> Self {
        while self.hashes.len() < ticks as usize {
            self.step();
        }
        self
    }

    /// Everybody goes, and nobody comes back.
    pub fn end(mut self) -> Vec<u8> {
        for member in self.seats.keys().copied().collect::<Vec<_>>() {
            self.leave(member);
        }
        if let Recorded::Records(bytes) = self.room.end_recording(EndReason::Empty) {
            self.file.extend(bytes);
        }
        self.file
    }
}
