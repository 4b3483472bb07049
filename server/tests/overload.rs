//! What happens when something runs out: newcomers are turned away and told so, those who have a
//! seat notice nothing, and when there is enough again everybody is welcome.
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]
#![expect(clippy::disallowed_methods, reason = "deadlines of real sockets need the real clock")]

mod gate;
mod player;
mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage, Join};
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::link::{End, Link};
use tickloom_server::config::Config;
use tickloom_server::directory::{Directory, ShardIndex};
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime::{self, Server, allowed_cores};

use gate::Gate;
use player::{DEADLINE, Player, ask, connect, get};
use process::Process;

fn start(config: &Config, gate: &Gate) -> Server {
    let room_types = RoomTypes::default().with(Arena::new(20)).with(gate.clone());
    runtime::serve(config, &room_types).expect("a loopback port")
}

fn stop(server: Server) {
    server.stopper().stop();
    server.join().expect("every shard ends");
}

fn is_applied(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Applied { .. })
}

/// Asks for a page until a shard answers; one that hangs, or a server without descriptors, does
/// not.
fn try_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    stream.write_all(&get(path)).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    (!response.is_empty()).then_some(response)
}

/// Asks until the answer is as wanted.
fn get_until(address: SocketAddr, path: &str, wanted: impl Fn(&str) -> bool) -> String {
    let started = Instant::now();
    loop {
        let response = try_get(address, path).unwrap_or_default();
        if wanted(&response) {
            return response;
        }
        assert!(started.elapsed() < DEADLINE, "{path} says {response:?}");
    }
}

/// A total of `/stats.json`; 0 when that is no answer.
fn total(response: &str, field: &str) -> u64 {
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let report: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    report["total"][field].as_u64().unwrap_or(0)
}

