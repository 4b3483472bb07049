//! What to do: `Args` is what was typed, [`Plan`] is what was meant, checked before any start.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Highest rate of inputs or ticks. Rooms tick at 128 Hz at most; players send no faster.
const RATE_HZ_MAX: u32 = 128;

/// Most clients of one process: the protocol's member ids and the kernel's ports end near here.
const CLIENTS_MAX: u32 = 60_000;

/// Drives a Tickloom server with many clients and says how old their state is.
///
/// Without a subcommand, `run` is meant: a server is started on a free port, 1,000 bots play in
/// arena rooms of 20, the report is printed and the server is stopped.
#[derive(Parser, Debug)]
#[command(
    name = "loadtest",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 passed, 1 internal error, 2 usage, 97 target unreachable, 98 the \
                  run is INVALID, 99 the server failed a check, 130 interrupted"
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Drive one scenario at a fixed load and report.
    Run(RunArgs),
}

#[derive(clap::Args, Clone, Debug)]
struct RunArgs {
    /// Server to drive, as ws://HOST:PORT/ws; without it a server is started for the run.
    #[arg(short, long, value_name = "URL", value_parser = parse_url)]
    url: Option<Url>,
    /// Clients to connect; each takes a socket and, with its replica of a room of 20, 17 KiB.
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "1k", value_parser = parse_count)]
    clients: NonZeroU32,
    /// Rooms to spread the clients over, instead of --room-size.
    #[arg(short, long, value_name = "COUNT", conflicts_with = "room_size", value_parser = parse_count)]
    rooms: Option<NonZeroU32>,
    /// Clients in each room.
    #[arg(long, value_name = "COUNT", default_value = "20", value_parser = parse_count)]
    room_size: NonZeroU32,
    /// How long to measure.
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// How long to play unmeasured once everybody has joined.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    warmup: Duration,
    /// Connections to open per second.
    #[arg(long, value_name = "RATE", default_value = "2k/s", value_parser = parse_rate)]
    connect_rate: u32,
    /// Inputs each client sends per second; 0 makes spectators.
    #[arg(long, value_name = "RATE", default_value = "20/s", value_parser = parse_rate)]
    input_rate: u32,
    /// Ticks per second of the server that is started [default: 20/s].
    #[arg(long, value_name = "RATE", conflicts_with = "url", value_parser = parse_rate)]
    tick_rate: Option<u32>,
    /// Seed of everything the bots do.
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    seed: u64,
    /// Generator threads, each pinned to a core of its own; the server gets the other cores.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    threads: usize,
    /// Also write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print a line a second even when stderr is not a terminal.
    #[arg(long)]
    progress: bool,
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    /// `HOST:PORT`, as it goes into the `Host` header.
    pub authority: String,
    /// The path to upgrade, such as `/ws`.
    pub path: String,
}

impl Url {
    /// The endpoint of a server on `address`.
    #[must_use]
    pub fn of_server(address: &str) -> Self {
        Self { authority: address.to_owned(), path: "/ws".to_owned() }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.path)
    }
}

/// Which server to drive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// One that runs already.
    Url(Url),
    /// One that is started for the run and stopped after it.
    Spawn {
        /// The rate its rooms tick at.
        tick_rate_hz: u32,
    },
}

/// One run, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Which server to drive.
    pub target: Target,
    /// Clients to connect; at least one.
    pub clients_count: u32,
    /// Rooms to spread them over; `1 ..= clients_count`.
    pub rooms_count: u32,
    /// How long to measure; at least a second.
    pub duration: Duration,
    /// How long to play before that.
    pub warmup: Duration,
    /// Connections to open per second; at least one.
    pub connect_rate_hz: u32,
    /// Inputs per client and second; 0 for none.
    pub input_rate_hz: u32,
    /// Seed of everything random.
    pub seed: u64,
    /// Generator threads; at least one.
    pub threads_count: usize,
    /// Where to write the JSON report.
    pub json: Option<PathBuf>,
    /// Whether progress lines are asked for without a terminal.
    pub progress: bool,
}

