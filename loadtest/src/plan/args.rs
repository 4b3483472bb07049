//! What was typed. Each doc comment is the flag's help.

use std::fs;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::units::{
    List, parse_addresses, parse_churn, parse_cores, parse_count, parse_duration, parse_rate,
    parse_share, parse_slow_readers, parse_url,
};
use super::{Churn, Interruptions, PlanError, Scheme, Storm, Target, Url};
use crate::attack::AttackKind;
use crate::scenario::bots::SlowReaders;
use crate::scenario::{self, Scenario, hint};
use crate::threshold::Threshold;
use crate::tls::Trust;
use crate::workload::recorded::Script;

/// Drives a Tickloom server with many clients and says how old their state is.
///
/// Without a subcommand, `run` is meant: a server is started on a free port, 1,000 bots play in
/// arena rooms of 20, the report is printed and the server is stopped.
#[derive(Parser, Debug)]
#[command(
    name = "loadtest",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Exit codes: 0 passed, 1 internal error or a doctor's finding, 2 usage, 97 target \
                  unreachable, 98 the run is INVALID or too noisy to decide a threshold, 99 the \
                  server failed a check or a threshold, 130 interrupted"
)]
pub struct Args {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) run: RunArgs,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Drive one scenario at a fixed load and report.
    Run(RunArgs),
    /// Send messages to any WebSocket server that echoes or broadcasts them, and check them.
    Echo(EchoArgs),
    /// Hold connections of a server without using them, or flood it with new ones, and say how long
    /// it puts up with that. Run it beside `run`, against a server of your own.
    Attack(AttackArgs),
    /// Compare two JSON reports: every figure, and whether the second run was slower.
    Compare(CompareArgs),
    /// List the scenarios that are built in, or print one as a file to edit and give to --scenario.
    Scenarios(ScenariosArgs),
    /// Look at this machine: what limits a load test here, and what to do about it.
    Doctor,
    /// One process's share of a run; the parent speaks to it over its standard streams.
    #[command(hide = true)]
    Worker,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct RunArgs {
    /// Server to drive, as ws://HOST:PORT/ws or wss://HOST:PORT/ws; without it a server is started for the run.
    #[arg(short, long, value_name = "URL", value_parser = parse_url)]
    pub(super) url: Option<Url>,
    /// What the clients do: arena, world, state, chat, danmaku, quotes, idle, lobby, or a file that
    /// says it (see `loadtest scenarios`).
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "arena", value_parser = parse_scenario)]
    pub(super) scenario: Scenario,
    /// A recording that a server kept of a room (its `room.recordings_dir`): the clients do what its
    /// players did, when they did it. Clients beyond the recorded ones begin somewhere else in it,
    /// and all begin again when it is over.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "input_rate"], value_parser = parse_recording)]
    pub(super) recording: Option<Script>,
    /// Clients to connect [default: 1k]; each takes a socket and, with its replica of a room of
    /// 20, 17 KiB.
    #[arg(short = 'n', long, value_name = "COUNT", value_parser = parse_count)]
    pub(super) clients: Option<NonZeroU32>,
    /// Rooms to spread the clients over, instead of --room-size.
    #[arg(short, long, value_name = "COUNT", conflicts_with = "room_size", value_parser = parse_count)]
    pub(super) rooms: Option<NonZeroU32>,
    /// Clients in each room [default: the scenario's; of an arena 20].
    #[arg(long, value_name = "COUNT", value_parser = parse_count)]
    pub(super) room_size: Option<NonZeroU32>,
    /// What clients send per second [default: the scenario's; of an arena 20/s]; 0 makes
    /// spectators.
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) input_rate: Option<u32>,
    /// Clients that read slowly, such as 1%@4KB/s: that share of them, each reading so much.
    #[arg(long, value_name = "SHARE@RATE", value_parser = parse_slow_readers)]
    pub(super) slow_readers: Option<SlowReaders>,
    /// Clients that leave and are replaced while it is measured, such as 500/s or 1%/s.
    #[arg(long, value_name = "RATE", value_parser = parse_churn)]
    pub(super) churn: Option<Churn>,
    #[command(flatten)]
    pub(super) interruptions: InterruptionArgs,
    /// Ticks per second of the server that is started [default: 20/s].
    #[arg(long, value_name = "RATE", conflicts_with = "url", value_parser = parse_rate)]
    pub(super) tick_rate: Option<u32>,
    #[command(flatten)]
    pub(super) course: CourseArgs,
    #[command(flatten)]
    pub(super) generator: GeneratorArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Clients that do not hear their rooms for a while.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct InterruptionArgs {
    /// Connections that are cut while it is measured, such as 50/s or 1%/s: without a word or by a
    /// reset. Their clients come back within half a second and resume.
    #[arg(long, value_name = "RATE", value_parser = parse_churn)]
    pub(super) drop_rate: Option<Churn>,
    /// Every so often ALL connections are cut at once, and everybody comes back within half a second
    /// and resumes, such as 10s: a deployment of a proxy, a network that fails over. Each round is
    /// reported by itself. Without --duration there are ten.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["drop_rate", "patience", "hidden", "churn", "slow_readers"], value_parser = parse_duration)]
    pub(super) storm: Option<Duration>,
    /// How long nothing may come over a connection before its client gives it up, comes back over
    /// another one and resumes; without it never.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) patience: Option<Duration>,
    /// Clients that nobody sees for three seconds of every six, as a page in the background: they
    /// say so, read on, and must be sent no state until they are seen again.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub(super) hidden: Option<u64>,
}

