//! Rooms of many: what it costs everybody that somebody comes, goes or moves.

use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::ids::OpId;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::config::units;
use tickloom_server::room::described::Described;
use tickloom_server::room::description::Description;
use tickloom_server::rooms::RoomTypes;

use tickloom_protocol::schema::{ComponentDesc, WritePolicy};

use crate::harness::{Peer, WIDE, World, prop};

fn world(description: Description) -> World {
    World::new(RoomTypes::default().with(Described::new("crowd", description)), WIDE)
}

fn crowd() -> Description {
    let presence = ComponentDesc::props("presence").writable_by(WritePolicy::Owner);
    let shared = ComponentDesc::props("shared").writable_by(WritePolicy::Members);
    Description { members_max: 400, components: vec![presence, shared], ..Description::default() }
}

fn join(world: &mut World, name: &str) -> Peer {
    let mut peer = world.connect();
    peer.client.join(Join { room_type: "crowd", room: "a", name, ..Join::default() });
    world.turn(&mut peer);
    assert!(peer.client.seat().is_some(), "{:?}", peer.events);
    peer
}

/// Deltas that arrived since the last look.
fn deltas(peer: &mut Peer) -> Vec<usize> {
    let events = peer.events.drain(..).filter_map(|event| match event {
        ClientEvent::Applied { chunks_bytes, .. } => Some(chunks_bytes),
        _ => None,
    });
    events.collect()
}

#[test]
fn those_who_come_and_go_within_a_tick_are_told_of_together() {
    let mut world = world(crowd());
    let mut ann = join(&mut world, "ann");
    world.pass(Duration::from_millis(200));
    world.turn(&mut ann);
    deltas(&mut ann);
    let others: Vec<Peer> = (0..200).map(|at| join(&mut world, &format!("p{at:03}"))).collect();
    world.pass(Duration::from_millis(60));
    world.turn(&mut ann);
    let told = deltas(&mut ann);
    // The first who comes may make the room tick at once; all others are in the next tick.
    assert!((1..=2).contains(&told.len()), "{told:?}");
    assert!(told.iter().sum::<usize>() < 200 * 12, "a name and a few bytes each: {told:?}");
    assert!(others.iter().all(|peer| ann.sees(peer.entity())));
    for peer in &others {
        world.disconnect(peer);
    }
    world.pass(Duration::from_millis(60));
    world.turn(&mut ann);
    let told = deltas(&mut ann);
    assert!((1..=2).contains(&told.len()), "{told:?}");
    assert!(others.iter().all(|peer| !ann.sees(peer.entity())));
}

#[test]
fn above_a_count_those_who_come_have_no_name_until_one_who_has_goes() {
    let mut world = world(Description { names_max: 3, ..crowd() });
    let mut peers: Vec<Peer> = ["a", "b", "c", "d", "e"].map(|name| join(&mut world, name)).into();
    world.pass(Duration::from_millis(200));
    world.turns(&mut peers);
    let names = |seen_by: &Peer, peers: &[Peer]| -> Vec<Option<String>> {
        let name = |peer: &Peer| seen_by.opaque("name", peer.entity()).map(<[u8]>::to_vec);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        peers.iter().map(|peer| name(peer).map(text)).collect()
    };
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(names(&peers[4], &peers), [some("a"), some("b"), some("c"), None, None]);
    assert!(peers.iter().all(|peer| peers[0].sees(peer.entity())), "all are there");
    // Who has none takes none along, and who has one makes room for one.
    world.disconnect(&peers.remove(3));
    world.pass(Duration::from_millis(200));
    world.turns(&mut peers);
    assert_eq!(names(&peers[0], &peers), [some("a"), some("b"), some("c"), None]);
    world.disconnect(&peers.remove(1));
    peers.push(join(&mut world, "f"));
    world.pass(Duration::from_millis(200));
    world.turns(&mut peers);
    assert_eq!(names(&peers[0], &peers), [some("a"), some("c"), some("e"), None]);
    for _ in 0..3 {
        world.disconnect(&peers.remove(0));
    }
    peers.push(join(&mut world, "g"));
    world.pass(Duration::from_millis(200));
    world.turns(&mut peers);
    assert_eq!(names(&peers[0], &peers), [some("f"), some("g")]);
}

#[test]
fn a_member_that_changes_itself_too_often_is_told_how_long_to_wait() {
    let rate = units::Rate(10);
    let mut world = world(Description { presence_rate: Some(rate), ..crowd() });
    let mut ann = join(&mut world, "ann");
    let (own, presence, shared) =
        (ann.entity(), ann.component("presence"), ann.component("shared"));
    let write = |world: &mut World, ann: &mut Peer, number: i64| {
        ann.write(world, &prop(presence, own, "x", Value::Int(number)))
    };
    let accepted = (0..30).filter(|at| write(&mut world, &mut ann, *at).is_ok()).count();
    assert_eq!(accepted, 10, "a second's worth at once");
    let refused = ann.events.iter().rev().find_map(|event| match event {
        ClientEvent::Refused { code, retry_ms, op, .. } if *op != OpId::NONE => {
            Some((*code, *retry_ms))
        }
        _ => None,
    });
    assert_eq!(refused, Some((RefusalCode::Busy, 100)));
    // What it says about other things is no presence.
    let room = tickloom_protocol::ids::EntityId::ROOM;
    let other = prop(shared, room, "x", Value::Int(1));
    assert!((0..30).all(|_| ann.write(&mut world, &other).is_ok()));
    let mut bob = join(&mut world, "bob");
    let hat = prop(presence, bob.entity(), "x", Value::Int(1));
    assert!(bob.write(&mut world, &hat).is_ok(), "everybody has a rate of their own");
    world.pass(Duration::from_millis(100));
    assert!(write(&mut world, &mut ann, 31).is_ok(), "after the time it was told");
    assert!(write(&mut world, &mut ann, 32).is_err());
    world.pass(Duration::from_millis(200));
    world.turn(&mut bob);
    assert_eq!(bob.prop("presence", own, "x"), Some(Value::Int(31)));
}
