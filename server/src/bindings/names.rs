//! Names of rooms, components and fields as TypeScript has them. On the wire they are any text.

use std::collections::BTreeSet;

use crate::bindings::quoted;

/// Words that cannot name a constant, because the language has another meaning for them or the
/// module does.
const RESERVED: &[&str] = &[
    "arguments",
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "instanceof",
    "interface",
    "let",
    "new",
    "null",
    "package",
    "private",
    "protected",
    "public",
    "return",
    "roomType",
    "static",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "undefined",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// Types that the module itself names.
const TYPES: &[&str] = &["Props", "Record", "RoomType", "Uint8Array"];

/// The names that a module has given away.
pub(super) struct Names {
    types: BTreeSet<String>,
    constants: BTreeSet<String>,
}

impl Default for Names {
    fn default() -> Self {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self { types: set(TYPES), constants: set(RESERVED) }
    }
}

impl Names {
    /// What a room type's type and constant are called: `chat-room` makes `ChatRoom` and
    /// `chatRoom`.
    pub(super) fn of_room_type(&mut self, name: &str) -> (String, String) {
        let words = words(name);
        let pascal: String =
            words.iter().map(|word| with_first(word, char::to_ascii_uppercase)).collect();
        let camel = with_first(&pascal, char::to_ascii_lowercase);
        (free(&mut self.types, &pascal), free(&mut self.constants, &camel))
    }
}

/// A name as it is, if it needs no quotes.
pub(super) fn property(name: &str) -> String {
    let is_plain = !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_$".contains(letter));
    if is_plain { name.to_owned() } else { quoted(name) }
}

/// The words of a name: letters and digits of ASCII, others by their number, and what is neither
/// between two of them.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        let word = words.last_mut().expect("there is always one");
        if letter.is_ascii_alphanumeric() {
            word.push(letter);
        } else if letter.is_ascii() {
            words.push(String::new());
        } else {
            word.push_str(&format!("u{:x}", u32::from(letter)));
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn with_first(word: &str, change: impl Fn(&char) -> char) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| change(&first)).into_iter().chain(letters).collect()
}

/// A name nobody has yet, which is theirs from now on.
fn free(taken: &mut BTreeSet<String>, wanted: &str) -> String {
    // No name begins with a digit, and no name is empty.
    let is_fine = wanted.starts_with(|letter: char| letter.is_ascii_alphabetic());
    let wanted = if is_fine { wanted.to_owned() } else { format!("_{wanted}") };
    let numbered = (2..).map(|number| format!("{wanted}{number}"));
    let mut candidates = std::iter::once(wanted.clone()).chain(numbered);
    let name = candidates.find(|name| !taken.contains(name)).expect("there are numbers enough");
    taken.insert(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_name_that_the_language_takes() {
        let mut names = Names::default();
        for (name, expected) in [
            ("arena", ("Arena", "arena")),
            ("chat-room", ("ChatRoom", "chatRoom")),
            ("chat room", ("ChatRoom2", "chatRoom2")),
            ("1v1", ("_1v1", "_1v1")),
            ("class", ("Class", "class2")),
            ("props", ("Props2", "props")),
            ("room_type", ("RoomType2", "roomType2")),
            ("uint8Array", ("Uint8Array2", "uint8Array")),
            ("房", ("U623f", "u623f")),
            ("../..", ("_", "_")),
            ("!", ("_2", "_2")),
            ("a.b */ c", ("ABC", "aBC")),
        ] {
            let (interface, constant) = names.of_room_type(name);
            assert_eq!((&*interface, &*constant), expected, "{name}");
        }
    }

    #[test]
    fn properties_are_quoted_when_they_must_be() {
        for (name, expected) in [
            ("move_x", "move_x"),
            ("$id", "$id"),
            ("class", "class"),
            ("2d", "\"2d\""),
            ("a b", "\"a b\""),
            ("a\"b", r#""a\"b""#),
            ("é", "\"é\""),
            ("", "\"\""),
        ] {
            assert_eq!(property(name), expected, "{name}");
        }
    }
}
