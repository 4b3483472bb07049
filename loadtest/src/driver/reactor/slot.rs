//! One client's place in a thread: its connection, and what is due for it.
#![expect(clippy::disallowed_types, reason = "the mio edge")]

use std::io;
use std::net::{IpAddr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tickloom_protocol::time::Timestamp;

use super::pace::Pace;
use crate::client::{Client, Stage};
use crate::tally::Window;
use crate::tls::{Encryption, Tls};

/// The receive buffer of a slow reader: what waits in it is as good as read, to the server.
const SLOW_BUFFER_BYTES: usize = 8 * 1024;

/// Its receive buffer once it may read as fast as it can.
const DRAIN_BUFFER_BYTES: usize = 256 * 1024;

/// What a connect that does not wait says when it has begun.
const EINPROGRESS: i32 = rustix::io::Errno::INPROGRESS.raw_os_error();

/// The place of one client at a time, with its connection.
pub(super) struct Slot<C> {
    /// `None` before its time has come.
    pub(super) client: Option<C>,
    /// `None` while there is no connection. A slot may be used again: an event of the connection
    /// before finds either nothing to do or a connection that is still being made.
    pub(super) stream: Option<TcpStream>,
    /// The client's end of TLS, when its connection is encrypted.
    pub(super) tls: Option<Box<Tls>>,
    /// What this place's clients encrypt with: whoever comes back here resumes.
    pub(super) encryption: Option<Encryption>,
    /// Whether the TCP connection is there.
    pub(super) connected: bool,
    /// The moment in the heap at which the client acts next. Others are of what was to be before.
    pub(super) timed: Option<Timestamp>,
    /// How many clients were here before.
    pub(super) life: u32,
    /// Whether another client comes when this one has gone.
    pub(super) replaced: bool,
    /// How fast it reads; `None` for as fast as it can.
    pub(super) pace: Option<Pace>,
    /// Whether its next read is in the heap.
    pub(super) paused: bool,
}

impl<C: Client> Slot<C> {
    pub(super) fn empty() -> Self {
        Self {
            client: None,
            stream: None,
            tls: None,
            encryption: None,
            connected: false,
            timed: None,
            life: 0,
            replaced: false,
            pace: None,
            paused: false,
        }
    }

    pub(super) fn stage(&self) -> Option<Stage> {
        self.client.as_ref().map(Client::stage)
    }

    /// Whether nothing of the window is on its way to it any more.
    pub(super) fn has_tail(&self, window: Window) -> bool {
        !self.replaced && self.client.as_ref().is_none_or(|client| client.has_tail(window))
    }
}

/// Begins to connect, from an address of our choice when there is one. A slow reader's buffer is
/// small from the start: the window that TCP agrees on follows from it.
pub(super) fn begin_connect(
    address: SocketAddr,
    source: Option<IpAddr>,
    is_slow: bool,
) -> io::Result<TcpStream> {
    if source.is_none() && !is_slow {
        return TcpStream::connect(address);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if is_slow {
        socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    }
    if let Some(source) = source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Lets a slow reader's connection take as much as any other's.
pub(super) fn widen(stream: &TcpStream) {
    // With a small buffer it would only take longer.
    let _ = SockRef::from(stream).set_recv_buffer_size(DRAIN_BUFFER_BYTES);
}
