//! Chunks by themselves, and a conversation of whole deltas.

use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{EntityId, InputSeq, MemberId, Tick};
use tickloom_protocol::replica::{Applied, ApplyError, Outcome, Replica};
use tickloom_protocol::server_message::{Delta, DeltaHead, ServerMessage};

use crate::files::{from_hex, golden, vectors};
use crate::room::{
    BODY, EVERY, HAND, MAP, MEMBER, PROFILE, STRANGER, assert_shows, delta, hash_chunk, replica,
    room, row, schema, snapshot_chunk, step_11, step_12, step_15,
};

/// CRC-32 of `00 01 00 00` and of `00 00`, as SPEC.md states them.
const EMPTY_ROOM_HASH: u32 = 0x2086_b52b;
const EMPTY_MEMBER_HASH: u32 = 0x41d9_12ff;

#[test]
fn every_kind_of_chunk_section_and_value_is_frozen() {
    let mut room = room();
    let mut replica = replica();
    let snapshot = golden("chunks-snapshot.bin", &snapshot_chunk(&room, View::Room));
    let private =
        golden("chunks-member-snapshot.bin", &snapshot_chunk(&room, View::Member(MEMBER)));
    let applied = replica.apply(&delta(0, 10, &[snapshot, private].concat()));
    assert_eq!(applied, Ok(Applied { outcome: Outcome::Snapshot, hashes_checked: 0 }));
    assert_shows(&replica, &room, "snapshot");
    assert_eq!(replica.entities().row(HAND, EntityId(2)), None, "a stranger's hand stays private");

    let [public, private] = step_11(&mut room);
    let public = golden("chunks-delta.bin", &public);
    let private = golden("chunks-member-delta.bin", &private);
    let hashes = [
        golden("chunks-hash.bin", &hash_chunk(&room, View::Room)),
        golden("chunks-member-hash.bin", &hash_chunk(&room, View::Member(MEMBER))),
    ];
    let chunks = [public, private, hashes.concat()].concat();
    let applied = replica.apply(&delta(10, 11, &chunks));
    assert_eq!(applied, Ok(Applied { outcome: Outcome::Delta, hashes_checked: 2 }));
    assert_shows(&replica, &room, "delta");
    let entities = replica.entities();
    assert!(!entities.contains(EntityId(300)), "it left");
    assert_eq!(entities.owner(EntityId(5)), Some(STRANGER), "it entered");
    assert_eq!(entities.row(EVERY, EntityId(2)), None, "it was taken off");
    assert_eq!(entities.opaque(MAP, EntityId(301)), Some(&[][..]), "empty is a value");
    let profile = entities.props(PROFILE, EntityId(1)).expect("a profile");
    assert_eq!(profile.get("friend"), None, "Nil removes the key");
    assert_eq!(profile.get("zero"), Some(&Value::Int(-1)));
    assert_eq!(profile.get("least"), Some(&Value::Int(i64::MIN)), "other keys stay");
}

#[test]
fn the_worked_example_of_the_spec_holds() {
    let bytes = from_hex(
        "00 02 33  05 00  06 03 00 \
         01 00  02 ff 7f fe ff 80 64  04 00 00 ff 7f 00 ff  00 \
         02 01  02  00 \
         03 02  01 02 7b 7d  00 \
         04 03  02 04 67 6f 6c 64 03 d8 04  03 74 61 67 00  00  00",
    );
    let committed = golden("chunks-worked-example.bin", &bytes);
    let mut room = Entities::new(Arc::new(schema()));
    for entity in [1, 4] {
        room.insert(EntityId(entity), MEMBER);
    }
    room.set_row(EVERY, EntityId(1), &row(EVERY, &[]));
    room.set_prop(PROFILE, EntityId(1), "tag", Value::Bool(true));
    let mut replica = replica();
    replica.apply(&delta(0, 1, &snapshot_chunk(&room, View::Room))).expect("a snapshot");
    replica.apply(&delta(1, 2, &committed)).expect("the example");

    room.remove(EntityId(4));
    room.insert(EntityId(5), MemberId(3));
    room.set_row(BODY, EntityId(1), &row(BODY, &[0.0, 512.0, std::f64::consts::PI, 100.0]));
    room.set_row(BODY, EntityId(5), &row(BODY, &[-512.0, 0.0, 0.0, 255.0]));
    room.remove_value(EVERY, EntityId(1));
    room.set_opaque(MAP, EntityId::ROOM, b"{}");
    room.set_prop(PROFILE, EntityId(1), "gold", Value::Int(300));
    room.set_prop(PROFILE, EntityId(1), "tag", Value::Nil);
    assert_shows(&replica, &room, "worked example");
    let empty = Entities::new(Arc::new(schema()));
    let hashes = [View::Room, View::Member(MEMBER)].map(|view| empty.hash(view, &mut Vec::new()));
    assert_eq!(hashes, [EMPTY_ROOM_HASH, EMPTY_MEMBER_HASH], "{hashes:08x?}");
}

