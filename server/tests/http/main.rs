//! Plain HTTP on real sockets: connections that go from their shard to the HTTP thread, stay, and
//! sometimes come back.
#![expect(clippy::disallowed_types, reason = "these tests are about sockets")]
#![expect(clippy::disallowed_methods, reason = "deadlines of real sockets need the real clock")]

mod api;
mod garbage;
mod keeping;
mod pages;
#[path = "../player/mod.rs"]
mod player;
mod upgrades;

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tickloom_server::config::Config;
use tickloom_server::http::HttpConfig;
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime::{self, Server};

use player::{DEADLINE, ask, get};

fn start(config: &Config) -> Server {
    runtime::serve(config, &RoomTypes::default().with(Arena::new(20))).expect("a loopback port")
}

fn start_with(http: impl FnOnce(&mut HttpConfig)) -> Server {
    let mut config = Config::loopback();
    http(&mut config.http);
    start(&config)
}

fn stop(server: Server) {
    server.stopper().stop();
    server.join().expect("every shard ends");
}

/// Everything up to the end of the connection, and how long that took.
fn read_to_end(stream: &mut TcpStream) -> (String, Duration) {
    let (started, mut bytes) = (Instant::now(), Vec::new());
    stream.read_to_end(&mut bytes).expect("an end, not a reset");
    (String::from_utf8_lossy(&bytes).into_owned(), started.elapsed())
}

/// The statuses of answers that follow each other. Some bodies speak of HTTP, too.
fn statuses(text: &str) -> Vec<u16> {
    let starts = text.split("HTTP/1.").skip(1);
    starts.filter_map(|start| start.get(2..5)?.parse().ok()).collect()
}

/// What `/stats.json` says of the HTTP thread, once it is as wanted.
fn http_until(address: SocketAddr, wanted: impl Fn(&serde_json::Value) -> bool) {
    let started = Instant::now();
    loop {
        let response = ask(address, &get("/stats.json"));
        let body = response.split_once("\r\n\r\n").expect("a head").1;
        let report: serde_json::Value = serde_json::from_str(body).expect("JSON");
        if wanted(&report["http"]) {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "{:#}", report["http"]);
    }
}
