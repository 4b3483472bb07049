//! A stay in a room: when it is over, and what a host does about newcomers meanwhile.

use tickloom_protocol::client_message::Configure;
use tickloom_protocol::ids::{EntityId, OpId};
use tickloom_protocol::time::Timestamp;

use super::{LobbyClient, Whereabouts};
use crate::client::Turn;

/// A stay in a room.
pub(super) struct Visit {
    pub(super) room: Box<str>,
    pub(super) leaves_at: Timestamp,
    pub(super) errand: Errand,
}

/// What somebody who is a host does about newcomers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Errand {
    /// Nothing, or nothing more.
    None,
    /// It locks its room at the first moment, and unlocks it at the second.
    Lock(Timestamp, Timestamp),
    /// It has asked to lock it, and will ask to unlock it at this moment.
    Locking(OpId, Timestamp),
    /// It unlocks its room at this moment.
    Unlock(Timestamp),
    /// It has asked to unlock it.
    Unlocking(OpId),
}

impl Visit {
    /// When something is due.
    pub(super) fn next_due_at(&self) -> Option<Timestamp> {
        match self.errand {
            Errand::None => Some(self.leaves_at),
            Errand::Lock(at, _) | Errand::Unlock(at) => Some(at.min(self.leaves_at)),
            // Its answer comes first.
            Errand::Locking(..) | Errand::Unlocking(_) => None,
        }
    }
}

impl LobbyClient {
    /// Does what is due in a room: locks it, unlocks it, or goes. A host goes when its room is open.
    pub(super) fn mind_visit(&mut self, turn: &mut Turn<'_>) {
        let is_host = self.is_host();
        let Whereabouts::Inside(visit) = &mut self.whereabouts else { return };
        let leaves = visit.leaves_at <= turn.now;
        let mut ask = |is_locked| {
            turn.board.doubt_lock(&visit.room);
            self.protocol.configure(Configure { locked: Some(is_locked), ..Configure::default() })
        };
        match visit.errand {
            Errand::Unlock(at) if leaves || at <= turn.now => {
                visit.errand = Errand::Unlocking(ask(false));
            }
            Errand::None | Errand::Lock(..) if leaves => self.leave(turn),
            Errand::Lock(at, until) if at <= turn.now => {
                visit.errand = match is_host {
                    true => Errand::Locking(ask(true), until),
                    false => Errand::None,
                };
            }
            Errand::None
            | Errand::Lock(..)
            | Errand::Unlock(_)
            | Errand::Locking(..)
            | Errand::Unlocking(_) => {}
        }
    }

    /// What it asked for as a host is so now.
    pub(super) fn accepted(&mut self, op: OpId, turn: &mut Turn<'_>) {
        let Whereabouts::Inside(visit) = &mut self.whereabouts else { return };
        match visit.errand {
            Errand::Locking(asked, until) if asked == op => {
                turn.board.set_locked(turn.now, &visit.room, true);
                turn.tally.counters.lobby_locks += 1;
                visit.errand = Errand::Unlock(until);
            }
            Errand::Unlocking(asked) if asked == op => {
                turn.board.set_locked(turn.now, &visit.room, false);
                visit.errand = Errand::None;
            }
            Errand::None
            | Errand::Lock(..)
            | Errand::Locking(..)
            | Errand::Unlock(_)
            | Errand::Unlocking(_) => {}
        }
    }

    /// The host of a room may lock it, and it is until it leaves.
    pub(super) fn refused_as_host(&mut self, message: &str, turn: &mut Turn<'_>) {
        turn.tally.refusals.count("host", message);
        if let Whereabouts::Inside(visit) = &mut self.whereabouts {
            visit.errand = Errand::None;
        }
    }

    /// Whether the state says so.
    fn is_host(&self) -> bool {
        let host = || {
            let seat = self.protocol.seat()?;
            let entities = seat.replica.entities();
            let row = entities.row(entities.schema().component("host")?, EntityId::ROOM)?;
            let host = EntityId(u32::from_le_bytes(row.try_into().ok()?));
            Some(host == seat.entity)
        };
        host().unwrap_or(false)
    }
}
