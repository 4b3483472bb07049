//! Interest: which part of a room too large to send whole a member gets.
//!
//! The plane of positions is cut into square cells. A member gets the cells around its own entity or
//! its camera, counted as a king walks (the larger of the two differences), in rings: what enters,
//! leaves or changes reaches every ring with each state, motion reaches the outer ones less often.
//!
//! ```text
//! 3 3 3 3 3 3 3
//! 3 2 2 2 2 2 3     distance 1: every state      1 = 3 x 3 cells
//! 3 2 1 1 1 2 3     distance 2: every second     2 = the ring around them
//! 3 2 1 @ 1 2 3     distance 3: every fourth     3 = the ring around that
//! ```

use super::{ComponentDesc, FieldId, FieldType, Kind, SchemaError, Scope};
use crate::ids::{CellId, ComponentId};
use crate::limits;
use crate::quantise::Mode;

/// Where entities are, and how far members see.
#[derive(Clone, PartialEq, Debug)]
pub struct Interest {
    /// The packed component that holds positions.
    pub component: ComponentId,
    /// Its fields: across and along, both quantised and clamped, so that nothing is outside.
    pub axes: [FieldId; 2],
    /// The side of a cell, in the units of the fields.
    pub cell_size: f32,
    /// From the nearest to the farthest. What is beyond the last one is not seen.
    pub rings: Vec<Ring>,
}

/// The cells between the ring before and `distance`, and how often their motion is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ring {
    /// Cells from the middle of the view, 0 for the middle alone.
    pub distance: u8,
    /// Motion goes out with every `every`th state: 1, 2, 4 or 8.
    pub every: u8,
}

/// The cells of a plane.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Grid {
    /// The least corner.
    min: [f32; 2],
    cell_size: f32,
    /// Cells across and along.
    sides: [u32; 2],
}

impl Interest {
    /// The cells that cover every position the fields can hold.
    ///
    /// # Errors
    /// Why there is no such grid.
    pub fn grid(&self, components: &[ComponentDesc]) -> Result<Grid, SchemaError> {
        self.check_rings()?;
        let desc = components.get(self.component.index()).ok_or(SchemaError::BadPosition)?;
        let Kind::Packed(layout) = &desc.kind else { return Err(SchemaError::BadPosition) };
        if desc.scope != Scope::Room {
            return Err(SchemaError::BadPosition);
        }
        if !(self.cell_size.is_finite() && self.cell_size > 0.0) {
            return Err(SchemaError::BadCells);
        }
        let (mut min, mut sides) = ([0.0; 2], [0; 2]);
        for (axis, field) in self.axes.into_iter().enumerate() {
            let field =
                layout.fields().nth(usize::from(field.0)).ok_or(SchemaError::BadPosition)?;
            let is_quantised = matches!(
                field.field_type,
                FieldType::Quant8 | FieldType::Quant16 | FieldType::Quant24 | FieldType::Quant32
            );
            if !is_quantised || field.mode != Mode::Clamp {
                return Err(SchemaError::BadPosition);
            }
            let cells = ((field.max - field.min) / f64::from(self.cell_size)).ceil();
            if cells > limits::CELLS_MAX as f64 {
                return Err(SchemaError::BadCells);
            }
            min[axis] = field.min as f32;
            sides[axis] = (cells as u32).max(1);
        }
        if sides[0] as usize * sides[1] as usize > limits::CELLS_MAX {
            return Err(SchemaError::BadCells);
        }
        Ok(Grid { min, cell_size: self.cell_size, sides })
    }

    /// How many cells a view reaches from its middle.
    #[must_use]
    pub fn reach(&self) -> u8 {
        self.rings.last().map_or(0, |ring| ring.distance)
    }

    fn check_rings(&self) -> Result<(), SchemaError> {
        let rings = &self.rings;
        let is_fine = (1..=limits::RINGS_MAX).contains(&rings.len())
            && self.reach() <= limits::RING_DISTANCE_MAX
            && rings.is_sorted_by(|a, b| a.distance < b.distance && a.every <= b.every)
            && rings
                .iter()
                .all(|ring| ring.every.is_power_of_two() && ring.every <= limits::RING_EVERY_MAX);
        if is_fine { Ok(()) } else { Err(SchemaError::BadRings) }
    }
}

