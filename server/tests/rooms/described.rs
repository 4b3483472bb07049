//! Rooms without code, as a server offers them and as their first joiner describes them.

use std::time::Duration;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::ids::{EntityId, MemberId};
use tickloom_protocol::schema::{FieldId, WritePolicy};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::config::Config;
use tickloom_server::config::layers::Layers;
use tickloom_server::config::problem::Source;
use tickloom_server::room::described::{Described, HOST, NAME};
use tickloom_server::room::description::Description;
use tickloom_server::rooms::built_in_types;
use tickloom_server::{TestMember, TestRoom};

use crate::FLUSH;
use crate::harness::{Peer, WIDE, World, prop};

fn world() -> World {
    World::new(built_in_types(&Config::loopback()), WIDE)
}

/// The entity of the host, as a member sees it.
fn host(peer: &Peer) -> u32 {
    let entities = peer.client.seat().expect("a seat").replica.entities();
    let row = entities.row(HOST, EntityId::ROOM).expect("the host's row");
    let layout = entities.schema().layout(HOST).expect("a row");
    layout.read(row, FieldId(0)) as u32
}

#[test]
fn a_described_room_says_who_is_there_and_who_is_the_host() {
    let mut world = world();
    let mut ada = world.join("state", "Ada");
    let mut bob = world.join("state", "");
    world.pass(FLUSH);
    world.turns([&mut ada, &mut bob]);
    assert_eq!((ada.component("name"), ada.component("host")), (NAME, HOST));
    for peer in [&ada, &bob] {
        assert_eq!(peer.opaque("name", ada.entity()), Some(&b"Ada"[..]));
        assert_eq!(peer.opaque("name", bob.entity()), Some(&b""[..]), "also who has no name");
        assert_eq!(host(peer), ada.entity().0);
    }
    for component in [NAME, HOST] {
        let mut changes = ChangesBuilder::default();
        changes.remove(component, ada.entity());
        let answer = ada.write(&mut world, &changes);
        assert_eq!(answer, Err(RefusalCode::NotAllowed), "{component:?} is the server's");
    }
    let ada_entity = ada.entity();
    world.disconnect(&ada);
    world.pass(FLUSH);
    world.turn(&mut bob);
    assert!(!bob.sees(ada_entity));
    assert_eq!(host(&bob), bob.entity().0);
}

#[test]
fn a_state_room_without_a_description_is_for_cursors_and_boards() {
    let mut world = world();
    let mut peers = ["a", "b"].map(|name| world.join("state", name));
    world.pass(FLUSH);
    world.turns(&mut peers);
    let [a, b] = &mut peers;
    let (cursor, item, layer) = (a.component("cursor"), a.component("item"), a.component("layer"));
    let mut changes = ChangesBuilder::default();
    let board = changes.enter(MemberId::SERVER);
    changes.row(cursor, a.entity(), &[1, 0, 2, 0]).opaque(item, board, b"ink");
    changes.link(layer, a.entity(), "parent", board);
    let board = a.write(&mut world, &changes).expect("members may").entities[0];
    assert!(a.publish(&mut world, "event", &[], b"tada").is_ok());
    let shared = prop(b.component("shared"), EntityId::ROOM, "title", Value::Str("plan".into()));
    assert!(b.write(&mut world, &shared).is_ok());
    let foreign = prop(b.component("presence"), a.entity(), "mood", Value::Int(1));
    assert_eq!(b.write(&mut world, &foreign), Err(RefusalCode::NotAllowed));
    world.pass(FLUSH);
    world.turns([&mut *a, &mut *b]);
    assert_eq!(b.opaque("item", board), Some(&b"ink"[..]));
    assert_eq!(b.prop("layer", a.entity(), "parent"), Some(Value::Entity(board)));
    assert_eq!(a.prop("shared", EntityId::ROOM, "title"), Some(Value::Str("plan".into())));
    assert_eq!(b.texts(), ["tada"]);
}

