//! Rooms over HTTP: what there are, and seats in them.

use std::net::SocketAddr;
use std::time::Instant;

use serde_json::{Value as Json, json};
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::{Join, JoinMode};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::config::Config;
use tickloom_server::config::node::Raw;
use tickloom_server::config::value::Value;
use tickloom_server::http::ApiKey;
use tickloom_server::rate::Rate;

use crate::player::{DEADLINE, Player, ask, get};
use crate::{start, stop};

const KEY: &str = "correct-horse-battery-staple";

fn config() -> Config {
    let api_key = ApiKey::read(&Raw::Text(KEY.to_owned())).expect("a key");
    Config { api_key, cores: Vec::new(), ..Config::loopback() }
}

fn parse(response: &str) -> (u16, Json) {
    let (head, body) = response.split_once("\r\n\r\n").expect("a head");
    let status = head[9..12].parse().expect("a status");
    (status, serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body}")))
}

fn post(address: SocketAddr, key: &str, body: &Json) -> (u16, Json) {
    let body = body.to_string();
    let head = "POST /api/seats HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let key =
        if key.is_empty() { String::new() } else { format!("Authorization: Bearer {key}\r\n") };
    let request = format!("{head}{key}Content-Length: {}\r\n\r\n{body}", body.len());
    parse(&ask(address, request.as_bytes()))
}

/// The list of rooms, once it is as wanted: shards publish it once a second.
fn rooms_until(address: SocketAddr, query: &str, count: usize) -> Vec<Json> {
    let started = Instant::now();
    loop {
        let (status, body) = parse(&ask(address, &get(&format!("/api/rooms?{query}"))));
        assert_eq!(status, 200, "{body}");
        let rooms = body["rooms"].as_array().expect("a list").clone();
        if rooms.len() == count {
            return rooms;
        }
        assert!(started.elapsed() < DEADLINE, "{body:#}");
    }
}

fn bytes(token: &Json) -> Vec<u8> {
    let text = token.as_str().expect("a text");
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
    pairs.map(|pair| byte(pair).expect("hexadecimal digits")).collect()
}

#[test]
fn another_program_keeps_seats_and_its_users_take_them() {
    let server = start(&config());
    let address = server.address();
    let wanted = json!({
        "room_type": "arena",
        "users": ["ann", "bob"],
        "metadata": { "mode": "ranked", "level": 3, "ratio": 0.5, "fun": true },
    });
    let (status, kept) = post(address, KEY, &wanted);
    assert_eq!((status, kept["expires_ms"].as_u64()), (200, Some(15_000)), "{kept}");
    let room = kept["room"].as_str().expect("a name").to_owned();
    assert_eq!(room.len(), 6, "a code");
    let [ann, bob] = [0, 1].map(|at| kept["seats"][at].clone());
    assert_eq!((&ann["user"], &bob["user"]), (&json!("ann"), &json!("bob")));
    let mut seated = Vec::new();
    for (token, is_good) in [(&ann["token"], true), (&ann["token"], false), (&bob["token"], true)] {
        let seat = bytes(token);
        let mut guest = Player::connect(address);
        let join = Join { room_type: "arena", room: &room, seat: &seat, ..Join::default() };
        guest.client.join(join);
        let answered = |event: &ClientEvent| {
            matches!(event, ClientEvent::Joined | ClientEvent::Refused { .. })
        };
        match guest.until(answered) {
            ClientEvent::Joined => assert!(is_good),
            ClientEvent::Refused { code, .. } => {
                assert!(!is_good);
                assert_eq!(code, RefusalCode::BadSeat);
            }
            event => panic!("{event:?}"),
        }
        seated.push(guest);
    }
    let rooms = rooms_until(address, "type=arena&metadata.mode=ranked&metadata.level=3", 1);
    let expected = json!({ "mode": "ranked", "level": 3, "ratio": 0.5, "fun": true });
    assert_eq!((&rooms[0]["name"], &rooms[0]["metadata"]), (&json!(room), &expected));
    drop(seated);
    stop(server);
}

