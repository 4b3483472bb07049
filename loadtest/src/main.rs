//! `loadtest`: argv to job, job to report, report to exit code.

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
use tickloom_loadtest::attack::Attack;
use tickloom_loadtest::ceilings::{self, Ceilings};
use tickloom_loadtest::compare::{Compared, Recorded};
use tickloom_loadtest::cores::{Cores, CoresAsked, CoresError};
use tickloom_loadtest::doctor::{self, Facts, Mark};
use tickloom_loadtest::driver::{self, Interval, Measured, Run, RunError};
use tickloom_loadtest::environment::Environment;
use tickloom_loadtest::health::ProcessSample;
use tickloom_loadtest::plan::{Args, Comparison, Job, Load, Plan, Target, Url};
use tickloom_loadtest::report::{Circumstances, Report, Seconds, Table};
use tickloom_loadtest::scenario;
use tickloom_loadtest::spawn::{Endpoint, Server, SpawnError};
use tickloom_loadtest::verdict::Exit;
use tickloom_protocol::time::Timestamp;

fn main() -> ExitCode {
    let job = match Job::new(Args::parse()) {
        Ok(job) => job,
        Err(error) => Args::command().error(ErrorKind::ValueValidation, error).exit(),
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let result = match &job {
        Job::Load(plan) => put_load(plan, &interrupted),
        Job::Attack(attack) => put_up(attack, &interrupted),
        Job::Compare(comparison) => compare(comparison),
        Job::Doctor => Ok(examine()),
        Job::Scenarios(name) => show_scenarios(name.as_deref()),
        Job::Worker => {
            driver::serve_worker().context("this worker cannot go on").map(|()| Exit::Passed)
        }
    };
    let exit = result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        // A build or a start that Ctrl-C cut short is nobody's error.
        let was_interrupted = interrupted.load(Ordering::Relaxed);
        if was_interrupted { Exit::Interrupted } else { exit_of(&error) }
    });
    ExitCode::from(u8::from(exit))
}

/// Attacks, and says how long the server put up with it.
fn put_up(attack: &Attack, interrupted: &Arc<AtomicBool>) -> Result<Exit> {
    listen_to_signals(interrupted)?;
    ceilings::raise_files_limit().context("cannot raise the limit of open files")?;
    let findings = driver::attack(attack, interrupted)?;
    print!("{}", findings.text(attack));
    let exit = findings.exit(attack);
    println!("exit {}", u8::from(exit));
    Ok(exit)
}

fn listen_to_signals(interrupted: &Arc<AtomicBool>) -> Result<()> {
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(interrupted))
            .context("cannot listen to signals")?;
    }
    Ok(())
}

/// Prints what two reports have to say to each other.
fn compare(comparison: &Comparison) -> Result<Exit> {
    let read = |path: &Path| {
        let of_file = || format!("cannot compare {}", path.display());
        let text = fs::read_to_string(path).with_context(of_file).context(BadInput)?;
        Recorded::parse(&text).with_context(of_file).context(BadInput)
    };
    let (before, after) = (read(&comparison.before)?, read(&comparison.after)?);
    let compared = Compared::new(&before, &after);
    print!("{}", compared.text(&before, &after));
    let exit = compared.exit(comparison.regress_ppm_max);
    println!("exit {}", u8::from(exit));
    Ok(exit)
}

/// Prints the scenarios that are built in, or one of them as the file it could be.
fn show_scenarios(name: Option<&str>) -> Result<Exit> {
    let Some(name) = name else {
        for (name, text) in scenario::BUILT_IN {
            let purpose = text.lines().next().and_then(|line| line.strip_prefix("# "));
            println!("{name:<10} {}", purpose.unwrap_or_default());
        }
        return Ok(Exit::Passed);
    };
    match scenario::BUILT_IN.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => print!("{text}"),
        None => anyhow::bail!(UnknownScenario(name.to_owned())),
    }
    Ok(Exit::Passed)
}

/// Prints what limits a load test on this machine.
fn examine() -> Exit {
    let findings = doctor::findings(&Facts::look(driver::available_cores()));
    findings.iter().for_each(|finding| println!("{finding}"));
    let is_bad = findings.iter().any(|finding| finding.mark == Mark::Bad);
    if is_bad { Exit::Internal } else { Exit::Passed }
}

