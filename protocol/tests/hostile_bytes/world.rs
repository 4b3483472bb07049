//! Chunks of a room with interest: cells, motion, and what goes out of view.

use std::sync::Arc;

use tickloom_protocol::chunks::{ChunkKind, put_chunk};
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{CellId, ComponentId, EntityId, MemberId, StreamId};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Ring, RoomSchema, Scope,
};

use crate::corpus::MEMBER;

const BODY: ComponentId = ComponentId(0);
const HAND: ComponentId = ComponentId(3);
const PLAN: ComponentId = ComponentId(4);

/// Hashes in [`snapshot`]: of the room's stream, two cells, and both private streams.
pub const HASHES: u16 = 5;

pub fn schema() -> RoomSchema {
    let axis = |name| FieldDesc::quantised(name, FieldType::Quant8, -8.0, 8.0);
    let byte = |name| vec![FieldDesc::new(name, FieldType::U8)];
    let body = ComponentDesc::packed("body", vec![axis("x"), axis("y")]).expect("layout");
    let components = vec![
        body.as_motion(),
        ComponentDesc::opaque("map", "text/plain", crate::corpus::OPAQUE_BYTES_MAX),
        ComponentDesc::props("profile"),
        ComponentDesc::packed("hand", byte("card")).expect("layout").for_owner(),
        ComponentDesc::packed("plan", byte("step")).expect("layout").for_team(),
    ];
    let rings = vec![Ring { distance: 1, every: 1 }, Ring { distance: 2, every: 2 }];
    let axes = [FieldId(0), FieldId(1)];
    let interest = Interest { component: BODY, axes, cell_size: 4.0, rings };
    let schema = RoomSchema::new(components, vec![]);
    schema.and_then(|schema| schema.with_interest(interest)).expect("schema")
}

fn put(chunks: &mut Vec<u8>, stream: StreamId, kind: ChunkKind, body: &[u8]) {
    put_chunk(chunks, stream, kind, body);
}

const CELLS: [StreamId; 2] = [StreamId::of_cell(CellId(5)), StreamId::of_cell(CellId(6))];

/// The room itself everywhere, two entities in one cell, and one in the next.
pub fn snapshot() -> Vec<u8> {
    let mut room = Entities::new(Arc::new(schema()));
    for (entity, row) in [(1, [100, 100]), (2, [110, 100]), (7, [140, 100])] {
        room.insert(EntityId(entity), MEMBER);
        room.set_row(BODY, EntityId(entity), &row);
        room.set_row(HAND, EntityId(entity), &[9]);
        room.set_row(PLAN, EntityId(entity), &[3]);
    }
    let mut chunks = Vec::new();
    for (stream, ids) in [(StreamId::ROOM, &[0][..]), (CELLS[0], &[1, 2][..]), (CELLS[1], &[7][..])]
    {
        let mut body = Vec::new();
        room.put_group(ids.iter().map(|id| EntityId(*id)), &mut body);
        put(&mut chunks, stream, ChunkKind::Snapshot, &body);
        let hash = tickloom_protocol::entities::hash_of_snapshot(&body).to_le_bytes();
        put(&mut chunks, stream, ChunkKind::Hash, &hash);
    }
    for scope in [Scope::Owner, Scope::Team] {
        let view = View::Held(scope);
        let mut body = Vec::new();
        room.put_snapshot(view, &mut body);
        put(&mut chunks, view.stream(), ChunkKind::Snapshot, &body);
        room.put_hash_chunk(view, &mut body, &mut chunks);
    }
    chunks
}

/// What may follow it, with how far behind its start is: 0 follows.
pub fn deltas() -> impl Iterator<Item = (u8, Vec<u8>)> {
    let one = |stream, kind, body: &[u8]| {
        let mut chunks = Vec::new();
        put(&mut chunks, stream, kind, body);
        chunks
    };
    let motion = one(CELLS[0], ChunkKind::Motion, &[1, 0, 2, 101, 101, 1, 111, 99, 0]);
    // Entity 2 goes to the next cell: it leaves the one and enters the other.
    let enters = [0, 3, MEMBER.0 as u8, 0, 1, 0, 3, 130, 100, 0];
    let crossing =
        [one(CELLS[0], ChunkKind::Delta, &[3, 0, 0]), one(CELLS[1], ChunkKind::Delta, &enters)];
    let stranger = [0, 9, MemberId(4).0 as u8, 0, 1, 0, 9, 1, 1, 0];
    let all = [
        motion,
        crossing.concat(),
        [&crossing[1][..], &crossing[0]].concat(),
        one(CELLS[0], ChunkKind::Gone, &[]),
        one(CELLS[0], ChunkKind::Gone, &[1]),
        one(StreamId::of_cell(CellId(99)), ChunkKind::Gone, &[]),
        one(StreamId::ROOM, ChunkKind::Motion, &[1, 0, 1, 1, 1, 0]),
        one(CELLS[1], ChunkKind::Snapshot, &stranger),
        // The room itself enters a cell.
        one(CELLS[1], ChunkKind::Snapshot, &[0, 1, 0, 0]),
        one(CELLS[1], ChunkKind::Events, &[1, 1, 3, 0, 0]),
        one(StreamId::MEMBER, ChunkKind::Delta, &[0, 0, 2, 3, 2, 0, 1, 3, 60, 5, 0]),
        one(StreamId::TEAM, ChunkKind::Snapshot, &[0, 0]),
    ];
    all.into_iter().map(|chunks| (0, chunks))
}
