//! The edge of an attack: one thread, a poll, and sockets that are replaced when they end.
#![expect(clippy::disallowed_types, reason = "the mio edge")]

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tickloom_protocol::time::Timestamp;

use super::{RunError, now, resolve};
use crate::attack::{Attack, Attacker, Findings};

/// Longest sleep: those who drip do so once a second, and nobody minds a few milliseconds.
const SLEEP_MAX: Duration = Duration::from_millis(10);

/// Events taken per poll.
const EVENTS_MAX: usize = 1024;

/// A connection and who speaks on it.
struct Line {
    stream: TcpStream,
    attacker: Attacker,
    opened_at: Timestamp,
    is_connected: bool,
}

/// How a line goes on after something happened to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It is still there.
    Lives,
    /// The server ended it.
    Ended,
    /// It hung up, having got what it wanted.
    HungUp,
}

struct Siege<'a> {
    attack: &'a Attack,
    address: SocketAddr,
    lines_to_say: Bytes,
    poll: Poll,
    lines: Vec<Option<Line>>,
    /// Places without a line.
    free: Vec<usize>,
    /// Connections begun, those that failed included.
    begun: u64,
    findings: Findings,
    buffer: Vec<u8>,
}

/// Attacks until the time is up or somebody interrupts.
///
/// # Errors
/// [`RunError`]; what happens to connections is part of the findings.
pub fn attack(attack: &Attack, interrupted: &AtomicBool) -> Result<Findings, RunError> {
    let url = &attack.url;
    let unreachable = |error| RunError::Unreachable { url: url.clone(), error };
    let address = resolve(url).map_err(unreachable)?;
    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(unreachable)?;
    let count = attack.connections_count.get() as usize;
    let mut siege = Siege {
        attack,
        address,
        lines_to_say: attack.lines()?,
        poll: Poll::new()?,
        lines: (0..count).map(|_| None).collect(),
        free: (0..count).rev().collect(),
        begun: 0,
        findings: Findings::default(),
        buffer: vec![0; 16 * 1024],
    };
    siege.run(interrupted)?;
    Ok(siege.findings)
}

impl Siege<'_> {
    fn run(&mut self, interrupted: &AtomicBool) -> io::Result<()> {
        let begun_at = now();
        let end = begun_at + self.attack.duration;
        let mut events = Events::with_capacity(EVENTS_MAX);
        let mut drips_at = begun_at;
        while now() < end && !interrupted.load(Ordering::Relaxed) {
            self.connect(begun_at)?;
            match self.poll.poll(&mut events, Some(SLEEP_MAX)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => result?,
            }
            for event in &events {
                self.advance(event.token().0);
            }
            if now() >= drips_at {
                (0..self.lines.len()).for_each(|place| self.advance(place));
                drips_at = now() + Duration::from_millis(100);
            }
        }
        let now = now();
        for line in self.lines.iter().flatten() {
            let age = now.saturating_since(line.opened_at);
            self.findings.open_age_max = self.findings.open_age_max.max(age);
            self.findings.open_count += 1;
        }
        Ok(())
    }

    /// Begins as many connections as are due by the rate and have a place.
    fn connect(&mut self, begun_at: Timestamp) -> io::Result<()> {
        let elapsed_us = now().saturating_since(begun_at).as_micros() as u64;
        let due = elapsed_us * u64::from(self.attack.connect_rate_hz.get()) / 1_000_000;
        while self.begun < due
            && let Some(place) = self.free.pop()
        {
            self.begun += 1;
            let opened_at = now();
            let Ok(mut stream) = TcpStream::connect(self.address) else {
                self.findings.failed += 1;
                self.free.push(place);
                // Without ports or files there is nothing to do but wait for some.
                break;
            };
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(place), interest)?;
            let attacker = self.attack.attacker(self.lines_to_say.clone(), opened_at);
            let line = Line { stream, attacker, opened_at, is_connected: false };
            self.lines[place] = Some(line);
        }
        // Places that were taken do not add up to a burst when they are free again.
        self.begun =
            self.begun.max(due.saturating_sub(u64::from(self.attack.connect_rate_hz.get())));
        Ok(())
    }

    /// Reads and writes what a line has to say, and notes its end.
    fn advance(&mut self, place: usize) {
        let Some(line) = &mut self.lines[place] else { return };
        if !line.is_connected {
            match line.stream.peer_addr() {
                Ok(_) => {
                    line.is_connected = true;
                    self.findings.opened += 1;
                }
                Err(error)
                    if error.kind() == io::ErrorKind::NotConnected
                        && matches!(line.stream.take_error(), Ok(None)) =>
                {
                    return;
                }
                Err(_) => {
                    self.findings.failed += 1;
                    return self.remove(place);
                }
            }
        }
        let fate = line.advance(&mut self.buffer);
        if fate == Fate::Lives {
            return;
        }
        if let Some(answer) = line.attacker.answer() {
            *self.findings.answers.entry(answer).or_default() += 1;
        }
        if fate == Fate::Ended {
            self.findings.lifetimes.push(now().saturating_since(line.opened_at));
        }
        self.remove(place);
    }

    fn remove(&mut self, place: usize) {
        self.lines[place] = None;
        self.free.push(place);
    }
}

impl Line {
    fn advance(&mut self, buffer: &mut [u8]) -> Fate {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Fate::Ended,
                Ok(length) => self.attacker.handle_bytes(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Fate::Ended,
            }
        }
        if self.attacker.is_done() {
            return Fate::HungUp;
        }
        loop {
            let output = self.attacker.output(now());
            if output.is_empty() {
                return Fate::Lives;
            }
            match self.stream.write(output) {
                Ok(sent) => self.attacker.handle_sent(now(), sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Lives,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Fate::Ended,
            }
        }
    }
}
