//! One run as text for people and as JSON for programs.
//!
//! The JSON is [`Report`] as serde writes it: times in microseconds, sizes in bytes, shares in
//! parts of a million, all of them integers and none of them rounded for show.

pub mod metrics;
mod rooms;
mod storm;
mod table;
pub(crate) mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::agreement::Agreement;
use crate::cores::Cores;
use crate::driver::{Clock, Interval, Measured};
use crate::environment::Environment;
use crate::health::{MemoryTrend, ThreadHealth};
pub use crate::plan::Kind;
use crate::plan::{EchoLoad, Headline, Load, MessageKind, Pattern, Plan, RoomLoad, Target, Url};
use crate::tally::{Counters, Kinds, Summary, Tally, Times};
use crate::threshold::Outcome;
use crate::verdict::{Evidence, Judgement, Reach};
use metrics::{Figures, Metric};

pub use rooms::{PhaseReport, RoomScenario, SettledMemory};
pub use storm::RoundReport;
pub use table::Table;
pub use text::Seconds;

/// The name and version of the JSON's shape.
pub const SCHEMA: &str = "tickloom.loadtest/1";

/// Everything a run is known by afterwards.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The name and version of this shape.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: &'static str,
    /// Verdict, reasons, failures and exit code.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// What was asked for.
    pub scenario: Scenario,
    /// What had to hold, and whether it did.
    pub thresholds: Vec<Outcome>,
    /// Every figure under one name, whose end is its unit; those that were not measured are left
    /// out.
    pub metrics: BTreeMap<&'static str, u64>,
    /// Where it ran.
    pub environment: Environment,
    /// Which cores did what.
    pub cores: CoresUsed,
    /// How the server's clock relates to the generator's.
    pub clock: Clock,
    /// Whether it was cut short by hand.
    pub interrupted: bool,
    /// When the first connection was begun, in microseconds since 1970.
    pub started_unix_us: u64,
    /// From the first connection until everybody had joined or failed.
    pub ramp_us: u64,
    /// How long was measured.
    pub measured_us: u64,
    /// All distributions, in microseconds.
    pub summary: Summaries,
    /// The same distributions as far as they were measured, whole: HdrHistogram's compressed V2
    /// form in base64, which its implementations in other languages read and merge.
    #[schemars(with = "BTreeMap<String, String>")]
    pub histograms: BTreeMap<&'static str, Times>,
    /// How much of what was sent arrived.
    pub reach: Reach,
    /// The same, in parts of a million.
    pub reach_ppm: u64,
    /// What clients of one room agree on.
    pub agreement: Agreement,
    /// Phase by phase; empty without phases.
    pub phases: Vec<PhaseReport>,
    /// Round by round of a storm; empty without one.
    pub storm: Vec<RoundReport>,
    /// The server's memory while the same clients were there; null when it is not known.
    pub settled: Option<SettledMemory>,
    /// Everything that was counted.
    pub counters: Counters,
    /// Connections that ended unasked, by close code.
    pub close_codes: Kinds,
    /// What the server refused, by code.
    pub refusals: Kinds,
    /// What failed before or below the protocol.
    pub errors: Kinds,
    /// The version the server gives itself.
    pub server_version: Option<String>,
    /// Rooms that were still there when the clients of a lobby had gone; null when nobody was to
    /// go, or the server does not say.
    pub rooms_left: Option<u64>,
    /// The server's processes, when they are known.
    pub server: Option<ServerUse>,
    /// The generator.
    pub generator: GeneratorUse,
    /// Second by second.
    pub intervals: Vec<Interval>,
    /// What the text's lines are about.
    #[serde(skip)]
    pub headline: Headline,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Scenario {
    /// What the clients did.
    pub kind: Kind,
    /// The server.
    pub url: String,
    /// Whether it was started for the run.
    pub spawned: bool,
    /// What the clients did in rooms; null without them.
    pub rooms: Option<RoomScenario>,
    /// Clients; the most at once when they come and go.
    pub clients_count: u32,
    /// The tick rate a spawned server was given.
    pub tick_rate_hz: Option<u32>,
    /// What messages were sent; null in rooms.
    pub echo: Option<EchoScenario>,
    /// Connections per second.
    pub connect_rate_hz: u32,
    /// How long to measure.
    pub duration_us: u64,
    /// How long to play before that.
    pub warmup_us: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads of each generator process.
    pub threads_count: usize,
    /// Generator processes.
    pub processes_count: usize,
    /// Addresses connected from, in turn; empty when the kernel chose.
    pub local_addresses: Vec<String>,
}

