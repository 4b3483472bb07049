//! Shots at those who run, by somebody who sees where they were.

use super::*;

/// Ticks that the shot flies before it meets anybody.
const FLIGHT_TICKS: u32 = 6;

/// Somebody runs across, at right angles to the shot. The shooter sees them so many 256ths of a
/// tick late, aims so that the shot meets them where they will be seen, and fires. Says whether
/// that was a hit.
fn hits(lag: u64, aimed_for: u64) -> bool {
    let mut harness = Harness::empty();
    let (shooter, runner) = (harness.join(1, ""), harness.join(2, ""));
    harness.fighter(shooter).position = Vec2::new(-300.0, 0.0);
    let start = Vec2::new(-50.0, -500.0);
    harness.fighter(runner).position = start;
    let run = Input { movement: (0.0, 1.0), ..Input::default() };
    // At full speed, and longer than the past that is remembered.
    for _ in 0..20 {
        harness.input(2, run);
        harness.tick_without_guests();
    }
    let step = harness.fighter(runner).position.y;
    harness.input(2, run);
    harness.tick_without_guests();
    let step = harness.fighter(runner).position.y - step;

    // Where the shooter will see the runner when the shot is there.
    let ahead = FLIGHT_TICKS as f32 - aimed_for as f32 / 256.0;
    let target = harness.fighter(runner).position + Vec2::new(0.0, step * ahead);
    let from = Vec2::new(-300.0, target.y);
    harness.fighter(shooter).position = from;
    let newest = Moment::of(Tick(harness.state.building().0 - 1));
    harness.seen = Moment(newest.0 - lag);
    harness.input(1, FIRE);
    harness.seen = Moment::ZERO;
    let hp = harness.fighter(runner).hp;
    for _ in 0..2 * FLIGHT_TICKS {
        harness.input(2, run);
        harness.tick_without_guests();
    }
    harness.fighter(runner).hp < hp
}

#[test]
fn a_runner_is_hit_where_the_shooter_saw_them() {
    for lag in [0, 100, 256, 300, 512, 777, 1024, 1279] {
        assert!(hits(lag, lag), "aimed as seen, {lag} 256ths of a tick late");
    }
    // At full speed a tick is 16 units, and somebody is 20 wide either way.
    for (lag, aimed_for) in [(0, 1024), (1024, 0), (256, 1024), (1024, 256)] {
        assert!(!hits(lag, aimed_for), "saw {lag}, aimed for {aimed_for}");
    }
}

#[test]
fn a_past_that_is_too_old_counts_as_the_oldest_there_is() {
    // 250 ms are 5 ticks.
    assert!(hits(5 * 256, 5 * 256));
    assert!(hits(20 * 256, 5 * 256), "who claims to see more is given no more");
    assert!(!hits(20 * 256, 8 * 256));
}

#[test]
fn who_died_and_came_back_is_not_hit_where_they_died() {
    let mut harness = Harness::empty();
    let (shooter, victim) = (harness.join(1, ""), harness.join(2, ""));
    harness.fighter(shooter).position = Vec2::new(-120.0, 0.0);
    harness.fighter(victim).position = Vec2::ZERO;
    for _ in 0..8 {
        harness.tick_without_guests();
    }
    // Dead for the last two ticks, and back beside the place since this one.
    (harness.fighter(victim).hp, harness.fighter(victim).respawn_ticks) = (0, 30);
    for _ in 0..2 {
        harness.tick_without_guests();
    }
    let back = harness.fighter(victim);
    (back.hp, back.respawn_ticks, back.position) = (HP_FULL, 0, Vec2::new(0.0, 60.0));
    let newest = Moment::of(Tick(harness.state.building().0 - 1));
    harness.seen = Moment(newest.0 - 256);
    harness.input(1, FIRE);
    harness.seen = Moment::ZERO;
    for _ in 0..4 {
        harness.tick_without_guests();
    }
    assert_eq!(harness.fighter(victim).hp, HP_FULL);
}