/// Why what was typed cannot be done.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// More clients than a process can hold.
    #[error("--clients {0} is more than one process can hold; the most is {CLIENTS_MAX}")]
    TooManyClients(u32),
    /// More rooms than clients.
    #[error(
        "--rooms {rooms} leaves rooms empty with --clients {clients}; ask for {clients} or fewer"
    )]
    MoreRoomsThanClients {
        /// What `--rooms` said.
        rooms: u32,
        /// What `--clients` said.
        clients: u32,
    },
    /// Too short to measure anything.
    #[error("--duration must be at least 1s: one second holds too few ticks to judge")]
    TooShort,
    /// A rate of zero.
    #[error("{0} must be at least 1/s")]
    ZeroRate(&'static str),
    /// A rate over its limit.
    #[error("{flag} {rate_hz} is over the limit of {RATE_HZ_MAX}/s")]
    RateTooHigh {
        /// Which flag.
        flag: &'static str,
        /// What it said.
        rate_hz: u32,
    },
    /// No threads, or more than clients.
    #[error("--threads {threads} must be between 1 and --clients {clients}")]
    BadThreads {
        /// What `--threads` said.
        threads: usize,
        /// What `--clients` said.
        clients: u32,
    },
}

impl Plan {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first flag that does not fit, by name.
    pub fn new(args: Args) -> Result<Self, PlanError> {
        let run = match args.command {
            Some(Command::Run(run)) => run,
            None => args.run,
        };
        let clients = run.clients.get();
        if clients > CLIENTS_MAX {
            return Err(PlanError::TooManyClients(clients));
        }
        let rooms = match run.rooms {
            Some(rooms) => rooms.get(),
            None => clients.div_ceil(run.room_size.get()),
        };
        if rooms > clients {
            return Err(PlanError::MoreRoomsThanClients { rooms, clients });
        }
        if run.duration < Duration::from_secs(1) {
            return Err(PlanError::TooShort);
        }
        if run.connect_rate == 0 {
            return Err(PlanError::ZeroRate("--connect-rate"));
        }
        if run.tick_rate == Some(0) {
            return Err(PlanError::ZeroRate("--tick-rate"));
        }
        let tick_rate_hz = run.tick_rate.unwrap_or(20);
        for (flag, rate_hz) in [("--input-rate", run.input_rate), ("--tick-rate", tick_rate_hz)] {
            if rate_hz > RATE_HZ_MAX {
                return Err(PlanError::RateTooHigh { flag, rate_hz });
            }
        }
        if run.threads == 0 || run.threads > clients as usize {
            return Err(PlanError::BadThreads { threads: run.threads, clients });
        }
        let target = run.url.map_or(Target::Spawn { tick_rate_hz }, Target::Url);
        Ok(Self {
            target,
            clients_count: clients,
            rooms_count: rooms,
            duration: run.duration,
            warmup: run.warmup,
            connect_rate_hz: run.connect_rate,
            input_rate_hz: run.input_rate,
            seed: run.seed,
            threads_count: run.threads,
            json: run.json,
            progress: run.progress,
        })
    }
}

fn parse_url(text: &str) -> Result<Url, String> {
    if text.starts_with("wss://") || text.starts_with("https://") {
        return Err("TLS is not spoken here; use the server's ws:// address".to_owned());
    }
    let Some(rest) = text.strip_prefix("ws://") else {
        return Err("expected ws://HOST:PORT/ws".to_owned());
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.is_empty() || authority.contains('@') {
        return Err("expected ws://HOST:PORT/ws, the host is missing".to_owned());
    }
    // The port follows the last colon; colons inside brackets belong to an IPv6 address.
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
    let path = if path.is_empty() { "/ws" } else { path };
    Ok(Url { authority, path: path.to_owned() })
}

/// A count with an optional `k` or `m`: `250`, `5k`, `1.5k`.
fn parse_number(text: &str) -> Option<u32> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1.0), |digits| (digits, 1e6)),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let number = digits.parse::<f64>().ok()? * factor;
    (number.fract() == 0.0 && number <= f64::from(u32::MAX)).then_some(number as u32)
}

