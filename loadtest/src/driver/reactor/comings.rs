//! Who comes and goes: at first, and while it is measured. One thread's share of what phases and
//! churn say.

use std::cmp::Reverse;
use std::time::Duration;

use fastrand::Rng;
use mio::{Interest, Token};
use socket2::SockRef;
use tickloom_protocol::time::Timestamp;

use super::pace::Pace;
use super::slot::{Slot, begin_connect};
use super::{Ending, Reactor, Wake, now};
use crate::client::{Client, Setup, Stage, Turn};
use crate::scenario::phases::Change;
use crate::tls::{Encryption, Tls};

/// Slots looked at for one that plays, before this turn of the churn is left out.
const TRIES_MAX: usize = 32;

/// Nobody is cut off so shortly before the end of the window: a room without a rate would have no
/// later state by which to tell that they came back.
const BACK_WITHIN: Duration = Duration::from_secs(1);

/// How a client goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Manner {
    /// It gives its seat back and closes.
    Farewell,
    /// Its connection ends without a word.
    Silence,
    /// Its connection is reset.
    Reset,
}

/// One thread's part of the churn.
#[derive(Clone, Debug)]
pub(super) struct Churning {
    from: Timestamp,
    /// From one of this thread's leavings to the next.
    period_us: u64,
    /// Leavings so far.
    count: u64,
    rng: Rng,
}

impl Churning {
    /// The part of thread `share` of `shares_count`, when somebody leaves every `period_us`.
    pub(super) fn new(
        from: Timestamp,
        period_us: u64,
        (share, shares_count): (usize, usize),
        seed: u64,
    ) -> Self {
        let offset_us = period_us * (share as u64 + 1);
        Self {
            from: from + Duration::from_micros(offset_us),
            period_us: period_us * shares_count as u64,
            count: 0,
            rng: Rng::with_seed(seed ^ share as u64),
        }
    }

    /// When the next one leaves.
    pub(super) fn next_at(&self) -> Timestamp {
        Timestamp(self.from.0.saturating_add(self.count.saturating_mul(self.period_us)))
    }

    /// How the next one leaves, and who: one of `slots_count` that plays.
    pub(super) fn next(
        &mut self,
        slots_count: usize,
        plays: impl Fn(usize) -> bool,
    ) -> Option<(usize, Manner)> {
        let manners = [Manner::Farewell, Manner::Silence, Manner::Reset];
        let manner = manners[(self.count % 3) as usize];
        self.count += 1;
        if slots_count == 0 {
            return None;
        }
        let slot = (0..TRIES_MAX).map(|_| self.rng.usize(..slots_count)).find(|slot| plays(*slot));
        slot.map(|slot| (slot, manner))
    }
}

impl<C: Client> Reactor<C> {
    /// Puts everything that is to happen in the window into the heap.
    pub(super) fn schedule_changes(&mut self) {
        let (window, plan) = (self.window, &self.task.plan);
        for key in 0..self.slots.len() {
            let changes = plan.phases().changes_of(self.index_of(key), window.from);
            let wakes = changes.into_iter().map(|(at, change)| (at, Wake::Change(key, change)));
            self.wakes.extend(wakes.map(Reverse));
        }
        let churn = plan.rooms_load().and_then(|rooms| rooms.churn);
        if let Some(period_us) = churn.and_then(|churn| churn.period_us(plan.clients_count)) {
            let share = (self.task.share, plan.shares_count());
            let churning = Churning::new(window.from, period_us, share, plan.seed);
            self.wakes.push(Reverse((churning.next_at(), Wake::Churn)));
            self.churning = Some(churning);
        }
        let drops = plan.rooms_load().and_then(|rooms| rooms.interruptions.drops);
        if let Some(period_us) = drops.and_then(|drops| drops.period_us(plan.clients_count)) {
            let share = (self.task.share, plan.shares_count());
            let dropping = Churning::new(window.from, period_us, share, !plan.seed);
            self.wakes.push(Reverse((dropping.next_at(), Wake::Drop)));
            self.dropping = Some(dropping);
        }
        let rounds = plan.storm().into_iter().flat_map(|storm| storm.rounds(window));
        self.wakes.extend(rounds.map(|(begin, _)| Reverse((begin, Wake::Storm))));
    }

