//! Streams that not everybody gets: cells, what is a member's own, and what is a team's.
//!
//! ```text
//! a cell, to all in view     leaves | enters | values of who entered, changes of the others
//! a cell's motion, by ring   rows of who moved since the ring was told last
//! a member's or team's own   values of what it owns; in a room with interest also of what is
//!                            not in view, so who goes is named here as well
//! ```
//!
//! A cell goes from one state to the next only: whoever missed one gets its snapshots.

use std::borrow::Cow;

use tickloom_protocol::chunks::{
    ChunkKind, GapWriter, SectionKind, put_chunk, put_section, put_varint,
};
use tickloom_protocol::entities::hash_of_snapshot;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, StreamId, Tick};
use tickloom_protocol::schema::{Kind, Scope};

use super::State;
use crate::room::state::places::{PlaceId, Places};
use crate::room::state::teams::TeamId;

/// The body of a chunk in which nobody leaves, enters or changes.
const EMPTY_BODY: [u8; 2] = [0, 0];

/// Whose private stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Private {
    /// A member's.
    Member(MemberId),
    /// A team's.
    Team(TeamId),
}

impl Private {
    fn scope(self) -> Scope {
        match self {
            Self::Member(_) => Scope::Owner,
            Self::Team(_) => Scope::Team,
        }
    }

    fn stream(self) -> StreamId {
        match self {
            Self::Member(_) => StreamId::MEMBER,
            Self::Team(_) => StreamId::TEAM,
        }
    }
}

// ---- cells -------------------------------------------------------------------------------------

impl State {
    /// Begins a state of a room with interest: finds out what came, went and changed where.
    pub fn settle(&mut self) {
        let Some(places) = &mut self.places else { return };
        let (born, since) = (&self.born, self.dirty_since);
        places.settle(self.building, |entity| born[entity.index()] > since);
        for (history, desc) in self.histories.iter().zip(self.schema.components()) {
            if desc.scope != Scope::Room || history.last_change <= since {
                continue;
            }
            let removes = history.last_removal > since;
            for index in history.dirty.ones() {
                let place = places.of(EntityId(index as u32));
                if !desc.motion || removes || place == PlaceId::EVERYWHERE {
                    places.touch(place);
                }
            }
        }
    }

    /// Has each cell state its hash once, within the next states.
    pub fn want_cell_hashes(&mut self) {
        if let Some(places) = &mut self.places {
            places.want_hashes();
        }
    }

    /// Appends what every subscriber of a place is told in this state, if there is anything.
    pub fn encode_place(&mut self, place: PlaceId, output: &mut Vec<u8>) {
        let Some(places) = &self.places else { return };
        if !places.is_touched(place) {
            return;
        }
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let mut gaps = GapWriter::default();
        for entity in places.left(place) {
            gaps.put(&mut body, *entity);
        }
        body.push(0);
        let mut gaps = GapWriter::default();
        for entity in places.entered(place) {
            gaps.put(&mut body, *entity);
            let owner = self.entities.owner(*entity).unwrap_or(MemberId::SERVER);
            put_varint(&mut body, u32::from(owner.0));
        }
        body.push(0);
        for index in 0..self.histories.len() {
            self.put_place_section(places, place, ComponentId(index as u8), &mut body);
        }
        if body.len() > EMPTY_BODY.len() {
            put_chunk(output, place.stream(), ChunkKind::Delta, &body);
        }
        self.body = body;
    }

