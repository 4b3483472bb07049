//! Queues without what is around them: a mailbox behind a poll, and an outbox in a member's tick.
#![expect(clippy::disallowed_types, reason = "a mailbox wakes a poll")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mio::{Events, Poll, Token, Waker};
use tickloom_server::config::Config;
use tickloom_server::mailbox::{Inbox, Letter, Mailbox, mailbox};
use tickloom_server::outbox::Outbox;

const MAILBOX: Token = Token(0);

/// A poll and the mail behind it, as a reactor has them.
pub struct Post {
    poll: Poll,
    events: Events,
    mailbox: Mailbox<EmptyLetter>,
    inbox: Inbox<EmptyLetter>,
}

/// As large as a letter but owns nothing, so that a measurement of mail is not one of the
/// allocator.
pub type EmptyLetter = [u64; size_of::<Letter>() / size_of::<u64>()];

impl Post {
    /// Without mail.
    ///
    /// # Panics
    /// When the kernel has no poll for it.
    #[must_use]
    pub fn new() -> Self {
        let poll = Poll::new().expect("the kernel has another poll");
        let waker = Waker::new(poll.registry(), MAILBOX).expect("the poll takes a waker");
        let (mailbox, inbox) = mailbox(Arc::new(waker), Config::loopback().letters_max);
        Self { poll, events: Events::with_capacity(16), mailbox, inbox }
    }

    /// The sending end.
    #[must_use]
    pub fn mailbox(&self) -> Mailbox<EmptyLetter> {
        self.mailbox.clone()
    }

    /// Takes out what is there by `timeout` and says how many letters that were. As in a reactor,
    /// mail is looked for when its waker says so.
    ///
    /// # Errors
    /// The poll failed.
    pub fn receive(&mut self, timeout: Option<Duration>) -> io::Result<u64> {
        self.poll.poll(&mut self.events, timeout)?;
        Ok(if self.events.is_empty() { 0 } else { self.inbox.drain().count() as u64 })
    }

    /// Puts letters in and takes them out, without a look at the poll. Returns how many came.
    ///
    /// # Panics
    /// When the mailbox is full.
    pub fn exchange(&mut self, letters_count: u64) -> u64 {
        for _ in 0..letters_count {
            self.mailbox.send(EmptyLetter::default()).expect("the mailbox has room");
        }
        self.inbox.drain().count() as u64
    }
}

impl Default for Post {
    fn default() -> Self {
        Self::new()
    }
}

/// A member's outbox and what a tick puts into it.
pub struct TickOutbox {
    outbox: Outbox,
    /// A head, the room's shared bytes, and no private tail.
    slices: [Bytes; 3],
    write_buffer: Box<[u8]>,
}

impl TickOutbox {
    /// One that was used before.
    #[must_use]
    pub fn new() -> Self {
        let own = Bytes::from(vec![1; 65]);
        let shared = Bytes::from(vec![2; 225]);
        let mut outbox = Self {
            outbox: Outbox::new(Config::loopback().outbox),
            slices: [own.slice(..), shared.clone(), own.slice(..0)],
            write_buffer: vec![0; 64 * 1024].into(),
        };
        outbox.pass();
        outbox
    }

    /// One tick: the slices go in, are copied together for a write, and go out. Says how many
    /// bytes that were.
    pub fn pass(&mut self) -> usize {
        for slice in &self.slices {
            self.outbox.push(slice.clone());
        }
        let copied = self.outbox.copy_front(&mut self.write_buffer);
        self.outbox.advance(copied);
        copied
    }
}

impl Default for TickOutbox {
    fn default() -> Self {
        Self::new()
    }
}
