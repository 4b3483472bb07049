//! What becomes of a seat when its connection ends, and how its member comes back to it.
//!
//! A seat outlives a connection that breaks, by its room's grace, unless the client or the server
//! ended it for good. Whoever comes back shows the token that came with the seat. Anything wrong
//! with that makes it an ordinary newcomer, without a word about what was wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use tickloom_protocol::close::{Advice, CloseReason};
use tickloom_protocol::ids::MemberId;
use tickloom_protocol::server_message::{Joined, LeaveReason, Left, ServerMessage, TimeSync};
use tickloom_protocol::time::Timestamp;

use crate::addresses::{Counted, Held};
use crate::metrics::Shed;
use crate::room::member::Member;
use crate::room::{Room, RoomId};
use crate::session::{PendingJoin, Phase, Reads, Seat, Session, SessionId};
use crate::shard::Shard;
use crate::tokens::Binding;

/// When which seat is taken back, and its place among those of its address, if that is counted.
pub(super) type Absences = BTreeMap<(Timestamp, RoomId, MemberId), Option<Counted>>;

/// What the end of a connection means for its seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// Its client will not come back.
    ForGood,
    /// Its client may.
    Broken,
}

/// An address has as many seats kept for it as it may.
struct Full;

impl End {
    /// What a close frame of a client means. Browsers send 1001 for a page that is left and for one
    /// that is loaded again, and some of them nothing at all: who means to go says so with `Leave`
    /// or 1000.
    pub(super) fn by_client(reason: &CloseReason) -> Self {
        if reason.code() == CloseReason::NORMAL.code() { Self::ForGood } else { Self::Broken }
    }

    /// What closing a connection means. Whoever is told to stop has no use for a seat; but bytes
    /// that break WebSocket may be the work of something between the two ends.
    pub(super) fn by_server(reason: &CloseReason) -> Self {
        match reason.advice() {
            Advice::Stop if reason.code() != CloseReason::PROTOCOL.code() => Self::ForGood,
            Advice::Stop | Advice::Reconnect => Self::Broken,
        }
    }
}

impl Shard {
    /// A session's connection ends: its seat is kept for a while, or given back.
    pub(super) fn end_seat(&mut self, now: Timestamp, id: SessionId, end: End) {
        let Some(seat) = self.sessions.get(id).and_then(Session::seat) else { return };
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        let member = room.members().get(&seat.member).filter(|member| member.session() == id);
        let Some(is_spectator) = member.map(Member::is_spectator) else { return };
        self.set_reads(id, Reads::OnArrival);
        let grace = self.grace_of(seat.room);
        // Who only watches has nothing that would be lost.
        let is_over = end == End::ForGood || is_spectator;
        if is_over || grace.is_zero() || self.is_stopping() {
            return self.take_back(now, seat);
        }
        let Ok(counted) = self.count_absence(id) else {
            self.metrics.count_shed(Shed::AddressAbsences, 1);
            return self.take_back(now, seat);
        };
        let until = now + grace;
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        room.handle_drop(seat.member, until);
        self.absences.insert((until, seat.room, seat.member), counted);
        self.metrics.drops += 1;
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        let (due, panicked) = (room.next_due(), room.panicked().cloned());
        self.rooms.schedule(seat.room, due);
        if let Some(panicked) = panicked {
            self.fail_room(now, seat.room, &panicked.into());
        }
    }

    /// Counts a seat that is kept for its address, where connections of that are counted. Or
    /// somebody who connects and cuts would keep as many seats as there are in a grace.
    fn count_absence(&self, id: SessionId) -> Result<Option<Counted>, Full> {
        let session = self.sessions.get(id).filter(|session| session.counted.is_some());
        let limit = self.config.addresses.connections_max;
        let Some((session, max)) = session.zip(limit) else { return Ok(None) };
        let table = self.config.board.addresses();
        table.count(Held::Absence, session.client, max).map(Some).ok_or(Full)
    }

    /// Takes a seat back for good.
    pub(super) fn take_back(&mut self, now: Timestamp, seat: Seat) {
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        room.leave(seat.member);
        room.note_vacancy(now, self.config.room_linger);
        let due = room.next_due();
        let panicked = room.panicked().cloned();
        self.rooms.schedule(seat.room, due);
        self.hand_over_recorded(seat.room);
        // Without members it has no tick that would find out.
        if let Some(panicked) = panicked {
            self.fail_room(now, seat.room, &panicked.into());
        }
    }

    /// Takes the seats back whose members did not come in time.
    pub(super) fn end_absences(&mut self, now: Timestamp) {
        while let Some(first) = self.absences.first_entry()
            && first.key().0 <= now
        {
            let ((until, room, member), _) = first.remove_entry();
            if self.is_away_until(room, member, until) {
                self.metrics.graces_expired += 1;
                self.take_back(now, Seat { room, member });
            }
        }
    }

    /// Takes all seats back whose members are away.
    pub(super) fn end_all_absences(&mut self, now: Timestamp) {
        for (until, room, member) in std::mem::take(&mut self.absences).into_keys() {
            if self.is_away_until(room, member, until) {
                self.take_back(now, Seat { room, member });
            }
        }
    }

