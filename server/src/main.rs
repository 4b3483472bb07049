//! The `tickloom` binary: command line, files, logs, signals, exit code.
//!
//! Exit codes: 0 all is well, 1 something failed (an address in use, a doctor's cross, a replay that
//! went astray), 2 what was asked for makes no sense, which starting again will not change.

use std::io::{ErrorKind, IsTerminal, Write, stderr, stdout};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io, thread};

use annotate_snippets::Renderer;
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tickloom_protocol::SUBPROTOCOL;
use tickloom_server::config::args::Flags;
use tickloom_server::config::layers::{Asked, Layers};
use tickloom_server::config::log::{LogFormat, LogLevel};
use tickloom_server::config::pages::{default_page, effective_page};
use tickloom_server::config::problem::{Problem, Problems, Source};
use tickloom_server::config::settings::{Settings, VARIABLE_PREFIX};
use tickloom_server::config::{Config, Machine};
use tickloom_server::doctor::{Facts, Verdict, judge, render};
use tickloom_server::rooms::built_in_types;
use tickloom_server::runtime::{self, Stopper};
use tickloom_server::tls::certificate::CertificateError;
use tickloom_server::tls::identity::{Identity, TlsError, TlsSource};
use tracing::level_filters::LevelFilter;

mod codegen_command;
mod replay_command;

use codegen_command::Language;
use replay_command::Wish;

/// The file that is read when it is there and no other is named.
const FILE: &str = "tickloom.toml";

/// Exit code for what was asked for and makes no sense.
const USAGE: u8 = 2;

/// A realtime room server for multiplayer games and collaboration.
#[derive(Parser)]
#[command(name = "tickloom", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Serve rooms (what happens without a subcommand)
    Serve(ServeArgs),
    /// Check a configuration, together with the environment, and exit
    CheckConfig {
        /// The file; `tickloom.toml` in the working folder if there is one
        file: Option<PathBuf>,
    },
    /// Print configuration: every default, or what holds here and why
    Config {
        #[command(subcommand)]
        page: Page,
    },
    /// Look whether this machine and the configuration go together
    Doctor {
        #[command(flatten)]
        flags: Flags,
    },
    /// Make happen again what a recording of a room says, and check that it comes to the same
    Replay {
        /// The recording, from the folder `room.recordings_dir`
        file: PathBuf,
        /// The last tick to replay; all of them without
        #[arg(long, value_name = "TICK")]
        until: Option<u32>,
        /// Print everything that the room holds at the end
        #[arg(long)]
        dump: bool,
        /// The configuration that described the room; `tickloom.toml` in the working folder if
        /// there is one
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Write the room types as types of another language
    Codegen {
        #[command(subcommand)]
        language: Language,
    },
    /// Print the version
    Version {
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
enum Page {
    /// Every key with its default, its unit and what it costs, as a configuration file
    Default,
    /// Every key with its value and where that comes from
    Effective {
        #[command(flatten)]
        flags: Flags,
    },
}

#[derive(Args)]
struct ServeArgs {
    #[command(flatten)]
    flags: Flags,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(ServeArgs { flags, check: true }) => check(flags),
        Command::Serve(ServeArgs { flags, check: false }) => serve(flags),
        Command::CheckConfig { file } => check(Flags { config: file, keys: Vec::new() }),
        Command::Config { page: Page::Default } => print(&default_page()),
        Command::Config { page: Page::Effective { flags } } => {
            let asked = ask(flags);
            match resolve(&asked) {
                Ok(config) => print(&effective_page(&asked, &config)),
                Err(problems) => refuse(&problems),
            }
        }
        Command::Doctor { flags } => doctor(flags),
        Command::Replay { file, until, dump, config } => {
            replay(&Wish { file: &file, until, dump }, config)
        }
        Command::Codegen { language: Language::Ts(wish) } => codegen(&wish),
        Command::Version { json } => print(&version(json)),
    }
}

fn serve(flags: Flags) -> ExitCode {
    let asked = ask(flags);
    let config = match resolve(&asked) {
        Ok(config) => config,
        Err(problems) => return refuse(&problems),
    };
    let format = start_logs(&asked.settings);
    match run(&config, format) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let problem = match error.downcast_ref::<CannotListen>() {
                Some(cannot_listen) => cannot_listen.problem(),
                None => Problem::new(format!("{error:#}")),
            };
            eprintln!("{}", problem.render(None, &renderer()));
            ExitCode::FAILURE
        }
    }
}

fn check(flags: Flags) -> ExitCode {
    let asked = ask(flags);
    match resolve(&asked) {
        Ok(_) => {
            let name = asked.file.as_ref().map_or("the configuration", |file| &file.name);
            print(&format!("{name} is fine\n"))
        }
        Err(problems) => refuse(&problems),
    }
}

