//! What a shard decides about newcomers before they get in: whom a connection speaks for, whose
//! page asks, and which room a path names.

use bytes::Bytes;
use tickloom_protocol::handshake::{Offer, Refusal, Upgrade};
use tickloom_protocol::link::{End, Link};
use tickloom_protocol::time::Timestamp;

use crate::addresses::Held;
use crate::metrics::Shed;
use crate::proxies::ProxyProtocol;
use crate::proxy_header::ProxyHeader;
use crate::rate::Rate;
use crate::room_path;
use crate::session::{PendingJoin, Phase, SessionId};
use crate::shard::{Echo, Effect, Shard};

/// Lines about bad requests that go into the log: whoever sends them could fill a disk.
const REQUEST_LOG: Rate = Rate::new(1, 1);

/// Newcomers that are told why they may not come in.
const TOLD: Rate = Rate::new(200, 200);

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
                if let Err(refusal) = self.count_newcomer(now, id) {
                    return self.refuse_newcomer(now, id, refusal);
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

    /// Counts a connection for its address as soon as that is known: at once for those that come
    /// straight here, with the head for those behind a proxy. Proxies themselves are nobody's
    /// clients, and exempt addresses are not counted.
    pub(super) fn count_newcomer(&mut self, now: Timestamp, id: SessionId) -> Result<(), Refusal> {
        let limits = &self.config.addresses;
        // The last places are for many, not for whoever takes most.
        let is_nearly_full = self.sessions.count() > self.config.sessions_max / 10 * 9;
        let Some(session) = self.sessions.get_mut(id) else { return Ok(()) };
        let address = session.client;
        let is_known =
            session.proxy_header.is_none() && !self.config.proxies.trusted.contains(address);
        if session.is_admitted || !is_known || limits.exempt.contains(address) {
            return Ok(());
        }
        session.is_admitted = true;
        let table = self.config.board.addresses();
        if let Some(rate) = limits.handshakes
            && !table.take_handshake(now, address, rate)
        {
            self.metrics.count_shed(Shed::AddressHandshakes, 1);
            return Err(Refusal::TOO_FAST);
        }
        if let Some(rate) = self.config.handshakes
            && !self.handshakes.take(now, rate)
        {
            self.metrics.count_shed(Shed::Handshakes, 1);
            return Err(Refusal::OVERLOADED);
        }
        let Some(all) = limits.connections_max else { return Ok(()) };
        let max = if is_nearly_full { all.div_ceil(4) } else { all };
        session.counted = table.count(Held::Connection, address, max);
        if session.counted.is_none() {
            self.metrics.count_shed(Shed::AddressConnections, 1);
            return Err(Refusal::TOO_MANY);
        }
        Ok(())
    }

    /// Tells a newcomer why it may not come in, or, when there are too many to tell, drops it. An
    /// answer holds a descriptor until the other end has read it, and with encryption it would
    /// cost a handshake.
    pub(super) fn refuse_newcomer(&mut self, now: Timestamp, id: SessionId, refusal: Refusal) {
        self.metrics.heads_refused += 1;
        if self.config.tls.is_none() && self.told.take(now, TOLD) {
            return self.answer(now, id, refusal.response());
        }
        if self.remove(id).is_some() {
            self.effects.push_back(Effect::Close(id));
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
        self.count_newcomer(now, id)?;
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
        let link = Box::new(Link::with(End::Server, self.config.link, upgrade.deflate));
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
