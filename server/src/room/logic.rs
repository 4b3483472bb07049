//! What a room does, as opposed to how it is kept: the trait a game implements.
//!
//! A [`RoomLogic`] lives on one shard, so it needs no locks and need not be `Send`. Its
//! [`Context`] is the only source of time, randomness, state and members; logic that uses
//! nothing else (and iterates in order, never over a `HashMap`) gives the same state for the
//! same inputs and seed on every run.
//!
//! ```text
//! on_create -> on_join -+-> on_input (one per member and tick, now and then two) -> on_tick --+
//!                 ^     |                                                                     |
//!                 |     '-- on_write, on_publish (when they arrive) -- on_leave -- on_host <--+
//!                 |                             (when a connection breaks) on_drop, on_return <--'
//!                 '---------------------------------------------------------------------------'
//! ```
//!
//! Every change of the [`State`] is stamped with the tick under construction and goes out when
//! that tick ends. A room without a rate ticks when somebody came or left, or when a write or a
//! publication was allowed. What a hook changes before it *denies* something waits for the next
//! tick, so it should change nothing; [`TestRoom`](crate::test_room::TestRoom) finds those that do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::changes::Change;
use tickloom_protocol::client_message::{Configure, Publish};
use tickloom_protocol::ids::{EntityId, MemberId, Moment, RoomKey, Tick, TopicId};
use tickloom_protocol::schema::{FieldId, RoomSchema};

use crate::properties::Properties;
use crate::rate::Rate;
use crate::recording::Recording;
use crate::room::admission::Admission;
use crate::room::events::EventLog;
use crate::room::member::Member;
use crate::room::rewind::{Rewind, RewindSpec, View};
use crate::room::sight::SightLimits;
use crate::room::state::State;

/// What rooms of one type have in common, and how to make one. Shared by all shards.
pub trait RoomType: Send + Sync {
    /// What clients call it in `Join`.
    fn name(&self) -> &str;

    /// What a room of this type is made of.
    fn spec(&self) -> RoomSpec;

    /// What a new room is made of, whose first joiner sends these options.
    ///
    /// # Errors
    /// Why there is no such room.
    fn spec_for(&self, _options: &[u8]) -> Result<RoomSpec, Denial> {
        Ok(self.spec())
    }

    /// Whether a first joiner may say what its room is made of, so that [`RoomType::spec`] is only
    /// what rooms are made of when it does not.
    fn is_described_by_joiners(&self) -> bool {
        false
    }

    /// The logic of one new room.
    fn create(&self) -> Box<dyn RoomLogic>;
}

/// A room type whose rooms are all made of the same, from its parts: what clients call it in
/// `Join`, what its rooms are made of, and how the logic of a new one begins. Types whose rooms
/// differ by the first joiner's options implement [`RoomType`].
pub fn room_type<L: RoomLogic + 'static>(
    name: &str,
    spec: RoomSpec,
    create: impl Fn() -> L + Send + Sync + 'static,
) -> impl RoomType + 'static {
    Uniform { name: name.into(), spec, create }
}

/// What [`room_type`] makes.
struct Uniform<F> {
    name: Box<str>,
    spec: RoomSpec,
    create: F,
}

impl<F: Fn() -> L + Send + Sync, L: RoomLogic + 'static> RoomType for Uniform<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn spec(&self) -> RoomSpec {
        self.spec.clone()
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new((self.create)())
    }
}

