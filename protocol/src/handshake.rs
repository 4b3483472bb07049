//! The HTTP head in front of every connection: a WebSocket upgrade (RFC 6455 section 4), a plain
//! HTTP request, or something to refuse with its proper status. Both ends, bytes in, bytes out.

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;

use crate::{SUBPROTOCOL, limits};

/// A complete request head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Head {
    /// A valid WebSocket upgrade; answer it with [`Upgrade::response`].
    Upgrade(Upgrade),
    /// Any other HTTP request.
    Http(HttpRequest),
}

/// What a client asked for when it asked for WebSocket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upgrade {
    /// Path and query, as sent.
    pub target: Box<str>,
    /// What the client offered in `Sec-WebSocket-Protocol`.
    pub subprotocol: Offer,
    accept: Box<str>,
}

/// The subprotocols a client offered, as far as they matter here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    /// No `Sec-WebSocket-Protocol` header at all.
    Nothing,
    /// [`SUBPROTOCOL`] was among the offers.
    Tickloom,
    /// Only others.
    Unknown,
}

/// A request that is not an upgrade.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpRequest {
    /// The method, such as `GET`.
    pub method: Box<str>,
    /// Path and query, as sent.
    pub target: Box<str>,
}

/// A head that is answered with an error status and a close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The HTTP status code.
    pub status: u16,
    /// One sentence for the body.
    pub reason: &'static str,
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $reason:literal;)*) => {
        impl Refusal { $($(#[$doc])* pub const $name: Self = Self { status: $status, reason: $reason };)* }
    };
}

refusals! {
    /// The bytes are not an HTTP/1 request head.
    NOT_HTTP = 400, "the bytes are not an HTTP/1.1 request head";
    /// An upgrade over HTTP/1.0.
    OLD_HTTP = 400, "a WebSocket upgrade needs HTTP/1.1";
    /// `Sec-WebSocket-Key` is missing, repeated or does not decode to 16 bytes.
    BAD_KEY = 400, "Sec-WebSocket-Key must be one header of 16 bytes in base64";
    /// An upgrade without `Host`.
    NO_HOST = 400, "the Host header is missing";
    /// Subprotocols were offered, ours was not among them.
    SUBPROTOCOL = 400, "offer the subprotocol tickloom.v1 or none";
    /// No such path.
    NOT_FOUND = 404, "nothing here; rooms are at /ws, health at /healthz";
    /// A WebSocket endpoint was asked with a plain request.
    NEEDS_UPGRADE = 426, "this path speaks WebSocket: send an Upgrade request";
    /// The method has no meaning on this path.
    METHOD = 405, "only GET and HEAD are answered here";
    /// The head did not arrive in time.
    TIMEOUT = 408, "the request head took too long";
    /// `Sec-WebSocket-Version` is not 13.
    VERSION = 426, "only Sec-WebSocket-Version 13 is spoken here";
    /// The head is over its limits.
    TOO_LARGE = 431, "the request head exceeds 8 KiB or 64 lines";
    /// The server is full or stopping.
    OVERLOADED = 503, "the server has no place for another connection, try again later";
}

impl Refusal {
    /// The whole response, after which the connection closes.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let extra = match self.status {
            405 => "Allow: GET, HEAD\r\n",
            426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            503 => "Retry-After: 1\r\n",
            _ => "",
        };
        http_response(self.status, extra, &format!("{}\n", self.reason))
    }
}

/// A `text/plain` response that closes the connection. `extra` is zero or more header lines, each
/// ended by CR LF.
#[must_use]
pub fn http_response(status: u16, extra: &str, body: &str) -> Vec<u8> {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Unknown",
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n{extra}\r\n{body}"
    )
    .into_bytes()
}

