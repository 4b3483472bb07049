//! What clients of the built-in games read and write alike: where somebody is, what it looks like,
//! what a player steers with, and whether it is here.

use tickloom_protocol::chunks::Value;
use tickloom_protocol::ids::{ComponentId, MemberId};
use tickloom_protocol::schema::{FieldDesc, FieldType};

use crate::room::logic::Context;

/// A row of where something is, no further than so many units from the middle.
pub(super) fn body(half_extent: f32) -> Vec<FieldDesc> {
    let extent = f64::from(half_extent);
    let coordinate = |name| FieldDesc::quantised(name, FieldType::Quant16, -extent, extent);
    vec![coordinate("x"), coordinate("y"), FieldDesc::angle("yaw", FieldType::Quant8)]
}

/// A row of what something is, set once.
pub(super) fn look() -> Vec<FieldDesc> {
    ["kind", "colour"].map(|name| FieldDesc::new(name, FieldType::U8)).into()
}

/// What a player wants in one tick: where to go, where to look, and what it presses.
pub(super) fn input() -> Vec<FieldDesc> {
    let stick = |name| FieldDesc::quantised(name, FieldType::Quant8, -1.0, 1.0);
    let aim = FieldDesc::angle("aim", FieldType::Quant8);
    vec![stick("move_x"), stick("move_y"), aim, FieldDesc::new("buttons", FieldType::U8)]
}

/// The property of a player's profile while its connection is broken and its seat kept.
const AWAY: &str = "away";

/// Shows that a player is away.
pub(super) fn show_away(room: &mut Context<'_>, profile: ComponentId, member: MemberId) {
    if let Some(entity) = room.entity_of(member) {
        room.state_mut().set_prop(profile, entity, AWAY, Value::Bool(true));
    }
}

/// Shows that it is back.
pub(super) fn show_back(room: &mut Context<'_>, profile: ComponentId, member: MemberId) {
    if let Some(entity) = room.entity_of(member) {
        room.state_mut().set_prop(profile, entity, AWAY, Value::Nil);
    }
}
