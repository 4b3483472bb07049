//! The tool's own tests: that it runs a room as a server does, and that it notices what is wrong.

mod views;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tickloom_protocol::chunks::{ChunkKind, Value, put_chunk};
use tickloom_protocol::client_message::Publish;
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::{ComponentId, StreamId};
use tickloom_protocol::link::binary_frame;
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, RoomSchema, TopicDesc, WritePolicy,
};
use tickloom_protocol::server_message::{Delta, DeltaHead, ServerEncoder, ServerMessage};

use super::*;
use crate::room::logic::{
    Cadence, Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, room_type,
};

const BODY: ComponentId = ComponentId(0);
const HAND: ComponentId = ComponentId(1);
const NOTE: ComponentId = ComponentId(2);

fn schema() -> Arc<RoomSchema> {
    let number = |name| FieldDesc::new(name, FieldType::U8);
    let components = vec![
        ComponentDesc::packed("body", vec![number("x"), number("luck")]).expect("layout"),
        ComponentDesc::packed("hand", vec![number("card")]).expect("layout").for_owner(),
        ComponentDesc::props("note").writable_by(WritePolicy::Members),
    ];
    let schema = RoomSchema::new(components, vec![number("step"), number("bomb")]);
    let topics = vec![TopicDesc::new("chat"), TopicDesc::new("jokes")];
    Arc::new(schema.and_then(|schema| schema.with_topics(topics)).expect("schema"))
}

/// A room with everything: rows for all, a card for each, notes by anybody, chat.
struct Parlour;

impl RoomLogic for Parlour {
    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        if joiner.options == b"nobody" {
            return Err(Denial::new("nobody may come in"));
        }
        let luck = f64::from(room.rng().u8(..));
        room.state_mut().set_numbers(BODY, joiner.entity, &[0.0, luck]);
        room.state_mut().set_numbers(HAND, joiner.entity, &[f64::from(joiner.member.0) + 40.0]);
        Ok(())
    }

    fn on_input(&mut self, room: &mut Context<'_>, member: MemberId, row: &[u8], _: Freshness) {
        let [step, bomb] = room.input(row);
        assert!(bomb < 9.0, "boom");
        let entity = room.entity_of(member).expect("a member has one");
        let x = room.state().number(BODY, entity, 0).unwrap_or_default();
        room.state_mut().set_numbers(BODY, entity, &[x + step, 1.0]);
    }

    fn on_publish(
        &mut self,
        room: &mut Context<'_>,
        _: MemberId,
        publish: &Publish<'_>,
    ) -> Result<(), Denial> {
        if publish.body != b"rude" {
            return Ok(());
        }
        // Wrong: what is refused must change nothing, for nothing follows that would send it.
        let key = "rude words";
        room.state_mut().set_prop(NOTE, EntityId::ROOM, key, Value::Int(1));
        Err(Denial::new("no rude words"))
    }
}

fn at_rate(send_every: u8) -> TestRoom {
    let cadence = Cadence::Fixed { tick_rate_hz: 20, send_every };
    let spec = RoomSpec { cadence, ..RoomSpec::at_rate(20, schema()) };
    TestRoom::new(room_type("parlour", spec, || Parlour))
}

fn on_change() -> TestRoom {
    let spec = RoomSpec::on_change(Duration::from_millis(50), schema());
    TestRoom::new(room_type("parlour", spec, || Parlour))
}

/// What a call says when it panics.
fn verdict<T>(room: &mut TestRoom, call: impl FnOnce(&mut TestRoom) -> T) -> String {
    let result = catch_unwind(AssertUnwindSafe(|| drop(call(room))));
    let panic = result.expect_err("it is noticed");
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).expect("a message")
}

fn told<T>(room: &mut TestRoom, expected: &str, call: impl FnOnce(&mut TestRoom) -> T) {
    let text = verdict(room, call);
    assert!(text.contains(expected), "{expected:?} in: {text}");
}

