use super::*;

const GOOD: &str = "GET /ws?x=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn parse(head: &str) -> Result<Option<(Head, usize)>, Refusal> {
    Head::parse(head.as_bytes())
}

#[test]
fn the_example_of_rfc_6455_section_1_3_is_accepted_whole_and_byte_by_byte() {
    for end in 0..GOOD.len() {
        assert_eq!(parse(&GOOD[..end]), Ok(None), "{end} bytes");
    }
    let Ok(Some((Head::Upgrade(upgrade), used))) = parse(GOOD) else { panic!("not an upgrade") };
    assert_eq!((used, upgrade.path()), (GOOD.len(), "/ws"));
    let response = String::from_utf8(upgrade.response()).expect("ASCII");
    assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
    assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    assert!(!response.contains("Sec-WebSocket-Protocol"), "nothing was offered");
}

#[test]
fn heads_are_sorted_into_upgrades_requests_and_refusals() {
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65));
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(9000));
    let endless = "GET /".to_owned() + &"a".repeat(limits::HEAD_BYTES_MAX);
    let rows: &[(&str, String, Result<&str, Refusal>)] = &[
        ("plain", "GET /healthz HTTP/1.1\r\n\r\n".into(), Ok("http")),
        ("post", "POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\n".into(), Ok("http")),
        ("mixed case", GOOD.replace("Upgrade: websocket", "uPGRADE: WebSocket"), Ok("upgrade")),
        (
            "two Connection lines",
            GOOD.replace("Connection: Upgrade", "Connection: keep-alive\r\nConnection: upgrade"),
            Ok("upgrade"),
        ),
        ("token list", GOOD.replace(": Upgrade", ": keep-alive, Upgrade"), Ok("upgrade")),
        ("upgrade list", GOOD.replace(": websocket", ": h2c, websocket"), Ok("upgrade")),
        (
            "two Upgrade lines",
            GOOD.replace("Upgrade: websocket", "Upgrade: h2c\r\nUpgrade: websocket"),
            Ok("upgrade"),
        ),
        ("tight lines", GOOD.replace(": ", ":"), Ok("upgrade")),
        ("wide lines", GOOD.replace(": ", ":\t  "), Ok("upgrade")),
        ("bare line feeds", GOOD.replace("\r\n", "\n"), Ok("upgrade")),
        ("empty lines before", format!("\r\n\r\n{GOOD}"), Ok("upgrade")),
        ("whole URI", GOOD.replace("/ws", "http://a:80/ws"), Ok("upgrade")),
        ("folded line", GOOD.replace("Host: a", "Host:\r\n a"), Err(Refusal::NOT_HTTP)),
        ("space before a colon", GOOD.replace("Host:", "Host :"), Err(Refusal::NOT_HTTP)),
        ("not ASCII", GOOD.replace("Host: a", "Host: \u{e9}"), Ok("upgrade")),
        ("a NUL", GOOD.replace("Host: a", "Host: \0"), Err(Refusal::NOT_HTTP)),
        ("no body", GOOD.replace("Host", "Content-Length: 0\r\nHost"), Ok("upgrade")),
        ("a body", GOOD.replace("Host", "Content-Length: 5\r\nHost"), Err(Refusal::BODY)),
        ("chunks", GOOD.replace("Host", "Transfer-Encoding: chunked\r\nHost"), Err(Refusal::BODY)),
        ("two hosts", GOOD.replace("Host: a", "Host: a\r\nHost: b"), Err(Refusal::NO_HOST)),
        ("two versions", GOOD.replace(": 13", ": 13, 8"), Err(Refusal::VERSION)),
        (
            "two keys",
            GOOD.replace("Host", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost"),
            Err(Refusal::BAD_KEY),
        ),
        ("no Connection", GOOD.replace("Connection: Upgrade\r\n", ""), Err(Refusal::NEEDS_UPGRADE)),
        ("post upgrade", GOOD.replace("GET", "POST"), Err(Refusal::METHOD)),
        ("old http", GOOD.replace("HTTP/1.1", "HTTP/1.0"), Err(Refusal::OLD_HTTP)),
        ("no host", GOOD.replace("Host: a\r\n", ""), Err(Refusal::NO_HOST)),
        ("version 8", GOOD.replace(": 13", ": 8"), Err(Refusal::VERSION)),
        ("short key", GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), Err(Refusal::BAD_KEY)),
        ("no key", GOOD.replace("Sec-WebSocket-Key", "X-Key"), Err(Refusal::BAD_KEY)),
        ("too many lines", many, Err(Refusal::TOO_LARGE)),
        ("too long", long, Err(Refusal::TOO_LARGE)),
        ("endless", endless, Err(Refusal::TOO_LARGE)),
        ("TLS hello", "\u{16}\u{3}\u{1}".into(), Err(Refusal::NO_TLS)),
        ("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), Err(Refusal::NOT_HTTP)),
    ];
    for (name, head, expected) in rows {
        let kind = parse(head).map(|parsed| match parsed {
            Some((Head::Upgrade(_), _)) => "upgrade",
            Some((Head::Http(_), _)) => "http",
            None => "partial",
        });
        assert_eq!(&kind, expected, "{name}");
    }
}

