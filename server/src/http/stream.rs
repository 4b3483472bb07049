//! A connection's bytes in both directions, as the HTTP thread needs them: what the shard has read
//! comes first, what leaves has a deadline, and the end is not a reset.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::tls_stream::TlsStream;
use crate::tls::Tls;

/// Bytes that are read and forgotten after our last one, before the connection is cut.
const DRAIN_BYTES_MAX: usize = 1 << 20;

/// What bytes travel over.
#[derive(Debug)]
pub(super) enum Transport {
    /// As they are.
    Plain(TcpStream),
    /// Encrypted.
    Tls(TlsStream),
}

/// How long a connection may take for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// From the first byte that the kernel does not take to the last one it does.
    pub(super) write: Duration,
    /// From our last byte to the other end's.
    pub(super) drain: Duration,
}

/// One connection.
pub(super) struct HttpStream {
    transport: Transport,
    /// Read by the shard, and not by us yet.
    rewound: Vec<u8>,
    /// How much of it was read.
    rewound_read: usize,
    deadlines: Deadlines,
    /// Set from a write that had to wait until everything has left.
    write_by: Option<Pin<Box<Sleep>>>,
    /// Whether a write waits. Shared with whoever must know while hyper has the stream.
    is_blocked: Rc<Cell<bool>>,
    ending: Ending,
}

/// How far the end of a connection has come. A socket that is closed with bytes unread resets the
/// connection, and the other end may lose our answer: so we end our half, and wait for theirs.
enum Ending {
    Open,
    /// What is to leave leaves, then what comes is read and forgotten.
    Draining {
        until: Pin<Box<Sleep>>,
        is_shut: bool,
        bytes: usize,
    },
    Done,
}

impl HttpStream {
    pub(super) fn new(transport: Transport, rewound: Vec<u8>, deadlines: Deadlines) -> Self {
        Self {
            transport,
            rewound,
            rewound_read: 0,
            deadlines,
            write_by: None,
            is_blocked: Rc::new(Cell::new(false)),
            ending: Ending::Open,
        }
    }

    /// Whether something waits for the kernel to take it.
    pub(super) fn is_blocked(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.is_blocked)
    }

    /// The transport, and what the shard had read and nobody since.
    pub(super) fn into_parts(mut self) -> (Transport, Vec<u8>) {
        let unread = self.rewound.split_off(self.rewound_read);
        (self.transport, unread)
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.is_blocked.set(true);
        let write = self.deadlines.write;
        let until = self.write_by.get_or_insert_with(|| sleep_for(write));
        ready!(until.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

fn sleep_for(time: Duration) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(Instant::now() + time))
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unread = &self.rewound[self.rewound_read..];
        if unread.is_empty() {
            return self.transport.poll_read(cx, buffer);
        }
        let length = unread.len().min(buffer.remaining());
        buffer.put_slice(&unread[..length]);
        self.rewound_read += length;
        if self.rewound_read == self.rewound.len() {
            // A connection may live long after its first request.
            (self.rewound, self.rewound_read) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.transport.poll_write(cx, bytes) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.poll_deadline(cx),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.transport.poll_flush(cx) {
            Poll::Ready(result) => {
                self.is_blocked.set(false);
                self.write_by = None;
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_deadline(cx).map_ok(|_| ()),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let Ending::Draining { until, is_shut, bytes } = &mut this.ending else {
                if matches!(this.ending, Ending::Done) {
                    return Poll::Ready(Ok(()));
                }
                let until = sleep_for(this.deadlines.drain);
                this.ending = Ending::Draining { until, is_shut: false, bytes: 0 };
                continue;
            };
            let step = if *is_shut {
                let mut scratch = [0; 4096];
                let mut buffer = ReadBuf::new(&mut scratch);
                let read = this.transport.poll_read(cx, &mut buffer);
                let length = buffer.filled().len();
                *bytes += length;
                read.map(|read| read.is_ok() && length > 0 && *bytes <= DRAIN_BYTES_MAX)
            } else {
                // Fails when the other end is gone.
                this.transport.poll_shutdown(cx).map(|result| result.is_ok())
            };
            match step {
                Poll::Ready(true) => *is_shut = true,
                Poll::Ready(false) => this.ending = Ending::Done,
                Poll::Pending => {
                    ready!(until.as_mut().poll(cx));
                    this.ending = Ending::Done;
                }
            }
        }
    }
}

impl Transport {
    pub(super) fn new(stream: TcpStream, tls: Option<Box<Tls>>) -> Self {
        match tls {
            None => Self::Plain(stream),
            Some(tls) => Self::Tls(TlsStream::new(stream, *tls)),
        }
    }

    /// The socket, its keys, and what was decrypted and not read.
    pub(super) fn into_parts(self) -> (TcpStream, Option<Box<Tls>>, Vec<u8>) {
        match self {
            Self::Plain(stream) => (stream, None, Vec::new()),
            Self::Tls(stream) => {
                let (stream, tls, unread) = stream.into_parts();
                (stream, Some(Box::new(tls)), unread)
            }
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => stream.poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => stream.poll_write(cx, bytes),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => stream.poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => stream.poll_shutdown(cx),
        }
    }
}
