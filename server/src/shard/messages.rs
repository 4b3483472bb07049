//! What a shard does with each message of a client.

use tickloom_protocol::client_message::{ClientMessage, Input, Publish, Write};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::{OpId, Tick};
use tickloom_protocol::server_message::{Accepted, Left, RefusalCode, ServerMessage, TimeSync};
use tickloom_protocol::time::Timestamp;

use crate::room::member::Intake;
use crate::room::write::{Refusal, WriteError};
use crate::room::{Room, RoomId};
use crate::session::{Phase, Seat, SessionId};
use crate::shard::Shard;
use crate::shard::resuming::End;

impl Shard {
    /// Handles one message. `unread` is what arrived behind it: it travels along when the
    /// message moves the session to another shard.
    pub(super) fn handle_message(
        &mut self,
        now: Timestamp,
        id: SessionId,
        payload: &[u8],
        unread: &[u8],
    ) {
        self.metrics.messages += 1;
        let message = ClientMessage::decode(payload);
        match message {
            Ok(ClientMessage::Join(join)) => self.handle_join(now, id, join, unread),
            Ok(ClientMessage::Leave) => self.handle_leave(now, id),
            Ok(ClientMessage::Input(input)) => self.handle_input(now, id, input),
            Ok(ClientMessage::Ping { client_us }) => self.handle_ping(now, id, client_us),
            Ok(ClientMessage::Resync { .. }) => {
                // Without a seat it crossed our Left: there is nothing to resync any more.
                if let Some((room, seat)) = self.room_of(id) {
                    room.handle_resync(seat.member);
                    let due = room.next_due();
                    self.rooms.schedule(seat.room, due);
                    self.metrics.resyncs += 1;
                }
            }
            Ok(ClientMessage::Write(write)) => self.handle_write(now, id, &write),
            Ok(ClientMessage::Publish(publish)) => self.handle_publish(now, id, &publish),
            Ok(ClientMessage::Interest(interest)) => {
                if let Some((room, seat)) = self.room_of(id) {
                    room.handle_interest(seat.member, interest);
                    let due = room.next_due();
                    self.rooms.schedule(seat.room, due);
                }
            }
            Ok(ClientMessage::Report(report)) => {
                if let Some((room, seat)) = self.room_of(id) {
                    room.handle_report(now, seat.member, report);
                    let due = room.next_due();
                    self.rooms.schedule(seat.room, due);
                }
            }
            Ok(ClientMessage::Configure(configure)) => self.handle_configure(now, id, &configure),
            Ok(ClientMessage::Kick(kick)) => self.handle_kick(now, id, &kick),
            Ok(ClientMessage::Unknown(_)) => self.metrics.messages_unknown += 1,
            Err(error) => self.close(now, id, &CloseReason::from(error)),
        }
    }

    pub(super) fn room_of(&mut self, id: SessionId) -> Option<(&mut Room, Seat)> {
        let seat = self.sessions.get(id)?.seat()?;
        Some((self.rooms.get_mut(seat.room)?, seat))
    }

    fn handle_input(&mut self, now: Timestamp, id: SessionId, input: Input<'_>) {
        // Without a seat it crossed our Left: there is nobody to act any more.
        let Some((room, seat)) = self.room_of(id) else { return };
        let layout = room.state().schema().input();
        if input.row.len() != layout.row_bytes() {
            self.close(now, id, &CloseReason::BAD_INPUT);
        } else if !layout.accepts(input.row) {
            let reason = "out-of-range: a field of the input row is outside its declared range";
            self.close(now, id, &CloseReason::new(CloseReason::OUT_OF_RANGE.code(), reason));
        } else {
            let intake = room.handle_input(seat.member, input.seq, input.seen, input.row);
            if room.is_asleep() {
                let due = room.next_due();
                self.rooms.schedule(seat.room, due);
            }
            self.metrics.inputs += 1;
            self.metrics.inputs_dropped += u64::from(intake != Intake::Waits);
        }
    }

