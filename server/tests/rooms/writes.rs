//! Who may write what, all of it or nothing, and on which condition.

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::{ClientMessage, Write};
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, OpId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::schema::{ComponentDesc, RoomSchema, WritePolicy};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::room::logic::RoomSpec;
use tickloom_server::room::write::STATE_BYTES_MAX;

use crate::harness::{Peer, World, prop};
use crate::{FLUSH, schema, spec, world};

const POLICIES: [WritePolicy; 4] =
    [WritePolicy::Server, WritePolicy::Owner, WritePolicy::Members, WritePolicy::Host];

/// A host, a guest, and an entity that each of the policies of entities allows or not.
fn two(world: &mut World) -> [Peer; 2] {
    let [mut host, mut guest] = ["host", "guest"].map(|name| world.join("plain", name));
    world.pass(FLUSH);
    world.turns([&mut host, &mut guest]);
    [host, guest]
}

fn outcome<T>(answer: Result<T, RefusalCode>) -> &'static str {
    match answer {
        Ok(_) => "yes",
        Err(RefusalCode::NotAllowed) => "no",
        Err(code) => panic!("{code:?}"),
    }
}

#[test]
fn values_are_written_by_those_whom_their_policy_names() {
    let named = |policy: WritePolicy| format!("{policy:?}");
    let components =
        POLICIES.map(|policy| ComponentDesc::props(&named(policy)).writable_by(policy));
    let schema = RoomSchema::new(components.to_vec(), vec![]).expect("schema");
    let schema = schema.with_entities_by(WritePolicy::Members);
    // Whose entity it is: the writer's seat, one the writer added, another member's, the room's,
    // and the room itself.
    for (policy, role, expected) in [
        (WritePolicy::Server, 0, ["no", "no", "no", "no", "no"]),
        (WritePolicy::Server, 1, ["no", "no", "no", "no", "no"]),
        (WritePolicy::Owner, 0, ["yes", "yes", "no", "no", "no"]),
        (WritePolicy::Owner, 1, ["yes", "yes", "no", "no", "no"]),
        (WritePolicy::Members, 0, ["yes", "yes", "yes", "yes", "yes"]),
        (WritePolicy::Members, 1, ["yes", "yes", "yes", "yes", "yes"]),
        (WritePolicy::Host, 0, ["yes", "yes", "yes", "yes", "yes"]),
        (WritePolicy::Host, 1, ["no", "no", "no", "no", "no"]),
    ] {
        let mut world = world(spec(schema.clone()));
        let mut peers = two(&mut world);
        let other = peers[1 - role].entity();
        let peer = &mut peers[role];
        let mut changes = ChangesBuilder::default();
        changes.enter(peer.member());
        changes.enter(MemberId::SERVER);
        let added = peer.write(&mut world, &changes).expect("entities").entities;
        let component = peer.component(&named(policy));
        let targets = [peer.entity(), added[0], other, added[1], EntityId::ROOM];
        for (way, value) in [("set", Value::Int(1)), ("remove", Value::Nil)] {
            let answers = targets.map(|target| {
                outcome(peer.write(&mut world, &prop(component, target, "k", value.clone())))
            });
            assert_eq!(answers, expected, "{policy:?}, role {role}, {way}");
        }
        let answers = targets.map(|target| {
            let mut changes = ChangesBuilder::default();
            changes.remove(component, target);
            outcome(peer.write(&mut world, &changes))
        });
        assert_eq!(answers, expected, "{policy:?}, role {role}, take off");
    }
}

