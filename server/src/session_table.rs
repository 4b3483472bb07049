//! The sessions of one shard, by index and generation.

use std::collections::VecDeque;

use slab::Slab;

use crate::outbox::Outbox;
use crate::session::{Session, SessionId};

/// Where rooms put what their members are to be sent.
pub trait Outboxes {
    /// The queue of a session, or `None` when it is gone or closing. The session is flushed at
    /// the end of the turn.
    fn outbox(&mut self, session: SessionId) -> Option<&mut Outbox>;
}

/// A slab whose keys carry generations, and the list of sessions with something to send.
#[derive(Debug, Default)]
pub struct SessionTable {
    sessions: Slab<Session>,
    /// By slab index: the generation of the session that is, or will next be, there.
    generations: Vec<u32>,
    /// Sessions with `flush_listed` set; ids of removed ones are passed over.
    flush: VecDeque<SessionId>,
}

impl SessionTable {
    /// Adds a session.
    pub fn insert(&mut self, session: Session) -> SessionId {
        let flush_listed = session.flush_listed;
        debug_assert!(!flush_listed, "a session enters without being listed");
        let index = self.sessions.insert(session);
        if self.generations.len() <= index {
            self.generations.resize(index + 1, 0);
        }
        SessionId { index: index as u32, generation: self.generations[index] }
    }

    /// Takes a session out. Its id is nobody's from now on.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        self.get(id)?;
        let index = id.index as usize;
        self.generations[index] = self.generations[index].wrapping_add(1);
        let mut session = self.sessions.remove(index);
        session.flush_listed = false;
        if let Some(tls) = &mut session.tls {
            tls.is_listed = false;
        }
        Some(session)
    }

    /// A session, unless the id is stale.
    pub fn get_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        let index = id.index as usize;
        if self.generations.get(index) != Some(&id.generation) {
            return None;
        }
        self.sessions.get_mut(index)
    }

    /// A session, unless the id is stale.
    #[must_use]
    pub fn get(&self, id: SessionId) -> Option<&Session> {
        let index = id.index as usize;
        if self.generations.get(index) != Some(&id.generation) {
            return None;
        }
        self.sessions.get(index)
    }

    /// Lists a session for flushing, unless it is listed or has nothing to send.
    pub fn list_for_flush(&mut self, id: SessionId) {
        if let Some(session) = self.get_mut(id)
            && !session.flush_listed
            && session.has_unsent()
        {
            session.flush_listed = true;
            self.flush.push_back(id);
        }
    }

    /// The next session with something to send.
    pub fn poll_flush(&mut self) -> Option<SessionId> {
        while let Some(id) = self.flush.pop_front() {
            if let Some(session) = self.get_mut(id) {
                session.flush_listed = false;
                return Some(id);
            }
        }
        None
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions.len()
    }

    /// The sessions and their ids.
    pub fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(index, session)| {
            (SessionId { index: index as u32, generation: self.generations[index] }, session)
        })
    }

    /// The ids of all sessions.
    #[must_use]
    pub fn ids(&self) -> Vec<SessionId> {
        self.iter().map(|(id, _)| id).collect()
    }
}

impl Outboxes for SessionTable {
    fn outbox(&mut self, id: SessionId) -> Option<&mut Outbox> {
        let index = id.index as usize;
        if self.generations.get(index) != Some(&id.generation) {
            return None;
        }
        let session = self.sessions.get_mut(index)?;
        if !session.flush_listed {
            session.flush_listed = true;
            self.flush.push_back(id);
        }
        Some(&mut session.outbox)
    }
}
