//! Chunks that are cut or promise too much, and the replica that takes them.

use std::sync::Arc;

use tickloom_protocol::ids::Tick;
use tickloom_protocol::replica::Replica;
use tickloom_protocol::server_message::{Delta, DeltaHead};

use crate::corpus::{MEMBER, chunks, room, schema, snapshot_chunks};

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
