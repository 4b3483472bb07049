//! Whether a receiver heard what it should: every sender's publications in order, none twice, and
//! no hole that the room did not announce. Pure.
//!
//! Two counts are compared. The room numbers the events of a stream, and a receiver that missed
//! some is told how many. Senders number their publications, too, in the body, where no server
//! looks: an event that a room drops, doubles or swaps before it numbers it shows there only.

use std::collections::{BTreeSet, HashMap};

/// Holes of one sender that are remembered, to tell a late publication from a repeated one.
const HOLES_MAX: usize = 1024;

/// How a publication came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// It is the next of its sender, or the first.
    Next,
    /// It follows a hole of this many.
    AfterHole(u32),
    /// It came before.
    Repeated,
    /// One that was sent after it came before.
    Overtaken,
}

/// What one receiver heard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hearing {
    /// The room's number that the next event should have; `None` before the first.
    next_seq: Option<u64>,
    /// Nothing was heard before this delta: what its numbers leave out is history.
    is_new: bool,
    /// Room's numbers that were passed over.
    seq_holes: u64,
    senders: HashMap<u32, Sender>,
    /// Senders' numbers that were passed over and did not come later.
    holes: u64,
}

#[derive(Clone, Debug, Default)]
struct Sender {
    next: u32,
    holes: BTreeSet<u32>,
}

impl Hearing {
    /// A delta begins.
    pub(crate) fn handle_delta(&mut self) {
        self.is_new = self.next_seq.is_none();
    }

    /// Takes in one event of the room; `lost` is how many the room announced as lost so far, this
    /// delta's included.
    pub(crate) fn handle_event(&mut self, seq: u64, lost: u64) {
        match self.next_seq {
            Some(next) if !self.is_new => self.seq_holes += seq.saturating_sub(next),
            // What was lost before the first is announced and cannot be seen.
            _ => self.seq_holes = lost,
        }
        self.next_seq = Some(seq.saturating_add(1));
    }

    /// Takes in the publication inside the event.
    pub(crate) fn handle_publication(&mut self, sender: u32, number: u32) -> Arrival {
        let Some(known) = self.senders.get_mut(&sender) else {
            self.senders.insert(sender, Sender { next: number + 1, holes: BTreeSet::new() });
            return Arrival::Next;
        };
        if number < known.next {
            if known.holes.remove(&number) {
                self.holes -= 1;
                return Arrival::Overtaken;
            }
            return Arrival::Repeated;
        }
        let hole = number - known.next;
        for missing in known.next..number {
            if known.holes.len() == HOLES_MAX {
                known.holes.pop_first();
            }
            known.holes.insert(missing);
        }
        self.holes += u64::from(hole);
        known.next = number + 1;
        if hole == 0 { Arrival::Next } else { Arrival::AfterHole(hole) }
    }

    /// How far the room's numbers and its announcement of `lost` are apart. To be asked after a
    /// delta that brought events.
    pub(crate) fn disagreement(&self, lost: u64) -> u64 {
        self.seq_holes.abs_diff(lost)
    }

