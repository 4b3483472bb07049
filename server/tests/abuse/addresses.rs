//! Many connections from few addresses: who takes more than its share is told so, and everybody
//! else gets in.

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;
use tickloom_server::addresses::AddressLimits;
use tickloom_server::board::Board;
use tickloom_server::config::Config;
use tickloom_server::config::node::Raw;
use tickloom_server::config::value::Value;
use tickloom_server::directory::{Directory, ShardIndex};
use tickloom_server::metrics::Shed;
use tickloom_server::overload::WhenBusy;
use tickloom_server::proxies::{Networks, Proxies};
use tickloom_server::rate::Rate;
use tickloom_server::rooms::built_in_types;
use tickloom_server::session::SessionId;
use tickloom_server::shard::{Effect, Shard, ShardConfig, Surroundings};
use tickloom_server::tokens::Secret;

use crate::harness::{Peer, World};
use crate::heads::{request, socket, status, world};

/// Three connections, ten handshakes at once and ten more per second.
fn limits() -> AddressLimits {
    AddressLimits {
        exempt: Networks::loopback(),
        connections_max: Some(3),
        handshakes: Some(Rate::new(10, 10)),
        rooms: Some(Rate::new(1, 2)),
    }
}

fn connections(world: &World) -> u64 {
    world.shard.config().board.addresses().connections_count()
}

fn upgrade(world: &mut World, from: &str) -> (SessionId, u16) {
    let id = world.accept(socket(from));
    let response = world.say(id, &request("/ws", ""));
    (id, status(&response))
}

#[test]
fn an_address_has_so_many_connections_and_others_have_their_own() {
    let mut world = world(|config| config.addresses = limits());
    let mut held = Vec::new();
    for expected in [101, 101, 101, 429, 429] {
        let (id, status) = upgrade(&mut world, "192.0.2.1");
        assert_eq!(status, expected);
        held.push(id);
    }
    assert_eq!(upgrade(&mut world, "192.0.2.2").1, 101);
    assert_eq!(connections(&world), 4);
    assert_eq!(world.shard.metrics().shed(Shed::AddressConnections), 2);
    // One goes, one may come.
    world.hang_up(held[0]);
    world.pass(Duration::from_secs(1));
    assert_eq!(upgrade(&mut world, "192.0.2.1").1, 101);
    assert_eq!(upgrade(&mut world, "192.0.2.1").1, 429);
    // Requests that are none, and those who say nothing, count while they are there.
    world.pass(Duration::from_secs(30));
    assert_eq!(connections(&world), 0, "all were too late to join or are gone");
}

#[test]
fn exempt_addresses_are_not_counted() {
    let mut world = world(|config| config.addresses = limits());
    for from in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        for _ in 0..20 {
            assert_eq!(upgrade(&mut world, from).1, 101, "{from}");
        }
    }
    assert_eq!(connections(&world), 0);
}

#[test]
fn every_way_a_connection_ends_takes_it_off_its_address() {
    let mut world = world(|config| {
        config.addresses = AddressLimits { handshakes: None, ..limits() };
    });
    let goodbye = [0x88, 0x80, 0, 0, 0, 0];
    for (name, bytes) in [
        ("silence", vec![]),
        ("half a head", b"GET /ws HT".to_vec()),
        ("no HTTP", b"\x16\x03\x01".to_vec()),
        ("a page", b"GET /healthz HTTP/1.1\r\n\r\n".to_vec()),
        ("a refusal", request("/nowhere", "")),
        ("no seat", request("/ws", "")),
        ("a seat", request("/ws/arena/a", "")),
        ("a goodbye", [&request("/ws/arena/a", "")[..], &goodbye].concat()),
        ("a broken frame", [&request("/ws/arena/a", "")[..], &[0xff; 8]].concat()),
    ] {
        let ids: Vec<SessionId> = (0..3).map(|_| world.accept(socket("192.0.2.1"))).collect();
        for id in &ids {
            world.say(*id, &bytes);
        }
        let (now, shard) = (world.now, &mut world.shard);
        shard.handle_broken(now, ids[1]);
        shard.handle_disconnect(now, ids[2]);
        while shard.poll_effect().is_some() {}
        world.pass(Duration::from_secs(60));
        assert_eq!(connections(&world), 0, "{name}");
    }
}

