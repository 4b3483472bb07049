//! A shard alone: no socket, and a clock that is a number.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::{ClientMessage, Input, Join, ResyncReason};
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::ids::{ComponentId, InputSeq, MemberId, Moment, Tick};
use tickloom_protocol::limits::OPAQUE_BYTES_MAX;
use tickloom_protocol::link::{End, Link};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_protocol::time::Timestamp;
use tickloom_server::config::Config;
use tickloom_server::outbox::OutboxLimits;
use tickloom_server::room::arena::Arena;
use tickloom_server::room::failure::FailureRecord;
use tickloom_server::room::logic::{
    Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType,
};
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{NO_SOCKET, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig};

use harness::WIDE;

/// A shard, its time, and what the one connection's socket does.
struct World {
    shard: Shard,
    now: Timestamp,
    id: SessionId,
    /// Bytes the socket still takes.
    window: usize,
    /// What it took.
    taken: Vec<u8>,
    is_closed: bool,
    /// How rooms failed.
    records: Vec<FailureRecord>,
}

impl World {
    fn new(outbox: OutboxLimits) -> Self {
        let room_types = RoomTypes::default().with(Arena::new(20)).with(Hoard).with(Landmine);
        let mut shard = harness::shard(room_types, outbox);
        let now = Timestamp(1_000_000);
        let id = shard.handle_accept(now, NO_SOCKET);
        Self {
            shard,
            now,
            id,
            window: usize::MAX,
            taken: Vec::new(),
            is_closed: false,
            records: Vec::new(),
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.shard.handle_bytes(self.now, self.id, bytes);
        self.obey();
    }

    /// Time passes in the steps the shard asks for.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.shard.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.shard.handle_timeout(self.now);
            self.obey();
        }
        self.now = end;
    }

    fn obey(&mut self) {
        loop {
            while let Some(id) = self.shard.poll_flush() {
                let Some(outbox) = self.shard.outbox(id) else { continue };
                let mut buffer = vec![0; outbox.bytes().min(self.window)];
                let sent = outbox.copy_front(&mut buffer);
                if sent == 0 {
                    continue;
                }
                if id == self.id {
                    self.window -= sent;
                    self.taken.extend_from_slice(&buffer);
                }
                self.shard.handle_sent(self.now, id, sent);
            }
            match self.shard.poll_effect() {
                None => return,
                Some(Effect::Close(_)) => self.is_closed = true,
                Some(Effect::ShutDown(id)) => self.shard.handle_disconnect(self.now, id),
                // Bytes may always come earlier than they are asked for.
                Some(Effect::Read(..)) => {}
                Some(Effect::Recording(_)) => unreachable!("nothing is recorded"),
                Some(Effect::Record(record)) => self.records.push(*record),
                Some(Effect::Deliver { .. }) => unreachable!("there is one shard"),
                Some(Effect::HandOver { .. }) => unreachable!("everybody asks for WebSocket"),
            }
        }
    }

    /// A client that has joined a room and read nothing of it yet.
    fn join(&mut self, room_type: &str) -> Client {
        let mut client = Client::connect("test", "/ws", [0; 16]);
        self.send(&client.take_output());
        client.handle_bytes(&std::mem::take(&mut self.taken));
        assert_eq!(client.poll_event(), Some(ClientEvent::Upgraded));
        client.join(Join { room_type, room: "a", name: "x", ..Join::default() });
        self.send(&client.take_output());
        client
    }

    /// Bytes queued for the connection.
    fn queued(&self) -> usize {
        self.shard.outbox(self.id).map_or(0, |outbox| outbox.bytes())
    }
}

/// A room whose state grows without end.
struct Hoard;

impl RoomType for Hoard {
    fn name(&self) -> &str {
        "hoard"
    }

    fn spec(&self) -> RoomSpec {
        let things = ComponentDesc::opaque("thing", "x/y", OPAQUE_BYTES_MAX);
        let schema = RoomSchema::new(vec![things], vec![]).expect("schema");
        RoomSpec { members_max: 4, entities_max: 1_000, ..RoomSpec::at_rate(20, Arc::new(schema)) }
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(Self)
    }
}

impl RoomLogic for Hoard {
    fn on_join(&mut self, _: &mut Context<'_>, _: &Joiner<'_>) -> Result<(), Denial> {
        Ok(())
    }

