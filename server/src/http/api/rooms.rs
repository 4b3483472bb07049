//! `GET /api/rooms?type=arena&open=true&metadata.mode=ranked&limit=20`

use std::cmp::Reverse;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use tickloom_protocol::chunks::Value;
use tickloom_protocol::time::Timestamp;

use super::{ApiError, answer, to_json};
use crate::board::Board;
use crate::http::routes::Site;
use crate::listing::ListedRoom;
use crate::reactor::monotonic_now;

/// Rooms of one answer, unless fewer or more are asked for.
const LIMIT_DEFAULT: usize = 100;

/// Rooms of one answer at most: with all that rooms may say of themselves a megabyte.
const LIMIT_MAX: usize = 1_000;

/// Which rooms are asked for.
#[derive(PartialEq, Eq, Debug)]
struct Question {
    room_type: Option<String>,
    /// Only those that anybody may join.
    is_open: bool,
    /// What they say of themselves, as text.
    metadata: Vec<(String, String)>,
    limit: usize,
}

/// Lists rooms, the fullest first.
pub(in crate::http) async fn list_rooms(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    match Question::parse(uri.query().unwrap_or_default()) {
        Ok(question) => {
            let body = question.answer(monotonic_now(), site.board());
            answer(StatusCode::OK, &body)
        }
        Err(error) => error.response(),
    }
}

impl Question {
    fn parse(query: &str) -> Result<Self, ApiError> {
        let mut question =
            Self { room_type: None, is_open: false, metadata: Vec::new(), limit: LIMIT_DEFAULT };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |text: &str| {
                let text = text.replace('+', " ");
                let decoded = percent_decode_str(&text).decode_utf8().map(String::from);
                decoded.map_err(|_| ApiError::bad(format!("`{pair}` is not UTF-8")))
            };
            let (key, value) = (decode(key)?, decode(value)?);
            match (&*key, key.strip_prefix("metadata.")) {
                ("type", _) => question.room_type = Some(value),
                ("open", _) => question.is_open = truth("open", &value)?,
                ("limit", _) => question.limit = limit(&value)?,
                (_, Some(key)) => question.metadata.push((key.to_owned(), value)),
                _ => {
                    let known = "there are type, open, limit and metadata.KEY";
                    return Err(ApiError::bad(format!("nothing is known of `{key}`: {known}")));
                }
            }
        }
        Ok(question)
    }

    fn answer(&self, now: Timestamp, board: &Board) -> Json {
        let listings = board.shards().iter().map(|shard| shard.listing());
        let rooms = listings.flat_map(|listing| listing.rooms().to_vec());
        let mut rooms: Vec<Arc<ListedRoom>> = rooms.filter(|room| self.is_for(room)).collect();
        rooms.sort_by(|left, right| {
            let rank = |room: &ListedRoom| (Reverse(room.is_open()), Reverse(room.members_count));
            rank(left).cmp(&rank(right)).then_with(|| left.key.cmp(&right.key))
        });
        let count = rooms.len();
        rooms.truncate(self.limit);
        let rooms: Vec<Json> = rooms.iter().map(|room| describe(now, room)).collect();
        json!({ "rooms": rooms, "count": count })
    }

    fn is_for(&self, room: &ListedRoom) -> bool {
        self.room_type.as_deref().is_none_or(|room_type| *room_type == *room.key.room_type)
            && (!self.is_open || room.is_open())
            && self.metadata.iter().all(|(key, wanted)| {
                room.metadata.get(key).is_some_and(|value| reads_as(value, wanted))
            })
    }
}

fn truth(key: &str, value: &str) -> Result<bool, ApiError> {
    match value {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ApiError::bad(format!("`{key}` takes true or false"))),
    }
}

fn limit(value: &str) -> Result<usize, ApiError> {
    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| ApiError::bad(format!("`limit` takes a whole number, 1 to {LIMIT_MAX}")))
}

/// Whether a value is what this text says.
fn reads_as(value: &Value, text: &str) -> bool {
    match value {
        Value::Str(value) => **value == *text,
        Value::Bool(value) => text.parse() == Ok(*value),
        Value::Int(value) => text.parse() == Ok(*value),
        Value::Num(value) => text.parse() == Ok(*value),
        Value::Bytes(_) | Value::Nil | Value::Entity(_) => false,
    }
}

fn describe(now: Timestamp, room: &ListedRoom) -> Json {
    json!({
        "type": room.key.room_type,
        "name": room.key.room,
        "members": room.members_count,
        "spectators": room.spectators_count,
        "members_max": room.members_max,
        "seats_free": room.seats_free,
        "locked": room.is_locked,
        "has_password": room.has_password,
        "metadata": to_json(&room.metadata),
        "age_ms": now.saturating_since(room.created).as_millis() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_there_is_a_sentence_why_not() {
        let limit = LIMIT_DEFAULT;
        let all = Question { room_type: None, is_open: false, metadata: Vec::new(), limit };
        assert_eq!(Question::parse("").expect("a question"), all);
        let asked = Question::parse("type=a+b&open&limit=7&metadata.mode=x%26y&metadata.n=3");
        let metadata = [("mode", "x&y"), ("n", "3")];
        let expected = Question {
            room_type: Some("a b".into()),
            is_open: true,
            metadata: metadata.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            limit: 7,
        };
        assert_eq!(asked.expect("a question"), expected);
        for query in ["kind=a", "limit=0", "limit=1001", "limit=x", "open=maybe", "type=%FF"] {
            let error = Question::parse(query).expect_err(query);
            assert_eq!(error.status, StatusCode::BAD_REQUEST, "{query}");
        }
    }

    #[test]
    fn values_are_compared_as_people_write_them() {
        for (value, text, is_same) in [
            (Value::Str("3".into()), "3", true),
            (Value::Int(3), "3", true),
            (Value::Int(3), "3.0", false),
            (Value::Num(0.5), "0.50", true),
            (Value::Bool(true), "true", true),
            (Value::Bool(true), "1", false),
            (Value::Bytes([3].into()), "3", false),
        ] {
            assert_eq!(reads_as(&value, text), is_same, "{value:?} {text}");
        }
    }
}
