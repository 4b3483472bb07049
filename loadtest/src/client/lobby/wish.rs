//! What a client of a lobby wants next, and how it is asked for.

use std::time::Duration;

use fastrand::Rng;
use tickloom_protocol::chunks::{Value, put_bytes, put_value};
use tickloom_protocol::client::Client as ProtocolClient;
use tickloom_protocol::client_message::{Join, JoinMode};

use crate::client::Setup;
use crate::client::noticeboard::Noticeboard;
use crate::scenario::bots::Bot;
use crate::tally::Counters;
use crate::workload::SPREAD;

/// What rooms for company say of themselves, and those who search look for.
const MODES: [&str; 4] = ["duel", "race", "build", "quiz"];

/// What is never a room's password.
const WRONG_PASSWORD: &str = "swordfish";

/// One in so many rooms that are made on request has a password.
const PRIVATE_EVERY: u8 = 3;

/// One in so many who know the password of a room mistypes it.
const MISTYPED_EVERY: u8 = 3;

/// One in so many hosts locks its room for a while.
const LOCKS_EVERY: u8 = 2;

/// How long a client looks around before it asks for the next room.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));

/// The rooms that a client of a room type without code describes: small ones that tick.
const TICK_RATE_HZ: u32 = 10;

/// What a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Wish {
    /// A room of its own, with a code to give away.
    Create {
        /// Empty for a room that is open.
        password: Box<str>,
    },
    /// The room of a code.
    Code {
        /// The code.
        code: Box<str>,
        /// How it is typed.
        typed: Box<str>,
        /// The password that is typed.
        password: Box<str>,
        /// Whether that is the room's.
        opens: bool,
    },
    /// A room of those who want the same, or else a new one.
    Company {
        /// Which of [`MODES`].
        mode: u8,
    },
}

/// Those who may meet in rooms that are found by a search: the clients of one thread of a run, who
/// know of each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Party(i64);

/// How long a client stays in rooms, and between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Pace {
    stay: (Duration, Duration),
}

impl Wish {
    /// Anything: a third each.
    pub(super) fn draw(board: &Noticeboard, rng: &mut Rng) -> Self {
        match rng.u8(..3) {
            0 => Self::create(rng),
            // Who knows of no room makes one.
            1 => Self::code(board, rng).unwrap_or_else(|| Self::create(rng)),
            _ => Self::company(rng),
        }
    }

    /// Somebody to be with.
    pub(super) fn company(rng: &mut Rng) -> Self {
        Self::Company { mode: rng.u8(..MODES.len() as u8) }
    }

    fn create(rng: &mut Rng) -> Self {
        let is_private = rng.u8(..PRIVATE_EVERY) == 0;
        let password = if is_private { format!("{:08x}", rng.u32(..)) } else { String::new() };
        Self::Create { password: password.into() }
    }

    fn code(board: &Noticeboard, rng: &mut Rng) -> Option<Self> {
        let (code, password) = board.draw(rng)?;
        let typed = if rng.bool() { code.clone() } else { code.to_lowercase().into() };
        let opens = password.is_empty() || rng.u8(..MISTYPED_EVERY) > 0;
        let password = if opens { password } else { WRONG_PASSWORD.into() };
        Some(Self::Code { code, typed, password, opens })
    }

    /// Where those whose wish came true are counted.
    pub(super) fn counter<'a>(&self, counters: &'a mut Counters) -> &'a mut u64 {
        match self {
            Self::Create { .. } => &mut counters.lobby_created,
            Self::Code { .. } => &mut counters.lobby_by_code,
            Self::Company { .. } => &mut counters.lobby_found,
        }
    }

    /// Asks for it.
    pub(super) fn send(&self, protocol: &mut ProtocolClient, bot: &Bot, name: &str, party: &Party) {
        let options = options_of(bot);
        let join = Join {
            room_type: &bot.room_type,
            name,
            options: options.as_bytes(),
            ..Join::default()
        };
        match self {
            Self::Create { password } => {
                protocol.join(Join { mode: JoinMode::Create, password, ..join });
            }
            Self::Code { typed, password, .. } => {
                protocol.join(Join { mode: JoinMode::Join, room: typed, password, ..join });
            }
            Self::Company { mode } => {
                let looks = party.properties(*mode);
                protocol.join(Join { metadata: &looks, filter: &looks, ..join });
            }
        }
    }
}

