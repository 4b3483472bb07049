//! A member's own writes of properties, shown before the server has taken them.
//!
//! ```text
//! write k = 2 (op 7)   shown 2            the server's k = 1 is still in the replica
//! delta, ack_op 6      shown 2, not 1     whatever the delta says of k
//! delta, ack_op 7      shown what the replica has: 2, or what somebody wrote after it
//! Refused, op 7        shown what the replica has
//! ```
//!
//! A delta acknowledges exactly those writes that its state shows, so a value never goes back to
//! one from before the write.

use std::collections::{BTreeMap, VecDeque};

use crate::chunks::Value;
use crate::entities::Entities;
use crate::ids::{ComponentId, EntityId, OpId};

/// Writes that no delta has acknowledged yet, over what the replica says.
#[derive(Clone, Debug, Default)]
pub struct PendingProps {
    /// By property, in the order they were written; no empty lists.
    writes: BTreeMap<Property, VecDeque<(OpId, Value)>>,
}

type Property = (EntityId, ComponentId, Box<str>);

impl PendingProps {
    /// The member has sent a write of this property under this number, which is above those of
    /// all its writes before. [`Value::Nil`] removes the property.
    pub fn write(
        &mut self,
        op: OpId,
        component: ComponentId,
        entity: EntityId,
        key: &str,
        value: Value,
    ) {
        let writes = self.writes.entry((entity, component, key.into())).or_default();
        writes.push_back((op, value));
    }

    /// A delta was applied that says so in its [`ack_op`](crate::server_message::DeltaHead).
    pub fn handle_ack(&mut self, ack_op: OpId) {
        if ack_op != OpId::NONE {
            self.retain(|op| op > ack_op);
        }
    }

    /// The server refused a write. Those before and after it are not concerned.
    pub fn handle_refused(&mut self, refused: OpId) {
        self.retain(|op| op != refused);
    }

    /// The seat is another one: nothing that was written before will be answered.
    pub fn clear(&mut self) {
        self.writes.clear();
    }

