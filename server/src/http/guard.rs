//! What every request goes through before a route sees it, and every answer behind it: `Host`,
//! the body's length and time, compression, when to close, counting.
//!
//! A body is read as a whole, within its bounds, before its route is called. So a route holds
//! bytes or nothing, and the connection is at the border of two requests when it answers.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode, Version};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use super::HttpConfig;
use super::routes::{Site, plain};

/// Answers up to this size fit a packet as they are.
const COMPRESSED_BYTES_MIN: u64 = 1_024;

/// Bounds of requests.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    body_bytes_max: usize,
    body_timeout: Duration,
    /// Places for connections that are free.
    places: Arc<Semaphore>,
    /// With fewer free places, connections are closed behind each answer: one that is only kept
    /// in case it is needed must not be in the way of one that is.
    places_kept: usize,
}

impl Limits {
    pub(super) fn new(config: &HttpConfig, places: Arc<Semaphore>) -> Self {
        Self {
            body_bytes_max: config.body_bytes_max,
            body_timeout: config.body_timeout,
            places,
            places_kept: config.connections_max / 2,
        }
    }
}

/// Puts all of it around routes.
pub(super) fn guard(routes: Router, site: &Arc<Site>, limits: Limits) -> Router {
    // Pictures are compressed already.
    let worthwhile = SizeAbove::new(COMPRESSED_BYTES_MIN).and(NotForContentType::IMAGES);
    let compression = CompressionLayer::new().compress_when(worthwhile);
    routes
        .layer(from_fn_with_state(limits.clone(), admit))
        .layer(compression)
        .layer(from_fn_with_state((Arc::clone(site), limits), finish))
}

/// Lets a request through that is whole and within its bounds.
async fn admit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_addressed = hosts.next().is_some() || request.version() < Version::HTTP_11;
    if !is_addressed || hosts.next().is_some() {
        return plain(StatusCode::BAD_REQUEST, "there must be one Host header");
    }
    let max = limits.body_bytes_max;
    let too_large = || {
        let reason = format!("the body exceeds {max} bytes");
        close(plain(StatusCode::PAYLOAD_TOO_LARGE, &reason))
    };
    // Before a client that waits for `100 Continue` is told to send it.
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|length: usize| length > max) {
        return too_large();
    }
    let (parts, body) = request.into_parts();
    let collected = timeout(limits.body_timeout, Limited::new(body, max).collect());
    let body = match collected.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return too_large(),
        Ok(Err(_)) => return close(plain(StatusCode::BAD_REQUEST, "the body is broken")),
        Err(_) => return close(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long")),
    };
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// Adds to an answer what all of them have, and counts it.
async fn finish(
    State((site, limits)): State<(Arc<Site>, Limits)>,
    request: Request,
    next: Next,
) -> Response {
    // RFC 9112, 6.1: whoever sends both this and a length may mean to smuggle something past a
    // proxy. Hyper does not show the length then, so nobody who sends this is kept.
    let is_chunked = request.headers().contains_key(TRANSFER_ENCODING);
    let mut response = next.run(request).await;
    let is_crowded = limits.places.available_permits() < limits.places_kept;
    if is_chunked || is_crowded || site.is_stopping() {
        response = close(response);
    }
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    site.counters().count_request(response.status().as_u16());
    response
}

/// The connection ends behind this answer.
fn close(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response.into_response()
}
