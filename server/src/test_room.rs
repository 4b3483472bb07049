//! A room in a test: real, but without sockets, threads and clocks.
//!
//! ```text
//! test -> TestRoom -> Client (replica) <== frames ==> Shard -> your RoomLogic
//! ```
//!
//! A [`TestRoom`] is a whole server with one room. Members are real clients: what they say and
//! hear is encoded, framed, decoded and checked as over a socket, so a test proves what production
//! does. Time is a number that only [`TestRoom::tick`] and [`TestRoom::advance`] move.
//!
//! It is a tool for tests, so misuse panics and says what was wrong.
//!
//! ```
//! use tickloom_server::protocol::ids::{ComponentId, EntityId};
//! use tickloom_server::protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
//! use tickloom_server::{Context, Next, RoomLogic, RoomSpec, TestRoom, room_type};
//!
//! /// Counts its ticks.
//! #[derive(Default)]
//! struct Counter(f64);
//!
//! impl RoomLogic for Counter {
//!     fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
//!         self.0 += 1.0;
//!         room.state_mut().set_numbers(ComponentId(0), EntityId::ROOM, &[self.0]);
//!         Next::Tick
//!     }
//! }
//!
//! let count = ComponentDesc::packed("count", vec![FieldDesc::new("ticks", FieldType::U32)])?;
//! let spec = RoomSpec::at_rate(20, RoomSchema::new(vec![count], vec![])?);
//! let mut room = TestRoom::new(room_type("counter", spec, Counter::default)).seed(7);
//! let ann = room.join("ann");
//! room.ticks(3);
//! assert_eq!(room.number(ann, EntityId::ROOM, ("count", "ticks")), Some(3.0));
//! room.assert_converged();
//! # Ok::<(), tickloom_server::protocol::schema::SchemaError>(())
//! ```

mod client;
pub mod comparison;
mod knowledge;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::client_message::{ClientMessage, Interest, Join};
use tickloom_protocol::ids::{EntityId, MemberId, OpId, RoomKey, Tick, TopicId};
use tickloom_protocol::schema::FieldId;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use crate::allowance::Allowance;
use crate::config::Config;
use crate::outbox::OutboxLimits;
use crate::room::Room;
use crate::room::failure::FailureRecord;
use crate::room::logic::RoomType;
use crate::room::state::State;
use crate::rooms::RoomTypes;
use crate::session::{NO_SOCKET, SessionId};
use crate::shard::seating::ROOM_SEED_STEP;
use crate::shard::{Echo, Effect, Shard, ShardConfig};
use crate::test_room::client::TestClient;

/// Rounds of talk between the clients and the server at one moment, before one of them is called
/// broken. A handshake takes three.
const ROUNDS_MAX: usize = 1_000;

/// One room, its server and its members.
pub struct TestRoom {
    key: RoomKey,
    room_types: RoomTypes,
    outbox: OutboxLimits,
    shard: Shard,
    now: Timestamp,
    /// By the position in their handles.
    clients: Vec<TestClient>,
    /// Connections that others took over and that are not closed yet.
    ghosts: Vec<SessionId>,
    failure: Option<FailureRecord>,
}

/// Somebody who has, or had, a seat in a [`TestRoom`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TestMember {
    position: usize,
    id: MemberId,
    entity: EntityId,
}

impl TestMember {
    /// The member id the room gave.
    #[must_use]
    pub fn id(self) -> MemberId {
        self.id
    }

    /// The entity that is the member's own.
    #[must_use]
    pub fn entity(self) -> EntityId {
        self.entity
    }
}

/// Something a member heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestEvent {
    /// On which topic.
    pub topic: String,
    /// By whom; [`MemberId::SERVER`] when the room's logic said it.
    pub from: MemberId,
    /// Whether it was said to this member and not to everybody.
    pub is_private: bool,
    /// What.
    pub body: Vec<u8>,
}

