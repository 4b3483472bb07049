//! Those who watch late.

use std::time::Duration;

use tickloom_protocol::client_message::Join;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema, TopicDesc};
use tickloom_server::outbox::OutboxLimits;
use tickloom_server::room::logic::{Context, Next, RoomLogic, RoomSpec, room_type};
use tickloom_server::rooms::RoomTypes;

use crate::enter;
use crate::harness::{Peer, WIDE, World};

const TICK: ComponentId = ComponentId(0);
const DELAY: Duration = Duration::from_secs(8);

/// Shows which tick it is, on the room and on things that come and go.
#[derive(Default)]
struct Clock {
    things: Vec<EntityId>,
}

impl RoomLogic for Clock {
    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        let tick = f64::from(room.tick().0);
        room.state_mut().set_numbers(TICK, EntityId::ROOM, &[tick]);
        if self.things.len() > 20 {
            room.state_mut().despawn(self.things.remove(0));
        }
        if let Some(thing) = room.state_mut().spawn(MemberId::SERVER) {
            room.state_mut().set_numbers(TICK, thing, &[tick]);
            self.things.push(thing);
        }
        room.publish(tickloom_protocol::ids::TopicId(0), &room.tick().0.to_le_bytes());
        Next::Tick
    }
}

fn world(outbox: OutboxLimits) -> World {
    let row = vec![FieldDesc::new("tick", FieldType::U32)];
    let clock = ComponentDesc::packed("clock", row).expect("a row");
    let schema = RoomSchema::new(vec![clock], vec![]).expect("schema");
    let schema = schema.with_topics(vec![TopicDesc::new("ticks")]).expect("topics");
    let spec =
        RoomSpec { spectators_max: 3, spectator_delay: DELAY, ..RoomSpec::at_rate(10, schema) };
    World::new(RoomTypes::default().with(room_type("late", spec, Clock::default)), outbox)
}

fn join(spectate: bool) -> Join<'static> {
    Join { room_type: "late", room: "a", name: "x", spectate, ..Join::default() }
}

/// The tick that a client is shown, by the room's own word; 0 before it is shown any.
fn shown(peer: &Peer) -> u32 {
    let seat = peer.client.seat().expect("a place");
    let row = seat.replica.entities().row(TICK, EntityId::ROOM);
    row.map_or(0, |row| u32::from_le_bytes(row.try_into().expect("four bytes")))
}

fn pass(world: &mut World, seconds: f32, peers: &mut [&mut Peer]) {
    world.pass(Duration::from_secs_f32(seconds));
    for peer in peers {
        world.turn(peer);
        let broken = peer.events.iter().find(|event| format!("{event:?}").contains("Broken"));
        assert_eq!(broken, None);
        peer.events.clear();
    }
}

#[test]
fn nobody_who_watches_is_shown_anything_too_early_or_much_later() {
    let mut world = world(WIDE);
    let (mut ann, _) = enter(&mut world, join(false)).expect("a seat");
    pass(&mut world, 20.0, &mut [&mut ann]);
    let (mut eve, _) = enter(&mut world, join(true)).expect("a place");
    for _ in 0..100 {
        pass(&mut world, 0.3, &mut [&mut ann, &mut eve]);
        let late = shown(&ann) - shown(&eve);
        assert!((79..=81).contains(&late), "{late} ticks late, 80 are eight seconds");
        let seat = eve.client.seat().expect("a place");
        assert_eq!(seat.replica.tick().0, shown(&eve));
    }
    // Who comes later sees the same at the same time.
    let (mut dan, _) = enter(&mut world, join(true)).expect("a place");
    pass(&mut world, 0.3, &mut [&mut ann, &mut eve, &mut dan]);
    assert_eq!(shown(&dan), shown(&eve));
    let entities = |peer: &Peer| {
        let seat = peer.client.seat().expect("a place");
        seat.replica.entities().ids().collect::<Vec<_>>()
    };
    assert_eq!(entities(&dan), entities(&eve));
    assert_eq!(world.room().players_count(), 1);
}

#[test]
fn those_who_watch_a_young_room_wait() {
    let mut world = world(WIDE);
    let (mut ann, _) = enter(&mut world, join(false)).expect("a seat");
    let (mut eve, _) = enter(&mut world, join(true)).expect("a place");
    pass(&mut world, 7.8, &mut [&mut ann, &mut eve]);
    assert_eq!(shown(&eve), 0);
    pass(&mut world, 0.5, &mut [&mut ann, &mut eve]);
    assert!((1..8).contains(&shown(&eve)), "{}", shown(&eve));
}

#[test]
fn what_is_said_is_heard_late_and_nothing_of_it_twice() {
    let mut world = world(WIDE);
    let (mut ann, _) = enter(&mut world, join(false)).expect("a seat");
    pass(&mut world, 20.0, &mut [&mut ann]);
    let (mut eve, _) = enter(&mut world, join(true)).expect("a place");
    let mut heard = Vec::new();
    for _ in 0..60 {
        pass(&mut world, 0.5, &mut [&mut ann]);
        world.turn(&mut eve);
        let words = eve.heard();
        let word = |body: &[u8]| u32::from_le_bytes(body.try_into().expect("four bytes"));
        heard.extend(words.iter().map(|event| word(&event.body)));
        assert!(heard.last().is_none_or(|last| *last <= shown(&eve)), "it hears what it sees");
        eve.events.clear();
    }
    let first = heard[0];
    let expected: Vec<u32> = (first..first + heard.len() as u32).collect();
    assert_eq!(heard, expected);
    assert!(heard.len() > 290, "{}", heard.len());
    assert_eq!(eve.lost(), 0);
}

#[test]
fn a_spectator_that_reads_nothing_for_long_begins_again() {
    let limits = OutboxLimits { soft_bytes_max: 2 << 10, hard_bytes_max: 1 << 20 };
    let mut world = world(limits);
    let (mut ann, _) = enter(&mut world, join(false)).expect("a seat");
    let (mut eve, _) = enter(&mut world, join(true)).expect("a place");
    pass(&mut world, 20.0, &mut [&mut ann, &mut eve]);
    world.block(&eve);
    for _ in 0..17 {
        pass(&mut world, 1.0, &mut [&mut ann]);
        assert!(world.queued(&eve) < 8 << 10, "{} bytes wait", world.queued(&eve));
    }
    world.unblock(&eve);
    // What it may take at once is little, so it catches up step by step.
    for _ in 0..100 {
        pass(&mut world, 0.2, &mut [&mut ann, &mut eve]);
    }
    let late = shown(&ann) - shown(&eve);
    assert!((79..=81).contains(&late), "{late} ticks late");
}
