//! Those who only watch.

use std::time::Duration;

use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::{ClientMessage, Configure, Join, JoinMode, Kick};
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::{ComponentId, EntityId, OpId};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, RoomSchema, TopicDesc, WritePolicy,
};
use tickloom_protocol::server_message::{LeaveReason, RefusalCode};
use tickloom_server::room::logic::{
    Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, room_type,
};
use tickloom_server::rooms::RoomTypes;

use crate::harness::{Peer, WIDE, World, prop};
use crate::{enter, refusal, text};

const PROPS: ComponentId = ComponentId(0);
const SECRET: ComponentId = ComponentId(1);
const COUNT: ComponentId = ComponentId(2);

/// Three players and two spectators, of whom the logic must see nothing.
struct Stage;

impl RoomLogic for Stage {
    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        room.state_mut().set_opaque(SECRET, joiner.entity, b"planted secret");
        Ok(())
    }

    fn on_spectate(&mut self, _: &mut Context<'_>, watcher: &Joiner<'_>) -> Result<(), Denial> {
        assert_eq!(watcher.entity, EntityId::ROOM);
        if watcher.name == "spy" { Err(Denial::new("not you")) } else { Ok(()) }
    }

    fn on_input(
        &mut self,
        room: &mut Context<'_>,
        member: tickloom_protocol::ids::MemberId,
        _: &[u8],
        _: Freshness,
    ) {
        assert!(room.entity_of(member).is_some(), "{member:?} only watches");
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        let count = room.members().count() as f64;
        room.state_mut().set_numbers(COUNT, EntityId::ROOM, &[count]);
        Next::Tick
    }

    fn on_leave(&mut self, room: &mut Context<'_>, member: tickloom_protocol::ids::MemberId) {
        assert!(room.entity_of(member).is_some(), "{member:?} was no member");
    }
}

fn world() -> World {
    let count = vec![FieldDesc::new("count", FieldType::U8)];
    let components = vec![
        ComponentDesc::props("props").writable_by(WritePolicy::Members),
        ComponentDesc::opaque("secret", "text/plain", 64).for_owner(),
        ComponentDesc::packed("count", count).expect("a row"),
    ];
    let input = vec![FieldDesc::new("step", FieldType::U8)];
    let schema = RoomSchema::new(components, input).expect("schema");
    let schema = schema.with_topics(vec![TopicDesc::new("chat")]).expect("topics");
    let spec = RoomSpec {
        members_max: 3,
        spectators_max: 2,
        entities_max: 5,
        ..RoomSpec::at_rate(20, schema.with_entities_by(WritePolicy::Members))
    };
    World::new(RoomTypes::default().with(room_type("stage", spec, || Stage)), WIDE)
}

fn stage(room: &str) -> Join<'_> {
    Join { room_type: "stage", room, name: "x", ..Join::default() }
}

fn watch(room: &str) -> Join<'_> {
    Join { spectate: true, ..stage(room) }
}

fn pass(world: &mut World, peers: &mut [&mut Peer]) {
    world.pass(Duration::from_millis(200));
    for peer in peers {
        world.turn(peer);
    }
}

fn refused(peer: &Peer) -> Vec<RefusalCode> {
    let codes = peer.events.iter().filter_map(|event| match event {
        ClientEvent::Refused { code, .. } => Some(*code),
        _ => None,
    });
    codes.collect()
}

#[test]
fn a_spectator_sees_what_everybody_sees_and_nothing_else() {
    let mut world = world();
    let (mut ann, _) = enter(&mut world, stage("a")).expect("a seat");
    let (mut eve, _) = enter(&mut world, watch("a")).expect("a place");
    let seat = eve.client.seat().expect("a place");
    assert!(seat.is_spectator && seat.entity == EntityId::ROOM);
    let change = prop(PROPS, ann.entity(), "hat", text("red"));
    assert!(ann.write(&mut world, &change).is_ok());
    assert!(ann.publish(&mut world, "chat", &[], b"hello").is_ok());
    assert!(ann.publish(&mut world, "chat", &[eve.member()], b"psst").is_ok());
    pass(&mut world, &mut [&mut ann, &mut eve]);
    assert_eq!(eve.prop("props", ann.entity(), "hat"), Some(text("red")));
    assert_eq!(eve.texts(), ["hello"], "nobody whispers to those who watch");
    assert_eq!(ann.opaque("secret", ann.entity()), Some(&b"planted secret"[..]));
    assert_eq!(eve.opaque("secret", ann.entity()), None);
    let room = world.room();
    for view in [View::Room, View::Member(eve.member())] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        room.state().entities().put_snapshot(view, &mut ours);
        eve.client.seat().expect("a place").replica.entities().put_snapshot(view, &mut theirs);
        assert_eq!(ours, theirs, "{view:?}");
    }
    let count = room.state().entities().row(COUNT, EntityId::ROOM).expect("a row");
    assert_eq!((count, room.players_count(), room.spectators_count()), (&[1][..], 1, 1));
}

