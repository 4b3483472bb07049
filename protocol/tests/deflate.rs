//! Compressed messages through links: what RFC 7692 shows, what nobody should send, and random
//! messages under every set of parameters, however they are cut.

mod frame;

use bytes::Bytes;
use fastrand::Rng;
use proptest::prelude::*;
use tickloom_protocol::deflate::{
    Agreement, Compressor, Compressors, InflateError, Inflater, Kind, Offer,
};
use tickloom_protocol::limits;
use tickloom_protocol::link::{End, Link, LinkLimits, Received};

use frame::masked;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;

/// What two ends agree on by default, and a server's link after that.
fn agreed(offer: Offer) -> Agreement {
    Agreement::from_offers([offer.value().as_bytes()].into_iter()).expect("an offer to be kept")
}

fn server() -> Link {
    Link::with(End::Server, LinkLimits::of(End::Server), Some(agreed(Offer::default())))
}

fn deflated(message: &[u8]) -> Vec<u8> {
    Compressor::new(15).compress(&[message]).to_vec()
}

fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace().map(|b| u8::from_str_radix(b, 16).expect("hex")).collect()
}

/// What comes out of a link, and the code it closes with.
fn feed<'a>(
    link: &mut Link,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> (Vec<Received>, Option<u16>) {
    let (mut received, mut output, mut inflater) = (Vec::new(), Vec::new(), Inflater::default());
    for mut input in pieces {
        loop {
            match link.poll_with(&mut input, &mut output, &mut inflater) {
                Ok(Some(Received::Closed(_))) => return (received, None),
                Ok(Some(message)) => received.push(message),
                Ok(None) => break,
                Err(reason) => {
                    let close = output.windows(2).any(|code| code == reason.code().to_be_bytes());
                    assert!(close, "a close frame is in the output");
                    return (received, Some(reason.code()));
                }
            }
        }
        assert!(input.is_empty(), "it takes everything it is fed");
    }
    (received, None)
}

fn text(text: &str) -> Received {
    Received::Text(text.into())
}

#[test]
fn the_examples_of_rfc_7692_section_7_2_3_are_understood() {
    // Unmasked frames, as a client gets them.
    let once = [
        ("one block", "c1 07 f2 48 cd c9 c9 07 00", vec![text("Hello")]),
        ("in two frames", "41 03 f2 48 cd  80 04 c9 c9 07 00", vec![text("Hello")]),
        (
            "the same window again",
            "c1 07 f2 48 cd c9 c9 07 00  c1 05 f2 00 11 00 00",
            vec![text("Hello"), text("Hello")],
        ),
        ("no compression", "c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00", vec![text("Hello")]),
        ("a last block", "c1 08 f3 48 cd c9 c9 07 00 00", vec![text("Hello")]),
        ("two blocks", "c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00", vec![text("Hello")]),
        ("an empty message", "c1 01 00", vec![text("")]),
        ("plain between", "81 01 61  c1 07 f2 48 cd c9 c9 07 00", vec![text("a"), text("Hello")]),
    ];
    for (name, bytes, expected) in once {
        let bytes = hex(bytes);
        for step in [1, 2, 3, bytes.len()] {
            let agreement = agreed(Offer::default());
            let limits = LinkLimits::of(End::Client);
            let mut link = Link::with(End::Client, limits, Some(agreement));
            let received = feed(&mut link, bytes.chunks(step));
            assert_eq!(received, (expected.clone(), None), "{name}, step {step}");
        }
    }
}