    /// Publications that were passed over and did not come later.
    pub(crate) fn holes(&self) -> u64 {
        self.holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hears senders' publications with the room's numbers, and says how each came.
    fn hear(events: &[(u64, u32, u32)], lost: u64) -> (Vec<Arrival>, u64, u64) {
        let mut hearing = Hearing::default();
        let arrivals = events.iter().map(|(seq, sender, number)| {
            hearing.handle_delta();
            hearing.handle_event(*seq, 0);
            hearing.handle_publication(*sender, *number)
        });
        let arrivals = arrivals.collect();
        (arrivals, hearing.holes(), hearing.disagreement(lost))
    }

    #[test]
    fn each_fault_has_a_name() {
        use Arrival::{AfterHole, Next, Overtaken, Repeated};
        for (name, events, arrivals, holes, disagreement) in [
            ("all well", &[(5, 1, 0), (6, 2, 7), (7, 1, 1)][..], &[Next; 3][..], 0, 0),
            ("one lost", &[(5, 1, 0), (6, 1, 2)], &[Next, AfterHole(1)], 1, 0),
            ("lost and announced", &[(5, 1, 0), (7, 1, 2)], &[Next, AfterHole(1)], 1, 1),
            ("twice", &[(5, 1, 0), (6, 1, 0)], &[Next, Repeated], 0, 0),
            ("swapped", &[(5, 1, 0), (6, 1, 2), (7, 1, 1)], &[Next, AfterHole(1), Overtaken], 0, 0),
            (
                "swapped and twice",
                &[(5, 1, 0), (6, 1, 2), (7, 1, 1), (8, 1, 1)],
                &[Next, AfterHole(1), Overtaken, Repeated],
                0,
                0,
            ),
        ] {
            let found = hear(events, 0);
            assert_eq!(found, (arrivals.to_vec(), holes, disagreement), "{name}");
        }
    }

    #[test]
    fn a_loss_before_the_first_event_is_announced_and_not_seen() {
        let mut hearing = Hearing::default();
        hearing.handle_delta();
        // History has holes of its own: topics without one.
        [4, 6, 9].into_iter().for_each(|seq| hearing.handle_event(seq, 3));
        assert_eq!(hearing.disagreement(3), 0);
        hearing.handle_delta();
        hearing.handle_event(12, 5);
        assert_eq!((hearing.disagreement(5), hearing.disagreement(4)), (0, 1));
    }

    #[derive(Clone, Copy, Debug)]
    enum Fault {
        Lost,
        Announced,
        Doubled,
        Swapped,
    }

    proptest! {
        /// Whoever talks and however much: one planted fault is found, as what it is, and nothing
        /// else is.
        #[test]
        fn a_planted_fault_is_found_and_nothing_else(
            senders in prop::collection::vec(0_u32..4, 8..60),
            position in 1_usize..1000,
            fault in prop_oneof![
                Just(None),
                Just(Some(Fault::Lost)),
                Just(Some(Fault::Announced)),
                Just(Some(Fault::Doubled)),
                Just(Some(Fault::Swapped)),
            ],
        ) {
            let mut counts = [0_u32; 4];
            let mut said: Vec<(u32, u32)> = senders
                .iter()
                .map(|sender| {
                    counts[*sender as usize] += 1;
                    (*sender, counts[*sender as usize])
                })
                .collect();
            // The fault is planted on one that has another of the same sender before and behind.
            let between: Vec<usize> = (0..said.len())
                .filter(|at| said[*at].1 > 1 && said[*at].1 < counts[said[*at].0 as usize])
                .collect();
            prop_assume!(!between.is_empty());
            let at = between[position % between.len()];
            let mut seqs: Vec<u64> = (1..=said.len() as u64).collect();
            let mut lost = 0;
            match fault {
                None => {}
                Some(Fault::Lost) => {
                    said.remove(at);
                    seqs.pop();
                }
                Some(Fault::Announced) => {
                    said.remove(at);
                    seqs.remove(at);
                    lost = 1;
                }
                Some(Fault::Doubled) => {
                    said.insert(at, said[at]);
                    seqs.push(seqs.len() as u64 + 1);
                }
                Some(Fault::Swapped) => {
                    let sender = said[at].0;
                    let next = (at + 1..said.len()).find(|i| said[*i].0 == sender).expect("behind");
                    said.swap(at, next);
                }
            }
            let events: Vec<(u64, u32, u32)> =
                seqs.iter().zip(&said).map(|(seq, (sender, number))| (*seq, *sender, *number)).collect();
            let (arrivals, holes, disagreement) = hear(&events, lost);
            let count = |wanted: fn(&Arrival) -> bool| arrivals.iter().filter(|a| wanted(a)).count();
            let found = (
                count(|a| matches!(a, Arrival::Repeated)),
                count(|a| matches!(a, Arrival::Overtaken)),
                holes.saturating_sub(lost),
                disagreement,
            );
            let expected = match fault {
                None | Some(Fault::Announced) => (0, 0, 0, 0),
                Some(Fault::Lost) => (0, 0, 1, 0),
                Some(Fault::Doubled) => (1, 0, 0, 0),
                Some(Fault::Swapped) => (0, 1, 0, 0),
            };
            prop_assert_eq!(found, expected, "{:?} at {}: {:?}", fault, at, events);
        }
    }
}
