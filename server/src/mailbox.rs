//! The channel between shards: bounded, and each send wakes a receiver that may be asleep.
#![expect(clippy::disallowed_types, reason = "an edge module: a waker and travelling sockets")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::Waker;
use mio::net::TcpStream;

use crate::mail::Mail;

/// Letters a shard may have waiting. A letter is a session on the move, so this is far more than
/// one turn of the loop leaves behind; a full mailbox is overload, and its sender is told.
const LETTERS_MAX: usize = 4096;

/// A piece of mail and the socket that goes with it.
#[derive(Debug)]
pub struct Letter {
    /// What it says.
    pub mail: Mail,
    /// The socket of the session in it.
    pub socket: Option<TcpStream>,
}

/// The sending end. Every shard has one for every other.
#[derive(Clone, Debug)]
pub struct Mailbox {
    sender: Sender<Letter>,
    /// Set from the first letter until the receiver drains: one wake is enough for all of them.
    woken: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Letter>,
    woken: Arc<AtomicBool>,
}

/// A mailbox that wakes the poll behind `waker`.
#[must_use]
pub fn mailbox(waker: Arc<Waker>) -> (Mailbox, Inbox) {
    let (sender, receiver) = bounded(LETTERS_MAX);
    let woken = Arc::new(AtomicBool::new(false));
    (Mailbox { sender, woken: Arc::clone(&woken), waker }, Inbox { receiver, woken })
}

impl Mailbox {
    /// Puts a letter in and wakes the receiver.
    ///
    /// # Errors
    /// The letter, when the mailbox is full or its shard has ended.
    pub fn send(&self, letter: Letter) -> Result<(), Box<Letter>> {
        self.sender.try_send(letter).map_err(|error| match error {
            TrySendError::Full(letter) | TrySendError::Disconnected(letter) => Box::new(letter),
        })?;
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(event = "mailbox.wake", %error, "a shard could not be woken");
        }
        Ok(())
    }
}

impl Inbox {
    /// Takes out every letter there is. The flag is cleared first: in the other order a letter
    /// sent between the last receive and the clearing would wait for an unrelated event.
    pub fn drain(&self) -> impl Iterator<Item = Letter> {
        self.woken.store(false, Ordering::Release);
        self.receiver.try_iter()
    }
}
