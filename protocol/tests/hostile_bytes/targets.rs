//! What must hold for any bytes at all: one check for each thing that reads another machine's
//! bytes, with valid bytes to start from. The tests here damage those under a seed; the fuzzers of
//! `fuzz/` let coverage guide them.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use tickloom_protocol::client_message::{ClientEncoder, ClientMessage, Interest};
use tickloom_protocol::deflate::{Agreement, Compressor, Inflater, Sender};
use tickloom_protocol::entities::Entities;
use tickloom_protocol::events::Heard;
use tickloom_protocol::handshake::forwarded::{forwarded_for, x_forwarded_for};
use tickloom_protocol::handshake::{ClientKey, Head, Refusal};
use tickloom_protocol::ids::{ComponentId, EntityId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::link::{End, Link, LinkLimits, Received};
use tickloom_protocol::replica::{Outcome, Replica};
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::{Delta, DeltaHead, ServerEncoder, ServerMessage};

use crate::corpus::{self, MEMBER, OPAQUE_BYTES_MAX, PROPS};
use crate::{recorded, world, written};

/// A check and where it may start.
#[derive(Clone, Copy)]
pub struct Target {
    /// What it is called among the fuzzers.
    pub name: &'static str,
    /// Panics when something does not hold for these bytes.
    pub check: fn(&[u8]),
    /// Bytes that mean something, in the form the check takes.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every check.
pub const TARGETS: [Target; 10] = [
    Target { name: "head", check: head, seeds: heads },
    Target { name: "forwarded", check: forwarded, seeds: forwardings },
    Target { name: "link", check: link, seeds: links },
    Target { name: "gate", check: gate, seeds: gates },
    Target { name: "client_message", check: client_message, seeds: client_messages },
    Target { name: "server_message", check: server_message, seeds: server_messages },
    Target { name: "changes", check: written::changes, seeds: changes },
    Target { name: "chunks", check: chunks, seeds: chunk_runs },
    Target { name: "views", check: views, seeds: view_runs },
    Target { name: "recording", check: recorded::recording, seeds: recorded::recordings },
];

/// The check of this name.
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}

/// The golden vectors whose name starts so.
fn vectors(prefix: &str) -> impl Iterator<Item = Vec<u8>> {
    // The fuzzers are a crate of their own, one folder further down.
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder = here.map(|folder| folder.join("vectors")).find(|folder| folder.is_dir());
    let entries = std::fs::read_dir(folder.expect("vectors/")).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && name.ends_with(".bin")
    });
    paths.sort();
    assert!(!paths.is_empty(), "there are vectors that start with {prefix}");
    paths.into_iter().map(|path| std::fs::read(path).expect("a file"))
}

const NONCE: [u8; 16] = [7; 16];

/// A request on its way in, and the same bytes as a server's answer.
fn head(bytes: &[u8]) {
    match Head::parse(bytes) {
        Ok(None) => assert!(bytes.len() < limits::HEAD_BYTES_MAX, "waits for ever"),
        Ok(Some((head, used))) => {
            assert!(used <= bytes.len().min(limits::HEAD_BYTES_MAX), "{used} bytes used");
            let path_bytes = match &head {
                Head::Upgrade(upgrade) => upgrade.path().len() + upgrade.response().len(),
                Head::Http(request) => request.path().len(),
            };
            assert!(path_bytes < 2 * limits::HEAD_BYTES_MAX);
            assert_eq!(Head::parse(&bytes[..used - 1]), Ok(None), "not a byte is too many");
            assert_eq!(
                Head::parse(&bytes[..used]),
                Ok(Some((head, used))),
                "what follows is not its"
            );
        }
        Err(refusal) => assert!(refusal.response().starts_with(b"HTTP/1.1 4")),
    }
    match ClientKey::new(NONCE).parse_response(bytes) {
        Ok(None) => assert!(bytes.len() < limits::HEAD_BYTES_MAX, "waits for ever"),
        Ok(Some(upgraded)) => {
            assert!(upgraded.head_bytes <= bytes.len(), "{} bytes used", upgraded.head_bytes);
        }
        // Any error ends the connection.
        Err(_) => {}
    }
}

