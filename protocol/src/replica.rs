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
        let (tick, heard) = (Tick::ZERO, Heard::default());
        Self { member, entities: Entities::new(schema), tick, heard, streams }
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
        let mut snapshot = Vec::new();
        match &self.streams {
            Some(streams) if view == View::Room => {
                self.entities.put_group(streams.entities(stream), &mut snapshot);
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
            if let Some(streams) = &mut self.streams {
                streams.insert(stream, entity);
                self.entities.clear_public(entity);
            }
            self.entities.insert(entity, owner);
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
        let schema = Arc::clone(self.entities.schema());
        let Some(desc) = schema.components().get(component.index()) else { return wrong };
        if desc.scope != place.scope {
            return wrong;
        }
        if place.is_motion && !(desc.motion && kind == SectionKind::Rows) {
            return Err(ChunkError::NotMotion);
        }
        match (kind, &desc.kind) {
            (SectionKind::Rows, Kind::Packed(layout)) => {
                self.apply_rows(place, component, layout.row_bytes(), body)
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
                let mut gaps = GapReader::default();
                while let Some(entity) = gaps.next(body)? {
                    self.known_at(place, entity)?;
                    let value = body.sized()?;
                    if value.len() > *value_bytes_max {
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
        while let Some(entity) = gaps.next(body)? {
            self.known_at(place, entity)?;
            let row = body.take(row_bytes)?;
            self.entities.overwrite_row(component, entity, row);
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
mod tests {
    use super::*;
    use crate::chunks::put_chunk;
    use crate::schema::{ComponentDesc, FieldDesc, FieldType, TopicDesc};
    use crate::server_message::DeltaHead;

    const BODY: ComponentId = ComponentId(0);
    const SECRET: ComponentId = ComponentId(1);

    fn replica() -> Replica {
        let field = || vec![FieldDesc::new("hp", FieldType::U8)];
        let components = vec![
            ComponentDesc::packed("body", field()).expect("layout"),
            ComponentDesc::packed("secret", field()).expect("layout").for_owner(),
        ];
        let schema = RoomSchema::new(components, vec![]).expect("schema");
        let schema = schema.with_topics(vec![TopicDesc::new("chat")]).expect("topics");
        Replica::new(MemberId(3), Arc::new(schema))
    }

    fn chunk(stream: StreamId, kind: ChunkKind, body: &[u8]) -> Vec<u8> {
        let mut chunks = Vec::new();
        put_chunk(&mut chunks, stream, kind, body);
        chunks
    }

    fn apply(
        replica: &mut Replica,
        ticks: (u32, u32),
        chunks: &[u8],
    ) -> Result<Outcome, ApplyError> {
        let (base, tick) = (Tick(ticks.0), Tick(ticks.1));
        let head = DeltaHead { tick, base, ..DeltaHead::default() };
        replica.apply(&Delta { head, chunks }).map(|applied| applied.outcome)
    }

    /// A room with entities 0 and 5, the second with 9 hit points.
    fn snapshot() -> Vec<u8> {
        chunk(StreamId::ROOM, ChunkKind::Snapshot, &[0, 1, 0, 5, 3, 0, 1, 0, 6, 9, 0])
    }

    #[test]
    fn a_snapshot_replaces_and_a_delta_applies() {
        let mut replica = replica();
        assert_eq!(apply(&mut replica, (0, 4), &snapshot()), Ok(Outcome::Snapshot));
        assert_eq!(replica.entities().row(BODY, EntityId(5)), Some(&[9][..]));
        assert_eq!(replica.entities().owner(EntityId(5)), Some(MemberId(3)));
        let delta = chunk(StreamId::ROOM, ChunkKind::Delta, &[0, 8, 0, 0, 1, 0, 6, 8, 2, 1, 0]);
        assert_eq!(apply(&mut replica, (4, 5), &delta), Ok(Outcome::Delta));
        assert_eq!(replica.entities().row(BODY, EntityId(5)), Some(&[8][..]));
        assert_eq!(replica.entities().row(BODY, EntityId(7)), Some(&[1][..]));
        assert_eq!(apply(&mut replica, (0, 9), &snapshot()), Ok(Outcome::Snapshot));
        assert!(!replica.entities().contains(EntityId(7)), "a snapshot leaves nothing behind");
    }

    #[test]
    fn a_gap_waits_for_a_snapshot_and_a_duplicate_does_nothing() {
        let mut replica = replica();
        let empty = chunk(StreamId::ROOM, ChunkKind::Delta, &[0, 0]);
        assert_eq!(apply(&mut replica, (3, 4), &empty), Ok(Outcome::Awaiting));
        assert_eq!(apply(&mut replica, (0, 4), &snapshot()), Ok(Outcome::Snapshot));
        assert_eq!(apply(&mut replica, (3, 4), &empty), Ok(Outcome::Duplicate));
        let gap = ApplyError::Gap { have: Tick(4), base: Tick(6) };
        assert_eq!(apply(&mut replica, (6, 7), &empty), Err(gap));
        assert_eq!(apply(&mut replica, (4, 8), &empty), Ok(Outcome::Awaiting));
        assert_eq!(apply(&mut replica, (0, 9), &snapshot()), Ok(Outcome::Snapshot));
    }

    #[test]
    fn a_hash_that_differs_is_an_error_and_one_that_fits_is_counted() {
        let mut replica = replica();
        apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
        let hash = replica.entities().hash(View::Room, &mut Vec::new());
        for (base, planted, fits) in [(4, hash, true), (5, hash ^ 1, false)] {
            let chunks = chunk(StreamId::ROOM, ChunkKind::Hash, &u32::to_le_bytes(planted));
            let result = apply(&mut replica, (base, base + 1), &chunks);
            assert_eq!(result.is_ok(), fits, "{result:?}");
        }
        assert_eq!(replica.tick(), Tick::ZERO, "a mismatch waits for a snapshot");
    }

    #[test]
    fn a_delta_from_zero_leaves_nothing_of_what_was_there_before() {
        let empty = chunk(StreamId::ROOM, ChunkKind::Delta, &[0, 0]);
        let member = chunk(StreamId::MEMBER, ChunkKind::Snapshot, &[0, 0]);
        for (name, chunks) in
            [("no chunks", &[][..]), ("a delta chunk", &empty), ("the member's stream", &member)]
        {
            let mut replica = replica();
            apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
            assert_eq!(apply(&mut replica, (0, 5), chunks), Ok(Outcome::Snapshot), "{name}");
            let ids: Vec<EntityId> = replica.entities().ids().collect();
            assert_eq!(ids, [EntityId::ROOM], "{name}");
        }
    }

    #[test]
    fn a_hash_is_the_end_of_its_stream() {
        // The story: hashes were counted in a byte, so 256 of them, each of seven bytes and each
        // a pass over the whole room, ended the process.
        let mut sample = replica();
        apply(&mut sample, (0, 4), &snapshot()).expect("a snapshot");
        let [room, member] = [View::Room, View::Member(MemberId(3))].map(|view| {
            let mut chunk = Vec::new();
            sample.entities().put_hash_chunk(view, &mut Vec::new(), &mut chunk);
            chunk
        });
        let [room_delta, member_delta] = [StreamId::ROOM, StreamId::MEMBER]
            .map(|stream| chunk(stream, ChunkKind::Delta, &[0, 0]));
        let long = [&[0, 3, 5], &room[3..], &[0]].concat();
        let short = chunk(StreamId::ROOM, ChunkKind::Hash, &[1; 3]);
        for (name, chunks, expected) in [
            ("one each", [&room[..], &member_delta, &member].concat(), Ok(2)),
            ("in the other order", [&member[..], &room_delta, &room].concat(), Ok(2)),
            ("256 hashes", room.repeat(256), Err(ChunkError::AfterHash(0))),
            ("a delta behind", [&room[..], &room_delta].concat(), Err(ChunkError::AfterHash(0))),
            ("two of the member", member.repeat(2), Err(ChunkError::AfterHash(1))),
            ("five bytes", long, Err(ChunkError::HashTooLong)),
            ("three bytes", short, Err(ChunkError::Truncated)),
        ] {
            let mut replica = replica();
            apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
            let head = DeltaHead { tick: Tick(5), base: Tick(4), ..DeltaHead::default() };
            let applied = replica.apply(&Delta { head, chunks: &chunks });
            let expected = expected.map_err(|error| ApplyError::Malformed { tick: Tick(5), error });
            assert_eq!(applied.map(|applied| applied.hashes_checked), expected, "{name}");
        }
    }

    #[test]
    fn chunks_that_do_not_fit_the_room_are_malformed() {
        let (room, member) = (StreamId::ROOM, StreamId::MEMBER);
        let delta = ChunkKind::Delta;
        let rows = [
            (
                "row for a stranger",
                chunk(room, delta, &[0, 0, 1, 0, 8, 1, 0]),
                ChunkError::UnknownEntity(7),
            ),
            ("leave of a stranger", chunk(room, delta, &[8, 0, 0]), ChunkError::UnknownEntity(7)),
            ("leave of the room", chunk(room, delta, &[1, 0, 0]), ChunkError::UnexpectedStructure),
            (
                "enter on the member stream",
                chunk(member, delta, &[0, 8, 0, 0]),
                ChunkError::UnexpectedStructure,
            ),
            (
                "a private component in public",
                chunk(room, delta, &[0, 0, 1, 1, 6, 1, 0]),
                ChunkError::WrongComponent(1),
            ),
            (
                "component 2",
                chunk(room, delta, &[0, 0, 1, 2, 6, 1, 0]),
                ChunkError::WrongComponent(2),
            ),
            (
                "props of a packed component",
                chunk(room, delta, &[0, 0, 4, 0, 0]),
                ChunkError::WrongComponent(0),
            ),
            ("section 9", chunk(room, delta, &[0, 0, 9, 0]), ChunkError::UnknownSection(9)),
            ("stream 3", chunk(StreamId(3), delta, &[0, 0]), ChunkError::UnknownStream(3)),
            ("a cell", chunk(StreamId::CELLS, delta, &[0, 0]), ChunkError::UnknownStream(16)),
            ("chunk kind 9", vec![0, 9, 0], ChunkError::UnknownChunk(9)),
            ("cut row", chunk(room, delta, &[0, 0, 1, 0, 6]), ChunkError::Truncated),
            ("no end of list", chunk(room, delta, &[0, 0, 1, 0, 6, 1]), ChunkError::Truncated),
        ];
        for (name, chunks, error) in rows {
            let mut replica = replica();
            apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
            let expected = ApplyError::Malformed { tick: Tick(5), error };
            assert_eq!(apply(&mut replica, (4, 5), &chunks), Err(expected), "{name}");
            assert_eq!(replica.tick(), Tick::ZERO, "{name}: waits for a snapshot");
        }
    }

    #[test]
    fn events_of_a_delta_that_breaks_are_heard_from_the_next() {
        // The story: they counted as heard although nobody was told, so when the room repeated
        // them behind its snapshot they were passed over.
        let events = chunk(StreamId::ROOM, ChunkKind::Events, &[5, 1, 3, 1, b'a', 0]);
        let broken = [&events[..], &chunk(StreamId::ROOM, ChunkKind::Hash, &[0; 4])].concat();
        let mut replica = replica();
        apply(&mut replica, (0, 4), &snapshot()).expect("a snapshot");
        let mismatch = apply(&mut replica, (4, 5), &broken);
        assert!(matches!(mismatch, Err(ApplyError::HashMismatch { .. })), "{mismatch:?}");
        assert_eq!(replica.heard().iter().len(), 0, "nothing was applied");
        apply(&mut replica, (0, 6), &[snapshot(), events].concat()).expect("a snapshot");
        let bodies: Vec<_> = replica.heard().iter().map(|event| event.body).collect();
        assert_eq!((bodies, replica.heard().lost()), (vec![&b"a"[..]], 0));
        let gap = apply(&mut replica, (7, 8), &[]);
        assert!(matches!(gap, Err(ApplyError::Gap { .. })), "{gap:?}");
        assert_eq!(replica.heard().iter().len(), 0, "they were the delta's before");
    }

    #[test]
    fn private_values_arrive_on_the_member_stream() {
        let mut replica = replica();
        let mut chunks = snapshot();
        put_chunk(&mut chunks, StreamId::MEMBER, ChunkKind::Snapshot, &[0, 0, 1, 1, 6, 42, 0]);
        apply(&mut replica, (0, 4), &chunks).expect("a snapshot");
        assert_eq!(replica.entities().row(SECRET, EntityId(5)), Some(&[42][..]));
    }
}
