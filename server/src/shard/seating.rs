//! How a session gets a seat: in a room of this shard, in a new one, or where the room lives.

use tickloom_protocol::client_message::{Join, JoinMode};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::MemberId;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use crate::mail::Mail;
use crate::metrics::Shed;
use crate::room::admission::Admission;
use crate::room::logic::Denial;
use crate::room::write::Refusal;
use crate::room::{Room, RoomId};
use crate::room_code;
use crate::session::{Naming, PendingJoin, REFUSALS_MAX, SessionId};
use crate::shard::{Effect, Shard};
use crate::tokens::TokenKind;

/// From one room's seed to the next room's of the same shard.
pub(crate) const ROOM_SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Shard {
    pub(super) fn handle_join(
        &mut self,
        now: Timestamp,
        id: SessionId,
        join: Join<'_>,
        unread: &[u8],
    ) {
        if self.room_of(id).is_some() {
            let message = "leave the room first, or open another connection";
            return self.refuse(now, id, RefusalCode::AlreadyJoined, message);
        }
        match PendingJoin::of(&join) {
            Ok(join) => self.join(now, id, join, unread),
            Err(Refusal { code, message, .. }) => self.refuse(now, id, code, &message),
        }
    }

    /// Gives a session without a seat one, here or where the room lives. `unread` travels along.
    pub(super) fn join(
        &mut self,
        now: Timestamp,
        id: SessionId,
        pending: PendingJoin,
        unread: &[u8],
    ) {
        if self.config.room_types.get(&pending.key.room_type).is_none() {
            let message = "this server has no such room type";
            return self.refuse(now, id, RefusalCode::UnknownRoomType, message);
        }
        if self.is_stopping() {
            return self.say_goodbye(now, id);
        }
        if self.config.board.is_memory_full() {
            self.metrics.count_shed(Shed::MemoryJoins, 1);
            let message = "the server is short of memory, try again later";
            return self.refuse(now, id, RefusalCode::ServerFull, message);
        }
        if self.overload.defers_joins() {
            self.metrics.count_shed(Shed::BusyJoins, 1);
            let message = "the server has more to do than time, try again later";
            return self.refuse(now, id, RefusalCode::ServerFull, message);
        }
        self.route(now, id, pending, unread);
    }

    /// Takes a join where its room lives, which it may have to find first. It may come from another
    /// shard, whose word about the room is old: then the room is looked for again.
    pub(super) fn route(
        &mut self,
        now: Timestamp,
        id: SessionId,
        mut pending: PendingJoin,
        unread: &[u8],
    ) {
        if !self.is_settled(now, &mut pending) && self.choose_room(now, &mut pending).is_none() {
            let Refusal { code, message, .. } = Self::no_code();
            return self.refuse(now, id, code, &message);
        }
        let owner = self.config.directory.shard_of(&pending.key);
        if owner == self.config.index {
            return self.seat(now, id, &pending);
        }
        // The session goes where its room lives, with everything it has.
        if let Some(mut session) = self.remove(id) {
            session.pending_join = Some(Box::new(pending));
            session.unread = unread.to_vec();
            let mail = Mail::Adopt(Box::new(session));
            self.effects.push_back(Effect::Deliver { socket: id, to: owner, mail });
        }
    }

    /// Whether it is decided which room a join is for. A code that is written like none there is
    /// becomes the one that is meant.
    fn is_settled(&mut self, now: Timestamp, pending: &mut PendingJoin) -> bool {
        let found = self.rooms.find(&pending.key);
        match pending.naming {
            Naming::Client => {
                let is_ours = self.config.directory.shard_of(&pending.key) == self.config.index;
                if is_ours
                    && found.is_none()
                    && pending.mode == JoinMode::Join
                    && let Some(code) = room_code::fold(&pending.key.room)
                {
                    pending.key.room = code.into();
                    pending.naming = Naming::Code;
                }
                true
            }
            Naming::Code => true,
            Naming::Server { .. } => {
                let room = found.and_then(|room_id| self.rooms.get_mut(room_id));
                room.is_some_and(|room| room.suits(now, &pending.filter, 1))
            }
        }
    }

    /// Gives a session a seat in a room of this shard, making the room when it is not there.
    pub(super) fn seat(&mut self, now: Timestamp, id: SessionId, join: &PendingJoin) {
        if self.resume(now, id, join) {
            return;
        }
        let room_id = match self.room_for(now, Some(id), join) {
            Ok(room_id) => room_id,
            Err(refusal) => return self.refuse(now, id, refusal.code, &refusal.message),
        };
        let Some(room) = self.rooms.get_mut(room_id) else { return };
        match room.join(now, id, join) {
            Ok(joined) => {
                self.metrics.joins += 1;
                self.sit(now, id, room_id, &join.name, joined);
                self.send_away(now, room_id);
            }
            Err(Refusal { code, message, .. }) => {
                let panicked = room.panicked().cloned();
                self.refuse(now, id, code, &message);
                if let Some(panicked) = panicked {
                    return self.fail_room(now, room_id, &panicked.into());
                }
                self.send_away(now, room_id);
            }
        }
    }

    /// The room of this shard that a join is for, made when it is not there and may be. `maker` is
    /// whom it is counted for.
    pub(super) fn room_for(
        &mut self,
        now: Timestamp,
        maker: Option<SessionId>,
        join: &PendingJoin,
    ) -> Result<RoomId, Refusal> {
        let key = &join.key;
        match (self.rooms.find(key), join.mode) {
            (Some(_), JoinMode::Create) => {
                let message = format!("there is a room {key} already");
                Err(Refusal::new(RefusalCode::RoomExists, message))
            }
            (Some(room_id), JoinMode::JoinOrCreate | JoinMode::Join) => Ok(room_id),
            // Seats are kept in rooms that are there.
            (None, _) if !join.seat.is_empty() && !join.spectates => Err(Admission::bad_seat()),
            (None, JoinMode::Join) => {
                let message = format!("there is no room {key}");
                Err(Refusal::new(RefusalCode::UnknownRoom, message))
            }
            (None, JoinMode::JoinOrCreate | JoinMode::Create) => self.make_room(now, maker, join),
        }
    }

    /// Makes the room that somebody wants to join.
    fn make_room(
        &mut self,
        now: Timestamp,
        maker: Option<SessionId>,
        join: &PendingJoin,
    ) -> Result<RoomId, Refusal> {
        let key = &join.key;
        let full = |message| Err(Refusal::new(RefusalCode::ServerFull, message));
        if self.rooms.count() >= self.config.rooms_max {
            self.metrics.count_shed(Shed::Rooms, 1);
            return full("the server has no place for another room");
        }
        if self.quarantine.holds(now, &key.room_type) {
            return full("rooms of this type fail, so there are no new ones for a while");
        }
        if let Some(id) = maker {
            self.count_room_of(now, id)?;
        }
        let Some(room_type) = self.config.room_types.get(&key.room_type) else {
            return full("this server has no such room type");
        };
        self.rooms_made += 1;
        let seed = self.config.seed.wrapping_add(self.rooms_made.wrapping_mul(ROOM_SEED_STEP));
        let room = Room::new(key.clone(), &**room_type, &join.options, now, seed);
        let mut room =
            room.map_err(|Denial { message }| Refusal::new(RefusalCode::BadOptions, message))?;
        room.set_stopwatch(self.stopwatch);
        self.found(&mut room, join);
        room.note_vacancy(now, self.config.room_linger);
        let due = room.next_due();
        let room_id = self.rooms.insert(room, now);
        self.rooms.schedule(room_id, due);
        self.begin_recording(now, room_id, &join.options);
        Ok(room_id)
    }

    /// What the first joiner of a room says of it.
    fn found(&mut self, room: &mut Room, join: &PendingJoin) {
        let admission = room.admission_mut();
        if !join.password.is_empty() {
            let salt = self.tokens.next(TokenKind::Draw, &join.key, MemberId::SERVER);
            admission.set_password(&join.password, &salt);
        }
        if !join.metadata.is_empty() {
            admission.set_metadata(join.metadata.clone());
        }
        if let Naming::Server { .. } = join.naming {
            // Who looked for company wants to be found; who asked for a code gives it to whom they
            // like.
            admission.set_listed(join.mode == JoinMode::JoinOrCreate);
        }
    }

    /// Counts a new room for the connection that wants it and for its address.
    fn count_room_of(&mut self, now: Timestamp, id: SessionId) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get_mut(id) else { return Ok(()) };
        if self.config.allowance.rooms_max.is_some_and(|max| session.usage.rooms >= max) {
            self.metrics.count_shed(Shed::RoomMakers, 1);
            let message = "this connection has made as many rooms as it may";
            return Err(Refusal::new(RefusalCode::Denied, message));
        }
        let (limits, table) = (&self.config.addresses, self.config.board.addresses());
        let address = session.client;
        if let Some(rate) = limits.rooms
            && !limits.exempt.contains(address)
            && !table.take_room(now, address, rate)
        {
            self.metrics.count_shed(Shed::AddressRooms, 1);
            let message = "too many rooms were made from this address, try again later";
            return Err(Refusal::new(RefusalCode::ServerFull, message));
        }
        session.usage.rooms += 1;
        Ok(())
    }

    pub(super) fn refuse(
        &mut self,
        now: Timestamp,
        id: SessionId,
        code: RefusalCode,
        message: &str,
    ) {
        self.metrics.refusals += 1;
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.refuse(&mut self.encoder, code, message);
        if session.refusals > REFUSALS_MAX {
            // Who asked for what may be free later is to come back, and not to stop.
            let is_full = matches!(code, RefusalCode::RoomFull | RefusalCode::ServerFull);
            let reason =
                if is_full { CloseReason::OVERLOADED } else { CloseReason::TOO_MANY_JOINS };
            self.close(now, id, &reason);
        }
    }
}
