//! The rooms of one shard: by id, by name, and by when they want attention.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use slab::Slab;
use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::time::Timestamp;

use crate::config::Config;
use crate::room::arena::Arena;
use crate::room::described::Described;
use crate::room::logic::RoomType;
use crate::room::world::World;
use crate::room::{Room, RoomId};

/// The room types a server offers. All shards share one list.
#[derive(Clone, Default)]
pub struct RoomTypes {
    types: Vec<Arc<dyn RoomType>>,
}

impl RoomTypes {
    /// Adds a type; a later one of the same name wins.
    #[must_use]
    pub fn with(mut self, room_type: impl RoomType + 'static) -> Self {
        self.types.insert(0, Arc::new(room_type));
        self
    }

    /// The type of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn RoomType>> {
        self.types.iter().find(|room_type| room_type.name() == name)
    }

    /// Every type that can be joined, by name.
    #[must_use]
    pub fn by_name(&self) -> BTreeMap<&str, &Arc<dyn RoomType>> {
        // Of two of the same name the one that wins comes first, and the last insert stays.
        self.types.iter().rev().map(|room_type| (room_type.name(), room_type)).collect()
    }
}

impl std::fmt::Debug for RoomTypes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.types.iter().map(|room_type| room_type.name())).finish()
    }
}

/// The room types of a server that has no code of its own: a game, a world too large to send
/// whole, shared state, messages, and what its configuration describes.
#[must_use]
pub fn built_in_types(config: &Config) -> RoomTypes {
    let types = RoomTypes::default()
        .with(Arena::new(config.tick_rate_hz))
        .with(World::new(config.tick_rate_hz))
        .with(Described::state())
        .with(Described::relay());
    config.rooms.iter().fold(types, |types, (name, description)| {
        types.with(Described::new(name, description.clone()))
    })
}

/// The rooms of one shard.
#[derive(Debug, Default)]
pub struct RoomTable {
    rooms: Slab<Slot>,
    generation: u32,
    /// The same rooms by name.
    by_key: BTreeMap<RoomKey, RoomId>,
    /// Every room with a moment in its slot, at that moment.
    timetable: BTreeSet<(Timestamp, RoomId)>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    room: Room,
    /// When the room wants attention: its next tick, or the end of its patience when it is empty.
    /// Never, as long as nothing happens in it, when it has members and no rate.
    due: Option<Timestamp>,
}

impl RoomTable {
    /// Adds a room that wants attention at `due`.
    pub fn insert(&mut self, room: Room, due: Timestamp) -> RoomId {
        self.generation = self.generation.wrapping_add(1);
        let key = room.key().clone();
        let slot = Slot { generation: self.generation, room, due: Some(due) };
        let index = self.rooms.insert(slot) as u32;
        let id = RoomId { index, generation: self.generation };
        self.by_key.insert(key, id);
        self.timetable.insert((due, id));
        id
    }

    /// Takes a room out.
    pub fn remove(&mut self, id: RoomId) -> Option<Room> {
        if let Some(due) = self.slot(id)?.due {
            self.timetable.remove(&(due, id));
        }
        let slot = self.rooms.remove(id.index as usize);
        self.by_key.remove(slot.room.key());
        Some(slot.room)
    }

    /// Says when a room wants attention next, if ever.
    pub fn schedule(&mut self, id: RoomId, due: Option<Timestamp>) {
        let Some(slot) = self.rooms.get_mut(id.index as usize) else { return };
        if slot.generation != id.generation || slot.due == due {
            return;
        }
        if let Some(before) = slot.due {
            self.timetable.remove(&(before, id));
        }
        slot.due = due;
        if let Some(due) = due {
            self.timetable.insert((due, id));
        }
    }

    /// Appends the rooms that want attention by `now`, in order.
    pub fn due_by(&self, now: Timestamp, rooms: &mut VecDeque<RoomId>) {
        let due = self.timetable.iter().take_while(|(due, _)| *due <= now);
        rooms.extend(due.map(|(_, id)| *id));
    }

    /// When the next room wants attention.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.timetable.first().map(|(due, _)| *due)
    }

    /// A room, unless the id is stale.
    pub fn get_mut(&mut self, id: RoomId) -> Option<&mut Room> {
        let slot = self.rooms.get_mut(id.index as usize)?;
        (slot.generation == id.generation).then_some(&mut slot.room)
    }

    /// A room, unless the id is stale.
    #[must_use]
    pub fn get(&self, id: RoomId) -> Option<&Room> {
        self.slot(id).map(|slot| &slot.room)
    }

    /// The room of this name.
    #[must_use]
    pub fn find(&self, key: &RoomKey) -> Option<RoomId> {
        self.by_key.get(key).copied()
    }

    /// Does something with each room, in no order that means anything.
    pub fn for_each_mut(&mut self, mut act: impl FnMut(RoomId, &mut Room)) {
        for (index, slot) in &mut self.rooms {
            let id = RoomId { index: index as u32, generation: slot.generation };
            act(id, &mut slot.room);
        }
    }

    /// How many rooms there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    /// Members of all rooms that are paused.
    #[must_use]
    pub fn paused_count(&self) -> usize {
        self.rooms.iter().map(|(_, slot)| slot.room.paused_count()).sum()
    }

    /// All rooms, by name.
    pub fn iter(&self) -> impl Iterator<Item = (RoomId, &Room)> {
        self.by_key.values().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// All rooms, in no order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Room> {
        self.rooms.iter_mut().map(|(_, slot)| &mut slot.room)
    }

    /// The rooms of one type, by name, from this one on and then from the first one.
    pub fn of_type(&self, room_type: &str, from: Option<&RoomKey>) -> impl Iterator<Item = RoomId> {
        let first = RoomKey { room_type: room_type.into(), room: Box::default() };
        let from = from.unwrap_or(&first).clone();
        let ours = move |(key, _): &(&RoomKey, &RoomId)| *key.room_type == *room_type;
        let behind = self.by_key.range(from.clone()..).take_while(ours);
        let before = self.by_key.range(first..from);
        behind.chain(before).map(|(_, id)| *id)
    }

    fn slot(&self, id: RoomId) -> Option<&Slot> {
        self.rooms.get(id.index as usize).filter(|slot| slot.generation == id.generation)
    }

    /// Checks what the field comments promise.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn check_invariants(&self) {
        assert_eq!(self.rooms.len(), self.by_key.len(), "every room has one name");
        for (key, id) in &self.by_key {
            let slot = self.slot(*id).expect("a name leads to a room");
            assert_eq!(slot.room.key(), key);
            slot.room.check_invariants();
            let is_scheduled = slot.due.is_none_or(|due| self.timetable.contains(&(due, *id)));
            assert!(is_scheduled, "{key} is in the timetable");
        }
        let scheduled = self.rooms.iter().filter(|(_, slot)| slot.due.is_some()).count();
        assert_eq!(scheduled, self.timetable.len(), "nobody else is in the timetable");
    }
}
