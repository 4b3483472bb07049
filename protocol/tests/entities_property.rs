//! Whatever happens to entities, a replica that takes their snapshot holds the same, byte for
//! byte, and shows each member its own private values and nobody else's.

use std::sync::Arc;

use proptest::prelude::*;
use tickloom_protocol::chunks::{ChunkKind, Value, put_chunk};
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::replica::{Applied, Outcome, Replica};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema, Scope};
use tickloom_protocol::server_message::{Delta, DeltaHead};

const MEMBERS: u16 = 3;

/// Packed, opaque and props, once for the room and once for owners.
fn schema() -> Arc<RoomSchema> {
    let row = || vec![FieldDesc::new("a", FieldType::U8), FieldDesc::new("b", FieldType::I16)];
    let kinds = |prefix: &str| {
        [
            ComponentDesc::packed(&format!("{prefix}-row"), row()).expect("layout"),
            ComponentDesc::opaque(&format!("{prefix}-bytes"), "text/plain", 20),
            ComponentDesc::props(&format!("{prefix}-props")),
        ]
    };
    let private = kinds("own").map(ComponentDesc::for_owner);
    let components = kinds("room").into_iter().chain(private).collect();
    Arc::new(RoomSchema::new(components, vec![]).expect("schema"))
}

/// Something that happens to the entities. Values for entities that are not there are skipped.
#[derive(Clone, Debug)]
enum Step {
    Insert(EntityId, MemberId),
    Remove(EntityId),
    RemoveValue(ComponentId, EntityId),
    Row(ComponentId, EntityId, [u8; 3]),
    Opaque(ComponentId, EntityId, Vec<u8>),
    Prop(ComponentId, EntityId, String, Value),
    ClearOwnerScope,
    Clear,
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-1e9..1e9).prop_map(Value::Num),
        ".{0,9}".prop_map(|text| Value::Str(text.into())),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|bytes| Value::Bytes(bytes.into())),
        entity().prop_map(Value::Entity),
    ]
}

/// Few ids, so that steps meet; some of them far apart, so that gaps need several bytes.
fn entity() -> impl Strategy<Value = EntityId> {
    prop_oneof![0..6_u32, Just(127), Just(128), Just(129), Just(20_000), Just(65_535)]
        .prop_map(EntityId)
}

fn step() -> impl Strategy<Value = Step> {
    let row = any::<[u8; 3]>();
    let bytes = prop::collection::vec(any::<u8>(), 0..=20);
    prop_oneof![
        8 => (entity(), 0..=MEMBERS).prop_map(|(e, owner)| Step::Insert(e, MemberId(owner))),
        2 => entity().prop_map(Step::Remove),
        2 => (0..6_u8, entity()).prop_map(|(c, e)| Step::RemoveValue(ComponentId(c), e)),
        4 => (prop_oneof![Just(0), Just(3)], entity(), row)
            .prop_map(|(c, e, row)| Step::Row(ComponentId(c), e, row)),
        4 => (prop_oneof![Just(1), Just(4)], entity(), bytes)
            .prop_map(|(c, e, bytes)| Step::Opaque(ComponentId(c), e, bytes)),
        6 => (prop_oneof![Just(2), Just(5)], entity(), "[a-cé]{1,2}", value())
            .prop_map(|(c, e, key, value)| Step::Prop(ComponentId(c), e, key, value)),
        1 => prop_oneof![Just(Step::ClearOwnerScope), Just(Step::Clear)],
    ]
}

fn take(entities: &mut Entities, step: Step) {
    match step {
        Step::Insert(entity, owner) => entities.insert(entity, owner),
        Step::Remove(entity) => entities.remove(entity),
        Step::RemoveValue(component, entity) => {
            let had = entities.has_value(component, entity);
            assert_eq!(entities.remove_value(component, entity), had);
        }
        Step::Row(component, entity, row) if entities.contains(entity) => {
            entities.set_row(component, entity, &row);
            assert_eq!(entities.row(component, entity), Some(&row[..]));
        }
        Step::Opaque(component, entity, bytes) if entities.contains(entity) => {
            entities.set_opaque(component, entity, &bytes);
            assert_eq!(entities.opaque(component, entity), Some(&bytes[..]));
        }
        Step::Prop(component, entity, key, value) if entities.contains(entity) => {
            let expected = (value != Value::Nil).then(|| value.clone());
            entities.set_prop(component, entity, &key, value);
            let stored = entities.props(component, entity).and_then(|props| props.get(&key));
            assert_eq!(stored, expected.as_ref());
        }
        Step::Row(..) | Step::Opaque(..) | Step::Prop(..) => {}
        Step::ClearOwnerScope => entities.clear_scope(Scope::Owner),
        Step::Clear => entities.clear(),
    }
}

