//! A program of the TypeScript client, run by Node.

use std::env;
use std::io::{BufRead, BufReader, Write, stderr};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value as Json;

/// Where CI says that these tests must run: `required`.
const VARIABLE: &str = "NODE_TESTS";

/// The client's package.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/ts");

/// The program in one file; `None` when this machine has nothing to run it with, which is said
/// once. A plain `cargo test` must need only cargo.
///
/// # Panics
/// When it is required, or cannot be built.
pub fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let built = missing().map_or_else(|| Ok(build()), Err);
        if let Err(reason) = &built {
            let required = env::var(VARIABLE).is_ok_and(|value| value == "required");
            assert!(!required, "{VARIABLE}=required, and {reason}");
            // Past the test harness, which shows what only failing tests print.
            let _ = writeln!(stderr(), "nobody plays with the TypeScript client: {reason}");
        }
        built
    });
    program.as_deref().ok()
}

/// What is not here.
fn missing() -> Option<String> {
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).status();
    if !node.is_ok_and(|status| status.success()) {
        return Some("there is no `node` here".to_owned());
    }
    let modules = Path::new(PACKAGE).join("node_modules/esbuild");
    (!modules.exists()).then(|| "`npm ci` was not run in protocol/ts".to_owned())
}

fn build() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("play.cjs");
    let modules = Path::new(PACKAGE).join("node_modules");
    let status = Command::new(modules.join(".bin/esbuild"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/typescript/play.mjs"))
        .args(["--bundle", "--platform=node", "--format=cjs", "--log-level=warning"])
        .arg(format!("--outfile={}", built.display()))
        .env("NODE_PATH", modules)
        .status();
    assert!(status.expect("esbuild starts").success(), "the program was not built");
    built
}

/// One running program. It ends with the test, also when that fails.
pub struct Node {
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    /// Has the program join a room and play there.
    pub fn start(program: &Path, server: SocketAddr, wish: &Json) -> Self {
        let mut command = Command::new("node");
        command.arg(program).arg(format!("ws://{server}/ws")).arg(wish.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("node starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            // Nobody listens any more when the test has ended.
            let _ = stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line));
        });
        Self { child, stdin, answers }
    }

    /// Says a word that it answers.
    pub fn say(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").expect("it runs, what it printed says why not");
    }

    /// Its next answer, if it has come.
    pub fn answer(&mut self) -> Option<Json> {
        match self.answers.try_recv() {
            Ok(line) => Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"))),
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => panic!("it ended: what it printed says why"),
        }
    }
}
