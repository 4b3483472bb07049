//! One connection that sends as fast as the network lets it, and every byte of it allowed: it gets
//! its share of the shard's thread and no more. Whether that is so is decided between kernel and
//! reactor, so these are real sockets; what is counted is bytes and answers, not time.

mod player;

use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tickloom_protocol::client::ClientEvent;
use tickloom_server::allowance::Allowance;
use tickloom_server::config::Config;
use tickloom_server::rooms::RoomTypes;
use tickloom_server::runtime;

use player::Player;

const HOGS: usize = 3;

/// Bytes of all hogs before anything is counted: by then what kernels hold for them is full.
const WARMUP_BYTES: u64 = 32 << 20;

/// Bytes of all hogs while it is counted.
const COUNTED_BYTES: u64 = 32 << 20;

/// Round trips of the honest one.
const ROUND_TRIPS: usize = 101;

/// Bytes that hogs may get in while the honest one waits for an answer. A turn of the loop reads
/// 64 KiB of each, and an answer takes two or three turns; the rest is for a machine on which the
/// honest one itself waits for its core.
const BYTES_PER_ROUND_TRIP_MAX: u64 = 4 << 20;

/// Sends pongs nobody asked for until it is told to stop: frames that cost a shard as much as any
/// others and are not answered, so that nothing but reading slows the hog down.
fn hog(address: SocketAddr, taken: &AtomicU64, stop: &AtomicBool) {
    let mut player = Player::connect(address);
    let pong = [&[0x8a, 0x80 | 125, 0, 0, 0, 0][..], &[0; 125]].concat();
    let bytes = pong.repeat(2_000);
    player.stream.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let mut start = 0;
    while !stop.load(Ordering::Relaxed) {
        match player.stream.write(&bytes[start..]) {
            Ok(length) => {
                taken.fetch_add(length as u64, Ordering::Relaxed);
                start = (start + length) % bytes.len();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("a hog was cut off: {error}"),
        }
    }
}

/// Asks for the time until the hogs have got so many bytes in, and so often at least; returns how
/// many they got in during each round trip.
fn ask_until(player: &mut Player, sent: impl Fn() -> u64, end: u64, trips: usize) -> Vec<u64> {
    let mut during = Vec::new();
    while sent() < end || during.len() < trips {
        let before = sent();
        player.client.ping(during.len() as u64 + 1);
        player.until(|event| matches!(event, ClientEvent::TimeSync(_)));
        during.push(sent() - before);
    }
    during
}

/// Jain's index (Jain, Chiu and Hawe, 1984): 1 when all have the same, 1/n when one has it all.
fn fairness(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|share| *share as f64).sum();
    let squares: f64 = shares.iter().map(|share| (*share as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

#[test]
fn those_who_never_stop_sending_share_alike_and_others_are_answered_in_between() {
    let mut config = Config { allowance: Allowance::UNLIMITED, ..Config::loopback() };
    config.patience.join = Duration::from_secs(3_600);
    let server = runtime::serve(&config, &RoomTypes::default()).expect("a loopback port");
    let address = server.address();
    let taken: [AtomicU64; HOGS] = Default::default();
    let stop = AtomicBool::new(false);
    let counts = || taken.each_ref().map(|count| count.load(Ordering::Relaxed));
    let sent = || counts().iter().sum::<u64>();
    std::thread::scope(|scope| {
        for taken in &taken {
            scope.spawn(|| hog(address, taken, &stop));
        }
        // The others end with this, also when it fails.
        let _stopping = Stopping(&stop);
        let mut honest = Player::connect(address);
        ask_until(&mut honest, sent, WARMUP_BYTES, 0);
        let before = counts();
        let mut during = ask_until(&mut honest, sent, sent() + COUNTED_BYTES, ROUND_TRIPS);
        let after = counts();
        let shares: Vec<u64> =
            after.iter().zip(before).map(|(after, before)| after - before).collect();
        assert!(fairness(&shares) >= 0.95, "{shares:?}");
        during.sort_unstable();
        let median = during[during.len() / 2];
        assert!(median <= BYTES_PER_ROUND_TRIP_MAX, "{median} of {during:?}");
    });
    server.stopper().stop();
    server.join().expect("every shard ends");
}

/// Says so when it goes out of scope.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