#[test]
fn entities_come_and_go_by_those_whom_the_policy_names() {
    // To add one's own, one of the room, one of another member; to remove one's own, one of the
    // room, another member's, one's seat, the room.
    for (policy, role, adds, removes) in [
        (WritePolicy::Server, 0, ["no", "no", "no"], ["", "no", "no", "no", "no"]),
        (WritePolicy::Server, 1, ["no", "no", "no"], ["", "no", "no", "no", "no"]),
        (WritePolicy::Owner, 0, ["yes", "no", "no"], ["yes", "no", "no", "no", "no"]),
        (WritePolicy::Owner, 1, ["yes", "no", "no"], ["yes", "no", "no", "no", "no"]),
        (WritePolicy::Members, 0, ["yes", "yes", "no"], ["yes", "yes", "no", "no", "no"]),
        (WritePolicy::Members, 1, ["yes", "yes", "no"], ["yes", "yes", "no", "no", "no"]),
        (WritePolicy::Host, 0, ["yes", "yes", "no"], ["yes", "yes", "no", "no", "no"]),
        (WritePolicy::Host, 1, ["yes", "no", "no"], ["yes", "no", "no", "no", "no"]),
    ] {
        let mut world = world(spec(schema().with_entities_by(policy)));
        let mut peers = two(&mut world);
        let (own, other) = (peers[role].member(), peers[1 - role].member());
        let other_seat = peers[1 - role].entity();
        let mut entities = [None; 2];
        let mut answers = Vec::new();
        for (at, owner) in [own, MemberId::SERVER, other].into_iter().enumerate() {
            let mut changes = ChangesBuilder::default();
            changes.enter(owner);
            let answer = peers[role].write(&mut world, &changes);
            if let (Ok(accepted), Some(entity)) = (&answer, entities.get_mut(at)) {
                *entity = Some(accepted.entities[0]);
            }
            answers.push(outcome(answer));
        }
        assert_eq!(answers, adds, "{policy:?}, role {role}: adds");
        // One of the room that the host may have added, for those who may not.
        if entities[1].is_none() && policy == WritePolicy::Host {
            let mut changes = ChangesBuilder::default();
            changes.enter(MemberId::SERVER);
            let added = peers[0].write(&mut world, &changes).expect("the host may").entities;
            entities[1] = Some(added[0]);
        }
        let seat = peers[role].entity();
        let targets =
            [entities[0], entities[1], Some(other_seat), Some(seat), Some(EntityId::ROOM)];
        for (target, expected) in targets.into_iter().zip(removes) {
            let Some(target) = target else { continue };
            let mut changes = ChangesBuilder::default();
            changes.leave(target);
            let answer = outcome(peers[role].write(&mut world, &changes));
            assert_eq!(answer, expected, "{policy:?}, role {role}: removes {target:?}");
        }
    }
}

#[test]
fn a_write_whose_last_change_is_refused_changes_nothing() {
    let mut world = world(spec(schema()));
    let [mut host, mut guest] = two(&mut world);
    let (props, opaque, layer) =
        (host.component("props"), host.component("opaque"), host.component("layer"));
    let mut changes = ChangesBuilder::default();
    changes.enter(MemberId::SERVER);
    changes.prop(props, EntityId::ROOM, "k", &Value::Int(1));
    let group = host.write(&mut world, &changes).expect("allowed").entities[0];
    world.pass(FLUSH);
    world.turns([&mut host, &mut guest]);
    let before = world.room().state().entities().clone();
    let mut changes = ChangesBuilder::default();
    let added = changes.enter(MemberId::SERVER);
    changes.leave(group).prop(props, EntityId::ROOM, "k", &Value::Int(2));
    changes.opaque(opaque, added, b"x").link(layer, added, "parent", host.entity());
    changes.prop(props, EntityId(999), "k", &Value::Int(3));
    assert_eq!(host.write(&mut world, &changes), Err(RefusalCode::Invalid));
    world.pass(FLUSH);
    let after = world.room().state().entities();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    before.put_snapshot(View::Room, &mut ours);
    after.put_snapshot(View::Room, &mut theirs);
    assert_eq!(ours, theirs);
    assert_eq!(world.room().state().tree(layer).map(|tree| tree.parent(added_id())), Some(None));
    guest.events.clear();
    world.turn(&mut guest);
    assert_eq!(guest.applied(), [], "nothing happened, and nobody is told");
}

/// What the first entity that a room adds behind its members and one group would be.
fn added_id() -> EntityId {
    EntityId(4)
}

