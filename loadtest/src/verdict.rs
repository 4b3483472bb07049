//! Whether the numbers mean anything, and whether the server passed. Pure: evidence in, judgement
//! out.
//!
//! The two questions are kept apart. A verdict is about the *measurement*: a generator that was
//! late, a noisy host or checks that never ran make any number doubtful. A failure is about the
//! *server*: a replica that is not its room is wrong on any machine.

mod reach;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::agreement::Agreement;
use crate::report::Kind;
use crate::tally::Counters;
use crate::threshold::Outcome;

pub use reach::Reach;

/// A late generator is one whose p99 lag exceeds this share of the input period.
const LAG_SHARE_MAX: f64 = 0.10;

/// A saturated generator thread is busy for more than this.
const BUSY_PPM_MAX: u64 = 900_000;

/// A noisy host makes some task wait for a core for more than this share of time.
const PSI_PPM_MAX: u64 = 200_000;

/// A host whose hypervisor took more than this share of its time away is noisy too.
const STEAL_PPM_MAX: u64 = 50_000;

/// Deltas that may arrive before their tick was due before the clock is doubted, of a million.
const EARLY_PPM_MAX: u64 = 1_000;

/// Runs of at least this length must have compared replicas with their rooms.
const HASHES_REQUIRED_FROM: Duration = Duration::from_secs(3);

/// Most clients a generator without optimisation is trusted with.
const DEBUG_CLIENTS_MAX: u32 = 200;

/// Whether the numbers mean anything.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// They do.
    Valid,
    /// They are right, but the machine was busy with other things too.
    Noisy,
    /// They are not to be used.
    Invalid,
}

/// How a run ended, as the process's exit code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(into = "u8")]
pub enum Exit {
    /// All checks passed.
    Passed,
    /// Something that should not happen did.
    Internal,
    /// What was typed makes no sense.
    Usage,
    /// There is no server to drive.
    Unreachable,
    /// The verdict is [`Verdict::Invalid`].
    Invalid,
    /// The server failed a check.
    Failed,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Passed => 0,
            Exit::Internal => 1,
            Exit::Usage => 2,
            Exit::Unreachable => 97,
            Exit::Invalid => 98,
            Exit::Failed => 99,
            Exit::Interrupted => 130,
        }
    }
}

/// Everything a judgement is based on.
#[derive(Clone, Debug)]
pub struct Evidence<'a> {
    /// What the clients did.
    pub kind: Kind,
    /// Clients that were to be there at once, at most.
    pub clients_count: u32,
    /// Clients that were to get there at all.
    pub clients_expected: u64,
    /// How long was measured.
    pub measured: Duration,
    /// Whether the run was cut short by hand.
    pub interrupted: bool,
    /// What was counted.
    pub counters: &'a Counters,
    /// How much arrived.
    pub reach: Reach,
    /// What clients of one room agree on.
    pub agreement: &'a Agreement,
    /// Whether rooms are to send hashes: those in which nothing happens do not.
    pub has_hashes: bool,
    /// Samples of what the run is about.
    pub samples: u64,
    /// Connections that ended although nobody here ended them.
    pub closes: u64,
    /// What the server refused.
    pub refusals: u64,
    /// Rooms that nobody was in and that did not end.
    pub rooms_left: u64,
    /// What became of the server's process, when it ended before it was told to.
    pub server_died: Option<&'a str>,
    /// How late the generator was, 99 % of the time.
    pub sched_lag_p99_us: u64,
    /// Microseconds between two sends of a client; `None` when it sends nothing by the clock.
    pub send_period_us: Option<u64>,
    /// How busy the busiest generator thread was.
    pub busy_ppm_max: u64,
    /// How much of a core that thread had.
    pub busiest_cpu_ppm: u64,
    /// `/proc/pressure/cpu`, some avg10, the worst seen.
    pub psi_ppm: Option<u64>,
    /// Time the hypervisor took away.
    pub steal_ppm: Option<u64>,
    /// Whether generator and server ran on the same core.
    pub cores_shared: bool,
    /// Whether the clock is the server's own.
    pub clock_shared: bool,
    /// Whether the generator was built without optimisation.
    pub debug_build: bool,
}

