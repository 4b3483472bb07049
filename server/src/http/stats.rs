//! `/stats.json`: what the board says, for programs.

use serde::Serialize;
use tickloom_protocol::time::Timestamp;

use super::counters::HttpReport;
use crate::board::{Board, ShardStats};
use crate::ledger::LedgerPage;

/// The body of `/stats.json`. Times are microseconds of the machine's monotonic clock, on which
/// other programs of the same machine can place them.
#[derive(Clone, Debug, Serialize)]
pub struct StatsReport {
    /// The server's version.
    pub version: &'static str,
    /// When this was asked, in microseconds.
    pub at_us: u64,
    /// When the server started, in microseconds.
    pub started_us: u64,
    /// Why the server should get no new clients, a sentence each; empty when it is ready.
    pub unready: Vec<String>,
    /// Resident memory of the process, looked at once a second; 0 until it was looked at.
    pub memory_bytes: u64,
    /// Resident memory above which nobody new is let in; null when there is no cap.
    pub memory_bytes_max: Option<u64>,
    /// All shards together: of percentiles and `staleness_us_max`, the worst shard's.
    pub total: ShardStats,
    /// Each shard, by its index.
    pub shards: Vec<ShardEntry>,
    /// The thread that answers this.
    pub http: HttpReport,
}

/// What one shard says about itself.
#[derive(Clone, Debug, Serialize)]
pub struct ShardEntry {
    /// The shard's index.
    pub shard: usize,
    /// When it last came out of its poll, in microseconds; 0 before the first time. At least once
    /// a second.
    pub beat_us: u64,
    /// What it is about: `starting`, `polling`, `reading`, `ticking room slot N`, `flushing` or
    /// `ended`.
    pub activity: String,
    /// When it published the numbers below, in microseconds; 0 before the first time.
    pub published_us: u64,
    /// Its numbers.
    #[serde(flatten)]
    pub stats: ShardStats,
    /// Where its time went.
    pub ledger: LedgerPage,
}

impl StatsReport {
    /// What the board says at this moment.
    #[must_use]
    pub fn new(now: Timestamp, board: &Board, http: HttpReport) -> Self {
        let mut total = ShardStats::default();
        let shards = board.shards().iter().enumerate().map(|(index, shard)| {
            let (published, stats) = shard.published();
            total.merge(&stats);
            ShardEntry {
                shard: index,
                beat_us: shard.beat().0,
                activity: shard.activity().to_string(),
                published_us: published.0,
                stats,
                ledger: LedgerPage::clone(&shard.ledger()),
            }
        });
        let shards = shards.collect();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            at_us: now.0,
            started_us: board.started().0,
            unready: board.unready_reasons(),
            memory_bytes: board.memory_bytes(),
            memory_bytes_max: board.memory_bytes_max(),
            total,
            shards,
            http,
        }
    }
}
