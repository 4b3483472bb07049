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

pub mod test_room;

pub use tickloom_protocol as protocol;

/// What programs with rooms of their own need nearly always.
pub mod prelude {
    pub use tickloom_protocol::changes::{Change, ChangesBuilder};
    pub use tickloom_protocol::chunks::Value;
    pub use tickloom_protocol::client_message::Publish;
    pub use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick, TopicId};
    pub use tickloom_protocol::schema::{
        ComponentDesc, FieldDesc, FieldType, RoomSchema, SchemaError, TopicDesc, WritePolicy,
    };

    pub use crate::{
        Allowed, Config, Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType,
        RoomTypes, TestRoom, room_type, serve,
    };
}

pub use config::Config;
pub use room::logic::{
    Allowed, Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType, room_type,
};
pub use rooms::RoomTypes;
pub use runtime::{Server, Stopper, serve};
pub use test_room::{TestMember, TestRoom};