/// Lets the client take in a delta that no server sent.
fn forge(room: &mut TestRoom, member: TestMember, head: DeltaHead, chunks: &[u8]) {
    let delta = ServerMessage::Delta(Delta { head, chunks });
    let frame = binary_frame(ServerEncoder::default().encode(&delta));
    room.clients[member.position].handle_bytes(&frame);
}

#[test]
fn members_play_and_know_what_the_room_holds() {
    for send_every in [1, 3] {
        let mut room = at_rate(send_every);
        let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
        room.input(ann, &[("step", 5.0)]);
        room.input(ann, &[("step", 7.0)]);
        room.tick();
        room.assert_converged();
        // One input per tick; without a new one the last is repeated.
        let x = |room: &TestRoom, member| room.number(member, ann.entity(), ("body", "x"));
        let expected = if send_every == 1 { 5.0 } else { 5.0 + 7.0 + 7.0 };
        assert_eq!([x(&room, ann), x(&room, bob)], [Some(expected); 2], "every {send_every}");
        assert_eq!(room.number(ann, ann.entity(), ("hand", "card")), Some(41.0));
        assert_eq!(room.number(bob, ann.entity(), ("hand", "card")), None, "it is ann's");
        assert_eq!(room.host(), Some(ann.id()));
        room.leave(ann);
        room.assert_converged();
        assert_eq!(x(&room, bob), None, "her entity has gone with her");
        assert_eq!(room.host(), Some(bob.id()));
        room.leave(bob);
        room.assert_converged();
    }
}

#[test]
fn time_stands_still_between_ticks_and_passes_as_it_is_told() {
    let mut room = at_rate(1);
    assert!(!room.tick(), "nobody has made the room");
    let ann = room.join("ann");
    assert_eq!(room.ticks(4), 4);
    assert_eq!(room.elapsed(), Duration::from_millis(200));
    room.advance(Duration::from_millis(120));
    assert_eq!(room.replica(ann).tick(), Tick(6));
    room.advance(Duration::from_secs(60));
    assert_eq!(room.closed(ann), None, "it answers pings");
    room.drop_connection(ann);
    assert!(room.tick(), "her seat is kept");
    room.advance(Duration::from_secs(20));
    assert!(!room.tick(), "an empty room sleeps");
    room.advance(Duration::from_secs(11));
    assert!(verdict(&mut room, |room| room.state().is_sent()).contains("there is no room"));

    let mut room = on_change();
    let ann = room.join("ann");
    assert_eq!(room.ticks(9), 1, "a joiner is a change");
    assert_eq!(room.publish(ann, "chat", b"hello"), OpId(1));
    assert_eq!(room.heard(ann), [], "nothing is said before the tick");
    assert_eq!(room.ticks(9), 1);
    assert_eq!(room.elapsed(), Duration::from_millis(50), "not before the interval is over");
    assert_eq!(room.heard(ann).len(), 1);
    room.assert_converged();
}

#[test]
fn same_seed_same_room() {
    let luck = |seed| {
        let mut room = at_rate(1).seed(seed);
        let ann = room.join("ann");
        room.tick();
        room.number(ann, ann.entity(), ("body", "luck"))
    };
    assert_eq!(luck(1), luck(1));
    assert!((2..20).any(|seed| luck(seed) != luck(1)));
}

