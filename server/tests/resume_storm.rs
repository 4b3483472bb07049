//! Everybody is cut off at once and comes back: 5,000 members, ten times, on a shard without sockets.

mod harness;

use std::time::Duration;

use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::EntityId;
use tickloom_protocol::schema::{ComponentDesc, TopicDesc, WritePolicy};
use tickloom_server::allowance::Allowance;
use tickloom_server::config::Config;
use tickloom_server::room::described::Described;
use tickloom_server::room::description::Description;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::shard::{Shard, ShardConfig};

use harness::{Peer, World};

const ROOMS: usize = 50;
const MEMBERS: usize = 5_000;
const ROUNDS: usize = 10;

/// More than the interval of the rooms, which tick when something changed.
const PAUSE: Duration = Duration::from_millis(200);

fn room_of(number: usize) -> String {
    format!("room-{}", number % ROOMS)
}

/// What a shard holds.
#[derive(PartialEq, Eq, Debug)]
struct Held {
    sessions: usize,
    rooms: usize,
    members: usize,
    away: u64,
    outbox_bytes: u64,
    entities: usize,
}

fn held(world: &mut World) -> Held {
    let stats = world.shard.take_stats();
    let rooms = || world.shard.rooms().iter().map(|(_, room)| room);
    Held {
        sessions: world.shard.sessions().count(),
        rooms: world.shard.rooms().count(),
        members: rooms().map(|room| room.members().len()).sum(),
        away: stats.members_away_count,
        outbox_bytes: stats.outbox_bytes,
        entities: rooms().map(|room| room.state().entities().count()).sum(),
    }
}

/// One member of each room changes something, and says something.
fn stir(world: &mut World, peers: &mut [Peer], round: usize) {
    for peer in &mut peers[..ROOMS] {
        let mut changes = ChangesBuilder::default();
        let value = Value::Int(round as i64);
        changes.prop(peer.component("shared"), EntityId::ROOM, "round", &value);
        peer.client.write(&changes);
        peer.client.publish(peer.topic("event"), &[], &round.to_le_bytes());
        world.turn(peer);
    }
}

/// Every member knows what its room holds, byte for byte.
fn assert_converged(world: &World, peers: &[Peer]) {
    let rooms: Vec<_> = world.shard.rooms().iter().map(|(_, room)| room).collect();
    for room in rooms {
        let mut ours = Vec::new();
        room.state().entities().put_snapshot(View::Room, &mut ours);
        let members = peers.iter().filter(|peer| {
            room.members().get(&peer.member()).is_some_and(|member| member.session() == peer.id)
        });
        let mut count = 0;
        for peer in members {
            let seat = peer.client.seat().expect("a seat");
            let mut theirs = Vec::new();
            seat.replica.entities().put_snapshot(View::Room, &mut theirs);
            assert_eq!(seat.replica.tick(), room.sent());
            assert!(ours == theirs, "a replica is not its room");
            count += 1;
        }
        assert_eq!(count, MEMBERS / ROOMS);
    }
}

#[test]
fn five_thousand_that_are_cut_off_come_back_ten_times_and_leave_nothing_behind() {
    let config = Config::loopback();
    // A small schema: it comes with every one of 55,000 seats.
    let description = Description {
        components: vec![ComponentDesc::props("shared").writable_by(WritePolicy::Members)],
        topics: vec![TopicDesc::new("event")],
        ..Description::default()
    };
    let types = RoomTypes::default().with(Described::new("board", description));
    let shard = Shard::new(ShardConfig {
        allowance: Allowance::UNLIMITED,
        sessions_max: 2 * MEMBERS,
        rooms_max: ROOMS,
        ..ShardConfig::alone(&config, types)
    });
    let mut world = World::of(shard);
    let mut peers: Vec<Peer> = (0..MEMBERS).map(|number| join(&mut world, number)).collect();
    world.pass(PAUSE);
    world.turns(&mut peers);
    let before = held(&mut world);
    assert_eq!((before.sessions, before.members, before.away), (MEMBERS, MEMBERS, 0));
    for round in 1..=ROUNDS {
        // What is said in the last moment is on its way when they are cut off.
        stir(&mut world, &mut peers, 2 * round);
        for peer in &peers {
            world.disconnect(peer);
        }
        world.pass(PAUSE);
        let away = held(&mut world);
        assert_eq!((away.sessions, away.members, away.away), (0, MEMBERS, MEMBERS as u64));
        peers = peers.into_iter().map(|peer| come_back(&mut world, peer)).collect();
        stir(&mut world, &mut peers, 2 * round + 1);
        world.pass(PAUSE);
        world.turns(&mut peers);
        for peer in &mut peers {
            let heard: Vec<_> = peer.heard().into_iter().map(|event| event.body).collect();
            let said = [2 * round, 2 * round + 1].map(|said| said.to_le_bytes());
            assert!(heard.iter().map(|body| &**body).eq(said.iter().map(|said| &said[..])));
            assert_eq!(peer.lost(), 0);
            peer.events = Vec::new();
        }
        assert_converged(&world, &peers);
        assert_eq!(held(&mut world), before, "round {round}");
        world.forget_closed();
    }
    let metrics = world.shard.metrics();
    let comebacks = (MEMBERS * ROUNDS) as u64;
    assert_eq!((metrics.joins, metrics.drops), (MEMBERS as u64, comebacks));
    assert_eq!((metrics.resumes, metrics.resumes_recovered), (comebacks, comebacks));
    assert_eq!((metrics.takeovers, metrics.graces_expired, metrics.resyncs), (0, 0, 0));
}

fn join(world: &mut World, number: usize) -> Peer {
    let mut peer = world.connect();
    let (room_type, name) = ("board", number.to_string());
    let room = room_of(number);
    peer.client.join(Join { room_type, room: &room, name: &name, ..Join::default() });
    world.turn(&mut peer);
    assert_eq!(peer.events, [ClientEvent::Joined]);
    peer.events.clear();
    peer
}

fn come_back(world: &mut World, mut peer: Peer) -> Peer {
    let returning = peer.client.part().expect("a ticket");
    let mut again = world.connect();
    again.client.resume(returning);
    world.turn(&mut again);
    assert_eq!(again.events, [ClientEvent::Joined]);
    assert!(again.client.seat().is_some_and(|seat| seat.is_recovered));
    again.events.clear();
    again
}
