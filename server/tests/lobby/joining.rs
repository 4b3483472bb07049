//! Which room a join leads to.

use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::{Join, JoinMode};
use tickloom_protocol::server_message::RefusalCode;

use crate::{ask, duel, enter, properties, refusal, text, world};

const CREATE: JoinMode = JoinMode::Create;
const JOIN: JoinMode = JoinMode::Join;

#[test]
fn a_mode_says_whether_the_room_may_or_must_exist() {
    let mut world = world();
    let missing = Join { mode: JOIN, ..duel("a") };
    assert_eq!(refusal(&mut world, missing), RefusalCode::UnknownRoom);
    let (_ann, room) = enter(&mut world, Join { mode: CREATE, ..duel("a") }).expect("a seat");
    assert_eq!(room, "", "who knows the name need not be told");
    assert_eq!(refusal(&mut world, Join { mode: CREATE, ..duel("a") }), RefusalCode::RoomExists);
    let (_bob, _) = enter(&mut world, missing).expect("it is there now");
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::RoomFull);
    assert_eq!(world.shard.rooms().count(), 1);
}

#[test]
fn a_room_without_a_name_gets_a_code_by_which_others_join_however_they_write_it() {
    let mut world = world();
    let (_ann, code) = enter(&mut world, Join { mode: CREATE, ..duel("") }).expect("a seat");
    assert_eq!(code.len(), 6, "{code}");
    let written = code.to_lowercase().replace('0', "o").replace('1', "L");
    let by_code = Join { mode: JOIN, ..duel(&written) };
    let (mut bob, told) = enter(&mut world, by_code).expect("a seat");
    assert_eq!(told, code);
    bob.client.leave();
    world.turn(&mut bob);
    let exactly = Join { mode: JOIN, ..duel(&code) };
    assert_eq!(ask(&mut world, &mut bob, exactly), Ok(String::new()), "it knows the name");
    // Who may also make a room gets the one of exactly this name.
    let (_eve, _) = enter(&mut world, duel(&code.to_lowercase())).expect("a seat");
    let expected = if code == code.to_lowercase() { 1 } else { 2 };
    assert_eq!(world.shard.rooms().count(), expected);
}

#[test]
fn a_name_that_could_be_a_code_is_found_as_it_is_written() {
    let mut world = world();
    let (_ann, _) = enter(&mut world, duel("lobby1")).expect("a seat");
    let (_bob, room) = enter(&mut world, Join { mode: JOIN, ..duel("lobby1") }).expect("a seat");
    assert_eq!((room.as_str(), world.shard.rooms().count()), ("", 1));
    let other = Join { mode: JOIN, ..duel("Lobby1") };
    assert_eq!(refusal(&mut world, other), RefusalCode::UnknownRoom, "10BBY1 is another room");
}

#[test]
fn codes_are_never_taken_twice() {
    let mut world = world();
    let mut codes = std::collections::BTreeSet::new();
    // The shard of the tests has ten places for rooms.
    for _ in 0..10 {
        let (_, code) = enter(&mut world, Join { mode: CREATE, ..duel("") }).expect("a seat");
        assert!(codes.insert(code));
    }
    let join = Join { mode: CREATE, ..duel("") };
    assert_eq!(refusal(&mut world, join), RefusalCode::ServerFull);
}

#[test]
fn who_names_no_room_gets_one_that_suits_and_rooms_fill_up() {
    let mut world = world();
    let mut rooms = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..6 {
        let (peer, room) = enter(&mut world, duel("")).expect("a seat");
        peers.push(peer);
        rooms.push(room);
    }
    assert!(rooms.chunks(2).all(|pair| pair[0] == pair[1]), "{rooms:?}");
    assert_eq!(world.shard.rooms().count(), 3);
    // A seat that is given back is found again.
    peers[0].client.leave();
    world.turn(&mut peers[0]);
    assert_eq!(ask(&mut world, &mut peers[0], duel("")), Ok(rooms[0].clone()));
}

#[test]
fn rooms_are_found_by_what_they_say_of_themselves() {
    let mut world = world();
    let ranked = properties(&[("mode", text("ranked")), ("level", Value::Int(3))]);
    let metadata = Join { metadata: &ranked, ..duel("r") };
    let (_ann, _) = enter(&mut world, metadata).expect("a seat");
    let casual = properties(&[("mode", text("casual"))]);
    let (_bob, room) = enter(&mut world, Join { filter: &casual, ..duel("") }).expect("a seat");
    assert_eq!(room.len(), 6, "nothing suits: {room}");
    let filter = properties(&[("mode", text("ranked"))]);
    let (_eve, room) = enter(&mut world, Join { filter: &filter, ..duel("") }).expect("a seat");
    assert_eq!(room, "r");
    // A filter is no metadata: the room that was made for it does not say so of itself.
    let (_dan, room) = enter(&mut world, Join { filter: &casual, ..duel("") }).expect("a seat");
    assert_eq!((room.len(), world.shard.rooms().count()), (6, 3));
}

