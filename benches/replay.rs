//! How fast what happened to an arena happens again, and how many bytes that takes: sixteen players
//! at 30 Hz, each with an input for every tick.
//!
//! `cargo bench -p tickloom-benches --bench replay -- --help`
//!
//! The players walk in a direction for a while, aim anew with each input and fire now and then, so
//! nearly no input is the one before: who holds a key costs less. Recording and replay are in memory;
//! a disk adds what it takes to read some megabytes. The exit code is 1 when a checkpoint differs or
//! the median is below the target.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, ensure};
use clap::Parser;
use tickloom_benches::asked::Asked;
use tickloom_benches::rooms::Steering;
use tickloom_protocol::ids::{InputSeq, Moment, RoomKey};
use tickloom_protocol::recording::prologue;
use tickloom_protocol::time::Timestamp;
use tickloom_server::outbox::Outbox;
use tickloom_server::recording::replay::{Done, Replay, Verdict};
use tickloom_server::room::Room;
use tickloom_server::room::arena::Arena;
use tickloom_server::room::broadcast::Broadcast;
use tickloom_server::room::logic::RoomType;
use tickloom_server::room::recorded::Recorded;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::session::{PendingJoin, SessionId};
use tickloom_server::session_table::Outboxes;

/// Times faster than it was played, at least.
const SPEED_MIN: f64 = 1_000.0;

const TICK_RATE_HZ: u32 = 30;

/// Measures how fast a recording is replayed.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Players of the arena
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=128))]
    players: u32,
    /// Seconds of play
    #[arg(long, default_value_t = 1_800, value_parser = clap::value_parser!(u32).range(10..))]
    seconds: u32,
    /// Rounds, of which the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    asked: Asked,
}

/// Nobody listens while the recording is made either: this is about what comes in.
struct Nobody;

impl Outboxes for Nobody {
    fn outbox(&mut self, _: SessionId) -> Option<&mut Outbox> {
        None
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    if args.asked.quick {
        args = Args { seconds: 10, rounds: 1, ..args };
    }
    let file = record(&args)?;
    let mut speeds = Vec::new();
    let mut done = Done::default();
    println!("{:>5}{:>10}{:>14}", "round", "seconds", "x real time");
    for round in 1..=args.rounds {
        #[expect(clippy::disallowed_methods, reason = "a stopwatch around one call")]
        let began = Instant::now();
        done = replay(&file)?;
        let seconds = began.elapsed().as_secs_f64();
        let speed = f64::from(args.seconds) / seconds;
        println!("{round:>5}{seconds:>10.3}{speed:>14.0}");
        speeds.push(speed);
    }
    speeds.sort_by(f64::total_cmp);
    let median = speeds[speeds.len() / 2];
    let (bytes, inputs) = (file.len() as f64, done.inputs as f64);
    println!(
        "{players} players, {seconds} s at {TICK_RATE_HZ} Hz: {checkpoints} checkpoints equal, {:.2} B \
         per input, {:.1} KB per second",
        bytes / inputs,
        bytes / 1e3 / f64::from(args.seconds),
        players = args.players,
        seconds = args.seconds,
        checkpoints = done.checkpoints,
    );
    let verdict = if median >= SPEED_MIN { "meets" } else { "misses" };
    println!("replay: {median:.0} x real time: {verdict} >= {SPEED_MIN}");
    Ok(ExitCode::from(u8::from(median < SPEED_MIN && !args.asked.quick)))
}

/// Plays, and keeps what happened.
fn record(args: &Args) -> anyhow::Result<Vec<u8>> {
    let Some(key) = RoomKey::parse("arena", "bench") else { bail!("both names are short") };
    let arena = Arena::new(TICK_RATE_HZ);
    let mut now = Timestamp::ZERO;
    let room = Room::new(key.clone(), &arena, &[], now, 1);
    let Ok(mut room) = room else { bail!("an arena needs no options") };
    room.begin_recording(now, &[]);
    let mut file = prologue(0);
    let join = PendingJoin::new(key, "player");
    let mut players = Vec::new();
    for index in 0..args.players {
        let joined = room.join(now, SessionId { index, generation: 0 }, &join);
        let Ok(joined) = joined else { bail!("a new arena has free seats") };
        players.push((joined.member, Steering::new(u64::from(index))));
    }
    let schema = arena.spec().schema;
    let mut broadcast = Broadcast::default();
    for tick in 1..=args.seconds * TICK_RATE_HZ {
        for (member, steering) in &mut players {
            let row = steering.next_row(schema.input());
            room.handle_input(*member, InputSeq(tick), Moment::ZERO, &row);
        }
        now = room.next_due().unwrap_or(now);
        room.tick(now, &mut broadcast, &mut Nobody);
        if let Recorded::Records(bytes) = room.take_recorded() {
            file.extend(bytes);
        }
    }
    Ok(file)
}

fn replay(file: &[u8]) -> anyhow::Result<Done> {
    let room_types = RoomTypes::default().with(Arena::new(TICK_RATE_HZ));
    let mut replay = Replay::open(file, &room_types)?;
    let verdict = replay.run(None)?;
    ensure!(matches!(verdict, Verdict::AtEnd(_)), "{verdict}");
    Ok(replay.done())
}
