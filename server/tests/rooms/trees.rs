//! What hangs below what: never a circle, and nothing that is taken away by somebody who may not.

use tickloom_protocol::changes::{ChangesBuilder, Target};
use tickloom_protocol::chunks::Value;
use tickloom_protocol::ids::{EntityId, MemberId};
use tickloom_protocol::limits;
use tickloom_protocol::schema::WritePolicy;
use tickloom_protocol::server_message::RefusalCode;

use crate::harness::{Peer, World, prop};
use crate::{FLUSH, schema, spec, world};

/// A member and as many entities of the room as asked for.
fn with_entities(world: &mut World, count: usize) -> (Peer, Vec<EntityId>) {
    let mut peer = world.join("plain", "one");
    let entities = add(world, &mut peer, MemberId::SERVER, count);
    (peer, entities)
}

fn add(world: &mut World, peer: &mut Peer, owner: MemberId, count: usize) -> Vec<EntityId> {
    let mut entities = Vec::new();
    while entities.len() < count {
        let mut changes = ChangesBuilder::default();
        for _ in 0..(count - entities.len()).min(limits::SPAWNS_PER_WRITE_MAX) {
            changes.enter(owner);
        }
        entities.extend(peer.write(world, &changes).expect("places").entities);
    }
    world.pass(FLUSH);
    world.turn(peer);
    entities
}

/// A write that hangs each first below its second.
fn hang(peer: &Peer, pairs: &[(EntityId, EntityId)]) -> ChangesBuilder {
    let mut changes = ChangesBuilder::default();
    for (child, parent) in pairs {
        changes.link(peer.component("layer"), *child, "parent", *parent);
    }
    changes
}

fn leave(entity: EntityId) -> ChangesBuilder {
    let mut changes = ChangesBuilder::default();
    changes.leave(entity);
    changes
}

#[test]
fn no_write_closes_a_circle() {
    let mut world = world(spec(schema()));
    let (mut peer, ids) = with_entities(&mut world, 4);
    let [a, b, c, gone] = ids[..] else { panic!("four") };
    peer.write(&mut world, &leave(gone)).expect("it goes");
    let room = EntityId::ROOM;
    for (pairs, fits) in [
        (&[(a, a)][..], false),
        // Sections are in order of ids, so the second closes it.
        (&[(a, b), (b, a)], false),
        (&[(a, b), (b, c), (c, a)], false),
        (&[(a, gone)], false),
        (&[(a, EntityId(99))], false),
        (&[(room, a)], false),
        (&[(a, room), (b, a), (c, b)], true),
        // a below c: a circle with what is there, unless the same write moves c away.
        (&[(a, c)], false),
        (&[(c, room)], true),
        (&[(a, c)], true),
    ] {
        let answer = peer.write(&mut world, &hang(&peer, pairs)).map(|_| ());
        let expected = if fits { Ok(()) } else { Err(RefusalCode::Invalid) };
        assert_eq!(answer, expected, "{pairs:?}");
    }
    for value in [Value::Int(1), Value::Bool(true), Value::Str("a".into())] {
        let layer = peer.component("layer");
        let answer = peer.write(&mut world, &prop(layer, a, "parent", value.clone()));
        assert_eq!(answer, Err(RefusalCode::Invalid), "{value:?}");
        let answer = peer.write(&mut world, &prop(peer.component("props"), a, "parent", value));
        assert!(answer.is_ok(), "no tree, no rule");
    }
    world.pass(FLUSH);
    world.turn(&mut peer);
    assert_eq!(peer.prop("layer", a, "parent"), Some(Value::Entity(c)));
}

#[test]
fn what_a_write_takes_off_hangs_nowhere_for_the_rest_of_it() {
    // The story: the places that a write changed did not know of components taken off, so a
    // write that turned two entities round was refused as a circle.
    let mut world = world(spec(schema()));
    let (mut peer, ids) = with_entities(&mut world, 2);
    let [top, bottom] = ids[..] else { panic!("two") };
    peer.write(&mut world, &hang(&peer, &[(bottom, top)])).expect("it fits");
    let layer = peer.component("layer");
    let mut turn = ChangesBuilder::default();
    turn.remove(layer, bottom).link(layer, top, "parent", bottom);
    peer.write(&mut world, &turn).expect("bottom hangs nowhere by then");
    world.pass(FLUSH);
    world.turn(&mut peer);
    assert_eq!(peer.prop("layer", top, "parent"), Some(Value::Entity(bottom)));
    assert_eq!(peer.prop("layer", bottom, "parent"), None);
}