impl Grid {
    /// How many cells there are.
    #[must_use]
    pub fn cells_count(&self) -> usize {
        self.sides[0] as usize * self.sides[1] as usize
    }

    /// Cells across and along.
    #[must_use]
    pub fn sides(&self) -> [u32; 2] {
        self.sides
    }

    /// Column and row of the cell that holds a place; the nearest one for places outside, which
    /// only cameras have.
    #[must_use]
    pub fn place(&self, x: f32, y: f32) -> [i32; 2] {
        let axis = |axis: usize, value: f32| {
            let cell = ((value - self.min[axis]) / self.cell_size).floor();
            (cell as i32).clamp(0, self.sides[axis] as i32 - 1)
        };
        [axis(0, x), axis(1, y)]
    }

    /// The cell at a column and a row, if there is one.
    #[must_use]
    pub fn cell(&self, [column, row]: [i32; 2]) -> Option<CellId> {
        let (column, row) = (u32::try_from(column).ok()?, u32::try_from(row).ok()?);
        let is_inside = column < self.sides[0] && row < self.sides[1];
        is_inside.then(|| CellId(row * self.sides[0] + column))
    }

    /// The column and row of a cell.
    #[must_use]
    pub fn place_of(&self, cell: CellId) -> [i32; 2] {
        [(cell.0 % self.sides[0]) as i32, (cell.0 / self.sides[0]) as i32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{FieldDesc, RoomSchema};

    fn position() -> ComponentDesc {
        let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, -100.0, 100.0);
        let fields = vec![axis("x"), axis("y"), FieldDesc::angle("yaw", FieldType::Quant8)];
        ComponentDesc::packed("position", fields).expect("layout").as_motion()
    }

    fn interest(cell_size: f32, rings: &[(u8, u8)]) -> Interest {
        let rings = rings.iter().map(|&(distance, every)| Ring { distance, every }).collect();
        Interest { component: ComponentId(0), axes: [FieldId(0), FieldId(1)], cell_size, rings }
    }

    #[test]
    fn every_position_has_a_cell_and_every_cell_a_place() {
        let grid = interest(30.0, &[(1, 1)]).grid(&[position()]).expect("a grid");
        assert_eq!((grid.sides(), grid.cells_count()), ([7, 7], 49));
        for (x, y, place) in [
            (-100.0, -100.0, [0, 0]),
            (-70.1, -69.9, [0, 1]),
            (100.0, 100.0, [6, 6]),
            (-1e30, 1e30, [0, 6]),
        ] {
            assert_eq!(grid.place(x, y), place, "{x} {y}");
            let cell = grid.cell(place).expect("a cell");
            assert_eq!(grid.place_of(cell), place);
        }
        assert_eq!((grid.cell([7, 0]), grid.cell([0, -1])), (None, None));
    }

    #[test]
    fn interest_that_cannot_work_is_refused() {
        let fine = || interest(30.0, &[(1, 1), (2, 2), (4, 4)]);
        let check = |interest: Interest| {
            let secret = ComponentDesc { name: "secret".into(), ..position() };
            let components =
                vec![position(), ComponentDesc { motion: false, ..secret.for_owner() }];
            let schema = RoomSchema::new(components, vec![]).expect("components");
            schema.with_interest(interest).map(|_| ())
        };
        assert_eq!(check(fine()), Ok(()));
        let yaw = [FieldId(0), FieldId(2)];
        for (interest, error) in [
            (Interest { component: ComponentId(2), ..fine() }, SchemaError::BadPosition),
            (Interest { component: ComponentId(1), ..fine() }, SchemaError::BadPosition),
            (Interest { axes: yaw, ..fine() }, SchemaError::BadPosition),
            (interest(0.0, &[(1, 1)]), SchemaError::BadCells),
            (interest(f32::NAN, &[(1, 1)]), SchemaError::BadCells),
            (interest(0.5, &[(1, 1)]), SchemaError::BadCells),
            (interest(30.0, &[]), SchemaError::BadRings),
            (interest(30.0, &[(1, 1), (1, 2)]), SchemaError::BadRings),
            (interest(30.0, &[(1, 2), (2, 1)]), SchemaError::BadRings),
            (interest(30.0, &[(1, 3)]), SchemaError::BadRings),
            (interest(30.0, &[(17, 1)]), SchemaError::BadRings),
        ] {
            assert_eq!(check(interest.clone()), Err(error), "{interest:?}");
        }
    }
}
