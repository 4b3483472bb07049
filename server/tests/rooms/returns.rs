//! Members whose connection breaks, and who come back or do not.

use std::time::Duration;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::close::{Advice, CloseReason};
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Ring, RoomSchema, TopicDesc,
    WritePolicy,
};
use tickloom_protocol::server_message::{LeaveReason, RefusalCode};
use tickloom_protocol::ticket::{Returning, Ticket};
use tickloom_server::config::Config;
use tickloom_server::room::described::Described;
use tickloom_server::room::logic::{Compression, RoomSpec};
use tickloom_server::rooms::{RoomTypes, built_in_types};
use tickloom_server::shard::{Shard, ShardConfig};

use crate::harness::{Peer, World, prop};
use crate::{FLUSH, Plain, schema, spec};

/// A little less than a seat is kept.
const NEARLY: Duration = Duration::from_millis(2_999);
const REST: Duration = Duration::from_millis(1);

fn chatty() -> RoomSpec {
    let topics = vec![TopicDesc { history: true, ..TopicDesc::new("chat") }];
    RoomSpec {
        grace: Some(NEARLY + REST),
        events_max: 8,
        ..spec(schema().with_topics(topics).expect("topics"))
    }
}

fn world() -> World {
    World::new(RoomTypes::default().with(Plain(chatty())), crate::harness::WIDE)
}

/// Everything that is new reaches everybody.
fn settle(world: &mut World, peers: &mut [&mut Peer]) {
    world.pass(FLUSH);
    for peer in peers {
        world.turn(peer);
    }
}

fn say(world: &mut World, peer: &mut Peer, text: &str) {
    peer.publish(world, "chat", &[], text.as_bytes()).expect("it may");
}

fn set(world: &mut World, peer: &mut Peer, value: i64) {
    let changes = prop(peer.component("props"), EntityId::ROOM, "n", Value::Int(value));
    peer.write(world, &changes).expect("it may");
}

/// Whether two clients know the same.
fn agree(one: &Peer, other: &Peer) -> bool {
    let prop = |peer: &Peer| peer.prop("props", EntityId::ROOM, "n");
    let ids = |peer: &Peer| {
        let entities = peer.client.seat().expect("a seat").replica.entities();
        entities.ids().collect::<Vec<_>>()
    };
    one.tick() == other.tick() && prop(one) == prop(other) && ids(one) == ids(other)
}

/// Asks for the seat over a connection of its own; says what came of it.
fn come_back(world: &mut World, returning: Returning) -> Peer {
    let mut peer = world.connect();
    peer.client.resume(returning);
    world.turn(&mut peer);
    assert_eq!(peer.events.first(), Some(&ClientEvent::Joined), "{:?}", peer.events);
    peer.events.remove(0);
    peer
}

fn part(peer: &mut Peer) -> Returning {
    peer.client.part().expect("a ticket")
}

fn is_resumed(peer: &Peer) -> (bool, bool) {
    let seat = peer.client.seat().expect("a seat");
    (seat.is_resumed, seat.is_recovered)
}

#[test]
fn who_comes_back_in_time_has_its_seat_and_gets_one_catch_up_and_what_was_said() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    say(&mut world, &mut bob, "before");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    assert_eq!(ann.texts(), ["before"]);
    let (member, entity, tick) = (ann.member(), ann.entity(), ann.tick());
    world.disconnect(&ann);
    for value in 1..=3 {
        set(&mut world, &mut bob, value);
        say(&mut world, &mut bob, &format!("while {value}"));
        bob.publish(&mut world, "chat", &[member], b"to you").expect("it is still a member");
        settle(&mut world, &mut [&mut bob]);
    }
    assert!(bob.sees(entity), "what it owns stays");
    world.pass(NEARLY - 3 * FLUSH);
    let mut again = come_back(&mut world, part(&mut ann));
    assert_eq!((again.member(), again.entity()), (member, entity));
    assert_eq!(is_resumed(&again), (true, true));
    settle(&mut world, &mut [&mut again, &mut bob]);
    let applied = again.applied();
    assert!(matches!(applied[..], [(Outcome::Delta, now)] if now > tick), "{applied:?}");
    let mut texts = again.texts();
    texts.sort_unstable();
    assert_eq!(texts, ["to you", "to you", "to you", "while 1", "while 2", "while 3"]);
    assert_eq!(again.lost(), 0);
    assert!(agree(&again, &bob));
    let metrics = world.shard.metrics();
    assert_eq!((metrics.joins, metrics.drops, metrics.resumes), (2, 1, 1));
    assert_eq!((metrics.resumes_recovered, metrics.graces_expired), (1, 0));
    // It is a member like any other, and may be cut off again.
    say(&mut world, &mut bob, "after");
    settle(&mut world, &mut [&mut again, &mut bob]);
    assert_eq!(again.texts(), ["after"]);
    world.disconnect(&again);
    let third = come_back(&mut world, part(&mut again));
    assert_eq!((third.member(), is_resumed(&third)), (member, (true, true)));
}

