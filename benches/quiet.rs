//! What a server costs in which nothing happens: ten thousand rooms without a rate, and a thousand
//! clients that are connected and say nothing.
//!
//! `cargo bench -p tickloom-benches --bench quiet -- --help`
//!
//! Ten waves of a thousand clients each join a thousand rooms; the clients of the last wave stay,
//! the rooms of all of them do. The figure is the CPU time of the shard's thread over a stretch of
//! doing nothing, as a share of a core. The clients here do not answer pings, so they are not
//! pinged; by default a silent client is every 25 s, which for a thousand of them is forty small
//! writes and reads per second. The exit code is 1 when a round costs more than the target.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Parser;
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::{Cores, ThreadTime, raise_files_limit};
use tickloom_benches::peers::Peers;
use tickloom_server::config::Config;
use tickloom_server::rooms::built_in_types;
use tickloom_server::runtime;
use tickloom_server::session::Patience;

/// Share of a core that silence may cost, in percent.
const PERCENT_MAX: f64 = 1.0;

const WAVES: usize = 10;

/// Longer than any run.
const HOUR: Duration = Duration::from_secs(3_600);

/// Measures what a server costs in which nothing happens.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Clients of each of the ten waves, and rooms that each wave leaves
    #[arg(long, default_value_t = 1_000)]
    clients: usize,
    /// Seconds of silence in each round
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Rounds, of which the worst counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    if args.asked.quick {
        args = Args { clients: args.clients / 10, seconds: 1, rounds: 1, ..args };
    }
    raise_files_limit("--clients", 2 * args.clients as u64 + 200)?;
    let cores = Cores::split();
    let config = Config {
        cores: cores.map(|cores| cores.server).into_iter().collect(),
        room_linger: HOUR,
        rooms_max: WAVES * args.clients,
        patience: Patience { ping: HOUR, ..Config::loopback().patience },
        ..Config::loopback()
    };
    let server = runtime::serve(&config, &built_in_types(&config))?;
    if let Some(cores) = cores {
        cores.pin_clients()?;
    }
    let mut stays = None;
    for wave in 0..WAVES {
        // The wave before is gone before this one comes.
        drop(stays.take());
        let mut peers = Peers::connect(server.address(), "/ws", args.clients)?;
        for peer in 0..args.clients {
            peers.join(peer, "state", &format!("room-{wave}-{peer}"))?;
        }
        // A seat and the first state.
        peers.read_until_each_has(2)?;
        stays = Some(peers);
    }
    let mut peers = stays.context("there was a wave")?;
    peers.read_for(Duration::from_secs(2))?;

    println!(
        "{:>5}{:>12}   {} rooms, {} clients",
        "round",
        "of a core",
        WAVES * args.clients,
        args.clients
    );
    let mut worst: f64 = 0.0;
    for round in 1..=args.rounds {
        let before = ThreadTime::of_named("shard").context("the shard has a thread")?;
        let silence = Duration::from_secs(args.seconds);
        peers.read_for(silence)?;
        let spent = ThreadTime::of_named("shard").context("the shard has a thread")?.since(before);
        let percent = spent.on_core.as_secs_f64() / silence.as_secs_f64() * 100.0;
        println!("{round:>5}{percent:>10.3} %");
        worst = worst.max(percent);
    }
    let verdict = if worst <= PERCENT_MAX { "meets" } else { "misses" };
    println!("share of a core: at worst {worst:.3} %: {verdict} <= {PERCENT_MAX} %");
    server.stopper().stop();
    peers.read_to_end()?;
    drop(peers);
    let rooms_made: u64 = server.join()?.iter().map(|shard| shard.metrics.joins).sum();
    ensure!(rooms_made as usize == WAVES * args.clients, "{rooms_made} joins");
    Ok(ExitCode::from(u8::from(worst > PERCENT_MAX && !args.asked.quick)))
}