#[test]
fn added_entities_get_ids_and_the_answer_comes_before_the_state() {
    let mut world = world(spec(schema()));
    let [mut host, mut guest] = two(&mut world);
    let (props, layer) = (host.component("props"), host.component("layer"));
    host.events.clear();
    let mut changes = ChangesBuilder::default();
    let (group, item) = (changes.enter(MemberId::SERVER), changes.enter(host.member()));
    changes.prop(props, group, "name", &Value::Str("group".into()));
    changes.link(layer, item, "parent", group);
    let accepted = host.write(&mut world, &changes).expect("allowed");
    world.pass(FLUSH);
    world.turns([&mut host, &mut guest]);
    let [group, item] = accepted.entities[..] else { panic!("{accepted:?}") };
    for peer in [&host, &guest] {
        assert_eq!(peer.prop("props", group, "name"), Some(Value::Str("group".into())));
        assert_eq!(peer.prop("layer", item, "parent"), Some(Value::Entity(group)));
        let replica = &peer.client.seat().expect("a seat").replica;
        let owners = [group, item].map(|entity| replica.entities().owner(entity));
        assert_eq!(owners, [Some(MemberId::SERVER), Some(host.member())]);
    }
    let answered = host.events.iter().position(|event| matches!(event, ClientEvent::Accepted(_)));
    let shown = host.events.iter().position(|event| match event {
        ClientEvent::Applied { head, .. } => head.tick >= accepted.tick,
        _ => false,
    });
    assert!(answered.is_some() && answered < shown, "{:?}", host.events);
    assert_eq!(host.tick(), accepted.tick, "the delta of that tick shows it");
}

#[test]
fn a_condition_holds_while_nothing_it_touches_changes() {
    let mut world = world(spec(schema()));
    let [mut one, mut two] = two(&mut world);
    let (props, row) = (one.component("props"), one.component("row"));
    let set = |key: &str, value| prop(props, EntityId::ROOM, key, Value::Int(value));
    let seen = one.tick();
    let conflict = Err(RefusalCode::Conflict);
    // Two writers in one tick: the first wins.
    let first = one.write_if(&mut world, &set("k", 1), seen).expect("the first");
    assert_eq!(two.write_if(&mut world, &set("k", 2), seen).map(|_| ()), conflict);
    assert!(two.write_if(&mut world, &set("other", 2), seen).is_ok(), "another key");
    // The story: a writer that claimed to have seen the tick under construction overwrote what
    // came into it after its own write.
    assert!(two.write(&mut world, &set("k", 3)).is_ok());
    for claimed in [first.tick, Tick(u32::MAX)] {
        let answer = one.write_if(&mut world, &set("k", 4), claimed).map(|_| ());
        assert_eq!(answer, conflict, "tick {claimed}");
    }
    world.pass(FLUSH);
    world.turns([&mut one, &mut two]);
    assert_eq!(one.prop("props", EntityId::ROOM, "k"), Some(Value::Int(3)));
    // Stale, then current.
    assert_eq!(one.write_if(&mut world, &set("k", 5), seen).map(|_| ()), conflict);
    let now = one.tick();
    assert!(one.write_if(&mut world, &set("k", 5), now).is_ok());
    world.pass(FLUSH);
    world.turns([&mut one, &mut two]);
    // Removed keys and values are changes, too, for as long as they are remembered.
    let now = one.tick();
    assert!(two.write(&mut world, &prop(props, EntityId::ROOM, "k", Value::Nil)).is_ok());
    let mut on = ChangesBuilder::default();
    on.row(row, EntityId::ROOM, &[1]);
    assert!(two.write(&mut world, &on).is_ok());
    let mut off = ChangesBuilder::default();
    off.remove(row, EntityId::ROOM);
    assert!(two.write(&mut world, &off).is_ok());
    world.pass(FLUSH);
    world.turns([&mut one, &mut two]);
    assert_eq!(one.write_if(&mut world, &set("k", 6), now).map(|_| ()), conflict, "removed key");
    assert_eq!(one.write_if(&mut world, &on, now).map(|_| ()), conflict, "removed row");
    assert_eq!(one.write_if(&mut world, &off, now).map(|_| ()), conflict, "removal of it");
    let now = one.tick();
    assert!(one.write_if(&mut world, &on, now).is_ok());
}