#[test]
fn what_is_no_compressed_message_closes_with_the_code_of_its_fault() {
    let hello = deflated(b"Hello");
    let (head, tail) = hello.split_at(3);
    let start = masked(RSV1 | TEXT, head);
    let mut unmasked = vec![FIN | RSV1 | BINARY, hello.len() as u8];
    unmasked.extend_from_slice(&hello);
    let join = |frames: &[Vec<u8>]| frames.concat();
    let rows = [
        ("compressed", masked(FIN | RSV1 | TEXT, &hello), 1, None),
        ("in two frames", join(&[start.clone(), masked(FIN, tail)]), 1, None),
        ("empty", masked(FIN | RSV1 | BINARY, b""), 1, None),
        ("plain", masked(FIN | BINARY, b"x"), 1, None),
        (
            "a ping between",
            join(&[start.clone(), masked(FIN | PING, b"?"), masked(FIN, tail)]),
            2,
            None,
        ),
        (
            "a plain message within",
            join(&[start.clone(), masked(FIN | BINARY, b"x")]),
            0,
            Some(1002),
        ),
        ("a compressed one within", join(&[start.clone(), start.clone()]), 0, Some(1002)),
        ("a ping with RSV1", masked(FIN | RSV1 | PING, b""), 0, Some(1002)),
        (
            "a continuation with RSV1",
            join(&[start.clone(), masked(FIN | RSV1, tail)]),
            0,
            Some(1002),
        ),
        (
            "a compressed one within a plain one",
            join(&[masked(BINARY, b"x"), masked(FIN | RSV1 | BINARY, &hello)]),
            0,
            Some(1002),
        ),
        ("a continuation of nothing with RSV1", masked(FIN | RSV1, tail), 0, Some(1002)),
        ("RSV2", masked(FIN | 0x20 | BINARY, b""), 0, Some(1002)),
        ("RSV1 and RSV3", masked(FIN | RSV1 | 0x10 | BINARY, b""), 0, Some(1002)),
        ("a reserved opcode", masked(FIN | RSV1 | 3, b""), 0, Some(1002)),
        ("unmasked", unmasked, 0, Some(1002)),
        ("no deflate stream", masked(FIN | RSV1 | BINARY, &[0xff; 20]), 0, Some(1007)),
        ("text that is not UTF-8", masked(FIN | RSV1 | TEXT, &deflated(&[0xff])), 0, Some(1007)),
        (
            "after another",
            join(&[masked(FIN | BINARY, b"x"), masked(FIN | 0x30, b"")]),
            1,
            Some(1002),
        ),
    ];
    for (name, bytes, received_count, code) in rows {
        for step in [1, 3, 7, bytes.len()] {
            let (received, closed) = feed(&mut server(), bytes.chunks(step));
            assert_eq!((received.len(), closed), (received_count, code), "{name}, step {step}");
        }
    }
    let mut plain = Link::new(End::Server);
    let (_, closed) = feed(&mut plain, [&masked(FIN | RSV1 | TEXT, &hello)[..]].into_iter());
    assert_eq!(closed, Some(1002), "nothing was agreed on");
}

#[test]
fn a_message_comes_in_so_many_frames_and_no_more() {
    let max = limits::CLIENT_FRAGMENTS_MAX as usize;
    for rsv1 in [0, RSV1] {
        for (frames_count, is_taken) in [(max, true), (max + 1, false)] {
            let mut bytes = masked(rsv1 | BINARY, b"");
            for _ in 2..frames_count {
                bytes.extend(masked(0, b""));
                bytes.extend(masked(FIN | PING, b""));
            }
            bytes.extend(masked(FIN, b""));
            let (received, closed) = feed(&mut server(), bytes.chunks(512));
            let is_message = matches!(received.last(), Some(Received::Binary(_)));
            assert_eq!((is_message, closed.is_none()), (is_taken, is_taken), "{frames_count}");
            assert!(is_taken || closed == Some(1008));
        }
    }
    let unlimited = LinkLimits { fragments_max: None, ..LinkLimits::of(End::Server) };
    let mut bytes = masked(BINARY, b"");
    bytes.extend(masked(0, b"").repeat(10_000));
    bytes.extend(masked(FIN, b"x"));
    let mut link = Link::with(End::Server, unlimited, Some(agreed(Offer::default())));
    let (received, closed) = feed(&mut link, bytes.chunks(4096));
    assert_eq!((received, closed), (vec![Received::Binary(Bytes::from_static(b"x"))], None));
}

