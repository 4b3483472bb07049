//! What clients of an arena read and write.

use tickloom_protocol::ids::ComponentId;
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema, SchemaError};

use crate::room::arena::map::{HALF_EXTENT, MAP_BYTES_MAX};
use crate::room::steering;

/// Where something is: `x`, `y` and `yaw`.
pub const BODY: ComponentId = ComponentId(0);
/// What something is, set once: `kind` (an [`EntityKind`]) and `colour`.
pub const LOOK: ComponentId = ComponentId(1);
/// How a fighter is: `hp` (0 until it comes back), `score`, and `streak`, the kills of this life.
pub const VITALS: ComponentId = ComponentId(2);
/// Who a fighter is: `name`, and `away` while its player's connection is broken.
pub const PROFILE: ComponentId = ComponentId(3);
/// A player's own weapon: `ammo` and `cooldown` in ticks. Nobody else is told.
pub const WEAPON: ComponentId = ComponentId(4);
/// The boxes, on the room's own entity.
pub const MAP: ComponentId = ComponentId(5);

/// The bit of the input's `buttons` that fires.
pub const BUTTON_FIRE: u8 = 1;

/// What an entity is, as clients read it in [`LOOK`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EntityKind {
    /// A member's fighter.
    Player = 1,
    /// A fighter the server drives.
    Bot = 2,
    /// A shot in the air.
    Projectile = 3,
    /// Something to collect.
    Pickup = 4,
}

/// The arena's components and its input row.
pub(super) fn describe() -> Result<RoomSchema, SchemaError> {
    let byte = |name| FieldDesc::new(name, FieldType::U8);
    let components = vec![
        ComponentDesc::packed("body", steering::body(HALF_EXTENT))?,
        ComponentDesc::packed("look", steering::look())?,
        ComponentDesc::packed(
            "vitals",
            vec![byte("hp"), FieldDesc::new("score", FieldType::U16), byte("streak")],
        )?,
        ComponentDesc::props("profile"),
        ComponentDesc::packed("weapon", vec![byte("ammo"), byte("cooldown")])?.for_owner(),
        ComponentDesc::opaque("map", "application/x-tickloom-arena-map", MAP_BYTES_MAX),
    ];
    RoomSchema::new(components, steering::input())
}
