//! Chunks, and the replica that takes them.

use std::sync::Arc;

use tickloom_protocol::entities::Entities;
use tickloom_protocol::events::Heard;
use tickloom_protocol::ids::{ComponentId, EntityId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::replica::{Outcome, Replica};
use tickloom_protocol::server_message::{Delta, DeltaHead};

use crate::corpus::{
    MEMBER, OPAQUE_BYTES_MAX, PROPS, chunks, oversized_chunks, room, schema, snapshot_chunks,
};
use crate::seeds::{for_each_seed, mutated};

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
fn assert_heard_once(heard: &Heard, last: &mut [u64; 2]) {
    for event in heard.iter() {
        let last = &mut last[event.stream.0 as usize];
        assert!(event.seq.0 > *last && event.seq.0 <= limits::EVENT_SEQ_MAX, "{event:?}");
        assert!(event.topic.index() < schema().topics().len(), "{event:?}");
        assert!(event.body.len() <= limits::EVENT_BYTES_MAX, "{event:?}");
        *last = event.seq.0;
    }
}

#[test]
fn a_replica_stays_within_limits_and_recovers_with_a_snapshot() {
    let mut corpus = chunks();
    corpus.extend(oversized_chunks());
    let room = room();
    let snapshot = snapshot_chunks(&room);
    for_each_seed(|rng| {
        let mut replica = Replica::new(MEMBER, Arc::new(schema()));
        let (mut last, mut lost) = ([0; 2], 0);
        for tick in 1..20 {
            let chunks = mutated(rng, &corpus);
            let base = if rng.u8(0..4) == 0 { rng.u32(0..tick) } else { replica.tick().0 };
            let head = DeltaHead { tick: Tick(tick), base: Tick(base), ..DeltaHead::default() };
            let applied = replica.apply(&Delta { head, chunks: &chunks });
            assert!(applied.is_ok() || replica.tick() == Tick::ZERO, "waits for a snapshot");
            assert_within_limits(replica.entities());
            let heard = replica.heard();
            assert!(applied.is_ok() || heard.iter().len() == 0, "nobody was told");
            assert_heard_once(heard, &mut last);
            assert!(heard.lost() >= lost, "{} after {lost}", heard.lost());
            lost = heard.lost();
        }
        let head = DeltaHead { tick: Tick(20), ..DeltaHead::default() };
        let applied = replica.apply(&Delta { head, chunks: &snapshot }).expect("a snapshot");
        assert_eq!((applied.outcome, applied.hashes_checked), (Outcome::Snapshot, 2));
        assert_eq!(replica.tick(), Tick(20));
    });
}

#[test]
fn one_chunk_cut_anywhere_is_malformed() {
    let snapshot = snapshot_chunks(&room());
    for chunk in chunks().split_off(1) {
        for length in 1..chunk.len() {
            let mut replica = Replica::new(MEMBER, Arc::new(schema()));
            let head = DeltaHead { tick: Tick(1), ..DeltaHead::default() };
            replica.apply(&Delta { head, chunks: &snapshot }).expect("a snapshot");
            let head = DeltaHead { tick: Tick(2), base: Tick(1), ..DeltaHead::default() };
            let applied = replica.apply(&Delta { head, chunks: &chunk[..length] });
            assert!(applied.is_err(), "{length} bytes of {chunk:?}");
        }
    }
}

#[test]
fn ids_and_lengths_that_promise_too_much_allocate_nothing() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let rows: [(&str, Vec<u8>); 5] = [
        ("a chunk of 4 GiB", [&[0, 2][..], &huge].concat()),
        ("an entity of 4 billion", [&[0, 2, 7, 0][..], &huge, &[0]].concat()),
        ("an opaque value of 4 GiB", [&[0, 2, 10, 0, 0, 3, 1, 1][..], &huge].concat()),
        ("an event of 4 GiB", [&[0, 4, 8, 1, 1, 0][..], &huge].concat()),
        ("a key of 4 GiB", [&[0, 2, 10, 0, 0, 4, 2, 1][..], &huge].concat()),
    ];
    for (name, chunks) in rows {
        let mut replica = Replica::new(MEMBER, Arc::new(schema()));
        let head = DeltaHead { tick: Tick(1), ..DeltaHead::default() };
        assert!(replica.apply(&Delta { head, chunks: &chunks }).is_err(), "{name}");
        assert_eq!(replica.entities().count(), 1, "{name}");
        assert_eq!(replica.heard().iter().len(), 0, "{name}");
    }
}
