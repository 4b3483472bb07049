//! Shards, clients and the network between them, moved by one seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::deflate::{Compressor, Kind};
use tickloom_protocol::entities::View;
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
use tickloom_server::room::RoomId;
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{Patience, Reads, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig, Surroundings};

use crate::chaos::Chaos;
use crate::described::{Counts, Marked, Truth};
use crate::encryption::{Encryption, hostile_hello};
use crate::network::Direction;
use crate::peer::{Honest, hostile_bytes};
use crate::tls_client::TlsClient;

/// A bug of the edge, to see whether it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    Nothing,
    /// Bytes go to whoever has the session's index now.
    StaleToken,
    /// Now and then a frame of state is left out.
    SkippedDelta,
    /// Now and then a member gets a frame of another room instead of its own.
    ForeignFrame,
    /// Now and then a member is sent a compressed frame that its room's window does not know of.
    OutOfStep,
}

/// What happened, to see that a sweep covers what it should.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub joins: u64,
    pub deltas: u64,
    pub catch_ups: u64,
    pub snapshots: u64,
    pub hashes_checked: u64,
    pub moves_between_shards: u64,
    pub dropped: u64,
    pub half_closed: u64,
    pub trickled: u64,
    pub hostile_ended: u64,
    pub pauses: u64,
    pub turned_away: u64,
    pub handed_over: u64,
    pub compared: u64,
    /// Frames that members were sent compressed.
    pub packed: u64,
    /// Times a room's window began anew.
    pub window_resets: u64,
    /// Handshakes with certificate and key exchange.
    pub encrypted: u64,
    /// Handshakes by ticket.
    pub resumed: u64,
    pub handshakes_failed: u64,
    pub described: Counts,
    /// A hash over everything honest clients saw, in order.
    pub trace: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.joins += other.joins;
        self.deltas += other.deltas;
        self.catch_ups += other.catch_ups;
        self.snapshots += other.snapshots;
        self.hashes_checked += other.hashes_checked;
        self.moves_between_shards += other.moves_between_shards;
        self.dropped += other.dropped;
        self.half_closed += other.half_closed;
        self.trickled += other.trickled;
        self.pauses += other.pauses;
        self.turned_away += other.turned_away;
        self.hostile_ended += other.hostile_ended;
        self.handed_over += other.handed_over;
        self.compared += other.compared;
        self.packed += other.packed;
        self.window_resets += other.window_resets;
        self.encrypted += other.encrypted;
        self.resumed += other.resumed;
        self.handshakes_failed += other.handshakes_failed;
        self.described.add(&other.described);
    }
}

enum Peer {
    Honest(Box<Honest>),
    Hostile,
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
    /// Late bytes of connections that are closed, for [`Plant::StaleToken`].
    ghosts: Vec<(ShardIndex, SessionId, Direction)>,
    outcome: Outcome,
    truth: Truth,
    steps: u64,
}

