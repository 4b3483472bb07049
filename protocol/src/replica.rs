//! What a client knows of its room.
//!
//! A snapshot replaces, a delta applies, and anything that does not fit asks for a resync: the
//! transport is ordered and reliable, so a gap means that one of the two ends has a bug or that
//! the server skipped this client on purpose and said so.

mod streams;

use std::sync::Arc;

use crate::chunks::{Chunk, ChunkError, ChunkKind, GapReader, Reader, SectionKind, Value};
use crate::client_message::ResyncReason;
use crate::entities::{Entities, View, hash_of_snapshot};
use crate::events::Heard;
use crate::ids::{ComponentId, EntityId, MemberId, StreamId, Tick};
use crate::limits;
use crate::replica::streams::Streams;
use crate::schema::{Kind, RoomSchema, Scope};
use crate::server_message::Delta;

/// A room's state as one member sees it.
#[derive(Debug)]
pub struct Replica {
    member: MemberId,
    entities: Entities,
    /// The tick the entities are at; [`Tick::ZERO`] while a snapshot is awaited.
    tick: Tick,
    heard: Heard,
    /// What is in view, in a room with interest.
    streams: Option<Streams>,
}

/// What a cell's snapshot takes, with room to spare: it need not grow to be hashed.
const HASHED_BYTES_USUAL: usize = 512;

/// Where a section stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    stream: StreamId,
    scope: Scope,
    is_motion: bool,
}

/// What a delta did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// How the replica took it.
    pub outcome: Outcome,
    /// How many hash chunks it carried, at most one per stream; all of them matched.
    pub hashes_checked: u16,
}

/// How a replica took a delta.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It replaced everything.
    Snapshot,
    /// It moved the replica from its base to its tick.
    Delta,
    /// The replica was at its tick or later already; nothing happened.
    Duplicate,
    /// The replica waits for a snapshot, and this was none; nothing happened.
    Awaiting,
}

/// Why a delta could not be applied. The replica now waits for a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ApplyError {
    /// It starts from a tick the replica does not have.
    #[error("the delta starts at tick {base}, the replica is at {have}")]
    Gap {
        /// The replica's tick.
        have: Tick,
        /// The delta's base.
        base: Tick,
    },
    /// Its chunks could not be read.
    #[error("the delta of tick {tick} is malformed: {error}")]
    Malformed {
        /// The delta's tick.
        tick: Tick,
        /// What is wrong.
        error: ChunkError,
    },
    /// After it, the replica's hash was not the room's.
    #[error("after tick {tick} the hash of stream {} is not the room's", stream.0)]
    HashMismatch {
        /// The delta's tick.
        tick: Tick,
        /// The stream that differs.
        stream: StreamId,
    },
}

impl ApplyError {
    /// What to say in the `Resync` that should follow.
    #[must_use]
    pub const fn resync_reason(&self) -> ResyncReason {
        match self {
            Self::Gap { .. } => ResyncReason::Gap,
            Self::Malformed { .. } => ResyncReason::Malformed,
            Self::HashMismatch { .. } => ResyncReason::HashMismatch,
        }
    }
}

impl Replica {
    /// An empty replica that waits for its first snapshot.
    #[must_use]
    pub fn new(member: MemberId, schema: Arc<RoomSchema>) -> Self {
        let streams = schema.grid().map(Streams::new);
        let entities = match streams {
            Some(_) => Entities::few(schema),
            None => Entities::new(schema),
        };
        let (tick, heard) = (Tick::ZERO, Heard::default());
        Self { member, entities, tick, heard, streams }
    }

    /// The same for a member that was here and has kept nothing but which events it has heard.
    #[must_use]
    pub(crate) fn hearing_from(mut self, events_from: u64, private_from: u64) -> Self {
        self.heard.go_on_from(events_from, private_from);
        self
    }

