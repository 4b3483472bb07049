//! What somebody may have meant.

use strsim::damerau_levenshtein;

/// The candidate nearest to what was written, unless even that is something else.
#[must_use]
pub fn nearest<'a>(
    written: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let written = written.to_lowercase().replace('-', "_");
    let distances = candidates.into_iter().map(|candidate| {
        let other = candidate.to_lowercase().replace('-', "_");
        // `rate_hz` is further from `rate` than it looks.
        let shorter = written.len().min(other.len());
        let extends = shorter >= 3 && (written.starts_with(&other) || other.starts_with(&written));
        let distance = if extends { 1 } else { damerau_levenshtein(&written, &other) };
        (distance, written.len().max(other.len()), candidate)
    });
    let near = distances.filter(|(distance, longer, _)| *distance <= 1.max(longer / 3));
    near.min_by_key(|(distance, ..)| *distance).map(|(.., candidate)| candidate)
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