#[test]
fn entities_that_a_write_adds_hang_below_each_other_but_in_no_circle() {
    let mut world = world(spec(schema()));
    let (mut peer, _) = with_entities(&mut world, 0);
    let layer = peer.component("layer");
    let build = |pairs: &[(usize, usize)]| {
        let mut changes = ChangesBuilder::default();
        let added: Vec<Target> = (0..3).map(|_| changes.enter(MemberId::SERVER)).collect();
        for (child, parent) in pairs {
            changes.link(layer, added[*child], "parent", added[*parent]);
        }
        changes
    };
    assert!(peer.write(&mut world, &build(&[(0, 1), (1, 2)])).is_ok());
    let circle = build(&[(0, 1), (1, 2), (2, 0)]);
    assert_eq!(peer.write(&mut world, &circle), Err(RefusalCode::Invalid));
    let mut more_than_added = ChangesBuilder::default();
    let added = more_than_added.enter(MemberId::SERVER);
    more_than_added.link(layer, added, "parent", Target::added(1));
    assert_eq!(peer.write(&mut world, &more_than_added), Err(RefusalCode::Invalid));
}

#[test]
fn a_place_is_at_most_so_deep() {
    let mut world = world(spec(schema()));
    let (mut peer, ids) = with_entities(&mut world, limits::TREE_DEPTH_MAX + 2);
    for (at, pair) in ids.windows(2).enumerate() {
        let answer = peer.write(&mut world, &hang(&peer, &[(pair[1], pair[0])])).map(|_| ());
        let fits = at < limits::TREE_DEPTH_MAX;
        let expected = if fits { Ok(()) } else { Err(RefusalCode::Invalid) };
        assert_eq!(answer, expected, "step {at}");
    }
}

#[test]
fn what_the_room_owns_goes_with_what_it_hangs_below_and_the_rest_hangs_nowhere() {
    let mut world = world(spec(schema()));
    let (mut one, ids) = with_entities(&mut world, 4);
    let [root, child, below_member, leaf] = ids[..] else { panic!("four") };
    let mut two = world.join("plain", "two");
    let (own, member) = (one.entity(), two.entity());
    let pairs = [(child, root), (leaf, child), (member, child), (below_member, member)];
    one.write(&mut world, &hang(&one, &pairs)).expect("they fit");
    world.pass(FLUSH);
    world.turns([&mut one, &mut two]);
    two.write(&mut world, &leave(root)).expect("members may");
    world.pass(FLUSH);
    world.turns([&mut one, &mut two]);
    for (entity, stays) in [
        (root, false),
        (child, false),
        (leaf, false),
        (member, true),
        (below_member, true),
        (own, true),
    ] {
        assert_eq!(one.sees(entity), stays, "{entity:?}");
    }
    assert_eq!(one.prop("layer", member, "parent"), None, "it hangs nowhere");
    assert_eq!(one.prop("layer", below_member, "parent"), Some(Value::Entity(member)));
}

#[test]
fn who_leaves_takes_nothing_of_the_room_along() {
    // The story: whoever may hang things could hang the room's below an entity of their own and
    // go. With entities in the host's hands, guests removed what only the host may remove.
    let mut world = world(spec(schema().with_entities_by(WritePolicy::Host)));
    let (mut host, ids) = with_entities(&mut world, 2);
    let [group, item] = ids[..] else { panic!("two") };
    host.write(&mut world, &hang(&host, &[(item, group)])).expect("it fits");
    let mut guest = world.join("plain", "guest");
    let member = guest.member();
    let own = add(&mut world, &mut guest, member, 1)[0];
    assert_eq!(guest.write(&mut world, &leave(group)), Err(RefusalCode::NotAllowed));
    guest.write(&mut world, &hang(&guest, &[(group, own)])).expect("it may hang");
    guest.write(&mut world, &leave(own)).expect("its own");
    guest.write(&mut world, &hang(&guest, &[(group, guest.entity())])).expect("it may hang");
    world.disconnect(&guest);
    world.pass(FLUSH);
    world.turn(&mut host);
    assert!(host.sees(group) && host.sees(item));
    assert_eq!(host.prop("layer", group, "parent"), None);
    assert_eq!(host.prop("layer", item, "parent"), Some(Value::Entity(group)));
}

#[test]
fn a_long_chain_goes_entity_by_entity_in_one_write() {
    // The story: each entity's subtree was walked again, so a chain cost the square of its
    // length. Chains grow long when one is hung below another.
    let mut world = world(spec(schema()));
    let (mut peer, ids) = with_entities(&mut world, 3_000);
    // Pieces of 60, the lowest ids at the bottom; then each piece below the next.
    for piece in ids.chunks(60) {
        let pairs: Vec<_> = piece.windows(2).map(|pair| (pair[0], pair[1])).collect();
        peer.write(&mut world, &hang(&peer, &pairs)).expect("short enough");
    }
    for pair in ids.chunks(60).collect::<Vec<_>>().windows(2) {
        let top = *pair[0].last().expect("sixty");
        peer.write(&mut world, &hang(&peer, &[(top, pair[1][0])])).map(|_| ()).unwrap_or(());
    }
    let mut changes = ChangesBuilder::default();
    for id in &ids {
        changes.leave(*id);
    }
    peer.write(&mut world, &changes).expect("members may");
    world.pass(FLUSH);
    world.turn(&mut peer);
    assert_eq!(world.room().state().entities().count(), 2, "the room and the member");
}
