//! What a shard does with arriving bytes: a request head first, frames after it.

use std::net::SocketAddr;

use bytes::Bytes;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::deflate::{Compressors, Kind};
use tickloom_protocol::handshake::Head;
use tickloom_protocol::link::{Link, Received};
use tickloom_protocol::time::Timestamp;

use crate::metrics::Shed;
use crate::outbox::Outbox;
use crate::session::{Phase, Session, SessionId};
use crate::shard::Shard;
use crate::shard::resuming::End;

impl Shard {
    /// Reads the request head. Returns the bytes behind it when frames follow.
    pub(super) fn handle_head(
        &mut self,
        now: Timestamp,
        id: SessionId,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let session = self.sessions.get_mut(id)?;
        let Phase::Head(head) = &mut session.phase else { return None };
        head.extend_from_slice(bytes);
        let refusal = match Head::parse(head) {
            Ok(None) => return None,
            Ok(Some((Head::Http(_), _))) => {
                self.hand_over(id);
                return None;
            }
            Ok(Some((Head::Upgrade(mut upgrade), used))) => {
                let rest = head.split_off(used);
                upgrade.deflate = upgrade.deflate.filter(|_| self.config.compression.is_offered);
                match self.handle_upgrade(now, id, &upgrade, rest) {
                    Ok(rest) => return rest,
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        self.metrics.heads_refused += 1;
        self.answer(now, id, refusal.response());
        None
    }

    /// A session for a connection that nobody has listened to yet.
    pub(super) fn insert_new(&mut self, now: Timestamp, peer: SocketAddr) -> SessionId {
        let outbox = Outbox::new(self.config.outbox);
        self.insert(Session::new(now, peer, outbox, &self.config.patience))
    }

    /// Why nobody gets a WebSocket now, if that is so.
    pub(super) fn upgrade_shed(&self) -> Option<Shed> {
        if self.config.board.is_memory_full() {
            return Some(Shed::MemoryUpgrades);
        }
        if self.overload.is_over() {
            return Some(Shed::BusyUpgrades);
        }
        // The session that asks is one of them.
        (self.sessions.count() > self.config.sessions_max).then_some(Shed::Connections)
    }

    /// Queues a whole HTTP response, after which the connection ends.
    pub(super) fn answer(&mut self, now: Timestamp, id: SessionId, response: Vec<u8>) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.outbox.push(Bytes::from(response));
            session.phase = Phase::Draining { peer_done: false, shut_down: false };
            self.set_deadline(id, now + self.config.patience.drain);
        }
        self.settle(now, id);
    }

    pub(super) fn handle_frames(&mut self, now: Timestamp, id: SessionId, bytes: &[u8]) {
        let mut input = bytes;
        let mut output = std::mem::take(&mut self.scratch);
        let mut ahead = self.charge_bytes(now, id, bytes.len());
        let mut any_ended = false;
        while let Some(session) = self.sessions.get_mut(id)
            && ahead <= self.config.allowance.lead_max
        {
            let Some(link) = session.link_mut() else { break };
            output.clear();
            let received = link.poll_with(&mut input, &mut output, &mut self.inflater);
            let is_echo = matches!(session.phase, Phase::Echo(_));
            if is_echo && let (Ok(Some(message)), Some(link)) = (&received, session.link_mut()) {
                echo(link, message, self.broadcast.compressors(), &mut output);
            }
            if !is_echo && let Ok(Some(received)) = &received {
                ahead = ahead.max(Self::charge(session, now, &self.config.allowance, received));
            }
            session.outbox.push(Bytes::copy_from_slice(&output));
            any_ended |= matches!(received, Ok(Some(Received::Binary(_) | Received::Text(_))));
            match received {
                Ok(None) => break,
                Ok(Some(Received::Alive)) => {}
                Ok(Some(Received::Binary(_) | Received::Text(_))) if is_echo => {
                    self.metrics.messages += 1;
                }
                Ok(Some(Received::Binary(payload))) => {
                    self.handle_message(now, id, &payload, input);
                }
                Ok(Some(Received::Text(_))) => self.close(now, id, &CloseReason::TEXT),
                Ok(Some(Received::Closed(reason))) => {
                    self.end_seat(now, id, End::by_client(&reason));
                    self.close(now, id, &CloseReason::NORMAL);
                }
                Err(reason) => self.close(now, id, &reason),
            }
        }
        self.scratch = output;
        self.time_message(now, id, any_ended);
        self.pace(now, id, ahead);
    }
}

/// Appends a message of the other end to what it gets back.
fn echo(link: &mut Link, message: &Received, compressors: &mut Compressors, output: &mut Vec<u8>) {
    match message {
        Received::Binary(payload) => {
            link.send_deflated(Kind::Binary, payload.clone(), compressors, output);
        }
        Received::Text(text) => {
            link.send_deflated(Kind::Text, text.clone().into(), compressors, output);
        }
        Received::Alive | Received::Closed(_) => {}
    }
}
