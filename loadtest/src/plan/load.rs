//! What the clients do: the part of a plan that differs from one kind of run to another.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the clients do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Load {
    /// They play in rooms of a Tickloom server.
    Rooms(RoomLoad),
    /// They send messages that come back.
    Echo(EchoLoad),
}

/// Players in rooms.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RoomLoad {
    /// Rooms to spread the clients over; `1 ..= clients_count`.
    pub rooms_count: u32,
    /// Inputs per client and second; 0 for none.
    pub input_rate_hz: u32,
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
