//! What each player does, and when: seeded, open loop, and free of clocks and sockets.
//!
//! Times are intended ones: input `k` of a client belongs at `start + phase + k / rate`, however
//! late the generator or the server is. What is late is measured against that moment.

use std::f64::consts::TAU;

use fastrand::Rng;
use tickloom_protocol::schema::{FieldId, RowLayout};
use tickloom_protocol::time::Timestamp;

/// The golden ratio's fraction in 64 bits: multiples of it spread evenly, so neighbouring clients
/// get unlike seeds and phases without a generator of their own.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// When a client's inputs are meant to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputSchedule {
    start: Timestamp,
    /// 0 for a client that only watches.
    rate_hz: u32,
    /// How many clients the rate belongs to together; at least one.
    sharers_count: u32,
    phase_us: u64,
}

impl InputSchedule {
    /// The schedule of client `index`; clients are spread evenly over one period.
    #[must_use]
    pub fn new(start: Timestamp, rate_hz: u32, index: u32) -> Self {
        let period_us = 1_000_000_u64.checked_div(u64::from(rate_hz)).unwrap_or(0);
        let share = u64::from(index).wrapping_mul(SPREAD) >> 32;
        Self { start, rate_hz, sharers_count: 1, phase_us: (period_us * share) >> 32 }
    }

    /// The schedule of client `index` of `sharers_count` that keep `rate_hz` together, in turn.
    #[must_use]
    pub fn shared(start: Timestamp, rate_hz: u32, sharers_count: u32, index: u32) -> Self {
        let phase_us = (u64::from(index) * 1_000_000).checked_div(u64::from(rate_hz)).unwrap_or(0);
        Self { start, rate_hz, sharers_count: sharers_count.max(1), phase_us }
    }

    /// When input `k` is meant to happen; `None` when there are no inputs.
    #[must_use]
    pub fn intended(&self, k: u64) -> Option<Timestamp> {
        let round_us = u64::from(self.sharers_count) * 1_000_000;
        let offset_us = k.saturating_mul(round_us).checked_div(u64::from(self.rate_hz))?;
        Some(Timestamp(self.start.0 + self.phase_us + offset_us))
    }

    /// The first input that is meant to happen at `at` or later.
    #[must_use]
    pub fn first_from(&self, at: Timestamp) -> u64 {
        let since_us = at.0.saturating_sub(self.start.0 + self.phase_us);
        // From `intended` rounding down: the estimate is never past the input looked for.
        let round_us = u64::from(self.sharers_count) * 1_000_000;
        let mut k = since_us * u64::from(self.rate_hz) / round_us;
        while self.intended(k).is_some_and(|intended| intended < at) {
            k += 1;
        }
        k
    }
}

/// Where the fields of an arena's input lie in the server's row. A field the server does not
/// have is left out.
#[derive(Clone, PartialEq, Debug)]
pub struct InputFields {
    layout: RowLayout,
    move_x: Option<FieldId>,
    move_y: Option<FieldId>,
    aim: Option<FieldId>,
    buttons: Option<FieldId>,
}

impl InputFields {
    /// Looks the fields up by name.
    #[must_use]
    pub fn new(layout: &RowLayout) -> Self {
        Self {
            layout: layout.clone(),
            move_x: layout.field("move_x"),
            move_y: layout.field("move_y"),
            aim: layout.field("aim"),
            buttons: layout.field("buttons"),
        }
    }

    /// Writes one input into `row`, which becomes a row of the server's layout.
    pub fn write(&self, steering: &Steering, row: &mut Vec<u8>) {
        row.clear();
        row.resize(self.layout.row_bytes(), 0);
        for (field, value) in [
            (self.move_x, steering.move_x),
            (self.move_y, steering.move_y),
            (self.aim, steering.aim),
            (self.buttons, f64::from(u8::from(steering.fire))),
        ] {
            if let Some(field) = field {
                self.layout.write(row, field, value);
            }
        }
    }
}

/// What a player does in one input.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Steering {
    /// -1 is full speed left, 1 right.
    pub move_x: f64,
    /// -1 is full speed down, 1 up.
    pub move_y: f64,
    /// Where the player looks, in radians.
    pub aim: f64,
    /// Whether the player fires.
    pub fire: bool,
}

/// One player: walks in a direction for a while, then in another, and fires now and then. The
/// same seed and index always do the same.
#[derive(Clone, Debug)]
pub struct Bot {
    rng: Rng,
    heading: f64,
    /// Inputs until the next change of direction.
    inputs_left: u32,
}

impl Bot {
    /// The player of client `index`.
    #[must_use]
    pub fn new(seed: u64, index: u32) -> Self {
        let rng = Rng::with_seed(seed ^ (u64::from(index) + 1).wrapping_mul(SPREAD));
        Self { rng, heading: 0.0, inputs_left: 0 }
    }

    /// 16 random bytes for the handshake.
    pub fn nonce(&mut self) -> [u8; 16] {
        self.rng.u128(..).to_le_bytes()
    }

