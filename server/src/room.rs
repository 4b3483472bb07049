//! A room: members, their inputs, and the one place where shared state changes.
//!
//! ```text
//! join, input, leave --> Room --tick--> inputs -> logic -> state -> broadcast -> outboxes
//! ```
//!
//! Left of a room everything is hostile; what reaches it is checked and in order. A room does
//! not know sockets, and it knows time only as the moment it is told to tick.

pub mod arena;
pub mod broadcast;
pub mod failure;
pub mod logic;
pub mod member;
pub mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::ids::{InputSeq, MemberId, RoomKey, Tick};
use tickloom_protocol::link::binary_frame;
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::{
    Joined, RefusalCode, RoomClock, ServerEncoder, ServerMessage, TimeSync,
};
use tickloom_protocol::time::Timestamp;

use crate::room::broadcast::{Broadcast, Occasion};
use crate::room::failure::{Failure, Panicked, guard};
use crate::room::logic::{Context, Denial, Joiner, Next, RoomLogic, RoomSpec, RoomType};
use crate::room::member::Member;
use crate::room::state::State;
use crate::session::{PendingJoin, SessionId};
use crate::session_table::Outboxes;
use crate::ticker::Ticker;

/// How often members are told the hash of what they must have. A client pays for it with a walk
/// over its whole replica, which is most of what a large room costs it.
const HASH_EVERY_SECONDS: u32 = 2;

/// A room of one shard.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoomId {
    /// Position in the shard's table.
    pub index: u32,
    /// Tells the room from earlier ones at the same position.
    pub generation: u32,
}

/// One room.
pub struct Room {
    key: RoomKey,
    spec: RoomSpec,
    logic: Box<dyn RoomLogic>,
    state: State,
    rng: fastrand::Rng,
    ticker: Ticker,
    members: BTreeMap<MemberId, Member>,
    next_member: u16,
    /// The tick whose state was broadcast last.
    sent: Tick,
    /// The first tick that owes its members a hash.
    hash_due: Tick,
    /// Set by a panic of the logic, which is not called again.
    panicked: Option<Panicked>,
}

/// Why a join did not succeed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinRefusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub message: String,
}

/// What one tick did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TickReport {
    /// How late the tick began.
    pub lateness: Duration,
    /// What becomes of the room.
    pub fate: Fate,
}

/// What becomes of a room after a tick.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It goes on.
    Continues,
    /// It ends, because its logic says so or its ticks are counted out.
    Ends,
    /// It cannot go on.
    Fails(Failure),
}

impl Room {
    /// A new room, whose first tick is due one step after `now`.
    ///
    /// # Panics
    /// When the room type's own description is out of its ranges.
    #[must_use]
    pub fn new(key: RoomKey, room_type: &dyn RoomType, now: Timestamp, seed: u64) -> Self {
        let spec = room_type.spec();
        let rates = RoomSpec::TICK_RATE_HZ_MIN..=RoomSpec::TICK_RATE_HZ_MAX;
        assert!(rates.contains(&spec.tick_rate_hz), "{key}: {} Hz", spec.tick_rate_hz);
        assert!(spec.send_every > 0, "{key}: state must be sent sometime");
        let mut room = Self {
            key,
            logic: room_type.create(),
            state: State::new(Arc::clone(&spec.schema), spec.entities_max),
            rng: fastrand::Rng::with_seed(seed),
            ticker: Ticker::new(now, spec.tick_us(), spec.send_every),
            members: BTreeMap::new(),
            next_member: 1,
            sent: Tick::ZERO,
            hash_due: Tick::ZERO,
            panicked: None,
            spec,
        };
        room.call(|logic, context| logic.on_create(context));
        room
    }

    /// Gives a session a seat.
    ///
    /// # Errors
    /// Why there is none for it.
    pub fn join(
        &mut self,
        now: Timestamp,
        session: SessionId,
        join: &PendingJoin,
    ) -> Result<Joined, JoinRefusal> {
        if self.members.len() >= self.spec.members_max {
            let seats = self.spec.members_max;
            let message = format!("all {seats} seats of {} are taken", self.key);
            return Err(JoinRefusal { code: RefusalCode::RoomFull, message });
        }
        let member = self.free_member_id();
        let Some(entity) = self.state.spawn(member) else {
            let message = format!("{} has no free entity", self.key);
            return Err(JoinRefusal { code: RefusalCode::RoomFull, message });
        };
        if self.members.is_empty() {
            // The room slept; its clock goes on where it stopped.
            self.ticker.slip(now);
        }
        self.members.insert(member, Member::new(session, entity));
        let joiner = Joiner { member, entity, name: &join.name, options: &join.options };
        let failed = || Err(Denial { message: "the room has failed".to_owned() });
        let answer = self.call(|logic, context| logic.on_join(context, &joiner));
        if let Err(Denial { message }) = answer.unwrap_or_else(failed) {
            self.members.remove(&member);
            self.state.despawn_owned(member);
            return Err(JoinRefusal { code: RefusalCode::Denied, message });
        }
        Ok(Joined {
            member,
            entity,
            clock: self.ticker.clock(),
            tick: self.ticker.tick(),
            schema: RoomSchema::clone(self.state.schema()),
        })
    }

    /// Takes a seat back, with everything its member owns.
    pub fn leave(&mut self, member: MemberId) {
        if !self.members.contains_key(&member) {
            return;
        }
        self.call(|logic, context| logic.on_leave(context, member));
        self.members.remove(&member);
        self.state.despawn_owned(member);
    }