#[test]
fn who_does_not_come_back_in_time_is_gone_and_its_token_is_of_no_use() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    let (member, entity) = (ann.member(), ann.entity());
    world.disconnect(&ann);
    world.pass(NEARLY);
    assert_eq!(world.room().members().len(), 2);
    assert_eq!(world.room().host(), Some(member), "the host's role waits for it");
    world.pass(REST);
    assert_eq!(world.room().members().len(), 1);
    assert_eq!(world.room().host(), Some(bob.member()));
    settle(&mut world, &mut [&mut bob]);
    assert!(!bob.sees(entity), "what it owned has gone");
    let again = come_back(&mut world, part(&mut ann));
    assert_ne!(again.member(), member);
    assert_eq!(is_resumed(&again), (false, false));
    let metrics = world.shard.metrics();
    assert_eq!((metrics.joins, metrics.resumes, metrics.graces_expired), (3, 0, 1));
}

#[test]
fn a_room_of_absent_members_ends_when_their_time_and_its_own_are_over() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    settle(&mut world, &mut [&mut ann]);
    world.disconnect(&ann);
    world.pass(NEARLY);
    assert_eq!((world.shard.rooms().count(), world.room().members().len()), (1, 1));
    world.pass(REST);
    assert_eq!((world.shard.rooms().count(), world.room().members().len()), (1, 0));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.shard.rooms().count(), 0);
    assert_eq!(world.shard.next_due(), None, "nothing is left to do");
}

#[test]
fn seats_that_are_kept_are_taken() {
    let room = RoomSpec { members_max: 2, ..chatty() };
    let mut world = World::new(RoomTypes::default().with(Plain(room)), crate::harness::WIDE);
    let [mut ann, mut bob] = ["ann", "bob"].map(|name| world.join("plain", name));
    settle(&mut world, &mut [&mut ann, &mut bob]);
    world.disconnect(&ann);
    let mut eve = world.connect();
    eve.client.join(Join { room_type: "plain", room: "a", name: "eve", ..Join::default() });
    world.turn(&mut eve);
    let is_full = |event: &ClientEvent| {
        matches!(event, ClientEvent::Refused { code: RefusalCode::RoomFull, .. })
    };
    assert!(eve.events.iter().any(is_full), "{:?}", eve.events);
    assert_eq!(is_resumed(&come_back(&mut world, part(&mut ann))), (true, true));
}

#[test]
fn a_token_is_good_once_and_of_two_who_show_it_one_gets_the_seat() {
    for away in [true, false] {
        let mut world = world();
        let mut ann = world.join("plain", "ann");
        settle(&mut world, &mut [&mut ann]);
        let ticket = ann.client.ticket().expect("a ticket");
        if away {
            world.disconnect(&ann);
        }
        // Both are on their way before either is answered.
        let mut racers = [(); 2].map(|()| world.connect());
        for racer in &mut racers {
            racer.client.resume(Returning::from(ticket.clone()));
        }
        world.turns(&mut racers);
        let [first, second] = &racers;
        assert_eq!((is_resumed(first), is_resumed(second)), ((true, true), (false, false)));
        assert_eq!(first.member(), ticket.member);
        assert_ne!(second.member(), ticket.member);
        let third = come_back(&mut world, Returning::from(ticket));
        assert_eq!(is_resumed(&third), (false, false), "away: {away}");
        assert_eq!(world.shard.metrics().resumes, 1);
    }
}

