//! Frames and the handshake.

use bytes::Bytes;
use tickloom_protocol::client_message::{ClientEncoder, ClientMessage};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::handshake::{ClientKey, Head, Offer, Refusal, UpgradeError, Upgraded};
use tickloom_protocol::link::{End, Link, Received, put_binary_header};
use tickloom_protocol::server_message::{Left, ServerEncoder, ServerMessage};

use crate::files::golden;
use crate::frame::masked;

fn receive(end: End, frames: &[u8]) -> (Vec<Received>, Vec<u8>) {
    let (mut link, mut input, mut output) = (Link::new(end), frames, Vec::new());
    let mut received = Vec::new();
    while let Ok(Some(message)) = link.poll(&mut input, &mut output) {
        let closed = matches!(message, Received::Closed(_));
        received.push(message);
        if closed {
            break;
        }
    }
    (received, output)
}

#[test]
fn frames_are_frozen() {
    let ping = ClientEncoder::default().encode(ClientMessage::Ping { client_us: 77 }).to_vec();
    let message = Received::Binary(Bytes::from(ping.clone()));

    let committed = golden("frame-client-binary.bin", &masked(0x82, &ping));
    assert_eq!(receive(End::Server, &committed), (vec![message.clone()], vec![]));

    let (head, tail) = ping.split_at(10);
    let frames = [masked(0x02, head), masked(0x89, b"alive?"), masked(0x80, tail)].concat();
    let committed = golden("frame-client-fragmented.bin", &frames);
    let pong = [&[0x8a, 6][..], b"alive?"].concat();
    assert_eq!(receive(End::Server, &committed), (vec![Received::Alive, message], pong));

    let left = ServerEncoder::default().encode(&ServerMessage::Left(Left::default())).to_vec();
    let mut frame = Vec::new();
    put_binary_header(left.len(), &mut frame);
    frame.extend_from_slice(&left);
    let committed = golden("frame-server-binary.bin", &frame);
    assert_eq!(receive(End::Client, &committed).0, [Received::Binary(left.into())]);

    let mut frame = Vec::new();
    Link::new(End::Server).close(&CloseReason::RESTART, &mut frame);
    let committed = golden("frame-server-close.bin", &frame);
    let reason = CloseReason::new(1012, CloseReason::RESTART.reason());
    assert_eq!(receive(End::Client, &committed).0, [Received::Closed(reason)]);
}

#[test]
fn the_handshake_is_frozen() {
    let key = ClientKey::new(*b"0123456789abcdef");
    let request = key.request("play.example", "/ws/arena/lobby?x=1");
    let committed = golden("upgrade-request.bin", &request);
    let Ok(Some((Head::Upgrade(upgrade), used))) = Head::parse(&committed) else {
        panic!("an upgrade")
    };
    assert_eq!((used, upgrade.path()), (committed.len(), "/ws/arena/lobby"));
    assert_eq!(upgrade.subprotocol, Offer::Tickloom);

    let committed = golden("upgrade-response.bin", &upgrade.response());
    let upgraded = Upgraded { head_bytes: committed.len(), deflate: None };
    assert_eq!(key.parse_response(&committed), Ok(Some(upgraded)));

    let committed = golden("upgrade-refused.bin", &Refusal::OVERLOADED.response());
    assert_eq!(key.parse_response(&committed), Err(UpgradeError::Status(503)));
}
