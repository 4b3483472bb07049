//! Clients against a server double in memory, under a clock that moves when told to.

use std::time::Duration;

use clap::Parser;

use super::*;
use crate::agreement::Agreement;
use crate::client::Noticeboard;
use crate::double::{Double, Fault};
use crate::plan::{Args, Job, Scheme, Url};
use crate::report::Kind;
use crate::tally::{Counters, Tally};
use crate::verdict::{Evidence, Exit, Judgement, Reach, Verdict};

const TICK_US: u64 = 50_000;
const CLIENTS: usize = 3;
/// Ticks are due at multiples of `TICK_US` and applied this much later.
const DELAY_US: u64 = 2_000;

/// A room with three clients; the window opens when all of them play.
struct Table {
    double: Double,
    clients: Vec<RoomClient>,
    tally: Tally,
    window: Window,
    now: Timestamp,
    /// Clients whose bytes do not arrive for now.
    stalled: Vec<usize>,
}

impl Table {
    fn new() -> Self {
        let clock =
            RoomClock { epoch: Timestamp(1_000_000), tick_us: TICK_US as u32, send_every: 1 };
        let mut double = Double::new(clock);
        let now = Timestamp(clock.due(double.tick).0 + DELAY_US);
        let words = ["loadtest", "run", "-n", "3", "--rooms", "1", "--seed", "1"];
        let Ok(Job::Load(plan)) = Job::new(Args::parse_from(words)) else { panic!("a plan") };
        let url = Url { scheme: Scheme::Ws, authority: "x".to_owned(), path: "/ws".to_owned() };
        let clients = (0..CLIENTS as u32).map(|index| {
            double.connect();
            // Off the ticks' grid, so that no input is meant for a border of the window.
            let start = now + Duration::from_millis(1);
            let setup = Setup { plan: &plan, url: &url, index, life: 0, start, clock_offset_us: 0 };
            RoomClient::new(&setup, now)
        });
        let clients = clients.collect();
        let mut table = Self {
            double,
            clients,
            tally: Tally::default(),
            window: Window::UNDECIDED,
            now,
            stalled: Vec::new(),
        };
        table.exchange();
        table.step();
        assert!(table.clients.iter().all(|client| client.stage() == Stage::Playing));
        table.window.from = table.now;
        table
    }

    /// One tick: the server steps, bytes travel, players play.
    fn step(&mut self) {
        self.double.tick();
        self.now = Timestamp(self.double.clock.due(self.double.tick).0 + DELAY_US);
        for client in &mut self.clients {
            let turn = &mut Turn {
                now: self.now,
                window: self.window,
                tally: &mut self.tally,
                board: &mut Noticeboard::default(),
            };
            client.handle_timer(turn);
        }
        self.exchange();
    }

    fn steps(&mut self, count: usize) {
        (0..count).for_each(|_| self.step());
    }

    /// Carries bytes both ways until there are none.
    fn exchange(&mut self) {
        for _ in 0..4 {
            for (member, client) in self.clients.iter_mut().enumerate() {
                let request = std::mem::take(client.output_mut());
                if !request.is_empty() {
                    self.double.handle_bytes(member, &request, self.now);
                }
                if self.stalled.contains(&member) {
                    continue;
                }
                let answer = self.double.take_output(member);
                let turn = &mut Turn {
                    now: self.now,
                    window: self.window,
                    tally: &mut self.tally,
                    board: &mut Noticeboard::default(),
                };
                if !answer.is_empty() {
                    client.handle_bytes(&answer, turn);
                }
            }
        }
    }

