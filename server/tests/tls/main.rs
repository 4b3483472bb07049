//! Encrypted connections: what a shard does with them, with a clock that is a number, and what
//! processes, files, signals and sockets add to it.

mod certificates;
mod http;
mod player;
mod reload;
mod sockets;
mod world;

mod handshakes;
mod sessions;

#[path = "../player/mod.rs"]
mod plain_player;
#[path = "../process/mod.rs"]
mod process;
#[path = "../tls_client/mod.rs"]
mod tls_client;
