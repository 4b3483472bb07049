//! What to do: [`Args`] is what was typed, [`Job`] is what was meant, checked before any start.

mod args;
mod error;
mod load;
pub(crate) mod units;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tickloom_protocol::limits;

pub use args::Args;
use args::{AttackArgs, Command, CourseArgs, EchoArgs, GeneratorArgs, OutputArgs, RunArgs};
pub use error::PlanError;
pub use load::{
    Churn, EchoLoad, Headline, Interruptions, Kind, Load, MessageKind, Pattern, RoomLoad, Storm,
};

use crate::attack::Attack;
use crate::payload::stamp_bytes;
use crate::scenario::bots::{Bot, BotKind, Cast};
use crate::scenario::phases::Phases;
use crate::threshold::Threshold;
use crate::tls::Trust;
use crate::workload::recorded::Script;

/// Highest rate of inputs or ticks. Rooms tick at 128 Hz at most; players send no faster.
const RATE_HZ_MAX: u32 = 128;

/// Most clients of a run. What a process and an address can hold is checked against the machine.
const CLIENTS_MAX: u32 = 1_000_000;

/// Most generator processes, and most threads of one: more than any machine has cores for.
const THREADS_MAX: usize = 256;

/// Most senders: every receiver remembers the last message of each.
const SENDERS_MAX: u32 = 1024;

/// Most messages of one client on their way at once.
const IN_FLIGHT_MAX: u32 = 1024;

/// Messages each sender of a broadcast sends per second when no rate is given.
const BROADCAST_RATE_HZ: u32 = 10;

/// Clients of a run in rooms when no number is given.
const CLIENTS_COUNT: u32 = 1000;

/// How long is measured when nothing is said about it.
const DURATION: Duration = Duration::from_secs(10);

/// The shortest round of a storm: a first try to come back, and a second one that waited longer.
const STORM_EVERY_MIN: Duration = Duration::from_secs(2);

/// Rounds of a storm when no duration is given.
const STORM_ROUNDS: u32 = 10;

/// The rate a spawned server ticks at when none is given.
const TICK_RATE_HZ: u32 = 20;

/// How a server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Scheme {
    /// As it is.
    Ws,
    /// Encrypted.
    Wss,
}

impl Scheme {
    /// Whether connections are encrypted.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        self == Self::Wss
    }

    /// The port when none is given.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }
}

/// Where a server is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Url {
    /// Whether connections are encrypted.
    pub scheme: Scheme,
    /// `HOST:PORT`, as it goes into the `Host` header.
    pub authority: String,
    /// The path to upgrade, such as `/ws`.
    pub path: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.scheme.is_encrypted() { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// What was meant.
#[derive(Clone, PartialEq, Debug)]
pub enum Job {
    /// Put load on a server and report.
    Load(Box<Plan>),
    /// Hold what a server has only so many of.
    Attack(Attack),
    /// Compare two reports.
    Compare(Comparison),
    /// Look at this machine.
    Doctor,
    /// Print the scenarios that are built in, or one of them whole.
    Scenarios(Option<String>),
    /// Drive another process's share of a run.
    Worker,
}

/// Two reports to compare.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// The file to compare with.
    pub before: PathBuf,
    /// The file in question.
    pub after: PathBuf,
    /// How much slower the second may be, in parts of a million.
    pub regress_ppm_max: Option<u64>,
}

/// Which server to drive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Target {
    /// One that runs already.
    Url(Url),
    /// A Tickloom server that is started for the run and stopped after it.
    Spawn {
        /// The rate its rooms tick at.
        tick_rate_hz: u32,
        /// How it is spoken to.
        scheme: Scheme,
    },
    /// A server that a command starts.
    Command {
        /// Where it will listen.
        url: Url,
        /// What starts it.
        command: String,
    },
}

