//! What a host and a room's logic decide about members.

use std::time::Duration;

use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::{ClientMessage, Configure, Join, Kick};
use tickloom_protocol::ids::{MemberId, OpId};
use tickloom_protocol::server_message::{LeaveReason, RefusalCode};
use tickloom_server::config::Config;
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::shard::{Shard, ShardConfig};

use crate::harness::{Peer, WIDE, World};
use crate::{ask, duel, enter, properties, refusal, room_types, text, world};

/// Sends something that has an answer.
fn order(
    world: &mut World,
    peer: &mut Peer,
    message: ClientMessage<'_>,
) -> Result<(), RefusalCode> {
    peer.events.clear();
    peer.client.send(message);
    world.turn(peer);
    let answer = peer.events.iter().find_map(|event| match event {
        ClientEvent::Accepted(accepted) if accepted.op == OpId(7) => Some(Ok(())),
        ClientEvent::Refused { code, op: OpId(7), .. } => Some(Err(*code)),
        _ => None,
    });
    answer.unwrap_or_else(|| panic!("no answer in {:?}", peer.events))
}

fn configure(world: &mut World, peer: &mut Peer, with: Configure<'_>) -> Result<(), RefusalCode> {
    order(world, peer, ClientMessage::Configure(Configure { op: OpId(7), ..with }))
}

fn kick(world: &mut World, peer: &mut Peer, member: MemberId) -> Result<(), RefusalCode> {
    let message = "not today";
    order(world, peer, ClientMessage::Kick(Kick { op: OpId(7), member, message }))
}

#[test]
fn a_host_locks_and_unlocks_its_room() {
    let mut world = world();
    let (mut ann, _) = enter(&mut world, duel("a")).expect("a seat");
    let locked = |is_locked| Configure { locked: Some(is_locked), ..Configure::default() };
    assert_eq!(configure(&mut world, &mut ann, locked(true)), Ok(()));
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::RoomLocked);
    assert_eq!(configure(&mut world, &mut ann, Configure::default()), Ok(()), "nothing changes");
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::RoomLocked);
    assert_eq!(configure(&mut world, &mut ann, locked(false)), Ok(()));
    let (mut bob, _) = enter(&mut world, duel("a")).expect("a seat");
    assert_eq!(configure(&mut world, &mut bob, locked(true)), Err(RefusalCode::NotAllowed));
    // The role goes to who is here longest.
    ann.client.leave();
    world.turn(&mut ann);
    assert_eq!(configure(&mut world, &mut bob, locked(true)), Ok(()));
}

#[test]
fn a_host_changes_password_listing_and_metadata_at_once_or_not_at_all() {
    let mut world = world();
    let (mut ann, _) = enter(&mut world, duel("a")).expect("a seat");
    let ranked = properties(&[("mode", text("ranked"))]);
    let change = Configure { password: Some("p"), metadata: Some(&ranked), ..Configure::default() };
    let broken = Configure { metadata: Some(&[1]), ..change };
    assert_eq!(configure(&mut world, &mut ann, broken), Err(RefusalCode::Invalid));
    assert!(!world.room().admission().has_password(), "nothing of it happened");
    assert_eq!(configure(&mut world, &mut ann, change), Ok(()));
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::WrongPassword);
    assert_eq!(world.room().admission().metadata().get("mode"), Some(&text("ranked")));
    let open = Configure { password: Some(""), listed: Some(false), ..Configure::default() };
    assert_eq!(configure(&mut world, &mut ann, open), Ok(()));
    assert!(!world.room().admission().is_listed() && !world.room().admission().has_password());
    let (_bob, room) = enter(&mut world, duel("")).expect("a seat");
    assert_eq!(room.len(), 6, "it is not found any more");
}

#[test]
fn a_host_sends_a_member_away_who_may_come_back_if_it_is_let_in() {
    let mut world = world();
    let (mut ann, _) = enter(&mut world, duel("a")).expect("a seat");
    let (mut bob, _) = enter(&mut world, duel("a")).expect("a seat");
    let (us, them) = (ann.member(), bob.member());
    assert_eq!(kick(&mut world, &mut bob, us), Err(RefusalCode::NotAllowed));
    assert_eq!(kick(&mut world, &mut ann, us), Err(RefusalCode::Invalid), "itself");
    assert_eq!(kick(&mut world, &mut ann, MemberId(99)), Err(RefusalCode::Invalid), "nobody");
    assert_eq!(kick(&mut world, &mut ann, them), Ok(()));
    world.read(&mut bob);
    assert!(bob.events.contains(&ClientEvent::Left(LeaveReason::Kicked)), "{:?}", bob.events);
    assert_eq!(world.room().members().len(), 1);
    assert_eq!(world.shard.metrics().kicks, 1);
    assert_eq!(ask(&mut world, &mut bob, duel("a")), Ok(String::new()));
    assert_ne!(bob.member(), them, "it is somebody new");
}

