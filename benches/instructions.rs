//! Instructions of the pure code, counted by Valgrind: repeatable where time is not.
//!
//! Running needs `valgrind` and a `gungraun-runner` of the crate's version; compiling does not.
//! Each benchmark starts warm, with buffers that have grown: a running server's state.
#![expect(missing_docs, reason = "gungraun's macros make public items of every benchmark")]

use std::hint::black_box;

use gungraun::prelude::*;
use tickloom_benches::queues::{Post, TickOutbox};
use tickloom_benches::rooms::ArenaRoom;
use tickloom_benches::states::{MovedState, SharedState};
use tickloom_benches::{
    Crowd, INPUT_FRAME_BYTES, MEMBER, Viewer, delta_head, input, joined, masked_frame,
};
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage};
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::ids::TopicId;
use tickloom_protocol::link::{End, Link, Received};
use tickloom_protocol::schema::TopicDesc;
use tickloom_protocol::server_message::{ServerEncoder, ServerMessage};
use tickloom_server::room::description::Description;
use tickloom_server::room::events::EventLog;

fn warm_client_encoder() -> ClientEncoder {
    let mut encoder = ClientEncoder::default();
    encoder.encode(input());
    encoder
}

#[library_benchmark]
#[bench::warm(warm_client_encoder())]
fn encode_input(mut encoder: ClientEncoder) -> ClientEncoder {
    black_box(encoder.encode(black_box(input())));
    encoder
}

fn input_bytes() -> Vec<u8> {
    ClientEncoder::default().encode(input()).to_vec()
}

#[library_benchmark]
#[bench::verified(input_bytes())]
fn decode_input(bytes: Vec<u8>) -> Vec<u8> {
    assert!(black_box(ClientMessage::decode(black_box(&bytes))).is_ok());
    bytes
}

fn warm_server_encoder() -> (ServerEncoder, ServerMessage<'static>) {
    let mut encoder = ServerEncoder::default();
    let message = ServerMessage::Joined(joined());
    encoder.encode(&message);
    (encoder, message)
}

