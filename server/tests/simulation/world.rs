//! Shards, clients and the network between them, moved by one seed.

mod comparing;
mod edge;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::deflate::{Compressor, Kind};
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::time::Timestamp;
use tickloom_server::addresses::AddressLimits;
use tickloom_server::allowance::Allowance;
use tickloom_server::board::Board;
use tickloom_server::config::{CompressionConfig, Config};
use tickloom_server::directory::{Directory, ShardIndex};
use tickloom_server::http::HandOver;
use tickloom_server::mail::Mail;
use tickloom_server::outbox::OutboxLimits;
use tickloom_server::proxies::Networks;
use tickloom_server::rate::Rate;
use tickloom_server::recording::RecordedRooms;
use tickloom_server::room::RoomId;
use tickloom_server::room::admission::SEAT_PATIENCE;
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{Naming, Patience, Reads, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig, Surroundings};
use tickloom_server::tokens::Secret;

use crate::chaos::Chaos;
use crate::described::{Marked, Truth};
use crate::encryption::{Encryption, hostile_hello};
use crate::fuse;
use crate::lobby::{self, Seat};
use crate::meadow::Meadow;
use crate::network::Direction;
use crate::outcome::{Outcome, Plant};
use crate::peer::{Honest, hostile_bytes};
use crate::recordings::Recordings;
use crate::tls_client::TlsClient;

enum Peer {
    Honest(Box<Honest>),
    Hostile,
    /// The client goes on over another connection, and nobody is at this one.
    Nobody,
}

/// A connection: its client, its network and where its socket is.
struct Connection {
    peer: Peer,
    /// The client's end of TLS, in an encrypted world.
    tls: Option<Box<TlsClient>>,
    up: Direction,
    down: Direction,
    /// The socket at the server; `None` while it travels between shards and after its end.
    socket: Option<(ShardIndex, SessionId)>,
    /// The client is gone; what still arrives is not read.
    client_gone: bool,
    /// The server learns of the end before it gets the last bytes.
    was_reset: bool,
    /// When the server looks at what has arrived.
    reads: Reads,
    /// Where the server's bytes are cut between frames: needed to plant bugs only.
    at_frame_border: bool,
}

struct Letter {
    at: Timestamp,
    to: ShardIndex,
    mail: Mail,
    connection: usize,
}

pub struct World {
    rng: fastrand::Rng,
    plant: Plant,
    now: Timestamp,
    shards: Vec<Shard>,
    /// By number; numbers are not used twice.
    connections: BTreeMap<usize, Connection>,
    connections_made: usize,
    encryption: Option<Encryption>,
    letters: VecDeque<Letter>,
    foreign_frame: Option<(usize, Vec<u8>)>,
    /// Clients between two connections, and when the next begins.
    returning: Vec<(Timestamp, Box<Honest>)>,
    /// Late bytes of connections that are closed, for [`Plant::StaleToken`].
    ghosts: Vec<(ShardIndex, SessionId, Direction)>,
    room_types: RoomTypes,
    recordings: Recordings,
    outcome: Outcome,
    truth: Truth,
    /// Kept for whoever takes them.
    seats: Vec<Seat>,
    steps: u64,
}

