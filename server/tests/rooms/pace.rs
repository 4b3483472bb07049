//! Rooms without a rate: a change is shown at once, the next after the interval, and nothing
//! happens while nothing happens.

use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::{ClientMessage, ResyncReason};
use tickloom_protocol::ids::EntityId;
use tickloom_protocol::replica::Outcome;
use tickloom_server::outbox::OutboxLimits;
use tickloom_server::rooms::RoomTypes;

use crate::harness::{Peer, World, prop};
use crate::{FLUSH, Plain, schema, spec, world};

fn set(world: &mut World, peer: &mut Peer, value: i64) {
    let changes = prop(peer.component("props"), EntityId::ROOM, "k", Value::Int(value));
    peer.write(world, &changes).expect("members may");
}

#[test]
fn a_quiet_room_is_not_in_the_timetable() {
    let mut world = world(spec(schema()));
    let mut peer = world.join("plain", "a");
    world.pass(FLUSH);
    world.turn(&mut peer);
    let ticks = world.shard.metrics().ticks;
    let silence = tickloom_server::config::Config::loopback().patience.ping;
    let due = world.shard.next_due().expect("a deadline");
    assert!(due > world.now + (silence - FLUSH * 2), "only the ping after a silence: {due:?}");
    world.pass(silence / 2);
    assert_eq!(world.shard.metrics().ticks, ticks, "no tick");
    set(&mut world, &mut peer, 1);
    assert!(world.shard.next_due().is_some_and(|due| due <= world.now), "the first is due now");
    world.pass(Duration::ZERO);
    assert_eq!(world.shard.metrics().ticks, ticks + 1);
    assert!(world.shard.next_due().is_some_and(|due| due > world.now + FLUSH), "quiet again");
}

#[test]
fn changes_go_out_at_once_and_then_once_per_interval() {
    let mut world = world(spec(schema()));
    let mut peer = world.join("plain", "a");
    world.pass(Duration::from_secs(1));
    world.turn(&mut peer);
    peer.events.clear();
    let start = world.now;
    let mut shown_at = Vec::new();
    for value in 0..200 {
        set(&mut world, &mut peer, value);
        world.pass(Duration::from_millis(3));
        world.turn(&mut peer);
        let count = peer.applied().len();
        shown_at.resize(count, world.now.saturating_since(start));
    }
    // 600 ms: one at once and twelve after it.
    assert_eq!(shown_at.len(), 13, "{shown_at:?}");
    assert!(shown_at[0] <= Duration::from_millis(3), "{shown_at:?}");
    world.pass(FLUSH);
    world.turn(&mut peer);
    assert_eq!(peer.prop("props", EntityId::ROOM, "k"), Some(Value::Int(199)));
}

#[test]
fn what_is_refused_wakes_nobody() {
    let mut world = world(spec(schema()));
    let mut peer = world.join("plain", "a");
    world.pass(FLUSH);
    let ticks = world.shard.metrics().ticks;
    for _ in 0..10 {
        let props = peer.component("props");
        peer.write(&mut world, &prop(props, EntityId(99), "k", Value::Int(1))).expect_err("nobody");
        world.pass(FLUSH);
    }
    assert_eq!(world.shard.metrics().ticks, ticks);
}

#[test]
fn a_member_that_drains_in_a_quiet_room_gets_its_catch_up() {
    let small = OutboxLimits { soft_bytes_max: 1 << 10, hard_bytes_max: 64 << 10 };
    let mut world = World::new(RoomTypes::default().with(Plain(spec(schema()))), small);
    let mut busy = world.join("plain", "busy");
    let mut slow = world.join("plain", "slow");
    world.pass(FLUSH);
    world.turns([&mut busy, &mut slow]);
    world.block(&slow);
    for value in 0..100 {
        set(&mut world, &mut busy, value);
        world.pass(FLUSH);
        world.turn(&mut busy);
    }
    world.pass(Duration::from_secs(1));
    let skipped = world.shard.broadcast_counts().skipped;
    assert!(skipped > 50, "{skipped}");
    slow.events.clear();
    world.unblock(&slow);
    assert!(world.shard.next_due().is_some_and(|due| due <= world.now), "the room wakes for it");
    world.pass(Duration::ZERO);
    world.turn(&mut slow);
    assert_eq!(slow.prop("props", EntityId::ROOM, "k"), Some(Value::Int(99)));
    assert_eq!(slow.tick(), world.room().sent());
    assert!(slow.applied().iter().all(|(outcome, _)| *outcome == Outcome::Delta));
    assert!(world.shard.next_due().is_some_and(|due| due > world.now + FLUSH), "quiet again");
}

#[test]
fn a_resync_in_a_quiet_room_is_answered_at_once() {
    let mut world = world(spec(schema()));
    let mut peer = world.join("plain", "a");
    world.pass(Duration::from_secs(1));
    world.turn(&mut peer);
    peer.events.clear();
    let have_tick = peer.tick();
    peer.client.send(ClientMessage::Resync { have_tick, reason: ResyncReason::Gap });
    world.turn(&mut peer);
    world.pass(Duration::ZERO);
    world.turn(&mut peer);
    let [(outcome, tick)] = peer.applied()[..] else { panic!("{:?}", peer.events) };
    assert_eq!((outcome, tick), (Outcome::Snapshot, have_tick.next()));
}