    pub(super) fn connect_due(&mut self, at: Timestamp) {
        while self.ending == Ending::NotYet
            && self.begun_count < self.first_count()
            && self.connect_at(self.begun_count) <= at
        {
            self.begun_count += 1;
            self.connect(self.begun_count - 1);
        }
    }

    pub(super) fn connect(&mut self, key: usize) {
        let client = C::new(&self.setup(key), now());
        let slot = &mut self.slots[key];
        // What is in the heap of the client before stays there, and finds this one.
        let (encryption, timed, paused) = (slot.encryption.take(), slot.timed, slot.paused);
        let life = slot.life + 1;
        *slot = Slot { client: Some(client), encryption, life, timed, paused, ..Slot::empty() };
        self.tally.counters.clients_begun += 1;
        self.open(key);
    }

    /// What the next client of a slot is told, or the one that comes back to it.
    fn setup(&self, key: usize) -> Setup<'_> {
        let task = &self.task;
        Setup {
            plan: &task.plan,
            url: &task.url,
            index: self.index_of(key),
            life: self.slots[key].life,
            start: task.start,
            clock_offset_us: task.clock_offset_us,
        }
    }

    /// Opens a connection for the client of a slot.
    fn open(&mut self, key: usize) {
        let index = self.index_of(key);
        let task = &self.task;
        let sources = &task.plan.local_addresses;
        let source = (!sources.is_empty()).then(|| sources[index as usize % sources.len()]);
        let rooms = task.plan.rooms_load();
        let read_rate = rooms.and_then(|rooms| rooms.cast.place(index).read_rate);
        let pace = read_rate.map(|bytes_per_s| Pace::new(bytes_per_s, now()));
        let pace = pace.filter(|_| self.ending == Ending::NotYet);
        let stream = begin_connect(task.address, source, pace.is_some()).and_then(|mut stream| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(key), interest)?;
            Ok(stream)
        });
        let slot = &mut self.slots[key];
        let ours = self.encryption.as_ref();
        let encryption = slot.encryption.take().or_else(|| ours.map(Encryption::of_client));
        slot.tls = encryption.as_ref().map(|encryption| Box::new(Tls::new(encryption)));
        (slot.encryption, slot.pace, slot.connected) = (encryption, pace, false);
        match stream {
            Ok(stream) => self.slots[key].stream = Some(stream),
            Err(error) => self.disconnect(key, &format!("connect: {}", error.kind())),
        }
    }

    pub(super) fn change(&mut self, key: usize, change: Change) {
        let is_there = self.slots[key].stream.is_some();
        match change {
            _ if self.ending != Ending::NotYet => {}
            Change::Go => self.leave(key, Manner::Farewell),
            // It is still going: it comes back when it has gone.
            Change::Come if is_there => self.slots[key].replaced = true,
            Change::Come => self.connect(key),
        }
    }

    pub(super) fn churn(&mut self) {
        let Some(churning) = &mut self.churning else { return };
        let slots = &self.slots;
        let plays = |key: usize| slots[key].stage() == Some(Stage::Playing);
        let next = churning.next(slots.len(), plays);
        let next_at = churning.next_at();
        if next_at < self.window.until {
            self.wakes.push(Reverse((next_at, Wake::Churn)));
        }
        if let Some((key, manner)) = next.filter(|_| self.ending == Ending::NotYet) {
            self.slots[key].replaced = true;
            self.tally.counters.churn_leaves += 1;
            self.leave(key, manner);
        }
    }

    /// Cuts a connection, which its client knows nothing of before.
    pub(super) fn drop_one(&mut self) {
        let Some(dropping) = &mut self.dropping else { return };
        let slots = &self.slots;
        let plays = |key: usize| slots[key].stage() == Some(Stage::Playing);
        let next = dropping.next(slots.len(), plays);
        let next_at = dropping.next_at();
        if next_at + BACK_WITHIN < self.window.until {
            self.wakes.push(Reverse((next_at, Wake::Drop)));
        }
        let Some((key, manner)) = next.filter(|_| self.ending == Ending::NotYet) else { return };
        // A farewell is no cut.
        self.cut(key, if manner == Manner::Farewell { Manner::Silence } else { manner });
    }

    /// Cuts every connection, one half each way.
    pub(super) fn drop_all(&mut self) {
        for key in 0..self.slots.len() {
            if self.slots[key].stage() == Some(Stage::Playing) && self.ending == Ending::NotYet {
                self.cut(key, if key % 2 == 0 { Manner::Silence } else { Manner::Reset });
            }
        }
    }

    fn cut(&mut self, key: usize, manner: Manner) {
        let Some(client) = &mut self.slots[key].client else { return };
        let turn = &mut Turn {
            now: now(),
            window: self.window,
            tally: &mut self.tally,
            board: &mut self.board,
        };
        if !client.handle_cut(turn) {
            self.slots[key].replaced = true;
            return self.leave(key, manner);
        }
        self.end_rudely(key, manner);
        self.gone(key);
    }

    /// Whoever was cut off connects again.
    pub(super) fn come_back(&mut self, key: usize) {
        let is_away = self.slots[key].stage() == Some(Stage::Away);
        if !is_away || matches!(self.ending, Ending::Closing(_)) {
            return;
        }
        let Some(mut client) = self.slots[key].client.take() else { return };
        client.come_back(&self.setup(key), now());
        self.slots[key].client = Some(client);
        self.open(key);
    }

    /// Has a connection end in another way than by a close.
    fn end_rudely(&self, key: usize, manner: Manner) {
        if let (Manner::Reset, Some(stream)) = (manner, &self.slots[key].stream) {
            // One that cannot be reset ends silently instead.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Has a client go, in the middle of the run.
    pub(super) fn leave(&mut self, key: usize, manner: Manner) {
        let slot = &mut self.slots[key];
        let Some(client) = &mut slot.client else { return };
        let is_withdrawn =
            matches!(client.stage(), Stage::Upgrading | Stage::Joining) && !client.is_displaced();
        self.tally.counters.clients_withdrawn += u64::from(is_withdrawn);
        let turn = &mut Turn {
            now: now(),
            window: self.window,
            tally: &mut self.tally,
            board: &mut self.board,
        };
        self.ledgers.extend(client.handle_leave(turn));
        if manner == Manner::Farewell && slot.connected {
            return self.after_turn(key);
        }
        self.end_rudely(key, manner);
        self.gone(key);
    }

    /// A connection is over: its client comes back, or somebody else may come.
    pub(super) fn gone(&mut self, key: usize) {
        let slot = &mut self.slots[key];
        slot.stream = None;
        if let Some(at) = slot.client.as_ref().and_then(Client::returns_at) {
            self.wakes.push(Reverse((at, Wake::Return(key))));
        } else if std::mem::take(&mut slot.replaced) {
            self.connect(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_keep_the_rate_together() {
        let from = Timestamp(1_000_000);
        let mut moments: Vec<u64> = Vec::new();
        for share in 0..3 {
            let mut churning = Churning::new(from, 2_000, (share, 3), 7);
            for _ in 0..50 {
                moments.push(churning.next_at().0 - from.0);
                assert!(churning.next(10, |_| true).is_some_and(|(slot, _)| slot < 10));
            }
        }
        moments.sort_unstable();
        let even: Vec<u64> = (1..=150).map(|k| k * 2_000).collect();
        assert_eq!(moments, even);
    }

    #[test]
    fn only_those_who_play_leave_and_each_manner_has_its_turn() {
        let mut churning = Churning::new(Timestamp(0), 1_000, (0, 1), 7);
        assert_eq!(churning.next(0, |_| true), None);
        assert_eq!(churning.next(5, |_| false), None);
        let left: Vec<(usize, Manner)> =
            (0..3).filter_map(|_| churning.next(2, |slot| slot == 1)).collect();
        assert_eq!(left, [(1, Manner::Reset), (1, Manner::Farewell), (1, Manner::Silence)]);
    }
}