/// One run, checked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// Which server to drive.
    pub target: Target,
    /// Whose certificates the clients believe.
    pub trust: Trust,
    /// Clients to connect; at least one.
    pub clients_count: u32,
    /// What they do.
    pub load: Load,
    /// How long to measure; at least a second.
    pub duration: Duration,
    /// How long to play before that.
    pub warmup: Duration,
    /// Connections to open per second; at least one.
    pub connect_rate_hz: u32,
    /// Whether clients offer to inflate what the server sends.
    pub deflate: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads of each generator process; at least one.
    pub threads_count: usize,
    /// Generator processes; at least one.
    pub processes_count: usize,
    /// Cores the generator is to use.
    pub cores: Option<Vec<usize>>,
    /// Cores a server that is started is to use.
    pub server_cores: Option<Vec<usize>>,
    /// Processes of a server that runs already.
    pub server_pids: Vec<u32>,
    /// Addresses to connect from, in turn; empty to leave that to the kernel.
    pub local_addresses: Vec<IpAddr>,
    /// What must hold.
    #[serde(skip)]
    pub thresholds: Vec<Threshold>,
    /// Where to write the JSON report.
    pub json: Option<PathBuf>,
    /// Whether progress lines are asked for without a terminal.
    pub progress: bool,
}

impl Job {
    /// Checks what was typed.
    ///
    /// # Errors
    /// The first flag that does not fit, by name.
    pub fn new(args: Args) -> Result<Self, PlanError> {
        let plan = match args.command {
            Some(Command::Compare(compare)) => {
                return Ok(Self::Compare(Comparison {
                    before: compare.before,
                    after: compare.after,
                    regress_ppm_max: compare.max_regress,
                }));
            }
            Some(Command::Attack(attack)) => return Attack::new(attack).map(Self::Attack),
            Some(Command::Doctor) => return Ok(Self::Doctor),
            Some(Command::Scenarios(list)) => return Ok(Self::Scenarios(list.name)),
            Some(Command::Worker) => return Ok(Self::Worker),
            Some(Command::Echo(echo)) => Plan::echo(echo)?,
            Some(Command::Run(run)) => Plan::rooms(run)?,
            None => Plan::rooms(args.run)?,
        };
        Ok(Self::Load(Box::new(plan)))
    }
}

impl Attack {
    fn new(args: AttackArgs) -> Result<Self, PlanError> {
        let AttackArgs { kind, url, connections, connect_rate, duration, lifetime_max } = args;
        if connections.get() > CLIENTS_MAX {
            return Err(PlanError::TooManyClients(connections.get()));
        }
        match (kind.scheme(), url.scheme) {
            (Scheme::Ws, Scheme::Wss) => return Err(PlanError::AttackEncrypted(kind)),
            (Scheme::Wss, Scheme::Ws) => return Err(PlanError::AttackPlain(kind)),
            (Scheme::Ws, Scheme::Ws) | (Scheme::Wss, Scheme::Wss) => {}
        }
        let rate = NonZeroU32::new(connect_rate).ok_or(PlanError::ZeroRate("--connect-rate"))?;
        Ok(Self {
            url,
            kind,
            connections_count: connections,
            connect_rate_hz: rate,
            duration,
            lifetime_max,
        })
    }
}

impl Plan {
    fn rooms(run: RunArgs) -> Result<Self, PlanError> {
        let RunArgs { scenario, recording, mut course, mut output, .. } = run.clone();
        let scenario = recording.as_ref().map_or(scenario, Script::scenario);
        let recorded_hz = recording.as_ref().map(Script::tick_rate_hz).filter(|rate| *rate > 0);
        let phases = scenario.phases;
        let (clients, warmup) = match (phases.0.is_empty(), run.clients) {
            (true, clients) => (clients.map_or(CLIENTS_COUNT, NonZeroU32::get), course.warmup),
            (false, Some(_)) => return Err(PlanError::PhasesSay("--clients")),
            (false, None) => (phases.most(), course.warmup),
        };
        if !phases.0.is_empty() {
            if course.duration.is_some() {
                return Err(PlanError::PhasesSay("--duration"));
            }
            course.duration = Some(phases.duration());
            // Nobody plays before a ramp that begins at nothing.
            course.warmup = if phases.first_count(clients) == 0 { Duration::ZERO } else { warmup };
        }
        if let Some(every) = run.interruptions.storm {
            course.duration = Some(check_storm(every, course.duration, &phases)?);
        }
        let mut bots = scenario.bots;
        for bot in &mut bots {
            let has_rate = bot.kind.rate_hz() > 0;
            bot.rate_hz = run.input_rate.filter(|_| has_rate).unwrap_or(bot.rate_hz);
            bot.room_size = run.room_size.map_or(bot.room_size, NonZeroU32::get);
            let by_player = matches!(bot.kind, BotKind::Arena | BotKind::World | BotKind::State);
            if by_player && bot.rate_hz > RATE_HZ_MAX {
                return Err(PlanError::RateTooHigh { flag: "--input-rate", rate_hz: bot.rate_hz });
            }
        }
        if let Some(rooms) = run.rooms.map(NonZeroU32::get) {
            if rooms > clients {
                return Err(PlanError::MoreRoomsThanClients { rooms, clients });
            }
            if bots.iter().any(|bot| bot.room_type != bots[0].room_type) {
                return Err(PlanError::SeveralRoomTypes);
            }
        }
        if bots.iter().any(|bot| bot.kind == BotKind::Lobby) {
            check_lobby(&bots, &run)?;
        }
        let tick_rate_hz = run.tick_rate.or(recorded_hz).unwrap_or(TICK_RATE_HZ);
        match tick_rate_hz {
            0 => return Err(PlanError::ZeroRate("--tick-rate")),
            1..=RATE_HZ_MAX => {}
            rate_hz => return Err(PlanError::RateTooHigh { flag: "--tick-rate", rate_hz }),
        }
        output.threshold.extend(scenario.thresholds);
        let cast = Cast::new(bots, clients, run.rooms.map(NonZeroU32::get), run.slow_readers);
        let load = Load::Rooms(Box::new(RoomLoad {
            scenario: scenario.name,
            cast,
            script: recording,
            phases,
            churn: run.churn,
            interruptions: run.interruptions.into(),
        }));
        let target = run.url.map_or(
            Target::Spawn { tick_rate_hz, scheme: run.generator.tls.spawned() },
            Target::Url,
        );
        Self::new(target, clients, load, course, run.generator, output)
    }

