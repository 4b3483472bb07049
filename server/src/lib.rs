//! Tickloom's room server.
//!
//! ```text
//! socket -> reactor -> shard -> session (link, messages) -> room: inputs -> logic -> state
//! socket <- reactor <- outbox <- broadcast: encode(since) once, shared by all members <-'
//! ```
//!
//! One pinned thread per core runs a [`reactor`]: the only code beside [`mailbox`], [`runtime`]
//! and [`watchdog`] that touches sockets, clocks and threads. Everything it calls is plain data and
//! One pinned thread per core runs a [`reactor`]: the only code beside [`mailbox`], [`runtime`] and
//! the [`doctor`]'s look around that touches sockets, clocks and threads. Everything it calls is plain data and
//! functions, and runs unchanged in the simulation under `tests/`.

pub mod config;
pub mod doctor;
pub mod runtime;
pub mod watchdog;

pub mod mailbox;
pub mod reactor;

pub mod board;
pub mod directory;
pub mod failure_files;
pub mod http;
pub mod mail;
pub mod metrics;
pub mod outbox;
pub mod quarantine;
pub mod session;
pub mod session_table;
pub mod shard;

pub mod room;
pub mod rooms;
pub mod ticker;
