//! Whether what a room accepted is there: a write, its tick, and what the replica has when it gets
//! that far. Pure.
//!
//! A value carries its writer and the writer's number, so that it can be told whose it is. Only
//! the newest write of a place is looked for: what it replaced need never have been seen.

use std::collections::{BTreeMap, VecDeque};

use tickloom_protocol::ids::{EntityId, Tick};

/// Where something is written that nobody else of the run writes at the same time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Spot {
    /// The client's own key of what is shared.
    Shared,
    /// An item of its own.
    Item(EntityId),
}

/// What is at a spot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// The client's own value of this number.
    Own(u32),
    /// Somebody else's.
    Foreign,
}

/// What was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    /// A value of this number.
    Value(u32),
    /// Nothing: the spot is removed.
    Removal(u32),
}

impl Written {
    fn number(self) -> u32 {
        match self {
            Self::Value(number) | Self::Removal(number) => number,
        }
    }
}

/// The writes of one client that are still to be seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes {
    /// The number of the newest write of each spot that was sent. Spots that are gone are gone
    /// from here too.
    newest: BTreeMap<Spot, u32>,
    /// Accepted writes with the tick that shows them, ascending.
    accepted: VecDeque<(Tick, Spot, Written)>,
}

/// What became of accepted writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Seen {
    /// Looked for and there.
    pub(crate) there: u64,
    /// Looked for and not there.
    pub(crate) missing: u64,
}

impl Writes {
    /// A write of `spot` is on its way.
    pub(crate) fn handle_sent(&mut self, spot: Spot, written: Written) {
        self.newest.insert(spot, written.number());
    }

    /// The room accepted a write; its state of `tick` shows it.
    pub(crate) fn handle_accepted(&mut self, tick: Tick, spot: Spot, written: Written) {
        // What adds an item learns its spot only now.
        self.newest.entry(spot).or_insert(written.number());
        self.accepted.push_back((tick, spot, written));
    }

    /// The replica is at `tick`; `find` says what it has where.
    pub(crate) fn handle_tick(&mut self, tick: Tick, find: impl Fn(Spot) -> Found) -> Seen {
        let mut seen = Seen::default();
        while let Some((_, spot, written)) = self.accepted.pop_front_if(|(at, ..)| *at <= tick) {
            let is_newest = self.newest.get(&spot) == Some(&written.number());
            if !is_newest {
                continue;
            }
            let is_there = match (written, find(spot)) {
                (Written::Value(number), Found::Own(found)) => number == found,
                // Whoever had this place before may have written last; an item is ours alone.
                (Written::Value(_), Found::Foreign) => spot == Spot::Shared,
                (Written::Value(_), Found::Nothing) => false,
                (Written::Removal(_), Found::Own(_)) => false,
                // The id may be somebody else's item by now.
                (Written::Removal(_), Found::Nothing | Found::Foreign) => true,
            };
            if matches!(written, Written::Removal(_)) {
                self.newest.remove(&spot);
            }
            seen.there += u64::from(is_there);
            seen.missing += u64::from(!is_there);
        }
        seen
    }

    /// Accepted writes whose tick did not come.
    pub(crate) fn waiting_count(&self) -> usize {
        self.accepted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ITEM: Spot = Spot::Item(EntityId(7));

    #[test]
    fn what_was_accepted_is_looked_for_when_its_tick_is_there() {
        use Written::{Removal, Value};
        for (name, spot, written, found, there) in [
            ("a value", ITEM, Value(3), Found::Own(3), true),
            ("an older value", ITEM, Value(3), Found::Own(2), false),
            ("nothing", ITEM, Value(3), Found::Nothing, false),
            ("another's item", ITEM, Value(3), Found::Foreign, false),
            ("a key of the one before", Spot::Shared, Value(3), Found::Foreign, true),
            ("removed", ITEM, Removal(3), Found::Nothing, true),
            ("removed, the id used again", ITEM, Removal(3), Found::Foreign, true),
            ("not removed", ITEM, Removal(3), Found::Own(2), false),
        ] {
            let mut writes = Writes::default();
            writes.handle_sent(spot, written);
            writes.handle_accepted(Tick(9), spot, written);
            assert_eq!(
                writes.handle_tick(Tick(8), |_| found),
                Seen::default(),
                "{name}: too early"
            );
            let seen = writes.handle_tick(Tick(9), |_| found);
            assert_eq!((seen.there, seen.missing), (u64::from(there), u64::from(!there)), "{name}");
            assert_eq!(writes.waiting_count(), 0, "{name}");
        }
    }

    #[test]
    fn what_a_later_write_replaced_is_not_looked_for() {
        let mut writes = Writes::default();
        writes.handle_sent(ITEM, Written::Value(1));
        writes.handle_accepted(Tick(4), ITEM, Written::Value(1));
        writes.handle_sent(ITEM, Written::Value(2));
        assert_eq!(writes.handle_tick(Tick(5), |_| Found::Own(2)), Seen::default());
        writes.handle_accepted(Tick(6), ITEM, Written::Value(2));
        assert_eq!(writes.handle_tick(Tick(6), |_| Found::Own(2)), Seen { there: 1, missing: 0 });
    }

    proptest! {
        /// A room that accepts everything and applies it with the next tick loses one write at
        /// most; it is missed exactly when nothing was written to its spot before it was seen.
        #[test]
        fn a_lost_write_is_missed_and_nothing_else_is(
            spots in prop::collection::vec(0_u32..4, 1..40),
            lost in prop::option::of(0_usize..40),
        ) {
            let (mut writes, mut room) = (Writes::default(), BTreeMap::new());
            let (mut missing, mut expected) = (0, 0);
            for (number, item) in spots.iter().enumerate() {
                let (spot, number) = (Spot::Item(EntityId(*item)), number as u32);
                writes.handle_sent(spot, Written::Value(number));
                let tick = Tick(number + 1);
                writes.handle_accepted(tick, spot, Written::Value(number));
                if lost == Some(number as usize) {
                    expected = 1;
                } else {
                    room.insert(spot, number);
                }
                let find = |spot| room.get(&spot).map_or(Found::Nothing, |n| Found::Own(*n));
                missing += writes.handle_tick(tick, find).missing;
            }
            prop_assert_eq!(missing, expected);
        }
    }
}
