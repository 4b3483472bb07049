//! The broadcast of a room with interest: each cell encoded once, each member its own selection.
//!
//! ```text
//! cell, rate --first asked for--> chunks of this tick --copied for everybody in view--> frames
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
use tickloom_protocol::link::put_binary_header;

use super::{Broadcast, Content, Occasion, Oversized, RECOVERY_BYTES_MAX, Start};
use crate::outbox::Backpressure;
use crate::room::member::Member;
use crate::room::sight::{Rings, STRAIN_MAX, Sight, SightLimits, Turn};
use crate::room::state::State;
use crate::room::state::places::{PlaceId, Places};
use crate::session::SessionId;
use crate::session_table::Outboxes;

/// Rates a cell's motion is sent at: with every state, every second, fourth, eighth.
const RATES_COUNT: usize = limits::RING_EVERY_MAX.ilog2() as usize + 1;

/// The table of what every subscriber is told; then one for each rate, with that and the motion that
/// is due; then the one of snapshots.
const NEWS: usize = 0;
const SNAPSHOTS: usize = RATES_COUNT + 1;
const TABLES_COUNT: usize = RATES_COUNT + 2;

/// A member that comes new costs this many copied bytes as much as one encoded byte.
const COPIED_PER_ENCODED: usize = 8;

/// Chunks of this tick: where they are in `Views::bytes`. Many are looked at for every member, so
/// they are small and lie close together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slice {
    start: u32,
    end: u32,
}

impl Slice {
    /// Nobody has asked for it in this tick.
    const UNKNOWN: Self = Self { start: u32::MAX, end: 0 };

