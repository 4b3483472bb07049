//! The `tickloom` binary: arguments, logs, signals, exit code.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::thread;

use anyhow::Context;
use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tickloom_server::config::{Config, LogFormat, Machine, ServeArgs};
use tickloom_server::room::arena::Arena;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime;

/// A realtime room server for multiplayer games and collaboration.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let args = match cli.command {
        Some(Command::Serve(args)) => args,
        None => cli.serve,
    };
    start_logs(args.log_format);
    let config = match Config::resolve(&args, &Machine::this(), fastrand::u64(..)) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match serve(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> anyhow::Result<()> {
    // Before any shard is pinned: this thread and its children keep the whole mask.
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot watch signals")?;
    let room_types = RoomTypes::default().with(Arena::new(config.tick_rate_hz));
    let server = runtime::serve(config, &room_types).with_context(|| {
        format!("cannot listen on {} (try --listen 127.0.0.1:0)", config.listen)
    })?;
    let address = server.address();
    tracing::info!(
        event = "listening",
        %address,
        url = %format!("ws://{address}/ws"),
        cores = ?config.cores,
        tick_rate_hz = config.tick_rate_hz,
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    let stopper = server.stopper();
    thread::spawn(move || {
        let mut signals = signals.forever();
        if let Some(signal) = signals.next() {
            tracing::info!(event = "stopping", signal, "closing connections; again to exit now");
            stopper.stop();
        }
        if let Some(signal) = signals.next() {
            std::process::exit(128 + signal);
        }
    });
    let reports = server.join()?;
    let ticks: u64 = reports.iter().map(|report| report.metrics.ticks).sum();
    let sessions: u64 = reports.iter().map(|report| report.metrics.upgrades).sum();
    tracing::info!(event = "stopped", ticks, sessions, "bye");
    Ok(())
}

fn start_logs(format: LogFormat) {
    let json = match format {
        LogFormat::Auto => !stdout().is_terminal(),
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let builder = tracing_subscriber::fmt().with_target(false);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(stdout().is_terminal()).init();
    }
}
