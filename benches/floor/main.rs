//! The kernel's share: what a frame, a tick, an echo and a fan-out cost on raw loopback sockets,
//! with nothing of ours in between. Every other number of this repository has one of these as its
//! budget.
//!
//! ```text
//! this thread, core B                        the plain server's thread, core A (measured)
//!   tick     one input per connection   ---->  epoll, read
//!            epoll, read                <----  one frame per connection and tick
//!   echo     one frame per connection   ---->  epoll, read
//!            epoll, read                <----  its unmasked size, to the same connection
//!   fanout   one frame on one of them   ---->  epoll, read
//!            epoll, read                <----  one frame per connection
//! ```
//!
//! `batched` lets all inputs of a tick wait and reads them in one go; `paced` spreads them over
//! the tick's interval, as players do, so that each one wakes the loop. Each round measures
//! everything once, in turns, because a shared machine changes its speed between rounds; what
//! counts is the median of the rounds.

mod report;

use std::time::Duration;

use anyhow::ensure;
use clap::Parser;
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::{Cores, raise_files_limit, thread_cpu};
use tickloom_benches::masked_frame;
use tickloom_benches::peers::{Pacing, Peers};
use tickloom_benches::plain::{Done, Order, PLAIN_THREAD, PlainServer};
use tickloom_benches::window::{Sample, Window};

/// The first sixteen segments of a connection cost half as much again as later ones.
const WARM_UP_MESSAGES: usize = 20;

/// Null syscalls per round.
const SYSCALLS_COUNT: u32 = 200_000;

/// Connections of the echo, with one message in flight on each.
const ECHO_CONNECTIONS: usize = 256;

/// Messages of the echo for each tick of a round.
const ECHOES_PER_TICK: u64 = 1_000;

/// Measures what the kernel alone takes per client and tick, per echo and per delivery.
#[derive(Parser, Debug)]
struct Args {
    /// Connections
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Bytes of the frame that every connection gets per tick
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Rounds to take the median of
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Ticks per second of the paced form
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tick_rate_hz: u32,
    /// Ticks per round, in the paced form and in each of the others
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    ticks: u32,
    /// Prints one line of JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if args.asked.quick {
        args = Args { connections: 100, rounds: 1, ticks: 10, ..args };
    }
    ensure!(args.connections > 0 && args.payload > 0 && args.rounds > 0, "nothing to measure");
    raise_files_limit("--connections", 4 * args.connections as u64 + 1_000)?;
    let cores = Cores::split();
    if let Some(cores) = cores {
        cores.pin_clients()?;
    }
    let mut floor = Floor {
        tick: Pair::connect(cores, args.connections, args.payload)?,
        echo: Pair::connect(cores, ECHO_CONNECTIONS, masked_frame().len() - 4)?,
        fanout: Pair::connect(cores, args.connections, args.payload)?,
    };
    floor.warm_up()?;
    let mut rounds = Vec::with_capacity(args.rounds);
    let start = Sample::take(PLAIN_THREAD);
    for _ in 0..args.rounds {
        rounds.push(floor.round(&args)?);
    }
    let contention = Window { start, end: Sample::take(PLAIN_THREAD) }.contention();
    [floor.tick, floor.echo, floor.fanout].into_iter().for_each(|pair| pair.server.stop());
    if args.json {
        println!("{}", report::json(&args, &rounds, contention));
    } else {
        report::print(&args, cores, &rounds, contention);
    }
    Ok(())
}

/// One server for each of the kernels, and the clients of each.
struct Floor {
    tick: Pair,
    echo: Pair,
    fanout: Pair,
}

/// A plain server and its clients.
struct Pair {
    server: PlainServer,
    peers: Peers,
}

/// What one round found. Times are CPU nanoseconds of the server's thread.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// Of this thread: it is the same on either.
    null_syscall: f64,
    /// Per frame.
    write: f64,
    /// Per input.
    read: f64,
    /// Per client and tick.
    batched: f64,
    /// Per client and tick.
    paced: f64,
    /// Per message.
    echo: f64,
    /// Per delivery.
    fanout: f64,
    /// Turns of the loop per tick, in the paced form.
    paced_turns: f64,
    /// Ticks that were over before the loop came to them, in the paced form.
    paced_missed: u64,
    /// How late the client's latest input was, in the paced form.
    input_lateness_max: Duration,
}

impl Floor {
    fn warm_up(&mut self) -> anyhow::Result<()> {
        for _ in 0..WARM_UP_MESSAGES {
            self.tick.exchange(Order::Exchange)?;
        }
        self.echo.echo((WARM_UP_MESSAGES * ECHO_CONNECTIONS) as u64)?;
        self.fanout.fan_out(WARM_UP_MESSAGES as u32)?;
        Ok(())
    }

