//! Which path gets which answer.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, SEC_WEBSOCKET_VERSION, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tickloom_protocol::handshake::Refusal;

use super::api::{self, SeatsRetry, SeatsUsage};
use super::api_key::ApiKey;
use super::counters::HttpCounters;
use super::pages::{self, File};
use super::process::ProcessFacts;
use super::{Doors, StatsReport, metrics_text};
use crate::board::Board;
use crate::directory::{Directory, ShardIndex};
use crate::mailbox::Mailbox;
use crate::reactor::monotonic_now;

/// What people are told who look elsewhere.
const NOT_FOUND: &str = "nothing here; there are /healthz /readyz /stats.json /metrics \
                         /api/rooms /api/room-types, and rooms at /ws";

/// What routes look at.
#[derive(Debug)]
pub(super) struct Site {
    board: Arc<Board>,
    counters: Arc<HttpCounters>,
    doors: Doors,
    seats: SeatsRetry,
    seats_usage: SeatsUsage,
    /// The same as long as the server runs.
    room_types: String,
}

impl Site {
    pub(super) fn new(board: Arc<Board>, counters: Arc<HttpCounters>, doors: Doors) -> Self {
        let (seats, seats_usage) = Default::default();
        let room_types = api::describe_room_types(&doors.room_types);
        Self { board, counters, doors, seats, seats_usage, room_types }
    }

    pub(super) fn board(&self) -> &Board {
        &self.board
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.doors.directory
    }

    pub(super) fn api_key(&self) -> &ApiKey {
        &self.doors.api_key
    }

    pub(super) fn mailbox(&self, shard: ShardIndex) -> Option<&Mailbox> {
        self.doors.mailboxes.get(shard.0)
    }

    /// What rooms are made of, as JSON.
    pub(super) fn room_types(&self) -> &str {
        &self.room_types
    }

    pub(super) fn seats(&self) -> &SeatsRetry {
        &self.seats
    }

    /// Counts a request for seats; says how long to wait when there were too many.
    pub(super) fn charge_seats(&self) -> Result<(), Duration> {
        let Some(rate) = self.doors.seats_rate else { return Ok(()) };
        self.seats_usage.take(monotonic_now(), rate).inspect_err(|_| self.counters.count_limited())
    }

    pub(super) fn counters(&self) -> &HttpCounters {
        &self.counters
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.board.stop_by().is_some()
    }

    fn report(&self) -> StatsReport {
        StatsReport::new(monotonic_now(), &self.board, self.counters.report())
    }
}

/// Every path there is, with these pages. `HEAD` is answered wherever `GET` is.
pub(super) fn router(site: &Arc<Site>, files: &[File]) -> Router {
    let reason =
        if files.is_empty() { NOT_FOUND.to_owned() } else { format!("{NOT_FOUND}; pages at /") };
    let not_found = move || async move { plain(StatusCode::NOT_FOUND, &reason) };
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/stats.json", get(stats))
        .route("/metrics", get(metrics))
        .route("/api/rooms", get(api::list_rooms))
        .route("/api/room-types", get(api::list_room_types))
        .route("/api/seats", post(api::reserve_seats))
        .route("/ws", get(needs_upgrade))
        .route("/echo", get(needs_upgrade))
        .with_state(Arc::clone(site))
        .merge(pages::routes(files))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
}

async fn healthz() -> Response {
    plain(StatusCode::OK, "ok")
}

async fn readyz(State(site): State<Arc<Site>>) -> Response {
    match site.board.readiness() {
        Ok(ready) => plain(StatusCode::OK, ready),
        Err(reasons) => plain(StatusCode::SERVICE_UNAVAILABLE, &reasons),
    }
}

async fn stats(State(site): State<Arc<Site>>) -> Response {
    let body = serde_json::to_string(&site.report()).expect("numbers and strings are JSON");
    live("application/json", body + "\n")
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    let facts = ProcessFacts::this();
    let text = metrics_text::render(&site.report(), &site.board, &facts);
    live(metrics_text::CONTENT_TYPE, text)
}

async fn needs_upgrade() -> Response {
    let Refusal { status, reason } = Refusal::NEEDS_UPGRADE;
    let status = StatusCode::from_u16(status).expect("one of the protocol's statuses");
    let mut response = plain(status, reason);
    for (name, value) in [(UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn wrong_method() -> Response {
    plain(StatusCode::METHOD_NOT_ALLOWED, "the Allow header says what is answered here")
}

/// What is true at this moment and not later.
fn live(content_type: &'static str, body: String) -> Response {
    headed(StatusCode::OK, content_type, body)
}

/// A status and why.
pub(super) fn plain(status: StatusCode, reason: &str) -> Response {
    headed(status, "text/plain; charset=utf-8", format!("{reason}\n"))
}

pub(super) fn headed(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let headers: [(HeaderName, &str); 2] =
        [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (status, headers, body).into_response()
}
