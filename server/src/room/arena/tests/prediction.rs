//! A client that runs the arena's own step ahead of the server, which it agrees with afterwards.

use std::collections::VecDeque;

use tickloom_protocol::ids::{InputSeq, Moment};

use super::*;
use crate::room::member::InputQueue;

/// Ticks by which the client is ahead: the longest that an input is under way.
const LEAD: u32 = 2;

/// A player's own fighter as a client keeps it.
struct Predictor {
    fighter: Fighter,
    /// Inputs that no state has shown yet.
    pending: VecDeque<(InputSeq, [u8; 4])>,
}

impl Predictor {
    fn step(fighter: &mut Fighter, harness: &Harness, row: &[u8]) {
        let intent = Intent::read(harness.state.schema().input(), row);
        fighter.steer(&intent, &harness.logic.map, &harness.logic.pace);
    }

    /// Takes the server's word for the past and does the rest again. Says whether the present is
    /// another one than before.
    fn reconcile(&mut self, harness: &Harness, acked: InputSeq, told: Fighter) -> bool {
        while self.pending.pop_front_if(|(seq, _)| *seq <= acked).is_some() {}
        let mut now = told;
        for (_, row) in &self.pending {
            Self::step(&mut now, harness, row);
        }
        let place = |fighter: &Fighter| (fighter.position, fighter.velocity, fighter.yaw);
        let is_corrected = place(&now) != place(&self.fighter);
        self.fighter = now;
        is_corrected
    }
}

/// Plays for a while over a line that delays. Returns how often the client was wrong.
fn corrections(seed: u64, is_starved: impl Fn(u32) -> bool) -> usize {
    let mut harness = Harness::new(seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    let entity = harness.join(1, "");
    let fighter = harness.fighter(entity).clone();
    let mut client = Predictor { fighter, pending: VecDeque::new() };
    let mut queue = InputQueue::default();
    let (mut up, mut down) = (VecDeque::new(), VecDeque::new());
    let (mut up_at, mut down_at, mut corrections) = (0, 0, 0);
    for now in 0..600 {
        let (seq, row) = (InputSeq(now + 1), harness.row(random_input(&mut rng)));
        Predictor::step(&mut client.fighter, &harness, &row);
        client.pending.push_back((seq, row));
        // Now and then as late as can be, or the queue would count as standing.
        let delay = if now % 8 == 0 { LEAD } else { rng.u32(0..=LEAD) };
        let delay = if is_starved(now) { LEAD + 1 } else { delay };
        up_at = up_at.max(now + delay);
        up.push_back((up_at, seq, row));
        while let Some((_, seq, row)) = up.pop_front_if(|(at, ..)| *at <= now) {
            queue.push(seq, Moment::ZERO, &row);
        }
        if now >= LEAD {
            for (row, freshness) in queue.take_tick().into_iter().flatten() {
                harness.with(|logic, room| {
                    logic.on_input(room, MemberId(1), row.bytes(), freshness);
                });
            }
            harness.tick_without_guests();
            down_at = down_at.max(now + rng.u32(0..=4));
            down.push_back((down_at, queue.acked(), harness.fighter(entity).clone()));
        }
        while let Some((_, acked, told)) = down.pop_front_if(|(at, ..)| *at <= now) {
            corrections += usize::from(client.reconcile(&harness, acked, told));
        }
    }
    assert!(queue.acked().0 > 500, "the server followed");
    corrections
}

#[test]
fn a_client_that_predicts_is_never_corrected_while_its_inputs_are_in_time() {
    for seed in 0..20 {
        assert_eq!(corrections(seed, |_| false), 0, "seed {seed}");
    }
}

#[test]
fn an_input_that_comes_too_late_is_corrected() {
    assert!(corrections(1, |now| now % 100 == 50) > 0, "this test could fail");
}
