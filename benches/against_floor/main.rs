//! The room server beside its floor: what it costs, and how much of that is the kernel's.
//!
//! ```text
//! arena    50 rooms x 20 players, inputs and ticks at 20 Hz      CPU per client and tick
//! fanout   one message to 1,000 connections                      CPU per delivery
//! echo     256 connections, 64 B, one message in flight on each  CPU per message
//! ```
//!
//! `cargo bench -p tickloom-benches --bench against_floor -- --help`
//!
//! Both servers run in this process, one after the other, each as one thread on the first core;
//! the same clients drive both from one thread on the last core. What is compared is the CPU time
//! of the server's thread as the kernel accounts for it, per frame that clients received. Two
//! runs right after each other are a pair, and every other pair begins with the other side.
//!
//! What to know before quoting it:
//! - The floor of `arena` finds all inputs of a tick waiting, reads them in one go, and begins the
//!   next tick at once: it never sleeps and its caches are never cold, the least that a read and a
//!   write can cost. Players spread their inputs over the tick, as the room server sees them.
//! - The floor of `arena/rooms` has the rhythm of the room server, which ticks one room every
//!   millisecond: it sleeps, reads the inputs of one room, writes to its members, and sleeps.
//! - `arena/paced` is the other bound, a plain server that wakes up for each input.
//! - A room server writes what changed, so its frames differ in size; the floor writes as many
//!   bytes on average as the last run of the room server did.
//! - On loopback a part of the receiver's work is charged to the sender, on both sides alike.
//! - `fanout` is one member's publication in a `relay`, as every server has it. It reaches members
//!   inside a delta, so the floor's frames carry those bytes, too.
//!
//! The exit code is 1 when a target is missed or the two ends counted differently, and 98 when
//! the machine was too busy to tell; with `--quick` only the counts can fail.

mod echo;
mod fanout;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use tickloom_benches::arena_load::{ArenaLoad, Inputs};
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::{Cores, raise_files_limit};
use tickloom_benches::pairs::{Figures, Target, Verdict, exit_code};
use tickloom_benches::peers::Pacing;
use tickloom_benches::run::{RoomServer, Run};

use crate::echo::Echo;
use crate::fanout::Fanout;

/// Both ends of a thousand connections and everything else.
const FILES_COUNT: u64 = 2_200;

/// Measures the room server beside raw sockets that do the same.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Pairs to take the median of
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Cases to measure; all of them by default
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Case>,
    #[command(flatten)]
    asked: Asked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Case {
    Arena,
    ArenaRooms,
    ArenaPaced,
    Fanout,
    Echo,
}

/// The two that are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Floor,
    RoomServer,
}

impl Case {
    const ALL: [Self; 5] =
        [Self::Arena, Self::ArenaRooms, Self::ArenaPaced, Self::Fanout, Self::Echo];

    fn name(self) -> &'static str {
        match self {
            Self::Arena => "arena",
            Self::ArenaRooms => "arena/rooms",
            Self::ArenaPaced => "arena/paced",
            Self::Fanout => "fanout",
            Self::Echo => "echo",
        }
    }

    fn target(self) -> Target {
        match self {
            Self::Arena | Self::ArenaRooms => Target::AtMost(1.3),
            Self::ArenaPaced => Target::Nowhere,
            Self::Fanout => Target::AtMost(1.1),
            Self::Echo => Target::AtMost(1.1),
        }
    }
}

/// How much of each case is run.
struct Loads {
    cores: Option<Cores>,
    arena: ArenaLoad,
    fanout: Fanout,
    echo: Echo,
}

impl Loads {
    fn new(args: &Args, cores: Option<Cores>) -> Self {
        let arena = ArenaLoad {
            rooms: 50,
            members: 20,
            tick_rate_hz: 20,
            warm_up_ticks: 40,
            ticks: 100,
            pacing: Pacing::Spinning,
        };
        let fanout =
            Fanout { connections: 1_000, warm_up_messages: 30, messages: 150, rate_hz: 20 };
        let echo = Echo { connections: 256, warm_up_messages: 20_000, messages: 200_000 };
        if !args.asked.quick {
            return Self { cores, arena, fanout, echo };
        }
        Self {
            cores,
            arena: ArenaLoad { rooms: 5, warm_up_ticks: 5, ticks: 15, ..arena },
            fanout: Fanout { connections: 100, warm_up_messages: 5, messages: 20, ..fanout },
            echo: Echo { warm_up_messages: 2_000, messages: 5_000, ..echo },
        }
    }

