//! What compression saves in rooms of JSON, and how often a room compresses for it.
//!
//! `cargo bench -p tickloom-benches --bench deflate -- --help`
//!
//! A shard without sockets has one room of inflating members, and one member that does not inflate.
//! Three streams: members chat, the host sends quotes, members move and paint shapes. The figure is
//! what an inflating member is sent, frames and all, as a share of what the plain one is sent in
//! the same ticks. Members that come for a moment every second show what beginning anew costs. The
//! exit code is 1 when a stream to which nobody comes is over its share, or is compressed more or
//! less than once per tick.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use fastrand::Rng;
use tickloom_benches::asked::Asked;
use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::client::{Client, ClientEvent};
use tickloom_protocol::client_message::{ClientMessage, Join, Publish, Recipients, Write};
use tickloom_protocol::deflate::Offer;
use tickloom_protocol::handshake::ClientKey;
use tickloom_protocol::ids::{EntityId, OpId, Tick, TopicId};
use tickloom_protocol::time::Timestamp;
use tickloom_server::config::Config;
use tickloom_server::rooms::built_in_types;
use tickloom_server::session::{NO_SOCKET, SessionId};
use tickloom_server::shard::{Effect, Shard, ShardConfig};

/// Bytes that an inflating member may be sent, in percent of the plain ones.
const PERCENT_MAX: f64 = 35.0;

/// Ticks until everybody has its snapshot and the window is full.
const WARM_UP_TICKS: u32 = 100;

/// Ticks from one member that comes for a moment to the next: a second.
const TICKS_PER_COMING: u32 = 20;

/// Measures what compression saves in rooms of JSON.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Members that inflate
    #[arg(long, default_value_t = 50)]
    members: usize,
    /// Ticks that count, of each stream
    #[arg(long, default_value_t = 2_000)]
    ticks: u32,
    #[command(flatten)]
    asked: Asked,
}

/// What is said in the room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stream {
    Chat,
    Quotes,
    Shapes,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    if args.asked.quick {
        args.ticks /= 10;
    }
    println!(
        "{:<16}{:>12}{:>12}{:>9}{:>14}{:>9}",
        "stream", "plain B", "deflate B", "share", "compressions", "resets"
    );
    let mut meets = true;
    for stream in [Stream::Chat, Stream::Quotes, Stream::Shapes] {
        for comes in [false, true] {
            let row = World::new(stream, args.members)?.run(args.ticks, comes)?;
            let percent = row.deflate_bytes as f64 / row.plain_bytes as f64 * 100.0;
            let per_tick = row.compressions as f64 / f64::from(args.ticks);
            let name = format!("{stream:?}{}", if comes { ", coming" } else { "" }).to_lowercase();
            println!(
                "{name:<16}{:>12}{:>12}{percent:>7.1} %{per_tick:>9.2}/tick{:>9}",
                row.plain_bytes, row.deflate_bytes, row.resets
            );
            let is_once = row.compressions == u64::from(args.ticks);
            meets &= comes || (percent <= PERCENT_MAX && is_once);
        }
    }
    let verdict = if meets { "meets" } else { "misses" };
    println!("share: {verdict} <= {PERCENT_MAX} %, with one compression per room and tick");
    Ok(ExitCode::from(u8::from(!meets)))
}

/// What was measured of one stream.
struct Row {
    plain_bytes: u64,
    deflate_bytes: u64,
    compressions: u64,
    resets: u64,
}

struct World {
    shard: Shard,
    now: Timestamp,
    stream: Stream,
    rng: Rng,
    /// The host, who speaks and does not inflate, and those who inflate.
    members: Vec<Peer>,
    number: u32,
}

struct Peer {
    session: SessionId,
    client: Client,
    bytes: u64,
}

