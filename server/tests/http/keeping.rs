//! How long connections stay, and what they may send meanwhile.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tickloom_protocol::client::ClientEvent;
use tickloom_server::config::Config;

use crate::player::{DEADLINE, Player, ask, connect, get, read_response};
use crate::{http_until, read_to_end, start, start_with, statuses, stop};

const HEALTHZ: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn one_connection_asks_many_times_one_by_one_and_all_at_once() {
    let server = start(&Config::loopback());
    let mut stream = connect(server.address());
    for path in ["/", "/healthz", "/stats.json", "/nothing", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let response = read_response(&mut stream).expect("an answer");
        assert_eq!(status(&response), if path == "/nothing" { "404" } else { "200" }, "{path}");
    }
    drop(stream);
    // The first goes through the shard together with those behind it.
    let mut stream = connect(server.address());
    stream.write_all(&[HEALTHZ.repeat(50), get("/nothing")].concat()).expect("sent");
    let (text, _) = read_to_end(&mut stream);
    assert_eq!(statuses(&text), [vec![200; 50], vec![404]].concat());
    stop(server);
}

#[test]
fn a_body_that_is_split_by_the_way_to_the_thread_is_read_to_its_end() {
    let server = start(&Config::loopback());
    for cut in [0, 1, 4_999, 5_000] {
        let mut stream = connect(server.address());
        let body = vec![b'G'; 5_000];
        let head = b"POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n";
        stream.write_all(&[head, &body[..cut]].concat()).expect("sent");
        // The one shard has been through everything before this by now.
        ask(server.address(), &get("/healthz"));
        stream.write_all(&[&body[cut..], HEALTHZ].concat()).expect("sent");
        for expected in ["405", "200"] {
            let response = read_response(&mut stream).expect("an answer");
            assert_eq!(status(&response), expected, "cut at {cut}: {response}");
        }
        // The next one is chunked: it is read, and the connection ends.
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(chunked.as_bytes()).expect("sent");
        stream.write_all(b"3\r\nabc\r\n0\r\n\r\n").expect("sent");
        let (text, _) = read_to_end(&mut stream);
        assert_eq!(statuses(&text), [405], "{text}");
    }
    stop(server);
}

#[test]
fn old_clients_and_those_who_ask_for_it_are_closed_behind_their_answer() {
    let server = start(&Config::loopback());
    for (request, is_kept) in [
        ("GET /healthz HTTP/1.0\r\n\r\n", false),
        ("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, CLOSE\r\n\r\n", false),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", true),
    ] {
        let mut stream = connect(server.address());
        stream.write_all(request.as_bytes()).expect("sent");
        let response = read_response(&mut stream).expect("an answer");
        assert!(response.ends_with("ok\n"), "{request:?}: {response}");
        if is_kept {
            stream.write_all(&get("/healthz")).expect("sent");
            assert_eq!(status(&read_response(&mut stream).expect("an answer")), "200");
        }
        let (rest, time) = read_to_end(&mut stream);
        assert_eq!(rest, "", "{request:?}");
        assert!(time < Duration::from_secs(1), "{request:?}: {time:?}");
    }
    // One that has said all it has to say still wants to hear the answer.
    let mut stream = connect(server.address());
    stream.write_all(HEALTHZ).expect("sent");
    stream.shutdown(Shutdown::Write).expect("an end");
    let (text, _) = read_to_end(&mut stream);
    assert!(text.ends_with("ok\n"), "{text}");
    stop(server);
}

