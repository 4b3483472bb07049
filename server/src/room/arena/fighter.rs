//! Fighters: whoever moves, shoots and scores, be it a member or a bot.

use tickloom_protocol::ids::{EntityId, MemberId};
use tickloom_protocol::schema::{FieldId, RowLayout};

use crate::room::arena::bot::Brain;
use crate::room::arena::map::Map;
use crate::room::arena::vector::Vec2;
use crate::room::arena::{BODY, BUTTON_FIRE, Pace, VITALS, WEAPON};
use crate::room::state::State;

/// A fighter is a circle.
pub(super) const RADIUS: f32 = 16.0;

/// Health of somebody unhurt.
pub(super) const HP_FULL: u8 = 100;

/// Shots after a reload.
pub(super) const AMMO_FULL: u8 = 6;
/// Shots that pickups can add up to.
pub(super) const AMMO_MAX: u8 = 12;

/// Units per second.
pub(super) const SPEED_MAX: f32 = 320.0;
/// Units per second, per second, towards the wanted speed.
const ACCELERATION: f32 = 1600.0;
/// Units per second, per second, towards a standstill.
const FRICTION: f32 = 1000.0;

const PICKUP_HP: u8 = 10;
const PICKUP_AMMO: u8 = 2;
const PICKUP_SCORE: u16 = 1;

/// Somebody in the arena.
#[derive(Clone, Debug)]
pub(super) struct Fighter {
    pub(super) entity: EntityId,
    pub(super) driver: Driver,
    pub(super) colour: u8,
    /// What the driver wants in the coming tick; neutral again after it.
    pub(super) intent: Intent,
    pub(super) position: Vec2,
    pub(super) velocity: Vec2,
    pub(super) yaw: f32,
    /// At most [`HP_FULL`]; 0 exactly while waiting to come back.
    pub(super) hp: u8,
    /// Ticks until a dead fighter comes back; 0 while alive.
    pub(super) respawn_ticks: u16,
    pub(super) score: u16,
    /// Kills since the last death.
    pub(super) streak: u8,
    /// At most [`AMMO_MAX`]. At 0 the cooldown is a reload.
    pub(super) ammo: u8,
    /// Ticks until the next shot.
    pub(super) cooldown_ticks: u8,
}

/// Who decides for a fighter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Driver {
    /// A client.
    Member(MemberId),
    /// The server.
    Bot(Brain),
}

/// What a driver wants in one tick.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Intent {
    /// Direction and share of full speed, at most 1 long.
    pub(super) movement: Vec2,
    /// Where to look, in radians; `None` for where they look already.
    pub(super) aim: Option<f32>,
    pub(super) fire: bool,
    /// How old what the driver sees is, in 256ths of a tick.
    pub(super) lag: u64,
}

impl Intent {
    /// What a member's input says.
    pub(super) fn read(layout: &RowLayout, row: &[u8]) -> Self {
        let read = |field| layout.read(row, FieldId(field));
        Self {
            movement: Vec2::new(read(0) as f32, read(1) as f32),
            aim: Some(read(2) as f32),
            fire: read(3) as u8 & BUTTON_FIRE != 0,
            lag: 0,
        }
    }
}

impl Fighter {
    /// Somebody new, unhurt, with a full magazine.
    pub(super) fn new(entity: EntityId, driver: Driver, colour: u8, position: Vec2) -> Self {
        Self {
            entity,
            driver,
            colour,
            intent: Intent::default(),
            position,
            velocity: Vec2::ZERO,
            yaw: 0.0,
            hp: HP_FULL,
            respawn_ticks: 0,
            score: 0,
            streak: 0,
            ammo: AMMO_FULL,
            cooldown_ticks: 0,
        }
    }

    /// Moves and turns as wanted, as far as the map allows.
    pub(super) fn steer(&mut self, intent: &Intent, map: &Map, pace: &Pace) {
        self.yaw = intent.aim.unwrap_or(self.yaw);
        let wanted = intent.movement.clamp_length(1.0) * SPEED_MAX;
        let rate = if wanted == Vec2::ZERO { FRICTION } else { ACCELERATION };
        let change = (wanted - self.velocity).clamp_length(rate * pace.seconds);
        self.velocity = self.velocity + change;
        if self.velocity == Vec2::ZERO {
            return;
        }
        let step = self.velocity * pace.seconds;
        let free = self.position + step;
        self.position = map.slide(self.position, step, RADIUS);
        // Whoever bumps into something loses the speed towards it and keeps the speed along it.
        if (self.position.x - free.x).abs() > f32::EPSILON {
            self.velocity.x = 0.0;
        }
        if (self.position.y - free.y).abs() > f32::EPSILON {
            self.velocity.y = 0.0;
        }
    }

    /// Brings the weapon one tick closer to its next shot.
    pub(super) fn cool_down(&mut self) {
        self.cooldown_ticks = self.cooldown_ticks.saturating_sub(1);
        if self.cooldown_ticks == 0 && self.ammo == 0 {
            self.ammo = AMMO_FULL;
        }
    }

    /// Spends a shot; the last one starts a reload.
    pub(super) fn spend_shot(&mut self, pace: &Pace) {
        debug_assert!(self.can_fire(), "{:?} cannot fire", self.entity);
        self.ammo -= 1;
        self.cooldown_ticks = if self.ammo == 0 { pace.reload_ticks } else { pace.fire_ticks };
    }

    /// Takes a pickup's gifts. Ammunition ends a reload early.
    pub(super) fn collect(&mut self, pace: &Pace) {
        self.score = self.score.saturating_add(PICKUP_SCORE);
        self.hp = (self.hp + PICKUP_HP).min(HP_FULL);
        if self.ammo == 0 {
            self.cooldown_ticks = self.cooldown_ticks.min(pace.fire_ticks);
        }
        self.ammo = (self.ammo + PICKUP_AMMO).min(AMMO_MAX);
    }

    /// Takes damage; says whether that was the end.
    pub(super) fn wound(&mut self, damage: u8, pace: &Pace) -> bool {
        self.hp = self.hp.saturating_sub(damage);
        if self.hp > 0 {
            return false;
        }
        self.respawn_ticks = pace.respawn_ticks;
        self.velocity = Vec2::ZERO;
        self.streak = 0;
        true
    }

    /// Waits for another life one tick more; says whether it is due.
    pub(super) fn wait_to_respawn(&mut self) -> bool {
        self.respawn_ticks = self.respawn_ticks.saturating_sub(1);
        self.respawn_ticks == 0
    }

    /// Comes back as good as new, with the old score.
    pub(super) fn respawn(&mut self, position: Vec2) {
        *self = Self {
            score: self.score,
            yaw: self.yaw,
            ..Self::new(self.entity, self.driver, self.colour, position)
        };
    }

    /// Writes what clients see. The state drops rows that did not change.
    pub(super) fn publish(&self, state: &mut State) {
        let Vec2 { x, y } = self.position;
        state.set_numbers(BODY, self.entity, &[x.into(), y.into(), self.yaw.into()]);
        let [score_low, score_high] = self.score.to_le_bytes();
        state.set_row(VITALS, self.entity, &[self.hp, score_low, score_high, self.streak]);
        // Nobody would receive a bot's.
        if let Driver::Member(_) = self.driver {
            state.set_row(WEAPON, self.entity, &[self.ammo, self.cooldown_ticks]);
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        self.hp > 0
    }

    pub(super) fn is_bot(&self) -> bool {
        matches!(self.driver, Driver::Bot(_))
    }

    pub(super) fn can_fire(&self) -> bool {
        self.is_alive() && self.ammo > 0 && self.cooldown_ticks == 0
    }
}
