//! Clients that send more than they may: read no faster than that, and closed when far ahead.

use std::collections::VecDeque;
use std::time::Duration;

use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage, Join};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::link::{End, Link};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::allowance::Allowance;
use tickloom_server::rate::Rate;
use tickloom_server::session::Reads;

use crate::harness::{Peer, World};
use crate::heads::world;

const ALLOWANCE: Allowance = Allowance {
    messages: Some(Rate::new(100, 50)),
    bytes: Some(Rate::new(10_000, 20_000)),
    controls: Some(Rate::new(10, 20)),
    lead_max: Duration::from_secs(10),
    rooms_max: Some(2),
};

/// A message that is answered, as a frame.
pub fn ask(number: u64) -> Vec<u8> {
    let payload =
        ClientEncoder::default().encode(ClientMessage::Ping { client_us: number }).to_vec();
    let mut frame = Vec::new();
    Link::new(End::Client).send_binary(payload.into(), &mut frame);
    frame
}

fn ping() -> Vec<u8> {
    vec![0x89, 0x80, 0, 0, 0, 0]
}

/// Frames on their way to the server, of which it reads one at a time and only when it wants to.
struct Line {
    peer: Peer,
    under_way: VecDeque<Vec<u8>>,
}

impl Line {
    fn new(peer: Peer) -> Self {
        Self { peer, under_way: VecDeque::new() }
    }

    fn arrive(&mut self, world: &mut World) {
        while world.reads(self.peer.id) != Reads::Later
            && let Some(frame) = self.under_way.pop_front()
        {
            world.send(&self.peer, &frame);
        }
        world.read(&mut self.peer);
    }

    fn answers(&self) -> usize {
        let is_answer = |event: &&ClientEvent| matches!(event, ClientEvent::TimeSync(_));
        self.peer.events.iter().filter(is_answer).count()
    }
}

fn closed_for(peer: &Peer) -> Option<&str> {
    peer.closed().map(|reason| reason.reason().split(':').next().unwrap_or_default())
}

#[test]
fn who_sends_too_fast_is_read_at_its_rate_and_nothing_is_lost() {
    // With a seat in a room that ticks often it is read on the room's turn, otherwise when
    // something arrives.
    for has_seat in [false, true] {
        let mut world = world(|config| {
            config.allowance = ALLOWANCE;
            config.patience.join = Duration::from_secs(100);
        });
        let peer = if has_seat { world.join("arena", "fast") } else { world.connect() };
        let mut line = Line::new(peer);
        line.under_way = (1..=1_050).map(ask).collect();
        for second in 0..10 {
            for _ in 0..100 {
                line.arrive(&mut world);
                world.pass(Duration::from_millis(10));
            }
            let (answered, expected) = (line.answers(), 50 + 100 * (second + 1));
            assert!(answered.abs_diff(expected) <= 3, "{answered} after second {second}");
        }
        line.arrive(&mut world);
        world.pass(Duration::from_secs(1));
        line.arrive(&mut world);
        assert_eq!((line.answers(), closed_for(&line.peer)), (1_050, None));
        let metrics = world.shard.metrics();
        assert!(metrics.pauses > 500, "{}", metrics.pauses);
        assert_eq!(metrics.rate_limited, 0);
        assert_ne!(world.reads(line.peer.id), Reads::Later, "it is heard again");
    }
}

#[test]
fn a_pause_is_not_the_clients_silence() {
    let mut world = world(|config| {
        config.allowance = ALLOWANCE;
        config.patience.ping = Duration::from_secs(2);
        config.patience.pong = Duration::from_secs(1);
    });
    let mut peer = world.join("arena", "fast");
    // With its join it is nine seconds ahead, for which it is not read.
    world.send(&peer, &(0..949).flat_map(ask).collect::<Vec<_>>());
    for _ in 0..90 {
        world.pass(Duration::from_millis(100));
        assert_eq!(
            world.reads(peer.id) == Reads::Later,
            world.now.0 < 10_000_000,
            "{:?}",
            world.now
        );
        world.read(&mut peer);
        assert_eq!(closed_for(&peer), None, "at {:?}", world.now);
    }
    // From here on its silence counts again.
    world.pass(Duration::from_secs(4));
    world.read(&mut peer);
    assert_eq!(closed_for(&peer), Some("ping-timeout"));
}

