//! What members ask of their room beside inputs: to change its state, and to say something.

use tickloom_protocol::client_message::{Publish, Write};
use tickloom_protocol::ids::MemberId;
use tickloom_protocol::recording::Event;
use tickloom_protocol::server_message::{Accepted, RefusalCode};

use crate::room::Room;
use crate::room::failure::Call;
use crate::room::member::Member;
use crate::room::write::{self, Refusal, WriteError, Writer};

impl Room {
    /// Changes the state as a member asks: all of it or nothing.
    ///
    /// # Errors
    /// Why nothing.
    pub fn handle_write(
        &mut self,
        member: MemberId,
        write: &Write<'_>,
    ) -> Result<Accepted, WriteError> {
        let Some(seat) = self.members.get(&member) else {
            let refusal = Refusal::new(RefusalCode::NotJoined, "there is no such seat");
            return Err(WriteError::Refused(refusal));
        };
        let writer = self.writer(member, seat).map_err(WriteError::Refused)?;
        let changes = write::check(&self.state, writer, write)?;
        self.record(Event::Write { member, if_tick: write.if_tick, changes: write.changes });
        let call = Call::Write(member, write.changes);
        let answer = self.call(call, |logic, room| logic.on_write(room, member, &changes));
        self.allowed(answer).map_err(WriteError::Refused)?;
        self.ticker.want();
        Ok(write::apply(&mut self.state, write.op, &changes))
    }

    /// Says something to the room's members, as a member asks.
    ///
    /// # Errors
    /// Why not.
    pub fn handle_publish(
        &mut self,
        member: MemberId,
        publish: &Publish<'_>,
    ) -> Result<Accepted, Refusal> {
        let topic = self.spec.schema.topics().get(publish.topic.index());
        let Some(topic) = topic else {
            return Err(Refusal::new(RefusalCode::Invalid, "this room has no such topic"));
        };
        let Some(seat) = self.members.get(&member) else {
            return Err(Refusal::new(RefusalCode::NotJoined, "there is no such seat"));
        };
        let writer = self.writer(member, seat)?;
        if !writer.may(topic.publish, MemberId::SERVER) {
            let message = format!("`{}` is not yours to publish on", topic.name);
            return Err(Refusal::new(RefusalCode::NotAllowed, message));
        }
        let Publish { topic, to, body, .. } = *publish;
        self.record(Event::Publish { member, topic, to, body });
        let call = Call::Publish(member, publish);
        let answer = self.call(call, |logic, room| logic.on_publish(room, member, publish));
        self.allowed(answer)?;
        let goes_out = if publish.to.is_empty() {
            self.events.publish(member, publish.topic, publish.body)
        } else {
            self.publish_to(member, publish)
        };
        if !goes_out {
            return Err(Refusal::new(RefusalCode::Busy, "this tick carries no more events"));
        }
        self.ticker.want();
        Ok(Accepted { op: publish.op, tick: self.state.building(), entities: Vec::new() })
    }

    fn writer(&self, member: MemberId, seat: &Member) -> Result<Writer, Refusal> {
        if seat.is_spectator() {
            return Err(Refusal::new(RefusalCode::NotAllowed, "spectators only watch"));
        }
        let is_host = self.host == Some(member);
        let seats_free = self.spec.members_max - self.players_count();
        Ok(Writer { member, entity: seat.entity(), is_host, seats_free })
    }

    fn publish_to(&mut self, from: MemberId, publish: &Publish<'_>) -> bool {
        let mut recipients = Vec::with_capacity(publish.to.iter().len());
        let mut ids = Vec::with_capacity(recipients.capacity());
        for id in publish.to.iter() {
            // Who is not here hears nothing; who is named twice hears it once.
            if let Some(member) = self.members.get(&id).filter(|seat| !seat.is_spectator())
                && recipients.iter().all(|(known, _)| *known != member.listener())
            {
                recipients.push((member.listener(), member.hearing.private_next));
                ids.push(id);
            }
        }
        if recipients.is_empty() {
            return true;
        }
        let goes_out = self.events.publish_to(from, publish.topic, publish.body, &recipients);
        for id in ids.iter().filter(|_| goes_out) {
            if let Some(member) = self.members.get_mut(id) {
                member.hearing.private_next += 1;
            }
        }
        goes_out
    }
}
