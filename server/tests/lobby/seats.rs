//! Seats that are kept for somebody, and how many there are in all.

use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::{Join, JoinMode};
use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::mail::Mail;
use tickloom_server::properties::Properties;
use tickloom_server::room::admission::SEAT_PATIENCE;
use tickloom_server::room::logic::RoomSpec;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::seats::{Reserve, SeatsKept, SeatsWanted};
use tickloom_server::session::{Naming, PendingJoin};

use crate::harness::{WIDE, World};
use crate::{Duel, ask, duel, duel_spec, enter, refusal, room_type, world};

/// A room of this name, or one that the server chooses.
fn room(name: &str) -> PendingJoin {
    let mut join = PendingJoin::new(RoomKey::parse("duel", "any").expect("a key"), "");
    join.key.room = name.into();
    if name.is_empty() {
        join.naming = Naming::Server { searches: 0 };
    }
    join
}

fn reserve(world: &mut World, room: PendingJoin, names: &[&str]) -> Result<SeatsKept, RefusalCode> {
    let names = names.iter().map(|name| (*name).into()).collect();
    let (reserve, mut answer) = Reserve::new(SeatsWanted { room, names });
    assert_eq!(world.shard.handle_mail(world.now, Mail::Reserve(Box::new(reserve))), None);
    let answer = answer.try_recv().expect("a shard answers at once");
    answer.map_err(|refusal| refusal.code)
}

#[test]
fn a_seat_is_used_once_and_by_whoever_has_its_token() {
    let mut world = world();
    let kept = reserve(&mut world, room("a"), &["ann", ""]).expect("two seats");
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::RoomFull, "both are kept");
    let [first, second] = [0, 1].map(|at| *kept.tokens[at].bytes());
    let mut forged = first;
    forged[0] ^= 1;
    assert_eq!(refusal(&mut world, Join { seat: &forged, ..duel("a") }), RefusalCode::BadSeat);
    assert_eq!(refusal(&mut world, Join { seat: &first, ..duel("b") }), RefusalCode::BadSeat);
    assert_eq!(world.shard.rooms().count(), 1, "a token makes no room");
    let with_first = Join { seat: &first, ..duel("a") };
    let (mut ann, _) = enter(&mut world, with_first).expect("its seat");
    assert_eq!(refusal(&mut world, with_first), RefusalCode::BadSeat, "used");
    let (_bob, _) = enter(&mut world, Join { seat: &second, ..duel("a") }).expect("its seat");
    ann.client.leave();
    world.turn(&mut ann);
    assert_eq!(ask(&mut world, &mut ann, with_first), Err(RefusalCode::BadSeat), "still used");
    assert_eq!(ask(&mut world, &mut ann, duel("a")), Ok(String::new()), "a free seat");
}

#[test]
fn a_seat_that_nobody_takes_is_free_again() {
    let mut world = world();
    let kept = reserve(&mut world, room("a"), &["", ""]).expect("two seats");
    let token = *kept.tokens[1].bytes();
    let (_ann, _) =
        enter(&mut world, Join { seat: kept.tokens[0].bytes(), ..duel("a") }).expect("its seat");
    world.pass(SEAT_PATIENCE - Duration::from_micros(1));
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::RoomFull);
    world.pass(Duration::from_micros(1));
    assert_eq!(refusal(&mut world, Join { seat: &token, ..duel("a") }), RefusalCode::BadSeat);
    assert!(enter(&mut world, duel("a")).is_ok());
}

#[test]
fn a_room_waits_for_those_whose_seats_it_keeps_and_no_longer() {
    let linger = Duration::from_secs(1);
    let spec = RoomSpec { linger: Some(linger), ..duel_spec() };
    let types = RoomTypes::default().with(room_type("duel", spec, Duel::default));
    let mut world = World::new(types, WIDE);
    reserve(&mut world, room("a"), &[""]).expect("a seat");
    world.pass(SEAT_PATIENCE - Duration::from_micros(1));
    assert_eq!(world.shard.rooms().count(), 1);
    world.pass(Duration::from_micros(1));
    assert_eq!(world.shard.rooms().count(), 0);
    // Also one whose members have left meanwhile.
    let (mut ann, _) = enter(&mut world, duel("b")).expect("a seat");
    reserve(&mut world, room("b"), &[""]).expect("a seat");
    ann.client.leave();
    world.turn(&mut ann);
    world.pass(linger * 2);
    assert_eq!(world.shard.rooms().count(), 1);
}

