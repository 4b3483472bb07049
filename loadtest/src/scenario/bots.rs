//! Who is who: which bot each client is, which room it goes to, and where it stands there.
//!
//! Everything is computed from a client's number, so threads and processes need not agree.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most kinds of bots in a scenario.
pub const BOTS_MAX: usize = 64;

/// The largest sum of weights: the deal of one round is a table of this many places.
pub const WEIGHTS_MAX: u32 = 10_000;

/// How long a client stays in each room of a lobby unless told otherwise.
pub const STAY_MS: (u32, u32) = (1_000, 5_000);

/// What a bot does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BotKind {
    /// It plays in an arena.
    Arena,
    /// It watches an arena.
    Spectator,
    /// It walks about in a world too large to send whole.
    World,
    /// It moves its cursor and edits what is shared.
    State,
    /// It talks now and then.
    Chat,
    /// It writes in bursts.
    Danmaku,
    /// The first of its room publishes, the others listen.
    Quotes,
    /// It joins and stays.
    Idle,
    /// It goes from room to room: makes one, finds one by a code, searches for one.
    Lobby,
}

impl BotKind {
    /// Every kind with its name.
    pub const ALL: [(&'static str, Self); 9] = [
        ("arena", Self::Arena),
        ("spectator", Self::Spectator),
        ("world", Self::World),
        ("state", Self::State),
        ("chat", Self::Chat),
        ("danmaku", Self::Danmaku),
        ("quotes", Self::Quotes),
        ("idle", Self::Idle),
        ("lobby", Self::Lobby),
    ];

    /// Whether it is in a game, which ticks at a rate and whose state has an age.
    #[must_use]
    pub const fn is_player(self) -> bool {
        matches!(self, Self::Arena | Self::Spectator | Self::World)
    }

    /// The topic it publishes on, when it does.
    #[must_use]
    pub const fn topic(self) -> Option<&'static str> {
        match self {
            Self::Chat => Some("chat"),
            Self::Danmaku => Some("danmaku"),
            Self::Quotes => Some("quotes"),
            Self::Arena
            | Self::Spectator
            | Self::World
            | Self::State
            | Self::Idle
            | Self::Lobby => None,
        }
    }

    /// The room type it goes to unless told otherwise.
    #[must_use]
    pub const fn room_type(self) -> &'static str {
        match self {
            Self::Arena | Self::Spectator => "arena",
            Self::World => "world",
            Self::State | Self::Idle | Self::Lobby => "state",
            Self::Chat | Self::Danmaku | Self::Quotes => "relay",
        }
    }

    /// What it sends per second unless told otherwise; what that counts is the kind's business.
    #[must_use]
    pub const fn rate_hz(self) -> u32 {
        match self {
            Self::Arena | Self::World | Self::State => 20,
            Self::Chat => 5,
            Self::Danmaku => 10,
            Self::Quotes => 50,
            Self::Spectator | Self::Idle | Self::Lobby => 0,
        }
    }

    /// The size of its rooms unless told otherwise.
    #[must_use]
    pub const fn room_size(self) -> u32 {
        match self {
            Self::Arena | Self::Spectator | Self::State | Self::Idle => 20,
            Self::Chat => 50,
            Self::Danmaku | Self::Quotes => 200,
            Self::World => 2_500,
            Self::Lobby => 4,
        }
    }
}

/// A kind of bot with its numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Bot {
    /// Its share of the clients, beside the other bots' weights; at least one.
    pub weight: u32,
    /// What it does.
    pub kind: BotKind,
    /// The room type it goes to.
    pub room_type: String,
    /// Clients of one room; seats of one in a lobby.
    pub room_size: u32,
    /// What it sends per second.
    pub rate_hz: u32,
    /// Bytes of a publication, from the smallest to the largest.
    pub payload_bytes: (u32, u32),
    /// Bytes it reads per second; `None` when it reads as fast as it can.
    pub read_rate: Option<u32>,
    /// What it sends along with `Join`.
    pub options: String,
    /// How long it stays in each room of a lobby, from the shortest to the longest.
    pub stay_ms: (u32, u32),
}

/// Where a client stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place<'a> {
    /// What it does.
    pub bot: &'a Bot,
    /// Its room's number, over all room types.
    pub room: u32,
    /// Its position in the room.
    pub position: u32,
    /// Clients of the room.
    pub members_count: u32,
    /// Bytes it reads per second; `None` when it reads as fast as it can.
    pub read_rate: Option<u32>,
}

