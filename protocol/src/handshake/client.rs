//! The client's end of the handshake.

use data_encoding::BASE64;
use tungstenite::handshake::derive_accept_key;

use super::{lists_token, values};
use crate::deflate::{self, Agreement};
use crate::{SUBPROTOCOL, limits};

/// What a client's handshake is known by: a nonce of 16 random bytes in base64 (RFC 6455 section
/// 4.1), the subprotocol it offers, and whether messages may be compressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientKey {
    nonce: String,
    offer: Option<Box<str>>,
    deflate: Option<deflate::Offer>,
}

/// The server took the upgrade.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upgraded {
    /// Bytes of its answer. What follows are frames.
    pub head_bytes: usize,
    /// What was agreed on about compression.
    pub deflate: Option<Agreement>,
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
        let offer = subprotocol.map(Box::from);
        Self { nonce: BASE64.encode(&nonce), offer, deflate: None }
    }

    /// The same key, offering to compress messages.
    #[must_use]
    pub fn with_deflate(self, offer: deflate::Offer) -> Self {
        Self { deflate: Some(offer), ..self }
    }

    /// The request head that asks `host` for `target` as a WebSocket.
    #[must_use]
    pub fn request(&self, host: &str, target: &str) -> Vec<u8> {
        let offer = match &self.offer {
            Some(offer) => format!("Sec-WebSocket-Protocol: {offer}\r\n"),
            None => String::new(),
        };
        let extensions = match &self.deflate {
            Some(offer) => format!("Sec-WebSocket-Extensions: {}\r\n", offer.value()),
            None => String::new(),
        };
        format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\
             {offer}{extensions}\r\n",
            self.nonce
        )
        .into_bytes()
    }

    /// Reads the server's answer from the start of `bytes`: `Ok(None)` while it is incomplete.
    /// What makes it an upgrade is RFC 6455 section 4.1; an answer that names no subprotocol is
    /// taken as the offered one.
    ///
    /// # Errors
    /// The server answered, but not with the upgrade this key asked for.
    pub fn parse_response(&self, bytes: &[u8]) -> Result<Option<Upgraded>, UpgradeError> {
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
        let extensions = values(response.headers, "sec-websocket-extensions");
        let deflate = deflate::Offer::agreement(self.deflate.as_ref(), extensions)
            .map_err(|_| UpgradeError::WrongExtensions)?;
        Ok(Some(Upgraded { head_bytes: used, deflate }))
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
    /// The server chose an extension that was not offered, or parameters that do not answer the
    /// offer.
    #[error("the server chose extensions that were not offered")]
    WrongExtensions,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::{Head, Offer, Refusal, Upgrade};

    fn plain(head_bytes: usize) -> Upgraded {
        Upgraded { head_bytes, deflate: None }
    }

    #[test]
    fn both_ends_agree_on_the_handshake() {
        let key = ClientKey::new(*b"0123456789abcdef");
        let request = key.request("localhost", "/ws");
        let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&request) else {
            panic!("upgrade")
        };
        let response = upgrade.response();
        assert_eq!(key.parse_response(&response), Ok(Some(plain(response.len()))));
        assert_eq!(key.parse_response(&response[..20]), Ok(None));
        let other = ClientKey::new(*b"fedcba9876543210");
        assert_eq!(other.parse_response(&response), Err(UpgradeError::WrongAccept));
        let refused = Refusal::OVERLOADED.response();
        assert_eq!(key.parse_response(&refused), Err(UpgradeError::Status(503)));
    }

    #[test]
    fn both_ends_agree_on_compression_and_an_answer_out_of_nowhere_is_refused() {
        let key = ClientKey::new(*b"0123456789abcdef").with_deflate(deflate::Offer::default());
        let Ok(Some((Head::Upgrade(upgrade), _))) = Head::parse(&key.request("a", "/ws")) else {
            panic!("upgrade")
        };
        assert!(upgrade.deflate.is_some());
        let response = upgrade.response();
        let expected = Upgraded { head_bytes: response.len(), deflate: upgrade.deflate };
        assert_eq!(key.parse_response(&response), Ok(Some(expected)));
        let silent = ClientKey::new(*b"0123456789abcdef");
        assert_eq!(silent.parse_response(&response), Err(UpgradeError::WrongExtensions));
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
            let expected = if taken {
                Ok(Some(plain(response.len())))
            } else {
                Err(UpgradeError::WrongSubprotocol)
            };
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
            let expected = expected.map(|()| Some(plain(response.len())));
            assert_eq!(key.parse_response(response.as_bytes()), expected, "{name}");
        }
    }
}