#[library_benchmark]
#[bench::warm(warm_server_encoder())]
fn encode_joined(
    (mut encoder, message): (ServerEncoder, ServerMessage<'static>),
) -> (ServerEncoder, ServerMessage<'static>) {
    black_box(encoder.encode(black_box(&message)));
    (encoder, message)
}

fn joined_bytes() -> Vec<u8> {
    ServerEncoder::default().encode(&ServerMessage::Joined(joined())).to_vec()
}

#[library_benchmark]
#[bench::verified(joined_bytes())]
fn decode_joined(bytes: Vec<u8>) -> Vec<u8> {
    assert!(black_box(ServerMessage::decode(black_box(&bytes))).is_ok());
    bytes
}

fn warm_prefix() -> (DeltaPrefix, Vec<u8>) {
    (DeltaPrefix::new(), Vec::with_capacity(256))
}

#[library_benchmark]
#[bench::warm(warm_prefix())]
fn encode_delta_prefix((prefix, mut output): (DeltaPrefix, Vec<u8>)) -> (DeltaPrefix, Vec<u8>) {
    prefix.put(black_box(&delta_head()), 500, &mut output);
    (prefix, output)
}

fn warm_link() -> (Link, [u8; INPUT_FRAME_BYTES], Vec<u8>) {
    let (mut link, frame, mut output) = (Link::new(End::Server), masked_frame(), Vec::new());
    let message = link.poll(&mut &frame[..], &mut output);
    assert!(matches!(message, Ok(Some(Received::Binary(_)))), "the frame is valid");
    (link, frame, output)
}

#[library_benchmark]
#[bench::masked_64b(warm_link())]
fn poll_link(
    (mut link, frame, mut output): (Link, [u8; INPUT_FRAME_BYTES], Vec<u8>),
) -> (Link, Vec<u8>) {
    let mut fed = black_box(&frame[..]);
    let message = black_box(link.poll(&mut fed, &mut output));
    assert!(matches!(message, Ok(Some(_))));
    (link, output)
}

fn warm_crowd(entities_count: u32) -> (Crowd, Vec<u8>) {
    let (mut crowd, mut chunks) = (Crowd::new(entities_count), Vec::new());
    crowd.encode_snapshot(&mut chunks);
    (crowd, chunks)
}

#[library_benchmark]
#[bench::entities_1k(warm_crowd(1_000))]
#[bench::entities_10k(warm_crowd(10_000))]
fn encode_snapshot((mut crowd, mut chunks): (Crowd, Vec<u8>)) -> (Crowd, Vec<u8>) {
    crowd.encode_snapshot(black_box(&mut chunks));
    (crowd, chunks)
}

#[library_benchmark]
#[bench::entities_1k(warm_crowd(1_000))]
#[bench::entities_10k(warm_crowd(10_000))]
fn encode_delta((mut crowd, mut chunks): (Crowd, Vec<u8>)) -> (Crowd, Vec<u8>) {
    crowd.encode_delta(black_box(&mut chunks));
    (crowd, chunks)
}

#[library_benchmark]
#[bench::entities_1k(Viewer::new(1_000))]
#[bench::entities_10k(Viewer::new(10_000))]
fn apply_snapshot(mut viewer: Viewer) -> Viewer {
    viewer.apply_snapshot();
    viewer
}

#[library_benchmark]
#[bench::entities_1k(Viewer::new(1_000))]
#[bench::entities_10k(Viewer::new(10_000))]
fn apply_delta(mut viewer: Viewer) -> Viewer {
    viewer.apply_delta();
    viewer
}

// A tick that states no hash.
#[library_benchmark]
#[bench::members_20(ArenaRoom::new(20))]
fn tick_arena(mut arena: ArenaRoom) -> ArenaRoom {
    black_box(arena.tick());
    arena
}

fn warm_state(entities_count: usize) -> (MovedState, Vec<u8>) {
    let (mut moved, mut chunks) = (MovedState::new(entities_count), Vec::new());
    moved.encode_snapshot(&mut chunks);
    (moved, chunks)
}

#[library_benchmark]
#[bench::entities_1k(warm_state(1_000))]
fn encode_state_delta((mut moved, mut chunks): (MovedState, Vec<u8>)) -> (MovedState, Vec<u8>) {
    moved.encode_delta(black_box(&mut chunks));
    (moved, chunks)
}

// Sixteen changes of a member, from their bytes.
#[library_benchmark]
#[bench::changes_16(SharedState::new(1_000))]
fn check_and_apply_write(mut shared: SharedState) -> SharedState {
    black_box(&mut shared).write();
    shared
}

/// A log that keeps as many events as a described room does by default, and what was said last.
fn warm_log() -> (EventLog, u64, Vec<u8>) {
    let kept = Description::default();
    let topics = [TopicDesc::new("danmaku")];
    let mut log = EventLog::new(kept.events_max, kept.events_bytes_max, &topics);
    for _ in 0..2 * kept.events_max {
        log.mark_sent();
        assert!(log.publish(MEMBER, TopicId(0), &[7; 64]), "a tick carries one event");
    }
    let (last, mut chunk) = (log.next() - 1, Vec::new());
    log.encode(last, false, &mut chunk);
    chunk.clear();
    (log, last, chunk)
}

// One event of 64 bytes, for everybody who keeps up.
#[library_benchmark]
#[bench::one_64b(warm_log())]
fn encode_events((mut log, from, mut chunk): (EventLog, u64, Vec<u8>)) -> (EventLog, Vec<u8>) {
    log.encode(black_box(from), false, black_box(&mut chunk));
    (log, chunk)
}

fn warm_post() -> Post {
    let mut post = Post::new();
    post.exchange(1);
    post
}

// A letter that owns nothing, put in and taken out. The wake-up is a system call, which does not
// count.
#[library_benchmark]
#[bench::one_letter(warm_post())]
fn mailbox(mut post: Post) -> Post {
    assert_eq!(black_box(post.exchange(black_box(1))), 1);
    post
}

// The three slices of a member's tick: queued, copied for one write, and dropped.
#[library_benchmark]
#[bench::one_tick(TickOutbox::new())]
fn outbox(mut outbox: TickOutbox) -> TickOutbox {
    black_box(outbox.pass());
    outbox
}

library_benchmark_group!(
    name = codec,
    benchmarks = [
        encode_input,
        decode_input,
        encode_joined,
        decode_joined,
        encode_delta_prefix,
        poll_link,
        encode_snapshot,
        encode_delta,
        apply_snapshot,
        apply_delta,
    ]
);

library_benchmark_group!(
    name = tick,
    benchmarks = [tick_arena, encode_state_delta, check_and_apply_write, encode_events]
);

library_benchmark_group!(name = queues, benchmarks = [mailbox, outbox]);

main!(library_benchmark_groups = [codec, tick, queues]);
