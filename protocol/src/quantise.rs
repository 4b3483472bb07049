//! Numbers in a declared range as integers of 8, 16, 24 or 32 bits.
//!
//! Every implementation must agree on these formulas to the last bit: the server stores the
//! quantised value and its logic reads back the dequantised one, so that a client which predicts
//! computes with the same numbers. With `S` steps over `[min, max]`:
//!
//! - `Clamp`: `q = floor((v - min) / (max - min) * S + 0.5)`, `S = 2^bits - 1`, or `2^bits - 2`
//!   when `min == -max`, which makes 0 exact;
//! - `Wrap`: `v` is reduced modulo the range first, `S = 2^bits`, and `q == S` becomes 0;
//! - NaN is `min`.

/// What happens to values outside the range.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// They become the nearest end of the range.
    #[default]
    Clamp,
    /// They are taken modulo the range, as for angles.
    Wrap,
}

/// A mapping between real numbers and integers of a fixed number of bits.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Quantiser {
    mode: Mode,
    min: f64,
    range: f64,
    steps: f64,
    q_max: u32,
}

impl Quantiser {
    /// A quantiser over `[min, max]`, or `None` when the range is empty or not finite.
    #[must_use]
    pub fn new(bits: u32, mode: Mode, min: f64, max: f64) -> Option<Self> {
        let range = max - min;
        if !(range.is_finite() && range > 0.0 && matches!(bits, 8 | 16 | 24 | 32)) {
            return None;
        }
        let full = f64::from(u32::MAX >> (32 - bits)) + 1.0;
        #[expect(clippy::float_cmp, reason = "exactly opposite ends are what makes 0 exact")]
        let steps = match mode {
            Mode::Clamp if min == -max => full - 2.0,
            Mode::Clamp => full - 1.0,
            Mode::Wrap => full,
        };
        let q_max = match mode {
            Mode::Clamp => steps,
            Mode::Wrap => full - 1.0,
        };
        Some(Self { mode, min, range, steps, q_max: q_max as u32 })
    }

    /// The integer for `value`.
    #[must_use]
    pub fn quantise(&self, value: f64) -> u32 {
        let offset = value - self.min;
        let unit = match self.mode {
            Mode::Clamp => offset / self.range,
            Mode::Wrap => (offset / self.range).rem_euclid(1.0),
        };
        // `as` does the rest of `floor`: it drops the fraction of what is positive, maps NaN and
        // what is negative to 0, and saturates, which is the clamp at both ends.
        let q = unit * self.steps + 0.5;
        match self.mode {
            Mode::Clamp => (q as u32).min(self.q_max),
            Mode::Wrap if q >= self.steps => 0,
            Mode::Wrap => q as u32,
        }
    }

    /// The number `q` stands for. Every `q` up to [`Quantiser::q_max`] survives the round trip.
    #[must_use]
    pub fn dequantise(&self, q: u32) -> f64 {
        self.min + f64::from(q) / self.steps * self.range
    }

    /// The largest integer [`Quantiser::quantise`] returns. On the wire a larger one is out of
    /// range.
    #[must_use]
    pub fn q_max(&self) -> u32 {
        self.q_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_integer_survives_the_round_trip() {
        for (mode, min, max) in [
            (Mode::Clamp, -1024.0, 1024.0),
            (Mode::Clamp, 0.0, 1.0),
            (Mode::Clamp, -3.0, 17.5),
            (Mode::Wrap, 0.0, std::f64::consts::TAU),
            (Mode::Wrap, -180.0, 180.0),
        ] {
            for bits in [8, 16] {
                let quantiser = Quantiser::new(bits, mode, min, max).expect("range");
                for q in 0..=quantiser.q_max() {
                    let back = quantiser.quantise(quantiser.dequantise(q));
                    assert_eq!(back, q, "{bits} bits {mode:?} [{min}, {max}]");
                }
            }
        }
    }

    #[test]
    fn zero_is_exact_in_a_symmetric_range() {
        for bits in [8, 16, 24, 32] {
            let quantiser = Quantiser::new(bits, Mode::Clamp, -5.0, 5.0).expect("range");
            let zero = quantiser.dequantise(quantiser.quantise(0.0));
            assert!(zero.abs() < f64::EPSILON, "{bits} bits give {zero}");
        }
    }

    #[test]
    fn values_outside_the_range_are_clamped_or_wrapped() {
        let clamp = Quantiser::new(8, Mode::Clamp, 0.0, 10.0).expect("range");
        let wrap = Quantiser::new(8, Mode::Wrap, 0.0, 360.0).expect("range");
        for (quantiser, value, expected) in [
            (clamp, -1.0, 0),
            (clamp, 11.0, 255),
            (clamp, f64::NAN, 0),
            (clamp, f64::INFINITY, 255),
            (wrap, 360.0, 0),
            (wrap, 359.9, 0),
            (wrap, -90.0, 192),
            (wrap, 450.0, 64),
            (wrap, f64::NAN, 0),
        ] {
            assert_eq!(quantiser.quantise(value), expected, "{value} in {quantiser:?}");
        }
    }

    #[test]
    fn an_empty_or_infinite_range_is_refused() {
        for (min, max) in [(1.0, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert!(Quantiser::new(16, Mode::Clamp, min, max).is_none(), "[{min}, {max}]");
        }
        assert!(Quantiser::new(12, Mode::Clamp, 0.0, 1.0).is_none(), "12 bits");
    }
}