    fn on_input(&mut self, _: &mut Context<'_>, _: MemberId, _: &[u8], _: Freshness) {}

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        for _ in 0..30 {
            let thing = room.state_mut().spawn(MemberId::SERVER).expect("a place");
            room.state_mut().set_opaque(ComponentId(0), thing, &[7; OPAQUE_BYTES_MAX]);
        }
        Next::Tick
    }
}

/// A room that panics when told to.
struct Landmine;

impl RoomType for Landmine {
    fn name(&self) -> &str {
        "landmine"
    }

    fn spec(&self) -> RoomSpec {
        let input = vec![FieldDesc::new("step", FieldType::U8)];
        let schema = RoomSchema::new(vec![], input).expect("schema");
        RoomSpec { members_max: 4, entities_max: 10, ..RoomSpec::at_rate(20, Arc::new(schema)) }
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(Self)
    }
}

impl RoomLogic for Landmine {
    fn on_join(&mut self, _: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        assert_ne!(joiner.options, b"boom", "told to");
        Ok(())
    }

    fn on_input(&mut self, _: &mut Context<'_>, _: MemberId, row: &[u8], _: Freshness) {
        assert_ne!(row, [66], "stepped on");
    }

    fn on_tick(&mut self, _: &mut Context<'_>) -> Next {
        Next::Tick
    }

    fn on_leave(&mut self, _: &mut Context<'_>, member: MemberId) {
        assert_ne!(member, MemberId(2), "stumbled over");
    }
}

fn close_code(client: &mut Client, bytes: &[u8]) -> Option<u16> {
    client.handle_bytes(bytes);
    let events = std::iter::from_fn(|| client.poll_event());
    let closed = events.filter_map(|event| match event {
        ClientEvent::Closed(reason) => Some(reason.code()),
        ClientEvent::Broken(error) => panic!("{error}"),
        _ => None,
    });
    closed.last()
}

#[test]
fn a_member_that_never_reads_holds_a_bounded_queue_and_is_closed() {
    let limits = OutboxLimits { soft_bytes_max: 8 << 10, hard_bytes_max: 64 << 10 };
    let mut world = World::new(limits);
    let mut client = world.join("arena");
    world.window = 0;
    let row = [127, 127, 0, 0];
    for second in 0..60 {
        // It talks all the time, so silence is not what ends it.
        let read = std::mem::take(&mut world.taken);
        client.handle_bytes(&read);
        client.input(&row);
        world.send(&client.take_output());
        world.pass(Duration::from_secs(1));
        assert!(world.queued() < 10 << 10, "{} bytes after {second} s", world.queued());
        if world.is_closed {
            assert!(second > 20, "it had {second} s");
            return;
        }
    }
    panic!("it is never closed");
}

#[test]
fn a_member_that_reads_late_catches_up_and_stays() {
    let limits = OutboxLimits { soft_bytes_max: 8 << 10, hard_bytes_max: 64 << 10 };
    let mut world = World::new(limits);
    let mut client = world.join("arena");
    for round in 0..10 {
        world.window = 0;
        world.pass(Duration::from_secs(5));
        world.window = usize::MAX;
        world.shard.list_for_flush(world.id);
        world.pass(Duration::from_millis(100));
        let bytes = std::mem::take(&mut world.taken);
        assert_eq!(close_code(&mut client, &bytes), None, "round {round}");
        world.send(&client.take_output());
        let seat = client.seat().expect("joined");
        let (_, room) = world.shard.rooms().iter().next().expect("one room");
        assert_eq!(seat.replica.tick(), room.sent(), "round {round}: it has the newest tick");
        // It answers, or silence would end it.
        client.input(&[127, 127, 0, 0]);
        world.send(&client.take_output());
    }
    let counts = world.shard.broadcast_counts();
    assert!(counts.catch_ups >= 10, "{counts:?}");
    assert_eq!(counts.snapshots, 1, "{counts:?}");
}

#[test]
fn a_member_with_an_answer_queued_at_each_tick_gets_each_state() {
    // The story: members of a room are read just before it ticks, so the answer to a ping stood in
    // the queue whenever state was to be sent. The queue never counted as empty then, and a second
    // of such ticks passed over a member that reads everything.
    let mut world = World::new(WIDE);
    let mut client = world.join("arena");
    world.pass(Duration::from_millis(100));
    let before = world.shard.broadcast_counts();
    for tick in 0..60 {
        client.ping(tick + 1);
        world.now = world.shard.rooms().next_due().expect("an arena ticks");
        world.shard.handle_bytes(world.now, world.id, &client.take_output());
        world.shard.handle_timeout(world.now);
        world.obey();
    }
    let after = world.shard.broadcast_counts();
    assert_eq!((after.deltas - before.deltas, after.skipped), (60, 0), "{after:?}");
}