#[test]
fn a_subprotocol_is_answered_only_when_ours_was_offered() {
    for (offer, expected) in [
        ("tickloom.v1", Offer::Tickloom),
        ("chat, tickloom.v1", Offer::Tickloom),
        ("chat", Offer::Unknown),
        ("chat,superchat", Offer::Unknown),
        ("chat\r\nSec-WebSocket-Protocol: superchat, tickloom.v1", Offer::Tickloom),
        ("chat\r\nSec-WebSocket-Protocol: superchat", Offer::Unknown),
        ("Tickloom.V1", Offer::Unknown),
        ("tickloom.v1.1", Offer::Unknown),
        ("", Offer::Unknown),
        ("\u{e9}, tickloom.v1", Offer::Tickloom),
    ] {
        let head = GOOD.replace("Host", &format!("Sec-WebSocket-Protocol: {offer}\r\nHost"));
        let Ok(Some((Head::Upgrade(upgrade), _))) = parse(&head) else { panic!("{offer}") };
        assert_eq!(upgrade.subprotocol, expected, "{offer}");
    }
}

fn upgrade(head: &str) -> Upgrade {
    match parse(head) {
        Ok(Some((Head::Upgrade(upgrade), _))) => upgrade,
        other => panic!("{head}: {other:?}"),
    }
}

#[test]
fn an_upgrade_says_where_it_goes_and_who_is_said_to_have_sent_it() {
    for (target, path, query) in [
        ("/ws", "/ws", ""),
        ("/ws?", "/ws", ""),
        ("/ws/a/b?name=x&y", "/ws/a/b", "name=x&y"),
        ("/ws?a?b", "/ws", "a?b"),
        ("/ws?url=http://b/", "/ws", "url=http://b/"),
        ("http://a:80/ws?x", "/ws", "x"),
        ("http://a", "/", ""),
        ("/a://b", "/a://b", ""),
    ] {
        let upgrade = upgrade(&GOOD.replace("/ws?x=1", target));
        assert_eq!((upgrade.path(), upgrade.query()), (path, query), "{target}");
    }
    let plain = upgrade(GOOD);
    assert_eq!((&*plain.host, plain.origin.as_deref()), (&b"a"[..], None));
    assert_eq!(plain.forwarded, Forwarded::default());
    let lines = "Origin: https://a\r\nX-Forwarded-For: 1.1.1.1, 2.2.2.2\r\nForwarded: for=3.3.3.3\r\n\
                 x-forwarded-for: 4.4.4.4\r\nHost";
    let proxied = upgrade(&GOOD.replace("Host", lines));
    assert_eq!(proxied.origin.as_deref(), Some(&b"https://a"[..]));
    assert_eq!(&*proxied.forwarded.x_forwarded_for, b"1.1.1.1, 2.2.2.2,4.4.4.4");
    assert_eq!(&*proxied.forwarded.forwarded, b"for=3.3.3.3");
    let twice = upgrade(&GOOD.replace("Host", "Origin: null\r\nOrigin: https://a\r\nHost"));
    assert_eq!(twice.origin.as_deref(), Some(&b"null,https://a"[..]), "no origin of anybody");
}

