//! Members that nobody looks at, or whose clients do not keep up: what they report, and what they
//! are sent.

use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::{ClientMessage, Report};
use tickloom_protocol::ids::{EntityId, Tick};
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::schema::TopicDesc;
use tickloom_server::room::logic::RoomSpec;
use tickloom_server::rooms::RoomTypes;

use crate::harness::{Peer, WIDE, World, prop};
use crate::{FLUSH, Plain, schema, spec};

fn world() -> World {
    let schema = schema().with_topics(vec![TopicDesc::new("chat")]).expect("topics");
    World::new(RoomTypes::default().with(Plain(spec(schema))), WIDE)
}

fn report(world: &mut World, peer: &mut Peer, applied_tick: Tick, hidden: bool) {
    peer.client.send(ClientMessage::Report(Report { applied_tick, hidden }));
    world.turn(peer);
}

/// One state of the room that says `value`.
fn show(world: &mut World, by: &mut Peer, value: i64) {
    let changes = prop(by.component("props"), EntityId::ROOM, "n", Value::Int(value));
    by.write(world, &changes).expect("it may");
    by.publish(world, "chat", &[], value.to_string().as_bytes()).expect("it may");
    world.pass(FLUSH);
    world.turn(by);
}

fn seen(peer: &Peer) -> Option<Value> {
    peer.prop("props", EntityId::ROOM, "n")
}

fn two(world: &mut World) -> [Peer; 2] {
    let mut peers = ["ann", "bob"].map(|name| world.join("plain", name));
    world.pass(FLUSH);
    world.turns(&mut peers);
    peers
}

#[test]
fn a_hidden_member_gets_no_state_until_it_is_seen_and_then_one_catch_up() {
    let mut world = world();
    let [mut ann, mut bob] = two(&mut world);
    let tick = ann.tick();
    report(&mut world, &mut ann, tick, true);
    ann.events.clear();
    for value in 1..=5 {
        show(&mut world, &mut bob, value);
        let tick = ann.tick();
        report(&mut world, &mut ann, tick, true);
    }
    assert_eq!(ann.applied(), []);
    assert_eq!((world.queued(&ann), world.shard.take_stats().members_paused_count), (0, 1));
    // What it asks for is answered all the same.
    let changes = prop(ann.component("props"), EntityId::ROOM, "mine", Value::Int(1));
    ann.write(&mut world, &changes).expect("it may");
    let tick = ann.tick();
    report(&mut world, &mut ann, tick, false);
    world.pass(FLUSH);
    world.turn(&mut ann);
    assert!(matches!(ann.applied()[..], [(Outcome::Delta, _)]), "{:?}", ann.applied());
    assert_eq!(seen(&ann), Some(Value::Int(5)));
    assert_eq!((ann.texts(), ann.lost()), (["1", "2", "3", "4", "5"].map(String::from).into(), 0));
    assert_eq!(world.shard.take_stats().members_paused_count, 0);
}

#[test]
fn a_client_that_drains_its_socket_and_applies_nothing_is_paused_until_it_does() {
    let mut world = world();
    let [mut ann, mut bob] = two(&mut world);
    let stands = ann.tick();
    let mut paused_after = None;
    for second in 0..6 {
        // It reads everything and shows the same picture all the time.
        report(&mut world, &mut ann, stands, false);
        for _ in 0..10 {
            show(&mut world, &mut bob, second);
            world.pass(FLUSH);
        }
        if world.room().paused_count() == 1 {
            paused_after.get_or_insert(second);
        }
    }
    assert_eq!(paused_after, Some(4), "2 s after the report that found it behind");
    world.turn(&mut ann);
    let before = world.shard.broadcast_counts().deltas;
    show(&mut world, &mut bob, 7);
    assert_eq!(world.shard.broadcast_counts().deltas, before + 1, "for bob alone");
    // It has shown a part of it.
    let tick = Tick(ann.tick().0 - 1);
    report(&mut world, &mut ann, tick, false);
    assert_eq!(world.room().paused_count(), 1);
    // It has shown all that it was sent, and gets the rest.
    let tick = ann.tick();
    report(&mut world, &mut ann, tick, false);
    assert_eq!(world.room().paused_count(), 0);
    world.pass(FLUSH);
    world.turns([&mut ann, &mut bob]);
    assert_eq!(seen(&ann), Some(Value::Int(7)));
    assert_eq!(ann.tick(), bob.tick());
}

#[test]
fn a_client_that_stops_reporting_is_paused_and_one_that_never_did_is_not() {
    let mut world = world();
    let [mut ann, mut bob] = two(&mut world);
    let tick = ann.tick();
    report(&mut world, &mut ann, tick, false);
    let mut seconds = 0;
    while world.room().paused_count() == 0 {
        seconds += 1;
        assert!(seconds < 10, "it is never noticed");
        show(&mut world, &mut bob, seconds);
        world.pass(Duration::from_secs(1) - FLUSH);
        world.turn(&mut ann);
    }
    assert!((5..=7).contains(&seconds), "after {seconds} s");
    let tick = ann.tick();
    report(&mut world, &mut ann, tick, false);
    world.pass(FLUSH);
    world.turns([&mut ann, &mut bob]);
    assert_eq!(ann.tick(), bob.tick());
    // bob has not said a word about it all the time.
    for second in 0..20 {
        show(&mut world, &mut bob, second);
        world.pass(Duration::from_secs(1));
        let tick = ann.tick();
        report(&mut world, &mut ann, tick, false);
    }
    assert_eq!((world.room().paused_count(), seen(&bob)), (0, Some(Value::Int(19))));
}

#[test]
fn whoever_leaves_or_is_cut_off_while_paused_is_not_counted_any_more() {
    let room = RoomSpec { grace: Some(Duration::from_secs(3)), ..spec(schema()) };
    let mut world = World::new(RoomTypes::default().with(Plain(room)), WIDE);
    let mut peers: Vec<Peer> = ["a", "b", "c"].map(|name| world.join("plain", name)).into();
    world.pass(FLUSH);
    world.turns(&mut peers);
    for peer in &mut peers {
        let tick = peer.tick();
        report(&mut world, peer, tick, true);
    }
    assert_eq!(world.room().paused_count(), 3);
    peers[0].client.leave();
    world.turn(&mut peers[0]);
    assert_eq!(world.room().paused_count(), 2);
    world.disconnect(&peers[1]);
    assert_eq!(world.room().paused_count(), 1);
    // Taken over: what it said over the connection before has no meaning for the next.
    let mut again = world.connect();
    again.client.resume(peers[2].client.part().expect("a ticket"));
    world.turn(&mut again);
    assert_eq!(world.room().paused_count(), 0);
    world.pass(Duration::from_secs(4));
    assert_eq!(world.shard.take_stats().members_away_count, 0);
}

#[test]
fn a_newcomer_that_nobody_looks_at_gets_its_first_state_when_it_is_seen() {
    let mut world = world();
    let mut bob = world.join("plain", "bob");
    show(&mut world, &mut bob, 1);
    let mut ann = world.join("plain", "ann");
    report(&mut world, &mut ann, Tick::ZERO, true);
    show(&mut world, &mut bob, 2);
    world.turn(&mut ann);
    assert_eq!(ann.applied(), []);
    report(&mut world, &mut ann, Tick::ZERO, false);
    world.pass(FLUSH);
    world.turn(&mut ann);
    assert!(matches!(ann.applied()[..], [(Outcome::Snapshot, _)]), "{:?}", ann.applied());
    assert_eq!(seen(&ann), Some(Value::Int(2)));
}