impl From<InterruptionArgs> for Interruptions {
    fn from(args: InterruptionArgs) -> Self {
        let InterruptionArgs { drop_rate, storm, patience, hidden } = args;
        let storm = storm.map(|every| Storm { every });
        Self { drops: drop_rate, storm, patience, hidden_ppm: hidden.unwrap_or(0) }
    }
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct EchoArgs {
    /// Server to drive, as ws://HOST:PORT/PATH; without it a Tickloom server with its echo
    /// endpoint is started for the run.
    #[arg(short, long, value_name = "URL", value_parser = parse_url)]
    pub(super) url: Option<Url>,
    /// Clients to connect.
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "256", value_parser = parse_count)]
    pub(super) clients: NonZeroU32,
    /// Bytes of each message; at least 16, as text 32: who sent it, its number and the moment.
    #[arg(long, value_name = "BYTES", default_value = "64", value_parser = parse_count)]
    pub(super) payload: NonZeroU32,
    /// Messages of each client on their way at once: the next is sent when one comes back.
    #[arg(long, value_name = "COUNT", default_value = "1", conflicts_with_all = ["rate", "broadcast"], value_parser = parse_count)]
    pub(super) in_flight: NonZeroU32,
    /// Messages per second of all senders together, sent when they are due whatever comes back.
    /// Times count from the intended moment [default with --broadcast: 10 for each sender].
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    pub(super) rate: Option<u32>,
    /// Send text messages.
    #[arg(long, conflicts_with = "binary")]
    pub(super) text: bool,
    /// Send binary messages (the default).
    #[arg(long)]
    pub(super) binary: bool,
    /// The server sends each message to every connection: count deliveries and their latency.
    #[arg(long)]
    pub(super) broadcast: bool,
    /// Clients that send, with --broadcast; the others only listen.
    #[arg(long, value_name = "COUNT", default_value = "1", requires = "broadcast", value_parser = parse_count)]
    pub(super) senders: NonZeroU32,
    /// Subprotocol to offer, for servers that insist on one.
    #[arg(long, value_name = "NAME", value_parser = parse_token)]
    pub(super) subprotocol: Option<String>,
    /// Command that starts the server at --url; it is stopped after the run.
    #[arg(long, value_name = "COMMAND", requires = "url", conflicts_with = "server_pid")]
    pub(super) spawn: Option<String>,
    #[command(flatten)]
    pub(super) course: CourseArgs,
    #[command(flatten)]
    pub(super) generator: GeneratorArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// How a run goes, whatever it drives.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct CourseArgs {
    /// How long to measure [default: 10s].
    #[arg(short, long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) duration: Option<Duration>,
    /// How long to play unmeasured once everybody has joined.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    pub(super) warmup: Duration,
    /// Connections to open per second.
    #[arg(long, value_name = "RATE", default_value = "2k/s", value_parser = parse_rate)]
    pub(super) connect_rate: u32,
    /// Offer to inflate what the server sends (permessage-deflate), as browsers do. What clients
    /// send stays plain. Each client keeps a window of 47 KiB then.
    #[arg(long)]
    pub(super) deflate: bool,
    /// Seed of everything the clients do.
    #[arg(long, value_name = "NUMBER", default_value_t = 42)]
    pub(super) seed: u64,
}

/// What the generator may use, and what is known of the server's process.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct GeneratorArgs {
    /// Generator threads of each process, each pinned to a core of its own; the server gets the
    /// other cores.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(super) threads: usize,
    /// Generator processes. Each may open as many files as the limit says.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    pub(super) processes: usize,
    /// Cores of the generator, such as 1 or 2-3; threads take them in turn.
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub(super) cores: Option<List<usize>>,
    /// Cores of the server that is started; those the generator leaves by default.
    #[arg(long, value_name = "LIST", value_parser = parse_cores)]
    pub(super) server_cores: Option<List<usize>>,
    /// Process of the server at --url, for its CPU and memory; repeatable.
    #[arg(long, value_name = "PID", requires = "url")]
    pub(super) server_pid: Vec<u32>,
    /// Addresses to connect from, taken in turn: 127.0.0.2-9 or a list. Each has some 28,000
    /// ports.
    #[arg(long, value_name = "LIST", value_parser = parse_addresses)]
    pub(super) local_addr: Option<List<IpAddr>>,
    #[command(flatten)]
    pub(super) tls: TlsArgs,
}