impl World {
    fn new(stream: Stream, members_count: usize) -> anyhow::Result<Self> {
        let mut config = Config::loopback();
        // Members here listen for minutes, and pongs are not what is measured.
        config.patience.ping = Duration::from_secs(3_600);
        let types = built_in_types(&config);
        let mut world = Self {
            shard: Shard::new(ShardConfig::alone(&config, types)),
            now: Timestamp(1_000_000),
            stream,
            rng: Rng::with_seed(7),
            members: Vec::new(),
            number: 0,
        };
        for index in 0..=members_count {
            let key = ClientKey::new([index as u8; 16]);
            world.come(if index == 0 { key } else { key.with_deflate(Offer::default()) })?;
        }
        for _ in 0..WARM_UP_TICKS {
            world.tick()?;
        }
        Ok(world)
    }

    /// Somebody takes a seat.
    fn come(&mut self, key: ClientKey) -> anyhow::Result<()> {
        let session = self.shard.handle_accept(self.now, NO_SOCKET);
        let client = Client::connect_with(key, "bench", "/ws");
        self.members.push(Peer { session, client, bytes: 0 });
        let last = self.members.len() - 1;
        self.send(last);
        self.exchange()?;
        let room_type = if self.stream == Stream::Shapes { "state" } else { "relay" };
        let join = Join { room_type, room: "a", name: "somebody", ..Join::default() };
        self.members[last].client.join(join);
        self.send(last);
        self.exchange()
    }

    fn run(mut self, ticks: u32, comes: bool) -> anyhow::Result<Row> {
        let before = self.shard.broadcast_counts();
        let ticks_before = self.shard.metrics().ticks;
        self.members.iter_mut().for_each(|peer| peer.bytes = 0);
        for tick in 0..ticks {
            if comes && tick % TICKS_PER_COMING == 0 {
                self.come(ClientKey::new([9; 16]).with_deflate(Offer::default()))?;
                self.tick()?;
                let guest = self.members.pop().expect("it just came");
                self.shard.handle_broken(self.now, guest.session);
                self.exchange()?;
                continue;
            }
            self.tick()?;
        }
        let counts = self.shard.broadcast_counts();
        let ticked = self.shard.metrics().ticks - ticks_before;
        ensure!(comes || ticked == u64::from(ticks), "{ticked} of {ticks} ticks");
        let tick = |peer: &Peer| peer.client.seat().map(|seat| seat.replica.tick());
        ensure!(self.members.iter().all(|peer| tick(peer) == tick(&self.members[0])), "in step");
        Ok(Row {
            plain_bytes: self.members[0].bytes,
            deflate_bytes: self.members[1].bytes,
            compressions: counts.compressions - before.compressions,
            resets: counts.window_resets - before.window_resets,
        })
    }

    /// The host says what there is to say, and everybody hears it.
    fn tick(&mut self) -> anyhow::Result<()> {
        match self.stream {
            Stream::Chat => self.publish(0, chat),
            Stream::Quotes => {
                for _ in 0..3 {
                    self.publish(2, quote);
                }
            }
            Stream::Shapes => self.paint(),
        }
        self.send(0);
        self.exchange()
    }

    fn publish(&mut self, topic: u16, body: impl FnOnce(&mut Rng, u32) -> String) {
        self.number += 1;
        let body = body(&mut self.rng, self.number);
        let (op, topic, to) = (OpId::NONE, TopicId(topic), Recipients::default());
        let publish = Publish { op, topic, to, body: body.as_bytes() };
        self.members[0].client.send(ClientMessage::Publish(publish));
    }

    fn paint(&mut self) {
        let host = &mut self.members[0].client;
        let Some(seat) = host.seat() else { return };
        let entities = seat.replica.entities();
        let item = entities.schema().component("item").expect("a state has items");
        let last = entities.ids().last().unwrap_or(EntityId::ROOM);
        let mut changes = ChangesBuilder::default();
        for _ in 0..2 {
            self.number += 1;
            changes.opaque(
                item,
                EntityId(self.rng.u32(0..=last.0)),
                shape(&mut self.rng, self.number).as_bytes(),
            );
        }
        let mut bytes = Vec::new();
        changes.put(&mut bytes);
        let write = Write { op: OpId::NONE, if_tick: Tick::ZERO, changes: &bytes };
        host.send(ClientMessage::Write(write));
    }