    fn is_empty(self) -> bool {
        self.start == self.end
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The chunks of one tick, and what is needed to select from them.
#[derive(Debug, Default)]
pub(super) struct Views {
    bytes: Vec<u8>,
    /// By table and place.
    tables: [Vec<Slice>; TABLES_COUNT],
    /// By starting point, what was said since, and the hash of what everybody sees.
    rests: Vec<(Start, Slice)>,
    /// Times something was encoded.
    encodings: u64,
    turn: Turn,
    /// What goes into the frame of one member.
    selected: Vec<Slice>,
    /// By strain.
    rings: Vec<Rings>,
    /// The frames of the tick, back to back, and whose they are.
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
        for (id, member) in members.iter_mut() {
            let Some(outbox) = outboxes.outbox(member.session()) else { continue };
            let is_stale = outbox.states_waiting() >= occasion.states_waiting_max;
            let keeps_up = member.baseline == occasion.previous && member.sight.is_some();
            if is_stale || outbox.backpressure() != Backpressure::Ready {
                outbox.owe_state();
                self.counts.skipped += 1;
            } else if keeps_up && occasion.previous != Tick::ZERO {
                self.counts.deltas += 1;
                self.put_view(content, *id, member, occasion.previous, occasion, settings)?;
                continue;
            } else {
                self.behind.push((member.behind_since, *id));
            }
            if member.behind_since == Tick::ZERO {
                member.behind_since = content.state.building();
            }
        }
        let deferred = self.recover_views(content, members, occasion, settings)?;
        self.counts.encodings += self.views.encodings;
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
            let (encoded, copied) = (self.views.bytes.len(), self.views.output.len());
            self.put_view(content, *id, member, Tick::ZERO, occasion, settings)?;
            self.recovery_bytes += self.views.bytes.len() - encoded;
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
        let Broadcast { views, private, prefix, .. } = self;
        let Some(mut sight) = member.sight.take() else { return Ok(()) };
        views.selected.clear();
        let is_reset = since == Tick::ZERO;
        views.select(content.state, member, &mut sight, is_reset, &settings.limits);
        let rest = views.rest(content, Start::of(member, since), occasion.with_hash);
        views.selected.push(rest);
        private.clear();
        if !is_reset {
            for cell in &views.turn.gone {
                put_chunk(private, StreamId::of_cell(*cell), ChunkKind::Gone, &[]);
            }
        }
        content.state.encode_private(id, since, private);
        content.events.encode_private(member.listener(), member.hearing, private);
        if occasion.with_hash {
            content.state.encode_private_hashes(id, private);
        }
        let head = member.head(content.state.building(), since, occasion.previous);
        let selected = views.selected.iter().map(|slice| slice.range());
        let chunks_bytes = selected.clone().map(|range| range.len()).sum::<usize>() + private.len();
        let bytes = prefix.bytes() + chunks_bytes;
        if bytes > limits::SERVER_MESSAGE_BYTES_MAX {
            return Err(Oversized { bytes });
        }
        let output = &mut views.output;
        let start = output.len();
        put_binary_header(bytes, output);
        prefix.put(&head, chunks_bytes, output);
        for range in selected {
            output.extend_from_slice(&views.bytes[range]);
        }
        output.extend_from_slice(private);
        views.frames.push((member.session(), start..output.len()));
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
        self.bytes.clear();
        self.rests.clear();
        self.frames.clear();
        if let Some(Ok(mut spent)) = self.spent.take().map(Bytes::try_into_mut) {
            spent.clear();
            self.output = spent.into();
        }
        self.output.clear();
        self.encodings = 0;
        let places_count = state.places().map_or(0, Places::count);
        for table in &mut self.tables {
            table.clear();
            table.resize(places_count, Slice::UNKNOWN);
        }
        self.rings.clear();
        if let Some(interest) = state.schema().interest() {
            let strains = 0..=STRAIN_MAX;
            self.rings.extend(strains.map(|strain| Rings::new(interest, strain + steps)));
        }
    }

    /// Selects what one member is sent of places.
    fn select(
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
            true => self.snapshot(state, everywhere),
            false => self.news(state, everywhere),
        };
        self.selected.push(slice);
        let is_steady = !is_reset && self.turn.new.is_empty();
        for subscription in sight.subscriptions_mut() {
            let place = PlaceId::of_cell(subscription.cell);
            let due = subscription.take_turn(schedule);
            let slice = match due {
                _ if !is_steady && (is_reset || self.turn.new.contains(&subscription.cell)) => {
                    self.snapshot(state, place)
                }
                Some(every) => self.due(state, place, every),
                None => self.news(state, place),
            };
            if !slice.is_empty() {
                self.selected.push(slice);
            }
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

    /// Appends chunks.
    fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Slice {
        let start = self.bytes.len() as u32;
        put(&mut self.bytes);
        Slice { start, end: self.bytes.len() as u32 }
    }

    /// What every subscriber of a place is told.
    #[inline]
    fn news(&mut self, state: &mut State, place: PlaceId) -> Slice {
        let known = self.tables[NEWS][place.index()];
        if known != Slice::UNKNOWN {
            return known;
        }
        let slice = self.put(|bytes| state.encode_place(place, bytes));
        self.encodings += u64::from(!slice.is_empty());
        self.tables[NEWS][place.index()] = slice;
        slice
    }

    /// That, and the motion for those who get every `every`th state, which this is one of.
    #[inline]
    fn due(&mut self, state: &mut State, place: PlaceId, every: u8) -> Slice {
        let table = 1 + every.ilog2() as usize;
        let known = self.tables[table][place.index()];
        if known != Slice::UNKNOWN {
            return known;
        }
        let news = self.news(state, place);
        let has_hash = state.places().is_some_and(|places| places.is_hash_due(place));
        let slice = self.put(|bytes| {
            bytes.extend_from_within(news.range());
            state.encode_motion(place, every, bytes);
            if has_hash {
                state.encode_place_hash(place, bytes);
            }
        });
        self.encodings += u64::from(slice.range().len() > news.range().len());
        self.tables[table][place.index()] = slice;
        slice
    }

    /// Everything a place holds.
    fn snapshot(&mut self, state: &mut State, place: PlaceId) -> Slice {
        let known = self.tables[SNAPSHOTS][place.index()];
        if known != Slice::UNKNOWN {
            return known;
        }
        let slice = self.put(|bytes| state.encode_place_snapshot(place, bytes));
        self.encodings += 1;
        self.tables[SNAPSHOTS][place.index()] = slice;
        slice
    }

    /// What was said since a starting point, and the hash of what everybody sees.
    fn rest(&mut self, content: &mut Content<'_>, start: Start, with_hash: bool) -> Slice {
        if let Some((_, slice)) = self.rests.iter().find(|(known, _)| *known == start) {
            return *slice;
        }
        let Content { state, events, .. } = content;
        let has_topics = !state.schema().topics().is_empty();
        let always = start.since == Tick::ZERO && has_topics;
        let slice = self.put(|bytes| {
            if start.history {
                events.encode_history(start.events_from, bytes);
            }
            events.encode(start.events_from, always, bytes);
            if with_hash {
                state.encode_place_hash(PlaceId::EVERYWHERE, bytes);
            }
        });
        self.rests.push((start, slice));
        slice
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
