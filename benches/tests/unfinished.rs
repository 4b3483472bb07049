//! What a client costs that begins the largest message it may send and never ends it.
//!
//! Whoever reaches the port can do that on every connection there may be, so the sum of them is
//! the memory that strangers command. The count is exact, so it is a test and not a benchmark.

use allocation_counter::measure;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::limits::CLIENT_MESSAGE_BYTES_MAX;
use tickloom_protocol::time::Timestamp;
use tickloom_server::config::Config;
use tickloom_server::rooms::built_in_types;
use tickloom_server::session::NO_SOCKET;
use tickloom_server::shard::{Shard, ShardConfig};

const CLIENTS: usize = 100;

/// Heap that one client may command, as ARCHITECTURE.md promises: a message that is nearly whole,
/// and what a session is anyway.
const CLIENT_BYTES_MAX: u64 = CLIENT_MESSAGE_BYTES_MAX as u64 + 8 * 1024;

/// What a socket is read in.
const READ_BYTES: usize = 64 * 1024;

/// A masked frame (RFC 6455 section 5.2) that announces `announced` bytes and brings `brought`.
fn frame(first_byte: u8, announced: usize, brought: usize) -> Vec<u8> {
    let mut frame = vec![first_byte, 0xff];
    frame.extend_from_slice(&(announced as u64).to_be_bytes());
    frame.resize(frame.len() + 4 + brought, 0);
    frame
}

#[test]
fn an_unfinished_message_costs_no_more_than_is_promised() {
    const MOST: usize = CLIENT_MESSAGE_BYTES_MAX;
    const BINARY: u8 = 0x02;
    const CONTINUATION: u8 = 0x00;
    const FINAL: u8 = 0x80;
    let rows: [(&str, Vec<Vec<u8>>); 5] = [
        ("nothing", vec![]),
        ("a frame that is announced", vec![frame(FINAL | BINARY, MOST, 0)]),
        ("a frame but its last byte", vec![frame(FINAL | BINARY, MOST, MOST - 1)]),
        (
            "half in a fragment, half in another but its last byte",
            vec![frame(BINARY, MOST / 2, MOST / 2), frame(CONTINUATION, MOST / 2, MOST / 2 - 1)],
        ),
        (
            "fragments of a kilobyte",
            [vec![frame(BINARY, 1024, 1024)], vec![frame(CONTINUATION, 1024, 1024); 61]].concat(),
        ),
    ];
    for (name, frames) in rows {
        let config = Config::loopback();
        let mut shard = Shard::new(ShardConfig::alone(&config, built_in_types(&config)));
        let sessions: Vec<_> =
            (0..CLIENTS).map(|_| shard.handle_accept(Timestamp(1), NO_SOCKET)).collect();
        let bytes = [ClientKey::new([7; 16]).request("a", "/ws"), frames.concat()].concat();
        let mut answer = vec![0; 4096];
        let used = measure(|| {
            for &session in &sessions {
                for piece in bytes.chunks(READ_BYTES) {
                    shard.handle_bytes(Timestamp(2), session, piece);
                }
                let sent = shard.outgoing(session, &mut answer).map_or(0, <[u8]>::len);
                shard.handle_sent(Timestamp(2), session, sent);
            }
        });
        assert_eq!(shard.metrics().closes.len(), 0, "{name}: nobody was closed for it");
        let each = used.bytes_current as u64 / CLIENTS as u64;
        println!("{name}: {each} bytes");
        assert!(each <= CLIENT_BYTES_MAX, "{name}: {each} bytes");
    }
}

#[test]
fn a_fragment_that_would_be_too_much_is_refused_before_there_is_room_for_it() {
    const MOST: usize = CLIENT_MESSAGE_BYTES_MAX;
    let config = Config::loopback();
    let mut shard = Shard::new(ShardConfig::alone(&config, built_in_types(&config)));
    let session = shard.handle_accept(Timestamp(1), NO_SOCKET);
    shard.handle_bytes(Timestamp(1), session, &ClientKey::new([7; 16]).request("a", "/ws"));
    shard.handle_bytes(Timestamp(1), session, &frame(0x02, 2, 2));
    let used = measure(|| shard.handle_bytes(Timestamp(2), session, &frame(0x80, MOST - 1, 0)));
    assert_eq!(shard.metrics().closes.get(&1009), Some(&1));
    assert!(used.bytes_total < 4096, "{} bytes", used.bytes_total);
}
