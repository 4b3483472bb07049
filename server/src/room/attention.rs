//! Whether anybody looks: clients say once a second how far their picture is and whether it is seen.
//!
//! ```text
//! never reported ------------------------------------------> sent everything
//! hidden, or does not apply what it is sent, or falls silent -> paused
//! seen again, and has applied what it was sent -------------> one catch-up, then everything
//! ```
//!
//! A page in the background and a program that hangs go on draining their sockets, so nothing else
//! tells that what they are sent is for nobody. A paused member costs what a lagging one does: the
//! tick it has and the events it has heard. Who never reports is taken at its socket's word.

use std::time::Duration;

use tickloom_protocol::client_message::Report;
use tickloom_protocol::ids::{MemberId, Tick};
use tickloom_protocol::time::Timestamp;

use crate::room::Room;

/// How long a client may take to apply what it was sent. A line that is slower than this has a full
/// queue, too, and is passed over for that.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// How long a client that reports may be silent: five reports.
const SILENT_AFTER: Duration = Duration::from_secs(5);

/// How often a room looks for those that fell silent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How a member's client keeps up, by its own account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attention {
    reported_at: Timestamp,
    /// A tick that the member had been sent by `sent_by`, and that its client had not applied then.
    sent: Tick,
    sent_by: Timestamp,
    state: AttentionState,
}

/// Why a member is sent state or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AttentionState {
    /// It is looked at and keeps up.
    Awake,
    /// Nobody sees it.
    Hidden,
    /// Its client does not apply what it is sent, or does not report any more.
    Stuck,
}

impl Attention {
    /// Of a client that reports for the first time.
    fn new(now: Timestamp, sent: Tick) -> Self {
        Self { reported_at: now, sent, sent_by: now, state: AttentionState::Awake }
    }

    /// Whether the member is sent no state.
    pub(super) fn is_paused(&self) -> bool {
        self.state != AttentionState::Awake
    }

    /// Takes in a report of a client whose member was sent everything up to `sent`.
    fn hear(&mut self, now: Timestamp, report: Report, sent: Tick) {
        self.reported_at = now;
        let was = self.state;
        let has_all = report.applied_tick >= sent;
        let has_mark = report.applied_tick >= self.sent;
        self.state = match was {
            _ if report.hidden => AttentionState::Hidden,
            AttentionState::Stuck if !has_all => AttentionState::Stuck,
            AttentionState::Awake
                if !has_mark && now.saturating_since(self.sent_by) > STUCK_AFTER =>
            {
                AttentionState::Stuck
            }
            AttentionState::Awake | AttentionState::Hidden | AttentionState::Stuck => {
                AttentionState::Awake
            }
        };
        if has_mark || was != AttentionState::Awake {
            (self.sent, self.sent_by) = (sent, now);
        }
    }

    /// Pauses a client that fell silent; says whether it did.
    fn look(&mut self, now: Timestamp) -> bool {
        let is_silent = now.saturating_since(self.reported_at) > SILENT_AFTER;
        let pauses = is_silent && self.state == AttentionState::Awake;
        if pauses {
            self.state = AttentionState::Stuck;
        }
        pauses
    }
}

impl Room {
    /// A member's client says how it keeps up.
    pub fn handle_report(&mut self, now: Timestamp, member: MemberId, report: Report) {
        let Some(seat) = self.members.get_mut(&member) else { return };
        let was_paused = seat.is_paused();
        let sent = seat.baseline;
        let attention = seat.attention.get_or_insert_with(|| Box::new(Attention::new(now, sent)));
        attention.hear(now, report, sent);
        match (was_paused, seat.is_paused()) {
            (false, true) => self.paused_count += 1,
            (true, false) => {
                self.paused_count -= 1;
                self.ticker.want();
            }
            (false, false) | (true, true) => {}
        }
    }

    /// How many members are sent no state because nobody looks or their clients do not keep up.
    #[must_use]
    pub fn paused_count(&self) -> usize {
        self.paused_count
    }

    /// Pauses those whose clients fell silent.
    pub(super) fn look_for_silence(&mut self, now: Timestamp) {
        if now.saturating_since(self.looked_at) < LOOK_EVERY {
            return;
        }
        self.looked_at = now;
        for seat in self.members.values_mut() {
            if let Some(attention) = &mut seat.attention
                && attention.look(now)
            {
                self.paused_count += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(ms * 1_000)
    }

    /// What a client says, when, after its member was sent so much; whether it is then paused.
    fn play(reports: &[(u64, u32, bool, u32, bool)]) {
        let mut attention = None;
        for (row, (ms, applied, hidden, sent, paused)) in reports.iter().enumerate() {
            let report = Report { applied_tick: Tick(*applied), hidden: *hidden };
            let attention = attention.get_or_insert(Attention::new(at(*ms), Tick(*sent)));
            attention.hear(at(*ms), report, Tick(*sent));
            assert_eq!(attention.is_paused(), *paused, "row {row} of {reports:?}");
        }
    }

    #[test]
    fn a_hidden_client_is_paused_until_it_is_seen() {
        play(&[
            (0, 10, false, 10, false),
            (1_000, 28, true, 30, true),
            (60_000, 30, true, 30, true),
            // It is seen again, and has a moment for what was on its way.
            (61_000, 28, false, 30, false),
            (62_000, 48, false, 50, false),
        ]);
        play(&[(0, 0, true, 0, true), (1_000, 0, false, 0, false)]);
    }

    #[test]
    fn a_client_that_does_not_apply_what_it_was_sent_is_paused_until_it_has() {
        play(&[
            (0, 10, false, 10, false),
            (1_000, 10, false, 30, false),
            (2_000, 10, false, 50, false),
            (3_000, 10, false, 70, false),
            // Tick 30 was there by 1 s.
            (3_001, 29, false, 70, true),
            (4_000, 60, false, 70, true),
            (5_000, 70, false, 70, false),
            (6_000, 71, false, 90, false),
            (8_000, 89, false, 130, false),
            (8_001, 89, false, 150, true),
        ]);
    }

    #[test]
    fn a_client_that_is_always_a_little_behind_is_not_stuck() {
        let row = |second: u64| {
            let sent = second as u32 * 20;
            (second * 1_000, sent.saturating_sub(30), false, sent, false)
        };
        play(&(0..100).map(row).collect::<Vec<_>>());
    }

    #[test]
    fn a_client_that_falls_silent_is_paused() {
        let mut attention = Attention::new(at(0), Tick(10));
        attention.hear(at(0), Report { applied_tick: Tick(10), hidden: false }, Tick(10));
        assert!(!attention.look(at(5_000)) && !attention.is_paused());
        assert!(attention.look(at(5_001)) && attention.is_paused());
        assert!(!attention.look(at(7_000)), "it is paused already");
        attention.hear(at(9_000), Report { applied_tick: Tick(90), hidden: false }, Tick(100));
        assert!(attention.is_paused(), "it has not applied what it was sent");
        attention.hear(at(10_000), Report { applied_tick: Tick(100), hidden: false }, Tick(100));
        assert!(!attention.is_paused());
    }
}