impl Head {
    /// Reads a request head from the start of `bytes`.
    ///
    /// `Ok(None)` means the head is not complete yet. With a head comes the number of bytes it
    /// took; what follows belongs to the connection.
    ///
    /// # Errors
    /// A [`Refusal`] when no further byte could make this a head to answer otherwise.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Refusal> {
        let mut lines = [httparse::EMPTY_HEADER; limits::HEAD_LINES_MAX];
        let mut request = httparse::Request::new(&mut lines);
        let used = match request.parse(bytes) {
            Ok(httparse::Status::Complete(used)) if used <= limits::HEAD_BYTES_MAX => used,
            Ok(httparse::Status::Partial) if bytes.len() < limits::HEAD_BYTES_MAX => {
                return Ok(None);
            }
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TOO_LARGE),
            Err(_) => return Err(Refusal::NOT_HTTP),
        };
        let method = request.method.unwrap_or_default();
        let target = request.path.unwrap_or_default();
        if !lists_token(request.headers, "upgrade", "websocket") {
            let head = HttpRequest { method: method.into(), target: target.into() };
            return Ok(Some((Self::Http(head), used)));
        }
        if method != "GET" {
            return Err(Refusal::METHOD);
        }
        let upgrade = parse_upgrade(target, request.version.unwrap_or(0), request.headers)?;
        Ok(Some((Self::Upgrade(upgrade), used)))
    }
}

fn parse_upgrade(
    target: &str,
    minor_version: u8,
    headers: &[httparse::Header<'_>],
) -> Result<Upgrade, Refusal> {
    if minor_version < 1 {
        return Err(Refusal::OLD_HTTP);
    }
    if !lists_token(headers, "connection", "upgrade") {
        return Err(Refusal::NEEDS_UPGRADE);
    }
    if values(headers, "host").next().is_none() {
        return Err(Refusal::NO_HOST);
    }
    if values(headers, "sec-websocket-version").ne([b"13".as_slice()]) {
        return Err(Refusal::VERSION);
    }
    let mut keys = values(headers, "sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::BAD_KEY) };
    if BASE64.decode(key).map_or(0, |bytes| bytes.len()) != 16 {
        return Err(Refusal::BAD_KEY);
    }
    let subprotocol = if values(headers, "sec-websocket-protocol").next().is_none() {
        Offer::Nothing
    } else if tokens(headers, "sec-websocket-protocol").any(|t| t == SUBPROTOCOL.as_bytes()) {
        Offer::Tickloom
    } else {
        Offer::Unknown
    };
    Ok(Upgrade { target: target.into(), subprotocol, accept: derive_accept_key(key).into() })
}

impl Upgrade {
    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        path_of(&self.target)
    }

    /// The `101 Switching Protocols` response.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let protocol = match self.subprotocol {
            Offer::Tickloom => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"),
            Offer::Nothing | Offer::Unknown => String::new(),
        };
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
            self.accept
        )
        .into_bytes()
    }
}

impl HttpRequest {
    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        path_of(&self.target)
    }
}

fn path_of(target: &str) -> &str {
    target.split_once('?').map_or(target, |(path, _)| path)
}

/// The values of every header line called `name`. Proxies repeat lines, so all of them count.
fn values<'h>(
    headers: &'h [httparse::Header<'_>],
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> {
    headers.iter().filter(move |h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.trim_ascii())
}

/// The comma-separated elements of every header line called `name`.
fn tokens<'h>(
    headers: &'h [httparse::Header<'_>],
    name: &'h str,
) -> impl Iterator<Item = &'h [u8]> {
    values(headers, name).flat_map(|v| v.split(|&b| b == b',')).map(<[u8]>::trim_ascii)
}

fn lists_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    tokens(headers, name).any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
}

// ---- the client's end --------------------------------------------------------------------------

/// What a client's handshake is known by: a nonce of 16 random bytes in base64 (RFC 6455 section
/// 4.1) and the subprotocol it offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientKey {
    nonce: String,
    offer: Option<Box<str>>,
}

impl ClientKey {
    /// A key from 16 random bytes, which offers [`SUBPROTOCOL`].
    #[must_use]
    pub fn new(nonce: [u8; 16]) -> Self {
        Self::offering(nonce, Some(SUBPROTOCOL))
    }

    /// A key for servers other than ours: it offers `subprotocol` or none at all.
    #[must_use]
    pub fn offering(nonce: [u8; 16], subprotocol: Option<&str>) -> Self {
        Self { nonce: BASE64.encode(&nonce), offer: subprotocol.map(Box::from) }
    }

