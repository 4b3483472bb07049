//! What members may cost: a slow one, many that come at once, and many that fell behind.

use std::mem::size_of;
use std::time::Duration;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::{ClientMessage, ResyncReason};
use tickloom_protocol::ids::{EntityId, MemberId, Tick};
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::schema::TopicDesc;
use tickloom_server::outbox::OutboxLimits;
use tickloom_server::room::logic::{Cadence, RoomSpec};
use tickloom_server::room::member::{InputQueue, Member};
use tickloom_server::rooms::RoomTypes;

use crate::harness::{Peer, World, prop};
use crate::{FLUSH, Plain, schema, spec, world};

fn busy_room() -> RoomSpec {
    let topics = vec![TopicDesc { history: true, ..TopicDesc::new("chat") }];
    RoomSpec { members_max: 1_000, ..spec(schema().with_topics(topics).expect("topics")) }
}

/// Entities of the room with this many values of 4,000 bytes.
fn fill(world: &mut World, peer: &mut Peer, count: usize) -> Vec<EntityId> {
    let opaque = peer.component("opaque");
    let mut entities = Vec::new();
    for _ in 0..count {
        let mut changes = ChangesBuilder::default();
        let item = changes.enter(MemberId::SERVER);
        changes.opaque(opaque, item, &[1; 4_000]);
        entities.extend(peer.write(world, &changes).expect("there is place").entities);
    }
    world.pass(FLUSH);
    world.turn(peer);
    entities
}

#[test]
fn a_member_that_reads_nothing_costs_its_queue_and_a_few_numbers() {
    // Who it is and where: 16 bytes; its order of coming: 8; two ticks: 8; three numbers of
    // events: 32; what was answered: 8; what it inflates: 16; what it sees: 8; how often it changed
    // itself: 8; what a return needs, and how its client keeps up: 32. Whatever it misses, nothing
    // is added.
    assert_eq!(size_of::<Member>() - size_of::<InputQueue>(), 136);
    let limits = OutboxLimits { soft_bytes_max: 4 << 10, hard_bytes_max: 1 << 20 };
    let interval = Duration::from_millis(1);
    let room = RoomSpec { cadence: Cadence::OnChange { interval }, ..busy_room() };
    let mut world = World::new(RoomTypes::default().with(Plain(room)), limits);
    let mut busy = world.join("plain", "busy");
    let mut slow = world.join("plain", "slow");
    world.pass(FLUSH);
    world.turns([&mut busy, &mut slow]);
    world.block(&slow);
    let (props, chat) = (busy.component("props"), busy.topic("chat"));
    let before = world.shard.metrics().ticks;
    let (mut frame_bytes_max, mut held_bytes_max) = (0, 0);
    for round in 0..10_000_usize {
        let value = Value::Str("x".repeat(100 + round % 100).into());
        busy.client.write(&prop(props, EntityId::ROOM, "k", value));
        busy.client.publish(chat, &[], &[b'.'; 50]);
        busy.client.publish(chat, &[slow.member()], &[b'.'; 50]);
        let queued = world.queued(&slow);
        world.turn(&mut busy);
        world.pass(interval);
        busy.events.clear();
        let outbox = world.shard.outbox(slow.id).expect("it is there");
        assert!(outbox.is_unshared(), "round {round}: it keeps the memory of others alive");
        frame_bytes_max = frame_bytes_max.max(outbox.bytes() - queued);
        held_bytes_max = held_bytes_max.max(outbox.bytes());
    }
    assert!(world.shard.metrics().ticks - before >= 10_000);
    assert!(!world.is_closed(&slow));
    let allowed = limits.soft_bytes_max + frame_bytes_max;
    assert!(held_bytes_max <= allowed, "{held_bytes_max} bytes are held, {allowed} are allowed");
}

#[test]
fn many_that_come_at_once_share_one_encoding_of_a_large_state() {
    let mut world = world(busy_room());
    let mut first = world.join("plain", "first");
    world.pass(FLUSH);
    fill(&mut world, &mut first, 100);
    let before = world.shard.broadcast_counts();
    let mut crowd = Vec::new();
    for at in 0..200 {
        // What is said meanwhile does not tell them apart.
        first.publish(&mut world, "chat", &[], format!("{at}").as_bytes()).expect("it goes out");
        crowd.push(world.join("plain", "one of many"));
    }
    world.pass(Duration::ZERO);
    world.pass(FLUSH);
    world.turns(&mut crowd);
    let after = world.shard.broadcast_counts();
    assert_eq!(after.snapshots - before.snapshots, 200);
    assert_eq!(after.deferred, before.deferred);
    // The delta for the first, the snapshot for everybody else.
    assert_eq!(after.encodings - before.encodings, 2);
    let room = world.room().state().entities().count();
    for peer in &mut crowd {
        let entities = peer.client.seat().expect("a seat").replica.entities();
        assert_eq!(entities.count(), room);
        assert_eq!(peer.texts().len(), 200, "and all that was said in that tick");
    }
}

