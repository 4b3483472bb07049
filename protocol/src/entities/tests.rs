use super::*;
use crate::schema::ComponentDesc;

const PROFILE: ComponentId = ComponentId(0);

fn entities() -> Entities {
    let schema = RoomSchema::new(vec![ComponentDesc::props("profile")], vec![]);
    Entities::new(Arc::new(schema.expect("schema")))
}

#[test]
fn the_two_zeros_are_one_value_with_one_hash() {
    let mut hashes = Vec::new();
    for zeros in [[0.0, -0.0], [-0.0, 0.0]] {
        let mut entities = entities();
        for (zero, changes) in zeros.into_iter().zip([true, false]) {
            let changed = entities.set_prop(PROFILE, EntityId::ROOM, "k", Value::Num(zero));
            assert_eq!(changed, changes, "{zero:?} of {zeros:?}");
        }
        hashes.push(entities.hash(View::Room, &mut Vec::new()));
    }
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn numbers_that_are_not_finite_change_nothing() {
    for num in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut entities = entities();
        let room = EntityId::ROOM;
        assert!(!entities.set_prop(PROFILE, room, "k", Value::Num(num)), "{num}");
        assert!(!entities.has_value(PROFILE, room), "{num}: no empty value stays behind");
        entities.set_prop(PROFILE, room, "k", Value::Num(1.5));
        assert!(!entities.set_prop(PROFILE, room, "k", Value::Num(num)), "{num}");
        let props = entities.props(PROFILE, room).expect("a value");
        assert_eq!(props.get("k"), Some(&Value::Num(1.5)), "{num}: the value stays");
    }
}
