//! The loop behind all clients: it reads, stamps, applies, and sends inputs when they are meant
//! to be sent.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{bail, ensure};
use hdrhistogram::Histogram;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tickloom_protocol::time::Timestamp;
use tickloom_server::reactor::monotonic_now;

use crate::Args;
use crate::figures::histogram;
use crate::player::{Player, Stage};

/// Not a connection: the timer of the inputs.
const TIMER: Token = Token(usize::MAX);

/// Events taken at once: few, so that no input is late for the sake of reading.
const EVENTS_MAX: usize = 64;

/// Bytes read before anything is applied.
const BUFFER_BYTES: usize = 1024 * 1024;

/// Free bytes a read needs.
const READ_BYTES_MIN: usize = 64 * 1024;

/// How long connecting and joining may take.
const SETTLE_MAX: Duration = Duration::from_secs(20);

/// All clients and their loop.
pub(crate) struct Driver {
    poll: Poll,
    events: Events,
    timer: OwnedFd,
    /// Keyed by token.
    pub(crate) players: Vec<Player>,
    buffer: Box<[u8]>,
    /// What is in the buffer.
    arrivals: Vec<Arrival>,
    inputs: Option<Inputs>,
    /// How late inputs were sent.
    pub(crate) input_lateness_us: Histogram<u32>,
}

/// Bytes that were read and not yet applied.
struct Arrival {
    player: usize,
    at: Timestamp,
    bytes: Range<usize>,
}

/// When inputs are meant to be sent: the clients' phases spread evenly over their interval, and
/// each input's moment is fixed from the start, however late those before it were.
struct Inputs {
    start: Timestamp,
    per_second: u64,
    sent: u64,
}

impl Inputs {
    fn next_due(&self) -> Timestamp {
        Timestamp(self.start.0 + self.sent * 1_000_000 / self.per_second)
    }
}

impl Driver {
    /// Opens all connections.
    pub(crate) fn connect(address: SocketAddr, args: &Args) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        let mut players = Vec::with_capacity(args.clients);
        for index in 0..args.clients {
            let mut player = Player::connect(address, index)?;
            poll.registry().register(&mut player.stream, Token(index), Interest::READABLE)?;
            players.push(player);
        }
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            timer,
            players,
            buffer: vec![0; BUFFER_BYTES].into(),
            arrivals: Vec::new(),
            inputs: None,
            input_lateness_us: histogram(),
        })
    }

    /// Takes a seat for everybody. A room's ticks are counted from its first member, so rooms
    /// are entered at random moments within one tick.
    pub(crate) fn join_rooms(&mut self, args: &Args) -> anyhow::Result<()> {
        self.settle("was upgraded", Stage::Upgraded)?;
        let rooms_count = args.rooms_count();
        let mut random = fastrand::Rng::with_seed(rooms_count as u64);
        let interval_us = args.tick_interval().as_micros() as u64;
        let mut entrances: Vec<(u64, usize)> =
            (0..rooms_count).map(|room| (random.u64(0..interval_us), room)).collect();
        entrances.sort_unstable();
        let start = monotonic_now();
        for (offset_us, room) in entrances {
            self.run_until(Timestamp(start.0 + offset_us))?;
            // Neighbours by index, and so by the phase of their inputs, are in different rooms.
            for player in self.players.iter_mut().skip(room).step_by(rooms_count) {
                player.join(&format!("room-{room}"))?;
            }
        }
        self.settle("got the state of its room", Stage::Playing)
    }

    /// From now on every client sends inputs.
    pub(crate) fn start_inputs(&mut self, args: &Args) -> anyhow::Result<()> {
        let per_second = u64::from(args.input_rate) * args.clients as u64;
        self.inputs = Some(Inputs { start: monotonic_now(), per_second, sent: 0 });
        let interval = Duration::from_nanos(1_000_000_000 / per_second);
        let interval = Timespec {
            tv_sec: interval.as_secs() as i64,
            tv_nsec: i64::from(interval.subsec_nanos()),
        };
        let ringing = Itimerspec { it_interval: interval, it_value: interval };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &ringing)?;
        Ok(())
    }

    /// Plays for some time.
    pub(crate) fn run_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        self.run_until(monotonic_now() + duration)
    }

    fn run_until(&mut self, end: Timestamp) -> anyhow::Result<()> {
        loop {
            let left = end.saturating_since(monotonic_now());
            if left.is_zero() {
                return Ok(());
            }
            // The poll rounds up to whole milliseconds; the last one is spun through.
            self.turn(left.saturating_sub(Duration::from_millis(1)))?;
        }
    }

    fn settle(&mut self, what: &str, stage: Stage) -> anyhow::Result<()> {
        let deadline = monotonic_now() + SETTLE_MAX;
        while self.players.iter().any(|player| player.stage < stage) {
            ensure!(monotonic_now() < deadline, "not every client {what} in {SETTLE_MAX:?}");
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// One turn of the loop.
    fn turn(&mut self, timeout: Duration) -> anyhow::Result<()> {
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result?,
        }
        let Self { events, timer, players, buffer, arrivals, .. } = self;
        let mut filled = 0;
        for event in events.iter() {
            if event.token() == TIMER {
                // It rings again only after it was read. How often it rang does not matter.
                let _ = rustix::io::read(&timer, &mut [0; 8]);
                continue;
            }
            let player = event.token().0;
            loop {
                if buffer.len() - filled < READ_BYTES_MIN {
                    apply(players, buffer, arrivals)?;
                    filled = 0;
                }
                let free = buffer.len() - filled;
                match players[player].stream.read(&mut buffer[filled..]) {
                    Ok(0) => bail!("the server ended a connection"),
                    Ok(count) => {
                        let bytes = filled..filled + count;
                        filled = bytes.end;
                        arrivals.push(Arrival { player, at: monotonic_now(), bytes });
                        // Past a short read there is nothing.
                        if count < free {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        apply(players, buffer, arrivals)?;
        self.send_inputs()
    }

    fn send_inputs(&mut self) -> anyhow::Result<()> {
        let Some(inputs) = &mut self.inputs else { return Ok(()) };
        loop {
            let (now, due) = (monotonic_now(), inputs.next_due());
            if due > now {
                return Ok(());
            }
            let player = inputs.sent as usize % self.players.len();
            inputs.sent += 1;
            self.players[player].send_input()?;
            let lateness = now.saturating_since(due);
            self.input_lateness_us.saturating_record(lateness.as_micros() as u64);
        }
    }
}

fn apply(players: &mut [Player], buffer: &[u8], arrivals: &mut Vec<Arrival>) -> anyhow::Result<()> {
    for Arrival { player, at, bytes } in arrivals.drain(..) {
        players[player].handle_bytes(at, &buffer[bytes])?;
    }
    Ok(())
}