/// How connections are encrypted.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct TlsArgs {
    /// Start the server with a certificate that it makes, and connect to it by wss.
    #[arg(long, conflicts_with_all = ["url", "ca"])]
    pub(super) tls: bool,
    /// Believe any certificate, such as that of `tickloom --dev-cert`.
    #[arg(long, requires = "url", conflicts_with = "ca")]
    pub(super) insecure: bool,
    /// Believe the certificates that those in this PEM file vouch for, instead of those that this
    /// machine trusts.
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(super) ca: Option<PathBuf>,
}

impl TlsArgs {
    /// How a server that is started is spoken to.
    pub(super) fn spawned(&self) -> Scheme {
        if self.tls { Scheme::Wss } else { Scheme::Ws }
    }

    /// Whose certificates are believed.
    pub(super) fn trust(self, target: &Target) -> Result<Trust, PlanError> {
        let scheme = match target {
            Target::Url(url) | Target::Command { url, .. } => url.scheme,
            // It is ours, and its certificate is as old as it is.
            Target::Spawn { .. } => return Ok(Trust::Anybody),
        };
        match (scheme, self.insecure, self.ca) {
            (Scheme::Ws, true, _) => Err(PlanError::NothingToTrust("--insecure")),
            (Scheme::Ws, false, Some(_)) => Err(PlanError::NothingToTrust("--ca")),
            (_, true, _) => Ok(Trust::Anybody),
            (_, false, Some(file)) => Ok(Trust::File(file)),
            (_, false, None) => Ok(Trust::Machine),
        }
    }
}

/// What becomes of the numbers.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct OutputArgs {
    /// What must hold, such as 'state_age.p99<80ms' or 'reach>=99.99%'; repeatable.
    #[arg(long, value_name = "CHECK", value_parser = Threshold::parse)]
    pub(super) threshold: Vec<Threshold>,
    /// Also write the report to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Print a line a second even when stderr is not a terminal.
    #[arg(long)]
    pub(super) progress: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct AttackArgs {
    /// How: silent says nothing, slow-head and slow-body drip a byte per second, unfinished leaves
    /// out the last byte of the largest message, flood comes and goes, handshakes does so with TLS.
    #[arg(value_enum)]
    pub(super) kind: AttackKind,
    /// Server to attack, as ws://HOST:PORT/ws; for handshakes wss://HOST:PORT/ws, whose
    /// certificate nobody looks at.
    #[arg(short, long, value_name = "URL", value_parser = parse_url)]
    pub(super) url: Url,
    /// Connections at the same time; one that ends is replaced.
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "500", value_parser = parse_count)]
    pub(super) connections: NonZeroU32,
    /// Connections to open per second.
    #[arg(long, value_name = "RATE", default_value = "1k/s", value_parser = parse_rate)]
    pub(super) connect_rate: u32,
    /// How long to attack.
    #[arg(short, long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    pub(super) duration: Duration,
    /// Exit with 99 when a connection lives longer than this.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) lifetime_max: Option<Duration>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ScenariosArgs {
    /// The one to print.
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct CompareArgs {
    /// The report to compare with, as written by --json.
    #[arg(value_name = "A.json")]
    pub(super) before: PathBuf,
    /// The report in question.
    #[arg(value_name = "B.json")]
    pub(super) after: PathBuf,
    /// Exit with 99 when the second run is slower by more than this.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub(super) max_regress: Option<u64>,
}

/// A scenario that is built in, or one in a file.
fn parse_scenario(text: &str) -> Result<Scenario, String> {
    if let Some(scenario) = Scenario::built_in(text) {
        return Ok(scenario);
    }
    let is_path = text.ends_with(".toml") || text.contains(std::path::MAIN_SEPARATOR);
    if !is_path {
        let known = scenario::BUILT_IN.iter().map(|(name, _)| *name);
        return Err(format!("{}; or give a file whose name ends with .toml", hint(text, known)));
    }
    let text = fs::read_to_string(text).map_err(|error| error.to_string())?;
    Scenario::parse(&text).map_err(|error| error.to_string())
}

/// What the players of a recording did.
fn parse_recording(path: &str) -> Result<Script, String> {
    let file = fs::read(path).map_err(|error| error.to_string())?;
    Script::parse(&file).map_err(|error| error.to_string())
}

/// A token of RFC 9110: what a subprotocol's name may be made of.
fn parse_token(text: &str) -> Result<String, String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.is_empty() || !text.chars().all(is_token) {
        return Err("expected a name without spaces, commas or quotes".to_owned());
    }
    Ok(text.to_owned())
}
