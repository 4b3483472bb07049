//! The names of things, as types that cannot be swapped by accident.

use std::fmt;

use crate::limits;

/// A member's seat in its room, unique while the room lives in practice (ids are handed out in
/// ascending order and wrap only past 65,534 joins). 0 is the server itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MemberId(pub u16);

impl MemberId {
    /// The owner of everything no client owns.
    pub const SERVER: Self = Self(0);
}

/// An entity of a room. 0 is the room itself, which always exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EntityId(pub u32);

impl EntityId {
    /// The room's own entity: its components are the room's properties.
    pub const ROOM: Self = Self(0);

    /// The id as an index into a dense column.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A component's position in the room's schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ComponentId(pub u8);

impl ComponentId {
    /// The id as an index into the schema's components.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A room's step number. The first tick is 1, so 0 means "before everything". Never wraps: at
/// 128 Hz a room would need 388 days, and it closes with `restart` before that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u32);

impl Tick {
    /// Before the first tick: the base of a snapshot.
    pub const ZERO: Self = Self(0);
    /// The last tick a room may reach.
    pub const MAX: Self = Self(limits::TICK_MAX);

    /// The tick after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Tick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment of a room's time, between ticks or on one, in 256ths of a tick.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Parts of a tick.
    pub const PER_TICK: u64 = 256;
    /// Before the first tick; where a client says it, that it draws the newest.
    pub const ZERO: Self = Self(0);

    /// A tick.
    #[must_use]
    pub const fn of(tick: Tick) -> Self {
        Self(tick.0 as u64 * Self::PER_TICK)
    }

    /// The last tick at or before it.
    #[must_use]
    pub const fn tick(self) -> Tick {
        let tick = self.0 / Self::PER_TICK;
        Tick(if tick > Tick::MAX.0 as u64 { Tick::MAX.0 } else { tick as u32 })
    }

    /// How much of the next tick has passed, from 0 to below 1.
    #[must_use]
    pub fn share(self) -> f64 {
        (self.0 % Self::PER_TICK) as f64 / Self::PER_TICK as f64
    }
}

/// The number a client gives an input. Ascending per member; the server acknowledges the last
/// one it consumed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct InputSeq(pub u32);

/// A topic's position in the room's schema.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct TopicId(pub u16);

impl TopicId {
    /// The id as an index into the schema's topics.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of an event on its stream. The first is 1; none is left out and none comes twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EventSeq(pub u64);

/// The number a client gives a write or a publication, to know the answer by. 0 asks for no
/// answer but a refusal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct OpId(pub u32);

impl OpId {
    /// Nobody waits for an answer.
    pub const NONE: Self = Self(0);
}

/// A stream of chunks: the unit of sharing. Everyone subscribed to a stream gets the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u32);

impl StreamId {
    /// What every member of the room sees.
    pub const ROOM: Self = Self(0);
    /// What only the receiving member sees: the values of components with scope `Owner`.
    pub const MEMBER: Self = Self(1);
    /// What the receiving member and its team see: the values of components with scope `Team`.
    pub const TEAM: Self = Self(2);
    /// The first cell of a room with interest; the others follow, row by row.
    pub const CELLS: Self = Self(16);

    /// The stream of a cell, by its position.
    #[must_use]
    pub const fn of_cell(cell: CellId) -> Self {
        Self(Self::CELLS.0 + cell.0)
    }

    /// The cell whose stream this is.
    #[must_use]
    pub const fn cell(self) -> Option<CellId> {
        match self.0.checked_sub(Self::CELLS.0) {
            Some(cell) => Some(CellId(cell)),
            None => None,
        }
    }
}

/// A cell of a room with interest: its row times the cells of a row, plus its place in the row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CellId(pub u32);

impl CellId {
    /// The position in a table of all cells.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which room: a registered room type and a name within it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoomKey {
    /// The registered room type, such as `arena`.
    pub room_type: Box<str>,
    /// The room's name, chosen by whoever joins first.
    pub room: Box<str>,
}

impl RoomKey {
    /// A key from names a client sent, or `None` when one of them is empty, longer than
    /// [`limits::NAME_BYTES_MAX`] bytes, or holds a control character.
    #[must_use]
    pub fn parse(room_type: &str, room: &str) -> Option<Self> {
        let ok = |name: &str| {
            (1..=limits::NAME_BYTES_MAX).contains(&name.len())
                && !name.chars().any(char::is_control)
        };
        (ok(room_type) && ok(room)).then(|| Self { room_type: room_type.into(), room: room.into() })
    }
}

impl fmt::Display for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.room_type, self.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_names_are_bounded_and_printable() {
        let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
        for (room, ok) in [
            ("lobby", true),
            ("", false),
            (long.as_str(), false),
            ("a\nb", false),
            ("комната", true),
        ] {
            assert_eq!(RoomKey::parse("arena", room).is_some(), ok, "{room:?}");
        }
    }
}