    /// Ends the window here and judges the run as a long one on an idle machine.
    fn judge(mut self) -> (Judgement, Tally, Reach) {
        self.window.until = self.now;
        let mut ledgers = Vec::new();
        for client in &mut self.clients {
            let turn = &mut Turn {
                now: self.now,
                window: self.window,
                tally: &mut self.tally,
                board: &mut Noticeboard::default(),
            };
            ledgers.extend(client.finish(turn));
        }
        let reach = Reach::of(&ledgers);
        let judgement = Judgement::of(&Evidence {
            kind: Kind::Rooms,
            clients_count: CLIENTS as u32,
            clients_expected: CLIENTS as u64,
            measured: Duration::from_secs(10),
            interrupted: false,
            counters: &self.tally.counters,
            reach,
            agreement: &Agreement::of(&ledgers),
            has_hashes: true,
            samples: self.tally.state_age.count(),
            closes: self.tally.closes.total(),
            rooms_left: 0,
            refusals: self.tally.refusals.total(),
            server_died: None,
            sched_lag_p99_us: 0,
            send_period_us: Some(50_000),
            busy_ppm_max: 0,
            busiest_cpu_ppm: 0,
            psi_ppm: None,
            steal_ppm: None,
            cores_shared: false,
            clock_shared: true,
            debug_build: false,
        });
        (judgement, self.tally, reach)
    }
}

#[test]
fn a_good_server_passes() {
    let mut table = Table::new();
    table.steps(20);
    let (judgement, tally, reach) = table.judge();
    let expected = Reach { expected: 20 * CLIENTS as u64, lost: 0 };
    assert_eq!(reach, expected);
    assert_eq!((judgement.verdict, judgement.exit_code), (Verdict::Valid, Exit::Passed));
    let counters = &tally.counters;
    assert_eq!((counters.clients_connected, counters.clients_joined), (3, 3));
    assert_eq!(counters.hashes_checked, 21 * CLIENTS as u64, "one in every message");
    assert_eq!(counters.inputs_sent, 20 * CLIENTS as u64);
    assert_eq!(tally.join.count(), 3);
    // Applied 2 ms after they are due, state is between 2 and 52 ms old.
    let age = tally.state_age.summary();
    assert!(age.min >= DELAY_US && age.max <= DELAY_US + TICK_US, "{age:?}");
    assert_eq!(age.count, 20 * CLIENTS as u64 * (TICK_US / AGE_SAMPLE_US));
    assert_eq!(tally.delivery.summary().p50, DELAY_US);
    assert_eq!(tally.tick_jitter.summary().max, 0);
}

#[test]
fn planted_faults_are_counted_and_fail_the_run() {
    type Counted = fn(&Counters) -> u64;
    let rows: [(Fault, Counted, u64); 4] = [
        (Fault::WrongHash, |c| c.hash_mismatches, 0),
        (Fault::Gap, |c| c.gaps, 1),
        (Fault::Garbage, |c| c.malformed, 0),
        (Fault::Duplicate, |c| c.duplicates, 0),
    ];
    for (fault, counted, lost_at_least) in rows {
        let mut table = Table::new();
        table.steps(5);
        table.double.members[1].fault = fault;
        table.steps(10);
        let (judgement, tally, reach) = table.judge();
        assert_eq!(counted(&tally.counters), 1, "{fault:?}: {:?}", tally.counters);
        assert!(reach.lost >= lost_at_least, "{fault:?}: {reach:?}");
        assert_eq!(judgement.exit_code, Exit::Failed, "{fault:?}");
        assert_eq!(judgement.verdict, Verdict::Valid, "{fault:?}: the measurement is fine");
        let wrong = tally.counters.hash_mismatches
            + tally.counters.gaps
            + tally.counters.malformed
            + tally.counters.duplicates;
        assert_eq!(wrong, 1, "{fault:?} is counted as one thing only");
        let resyncs = u64::from(fault != Fault::Duplicate);
        assert_eq!(tally.counters.resyncs, resyncs, "{fault:?}");
    }
}

