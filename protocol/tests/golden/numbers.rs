//! Quantised numbers.

use std::fmt::Write as _;

use tickloom_protocol::quantise::{Mode, Quantiser};

use crate::files::golden;

/// A number every common language parses back to the same bits.
fn number(value: f64) -> String {
    match value {
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        _ => format!("{value:?}"),
    }
}

#[test]
fn quantisation_is_frozen() {
    let tau = std::f64::consts::TAU;
    let mut table = String::from("mode,bits,min,max,value,q,back\n");
    for (mode, min, max) in [
        (Mode::Clamp, -512.0, 512.0),
        (Mode::Clamp, 0.0, 1.0),
        (Mode::Clamp, -3.0, 17.5),
        (Mode::Clamp, 0.1, 0.3),
        (Mode::Wrap, 0.0, tau),
        (Mode::Wrap, -180.0, 180.0),
    ] {
        let range = max - min;
        let inside = [0.0, 0.001, 1.0 / 3.0, 0.5, 0.999].map(|part| min + part * range);
        let outside =
            [max, -0.0, min - range * 0.25, max + range * 2.75, 1e300, -1e300, min - 1e-17];
        let none = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
        for bits in [8, 16, 24, 32] {
            let quantiser = Quantiser::new(bits, mode, min, max).expect("a range");
            for &value in inside.iter().chain(&outside).chain(&none) {
                let q = quantiser.quantise(value);
                let mode = if mode == Mode::Wrap { "wrap" } else { "clamp" };
                let [min, max, value] = [min, max, value].map(number);
                let back = number(quantiser.dequantise(q));
                let _ = writeln!(table, "{mode},{bits},{min},{max},{value},{q},{back}");
            }
        }
    }
    let committed = golden("quantise.csv", table.as_bytes());
    for line in str::from_utf8(&committed).expect("text").lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [mode, bits, min, max, value, q, back] = cells[..] else { panic!("{line}") };
        let mode = if mode == "wrap" { Mode::Wrap } else { Mode::Clamp };
        let [min, max, value, back] = [min, max, value, back].map(|n| n.parse().expect("number"));
        let quantiser = Quantiser::new(bits.parse().expect("bits"), mode, min, max).expect(line);
        let q = q.parse().expect("q");
        assert_eq!(quantiser.quantise(value), q, "{line}");
        assert_eq!(quantiser.dequantise(q).to_bits(), f64::to_bits(back), "{line}");
        assert_eq!(quantiser.quantise(back), q, "{line}");
    }
}