    fn describe(&self, case: Case) -> String {
        let Self { arena, fanout, echo, .. } = self;
        match case {
            Case::Arena | Case::ArenaRooms | Case::ArenaPaced => format!(
                "{} rooms x {} at {} Hz, {} ticks",
                arena.rooms, arena.members, arena.tick_rate_hz, arena.ticks
            ),
            Case::Fanout => format!("{} messages to {}", fanout.messages, fanout.connections),
            Case::Echo => format!("{} messages on {}", echo.messages, echo.connections),
        }
    }

    /// One run. The floor's frames have `frame_bytes`.
    fn run(&self, case: Case, side: Side, frame_bytes: usize) -> anyhow::Result<Run> {
        let Self { cores, arena, fanout, echo } = self;
        match (case, side) {
            (Case::Arena | Case::ArenaRooms | Case::ArenaPaced, Side::RoomServer) => {
                arena.on_room_server(&RoomServer::one_core(*cores))
            }
            (Case::Arena, Side::Floor) => {
                arena.on_plain_server(*cores, Inputs::Waiting, frame_bytes)
            }
            (Case::ArenaRooms, Side::Floor) => {
                arena.on_plain_server(*cores, Inputs::ByRoom, frame_bytes)
            }
            (Case::ArenaPaced, Side::Floor) => {
                arena.on_plain_server(*cores, Inputs::AsTheyCome, frame_bytes)
            }
            (Case::Fanout, Side::RoomServer) => fanout.on_room_server(*cores),
            (Case::Fanout, Side::Floor) => fanout.on_plain_server(*cores, frame_bytes),
            (Case::Echo, Side::RoomServer) => echo.on_room_server(*cores),
            (Case::Echo, Side::Floor) => echo.on_plain_server(*cores),
        }
        .with_context(|| format!("{}, {side:?}", case.name()))
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    if args.asked.quick {
        args.pairs = 1;
    }
    raise_files_limit("a thousand connections", FILES_COUNT)?;
    let cores = Cores::split();
    match cores {
        Some(cores) => {
            cores.pin_clients()?;
            println!("servers on core {}, clients on {}", cores.server, cores.clients);
        }
        None => println!("one core only: nothing is pinned and the ends share it"),
    }
    let loads = Loads::new(&args, cores);
    let cases = if args.only.is_empty() { &Case::ALL[..] } else { &args.only };
    let verdicts = cases.iter().map(|case| compare(&loads, *case, args.pairs));
    let verdicts: Vec<Verdict> = verdicts.collect::<anyhow::Result<_>>()?;
    Ok(ExitCode::from(if args.asked.quick { 0 } else { exit_code(&verdicts) }))
}

fn compare(loads: &Loads, case: Case, pairs: u32) -> anyhow::Result<Verdict> {
    println!("\n{}: {}", case.name(), loads.describe(case));
    println!(
        "{:>4}{:>12}{:>12}{:>7}{:>9}   frames, floor | room server",
        "pair", "floor, ns", "server, ns", "ratio", "B/frame"
    );
    let mut figures = Figures::new(case.target());
    // How large frames are is known after the first run, which counts for nothing else.
    let mut frame_bytes = loads.run(case, Side::RoomServer, 0)?.frame_bytes;
    for pair in 0..pairs {
        let order = match pair % 2 {
            0 => [Side::Floor, Side::RoomServer],
            _ => [Side::RoomServer, Side::Floor],
        };
        let (mut floor, mut server) = (None, None);
        for side in order {
            let run = loads.run(case, side, frame_bytes)?;
            match side {
                Side::Floor => floor = Some(run),
                Side::RoomServer => {
                    frame_bytes = run.frame_bytes;
                    server = Some(run);
                }
            }
        }
        let (floor, server) = floor.zip(server).context("a pair has both sides")?;
        ensure!(floor.frames > 0 && server.frames > 0, "nothing was delivered");
        let (floor_ns, server_ns) = (floor.cpu_ns()?, server.cpu_ns()?);
        let ratio = server_ns / floor_ns;
        println!(
            "{:>4}{floor_ns:>12.0}{server_ns:>12.0}{ratio:>7.2}{frame_bytes:>9}   {} | {}",
            pair + 1,
            floor.work,
            server.work,
        );
        figures.push(ratio, &[floor.window, server.window]);
        [floor.doubt, server.doubt].into_iter().flatten().for_each(|doubt| figures.doubt(doubt));
    }
    println!("{}: {figures}", case.name());
    Ok(figures.verdict())
}
