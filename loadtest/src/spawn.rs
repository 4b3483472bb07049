//! The server under test as a child process: found, built when that is possible, started on
//! cores of its own, watched, and stopped.
#![expect(clippy::disallowed_methods, reason = "processes are waited for in real time")]

use std::collections::VecDeque;
use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// The server's binary.
const BINARY: &str = "tickloom";

/// How long a server may take to say where it listens.
const LISTENING_WITHIN: Duration = Duration::from_secs(10);

/// How long a server may take to stop when asked to.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);

/// Lines of the server's log that are kept for error messages.
const LOG_LINES_MAX: usize = 50;

/// Which cores do what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cores {
    /// The server's, when we start it.
    pub server: Vec<usize>,
    /// One for each generator thread; empty when threads are not pinned.
    pub generator: Vec<usize>,
    /// Whether one core does both.
    pub shared: bool,
}

impl Cores {
    /// Gives the last `threads_count` cores to the generator and the rest to the server. A
    /// single core is shared.
    ///
    /// # Errors
    /// The generator would leave no core to the server.
    pub fn split(available: &[usize], threads_count: usize) -> Result<Self, SpawnError> {
        if available.len() < 2 && threads_count == 1 {
            let one = available.to_vec();
            return Ok(Self { server: one.clone(), generator: one, shared: true });
        }
        if threads_count >= available.len() {
            return Err(SpawnError::NoCoreLeft { threads_count, cores_count: available.len() });
        }
        let (server, generator) = available.split_at(available.len() - threads_count);
        Ok(Self { server: server.to_vec(), generator: generator.to_vec(), shared: false })
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// Too many generator threads.
    #[error(
        "--threads {threads_count} leaves no core for the server: this process may use \
         {cores_count}; ask for fewer threads, or start the server elsewhere and give its --url"
    )]
    NoCoreLeft {
        /// What `--threads` said.
        threads_count: usize,
        /// Cores there are.
        cores_count: usize,
    },
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

/// A running server. Dropping it kills the process.
pub struct Server {
    child: Child,
    address: String,
    lines: mpsc::Receiver<String>,
    log: VecDeque<String>,
    stopped: bool,
}

impl Server {
    /// Builds the server when run through cargo, finds it, starts it on `cores`, and waits until
    /// it listens.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub fn start(cores: &[usize], tick_rate_hz: u32) -> Result<Self, SpawnError> {
        let program = find()?;
        let cores = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.args(["--tick-rate", &tick_rate_hz.to_string()]);
        if !cores.is_empty() {
            command.args(["--cores", &cores]);
        }
        // Its own process group: Ctrl-C reaches us alone, and the server is stopped in order.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let start = |error| SpawnError::Start { program: program.clone(), error };
        let mut child = command.spawn().map_err(start)?;
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut server = Self {
            child,
            address: String::new(),
            lines: follow(stdout),
            log: VecDeque::new(),
            stopped: false,
        };
        server.address = server.wait_until_listening()?;
        Ok(server)
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
    fn the_generator_takes_the_last_cores() {
        for (available, threads_count, server, generator, shared) in [
            (&[0, 1][..], 1, vec![0], vec![1], false),
            (&[2, 5, 7, 9], 2, vec![2, 5], vec![7, 9], false),
            (&[3], 1, vec![3], vec![3], true),
            (&[], 1, vec![], vec![], true),
        ] {
            let cores = Cores::split(available, threads_count).expect("enough cores");
            let expected = Cores { server, generator, shared };
            assert_eq!(cores, expected, "{available:?}");
        }
        for (available, threads_count) in [(&[0, 1][..], 2), (&[0][..], 2), (&[][..], 3)] {
            assert!(Cores::split(available, threads_count).is_err(), "{available:?}");
        }
    }

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
