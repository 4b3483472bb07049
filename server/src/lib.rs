//! Tickloom's room server.
//!
//! ```text
//! socket -> reactor -> shard -> [tls] -> session (link, messages) -> room: inputs -> logic -> state
//! socket <- reactor <- [tls] <- outbox <- broadcast: encode(since) once, shared by all members <-'
//! ```
//!
//! One pinned thread per core runs a [`reactor`]: the only code beside [`mailbox`], [`runtime`],
//! [`watchdog`], [`failure_files`], [`recording::writer`], [`tls::certificate`], the [`http`] thread and the [`doctor`]'s
//! look around that touches sockets, clocks, files and threads. Everything it calls is plain data
//! and functions, and runs unchanged in the
//! simulation under `tests/`.
//!
//! # Embedding it
//! A server is a [`Config`] and the [`RoomTypes`] it offers. [`serve`] returns when it accepts
//! connections; a [`Stopper`] ends it from any thread, with 1012 to every client; and
//! [`Server::join`] waits for that. [`Config::loopback`] is where programs and tests start from: a
//! free port of this machine, one shard, no pinned core.
//!
//! ```
//! use tickloom_server::prelude::*;
//!
//! struct Quiet;
//! impl RoomLogic for Quiet {}
//!
//! let spec = RoomSpec::at_rate(20, RoomSchema::new(vec![], vec![])?);
//! let room_types = RoomTypes::default().with(room_type("quiet", spec, || Quiet));
//! let server = serve(&Config { rooms_max: 50, ..Config::loopback() }, &room_types)?;
//! println!("ws://{}/ws", server.address());
//! server.stopper().stop(); // on Ctrl-C, in a program
//! server.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What it has to say goes through [`tracing`]: a program that installs no subscriber sees
//! nothing. `examples/tag.rs` and `examples/chat.rs` are whole programs.
//!
//! # Writing a room
//! A room is a schema (what clients see, write and say), a [`RoomSpec`] (when it ticks, how much
//! it holds) and a [`RoomLogic`] (what happens). [`room_type`] puts them together under the name
//! that clients join.
//!
//! ```
//! use tickloom_server::prelude::*;
//!
//! /// A component's id is its position in the schema.
//! const LAMP: ComponentId = ComponentId(0);
//!
//! /// A lamp in the room that everybody has a switch for.
//! #[derive(Default)]
//! struct Lamp {
//!     is_lit: bool,
//! }
//!
//! impl RoomLogic for Lamp {
//!     fn on_input(&mut self, room: &mut Context<'_>, _: MemberId, row: &[u8], how: Freshness) {
//!         // The fields of an input, in the schema's order. A repeated one was acted on before.
//!         let [pressed] = room.input(row);
//!         self.is_lit ^= pressed > 0.0 && how == Freshness::Fresh;
//!     }
//!
//!     fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
//!         let is_lit = f64::from(self.is_lit);
//!         room.state_mut().set_numbers(LAMP, EntityId::ROOM, &[is_lit]);
//!         Next::Tick
//!     }
//! }
//!
//! let lamp = ComponentDesc::packed("lamp", vec![FieldDesc::new("is_lit", FieldType::Bool)])?;
//! let schema = RoomSchema::new(vec![lamp], vec![FieldDesc::new("pressed", FieldType::Bool)])?;
//! let mut room = TestRoom::new(room_type("lamp", RoomSpec::at_rate(20, schema), Lamp::default));
//! let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
//! room.input(ann, &[("pressed", 1.0)]);
//! room.tick();
//! assert_eq!(room.number(bob, EntityId::ROOM, ("lamp", "is_lit")), Some(1.0));
//! # Ok::<(), SchemaError>(())
//! ```
//!
//! A room shares its core with thousands of others, and must give the same state for the same
//! calls and seed, or its failures cannot be played again. So it
//! - knows time as [`Context::tick`] and [`Context::tick_seconds`], never as a clock;
//! - rolls dice with [`Context::rng`] only;
//! - iterates over `BTreeMap`s and `Vec`s, never over a `HashMap`, whose order differs every run;
//! - never waits: no files, no sockets, no locks, no threads;
//! - changes nothing in a hook that then refuses, because nothing follows that would send it;
//! - bounds its own tables. The state's are bounded: [`RoomSpec::entities_max`] entities,
//!   [`RoomSpec::members_max`] members;
//! - trusts that inputs, writes and publications fit the schema and its policies, and nothing else
//!   about them: names, options, texts and bodies are whatever a stranger typed.
//!
//! # Types for its clients
//! `tickloom codegen ts` writes TypeScript for the rooms of a server that has no code of its own. A
//! program with rooms of its own writes it itself, so that the client's compiler knows them:
//!
//! ```
//! # use tickloom_server::prelude::*;
//! # struct Quiet;
//! # impl RoomLogic for Quiet {}
//! # let spec = RoomSpec::at_rate(20, RoomSchema::new(vec![], vec![])?);
//! # let quiet = room_type("quiet", spec, || Quiet);
//! use tickloom_server::bindings::typescript;
//!
//! let room_types = RoomTypes::default().with(quiet);
//! let text = typescript(room_types.by_name().into_values().map(|room_type| &**room_type));
//! assert!(text.contains("export const quiet: RoomType<Quiet>"));
//! # Ok::<(), SchemaError>(())
//! ```
//!
//! # When it panics
//! A panic of a room's logic ends that room: its members are closed with 1011 and may come back to
//! a new one. No other room notices. Three within a minute hold the room type back for the rest
//! of it, and joins that need a new room are refused. What the logic was called for is logged, and
//! with [`Config::failures_dir`] written to a JSON file: which hook, whose, the bytes, the tick and
//! the seed. A test plays it again, and goes on when it is mended:
//!
//! ```
//! # use tickloom_server::prelude::*;
//! # struct Mine;
//! # impl RoomLogic for Mine {
//! #     fn on_input(&mut self, room: &mut Context<'_>, _: MemberId, row: &[u8], _: Freshness) {
//! #         let [step] = room.input(row);
//! #         assert!(step < 9.0, "off the board");
//! #     }
//! # }
//! # let schema = RoomSchema::new(vec![], vec![FieldDesc::new("step", FieldType::U8)])?;
//! # let mine = room_type("mine", RoomSpec::at_rate(20, schema), || Mine);
//! // "seed": "0xfeed", "tick": 3, "hook": "on_input", "bytes": "09"
//! let mut room = TestRoom::new(mine).seed(0xfeed);
//! let ann = room.join("ann");
//! room.ticks(2);
//! room.input_row(ann, &[0x09]);
//! room.tick();
//! let record = room.panicked().expect("not mended yet");
//! assert_eq!((record.seed, record.tick), (0xfeed, Tick(3)));
//! assert_eq!(record.panicked.message, "off the board");
//! # Ok::<(), SchemaError>(())
//! ```
//!
//! This needs panics that unwind: under `panic = "abort"` the first one ends the process.
//!
//! # Recording and replaying it
//! With [`Config::recording`], or [`RoomSpec::record`] of its type, what happens to a room is kept
//! in a file: seed, joins, inputs, writes, and now and then a hash of what came of them. `tickloom
//! replay FILE` makes it happen again and compares; a program with rooms of its own does so with
//! [`recording::replay::Replay`]. A room that reads a clock or iterates over a `HashMap` is caught at
//! the next hash, also where members are not shown it, if [`RoomLogic::save`] says what it keeps to
//! itself.
//!
//! # Testing it
//! [`TestRoom`] runs one room as the server would, without sockets and clocks.

pub mod config;
pub mod doctor;
pub mod runtime;
pub mod watchdog;

pub mod mailbox;
pub mod reactor;

pub mod addresses;
pub mod allowance;
pub mod origins;
pub mod proxies;
pub mod proxy_header;
pub mod rate;
mod room_code;
mod room_path;

pub mod bindings;
pub mod board;
pub mod buckets;
pub mod directory;
pub mod failure_files;
pub mod http;
pub mod ledger;
pub mod listing;
pub mod mail;
pub mod metrics;
pub mod outbox;
pub mod overload;
pub mod properties;
pub mod quarantine;
pub mod recording;
pub mod seats;
pub mod session;
pub mod session_table;
pub mod shard;
pub mod tls;
pub mod tokens;

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

/// The README's Rust is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