#[test]
fn a_message_is_inflated_to_its_limit_and_no_further() {
    let max = limits::CLIENT_MESSAGE_BYTES_MAX;
    for (length, code) in [(max, None), (max + 1, Some(1009)), (8 << 20, Some(1009))] {
        let mut frames = Vec::new();
        let payload = deflated(&vec![0; length]);
        for (index, part) in payload.chunks(payload.len().div_ceil(8)).enumerate() {
            let first = if index == 0 { RSV1 | BINARY } else { 0 };
            frames.extend(masked(first, part));
        }
        frames.extend(masked(FIN, b""));
        let (received, closed) = feed(&mut server(), frames.chunks(1000));
        assert_eq!((received.len(), closed), (usize::from(code.is_none()), code), "{length}");
    }
    // What does not compress fits as well.
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(max).collect();
    let frame = masked(FIN | RSV1 | BINARY, &deflated(&noise));
    assert!(frame.len() > max);
    let (received, closed) = feed(&mut server(), frame.chunks(1000));
    assert_eq!((received, closed), (vec![Received::Binary(noise.into())], None));
    // What claims to be longer is refused by its header.
    let mut claim = vec![FIN | RSV1 | BINARY, 0x80 | 127];
    claim.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    claim.extend_from_slice(&[0; 4]);
    assert_eq!(feed(&mut server(), claim.chunks(14)), (vec![], Some(1009)));
}

#[test]
fn a_bomb_takes_no_more_memory_than_its_limit() {
    let bomb = deflated(&vec![0; 256 << 20]);
    assert!(bomb.len() < 4 << 20, "{} bytes stand for 256 MiB", bomb.len());
    for bytes_max in [0, 1000, limits::CLIENT_MESSAGE_BYTES_MAX] {
        let mut output = Vec::new();
        let inflated = Inflater::default().inflate(&bomb, bytes_max, &mut output);
        assert_eq!(inflated, Err(InflateError::TooBig), "{bytes_max}");
        assert!(output.capacity() <= bytes_max + 64, "{bytes_max}: {}", output.capacity());
    }
}

#[test]
fn a_bomb_in_layers_of_last_blocks_ends_like_any_other() {
    // Empty blocks that each call themselves the last: two bytes for a stream of their own.
    let payload = [0x03, 0x00].repeat(limits::CLIENT_MESSAGE_BYTES_MAX / 2);
    let (received, closed) =
        feed(&mut server(), [&masked(FIN | RSV1 | BINARY, &payload)[..]].into_iter());
    assert_eq!((received, closed), (vec![Received::Binary(Bytes::new())], None));
}

/// Any parameters that our client can offer and our server accepts.
fn offers() -> impl Strategy<Value = Offer> {
    let bits = || proptest::option::of(9..=15_u8);
    (any::<bool>(), bits(), any::<bool>(), bits()).prop_map(|(server, sbits, client, cbits)| {
        Offer {
            server_no_context_takeover: server,
            server_max_window_bits: sbits,
            client_no_context_takeover: client,
            client_max_window_bits: cbits,
        }
    })
}

/// A message that compresses more or less, of a length that may pass any window.
fn message(rng: &mut Rng) -> Vec<u8> {
    let length = match rng.u8(0..8) {
        0 => 0,
        1..6 => rng.usize(0..600),
        _ => rng.usize(0..limits::CLIENT_MESSAGE_BYTES_MAX),
    };
    let alphabet = rng.u8(1..=96);
    (0..length).map(|_| b' ' + rng.u8(0..alphabet)).collect()
}

/// Cuts bytes at random.
fn cut<'a>(rng: &mut Rng, mut bytes: &'a [u8], longest: usize) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(rng.usize(1..=longest).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

/// The frames of one message of a client, compressed or not, with pings between.
fn client_frames(rng: &mut Rng, bits: u8, compressors: &mut Compressors, bytes: &[u8]) -> Vec<u8> {
    let compressed = compressors.compress(bits, &[bytes]).filter(|_| rng.u8(0..4) > 0);
    let rsv1 = if compressed.is_some() { RSV1 } else { 0 };
    let payload = compressed.unwrap_or(bytes);
    let longest = (payload.len() / rng.usize(1..20)).max(1);
    let mut parts = cut(rng, payload, longest);
    parts.truncate(60);
    let taken: usize = parts.iter().map(|part| part.len()).sum();
    parts.push(&payload[taken..]);
    let mut frames = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let first = if index == 0 { rsv1 | TEXT } else { 0 };
        let is_last = index + 1 == parts.len();
        frames.extend(masked(if is_last { FIN | first } else { first }, part));
        if rng.u8(0..8) == 0 {
            frames.extend(masked(FIN | PING, b"?"));
        }
    }
    frames
}

