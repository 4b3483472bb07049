//! Fan-out: one message goes to a thousand connections.
//!
//! The seam is [`Topic`]: what everybody joins, and what publishes a message. On the room server
//! that is the built-in `relay` as every server has it.

use std::time::Duration;

use tickloom_benches::machine::Cores;
use tickloom_benches::peers::Peers;
use tickloom_benches::plain::{Order, PlainServer};
use tickloom_benches::run::{RoomServer, Run, Watch, Watched, Work};
use tickloom_benches::{INPUT_PAYLOAD_BYTES, masked_frame};
use tickloom_protocol::ids::TopicId;
use tickloom_server::config::Config;
use tickloom_server::rooms::built_in_types;

/// `danmaku`, the topic of a `relay` that is kept for nobody who comes late.
const DANMAKU: TopicId = TopicId(1);

/// Longer than a `relay` takes to tell everybody of those who joined last.
const JOIN_NEWS: Duration = Duration::from_millis(200);

/// How many connections, and how many messages to each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fanout {
    pub(crate) connections: usize,
    pub(crate) warm_up_messages: u32,
    pub(crate) messages: u32,
    /// At most the 20 Hz at which a `relay` tells its members something: above that, a message
    /// waits for the room and not for anything that is measured.
    pub(crate) rate_hz: u32,
}

/// What connections listen to.
#[derive(Clone, Copy)]
struct Topic {
    /// The type of the room that everybody joins; `None` where being connected is enough.
    room_type: Option<&'static str>,
    /// Sends a message to everybody, from the first client.
    publish: fn(&mut Peers) -> anyhow::Result<()>,
}

impl Topic {
    const ROOM: Self = Self {
        room_type: Some("relay"),
        publish: |peers| peers.publish(0, DANMAKU, &[7; INPUT_PAYLOAD_BYTES]),
    };

    const PLAIN: Self =
        Self { room_type: None, publish: |peers| peers.send_frame(0, &masked_frame()) };
}

impl Fanout {
    pub(crate) fn on_room_server(&self, cores: Option<Cores>) -> anyhow::Result<Run> {
        let room_types = built_in_types(&Config::loopback());
        let server = RoomServer::start(&RoomServer::one_core(cores), &room_types)?;
        let mut peers = Peers::connect(server.server().address(), "/ws", self.connections)?;
        let watched = self.drive(&mut peers, Topic::ROOM, Watch::room_server)?;
        let ledger = server.stop(peers)?;
        let sent = self.connections as u64 + u64::from(self.warm_up_messages + self.messages);
        let work = Work {
            written: ledger.room_frames,
            received: ledger.received,
            sent,
            read: ledger.messages,
        };
        watched.of(work, ledger.doubt())
    }

    pub(crate) fn on_plain_server(
        &self,
        cores: Option<Cores>,
        frame_bytes: usize,
    ) -> anyhow::Result<Run> {
        let server = PlainServer::start(cores)?;
        server.begin(Order::Accept(self.connections))?;
        let mut peers = Peers::connect(server.address(), "/", self.connections)?;
        server.finish()?;
        server.obey(Order::FrameBytes(frame_bytes))?;
        server.begin(Order::Fanout)?;
        let watched = self.drive(&mut peers, Topic::PLAIN, Watch::plain_server)?;
        let done = server.halt()?;
        server.stop();
        let received = peers.read_to_end()?.frames;
        let sent = u64::from(self.warm_up_messages + self.messages);
        watched.of(Work { written: done.written, received, sent, read: done.read }, None)
    }

    /// Joins everybody and has the messages published at their rate, each when all have the last
    /// one.
    fn drive(
        &self,
        peers: &mut Peers,
        topic: Topic,
        begin: impl FnOnce(&Peers) -> Watch,
    ) -> anyhow::Result<Watched> {
        if let Some(room_type) = topic.room_type {
            (0..peers.count()).try_for_each(|peer| peers.join(peer, room_type, "topic"))?;
            // A seat and the first state each; then the news of the last joiners.
            peers.read_until_each_has(2)?;
            peers.read_for(JOIN_NEWS)?;
        }
        self.deliver(peers, topic, self.warm_up_messages)?;
        let watch = begin(peers);
        self.deliver(peers, topic, self.messages)?;
        Ok(watch.end(peers))
    }

    fn deliver(&self, peers: &mut Peers, topic: Topic, messages: u32) -> anyhow::Result<()> {
        for _ in 0..messages {
            let frames = peers.received().frames + peers.count() as u64;
            peers.read_for(Duration::from_secs(1) / self.rate_hz)?;
            (topic.publish)(peers)?;
            peers.read_until_frames(frames)?;
        }
        Ok(())
    }
}
