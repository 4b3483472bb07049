//! What encryption costs the server: handshakes, and a message to everybody.
//!
//! ```text
//! handshakes   our end of TLS in memory, against a client in the same thread   us of the server
//! broadcast    one publication of 200 B to 500 connections, ws and wss          CPU per delivery
//! ```
//!
//! `cargo bench -p tickloom-benches --bench wss -- --help`
//!
//! `broadcast` is a member's publication in a `relay`, as every server has it: its frame is made
//! once, copied into each connection's record and encrypted there. Both servers run in this
//! process, one after the other, as one thread on the first core; the clients are on the last one.
//! What is compared is CPU time of the server's thread per frame that clients received. What idle
//! connections take in memory is `memory --tls`. The exit codes are those of `against_floor`.
#![expect(clippy::disallowed_methods, reason = "a measurement of time reads the clock")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Parser;
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::{Cores, raise_files_limit};
use tickloom_benches::pairs::{Figures, Target, exit_code};
use tickloom_benches::peers::Peers;
use tickloom_benches::run::{RoomServer, Run, Watch, Work};
use tickloom_loadtest::plan::{Scheme, Url};
use tickloom_loadtest::tls::{Encryption, Tls as ClientTls, Trust};
use tickloom_protocol::ids::TopicId;
use tickloom_server::config::Config;
use tickloom_server::outbox::Outbox;
use tickloom_server::rooms::built_in_types;
use tickloom_server::tls::identity::{Identity, TlsSource};
use tickloom_server::tls::{Agreed, Tls};

/// What a delivery over wss may cost of one over ws.
const TARGET: Target = Target::AtMost(1.35);

/// `danmaku`, the topic of a `relay` that is kept for nobody who comes late.
const DANMAKU: TopicId = TopicId(1);

/// What a publication says, so that its frame has about 200 B.
const BODY_BYTES: usize = 150;

/// As often as a `relay` tells its members something.
const RATE_HZ: u32 = 20;

/// Both ends of the connections and everything else.
const FILES_COUNT: u64 = 1_200;

/// Measures what encryption costs.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Pairs of broadcasts to take the median of
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Connections of a broadcast
    #[arg(long, default_value_t = 500)]
    connections: usize,
    /// Messages of a broadcast
    #[arg(long, default_value_t = 150)]
    messages: u32,
    /// Handshakes of each kind
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    handshakes: u32,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    if args.asked.quick {
        args = Args { pairs: 1, connections: 50, messages: 10, handshakes: 20, ..args };
    }
    raise_files_limit("the connections", FILES_COUNT)?;
    let cores = Cores::split();
    if let Some(cores) = cores {
        cores.pin_clients()?;
        println!("servers on core {}, clients on {}", cores.server, cores.clients);
    }
    println!("\nhandshakes: us of the server, fastest and median of {}", args.handshakes);
    for wanted in [Agreed::Full, Agreed::Resumed] {
        let (fastest, median) = handshakes(wanted, args.handshakes)?;
        println!("{:>10}{fastest:>8.0}{median:>8.0}", format!("{wanted:?}").to_lowercase());
    }
    println!("\nbroadcast: {} messages to {}", args.messages, args.connections);
    println!(
        "{:>4}{:>12}{:>12}{:>7}{:>9}   frames, ws | wss",
        "pair", "ws, ns", "wss, ns", "ratio", "B/frame"
    );
    let mut figures = Figures::new(TARGET);
    for pair in 0..args.pairs {
        let mut order = [TlsSource::Off, TlsSource::Made];
        order.rotate_left(pair as usize % 2);
        let (mut plain, mut encrypted) = (None, None);
        for tls in order {
            let place = if tls == TlsSource::Off { &mut plain } else { &mut encrypted };
            *place = Some(broadcast(&args, tls, cores)?);
        }
        let (plain, encrypted) = plain.zip(encrypted).context("a pair has both sides")?;
        let (plain_ns, encrypted_ns) = (plain.cpu_ns()?, encrypted.cpu_ns()?);
        let ratio = encrypted_ns / plain_ns;
        println!(
            "{:>4}{plain_ns:>12.0}{encrypted_ns:>12.0}{ratio:>7.2}{:>9}   {} | {}",
            pair + 1,
            plain.frame_bytes,
            plain.work,
            encrypted.work,
        );
        figures.push(ratio, &[plain.window, encrypted.window]);
        let doubts = [plain.doubt, encrypted.doubt];
        doubts.into_iter().flatten().for_each(|doubt| figures.doubt(doubt));
    }
    println!("broadcast: {figures}");
    Ok(ExitCode::from(if args.asked.quick { 0 } else { exit_code(&[figures.verdict()]) }))
}

