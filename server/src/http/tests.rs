//! The routes and what is around them, without sockets.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::routing::post;
use http_body_util::BodyExt;
use tickloom_protocol::time::Timestamp;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::counters::HttpCounters;
use super::pages::{self, File};
use super::routes::Site;
use super::{ApiKey, Doors, HttpConfig, guard, routes};
use crate::board::{Board, ShardStats};
use crate::config::Config;
use crate::directory::Directory;
use crate::rooms::built_in_types;

fn board() -> Arc<Board> {
    let board = Board::new(2, Timestamp(1_000_000), Some(1 << 30));
    for shard in board.shards() {
        shard.set_beat(Timestamp(1_500_000));
    }
    Arc::new(board)
}

/// Everything but the connection.
struct World {
    router: Router,
    board: Arc<Board>,
    places: Arc<Semaphore>,
}

/// An answer, taken in.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }
}

impl World {
    fn new() -> Self {
        Self::with(pages::FILES)
    }

    fn with(files: &[File]) -> Self {
        let (board, config) = (board(), config());
        let places = Arc::new(Semaphore::new(config.connections_max));
        let doors = Doors {
            directory: Directory::new(2, 0),
            mailboxes: Vec::new(),
            api_key: ApiKey::default(),
            seats_rate: None,
            room_types: built_in_types(&Config::loopback()),
        };
        let counters = Arc::<HttpCounters>::default();
        let site = Arc::new(Site::new(Arc::clone(&board), counters, doors));
        // Where REST will be; no route of today's reads a body.
        let sink = post(|body: Bytes| async move { format!("{} bytes", body.len()) });
        let routes = routes::router(&site, files).route("/sink", sink);
        let limits = guard::Limits::new(&config, Arc::clone(&places));
        Self { router: guard::guard(routes, &site, limits), board, places }
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        self.ask_with(method, path, &[], Body::empty())
    }

    fn ask_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "a");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body).expect("a request"))
    }

    fn send(&self, request: Request<Body>) -> Answer {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("infallible");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("a body").to_bytes().to_vec();
            Answer { status: parts.status, headers: parts.headers, body }
        })
    }
}

fn config() -> HttpConfig {
    let config = Config::loopback().http;
    HttpConfig { connections_max: 4, body_timeout: Duration::from_millis(50), ..config }
}

#[test]
fn requests_get_the_status_of_their_path_and_method() {
    let world = World::new();
    let content_types = ["text/plain; charset=utf-8", "text/html; charset=utf-8"];
    for (path, get, content_type) in [
        ("/", 200, content_types[1]),
        ("/healthz", 200, content_types[0]),
        ("/healthz?verbose", 200, content_types[0]),
        ("/readyz", 200, content_types[0]),
        ("/stats.json", 200, "application/json"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/api/rooms", 200, "application/json"),
        ("/api/room-types", 200, "application/json"),
        ("/ws", 426, content_types[0]),
        ("/echo", 426, content_types[0]),
        ("/nothing", 404, content_types[0]),
        ("/healthz/", 404, content_types[0]),
        ("/../etc/passwd", 404, content_types[0]),
        ("http://elsewhere/healthz", 200, content_types[0]),
    ] {
        let answer = world.ask("GET", path);
        assert_eq!(answer.status, get, "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(!answer.body.is_empty(), "{path} says something");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");

        let head = world.ask("HEAD", path);
        assert_eq!((head.status, &*head.body), (answer.status, &b""[..]), "{path}");
        let length = head.header("content-length").and_then(|text| text.parse().ok());
        // Times in it may have got longer.
        let is_near = length.is_some_and(|length: usize| length.abs_diff(answer.body.len()) < 64);
        assert!(is_near, "{path}: {length:?} of {}", answer.body.len());

        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "BREW"] {
            let answer = world.ask(method, path);
            let expected = if get == 404 { 404 } else { 405 };
            assert_eq!(answer.status, expected, "{method} {path}");
            let allow = answer.header("allow");
            assert_eq!(allow, (expected == 405).then_some("GET,HEAD"), "{method} {path}");
            assert!(!answer.body.is_empty(), "{method} {path} says why");
        }
    }
    let upgrade = world.ask("GET", "/ws");
    assert_eq!(upgrade.header("upgrade"), Some("websocket"));
    assert_eq!(upgrade.header("sec-websocket-version"), Some("13"));
    let nothing = world.ask("GET", "/nothing");
    for there in [
        "/healthz",
        "/readyz",
        "/stats.json",
        "/metrics",
        "/api/rooms",
        "/api/room-types",
        "/ws",
        "/",
    ] {
        let is_told = nothing.text().split([' ', ',', ';', '\n']).any(|word| word == there);
        assert!(is_told, "{there} in {:?}", nothing.text());
    }
}