    /// Whether a note of somebody's absence is still true: its room may have ended, or its seat may
    /// have been taken away.
    pub(super) fn is_away_until(&self, room: RoomId, member: MemberId, until: Timestamp) -> bool {
        let member = self.rooms.get(room).and_then(|room| room.members().get(&member));
        member.is_some_and(|member| member.away_until() == Some(until))
    }

    /// Gives a session the seat that it says it had. Says whether it did; otherwise it is a newcomer
    /// like any other.
    pub(super) fn resume(&mut self, now: Timestamp, id: SessionId, join: &PendingJoin) -> bool {
        let Some(claim) = &join.resume else { return false };
        let Some(room_id) = self.rooms.find(&join.key) else { return false };
        let Some(room) = self.rooms.get(room_id) else { return false };
        let Some(member) = room.members().get(&claim.member) else { return false };
        let (away_until, before) = (member.away_until(), member.session());
        let binding = Self::binding(room_id, claim.member, member, &join.name);
        let is_late = away_until.is_some_and(|until| until <= now);
        let is_kept = !self.grace_of(room_id).is_zero();
        if is_late || !is_kept || !self.tokens.for_return(&binding).matches(&claim.token) {
            return false;
        }
        match away_until {
            Some(until) => drop(self.absences.remove(&(until, room_id, claim.member))),
            None => self.replace(now, before),
        }
        let Some(joined) = self.rooms.get_mut(room_id).and_then(|room| room.resume(id, claim))
        else {
            return false;
        };
        self.metrics.resumes += 1;
        self.metrics.resumes_recovered += u64::from(joined.recovered);
        self.sit(now, id, room_id, &join.name, joined);
        if let Some(panicked) = self.rooms.get(room_id).and_then(Room::panicked).cloned() {
            self.fail_room(now, room_id, &panicked.into());
        }
        true
    }

    /// Puts a session on the seat that its room has for it.
    pub(super) fn sit(
        &mut self,
        now: Timestamp,
        id: SessionId,
        room_id: RoomId,
        name: &str,
        mut joined: Joined,
    ) {
        let grace = self.grace_of(room_id);
        if !grace.is_zero()
            && !joined.spectator
            && let Some(member) =
                self.rooms.get(room_id).and_then(|r| r.members().get(&joined.member))
        {
            let binding = Self::binding(room_id, joined.member, member, name);
            joined.token = self.tokens.for_return(&binding).bytes()[..].into();
            joined.grace_ms = u32::try_from(grace.as_millis()).unwrap_or(u32::MAX);
        }
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        let (next_due, reads, time) = (room.next_due(), room.reads(), room.time_sync(now));
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(link) = session.take_link() else { return };
        if let Some(agreement) = link.deflate() {
            room.compress_for(joined.member, agreement.server);
        }
        self.rooms.schedule(room_id, next_due);
        let seat = Seat { room: room_id, member: joined.member };
        session.phase = Phase::Active(link, seat);
        session.refusals = 0;
        session.send(&mut self.encoder, &ServerMessage::Joined(joined));
        if time.scale_q16 != TimeSync::REAL_TIME {
            session.send(&mut self.encoder, &ServerMessage::TimeSync(time));
        }
        self.set_deadline(id, now + self.config.patience.ping);
        self.set_reads(id, reads);
    }

    /// The member of a session came back over another connection. This one has lost its seat before
    /// it is told, so that nothing it still does can be about it.
    fn replace(&mut self, now: Timestamp, id: SessionId) {
        self.metrics.takeovers += 1;
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(link) = session.take_link() else { return };
        session.phase = Phase::Joining(link);
        let message = "the seat was taken over from another connection";
        let left = Left { reason: LeaveReason::Replaced, message };
        session.send(&mut self.encoder, &ServerMessage::Left(left));
        self.set_reads(id, Reads::OnArrival);
        self.close(now, id, &CloseReason::REPLACED);
    }

    /// How long a room keeps the seat of a member whose connection broke.
    fn grace_of(&self, room: RoomId) -> Duration {
        let of_its_type = self.rooms.get(room).and_then(Room::grace);
        of_its_type.unwrap_or(self.config.room_grace)
    }

    fn binding<'a>(room: RoomId, id: MemberId, member: &Member, name: &'a str) -> Binding<'a> {
        Binding {
            room,
            member: id,
            listener: member.listener(),
            returns: member.returns(),
            subject: name.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_goodbye_is_gone_and_who_is_cut_off_is_away() {
        for (code, end) in [
            (1000, End::ForGood),
            (1001, End::Broken),
            (1002, End::Broken),
            (1005, End::Broken),
            (3000, End::Broken),
            (4000, End::Broken),
        ] {
            assert_eq!(End::by_client(&CloseReason::new(code, "")), end, "{code}");
        }
        for reason in CloseReason::ALL {
            let end = match reason.code() {
                1002 | 1011 | 1012 | 1013 | 4001 => End::Broken,
                _ => End::ForGood,
            };
            assert_eq!(End::by_server(reason), end, "{reason}");
        }
    }
}
