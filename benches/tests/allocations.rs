//! What a shard allocates while a room is played in and nobody comes or goes.
//!
//! An allocation costs some 20 ns, a tenth of what is ours in a client's tick, and it is where
//! memory that grows for ever begins. The count is exact, so it is a test and not a benchmark.

use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use tickloom_benches::rooms::Steering;
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::time::Timestamp;
use tickloom_server::board::Board;
use tickloom_server::config::Config;
use tickloom_server::directory::{Directory, ShardIndex};
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{Patience, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig};

const MEMBERS: usize = 20;
/// Until the queues of the room are as long as they get.
const WARM_UP_TURNS: usize = 2_000;
const TURNS: usize = 1_000;

/// A shard whose edge is memory, and the members of its only room.
struct World {
    shard: Shard,
    now: Timestamp,
    members: Vec<Player>,
    /// What an edge has for its writes.
    write_buffer: Box<[u8]>,
}

struct Player {
    session: SessionId,
    client: Client,
    steering: Steering,
    /// What the shard sent and the client has not read. Never grows in a measured turn.
    inbound: Vec<u8>,
    /// What the client sent and the shard has not read.
    outbound: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let config = Config::loopback();
        let shard = Shard::new(ShardConfig {
            index: ShardIndex(0),
            board: Arc::new(Board::new(1, Timestamp::ZERO, None)),
            directory: Directory::new(1, 0),
            room_types: RoomTypes::default().with(Arena::new(20)),
            echo: config.echo,
            // A ping moves its session in the tree of deadlines, whose nodes come and go.
            patience: Patience { ping: Duration::from_secs(3_600), ..config.patience },
            outbox: config.outbox,
            sessions_max: MEMBERS,
            rooms_max: 1,
            room_linger: config.room_linger,
            stall_max: config.stall_max,
            retry_spread: config.stop.retry_spread,
            seed: 0,
        });
        let mut world = Self {
            shard,
            now: Timestamp(1_000_000),
            members: Vec::new(),
            write_buffer: vec![0; 64 * 1024].into(),
        };
        for index in 0..MEMBERS {
            let session = world.shard.handle_accept(world.now);
            let mut client = Client::connect("test", "/ws", [index as u8; 16]);
            let outbound = client.take_output();
            let steering = Steering::new(index as u64);
            let inbound = Vec::with_capacity(64 * 1024);
            world.members.push(Player { session, client, steering, inbound, outbound });
        }
        world.exchange();
        for player in &mut world.members {
            player.read();
            player.client.join(Join { room_type: "arena", room: "a", name: "x", options: &[] });
            player.outbound = player.client.take_output();
        }
        world.exchange();
        world.members.iter_mut().for_each(Player::read);
        world
    }

    /// One turn of the loop: what was sent arrives, time passes until the next tick, and what is
    /// queued leaves.
    fn exchange(&mut self) {
        for player in &self.members {
            self.shard.handle_bytes(self.now, player.session, &player.outbound);
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
            let player = self.members.iter_mut().find(|player| player.session == id);
            player.expect("a member").inbound.extend_from_slice(&self.write_buffer[..sent]);
            self.shard.handle_sent(self.now, id, sent);
        }
        while let Some(effect) = self.shard.poll_effect() {
            // Bytes may always come earlier than they are asked for.
            assert!(matches!(effect, Effect::Read(..)), "nobody goes: {effect:?}");
        }
    }
}

impl Player {
    fn read(&mut self) {
        self.client.handle_bytes(&self.inbound);
        self.inbound.clear();
        while let Some(event) = self.client.poll_event() {
            let expected = [ClientEvent::Upgraded, ClientEvent::Joined].contains(&event)
                || matches!(event, ClientEvent::Applied { .. });
            assert!(expected, "{event:?}");
        }
    }

    fn steer(&mut self) {
        let seat = self.client.seat().expect("a player has a seat");
        let row = self.steering.next_row(seat.replica.entities().schema().input());
        self.client.input(&row);
        self.outbound = self.client.take_output();
    }
}

#[test]
fn a_turn_of_a_shard_in_which_nothing_is_new_allocates_nothing() {
    let mut world = World::new();
    let mut counts = Vec::with_capacity(TURNS);
    for turn in 0..WARM_UP_TURNS + TURNS {
        for player in &mut world.members {
            player.read();
            player.steer();
        }
        let allocated = measure(|| world.exchange());
        if turn >= WARM_UP_TURNS {
            counts.push(allocated.count_total);
        }
    }
    let sent = world.shard.broadcast_counts();
    assert!(sent.deltas >= (MEMBERS * TURNS) as u64, "every member got every tick: {sent:?}");
    assert_eq!(world.shard.metrics().inputs, (MEMBERS * (WARM_UP_TURNS + TURNS)) as u64);

    let total: u64 = counts.iter().sum();
    let allocating = counts.iter().filter(|count| **count > 0).count();
    assert_eq!(total, 0, "{allocating} of {TURNS} turns allocate");
}
