//! The channel between shards: bounded, and each send wakes a receiver that may be asleep.
#![expect(clippy::disallowed_types, reason = "an edge module: a waker and travelling sockets")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use mio::Waker;
use mio::net::TcpStream;

use crate::mail::Mail;

/// A piece of mail and the socket that goes with it.
#[derive(Debug)]
pub struct Letter {
    /// What it says.
    pub mail: Mail,
    /// The socket of the session in it.
    pub socket: Option<TcpStream>,
}

/// The sending end. Every shard has one for every other. It does not look at what it carries,
/// which is letters except in benchmarks.
#[derive(Debug)]
pub struct Mailbox<L = Letter> {
    sender: Sender<L>,
    /// Set from the first letter until the receiver drains: one wake is enough for all of them.
    woken: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

/// The receiving end.
#[derive(Debug)]
pub struct Inbox<L = Letter> {
    receiver: Receiver<L>,
    woken: Arc<AtomicBool>,
}

/// A mailbox that wakes the poll behind `waker` and has room for `letters_max` letters. A full
/// one is overload, and its sender is told.
#[must_use]
pub fn mailbox<L>(waker: Arc<Waker>, letters_max: usize) -> (Mailbox<L>, Inbox<L>) {
    let (sender, receiver) = bounded(letters_max);
    let woken = Arc::new(AtomicBool::new(false));
    (Mailbox { sender, woken: Arc::clone(&woken), waker }, Inbox { receiver, woken })
}

impl<L> Clone for Mailbox<L> {
    fn clone(&self) -> Self {
        let (sender, woken, waker) = (self.sender.clone(), self.woken.clone(), self.waker.clone());
        Self { sender, woken, waker }
    }
}

impl<L> Mailbox<L> {
    /// Puts a letter in and wakes the receiver.
    ///
    /// # Errors
    /// The letter, when the mailbox is full or its shard has ended.
    pub fn send(&self, letter: L) -> Result<(), Box<L>> {
        self.sender.try_send(letter).map_err(|error| match error {
            TrySendError::Full(letter) | TrySendError::Disconnected(letter) => Box::new(letter),
        })?;
        self.wake();
        Ok(())
    }

    /// Wakes the receiver without a letter, which works when there is no room for one, too.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(event = "mailbox.wake", %error, "a shard could not be woken");
        }
    }
}

impl<L> Inbox<L> {
    /// Takes out every letter there is. The flag is cleared first: in the other order a letter
    /// sent between the last receive and the clearing would wait for an unrelated event.
    pub fn drain(&self) -> impl Iterator<Item = L> {
        self.woken.store(false, Ordering::Release);
        self.receiver.try_iter()
    }
}