#[test]
fn seats_are_for_those_who_show_the_key() {
    let off = start(&Config::loopback());
    let wanted = json!({ "room_type": "arena" });
    let (status, answer) = post(off.address(), KEY, &wanted);
    assert_eq!((status, &answer["code"]), (403, &json!("Disabled")), "none is set");
    stop(off);
    let server = start(&config());
    let address = server.address();
    for key in ["", "correct-horse-battery-stapl", "wrong-horse-battery-staple"] {
        let (status, answer) = post(address, key, &wanted);
        assert_eq!((status, &answer["code"]), (401, &json!("Unauthorized")), "{key:?}");
    }
    for (body, status, code) in [
        (json!({ "room_type": "chess" }), 404, "UnknownRoomType"),
        (json!({ "room_type": "arena", "room": "x", "mode": "Join" }), 404, "UnknownRoom"),
        (json!({ "room_type": "arena", "room": "a\nb" }), 400, "BadRoomName"),
        (json!({ "room_type": "arena", "count": 0 }), 400, "BadRequest"),
        (json!({ "room_type": "arena", "count": 101 }), 400, "BadRequest"),
        (json!({ "room_type": "arena", "count": 1, "users": ["a"] }), 400, "BadRequest"),
        (json!({ "room_type": "arena", "metadata": { "a": [] } }), 400, "BadRequest"),
        (json!({ "room_type": "arena", "metadata": { "a": "x".repeat(2000) } }), 400, "BadRequest"),
        (json!({ "rom_type": "arena" }), 400, "BadRequest"),
        (json!([]), 400, "BadRequest"),
        (json!({ "room_type": "arena", "room": "x", "mode": "Create" }), 200, ""),
        (json!({ "room_type": "arena", "room": "x", "mode": "Create" }), 409, "RoomExists"),
        (json!({ "room_type": "arena", "room": "x", "count": 100 }), 200, ""),
        (json!({ "room_type": "arena", "room": "x", "count": 100 }), 409, "RoomFull"),
    ] {
        let (found, answer) = post(address, KEY, &body);
        let code_found = answer["code"].as_str().unwrap_or_default();
        assert_eq!((found, code_found), (status, code), "{body} gives {answer}");
    }
    stop(server);
}

#[test]
fn who_asks_for_seats_too_often_is_told_to_wait() {
    // So slow that nothing comes back while the test runs.
    let seats_rate = Some(Rate::new(1, 3).part(3_600));
    let server = start(&Config { seats_rate, ..config() });
    let address = server.address();
    let wanted = json!({ "room_type": "arena", "room": "x" });
    let statuses = |key: &str, count: usize| -> Vec<u16> {
        (0..count).map(|_| post(address, key, &wanted).0).collect()
    };
    assert_eq!(statuses("wrong-horse-battery-staple", 5), [401; 5]);
    let allowed = statuses(KEY, 5);
    assert!(allowed.starts_with(&[200]) && allowed.ends_with(&[429, 429]), "{allowed:?}");
    let body = wanted.to_string();
    let request = format!(
        "POST /api/seats HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(address, request.as_bytes());
    let head = answer.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 429") && head.contains("\r\nretry-after: "), "{answer}");
    assert!(answer.contains("http.seats_rate"), "{answer}");
    let limited = allowed.iter().filter(|status| **status == 429).count() as u64 + 1;
    let stats = ask(address, &get("/stats.json"));
    let stats = parse(&stats).1;
    assert_eq!(stats["http"]["seats_limited"].as_u64(), Some(limited), "{stats}");
    let metrics = ask(address, &get("/metrics"));
    assert!(metrics.contains(&format!("tickloom_seats_limited_total {limited}\n")), "{metrics}");
    stop(server);
}

#[test]
fn listed_rooms_are_shown_and_others_are_not() {
    let server = start(&Config::loopback());
    let address = server.address();
    let _lobby = Player::join(address, "arena", "lobby");
    let mut private = Player::connect(address);
    let join = Join { room_type: "arena", room: "private", password: "p", ..Join::default() };
    private.client.join(join);
    private.until(|event| matches!(event, ClientEvent::Joined));
    let mut hidden = Player::connect(address);
    let join = Join { room_type: "arena", room: "", mode: JoinMode::Create, ..Join::default() };
    hidden.client.join(join);
    hidden.until(|event| matches!(event, ClientEvent::Joined));
    let rooms = rooms_until(address, "type=arena", 2);
    let field = |at: usize, name: &str| rooms[at][name].clone();
    assert_eq!((field(0, "name"), field(0, "has_password")), (json!("lobby"), json!(false)));
    assert_eq!((field(1, "name"), field(1, "has_password")), (json!("private"), json!(true)));
    assert_eq!((field(0, "members"), field(0, "locked")), (json!(1), json!(false)));
    assert!(field(0, "age_ms").as_u64().is_some() && field(0, "members_max").as_u64().is_some());
    assert_eq!(rooms_until(address, "type=arena&open", 1)[0]["name"], "lobby");
    assert_eq!(rooms_until(address, "limit=1", 1).len(), 1);
    rooms_until(address, "type=chess", 0);
    let (status, answer) = parse(&ask(address, &get("/api/rooms?kind=arena")));
    assert_eq!((status, &answer["code"]), (400, &json!("BadRequest")));
    stop(server);
}