/// The outcome of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Judgement {
    /// Whether the numbers mean anything.
    pub verdict: Verdict,
    /// Why they do not, or not quite.
    pub reasons: Vec<String>,
    /// What the server failed at.
    pub failures: Vec<String>,
    /// What to exit with.
    #[schemars(with = "u8")]
    pub exit_code: Exit,
}

impl Judgement {
    /// Judges a run.
    #[must_use]
    pub fn of(evidence: &Evidence<'_>) -> Self {
        let mut doubts = invalid(evidence);
        let mut verdict = Verdict::Invalid;
        if doubts.is_empty() {
            doubts = noisy(evidence);
            verdict = if doubts.is_empty() { Verdict::Valid } else { Verdict::Noisy };
        }
        let wrong = wrong_state(evidence);
        let proven = !wrong.is_empty() || evidence.server_died.is_some();
        let mut failures = wrong;
        failures.extend(missing(evidence));
        // Wrong state is wrong on any machine; what is missing may be a late generator's fault.
        let exit_code = match (evidence.interrupted, verdict) {
            (true, _) => Exit::Interrupted,
            (false, _) if proven => Exit::Failed,
            (false, Verdict::Invalid) => Exit::Invalid,
            (false, _) if !failures.is_empty() => Exit::Failed,
            (false, _) => Exit::Passed,
        };
        Self { verdict, reasons: doubts, failures, exit_code }
    }

    /// Counts what thresholds say. One that does not hold fails a run that is valid; one that is
    /// only noisy leaves it undecided.
    pub fn weigh(&mut self, thresholds: &[Outcome]) {
        if self.exit_code != Exit::Passed || thresholds.iter().all(|outcome| outcome.ok) {
            return;
        }
        self.exit_code = match self.verdict {
            Verdict::Valid => Exit::Failed,
            Verdict::Noisy | Verdict::Invalid => Exit::Invalid,
        };
    }
}

fn lag_is_high(evidence: &Evidence<'_>) -> Option<String> {
    let period_us = evidence.send_period_us?;
    let lag_us = evidence.sched_lag_p99_us;
    (lag_us as f64 > period_us as f64 * LAG_SHARE_MAX).then(|| {
        format!("sends were {lag_us} us late (p99), over 10 % of their period of {period_us} us")
    })
}

fn invalid(evidence: &Evidence<'_>) -> Vec<String> {
    let (counters, mut reasons) = (evidence.counters, Vec::new());
    if evidence.busy_ppm_max > BUSY_PPM_MAX
        && let Some(lag) = lag_is_high(evidence)
    {
        let (busy, cpu) = (evidence.busy_ppm_max / 10_000, evidence.busiest_cpu_ppm / 10_000);
        // A thread that is busy but seldom runs needs a quieter host, not company.
        let advice = if evidence.busiest_cpu_ppm * 10 < evidence.busy_ppm_max * 8 {
            format!("but ran for {cpu} % only: other tasks took its core")
        } else {
            "so ask for fewer clients, or for more --threads where there are cores".to_owned()
        };
        reasons.push(format!(
            "the generator was the bottleneck: {lag}; a thread was {busy} % busy, {advice}"
        ));
    }
    let skipped = counters.inputs_skipped + counters.messages_skipped;
    if skipped > 0 {
        reasons.push(format!("{skipped} sends were left out, the generator was a second late"));
    }
    if evidence.samples == 0 {
        reasons.push(match evidence.kind {
            Kind::Rooms => "no client had state while it was measured".to_owned(),
            Kind::Echo | Kind::Broadcast => "no message arrived while it was measured".to_owned(),
        });
    }
    if evidence.kind == Kind::Rooms {
        reasons.extend(unproven_state(evidence));
    }
    if evidence.debug_build && evidence.clients_count > DEBUG_CLIENTS_MAX {
        reasons.push(format!(
            "more than {DEBUG_CLIENTS_MAX} clients need an optimised generator; run with --release"
        ));
    }
    reasons
}