/// What messages were sent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EchoScenario {
    /// Bytes of each.
    pub payload_bytes: u32,
    /// How they were sent.
    pub message_kind: MessageKind,
    /// Messages of one client on their way at once; null in an open loop.
    pub in_flight: Option<u32>,
    /// Messages per second of all senders; null in a closed loop.
    pub rate_hz: Option<u32>,
    /// Clients that sent.
    pub senders_count: u32,
    /// The subprotocol that was offered.
    pub subprotocol: Option<String>,
}

/// Which cores did what.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CoresUsed {
    /// The server's, when we started it.
    pub server: Vec<usize>,
    /// The generator's; empty when it was not pinned.
    pub generator: Vec<usize>,
    /// Whether one core did both.
    pub shared: bool,
}

/// All distributions.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the fields are those of `Tally`, described there")]
pub struct Summaries {
    pub state_age_us: Summary,
    pub delivery_us: Summary,
    pub rtt_us: Summary,
    pub input_ack_us: Summary,
    pub slow_age_us: Summary,
    pub slow_delivery_us: Summary,
    pub tick_jitter_us: Summary,
    pub connect_us: Summary,
    pub join_us: Summary,
    pub resume_us: Summary,
    pub wake_us: Summary,
    pub sched_lag_us: Summary,
}

/// The server's process over the window.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ServerUse {
    /// CPU time.
    pub cpu_us: u64,
    /// Share of one core.
    pub core_ppm: u64,
    /// CPU time for one client and tick, in nanoseconds; 0 without rooms.
    pub cpu_ns_per_client_tick: u64,
    /// CPU time for one message that came back, in nanoseconds; 0 in rooms.
    pub cpu_ns_per_message: u64,
    /// Resident memory.
    pub memory: Option<MemoryTrend>,
}

/// The generator over the window.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct GeneratorUse {
    /// CPU time.
    pub cpu_us: u64,
    /// Share of one core.
    pub core_ppm: u64,
    /// Its threads, over all processes.
    pub threads: Vec<ThreadHealth>,
    /// How busy the busiest thread was.
    pub busy_ppm_max: u64,
    /// How much of a core that thread had.
    pub busiest_cpu_ppm: u64,
    /// Resident memory.
    pub memory: Option<MemoryTrend>,
    /// `/proc/pressure/cpu`, some avg10, the worst seen.
    pub psi_ppm: Option<u64>,
    /// Time the hypervisor took away.
    pub steal_ppm: Option<u64>,
}

/// What a report is made from, beside what was measured.
pub struct Circumstances<'a> {
    /// What was asked for.
    pub plan: &'a Plan,
    /// The server.
    pub url: &'a Url,
    /// Which cores did what.
    pub cores: &'a Cores,
    /// Where it ran.
    pub environment: Environment,
}

impl Report {
    /// Adds everything up and judges it.
    #[must_use]
    pub fn new(circumstances: Circumstances<'_>, measured: Measured) -> Self {
        let Circumstances { plan, url, cores, environment } = circumstances;
        let window = measured.window.until.saturating_since(measured.window.from);
        let agreement = Agreement::of(&measured.ledgers);
        let reach = reach(plan, &measured, &agreement);
        let (generator, server) = (generator_use(&measured), server_use(&measured, window));
        let mut judgement = judge(plan, cores, &measured, &agreement, &generator);
        let first_count = plan.phases().first_count(plan.clients_count);
        let settled = SettledMemory::new(&measured, first_count);
        let summary = summaries(&measured);
        let storm = storm::rounds(plan, &measured);
        let metrics = Figures {
            summaries: summary,
            counters: Some(&measured.totals.counters),
            reach_ppm: (reach.expected > 0).then(|| reach.ppm()),
            errors: errors(&measured),
            measured_us: micros(window),
            server: server.as_ref(),
            generator_core_ppm: generator.core_ppm,
            generator_busy_ppm: generator.busy_ppm_max,
            intervals: &measured.intervals,
            agreement: Some(&agreement),
            settled,
            storm: &storm,
        }
        .metrics();
        let thresholds: Vec<Outcome> =
            plan.thresholds.iter().map(|threshold| threshold.judge(&metrics)).collect();
        judgement.weigh(&thresholds);
        Self {
            schema: SCHEMA,
            judgement,
            scenario: scenario(plan, url),
            thresholds,
            metrics: flat(&metrics),
            environment,
            cores: CoresUsed {
                server: cores.server.clone(),
                generator: cores.generator.clone(),
                shared: cores.shared,
            },
            clock: measured.clock,
            interrupted: measured.interrupted,
            started_unix_us: measured.started_unix_us,
            ramp_us: micros(measured.ramp),
            measured_us: micros(window),
            summary,
            histograms: histograms(&measured.totals),
            reach,
            reach_ppm: reach.ppm(),
            agreement,
            phases: rooms::phases(plan.rooms_load(), &measured),
            storm,
            settled,
            server_version: measured.server_version,
            rooms_left: measured.rooms_left,
            server,
            generator,
            counters: measured.totals.counters,
            close_codes: measured.totals.closes,
            refusals: measured.totals.refusals,
            errors: measured.totals.errors,
            intervals: measured.intervals,
            headline: plan.load.headline(),
        }
    }
}

