//! What the HTTP thread counts, for everybody to read.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counts since the start. Shards add to `refused`, the thread to everything else.
#[derive(Debug, Default)]
pub(super) struct HttpCounters {
    connections_opened: AtomicU64,
    connections_closed: AtomicU64,
    refused: AtomicU64,
    upgrades: AtomicU64,
    seats_limited: AtomicU64,
    /// By the status's first digit, from 1 on.
    requests: [AtomicU64; 5],
}

/// What the HTTP thread says about itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct HttpReport {
    /// Connections it has.
    pub connections_count: u64,
    /// Connections it was given.
    pub connections_opened: u64,
    /// Connections it was not given because it had as many as it may.
    pub refused: u64,
    /// Connections it gave back for an upgrade.
    pub upgrades: u64,
    /// Requests for seats that came oftener than they may.
    pub seats_limited: u64,
    /// Requests answered, by the status's first digit, from 1 on.
    pub requests: [u64; 5],
}

impl HttpCounters {
    /// A connection came.
    pub(super) fn count_opened(&self) {
        self.connections_opened.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection went.
    pub(super) fn count_closed(&self) {
        self.connections_closed.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was not taken.
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection went back to its shard.
    pub(super) fn count_upgrade(&self) {
        self.upgrades.fetch_add(1, Ordering::Relaxed);
    }

    /// A request for seats came too soon.
    pub(super) fn count_limited(&self) {
        self.seats_limited.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was answered with this status.
    pub(super) fn count_request(&self, status: u16) {
        if let Some(place) = self.requests.get(usize::from(status / 100).wrapping_sub(1)) {
            place.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of it, at this moment.
    pub(super) fn report(&self) -> HttpReport {
        let read = |place: &AtomicU64| place.load(Ordering::Relaxed);
        // In this order: what closed has been opened before.
        let connections_closed = read(&self.connections_closed);
        let connections_opened = read(&self.connections_opened);
        HttpReport {
            connections_count: connections_opened.saturating_sub(connections_closed),
            connections_opened,
            refused: read(&self.refused),
            upgrades: read(&self.upgrades),
            seats_limited: read(&self.seats_limited),
            requests: std::array::from_fn(|class| read(&self.requests[class])),
        }
    }
}
