//! The few truths only a kernel can tell: real sockets, real limits.
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]
#![expect(clippy::disallowed_methods, reason = "deadlines of real sockets need the real clock")]

mod player;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::link::{End, Link, Received};
use tickloom_protocol::schema::RoomSchema;
use tickloom_server::allowance::Allowance;
use tickloom_server::config::Config;
use tickloom_server::rate::Rate;
use tickloom_server::room::arena::Arena;
use tickloom_server::room::logic::{Context, Denial, Joiner, RoomLogic, RoomSpec, RoomType};
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime::{self, Server, allowed_cores};

use player::{DEADLINE, Player, ask, connect, get};

fn start(config: &Config) -> Server {
    let room_types = RoomTypes::default().with(Arena::new(config.tick_rate_hz));
    runtime::serve(config, &room_types).expect("a loopback port")
}

fn stop(server: Server) {
    server.stopper().stop();
    server.join().expect("every shard ends");
}

#[test]
fn one_port_answers_http_and_refuses_what_is_neither() {
    let server = start(&Config::loopback());
    let rows: [(&[u8], &str); 6] = [
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
        (b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
        (b"POST /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n", "426"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400"),
        (&[b'A'; 9000], "4"),
    ];
    for (request, status) in rows {
        let response = ask(server.address(), request);
        let expected = format!("HTTP/1.1 {status}");
        assert!(response.starts_with(&expected), "{status}: {response}");
        assert!(response.lines().last().is_some_and(|line| !line.is_empty()), "a body says why");
    }
    stop(server);
}

#[test]
fn players_of_one_room_meet_whatever_shard_they_connect_to() {
    let core = allowed_cores()[0];
    let config = Config { cores: vec![core; 3], ..Config::loopback() };
    let server = start(&config);
    let mut players: Vec<Player> =
        (0..12).map(|_| Player::join(server.address(), "arena", "meeting")).collect();
    let applied = |event: &ClientEvent| matches!(event, ClientEvent::Applied { .. });
    let started = Instant::now();
    for player in &mut players {
        loop {
            player.until(applied);
            let seat = player.client.seat().expect("joined");
            let entities = seat.replica.entities();
            let owners = entities.ids().filter_map(|id| entities.owner(id));
            if owners.filter(|owner| owner.0 != 0).count() == 12 {
                break;
            }
            assert!(started.elapsed() < DEADLINE, "they did not all meet");
        }
    }
    for player in &mut players {
        let hash = |event: &ClientEvent| matches!(event, ClientEvent::Applied { applied, .. } if applied.hashes_checked > 0);
        player.until(hash);
        player.client.close();
        assert_eq!(player.until_closed(), 1000);
    }
    stop(server);
}

/// Whatever shard the new connection comes to, and whether or not the old one has ended.
#[test]
fn a_player_whose_connection_breaks_comes_back_to_its_seat_on_any_shard() {
    let core = allowed_cores()[0];
    let config = Config { cores: vec![core; 3], ..Config::loopback() };
    let server = start(&config);
    let mut player = Player::join(server.address(), "arena", "meeting");
    let mut others: Vec<Player> =
        (0..3).map(|_| Player::join(server.address(), "arena", "meeting")).collect();
    let hash = |event: &ClientEvent| matches!(event, ClientEvent::Applied { applied, .. } if applied.hashes_checked > 0);
    for time in 0..8 {
        player.until(|event| matches!(event, ClientEvent::Applied { .. }));
        let before = player.client.seat().map(|seat| (seat.member, seat.entity));
        let returning = player.client.part().expect("a ticket");
        let mut again = Player::connect(server.address());
        if time % 2 == 0 {
            player.stream.shutdown(std::net::Shutdown::Both).expect("it breaks");
        }
        again.client.resume(returning);
        again.until(|event| matches!(event, ClientEvent::Joined));
        let seat = again.client.seat().expect("a seat");
        assert!(seat.is_resumed && seat.is_recovered, "time {time}");
        assert_eq!(Some((seat.member, seat.entity)), before);
        player = again;
    }
    for player in others.iter_mut().chain([&mut player]) {
        player.until(hash);
    }
    drop((player, others));
    stop(server);
}

/// A session leaves its shard's table when its room is elsewhere, and its index is free at once; its
/// socket must be out of the way before the next connection takes that index. When it was not,
/// one in twenty of those that moved while others arrived lost its socket.
#[test]
fn nobody_is_lost_between_shards_while_others_arrive() {
    let core = allowed_cores()[0];
    let config = Config { cores: vec![core; 3], ..Config::loopback() };
    let server = start(&config);
    let address = server.address();
    let arrive = move |thread: usize| {
        let room = |number: usize| format!("room-{}", (thread * 7 + number) % 11);
        let players: Vec<Player> =
            (0..60).map(|number| Player::join(address, "arena", &room(number))).collect();
        for mut player in players {
            player.until(|event| matches!(event, ClientEvent::Applied { .. }));
        }
    };
    let threads: Vec<_> = (0..4).map(|thread| std::thread::spawn(move || arrive(thread))).collect();
    for thread in threads {
        thread.join().expect("everybody stays connected");
    }
    stop(server);
}

#[test]
fn those_who_never_finish_are_closed_at_their_deadline() {
    let mut config = Config::loopback();
    config.patience.head = Duration::from_millis(300);
    config.patience.join = Duration::from_millis(300);
    let server = start(&config);
    let response = ask(server.address(), b"GET /ws HTTP/1.1\r\nHost: a\r\n");
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
    let mut player = Player::connect(server.address());
    assert_eq!(player.until_closed(), 1008);
    stop(server);
}

#[test]
fn a_silent_client_is_pinged_and_then_closed() {
    let mut config = Config::loopback();
    config.patience.ping = Duration::from_millis(200);
    config.patience.pong = Duration::from_millis(300);
    let server = start(&config);
    // This one answers pings by reading, and stays.
    let mut alive = Player::join(server.address(), "arena", "a");
    // This one reads frames and answers none.
    let mut stream = Player::join(server.address(), "arena", "b").stream;
    let mut link = Link::new(End::Client);
    let (mut buffer, mut unsent) = ([0; 4096], Vec::new());
    let reason = 'read: loop {
        let length = stream.read(&mut buffer).expect("bytes");
        assert!(length > 0, "closed without a word");
        let mut input = &buffer[..length];
        while let Some(received) = link.poll(&mut input, &mut unsent).expect("valid frames") {
            if let Received::Closed(reason) = received {
                break 'read reason;
            }
        }
        let applied = |event: &ClientEvent| matches!(event, ClientEvent::Applied { .. });
        alive.until(applied);
    };
    assert_eq!(reason.code(), 4001, "{reason}");
    alive.client.close();
    assert_eq!(alive.until_closed(), 1000);
    stop(server);
}

#[test]
fn a_full_room_refuses_and_the_connection_joins_another() {
    let server = start(&Config::loopback());
    let seats = tickloom_server::room::arena::MEMBERS_MAX;
    let players: Vec<Player> =
        (0..seats).map(|_| Player::join(server.address(), "arena", "full")).collect();
    let mut late = Player::connect(server.address());
    late.client.join(Join { room_type: "arena", room: "full", name: "late", ..Join::default() });
    let refused = late.until(|event| matches!(event, ClientEvent::Refused { .. }));
    assert!(format!("{refused:?}").contains("RoomFull"), "{refused:?}");
    late.client.join(Join { room_type: "arena", room: "other", name: "late", ..Join::default() });
    late.until(|event| matches!(event, ClientEvent::Joined));
    drop(players);
    stop(server);
}

/// What the link of a raw WebSocket client got back for what it sent.
fn echo(address: SocketAddr, frames: &[u8], answers: usize) -> Vec<Received> {
    let mut stream = connect(address);
    stream.write_all(&ClientKey::new([1; 16]).request("a", "/echo")).expect("sent");
    stream.write_all(frames).expect("sent");
    let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
    let mut link = None;
    let mut received = Vec::new();
    while received.len() < answers {
        let length = stream.read(&mut buffer).expect("bytes");
        assert!(length > 0, "closed after {received:?}");
        bytes.extend_from_slice(&buffer[..length]);
        if link.is_none() {
            let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
            bytes.drain(..end + 4);
            link = Some(Link::new(End::Client));
        }
        let mut input = &bytes[..];
        let link = link.as_mut().expect("upgraded");
        while let Ok(Some(message)) = link.poll(&mut input, &mut Vec::new()) {
            received.push(message);
        }
        bytes.clear();
    }
    received
}

#[test]
fn echo_sends_back_text_and_binary_and_closes_what_is_broken() {
    let server = start(&Config::loopback());
    let mut frames = Vec::new();
    let mut link = Link::new(End::Client);
    link.send_text("né".into(), &mut frames);
    link.send_binary(vec![9; 60_000].into(), &mut frames);
    let received = echo(server.address(), &frames, 2);
    assert_eq!(received, [Received::Text("né".into()), Received::Binary(vec![9; 60_000].into())]);

    // Text that is not UTF-8, a frame over the limit, a frame that is not masked.
    let rows: [(&[u8], u16); 3] = [
        (&[0x81, 0x81, 0, 0, 0, 0, 0xff], 1007),
        (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0], 1009),
        (&[0x82, 0x01, 0], 1002),
    ];
    for (frame, code) in rows {
        let received = echo(server.address(), frame, 1);
        let Received::Closed(reason) = &received[0] else { panic!("{received:?}") };
        assert_eq!(reason.code(), code, "{reason}");
    }
    stop(server);
}