/// What a room is made of. [`RoomSpec::at_rate`] and [`RoomSpec::on_change`] fill in what a room of
/// some dozens of members needs.
#[derive(Clone, Debug)]
pub struct RoomSpec {
    /// When it ticks.
    pub cadence: Cadence,
    /// Seats.
    pub members_max: usize,
    /// Places for those who only watch; none unless the type says so, because what everybody sees
    /// in a room is then seen by those, too, whom [`RoomLogic::on_join`] has not let in.
    pub spectators_max: usize,
    /// How much later spectators see what happens; zero for at once. For rooms that tick at a rate
    /// and send everybody everything.
    pub spectator_delay: Duration,
    /// How often a member may change its own entity, and nothing else, with a write; as often as
    /// it likes when absent. Where thousands move cursors at once, each need not at every tick.
    pub presence_rate: Option<Rate>,
    /// Entities, the room itself included.
    pub entities_max: usize,
    /// Events kept for members who fall behind or come late.
    pub events_max: usize,
    /// Bytes of events kept.
    pub events_bytes_max: usize,
    /// Whether what is sent to many is compressed, for members who take it.
    pub compression: Compression,
    /// How much of a room with interest members are sent.
    pub sight: SightLimits,
    /// Where members of a room with interest may look.
    pub cameras: Cameras,
    /// Whether new rooms are shown to those who do not know their names, until their host or
    /// their logic says otherwise.
    pub is_listed: bool,
    /// How long a room without members keeps its state; as the server's configuration says when
    /// absent.
    pub linger: Option<Duration>,
    /// Whether its time may run slower than real time.
    pub dilation: Dilation,
    /// What is kept of its rooms, where the server has a place for it.
    pub record: Recording,
    /// What it remembers of where things were, for [`Context::rewind`].
    pub rewind: Option<RewindSpec>,
    /// How long the seat of a member is kept whose connection broke; zero not at all. Absent, as
    /// the server is configured (`room.grace`).
    pub grace: Option<Duration>,
    /// Components, inputs and topics.
    pub schema: Arc<RoomSchema>,
}

/// Whether a room's time may run slower than real time when its server has more to do than time.
/// The length of a tick is the same for the room's logic, and its clients are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dilation {
    /// It may not: ticks slip when nothing else helps.
    Never,
    /// It may, down to a quarter.
    Allowed,
}

/// Whether what a room sends is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compression {
    /// It is not. Rows are packed already, and a frame of moved entities keeps nine tenths of its
    /// bytes.
    Off,
    /// What is the same for several members is, once for all of them. Text and JSON keep a third
    /// of their bytes.
    On,
}

/// Where members of a room with interest may look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Cameras {
    /// At their own entities: whoever could look elsewhere would see through walls.
    #[default]
    Own,
    /// Wherever they like.
    Free,
}

/// When a room ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cadence {
    /// At a fixed rate, whatever happens.
    Fixed {
        /// Ticks per second, 1 to 128.
        tick_rate_hz: u32,
        /// State is sent every this many ticks, 1 to 255.
        send_every: u8,
    },
    /// When something changed: at once, and then not before this interval is over. A room in
    /// which nothing happens costs nothing.
    OnChange {
        /// From one tick to the next, at least.
        interval: Duration,
    },
}

impl Cadence {
    /// From one tick to the next, at least.
    #[must_use]
    pub fn interval(self) -> Duration {
        match self {
            Self::Fixed { tick_rate_hz, .. } => Duration::from_secs(1) / tick_rate_hz,
            Self::OnChange { interval } => interval,
        }
    }

    /// How often state is sent per second at most, and at least once.
    #[must_use]
    pub fn sends_per_second(self) -> u32 {
        let rate_hz = match self {
            Self::Fixed { tick_rate_hz, send_every } => tick_rate_hz / u32::from(send_every),
            Self::OnChange { interval } => 1_000 / interval.as_millis().max(1) as u32,
        };
        rate_hz.max(1)
    }
}

impl Compression {
    /// What suits a room that says nothing else: those that tick at a rate are games.
    #[must_use]
    pub fn of(cadence: Cadence) -> Self {
        match cadence {
            Cadence::Fixed { .. } => Self::Off,
            Cadence::OnChange { .. } => Self::On,
        }
    }
}

impl RoomSpec {
    /// The slowest rate a room may tick at, in Hz.
    pub const TICK_RATE_HZ_MIN: u32 = 1;
    /// The latest that spectators may be shown a room.
    pub const SPECTATOR_DELAY_MAX: Duration = Duration::from_secs(300);
    /// The fastest rate a room may tick at, in Hz.
    pub const TICK_RATE_HZ_MAX: u32 = 128;