#[test]
fn whoever_is_slow_is_closed_at_a_deadline_and_holds_nobody_up() {
    let server = start_with(|http| {
        http.idle_timeout = Duration::from_millis(300);
        http.body_timeout = Duration::from_millis(300);
    });
    let address = server.address();
    let started = Instant::now();
    // Silent behind an answer; in the middle of the next head; in the middle of a body.
    let idle = [HEALTHZ, b""].concat();
    let slow_head = [HEALTHZ, b"GET /healthz HTTP/1.1\r\nHo"].concat();
    let slow_body = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc".to_vec();
    let rows = [(idle, vec![200]), (slow_head, vec![200]), (slow_body, vec![408])];
    let mut attackers = Vec::new();
    for _ in 0..20 {
        for (bytes, expected) in &rows {
            let mut stream = connect(address);
            stream.write_all(bytes).expect("sent");
            attackers.push((stream, expected));
        }
    }
    let asked = Instant::now();
    assert_eq!(status(&ask(address, &get("/healthz"))), "200");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    for (stream, expected) in &mut attackers {
        let (text, _) = read_to_end(stream);
        assert_eq!(statuses(&text), **expected, "{text}");
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    http_until(address, |http| http["connections_count"] == 1);
    stop(server);
}

#[test]
fn whoever_does_not_read_its_answers_is_cut() {
    let server = start_with(|http| http.body_timeout = Duration::from_millis(300));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(2048).expect("a small buffer");
    socket.connect(&server.address().into()).expect("the server listens");
    let mut stream = TcpStream::from(socket);
    // Its answers are more than the kernels of both ends take.
    let requests = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(400);
    stream.write_all(&requests).expect("sent");
    http_until(server.address(), |http| {
        http["connections_count"] == 1 && http["connections_opened"].as_u64() > Some(1)
    });
    stop(server);
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_was_sent_and_after() {
    let server = start_with(|http| http.body_bytes_max = 1_000);
    let head = |length: usize, more: &str| {
        format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n")
    };
    // It waits to be told to go on.
    let mut stream = connect(server.address());
    stream.write_all(head(1_001, "Expect: 100-continue\r\n").as_bytes()).expect("sent");
    let (text, _) = read_to_end(&mut stream);
    assert_eq!(statuses(&text), [413], "{text}");
    assert!(text.ends_with("the body exceeds 1000 bytes\n"), "{text}");
    let mut stream = connect(server.address());
    stream.write_all(head(3, "Expect: 100-continue\r\n").as_bytes()).expect("sent");
    let goes_on = read_response_head(&mut stream);
    assert!(goes_on.starts_with("HTTP/1.1 100"), "{goes_on}");
    stream.write_all(b"abc").expect("sent");
    assert_eq!(status(&read_response(&mut stream).expect("an answer")), "405");
    // It sends all of it regardless, and still gets its answer.
    let mut stream = connect(server.address());
    stream.write_all(head(500_000, "").as_bytes()).expect("sent");
    stream.write_all(&vec![b'x'; 500_000]).expect("sent");
    let (text, _) = read_to_end(&mut stream);
    assert_eq!(statuses(&text), [413], "{text}");
    let mut stream = connect(server.address());
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream
        .write_all(format!("{chunked}3e9\r\n{}\r\n", "x".repeat(1_001)).as_bytes())
        .expect("sent");
    let (text, _) = read_to_end(&mut stream);
    assert_eq!(statuses(&text), [413], "{text}");
    stop(server);
}

/// What comes before the first empty line.
fn read_response_head(stream: &mut TcpStream) -> String {
    use std::io::Read;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("ASCII")
}

#[test]
fn a_full_thread_says_so_and_keeps_nobody_waiting() {
    let server = start_with(|http| http.connections_max = 2);
    let address = server.address();
    // Both wait for bodies that do not come.
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n";
    let holders: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(request).expect("sent");
            stream
        })
        .collect();
    let refused = ask(address, &get("/metrics"));
    assert_eq!(status(&refused), "503", "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
    // Its shard answers those who ask whether the server is well.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(status(&ask(address, &get(path))), "200", "{path}");
    }
    // Rooms are none of its business.
    let mut player = Player::join(address, "arena", "a");
    player.until(|event| matches!(event, ClientEvent::Applied { .. }));
    drop(holders);
    let freed = Instant::now();
    while status(&ask(address, &get("/metrics"))) != "200" {
        assert!(freed.elapsed() < DEADLINE, "the places are never free again");
    }
    http_until(address, |http| http["refused"].as_u64() >= Some(1));
    stop(server);
}

#[test]
fn a_server_that_stops_says_so_to_those_who_still_ask() {
    let server = start(&Config::loopback());
    let (mut asking, mut idle) = (connect(server.address()), connect(server.address()));
    for stream in [&mut asking, &mut idle] {
        stream.write_all(HEALTHZ).expect("sent");
        assert_eq!(status(&read_response(stream).expect("an answer")), "200");
    }
    // It does not go, so that the stop takes a while.
    let mut player = Player::join(server.address(), "arena", "a");
    server.stopper().stop();
    player.until(|event| matches!(event, ClientEvent::GoAway { .. }));
    asking.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let (text, _) = read_to_end(&mut asking);
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.ends_with("stopping: connections are being closed\n"), "{text}");
    assert_eq!(player.until_closed(), 1012);
    drop(player);
    let joining = Instant::now();
    server.join().expect("every shard ends");
    assert!(joining.elapsed() < Duration::from_secs(2), "{:?}", joining.elapsed());
    let (text, _) = read_to_end(&mut idle);
    assert_eq!(text, "", "it is let go of in order");
}
