//! Reading nobody faster than it may send. A session that is ahead of its rates is not read until
//! they have caught up: what it sends waits in the kernel, whose window tells it to slow down, and
//! nothing is lost.

use std::time::Duration;

use tickloom_protocol::close::CloseReason;
use tickloom_protocol::link::Received;
use tickloom_protocol::time::Timestamp;

use crate::allowance::Allowance;
use crate::session::{Phase, Reads, Session, SessionId};
use crate::shard::{Effect, Shard};

impl Shard {
    /// Counts bytes that a session sent. What comes back on `/echo` is for measuring, and has no
    /// limit.
    pub(super) fn charge_bytes(&mut self, now: Timestamp, id: SessionId, bytes: usize) -> Duration {
        match self.sessions.get_mut(id) {
            Some(session) if !matches!(session.phase, Phase::Echo(_)) => {
                session.usage.charge_bytes(now, &self.config.allowance, bytes)
            }
            _ => Duration::ZERO,
        }
    }

    /// Counts something that a session sent. Returns how far it is ahead of its rates.
    pub(super) fn charge(
        session: &mut Session,
        now: Timestamp,
        allowance: &Allowance,
        received: &Received,
    ) -> Duration {
        match received {
            Received::Binary(_) | Received::Text(_) => session.usage.charge_message(now, allowance),
            Received::Alive => session.usage.charge_control(now, allowance),
            Received::Closed(_) => Duration::ZERO,
        }
    }

    /// Does what follows from being so far ahead: nothing, a pause, or the end.
    pub(super) fn pace(&mut self, now: Timestamp, id: SessionId, ahead: Duration) {
        if ahead.is_zero() {
            return;
        }
        if ahead > self.config.allowance.lead_max {
            self.metrics.rate_limited += 1;
            return self.close(now, id, &CloseReason::RATE_LIMITED);
        }
        let Some(session) = self.sessions.get_mut(id) else { return };
        // Who closes is heard out.
        if session.link_mut().is_none() {
            return;
        }
        let resume_at = now + ahead;
        match session.resume_at.replace(resume_at) {
            Some(earlier) => {
                self.pauses.remove(&(earlier, id));
            }
            None => {
                self.metrics.pauses += 1;
                self.effects.push_back(Effect::Read(id, Reads::Later));
            }
        }
        // While we do not listen, silence says nothing about the client.
        session.heard_at = resume_at;
        self.pauses.insert((resume_at, id));
    }

    /// Reads those again whose pause is over.
    pub(super) fn end_pauses(&mut self, now: Timestamp) {
        while let Some((resume_at, id)) = self.pauses.first().copied()
            && resume_at <= now
        {
            self.end_pause(id);
        }
    }

    /// Reads a session again, if it is paused.
    pub(super) fn end_pause(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if let Some(resume_at) = session.resume_at.take() {
            let reads = session.reads;
            self.pauses.remove(&(resume_at, id));
            self.effects.push_back(Effect::Read(id, reads));
        }
    }

    /// A session came from another shard: its pause goes on here.
    pub(super) fn adopt_pause(&mut self, id: SessionId) {
        let session = self.sessions.get(id);
        if let Some(resume_at) = session.and_then(|session| session.resume_at) {
            self.pauses.insert((resume_at, id));
            self.effects.push_back(Effect::Read(id, Reads::Later));
        }
    }
}