/// One run: everybody joins, and messages are published at their rate, each when all have the last
/// one.
fn broadcast(args: &Args, tls: TlsSource, cores: Option<Cores>) -> anyhow::Result<Run> {
    let connect = match tls {
        TlsSource::Off => Peers::connect,
        TlsSource::Files(_) | TlsSource::Made => Peers::connect_encrypted,
    };
    let room_types = built_in_types(&Config::loopback());
    let server = RoomServer::start_with(tls, &RoomServer::one_core(cores), &room_types)?;
    let mut peers = connect(server.server().address(), "/ws", args.connections)?;
    (0..peers.count()).try_for_each(|peer| peers.join(peer, "relay", "topic"))?;
    // A seat and the first state each; then the news of the last joiners.
    peers.read_until_each_has(2)?;
    peers.read_for(Duration::from_millis(200))?;
    let warm_up = args.messages / 5;
    deliver(&mut peers, warm_up)?;
    let watch = Watch::room_server(&peers);
    deliver(&mut peers, args.messages)?;
    let watched = watch.end(&peers);
    let ledger = server.stop(peers)?;
    let sent = args.connections as u64 + u64::from(warm_up + args.messages);
    let work = Work {
        written: ledger.room_frames,
        received: ledger.received,
        sent,
        read: ledger.messages,
    };
    watched.of(work, ledger.doubt())
}

fn deliver(peers: &mut Peers, messages: u32) -> anyhow::Result<()> {
    for _ in 0..messages {
        let frames = peers.received().frames + peers.count() as u64;
        peers.read_for(Duration::from_secs(1) / RATE_HZ)?;
        peers.publish(0, DANMAKU, &[7; BODY_BYTES])?;
        peers.read_until_frames(frames)?;
    }
    Ok(())
}

/// Microseconds that our end takes for one handshake, tickets included: the fastest and the median.
fn handshakes(wanted: Agreed, count: u32) -> anyhow::Result<(f64, f64)> {
    let listen = Config::loopback().listen;
    let identity = Identity::of(&TlsSource::Made, listen)?.context("it is encrypted")?;
    let authority = "localhost:1".to_owned();
    let url = Url { scheme: Scheme::Wss, authority, path: String::new() };
    let anybody = Encryption::of(&url, &Trust::Anybody)?.context("it is encrypted")?;
    let mut times = Vec::new();
    let client = anybody.of_client();
    if wanted == Agreed::Resumed {
        handshake(&identity, &client)?;
    }
    for _ in 0..count {
        let (agreed, time) = match wanted {
            Agreed::Full => handshake(&identity, &anybody.of_client())?,
            Agreed::Resumed => handshake(&identity, &client)?,
        };
        ensure!(agreed == wanted, "it was {agreed:?}");
        times.push(time.as_nanos() as f64 / 1_000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}

fn handshake(identity: &Identity, client: &Encryption) -> anyhow::Result<(Agreed, Duration)> {
    let mut outbox = Outbox::new(Config::loopback().outbox);
    let (mut copy, mut lent, mut said) = (vec![0; 1024], Vec::new(), Vec::new());
    let mut client = ClientTls::new(client);
    let mut time = Duration::ZERO;
    let begun = Instant::now();
    let mut server = Tls::new(identity.config());
    time += begun.elapsed();
    loop {
        let up = std::mem::take(client.output(&mut Vec::new()));
        if up.is_empty() {
            break;
        }
        let begun = Instant::now();
        server.read(&up, &mut said)?;
        let mut down = Vec::new();
        while let Some(bytes) = server.outgoing(&mut outbox, &mut copy, &mut lent) {
            down.extend_from_slice(bytes);
            let sent = bytes.len();
            server.advance(sent, &mut lent);
        }
        time += begun.elapsed();
        client.read(&down, &mut said)?;
    }
    let agreed = server.agreed().filter(|_| server.is_open());
    Ok((agreed.context("the handshake ended")?, time))
}
