//! The ground: a square with a few boxes on it, fixed while the room lives.

use crate::room::arena::vector::Vec2;

/// Half the side of the world; its centre is the origin.
pub const HALF_EXTENT: f32 = 1024.0;

/// Most boxes on a map. Every mover is checked against every box, so they are a handful.
pub(super) const BOXES_MAX: usize = 8;

/// Largest encoded map in bytes.
pub(super) const MAP_BYTES_MAX: usize = 1 + BOXES_MAX * 8;

const BOXES_MIN: usize = 5;
const BOX_HALF_MIN: i16 = 32;
const BOX_HALF_MAX: i16 = 128;
/// How far from the origin the centre of a box may be on either axis.
const BOX_CENTRE_MAX: i16 = 720;

/// Nothing is placed nearer to the border than this.
const PLACE_MARGIN: f32 = 48.0;
/// A place is at least this far from every box.
const PLACE_CLEARANCE: f32 = 24.0;
/// Random places tried before the corner is taken. Boxes cover a tenth of the world, so a
/// dozen misses in a row are all but impossible.
const PLACE_TRIES_MAX: usize = 12;

const _: () = assert!(
    (BOX_CENTRE_MAX + BOX_HALF_MAX) as f32 + PLACE_CLEARANCE < HALF_EXTENT - PLACE_MARGIN,
    "there is room to walk between boxes and border, and the corner is always free"
);

/// The boxes of one room.
#[derive(Debug, Default)]
pub(super) struct Map {
    boxes: Vec<Obstacle>,
}

/// An axis-aligned box that stops fighters and projectiles. Corners are whole numbers, so that
/// clients know exactly what the server knows.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Obstacle {
    pub(super) min: Vec2,
    pub(super) max: Vec2,
}

impl Map {
    /// A map with exactly these boxes.
    pub(super) fn new(boxes: Vec<Obstacle>) -> Self {
        debug_assert!(boxes.len() <= BOXES_MAX, "{} boxes", boxes.len());
        Self { boxes }
    }

    /// A map of random boxes, all well away from the border.
    pub(super) fn generate(rng: &mut fastrand::Rng) -> Self {
        let count = rng.usize(BOXES_MIN..=BOXES_MAX);
        let mut span = || {
            let centre = rng.i16(-BOX_CENTRE_MAX..=BOX_CENTRE_MAX);
            let half = rng.i16(BOX_HALF_MIN..=BOX_HALF_MAX);
            (f32::from(centre - half), f32::from(centre + half))
        };
        let boxes = (0..count).map(|_| {
            let ((min_x, max_x), (min_y, max_y)) = (span(), span());
            Obstacle { min: Vec2::new(min_x, min_y), max: Vec2::new(max_x, max_y) }
        });
        Self::new(boxes.collect())
    }

    /// The map as clients read it: a count, then four little-endian `i16` per box.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.boxes.len() as u8];
        for obstacle in &self.boxes {
            for side in [obstacle.min.x, obstacle.min.y, obstacle.max.x, obstacle.max.y] {
                bytes.extend_from_slice(&(side as i16).to_le_bytes());
            }
        }
        bytes
    }

    /// Where somebody of `radius` who goes from `from` by `step` ends up. They slide along what
    /// they bump into, and no step is long enough to pass through it.
    pub(super) fn slide(&self, from: Vec2, step: Vec2, radius: f32) -> Vec2 {
        let reach = HALF_EXTENT - radius;
        let mut to = Vec2::new((from.x + step.x).clamp(-reach, reach), from.y);
        for Obstacle { min, max } in &self.boxes {
            if from.y > min.y - radius && from.y < max.y + radius {
                to.x = stop(from.x, to.x, min.x - radius, max.x + radius);
            }
        }
        to.y = (from.y + step.y).clamp(-reach, reach);
        for Obstacle { min, max } in &self.boxes {
            if to.x > min.x - radius && to.x < max.x + radius {
                to.y = stop(from.y, to.y, min.y - radius, max.y + radius);
            }
        }
        to
    }

    /// The share of `step` after which a point that starts at `from` meets a box or the border.
    pub(super) fn first_hit(&self, from: Vec2, step: Vec2) -> Option<f32> {
        let world = Obstacle {
            min: Vec2::new(-HALF_EXTENT, -HALF_EXTENT),
            max: Vec2::new(HALF_EXTENT, HALF_EXTENT),
        };
        let to = from + step;
        let border = (!world.contains(to, 0.0)).then_some(1.0);
        let entries = self.boxes.iter().filter_map(|obstacle| obstacle.entry(from, step));
        entries.chain(border).reduce(f32::min)
    }

    /// Whether a circle of `radius` around `place` is within the world and outside all boxes.
    pub(super) fn is_free(&self, place: Vec2, radius: f32) -> bool {
        let reach = HALF_EXTENT - radius;
        place.x.abs() <= reach
            && place.y.abs() <= reach
            && !self.boxes.iter().any(|obstacle| obstacle.contains(place, radius))
    }

    /// A random place where nobody is stuck.
    pub(super) fn free_place(&self, rng: &mut fastrand::Rng) -> Vec2 {
        let reach = HALF_EXTENT - PLACE_MARGIN;
        let mut coordinate = || (rng.f32() * 2.0 - 1.0) * reach;
        for _ in 0..PLACE_TRIES_MAX {
            let place = Vec2::new(coordinate(), coordinate());
            if self.is_free(place, PLACE_CLEARANCE) {
                return place;
            }
        }
        Vec2::new(-reach, -reach)
    }
}

