//! What a shard does for sessions whose connections are encrypted: handshakes, a few per turn and
//! not too many per second, and the way from ciphertext to what a client said.
//!
//! ```text
//! hello ----> newcomers --at a pace--> first step ---.
//! more of it -> begun --------------> next step -----+--> a few per turn
//! ```
//!
//! The turn's share keeps a flood of handshakes from holding up a tick, and the pace keeps it from
//! taking whatever else there is of a core: a shard that is always busy is late as soon as anybody
//! else wants the core.

use std::collections::VecDeque;
use std::mem;

use tickloom_protocol::handshake::{Refusal, TLS_HANDSHAKE_RECORD};
use tickloom_protocol::time::Timestamp;

use crate::outbox::Outbox;
use crate::rate::Bucket;
use crate::session::{Phase, Session, SessionId};
use crate::shard::resuming::End;
use crate::shard::{Effect, Shard};
use crate::tls::{Agreed, Peer, Tls};

/// Steps of handshakes in one turn of the loop. A full handshake takes 0.1 ms of a core, nearly all
/// of it in one step: this many hold a room up for less than a millisecond, an eighth of the
/// shortest tick, and leave the shard 5,000 handshakes and more per second.
const HANDSHAKE_STEPS_PER_TURN_MAX: usize = 8;

/// What the encrypted sessions of a shard share.
#[derive(Default)]
pub(super) struct Encrypted {
    /// Sessions that have said something and wait for the first step, oldest first; ids of ended
    /// ones are passed over.
    newcomers: VecDeque<SessionId>,
    /// Sessions that wait for another step, likewise.
    begun: VecDeque<SessionId>,
    /// First steps that were taken.
    paced: Bucket,
    /// What one session's bytes said. Empty between calls.
    plaintext: Vec<u8>,
    /// Memory for the ciphertext of the session that is written to.
    pub(super) lent: Vec<u8>,
}

impl Encrypted {
    /// Checks what the field comments promise, about one session.
    ///
    /// # Panics
    /// When a promise is broken.
    pub(super) fn check_invariants(&self, id: SessionId, session: &Session) {
        assert!(self.plaintext.is_empty(), "what was said was heard");
        let Some(tls) = &session.tls else { return };
        tls.check_invariants();
        assert_eq!(
            tls.is_listed,
            self.newcomers.contains(&id) || self.begun.contains(&id),
            "{id:?} is listed when it says so"
        );
    }
}

impl Shard {
    /// Expects a handshake of a connection that was accepted, when connections are encrypted.
    pub(super) fn begin_handshake(&mut self, now: Timestamp, id: SessionId) {
        let Some(config) = &self.config.tls else { return };
        if let Some(session) = self.sessions.get_mut(id) {
            session.tls = Some(Box::new(Tls::new(config)));
            let handshake = self.config.patience.handshake;
            self.set_deadline(id, now + handshake);
        }
    }

    /// Ends a connection for which there is no place. With encryption it ends without an answer,
    /// which would cost a handshake.
    pub(super) fn turn_away(&mut self, now: Timestamp, id: SessionId) {
        let answer = match self.config.tls {
            None => Refusal::OVERLOADED.response(),
            Some(_) => Vec::new(),
        };
        self.answer(now, id, answer);
    }

    /// Bytes of an encrypted connection arrived.
    pub(super) fn handle_ciphertext(&mut self, now: Timestamp, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let (Some(tls), Some(first)) = (&mut session.tls, bytes.first()) else { return };
        if tls.is_silent() && *first != TLS_HANDSHAKE_RECORD {
            self.refuse_plaintext(now, id);
        } else if !tls.is_handshaking() {
            self.decrypt(now, id, bytes);
        } else if tls.wait(bytes) {
            self.step_handshake(now, id);
        } else if !mem::replace(&mut tls.is_listed, true) {
            let Encrypted { newcomers, begun, .. } = &mut self.encrypted;
            let queue = if tls.has_begun() { begun } else { newcomers };
            queue.push_back(id);
        }
    }

    /// Takes as many steps of waiting handshakes as one turn has time for.
    pub(super) fn continue_handshakes(&mut self, now: Timestamp) {
        let mut steps = 0;
        while steps < HANDSHAKE_STEPS_PER_TURN_MAX
            && let Some(id) = self.next_handshake(now)
        {
            let session = self.sessions.get_mut(id);
            if let Some(tls) = session.and_then(|session| session.tls.as_mut()) {
                tls.is_listed = false;
                self.step_handshake(now, id);
                steps += 1;
            }
        }
    }

