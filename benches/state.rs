//! A room's state without a room: changing it, encoding it, and writes of members.
//!
//! ```text
//! state/set_row    every entity gets a new row
//! state/encode     a delta, a catch-up over 20 ticks and a snapshot, of a state that all moved
//! state/rewind     the end of a tick whose past is kept, with a column of 10,000 rows to copy
//! state/write      bytes of 16 changes -> read -> checked -> applied
//! state/tree/move  every leaf of a tree gets another parent
//! ```
//!
//! `cargo bench -p tickloom-benches --bench state`. Elements are rows, entities, changes or
//! leaves, so that criterion also prints their number per second. The codec beneath, without
//! stamps and checks, is in `codec`.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use tickloom_benches::states::{MovedState, SharedState};

const ENTITIES: usize = 1_000;

fn main() {
    // Not on stdout, which belongs to criterion.
    eprintln!("write/16: {} B", SharedState::new(ENTITIES).write_bytes());
    let mut criterion = Criterion::default().configure_from_args();
    bench_set_row(&mut criterion);
    bench_encode(&mut criterion);
    bench_rewind(&mut criterion);
    bench_write(&mut criterion);
    bench_tree(&mut criterion);
    criterion.final_summary();
}

fn bench_set_row(criterion: &mut Criterion) {
    let mut moved = MovedState::new(ENTITIES);
    let mut group = criterion.benchmark_group("state/set_row");
    group.throughput(Throughput::Elements(ENTITIES as u64));
    group.bench_function("1k", |b| b.iter(|| black_box(&mut moved).move_all()));
    group.finish();
}

fn bench_encode(criterion: &mut Criterion) {
    for (stage, run) in [
        ("delta", MovedState::encode_delta as fn(&mut MovedState, &mut Vec<u8>)),
        ("catch_up_20", MovedState::encode_catch_up),
        ("snapshot", MovedState::encode_snapshot),
    ] {
        let (mut moved, mut chunks) = (MovedState::new(ENTITIES), Vec::new());
        let mut group = criterion.benchmark_group(format!("state/encode/{stage}"));
        group.throughput(Throughput::Elements(ENTITIES as u64));
        group.bench_function("1k", |b| {
            b.iter(|| run(black_box(&mut moved), black_box(&mut chunks)));
        });
        group.finish();
    }
}

fn bench_rewind(criterion: &mut Criterion) {
    let mut moved = MovedState::new(10 * ENTITIES);
    let mut rewind = moved.rewind();
    let mut group = criterion.benchmark_group("state/rewind");
    group.throughput(Throughput::Elements(10 * ENTITIES as u64));
    group.bench_function("10k", |b| {
        b.iter(|| black_box(&mut moved).note(black_box(&mut rewind)));
    });
    group.finish();
}

fn bench_write(criterion: &mut Criterion) {
    let mut shared = SharedState::new(ENTITIES);
    let mut group = criterion.benchmark_group("state/write/check_apply");
    group.throughput(Throughput::Elements(SharedState::CHANGES as u64));
    group.bench_function("16", |b| b.iter(|| black_box(&mut shared).write()));
    group.finish();
}

fn bench_tree(criterion: &mut Criterion) {
    let mut shared = SharedState::new(ENTITIES);
    let moves = shared.move_items() as u64;
    let mut group = criterion.benchmark_group("state/tree/move");
    group.throughput(Throughput::Elements(moves));
    group.bench_function("1k", |b| b.iter(|| black_box(&mut shared).move_items()));
    group.finish();
}
