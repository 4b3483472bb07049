//! Plain HTTP beside WebSocket, on the same port.
//!
//! ```text
//! shard: a head that is no upgrade --HandOver: socket, bytes read--> thread --> connection (hyper)
//!   ^                                                                              |
//!   |                                                       guard: host, body, limits
//!   |                                                              routes, pages
//!   '--Mail::Upgrade: socket, the upgrade's head, bytes behind it------------------'
//! ```
//!
//! One thread serves all of it, with an event loop of its own; nothing else in the server is
//! `async`. It looks at the [`crate::board`] and asks no shard, so that it answers when they
//! hang; only for seats it sends a shard mail and waits, not for long. Connections stay open between requests. A proxy may use one of them for an upgrade: that
//! one goes back to the shard it came from, head and all, and the shard decides about it as if it
//! had read it itself.
//!
//! | path | answer |
//! |---|---|
//! | `/` and others | `pages`, unless they are turned off |
//! | `/healthz` | 200 while the process answers at all |
//! | `/readyz` | 200 `ready`, or 503 and one line for each reason to send nobody here |
//! | `/stats.json` | a [`StatsReport`] |
//! | `/metrics` | the same and more, for Prometheus |
//! | `/api/rooms`, `/api/room-types`, `/api/seats` | see `api` |

mod api;
mod api_key;
mod connection;
mod counters;
mod guard;
mod metrics_text;
mod pages;
mod process;
mod routes;
mod stats;
mod stream;
#[cfg(test)]
mod tests;
mod thread;
mod tls_stream;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use api_key::ApiKey;
pub use counters::HttpReport;
pub use stats::{ShardEntry, StatsReport};
pub use thread::{Arrival, HttpSender, open};

use crate::addresses::Counted;
use crate::directory::Directory;
use crate::mailbox::Mailbox;
use crate::rate::Rate;
use crate::rooms::RoomTypes;
use crate::tls::Tls;

/// What a connection takes along when it goes from a shard to the HTTP thread, or back.
#[derive(Debug)]
pub struct HandOver {
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Whom its limits are counted for.
    pub client: IpAddr,
    /// Its part of what its address has, as long as it is there.
    pub counted: Option<Counted>,
    /// Its keys, when it is encrypted.
    pub tls: Option<Box<Tls>>,
    /// What was read from it and not answered, a complete request head first; decrypted.
    pub bytes: Vec<u8>,
}

impl HandOver {
    /// Bytes of a connection that is not encrypted and speaks for itself.
    #[must_use]
    pub fn plain(peer: SocketAddr, bytes: Vec<u8>) -> Self {
        Self { peer, client: peer.ip(), counted: None, tls: None, bytes }
    }
}

/// How the HTTP thread reaches rooms.
#[derive(Debug)]
pub struct Doors {
    /// Which shard owns which room.
    pub directory: Directory,
    /// By shard index.
    pub mailboxes: Vec<Mailbox>,
    /// What other programs show to act on behalf of users.
    pub api_key: ApiKey,
    /// How often they may; as often as they like without.
    pub seats_rate: Option<Rate>,
    /// What rooms there may be.
    pub room_types: RoomTypes,
}

/// What the HTTP thread serves, and its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HttpConfig {
    /// Connections at the same time; further ones get 503.
    pub connections_max: usize,
    /// From an answer to the next complete request head.
    pub idle_timeout: Duration,
    /// From a request head to the end of the body, and from an answer to its last byte's leaving.
    pub body_timeout: Duration,
    /// The longest body that is taken.
    pub body_bytes_max: usize,
    /// From our last byte to the other end's, before the connection is cut.
    pub drain: Duration,
    /// Whether there are pages for people beside what programs ask for.
    pub has_pages: bool,
}
