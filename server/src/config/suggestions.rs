//! What somebody may have meant.

use strsim::damerau_levenshtein;

/// No word of ours is longer.
const WORD_BYTES_MAX: usize = 64;

/// The candidate nearest to what was written, unless even that is something else.
#[must_use]
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    let distances = candidates.into_iter().filter_map(|candidate| {
        let other = candidate.to_lowercase().replace('-', "_");
        let (shorter, longer) = (written.len().min(other.len()), written.len().max(other.len()));
        // `rate_hz` is further from `rate` than it looks.
        let extends = shorter >= 3 && (written.starts_with(&other) || other.starts_with(&written));
        if extends {
            return Some((1, candidate));
        }
        let distance_max = 1.max(longer / 3);
        // A client may have written this: no word is worth a long comparison.
        if longer - shorter > distance_max || longer > WORD_BYTES_MAX {
            return None;
        }
        let distance = damerau_levenshtein(&written, &other);
        (distance <= distance_max).then_some((distance, candidate))
    });
    distances.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_recognised_and_other_words_are_not() {
        let keys = ["rate", "rooms_max", "ping_interval", "pong_timeout"];
        for (written, expected) in [
            ("rat", Some("rate")),
            ("raet", Some("rate")),
            ("rate_hz", Some("rate")),
            ("Rate", Some("rate")),
            ("room_max", Some("rooms_max")),
            ("rooms-max", Some("rooms_max")),
            ("ping_timeout", Some("pong_timeout")),
            ("rote", Some("rate")),
            ("tape", None),
            ("x", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(written, keys), expected, "{written}");
        }
    }
}
