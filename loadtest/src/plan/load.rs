//! What the clients do: the part of a plan that differs from one kind of run to another.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickloom_protocol::time::Timestamp;

use crate::scenario::bots::{Bot, BotKind, Cast};
use crate::scenario::phases::Phases;
use crate::tally::Window;
use crate::workload::recorded::Script;

/// What the clients do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Load {
    /// They play in rooms of a Tickloom server.
    Rooms(Box<RoomLoad>),
    /// They send messages that come back.
    Echo(EchoLoad),
}

/// Clients in rooms.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoomLoad {
    /// What the scenario is called.
    pub scenario: String,
    /// Who is who, and in which room.
    pub cast: Cast,
    /// What they do, when they do what others did before.
    pub script: Option<Script>,
    /// How many clients there are when; without phases all of them all the time.
    pub phases: Phases,
    /// How many clients are replaced while it is measured.
    pub churn: Option<Churn>,
    /// Who does not hear its room for a while.
    pub interruptions: Interruptions,
}

impl RoomLoad {
    /// Whether nobody does anything but stay.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.cast.bots().iter().all(|bot| bot.kind == BotKind::Idle)
    }

    /// Whether the clients go from room to room. Then all of them do.
    #[must_use]
    pub fn is_lobby(&self) -> bool {
        self.cast.bots().iter().all(|bot| bot.kind == BotKind::Lobby)
    }

    /// Whether some clients are in rooms that change all the time, and so send hashes.
    #[must_use]
    pub fn has_hashes(&self) -> bool {
        let changes = |bot: &Bot| bot.kind.is_player() || bot.kind == BotKind::State;
        self.cast.bots().iter().any(changes) || self.is_lobby()
    }

    /// Whether somebody may have to find its way back when the window ends.
    #[must_use]
    pub fn comes_and_goes(&self) -> bool {
        self.churn.is_some() || self.interruptions != Interruptions::default()
    }

    /// What the busiest bots send per second; 0 when nobody sends by the clock.
    #[must_use]
    pub fn rate_hz_max(&self) -> u32 {
        self.cast.bots().iter().map(|bot| bot.rate_hz).max().unwrap_or(0)
    }
}

/// Clients that do not hear their rooms for a while, and then again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Interruptions {
    /// How many are cut off and come back while it is measured.
    pub drops: Option<Churn>,
    /// When all are cut off at once.
    pub storm: Option<Storm>,
    /// After how long without a word a client gives its connection up and comes back over another.
    pub patience: Option<Duration>,
    /// The share of clients that nobody sees now and then, in parts of a million.
    pub hidden_ppm: u64,
}

/// Rounds in which all connections are cut at once, and everybody comes back.
///
/// ```text
/// from            round 1         round 2              until
///  |-- quiet, every --x-- every ------x-- every -- ... --|
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Storm {
    /// From one round to the next.
    pub every: Duration,
}

impl Storm {
    /// When the rounds of a window begin and end: each has its whole time, and as long a quiet
    /// before it.
    pub fn rounds(self, window: Window) -> impl Iterator<Item = (Timestamp, Timestamp)> {
        let window_us = window.until.0.saturating_sub(window.from.0);
        // A window that is not decided yet is empty, and has none.
        let whole = window_us / (self.every.as_micros() as u64).max(1);
        let count = u32::try_from(whole.saturating_sub(1)).unwrap_or(u32::MAX);
        (1..=count).map(move |round| {
            let begin = window.from + self.every * round;
            (begin, begin + self.every)
        })
    }
}

/// How many clients leave each second, and are replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Churn {
    /// This many.
    Clients(u32),
    /// This share of them, in parts of a million.
    SharePpm(u64),
}

impl Churn {
    /// Microseconds from one to the next, of `clients_count`; `None` when nobody leaves.
    #[must_use]
    pub fn period_us(self, clients_count: u32) -> Option<u64> {
        match self {
            Self::Clients(rate_hz) => 1_000_000_u64.checked_div(u64::from(rate_hz)),
            Self::SharePpm(ppm) => {
                1_000_000_000_000_u64.checked_div(u64::from(clients_count) * ppm)
            }
        }
    }
}

/// What the clients did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// They played in rooms. The headline is the age of state.
    Rooms,
    /// They sent messages that came back. The headline is the round trip.
    Echo,
    /// They sent messages to everybody. The headline is the delivery.
    Broadcast,
}

/// What the lines of a run are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Headline {
    /// The age of state, of rooms that tick.
    StateAge,
    /// How events get around in rooms that do not.
    Events,
    /// How fast clients get from room to room.
    Lobby,
    /// The round trip of messages that come back.
    RoundTrip,
    /// The way of messages to everybody.
    Delivery,
}

impl Load {
    /// What the lines of a run are about.
    #[must_use]
    pub fn headline(&self) -> Headline {
        let is_player = |bot: &Bot| bot.kind.is_player();
        match self {
            Self::Rooms(rooms) if rooms.cast.bots().iter().any(is_player) => Headline::StateAge,
            Self::Rooms(rooms) if rooms.is_lobby() => Headline::Lobby,
            Self::Rooms(_) => Headline::Events,
            Self::Echo(echo) => match echo.pattern {
                Pattern::Closed { .. } | Pattern::Open { .. } => Headline::RoundTrip,
                Pattern::Broadcast { .. } => Headline::Delivery,
            },
        }
    }
}

/// Messages that come back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EchoLoad {
    /// Bytes of each message; enough for its stamp.
    pub payload_bytes: u32,
    /// How they are sent.
    pub kind: MessageKind,
    /// When they are sent, and to whom they come back.
    pub pattern: Pattern,
    /// The subprotocol to offer.
    pub subprotocol: Option<String>,
}

/// How a message is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessageKind {
    /// As text.
    Text,
    /// As bytes.
    Binary,
}

/// When messages are sent, and to whom they come back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Pattern {
    /// To their sender; the next is sent when one comes back.
    Closed {
        /// Messages of one client on their way at once; at least one.
        in_flight: u32,
    },
    /// To their sender; sent when they are due.
    Open {
        /// Messages per second, over all clients; at least one.
        rate_hz: u32,
    },
    /// To everybody; sent when they are due.
    Broadcast {
        /// The first this many clients send.
        senders_count: u32,
        /// Messages per second, over all senders; at least one.
        rate_hz: u32,
    },
}

impl Load {
    /// What the clients do, in a word.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Rooms(_) => Kind::Rooms,
            Self::Echo(echo) => match echo.pattern {
                Pattern::Closed { .. } | Pattern::Open { .. } => Kind::Echo,
                Pattern::Broadcast { .. } => Kind::Broadcast,
            },
        }
    }
}
