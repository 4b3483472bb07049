//! The load generator: many clients that each hold a replica of their room, measure how old it
//! is, and check that it equals the room.
//!
//! ```text
//! argv -> plan      what to do, checked before anything starts
//!         spawn     the server under test as a child process, when no --url is given
//!         driver    threads, sockets and the clock: the only edge beside spawn
//!           |  bytes and timestamps
//!           v
//!         client    one virtual client: the protocol's client plus stamps
//!         workload  what its player does, and when each input is meant to happen
//!           |  histograms and counters
//!           v
//!         tally     what was measured, as things that add up
//!         health    what the generator and its host were busy with meanwhile
//!         verdict   whether the numbers mean anything, and whether the server passed
//!         report    the same run as text and as JSON
//! ```
//!
//! Time is always a [`tickloom_protocol::time::Timestamp`] of the machine's monotonic clock, which
//! the server's tick times use too: on one machine the age of state needs no estimate.

pub mod plan;
pub mod spawn;

pub mod driver;

pub mod client;
pub mod workload;

pub mod health;
pub mod report;
pub mod tally;
pub mod verdict;

#[cfg(test)]
#[path = "../tests/double/mod.rs"]
mod double;
