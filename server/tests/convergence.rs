//! `apply(apply(nothing, snapshot(t0)), encode(t0 -> t1)) == snapshot(t1)`, byte for byte, for
//! whatever happened in between and from wherever a member starts.

use std::sync::Arc;

use proptest::prelude::*;
use tickloom_protocol::changes::{ChangesBuilder, Target};
use tickloom_protocol::chunks::{Value, put_chunk};
use tickloom_protocol::client_message::Write;
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, OpId, Tick};
use tickloom_protocol::replica::{Outcome, Replica};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema, WritePolicy};
use tickloom_protocol::server_message::{Delta, DeltaHead};
use tickloom_server::room::state::State;
use tickloom_server::room::write::{WriteError, Writer, apply, check};

const MEMBERS: [MemberId; 2] = [MemberId(1), MemberId(2)];

/// One thing that happens to a state. Entities are chosen by position among those alive.
#[derive(Clone, Debug)]
enum Change {
    Spawn {
        owner: u16,
    },
    Despawn {
        pick: usize,
    },
    Row {
        component: u8,
        pick: usize,
        value: u8,
    },
    Opaque {
        pick: usize,
        value: Vec<u8>,
    },
    Prop {
        component: u8,
        pick: usize,
        key: u8,
        value: Option<i64>,
    },
    Remove {
        component: u8,
        pick: usize,
    },
    /// An entity hangs below another, or nowhere.
    Hang {
        child: usize,
        parent: Option<usize>,
    },
    /// A member asks for several things at once, which may be refused.
    Write {
        member: usize,
        asks: Vec<Ask>,
    },
    /// The tick ends without being sent.
    Advance,
    /// The tick ends and everybody who keeps up gets it.
    Send,
}

/// One change of a write. Picks are among the entities alive and those that the write adds.
#[derive(Clone, Debug)]
enum Ask {
    Leave { pick: usize },
    Enter { own: bool },
    Row { pick: usize, value: u8 },
    Opaque { pick: usize, value: Vec<u8> },
    Prop { component: u8, pick: usize, key: u8, value: Option<i64> },
    Link { component: u8, child: usize, parent: usize },
    Remove { component: u8, pick: usize },
}

fn ask() -> impl Strategy<Value = Ask> {
    let value = proptest::option::of(0..3_i64);
    prop_oneof![
        1 => any::<usize>().prop_map(|pick| Ask::Leave { pick }),
        3 => any::<bool>().prop_map(|own| Ask::Enter { own }),
        2 => (any::<usize>(), 0..2_u8).prop_map(|(pick, value)| Ask::Row { pick, value }),
        1 => (any::<usize>(), proptest::collection::vec(0..3_u8, 0..3))
            .prop_map(|(pick, value)| Ask::Opaque { pick, value }),
        2 => (prop_oneof![Just(3_u8), Just(5)], any::<usize>(), 0..3_u8, value)
            .prop_map(|(component, pick, key, value)| Ask::Prop { component, pick, key, value }),
        3 => (prop_oneof![Just(3_u8), Just(5), Just(5)], any::<usize>(), any::<usize>())
            .prop_map(|(component, child, parent)| Ask::Link { component, child, parent }),
        1 => (0..6_u8, any::<usize>()).prop_map(|(component, pick)| Ask::Remove { component, pick }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..3_u16).prop_map(|owner| Change::Spawn { owner }),
        2 => any::<usize>().prop_map(|pick| Change::Despawn { pick }),
        4 => (0..2_u8, any::<usize>(), 0..3_u8).prop_map(|(component, pick, value)| {
            Change::Row { component, pick, value }
        }),
        2 => (any::<usize>(), proptest::collection::vec(0..3_u8, 0..3))
            .prop_map(|(pick, value)| Change::Opaque { pick, value }),
        4 => (3..5_u8, any::<usize>(), 0..3_u8, proptest::option::of(0..3_i64)).prop_map(
            |(component, pick, key, value)| Change::Prop { component, pick, key, value }
        ),
        2 => (0..5_u8, any::<usize>())
            .prop_map(|(component, pick)| Change::Remove { component, pick }),
        3 => (any::<usize>(), proptest::option::of(any::<usize>()))
            .prop_map(|(child, parent)| Change::Hang { child, parent }),
        4 => (0..2_usize, proptest::collection::vec(ask(), 1..6))
            .prop_map(|(member, asks)| Change::Write { member, asks }),
        2 => Just(Change::Advance),
        3 => Just(Change::Send),
    ]
}

fn schema() -> Arc<RoomSchema> {
    let row = || vec![FieldDesc::new("value", FieldType::U8)];
    let members = WritePolicy::Members;
    let components = vec![
        ComponentDesc::packed("public", row()).expect("layout").writable_by(members),
        ComponentDesc::packed("private", row()).expect("layout").for_owner(),
        ComponentDesc::opaque("opaque", "x/y", 8).writable_by(members),
        ComponentDesc::props("props").writable_by(members),
        ComponentDesc::props("secrets").for_owner().writable_by(WritePolicy::Owner),
        ComponentDesc::props("layer").as_tree().writable_by(members),
    ];
    let schema = RoomSchema::new(components, vec![]).expect("schema");
    Arc::new(schema.with_entities_by(members))
}

