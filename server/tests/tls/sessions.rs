//! Sessions whose connections are encrypted: their whole life, and how it ends.

use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::time::Timestamp;
use tickloom_server::board::Board;
use tickloom_server::config::Config;
use tickloom_server::directory::{Directory, ShardIndex};
use tickloom_server::protocol::ids::RoomKey;
use tickloom_server::room::arena::Arena;
use tickloom_server::room::member::Member;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::NO_SOCKET;
use tickloom_server::shard::{Effect, Shard, ShardConfig, Surroundings};
use tickloom_server::tokens::Secret;

use crate::tls_client::{TlsClient, trusting};
use crate::world::{World, identity};

fn is_closed(event: &ClientEvent, wanted: u16) -> bool {
    matches!(event, ClientEvent::Closed(reason) if reason.code() == wanted)
}

#[test]
fn a_player_joins_plays_and_leaves_whole_and_byte_by_byte() {
    for version in [&TLS12, &TLS13] {
        for piece in [1, usize::MAX] {
            let mut world = World::new();
            let mut line = world.connect(&world.client_config(version));
            world.exchange(&mut line, piece);
            line.client.join(Join { room_type: "arena", room: "a", name: "t", ..Join::default() });
            world.exchange(&mut line, piece);
            assert!(line.events.contains(&ClientEvent::Joined), "{:?}", line.events);
            for _ in 0..10 {
                world.pass(Duration::from_millis(17));
                world.exchange(&mut line, piece);
            }
            let applied = |event: &&ClientEvent| matches!(event, ClientEvent::Applied { .. });
            assert!(line.events.iter().filter(applied).count() >= 9, "{:?}", line.events.len());
            line.client.close();
            world.exchange(&mut line, piece);
            assert!(line.events.iter().any(|event| is_closed(event, 1000)));
            assert!(line.is_shut_down, "nothing follows");
            assert!(line.tls.is_done, "and it was said inside, before");
            world.shard.handle_disconnect(world.now, line.id);
            world.depart(&mut line, piece);
            assert!(line.is_closed);
            world.shard.check_invariants();
            assert_eq!(world.shard.sessions().count(), 0);
        }
    }
}

#[test]
fn who_says_that_nothing_follows_gives_its_seat_back_and_is_answered() {
    let mut world = World::new();
    let mut line = world.join("a");
    line.tls.connection.send_close_notify();
    world.exchange(&mut line, usize::MAX);
    assert!(line.tls.is_done, "it is told the same");
    assert!(line.is_closed, "and there is nothing to wait for");
    world.shard.check_invariants();
    assert_eq!(world.shard.sessions().count(), 0);
}

#[test]
fn a_record_that_was_tampered_with_ends_the_session() {
    let mut world = World::new();
    let mut line = world.join("a");
    line.tls.say(b"anything");
    let mut bytes = line.tls.take_output();
    *bytes.last_mut().expect("a record") ^= 1;
    world.shard.handle_bytes(world.now, line.id, &bytes);
    let alert = world.depart(&mut line, usize::MAX);
    line.tls.read(&alert).expect_err("an alert");
    assert!(line.is_shut_down && !line.is_closed);
    world.shard.check_invariants();
    let rooms = world.shard.rooms().iter();
    let is_kept = rooms.flat_map(|(_, room)| room.members().values()).all(Member::is_away);
    assert!(is_kept, "somebody between the ends may have done it");
    // It stays broken, whatever comes.
    world.shard.handle_bytes(world.now, line.id, &bytes);
    assert!(world.depart(&mut line, usize::MAX).is_empty());
    world.pass(Duration::from_secs(3));
    world.depart(&mut line, usize::MAX);
    assert!(line.is_closed);
    assert_eq!(world.shard.metrics().handshakes_failed, 0, "the handshake went well");
}

#[test]
fn a_stop_tells_who_plays_and_who_is_agreeing_on_keys() {
    let mut world = World::new();
    let (mut player, mut newcomer) = (world.join("a"), world.connect(&world.client_config(&TLS13)));
    let hello = newcomer.tls.take_output();
    world.shard.handle_bytes(world.now, newcomer.id, &hello);
    world.shard.handle_stop(world.now, world.now + Duration::from_secs(10));
    world.exchange(&mut player, usize::MAX);
    assert!(player.events.iter().any(|event| is_closed(event, 1012)), "{:?}", player.events);
    assert!(player.is_shut_down);
    // Its answer waits for keys.
    let down = world.depart(&mut newcomer, usize::MAX);
    newcomer.tls.read(&down).expect("the server's part of the handshake");
    assert!(!newcomer.is_shut_down && newcomer.tls.heard.is_empty());
    world.exchange(&mut newcomer, usize::MAX);
    let answer = format!("{:?}", newcomer.events);
    assert!(answer.contains("503"), "{answer}");
    assert!(newcomer.is_shut_down && newcomer.tls.is_done);
}

/// The bytes behind a `Join` travel as what they say, not as what arrived.
#[test]
fn a_session_takes_its_encryption_to_another_shard() {
    let identity = identity();
    let board = Arc::new(Board::new(2, Timestamp::ZERO, None));
    let directory = Directory::new(2, 7);
    let room_types = RoomTypes::default().with(Arena::new(60));
    let tls = Some(Arc::clone(identity.config()));
    let secret = Secret::new([0; 32]);
    let server = Surroundings { board, directory, room_types, tls, secret };
    let config = |index| ShardConfig::of(&Config::loopback(), &server, ShardIndex(index));
    let mut shards = [0, 1].map(|index| Shard::new(config(index)));
    let owner = |name: &String| directory.shard_of(&RoomKey::parse("arena", name).expect("a key"));
    let mut rooms = (0..).map(|number| format!("room-{number}"));
    let room = rooms.find(|name| owner(name) == ShardIndex(1)).expect("it owns some");

    let now = Timestamp(1_000_000);
    let mut tls = TlsClient::new(&Arc::new(trusting(identity.certificate(), &TLS13)));
    let mut client = tickloom_protocol::client::Client::connect("localhost", "/ws", [7; 16]);
    let (mut at, mut id) = (0, shards[0].handle_accept(now, NO_SOCKET));
    let (mut buffer, mut events) = (vec![0; 64 * 1024], Vec::new());
    for _ in 0..20 {
        tls.say(&client.take_output());
        shards[at].handle_bytes(now, id, &tls.take_output());
        shards[at].handle_timeout(now);
        while let Some(effect) = shards[at].poll_effect() {
            if let Effect::Deliver { to, mail, .. } = effect {
                at = to.0;
                id = shards[at].handle_mail(now, mail).expect("a session");
            }
        }
        while let Some(bytes) = shards[at].outgoing(id, &mut buffer) {
            let sent = bytes.len();
            tls.read(bytes).expect("valid records");
            shards[at].handle_sent(now, id, sent);
        }
        client.handle_bytes(&std::mem::take(&mut tls.heard));
        let before = events.len();
        events.extend(std::iter::from_fn(|| client.poll_event()));
        if events[before..].contains(&ClientEvent::Upgraded) {
            client.join(Join { room_type: "arena", room: &room, name: "t", ..Join::default() });
            // It is behind the join, in the same record.
            client.ping(0);
        }
    }
    assert_eq!(at, 1, "the session is where its room is");
    assert!(events.contains(&ClientEvent::Joined), "{events:?}");
    shards.iter().for_each(Shard::check_invariants);
}
