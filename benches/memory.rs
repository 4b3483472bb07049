//! What an idle client costs in memory: the slope of the server's memory from 1,000 joined clients
//! to 10,000.
//!
//! ```text
//! this process: 10,000 sockets          its child: a server with one shard
//!   connect, upgrade, join       ---->    session, link, outbox, seat, entity
//!   read one empty delta a second <----   its memory, read from /proc before and after
//! ```
//!
//! `cargo bench -p tickloom-benches --bench memory -- --help`
//!
//! What counts is `Pss` of the child in `/proc/<pid>/smaps_rollup`, which is what the process has
//! in user space; the kernel's buffers, about 9 KiB per connection, are not in it. A slope leaves
//! out what a server has anyway. The rooms have a thousand seats, tick once per second and hold
//! nothing but their members, so a room's own cost does not show: the seats' does.
//!
//! With `--tls`, each round also measures clients whose connections are encrypted, and what counts
//! is what they take more.
//!
//! It does not tell what a client costs that plays: its inputs, and what waits in its outbox. The
//! exit codes are those of `against_floor`.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io};

use anyhow::{Context, ensure};
use clap::Parser;
use tickloom_benches::asked::Asked;
use tickloom_benches::machine::raise_files_limit;
use tickloom_benches::pairs::{Figures, Target, exit_code};
use tickloom_benches::peers::Peers;
use tickloom_benches::run::RoomServer;
use tickloom_protocol::schema::RoomSchema;
use tickloom_server::room::logic::{
    Context as RoomContext, Denial, Joiner, RoomLogic, RoomSpec, RoomType,
};
use tickloom_server::rooms::RoomTypes;
use tickloom_server::tls::identity::TlsSource;

/// KiB that an idle client may cost.
const TARGET: Target = Target::AtMost(2.0);

/// KiB that it may cost more when its connection is encrypted.
const TLS_TARGET: Target = Target::AtMost(14.0);

/// How long clients are idle before memory is read: each gets some empty deltas.
const IDLE: Duration = Duration::from_millis(2_500);

const ROOM_SEATS: usize = 1_000;

/// Measures the server's memory per idle joined client.
#[derive(Parser, Clone, Debug)]
struct Args {
    /// Clients at the first reading
    #[arg(long, default_value_t = 1_000)]
    from: usize,
    /// Clients at the second reading
    #[arg(long, default_value_t = 10_000)]
    to: usize,
    /// Servers to take the median of
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Also measure clients whose connections are encrypted, right after the others
    #[arg(long)]
    tls: bool,
    /// Be the server.
    #[arg(long, hide = true)]
    serve: bool,
    #[command(flatten)]
    asked: Asked,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    if args.asked.quick {
        args = Args { from: 200, to: 1_000, rounds: 1, ..args };
    }
    ensure!(args.from < args.to, "--to {}: must be more than --from {}", args.to, args.from);
    raise_files_limit("--to", args.to as u64 + 200)?;
    if args.serve {
        return serve(&args).map(|()| ExitCode::SUCCESS);
    }
    println!("{:>5}{:>12}{:>12}{:>14}   clients", "round", "KiB before", "KiB after", "KiB/client");
    let (mut figures, mut over) = (Figures::new(TARGET), Figures::new(TLS_TARGET));
    for round in 1..=args.rounds {
        let plain = measure(&args, Wire::Plain)?.print(round, &args, Wire::Plain);
        figures.push(plain, &[]);
        if args.tls {
            let encrypted = measure(&args, Wire::Encrypted)?.print(round, &args, Wire::Encrypted);
            over.push(encrypted - plain, &[]);
        }
    }
    println!("KiB per idle client: {figures}");
    let mut verdicts = vec![figures.verdict()];
    if args.tls {
        println!("KiB more when encrypted: {over}");
        verdicts.push(over.verdict());
    }
    Ok(ExitCode::from(if args.asked.quick { 0 } else { exit_code(&verdicts) }))
}

/// KiB at either end of the slope.
struct Slope {
    before: u64,
    after: u64,
}

impl Slope {
    /// Shows it, and says how many KiB a client takes.
    fn print(&self, round: u32, args: &Args, wire: Wire) -> f64 {
        let Self { before, after } = self;
        let per_client = (*after as f64 - *before as f64) / (args.to - args.from) as f64;
        let (from, to) = (args.from, args.to);
        println!("{round:>5}{before:>12}{after:>12}{per_client:>14.2}   {from} to {to}, {wire:?}");
        per_client
    }
}

/// What connections are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wire {
    Plain,
    Encrypted,
}

fn measure(args: &Args, wire: Wire) -> anyhow::Result<Slope> {
    let server = ServerProcess::start(args, wire)?;
    let mut peers = match wire {
        Wire::Plain => Peers::connect(server.address, "/ws", args.from)?,
        Wire::Encrypted => Peers::connect_encrypted(server.address, "/ws", args.from)?,
    };
    settle(&mut peers, 0)?;
    let before = server.memory_kib()?;
    peers.add(server.address, "/ws", args.to - args.from)?;
    settle(&mut peers, args.from)?;
    let after = server.memory_kib()?;
    // Hanging up is enough: the server is the child's, and the child goes with its input.
    drop(peers);
    server.stop()?;
    Ok(Slope { before, after })
}

/// Joins those from `first` on and lets all of them be idle for a while.
fn settle(peers: &mut Peers, first: usize) -> anyhow::Result<()> {
    for peer in first..peers.count() {
        peers.join(peer, Lobby::NAME, &format!("room-{}", peer / ROOM_SEATS))?;
    }
    // A seat and the first state.
    peers.read_until_each_has(2)?;
    peers.read_for(IDLE)
}

// ---- the server --------------------------------------------------------------------------------

/// This program again, as a server that ends with its standard input.
struct ServerProcess {
    child: Child,
    address: SocketAddr,
}

impl ServerProcess {
    fn start(args: &Args, wire: Wire) -> anyhow::Result<Self> {
        let program = env::current_exe().context("this program's own path")?;
        let mut child = Command::new(program)
            .args(["--serve", "--from", &args.from.to_string(), "--to", &args.to.to_string()])
            .args((wire == Wire::Encrypted).then_some("--tls"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the server")?;
        let output = child.stdout.take().context("the server's output is a pipe")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.with_context(|| format!("the server said {line:?}"))?;
        Ok(Self { child, address })
    }

    fn memory_kib(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = fs::read_to_string(&path).context(path)?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let words = line.and_then(|line| line.split_ascii_whitespace().next());
        words.context("smaps_rollup has no Pss")?.parse().context("Pss is a number")
    }

    fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(args: &Args) -> anyhow::Result<()> {
    let tls = if args.tls { TlsSource::Made } else { TlsSource::Off };
    let server = RoomServer::start_with(tls, &[], &RoomTypes::default().with(Lobby))?;
    println!("{}", server.server().address());
    // Until the parent is gone, on purpose or not.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// A room in which nothing happens.
struct Lobby;

impl Lobby {
    const NAME: &str = "lobby";
}

impl RoomType for Lobby {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn spec(&self) -> RoomSpec {
        let schema = RoomSchema::new(vec![], vec![]).expect("within its limits");
        RoomSpec {
            members_max: ROOM_SEATS,
            entities_max: ROOM_SEATS + 1,
            ..RoomSpec::at_rate(RoomSpec::TICK_RATE_HZ_MIN, Arc::new(schema))
        }
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(Self)
    }
}

impl RoomLogic for Lobby {
    fn on_join(&mut self, _: &mut RoomContext<'_>, _: &Joiner<'_>) -> Result<(), Denial> {
        Ok(())
    }
}