#[test]
fn anything_wrong_with_a_token_makes_an_ordinary_newcomer() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    let own = ann.client.ticket().expect("a ticket");
    let theirs = bob.client.ticket().expect("a ticket");
    world.disconnect(&ann);
    let mut flipped = own.token.clone();
    flipped[23] ^= 1;
    for wrong in [
        Ticket { token: Box::default(), ..own.clone() },
        Ticket { token: flipped, ..own.clone() },
        Ticket { token: own.token[..23].into(), ..own.clone() },
        Ticket { token: theirs.token.clone(), ..own.clone() },
        Ticket { member: theirs.member, ..own.clone() },
        Ticket { member: MemberId(77), ..own.clone() },
        Ticket { member: MemberId::SERVER, ..own.clone() },
        Ticket { name: "bob".into(), ..own.clone() },
        Ticket { room: "b".into(), ..own.clone() },
    ] {
        let (claimed, newcomer) = (wrong.member, come_back(&mut world, Returning::from(wrong)));
        assert_eq!(is_resumed(&newcomer), (false, false));
        assert_ne!(newcomer.member(), claimed, "another seat has another id");
    }
    assert_eq!(world.shard.metrics().resumes, 0);
    let again = come_back(&mut world, Returning::from(own));
    assert_eq!(is_resumed(&again), (true, true), "and nothing of it has used the right one up");
}

#[test]
fn a_room_of_the_same_name_is_not_the_same_room() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    settle(&mut world, &mut [&mut ann]);
    let ticket = ann.client.ticket().expect("a ticket");
    world.disconnect(&ann);
    world.pass(Duration::from_secs(20));
    assert_eq!(world.shard.rooms().count(), 0);
    let second = world.join("plain", "ann");
    assert_eq!(second.member(), ticket.member, "its first member is called the same");
    let late = come_back(&mut world, Returning::from(ticket));
    assert_eq!(is_resumed(&late), (false, false));
    assert_ne!(late.member(), second.member());
}

#[test]
fn a_connection_that_only_looks_alive_is_taken_over_and_can_do_no_more() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    let ticket = ann.client.ticket().expect("a ticket");
    world.block(&ann);
    let late = prop(ann.component("props"), EntityId::ROOM, "n", Value::Int(666));
    let mut again = come_back(&mut world, Returning::from(ticket.clone()));
    assert_eq!((again.member(), is_resumed(&again)), (ticket.member, (true, true)));
    // What the old connection still sends is about nothing.
    ann.client.write(&late);
    ann.client.leave();
    ann.client.close();
    let late = ann.client.take_output();
    world.send(&ann, &late);
    set(&mut world, &mut again, 7);
    settle(&mut world, &mut [&mut again, &mut bob]);
    assert!(agree(&again, &bob));
    assert_eq!(bob.prop("props", EntityId::ROOM, "n"), Some(Value::Int(7)));
    // Once its socket takes something, it hears why.
    world.unblock(&ann);
    world.read(&mut ann);
    assert!(ann.events.contains(&ClientEvent::Left(LeaveReason::Replaced)), "{:?}", ann.events);
    let reason = ann.closed().expect("it is closed");
    assert_eq!((reason, reason.advice()), (&CloseReason::REPLACED, Advice::Stop));
    world.hang_up(ann.id);
    world.pass(Duration::from_secs(5));
    assert_eq!(world.room().members().len(), 2, "its end is not the end of the seat");
    let metrics = world.shard.metrics();
    assert_eq!((metrics.takeovers, metrics.drops, metrics.resumes), (1, 0, 1));
    assert_eq!(world.shard.take_stats().closes_other, 1);
}