/// Does one thing; says whether the tick ended and was sent.
fn apply_change(state: &mut State, change: &Change) {
    let alive: Vec<EntityId> = state.entities().ids().collect();
    let at = |pick: usize| alive[pick % alive.len()];
    match change {
        Change::Spawn { owner } => drop(state.spawn(MemberId(*owner))),
        Change::Despawn { pick } => state.despawn(at(*pick)),
        Change::Row { component, pick, value } => {
            state.set_row(ComponentId(*component), at(*pick), &[*value]);
        }
        Change::Opaque { pick, value } => state.set_opaque(ComponentId(2), at(*pick), value),
        Change::Prop { component, pick, key, value } => {
            let key = ["a", "b", "c"][usize::from(*key)];
            let value = value.map_or(Value::Nil, Value::Int);
            state.set_prop(ComponentId(*component), at(*pick), key, value);
        }
        Change::Remove { component, pick } => {
            state.remove_value(ComponentId(*component), at(*pick));
        }
        Change::Hang { child, parent } => {
            let parent = parent.map_or(Value::Nil, |parent| Value::Entity(at(parent)));
            state.set_prop(ComponentId(5), at(*child), "parent", parent);
        }
        Change::Write { member, asks } => write(state, MEMBERS[*member], asks, &alive),
        Change::Advance => state.advance(),
        Change::Send => {
            state.mark_sent();
            state.advance();
        }
    }
}

/// A write that happens as a whole or is refused.
fn write(state: &mut State, member: MemberId, asks: &[Ask], alive: &[EntityId]) {
    let mut changes = ChangesBuilder::default();
    let enters = asks.iter().filter(|ask| matches!(ask, Ask::Enter { .. })).count();
    let at = |pick: usize| match alive.get(pick % (alive.len() + enters)) {
        Some(entity) => Target::from(*entity),
        None => Target::added(pick % (alive.len() + enters) - alive.len()),
    };
    let key = |key: u8| ["a", "b", "c"][usize::from(key)];
    for ask in asks {
        match ask {
            Ask::Leave { pick } => drop(changes.leave(alive[pick % alive.len()])),
            Ask::Enter { own } => {
                changes.enter(if *own { member } else { MemberId::SERVER });
            }
            Ask::Row { pick, value } => drop(changes.row(ComponentId(0), at(*pick), &[*value])),
            Ask::Opaque { pick, value } => drop(changes.opaque(ComponentId(2), at(*pick), value)),
            Ask::Prop { component, pick, key: k, value } => {
                let value = value.map_or(Value::Nil, Value::Int);
                changes.prop(ComponentId(*component), at(*pick), key(*k), &value);
            }
            Ask::Link { component, child, parent } => {
                changes.link(ComponentId(*component), at(*child), "parent", at(*parent));
            }
            Ask::Remove { component, pick } => {
                changes.remove(ComponentId(*component), at(*pick));
            }
        }
    }
    let mut bytes = Vec::new();
    changes.put(&mut bytes);
    let write = Write { op: OpId(1), if_tick: Tick::ZERO, changes: &bytes };
    // Nobody's seat: every entity may be removed by whom it belongs to.
    let writer = Writer { member, entity: EntityId::ROOM, is_host: false, seats_free: 0 };
    let checked = match check(state, writer, &write) {
        Ok(checked) => checked,
        Err(WriteError::Refused(_)) => return,
        Err(WriteError::Malformed(error)) => panic!("{error} in {asks:?}"),
    };
    let bytes_max = state.entities().bytes_max();
    let accepted = apply(state, write.op, &checked);
    assert_eq!(accepted.entities.len(), enters, "each enter got an entity");
    // Two hundred bytes is more than six of these changes take.
    assert!(state.entities().bytes_max() <= bytes_max + 200);
}

/// The chunks that take a member from `since` to the tick under construction.
fn encode(state: &mut State, member: MemberId, since: Tick) -> Vec<u8> {
    let mut chunks = Vec::new();
    state.encode(since, &mut chunks);
    state.encode_hash(&mut chunks);
    state.encode_private(member, since, &mut chunks);
    state.encode_private_hashes(member, &mut chunks);
    chunks
}

fn bring_up_to_date(state: &mut State, replica: &mut Replica, since: Tick) {
    let chunks = encode(state, replica.member(), since);
    let head = DeltaHead { tick: state.building(), base: since, ..DeltaHead::default() };
    let applied = replica.apply(&Delta { head, chunks: &chunks }).expect("it fits");
    let expected = if since == Tick::ZERO { Outcome::Snapshot } else { Outcome::Delta };
    assert_eq!(applied.outcome, expected);
}

