//! `tickloom replay`: a file in, what became of it out. The clock only says how long it took.
#![expect(clippy::disallowed_methods, reason = "an edge module: a replay is timed")]

use std::io::{ErrorKind, IsTerminal, Write, stderr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io};

use tickloom_protocol::ids::Tick;
use tickloom_protocol::recording::{Reader, RecordingError};
use tickloom_server::Config;
use tickloom_server::config::layers::Asked;
use tickloom_server::config::problem::Problem;
use tickloom_server::recording::dump::Dump;
use tickloom_server::recording::replay::{Astray, Replay, ReplayError, Verdict};
use tickloom_server::room::logic::RoomSpec;
use tickloom_server::rooms::built_in_types;

/// Checkpoints between two looks at the clock.
const CHECKPOINTS_AT_ONCE: u64 = 100;

/// From one word about the progress to the next.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What was asked for.
pub struct Wish<'a> {
    /// The recording.
    pub file: &'a Path,
    /// The last tick to replay.
    pub until: Option<u32>,
    /// Whether to print the room at the end.
    pub dump: bool,
}

/// Replays a recording and prints how that went.
///
/// # Errors
/// What is wrong with the file, or what is missing to replay it.
pub fn replay(wish: &Wish<'_>, asked: &Asked) -> Result<ExitCode, Problem> {
    let file = fs::read(wish.file).map_err(|error| unreadable(wish.file, &error))?;
    let header = Reader::open(&file).map_err(|error| unusable(wish.file, &error.into()))?;
    let tick_rate_hz = header.header().tick_rate_hz;
    let mut config = Config { rooms: asked.rooms.clone(), ..Config::loopback() };
    if (RoomSpec::TICK_RATE_HZ_MIN..=RoomSpec::TICK_RATE_HZ_MAX).contains(&tick_rate_hz) {
        // The arena ticks as it did then, whatever is configured now.
        config.tick_rate_hz = tick_rate_hz;
    }
    let room_types = built_in_types(&config);
    let opened = Replay::open(&file, &room_types);
    let mut replay = opened.map_err(|error| unusable(wish.file, &error))?;
    let began = Instant::now();
    let verdict = run(&mut replay, wish.until.map(Tick), began);
    let took = began.elapsed();
    let mut text = summary(&replay, took);
    let code = match &verdict {
        Ok(verdict) => {
            text += &format!("{verdict}\n");
            let is_astray = matches!(verdict, Verdict::Astray(_));
            if is_astray { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(_) => ExitCode::SUCCESS,
    };
    if let Ok(Verdict::Astray(Astray::Hash { tick, .. })) = &verdict {
        let before = tick.0.saturating_sub(tickloom_protocol::recording::CHECKPOINT_TICKS);
        text += &format!("the hash behind tick {before} was the same: it happened in between\n");
    }
    if wish.dump {
        text += &format!("\n{}", Dump(replay.room()));
    }
    super::print(&text);
    match verdict {
        Ok(_) => Ok(code),
        Err(error) => {
            let last = replay.room().state().building().0.saturating_sub(1);
            let help = format!("up to there it is whole: --until {last}");
            Err(unusable(wish.file, &error.into()).help(help))
        }
    }
}

/// Goes on to the end, and says now and then how far it has come.
fn run(
    replay: &mut Replay<'_>,
    until: Option<Tick>,
    began: Instant,
) -> Result<Verdict, RecordingError> {
    let mut told_at = began;
    loop {
        if let Some(verdict) = replay.advance(until, CHECKPOINTS_AT_ONCE)? {
            return Ok(verdict);
        }
        if stderr().is_terminal() && told_at.elapsed() >= PROGRESS_EVERY {
            told_at = Instant::now();
            let ticks = replay.done().ticks;
            // Nobody is worse off without it.
            let _ = writeln!(stderr(), "{ticks} ticks");
        }
    }
}

fn summary(replay: &Replay<'_>, took: Duration) -> String {
    let (header, done) = (replay.header(), replay.done());
    let (room, server, seed) = (&header.room, &header.server, header.seed);
    let began = replay.unix_ms() / 1000;
    let seconds = took.as_secs_f64().max(1e-6);
    let speed = match header.tick_rate_hz {
        0 => format!("{:.0} ticks/s", f64::from(done.ticks) / seconds),
        rate_hz => {
            let real = f64::from(done.ticks) / f64::from(rate_hz);
            format!("{real:.1} s of play, {:.0} x real time", real / seconds)
        }
    };
    format!(
        "{room}, recorded by tickloom {server} from {began} s after 1970 on, seed {seed:#x}\n\
         {ticks} ticks in {seconds:.3} s: {speed}\n\
         {inputs} inputs and {others} other events, {checkpoints} checkpoints equal\n",
        ticks = done.ticks,
        inputs = done.inputs,
        others = done.others,
        checkpoints = done.checkpoints,
    )
}

fn unreadable(file: &Path, error: &io::Error) -> Problem {
    let problem = Problem::new(format!("cannot read the recording `{}`: {error}", file.display()));
    match error.kind() {
        ErrorKind::NotFound => problem.help("recordings are in the folder `room.recordings_dir`"),
        _ => problem,
    }
}

fn unusable(file: &Path, error: &ReplayError) -> Problem {
    let problem = Problem::new(format!("cannot replay `{}`: {error}", file.display()));
    match error {
        ReplayError::Recording(RecordingError::NotARecording) => {
            problem.help("recordings are in the folder `room.recordings_dir`")
        }
        ReplayError::Recording(RecordingError::Version(_)) => {
            problem.help("replay it with the tickloom that wrote it")
        }
        ReplayError::UnknownRoomType(_)
        | ReplayError::Denied(_)
        | ReplayError::OtherSpec { .. } => problem.help(
            "name the configuration it was recorded under with --config; a program with rooms \
                 of its own replays them with `tickloom_server::recording::replay`",
        ),
        ReplayError::Recording(_) => problem,
    }
}
