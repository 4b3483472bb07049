//! What a run says: the clients' receipts beside the server's writes.

use std::collections::HashMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use tickloom_benches::machine::Verdict;
use tickloom_benches::window::Window;
use tickloom_server::reactor::{ShardReport, WriteStamp};

use crate::Args;
use crate::player::{Receipt, Trace};

/// Longest duration a histogram tells apart from longer ones: a minute.
const DURATION_US_MAX: u64 = 60_000_000;

/// Share of the time our threads may wait for a core. They do for a hundredth on a quiet machine,
/// for the moments after each wake-up; at thrice that, the 99th percentile is the scheduler's.
const WAITING_MAX: f64 = 0.02;

/// Figures of one run. Histograms are of microseconds.
pub(crate) struct Figures {
    pub(crate) window: Window,
    pub(crate) tick_lateness: Histogram<u32>,
    pub(crate) tick_duration: Histogram<u32>,
    pub(crate) due_to_enqueue: Histogram<u32>,
    pub(crate) enqueue_to_socket: Histogram<u32>,
    pub(crate) socket_to_client: Histogram<u32>,
    pub(crate) age_at_receipt: Histogram<u32>,
    pub(crate) input_lateness: Histogram<u32>,
    /// Receipts in the window.
    pub(crate) receipts: u64,
    /// Receipts in the window that were not the delta of one tick.
    pub(crate) leaps: u64,
    /// Receipts that came before the server's write had returned; they count as zero.
    pub(crate) early: u64,
    /// Receipts for which the server has no write.
    pub(crate) unmatched: u64,
    /// In the whole run, all of them right.
    pub(crate) hashes_checked: u64,
    /// Clients that compared no hash.
    pub(crate) unchecked: usize,
    pub(crate) verdict: Verdict,
}

pub(crate) fn histogram() -> Histogram<u32> {
    Histogram::new_with_bounds(1, DURATION_US_MAX, 3).expect("three digits up to a minute")
}

fn record(histogram: &mut Histogram<u32>, duration: Duration) {
    histogram.saturating_record(duration.as_micros() as u64);
}

impl Figures {
    pub(crate) fn new(
        args: &Args,
        window: Window,
        shard: ShardReport,
        traces: &[Trace],
        input_lateness: Histogram<u32>,
    ) -> Self {
        let mut writes: HashMap<u16, Vec<WriteStamp>> = HashMap::new();
        for stamp in shard.writes {
            writes.entry(stamp.peer_port).or_default().push(stamp);
        }
        let mut figures = Self {
            window,
            tick_lateness: shard.metrics.tick_lateness_us.whole,
            tick_duration: shard.metrics.tick_duration_us.whole,
            due_to_enqueue: histogram(),
            enqueue_to_socket: histogram(),
            socket_to_client: histogram(),
            age_at_receipt: histogram(),
            input_lateness,
            receipts: 0,
            leaps: 0,
            early: 0,
            unmatched: 0,
            hashes_checked: traces.iter().map(|trace| trace.hashes_checked).sum(),
            unchecked: traces.iter().filter(|trace| trace.hashes_checked == 0).count(),
            verdict: Verdict::Invalid,
        };
        for trace in traces {
            let writes = writes.get(&trace.port).map_or(&[][..], |writes| writes);
            for receipt in trace.receipts.iter().filter(|receipt| window.contains(receipt.at)) {
                figures.add(receipt, writes);
            }
        }
        figures.verdict = figures.judged(args);
        figures
    }

    /// CPU time of the server per client and tick.
    pub(crate) fn server_cpu_ns(&self) -> Option<f64> {
        self.window.server_cpu_ns_per(self.receipts).ok()
    }

    fn add(&mut self, receipt: &Receipt, writes: &[WriteStamp]) {
        self.receipts += 1;
        self.leaps += u64::from(receipt.ticks != 1);
        // Everybody gets one write per tick. A client may have it before the write returns, but
        // not before flushing began; of several in one read, the last belongs to the last.
        let begun = writes.partition_point(|write| write.queued <= receipt.at);
        let Some(write) = begun.checked_sub(1 + receipt.newer).map(|index| writes[index]) else {
            self.unmatched += 1;
            return;
        };
        self.early += u64::from(receipt.at < write.written);
        record(&mut self.due_to_enqueue, write.queued.saturating_since(receipt.due));
        record(&mut self.enqueue_to_socket, write.written.saturating_since(write.queued));
        record(&mut self.socket_to_client, receipt.at.saturating_since(write.written));
        record(&mut self.age_at_receipt, receipt.age());
    }

    /// A run is what it claims to be when every client got every tick, none of them a tick late,
    /// and no input was.
    fn judged(&self, args: &Args) -> Verdict {
        let interval_us = args.tick_interval().as_micros() as u64;
        let lateness_us_max = self.due_to_enqueue.max().max(self.input_lateness.max());
        let complete = self.receipts > 0 && self.leaps == 0 && self.unmatched == 0;
        if complete && lateness_us_max < interval_us { self.disturbed() } else { Verdict::Invalid }
    }

    fn disturbed(&self) -> Verdict {
        match self.window.waiting() {
            Some(waiting) if waiting > WAITING_MAX => Verdict::Noisy,
            Some(_) => Verdict::Valid,
            None => Verdict::of_contention(self.window.contention()),
        }
    }
}
