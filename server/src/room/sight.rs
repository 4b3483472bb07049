//! What one member sees of a room with interest: the cells it is sent, and how often their motion.
//!
//! ```text
//! middle = the cell of its camera, or of its own entity
//! wanted = cells within the rings around the middle, nearest first, so many new ones per state
//! kept   = one cell more on each side, at the outermost ring's rate: no flicker on a border
//! ```
//!
//! A cell may come less often at once. Oftener it comes only from a state on that is due at the old
//! rate: in between, rows would be left out that nobody sends again.

use std::num::NonZeroU32;

use tickloom_protocol::ids::CellId;
use tickloom_protocol::limits;
use tickloom_protocol::schema::{Grid, Interest, Ring};

use crate::room::state::places::Schedule;

/// Steps by which a member's rings shrink when it is sent more than it may be.
pub const STRAIN_MAX: u8 = 3;

/// Seconds within its budget before a member gets a step back.
const CALM_SECONDS: u8 = 5;

/// How much of a room a member may be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SightLimits {
    /// New cells per state; the others follow with the next ones.
    pub new_cells_max: usize,
    /// Bytes per second, on average, beyond which the outer rings come less often, and then not at
    /// all. `None` for as many as there are.
    pub bytes_per_second_max: Option<NonZeroU32>,
}

impl Default for SightLimits {
    /// A teleport arrives within a fifth of a second at 30 Hz; 64 KiB/s is half of what a poor
    /// mobile line carries.
    fn default() -> Self {
        Self { new_cells_max: 16, bytes_per_second_max: NonZeroU32::new(64 * 1024) }
    }
}

/// One cell that a member is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription {
    /// Which.
    pub cell: CellId,
    /// Its motion comes with every `every`th state.
    pub every: u8,
    /// What `every` becomes with the next state that is due at the present rate; at most `every`.
    wanted: u8,
}

/// Neighbouring cells of a row that come at the same rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// Which row.
    pub row: u16,
    /// The first column, and the one behind the last.
    pub columns: (u16, u16),
    /// Their motion comes with every `every`th state.
    pub every: u8,
}

impl Subscription {
    /// The run of this cell alone.
    #[must_use]
    pub fn run(&self, grid: &Grid) -> Run {
        let [column, row] = grid.place_of(self.cell).map(|place| place as u16);
        Run { row, columns: (column, column + 1), every: self.every }
    }
}

/// What one member sees.
#[derive(Debug, Default)]
pub struct Sight {
    /// Where it looks; at its own entity when this is `None`.
    camera: Option<[f32; 2]>,
    /// Where the rings were drawn last, and how they were.
    drawn: Option<([i32; 2], Rings)>,
    /// Ascending by cell.
    subscriptions: Vec<Subscription>,
    /// The same, joined together.
    runs: Vec<Run>,
    /// Whether some cell may come oftener than it does.
    is_settling: bool,
    /// Whether cells are still missing.
    is_partial: bool,
    budget: Budget,
}

/// Bytes against the budget of a member.
#[derive(Debug, Default)]
struct Budget {
    /// Sent in the present second, and the states it is made of.
    bytes: u32,
    states: u32,
    strain: u8,
    calm_seconds: u8,
}

/// The rings as one member gets them, strain taken into account: every cell's rate by its distance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rings {
    /// By distance; 0 beyond the last ring.
    every: [u8; limits::RING_DISTANCE_MAX as usize + 1],
    reach: i32,
}

/// What changes in what a member is sent.
#[derive(Debug, Default)]
pub struct Turn {
    /// Cells it gets a snapshot of, nearest first.
    pub new: Vec<CellId>,
    /// Cells it is not sent any more.
    pub gone: Vec<CellId>,
    candidates: Vec<(i32, CellId)>,
}

impl Rings {
    /// The rings of a room, so many steps shrunk: the outermost half as often, then not at all,
    /// then the next one half as often.
    #[must_use]
    pub fn new(interest: &Interest, steps: u8) -> Self {
        let mut rings = interest.rings.clone();
        for step in 0..steps {
            let can_drop = rings.len() > 1;
            let Some(last) = rings.last_mut() else { break };
            if step % 2 == 1 && can_drop {
                rings.pop();
            } else {
                last.every = (last.every * 2).min(limits::RING_EVERY_MAX);
            }
        }
        let mut every = [0; limits::RING_DISTANCE_MAX as usize + 1];
        let mut from = 0;
        for Ring { distance, every: ring_every } in &rings {
            every[from..=usize::from(*distance)].fill(*ring_every);
            from = usize::from(*distance) + 1;
        }
        Self { every, reach: from as i32 - 1 }
    }

    /// How often a cell's motion comes; `None` when it is out of sight.
    fn every(&self, distance: i32) -> Option<u8> {
        (distance <= self.reach).then(|| self.every[distance as usize])
    }
}

fn distance(a: [i32; 2], b: [i32; 2]) -> i32 {
    (a[0] - b[0]).abs().max((a[1] - b[1]).abs())
}

