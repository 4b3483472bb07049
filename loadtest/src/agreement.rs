//! What the clients of one room must agree on, from the books each of them kept. Pure.
//!
//! ```text
//! digests      replicas of one tick have one hash
//! increments   the count in the room is the sum of what was accepted
//! talk         what was accepted was heard by everybody, or announced as lost
//! slow readers have the newest state once they may read again
//! ```

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::client::{Ledger, Talk};
use crate::verdict::Reach;

/// How far the clients of all rooms agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, JsonSchema)]
pub struct Agreement {
    /// Replicas that were compared with others of their room and tick.
    pub replicas_compared: u64,
    /// Rooms with two replicas of one tick that differ.
    pub rooms_diverged: u64,
    /// Rooms whose count was compared with what was accepted.
    pub counts_compared: u64,
    /// Of those, the ones where they differ: a write that was accepted is not in the state, or one
    /// is that was not.
    pub counts_wrong: u64,
    /// Publications that were accepted in the window, once for every client that was there from
    /// its beginning to its end and reads as fast as it can.
    pub events_expected: u64,
    /// Of those, the ones that did not come.
    pub events_missing: u64,
    /// Of those, the ones that the room did not announce as lost.
    pub events_unaccounted: u64,
    /// Publications that are missing between two that came, and were neither announced as lost
    /// nor refused.
    pub events_skipped: u64,
    /// Clients that read slowly and stayed.
    pub slow_readers: u64,
    /// Of those, the ones that had their room's newest state when they were let drain.
    pub slow_converged: u64,
}

impl Agreement {
    /// Compares everybody's books.
    #[must_use]
    pub fn of(ledgers: &[Ledger]) -> Self {
        let mut rooms: BTreeMap<u32, Vec<&Ledger>> = BTreeMap::new();
        for ledger in ledgers {
            rooms.entry(ledger.room).or_default().push(ledger);
        }
        let mut agreement = Self::default();
        for ledgers in rooms.values() {
            agreement.compare_digests(ledgers);
            agreement.compare_counts(ledgers);
            agreement.compare_talk(ledgers);
            agreement.look_at_slow_readers(ledgers);
        }
        agreement
    }

    /// How much of what was said was heard.
    #[must_use]
    pub fn reach(&self) -> Reach {
        Reach { expected: self.events_expected, lost: self.events_missing }
    }

