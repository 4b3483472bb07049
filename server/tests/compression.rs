//! Compressed messages: which are, how often a room compresses, and that everybody understands.

mod harness;

use std::time::Duration;

use bytes::Bytes;
use tickloom_protocol::deflate::{Compressors, Kind, Offer};
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::link::{End, Link, LinkLimits, Received};
use tickloom_server::config::{CompressionConfig, Config};
use tickloom_server::room::broadcast::BroadcastCounts;
use tickloom_server::rooms::built_in_types;
use tickloom_server::session::NO_SOCKET;
use tickloom_server::shard::{Shard, ShardConfig};

use harness::{Peer, WIDE, World};

const FLUSH: Duration = Duration::from_millis(50);

fn world(compression: CompressionConfig) -> World {
    let config = Config { compression, ..Config::loopback() };
    let shard =
        ShardConfig { outbox: WIDE, ..ShardConfig::alone(&config, built_in_types(&config)) };
    World::of(Shard::new(shard))
}

fn default_world() -> World {
    world(Config::loopback().compression)
}

/// The first one says this to all, who hear it.
fn say(world: &mut World, peers: &mut [&mut Peer], text: &str) {
    peers[0].publish(world, "chat", &[], text.as_bytes()).expect("members speak");
    world.pass(FLUSH);
    for peer in peers {
        world.turn(peer);
        assert_eq!(peer.texts(), [text], "{:?}", peer.closed());
    }
}

fn chat(number: usize) -> String {
    format!(
        r#"{{"kind":"chat","from":"somebody","room":"lobby","text":"message {number}, the rest as ever"}}"#
    )
}

/// What a room did since.
fn since(world: &World, before: BroadcastCounts) -> [u64; 3] {
    let now = world.shard.broadcast_counts();
    [
        now.compressions - before.compressions,
        now.packed - before.packed,
        now.window_resets - before.window_resets,
    ]
}

#[test]
fn a_room_compresses_once_for_all_who_take_it() {
    let mut world = default_world();
    let mut plain = world.join("relay", "plain");
    let mut inflating = [(); 5].map(|()| world.join_inflating("relay", Offer::default()));
    world.pass(FLUSH);
    inflating.iter_mut().for_each(|peer| world.turn(peer));
    world.turn(&mut plain);
    let mut peers: Vec<&mut Peer> = std::iter::once(&mut plain).chain(&mut inflating).collect();
    say(&mut world, &mut peers, &chat(0));
    let before = world.shard.broadcast_counts();
    for number in 1..=20 {
        say(&mut world, &mut peers, &chat(number));
    }
    assert_eq!(since(&world, before), [20, 100, 0], "once per broadcast, for five");
    let counts = world.shard.broadcast_counts();
    let [whole, packed] = [
        counts.packed_bytes_before - before.packed_bytes_before,
        counts.packed_bytes_after - before.packed_bytes_after,
    ];
    assert!(packed * 100 < whole * 35, "{packed} of {whole} bytes");
    // Somebody comes: one more frame without a past for its snapshot, and the window begins anew.
    let before = world.shard.broadcast_counts();
    let mut newcomer = world.join_inflating("relay", Offer::default());
    world.pass(FLUSH);
    world.turn(&mut newcomer);
    newcomer.heard();
    for peer in &mut peers {
        world.turn(peer);
        assert_eq!(peer.texts(), [""; 0]);
    }
    peers.push(&mut newcomer);
    say(&mut world, &mut peers, &chat(21));
    assert_eq!(since(&world, before)[2], 1, "one reset for the one who came");
}

