//! TLS of one session: ciphertext in and out, plaintext out and in. No sockets, no clock.
//!
//! ```text
//! socket --bytes--> waiting --a few per turn--> handshake --> open
//!                                                             |  ciphertext -> plaintext -> session
//! socket <-- unsent <-- one record at a time <-- outbox <-----'
//! ```
//!
//! A handshake costs a shard about as much as sending to thirty clients, so what arrives for one
//! waits until the shard takes a step of it. What is to be sent stays plaintext in the outbox
//! until the socket is ready for it: of ciphertext, which can be neither shared nor replaced,
//! there is never more than one record.

pub mod certificate;
pub mod identity;

use std::io::{BufRead, Write};
use std::mem;
use std::sync::Arc;

use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use crate::outbox::Outbox;

/// Plaintext encrypted at once: what fits into one record.
pub const RECORD_PLAINTEXT_BYTES_MAX: usize = 16 * 1024;

/// Bytes that wait for a step of the handshake; whoever sends more gets its step at once. The
/// kernel hands over as many in one read, and whoever pays for so many on the wire is no flood of
/// handshakes.
pub const WAITING_BYTES_MAX: usize = 64 * 1024;

/// One session's end of TLS.
#[derive(Debug)]
pub struct Tls {
    connection: ServerConnection,
    state: State,
    /// Bytes that arrived before the handshake was over and were not looked at; empty after it.
    waiting: Vec<u8>,
    /// Already in one of the shard's queues of handshakes.
    pub(crate) is_listed: bool,
    /// A step of its handshake was taken.
    has_begun: bool,
    /// Ciphertext, of which the socket took the first `sent` bytes. Without any, it has no memory.
    unsent: Vec<u8>,
    /// 0 <= sent < unsent.len(); 0 when nothing is unsent.
    sent: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not a byte has arrived.
    Silent,
    /// The two ends agree on keys.
    Handshaking,
    /// Both ends may send.
    Open,
    /// Our end has said that nothing follows, or why the connection is no more.
    Closed,
}

/// What reading left the connection in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// The other end may send more.
    MaySend,
    /// The other end has said that nothing follows.
    IsDone,
}

/// How a handshake went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreed {
    /// With certificate and key exchange.
    Full,
    /// With a ticket of a connection before.
    Resumed,
}

impl Tls {
    /// A connection on which nothing has arrived.
    ///
    /// # Panics
    /// When the configuration asks for records of an impossible size; ours does not.
    #[must_use]
    pub fn new(config: &Arc<ServerConfig>) -> Self {
        let connection = ServerConnection::new(Arc::clone(config));
        Self {
            connection: connection.expect("records are of the usual size"),
            state: State::Silent,
            waiting: Vec::new(),
            is_listed: false,
            has_begun: false,
            unsent: Vec::new(),
            sent: 0,
        }
    }

    /// Keeps bytes of a handshake until there is time for them; says whether they are as many as
    /// may wait.
    pub fn wait(&mut self, bytes: &[u8]) -> bool {
        debug_assert!(self.is_handshaking(), "after the handshake nothing waits");
        self.state = State::Handshaking;
        self.waiting.extend_from_slice(bytes);
        self.waiting.len() >= WAITING_BYTES_MAX
    }

    /// Whether a step of its handshake was taken.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Takes out what waited, to be read as the next step of the handshake.
    #[must_use]
    pub fn take_waiting(&mut self) -> Vec<u8> {
        self.has_begun = true;
        mem::take(&mut self.waiting)
    }