fn assert_equal(state: &State, replica: &Replica) {
    for view in [View::Room, View::Member(replica.member())] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        state.entities().put_snapshot(view, &mut ours);
        replica.entities().put_snapshot(view, &mut theirs);
        assert_eq!(ours, theirs, "{view:?} of {:?}", replica.member());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A state whose content is not what was sent says so.
    #[test]
    fn what_is_not_sent_yet_is_known(changes in proptest::collection::vec(change(), 1..120)) {
        let content = |state: &State| {
            let views = MEMBERS.map(View::Member).into_iter().chain([View::Room]);
            let mut bytes = Vec::new();
            views.for_each(|view| state.entities().put_snapshot(view, &mut bytes));
            bytes
        };
        let mut state = State::new(schema(), 30);
        let mut sent = content(&state);
        prop_assert!(state.is_sent());
        for change in &changes {
            apply_change(&mut state, change);
            if matches!(change, Change::Send) {
                prop_assert!(state.is_sent());
                sent = content(&state);
            }
            prop_assert!(!state.is_sent() || content(&state) == sent, "{change:?}");
        }
    }

    /// Three members: one gets every tick that is sent, one now and then a catch-up over what it
    /// missed, one a snapshot every time.
    #[test]
    fn deltas_catch_ups_and_snapshots_lead_to_the_same_state(
        changes in proptest::collection::vec(change(), 1..120),
        lag in 1..9_usize,
    ) {
        let mut state = State::new(schema(), 30);
        let mut eager = MEMBERS.map(|member| Replica::new(member, schema()));
        let mut lagging = MEMBERS.map(|member| Replica::new(member, schema()));
        let mut sends = 0;
        for change in &changes {
            if matches!(change, Change::Send) {
                sends += 1;
                for replica in &mut eager {
                    let since = replica.tick();
                    bring_up_to_date(&mut state, replica, since);
                    assert_equal(&state, replica);
                }
                if sends % lag == 0 {
                    for replica in &mut lagging {
                        let since = replica.tick();
                        prop_assert!(state.reaches_back_to(since));
                        bring_up_to_date(&mut state, replica, since);
                        assert_equal(&state, replica);
                    }
                }
                let mut fresh = Replica::new(MEMBERS[0], schema());
                bring_up_to_date(&mut state, &mut fresh, Tick::ZERO);
                assert_equal(&state, &fresh);
            }
            apply_change(&mut state, change);
            state.check_invariants();
        }
    }
}

#[test]
fn a_member_gets_only_its_own_private_values() {
    let mut state = State::new(schema(), 30);
    let entities = MEMBERS.map(|member| state.spawn(member).expect("a place"));
    for (since, round) in [(Tick::ZERO, "first"), (Tick(1), "second")] {
        let secrets = MEMBERS.map(|member| format!("{round} secret of {member:?}"));
        for (entity, secret) in entities.iter().zip(&secrets) {
            state.set_prop(ComponentId(4), *entity, "s", Value::Str(secret.clone().into()));
        }
        for (own, member) in MEMBERS.into_iter().enumerate() {
            let chunks = encode(&mut state, member, since);
            let holds = |text: &str| chunks.windows(text.len()).any(|w| w == text.as_bytes());
            assert!(holds(&secrets[own]), "{member:?} since {since}");
            assert!(!holds(&secrets[1 - own]), "{member:?} since {since}");
        }
        state.mark_sent();
        state.advance();
    }
}

#[test]
fn a_burst_of_despawns_larger_than_the_memory_of_them_is_still_a_delta() {
    // Tombstones of the tick under construction must survive it, however many there are; a
    // catch-up from before them is a snapshot.
    let mut state = State::new(schema(), 10_000);
    let mut replica = Replica::new(MEMBERS[0], schema());
    let crowd: Vec<_> = (0..6_000).map(|_| state.spawn(MemberId::SERVER)).collect();
    bring_up_to_date(&mut state, &mut replica, Tick::ZERO);
    state.mark_sent();
    state.advance();
    let before = replica.tick();
    for entity in crowd.into_iter().flatten() {
        state.despawn(entity);
    }
    bring_up_to_date(&mut state, &mut replica, before);
    assert_equal(&state, &replica);
    state.mark_sent();
    state.advance();
    let last = state.spawn(MemberId::SERVER).expect("a place");
    state.despawn(last);
    state.advance();
    assert!(!state.reaches_back_to(before), "the burst is forgotten");
    assert!(state.reaches_back_to(Tick(2)), "what came after it is not");
}

#[test]
fn the_same_state_gives_the_same_bytes() {
    let build = || {
        let mut state = State::new(schema(), 30);
        for owner in [0, 1, 2, 1] {
            let entity = state.spawn(MemberId(owner)).expect("a place");
            state.set_row(ComponentId(0), entity, &[owner as u8]);
        }
        encode(&mut state, MEMBERS[0], Tick::ZERO)
    };
    assert_eq!(build(), build());
    let mut empty = Vec::new();
    put_chunk(
        &mut empty,
        View::Room.stream(),
        tickloom_protocol::chunks::ChunkKind::Delta,
        &[0, 0],
    );
    let mut state = State::new(schema(), 30);
    state.mark_sent();
    state.advance();
    let mut chunks = Vec::new();
    state.encode(Tick(1), &mut chunks);
    assert_eq!(chunks, empty, "nothing changed, nothing is said");
}
