//! Mail between shards: what a letter costs its sender, and how long it is on its way.
//!
//! ```text
//! hop/send_running     the receiver's loop is awake: put in, and at times write its waker
//! hop/wake_sleeping    the receiver sleeps in its poll: put in and wake it, the sender's part
//! hop/round_trip       both sleep: there, and an answer back, until it was taken out
//! ```
//!
//! `cargo bench -p tickloom-benches --bench hop`. Sender and receiver are threads pinned to the
//! first and the last allowed core; on a machine with one core nothing is pinned, the two take
//! turns on it, and only the first figure means anything.
//!
//! It does not tell what a session's move costs, which is two registrations with polls more.
#![expect(
    clippy::disallowed_methods,
    reason = "a measurement of the edge: it owns threads and a clock"
)]

use std::cell::RefCell;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use criterion::Criterion;
use tickloom_benches::machine::Cores;
use tickloom_benches::queues::{EmptyLetter, Post};
use tickloom_server::mailbox::Mailbox;

/// A thread that has nothing to do is asleep in its poll after this long.
const ASLEEP_AFTER: Duration = Duration::from_micros(100);

fn main() {
    let cores = Cores::split();
    if let Some(cores) = cores {
        cores.pin_clients().expect("an allowed core can be pinned to");
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("hop");
    group.bench_function("send_running", |b| {
        let receiver = Receiver::start(cores, Manner::Awake);
        b.iter_custom(|letters_count| receiver.time_sends(letters_count));
    });
    group.bench_function("wake_sleeping", |b| {
        let receiver = Receiver::start(cores, Manner::Asleep);
        b.iter_custom(|letters_count| receiver.time_wakes(letters_count));
    });
    group.bench_function("round_trip", |b| {
        let receiver = Receiver::start(cores, Manner::Answering);
        b.iter_custom(|letters_count| receiver.time_round_trips(letters_count));
    });
    group.finish();
    criterion.final_summary();
}

/// What the receiving thread does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It polls without ever sleeping, as a busy shard does.
    Awake,
    /// It sleeps until mail wakes it.
    Asleep,
    /// It sleeps until mail wakes it, and answers each letter.
    Answering,
}

/// The other thread.
struct Receiver {
    mailbox: Mailbox<EmptyLetter>,
    received: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
    answers: RefCell<Post>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    fn start(cores: Option<Cores>, manner: Manner) -> Self {
        let (mut post, answers) = (Post::new(), Post::new());
        let (mailbox, answering) = (post.mailbox(), answers.mailbox());
        let received = Arc::new(AtomicU64::new(0));
        let stops = Arc::new(AtomicBool::new(false));
        let (counter, told_to_stop) = (Arc::clone(&received), Arc::clone(&stops));
        let thread = thread::spawn(move || {
            if let Some(cores) = cores {
                cores.pin_server().expect("an allowed core can be pinned to");
            }
            let timeout = (manner == Manner::Awake).then_some(Duration::ZERO);
            while !told_to_stop.load(Ordering::Acquire) {
                let letters_count = post.receive(timeout).expect("the poll works");
                counter.fetch_add(letters_count, Ordering::AcqRel);
                if manner == Manner::Answering {
                    (0..letters_count).for_each(|_| send(&answering));
                }
            }
        });
        Self { mailbox, received, stops, answers: answers.into(), thread: Some(thread) }
    }

    /// From the first letter until the last was taken out: what a letter costs when many follow
    /// each other, the slower of the two ends.
    fn time_sends(&self, letters_count: u64) -> Duration {
        let target = self.received.load(Ordering::Acquire) + letters_count;
        let start = Instant::now();
        (0..letters_count).for_each(|_| send(&self.mailbox));
        self.await_received(target);
        start.elapsed()
    }

    /// The sender's part only.
    fn time_wakes(&self, letters_count: u64) -> Duration {
        let mut total = Duration::ZERO;
        for _ in 0..letters_count {
            let target = self.received.load(Ordering::Acquire) + 1;
            rest();
            let start = Instant::now();
            send(&self.mailbox);
            total += start.elapsed();
            self.await_received(target);
        }
        total
    }

    fn time_round_trips(&self, letters_count: u64) -> Duration {
        let mut answers = self.answers.borrow_mut();
        let mut total = Duration::ZERO;
        for _ in 0..letters_count {
            rest();
            let start = Instant::now();
            send(&self.mailbox);
            while answers.receive(None).expect("the poll works") == 0 {}
            total += start.elapsed();
        }
        total
    }

    fn await_received(&self, target: u64) {
        while self.received.load(Ordering::Acquire) < target {
            // With one core the other thread needs it to get there.
            thread::yield_now();
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        send(&self.mailbox);
        let thread = self.thread.take().expect("it is joined once");
        thread.join().expect("the receiver does not panic");
    }
}

/// Sends a letter, when the mailbox is full as soon as there is room.
fn send(mailbox: &Mailbox<EmptyLetter>) {
    let mut letter = EmptyLetter::default();
    while let Err(returned) = mailbox.send(letter) {
        letter = *returned;
        thread::yield_now();
    }
}

/// Lets the receiver fall asleep.
fn rest() {
    let start = Instant::now();
    while start.elapsed() < ASLEEP_AFTER {
        spin_loop();
    }
}
