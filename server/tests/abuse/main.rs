//! What strangers may do to a server, and that those who play by the rules notice nothing: a
//! shard without sockets, whose clock is a number. Each file is a kind of abuse.

#[path = "../../../protocol/tests/frame/mod.rs"]
mod frame;
#[path = "../harness/mod.rs"]
mod harness;

mod addresses;
mod frames;
mod heads;
mod rates;
