//! The books of a client: what it had of its room, for the checks that take more than one client.

use tickloom_protocol::client::Client as ProtocolClient;
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::Tick;
use tickloom_protocol::replica::Outcome;
use tickloom_protocol::server_message::{DeltaHead, RoomClock};
use tickloom_protocol::time::Timestamp;

use super::RoomClient;
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
        let had = self.shown.map_or(head.tick, |shown| shown.tick).min(cutoff);
        let (send_every, whole) = (clock.send_every, self.shown.is_some());
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
        if outcome == Outcome::Snapshot && self.broken {
            let sends = (tick.0 - ledger.last.0).div_ceil(u32::from(clock.send_every));
            ledger.lost += sends - 1;
        }
        ledger.last = tick;
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
            let (shown, send_every) = (shown?, clock?.send_every);
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
