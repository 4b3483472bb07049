//! The broadcast of a room with interest: each cell encoded once, each member its own selection.
//!
//! ```text
//! cells, rate --first asked for--> chunks of this tick --copied for everybody in view--> frames
//! ```
//!
//! What differs between members is which chunks they get, never what is in them: a chunk is encoded
//! at most once per stream, rate and tick. A member that misses a state gets the snapshots of
//! everything in view, which are encoded at most once per cell and tick as well.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use tickloom_protocol::chunks::{ChunkKind, put_chunk};
use tickloom_protocol::ids::{MemberId, StreamId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::link::{BINARY_HEADER_BYTES_MAX, put_binary_header};
use tickloom_protocol::server_message::DeltaHead;

use super::cell_chunks::{CellChunks, Slice};
use super::{Broadcast, Content, Occasion, Oversized, RECOVERY_BYTES_MAX, Start};
use crate::room::member::Member;
use crate::room::sight::{Rings, STRAIN_MAX, Sight, SightLimits, Turn};
use crate::room::state::State;
use crate::room::state::places::{PlaceId, Places};
use crate::session::SessionId;
use crate::session_table::Outboxes;

/// A member that comes new costs this many copied bytes as much as one encoded byte.
const COPIED_PER_ENCODED: usize = 8;

/// What is needed to select chunks for members.
#[derive(Debug, Default)]
pub(super) struct Views {
    chunks: CellChunks,
    turn: Turn,
    /// By strain.
    rings: Vec<Rings>,
    /// What precedes the chunks of one member.
    head: Vec<u8>,
    /// The frames of the tick, and whose they are. Chunks are put there before what precedes them,
    /// whose length follows from theirs, so a few bytes between two frames are nobody's.
    output: Vec<u8>,
    frames: Vec<(SessionId, Range<usize>)>,
    /// What `output` was in the last tick. When all frames have left, its memory is used again:
    /// megabytes that come fresh from the system cost more than what is written there.
    spent: Option<Bytes>,
}

/// How members of a room see it.
#[derive(Clone, Copy, Debug)]
pub struct ViewSettings {
    /// How much they may be sent.
    pub limits: SightLimits,
    /// Steps by which everybody's rings shrink, because the server has too much to do.
    pub steps: u8,
}

impl Broadcast {
    /// Queues the state under construction of a room with interest, as [`Broadcast::send`] does for
    /// one that is sent whole.
    ///
    /// # Errors
    /// [`Oversized`], when a member's message would be; nobody gets anything then.
    pub fn send_views(
        &mut self,
        content: &mut Content<'_>,
        members: &mut BTreeMap<MemberId, Member>,
        occasion: Occasion,
        settings: ViewSettings,
        outboxes: &mut impl Outboxes,
    ) -> Result<bool, Oversized> {
        self.begin();
        content.state.settle();
        if occasion.with_hash {
            content.state.want_cell_hashes();
        }
        self.views.begin(content.state, settings.steps);
        let building = content.state.building();
        for (id, member) in members.iter_mut() {
            if self.keeps_up(*id, member, building, occasion, outboxes) {
                self.put_view(content, *id, member, occasion.previous, occasion, settings)?;
            }
        }
        let deferred = self.recover_views(content, members, occasion, settings)?;
        self.counts.encodings += self.views.chunks.encodings;
        self.views.push_frames(outboxes);
        Ok(deferred)
    }

    /// Sends those everything in view who missed a state or come new, who waits longest first.
    fn recover_views(
        &mut self,
        content: &mut Content<'_>,
        members: &mut BTreeMap<MemberId, Member>,
        occasion: Occasion,
        settings: ViewSettings,
    ) -> Result<bool, Oversized> {
        let mut behind = std::mem::take(&mut self.behind);
        behind.sort_unstable();
        let mut deferred = false;
        for (_, id) in &behind {
            let Some(member) = members.get_mut(id) else { continue };
            if self.recovery_bytes >= RECOVERY_BYTES_MAX {
                self.counts.deferred += 1;
                deferred = true;
                continue;
            }
            self.counts.snapshots += 1;
            member.sight.get_or_insert_default().reset();
            let (encoded, copied) = (self.views.chunks.bytes.len(), self.views.output.len());
            self.put_view(content, *id, member, Tick::ZERO, occasion, settings)?;
            self.recovery_bytes += self.views.chunks.bytes.len() - encoded;
            self.recovery_bytes += (self.views.output.len() - copied) / COPIED_PER_ENCODED;
            member.behind_since = Tick::ZERO;
        }
        self.behind = behind;
        Ok(deferred)
    }

    /// Puts one member's frame together.
    fn put_view(
        &mut self,
        content: &mut Content<'_>,
        id: MemberId,
        member: &mut Member,
        since: Tick,
        occasion: Occasion,
        settings: ViewSettings,
    ) -> Result<(), Oversized> {
        let Broadcast { views, prefix, .. } = self;
        let Some(mut sight) = member.sight.take() else { return Ok(()) };
        let chunks_at = views.output.len() + BINARY_HEADER_BYTES_MAX + prefix.bytes();
        views.output.resize(chunks_at, 0);
        let is_reset = since == Tick::ZERO;
        views.put_places(content.state, member, &mut sight, is_reset, &settings.limits);
        views.put_rest(content, Start::of(member, since), occasion.with_hash);
        let Views { output, turn, .. } = views;
        if !is_reset {
            for cell in &turn.gone {
                put_chunk(output, StreamId::of_cell(*cell), ChunkKind::Gone, &[]);
            }
        }
        content.state.encode_private(id, since, output);
        content.events.encode_private(member.listener(), member.hearing, output);
        if occasion.with_hash {
            content.state.encode_private_hashes(id, output);
        }
        let head = member.head(content.state.building(), since, occasion.previous);
        let head = DeltaHead { load_level: self.load_level as u8, ..head };
        let chunks_bytes = output.len() - chunks_at;
        let bytes = prefix.bytes() + chunks_bytes;
        if bytes > limits::SERVER_MESSAGE_BYTES_MAX {
            return Err(Oversized { bytes });
        }
        views.head.clear();
        put_binary_header(bytes, &mut views.head);
        prefix.put(&head, chunks_bytes, &mut views.head);
        let start = chunks_at - views.head.len();
        views.output[start..chunks_at].copy_from_slice(&views.head);
        views.frames.push((member.session(), start..views.output.len()));
        sight.charge(bytes, occasion.states_waiting_max, &settings.limits);
        self.counts.strained += u64::from(sight.strain() > 0);
        member.sight = Some(sight);
        member.note_sent(content.state.building(), content.events.next());
        Ok(())
    }
}

impl Views {
    /// Begins a tick of a room.
    fn begin(&mut self, state: &State, steps: u8) {
        self.chunks.begin(state);
        self.frames.clear();
        if let Some(Ok(mut spent)) = self.spent.take().map(Bytes::try_into_mut) {
            spent.clear();
            self.output = spent.into();
        }
        self.output.clear();
        self.rings.clear();
        if let Some(interest) = state.schema().interest() {
            let strains = 0..=STRAIN_MAX;
            self.rings.extend(strains.map(|strain| Rings::new(interest, strain + steps)));
        }
    }

    /// Puts what one member is sent of places.
    fn put_places(
        &mut self,
        state: &mut State,
        member: &Member,
        sight: &mut Sight,
        is_reset: bool,
        limits: &SightLimits,
    ) {
        let Some(places) = state.places() else { return };
        let schedule = places.schedule();
        let rings = self.rings[usize::from(sight.strain())];
        let middle = middle(places, member, sight);
        let new_cells_max = if is_reset { usize::MAX } else { limits.new_cells_max };
        sight.turn(places.grid(), &rings, middle, new_cells_max, &mut self.turn);
        let everywhere = PlaceId::EVERYWHERE;
        let slice = match is_reset {
            true => self.chunks.snapshot(state, everywhere),
            false => self.chunks.news(state, everywhere),
        };
        self.put(slice);
        if !is_reset && self.turn.new.is_empty() {
            for run in sight.runs() {
                let slice = self.chunks.run(state, *run);
                self.put(slice);
            }
        } else {
            self.put_cells(state, sight, is_reset);
        }
        if let Some(places) = state.places() {
            sight.take_turns(places.grid(), schedule);
        }
    }

    /// Cell by cell: some come new.
    fn put_cells(&mut self, state: &mut State, sight: &Sight, is_reset: bool) {
        for subscription in sight.subscriptions() {
            let place = PlaceId::of_cell(subscription.cell);
            let slice = if is_reset || self.turn.new.contains(&subscription.cell) {
                self.chunks.snapshot(state, place)
            } else {
                let Some(run) = state.places().map(|places| subscription.run(places.grid())) else {
                    continue;
                };
                self.chunks.run(state, run)
            };
            self.put(slice);
        }
    }

    /// Puts what everybody is told who was told as much.
    fn put_rest(&mut self, content: &mut Content<'_>, start: Start, with_hash: bool) {
        let slice = self.chunks.rest(content, start, with_hash);
        self.put(slice);
    }

    #[inline]
    fn put(&mut self, slice: Slice) {
        if !slice.is_empty() {
            self.output.extend_from_slice(&self.chunks.bytes[slice.range()]);
        }
    }

    /// Queues the frames.
    fn push_frames(&mut self, outboxes: &mut impl Outboxes) {
        let frames = Bytes::from(std::mem::take(&mut self.output));
        for (session, range) in self.frames.drain(..) {
            if let Some(outbox) = outboxes.outbox(session) {
                outbox.count_state();
                outbox.push(frames.slice(range));
            }
        }
        self.spent = Some(frames);
    }
}

/// The column and row a member's view is drawn around.
fn middle(places: &Places, member: &Member, sight: &Sight) -> [i32; 2] {
    let grid = places.grid();
    if let Some([x, y]) = sight.camera() {
        return grid.place(x, y);
    }
    let own = places.of(member.entity());
    match own.cell().filter(|_| own != PlaceId::NOWHERE) {
        Some(cell) => grid.place_of(cell),
        // Whoever is nowhere looks where it looked before, at first at the middle of everything.
        None => sight.middle().unwrap_or_else(|| grid.sides().map(|side| side as i32 / 2)),
    }
}
