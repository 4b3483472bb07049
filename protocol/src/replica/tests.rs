use super::*;
use crate::chunks::put_chunk;
use crate::schema::{ComponentDesc, FieldDesc, FieldType, TopicDesc};
use crate::server_message::DeltaHead;

const BODY: ComponentId = ComponentId(0);
const SECRET: ComponentId = ComponentId(1);

fn replica() -> Replica {
    let field = || vec![FieldDesc::new("hp", FieldType::U8)];
    let components = vec![
        ComponentDesc::packed("body", field()).expect("layout"),
        ComponentDesc::packed("secret", field()).expect("layout").for_owner(),
    ];
    let schema = RoomSchema::new(components, vec![]).expect("schema");
    let schema = schema.with_topics(vec![TopicDesc::new("chat")]).expect("topics");
    Replica::new(MemberId(3), Arc::new(schema))
}

fn chunk(stream: StreamId, kind: ChunkKind, body: &[u8]) -> Vec<u8> {
    let mut chunks = Vec::new();
    put_chunk(&mut chunks, stream, kind, body);
    chunks
}

fn apply(replica: &mut Replica, ticks: (u32, u32), chunks: &[u8]) -> Result<Outcome, ApplyError> {
    let (base, tick) = (Tick(ticks.0), Tick(ticks.1));
    let head = DeltaHead { tick, base, ..DeltaHead::default() };
    replica.apply(&Delta { head, chunks }).map(|applied| applied.outcome)
}

/// A room with entities 0 and 5, the second with 9 hit points.
fn snapshot() -> Vec<u8> {
    chunk(StreamId::ROOM, ChunkKind::Snapshot, &[0, 1, 0, 5, 3, 0, 1, 0, 6, 9, 0])
}

#[test]
fn a_snapshot_replaces_and_a_delta_applies() {
    let mut replica = replica();
    assert_eq!(apply(&mut replica, (0, 4), &snapshot()), Ok(Outcome::Snapshot));
    assert_eq!(replica.entities().row(BODY, EntityId(5)), Some(&[9][..]));
    assert_eq!(replica.entities().owner(EntityId(5)), Some(MemberId(3)));
    let delta = chunk(StreamId::ROOM, ChunkKind::Delta, &[0, 8, 0, 0, 1, 0, 6, 8, 2, 1, 0]);
    assert_eq!(apply(&mut replica, (4, 5), &delta), Ok(Outcome::Delta));
    assert_eq!(replica.entities().row(BODY, EntityId(5)), Some(&[8][..]));
    assert_eq!(replica.entities().row(BODY, EntityId(7)), Some(&[1][..]));
    assert_eq!(apply(&mut replica, (0, 9), &snapshot()), Ok(Outcome::Snapshot));
    assert!(!replica.entities().contains(EntityId(7)), "a snapshot leaves nothing behind");
}

#[test]
fn a_gap_waits_for_a_snapshot_and_a_duplicate_does_nothing() {
    let mut replica = replica();
    let empty = chunk(StreamId::ROOM, ChunkKind::Delta, &[0, 0]);
    assert_eq!(apply(&mut replica, (3, 4), &empty), Ok(Outcome::Awaiting));
    assert_eq!(apply(&mut replica, (0, 4), &snapshot()), Ok(Outcome::Snapshot));
    assert_eq!(apply(&mut replica, (3, 4), &empty), Ok(Outcome::Duplicate));
    let gap = ApplyError::Gap { have: Tick(4), base: Tick(6) };
    assert_eq!(apply(&mut replica, (6, 7), &empty), Err(gap));
    assert_eq!(apply(&mut replica, (4, 8), &empty), Ok(Outcome::Awaiting));
    assert_eq!(apply(&mut replica, (0, 9), &snapshot()), Ok(Outcome::Snapshot));
}

#[test]
fn a_hash_that_differs_is_an_error_and_one_that_fits_is_counted() {
    let mut replica = replica();
    apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
    let hash = replica.entities().hash(View::Room, &mut Vec::new());
    for (base, planted, fits) in [(4, hash, true), (5, hash ^ 1, false)] {
        let chunks = chunk(StreamId::ROOM, ChunkKind::Hash, &u32::to_le_bytes(planted));
        let result = apply(&mut replica, (base, base + 1), &chunks);
        assert_eq!(result.is_ok(), fits, "{result:?}");
    }
    assert_eq!(replica.tick(), Tick::ZERO, "a mismatch waits for a snapshot");
}

#[test]
fn a_delta_from_zero_leaves_nothing_of_what_was_there_before() {
    let empty = chunk(StreamId::ROOM, ChunkKind::Delta, &[0, 0]);
    let member = chunk(StreamId::MEMBER, ChunkKind::Snapshot, &[0, 0]);
    for (name, chunks) in
        [("no chunks", &[][..]), ("a delta chunk", &empty), ("the member's stream", &member)]
    {
        let mut replica = replica();
        apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
        assert_eq!(apply(&mut replica, (0, 5), chunks), Ok(Outcome::Snapshot), "{name}");
        let ids: Vec<EntityId> = replica.entities().ids().collect();
        assert_eq!(ids, [EntityId::ROOM], "{name}");
    }
}