fn judge(
    plan: &Plan,
    cores: &Cores,
    measured: &Measured,
    agreement: &Agreement,
    generator: &GeneratorUse,
) -> Judgement {
    let counters = &measured.totals.counters;
    let begun = counters.clients_begun.saturating_sub(counters.clients_withdrawn);
    let first_count = plan.phases().first_count(plan.clients_count);
    // Of rooms this is about state; what was said in them the agreement knows.
    let reach = match plan.kind() {
        Kind::Rooms => Reach::of(&measured.ledgers),
        Kind::Echo | Kind::Broadcast => reach(plan, measured, agreement),
    };
    Judgement::of(&Evidence {
        kind: plan.kind(),
        clients_expected: begun.max(u64::from(first_count)),
        clients_count: plan.clients_count,
        measured: measured.window.until.saturating_since(measured.window.from),
        interrupted: measured.interrupted,
        counters,
        reach,
        agreement,
        has_hashes: plan.rooms_load().is_some_and(RoomLoad::has_hashes),
        samples: samples(plan, measured),
        closes: measured.totals.closes.total(),
        refusals: measured.totals.refusals.total(),
        rooms_left: measured.rooms_left.unwrap_or(0),
        server_died: measured.server_died.as_deref(),
        sched_lag_p99_us: measured.totals.sched_lag.quantile_us(0.99),
        send_period_us: plan.send_period_us(),
        busy_ppm_max: generator.busy_ppm_max,
        busiest_cpu_ppm: generator.busiest_cpu_ppm,
        psi_ppm: generator.psi_ppm,
        steal_ppm: generator.steal_ppm,
        cores_shared: cores.shared,
        clock_shared: measured.clock.shared,
        debug_build: cfg!(debug_assertions),
    })
}

/// How often what a run is about was measured.
fn samples(plan: &Plan, measured: &Measured) -> u64 {
    let totals = &measured.totals;
    match &plan.load {
        Load::Rooms(rooms) if rooms.is_idle() => totals.counters.clients_joined,
        Load::Rooms(rooms) if rooms.is_lobby() => totals.counters.lobby_joins(),
        Load::Rooms(_) => totals.state_age.count() + totals.delivery.count(),
        Load::Echo(_) if plan.kind() == Kind::Echo => totals.rtt.count(),
        Load::Echo(_) => totals.delivery.count(),
    }
}

fn reach(plan: &Plan, measured: &Measured, agreement: &Agreement) -> Reach {
    let counters = &measured.totals.counters;
    match plan.kind() {
        Kind::Rooms if agreement.events_expected > 0 => agreement.reach(),
        Kind::Rooms => Reach::of(&measured.ledgers),
        Kind::Echo => Reach { expected: counters.messages_sent, lost: counters.messages_lost },
        Kind::Broadcast => {
            let others = counters.clients_joined.saturating_sub(1);
            let expected = counters.messages_sent * others;
            Reach { expected, lost: expected.saturating_sub(counters.messages_received) }
        }
    }
}

/// Everything that went wrong, of whatever kind.
fn errors(measured: &Measured) -> u64 {
    let Tally { counters, closes, refusals, errors, .. } = &measured.totals;
    closes.total() + refusals.total() + errors.total() + counters.messages_lost
}

fn flat(metrics: &[Metric]) -> BTreeMap<&'static str, u64> {
    metrics.iter().filter_map(|metric| Some((metric.name, metric.value?))).collect()
}

