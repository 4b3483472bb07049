//! The whole server under a seed: several shards, many clients, a virtual clock and a network
//! that splits, delays, stalls and drops.
//!
//! After every step all invariants hold; nobody's replica ever breaks; now and then, and at the end,
//! every replica equals what its room shows it, byte for byte, and in the end everything drains to
//! nothing. In every third world all connections are encrypted. `SIM_SEED` replays one seed,
//! `SIM_SEEDS` and `SIM_STEPS` widen the sweep.

mod chaos;
mod described;
mod encryption;
mod fuse;
mod lobby;
mod meadow;
mod network;
mod outcome;
mod peer;
mod recordings;
mod world;

#[path = "../tls_client/mod.rs"]
mod tls_client;

use std::panic::{AssertUnwindSafe, catch_unwind};

use outcome::{Outcome, Plant};
use tickloom_server::recording::RecordedRooms;
use world::World;

const STEPS: u64 = 400;

fn knob(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")),
        Err(_) => default,
    }
}

/// Runs one seed to its end, with all rooms recorded. A failure says how to see it again.
fn run(seed: u64, plant: Plant) -> Result<Outcome, String> {
    run_recording(seed, plant, RecordedRooms::All)
}

fn run_recording(seed: u64, plant: Plant, recorded: RecordedRooms) -> Result<Outcome, String> {
    let steps = knob("SIM_STEPS", STEPS);
    let mut world = World::new(seed, plant, recorded);
    let result = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..steps {
            world.step();
        }
        world.settle();
        world.drain()
    }));
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let step = world.steps_count();
        format!("seed={seed} step={step}: {}", text.unwrap_or_else(|| "no message".to_owned()))
    })
}

#[test]
fn every_replica_equals_its_room_whatever_the_network_does() {
    let (first, count) = match std::env::var("SIM_SEED") {
        Ok(_) => (knob("SIM_SEED", 0), 1),
        Err(_) => (0, knob("SIM_SEEDS", 40)),
    };
    let mut total = Outcome::default();
    for seed in first..first + count {
        match run(seed, Plant::Nothing) {
            Ok(outcome) => total.add(&outcome),
            Err(failure) => panic!("SIM_SEED={seed} cargo test --test simulation\n{failure}"),
        }
    }
    println!("{total:?}");
    if count >= 10 {
        // A sweep in which one of these never happened proves nothing about it.
        assert!(total.deltas > 1_000, "{total:?}");
        assert!(total.catch_ups > 10, "{total:?}");
        assert!(total.hashes_checked > 100, "{total:?}");
        assert!(total.moves_between_shards > 10, "{total:?}");
        assert!(total.compared > 50, "{total:?}");
        assert!(total.dropped > 10, "{total:?}");
        assert!(total.half_closed > 10, "{total:?}");
        assert!(total.trickled > 10, "{total:?}");
        assert!(total.hostile_ended > 10, "{total:?}");
        assert!(total.pauses > 10, "{total:?}");
        assert!(total.turned_away > 10, "{total:?}");
        assert!(total.packed > 1_000, "{total:?}");
        assert!(total.window_resets > 100, "{total:?}");
        assert!(total.handed_over > 10, "{total:?}");
        assert!(total.encrypted > 50, "{total:?}");
        assert!(total.resumed > 10, "{total:?}");
        assert!(total.handshakes_failed > 5, "{total:?}");
        assert!(total.watching > 20, "{total:?}");
        assert!(total.chosen > 20, "{total:?}");
        assert!(total.kept_out > 20, "{total:?}");
        assert!(total.seats_taken > 10, "{total:?}");
        assert!(total.seats_lost > 5, "{total:?}");
        assert!(total.ruled > 20, "{total:?}");
        assert!(total.overruled > 20, "{total:?}");
        assert!(total.kicked > 5, "{total:?}");
        assert!(total.checkpoints > 50, "{total:?}");
        assert!(total.resumes > 50, "{total:?}");
        assert!(total.recovered > 20, "{total:?}");
        assert!(total.recovered < total.resumes, "{total:?}");
        assert!(total.takeovers > 20, "{total:?}");
        assert!(total.graces_expired > 20, "{total:?}");
        assert!(total.paused > 100, "{total:?}");
        assert!(total.looks > 100, "{total:?}");
        assert!(total.view_hashes > 500, "{total:?}");
        assert!(total.glances > 4_000, "{total:?}");
        assert!(total.view_glances > 300, "{total:?}");
        assert!(total.camera_glances > 10, "{total:?}");
        assert!(total.rooms_ended > 5, "{total:?}");
        assert!(total.rooms_failed > 5, "{total:?}");
        assert!(total.failed > 2, "{total:?}");
        assert!(total.described.accepted > 500, "{total:?}");
        assert!(total.described.refused > 50, "{total:?}");
        assert!(total.described.conflicts > 10, "{total:?}");
        assert!(total.described.heard > 500, "{total:?}");
        assert!(total.described.history > 10, "{total:?}");
        assert!(total.described.lost > 2, "{total:?}");
    }
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in [3, 4, 5] {
        let traces = [(); 2].map(|()| {
            let outcome = run(seed, Plant::Nothing).unwrap_or_else(|failure| panic!("{failure}"));
            (outcome.trace, outcome)
        });
        assert_eq!(traces[0], traces[1], "seed={seed}");
    }
}

#[test]
fn recording_rooms_changes_nothing_in_them() {
    for seed in [6, 7, 8] {
        let [on, off] = [RecordedRooms::All, RecordedRooms::None].map(|recorded| {
            let outcome = run_recording(seed, Plant::Nothing, recorded);
            outcome.unwrap_or_else(|failure| panic!("{failure}"))
        });
        assert!(on.checkpoints > 0 && off.checkpoints == 0, "seed={seed}");
        assert_eq!(on, Outcome { checkpoints: on.checkpoints, ..off }, "seed={seed}");
    }
}

/// A simulation that cannot find bugs is worth nothing. Each of these is one that servers have
/// had: an id without a generation, a frame left out without a resync, a buffer sent to the
/// wrong room, a client that counts as in step with a shared window and is not.
#[test]
fn planted_bugs_are_caught() {
    let hook = std::panic::take_hook();
    // The failures are expected; their messages would drown those that are not.
    std::panic::set_hook(Box::new(|_| {}));
    let caught: Vec<_> =
        [Plant::StaleToken, Plant::SkippedDelta, Plant::ForeignFrame, Plant::OutOfStep]
            .into_iter()
            .map(|plant| (plant, (0..1_000).find_map(|seed| run(seed, plant).err())))
            .collect();
    std::panic::set_hook(hook);
    for (plant, failure) in caught {
        let failure = failure.unwrap_or_else(|| panic!("{plant:?} survived 1,000 seeds"));
        println!("{plant:?} caught at {failure}");
    }
}