#[test]
fn one_of_a_thousand_that_comes_or_goes_is_one_entity_for_the_others() {
    let mut world = world(busy_room());
    let mut crowd: Vec<Peer> = (0..999).map(|_| world.join("plain", "one of many")).collect();
    world.pass(FLUSH);
    world.turns(&mut crowd);
    let bytes = |world: &mut World, crowd: &mut [Peer]| {
        let before = world.shard.broadcast_counts();
        for peer in &mut *crowd {
            peer.events.clear();
        }
        world.pass(FLUSH);
        world.turns(&mut *crowd);
        let after = world.shard.broadcast_counts();
        let chunks: Vec<usize> = crowd
            .iter()
            .map(|peer| match &peer.events[..] {
                [tickloom_protocol::client::ClientEvent::Applied { chunks_bytes, .. }] => {
                    *chunks_bytes
                }
                events => panic!("{events:?}"),
            })
            .collect();
        assert!(chunks.iter().all(|bytes| *bytes == chunks[0]), "all get the same");
        (chunks[0], after.encodings - before.encodings)
    };
    let comer = world.join("plain", "last");
    // A chunk's head, no leaves, a gap and an owner of two bytes each, and the end; the snapshot
    // for the newcomer beside it.
    assert_eq!(bytes(&mut world, &mut crowd), (9, 2));
    world.disconnect(&comer);
    assert_eq!(bytes(&mut world, &mut crowd), (7, 1));
}

#[test]
fn those_who_fell_behind_at_different_times_are_served_oldest_first_within_the_budget() {
    let limits = OutboxLimits { soft_bytes_max: 2 << 10, hard_bytes_max: 1 << 20 };
    let mut world = World::new(RoomTypes::default().with(Plain(busy_room())), limits);
    let mut busy = world.join("plain", "busy");
    world.pass(FLUSH);
    let entities = fill(&mut world, &mut busy, 25);
    let mut crowd: Vec<Peer> = (0..50).map(|_| world.join("plain", "slow")).collect();
    world.pass(FLUSH);
    world.turns(&mut crowd);
    let opaque = busy.component("opaque");
    // One after the other stops reading, each with another tick.
    for at in 0..52 {
        if let Some(peer) = crowd.get(at) {
            world.block(peer);
        }
        for entity in &entities {
            let mut changes = ChangesBuilder::default();
            changes.opaque(opaque, *entity, &[at as u8; 4_000]);
            busy.write(&mut world, &changes).expect("members may");
        }
        world.pass(FLUSH);
        world.turns(crowd.iter_mut().skip(at + 1).chain([&mut busy]));
        busy.events.clear();
    }
    for peer in &mut crowd {
        peer.events.clear();
        world.unblock(peer);
    }
    // A catch-up takes 100 kB, so three are begun in a tick.
    let counts = world.shard.broadcast_counts();
    let mut served = Vec::new();
    for tick in 0..100 {
        let before = (world.shard.broadcast_counts().encodings, world.shard.metrics().ticks);
        world.pass(FLUSH);
        let encodings = world.shard.broadcast_counts().encodings - before.0;
        let ticks = world.shard.metrics().ticks - before.1;
        assert!(encodings <= 4 * ticks, "tick {tick}: {encodings} in {ticks}");
        world.turns(&mut crowd);
        for (at, peer) in crowd.iter().enumerate() {
            let caught_up = peer.tick() == world.room().sent();
            if caught_up && !served.contains(&at) {
                served.push(at);
            }
        }
        if served.len() == crowd.len() {
            break;
        }
    }
    assert_eq!(served, (0..50).collect::<Vec<_>>(), "oldest first, and all in the end");
    let after = world.shard.broadcast_counts();
    assert_eq!(after.catch_ups - counts.catch_ups, 50);
    assert!(after.deferred > counts.deferred);
    for peer in &crowd {
        assert_eq!(peer.opaque("opaque", entities[24]), Some(&[51; 4_000][..]));
        assert!(peer.applied().iter().all(|(outcome, _)| *outcome == Outcome::Delta));
    }
}

#[test]
fn a_resync_of_everybody_at_once_is_one_snapshot() {
    let mut world = world(busy_room());
    let mut crowd: Vec<Peer> = (0..50).map(|_| world.join("plain", "a")).collect();
    world.pass(FLUSH);
    world.turns(&mut crowd);
    let before = world.shard.broadcast_counts();
    for peer in &mut crowd {
        peer.client.send(ClientMessage::Resync { have_tick: Tick(1), reason: ResyncReason::Gap });
    }
    world.turns(&mut crowd);
    world.pass(FLUSH);
    world.turns(&mut crowd);
    let after = world.shard.broadcast_counts();
    assert_eq!(after.snapshots - before.snapshots, 50);
    assert_eq!(after.encodings - before.encodings, 1);
}
