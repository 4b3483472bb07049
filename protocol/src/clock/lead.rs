//! How far ahead of a room's ticks a client acts, so that its inputs are there when they are taken.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// How far back margins count.
const WINDOW: Duration = Duration::from_secs(2);

/// Margins kept: two seconds of the fastest room.
const MARGINS_MAX: usize = 256;

/// One margin in so many may be worse than wanted. Over TCP the worst ones are spikes behind a lost
/// segment, far too long to wait for; the room repeats the last input meanwhile.
const WORSE_PART: usize = 10;

/// What is wanted of the others, in parts of a tick.
const WANTED_PER_TICK: f64 = 0.25;

/// The farthest ahead: beyond this, a player feels the wait more than a repeated input.
const LEAD_MAX: Duration = Duration::from_millis(100);

/// A client's clock runs at most this much faster or slower while the lead changes.
const DILATION_MAX: f64 = 0.05;

/// The lead of one seat. It moves so slowly that whoever plays does not see it.
#[derive(Clone, Debug, Default)]
pub struct Lead {
    lead_us: f64,
    target_us: f64,
    moved_at: Timestamp,
    /// When each margin came, and what it would have been without any lead, in microseconds.
    margins: VecDeque<(Timestamp, f64)>,
}

impl Lead {
    /// A lead of a tick, as long as nothing is known.
    #[must_use]
    pub fn new(now: Timestamp, tick_length: Duration) -> Self {
        let lead_us = tick_length.min(LEAD_MAX).as_micros() as f64;
        Self { lead_us, target_us: lead_us, moved_at: now, margins: VecDeque::new() }
    }

    /// A delta said how many inputs waited.
    pub fn handle_margin(&mut self, now: Timestamp, margin: i8, tick_length: Duration) {
        let lead_us = self.advance(now);
        let tick_us = tick_length.as_micros() as f64;
        // One that waits came somewhere within the tick before, one that does not somewhere within
        // the next: the middle is as good as any.
        let middle = f64::from(margin) - 0.5 * f64::from(margin.signum());
        if self.margins.len() == MARGINS_MAX {
            self.margins.pop_front();
        }
        self.margins.push_back((now, middle * tick_us - lead_us));
        while let Some((at, _)) = self.margins.front()
            && now.saturating_since(*at) > WINDOW
        {
            self.margins.pop_front();
        }
        let mut margins: Vec<f64> = self.margins.iter().map(|(_, margin)| *margin).collect();
        let worse = (margins.len() - 1) / WORSE_PART;
        let (_, margin, _) = margins.select_nth_unstable_by(worse, f64::total_cmp);
        let margin_us = *margin + lead_us;
        let wanted_us = WANTED_PER_TICK * tick_us;
        // Margins are whole ticks, so nothing is learnt from moves within one.
        self.target_us = if margin_us < wanted_us {
            lead_us + wanted_us - margin_us
        } else if margin_us > wanted_us + tick_us {
            lead_us + wanted_us + tick_us - margin_us
        } else {
            lead_us
        };
        self.target_us = self.target_us.clamp(0.0, LEAD_MAX.as_micros() as f64);
    }

    /// How much earlier than just in time an input that leaves now is to arrive.
    pub fn at(&mut self, now: Timestamp) -> Duration {
        Duration::from_micros(self.advance(now) as u64)
    }

    fn advance(&mut self, now: Timestamp) -> f64 {
        let step_us = now.saturating_since(self.moved_at).as_micros() as f64 * DILATION_MAX;
        self.moved_at = self.moved_at.max(now);
        self.lead_us += (self.target_us - self.lead_us).clamp(-step_us, step_us);
        self.lead_us
    }
}
