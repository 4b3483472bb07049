//! What clients of a world read and write.

use tickloom_protocol::ids::ComponentId;
use tickloom_protocol::schema::{ComponentDesc, FieldId, Interest, Ring, RoomSchema, SchemaError};

use crate::room::steering;

/// Where something is: `x`, `y` and `yaw`.
pub const BODY: ComponentId = ComponentId(0);
/// What something is, set once: `kind` (an [`EntityKind`]) and `colour`.
pub const LOOK: ComponentId = ComponentId(1);
/// Who a player is: `name`, and `away` while its connection is broken.
pub const PROFILE: ComponentId = ComponentId(2);

/// The bit of the input's `buttons` that carries a player to a place anywhere in the world.
pub const BUTTON_LEAP: u8 = 1;
/// The bit that carries it into the town.
pub const BUTTON_HOME: u8 = 2;

/// Half of the side of the world, in metres.
pub const HALF_EXTENT: f32 = 1_024.0;
/// The side of a cell, in metres.
pub const CELL_SIZE: f32 = 64.0;

/// 3 x 3 cells with every state, 5 x 5 with every second, 9 x 9 with every fourth.
const RINGS: [Ring; 3] = [
    Ring { distance: 1, every: 1 },
    Ring { distance: 2, every: 2 },
    Ring { distance: 4, every: 4 },
];

/// What an entity is, as clients read it in [`LOOK`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EntityKind {
    /// A member's own.
    Player = 1,
    /// One that the server drives.
    Wanderer = 2,
}

/// The world's components, its cells and its input row.
pub(super) fn describe() -> Result<RoomSchema, SchemaError> {
    let components = vec![
        ComponentDesc::packed("body", steering::body(HALF_EXTENT))?.as_motion(),
        ComponentDesc::packed("look", steering::look())?,
        ComponentDesc::props("profile"),
    ];
    RoomSchema::new(components, steering::input())?.with_interest(Interest {
        component: BODY,
        axes: [FieldId(0), FieldId(1)],
        cell_size: CELL_SIZE,
        rings: RINGS.into(),
    })
}