#[test]
fn what_is_no_longer_kept_is_counted_by_who_comes_back() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    world.disconnect(&ann);
    for number in 0..20 {
        say(&mut world, &mut bob, &format!("{number}"));
        settle(&mut world, &mut [&mut bob]);
    }
    let mut again = come_back(&mut world, part(&mut ann));
    assert_eq!(is_resumed(&again), (true, false), "the same seat, but not everything");
    settle(&mut world, &mut [&mut again]);
    let heard = again.texts();
    assert_eq!(heard.len() as u64 + again.lost(), 20);
    assert_eq!(heard.last().map(String::as_str), Some("19"));
    assert!((1..20).contains(&again.lost()), "{} lost", again.lost());
    assert_eq!(world.shard.metrics().resumes_recovered, 0);
}

#[test]
fn what_was_promised_is_kept_until_it_was_sent() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    world.disconnect(&ann);
    for number in 0..5 {
        say(&mut world, &mut bob, &format!("while {number}"));
        settle(&mut world, &mut [&mut bob]);
    }
    let mut again = come_back(&mut world, part(&mut ann));
    assert_eq!(is_resumed(&again), (true, true));
    // Far more than the room keeps, before the next state goes out.
    for number in 0..50 {
        say(&mut world, &mut bob, &format!("then {number}"));
    }
    settle(&mut world, &mut [&mut again]);
    assert_eq!((again.texts().len(), again.lost()), (55, 0));
}

#[test]
fn who_was_cut_off_before_it_heard_anything_hears_it_all() {
    let mut world = world();
    let mut bob = world.join("plain", "bob");
    say(&mut world, &mut bob, "history");
    settle(&mut world, &mut [&mut bob]);
    // Its first state is lost on the way; what was sent counts for nothing then.
    let mut ann = world.join("plain", "ann");
    world.pass(FLUSH);
    world.lose(&ann);
    say(&mut world, &mut bob, "one");
    settle(&mut world, &mut [&mut bob]);
    world.lose(&ann);
    world.disconnect(&ann);
    say(&mut world, &mut bob, "two");
    settle(&mut world, &mut [&mut bob]);
    let returning = part(&mut ann);
    assert_eq!((returning.ticket.tick, returning.ticket.events_from), (Tick::ZERO, 0));
    let mut again = come_back(&mut world, returning);
    assert_eq!(is_resumed(&again), (true, true));
    settle(&mut world, &mut [&mut again, &mut bob]);
    assert!(matches!(again.applied()[..], [(Outcome::Snapshot, _)]), "{:?}", again.applied());
    assert_eq!(again.texts(), ["history", "one", "two"]);
    assert!(agree(&again, &bob));
}

#[test]
fn a_page_that_was_loaded_again_gets_a_snapshot_and_hears_on() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    let member = ann.member();
    bob.publish(&mut world, "chat", &[member], b"psst").expect("it may");
    say(&mut world, &mut bob, "before");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    let ticket = ann.client.ticket().expect("a ticket");
    // A browser says 1001 for a page that goes, whether or not it is coming back.
    ann.client.close_with(&CloseReason::new(1001, ""));
    world.turn(&mut ann);
    say(&mut world, &mut bob, "while");
    settle(&mut world, &mut [&mut bob]);
    let mut again = come_back(&mut world, Returning::from(ticket));
    assert_eq!((again.member(), is_resumed(&again)), (member, (true, true)));
    settle(&mut world, &mut [&mut again, &mut bob]);
    assert!(matches!(again.applied()[..], [(Outcome::Snapshot, _)]), "{:?}", again.applied());
    assert_eq!((again.texts(), again.lost()), (vec!["while".to_owned()], 0));
    assert!(agree(&again, &bob));
}

