//! One pinned thread's world without the thread: sessions, rooms and deadlines.
//!
//! Contract: after any `handle_*` the caller drains [`Shard::poll_effect`] and
//! [`Shard::poll_flush`] to `None` before it sleeps, and it sleeps no longer than
//! [`Shard::next_due`]. Times and bytes are arguments, so the same shard runs on sockets and in
//! the simulation.

mod arrivals;
mod config;
mod encrypted;
mod entrance;
mod finding;
mod hand_over;
mod hosting;
mod messages;
mod pacing;
mod recordings;
mod reserving;
mod resuming;
pub(crate) mod seating;
mod stats;
mod stopping;
mod timeouts;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

pub use config::{Echo, ShardConfig, Surroundings};
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::deflate::Inflater;
use tickloom_protocol::server_message::ServerEncoder;
use tickloom_protocol::time::Timestamp;

use crate::config::CompressionConfig;
use crate::directory::ShardIndex;
use crate::http::HandOver;
use crate::ledger::{Ledger, Stopwatch};
use crate::mail::Mail;
use crate::metrics::{Metrics, Shed};
use crate::outbox::{Backpressure, Outbox};
use crate::overload::Overload;
use crate::quarantine::Quarantine;
use crate::rate::Bucket;
use crate::recording::Piece;
use crate::room::RoomId;
use crate::room::broadcast::{Broadcast, BroadcastCounts};
use crate::room::failure::FailureRecord;
use crate::rooms::RoomTable;
use crate::session::{Phase, Reads, Session, SessionId};
use crate::session_table::SessionTable;
use crate::shard::encrypted::Encrypted;
use crate::shard::finding::Cursors;
use crate::shard::resuming::{Absences, End};
use crate::shard::stopping::Stopping;
use crate::tokens::Tokens;

/// Connections beyond the most there may be whose request is read all the same: whoever asks how
/// the server is must get an answer most of all when it is full.
const PROBES_MAX: usize = 16;

/// What the edge has to do.
#[derive(Debug)]
pub enum Effect {
    /// Send no more: shut the socket's writing half down.
    ShutDown(SessionId),
    /// Drop the socket.
    Close(SessionId),
    /// From now on, read the socket then.
    Read(SessionId, Reads),
    /// Put mail, with this session's socket, into another shard's mailbox. The session is in the
    /// mail and no longer in this shard.
    Deliver {
        /// The socket's id until now.
        socket: SessionId,
        /// The shard that gets it.
        to: ShardIndex,
        /// What it gets.
        mail: Mail,
    },
    /// Give the socket to the HTTP thread. Its session is no longer in this shard;
    /// [`Shard::handle_handed_back`] makes a new one when the thread does not take it.
    HandOver {
        /// The socket's id until now.
        socket: SessionId,
        /// What goes with it.
        hand_over: HandOver,
    },
    /// Keep how a room failed, where somebody finds it.
    Record(Box<FailureRecord>),
    /// Write what a room recorded. [`Shard::handle_recording_stopped`] is told when that fails.
    Recording(Box<Piece>),
}

/// Sessions, rooms and deadlines of one thread.
pub struct Shard {
    config: ShardConfig,
    sessions: SessionTable,
    rooms: RoomTable,
    /// Every session once, at its deadline.
    deadlines: BTreeSet<(Timestamp, SessionId)>,
    /// The sessions that are not read for now, by when they are again.
    pauses: BTreeSet<(Timestamp, SessionId)>,
    /// Every member that is away, by when its seat is taken back; also some that no longer are.
    absences: Absences,
    effects: VecDeque<Effect>,
    encoder: ServerEncoder,
    broadcast: Broadcast,
    /// For what clients send: none of them keeps a context.
    inflater: Inflater,
    metrics: Metrics,
    quarantine: Quarantine,
    overload: Overload,
    ledger: Ledger,
    stopwatch: Stopwatch,
    /// What was counted when the last second was over.
    ticks_overrun_before: u64,
    /// New connections of all addresses.
    handshakes: Bucket,
    /// Newcomers that were told why they may not come in.
    told: Bucket,
    /// Lets one line a second about bad requests into the log.
    request_log: Bucket,
    rooms_made: u64,
    /// Set once the shard was told to stop.
    stopping: Option<Stopping>,
    /// Rooms whose turn it is.
    due_rooms: VecDeque<RoomId>,
    scratch: Vec<u8>,
    encrypted: Encrypted,
    tokens: Tokens,
    /// Where the last room was found that suited somebody.
    cursors: Cursors,
    /// Rooms that could be listed when that was last published.
    listed_count: usize,
}