    /// The request head that asks `host` for `target` as a WebSocket.
    #[must_use]
    pub fn request(&self, host: &str, target: &str) -> Vec<u8> {
        let offer = match &self.offer {
            Some(offer) => format!("Sec-WebSocket-Protocol: {offer}\r\n"),
            None => String::new(),
        };
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\
             {offer}\r\n",
            self.nonce
        )
        .into_bytes()
    }

    /// Reads the server's answer from the start of `bytes`: `Ok(None)` while it is incomplete,
    /// the number of bytes it took when the upgrade went through. What makes it an upgrade is
    /// RFC 6455 section 4.1; an answer that names no subprotocol is taken as the offered one.
    ///
    /// # Errors
    /// The server answered, but not with the upgrade this key asked for.
    pub fn parse_response(&self, bytes: &[u8]) -> Result<Option<usize>, UpgradeError> {
        let mut lines = [httparse::EMPTY_HEADER; limits::HEAD_LINES_MAX];
        let mut response = httparse::Response::new(&mut lines);
        let used = match response.parse(bytes) {
            Ok(httparse::Status::Complete(used)) => used,
            Ok(httparse::Status::Partial) if bytes.len() < limits::HEAD_BYTES_MAX => {
                return Ok(None);
            }
            Ok(httparse::Status::Partial) | Err(_) => return Err(UpgradeError::NotHttp),
        };
        match response.code {
            Some(101) => {}
            Some(status) => return Err(UpgradeError::Status(status)),
            None => return Err(UpgradeError::NotHttp),
        }
        if !lists_token(response.headers, "upgrade", "websocket")
            || !lists_token(response.headers, "connection", "upgrade")
        {
            return Err(UpgradeError::NotWebSocket);
        }
        let accept = derive_accept_key(self.nonce.as_bytes());
        if values(response.headers, "sec-websocket-accept").ne([accept.as_bytes()]) {
            return Err(UpgradeError::WrongAccept);
        }
        let mut subprotocols = values(response.headers, "sec-websocket-protocol");
        match (subprotocols.next(), subprotocols.next()) {
            (None, _) => {}
            (Some(chosen), None) if self.offer.as_deref().map(str::as_bytes) == Some(chosen) => {}
            (Some(_), _) => return Err(UpgradeError::WrongSubprotocol),
        }
        Ok(Some(used))
    }
}

/// Why a server's answer to an upgrade is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UpgradeError {
    /// Not an HTTP response at all.
    #[error("the server did not answer in HTTP")]
    NotHttp,
    /// A status other than 101.
    #[error("the server refused the upgrade with status {0}")]
    Status(u16),
    /// A 101 without `Upgrade: websocket` or without `Connection: Upgrade`.
    #[error("the server switched to something that is not WebSocket")]
    NotWebSocket,
    /// `Sec-WebSocket-Accept` does not fit the key.
    #[error("Sec-WebSocket-Accept does not answer our key")]
    WrongAccept,
    /// The server chose a subprotocol that was not offered, or several.
    #[error("the server chose a subprotocol that was not offered")]
    WrongSubprotocol,
}

