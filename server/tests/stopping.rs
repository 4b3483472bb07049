//! How a server ends: told to, or because a shard hangs. Real processes, signals and sockets.
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]
#![expect(clippy::disallowed_methods, reason = "deadlines of real sockets need the real clock")]

mod gate;
mod player;
mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::ids::RoomKey;
use tickloom_server::config::Config;
use tickloom_server::directory::{Directory, ShardIndex};
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime::{self, Server, allowed_cores};

use gate::Gate;
use player::{DEADLINE, Player, ask, connect, get};
use process::Process;

/// Two shards, one of which can be made to hang by closing the gate.
fn start(config: &Config, gate: &Gate) -> Server {
    let room_types = RoomTypes::default().with(Arena::new(20)).with(gate.clone());
    runtime::serve(config, &room_types).expect("a loopback port")
}

fn two_shards() -> Config {
    Config { cores: vec![allowed_cores()[0]; 2], ..Config::loopback() }
}

/// A room of this type on the shard `wanted`.
fn room_on(config: &Config, room_type: &str, wanted: ShardIndex) -> String {
    let directory = Directory::new(config.cores.len(), config.seed);
    let owner = |name: &String| directory.shard_of(&RoomKey::parse(room_type, name).expect("key"));
    let mut names = (0..).map(|number| format!("room-{number}"));
    names.find(|name| owner(name) == wanted).expect("every shard owns rooms")
}

fn go_away(player: &mut Player) -> u32 {
    match player.until(|event| matches!(event, ClientEvent::GoAway { .. })) {
        ClientEvent::GoAway { retry_ms } => retry_ms,
        _ => unreachable!("nothing else was wanted"),
    }
}

/// The number behind a field of the last line of a log.
fn last(log: &str, field: &str) -> u64 {
    let line = log.lines().last().unwrap_or_else(|| panic!("a line: {log}"));
    let value = line.split(&format!("\"{field}\":")).nth(1).unwrap_or_else(|| panic!("{line}"));
    let digits = value.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("{field} in {line}"))
}

/// The answer of a shard that is well. Connections that a hanging one got are given up.
fn ask_living(address: SocketAddr, path: &str) -> String {
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < DEADLINE, "no shard answers");
        let mut stream = connect(address);
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        stream.write_all(&get(path)).expect("sent");
        let mut response = String::new();
        if stream.read_to_string(&mut response).is_ok() {
            return response;
        }
    }
}

#[test]
fn a_signal_tells_everybody_when_to_come_back_and_ends_the_process_in_order() {
    let mut process = Process::serve("", "--seed 1");
    let room = |number: usize| format!("room-{}", number % 5);
    let mut players: Vec<Player> =
        (0..200).map(|number| Player::join(process.address, "arena", &room(number))).collect();
    process.signal(Signal::TERM);
    let mut by_second = [0; 5];
    for player in &mut players {
        let retry_ms = go_away(player);
        assert!(retry_ms <= 5_000, "{retry_ms}");
        by_second[(retry_ms as usize / 1_000).min(4)] += 1;
        assert_eq!(player.until_closed(), 1012);
    }
    assert!(by_second.iter().all(|count| *count >= 20), "not spread: {by_second:?}");
    let refused = TcpStream::connect(process.address).expect_err("nobody new is let in");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    drop(players);
    let (status, log) = process.wait();
    assert!(status.success(), "{status}");
    assert_eq!((last(&log, "closed"), last(&log, "cut")), (200, 0), "{log}");
}

