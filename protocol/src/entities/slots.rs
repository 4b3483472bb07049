//! Where the values of each entity lie.

use fixedbitset::FixedBitSet;

use crate::ids::EntityId;

/// A place in the tables of [`Entities`](super::Entities).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Slot(pub u32);

impl Slot {
    /// The room's own, which is dealt before all others.
    pub const ROOM: Self = Self(0);

    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The positions of entities in tables.
#[derive(Clone, Debug)]
pub(super) enum Slots {
    /// Each lies at its id: the quickest, for those who know all or most of a room.
    ById,
    /// Each lies wherever there was a place: a few cache lines for those who know a hundred of ten
    /// thousand, however high their ids.
    Dealt(Dealt),
}

/// Slots that are given out and taken back.
#[derive(Clone, Debug, Default)]
pub(super) struct Dealt {
    /// Ascending.
    ids: Vec<EntityId>,
    /// Of the same entities; all different.
    slots: Vec<u32>,
    /// Slots below `ids.len() + free.len()` that are nobody's.
    free: Vec<u32>,
}

impl Slots {
    /// Where an entity lies, if it can be anywhere: an id is a slot whether anything is there or
    /// not.
    #[inline]
    pub fn find(&self, entity: EntityId) -> Option<usize> {
        match self {
            Self::ById => Some(entity.index()),
            Self::Dealt(dealt) => dealt.find(entity),
        }
    }

    /// The slot of an entity; gives it one if it has none.
    #[inline]
    pub fn find_or_deal(&mut self, entity: EntityId) -> usize {
        match self {
            Self::ById => entity.index(),
            Self::Dealt(dealt) => dealt.find_or_deal(entity),
        }
    }

    /// Takes the slots back of which `is_unused` says that nothing lies there.
    pub fn take_back(&mut self, is_unused: impl Fn(usize) -> bool) {
        if let Self::Dealt(dealt) = self {
            dealt.take_back(is_unused);
        }
    }

    /// Takes back the slot of one entity if nothing lies there.
    pub fn take_back_of(&mut self, entity: EntityId, is_unused: impl Fn(usize) -> bool) {
        if let Self::Dealt(dealt) = self {
            dealt.take_back_of(entity, is_unused);
        }
    }

    /// Takes all slots back.
    pub fn clear(&mut self) {
        if let Self::Dealt(dealt) = self {
            *dealt = Dealt::default();
        }
    }

    /// The entities whose slots are in a set, ascending, and their slots.
    pub fn of(&self, set: &FixedBitSet) -> impl Iterator<Item = (EntityId, usize)> {
        let (by_id, dealt) = match self {
            Self::ById => (Some(set.ones()), None),
            Self::Dealt(dealt) => (None, Some(dealt.ids.iter().zip(&dealt.slots))),
        };
        let by_id = by_id.into_iter().flatten().map(|slot| (EntityId(slot as u32), slot));
        let dealt = dealt.into_iter().flatten().map(|(id, slot)| (*id, *slot as usize));
        by_id.chain(dealt.filter(|(_, slot)| set.contains(*slot)))
    }
}

impl Dealt {
    #[inline]
    fn find(&self, entity: EntityId) -> Option<usize> {
        self.ids.binary_search(&entity).ok().map(|position| self.slots[position] as usize)
    }

    fn find_or_deal(&mut self, entity: EntityId) -> usize {
        match self.ids.binary_search(&entity) {
            Ok(position) => self.slots[position] as usize,
            Err(position) => {
                let slot = self.free.pop().unwrap_or(self.ids.len() as u32);
                self.ids.insert(position, entity);
                self.slots.insert(position, slot);
                slot as usize
            }
        }
    }

    fn take_back(&mut self, is_unused: impl Fn(usize) -> bool) {
        for position in (0..self.ids.len()).rev() {
            if is_unused(self.slots[position] as usize) {
                self.ids.remove(position);
                self.free.push(self.slots.remove(position));
            }
        }
    }

    fn take_back_of(&mut self, entity: EntityId, is_unused: impl Fn(usize) -> bool) {
        let Ok(position) = self.ids.binary_search(&entity) else { return };
        if is_unused(self.slots[position] as usize) {
            self.ids.remove(position);
            self.free.push(self.slots.remove(position));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_was_taken_back_is_dealt_again() {
        let mut slots = Slots::Dealt(Dealt::default());
        let ids = [7_000, 12, 9_999].map(EntityId);
        assert_eq!(ids.map(|id| slots.find_or_deal(id)), [0, 1, 2]);
        slots.take_back_of(ids[1], |slot| slot == 1);
        assert_eq!(slots.find(ids[1]), None);
        slots.take_back_of(ids[2], |_| false);
        assert_eq!(slots.find(ids[2]), Some(2), "something lies there");
        assert_eq!(slots.find_or_deal(EntityId(5)), 1);
        assert_eq!(slots.find_or_deal(EntityId(6)), 3);
        slots.take_back(|slot| slot != 2);
        let set = FixedBitSet::with_capacity_and_blocks(8, [0xff]);
        assert_eq!(slots.of(&set).collect::<Vec<_>>(), [(ids[2], 2)]);
    }

    #[test]
    fn who_is_in_a_set_is_told_in_the_order_of_ids() {
        let mut dealt = Slots::Dealt(Dealt::default());
        let mut set = FixedBitSet::new();
        for id in [30, 10, 40, 20] {
            let slot = dealt.find_or_deal(EntityId(id));
            set.grow(slot + 1);
            set.set(slot, id != 40);
        }
        let ids: Vec<_> = dealt.of(&set).map(|(id, _)| id.0).collect();
        assert_eq!(ids, [10, 20, 30]);
        let by_id: Vec<_> = Slots::ById.of(&set).map(|(id, slot)| (id.0, slot)).collect();
        assert_eq!(by_id, [(0, 0), (1, 1), (3, 3)]);
    }
}
