//! Messages, frames and packed rows: all code between a socket's bytes and a room's state.
//!
//! Decoding includes verification; neither is offered without the other.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use tickloom_benches::{Crowd, Viewer, delta_head, input, joined, masked_frame};
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage};
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::link::{End, Link};
use tickloom_protocol::server_message::{ServerEncoder, ServerMessage};

const CROWDS: [(&str, u32); 2] = [("1k_entities", 1_000), ("10k_entities", 10_000)];

fn main() {
    print_sizes();
    let mut criterion = Criterion::default().configure_from_args();
    bench_messages(&mut criterion);
    bench_link(&mut criterion);
    bench_rows(&mut criterion);
    criterion.final_summary();
}

/// Sizes are exact, so they are printed once instead of measured. Not on stdout, which belongs
/// to criterion.
fn print_sizes() {
    let bytes = ClientEncoder::default().encode(input()).len();
    eprintln!("input: {bytes} B, in a masked frame {} B", bytes + 6);
    let bytes = ServerEncoder::default().encode(&ServerMessage::Joined(joined())).len();
    eprintln!("joined: {bytes} B");
    eprintln!("delta prefix: {} B", DeltaPrefix::new().bytes());
    for (name, entities_count) in CROWDS {
        let mut crowd = Crowd::new(entities_count);
        let mut chunks = Vec::new();
        crowd.encode_delta(&mut chunks);
        let per_moved = chunks.len() as f64 / f64::from(entities_count);
        crowd.encode_snapshot(&mut chunks);
        let per_shown = chunks.len() as f64 / f64::from(entities_count);
        eprintln!(
            "{name}: {per_moved:.3} B per moved entity in a delta, {per_shown:.3} B in a snapshot"
        );
    }
}

fn bench_messages(criterion: &mut Criterion) {
    let mut client = ClientEncoder::default();
    let mut server = ServerEncoder::default();
    let prefix = DeltaPrefix::new();
    let joined = ServerMessage::Joined(joined());

    let mut group = criterion.benchmark_group("codec/encode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("input", |b| {
        b.iter(|| client.encode(black_box(input())).len());
    });
    group.bench_function("joined", |b| {
        b.iter(|| server.encode(black_box(&joined)).len());
    });
    let mut output = Vec::with_capacity(256);
    group.bench_function("delta_prefix", |b| {
        b.iter(|| {
            output.clear();
            prefix.put(black_box(&delta_head()), 500, &mut output);
            output.len()
        });
    });
    group.finish();

    let input_bytes = client.encode(input()).to_vec();
    let joined_bytes = server.encode(&joined).to_vec();
    let mut delta_bytes = Vec::new();
    prefix.put(&delta_head(), 500, &mut delta_bytes);
    delta_bytes.resize(delta_bytes.len() + 500, 1);

    let mut group = criterion.benchmark_group("codec/decode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("input", |b| {
        b.iter(|| ClientMessage::decode(black_box(&input_bytes)).is_ok());
    });
    group.bench_function("joined", |b| {
        b.iter(|| ServerMessage::decode(black_box(&joined_bytes)).is_ok());
    });
    group.bench_function("delta_prefix", |b| {
        b.iter(|| ServerMessage::decode(black_box(&delta_bytes)).is_ok());
    });
    group.finish();
}

fn bench_link(criterion: &mut Criterion) {
    let mut link = Link::new(End::Server);
    let frame = masked_frame();
    let mut output = Vec::new();
    let mut group = criterion.benchmark_group("codec/poll_link");
    group.throughput(Throughput::Elements(1));
    group.bench_function("masked_64B", |b| {
        b.iter(|| {
            let mut fed = black_box(&frame[..]);
            let message = link.poll(&mut fed, &mut output);
            // The contract: until there is nothing more.
            let rest = link.poll(&mut fed, &mut output);
            (message, rest)
        });
    });
    group.finish();
}

fn bench_rows(criterion: &mut Criterion) {
    for (stage, run) in [
        ("encode_snapshot", Crowd::encode_snapshot as fn(&mut Crowd, &mut Vec<u8>)),
        ("encode_delta", Crowd::encode_delta),
    ] {
        let mut group = criterion.benchmark_group(format!("codec/{stage}"));
        for (name, entities_count) in CROWDS {
            let mut crowd = Crowd::new(entities_count);
            let mut chunks = Vec::new();
            group.throughput(Throughput::Elements(u64::from(entities_count)));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| run(black_box(&mut crowd), black_box(&mut chunks)));
            });
        }
        group.finish();
    }
    for (stage, run) in [
        ("apply_snapshot", Viewer::apply_snapshot as fn(&mut Viewer)),
        ("apply_delta", Viewer::apply_delta),
    ] {
        let mut group = criterion.benchmark_group(format!("codec/{stage}"));
        for (name, entities_count) in CROWDS {
            let mut viewer = Viewer::new(entities_count);
            group.throughput(Throughput::Elements(u64::from(entities_count)));
            group.bench_function(BenchmarkId::from_parameter(name), |b| {
                b.iter(|| run(black_box(&mut viewer)));
            });
        }
        group.finish();
    }
}
