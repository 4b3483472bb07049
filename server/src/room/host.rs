//! What a room's host decides: who comes in, what strangers are told, who must go.

use tickloom_protocol::client_message::{Configure, Kick};
use tickloom_protocol::ids::{MemberId, OpId};
use tickloom_protocol::recording::Event;
use tickloom_protocol::server_message::{Accepted, RefusalCode};

use crate::properties::Properties;
use crate::room::Room;
use crate::room::admission::Admission;
use crate::room::failure::Call;
use crate::room::write::Refusal;
use crate::tokens::Token;

impl Room {
    /// Changes what the room is to newcomers, as a member asks: all of it or nothing. `salt` is
    /// for its password.
    ///
    /// # Errors
    /// Why nothing.
    pub fn handle_configure(
        &mut self,
        member: MemberId,
        configure: &Configure<'_>,
        salt: &Token,
    ) -> Result<Accepted, Refusal> {
        self.check_host(member)?;
        let metadata = configure.metadata.map(Properties::parse).transpose();
        let metadata = metadata.map_err(|error| {
            Refusal::new(RefusalCode::Invalid, format!("the metadata is of no use: {error}"))
        })?;
        self.record(Event::Configure { member, configure: *configure });
        let call = Call::Configure(member, configure);
        let answer = self.call(call, |logic, room| logic.on_configure(room, member, configure));
        self.allowed(answer)?;
        let admission = &mut self.admission;
        if let Some(is_locked) = configure.locked {
            admission.set_locked(is_locked);
        }
        if let Some(is_listed) = configure.listed {
            admission.set_listed(is_listed);
        }
        if let Some(password) = configure.password {
            admission.set_password(password, salt);
        }
        if let Some(metadata) = metadata {
            admission.set_metadata(metadata);
        }
        Ok(self.done(configure.op))
    }

    /// Sends a member away, as another one asks.
    ///
    /// # Errors
    /// Why not.
    pub fn handle_kick(&mut self, member: MemberId, kick: &Kick<'_>) -> Result<Accepted, Refusal> {
        self.check_host(member)?;
        if kick.member == member {
            let message = "leave the room instead of sending yourself away";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        if !self.members.contains_key(&kick.member) {
            let message = "there is no such member any more";
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        self.record(Event::Kick { member, kicked: kick.member, message: kick.message });
        let call = Call::Kick(member, kick);
        let answer = self.call(call, |logic, room| logic.on_kick(room, member, kick.member));
        self.allowed(answer)?;
        self.admission.send_away(kick.member, kick.message);
        Ok(self.done(kick.op))
    }

    /// Who gets in, to change it.
    pub fn admission_mut(&mut self) -> &mut Admission {
        &mut self.admission
    }

    /// Who gets in.
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    fn done(&self, op: OpId) -> Accepted {
        Accepted { op, tick: self.state.building(), entities: Vec::new() }
    }

    fn check_host(&self, member: MemberId) -> Result<(), Refusal> {
        if self.host == Some(member) {
            return Ok(());
        }
        Err(Refusal::new(RefusalCode::NotAllowed, "only the host of the room may"))
    }
}