#[test]
fn a_reader_with_tiny_buffers_gets_every_byte_in_order() {
    let server = start(&Config::loopback());
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Far less than is sent: the server's writes are cut at places of the kernel's choice.
    socket.set_recv_buffer_size(2048).expect("a small buffer");
    socket.connect(&server.address().into()).expect("the server listens");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream.write_all(&ClientKey::new([1; 16]).request("a", "/echo")).expect("sent");
    let (mut link, mut frames) = (Link::new(End::Client), Vec::new());
    let payload = |number: u8| vec![number; 20_000 + usize::from(number)];
    for number in 0..30 {
        link.send_binary(payload(number).into(), &mut frames);
    }
    let mut sender = stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || sender.write_all(&frames).expect("sent"));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    let (mut buffer, mut next) = ([0; 1024], 0);
    while next < 30 {
        let length = stream.read(&mut buffer).expect("bytes");
        assert!(length > 0, "closed after {next}");
        let mut input = &buffer[..length];
        while let Some(received) = link.poll(&mut input, &mut Vec::new()).expect("whole frames") {
            assert_eq!(received, Received::Binary(payload(next).into()), "message {next}");
            next += 1;
        }
    }
    sending.join().expect("the sender ends");
    stop(server);
}

/// A closing connection that broke with bytes still queued was written to for ever: each failed
/// write put it back on the list of those to write to, and its shard did nothing else.
#[test]
fn who_sends_too_fast_waits_in_the_kernel_and_is_answered_in_full() {
    let rates = Allowance { messages: Some(Rate::new(2_000, 100)), ..Allowance::UNLIMITED };
    let allowance = Allowance { lead_max: DEADLINE, ..rates };
    let server = start(&Config { allowance, ..Config::loopback() });
    // Without a seat it is read when something arrives, with one on its room's turn.
    let lobby = Player::connect(server.address());
    let seated = Player::join(server.address(), "arena", "a");
    for mut player in [lobby, seated] {
        let began = Instant::now();
        for number in 1..=1_500 {
            player.client.ping(number);
        }
        let last = |event: &ClientEvent| matches!(event, ClientEvent::TimeSync(sync) if sync.client_us == 1_500);
        player.until(last);
        // Between the last byte read and the last answer lies a pause; another message follows
        // it, which nothing but the end of the pause brings in.
        player.client.ping(9_999);
        player
            .until(|event| matches!(event, ClientEvent::TimeSync(sync) if sync.client_us == 9_999));
        let least = Duration::from_millis(600);
        assert!(began.elapsed() > least, "{:?} for 1,500 at 2,000/s", began.elapsed());
    }
    server.stopper().stop();
    let reports = server.join().expect("every shard ends");
    assert!(reports[0].metrics.pauses >= 2, "{}", reports[0].metrics.pauses);
}