/// Why what replicas say about their rooms is not to be used.
fn unproven_state(evidence: &Evidence<'_>) -> Vec<String> {
    let (counters, mut reasons) = (evidence.counters, Vec::new());
    let wants_hashes = evidence.has_hashes && counters.hashes_checked == 0;
    if wants_hashes && evidence.measured >= HASHES_REQUIRED_FROM {
        reasons.push("no replica was compared with its room: the server sent no hashes".to_owned());
    }
    if evidence.clock_shared
        && counters.applied_before_due * 1_000_000 > counters.deltas_applied * EARLY_PPM_MAX
    {
        let early = counters.applied_before_due;
        reasons.push(format!("{early} deltas came before their tick was due: the clocks differ"));
    }
    reasons
}

fn noisy(evidence: &Evidence<'_>) -> Vec<String> {
    let mut reasons: Vec<String> = lag_is_high(evidence).into_iter().collect();
    if evidence.send_period_us.is_none() && evidence.busy_ppm_max > BUSY_PPM_MAX {
        let busy = evidence.busy_ppm_max / 10_000;
        let so = match evidence.kind {
            Kind::Rooms => "",
            Kind::Echo | Kind::Broadcast => {
                ", so messages/s are what it can do, and perhaps not the server"
            }
        };
        reasons.push(format!("a generator thread was {busy} % busy{so}; add --threads"));
    }
    if let Some(ppm) = evidence.psi_ppm.filter(|ppm| *ppm > PSI_PPM_MAX) {
        reasons
            .push(format!("tasks of this host waited for a core {} % of the time", ppm / 10_000));
    }
    if let Some(ppm) = evidence.steal_ppm.filter(|ppm| *ppm > STEAL_PPM_MAX) {
        reasons.push(format!("the hypervisor took {} % of the time away", ppm / 10_000));
    }
    if evidence.cores_shared {
        reasons.push("server and generator share a core".to_owned());
    }
    if evidence.debug_build {
        reasons.push("the generator is a debug build; run with --release".to_owned());
    }
    reasons
}

/// What no slowness of ours can explain.
fn wrong_state(evidence: &Evidence<'_>) -> Vec<String> {
    let counters = evidence.counters;
    let of_one_client = [
        (
            counters.names_missing,
            "clients did not find the room type, component or topic they need",
        ),
        (counters.writes_missing, "writes were accepted and are not there"),
        (counters.events_doubled, "events came twice"),
        (counters.events_overtaken, "events came after later ones of their sender"),
        (counters.events_unannounced, "events are missing, and the room's count does not say so"),
        (counters.hidden_states, "states were sent to clients that nobody sees"),
        (counters.hash_mismatches, "replicas differed from their room"),
        (counters.gaps, "deltas started from a tick the client did not have"),
        (counters.malformed, "deltas could not be read"),
        (counters.duplicates, "deltas came for a tick the client had already"),
        (counters.messages_wrong, "messages came changed, twice or out of order"),
        (counters.lobby_strayed, "clients came to another room than the one they asked for"),
        (counters.lobby_let_in, "clients were let into rooms that were locked, full or private"),
        (counters.lobby_kept_out, "clients were kept out of rooms that were open and had seats"),
    ];
    of_one_client
        .into_iter()
        .chain(evidence.agreement.wrong())
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
}

