//! Connections that ask for WebSocket after they have asked for something else, as those of
//! proxies do which keep some open for whoever comes next.

use std::io::Write;
use std::time::Duration;

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage, Join};
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::link::{End, Link};
use tickloom_server::config::Config;
use tickloom_server::runtime::allowed_cores;

use crate::player::{Player, connect, get, read_response};
use crate::{http_until, read_to_end, start, statuses, stop};

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

fn is_applied(event: &ClientEvent) -> bool {
    matches!(event, ClientEvent::Applied { .. })
}

#[test]
fn a_connection_that_asked_for_its_health_joins_a_room_and_plays() {
    let server = start(&Config { cores: vec![allowed_cores()[0]; 2], ..Config::loopback() });
    let mut players = Vec::new();
    for room in ["a", "b", "c"] {
        let mut stream = connect(server.address());
        for _ in 0..3 {
            stream.write_all(HEALTHZ).expect("sent");
            assert!(read_response(&mut stream).expect("an answer").ends_with("ok\n"));
        }
        let client = Client::connect("localhost", "/ws", [7; 16]);
        let mut player = Player { stream, client };
        player.until(|event| matches!(event, ClientEvent::Upgraded));
        player.client.join(Join { room_type: "arena", room, name: "late", ..Join::default() });
        player.until(|event| matches!(event, ClientEvent::Joined));
        players.push(player);
    }
    for player in &mut players {
        (0..20).for_each(|_| drop(player.until(is_applied)));
        player.client.close();
        assert_eq!(player.until_closed(), 1000);
    }
    drop(players);
    http_until(server.address(), |http| http["upgrades"] == 3);
    stop(server);
}

#[test]
fn requests_an_upgrade_and_frames_may_come_in_one_piece() {
    let server = start(&Config::loopback());
    let mut stream = connect(server.address());
    let mut bytes = HEALTHZ.repeat(3);
    bytes.extend(ClientKey::new([7; 16]).request("localhost", "/ws"));
    let join = Join { room_type: "arena", room: "a", name: "eager", ..Join::default() };
    let payload = ClientEncoder::default().encode(ClientMessage::Join(join)).to_vec();
    Link::new(End::Client).send_binary(payload.into(), &mut bytes);
    stream.write_all(&bytes).expect("sent");
    for _ in 0..3 {
        assert!(read_response(&mut stream).expect("an answer").ends_with("ok\n"));
    }
    // A client that thinks it has yet to send what was sent above.
    let mut client = Client::connect("localhost", "/ws", [7; 16]);
    client.take_output();
    let mut player = Player { stream, client };
    player.until(|event| matches!(event, ClientEvent::Upgraded));
    player.client.join(Join { room_type: "arena", room: "a", name: "eager", ..Join::default() });
    player.client.take_output();
    player.until(|event| matches!(event, ClientEvent::Joined));
    player.until(is_applied);
    stop(server);
}

/// What a shard says to a fresh connection it says to one that came round.
#[test]
fn an_upgrade_is_refused_for_the_same_reasons_whichever_way_it_came() {
    let mut config = Config::loopback();
    config.patience.join = Duration::from_millis(300);
    let server = start(&config);
    let good = String::from_utf8(ClientKey::new([7; 16]).request("a", "/ws")).expect("ASCII");
    for (request, status) in [
        (good.replace("GET /ws", "GET /nothing"), 404),
        (good.replace("Version: 13", "Version: 8"), 426),
        (good.replace("GET", "POST"), 405),
        (good.replace("tickloom.v1", "chat"), 400),
        (good.replace("Connection: Upgrade\r\n", ""), 426),
        (good.replace("HTTP/1.1", "HTTP/1.0"), 400),
        (good.replace("Host: a", "Content-Length: 3\r\nHost: a") + "abc", 426),
        (good.replace("Upgrade: websocket", "Upgrade: h2c"), 426),
    ] {
        let mut stream = connect(server.address());
        stream.write_all(&[HEALTHZ, request.as_bytes(), &get("/nothing")].concat()).expect("sent");
        let (text, _) = read_to_end(&mut stream);
        assert_eq!(statuses(&text)[..2], [200, status], "{request}: {text}");
    }
    // Nor do its deadlines: it never joins.
    let mut stream = connect(server.address());
    stream.write_all(HEALTHZ).expect("sent");
    read_response(&mut stream).expect("an answer");
    let mut player = Player { stream, client: Client::connect("localhost", "/ws", [7; 16]) };
    player.until(|event| matches!(event, ClientEvent::Upgraded));
    assert_eq!(player.until_closed(), 1008);
    stop(server);
}
