//! What both ends of a Tickloom connection must agree on, as pure functions over bytes.
//!
//! ```text
//! socket bytes
//!   |  handshake   HTTP head -> WebSocket upgrade, plain HTTP request, or a refusal
//!   |  link        WebSocket frames <-> binary messages, either role
//!   |  deflate     messages smaller and back, for frames that say so
//!   |  client_message / server_message    FlatBuffers envelopes, verified once
//!   |  chunks      the packed grammar inside `Delta.chunks`
//!   |  changes     what a client's write asks for, in the same grammar
//!   v  entities    entities x components, values only
//!      events      what was said, in order
//!      ordering    keys that keep a list in order
//!      replica     what a client knows of its room
//!      pending     what it wrote itself and shows already
//!      client      handshake + link + replica as one sans-I/O client
//!      clock       what time it is on the server, and which tick to act for
//!      recording   what happened to a room, as a file
//!      ticket      what it keeps to come back with when its connection breaks
//! ```
//!
//! Nothing here touches a socket, a clock, a thread or a source of randomness: bytes, times and
//! keys are arguments. `SPEC.md` beside this crate describes the same wire for people who port a
//! client to another language.

pub mod limits;

pub mod ids;
pub mod time;

pub mod close;
pub mod deflate;
pub mod handshake;
pub mod link;

pub mod quantise;
pub mod schema;

pub mod client_message;
pub mod delta_prefix;
pub mod server_message;

pub mod changes;
pub mod chunks;
pub mod entities;
pub mod events;
pub mod ordering;
pub mod pending;
pub mod props;
pub mod recording;
pub mod replica;

pub mod client;
pub mod clock;
pub mod ticket;

#[allow(
    clippy::all,
    clippy::too_many_lines,
    missing_docs,
    unsafe_code,
    unused,
    elided_lifetimes_in_paths,
    rustdoc::all,
    reason = "flatc wrote it; `schema/generate.sh --check` keeps it equal to the schema"
)]
#[rustfmt::skip]
mod generated;

/// The WebSocket subprotocol this crate speaks.
pub const SUBPROTOCOL: &str = "tickloom.v1";
