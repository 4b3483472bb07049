//! Which entities are in view because of which stream, in a room with interest.
//!
//! An entity is in one stream at a time. When it goes from one cell in view to another, the cell it
//! enters and the cell it leaves say so in either order: entering takes it over, and a leave counts
//! only while the entity is still there.

use std::collections::BTreeMap;

use crate::ids::{EntityId, StreamId};
use crate::schema::Grid;

/// Entities by stream.
#[derive(Debug)]
pub(super) struct Streams {
    cells_count: usize,
    /// By entity id: one more than its stream, 0 for none.
    stream_of: Vec<u32>,
    /// Ascending ids, exactly those whose `stream_of` says so. Streams without entities have no
    /// entry.
    entities: BTreeMap<StreamId, Vec<EntityId>>,
}

impl Streams {
    /// Nothing but the room itself.
    pub fn new(grid: Grid) -> Self {
        let cells_count = grid.cells_count();
        let mut streams = Self { cells_count, stream_of: Vec::new(), entities: BTreeMap::new() };
        streams.clear();
        streams
    }

    /// Forgets everything but the room itself.
    pub fn clear(&mut self) {
        self.stream_of.clear();
        self.entities.clear();
        self.insert(StreamId::ROOM, EntityId::ROOM);
    }

    /// Whether there is such a cell.
    pub fn is_cell(&self, stream: StreamId) -> bool {
        stream.cell().is_some_and(|cell| cell.index() < self.cells_count)
    }

    /// Whether an entity is in a stream.
    #[inline]
    pub fn contains(&self, stream: StreamId, entity: EntityId) -> bool {
        self.stream_of.get(entity.index()) == Some(&(stream.0 + 1))
    }

    /// Puts an entity into a stream, and takes it out of the one it was in.
    pub fn insert(&mut self, stream: StreamId, entity: EntityId) {
        let index = entity.index();
        if self.stream_of.len() <= index {
            self.stream_of.resize(index + 1, 0);
        }
        match self.stream_of[index] {
            before if before == stream.0 + 1 => return,
            0 => {}
            before => drop(self.remove(StreamId(before - 1), entity)),
        }
        self.stream_of[index] = stream.0 + 1;
        let entities = self.entities.entry(stream).or_default();
        let position = entities.partition_point(|other| *other < entity);
        entities.insert(position, entity);
    }

    /// Takes an entity out of a stream; says whether it was there.
    pub fn remove(&mut self, stream: StreamId, entity: EntityId) -> bool {
        if !self.contains(stream, entity) {
            return false;
        }
        self.stream_of[entity.index()] = 0;
        if let Some(entities) = self.entities.get_mut(&stream) {
            if let Ok(position) = entities.binary_search(&entity) {
                entities.remove(position);
            }
            if entities.is_empty() {
                self.entities.remove(&stream);
            }
        }
        true
    }

    /// Takes all entities out of a stream but the room itself, and returns them.
    pub fn remove_all(&mut self, stream: StreamId) -> Vec<EntityId> {
        let mut entities = self.entities.remove(&stream).unwrap_or_default();
        if stream == StreamId::ROOM {
            entities.retain(|entity| *entity != EntityId::ROOM);
        }
        for entity in &entities {
            self.stream_of[entity.index()] = 0;
        }
        if stream == StreamId::ROOM {
            self.entities.insert(StreamId::ROOM, vec![EntityId::ROOM]);
        }
        entities
    }

    /// The entities of a stream, ascending.
    pub fn entities(&self, stream: StreamId) -> impl Iterator<Item = EntityId> + Clone {
        self.entities.get(&stream).into_iter().flatten().copied()
    }

    /// The streams with entities, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, usize)> {
        self.entities.iter().map(|(stream, entities)| (*stream, entities.len()))
    }
}