#[test]
fn a_server_that_is_not_ready_says_why_in_a_line_each() {
    let world = World::new();
    assert_eq!(world.ask("GET", "/readyz").text(), "ready\n");
    world.board.set_memory(2 << 30, true);
    world.board.request_stop(Timestamp(9));
    let answer = world.ask("GET", "/readyz");
    assert_eq!(answer.status, 503);
    let lines = answer.text().lines();
    let slugs: Vec<&str> = lines.filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert_eq!(slugs, ["stopping", "memory"], "{}", answer.text());
    assert_eq!(answer.header("connection"), Some("close"), "nobody is kept by one that stops");
    assert_eq!(world.ask("GET", "/healthz").status, 200, "it is alive all the same");
}

#[test]
fn stats_are_json_with_a_total_and_each_shard() {
    let world = World::new();
    let stats = |ticks, outbox_bytes| ShardStats { ticks, outbox_bytes, ..ShardStats::default() };
    world.board.shard(0).publish(Timestamp(1_900_000), &stats(3, 70));
    world.board.shard(1).publish(Timestamp(1_800_000), &stats(4, 0));
    world.ask("GET", "/nothing");
    let answer = world.ask("GET", "/stats.json");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let report: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    for (path, expected) in [
        ("/version", env!("CARGO_PKG_VERSION").into()),
        ("/started_us", 1_000_000.into()),
        ("/memory_bytes_max", (1 << 30).into()),
        ("/total/ticks", 7.into()),
        ("/total/outbox_bytes", 70.into()),
        ("/shards/0/shard", 0.into()),
        ("/shards/0/ticks", 3.into()),
        ("/shards/1/ticks", 4.into()),
        ("/shards/1/beat_us", 1_500_000.into()),
        ("/shards/1/published_us", 1_800_000.into()),
        ("/shards/1/activity", "starting".into()),
        ("/unready", serde_json::json!([])),
        ("/http/requests", serde_json::json!([0, 0, 0, 1, 0])),
    ] {
        assert_eq!(report.pointer(path), Some(&expected), "{path}");
    }
}

/// A page with what belongs to it.
const BUILT: [File; 5] = [
    File { path: "index.html", body: b"<!doctype html><title>start" },
    File { path: "arena.html", body: b"<!doctype html><title>arena" },
    File { path: "assets/arena-1a2b3c4d.js", body: &[b';'; 4_096] },
    File { path: "assets/map-5e6f7a8b.png", body: &[7; 4_096] },
    File { path: "sdk.js", body: b"export const connect = () => {};" },
];