    /// Applies one delta.
    ///
    /// # Errors
    /// [`ApplyError`], after which the content is undefined until the snapshot that answers a
    /// `Resync`; deltas before it are [`Outcome::Awaiting`].
    pub fn apply(&mut self, delta: &Delta<'_>) -> Result<Applied, ApplyError> {
        let head = delta.head;
        let have = self.tick;
        self.heard.clear();
        let outcome = match head.base {
            Tick::ZERO => Outcome::Snapshot,
            _ if have == Tick::ZERO => Outcome::Awaiting,
            _ if head.tick <= have => Outcome::Duplicate,
            base if base == have => Outcome::Delta,
            base => {
                self.tick = Tick::ZERO;
                return Err(ApplyError::Gap { have, base });
            }
        };
        if matches!(outcome, Outcome::Awaiting | Outcome::Duplicate) {
            return Ok(Applied { outcome, hashes_checked: 0 });
        }
        // Until the last chunk fits, the content is nobody's.
        self.tick = Tick::ZERO;
        if outcome == Outcome::Snapshot {
            // A stream without a chunk is empty now.
            self.entities.clear();
            if let Some(streams) = &mut self.streams {
                streams.clear();
            }
        }
        let positions = self.heard.positions();
        let hashes_checked = self
            .apply_chunks(head.tick, delta.chunks)
            .inspect_err(|_| self.heard.rewind(positions))?;
        self.tick = head.tick;
        Ok(Applied { outcome, hashes_checked })
    }

    /// The tick the replica is at; [`Tick::ZERO`] while it waits for a snapshot.
    #[must_use]
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// Whose replica this is.
    #[must_use]
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// The content. Meaningful while [`Replica::tick`] is not zero.
    #[must_use]
    pub fn entities(&self) -> &Entities {
        &self.entities
    }

    /// The events of the delta given last, none unless it was applied, and how many were missed
    /// so far.
    #[must_use]
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// The streams whose entities are in view, and how many each has; none in a room without
    /// interest.
    pub fn streams(&self) -> impl Iterator<Item = (StreamId, usize)> {
        self.streams.iter().flat_map(Streams::iter)
    }

    fn view(&self, stream: StreamId) -> Result<View, ChunkError> {
        match (stream, &self.streams) {
            (StreamId::ROOM, _) => Ok(View::Room),
            (StreamId::MEMBER, None) => Ok(View::Member(self.member)),
            (StreamId::MEMBER, Some(_)) => Ok(View::Held(Scope::Owner)),
            (StreamId::TEAM, _) => Ok(View::Held(Scope::Team)),
            (_, Some(streams)) if streams.is_cell(stream) => Ok(View::Room),
            (StreamId(other), _) => Err(ChunkError::UnknownStream(other)),
        }
    }

    /// Applies all chunks and returns how many hashes were among them.
    fn apply_chunks(&mut self, tick: Tick, chunks: &[u8]) -> Result<u16, ApplyError> {
        let malformed = |error| ApplyError::Malformed { tick, error };
        let mut hashed = Vec::new();
        let mut reader = Reader::new(chunks);
        while let Some(chunk) = reader.chunk().map_err(malformed)? {
            let stream = chunk.stream;
            let view = self.view(stream).map_err(malformed)?;
            // A hash costs seven bytes to send and the whole stream to check: one per stream.
            if hashed.contains(&stream) {
                return Err(malformed(ChunkError::AfterHash(stream.0)));
            }
            if chunk.kind != ChunkKind::Hash {
                self.apply_chunk(view, chunk).map_err(malformed)?;
                continue;
            }
            hashed.push(stream);
            if !self.check_hash(view, stream, chunk.body).map_err(malformed)? {
                return Err(ApplyError::HashMismatch { tick, stream });
            }
        }
        Ok(hashed.len() as u16)
    }

