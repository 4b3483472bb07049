//! Keys that keep a list in order: between any two there is room for another.
//!
//! ```text
//! key      := integer fraction
//! integer  := head digit{n}        `a` to `z`: n is 1 to 26, counting up from 0
//!                                  `Z` to `A`: n is 1 to 26, counting down from -1
//! fraction := digit*               never ends in `0`
//! digit    := `0`..`9` `A`..`Z` `a`..`z`
//! ```
//!
//! Keys compare byte by byte: the head makes a longer integer sort behind a shorter one, or before
//! it below zero. Lists mostly grow at their ends, and there the integer counts, so a million
//! appended items have keys of at most five bytes; only what lands between two neighbours needs a
//! fraction. A fraction never ends in `0`, because nothing fits between `x` and `x0`.
//!
//! The format is that of David Greenspan's "Implementing Fractional Indexing", after Evan
//! Wallace's "Realtime Editing of Ordered Sequences". Libraries of many languages write the same
//! keys, byte for byte.

use crate::limits;

/// The digits, ascending as bytes.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Digits of the longest integer, whose head is `A` or `z`.
const INTEGER_DIGITS_MAX: usize = 26;

/// The least integer. It is no key by itself, so that there is always room before a key.
const LEAST: [u8; 1 + INTEGER_DIGITS_MAX] = *b"A00000000000000000000000000";

/// Why there is no key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrderError {
    /// A neighbour is not an ordering key: it was written by something else.
    #[error("`{0}` is not an ordering key")]
    BadKey(&'static str),
    /// The neighbours are equal or the wrong way round.
    #[error("`before` does not sort before `after`")]
    NotAscending,
    /// The key would be longer than [`limits::ORDER_KEY_BYTES_MAX`].
    #[error(
        "between these neighbours a key needs more than {} bytes: give the list new keys",
        limits::ORDER_KEY_BYTES_MAX
    )]
    TooLong,
}

/// A key between two neighbours: `before` is `None` at the front of a list, `after` at its end.
///
/// After an error the list is due for new keys: the first of `between(None, None)`, each other
/// of `between(Some(last), None)`.
///
/// # Errors
/// [`OrderError`]: what is wrong with the neighbours.
pub fn between(before: Option<&str>, after: Option<&str>) -> Result<String, OrderError> {
    let lower =
        before.map(|key| Key::parse(key).ok_or(OrderError::BadKey("before"))).transpose()?;
    let upper = after.map(|key| Key::parse(key).ok_or(OrderError::BadKey("after"))).transpose()?;
    if before.zip(after).is_some_and(|(before, after)| before >= after) {
        return Err(OrderError::NotAscending);
    }
    let key = match (lower, upper) {
        (None, None) => b"a0".to_vec(),
        (None, Some(upper)) => key_before(upper),
        (Some(lower), None) => key_after(lower),
        (Some(lower), Some(upper)) => key_between(lower, upper),
    };
    if key.len() > limits::ORDER_KEY_BYTES_MAX {
        return Err(OrderError::TooLong);
    }
    let key = String::from_utf8(key).expect("digits are ASCII");
    debug_assert!(before.is_none_or(|before| before < key.as_str()), "{key} after {before:?}");
    debug_assert!(after.is_none_or(|after| key.as_str() < after), "{key} before {after:?}");
    Ok(key)
}

/// A well-formed key.
#[derive(Clone, Copy)]
struct Key<'a> {
    integer: &'a [u8],
    fraction: &'a [u8],
}

impl<'a> Key<'a> {
    fn parse(key: &'a str) -> Option<Self> {
        let bytes = key.as_bytes();
        let digits_count = match bytes.first()? {
            head @ b'a'..=b'z' => head - b'a' + 1,
            head @ b'A'..=b'Z' => b'Z' - head + 1,
            _ => return None,
        };
        let (integer, fraction) = bytes.split_at_checked(1 + usize::from(digits_count))?;
        let well_formed = bytes.iter().all(u8::is_ascii_alphanumeric)
            && fraction.last() != Some(&b'0')
            && bytes != LEAST.as_slice();
        well_formed.then_some(Self { integer, fraction })
    }
}

fn key_before(upper: Key<'_>) -> Vec<u8> {
    if !upper.fraction.is_empty() && upper.integer != LEAST.as_slice() {
        return upper.integer.to_vec();
    }
    match decremented(upper.integer) {
        Some(integer) if integer != LEAST => integer,
        // Below the least but one there are only fractions of the least.
        Some(integer) => with_midpoint(&integer, &[], None),
        None => with_midpoint(upper.integer, &[], Some(upper.fraction)),
    }
}

fn key_after(lower: Key<'_>) -> Vec<u8> {
    incremented(lower.integer).unwrap_or_else(|| with_midpoint(lower.integer, lower.fraction, None))
}

fn key_between(lower: Key<'_>, upper: Key<'_>) -> Vec<u8> {
    if lower.integer == upper.integer {
        return with_midpoint(lower.integer, lower.fraction, Some(upper.fraction));
    }
    match incremented(lower.integer) {
        Some(integer) if integer != upper.integer || !upper.fraction.is_empty() => integer,
        _ => with_midpoint(lower.integer, lower.fraction, None),
    }
}