fn heads() -> Vec<Vec<u8>> {
    let request = ClientKey::new(NONCE).request("a", "/ws?x=1");
    let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&request) else { panic!("an upgrade") };
    let plain = [
        "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "POST /api HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc".to_owned(),
        format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(limits::HEAD_LINES_MAX)),
        format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(limits::HEAD_BYTES_MAX)),
    ];
    let offers = [
        "permessage-deflate; client_max_window_bits",
        "x-other; a=\"b, c\", permessage-deflate; server_max_window_bits=8, permessage-deflate; \
         server_no_context_takeover; server_max_window_bits=\"10\"",
    ];
    let asking = offers.map(|offer| {
        let line = format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n");
        String::from_utf8(request.clone()).expect("ASCII").replace("\r\n\r\n", &line).into_bytes()
    });
    let mut heads = vec![request, upgrade.response(), Refusal::OVERLOADED.response()];
    heads.extend(asking);
    heads.extend(plain.map(String::into_bytes));
    heads.extend(vectors("upgrade-"));
    heads
}

/// What somebody claims in front of what a trusted proxy appends: the proxy's word comes first.
fn forwarded(claim: &[u8]) {
    let address = IpAddr::from([192, 0, 2, 7]);
    let appended = [claim, b", 192.0.2.7"].concat();
    let mut addresses = x_forwarded_for(&appended);
    assert_eq!(addresses.next(), Some(Some(address)), "X-Forwarded-For");
    assert!(addresses.count() <= claim.len() + 1);
    let appended = [claim, b", for=192.0.2.7;proto=https"].concat();
    let mut addresses = forwarded_for(&appended);
    assert_eq!(addresses.next(), Some(Some(address)), "Forwarded");
    assert!(addresses.count() <= claim.len() + 1);
}

fn forwardings() -> Vec<Vec<u8>> {
    let claims = [
        "",
        "192.0.2.1, 2001:db8::1",
        "[2001:db8::1]:4711, 192.0.2.1:80",
        "for=192.0.2.60;proto=http;by=203.0.113.43, for=\"[2001:db8::1]:47\"",
        "for=unknown, For=\"_gazonk\"; host=\"a, b\"",
        "for=\"192.0.2.1",
        "for=\"a\\\"b\", \\\"",
    ];
    claims.map(|claim| claim.as_bytes().to_vec()).into()
}

/// The most a link answers to so many bytes. A pong is at most four bytes longer than its ping,
/// whose header has two; a close frame is sent once.
pub const fn output_bytes_max(input_bytes: usize) -> usize {
    3 * input_bytes + 2 + 4 + 125
}

/// Which end a link is, by the lowest bit of the first byte of its input.
pub const ENDS: [End; 2] = [End::Server, End::Client];

/// Frames as they arrive. The first byte says at which end, and in pieces of how many bytes.
fn link(bytes: &[u8]) {
    let [how, bytes @ ..] = bytes else { return };
    let end = ENDS[usize::from(how & 1)];
    let new = || Link::with(end, LinkLimits::of(end), None);
    let payload_bytes_max = bytes.len().min(LinkLimits::of(end).message_bytes_max);
    feed(new, end, bytes, usize::from(how >> 1), payload_bytes_max);
}

/// Frames as they arrive where messages may be compressed. The first byte says at which end,
/// whether the sender keeps its window, and of how many frames a message is, if that has a bound;
/// the second in pieces of how many bytes.
fn gate(bytes: &[u8]) {
    let [how, piece_bytes, bytes @ ..] = bytes else { return };
    let end = ENDS[usize::from(how & 1)];
    let sender = Sender { keeps_context: how & 2 != 0, max_window_bits: None };
    let fragments_max = (how >> 2 > 0).then_some(u32::from(how >> 2));
    // Few enough that a bomb is within reach.
    let limits = LinkLimits { message_bytes_max: 5000, fragments_max };
    let agreement = Agreement { server: sender, client: sender };
    let new = || Link::with(end, limits, Some(agreement));
    feed(new, end, bytes, usize::from(*piece_bytes), limits.message_bytes_max);
}

