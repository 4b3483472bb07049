//! What shards publish about themselves: the one thing beside mail that threads share.
//!
//! ```text
//! shard N --beat, activity: each turn--> Board <--verdict, memory-- watchdog
//!         --stats: once a second------->  |  ^--stop-- runtime
//!                                         v
//!        HTTP thread: /readyz, /stats.json, /metrics; any shard: what to turn away
//! ```
//!
//! Plain atomics: each is written by one thread and read by any, and nobody waits; only the table
//! of addresses has many writers. The numbers of one shard are stored one by one, so a reader may
//! see some of this second beside some of the last. The board knows no clock; whoever writes
//! brings the time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use tickloom_protocol::time::Timestamp;

use crate::addresses::Addresses;
use crate::buckets::{Buckets, SharedBuckets};
use crate::ledger::LedgerPage;
use crate::listing::Listing;

/// What all threads of one server know of each other.
#[derive(Debug)]
pub struct Board {
    shards: Box<[ShardBoard]>,
    /// Written by all shards: who is connected from where.
    addresses: Arc<Addresses>,
    started: Timestamp,
    /// Resident memory of the process; 0 until somebody has looked.
    memory_bytes: AtomicU64,
    memory_bytes_max: Option<u64>,
    /// Set while resident memory is over the cap.
    memory_full: AtomicBool,
    /// When shards drop who is still there; 0 until the server is told to stop.
    stop_by_us: AtomicU64,
}

/// One shard's part of the board. Aligned to two cache lines, the unit in which neighbouring
/// lines are fetched: shards write each turn and must not slow each other down.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardBoard {
    /// When the shard last came out of its poll; 0 before the first time.
    beat_us: AtomicU64,
    /// An [`Activity`] as a word.
    activity: AtomicU64,
    /// How long the watchdog has missed the beat; 0 unless that is too long.
    stalled_us: AtomicU64,
    /// When the numbers below were stored.
    published_us: AtomicU64,
    stats: [AtomicU64; ShardStats::COUNT],
    ledger: ArcSwap<LedgerPage>,
    tick_duration: SharedBuckets,
    tick_lateness: SharedBuckets,
    /// Replaced as a whole; who reads it has that of a moment.
    listing: ArcSwap<Listing>,
}

/// What a shard is about, as far as others can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// Its thread has not come to its first poll yet.
    Starting,
    /// It waits for something to happen.
    Polling,
    /// It accepts, reads and decodes; joins are part of that.
    Reading,
    /// It ticks the room at this position of its table.
    Ticking {
        /// The room's index.
        room_slot: u32,
    },
    /// It writes what is queued.
    Flushing,
    /// Its thread has ended.
    Ended,
}

