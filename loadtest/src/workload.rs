//! What each client does in its room, and when: seeded, open loop, and free of clocks and sockets.
//!
//! ```text
//! arena    inputs, and how long until they are acknowledged     (player)
//! world    the same, by players who roam, crowd and leap
//! state    writes, and whether what was accepted is there       (writes checks)
//! recorded what the players of a recording did, when they did it
//! relay    publications, and whether everybody hears all of it  (hearing checks)
//! ```
//!
//! Times are intended ones: input `k` of a client belongs at `start + phase + k / rate`, however
//! late the generator or the server is. What is late is measured against that moment.

mod acks;
mod arena;
mod hearing;
mod player;
pub mod recorded;
mod relay;
mod state;
mod world;
mod writes;

use std::time::Duration;

use tickloom_protocol::client::{Client as ProtocolClient, Seat};
use tickloom_protocol::ids::OpId;
use tickloom_protocol::server_message::{Accepted, DeltaHead, RefusalCode};
use tickloom_protocol::time::Timestamp;

use crate::client::{Ledger, Turn};
use crate::scenario::bots::{BotKind, Place};
use crate::workload::recorded::Role;

/// The golden ratio's fraction in 64 bits: multiples of it spread evenly, so neighbouring clients
/// get unlike seeds and phases without a generator of their own.
pub(crate) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// From one burst of comments to the next.
const BURST_EVERY: Duration = Duration::from_secs(1);

/// How long a writer goes on in a burst.
const BURST_LASTS: Duration = Duration::from_millis(500);

/// Clients of a room that write in the same burst.
const BURST_WRITERS: u32 = 5;

/// Something the room does not have, by the name it was looked up by.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the room has no {what} `{name}`")]
pub struct MissingName {
    /// Whether it is a component, a field or a topic.
    pub what: &'static str,
    /// Its name.
    pub name: &'static str,
}

/// Who a client is to others: a number that no other client of the run has, and none before it in
/// its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The client's number in the run.
    pub index: u32,
    /// Unlike any other client's.
    pub sender: u32,
    /// Seed of everything the client does.
    pub seed: u64,
}

/// Why a client hears nothing for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absence {
    /// Its connection was cut. What it asked for may have happened or not.
    Cut,
    /// Nobody sees it. Answers still come, state does not.
    Hidden,
}

/// What one client does in its room. The default is to do nothing and to want nothing.
pub trait Workload: Send {
    /// Looks up by name what it needs of the room.
    ///
    /// # Errors
    /// What the room does not have.
    fn handle_joined(&mut self, _seat: &Seat) -> Result<(), MissingName> {
        Ok(())
    }