/// Feeds a new link everything at once, and another one in pieces: they differ in nothing.
fn feed(
    new: impl Fn() -> Link,
    end: End,
    bytes: &[u8],
    piece_bytes: usize,
    payload_bytes_max: usize,
) {
    let (whole, output) = fed(new(), bytes, bytes.len().max(1), payload_bytes_max);
    assert!(output.len() <= output_bytes_max(bytes.len()), "{} bytes", output.len());
    if piece_bytes == 0 {
        return;
    }
    let (received, in_pieces) = fed(new(), bytes, piece_bytes, payload_bytes_max);
    assert_eq!(received, whole, "in pieces of {piece_bytes}");
    match end {
        End::Server => assert_eq!(in_pieces, output, "in pieces of {piece_bytes}"),
        // A client's masks are random.
        End::Client => assert_eq!(in_pieces.len(), output.len()),
    }
}

/// Everything a link received and sent.
fn fed(
    mut link: Link,
    bytes: &[u8],
    piece_bytes: usize,
    payload_bytes_max: usize,
) -> (Vec<Result<Received, u16>>, Vec<u8>) {
    let (mut received, mut output) = (Vec::new(), Vec::new());
    let mut inflater = Inflater::default();
    'fed: for mut input in bytes.chunks(piece_bytes) {
        loop {
            match link.poll_with(&mut input, &mut output, &mut inflater) {
                Ok(None) => break,
                Ok(Some(message)) => {
                    let payload_bytes = match &message {
                        Received::Binary(payload) => payload.len(),
                        Received::Text(text) => text.len(),
                        Received::Alive | Received::Closed(_) => 0,
                    };
                    assert!(payload_bytes <= payload_bytes_max, "{payload_bytes} bytes");
                    let is_over = matches!(message, Received::Closed(_));
                    received.push(Ok(message));
                    if is_over {
                        break 'fed;
                    }
                }
                Err(reason) => {
                    received.push(Err(reason.code()));
                    break 'fed;
                }
            }
        }
        assert!(input.is_empty(), "it takes everything it is fed");
    }
    assert!(received.len() <= bytes.len() / 2 + 1, "a frame has two bytes or more");
    (received, output)
}

fn links() -> Vec<Vec<u8>> {
    let with = |how: u8, frames: Vec<u8>| [vec![how], frames].concat();
    let mut links: Vec<Vec<u8>> = Vec::new();
    for (how, end) in (0..).zip(ENDS) {
        let frames = corpus::frames(end);
        links.push(with(how, frames.concat()));
        links.extend(frames.into_iter().map(|frame| with(how, frame)));
    }
    links.extend(vectors("frame-client-").map(|frames| with(2, frames)));
    links.extend(vectors("frame-server-").map(|frames| with(7, frames)));
    links
}

fn gates() -> Vec<Vec<u8>> {
    let texts: [&[u8]; 5] = [b"Hello", b"", "né".as_bytes(), b"\xff", &[b'z'; 6000]];
    let mut gates = Vec::new();
    for (how, end) in (0..).zip(ENDS) {
        let mut compressor = Compressor::new(15);
        let mut all = vec![how | 2, 3];
        for text in texts {
            let compressed = compressor.compress(&[text]).to_vec();
            let (first, second) = compressed.split_at(compressed.len() / 2);
            let whole = corpus::frame(end, 0xc1, &compressed);
            let in_two =
                [corpus::frame(end, 0x42, first), corpus::frame(end, 0x80, second)].concat();
            let ping = corpus::frame(end, 0x89, b"alive?");
            let interrupted = [corpus::frame(end, 0x41, first), ping, whole.clone()].concat();
            let plain = corpus::frame(end, 0x82, text);
            all.extend_from_slice(&whole);
            for frames in [whole, in_two, interrupted, plain] {
                gates.push([vec![how, 0], frames.clone()].concat());
                gates.push([vec![how | 0x0c, 1], frames].concat());
            }
        }
        gates.push(all);
    }
    gates
}