#[test]
fn a_flood_of_handshakes_is_told_so_and_then_dropped_while_players_play_on() {
    let mut world = world(|config| config.addresses = limits());
    let mut player = world.join("arena", "player");
    let (mut upgraded, mut told, mut dropped) = (0, 0, 0);
    let ticks = world.shard.metrics().ticks;
    // 5,000 in a second from two addresses, while others come now and then.
    for step in 0..100 {
        for number in 0..50 {
            let from = ["192.0.2.1", "192.0.2.2"][number % 2];
            let id = world.accept(socket(from));
            let response = world.say(id, &request("/ws", ""));
            match status(&response) {
                101 => upgraded += 1,
                429 => told += 1,
                _ => dropped += 1,
            }
            assert!(world.shard.sessions().count() < 1_000, "who is refused holds something");
            world.hang_up(id);
        }
        if step % 20 == 0 {
            let (_, status) = upgrade(&mut world, &format!("198.51.100.{step}"));
            assert_eq!(status, 101, "an honest client at step {step}");
        }
        world.pass(Duration::from_millis(10));
        world.read(&mut player);
    }
    assert!((38..=42).contains(&upgraded), "{upgraded} of two addresses in a second");
    assert!((200..=420).contains(&told), "{told} were told");
    assert_eq!(upgraded + told + dropped, 5_000);
    let metrics = world.shard.metrics();
    assert_eq!(metrics.shed(Shed::AddressHandshakes), told + dropped);
    assert!(metrics.ticks - ticks >= 19, "rooms tick on");
    assert_eq!(metrics.ticks_overrun, 0);
}

#[test]
fn all_addresses_together_come_at_the_servers_pace() {
    let mut world = world(|config| {
        config.addresses = limits();
        config.handshakes = Some(Rate::new(20, 50));
    });
    let count = |world: &mut World, from: u32| {
        let addresses = (0..200).map(|number| format!("10.{from}.{}.1", number % 200));
        addresses.filter(|from| upgrade(world, from).1 == 101).count()
    };
    assert_eq!(count(&mut world, 1), 50);
    world.pass(Duration::from_secs(1));
    assert_eq!(count(&mut world, 2), 20);
    assert_eq!(world.shard.metrics().shed(Shed::Handshakes), 330);
    assert_eq!(upgrade(&mut world, "127.0.0.1").1, 101, "exempt ones are not held up");
}

#[test]
fn the_last_places_are_for_many_and_not_for_whoever_takes_most() {
    let mut world = world(|config| {
        let many = AddressLimits { connections_max: Some(8), handshakes: None, ..limits() };
        (config.addresses, config.handshakes, config.connections_max) = (many, None, 100);
    });
    let mut greedy = 0;
    for number in 0..13 {
        let from = format!("192.0.2.{number}");
        greedy += (0..7).filter(|_| upgrade(&mut world, &from).1 == 101).count();
    }
    assert_eq!(greedy, 90, "up to nine tenths everybody has what it may");
    // From there on two of each.
    for number in 100..104 {
        let from = format!("192.0.2.{number}");
        let statuses = [(); 3].map(|()| upgrade(&mut world, &from).1);
        assert_eq!(statuses, [101, 101, 429]);
    }
}

#[test]
fn clients_behind_a_proxy_are_counted_one_by_one_and_the_proxy_is_not() {
    let mut world = world(|config| {
        let trusted = Networks::read(&Raw::Word("10.0.0.0/8".into())).expect("a network");
        config.proxies = Proxies { trusted, ..config.proxies.clone() };
        config.addresses = limits();
    });
    let mut ask = |from: &str, client: &str| {
        let id = world.accept(socket(from));
        let lines = format!("X-Forwarded-For: {client}\r\n");
        status(&world.say(id, &request("/ws", &lines)))
    };
    for number in 0..20 {
        assert_eq!(ask("10.0.0.1", &format!("203.0.113.{number}")), 101);
    }
    let statuses = [(); 4].map(|()| ask("10.0.0.1", "203.0.113.99"));
    assert_eq!(statuses, [101, 101, 101, 429]);
    // A stranger that claims to be somebody new every time is still itself.
    let claims: Vec<u16> =
        (0..4).map(|number| ask("192.0.2.1", &format!("198.51.100.{number}"))).collect();
    assert_eq!(claims, [101, 101, 101, 429]);
    assert_eq!(connections(&world), 26);
}

