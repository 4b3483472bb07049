//! Members whose connection broke: their seat is kept for a while, with everything they own.
//!
//! ```text
//! here --connection breaks--> away --resume in time--> here
//!   |                           '---grace is over---> gone
//!   '--Leave--> gone
//! ```
//!
//! Whoever is away does nothing and is sent nothing. Its id, its entities and what it was sent last
//! stay, so that it comes back by one catch-up and the events it has not heard. How long the seat
//! is kept, and who may come back to it, is the shard's business.

use std::time::Duration;

use tickloom_protocol::ids::{MemberId, Tick};
use tickloom_protocol::recording::Event;
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::Joined;
use tickloom_protocol::time::Timestamp;

use crate::room::Room;
use crate::room::broadcast::SharedWindow;
use crate::room::events::Hearing;
use crate::room::failure::Call;
use crate::room::member::{Answers, InputQueue, Member};
use crate::session::{Claim, SessionId};

impl Room {
    /// A member's connection broke, and its seat is kept until then.
    pub fn handle_drop(&mut self, member: MemberId, until: Timestamp) {
        self.record(Event::Drop(member));
        let Some(seat) = self.members.get_mut(&member) else { return };
        let (had_window, was_paused) = (seat.window.is_some(), seat.is_paused());
        seat.part(until);
        self.let_go(had_window, was_paused);
        self.call(Call::Drop(member), |logic, room| logic.on_drop(room, member));
        self.ticker.want();
    }

    /// Somebody claims a seat that it does not get, and gets another: not one of the same id, or it
    /// would take that for its own.
    pub(crate) fn pass_over(&mut self, claimed: MemberId) {
        self.record(Event::PassOver(claimed));
        // What is next of those that nobody has, as long as there are any.
        for _ in 0..self.members.len() {
            if self.members.contains_key(&MemberId(self.next_member)) {
                self.next_member = self.next_member.checked_add(1).unwrap_or(1);
            }
        }
        if self.next_member == claimed.0 {
            self.next_member = self.next_member.checked_add(1).unwrap_or(1);
        }
    }

    /// Gives a member its seat back, over another connection. The caller knows that it is its own;
    /// what it says it has is not believed beyond what it was sent.
    pub fn resume(&mut self, session: SessionId, claim: &Claim) -> Option<Joined> {
        let is_seen_whole = self.spec.schema.interest().is_none();
        let member = claim.member;
        self.record(Event::Return(member));
        let seat = self.members.get_mut(&member)?;
        let was_away = seat.is_away();
        let (had_window, was_paused) = (seat.window.is_some(), seat.is_paused());
        seat.sit(session);
        // Where a member sees a part of the room, nobody knows which part it had then.
        seat.baseline = if is_seen_whole { seat.baseline.min(claim.tick) } else { Tick::ZERO };
        seat.behind_since = Tick::ZERO;
        seat.hearing = seat.hears_from(claim, self.events.hearing_of_newcomer());
        let (listener, hearing, entity) = (seat.listener(), seat.hearing, seat.entity());
        self.let_go(had_window, was_paused);
        let recovered = self.events.keeps(listener, hearing);
        if recovered {
            self.events.hold();
        }
        if was_away {
            self.call(Call::Return(member), |logic, room| logic.on_return(room, member));
        }
        self.ticker.want();
        let (clock, tick) = (self.ticker.clock(), self.ticker.tick());
        let schema = RoomSchema::clone(self.state.schema());
        Some(Joined { recovered, ..Joined::new(member, entity, clock, tick, schema) })
    }

    /// Lets go of what the room had for a member's connection: when nobody is left who takes
    /// compressed frames, of what those may refer to.
    pub(super) fn let_go(&mut self, had_window: bool, was_paused: bool) {
        if had_window && self.members.values().all(|member| member.window.is_none()) {
            self.window = SharedWindow::default();
        }
        self.paused_count -= usize::from(was_paused);
    }

    /// How long a seat is kept, where the room's type says so.
    #[must_use]
    pub fn grace(&self) -> Option<Duration> {
        self.spec.grace
    }
}

impl Member {
    /// Its connection is gone.
    fn part(&mut self, until: Timestamp) {
        self.session = SessionId::NOBODY;
        self.away_until = until;
        self.forget_connection();
    }

    /// It has another connection.
    fn sit(&mut self, session: SessionId) {
        self.session = session;
        self.away_until = Timestamp::ZERO;
        self.returns += 1;
        self.forget_connection();
    }

    /// What was agreed on, asked and said over one connection has no meaning for the next.
    fn forget_connection(&mut self) {
        self.inputs = InputQueue::default();
        self.answers = Answers::default();
        self.window = None;
        self.sight = None;
        self.attention = None;
    }

    /// What it has heard by its own account, which is never more than it was sent. Who has heard
    /// nothing hears what a newcomer would have, and what was said since.
    fn hears_from(&self, claim: &Claim, newcomer: Hearing) -> Hearing {
        let Hearing { public, private, private_next, history } = self.hearing;
        let private = claim.private_from.clamp(1, private);
        if claim.events_from == 0 {
            let (public, history) = (self.came_at, newcomer.history);
            return Hearing { public, private, private_next, history };
        }
        let public = claim.events_from.clamp(self.came_at.min(public), public);
        Hearing { public, private, private_next, history }
    }
}