#[test]
fn a_stalled_member_is_passed_over_and_catches_up() {
    let mut room = at_rate(1);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    room.tick();
    room.stall(bob);
    let mut changes = ChangesBuilder::default();
    changes.prop(NOTE, EntityId::ROOM, "a", &Value::Int(1));
    // Its answers queue with a state in front of what they are about, in one piece.
    room.write(bob, &changes);
    for word in ["one", "two", "three"] {
        room.publish_to(ann, "jokes", &[bob], word.as_bytes());
        room.publish(ann, "chat", word.as_bytes());
        room.input(ann, &[("step", 1.0)]);
        room.tick();
    }
    room.assert_converged();
    assert_eq!(room.prop(ann, EntityId::ROOM, ("note", "a")), Some(&Value::Int(1)));
    assert_eq!(room.prop(bob, EntityId::ROOM, ("note", "a")), None);
    assert!(room.heard(bob).is_empty() && room.accepted(bob).is_empty());
    assert_eq!(room.replica(bob).tick(), Tick(1));

    room.unstall(bob);
    assert_eq!(room.accepted(bob).len(), 1, "what was queued arrives at once");
    room.assert_converged();
    let heard: Vec<_> =
        room.heard(bob).iter().map(|event| (event.is_private, &*event.body)).collect();
    let words = |private| heard.iter().filter(move |(is, _)| *is == private).map(|(_, body)| *body);
    assert!(words(true).eq([&b"one"[..], b"two", b"three"]), "{heard:?}");
    assert!(words(false).eq([&b"one"[..], b"two", b"three"]), "{heard:?}");
    assert_eq!(room.heard(ann).len(), 3, "and nothing that was said to bob");
    let joke = room.heard(bob).iter().find(|event| event.is_private).expect("one");
    assert_eq!((&*joke.topic, joke.from), ("jokes", ann.id()));

    room.stall(bob);
    room.advance(Duration::from_secs(60));
    room.unstall(bob);
    assert!(room.closed(bob).is_none(), "it was gone before it could hear why");
    assert!(verdict(&mut room, |room| room.input(bob, &[])).contains("bob has ended"));
    room.assert_converged();
}

#[test]
fn a_member_whose_connection_breaks_comes_back_to_its_seat() {
    let mut room = at_rate(1);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    room.tick();
    room.drop_connection(bob);
    room.publish(ann, "chat", b"while");
    room.publish_to(ann, "jokes", &[bob], b"to you");
    room.input(ann, &[("step", 1.0)]);
    room.ticks(3);
    room.assert_converged();
    assert!(room.resume(bob), "nothing is missing");
    room.assert_converged();
    let heard: Vec<_> = room.heard(bob).iter().map(|event| &*event.body).collect();
    assert_eq!(heard, [&b"while"[..], b"to you"]);
    // He changes networks, and the connection before still looks alive.
    assert!(room.resume(bob));
    room.input(bob, &[("step", 2.0)]);
    room.tick();
    room.assert_converged();
    assert_eq!(room.number(bob, bob.entity(), ("body", "x")), Some(2.0), "he goes on");

    room.drop_connection(bob);
    room.advance(Duration::from_secs(20));
    let late = verdict(&mut room, |room| assert!(room.resume(bob)));
    assert!(late.contains("the seat of bob is gone"), "{late}");
}

#[test]
fn what_is_refused_is_heard_of() {
    let mut room = on_change();
    let refusal = room.try_join("ann", b"nobody").expect_err("nobody may");
    assert_eq!((refusal.code, &*refusal.message), (RefusalCode::Denied, "nobody may come in"));
    let ann = room.join("ann");
    let mut changes = ChangesBuilder::default();
    changes.row(BODY, ann.entity(), &[1, 1]);
    let op = room.write(ann, &changes);
    let [refusal] = room.refusals(ann) else { panic!("{:?}", room.refusals(ann)) };
    assert_eq!((refusal.code, refusal.op), (RefusalCode::NotAllowed, op));
    room.tick();
    let seen = room.replica(ann).tick();
    let mut changes = ChangesBuilder::default();
    let rose = changes.prop(NOTE, EntityId::ROOM, "rose", &Value::Int(1)).clone();
    room.write_if(ann, &rose, seen);
    room.tick();
    room.write_if(ann, &rose, seen);
    assert_eq!(room.accepted(ann).len(), 1);
    assert_eq!(room.refusals(ann).last().expect("one").code, RefusalCode::Conflict);
    room.input_row(ann, &[1]);
    assert_eq!(room.closed(ann).expect("a short row").code(), 1008);
}

