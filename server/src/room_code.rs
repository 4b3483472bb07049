//! Names that the server gives to rooms: six letters and digits that people can read to each other.
//!
//! A code is the room's name and nothing else. It is written in the 32 letters of Crockford's
//! base 32, so a reader who mistakes O for 0, or I and L for 1, or writes small letters, still
//! means the same one: [`fold`] says which.

/// No I, L, O and U.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Letters of a code: a thousand million of them, so that guessing one of some thousands takes
/// longer than a connection is patient.
const LENGTH: usize = 6;

/// The code of the low thirty bits.
#[must_use]
pub fn of_bits(bits: u32) -> String {
    let letters = (0..LENGTH).rev().map(|at| LETTERS[(bits >> (5 * at)) as usize & 31]);
    letters.map(char::from).collect()
}

/// The code that somebody means who writes this; `None` when it cannot be one.
#[must_use]
pub fn fold(name: &str) -> Option<String> {
    if name.len() != LENGTH {
        return None;
    }
    let letter = |byte: u8| match byte.to_ascii_uppercase() {
        b'O' => Some(b'0'),
        b'I' | b'L' => Some(b'1'),
        byte => LETTERS.contains(&byte).then_some(byte),
    };
    name.bytes().map(|byte| letter(byte).map(char::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_its_own_folding() {
        for bits in [0, 1, 31, 32, 0x2aaa_aaaa, (1 << 30) - 1, u32::MAX] {
            let code = of_bits(bits);
            assert_eq!(fold(&code), Some(code.clone()), "{bits:x}");
            assert_eq!(fold(&code.to_lowercase()), Some(code), "{bits:x}");
        }
        assert_eq!([of_bits(0), of_bits(32), of_bits(u32::MAX)], ["000000", "000010", "ZZZZZZ"]);
    }

    #[test]
    fn letters_that_look_alike_are_the_same_and_other_names_are_no_codes() {
        for (name, code) in [
            ("k7m2qx", Some("K7M2QX")),
            ("oOiIlL", Some("001111")),
            ("lobby1", Some("10BBY1")),
            ("lounge", None),
            ("lobby", None),
            ("lobby-1", None),
            ("K7M2Q", None),
            ("K7M2Q ", None),
            ("ééé", None),
            ("", None),
        ] {
            assert_eq!(fold(name).as_deref(), code, "{name:?}");
        }
    }
}
