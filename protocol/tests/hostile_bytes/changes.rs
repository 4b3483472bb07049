//! What writes hold: a server reads these bytes from anybody.

use tickloom_protocol::changes::{Change, Target, read_changes};
use tickloom_protocol::chunks::{ChunkError, Value};
use tickloom_protocol::ids::EntityId;
use tickloom_protocol::limits;
use tickloom_protocol::schema::{Kind, RoomSchema};

use crate::corpus::{OPAQUE_BYTES_MAX, PROPS, changes, schema};
use crate::seeds::{for_each_seed, mutated};

/// What a room may rely on without looking again.
fn assert_fits(schema: &RoomSchema, bytes_count: usize, changes: &[Change<'_>]) {
    assert!(changes.len() <= bytes_count, "every change has a byte of its own");
    let entered = |change: &&Change<'_>| matches!(change, Change::Enter { .. });
    let enters_count = changes.iter().filter(entered).count();
    assert!(enters_count <= limits::SPAWNS_PER_WRITE_MAX, "{enters_count} enter");
    let added = vec![EntityId(1); limits::SPAWNS_PER_WRITE_MAX];
    let mut last_leave = None;
    for change in changes {
        match *change {
            Change::Leave(entity) => {
                assert!(last_leave < Some(entity) && entity.0 < limits::ENTITY_ID_MAX);
                last_leave = Some(entity);
            }
            Change::Enter { .. } => {}
            Change::Row(component, target, row) => {
                assert!(schema.layout(component).is_some_and(|layout| layout.accepts(row)));
                assert!(target.resolve(&added).is_some());
            }
            Change::Removed(component, target) => {
                assert!(component.index() < schema.components().len());
                assert!(target.resolve(&added).is_some());
            }
            Change::Opaque(component, target, value) => {
                let kind = &schema.components()[component.index()].kind;
                assert!(matches!(kind, Kind::Opaque { .. }) && value.len() <= OPAQUE_BYTES_MAX);
                assert!(target.resolve(&added).is_some());
            }
            Change::Prop(component, target, key, ref value) => {
                assert!(component == PROPS && target.resolve(&added).is_some());
                assert!((1..=limits::PROP_KEY_BYTES_MAX).contains(&key.len()));
                let resolved = match value {
                    Value::Entity(entity) => Target::from(*entity).resolve(&added),
                    value => value.is_valid().then_some(EntityId::ROOM),
                };
                assert!(resolved.is_some(), "{value:?}");
            }
        }
    }
}

#[test]
fn changes_that_are_read_fit_the_schema_and_the_limits() {
    let (valid, schema) = (changes(), schema());
    for_each_seed(|rng| {
        for _ in 0..20 {
            let bytes = mutated(rng, &valid);
            let mut found = Vec::new();
            if read_changes(&bytes, &schema, &mut found).is_ok() {
                assert_fits(&schema, bytes.len(), &found);
            }
        }
    });
}

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
