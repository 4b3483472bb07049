//! One room's tick without sockets: what a shard does between its timer and its first write.
//!
//! ```text
//! tick/arena   inputs -> logic -> state -> encode -> frames in every outbox -> drained
//! state                          state -> encode
//! fanout                                  encode -> frames in every outbox
//! ```
//!
//! `cargo bench -p tickloom-benches --bench tick`. Elements are members, so that criterion also
//! prints their number per second. Some ticks state a hash, as many as in a server. The parts have
//! benchmarks of their own, `state` and `fanout`.
//!
//! It does not tell what a turn of the loop costs: copying frames into a write, the writes
//! themselves, reading inputs, and caches that fifty other rooms have used meanwhile. That is in
//! `tick_latency`, and the kernel's share alone in `floor`.

use criterion::{BenchmarkId, Criterion, Throughput};
use tickloom_benches::rooms::ArenaRoom;

const ARENAS: [(&str, usize); 2] = [("20_members", 20), ("100_members", 100)];

fn main() {
    print_sizes();
    let mut criterion = Criterion::default().configure_from_args();
    bench_arena(&mut criterion);
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
