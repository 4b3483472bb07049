//! The wire, frozen: every file of `vectors/` is encoded anew, compared byte for byte, and
//! decoded to what `vectors/README.md` says about it.
//!
//! `GOLDEN_WRITE=1 cargo test -p tickloom-protocol --test golden` replaces the files. Doing so is
//! a change of the wire, and the commit says so.

#[path = "../frame/mod.rs"]
mod frame;

mod board;
mod files;
mod room;

mod connection;
mod events;
mod messages;
mod numbers;
mod ordering;
mod state;
