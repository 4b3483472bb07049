//! What members see of a room with interest equals the room, restricted to what they are sent.
//!
//! Rooms, broadcasts and replicas are real; sockets are not there. A seed says what happens:
//! entities walk, teleport, come and go, members join, leave, look elsewhere, change sides and fall
//! behind. After every message the replica is compared with the room.
//!
//! `VIEW_SEEDS` says how many seeds, `VIEW_SEED` which one alone.

mod stage;

use stage::{Stage, rings};
use tickloom_protocol::schema::Ring;

/// States of one seed.
const STATES: u32 = 120;

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse().expect(name));
    match (number("VIEW_SEED"), number("VIEW_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, count) => (0..count.unwrap_or(40)).collect(),
    }
}

#[test]
fn a_view_equals_the_room_restricted_to_its_streams() {
    for seed in seeds() {
        let mut stage = Stage::new(seed, rings());
        stage.populate(40);
        (0..8).for_each(|at| stage.join_at([f64::from(at) * 12.0 - 42.0, 0.0]));
        for _ in 0..STATES {
            stage.step();
        }
        stage.settle();
        assert!(stage.checked > 100, "seed={seed}: {} views were compared", stage.checked);
    }
}

#[test]
fn a_seed_gives_the_same_bytes_every_time() {
    let bytes = |seed| {
        let mut stage = Stage::new(seed, rings());
        (0..STATES).for_each(|_| stage.step());
        (stage.bytes, stage.hash)
    };
    for seed in 1000..1004 {
        assert_eq!(bytes(seed), bytes(seed), "seed={seed}");
    }
}

#[test]
fn a_chunk_is_encoded_once_however_many_get_it() {
    let encodings = |members_count: usize| {
        let mut stage = Stage::new(5, rings());
        stage.populate(200);
        (0..members_count).for_each(|_| stage.join_at([0.0, 0.0]));
        stage.reseed(6);
        let mut per_state = Vec::new();
        for _ in 0..20 {
            let before = stage.broadcast.counts().encodings;
            stage.walk_strangers();
            stage.send();
            per_state.push(stage.broadcast.counts().encodings - before);
        }
        per_state
    };
    assert_eq!(encodings(1), encodings(200));
}

#[test]
fn a_teleport_is_spread_and_the_nearest_cells_come_first() {
    let ring = |distance, every| Ring { distance, every };
    let mut stage = Stage::new(9, vec![ring(2, 1), ring(3, 2)]);
    stage.populate(300);
    stage.join_at([-60.0, -60.0]);
    stage.send();
    let member = stage.first_member();
    stage.teleport(member, [60.0, 60.0]);
    let mut counts = Vec::new();
    for _ in 0..4 {
        stage.send();
        counts.push(stage.new_cells(member, [60.0, 60.0]));
    }
    // 4 x 4 cells are within three of the corner; six are new at most per state.
    assert_eq!(counts, [6, 12, 16, 16]);
    stage.settle();
}

#[test]
fn whoever_fell_behind_or_waited_gets_everything_in_one_message() {
    let mut stage = Stage::new(11, rings());
    stage.populate(200);
    (0..20).for_each(|at| stage.join_at([f64::from(at) * 6.0 - 60.0, 0.0]));
    stage.send();
    let laggards = stage.stall_half();
    for _ in 0..30 {
        stage.walk_strangers();
        stage.send();
    }
    let waiting = stage.waiting_bytes(&laggards);
    stage.unstall();
    let snapshots = stage.broadcast.counts().snapshots;
    stage.send();
    let caught_up = stage.broadcast.counts().snapshots - snapshots;
    assert_eq!(caught_up, laggards.len() as u64, "one each, {waiting} bytes had waited");
    assert!(laggards.iter().all(|member| stage.is_current(*member)));
    stage.settle();
}