#[test]
fn the_first_joiner_of_a_state_room_describes_it_and_the_next_finds_it_so() {
    let mut world = world();
    let json = br#"{ "members_max": 2, "entities": "host", "components": [
        { "name": "vote", "kind": "packed", "write": "owner",
          "fields": [{ "name": "choice", "type": "u8" }] }
    ], "topics": [{ "name": "chat", "history": true }] }"#;
    let mut first = world.join_with("state", "a", json);
    let second = world.join_with("state", "b", b"whatever: the room is there");
    for peer in [&first, &second] {
        let names: Vec<_> =
            peer.schema().components().iter().map(|component| &*component.name).collect();
        assert_eq!(names, ["name", "host", "vote", "away"]);
        assert_eq!(peer.schema().topics().len(), 1);
        assert_eq!(peer.schema().entities_by(), WritePolicy::Host);
    }
    let mut vote = ChangesBuilder::default();
    vote.row(first.component("vote"), first.entity(), &[3]);
    assert!(first.write(&mut world, &vote).is_ok());
    let mut third = world.connect();
    third.client.join(Join { room_type: "state", room: "a", name: "c", ..Join::default() });
    world.turn(&mut third);
    let full =
        matches!(third.events[..], [ClientEvent::Refused { code: RefusalCode::RoomFull, .. }]);
    assert!(full, "{:?}", third.events);
}

#[test]
fn a_first_joiner_describes_a_room_that_nobody_sees_whole() {
    let json = br#"{ "components": [
        { "name": "place", "kind": "packed", "motion": true, "write": "owner", "fields": [
            { "name": "x", "type": "quant16", "max": 320 },
            { "name": "y", "type": "quant16", "max": 320 }] },
        { "name": "note", "kind": "opaque", "write": "owner" }
    ], "interest": { "component": "place", "cell_size": 10,
        "rings": [{ "distance": 1 }, { "distance": 2, "every": 8 }] } }"#;
    let mut room = TestRoom::new(Described::state());
    let members @ [ann, bob, cy] = ["ann", "bob", "cy"].map(|name| room.join_with(name, json));
    let place = room.state().schema().component("place").expect("a place");
    let go = |room: &mut TestRoom, member: TestMember, [x, y]: [f64; 2]| {
        let mut row = [0; 4];
        let layout = room.state().schema().layout(place).expect("packed").clone();
        layout.write(&mut row, FieldId(0), x);
        layout.write(&mut row, FieldId(1), y);
        let mut changes = ChangesBuilder::default();
        room.write(member, changes.row(place, member.entity(), &row));
        room.assert_converged();
    };
    room.assert_converged();
    let knows = |room: &TestRoom, a: TestMember, b: TestMember| {
        room.replica(a).entities().contains(b.entity())
    };
    assert!(knows(&room, ann, bob), "who has no position is everywhere");
    for (at, member) in members.into_iter().enumerate() {
        go(&mut room, member, [at as f64 * 20.0, 5.0]);
    }
    assert!(knows(&room, ann, bob) && knows(&room, bob, cy), "two cells are in view");
    assert!(!knows(&room, ann, cy) && !knows(&room, cy, ann), "four are not");
    assert_eq!(room.host(), Some(ann.id()));
    for step in 0..20 {
        go(&mut room, cy, [40.0 - f64::from(step), 5.0]);
    }
    assert!(knows(&room, ann, cy), "it has come nearer");
    go(&mut room, bob, [319.0, 319.0]);
    assert!(!knows(&room, ann, bob) && !knows(&room, bob, ann));
    room.drop_connection(cy);
    room.assert_converged();
    assert_eq!(room.number(ann, cy.entity(), ("away", "away")), Some(1.0));
    for member in members {
        assert_eq!(room.refusals(member), []);
    }
}