fn parse_count(text: &str) -> Result<NonZeroU32, String> {
    let number = parse_number(text).ok_or("expected a count such as 250 or 5k")?;
    NonZeroU32::new(number).ok_or_else(|| "must be at least 1".to_owned())
}

fn parse_rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    parse_number(number).ok_or_else(|| "expected a rate such as 20, 20/s or 2k/s".to_owned())
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time with its unit, such as 30s, 250ms or 2m".to_owned();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(wrong());
    }
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn plan(flags: &str) -> Result<Result<Plan, PlanError>, clap::Error> {
        let words = std::iter::once("loadtest").chain(flags.split_whitespace());
        Args::try_parse_from(words).map(Plan::new)
    }

    fn good(flags: &str) -> Plan {
        plan(flags).expect("parses").expect("fits")
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn no_arguments_mean_the_main_job() {
        let plan = good("");
        assert_eq!(plan, good("run"));
        assert_eq!(plan.target, Target::Spawn { tick_rate_hz: 20 });
        assert_eq!((plan.clients_count, plan.rooms_count), (1000, 50));
        assert_eq!((plan.duration, plan.warmup), (Duration::from_secs(10), Duration::from_secs(2)));
        assert_eq!((plan.connect_rate_hz, plan.input_rate_hz), (2000, 20));
        assert_eq!((plan.seed, plan.threads_count), (42, 1));
    }

    #[test]
    fn units_are_understood() {
        let plan = good("run -n 5k -r 250 -d 1.5m --warmup 250ms --connect-rate 3k --seed 7");
        assert_eq!((plan.clients_count, plan.rooms_count), (5000, 250));
        assert_eq!((plan.duration.as_secs(), plan.warmup.as_millis()), (90, 250));
        assert_eq!((plan.connect_rate_hz, plan.seed), (3000, 7));
        assert_eq!(good("--clients 7 --room-size 3").rooms_count, 3);
    }

    #[test]
    fn values_that_make_no_sense_are_refused_with_an_example() {
        for flags in [
            "-d 30",
            "-d s",
            "-d -1s",
            "-d 1y",
            "-n 0",
            "-n x",
            "-n 1.5",
            "-n -5",
            "-n 1e3",
            "-r 0",
            "--input-rate 5/m",
            "-u http://a",
            "-u wss://a",
            "-u ws:///ws",
            "-u ws://a --tick-rate 30",
            "-r 5 --room-size 5",
            "--threads x",
        ] {
            assert!(plan(flags).is_err(), "{flags}");
        }
    }

    #[test]
    fn combinations_that_do_not_fit_name_the_flag() {
        for (flags, flag) in [
            ("-n 10 -r 11", "--rooms"),
            ("-d 500ms", "--duration"),
            ("--connect-rate 0", "--connect-rate"),
            ("--tick-rate 0", "--tick-rate"),
            ("--tick-rate 129", "--tick-rate"),
            ("--input-rate 1k", "--input-rate"),
            ("--threads 0", "--threads"),
            ("-n 2 --threads 3", "--threads"),
            ("-n 100k", "--clients"),
        ] {
            let error = plan(flags).expect("parses").expect_err(flags);
            assert!(error.to_string().starts_with(flag), "{flags}: {error}");
        }
    }

    #[test]
    fn urls_name_a_host_a_port_and_a_path() {
        for (text, authority, path) in [
            ("ws://127.0.0.1:7420/ws", "127.0.0.1:7420", "/ws"),
            ("ws://example.org", "example.org:80", "/ws"),
            ("ws://[::1]:7420", "[::1]:7420", "/ws"),
            ("ws://[::1]/ws/arena", "[::1]:80", "/ws/arena"),
        ] {
            let expected = Url { authority: authority.to_owned(), path: path.to_owned() };
            assert_eq!(parse_url(text), Ok(expected), "{text}");
        }
    }
}
