//! Rooms that live on another shard than the connection that looks for them.

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::{Join, JoinMode};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;
use tickloom_server::board::Board;
use tickloom_server::config::Config;
use tickloom_server::directory::{Directory, ShardIndex};
use tickloom_server::session::{NO_SOCKET, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig, Surroundings};
use tickloom_server::tokens::Secret;

use std::sync::Arc;

use crate::{duel, properties, room_types, text};

/// Shards of one server, and a clock that stands still.
struct Server {
    shards: Vec<Shard>,
    now: Timestamp,
    /// Times a session moved.
    hops: usize,
}

/// A client and where its session is.
struct Guest {
    client: Client,
    shard: usize,
    id: SessionId,
}

impl Server {
    fn new(shards_count: usize) -> Self {
        let config = Config::loopback();
        let server = Surroundings {
            board: Arc::new(Board::new(shards_count, Timestamp::ZERO, None)),
            directory: Directory::new(shards_count, 5),
            room_types: room_types(),
            tls: None,
            secret: Secret::new([9; 32]),
        };
        let shard = |index| Shard::new(ShardConfig::of(&config, &server, ShardIndex(index)));
        let shards = (0..shards_count).map(shard).collect();
        Self { shards, now: Timestamp(1_000_000), hops: 0 }
    }

    fn publish(&mut self) {
        for shard in &mut self.shards {
            shard.publish_listing(self.now);
        }
    }

    fn connect(&mut self, shard: usize) -> Guest {
        let id = self.shards[shard].handle_accept(self.now, NO_SOCKET);
        let mut guest = Guest { client: Client::connect("test", "/ws", [1; 16]), shard, id };
        assert_eq!(self.turn(&mut guest), [ClientEvent::Upgraded]);
        guest
    }

    /// What the client says arrives wherever its session is, and what it is told comes back.
    fn turn(&mut self, guest: &mut Guest) -> Vec<ClientEvent> {
        let output = guest.client.take_output();
        self.shards[guest.shard].handle_bytes(self.now, guest.id, &output);
        while let Some(effect) = self.shards[guest.shard].poll_effect() {
            if let Effect::Deliver { socket, to, mail } = effect {
                assert_eq!(socket, guest.id);
                self.hops += 1;
                assert!(self.hops < 1_000, "a session moves for ever");
                // Effects of the shard it comes to are of this session alone: nobody else acts.
                guest.id = self.shards[to.0].handle_mail(self.now, mail).expect("a session");
                guest.shard = to.0;
            }
        }
        let shard = &mut self.shards[guest.shard];
        let mut bytes = vec![0; shard.outbox(guest.id).map_or(0, |outbox| outbox.bytes())];
        if let Some(outbox) = shard.outbox(guest.id) {
            let sent = outbox.copy_front(&mut bytes);
            shard.handle_sent(self.now, guest.id, sent);
        }
        guest.client.handle_bytes(&bytes);
        self.shards.iter().for_each(Shard::check_invariants);
        std::iter::from_fn(|| guest.client.poll_event()).collect()
    }

    fn ask(&mut self, guest: &mut Guest, join: Join<'_>) -> Result<String, RefusalCode> {
        guest.client.join(join);
        let events = self.turn(guest);
        let answer = events.iter().find_map(|event| match event {
            ClientEvent::Joined => Some(Ok(guest.client.seat().expect("a seat").room.to_string())),
            ClientEvent::Refused { code, .. } => Some(Err(*code)),
            _ => None,
        });
        answer.unwrap_or_else(|| panic!("no answer in {events:?}"))
    }

    fn rooms_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.rooms().count()).sum()
    }
}

#[test]
fn a_filter_finds_the_room_that_suits_on_another_shard() {
    let mut server = Server::new(2);
    let mut hosts: Vec<Guest> = (0..12).map(|_| server.connect(0)).collect();
    let mut homes = Vec::new();
    for (number, host) in hosts.iter_mut().enumerate() {
        let level = properties(&[("level", Value::Int(number as i64)), ("mode", text("duel"))]);
        let name = format!("room-{number}");
        assert!(server.ask(host, Join { metadata: &level, ..duel(&name) }).is_ok());
        homes.push(host.shard);
    }
    assert!(homes.contains(&0) && homes.contains(&1), "rooms of both shards: {homes:?}");
    server.publish();
    for (number, home) in homes.into_iter().enumerate() {
        let filter = properties(&[("level", Value::Int(number as i64))]);
        let mut guest = server.connect(1 - home);
        let room = server.ask(&mut guest, Join { filter: &filter, ..duel("") });
        assert_eq!(room, Ok(format!("room-{number}")));
        assert_eq!(guest.shard, home, "it moved there");
    }
    assert_eq!(server.rooms_count(), 12);
}

#[test]
fn a_stale_listing_costs_a_few_hops_and_then_a_room_is_made() {
    let mut server = Server::new(4);
    let mut hosts = Vec::new();
    for number in 0..12 {
        let mut host = server.connect(number % 4);
        server.ask(&mut host, duel(&format!("room-{number}"))).expect("a seat");
        hosts.push(host);
    }
    server.publish();
    // Every room is full by now, which no listing says yet.
    for (number, host) in hosts.iter_mut().enumerate() {
        let mut last = server.connect(host.shard);
        server.ask(&mut last, duel(&format!("room-{number}"))).expect("the last seat");
        drop(last);
    }
    let rooms_before = server.rooms_count();
    server.hops = 0;
    let mut late = server.connect(0);
    let room = server.ask(&mut late, duel("")).expect("a seat");
    assert_eq!(room.len(), 6, "a new room: {room}");
    assert!((1..=3).contains(&server.hops), "{} hops", server.hops);
    assert_eq!(server.rooms_count(), rooms_before + 1);
}

#[test]
fn a_code_leads_to_its_room_from_every_shard() {
    let mut server = Server::new(3);
    for shard in 0..3 {
        let mut host = server.connect(shard);
        let join = Join { mode: JoinMode::Create, ..duel("") };
        let code = server.ask(&mut host, join).expect("a seat");
        assert_eq!(host.shard, shard, "who makes a room stays where it is");
        for from in 0..3 {
            let mut guest = server.connect(from);
            let written = code.to_lowercase();
            let join = Join { mode: JoinMode::Join, ..duel(&written) };
            let answer = server.ask(&mut guest, join);
            assert_eq!(answer, Ok(code.clone()), "from shard {from}");
            assert_eq!(guest.shard, shard);
            guest.client.leave();
            server.turn(&mut guest);
        }
    }
    let mut guest = server.connect(0);
    let nowhere = Join { mode: JoinMode::Join, ..duel("zzzzzz") };
    assert_eq!(server.ask(&mut guest, nowhere), Err(RefusalCode::UnknownRoom));
}
