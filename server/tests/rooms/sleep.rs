//! Rooms with a rate: those with nothing to do, which sleep, and those that send less often than
//! they tick.

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::ids::{ComponentId, EntityId, InputSeq, MemberId, Tick};
use tickloom_protocol::schema::WritePolicy;
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_protocol::server_message::TimeSync;
use tickloom_server::config::Config;
use tickloom_server::room::logic::{
    Cadence, Context, Freshness, Next, RoomLogic, RoomSpec, room_type,
};
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::Reads;

use crate::harness::{Peer, WIDE, World, prop};

const STEP: Duration = Duration::from_millis(50);
const PROPS: ComponentId = ComponentId(0);
const MOVED: ComponentId = ComponentId(1);

/// Does what inputs say, and otherwise `rest`.
#[derive(Clone, Copy)]
struct Dozer {
    rest: Next,
    has_moved: bool,
}

impl RoomLogic for Dozer {
    fn on_input(&mut self, room: &mut Context<'_>, who: MemberId, row: &[u8], how: Freshness) {
        if how == Freshness::Fresh {
            self.has_moved = true;
            let entity = room.entity_of(who).expect("a member has one");
            room.state_mut().set_row(MOVED, entity, row);
        }
    }

    fn on_tick(&mut self, _: &mut Context<'_>) -> Next {
        if std::mem::take(&mut self.has_moved) { Next::Tick } else { self.rest }
    }
}

fn spec(cadence: Cadence) -> RoomSpec {
    let step = || vec![FieldDesc::new("step", FieldType::U8)];
    let components = vec![
        ComponentDesc::props("props").writable_by(WritePolicy::Members),
        ComponentDesc::packed("moved", step()).expect("a row"),
    ];
    let schema = RoomSchema::new(components, step()).expect("schema");
    RoomSpec { cadence, ..RoomSpec::at_rate(20, Arc::new(schema)) }
}

fn world(rest: Next, cadence: Cadence) -> World {
    let dozer = Dozer { rest, has_moved: false };
    World::new(RoomTypes::default().with(room_type("plain", spec(cadence), move || dozer)), WIDE)
}

const AT_20_HZ: Cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 1 };

/// Ann in a room that sleeps.
fn asleep() -> (World, Peer) {
    let mut world = world(Next::Sleep, AT_20_HZ);
    let mut ann = world.join("plain", "ann");
    world.pass(STEP * 2);
    world.turn(&mut ann);
    assert!(world.room().is_asleep());
    (world, ann)
}

/// The scales that a client was told of since the last call.
fn scales(peer: &mut Peer) -> Vec<u32> {
    let events = std::mem::take(&mut peer.events).into_iter();
    let scales = events.filter_map(|event| match event {
        ClientEvent::TimeSync(sync) => Some(sync.scale_q16),
        _ => None,
    });
    scales.collect()
}

#[test]
fn a_sleeping_room_wakes_nobody_and_sends_nothing() {
    let (mut world, mut ann) = asleep();
    assert_eq!(scales(&mut ann), [0], "its members know that time stands still");
    assert_eq!(world.reads(ann.id), Reads::OnArrival, "it has no turns on which to read them");
    let ticks = world.shard.metrics().ticks;
    let silence = Config::loopback().patience.ping;
    let due = world.shard.next_due().expect("a deadline");
    assert!(due > world.now + silence / 2, "only the ping after a silence: {due:?}");
    world.pass(silence / 2);
    assert_eq!(world.shard.metrics().ticks, ticks, "no tick");
    world.read(&mut ann);
    assert!(ann.events.is_empty(), "and no byte: {:?}", ann.events);
}

