//! Who steers a player of an arena: walks, aims and fires.

use std::f64::consts::TAU;

use fastrand::Rng;
use tickloom_protocol::client::Seat;

use super::player::{Steer, Steering};

/// The bit of the input's `buttons` that fires.
const BUTTON_FIRE: u8 = 1;

/// Walks in a direction for a while, then in another, and fires now and then. The same seed always
/// does the same.
#[derive(Clone, Debug)]
pub(super) struct Fighter {
    rng: Rng,
    heading: f64,
    /// Inputs until the next change of direction.
    inputs_left: u32,
}

impl Fighter {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), heading: 0.0, inputs_left: 0 }
    }

    fn next(&mut self) -> Steering {
        if self.inputs_left == 0 {
            self.inputs_left = self.rng.u32(10..40);
            self.heading = self.rng.f64() * TAU;
        }
        self.inputs_left -= 1;
        // A slight wobble, so that every input differs and no delta is empty by luck.
        let aim = (self.heading + (self.rng.f64() - 0.5) * 0.5).rem_euclid(TAU);
        Steering {
            move_x: self.heading.cos(),
            move_y: self.heading.sin(),
            aim,
            buttons: if self.rng.u8(..8) == 0 { BUTTON_FIRE } else { 0 },
        }
    }
}

impl Steer for Fighter {
    fn steer(&mut self, _seat: &Seat) -> Steering {
        self.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_does_the_same_and_clients_differ() {
        let steps = |seed| {
            let mut fighter = Fighter::new(seed);
            (0..100).map(|_| fighter.next()).collect::<Vec<_>>()
        };
        assert_eq!(steps(42), steps(42));
        assert_ne!(steps(42), steps(43));
    }
}
