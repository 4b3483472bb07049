//! Projectiles: they fly straight until they meet somebody, something, or their end.

use tickloom_protocol::ids::{EntityId, Moment};

use crate::room::arena::fighter::{Fighter, RADIUS as FIGHTER_RADIUS, SPEED_MAX};
use crate::room::arena::grid::Grid;
use crate::room::arena::map::Map;
use crate::room::arena::vector::Vec2;
use crate::room::arena::{BODY, Pace, VITALS};
use crate::room::rewind::View;
use crate::room::state::State;

/// Projectiles in a room. A full room that fires without a pause has about half as many in the
/// air; whoever pulls the trigger past the bound keeps the round.
pub(super) const PROJECTILES_MAX: usize = 256;

/// Units per second.
pub(super) const SPEED: f32 = 900.0;

/// How near a projectile's path must come to a fighter's centre.
const HIT_RADIUS: f32 = FIGHTER_RADIUS + 4.0;

/// A shot in the air. Its entity is the server's: it outlives its shooter's death.
#[derive(Clone, Copy, Debug)]
pub(super) struct Projectile {
    pub(super) entity: EntityId,
    /// A fighter that is still in the room, alive or not.
    pub(super) shooter: EntityId,
    pub(super) position: Vec2,
    pub(super) direction: Vec2,
    pub(super) yaw: f32,
    /// How old what its shooter saw was, in 256ths of a tick; 0 for the present.
    pub(super) lag: u64,
    pub(super) ticks_left: u16,
}

/// What a projectile meets in one tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Flight {
    /// Nothing.
    Goes,
    /// A box, the border, or the end of its time.
    Ends,
    /// The fighter at this index.
    Hits(usize),
}

/// Whom a projectile may meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Targets<'a> {
    /// Where they are.
    pub(super) grid: &'a Grid,
    pub(super) fighters: &'a [Fighter],
    /// Where the shooter saw them, unless that is where they are.
    pub(super) seen: Option<&'a View<'a>>,
}

impl Targets<'_> {
    /// Where the shooter sees a fighter; nowhere when it was not alive then or is not now.
    fn place(&self, index: usize) -> Option<Vec2> {
        let fighter = &self.fighters[index];
        if !fighter.is_alive() {
            return None;
        }
        let Some(view) = self.seen else { return Some(fighter.position) };
        let [hp, ..] = view.numbers::<3>(VITALS, fighter.entity)?;
        let [x, y, _] = view.numbers::<3>(BODY, fighter.entity)?;
        (hp > 0.0).then(|| Vec2::new(x as f32, y as f32))
    }
}

impl Projectile {
    /// One step along the path. Nobody slips through it between two ticks, however far they are
    /// apart.
    pub(super) fn step(&mut self, pace: &Pace, map: &Map, targets: &Targets<'_>) -> Flight {
        let from = self.position;
        let step = self.direction * (SPEED * pace.seconds);
        let stopped = map.first_hit(from, step);
        if let Some(victim) = self.victim(step, stopped.unwrap_or(1.0), pace, targets) {
            return Flight::Hits(victim);
        }
        self.ticks_left = self.ticks_left.saturating_sub(1);
        if stopped.is_some() || self.ticks_left == 0 {
            return Flight::Ends;
        }
        self.position = from + step;
        Flight::Goes
    }

    /// Writes what clients see.
    pub(super) fn publish(&self, state: &mut State) {
        let Vec2 { x, y } = self.position;
        state.set_numbers(BODY, self.entity, &[x.into(), y.into(), self.yaw.into()]);
    }

    /// The first fighter on the way, within `share_max` of the step.
    fn victim(
        &self,
        step: Vec2,
        share_max: f32,
        pace: &Pace,
        targets: &Targets<'_>,
    ) -> Option<usize> {
        let (from, to) = (self.position, self.position + step);
        // Nobody has run farther since.
        let run = SPEED_MAX * pace.seconds * self.lag as f32 / Moment::PER_TICK as f32;
        let reach = Vec2::new(HIT_RADIUS + run, HIT_RADIUS + run);
        let min = Vec2::new(from.x.min(to.x), from.y.min(to.y)) - reach;
        let max = Vec2::new(from.x.max(to.x), from.y.max(to.y)) + reach;
        let step_squared = step.length_squared();
        let mut first: Option<(f32, usize)> = None;
        for index in targets.grid.near(min, max) {
            let Some(place) = targets.place(index) else { continue };
            let towards = place - from;
            let share = (towards.dot(step) / step_squared).clamp(0.0, share_max);
            let miss = towards - step * share;
            if miss.length_squared() <= HIT_RADIUS * HIT_RADIUS
                && targets.fighters[index].entity != self.shooter
                && first.is_none_or(|(sooner, _)| share < sooner)
            {
                first = Some((share, index));
            }
        }
        first.map(|(_, index)| index)
    }
}