/// One envelope of a client.
fn client_message(bytes: &[u8]) {
    let Ok(message) = ClientMessage::decode(bytes) else { return };
    match message {
        ClientMessage::Join(join) => {
            for name in [join.room_type, join.room, join.name] {
                assert!(name.len() <= limits::NAME_BYTES_MAX);
            }
            assert!(join.options.len() <= limits::JOIN_OPTIONS_BYTES_MAX);
        }
        ClientMessage::Input(input) => {
            assert!(input.row.len() <= limits::INPUT_ROW_BYTES_MAX);
        }
        ClientMessage::Publish(publish) => {
            assert!(publish.to.iter().len() <= limits::RECIPIENTS_MAX);
            assert!(publish.body.len() <= limits::EVENT_BYTES_MAX);
        }
        ClientMessage::Configure(configure) => {
            assert!(configure.password.unwrap_or_default().len() <= limits::PASSWORD_BYTES_MAX);
            assert!(configure.metadata.unwrap_or_default().len() <= limits::METADATA_BYTES_MAX);
        }
        ClientMessage::Kick(kick) => {
            assert!(kick.message.len() <= limits::CLOSE_REASON_BYTES_MAX);
        }
        ClientMessage::Interest(Interest::At { x, y }) => {
            assert!(x.is_finite() && y.is_finite());
        }
        ClientMessage::Leave
        | ClientMessage::Interest(Interest::Own)
        | ClientMessage::Report(_)
        | ClientMessage::Write(_)
        | ClientMessage::Ping { .. }
        | ClientMessage::Resync { .. }
        | ClientMessage::Unknown(_) => {}
    }
    let once = ClientEncoder::default().encode(message).to_vec();
    assert_eq!(ClientMessage::decode(&once), Ok(message));
}

fn client_messages() -> Vec<Vec<u8>> {
    let mut messages = corpus::client_messages();
    messages.extend(vectors("client-"));
    messages
}

/// One envelope of a server.
fn server_message(bytes: &[u8]) {
    let Ok(message) = ServerMessage::decode(bytes) else { return };
    if let ServerMessage::Joined(joined) = &message {
        assert!(joined.schema.components().len() <= limits::COMPONENTS_MAX);
        assert!(joined.schema.input().row_bytes() <= limits::INPUT_ROW_BYTES_MAX);
        assert!(joined.entity.0 < limits::ENTITY_ID_MAX);
        assert!(joined.clock.send_every > 0);
        assert!(joined.schema.topics().len() <= limits::TOPICS_MAX);
    }
    if let ServerMessage::Accepted(accepted) = &message {
        assert!(accepted.entities.len() <= limits::SPAWNS_PER_WRITE_MAX);
        assert!(accepted.entities.iter().all(|entity| entity.0 < limits::ENTITY_ID_MAX));
    }
    let mut encoder = ServerEncoder::default();
    let once = encoder.encode(&message).to_vec();
    let again = ServerMessage::decode(&once).expect("what was encoded decodes");
    assert_eq!(encoder.encode(&again), once, "{message:?}");
}

fn server_messages() -> Vec<Vec<u8>> {
    let mut messages = corpus::server_messages();
    messages.extend(vectors("server-"));
    messages.extend(vectors("conversation-"));
    messages.extend(vectors("events-"));
    messages
}

fn changes() -> Vec<Vec<u8>> {
    let mut changes = corpus::changes();
    changes.extend(vectors("changes-"));
    changes
}

/// What every run begins with and ends in: the schema of a room, and a snapshot of it.
static ROOM: LazyLock<(Arc<RoomSchema>, Vec<u8>)> = LazyLock::new(|| {
    let room = corpus::room();
    (Arc::new(corpus::schema()), corpus::snapshot_chunks(&room))
});

/// Ticks in one run of chunks; what follows them is not looked at.
const RUN_TICKS_MAX: u32 = 40;

/// The same of a room with interest.
static WORLD: LazyLock<(Arc<RoomSchema>, Vec<u8>)> =
    LazyLock::new(|| (Arc::new(world::schema()), world::snapshot()));

/// Chunks as they arrive at a replica, tick by tick, put there by [`put_chunks`].
fn chunks(bytes: &[u8]) {
    check_run(bytes, &ROOM, 2);
}

/// The same for a replica that sees part of its room.
fn views(bytes: &[u8]) {
    check_run(bytes, &WORLD, world::HASHES);
}

