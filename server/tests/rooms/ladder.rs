//! What members of a room notice while their shard has more to do than time, and after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::ids::{ComponentId, InputSeq, MemberId};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_protocol::server_message::{DeltaHead, RefusalCode, TimeSync};
use tickloom_server::room::logic::{
    Context, Dilation, Freshness, Next, RoomLogic, RoomSpec, room_type,
};
use tickloom_server::rooms::RoomTypes;

use crate::harness::{Peer, WIDE, World};

const STEP: Duration = Duration::from_millis(50);
const TAKEN: ComponentId = ComponentId(0);

/// Shows each member the last input it took, and counts them.
struct Taker(Arc<AtomicU32>);

impl RoomLogic for Taker {
    fn on_input(&mut self, room: &mut Context<'_>, who: MemberId, row: &[u8], how: Freshness) {
        if how == Freshness::Fresh {
            self.0.fetch_add(1, Ordering::Relaxed);
            let entity = room.entity_of(who).expect("a member has one");
            room.state_mut().set_row(TAKEN, entity, row);
        }
    }

    fn on_tick(&mut self, _: &mut Context<'_>) -> Next {
        Next::Tick
    }
}

fn world(dilation: Dilation) -> (World, Arc<AtomicU32>) {
    let row = || vec![FieldDesc::new("number", FieldType::U32)];
    let taken = ComponentDesc::packed("taken", row()).expect("a row");
    let schema = RoomSchema::new(vec![taken], row()).expect("schema");
    let spec = RoomSpec { dilation, ..RoomSpec::at_rate(20, Arc::new(schema)) };
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    let room_type = room_type("plain", spec, move || Taker(Arc::clone(&counted)));
    (World::new(RoomTypes::default().with(room_type), WIDE), count)
}

/// Ann in a room, and the levels that her deltas said.
struct Play {
    world: World,
    ann: Peer,
    levels: Vec<u8>,
}

impl Play {
    fn new(mut world: World) -> Self {
        let ann = world.join("plain", "ann");
        world.pass(STEP);
        Self { world, ann, levels: Vec::new() }
    }

    /// A second in which she acts once per tick and the shard is busy. With `lateness`, one of its
    /// ticks begins so late. Returns what her deltas said.
    fn second(&mut self, busy: Duration, lateness: Duration) -> Vec<DeltaHead> {
        let Self { world, ann, levels } = self;
        let end = world.now + Duration::from_secs(1);
        world.now = world.now + lateness;
        world.pass(Duration::ZERO);
        while world.now < end {
            ann.client.input(&[1, 0, 0, 0]).expect("a seat");
            world.turn(ann);
            // Her clock goes with the room's.
            world.pass(STEP * TimeSync::REAL_TIME / self::scale_q16(ann));
        }
        world.turn(ann);
        world.shard.handle_load(busy, Duration::from_secs(1));
        let heads = heads(ann);
        levels.extend(heads.iter().map(|head| head.load_level));
        let (tick, building) = (heads[heads.len() - 1].tick, world.room().state().building());
        assert!(building.0 - tick.0 <= 2, "a member sees its own at least at every other tick");
        heads
    }

    fn seconds(&mut self, busy_ms: u64, lateness: Duration, count: usize) -> Vec<DeltaHead> {
        let busy = Duration::from_millis(busy_ms);
        (0..count).map(|_| self.second(busy, lateness)).last().unwrap_or_default()
    }
}

/// What a member's deltas said since the last call.
fn heads(peer: &mut Peer) -> Vec<DeltaHead> {
    let events = std::mem::take(&mut peer.events).into_iter();
    let heads = events.filter_map(|event| match event {
        ClientEvent::Applied { head, .. } => Some(head),
        _ => None,
    });
    heads.collect()
}

fn scale_q16(peer: &Peer) -> u32 {
    peer.client.seat().expect("a seat").timetable.scale_q16()
}

const LATE: Duration = Duration::from_millis(120);

#[test]
fn levels_rise_and_fall_without_losing_an_input() {
    let (world, count) = world(Dilation::Allowed);
    let mut play = Play::new(world);
    let calm = play.seconds(300, Duration::ZERO, 2);
    assert_eq!(calm.len(), 20, "every tick is sent");
    let strained = play.seconds(950, LATE, 8);
    assert!(strained.len() <= 10, "every other is: {}", strained.len());
    assert!(scale_q16(&play.ann) < TimeSync::REAL_TIME, "she knows that time is slow");
    let timetable = play.ann.client.seat().expect("a seat").timetable;
    let next = play.world.room().state().building();
    let due = play.world.room().next_due().expect("it is awake");
    // Each of the server's steps is a whole number of microseconds.
    assert!(timetable.due(next).0.abs_diff(due.0) < 100, "and how slow");
    let calm = play.seconds(200, Duration::ZERO, 40);
    assert_eq!((calm.len(), scale_q16(&play.ann)), (20, TimeSync::REAL_TIME), "as before");
    play.levels.dedup();
    assert_eq!(play.levels, [0, 1, 2, 3, 4, 3, 2, 1, 0], "one after the other");

    let Play { mut world, mut ann, .. } = play;
    world.pass(Duration::from_secs(1));
    world.turn(&mut ann);
    let acked = heads(&mut ann).last().map(|head| head.ack);
    let sent = InputSeq(ann.client.input(&[0; 4]).expect("a seat").0 - 1);
    assert_eq!(acked, Some(sent));
    assert_eq!(count.load(Ordering::Relaxed), sent.0, "each was taken, and once");
    assert_eq!(world.shard.metrics().inputs_dropped, 0);
}

#[test]
fn who_comes_while_joins_wait_is_told_when_to_come_back() {
    let (world, _) = world(Dilation::Never);
    let mut play = Play::new(world);
    play.seconds(800, LATE, 6);
    assert_eq!(scale_q16(&play.ann), TimeSync::REAL_TIME, "this room is never slowed down");
    let mut newcomer = play.world.connect();
    play.world.turn(&mut newcomer);
    newcomer.client.join(Join { room_type: "plain", room: "b", ..Join::default() });
    play.world.turn(&mut newcomer);
    let refused = newcomer.events.iter().find_map(|event| match event {
        ClientEvent::Refused { code, retry_ms, .. } => Some((*code, *retry_ms)),
        _ => None,
    });
    assert_eq!(refused, Some((RefusalCode::ServerFull, 1_000)));
}