#[test]
fn a_panic_of_the_logic_closes_its_members_and_is_kept() {
    let mut room = at_rate(1).seed(0xfeed);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    room.ticks(2);
    assert_eq!(room.panicked(), None);
    room.input(bob, &[("bomb", 9.0)]);
    room.tick();
    let record = room.panicked().expect("it went off");
    assert_eq!((record.seed, record.tick, record.members_count), (0xfeed, Tick(3), 2));
    let panicked = &record.panicked;
    assert_eq!((panicked.hook, panicked.member), ("on_input", Some(bob.id())));
    assert_eq!((&*panicked.message, &*panicked.bytes), ("boom", &[0, 9][..]));
    for member in [ann, bob] {
        assert_eq!(room.closed(member).expect("closed").code(), 1011);
    }
    assert!(!room.tick());
    for text in [
        verdict(&mut room, TestRoom::assert_converged),
        verdict(&mut room, |room| room.input(ann, &[])),
    ] {
        assert!(text.contains("panicked in on_input: boom"), "{text}");
    }
}

/// A room that takes its schema for another one.
struct Muddle(fn(&mut Context<'_>));

impl RoomLogic for Muddle {
    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        let mine = EntityId(1);
        room.state_mut().set_numbers(BODY, mine, &[3.0, 4.0]);
        assert_eq!(room.state().numbers(BODY, mine), Some([3.0, 4.0]));
        assert_eq!(room.state().numbers::<1>(HAND, mine), None, "no hand yet");
        (self.0)(room);
        Next::Tick
    }
}

#[test]
fn a_room_that_reads_fields_its_schema_does_not_have_is_told() {
    type Mistake = fn(&mut Context<'_>);
    let rows: [(Mistake, Option<&str>); 4] = [
        (|_| {}, None),
        (|room| drop(room.input::<2>(&[1, 2]).to_vec()), None),
        (|room| drop(room.input::<3>(&[1, 2]).to_vec()), Some("the room's inputs have 2 fields")),
        (
            |room| drop(room.state().numbers::<1>(BODY, EntityId(1)).map(Vec::from)),
            Some("component 0 has 2 fields"),
        ),
    ];
    for (mistake, expected) in rows {
        let spec = RoomSpec::at_rate(20, schema());
        let mut room = TestRoom::new(room_type("muddle", spec, move || Muddle(mistake)));
        room.join("ann");
        room.tick();
        let message = room.panicked().map(|record| record.panicked.message.clone());
        let (said, wanted) = (message.unwrap_or_default(), expected.unwrap_or_default());
        assert_eq!(said.contains("fields"), expected.is_some(), "{said:?}");
        assert!(said.contains(wanted), "{said:?}, expected {wanted:?}");
    }
}

// ---- what it must notice -----------------------------------------------------------------------

#[test]
fn a_change_that_nothing_sends_is_noticed() {
    let mut room = on_change();
    let ann = room.join("ann");
    room.publish(ann, "chat", b"kind");
    room.assert_converged();
    room.publish(ann, "chat", b"rude");
    assert_eq!(room.refusals(ann).len(), 1);
    let text = verdict(&mut room, TestRoom::assert_converged);
    for part in [
        "ann, at tick 1, differs from the room",
        "`note` of entity 0 is rude words = Int(1) in the room, and nothing here",
        "a hook that refuses must change nothing",
    ] {
        assert!(text.contains(part), "{part:?} in: {text}");
    }
    // The next change takes it along.
    room.publish(ann, "chat", b"kind");
    room.assert_converged();
}

#[test]
fn a_replica_that_differs_is_noticed() {
    // Nothing stands for what the room holds. Otherwise leaves, enters as gaps from 1 with their
    // owners, sections.
    let people = |sections: &[u8]| [&[0, 1, 0, 1, 1, 1, 2, 0][..], sections].concat();
    let card = |entity: u8| vec![0, 0, 1, HAND.0, entity + 1, 99, 0];
    let rows = [
        (
            "another number",
            vec![(StreamId::ROOM, people(&[1, 0, 2, 3, 1, 1, 9, 1, 0]))],
            "`body` of entity 1 is x = 5, luck = 1 in the room, and x = 3, luck = 1 here",
        ),
        ("an empty room", vec![(StreamId::ROOM, vec![0, 1, 0, 0])], "entity 1 is missing"),
        (
            "somebody else's",
            vec![(StreamId::ROOM, vec![0, 1, 0, 1, 2, 1, 1, 0])],
            "entity 1 is member 1's in the room, and member 2's here",
        ),
        (
            "somebody too many",
            vec![(StreamId::ROOM, vec![0, 1, 0, 1, 1, 1, 2, 1, 2, 0])],
            "entity 3 is not in the room any more",
        ),
        (
            "another's card",
            vec![(StreamId::ROOM, vec![]), (StreamId::MEMBER, card(2))],
            "it knows `hand` of entity 2, which is not its own: card = 99",
        ),
    ];
    for (name, chunks, expected) in rows {
        let mut room = at_rate(1);
        let [ann, _] = ["ann", "bob"].map(|name| room.join(name));
        room.input(ann, &[("step", 5.0)]);
        room.tick();
        room.assert_converged();
        let mut bytes = Vec::new();
        for (stream, mut body) in chunks {
            if body.is_empty() {
                room.state().entities().put_snapshot(View::Room, &mut body);
            }
            put_chunk(&mut bytes, stream, ChunkKind::Snapshot, &body);
        }
        let head = DeltaHead { tick: room.replica(ann).tick(), ..DeltaHead::default() };
        forge(&mut room, ann, head, &bytes);
        assert_eq!(room.clients[0].broken, None, "{name}: it is well-formed");
        let text = verdict(&mut room, TestRoom::assert_converged);
        assert!(text.contains(expected) && text.starts_with("ann, at tick 1"), "{name}: {text}");
    }
}

#[test]
fn a_replica_that_broke_is_noticed_even_when_it_was_healed() {
    let mut room = at_rate(1);
    let ann = room.join("ann");
    room.ticks(3);
    let head = DeltaHead { tick: Tick(9), base: Tick(8), ..DeltaHead::default() };
    forge(&mut room, ann, head, &[]);
    room.ticks(3);
    assert_eq!(room.replica(ann).tick(), Tick(6), "a snapshot healed it");
    let text = verdict(&mut room, TestRoom::assert_converged);
    assert!(text.contains("the replica of ann broke: the delta starts at tick 8"), "{text}");
}

#[test]
fn misuse_is_told_what_is_there() {
    let mut room = at_rate(1);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    room.tick();
    room.leave(bob);
    told(&mut room, "no input field \"jump\", only [\"step\", \"bomb\"]", |room| {
        room.input(ann, &[("jump", 1.0)]);
    });
    told(&mut room, "no topic \"news\", only [\"chat\", \"jokes\"]", |room| {
        room.publish(ann, "news", b"")
    });
    told(&mut room, "no component \"soul\", only [\"body\", \"hand\", \"note\"]", |room| {
        room.number(ann, ann.entity(), ("soul", "x"))
    });
    told(&mut room, "`body` has no field \"z\"", |room| {
        room.number(ann, ann.entity(), ("body", "z"))
    });
    told(&mut room, "bob has left the room", |room| room.write(bob, &ChangesBuilder::default()));
    told(&mut room, "bob has left the room", |room| room.replica(bob).tick());
    told(&mut room, "eve may not join parlour/test: nobody may come in", |room| {
        room.join_with("eve", b"nobody")
    });
    told(&mut room, "too-long", |room| room.join(&"x".repeat(65)));
    let mut room = Some(room);
    let result = catch_unwind(AssertUnwindSafe(|| room.take().map(|room| room.seed(1))));
    assert!(result.is_err(), "the room is made already");
}
