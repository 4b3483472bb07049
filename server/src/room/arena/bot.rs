//! Bots: they run for the nearest pickup or enemy and shoot at whom they see.

use std::f32::consts::{PI, TAU};

use tickloom_protocol::ids::EntityId;

use crate::room::arena::fighter::{Fighter, Intent};
use crate::room::arena::map::{HALF_EXTENT, Map};
use crate::room::arena::pickup::Pickup;
use crate::room::arena::vector::Vec2;
use crate::room::arena::{Pace, find};

/// What bots are called, and then again with a number.
const NAMES: [&str; 8] =
    ["Bobbin", "Shuttle", "Heddle", "Treadle", "Weft", "Warp", "Selvage", "Spindle"];

/// Ticks between two looks around. Bots take turns, so few look around in the same tick.
const RETARGET_TICKS: u32 = 10;

/// How far a bot sees an enemy.
const SIGHT: f32 = 600.0;
/// Nearer than this it circles an enemy instead of running into them.
const CIRCLE: f32 = 160.0;
/// Radians per second a bot turns.
const TURN: f32 = 5.0;
/// Radians its aim may be off when it pulls the trigger.
const ALIGNED: f32 = 0.12;
/// Radians it aims wrong by, at most: bots are there to be beaten.
const AIM_ERROR: f32 = 0.16;
/// A bot that got less far than this between two looks around is stuck behind something.
const STUCK: f32 = 12.0;

/// What a bot keeps in mind from tick to tick.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Brain {
    /// Its number; no other bot of the arena has it.
    pub(super) number: usize,
    goal: Vec2,
    enemy: Option<EntityId>,
    aim_error: f32,
    /// Where it last looked around.
    looked_at: Vec2,
}

impl Brain {
    /// A bot that looks around as soon as it is its turn.
    pub(super) fn new(number: usize, position: Vec2) -> Self {
        // Looking around from elsewhere keeps it from thinking that it is stuck.
        let looked_at = position + Vec2::new(2.0 * STUCK, 0.0);
        Self { number, goal: position, enemy: None, aim_error: 0.0, looked_at }
    }

    /// What a bot of this number is called.
    pub(super) fn name_of(number: usize) -> String {
        let name = NAMES[number % NAMES.len()];
        match number / NAMES.len() {
            0 => name.into(),
            round => format!("{name} {}", round + 1),
        }
    }

    /// Whether it is this bot's turn to look around.
    pub(super) fn is_due(entity: EntityId, tick: u32) -> bool {
        tick.wrapping_add(entity.0).is_multiple_of(RETARGET_TICKS)
    }

    /// Looks for the nearest enemy and pickup, and makes up its mind where to run.
    pub(super) fn look_around(
        &mut self,
        me: &Fighter,
        fighters: &[Fighter],
        pickups: &[Pickup],
        rng: &mut fastrand::Rng,
    ) {
        let enemies = fighters.iter().filter(|other| other.is_alive() && other.entity != me.entity);
        let enemies = enemies.map(|other| (other.entity, other.position));
        let enemy = nearest(me.position, enemies).filter(|found| found.distance < SIGHT);
        let pickups = pickups.iter().map(|pickup| (pickup.entity, pickup.position));
        let pickup = nearest(me.position, pickups);
        let is_stuck = (me.position - self.looked_at).length_squared() < STUCK * STUCK;
        self.goal = match (enemy, pickup) {
            _ if is_stuck => Vec2::new(rng.f32() - 0.5, rng.f32() - 0.5) * (2.0 * HALF_EXTENT),
            (Some(enemy), Some(pickup)) if enemy.distance < pickup.distance => enemy.position,
            (_, Some(pickup)) => pickup.position,
            (Some(enemy), None) => enemy.position,
            (None, None) => Vec2::ZERO,
        };
        self.enemy = enemy.map(|found| found.entity);
        self.aim_error = (rng.f32() * 2.0 - 1.0) * AIM_ERROR;
        self.looked_at = me.position;
    }

    /// What the bot wants in this tick.
    pub(super) fn drive(
        &self,
        me: &Fighter,
        fighters: &[Fighter],
        map: &Map,
        pace: &Pace,
    ) -> Intent {
        let movement = (self.goal - me.position) * (1.0 / CIRCLE);
        let enemy = self.enemy.and_then(|entity| find(fighters, entity));
        let Some(enemy) = enemy.map(|index| &fighters[index]).filter(|enemy| enemy.is_alive())
        else {
            return Intent { movement, ..Intent::default() };
        };
        let sight = enemy.position - me.position;
        let off = turn_between(me.yaw, sight.angle() + self.aim_error);
        let turn_max = TURN * pace.seconds;
        let aim = (me.yaw + off.clamp(-turn_max, turn_max)).rem_euclid(TAU);
        let distance = sight.length();
        let circles = distance < CIRCLE && (self.goal - enemy.position).length() < CIRCLE;
        Intent {
            movement: if circles { sight.perpendicular() * (1.0 / CIRCLE) } else { movement },
            aim: Some(aim),
            // A bot sees the present.
            lag: 0,
            fire: off.abs() < ALIGNED
                && distance < SIGHT
                && map.first_hit(me.position, sight).is_none(),
        }
    }
}

/// Something a bot may run to.
#[derive(Clone, Copy, Debug)]
struct Found {
    entity: EntityId,
    position: Vec2,
    distance: f32,
}

fn nearest(from: Vec2, places: impl Iterator<Item = (EntityId, Vec2)>) -> Option<Found> {
    let squared = places.map(|(entity, place)| (entity, place, (place - from).length_squared()));
    let (entity, position, squared) = squared.min_by(|a, b| a.2.total_cmp(&b.2))?;
    Some(Found { entity, position, distance: squared.sqrt() })
}

/// The angle from one direction to another, the short way round.
fn turn_between(from: f32, to: f32) -> f32 {
    (to - from + PI).rem_euclid(TAU) - PI
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bots_turn_the_short_way_round() {
        for (from, to, expected) in
            [(0.0, 1.0, 1.0), (1.0, 0.0, -1.0), (0.1, TAU - 0.1, -0.2), (TAU - 0.1, 0.1, 0.2)]
        {
            let turn = turn_between(from, to);
            assert!((turn - expected).abs() < 1e-5, "{from} to {to} gives {turn}");
        }
    }
}
