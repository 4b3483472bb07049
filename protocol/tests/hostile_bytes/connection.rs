//! Bytes on their way in: heads, frames, and a whole client behind them.

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::handshake::{ClientKey, Head, Refusal};
use tickloom_protocol::limits;
use tickloom_protocol::link::{End, Link, Received, put_binary_header};

use crate::corpus::{frames, server_messages};
use crate::seeds::{for_each_seed, mutated, pieces};

#[test]
fn request_heads_are_whole_waited_for_or_refused() {
    let valid: Vec<Vec<u8>> = [
        String::from_utf8(ClientKey::new([7; 16]).request("a", "/ws?x=1")).expect("ASCII"),
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        "POST /api HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc".into(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(limits::HEAD_LINES_MAX)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(limits::HEAD_BYTES_MAX)),
    ]
    .map(String::into_bytes)
    .into();
    for_each_seed(|rng| {
        let bytes = mutated(rng, &valid);
        match Head::parse(&bytes) {
            Ok(None) => assert!(bytes.len() < limits::HEAD_BYTES_MAX, "waits for ever"),
            Ok(Some((head, used))) => {
                assert!(used <= bytes.len().min(limits::HEAD_BYTES_MAX), "{used} bytes used");
                let path_bytes = match &head {
                    Head::Upgrade(upgrade) => upgrade.path().len() + upgrade.response().len(),
                    Head::Http(request) => request.path().len(),
                };
                assert!(path_bytes < 2 * limits::HEAD_BYTES_MAX);
            }
            Err(refusal) => assert!(refusal.response().starts_with(b"HTTP/1.1 4")),
        }
    });
}

#[test]
fn answers_to_an_upgrade_are_whole_waited_for_or_refused() {
    let key = ClientKey::new([7; 16]);
    let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&key.request("a", "/ws")) else {
        panic!("an upgrade")
    };
    let refused = Refusal::OVERLOADED.response();
    let valid = [upgrade.response(), refused];
    for_each_seed(|rng| {
        let bytes = mutated(rng, &valid);
        match key.parse_response(&bytes) {
            Ok(None) => assert!(bytes.len() < limits::HEAD_BYTES_MAX, "waits for ever"),
            Ok(Some(upgraded)) => {
                let used = upgraded.head_bytes;
                assert!(used <= bytes.len(), "{used} bytes used");
            }
            // Any error ends the connection.
            Err(_) => {}
        }
    });
}

/// A pong is at most four bytes longer than its ping, whose header has two; a close frame is
/// sent once.
fn output_bytes_max(input_bytes: usize) -> usize {
    3 * input_bytes + 2 + 4 + 125
}

#[test]
fn a_link_answers_within_bounds_of_what_it_was_fed() {
    for end in [End::Server, End::Client] {
        let valid = frames(end);
        let message_bytes_max = match end {
            End::Server => limits::CLIENT_MESSAGE_BYTES_MAX,
            End::Client => limits::SERVER_MESSAGE_BYTES_MAX,
        };
        for_each_seed(|rng| {
            let bytes: Vec<u8> = (0..rng.usize(1..8)).flat_map(|_| mutated(rng, &valid)).collect();
            let (mut link, mut output, mut received_count) = (Link::new(end), Vec::new(), 0);
            'fed: for mut input in pieces(rng, &bytes) {
                loop {
                    match link.poll(&mut input, &mut output) {
                        Ok(None) => break,
                        Ok(Some(Received::Closed(_))) | Err(_) => break 'fed,
                        Ok(Some(Received::Binary(payload))) => {
                            assert!(payload.len() <= bytes.len().min(message_bytes_max));
                        }
                        Ok(Some(Received::Text(_) | Received::Alive)) => {}
                    }
                    received_count += 1;
                }
                assert!(input.is_empty(), "it takes everything it is fed");
            }
            assert!(received_count <= bytes.len() / 2, "a frame has two bytes or more");
            assert!(output.len() <= output_bytes_max(bytes.len()), "{} bytes", output.len());
        });
    }
}

#[test]
fn a_client_survives_any_server() {
    let nonce = [7; 16];
    let key = ClientKey::new(nonce);
    let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&key.request("a", "/ws")) else {
        panic!("an upgrade")
    };
    let (answers, messages) = ([upgrade.response()], server_messages());
    let control = frames(End::Client);
    for_each_seed(|rng| {
        let mut bytes = if rng.u8(0..8) == 0 { mutated(rng, &answers) } else { answers[0].clone() };
        for index in 0..rng.usize(1..30) {
            // Mostly intact frames, so that the damage inside messages is reached.
            if rng.u8(0..20) == 0 {
                bytes.extend(mutated(rng, &control));
                continue;
            }
            let message = if index == 0 || rng.bool() {
                messages[index % messages.len()].clone()
            } else {
                mutated(rng, &messages)
            };
            put_binary_header(message.len(), &mut bytes);
            bytes.extend_from_slice(&message);
        }
        let mut client = Client::connect("a", "/ws", nonce);
        client.take_output();
        let (mut output_bytes, mut closed) = (0, false);
        for piece in pieces(rng, &bytes) {
            client.handle_bytes(piece);
            while let Some(event) = client.poll_event() {
                assert!(!closed, "{event:?} after the end");
                closed = matches!(event, ClientEvent::Closed(_) | ClientEvent::UpgradeFailed(_));
            }
            if let Some(seat) = client.seat() {
                assert!(seat.replica.entities().count() <= limits::ENTITY_ID_MAX as usize);
            }
            output_bytes += client.take_output().len();
            client.input(&[1]);
            let input_bytes = client.take_output().len();
            assert!(!closed || input_bytes == 0, "nothing is sent after the end");
        }
        assert!(output_bytes <= output_bytes_max(bytes.len()), "{output_bytes} bytes");
    });
}