#[test]
fn whoever_does_not_go_is_cut_inside_the_deadline_and_counted() {
    let mut process = Process::serve("", "");
    // One that reads and goes, three that neither read nor go, one that never asked for anything:
    // nobody is told when that one is in, so it comes before those who are.
    let _idle = connect(process.address);
    let mut honest = Player::join(process.address, "arena", "a");
    let _mute: Vec<Player> = (0..3).map(|_| Player::join(process.address, "arena", "a")).collect();
    let started = Instant::now();
    process.signal(Signal::INT);
    assert_eq!(honest.until_closed(), 1012);
    drop(honest);
    let (status, log) = process.wait();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(status.success(), "{status}");
    assert_eq!((last(&log, "closed"), last(&log, "cut")), (1, 4), "{log}");
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut process = Process::serve("", "");
    let mut player = Player::join(process.address, "arena", "a");
    process.signal(Signal::TERM);
    go_away(&mut player);
    // The player does not go, so that the stop would take seconds.
    let started = Instant::now();
    process.signal(Signal::TERM);
    let (status, _) = process.wait();
    assert_eq!(status.code(), Some(128 + 15));
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[test]
fn a_shard_that_hangs_does_not_hold_up_the_stop() {
    let mut config = two_shards();
    config.stop.deadline = Duration::from_secs(1);
    let gate = Gate::default();
    let server = start(&config, &gate);
    let hung_room = room_on(&config, "gate", ShardIndex(0));
    let mut hung = Player::join(server.address(), "gate", &hung_room);
    hung.until(|event| matches!(event, ClientEvent::Applied { .. }));
    let mut other =
        Player::join(server.address(), "arena", &room_on(&config, "arena", ShardIndex(1)));
    gate.close_on_a_room();
    let started = Instant::now();
    server.stopper().stop();
    go_away(&mut other);
    assert_eq!(other.until_closed(), 1012, "who is elsewhere is told");
    drop(other);
    let error = server.join().expect_err("a shard did not stop");
    let elapsed = started.elapsed();
    gate.open();
    assert!(error.to_string().contains("did not stop within 1s: shard 0"), "{error}");
    assert!(elapsed >= Duration::from_secs(1), "it had its time: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
}

#[test]
fn a_stalled_shard_makes_the_server_unready_until_it_moves_again() {
    let mut config = two_shards();
    config.watchdog.unready_after = Duration::from_millis(300);
    config.watchdog.abort_after = Duration::from_secs(3_600);
    let gate = Gate::default();
    let server = start(&config, &gate);
    let room = room_on(&config, "gate", ShardIndex(1));
    let mut player = Player::join(server.address(), "gate", &room);
    player.until(|event| matches!(event, ClientEvent::Applied { .. }));
    let until = |wanted: &str| {
        let started = Instant::now();
        loop {
            let response = ask_living(server.address(), "/readyz");
            if response.contains(wanted) {
                return response;
            }
            assert!(started.elapsed() < DEADLINE, "not {wanted:?} but {response}");
        }
    };
    until("200 OK");
    gate.close();
    let response = until("503 ");
    assert!(response.contains("stalled: shard 1 has not ticked for "), "{response}");
    assert!(response.contains("(ticking room slot 0)"), "{response}");
    let response = ask_living(server.address(), "/healthz");
    assert!(response.starts_with("HTTP/1.1 200"), "it is alive: {response}");
    gate.open();
    let response = until("200 OK");
    assert!(response.ends_with("ready\n"), "{response}");
    player.until(|event| matches!(event, ClientEvent::Applied { .. }));
    server.stopper().stop();
    drop(player);
    server.join().expect("every shard ends");
}

/// Half a server goes on for ever otherwise: its clients wait, and nobody restarts it.
#[test]
fn a_room_that_never_returns_is_named_and_takes_the_process_down() {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    let test = "a_server_whose_room_never_returns";
    command.args(["--ignored", "--exact", test, "--nocapture"]);
    let mut process = Process::start(command);
    let started = Instant::now();
    let _player = Player::join(process.address, "gate", "a");
    let (status, log) = process.wait();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}: {log}");
    assert!(started.elapsed() >= Duration::from_millis(600), "{:?}", started.elapsed());
    let stalled = log.lines().find(|line| line.contains(r#""event":"shard.stalled""#));
    let stalled = stalled.unwrap_or_else(|| panic!("it is not named: {log}"));
    assert!(stalled.contains(r#""activity":"ticking room slot 0""#), "{stalled}");
    assert!(stalled.contains(r#""shard":0"#), "{stalled}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(r#""event":"shard.hung""#), "{last}");
}

#[test]
#[ignore = "not a test: the process that another test starts and expects to be aborted"]
fn a_server_whose_room_never_returns() {
    tracing_subscriber::fmt().json().flatten_event(true).init();
    let mut config = Config::loopback();
    config.watchdog.unready_after = Duration::from_millis(200);
    config.watchdog.abort_after = Duration::from_millis(600);
    let gate = Gate::default();
    gate.close();
    let server = start(&config, &gate);
    tracing::info!(event = "listening", address = %server.address());
    // Nobody joins when this is run by hand.
    let stopper = server.stopper();
    std::thread::spawn(move || {
        std::thread::park_timeout(DEADLINE);
        stopper.stop();
    });
    server.join().expect("nobody joined");
}

#[test]
fn stats_tell_what_the_shards_do() {
    let config = two_shards();
    let server = start(&config, &Gate::default());
    let mut players: Vec<Player> =
        (0..4).map(|_| Player::join(server.address(), "arena", "a")).collect();
    let started = Instant::now();
    let report = loop {
        for player in &mut players {
            player.until(|event| matches!(event, ClientEvent::Applied { .. }));
        }
        let response = ask(server.address(), &get("/stats.json"));
        let (_, body) = response.split_once("\r\n\r\n").expect("a head");
        let report: serde_json::Value = serde_json::from_str(body).expect("JSON");
        // Numbers are as old as a second, and of a second.
        let is_told = report["total"]["tick_duration_p99_us"] != 0;
        if report["total"]["members_count"] == 4 && is_told {
            break report;
        }
        assert!(started.elapsed() < DEADLINE, "{report:#}");
    };
    let owner = ShardIndex(
        report["shards"]
            .as_array()
            .expect("shards")
            .iter()
            .position(|s| s["rooms_count"] == 1)
            .expect("one shard has the room"),
    );
    let directory = Directory::new(2, config.seed);
    assert_eq!(owner, directory.shard_of(&RoomKey::parse("arena", "a").expect("key")));
    let ledger = &report["shards"][owner.0]["ledger"];
    for phase in ["inputs_us", "logic_us", "encode_us", "flush_us"] {
        assert!(ledger["types"]["arena"][phase].is_u64(), "{phase}: {ledger:#}");
    }
    let busiest = &ledger["busiest_rooms"][0];
    assert_eq!(busiest["room_type"], "arena", "{ledger:#}");
    let [encode, flush] = ["encode_us", "flush_us"].map(|phase| busiest[phase].as_u64());
    assert!(encode > Some(0) && flush > Some(0), "it is measured: {ledger:#}");
    let total = &report["total"];
    let at_least = |field: &str, least: u64| {
        let value = total[field].as_u64();
        assert!(value >= Some(least), "{field}: {value:?} in {report:#}");
    };
    at_least("accepted", 4);
    at_least("joins", 4);
    at_least("ticks", 1);
    at_least("busy_us", 1);
    at_least("sessions_count", 4);
    assert!(report["at_us"].as_u64() >= report["shards"][0]["published_us"].as_u64());
    assert!(report["memory_bytes"].as_u64() > Some(1 << 20), "{report:#}");
    assert_eq!(report["unready"], serde_json::json!([]));
    server.stopper().stop();
    drop(players);
    server.join().expect("every shard ends");
}