    /// What the player does next.
    pub fn steer(&mut self) -> Steering {
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
            fire: self.rng.u8(..8) == 0,
        }
    }
}

/// The room of client `index`: rooms are filled one after the other, evenly.
#[must_use]
pub fn room_of(index: u32, clients_count: u32, rooms_count: u32) -> u32 {
    debug_assert!(index < clients_count, "client {index} of {clients_count}");
    (u64::from(index) * u64::from(rooms_count) / u64::from(clients_count)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickloom_protocol::schema::{FieldDesc, FieldType};

    #[test]
    fn intended_times_do_not_drift() {
        for (rate_hz, k, expected_us) in
            [(20, 20, 1_000_000), (3, 3, 1_000_000), (3, 1, 333_333), (128, 128, 1_000_000)]
        {
            let schedule = InputSchedule::new(Timestamp(5), rate_hz, 0);
            assert_eq!(schedule.intended(k), Some(Timestamp(5 + expected_us)), "{rate_hz} Hz");
        }
        assert_eq!(InputSchedule::new(Timestamp(5), 0, 0).intended(0), None);
    }

    #[test]
    fn a_client_that_joins_late_starts_with_the_next_input() {
        for rate_hz in [1, 3, 20, 128] {
            for index in [0, 1, 77] {
                let schedule = InputSchedule::new(Timestamp(1_000), rate_hz, index);
                for at_us in [0, 1_000, 1_001, 333_334, 999_999, 7_000_000] {
                    let k = schedule.first_from(Timestamp(at_us));
                    assert!(schedule.intended(k) >= Some(Timestamp(at_us)), "{rate_hz} {at_us}");
                    let earlier = k.checked_sub(1).and_then(|k| schedule.intended(k));
                    assert!(earlier < Some(Timestamp(at_us)), "{rate_hz} Hz at {at_us}");
                }
            }
        }
    }

    #[test]
    fn clients_that_share_a_rate_take_turns() {
        for (rate_hz, sharers) in [(1_000, 10), (3, 7), (128, 1), (100_000, 3)] {
            let schedule = |index| InputSchedule::shared(Timestamp(9), rate_hz, sharers, index);
            let mut moments: Vec<u64> = (0..sharers)
                .flat_map(|index| (0..20).filter_map(move |k| schedule(index).intended(k)))
                .map(|at| at.0)
                .collect();
            moments.sort_unstable();
            for (k, at_us) in moments.into_iter().enumerate() {
                let even_us = 9 + k as u64 * 1_000_000 / u64::from(rate_hz);
                assert!(at_us.abs_diff(even_us) <= 1, "{rate_hz} Hz by {sharers}: {k} at {at_us}");
            }
        }
    }

    #[test]
    fn phases_fill_the_period_evenly() {
        let mut quarters = [0; 4];
        for index in 0..1000 {
            let schedule = InputSchedule::new(Timestamp(0), 20, index);
            let first_us = schedule.intended(0).expect("inputs").0;
            quarters[(first_us / 12_500) as usize] += 1;
        }
        assert!(quarters.iter().all(|&count| (240..=260).contains(&count)), "{quarters:?}");
    }

    #[test]
    fn the_same_seed_does_the_same_and_clients_differ() {
        let steps = |seed, index| {
            let mut bot = Bot::new(seed, index);
            (0..100).map(|_| bot.steer()).collect::<Vec<_>>()
        };
        assert_eq!(steps(42, 7), steps(42, 7));
        assert_ne!(steps(42, 7), steps(42, 8));
        assert_ne!(steps(42, 7), steps(43, 7));
    }

    #[test]
    fn inputs_fit_the_servers_row_whatever_it_lacks() {
        let q = |name| FieldDesc::quantised(name, FieldType::Quant8, -1.0, 1.0);
        for fields in [
            vec![q("move_x"), q("move_y"), FieldDesc::angle("aim", FieldType::Quant16)],
            vec![FieldDesc::new("buttons", FieldType::U8)],
            vec![FieldDesc::new("jump", FieldType::Bool), q("move_y")],
        ] {
            let layout = RowLayout::new(fields).expect("layout");
            let (inputs, mut row) = (InputFields::new(&layout), Vec::new());
            let mut bot = Bot::new(1, 1);
            for _ in 0..100 {
                inputs.write(&bot.steer(), &mut row);
                assert!(layout.accepts(&row), "{row:?} in {layout:?}");
            }
        }
    }

    #[test]
    fn rooms_are_filled_evenly() {
        for (clients, rooms) in [(1000, 50), (10, 3), (7, 7), (5, 1)] {
            let mut sizes = vec![0; rooms as usize];
            (0..clients).for_each(|i| sizes[room_of(i, clients, rooms) as usize] += 1);
            let (least, most) = (sizes.iter().min(), sizes.iter().max());
            assert!(most.expect("rooms") - least.expect("rooms") <= 1, "{sizes:?}");
        }
    }
}
