//! The HTTP head in front of every connection: a WebSocket upgrade (RFC 6455 section 4), a plain
//! HTTP request, or something to refuse with its proper status. Both ends, bytes in, bytes out.

mod client;
pub mod forwarded;
mod refusal;

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;

pub use client::{ClientKey, UpgradeError, Upgraded};
pub use refusal::{Refusal, http_response};

use crate::deflate::Agreement;
use crate::{SUBPROTOCOL, limits};

/// What the first byte of a TLS connection is, the type of a record with handshake messages. No
/// request head begins with it.
pub const TLS_HANDSHAKE_RECORD: u8 = 0x16;

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
    /// Whom it believes it speaks to: `Host`, as sent.
    pub host: Box<[u8]>,
    /// On whose behalf a browser asks: `Origin`, as sent. Others leave it out or invent it.
    pub origin: Option<Box<[u8]>>,
    /// What proxies said, and what the client said in their stead.
    pub forwarded: Forwarded,
    /// What the response agrees to about compression: the client's first offer that can be kept.
    /// An endpoint that does not compress takes it out.
    pub deflate: Option<Agreement>,
    accept: Box<str>,
}

/// The lines of each header in which proxies say whom they speak for, joined by commas in their
/// order (RFC 9110 section 5.3). Which to believe is for those who know their proxies; the readers
/// are in [`forwarded`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Forwarded {
    /// `Forwarded` (RFC 7239).
    pub forwarded: Box<[u8]>,
    /// `X-Forwarded-For`.
    pub x_forwarded_for: Box<[u8]>,
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
            Err(_) if bytes.first() == Some(&TLS_HANDSHAKE_RECORD) => return Err(Refusal::NO_TLS),
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
    let mut hosts = values(headers, "host");
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Refusal::NO_HOST) };
    if values(headers, "sec-websocket-version").ne([b"13".as_slice()]) {
        return Err(Refusal::VERSION);
    }
    let mut keys = values(headers, "sec-websocket-key");
    let (Some(key), None) = (keys.next(), keys.next()) else { return Err(Refusal::BAD_KEY) };
    if BASE64.decode(key).map_or(0, |bytes| bytes.len()) != 16 {
        return Err(Refusal::BAD_KEY);
    }
    // Its bytes would be taken for frames.
    let no_body = values(headers, "content-length").all(|length| length == b"0");
    if !no_body || values(headers, "transfer-encoding").next().is_some() {
        return Err(Refusal::BODY);
    }
    let subprotocol = if values(headers, "sec-websocket-protocol").next().is_none() {
        Offer::Nothing
    } else if tokens(headers, "sec-websocket-protocol").any(|t| t == SUBPROTOCOL.as_bytes()) {
        Offer::Tickloom
    } else {
        Offer::Unknown
    };
    Ok(Upgrade {
        target: target.into(),
        subprotocol,
        host: host.into(),
        // More than one, joined, is nobody's origin.
        origin: joined(headers, "origin"),
        forwarded: Forwarded {
            forwarded: joined(headers, "forwarded").unwrap_or_default(),
            x_forwarded_for: joined(headers, "x-forwarded-for").unwrap_or_default(),
        },
        deflate: Agreement::from_offers(values(headers, "sec-websocket-extensions")),
        accept: derive_accept_key(key).into(),
    })
}

impl Upgrade {
    /// The path without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        path_of(&self.target)
    }

    /// What stands behind the question mark; empty when there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The `101 Switching Protocols` response.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let protocol = match self.subprotocol {
            Offer::Tickloom => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"),
            Offer::Nothing | Offer::Unknown => String::new(),
        };
        let extensions = match &self.deflate {
            Some(agreement) => format!("Sec-WebSocket-Extensions: {}\r\n", agreement.answer()),
            None => String::new(),
        };
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n{protocol}{extensions}\r\n",
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

/// The path in a target that may be a whole URI (RFC 9112 section 3.2.2), as some proxies send it.
fn path_of(target: &str) -> &str {
    let before_query = target.split_once('?').map_or(target, |(path, _)| path);
    match before_query.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("/", |start| &rest[start..])
        }
        _ => before_query,
    }
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

/// All lines called `name` as one, with commas between them.
fn joined(headers: &[httparse::Header<'_>], name: &str) -> Option<Box<[u8]>> {
    let mut lines = values(headers, name);
    let first = lines.next()?;
    let mut joined = first.to_vec();
    for line in lines {
        joined.push(b',');
        joined.extend_from_slice(line);
    }
    Some(joined.into())
}

fn lists_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    tokens(headers, name).any(|t| t.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests;
