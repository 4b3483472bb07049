//! Echo: one message in flight on each connection, answered with the same bytes unmasked.

use tickloom_benches::machine::Cores;
use tickloom_benches::peers::Peers;
use tickloom_benches::plain::{Order, PlainServer};
use tickloom_benches::run::{RoomServer, Run, Watch, Watched, Work};
use tickloom_server::rooms::RoomTypes;

/// How many connections, and for how many answers on all of them together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo {
    pub(crate) connections: usize,
    pub(crate) warm_up_messages: u64,
    pub(crate) messages: u64,
}

impl Echo {
    pub(crate) fn on_room_server(&self, cores: Option<Cores>) -> anyhow::Result<Run> {
        let server = RoomServer::start(&RoomServer::one_core(cores), &RoomTypes::default())?;
        let mut peers = Peers::connect(server.server().address(), "/echo", self.connections)?;
        let (watched, sent) = self.drive(&mut peers, Watch::room_server)?;
        let ledger = server.stop(peers)?;
        // An echo writes one frame for each that it reads and counts once.
        let read = ledger.messages;
        watched.of(Work { written: read, received: ledger.received, sent, read }, None)
    }

    pub(crate) fn on_plain_server(&self, cores: Option<Cores>) -> anyhow::Result<Run> {
        let server = PlainServer::start(cores)?;
        server.begin(Order::Accept(self.connections))?;
        let mut peers = Peers::connect(server.address(), "/echo", self.connections)?;
        server.finish()?;
        server.begin(Order::Echo)?;
        let (watched, sent) = self.drive(&mut peers, Watch::plain_server)?;
        let done = server.halt()?;
        server.stop();
        let received = peers.read_to_end()?.frames;
        watched.of(Work { written: done.written, received, sent, read: done.read }, None)
    }

    /// Returns what was seen of the messages that count, and how many were sent in all.
    fn drive(
        &self,
        peers: &mut Peers,
        begin: impl FnOnce(&Peers) -> Watch,
    ) -> anyhow::Result<(Watched, u64)> {
        let warm_up = peers.keep_in_flight(self.warm_up_messages)?;
        let watch = begin(peers);
        let measured = peers.keep_in_flight(self.messages)?;
        Ok((watch.end(peers), warm_up + measured))
    }
}
