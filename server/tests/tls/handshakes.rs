//! Handshakes: many at once, those that take too long, and those that are none.

use std::time::Duration;

use rustls::version::TLS13;
use tickloom_server::config::Config;
use tickloom_server::rate::Rate;

use crate::tls_client::TlsClient;
use crate::world::World;

fn is_due(world: &World) -> bool {
    world.shard.next_due().is_some_and(|due| due <= world.now)
}

/// A handshake costs about 0.1 ms, so that hundreds of them in one turn were a tick nobody got.
#[test]
fn a_flood_of_handshakes_is_worked_off_a_few_per_turn_oldest_first() {
    let mut world = World::new();
    let mut player = world.join("a");
    let config = world.client_config(&TLS13);
    let hello = TlsClient::new(&config).take_output();
    let ids: Vec<_> = (0..100).map(|_| world.accept()).collect();
    for id in &ids {
        world.shard.handle_bytes(world.now, *id, &hello);
    }
    let mut buffer = vec![0; 64 * 1024];
    let (mut answered, mut turns, ticks) = (0, 0, world.shard.metrics().ticks);
    while answered < ids.len() {
        assert!(is_due(&world), "some wait after {answered}");
        world.pass(Duration::from_millis(1));
        turns += 1;
        let mut in_turn = 0;
        while let Some(id) = ids.get(answered)
            && let Some(bytes) = world.shard.outgoing(*id, &mut buffer)
        {
            let sent = bytes.len();
            world.shard.handle_sent(world.now, *id, sent);
            (answered, in_turn) = (answered + 1, in_turn + 1);
        }
        assert!((1..=8).contains(&in_turn), "{in_turn} in turn {turns}");
        world.exchange(&mut player, usize::MAX);
        let after = &ids[answered.min(ids.len() - 1)..];
        let early = after.iter().skip(8).find(|id| {
            let out = world.shard.outgoing(**id, &mut buffer);
            out.is_some()
        });
        assert_eq!(early, None, "nobody is served before its turn");
    }
    let ticked = world.shard.metrics().ticks - ticks;
    assert!(ticked >= turns / 20, "rooms tick in between: {ticked} in {turns} ms");
    assert!(!is_due(&world), "nobody waits any more");
}

/// Handshakes cost what they cost, and a shard that does nothing else has no air left for what its
/// machine does besides. This held for nobody on the list of exempt addresses, where proxies that
/// pass TLS through stand as well.
#[test]
fn handshakes_are_begun_at_a_pace_and_those_that_have_begun_go_on() {
    let pace = Some(Rate::new(100, 10));
    let mut world = World::with(&Config { handshakes_pace: pace, ..Config::loopback() });
    let config = world.client_config(&TLS13);
    // One is in the midst of its handshake when the others come.
    let mut early = world.connect(&config);
    world.shard.handle_bytes(world.now, early.id, &early.tls.take_output());
    world.pass(Duration::ZERO);
    let answer = world.depart(&mut early, usize::MAX);
    early.tls.read(&answer).expect("valid records");
    let hello = TlsClient::new(&config).take_output();
    let mut waiting: Vec<_> = (0..60).map(|_| world.accept()).collect();
    for id in &waiting {
        world.shard.handle_bytes(world.now, *id, &hello);
    }
    assert_eq!(world.shard.take_stats().handshakes_waiting_count, 60);
    let begun_at = world.now;
    let mut answered = 0;
    let mut buffer = vec![0; 64 * 1024];
    while !waiting.is_empty() {
        let due = world.shard.next_due().expect("somebody waits");
        world.pass(due.saturating_since(world.now));
        let before = waiting.len();
        waiting.retain(|id| world.shard.outgoing(*id, &mut buffer).is_none());
        answered += before - waiting.len();
        let elapsed = world.now.saturating_since(begun_at);
        // The early one is among them.
        let allowed = 9 + (elapsed.as_millis() / 10) as usize;
        assert!(answered <= allowed, "{answered} after {elapsed:?}");
        if answered == 20 {
            world.exchange(&mut early, usize::MAX);
            assert_eq!(world.shard.metrics().handshakes_full, 1, "it is not kept waiting");
        }
    }
    assert_eq!(world.now.saturating_since(begun_at), Duration::from_millis(510));
    assert_eq!(world.shard.take_stats().handshakes_waiting_count, 0);
    world.shard.check_invariants();
}