    /// A room that ticks at a fixed rate, 1 to 128 Hz, and sends its state each time.
    #[must_use]
    pub fn at_rate(tick_rate_hz: u32, schema: impl Into<Arc<RoomSchema>>) -> Self {
        Self::new(Cadence::Fixed { tick_rate_hz, send_every: 1 }, schema.into())
    }

    /// A room that ticks when something changed, at most once per `interval`.
    #[must_use]
    pub fn on_change(interval: Duration, schema: impl Into<Arc<RoomSchema>>) -> Self {
        Self::new(Cadence::OnChange { interval }, schema.into())
    }

    pub(crate) fn new(cadence: Cadence, schema: Arc<RoomSchema>) -> Self {
        Self {
            compression: Compression::of(cadence),
            // Strangers look for games, and know what they want to read or write.
            is_listed: matches!(cadence, Cadence::Fixed { .. }),
            linger: None,
            cadence,
            members_max: 128,
            spectators_max: 0,
            spectator_delay: Duration::ZERO,
            presence_rate: None,
            entities_max: 4096,
            events_max: 256,
            events_bytes_max: 64 * 1024,
            sight: SightLimits::default(),
            cameras: Cameras::default(),
            dilation: Dilation::Never,
            record: Recording::Off,
            rewind: None,
            grace: None,
            schema,
        }
    }

    /// Whether rooms like this can be shown late, if they are to be.
    pub(crate) fn check_delay(&self, key: &RoomKey) {
        let delay = self.spectator_delay;
        assert!(delay <= Self::SPECTATOR_DELAY_MAX, "{key}: {delay:?} is too late for anybody");
        let has_rate = matches!(self.cadence, Cadence::Fixed { .. });
        let is_whole = self.schema.interest().is_none();
        assert!(
            delay.is_zero() || has_rate,
            "{key}: nothing is due later in a room without a rate"
        );
        assert!(delay.is_zero() || is_whole, "{key}: views of a room with interest are not kept");
    }

    /// Microseconds from one tick to the next; 0 without a rate.
    #[must_use]
    pub const fn tick_us(&self) -> u32 {
        match self.cadence {
            Cadence::Fixed { tick_rate_hz, .. } => 1_000_000 / tick_rate_hz,
            Cadence::OnChange { .. } => 0,
        }
    }

    /// Seconds from one tick to the next; 0 without a rate.
    #[must_use]
    pub const fn tick_seconds(&self) -> f32 {
        self.tick_us() as f32 / 1e6
    }
}