#[test]
fn refusals_are_responses_with_a_reason_and_what_their_status_needs() {
    for (refusal, status_line, header) in [
        (Refusal::NOT_HTTP, "400 Bad Request", None),
        (Refusal::OLD_HTTP, "400 Bad Request", None),
        (Refusal::BAD_KEY, "400 Bad Request", None),
        (Refusal::NO_HOST, "400 Bad Request", None),
        (Refusal::SUBPROTOCOL, "400 Bad Request", None),
        (Refusal::PROXY_HEADER, "400 Bad Request", None),
        (Refusal::ORIGIN, "403 Forbidden", None),
        (Refusal::NOT_FOUND, "404 Not Found", None),
        (Refusal::BAD_ROOM, "404 Not Found", None),
        (Refusal::ROOM_TYPE, "404 Not Found", None),
        (Refusal::BAD_NAME, "404 Not Found", None),
        (Refusal::METHOD, "405 Method Not Allowed", Some("Allow: GET, HEAD")),
        (Refusal::TIMEOUT, "408 Request Timeout", None),
        (Refusal::BODY, "413 Content Too Large", None),
        (Refusal::NEEDS_UPGRADE, "426 Upgrade Required", Some("Sec-WebSocket-Version: 13")),
        (Refusal::VERSION, "426 Upgrade Required", Some("Sec-WebSocket-Version: 13")),
        (Refusal::VERSION, "426 Upgrade Required", Some("Upgrade: websocket")),
        (Refusal::TOO_FAST, "429 Too Many Requests", Some("Retry-After: 1")),
        (Refusal::TOO_MANY, "429 Too Many Requests", Some("Retry-After: 1")),
        (Refusal::TOO_LARGE, "431 Request Header Fields Too Large", None),
        (Refusal::OVERLOADED, "503 Service Unavailable", Some("Retry-After: 1")),
    ] {
        let response = String::from_utf8(refusal.response()).expect("ASCII");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        let lines: Vec<&str> = head.lines().collect();
        assert_eq!(lines[0], format!("HTTP/1.1 {status_line}"));
        assert_eq!(body, format!("{}\n", refusal.reason));
        assert!(lines.contains(&&*format!("Content-Length: {}", body.len())), "{head}");
        assert!(lines.contains(&"Connection: close"), "{head}");
        assert!(header.is_none_or(|header| lines.contains(&header)), "{head}");
    }
}

#[test]
fn compression_is_answered_when_it_was_offered_and_the_endpoint_has_it() {
    let lines = "Sec-WebSocket-Extensions: x\r\nsec-websocket-extensions: permessage-deflate; \
                 server_max_window_bits=10\r\nHost";
    let Ok(Some((Head::Upgrade(mut upgrade), _))) = parse(&GOOD.replace("Host", lines)) else {
        panic!("an upgrade")
    };
    let answer = "\r\nSec-WebSocket-Extensions: permessage-deflate; \
                  client_no_context_takeover; server_max_window_bits=10\r\n";
    let response = |upgrade: &Upgrade| String::from_utf8(upgrade.response()).expect("ASCII");
    assert!(response(&upgrade).contains(answer), "{}", response(&upgrade));
    upgrade.deflate = None;
    assert!(!response(&upgrade).contains("Extensions"), "the endpoint does not compress");
    let Ok(Some((Head::Upgrade(plain), _))) = parse(GOOD) else { panic!("an upgrade") };
    assert_eq!(plain.deflate, None, "nothing was offered");
}
