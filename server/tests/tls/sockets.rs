//! What only a kernel can tell of encrypted connections.
#![expect(clippy::disallowed_methods, reason = "deadlines of real sockets need the real clock")]

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tickloom_protocol::client::ClientEvent;
use tickloom_server::config::Config;
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime::{self, Server, allowed_cores};
use tickloom_server::tls::identity::TlsSource;

use crate::player::{Player, ask, connect};
use crate::tls_client::{TlsClient, trusting};

fn start(config: &Config) -> (Server, Arc<ClientConfig>) {
    let config = Config { tls: TlsSource::Made, ..config.clone() };
    let room_types = RoomTypes::default().with(Arena::new(20));
    let server = runtime::serve(&config, &room_types).expect("a loopback port");
    let certificate = server.identity().expect("it is encrypted").certificate();
    let client = Arc::new(trusting(certificate, &TLS13));
    (server, client)
}

fn stop(server: Server) {
    server.stopper().stop();
    server.join().expect("every shard ends");
}

#[test]
fn players_meet_over_encrypted_connections_whatever_shard_they_connect_to() {
    let config = Config { cores: vec![allowed_cores()[0]; 3], ..Config::loopback() };
    let (server, _) = start(&config);
    let certificate = server.identity().expect("it is encrypted").certificate();
    let mut players: Vec<Player> = [&TLS12, &TLS13]
        .into_iter()
        .cycle()
        .take(8)
        .map(|version| {
            let client = Arc::new(trusting(certificate.clone(), version));
            Player::join(server.address(), &client, "meeting")
        })
        .collect();
    for player in &mut players {
        let hash = |event: &ClientEvent| matches!(event, ClientEvent::Applied { applied, .. } if applied.hashes_checked > 0);
        player.until(hash);
        player.client.close();
        player.until(|event| matches!(event, ClientEvent::Closed(_)));
    }
    stop(server);
}

#[test]
fn requests_are_answered_and_handshakes_counted() {
    let (server, client) = start(&Config::loopback());
    for _ in 0..3 {
        let answer = ask(
            server.address(),
            &client,
            "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let started = Instant::now();
    loop {
        let answer = ask(
            server.address(),
            &client,
            "GET /stats.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        );
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let report: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let total = &report["total"];
        // Numbers are as old as a second.
        if total["handshakes_full"] == 1 && total["handshakes_resumed"].as_u64() >= Some(2) {
            break;
        }
        assert!(started.elapsed() < crate::player::DEADLINE, "{report:#}");
    }
    stop(server);
}

#[test]
fn who_takes_the_port_for_another_is_told_within_a_second() {
    let (encrypted, client) = start(&Config::loopback());
    let plain = runtime::serve(&Config::loopback(), &RoomTypes::default()).expect("a port");
    let hello = TlsClient::new(&client).take_output();
    let rows = [
        (
            encrypted.address(),
            &b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"[..],
            "https:// or wss://",
        ),
        (plain.address(), &hello, "http:// or ws://"),
    ];
    for (address, bytes, advice) in rows {
        let mut stream = connect(address);
        stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        stream.write_all(bytes).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and an end");
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(advice), "{answer}");
    }
    stop(encrypted);
    stop(plain);
}

#[test]
fn a_handshake_that_is_not_finished_is_cut_at_its_deadline() {
    let mut config = Config::loopback();
    config.patience.handshake = Duration::from_millis(300);
    let (server, client) = start(&config);
    for bytes in [Vec::new(), TlsClient::new(&client).take_output()] {
        let started = Instant::now();
        let mut stream = connect(server.address());
        stream.write_all(&bytes).expect("sent");
        let mut answer = Vec::new();
        // Sent bytes that were not read make it a reset.
        let _ = stream.read_to_end(&mut answer);
        let elapsed = started.elapsed();
        assert!(elapsed >= Duration::from_millis(290), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    }
    stop(server);
}

/// The lateness of ticks is the server's own: a machine that is busy with other things delays
/// both halves alike.
#[test]
fn a_flood_of_handshakes_does_not_keep_a_player_waiting() {
    const CONNECTIONS: usize = 300;
    let (server, client) = start(&Config::loopback());
    let address = server.address();
    let mut player = Player::join(address, &client, "a");
    player.until_applied();
    let hello = TlsClient::new(&client).take_output();
    let mut flood: Vec<_> = (0..CONNECTIONS).map(|_| connect(address)).collect();
    let started = Instant::now();
    for stream in &mut flood {
        stream.write_all(&hello).expect("sent");
    }
    // A second of states while they are worked off.
    let mut gap_max = Duration::ZERO;
    for _ in 0..20 {
        let before = Instant::now();
        player.until_applied();
        gap_max = gap_max.max(before.elapsed());
    }
    let elapsed = started.elapsed();
    for stream in &mut flood {
        let mut first = [0];
        stream.read_exact(&mut first).expect("every hello is answered");
    }
    // Fifty milliseconds each, and as much again and more for a busy machine.
    assert!(elapsed < Duration::from_secs(4), "twenty states took {elapsed:?}");
    assert!(gap_max < Duration::from_millis(500), "a state was {gap_max:?} away");
    drop(flood);
    drop(player);
    server.stopper().stop();
    let reports = server.join().expect("every shard ends");
    let lateness = &reports[0].metrics.tick_lateness_us.whole;
    let median = Duration::from_micros(lateness.value_at_quantile(0.5));
    assert!(median < Duration::from_millis(50), "ticks are on time: {median:?}");
}