impl Obstacle {
    /// Whether `point` is inside, or nearer than `margin` on both axes.
    fn contains(&self, point: Vec2, margin: f32) -> bool {
        point.x > self.min.x - margin
            && point.x < self.max.x + margin
            && point.y > self.min.y - margin
            && point.y < self.max.y + margin
    }

    /// The share of `step` after which a point that starts at `from` is inside.
    fn entry(&self, from: Vec2, step: Vec2) -> Option<f32> {
        let x = crossing(from.x, step.x, self.min.x, self.max.x)?;
        let y = crossing(from.y, step.y, self.min.y, self.max.y)?;
        let (enter, leave) = (x.0.max(y.0).max(0.0), x.1.min(y.1).min(1.0));
        (enter <= leave).then_some(enter)
    }
}

/// Where a move along one axis from outside the open span `low..high` stops.
fn stop(from: f32, to: f32, low: f32, high: f32) -> f32 {
    if from <= low {
        return to.min(low);
    }
    if from >= high {
        return to.max(high);
    }
    // Inside: only a bug gets somebody here, and they may walk out.
    to
}

/// The shares of `step` between which a point is within `low..=high` on one axis.
fn crossing(from: f32, step: f32, low: f32, high: f32) -> Option<(f32, f32)> {
    if step == 0.0 {
        return (from >= low && from <= high).then_some((f32::NEG_INFINITY, f32::INFINITY));
    }
    let (first, second) = ((low - from) / step, (high - from) / step);
    Some((first.min(second), first.max(second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_box() -> Map {
        Map::new(vec![Obstacle { min: Vec2::new(-50.0, -20.0), max: Vec2::new(50.0, 20.0) }])
    }

    #[test]
    fn movers_slide_along_boxes_and_borders() {
        let map = one_box();
        for (name, from, step, expected) in [
            ("free", (0.0, 100.0), (5.0, 5.0), (5.0, 105.0)),
            ("head on", (-100.0, 0.0), (60.0, 0.0), (-60.0, 0.0)),
            ("along the left side", (-60.0, 0.0), (9.0, 7.0), (-60.0, 7.0)),
            ("along the top", (0.0, 30.0), (7.0, -9.0), (7.0, 30.0)),
            ("away from the right side", (60.0, 0.0), (9.0, 0.0), (69.0, 0.0)),
            ("no tunnel", (-500.0, 0.0), (1000.0, 0.0), (-60.0, 0.0)),
            ("right border", (1000.0, 0.0), (100.0, 3.0), (1014.0, 3.0)),
            ("corner of the world", (-1000.0, -1000.0), (-99.0, -99.0), (-1014.0, -1014.0)),
        ] {
            let (from, step) = (Vec2::new(from.0, from.1), Vec2::new(step.0, step.1));
            let expected = Vec2::new(expected.0, expected.1);
            assert_eq!(map.slide(from, step, 10.0), expected, "{name}");
        }
    }

    #[test]
    fn points_meet_boxes_and_the_border() {
        let map = one_box();
        for (name, from, step, expected) in [
            ("past it", (-100.0, 30.0), (200.0, 0.0), None),
            ("through it", (-100.0, 0.0), (200.0, 0.0), Some(0.25)),
            ("too short", (-100.0, 0.0), (40.0, 0.0), None),
            ("straight down", (0.0, 70.0), (0.0, -100.0), Some(0.5)),
            ("beside it, straight down", (60.0, 70.0), (0.0, -100.0), None),
            ("inside already", (0.0, 0.0), (1.0, 1.0), Some(0.0)),
            ("out of the world", (1000.0, 0.0), (30.0, 0.0), Some(1.0)),
        ] {
            let (from, step) = (Vec2::new(from.0, from.1), Vec2::new(step.0, step.1));
            assert_eq!(map.first_hit(from, step), expected, "{name}");
        }
    }

    #[test]
    fn generated_maps_leave_the_border_free_and_fit_their_component() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let map = Map::generate(&mut rng);
            let bytes = map.encode();
            assert_eq!(bytes.len(), 1 + usize::from(bytes[0]) * 8, "seed {seed}");
            assert!(bytes.len() <= MAP_BYTES_MAX, "seed {seed}");
            assert!(usize::from(bytes[0]) >= BOXES_MIN, "seed {seed}");
            for Obstacle { min, max } in &map.boxes {
                assert!(min.x < max.x && min.y < max.y, "seed {seed}");
                for side in [min.x, min.y, max.x, max.y] {
                    assert!(side.abs() < HALF_EXTENT - 100.0, "seed {seed}");
                }
            }
            for _ in 0..50 {
                let place = map.free_place(&mut rng);
                assert!(map.is_free(place, PLACE_CLEARANCE), "seed {seed}: {place:?}");
            }
        }
    }

    #[test]
    fn a_map_is_a_count_and_four_sides_per_box() {
        let expected = [1, 0xce, 0xff, 0xec, 0xff, 50, 0, 20, 0];
        assert_eq!(one_box().encode(), expected);
    }
}
