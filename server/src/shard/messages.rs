//! What a shard does with each message of a client.

use tickloom_protocol::client_message::{ClientMessage, Input, Join, Publish, Write};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::{OpId, RoomKey, Tick};
use tickloom_protocol::server_message::{RefusalCode, ServerMessage, TimeSync};
use tickloom_protocol::time::Timestamp;

use crate::mail::Mail;
use crate::room::{JoinRefusal, Room, RoomId};
use crate::session::{PendingJoin, Phase, REFUSALS_MAX, Seat, SessionId};
use crate::shard::{Arrivals, Effect, Shard};

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
        self.arrivals = match (&message, self.arrivals) {
            (Ok(ClientMessage::Input(_)), Arrivals::Nothing | Arrivals::InputsOnly) => {
                Arrivals::InputsOnly
            }
            (Ok(_) | Err(_), _) => Arrivals::Urgent,
        };
        match message {
            Ok(ClientMessage::Join(join)) => self.handle_join(now, id, join, unread),
            Ok(ClientMessage::Leave) => self.handle_leave(now, id),
            Ok(ClientMessage::Input(input)) => self.handle_input(now, id, input),
            Ok(ClientMessage::Ping { client_us }) => self.handle_ping(now, id, client_us),
            Ok(ClientMessage::Resync { .. }) => {
                // Without a seat it crossed our Left: there is nothing to resync any more.
                if let Some((room, seat)) = self.room_of(id) {
                    room.handle_resync(seat.member);
                    self.metrics.resyncs += 1;
                }
            }
            Ok(ClientMessage::Write(Write { op, .. })) => {
                self.refuse_op(id, op, RefusalCode::NotAllowed, "members write nothing here");
            }
            Ok(ClientMessage::Publish(Publish { op, .. })) => {
                self.refuse_op(id, op, RefusalCode::NotAllowed, "this room has no topics");
            }
            Ok(ClientMessage::Unknown(_)) => self.metrics.messages_unknown += 1,
            Err(error) => self.close(now, id, &CloseReason::from(error)),
        }
    }

    fn room_of(&mut self, id: SessionId) -> Option<(&mut Room, Seat)> {
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
            room.handle_input(seat.member, input.seq, input.row);
            self.metrics.inputs += 1;
        }
    }

    fn handle_ping(&mut self, now: Timestamp, id: SessionId, client_us: u64) {
        let nobody = TimeSync { client_us, server: now, tick: Tick::ZERO, epoch: Timestamp::ZERO };
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
        self.give_back_seat(now, id);
        if let Some(session) = self.sessions.get_mut(id)
            && let Some(link) = session.take_link()
        {
            session.phase = Phase::Joining(link);
            session.send(&mut self.encoder, &ServerMessage::Left);
            self.set_deadline(id, now + self.config.patience.join);
        }
    }

    fn handle_join(&mut self, now: Timestamp, id: SessionId, join: Join<'_>, unread: &[u8]) {
        if self.room_of(id).is_some() {
            let message = "leave the room first, or open another connection";
            return self.refuse(now, id, RefusalCode::AlreadyJoined, message);
        }
        let Some(key) = RoomKey::parse(join.room_type, join.room) else {
            let message = "a room's name is 1 to 64 bytes without control characters";
            return self.refuse(now, id, RefusalCode::BadRoomName, message);
        };
        if self.config.room_types.get(join.room_type).is_none() {
            let message = "this server has no such room type";
            return self.refuse(now, id, RefusalCode::UnknownRoomType, message);
        }
        let pending = PendingJoin { key, name: join.name.into(), options: join.options.into() };
        let owner = self.config.directory.shard_of(&pending.key);
        if owner == self.config.index {
            return self.seat(now, id, &pending);
        }
        // The session goes where its room lives, with everything it has.
        if let Some(mut session) = self.remove(id) {
            session.pending_join = Some(pending);
            session.unread = unread.to_vec();
            let mail = Mail::Adopt(Box::new(session));
            self.effects.push_back(Effect::Deliver { socket: id, to: owner, mail });
        }
    }

    /// Gives a session a seat in a room of this shard, making the room when it is not there.
    pub(super) fn seat(&mut self, now: Timestamp, id: SessionId, join: &PendingJoin) {
        let Some(room_id) = self.find_or_make_room(now, &join.key) else {
            let message = "the server has no place for another room, or rooms of this type fail";
            return self.refuse(now, id, RefusalCode::ServerFull, message);
        };
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        let was_empty = room.members().is_empty();
        match room.join(now, id, join) {
            Ok(joined) => {
                if was_empty {
                    let next_due = room.next_due();
                    self.rooms.schedule(room_id, next_due);
                }
                let Some(session) = self.sessions.get_mut(id) else { return };
                let Some(link) = session.take_link() else { return };
                let seat = Seat { room: room_id, member: joined.member };
                session.phase = Phase::Active(link, seat);
                session.refusals = 0;
                session.send(&mut self.encoder, &ServerMessage::Joined(joined));
                self.metrics.joins += 1;
                self.set_deadline(id, now + self.config.patience.ping);
            }
            Err(JoinRefusal { code, message }) => {
                let panicked = room.panicked().cloned();
                self.refuse(now, id, code, &message);
                if let Some(panicked) = panicked {
                    self.fail_room(now, room_id, &panicked.into());
                }
            }
        }
    }

    fn find_or_make_room(&mut self, now: Timestamp, key: &RoomKey) -> Option<RoomId> {
        if let Some(id) = self.rooms.find(key) {
            return Some(id);
        }
        let room_type = self.config.room_types.get(&key.room_type)?;
        let is_held = self.quarantine.holds(now, &key.room_type);
        if is_held || self.rooms.count() >= self.config.rooms_max {
            return None;
        }
        self.rooms_made += 1;
        let seed =
            self.config.seed.wrapping_add(self.rooms_made.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let room = Room::new(key.clone(), &**room_type, now, seed);
        Some(self.rooms.insert(room, now + self.config.room_linger))
    }

    fn refuse(&mut self, now: Timestamp, id: SessionId, code: RefusalCode, message: &str) {
        self.metrics.refusals += 1;
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.refuse(&mut self.encoder, code, message);
        if session.refusals > REFUSALS_MAX {
            self.close(now, id, &CloseReason::TOO_MANY_JOINS);
        }
    }

    fn refuse_op(&mut self, id: SessionId, op: OpId, code: RefusalCode, message: &str) {
        self.metrics.refusals += 1;
        if let Some(session) = self.sessions.get_mut(id) {
            session.refuse_op(&mut self.encoder, op, code, message);
        }
    }
}
