//! The key that other programs show to act on behalf of users.

use std::fmt;
use std::ops::RangeInclusive;

use subtle::ConstantTimeEq;

use crate::config::node::Raw;
use crate::config::value::{Value, misfit};

/// Shorter ones can be guessed, longer ones are mistakes.
const LENGTHS: RangeInclusive<usize> = 16..=256;

/// A key, or none, with which nobody may. It is shown to nobody: not in logs, and not by `config
/// effective`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ApiKey(Option<Box<str>>);

impl ApiKey {
    /// Whether there is one.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a header says `Bearer` and this key. How long it takes does not tell how near it is.
    #[must_use]
    pub fn is_shown_by(&self, authorization: &[u8]) -> bool {
        let (scheme, key) = authorization.split_at_checked(7).unwrap_or_default();
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
        self.0.as_ref().is_some_and(|ours| is_bearer & bool::from(ours.as_bytes().ct_eq(key)))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "ApiKey(..)" } else { "ApiKey(none)" })
    }
}

impl Value for ApiKey {
    fn accepts() -> String {
        let (min, max) = (LENGTHS.start(), LENGTHS.end());
        format!("\"none\" or a key of {min} to {max} letters, digits and signs, without spaces")
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let text = raw.text().ok_or_else(|| misfit(raw))?;
        if text == "none" {
            return Ok(Self(None));
        }
        if !LENGTHS.contains(&text.len()) {
            return Err(format!("this has {} characters", text.len()));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("this has a space or a character beyond ASCII".to_owned());
        }
        Ok(Self(Some(text.into())))
    }

    fn show(&self) -> String {
        if self.is_set() { r#""(not shown)""# } else { r#""none""# }.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ApiKey, String> {
        ApiKey::read(&Raw::Text(text.to_owned()))
    }

    #[test]
    fn only_the_whole_key_behind_bearer_is_good() {
        let key = read("0123456789abcdef").expect("a key");
        for (header, is_good) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef ", false),
            ("Bearer  0123456789abcdef", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("Bearer ", false),
            ("", false),
        ] {
            assert_eq!(key.is_shown_by(header.as_bytes()), is_good, "{header:?}");
        }
        assert!(!ApiKey::default().is_shown_by(b"Bearer "), "without a key nobody may");
        assert!(!ApiKey::default().is_shown_by(b"Bearer none"));
    }

    #[test]
    fn a_key_is_long_enough_and_never_shown() {
        assert_eq!(read("none"), Ok(ApiKey(None)));
        assert!(read("short").is_err() && read(&"x".repeat(257)).is_err());
        assert!(read("with a space in it").is_err());
        let key = read("0123456789abcdef").expect("a key");
        assert!(!format!("{key:?} {}", key.show()).contains("0123"));
    }
}
