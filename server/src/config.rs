//! What the user typed ([`ServeArgs`]) and what it means ([`Config`]).

pub mod cores;
pub mod fields;
pub mod log;
pub mod node;
pub mod problem;
pub mod suggestions;
pub mod units;
pub mod value;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::outbox::OutboxLimits;
use crate::reactor::WriteStamps;
use crate::room::logic::RoomSpec;
use crate::session::Patience;
use crate::shard::Echo;

/// File descriptors that are not connections: listeners, polls, timers, wakers, logs.
const DESCRIPTORS_RESERVED: usize = 64;

/// How to serve.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7420")]
    pub listen: SocketAddr,

    /// Cores to run on, one shard each, such as 0,2-3; all allowed ones by default
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,

    /// Ticks per second of the built-in rooms, 1 to 128
    #[arg(long, value_name = "HZ", default_value_t = 20)]
    pub tick_rate: u32,

    /// Answer WebSockets at /echo with what they send
    #[arg(long)]
    pub enable_echo: bool,

    /// Connections at the same time; an idle one costs about 2 KiB. By default, as many as the
    /// process may open files
    #[arg(long, value_name = "COUNT")]
    pub connections_max: Option<usize>,

    /// Rooms at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    pub rooms_max: usize,

    /// Seed of the rooms' randomness; by default a different one at each start
    #[arg(long)]
    pub seed: Option<u64>,

    /// How to write logs
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
}

/// How to write logs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One line of text per event.
    Text,
    /// One JSON object per event.
    Json,
}

/// What a server needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Cores to pin shards to, one each. Empty: one shard, not pinned.
    pub cores: Vec<usize>,
    /// Ticks per second of the built-in rooms.
    pub tick_rate_hz: u32,
    /// Whether `/echo` answers.
    pub echo: Echo,
    /// Connections at the same time, over all shards.
    pub connections_max: usize,
    /// Rooms at the same time, over all shards.
    pub rooms_max: usize,
    /// How long a room without members is kept.
    pub room_linger: Duration,
    /// How long sessions may take for what.
    pub patience: Patience,
    /// How long a congested session may take nothing.
    pub stall_max: Duration,
    /// Bounds of each session's queue.
    pub outbox: OutboxLimits,
    /// Seed of the rooms' randomness and of the directory.
    pub seed: u64,
    /// Whether to keep a stamp of every write, for benchmarks.
    pub write_stamps: WriteStamps,
}

/// Why what the user typed cannot be done. Each names the flag.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it all")]
pub enum ConfigError {
    #[error("--tick-rate {0}: a room ticks 1 to 128 times per second")]
    TickRate(u32),
    #[error("--cores {0}: write core numbers and ranges, such as 0,2-3")]
    CoresSyntax(String),
    #[error("--cores {core}: this process may run on {}", join(.allowed))]
    CoreNotAllowed { core: usize, allowed: Vec<usize> },
    #[error("--cores {0}: named twice; each shard needs a core of its own")]
    CoreTwice(usize),
    #[error(
        "--connections-max {wanted}: needs {} file descriptors, but the limit is {limit}; \
         lower it, or raise the limit (ulimit -n, LimitNOFILE)",
        wanted + DESCRIPTORS_RESERVED
    )]
    TooFewDescriptors { wanted: usize, limit: usize },
    #[error("--connections-max and --rooms-max must be at least 1")]
    NoCapacity,
}

fn join(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// What the machine offers, looked up by the caller.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Cores this process may run on.
    pub cores: Vec<usize>,
    /// Files this process may open.
    pub descriptors_max: usize,
}

