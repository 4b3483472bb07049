//! The rooms under `examples/`, played in a test: as their authors would.
#![expect(dead_code, reason = "nobody calls the examples' `main` here")]

use tickloom_server::bindings::typescript;
use tickloom_server::prelude::*;
use tickloom_server::protocol::server_message::RefusalCode;

#[path = "../examples/chat.rs"]
mod chat;
#[path = "../examples/tag.rs"]
mod tag;

#[test]
fn whoever_is_touched_is_it_and_everybody_else_scores() {
    let mut room = TestRoom::new(tag::tag().expect("schema")).seed(7);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    let is_it = |room: &TestRoom, member| {
        room.prop(bob, EntityId::ROOM, ("game", "it")) == Some(&Value::Entity(member))
    };
    let place = |room: &TestRoom, member| {
        ["x", "y"].map(|axis| room.number(bob, member, ("place", axis)).expect("a place"))
    };
    room.tick();
    assert!(is_it(&room, ann.entity()), "the first one is");
    let mut ticks = 0;
    while is_it(&room, ann.entity()) {
        let [from, to] = [place(&room, ann.entity()), place(&room, bob.entity())];
        let [right, up] = [0, 1].map(|axis| to[axis] - from[axis]);
        room.input(ann, &[("right", right), ("up", up)]);
        room.tick();
        room.assert_converged();
        ticks += 1;
        // Across the field and back at 5 m/s would take less.
        assert!(ticks < 20 * 25, "ann never catches bob");
    }
    assert!(is_it(&room, bob.entity()));
    let scored = |room: &TestRoom, member| room.number(bob, member, ("score", "seconds"));
    let bobs = scored(&room, bob.entity()).expect("bob ran");
    assert!((bobs - f64::from(ticks + 1) * 0.05).abs() < 0.001, "{bobs} s in {ticks} ticks");
    assert_eq!(scored(&room, ann.entity()), None, "ann was it all along");
    room.ticks(20);
    assert!(is_it(&room, bob.entity()), "bob stands by and counts");
    room.leave(bob);
    room.tick();
    room.assert_converged();
    assert_eq!(room.prop(ann, EntityId::ROOM, ("game", "it")), Some(&Value::Entity(ann.entity())));
    assert_eq!(room.panicked(), None);
}

/// To write it anew, take what this test says is right.
#[test]
fn the_clients_readme_shows_the_types_of_tag() {
    let tag = tag::tag().expect("schema");
    let written = include_str!("../../protocol/ts/test/tag.gen.ts");
    assert_eq!(typescript([&tag as &dyn RoomType]), written);
}

#[test]
fn rude_words_go_nowhere_and_three_of_them_silence() {
    let mut room = TestRoom::new(chat::chat().expect("schema"));
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    assert!(room.try_join("Heckler", &[]).is_err());
    room.publish(ann, "said", b"hello");
    room.publish(bob, "said", b"oh heck");
    room.tick();
    let heard: Vec<_> = room.heard(ann).iter().map(|event| &*event.body).collect();
    assert_eq!(heard, [b"hello"]);
    assert_eq!(room.refusals(bob)[0].message, "please say it kindly");

    let subject = room.state().schema().component("subject").expect("it has one");
    let mut changes = ChangesBuilder::default();
    changes.prop(subject, EntityId::ROOM, "text", &Value::Str("Tea".into()));
    room.write(bob, &changes);
    assert_eq!(room.refusals(bob)[1].code, RefusalCode::NotAllowed, "ann is the host");
    room.write(ann, &changes);
    room.tick();
    assert_eq!(
        room.prop(bob, EntityId::ROOM, ("subject", "text")),
        Some(&Value::Str("Tea".into()))
    );
    let mut changes = ChangesBuilder::default();
    changes.prop(subject, EntityId::ROOM, "text", &Value::Str("Darn tea".into()));
    room.write(ann, &changes);
    assert_eq!(room.refusals(ann).len(), 1);

    for word in ["darn", "DARN", "fine now"] {
        room.publish(bob, "said", word.as_bytes());
    }
    assert_eq!(room.refusals(bob).last().expect("some").message, "you have said too much");
    room.assert_converged();
}
