//! Being away on purpose: a connection that is cut and another that takes its place, and pages that
//! nobody sees. What a client does not hear then is no loss; what it gets when it is back is.
//!
//! ```text
//!            cut, or no word for too long          a random moment later
//! Here ------------------------------------> Away ----------------------> resume --> Here
//!   '-- hidden: it says so --> Hidden -- seen: it says so --> Waking -- its state --> Here
//! ```

use std::time::Duration;

use fastrand::Rng;
use tickloom_protocol::client_message::{ClientMessage, Report};
use tickloom_protocol::ids::Tick;
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::ticket::Returning;
use tickloom_protocol::time::Timestamp;

use super::RoomClient;
use crate::client::{Setup, Stage, Turn};
use crate::scenario::bots::is_of_share;
use crate::workload::{Absence, SPREAD};

/// A client comes back after a random time up to this, twice as long after every try that failed
/// (section 12 of the protocol).
const BACKOFF_FIRST: Duration = Duration::from_millis(500);

/// Tries to come back: the last of them waits up to half a minute.
const TRIES_MAX: u32 = 7;

/// From one report to the next.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// How long a client of those that hide is seen, and then not.
const SEEN_FOR: Duration = Duration::from_secs(3);
const HIDDEN_FOR: Duration = Duration::from_secs(3);

/// What is sent to a client this long after it said that nobody sees it was not on its way before.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// Whether a client hears its room, and if not, why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Presence {
    /// It does.
    Here,
    /// Its connection was cut. It comes back at a moment, or is on its way.
    Away { since: Timestamp, returns_at: Timestamp, lost_before: u64 },
    /// It said that nobody sees it.
    Hidden { since: Timestamp },
    /// It said that it is seen, and waits for its state.
    Waking { since: Timestamp },
}

/// A client's absences.
#[derive(Debug)]
pub(super) struct Absences {
    presence: Presence,
    /// What it comes back with.
    returning: Option<Box<Returning>>,
    /// Tries to come back that failed.
    tries_count: u32,
    is_displaced: bool,
    /// After how long without a word it gives its connection up.
    patience: Option<Duration>,
    heard_at: Timestamp,
    /// When it reports next; `None` for one that never does.
    report_at: Option<Timestamp>,
    /// When it is hidden or seen next.
    turns_at: Timestamp,
    rng: Rng,
}

impl Absences {
    pub(super) fn new(setup: &Setup<'_>, seed: u64) -> Self {
        let load = setup.plan.rooms_load();
        let interruptions = load.map(|load| load.interruptions).unwrap_or_default();
        let hides = is_of_share(setup.index, interruptions.hidden_ppm);
        // They hide at different moments, the first of them at once.
        let share = u64::from(setup.index).wrapping_mul(SPREAD) >> 32;
        let phase_us = (SEEN_FOR.as_micros() as u64 * share) >> 32;
        let begins_at = setup.start + Duration::from_micros(phase_us);
        Self {
            presence: Presence::Here,
            returning: None,
            tries_count: 0,
            is_displaced: false,
            patience: interruptions.patience,
            heard_at: setup.start,
            report_at: hides.then_some(begins_at),
            turns_at: begins_at,
            rng: Rng::with_seed(seed),
        }
    }

    /// Whether it hears its room.
    pub(super) fn is_here(&self) -> bool {
        self.presence == Presence::Here
    }

    /// Whether it is hidden, and acts for nobody.
    pub(super) fn is_hidden(&self) -> bool {
        matches!(self.presence, Presence::Hidden { .. })
    }

    /// When it is to come back.
    pub(super) fn returns_at(&self) -> Option<Timestamp> {
        match self.presence {
            Presence::Away { returns_at, .. } => Some(returns_at),
            Presence::Here | Presence::Hidden { .. } | Presence::Waking { .. } => None,
        }
    }

    pub(super) fn is_displaced(&self) -> bool {
        self.is_displaced
    }

    /// Something came.
    pub(super) fn note_heard(&mut self, now: Timestamp) {
        self.heard_at = now;
    }

    /// Whoever reports does so now.
    pub(super) fn report_now(&mut self, now: Timestamp) {
        self.report_at = self.report_at.map(|_| now);
    }

    /// What it asks for its seat with, once.
    pub(super) fn take_returning(&mut self) -> Option<Returning> {
        self.returning.take().map(|returning| *returning)
    }

