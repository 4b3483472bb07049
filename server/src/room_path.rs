//! Joining by address: `/ws/<room type>/<room>?name=<member>`. Names are percent-encoded UTF-8.
//!
//! `mode=create` and `mode=join` say whether the room must not or must be there, `spectate` that
//! somebody only watches, and `seat=` shows the token of a seat in hexadecimal digits. A password
//! is not taken: addresses end up in the logs of proxies.

use data_encoding::HEXLOWER_PERMISSIVE;
use percent_encoding::percent_decode_str;
use tickloom_protocol::client_message::JoinMode;
use tickloom_protocol::handshake::{Refusal, Upgrade};
use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::limits::{NAME_BYTES_MAX, TOKEN_BYTES_MAX};

use crate::session::PendingJoin;

/// What an upgrade to a path below `/ws` asks for.
///
/// # Errors
/// The names are none that anybody could have.
pub(crate) fn parse(names: &str, upgrade: &Upgrade) -> Result<PendingJoin, Refusal> {
    let (room_type, room) = names.split_once('/').ok_or(Refusal::BAD_ROOM)?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
    // A slash within a name is written %2F, so what is left of one separates nothing.
    let (Some(room_type), Some(room), false) =
        (decode(room_type), decode(room), room.contains('/'))
    else {
        return Err(Refusal::BAD_ROOM);
    };
    let key = RoomKey::parse(&room_type, &room).ok_or(Refusal::BAD_ROOM)?;
    let mut pairs = upgrade.query().split('&').filter_map(|pair| pair.split_once('='));
    let name = pairs.find(|(key, _)| *key == "name").map_or("", |(_, value)| value);
    // Queries are written as forms are, in which a plus stands for a space.
    let name = decode(&name.replace('+', " ")).filter(|name| name.len() <= NAME_BYTES_MAX);
    let name = name.ok_or(Refusal::BAD_NAME)?;
    let mut join = PendingJoin::new(key, &name);
    for pair in upgrade.query().split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            ("mode", "create") => join.mode = JoinMode::Create,
            ("mode", "join") => join.mode = JoinMode::Join,
            ("spectate", "" | "true" | "1") => join.spectates = true,
            ("seat", token) => join.seat = seat(token),
            // Pages put things of their own into addresses.
            _ => {}
        }
    }
    if join.spectates {
        join.mode = JoinMode::Join;
    }
    Ok(join)
}

/// The bytes of a token. What is none keeps no seat, which its client is told as a refusal.
fn seat(token: &str) -> Box<[u8]> {
    let bytes = HEXLOWER_PERMISSIVE.decode(token.as_bytes()).unwrap_or_default();
    // No bytes would ask for any seat.
    let bytes = if bytes.is_empty() { vec![0] } else { bytes };
    bytes[..bytes.len().min(TOKEN_BYTES_MAX)].into()
}

#[cfg(test)]
mod tests {
    use tickloom_protocol::handshake::{ClientKey, Head};

    use super::*;

    #[test]
    fn a_query_says_how_to_join() {
        let long = "ab".repeat(100);
        for (query, mode, spectates, seat) in [
            ("", JoinMode::JoinOrCreate, false, 0),
            ("mode=create&utm_source=x", JoinMode::Create, false, 0),
            ("name=a&mode=join", JoinMode::Join, false, 0),
            ("mode=anything", JoinMode::JoinOrCreate, false, 0),
            ("spectate", JoinMode::Join, true, 0),
            ("spectate=true&mode=create", JoinMode::Join, true, 0),
            ("spectate=no", JoinMode::JoinOrCreate, false, 0),
            ("seat=00FFab", JoinMode::JoinOrCreate, false, 3),
            ("seat=", JoinMode::JoinOrCreate, false, 1),
            ("seat=xyz", JoinMode::JoinOrCreate, false, 1),
            (&format!("seat={long}"), JoinMode::JoinOrCreate, false, TOKEN_BYTES_MAX),
        ] {
            let join = join(&format!("/ws/a/b?{query}")).expect(query);
            assert_eq!(
                (join.mode, join.spectates, join.seat.len()),
                (mode, spectates, seat),
                "{query}"
            );
        }
    }

    fn join(target: &str) -> Result<PendingJoin, Refusal> {
        let request = ClientKey::new([0; 16]).request("a", target);
        let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&request) else {
            panic!("{target}")
        };
        let names = upgrade.path().strip_prefix("/ws/").expect("below /ws").to_owned();
        parse(&names, &upgrade)
    }

    #[test]
    fn a_path_names_a_room_and_its_query_the_member() {
        let long = "x".repeat(65);
        for (target, expected) in [
            ("/ws/arena/lobby", Ok("arena|lobby|")),
            ("/ws/arena/lobby?name=Ann", Ok("arena|lobby|Ann")),
            ("/ws/arena/lobby?x=1&name=Ann+%26+Bob%2B&name=c", Ok("arena|lobby|Ann & Bob+")),
            ("/ws/arena/lobby?name", Ok("arena|lobby|")),
            ("/ws/a%2Fb/c%20d+e", Ok("a/b|c d+e|")),
            ("/ws/%61rena/%C3%A9", Ok("arena|é|")),
            ("/ws/a/100%", Ok("a|100%|")),
            ("/ws/a/..", Ok("a|..|")),
            ("/ws/arena", Err(Refusal::BAD_ROOM)),
            ("/ws/arena/", Err(Refusal::BAD_ROOM)),
            ("/ws//lobby", Err(Refusal::BAD_ROOM)),
            ("/ws/a/b/c", Err(Refusal::BAD_ROOM)),
            ("/ws/a/b%0A", Err(Refusal::BAD_ROOM)),
            ("/ws/a/%FF", Err(Refusal::BAD_ROOM)),
            (&format!("/ws/a/{long}"), Err(Refusal::BAD_ROOM)),
            (&format!("/ws/a/b?name={long}"), Err(Refusal::BAD_NAME)),
            ("/ws/a/b?name=%FF", Err(Refusal::BAD_NAME)),
        ] {
            let join = join(target)
                .map(|join| format!("{}|{}|{}", join.key.room_type, join.key.room, join.name));
            assert_eq!(join.as_deref().map_err(|refusal| *refusal), expected, "{target}");
        }
    }
}