#[test]
fn a_kept_seat_gets_past_lock_and_password_and_names_its_member() {
    let mut world = world();
    let private = PendingJoin { password: "sesame".into(), ..room("a") };
    let kept = reserve(&mut world, private, &["ann"]).expect("a seat");
    assert_eq!(refusal(&mut world, duel("a")), RefusalCode::WrongPassword);
    let lock = Join { password: "sesame", options: b"lock", ..duel("a") };
    let (_bob, _) = enter(&mut world, lock).expect("a seat");
    let join = Join { seat: kept.tokens[0].bytes(), name: "somebody else", ..duel("a") };
    assert!(enter(&mut world, join).is_ok());
    assert_eq!(reserve(&mut world, room("a"), &[""]).err(), Some(RefusalCode::RoomLocked));
}

#[test]
fn seats_are_kept_all_together_or_not_at_all() {
    let mut world = world();
    assert_eq!(reserve(&mut world, room("a"), &["", "", ""]).err(), Some(RefusalCode::RoomFull));
    assert!(reserve(&mut world, room("a"), &["", ""]).is_ok(), "none of the three was kept");
    let join = |mode| PendingJoin { mode, ..room("a") };
    for (room, expected) in [
        (join(JoinMode::Create), RefusalCode::RoomExists),
        (PendingJoin { mode: JoinMode::Join, ..room("b") }, RefusalCode::UnknownRoom),
        (room("a"), RefusalCode::RoomFull),
    ] {
        assert_eq!(reserve(&mut world, room, &[""]).err(), Some(expected));
    }
}

#[test]
fn seats_for_a_party_are_in_one_room_that_suits() {
    let mut world = world();
    let (_ann, found) = enter(&mut world, duel("")).expect("a seat");
    let kept = reserve(&mut world, room(""), &["", ""]).expect("two seats");
    assert_ne!(*kept.room.room, *found, "there is one seat left in it");
    let kept = reserve(&mut world, room(""), &[""]).expect("a seat");
    assert_eq!(*kept.room.room, *found);
    let mut filter = Properties::default();
    filter.insert("mode", Value::Int(1)).expect("a property");
    let kept = reserve(&mut world, PendingJoin { filter, ..room("") }, &[""]).expect("a seat");
    assert_ne!(*kept.room.room, *found);
    // What a listing has promised may be gone.
    let stale = PendingJoin { naming: Naming::Server { searches: 1 }, ..room("gone") };
    assert_eq!(reserve(&mut world, stale, &[""]).err(), Some(RefusalCode::UnknownRoom));
}

/// Members and kept seats are never more than there are seats, however many come at once.
#[test]
fn a_thousand_joins_never_exceed_the_seats() {
    let spec = RoomSpec { members_max: 50, entities_max: 100, ..duel_spec() };
    let types = RoomTypes::default().with(room_type("duel", spec, Duel::default));
    let mut world = World::new(types, WIDE);
    let (mut tokens, mut peers, mut refused) = (Vec::new(), Vec::new(), 0);
    for number in 0..1_000_u32 {
        if number % 7 == 0
            && let Ok(kept) = reserve(&mut world, room("a"), &["", ""])
        {
            tokens.extend(kept.tokens);
        }
        let seat = if number % 3 == 0 { tokens.pop() } else { None };
        let seat = seat.map(|token| token.bytes().to_vec()).unwrap_or_default();
        match enter(&mut world, Join { seat: &seat, ..duel("a") }) {
            Ok((peer, _)) => peers.push(peer),
            Err(code) => {
                assert!(matches!(code, RefusalCode::RoomFull | RefusalCode::BadSeat), "{code:?}");
                refused += 1;
            }
        }
        if number % 11 == 0
            && let Some(mut peer) = peers.pop()
        {
            peer.client.leave();
            world.turn(&mut peer);
        }
        if number % 50 == 0 {
            world.pass(Duration::from_secs(1));
        }
        let members = world.room().members().len();
        assert!(members <= 50, "{members} members after {number}");
    }
    assert!(refused > 300 && peers.len() > 30, "{refused} refused, {} seated", peers.len());
    world.pass(SEAT_PATIENCE);
    let free = 50 - world.room().members().len();
    let more = (0..free + 5).filter(|_| enter(&mut world, duel("a")).is_ok()).count();
    assert_eq!(more, free, "every seat that nobody took is free again");
}