impl Shard {
    /// A shard without sessions and rooms.
    #[must_use]
    pub fn new(config: ShardConfig) -> Self {
        let CompressionConfig { bytes_min, windows_max, .. } = config.compression;
        Self {
            broadcast: Broadcast::compressing(bytes_min, windows_max),
            inflater: Inflater::default(),
            tokens: Tokens::new(config.secret.clone(), config.index),
            cursors: Cursors::default(),
            listed_count: 0,
            config,
            sessions: SessionTable::default(),
            rooms: RoomTable::default(),
            deadlines: BTreeSet::new(),
            pauses: BTreeSet::new(),
            absences: Absences::new(),
            effects: VecDeque::new(),
            encoder: ServerEncoder::default(),
            metrics: Metrics::default(),
            quarantine: Quarantine::default(),
            overload: Overload::default(),
            ledger: Ledger::default(),
            stopwatch: Stopwatch::STOPPED,
            ticks_overrun_before: 0,
            handshakes: Bucket::default(),
            told: Bucket::default(),
            request_log: Bucket::default(),
            rooms_made: 0,
            stopping: None,
            due_rooms: VecDeque::new(),
            scratch: Vec::new(),
            encrypted: Encrypted::default(),
        }
    }

    // ---- in ------------------------------------------------------------------------------------

    /// A connection from `peer` was accepted.
    pub fn handle_accept(&mut self, now: Timestamp, peer: SocketAddr) -> SessionId {
        self.metrics.accepted += 1;
        let full = self.sessions.count() >= self.config.sessions_max + PROBES_MAX;
        let id = self.insert_new(now, peer);
        self.expect_proxy_header(id);
        if full || self.is_stopping() {
            self.turn_away(now, id);
            self.metrics.heads_refused += 1;
            self.metrics.count_shed(Shed::Connections, u64::from(full));
        } else if let Err(refusal) = self.count_newcomer(now, id) {
            self.refuse_newcomer(now, id, refusal);
        } else {
            self.begin_handshake(now, id);
        }
        id
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, now: Timestamp, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.heard_at = now;
        session.pinged = false;
        if session.proxy_header.is_some() {
            return self.handle_proxy_header(now, id, bytes);
        }
        if session.tls.is_some() {
            return self.handle_ciphertext(now, id, bytes);
        }
        self.handle_plaintext(now, id, bytes);
    }

    /// What a client said, once it is not encrypted any more.
    fn handle_plaintext(&mut self, now: Timestamp, id: SessionId, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        match &mut session.phase {
            Phase::Head(_) => {
                if let Some(rest) = self.handle_head(now, id, bytes) {
                    self.handle_frames(now, id, &rest);
                }
            }
            Phase::Echo(_) | Phase::Joining(_) | Phase::Active(..) => {
                self.handle_frames(now, id, bytes);
            }
            // Everything was said; what still comes is nobody's.
            Phase::Draining { .. } => {}
        }
        self.settle(now, id);
    }

    /// The other end will send nothing more. What is queued while closing may still leave.
    pub fn handle_disconnect(&mut self, now: Timestamp, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if let Phase::Draining { peer_done, .. } = &mut session.phase {
            *peer_done = true;
            self.settle(now, id);
            return;
        }
        self.handle_broken(now, id);
    }