fn doctor(flags: Flags) -> ExitCode {
    let asked = ask(flags);
    let problems = resolve(&asked).err();
    let facts = Facts::look(Path::new("/"), asked.settings.server.listen.value, problems.is_some());
    let findings = judge(&facts, &asked.settings.server);
    print(&render(&findings));
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn replay(wish: &Wish<'_>, config: Option<PathBuf>) -> ExitCode {
    with_rooms(config, |asked| replay_command::replay(wish, asked))
}

fn codegen(wish: &codegen_command::Wish) -> ExitCode {
    with_rooms(wish.config.clone(), |asked| codegen_command::typescript_of(wish, asked))
}

/// Does something with the room types that a configuration makes.
fn with_rooms(
    config: Option<PathBuf>,
    act: impl FnOnce(&Asked) -> Result<ExitCode, Problem>,
) -> ExitCode {
    let asked = ask(Flags { config, keys: Vec::new() });
    // Cores and certificates are another machine's; what is wrong with rooms matters here, too.
    if let Some(problems) = Problems::found(asked.problems.clone(), asked.file.clone()) {
        return refuse(&problems);
    }
    act(&asked).unwrap_or_else(|problem| {
        eprintln!("{}", problem.render(None, &renderer()));
        ExitCode::from(USAGE)
    })
}

fn version(json: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if !json {
        return format!("tickloom {version}\n");
    }
    let object = serde_json::json!({
        "name": "tickloom",
        "version": version,
        "subprotocol": SUBPROTOCOL,
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
        "os": env::consts::OS,
        "arch": env::consts::ARCH,
    });
    format!("{object}\n")
}

/// Reads every layer.
fn ask(flags: Flags) -> Asked {
    let (file, problem) = match read_file(flags.config.as_deref()) {
        Ok(file) => (file, None),
        Err(problem) => (None, Some(problem)),
    };
    let variables = env::vars_os().filter_map(|(name, value)| {
        let name = name.to_string_lossy().into_owned();
        name.starts_with(VARIABLE_PREFIX).then(|| (name, value.to_string_lossy().into_owned()))
    });
    let mut environment: Vec<_> = variables.collect();
    // The order of the environment is an accident; problems are told in the same one each time.
    environment.sort();
    let mut asked = Layers { file, environment, flags: flags.keys }.merge();
    asked.problems.extend(problem);
    asked
}

/// The file that was named, or the usual one if it is there.
fn read_file(named: Option<&Path>) -> Result<Option<Source>, Problem> {
    let path = named.unwrap_or(Path::new(FILE));
    let name = path.display().to_string();
    let unreadable = |why: &dyn std::fmt::Display| {
        Problem::new(format!("cannot read the configuration file `{name}`: {why}"))
    };
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    Ok(Some(Source { name, text }))
}

fn resolve(asked: &Asked) -> Result<Config, Problems> {
    let config = Config::resolve(asked, &Machine::this(), fastrand::u64(..))?;
    let problem = Identity::of(&config.tls, config.listen).err().map(|error| tls_problem(&error));
    match Problems::found(problem.into_iter().collect(), asked.file.clone()) {
        Some(problems) => Err(problems),
        None => Ok(config),
    }
}

fn tls_problem(error: &TlsError) -> Problem {
    let problem = Problem::new(error.to_string());
    match error {
        TlsError::Certificate(CertificateError::Unreadable { .. }) => problem.help(
            "`tls.cert` and `tls.key` are files that this process may read; for a developer's \
             machine there is --dev-cert",
        ),
        TlsError::Certificate(CertificateError::NoKey(_)) => problem.help(
            "`tls.key` begins with `-----BEGIN PRIVATE KEY-----`, or EC or RSA before PRIVATE; \
             `openssl pkey -in FILE -out PLAIN` takes the encryption off",
        ),
        TlsError::Certificate(CertificateError::Mismatch(_)) => {
            problem.help("the server's own certificate stands first in `tls.cert`")
        }
        TlsError::Certificate(_) | TlsError::Tickets(_) => problem,
    }
}

fn refuse(problems: &Problems) -> ExitCode {
    eprintln!("{}", problems.render(&renderer()));
    ExitCode::from(USAGE)
}

fn renderer() -> Renderer {
    let colours = stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    if colours { Renderer::styled() } else { Renderer::plain() }
}

fn print(text: &str) -> ExitCode {
    // Whoever reads may stop reading, as `head` does: that is no failure of ours.
    let _ = stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Why nobody can connect.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
struct CannotListen {
    address: SocketAddr,
    error: io::Error,
}

impl CannotListen {
    fn problem(&self) -> Problem {
        let Self { address, error } = self;
        match error.kind() {
            ErrorKind::AddrInUse => Problem::new(format!("address {address} is in use")).help(
                "stop the program that listens there, or take a free port: \
                 --listen 127.0.0.1:0",
            ),
            ErrorKind::AddrNotAvailable => Problem::new(format!("cannot listen on {address}"))
                .note("this machine has no such address")
                .help("0.0.0.0 and [::] are all addresses it has"),
            ErrorKind::PermissionDenied => Problem::new(format!("cannot listen on {address}"))
                .note("this process may not; ports below 1024 need CAP_NET_BIND_SERVICE")
                .help("take a port above, such as --listen 127.0.0.1:7420"),
            _ => Problem::new(self.to_string()),
        }
    }
}

fn run(config: &Config, format: LogFormat) -> anyhow::Result<()> {
    // Before any shard is pinned: this thread and its children keep the whole mask.
    let mut watched = vec![SIGINT, SIGTERM];
    if matches!(config.tls, TlsSource::Files(_)) {
        watched.push(SIGHUP);
    }
    let signals = Signals::new(watched).context("cannot watch signals")?;
    let room_types = built_in_types(config);
    let server = runtime::serve(config, &room_types)
        .map_err(|error| CannotListen { address: config.listen, error })?;
    let (address, identity) = (server.address(), server.identity().cloned());
    let scheme = if identity.is_some() { "wss" } else { "ws" };
    tracing::info!(
        event = "listening",
        %address,
        url = %format!("{scheme}://{address}/ws"),
        cores = ?config.cores,
        tick_rate_hz = config.tick_rate_hz,
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    // Somebody reads this, and has nothing else to do yet.
    if config.http.has_pages && format == LogFormat::Text {
        let url = page_address(address, identity.is_some());
        tracing::info!(event = "pages", %url, "open this in a browser");
    }
    if let Some(identity) = &identity {
        let sha256 = identity.fingerprint();
        tracing::info!(event = "tls.certificate", sha256, "this certificate is shown");
    }
    let stopper = server.stopper();
    thread::spawn(move || obey_signals(signals, &stopper, identity.as_ref()));
    let reports = server.join()?;
    let ticks: u64 = reports.iter().map(|report| report.metrics.ticks).sum();
    let sessions: u64 = reports.iter().map(|report| report.metrics.upgrades).sum();
    let closed: u64 = reports.iter().map(|report| report.metrics.stopped_in_order).sum();
    let cut: u64 = reports.iter().map(|report| report.metrics.stopped_cut).sum();
    tracing::info!(event = "stopped", ticks, sessions, closed, cut, "bye");
    Ok(())
}

/// Where a browser of this machine finds the pages.
fn page_address(address: SocketAddr, is_encrypted: bool) -> String {
    let scheme = if is_encrypted { "https" } else { "http" };
    // All addresses are none that a browser could open.
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}/", SocketAddr::new(host, address.port()))
}

/// The first SIGINT or SIGTERM stops the server, the second ends the process. SIGHUP has the
/// certificate read again.
fn obey_signals(mut signals: Signals, stopper: &Stopper, identity: Option<&Identity>) {
    let mut is_stopping = false;
    for signal in signals.forever() {
        match (signal, identity) {
            (SIGHUP, Some(identity)) => reload(identity),
            _ if is_stopping => std::process::exit(128 + signal),
            _ => {
                let message = "closing connections; again to exit now";
                tracing::info!(event = "stopping", signal, message);
                stopper.stop();
                is_stopping = true;
            }
        }
    }
}

fn reload(identity: &Identity) {
    match identity.reload() {
        Ok(()) => {
            let sha256 = identity.fingerprint();
            tracing::info!(event = "tls.reloaded", sha256, "new connections get this certificate");
        }
        Err(error) => {
            let message = "the certificate before stays";
            tracing::error!(event = "tls.not_reloaded", %error, message);
        }
    }
}

/// Starts to write logs; says whether as text or as JSON.
fn start_logs(settings: &Settings) -> LogFormat {
    let format = match settings.log.format.value {
        LogFormat::Auto if stdout().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    };
    let level = match settings.log.level.value {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_target(false).with_max_level(level);
    if format == LogFormat::Json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(stdout().is_terminal()).init();
    }
    format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_an_address_it_can_open() {
        for (address, is_encrypted, expected) in [
            ("127.0.0.1:7420", false, "http://127.0.0.1:7420/"),
            ("0.0.0.0:80", false, "http://127.0.0.1:80/"),
            ("[::]:7420", true, "https://[::1]:7420/"),
            ("192.0.2.7:7420", true, "https://192.0.2.7:7420/"),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(page_address(address, is_encrypted), expected, "{address}");
        }
    }
}