#[test]
fn a_spectator_has_no_say() {
    let mut world = world();
    let (ann, _) = enter(&mut world, stage("a")).expect("a seat");
    let (mut eve, _) = enter(&mut world, watch("a")).expect("a place");
    let change = prop(PROPS, ann.entity(), "hat", text("red"));
    assert_eq!(eve.write(&mut world, &change), Err(RefusalCode::NotAllowed));
    assert_eq!(eve.publish(&mut world, "chat", &[], b"hi"), Err(RefusalCode::NotAllowed));
    eve.events.clear();
    eve.client.send(ClientMessage::Configure(Configure { op: OpId(8), ..Configure::default() }));
    eve.client.send(ClientMessage::Kick(Kick { op: OpId(9), member: ann.member(), message: "" }));
    assert!(eve.client.input(&[1]).is_some());
    world.turn(&mut eve);
    pass(&mut world, &mut [&mut eve]);
    assert_eq!(refused(&eve), [RefusalCode::NotAllowed; 2]);
    assert_eq!(world.room().host(), Some(ann.member()));
    // It does not become the host when nobody else is there.
    world.disconnect(&ann);
    assert_eq!(world.room().host(), None);
}

#[test]
fn places_to_watch_are_not_seats() {
    let mut world = world();
    let mut players: Vec<Peer> =
        (0..2).map(|_| enter(&mut world, stage("a")).expect("a seat").0).collect();
    let mut watchers: Vec<Peer> =
        (0..2).map(|_| enter(&mut world, watch("a")).expect("a place").0).collect();
    assert_eq!(refusal(&mut world, watch("a")), RefusalCode::RoomFull);
    players.push(enter(&mut world, stage("a")).expect("the third seat").0);
    assert_eq!(refusal(&mut world, stage("a")), RefusalCode::RoomFull);
    watchers[0].client.leave();
    world.turn(&mut watchers[0]);
    assert!(watchers[0].events.contains(&ClientEvent::Left(LeaveReason::Asked)));
    assert!(enter(&mut world, watch("a")).is_ok());
    world.shard.check_invariants();
}

#[test]
fn who_may_not_join_may_still_watch_unless_it_needs_a_password() {
    let mut world = world();
    let private = Join { password: "p", ..stage("a") };
    let (mut ann, _) = enter(&mut world, private).expect("a seat");
    let lock = Configure { op: OpId(3), locked: Some(true), ..Configure::default() };
    ann.client.send(ClientMessage::Configure(lock));
    world.turn(&mut ann);
    assert_eq!(refusal(&mut world, watch("a")), RefusalCode::WrongPassword);
    assert!(enter(&mut world, Join { password: "p", ..watch("a") }).is_ok());
    let spy = Join { password: "p", name: "spy", ..watch("a") };
    assert_eq!(refusal(&mut world, spy), RefusalCode::Denied, "the logic's word");
    for mode in [JoinMode::JoinOrCreate, JoinMode::Create, JoinMode::Join] {
        let nowhere = Join { mode, ..watch("nowhere") };
        assert_eq!(refusal(&mut world, nowhere), RefusalCode::UnknownRoom, "{mode:?}");
    }
    assert_eq!(refusal(&mut world, watch("")), RefusalCode::BadRoomName);
    let mut duels = crate::world();
    let (_bob, _) = enter(&mut duels, crate::duel("a")).expect("a seat");
    let join = Join { spectate: true, ..crate::duel("a") };
    assert_eq!(refusal(&mut duels, join), RefusalCode::NotAllowed);
}

#[test]
fn a_room_that_is_only_watched_goes_on_until_it_has_lingered() {
    let mut world = world();
    let (ann, _) = enter(&mut world, stage("a")).expect("a seat");
    let (mut eve, _) = enter(&mut world, watch("a")).expect("a place");
    world.disconnect(&ann);
    world.pass(Duration::from_secs(5));
    world.turn(&mut eve);
    let before = eve.tick();
    world.pass(Duration::from_secs(4));
    // Somebody who looks in does not keep it.
    let (mut dan, _) = enter(&mut world, watch("a")).expect("a place");
    world.turn(&mut eve);
    assert!(eve.tick() > before, "it is shown as it goes on");
    world.pass(Duration::from_secs(2));
    for peer in [&mut eve, &mut dan] {
        world.turn(peer);
        assert!(peer.events.contains(&ClientEvent::Left(LeaveReason::RoomEnded)));
        assert_eq!(peer.closed(), None);
    }
    assert_eq!(world.shard.rooms().count(), 0);
}

#[test]
fn a_player_in_time_keeps_the_room_for_those_who_watch() {
    let mut world = world();
    let (ann, _) = enter(&mut world, stage("a")).expect("a seat");
    let (mut eve, _) = enter(&mut world, watch("a")).expect("a place");
    world.disconnect(&ann);
    world.pass(Duration::from_secs(9));
    let (bob, _) = enter(&mut world, stage("a")).expect("a seat");
    assert_eq!(world.room().host(), Some(bob.member()));
    world.pass(Duration::from_secs(9));
    world.turn(&mut eve);
    assert!(eve.client.seat().is_some());
}

#[test]
fn those_who_watch_cost_no_encoding() {
    let encodings = |watchers: usize| {
        let mut world = world();
        let (ann, _) = enter(&mut world, stage("a")).expect("a seat");
        let watchers: Vec<_> =
            (0..watchers).map(|_| enter(&mut world, watch("a")).expect("a place")).collect();
        world.pass(Duration::from_millis(200));
        let before = world.shard.broadcast_counts();
        world.pass(Duration::from_secs(2));
        let after = world.shard.broadcast_counts();
        drop((ann, watchers));
        (after.encodings - before.encodings, after.deltas - before.deltas)
    };
    let ((alone, deltas), (watched, more)) = (encodings(0), encodings(2));
    assert_eq!((alone, deltas), (40, 40));
    assert_eq!((watched, more), (40, 120), "one encoding, three times the frames");
}