    fn handle_write(&mut self, now: Timestamp, id: SessionId, write: &Write<'_>) {
        // Without a seat it crossed our Left: there is nothing to write to any more.
        let Some((room, seat)) = self.room_of(id) else { return };
        // Whatever becomes of it, the next state says that it was answered.
        room.handle_answer(seat.member, write.op);
        if let Err(refusal) = room.check_presence(now, seat.member, write) {
            return self.refuse_op(now, id, seat, write.op, &refusal);
        }
        match room.handle_write(seat.member, write) {
            Ok(accepted) => self.accepted(now, id, seat, accepted),
            Err(WriteError::Refused(refusal)) => self.refuse_op(now, id, seat, write.op, &refusal),
            Err(WriteError::Malformed(error)) => {
                let reason = format!("malformed: {error}");
                self.close(now, id, &CloseReason::new(CloseReason::MALFORMED.code(), &reason));
            }
        }
    }

    fn handle_publish(&mut self, now: Timestamp, id: SessionId, publish: &Publish<'_>) {
        let Some((room, seat)) = self.room_of(id) else { return };
        match room.handle_publish(seat.member, publish) {
            Ok(accepted) => self.accepted(now, id, seat, accepted),
            Err(refusal) => self.refuse_op(now, id, seat, publish.op, &refusal),
        }
    }

    /// What a member asked for takes effect.
    pub(super) fn accepted(
        &mut self,
        now: Timestamp,
        id: SessionId,
        seat: Seat,
        accepted: Accepted,
    ) {
        self.metrics.ops += 1;
        if accepted.op != OpId::NONE
            && let Some(session) = self.sessions.get_mut(id)
        {
            session.send(&mut self.encoder, &ServerMessage::Accepted(accepted));
        }
        self.reschedule(now, seat.room);
    }

    pub(super) fn refuse_op(
        &mut self,
        now: Timestamp,
        id: SessionId,
        seat: Seat,
        op: OpId,
        refusal: &Refusal,
    ) {
        self.metrics.refusals += 1;
        if let Some(session) = self.sessions.get_mut(id) {
            session.refuse_op(&mut self.encoder, op, refusal);
        }
        self.reschedule(now, seat.room);
    }

    /// A member did something to its room, which may want a tick now, or has failed on it.
    pub(super) fn reschedule(&mut self, now: Timestamp, id: RoomId) {
        self.send_away(now, id);
        let Some(room) = self.rooms.get_mut(id) else { return };
        if let Some(panicked) = room.panicked().cloned() {
            return self.fail_room(now, id, &panicked.into());
        }
        let due = room.next_due();
        self.rooms.schedule(id, due);
    }

    fn handle_ping(&mut self, now: Timestamp, id: SessionId, client_us: u64) {
        let (tick, epoch) = (Tick::ZERO, Timestamp::ZERO);
        let scale_q16 = TimeSync::REAL_TIME;
        let nobody = TimeSync { client_us, server: now, tick, epoch, scale_q16 };
        let sync = match self.room_of(id) {
            Some((room, _)) => TimeSync { client_us, ..room.time_sync(now) },
            None => nobody,
        };
        if let Some(session) = self.sessions.get_mut(id) {
            session.send(&mut self.encoder, &ServerMessage::TimeSync(sync));
        }
    }

    fn handle_leave(&mut self, now: Timestamp, id: SessionId) {
        if self.room_of(id).is_none() {
            return self.refuse(now, id, RefusalCode::NotJoined, "there is no seat to give back");
        }
        self.end_seat(now, id, End::ForGood);
        if let Some(session) = self.sessions.get_mut(id)
            && let Some(link) = session.take_link()
        {
            session.phase = Phase::Joining(link);
            session.send(&mut self.encoder, &ServerMessage::Left(Left::default()));
            self.set_deadline(id, now + self.config.patience.join);
        }
    }
}