#[test]
fn a_condition_about_an_entity_that_is_gone_does_not_hold_for_its_successor() {
    // The story: the id of a removed entity was given out again, its values had no history yet,
    // and a write on the condition that nothing had changed hit the newcomer.
    let mut world = world(spec(schema()));
    let [mut one, mut two] = two(&mut world);
    let props = one.component("props");
    let mut enter = ChangesBuilder::default();
    enter.enter(MemberId::SERVER);
    let entity = one.write(&mut world, &enter).expect("added").entities[0];
    world.pass(FLUSH);
    world.turns([&mut one, &mut two]);
    let seen = one.tick();
    let mut leave = ChangesBuilder::default();
    leave.leave(entity);
    assert!(two.write(&mut world, &leave).is_ok());
    for round in 0..20 {
        two.write(&mut world, &prop(props, EntityId::ROOM, "k", Value::Int(round))).expect("fine");
        world.pass(FLUSH);
    }
    let successor = two.write(&mut world, &enter).expect("added").entities[0];
    assert_eq!(successor, entity, "the id is used again");
    world.pass(FLUSH);
    let set = prop(props, entity, "k", Value::Int(1));
    assert_eq!(one.write_if(&mut world, &set, seen).map(|_| ()), Err(RefusalCode::Conflict));
    assert_eq!(one.write_if(&mut world, &leave, seen).map(|_| ()), Err(RefusalCode::Conflict));
    world.turn(&mut one);
    let now = one.tick();
    assert!(one.write_if(&mut world, &set, now).is_ok());
}

#[test]
fn keys_are_counted_as_they_are_when_the_write_is_done() {
    // The story: a key that the same write removed, or set twice, took a place all the same.
    let mut world = world(spec(schema()));
    let [mut one, _] = two(&mut world);
    let props = one.component("props");
    let key = |at: usize| format!("k{at:03}");
    let mut all = ChangesBuilder::default();
    for at in 0..limits::PROP_KEYS_MAX {
        all.prop(props, EntityId::ROOM, &key(at), &Value::Bool(true));
    }
    assert!(one.write(&mut world, &all).is_ok());
    let set = |changes: &mut ChangesBuilder, keys: &[(&str, bool)]| {
        for (key, stays) in keys {
            let value = if *stays { Value::Bool(false) } else { Value::Nil };
            changes.prop(props, EntityId::ROOM, key, &value);
        }
    };
    let mut taken_off = ChangesBuilder::default();
    taken_off.remove(props, EntityId::ROOM);
    set(&mut taken_off, &[("new", true)]);
    for (keys, fits) in [
        (&[("k000", true)][..], true),
        (&[("new", true)], false),
        (&[("k000", false), ("new", true)], true),
        (&[("new", true), ("new", true)], true),
        (&[("new", false), ("k000", true), ("k000", true), ("newer", true)], false),
        (&[("new", false), ("k000", true)], true),
        (&[("newer", true), ("new", false)], false),
    ] {
        let mut changes = ChangesBuilder::default();
        set(&mut changes, keys);
        let answer = one.write(&mut world, &changes).map(|_| ());
        let expected = if fits { Ok(()) } else { Err(RefusalCode::Invalid) };
        assert_eq!(answer, expected, "{keys:?}");
    }
    assert!(one.write(&mut world, &taken_off).is_ok());
    let state = world.room().state();
    assert_eq!(state.entities().props(props, EntityId::ROOM).map(|props| props.len()), Some(1));
}

#[test]
fn members_fill_a_room_but_not_the_places_of_those_who_may_still_come() {
    let mut world = world(RoomSpec { members_max: 4, entities_max: 10, ..spec(schema()) });
    let [mut one, mut two] = two(&mut world);
    let mut enter = ChangesBuilder::default();
    enter.enter(MemberId::SERVER);
    // 10 less the room, two members and two free seats.
    for left in (0..5).rev() {
        assert!(one.write(&mut world, &enter).is_ok(), "{left} left");
    }
    let mut several = ChangesBuilder::default();
    several.enter(MemberId::SERVER);
    several.enter(one.member());
    for changes in [&enter, &several] {
        assert_eq!(two.write(&mut world, changes), Err(RefusalCode::RoomFull));
    }
    world.join("plain", "third");
    world.join("plain", "fourth");
    assert_eq!(world.room().members().len(), 4, "the seats are not taken by things");
}

