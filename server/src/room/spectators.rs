//! Those who only watch: they get what everybody sees, in the very same bytes, and nothing else.
//!
//! A spectator is among the room's members where it is about sending, and nowhere else: it has no
//! entity, no inputs and no say, it is no host, and the room's logic does not see it.

use tickloom_protocol::ids::{EntityId, MemberId};
use tickloom_protocol::recording::Event;
use tickloom_protocol::server_message::{Joined, RefusalCode};
use tickloom_protocol::time::Timestamp;

use crate::room::Room;
use crate::room::failure::Call;
use crate::room::logic::Joiner;
use crate::room::member::Member;
use crate::room::write::Refusal;
use crate::session::{PendingJoin, SessionId};
use crate::session_table::Outboxes;

impl Room {
    /// Shows those who watch late what is old enough by now, and keeps what everybody else is sent.
    pub(super) fn show_late(
        &mut self,
        now: Timestamp,
        with_hash: bool,
        outboxes: &mut impl Outboxes,
    ) {
        let Some(late) = &mut self.late else { return };
        late.record(now, &mut self.state, &mut self.events, with_hash);
        for member in self.members.values_mut().filter(|member| member.is_late()) {
            if let Some(outbox) = outboxes.outbox(member.session()) {
                member.baseline = late.deliver(now, member.baseline, outbox);
            }
        }
        late.forget(now);
    }

    /// Lets a session watch. A lock is about seats and keeps nobody from it; a password does.
    pub(super) fn spectate(
        &mut self,
        now: Timestamp,
        session: SessionId,
        join: &PendingJoin,
    ) -> Result<Joined, Refusal> {
        let places = self.spec.spectators_max;
        if places == 0 {
            let message = "nobody may watch rooms of this type";
            return Err(Refusal::new(RefusalCode::NotAllowed, message));
        }
        self.admission.check_password(&join.password)?;
        if !self.has_place_to_watch() {
            let message = format!("all {places} places for spectators of {} are taken", self.key);
            return Err(Refusal::new(RefusalCode::RoomFull, message));
        }
        let member = self.watch(now, session, &join.name, &join.options)?;
        Ok(Joined { spectator: true, ..self.joined(member, EntityId::ROOM, join) })
    }

    /// Whether one more may watch.
    pub(crate) fn has_place_to_watch(&self) -> bool {
        self.spectators_count < self.spec.spectators_max
    }

    /// Lets a session watch that was let in.
    pub(crate) fn watch(
        &mut self,
        now: Timestamp,
        session: SessionId,
        name: &str,
        options: &[u8],
    ) -> Result<MemberId, Refusal> {
        self.record(Event::Spectate { name, options });
        let (member, entity) = (self.free_member_id()?, EntityId::ROOM);
        let joiner = Joiner { member, entity, name, options };
        let call = Call::Spectate(&joiner);
        let answer = self.call(call, |logic, context| logic.on_spectate(context, &joiner));
        self.allowed(answer)?;
        if self.members.is_empty() {
            // The room slept; its clock goes on where it stopped.
            self.ticker.slip(now);
        }
        let hearing = self.events.hearing_of_newcomer();
        self.joins_count += 1;
        self.spectators_count += 1;
        let seat = Member::spectator(session, hearing, self.joins_count);
        let seat = if self.late.is_some() { seat.late() } else { seat };
        self.members.insert(member, seat);
        self.ticker.want();
        Ok(member)
    }
}
