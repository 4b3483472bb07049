//! Taking connections in, also when the process has no file descriptor left for them.
//!
//! Two facts make this a module of its own. Without a free descriptor `accept` fails, and no
//! event will follow when one is free again: there must be a timer. And it fails so even when
//! nobody waits, so that accepting "until it would block" spins. The answer to both is a spare
//! descriptor: given up for a moment, it lets one waiting connection be taken and dropped, so its
//! client learns at once, and the rest is tried again after a pause.
#![expect(clippy::disallowed_types, reason = "the mio edge")]

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use tickloom_protocol::time::Timestamp;

/// Connections taken in per turn, so that a flood of them does not hold up ticks.
const ACCEPTS_PER_TURN_MAX: usize = 16;

/// How long to wait after running out of descriptors.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A listener and its way out of exhaustion.
pub(super) struct Acceptor {
    /// `None` once no more connections are taken.
    listener: Option<TcpListener>,
    /// Connections may be waiting.
    is_ready: bool,
    /// Set while out of descriptors.
    retry_at: Option<Timestamp>,
    /// A descriptor to give up; `None` only while even that one could not be had back.
    spare: Option<File>,
    /// Connections dropped for want of descriptors since the last [`Acceptor::take_refused`].
    refused: u64,
}

impl Acceptor {
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        let spare = Some(open_spare()?);
        Ok(Self { listener: Some(listener), is_ready: true, retry_at: None, spare, refused: 0 })
    }

    /// The listener reported connections.
    pub(super) fn set_ready(&mut self) {
        self.is_ready = true;
    }

    /// Whether there is something to accept right now.
    pub(super) fn is_ready(&self) -> bool {
        self.is_ready && self.retry_at.is_none()
    }

    /// When to try again after running out of descriptors.
    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }

    /// Appends the connections that wait, up to the turn's share.
    pub(super) fn accept(&mut self, now: Timestamp, streams: &mut Vec<(TcpStream, SocketAddr)>) {
        let Some(listener) = &self.listener else { return };
        if self.retry_at.is_some_and(|at| at > now) || !self.is_ready {
            return;
        }
        self.retry_at = None;
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match listener.accept() {
                Ok(accepted) => streams.push(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_ready = false;
                    return;
                }
                Err(error) if is_exhaustion(&error) => {
                    self.refuse_one();
                    self.retry_at = Some(now + RETRY_AFTER);
                    return;
                }
                // A client that gave up while it waited; the next one may be fine.
                Err(_) => {}
            }
        }
    }

    /// Takes one waiting connection and drops it, with the descriptor kept for that.
    fn refuse_one(&mut self) {
        drop(self.spare.take());
        if let Some(listener) = &self.listener {
            self.refused += u64::from(listener.accept().is_ok());
        }
        self.spare = open_spare().ok();
    }

    /// Takes no more connections: from now on the kernel refuses them.
    pub(super) fn close(&mut self) {
        self.listener = None;
        self.is_ready = false;
        self.retry_at = None;
    }

    /// How many connections were dropped for want of descriptors since the last call.
    pub(super) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }
}

fn open_spare() -> io::Result<File> {
    File::open("/dev/null")
}

fn is_exhaustion(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    error.raw_os_error().is_some_and(|code| exhausted.iter().any(|e| e.raw_os_error() == code))
}
