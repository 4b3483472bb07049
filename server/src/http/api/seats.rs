//! `POST /api/seats`: keeps seats for the users of another program, such as a matchmaker.
//!
//! ```text
//! {"room_type": "arena", "users": ["ann", "bob"]}
//!   -> {"room_type": "arena", "room": "K7M2QX", "expires_ms": 15000,
//!       "seats": [{"user": "ann", "token": "9f.."}, {"user": "bob", "token": "03.."}]}
//! ```
//!
//! The listings of the shards say which room suits, and only the room's own shard knows whether
//! that is still so: it is asked by mail, and the next one when it says no.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use tickloom_protocol::client_message::{Join, JoinMode};
use tickloom_protocol::limits;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use super::{ApiError, answer, from_json};
use crate::directory::ShardIndex;
use crate::http::routes::Site;
use crate::listing;
use crate::mail::Mail;
use crate::mailbox::Letter;
use crate::rate::{Bucket, Rate};
use crate::room::admission::SEAT_PATIENCE;
use crate::room::write::Refusal;
use crate::seats::{Reserve, SEATS_MAX, SeatsAnswer, SeatsKept, SeatsWanted};
use crate::session::{Naming, PendingJoin};

/// How long a shard may take for an answer. One that takes longer is in trouble.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Rooms asked for of those that listings have promised, before a new one is made.
const SEARCHES_MAX: usize = 3;

/// Which shard the next room is made on.
#[derive(Debug, Default)]
pub(in crate::http) struct SeatsRetry(AtomicUsize);

/// How often seats were asked for: a [`Bucket`]'s word, which one thread changes.
#[derive(Debug, Default)]
pub(in crate::http) struct SeatsUsage(AtomicU64);

impl SeatsUsage {
    /// Counts a request, or says how long to wait until there is room for one.
    pub fn take(&self, now: Timestamp, rate: Rate) -> Result<(), Duration> {
        let mut bucket = Bucket::from_word(self.0.load(Ordering::Relaxed));
        if bucket.take(now, rate) {
            self.0.store(bucket.to_word(), Ordering::Relaxed);
            return Ok(());
        }
        Err(bucket.room_at(rate).saturating_since(now))
    }
}

/// What the body says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    room_type: String,
    #[serde(default)]
    room: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    password: String,
    #[serde(default)]
    options: String,
    #[serde(default)]
    metadata: Map<String, Json>,
    #[serde(default)]
    filter: Map<String, Json>,
    /// How they will be called; or else how many there are.
    users: Option<Vec<String>>,
    count: Option<usize>,
}

#[derive(Deserialize, Default)]
enum Mode {
    #[default]
    JoinOrCreate,
    Create,
    Join,
}

/// Keeps seats.
pub(in crate::http) async fn reserve_seats(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if let Err(response) = check_key(&site, &headers) {
        return *response;
    }
    // Whoever does not know the key takes nothing from those who do.
    if let Err(wait) = site.charge_seats() {
        return too_often(wait);
    }
    let wanted = match read(&body) {
        Ok(wanted) => wanted,
        Err(error) => return error.response(),
    };
    let names = wanted.names.clone();
    match reserve(&site, wanted).await {
        Ok(kept) => answer(StatusCode::OK, &describe(&kept, &names)),
        Err(error) => error.response(),
    }
}

fn check_key(site: &Site, headers: &HeaderMap) -> Result<(), Box<Response>> {
    if !site.api_key().is_set() {
        let message = "set `http.api_key` to let other programs keep seats";
        let (status, code) = (StatusCode::FORBIDDEN, "Disabled".to_owned());
        return Err(Box::new(ApiError { status, code, message: message.into() }.response()));
    }
    let shown = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if site.api_key().is_shown_by(shown) {
        return Ok(());
    }
    let message = "send `Authorization: Bearer` and the key of `http.api_key`".to_owned();
    let (status, code) = (StatusCode::UNAUTHORIZED, "Unauthorized".to_owned());
    let mut response = ApiError { status, code, message }.response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Err(Box::new(response))
}