    /// When it reports or gives up next, while it plays.
    pub(super) fn next_due_at(&self) -> Option<Timestamp> {
        let gives_up_at = self.patience.map(|patience| self.heard_at + patience);
        self.report_at.into_iter().chain(gives_up_at).min()
    }

    /// A random moment to come back at.
    fn draw_return(&mut self, now: Timestamp) -> Timestamp {
        let most_us = (BACKOFF_FIRST.as_micros() as u64) << self.tries_count;
        now + Duration::from_micros(self.rng.u64(..most_us))
    }
}

impl RoomClient {
    /// Goes away from a connection that is no more. Says whether it has something to come back with.
    pub(super) fn go_away(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.stage != Stage::Playing {
            return false;
        }
        self.hear_nothing(Absence::Cut, turn);
        self.forget_hiding(turn);
        let lost_before = self.protocol.seat().map_or(0, |seat| seat.replica.heard().lost());
        turn.tally.counters.drops_cut += 1;
        let Some(returning) = self.protocol.part() else {
            self.displace(turn);
            return false;
        };
        self.absences.returning = Some(Box::new(returning));
        self.absences.tries_count = 0;
        let returns_at = self.absences.draw_return(turn.now);
        self.absences.presence = Presence::Away { since: turn.now, returns_at, lost_before };
        self.stage = Stage::Away;
        true
    }

