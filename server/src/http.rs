//! Plain HTTP requests on the same port. Every answer closes its connection.
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process answers at all |
//! | `/readyz` | 200 `ready`, or 503 and one line for each reason to send nobody here |
//! | `/stats.json` | a [`StatsReport`] |
//!
//! Any shard answers for all of them, from the board. A shard that hangs answers nothing, to
//! those whose connection the kernel gave to it: ask with a timeout.

use serde::Serialize;
use tickloom_protocol::handshake::{HttpRequest, Refusal, http_response};
use tickloom_protocol::time::Timestamp;

use crate::board::{Board, ShardStats};

/// The body of `/stats.json`. Times are microseconds of the machine's monotonic clock, on which
/// other programs of the same machine can place them.
#[derive(Clone, Debug, Serialize)]
pub struct StatsReport {
    /// The server's version.
    pub version: &'static str,
    /// When this was asked, in microseconds.
    pub at_us: u64,
    /// When the server started, in microseconds.
    pub started_us: u64,
    /// Why the server should get no new clients, a sentence each; empty when it is ready.
    pub unready: Vec<String>,
    /// Resident memory of the process, looked at once a second; 0 until it was looked at.
    pub memory_bytes: u64,
    /// Resident memory above which nobody new is let in; null when there is no cap.
    pub memory_bytes_max: Option<u64>,
    /// All shards together: of percentiles and `staleness_us_max`, the worst shard's.
    pub total: ShardStats,
    /// Each shard, by its index.
    pub shards: Vec<ShardEntry>,
}

/// What one shard says about itself.
#[derive(Clone, Debug, Serialize)]
pub struct ShardEntry {
    /// The shard's index.
    pub shard: usize,
    /// When it last came out of its poll, in microseconds; 0 before the first time. At least once
    /// a second.
    pub beat_us: u64,
    /// What it is about: `starting`, `polling`, `reading`, `ticking room slot N`, `flushing` or
    /// `ended`.
    pub activity: String,
    /// When it published the numbers below, in microseconds; 0 before the first time.
    pub published_us: u64,
    /// Its numbers.
    #[serde(flatten)]
    pub stats: ShardStats,
}

/// The whole response to one request.
#[must_use]
pub fn respond(request: &HttpRequest, now: Timestamp, board: &Board) -> Vec<u8> {
    if !matches!(&*request.method, "GET" | "HEAD") {
        return Refusal::METHOD.response();
    }
    let mut response = match request.path() {
        "/healthz" => http_response(200, NO_STORE, "ok\n"),
        "/readyz" => match &board.unready_reasons()[..] {
            [] => http_response(200, NO_STORE, "ready\n"),
            reasons => http_response(503, NO_STORE, &format!("{}\n", reasons.join("\n"))),
        },
        "/stats.json" => json_response(&StatsReport::new(now, board)),
        "/ws" | "/echo" => Refusal::NEEDS_UPGRADE.response(),
        _ => Refusal::NOT_FOUND.response(),
    };
    if &*request.method == "HEAD" {
        let body = response.windows(4).position(|window| window == b"\r\n\r\n");
        response.truncate(body.map_or(response.len(), |position| position + 4));
    }
    response
}

const NO_STORE: &str = "Cache-Control: no-store\r\n";

impl StatsReport {
    /// What the board says at this moment.
    #[must_use]
    pub fn new(now: Timestamp, board: &Board) -> Self {
        let mut total = ShardStats::default();
        let shards = board.shards().iter().enumerate().map(|(index, shard)| {
            let (published, stats) = shard.published();
            total.merge(&stats);
            ShardEntry {
                shard: index,
                beat_us: shard.beat().0,
                activity: shard.activity().to_string(),
                published_us: published.0,
                stats,
            }
        });
        let shards = shards.collect();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            at_us: now.0,
            started_us: board.started().0,
            unready: board.unready_reasons(),
            memory_bytes: board.memory_bytes(),
            memory_bytes_max: board.memory_bytes_max(),
            total,
            shards,
        }
    }
}

fn json_response(report: &StatsReport) -> Vec<u8> {
    let body = serde_json::to_string(report).expect("numbers and strings are JSON");
    let length = body.len() + 1;
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n{NO_STORE}\r\n{body}\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, target: &str, board: &Board) -> (String, String) {
        let request = HttpRequest { method: method.into(), target: target.into() };
        let response = respond(&request, Timestamp(2_000_000), board);
        let response = String::from_utf8(response).expect("ASCII");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    }

    fn board() -> Board {
        let board = Board::new(2, Timestamp(1_000_000), Some(1 << 30));
        for shard in board.shards() {
            shard.set_beat(Timestamp(1_500_000));
        }
        board
    }

    #[test]
    fn requests_get_the_status_of_their_path_and_method() {
        for (method, target, status) in [
            ("GET", "/healthz", "200"),
            ("GET", "/healthz?verbose", "200"),
            ("HEAD", "/healthz", "200"),
            ("POST", "/healthz", "405"),
            ("GET", "/readyz", "200"),
            ("HEAD", "/readyz", "200"),
            ("GET", "/stats.json", "200"),
            ("HEAD", "/stats.json", "200"),
            ("GET", "/ws", "426"),
            ("GET", "/", "404"),
        ] {
            let (head, body) = ask(method, target, &board());
            assert_eq!(head.split(' ').nth(1), Some(status), "{method} {target}");
            assert_eq!(method == "HEAD", body.is_empty(), "{method} {target}: {body}");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            let length: usize = length.and_then(|text| text.parse().ok()).expect("a length");
            assert!(method == "HEAD" || length == body.len(), "{method} {target}: {length}");
        }
    }

    #[test]
    fn a_server_that_is_not_ready_says_why_in_a_line_each() {
        let board = board();
        assert_eq!(ask("GET", "/readyz", &board).1, "ready\n");
        board.set_memory(2 << 30, true);
        board.request_stop(Timestamp(9));
        let (head, body) = ask("GET", "/readyz", &board);
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        let slugs: Vec<&str> =
            body.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
        assert_eq!(slugs, ["stopping", "memory"], "{body}");
        let (head, _) = ask("GET", "/healthz", &board);
        assert!(head.starts_with("HTTP/1.1 200 "), "it is alive all the same: {head}");
    }

    #[test]
    fn stats_are_json_with_a_total_and_each_shard() {
        let board = board();
        let stats =
            |ticks, outbox_bytes| ShardStats { ticks, outbox_bytes, ..ShardStats::default() };
        board.shard(0).publish(Timestamp(1_900_000), &stats(3, 70));
        board.shard(1).publish(Timestamp(1_800_000), &stats(4, 0));
        let (head, body) = ask("GET", "/stats.json", &board);
        assert!(head.contains("Content-Type: application/json\r\n"), "{head}");
        let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        for (path, expected) in [
            ("/version", env!("CARGO_PKG_VERSION").into()),
            ("/at_us", 2_000_000.into()),
            ("/started_us", 1_000_000.into()),
            ("/memory_bytes_max", (1 << 30).into()),
            ("/total/ticks", 7.into()),
            ("/total/outbox_bytes", 70.into()),
            ("/shards/0/ticks", 3.into()),
            ("/shards/1/shard", 1.into()),
            ("/shards/1/published_us", 1_800_000.into()),
            ("/shards/1/beat_us", 1_500_000.into()),
            ("/shards/1/activity", "starting".into()),
        ] {
            assert_eq!(report.pointer(path), Some::<&serde_json::Value>(&expected), "{path}");
        }
    }
}