impl Config {
    /// The defaults of the command line on a free loopback port, with one shard that is not
    /// pinned: what embedding programs and tests start from.
    #[must_use]
    pub fn loopback() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cores: Vec::new(),
            tick_rate_hz: 20,
            echo: Echo::Enabled,
            connections_max: 10_000,
            rooms_max: 10_000,
            room_linger: Duration::from_secs(10),
            patience: Patience {
                head: Duration::from_secs(5),
                join: Duration::from_secs(10),
                ping: Duration::from_secs(25),
                pong: Duration::from_secs(8),
                drain: Duration::from_secs(2),
            },
            stall_max: Duration::from_secs(20),
            outbox: OutboxLimits { soft_bytes_max: 256 * 1024, hard_bytes_max: 1024 * 1024 },
            seed: 0,
            write_stamps: WriteStamps::Skip,
        }
    }

    /// Checks what the user typed against what the machine offers. `seed` is used unless the
    /// user gave one.
    ///
    /// # Errors
    /// The first flag that cannot be had.
    pub fn resolve(args: &ServeArgs, machine: &Machine, seed: u64) -> Result<Self, ConfigError> {
        let rates = RoomSpec::TICK_RATE_HZ_MIN..=RoomSpec::TICK_RATE_HZ_MAX;
        if !rates.contains(&args.tick_rate) {
            return Err(ConfigError::TickRate(args.tick_rate));
        }
        let cores = match &args.cores {
            None => machine.cores.clone(),
            Some(list) => parse_cores(list, &machine.cores)?,
        };
        let limit = machine.descriptors_max;
        let available = limit.saturating_sub(DESCRIPTORS_RESERVED);
        let connections_max = args.connections_max.unwrap_or(available.max(1));
        if connections_max > available {
            return Err(ConfigError::TooFewDescriptors { wanted: connections_max, limit });
        }
        if connections_max == 0 || args.rooms_max == 0 {
            return Err(ConfigError::NoCapacity);
        }
        let echo = if args.enable_echo { Echo::Enabled } else { Echo::Disabled };
        Ok(Self {
            listen: args.listen,
            cores,
            tick_rate_hz: args.tick_rate,
            echo,
            connections_max,
            rooms_max: args.rooms_max,
            seed: args.seed.unwrap_or(seed),
            ..Self::loopback()
        })
    }
}

impl Machine {
    /// Looks at this machine, and raises the soft limit on open files to the hard one.
    #[must_use]
    pub fn this() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: maximum, maximum };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(_) => current,
        };
        let descriptors_max = limit.map_or(usize::MAX >> 1, |limit| limit as usize);
        Self { cores: crate::runtime::allowed_cores(), descriptors_max }
    }
}

fn parse_cores(list: &str, allowed: &[usize]) -> Result<Vec<usize>, ConfigError> {
    let syntax = || ConfigError::CoresSyntax(list.to_owned());
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().map_err(|_| syntax());
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last > 4096 {
            return Err(syntax());
        }
        for core in first..=last {
            if !allowed.contains(&core) {
                return Err(ConfigError::CoreNotAllowed { core, allowed: allowed.to_vec() });
            }
            if cores.contains(&core) {
                return Err(ConfigError::CoreTwice(core));
            }
            cores.push(core);
        }
    }
    Ok(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ServeArgs {
        ServeArgs {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            cores: None,
            tick_rate: 20,
            enable_echo: false,
            connections_max: None,
            rooms_max: 10,
            seed: None,
            log_format: LogFormat::Auto,
        }
    }

    fn resolve(args: &ServeArgs) -> Result<Config, ConfigError> {
        Config::resolve(args, &Machine { cores: vec![0, 2, 3], descriptors_max: 1000 }, 9)
    }

    #[test]
    fn cores_are_lists_and_ranges_of_allowed_ones() {
        let allowed = vec![0, 2, 3];
        for (list, expected) in [
            ("0", Ok(vec![0])),
            ("2-3,0", Ok(vec![2, 3, 0])),
            ("1", Err(ConfigError::CoreNotAllowed { core: 1, allowed })),
            ("2,2", Err(ConfigError::CoreTwice(2))),
            ("3-2", Err(ConfigError::CoresSyntax("3-2".into()))),
            ("", Err(ConfigError::CoresSyntax(String::new()))),
            ("two", Err(ConfigError::CoresSyntax("two".into()))),
        ] {
            let args = ServeArgs { cores: Some(list.into()), ..args() };
            assert_eq!(resolve(&args).map(|config| config.cores), expected, "{list}");
        }
    }

    #[test]
    fn defaults_fit_the_machine() {
        let config = resolve(&args()).expect("defaults");
        assert_eq!((config.cores, config.connections_max, config.seed), (vec![0, 2, 3], 936, 9));
    }

    #[test]
    fn what_cannot_be_had_names_its_flag() {
        for (args, flag) in [
            (ServeArgs { tick_rate: 0, ..args() }, "--tick-rate 0"),
            (ServeArgs { tick_rate: 129, ..args() }, "--tick-rate 129"),
            (ServeArgs { connections_max: Some(937), ..args() }, "--connections-max 937"),
            (ServeArgs { rooms_max: 0, ..args() }, "--rooms-max"),
        ] {
            let error = resolve(&args).expect_err("refused").to_string();
            assert!(error.contains(flag), "{error}");
        }
    }
}
