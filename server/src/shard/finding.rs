//! Rooms for those who do not know a name: one that suits them, here or on another shard, or a new
//! one with a code for a name.
//!
//! ```text
//! rooms of this shard --suits--> join it here
//!   '-none--> listings of other shards --suits--> go there; stale by up to a second, so look again
//!               '-none, or looked often enough--> a new room here
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use tickloom_protocol::client_message::JoinMode;
use tickloom_protocol::ids::{MemberId, RoomKey};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use crate::listing::{self, Listing};
use crate::room::write::Refusal;
use crate::room_code;
use crate::session::{Naming, PendingJoin};
use crate::shard::Shard;
use crate::tokens::{Token, TokenKind};

/// How often somebody is sent to another shard whose listing has promised a room.
const SEARCHES_MAX: u8 = 3;

/// Codes drawn for one room. Of as many shards as a machine has cores, one in so many codes
/// belongs to this one, and hardly any is taken.
const CODES_DRAWN_MAX: usize = 16_384;

/// By room type: the last room here that suited somebody. The next one likely suits, too, and
/// rooms fill up one after the other.
#[derive(Debug, Default)]
pub(super) struct Cursors(BTreeMap<Box<str>, RoomKey>);

impl Shard {
    /// Chooses a room for somebody who named none. `None` when there is no code left for a new
    /// one, which takes more rooms than fit a machine.
    pub(super) fn choose_room(&mut self, now: Timestamp, join: &mut PendingJoin) -> Option<()> {
        let searches = match join.naming {
            Naming::Server { searches } => searches,
            Naming::Client | Naming::Code => 0,
        };
        let room_type = &*join.key.room_type;
        let found = match join.mode {
            JoinMode::Create => None,
            JoinMode::JoinOrCreate | JoinMode::Join => self.find_here(now, join, 1).or_else(|| {
                let looks = searches < SEARCHES_MAX;
                looks.then(|| self.find_elsewhere(join)).flatten()
            }),
        };
        match found {
            Some(key) => join.key = key,
            None => join.key = self.draw_key(room_type)?,
        }
        join.naming = Naming::Server { searches: searches + 1 };
        Some(())
    }

    /// A room of this shard with so many free seats.
    pub(super) fn find_here(
        &mut self,
        now: Timestamp,
        join: &PendingJoin,
        seats: usize,
    ) -> Option<RoomKey> {
        let room_type = &*join.key.room_type;
        let cursor = self.cursors.0.get(room_type);
        let ids: Vec<_> =
            self.rooms.of_type(room_type, cursor).take(listing::LOOKED_AT_MAX).collect();
        let mut last = None;
        for id in ids {
            let Some(room) = self.rooms.get_mut(id) else { continue };
            let suits = room.suits(now, &join.filter, seats);
            last = Some(room.key().clone());
            if suits {
                break;
            }
            last = None;
        }
        let key = last?;
        self.cursors.0.insert(room_type.into(), key.clone());
        Some(key)
    }

    /// A room of another shard.
    fn find_elsewhere(&self, join: &PendingJoin) -> Option<RoomKey> {
        let (own, shards) = (self.config.index.0, self.config.board.shards().iter());
        let others = shards.enumerate().filter(|(at, _)| *at != own);
        listing::find(others.map(|(_, shard)| shard.listing()), join, 1)
    }

    /// A code that no room has, for one that belongs to this shard: its maker need not move, and
    /// nobody else can take it meanwhile.
    pub(super) fn draw_key(&mut self, room_type: &str) -> Option<RoomKey> {
        let unnamed = RoomKey { room_type: room_type.into(), room: Box::default() };
        for _ in 0..CODES_DRAWN_MAX / (Token::BYTES / 4) {
            let drawn = self.tokens.next(TokenKind::Draw, &unnamed, MemberId::SERVER);
            for bits in drawn.bytes().as_chunks::<4>().0 {
                let room = room_code::of_bits(u32::from_le_bytes(*bits)).into();
                let key = RoomKey { room, ..unnamed.clone() };
                let is_ours = self.config.directory.shard_of(&key) == self.config.index;
                if is_ours && self.rooms.find(&key).is_none() {
                    return Some(key);
                }
            }
        }
        None
    }

    /// What somebody is told for whom there is no code left.
    pub(super) fn no_code() -> Refusal {
        Refusal::new(RefusalCode::ServerFull, "the server has no name left for another room")
    }

    /// Tells everybody which rooms there are, if that has changed. The edge calls it once a
    /// second; it walks over all rooms, and where they are as they were it allocates nothing.
    pub fn publish_listing(&mut self, now: Timestamp) {
        let (mut has_changed, mut count) = (false, 0);
        for room in self.rooms.iter_mut() {
            has_changed |= room.update_listed(now);
            count += usize::from(room.listed().is_some());
        }
        // Of a room that is gone nothing but the count tells.
        if has_changed || count != self.listed_count {
            let listed = self.rooms.iter().filter_map(|(_, room)| room.listed());
            let listing = Arc::new(Listing::new(listed.map(Arc::clone)));
            self.config.board.shard(self.config.index.0).publish_listing(listing);
            self.listed_count = count;
        }
    }
}
