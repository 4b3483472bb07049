//! What is nearly HTTP, or was meant to be two things at once.

use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;

use tickloom_server::config::Config;

use crate::player::connect;
use crate::{read_to_end, start, statuses, stop};

/// Hyper knows it, and ends the connection without a word.
const HTTP_2_PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What is sent, and the statuses of all answers up to the end of the connection.
const TABLE: &[(&str, &[u16])] = &[
    // ---- framing in doubt ----
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 4\r\n\r\nabcd", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3 3\r\n\r\nabc", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n", &[431]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", &[400]),
    // Both: the chunks count, and nobody is listened to behind them.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        &[405],
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n\
         0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        &[405],
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", &[400]),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n", &[400]),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         fffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        &[400],
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        &[400],
    ),
    ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n", &[400]),
    // ---- lines ----
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nX\u{e9}: a\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\n\"X\": a\r\n\r\n", &[400]),
    // Lines may end without a carriage return (RFC 9112, 2.2).
    ("GET /healthz HTTP/1.1\nHost: a\n\n", &[200]),
    ("\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    // ---- the first line ----
    (" GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET  /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /healthz  HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /heal thz HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET\t/healthz\tHTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /healthz\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.2\r\nHost: a\r\n\r\n", &[400]),
    ("GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n", &[400]),
    ("GET /healthz HTTP/9.9\r\nHost: a\r\n\r\n", &[400]),
    ("GET /healthz http/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1 \r\nHost: a\r\n\r\n", &[400]),
    ("G\0T /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET /heal\0thz HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("GET healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("get /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[405]),
    ("BREW /healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[405]),
    ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("GET http://elsewhere/healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[200]),
    ("GET //healthz HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    ("GET /%2e%2e/%00 HTTP/1.1\r\nHost: a\r\n\r\n", &[404]),
    // ---- for whom ----
    ("GET /healthz HTTP/1.1\r\n\r\n", &[400]),
    ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
    // ---- other protocols ----
    (HTTP_2_PREFACE, &[400]),
    ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{3}\u{3}", &[400]),
    ("SSH-2.0-OpenSSH_9.9\r\n", &[400]),
    ("\u{5}\u{1}\0", &[400]),
    ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &[400]),
    ("*1\r\n$4\r\nPING\r\n", &[400]),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", &[400]),
    ("<?xml version=\"1.0\"?>", &[400]),
];

/// As the first request of a connection, and as one that the HTTP thread reads itself.
#[test]
fn garbage_gets_a_400_or_a_harmless_answer_and_the_connection_ends() {
    let server = start(&Config::loopback());
    let mut wrong = Vec::new();
    for (bytes, expected) in TABLE {
        for (before, first) in [("", &[][..]), ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", &[200][..])] {
            let mut stream = connect(server.address());
            let sent = [before.as_bytes(), bytes.as_bytes()].concat();
            // The server may have seen enough before it has got all of it.
            let _ = stream.write_all(&sent);
            let _ = stream.shutdown(Shutdown::Write);
            let (text, time) = read_to_end(&mut stream);
            let is_silent = *bytes == HTTP_2_PREFACE && !before.is_empty();
            let expected = [first, if is_silent { &[] } else { *expected }].concat();
            if statuses(&text) != expected || time > Duration::from_secs(1) {
                let got = statuses(&text);
                wrong.push(format!("{bytes:?} behind {before:?}: {got:?} in {time:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), TABLE.len(), wrong.join("\n"));
    stop(server);
}