#[test]
fn stats_tell_who_lags_how_far_and_what_is_queued() {
    let limits = OutboxLimits { soft_bytes_max: 8 << 10, hard_bytes_max: 64 << 10 };
    let mut world = World::new(limits);
    world.join("arena");
    world.pass(Duration::from_millis(500));
    let stats = world.shard.take_stats();
    assert_eq!((stats.sessions_count, stats.rooms_count, stats.members_count), (1, 1, 1));
    assert_eq!((stats.accepted, stats.upgrades, stats.joins, stats.ticks), (1, 1, 1, 10));
    assert_eq!(
        (stats.outbox_bytes, stats.members_lagging_count, stats.staleness_us_max),
        (0, 0, 0)
    );
    world.window = 0;
    world.pass(Duration::from_secs(5));
    let lagging = world.shard.take_stats();
    assert_eq!(lagging.outbox_bytes, world.queued() as u64);
    // A second of states, though many more bytes would fit.
    assert!((2 << 10..8 << 10).contains(&lagging.outbox_bytes), "{lagging:?}");
    assert_eq!(lagging.members_lagging_count, 1);
    assert!((1_000_000..5_000_000).contains(&lagging.staleness_us_max), "{lagging:?}");
    world.pass(Duration::from_secs(1));
    let later = world.shard.take_stats();
    assert_eq!(later.staleness_us_max, lagging.staleness_us_max + 1_000_000, "it ages");
    world.window = usize::MAX;
    world.shard.list_for_flush(world.id);
    world.pass(Duration::from_millis(100));
    let stats = world.shard.take_stats();
    assert_eq!(
        (stats.outbox_bytes, stats.members_lagging_count, stats.staleness_us_max),
        (0, 0, 0)
    );
}

#[test]
fn a_long_silence_does_not_make_the_next_answer_a_stall() {
    let mut world = World::new(WIDE);
    world.send(&ClientKey::new([0; 16]).request("test", "/echo"));
    let (mut link, mut frames) = (Link::new(End::Client), Vec::new());
    // Nothing is said for longer than a stall may last, but pings are answered.
    for _ in 0..3 {
        world.pass(Duration::from_secs(24));
        link.send_ping(&mut frames);
        world.send(&std::mem::take(&mut frames));
    }
    world.window = 0;
    link.send_binary(vec![1; 1000].into(), &mut frames);
    world.send(&frames);
    world.pass(Duration::from_secs(2));
    assert!(!world.is_closed, "two seconds are no stall");
    world.pass(Duration::from_secs(60));
    assert!(world.is_closed, "a minute is");
}

#[test]
fn an_echo_is_pinged_after_its_silence_however_long_a_join_may_take() {
    // The story: nobody looked at an echo before a join would have been overdue, so a proxy that
    // bears less silence than that cut it.
    let mut config = Config::loopback();
    config.patience.ping = Duration::from_secs(1);
    config.patience.pong = Duration::from_millis(900);
    let shard = Shard::new(ShardConfig::alone(&config, RoomTypes::default()));
    let mut world = harness::World::of(shard);
    let id = world.accept(NO_SOCKET);
    world.say(id, &ClientKey::new([0; 16]).request("test", "/echo"));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.say(id, &[]), [0x89, 0], "a ping");
}

#[test]
fn a_room_that_outgrows_a_message_fails_alone() {
    let mut world = World::new(OutboxLimits { soft_bytes_max: 16 << 20, hard_bytes_max: 32 << 20 });
    let mut client = world.join("hoard");
    // Two megabytes a tick are fine as deltas. Who needs a snapshot of six is out of luck.
    world.pass(Duration::from_millis(160));
    let bytes = std::mem::take(&mut world.taken);
    assert_eq!(close_code(&mut client, &bytes), None);
    client.send(ClientMessage::Resync { have_tick: Tick(3), reason: ResyncReason::Gap });
    world.send(&client.take_output());
    world.pass(Duration::from_millis(100));
    let bytes = std::mem::take(&mut world.taken);
    assert_eq!(close_code(&mut client, &bytes), Some(1011));
    assert_eq!(world.shard.rooms().count(), 0);
    assert_eq!(world.shard.metrics().rooms_failed, 1);
}