impl Sight {
    /// Looks at a place, or at its own entity.
    pub fn look(&mut self, camera: Option<[f32; 2]>) {
        self.camera = camera;
    }

    /// Where it looks, unless at its own entity.
    #[must_use]
    pub fn camera(&self) -> Option<[f32; 2]> {
        self.camera
    }

    /// The cells it is sent, ascending.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Whether it was sent every cell in view.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        !self.is_partial
    }

    /// How far its rings are shrunk, in steps.
    #[must_use]
    pub fn strain(&self) -> u8 {
        self.budget.strain
    }

    /// Forgets everything it was sent: a snapshot follows.
    pub fn reset(&mut self) {
        self.subscriptions.clear();
        self.runs.clear();
        self.drawn = None;
        self.is_partial = false;
    }

    /// Draws the rings around `middle`, and finds out what that changes.
    pub fn turn(
        &mut self,
        grid: &Grid,
        rings: &Rings,
        middle: [i32; 2],
        new_cells_max: usize,
        turn: &mut Turn,
    ) {
        turn.new.clear();
        turn.gone.clear();
        if self.drawn == Some((middle, *rings)) && !self.is_partial {
            return;
        }
        self.drawn = Some((middle, *rings));
        self.subscriptions.retain_mut(|subscription| {
            let distance = distance(grid.place_of(subscription.cell), middle);
            if distance > rings.reach + 1 {
                turn.gone.push(subscription.cell);
                return false;
            }
            let every = rings.every[distance.min(rings.reach) as usize];
            subscription.wanted = every;
            // Less often is fine at once.
            subscription.every = subscription.every.max(every);
            true
        });
        self.find_missing(grid, rings, middle, turn);
        turn.candidates.sort_unstable();
        self.is_partial = turn.candidates.len() > new_cells_max;
        for &(distance, cell) in turn.candidates.iter().take(new_cells_max) {
            let Some(every) = rings.every(distance) else { continue };
            turn.new.push(cell);
            self.subscriptions.push(Subscription { cell, every, wanted: every });
        }
        if !turn.new.is_empty() {
            self.subscriptions.sort_unstable_by_key(|subscription| subscription.cell);
        }
        self.is_settling = true;
        self.join_runs(grid);
    }

    fn find_missing(&self, grid: &Grid, rings: &Rings, middle: [i32; 2], turn: &mut Turn) {
        turn.candidates.clear();
        for row in middle[1] - rings.reach..=middle[1] + rings.reach {
            for column in middle[0] - rings.reach..=middle[0] + rings.reach {
                let place = [column, row];
                let Some(cell) = grid.cell(place) else { continue };
                let known = self.subscriptions.binary_search_by_key(&cell, |known| known.cell);
                if known.is_err() {
                    turn.candidates.push((distance(place, middle), cell));
                }
            }
        }
    }

    /// The cells it is sent, joined together.
    #[must_use]
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Ends a state: cells that may come oftener do so from one on that is due at the old rate.
    pub fn take_turns(&mut self, grid: &Grid, schedule: Schedule) {
        if !self.is_settling {
            return;
        }
        self.is_settling = false;
        for subscription in &mut self.subscriptions {
            let Subscription { cell, every, wanted } = *subscription;
            let [_, row] = grid.place_of(cell).map(|place| place as u16);
            if every != wanted && schedule.is_due(row, every) {
                subscription.every = wanted;
            }
            self.is_settling |= subscription.every != wanted;
        }
        self.join_runs(grid);
    }

    fn join_runs(&mut self, grid: &Grid) {
        self.runs.clear();
        for subscription in &self.subscriptions {
            let run = subscription.run(grid);
            match self.runs.last_mut() {
                Some(last)
                    if (last.row, last.columns.1, last.every)
                        == (run.row, run.columns.0, run.every) =>
                {
                    last.columns.1 = run.columns.1;
                }
                _ => self.runs.push(run),
            }
        }
    }

    /// The cell its rings were drawn around last.
    #[must_use]
    pub fn middle(&self) -> Option<[i32; 2]> {
        self.drawn.map(|(middle, _)| middle)
    }

    /// Counts what it was sent in one state of `states_per_second`.
    pub fn charge(&mut self, bytes: usize, states_per_second: u32, limits: &SightLimits) {
        let Some(bytes_max) = limits.bytes_per_second_max else { return };
        let budget = &mut self.budget;
        budget.bytes = budget.bytes.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        budget.states += 1;
        if budget.states < states_per_second.max(1) {
            return;
        }
        let bytes = std::mem::take(&mut budget.bytes);
        budget.states = 0;
        if bytes > bytes_max.get() {
            budget.strain = (budget.strain + 1).min(STRAIN_MAX);
            budget.calm_seconds = 0;
        } else if budget.strain > 0 && bytes < bytes_max.get() / 2 {
            budget.calm_seconds += 1;
            if budget.calm_seconds >= CALM_SECONDS {
                budget.strain -= 1;
                budget.calm_seconds = 0;
            }
        } else {
            budget.calm_seconds = 0;
        }
    }
}