    /// Each form runs on its own for as long as a round is: what a write or a read costs depends
    /// on whether acknowledgements ride on data, so forms that alternate would blur each other.
    fn round(&mut self, args: &Args) -> anyhow::Result<Round> {
        let client_ticks = f64::from(args.ticks) * args.connections as f64;
        let start = thread_cpu();
        for _ in 0..SYSCALLS_COUNT {
            std::hint::black_box(std::os::unix::process::parent_id());
        }
        let null_syscall = ns(thread_cpu() - start) / f64::from(SYSCALLS_COUNT);

        let [write, read, batched] = [Order::Write, Order::Read, Order::Exchange].map(|order| {
            let cpu: anyhow::Result<Vec<Duration>> =
                (0..args.ticks).map(|_| Ok(self.tick.exchange(order)?.cpu)).collect();
            cpu.map(|cpu| ns(cpu.into_iter().sum()) / client_ticks)
        });
        let (paced, input_lateness_max) = self.tick.pace(args)?;
        let echo = self.echo.echo(u64::from(args.ticks) * ECHOES_PER_TICK)?;
        let fanout = self.fanout.fan_out(args.ticks)?;
        Ok(Round {
            null_syscall,
            write: write?,
            read: read?,
            batched: batched?,
            paced: ns(paced.cpu) / client_ticks,
            echo: ns(echo.cpu) / echo.written as f64,
            fanout: ns(fanout.cpu) / fanout.written as f64,
            paced_turns: paced.turns as f64 / f64::from(args.ticks),
            paced_missed: paced.missed,
            input_lateness_max,
        })
    }
}

impl Pair {
    fn connect(
        cores: Option<Cores>,
        connections: usize,
        frame_bytes: usize,
    ) -> anyhow::Result<Self> {
        let server = PlainServer::start(cores)?;
        server.begin(Order::Accept(connections))?;
        let peers = Peers::connect(server.address(), "/", connections)?;
        server.finish()?;
        server.obey(Order::FrameBytes(frame_bytes))?;
        Ok(Self { server, peers })
    }

    /// One tick, or a half of one: all inputs are there before the server begins, and all frames
    /// are read before this returns.
    fn exchange(&mut self, order: Order) -> anyhow::Result<Done> {
        let Self { server, peers } = self;
        let (reads, writes) = (order != Order::Write, order != Order::Read);
        if reads {
            let input = masked_frame();
            (0..peers.count()).try_for_each(|peer| peers.send_frame(peer, &input))?;
        }
        let frames = peers.received().frames + if writes { peers.count() as u64 } else { 0 };
        server.begin(order)?;
        peers.read_until_frames(frames)?;
        let done = server.finish()?;
        let count = peers.count() as u64;
        let expected = (u64::from(reads) * count, u64::from(writes) * count);
        ensure!((done.read, done.written) == expected, "{order:?}: {done:?}");
        Ok(done)
    }

    /// Ticks in real time. Also returns how late the latest input was.
    fn pace(&mut self, args: &Args) -> anyhow::Result<(Done, Duration)> {
        let Self { server, peers } = self;
        let (count, interval) = (args.ticks, Duration::from_secs(1) / args.tick_rate_hz);
        server.begin(Order::Ticks { count, interval })?;
        let input = masked_frame();
        let lateness = peers.pace(interval, count, Pacing::Spinning, |peers, peer| {
            peers.send_frame(peer, &input)
        })?;
        Ok((server.finish()?, lateness))
    }

    /// Keeps one message in flight on every connection until so many were answered.
    fn echo(&mut self, messages: u64) -> anyhow::Result<Done> {
        let Self { server, peers } = self;
        server.begin(Order::Echo)?;
        let sent = peers.keep_in_flight(messages)?;
        let done = server.halt()?;
        ensure!((done.read, done.written) == (sent, sent), "{sent} were sent: {done:?}");
        Ok(done)
    }

    /// Has so many messages delivered to everybody, one after the other.
    fn fan_out(&mut self, messages: u32) -> anyhow::Result<Done> {
        let Self { server, peers } = self;
        server.begin(Order::Fanout)?;
        for _ in 0..messages {
            let frames = peers.received().frames + peers.count() as u64;
            peers.send_frame(0, &masked_frame())?;
            peers.read_until_frames(frames)?;
        }
        let done = server.halt()?;
        let deliveries = u64::from(messages) * peers.count() as u64;
        ensure!(done.written == deliveries, "{deliveries} were expected: {done:?}");
        Ok(done)
    }
}

fn ns(time: Duration) -> f64 {
    time.as_nanos() as f64
}
