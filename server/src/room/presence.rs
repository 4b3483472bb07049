//! How often members may say how they are: where thousands move at once, what one of them does at
//! every tick is more than all the others can take.

use std::time::Duration;

use tickloom_protocol::changes::{Change, Target, read_changes};
use tickloom_protocol::client_message::Write;
use tickloom_protocol::ids::{EntityId, MemberId};
use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use crate::room::Room;
use crate::room::write::Refusal;

impl Room {
    /// Whether a member has not changed its own entity too often to do so again. What it writes
    /// about anything else is not counted, and what cannot be read is for others to refuse.
    ///
    /// # Errors
    /// It has; the refusal says how long to wait. The newest value is the client's to keep.
    pub fn check_presence(
        &mut self,
        now: Timestamp,
        member: MemberId,
        write: &Write<'_>,
    ) -> Result<(), Refusal> {
        let Some(rate) = self.spec.presence_rate else { return Ok(()) };
        let Some(seat) = self.members.get_mut(&member) else { return Ok(()) };
        let mut changes = Vec::new();
        let is_read = read_changes(write.changes, self.spec.schema.as_ref(), &mut changes).is_ok();
        let own = seat.entity();
        if !is_read || changes.is_empty() || !changes.iter().all(|change| is_about(change, own)) {
            return Ok(());
        }
        if seat.presence.take(now, rate) {
            return Ok(());
        }
        let wait = seat.presence.room_at(rate).saturating_since(now);
        let message = "your own entity changes more often than this room lets it";
        let retry = Some(wait.max(Duration::from_millis(1)));
        Err(Refusal { retry, ..Refusal::new(RefusalCode::Busy, message) })
    }
}

fn is_about(change: &Change<'_>, own: EntityId) -> bool {
    match change {
        Change::Leave(_) | Change::Enter { .. } => false,
        Change::Row(_, target, _)
        | Change::Removed(_, target)
        | Change::Opaque(_, target, _)
        | Change::Prop(_, target, ..) => *target == Target::from(own),
    }
}
