//! A server in a process of its own.
#![allow(dead_code, reason = "each test file is a crate that uses some of it")]

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// It ends with the test, also when that fails.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts the binary by `exec` behind a piece of shell.
    pub fn serve(before: &str, arguments: &str) -> Self {
        let binary = env!("CARGO_BIN_EXE_tickloom");
        let script = format!("{before} exec {binary} serve --listen 127.0.0.1:0 {arguments}");
        let mut command = Command::new("bash");
        command.args(["-c", &script]);
        Self::start(command)
    }

    /// Starts a command that logs `listening`, and where, to its standard output.
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it can be started");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        while !line.contains(r#""event":"listening""#) {
            line.clear();
            let length = stdout.read_line(&mut line).expect("a line");
            assert!(length > 0, "it ended without listening");
        }
        let address = line.split(r#""address":""#).nth(1).and_then(|rest| rest.split('"').next());
        let address = address.and_then(|address| address.parse().ok());
        Self { address: address.unwrap_or_else(|| panic!("an address: {line}")), child, stdout }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits for the end; returns it with what was logged since `listening`.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.stdout.read_to_string(&mut log).expect("UTF-8");
        (self.child.wait().expect("it ends"), log)
    }
}
