//! Plain HTTP over encrypted connections: they go to the HTTP thread and back as others do, keys
//! and all.
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::Join;
use tickloom_server::config::Config;
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime::{self, Server, allowed_cores};
use tickloom_server::tls::identity::TlsSource;

use crate::player::{Player, ask, connect};
use crate::tls_client::{TlsClient, trusting};

const HEALTHZ: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
const LAST: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// A server, and a client of each version.
fn start(config: Config) -> (Server, [Arc<ClientConfig>; 2]) {
    let config = Config { tls: TlsSource::Made, ..config };
    let room_types = RoomTypes::default().with(Arena::new(20));
    let server = runtime::serve(&config, &room_types).expect("a loopback port");
    let certificate = server.identity().expect("it is encrypted").certificate();
    let clients = [&TLS12, &TLS13].map(|version| Arc::new(trusting(certificate.clone(), version)));
    (server, clients)
}

fn stop(server: Server) {
    server.stopper().stop();
    server.join().expect("every shard ends");
}

/// Sends what was said, and reads until `count` answers with a length have come.
fn exchange(stream: &mut TcpStream, tls: &mut TlsClient, count: usize) -> String {
    let mut buffer = [0; 4096];
    loop {
        stream.write_all(&tls.take_output()).expect("sent");
        let text = String::from_utf8_lossy(&tls.heard).into_owned();
        if answers(&text) == count {
            tls.heard.clear();
            return text;
        }
        let length = stream.read(&mut buffer).expect("bytes");
        assert!(length > 0, "it ended after {text:?}");
        tls.read(&buffer[..length]).expect("valid records");
    }
}

/// How many whole answers a text is.
fn answers(mut text: &str) -> usize {
    let mut count = 0;
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
        let Some(rest) = rest.get(length..) else { return count };
        (text, count) = (rest, count + 1);
    }
    count
}

#[test]
fn an_encrypted_connection_asks_many_times_and_sends_bodies_in_pieces() {
    let (server, clients) = start(Config::loopback());
    for client in &clients {
        let (mut stream, mut tls) = (connect(server.address()), TlsClient::new(client));
        for path in ["/healthz", "/metrics", "/", "/stats.json", "/nothing"] {
            tls.say(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            let text = exchange(&mut stream, &mut tls, 1);
            let status = if path == "/nothing" { "404" } else { "200" };
            assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {text}");
        }
        tls.say(HEALTHZ.repeat(20).as_bytes());
        exchange(&mut stream, &mut tls, 20);
        tls.say(LAST.as_bytes());
        exchange(&mut stream, &mut tls, 1);
        let mut buffer = [0; 4096];
        while !tls.is_done {
            let length = stream.read(&mut buffer).expect("bytes");
            assert!(length > 0, "it ended without saying so");
            tls.read(&buffer[..length]).expect("valid records");
        }

        for cut in [0, 1, 39_999] {
            let (mut stream, mut tls) = (connect(server.address()), TlsClient::new(client));
            let body = vec![b'x'; 40_000];
            tls.say(b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n");
            tls.say(&body[..cut]);
            let mut buffer = [0; 4096];
            while tls.connection.is_handshaking() {
                stream.write_all(&tls.take_output()).expect("sent");
                let length = stream.read(&mut buffer).expect("bytes");
                tls.read(&buffer[..length]).expect("valid records");
            }
            stream.write_all(&tls.take_output()).expect("sent");
            // The one shard has been through everything before this by now.
            assert!(ask(server.address(), client, LAST).ends_with("ok\n"));
            tls.say(&body[cut..]);
            tls.say(HEALTHZ.as_bytes());
            let text = exchange(&mut stream, &mut tls, 2);
            assert!(text.starts_with("HTTP/1.1 405 ") && text.ends_with("ok\n"), "{text}");
        }
    }
    stop(server);
}

#[test]
fn an_encrypted_connection_that_asked_for_its_health_joins_a_room_and_plays() {
    let (server, clients) =
        start(Config { cores: vec![allowed_cores()[0]; 2], ..Config::loopback() });
    let mut players = Vec::new();
    for (number, client) in clients.iter().cycle().take(6).enumerate() {
        let (mut stream, mut tls) = (connect(server.address()), TlsClient::new(client));
        tls.say(HEALTHZ.repeat(3).as_bytes());
        let text = exchange(&mut stream, &mut tls, 3);
        assert!(text.ends_with("ok\n"), "{text}");
        let client = Client::connect("localhost", "/ws", [7; 16]);
        let mut player = Player { stream, tls, client };
        player.until(|event| matches!(event, ClientEvent::Upgraded));
        let room = format!("room-{number}");
        player.client.join(Join {
            room_type: "arena",
            room: &room,
            name: "late",
            ..Join::default()
        });
        player.until(|event| matches!(event, ClientEvent::Joined));
        players.push(player);
    }
    for player in &mut players {
        (0..10).for_each(|_| player.until_applied());
        player.client.close();
        player.until(|event| matches!(event, ClientEvent::Closed(_)));
    }
    stop(server);
}

#[test]
fn whoever_is_slow_behind_encryption_is_told_that_nothing_follows() {
    let mut config = Config::loopback();
    config.http.idle_timeout = Duration::from_millis(300);
    config.http.body_timeout = Duration::from_millis(300);
    let (server, clients) = start(config);
    for client in &clients {
        assert!(ask(server.address(), client, HEALTHZ).ends_with("ok\n"));
        let slow = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
        let answer = ask(server.address(), client, slow);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    stop(server);
}

#[test]
fn a_full_thread_says_so_behind_encryption_too() {
    let mut config = Config::loopback();
    config.http.connections_max = 1;
    let (server, clients) = start(config);
    let [client, _] = &clients;
    let mut holder = Player::connect(server.address(), client);
    holder.tls.say(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n");
    assert!(holder.is_trusted());
    holder.stream.write_all(&holder.tls.take_output()).expect("sent");
    let metrics = LAST.replace("/healthz", "/metrics");
    let refused = ask(server.address(), client, &metrics);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(ask(server.address(), client, LAST).ends_with("ok\n"), "the shard answers this");
    stop(server);
}
