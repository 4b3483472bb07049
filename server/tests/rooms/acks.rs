//! What deltas acknowledge: inputs that were taken, and writes and publications that were answered.

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::{ClientMessage, ResyncReason};
use tickloom_protocol::ids::{EntityId, OpId, Tick};
use tickloom_protocol::limits::PROP_KEY_BYTES_MAX;

use crate::harness::{Peer, World, prop};
use crate::{FLUSH, schema, spec, world};

/// What the deltas since the last call said was answered, in order.
fn answered(peer: &mut Peer) -> Vec<u32> {
    let events = std::mem::take(&mut peer.events).into_iter();
    let heads = events.filter_map(|event| match event {
        ClientEvent::Applied { head, .. } => Some(head.ack_op),
        _ => None,
    });
    heads.map(|op| op.0).collect()
}

#[test]
fn the_next_delta_names_the_last_write_that_was_answered_and_only_that_one() {
    let mut world = world(spec(schema()));
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| world.join("plain", name));
    world.pass(FLUSH);
    world.turns([&mut ann, &mut bob]);
    ann.events.clear();
    bob.events.clear();
    let props = ann.component("props");
    let set = |entity, value| prop(props, entity, "k", Value::Int(value));

    ann.write(&mut world, &set(EntityId::ROOM, 1)).expect("members may");
    ann.write(&mut world, &set(EntityId(99), 1)).expect_err("nobody");
    world.pass(FLUSH);
    world.turns([&mut ann, &mut bob]);
    assert_eq!(answered(&mut ann), [2], "what was refused is answered, too");
    assert_eq!(answered(&mut bob), [OpId::NONE.0], "it wrote nothing");

    bob.write(&mut world, &set(EntityId::ROOM, 2)).expect("members may");
    world.pass(FLUSH);
    world.turns([&mut ann, &mut bob]);
    assert_eq!((answered(&mut ann), answered(&mut bob)), (vec![0], vec![1]), "said once");

    let reason = ResyncReason::Gap;
    ann.client.send(ClientMessage::Resync { have_tick: Tick::ZERO, reason });
    world.turn(&mut ann);
    world.pass(FLUSH);
    world.turn(&mut ann);
    assert_eq!(answered(&mut ann), [2], "a snapshot says it again");
}

#[test]
fn an_own_write_is_shown_at_once_and_never_goes_back() {
    let mut world = world(spec(schema()));
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| world.join("plain", name));
    world.pass(FLUSH);
    world.turns([&mut ann, &mut bob]);
    let props = ann.component("props");
    let shown = |peer: &Peer| match peer.client.seat()?.prop(props, EntityId::ROOM, "k")? {
        Value::Int(number) => Some(*number),
        other => panic!("{other:?}"),
    };
    let room = |world: &mut World, ann: &mut Peer, bob: &mut Peer| {
        world.pass(FLUSH);
        world.turns([ann, bob]);
    };

    // Bob's is taken first, but his is not shown to Ann, who has written hers already.
    bob.write(&mut world, &prop(props, EntityId::ROOM, "k", Value::Int(1))).expect("members may");
    ann.client.write_prop(props, EntityId::ROOM, "k", Value::Int(2)).expect("a seat");
    assert_eq!((shown(&ann), shown(&bob)), (Some(2), None), "nothing has come back yet");
    world.pass(FLUSH);
    world.read(&mut ann);
    assert_eq!(ann.prop("props", EntityId::ROOM, "k"), Some(Value::Int(1)), "what the room says");
    assert_eq!(shown(&ann), Some(2));
    room(&mut world, &mut ann, &mut bob);
    room(&mut world, &mut ann, &mut bob);
    assert_eq!((shown(&ann), shown(&bob)), (Some(2), Some(2)));
    assert!(ann.client.seat().is_some_and(|seat| seat.pending.is_empty()), "it was answered");

    // What is refused is not shown any more.
    let too_long = "x".repeat(PROP_KEY_BYTES_MAX);
    for entity in [EntityId::ROOM, EntityId(99)] {
        ann.client.write_prop(props, entity, &too_long, Value::Int(3)).expect("a seat");
    }
    room(&mut world, &mut ann, &mut bob);
    room(&mut world, &mut ann, &mut bob);
    assert!(ann.client.seat().is_some_and(|seat| seat.pending.is_empty()), "both were answered");
}