#[test]
fn whoever_reads_slowly_or_wants_less_is_understood_as_well() {
    let mut world = default_world();
    let forgetful = Offer { server_no_context_takeover: true, ..Offer::default() };
    let small = Offer { server_max_window_bits: Some(9), ..Offer::default() };
    let offers = [Offer::default(), Offer::default(), forgetful, small];
    let mut peers = offers.map(|offer| world.join_inflating("relay", offer));
    world.pass(FLUSH);
    world.turns(&mut peers);
    peers.iter_mut().for_each(|peer| drop(peer.heard()));
    let [first, second, third, fourth] = &mut peers;
    say(&mut world, &mut [first, second, third, fourth], &chat(0));
    let before = world.shard.broadcast_counts();
    say(&mut world, &mut [first, second, third, fourth], &chat(1));
    assert_eq!(since(&world, before)[..2], [2, 4], "with a past and without");
    // A member is passed over: it misses frames of the window and catches up without them.
    world.block(second);
    for number in 2..60 {
        first.publish(&mut world, "chat", &[], chat(number).as_bytes()).expect("members speak");
        world.pass(FLUSH);
        world.turns([&mut *first, &mut *third, &mut *fourth]);
    }
    assert!(world.shard.broadcast_counts().skipped > 0, "it was passed over");
    world.unblock(second);
    world.pass(FLUSH);
    world.turns([&mut *first, &mut *second, &mut *third, &mut *fourth]);
    let last = chat(59);
    for peer in [&mut *first, &mut *second, &mut *third, &mut *fourth] {
        assert_eq!(peer.texts().last(), Some(&last));
    }
    let before = world.shard.broadcast_counts();
    for number in 60..200 {
        say(&mut world, &mut [first, second, third, fourth], &chat(number));
    }
    let [compressions, packed, resets] = since(&world, before);
    assert_eq!((compressions, packed), (280, 560), "everybody, with two compressions each");
    assert!((1..=3).contains(&resets), "{resets} resets");
}

#[test]
fn nothing_is_compressed_where_it_does_not_pay_or_nobody_wants_it() {
    let on = Config::loopback().compression;
    for (name, compression, room_type, offer) in [
        ("packed rows", on, "arena", Some(Offer::default())),
        ("short", CompressionConfig { bytes_min: 10_000, ..on }, "relay", Some(Offer::default())),
        ("not offered", on, "relay", None),
        (
            "not taken",
            CompressionConfig { is_offered: false, ..on },
            "relay",
            Some(Offer::default()),
        ),
    ] {
        let mut world = world(compression);
        let mut peer = match offer {
            Some(offer) => world.join_inflating(room_type, offer),
            None => world.join(room_type, "plain"),
        };
        for _ in 0..10 {
            world.pass(FLUSH);
            world.turn(&mut peer);
        }
        assert!(!peer.applied().is_empty(), "{name}: it plays");
        let counts = world.shard.broadcast_counts();
        assert_eq!((counts.compressions, counts.packed), (0, 0), "{name}");
    }
}

#[test]
fn without_a_place_for_a_window_frames_have_no_past() {
    let on = Config::loopback().compression;
    let mut world = world(CompressionConfig { windows_max: 0, ..on });
    let mut peers = [(); 3].map(|()| world.join_inflating("relay", Offer::default()));
    world.pass(FLUSH);
    world.turns(&mut peers);
    peers.iter_mut().for_each(|peer| drop(peer.heard()));
    let [first, second, third] = &mut peers;
    let before = world.shard.broadcast_counts();
    for number in 0..5 {
        say(&mut world, &mut [first, second, third], &chat(number));
    }
    assert_eq!(since(&world, before), [5, 15, 0]);
}

#[test]
fn an_echo_is_compressed_as_it_was_agreed_on() {
    let mut world = default_world();
    let bomb = vec![b' '; 100_000];
    for (offer, window) in
        [(Offer::default(), 15), (Offer { server_max_window_bits: Some(9), ..Offer::default() }, 9)]
    {
        let id = world.accept(NO_SOCKET);
        let key = ClientKey::offering([7; 16], None).with_deflate(offer);
        let answer = world.say(id, &key.request("a", "/echo"));
        let upgraded = key.parse_response(&answer).expect("an upgrade").expect("a whole one");
        let agreement = upgraded.deflate.expect("compression");
        assert_eq!(agreement.server.window_bits(), window);
        let mut link = Link::with(End::Client, LinkLimits::of(End::Client), upgraded.deflate);
        let mut compressors = Compressors::default();
        for _ in 0..3 {
            let text = Bytes::from(chat(7).repeat(20));
            let mut sent = Vec::new();
            link.send_deflated(Kind::Text, text.clone(), &mut compressors, &mut sent);
            let echoed = world.say(id, &sent);
            assert!(echoed.len() * 3 < text.len(), "{} bytes came back", echoed.len());
            let received = link.poll(&mut &echoed[..], &mut Vec::new());
            let Ok(Some(Received::Text(back))) = received else { panic!("{received:?}") };
            assert_eq!(back.as_bytes(), text);
        }
        let mut sent = Vec::new();
        link.send_deflated(Kind::Binary, bomb.clone().into(), &mut compressors, &mut sent);
        let answer = world.say(id, &sent);
        let received = link.poll(&mut &answer[..], &mut Vec::new());
        let Ok(Some(Received::Closed(reason))) = received else { panic!("{received:?}") };
        assert_eq!(reason.code(), 1009, "it inflates to more than a message");
    }
}