    /// Queues what a member wants to do. `row` fits the room's input layout.
    pub fn handle_input(&mut self, member: MemberId, seq: InputSeq, row: &[u8]) {
        if let Some(member) = self.members.get_mut(&member) {
            member.inputs.push(seq, row);
        }
    }

    /// A member's replica is of no use any more: the next tick sends a snapshot.
    pub fn handle_resync(&mut self, member: MemberId) {
        if let Some(member) = self.members.get_mut(&member) {
            member.baseline = Tick::ZERO;
        }
    }

    /// One step: inputs, logic, and on a send tick the state to everybody.
    pub fn tick(
        &mut self,
        now: Timestamp,
        broadcast: &mut Broadcast,
        outboxes: &mut impl Outboxes,
    ) -> TickReport {
        let lateness = self.ticker.begin(now);
        debug_assert_eq!(self.ticker.tick(), self.state.building(), "{}: one count", self.key);
        self.take_inputs(broadcast.member_scratch());
        let next = self.call(|logic, context| logic.on_tick(context));
        if let Some(panicked) = &self.panicked {
            return TickReport { lateness, fate: Fate::Fails(panicked.clone().into()) };
        }
        let mut fate = match next {
            Some(Next::Tick) if self.ticker.tick() < Tick::MAX => Fate::Continues,
            Some(Next::Tick | Next::Close) | None => Fate::Ends,
        };
        if self.ticker.is_send_tick() {
            let with_hash = self.state.building() >= self.hash_due;
            if with_hash {
                let ticks = HASH_EVERY_SECONDS * self.spec.tick_rate_hz;
                self.hash_due = Tick(self.state.building().0.saturating_add(ticks));
            }
            let occasion = Occasion { previous: self.sent, with_hash };
            let sent = broadcast.send(&mut self.state, &mut self.members, occasion, outboxes);
            if let Err(oversized) = sent {
                fate = Fate::Fails(oversized.into());
            }
            self.sent = self.state.building();
            self.state.mark_sent();
        }
        self.state.advance();
        #[cfg(debug_assertions)]
        self.state.check_invariants();
        TickReport { lateness, fate }
    }

    /// Lets the room's clock slip after a stall, and tells its members.
    pub fn slip(
        &mut self,
        now: Timestamp,
        encoder: &mut ServerEncoder,
        outboxes: &mut impl Outboxes,
    ) {
        self.ticker.slip(now);
        let sync = self.time_sync(now);
        let frame = binary_frame(encoder.encode(&ServerMessage::TimeSync(sync)));
        for member in self.members.values() {
            if let Some(outbox) = outboxes.outbox(member.session()) {
                outbox.push(frame.clone());
            }
        }
    }

    /// The room's clock at this moment, as the answer to nobody's ping.
    #[must_use]
    pub fn time_sync(&self, now: Timestamp) -> TimeSync {
        let epoch = self.ticker.clock().epoch;
        TimeSync { client_us: 0, server: now, tick: self.ticker.tick(), epoch }
    }

    /// When the room's ticks are due.
    #[must_use]
    pub fn clock(&self) -> RoomClock {
        self.ticker.clock()
    }

    /// When the next tick is due. Meaningless without members: such a room sleeps.
    #[must_use]
    pub fn next_due(&self) -> Timestamp {
        self.ticker.next_due()
    }

    /// The room's name.
    #[must_use]
    pub fn key(&self) -> &RoomKey {
        &self.key
    }

    /// The members and their seats, in joining order.
    #[must_use]
    pub fn members(&self) -> &BTreeMap<MemberId, Member> {
        &self.members
    }

    /// The room's state.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The panic of the logic, if it had one. The room cannot go on.
    #[must_use]
    pub fn panicked(&self) -> Option<&Panicked> {
        self.panicked.as_ref()
    }

    /// The last tick whose state was broadcast.
    #[must_use]
    pub fn sent(&self) -> Tick {
        self.sent
    }

    /// Calls the logic, unless it panicked before. `None` when it did, now or then.
    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut dyn RoomLogic, &mut Context<'_>) -> T,
    ) -> Option<T> {
        if self.panicked.is_some() {
            return None;
        }
        let mut context = Context {
            state: &mut self.state,
            rng: &mut self.rng,
            members: &self.members,
            tick_us: self.ticker.clock().tick_us,
        };
        let logic = &mut *self.logic;
        guard(|| call(logic, &mut context)).map_err(|panicked| self.panicked = Some(panicked)).ok()
    }

    fn take_inputs(&mut self, scratch: &mut Vec<MemberId>) {
        scratch.clear();
        scratch.extend(self.members.keys());
        for id in scratch.iter() {
            let Some(member) = self.members.get_mut(id) else { continue };
            let inputs = member.inputs.take_tick();
            for (row, freshness) in inputs.iter().flatten() {
                let row = row.bytes();
                let acted = self.call(|logic, room| logic.on_input(room, *id, row, *freshness));
                if let (None, Some(panicked)) = (acted, &mut self.panicked) {
                    panicked.input.get_or_insert_with(|| (*id, row.into()));
                    return;
                }
            }
        }
    }

    /// The next id that nobody has. There are fewer seats than ids.
    fn free_member_id(&mut self) -> MemberId {
        loop {
            let id = MemberId(self.next_member);
            self.next_member = self.next_member.checked_add(1).unwrap_or(1);
            if !self.members.contains_key(&id) {
                return id;
            }
        }
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("key", &self.key)
            .field("tick", &self.ticker.tick())
            .field("members_count", &self.members.len())
            .finish_non_exhaustive()
    }
}