/// The behaviour of one room. Each function has a default that does nothing or allows everything.
///
/// It runs between two packets of everybody else on its core, so it should take microseconds and
/// never wait: no files, no sockets, no locks. A panic ends the room and no other: its members'
/// connections close with 1011, the logic is not called again, and what it was called for is kept
/// as a [`FailureRecord`](crate::room::failure::FailureRecord).
pub trait RoomLogic {
    /// The room was made for its first joiner.
    fn on_create(&mut self, _room: &mut Context<'_>) {}

    /// Somebody wants a seat; `joiner.entity` was spawned for them. A refusal despawns it.
    ///
    /// # Errors
    /// Why they do not get one.
    fn on_join(&mut self, _room: &mut Context<'_>, _joiner: &Joiner<'_>) -> Allowed {
        Ok(())
    }

    /// Somebody wants to watch; their entity is the room's own, and they are no member.
    ///
    /// # Errors
    /// Why they may not.
    fn on_spectate(&mut self, _room: &mut Context<'_>, _watcher: &Joiner<'_>) -> Allowed {
        Ok(())
    }

    /// What a member does in this tick: a row in the room's input layout, which
    /// [`Context::input`] reads. Called once per member that sends inputs, or twice when many
    /// wait, before [`RoomLogic::on_tick`]; without a new one for at most 8 ticks with the last.
    fn on_input(
        &mut self,
        _room: &mut Context<'_>,
        _member: MemberId,
        _row: &[u8],
        _freshness: Freshness,
    ) {
    }

    /// A member's write, which its components' policies allow and which fits the room, is about
    /// to happen.
    ///
    /// # Errors
    /// Why it does not.
    fn on_write(
        &mut self,
        _room: &mut Context<'_>,
        _member: MemberId,
        _changes: &[Change<'_>],
    ) -> Allowed {
        Ok(())
    }

    /// A member's publication, which its topic's policy allows, is about to go out.
    ///
    /// # Errors
    /// Why it does not.
    fn on_publish(
        &mut self,
        _room: &mut Context<'_>,
        _member: MemberId,
        _publish: &Publish<'_>,
    ) -> Allowed {
        Ok(())
    }

    /// The host is about to change what the room is to newcomers. What it asks for is checked.
    ///
    /// # Errors
    /// Why it may not.
    fn on_configure(
        &mut self,
        _room: &mut Context<'_>,
        _host: MemberId,
        _configure: &Configure<'_>,
    ) -> Allowed {
        Ok(())
    }

    /// The host is about to send another member away.
    ///
    /// # Errors
    /// Why it may not.
    fn on_kick(&mut self, _room: &mut Context<'_>, _host: MemberId, _member: MemberId) -> Allowed {
        Ok(())
    }

    /// Another member is the host now: whoever is here longest. Nobody is when nobody is here.
    fn on_host(&mut self, _room: &mut Context<'_>, _host: Option<MemberId>) {}

    /// One step: of fixed length, or because something changed.
    fn on_tick(&mut self, _room: &mut Context<'_>) -> Next {
        Next::Tick
    }

    /// A member's connection broke, and its seat is kept for a while: it sends no inputs, and
    /// everything it owns stays. Either [`RoomLogic::on_return`] or [`RoomLogic::on_leave`] follows.
    fn on_drop(&mut self, _room: &mut Context<'_>, _member: MemberId) {}

    /// A member whose connection broke is back.
    fn on_return(&mut self, _room: &mut Context<'_>, _member: MemberId) {}

    /// A member left, or did not come back in time. Afterwards everything it owns is despawned.
    fn on_leave(&mut self, _room: &mut Context<'_>, _member: MemberId) {}

    /// Appends what the logic knows and its room's state does not show, in any form that is the
    /// same whenever that is: `{:?}` of its fields will do, if they have an order. Recordings
    /// check it, so that a replay that goes astray is noticed before it shows.
    fn save(&self, _output: &mut Vec<u8>) {}
}

/// Somebody who wants a seat.
#[derive(Clone, Copy, Debug)]
pub struct Joiner<'a> {
    /// The member id they would have.
    pub member: MemberId,
    /// The entity that would be theirs.
    pub entity: EntityId,
    /// What they want to be called; may be empty.
    pub name: &'a str,
    /// Bytes for the logic, checked by nobody yet.
    pub options: &'a [u8],
}

/// Why somebody does not get a seat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// One sentence for the player.
    pub message: String,
}

/// Whether a member may do something.
pub type Allowed = Result<(), Denial>;

impl Denial {
    /// A denial with one sentence for the player.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// Where an input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// The member sent it for this tick.
    Fresh,
    /// Nothing arrived in time; this is the member's last input again.
    Repeated,
}

/// What a room wants after a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Another tick.
    Tick,
    /// No ticks until somebody joins, leaves, acts, writes or publishes, and then the next tick as
    /// if no time had passed. A room that sleeps costs nothing. Inputs that wait are taken first.
    Sleep,
    /// The same, but no longer than this.
    WakeIn(Duration),
    /// To end: members are told and get no further state.
    Close,
}

/// A room from the inside.
pub struct Context<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) events: &'a mut EventLog,
    pub(crate) host: Option<MemberId>,
    pub(crate) rng: &'a mut fastrand::Rng,
    pub(crate) members: &'a BTreeMap<MemberId, Member>,
    pub(crate) admission: &'a mut Admission,
    pub(crate) tick_us: u32,
    pub(crate) rewind: Option<&'a Rewind>,
    pub(crate) seen: Moment,
}

impl Context<'_> {
    /// The tick under construction.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.state.building()
    }

    /// The length of a tick in seconds; 0 in a room without a rate.
    #[must_use]
    pub fn tick_seconds(&self) -> f32 {
        self.tick_us as f32 / 1e6
    }

    /// The room's only randomness, seeded when it was made.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        self.rng
    }

    /// The fields of an input row, in the order of the schema.
    ///
    /// # Panics
    /// When the room's inputs do not have exactly this many fields: a bug of the room's logic.
    #[must_use]
    #[inline]
    pub fn input<const FIELDS: usize>(&self, row: &[u8]) -> [f64; FIELDS] {
        let layout = self.state.schema().input();
        let count = layout.fields().len();
        assert_eq!(count, FIELDS, "the room's inputs have {count} fields");
        std::array::from_fn(|field| layout.read(row, FieldId(field as u8)))
    }

    /// The moment that the member saw whose input is being taken, within what the room remembers;
    /// the newest outside of [`RoomLogic::on_input`], and for clients that do not say.
    #[must_use]
    pub fn seen(&self) -> Moment {
        self.rewind(self.seen).moment()
    }

    /// The room as it was at this moment, or at the nearest that it remembers. Ticks are remembered
    /// when they are complete, so the newest moment is the tick before [`Context::tick`].
    #[must_use]
    pub fn rewind(&self, moment: Moment) -> View<'_> {
        View::new(self.state, self.rewind, moment)
    }

    /// The room's state.
    #[must_use]
    pub fn state(&self) -> &State {
        self.state
    }

    /// The room's state, to change it.
    pub fn state_mut(&mut self) -> &mut State {
        self.state
    }

    /// Says something to everybody, as the room itself. Says whether it goes out: there may be no
    /// such topic, the body may be over its limit, and a tick carries a bounded number of events.
    pub fn publish(&mut self, topic: TopicId, body: &[u8]) -> bool {
        self.events.publish(MemberId::SERVER, topic, body)
    }

    /// The member that is the host: the one who is here longest.
    #[must_use]
    pub fn host(&self) -> Option<MemberId> {
        self.host
    }

    /// Lets nobody else in, or does again. Seats that are kept for somebody stay theirs.
    pub fn set_locked(&mut self, is_locked: bool) {
        self.admission.set_locked(is_locked);
    }

    /// Shows the room to those who do not know its name, or no longer.
    pub fn set_listed(&mut self, is_listed: bool) {
        self.admission.set_listed(is_listed);
    }

    /// What the room says of itself in the list of rooms.
    #[must_use]
    pub fn metadata(&self) -> &Properties {
        self.admission.metadata()
    }

    /// Changes what the room says of itself in the list of rooms.
    pub fn set_metadata(&mut self, metadata: Properties) {
        self.admission.set_metadata(metadata);
    }

    /// Takes a member's seat away once the logic returns; its client is told why, in one sentence.
    pub fn kick(&mut self, member: MemberId, message: &str) {
        self.admission.send_away(member, message);
    }

    /// Everybody with a seat, in joining order.
    pub fn members(&self) -> impl Iterator<Item = MemberId> {
        let players = self.members.iter().filter(|(_, member)| !member.is_spectator());
        players.map(|(id, _)| *id)
    }

    /// Whether a member's connection broke and its seat is kept.
    #[must_use]
    pub fn is_away(&self, member: MemberId) -> bool {
        self.members.get(&member).is_some_and(Member::is_away)
    }

    /// The entity that is a member's own.
    #[must_use]
    pub fn entity_of(&self, member: MemberId) -> Option<EntityId> {
        let seat = self.members.get(&member).filter(|seat| !seat.is_spectator());
        seat.map(Member::entity)
    }
}
