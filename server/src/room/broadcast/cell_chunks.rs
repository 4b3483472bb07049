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
use crate::room::state::places::PlaceId;

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
    /// By rate, row and column, where what every subscriber is told begins, and motion that is due.
    /// A row has a place more than there are columns, where its last cell ends. A row that nobody has
    /// asked for in this tick begins with [`UNKNOWN`], and the rest of it means nothing.
    starts: Vec<u32>,
    /// Rows and columns.
    rows: usize,
    columns: usize,
    /// By starting point, what was said since, and the hash of what everybody sees.
    rests: Vec<(Start, Slice)>,
    /// Times something was encoded.
    pub encodings: u64,
}

/// Where nothing begins.
const UNKNOWN: u32 = u32::MAX;

impl Slice {
    /// Nobody has asked for it in this tick.
    const UNKNOWN: Self = Self { start: UNKNOWN, end: 0 };

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
        (self.rows, self.columns) = (rows, columns);
        for table in [&mut self.news, &mut self.snapshots] {
            table.clear();
            table.resize(places.count(), Slice::UNKNOWN);
        }
        self.starts.resize(RATES_COUNT * rows * (columns + 1), UNKNOWN);
        for row in self.starts.chunks_exact_mut(columns + 1) {
            row[0] = UNKNOWN;
        }
    }

    /// Where a row begins in `starts`.
    #[inline]
    fn row_at(&self, row: u16, every: u8) -> usize {
        (every.ilog2() as usize * self.rows + usize::from(row)) * (self.columns + 1)
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
        let at = self.row_at(run.row, run.every);
        let (from, until) = (at + usize::from(run.columns.0), at + usize::from(run.columns.1));
        if self.starts[at] == UNKNOWN {
            self.encode_row(state, run.row, run.every);
        }
        Slice { start: self.starts[from], end: self.starts[until] }
    }

    fn encode_row(&mut self, state: &mut State, row: u16, every: u8) {
        let Some(places) = state.places() else { return };
        let is_due = places.schedule().is_due(row, every);
        let has_hashes = is_due && places.are_hashes_due(row);
        let first = PlaceId::of_row(row, self.columns);
        let cells = (0..self.columns).map(|column| first.plus(column));
        // What is copied must not come to lie between what is put together.
        for cell in cells.clone() {
            if state.places().is_some_and(|places| places.is_touched(cell)) {
                self.news(state, cell);
            }
        }
        let mut at = self.row_at(row, every);
        for cell in cells {
            self.starts[at] = self.bytes.len() as u32;
            at += 1;
            let news = self.news[cell.index()];
            if news != Slice::UNKNOWN {
                self.bytes.extend_from_within(news.range());
            }
            if is_due {
                self.put_motion(state, cell, every);
            }
            if has_hashes {
                state.encode_place_hash(cell, &mut self.bytes);
            }
        }
        self.starts[at] = self.bytes.len() as u32;
    }

    fn put_motion(&mut self, state: &mut State, cell: PlaceId, every: u8) {
        let start = self.bytes.len();
        state.encode_motion(cell, every, &mut self.bytes);
        self.encodings += u64::from(self.bytes.len() > start);
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
