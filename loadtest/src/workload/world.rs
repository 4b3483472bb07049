//! Who steers a player of a world: roams, crowds into the town with others, and leaps.
//!
//! ```text
//! roam 10 to 30 s --+--> leap anywhere, and roam again
//!        ^          '--> leap home, mill about in the town for 3 to 8 s --+
//!        '---------------------- leap anywhere <--------------------------'
//! ```
//!
//! About an eighth of all players are in the town at any moment: that crowd is what a world's
//! fullest cells cost, and everybody's leaps are what new views cost.

use std::f64::consts::TAU;

use fastrand::Rng;
use tickloom_protocol::client::Seat;
use tickloom_protocol::ids::ComponentId;
use tickloom_protocol::schema::{FieldId, RowLayout};

use super::player::{Steer, Steering};

/// The bits of the input's `buttons` that leap.
const BUTTON_LEAP: u8 = 1;
const BUTTON_HOME: u8 = 2;

/// Inputs of one stay, from the shortest to the longest.
const ROAMS_INPUTS: std::ops::Range<u32> = 200..600;
const CROWDS_INPUTS: std::ops::Range<u32> = 60..160;

/// How far from the middle of the town a player in the crowd turns back, in metres.
const TOWN_RADIUS: f64 = 80.0;

/// Whoever begins in the town: as many as are there later on, of a hundred.
const BEGINS_IN_TOWN_PERCENT: u8 = 12;

/// What a player is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Errand {
    /// Walks wherever its heading leads.
    Roam,
    /// Mills about in the town.
    Crowd,
}

/// Walks about in a world. The same seed and positions always do the same.
#[derive(Clone, Debug)]
pub(super) struct Walker {
    rng: Rng,
    errand: Errand,
    /// Inputs until its errand is over.
    errand_inputs: u32,
    heading: f64,
    /// Inputs until the next change of direction.
    heading_inputs: u32,
    /// To be pressed with the next input.
    buttons: u8,
    /// Where its own position is in the room's state.
    position: Option<Position>,
}

/// A component with a position.
#[derive(Clone, PartialEq, Debug)]
struct Position {
    component: ComponentId,
    layout: RowLayout,
    axes: [FieldId; 2],
}

impl Walker {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let (errand, inputs, buttons) = match rng.u8(0..100) < BEGINS_IN_TOWN_PERCENT {
            true => (Errand::Crowd, CROWDS_INPUTS, BUTTON_HOME),
            false => (Errand::Roam, ROAMS_INPUTS, 0),
        };
        // Everybody is somewhere in the middle of an errand, or all would leap at once.
        let errand_inputs = rng.u32(0..inputs.end);
        let position = None;
        Self { rng, errand, errand_inputs, heading: 0.0, heading_inputs: 0, buttons, position }
    }

    /// What it does next, standing here, as far as it knows.
    fn next(&mut self, at: Option<[f64; 2]>) -> Steering {
        if self.errand_inputs == 0 {
            self.begin_errand();
        }
        if self.heading_inputs == 0 {
            self.heading_inputs = self.rng.u32(10..40);
            self.heading = self.rng.f64() * TAU;
        }
        self.errand_inputs -= 1;
        self.heading_inputs -= 1;
        if let (Errand::Crowd, Some([x, y])) = (self.errand, at)
            && x.hypot(y) > TOWN_RADIUS
        {
            self.heading = (-y).atan2(-x);
        }
        // A slight wobble, so that every input differs and no delta is empty by luck.
        let aim = (self.heading + (self.rng.f64() - 0.5) * 0.5).rem_euclid(TAU);
        Steering {
            move_x: self.heading.cos(),
            move_y: self.heading.sin(),
            aim,
            buttons: std::mem::take(&mut self.buttons),
        }
    }

    fn begin_errand(&mut self) {
        let goes_home = self.errand == Errand::Roam && self.rng.bool();
        let (errand, inputs, buttons) = match goes_home {
            true => (Errand::Crowd, CROWDS_INPUTS, BUTTON_HOME),
            false => (Errand::Roam, ROAMS_INPUTS, BUTTON_LEAP),
        };
        self.errand = errand;
        self.errand_inputs = self.rng.u32(inputs);
        self.buttons = buttons;
    }
}

impl Steer for Walker {
    fn handle_joined(&mut self, seat: &Seat) {
        self.position = Position::of(seat);
    }

    fn steer(&mut self, seat: &Seat) -> Steering {
        let at = self.position.as_ref().and_then(|position| position.read(seat));
        self.next(at)
    }
}

impl Position {
    /// The one by which a room with interest knows who sees what.
    fn of(seat: &Seat) -> Option<Self> {
        let schema = seat.replica.entities().schema();
        let interest = schema.interest()?;
        let layout = schema.layout(interest.component)?.clone();
        Some(Self { component: interest.component, layout, axes: interest.axes })
    }

    fn read(&self, seat: &Seat) -> Option<[f64; 2]> {
        let row = seat.replica.entities().row(self.component, seat.entity)?;
        Some(self.axes.map(|axis| self.layout.read(row, axis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_does_the_same_and_clients_differ() {
        let steps = |seed| {
            let mut walker = Walker::new(seed);
            (0..1_000).map(|_| walker.next(None)).collect::<Vec<_>>()
        };
        assert_eq!(steps(42), steps(42));
        assert_ne!(steps(42), steps(43));
    }

    #[test]
    fn an_eighth_is_in_the_town_at_any_moment_and_everybody_leaps_now_and_then() {
        let (walkers, inputs) = (1_000, 2_000);
        let mut walkers: Vec<Walker> = (0..walkers).map(Walker::new).collect();
        let mut leaps = 0;
        for step in 0..inputs {
            let steerings = walkers.iter_mut().map(|walker| walker.next(None));
            let buttons: Vec<u8> = steerings.map(|steering| steering.buttons).collect();
            leaps += buttons.iter().filter(|buttons| **buttons != 0).count();
            let crowd = walkers.iter().filter(|walker| walker.errand == Errand::Crowd).count();
            assert!((60..200).contains(&crowd), "input {step}: {crowd}");
            let together = buttons.iter().filter(|buttons| **buttons & BUTTON_LEAP != 0).count();
            assert!(together < 30, "input {step}: {together} leap at once");
        }
        // In 100 s at 20 inputs a second, one every 15 s or so.
        assert!((5_000..9_000).contains(&leaps), "{leaps}");
    }

    #[test]
    fn whoever_strays_out_of_the_town_turns_back() {
        let mut walker = Walker::new(7);
        walker.errand = Errand::Crowd;
        for at in [[90.0, 0.0], [-70.0, 70.0], [0.0, -500.0]] {
            walker.errand_inputs = 50;
            let Steering { move_x, move_y, .. } = walker.next(Some(at));
            let towards = -(move_x * at[0] + move_y * at[1]) / at[0].hypot(at[1]);
            assert!(towards > 0.99, "{at:?}: {move_x} {move_y}");
        }
    }
}