#[test]
fn a_hash_is_the_end_of_its_stream() {
    // The story: hashes were counted in a byte, so 256 of them, each of seven bytes and each
    // a pass over the whole room, ended the process.
    let mut sample = replica();
    apply(&mut sample, (0, 4), &snapshot()).expect("a snapshot");
    let [room, member] = [View::Room, View::Member(MemberId(3))].map(|view| {
        let mut chunk = Vec::new();
        sample.entities().put_hash_chunk(view, &mut Vec::new(), &mut chunk);
        chunk
    });
    let [room_delta, member_delta] =
        [StreamId::ROOM, StreamId::MEMBER].map(|stream| chunk(stream, ChunkKind::Delta, &[0, 0]));
    let long = [&[0, 3, 5], &room[3..], &[0]].concat();
    let short = chunk(StreamId::ROOM, ChunkKind::Hash, &[1; 3]);
    for (name, chunks, expected) in [
        ("one each", [&room[..], &member_delta, &member].concat(), Ok(2)),
        ("in the other order", [&member[..], &room_delta, &room].concat(), Ok(2)),
        ("256 hashes", room.repeat(256), Err(ChunkError::AfterHash(0))),
        ("a delta behind", [&room[..], &room_delta].concat(), Err(ChunkError::AfterHash(0))),
        ("two of the member", member.repeat(2), Err(ChunkError::AfterHash(1))),
        ("five bytes", long, Err(ChunkError::HashTooLong)),
        ("three bytes", short, Err(ChunkError::Truncated)),
    ] {
        let mut replica = replica();
        apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
        let head = DeltaHead { tick: Tick(5), base: Tick(4), ..DeltaHead::default() };
        let applied = replica.apply(&Delta { head, chunks: &chunks });
        let expected = expected.map_err(|error| ApplyError::Malformed { tick: Tick(5), error });
        assert_eq!(applied.map(|applied| applied.hashes_checked), expected, "{name}");
    }
}

#[test]
fn chunks_that_do_not_fit_the_room_are_malformed() {
    let (room, member) = (StreamId::ROOM, StreamId::MEMBER);
    let delta = ChunkKind::Delta;
    let rows = [
        (
            "row for a stranger",
            chunk(room, delta, &[0, 0, 1, 0, 8, 1, 0]),
            ChunkError::UnknownEntity(7),
        ),
        ("leave of a stranger", chunk(room, delta, &[8, 0, 0]), ChunkError::UnknownEntity(7)),
        ("leave of the room", chunk(room, delta, &[1, 0, 0]), ChunkError::UnexpectedStructure),
        (
            "enter on the member stream",
            chunk(member, delta, &[0, 8, 0, 0]),
            ChunkError::UnexpectedStructure,
        ),
        (
            "a private component in public",
            chunk(room, delta, &[0, 0, 1, 1, 6, 1, 0]),
            ChunkError::WrongComponent(1),
        ),
        ("component 2", chunk(room, delta, &[0, 0, 1, 2, 6, 1, 0]), ChunkError::WrongComponent(2)),
        (
            "props of a packed component",
            chunk(room, delta, &[0, 0, 4, 0, 0]),
            ChunkError::WrongComponent(0),
        ),
        ("section 9", chunk(room, delta, &[0, 0, 9, 0]), ChunkError::UnknownSection(9)),
        ("stream 3", chunk(StreamId(3), delta, &[0, 0]), ChunkError::UnknownStream(3)),
        ("a cell", chunk(StreamId::CELLS, delta, &[0, 0]), ChunkError::UnknownStream(16)),
        ("chunk kind 9", vec![0, 9, 0], ChunkError::UnknownChunk(9)),
        ("cut row", chunk(room, delta, &[0, 0, 1, 0, 6]), ChunkError::Truncated),
        ("no end of list", chunk(room, delta, &[0, 0, 1, 0, 6, 1]), ChunkError::Truncated),
    ];
    for (name, chunks, error) in rows {
        let mut replica = replica();
        apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
        let expected = ApplyError::Malformed { tick: Tick(5), error };
        assert_eq!(apply(&mut replica, (4, 5), &chunks), Err(expected), "{name}");
        assert_eq!(replica.tick(), Tick::ZERO, "{name}: waits for a snapshot");
    }
}

#[test]
fn events_of_a_delta_that_breaks_are_heard_from_the_next() {
    // The story: they counted as heard although nobody was told, so when the room repeated
    // them behind its snapshot they were passed over.
    let events = chunk(StreamId::ROOM, ChunkKind::Events, &[5, 1, 3, 1, b'a', 0]);
    let broken = [&events[..], &chunk(StreamId::ROOM, ChunkKind::Hash, &[0; 4])].concat();
    let mut replica = replica();
    apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
    let mismatch = apply(&mut replica, (4, 5), &broken);
    assert!(matches!(mismatch, Err(ApplyError::HashMismatch { .. })), "{mismatch:?}");
    assert_eq!(replica.heard().iter().len(), 0, "nothing was applied");
    apply(&mut replica, (0, 6), &[snapshot(), events].concat()).expect("a snapshot");
    let bodies: Vec<_> = replica.heard().iter().map(|event| event.body).collect();
    assert_eq!((bodies, replica.heard().lost()), (vec![&b"a"[..]], 0));
    let gap = apply(&mut replica, (7, 8), &[]);
    assert!(matches!(gap, Err(ApplyError::Gap { .. })), "{gap:?}");
    assert_eq!(replica.heard().iter().len(), 0, "they were the delta's before");
}

#[test]
fn private_values_arrive_on_the_member_stream() {
    let mut replica = replica();
    let mut chunks = snapshot();
    put_chunk(&mut chunks, StreamId::MEMBER, ChunkKind::Snapshot, &[0, 0, 1, 1, 6, 42, 0]);
    apply(&mut replica, (0, 4), &chunks).expect("a snapshot");
    assert_eq!(replica.entities().row(SECRET, EntityId(5)), Some(&[42][..]));
}
