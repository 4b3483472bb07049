//! Request heads: whose page asks, who is behind a proxy, which room a path names, and how long a
//! head may take.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage, Join};
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::link::{End, Link};
use tickloom_protocol::server_message::{LeaveReason, RefusalCode};
use tickloom_server::config::Config;
use tickloom_server::config::node::Raw;
use tickloom_server::config::value::Value;
use tickloom_server::origins::OriginPolicy;
use tickloom_server::proxies::{ForwardedHeader, Networks, Proxies, ProxyProtocol};
use tickloom_server::room::described::NAME;
use tickloom_server::rooms::built_in_types;
use tickloom_server::session::NO_SOCKET;
use tickloom_server::shard::{Echo, Shard, ShardConfig};

use crate::harness::{Peer, World};

pub fn world(change: impl FnOnce(&mut Config)) -> World {
    let mut config = Config::loopback();
    change(&mut config);
    World::of(Shard::new(ShardConfig::alone(&config, built_in_types(&config))))
}

pub fn socket(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), 50_000)
}

/// An upgrade with more lines in its head, each ended by CR LF.
pub fn request(target: &str, lines: &str) -> Vec<u8> {
    let request = ClientKey::new([7; 16]).request("play.example", target);
    let request = String::from_utf8(request).expect("ASCII");
    request.replacen("\r\n", &format!("\r\n{lines}"), 1).into_bytes()
}

pub fn status(response: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(response);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn pages_of_others_are_refused_before_the_upgrade_and_counted() {
    let list = OriginPolicy::read(&Raw::Word("https://app.example".into())).expect("a list");
    for (policy, rows) in [
        (OriginPolicy::SameHost, [101, 101, 403, 403, 403, 403]),
        (list, [101, 403, 101, 403, 403, 403]),
        (OriginPolicy::Any, [101; 6]),
    ] {
        let mut world = world(|config| config.origins = policy.clone());
        let lines = [
            "",
            "Origin: https://play.example\r\n",
            "Origin: https://app.example\r\n",
            "Origin: https://evil-play.example\r\n",
            "Origin: null\r\n",
            "Origin: https://play.example\r\nOrigin: https://app.example\r\n",
        ];
        for (target, upgrades) in [("/ws", 1), ("/ws/arena/a", 2), ("/echo", 3)] {
            for (lines, expected) in lines.iter().zip(rows) {
                let id = world.accept(NO_SOCKET);
                let response = world.say(id, &request(target, lines));
                assert_eq!(status(&response), expected, "{policy:?} {target} {lines}");
                assert_eq!(world.is_over(id), expected == 403);
            }
            let refused = rows.iter().filter(|status| **status == 403).count() as u64;
            let metrics = world.shard.metrics();
            assert_eq!(metrics.origins_refused, upgrades * refused);
            assert_eq!(metrics.heads_refused, upgrades * refused);
            assert_eq!(metrics.upgrades, upgrades * (6 - refused));
        }
    }
}

fn proxies(protocol: ProxyProtocol) -> Proxies {
    let trusted = Networks::read(&Raw::Word("10.0.0.0/8".into())).expect("a network");
    Proxies { trusted, header: ForwardedHeader::XForwardedFor, protocol }
}

#[test]
fn whom_a_session_is_counted_for_moves_only_by_the_word_of_a_trusted_proxy() {
    let mut world = world(|config| config.proxies = proxies(ProxyProtocol::Off));
    for (peer, lines, client) in [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "X-Forwarded-For: 203.0.113.7\r\n", "192.0.2.1"),
        ("192.0.2.1", "Forwarded: for=203.0.113.7\r\n", "192.0.2.1"),
        ("192.0.2.1", "X-Forwarded-For: 10.0.0.9\r\nX-Real-IP: 10.0.0.9\r\n", "192.0.2.1"),
        ("10.0.0.1", "X-Forwarded-For: 203.0.113.7\r\n", "203.0.113.7"),
        ("::ffff:10.0.0.1", "X-Forwarded-For: 2001:db8::7\r\n", "2001:db8::7"),
        (
            "10.0.0.1",
            "X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-For: 203.0.113.7\r\n",
            "203.0.113.7",
        ),
        ("10.0.0.1", "Forwarded: for=203.0.113.7\r\n", "10.0.0.1"),
    ] {
        let id = world.accept(socket(peer));
        let response = world.say(id, &request("/ws", lines));
        assert_eq!(status(&response), 101);
        let session = world.shard.sessions().get(id).expect("upgraded");
        let expected: IpAddr = client.parse().expect("an address");
        assert_eq!((session.client(), session.peer()), (expected, socket(peer)), "{peer} {lines}");
    }
}

/// A PROXY protocol header that speaks for 203.0.113.7.
fn proxy_header() -> Vec<u8> {
    let fixed = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    [fixed, vec![203, 0, 113, 7, 10, 0, 0, 1, 0xd4, 0x31, 1, 0xbb]].concat()
}

