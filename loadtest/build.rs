//! Tells the generator what it was built with and from, for its reports.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = output(Command::new(rustc).arg("--version")).unwrap_or_default();
    println!("cargo:rustc-env=LOADTEST_RUSTC={version}");
    // A source archive is no repository: then the report has no revision.
    if let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo:rustc-env=LOADTEST_GIT_REVISION={revision}");
    }
    // The log of HEAD grows with each commit, checkout and reset. One that is missing would have
    // everything built anew each time.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]);
    if let Some(log) = log.filter(|log| Path::new(log).exists()) {
        println!("cargo:rerun-if-changed={log}");
    }
}

fn git(words: &[&str]) -> Option<String> {
    output(Command::new("git").args(words))
}

/// The first line a program writes; `None` when it is missing or fails.
fn output(program: &mut Command) -> Option<String> {
    let output = program.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().next().map(str::to_owned).filter(|line| !line.is_empty())
}
