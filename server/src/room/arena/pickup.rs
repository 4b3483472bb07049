//! Pickups: a point, some health and some ammunition for whoever walks over them.

use tickloom_protocol::ids::{EntityId, MemberId};

use crate::room::arena::fighter::{Fighter, RADIUS as FIGHTER_RADIUS};
use crate::room::arena::grid::Grid;
use crate::room::arena::vector::Vec2;
use crate::room::arena::{BODY, EntityKind, LOOK};
use crate::room::state::State;

/// Pickups in a room.
pub(super) const PICKUPS: usize = 24;

/// How far from a fighter's centre a pickup is taken.
const REACH: f32 = FIGHTER_RADIUS + 10.0;

/// Something to collect. It never moves, so its components are set once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pickup {
    pub(super) entity: EntityId,
    pub(super) position: Vec2,
}

impl Pickup {
    /// A pickup at `position`, or `None` when the room is full.
    pub(super) fn spawn(state: &mut State, position: Vec2, colour: u8) -> Option<Self> {
        let entity = state.spawn(MemberId::SERVER)?;
        state.set_row(LOOK, entity, &[EntityKind::Pickup as u8, colour]);
        state.set_numbers(BODY, entity, &[position.x.into(), position.y.into(), 0.0]);
        Some(Self { entity, position })
    }

    /// The index of somebody who stands on it.
    pub(super) fn collector(&self, grid: &Grid, fighters: &[Fighter]) -> Option<usize> {
        let reach = Vec2::new(REACH, REACH);
        grid.near(self.position - reach, self.position + reach).find(|index| {
            let fighter = &fighters[*index];
            let distance = fighter.position - self.position;
            fighter.is_alive() && distance.length_squared() <= REACH * REACH
        })
    }
}