#[test]
fn a_resync_that_is_never_answered_loses_the_tail() {
    let mut table = Table::new();
    table.double.members[0].answers_resyncs = false;
    table.steps(5);
    table.double.members[0].fault = Fault::WrongHash;
    table.steps(10);
    let (judgement, tally, reach) = table.judge();
    assert_eq!(reach, Reach { expected: 45, lost: 10 });
    assert_eq!(tally.counters.ignored_awaiting, 9);
    assert_eq!(judgement.exit_code, Exit::Failed);
    assert!(tally.state_age.max_us() >= 500_000, "state that does not move on gets old");
}

#[test]
fn a_missing_tail_is_lost() {
    for missing in [1, 3] {
        let mut table = Table::new();
        table.steps(10);
        table.stalled.push(2);
        table.steps(missing);
        let (judgement, tally, reach) = table.judge();
        assert_eq!(reach.lost, missing as u64);
        assert_eq!(tally.counters.gaps, 0, "nothing that did arrive shows it");
        assert_eq!(judgement.exit_code, Exit::Failed);
    }
}

#[test]
fn a_client_that_hears_nothing_at_all_is_lost_entirely() {
    let mut table = Table::new();
    table.stalled.push(0);
    table.steps(10);
    let (_, _, reach) = table.judge();
    assert_eq!(reach, Reach { expected: 30, lost: 10 });
}

#[test]
fn a_catch_up_is_conflation_and_no_loss() {
    let mut table = Table::new();
    table.steps(5);
    table.double.members[1].fault = Fault::Conflate;
    table.steps(5);
    let (judgement, tally, reach) = table.judge();
    assert_eq!((tally.counters.catch_ups, tally.counters.conflated), (1, 1));
    assert_eq!(reach, Reach { expected: 30, lost: 0 });
    assert_eq!(judgement.exit_code, Exit::Passed);
}

#[test]
fn a_stall_counts_for_its_full_length() {
    let mut table = Table::new();
    table.steps(10);
    table.stalled.push(1);
    table.steps(10);
    table.stalled.clear();
    table.steps(10);
    let (judgement, tally, reach) = table.judge();
    assert_eq!((reach.lost, judgement.exit_code), (0, Exit::Passed), "late is not lost");
    let age = tally.state_age.summary();
    assert_eq!(age.count, 30 * CLIENTS as u64 * (TICK_US / AGE_SAMPLE_US), "no moment is left out");
    // Ten ticks did not arrive; the eleventh brings them all, 550 ms after the last.
    assert!((540_000..=552_000).contains(&age.max), "{age:?}");
    let above_us = |bound_us: u64| {
        let quantile = |q: f64| tally.state_age.quantile_us(q);
        (0..age.count).filter(|n| quantile((*n as f64 + 0.5) / age.count as f64) > bound_us).count()
    };
    // A ramp of 10 ms steps from 52 ms up to 552 ms, each step once.
    assert!((49..=51).contains(&above_us(52_100)), "{} samples", above_us(52_100));
    assert!((29..=31).contains(&above_us(252_100)), "{} samples", above_us(252_100));
}

#[test]
fn a_stall_at_the_end_is_not_cut_off() {
    let mut table = Table::new();
    table.steps(10);
    table.stalled.push(1);
    table.steps(10);
    let (_, tally, _) = table.judge();
    assert!(tally.state_age.max_us() >= 490_000, "{:?}", tally.state_age.summary());
    assert!(tally.input_ack.max_us() >= 490_000, "{:?}", tally.input_ack.summary());
    assert!(tally.counters.inputs_unacked >= 10, "{:?}", tally.counters);
}