#[test]
fn an_address_makes_rooms_at_its_pace() {
    let mut world = world(|config| config.addresses = limits());
    let join = |world: &mut World, from: &str, room: &str| {
        let id = world.accept(socket(from));
        let client = Client::connect("a", "/ws", [0; 16]);
        let mut peer = Peer { id, client, events: Vec::new() };
        world.turn(&mut peer);
        peer.client.join(Join { room_type: "state", room, name: "x", ..Join::default() });
        world.turn(&mut peer);
        let event = peer.events.pop();
        world.hang_up(id);
        event
    };
    assert_eq!(join(&mut world, "192.0.2.1", "a"), Some(ClientEvent::Joined));
    let snapshot_or_joined = |event: &Option<ClientEvent>| {
        matches!(event, Some(ClientEvent::Joined | ClientEvent::Applied { .. }))
    };
    assert!(snapshot_or_joined(&join(&mut world, "192.0.2.1", "b")));
    let refused = join(&mut world, "192.0.2.1", "c");
    let is_refused = matches!(
        &refused,
        Some(ClientEvent::Refused { code: RefusalCode::ServerFull, retry_ms: 1_000, .. })
    );
    assert!(is_refused, "{refused:?}");
    assert!(snapshot_or_joined(&join(&mut world, "192.0.2.1", "a")), "rooms that are there");
    assert!(snapshot_or_joined(&join(&mut world, "192.0.2.9", "c")), "others may");
    world.pass(Duration::from_secs(1));
    assert!(snapshot_or_joined(&join(&mut world, "192.0.2.1", "d")));
    assert_eq!(world.shard.metrics().shed(Shed::AddressRooms), 1);
}

#[test]
fn an_address_is_one_however_many_shards_it_connects_to() {
    let mut config = Config::loopback();
    config.addresses = AddressLimits { handshakes: None, ..limits() };
    let board = Arc::new(Board::new(2, Timestamp::ZERO, None));
    let directory = Directory::new(2, 0);
    let server = Surroundings {
        board: Arc::clone(&board),
        directory,
        room_types: built_in_types(&config),
        tls: None,
        secret: Secret::new([0; 32]),
    };
    let mut shards =
        [0, 1].map(|index| Shard::new(ShardConfig::of(&config, &server, ShardIndex(index))));
    let now = Timestamp(1_000_000);
    let mut ids = Vec::new();
    for (number, expected) in [(0, 1), (1, 2), (0, 3), (1, 3), (0, 3)] {
        ids.push((number, shards[number].handle_accept(now, socket("192.0.2.1"))));
        assert_eq!(board.addresses().connections_count(), expected);
    }
    // One of them moves to the other shard with its seat, and ends there.
    let (from, id) = ids[0];
    let room = (0..).map(|number| format!("room-{number}")).find(|room| {
        let key = tickloom_protocol::ids::RoomKey::parse("arena", room).expect("a key");
        directory.shard_of(&key) == ShardIndex(1)
    });
    let target = format!("/ws/arena/{}", room.expect("every shard has rooms"));
    shards[from].handle_bytes(now, id, &request(&target, ""));
    let mut effects = std::iter::from_fn(|| shards[from].poll_effect());
    let Some(Effect::Deliver { mail, .. }) = effects.find(|e| matches!(e, Effect::Deliver { .. }))
    else {
        panic!("it stays")
    };
    assert_eq!(board.addresses().connections_count(), 3, "it counts while it travels");
    let moved = shards[1].handle_mail(now, mail).expect("a session");
    assert_eq!(board.addresses().connections_count(), 3);
    shards[1].handle_broken(now, moved);
    assert_eq!(board.addresses().connections_count(), 2);
    drop(shards);
    assert_eq!(board.addresses().connections_count(), 0, "a shard that ends takes its own along");
}

