//! How a shard keeps seats in its rooms for those who will come with a token.

use tickloom_protocol::client_message::JoinMode;
use tickloom_protocol::ids::MemberId;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use crate::room::write::Refusal;
use crate::seats::{Reserve, SeatsAnswer, SeatsKept, SeatsWanted};
use crate::session::Naming;
use crate::shard::Shard;
use crate::tokens::{Token, TokenKind};

impl Shard {
    /// Answers a question for seats.
    pub(super) fn handle_reserve(&mut self, now: Timestamp, mut reserve: Reserve) {
        let answer = self.reserve(now, &mut reserve.wanted);
        reserve.answer(answer);
    }

    fn reserve(&mut self, now: Timestamp, wanted: &mut SeatsWanted) -> SeatsAnswer {
        if self.is_stopping() || self.config.board.is_memory_full() || self.overload.is_over() {
            let message = "the server takes nobody new for now, try again later";
            return Err(Refusal::new(RefusalCode::ServerFull, message));
        }
        if self.config.room_types.get(&wanted.room.key.room_type).is_none() {
            let message = "this server has no such room type";
            return Err(Refusal::new(RefusalCode::UnknownRoomType, message));
        }
        self.settle_room(now, wanted)?;
        let SeatsWanted { room: join, names } = wanted;
        let room_id = self.room_for(now, None, join)?;
        let tokens: Vec<Token> = names
            .iter()
            .map(|_| self.tokens.next(TokenKind::Seat, &join.key, MemberId::SERVER))
            .collect();
        let Some(room) = self.rooms.get_mut(room_id) else {
            return Err(Refusal::new(RefusalCode::UnknownRoom, "the room is gone"));
        };
        if let Some(panicked) = room.panicked().cloned() {
            self.fail_room(now, room_id, &panicked.into());
            return Err(Refusal::new(RefusalCode::Denied, "the room has failed"));
        }
        let names = names.iter().map(|name| &**name);
        room.reserve(now, tokens.iter().copied().zip(names))?;
        room.note_vacancy(now, self.config.room_linger);
        let due = room.next_due();
        self.rooms.schedule(room_id, due);
        self.metrics.seats_reserved += tokens.len() as u64;
        Ok(SeatsKept { room: join.key.clone(), tokens })
    }

    /// Decides which room seats are kept in, if that is not decided: the HTTP thread has chosen one
    /// from a listing, which may be old, or leaves it to this shard.
    fn settle_room(&mut self, now: Timestamp, wanted: &mut SeatsWanted) -> Result<(), Refusal> {
        let SeatsWanted { room: join, names } = wanted;
        let Naming::Server { .. } = join.naming else { return Ok(()) };
        if !join.key.room.is_empty() {
            let room = self.rooms.find(&join.key).and_then(|id| self.rooms.get_mut(id));
            if room.is_some_and(|room| room.suits(now, &join.filter, names.len())) {
                return Ok(());
            }
            let message = format!("{} does not suit any more", join.key);
            return Err(Refusal::new(RefusalCode::UnknownRoom, message));
        }
        let looks = join.mode == JoinMode::JoinOrCreate;
        let found = looks.then(|| self.find_here(now, join, names.len())).flatten();
        let key = found.or_else(|| self.draw_key(&join.key.room_type));
        join.key = key.ok_or_else(Self::no_code)?;
        Ok(())
    }
}
