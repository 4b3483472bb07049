//! Which entities are in view because of which stream, in a room with interest.
//!
//! An entity is in one stream at a time. When it goes from one cell in view to another, the cell it
//! enters and the cell it leaves say so in either order: entering takes it over, and a leave counts
//! only while the entity is still there.

use std::ops::Range;

use crate::ids::{EntityId, StreamId};
use crate::schema::Grid;

/// Entities by stream. A view has a hundred entities or so: two short tables in order are quicker
/// than trees, and lie together.
#[derive(Debug)]
pub(super) struct Streams {
    cells_count: usize,
    /// Ascending; each entity once.
    by_stream: Vec<(StreamId, EntityId)>,
    /// The same the other way round, ascending.
    by_entity: Vec<(EntityId, StreamId)>,
}

impl Streams {
    /// Nothing but the room itself.
    pub fn new(grid: Grid) -> Self {
        let cells_count = grid.cells_count();
        let mut streams = Self { cells_count, by_stream: Vec::new(), by_entity: Vec::new() };
        streams.clear();
        streams
    }

    /// Forgets everything but the room itself.
    pub fn clear(&mut self) {
        self.by_stream.clear();
        self.by_entity.clear();
        self.insert(StreamId::ROOM, EntityId::ROOM);
    }

    /// Whether there is such a cell.
    pub fn is_cell(&self, stream: StreamId) -> bool {
        stream.cell().is_some_and(|cell| cell.index() < self.cells_count)
    }

    /// Whether an entity is in a stream.
    #[inline]
    pub fn contains(&self, stream: StreamId, entity: EntityId) -> bool {
        self.by_stream.binary_search(&(stream, entity)).is_ok()
    }

    /// Puts an entity into a stream, and takes it out of the one it was in.
    pub fn insert(&mut self, stream: StreamId, entity: EntityId) {
        match self.by_entity.binary_search_by_key(&entity, |(entity, _)| *entity) {
            Ok(position) => {
                let before = std::mem::replace(&mut self.by_entity[position].1, stream);
                if let Ok(position) = self.by_stream.binary_search(&(before, entity)) {
                    self.by_stream.remove(position);
                }
            }
            Err(position) => self.by_entity.insert(position, (entity, stream)),
        }
        let position = self.by_stream.partition_point(|other| *other < (stream, entity));
        self.by_stream.insert(position, (stream, entity));
    }

    /// Takes an entity out of a stream; says whether it was there.
    pub fn remove(&mut self, stream: StreamId, entity: EntityId) -> bool {
        let Ok(position) = self.by_stream.binary_search(&(stream, entity)) else { return false };
        self.by_stream.remove(position);
        self.forget(entity);
        true
    }

    /// Takes all entities out of a stream but the room itself, and returns them.
    pub fn remove_all(&mut self, stream: StreamId) -> Vec<EntityId> {
        let mut range = self.range(stream);
        // The room itself is the first of what is everywhere.
        range.start += usize::from(stream == StreamId::ROOM);
        let entities: Vec<_> = self.by_stream.drain(range).map(|(_, entity)| entity).collect();
        for entity in &entities {
            self.forget(*entity);
        }
        entities
    }

    fn forget(&mut self, entity: EntityId) {
        if let Ok(position) = self.by_entity.binary_search_by_key(&entity, |(entity, _)| *entity) {
            self.by_entity.remove(position);
        }
    }

    /// Where the entities of a stream are in `by_stream`.
    fn range(&self, stream: StreamId) -> Range<usize> {
        let start = self.by_stream.partition_point(|(other, _)| *other < stream);
        let rest = &self.by_stream[start..];
        start..start + rest.iter().take_while(|(other, _)| *other == stream).count()
    }

    /// The entities of a stream, ascending.
    pub fn entities(&self, stream: StreamId) -> impl Iterator<Item = EntityId> + Clone {
        self.by_stream[self.range(stream)].iter().map(|(_, entity)| *entity)
    }

    /// The streams with entities, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, usize)> {
        let streams = self.by_stream.chunk_by(|(a, _), (b, _)| a == b);
        streams.filter_map(|stream| Some((stream.first()?.0, stream.len())))
    }
}