#[test]
fn an_overloaded_shard_lets_nobody_in_until_it_has_air() {
    let second = Duration::from_secs(1);
    for busy in [WhenBusy::LetNobodyIn, WhenBusy::GoOn] {
        let mut world = world(|config| config.busy = busy);
        let mut seated = world.join("arena", "seated");
        let mut waiting = world.connect();
        // A tick that comes two steps late is one that began late.
        world.now = world.now + Duration::from_millis(150);
        world.shard.handle_timeout(world.now);
        assert!(world.shard.metrics().ticks_overrun > 0);
        world.shard.handle_load(Duration::from_millis(960), second);
        let is_shut = busy == WhenBusy::LetNobodyIn;
        let (_, status) = upgrade(&mut world, "127.0.0.1");
        assert_eq!(status, if is_shut { 503 } else { 101 });
        let join = Join { room_type: "arena", room: "a", name: "late", ..Join::default() };
        waiting.client.join(join);
        world.turn(&mut waiting);
        let is_refused = matches!(
            waiting.events.first(),
            Some(ClientEvent::Refused { code: RefusalCode::ServerFull, retry_ms: 1_000, .. })
        );
        assert_eq!(is_refused, is_shut, "{:?}", waiting.events);
        world.turn(&mut seated);
        assert_eq!(seated.closed(), None, "who is here stays");
        assert_eq!(world.shard.take_stats().overloaded, u64::from(is_shut));
        let sheds =
            [Shed::BusyUpgrades, Shed::BusyJoins].map(|kind| world.shard.metrics().shed(kind));
        assert_eq!(sheds, [u64::from(is_shut); 2]);
        world.shard.handle_load(Duration::from_millis(900), second);
        assert_eq!(world.shard.take_stats().overloaded, u64::from(is_shut), "not yet");
        world.shard.handle_load(Duration::from_millis(800), second);
        let (_, status) = upgrade(&mut world, "127.0.0.1");
        assert_eq!(status, 101);
    }
}

#[test]
fn an_address_has_so_many_seats_kept_for_it_and_others_have_their_own() {
    // The story: a seat whose connection broke was nobody's, so who connected and cut, over and
    // over, kept as many seats as there are handshakes in a grace, which may be an hour.
    let mut world = world(|config| {
        config.addresses = AddressLimits { handshakes: None, ..limits() };
    });
    let cut = |world: &mut World, from: &str| {
        let mut peer = enter(world, from);
        world.pass(Duration::from_millis(10));
        let returning = peer.client.part().expect("a ticket");
        world.disconnect(&peer);
        returning
    };
    let mut host = enter(&mut world, "198.51.100.1");
    let mut returning: Vec<_> = (0..10).map(|_| cut(&mut world, "192.0.2.1")).collect();
    let kept = |world: &World| world.room().members().len() - 1;
    assert_eq!(kept(&world), 3);
    assert_eq!(world.shard.metrics().shed(Shed::AddressAbsences), 7);
    cut(&mut world, "192.0.2.2");
    assert_eq!(kept(&world), 4, "others have room of their own");
    for _ in 0..5 {
        cut(&mut world, "127.0.0.1");
    }
    assert_eq!(kept(&world), 9, "exempt addresses have no bound");
    // Who comes back makes room for another one.
    let id = world.accept(socket("192.0.2.1"));
    let mut again = Peer { id, client: Client::connect("a", "/ws", [0; 16]), events: Vec::new() };
    world.turn(&mut again);
    again.client.resume(returning.swap_remove(0));
    world.turn(&mut again);
    assert!(again.client.seat().is_some_and(|seat| seat.is_resumed), "{:?}", again.events);
    cut(&mut world, "192.0.2.1");
    assert_eq!(kept(&world), 10);
    assert_eq!(world.shard.metrics().shed(Shed::AddressAbsences), 7);
    // And so does the host who sends one away, and time.
    let away = world.room().members().iter().find(|(_, seat)| seat.is_away()).expect("some are");
    host.client.kick(*away.0, "not today");
    world.turn(&mut host);
    cut(&mut world, "192.0.2.1");
    assert_eq!(kept(&world), 10, "one went and one came");
    assert_eq!(world.shard.metrics().shed(Shed::AddressAbsences), 7);
    world.hang_up(again.id);
    assert_eq!(world.shard.metrics().shed(Shed::AddressAbsences), 8, "three are away again");
    world.pass(Duration::from_secs(21));
    assert_eq!(kept(&world), 0);
    cut(&mut world, "192.0.2.1");
    assert_eq!((kept(&world), host.closed()), (1, None));
}

/// A member of the same room as everybody else who comes like this.
fn enter(world: &mut World, from: &str) -> Peer {
    let id = world.accept(socket(from));
    let mut peer = Peer { id, client: Client::connect("a", "/ws", [0; 16]), events: Vec::new() };
    world.turn(&mut peer);
    peer.client.join(Join { room_type: "state", room: "a", name: "x", ..Join::default() });
    world.turn(&mut peer);
    assert!(peer.client.seat().is_some(), "{:?}", peer.events);
    peer
}
