//! The books of a client: what it had of its room, for the checks that take more than one client.

use tickloom_protocol::client::Client as ProtocolClient;
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::Tick;
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::server_message::{DeltaHead, RoomClock};
use tickloom_protocol::time::Timestamp;

use super::{RoomClient, sends};
use crate::client::{Digest, Ledger, Stage, Turn};
use crate::tally::Window;

/// How long after the window rooms without a rate may take to show what was sent in it. What they
/// show later is of clients that leave.
const SETTLED_AFTER_US: u64 = 700_000;

impl RoomClient {
    pub(super) fn write_ledger(
        &mut self,
        clock: &RoomClock,
        head: DeltaHead,
        outcome: Outcome,
        window: Window,
        now: Timestamp,
    ) {
        let is_over =
            clock.tick_us == 0 && now.0 >= window.until.0.saturating_add(SETTLED_AFTER_US);
        if !window.has_begun(now) || is_over {
            return;
        }
        let cutoff = self.cutoff(clock, window);
        let before = self.shown.map_or((head.tick, head.load_level), |it| (it.tick, it.load_level));
        let (had, whole) = (before.0.min(cutoff), self.shown.is_some());
        let send_every = sends::interval(clock, head.load_level);
        let ledger = self.ledger.get_or_insert(Ledger {
            room: self.room,
            send_every,
            first: had,
            last: had,
            whole,
            ..Ledger::default()
        });
        let tick = head.tick.min(cutoff);
        if head.tick >= cutoff && ledger.digest.is_none() {
            // After the window, so that hashing whole rooms is in nobody's way.
            ledger.digest = digest(&self.protocol);
        }
        if tick <= ledger.last {
            return;
        }
        let until = (tick, head.load_level);
        let sends = sends::between(clock, (ledger.last, before.1), until);
        // What came within the window was sent, whatever the level was between the two.
        let sends = sends.max(u32::from(tick == head.tick));
        if outcome == Outcome::Snapshot && self.broken {
            ledger.lost += sends.saturating_sub(1);
        }
        ledger.sends += sends;
        (ledger.last, ledger.send_every) = (tick, send_every);
    }

    pub(super) fn close_books(&mut self, turn: &mut Turn<'_>, stayed: bool) -> Option<Ledger> {
        let is_playing = self.stage == Stage::Playing;
        if is_playing {
            self.sample_age(turn);
        }
        if !stayed {
            self.forget_hiding(turn);
        }
        let clock = self.protocol.seat().map(|seat| seat.clock);
        if let Some(shown) = self.shown.as_mut().filter(|_| !stayed) {
            // What it would show does not get older: nobody looks.
            shown.has_age = false;
        }
        if is_playing && stayed {
            self.count_view(turn);
        }
        let shown = self.shown;
        let mut ledger = self.ledger.take().or_else(|| {
            // Nothing at all arrived in the window.
            let shown = shown?;
            let send_every = sends::interval(&clock?, shown.load_level);
            let (first, last) = (shown.tick, shown.tick);
            let whole = turn.window.has_begun(turn.now);
            Some(Ledger { room: self.room, send_every, first, last, whole, ..Ledger::default() })
        });
        // The workload closes its books even when nobody can use them.
        let mut unused = Ledger::default();
        let entry = ledger.as_mut().unwrap_or(&mut unused);
        entry.stayed = stayed;
        entry.whole &= stayed && is_playing;
        entry.is_slow = self.is_slow;
        self.workload.finish(self.protocol.seat().filter(|_| is_playing), turn, entry);
        if let Some(clock) = clock {
            entry.last = entry.last.min(self.cutoff(&clock, turn.window));
            if clock.tick_us == 0 && is_playing && stayed {
                entry.digest = digest(&self.protocol);
            }
        }
        ledger
    }

    /// Counts what a client of a room with interest sees.
    fn count_view(&self, turn: &mut Turn<'_>) {
        let Some(seat) = self.protocol.seat() else { return };
        if seat.replica.entities().schema().interest().is_none() {
            return;
        }
        let counters = &mut turn.tally.counters;
        counters.views_counted += 1;
        for (stream, entities_count) in seat.replica.streams() {
            counters.view_cells += u64::from(stream.cell().is_some());
            counters.view_entities += entities_count as u64;
        }
    }
}

/// What a client's replica is, when it is anything. Those of a room with interest cannot be compared
/// with each other: a cell that is far from one client and near to another is at two states. The
/// hashes of its cells, each checked every two seconds, speak for them.
fn digest(protocol: &ProtocolClient) -> Option<Digest> {
    let replica = &protocol.seat()?.replica;
    if replica.entities().schema().interest().is_some() {
        return None;
    }
    let tick = replica.tick();
    let hash = || replica.entities().hash(View::Room, &mut Vec::new());
    (tick != Tick::ZERO).then(|| Digest { tick, hash: hash() })
}