#[test]
fn a_replica_that_follows_the_conversation_ends_in_its_hashes() {
    let mut server = room();
    let mut replica = replica();
    let mut table =
        String::from("file,base,tick,ack_seq,margin,hash_chunks,room_hash,member_hash\n");
    let views = [View::Room, View::Member(MEMBER)];
    for (base, tick, ack, margin) in
        [(0, 10, 0, 0), (10, 11, 3, 2), (11, 12, 4, 1), (12, 15, 4, -3)]
    {
        let hashes = |room: &Entities| views.map(|view| hash_chunk(room, view));
        let chunks = match tick {
            10 => {
                let [public, private] = views.map(|view| snapshot_chunk(&server, view));
                let [public_hash, private_hash] = hashes(&server);
                [public, public_hash, private, private_hash].concat()
            }
            12 => [step_12(&mut server), hash_chunk(&server, View::Room)].concat(),
            _ => {
                let step = if tick == 11 { step_11 } else { step_15 };
                let [public, private] = step(&mut server);
                let [public_hash, private_hash] = hashes(&server);
                [public, public_hash, private, private_hash].concat()
            }
        };
        let head = DeltaHead {
            tick: Tick(tick),
            base: Tick(base),
            ack: InputSeq(ack),
            margin,
            ..DeltaHead::default()
        };
        let mut message = Vec::new();
        DeltaPrefix::new().put(&head, chunks.len(), &mut message);
        message.extend_from_slice(&chunks);

        let name = format!("conversation-{tick}.bin");
        let committed = golden(&name, &message);
        let Ok(ServerMessage::Delta(delta)) = ServerMessage::decode(&committed) else {
            panic!("{name} is a delta")
        };
        assert_eq!(delta, Delta { head, chunks: &chunks }, "{name}");
        let outcome = if base == 0 { Outcome::Snapshot } else { Outcome::Delta };
        let hashes_checked = if tick == 12 { 1 } else { 2 };
        assert_eq!(replica.apply(&delta), Ok(Applied { outcome, hashes_checked }), "{name}");
        assert_shows(&replica, &server, &name);
        let [room, member] = views.map(|view| replica.entities().hash(view, &mut Vec::new()));
        let _ = writeln!(
            table,
            "{name},{base},{tick},{ack},{margin},{hashes_checked},{room:08x},{member:08x}"
        );
    }
    golden("conversation.csv", table.as_bytes());
    let [room, member] = views.map(|view| replica.entities().hash(view, &mut Vec::new()));
    let stated = format!("room hash `{room:08x}` and member hash `{member:08x}`");
    let readme = fs::read_to_string(vectors().join("README.md")).expect("a README");
    assert!(readme.contains(&stated), "README.md says otherwise: {stated}");
}

#[test]
fn the_conversation_shows_what_a_duplicate_and_a_gap_do() {
    let [first, second, third] =
        ["conversation-10.bin", "conversation-11.bin", "conversation-12.bin"]
            .map(|name| fs::read(vectors().join(name)).expect("a vector"));
    let apply = |replica: &mut Replica, bytes: &[u8]| match ServerMessage::decode(bytes) {
        Ok(ServerMessage::Delta(delta)) => replica.apply(&delta).map(|applied| applied.outcome),
        other => panic!("{other:?} is no delta"),
    };
    let mut replica = replica();
    assert_eq!(apply(&mut replica, &second), Ok(Outcome::Awaiting), "before any snapshot");
    assert_eq!(apply(&mut replica, &first), Ok(Outcome::Snapshot));
    let gap = ApplyError::Gap { have: Tick(10), base: Tick(11) };
    assert_eq!(apply(&mut replica, &third), Err(gap));
    assert_eq!(apply(&mut replica, &second), Ok(Outcome::Awaiting), "after the gap");
    for (bytes, outcome) in [
        (&first, Outcome::Snapshot),
        (&second, Outcome::Delta),
        (&third, Outcome::Delta),
        (&second, Outcome::Duplicate),
    ] {
        assert_eq!(apply(&mut replica, bytes), Ok(outcome));
    }
    assert_eq!(replica.tick(), Tick(12));
}
