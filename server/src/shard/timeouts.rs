//! What a shard does when time passes: deadlines of sessions, ticks of rooms.

use std::time::Duration;

use bytes::Bytes;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::handshake::Refusal;
use tickloom_protocol::recording::EndReason;
use tickloom_protocol::server_message::{LeaveReason, Left, ServerMessage};
use tickloom_protocol::time::Timestamp;

use crate::board::Activity;
use crate::metrics::Metrics;
use crate::room::failure::Failure;
use crate::room::member::Member;
use crate::room::{Fate, RoomId};
use crate::session::{Phase, Reads, SessionId};
use crate::shard::{Effect, Shard};
use crate::ticker::{CATCH_UP_STEPS_MAX, LATENESS_MAX};

impl Shard {
    /// A session's present phase has lasted as long as it may.
    pub(super) fn handle_deadline(&mut self, now: Timestamp, id: SessionId) {
        let patience = self.config.patience;
        let Some(session) = self.sessions.get_mut(id) else { return };
        let has_unsent = session.has_unsent();
        match &mut session.phase {
            Phase::Head(_) if session.tls.as_ref().is_some_and(|tls| tls.is_handshaking()) => {
                self.give_up_handshake(id);
            }
            Phase::Head(_) => {
                self.metrics.heads_refused += 1;
                self.answer(now, id, Refusal::TIMEOUT.response());
            }
            Phase::Joining(_) => self.close(now, id, &CloseReason::JOIN_TIMEOUT),
            Phase::Draining { .. } => {
                self.remove(id);
                self.effects.push_back(Effect::Close(id));
            }
            Phase::Echo(link) | Phase::Active(link, _) => {
                let is_stuck = has_unsent;
                let since = is_stuck.then(|| *session.stuck_since.get_or_insert(now));
                let lasts_for = |since: Option<Timestamp>| {
                    since.map_or(Duration::ZERO, |since| now.saturating_since(since))
                };
                if lasts_for(since) >= self.config.stall_max {
                    self.close(now, id, &CloseReason::SLOW_CONSUMER);
                } else if session.pinged {
                    self.close(now, id, &CloseReason::PING_TIMEOUT);
                } else if lasts_for(session.message_since) >= patience.message {
                    self.close(now, id, &CloseReason::MESSAGE_TIMEOUT);
                } else if now.saturating_since(session.heard_at) >= patience.ping {
                    let mut ping = Vec::new();
                    link.send_ping(&mut ping);
                    session.outbox.push(Bytes::from(ping));
                    session.pinged = true;
                    self.set_deadline(id, now + patience.pong);
                    self.settle(now, id);
                } else {
                    let next = session.heard_at + patience.ping;
                    let gives_up = since.map(|since| since + self.config.stall_max);
                    let ends = session.message_since.map(|since| since + patience.message);
                    let due = [gives_up, ends].into_iter().flatten().fold(next, Timestamp::min);
                    self.set_deadline(id, due);
                }
            }
        }
    }