fn missing(evidence: &Evidence<'_>) -> Vec<String> {
    let (counters, mut failures) = (evidence.counters, Vec::new());
    if let Some(what) = evidence.server_died {
        failures.push(format!("the server ended during the run: {what}"));
    }
    let joined = counters.clients_joined;
    if joined < evidence.clients_expected && !evidence.interrupted {
        let clients_count = evidence.clients_expected;
        let what = match evidence.kind {
            Kind::Rooms => "got a seat and a snapshot",
            Kind::Echo | Kind::Broadcast => "could connect",
        };
        failures.push(format!("only {joined} of {clients_count} clients {what}"));
    }
    if evidence.reach.lost > 0 {
        let Reach { lost, expected } = evidence.reach;
        failures.push(match evidence.kind {
            Kind::Rooms => format!("{lost} of {expected} deltas never became state"),
            Kind::Echo => format!("{lost} of {expected} messages never came back"),
            Kind::Broadcast => format!("{lost} of {expected} deliveries never came"),
        });
    }
    let agreement = evidence.agreement;
    let slow_lost = agreement.slow_readers.saturating_sub(agreement.slow_converged);
    for (count, what) in [
        (agreement.events_unaccounted, "publications were accepted and did not come"),
        (counters.writes_unseen, "writes were accepted, and the state with them did not come"),
        (
            slow_lost.saturating_sub(counters.slow_closed),
            "slow readers did not get to the newest state when they were let drain",
        ),
        (counters.messages_blocked, "messages were not sent, the server was too far behind"),
        (counters.drops_refused, "clients that were cut off did not get their seat back"),
        (
            counters.drops_cut.saturating_sub(counters.drops_resumed + counters.drops_refused),
            "clients that were cut off were still away at the end",
        ),
        (
            counters.hidden_times.saturating_sub(counters.hidden_returns + counters.hidden_left),
            "clients that were seen again got no state",
        ),
        (counters.lobby_unanswered, "clients asked for a room, or left one, and got no answer"),
        (evidence.rooms_left, "rooms were still there when everybody had been gone for 15 s"),
        (evidence.closes, "connections ended unasked"),
        (evidence.refusals, "requests were refused"),
    ] {
        if count > 0 {
            failures.push(format!("{count} {what}"));
        }
    }
    failures
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Counters {
        Counters {
            clients_joined: 10,
            hashes_checked: 5,
            deltas_applied: 100_000,
            ..Counters::default()
        }
    }

    const AGREED: Agreement = Agreement {
        replicas_compared: 0,
        rooms_diverged: 0,
        counts_compared: 0,
        counts_wrong: 0,
        events_expected: 0,
        events_missing: 0,
        events_unaccounted: 0,
        events_skipped: 0,
        slow_readers: 0,
        slow_converged: 0,
    };

    fn evidence(counters: &Counters) -> Evidence<'_> {
        Evidence {
            kind: Kind::Rooms,
            clients_count: 10,
            clients_expected: 10,
            measured: Duration::from_secs(10),
            interrupted: false,
            counters,
            reach: Reach { expected: 100, lost: 0 },
            agreement: &AGREED,
            has_hashes: true,
            samples: 1000,
            closes: 0,
            refusals: 0,
            rooms_left: 0,
            server_died: None,
            sched_lag_p99_us: 300,
            send_period_us: Some(50_000),
            busy_ppm_max: 400_000,
            busiest_cpu_ppm: 390_000,
            psi_ppm: Some(30_000),
            steal_ppm: Some(0),
            cores_shared: false,
            clock_shared: true,
            debug_build: false,
        }
    }

    #[test]
    fn the_verdict_is_about_the_measurement() {
        type Change = fn(&mut Evidence<'_>);
        let rows: [(&str, Change, Verdict); 12] = [
            ("nothing", |_| {}, Verdict::Valid),
            ("late", |e| e.sched_lag_p99_us = 5_001, Verdict::Noisy),
            ("just in time", |e| e.sched_lag_p99_us = 5_000, Verdict::Valid),
            ("busy", |e| e.busy_ppm_max = 950_000, Verdict::Valid),
            (
                "late and busy",
                |e| (e.sched_lag_p99_us, e.busy_ppm_max) = (5_001, 950_000),
                Verdict::Invalid,
            ),
            ("pressure", |e| e.psi_ppm = Some(200_001), Verdict::Noisy),
            ("no pressure file", |e| e.psi_ppm = None, Verdict::Valid),
            ("steal", |e| e.steal_ppm = Some(60_000), Verdict::Noisy),
            ("one core", |e| e.cores_shared = true, Verdict::Noisy),
            ("debug", |e| e.debug_build = true, Verdict::Noisy),
            (
                "debug and many",
                |e| (e.debug_build, e.clients_count) = (true, 201),
                Verdict::Invalid,
            ),
            ("no samples", |e| e.samples = 0, Verdict::Invalid),
        ];
        let counters = counters();
        for (name, change, verdict) in rows {
            let mut evidence = evidence(&counters);
            change(&mut evidence);
            let judgement = Judgement::of(&evidence);
            assert_eq!(judgement.verdict, verdict, "{name}: {judgement:?}");
            assert_eq!(judgement.reasons.is_empty(), verdict == Verdict::Valid, "{name}");
        }
    }

    #[test]
    fn a_run_without_hashes_proves_nothing_unless_it_is_short() {
        let counters = Counters { hashes_checked: 0, ..counters() };
        for (seconds, verdict) in [(2, Verdict::Valid), (3, Verdict::Invalid)] {
            let measured = Duration::from_secs(seconds);
            let judgement = Judgement::of(&Evidence { measured, ..evidence(&counters) });
            assert_eq!(judgement.verdict, verdict, "{seconds} s");
        }
    }

    #[test]
    fn wrong_state_fails_on_any_machine_and_missing_state_only_on_a_good_one() {
        type Plant = fn(&mut Counters);
        let rows: [(&str, Plant, Exit, Exit); 11] = [
            ("nothing", |_| {}, Exit::Passed, Exit::Invalid),
            ("missing name", |c| c.names_missing = 1, Exit::Failed, Exit::Failed),
            ("missing write", |c| c.writes_missing = 1, Exit::Failed, Exit::Failed),
            ("event twice", |c| c.events_doubled = 1, Exit::Failed, Exit::Failed),
            ("event late", |c| c.events_overtaken = 1, Exit::Failed, Exit::Failed),
            ("unannounced", |c| c.events_unannounced = 1, Exit::Failed, Exit::Failed),
            ("mismatch", |c| c.hash_mismatches = 1, Exit::Failed, Exit::Failed),
            ("gap", |c| c.gaps = 1, Exit::Failed, Exit::Failed),
            ("malformed", |c| c.malformed = 1, Exit::Failed, Exit::Failed),
            ("duplicate", |c| c.duplicates = 1, Exit::Failed, Exit::Failed),
            ("absent client", |c| c.clients_joined = 9, Exit::Failed, Exit::Invalid),
        ];
        for (name, plant, on_good, on_bad) in rows {
            let mut counters = counters();
            plant(&mut counters);
            let good = evidence(&counters);
            let bad = Evidence { samples: 0, ..good.clone() };
            assert_eq!(Judgement::of(&good).exit_code, on_good, "{name}");
            assert_eq!(Judgement::of(&bad).exit_code, on_bad, "{name}, INVALID");
        }
    }

    #[test]
    fn losses_closes_refusals_and_a_dead_server_fail() {
        type Plant = fn(&mut Evidence<'_>);
        let rows: [(&str, Plant, Exit); 6] = [
            ("loss", |e| e.reach.lost = 1, Exit::Failed),
            ("close", |e| e.closes = 1, Exit::Failed),
            ("refusal", |e| e.refusals = 1, Exit::Failed),
            ("crash", |e| e.server_died = Some("signal 11"), Exit::Failed),
            (
                "crash before state",
                |e| (e.server_died, e.samples) = (Some("signal 11"), 0),
                Exit::Failed,
            ),
            ("loss, then Ctrl-C", |e| (e.reach.lost, e.interrupted) = (1, true), Exit::Interrupted),
        ];
        let counters = counters();
        for (name, plant, exit) in rows {
            let mut evidence = evidence(&counters);
            plant(&mut evidence);
            let judgement = Judgement::of(&evidence);
            assert_eq!(judgement.exit_code, exit, "{name}");
            assert_eq!(judgement.failures.len(), 1, "{name}: {:?}", judgement.failures);
        }
    }

    #[test]
    fn clients_that_do_not_agree_fail_and_announced_losses_do_not() {
        type Plant = fn(&mut Agreement, &mut Counters);
        let rows: [(&str, Plant, Exit, Exit); 13] = [
            ("shown to nobody", |_, c| c.hidden_states = 1, Exit::Failed, Exit::Failed),
            ("not seen again", |_, c| c.hidden_times = 1, Exit::Failed, Exit::Invalid),
            (
                "hid and left",
                |_, c| (c.hidden_times, c.hidden_left) = (1, 1),
                Exit::Passed,
                Exit::Invalid,
            ),
            (
                "seat gone",
                |_, c| (c.drops_cut, c.drops_refused) = (1, 1),
                Exit::Failed,
                Exit::Invalid,
            ),
            ("still away", |_, c| c.drops_cut = 1, Exit::Failed, Exit::Invalid),
            ("diverged", |a, _| a.rooms_diverged = 1, Exit::Failed, Exit::Failed),
            ("count", |a, _| a.counts_wrong = 1, Exit::Failed, Exit::Failed),
            ("skipped", |a, _| a.events_skipped = 1, Exit::Failed, Exit::Failed),
            ("a tail", |a, _| a.events_unaccounted = 1, Exit::Failed, Exit::Invalid),
            ("slow", |a, _| a.slow_readers = 1, Exit::Failed, Exit::Invalid),
            (
                "slow, closed",
                |a, c| (a.slow_readers, c.slow_closed) = (1, 1),
                Exit::Passed,
                Exit::Invalid,
            ),
            ("announced", |_, c| c.events_lost = 9, Exit::Passed, Exit::Invalid),
            ("conflicts", |_, c| c.ops_conflicts = 9, Exit::Passed, Exit::Invalid),
        ];
        for (name, plant, on_good, on_bad) in rows {
            let (mut agreement, mut counters) = (AGREED, counters());
            plant(&mut agreement, &mut counters);
            let good = Evidence { agreement: &agreement, ..evidence(&counters) };
            let bad = Evidence { samples: 0, ..good.clone() };
            assert_eq!(Judgement::of(&good).exit_code, on_good, "{name}");
            assert_eq!(Judgement::of(&bad).exit_code, on_bad, "{name}, INVALID");
        }
    }

    #[test]
    fn an_echo_needs_no_hashes_and_fails_on_what_is_wrong_or_lost() {
        type Plant = fn(&mut Counters, &mut Reach);
        let rows: [(&str, Plant, Exit); 4] = [
            ("nothing", |_, _| {}, Exit::Passed),
            ("wrong", |c, _| c.messages_wrong = 1, Exit::Failed),
            ("lost", |_, r| r.lost = 1, Exit::Failed),
            ("blocked", |c, _| c.messages_blocked = 1, Exit::Failed),
        ];
        for kind in [Kind::Echo, Kind::Broadcast] {
            for (name, plant, exit) in rows {
                let mut counters = Counters { hashes_checked: 0, ..counters() };
                let mut reach = Reach { expected: 100, lost: 0 };
                plant(&mut counters, &mut reach);
                let judgement = Judgement::of(&Evidence { kind, reach, ..evidence(&counters) });
                assert_eq!(judgement.exit_code, exit, "{kind:?} {name}: {judgement:?}");
            }
        }
    }

    #[test]
    fn a_threshold_fails_a_valid_run_and_leaves_a_doubtful_one_undecided() {
        let outcome =
            |ok| Outcome { check: String::new(), metric: String::new(), actual: None, ok };
        let counters = counters();
        type Change = fn(&mut Evidence<'_>);
        let rows: [(&str, Change, Exit, Exit); 4] = [
            ("valid", |_| {}, Exit::Passed, Exit::Failed),
            ("noisy", |e| e.cores_shared = true, Exit::Passed, Exit::Invalid),
            ("invalid", |e| e.samples = 0, Exit::Invalid, Exit::Invalid),
            ("failed", |e| e.closes = 1, Exit::Failed, Exit::Failed),
        ];
        for (name, change, when_held, when_not) in rows {
            for (ok, expected) in [(true, when_held), (false, when_not)] {
                let mut evidence = evidence(&counters);
                change(&mut evidence);
                let mut judgement = Judgement::of(&evidence);
                judgement.weigh(&[outcome(true), outcome(ok)]);
                assert_eq!(judgement.exit_code, expected, "{name}, {ok}");
            }
        }
    }
}
