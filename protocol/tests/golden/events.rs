//! Events: chunks by themselves, and a conversation in which some come twice and some are lost.

use std::fmt::Write as _;
use std::sync::Arc;

use tickloom_protocol::chunks::{ChunkKind, put_event, put_varint64};
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::{MemberId, StreamId, Tick, TopicId};
use tickloom_protocol::replica::{Outcome, Replica};
use tickloom_protocol::server_message::{DeltaHead, ServerMessage};

use crate::board::{self, CHAT, LOG, NEWS};
use crate::files::golden;
use crate::room::{MEMBER, chunk, hash_chunk, snapshot_chunk};

const STRANGER: MemberId = MemberId(9);
const GONE: MemberId = MemberId(300);

type Said<'a> = (TopicId, MemberId, &'a [u8]);

fn events_chunk(stream: StreamId, first: u64, events: &[Said<'_>]) -> Vec<u8> {
    let mut body = Vec::new();
    put_varint64(&mut body, first);
    for &(topic, from, bytes) in events {
        put_event(&mut body, topic, from, bytes);
    }
    body.push(0);
    chunk(stream, ChunkKind::Events, &body)
}

/// Each delta of the conversation: its base, its tick and its chunks.
fn conversation() -> [(u32, u32, Vec<u8>); 4] {
    let room = board::room();
    let (snapshot, hash) = (snapshot_chunk(&room, View::Room), hash_chunk(&room, View::Room));
    let public = |first, events: &[Said<'_>]| events_chunk(StreamId::ROOM, first, events);
    let private = |first, events: &[Said<'_>]| events_chunk(StreamId::MEMBER, first, events);
    let (hi, log): (Said<'_>, Said<'_>) = ((CHAT, STRANGER, b"hi"), (LOG, MemberId::SERVER, b""));
    let news: Said<'_> = (NEWS, MEMBER, "né".as_bytes());
    [
        (0, 10, [snapshot.clone(), public(5, &[]), hash.clone()].concat()),
        (10, 11, [public(5, &[hi, log]), private(1, &[(CHAT, STRANGER, b"psst")])].concat()),
        (0, 12, [snapshot, public(5, &[hi, log, news]), hash].concat()),
        (12, 15, [public(11, &[(CHAT, GONE, b"late")]), private(4, &[])].concat()),
    ]
}

#[test]
fn events_chunks_are_frozen() {
    let wide = 0x1_2345_6789;
    for (name, bytes, expected) in [
        (
            "chunks-events.bin",
            events_chunk(StreamId::ROOM, wide, &[(CHAT, STRANGER, b"hi"), (LOG, GONE, &[0, 255])]),
            vec![(wide, CHAT, STRANGER, &b"hi"[..]), (wide + 1, LOG, GONE, &[0, 255])],
        ),
        (
            "chunks-member-events.bin",
            events_chunk(StreamId::MEMBER, 1, &[(NEWS, MemberId::SERVER, b"")]),
            vec![(1, NEWS, MemberId::SERVER, &b""[..])],
        ),
    ] {
        let committed = golden(name, &bytes);
        let snapshot = snapshot_chunk(&board::room(), View::Room);
        let mut replica = Replica::new(MEMBER, Arc::new(board::schema()));
        let chunks = [snapshot, committed].concat();
        replica.apply(&crate::room::delta(0, 1, &chunks)).expect("a snapshot and events");
        let heard: Vec<_> = replica
            .heard()
            .iter()
            .map(|event| (event.seq.0, event.topic, event.from, event.body))
            .collect();
        assert_eq!(heard, expected, "{name}");
    }
}

#[test]
fn a_member_that_follows_the_conversation_hears_every_event_once_and_counts_the_lost() {
    let mut replica = Replica::new(MEMBER, Arc::new(board::schema()));
    let mut table = String::from("file,stream,seq,topic,from,body,lost\n");
    let mut heard_count = Vec::new();
    for (base, tick, chunks) in conversation() {
        let head = DeltaHead { tick: Tick(tick), base: Tick(base), ..DeltaHead::default() };
        let mut message = Vec::new();
        DeltaPrefix::new().put(&head, chunks.len(), &mut message);
        message.extend_from_slice(&chunks);
        let name = format!("events-{tick}.bin");
        let committed = golden(&name, &message);
        let Ok(ServerMessage::Delta(delta)) = ServerMessage::decode(&committed) else {
            panic!("{name} is a delta")
        };
        let outcome = if base == 0 { Outcome::Snapshot } else { Outcome::Delta };
        assert_eq!(replica.apply(&delta).map(|applied| applied.outcome), Ok(outcome), "{name}");
        let heard = replica.heard();
        heard_count.push((heard.iter().len(), heard.lost()));
        for event in heard.iter() {
            let body = event.body.iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            });
            let [stream, topic, from] = [event.stream.0, event.topic.0.into(), event.from.0.into()];
            let (seq, lost) = (event.seq.0, heard.lost());
            let _ = writeln!(table, "{name},{stream},{seq},{topic},{from},{body},{lost}");
        }
    }
    golden("events.csv", table.as_bytes());
    assert_eq!(heard_count, [(0, 0), (3, 0), (1, 0), (1, 5)], "heard, and lost so far");
    let mut body = Vec::new();
    replica.entities().put_snapshot(View::Room, &mut body);
    let mut expected = Vec::new();
    board::room().put_snapshot(View::Room, &mut expected);
    assert_eq!(body, expected, "events change no state");
}
