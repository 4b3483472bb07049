//! How a shard stops: it says goodbye to everybody, a batch at a time, so that the rooms of those
//! who still play tick on; then it lets what is queued leave, and at last it drops who is left.
//!
//! ```text
//! told to stop --batch, batch, ..--> everybody was told --queues drain--> finished
//!      `------------------------- until `Stopping::until`: dropped ----------^
//! ```

use std::time::Duration;

use tickloom_protocol::close::CloseReason;
use tickloom_protocol::handshake::Refusal;
use tickloom_protocol::server_message::ServerMessage;
use tickloom_protocol::time::Timestamp;

use crate::session::{Phase, Session, SessionId};
use crate::shard::Shard;

/// Time between two batches of goodbyes.
const BATCH_EVERY: Duration = Duration::from_millis(2);

/// Goodbyes of one batch. Each is a frame to encode, a seat to give back and a write, so that a
/// batch holds a tick up for half a millisecond.
const BATCH_SESSIONS: usize = 64;

/// With so many sessions that batches would take more than this part of the time there is,
/// batches are larger instead: being told matters more than a smooth last tick.
const BATCHES_SHARE: u32 = 4;

/// A stop under way.
#[derive(Debug)]
pub(super) struct Stopping {
    /// When who is left is dropped.
    until: Timestamp,
    /// Sessions that may not have been told; some of them have ended by themselves.
    waiting: Vec<SessionId>,
    /// How many are told at once.
    batch: usize,
    /// When the next batch is due.
    next_at: Timestamp,
    retries: Retries,
}

/// When clients are told to come back. All of them lose their server at one moment; each comes
/// back at its own.
#[derive(Debug)]
struct Retries {
    rng: fastrand::Rng,
    spread_ms: u32,
}

impl Stopping {
    fn new(now: Timestamp, until: Timestamp, waiting: Vec<SessionId>, retries: Retries) -> Self {
        let share = until.saturating_since(now) / BATCHES_SHARE;
        let batches = (share.as_micros() / BATCH_EVERY.as_micros()).max(1) as usize;
        let batch = waiting.len().div_ceil(batches).max(BATCH_SESSIONS);
        Self { until, waiting, batch, next_at: now, retries }
    }

    fn take_batch(&mut self, now: Timestamp) -> Vec<SessionId> {
        if now < self.next_at {
            return Vec::new();
        }
        self.next_at = now + BATCH_EVERY;
        self.waiting.split_off(self.waiting.len().saturating_sub(self.batch))
    }
}

impl Retries {
    fn new(seed: u64, spread: Duration) -> Self {
        let spread_ms = u32::try_from(spread.as_millis()).unwrap_or(u32::MAX);
        Self { rng: fastrand::Rng::with_seed(seed), spread_ms }
    }

    fn next_ms(&mut self) -> u32 {
        self.rng.u32(0..=self.spread_ms)
    }
}

impl Shard {
    /// The server stops: everybody is told so, and who is left at `until` is dropped.
    pub fn handle_stop(&mut self, now: Timestamp, until: Timestamp) {
        if self.stopping.is_none() {
            // Other shards have other seeds, and the rooms' randomness is none of our business.
            let retries = Retries::new(!self.config.seed, self.config.retry_spread);
            self.stopping = Some(Stopping::new(now, until, self.sessions.ids(), retries));
            // Nobody comes back to this process.
            self.end_all_absences(now);
            self.continue_stopping(now);
        }
    }

    /// Whether the shard was told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// When the stop has something to do.
    pub(super) fn stopping_due(&self) -> Option<Timestamp> {
        let stopping = self.stopping.as_ref().filter(|_| self.sessions.count() > 0)?;
        let next = if stopping.waiting.is_empty() { stopping.until } else { stopping.next_at };
        Some(next.min(stopping.until))
    }

    /// Says goodbye to the next batch, and drops everybody when the time is up.
    pub(super) fn continue_stopping(&mut self, now: Timestamp) {
        let Some(stopping) = &mut self.stopping else { return };
        if now >= stopping.until {
            for id in self.sessions.ids() {
                self.handle_broken(now, id);
            }
            return;
        }
        for id in stopping.take_batch(now) {
            self.say_goodbye(now, id);
        }
    }