#[cfg(test)]
mod tests {
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
        let Ok(Some((Head::Upgrade(upgrade), used))) = parse(GOOD) else {
            panic!("not an upgrade")
        };
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
                GOOD.replace(
                    "Connection: Upgrade",
                    "Connection: keep-alive\r\nConnection: upgrade",
                ),
                Ok("upgrade"),
            ),
            ("token list", GOOD.replace(": Upgrade", ": keep-alive, Upgrade"), Ok("upgrade")),
            (
                "no Connection",
                GOOD.replace("Connection: Upgrade\r\n", ""),
                Err(Refusal::NEEDS_UPGRADE),
            ),
            ("post upgrade", GOOD.replace("GET", "POST"), Err(Refusal::METHOD)),
            ("old http", GOOD.replace("HTTP/1.1", "HTTP/1.0"), Err(Refusal::OLD_HTTP)),
            ("no host", GOOD.replace("Host: a\r\n", ""), Err(Refusal::NO_HOST)),
            ("version 8", GOOD.replace(": 13", ": 8"), Err(Refusal::VERSION)),
            ("short key", GOOD.replace("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), Err(Refusal::BAD_KEY)),
            ("no key", GOOD.replace("Sec-WebSocket-Key", "X-Key"), Err(Refusal::BAD_KEY)),
            ("too many lines", many, Err(Refusal::TOO_LARGE)),
            ("too long", long, Err(Refusal::TOO_LARGE)),
            ("endless", endless, Err(Refusal::TOO_LARGE)),
            ("TLS hello", "\u{16}\u{3}\u{1}".into(), Err(Refusal::NOT_HTTP)),
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
        ] {
            let head = GOOD.replace("Host", &format!("Sec-WebSocket-Protocol: {offer}\r\nHost"));
            let Ok(Some((Head::Upgrade(upgrade), _))) = parse(&head) else { panic!("{offer}") };
            assert_eq!(upgrade.subprotocol, expected, "{offer}");
        }
    }

    #[test]
    fn both_ends_agree_on_the_handshake() {
        let key = ClientKey::new(*b"0123456789abcdef");
        let request = key.request("localhost", "/ws");
        let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&request) else {
            panic!("upgrade")
        };
        let response = upgrade.response();
        assert_eq!(key.parse_response(&response), Ok(Some(response.len())));
        assert_eq!(key.parse_response(&response[..20]), Ok(None));
        let other = ClientKey::new(*b"fedcba9876543210");
        assert_eq!(other.parse_response(&response), Err(UpgradeError::WrongAccept));
        let refused = Refusal::OVERLOADED.response();
        assert_eq!(key.parse_response(&refused), Err(UpgradeError::Status(503)));
    }

    #[test]
    fn a_client_takes_the_subprotocol_it_offered_and_no_other() {
        for (offer, chosen, taken) in [
            (Some("chat"), Some("chat"), true),
            (Some("chat"), Some("tickloom.v1"), false),
            (Some("chat"), None, true),
            (None, None, true),
            (None, Some("chat"), false),
        ] {
            let key = ClientKey::offering(*b"0123456789abcdef", offer);
            let request = String::from_utf8(key.request("a", "/ws")).expect("ASCII");
            assert_eq!(request.contains("Sec-WebSocket-Protocol"), offer.is_some(), "{request}");
            let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(request.as_bytes()) else {
                panic!("an upgrade")
            };
            let upgrade = Upgrade { subprotocol: Offer::Nothing, ..upgrade };
            let mut response = String::from_utf8(upgrade.response()).expect("ASCII");
            if let Some(chosen) = chosen {
                let line = format!("\r\nSec-WebSocket-Protocol: {chosen}\r\n\r\n");
                response = response.replace("\r\n\r\n", &line);
            }
            let expected =
                if taken { Ok(Some(response.len())) } else { Err(UpgradeError::WrongSubprotocol) };
            assert_eq!(key.parse_response(response.as_bytes()), expected, "{offer:?} {chosen:?}");
        }
    }

    #[test]
    fn an_answer_is_an_upgrade_only_by_rfc_6455_section_4_1() {
        let key = ClientKey::new(*b"0123456789abcdef");
        let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&key.request("a", "/ws")) else {
            panic!("upgrade")
        };
        let good = String::from_utf8(upgrade.response()).expect("ASCII");
        let (not_websocket, wrong_subprotocol) =
            (Err(UpgradeError::NotWebSocket), Err(UpgradeError::WrongSubprotocol));
        for (name, from, to, expected) in [
            ("as it is", "", "", Ok(())),
            ("mixed case", "Upgrade: websocket", "uPGRADE: WebSocket", Ok(())),
            ("token list", "Connection: Upgrade", "Connection: keep-alive, upgrade", Ok(())),
            ("no subprotocol", "Sec-WebSocket-Protocol: tickloom.v1\r\n", "", Ok(())),
            ("no Upgrade", "Upgrade: websocket\r\n", "", not_websocket),
            ("other Upgrade", "Upgrade: websocket", "Upgrade: h2c", not_websocket),
            ("no Connection", "Connection: Upgrade\r\n", "", not_websocket),
            ("other Connection", "Connection: Upgrade", "Connection: close", not_websocket),
            ("other subprotocol", "tickloom.v1", "chat", wrong_subprotocol),
            ("in another case", "tickloom.v1", "Tickloom.V1", wrong_subprotocol),
            (
                "two subprotocols",
                "Sec-WebSocket-Protocol: tickloom.v1",
                "Sec-WebSocket-Protocol: tickloom.v1\r\nSec-WebSocket-Protocol: chat",
                wrong_subprotocol,
            ),
        ] {
            let response = good.replacen(from, to, 1);
            let expected = expected.map(|()| Some(response.len()));
            assert_eq!(key.parse_response(response.as_bytes()), expected, "{name}");
        }
    }
}