#[test]
fn at_the_cap_on_connections_upgrades_are_refused_and_probes_answered() {
    let config = Config { connections_max: 3, ..Config::loopback() };
    let server = start(&config, &Gate::default());
    let address = server.address();
    let mut players: Vec<Player> = (0..3).map(|_| Player::join(address, "arena", "a")).collect();
    let response = ask(address, &ClientKey::new([1; 16]).request("a", "/ws"));
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    assert!(response.contains("Retry-After: 1"), "{response}");
    let response = ask(address, &get("/healthz"));
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    get_until(address, "/stats.json", |response| total(response, "shed_connections") == 1);
    // Those who say nothing get an answer, too, once there are more than a few of them.
    let silent: Vec<TcpStream> = (0..16).map(|_| connect(address)).collect();
    let response = ask(address, b"");
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    drop(silent);
    players.pop().expect("three").client.close();
    let started = Instant::now();
    loop {
        let mut stream = connect(address);
        let request = ClientKey::new([1; 16]).request("a", "/ws");
        stream.write_all(&request).expect("sent");
        let mut status = [0; 12];
        match stream.read_exact(&mut status) {
            Ok(()) if status == *b"HTTP/1.1 101" => break,
            Ok(()) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
        assert!(started.elapsed() < DEADLINE, "the place is never free again");
    }
    players[0].until(is_applied);
    stop(server);
}

#[test]
fn out_of_descriptors_newcomers_are_refused_and_later_ones_are_welcome() {
    // Descriptors the server does not know of leave it fewer than its cap on connections needs.
    let hoard = "ulimit -n 80; for fd in {10..66}; do eval \"exec $fd</dev/null\"; done;";
    let mut process = Process::serve(hoard, &format!("--cores {}", allowed_cores()[0]));
    let address = process.address;
    let healthy = || {
        try_get(address, "/healthz").is_some_and(|response| response.starts_with("HTTP/1.1 200"))
    };
    let mut player = Player::join(address, "arena", "a");
    let began = Instant::now();
    let mut recoveries = Vec::new();
    for _ in 0..3 {
        // A connection that just ended may free a descriptor, so one refusal is not the end.
        let (mut held, mut refusals) = (Vec::new(), 0);
        while refusals < 5 {
            held.push(connect(address));
            refusals = if healthy() { 0 } else { refusals + 1 };
            assert!(held.len() < 60, "the limit was never met");
        }
        player.until(is_applied);
        let freed = Instant::now();
        drop(held);
        while !healthy() {
            assert!(freed.elapsed() < DEADLINE, "accepting never recovers");
        }
        recoveries.push(freed.elapsed());
        player.until(is_applied);
    }
    // A busy machine may delay one of them.
    let fastest = recoveries.iter().min().expect("three");
    assert!(*fastest < Duration::from_millis(200), "{recoveries:?}");
    get_until(address, "/stats.json", |response| total(response, "shed_descriptors") >= 3);
    process.signal(Signal::TERM);
    assert_eq!(player.until_closed(), 1012, "the player was there all along");
    drop(player);
    let (status, log) = process.wait();
    assert!(status.success(), "{status}");
    let is_shed = |line: &&str| line.contains(r#""event":"shed""#);
    let sheds: Vec<&str> = log.lines().filter(is_shed).collect();
    assert!(!sheds.is_empty(), "nothing is said: {log}");
    assert!(sheds.iter().all(|line| line.contains(r#""kind":"descriptors""#)), "{sheds:?}");
    assert!(sheds.len() as u64 <= began.elapsed().as_secs() + 1, "once a second: {sheds:?}");
}

#[test]
fn what_strangers_send_is_in_the_log_escaped_and_once_a_second() {
    let mut process = Process::serve("", &format!("--cores {}", allowed_cores()[0]));
    let address = process.address;
    let request = ClientKey::new([1; 16]).request("a", "/ws");
    let request = String::from_utf8(request).expect("ASCII");
    // Letters that turn lines around, quotes that end strings, and more of it than fits a line.
    let origin = format!("https://evil\u{202e}\"\\, {{}} {}", "x".repeat(4_000));
    let request = request.replacen("Host", &format!("Origin: {origin}\r\nHost"), 1);
    let began = Instant::now();
    for _ in 0..100 {
        let response = ask(address, request.as_bytes());
        assert!(response.starts_with("HTTP/1.1 403 "), "{response}");
    }
    let seconds = began.elapsed().as_secs();
    get_until(address, "/stats.json", |response| total(response, "origins_refused") == 100);
    process.signal(Signal::TERM);
    let (status, log) = process.wait();
    assert!(status.success(), "{status}");
    let is_plain = |line: &str| line.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    assert!(log.lines().all(is_plain), "{log}");
    let lines: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let refused: Vec<_> = log.lines().filter(|line| line.contains("origin.refused")).collect();
    assert!((1..=seconds + 1).contains(&(refused.len() as u64)), "{} lines", refused.len());
    assert!(refused.iter().all(|line| line.len() < 1_000), "{refused:?}");
    assert!(refused[0].contains(r"https://evil\\xe2\\x80\\xae"), "{}", refused[0]);
    assert!(lines.len() > refused.len());
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
    let pages: u64 = statm.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a number");
    pages * rustix::param::page_size() as u64
}

#[test]
fn short_of_memory_nobody_new_is_let_in_until_there_is_enough() {
    const MIB: usize = 1 << 20;
    let memory_bytes_max = resident_bytes() + 96 * MIB as u64;
    let config = Config { memory_bytes_max: Some(memory_bytes_max), ..Config::loopback() };
    let server = start(&config, &Gate::default());
    let address = server.address();
    let mut seated = Player::join(address, "arena", "a");
    let mut waiting = Player::connect(address);
    let hoard = std::hint::black_box(vec![1_u8; 192 * MIB]);
    let response = get_until(address, "/readyz", |response| response.starts_with("HTTP/1.1 503"));
    assert!(response.contains(&format!("the cap is {memory_bytes_max}")), "{response}");
    let response = ask(address, &ClientKey::new([1; 16]).request("a", "/ws"));
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    waiting.client.join(Join { room_type: "arena", room: "a", name: "late", ..Join::default() });
    let refused = waiting.until(|event| matches!(event, ClientEvent::Refused { .. }));
    let text = format!("{refused:?}");
    assert!(text.contains("ServerFull") && text.contains("retry_ms: 1000"), "{text}");
    seated.until(is_applied);
    let is_counted = |response: &str| {
        (total(response, "shed_memory_upgrades"), total(response, "shed_memory_joins")) == (1, 1)
    };
    get_until(address, "/stats.json", is_counted);
    drop(std::hint::black_box(hoard));
    get_until(address, "/readyz", |response| response.ends_with("ready\n"));
    waiting.client.join(Join { room_type: "arena", room: "a", name: "late", ..Join::default() });
    waiting.until(|event| matches!(event, ClientEvent::Joined));
    seated.until(is_applied);
    stop(server);
}

/// A request and a `Join` behind it, in one go.
fn eager_join(room_type: &str, room: &str) -> Vec<u8> {
    let mut bytes = ClientKey::new([1; 16]).request("a", "/ws");
    let join = Join { room_type, room, name: "x", ..Join::default() };
    let payload = ClientEncoder::default().encode(ClientMessage::Join(join)).to_vec();
    Link::new(End::Client).send_binary(payload.into(), &mut bytes);
    bytes
}

/// Whether the server closed a connection with 1013. Silence is no.
fn is_turned_away(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(5))).expect("a timeout");
    let mut bytes = Vec::new();
    // Ends with an error while the connection is open.
    let _ = stream.read_to_end(&mut bytes);
    let overloaded = [&1013_u16.to_be_bytes()[..], b"overloaded"].concat();
    bytes.windows(overloaded.len()).any(|window| window == overloaded)
}

#[test]
fn sessions_that_find_their_shards_mailbox_full_are_told_and_nobody_else_notices() {
    let cores = vec![allowed_cores()[0]; 2];
    let config = Config { cores, letters_max: 2, ..Config::loopback() };
    let directory = Directory::new(2, config.seed);
    let room_on = |room_type: &str, shard: usize| {
        let mut names = (0..).map(|number| format!("room-{number}"));
        let owner = |name: &str| directory.shard_of(&RoomKey::parse(room_type, name).expect("key"));
        names.find(|name| owner(name) == ShardIndex(shard)).expect("every shard owns rooms")
    };
    let gate = Gate::default();
    let server = start(&config, &gate);
    let address = server.address();
    let mut hung = Player::join(address, "gate", &room_on("gate", 0));
    let mut bystander = Player::join(address, "arena", &room_on("arena", 1));
    hung.until(is_applied);
    gate.close_on_a_room();
    let request = eager_join("gate", &room_on("gate", 0));
    let mut streams: Vec<TcpStream> = (0..60).map(|_| connect(address)).collect();
    for stream in &mut streams {
        stream.write_all(&request).expect("sent");
    }
    // The kernel gave about half of them to the shard that hangs. Of the others two wait in its
    // mailbox.
    let started = Instant::now();
    let (mut turned_away, mut shed) = (0, 0);
    while turned_away == 0 || turned_away != shed {
        let before = streams.len();
        streams.retain_mut(|stream| !is_turned_away(stream));
        turned_away += (before - streams.len()) as u64;
        shed = total(&try_get(address, "/stats.json").unwrap_or_default(), "shed_mailbox");
        assert!(started.elapsed() < DEADLINE, "{turned_away} were told, {shed} were counted");
    }
    assert!((5..=58).contains(&turned_away), "{turned_away}");
    bystander.until(is_applied);
    gate.open();
    // What it hears of its room may be from before. Its answer is not, and the shard has taken its
    // mail by then.
    hung.client.ping(1);
    hung.until(|event| matches!(event, ClientEvent::TimeSync(_)));
    drop(streams);
    drop(hung);
    let mut late = Player::join(address, "arena", &room_on("arena", 0));
    late.until(is_applied);
    bystander.until(is_applied);
    stop(server);
}
