//! One tick for every member of a room: encoded once, framed for each, queued in every outbox.
//!
//! ```text
//! fanout/<bytes>/<members>   a shared chunk of that size
//! fanout/events              one publication, which comes from the room's log
//! ```
//!
//! `cargo bench -p tickloom-benches --bench fanout`. Elements are members, so that criterion also
//! prints frames per second. What is encoded is a single value that is copied; what a state that
//! moved costs is in `state`, and what sockets cost in `against_floor`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use tickloom_benches::audience::{Audience, News};

const CHUNKS: [(&str, usize); 3] = [("64B", 64), ("512B", 512), ("8KiB", 8 * 1024)];
const AUDIENCES: [(&str, u16); 2] = [("20_members", 20), ("1k_members", 1_000)];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for (size, bytes) in CHUNKS {
        for (name, members_count) in AUDIENCES {
            let group = format!("fanout/{size}");
            bench_send(&mut criterion, &group, name, members_count, News::Chunk(bytes));
        }
    }
    bench_send(&mut criterion, "fanout/events/64B", "1k_members", 1_000, News::Event(64));
    criterion.final_summary();
}

/// Only `send` counts: between two of them there must be news, and outboxes be emptied.
fn bench_send(criterion: &mut Criterion, group: &str, name: &str, members_count: u16, news: News) {
    let mut audience = Audience::new(members_count, news);
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(members_count.into()));
    group.bench_function(name, |b| {
        b.iter_custom(|iterations| {
            let mut total = Duration::ZERO;
            for _ in 0..iterations {
                black_box(audience.begin_tick());
                #[expect(clippy::disallowed_methods, reason = "a stopwatch around one call")]
                let start = Instant::now();
                audience.send();
                total += start.elapsed();
            }
            total
        });
    });
    group.finish();
    let counts = audience.counts();
    let others = counts.catch_ups + counts.skipped + counts.deferred;
    assert_eq!(others, 0, "everybody got every tick: {counts:?}");
}
