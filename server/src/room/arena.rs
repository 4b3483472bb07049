//! A game for many: steer, collect, shoot, score. The server decides everything.
//!
//! ```text
//! inputs --> intents --\
//!                       > fighters move and fire -> projectiles fly -> pickups are taken
//! bots think -> intents/                                                     |
//!                            clients <- rows <- publish what is different <--/
//! ```
//!
//! Whoever makes a room may say with how many fighters it is never without, as JSON in `Join`:
//! `{"bots": 40}`; bots take the places that nobody has.
//!
//! Positions are kept as floats here and written as quantised rows at the end of a tick. Tables
//! are vectors in a fixed order, so that the same seed and inputs give the same game. A tick
//! allocates nothing unless somebody comes, goes or dies.

use std::io::Write;
use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::Configure;
use tickloom_protocol::ids::{EntityId, MemberId, Moment};

use crate::room::arena::bot::Brain;
use crate::room::arena::fighter::{Driver, Fighter, Intent};
use crate::room::arena::grid::Grid;
use crate::room::arena::map::Map;
use crate::room::arena::pickup::{PICKUPS, Pickup};
use crate::room::arena::projectile::{Flight, PROJECTILES_MAX, Projectile, Targets};
use crate::room::arena::vector::Vec2;
use crate::room::logic::{Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType};
use crate::room::player_name;
use crate::room::rewind::RewindSpec;
use crate::room::state::State;
use crate::room::steering;
use crate::room::wishes;
use serde::Deserialize;

mod bot;
mod fighter;
mod grid;
mod map;
mod pickup;
mod projectile;
mod schema;
#[cfg(test)]
mod tests;
mod vector;

pub use map::HALF_EXTENT;
pub use schema::{BODY, BUTTON_FIRE, EntityKind, LOOK, MAP, PROFILE, VITALS, WEAPON};

/// Seats in an arena.
pub const MEMBERS_MAX: usize = 128;

/// Places for those who watch: as many as play.
pub const SPECTATORS_MAX: usize = 128;
/// With fewer fighters than this, bots fill up, unless whoever made the room said otherwise.
pub const BOTS_COUNT: usize = 8;
/// Most that whoever makes a room may ask for.
pub const BOTS_MAX: usize = 100;
/// Entities in an arena.
pub const ENTITIES_MAX: usize = 2048;

const NAME: &str = "name";

/// The oldest past that a shot is decided by. Who sees an older one must aim ahead.
const REWIND_MAX: Duration = Duration::from_millis(250);

const DAMAGE: u8 = 25;
const KILL_SCORE: u16 = 5;

/// Players who join between two ticks do so before the bots make room.
const FIGHTERS_MAX: usize = MEMBERS_MAX + BOTS_MAX;

const _: () = assert!(
    1 + FIGHTERS_MAX + PROJECTILES_MAX + PICKUPS <= ENTITIES_MAX,
    "everything an arena may hold fits in its state"
);

/// The room type `arena`.
#[derive(Debug)]
pub struct Arena {
    spec: RoomSpec,
}

impl Arena {
    /// Arenas that tick at this rate, which the caller keeps within what [`RoomSpec`] allows.
    #[must_use]
    pub fn new(tick_rate_hz: u32) -> Self {
        let schema =
            schema::describe().expect("the arena's description is a constant that tests check");
        let spec = RoomSpec {
            members_max: MEMBERS_MAX,
            spectators_max: SPECTATORS_MAX,
            entities_max: ENTITIES_MAX,
            rewind: Some(RewindSpec { components: vec![BODY, VITALS], max: REWIND_MAX }),
            ..RoomSpec::at_rate(tick_rate_hz, schema)
        };
        Self { spec }
    }
}

impl RoomType for Arena {
    fn name(&self) -> &str {
        "arena"
    }

    fn spec(&self) -> RoomSpec {
        self.spec.clone()
    }

    fn spec_for(&self, options: &[u8]) -> Result<RoomSpec, Denial> {
        Wishes::read(options)?;
        Ok(self.spec())
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(ArenaLogic::new(Pace::new(self.spec.tick_seconds())))
    }
}

