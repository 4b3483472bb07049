//! What the first joiner of a built-in game may say of the room it makes.

use serde::de::DeserializeOwned;

use crate::room::logic::Denial;

/// Reads options, JSON such as `example`; nothing at all is no wish. `room` names the kind of room
/// with its article.
pub(super) fn read<W: DeserializeOwned>(
    options: &[u8],
    room: &str,
    example: &str,
) -> Result<Option<W>, Denial> {
    if options.is_empty() {
        return Ok(None);
    }
    let wishes = serde_json::from_slice(options).map_err(|error| {
        Denial::new(format!("the options of {room} are JSON such as {example}: {error}"))
    })?;
    Ok(Some(wishes))
}