    /// Takes ciphertext in, and appends what it says to `plaintext`.
    ///
    /// # Errors
    /// What is wrong with the bytes; an alert is to be sent.
    pub fn read(
        &mut self,
        mut bytes: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<Peer, rustls::Error> {
        while !bytes.is_empty() {
            // It takes 4 KiB at most each time, and complains when it keeps a record that is
            // longer than any: what is wrong with that one is said by the next line.
            let taken = self.connection.read_tls(&mut bytes).unwrap_or(0);
            let state = self.connection.process_new_packets().inspect_err(|_| {
                self.state = State::Closed;
            })?;
            if self.is_handshaking() && !self.connection.is_handshaking() {
                self.state = State::Open;
            }
            self.take_plaintext(state.plaintext_bytes_to_read(), plaintext);
            if state.peer_has_closed() {
                return Ok(Peer::IsDone);
            }
            if taken == 0 {
                break;
            }
        }
        Ok(Peer::MaySend)
    }

    fn take_plaintext(&mut self, mut length: usize, plaintext: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        while length > 0
            && let Ok(chunk) = reader.fill_buf()
        {
            let taken = chunk.len();
            plaintext.extend_from_slice(chunk);
            reader.consume(taken);
            length = length.saturating_sub(taken.max(1));
        }
    }

    /// The next bytes for the socket: what it did not take, or else the next record, made from
    /// the front of the outbox. `copy` is where frames are put together, `lent` memory that
    /// [`Tls::advance`] gives back.
    pub fn outgoing(
        &mut self,
        outbox: &mut Outbox,
        copy: &mut [u8],
        lent: &mut Vec<u8>,
    ) -> Option<&[u8]> {
        if self.unsent.is_empty() {
            self.encrypt(outbox, copy);
            if !self.connection.wants_write() {
                return None;
            }
            mem::swap(&mut self.unsent, lent);
            while self.connection.wants_write() {
                // A vector takes everything.
                let _ = self.connection.write_tls(&mut self.unsent);
            }
        }
        Some(&self.unsent[self.sent..])
    }

    /// Encrypts one record's worth of the outbox.
    fn encrypt(&mut self, outbox: &mut Outbox, copy: &mut [u8]) {
        if self.state != State::Open || outbox.is_empty() {
            return;
        }
        let plaintext = match outbox.as_slice() {
            Some(slice) => slice,
            None => {
                let length = copy.len().min(RECORD_PLAINTEXT_BYTES_MAX);
                let length = outbox.copy_front(&mut copy[..length]);
                &copy[..length]
            }
        };
        let length = plaintext.len().min(RECORD_PLAINTEXT_BYTES_MAX);
        // It has room for several records, and the last one has left it.
        let taken = self.connection.writer().write(&plaintext[..length]).unwrap_or(0);
        debug_assert_eq!(taken, length, "a record is taken whole");
        outbox.advance(taken);
    }

    /// The socket took the first `sent` bytes of what [`Tls::outgoing`] returned.
    pub fn advance(&mut self, sent: usize, lent: &mut Vec<u8>) {
        self.sent += sent;
        debug_assert!(self.sent <= self.unsent.len(), "no more is sent than there is");
        if self.sent >= self.unsent.len() {
            self.unsent.clear();
            self.sent = 0;
            let used = mem::take(&mut self.unsent);
            if lent.capacity() == 0 {
                *lent = used;
            }
        }
    }

    /// The socket takes no more: what is unsent keeps no more memory than it needs.
    pub fn shrink(&mut self) {
        self.unsent.drain(..self.sent);
        self.sent = 0;
        self.unsent.shrink_to_fit();
    }

    /// Says that nothing follows, once. What is to be sent must have been encrypted before. In the
    /// midst of a handshake there is nobody to understand it.
    pub fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Closed;
            self.connection.send_close_notify();
        }
    }

    /// Whether not a byte has arrived.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.state == State::Silent
    }

    /// Whether the two ends have not agreed on keys yet.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        matches!(self.state, State::Silent | State::Handshaking)
    }

    /// Whether what is in the outbox can leave.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether our end has said its last.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether there is ciphertext for the socket.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty() || self.connection.wants_write()
    }

    /// Bytes of ciphertext that the socket did not take yet.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.unsent.len() - self.sent
    }

    /// How the handshake went, once it is over.
    #[must_use]
    pub fn agreed(&self) -> Option<Agreed> {
        match self.connection.handshake_kind()? {
            HandshakeKind::Resumed => Some(Agreed::Resumed),
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => Some(Agreed::Full),
        }
    }

    /// Takes back what [`Tls::into_connection`] gave away. All that it had to send has left.
    #[must_use]
    pub fn of_connection(connection: Box<ServerConnection>) -> Self {
        Self {
            connection: *connection,
            state: State::Open,
            waiting: Vec::new(),
            is_listed: false,
            has_begun: true,
            unsent: Vec::new(),
            sent: 0,
        }
    }

    /// Gives the connection to somebody else, with the ciphertext that the socket has yet to get
    /// before anything else. Plaintext that has arrived was handed out before.
    #[must_use]
    pub fn into_connection(mut self) -> (Box<ServerConnection>, Vec<u8>) {
        self.shrink();
        (Box::new(self.connection), self.unsent)
    }

    /// Checks what the field comments promise.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn check_invariants(&self) {
        assert!(self.sent < self.unsent.len() || self.sent == 0, "less is sent than there is");
        assert!(self.waiting.is_empty() || self.is_handshaking(), "only handshakes wait");
        assert!(self.is_listed || self.waiting.is_empty(), "whose bytes wait is listed");
        let memory = self.unsent.capacity();
        assert!(!self.unsent.is_empty() || memory == 0, "an empty buffer has no memory");
    }
}

#[cfg(test)]
mod tests;