    fn send(&mut self, member: usize) {
        let peer = &mut self.members[member];
        let output = peer.client.take_output();
        self.shard.handle_bytes(self.now, peer.session, &output);
    }

    /// Time passes until the room has ticked, and what is queued arrives.
    fn exchange(&mut self) -> anyhow::Result<()> {
        if let Some(due) = self.shard.rooms().next_due() {
            self.now = self.now.max(due);
        }
        self.shard.handle_timeout(self.now);
        let mut buffer = vec![0; 1 << 20];
        while let Some(id) = self.shard.poll_flush() {
            let Some(outbox) = self.shard.outbox(id) else { continue };
            let sent = outbox.copy_front(&mut buffer);
            if let Some(peer) = self.members.iter_mut().find(|peer| peer.session == id) {
                peer.bytes += sent as u64;
                peer.client.handle_bytes(&buffer[..sent]);
                while let Some(event) = peer.client.poll_event() {
                    let is_end = matches!(event, ClientEvent::Closed(_) | ClientEvent::Broken(_));
                    ensure!(!is_end, "{event:?}");
                    ensure!(!matches!(event, ClientEvent::Refused { .. }), "{event:?}");
                }
            }
            self.shard.handle_sent(self.now, id, sent);
        }
        while let Some(effect) = self.shard.poll_effect() {
            ensure!(matches!(effect, Effect::Read(..) | Effect::Close(_)), "{effect:?}");
        }
        Ok(())
    }
}

const NAMES: [&str; 8] = ["ada", "brook", "chen", "dimitri", "ewa", "farah", "goro", "helene"];

const WORDS: [&str; 40] = [
    "the", "and", "you", "that", "was", "for", "are", "with", "his", "they", "this", "have",
    "from", "one", "had", "word", "but", "not", "what", "all", "were", "when", "your", "can",
    "said", "there", "use", "each", "which", "she", "how", "their", "will", "other", "about",
    "out", "many", "then", "them", "these",
];

fn chat(rng: &mut Rng, number: u32) -> String {
    let name = NAMES[rng.usize(..NAMES.len())];
    let words: Vec<_> = (0..rng.usize(3..15)).map(|_| WORDS[rng.usize(..WORDS.len())]).collect();
    let (text, at) = (words.join(" "), 1_760_000_000_000 + u64::from(number) * 731);
    format!(r#"{{"type":"message","id":{number},"from":"{name}","at":{at},"text":"{text}"}}"#)
}

fn quote(rng: &mut Rng, number: u32) -> String {
    let symbol = ["EURUSD", "GBPUSD", "USDJPY", "AUDUSD", "USDCHF"][rng.usize(..5)];
    let (bid, size) = (1.08 + f64::from(rng.u32(0..2_000)) / 1e5, rng.u32(1..50) * 100_000);
    let (ask, at) = (bid + 0.00012, 1_760_000_000_000 + u64::from(number) * 17);
    format!(
        r#"{{"type":"quote","symbol":"{symbol}","bid":{bid:.5},"ask":{ask:.5},"size":{size},"seq":{number},"at":{at}}}"#
    )
}

fn shape(rng: &mut Rng, number: u32) -> String {
    let kind = ["rectangle", "ellipse", "arrow", "text"][rng.usize(..4)];
    let name = NAMES[rng.usize(..NAMES.len())];
    let [x, y, width, height] = [(); 4].map(|()| rng.u32(0..2_000));
    let colour = rng.u32(0..1 << 24);
    format!(
        r##"{{"type":"{kind}","x":{x},"y":{y},"width":{width},"height":{height},"stroke":"#{colour:06x}","fill":"none","opacity":1,"author":"{name}","version":{number}}}"##
    )
}
