//! The signs of life of one shard's thread: when it beats, what it is about, how busy it is.

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::time::Timestamp;

use crate::board::{Activity, Board, ShardBoard, ShardStats};
use crate::metrics::{Metrics, Shed};
use crate::shard::Shard;

/// How often a shard publishes its numbers. An idle one is woken for it, which is its beat: its
/// thread need not be asked whether it sleeps or hangs.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// Beats and publishes for one shard.
pub(super) struct Pulse {
    board: Arc<Board>,
    shard: usize,
    publish_at: Timestamp,
    turn_began: Timestamp,
    busy_us: u64,
    /// When the numbers were last published.
    published_at: Timestamp,
    /// What they said of the time outside of the poll.
    busy_us_published: u64,
    /// What the log knows of, in the order of [`Shed::ALL`].
    sheds_logged: [u64; Shed::ALL.len()],
}

impl Pulse {
    pub(super) fn new(board: Arc<Board>, shard: usize, now: Timestamp) -> Self {
        Self {
            board,
            shard,
            publish_at: now,
            turn_began: now,
            busy_us: 0,
            published_at: now,
            busy_us_published: 0,
            sheds_logged: [0; Shed::ALL.len()],
        }
    }

    /// When the numbers are to be published, and the shard beats though nothing else happens.
    pub(super) fn due(&self) -> Timestamp {
        self.publish_at
    }

    /// The poll returned.
    pub(super) fn begin_turn(&mut self, now: Timestamp) {
        self.turn_began = now;
        self.place().set_beat(now);
        self.place().set_activity(Activity::Reading);
    }

    /// Members of a room are about to be read.
    pub(super) fn begin_reads(&self) {
        self.place().set_activity(Activity::Reading);
    }

    /// What is queued is about to be written.
    pub(super) fn begin_flush(&self) {
        self.place().set_activity(Activity::Flushing);
    }

    /// Everything is done; the thread is about to wait.
    pub(super) fn end_turn(&mut self, now: Timestamp, shard: &mut Shard) {
        self.busy_us += now.saturating_since(self.turn_began).as_micros() as u64;
        if now >= self.publish_at {
            let busy = Duration::from_micros(self.busy_us - self.busy_us_published);
            shard.handle_load(busy, now.saturating_since(self.published_at));
            (self.published_at, self.busy_us_published) = (now, self.busy_us);
            self.publish_at = now + PUBLISH_EVERY;
            self.place().publish_ledger(shard.take_ledger());
            let stats = shard.take_stats();
            self.place().publish(now, &ShardStats { busy_us: self.busy_us, ..stats });
            let Metrics { tick_duration_us, tick_lateness_us, .. } = shard.metrics();
            self.place().publish_ticks(&tick_duration_us.buckets, &tick_lateness_us.buckets);
            shard.publish_listing(now);
            self.log_sheds(shard);
        }
        self.place().set_activity(Activity::Polling);
    }

    /// Turning work away is said once a second, however much of it there is.
    fn log_sheds(&mut self, shard: &Shard) {
        for (kind, logged) in Shed::ALL.into_iter().zip(&mut self.sheds_logged) {
            let count = shard.metrics().shed(kind) - *logged;
            *logged += count;
            if count > 0 {
                let (shard, kind) = (self.shard, kind.name());
                tracing::warn!(event = "shed", shard, kind, count, "new work was turned away");
            }
        }
    }

    fn place(&self) -> &ShardBoard {
        self.board.shard(self.shard)
    }
}
