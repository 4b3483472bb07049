//! How many places a room has: seats that are taken, kept for somebody, or free; who gets one; and
//! what the list of rooms says of it.

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::ids::{EntityId, MemberId};
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::{Joined, RefusalCode};
use tickloom_protocol::time::Timestamp;

use crate::listing::ListedRoom;
use crate::properties::Properties;
use crate::room::Room;
use crate::room::admission::ReservedSeat;
use crate::room::write::Refusal;
use crate::session::{Naming, PendingJoin};
use crate::tokens::Token;

impl Room {
    /// Seats that are neither taken nor kept for somebody.
    pub fn seats_free(&mut self, now: Timestamp) -> usize {
        let taken = self.players_count() + self.admission.seats_reserved(now);
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

    /// Lets somebody in who may take a seat: one that is kept for its token, or a free one.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        join: &PendingJoin,
    ) -> Result<Option<ReservedSeat>, Refusal> {
        if !join.seat.is_empty() {
            return self.admission.redeem(now, &join.seat).map(Some);
        }
        self.admission.check_lock()?;
        self.admission.check_password(&join.password)?;
        self.check_seats(now)?;
        Ok(None)
    }

    /// What a newcomer is told.
    pub(super) fn joined(&self, member: MemberId, entity: EntityId, join: &PendingJoin) -> Joined {
        let (clock, tick) = (self.ticker.clock(), self.ticker.tick());
        let schema = RoomSchema::clone(self.state.schema());
        // A client that knows the name need not be told.
        let room = match join.naming {
            Naming::Client => Box::default(),
            Naming::Code | Naming::Server { .. } => self.key.room.clone(),
        };
        Joined { room, ..Joined::new(member, entity, clock, tick, schema) }
    }

    /// The next id that nobody has. There are fewer seats than ids, but spectators have ids, too.
    pub(super) fn free_member_id(&mut self) -> Result<MemberId, Refusal> {
        if self.members.len() >= usize::from(u16::MAX) {
            let message = format!("{} has no id left for another member", self.key);
            return Err(Refusal::new(RefusalCode::RoomFull, message));
        }
        loop {
            let id = MemberId(self.next_member);
            self.next_member = self.next_member.checked_add(1).unwrap_or(1);
            if !self.members.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    /// Whether there is a seat for somebody without a token.
    fn check_seats(&mut self, now: Timestamp) -> Result<(), Refusal> {
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
        let (members_count, spectators_count) = (self.players_count(), self.spectators_count);
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

    /// Those who do more than watch.
    #[must_use]
    pub fn players_count(&self) -> usize {
        self.members.len() - self.spectators_count
    }

    /// Those who only watch.
    #[must_use]
    pub fn spectators_count(&self) -> usize {
        self.spectators_count
    }

    /// Notes when the room ends unless somebody comes, if nobody is there who does more than
    /// watch. `linger` is how long rooms are kept whose type says nothing of it.
    pub fn note_vacancy(&mut self, now: Timestamp, linger: Duration) {
        if self.players_count() > 0 {
            return;
        }
        let linger = self.spec.linger.unwrap_or(linger);
        let until = *self.ends_at.get_or_insert(now + linger);
        // Whoever has a token finds the room.
        let reserved = self.admission.reserved_until();
        self.ends_at = Some(reserved.map_or(until, |reserved| reserved.max(until)));
    }

    /// Whether nobody has come back in time.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|at| at <= now)
    }

    /// Checks what the field comments promise.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn check_invariants(&self) {
        let spectators = self.members.values().filter(|member| member.is_spectator());
        assert_eq!(spectators.count(), self.spectators_count, "{}: spectators", self.key);
        let (players, seats) = (self.players_count(), self.spec.members_max);
        let taken = players + self.admission.seats_noted();
        assert!(taken <= seats, "{}: {taken} of {seats} seats are taken", self.key);
        assert!(self.spectators_count <= self.spec.spectators_max, "{}: spectators", self.key);
        let host = self.host.and_then(|host| self.members.get(&host));
        assert_eq!(host.is_some_and(|host| !host.is_spectator()), players > 0, "{}", self.key);
        assert!(players == 0 || self.ends_at.is_none(), "{} ends though it is used", self.key);
    }
}
