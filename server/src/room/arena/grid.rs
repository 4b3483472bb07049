//! Who is near: fighters sorted into square cells, rebuilt every tick.
//!
//! A projectile or pickup looks into one to four cells instead of at everybody, which is what
//! keeps 128 fighters and 256 projectiles cheap.

use std::ops::RangeInclusive;

use crate::room::arena::map::HALF_EXTENT;
use crate::room::arena::vector::Vec2;

const CELL: f32 = 128.0;
const CELLS_PER_SIDE: usize = 16;
const CELLS: usize = CELLS_PER_SIDE * CELLS_PER_SIDE;

const _: () = assert!(CELLS_PER_SIDE as f32 * CELL == 2.0 * HALF_EXTENT);

/// Indices into the table of fighters, by cell.
#[derive(Debug)]
pub(super) struct Grid {
    /// Cell `c` holds `order[starts[c]..starts[c + 1]]`.
    starts: [u16; CELLS + 1],
    order: Vec<u16>,
}

impl Grid {
    /// A grid that holds up to `count_max` without another allocation.
    pub(super) fn with_capacity(count_max: usize) -> Self {
        Self { starts: [0; CELLS + 1], order: Vec::with_capacity(count_max) }
    }

    /// Replaces the content by `placed`: indices and where they are. A counting sort.
    pub(super) fn rebuild(&mut self, placed: impl Iterator<Item = (usize, Vec2)> + Clone) {
        self.starts.fill(0);
        for (_, place) in placed.clone() {
            self.starts[cell(place)] += 1;
        }
        let mut end = 0;
        for start in &mut self.starts {
            end += *start;
            *start = end;
        }
        self.order.clear();
        self.order.resize(usize::from(end), 0);
        // Each start is its cell's end for now and moves down with every index that is filled in.
        for (index, place) in placed {
            let start = &mut self.starts[cell(place)];
            *start -= 1;
            self.order[usize::from(*start)] = index as u16;
        }
    }

    /// The indices in all cells that the rectangle from `min` to `max` touches: everybody within
    /// it, and some beside it.
    pub(super) fn near(&self, min: Vec2, max: Vec2) -> impl Iterator<Item = usize> {
        let columns = lane(min.x)..=lane(max.x);
        let rows = lane(min.y)..=lane(max.y);
        rows.flat_map(move |row| self.row(row, &columns)).map(|index| usize::from(*index))
    }

    fn row(&self, row: usize, columns: &RangeInclusive<usize>) -> &[u16] {
        let first = row * CELLS_PER_SIDE + columns.start();
        let last = row * CELLS_PER_SIDE + columns.end();
        &self.order[usize::from(self.starts[first])..usize::from(self.starts[last + 1])]
    }
}

fn cell(place: Vec2) -> usize {
    lane(place.y) * CELLS_PER_SIDE + lane(place.x)
}

/// The row or column of a coordinate. `as` saturates, so what is outside lands at the border.
fn lane(coordinate: f32) -> usize {
    (((coordinate + HALF_EXTENT) / CELL) as usize).min(CELLS_PER_SIDE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_within_a_rectangle_is_found_once() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut grid = Grid::with_capacity(128);
        let mut coordinate = || (rng.f32() * 2.0 - 1.0) * HALF_EXTENT;
        for round in 0..50 {
            let placed: Vec<_> =
                (0..128).map(|index| (index, Vec2::new(coordinate(), coordinate()))).collect();
            grid.rebuild(placed.iter().copied());
            let corner = Vec2::new(coordinate(), coordinate());
            let (min, max) = (corner, corner + Vec2::new(200.0, 90.0));
            let mut found: Vec<_> = grid.near(min, max).collect();
            found.sort_unstable();
            assert!(found.is_sorted_by(|a, b| a < b), "round {round}: {found:?}");
            for (index, at) in placed {
                let inside = at.x >= min.x && at.x <= max.x && at.y >= min.y && at.y <= max.y;
                assert!(!inside || found.contains(&index), "round {round}: {index} at {at:?}");
            }
        }
    }

    #[test]
    fn the_border_and_beyond_belong_to_the_outer_cells() {
        for (coordinate, expected) in
            [(-1e9, 0), (-1024.0, 0), (-896.1, 0), (-895.9, 1), (0.0, 8), (1024.0, 15), (1e9, 15)]
        {
            assert_eq!(lane(coordinate), expected, "{coordinate}");
        }
    }
}