#[test]
fn a_full_room_says_so_and_goes_on() {
    // The story: members could write until a snapshot no longer fitted a message. The room ended,
    // and with it what everybody had made.
    let mut world = world(spec(schema()));
    let [mut one, mut two] = two(&mut world);
    let opaque = one.component("opaque");
    let mut entities = Vec::new();
    let last = loop {
        let mut changes = ChangesBuilder::default();
        for _ in 0..12 {
            let item = changes.enter(MemberId::SERVER);
            changes.opaque(opaque, item, &[7; 4096]);
        }
        match one.write(&mut world, &changes) {
            Ok(accepted) => entities.extend(accepted.entities),
            Err(code) => break code,
        }
        world.pass(FLUSH);
        one.events.clear();
        assert!(entities.len() * 4096 < 2 * STATE_BYTES_MAX, "it has an end");
    };
    assert_eq!(last, RefusalCode::RoomFull);
    assert!(entities.len() * 4096 > STATE_BYTES_MAX - 64 * 1024, "and not too early");
    let mut late = world.join("plain", "late");
    world.pass(FLUSH);
    world.turns([&mut one, &mut two, &mut late]);
    assert_eq!(late.opaque("opaque", entities[0]), Some(&[7; 4096][..]));
    // What is there may change as long as it does not grow, and may go.
    let mut other = ChangesBuilder::default();
    other.opaque(opaque, entities[0], &[8; 4096]);
    assert!(two.write(&mut world, &other).is_ok());
    let mut leave = ChangesBuilder::default();
    for entity in &entities[..20] {
        leave.leave(*entity);
    }
    assert!(two.write(&mut world, &leave).is_ok());
    let mut enter = ChangesBuilder::default();
    let item = enter.enter(MemberId::SERVER);
    enter.opaque(opaque, item, &[9; 4096]);
    assert!(two.write(&mut world, &enter).is_ok());
}

#[test]
fn a_write_that_is_none_closes_and_one_too_long_is_refused() {
    for (name, bytes, expected) in [
        ("nothing", &[][..], Some(1007)),
        ("no such component", &[0, 0, 1, 63, 1, 0, 0], Some(1007)),
        ("an entity out of range", &[0, 0, 2, 0, 0xff, 0xff, 0xff, 0x7f, 0], Some(1007)),
        ("a bool of 2", &[0, 0, 1, 2, 1, 2, 0], Some(1007)),
        ("no end", &[0, 0, 1, 2, 1, 1], Some(1007)),
        ("an id that was not added", &[0, 0, 2, 0, 0x81, 0x80, 4, 0], None),
        ("nothing but its lists", &[0, 0], None),
    ] {
        let mut world = world(spec(schema()));
        let [mut one, two] = two(&mut world);
        one.client.send(ClientMessage::Write(Write {
            op: OpId(1),
            if_tick: Tick(0),
            changes: bytes,
        }));
        world.turn(&mut one);
        assert_eq!(one.closed().map(|reason| reason.code()), expected, "{name}");
        assert_eq!(two.closed(), None, "{name}");
        world.pass(FLUSH);
    }
    let mut world = world(spec(schema()));
    let [mut one, _] = two(&mut world);
    let mut long = ChangesBuilder::default();
    long.opaque(one.component("opaque"), EntityId::ROOM, &[0; 4097]);
    assert_eq!(one.write(&mut world, &long), Err(RefusalCode::Invalid));
    let unknown = prop(ComponentId(0), one.entity(), "k", Value::Entity(EntityId(77)));
    assert_eq!(one.write(&mut world, &unknown), Err(RefusalCode::Invalid), "a link to nobody");
}

#[test]
fn a_write_without_a_number_is_answered_only_when_it_is_refused() {
    let mut world = world(spec(schema()));
    let [mut one, _] = two(&mut world);
    one.events.clear();
    let mut bytes = Vec::new();
    prop(one.component("props"), EntityId::ROOM, "k", Value::Int(1)).put(&mut bytes);
    fn write(changes: &[u8]) -> ClientMessage<'_> {
        ClientMessage::Write(Write { op: OpId::NONE, if_tick: Tick(0), changes })
    }
    one.client.send(write(&bytes));
    world.turn(&mut one);
    assert_eq!(one.events, []);
    bytes.clear();
    prop(one.component("props"), EntityId(99), "k", Value::Int(1)).put(&mut bytes);
    one.client.send(write(&bytes));
    world.turn(&mut one);
    let [ClientEvent::Refused { code, op, .. }] = &one.events[..] else {
        panic!("{:?}", one.events)
    };
    assert_eq!((*code, *op), (RefusalCode::Invalid, OpId::NONE));
}