    /// Whose step is next: who has begun is not kept waiting by those who have not.
    fn next_handshake(&mut self, now: Timestamp) -> Option<SessionId> {
        let Encrypted { newcomers, begun, paced, .. } = &mut self.encrypted;
        if let Some(id) = begun.pop_front() {
            return Some(id);
        }
        while newcomers.front().is_some_and(|id| self.sessions.get(*id).is_none()) {
            newcomers.pop_front();
        }
        let pace = self.config.handshakes_pace;
        let has_room = newcomers.is_empty() || pace.is_none_or(|pace| paced.take(now, pace));
        if has_room { newcomers.pop_front() } else { None }
    }

    /// When waiting handshakes have something to do: now, unless all of them are newcomers and the
    /// pace keeps them.
    pub(super) fn handshakes_due(&self) -> Option<Timestamp> {
        let Encrypted { newcomers, begun, paced, .. } = &self.encrypted;
        if !begun.is_empty() {
            return Some(Timestamp::ZERO);
        }
        let pace = self.config.handshakes_pace;
        let room_at = pace.map_or(Timestamp::ZERO, |pace| paced.room_at(pace));
        (!newcomers.is_empty()).then_some(room_at)
    }

    /// Connections that have said something and whose handshake has not begun.
    pub(super) fn handshakes_waiting(&self) -> usize {
        self.encrypted.newcomers.len()
    }

    /// A handshake took too long. Nobody is there who would understand a reason.
    pub(super) fn give_up_handshake(&mut self, id: SessionId) {
        self.metrics.handshakes_failed += 1;
        self.remove(id);
        self.effects.push_back(Effect::Close(id));
    }

    fn step_handshake(&mut self, now: Timestamp, id: SessionId) {
        let session = self.sessions.get_mut(id);
        if let Some(tls) = session.and_then(|session| session.tls.as_mut()) {
            let waiting = tls.take_waiting();
            self.decrypt(now, id, &waiting);
        }
    }

    /// Takes ciphertext in and does what it says.
    fn decrypt(&mut self, now: Timestamp, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(tls) = &mut session.tls else { return };
        let was_handshaking = tls.is_handshaking();
        let mut plaintext = mem::take(&mut self.encrypted.plaintext);
        let read = tls.read(bytes, &mut plaintext);
        let agreed = tls.agreed().filter(|_| was_handshaking && tls.is_open());
        if let Some(agreed) = agreed {
            self.handle_agreed(now, id, agreed);
        }
        if !plaintext.is_empty() {
            self.handle_plaintext(now, id, &plaintext);
            plaintext.clear();
        }
        self.encrypted.plaintext = plaintext;
        match read {
            Ok(Peer::MaySend) => self.settle(now, id),
            Ok(Peer::IsDone) => self.handle_close_notify(now, id),
            Err(error) => {
                self.metrics.handshakes_failed += u64::from(was_handshaking);
                tracing::debug!(event = "tls.broken", ?id, was_handshaking, %error);
                self.handle_nonsense(now, id);
            }
        }
    }

    /// Keys are agreed on: the request head may come.
    fn handle_agreed(&mut self, now: Timestamp, id: SessionId, agreed: Agreed) {
        match agreed {
            Agreed::Full => self.metrics.handshakes_full += 1,
            Agreed::Resumed => self.metrics.handshakes_resumed += 1,
        }
        let is_waited_for = |session: &Session| matches!(session.phase, Phase::Head(_));
        if self.sessions.get(id).is_some_and(is_waited_for) {
            let head = self.config.patience.head;
            self.set_deadline(id, now + head);
        }
    }

    /// The other end has said that nothing follows. It may still read what is queued.
    fn handle_close_notify(&mut self, now: Timestamp, id: SessionId) {
        self.begin_draining(now, id);
        self.handle_disconnect(now, id);
    }

    /// What arrived is no TLS that we speak, or was tampered with: the other end gets an alert, and
    /// nothing of what was queued.
    fn handle_nonsense(&mut self, now: Timestamp, id: SessionId) {
        self.begin_draining(now, id);
        if let Some(session) = self.sessions.get_mut(id) {
            session.outbox = Outbox::new(self.config.outbox);
        }
        self.settle(now, id);
    }

    fn begin_draining(&mut self, now: Timestamp, id: SessionId) {
        self.end_seat(now, id, End::Broken);
        let Some(session) = self.sessions.get_mut(id) else { return };
        if !matches!(session.phase, Phase::Draining { .. }) {
            session.phase = Phase::Draining { peer_done: false, shut_down: false };
            self.set_deadline(id, now + self.config.patience.drain);
        }
    }

    /// What arrived on a new connection is not encrypted. A request gets an answer that it
    /// understands.
    fn refuse_plaintext(&mut self, now: Timestamp, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.tls = None;
            self.metrics.heads_refused += 1;
            self.answer(now, id, Refusal::NEEDS_TLS.response());
        }
    }
}
