//! The rooms that those may know of who do not know their names.
//!
//! ```text
//! shard N --Listing: once a second, when it changed--> Board --> other shards that look for a room
//!                                                            \-> GET /api/rooms
//! ```
//!
//! A listing is up to a second old: whoever finds a room in it asks the room's own shard, which
//! may say that it is full or gone by now.

use std::sync::Arc;

use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::time::Timestamp;

use crate::properties::Properties;
use crate::session::PendingJoin;

/// Rooms that one shard lists at most; those that can be joined come before those that cannot.
pub const LISTED_MAX: usize = 1_000;

/// Rooms looked at for one newcomer. Where more are full, somebody may get a new room though a seat
/// is free somewhere.
pub const LOOKED_AT_MAX: usize = 1_024;

/// The fullest listed room with so many free seats that suits somebody who knows no name.
#[must_use]
pub fn find(
    listings: impl Iterator<Item = Arc<Listing>>,
    join: &PendingJoin,
    seats: usize,
) -> Option<RoomKey> {
    let mut best: Option<(usize, RoomKey)> = None;
    let mut left = LOOKED_AT_MAX;
    for listing in listings {
        let rooms = listing.of_type(&join.key.room_type);
        let rooms = &rooms[..rooms.len().min(left)];
        left -= rooms.len();
        let fits = |room: &&Arc<ListedRoom>| {
            room.is_open() && room.seats_free >= seats && room.metadata.hold(&join.filter)
        };
        let fullest = rooms.iter().filter(fits).max_by_key(|room| room.members_count);
        if let Some(room) = fullest
            && best.as_ref().is_none_or(|(members_count, _)| room.members_count > *members_count)
        {
            best = Some((room.members_count, room.key.clone()));
        }
    }
    best.map(|(_, key)| key)
}

/// What one shard lists.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Listing {
    /// By name; at most [`LISTED_MAX`].
    rooms: Vec<Arc<ListedRoom>>,
}

/// What is said of a room.
#[derive(Clone, PartialEq, Debug)]
pub struct ListedRoom {
    /// Which room.
    pub key: RoomKey,
    /// Members, those included whose seat waits for them.
    pub members_count: usize,
    /// Those who only watch.
    pub spectators_count: usize,
    /// Seats.
    pub members_max: usize,
    /// Seats that are neither taken nor kept for somebody.
    pub seats_free: usize,
    /// Whether it takes nobody any more.
    pub is_locked: bool,
    /// Whether it asks for a password.
    pub has_password: bool,
    /// What it says of itself.
    pub metadata: Arc<Properties>,
    /// When it was made.
    pub created: Timestamp,
}

impl ListedRoom {
    /// Whether anybody may join it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.seats_free > 0 && !self.is_locked && !self.has_password
    }
}

impl Listing {
    /// A listing of these rooms, which come by name.
    #[must_use]
    pub fn new(rooms: impl Iterator<Item = Arc<ListedRoom>>) -> Self {
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        for room in rooms {
            let list = if room.is_open() { &mut open } else { &mut closed };
            if list.len() < LISTED_MAX {
                list.push(room);
            }
        }
        closed.truncate(LISTED_MAX - open.len());
        open.append(&mut closed);
        open.sort_unstable_by(|left, right| left.key.cmp(&right.key));
        Self { rooms: open }
    }

    /// All rooms, by name.
    #[must_use]
    pub fn rooms(&self) -> &[Arc<ListedRoom>] {
        &self.rooms
    }

    /// The rooms of one type, by name.
    #[must_use]
    pub fn of_type(&self, room_type: &str) -> &[Arc<ListedRoom>] {
        let start = self.rooms.partition_point(|room| *room.key.room_type < *room_type);
        let rest = &self.rooms[start..];
        &rest[..rest.partition_point(|room| *room.key.room_type == *room_type)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(room_type: &str, name: &str, seats_free: usize) -> Arc<ListedRoom> {
        Arc::new(ListedRoom {
            key: RoomKey::parse(room_type, name).expect("a key"),
            members_count: 4 - seats_free,
            spectators_count: 0,
            members_max: 4,
            seats_free,
            is_locked: false,
            has_password: false,
            metadata: Arc::default(),
            created: Timestamp::ZERO,
        })
    }

    #[test]
    fn rooms_of_a_type_are_found_and_no_others() {
        let rooms = [("a", "1"), ("b", "1"), ("b", "2"), ("bb", "1")];
        let listing = Listing::new(rooms.iter().map(|(kind, name)| room(kind, name, 1)));
        for (room_type, count) in [("a", 1), ("b", 2), ("bb", 1), ("", 0), ("c", 0)] {
            assert_eq!(listing.of_type(room_type).len(), count, "{room_type:?}");
        }
    }

    #[test]
    fn a_listing_is_bounded_and_full_rooms_go_first() {
        let full = (0..LISTED_MAX).map(|number| room("a", &format!("a{number:04}"), 0));
        let open = (0..10).map(|number| room("a", &format!("b{number}"), 1));
        let listing = Listing::new(full.chain(open));
        assert_eq!(listing.rooms().len(), LISTED_MAX);
        assert_eq!(listing.rooms().iter().filter(|room| room.is_open()).count(), 10);
        assert!(listing.rooms().is_sorted_by(|left, right| left.key < right.key));
    }
}
