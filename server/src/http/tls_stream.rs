//! An encrypted connection as the HTTP thread reads and writes it. The handshake is over: its shard
//! has seen a whole request.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::tls::{RECORD_PLAINTEXT_BYTES_MAX, Tls};

/// A socket and the keys for it.
#[derive(Debug)]
pub(super) struct TlsStream {
    stream: TcpStream,
    connection: Box<ServerConnection>,
    /// Ciphertext from before, which goes first; the socket took the first `sent` bytes of it.
    unsent: Vec<u8>,
    /// 0 <= sent <= unsent.len()
    sent: usize,
    is_closed: bool,
}

impl TlsStream {
    pub(super) fn new(stream: TcpStream, tls: Tls) -> Self {
        let (connection, unsent) = tls.into_connection();
        Self { stream, connection, unsent, sent: 0, is_closed: false }
    }

    /// The socket, the keys, and what was decrypted and not read. Everything written must have
    /// been flushed.
    pub(super) fn into_parts(mut self) -> (TcpStream, Tls, Vec<u8>) {
        let (mut unread, mut buffer) = (Vec::new(), [0; 4096]);
        // An error says that there is no more, for now or for ever.
        while let Ok(length @ 1..) = self.connection.reader().read(&mut buffer) {
            unread.extend_from_slice(&buffer[..length]);
        }
        (self.stream, Tls::of_connection(self.connection), unread)
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self.connection.reader().read(buffer.initialize_unfilled()) {
                Ok(length) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // Cut short or not: HTTP knows by itself what is complete.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let mut socket = Socket { stream: &mut self.stream, cx };
            match self.connection.read_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
            let processed = self.connection.process_new_packets();
            // An answer to new keys, or an alert; what does not leave now leaves with what follows.
            let _ = self.poll_send(cx)?;
            if let Err(error) = processed {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
            }
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Of ciphertext there is never more than a record.
        ready!(self.poll_send(cx))?;
        let length = bytes.len().min(RECORD_PLAINTEXT_BYTES_MAX);
        let taken = self.connection.writer().write(&bytes[..length])?;
        let _ = self.poll_send(cx)?;
        Poll::Ready(Ok(taken))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Says that nothing follows, in both layers.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            self.is_closed = true;
            self.connection.send_close_notify();
        }
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Gives all ciphertext there is to the socket.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.unsent.len() {
            let stream = Pin::new(&mut self.stream);
            self.sent += ready!(stream.poll_write(cx, &self.unsent[self.sent..]))?;
        }
        (self.unsent, self.sent) = (Vec::new(), 0);
        while self.connection.wants_write() {
            let mut socket = Socket { stream: &mut self.stream, cx };
            match self.connection.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A socket as rustls wants it: that it is not ready is an error.
struct Socket<'a, 'c> {
    stream: &'a mut TcpStream,
    cx: &'a mut Context<'c>,
}

impl Read for Socket<'_, '_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        match Pin::new(&mut *self.stream).poll_read(self.cx, &mut buffer) {
            Poll::Ready(result) => result.map(|()| buffer.filled().len()),
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Write for Socket<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write(self.cx, bytes) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