    /// What no slowness of ours can explain.
    #[must_use]
    pub fn wrong(&self) -> [(u64, &'static str); 3] {
        [
            (self.rooms_diverged, "rooms had replicas of one tick that differ"),
            (self.counts_wrong, "rooms have a count that is not what they accepted"),
            (self.events_skipped, "publications are missing, and the room did not say so"),
        ]
    }

    fn compare_digests(&mut self, ledgers: &[&Ledger]) {
        let mut hashes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for digest in ledgers.iter().filter_map(|ledger| ledger.digest) {
            hashes.entry(digest.tick.0).or_default().push(digest.hash);
        }
        let differ = |hashes: &Vec<u32>| hashes.iter().any(|hash| *hash != hashes[0]);
        self.rooms_diverged += u64::from(hashes.values().any(differ));
        let compared = hashes.values().map(Vec::len).filter(|count| *count > 1);
        self.replicas_compared += compared.sum::<usize>() as u64;
    }

    fn compare_counts(&mut self, ledgers: &[&Ledger]) {
        let first = ledgers.iter().filter_map(|ledger| ledger.increments?.first).min();
        // Without somebody who was there all the time, the room may have ended and begun anew.
        let witness = ledgers.iter().filter(|ledger| ledger.whole && !ledger.is_slow);
        let witness = witness.filter(|ledger| ledger.increments.is_some());
        let last = witness.max_by_key(|ledger| ledger.last).and_then(|ledger| ledger.increments);
        let (Some((_, first)), Some(last)) = (first, last) else { return };
        let increments = ledgers.iter().filter_map(|ledger| ledger.increments);
        let (accepted, unanswered) = increments.fold((0, 0), |(accepted, unanswered), one| {
            (accepted + one.accepted, unanswered + one.unanswered)
        });
        let risen = u64::try_from(last.last - first).unwrap_or(0);
        self.counts_compared += 1;
        self.counts_wrong += u64::from(!(accepted..=accepted + unanswered).contains(&risen));
    }

    fn compare_talk(&mut self, ledgers: &[&Ledger]) {
        let talks = || ledgers.iter().filter_map(|ledger| Some((*ledger, ledger.talk?)));
        let sum = |figure: fn(&Talk) -> u64| talks().map(|(_, talk)| figure(&talk)).sum::<u64>();
        let accepted = sum(|talk| talk.accepted);
        // A publication without an answer may have been said or not, like one that was refused
        // when its sender counted it already.
        let never_said = sum(|talk| talk.refused) + sum(|talk| talk.unanswered);
        for (ledger, talk) in talks() {
            let excused = talk.lost + never_said;
            self.events_skipped += talk.holes.saturating_sub(excused);
            if ledger.whole && !ledger.is_slow {
                let missing = accepted.saturating_sub(talk.received);
                self.events_expected += accepted;
                self.events_missing += missing;
                self.events_unaccounted += missing.saturating_sub(talk.lost);
            }
        }
    }

    fn look_at_slow_readers(&mut self, ledgers: &[&Ledger]) {
        let newest = ledgers.iter().map(|ledger| ledger.last).max();
        for ledger in ledgers.iter().filter(|ledger| ledger.is_slow && ledger.stayed) {
            self.slow_readers += 1;
            self.slow_converged += u64::from(Some(ledger.last) == newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Digest, Increments};
    use tickloom_protocol::ids::Tick;

    fn ledger() -> Ledger {
        Ledger { last: Tick(9), stayed: true, whole: true, ..Ledger::default() }
    }

    #[test]
    fn replicas_of_one_tick_are_compared_within_their_room() {
        let with = |room, tick, hash| Ledger {
            room,
            digest: Some(Digest { tick: Tick(tick), hash }),
            ..ledger()
        };
        for (name, ledgers, compared, diverged) in [
            ("equal", vec![with(0, 9, 7), with(0, 9, 7)], 2, 0),
            ("different", vec![with(0, 9, 7), with(0, 9, 8), with(0, 9, 7)], 3, 1),
            ("other ticks", vec![with(0, 9, 7), with(0, 8, 8)], 0, 0),
            ("other rooms", vec![with(0, 9, 7), with(1, 9, 8)], 0, 0),
            ("nobody", vec![], 0, 0),
        ] {
            let agreement = Agreement::of(&ledgers);
            let found = (agreement.replicas_compared, agreement.rooms_diverged);
            assert_eq!(found, (compared, diverged), "{name}");
        }
    }

    #[test]
    fn the_count_is_what_was_accepted() {
        let with = |accepted, unanswered, first, last| Ledger {
            increments: Some(Increments { accepted, unanswered, first, last }),
            ..ledger()
        };
        let gone = |accepted, unanswered| Ledger {
            whole: false,
            stayed: false,
            ..with(accepted, unanswered, None, 0)
        };
        for (name, ledgers, compared, wrong) in [
            ("all there", vec![with(3, 0, Some((1, 0)), 5), with(2, 0, Some((2, 1)), 5)], 1, 0),
            ("one lost", vec![with(3, 0, Some((1, 0)), 4), with(2, 0, None, 4)], 1, 1),
            ("one too many", vec![with(3, 0, Some((1, 0)), 4)], 1, 1),
            ("one unknown", vec![with(3, 1, Some((1, 0)), 4)], 1, 0),
            ("begun before", vec![with(3, 0, Some((7, 40)), 43)], 1, 0),
            ("somebody left", vec![with(3, 0, Some((1, 0)), 5), gone(2, 0)], 1, 0),
            ("only those who left", vec![gone(2, 0)], 0, 0),
        ] {
            let agreement = Agreement::of(&ledgers);
            let found = (agreement.counts_compared, agreement.counts_wrong);
            assert_eq!(found, (compared, wrong), "{name}");
        }
    }

    #[test]
    fn what_was_said_was_heard_or_announced() {
        let said = |accepted| Talk { accepted, received: 10, ..Talk::default() };
        let heard = |received, lost, holes| Talk { received, lost, holes, ..Talk::default() };
        let with = |talk| Ledger { talk: Some(talk), ..ledger() };
        let slow = |talk| Ledger { is_slow: true, ..with(talk) };
        let refused = |talk| Talk { refused: 1, ..talk };
        for (name, ledgers, (missing, unaccounted, skipped)) in [
            ("everything", vec![with(said(10)), with(heard(10, 0, 0))], (0, 0, 0)),
            ("announced", vec![with(said(10)), with(heard(8, 2, 2))], (2, 0, 0)),
            ("not announced", vec![with(said(10)), with(heard(8, 1, 2))], (2, 1, 1)),
            ("a tail", vec![with(said(10)), with(heard(8, 0, 0))], (2, 2, 0)),
            ("refused", vec![with(refused(said(10))), with(heard(10, 0, 1))], (0, 0, 0)),
            ("slow", vec![with(said(10)), slow(heard(3, 7, 7))], (0, 0, 0)),
            ("slow, not announced", vec![with(said(10)), slow(heard(3, 6, 7))], (0, 0, 1)),
        ] {
            let agreement = Agreement::of(&ledgers);
            let found =
                (agreement.events_missing, agreement.events_unaccounted, agreement.events_skipped);
            assert_eq!(found, (missing, unaccounted, skipped), "{name}");
        }
    }

    #[test]
    fn slow_readers_converge_on_the_newest_state_of_their_room() {
        let slow = |last| Ledger { is_slow: true, last: Tick(last), ..ledger() };
        let left = Ledger { stayed: false, ..slow(3) };
        let agreement = Agreement::of(&[ledger(), slow(9), slow(8), left]);
        assert_eq!((agreement.slow_readers, agreement.slow_converged), (2, 1));
    }
}