fn texts(received: Vec<Received>) -> Vec<Vec<u8>> {
    let texts = received.into_iter().filter_map(|received| match received {
        Received::Text(text) => Some(text.as_bytes().to_vec()),
        Received::Binary(_) | Received::Alive | Received::Closed(_) => None,
    });
    texts.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn messages_arrive_whatever_was_agreed_on_and_however_they_are_cut(
        offer in offers(),
        seed: u64,
    ) {
        let (agreement, mut rng) = (agreed(offer), Rng::with_seed(seed));
        let messages: Vec<_> = (0..rng.usize(1..8)).map(|_| message(&mut rng)).collect();

        let mut compressors = Compressors::default();
        let bits = agreement.client.window_bits();
        let bytes: Vec<u8> = messages
            .iter()
            .flat_map(|message| client_frames(&mut rng, bits, &mut compressors, message))
            .collect();
        let mut link = Link::with(End::Server, LinkLimits::of(End::Server), Some(agreement));
        let pieces = cut(&mut rng, &bytes, 3000);
        let (received, closed) = feed(&mut link, pieces.into_iter());
        prop_assert_eq!(closed, None);
        prop_assert_eq!(texts(received), messages.clone(), "to the server");

        let mut compressor = Compressor::new(agreement.server.window_bits());
        let mut bytes = Vec::new();
        for message in &messages {
            if rng.u8(0..4) == 0 {
                let text = str::from_utf8(message).expect("ASCII");
                link.send_text(text.into(), &mut bytes);
                continue;
            }
            if !agreement.server.keeps_context || rng.u8(0..4) == 0 {
                compressor.reset();
            }
            compressor.put_frame(Kind::Text, &cut(&mut rng, message, 9000), &mut bytes);
        }
        let mut link = Link::with(End::Client, LinkLimits::of(End::Client), Some(agreement));
        let pieces = cut(&mut rng, &bytes, 3000);
        let (received, closed) = feed(&mut link, pieces.into_iter());
        prop_assert_eq!(closed, None);
        prop_assert_eq!(texts(received), messages, "to the client");
    }
}

#[test]
fn damaged_streams_end_or_go_on_within_their_limits() {
    let mut rng = Rng::with_seed(7);
    let mut compressors = Compressors::default();
    for _ in 0..2000 {
        let bytes = message(&mut rng);
        let mut frames =
            client_frames(&mut rng, 15, &mut compressors, &bytes[..bytes.len().min(400)]);
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(0..frames.len());
            frames[at] = rng.u8(..);
        }
        let pieces = cut(&mut rng, &frames, 64);
        let (received, _) = feed(&mut server(), pieces.into_iter());
        for message in texts(received) {
            assert!(message.len() <= limits::CLIENT_MESSAGE_BYTES_MAX);
        }
    }
}

#[test]
fn short_and_noisy_messages_are_sent_plain() {
    let agreement = agreed(Offer::default());
    let mut link = Link::with(End::Server, LinkLimits::of(End::Server), Some(agreement));
    let mut compressors = Compressors::new(100);
    let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(500).collect();
    for (name, payload, is_compressed) in
        [("short", vec![7; 99], false), ("long", vec![7; 100], true), ("noise", noise, false)]
    {
        let mut output = Vec::new();
        let payload = Bytes::from(payload);
        link.send_deflated(Kind::Binary, payload.clone(), &mut compressors, &mut output);
        assert_eq!(output[0] & RSV1 != 0, is_compressed, "{name}");
        let mut client = Link::with(End::Client, LinkLimits::of(End::Client), Some(agreement));
        let (received, _) = feed(&mut client, [&output[..]].into_iter());
        assert_eq!(received, [Received::Binary(payload)], "{name}");
    }
    let mut output = Vec::new();
    let payload = Bytes::from(vec![b'a'; 500]);
    Link::new(End::Server).send_deflated(Kind::Text, payload, &mut compressors, &mut output);
    assert_eq!(output[0], FIN | TEXT, "nothing was agreed on");
}