    fn echo(echo: EchoArgs) -> Result<Self, PlanError> {
        let clients = echo.clients.get();
        let kind = if echo.text { MessageKind::Text } else { MessageKind::Binary };
        let (payload, least) = (echo.payload.get(), stamp_bytes(kind));
        let most = limits::CLIENT_MESSAGE_BYTES_MAX;
        if !(least..=most).contains(&(payload as usize)) {
            return Err(PlanError::BadPayload { payload, least, most });
        }
        let load = Load::Echo(EchoLoad {
            payload_bytes: payload,
            kind,
            pattern: pattern(&echo)?,
            subprotocol: echo.subprotocol,
        });
        let target = match (echo.url, echo.spawn) {
            (Some(url), Some(command)) => Target::Command { url, command },
            (Some(url), None) => Target::Url(url),
            (None, _) => {
                Target::Spawn { tick_rate_hz: TICK_RATE_HZ, scheme: echo.generator.tls.spawned() }
            }
        };
        Self::new(target, clients, load, echo.course, echo.generator, echo.output)
    }

    fn new(
        target: Target,
        clients: u32,
        load: Load,
        course: CourseArgs,
        generator: GeneratorArgs,
        output: OutputArgs,
    ) -> Result<Self, PlanError> {
        if clients > CLIENTS_MAX {
            return Err(PlanError::TooManyClients(clients));
        }
        let duration = course.duration.unwrap_or(DURATION);
        if duration < Duration::from_secs(1) {
            return Err(PlanError::TooShort);
        }
        if course.connect_rate == 0 {
            return Err(PlanError::ZeroRate("--connect-rate"));
        }
        let GeneratorArgs { threads, processes, .. } = generator;
        let is_sensible = |count: usize| (1..=THREADS_MAX).contains(&count);
        if !is_sensible(threads)
            || !is_sensible(processes)
            || threads * processes > clients as usize
        {
            return Err(PlanError::BadThreads { threads, processes, clients });
        }
        if generator.server_cores.is_some() && matches!(target, Target::Url(_)) {
            return Err(PlanError::NotOurServer);
        }
        let trust = generator.tls.trust(&target)?;
        Ok(Self {
            target,
            trust,
            clients_count: clients,
            load,
            duration,
            warmup: course.warmup,
            connect_rate_hz: course.connect_rate,
            deflate: course.deflate,
            seed: course.seed,
            threads_count: threads,
            processes_count: processes,
            cores: generator.cores.map(|list| list.0),
            server_cores: generator.server_cores.map(|list| list.0),
            server_pids: generator.server_pid,
            local_addresses: generator.local_addr.map(|list| list.0).unwrap_or_default(),
            thresholds: output.threshold,
            json: output.json,
            progress: output.progress,
        })
    }

    /// Threads of all generator processes together; the clients are dealt out to them in turn.
    #[must_use]
    pub fn shares_count(&self) -> usize {
        self.threads_count * self.processes_count
    }