#[test]
fn a_described_room_shows_itself_late_to_those_who_watch() {
    let text = "[rooms.stage]\ntick_rate = 20\nspectators_max = 1\nspectator_delay = '2s'
        [[rooms.stage.components]]\nname = 'cue'\nkind = 'props'\n";
    let source = Source { name: "f.toml".to_owned(), text: text.to_owned() };
    let asked = Layers { file: Some(source), ..Layers::default() }.merge();
    assert_eq!(asked.problems, []);
    let mut room = TestRoom::new(Described::new("stage", asked.rooms["stage"].clone()));
    let ann = room.join("ann");
    let eve = room.watch("eve");
    let cue = room.state().schema().component("cue").expect("a cue");
    room.advance(Duration::from_secs(4));
    room.write(ann, &prop(cue, ann.entity(), "now", Value::Int(1)));
    room.advance(Duration::from_millis(1_900));
    assert_eq!(room.prop(eve, ann.entity(), ("cue", "now")), None, "not yet");
    room.advance(Duration::from_millis(200));
    assert_eq!(room.prop(eve, ann.entity(), ("cue", "now")), Some(&Value::Int(1)));
    room.assert_converged();
}

#[test]
fn a_description_that_makes_no_room_is_refused_with_what_where_and_what_to_do() {
    let mut world = world();
    for (options, expected) in [
        (&b"{"[..], "the description is not JSON"),
        (
            br#"{ "components": [{ "name": "host", "kind": "props" }] }"#,
            "`components[0].name` cannot be \"host\"; every described room has one of this name: \
             choose another",
        ),
        (
            br#"{ "components": [{ "name": "c", "kind": "props", "tree": true, "scope": "owner" }] }"#,
            "`components[0].tree` needs scope = \"room\"; everybody must see the same tree",
        ),
        (
            br#"{ "topics": [{ "name": "t", "histry": true }] }"#,
            "unknown key `topics[0].histry`; did you mean `history`?",
        ),
        (br#"{ "members_max": 1001 }"#, "`members_max` takes a whole number such as 100, from 1"),
    ] {
        let mut peer = world.connect();
        peer.client.join(Join { room_type: "state", room: "a", name: "a", options, ..Join::default() });
        world.turn(&mut peer);
        let [ClientEvent::Refused { code, message, .. }] = &peer.events[..] else {
            panic!("{:?}", peer.events)
        };
        assert_eq!(*code, RefusalCode::BadOptions, "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(world.shard.rooms().count(), 0);
    }
}

#[test]
fn a_relay_room_has_topics_for_what_stays_and_what_flies_by() {
    let mut world = world();
    let mut host = world.join("relay", "host");
    let mut guest = world.join("relay", "guest");
    world.pass(FLUSH);
    for (topic, is_hosts) in
        [("chat", false), ("danmaku", false), ("quotes", true), ("signal", false)]
    {
        assert!(host.publish(&mut world, topic, &[], topic.as_bytes()).is_ok(), "{topic}");
        let answer = guest.publish(&mut world, topic, &[], topic.as_bytes());
        assert_eq!(answer.is_err(), is_hosts, "{topic}");
    }
    let mut enter = ChangesBuilder::default();
    enter.enter(guest.member());
    assert_eq!(guest.write(&mut world, &enter), Err(RefusalCode::NotAllowed));
    world.pass(FLUSH);
    let mut late = world.join("relay", "late");
    world.pass(FLUSH);
    world.turns([&mut host, &mut guest, &mut late]);
    assert_eq!(late.texts(), ["chat", "chat"], "that is what has a history");
    assert_eq!(guest.texts().len(), 7);
}

#[test]
fn the_configuration_adds_room_types_and_replaces_those_that_are_data() {
    let described = Description { members_max: 1, ..Description::default() };
    let rooms = [("board".into(), described.clone()), ("state".into(), described)];
    let config = Config { rooms: rooms.into(), ..Config::loopback() };
    let mut world = World::new(built_in_types(&config), WIDE);
    for room_type in ["arena", "relay", "board", "state"] {
        let peer = world.join(room_type, "a");
        let is_full_with_one = ["board", "state"].contains(&room_type);
        let own = peer.schema().components().len();
        assert_eq!(own == 3, is_full_with_one || room_type == "relay", "{room_type}");
    }
    let mut peer = world.connect();
    let options = br#"{ "members_max": 1 }"#;
    peer.client.join(Join { room_type: "board", room: "b", name: "a", options, ..Join::default() });
    world.turn(&mut peer);
    let refused = format!("{:?}", peer.events);
    assert!(refused.contains("described by the server alone"), "{refused}");
}
