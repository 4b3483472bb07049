//! How many places a room has: seats that are taken, kept for somebody, or free, and what the list
//! of rooms says of it.

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::server_message::RefusalCode;
use tickloom_protocol::time::Timestamp;

use crate::listing::ListedRoom;
use crate::properties::Properties;
use crate::room::Room;
use crate::room::write::Refusal;
use crate::tokens::Token;

impl Room {
    /// Seats that are neither taken nor kept for somebody.
    pub fn seats_free(&mut self, now: Timestamp) -> usize {
        let taken = self.members.len() + self.admission.seats_reserved(now);
        self.spec.members_max.saturating_sub(taken)
    }

    /// Whether so many who know no name and look for this may come in.
    pub fn suits(&mut self, now: Timestamp, filter: &Properties, seats: usize) -> bool {
        self.admission.is_listed()
            && self.panicked.is_none()
            && self.admission.check_lock().is_ok()
            && !self.admission.has_password()
            && self.admission.metadata().hold(filter)
            && self.seats_free(now) >= seats
    }

    /// Whether there is a seat for somebody without a token.
    pub(super) fn check_seats(&mut self, now: Timestamp) -> Result<(), Refusal> {
        if self.seats_free(now) > 0 {
            return Ok(());
        }
        let seats = self.spec.members_max;
        let message = format!("all {seats} seats of {} are taken", self.key);
        Err(Refusal::new(RefusalCode::RoomFull, message))
    }

    /// Keeps a seat for each of these, who show their token.
    ///
    /// # Errors
    /// There are not so many; none is kept then.
    pub fn reserve<'a>(
        &mut self,
        now: Timestamp,
        seats: impl ExactSizeIterator<Item = (Token, &'a str)>,
    ) -> Result<(), Refusal> {
        self.admission.check_lock()?;
        let (free, wanted) = (self.seats_free(now), seats.len());
        if wanted > free {
            let message = format!("{wanted} seats of {} are wanted, {free} are free", self.key);
            return Err(Refusal::new(RefusalCode::RoomFull, message));
        }
        seats.for_each(|(token, name)| self.admission.reserve(now, token, name));
        Ok(())
    }

    /// What the list of rooms says of it, if it does.
    #[must_use]
    pub fn listed(&self) -> Option<&Arc<ListedRoom>> {
        self.listed.as_ref()
    }

    /// Brings up to date what the list of rooms says of it; says whether that is something else
    /// than before. Most rooms are in a second as they were in the one before.
    pub fn update_listed(&mut self, now: Timestamp) -> bool {
        if !self.admission.is_listed() {
            return self.listed.take().is_some();
        }
        let seats_free = self.seats_free(now);
        let (members_count, spectators_count) = (self.members.len(), 0);
        let admission = &self.admission;
        let (is_locked, has_password) = (admission.is_locked(), admission.has_password());
        if let Some(before) = &self.listed
            && (before.members_count, before.spectators_count) == (members_count, spectators_count)
            && (before.is_locked, before.has_password) == (is_locked, has_password)
            && before.seats_free == seats_free
            && Arc::ptr_eq(&before.metadata, admission.metadata())
        {
            return false;
        }
        self.listed = Some(Arc::new(ListedRoom {
            key: self.key.clone(),
            members_count,
            spectators_count,
            members_max: self.spec.members_max,
            seats_free,
            is_locked,
            has_password,
            metadata: Arc::clone(admission.metadata()),
            created: self.created,
        }));
        true
    }

    /// Until when it is kept without members, which it has lost or never had at `now`.
    #[must_use]
    pub fn lingers_until(&self, now: Timestamp, linger: Duration) -> Timestamp {
        let until = now + self.spec.linger.unwrap_or(linger);
        // Whoever has a token finds the room.
        self.admission.reserved_until().map_or(until, |reserved| reserved.max(until))
    }
}