#[test]
fn a_connection_that_breaks_while_it_closes_does_not_hold_its_shard() {
    let server = start(&Config::loopback());
    for _ in 0..5 {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(2048).expect("a small buffer");
        socket.connect(&server.address().into()).expect("the server listens");
        // Dropping it sends a reset.
        socket.set_linger(Some(Duration::ZERO)).expect("an option");
        let mut stream = TcpStream::from(socket);
        stream.write_all(&ClientKey::new([1; 16]).request("a", "/echo")).expect("sent");
        let (mut link, mut frames) = (Link::new(End::Client), Vec::new());
        // More is echoed than the kernel and a session's queue take together, to a client that
        // does not read: the server closes behind what is queued.
        for _ in 0..120 {
            link.send_binary(vec![1; 60_000].into(), &mut frames);
        }
        stream.write_all(&frames).expect("sent");
        std::thread::yield_now();
        let mut head = [0; 32];
        stream.read_exact(&mut head).expect("the upgrade was answered");
        let response = ask(server.address(), &get("/healthz"));
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        drop(stream);
        for _ in 0..3 {
            let response = ask(server.address(), &get("/healthz"));
            assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        }
    }
    stop(server);
}

/// A room that panics on whoever joins.
struct Trapdoor;

impl RoomType for Trapdoor {
    fn name(&self) -> &str {
        "trapdoor"
    }

    fn spec(&self) -> RoomSpec {
        RoomSpec::at_rate(20, Arc::new(RoomSchema::new(vec![], vec![]).expect("schema")))
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(Self)
    }
}

impl RoomLogic for Trapdoor {
    fn on_join(&mut self, _: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        panic!("{} fell through", joiner.name);
    }
}

#[test]
fn how_a_room_failed_is_in_its_directory_when_the_server_has_ended() {
    let dir = std::env::temp_dir().join(format!("tickloom-failures-{}", std::process::id()));
    let config = Config { failures_dir: Some(dir.clone()), ..Config::loopback() };
    let room_types = RoomTypes::default().with(Trapdoor);
    let server = runtime::serve(&config, &room_types).expect("a loopback port");
    let mut player = Player::connect(server.address());
    let options = &[0xab, 0xcd];
    player.client.join(Join {
        room_type: "trapdoor",
        room: "a",
        name: "tester",
        options,
        ..Join::default()
    });
    player.until(|event| matches!(event, ClientEvent::Refused { .. }));
    stop(server);
    let files: Vec<_> = std::fs::read_dir(&dir).expect("a directory").collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let path = files[0].as_ref().expect("an entry").path();
    let text = std::fs::read_to_string(path).expect("a file");
    for part in ["trapdoor", "on_join", "tester fell through", "\"abcd\""] {
        assert!(text.contains(part), "{part} in {text}");
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}