/// Clients that read slowly, whatever they do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SlowReaders {
    /// Their share of all clients, in parts of a million.
    pub share_ppm: u64,
    /// Bytes each reads per second; at least one.
    pub bytes_per_s: u32,
}

/// All clients of a run, dealt out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cast {
    bots: Vec<Bot>,
    slow: Option<SlowReaders>,
    /// One round of the deal: the bot at each place. The next round is the same.
    deal: Vec<u8>,
    /// For each place, clients of the same room type before it in its round.
    before: Vec<u32>,
    pools: Vec<Pool>,
    /// The pool of each bot.
    pool_of: Vec<u8>,
}

/// The clients and rooms of one room type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Pool {
    /// Its places in one round.
    in_round: u32,
    clients_count: u32,
    rooms_count: u32,
    /// The number of its first room.
    first_room: u32,
}

impl Cast {
    /// Deals `clients_count` clients out to at least one bot. `rooms_count` replaces what follows
    /// from the sizes of rooms; it is for bots that all go to one room type.
    #[must_use]
    pub fn new(
        bots: Vec<Bot>,
        clients_count: u32,
        rooms_count: Option<u32>,
        slow: Option<SlowReaders>,
    ) -> Self {
        let deal = deal(&bots);
        let mut types: Vec<&str> = Vec::new();
        let mut pool_of = Vec::with_capacity(bots.len());
        for bot in &bots {
            let known = types.iter().position(|room_type| *room_type == bot.room_type);
            pool_of.push(known.unwrap_or(types.len()) as u8);
            if known.is_none() {
                types.push(&bot.room_type);
            }
        }
        let mut in_round = vec![0; types.len()];
        let mut before = Vec::with_capacity(deal.len());
        for bot in &deal {
            let pool = usize::from(pool_of[usize::from(*bot)]);
            before.push(in_round[pool]);
            in_round[pool] += 1;
        }
        let (rounds, rest) =
            (clients_count / deal.len() as u32, clients_count as usize % deal.len());
        let mut pools: Vec<Pool> = Vec::with_capacity(types.len());
        for (pool, in_round) in in_round.into_iter().enumerate() {
            let is_of_pool = |bot: &&u8| usize::from(pool_of[usize::from(**bot)]) == pool;
            let clients_count =
                rounds * in_round + deal[..rest].iter().filter(is_of_pool).count() as u32;
            let size = bots.iter().zip(&pool_of).filter(|(_, of)| usize::from(**of) == pool);
            let size = size.map(|(bot, _)| bot.room_size).max().unwrap_or(1).max(1);
            let rooms_count = rooms_count.unwrap_or(clients_count.div_ceil(size));
            let first_room = pools.last().map_or(0, |last| last.first_room + last.rooms_count);
            pools.push(Pool { in_round, clients_count, rooms_count, first_room });
        }
        Self { bots, slow, deal, before, pools, pool_of }
    }

    /// What client `index` is.
    #[must_use]
    pub fn place(&self, index: u32) -> Place<'_> {
        let round_len = self.deal.len() as u32;
        let at = (index % round_len) as usize;
        let bot = usize::from(self.deal[at]);
        let pool = &self.pools[usize::from(self.pool_of[bot])];
        let ordinal = u64::from(index / round_len * pool.in_round + self.before[at]);
        let (clients, rooms) = (u64::from(pool.clients_count), u64::from(pool.rooms_count));
        debug_assert!(ordinal < clients, "client {index} is the {ordinal}. of {clients}");
        // Rooms are filled one after the other, evenly.
        let room = ordinal * rooms / clients;
        let first_of = |room: u64| (room * clients).div_ceil(rooms);
        let bot = &self.bots[bot];
        let is_slow = self.slow.is_some_and(|slow| is_of_share(index, slow.share_ppm));
        Place {
            bot,
            room: pool.first_room + room as u32,
            position: (ordinal - first_of(room)) as u32,
            members_count: (first_of(room + 1) - first_of(room)) as u32,
            read_rate: bot.read_rate.or(self.slow.filter(|_| is_slow).map(|slow| slow.bytes_per_s)),
        }
    }

    /// All kinds of bots.
    #[must_use]
    pub fn bots(&self) -> &[Bot] {
        &self.bots
    }

    /// Rooms of all types.
    #[must_use]
    pub fn rooms_count(&self) -> u32 {
        self.pools.iter().map(|pool| pool.rooms_count).sum()
    }

    /// Whether some clients read slowly.
    #[must_use]
    pub fn has_slow_readers(&self) -> bool {
        self.slow.is_some() || self.bots.iter().any(|bot| bot.read_rate.is_some())
    }
}

