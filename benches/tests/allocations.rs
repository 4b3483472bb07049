//! What a shard allocates while rooms are played and talked in and nobody comes or goes.
//!
//! An allocation costs some 20 ns, a tenth of what is ours in a client's tick, and it is where
//! memory that grows for ever begins. The count is exact, so it is a test and not a benchmark.

use std::time::Duration;

use allocation_counter::measure;
use tickloom_benches::rooms::Steering;
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::{ClientMessage, Join, Publish, Recipients};
use tickloom_protocol::ids::{OpId, TopicId};
use tickloom_protocol::time::Timestamp;
use tickloom_server::config::Config;
use tickloom_server::rooms::built_in_types;
use tickloom_server::session::{NO_SOCKET, Patience, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig};

/// Until the queues of the room are as long as they get.
const WARM_UP_TURNS: usize = 2_000;
const TURNS: usize = 1_000;

/// A shard whose edge is memory, and the members of its only room.
struct World {
    shard: Shard,
    now: Timestamp,
    members: Vec<Peer>,
    /// What an edge has for its writes.
    write_buffer: Box<[u8]>,
}

struct Peer {
    session: SessionId,
    client: Client,
    /// What the shard sent and the client has not read. Never grows in a measured turn.
    inbound: Vec<u8>,
    /// What the client sent and the shard has not read.
    outbound: Vec<u8>,
    /// Events it heard.
    heard: usize,
}

impl World {
    fn new(room_type: &str, members_count: usize) -> Self {
        let config = Config::loopback();
        let shard = Shard::new(ShardConfig {
            // A ping moves its session in the tree of deadlines, whose nodes come and go.
            patience: Patience { ping: Duration::from_secs(3_600), ..config.patience },
            ..ShardConfig::alone(&config, built_in_types(&config))
        });
        let mut world = Self {
            shard,
            now: Timestamp(1_000_000),
            members: Vec::new(),
            write_buffer: vec![0; 64 * 1024].into(),
        };
        for index in 0..members_count {
            let session = world.shard.handle_accept(world.now, NO_SOCKET);
            let mut client = Client::connect("test", "/ws", [index as u8; 16]);
            let outbound = client.take_output();
            let inbound = Vec::with_capacity(64 * 1024);
            world.members.push(Peer { session, client, inbound, outbound, heard: 0 });
        }
        world.exchange();
        for peer in &mut world.members {
            peer.read();
            peer.client.join(Join { room_type, room: "a", name: "x", ..Join::default() });
            peer.outbound = peer.client.take_output();
        }
        world.exchange();
        world.members.iter_mut().for_each(Peer::read);
        world
    }

    /// Plays turns in which `act` says what is sent, and demands that those behind the warm-up
    /// allocate nothing.
    fn play(&mut self, mut act: impl FnMut(usize, &mut [Peer])) {
        let mut counts = Vec::with_capacity(TURNS);
        for turn in 0..WARM_UP_TURNS + TURNS {
            self.members.iter_mut().for_each(Peer::read);
            act(turn, &mut self.members);
            let allocated = measure(|| self.exchange());
            if turn >= WARM_UP_TURNS {
                counts.push(allocated.count_total);
            }
        }
        let sent = self.shard.broadcast_counts();
        let expected = (self.members.len() * TURNS) as u64;
        assert!(sent.deltas >= expected, "every member got every tick: {sent:?}");
        let total: u64 = counts.iter().sum();
        let allocating = counts.iter().filter(|count| **count > 0).count();
        assert_eq!(total, 0, "{allocating} of {TURNS} turns allocate");
    }

    /// One turn of the loop: what was sent arrives, time passes until the next tick, and what is
    /// queued leaves.
    fn exchange(&mut self) {
        for peer in &mut self.members {
            self.shard.handle_bytes(self.now, peer.session, &peer.outbound);
            peer.outbound.clear();
        }
        if let Some(due) = self.shard.rooms().next_due() {
            self.now = self.now.max(due);
        }
        self.shard.handle_timeout(self.now);
        while let Some(id) = self.shard.poll_flush() {
            let Some(outbox) = self.shard.outbox(id).filter(|outbox| !outbox.is_empty()) else {
                continue;
            };
            let sent = outbox.copy_front(&mut self.write_buffer);
            let peer = self.members.iter_mut().find(|peer| peer.session == id);
            peer.expect("a member").inbound.extend_from_slice(&self.write_buffer[..sent]);
            self.shard.handle_sent(self.now, id, sent);
        }
        while let Some(effect) = self.shard.poll_effect() {
            // Bytes may always come earlier than they are asked for.
            assert!(matches!(effect, Effect::Read(..)), "nobody goes: {effect:?}");
        }
    }
}

impl Peer {
    fn read(&mut self) {
        self.client.handle_bytes(&self.inbound);
        self.inbound.clear();
        while let Some(event) = self.client.poll_event() {
            match event {
                ClientEvent::Upgraded | ClientEvent::Joined => {}
                ClientEvent::Applied { events, .. } => self.heard += events.len(),
                unexpected => panic!("{unexpected:?}"),
            }
        }
    }

    fn steer(&mut self, steering: &mut Steering) {
        let seat = self.client.seat().expect("a player has a seat");
        let row = steering.next_row(seat.replica.entities().schema().input());
        self.client.input(&row);
        self.outbound = self.client.take_output();
    }

    fn say(&mut self, topic: TopicId, body: &[u8]) {
        let to = Recipients::default();
        self.client.send(ClientMessage::Publish(Publish { op: OpId::NONE, topic, to, body }));
        self.outbound = self.client.take_output();
    }
}

#[test]
fn a_turn_of_a_shard_in_which_nothing_is_new_allocates_nothing() {
    const MEMBERS: usize = 20;
    let mut world = World::new("arena", MEMBERS);
    let mut players: Vec<_> = (0..MEMBERS as u64).map(Steering::new).collect();
    world.play(|_, members| {
        members.iter_mut().zip(&mut players).for_each(|(peer, steering)| peer.steer(steering));
    });
    assert_eq!(world.shard.metrics().inputs, (MEMBERS * (WARM_UP_TURNS + TURNS)) as u64);
}

#[test]
fn a_turn_in_which_a_member_speaks_to_the_others_allocates_nothing() {
    const MEMBERS: usize = 50;
    // With history, and without.
    for topic in [TopicId(0), TopicId(1)] {
        let mut world = World::new("relay", MEMBERS);
        world.play(|turn, members| {
            // Bodies of different lengths: a steady state is not one in which all is alike.
            members[turn % MEMBERS].say(topic, &[7; 100][turn % 37..]);
        });
        world.members.iter_mut().for_each(Peer::read);
        let heard = world.members.iter().map(|peer| peer.heard).collect::<Vec<_>>();
        assert_eq!(heard, [WARM_UP_TURNS + TURNS; MEMBERS], "{topic:?}");
        assert_eq!(world.shard.metrics().ops, (WARM_UP_TURNS + TURNS) as u64, "{topic:?}");
    }
}