/// What the first joiner may say of an arena.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wishes {
    bots: usize,
}

impl Wishes {
    /// Reads options; nothing at all is a wish for the usual.
    fn read(options: &[u8]) -> Result<Self, Denial> {
        let wishes = wishes::read(options, "an arena", "{\"bots\": 40}")?;
        let wishes = wishes.unwrap_or(Self { bots: BOTS_COUNT });
        if wishes.bots > BOTS_MAX {
            return Err(Denial::new(format!("an arena has {BOTS_MAX} bots at most")));
        }
        Ok(wishes)
    }
}

/// The game's durations, in the nearest whole number of this room's ticks.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Length of a tick.
    seconds: f32,
    fire_ticks: u8,
    reload_ticks: u8,
    respawn_ticks: u16,
    projectile_ticks: u16,
}

impl Pace {
    fn new(seconds: f32) -> Self {
        let ticks = |duration: f32| (duration / seconds).round().max(1.0);
        Self {
            seconds,
            fire_ticks: ticks(0.25) as u8,
            reload_ticks: ticks(1.25) as u8,
            respawn_ticks: ticks(1.0) as u16,
            projectile_ticks: ticks(1.2) as u16,
        }
    }
}

/// One arena: what its entities do, and what clients are not told of them.
#[derive(Debug)]
struct ArenaLogic {
    /// With fewer fighters than this, bots fill up; at most [`BOTS_MAX`]. None before the first
    /// joiner, who may say.
    bots: Option<usize>,
    pace: Pace,
    map: Map,
    grid: Grid,
    /// In ascending order of their entities.
    fighters: Vec<Fighter>,
    /// In the order they were fired; at most [`PROJECTILES_MAX`].
    projectiles: Vec<Projectile>,
    /// At most [`PICKUPS`], and fewer only while the room is full.
    pickups: Vec<Pickup>,
}

impl RoomLogic for ArenaLogic {
    fn on_create(&mut self, room: &mut Context<'_>) {
        self.map = Map::generate(room.rng());
        room.state_mut().set_opaque(MAP, EntityId::ROOM, &self.map.encode());
        self.place_pickups(room);
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        if self.bots.is_none() {
            self.bots = Some(Wishes::read(joiner.options)?.bots);
        }
        let name = player_name::of(joiner);
        let position = self.map.free_place(room.rng());
        self.add_fighter(room, joiner.entity, Driver::Member(joiner.member), position, &name);
        Ok(())
    }

    /// When two inputs arrive for one tick the newer one steers, and either may fire.
    fn on_input(
        &mut self,
        room: &mut Context<'_>,
        member: MemberId,
        row: &[u8],
        _freshness: Freshness,
    ) {
        let entity = room.entity_of(member);
        let Some(index) = entity.and_then(|entity| find(&self.fighters, entity)) else { return };
        let input = Intent::read(room.state().schema().input(), row);
        let newest = room.rewind(Moment::ZERO).moment();
        let lag = newest.0 - room.seen().0;
        let intent = &mut self.fighters[index].intent;
        *intent = Intent { fire: intent.fire || input.fire, lag, ..input };
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        self.balance_bots(room);
        self.think(room);
        self.move_fighters(room);
        let living = self.fighters.iter().enumerate().filter(|(_, fighter)| fighter.is_alive());
        self.grid.rebuild(living.map(|(index, fighter)| (index, fighter.position)));
        self.fly_projectiles(room);
        self.collect_pickups(room.state_mut());
        self.place_pickups(room);
        let state = room.state_mut();
        self.fighters.iter().for_each(|fighter| fighter.publish(state));
        self.projectiles.iter().for_each(|projectile| projectile.publish(state));
        Next::Tick
    }

    /// Strangers meet here, and whoever came first rules nobody.
    fn on_configure(
        &mut self,
        _: &mut Context<'_>,
        _: MemberId,
        _: &Configure<'_>,
    ) -> Result<(), Denial> {
        Err(Denial::new("nobody rules the arena"))
    }

