//! What writes hold, at the borders: a server reads these bytes from anybody.

use tickloom_protocol::changes::read_changes;
use tickloom_protocol::chunks::ChunkError;
use tickloom_protocol::limits;

use crate::corpus::{changes, schema};

#[test]
fn what_the_corpus_holds_is_read_or_refused_as_meant() {
    let out_of_range = Err(ChunkError::EntityOutOfRange);
    let expected = [
        Ok(1),
        out_of_range,
        Ok(0),
        Ok(11),
        Ok(limits::SPAWNS_PER_WRITE_MAX),
        Err(ChunkError::OpaqueTooLong),
    ];
    for (bytes, expected) in changes().iter().zip(expected) {
        let mut found = Vec::new();
        let read = read_changes(bytes, &schema(), &mut found).map(|()| found.len());
        assert_eq!(read, expected, "{bytes:?}");
    }
    let mut one_more = changes().swap_remove(4);
    let end = one_more.len() - 1;
    one_more.splice(end..end, [1, 3]);
    let read = read_changes(&one_more, &schema(), &mut Vec::new());
    assert_eq!(read, Err(ChunkError::EntityOutOfRange), "one more than a write may add");
}

#[test]
fn ids_and_lengths_that_promise_too_much_allocate_nothing() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    for (name, bytes) in [
        ("a leave of 4 billion", [&huge[..], &[0, 0]].concat()),
        ("an enter of 4 billion", [&[0][..], &huge, &[0, 0]].concat()),
        ("an opaque value of 4 GiB", [&[0, 0, 3, 1, 1][..], &huge].concat()),
        ("a key of 4 GiB", [&[0, 0, 4, 2, 1][..], &huge].concat()),
    ] {
        let mut found = Vec::new();
        assert!(read_changes(&bytes, &schema(), &mut found).is_err(), "{name}");
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}