#[test]
fn a_rooms_logic_sends_everybody_away_and_the_room_lingers() {
    let mut world = world();
    let orders = Join { options: b"kick at tick 3", ..duel("a") };
    let (mut ann, _) = enter(&mut world, orders).expect("a seat");
    world.pass(Duration::from_millis(400));
    world.read(&mut ann);
    assert!(ann.events.contains(&ClientEvent::Left(LeaveReason::Kicked)), "{:?}", ann.events);
    assert!(ann.closed().is_none(), "the connection goes on");
    assert_eq!((world.shard.rooms().count(), world.room().members().len()), (1, 0));
}

#[test]
fn logic_has_the_last_word_about_its_host() {
    let mut world = World::new(RoomTypes::default().with(Arena::new(20)), WIDE);
    let join = Join { room_type: "arena", room: "a", name: "x", ..Join::default() };
    let (mut ann, _) = enter(&mut world, join).expect("a seat");
    let (bob, _) = enter(&mut world, join).expect("a seat");
    let lock = Configure { locked: Some(true), ..Configure::default() };
    assert_eq!(configure(&mut world, &mut ann, lock), Err(RefusalCode::Denied));
    assert_eq!(kick(&mut world, &mut ann, bob.member()), Err(RefusalCode::Denied));
    assert_eq!(world.room().members().len(), 2);
}

#[test]
fn orders_of_who_has_no_seat_are_nothing() {
    let mut world = world();
    let mut peer = world.connect();
    peer.client.send(ClientMessage::Configure(Configure { op: OpId(7), ..Configure::default() }));
    let kick = Kick { op: OpId(7), member: MemberId(1), message: "" };
    peer.client.send(ClientMessage::Kick(kick));
    world.turn(&mut peer);
    assert_eq!(peer.events, []);
}

#[test]
fn a_member_that_is_away_can_be_sent_away_and_finds_its_seat_gone() {
    let config = Config::loopback();
    let mut world = World::of(Shard::new(ShardConfig::alone(&config, room_types())));
    let (mut ann, _) = enter(&mut world, duel("a")).expect("a seat");
    let (mut bob, _) = enter(&mut world, duel("a")).expect("a seat");
    let member = bob.member();
    world.disconnect(&bob);
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::RoomFull, "its seat is kept");
    assert_eq!(kick(&mut world, &mut ann, member), Ok(()));
    assert_eq!((world.room().members().len(), world.shard.metrics().kicks), (1, 1));
    let mut again = world.connect();
    again.client.resume(bob.client.part().expect("a ticket"));
    world.turn(&mut again);
    let seat = again.client.seat().expect("there is a free one");
    assert!(!seat.is_resumed && seat.member != member);
    // What was noted of its absence ends without a word.
    world.pass(Duration::from_secs(24));
    assert_eq!(world.shard.metrics().graces_expired, 0);
}

#[test]
fn a_rooms_logic_sends_away_who_is_away_and_finds_its_token_dead() {
    let config = Config::loopback();
    let mut world = World::of(Shard::new(ShardConfig::alone(&config, room_types())));
    let orders = Join { options: b"kick at tick 3", ..duel("a") };
    let (mut ann, _) = enter(&mut world, orders).expect("a seat");
    let ticket = ann.client.part().expect("a ticket");
    world.disconnect(&ann);
    assert_eq!(world.room().members().len(), 1, "its seat is kept");
    world.pass(Duration::from_millis(400));
    assert_eq!((world.room().members().len(), world.shard.metrics().kicks), (0, 1));
    let mut again = world.connect();
    again.client.resume(ticket);
    world.turn(&mut again);
    assert!(again.client.seat().is_none_or(|seat| !seat.is_resumed), "{:?}", again.events);
    world.pass(Duration::from_secs(24));
    assert_eq!(world.shard.metrics().graces_expired, 0, "there was none left to expire");
}
