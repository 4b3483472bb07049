//! Arenas full of players on a real server, and the same bytes on raw sockets.

use std::time::Duration;

use anyhow::ensure;
use tickloom_server::room::arena::Arena;
use tickloom_server::room::logic::RoomType;
use tickloom_server::rooms::RoomTypes;

use crate::machine::Cores;
use crate::masked_frame;
use crate::peers::{Pacing, Peers};
use crate::plain::{Order, PlainServer};
use crate::rooms::Steering;
use crate::run::{RoomServer, Run, Watch, Work};

/// How many players, how fast, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArenaLoad {
    /// Rooms.
    pub rooms: usize,
    /// Players per room.
    pub members: usize,
    /// Ticks per second, and inputs per player and second.
    pub tick_rate_hz: u32,
    /// Ticks to play before anything is measured: joining is over, shots are in the air, and the
    /// first segments of each connection, which cost half as much again, are sent.
    pub warm_up_ticks: u32,
    /// Ticks to measure.
    pub ticks: u32,
    /// How players wait for their next input.
    pub pacing: Pacing,
}

/// How a plain server finds the inputs of a tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inputs {
    /// All of them wait already: the least that can be paid for them.
    Waiting,
    /// They wait for the turn of their room, and rooms have their turns as those of a room server
    /// do: the same rhythm, and nothing but a read and a write per player.
    ByRoom,
    /// They come as players send them, and each wakes the loop.
    AsTheyCome,
}

impl ArenaLoad {
    /// Players in all.
    #[must_use]
    pub fn players(&self) -> usize {
        self.rooms * self.members
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.tick_rate_hz
    }

    /// Plays on a room server with one shard on each of these cores.
    ///
    /// # Errors
    /// The server fails its clients, or the two ends count differently.
    pub fn on_room_server(&self, shard_cores: &[usize]) -> anyhow::Result<Run> {
        let arena = Arena::new(self.tick_rate_hz);
        let layout = arena.spec().schema.clone();
        let server = RoomServer::start(shard_cores, &RoomTypes::default().with(arena))?;
        let mut peers = Peers::connect(server.server().address(), "/ws", self.players())?;
        self.join(&mut peers)?;
        let mut players: Vec<_> = (0..self.players() as u64).map(Steering::new).collect();
        let mut send = |peers: &mut Peers, player: usize| {
            peers.input(player, &players[player].next_row(layout.input()))
        };
        peers.pace(self.interval(), self.warm_up_ticks, self.pacing, &mut send)?;
        let watch = Watch::room_server(&peers);
        peers.pace(self.interval(), self.ticks, self.pacing, &mut send)?;
        let watched = watch.end(&peers);
        let ledger = server.stop(peers)?;
        let inputs = u64::from(self.warm_up_ticks + self.ticks) * self.players() as u64;
        let work = Work {
            written: ledger.room_frames,
            received: ledger.received,
            sent: inputs,
            read: ledger.inputs,
        };
        watched.of(work, ledger.doubt())
    }

    /// Carries the same load on plain sockets, with frames of `frame_bytes`.
    ///
    /// # Errors
    /// A socket fails, or the two ends count differently.
    pub fn on_plain_server(
        &self,
        cores: Option<Cores>,
        inputs: Inputs,
        frame_bytes: usize,
    ) -> anyhow::Result<Run> {
        let server = PlainServer::start(cores)?;
        server.begin(Order::Accept(self.players()))?;
        let mut peers = Peers::connect(server.address(), "/", self.players())?;
        server.finish()?;
        server.obey(Order::FrameBytes(frame_bytes))?;
        let warm_up = self.exchange(&server, &mut peers, inputs, self.warm_up_ticks)?;
        let watch = Watch::plain_server(&peers);
        let measured = self.exchange(&server, &mut peers, inputs, self.ticks)?;
        let watched = watch.end(&peers);
        server.stop();
        let received = peers.read_to_end()?.frames;
        let doubt = warm_up.missed + measured.missed;
        let work = Work {
            written: warm_up.written + measured.written,
            received,
            sent: u64::from(self.warm_up_ticks + self.ticks) * self.players() as u64,
            read: warm_up.read + measured.read,
        };
        watched.of(work, (doubt > 0).then(|| format!("the plain server missed {doubt} ticks")))
    }

    /// Enters the rooms at moments spread over a tick's interval: a room counts its ticks from
    /// its first member on.
    fn join(&self, peers: &mut Peers) -> anyhow::Result<()> {
        for room in 0..self.rooms {
            // Neighbours by index, and so by the phase of their inputs, are in different rooms.
            for player in (room..self.players()).step_by(self.rooms) {
                peers.join(player, "arena", &format!("room-{room}"))?;
            }
            peers.read_for(self.interval() / self.rooms as u32)?;
        }
        // A seat and the first state each.
        peers.read_until_each_has(2)
    }

    fn exchange(
        &self,
        server: &PlainServer,
        peers: &mut Peers,
        inputs: Inputs,
        ticks: u32,
    ) -> anyhow::Result<Exchanged> {
        let input = masked_frame();
        let expected = peers.received().frames + u64::from(ticks) * self.players() as u64;
        let mut exchanged = Exchanged::default();
        if inputs != Inputs::Waiting {
            let (count, interval, rooms) = (ticks, self.interval(), self.rooms);
            server.begin(match inputs {
                Inputs::ByRoom => Order::Rooms { count, interval, rooms },
                Inputs::AsTheyCome | Inputs::Waiting => Order::Ticks { count, interval },
            })?;
            let send = |peers: &mut Peers, player| peers.send_frame(player, &input);
            let lateness = peers.pace(self.interval(), ticks, self.pacing, send)?;
            peers.read_until_frames(expected)?;
            let done = server.finish()?;
            let late = u64::from(lateness > self.interval());
            return Ok(Exchanged {
                read: done.read,
                written: done.written,
                missed: done.missed + late,
            });
        }
        for _ in 0..ticks {
            let frames = peers.received().frames + self.players() as u64;
            (0..self.players()).try_for_each(|player| peers.send_frame(player, &input))?;
            server.begin(Order::Exchange)?;
            peers.read_until_frames(frames)?;
            let done = server.finish()?;
            exchanged.read += done.read;
            exchanged.written += done.written;
        }
        ensure!(peers.received().frames == expected, "frames came that nobody sent");
        Ok(exchanged)
    }
}

/// What a plain server did in some ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Exchanged {
    read: u64,
    written: u64,
    missed: u64,
}
