//! How old state is when clients have it, and where that time went: a real server and real
//! WebSocket clients on loopback, in one process so that their clock and stamps are the same.
//!
//! ```text
//! tick due --> flushing begins --> write returned --> client's read returned
//!     `- due to enqueue -'`- enqueue to socket -'`- socket to client -'
//!     `----------------------- age at receipt ------------------------'
//!
//! core A: one shard, unchanged            core B: all clients, one loop
//! ```
//!
//! `cargo bench -p tickloom-benches --bench tick_latency -- --help`
//!
//! What to know before quoting it:
//! - Rooms tick at moments spread at random over the tick's interval, always the same ones.
//! - Tick lateness and tick duration are the shard's own histograms. They count from its start,
//!   the joining included; everything else counts from the end of the warm-up.
//! - One thread is all clients. It stamps what it read before it applies anything, but a client
//!   still waits while others are being applied: "socket to client" is partly this thread.
//! - What makes a run NOISY is the time our own two threads waited for a core. The pressure that
//!   `floor` goes by is printed too, but here it is mostly our own wake-ups.
//! - The server's CPU includes the stamps (a clock and a peer's address per write) and, as
//!   always on loopback, the receiving half of every TCP segment it sends.
//!
//! It does not tell how many clients a machine holds (the load generator does), nor anything
//! about networks, TLS or compression. The exit code is 1 when a replica broke or the state of a
//! client was never compared with its room's hash.
#![expect(clippy::disallowed_types, reason = "the clients are an edge: they own sockets")]

mod driver;
mod figures;
mod player;
mod report;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use clap::value_parser as range;
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::{Cores, raise_files_limit};
use tickloom_benches::window::{Sample, Window};
use tickloom_server::config::Config;
use tickloom_server::reactor::WriteStamps;
use tickloom_server::room::arena::{Arena, MEMBERS_MAX};
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime;

use crate::driver::Driver;
use crate::figures::Figures;

/// Both ends of a connection are files of this process, and 20,000 is a common hard limit.
const CLIENTS_MAX: usize = 9_900;

/// Files that are not connections.
const FILES_RESERVED: u64 = 200;

/// Measures how old state is at real clients, and where the time went.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Clients, 9900 at most
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Clients per room
    #[arg(long, default_value_t = 20, value_parser = range!(u16).range(1..=MEMBERS_MAX as i64))]
    room_size: u16,
    /// Ticks per second
    #[arg(long, value_name = "HZ", default_value_t = 20, value_parser = range!(u32).range(1..=128))]
    tick_rate: u32,
    /// Inputs per client and second
    #[arg(long, value_name = "HZ", default_value_t = 20, value_parser = range!(u32).range(1..=1000))]
    input_rate: u32,
    /// Seconds to measure for, 2 at least: rooms state hashes that often
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = range!(u64).range(2..))]
    duration: u64,
    /// Seconds to play before that
    #[arg(long, value_name = "SECONDS", default_value_t = 2)]
    warmup: u64,
    /// Also writes the report as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
}

impl Args {
    fn checked(self) -> anyhow::Result<Self> {
        let args = if self.asked.quick { Self { clients: 100, duration: 2, ..self } } else { self };
        ensure!(
            (1..=CLIENTS_MAX).contains(&args.clients),
            "--clients {}: 1 to {CLIENTS_MAX}, because both ends of each connection are files of \
             this one process",
            args.clients,
        );
        raise_files_limit("--clients", 2 * args.clients as u64 + FILES_RESERVED)?;
        Ok(args)
    }

    fn rooms_count(&self) -> usize {
        self.clients.div_ceil(usize::from(self.room_size))
    }

    fn tick_interval(&self) -> Duration {
        Duration::from_secs(1) / self.tick_rate
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse().checked()?;
    let cores = Cores::split();
    let figures = measure(&args, cores)?;
    report::print(&args, cores, &figures);
    if let Some(path) = &args.json {
        let text = format!("{:#}\n", report::json(&args, cores, &figures));
        fs::write(path, text).with_context(|| format!("--json {}", path.display()))?;
    }
    Ok(())
}

fn measure(args: &Args, cores: Option<Cores>) -> anyhow::Result<Figures> {
    let config = Config {
        cores: cores.map(|cores| cores.server).into_iter().collect(),
        write_stamps: WriteStamps::Keep,
        tick_rate_hz: args.tick_rate,
        ..Config::loopback()
    };
    let room_types = RoomTypes::default().with(Arena::new(args.tick_rate));
    let server = runtime::serve(&config, &room_types).context("cannot serve on loopback")?;
    if let Some(cores) = cores {
        cores.pin_clients()?;
    }
    let mut driver = Driver::connect(server.address(), args)?;
    driver.join_rooms(args)?;
    driver.start_inputs(args)?;
    driver.run_for(Duration::from_secs(args.warmup))?;
    let start = Sample::take("shard-");
    driver.input_lateness_us.reset();
    driver.run_for(Duration::from_secs(args.duration))?;
    let window = Window { start, end: Sample::take("shard-") };

    let Driver { players, input_lateness_us, .. } = driver;
    let traces: Vec<_> = players.into_iter().map(|player| player.trace()).collect();
    server.stopper().stop();
    let shard = server.join()?.pop().context("a server has a shard")?;
    let figures = Figures::new(args, window, shard, &traces, input_lateness_us);
    ensure!(figures.unchecked == 0, "{} clients checked no hash", figures.unchecked);
    Ok(figures)
}
