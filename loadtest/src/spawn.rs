//! The server under test as a child process: found, built when that is possible, started on
//! cores of its own, watched, and stopped.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "processes are waited for in real time, and knocked at"
)]

use std::collections::VecDeque;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::plan::Scheme;

/// The server's binary.
const BINARY: &str = "tickloom";

/// How long a server may take to say where it listens.
const LISTENING_WITHIN: Duration = Duration::from_secs(10);

/// How long a server may take to stop when asked to.
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// How long a room of a lobby is kept when nobody is in it: shorter than a server's default, so
/// that rooms end while others are made, and a run need not wait long for the last ones.
const LOBBY_LINGER: &str = "2s";

/// Lines of the server's log that are kept for error messages.
const LOG_LINES_MAX: usize = 50;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No binary.
    #[error(
        "there is no `{BINARY}` to start; looked for {}, then in the folders of PATH\n  build it \
         with `cargo build --release -p tickloom-server`, or drive a running server with --url \
         ws://HOST:PORT/ws",
        .0.display()
    )]
    NotFound(PathBuf),
    /// The build failed; cargo said why.
    #[error("the server does not build ({0}); cargo's messages are above")]
    Build(String),
    /// The operating system refused.
    #[error("cannot start {program}: {error}")]
    Start {
        /// What was to be started.
        program: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody else is there already.
    #[error(
        "{0} takes connections before the server is started; leave --spawn out to drive the one \
         that runs there, or give another --url"
    )]
    Taken(String),
    /// It ended instead of listening.
    #[error("the server ended before it listened ({status}); its last words:\n{log}")]
    Ended {
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// It did not say that it listens.
    #[error("the server did not say that it listens within 10 s; its last words:\n{log}")]
    Silent {
        /// The end of its log.
        log: String,
    },
}

/// What a Tickloom server is started for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// Its rooms.
    Rooms {
        /// The rate they tick at.
        tick_rate_hz: u32,
    },
    /// Its rooms, which are to end soon after those who were in them have left.
    Lobby,
    /// Its echo.
    Echo,
}

impl Endpoint {
    /// The path to upgrade.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Rooms { .. } | Self::Lobby => "/ws",
            Self::Echo => "/echo",
        }
    }
}

/// A running server. Dropping it kills the process.
pub struct Server {
    child: Child,
    address: String,
    lines: mpsc::Receiver<String>,
    log: VecDeque<String>,
    stopped: bool,
}

