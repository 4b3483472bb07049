//! The chunks of one tick of a room with interest, each encoded when it is first asked for.
//!
//! ```text
//! bytes:  news of cells | row 7, every 2nd: cell 0 | cell 1 | ... | row 8, every 4th: cell 0 | ...
//! ```
//!
//! A row of cells is encoded together for each rate, one cell behind the other, whether there is
//! anything to say of them or not. So what a member gets of neighbouring cells at the same rate is one
//! piece, found by two look-ups: a view of 81 cells has some 25 such runs.

use std::ops::Range;

use tickloom_protocol::ids::Tick;
use tickloom_protocol::limits;

use super::{Content, Start};
use crate::room::sight::Run;
use crate::room::state::State;
use crate::room::state::places::{PlaceId, Places};

/// Rates a cell's motion is sent at: with every state, every second, fourth, eighth.
const RATES_COUNT: usize = limits::RING_EVERY_MAX.ilog2() as usize + 1;

/// Where chunks are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slice {
    start: u32,
    end: u32,
}

/// The chunks of one tick.
#[derive(Debug, Default)]
pub(super) struct CellChunks {
    pub bytes: Vec<u8>,
    /// What every subscriber is told, by place.
    news: Vec<Slice>,
    /// By place.
    snapshots: Vec<Slice>,
    /// What every subscriber is told, and motion that is due, by rate.
    rates: [Rate; RATES_COUNT],
    /// Cells of a row.
    columns: usize,
    /// By starting point, what was said since, and the hash of what everybody sees.
    rests: Vec<(Start, Slice)>,
    /// Times something was encoded.
    pub encodings: u64,
}

/// What is sent to those who get motion at one rate.
#[derive(Debug, Default)]
struct Rate {
    /// Rows that were asked for.
    is_known: Vec<bool>,
    /// Where each cell begins, and where the last one of its row ends: a place more than there are
    /// columns. Meaningful for rows that are known.
    starts: Vec<u32>,
}

impl Slice {
    /// Nobody has asked for it in this tick.
    const UNKNOWN: Self = Self { start: u32::MAX, end: 0 };

    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl CellChunks {
    /// Begins a tick of a room.
    pub fn begin(&mut self, state: &State) {
        self.bytes.clear();
        self.rests.clear();
        self.encodings = 0;
        let Some(places) = state.places() else { return };
        let [columns, rows] = places.grid().sides().map(|side| side as usize);
        self.columns = columns;
        for table in [&mut self.news, &mut self.snapshots] {
            table.clear();
            table.resize(places.count(), Slice::UNKNOWN);
        }
        for rate in &mut self.rates {
            rate.is_known.clear();
            rate.is_known.resize(rows, false);
            rate.starts.resize(rows * (columns + 1), 0);
        }
    }

    /// Appends chunks.
    fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Slice {
        let start = self.bytes.len() as u32;
        put(&mut self.bytes);
        Slice { start, end: self.bytes.len() as u32 }
    }

    /// What every subscriber of a place is told.
    pub fn news(&mut self, state: &mut State, place: PlaceId) -> Slice {
        let known = self.news[place.index()];
        if known != Slice::UNKNOWN {
            return known;
        }
        let slice = self.put(|bytes| state.encode_place(place, bytes));
        self.encodings += u64::from(!slice.is_empty());
        self.news[place.index()] = slice;
        slice
    }

    /// Everything a place holds.
    pub fn snapshot(&mut self, state: &mut State, place: PlaceId) -> Slice {
        let known = self.snapshots[place.index()];
        if known != Slice::UNKNOWN {
            return known;
        }
        let slice = self.put(|bytes| state.encode_place_snapshot(place, bytes));
        self.encodings += 1;
        self.snapshots[place.index()] = slice;
        slice
    }

    /// What is told of a run of cells: news of each, and motion where it is due.
    #[inline]
    pub fn run(&mut self, state: &mut State, run: Run) -> Slice {
        let rate = &self.rates[run.every.ilog2() as usize];
        if !rate.is_known[usize::from(run.row)] {
            self.encode_row(state, run.row, run.every);
        }
        let starts = &self.rates[run.every.ilog2() as usize].starts;
        let first = usize::from(run.row) * (self.columns + 1);
        let (from, until) =
            (first + usize::from(run.columns.0), first + usize::from(run.columns.1));
        Slice { start: starts[from], end: starts[until] }
    }

    fn encode_row(&mut self, state: &mut State, row: u16, every: u8) {
        let first = PlaceId::of_row(row, self.columns);
        let places = (0..self.columns).map(|column| first.plus(column));
        // What is copied must not come to lie between what is put together.
        for place in places.clone() {
            if state.places().is_some_and(|places| places.is_touched(place)) {
                self.news(state, place);
            }
        }
        let mut at = usize::from(row) * (self.columns + 1);
        for place in places {
            self.set_start(every, at);
            at += 1;
            let news = self.news[place.index()];
            if news != Slice::UNKNOWN {
                self.bytes.extend_from_within(news.range());
            }
            let is_due =
                state.places().is_some_and(|places| places.schedule().is_due(place, every));
            if is_due {
                self.put_motion(state, place, every);
            }
        }
        self.set_start(every, at);
        self.rates[every.ilog2() as usize].is_known[usize::from(row)] = true;
    }

    fn set_start(&mut self, every: u8, at: usize) {
        self.rates[every.ilog2() as usize].starts[at] = self.bytes.len() as u32;
    }

    fn put_motion(&mut self, state: &mut State, place: PlaceId, every: u8) {
        let start = self.bytes.len();
        state.encode_motion(place, every, &mut self.bytes);
        self.encodings += u64::from(self.bytes.len() > start);
        if state.places().is_some_and(|places: &Places| places.is_hash_due(place)) {
            state.encode_place_hash(place, &mut self.bytes);
        }
    }

    /// What was said since a starting point, and the hash of what everybody sees.
    pub fn rest(&mut self, content: &mut Content<'_>, start: Start, with_hash: bool) -> Slice {
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
