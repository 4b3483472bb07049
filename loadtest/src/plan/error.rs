//! What can be wrong with what was typed.

use std::time::Duration;

use super::{CLIENTS_MAX, RATE_HZ_MAX, STORM_EVERY_MIN, THREADS_MAX};
use crate::attack::AttackKind;

/// Why what was typed cannot be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// More clients than a run can hold.
    #[error("--clients {0} is more than a run can hold; the most is {CLIENTS_MAX}")]
    TooManyClients(u32),
    /// A flag for what a scenario's phases say.
    #[error("{0} is said by the scenario's phases; leave it out or take [[phase]] out of the file")]
    PhasesSay(&'static str),
    /// One number of rooms for several types of them.
    #[error("--rooms is for one room type; give the bots of this scenario a room_size instead")]
    SeveralRoomTypes,
    /// Rounds too short for everybody to come back.
    #[error(
        "--storm {0:?} is too short for everybody to come back; ask for at least {STORM_EVERY_MIN:?}"
    )]
    StormTooShort(Duration),
    /// A run without a round.
    #[error(
        "--storm {every:?} needs a --duration of {least:?} or more: a quiet time, and then a round"
    )]
    NoStorm {
        /// What `--storm` said.
        every: Duration,
        /// The shortest duration that has a round.
        least: Duration,
    },
    /// Clients that go from room to room, and others.
    #[error("`lobby` bots go from room to room; give other bots a scenario and a run of their own")]
    LobbyAlone,
    /// A flag that means nothing where clients go from room to room.
    #[error("{0} is not for clients that go from room to room; leave it out of a lobby")]
    NotInLobby(&'static str),
    /// More rooms than clients.
    #[error(
        "--rooms {rooms} leaves rooms empty with --clients {clients}; ask for {clients} or fewer"
    )]
    MoreRoomsThanClients {
        /// What `--rooms` said.
        rooms: u32,
        /// What `--clients` said.
        clients: u32,
    },
    /// Too short to measure anything.
    #[error("--duration must be at least 1s: one second holds too few ticks to judge")]
    TooShort,
    /// A rate of zero.
    #[error("{0} must be at least 1/s")]
    ZeroRate(&'static str),
    /// A rate over its limit.
    #[error("{flag} {rate_hz} is over the limit of {RATE_HZ_MAX}/s")]
    RateTooHigh {
        /// Which flag.
        flag: &'static str,
        /// What it said.
        rate_hz: u32,
    },
    /// No threads or processes, or more than clients.
    #[error(
        "--threads {threads} with --processes {processes}: together they must be between 1 and \
         --clients {clients}, each at most {THREADS_MAX}"
    )]
    BadThreads {
        /// What `--threads` said.
        threads: usize,
        /// What `--processes` said.
        processes: usize,
        /// What `--clients` said.
        clients: u32,
    },
    /// A message too short for its stamp, or too long for a server.
    #[error("--payload {payload} must be between {least} and {most} bytes")]
    BadPayload {
        /// What `--payload` said.
        payload: u32,
        /// The length of a stamp.
        least: usize,
        /// The protocol's limit.
        most: usize,
    },
    /// A number over its limit.
    #[error("{flag} {number} is over the limit of {most}")]
    TooMany {
        /// Which flag.
        flag: &'static str,
        /// What it said.
        number: u32,
        /// What it may say.
        most: u32,
    },
    /// A broadcast to nobody.
    #[error("--broadcast needs --clients 2 or more: nobody else would receive anything")]
    NobodyListens,
    /// More senders than clients.
    #[error("--senders {senders} are more than --clients {clients}")]
    MoreSendersThanClients {
        /// What `--senders` said.
        senders: u32,
        /// What `--clients` said.
        clients: u32,
    },
    /// An attack that does not encrypt, on an encrypted port.
    #[error(
        "--url of `attack {0}` must be a ws:// address, because it does not encrypt; \
         `attack handshakes` is for wss://"
    )]
    AttackEncrypted(AttackKind),
    /// An attack with handshakes where there are none.
    #[error(
        "--url of `attack {0}` must be a wss:// address, because others begin without TLS; \
         `attack flood` is for ws://"
    )]
    AttackPlain(AttackKind),
    /// Whom to trust where nobody shows a certificate.
    #[error("{0} is for wss:// addresses, where servers show certificates")]
    NothingToTrust(&'static str),
    /// Cores for a server that is there already.
    #[error("--server-cores is for a server that is started; the one at --url has its cores")]
    NotOurServer,
}
