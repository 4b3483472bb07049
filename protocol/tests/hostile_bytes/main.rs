//! Bytes nobody meant: random, cut, flipped and spliced, against everything that reads bytes of
//! another machine. Nothing may panic, and nothing may go over its limit.
//!
//! `HOSTILE_SEEDS=100000` widens the sweep, `HOSTILE_SEED=7` replays one seed.

#[path = "../frame/mod.rs"]
mod frame;

mod corpus;
mod recorded;
mod seeds;
mod targets;
mod world;
mod written;

mod anything;
mod changes;
mod connection;
mod messages;
mod state;
