//! permessage-deflate (RFC 7692): what two ends agree on, and messages smaller and back.
//!
//! ```text
//! in    frames with RSV1 -> gate (link) -> Inflater -> one ordinary frame -> tungstenite
//! out   message -> Compressor -> frame with RSV1 -> outbox
//! ```
//!
//! An endpoint may send any message plain, so compression is a choice per message. A server never
//! keeps the window of what a client sent: it always answers `client_no_context_takeover`, and one
//! [`Inflater`] serves all connections of a thread. What a server sends may refer to what it
//! compressed before; whoever owns a [`Compressor`] decides who shares its past.

mod compressor;
mod inflater;
mod negotiation;

pub use compressor::{Compressor, Compressors, Kind};
pub use inflater::{InflateError, Inflater};
pub use negotiation::{Agreement, Offer, Sender, WrongAnswer};

/// What ends each flush of a deflate stream. It is left out of messages (RFC 7692 section 7.2.1).
const FLUSH_TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The smallest window zlib compresses with. RFC 7692 knows 8, which zlib takes for 9, so that the
/// other end could not inflate what it gets: an offer that insists on 8 is declined.
pub const WINDOW_BITS_MIN: u8 = 9;

/// The largest window there is.
pub const WINDOW_BITS_MAX: u8 = 15;
