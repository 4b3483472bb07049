//! The HTTP head in front of every connection: a WebSocket upgrade (RFC 6455 section 4), a plain
//! HTTP request, or something to refuse with its proper status. Both ends, bytes in, bytes out.

mod client;
mod refusal;

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;

pub use client::{ClientKey, UpgradeError};
pub use refusal::{Refusal, http_response};

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
}