impl World {
    pub fn new(seed: u64, plant: Plant, recorded: RecordedRooms) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let shards_count = rng.usize(1..4);
        let directory = Directory::new(shards_count, seed);
        let room_types =
            RoomTypes::default().with(Arena::new(20)).with(Chaos::new()).with(Meadow::new());
        let board = Arc::new(Board::new(shards_count, Timestamp::ZERO, None));
        // Bugs are planted in frames, which are hidden where connections are encrypted.
        let encryption = (plant == Plant::Nothing && seed % 3 == 2).then(Encryption::new);
        let tls = encryption.as_ref().map(Encryption::server);
        let room_types = room_types.with(Marked::board()).with(Marked::feed());
        let secret = Secret::new([0; 32]);
        let server = Surroundings { board, directory, room_types: room_types.clone(), tls, secret };
        let config = |index| ShardConfig {
            patience: Patience {
                handshake: Duration::from_secs(5),
                head: Duration::from_secs(5),
                join: Duration::from_secs(30),
                message: Duration::from_secs(30),
                ping: Duration::from_secs(3),
                pong: Duration::from_secs(4),
                drain: Duration::from_secs(2),
            },
            // Few enough that addresses run out of them.
            addresses: AddressLimits {
                exempt: Networks::none(),
                connections_max: Some(6),
                handshakes: Some(Rate::new(100, 15)),
                rooms: None,
            },
            handshakes: None,
            // Slow enough that those who come together wait for each other.
            handshakes_pace: Some(Rate::new(40, 4)),
            // Few enough that who talks much is paused.
            allowance: Allowance {
                messages: Some(Rate::new(300, 8)),
                controls: None,
                ..Config::loopback().allowance
            },
            outbox: OutboxLimits { soft_bytes_max: 600, hard_bytes_max: 400_000 },
            compression: CompressionConfig {
                is_offered: true,
                bytes_min: 60 + 40 * (seed % 4) as usize,
                // Not every room gets a window.
                windows_max: 3,
            },
            sessions_max: 100,
            rooms_max: 8,
            room_linger: Duration::from_secs(1),
            room_grace: Duration::from_millis(700),
            seed: seed + index as u64,
            recorded,
            ..ShardConfig::of(&Config::loopback(), &server, ShardIndex(index))
        };
        Self {
            shards: (0..shards_count).map(|index| Shard::new(config(index))).collect(),
            rng,
            plant,
            now: Timestamp::ZERO + Duration::from_secs(1),
            connections: BTreeMap::new(),
            connections_made: 0,
            encryption,
            letters: VecDeque::new(),
            foreign_frame: None,
            returning: Vec::new(),
            ghosts: Vec::new(),
            room_types,
            recordings: Recordings::default(),
            outcome: Outcome::default(),
            truth: Truth::default(),
            seats: Vec::new(),
            steps: 0,
        }
    }

    pub fn steps_count(&self) -> u64 {
        self.steps
    }

    /// A few milliseconds in which anything may happen.
    pub fn step(&mut self) {
        self.act();
        self.pass(Duration::from_micros(self.rng.clone().u64(500..12_000)));
    }

    /// The room a connection's session sits in.
    fn room_of(&self, number: usize) -> Option<(ShardIndex, RoomId)> {
        let (shard, session) = self.connections.get(&number)?.socket?;
        let mut rooms = self.shards[shard.0].rooms().iter();
        let (room, _) = rooms
            .find(|(_, room)| room.members().values().any(|member| member.session() == session))?;
        Some((shard, room))
    }

    /// Sends everybody home, by the clients' or by the server's wish; then nothing is left.
    pub fn drain(&mut self) -> Outcome {
        let by_server = self.rng.bool();
        if by_server {
            // It happens while clients come and move between shards.
            for _ in 0..60 {
                self.act();
                self.pass(Duration::from_millis(2));
            }
        }
        for connection in self.connections.values_mut() {
            match &mut connection.peer {
                Peer::Honest(honest) => {
                    honest.leaving = true;
                    if !by_server {
                        honest.client.close();
                    }
                }
                Peer::Hostile | Peer::Nobody => connection.up.ended = true,
            }
        }
        self.returning.clear();
        if by_server {
            for index in 0..self.shards.len() {
                self.shards[index].handle_stop(self.now, self.now + Duration::from_secs(10));
                self.obey(ShardIndex(index));
            }
        }
        // Rooms wait for those whose seats they keep.
        for passed in 0..400 + 50 * SEAT_PATIENCE.as_secs() {
            if passed > 400 && self.shards.iter().all(|shard| shard.rooms().count() == 0) {
                break;
            }
            self.pass(Duration::from_millis(20));
        }
        self.check_addresses();
        assert!(self.connections.is_empty(), "{} connections are left", self.connections.len());
        for shard in &self.shards {
            let sent = shard.broadcast_counts();
            self.outcome.packed += sent.packed;
            self.outcome.window_resets += sent.window_resets;
            assert_eq!(shard.sessions().count(), 0, "no session is left");
            assert_eq!(shard.rooms().count(), 0, "no room is left");
            assert_eq!(shard.is_finished(), by_server);
            self.outcome.pauses += shard.metrics().pauses;
            self.outcome.encrypted += shard.metrics().handshakes_full;
            self.outcome.resumed += shard.metrics().handshakes_resumed;
            self.outcome.handshakes_failed += shard.metrics().handshakes_failed;
            self.outcome.rooms_failed += shard.metrics().rooms_failed;
            self.outcome.takeovers += shard.metrics().takeovers;
            self.outcome.graces_expired += shard.metrics().graces_expired;
        }
        self.outcome.checkpoints += self.recordings.check(&self.room_types);
        self.outcome.clone()
    }

    /// Time goes by.
    fn pass(&mut self, time: Duration) {
        self.steps += 1;
        self.now = self.now + time;
        self.move_bytes();
        for index in 0..self.shards.len() {
            // A shard may be held up by the kernel or by its neighbours.
            let due = self.shards[index].next_due().is_some_and(|due| due <= self.now);
            if due && self.rng.u8(0..20) != 0 {
                self.run_rooms(ShardIndex(index));
                self.shards[index].handle_deadlines(self.now);
            }
            self.obey(ShardIndex(index));
        }
        for shard in &self.shards {
            shard.check_invariants();
            self.outcome.paused += u64::from(shard.rooms().paused_count() > 0);
        }
        // These look at everything.
        if self.steps.is_multiple_of(4) {
            self.glance();
        }
        if self.steps.is_multiple_of(64) {
            self.check_addresses();
        }
    }

    /// What addresses are taken to have is what they have, wherever it is.
    fn check_addresses(&self) {
        let counted = |shard: &Shard| {
            shard.sessions().iter().filter(|(_, session)| session.is_counted()).count()
        };
        let there: usize = self.shards.iter().map(counted).sum();
        let under_way = |letter: &&Letter| match &letter.mail {
            Mail::Adopt(session) | Mail::Returned(session) => session.is_counted(),
            Mail::Upgrade(hand_over) => hand_over.counted.is_some(),
            Mail::Reserve(_) => false,
        };
        let under_way = self.letters.iter().filter(under_way).count();
        let addresses = self.shards[0].config().board.addresses();
        assert_eq!(addresses.connections_count(), (there + under_way) as u64, "counted once");
    }

    /// As the reactor does: a room's members are read just before it ticks.
    fn run_rooms(&mut self, index: ShardIndex) {
        self.shards[index.0].list_due_rooms(self.now);
        while let Some(room) = self.shards[index.0].poll_room() {
            let mut on_turn = Vec::new();
            self.shards[index.0].sessions_on_turn(room, &mut on_turn);
            for id in on_turn {
                if let Some(number) = self.find(index, id) {
                    self.server_side(number);
                }
            }
            self.shards[index.0].handle_room(self.now, room);
            self.obey(index);
        }
    }

    // ---- what clients do -----------------------------------------------------------------------

    fn act(&mut self) {
        if self.connections.len() < 14 && self.rng.u8(0..4) == 0 {
            self.connect(None);
        }
        let due = self.returning.iter().position(|(at, _)| *at <= self.now);
        if let Some((_, honest)) = due.map(|due| self.returning.remove(due)) {
            self.connect(Some(honest));
        }
        if self.rng.u8(0..40) == 0 {
            self.keep_seats();
        }
        if self.rng.u8(0..30) == 0 {
            let shard = self.rng.usize(0..self.shards.len());
            self.shards[shard].publish_listing(self.now);
        }
        let numbers: Vec<usize> = self.connections.keys().copied().collect();
        if numbers.is_empty() {
            return;
        }
        for _ in 0..self.rng.usize(0..6) {
            let number = numbers[self.rng.usize(0..numbers.len())];
            self.act_one(number);
        }
    }

    /// Another program asks for seats, of the shard that owns the room or of any.
    fn keep_seats(&mut self) {
        let wanted = lobby::wanted(&mut self.rng);
        let directory = self.shards[0].config().directory;
        let owner = match wanted.room.naming {
            Naming::Server { .. } => self.rng.usize(0..self.shards.len()),
            Naming::Client | Naming::Code => directory.shard_of(&wanted.room.key).0,
        };
        let (reserve, take) = lobby::ask(wanted);
        self.shards[owner].handle_mail(self.now, Mail::Reserve(Box::new(reserve)));
        self.obey(ShardIndex(owner));
        take(&mut self.seats);
    }

    fn connect(&mut self, returning: Option<Box<Honest>>) {
        let shard = ShardIndex(self.rng.usize(0..self.shards.len()));
        // Four addresses, none of them a trusted proxy's.
        let peer = SocketAddr::from(([192, 0, 2, self.rng.u8(0..4)], 7));
        let id = self.shards[shard.0].handle_accept(self.now, peer);
        // One in eight sends and gets its bytes one by one: heads, frames and all.
        let trickles = self.rng.u8(0..8) == 0;
        self.outcome.trickled += u64::from(trickles);
        let [mut up, down] =
            [(); 2].map(|()| if trickles { Direction::trickling() } else { Direction::default() });
        let rng = &mut self.rng;
        let mut tls = self.encryption.as_ref().map(|encryption| Box::new(encryption.client(rng)));
        let peer = if let Some(honest) = returning {
            Peer::Honest(honest)
        } else if rng.u8(0..4) == 0 {
            let mut bytes = Some(hostile_bytes(rng));
            if let Some(tls) = &mut tls {
                bytes = bytes.and_then(|bytes| hostile_hello(tls, bytes, rng));
            }
            if let Some(bytes) = bytes {
                up.send(self.now, &bytes, rng);
                tls = None;
            }
            Peer::Hostile
        } else {
            Peer::Honest(Box::new(Honest::new(rng)))
        };
        let connection = Connection {
            peer,
            tls,
            up,
            down,
            socket: Some((shard, id)),
            client_gone: false,
            was_reset: false,
            reads: Reads::OnArrival,
            at_frame_border: true,
        };
        self.connections.insert(self.connections_made, connection);
        self.connections_made += 1;
        self.obey(shard);
    }

    /// Sends the client of a connection on its way to another one.
    fn part(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match std::mem::replace(&mut connection.peer, Peer::Nobody) {
            Peer::Honest(honest) => {
                let after = Duration::from_millis(self.rng.u64(0..1_000));
                if let Some(honest) = honest.come_back(&mut self.rng) {
                    self.returning.push((self.now + after, Box::new(honest)));
                }
            }
            other => connection.peer = other,
        }
    }

    /// Everybody looks at what they are sent.
    fn wake_all(&mut self) {
        for connection in self.connections.values_mut() {
            if let Peer::Honest(honest) = &mut connection.peer {
                honest.wake();
            }
        }
    }

    fn act_one(&mut self, number: usize) {
        let (rng, now) = (&mut self.rng, self.now);
        let Some(connection) = self.connections.get_mut(&number) else { return };
        match rng.u8(0..40) {
            0 => connection.down.stall(now + Duration::from_millis(rng.u64(50..2_000))),
            1 => connection.up.stall(now + Duration::from_millis(rng.u64(50..1_000))),
            2 if rng.u8(0..3) == 0 => {
                // It says no more, and goes on reading. Some say so inside, too.
                if let Some(tls) = connection.tls.as_mut().filter(|_| rng.bool()) {
                    tls.connection.send_close_notify();
                    connection.up.send(now, &tls.take_output(), rng);
                }
                connection.up.ended = true;
                self.outcome.half_closed += 1;
            }
            2 => {
                // The cable is cut: the client is gone at once, the server learns it later.
                connection.client_gone = true;
                connection.up.ended = true;
                // A reset overtakes what is still under way.
                connection.was_reset = rng.bool();
                self.outcome.dropped += 1;
                self.part(number);
            }
            3 => {
                // It changes networks: for the server, the connection before only looks alive.
                connection.client_gone = true;
                self.part(number);
            }
            action => {
                let Peer::Honest(honest) = &mut connection.peer else { return };
                let is_mute = connection.client_gone || connection.up.ended;
                if is_mute || honest.leaving || !honest.upgraded {
                    return;
                }
                let seated = honest.client.seat().is_some();
                match action {
                    7 => honest.report(rng),
                    8 => {
                        honest.leaving = true;
                        honest.client.close();
                    }
                    4 | 5 if seated && !honest.asked_to_leave => honest.leave(),
                    6 => honest.client.ping(now.as_micros()),
                    _ if seated && !honest.asked_to_leave => honest.act(rng, &mut self.outcome),
                    _ if !seated && !honest.joining => {
                        honest.join(&mut self.seats, rng);
                    }
                    _ => {}
                }
            }
        }
    }
}
