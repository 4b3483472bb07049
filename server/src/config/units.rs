//! Numbers with units: durations, sizes, rates. A number whose unit somebody has to guess is
//! wrong in the worst way, by a factor of a thousand.

use std::time::Duration;

use crate::config::node::Raw;
use crate::config::value::{Value, misfit};
use crate::rate;

/// A unit and how many of the smallest one it is, ascending.
type Unit = (&'static str, u64);

const TIME: &[Unit] = &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];

const SIZE: &[Unit] = &[
    ("B", 1),
    ("kB", 1000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// How many of the smallest unit are written. `what` the units are of is for the problem.
fn read(raw: &Raw, units: &[Unit], what: &str) -> Result<u64, String> {
    let names = || units.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if let Some(number) = raw.integer() {
        return Err(format!("{number} has no unit: use one of {}", names()));
    }
    let text = raw.text().ok_or_else(|| misfit(raw))?;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (digits, unit) = (text[..end].replace('_', ""), text[end..].trim());
    if digits.is_empty() {
        return Err("this does not begin with a number".to_owned());
    }
    if unit.is_empty() {
        return Err(format!("{digits} has no unit: use one of {}", names()));
    }
    if unit.starts_with('.') {
        return Err("write a whole number of a smaller unit".to_owned());
    }
    let Some((_, scale)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(format!("`{unit}` is not a unit of {what}: use one of {}", names()));
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*scale));
    number.ok_or_else(|| "this is too much".to_owned())
}

/// The number in the largest unit that leaves no fraction.
fn show(number: u64, units: &[Unit]) -> String {
    let even = |(_, scale): &&Unit| number != 0 && number.is_multiple_of(*scale);
    let (name, scale) = units.iter().rev().find(even).unwrap_or(&units[0]);
    format!("\"{}{name}\"", number / scale)
}

impl Value for Duration {
    fn accepts() -> String {
        r#"a duration such as "250ms", "10s" or "2m""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        read(raw, TIME, "time").map(Self::from_millis)
    }

    fn show(&self) -> String {
        show(u64::try_from(self.as_millis()).unwrap_or(u64::MAX), TIME)
    }
}

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(pub usize);

impl Value for Size {
    fn accepts() -> String {
        r#"a size such as "64KiB", "1MiB" or "10kB""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let bytes = read(raw, SIZE, "size")?;
        usize::try_from(bytes).map(Self).map_err(|_| "this is too much".to_owned())
    }

    fn show(&self) -> String {
        show(self.0 as u64, SIZE)
    }
}

/// A size that may be left out with `"none"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ceiling(pub Option<Size>);

impl Value for Ceiling {
    fn accepts() -> String {
        format!("\"none\" or {}", Size::accepts())
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        if raw.text() == Some("none") {
            return Ok(Self(None));
        }
        Size::read(raw).map(Some).map(Self)
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "\"none\"".to_owned(), |size| size.show())
    }
}

/// Something that may go without a limit, with `"none"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit<T>(pub Option<T>);

impl<T: Value + Copy> Value for Limit<T> {
    fn accepts() -> String {
        format!("\"none\" or {}", T::accepts())
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        if raw.text() == Some("none") {
            return Ok(Self(None));
        }
        T::read(raw).map(Some).map(Self)
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "\"none\"".to_owned(), |value| value.show())
    }
}

/// How often per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(pub u32);

impl Rate {
    /// A second's worth may come at once.
    #[must_use]
    pub fn with_a_second_at_once(self) -> rate::Rate {
        let per_second = u64::from(self.0);
        rate::Rate::new(per_second, per_second)
    }
}

impl Value for Rate {
    fn accepts() -> String {
        r#"a rate per second such as 20 or "20/s""#.to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let number = match (raw.integer(), raw.text()) {
            (Some(number), _) => number,
            (None, Some(text)) => {
                let digits = text.trim().strip_suffix("/s").map(str::trim);
                let digits = digits.ok_or("a rate ends in `/s` or has no unit")?;
                digits.parse().map_err(|_| format!("`{digits}` is not a whole number"))?
            }
            (None, None) => return Err(misfit(raw)),
        };
        u32::try_from(number).map(Self).map_err(|_| "this is out of range".to_owned())
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn durations_and_sizes_need_their_unit() {
        let use_time = "use one of ms, s, m, h";
        for (raw, expected) in [
            (text("250ms"), Ok(250)),
            (text("10s"), Ok(10_000)),
            (text("2m"), Ok(120_000)),
            (text("1h"), Ok(3_600_000)),
            (text("1_000 ms"), Ok(1000)),
            (Raw::Word("3s".into()), Ok(3000)),
            (text("10"), Err(format!("10 has no unit: {use_time}"))),
            (Raw::Integer(10), Err(format!("10 has no unit: {use_time}"))),
            (Raw::Word("10".into()), Err(format!("10 has no unit: {use_time}"))),
            (text("1.5s"), Err("write a whole number of a smaller unit".into())),
            (text("3 parsecs"), Err(format!("`parsecs` is not a unit of time: {use_time}"))),
            (text("64KiB"), Err(format!("`KiB` is not a unit of time: {use_time}"))),
            (text("soon"), Err("this does not begin with a number".into())),
            (text("-1s"), Err("this does not begin with a number".into())),
            (text(""), Err("this does not begin with a number".into())),
            (text("99999999999999999999s"), Err("this is too much".into())),
            (text("9999999999999999999h"), Err("this is too much".into())),
            (Raw::Bool(true), Err("this is true or false".into())),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(Duration::read(&raw), expected, "{raw:?}");
        }
        let use_size = "use one of B, kB, KiB, MB, MiB, GB, GiB";
        for (raw, expected) in [
            (text("64KiB"), Ok(65_536)),
            (text("10kB"), Ok(10_000)),
            (text("1MiB"), Ok(1 << 20)),
            (text("0B"), Ok(0)),
            (text("64k"), Err(format!("`k` is not a unit of size: {use_size}"))),
            (text("64kb"), Err(format!("`kb` is not a unit of size: {use_size}"))),
        ] {
            assert_eq!(Size::read(&raw), expected.map(Size), "{raw:?}");
        }
    }

    #[test]
    fn rates_may_go_without_their_unit() {
        for (raw, expected) in [
            (Raw::Integer(20), Ok(20)),
            (text("20/s"), Ok(20)),
            (Raw::Word("20".into()), Ok(20)),
            (text("20"), Err("a rate ends in `/s` or has no unit")),
            (text("20ms"), Err("a rate ends in `/s` or has no unit")),
            (text("many/s"), Err("`many` is not a whole number")),
            (Raw::Integer(-1), Err("this is out of range")),
            (Raw::Float(2.5), Err("this is a number with a fraction")),
        ] {
            let expected = expected.map(Rate).map_err(str::to_owned);
            assert_eq!(Rate::read(&raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn what_is_shown_reads_as_the_same() {
        for (milliseconds, shown) in
            [(0, "0ms"), (250, "250ms"), (1000, "1s"), (90_000, "90s"), (120_000, "2m")]
        {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(duration.show(), format!("\"{shown}\""));
            assert_eq!(Duration::read(&text(shown)), Ok(duration));
        }
        for (bytes, shown) in [(0, "0B"), (10_000, "10kB"), (65_536, "64KiB"), (1 << 20, "1MiB")] {
            assert_eq!(Size(bytes).show(), format!("\"{shown}\""));
            assert_eq!(Size::read(&text(shown)), Ok(Size(bytes)));
        }
    }
}
