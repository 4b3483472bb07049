//! What a shard does for a room's host, and with members that a host or a room's logic sends away.

use tickloom_protocol::client_message::{Configure, Kick};
use tickloom_protocol::server_message::{LeaveReason, Left, ServerMessage};
use tickloom_protocol::time::Timestamp;

use crate::room::RoomId;
use crate::session::{Phase, Seat, SessionId};
use crate::shard::Shard;
use crate::shard::resuming::End;
use crate::tokens::TokenKind;

impl Shard {
    pub(super) fn handle_configure(
        &mut self,
        now: Timestamp,
        id: SessionId,
        configure: &Configure<'_>,
    ) {
        // Without a seat it crossed our Left: there is nothing to decide any more.
        let Some(seat) = self.sessions.get(id).and_then(|session| session.seat()) else { return };
        let Some(room) = self.rooms.get_mut(seat.room) else { return };
        let salt = self.tokens.next(TokenKind::Draw, room.key(), seat.member);
        match room.handle_configure(seat.member, configure, &salt) {
            Ok(accepted) => self.accepted(now, id, seat, accepted),
            Err(refusal) => self.refuse_op(now, id, seat, configure.op, &refusal),
        }
    }

    pub(super) fn handle_kick(&mut self, now: Timestamp, id: SessionId, kick: &Kick<'_>) {
        let Some((room, seat)) = self.room_of(id) else { return };
        match room.handle_kick(seat.member, kick) {
            Ok(accepted) => self.accepted(now, id, seat, accepted),
            Err(refusal) => self.refuse_op(now, id, seat, kick.op, &refusal),
        }
    }

    /// Takes the seats of those away whom a room's host or its logic has sent away: they are told,
    /// keep their connections and may join another room, or this one again if it lets them.
    pub(super) fn send_away(&mut self, now: Timestamp, room_id: RoomId) {
        while let Some(room) = self.rooms.get_mut(room_id)
            && let Some((member, message)) = room.admission_mut().next_sent_away()
        {
            let Some(seat) = room.members().get(&member) else { continue };
            let (session_id, away_until) = (seat.session(), seat.away_until());
            if let Some(until) = away_until {
                self.absences.remove(&(until, room_id, member));
                self.metrics.kicks += 1;
                self.take_back(now, Seat { room: room_id, member });
                continue;
            }
            self.end_seat(now, session_id, End::ForGood);
            if let Some(session) = self.sessions.get_mut(session_id)
                && let Some(link) = session.take_link()
            {
                session.phase = Phase::Joining(link);
                let left = Left { reason: LeaveReason::Kicked, message: &message };
                session.send(&mut self.encoder, &ServerMessage::Left(left));
                self.metrics.kicks += 1;
                self.set_deadline(session_id, now + self.config.patience.join);
                self.settle(now, session_id);
            }
        }
    }
}
