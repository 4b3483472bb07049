//! How simulated clients come to rooms, and what hosts among them do.

use std::collections::BTreeSet;

use tickloom_protocol::chunks::{Value, put_bytes, put_value};
use tickloom_protocol::client::Client;
use tickloom_protocol::client_message::{Configure, Join, JoinMode};
use tickloom_protocol::ids::{MemberId, OpId, RoomKey, TopicId};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::seats::{Reserve, SeatsWanted};
use tickloom_server::session::{Naming, PendingJoin};

use crate::outcome::Outcome;

const ROOM_TYPES: [&str; 7] = ["arena", "chaos", "chaos", "board", "feed", "meadow", "meadow"];

/// A seat that another program has kept for somebody.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Seat {
    pub room: RoomKey,
    pub token: Vec<u8>,
}

/// What a client asked for and was not answered, and what it may be told.
#[derive(Default)]
pub struct Visit {
    /// The seat whose token it showed.
    seat: Option<Seat>,
    watches: bool,
    /// It said no name.
    is_unnamed: bool,
    /// What it ordered as a host, or as if it were one.
    orders: BTreeSet<OpId>,
}

fn level(rng: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_bytes(&mut bytes, b"level");
    put_value(&mut bytes, &Value::Int(rng.i64(0..2)));
    bytes.push(0);
    bytes
}

impl Visit {
    /// Asks for a seat or a place, in one of all the ways there are.
    pub fn begin(&mut self, client: &mut Client, seats: &mut Vec<Seat>, rng: &mut fastrand::Rng) {
        *self = Self::default();
        let room_type = ROOM_TYPES[rng.usize(0..ROOM_TYPES.len())];
        let room = format!("room-{}", rng.u8(0..6));
        let name = if rng.u8(0..12) == 0 { "denied" } else { "sim" };
        let named = Join { room_type, room: &room, name, ..Join::default() };
        let unnamed = Join { room: "", ..named };
        let (metadata, filter) = (level(rng), level(rng));
        match rng.u8(0..24) {
            0..=2 => {
                self.watches = true;
                // There is most to see where one can look around.
                let room_type = if rng.bool() { "meadow" } else { room_type };
                client.join(Join { spectate: true, room_type, ..named });
            }
            3 | 4 => {
                self.is_unnamed = true;
                client.join(Join { metadata: &metadata, filter: &filter, ..unnamed });
            }
            5 => {
                self.is_unnamed = true;
                client.join(unnamed);
            }
            6 => {
                self.is_unnamed = true;
                client.join(Join { mode: JoinMode::Create, ..unnamed });
            }
            7 => client.join(Join { mode: JoinMode::Create, metadata: &metadata, ..named }),
            8 => client.join(Join { mode: JoinMode::Join, ..named }),
            9 => client.join(Join { password: "sesame", ..named }),
            10..=12 if !seats.is_empty() => {
                // Some are shown twice.
                let at = rng.usize(0..seats.len());
                let seat = if rng.bool() { seats.swap_remove(at) } else { seats[at].clone() };
                let (room_type, room) = (&*seat.room.room_type, &*seat.room.room);
                client.join(Join { room_type, room, name: "seated", seat: &seat.token, ..named });
                self.seat = Some(seat);
            }
            _ => client.join(named),
        }
    }

    /// It was let in.
    pub fn joined(&mut self, client: &Client, taken: &mut BTreeSet<Seat>, outcome: &mut Outcome) {
        let seat = client.seat().expect("just joined");
        assert_eq!(seat.is_spectator, self.watches, "it is what it asked for");
        outcome.watching += u64::from(self.watches);
        assert!(!self.is_unnamed || !seat.room.is_empty(), "it is told the name");
        outcome.chosen += u64::from(self.is_unnamed);
        if let Some(seat) = self.seat.take() {
            assert!(taken.insert(seat), "a token was good twice");
            outcome.seats_taken += 1;
        }
        self.orders.clear();
    }

