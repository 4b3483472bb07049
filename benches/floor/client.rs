//! The other end, on a thread and a core of its own: it plays the players and is not measured.

use std::io::Write;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use core_affinity::CoreId;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};
use tickloom_benches::INPUT_FRAME_BYTES;

use crate::server::Server;
use crate::{BELL, read_available};

/// Events the client takes per poll: few, so that reading frames delays no input for long.
const CLIENT_EVENTS_MAX: usize = 16;

/// What the client's thread is told. Each command is answered by one reply.
enum Command {
    /// Write one input on every connection.
    SendInputs,
    /// Write one input per connection and tick, spread evenly.
    Pace { ticks: u32 },
    /// Reply when this many bytes of frames were read since the start.
    Settle { frame_bytes: u64 },
}

/// The handle of the client's thread.
pub(crate) struct Client {
    commands: Sender<Command>,
    bell: Arc<Waker>,
    /// How late the latest input was; zero unless the command was to pace them.
    replies: Receiver<Duration>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Client {
    pub(crate) fn spawn(
        mut streams: Vec<TcpStream>,
        interval: Duration,
        core: Option<CoreId>,
    ) -> anyhow::Result<Self> {
        let poll = Poll::new()?;
        for (index, stream) in streams.iter_mut().enumerate() {
            poll.registry().register(stream, Token(index), Interest::READABLE)?;
        }
        let bell = Arc::new(Waker::new(poll.registry(), BELL)?);
        let (commands, inbox) = channel();
        let (replier, replies) = channel();
        let end = ClientEnd {
            poll,
            events: Events::with_capacity(CLIENT_EVENTS_MAX),
            streams,
            buffer: vec![0; 64 * 1024].into(),
            interval,
            frame_bytes_read: 0,
        };
        let thread = std::thread::spawn(move || {
            if let Some(core) = core {
                ensure!(core_affinity::set_for_current(core), "cannot pin to core {}", core.id);
            }
            end.run(&inbox, &replier)
        });
        Ok(Self { commands, bell, replies, thread })
    }

    pub(crate) fn send_inputs(&self) -> anyhow::Result<()> {
        self.tell(Command::SendInputs)?;
        self.reply().map(drop)
    }

    /// Begins to pace inputs. The reply comes when the last one is written.
    pub(crate) fn pace(&self, ticks: u32) -> anyhow::Result<()> {
        self.tell(Command::Pace { ticks })
    }

    /// Waits until the client has read all that the server wrote.
    pub(crate) fn settle(&self, server: &Server) -> anyhow::Result<()> {
        self.tell(Command::Settle { frame_bytes: server.frame_bytes_written })?;
        self.reply().map(drop)
    }

    fn tell(&self, command: Command) -> anyhow::Result<()> {
        self.commands.send(command).context("the client's thread is gone")?;
        Ok(self.bell.wake()?)
    }

    pub(crate) fn reply(&self) -> anyhow::Result<Duration> {
        self.replies.recv_timeout(Duration::from_secs(60)).context("the client does not answer")
    }

    pub(crate) fn stop(self) -> anyhow::Result<()> {
        drop(self.commands);
        self.bell.wake()?;
        self.thread.join().expect("the client's thread does not panic")
    }
}

/// What runs on the client's thread.
struct ClientEnd {
    poll: Poll,
    events: Events,
    /// Keyed by token.
    streams: Vec<TcpStream>,
    buffer: Box<[u8]>,
    interval: Duration,
    frame_bytes_read: u64,
}

impl ClientEnd {
    fn run(mut self, inbox: &Receiver<Command>, replier: &Sender<Duration>) -> anyhow::Result<()> {
        let mut settled_at = None;
        loop {
            self.read_frames(None)?;
            loop {
                let lateness_max = match inbox.try_recv() {
                    Ok(Command::SendInputs) => self.send_inputs()?,
                    Ok(Command::Pace { ticks }) => self.pace_inputs(ticks)?,
                    Ok(Command::Settle { frame_bytes }) => {
                        settled_at = Some(frame_bytes);
                        break;
                    }
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return Ok(()),
                };
                // Fails only when nobody waits for an answer any more.
                let _ = replier.send(lateness_max);
            }
            if settled_at.is_some_and(|frame_bytes| self.frame_bytes_read >= frame_bytes) {
                settled_at = None;
                let _ = replier.send(Duration::ZERO);
            }
        }
    }

    fn send_inputs(&mut self) -> anyhow::Result<Duration> {
        for index in 0..self.streams.len() {
            self.send_input(index)?;
        }
        Ok(Duration::ZERO)
    }

    /// Spins between inputs: a sleep would round their distance up and bunch them.
    fn pace_inputs(&mut self, ticks: u32) -> anyhow::Result<Duration> {
        let start = Instant::now();
        let mut lateness_max = Duration::ZERO;
        let connections = self.streams.len() as u32;
        for tick in 0..ticks {
            for index in 0..connections {
                let due = start + self.interval * tick + self.interval * index / connections;
                self.read_frames(Some(Duration::ZERO))?;
                while Instant::now() < due {
                    std::hint::spin_loop();
                }
                lateness_max = lateness_max.max(due.elapsed());
                self.send_input(index as usize)?;
            }
        }
        Ok(lateness_max)
    }

    fn send_input(&mut self, index: usize) -> anyhow::Result<()> {
        let written = self.streams[index].write(&[0x17; INPUT_FRAME_BYTES])?;
        ensure!(written == INPUT_FRAME_BYTES, "a socket took {written} bytes only");
        Ok(())
    }

    fn read_frames(&mut self, timeout: Option<Duration>) -> anyhow::Result<()> {
        self.poll.poll(&mut self.events, timeout)?;
        for event in &self.events {
            if event.token() != BELL {
                let stream = &mut self.streams[event.token().0];
                self.frame_bytes_read += read_available(stream, &mut self.buffer)?;
            }
        }
        Ok(())
    }
}
