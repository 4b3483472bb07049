//! A room: members, their inputs, and the one place where shared state changes.
//!
//! ```text
//! join, input, leave --> Room --tick--> inputs -> logic -> state -> broadcast -> outboxes
//! ```
//!
//! Left of a room everything is hostile; what reaches it is checked and in order. A room does
//! not know sockets, and it knows time only as the moment it is told to tick.

pub mod absence;
pub mod admission;
pub mod arena;
mod asking;
pub mod attention;
pub mod broadcast;
mod clock;
pub mod described;
pub mod description;
pub mod events;
pub mod failure;
mod host;
mod late;
pub mod logic;
pub mod member;
mod player_name;
mod presence;
pub mod recorded;
pub mod rewind;
mod seats;
pub mod sight;
mod spectators;
pub mod state;
mod steering;
pub mod tree;
mod wishes;
pub mod world;
pub mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::client_message::Interest;
use tickloom_protocol::deflate::Sender;
use tickloom_protocol::ids::{EntityId, InputSeq, MemberId, Moment, OpId, RoomKey, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::recording::Event;
use tickloom_protocol::server_message::{Joined, RefusalCode};
use tickloom_protocol::time::Timestamp;

use crate::ledger::{Phase, Spent, Stopwatch};
use crate::listing::ListedRoom;
use crate::overload::LoadLevel;
use crate::room::admission::Admission;
use crate::room::broadcast::{
    Broadcast, Content, MemberWindow, Occasion, SharedWindow, ViewSettings,
};
use crate::room::events::EventLog;
use crate::room::failure::{Call, Failure, FailureRecord, Panicked, guard};
use crate::room::late::LateShow;
use crate::room::logic::{
    Cadence, Cameras, Compression, Context, Denial, Joiner, Next, RoomLogic, RoomSpec, RoomType,
};
use crate::room::member::{Intake, Member};
use crate::room::recorded::RoomRecorder;
use crate::room::rewind::Rewind;
use crate::room::state::State;
use crate::room::write::Refusal;
use crate::session::{PendingJoin, SessionId};
use crate::session_table::Outboxes;
use crate::ticker::{Sends, Ticker};

/// How often members are told the hash of what they must have. A client pays for it with a walk
/// over its whole replica, which is most of what a large room costs it.
const HASH_EVERY: Duration = Duration::from_secs(2);

/// Members of rooms whose ticks are at most this long, in microseconds, are read on the room's
/// turn.
const READS_ON_TURN_TICK_US_MAX: u32 = 200_000;

/// States after which a view shows how everything came to rest: the slowest cells, twice as slow as
/// they may be when the server has too much to do.
const VIEW_SETTLES_STATES: u16 = 2 * limits::RING_EVERY_MAX as u16;

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
    events: EventLog,
    /// What `rng` was seeded with.
    seed: u64,
    rng: fastrand::Rng,
    /// What it remembers of where things were.
    rewind: Option<Rewind>,
    /// What its ticks are measured with, and what they took since the last second.
    stopwatch: Stopwatch,
    spent: Spent,
    /// What the member saw whose input is being taken.
    seen: Moment,
    ticker: Ticker,
    members: BTreeMap<MemberId, Member>,
    /// What compressed frames may refer to. Empty when no member takes any.
    window: SharedWindow,
    /// The member that is here longest; nobody exactly when there are no members.
    host: Option<MemberId>,
    next_member: u16,
    joins_count: u64,
    admission: Admission,
    /// What those who watch are shown late, where the room's type wants that.
    late: Option<LateShow>,
    /// How many of `members` only watch.
    spectators_count: usize,
    /// When it ends for want of members who do more than watch; absent while there are some.
    ends_at: Option<Timestamp>,
    /// What the list of rooms said of it last, if it does.
    listed: Option<Arc<ListedRoom>>,
    created: Timestamp,
    /// The tick whose state was broadcast last.
    sent: Tick,
    /// When the members were told a hash last.
    hashed_at: Timestamp,
    /// States sent since one that brought anything new.
    idle_states: u16,
    /// When it looked for clients that fell silent last.
    looked_at: Timestamp,
    /// Members whose attention is elsewhere.
    paused_count: usize,
    /// Set by a panic of the logic, which is not called again.
    panicked: Option<Panicked>,
    /// Present while what happens to the room is recorded.
    recorder: Option<Box<RoomRecorder>>,
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
    /// A new room, whose first tick is due within a step after `now`, for a first joiner with these
    /// options.
    ///
    /// # Errors
    /// Why the room type has no room for such options.
    ///
    /// # Panics
    /// When the room type's own description is out of its ranges.
    pub fn new(
        key: RoomKey,
        room_type: &dyn RoomType,
        options: &[u8],
        now: Timestamp,
        seed: u64,
    ) -> Result<Self, Denial> {
        let spec = room_type.spec_for(options)?;
        if let Cadence::Fixed { tick_rate_hz, send_every } = spec.cadence {
            let rates = RoomSpec::TICK_RATE_HZ_MIN..=RoomSpec::TICK_RATE_HZ_MAX;
            assert!(rates.contains(&tick_rate_hz), "{key}: {tick_rate_hz} Hz");
            assert!(send_every > 0, "{key}: state must be sent sometime");
        }
        spec.check_delay(&key);
        let mut room = Self {
            key,
            logic: room_type.create(),
            state: State::new(Arc::clone(&spec.schema), spec.entities_max),
            events: EventLog::new(spec.events_max, spec.events_bytes_max, spec.schema.topics()),
            seed,
            rng: fastrand::Rng::with_seed(seed),
            rewind: spec.rewind.as_ref().map(|past| Rewind::new(past, spec.tick_us())),
            stopwatch: Stopwatch::STOPPED,
            spent: Spent::default(),
            seen: Moment::ZERO,
            // Consecutive rooms get seeds whose high halves are spread evenly.
            ticker: Ticker::new(now, spec.cadence, (seed >> 32) as u32),
            members: BTreeMap::new(),
            window: SharedWindow::default(),
            host: None,
            next_member: 1,
            joins_count: 0,
            admission: Admission::new(spec.is_listed),
            late: (!spec.spectator_delay.is_zero()).then(|| LateShow::new(spec.spectator_delay)),
            spectators_count: 0,
            ends_at: None,
            listed: None,
            created: now,
            sent: Tick::ZERO,
            hashed_at: now,
            idle_states: 0,
            looked_at: now,
            paused_count: 0,
            panicked: None,
            recorder: None,
            spec,
        };
        room.call(Call::Create, |logic, context| logic.on_create(context));
        Ok(room)
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
    ) -> Result<Joined, Refusal> {
        if join.spectates {
            return self.spectate(now, session, join);
        }
        let reserved = self.admit(now, join)?;
        let name = reserved.as_ref().map_or("", |seat| &seat.name);
        let name = if name.is_empty() { &join.name } else { name };
        if let Some(claim) = &join.resume {
            self.pass_over(claim.member);
        }
        let (member, entity) = self.seat(now, session, name, &join.options)?;
        Ok(self.joined(member, entity, join))
    }

    /// Gives a session a seat that was let in.
    pub(crate) fn seat(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: &str,
        options: &[u8],
    ) -> Result<(MemberId, EntityId), Refusal> {
        self.record(Event::Join { name, options });
        let member = self.free_member_id()?;
        let Some(entity) = self.state.spawn(member) else {
            let message = format!("{} has no free entity", self.key);
            return Err(Refusal::new(RefusalCode::RoomFull, message));
        };
        if self.members.is_empty() {
            // The room slept; its clock goes on where it stopped.
            self.ticker.slip(now);
        }
        let hearing = self.events.hearing_of_newcomer();
        self.joins_count += 1;
        self.members.insert(member, Member::new(session, entity, hearing, self.joins_count));
        let joiner = Joiner { member, entity, name, options };
        let answer =
            self.call(Call::Join(&joiner), |logic, context| logic.on_join(context, &joiner));
        if let Err(refusal) = self.allowed(answer) {
            self.members.remove(&member);
            self.state.despawn_owned(member);
            return Err(refusal);
        }
        self.ends_at = None;
        if self.host.is_none() {
            self.set_host(Some(member));
        }
        self.ticker.want();
        Ok((member, entity))
    }

    /// A member inflates what is compressed like this. A room that does not compress forgets it.
    pub fn compress_for(&mut self, member: MemberId, sender: Sender) {
        if let Some(member) = self.members.get_mut(&member)
            && self.spec.compression == Compression::On
        {
            member.window = Some(MemberWindow::new(sender));
        }
    }

    /// Takes a seat back, with everything its member owns.
    pub fn leave(&mut self, member: MemberId) {
        let Some(leaving) = self.members.get(&member) else { return };
        let is_spectator = leaving.is_spectator();
        self.record(Event::Leave(member));
        if is_spectator {
            self.spectators_count -= 1;
        } else {
            self.call(Call::Leave(member), |logic, context| logic.on_leave(context, member));
        }
        if let Some(left) = self.members.remove(&member) {
            self.let_go(left.window.is_some(), left.is_paused());
        }
        self.state.despawn_owned(member);
        self.state.forget_team(member);
        if self.host == Some(member) {
            let players = self.members.iter().filter(|(_, member)| !member.is_spectator());
            let longest_here = players.min_by_key(|(_, member)| member.listener());
            self.set_host(longest_here.map(|(id, _)| *id));
        }
        self.ticker.want();
    }

    /// Queues what a member wants to do. `row` fits the room's input layout.
    pub fn handle_input(
        &mut self,
        member: MemberId,
        seq: InputSeq,
        seen: Moment,
        row: &[u8],
    ) -> Intake {
        self.handle_sight(member, seen);
        self.record(Event::Input { member, seq, row });
        match self.members.get_mut(&member) {
            Some(member) if !member.is_spectator() => {
                if self.ticker.is_asleep() {
                    self.ticker.want();
                }
                member.inputs.push(seq, seen, row)
            }
            _ => Intake::Dropped,
        }
    }

    /// A member's next inputs say that it saw this.
    pub fn handle_sight(&mut self, member: MemberId, seen: Moment) {
        let Some(seat) = self.members.get_mut(&member) else { return };
        if seat.inputs.note_seen(seen) {
            self.record(Event::Saw { member, seen });
        }
    }

    /// What a member's last input said that it saw.
    #[must_use]
    pub fn seen_by(&self, member: MemberId) -> Moment {
        self.members.get(&member).map_or(Moment::ZERO, |seat| seat.inputs.seen())
    }

    /// A member is told what became of a write: its next delta repeats it. What became of a
    /// publication it does not: a room in which many speak would have a frame for each of them.
    pub fn handle_answer(&mut self, member: MemberId, op: OpId) {
        if let Some(member) = self.members.get_mut(&member) {
            member.answers.push(op);
        }
    }

    /// A member's replica is of no use any more: the next tick sends a snapshot.
    pub fn handle_resync(&mut self, member: MemberId) {
        if let Some(member) = self.members.get_mut(&member) {
            member.baseline = Tick::ZERO;
            self.ticker.want();
        }
    }

    /// A member looks elsewhere, if this room lets it.
    pub fn handle_interest(&mut self, member: MemberId, interest: Interest) {
        let Some(member) = self.members.get_mut(&member) else { return };
        let is_free = self.spec.cameras == Cameras::Free || member.is_spectator();
        if is_free && self.state.places().is_some() {
            let camera = match interest {
                Interest::Own => None,
                Interest::At { x, y } => Some([x, y]),
            };
            member.look(camera);
            self.ticker.want();
        }
    }

    /// A member that was passed over takes more again.
    pub fn handle_drained(&mut self, member: MemberId) {
        if self.members.contains_key(&member) {
            self.ticker.want();
        }
    }

    /// One step: inputs, logic, and on a send tick the state to everybody.
    pub fn tick(
        &mut self,
        now: Timestamp,
        broadcast: &mut Broadcast,
        outboxes: &mut impl Outboxes,
    ) -> TickReport {
        let halves = broadcast.load_level() >= LoadLevel::Sends;
        self.ticker.set_sends(if halves { Sends::EveryOther } else { Sends::All });
        let lateness = self.ticker.begin(now);
        self.record_tick(now);
        debug_assert_eq!(self.ticker.tick(), self.state.building(), "{}: one count", self.key);
        let mut lap = self.stopwatch.start();
        self.take_inputs(broadcast.member_scratch());
        self.spent.add(Phase::Inputs, lap.split());
        let next = self.call(Call::Tick, |logic, context| logic.on_tick(context));
        self.spent.add(Phase::Logic, lap.split());
        if let Some(panicked) = &self.panicked {
            return TickReport { lateness, fate: Fate::Fails(panicked.clone().into()) };
        }
        let mut fate = match next {
            Some(Next::Close) | None => Fate::Ends,
            Some(_) if self.ticker.tick() >= Tick::MAX => Fate::Ends,
            Some(Next::Tick | Next::Sleep | Next::WakeIn(_)) => Fate::Continues,
        };
        match next {
            Some(Next::Sleep) => self.sleep(None),
            Some(Next::WakeIn(time)) => self.sleep(Some(time)),
            Some(Next::Tick | Next::Close) | None => {}
        }
        if let Some(rewind) = &mut self.rewind {
            rewind.note(&self.state);
        }
        // Whoever sleeps leaves nothing untold.
        if self.ticker.is_send_tick() || self.ticker.is_asleep() {
            let idle_states = self.idle_states.saturating_add(1);
            self.idle_states = if self.state.is_sent() { idle_states } else { 0 };
            let with_hash = now.saturating_since(self.hashed_at) >= HASH_EVERY;
            if with_hash {
                self.hashed_at = now;
            }
            self.look_for_silence(now);
            let states_waiting_max = self.spec.cadence.sends_per_second();
            let occasion = Occasion { previous: self.sent, with_hash, states_waiting_max };
            let (state, events) = (&mut self.state, &mut self.events);
            let mut content = Content { state, events, window: &mut self.window };
            let members = &mut self.members;
            let sent = if content.state.places().is_some() {
                let steps = u8::from(broadcast.load_level() >= LoadLevel::FarCells);
                let settings = ViewSettings { limits: self.spec.sight, steps };
                broadcast.send_views(&mut content, members, occasion, settings, outboxes)
            } else {
                broadcast.send(content, members, occasion, outboxes)
            };
            match sent {
                Ok(deferred) if deferred => self.ticker.want(),
                Ok(_) => {}
                Err(oversized) => fate = Fate::Fails(oversized.into()),
            }
            self.show_late(now, with_hash, outboxes);
            self.sent = self.state.building();
            self.state.mark_sent();
            self.events.mark_sent();
            if !self.has_shown_all() {
                // A room without a rate has no other reason to go on.
                self.ticker.want();
            }
        }
        self.spent.add(Phase::Encode, lap.split());
        self.state.advance();
        self.record_outcome();
        #[cfg(debug_assertions)]
        self.state.check_invariants();
        TickReport { lateness, fate }
    }

    /// The member that is the host: the one who is here longest.
    #[must_use]
    pub fn host(&self) -> Option<MemberId> {
        self.host
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

    /// What was said in the room.
    #[must_use]
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    /// The panic of the logic, if it had one. The room cannot go on.
    #[must_use]
    pub fn panicked(&self) -> Option<&Panicked> {
        self.panicked.as_ref()
    }

    /// The panic of the logic with its circumstances, if it had one.
    #[must_use]
    pub fn failure_record(&self) -> Option<FailureRecord> {
        let panicked = self.panicked.clone()?;
        Some(FailureRecord {
            room: self.key.clone(),
            seed: self.seed,
            tick: self.state.building(),
            members_count: self.members.len(),
            panicked,
        })
    }

    /// The last tick whose state was broadcast.
    #[must_use]
    pub fn sent(&self) -> Tick {
        self.sent
    }

    /// Calls the logic, unless it panicked before. `None` when it did, now or then.
    fn call<T>(
        &mut self,
        what: Call<'_>,
        call: impl FnOnce(&mut dyn RoomLogic, &mut Context<'_>) -> T,
    ) -> Option<T> {
        if self.panicked.is_some() {
            return None;
        }
        let mut context = Context {
            state: &mut self.state,
            events: &mut self.events,
            host: self.host,
            rng: &mut self.rng,
            members: &self.members,
            admission: &mut self.admission,
            tick_us: self.ticker.clock().tick_us,
            rewind: self.rewind.as_ref(),
            seen: self.seen,
        };
        let logic = &mut *self.logic;
        let message = match guard(|| call(logic, &mut context)) {
            Ok(answer) => return Some(answer),
            Err(message) => message,
        };
        self.panicked = Some(Panicked::new(message, what, &self.spec.schema));
        None
    }

    /// What the logic's answer means; without one, it has panicked. What it denies changes no state,
    /// but it may say why: that wants a tick, too.
    fn allowed(&mut self, answer: Option<Result<(), Denial>>) -> Result<(), Refusal> {
        let failed = || Err(Denial { message: "the room has failed".to_owned() });
        let Err(Denial { message }) = answer.unwrap_or_else(failed) else { return Ok(()) };
        if self.events.has_unsent() {
            self.ticker.want();
        }
        Err(Refusal::new(RefusalCode::Denied, message))
    }

    fn set_host(&mut self, host: Option<MemberId>) {
        self.host = host;
        self.call(Call::Host(host), |logic, room| logic.on_host(room, host));
    }

    fn take_inputs(&mut self, scratch: &mut Vec<MemberId>) {
        if self.spec.schema.input().row_bytes() == 0 {
            return;
        }
        scratch.clear();
        let players = self.members.iter().filter(|(_, member)| !member.is_spectator());
        scratch.extend(players.map(|(id, _)| *id));
        for id in scratch.iter() {
            let Some(member) = self.members.get_mut(id) else { continue };
            let inputs = member.inputs.take_tick();
            for (row, freshness) in inputs.iter().flatten() {
                self.seen = row.seen();
                let row = row.bytes();
                let call = Call::Input(*id, row);
                self.call(call, |logic, room| logic.on_input(room, *id, row, *freshness));
            }
        }
        self.seen = Moment::ZERO;
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