    fn check_hash(
        &self,
        view: View,
        stream: StreamId,
        mut body: Reader<'_>,
    ) -> Result<bool, ChunkError> {
        let expected = body.u32()?;
        if !body.is_empty() {
            return Err(ChunkError::HashTooLong);
        }
        // A buffer of its own would lie cold in every replica between two hashes.
        let mut snapshot = Vec::with_capacity(HASHED_BYTES_USUAL);
        match &self.streams {
            Some(streams) if view == View::Room => {
                self.entities.put_group_at(streams.entities(stream), &mut snapshot);
            }
            _ => self.entities.put_snapshot(view, &mut snapshot),
        }
        Ok(hash_of_snapshot(&snapshot) == expected)
    }

    fn apply_chunk(&mut self, view: View, chunk: Chunk<'_>) -> Result<(), ChunkError> {
        let Chunk { stream, kind, mut body } = chunk;
        match kind {
            ChunkKind::Events if ![StreamId::ROOM, StreamId::MEMBER].contains(&stream) => {
                return Err(ChunkError::UnknownStream(stream.0));
            }
            ChunkKind::Events => {
                let topics_count = self.entities.schema().topics().len();
                return self.heard.read(stream, topics_count, &mut body);
            }
            ChunkKind::Motion | ChunkKind::Gone if stream.cell().is_none() => {
                return Err(ChunkError::UnknownStream(stream.0));
            }
            ChunkKind::Gone => {
                let is_empty = body.is_empty();
                self.forget(stream);
                return if is_empty { Ok(()) } else { Err(ChunkError::GoneWithBody) };
            }
            ChunkKind::Snapshot => match (view, &self.streams) {
                (View::Room, None) => self.entities.clear(),
                (View::Room, Some(_)) => self.forget(stream),
                (View::Member(_) | View::Held(_), _) => self.entities.clear_scope(view.scope()),
            },
            ChunkKind::Delta | ChunkKind::Motion | ChunkKind::Hash => {}
        }
        let is_motion = kind == ChunkKind::Motion;
        if !is_motion {
            self.apply_structure(view, stream, kind, &mut body)?;
        }
        let place = Place { stream, scope: view.scope(), is_motion };
        while let Some((kind, component)) = body.section()? {
            self.apply_section(place, kind, component, &mut body)?;
        }
        Ok(())
    }

    /// Drops everything that is in view because of a stream.
    fn forget(&mut self, stream: StreamId) {
        let Some(streams) = &mut self.streams else { return };
        for entity in streams.remove_all(stream) {
            self.entities.remove_public(entity);
        }
        if stream == StreamId::ROOM {
            self.entities.clear_public(EntityId::ROOM);
        }
    }

    fn apply_structure(
        &mut self,
        view: View,
        stream: StreamId,
        kind: ChunkKind,
        body: &mut Reader<'_>,
    ) -> Result<(), ChunkError> {
        let mut leaves = GapReader::default();
        while let Some(entity) = leaves.next(body)? {
            if view != View::Room || kind != ChunkKind::Delta || entity == EntityId::ROOM {
                return Err(ChunkError::UnexpectedStructure);
            }
            match &mut self.streams {
                None => {
                    self.known(entity)?;
                    self.entities.remove(entity);
                }
                Some(streams) => {
                    // Whoever went on to another stream in view is there already.
                    if streams.remove(stream, entity) {
                        self.entities.remove_public(entity);
                    }
                }
            }
        }
        let mut enters = GapReader::default();
        while let Some(entity) = enters.next(body)? {
            // The room itself is everywhere and in no cell.
            let is_lost = entity == EntityId::ROOM && stream != StreamId::ROOM;
            if view != View::Room || is_lost {
                return Err(ChunkError::UnexpectedStructure);
            }
            let owner = body.member()?;
            let slot = self.entities.place(entity, owner);
            if let Some(streams) = &mut self.streams {
                streams.insert(stream, entity, slot);
                self.entities.clear_public(entity);
            }
        }
        Ok(())
    }