fn put_load(plan: &Plan, interrupted: &Arc<AtomicBool>) -> Result<Exit> {
    listen_to_signals(interrupted)?;
    if cfg!(debug_assertions) {
        eprintln!("warning: this is a debug build; run with --release for numbers to keep");
    }
    if let Some(shares) = Ceilings::look().check(plan).map_err(Misfit::Ceiling)? {
        eprintln!("{shares}");
    }
    let is_there = |pid: &u32| ProcessSample::take(*pid, Timestamp::ZERO).is_some();
    if let Some(pid) = plan.server_pids.iter().find(|pid| !is_there(pid)) {
        return Err(Misfit::NoProcess(*pid).into());
    }
    ceilings::raise_files_limit().context("cannot raise the limit of open files")?;
    let (report, shown_live) = perform(plan, interrupted)?;
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
fn perform(plan: &Plan, interrupted: &AtomicBool) -> Result<(Report, bool)> {
    let available = driver::available_cores();
    let asked = CoresAsked {
        generator: plan.cores.as_deref(),
        server: plan.server_cores.as_deref(),
        threads_count: plan.threads_count,
        processes_count: plan.processes_count,
    };
    if let Target::Url(url) = &plan.target {
        let cores = Cores::of_generator(&available, asked).map_err(Misfit::Cores)?;
        return drive(plan, url, None, &cores, interrupted);
    }
    let cores = Cores::split(&available, asked).map_err(Misfit::Cores)?;
    let (mut server, url) = match &plan.target {
        Target::Command { url, command } => {
            (Server::start_command(command, &cores.server, &url.authority)?, url.clone())
        }
        Target::Spawn { tick_rate_hz, scheme } => {
            let endpoint = match &plan.load {
                Load::Rooms(rooms) if rooms.is_lobby() => Endpoint::Lobby,
                Load::Rooms(_) => Endpoint::Rooms { tick_rate_hz: *tick_rate_hz },
                Load::Echo(_) => Endpoint::Echo,
            };
            let server = Server::start(&cores.server, endpoint, *scheme)?;
            let authority = server.address().to_owned();
            (server, Url { scheme: *scheme, authority, path: endpoint.path().to_owned() })
        }
        Target::Url(_) => unreachable!("driven above"),
    };
    let outcome = drive(plan, &url, Some(&mut server), &cores, interrupted);
    let status = server.stop().context("cannot stop the server")?;
    // Others may well end by the signal that asks them to.
    if !status.success() && matches!(plan.target, Target::Spawn { .. }) {
        eprintln!("warning: the server did not stop in order: {status}");
    }
    outcome
}

fn drive(
    plan: &Plan,
    url: &Url,
    server: Option<&mut Server>,
    cores: &Cores,
    interrupted: &AtomicBool,
) -> Result<(Report, bool)> {
    let command_line = env::args().collect::<Vec<_>>().join(" ");
    let environment = Environment::look(command_line, driver::available_cores());
    let live = plan.progress || stderr().is_terminal();
    let mut table = Table::new(plan.load.headline());
    let mut progress = |interval: &Interval| {
        if live {
            table.lines(interval).iter().for_each(|line| eprintln!("{line}"));
        }
    };
    let run =
        Run { plan, url, server, cores: &cores.generator, interrupted, progress: &mut progress };
    let measured: Measured = driver::run(run)?;
    let circumstances = Circumstances { plan, url, cores, environment };
    Ok((Report::new(circumstances, measured), live))
}

fn save(report: &Report, path: &Path) -> Result<()> {
    let json = serde_json::to_string_pretty(report).context("cannot write the report as JSON")?;
    fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))
}

/// What this machine does not have for what was typed.
#[derive(Debug, thiserror::Error)]
enum Misfit {
    #[error(transparent)]
    Ceiling(ceilings::CeilingError),
    #[error(transparent)]
    Cores(CoresError),
    #[error("--server-pid {0}: there is no such process, or it is not to be looked at")]
    NoProcess(u32),
}

/// What was typed names a file that is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("give two files that --json wrote")]
struct BadInput;

/// What was typed names a scenario that is not built in.
#[derive(Debug, thiserror::Error)]
#[error("there is no scenario `{0}`; `loadtest scenarios` lists them")]
struct UnknownScenario(String);

fn exit_of(error: &anyhow::Error) -> Exit {
    if matches!(error.downcast_ref(), Some(RunError::Trust(_))) {
        return Exit::Usage;
    }
    if error.is::<Misfit>() || error.is::<BadInput>() || error.is::<UnknownScenario>() {
        return Exit::Usage;
    }
    if error.is::<SpawnError>()
        || matches!(error.downcast_ref(), Some(RunError::Unreachable { .. }))
    {
        return Exit::Unreachable;
    }
    Exit::Internal
}
