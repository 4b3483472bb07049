//! The end of a run: what was sent in the window arrives, books are closed, connections too.

use std::time::Duration;

use tickloom_protocol::time::Timestamp;

use super::slot::widen;
use super::{Reactor, now};
use crate::client::{Client, Stage, Turn};
use crate::driver::mail::{Books, Mail};

/// How long the server may take to answer the close frames.
const CLOSED_WITHIN: Duration = Duration::from_secs(1);

/// Shortest drain after the window; what the clients expect when that is longer.
const DRAIN_US_MIN: u64 = 100_000;

/// Longest drain: a tail that takes longer counts as lost.
const DRAIN_US_MAX: u64 = 1_000_000;

/// The same where slow readers catch up or replacements settle.
const LONG_DRAIN_US_MAX: u64 = 10_000_000;

/// Time between two looks at whether all tails have arrived.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Where the end of the run is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Clients connect and play.
    NotYet,
    /// The window is over; what was sent in it may still arrive. The moment is that of the next
    /// look at whether it has.
    Draining(Timestamp),
    /// Close frames are sent; answers are awaited until then.
    Closing(Timestamp),
}

impl<C: Client> Reactor<C> {
    /// Moves towards the end of the run; says whether it is reached.
    pub(super) fn step_ending(&mut self, at: Timestamp) -> bool {
        match self.ending {
            Ending::NotYet => {
                if at >= self.window.until {
                    let clients = self.slots.iter().filter_map(|slot| slot.client.as_ref());
                    let tail_us = clients.filter_map(Client::tail_us).max();
                    let drain_us = tail_us.unwrap_or(0).clamp(DRAIN_US_MIN, DRAIN_US_MAX);
                    let look_at = self.window.until + Duration::from_micros(drain_us);
                    self.ending = Ending::Draining(look_at);
                    self.let_drain();
                }
                false
            }
            Ending::Draining(look_at) if at >= look_at => {
                let give_up = at >= self.window.until + Duration::from_micros(self.drain_us_max());
                if give_up || self.slots.iter().all(|slot| slot.has_tail(self.window)) {
                    self.close_books(at);
                    self.ending = Ending::Closing(at + CLOSED_WITHIN);
                } else {
                    self.ending = Ending::Draining(at + DRAIN_STEP);
                }
                false
            }
            Ending::Draining(_) => false,
            Ending::Closing(until) => at >= until || self.slots.iter().all(|s| s.stream.is_none()),
        }
    }

    fn drain_us_max(&self) -> u64 {
        let rooms = self.task.plan.rooms_load();
        let is_long =
            rooms.is_some_and(|rooms| rooms.comes_and_goes() || rooms.cast.has_slow_readers());
        if is_long { LONG_DRAIN_US_MAX } else { DRAIN_US_MAX }
    }

    /// Slow readers may read as fast as they can now, to show what becomes of them, and everybody
    /// is seen.
    fn let_drain(&mut self) {
        for key in 0..self.slots.len() {
            if let Some(client) = &mut self.slots[key].client {
                let turn = &mut Turn {
                    now: now(),
                    window: self.window,
                    tally: &mut self.tally,
                    board: &mut self.board,
                };
                client.handle_window_end(turn);
                self.after_turn(key);
            }
            let slot = &mut self.slots[key];
            if slot.pace.take().is_some()
                && let Some(stream) = &slot.stream
            {
                widen(stream);
                self.ready.push(key);
            }
        }
    }

    fn close_books(&mut self, at: Timestamp) {
        let mut ledgers = std::mem::take(&mut self.ledgers);
        for key in 0..self.slots.len() {
            let slot = &mut self.slots[key];
            slot.replaced = false;
            let Some(client) = &mut slot.client else { continue };
            // Who is going has closed its books.
            if client.stage() != Stage::Closing {
                let turn = &mut Turn {
                    now: at,
                    window: self.window,
                    tally: &mut self.tally,
                    board: &mut self.board,
                };
                ledgers.extend(client.finish(turn));
            }
            client.handle_stop();
            if slot.connected {
                self.after_turn(key);
            } else {
                slot.stream = None;
            }
        }
        let (tally, health) = (std::mem::take(&mut self.tally), std::mem::take(&mut self.health));
        let books = Books { share: self.task.share, ledgers, tally, health };
        let _ = self.mail.send(Mail::Finished(Box::new(books)));
    }
}