/// `integer` and the shortest fraction in the middle of two others; without an upper one, of
/// `lower` and one.
fn with_midpoint(integer: &[u8], mut lower: &[u8], mut upper: Option<&[u8]>) -> Vec<u8> {
    let mut key = integer.to_vec();
    loop {
        let low = lower.first().map_or(0, |&byte| value(byte));
        // An upper fraction never runs out while it equals the lower one, padded with zeros: it
        // would end in `0` or not be above it.
        let high = upper.map_or(DIGITS.len(), |upper| value(upper[0]));
        if high > low + 1 {
            key.push(DIGITS[(low + high).div_ceil(2)]);
            return key;
        }
        if high > low && upper.is_some_and(|upper| upper.len() > 1) {
            key.push(DIGITS[high]);
            return key;
        }
        key.push(DIGITS[low]);
        lower = lower.get(1..).unwrap_or_default();
        // Once a digit is below the upper fraction's, that one bounds nothing any more.
        upper = if high == low { upper.map(|upper| &upper[1..]) } else { None };
    }
}

/// The integer after this one; `None` after the greatest.
fn incremented(integer: &[u8]) -> Option<Vec<u8>> {
    let mut next = integer.to_vec();
    for byte in next[1..].iter_mut().rev() {
        if *byte != b'z' {
            *byte = DIGITS[value(*byte) + 1];
            return Some(next);
        }
        *byte = b'0';
    }
    match next[0] {
        b'Z' => return Some(b"a0".to_vec()),
        b'z' => return None,
        b'a'..=b'y' => next.push(b'0'),
        _ => drop(next.pop()),
    }
    next[0] += 1;
    Some(next)
}

/// The integer before this one; `None` before the least.
fn decremented(integer: &[u8]) -> Option<Vec<u8>> {
    let mut next = integer.to_vec();
    for byte in next[1..].iter_mut().rev() {
        if *byte != b'0' {
            *byte = DIGITS[value(*byte) - 1];
            return Some(next);
        }
        *byte = b'z';
    }
    match next[0] {
        b'a' => return Some(b"Zz".to_vec()),
        b'A' => return None,
        b'B'..=b'Z' => next.push(b'z'),
        _ => drop(next.pop()),
    }
    next[0] -= 1;
    Some(next)
}

fn value(digit: u8) -> usize {
    DIGITS.iter().position(|&other| other == digit).expect("keys are made of digits")
}

const _: () = assert!(limits::ORDER_KEY_BYTES_MAX > LEAST.len());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_count_at_the_ends_and_halve_between_neighbours() {
        for (before, after, expected) in [
            (None, None, "a0"),
            (Some("a0"), None, "a1"),
            (None, Some("a0"), "Zz"),
            (Some("az"), None, "b00"),
            (None, Some("b00"), "az"),
            (Some("Zz"), None, "a0"),
            (None, Some("Z0"), "Yzz"),
            (Some("Yzz"), None, "Z0"),
            (None, Some("a0V"), "a0"),
            (Some("a1"), Some("a2"), "a1V"),
            (Some("a0"), Some("a2"), "a1"),
            (Some("a0V"), Some("a1"), "a0l"),
            (Some("Zz"), Some("a01"), "a0"),
            (Some("a0"), Some("a0V"), "a0G"),
            (Some("a0"), Some("a01"), "a00V"),
            (Some("a01"), Some("a02"), "a01V"),
            (Some("a049"), Some("a05"), "a04a"),
            (Some("a0z"), Some("a1"), "a0zV"),
            (Some("a0Gz"), Some("a0H5"), "a0H"),
        ] {
            let key = between(before, after);
            assert_eq!(key.as_deref(), Ok(expected), "{before:?} {after:?}");
        }
    }

    #[test]
    fn the_ends_of_the_integers_are_not_the_end() {
        let greatest = "z".repeat(27);
        let least = str::from_utf8(&LEAST).expect("ASCII");
        let above_least = format!("{}1", &least[..26]);
        assert_eq!(between(Some(&greatest), None), Ok(format!("{greatest}V")));
        assert_eq!(between(None, Some(&above_least)), Ok(format!("{least}V")));
        assert_eq!(between(None, Some(&format!("{least}V"))), Ok(format!("{least}G")));
        assert_eq!(between(None, Some(least)), Err(OrderError::BadKey("after")));
    }

    #[test]
    fn neighbours_that_cannot_be_are_refused() {
        let bad = OrderError::BadKey;
        for (before, after, error) in [
            (Some(""), None, bad("before")),
            (Some("00"), None, bad("before")),
            (Some("a"), None, bad("before")),
            (Some("b0"), None, bad("before")),
            (Some("a0-"), None, bad("before")),
            (Some("a-"), None, bad("before")),
            (Some("é0"), None, bad("before")),
            (None, Some("a00"), bad("after")),
            (Some("a0"), Some("a0V0"), bad("after")),
            (Some("a0"), Some("a0"), OrderError::NotAscending),
            (Some("a1"), Some("a0"), OrderError::NotAscending),
        ] {
            assert_eq!(between(before, after), Err(error), "{before:?} {after:?}");
        }
    }

    #[test]
    fn a_place_that_is_used_up_asks_for_new_keys() {
        let (mut upper, mut count) = ("a1".to_owned(), 0);
        let error = loop {
            match between(Some("a0"), Some(&upper)) {
                Ok(key) => upper = key,
                Err(error) => break error,
            }
            count += 1;
        };
        assert_eq!((error, upper.len()), (OrderError::TooLong, limits::ORDER_KEY_BYTES_MAX));
        assert!(count > 600, "{count} keys at one place");
        assert_eq!(between(Some(&upper), None).as_deref(), Ok("a1"), "elsewhere there is room");
    }
}