fn snapshot(entities: &Entities, view: View) -> Vec<u8> {
    let mut body = Vec::new();
    entities.put_snapshot(view, &mut body);
    body
}

fn replica_of(entities: &Entities, member: MemberId) -> Replica {
    let mut chunks = Vec::new();
    for view in [View::Room, View::Member(member)] {
        put_chunk(&mut chunks, view.stream(), ChunkKind::Snapshot, &snapshot(entities, view));
        entities.put_hash_chunk(view, &mut Vec::new(), &mut chunks);
    }
    let mut replica = Replica::new(member, schema());
    let head = DeltaHead { tick: Tick(1), ..DeltaHead::default() };
    let applied = replica.apply(&Delta { head, chunks: &chunks });
    assert_eq!(applied, Ok(Applied { outcome: Outcome::Snapshot, hashes_checked: 2 }));
    replica
}

/// Nothing private of others, and nothing of those that are gone.
fn assert_private(entities: &Entities, member: MemberId) {
    let schema = Arc::clone(entities.schema());
    for (index, desc) in schema.components().iter().enumerate() {
        let component = ComponentId(index as u8);
        for entity in entities.ids().filter(|_| desc.scope == Scope::Owner) {
            let shown = entities.has_value(component, entity);
            assert!(!shown || entities.owner(entity) == Some(member), "{component:?} {entity:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_replica_of_any_entities_has_the_same_bytes_and_hashes(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut entities = Entities::new(schema());
        for step in steps {
            take(&mut entities, step);
        }
        prop_assert!(entities.contains(EntityId::ROOM));
        prop_assert_eq!(entities.ids().count(), entities.count());
        let views = (1..=MEMBERS).map(|member| View::Member(MemberId(member)));
        let bytes: usize = views.map(|view| snapshot(&entities, view).len()).sum();
        prop_assert!(bytes + snapshot(&entities, View::Room).len() <= entities.bytes_max());
        for member in (1..=MEMBERS).map(MemberId) {
            let replica = replica_of(&entities, member);
            for view in [View::Room, View::Member(member)] {
                let (ours, theirs) = (snapshot(&entities, view), snapshot(replica.entities(), view));
                prop_assert_eq!(ours, theirs);
                let hash = |entities: &Entities| entities.hash(view, &mut Vec::new());
                prop_assert_eq!(hash(&entities), hash(replica.entities()));
            }
            assert_private(replica.entities(), member);
        }
        for entity in entities.ids().collect::<Vec<_>>() {
            for component in (0..6).map(ComponentId) {
                entities.remove_value(component, entity);
            }
            entities.remove(entity);
        }
        prop_assert_eq!(entities.bytes_max(), Entities::new(schema()).bytes_max());
    }

    #[test]
    fn those_who_know_few_entities_know_the_same_of_them(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let (mut all, mut few) = (Entities::new(schema()), Entities::few(schema()));
        for step in steps {
            take(&mut all, step.clone());
            take(&mut few, step);
            prop_assert!(all.ids().eq(few.ids()));
            prop_assert_eq!(all.bytes_max(), few.bytes_max());
            for view in [View::Room, View::Member(MemberId(1)), View::Held(Scope::Owner)] {
                prop_assert_eq!(snapshot(&all, view), snapshot(&few, view));
            }
            for entity in all.ids() {
                prop_assert_eq!(all.owner(entity), few.owner(entity));
            }
        }
        for entity in all.ids().filter(|entity| *entity != EntityId::ROOM).collect::<Vec<_>>() {
            few.remove(entity);
            prop_assert!(!few.contains(entity));
        }
        prop_assert_eq!(few.count(), 1);
    }

    #[test]
    fn a_snapshot_leaves_nothing_of_what_was_there_before(
        before in prop::collection::vec(step(), 0..40),
        after in prop::collection::vec(step(), 0..40),
    ) {
        let member = MemberId(1);
        let [old, new] = [before, after].map(|steps| {
            let mut entities = Entities::new(schema());
            steps.into_iter().for_each(|step| take(&mut entities, step));
            entities
        });
        let mut replica = replica_of(&old, member);
        let mut chunks = Vec::new();
        for view in [View::Room, View::Member(member)] {
            put_chunk(&mut chunks, view.stream(), ChunkKind::Snapshot, &snapshot(&new, view));
        }
        let head = DeltaHead { tick: Tick(2), ..DeltaHead::default() };
        replica.apply(&Delta { head, chunks: &chunks }).expect("a snapshot");
        for view in [View::Room, View::Member(member)] {
            prop_assert_eq!(snapshot(&new, view), snapshot(replica.entities(), view));
        }
    }
}