fn too_often(wait: Duration) -> Response {
    let message = "ask for several seats at once, or raise `http.seats_rate`".to_owned();
    let (status, code) = (StatusCode::TOO_MANY_REQUESTS, "Busy".to_owned());
    let mut response = ApiError { status, code, message }.response();
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// What a body asks for.
fn read(body: &[u8]) -> Result<SeatsWanted, ApiError> {
    let body: Body = serde_json::from_slice(body)
        .map_err(|error| ApiError::bad(format!("the body is not what it should be: {error}")))?;
    let names = match (body.users, body.count) {
        (Some(users), None) => users.into_iter().map(Into::into).collect(),
        (None, count) => vec![Box::default(); count.unwrap_or(1)],
        (Some(_), Some(_)) => return Err(ApiError::bad("`users` and `count` exclude each other")),
    };
    let names: Vec<Box<str>> = names;
    if !(1..=SEATS_MAX).contains(&names.len()) {
        return Err(ApiError::bad(format!("1 to {SEATS_MAX} seats can be kept at once")));
    }
    for (field, length, max) in [
        ("users", names.iter().map(|name| name.len()).max().unwrap_or(0), limits::NAME_BYTES_MAX),
        ("password", body.password.len(), limits::PASSWORD_BYTES_MAX),
        ("options", body.options.len(), limits::JOIN_OPTIONS_BYTES_MAX),
    ] {
        if length > max {
            return Err(ApiError::bad(format!("`{field}` may have {max} bytes")));
        }
    }
    let mode = match body.mode {
        Mode::JoinOrCreate => JoinMode::JoinOrCreate,
        Mode::Create => JoinMode::Create,
        Mode::Join => JoinMode::Join,
    };
    let (room_type, room, password) = (&*body.room_type, &*body.room, &*body.password);
    let options = body.options.as_bytes();
    let join = Join { room_type, room, mode, password, options, ..Join::default() };
    let mut join = PendingJoin::of(&join).map_err(of_refusal)?;
    join.metadata = from_json("metadata", &body.metadata)?;
    join.filter = from_json("filter", &body.filter)?;
    Ok(SeatsWanted { room: join, names })
}

/// Asks shards until one keeps the seats.
async fn reserve(site: &Site, wanted: SeatsWanted) -> Result<SeatsKept, ApiError> {
    let looks = wanted.room.key.room.is_empty() && wanted.room.mode == JoinMode::JoinOrCreate;
    for _ in 0..if looks { SEARCHES_MAX } else { 0 } {
        let listings = site.board().shards().iter().map(|shard| shard.listing());
        let found = listing::find(listings, &wanted.room, wanted.names.len());
        let Some(key) = found else { break };
        let owner = site.directory().shard_of(&key);
        let room = PendingJoin { key, ..wanted.room.clone() };
        let promised = SeatsWanted { room, names: wanted.names.clone() };
        match ask(site, owner, promised).await? {
            Ok(kept) => return Ok(kept),
            // It was full or gone by the time it was asked.
            Err(Refusal { code: RefusalCode::UnknownRoom | RefusalCode::RoomFull, .. }) => {}
            Err(refusal) => return Err(of_refusal(refusal)),
        }
    }
    let owner = match wanted.room.naming {
        Naming::Client | Naming::Code => site.directory().shard_of(&wanted.room.key),
        Naming::Server { .. } => {
            let turn = site.seats().0.fetch_add(1, Ordering::Relaxed);
            ShardIndex(turn % site.board().shards().len())
        }
    };
    ask(site, owner, wanted).await?.map_err(of_refusal)
}

async fn ask(site: &Site, shard: ShardIndex, wanted: SeatsWanted) -> Result<SeatsAnswer, ApiError> {
    let (reserve, answer) = Reserve::new(wanted);
    let unavailable = |message: &str| {
        let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "ServerFull".to_owned());
        ApiError { status, code, message: message.to_owned() }
    };
    let letter = Letter { mail: Mail::Reserve(Box::new(reserve)), socket: None };
    if site.mailbox(shard).is_none_or(|mailbox| mailbox.send(letter).is_err()) {
        return Err(unavailable("the room's shard takes no mail"));
    }
    match tokio::time::timeout(ANSWER_MAX, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(unavailable("the room's shard does not answer")),
    }
}

fn of_refusal(refusal: Refusal) -> ApiError {
    let status = match refusal.code {
        RefusalCode::UnknownRoomType | RefusalCode::UnknownRoom => StatusCode::NOT_FOUND,
        RefusalCode::RoomFull | RefusalCode::RoomExists | RefusalCode::RoomLocked => {
            StatusCode::CONFLICT
        }
        RefusalCode::ServerFull | RefusalCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
        RefusalCode::Denied | RefusalCode::NotAllowed | RefusalCode::WrongPassword => {
            StatusCode::FORBIDDEN
        }
        RefusalCode::BadRoomName
        | RefusalCode::BadOptions
        | RefusalCode::AlreadyJoined
        | RefusalCode::NotJoined
        | RefusalCode::Conflict
        | RefusalCode::Invalid
        | RefusalCode::BadSeat => StatusCode::BAD_REQUEST,
    };
    ApiError { status, code: format!("{:?}", refusal.code), message: refusal.message }
}

fn describe(kept: &SeatsKept, names: &[Box<str>]) -> Json {
    let seats = kept.tokens.iter().zip(names).map(|(token, name)| {
        let token = HEXLOWER.encode(token.bytes());
        if name.is_empty() {
            json!({ "token": token })
        } else {
            json!({ "user": name, "token": token })
        }
    });
    json!({
        "room_type": kept.room.room_type,
        "room": kept.room.room,
        "expires_ms": SEAT_PATIENCE.as_millis() as u64,
        "seats": seats.collect::<Vec<_>>(),
    })
}