    /// What to show of a property: the member's last own write, or else what the replica has.
    #[must_use]
    pub fn get<'a>(
        &'a self,
        entities: &'a Entities,
        component: ComponentId,
        entity: EntityId,
        key: &str,
    ) -> Option<&'a Value> {
        if !entities.contains(entity) {
            return None;
        }
        // Most of the time nothing is pending, and then looking costs nothing.
        let own = (!self.writes.is_empty())
            .then(|| self.writes.get(&(entity, component, key.into())))
            .flatten();
        match own.and_then(VecDeque::back) {
            Some((_, value)) => Some(value).filter(|value| **value != Value::Nil),
            None => entities.props(component, entity)?.get(key),
        }
    }

    /// Whether everything shown is what the replica has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    fn retain(&mut self, keeps: impl Fn(OpId) -> bool) {
        self.writes.retain(|_, writes| {
            writes.retain(|(op, _)| keeps(*op));
            !writes.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::MemberId;
    use crate::schema::{ComponentDesc, RoomSchema};

    const PROPS: ComponentId = ComponentId(0);
    const KEY: &str = "k";

    fn entities() -> Entities {
        let schema = RoomSchema::new(vec![ComponentDesc::props("p")], vec![]).expect("schema");
        Entities::new(Arc::new(schema))
    }

    fn shown(pending: &PendingProps, entities: &Entities) -> Option<i64> {
        match pending.get(entities, PROPS, EntityId::ROOM, KEY) {
            None => None,
            Some(Value::Int(number)) => Some(*number),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn own_writes_are_shown_until_they_are_answered() {
        let (mut pending, mut entities) = (PendingProps::default(), entities());
        let set = |entities: &mut Entities, number| {
            entities.set_prop(PROPS, EntityId::ROOM, KEY, Value::Int(number));
        };
        set(&mut entities, 1);
        assert_eq!(shown(&pending, &entities), Some(1));
        for (op, value) in [(1, Value::Int(2)), (2, Value::Int(3)), (3, Value::Nil)] {
            pending.write(OpId(op), PROPS, EntityId::ROOM, KEY, value);
        }
        assert_eq!(shown(&pending, &entities), None, "a removal is shown, too");
        pending.handle_refused(OpId(3));
        assert_eq!(shown(&pending, &entities), Some(3), "the one before it still counts");
        set(&mut entities, 9);
        pending.handle_ack(OpId::NONE);
        pending.handle_ack(OpId(1));
        assert_eq!(shown(&pending, &entities), Some(3), "an older value is not shown");
        pending.handle_ack(OpId(2));
        assert_eq!((shown(&pending, &entities), pending.is_empty()), (Some(9), true));
        let gone = EntityId(5);
        pending.write(OpId(4), PROPS, gone, KEY, Value::Int(1));
        assert_eq!(pending.get(&entities, PROPS, gone, KEY), None, "there is no such entity");
        pending.clear();
        assert!(pending.is_empty());
    }

    /// What happens next, to the member or to the server.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// The member writes.
        Write,
        /// The server takes the oldest write that is under way, or refuses it.
        Take { refuses: bool },
        /// Somebody else writes.
        Other,
        /// The server sends a delta.
        Tick,
        /// The member gets the oldest message that is under way.
        Receive,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => Just(Step::Write),
            4 => any::<u8>().prop_map(|byte| Step::Take { refuses: byte < 40 }),
            2 => Just(Step::Other),
            3 => Just(Step::Tick),
            6 => Just(Step::Receive),
        ];
        prop::collection::vec(step, 0..150)
    }

    enum Message {
        Delta { value: i64, ack_op: OpId },
        Refused(OpId),
    }

    /// A server and one member of it. Values are numbered in the order they are written, so each
    /// is another one; `order` says in which order the server took them.
    #[derive(Default)]
    struct World {
        value: i64,
        order: BTreeMap<i64, usize>,
        answered: OpId,
        news: bool,
        up: VecDeque<(OpId, i64)>,
        down: VecDeque<Message>,
        last_op: OpId,
        last_value: i64,
    }

    impl World {
        fn next_value(&mut self) -> i64 {
            self.last_value += 1;
            self.last_value
        }

        fn take(&mut self, value: i64) {
            self.order.insert(value, self.order.len());
            self.value = value;
        }

        fn step(&mut self, step: Step, pending: &mut PendingProps, entities: &mut Entities) {
            match step {
                Step::Write => {
                    let value = self.next_value();
                    self.last_op.0 += 1;
                    self.up.push_back((self.last_op, value));
                    pending.write(self.last_op, PROPS, EntityId::ROOM, KEY, Value::Int(value));
                }
                Step::Take { refuses } => {
                    let Some((op, value)) = self.up.pop_front() else { return };
                    (self.answered, self.news) = (op, true);
                    if refuses {
                        self.down.push_back(Message::Refused(op));
                    } else {
                        self.take(value);
                    }
                }
                Step::Other => {
                    let value = self.next_value();
                    self.take(value);
                }
                Step::Tick => {
                    let ack_op = if self.news { self.answered } else { OpId::NONE };
                    self.news = false;
                    self.down.push_back(Message::Delta { value: self.value, ack_op });
                }
                Step::Receive => match self.down.pop_front() {
                    Some(Message::Delta { value, ack_op }) => {
                        entities.set_prop(PROPS, EntityId::ROOM, KEY, Value::Int(value));
                        pending.handle_ack(ack_op);
                    }
                    Some(Message::Refused(op)) => pending.handle_refused(op),
                    None => {}
                },
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_never_goes_back_and_ends_where_the_server_is(steps in steps()) {
            let (mut world, mut pending, mut entities) =
                (World::default(), PendingProps::default(), entities());
            world.take(0);
            entities.set_prop(PROPS, EntityId::ROOM, KEY, Value::Int(0));
            let mut before = shown(&pending, &entities).expect("a value");
            let ending = std::iter::repeat_n(Step::Take { refuses: false }, steps.len() + 1);
            let ending = ending.chain([Step::Tick]);
            let ending = ending.chain(std::iter::repeat_n(Step::Receive, 2 * steps.len() + 1));
            for step in steps.iter().copied().chain(ending) {
                let is_refusal = matches!(step, Step::Receive)
                    && matches!(world.down.front(), Some(Message::Refused(_)));
                world.step(step, &mut pending, &mut entities);
                let now = shown(&pending, &entities).expect("a value");
                // A value that the server has not taken is newer than all it has.
                let age = |value| world.order.get(&value).copied().unwrap_or(usize::MAX);
                prop_assert!(is_refusal || age(now) >= age(before), "{before} to {now}");
                before = now;
            }
            prop_assert!(pending.is_empty(), "everything was answered");
            prop_assert_eq!(before, world.value);
        }
    }

    #[test]
    fn members_are_not_confused() {
        // The overlay is the member's own: it does not ask who owns an entity.
        let mut entities = entities();
        entities.insert(EntityId(1), MemberId(7));
        let mut pending = PendingProps::default();
        pending.write(OpId(1), PROPS, EntityId(1), KEY, Value::Int(5));
        assert_eq!(pending.get(&entities, PROPS, EntityId(1), KEY), Some(&Value::Int(5)));
        assert_eq!(pending.get(&entities, PROPS, EntityId::ROOM, KEY), None);
        assert_eq!(pending.get(&entities, PROPS, EntityId(1), "other"), None);
    }
}
