//! How many newcomers a shard lets in: accepted, upgraded and seated, while rooms tick.
//!
//! `cargo bench -p tickloom-benches --bench accept -- --help`
//!
//! Clients come sixty-four at a time: all connect and ask for a room by path, each waits for its
//! seat, and all end with a reset, so that no port is used up. Meanwhile ten arenas tick at 20 Hz
//! with five players each. The figure is seats given per second of the shard's CPU time, which
//! includes the end of each connection and the ticks. The exit code is 1 when the median of the
//! rounds misses the target, or when a tick began later than a whole step.
#![expect(clippy::disallowed_types, reason = "the clients of a benchmark own sockets")]
#![expect(clippy::disallowed_methods, reason = "a benchmark has a clock")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use socket2::SockRef;
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::{Cores, ThreadTime, Verdict, stalled};
use tickloom_benches::peers::Peers;
use tickloom_protocol::handshake::ClientKey;
use tickloom_server::config::Config;
use tickloom_server::rooms::built_in_types;
use tickloom_server::runtime;

/// Seats per second of CPU time.
const SEATS_MIN: f64 = 15_000.0;

/// Clients that come at once.
const BATCH: usize = 64;

/// Rooms that newcomers join, so that none of them is crowded.
const ROOMS: usize = 500;

const ARENAS: usize = 10;

const PLAYERS_PER_ARENA: usize = 5;

/// Measures how many newcomers a shard lets in.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Seconds of each round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    if args.asked.quick {
        args = Args { seconds: 1, rounds: 1, ..args };
    }
    let cores = Cores::split();
    let config = Config {
        cores: cores.map(|cores| cores.server).into_iter().collect(),
        ..Config::loopback()
    };
    let server = runtime::serve(&config, &built_in_types(&config))?;
    if let Some(cores) = cores {
        cores.pin_clients()?;
    }
    let mut players = Peers::connect(server.address(), "/ws", ARENAS * PLAYERS_PER_ARENA)?;
    for player in 0..ARENAS * PLAYERS_PER_ARENA {
        players.join(player, "arena", &format!("arena-{}", player % ARENAS))?;
    }
    players.read_until_each_has(2)?;

    println!("{:>5}{:>16}{:>12}{:>14}", "round", "seats/CPU s", "seats/s", "contention");
    let (mut rates, mut seats) = (Vec::new(), 0);
    for round in 1..=args.rounds {
        let (before, began, stalled_before) = (shard_time()?, Instant::now(), stalled());
        let mut came = 0;
        while began.elapsed() < Duration::from_secs(args.seconds) {
            come_and_go(server.address(), seats + came)?;
            came += BATCH;
            players.read_for(Duration::ZERO)?;
        }
        let (wall, spent) = (began.elapsed().as_secs_f64(), shard_time()?.since(before));
        let contention = (stalled() - stalled_before).as_secs_f64() / wall;
        let per_cpu_second = came as f64 / spent.on_core.as_secs_f64();
        let per_second = came as f64 / wall;
        let verdict = Verdict::of_contention(contention).name();
        println!("{round:>5}{per_cpu_second:>16.0}{per_second:>12.0}{contention:>8.2} {verdict}");
        rates.push(per_cpu_second);
        seats += came;
    }
    rates.sort_by(f64::total_cmp);
    let median = rates[rates.len() / 2];
    server.stopper().stop();
    players.read_to_end()?;
    drop(players);
    let mut late = 0;
    for shard in server.join()? {
        let metrics = shard.metrics;
        let joins = (seats + ARENAS * PLAYERS_PER_ARENA) as u64;
        ensure!(metrics.joins == joins, "{} of {joins} joins", metrics.joins);
        let p99 = metrics.tick_lateness_us.whole.value_at_quantile(0.99);
        late += metrics.ticks_overrun;
        println!("{} ticks, {late} of them late; lateness p99 {p99} us", metrics.ticks);
    }
    let is_met = median >= SEATS_MIN && late == 0;
    let verdict = if is_met { "meets" } else { "misses" };
    println!("median {median:.0} seats per CPU second: {verdict} >= {SEATS_MIN} with no tick late");
    Ok(ExitCode::from(u8::from(!is_met && !args.asked.quick)))
}

fn shard_time() -> anyhow::Result<ThreadTime> {
    ThreadTime::of_named("shard").context("the shard has a thread")
}

/// So many clients connect, get a seat each, and are gone.
fn come_and_go(address: SocketAddr, number: usize) -> anyhow::Result<()> {
    let mut streams = Vec::with_capacity(BATCH);
    for number in number..number + BATCH {
        let mut stream = TcpStream::connect(address)?;
        let target = format!("/ws/state/room-{}", number % ROOMS);
        let nonce = (number as u128).to_be_bytes();
        stream.write_all(&ClientKey::new(nonce).request("bench", &target))?;
        streams.push(stream);
    }
    let mut buffer = [0; 4096];
    for mut stream in streams {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut length = 0;
        while !is_seated(&buffer[..length]) {
            let read = stream.read(&mut buffer[length..])?;
            ensure!(read > 0, "no seat: {}", String::from_utf8_lossy(&buffer[..length]));
            length += read;
        }
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Whether a binary frame has begun behind the answer to the upgrade: its first message says what
/// became of the join, and the ledger at the end that it was a seat.
fn is_seated(bytes: &[u8]) -> bool {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    end.is_some_and(|end| bytes.get(end + 4) == Some(&0x82))
}
