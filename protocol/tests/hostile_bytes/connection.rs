//! A whole client, and the bytes of a server nobody wrote.

use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::handshake::{ClientKey, Head};
use tickloom_protocol::limits;
use tickloom_protocol::link::{End, put_binary_header};

use crate::corpus::{frames, server_messages};
use crate::seeds::{for_each_seed, mutated, pieces};
use crate::targets::output_bytes_max;

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