/// Whatever happened, the snapshot at the end is taken, with so many hashes.
fn check_run(mut bytes: &[u8], room: &(Arc<RoomSchema>, Vec<u8>), hashes: u16) {
    let (schema, snapshot) = room;
    let mut replica = Replica::new(MEMBER, Arc::clone(schema));
    let (mut last, mut lost, mut tick) = ([0; 2], 0, 0);
    while let [behind, low, high, rest @ ..] = bytes
        && tick < RUN_TICKS_MAX
    {
        tick += 1;
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (chunks, following) = rest.split_at(length);
        bytes = following;
        let base =
            if *behind == 0 { replica.tick().0 } else { tick.saturating_sub(u32::from(*behind)) };
        let head = DeltaHead { tick: Tick(tick), base: Tick(base), ..DeltaHead::default() };
        let applied = replica.apply(&Delta { head, chunks });
        assert!(applied.is_ok() || replica.tick() == Tick::ZERO, "waits for a snapshot");
        assert_within_limits(replica.entities());
        if schema.interest().is_some() && applied.is_ok() {
            let on_streams: usize = replica.streams().map(|(_, count)| count).sum();
            assert_eq!(on_streams, replica.entities().count(), "each is on one stream");
        }
        let heard = replica.heard();
        assert!(applied.is_ok() || heard.iter().len() == 0, "nobody was told");
        assert_heard_once(heard, schema.topics().len(), &mut last);
        assert!(heard.lost() >= lost, "{} after {lost}", heard.lost());
        lost = heard.lost();
    }
    let head = DeltaHead { tick: Tick(tick + 1), ..DeltaHead::default() };
    let applied = replica.apply(&Delta { head, chunks: snapshot }).expect("a snapshot");
    assert_eq!((applied.outcome, applied.hashes_checked), (Outcome::Snapshot, hashes));
    assert_eq!(replica.tick(), Tick(tick + 1));
}

/// Appends one tick's chunks to a run: they follow what the replica has, or start so many ticks
/// before theirs.
pub fn put_chunks(behind: u8, chunks: &[u8], run: &mut Vec<u8>) {
    run.push(behind);
    run.extend_from_slice(&(chunks.len() as u16).to_le_bytes());
    run.extend_from_slice(chunks);
}

fn chunk_runs() -> Vec<Vec<u8>> {
    let one_tick = |chunks: &Vec<u8>| {
        let mut run = Vec::new();
        put_chunks(0, chunks, &mut run);
        run
    };
    let all: Vec<Vec<u8>> = corpus::chunks().into_iter().chain(vectors("chunks-")).collect();
    let mut runs: Vec<Vec<u8>> = all.iter().map(one_tick).collect();
    runs.push(runs.concat());
    // Behind a snapshot, so that the entities they speak of are there.
    let snapshot = &runs[0];
    let behind_it =
        corpus::oversized_chunks().map(|over| [snapshot.clone(), one_tick(&over)].concat());
    runs.extend(behind_it);
    runs
}

fn view_runs() -> Vec<Vec<u8>> {
    let mut runs = Vec::new();
    let mut all = Vec::new();
    for (behind, chunks) in [(1, WORLD.1.clone())].into_iter().chain(world::deltas()) {
        let mut run = Vec::new();
        put_chunks(1, &WORLD.1, &mut run);
        put_chunks(behind, &chunks, &mut run);
        runs.push(run);
        put_chunks(behind, &chunks, &mut all);
    }
    runs.push(all);
    runs
}

fn assert_within_limits(entities: &Entities) {
    assert!(entities.count() <= limits::ENTITY_ID_MAX as usize);
    assert!(entities.contains(EntityId::ROOM), "the room is always there");
    for entity in entities.ids() {
        assert!(entity.0 < limits::ENTITY_ID_MAX, "{entity:?}");
        let keys = entities.props(PROPS, entity).map_or(0, |props| props.len());
        assert!(keys <= limits::PROP_KEYS_MAX, "{keys} keys");
        let opaque_bytes = entities.opaque(ComponentId(1), entity).map_or(0, <[u8]>::len);
        assert!(opaque_bytes <= OPAQUE_BYTES_MAX, "{opaque_bytes} bytes");
    }
}

/// Every event's number is higher than those of its stream before it.
fn assert_heard_once(heard: &Heard, topics_count: usize, last: &mut [u64; 2]) {
    for event in heard.iter() {
        let last = &mut last[event.stream.0 as usize];
        assert!(event.seq.0 > *last && event.seq.0 <= limits::EVENT_SEQ_MAX, "{event:?}");
        assert!(event.topic.index() < topics_count, "{event:?}");
        assert!(event.body.len() <= limits::EVENT_BYTES_MAX, "{event:?}");
        *last = event.seq.0;
    }
}