#[test]
fn a_server_that_sends_every_other_tick_and_says_so_loses_nothing() {
    let mut table = Table::new();
    table.steps(4);
    let first = table.double.tick;
    table.double.load_level = 2;
    table.steps(20);
    let (halved, sent) = (table.double.tick, u64::from((table.double.tick.0 - first.0) / 2));
    table.double.load_level = 1;
    table.steps(5 + halved.0 as usize % 2);
    let counters = table.tally.counters.clone();
    assert_eq!((counters.gaps, counters.conflated, counters.catch_ups), (0, 0, 0));
    assert!(table.tally.tick_jitter.max_us() < TICK_US / 2, "{:?}", table.tally.tick_jitter);
    let (judgement, _, reach) = table.judge();
    let whole = 4 + 5 + u64::from(halved.0) % 2;
    assert_eq!(reach, Reach { expected: (whole + sent) * CLIENTS as u64, lost: 0 });
    assert!(judgement.failures.is_empty(), "{judgement:?}");
}

#[test]
fn what_is_missing_is_counted_in_sends_however_few_there_are() {
    for load_level in [0, 3] {
        let mut table = Table::new();
        table.double.load_level = load_level;
        table.steps(4);
        table.double.members[1].fault = Fault::Gap;
        table.steps(8);
        let (_, tally, reach) = table.judge();
        // The one that is missing, and the next one, which begins where that ends.
        assert_eq!((tally.counters.resyncs, reach.lost), (1, 2), "level {load_level}");
    }
}

#[test]
fn only_closes_that_nobody_asked_for_count() {
    let mut table = Table::new();
    table.steps(3);
    table.double.close(0, &CloseReason::SLOW_CONSUMER);
    table.clients[1].handle_stop();
    table.exchange();
    let turn = &mut Turn {
        now: table.now,
        window: table.window,
        tally: &mut table.tally,
        board: &mut Noticeboard::default(),
    };
    table.clients[1].handle_disconnect("ended", turn);
    table.clients[2].handle_disconnect("ended without a close frame", turn);
    let kinds: Vec<&str> = table.tally.closes.0.keys().map(String::as_str).collect();
    assert_eq!(kinds, ["1006", "1013"]);
    assert_eq!(table.double.members[1].closed, Some(1000));
    let (judgement, _, _) = table.judge();
    assert_eq!(judgement.exit_code, Exit::Failed);
}

#[test]
fn late_inputs_keep_their_intended_times_and_very_late_ones_are_counted() {
    let mut table = Table::new();
    let begin = table.now;
    table.now = begin + Duration::from_millis(3_000);
    let turn = &mut Turn {
        now: table.now,
        window: table.window,
        tally: &mut table.tally,
        board: &mut Noticeboard::default(),
    };
    table.clients[0].handle_timer(turn);
    let counters = &table.tally.counters;
    assert_eq!(counters.inputs_skipped + counters.inputs_sent, 60, "20 Hz for three seconds");
    assert_eq!(counters.inputs_sent, 20, "those of the last second");
    assert_eq!(table.tally.sched_lag.count(), 60);
    assert!(table.tally.sched_lag.max_us() >= 2_900_000);
    let (judgement, _, _) = table.judge();
    assert_eq!(judgement.verdict, Verdict::Invalid, "a generator this late proves nothing");
}

#[test]
fn a_server_that_takes_no_bytes_blocks_inputs_instead_of_growing_buffers() {
    let mut table = Table::new();
    table.clients[0].output_mut().extend([0; OUTPUT_BYTES_MAX + 1]);
    let at = table.now + Duration::from_millis(500);
    let turn = &mut Turn {
        now: at,
        window: table.window,
        tally: &mut table.tally,
        board: &mut Noticeboard::default(),
    };
    table.clients[0].handle_timer(turn);
    assert_eq!((table.tally.counters.inputs_blocked, table.tally.counters.inputs_sent), (10, 0));
}

#[test]
fn a_clock_that_is_ahead_is_taken_into_account() {
    let mut table = Table::new();
    for client in &mut table.clients {
        // The server's clock shows 1 ms more than ours, so its ticks are due 1 ms earlier.
        client.clock_offset_us = 1_000;
    }
    table.steps(5);
    let delivery_us = table.tally.delivery.summary().p50;
    assert!(delivery_us.abs_diff(DELAY_US + 1_000) <= 2, "{delivery_us}");
}