    /// The connection is no more: nothing arrives and nothing can leave.
    pub fn handle_broken(&mut self, now: Timestamp, id: SessionId) {
        self.end_seat(now, id, End::Broken);
        if self.remove(id).is_some() {
            self.effects.push_back(Effect::Close(id));
        }
    }

    /// The socket took the first `sent` bytes of the session's queue.
    pub fn handle_sent(&mut self, now: Timestamp, id: SessionId, sent: usize) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        match &mut session.tls {
            None => session.outbox.advance(sent),
            Some(tls) => tls.advance(sent, &mut self.encrypted.lent),
        }
        if sent > 0 {
            session.stuck_since = None;
        }
        self.settle(now, id);
    }

    /// Mail arrived. A session in it gets a new id, under which its socket goes on.
    pub fn handle_mail(&mut self, now: Timestamp, mail: Mail) -> Option<SessionId> {
        match mail {
            Mail::Adopt(mut session) => {
                let pending = session.pending_join.take();
                let unread = std::mem::take(&mut session.unread);
                let id = self.insert(*session);
                if self.is_stopping() {
                    self.say_goodbye(now, id);
                } else if let Some(join) = pending {
                    // When it goes on to yet another shard, so does what it said behind its join.
                    self.route(now, id, *join, &unread);
                    self.handle_plaintext(now, id, &unread);
                }
                self.settle(now, id);
                Some(id)
            }
            Mail::Returned(session) => {
                let id = self.insert(*session);
                if self.is_stopping() {
                    // The other shard has stopped already.
                    self.say_goodbye(now, id);
                } else {
                    self.metrics.count_shed(Shed::Mailbox, 1);
                    self.close(now, id, &CloseReason::OVERLOADED);
                }
                Some(id)
            }
            Mail::Upgrade(hand_over) => Some(self.handle_returned(now, hand_over)),
            Mail::Reserve(reserve) => {
                self.handle_reserve(now, *reserve);
                None
            }
        }
    }

    /// The socket took all it would: what is still queued for it waits.
    pub fn handle_blocked(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.outbox.unshare();
            if let Some(tls) = &mut session.tls {
                tls.shrink();
            }
        }
    }

    /// Time passed: ticks rooms that are due and ends what ran out.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.list_due_rooms(now);
        while let Some(room) = self.poll_room() {
            self.handle_room(now, room);
        }
        self.handle_deadlines(now);
    }

    /// The first of the three steps of [`Shard::handle_timeout`], for an edge that reads sockets
    /// in between: notes whose turn it is.
    pub fn list_due_rooms(&mut self, now: Timestamp) {
        self.due_rooms.clear();
        self.rooms.due_by(now, &mut self.due_rooms);
    }

    /// The next room whose turn it is. The sockets that are read on its turn, which
    /// [`Shard::sessions_on_turn`] lists, are to be read before [`Shard::handle_room`].
    pub fn poll_room(&mut self) -> Option<RoomId> {
        self.due_rooms.pop_front()
    }

    /// Appends the sessions that are to be read before this room ticks.
    pub fn sessions_on_turn(&self, room: RoomId, ids: &mut Vec<SessionId>) {
        let Some(room) = self.rooms.get(room) else { return };
        if room.reads() == Reads::OnTurn {
            let here = room.members().values().filter(|member| !member.is_away());
            ids.extend(here.map(|member| member.session()));
        }
    }

    /// The second step: a room has its turn.
    pub fn handle_room(&mut self, now: Timestamp, room: RoomId) {
        self.run_room(now, room);
    }

    /// The third step: ends what ran out.
    pub fn handle_deadlines(&mut self, now: Timestamp) {
        while let Some((deadline, id)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.handle_deadline(now, id);
        }
        self.end_pauses(now);
        self.end_absences(now);
        self.continue_stopping(now);
        self.continue_handshakes(now);
        #[cfg(debug_assertions)]
        self.check_invariants();
    }

    // ---- out -----------------------------------------------------------------------------------

    /// The next thing for the edge to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The next session with something to send.
    pub fn poll_flush(&mut self) -> Option<SessionId> {
        self.sessions.poll_flush()
    }

    /// Puts a session back on the list of those with something to send.
    pub fn list_for_flush(&mut self, id: SessionId) {
        self.sessions.list_for_flush(id);
    }

    /// The next bytes for a session's socket, none when nothing waits. They are where they were
    /// queued, or copied together into `buffer`, or encrypted. [`Shard::handle_sent`] is told how
    /// many left.
    #[must_use]
    pub fn outgoing<'a>(&'a mut self, id: SessionId, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
        let Session { tls, outbox, .. } = self.sessions.get_mut(id)?;
        if let Some(tls) = tls {
            return tls.outgoing(outbox, buffer, &mut self.encrypted.lent);
        }
        if outbox.is_empty() {
            return None;
        }
        if let Some(bytes) = outbox.as_slice() {
            return Some(bytes);
        }
        let length = outbox.copy_front(buffer);
        Some(&buffer[..length])
    }

    /// What a session still has to be sent.
    #[must_use]
    pub fn outbox(&self, id: SessionId) -> Option<&Outbox> {
        self.sessions.get(id).map(|session| &session.outbox)
    }

    /// When [`Shard::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let first = |set: &BTreeSet<(Timestamp, SessionId)>| set.first().map(|(at, _)| *at);
        let (deadline, resume) = (first(&self.deadlines), first(&self.pauses));
        let (stopping, handshakes) = (self.stopping_due(), self.handshakes_due());
        let absence = self.absences.first_key_value().map(|((until, ..), _)| *until);
        let dues = [self.rooms.next_due(), deadline, resume, absence, stopping, handshakes];
        dues.into_iter().flatten().min()
    }

    /// Whether the shard was told to stop and nobody is left.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_stopping() && self.sessions.count() == 0
    }

    /// What the shard was made with.
    #[must_use]
    pub fn config(&self) -> &ShardConfig {
        &self.config
    }

    /// The rooms.
    #[must_use]
    pub fn rooms(&self) -> &RoomTable {
        &self.rooms
    }

    /// The sessions.
    #[must_use]
    pub fn sessions(&self) -> &SessionTable {
        &self.sessions
    }

    /// What was counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What was counted, for the edge to add what only it knows.
    pub fn metrics_mut(&mut self) -> &mut Metrics {
        &mut self.metrics
    }

    /// What rooms sent.
    #[must_use]
    pub fn broadcast_counts(&self) -> BroadcastCounts {
        self.broadcast.counts()
    }

    /// How rooms failed last: by room type, oldest first, a few of each.
    pub fn failures(&self) -> impl Iterator<Item = &FailureRecord> {
        self.quarantine.records()
    }

    // ---- sessions ------------------------------------------------------------------------------

    fn insert(&mut self, session: Session) -> SessionId {
        // A session that left has left its index; the edge must have let go of its socket.
        debug_assert!(self.effects.is_empty(), "effects are drained before another session comes");
        let deadline = session.deadline;
        let id = self.sessions.insert(session);
        self.deadlines.insert((deadline, id));
        self.metrics.sessions_opened += 1;
        self.adopt_pause(id);
        // An adopted session may bring frames that were not sent yet.
        self.sessions.list_for_flush(id);
        id
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(id)?;
        self.deadlines.remove(&(session.deadline, id));
        if let Some(resume_at) = session.resume_at {
            self.pauses.remove(&(resume_at, id));
        }
        self.metrics.sessions_closed += 1;
        self.count_stopped(&session);
        Some(session)
    }

    fn set_deadline(&mut self, id: SessionId, deadline: Timestamp) {
        if let Some(session) = self.sessions.get_mut(id) {
            self.deadlines.remove(&(session.deadline, id));
            session.deadline = deadline;
            self.deadlines.insert((deadline, id));
        }
    }

    /// Ends a session politely: its seat is kept or given back, a close frame is queued unless one
    /// was sent before, and the connection ends when everything has left.
    fn close(&mut self, now: Timestamp, id: SessionId, reason: &CloseReason) {
        self.end_seat(now, id, End::by_server(reason));
        if let Some(session) = self.sessions.get_mut(id) {
            self.metrics.count_close(reason);
            session.close(reason);
            self.end_pause(id);
            self.set_deadline(id, now + self.config.patience.drain);
        }
        self.settle(now, id);
    }

    /// Says when a session is to be read.
    fn set_reads(&mut self, id: SessionId, reads: Reads) {
        if let Some(session) = self.sessions.get_mut(id)
            && session.reads != reads
        {
            session.reads = reads;
            if session.resume_at.is_none() {
                self.effects.push_back(Effect::Read(id, reads));
            }
        }
    }

    /// Does what follows from a session's queue: lists it for flushing, closes it when too much
    /// is queued, ends it when everything has left.
    fn settle(&mut self, now: Timestamp, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.say_last();
        let is_unsent = session.has_unsent();
        let Phase::Draining { peer_done, shut_down } = &mut session.phase else {
            if session.outbox.backpressure() == Backpressure::Overflow {
                self.close(now, id, &CloseReason::SLOW_CONSUMER);
                return;
            }
            if session.outbox.take_owed()
                && let Some(seat) = session.seat()
                && let Some(room) = self.rooms.get_mut(seat.room)
            {
                room.handle_drained(seat.member);
                let due = room.next_due();
                self.rooms.schedule(seat.room, due);
            }
            self.sessions.list_for_flush(id);
            return;
        };
        let can_leave = !*peer_done || session.tls.as_ref().is_none_or(|tls| !tls.is_handshaking());
        if is_unsent && can_leave {
            self.sessions.list_for_flush(id);
        } else if *peer_done {
            self.remove(id);
            self.effects.push_back(Effect::Close(id));
        } else if !*shut_down {
            *shut_down = true;
            self.effects.push_back(Effect::ShutDown(id));
        }
    }

    /// Checks what the field comments promise, across sessions, rooms and deadlines.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn check_invariants(&self) {
        self.rooms.check_invariants();
        assert_eq!(self.deadlines.len(), self.sessions.count(), "every session has one deadline");
        let mut seats_count = 0;
        let paused = self.sessions.iter().filter_map(|(id, s)| Some((s.resume_at?, id)));
        let paused: BTreeSet<_> = paused.collect();
        assert_eq!(paused, self.pauses, "the paused sessions are those that will be read again");
        for (id, session) in self.sessions.iter() {
            assert!(self.deadlines.contains(&(session.deadline, id)), "{id:?} has its deadline");
            session.outbox.check_invariants();
            self.encrypted.check_invariants(id, session);
            let Some(seat) = session.seat() else { continue };
            let room = self.rooms.get(seat.room).expect("a seat is in a room that is there");
            let member = room.members().get(&seat.member).expect("a seat has its member");
            assert_eq!(member.session(), id, "the member is this session");
            seats_count += 1;
        }
        let mut members_count = 0;
        for (id, room) in self.rooms.iter() {
            for (member, seat) in room.members() {
                let listed = |until| self.absences.contains_key(&(until, id, *member));
                assert!(seat.away_until().is_none_or(listed), "whoever is away is listed");
                assert_eq!(seat.is_away(), seat.session() == SessionId::NOBODY);
                members_count += usize::from(!seat.is_away());
            }
            let paused = room.members().values().filter(|seat| seat.is_paused()).count();
            assert_eq!(paused, room.paused_count(), "paused members are counted");
        }
        assert_eq!(seats_count, members_count, "every member is a session, or away");
        let live = self.metrics.sessions_opened - self.metrics.sessions_closed;
        assert_eq!(live as usize, self.sessions.count(), "opened minus closed is live");
    }
}
