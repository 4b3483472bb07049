//! Answers that are no upgrade: a status, and a body that says why.

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
    /// A TLS handshake where none is expected.
    NO_TLS = 400, "this port is not encrypted: use http:// or ws://";
    /// A request that is not encrypted where all must be.
    NEEDS_TLS = 400, "this port is encrypted: use https:// or wss://";
    /// An upgrade over HTTP/1.0.
    OLD_HTTP = 400, "a WebSocket upgrade needs HTTP/1.1";
    /// `Sec-WebSocket-Key` is missing, repeated or does not decode to 16 bytes.
    BAD_KEY = 400, "Sec-WebSocket-Key must be one header of 16 bytes in base64";
    /// An upgrade without `Host`, or with several.
    NO_HOST = 400, "one Host header is needed";
    /// Subprotocols were offered, ours was not among them.
    SUBPROTOCOL = 400, "offer the subprotocol tickloom.v1 or none";
    /// A page of somebody else's asks for its visitor.
    ORIGIN = 403, "pages of this origin may not connect here; websocket.origins lists those that may";
    /// A proxy's connection without the header that says whom it speaks for.
    PROXY_HEADER = 400, "proxies must begin with a PROXY protocol header of version 2 here";
    /// No such path.
    NOT_FOUND = 404, "nothing here; rooms are at /ws, health at /healthz";
    /// A path whose room nobody could have.
    BAD_ROOM = 404, "rooms are at /ws/<room type>/<room>, each of 1 to 64 bytes without control characters";
    /// A path whose room type is unknown.
    ROOM_TYPE = 404, "this server has no such room type";
    /// The name in a path's query is one that nobody could have.
    BAD_NAME = 404, "a member's name has at most 64 bytes of UTF-8";
    /// A WebSocket endpoint was asked with a plain request.
    NEEDS_UPGRADE = 426, "this path speaks WebSocket: send an Upgrade request";
    /// The method has no meaning on this path.
    METHOD = 405, "only GET and HEAD are answered here";
    /// The head did not arrive in time.
    TIMEOUT = 408, "the request head took too long";
    /// An upgrade that announces a body.
    BODY = 413, "a WebSocket upgrade has no body";
    /// `Sec-WebSocket-Version` is not 13.
    VERSION = 426, "only Sec-WebSocket-Version 13 is spoken here";
    /// The head is over its limits.
    TOO_LARGE = 431, "the request head exceeds 8 KiB or 64 lines";
    /// An address connects more often than it may.
    TOO_FAST = 429, "too many new connections from this address, try again later";
    /// An address has more connections than it may.
    TOO_MANY = 429, "too many connections from this address, close some first";
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
            429 | 503 => "Retry-After: 1\r\n",
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
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
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