    /// The load on rooms, when it is one.
    #[must_use]
    pub fn rooms_load(&self) -> Option<&RoomLoad> {
        match &self.load {
            Load::Rooms(rooms) => Some(rooms),
            Load::Echo(_) => None,
        }
    }

    /// How many clients there are when; without phases all of them all the time.
    #[must_use]
    pub fn phases(&self) -> &Phases {
        static NONE: Phases = Phases(Vec::new());
        self.rooms_load().map_or(&NONE, |rooms| &rooms.phases)
    }

    /// The rounds in which everybody is cut off, when there are any.
    #[must_use]
    pub fn storm(&self) -> Option<Storm> {
        self.rooms_load().and_then(|rooms| rooms.interruptions.storm)
    }

    /// What the clients do, in a word.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.load.kind()
    }

    /// Microseconds between two things a client sends by the clock; `None` when it sends nothing
    /// or waits for answers.
    #[must_use]
    pub fn send_period_us(&self) -> Option<u64> {
        let (senders, rate_hz) = match &self.load {
            Load::Rooms(rooms) => (1, rooms.rate_hz_max()),
            Load::Echo(echo) => match echo.pattern {
                Pattern::Closed { .. } => return None,
                Pattern::Open { rate_hz } => (self.clients_count, rate_hz),
                Pattern::Broadcast { senders_count, rate_hz } => (senders_count, rate_hz),
            },
        };
        (u64::from(senders) * 1_000_000).checked_div(u64::from(rate_hz))
    }
}

/// How long a run with a storm takes.
fn check_storm(
    every: Duration,
    duration: Option<Duration>,
    phases: &Phases,
) -> Result<Duration, PlanError> {
    if !phases.0.is_empty() {
        return Err(PlanError::PhasesSay("--storm"));
    }
    if every < STORM_EVERY_MIN {
        return Err(PlanError::StormTooShort(every));
    }
    let duration = duration.unwrap_or(every * (STORM_ROUNDS + 1));
    let least = every * 2;
    if duration < least { Err(PlanError::NoStorm { every, least }) } else { Ok(duration) }
}

/// Checks what only makes sense for clients that are in one room.
fn check_lobby(bots: &[Bot], run: &RunArgs) -> Result<(), PlanError> {
    if bots.iter().any(|bot| bot.kind != BotKind::Lobby) {
        return Err(PlanError::LobbyAlone);
    }
    let interruptions = run.interruptions;
    let flags = [
        ("--rooms", run.rooms.is_some()),
        ("--input-rate", run.input_rate.is_some()),
        ("--tick-rate", run.tick_rate.is_some()),
        ("--slow-readers", run.slow_readers.is_some()),
        ("--churn", run.churn.is_some()),
        ("--storm", interruptions.storm.is_some()),
        ("--drop-rate", interruptions.drop_rate.is_some()),
        ("--patience", interruptions.patience.is_some()),
        ("--hidden", interruptions.hidden.is_some()),
    ];
    match flags.into_iter().find(|(_, is_given)| *is_given) {
        Some((flag, _)) => Err(PlanError::NotInLobby(flag)),
        None => Ok(()),
    }
}

fn pattern(echo: &EchoArgs) -> Result<Pattern, PlanError> {
    let (clients, senders) = (echo.clients.get(), echo.senders.get());
    if echo.rate == Some(0) {
        return Err(PlanError::ZeroRate("--rate"));
    }
    let at_most = |flag, number, most| {
        if number > most { Err(PlanError::TooMany { flag, number, most }) } else { Ok(number) }
    };
    if !echo.broadcast {
        return Ok(match echo.rate {
            Some(rate_hz) => Pattern::Open { rate_hz },
            None => Pattern::Closed {
                in_flight: at_most("--in-flight", echo.in_flight.get(), IN_FLIGHT_MAX)?,
            },
        });
    }
    if clients < 2 {
        return Err(PlanError::NobodyListens);
    }
    if senders > clients {
        return Err(PlanError::MoreSendersThanClients { senders, clients });
    }
    let senders_count = at_most("--senders", senders, SENDERS_MAX)?;
    let rate_hz = echo.rate.unwrap_or(senders_count * BROADCAST_RATE_HZ);
    Ok(Pattern::Broadcast { senders_count, rate_hz })
}

#[cfg(test)]
mod tests;