    /// One component's values of who entered, and changes of the others.
    fn put_place_section(
        &self,
        places: &Places,
        place: PlaceId,
        component: ComponentId,
        body: &mut Vec<u8>,
    ) {
        let (history, desc) =
            (&self.histories[component.index()], &self.schema.components()[component.index()]);
        let since = self.dirty_since;
        let has_changes = history.last_change > since;
        if desc.scope != Scope::Room || (!has_changes && places.entered(place).is_empty()) {
            return;
        }
        let tells_all = !desc.motion || place == PlaceId::EVERYWHERE;
        let has_arrived = |entity: EntityId| places.has_arrived(entity, self.building);
        let has_changed = |entity: EntityId| {
            history.changed.get(entity.index()).is_some_and(|changed| *changed > since)
        };
        let told = |entity: &EntityId| {
            has_arrived(*entity) || (has_changes && tells_all && has_changed(*entity))
        };
        let ids = places.entities(place).iter().copied();
        if matches!(desc.kind, Kind::Props) {
            let ids = ids
                .filter(told)
                .map(|entity| (entity, if has_arrived(entity) { Tick::ZERO } else { since }));
            self.put_prop_changes(component, ids, body);
            return;
        }
        self.entities.put_values(component, ids.clone().filter(told), body);
        if history.last_removal > since {
            put_section(body, SectionKind::Removed, component, |output, gaps| {
                for entity in ids {
                    if !has_arrived(entity)
                        && has_changed(entity)
                        && !self.entities.has_value(component, entity)
                    {
                        gaps.put(output, entity);
                    }
                }
            });
        }
    }

    /// Appends the motion of a cell for those who get every `every`th state, if there is any.
    pub fn encode_motion(&mut self, place: PlaceId, every: u8, output: &mut Vec<u8>) {
        let Some(places) = &self.places else { return };
        let since = places.since(every);
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        for (index, history) in self.histories.iter().enumerate() {
            if !self.schema.components()[index].motion || history.last_change <= since {
                continue;
            }
            // Whoever arrived with this state came with all its values.
            let moved = |entity: &EntityId| {
                history.changed.get(entity.index()).is_some_and(|changed| *changed > since)
                    && !places.has_arrived(*entity, self.building)
            };
            let ids = places.entities(place).iter().copied().filter(moved);
            self.entities.put_values(ComponentId(index as u8), ids, &mut body);
        }
        if !body.is_empty() {
            put_chunk(output, place.stream(), ChunkKind::Motion, &body);
        }
        self.body = body;
    }

    /// Appends everything a place holds.
    pub fn encode_place_snapshot(&mut self, place: PlaceId, output: &mut Vec<u8>) {
        let Some(places) = &self.places else { return };
        self.body.clear();
        self.entities.put_group(places.entities(place).iter().copied(), &mut self.body);
        put_chunk(output, place.stream(), ChunkKind::Snapshot, &self.body);
    }

    /// Appends a chunk that states the hash of what a place holds.
    pub fn encode_place_hash(&mut self, place: PlaceId, output: &mut Vec<u8>) {
        let Some(places) = &self.places else { return };
        self.body.clear();
        self.entities.put_group(places.entities(place).iter().copied(), &mut self.body);
        let hash = hash_of_snapshot(&self.body).to_le_bytes();
        put_chunk(output, place.stream(), ChunkKind::Hash, &hash);
    }
}

// ---- what is told in private -------------------------------------------------------------------

impl State {
    /// The streams that only some get: the member's own, and its team's.
    pub fn private_streams(&self, member: MemberId) -> impl Iterator<Item = Private> + use<> {
        let team = self.team(member).map(Private::Team);
        [Some(Private::Member(member)), team].into_iter().flatten()
    }

    /// Appends what is told a member in private, if there is anything.
    pub fn encode_private(&mut self, member: MemberId, since: Tick, output: &mut Vec<u8>) {
        self.encode_stream(Private::Member(member), since, output);
        let changed_at = self.teams.changed_at(member);
        match self.team(member) {
            Some(team) if changed_at > since => {
                self.encode_stream(Private::Team(team), Tick::ZERO, output);
            }
            Some(team) => self.encode_stream(Private::Team(team), since, output),
            None if changed_at > since => {
                put_chunk(output, StreamId::TEAM, ChunkKind::Snapshot, &EMPTY_BODY);
            }
            None => {}
        }
    }

