//! Frames and messages that are none: each is closed with the code of its fault, costs a bounded
//! amount, and nobody else notices.

use std::time::Duration;

use tickloom_protocol::client_message::{ClientEncoder, ClientMessage, Input, Join, ResyncReason};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::{InputSeq, Moment, Tick};
use tickloom_protocol::link::{End, Link};

use crate::frame::masked;
use crate::harness::{Peer, World};
use crate::heads::world;
use crate::rates::ask;

/// The code a client is closed with for these bytes, with a seat and without.
fn codes(world: &mut World, bytes: &[u8]) -> [Option<u16>; 2] {
    let peers = [world.connect(), world.join("arena", "hostile")];
    peers.map(|mut peer| {
        world.send(&peer, bytes);
        world.read(&mut peer);
        let code = peer.closed().map(|reason| reason.code());
        world.hang_up(peer.id);
        code
    })
}

#[test]
fn lengths_of_giants_are_refused_before_anything_is_kept_for_them() {
    let mut world = world(|_| {});
    let mut honest = world.join("arena", "honest");
    for (name, length) in [
        ("one byte too many", 65_537_u64),
        ("16 MiB", 16 << 20),
        ("2^32", 1 << 32),
        ("2^62", 1 << 62),
        ("2^63, the highest bit", 1 << 63),
        ("all bits", u64::MAX),
    ] {
        for first in [0x82, 0x81, 0x02] {
            let head = [&[first, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
            let [lobby, seated] = codes(&mut world, &head);
            let is_refused = |code| matches!(code, Some(1002 | 1009));
            assert!(is_refused(lobby) && is_refused(seated), "{name}: {lobby:?} {seated:?}");
        }
    }
    world.pass(Duration::from_secs(1));
    world.turn(&mut honest);
    assert_eq!(honest.closed(), None);
}

#[test]
fn messages_in_endless_pieces_are_cut() {
    let mut world = world(|_| {});
    let pieces = |first: u8, piece: &[u8], count: usize| {
        [masked(first, piece), masked(0x00, piece).repeat(count)].concat()
    };
    for (name, bytes, code) in [
        ("empty continuations without end", pieces(0x02, &[], 10_000), 1008),
        ("single bytes without end", pieces(0x02, &[7], 10_000), 1008),
        ("a whole message too large", pieces(0x02, &[0; 30_000], 3), 1009),
        ("a ping that is cut", masked(0x09, &[]), 1002),
        ("a ping too large", masked(0x89, &[0; 126]), 1002),
        ("a continuation of nothing", masked(0x80, &[]), 1002),
        ("a message within a message", pieces(0x02, &[], 0).repeat(2), 1002),
        ("a reserved bit", masked(0xc2, &[]), 1002),
        ("a reserved opcode", masked(0x83, &[]), 1002),
        ("a reserved control opcode", masked(0x8b, &[]), 1002),
        ("no mask", vec![0x82, 0], 1002),
        ("a text that is no UTF-8", masked(0x81, &[0xc0, 0xaf]), 1007),
        ("a surrogate", masked(0x81, &[0xed, 0xa0, 0x80]), 1007),
        ("a text", masked(0x81, b"hello"), 1003),
    ] {
        let closed = codes(&mut world, &bytes);
        assert_eq!(closed, [Some(code); 2], "{name}");
    }
    // Pings in between are answered and count for nothing.
    let mut peer = world.connect();
    let message = ClientEncoder::default().encode(ClientMessage::Ping { client_us: 7 }).to_vec();
    let (head, tail) = message.split_at(9);
    let bytes =
        [masked(0x02, head), masked(0x89, b"?"), masked(0x00, &[]), masked(0x80, tail)].concat();
    for byte in &bytes {
        world.send(&peer, &[*byte]);
    }
    world.read(&mut peer);
    assert_eq!((peer.events.len(), peer.closed()), (1, None), "{:?}", peer.events);
}

#[test]
fn a_message_without_an_end_does_not_outlive_its_senders_silence() {
    // What is unfinished is held, so it must not be held for ever: bytes count as life, but the
    // frames of a message are few and so is what they hold.
    let mut world = world(|_| {});
    let mut peer = world.join("arena", "slow");
    world.send(&peer, &masked(0x02, &[0; 100]));
    world.pass(Duration::from_secs(40));
    world.read(&mut peer);
    assert_eq!(peer.closed().map(|reason| reason.code()), Some(4001));
}

/// After how many seconds a member is closed that sends one of these pieces per second, and why.
fn trickle(pieces: impl IntoIterator<Item = Vec<u8>>) -> Option<(u64, CloseReason)> {
    let mut world = world(|_| {});
    let mut honest = world.join("arena", "honest");
    let mut peer = world.join("arena", "slow");
    let begun = world.now;
    for piece in pieces {
        world.send(&peer, &piece);
        for _ in 0..10 {
            world.pass(Duration::from_millis(100));
            world.turn(&mut honest);
            assert_eq!(honest.closed(), None);
            world.read(&mut peer);
            if let Some(reason) = peer.closed() {
                return Some((world.now.saturating_since(begun).as_secs(), reason.clone()));
            }
        }
    }
    None
}

#[test]
fn a_message_that_goes_on_and_on_ends_with_its_time_whatever_comes_in_between() {
    let bytes = |frames: Vec<u8>| frames.into_iter().map(|byte| vec![byte]).collect();
    let fragments = vec![masked(0x00, &[0; 100]); 60];
    let first = vec![masked(0x02, &[0; 100])];
    let with_pings = fragments.iter().flat_map(|next| [masked(0x89, b"?"), next.clone()]);
    let after_others: Vec<Vec<u8>> =
        (0..20).map(ask).chain(bytes(masked(0x82, &[0; 200]))).collect();
    let pieces: [(&str, Vec<Vec<u8>>, u64); 5] = [
        ("bytes of one frame", bytes(masked(0x82, &[0; 200])), 30),
        ("bytes of fragments", bytes([first.concat(), fragments.concat()].concat()), 30),
        ("fragments", [first.clone(), fragments.clone()].concat(), 30),
        ("fragments and pings", first.into_iter().chain(with_pings).collect(), 30),
        ("bytes of a ping", bytes(masked(0x89, &[0; 100])), 30),
    ];
    for (name, pieces, seconds) in pieces {
        let closed = trickle(pieces);
        assert_eq!(closed, Some((seconds, CloseReason::MESSAGE_TIMEOUT)), "{name}");
    }
    assert_eq!(trickle(after_others), Some((50, CloseReason::MESSAGE_TIMEOUT)));
}

#[test]
fn messages_that_end_in_time_may_come_as_slowly_and_in_as_many_reads_as_they_like() {
    // Each piece ends one message and begins the next, so that every read leaves one unfinished.
    let messages: Vec<u8> = (0..50).flat_map(ask).collect();
    let length = ask(0).len();
    let (first, rest) = messages.split_at(length / 2);
    let mut pieces = vec![first.to_vec()];
    pieces.extend(rest.chunks(length).map(<[u8]>::to_vec));
    assert_eq!(trickle(pieces), None);
    // One that takes all its time but the last second.
    let mut one: Vec<Vec<u8>> = ask(0).into_iter().map(|byte| vec![byte]).collect();
    let last = one.split_off(29).concat();
    one.push(last);
    assert_eq!(trickle(one.into_iter().chain(vec![vec![]; 9])), None);
}

fn message(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut encoder = ClientEncoder::default();
    let room = ["a", "b", "", "\u{7}"][rng.usize(0..4)];
    let room_type = ["arena", "state", "relay", "chess"][rng.usize(0..4)];
    let payload = match rng.u8(0..9) {
        0 | 1 => encoder.encode(ClientMessage::Join(Join {
            room_type,
            room,
            name: "x",
            ..Join::default()
        })),
        2 => encoder.encode(ClientMessage::Leave),
        3 => encoder.encode(ClientMessage::Ping { client_us: rng.u64(..) }),
        4 => {
            let reason = ResyncReason::Gap;
            encoder.encode(ClientMessage::Resync { have_tick: Tick(rng.u32(..)), reason })
        }
        5 => encoder.encode(ClientMessage::Input(Input {
            seq: InputSeq(rng.u32(0..5)),
            applied_tick: Tick(rng.u32(..)),
            seen: Moment::ZERO,
            row: &[0; 8][..rng.usize(0..8)],
        })),
        _ => return (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect(),
    };
    payload.to_vec()
}

#[test]
fn messages_in_any_order_end_in_an_answer_or_a_close_and_harm_nobody() {
    let mut world =
        world(|config| config.allowance = tickloom_server::allowance::Allowance::UNLIMITED);
    let mut honest = world.join("arena", "honest");
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut peer = world.connect();
        for _ in 0..rng.usize(1..40) {
            let mut bytes = Vec::new();
            let payload = message(&mut rng);
            Link::new(End::Client).send_binary(payload.into(), &mut bytes);
            if !world.is_closed(&peer) {
                world.send(&peer, &bytes);
                check(&world, &peer, seed);
            }
        }
        world.read(&mut peer);
        world.hang_up(peer.id);
        world.pass(Duration::from_millis(10));
        world.turn(&mut honest);
        assert_eq!(honest.closed(), None, "seed {seed}");
    }
    // Seats are kept for 20 s, and then empty rooms for 10 s.
    for _ in 0..2 {
        world.pass(Duration::from_secs(16));
        world.turn(&mut honest);
    }
    assert_eq!(world.shard.rooms().count(), 1, "only the honest one's room is left");
}

fn check(world: &World, peer: &Peer, seed: u64) {
    world.shard.check_invariants();
    assert!(world.shard.rooms().count() <= 8, "seed {seed}");
    assert!(world.queued(peer) <= 1 << 20, "seed {seed}");
}