    /// It was not.
    pub fn refused(&mut self, code: RefusalCode, outcome: &mut Outcome) {
        use RefusalCode::{BadSeat, RoomExists, RoomLocked, UnknownRoom, WrongPassword};
        let is_kept_out =
            matches!(code, RoomLocked | WrongPassword | UnknownRoom | RoomExists | BadSeat);
        outcome.kept_out += u64::from(is_kept_out);
        outcome.refused += u64::from(!is_kept_out);
        outcome.seats_lost += u64::from(code == BadSeat);
        assert!(code != BadSeat || self.seat.is_some(), "it showed no token");
    }

    /// Does what hosts do, or what spectators may not. Says whether it did.
    pub fn act(&mut self, client: &mut Client, rng: &mut fastrand::Rng) -> bool {
        let is_spectator = client.seat().is_some_and(|seat| seat.is_spectator);
        let order = match rng.u8(0..if is_spectator { 8 } else { 40 }) {
            // Few find somebody: most who order it are no hosts, and most ids are nobody's by now.
            0 | 3 | 4 => client.kick(MemberId(rng.u16(1..7)), "go away"),
            1 => {
                let flag =
                    |rng: &mut fastrand::Rng| [None, Some(true), Some(false)][rng.usize(0..3)];
                // Mostly open, or there would be nothing to see.
                let locked = if rng.u8(0..3) == 0 { flag(rng) } else { Some(false) };
                let password = [None, None, Some(""), Some("sesame")][rng.usize(0..4)];
                let configure =
                    Configure { locked, listed: flag(rng), password, ..Configure::default() };
                client.configure(configure)
            }
            2 if is_spectator => client.publish(TopicId(0), &[], b"psst"),
            _ => return is_spectator,
        };
        self.orders.insert(order);
        true
    }

    /// Whether an answer is to an order of its own.
    pub fn answered(
        &mut self,
        client: &Client,
        op: OpId,
        refusal: Option<RefusalCode>,
        outcome: &mut Outcome,
    ) -> bool {
        if !self.orders.remove(&op) {
            return false;
        }
        let is_spectator = client.seat().is_some_and(|seat| seat.is_spectator);
        match refusal {
            None => {
                assert!(!is_spectator, "a spectator has a say");
                outcome.ruled += 1;
            }
            Some(RefusalCode::NotAllowed | RefusalCode::Denied | RefusalCode::Invalid) => {
                outcome.overruled += 1;
            }
            Some(code) => panic!("{code:?} is no reason to refuse an order"),
        }
        true
    }
}

/// A program that keeps seats for its users: which room it wants, and for how many.
pub fn wanted(rng: &mut fastrand::Rng) -> SeatsWanted {
    let room_type = ROOM_TYPES[rng.usize(0..ROOM_TYPES.len())];
    let room = format!("room-{}", rng.u8(0..6));
    let key = RoomKey::parse(room_type, &room).expect("a key");
    let mut room = PendingJoin::new(key, "");
    if rng.u8(0..4) == 0 {
        (room.key.room, room.naming) = (Box::default(), Naming::Server { searches: 0 });
    }
    SeatsWanted { room, names: vec![Box::default(); rng.usize(1..4)] }
}

/// The question of that program, and what is done with its answer.
pub fn ask(wanted: SeatsWanted) -> (Reserve, impl FnOnce(&mut Vec<Seat>)) {
    let (reserve, mut answer) = Reserve::new(wanted);
    let take = move |seats: &mut Vec<Seat>| {
        if let Ok(kept) = answer.try_recv().expect("a shard answers at once") {
            let seat = |bytes: &[u8]| Seat { room: kept.room.clone(), token: bytes.to_vec() };
            seats.extend(kept.tokens.iter().map(|token| seat(token.bytes())));
        }
    };
    (reserve, take)
}