    /// Appends a private stream's chunk, if there is anything to say. A snapshot of nothing is said
    /// to those who may have had something.
    fn encode_stream(&mut self, private: Private, since: Tick, output: &mut Vec<u8>) {
        let is_team = matches!(private, Private::Team(_));
        let has_news = self.last_change_of(private.scope()) > since || !self.gone.is_empty();
        let begins_anew = is_team && since == Tick::ZERO;
        if !(has_news || begins_anew) {
            return;
        }
        let body = self.private_body(private, since);
        if body.len() > EMPTY_BODY.len() || begins_anew {
            let kind = if since == Tick::ZERO { ChunkKind::Snapshot } else { ChunkKind::Delta };
            put_chunk(output, private.stream(), kind, &body);
        }
        self.body = body;
    }

    /// Appends a chunk for each of a member's private streams that states its hash, if it may have
    /// content.
    pub fn encode_private_hashes(&mut self, member: MemberId, output: &mut Vec<u8>) {
        for private in self.private_streams(member) {
            if self.last_change_of(private.scope()) == Tick::ZERO {
                continue;
            }
            let body = self.private_body(private, Tick::ZERO);
            let hash = hash_of_snapshot(&body).to_le_bytes();
            put_chunk(output, private.stream(), ChunkKind::Hash, &hash);
            self.body = body;
        }
    }

    fn last_change_of(&self, scope: Scope) -> Tick {
        let histories = self.histories.iter().zip(self.schema.components());
        let private = histories.filter(|(_, desc)| desc.scope == scope);
        private.map(|(history, _)| history.last_change).max().unwrap_or_default()
    }

    /// What changed after `since` on a private stream, in the buffer `body`; with [`Tick::ZERO`],
    /// the body of its snapshot.
    fn private_body(&mut self, private: Private, since: Tick) -> Vec<u8> {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        body.extend_from_slice(&EMPTY_BODY);
        let owned = match private {
            Private::Member(member) => {
                Cow::Borrowed(self.owned.get(&member).map_or(&[][..], |owned| owned))
            }
            Private::Team(team) => Cow::Owned(self.owned_by(team)),
        };
        let gone = if since == Tick::ZERO { Vec::new() } else { self.gone_on(private) };
        for (index, history) in self.histories.iter().enumerate() {
            let scope = self.schema.components()[index].scope;
            if scope != private.scope() {
                continue;
            }
            let component = ComponentId(index as u8);
            // Before the values: whoever has the id now is somebody else.
            put_section(&mut body, SectionKind::Removed, component, |output, gaps| {
                gone.iter().for_each(|entity| gaps.put(output, *entity));
            });
            if history.last_change <= since {
                continue;
            }
            self.candidates.clear();
            let changed = |entity: &&EntityId| {
                history.changed.get(entity.index()).is_some_and(|changed| *changed > since)
            };
            self.candidates.extend(owned.iter().filter(changed));
            self.put_changes(component, since, &self.candidates, &mut body);
        }
        body
    }

    /// The entities of a team's members, ascending.
    fn owned_by(&self, team: TeamId) -> Vec<EntityId> {
        let members = self.teams.members(team);
        let mut owned: Vec<_> = members.flat_map(|member| self.owned(member)).copied().collect();
        owned.sort_unstable();
        owned
    }

    /// The entities that were on a stream and are no more, ascending.
    fn gone_on(&self, private: Private) -> Vec<EntityId> {
        let is_theirs = |owner: MemberId| match private {
            Private::Member(member) => owner == member,
            Private::Team(team) => self.team(owner) == Some(team),
        };
        let gone = self.gone.iter().filter(|(owner, _)| is_theirs(*owner));
        let mut gone: Vec<EntityId> = gone.map(|(_, entity)| *entity).collect();
        gone.sort_unstable();
        gone.dedup();
        gone
    }
}
