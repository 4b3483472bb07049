//! A world too large to send whole: members walk about in it, and so do wanderers that the server
//! drives. Each member is sent the cells around its own entity.
//!
//! ```text
//! inputs -> intents -> players walk or leap --\
//!                                              > rows of whoever moved
//! whims  ----------->  wanderers walk --------/
//! ```
//!
//! Whoever makes a room may say how many wanderers it has, as JSON in `Join`:
//! `{"wanderers": 2000}`. Tables are vectors in a fixed order, so that the same seed and inputs
//! give the same world. A tick allocates nothing.

use std::f32::consts::TAU;

use serde::Deserialize;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::Configure;
use tickloom_protocol::ids::{EntityId, MemberId};
use tickloom_protocol::limits;

use crate::room::logic::{
    Allowed, Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType,
};
use crate::room::player_name;
use crate::room::state::State;
use crate::room::steering;
use crate::room::wishes;

mod schema;
#[cfg(test)]
mod tests;

pub use schema::{
    BODY, BUTTON_HOME, BUTTON_LEAP, CELL_SIZE, EntityKind, HALF_EXTENT, LOOK, PROFILE,
};

/// Seats in a world.
pub const MEMBERS_MAX: usize = 4_096;
/// Wanderers that whoever makes a world may ask for.
pub const WANDERERS_MAX: usize = 10_000;
/// Wanderers of a world whose first joiner says nothing about them.
pub const WANDERERS_COUNT: usize = 300;

/// Half of the side of the town, a square in the middle where everybody meets.
pub const TOWN_HALF_EXTENT: f32 = 96.0;

const _: () = assert!(
    entities_max(WANDERERS_MAX) <= limits::ENTITY_ID_MAX as usize,
    "everybody a world may hold has an id"
);

const NAME: &str = "name";

/// Metres per second of a player at full speed.
const SPEED_MAX: f32 = 12.0;
/// Metres per second of a wanderer that walks, from the slowest to the fastest.
const WANDER_SPEEDS: [f32; 2] = [4.0, 12.0];
/// Of ten wanderers, how many walk at a moment; the others stand.
const WALKING_OF_TEN: u8 = 7;
/// Seconds until a wanderer does something else.
const WHIM_SECONDS: [f32; 2] = [2.0, 10.0];
/// Seconds from one leap of a player to the next. Every leap costs it a view of new cells.
const LEAP_SECONDS: f32 = 1.0;

/// The room type `world`.
#[derive(Debug)]
pub struct World {
    /// Of a world with as many wanderers as it has when nobody says how many.
    spec: RoomSpec,
}

impl World {
    /// Worlds that tick at this rate, which the caller keeps within what [`RoomSpec`] allows.
    #[must_use]
    pub fn new(tick_rate_hz: u32) -> Self {
        let schema =
            schema::describe().expect("the world's description is a constant that tests check");
        let spec = RoomSpec {
            members_max: MEMBERS_MAX,
            entities_max: entities_max(WANDERERS_COUNT),
            ..RoomSpec::at_rate(tick_rate_hz, schema)
        };
        Self { spec }
    }
}

/// The room itself, whoever may join, and so many wanderers.
const fn entities_max(wanderers_count: usize) -> usize {
    1 + MEMBERS_MAX + wanderers_count
}

impl RoomType for World {
    fn name(&self) -> &str {
        "world"
    }

    fn spec(&self) -> RoomSpec {
        self.spec.clone()
    }

    fn spec_for(&self, options: &[u8]) -> Result<RoomSpec, Denial> {
        let wishes = wishes::read::<Wishes>(options, "a world", "{\"wanderers\": 500}")?;
        let Some(wishes) = wishes else { return Ok(self.spec()) };
        if wishes.wanderers > WANDERERS_MAX {
            let message = format!("a world has {WANDERERS_MAX} wanderers at most");
            return Err(Denial::new(message));
        }
        Ok(RoomSpec { entities_max: entities_max(wishes.wanderers), ..self.spec() })
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(WorldLogic { tick_seconds: self.spec.tick_seconds(), ..WorldLogic::default() })
    }
}

/// What the first joiner may say of a world.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    wanderers: usize,
}

/// One world: where everybody is, to the fraction that clients are not told.
#[derive(Debug, Default)]
struct WorldLogic {
    /// Length of a tick in seconds.
    tick_seconds: f32,
    /// Ascending by member; at most [`MEMBERS_MAX`].
    players: Vec<Player>,
    /// In the order they were spawned; at most [`WANDERERS_MAX`].
    wanderers: Vec<Wanderer>,
}