    fn apply_section(
        &mut self,
        place: Place,
        kind: SectionKind,
        component: ComponentId,
        body: &mut Reader<'_>,
    ) -> Result<(), ChunkError> {
        let wrong = Err(ChunkError::WrongComponent(component.0));
        let components = self.entities.schema().components();
        let Some(desc) = components.get(component.index()) else { return wrong };
        if desc.scope != place.scope {
            return wrong;
        }
        if place.is_motion && !(desc.motion && kind == SectionKind::Rows) {
            return Err(ChunkError::NotMotion);
        }
        match (kind, &desc.kind) {
            (SectionKind::Rows, Kind::Packed(layout)) => {
                let row_bytes = layout.row_bytes();
                self.apply_rows(place, component, row_bytes, body)
            }
            (SectionKind::Removed, _) => {
                let mut gaps = GapReader::default();
                while let Some(entity) = gaps.next(body)? {
                    self.known_at(place, entity)?;
                    self.entities.remove_value(component, entity);
                }
                Ok(())
            }
            (SectionKind::Opaque, Kind::Opaque { value_bytes_max, .. }) => {
                let value_bytes_max = *value_bytes_max;
                let mut gaps = GapReader::default();
                while let Some(entity) = gaps.next(body)? {
                    self.known_at(place, entity)?;
                    let value = body.sized()?;
                    if value.len() > value_bytes_max {
                        return Err(ChunkError::OpaqueTooLong);
                    }
                    self.entities.set_opaque(component, entity, value);
                }
                Ok(())
            }
            (SectionKind::Props, Kind::Props) => self.apply_props(place, component, body),
            (SectionKind::Rows | SectionKind::Opaque | SectionKind::Props, _) => wrong,
        }
    }

    fn apply_rows(
        &mut self,
        place: Place,
        component: ComponentId,
        row_bytes: usize,
        body: &mut Reader<'_>,
    ) -> Result<(), ChunkError> {
        let mut gaps = GapReader::default();
        let Some(streams) = self.streams.as_ref().filter(|_| place.scope == Scope::Room) else {
            while let Some(entity) = gaps.next(body)? {
                self.known_at(place, entity)?;
                let row = body.take(row_bytes)?;
                self.entities.overwrite_row(component, entity, row);
            }
            return Ok(());
        };
        // Rows are the most of what comes: both they and a stream's entities ascend.
        let mut told = streams.entities(place.stream);
        while let Some(entity) = gaps.next(body)? {
            let found = told.find(|(other, _)| *other >= entity);
            let Some((_, slot)) = found.filter(|(other, _)| *other == entity) else {
                return Err(ChunkError::UnknownEntity(entity.0));
            };
            let row = body.take(row_bytes)?;
            self.entities.overwrite_row_at(component, slot, row);
        }
        Ok(())
    }

    fn apply_props(
        &mut self,
        place: Place,
        component: ComponentId,
        body: &mut Reader<'_>,
    ) -> Result<(), ChunkError> {
        let mut gaps = GapReader::default();
        while let Some(entity) = gaps.next(body)? {
            self.known_at(place, entity)?;
            while let Some((key, value)) = body.prop()? {
                let full = self.entities.props(component, entity).is_some_and(|props| {
                    props.len() >= limits::PROP_KEYS_MAX && props.get(key).is_none()
                });
                if full && value != Value::Nil {
                    return Err(ChunkError::PropTooLong);
                }
                self.entities.set_prop(component, entity, key, value);
            }
        }
        Ok(())
    }

    /// Whether a value of this entity may come on this stream.
    #[inline]
    fn known_at(&self, place: Place, entity: EntityId) -> Result<(), ChunkError> {
        match &self.streams {
            None => self.known(entity),
            // What is told in private does not depend on what is in view.
            Some(_) if place.scope != Scope::Room => Ok(()),
            Some(streams) if streams.contains(place.stream, entity) => Ok(()),
            Some(_) => Err(ChunkError::UnknownEntity(entity.0)),
        }
    }

    #[inline]
    fn known(&self, entity: EntityId) -> Result<(), ChunkError> {
        if self.entities.contains(entity) {
            return Ok(());
        }
        Err(ChunkError::UnknownEntity(entity.0))
    }
}

#[cfg(test)]
mod tests;
