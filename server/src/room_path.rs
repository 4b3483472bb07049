//! Joining by address: `/ws/<room type>/<room>?name=<member>`. Names are percent-encoded UTF-8.

use percent_encoding::percent_decode_str;
use tickloom_protocol::handshake::{Refusal, Upgrade};
use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::limits::NAME_BYTES_MAX;

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
    let pairs = upgrade.query().split('&').filter_map(|pair| pair.split_once('='));
    let name = pairs.into_iter().find(|(key, _)| *key == "name").map_or("", |(_, value)| value);
    // Queries are written as forms are, in which a plus stands for a space.
    let name = decode(&name.replace('+', " ")).filter(|name| name.len() <= NAME_BYTES_MAX);
    let name = name.ok_or(Refusal::BAD_NAME)?;
    Ok(PendingJoin::new(key, &name))
}

#[cfg(test)]
mod tests {
    use tickloom_protocol::handshake::{ClientKey, Head};

    use super::*;

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
            let request = ClientKey::new([0; 16]).request("a", target);
            let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&request) else {
                panic!("{target}")
            };
            let names = upgrade.path().strip_prefix("/ws/").expect("below /ws").to_owned();
            let join = parse(&names, &upgrade);
            let join =
                join.map(|join| format!("{}|{}|{}", join.key.room_type, join.key.room, join.name));
            assert_eq!(join.as_deref().map_err(|refusal| *refusal), expected, "{target}");
        }
    }
}
