//! `loadtest`: argv to plan, plan to driver, driver to report, report to exit code.

use std::env;
use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use signal_hook::consts::{SIGINT, SIGTERM};
use tickloom_loadtest::driver::{self, Interval, Measured, Run, RunError};
use tickloom_loadtest::health::Environment;
use tickloom_loadtest::plan::{Args, Plan, Target, Url};
use tickloom_loadtest::report::{Circumstances, Report, Seconds, table_head, table_line};
use tickloom_loadtest::spawn::{Cores, Server, SpawnError};
use tickloom_loadtest::verdict::Exit;

fn main() -> ExitCode {
    let plan = match Plan::new(Args::parse()) {
        Ok(plan) => plan,
        Err(error) => Args::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let exit = perform(&plan, &interrupted).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        // A build or a start that Ctrl-C cut short is nobody's error.
        let was_interrupted = interrupted.load(Ordering::Relaxed);
        if was_interrupted { Exit::Interrupted } else { exit_of(&error) }
    });
    ExitCode::from(u8::from(exit))
}

fn perform(plan: &Plan, interrupted: &Arc<AtomicBool>) -> Result<Exit> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))
            .context("cannot listen to signals")?;
    }
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build; run with --release for numbers to keep");
    }
    driver::raise_descriptor_limit(plan.clients_count)?;
    let available = driver::available_cores();
    let (report, shown_live) = match &plan.target {
        Target::Url(url) => {
            // On a host with fewer cores than threads the scheduler knows better.
            let cores = Cores::split(&available, plan.threads_count).unwrap_or_default();
            let cores = Cores { server: Vec::new(), shared: false, ..cores };
            drive(plan, url, None, cores, interrupted)?
        }
        Target::Spawn { tick_rate_hz } => {
            let cores = Cores::split(&available, plan.threads_count)?;
            let mut server = Server::start(&cores.server, *tick_rate_hz)?;
            let url = Url::of_server(server.address());
            let outcome = drive(plan, &url, Some(&mut server), cores, interrupted);
            let status = server.stop().context("cannot stop the server")?;
            if !status.success() {
                eprintln!("warning: the server did not stop in order: {status}");
            }
            outcome?
        }
    };
    print!("{}", report.text(if shown_live { Seconds::Left } else { Seconds::Shown }));
    let exit = report.judgement.exit_code;
    if let Some(path) = &plan.json {
        save(&report, path)?;
        println!("  saved         {}", path.display());
    }
    println!("exit {}", u8::from(exit));
    Ok(exit)
}

/// Runs the plan; says whether its seconds were shown while they passed.
fn drive(
    plan: &Plan,
    url: &Url,
    server: Option<&mut Server>,
    cores: Cores,
    interrupted: &AtomicBool,
) -> Result<(Report, bool)> {
    // Before the driver pins this thread, which hides the other cores.
    let environment = Environment::look(env::args().collect::<Vec<_>>().join(" "));
    let live = plan.progress || stderr().is_terminal();
    let mut lines = 0;
    let mut progress = |interval: &Interval| {
        if !live {
            return;
        }
        if lines % 20 == 0 {
            eprintln!("{}", table_head());
        }
        lines += 1;
        eprintln!("{}", table_line(interval));
    };
    let run =
        Run { plan, url, server, cores: &cores.generator, interrupted, progress: &mut progress };
    let measured: Measured = driver::run(run)?;
    let circumstances = Circumstances { plan, url, cores: &cores, environment };
    Ok((Report::new(circumstances, measured), live))
}

fn save(report: &Report, path: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
    fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}

fn exit_of(error: &anyhow::Error) -> Exit {
    match (error.downcast_ref::<RunError>(), error.downcast_ref::<SpawnError>()) {
        (Some(RunError::Unreachable { .. }), _) => Exit::Unreachable,
        (Some(RunError::Descriptors { .. }), _) => Exit::Usage,
        (_, Some(SpawnError::NoCoreLeft { .. })) => Exit::Usage,
        (_, Some(_)) => Exit::Unreachable,
        (Some(RunError::Setup(_)) | None, None) => Exit::Internal,
    }
}