impl Server {
    /// Builds the Tickloom server when run through cargo, finds it, starts it on `cores`, and
    /// waits until it listens.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start(cores: &[usize], endpoint: Endpoint, scheme: Scheme) -> Result<Self, SpawnError> {
        let program = find()?;
        let cores = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        // What is measured must not depend on the folder and the environment of who measures.
        command.args(["--config", "/dev/null"]);
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"TICKLOOM_") {
                command.env_remove(name);
            }
        }
        match endpoint {
            Endpoint::Rooms { tick_rate_hz } => {
                command.args(["--tick-rate", &tick_rate_hz.to_string()]);
            }
            Endpoint::Lobby => {
                command.env("TICKLOOM_ROOM_LINGER", LOBBY_LINGER);
            }
            Endpoint::Echo => {
                command.arg("--enable-echo");
            }
        }
        if scheme.is_encrypted() {
            command.arg("--dev-cert");
        }
        if !cores.is_empty() {
            command.args(["--cores", &cores]);
        }
        let child = spawn(&mut command);
        let mut server =
            Self::of(child.map_err(|error| SpawnError::Start { program, error })?, String::new());
        server.address = server.wait_until_listening()?;
        Ok(server)
    }

    /// Starts any server by a command of the shell, on `cores`, and waits until `address` takes
    /// connections.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start_command(words: &str, cores: &[usize], address: &str) -> Result<Self, SpawnError> {
        if TcpStream::connect(address).is_ok() {
            return Err(SpawnError::Taken(address.to_owned()));
        }
        let mut command = Command::new("sh");
        // Replaced by what it starts, so that the process we look at is the server's own.
        command.arg("-c").arg(format!("exec {words}"));
        let child = on_cores(cores, move || spawn(&mut command));
        let mut server = Self::of(
            child.map_err(|error| SpawnError::Start { program: words.into(), error })?,
            address.to_owned(),
        );
        server.wait_until_connectable()?;
        Ok(server)
    }

    fn of(mut child: Child, address: String) -> Self {
        let lines = follow(child.stdout.take().expect("stdout is piped"));
        Self { child, address, lines, log: VecDeque::new(), stopped: false }
    }

    /// `HOST:PORT` it listens on.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended with the end of its log, when it did so by itself.
    pub fn poll_death(&mut self) -> Option<String> {
        while let Ok(line) = self.lines.try_recv() {
            self.keep(line);
        }
        let status = self.child.try_wait().ok().flatten()?;
        self.stopped = true;
        Some(format!("{status}; its last words:\n{}", self.last_words()))
    }

    /// Asks it to stop and waits; kills it when that takes too long. Returns how it ended.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Fails only when it ended meanwhile, which the wait below notices.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                self.stopped = true;
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        self.stopped = true;
        self.child.wait()
    }

    fn wait_until_listening(&mut self) -> Result<String, SpawnError> {
        let deadline = Instant::now() + LISTENING_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let address = listening_address(&line);
                    self.keep(line);
                    if let Some(address) = address {
                        return Ok(address);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    return Err(SpawnError::Silent { log: self.last_words() });
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let status =
                        self.child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                    self.stopped = true;
                    return Err(SpawnError::Ended { status, log: self.last_words() });
                }
            }
        }
    }

    /// A server we know nothing about listens when somebody can connect.
    fn wait_until_connectable(&mut self) -> Result<(), SpawnError> {
        let deadline = Instant::now() + LISTENING_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().ok().flatten() {
                self.stopped = true;
                // Its last lines may still be on their way through the pipe.
                while let Ok(line) = self.lines.recv_timeout(Duration::from_millis(100)) {
                    self.keep(line);
                }
                let status = status.to_string();
                return Err(SpawnError::Ended { status, log: self.last_words() });
            }
            if TcpStream::connect(&self.address).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        while let Ok(line) = self.lines.try_recv() {
            self.keep(line);
        }
        Err(SpawnError::Silent { log: self.last_words() })
    }

    fn keep(&mut self, line: String) {
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    fn last_words(&self) -> String {
        if self.log.is_empty() {
            return "  (none)".to_owned();
        }
        self.log.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.stopped {
            // Nothing is left to tell anybody when even this fails.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn spawn(command: &mut Command) -> io::Result<Child> {
    // Its own process group: Ctrl-C reaches us alone, and the server is stopped in order.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
}

/// Runs `spawn` on a thread bound to `cores`: a child inherits where its parent may run.
fn on_cores(
    cores: &[usize],
    spawn: impl FnOnce() -> io::Result<Child> + Send,
) -> io::Result<Child> {
    if cores.is_empty() {
        return spawn();
    }
    let mut set = CpuSet::new();
    cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
    thread::scope(|scope| {
        let bound = scope.spawn(move || {
            sched_setaffinity(None, &set)?;
            spawn()
        });
        bound.join().unwrap_or_else(|_| Err(io::Error::other("the spawning thread panicked")))
    })
}

/// Reads lines until the process ends, so that its pipe never fills up.
fn follow(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The address in a log line that says `listening`.
fn listening_address(line: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(line).ok()?;
    let field = |name: &str| record.get(name).or_else(|| record.get("fields")?.get(name))?.as_str();
    let is_listening = [field("event"), field("message")].contains(&Some("listening"));
    if is_listening { field("address").map(str::to_owned) } else { None }
}

fn find() -> Result<PathBuf, SpawnError> {
    let own =
        env::current_exe().map_err(|error| SpawnError::Start { program: BINARY.into(), error })?;
    let folder = own.parent().unwrap_or(Path::new("."));
    if let (Some(cargo), Some(manifest)) = (env::var_os("CARGO"), env::var_os("CARGO_MANIFEST_DIR"))
    {
        build(Path::new(&cargo), Path::new(&manifest), folder)?;
    }
    let beside = folder.join(BINARY);
    if beside.is_file() {
        return Ok(beside);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(BINARY));
    candidates.find(|candidate| candidate.is_file()).ok_or(SpawnError::NotFound(beside))
}

/// Has cargo bring the server up to date, in the profile and target folder we came from.
fn build(cargo: &Path, manifest_dir: &Path, folder: &Path) -> Result<(), SpawnError> {
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "tickloom-server", "--bin", BINARY]);
    command.arg("--manifest-path").arg(manifest_dir.join("Cargo.toml"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    if let Some(target_dir) = folder.parent() {
        command.arg("--target-dir").arg(target_dir);
    }
    let status = command.stdin(Stdio::null()).status();
    let status = status.map_err(|error| SpawnError::Start { program: cargo.into(), error })?;
    if status.success() { Ok(()) } else { Err(SpawnError::Build(status.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_either_shape_of_log() {
        let here = Some("127.0.0.1:4".to_owned());
        for (line, address) in [
            (r#"{"event":"listening","address":"127.0.0.1:4"}"#, here.clone()),
            (r#"{"fields":{"event":"listening","address":"127.0.0.1:4"}}"#, here.clone()),
            (r#"{"fields":{"message":"listening","address":"127.0.0.1:4"},"x":1}"#, here),
            (r#"{"event":"starting","address":"127.0.0.1:4"}"#, None),
            (r#"{"event":"listening"}"#, None),
            ("listening on 127.0.0.1:4", None),
        ] {
            assert_eq!(listening_address(line), address, "{line}");
        }
    }
}