impl World {
    pub fn new(seed: u64, plant: Plant) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let shards_count = rng.usize(1..4);
        let directory = Directory::new(shards_count, seed);
        let room_types = RoomTypes::default().with(Arena::new(20)).with(Chaos::new());
        let board = Arc::new(Board::new(shards_count, Timestamp::ZERO, None));
        // Bugs are planted in frames, which are hidden where connections are encrypted.
        let encryption = (plant == Plant::Nothing && seed % 3 == 2).then(Encryption::new);
        let tls = encryption.as_ref().map(Encryption::server);
        let room_types = room_types.with(Marked::board()).with(Marked::feed());
        let server = Surroundings { board, directory, room_types, tls };
        let config = |index| ShardConfig {
            patience: Patience {
                handshake: Duration::from_secs(5),
                head: Duration::from_secs(5),
                join: Duration::from_secs(30),
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
            rooms_max: 5,
            room_linger: Duration::from_secs(1),
            seed: seed + index as u64,
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
            ghosts: Vec::new(),
            outcome: Outcome::default(),
            truth: Truth::default(),
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

    /// Ends all weather and all mischief and lets everybody catch up; then every replica equals
    /// its room.
    pub fn settle(&mut self) {
        for connection in self.connections.values_mut() {
            connection.up.calm();
            connection.down.calm();
        }
        for _ in 0..300 {
            self.pass(Duration::from_millis(5));
        }
        let numbers: Vec<usize> = self.connections.keys().copied().collect();
        for number in numbers {
            self.compare(number);
        }
    }

    /// Compares one client's replica with its room, at a moment when nothing has changed in the
    /// room since its last broadcast and that broadcast has arrived.
    fn compare(&mut self, number: usize) {
        for _ in 0..100 {
            let Some((shard, room)) = self.room_of(number) else { return };
            let room = self.shards[shard.0].rooms().get(room).expect("just found");
            if room.sent().next() == room.state().building() {
                break;
            }
            self.pass(Duration::from_millis(4));
        }
        // The rooms stand still from here on; what is under way arrives.
        for _ in 0..100 {
            self.now = self.now + Duration::from_millis(1);
            self.move_bytes();
        }
        let Some((shard, room)) = self.room_of(number) else { return };
        let room = self.shards[shard.0].rooms().get(room).expect("just found");
        let Peer::Honest(honest) = &self.connections[&number].peer else { return };
        let Some(seat) = honest.client.seat() else { return };
        assert_eq!(seat.replica.tick(), room.sent(), "connection {number} is up to date");
        for view in [View::Room, View::Member(seat.member)] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            room.state().entities().put_snapshot(view, &mut ours);
            seat.replica.entities().put_snapshot(view, &mut theirs);
            assert_eq!(ours, theirs, "connection {number} differs from its room, {view:?}");
        }
        let next = room.events().next();
        honest.witness().check_complete(seat, next);
        self.outcome.compared += 1;
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
                Peer::Hostile => connection.up.ended = true,
            }
        }
        if by_server {
            for index in 0..self.shards.len() {
                self.shards[index].handle_stop(self.now, self.now + Duration::from_secs(10));
                self.obey(ShardIndex(index));
            }
        }
        for _ in 0..400 {
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
        }
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
        }
        // It adds up a whole table.
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
            Mail::Upgrade(_) => false,
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
            self.connect();
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

    fn connect(&mut self) {
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
        let peer = if rng.u8(0..4) == 0 {
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
            }
            action => {
                let Peer::Honest(honest) = &mut connection.peer else { return };
                let is_mute = connection.client_gone || connection.up.ended;
                if is_mute || honest.leaving || !honest.upgraded {
                    return;
                }
                let seated = honest.client.seat().is_some();
                match action {
                    3 => {
                        honest.leaving = true;
                        honest.client.close();
                    }
                    4 | 5 if seated && !honest.asked_to_leave => honest.leave(),
                    6 => honest.client.ping(now.as_micros()),
                    _ if seated && !honest.asked_to_leave => honest.act(rng),
                    _ if !seated && !honest.joining => {
                        let room_type =
                            ["arena", "chaos", "chaos", "board", "feed"][rng.usize(0..5)];
                        let room = format!("room-{}", rng.u8(0..6));
                        let name = if rng.u8(0..12) == 0 { "denied" } else { "sim" };
                        honest.join(room_type, &room, name);
                    }
                    _ => {}
                }
            }
        }
    }

    // ---- what the edge does --------------------------------------------------------------------

    fn move_bytes(&mut self) {
        self.deliver_letters();
        self.haunt();
        let mut numbers: Vec<usize> = self.connections.keys().copied().collect();
        self.rng.shuffle(&mut numbers);
        for number in numbers {
            self.client_side(number);
            let waits = |c: &Connection| c.reads != Reads::OnArrival && !c.was_reset;
            if !self.connections.get(&number).is_some_and(waits) {
                self.server_side(number);
            }
        }
        for index in 0..self.shards.len() {
            self.obey(ShardIndex(index));
        }
    }

    fn client_side(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        while let Some(piece) = connection.down.receive(self.now) {
            if connection.client_gone {
                continue;
            }
            let said = match &mut connection.tls {
                None => piece,
                Some(tls) => tls.hear(&piece, matches!(connection.peer, Peer::Honest(_))),
            };
            if let Peer::Honest(honest) = &mut connection.peer
                && !honest.handle_bytes(&said, &mut self.truth, &mut self.outcome)
            {
                connection.client_gone = true;
                connection.up.ended = true;
            }
        }
        if !connection.up.ended {
            let mut output = match &mut connection.peer {
                Peer::Honest(honest) => honest.client.take_output(),
                Peer::Hostile => Vec::new(),
            };
            if let Some(tls) = &mut connection.tls {
                tls.say(&output);
                output = tls.take_output();
            }
            if !output.is_empty() {
                connection.up.send(self.now, &output, &mut self.rng);
            }
        }
        if connection.down.ended && connection.down.is_empty() {
            connection.client_gone = true;
            connection.up.ended = true;
        }
        // The client has read: there may be room for more.
        if let Some((shard, id)) = connection.socket {
            self.shards[shard.0].list_for_flush(id);
        }
    }

    fn server_side(&mut self, number: usize) {
        while let Some(connection) = self.connections.get_mut(&number) {
            let Some((shard, id)) = connection.socket else { return };
            if connection.reads == Reads::Later && !connection.was_reset {
                return;
            }
            let piece = if connection.was_reset { None } else { connection.up.receive(self.now) };
            let Some(piece) = piece else {
                if connection.was_reset {
                    self.shards[shard.0].handle_broken(self.now, id);
                } else if connection.up.ended && connection.up.is_empty() {
                    self.shards[shard.0].handle_disconnect(self.now, id);
                }
                self.obey(shard);
                return;
            };
            self.shards[shard.0].handle_bytes(self.now, id, &piece);
            // A move to another shard takes the socket away before the next piece.
            self.obey(shard);
        }
    }

    fn obey(&mut self, index: ShardIndex) {
        loop {
            while let Some(id) = self.shards[index.0].poll_flush() {
                self.flush(index, id);
            }
            let Some(effect) = self.shards[index.0].poll_effect() else { return };
            match effect {
                Effect::ShutDown(id) => {
                    if let Some(number) = self.find(index, id) {
                        self.connections.get_mut(&number).expect("found").down.ended = true;
                    }
                }
                Effect::Close(id) => self.close_socket(index, id),
                Effect::Record(record) => panic!("no room fails here: {record:?}"),
                Effect::Read(id, reads) => {
                    if let Some(number) = self.find(index, id) {
                        self.connections.get_mut(&number).expect("found").reads = reads;
                    }
                }
                Effect::Deliver { socket, to, mail } => {
                    let number = self.find(index, socket).expect("a session has a connection");
                    self.connections.get_mut(&number).expect("found").socket = None;
                    let at = self.now + Duration::from_micros(self.rng.u64(0..3_000));
                    let at = self.letters.back().map_or(at, |letter| letter.at.max(at));
                    self.letters.push_back(Letter { at, to, mail, connection: number });
                    self.outcome.moves_between_shards += 1;
                }
                Effect::HandOver { socket, hand_over } => self.hand_over(index, socket, hand_over),
            }
        }
    }

    /// The HTTP thread answers and closes, takes it not, or gives it back for an upgrade.
    fn hand_over(&mut self, index: ShardIndex, socket: SessionId, hand_over: HandOver) {
        let number = self.find(index, socket).expect("a session has a connection");
        self.outcome.handed_over += 1;
        match hand_over.bytes.len() % 3 {
            0 => self.close_socket(index, socket),
            1 => {
                let id = self.shards[index.0].handle_handed_back(self.now, hand_over);
                self.connections.get_mut(&number).expect("found").socket = Some((index, id));
            }
            _ => {
                self.connections.get_mut(&number).expect("found").socket = None;
                let bytes = ClientKey::new([0; 16]).request("sim", "/ws");
                let mail = Mail::Upgrade(HandOver { bytes, ..hand_over });
                let at = self.letters.back().map_or(self.now, |letter| letter.at.max(self.now));
                self.letters.push_back(Letter { at, to: index, mail, connection: number });
            }
        }
    }

    fn deliver_letters(&mut self) {
        while self.letters.front().is_some_and(|letter| letter.at <= self.now) {
            let letter = self.letters.pop_front().expect("checked");
            let shard = &mut self.shards[letter.to.0];
            let id = shard.handle_mail(self.now, letter.mail).expect("an adopted session");
            let connection = self.connections.get_mut(&letter.connection).expect("travels");
            connection.socket = Some((letter.to, id));
            self.obey(letter.to);
        }
    }

    fn flush(&mut self, index: ShardIndex, id: SessionId) {
        let Some(number) = self.find(index, id) else { return };
        let connection = self.connections.get_mut(&number).expect("found");
        if self.encryption.is_some() {
            return self.flush_encrypted(index, id, number);
        }
        let outbox = self.shards[index.0].outbox(id).expect("a session has an outbox");
        let mut buffer = vec![0; connection.down.window().min(outbox.bytes())];
        let copied = outbox.copy_front(&mut buffer);
        let whole = connection.at_frame_border && copied == outbox.bytes();
        connection.at_frame_border = copied == outbox.bytes();
        if copied == 0 {
            return self.shards[index.0].handle_blocked(id);
        }
        if whole && self.plant != Plant::Nothing {
            self.tamper(number, &mut buffer);
        }
        let connection = self.connections.get_mut(&number).expect("found");
        connection.down.send(self.now, &buffer, &mut self.rng);
        self.shards[index.0].handle_sent(self.now, id, copied);
        if self.shards[index.0].outbox(id).is_some_and(|outbox| !outbox.is_empty()) {
            self.shards[index.0].handle_blocked(id);
        }
    }

    fn flush_encrypted(&mut self, index: ShardIndex, id: SessionId, number: usize) {
        let down = &mut self.connections.get_mut(&number).expect("found").down;
        let (shard, mut buffer) = (&mut self.shards[index.0], [0; 2_000]);
        let Some(bytes) = shard.outgoing(id, &mut buffer) else { return };
        let sent = down.window().min(bytes.len());
        if sent == 0 {
            return shard.handle_blocked(id);
        }
        down.send(self.now, &bytes[..sent], &mut self.rng);
        shard.handle_sent(self.now, id, sent);
    }

    /// Plants a bug in whole frames on their way to a client.
    fn tamper(&mut self, number: usize, frames: &mut Vec<u8>) {
        let is_packed = frames.first() == Some(&0xc2);
        if self.plant == Plant::OutOfStep && is_packed && self.rng.u8(0..50) == 0 {
            // Clients of rooms pass over texts, but their windows do not.
            let text: Vec<u8> = (0..300).map(|_| self.rng.u8(b'a'..=b'z')).collect();
            Compressor::new(15).put_frame(Kind::Text, &[&text], frames);
        }
        // A frame of state: binary, with a length of 126 to 65,535.
        let is_state = frames.len() > 4
            && frames[..2] == [0x82, 126]
            && usize::from(u16::from_be_bytes([frames[2], frames[3]])) + 4 == frames.len();
        if !is_state {
            return;
        }
        match self.plant {
            Plant::SkippedDelta if self.rng.u8(0..50) == 0 => frames.clear(),
            Plant::ForeignFrame => {
                let own = self.foreign_frame.replace((number, frames.clone()));
                if let Some((other, frame)) = own
                    && other != number
                    && self.rng.u8(0..50) == 0
                {
                    *frames = frame;
                }
            }
            Plant::SkippedDelta | Plant::StaleToken | Plant::OutOfStep | Plant::Nothing => {}
        }
    }

    fn close_socket(&mut self, index: ShardIndex, id: SessionId) {
        let Some(number) = self.find(index, id) else { return };
        if let Some(connection) = self.connections.remove(&number) {
            if matches!(connection.peer, Peer::Hostile) {
                self.outcome.hostile_ended += 1;
            }
            if self.plant == Plant::StaleToken {
                self.ghosts.push((index, id, connection.up));
            }
        }
    }

    /// Delivers late bytes to whoever sits where their session sat.
    fn haunt(&mut self) {
        for (shard, late, up) in &mut self.ghosts {
            let ids = self.shards[shard.0].sessions().ids();
            let Some(id) = ids.into_iter().find(|id| id.index == late.index) else { continue };
            while let Some(piece) = up.receive(self.now) {
                self.shards[shard.0].handle_bytes(self.now, id, &piece);
            }
        }
        self.ghosts.retain(|(_, _, up)| !up.is_empty());
    }

    fn find(&self, index: ShardIndex, id: SessionId) -> Option<usize> {
        let mut connections = self.connections.iter();
        connections.find(|(_, c)| c.socket == Some((index, id))).map(|(number, _)| *number)
    }
}