/// One round of the deal, each bot as evenly spread as its weight allows: at every place the bot
/// that lags most behind its share.
fn deal(bots: &[Bot]) -> Vec<u8> {
    let sum: u32 = bots.iter().map(|bot| bot.weight).sum();
    let mut owed = vec![0_i64; bots.len()];
    (0..sum)
        .map(|_| {
            owed.iter_mut().zip(bots).for_each(|(owed, bot)| *owed += i64::from(bot.weight));
            let most = (0..bots.len()).rev().max_by_key(|bot| owed[*bot]).unwrap_or(0);
            owed[most] -= i64::from(sum);
            most as u8
        })
        .collect()
}

/// Whether client `index` belongs to an evenly spread share of all clients. The first one does
/// only when everybody does, so that rooms of one share alone are rare.
pub(crate) fn is_of_share(index: u32, share_ppm: u64) -> bool {
    let through = |index: u64| index * share_ppm / 1_000_000;
    through(u64::from(index) + 1) > through(u64::from(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(weight: u32, kind: BotKind, room_size: u32) -> Bot {
        Bot {
            weight,
            kind,
            room_type: kind.room_type().to_owned(),
            room_size,
            rate_hz: 1,
            payload_bytes: (20, 20),
            read_rate: None,
            options: String::new(),
            stay_ms: STAY_MS,
        }
    }

    fn mix() -> Vec<Bot> {
        vec![bot(6, BotKind::Arena, 10), bot(1, BotKind::Spectator, 10), bot(3, BotKind::Chat, 25)]
    }

    #[test]
    fn every_bot_gets_its_share_evenly_spread() {
        let cast = Cast::new(mix(), 1000, None, None);
        for start in [0, 10, 990] {
            let kinds: Vec<BotKind> =
                (start..start + 10).map(|index| cast.place(index).bot.kind).collect();
            let count = |kind| kinds.iter().filter(|other| **other == kind).count();
            assert_eq!((count(BotKind::Arena), count(BotKind::Chat)), (6, 3), "{kinds:?}");
            assert!(!kinds.windows(3).any(|three| three == [BotKind::Chat; 3]), "{kinds:?}");
        }
    }

    #[test]
    fn rooms_are_filled_evenly_and_positions_have_no_holes() {
        for (clients, rooms) in [(1000, None), (7, None), (13, None), (999, None)] {
            let cast = Cast::new(mix(), clients, rooms, None);
            let mut rooms = vec![Vec::new(); cast.rooms_count() as usize];
            for index in 0..clients {
                let place = cast.place(index);
                rooms[place.room as usize].push((place.position, place.members_count, place.bot));
            }
            for (room, members) in rooms.iter_mut().enumerate() {
                members.sort_by_key(|(position, ..)| *position);
                for (position, member) in members.iter().enumerate() {
                    let found = (member.0 as usize, member.1 as usize);
                    assert_eq!(found, (position, members.len()), "room {room} of {clients}");
                    assert_eq!(member.2.room_type, members[0].2.room_type, "room {room}");
                }
                assert!(!members.is_empty(), "room {room} of {clients}");
            }
        }
    }

    #[test]
    fn a_number_of_rooms_replaces_what_follows_from_their_size() {
        let cast = Cast::new(vec![bot(1, BotKind::Arena, 20)], 1000, Some(3), None);
        assert_eq!(cast.rooms_count(), 3);
        let rooms: Vec<u32> = [0, 333, 334, 999].map(|index| cast.place(index).room).to_vec();
        assert_eq!(rooms, [0, 0, 1, 2]);
    }

    #[test]
    fn a_share_is_exact_and_evenly_spread() {
        for (share_ppm, of_1000) in [(0, 0), (10_000, 10), (250_000, 250), (1_000_000, 1000)] {
            let members: Vec<u32> = (0..1000).filter(|i| is_of_share(*i, share_ppm)).collect();
            assert_eq!(members.len(), of_1000, "{share_ppm} ppm");
            let gaps = members.windows(2).map(|pair| pair[1] - pair[0]);
            let (least, most) = (gaps.clone().min(), gaps.max());
            assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1, "{share_ppm} ppm");
        }
        let slow = SlowReaders { share_ppm: 500_000, bytes_per_s: 4_000 };
        let cast = Cast::new(mix(), 10, None, Some(slow));
        let slow = (0..10).filter(|index| cast.place(*index).read_rate.is_some()).count();
        assert!(slow == 5 && cast.has_slow_readers());
    }
}
