//! One room's tick without sockets: what a shard does between its timer and its first write.
//!
//! ```text
//! tick/arena       inputs -> logic -> state -> encode -> frames in every outbox -> drained
//! tick/broadcast                             encode -> frames in every outbox
//! tick/encode                                encode, from state that all moved
//! ```
//!
//! `cargo bench -p tickloom-benches --bench tick`. Elements are members, or entities in
//! `tick/encode`, so that criterion also prints their number per second. Some ticks state
//! a hash, as many as in a server.
//!
//! It does not tell what a turn of the loop costs: copying frames into a write, the writes
//! themselves, reading inputs, and caches that fifty other rooms have used meanwhile. That is in
//! `tick_latency`, and the kernel's share alone in `floor`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use tickloom_benches::rooms::{ArenaRoom, MovedState, MovingCrowd};

const ARENAS: [(&str, usize); 2] = [("20_members", 20), ("100_members", 100)];
const CROWD_MEMBERS: u16 = 100;
const ENTITIES: usize = 1_000;

fn main() {
    print_sizes();
    let mut criterion = Criterion::default().configure_from_args();
    bench_arena(&mut criterion);
    bench_broadcast(&mut criterion);
    bench_encode(&mut criterion);
    criterion.final_summary();
}

/// Sizes are exact, so they are printed once instead of measured. Not on stdout, which belongs
/// to criterion.
fn print_sizes() {
    const TICKS: usize = 100;
    for (name, members_count) in ARENAS {
        let mut arena = ArenaRoom::new(members_count);
        let bytes: usize = (0..TICKS).map(|_| arena.tick()).sum();
        eprintln!("arena/{name}: {} B per member and tick", bytes / TICKS / members_count);
    }
}

fn bench_arena(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tick/arena");
    for (name, members_count) in ARENAS {
        let mut arena = ArenaRoom::new(members_count);
        group.throughput(Throughput::Elements(members_count as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| arena.tick()));
    }
    group.finish();
}

/// Only `send` counts: between two of them everybody has to move and outboxes to be emptied.
fn bench_broadcast(criterion: &mut Criterion) {
    let mut crowd = MovingCrowd::new(CROWD_MEMBERS);
    let mut group = criterion.benchmark_group("tick/broadcast");
    group.throughput(Throughput::Elements(CROWD_MEMBERS.into()));
    group.bench_function("100_members", |b| {
        b.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                black_box(crowd.begin_tick());
                #[expect(clippy::disallowed_methods, reason = "a stopwatch around one call")]
                let start = Instant::now();
                crowd.send();
                total += start.elapsed();
            }
            total
        });
    });
    group.finish();
}

fn bench_encode(criterion: &mut Criterion) {
    for (stage, run) in [
        ("delta", MovedState::encode_delta as fn(&mut MovedState, &mut Vec<u8>)),
        ("catch_up", MovedState::encode_catch_up),
        ("snapshot", MovedState::encode_snapshot),
    ] {
        let (mut moved, mut chunks) = (MovedState::new(ENTITIES), Vec::new());
        let mut group = criterion.benchmark_group(format!("tick/encode/{stage}"));
        group.throughput(Throughput::Elements(ENTITIES as u64));
        group.bench_function("1k_entities", |b| {
            b.iter(|| run(black_box(&mut moved), black_box(&mut chunks)));
        });
        group.finish();
    }
}