#[test]
fn bad_messages_are_closed_with_the_code_of_their_fault_and_unknown_ones_are_counted() {
    let long = "x".repeat(100);
    let join = Join { room_type: "arena", room: "a", name: &long, ..Join::default() };
    let input = |row: &'static [u8]| {
        ClientMessage::Input(Input {
            seq: InputSeq(1),
            applied_tick: Tick(0),
            seen: Moment::ZERO,
            row,
        })
    };
    let rows = [
        ("a kind of the future", ClientMessage::Unknown(200), None),
        ("a ping", ClientMessage::Ping { client_us: 1 }, None),
        ("a name that is too long", ClientMessage::Join(join), Some((1008, "too-long"))),
        ("a short row", input(&[127, 127, 0]), Some((1008, "bad-input"))),
        ("a long row", input(&[127, 127, 0, 0, 0]), Some((1008, "bad-input"))),
        ("a row beyond its range", input(&[255, 127, 0, 0]), Some((1007, "out-of-range"))),
        ("a good row", input(&[127, 127, 0, 0]), None),
    ];
    for (name, message, expected) in rows {
        let mut world = World::new(WIDE);
        let mut client = world.join("arena");
        client.send(message);
        world.send(&client.take_output());
        client.handle_bytes(&std::mem::take(&mut world.taken));
        let closed = std::iter::from_fn(|| client.poll_event()).find_map(|event| match event {
            ClientEvent::Closed(reason) => Some(reason),
            _ => None,
        });
        match (closed, expected) {
            (None, None) => {}
            (Some(reason), Some((code, slug))) => {
                assert_eq!(reason.code(), code, "{name}: {reason}");
                assert!(reason.reason().starts_with(slug), "{name}: {reason}");
            }
            (closed, expected) => panic!("{name}: {closed:?}, expected {expected:?}"),
        }
        let unknown = u64::from(matches!(message, ClientMessage::Unknown(_)));
        assert_eq!(world.shard.metrics().messages_unknown, unknown, "{name}");
    }
    // Not FlatBuffers at all, and text.
    for (frame, code) in
        [(&[0x82, 0x84, 0, 0, 0, 0, 1, 2, 3, 4][..], 1007), (&[0x81, 0x80, 0, 0, 0, 0], 1003)]
    {
        let mut world = World::new(WIDE);
        let mut client = world.join("arena");
        world.send(frame);
        let bytes = std::mem::take(&mut world.taken);
        assert_eq!(close_code(&mut client, &bytes), Some(code), "{frame:?}");
    }
}

#[test]
fn a_panic_in_one_room_ends_that_room_and_three_hold_its_type_back() {
    let mut world = World::new(WIDE);
    // Somebody plays elsewhere all along.
    let bystander = world.shard.handle_accept(world.now, NO_SOCKET);
    let mut other = Client::connect("test", "/ws", [1; 16]);
    world.shard.handle_bytes(world.now, bystander, &other.take_output());
    for round in 0..3 {
        world.id = world.shard.handle_accept(world.now, NO_SOCKET);
        world.taken.clear();
        let mut client = world.join("landmine");
        world.pass(Duration::from_millis(100));
        let bytes = std::mem::take(&mut world.taken);
        assert_eq!(close_code(&mut client, &bytes), None, "round {round}");
        client.input(&[66]);
        world.send(&client.take_output());
        world.pass(Duration::from_millis(100));
        let bytes = std::mem::take(&mut world.taken);
        assert_eq!(close_code(&mut client, &bytes), Some(1011), "round {round}");
        assert_eq!(world.shard.rooms().count(), 0, "round {round}");
    }
    assert!(world.shard.sessions().get(bystander).is_some(), "nobody else noticed");
    assert_eq!(world.shard.metrics().rooms_failed, 3);
    assert_eq!(world.records.len(), 3);
    for record in &world.records {
        assert_eq!(record.room.to_string(), "landmine/a");
        assert_eq!((record.members_count, record.tick.0 > 0), (1, true), "{record:?}");
        let panicked = &record.panicked;
        assert_eq!((panicked.hook, panicked.member), ("on_input", Some(MemberId(1))));
        assert_eq!((&*panicked.bytes, panicked.bytes_count), (&[66][..], 1));
        assert!(panicked.message.contains("stepped on"), "{panicked}");
    }
    let [first, second, _] = &world.records[..] else { unreachable!("three") };
    assert_ne!(first.seed, second.seed, "each room has its own");
    assert!(world.shard.failures().eq(&world.records), "and the shard keeps them");

    world.id = world.shard.handle_accept(world.now, NO_SOCKET);
    world.taken.clear();
    let mut client = world.join("landmine");
    client.handle_bytes(&std::mem::take(&mut world.taken));
    let refused = client.poll_event();
    assert!(matches!(refused, Some(ClientEvent::Refused { .. })), "{refused:?}");
    client.join(Join { room_type: "arena", room: "a", name: "x", ..Join::default() });
    world.send(&client.take_output());
    client.handle_bytes(&std::mem::take(&mut world.taken));
    assert_eq!(client.poll_event(), Some(ClientEvent::Joined), "other types are not held back");
}