    fn on_kick(&mut self, _: &mut Context<'_>, _: MemberId, _: MemberId) -> Result<(), Denial> {
        Err(Denial::new("nobody rules the arena"))
    }

    fn on_drop(&mut self, room: &mut Context<'_>, member: MemberId) {
        steering::show_away(room, PROFILE, member);
    }

    fn on_return(&mut self, room: &mut Context<'_>, member: MemberId) {
        steering::show_back(room, PROFILE, member);
    }

    fn on_leave(&mut self, room: &mut Context<'_>, member: MemberId) {
        let is_theirs = |fighter: &Fighter| matches!(fighter.driver, Driver::Member(driver) if driver == member);
        if let Some(index) = self.fighters.iter().position(is_theirs) {
            self.remove_fighter(room.state_mut(), index);
        }
    }

    /// Floats lose digits on the way into a row, and nobody is shown what a bot is up to.
    fn save(&self, output: &mut Vec<u8>) {
        let Self { bots, fighters, projectiles, pickups, .. } = self;
        let written = write!(output, "{bots:?} {fighters:?} {projectiles:?} {pickups:?}");
        written.expect("there is always room in a vector");
    }
}

impl ArenaLogic {
    fn new(pace: Pace) -> Self {
        Self {
            bots: None,
            pace,
            map: Map::default(),
            grid: Grid::with_capacity(FIGHTERS_MAX),
            fighters: Vec::with_capacity(FIGHTERS_MAX),
            projectiles: Vec::with_capacity(PROJECTILES_MAX),
            pickups: Vec::with_capacity(PICKUPS),
        }
    }

    /// Bots take the places that nobody has and leave when players come.
    fn balance_bots(&mut self, room: &mut Context<'_>) {
        let fighters_min = self.bots.unwrap_or(BOTS_COUNT);
        while self.fighters.len() > fighters_min
            && let Some(index) = self.fighters.iter().rposition(Fighter::is_bot)
        {
            let entity = self.fighters[index].entity;
            self.remove_fighter(room.state_mut(), index);
            room.state_mut().despawn(entity);
        }
        while self.fighters.len() < fighters_min {
            let is_taken = |number: &usize| {
                let mut drivers = self.fighters.iter().map(|fighter| fighter.driver);
                drivers
                    .any(|driver| matches!(driver, Driver::Bot(brain) if brain.number == *number))
            };
            let number = (0..fighters_min).find(|number| !is_taken(number));
            let number = number.expect("there are fewer bots than fighters");
            let Some(entity) = room.state_mut().spawn(MemberId::SERVER) else { return };
            let position = self.map.free_place(room.rng());
            let driver = Driver::Bot(Brain::new(number, position));
            self.add_fighter(room, entity, driver, position, &Brain::name_of(number));
        }
    }

    fn think(&mut self, room: &mut Context<'_>) {
        let tick = room.tick().0;
        for index in 0..self.fighters.len() {
            let me = &self.fighters[index];
            let Driver::Bot(mut brain) = me.driver else { continue };
            if Brain::is_due(me.entity, tick) {
                brain.look_around(me, &self.fighters, &self.pickups, room.rng());
            }
            let intent = brain.drive(me, &self.fighters, &self.map, &self.pace);
            let me = &mut self.fighters[index];
            (me.driver, me.intent) = (Driver::Bot(brain), intent);
        }
    }