/// Something the server refused a member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TestRefusal {
    /// Why, for programs.
    pub code: RefusalCode,
    /// Why, for people.
    pub message: String,
    /// Which write or publication; [`OpId::NONE`] when it was something else.
    pub op: OpId,
}

impl TestRoom {
    /// A room of this type that nobody has joined yet, with seed 0. As in production, the first
    /// joiner makes the room.
    ///
    /// # Panics
    /// When the room type's name is not 1 to 64 bytes without control characters.
    #[must_use]
    pub fn new(room_type: impl RoomType + 'static) -> Self {
        let key = RoomKey::parse(room_type.name(), "test");
        let key = key.expect("a room type's name is 1 to 64 bytes without control characters");
        let room_types = RoomTypes::default().with(room_type);
        let outbox = OutboxLimits { soft_bytes_max: 0, ..Config::loopback().outbox };
        let shard = Self::shard(&room_types, outbox, 0);
        let now = Timestamp(1_000_000);
        let (clients, ghosts) = (Vec::new(), Vec::new());
        Self { key, room_types, outbox, shard, now, clients, ghosts, failure: None }
    }

    /// The same room with this seed, which is also what a [`FailureRecord`] and the files about
    /// failures name. Same seed and same calls, same room.
    ///
    /// # Panics
    /// When somebody has joined.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        assert!(self.clients.is_empty(), "a seed comes before the first member");
        self.shard = Self::shard(&self.room_types, self.outbox, seed);
        self
    }

    fn shard(room_types: &RoomTypes, outbox: OutboxLimits, seed: u64) -> Shard {
        let config = Config::loopback();
        Shard::new(ShardConfig {
            allowance: Allowance::UNLIMITED,
            echo: Echo::Disabled,
            outbox,
            rooms_max: 1,
            // The first room of the shard gets the seed that was asked for.
            seed: seed.wrapping_sub(ROOM_SEED_STEP),
            ..ShardConfig::alone(&config, room_types.clone())
        })
    }

    // ---- members -------------------------------------------------------------------------------

    /// Gives somebody of this name a seat.
    ///
    /// # Panics
    /// When the room refuses.
    pub fn join(&mut self, name: &str) -> TestMember {
        self.join_with(name, &[])
    }

    /// Gives somebody a seat who sends these options, at most 16 KiB.
    ///
    /// # Panics
    /// When the room refuses.
    pub fn join_with(&mut self, name: &str, options: &[u8]) -> TestMember {
        self.try_join(name, options).unwrap_or_else(|refusal| {
            panic!("{name} may not join {}: {} ({:?})", self.key, refusal.message, refusal.code)
        })
    }

    /// Asks for a seat.
    ///
    /// # Errors
    /// What the server said.
    ///
    /// # Panics
    /// When it closed the connection instead, for a name over 64 bytes or options over 16 KiB.
    pub fn try_join(&mut self, name: &str, options: &[u8]) -> Result<TestMember, TestRefusal> {
        self.enter(Join { name, options, ..Join::default() })
    }

    /// Lets somebody of this name watch.
    ///
    /// # Panics
    /// When the room refuses.
    pub fn watch(&mut self, name: &str) -> TestMember {
        self.enter(Join { name, spectate: true, ..Join::default() }).unwrap_or_else(|refusal| {
            panic!("{name} may not watch {}: {} ({:?})", self.key, refusal.message, refusal.code)
        })
    }

    fn enter(&mut self, join: Join<'_>) -> Result<TestMember, TestRefusal> {
        let name = join.name;
        let position = self.clients.len();
        let session = self.shard.handle_accept(self.now, NO_SOCKET);
        self.clients.push(TestClient::new(session, name));
        self.pump();
        let (room_type, room) = (&*self.key.room_type, &*self.key.room);
        self.clients[position].client.join(Join { room_type, room, ..join });
        self.pump();
        let client = &mut self.clients[position];
        if let Some(reason) = &client.closed {
            panic!("the server closed the connection of {name}: {reason}");
        }
        let Some(seat) = client.client.seat() else {
            let refusal = client.refusals.pop().expect("a join is answered");
            self.drop_client(position);
            return Err(refusal);
        };
        Ok(TestMember { position, id: seat.member, entity: seat.entity })
    }

    /// The member gives its seat back.
    ///
    /// # Panics
    /// When it has none any more.
    pub fn leave(&mut self, member: TestMember) {
        self.seated(member).client.leave();
        self.pump();
    }

    /// The member's connection breaks. Its seat is kept for the room's grace, 20 s unless its type
    /// says otherwise.
    pub fn drop_connection(&mut self, member: TestMember) {
        let _ = self.client(member);
        self.drop_client(member.position);
    }

    /// The member comes back to its seat over another connection, with what it knew and had heard;
    /// the connection it had is taken over if it is still there. Says whether it missed nothing of
    /// what was said.
    ///
    /// # Panics
    /// When its seat is gone, or when the room keeps none.
    pub fn resume(&mut self, member: TestMember) -> bool {
        let before = &mut self.clients[member.position];
        let name = before.name.clone();
        let Some(returning) = before.client.part() else { panic!("{name} has no ticket") };
        let session = self.shard.handle_accept(self.now, NO_SOCKET);
        let client = TestClient::new(session, &name);
        let before = self.clients[member.position].reconnect(client);
        self.ghosts.extend(before);
        self.pump();
        self.clients[member.position].client.resume(returning);
        self.pump();
        let seat = self.clients[member.position].client.seat();
        let Some(seat) = seat.filter(|seat| seat.is_resumed) else {
            panic!("the seat of {name} is gone")
        };
        seat.is_recovered
    }

    /// From now on the member's socket takes nothing: it hears nothing, and the room passes it
    /// over as soon as something is queued for it. What it says still arrives. As in production,
    /// the server closes it after 20 to 45 s.
    ///
    /// # Panics
    /// When it has no seat any more.
    pub fn stall(&mut self, member: TestMember) {
        self.seated(member).is_stalled = true;
    }

    /// The member's socket takes everything again. What it missed comes with the next tick.
    pub fn unstall(&mut self, member: TestMember) {
        let client = &mut self.clients[member.position];
        client.is_stalled = false;
        if let Some(session) = client.session {
            self.shard.list_for_flush(session);
        }
        self.pump();
    }

    // ---- what members do -----------------------------------------------------------------------

    /// What the member does, by the names of the room's input fields. Fields that are not named
    /// are 0, and numbers beyond a field's range its nearest end. It waits for the next tick, and
    /// a tick takes one input of each member.
    ///
    /// # Panics
    /// When there is no such field or no seat any more.
    pub fn input(&mut self, member: TestMember, fields: &[(&str, f64)]) {
        let schema = self.replica(member).entities().schema();
        let layout = schema.input();
        let mut row = vec![0; layout.row_bytes()];
        for (index, _) in layout.fields().enumerate() {
            layout.write(&mut row, FieldId(index as u8), 0.0);
        }
        for (name, number) in fields {
            let field = layout.field(name).unwrap_or_else(|| {
                let names: Vec<_> = layout.fields().map(|field| &*field.name).collect();
                panic!("{} has no input field {name:?}, only {names:?}", self.key)
            });
            layout.write(&mut row, field, *number);
        }
        self.input_row(member, &row);
    }

    /// What the member does, as a row or whatever else a client may send instead of one.
    ///
    /// # Panics
    /// When it has no seat any more.
    pub fn input_row(&mut self, member: TestMember, row: &[u8]) {
        self.seated(member).client.input(row);
        self.pump();
    }

    /// The member changes the room's state. The answer is in [`TestRoom::accepted`] or
    /// [`TestRoom::refusals`], under the number that this returns.
    ///
    /// # Panics
    /// When it has no seat any more.
    pub fn write(&mut self, member: TestMember, changes: &ChangesBuilder) -> OpId {
        self.write_if(member, changes, Tick::ZERO)
    }

    /// The member changes the room's state unless something it touches changed after this tick.
    ///
    /// # Panics
    /// When it has no seat any more.
    pub fn write_if(&mut self, member: TestMember, changes: &ChangesBuilder, tick: Tick) -> OpId {
        let op = self.seated(member).client.write_if(changes, tick);
        self.pump();
        op
    }

    /// The member says something to everybody; answered as [`TestRoom::write`] is.
    ///
    /// # Panics
    /// When the room has no such topic or the member no seat any more.
    pub fn publish(&mut self, member: TestMember, topic: &str, body: &[u8]) -> OpId {
        self.publish_to(member, topic, &[], body)
    }

    /// The member says something to these members, at most 64; to everybody without any.
    ///
    /// # Panics
    /// When the room has no such topic or the member no seat any more.
    pub fn publish_to(
        &mut self,
        member: TestMember,
        topic: &str,
        to: &[TestMember],
        body: &[u8],
    ) -> OpId {
        let topic = self.topic(member, topic);
        let to: Vec<MemberId> = to.iter().map(|member| member.id).collect();
        let op = self.seated(member).client.publish(topic, &to, body);
        self.pump();
        op
    }

    /// The member of a room with interest looks at a place, or at its own entity without one. It
    /// shows with the next tick, if the room lets the member.
    ///
    /// # Panics
    /// When it has no seat any more.
    pub fn look(&mut self, member: TestMember, camera: Option<[f32; 2]>) {
        let interest = camera.map_or(Interest::Own, |[x, y]| Interest::At { x, y });
        self.seated(member).client.send(ClientMessage::Interest(interest));
        self.pump();
    }

    // ---- time ----------------------------------------------------------------------------------

    /// Moves the clock to the room's next tick. Says whether there was one: an empty room has
    /// none, nor has one without a rate in which nothing changed.
    pub fn tick(&mut self) -> bool {
        let seated = self.room().filter(|room| !room.members().is_empty());
        let Some(due) = seated.and_then(Room::next_due) else { return false };
        self.advance_to(self.now.max(due));
        true
    }

    /// Ticks this often, or until there is no tick any more. Says how often.
    pub fn ticks(&mut self, count: u32) -> u32 {
        (0..count).take_while(|_| self.tick()).count() as u32
    }

    /// Moves the clock by this time, to the microsecond. The room ticks whenever it is due, and
    /// what has lasted too long ends: a stalled member's connection, and after 10 s an empty room.
    pub fn advance(&mut self, time: Duration) {
        self.advance_to(self.now + time);
    }

    fn advance_to(&mut self, end: Timestamp) {
        let mut rounds = 0;
        while let Some(due) = self.shard.next_due().filter(|due| *due <= end) {
            rounds = if due > self.now { 0 } else { rounds + 1 };
            assert!(rounds < ROUNDS_MAX, "{} wants ever more ticks at one moment", self.key);
            self.now = self.now.max(due);
            self.shard.handle_timeout(self.now);
            self.pump();
        }
        self.now = end;
    }

    /// The time that has passed since the room could be joined.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.saturating_since(Timestamp(1_000_000))
    }

    // ---- the room ------------------------------------------------------------------------------

    /// The room's state.
    ///
    /// # Panics
    /// When there is no room: nobody has joined yet, or it has ended or failed.
    #[must_use]
    pub fn state(&self) -> &State {
        self.expect_room().state()
    }

    /// The member that is the host: the one who is here longest.
    #[must_use]
    pub fn host(&self) -> Option<MemberId> {
        self.room().and_then(Room::host)
    }

    /// How the room's logic panicked, if it did. Its members are closed with 1011.
    #[must_use]
    pub fn panicked(&self) -> Option<&FailureRecord> {
        self.failure.as_ref()
    }

    // ---- the server ----------------------------------------------------------------------------

    /// Lets clients and server talk until both have said everything.
    fn pump(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut talked = false;
            for position in 0..self.clients.len() {
                let output = self.clients[position].client.take_output();
                if let Some(session) = self.clients[position].session
                    && !output.is_empty()
                {
                    self.shard.handle_bytes(self.now, session, &output);
                    self.obey();
                    talked = true;
                }
            }
            while let Some(session) = self.shard.poll_flush() {
                let Some(outbox) = self.shard.outbox(session) else { continue };
                if self.ghosts.contains(&session) {
                    // Nobody reads what it is told.
                    let sent = outbox.bytes();
                    self.shard.handle_sent(self.now, session, sent);
                    talked |= self.obey();
                    continue;
                }
                let mut client = self.clients.iter_mut();
                let client = client.find(|client| client.session == Some(session));
                let client = client.expect("every session has its client");
                if client.is_stalled {
                    self.shard.handle_blocked(session);
                    continue;
                }
                let mut buffer = vec![0; outbox.bytes()];
                let sent = outbox.copy_front(&mut buffer);
                if sent > 0 {
                    client.handle_bytes(&buffer);
                    self.shard.handle_sent(self.now, session, sent);
                    self.obey();
                    talked = true;
                }
            }
            talked |= self.obey();
            if !talked {
                return;
            }
        }
        panic!("clients and server never stop talking");
    }

    /// Does what the shard asks for; says whether that was anything.
    fn obey(&mut self) -> bool {
        let mut any = false;
        while let Some(effect) = self.shard.poll_effect() {
            any = true;
            match effect {
                // The other end of a socket that was shut down closes it.
                Effect::ShutDown(session) => self.shard.handle_disconnect(self.now, session),
                Effect::Close(session) => {
                    self.ghosts.retain(|ghost| *ghost != session);
                    let mut clients = self.clients.iter_mut();
                    if let Some(client) = clients.find(|client| client.session == Some(session)) {
                        client.session = None;
                    }
                }
                // What members say arrives at once.
                Effect::Read(..) => {}
                Effect::Recording(_) => unreachable!("nothing is recorded without a folder"),
                Effect::Record(record) => self.failure = Some(*record),
                Effect::Deliver { .. } => unreachable!("there is one shard"),
                Effect::HandOver { .. } => unreachable!("clients here ask for WebSocket"),
            }
        }
        any
    }

    fn drop_client(&mut self, position: usize) {
        if let Some(session) = self.clients[position].session.take() {
            self.shard.handle_broken(self.now, session);
            self.pump();
        }
    }

    fn room(&self) -> Option<&Room> {
        let rooms = self.shard.rooms();
        rooms.get(rooms.find(&self.key)?)
    }

    fn expect_room(&self) -> &Room {
        self.room().unwrap_or_else(|| match &self.failure {
            Some(record) => panic!("{} has failed: {}", self.key, record.panicked),
            None => panic!("there is no room {}: nobody has joined, or it has ended", self.key),
        })
    }

    fn client(&self, member: TestMember) -> &TestClient {
        self.clients.get(member.position).expect("the member is of this room")
    }

    /// The client of a member that can do something.
    fn seated(&mut self, member: TestMember) -> &mut TestClient {
        let client = self.clients.get_mut(member.position).expect("the member is of this room");
        let name = &client.name;
        match (&client.closed, &self.failure) {
            (Some(reason), Some(record)) => {
                panic!("{name} was closed: {reason}: {}", record.panicked)
            }
            (Some(reason), None) => panic!("{name} was closed: {reason}"),
            (None, _) => {}
        }
        assert!(client.session.is_some(), "the connection of {name} has ended");
        assert!(client.client.seat().is_some(), "{name} has left the room");
        client
    }

    fn topic(&self, member: TestMember, name: &str) -> TopicId {
        let schema = self.replica(member).entities().schema();
        schema.topic(name).unwrap_or_else(|| {
            let names: Vec<_> = schema.topics().iter().map(|topic| &*topic.name).collect();
            panic!("{} has no topic {name:?}, only {names:?}", self.key)
        })
    }
}

impl std::fmt::Debug for TestRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestRoom")
            .field("key", &self.key)
            .field("elapsed", &self.elapsed())
            .field("room", &self.room())
            .finish_non_exhaustive()
    }
}