impl Party {
    pub(super) fn of(setup: &Setup<'_>) -> Self {
        let share = u64::from(setup.index) % setup.plan.shares_count() as u64;
        let party = (setup.plan.seed ^ setup.start.0).wrapping_add(share).wrapping_mul(SPREAD);
        Self((party >> 16) as i64)
    }

    /// What a room for this mode says of itself.
    fn properties(self, mode: u8) -> Vec<u8> {
        let mode = MODES[usize::from(mode) % MODES.len()];
        let mut bytes = Vec::new();
        for (key, value) in [("mode", Value::Str(mode.into())), ("party", Value::Int(self.0))] {
            put_bytes(&mut bytes, key.as_bytes());
            put_value(&mut bytes, &value);
        }
        bytes.push(0);
        bytes
    }
}

impl Pace {
    pub(super) fn of(bot: &Bot) -> Self {
        let (least, most) = bot.stay_ms;
        let stay = |ms: u32| Duration::from_millis(u64::from(ms));
        Self { stay: (stay(least), stay(most)) }
    }

    pub(super) fn draw_stay(&self, rng: &mut Rng) -> Duration {
        draw(self.stay, rng)
    }

    pub(super) fn draw_pause(&self, rng: &mut Rng) -> Duration {
        draw(PAUSE, rng)
    }
}

/// Whether somebody locks its room, if it is a host by then.
pub(super) fn locks(rng: &mut Rng) -> bool {
    rng.u8(..LOCKS_EVERY) == 0
}

fn draw((least, most): (Duration, Duration), rng: &mut Rng) -> Duration {
    Duration::from_micros(rng.u64(least.as_micros() as u64..=most.as_micros() as u64))
}

/// What the maker of a room says it is.
fn options_of(bot: &Bot) -> String {
    if !bot.options.is_empty() || bot.room_type != bot.kind.room_type() {
        return bot.options.clone();
    }
    format!(r#"{{"members_max": {}, "tick_rate": {TICK_RATE_HZ}}}"#, bot.room_size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::noticeboard::Offer;
    use tickloom_protocol::ids::EntityId;
    use tickloom_protocol::time::Timestamp;

    #[test]
    fn every_wish_comes_up_and_codes_are_typed_as_people_do() {
        let (mut board, mut rng) = (Noticeboard::default(), Rng::with_seed(5));
        assert!((0..50).all(|_| !matches!(Wish::draw(&board, &mut rng), Wish::Code { .. })));
        let offer = Offer { seats_max: 2, mode: None, password: "p".into(), is_new: true };
        board.post(Timestamp(1), "7K3M2Q", offer);
        board.enter(Timestamp(1), "7K3M2Q", "host", EntityId(1));
        let mut seen = [0; 6];
        for _ in 0..600 {
            let kind = match Wish::draw(&board, &mut rng) {
                Wish::Create { password } => usize::from(!password.is_empty()),
                Wish::Company { mode } => {
                    assert!(usize::from(mode) < MODES.len());
                    2
                }
                Wish::Code { code, typed, password, opens } => {
                    assert_eq!((&*code, typed.to_uppercase().as_str()), ("7K3M2Q", "7K3M2Q"));
                    assert_eq!(opens, &*password == "p");
                    if opens { 3 + usize::from(typed != code) } else { 5 }
                }
            };
            seen[kind] += 1;
        }
        assert!(seen.iter().all(|count| *count > 30), "{seen:?}");
    }
}
