//! The load generator: many clients that each hold a replica of their room, measure how old it
//! is, and check that it equals the room.
//!
//! ```text
//! argv -> plan      what to do, checked before anything starts; threshold: what must hold
//!         scenario  which clients, in which rooms, how many when: built in or from a file
//!         cores     which of them the server gets and which the generator
//!         ceilings  what the kernel lets one process and one address have
//!         spawn     the server under test as a child process
//!         driver    threads, processes, sockets and the clock: the only edge beside spawn
//!           |  bytes and timestamps
//!           v
//!         client    one virtual client: one in a room, or a sender of messages that return
//!         workload  what a client does in its room, when, and whether it got what it was promised
//!         payload   what an echoed message consists of
//!           |  histograms and counters
//!           v
//!         tally     what was measured, as things that add up
//!         health    what the generator and its host were busy with meanwhile
//!         server_view  what the server says about the same seconds
//!         agreement whether the clients of one room have seen the same
//!         verdict   whether the numbers mean anything, and whether the server passed
//!         report    the same run as text and as JSON
//!
//! attack            clients that mean harm, and how long a server puts up with them
//! compare           two of these reports, and whether the second was slower (rank_test)
//! doctor            this machine before a run
//! ```
//!
//! Time is always a [`tickloom_protocol::time::Timestamp`] of the machine's monotonic clock, which
//! the server's tick times use too: on one machine the age of state needs no estimate.

pub mod plan;
pub mod scenario;
pub mod threshold;
pub mod tls;

pub mod ceilings;
pub mod cores;
pub mod spawn;

pub mod driver;

pub mod attack;
pub mod client;
pub mod payload;
pub mod workload;

pub mod agreement;
pub mod environment;
pub mod health;
pub mod report;
pub mod server_view;
pub mod tally;
pub mod verdict;

pub mod compare;
pub mod doctor;
pub mod rank_test;

#[cfg(test)]
#[path = "../tests/double/mod.rs"]
mod double;
