//! Rooms over HTTP: what there are, and seats in them for the users of another program.
//!
//! | path | answer |
//! |---|---|
//! | `GET /api/room-types` | which types there are, and what their rooms are made of |
//! | `GET /api/rooms` | the listed rooms as the shards' listings have them, up to a second old |
//! | `POST /api/seats` | tokens for seats, for whoever shows `http.api_key`, up to `http.seats_rate` |
//!
//! What is wrong is told as JSON: `{"code": .., "message": ..}`.

mod room_types;
mod rooms;
mod seats;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value as Json, json};
use tickloom_protocol::chunks::Value;

pub(super) use room_types::{describe_room_types, list_room_types};
pub(super) use rooms::list_rooms;
pub(super) use seats::{SeatsRetry, SeatsUsage, reserve_seats};

use super::routes::headed;
use crate::properties::{Properties, PropertiesError};

/// Why there is something else than what was asked for.
#[derive(Debug)]
struct ApiError {
    status: StatusCode,
    code: String,
    message: String,
}

impl ApiError {
    fn bad(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "BadRequest".into(), message: message.into() }
    }

    fn response(&self) -> Response {
        answer(self.status, &json!({ "code": self.code, "message": self.message }))
    }
}

fn answer(status: StatusCode, body: &Json) -> Response {
    headed(status, "application/json", format!("{body}\n"))
}

/// Properties as JSON. Bytes, which JSON has none of, are hexadecimal digits in an object.
fn to_json(properties: &Properties) -> Json {
    let rows = properties.iter().map(|(key, value)| {
        let value = match value {
            Value::Bool(value) => json!(value),
            Value::Int(value) => json!(value),
            Value::Num(value) => json!(value),
            Value::Str(value) => json!(value.as_str()),
            Value::Bytes(value) => json!({ "hex": data_encoding::HEXLOWER.encode(value) }),
            // Properties have none of these.
            Value::Nil | Value::Entity(_) => Json::Null,
        };
        (key.to_owned(), value)
    });
    Json::Object(rows.collect())
}

/// Properties from JSON: booleans, numbers and texts.
fn from_json(what: &str, json: &Map<String, Json>) -> Result<Properties, ApiError> {
    let mut properties = Properties::default();
    for (key, value) in json {
        let value = match value {
            Json::Bool(value) => Some(Value::Bool(*value)),
            Json::Number(value) => match value.as_i64() {
                Some(value) => Some(Value::Int(value)),
                None => value.as_f64().map(Value::Num),
            },
            Json::String(value) => Some(Value::Str(value.as_str().into())),
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        };
        let value = value.ok_or_else(|| {
            ApiError::bad(format!("`{what}.{key}` must be a boolean, a number or a text"))
        })?;
        properties.insert(key, value).map_err(|error| ApiError::bad(error.to_string()))?;
    }
    if properties.fits() {
        return Ok(properties);
    }
    Err(ApiError::bad(format!("`{what}`: {}", PropertiesError::TooLong)))
}