#[test]
fn a_proxy_header_comes_first_from_trusted_proxies_and_from_nobody_else() {
    let mut world = world(|config| config.proxies = proxies(ProxyProtocol::Required));
    let (header, request) = (proxy_header(), request("/ws", ""));
    let both = [&header[..], &request[..]].concat();
    for cut in [1, 5, 12, 16, 27, 28, 29, 100, both.len()] {
        let id = world.accept(socket("10.0.0.1"));
        let first = world.say(id, &both[..cut]);
        let response = [first, world.say(id, &both[cut..])].concat();
        assert_eq!(status(&response), 101, "cut at {cut}");
        let session = world.shard.sessions().get(id).expect("upgraded");
        assert_eq!(session.client(), socket("203.0.113.7").ip(), "cut at {cut}");
    }
    for (name, peer, bytes, expected) in [
        ("a proxy without one", "10.0.0.1", &request[..], 400),
        ("version 1", "10.0.0.1", b"PROXY TCP4 203.0.113.7 10.0.0.1 54321 443\r\n", 400),
        ("a stranger without one", "192.0.2.1", &request, 101),
        ("a stranger with one", "192.0.2.1", &both, 400),
    ] {
        let id = world.accept(socket(peer));
        assert_eq!(status(&world.say(id, bytes)), expected, "{name}");
    }
    // It is part of the head, and of its time.
    let id = world.accept(socket("10.0.0.1"));
    world.say(id, &header[..20]);
    world.pass(Duration::from_secs(8));
    assert!(world.is_over(id), "half a header for eight seconds");
}

#[test]
fn a_path_gives_a_seat_at_once_and_a_second_join_is_refused() {
    let mut world = world(|_| {});
    let client = Client::connect("a", "/ws/state/lob%62y?name=Ann+B", [0; 16]);
    let mut peer = Peer { id: world.accept(NO_SOCKET), client, events: Vec::new() };
    // A join behind the request is read after the seat was given.
    let join = Join { room_type: "state", room: "b", name: "", ..Join::default() };
    let payload = ClientEncoder::default().encode(ClientMessage::Join(join)).to_vec();
    Link::new(End::Client).send_binary(payload.into(), peer.client.output_mut());
    world.turn(&mut peer);
    assert_eq!(peer.events[..2], [ClientEvent::Upgraded, ClientEvent::Joined]);
    let is_refusal = |event: &ClientEvent| {
        matches!(event, ClientEvent::Refused { code: RefusalCode::AlreadyJoined, .. })
    };
    assert!(is_refusal(&peer.events[2]), "{:?}", peer.events);
    let room = world.room();
    assert_eq!(room.key().to_string(), "state/lobby");
    assert_eq!(room.state().entities().opaque(NAME, peer.entity()), Some(&b"Ann B"[..]));
    // Left, it may join another room by message.
    peer.client.leave();
    peer.client.join(join);
    world.turn(&mut peer);
    assert!(
        peer.events.ends_with(&[ClientEvent::Left(LeaveReason::Asked), ClientEvent::Joined]),
        "{:?}",
        peer.events
    );
}

#[test]
fn paths_that_lead_nowhere_say_why() {
    let mut world = world(|config| config.echo = Echo::Disabled);
    for (target, lines, expected, reason) in [
        ("/nowhere", "", 404, "nothing here"),
        ("/echo", "", 404, "nothing here"),
        ("/ws/", "", 404, "rooms are at"),
        ("/ws/arena", "", 404, "rooms are at"),
        ("/ws/arena/%0a", "", 404, "rooms are at"),
        ("/ws/chess/a", "", 404, "no such room type"),
        ("/ws/arena/a?name=%ff", "", 404, "a member's name"),
        ("/ws/arena/a", "Content-Length: 2\r\n", 413, "no body"),
        ("/ws/arena/a", "Host: b\r\n", 400, "one Host"),
    ] {
        let id = world.accept(NO_SOCKET);
        let response = world.say(id, &request(target, lines));
        assert_eq!(status(&response), expected, "{target} {lines}");
        let text = String::from_utf8(response).expect("ASCII");
        assert!(text.contains(reason), "{target}: {text}");
        assert!(world.is_over(id), "{target}");
    }
    assert_eq!(world.shard.rooms().count(), 0);
}

#[test]
fn slow_heads_are_answered_408_at_their_deadline_while_players_play_on() {
    let mut world = world(|_| {});
    let mut player = world.join("arena", "player");
    let slow: Vec<_> = (0..500).map(|_| world.accept(NO_SOCKET)).collect();
    let head = request("/ws", "");
    let ticks = world.shard.metrics().ticks;
    // A byte every 100 ms, for as long as somebody listens.
    for step in 0..60 {
        for id in &slow {
            if !world.is_over(*id) {
                let answer = world.say(*id, &head[step..=step]);
                assert!(answer.is_empty() || status(&answer) == 408, "{step}");
            }
        }
        world.pass(Duration::from_millis(100));
        world.read(&mut player);
    }
    assert!(slow.iter().all(|id| world.is_over(*id)), "somebody is still there after 6 s");
    assert_eq!(world.shard.metrics().heads_refused, 500);
    assert!(world.shard.metrics().ticks - ticks >= 119, "rooms tick on");
    assert_eq!(world.shard.metrics().ticks_overrun, 0);
    assert!(!world.is_closed(&player));
}
