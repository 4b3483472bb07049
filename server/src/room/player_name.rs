//! What a player is called in a built-in game, whatever its client says.

use crate::room::logic::Joiner;

/// Letters of a name; the rest is cut off.
const NAME_CHARS_MAX: usize = 24;

/// The name that a joiner gave, or one with its number when nothing of that is fit to be shown.
pub(super) fn of(joiner: &Joiner<'_>) -> String {
    match clean(joiner.name) {
        name if name.is_empty() => format!("player-{}", joiner.member.0),
        name => name,
    }
}

/// A name that is short and cannot disturb the text around it.
fn clean(name: &str) -> String {
    let disturbs = |letter: char| {
        letter.is_control()
            // Invisible, or turns the direction of the text that follows.
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let clean: String =
        name.trim().chars().filter(|letter| !disturbs(*letter)).take(NAME_CHARS_MAX).collect();
    clean.trim().into()
}
