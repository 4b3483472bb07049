//! How much of what was sent arrived.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::client::Ledger;

/// How much of what was sent arrived: sends of rooms that became state, messages that came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Reach {
    /// Sends of every client's room while the client was there, by tick numbers; messages sent,
    /// of a broadcast once for every other client.
    pub expected: u64,
    /// Of those, the ones the client neither applied nor was moved past on purpose, or that did
    /// not come.
    pub lost: u64,
}

impl Reach {
    /// Compares each client with the newest tick anybody in its room has, so that a tail that
    /// only some received is noticed.
    #[must_use]
    pub fn of(ledgers: &[Ledger]) -> Self {
        let mut newest: HashMap<u32, u32> = HashMap::new();
        for ledger in ledgers {
            let tick = newest.entry(ledger.room).or_default();
            *tick = ledger.last.0.max(*tick);
        }
        let mut reach = Self::default();
        // Who reads slowly is looked at apart.
        for ledger in ledgers.iter().filter(|ledger| !ledger.is_slow) {
            // Who left did not want the tail.
            let newest = if ledger.stayed { newest[&ledger.room] } else { ledger.last.0 };
            let tail = newest.saturating_sub(ledger.last.0).div_ceil(ledger.send_every.max(1));
            let expected = ledger.sends + tail;
            reach.expected += u64::from(expected);
            reach.lost += u64::from(expected.min(tail + ledger.lost));
        }
        reach
    }

    /// The share that arrived, in parts of a million, rounded down: a single loss shows.
    #[must_use]
    pub fn ppm(&self) -> u64 {
        let arrived = self.expected - self.lost.min(self.expected);
        (arrived * 1_000_000).checked_div(self.expected).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickloom_protocol::ids::Tick;

    #[test]
    fn reach_compares_every_client_with_its_room() {
        let ledger = |room, first, last, lost| Ledger {
            room,
            send_every: 1,
            sends: last - first,
            first: Tick(first),
            last: Tick(last),
            lost,
            stayed: true,
            ..Ledger::default()
        };
        let rows = [
            ("all there", vec![ledger(0, 5, 10, 0), ledger(0, 7, 10, 0)], (8, 0)),
            ("tail lost", vec![ledger(0, 5, 10, 0), ledger(0, 5, 8, 0)], (10, 2)),
            ("other room", vec![ledger(0, 5, 10, 0), ledger(1, 5, 8, 0)], (8, 0)),
            ("lost within", vec![ledger(0, 5, 10, 2)], (5, 2)),
            ("nothing at all", vec![ledger(0, 5, 10, 0), ledger(0, 5, 5, 0)], (10, 5)),
            (
                "left",
                vec![ledger(0, 5, 10, 0), Ledger { stayed: false, ..ledger(0, 5, 8, 0) }],
                (8, 0),
            ),
            (
                "slow",
                vec![ledger(0, 5, 10, 0), Ledger { is_slow: true, ..ledger(0, 5, 8, 0) }],
                (5, 0),
            ),
            ("nobody", vec![], (0, 0)),
        ];
        for (name, ledgers, (expected, lost)) in rows {
            assert_eq!(Reach::of(&ledgers), Reach { expected, lost }, "{name}");
        }
        let every_other = [10, 12].map(|last| Ledger {
            send_every: 2,
            sends: (last - 4) / 2,
            ..ledger(0, 4, last, 0)
        });
        assert_eq!(Reach::of(&every_other), Reach { expected: 8, lost: 1 });
        assert_eq!(Reach { expected: 10_000_000, lost: 1 }.ppm(), 999_999);
        assert_eq!(Reach::default().ppm(), 0, "nothing expected proves nothing");
    }
}