macro_rules! shard_stats {
    ($($(#[$doc:meta])* $name:ident: $merge:ident,)*) => {
        /// What one shard says about itself once a second.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
        #[cfg_attr(test, derive(serde::Deserialize))]
        pub struct ShardStats { $($(#[$doc])* pub $name: u64,)* }

        impl ShardStats {
            const COUNT: usize = [$(stringify!($name)),*].len();

            /// Adds another shard's numbers: counts and sizes are summed, of the rest the worst
            /// is kept.
            pub fn merge(&mut self, other: &Self) {
                $(self.$name = u64::$merge(self.$name, other.$name);)*
            }

            fn to_words(self) -> [u64; Self::COUNT] {
                [$(self.$name),*]
            }

            fn from_words([$($name),*]: [u64; Self::COUNT]) -> Self {
                Self { $($name),* }
            }
        }
    };
}

shard_stats! {
    // ---- at this moment ----
    /// Connections, whatever they are about.
    sessions_count: saturating_add,
    /// Rooms, empty ones that linger included.
    rooms_count: saturating_add,
    /// Sessions with a seat in a room.
    members_count: saturating_add,
    /// Members that get no state until their queue has drained.
    members_lagging_count: saturating_add,
    /// Members whose connection broke and whose seat is kept; `members_count` is without them.
    members_away_count: saturating_add,
    /// Members that get no state because nobody looks, or because their clients do not keep up.
    members_paused_count: saturating_add,
    /// Bytes queued for clients and not yet taken by the kernel.
    outbox_bytes: saturating_add,
    /// Age of the state that the furthest lagging member will have once its queue has drained, in
    /// microseconds.
    staleness_us_max: max,
    /// Connections whose TLS handshake has not begun, because others came first.
    handshakes_waiting_count: saturating_add,
    /// 1 while nobody new is let in because there is more to do than time.
    overloaded: saturating_add,
    /// How much is left out to keep up, 0 to 4.
    load_level: max,
    /// How much slower than real time rooms run that allow it, in percent.
    time_slowed_percent: max,
    // ---- over the last second ----
    /// Median duration of a room's tick, in microseconds.
    tick_duration_p50_us: max,
    /// 99th percentile of the durations of rooms' ticks, in microseconds.
    tick_duration_p99_us: max,
    /// 99th percentile of how late rooms' ticks began, in microseconds.
    tick_lateness_p99_us: max,
    // ---- since the shard started ----
    /// Time outside of the poll, in microseconds.
    busy_us: saturating_add,
    /// Ticks of all rooms.
    ticks: saturating_add,
    /// Ticks that began later than a whole step.
    ticks_overrun: saturating_add,
    /// Times a room's clock slipped.
    slips: saturating_add,
    /// Connections accepted.
    accepted: saturating_add,
    /// Connections that became WebSockets.
    upgrades: saturating_add,
    /// Connections handed to the HTTP thread.
    handed_over: saturating_add,
    /// Request heads answered with an error.
    heads_refused: saturating_add,
    /// Upgrades refused for the page that asked: part of `heads_refused`.
    origins_refused: saturating_add,
    /// TLS handshakes with certificate and key exchange.
    handshakes_full: saturating_add,
    /// TLS handshakes by the ticket of a connection before.
    handshakes_resumed: saturating_add,
    /// TLS handshakes that failed or took too long.
    handshakes_failed: saturating_add,
    /// Messages decoded.
    messages: saturating_add,
    /// Inputs that reached a room.
    inputs: saturating_add,
    /// Inputs that were dropped: too old, too far ahead, or to make place for newer ones.
    inputs_dropped: saturating_add,
    /// Writes and publications that took effect.
    ops: saturating_add,
    /// Times a session was not read for a while because it was ahead of its rates.
    pauses: saturating_add,
    /// Sessions closed because they were too far ahead of their rates: part of
    /// `closes_client_fault`.
    rate_limited: saturating_add,
    /// Seats given.
    joins: saturating_add,
    /// Joins and other requests refused.
    refusals: saturating_add,
    /// Snapshots asked for by clients whose replica broke.
    resyncs: saturating_add,
    /// Members that a host or a room's logic sent away.
    kicks: saturating_add,
    /// Seats that were kept for somebody with a token.
    seats_reserved: saturating_add,
    /// Members whose connection broke and whose seat was kept.
    drops: saturating_add,
    /// Members that came back to their seat.
    resumes: saturating_add,
    /// Those of them that missed nothing.
    resumes_recovered: saturating_add,
    /// Those of them whose connection before still looked alive.
    takeovers: saturating_add,
    /// Seats taken back because nobody came in time.
    graces_expired: saturating_add,
    /// Rooms that could not go on.
    rooms_failed: saturating_add,
    /// Recordings of rooms begun.
    recordings: saturating_add,
    /// Recordings that ended before their room, because they could not be kept.
    recordings_stopped: saturating_add,
    /// Frames of rooms' state that were queued compressed.
    frames_compressed: saturating_add,
    /// What those would have had in bytes.
    frames_compressed_bytes_before: saturating_add,
    /// What they have in bytes.
    frames_compressed_bytes_after: saturating_add,
    /// Times a frame was compressed, however many members it was for.
    compressions: saturating_add,
    /// Times a room began its window anew.
    compression_resets: saturating_add,
    /// Connections closed because one end was done: 1000 and 1001.
    closes_done: saturating_add,
    /// Connections closed for what the client did: 1002, 1003, 1007, 1008, 1009 and 4501-4999.
    closes_client_fault: saturating_add,
    /// Connections closed because their room failed: 1011.
    closes_room_failed: saturating_add,
    /// Connections closed because the server stops: 1012.
    closes_restart: saturating_add,
    /// Connections closed because something was full, the client's queue included: 1013.
    closes_overload: saturating_add,
    /// Connections closed for silence: 4001.
    closes_silence: saturating_add,
    /// Connections closed with any other code, 4500 of those whose seat was taken over among them.
    closes_other: saturating_add,
    /// Connections turned away because there are as many as there may be.
    shed_connections: saturating_add,
    /// Connections turned away because no file descriptor was left.
    shed_descriptors: saturating_add,
    /// Connections turned away because their address has as many as it may.
    shed_address_connections: saturating_add,
    /// Connections turned away because their address comes more often than it may.
    shed_address_handshakes: saturating_add,
    /// Seats given back at once when their connection broke, because as many are kept for their
    /// address as may be.
    shed_address_absences: saturating_add,
    /// Joins refused because their address makes rooms more often than it may.
    shed_address_rooms: saturating_add,
    /// Connections turned away because all addresses together come more often than they may.
    shed_handshakes: saturating_add,
    /// Upgrades turned away because the shard was overloaded.
    shed_busy_upgrades: saturating_add,
    /// Joins refused because the shard was overloaded.
    shed_busy_joins: saturating_add,
    /// Upgrades turned away because memory was over its cap.
    shed_memory_upgrades: saturating_add,
    /// Joins turned away because memory was over its cap.
    shed_memory_joins: saturating_add,
    /// Joins turned away because there are as many rooms as there may be.
    shed_rooms: saturating_add,
    /// Joins refused because their connection has made as many rooms as it may.
    shed_room_makers: saturating_add,
    /// Sessions closed because the mailbox of their room's shard was full.
    shed_mailbox: saturating_add,
}

impl Board {
    /// A board of shards that have not started yet.
    #[must_use]
    pub fn new(shards_count: usize, started: Timestamp, memory_bytes_max: Option<u64>) -> Self {
        Self {
            shards: (0..shards_count).map(|_| ShardBoard::new()).collect(),
            addresses: Arc::default(),
            started,
            memory_bytes: AtomicU64::new(0),
            memory_bytes_max,
            memory_full: AtomicBool::new(false),
            stop_by_us: AtomicU64::new(0),
        }
    }

    /// Says that the server stops, and when shards drop who is still there. The first one to say
    /// so is heard.
    pub fn request_stop(&self, by: Timestamp) {
        let by_us = by.0.max(1);
        // Fails when it was said before.
        let _ = self.stop_by_us.compare_exchange(0, by_us, Ordering::AcqRel, Ordering::Acquire);
    }

    /// When shards drop who is still there, once the server was told to stop.
    #[must_use]
    pub fn stop_by(&self) -> Option<Timestamp> {
        match self.stop_by_us.load(Ordering::Acquire) {
            0 => None,
            by_us => Some(Timestamp(by_us)),
        }
    }

    /// Says how much memory the process has, and whether that is too much.
    pub fn set_memory(&self, bytes: u64, is_full: bool) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
        self.memory_full.store(is_full, Ordering::Relaxed);
    }

    /// Whether nobody new is let in for want of memory.
    #[must_use]
    pub fn is_memory_full(&self) -> bool {
        self.memory_full.load(Ordering::Relaxed)
    }

    /// Resident memory of the process; 0 until somebody has looked.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Resident memory above which nobody new is let in.
    #[must_use]
    pub fn memory_bytes_max(&self) -> Option<u64> {
        self.memory_bytes_max
    }

    /// Who is connected from where.
    #[must_use]
    pub fn addresses(&self) -> &Arc<Addresses> {
        &self.addresses
    }

    /// When the server started.
    #[must_use]
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// One shard's part.
    ///
    /// # Panics
    /// When the server has no such shard.
    #[must_use]
    pub fn shard(&self, index: usize) -> &ShardBoard {
        &self.shards[index]
    }

    /// Every shard's part, by shard index.
    #[must_use]
    pub fn shards(&self) -> &[ShardBoard] {
        &self.shards
    }

    /// What `/readyz` answers, whoever does: that the server may get new clients, or why not, a
    /// line each.
    ///
    /// # Errors
    /// The reasons why not.
    pub fn readiness(&self) -> Result<&'static str, String> {
        match &self.unready_reasons()[..] {
            [] => Ok("ready"),
            reasons => Err(reasons.join("\n")),
        }
    }

    /// Why the server should get no new clients now; empty when it may.
    #[must_use]
    pub fn unready_reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.stop_by().is_some() {
            reasons.push("stopping: connections are being closed".to_owned());
        }
        for (index, shard) in self.shards.iter().enumerate() {
            if shard.beat() == Timestamp::ZERO {
                reasons.push(format!("starting: shard {index} has not begun"));
            } else if let Some(stalled_for) = shard.stalled_for() {
                let (seconds, activity) = (stalled_for.as_secs_f64(), shard.activity());
                reasons.push(format!(
                    "stalled: shard {index} has not ticked for {seconds:.1} s ({activity})"
                ));
            }
        }
        if self.is_memory_full() {
            let (bytes, max) = (self.memory_bytes(), self.memory_bytes_max.unwrap_or(0));
            reasons.push(format!("memory: {bytes} bytes are resident, the cap is {max}"));
        }
        reasons
    }
}

impl ShardBoard {
    fn new() -> Self {
        Self {
            beat_us: AtomicU64::new(0),
            activity: AtomicU64::new(Activity::Starting.to_word()),
            stalled_us: AtomicU64::new(0),
            published_us: AtomicU64::new(0),
            stats: std::array::from_fn(|_| AtomicU64::new(0)),
            ledger: ArcSwap::default(),
            tick_duration: SharedBuckets::default(),
            tick_lateness: SharedBuckets::default(),
            listing: ArcSwap::default(),
        }
    }

    /// The shard came out of its poll.
    pub fn set_beat(&self, now: Timestamp) {
        self.beat_us.store(now.0, Ordering::Relaxed);
    }

    /// The shard begins something.
    pub fn set_activity(&self, activity: Activity) {
        self.activity.store(activity.to_word(), Ordering::Relaxed);
    }

    /// The watchdog has missed the shard's beat for too long, or no longer does.
    pub fn set_stalled(&self, stalled_for: Option<Duration>) {
        let stalled_us = stalled_for.map_or(0, |time| time.as_micros().max(1) as u64);
        self.stalled_us.store(stalled_us, Ordering::Relaxed);
    }

    /// Stores what the shard says about itself.
    pub fn publish(&self, now: Timestamp, stats: &ShardStats) {
        for (place, word) in self.stats.iter().zip(stats.to_words()) {
            place.store(word, Ordering::Relaxed);
        }
        self.published_us.store(now.0, Ordering::Release);
    }

    /// Stores how long ticks took since the start, and how late they began.
    pub fn publish_ticks(&self, duration: &Buckets, lateness: &Buckets) {
        self.tick_duration.store(duration);
        self.tick_lateness.store(lateness);
    }

    /// Stores where the shard's time went.
    pub fn publish_ledger(&self, page: LedgerPage) {
        self.ledger.store(Arc::new(page));
    }

    /// Where the shard's time went.
    #[must_use]
    pub fn ledger(&self) -> Arc<LedgerPage> {
        self.ledger.load_full()
    }

    /// How long ticks took since the start, and how late they began.
    #[must_use]
    pub fn ticks(&self) -> (Buckets, Buckets) {
        (self.tick_duration.load(), self.tick_lateness.load())
    }

    /// Stores the rooms that the shard lists.
    pub fn publish_listing(&self, listing: Arc<Listing>) {
        self.listing.store(listing);
    }

    /// The rooms that the shard lists.
    #[must_use]
    pub fn listing(&self) -> Arc<Listing> {
        self.listing.load_full()
    }

    /// When the shard last came out of its poll; zero before the first time.
    #[must_use]
    pub fn beat(&self) -> Timestamp {
        Timestamp(self.beat_us.load(Ordering::Relaxed))
    }

    /// What the shard is about.
    #[must_use]
    pub fn activity(&self) -> Activity {
        Activity::from_word(self.activity.load(Ordering::Relaxed))
    }

    /// For how long the shard has not come out of its poll, if that is too long.
    #[must_use]
    pub fn stalled_for(&self) -> Option<Duration> {
        match self.stalled_us.load(Ordering::Relaxed) {
            0 => None,
            stalled_us => Some(Duration::from_micros(stalled_us)),
        }
    }

    /// What the shard said about itself, and when.
    #[must_use]
    pub fn published(&self) -> (Timestamp, ShardStats) {
        let at = Timestamp(self.published_us.load(Ordering::Acquire));
        let words = std::array::from_fn(|index| self.stats[index].load(Ordering::Relaxed));
        (at, ShardStats::from_words(words))
    }
}

impl Activity {
    /// The kind in the low byte, the room above it.
    fn to_word(self) -> u64 {
        match self {
            Self::Starting => 0,
            Self::Polling => 1,
            Self::Reading => 2,
            Self::Ticking { room_slot } => 3 | u64::from(room_slot) << 8,
            Self::Flushing => 4,
            Self::Ended => 5,
        }
    }

    fn from_word(word: u64) -> Self {
        match word & 0xff {
            1 => Self::Polling,
            2 => Self::Reading,
            3 => Self::Ticking { room_slot: (word >> 8) as u32 },
            4 => Self::Flushing,
            5 => Self::Ended,
            // Only what `to_word` makes is ever stored.
            _ => Self::Starting,
        }
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Polling => f.write_str("polling"),
            Self::Reading => f.write_str("reading"),
            Self::Ticking { room_slot } => write!(f, "ticking room slot {room_slot}"),
            Self::Flushing => f.write_str("flushing"),
            Self::Ended => f.write_str("ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_read_back_field_by_field() {
        let words = std::array::from_fn(|index| index as u64 + 1);
        let stats = ShardStats::from_words(words);
        let board = Board::new(2, Timestamp(5), None);
        board.shard(1).publish(Timestamp(9), &stats);
        assert_eq!(board.shard(1).published(), (Timestamp(9), stats));
        assert_eq!(board.shard(0).published(), (Timestamp::ZERO, ShardStats::default()));
        assert_eq!((stats.sessions_count, stats.shed_mailbox), (1, ShardStats::COUNT as u64));
    }

    #[test]
    fn counts_add_up_over_shards_and_of_percentiles_the_worst_is_kept() {
        let one = ShardStats { ticks: 3, tick_duration_p99_us: 70, ..ShardStats::default() };
        let mut total = ShardStats { ticks: 4, tick_duration_p99_us: 50, ..one };
        total.merge(&one);
        assert_eq!((total.ticks, total.tick_duration_p99_us), (7, 70));
    }

    #[test]
    fn activities_survive_their_word() {
        for activity in [
            Activity::Starting,
            Activity::Polling,
            Activity::Reading,
            Activity::Ticking { room_slot: 0 },
            Activity::Ticking { room_slot: u32::MAX },
            Activity::Flushing,
            Activity::Ended,
        ] {
            assert_eq!(Activity::from_word(activity.to_word()), activity);
        }
    }

    #[test]
    fn a_server_is_unready_for_each_reason_by_its_name() {
        let board = Board::new(2, Timestamp(5), Some(1000));
        let begins = |reasons: &[String], starts: &[&str]| {
            assert_eq!(reasons.len(), starts.len(), "{reasons:?}");
            for (reason, start) in reasons.iter().zip(starts) {
                assert!(reason.starts_with(start), "{reason:?} is not {start:?}");
            }
        };
        board.shard(0).set_beat(Timestamp(6));
        begins(&board.unready_reasons(), &["starting: shard 1"]);
        board.shard(1).set_beat(Timestamp(6));
        begins(&board.unready_reasons(), &[]);
        board.shard(1).set_activity(Activity::Ticking { room_slot: 7 });
        board.shard(1).set_stalled(Some(Duration::from_millis(2_340)));
        let stalled = "stalled: shard 1 has not ticked for 2.3 s (ticking room slot 7)";
        begins(&board.unready_reasons(), &[stalled]);
        board.shard(1).set_stalled(None);
        board.set_memory(1001, true);
        board.request_stop(Timestamp(50));
        board.request_stop(Timestamp(60));
        begins(&board.unready_reasons(), &["stopping: ", "memory: 1001 bytes"]);
        assert_eq!(board.stop_by(), Some(Timestamp(50)), "the first one is heard");
    }
}