    /// Tells one session that the server stops, and when to come back.
    pub(super) fn say_goodbye(&mut self, now: Timestamp, id: SessionId) {
        let (Some(stopping), Some(session)) = (&mut self.stopping, self.sessions.get_mut(id))
        else {
            return;
        };
        match session.phase {
            Phase::Head(_) => self.answer(now, id, Refusal::OVERLOADED.response()),
            // It was told before, or closes for a reason of its own.
            Phase::Draining { .. } => {}
            // Its client need not know our messages.
            Phase::Echo(_) => self.close(now, id, &CloseReason::RESTART),
            Phase::Joining(_) | Phase::Active(..) => {
                let retry_ms = stopping.retries.next_ms();
                session.send(&mut self.encoder, &ServerMessage::GoAway { retry_ms });
                self.close(now, id, &CloseReason::RESTART);
            }
        }
    }

    /// Counts how a session ended that is no more. One whose end we saw after everything had left
    /// ended in order; to all others we may owe something.
    pub(super) fn count_stopped(&mut self, session: &Session) {
        if self.stopping.is_none() {
            return;
        }
        let is_done = matches!(session.phase, Phase::Draining { peer_done: true, .. });
        if is_done && !session.has_unsent() {
            self.metrics.stopped_in_order += 1;
        } else {
            self.metrics.stopped_cut += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tickloom_protocol::client::{Client, ClientEvent};
    use tickloom_protocol::client_message::Join;

    use super::*;
    use crate::config::Config;
    use crate::room::arena::Arena;
    use crate::rooms::RoomTypes;
    use crate::session::NO_SOCKET;
    use crate::shard::{Effect, ShardConfig};

    fn ids(count: u32) -> Vec<SessionId> {
        (0..count).map(|index| SessionId { index, generation: 0 }).collect()
    }

    /// A shard with clients in rooms that tick every 8 ms.
    struct World {
        shard: Shard,
        now: Timestamp,
        clients: BTreeMap<SessionId, Client>,
        /// Who was told to go, and when to come back in milliseconds.
        told: BTreeMap<SessionId, u32>,
    }

    impl World {
        fn new(clients_count: usize) -> Self {
            let config = Config::loopback();
            let shard =
                Shard::new(ShardConfig::alone(&config, RoomTypes::default().with(Arena::new(128))));
            let (clients, told) = (BTreeMap::new(), BTreeMap::new());
            let mut world = Self { shard, now: Timestamp(1_000_000), clients, told };
            for number in 0..clients_count {
                let id = world.shard.handle_accept(world.now, NO_SOCKET);
                world.clients.insert(id, Client::connect("test", "/ws", [number as u8; 16]));
                world.exchange();
                let room = format!("room-{}", number % 4);
                let join = Join { room_type: "arena", room: &room, name: "x", ..Join::default() };
                world.clients.get_mut(&id).expect("just made").join(join);
                world.exchange();
            }
            assert_eq!(world.shard.metrics().joins, clients_count as u64);
            world
        }

        /// Bytes go both ways, and clients that are told to go do.
        fn exchange(&mut self) {
            for (id, client) in &mut self.clients {
                let output = client.take_output();
                self.shard.handle_bytes(self.now, *id, &output);
            }
            while let Some(id) = self.shard.poll_flush() {
                let outbox = self.shard.outbox(id).expect("listed sessions are there");
                let mut bytes = vec![0; outbox.bytes()];
                let sent = outbox.copy_front(&mut bytes);
                self.shard.handle_sent(self.now, id, sent);
                let client = self.clients.get_mut(&id).expect("a session has a client");
                client.handle_bytes(&bytes);
                while let Some(event) = client.poll_event() {
                    match event {
                        ClientEvent::GoAway { retry_ms } => {
                            assert_eq!(self.told.insert(id, retry_ms), None, "told once");
                        }
                        ClientEvent::Closed(reason) => {
                            assert_eq!(reason.code(), 1012);
                            assert!(self.told.contains_key(&id), "closed without a word");
                        }
                        _ => {}
                    }
                }
            }
            while let Some(effect) = self.shard.poll_effect() {
                if let Effect::ShutDown(id) = effect {
                    self.shard.handle_disconnect(self.now, id);
                    self.clients.remove(&id);
                }
            }
        }

        /// Time passes to what is due next.
        fn pass(&mut self) {
            self.now = self.shard.next_due().expect("something is due").max(self.now);
            self.shard.handle_timeout(self.now);
        }
    }

    #[test]
    fn everybody_is_told_batch_by_batch_while_rooms_tick_on() {
        let mut world = World::new(300);
        let (ticks, began) = (world.shard.metrics().ticks, world.now);
        world.shard.handle_stop(world.now, world.now + Duration::from_secs(9));
        let mut told = 0;
        while !world.shard.is_finished() {
            world.exchange();
            let batch = world.told.len() - told;
            assert!(batch <= BATCH_SESSIONS, "{batch} at once");
            told += batch;
            if !world.shard.is_finished() {
                world.pass();
            }
        }
        assert_eq!(told, 300);
        assert!(world.now.saturating_since(began) <= 5 * BATCH_EVERY, "{:?}", world.now);
        let metrics = world.shard.metrics();
        assert!(metrics.ticks > ticks, "rooms stood still");
        assert_eq!(metrics.ticks_overrun, 0);
        assert_eq!((metrics.stopped_in_order, metrics.stopped_cut), (300, 0));
        let early = world.told.values().filter(|retry_ms| **retry_ms < 2_500).count();
        assert!((100..200).contains(&early), "{early} of 300 in the first half");
    }

    #[test]
    fn whoever_is_left_when_time_is_up_is_dropped_and_counted() {
        let mut world = World::new(3);
        let until = world.now + Duration::from_secs(1);
        world.shard.handle_stop(world.now, until);
        // Nobody reads or goes: what is queued stays.
        while !world.shard.is_finished() {
            world.pass();
            while world.shard.poll_effect().is_some() {}
        }
        assert_eq!(world.now, until);
        let metrics = world.shard.metrics();
        assert_eq!((metrics.stopped_in_order, metrics.stopped_cut), (0, 3));
    }

    fn retries() -> Retries {
        Retries::new(7, Duration::from_secs(5))
    }

    #[test]
    fn clients_come_back_spread_over_the_time_there_is_for_it() {
        let mut retries = retries();
        let mut by_second = [0; 5];
        for _ in 0..1_000 {
            let retry_ms = retries.next_ms();
            assert!(retry_ms <= 5_000, "{retry_ms}");
            by_second[(retry_ms as usize / 1_000).min(4)] += 1;
        }
        assert!(by_second.iter().all(|count| (150..250).contains(count)), "{by_second:?}");
        assert_eq!(Retries::new(7, Duration::ZERO).next_ms(), 0);
    }

    #[test]
    fn batches_are_small_unless_time_is_short() {
        let at = |millis: u64| Timestamp(millis * 1_000);
        for (sessions, until_ms, batch, batches) in [
            (0, 10_000, 64, 0),
            (1_000, 10_000, 64, 16),
            (200_000, 10_000, 160, 1_250),
            (1_000, 0, 1_000, 1),
        ] {
            let mut stopping = Stopping::new(at(0), at(until_ms), ids(sessions), retries());
            assert_eq!(stopping.batch, batch, "{sessions} sessions, {until_ms} ms");
            let mut told = 0;
            for number in 0..batches {
                let now = at(number * 2);
                let taken = stopping.take_batch(now).len();
                assert!((1..=batch).contains(&taken), "batch {number}: {taken}");
                assert_eq!(stopping.take_batch(now), [], "one batch at a time");
                told += taken;
            }
            assert_eq!((told, stopping.waiting.len()), (sessions as usize, 0));
        }
    }
}