#[test]
fn a_panic_while_somebody_joins_refuses_them_and_ends_the_room() {
    let mut world = World::new(WIDE);
    let mut seated = world.join("landmine");
    let first = world.id;
    seated.handle_bytes(&std::mem::take(&mut world.taken));
    assert_eq!(seated.poll_event(), Some(ClientEvent::Joined));

    world.id = world.shard.handle_accept(world.now, NO_SOCKET);
    let mut client = Client::connect("test", "/ws", [2; 16]);
    world.send(&client.take_output());
    client.handle_bytes(&std::mem::take(&mut world.taken));
    assert_eq!(client.poll_event(), Some(ClientEvent::Upgraded));
    client.join(Join {
        room_type: "landmine",
        room: "a",
        name: "x",
        options: b"boom",
        ..Join::default()
    });
    world.send(&client.take_output());
    assert_eq!(world.shard.rooms().count(), 0);
    assert_eq!(world.shard.metrics().rooms_failed, 1);
    assert_eq!(world.shard.metrics().closes.get(&1011), Some(&1), "{first:?} is told");
    assert!(world.shard.sessions().get(world.id).is_some(), "the joiner may join elsewhere");
    world.shard.check_invariants();
    let [record] = &world.records[..] else { panic!("{:?}", world.records) };
    let panicked = &record.panicked;
    assert_eq!((panicked.hook, &*panicked.name, &*panicked.bytes), ("on_join", "x", &b"boom"[..]));
}

/// The panic of a room whose last member had left was found by nobody: it has no tick, and after a
/// while it was dropped like any other empty room.
#[test]
fn a_panic_while_the_last_member_leaves_fails_the_room_at_once() {
    let mut world = World::new(WIDE);
    let mut first = world.join("landmine");
    first.leave();
    world.send(&first.take_output());
    assert_eq!(world.shard.metrics().rooms_failed, 0, "the first member may go");
    world.id = world.shard.handle_accept(world.now, NO_SOCKET);
    world.taken.clear();
    let mut second = world.join("landmine");
    second.leave();
    world.send(&second.take_output());
    assert_eq!((world.shard.rooms().count(), world.shard.metrics().rooms_failed), (0, 1));
    assert!(!world.is_closed, "whoever left keeps the connection");
    let [record] = &world.records[..] else { panic!("{:?}", world.records) };
    assert_eq!((record.panicked.hook, record.panicked.member), ("on_leave", Some(MemberId(2))));
    world.shard.check_invariants();
}

#[test]
fn whoever_gets_a_hard_limit_full_of_bytes_is_closed_at_once() {
    let mut world = World::new(WIDE);
    world.send(&ClientKey::new([0; 16]).request("test", "/echo"));
    world.window = 0;
    let (mut link, mut frames) = (Link::new(End::Client), Vec::new());
    link.send_binary(vec![1; 60_000].into(), &mut frames);
    let mut messages = 0;
    while !world.is_closed && messages < 100 {
        world.send(&frames);
        frames.clear();
        link.send_binary(vec![1; 60_000].into(), &mut frames);
        messages += 1;
        if world.queued() > WIDE.hard_bytes_max {
            world.pass(Duration::from_secs(3));
        }
    }
    assert!((17..20).contains(&messages), "{messages} messages");
    assert_eq!(world.shard.metrics().closes.get(&1013), Some(&1));
}