#[test]
fn floods_are_cut_while_honest_players_play_on() {
    let flood = |frame: Vec<u8>| frame.repeat((64 << 10) / frame.len());
    let big = {
        let mut frame = Vec::new();
        Link::new(End::Client).send_binary(vec![0; 60_000].into(), &mut frame);
        frame
    };
    for (name, bytes, messages_max) in [
        ("pings", flood(ping()), 0),
        ("pongs", flood(vec![0x8a, 0x80, 0, 0, 0, 0]), 0),
        ("messages", flood(ask(1)), 1_100),
        ("bytes", big.repeat(3), 3),
    ] {
        let mut world = world(|config| config.allowance = ALLOWANCE);
        let mut honest = Line::new(world.join("arena", "honest"));
        let mut hostile: Vec<Peer> = (0..100).map(|_| world.connect()).collect();
        let before = world.shard.metrics().messages;
        let mut numbers = 1..;
        for _ in 0..40 {
            for peer in &mut hostile {
                if world.reads(peer.id) != Reads::Later && !world.is_closed(peer) {
                    world.send(peer, &bytes);
                    world.read(peer);
                }
            }
            honest.under_way.push_back(ask(numbers.next().expect("endless")));
            honest.arrive(&mut world);
            world.pass(Duration::from_millis(50));
        }
        for peer in &mut hostile {
            world.read(peer);
            let slug = closed_for(peer);
            // What is no message at all is closed for that.
            assert!(matches!(slug, Some("rate-limited" | "malformed")), "{name}: {slug:?}");
        }
        let metrics = world.shard.metrics();
        let messages = (metrics.messages - before - 40) / 100;
        assert!(messages <= messages_max, "{name}: {messages} of each were looked at");
        assert!(name == "bytes" || metrics.rate_limited == 100, "{name}: {}", metrics.rate_limited);
        assert_eq!((honest.answers(), closed_for(&honest.peer)), (40, None), "{name}");
        assert_eq!((metrics.ticks_overrun, metrics.slips), (0, 0), "{name}");
    }
}

#[test]
fn one_reason_to_close_is_written_for_people() {
    let mut world = world(|config| config.allowance = ALLOWANCE);
    let mut peer = world.connect();
    world.send(&peer, &ping().repeat(200));
    world.read(&mut peer);
    assert_eq!(peer.closed(), Some(&CloseReason::RATE_LIMITED));
    assert_eq!(world.reads(peer.id), Reads::OnArrival, "its end is looked for");
}

#[test]
fn without_limits_nobody_is_paused() {
    let mut world = world(|config| config.allowance = Allowance::UNLIMITED);
    let mut line = Line::new(world.connect());
    line.under_way = (1..=5_000).map(ask).collect();
    line.arrive(&mut world);
    world.send(&line.peer, &ping().repeat(10_000));
    assert_eq!((line.answers(), world.shard.metrics().pauses), (5_000, 0));
}

#[test]
fn the_echo_endpoint_is_for_measuring_and_has_no_rates() {
    let mut world = world(|config| config.allowance = ALLOWANCE);
    let id = world.accept(tickloom_server::session::NO_SOCKET);
    world.say(id, &crate::heads::request("/echo", ""));
    for _ in 0..100 {
        let echoed = world.say(id, &ping().repeat(100));
        assert_eq!(echoed, [0x8a, 0].repeat(100));
    }
    assert_eq!(world.shard.metrics().pauses, 0);
}

#[test]
fn a_connection_makes_so_many_rooms_and_no_more() {
    let mut world = world(|config| config.allowance = ALLOWANCE);
    let mut maker = world.connect();
    let mut other = world.connect();
    let join = |room| Join { room_type: "state", room, name: "x", ..Join::default() };
    let mut outcomes = Vec::new();
    for room in ["a", "b", "c"] {
        maker.client.join(join(room));
        world.turn(&mut maker);
        outcomes.push(maker.events.remove(0));
        maker.client.leave();
        world.turn(&mut maker);
        maker.events.clear();
    }
    assert_eq!(outcomes[..2], [ClientEvent::Joined, ClientEvent::Joined]);
    let is_refused = matches!(outcomes[2], ClientEvent::Refused { code: RefusalCode::Denied, .. });
    assert!(is_refused, "{outcomes:?}");
    // Rooms that are there are open to it, and others may still make some.
    other.client.join(join("c"));
    world.turn(&mut other);
    assert_eq!(other.events[0], ClientEvent::Joined);
    maker.client.join(join("c"));
    world.turn(&mut maker);
    assert_eq!(maker.events[0], ClientEvent::Joined);
    assert_eq!(world.shard.metrics().shed(tickloom_server::metrics::Shed::RoomMakers), 1);
}