#[test]
fn who_ended_while_it_waited_takes_nobodys_turn() {
    let pace = Some(Rate::new(10, 1));
    let mut world = World::with(&Config { handshakes_pace: pace, ..Config::loopback() });
    let config = world.client_config(&TLS13);
    let hello = TlsClient::new(&config).take_output();
    let ids: Vec<_> = (0..30).map(|_| world.accept()).collect();
    for id in &ids {
        world.shard.handle_bytes(world.now, *id, &hello);
    }
    for id in &ids[..29] {
        world.shard.handle_broken(world.now, *id);
    }
    world.pass(Duration::ZERO);
    let mut buffer = vec![0; 64 * 1024];
    assert!(world.shard.outgoing(ids[29], &mut buffer).is_some(), "it is the next one now");
}

#[test]
fn a_handshake_that_takes_too_long_is_cut_and_counted() {
    let mut config = Config::loopback();
    config.patience.handshake = Duration::from_millis(300);
    config.patience.head = Duration::from_millis(900);
    let mut world = World::with(&config);
    let client_config = world.client_config(&TLS13);
    let hello = TlsClient::new(&client_config).take_output();
    // Nothing, half a hello, a hello and nothing after it, and one that is quick.
    let mut lines: Vec<_> = (0..4).map(|_| world.connect(&client_config)).collect();
    world.shard.handle_bytes(world.now, lines[1].id, &hello[..hello.len() / 2]);
    world.shard.handle_bytes(world.now, lines[2].id, &hello);
    world.exchange(&mut lines[3], usize::MAX);
    world.pass(Duration::from_millis(299));
    for line in &mut lines {
        world.depart(line, usize::MAX);
        assert!(!line.is_closed, "it has its time");
    }
    world.pass(Duration::from_millis(2));
    let mut closed = Vec::new();
    for line in &mut lines {
        while let Some(effect) = world.shard.poll_effect() {
            closed.push(format!("{effect:?}"));
        }
        world.depart(line, usize::MAX);
    }
    assert_eq!(closed.len(), 3, "{closed:?}");
    let metrics = world.shard.metrics();
    let counted = (metrics.handshakes_full, metrics.handshakes_failed, metrics.heads_refused);
    assert_eq!(counted, (1, 3, 0));
    assert_eq!(world.shard.sessions().count(), 1, "who was quick has the head's time");
    world.shard.check_invariants();
}

#[test]
fn a_request_that_is_not_encrypted_is_told_so() {
    for request in ["GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "\r\n", "SSH-2.0-x\r\n"] {
        let mut world = World::new();
        let mut line = world.connect(&world.client_config(&TLS13));
        world.shard.handle_bytes(world.now, line.id, request.as_bytes());
        let answer = String::from_utf8(world.depart(&mut line, usize::MAX)).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("https:// or wss://"), "{answer}");
        assert!(line.is_shut_down);
        world.shard.check_invariants();
    }
}

#[test]
fn who_finds_no_place_costs_no_handshake() {
    let config = Config { connections_max: 1, ..Config::loopback() };
    let mut world = World::with(&config);
    let client_config = world.client_config(&TLS13);
    // One is let in, sixteen may ask how the server is.
    let mut lines: Vec<_> = (0..18).map(|_| world.connect(&client_config)).collect();
    let hello = TlsClient::new(&client_config).take_output();
    for (number, line) in lines.iter_mut().enumerate() {
        world.shard.handle_bytes(world.now, line.id, &hello);
        for _ in 0..3 {
            world.pass(Duration::from_micros(10));
        }
        let answer = world.depart(line, usize::MAX);
        assert_eq!(answer.is_empty(), number == 17, "connection {number}");
    }
    assert_eq!(world.shard.metrics().heads_refused, 1);
}

#[test]
fn failed_handshakes_are_counted_and_get_an_alert() {
    let mut world = World::new();
    let mut line = world.connect(&world.client_config(&TLS13));
    world.shard.handle_bytes(world.now, line.id, &[0x16; 64]);
    world.pass(Duration::from_micros(10));
    let alert = world.depart(&mut line, usize::MAX);
    assert_eq!(alert.first(), Some(&0x15), "{alert:?}");
    assert!(line.is_shut_down);
    assert_eq!(world.shard.metrics().handshakes_failed, 1);
    world.shard.check_invariants();
}
