//! Who plays with whom: what the values of components with scope `Team` are shared among.
//!
//! A team's values are those of the entities its members own. When somebody changes sides, all
//! members of both teams are told anew what their team has: it happens rarely, and then nothing can
//! be left over from the other side.

use std::collections::BTreeMap;

use tickloom_protocol::ids::{MemberId, Tick};

use super::State;

/// A team of one room, by a number that the room's logic gives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TeamId(pub u16);

/// The teams of one room.
#[derive(Debug, Default)]
pub(super) struct Teams {
    /// Members without a team have no entry.
    team_of: BTreeMap<MemberId, TeamId>,
    /// When a member's team last became another one, or changed its members. Earlier deltas do not
    /// lead to what its team has now.
    changed_at: BTreeMap<MemberId, Tick>,
}

impl Teams {
    /// A member's team.
    pub fn of(&self, member: MemberId) -> Option<TeamId> {
        self.team_of.get(&member).copied()
    }

    /// The members of a team, ascending.
    pub fn members(&self, team: TeamId) -> impl Iterator<Item = MemberId> {
        self.team_of.iter().filter(move |(_, theirs)| **theirs == team).map(|(member, _)| *member)
    }

    /// When what a member's team has began anew; [`Tick::ZERO`] when it never did.
    pub fn changed_at(&self, member: MemberId) -> Tick {
        self.changed_at.get(&member).copied().unwrap_or_default()
    }

    /// Puts a member into a team, or into none.
    pub fn set(&mut self, member: MemberId, team: Option<TeamId>, building: Tick) {
        let before = self.of(member);
        if before == team {
            return;
        }
        match team {
            Some(team) => self.team_of.insert(member, team),
            None => self.team_of.remove(&member),
        };
        let affected: Vec<MemberId> =
            before.into_iter().chain(team).flat_map(|team| self.members(team)).collect();
        for affected in affected.into_iter().chain([member]) {
            self.changed_at.insert(affected, building);
        }
    }

    /// Forgets a member that is not in the room any more.
    pub fn forget(&mut self, member: MemberId, building: Tick) {
        self.set(member, None, building);
        self.changed_at.remove(&member);
    }
}

impl State {
    /// Puts a member into a team, or into none.
    pub fn set_team(&mut self, member: MemberId, team: Option<TeamId>) {
        self.teams.set(member, team, self.building);
    }

    /// Forgets which team somebody was in who is not in the room any more.
    pub fn forget_team(&mut self, member: MemberId) {
        self.teams.forget(member, self.building);
    }

    /// A member's team.
    #[must_use]
    pub fn team(&self, member: MemberId) -> Option<TeamId> {
        self.teams.of(member)
    }
}