    /// Whoever goes while nobody sees it is not seen again.
    pub(super) fn forget_hiding(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.absences.presence, Presence::Hidden { .. } | Presence::Waking { .. }) {
            self.absences.presence = Presence::Here;
            turn.tally.counters.hidden_left += 1;
        }
    }

    /// What it shows does not get older, and nothing it waits for is timed: nobody looks.
    fn hear_nothing(&mut self, absence: Absence, turn: &mut Turn<'_>) {
        self.sample_age(turn);
        if let Some(shown) = &mut self.shown {
            shown.has_age = false;
        }
        self.workload.handle_absence(absence, turn);
        self.was_active = false;
    }

    /// The way back failed: another try, later, or somebody else comes. Says whether it was on its
    /// way at all.
    pub(super) fn retry(&mut self, turn: &mut Turn<'_>) -> bool {
        let Presence::Away { since, lost_before, .. } = self.absences.presence else {
            return false;
        };
        if self.absences.returning.is_none() {
            self.absences.returning = self.protocol.part().map(Box::new);
        }
        self.absences.tries_count += 1;
        if self.absences.tries_count >= TRIES_MAX || self.absences.returning.is_none() {
            self.displace(turn);
            return true;
        }
        turn.tally.counters.drops_retries += 1;
        let returns_at = self.absences.draw_return(turn.now);
        self.absences.presence = Presence::Away { since, returns_at, lost_before };
        self.stage = Stage::Away;
        true
    }

    /// Its seat is gone: what it had is no more, and somebody else is to come.
    fn displace(&mut self, turn: &mut Turn<'_>) {
        turn.tally.counters.drops_refused += 1;
        self.absences.is_displaced = true;
    }

    /// It has a seat again: its own?
    pub(super) fn seated_again(&mut self, turn: &mut Turn<'_>) {
        if !matches!(self.absences.presence, Presence::Away { .. }) {
            return;
        }
        let Some(seat) = self.protocol.seat() else { return };
        if !seat.is_resumed {
            return self.displace(turn);
        }
        turn.tally.counters.drops_resumed += 1;
        turn.tally.counters.drops_recovered += u64::from(seat.is_recovered);
        // Where nothing happens nothing comes.
        if seat.clock.tick_us == 0 && seat.replica.tick() != Tick::ZERO {
            self.note_state(Outcome::Delta, turn);
        }
    }

    /// State came. Says whether it is what brings the client back from an absence: it covers more
    /// than one send, and is late by no fault of the server's.
    pub(super) fn note_state(&mut self, outcome: Outcome, turn: &mut Turn<'_>) -> bool {
        let counters = &mut turn.tally.counters;
        match self.absences.presence {
            Presence::Here => return false,
            Presence::Hidden { since } => {
                counters.hidden_states += u64::from(turn.now > since + UNDER_WAY);
                return true;
            }
            Presence::Waking { since } => {
                counters.hidden_returns += 1;
                // Where nothing happens nothing comes, and it was awake at once.
                if turn.now > since {
                    turn.tally.wake.record_between(since, turn.now);
                }
            }
            Presence::Away { since, lost_before, .. } => {
                let lost = self.protocol.seat().map_or(0, |seat| seat.replica.heard().lost());
                counters.drops_lost += lost.saturating_sub(lost_before);
                counters.drops_snapshots += u64::from(outcome == Outcome::Snapshot);
                turn.tally.resume.record_between(since, turn.now);
                self.stage = Stage::Playing;
                self.stage_since = turn.now;
            }
        }
        self.absences.presence = Presence::Here;
        true
    }

    /// Does what is due besides acting: reports, hides, is seen, gives up.
    pub(super) fn mind_presence(&mut self, turn: &mut Turn<'_>) {
        if self.stage != Stage::Playing {
            return;
        }
        let patience = self.absences.patience;
        if patience.is_some_and(|patience| self.absences.heard_at + patience <= turn.now) {
            // Whoever is hidden hears nothing for a reason.
            if self.absences.is_here() && turn.now < turn.window.until {
                self.go_away(turn);
                return;
            }
            self.absences.heard_at = turn.now;
        }
        if self.absences.report_at.is_some_and(|at| at <= turn.now) {
            self.turn_towards(turn);
            self.report(turn.now);
            let is_waking = matches!(self.absences.presence, Presence::Waking { .. });
            let has_rate = self.protocol.seat().is_some_and(|seat| seat.clock.tick_us > 0);
            if is_waking && !has_rate {
                self.note_state(Outcome::Delta, turn);
            }
        }
    }

    /// Hides or is seen again, when it is time. At the end of the window everybody is.
    fn turn_towards(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let is_over = now >= turn.window.until;
        if now < self.absences.turns_at && !is_over {
            return;
        }
        match self.absences.presence {
            Presence::Here if is_over || self.shown.is_none() => {}
            Presence::Here => {
                self.absences.turns_at = now + HIDDEN_FOR;
                self.hear_nothing(Absence::Hidden, turn);
                self.absences.presence = Presence::Hidden { since: now };
                turn.tally.counters.hidden_times += 1;
            }
            Presence::Hidden { .. } => {
                self.absences.turns_at = now + SEEN_FOR;
                self.absences.presence = Presence::Waking { since: now };
            }
            Presence::Waking { .. } | Presence::Away { .. } => {}
        }
    }

    fn report(&mut self, now: Timestamp) {
        let Some(seat) = self.protocol.seat() else { return };
        let applied_tick = seat.replica.tick();
        let hidden = self.absences.is_hidden();
        self.protocol.send(ClientMessage::Report(Report { applied_tick, hidden }));
        self.absences.report_at = Some(now + REPORT_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absences(seed: u64, tries_count: u32) -> Absences {
        Absences {
            presence: Presence::Here,
            returning: None,
            tries_count,
            is_displaced: false,
            patience: None,
            heard_at: Timestamp(0),
            report_at: None,
            turns_at: Timestamp(0),
            rng: Rng::with_seed(seed),
        }
    }

    #[test]
    fn those_who_were_cut_off_together_come_back_at_all_moments_of_the_backoff() {
        let now = Timestamp(9_000_000);
        for (tries_count, most_ms) in [(0, 500), (1, 1_000), (TRIES_MAX - 1, 32_000)] {
            let mut quarters = [0; 4];
            for seed in 0..1_000 {
                let at = absences(seed, tries_count).draw_return(now);
                let after_us = at.0 - now.0;
                assert!(after_us < most_ms * 1_000, "try {tries_count}: {after_us} us");
                quarters[(after_us * 4 / (most_ms * 1_000)) as usize] += 1;
            }
            assert!(quarters.iter().all(|count| (190..310).contains(count)), "{quarters:?}");
        }
    }

    #[test]
    fn what_is_due_next_is_the_report_or_the_end_of_patience() {
        let patience = Some(Duration::from_micros(50));
        for (report_at, patience, expected) in [
            (None, None, None),
            (Some(Timestamp(70)), None, Some(70)),
            (Some(Timestamp(70)), patience, Some(50)),
            (Some(Timestamp(40)), patience, Some(40)),
        ] {
            let absences = Absences { report_at, patience, ..absences(1, 0) };
            assert_eq!(absences.next_due_at().map(|at| at.0), expected);
        }
    }
}