/// A member's own entity.
#[derive(Clone, Debug)]
struct Player {
    member: MemberId,
    entity: EntityId,
    at: [f32; 2],
    /// What its member wants in the coming tick; nothing again after it.
    intent: Option<Intent>,
    /// Ticks until it may leap again.
    leap_ticks: u16,
}

/// What a member wants in one tick.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Intent {
    /// Direction and share of full speed.
    movement: [f32; 2],
    /// Where to look, in radians.
    aim: f32,
    leap: Option<Leap>,
}

/// Where a leap leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Leap {
    Anywhere,
    Home,
}

/// An entity that the server drives: walks in a direction for a while or stands, as the whim
/// takes it.
#[derive(Clone, Debug)]
struct Wanderer {
    entity: EntityId,
    at: [f32; 2],
    /// Metres per tick; nothing while it stands.
    step: [f32; 2],
    yaw: f32,
    /// Ticks until another whim takes it.
    whim_ticks: u16,
}

impl RoomLogic for WorldLogic {
    fn on_create(&mut self, room: &mut Context<'_>) {
        // What is not a seat was made for wanderers.
        let wanderers_count = room.state().vacancies().saturating_sub(MEMBERS_MAX);
        for _ in 0..wanderers_count {
            let Some(entity) = room.state_mut().spawn(MemberId::SERVER) else { return };
            let colour = room.rng().u8(..);
            let mut wanderer = Wanderer::new(entity, place_within(HALF_EXTENT, room.rng()));
            wanderer.follow_whim(self.tick_seconds, room.rng());
            // Or all of them would change their minds in the same few ticks.
            wanderer.whim_ticks = room.rng().u16(0..=wanderer.whim_ticks);
            let state = room.state_mut();
            state.set_row(LOOK, entity, &[EntityKind::Wanderer as u8, colour]);
            publish(state, entity, wanderer.at, wanderer.yaw);
            self.wanderers.push(wanderer);
        }
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Allowed {
        let Joiner { member, entity, .. } = *joiner;
        let at = place_within(HALF_EXTENT, room.rng());
        let colour = room.rng().u8(..);
        let state = room.state_mut();
        state.set_row(LOOK, entity, &[EntityKind::Player as u8, colour]);
        state.set_prop(PROFILE, entity, NAME, Value::Str(player_name::of(joiner).into()));
        publish(state, entity, at, 0.0);
        let index = self.players.partition_point(|player| player.member < member);
        self.players.insert(index, Player { member, entity, at, intent: None, leap_ticks: 0 });
        Ok(())
    }

    /// When two inputs arrive for one tick the newer one steers, and either may leap.
    fn on_input(
        &mut self,
        room: &mut Context<'_>,
        member: MemberId,
        row: &[u8],
        freshness: Freshness,
    ) {
        let Some(player) = self.player(member) else { return };
        let [move_x, move_y, aim, buttons] = room.input(row);
        // A leap that was asked for once happens once.
        let leap = Leap::asked_for(buttons as u8).filter(|_| freshness == Freshness::Fresh);
        let before = player.intent.and_then(|intent| intent.leap);
        player.intent = Some(Intent {
            movement: [move_x as f32, move_y as f32],
            aim: aim as f32,
            leap: leap.or(before),
        });
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        for player in &mut self.players {
            player.leap_ticks = player.leap_ticks.saturating_sub(1);
            let Some(intent) = player.intent.take() else { continue };
            player.act(&intent, self.tick_seconds, room.rng());
            publish(room.state_mut(), player.entity, player.at, intent.aim);
        }
        for wanderer in &mut self.wanderers {
            if wanderer.whim_ticks == 0 {
                wanderer.follow_whim(self.tick_seconds, room.rng());
            }
            wanderer.whim_ticks -= 1;
            if wanderer.step != [0.0; 2] {
                wanderer.walk();
                publish(room.state_mut(), wanderer.entity, wanderer.at, wanderer.yaw);
            }
        }
        Next::Tick
    }

    /// Strangers meet here, and whoever came first rules nobody.
    fn on_configure(&mut self, _: &mut Context<'_>, _: MemberId, _: &Configure<'_>) -> Allowed {
        Err(Denial::new("nobody rules the world"))
    }

    fn on_kick(&mut self, _: &mut Context<'_>, _: MemberId, _: MemberId) -> Allowed {
        Err(Denial::new("nobody rules the world"))
    }

    fn on_drop(&mut self, room: &mut Context<'_>, member: MemberId) {
        steering::show_away(room, PROFILE, member);
    }

    fn on_return(&mut self, room: &mut Context<'_>, member: MemberId) {
        steering::show_back(room, PROFILE, member);
    }

    fn on_leave(&mut self, _room: &mut Context<'_>, member: MemberId) {
        self.players.retain(|player| player.member != member);
    }

    /// Floats lose digits on the way into a row, and nobody is shown how long a whim lasts.
    fn save(&self, output: &mut Vec<u8>) {
        let mut put = |[x, y]: [f32; 2], ticks: u16| {
            output.extend(x.to_le_bytes());
            output.extend(y.to_le_bytes());
            output.extend(ticks.to_le_bytes());
        };
        self.players.iter().for_each(|player| put(player.at, player.leap_ticks));
        self.wanderers.iter().for_each(|wanderer| put(wanderer.at, wanderer.whim_ticks));
    }
}

impl WorldLogic {
    fn player(&mut self, member: MemberId) -> Option<&mut Player> {
        let index = self.players.binary_search_by_key(&member, |player| player.member).ok()?;
        self.players.get_mut(index)
    }
}

impl Player {
    /// Leaps when it may and is asked to, and walks otherwise.
    fn act(&mut self, intent: &Intent, tick_seconds: f32, rng: &mut fastrand::Rng) {
        if let Some(leap) = intent.leap.filter(|_| self.leap_ticks == 0) {
            self.at = match leap {
                Leap::Anywhere => place_within(HALF_EXTENT, rng),
                Leap::Home => place_within(TOWN_HALF_EXTENT, rng),
            };
            self.leap_ticks = ticks(LEAP_SECONDS, tick_seconds);
            return;
        }
        let [x, y] = intent.movement;
        // Straight and askew are equally fast.
        let step = SPEED_MAX * tick_seconds / (x * x + y * y).sqrt().max(1.0);
        for (at, share) in self.at.iter_mut().zip(intent.movement) {
            *at = (*at + share * step).clamp(-HALF_EXTENT, HALF_EXTENT);
        }
    }
}

impl Leap {
    fn asked_for(buttons: u8) -> Option<Self> {
        if buttons & BUTTON_LEAP != 0 {
            return Some(Self::Anywhere);
        }
        (buttons & BUTTON_HOME != 0).then_some(Self::Home)
    }
}

impl Wanderer {
    fn new(entity: EntityId, at: [f32; 2]) -> Self {
        Self { entity, at, step: [0.0; 2], yaw: 0.0, whim_ticks: 0 }
    }