#[test]
fn who_says_goodbye_leaves_at_once() {
    let mut world = world();
    for goodbye in [0, 1] {
        let mut ann = world.join("plain", "ann");
        settle(&mut world, &mut [&mut ann]);
        let ticket = ann.client.ticket().expect("a ticket");
        match goodbye {
            0 => ann.client.leave(),
            _ => ann.client.close(),
        }
        world.turn(&mut ann);
        assert_eq!(world.room().members().len(), 0);
        assert_eq!(ann.client.ticket().is_some(), goodbye == 1, "a seat that was left is no seat");
        let again = come_back(&mut world, Returning::from(ticket));
        assert_eq!(is_resumed(&again), (false, false));
        world.shard.handle_broken(world.now, again.id);
        world.pass(Duration::from_secs(4));
    }
    assert_eq!(world.shard.metrics().drops, 2, "of those who said nothing");
}

#[test]
fn silence_and_a_full_queue_keep_the_seat_and_misbehaviour_does_not() {
    let mut world = world();
    // Silence: nobody answers the ping.
    let mut silent = world.join("plain", "silent");
    settle(&mut world, &mut [&mut silent]);
    world.pass(Duration::from_secs(33));
    world.read(&mut silent);
    assert_eq!(silent.closed(), Some(&CloseReason::PING_TIMEOUT));
    let again = come_back(&mut world, part(&mut silent));
    assert_eq!(is_resumed(&again), (true, true));
    // Whoever is closed for what it did is told to stop.
    world.send(&again, &[0x82, 0x81, 0, 0, 0, 0, 7]);
    assert_eq!(world.room().members().len(), 0);
    // Bytes that are no frame may be the work of something in between.
    let mut broken = world.join("plain", "broken");
    settle(&mut world, &mut [&mut broken]);
    world.send(&broken, &[0xff; 16]);
    assert_eq!(world.room().members().len(), 1);
    let again = come_back(&mut world, part(&mut broken));
    assert_eq!(is_resumed(&again), (true, true));
}

#[test]
fn whoever_is_away_does_nothing_and_others_see_that() {
    let config = Config { room_grace: NEARLY + REST, ..Config::loopback() };
    let types = built_in_types(&config).with(Described::relay());
    let mut world = World::of(Shard::new(ShardConfig::alone(&config, types)));
    let mut ann = world.join("state", "ann");
    let mut bob = world.join("state", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    let away = |peer: &Peer, entity| {
        let entities = peer.client.seat().expect("a seat").replica.entities();
        entities.row(peer.component("away"), entity).map(<[u8]>::to_vec)
    };
    let entity = ann.entity();
    assert_eq!(away(&bob, entity), None);
    world.disconnect(&ann);
    settle(&mut world, &mut [&mut bob]);
    assert_eq!(away(&bob, entity), Some(vec![1]));
    assert_eq!(bob.opaque("name", entity), Some(&b"ann"[..]), "and who it is");
    let mut again = come_back(&mut world, part(&mut ann));
    settle(&mut world, &mut [&mut again, &mut bob]);
    assert_eq!((away(&bob, entity), away(&again, entity)), (None, None));

    // In an arena it stands still, and its profile says why.
    let mut cid = world.join("arena", "cid");
    let mut dan = world.join("arena", "dan");
    world.pass(Duration::from_millis(200));
    for _ in 0..4 {
        cid.client.input(&[254, 127, 0, 0]).expect("a seat");
    }
    world.turns([&mut cid, &mut dan]);
    let entity = cid.entity();
    world.disconnect(&cid);
    let body = |peer: &Peer| {
        let entities = peer.client.seat().expect("a seat").replica.entities();
        entities.row(peer.component("body"), entity).map(<[u8]>::to_vec)
    };
    world.pass(Duration::from_secs(1));
    world.turn(&mut dan);
    let stands = body(&dan);
    assert_eq!(dan.prop("profile", entity, "away"), Some(Value::Bool(true)));
    world.pass(Duration::from_millis(100));
    world.turn(&mut dan);
    assert!(stands.is_some() && body(&dan) == stands);
    let again = come_back(&mut world, part(&mut cid));
    assert_eq!(is_resumed(&again), (true, true));
    world.pass(Duration::from_millis(100));
    world.turn(&mut dan);
    assert_eq!(dan.prop("profile", entity, "away"), None);
}

#[test]
fn in_a_room_with_interest_who_comes_back_gets_what_is_in_view_anew() {
    let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, -64.0, 64.0);
    let body = ComponentDesc::packed("body", vec![axis("x"), axis("y")]).expect("a row");
    let (axes, component) = ([FieldId(0), FieldId(1)], ComponentId(0));
    let rings = vec![Ring { distance: 1, every: 1 }];
    let interest = Interest { component, axes, cell_size: 16.0, rings };
    let body = body.as_motion().writable_by(WritePolicy::Owner);
    let schema = RoomSchema::new(vec![body], vec![]);
    let schema = schema.and_then(|schema| schema.with_interest(interest)).expect("a schema");
    let room = RoomSpec { grace: Some(NEARLY), ..spec(schema) };
    let mut world = World::new(RoomTypes::default().with(Plain(room)), crate::harness::WIDE);
    let mut peers = ["ann", "bob"].map(|name| world.join("plain", name));
    // `row` is a place: a quarter of the world per step and axis.
    let stand = |world: &mut World, peer: &mut Peer, steps: u16| {
        let mut changes = ChangesBuilder::default();
        let place = (steps * 0x3fff).to_le_bytes();
        changes.row(component, peer.entity(), &[place, place].concat());
        peer.write(world, &changes).expect("its own");
    };
    for peer in &mut peers {
        stand(&mut world, peer, 1);
    }
    let [mut ann, mut bob] = peers;
    settle(&mut world, &mut [&mut ann, &mut bob]);
    assert!(ann.sees(bob.entity()) && bob.sees(ann.entity()));
    let returning = part(&mut ann);
    let entity = world.room().members()[&returning.ticket.member].entity();
    world.disconnect(&ann);
    stand(&mut world, &mut bob, 3);
    settle(&mut world, &mut [&mut bob]);
    assert!(!bob.sees(entity), "it went out of sight");
    let mut again = come_back(&mut world, returning);
    settle(&mut world, &mut [&mut again]);
    assert!(matches!(again.applied()[..], [(Outcome::Snapshot, _)]), "{:?}", again.applied());
    assert!(again.sees(again.entity()) && !again.sees(bob.entity()), "as it is, not as it was");
    stand(&mut world, &mut bob, 1);
    settle(&mut world, &mut [&mut again, &mut bob]);
    assert!(again.sees(bob.entity()) && bob.sees(entity));
}