#[test]
fn pages_and_what_they_load_are_kept_as_long_as_they_are_good() {
    let world = World::with(&BUILT);
    let forever = "public, max-age=31536000, immutable";
    for (path, content_type, kept, body) in [
        ("/", "text/html; charset=utf-8", "no-cache", BUILT[0].body),
        ("/arena", "text/html; charset=utf-8", "no-cache", BUILT[1].body),
        ("/arena?room=lobby", "text/html; charset=utf-8", "no-cache", BUILT[1].body),
        ("/assets/arena-1a2b3c4d.js", "text/javascript; charset=utf-8", forever, BUILT[2].body),
        ("/assets/map-5e6f7a8b.png", "image/png", forever, BUILT[3].body),
        ("/sdk.js", "text/javascript; charset=utf-8", "no-cache", BUILT[4].body),
    ] {
        let answer = world.ask("GET", path);
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, body), "{path}");
        assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
        assert_eq!(answer.header("cache-control"), Some(kept), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let is_page = content_type.starts_with("text/html");
        assert_eq!(answer.header("permissions-policy").is_some(), is_page, "{path}");
        let referrer = answer.header("referrer-policy");
        assert_eq!(referrer, is_page.then_some("same-origin"), "{path}");
        // What runs elsewhere is loaded from elsewhere.
        let elsewhere = answer.header("access-control-allow-origin");
        assert_eq!(elsewhere, (path == "/sdk.js").then_some("*"), "{path}");
        let head = world.ask("HEAD", path);
        assert_eq!((head.status, &*head.body), (StatusCode::OK, &b""[..]), "{path}");
        assert_eq!(head.header("content-length"), Some(&*body.len().to_string()), "{path}");
    }
    for path in ["/index.html", "/arena.html", "/arena/", "/assets/", "/assets/arena-00000000.js"] {
        assert_eq!(world.ask("GET", path).status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn pages_run_nothing_but_what_comes_from_here() {
    let world = World::with(&BUILT);
    for path in ["/", "/arena", "/assets/arena-1a2b3c4d.js"] {
        let answer = world.ask("GET", path);
        let policy = answer.header("content-security-policy").expect("a policy");
        let rules: Vec<&str> = policy.split("; ").collect();
        for rule in [
            "default-src 'self'",
            "connect-src 'self' ws: wss:",
            "img-src 'self' data: blob:",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(rules.contains(&rule), "{rule} in {policy} of {path}");
        }
        assert!(!policy.contains("unsafe"), "{policy} of {path}");
    }
}

#[test]
fn without_pages_what_programs_ask_for_stays() {
    let world = World::with(&[]);
    for (path, status) in [
        ("/", 404),
        ("/arena", 404),
        ("/sdk.js", 404),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/stats.json", 200),
        ("/metrics", 200),
        ("/api/rooms", 200),
        ("/api/room-types", 200),
        ("/ws", 426),
    ] {
        assert_eq!(world.ask("GET", path).status, status, "{path}");
    }
    let nothing = world.ask("GET", "/");
    assert!(!nothing.text().contains("pages"), "{:?}", nothing.text());
}

#[test]
fn a_page_that_the_client_has_is_not_sent_again() {
    let world = World::with(&BUILT);
    let page = world.ask("GET", "/");
    let tag = page.header("etag").expect("a tag").to_owned();
    let strong = tag.trim_start_matches("W/").to_owned();
    let other = world.ask("GET", "/arena").header("etag").expect("a tag").to_owned();
    assert_ne!(tag, other);
    for (sent, status) in [
        (tag.clone(), 304),
        (strong, 304),
        (format!("\"a\", {tag} , \"b\""), 304),
        ("*".to_owned(), 304),
        (other, 200),
        (tag.trim_matches('"').to_owned(), 200),
        (String::new(), 200),
    ] {
        for method in ["GET", "HEAD"] {
            let headers = [("if-none-match", &*sent)];
            let answer = world.ask_with(method, "/", &headers, Body::empty());
            assert_eq!(answer.status, status, "{method} {sent:?}");
            assert_eq!(answer.header("etag"), Some(&*tag), "{method} {sent:?}");
            assert!(status == 200 || answer.body.is_empty(), "{method} {sent:?}");
            assert_eq!(answer.header("cache-control"), Some("no-cache"), "{method} {sent:?}");
        }
    }
}

#[test]
fn long_answers_are_compressed_for_those_who_take_gzip() {
    let world = World::with(&BUILT);
    for (path, accepts, is_compressed) in [
        ("/api/room-types", "gzip", true),
        ("/assets/arena-1a2b3c4d.js", "gzip", true),
        ("/assets/map-5e6f7a8b.png", "gzip", false),
        ("/metrics", "gzip", true),
        ("/metrics", "deflate, gzip;q=0.5, br", true),
        ("/stats.json", "gzip", true),
        ("/metrics", "gzip;q=0", false),
        ("/metrics", "br", false),
        ("/healthz", "gzip", false),
    ] {
        let headers = [("accept-encoding", accepts)];
        let answer = world.ask_with("GET", path, &headers, Body::empty());
        let encoding = answer.header("content-encoding");
        assert_eq!(encoding, is_compressed.then_some("gzip"), "{path} for {accepts}");
        assert_eq!(answer.body.starts_with(&[0x1f, 0x8b]), is_compressed, "{path} for {accepts}");
        let plain = world.ask("GET", path).body.len();
        assert!(!is_compressed || answer.body.len() < plain / 2, "{path} for {accepts}");
    }
}

#[test]
fn a_body_is_bounded_in_length_and_time() {
    let world = World::new();
    let sink = |headers: &[(&str, &str)], body| world.ask_with("POST", "/sink", headers, body);
    let max = config().body_bytes_max;
    let exact = sink(&[], Body::from(vec![1; max]));
    assert_eq!(exact.text(), format!("{max} bytes"));
    let long = sink(&[], Body::from(vec![1; max + 1]));
    assert_eq!(
        (long.status, long.header("connection")),
        (StatusCode::PAYLOAD_TOO_LARGE, Some("close"))
    );
    assert_eq!(long.text(), format!("the body exceeds {max} bytes\n"));
    // Announced, it is not waited for.
    let announced = format!("{}", max + 1);
    let never = sink(&[("content-length", &announced)], Never::body());
    assert_eq!(never.status, StatusCode::PAYLOAD_TOO_LARGE);
    let slow = sink(&[], Never::body());
    assert_eq!(
        (slow.status, slow.header("connection")),
        (StatusCode::REQUEST_TIMEOUT, Some("close"))
    );
    assert_eq!(slow.text(), "the body took too long\n");
}

/// A body that does not come.
struct Never;

impl Never {
    fn body() -> Body {
        Body::new(Self)
    }
}

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[test]
fn a_request_says_once_for_whom_it_is() {
    let world = World::new();
    let ask = |version, hosts: usize| {
        let mut request = Request::builder().uri("/healthz").version(version);
        for _ in 0..hosts {
            request = request.header("host", "a");
        }
        world.send(request.body(Body::empty()).expect("a request"))
    };
    use axum::http::Version;
    assert_eq!(ask(Version::HTTP_11, 0).text(), "there must be one Host header\n");
    assert_eq!(ask(Version::HTTP_11, 2).status, StatusCode::BAD_REQUEST);
    assert_eq!(ask(Version::HTTP_11, 1).status, StatusCode::OK);
    assert_eq!(ask(Version::HTTP_10, 0).status, StatusCode::OK);
    assert_eq!(ask(Version::HTTP_10, 2).status, StatusCode::BAD_REQUEST);
}

#[test]
fn nobody_is_kept_when_places_are_short_or_when_framing_is_in_doubt() {
    let world = World::new();
    let connection = |answer: &Answer| answer.header("connection").map(str::to_owned);
    let close = Some("close".to_owned());
    assert_eq!(connection(&world.ask("GET", "/healthz")), None);
    let chunked = [("transfer-encoding", "chunked")];
    let answer = world.ask_with("POST", "/sink", &chunked, Body::from("abc"));
    assert_eq!((answer.text(), connection(&answer)), ("3 bytes", close.clone()));
    let two = world.places.try_acquire_many(2).expect("four places");
    assert_eq!(connection(&world.ask("GET", "/healthz")), None, "half of them are free");
    let three = world.places.try_acquire().expect("two places");
    assert_eq!(connection(&world.ask("GET", "/healthz")), close);
    drop((two, three));
    assert_eq!(connection(&world.ask("GET", "/healthz")), None);
}
