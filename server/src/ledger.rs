//! Where a shard's time goes: by room, by kind of room, and by what a tick is made of.
//!
//! ```text
//! inputs -> logic -> encode -> flush      of each room, nanoseconds since the last second
//!                                  |
//!                                  v      once a second
//!              sums by room type, and the rooms that took most
//! ```
//!
//! A shard has no clock. The edge lends it a [`Stopwatch`], whose readings end up in these sums and
//! nowhere else: nothing is ever decided by them, so a room plays out the same with any. A reading
//! takes some 50 ns, and a tick five of them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::room::RoomId;
use crate::rooms::RoomTable;

/// Rooms that are told of one by one.
const BUSIEST_MAX: usize = 5;

/// Reads a clock in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(fn() -> u64);

impl Stopwatch {
    /// One that stands still: of rooms that nobody measures.
    pub const STOPPED: Self = Self(|| 0);

    /// One that reads this clock, of which only differences mean anything.
    #[must_use]
    pub const fn new(read: fn() -> u64) -> Self {
        Self(read)
    }

    /// Begins to measure.
    #[must_use]
    pub fn start(self) -> Lap {
        Lap { stopwatch: self, since: self.0() }
    }
}

/// One thing after the other, measured.
#[derive(Clone, Copy, Debug)]
pub struct Lap {
    stopwatch: Stopwatch,
    since: u64,
}

impl Lap {
    /// Nanoseconds since the last call, or since it began.
    pub fn split(&mut self) -> u64 {
        let now = self.stopwatch.0();
        let passed = now.saturating_sub(self.since);
        self.since = now;
        passed
    }
}

/// What a room's turn is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Inputs are taken and given to the room's logic.
    Inputs,
    /// The logic makes its step.
    Logic,
    /// The state is written and put into queues.
    Encode,
    /// The queues are written to sockets.
    Flush,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Inputs, Self::Logic, Self::Encode, Self::Flush];

    /// What others call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inputs => "inputs",
            Self::Logic => "logic",
            Self::Encode => "encode",
            Self::Flush => "flush",
        }
    }
}

/// Time by phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Spent([u64; Phase::ALL.len()]);

impl Spent {
    /// Adds nanoseconds.
    pub fn add(&mut self, phase: Phase, nanos: u64) {
        self.0[phase as usize] += nanos;
    }

    /// Nanoseconds of a phase.
    #[must_use]
    pub fn of(&self, phase: Phase) -> u64 {
        self.0[phase as usize]
    }

    /// Nanoseconds of all phases.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    fn merge(&mut self, other: Self) {
        for (sum, nanos) in self.0.iter_mut().zip(other.0) {
            *sum += nanos;
        }
    }
}

impl Serialize for Spent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            Phase::ALL.map(|phase| (format!("{}_us", phase.name()), self.of(phase) / 1_000)),
        )
    }
}

/// The sums of one shard.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Since the shard started. As many as there are room types.
    types: BTreeMap<Box<str>, Spent>,
}

/// What a shard says of its time once a second.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct LedgerPage {
    /// By room type, since the shard started.
    pub types: BTreeMap<Box<str>, Spent>,
    /// The rooms that took most of the last second, the first the most. They are told apart by
    /// their place in the shard's table: a name may be a secret.
    pub busiest_rooms: Vec<BusyRoom>,
}

/// A room that took much of the last second.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BusyRoom {
    /// Its place in the shard's table.
    pub room_slot: u32,
    /// What it is.
    pub room_type: Box<str>,
    /// Who is there.
    pub members_count: usize,
    /// What it took.
    #[serde(flatten)]
    pub spent: Spent,
}

impl Ledger {
    /// Time that a room took.
    pub fn add(&mut self, room_type: &str, spent: Spent) {
        match self.types.get_mut(room_type) {
            Some(sum) => sum.merge(spent),
            None => drop(self.types.insert(room_type.into(), spent)),
        }
    }

    /// Another second is over: adds up what the rooms took, who start over.
    pub fn turn_page(&mut self, rooms: &mut RoomTable) -> LedgerPage {
        let mut spent: Vec<(RoomId, Spent)> = Vec::new();
        rooms.for_each_mut(|id, room| {
            let took = room.take_spent();
            if took.total() > 0 {
                self.add(&room.key().room_type, took);
                spent.push((id, took));
            }
        });
        let most_first = |(_, spent): &(RoomId, Spent)| std::cmp::Reverse(spent.total());
        if spent.len() > BUSIEST_MAX {
            spent.select_nth_unstable_by_key(BUSIEST_MAX, most_first);
            spent.truncate(BUSIEST_MAX);
        }
        spent.sort_unstable_by_key(most_first);
        let busy = spent.into_iter().filter_map(|(id, spent)| {
            let room = rooms.get(id)?;
            let (room_type, members_count) = (room.key().room_type.clone(), room.members().len());
            Some(BusyRoom { room_slot: id.index, room_type, members_count, spent })
        });
        LedgerPage { types: self.types.clone(), busiest_rooms: busy.collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static NANOS: Cell<u64> = const { Cell::new(0) };
    }

    #[test]
    fn a_lap_splits_time_and_a_stopped_watch_has_none() {
        let mut lap = Stopwatch::new(|| NANOS.get()).start();
        NANOS.set(30);
        assert_eq!(lap.split(), 30);
        NANOS.set(75);
        assert_eq!(lap.split(), 45);
        NANOS.set(70);
        assert_eq!(lap.split(), 0, "a clock that goes back");
        assert_eq!(Stopwatch::STOPPED.start().split(), 0);
    }

    #[test]
    fn time_adds_up_by_room_type_and_phase() {
        let mut ledger = Ledger::default();
        let spent = |inputs, logic| {
            let mut spent = Spent::default();
            spent.add(Phase::Inputs, inputs);
            spent.add(Phase::Logic, logic);
            spent
        };
        ledger.add("arena", spent(1_000, 2_000));
        ledger.add("relay", spent(5_000, 0));
        ledger.add("arena", spent(10_000, 20_500));
        let page = ledger.turn_page(&mut RoomTable::default());
        let json = serde_json::to_value(&page).expect("JSON");
        let of = |inputs, logic| {
            serde_json::json!({
                "inputs_us": inputs, "logic_us": logic, "encode_us": 0, "flush_us": 0
            })
        };
        let types = serde_json::json!({ "arena": of(11, 22), "relay": of(5, 0) });
        assert_eq!(json, serde_json::json!({ "types": types, "busiest_rooms": [] }));
    }
}
