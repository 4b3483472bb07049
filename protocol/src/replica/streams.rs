//! Which entities are in view because of which stream, in a room with interest.
//!
//! An entity is in one stream at a time. When it goes from one cell in view to another, the cell it
//! enters and the cell it leaves say so in either order: entering takes it over, and a leave counts
//! only while the entity is still there.

use std::ops::Range;

use crate::entities::Slot;
use crate::ids::{EntityId, StreamId};
use crate::schema::Grid;

/// Entities by stream. A view has some hundred entities: a short table in order is quicker than a
/// tree, and lies together.
#[derive(Debug)]
pub(super) struct Streams {
    cells_count: usize,
    /// Ascending; each entity once.
    told: Vec<Told>,
    /// By slot: the stream of the entity that lies there; [`NONE`] if it is in none.
    stream_of: Vec<StreamId>,
}

/// An entity that a stream tells of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Told {
    stream: StreamId,
    entity: EntityId,
    slot: Slot,
}

/// No stream.
const NONE: StreamId = StreamId(u32::MAX);

impl Streams {
    /// Nothing but the room itself.
    pub fn new(grid: Grid) -> Self {
        let cells_count = grid.cells_count();
        let mut streams = Self { cells_count, told: Vec::new(), stream_of: Vec::new() };
        streams.clear();
        streams
    }

    /// Forgets everything but the room itself.
    pub fn clear(&mut self) {
        self.told.clear();
        self.stream_of.clear();
        self.insert(StreamId::ROOM, EntityId::ROOM, Slot::ROOM);
    }

    /// Whether there is such a cell.
    pub fn is_cell(&self, stream: StreamId) -> bool {
        stream.cell().is_some_and(|cell| cell.index() < self.cells_count)
    }

    /// Whether an entity is in a stream.
    #[inline]
    pub fn contains(&self, stream: StreamId, entity: EntityId) -> bool {
        self.find(stream, entity).is_ok()
    }

    /// Where an entity of a stream is in `told`, or would be.
    fn find(&self, stream: StreamId, entity: EntityId) -> Result<usize, usize> {
        self.told.binary_search_by_key(&(stream, entity), |told| (told.stream, told.entity))
    }

    /// Puts an entity into a stream, and takes it out of the one it was in.
    pub fn insert(&mut self, stream: StreamId, entity: EntityId, slot: Slot) {
        if self.stream_of.len() <= slot.index() {
            self.stream_of.resize(slot.index() + 1, NONE);
        }
        let before = std::mem::replace(&mut self.stream_of[slot.index()], stream);
        if before == stream {
            return;
        }
        if before != NONE
            && let Ok(position) = self.find(before, entity)
        {
            self.told.remove(position);
        }
        if let Err(position) = self.find(stream, entity) {
            self.told.insert(position, Told { stream, entity, slot });
        }
    }

    /// Takes an entity out of a stream; says whether it was there.
    pub fn remove(&mut self, stream: StreamId, entity: EntityId) -> bool {
        let Ok(position) = self.find(stream, entity) else { return false };
        let told = self.told.remove(position);
        self.stream_of[told.slot.index()] = NONE;
        true
    }

    /// Takes all entities out of a stream but the room itself, and returns them.
    pub fn remove_all(&mut self, stream: StreamId) -> Vec<EntityId> {
        let mut range = self.range(stream);
        // The room itself is the first of what is everywhere.
        range.start += usize::from(stream == StreamId::ROOM);
        let Self { told, stream_of, .. } = self;
        let removed = told.drain(range).map(|told| {
            stream_of[told.slot.index()] = NONE;
            told.entity
        });
        removed.collect()
    }

    /// Where the entities of a stream are in `told`.
    fn range(&self, stream: StreamId) -> Range<usize> {
        let start = self.told.partition_point(|told| told.stream < stream);
        let rest = &self.told[start..];
        start..start + rest.iter().take_while(|told| told.stream == stream).count()
    }

    /// The entities of a stream, ascending, and where they lie.
    pub fn entities(&self, stream: StreamId) -> impl Iterator<Item = (EntityId, Slot)> + Clone {
        self.told[self.range(stream)].iter().map(|told| (told.entity, told.slot))
    }

    /// The streams with entities, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, usize)> {
        let streams = self.told.chunk_by(|a, b| a.stream == b.stream);
        streams.filter_map(|told| Some((told.first()?.stream, told.len())))
    }
}