    /// Notes when a message began that a read has left unfinished, and sees to it that its time
    /// runs out. Who has no seat has a deadline that does not move, and `/echo` is for measuring.
    pub(super) fn time_message(&mut self, now: Timestamp, id: SessionId, any_ended: bool) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Phase::Active(link, _) = &session.phase else {
            session.message_since = None;
            return;
        };
        if !link.is_within_message() {
            session.message_since = None;
            return;
        }
        let begun_before = session.message_since.filter(|_| !any_ended);
        let since = begun_before.unwrap_or(now);
        session.message_since = Some(since);
        let end = since + self.config.patience.message;
        if session.deadline > end {
            self.set_deadline(id, end);
        }
    }

    /// Ticks a room that is due, or drops one that nobody came back to.
    pub(super) fn run_room(&mut self, now: Timestamp, id: RoomId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        if room.is_over(now) {
            return self.end_room(now, id);
        }
        let activity = Activity::Ticking { room_slot: id.index };
        self.config.board.shard(self.config.index.0).set_activity(activity);
        let (slept, reads) = (room.is_asleep(), room.reads());
        if slept {
            room.wake(now);
        }
        for _ in 0..CATCH_UP_STEPS_MAX {
            if room.is_asleep() || room.next_due().is_none_or(|due| due > now) {
                break;
            }
            let report = room.tick(now, &mut self.broadcast, &mut self.sessions);
            self.metrics.ticks += 1;
            let step = Duration::from_micros(u64::from(room.clock().tick_us));
            self.metrics.ticks_overrun += u64::from(!step.is_zero() && report.lateness > step);
            Metrics::record(&mut self.metrics.tick_lateness_us, report.lateness);
            match report.fate {
                Fate::Continues => {}
                Fate::Ends => return self.end_room(now, id),
                Fate::Fails(failure) => return self.fail_room(now, id, &failure),
            }
        }
        let is_late = |due| now.saturating_since(due) > LATENESS_MAX;
        let has_ticks = room.clock().tick_us > 0 && !room.is_asleep();
        if has_ticks && room.next_due().is_some_and(is_late) {
            room.slip(now, &mut self.encoder, &mut self.sessions);
            self.metrics.slips += 1;
        }
        let is_paced = room.set_time_scale(self.overload.ladder().scale_q16());
        if is_paced || room.is_asleep() != slept {
            room.tell_time(now, &mut self.encoder, &mut self.sessions);
        }
        let next_due = room.next_due();
        self.rooms.schedule(id, next_due);
        self.set_reads_of_members(id, reads);
        self.send_away(now, id);
        self.hand_over_recorded(id);
    }

    /// A room that had its members read like this may want something else by now.
    fn set_reads_of_members(&mut self, id: RoomId, before: Reads) {
        let Some(room) = self.rooms.get(id) else { return };
        let reads = room.reads();
        if reads == before {
            return;
        }
        let sessions: Vec<SessionId> = room.members().values().map(Member::session).collect();
        for session in sessions {
            self.set_reads(session, reads);
        }
    }

    /// Ends a room: its members are told, keep their connections and may join another.
    fn end_room(&mut self, now: Timestamp, id: RoomId) {
        let Some(mut room) = self.rooms.remove(id) else { return };
        self.ledger.add(&room.key().room_type.clone(), room.take_spent());
        let reason = if room.is_over(now) { EndReason::Empty } else { EndReason::Closed };
        self.end_recording(id, &mut room, reason);
        for member in room.members().values() {
            let session_id = member.session();
            let Some(session) = self.sessions.get_mut(session_id) else { continue };
            if let Some(link) = session.take_link() {
                session.phase = Phase::Joining(link);
                let left = Left { reason: LeaveReason::RoomEnded, message: "" };
                session.send(&mut self.encoder, &ServerMessage::Left(left));
                self.set_deadline(session_id, now + self.config.patience.join);
                self.set_reads(session_id, Reads::OnArrival);
                self.settle(now, session_id);
            }
        }
    }

    /// Ends a room that cannot go on: its connections close, and may come back to a new one. When
    /// rooms of one type keep failing, that type gets no new rooms for a while.
    pub(super) fn fail_room(&mut self, now: Timestamp, id: RoomId, failure: &Failure) {
        let Some(mut room) = self.rooms.remove(id) else { return };
        self.ledger.add(&room.key().room_type.clone(), room.take_spent());
        let reason = match failure {
            Failure::Oversized(_) => EndReason::Oversized,
            Failure::Panicked(_) => EndReason::Panicked,
        };
        self.end_recording(id, &mut room, reason);
        self.metrics.rooms_failed += 1;
        if let Some(record) = room.failure_record() {
            self.quarantine.keep(record.clone());
            self.effects.push_back(Effect::Record(Box::new(record)));
        }
        tracing::error!(event = "room.failed", room = %room.key(), error = %failure, "room closed");
        for member in room.members().values() {
            self.close(now, member.session(), &CloseReason::ROOM_FAILED);
        }
        if self.quarantine.count_failure(now, &room.key().room_type) {
            let room_type = &*room.key().room_type;
            tracing::error!(event = "room_type.quarantined", room_type, "no new rooms of it");
        }
    }
}
