//! What a shard decides about newcomers before they get in: whom a connection speaks for, whose
//! page asks, and which room a path names.

use bytes::Bytes;
use tickloom_protocol::handshake::{Offer, Refusal, Upgrade};
use tickloom_protocol::link::{End, Link};
use tickloom_protocol::time::Timestamp;

use crate::proxies::ProxyProtocol;
use crate::proxy_header::ProxyHeader;
use crate::rate::Rate;
use crate::room_path;
use crate::session::{PendingJoin, Phase, SessionId};
use crate::shard::{Echo, Shard};

/// Lines about bad requests that go into the log: whoever sends them could fill a disk.
const REQUEST_LOG: Rate = Rate::new(1, 1);

/// Bytes of what a stranger sent that go into one line of the log.
const LOGGED_BYTES_MAX: usize = 256;

/// What is behind a path.
enum Place {
    /// A WebSocket without a seat.
    Lobby,
    /// A WebSocket with a seat in a room.
    Room(PendingJoin),
    /// Sends back what it gets.
    Echo,
}

impl Shard {
    /// Makes room for the PROXY protocol header that a connection begins with, if it does.
    pub(super) fn expect_proxy_header(&mut self, id: SessionId) {
        let proxies = &self.config.proxies;
        if proxies.protocol == ProxyProtocol::Required
            && let Some(session) = self.sessions.get_mut(id)
            && proxies.trusted.contains(session.peer.ip())
        {
            session.proxy_header = Some(Vec::new());
        }
    }

    /// Reads the PROXY protocol header, and hands on what follows it.
    pub(super) fn handle_proxy_header(&mut self, now: Timestamp, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(header) = &mut session.proxy_header else { return };
        header.extend_from_slice(bytes);
        match ProxyHeader::parse(header) {
            Ok(None) => {}
            Ok(Some(ProxyHeader { client, used })) => {
                let rest = header.split_off(used);
                session.proxy_header = None;
                if let Some(client) = client {
                    session.client = client.ip();
                }
                if !rest.is_empty() {
                    self.handle_bytes(now, id, &rest);
                }
            }
            Err(error) => {
                session.proxy_header = None;
                let proxy = session.peer;
                if self.request_log.take(now, REQUEST_LOG) {
                    tracing::warn!(event = "proxy.header", %proxy, %error, "a proxy was refused");
                }
                self.metrics.heads_refused += 1;
                self.answer(now, id, Refusal::PROXY_HEADER.response());
            }
        }
    }

    /// Lets an upgrade in, or says why not. `rest` is what came behind its head; when frames are
    /// to be read from it, it is returned.
    pub(super) fn handle_upgrade(
        &mut self,
        now: Timestamp,
        id: SessionId,
        upgrade: &Upgrade,
        rest: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let Some(session) = self.sessions.get_mut(id) else { return Ok(None) };
        session.client = self.config.proxies.client(session.client, &upgrade.forwarded);
        if let Some(kind) = self.upgrade_shed() {
            self.metrics.count_shed(kind, 1);
            return Err(Refusal::OVERLOADED);
        }
        if !self.config.origins.allows(upgrade.origin.as_deref(), &upgrade.host) {
            self.metrics.origins_refused += 1;
            self.log_origin(now, upgrade);
            return Err(Refusal::ORIGIN);
        }
        let place = self.place(upgrade)?;
        let Some(session) = self.sessions.get_mut(id) else { return Ok(None) };
        session.outbox.push(Bytes::from(upgrade.response()));
        let link = Box::new(Link::new(End::Server));
        let patience = self.config.patience;
        let (phase, lasts) = match place {
            Place::Echo => (Phase::Echo(link), patience.ping),
            Place::Lobby | Place::Room(_) => (Phase::Joining(link), patience.join),
        };
        session.phase = phase;
        self.metrics.upgrades += 1;
        self.set_deadline(id, now + lasts);
        if let Place::Room(join) = place {
            self.join(now, id, join, &rest);
        }
        // A session that left for its room's shard took the rest along.
        Ok(self.sessions.get(id).map(|_| rest))
    }

    /// What the path of an upgrade leads to.
    fn place(&self, upgrade: &Upgrade) -> Result<Place, Refusal> {
        let path = upgrade.path();
        if path == "/echo" && self.config.echo == Echo::Enabled {
            return Ok(Place::Echo);
        }
        let place = match (path, path.strip_prefix("/ws/")) {
            ("/ws", _) => Place::Lobby,
            (_, Some(names)) => Place::Room(room_path::parse(names, upgrade)?),
            _ => return Err(Refusal::NOT_FOUND),
        };
        if let Place::Room(join) = &place
            && self.config.room_types.get(&join.key.room_type).is_none()
        {
            return Err(Refusal::ROOM_TYPE);
        }
        if upgrade.subprotocol == Offer::Unknown {
            return Err(Refusal::SUBPROTOCOL);
        }
        Ok(place)
    }

    fn log_origin(&mut self, now: Timestamp, upgrade: &Upgrade) {
        if self.request_log.take(now, REQUEST_LOG) {
            let origin = loggable(upgrade.origin.as_deref().unwrap_or_default());
            let host = loggable(&upgrade.host);
            let hint = "see websocket.origins; a proxy must pass the Host it got";
            tracing::warn!(event = "origin.refused", origin, host, hint, "a page was refused");
        }
    }
}

/// What a stranger sent, fit for a log: bounded, and without anything that moves a cursor.
fn loggable(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(LOGGED_BYTES_MAX)].escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_send_is_logged_in_plain_letters_and_in_part() {
        assert_eq!(loggable(b"a\r\n\x1b[2J\xe2\x80\xae\""), "a\\r\\n\\x1b[2J\\xe2\\x80\\xae\\\"");
        assert_eq!(loggable(&[b'a'; 9_000]).len(), LOGGED_BYTES_MAX);
    }
}
