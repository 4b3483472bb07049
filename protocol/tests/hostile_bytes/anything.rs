//! Damaged bytes of every kind, against every check.

use crate::seeds::{for_each_seed, mutated};
use crate::targets::{ENDS, TARGETS, put_chunks, target};
use crate::{corpus, world};

/// Checks `per_seed` damaged inputs of this name under each seed.
fn check_damaged(name: &str, per_seed: usize) {
    let target = target(name);
    let valid = (target.seeds)();
    for_each_seed(|rng| {
        for _ in 0..per_seed {
            (target.check)(&mutated(rng, &valid));
        }
    });
}

#[test]
fn every_check_passes_on_what_it_starts_from() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(seeds.len() >= 7, "{} starts from {} inputs", target.name, seeds.len());
        for seed in seeds {
            (target.check)(&seed);
        }
    }
}

#[test]
fn heads_are_whole_waited_for_or_refused() {
    check_damaged("head", 2);
}

#[test]
fn what_a_proxy_appends_comes_before_what_anybody_claims() {
    check_damaged("forwarded", 20);
}

#[test]
fn client_messages_that_decode_are_within_limits_and_encode_to_the_same() {
    check_damaged("client_message", 20);
}

#[test]
fn server_messages_that_decode_are_within_limits_and_encode_to_the_same() {
    check_damaged("server_message", 20);
}

#[test]
fn changes_that_are_read_fit_the_schema_and_the_limits() {
    check_damaged("changes", 20);
}

#[test]
fn a_link_answers_within_bounds_and_the_same_however_bytes_are_cut() {
    check_damaged("link", 1);
    // Several damaged frames behind each other, at either end.
    for (index, end) in (0..).zip(ENDS) {
        let frames = corpus::frames(end);
        for_each_seed(|rng| {
            let mut bytes = vec![index | rng.u8(..) & 0xfe];
            for _ in 0..rng.usize(1..8) {
                bytes.extend(mutated(rng, &frames));
            }
            (target("link").check)(&bytes);
        });
    }
}

#[test]
fn what_is_inflated_is_within_bounds_and_the_same_however_bytes_are_cut() {
    check_damaged("gate", 3);
}

#[test]
fn a_replica_stays_within_limits_and_recovers_with_a_snapshot() {
    let mut valid = corpus::chunks();
    valid.extend(corpus::oversized_chunks());
    for_each_seed(|rng| {
        let mut run = Vec::new();
        for _ in 1..20 {
            let behind = if rng.u8(0..4) == 0 { rng.u8(1..20) } else { 0 };
            put_chunks(behind, &mutated(rng, &valid), &mut run);
        }
        (target("chunks").check)(&run);
    });
}

#[test]
fn a_replica_that_sees_part_of_its_room_recovers_with_a_snapshot() {
    let valid: Vec<_> = world::deltas().map(|(_, chunks)| chunks).collect();
    for_each_seed(|rng| {
        let mut run = Vec::new();
        put_chunks(1, &world::snapshot(), &mut run);
        for _ in 1..20 {
            let behind = if rng.u8(0..8) == 0 { rng.u8(1..20) } else { 0 };
            let chunks = if rng.bool() {
                mutated(rng, &valid)
            } else {
                valid[rng.usize(0..valid.len())].clone()
            };
            put_chunks(behind, &chunks, &mut run);
        }
        (target("views").check)(&run);
    });
}

#[test]
fn recordings_that_are_read_are_within_limits_and_are_recorded_to_the_same() {
    check_damaged("recording", 5);
}
