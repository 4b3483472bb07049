//! A room's time: when it ticks and sleeps, what its members are told of that, and what it takes.

use std::time::Duration;

use tickloom_protocol::link::binary_frame;
use tickloom_protocol::server_message::{RoomClock, ServerEncoder, ServerMessage, TimeSync};
use tickloom_protocol::time::Timestamp;

use crate::ledger::{Phase, Spent, Stopwatch};
use crate::room::logic::Dilation;
use crate::room::member::Member;
use crate::room::{READS_ON_TURN_TICK_US_MAX, Room, VIEW_SETTLES_STATES};
use crate::session::Reads;
use crate::session_table::Outboxes;

impl Room {
    /// No more ticks, unless inputs wait for theirs, or members have not been sent everything yet
    /// that is in view.
    pub(super) fn sleep(&mut self, at_most: Option<Duration>) {
        let takes_inputs = self.spec.schema.input().row_bytes() > 0;
        let has_acted = |member: &Member| !takes_inputs || member.inputs.is_empty();
        if self.has_shown_all() && self.members.values().all(has_acted) {
            self.ticker.sleep(at_most);
        }
    }

    /// Whether every member that is sent anything was sent all that is in view, and how it came to
    /// rest.
    pub(super) fn has_shown_all(&self) -> bool {
        if self.state.places().is_none() {
            return true;
        }
        let is_whole = |member: &Member| member.sight.as_ref().is_none_or(|sight| sight.is_whole());
        let mut members = self.members.values();
        self.idle_states > VIEW_SETTLES_STATES
            && members.all(|member| member.is_away() || member.is_paused() || is_whole(member))
    }

    /// From now on its ticks are measured with this.
    pub fn set_stopwatch(&mut self, stopwatch: Stopwatch) {
        self.stopwatch = stopwatch;
    }

    /// Notes what was done for it elsewhere.
    pub fn charge(&mut self, phase: Phase, nanos: u64) {
        self.spent.add(phase, nanos);
    }

    /// What it took since the last call.
    pub fn take_spent(&mut self) -> Spent {
        std::mem::take(&mut self.spent)
    }

    /// Ends a room's sleep.
    pub fn wake(&mut self, now: Timestamp) {
        self.ticker.wake(now);
    }

    /// From the next tick on, time runs at `scale_q16` / 65536 of real time if the room allows it.
    /// Says whether that is another pace than before.
    pub fn set_time_scale(&mut self, scale_q16: u32) -> bool {
        let may = self.spec.dilation == Dilation::Allowed;
        let scale_q16 = if may { scale_q16 } else { TimeSync::REAL_TIME };
        self.ticker.set_scale(scale_q16)
    }

    /// Whether the room has a rate and sleeps.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.ticker.is_asleep()
    }

    /// Lets the room's clock slip after a stall, and tells its members.
    pub fn slip(
        &mut self,
        now: Timestamp,
        encoder: &mut ServerEncoder,
        outboxes: &mut impl Outboxes,
    ) {
        self.ticker.slip(now);
        self.tell_time(now, encoder, outboxes);
    }

    /// Tells the members what became of the room's time.
    pub fn tell_time(
        &self,
        now: Timestamp,
        encoder: &mut ServerEncoder,
        outboxes: &mut impl Outboxes,
    ) {
        let sync = self.time_sync(now);
        let frame = binary_frame(encoder.encode(&ServerMessage::TimeSync(sync)));
        for member in self.members.values() {
            if let Some(outbox) = outboxes.outbox(member.session()) {
                outbox.push(frame.clone());
            }
        }
    }

    /// The room's clock at this moment, as the answer to nobody's ping.
    #[must_use]
    pub fn time_sync(&self, now: Timestamp) -> TimeSync {
        let epoch = self.ticker.clock().epoch;
        let (tick, scale_q16) = (self.ticker.tick(), self.ticker.scale_q16());
        TimeSync { client_us: 0, server: now, tick, epoch, scale_q16 }
    }

    /// When the room's ticks are due.
    #[must_use]
    pub fn clock(&self) -> RoomClock {
        self.ticker.clock()
    }

    /// When the room wants attention: for the next tick, which is never due in one that sleeps or
    /// has no rate while nothing changes, or to end. Without members it sleeps.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let tick = self.ticker.next_due().filter(|_| !self.members.is_empty());
        [tick, self.ends_at].into_iter().flatten().min()
    }

    /// When the sockets of its members are read. A room that ticks rarely or sleeps would keep
    /// pings and goodbyes waiting.
    #[must_use]
    pub fn reads(&self) -> Reads {
        let is_often = (1..=READS_ON_TURN_TICK_US_MAX).contains(&self.spec.tick_us());
        if is_often && !self.is_asleep() { Reads::OnTurn } else { Reads::OnArrival }
    }
}
