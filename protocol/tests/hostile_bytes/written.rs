//! What a write holds once its changes are read.

use tickloom_protocol::changes::{Change, Target, read_changes};
use tickloom_protocol::chunks::Value;
use tickloom_protocol::ids::EntityId;
use tickloom_protocol::limits;
use tickloom_protocol::schema::{Kind, RoomSchema};

use crate::corpus::{OPAQUE_BYTES_MAX, PROPS, schema};

/// The changes of a write, in the room of the corpus.
pub fn changes(bytes: &[u8]) {
    let (schema, mut found) = (schema(), Vec::new());
    if read_changes(bytes, &schema, &mut found).is_ok() {
        assert_fits(&schema, bytes.len(), &found);
    }
}

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
