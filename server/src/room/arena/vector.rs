//! Points and directions in the plane of the arena.

use std::f32::consts::TAU;
use std::ops::{Add, Mul, Sub};

/// A point, a direction or a speed, in world units.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Vec2 {
    pub(super) x: f32,
    pub(super) y: f32,
}

impl Vec2 {
    pub(super) const ZERO: Self = Self::new(0.0, 0.0);

    pub(super) const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The direction of length 1 at `angle` radians from the x axis.
    pub(super) fn from_angle(angle: f32) -> Self {
        let (y, x) = angle.sin_cos();
        Self::new(x, y)
    }

    /// The angle of this direction in radians, within one turn from 0.
    pub(super) fn angle(self) -> f32 {
        self.y.atan2(self.x).rem_euclid(TAU)
    }

    pub(super) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y
    }

    pub(super) fn length_squared(self) -> f32 {
        self.dot(self)
    }

    pub(super) fn length(self) -> f32 {
        self.length_squared().sqrt()
    }

    /// The same direction, shortened to `length_max` if it is longer.
    pub(super) fn clamp_length(self, length_max: f32) -> Self {
        let squared = self.length_squared();
        if squared <= length_max * length_max {
            return self;
        }
        self * (length_max / squared.sqrt())
    }

    /// A quarter turn to the left.
    pub(super) fn perpendicular(self) -> Self {
        Self::new(-self.y, self.x)
    }
}

impl Add for Vec2 {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y)
    }
}

impl Sub for Vec2 {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y)
    }
}

impl Mul<f32> for Vec2 {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        Self::new(self.x * factor, self.y * factor)
    }
}