#[test]
fn a_server_that_stops_keeps_no_seats() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    world.disconnect(&ann);
    world.shard.handle_stop(world.now, world.now + Duration::from_secs(5));
    assert_eq!(world.room().members().len(), 0, "one was away, the other was told to go");
    world.shard.check_invariants();
}

#[test]
fn no_grace_no_token() {
    let room = RoomSpec { grace: Some(Duration::ZERO), compression: Compression::Off, ..chatty() };
    let mut world = World::new(RoomTypes::default().with(Plain(room)), crate::harness::WIDE);
    let ann = world.join("plain", "ann");
    assert_eq!(ann.client.ticket(), None);
    assert_eq!(ann.client.seat().map(|seat| seat.grace_ms), Some(0));
    world.disconnect(&ann);
    assert_eq!(world.room().members().len(), 0);
}

#[test]
fn who_was_sent_away_does_not_come_back_to_its_seat() {
    let mut world = world();
    let mut ann = world.join("plain", "ann");
    let mut bob = world.join("plain", "bob");
    settle(&mut world, &mut [&mut ann, &mut bob]);
    let ticket = bob.client.ticket().expect("a ticket");
    assert!(world.room().host() == Some(ann.member()), "she was here first");
    ann.client.kick(bob.member(), "not today");
    world.turns(&mut [ann, bob]);
    assert_eq!(world.room().members().len(), 1);
    let late = come_back(&mut world, Returning::from(ticket.clone()));
    assert_eq!(is_resumed(&late), (false, false));
    assert_ne!(late.member(), ticket.member, "nor is it taken for who was sent away");
    let metrics = world.shard.metrics();
    assert_eq!((metrics.kicks, metrics.resumes, metrics.drops), (1, 0, 0));
}
