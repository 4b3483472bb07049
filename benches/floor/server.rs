//! The measured end: one thread, one epoll, one timer, no protocol.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, ensure};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tickloom_benches::INPUT_FRAME_BYTES;

use crate::{BELL, read_available};

/// Its sockets, and what went through them.
pub(crate) struct Server {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    interval: Duration,
    /// Keyed by token.
    streams: Vec<TcpStream>,
    buffer: Box<[u8]>,
    frame: Vec<u8>,
    pub(crate) frame_bytes_written: u64,
    input_bytes_read: u64,
}

/// What the loop did in the paced form.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turns {
    pub(crate) count: u64,
    pub(crate) missed: u64,
}

impl Server {
    pub(crate) fn new(
        mut streams: Vec<TcpStream>,
        frame_bytes: usize,
        interval: Duration,
    ) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        for (index, stream) in streams.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(stream, Token(index), interest)?;
        }
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), BELL, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            timer,
            interval,
            streams,
            buffer: vec![0; 64 * 1024].into(),
            frame: vec![0x42; frame_bytes],
            frame_bytes_written: 0,
            input_bytes_read: 0,
        })
    }

    /// Writes one frame to every connection.
    pub(crate) fn write_frames(&mut self) -> anyhow::Result<()> {
        for stream in &mut self.streams {
            let written = stream.write(&self.frame).context("the client does not keep up")?;
            ensure!(written == self.frame.len(), "a socket took {written} bytes only");
        }
        self.frame_bytes_written += (self.frame.len() * self.streams.len()) as u64;
        Ok(())
    }

    /// Reads one input of every connection.
    pub(crate) fn read_inputs(&mut self) -> anyhow::Result<()> {
        let target = self.input_bytes_read + self.input_bytes_per_tick();
        while self.input_bytes_read < target {
            self.turn()?;
        }
        Ok(())
    }

    /// Reads inputs as they come and writes frames when a tick is due, for `ticks` ticks.
    pub(crate) fn run_ticks(&mut self, ticks: u32) -> anyhow::Result<Turns> {
        let target = self.input_bytes_read + u64::from(ticks) * self.input_bytes_per_tick();
        let mut turns = Turns::default();
        let mut elapsed = 0;
        self.arm(self.interval)?;
        while elapsed < u64::from(ticks) || self.input_bytes_read < target {
            let due = self.turn()?;
            turns.count += 1;
            if due > 0 {
                elapsed += due;
                turns.missed += due - 1;
                self.write_frames()?;
            }
            if elapsed >= u64::from(ticks) {
                self.arm(Duration::ZERO)?;
            }
        }
        Ok(turns)
    }

    /// One turn of the loop: reads what there is and says how many ticks are due.
    fn turn(&mut self) -> anyhow::Result<u64> {
        let mut due = 0;
        self.poll.poll(&mut self.events, Some(Duration::from_secs(5)))?;
        ensure!(!self.events.is_empty(), "nothing happened for five seconds");
        for event in &self.events {
            if event.token() == BELL {
                let mut expirations = [0; 8];
                if rustix::io::read(&self.timer, &mut expirations).is_ok() {
                    due += u64::from_ne_bytes(expirations);
                }
            } else if event.is_readable() {
                let stream = &mut self.streams[event.token().0];
                self.input_bytes_read += read_available(stream, &mut self.buffer)?;
            }
        }
        Ok(due)
    }

    /// Makes the timer ring every `interval`; never, when that is zero.
    fn arm(&self, interval: Duration) -> anyhow::Result<()> {
        let interval = Timespec {
            tv_sec: interval.as_secs() as i64,
            tv_nsec: i64::from(interval.subsec_nanos()),
        };
        let timer = Itimerspec { it_interval: interval, it_value: interval };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }

    fn input_bytes_per_tick(&self) -> u64 {
        (INPUT_FRAME_BYTES * self.streams.len()) as u64
    }
}
