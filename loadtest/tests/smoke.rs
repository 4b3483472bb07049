//! The whole generator but its process: twenty clients over loopback against an in-process double.
#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "a socket test")]

#[path = "double/mod.rs"]
mod double;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::Parser;
use double::{Double, Fault};
use rustix::time::{ClockId, clock_gettime};
use tickloom_loadtest::cores::Cores;
use tickloom_loadtest::driver::{self, Interval, Run, RunError};
use tickloom_loadtest::environment::Environment;
use tickloom_loadtest::plan::{Args, Job, Target};
use tickloom_loadtest::report::{Circumstances, Report, Seconds};
use tickloom_loadtest::verdict::Exit;
use tickloom_protocol::server_message::RoomClock;
use tickloom_protocol::time::Timestamp;

const TICK_US: u32 = 20_000;

fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Monotonic);
    Timestamp(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

/// Serves one room on a free port until told to stop. With a tick given, one member's delta of
/// that tick states a wrong hash.
fn serve(stop: &Arc<AtomicBool>, wrong_hash_at: Option<u32>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("nonblocking");
    let address = listener.local_addr().expect("bound");
    let stop = Arc::clone(stop);
    let server = thread::spawn(move || {
        let clock = RoomClock { epoch: now(), tick_us: TICK_US, send_every: 1 };
        let mut double = Double::new(clock);
        let mut sockets: Vec<TcpStream> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            while let Ok((socket, _)) = listener.accept() {
                socket.set_nonblocking(true).expect("nonblocking");
                double.connect();
                sockets.push(socket);
            }
            if clock.due(double.tick.next()) <= now() {
                if wrong_hash_at == Some(double.tick.0) {
                    double.members.last_mut().expect("members").fault = Fault::WrongHash;
                }
                double.tick();
            }
            for (member, socket) in sockets.iter_mut().enumerate() {
                exchange(&mut double, member, socket);
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    (address, server)
}

fn exchange(double: &mut Double, member: usize, socket: &mut TcpStream) {
    let mut buffer = [0; 4096];
    match socket.read(&mut buffer) {
        Ok(n) if n > 0 => double.handle_bytes(member, &buffer[..n], now()),
        // The end of a connection is what its last frame said it is.
        Ok(_) => return,
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset),
            "{error}"
        ),
    }
    let output = double.take_output(member);
    // Loopback takes these few bytes at once, or the client is gone.
    let _ = socket.write_all(&output);
}

fn run(address: SocketAddr, flags: &str) -> Result<(Report, Vec<Interval>), RunError> {
    let url = format!("ws://{address}/ws");
    let words = ["loadtest", "run", "--url", &url].into_iter().chain(flags.split_whitespace());
    let Ok(Job::Load(plan)) = Job::new(Args::parse_from(words)) else { panic!("a plan") };
    let Target::Url(url) = &plan.target else { panic!("a URL was given") };
    let mut seconds = Vec::new();
    let mut progress = |second: &Interval| seconds.push(second.clone());
    let measured = driver::run(Run {
        plan: &plan,
        url,
        server: None,
        cores: &[],
        interrupted: &AtomicBool::new(false),
        progress: &mut progress,
    })?;
    let cores = Cores::default();
    let environment = Environment::look("smoke".to_owned(), Vec::new());
    let circumstances = Circumstances { plan: &plan, url, cores: &cores, environment };
    Ok((Report::new(circumstances, measured), seconds))
}

const FLAGS: &str = "-n 20 -d 1s --warmup 100ms --connect-rate 1k --threads 2 --input-rate 50";

#[test]
fn twenty_clients_measure_a_good_server() {
    let stop = Arc::new(AtomicBool::new(false));
    let (address, server) = serve(&stop, None);
    let (report, seconds) = run(address, FLAGS).expect("a run");
    stop.store(true, Ordering::Relaxed);
    server.join().expect("the double is fine");

    let text = report.text(Seconds::Shown);
    let counters = &report.counters;
    assert_eq!((counters.clients_joined, report.reach.lost), (20, 0), "{text}");
    assert!(report.judgement.failures.is_empty(), "{text}");
    assert!(counters.hashes_checked > 500, "{text}");
    // 50 Hz for a second, twenty times; one send more or less at either end.
    assert!((950..=1050).contains(&counters.inputs_sent), "{text}");
    assert!((900..=1100).contains(&counters.deltas_applied), "{text}");
    assert!((1900..=2020).contains(&report.summary.state_age_us.count), "{text}");
    assert!(report.summary.state_age_us.max >= 10_000, "{text}");
    assert!(counters.bytes_down > 0 && counters.bytes_up > 0, "{text}");
    assert_eq!(seconds.iter().filter(|second| second.measured).count(), 1, "{seconds:?}");

    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["schema"], "tickloom.loadtest/1");
    assert_eq!(json["counters"]["clients_joined"], 20);
    assert!(json["exit_code"].is_u64() && json["verdict"].is_string(), "{json}");
}

#[test]
fn a_wrong_hash_on_the_wire_fails_the_run() {
    let stop = Arc::new(AtomicBool::new(false));
    let (address, server) = serve(&stop, Some(40));
    let (report, _) = run(address, FLAGS).expect("a run");
    stop.store(true, Ordering::Relaxed);
    server.join().expect("the double is fine");
    let text = report.text(Seconds::Left);
    assert_eq!((report.counters.hash_mismatches, report.counters.resyncs), (1, 1), "{text}");
    assert_eq!(report.judgement.exit_code, Exit::Failed, "{text}");
}

#[test]
fn nobody_listening_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let error = run(address, FLAGS).err();
    assert!(matches!(error, Some(RunError::Unreachable { .. })), "{error:?}");
}