#[test]
fn whatever_happens_in_a_sleeping_room_wakes_it() {
    type Happening = fn(&mut World, &mut Peer);
    let happenings: [(&str, Happening); 4] = [
        ("an input", |_, ann| {
            ann.client.input(&[7]);
        }),
        ("a write", |_, ann| {
            ann.client.write(&prop(PROPS, EntityId::ROOM, "k", Value::Int(1)));
        }),
        ("a newcomer", |world, _| drop(world.join("plain", "bob"))),
        ("a leave", |_, ann| ann.client.leave()),
    ];
    for (name, happen) in happenings {
        let (mut world, mut ann) = asleep();
        let mut host = world.join("plain", "host");
        world.pass(STEP * 3);
        world.turns([&mut ann, &mut host]);
        world.pass(Duration::from_secs(7));
        let tick = ann.tick();
        host.events.clear();
        happen(&mut world, &mut ann);
        world.turn(&mut ann);
        assert!(world.shard.next_due().is_some_and(|due| due <= world.now), "{name}: at once");
        world.pass(STEP);
        world.turn(&mut host);
        assert!(host.tick() > tick, "{name} is shown within a step");
        assert_eq!(host.tick(), tick.next(), "{name}: the count goes on where it was");
        let scale = scales(&mut host).first().copied();
        assert_eq!(scale, Some(TimeSync::REAL_TIME), "{name}: and they are told");
        world.pass(STEP * 3);
        assert!(world.room().is_asleep(), "{name}: and then it sleeps again");
    }
}

#[test]
fn a_client_knows_the_time_of_a_room_that_slept() {
    let (mut world, mut ann) = asleep();
    world.pass(Duration::from_secs(5));
    ann.client.input(&[7]);
    world.turn(&mut ann);
    assert_eq!(world.reads(ann.id), Reads::OnArrival);
    world.pass(Duration::ZERO);
    assert_eq!(world.reads(ann.id), Reads::OnTurn, "it has turns again");
    world.turn(&mut ann);
    let seat = ann.client.seat().expect("a seat");
    let due = seat.timetable.due(ann.tick().next());
    assert_eq!(Some(due), world.room().next_due());
    assert!(due > world.now && due <= world.now + STEP, "{due:?}");
    world.pass(STEP);
    world.turn(&mut ann);
    let acked = ann.events.iter().rev().find_map(|event| match event {
        ClientEvent::Applied { head, .. } => Some(head.ack),
        _ => None,
    });
    assert_eq!(acked, Some(InputSeq(1)), "the input that woke it was taken");
}

#[test]
fn a_room_wakes_by_itself_after_the_time_it_asked_for() {
    let rest = Duration::from_secs(3);
    for cadence in [AT_20_HZ, Cadence::OnChange { interval: STEP }] {
        let mut world = world(Next::WakeIn(rest), cadence);
        let mut ann = world.join("plain", "ann");
        world.pass(STEP * 3);
        world.turn(&mut ann);
        let ticks = world.shard.metrics().ticks;
        world.pass(rest - STEP * 4);
        assert_eq!(world.shard.metrics().ticks, ticks, "{cadence:?}: it rests");
        world.pass(STEP * 4);
        assert_eq!(world.shard.metrics().ticks, ticks + 1, "{cadence:?}");
    }
}

#[test]
fn a_room_that_sends_every_third_tick_acknowledges_what_it_took_until_then() {
    let mut world = world(Next::Tick, Cadence::Fixed { tick_rate_hz: 60, send_every: 3 });
    let mut ann = world.join("plain", "ann");
    world.pass(STEP);
    world.turn(&mut ann);
    ann.events.clear();
    let ticks_before = world.shard.metrics().ticks;
    let step = Duration::from_micros(u64::from(world.room().clock().tick_us));
    for _ in 0..60 {
        ann.client.input(&[1]);
        world.turn(&mut ann);
        world.pass(step);
    }
    world.turn(&mut ann);
    assert_eq!(world.shard.metrics().ticks - ticks_before, 60);
    let heads = ann.events.iter().filter_map(|event| match event {
        ClientEvent::Applied { head, .. } => Some(*head),
        _ => None,
    });
    let heads: Vec<_> = heads.collect();
    assert_eq!(heads.len(), 20, "a third of the ticks");
    for pair in heads.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(after.tick, Tick(before.tick.0 + 3));
        assert_eq!(after.base, before.tick);
        assert_eq!(after.ack.0, before.ack.0 + 3, "an input per tick, whether it is sent or not");
    }
}