    /// Everybody does what their intent says; whoever is dead waits for another life.
    fn move_fighters(&mut self, room: &mut Context<'_>) {
        let Self { pace, map, fighters, projectiles, .. } = self;
        for fighter in fighters {
            let intent = std::mem::take(&mut fighter.intent);
            if !fighter.is_alive() {
                if fighter.wait_to_respawn() {
                    fighter.respawn(map.free_place(room.rng()));
                }
                continue;
            }
            fighter.steer(&intent, map, pace);
            fighter.cool_down();
            let fires = intent.fire && fighter.can_fire() && projectiles.len() < PROJECTILES_MAX;
            if fires && let Some(entity) = room.state_mut().spawn(MemberId::SERVER) {
                let look = [EntityKind::Projectile as u8, fighter.colour];
                room.state_mut().set_row(LOOK, entity, &look);
                fighter.spend_shot(pace);
                projectiles.push(Projectile {
                    entity,
                    shooter: fighter.entity,
                    position: fighter.position,
                    direction: Vec2::from_angle(fighter.yaw),
                    yaw: fighter.yaw,
                    lag: intent.lag,
                    ticks_left: pace.projectile_ticks,
                });
            }
        }
    }

    /// Whom a projectile meets is decided by where its shooter saw them: as far back as what the
    /// shooter drew when firing was old.
    fn fly_projectiles(&mut self, room: &mut Context<'_>) {
        let Self { pace, map, grid, fighters, projectiles, .. } = self;
        let now = Moment::of(room.tick());
        projectiles.retain_mut(|projectile| {
            let view = room.rewind(Moment(now.0 - projectile.lag));
            let seen = (projectile.lag > 0).then_some(&view);
            let flight = projectile.step(pace, map, &Targets { grid, fighters, seen });
            if let Flight::Hits(victim) = flight
                && fighters[victim].wound(DAMAGE, pace)
            {
                reward_kill(fighters, projectile.shooter);
            }
            if flight != Flight::Goes {
                room.state_mut().despawn(projectile.entity);
            }
            flight == Flight::Goes
        });
    }

    fn collect_pickups(&mut self, state: &mut State) {
        let Self { pace, grid, fighters, pickups, .. } = self;
        pickups.retain(|pickup| {
            let Some(index) = pickup.collector(grid, fighters) else { return true };
            fighters[index].collect(pace);
            state.despawn(pickup.entity);
            false
        });
    }

    /// Puts a new pickup somewhere for each that is missing.
    fn place_pickups(&mut self, room: &mut Context<'_>) {
        while self.pickups.len() < PICKUPS {
            let position = self.map.free_place(room.rng());
            let colour = room.rng().u8(..);
            match Pickup::spawn(room.state_mut(), position, colour) {
                Some(pickup) => self.pickups.push(pickup),
                None => return,
            }
        }
    }

    fn add_fighter(
        &mut self,
        room: &mut Context<'_>,
        entity: EntityId,
        driver: Driver,
        position: Vec2,
        name: &str,
    ) {
        let fighter = Fighter::new(entity, driver, room.rng().u8(..), position);
        let kind = if fighter.is_bot() { EntityKind::Bot } else { EntityKind::Player };
        let state = room.state_mut();
        state.set_row(LOOK, entity, &[kind as u8, fighter.colour]);
        state.set_prop(PROFILE, entity, NAME, Value::Str(name.into()));
        fighter.publish(state);
        let index = self.fighters.partition_point(|other| other.entity < entity);
        self.fighters.insert(index, fighter);
    }

    /// Forgets a fighter and takes its shots out of the air: its id will be somebody else's.
    fn remove_fighter(&mut self, state: &mut State, index: usize) {
        let gone = self.fighters.remove(index).entity;
        self.projectiles.retain(|projectile| {
            if projectile.shooter == gone {
                state.despawn(projectile.entity);
            }
            projectile.shooter != gone
        });
    }
}

/// The index of a fighter.
fn find(fighters: &[Fighter], entity: EntityId) -> Option<usize> {
    fighters.binary_search_by_key(&entity, |fighter| fighter.entity).ok()
}

fn reward_kill(fighters: &mut [Fighter], shooter: EntityId) {
    let Some(index) = find(fighters, shooter) else { return };
    let shooter = &mut fighters[index];
    shooter.score = shooter.score.saturating_add(KILL_SCORE);
    // A shot may land after its shooter's death; a streak belongs to a life.
    if shooter.is_alive() {
        shooter.streak = shooter.streak.saturating_add(1);
    }
}