    /// Decides where to go next, and for how long.
    fn follow_whim(&mut self, tick_seconds: f32, rng: &mut fastrand::Rng) {
        let between = |[least, most]: [f32; 2], share: f32| least + share * (most - least);
        self.whim_ticks = ticks(between(WHIM_SECONDS, rng.f32()), tick_seconds);
        if rng.u8(0..10) >= WALKING_OF_TEN {
            self.step = [0.0; 2];
            return;
        }
        self.yaw = rng.f32() * TAU;
        let metres = between(WANDER_SPEEDS, rng.f32()) * tick_seconds;
        let (sin, cos) = self.yaw.sin_cos();
        self.step = [cos * metres, sin * metres];
    }

    /// One step; whoever reaches the edge of the world thinks again.
    fn walk(&mut self) {
        for (at, step) in self.at.iter_mut().zip(self.step) {
            *at += step;
            if at.abs() > HALF_EXTENT {
                *at = at.clamp(-HALF_EXTENT, HALF_EXTENT);
                self.whim_ticks = 0;
            }
        }
    }
}

/// Somewhere in a square around the middle.
fn place_within(half_extent: f32, rng: &mut fastrand::Rng) -> [f32; 2] {
    [(); 2].map(|()| (rng.f32() * 2.0 - 1.0) * half_extent)
}

/// The nearest number of ticks to a duration, and at least one.
fn ticks(seconds: f32, tick_seconds: f32) -> u16 {
    (seconds / tick_seconds).round().max(1.0) as u16
}

/// Writes where an entity is. The state drops rows that did not change.
fn publish(state: &mut State, entity: EntityId, [x, y]: [f32; 2], yaw: f32) {
    state.set_numbers(BODY, entity, &[x.into(), y.into(), yaw.into()]);
}
