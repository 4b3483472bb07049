//! What a shard must know before it starts.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tickloom_protocol::link::LinkLimits;
use tickloom_protocol::time::Timestamp;

use crate::addresses::AddressLimits;
use crate::allowance::Allowance;
use crate::board::Board;
use crate::config::{CompressionConfig, Config};
use crate::directory::{Directory, ShardIndex};
use crate::origins::OriginPolicy;
use crate::outbox::OutboxLimits;
use crate::overload::WhenBusy;
use crate::proxies::Proxies;
use crate::rate::Rate;
use crate::recording::RecordedRooms;
use crate::rooms::RoomTypes;
use crate::session::Patience;
use crate::tokens::Secret;

/// What a shard must know before it starts.
#[derive(Clone, Debug)]
pub struct ShardConfig {
    /// Which shard this is.
    pub index: ShardIndex,
    /// What all shards know of each other; this one has a place on it.
    pub board: Arc<Board>,
    /// Which shard owns which room.
    pub directory: Directory,
    /// The room types it offers.
    pub room_types: RoomTypes,
    /// What connections are encrypted with, if they are.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether `/echo` answers.
    pub echo: Echo,
    /// The proxies in front of the server.
    pub proxies: Proxies,
    /// Whose pages may connect.
    pub origins: OriginPolicy,
    /// How long sessions may take for what.
    pub patience: Patience,
    /// What one connection may send.
    pub allowance: Allowance,
    /// What one message may be.
    pub link: LinkLimits,
    /// What one address may do.
    pub addresses: AddressLimits,
    /// This shard's part of the new connections that there may be of all addresses together.
    pub handshakes: Option<Rate>,
    /// TLS handshakes that are begun; further ones wait.
    pub handshakes_pace: Option<Rate>,
    /// Whether an overloaded shard lets nobody in.
    pub busy: WhenBusy,
    /// Bounds of each session's queue.
    pub outbox: OutboxLimits,
    /// Whether messages are compressed, and which.
    pub compression: CompressionConfig,
    /// Sessions at the same time; further connections get 503.
    pub sessions_max: usize,
    /// Rooms at the same time; a join that needs another one is refused.
    pub rooms_max: usize,
    /// How long a room without members is kept.
    pub room_linger: Duration,
    /// How long the seat of a member is kept whose connection broke, unless its room's type says
    /// otherwise; zero not at all.
    pub room_grace: Duration,
    /// How long a congested session may take nothing before it closes.
    pub stall_max: Duration,
    /// The time over which clients are told to come back when the server stops.
    pub retry_spread: Duration,
    /// Which rooms are recorded.
    pub recorded: RecordedRooms,
    /// Seeds the rooms' randomness.
    pub seed: u64,
    /// What tokens are made from.
    pub secret: Secret,
}

impl ShardConfig {
    /// One of several shards: its share of what the server may take.
    #[must_use]
    pub fn of(config: &Config, server: &Surroundings, index: ShardIndex) -> Self {
        let shards_count = server.board.shards().len();
        Self {
            index,
            board: Arc::clone(&server.board),
            directory: server.directory,
            room_types: server.room_types.clone(),
            tls: server.tls.clone(),
            echo: config.echo,
            proxies: config.proxies.clone(),
            origins: config.origins.clone(),
            patience: config.patience,
            allowance: config.allowance,
            link: config.link,
            addresses: config.addresses.clone(),
            handshakes: config.handshakes.map(|rate| rate.part(shards_count)),
            handshakes_pace: config.handshakes_pace.map(|rate| rate.part(shards_count)),
            busy: config.busy,
            outbox: config.outbox,
            compression: CompressionConfig {
                windows_max: config.compression.windows_max.div_ceil(shards_count),
                ..config.compression
            },
            sessions_max: config.connections_max.div_ceil(shards_count),
            rooms_max: config.rooms_max.div_ceil(shards_count),
            room_linger: config.room_linger,
            room_grace: config.room_grace,
            stall_max: config.stall_max,
            retry_spread: config.stop.retry_spread,
            recorded: RecordedRooms::of(config.recording.as_ref()),
            seed: config.seed.wrapping_add(index.0 as u64),
            secret: server.secret.clone(),
        }
    }

    /// The only shard of a server that nobody watches: for tests.
    #[must_use]
    pub fn alone(config: &Config, room_types: RoomTypes) -> Self {
        let board = Arc::new(Board::new(1, Timestamp::ZERO, None));
        let (directory, secret) = (Directory::new(1, 0), Secret::new([0; 32]));
        let server = Surroundings { board, directory, room_types, tls: None, secret };
        Self::of(config, &server, ShardIndex(0))
    }
}

/// What all shards of a server have in common.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What they know of each other.
    pub board: Arc<Board>,
    /// Which of them owns which room.
    pub directory: Directory,
    /// The room types they offer.
    pub room_types: RoomTypes,
    /// What connections are encrypted with, if they are.
    pub tls: Option<Arc<ServerConfig>>,
    /// What tokens are made from. Nobody else may know it.
    pub secret: Secret,
}

/// Whether `/echo` answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Echo {
    /// It sends back what it receives.
    Enabled,
    /// It is not there.
    Disabled,
}
