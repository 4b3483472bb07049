//! The kernel's share: what one client and one tick cost on raw loopback sockets, with nothing
//! of ours in between. Every other number of this repository has this one as its budget.
//!
//! ```text
//! client thread, core B                      server thread, core A (its CPU time is measured)
//!   write one input per connection   ---->     epoll, read
//!   epoll, read                      <----     write one frame per connection and tick
//! ```
//!
//! `batched` lets all inputs of a tick wait and reads them in one go; `paced` spreads them over
//! the tick's interval, as players do, so that each one wakes the loop. Each round measures
//! everything once, in turns, because a shared machine changes its speed between rounds; what
//! counts is the median of the rounds.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a measurement of the edge: it owns sockets, threads and a clock"
)]

mod client;
mod report;
mod server;

use std::io::{self, ErrorKind, Read};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use core_affinity::CoreId;
use mio::Token;
use mio::net::TcpStream;
use rustix::time::{ClockId, clock_gettime};
use tickloom_benches::machine::{raise_files_limit, stalled};

use crate::client::Client;
use crate::server::Server;

/// The first sixteen segments of a connection cost half as much again as later ones.
const WARM_UP_MESSAGES: usize = 20;

/// Null syscalls per round.
const SYSCALLS_COUNT: u32 = 200_000;

/// Not a connection: the tick timer of the server, the command waker of the client.
const BELL: Token = Token(usize::MAX);

/// Measures what the kernel alone takes per client and tick.
#[derive(Parser, Debug)]
struct Args {
    /// Connections.
    #[arg(long, default_value_t = 1000)]
    connections: usize,
    /// Bytes of the frame that every connection gets per tick.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Rounds to take the median of.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Ticks per second of the paced form.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tick_rate_hz: u32,
    /// Ticks per round, in the paced form and in each of the others.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    ticks: u32,
    /// Prints one line of JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// One short round with few connections: shows that it runs, measures nothing.
    #[arg(long)]
    quick: bool,
    /// What `cargo bench` adds to the arguments of every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if args.quick {
        args = Args { connections: 100, rounds: 1, ticks: 10, ..args };
    }
    ensure!(args.connections > 0 && args.payload > 0 && args.rounds > 0, "nothing to measure");
    raise_files_limit("--connections", 2 * args.connections as u64 + 64)?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let pins = match cores[..] {
        [server, client, ..] => Some((server, client)),
        _ => None,
    };
    if let Some((server, _)) = pins {
        ensure!(core_affinity::set_for_current(server), "cannot pin to core {}", server.id);
    }
    let mut floor = Floor::connect(&args, pins.map(|(_, client)| client))?;
    let mut rounds = Vec::with_capacity(args.rounds);
    for _ in 0..WARM_UP_MESSAGES {
        floor.client.send_inputs()?;
        floor.server.read_inputs()?;
        floor.server.write_frames()?;
        floor.client.settle(&floor.server)?;
    }
    let (start, stalled_before) = (Instant::now(), stalled());
    for _ in 0..args.rounds {
        rounds.push(floor.round(&args)?);
    }
    let contention = (stalled() - stalled_before).as_secs_f64() / start.elapsed().as_secs_f64();
    floor.client.stop()?;
    if args.json {
        println!("{}", report::json(&args, &rounds, contention));
    } else {
        report::print(&args, pins, &rounds, contention);
    }
    Ok(())
}

/// CPU time the calling thread has used.
fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
}

// ---- both ends ---------------------------------------------------------------------------------

/// The server on this thread and the client on its own.
struct Floor {
    server: Server,
    client: Client,
}

/// What one round found. Times are CPU nanoseconds of the server thread.
#[derive(Clone, Copy, Debug)]
struct Round {
    null_syscall: f64,
    /// Per frame.
    write: f64,
    /// Per input.
    read: f64,
    /// Per client and tick.
    batched: f64,
    /// Per client and tick.
    paced: f64,
    /// Turns of the loop per tick, in the paced form.
    paced_turns: f64,
    /// Ticks that were over before the loop came to them, in the paced form.
    paced_missed: u64,
    /// How late the client's latest input was, in the paced form.
    input_lateness_max: Duration,
}

impl Floor {
    fn connect(args: &Args, client_core: Option<CoreId>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on loopback")?;
        let address = listener.local_addr()?;
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for index in 0..args.connections {
            let stream = std::net::TcpStream::connect(address)
                .with_context(|| format!("cannot open connection {index}"))?;
            near.push(prepared(listener.accept()?.0)?);
            far.push(prepared(stream)?);
        }
        let interval = Duration::from_secs(1) / args.tick_rate_hz;
        let server = Server::new(near, args.payload, interval)?;
        let client = Client::spawn(far, interval, client_core)?;
        Ok(Self { server, client })
    }

    /// Each form runs on its own for as long as a round is: what a write or a read costs depends
    /// on whether acknowledgements ride on data, so forms that alternate would blur each other.
    fn round(&mut self, args: &Args) -> anyhow::Result<Round> {
        let Self { server, client } = self;
        let client_ticks = f64::from(args.ticks) * args.connections as f64;
        let start = thread_cpu();
        for _ in 0..SYSCALLS_COUNT {
            std::hint::black_box(std::os::unix::process::parent_id());
        }
        let null_syscall = ns_since(start) / f64::from(SYSCALLS_COUNT);

        let (mut write, mut read, mut batched) = (0.0, 0.0, 0.0);
        for _ in 0..args.ticks {
            let start = thread_cpu();
            server.write_frames()?;
            write += ns_since(start);
            client.settle(server)?;
        }
        for _ in 0..args.ticks {
            client.send_inputs()?;
            let start = thread_cpu();
            server.read_inputs()?;
            read += ns_since(start);
        }
        for _ in 0..args.ticks {
            client.send_inputs()?;
            let start = thread_cpu();
            server.read_inputs()?;
            server.write_frames()?;
            batched += ns_since(start);
            client.settle(server)?;
        }
        client.pace(args.ticks)?;
        let start = thread_cpu();
        let turns = server.run_ticks(args.ticks)?;
        let paced = ns_since(start);
        let input_lateness_max = client.reply()?;
        client.settle(server)?;
        Ok(Round {
            null_syscall,
            write: write / client_ticks,
            read: read / client_ticks,
            batched: batched / client_ticks,
            paced: paced / client_ticks,
            paced_turns: turns.count as f64 / f64::from(args.ticks),
            paced_missed: turns.missed,
            input_lateness_max,
        })
    }
}

fn ns_since(start: Duration) -> f64 {
    (thread_cpu() - start).as_nanos() as f64
}

fn prepared(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Reads until a short read, past which there is nothing, and says how much there was.
fn read_available(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<u64> {
    let mut total = 0;
    loop {
        match stream.read(buffer) {
            Ok(0) => anyhow::bail!("a connection ended"),
            Ok(count) => {
                total += count as u64;
                if count < buffer.len() {
                    return Ok(total);
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(total),
            Err(error) => return Err(error.into()),
        }
    }
}