fn scenario(plan: &Plan, url: &Url) -> Scenario {
    let (rooms, echo) = match &plan.load {
        Load::Rooms(rooms) => (Some(rooms), None),
        Load::Echo(echo) => (None, Some(echo)),
    };
    let tick_rate_hz = match plan.target {
        // The rooms of a lobby are as those who make them say.
        Target::Spawn { tick_rate_hz, .. } => {
            rooms.filter(|rooms| !rooms.is_lobby()).map(|_| tick_rate_hz)
        }
        Target::Url(_) | Target::Command { .. } => None,
    };
    Scenario {
        kind: plan.kind(),
        url: url.to_string(),
        spawned: !matches!(plan.target, Target::Url(_)),
        rooms: rooms.map(|rooms| RoomScenario::new(rooms, plan.clients_count)),
        clients_count: plan.clients_count,
        tick_rate_hz,
        echo: echo.map(|echo| echo_scenario(plan, echo)),
        connect_rate_hz: plan.connect_rate_hz,
        duration_us: micros(plan.duration),
        warmup_us: micros(plan.warmup),
        seed: plan.seed,
        threads_count: plan.threads_count,
        processes_count: plan.processes_count,
        local_addresses: plan.local_addresses.iter().map(ToString::to_string).collect(),
    }
}

fn echo_scenario(plan: &Plan, echo: &EchoLoad) -> EchoScenario {
    let (in_flight, rate_hz, senders_count) = match echo.pattern {
        Pattern::Closed { in_flight } => (Some(in_flight), None, plan.clients_count),
        Pattern::Open { rate_hz } => (None, Some(rate_hz), plan.clients_count),
        Pattern::Broadcast { senders_count, rate_hz } => (None, Some(rate_hz), senders_count),
    };
    EchoScenario {
        payload_bytes: echo.payload_bytes,
        message_kind: echo.kind,
        in_flight,
        rate_hz,
        senders_count,
        subprotocol: echo.subprotocol.clone(),
    }
}

fn summaries(measured: &Measured) -> Summaries {
    let totals = &measured.totals;
    Summaries {
        state_age_us: totals.state_age.summary(),
        delivery_us: totals.delivery.summary(),
        rtt_us: totals.rtt.summary(),
        input_ack_us: totals.input_ack.summary(),
        slow_age_us: totals.slow_age.summary(),
        slow_delivery_us: totals.slow_delivery.summary(),
        tick_jitter_us: totals.tick_jitter.summary(),
        connect_us: totals.connect.summary(),
        join_us: totals.join.summary(),
        resume_us: totals.resume.summary(),
        wake_us: totals.wake.summary(),
        sched_lag_us: totals.sched_lag.summary(),
    }
}

fn histograms(totals: &Tally) -> BTreeMap<&'static str, Times> {
    let all = [
        ("state_age_us", &totals.state_age),
        ("delivery_us", &totals.delivery),
        ("rtt_us", &totals.rtt),
        ("input_ack_us", &totals.input_ack),
        ("tick_jitter_us", &totals.tick_jitter),
        ("connect_us", &totals.connect),
        ("join_us", &totals.join),
        ("resume_us", &totals.resume),
        ("wake_us", &totals.wake),
        ("sched_lag_us", &totals.sched_lag),
    ];
    let measured = all.into_iter().filter(|(_, times)| times.count() > 0);
    measured.map(|(name, times)| (name, times.clone())).collect()
}

fn generator_use(measured: &Measured) -> GeneratorUse {
    let busiest = measured.threads.iter().max_by_key(|thread| thread.busy_ppm());
    let busiest = busiest.copied().unwrap_or_default();
    GeneratorUse {
        cpu_us: measured.generator.cpu_us(),
        core_ppm: measured.generator.core_ppm(),
        busy_ppm_max: busiest.busy_ppm(),
        busiest_cpu_ppm: busiest.cpu_ppm(),
        threads: measured.threads.clone(),
        memory: measured.generator.memory(),
        psi_ppm: measured.host.psi_ppm_max(),
        steal_ppm: measured.host.steal_ppm(),
    }
}

fn server_use(measured: &Measured, window: Duration) -> Option<ServerUse> {
    if measured.server.0.is_empty() {
        return None;
    }
    let core_ppm = measured.server.core_ppm();
    // Samples are whole seconds apart; a window that was cut short ends between two of them.
    let cpu_ns = core_ppm.saturating_mul(micros(window)) / 1000;
    let counters = &measured.totals.counters;
    let (deltas, messages) =
        (counters.deltas_received, counters.messages_received + counters.messages_to_sender);
    Some(ServerUse {
        cpu_us: measured.server.cpu_us(),
        core_ppm,
        cpu_ns_per_client_tick: cpu_ns.checked_div(deltas).unwrap_or(0),
        cpu_ns_per_message: cpu_ns.checked_div(messages).unwrap_or(0),
        memory: measured.server.memory(),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
