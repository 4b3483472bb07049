//! What shards say to each other: data, without a socket in it.

use crate::http::HandOver;
use crate::seats::Reserve;
use crate::session::Session;

/// One piece of mail.
#[derive(Debug)]
pub enum Mail {
    /// A session whose room lives on the receiving shard. Its socket travels beside it.
    Adopt(Box<Session>),
    /// A session that could not be delivered, back at its sender.
    Returned(Box<Session>),
    /// Seats to keep, for a program that asked over HTTP.
    Reserve(Box<Reserve>),
    /// A connection of the HTTP thread that asks for WebSocket, its socket beside it.
    Upgrade(HandOver),
}
