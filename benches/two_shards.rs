//! How much more two shards carry than one: the CPU that a client and a tick cost on one, and what
//! the same load costs on two.
//!
//! ```text
//! one shard    shard-0 on the first core           clients on the last core
//! two shards   shard-0 and shard-1 on the first two cores, clients on the last one
//!
//! capacity ratio = 2 x cost on one shard / cost on two
//! ```
//!
//! `cargo bench -p tickloom-benches --bench two_shards -- --help`
//!
//! The method: a shard is full when its thread has no time left, so what counts is the CPU time of
//! the shards' threads alone. The clients' thread is accounted for on its own and subtracted by
//! not being counted; on a machine of two cores it shares one with the second shard, so it sleeps
//! between inputs instead of spinning. With nothing lost between shards the ratio is 2. It is less
//! by what they do for each other, by what two loops with half of the clients each read together
//! less often, and by the caches that the clients' thread uses up.
//!
//! What it does not say: that the rooms of a server divide evenly. They are assigned by the hash
//! of their names, and a server is full when its fullest shard is. The exit codes are those of
//! `against_floor`.

use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;
use tickloom_benches::arena_load::ArenaLoad;
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::{Cores, raise_files_limit};
use tickloom_benches::pairs::{Figures, Target, exit_code};
use tickloom_benches::peers::Pacing;
use tickloom_benches::run::Run;
use tickloom_server::runtime::allowed_cores;

/// Measures the CPU of one shard and of two under the same load.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Pairs to take the median of
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Rooms of 20 players, up to 100
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..=100))]
    rooms: u16,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    let mut load = ArenaLoad {
        rooms: args.rooms.into(),
        members: 20,
        tick_rate_hz: 20,
        warm_up_ticks: 40,
        ticks: 100,
        pacing: Pacing::Dozing,
    };
    if args.asked.quick {
        args.pairs = 1;
        load = ArenaLoad { rooms: 6, warm_up_ticks: 5, ticks: 20, ..load };
    }
    raise_files_limit("--rooms", 2 * load.players() as u64 + 200)?;
    let [first, second] = match allowed_cores()[..] {
        [first, second, ..] => [first, second],
        _ => {
            println!("one core only: two shards have nothing to run on, so nothing is measured");
            return Ok(ExitCode::SUCCESS);
        }
    };
    if let Some(cores) = Cores::split() {
        cores.pin_clients()?;
        let clients = cores.clients;
        let shared = if clients == second { ", where shard-1 runs too" } else { "" };
        println!("shards on core {first}, or {first} and {second}; clients on {clients}{shared}");
    }
    println!(
        "{} rooms x {} at {} Hz, {} ticks; CPU of the shards' threads per client and tick",
        load.rooms, load.members, load.tick_rate_hz, load.ticks
    );
    println!("{:>4}{:>14}{:>14}{:>7}   frames, one | two", "pair", "one, ns", "two, ns", "ratio");
    let mut figures = Figures::new(Target::AtLeast(1.8));
    for pair in 0..args.pairs {
        let on_one = || load.on_room_server(&[first]);
        let on_two = || load.on_room_server(&[first, second]);
        let (one, two) = if pair % 2 == 0 {
            let one = on_one()?;
            (one, on_two()?)
        } else {
            let two = on_two()?;
            (on_one()?, two)
        };
        compare(pair, &mut figures, one, two)?;
    }
    println!("capacity of two shards: {figures}");
    println!("(2 x cost on one shard / cost on two; the clients' CPU is not in it)");
    Ok(ExitCode::from(if args.asked.quick { 0 } else { exit_code(&[figures.verdict()]) }))
}

fn compare(pair: u32, figures: &mut Figures, one: Run, two: Run) -> anyhow::Result<()> {
    let (one_ns, two_ns) = (one.cpu_ns()?, two.cpu_ns()?);
    ensure!(two_ns > 0.0, "two shards used no time at all");
    let ratio = 2.0 * one_ns / two_ns;
    println!(
        "{:>4}{one_ns:>14.0}{two_ns:>14.0}{ratio:>7.2}   {} | {}",
        pair + 1,
        one.work,
        two.work,
    );
    // The second shard waits for the clients' thread wherever they share a core: that is the
    // method and not noise, so only the run on one shard is asked how quiet it was.
    figures.push(ratio, &[one.window]);
    [one.doubt, two.doubt].into_iter().flatten().for_each(|doubt| figures.doubt(doubt));
    Ok(())
}