    /// Does what was meant to happen at `intended`.
    fn act(&mut self, _intended: Timestamp, _protocol: &mut ProtocolClient, _turn: &mut Turn<'_>) {}

    /// A delta was applied, or passed over.
    fn handle_applied(&mut self, _head: DeltaHead, _seat: &Seat, _turn: &mut Turn<'_>) {}

    /// The server said yes.
    fn handle_accepted(&mut self, _accepted: &Accepted, _seat: &Seat, _turn: &mut Turn<'_>) {}

    /// The server said no; says whether that was to be expected.
    fn handle_refused(&mut self, _op: OpId, _code: RefusalCode, _turn: &mut Turn<'_>) -> bool {
        false
    }

    /// Its connection was cut, or it hears nothing on purpose: what waits for an answer may not get
    /// one.
    fn handle_absence(&mut self, _absence: Absence, _turn: &mut Turn<'_>) {}

    /// Whether it acts by the clock at all now.
    fn is_active(&self) -> bool {
        true
    }

    /// Closes its books: what waits for an answer will not get one.
    fn finish(&mut self, _seat: Option<&Seat>, _turn: &mut Turn<'_>, _ledger: &mut Ledger) {}
}

/// A client that joins and stays.
struct Idle;

impl Workload for Idle {
    fn is_active(&self) -> bool {
        false
    }
}

/// What a client of this place does: what its role says, if it has one.
#[must_use]
pub fn workload(place: &Place<'_>, identity: Identity, role: Option<Role>) -> Box<dyn Workload> {
    if let Some(role) = role {
        return Box::new(recorded::Recorded::new(role, place));
    }
    match place.bot.kind {
        BotKind::Arena | BotKind::Spectator => {
            Box::new(player::Player::new(place, arena::Fighter::new(identity.seed)))
        }
        BotKind::World => Box::new(player::Player::new(place, world::Walker::new(identity.seed))),
        BotKind::State => Box::new(state::State::new(place, identity)),
        BotKind::Chat | BotKind::Danmaku | BotKind::Quotes => {
            Box::new(relay::Relay::new(place, identity))
        }
        // Those of a lobby are clients of their own, which do nothing in rooms.
        BotKind::Idle | BotKind::Lobby => Box::new(Idle),
    }
}

/// When a client of this place acts.
#[must_use]
pub fn schedule(place: &Place<'_>, start: Timestamp, index: u32, role: Option<Role>) -> Schedule {
    if let Some(role) = role {
        return Schedule::Recorded(role);
    }
    let rate_hz = place.bot.rate_hz;
    match place.bot.kind {
        // Rooms speak at different moments, or all of a run's publications would come at once.
        BotKind::Chat => Schedule::Even(InputSchedule::shared(
            start + phase_of(place.room),
            rate_hz,
            place.members_count,
            place.position,
        )),
        BotKind::Danmaku => Schedule::Bursts(Bursts::new(start + phase_of(place.room), place)),
        BotKind::Quotes => Schedule::Even(InputSchedule::new(start, rate_hz, place.room)),
        BotKind::Arena
        | BotKind::Spectator
        | BotKind::World
        | BotKind::State
        | BotKind::Idle
        | BotKind::Lobby => Schedule::Even(InputSchedule::new(start, rate_hz, index)),
    }
}

/// A part of a second, different for every room.
fn phase_of(room: u32) -> Duration {
    let share = u64::from(room).wrapping_mul(SPREAD) >> 32;
    Duration::from_micros((1_000_000 * share) >> 32)
}

/// When a client acts.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At a rate.
    Even(InputSchedule),
    /// At once, and then for a while not.
    Bursts(Bursts),
    /// When somebody did.
    Recorded(Role),
}

impl Schedule {
    /// When act `k` is meant to happen; `None` when there are none.
    #[must_use]
    pub fn intended(&self, k: u64) -> Option<Timestamp> {
        match self {
            Self::Even(even) => even.intended(k),
            Self::Bursts(bursts) => bursts.intended(k),
            Self::Recorded(role) => role.intended(k),
        }
    }

    /// The first act that is meant to happen at `at` or later.
    #[must_use]
    pub fn first_from(&self, at: Timestamp) -> u64 {
        match self {
            Self::Even(even) => even.first_from(at),
            Self::Bursts(bursts) => bursts.first_from(at),
            Self::Recorded(role) => role.first_from(at),
        }
    }
}

/// The bursts of one client: some members of its room write at once, then the next ones do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bursts {
    /// The client's first burst, its own place in it included.
    first: Timestamp,
    /// Publications of one burst.
    count: u64,
    gap_us: u64,
    /// From one of its bursts to the next.
    period_us: u64,
}

impl Bursts {
    fn new(start: Timestamp, place: &Place<'_>) -> Self {
        let rate_hz = u64::from(place.bot.rate_hz);
        let lasts_us = BURST_LASTS.as_micros() as u64;
        let count = (rate_hz * lasts_us).div_ceil(1_000_000);
        let gap_us = lasts_us.checked_div(count).unwrap_or(0);
        let groups = place.members_count.div_ceil(BURST_WRITERS).max(1);
        let (group, within) = (place.position / BURST_WRITERS, place.position % BURST_WRITERS);
        let offset_us = u64::from(within) * gap_us / u64::from(BURST_WRITERS);
        Self {
            first: start + BURST_EVERY * group + Duration::from_micros(offset_us),
            count,
            gap_us,
            period_us: BURST_EVERY.as_micros() as u64 * u64::from(groups),
        }
    }

    fn intended(&self, k: u64) -> Option<Timestamp> {
        let (burst, within) = (k.checked_div(self.count)?, k.checked_rem(self.count)?);
        let offset_us = burst.saturating_mul(self.period_us) + within * self.gap_us;
        Some(Timestamp(self.first.0.saturating_add(offset_us)))
    }

    fn first_from(&self, at: Timestamp) -> u64 {
        let since_us = at.0.saturating_sub(self.first.0);
        let mut k = since_us / self.period_us * self.count;
        while self.intended(k).is_some_and(|intended| intended < at) {
            k += 1;
        }
        k
    }
}

/// When a client's inputs are meant to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InputSchedule {
    start: Timestamp,
    /// 0 for a client that only watches.
    rate_hz: u32,
    /// How many clients the rate belongs to together; at least one.
    sharers_count: u32,
    phase_us: u64,
}

impl InputSchedule {
    /// The schedule of client `index`; clients are spread evenly over one period.
    #[must_use]
    pub fn new(start: Timestamp, rate_hz: u32, index: u32) -> Self {
        let period_us = 1_000_000_u64.checked_div(u64::from(rate_hz)).unwrap_or(0);
        let share = u64::from(index).wrapping_mul(SPREAD) >> 32;
        Self { start, rate_hz, sharers_count: 1, phase_us: (period_us * share) >> 32 }
    }

    /// The schedule of client `index` of `sharers_count` that keep `rate_hz` together, in turn.
    #[must_use]
    pub fn shared(start: Timestamp, rate_hz: u32, sharers_count: u32, index: u32) -> Self {
        let phase_us = (u64::from(index) * 1_000_000).checked_div(u64::from(rate_hz)).unwrap_or(0);
        Self { start, rate_hz, sharers_count: sharers_count.max(1), phase_us }
    }

    /// When input `k` is meant to happen; `None` when there are no inputs.
    #[must_use]
    pub fn intended(&self, k: u64) -> Option<Timestamp> {
        let round_us = u64::from(self.sharers_count) * 1_000_000;
        let offset_us = k.saturating_mul(round_us).checked_div(u64::from(self.rate_hz))?;
        Some(Timestamp(self.start.0 + self.phase_us + offset_us))
    }

    /// The first input that is meant to happen at `at` or later.
    #[must_use]
    pub fn first_from(&self, at: Timestamp) -> u64 {
        let since_us = at.0.saturating_sub(self.start.0 + self.phase_us);
        // From `intended` rounding down: the estimate is never past the input looked for.
        let round_us = u64::from(self.sharers_count) * 1_000_000;
        let mut k = since_us * u64::from(self.rate_hz) / round_us;
        while self.intended(k).is_some_and(|intended| intended < at) {
            k += 1;
        }
        k
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intended_times_do_not_drift() {
        for (rate_hz, k, expected_us) in
            [(20, 20, 1_000_000), (3, 3, 1_000_000), (3, 1, 333_333), (128, 128, 1_000_000)]
        {
            let schedule = InputSchedule::new(Timestamp(5), rate_hz, 0);
            assert_eq!(schedule.intended(k), Some(Timestamp(5 + expected_us)), "{rate_hz} Hz");
        }
        assert_eq!(InputSchedule::new(Timestamp(5), 0, 0).intended(0), None);
    }

    #[test]
    fn a_client_that_joins_late_starts_with_the_next_input() {
        for rate_hz in [1, 3, 20, 128] {
            for index in [0, 1, 77] {
                let schedule = InputSchedule::new(Timestamp(1_000), rate_hz, index);
                for at_us in [0, 1_000, 1_001, 333_334, 999_999, 7_000_000] {
                    let k = schedule.first_from(Timestamp(at_us));
                    assert!(schedule.intended(k) >= Some(Timestamp(at_us)), "{rate_hz} {at_us}");
                    let earlier = k.checked_sub(1).and_then(|k| schedule.intended(k));
                    assert!(earlier < Some(Timestamp(at_us)), "{rate_hz} Hz at {at_us}");
                }
            }
        }
    }

    #[test]
    fn clients_that_share_a_rate_take_turns() {
        for (rate_hz, sharers) in [(1_000, 10), (3, 7), (128, 1), (100_000, 3)] {
            let schedule = |index| InputSchedule::shared(Timestamp(9), rate_hz, sharers, index);
            let mut moments: Vec<u64> = (0..sharers)
                .flat_map(|index| (0..20).filter_map(move |k| schedule(index).intended(k)))
                .map(|at| at.0)
                .collect();
            moments.sort_unstable();
            for (k, at_us) in moments.into_iter().enumerate() {
                let even_us = 9 + k as u64 * 1_000_000 / u64::from(rate_hz);
                assert!(at_us.abs_diff(even_us) <= 1, "{rate_hz} Hz by {sharers}: {k} at {at_us}");
            }
        }
    }

    #[test]
    fn bursts_are_of_some_members_at_once_and_come_to_everybody() {
        let bot = crate::scenario::Scenario::built_in("danmaku").expect("built in").bots.remove(0);
        let place =
            |position| Place { bot: &bot, room: 0, position, members_count: 12, read_rate: None };
        let start = Timestamp(1_000_000);
        let mut moments: Vec<(u64, u32)> = Vec::new();
        for position in 0..12 {
            let bursts = Bursts::new(start, &place(position));
            for k in 0..10 {
                let at = bursts.intended(k).expect("a rate");
                moments.push((at.0 - start.0, position));
                assert_eq!(bursts.first_from(at), k, "{position}");
                assert_eq!(bursts.first_from(Timestamp(at.0 + 1)), k + 1, "{position}");
            }
        }
        // Three groups in turn: each second belongs to one of them, and its second half to nobody.
        for (us, position) in moments {
            let second = us / 1_000_000;
            assert_eq!(second % 3, u64::from(position / BURST_WRITERS), "{us} us: {position}");
            assert!(us % 1_000_000 < BURST_LASTS.as_micros() as u64, "{us} us");
        }
        let silent = crate::scenario::bots::Bot { rate_hz: 0, ..bot.clone() };
        let bursts = Bursts::new(start, &Place { bot: &silent, ..place(0) });
        assert_eq!((bursts.intended(0), bursts.first_from(Timestamp(9_000_000))), (None, 0));
    }

    #[test]
    fn phases_fill_the_period_evenly() {
        let mut quarters = [0; 4];
        for index in 0..1000 {
            let schedule = InputSchedule::new(Timestamp(0), 20, index);
            let first_us = schedule.intended(0).expect("inputs").0;
            quarters[(first_us / 12_500) as usize] += 1;
        }
        assert!(quarters.iter().all(|&count| (240..=260).contains(&count)), "{quarters:?}");
    }
}
