//! One run as text for people and as JSON for programs.
//!
//! The JSON is [`Report`] as serde writes it: times in microseconds, sizes in bytes, shares in
//! parts of a million, all of them integers and none of them rounded for show.

mod text;

use std::time::Duration;

use serde::Serialize;

use crate::driver::{Clock, Interval, Measured};
use crate::health::{Environment, MemoryTrend, ThreadHealth};
use crate::plan::{Plan, Target, Url};
use crate::spawn::Cores;
use crate::tally::{Counters, Kinds, Summary};
use crate::verdict::{Evidence, Judgement, Reach};

pub use text::{Seconds, table_head, table_line};

/// The name and version of the JSON's shape.
pub const SCHEMA: &str = "tickloom.loadtest/1";

/// Everything a run is known by afterwards.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Verdict, reasons, failures and exit code.
    #[serde(flatten)]
    pub judgement: Judgement,
    /// What was asked for.
    pub scenario: Scenario,
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
    /// How much of what the rooms sent became state.
    pub reach: Reach,
    /// The same, in parts of a million.
    pub reach_ppm: u64,
    /// Everything that was counted.
    pub counters: Counters,
    /// Connections that ended unasked, by close code.
    pub close_codes: Kinds,
    /// What the server refused, by code.
    pub refusals: Kinds,
    /// What failed before or below the protocol.
    pub errors: Kinds,
    /// The server's process, when we started it.
    pub server: Option<ServerUse>,
    /// The generator.
    pub generator: GeneratorUse,
    /// Second by second.
    pub intervals: Vec<Interval>,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Scenario {
    /// The server.
    pub url: String,
    /// Whether it was started for the run.
    pub spawned: bool,
    /// The room type.
    pub room_type: &'static str,
    /// Clients.
    pub clients_count: u32,
    /// Rooms.
    pub rooms_count: u32,
    /// Inputs per client and second.
    pub input_rate_hz: u32,
    /// The tick rate a spawned server was given.
    pub tick_rate_hz: Option<u32>,
    /// Connections per second.
    pub connect_rate_hz: u32,
    /// How long to measure.
    pub duration_us: u64,
    /// How long to play before that.
    pub warmup_us: u64,
    /// Seed of everything random.
    pub seed: u64,
    /// Generator threads.
    pub threads_count: usize,
}

/// Which cores did what.
#[derive(Clone, Debug, Serialize)]
pub struct CoresUsed {
    /// The server's, when we started it.
    pub server: Vec<usize>,
    /// The generator's; empty when it was not pinned.
    pub generator: Vec<usize>,
    /// Whether one core did both.
    pub shared: bool,
}

/// All distributions.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of `Tally`, described there")]
pub struct Summaries {
    pub state_age_us: Summary,
    pub delivery_us: Summary,
    pub input_ack_us: Summary,
    pub tick_jitter_us: Summary,
    pub connect_us: Summary,
    pub join_us: Summary,
    pub sched_lag_us: Summary,
}

/// The server's process over the window.
#[derive(Clone, Debug, Serialize)]
pub struct ServerUse {
    /// CPU time.
    pub cpu_us: u64,
    /// Share of one core.
    pub core_ppm: u64,
    /// CPU time for one client and tick, in nanoseconds.
    pub cpu_ns_per_client_tick: u64,
    /// Resident memory.
    pub memory: Option<MemoryTrend>,
}

/// The generator over the window.
#[derive(Clone, Debug, Serialize)]
pub struct GeneratorUse {
    /// CPU time.
    pub cpu_us: u64,
    /// Share of one core.
    pub core_ppm: u64,
    /// Its threads.
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
        let reach = Reach::of(&measured.ledgers);
        let generator = generator_use(&measured);
        let judgement = Judgement::of(&Evidence {
            clients_count: plan.clients_count,
            measured: window,
            interrupted: measured.interrupted,
            counters: &measured.totals.counters,
            reach,
            age_samples: measured.totals.state_age.count(),
            closes: measured.totals.closes.total(),
            refusals: measured.totals.refusals.total(),
            server_died: measured.server_died.as_deref(),
            sched_lag_p99_us: measured.totals.sched_lag.quantile_us(0.99),
            input_period_us: 1_000_000_u64.checked_div(u64::from(plan.input_rate_hz)),
            busy_ppm_max: generator.busy_ppm_max,
            busiest_cpu_ppm: generator.busiest_cpu_ppm,
            psi_ppm: generator.psi_ppm,
            steal_ppm: generator.steal_ppm,
            cores_shared: cores.shared,
            clock_shared: measured.clock.shared,
            debug_build: cfg!(debug_assertions),
        });
        Self {
            schema: SCHEMA,
            judgement,
            scenario: scenario(plan, url),
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
            summary: summaries(&measured),
            reach,
            reach_ppm: reach.ppm(),
            server: server_use(&measured, window),
            generator,
            counters: measured.totals.counters,
            close_codes: measured.totals.closes,
            refusals: measured.totals.refusals,
            errors: measured.totals.errors,
            intervals: measured.intervals,
        }
    }
}

fn scenario(plan: &Plan, url: &Url) -> Scenario {
    let tick_rate_hz = match plan.target {
        Target::Url(_) => None,
        Target::Spawn { tick_rate_hz } => Some(tick_rate_hz),
    };
    Scenario {
        url: url.to_string(),
        spawned: tick_rate_hz.is_some(),
        room_type: "arena",
        clients_count: plan.clients_count,
        rooms_count: plan.rooms_count,
        input_rate_hz: plan.input_rate_hz,
        tick_rate_hz,
        connect_rate_hz: plan.connect_rate_hz,
        duration_us: micros(plan.duration),
        warmup_us: micros(plan.warmup),
        seed: plan.seed,
        threads_count: plan.threads_count,
    }
}

fn summaries(measured: &Measured) -> Summaries {
    let totals = &measured.totals;
    Summaries {
        state_age_us: totals.state_age.summary(),
        delivery_us: totals.delivery.summary(),
        input_ack_us: totals.input_ack.summary(),
        tick_jitter_us: totals.tick_jitter.summary(),
        connect_us: totals.connect.summary(),
        join_us: totals.join.summary(),
        sched_lag_us: totals.sched_lag.summary(),
    }
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
    let deltas = measured.totals.counters.deltas_received;
    Some(ServerUse {
        cpu_us: measured.server.cpu_us(),
        core_ppm,
        cpu_ns_per_client_tick: cpu_ns.checked_div(deltas).unwrap_or(0),
        memory: measured.server.memory(),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