#[test]
fn rooms_that_strangers_may_not_join_are_not_found() {
    let mut world = world();
    let (_ann, _) = enter(&mut world, Join { password: "p", ..duel("private") }).expect("a seat");
    let (_bob, _) = enter(&mut world, Join { options: b"lock", ..duel("locked") }).expect("a seat");
    let (_eve, _) = enter(&mut world, Join { mode: CREATE, ..duel("") }).expect("a seat");
    let (_dan, room) = enter(&mut world, duel("")).expect("a seat");
    assert_eq!((room.len(), world.shard.rooms().count()), (6, 4), "made for company, listed");
    let (_fay, found) = enter(&mut world, duel("")).expect("a seat");
    assert_eq!(found, room);
}

#[test]
fn properties_that_are_none_are_refused_with_a_sentence() {
    let mut world = world();
    let room_types = world.shard.config().room_types.clone();
    assert!(room_types.get("duel").is_some());
    for join in [
        Join { metadata: &[9], ..duel("a") },
        Join { filter: &[0, 0], ..duel("") },
        Join { metadata: &[1, b'a', 0, 0], ..duel("a") },
    ] {
        assert_eq!(refusal(&mut world, join), RefusalCode::BadOptions, "{join:?}");
    }
    assert_eq!(refusal(&mut world, Join { mode: JOIN, ..duel("") }), RefusalCode::BadRoomName);
    assert_eq!(refusal(&mut world, duel("a\nb")), RefusalCode::BadRoomName);
    let unknown = Join { room_type: "chess", ..duel("") };
    assert_eq!(refusal(&mut world, unknown), RefusalCode::UnknownRoomType);
    assert_eq!(world.shard.rooms().count(), 0);
}

#[test]
fn a_private_room_lets_in_who_knows_its_password() {
    let mut world = world();
    let (_ann, _) = enter(&mut world, Join { password: "sesame", ..duel("a") }).expect("a seat");
    for password in ["", "Sesame", "sesame "] {
        let join = Join { password, ..duel("a") };
        assert_eq!(refusal(&mut world, join), RefusalCode::WrongPassword, "{password:?}");
    }
    assert!(enter(&mut world, Join { password: "sesame", ..duel("a") }).is_ok());
    // Where none is asked for, one does no harm.
    let (_bob, _) = enter(&mut world, duel("b")).expect("a seat");
    assert!(enter(&mut world, Join { password: "sesame", ..duel("b") }).is_ok());
}

#[test]
fn guessing_a_password_ends_the_connection_soon() {
    let mut world = world();
    let (_ann, _) = enter(&mut world, Join { password: "sesame", ..duel("a") }).expect("a seat");
    let mut peer = world.connect();
    let mut guesses = 0;
    while peer.closed().is_none() {
        let password = format!("{guesses}");
        peer.client.join(Join { password: &password, ..duel("a") });
        world.turn(&mut peer);
        guesses += 1;
        assert!(guesses < 100, "it may go on guessing");
    }
    assert_eq!(guesses, 17);
}

#[test]
fn a_room_lingers_as_long_as_its_type_says() {
    let linger = Duration::from_secs(60);
    let spec =
        tickloom_server::room::logic::RoomSpec { linger: Some(linger), ..crate::duel_spec() };
    let types = tickloom_server::rooms::RoomTypes::default();
    let types = types.with(crate::room_type("duel", spec, crate::Duel::default));
    let mut world = crate::World::new(types, crate::WIDE);
    let (mut ann, _) = enter(&mut world, duel("a")).expect("a seat");
    ann.client.leave();
    world.turn(&mut ann);
    world.pass(linger - Duration::from_millis(1));
    assert_eq!(world.shard.rooms().count(), 1, "the server's own is 10 s");
    world.pass(Duration::from_millis(1));
    assert_eq!(world.shard.rooms().count(), 0);
}

#[test]
fn a_code_that_some_room_has_already_is_not_given_to_another() {
    let create = Join { mode: CREATE, ..duel("") };
    let mut first = world();
    let (_ann, code) = enter(&mut first, create).expect("a seat");
    // The same secret draws the same code, which somebody has taken for a name meanwhile.
    let mut second = world();
    let (_bob, _) = enter(&mut second, duel(&code)).expect("a seat");
    let (_eve, other) = enter(&mut second, create).expect("a seat");
    assert_ne!(other, code);
    assert_eq!(second.shard.rooms().count(), 2);
}

#[test]
fn a_second_join_and_a_leave_without_a_seat_are_refused() {
    let mut world = world();
    let (mut ann, _) = enter(&mut world, duel("a")).expect("a seat");
    assert_eq!(ask(&mut world, &mut ann, duel("b")), Err(RefusalCode::AlreadyJoined));
    let mut bob = world.connect();
    bob.client.leave();
    world.turn(&mut bob);
    let refused = |code| move |event: &tickloom_protocol::client::ClientEvent| matches!(event, tickloom_protocol::client::ClientEvent::Refused { code: found, .. } if *found == code);
    assert!(bob.events.iter().any(refused(RefusalCode::NotJoined)), "{:?}", bob.events);
    let denied = Join { options: b"not me", ..duel("c") };
    assert_eq!(refusal(&mut world, denied), RefusalCode::Denied);
}
