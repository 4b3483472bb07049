//! The main thread's part: when the window is, and what the seconds add up to.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rustix::time::ClockId;
use tickloom_protocol::time::Timestamp;

use super::mail::{Beat, Command, Mail};
use super::view::View;
use super::{Clock, Interval, Measured, Round, Run, borders, next_second, now, read};
use crate::health::{HostSample, HostTrack, ProcessSample, ProcessTrack, ThreadHealth};
use crate::plan::RoomLoad;
use crate::tally::{Tally, Window};

/// How long after the last connection was begun clients may take to join.
const JOINED_WITHIN: Duration = Duration::from_secs(15);

/// Shortest warmup: every thread has to know when the window begins before it does.
const WARMUP_MIN: Duration = Duration::from_millis(50);

/// How long rooms may stay when the last client has gone: servers let them linger for 10 s unless
/// told otherwise, and count them once a second.
const ROOMS_GONE_WITHIN: Duration = Duration::from_secs(15);

/// The main thread's part of a run.
pub(super) struct Conductor<'a, 'b> {
    run: &'a mut Run<'b>,
    start: Timestamp,
    /// One inbox for each thread here and for each worker process.
    commands: Vec<mpsc::Sender<Command>>,
    worker_pids: Vec<u32>,
    view: View,
    /// Threads, here and in workers, whose clients have all joined or failed.
    shares_settled: usize,
    shares_finished: usize,
    /// When clients that have not joined are given up.
    give_up_at: Timestamp,
    next_look_at: Timestamp,
    stopped: bool,
    /// Beats by their end, until all threads sent theirs.
    open_seconds: BTreeMap<Timestamp, Vec<Beat>>,
    last_server_sample: Option<ProcessSample>,
    server_core_ppm: u64,
    measured: Measured,
}

impl<'a, 'b> Conductor<'a, 'b> {
    pub(super) fn new(
        run: &'a mut Run<'b>,
        start: Timestamp,
        clock: Clock,
        commands: Vec<mpsc::Sender<Command>>,
        worker_pids: Vec<u32>,
        view: View,
    ) -> Self {
        let first_count = run.plan.phases().first_count(run.plan.clients_count);
        let ramp_us = u64::from(first_count) * 1_000_000 / u64::from(run.plan.connect_rate_hz);
        let measured = Measured {
            totals: Tally::default(),
            ledgers: Vec::new(),
            intervals: Vec::new(),
            phases: vec![Tally::default(); run.plan.phases().0.len()],
            rounds: Vec::new(),
            threads: vec![ThreadHealth::default(); run.plan.shares_count()],
            window: Window::UNDECIDED,
            ramp: Duration::ZERO,
            server: ProcessTrack::default(),
            server_bytes_at_first: None,
            server_bytes_at_last: None,
            server_version: None,
            rooms_left: None,
            generator: ProcessTrack::default(),
            host: HostTrack::default(),
            started_unix_us: read(ClockId::Realtime),
            clock,
            interrupted: false,
            server_died: None,
        };
        Self {
            run,
            start,
            commands,
            worker_pids,
            view,
            shares_settled: 0,
            shares_finished: 0,
            give_up_at: start + Duration::from_micros(ramp_us) + JOINED_WITHIN,
            next_look_at: start,
            stopped: false,
            open_seconds: BTreeMap::new(),
            last_server_sample: None,
            server_core_ppm: 0,
            measured,
        }
    }

    /// Sees the run through.
    ///
    /// # Errors
    /// A thread or a worker process cannot go on.
    pub(super) fn conduct(&mut self, mail: &mpsc::Receiver<Mail>) -> io::Result<()> {
        let shares_count = self.run.plan.shares_count();
        while self.shares_finished < shares_count {
            if self.run.interrupted.load(Ordering::Relaxed) && !self.stopped {
                self.measured.interrupted = true;
                self.stop();
            }
            let at = now();
            if at >= self.next_look_at {
                self.look(at);
            }
            if self.measured.window == Window::UNDECIDED && at >= self.give_up_at {
                self.begin_warmup(at);
            }
            // Short enough to notice Ctrl-C at once and to look at the window's very ends.
            let wait = self.next_look_at.saturating_since(now()).min(Duration::from_millis(20));
            match mail.recv_timeout(wait) {
                Ok(Mail::Settled) => {
                    self.shares_settled += 1;
                    if self.shares_settled == shares_count
                        && self.measured.window == Window::UNDECIDED
                    {
                        self.begin_warmup(now());
                    }
                }
                Ok(Mail::Beat(beat)) => self.add_beat(*beat),
                Ok(Mail::Finished(books)) => {
                    if self.shares_finished == 0 {
                        self.weigh_server();
                    }
                    self.shares_finished += 1;
                    self.measured.ledgers.extend(books.ledgers);
                    self.measured.totals.add(&books.tally);
                    self.measured.threads[books.share].add(books.health);
                }
                Ok(Mail::Failed(error)) => return Err(io::Error::other(error)),
                Err(RecvTimeoutError::Timeout) => {}
                // A thread panicked: joining it says so.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits until the rooms of a lobby have ended, now that nobody is in them.
    pub(super) fn await_rooms_gone(&mut self) {
        let is_lobby = self.run.plan.rooms_load().is_some_and(RoomLoad::is_lobby);
        if !is_lobby || self.measured.interrupted || self.measured.server_died.is_some() {
            return;
        }
        let give_up_at = now() + ROOMS_GONE_WITHIN;
        while self.measured.rooms_left != Some(0)
            && let Some(sighting) = self.view.await_sighting(give_up_at.saturating_since(now()))
        {
            let left = sighting.second.rooms_count().zip(sighting.rooms_at_first);
            self.measured.rooms_left = left.map(|(now, first)| now.saturating_sub(first));
        }
    }

    /// What was measured.
    pub(super) fn into_measured(self) -> Measured {
        self.measured
    }

    fn begin_warmup(&mut self, at: Timestamp) {
        self.measured.ramp = at.saturating_since(self.start);
        let from = at + self.run.plan.warmup.max(WARMUP_MIN);
        let window = Window { from, until: from + self.run.plan.duration };
        self.measured.window = window;
        let rounds = self.run.plan.storm().into_iter().flat_map(|storm| storm.rounds(window));
        self.measured.rounds = rounds.map(|_| Round::default()).collect();
        self.next_look_at = self.next_look_at.min(from);
        self.tell(Command::Measure(window));
    }

    fn stop(&mut self) {
        self.stopped = true;
        let at = now();
        let window = &mut self.measured.window;
        *window = Window { from: window.from.min(at), until: window.until.min(at) };
        self.tell(Command::Stop(at));
    }

    fn tell(&self, command: Command) {
        for inbox in &self.commands {
            // A thread that is gone has panicked: joining it says so.
            let _ = inbox.send(command);
        }
    }

    /// Looks at the processes and the host: once a second, and at both ends of the window.
    fn look(&mut self, at: Timestamp) {
        let window = self.measured.window;
        // The last look belongs to the window: it is its end.
        let counts = window.has_begun(at) && self.next_look_at <= window.until;
        let sample = self.server_sample(at);
        if let (Some(before), Some(sample)) = (self.last_server_sample, sample) {
            let wall_us = at.0.saturating_sub(before.at.0);
            let cpu_us = sample.cpu_us.saturating_sub(before.cpu_us);
            self.server_core_ppm = (cpu_us * 1_000_000).checked_div(wall_us).unwrap_or(0);
        }
        self.last_server_sample = sample.or(self.last_server_sample);
        if self.measured.server_bytes_at_first.is_none() {
            self.measured.server_bytes_at_first = sample.map(|sample| sample.resident_bytes);
        }
        if counts {
            self.measured.server.0.extend(sample);
            let pids = [&[std::process::id()], &self.worker_pids[..]].concat();
            self.measured.generator.0.extend(ProcessSample::sum(&pids, at));
            self.measured.host.0.push(HostSample::take());
        }
        self.next_look_at = next_second(
            self.next_look_at,
            &borders(window, self.run.plan.phases(), self.run.plan.storm()),
        );
        if let Some(server) = &mut self.run.server
            && self.measured.server_died.is_none()
            && let Some(death) = server.poll_death()
        {
            self.measured.server_died = Some(death);
            self.stop();
        }
    }

    fn server_sample(&self, at: Timestamp) -> Option<ProcessSample> {
        match &self.run.server {
            Some(server) => ProcessSample::take(server.pid(), at),
            None => ProcessSample::sum(&self.run.plan.server_pids, at),
        }
    }

    /// Looks at the server's memory while everybody is settled and nobody has left.
    fn weigh_server(&mut self) {
        let sample = self.server_sample(now());
        self.measured.server_bytes_at_last = sample.map(|sample| sample.resident_bytes);
    }

    fn add_beat(&mut self, beat: Beat) {
        self.measured.threads[beat.share].add(beat.health);
        self.measured.totals.add(&beat.tally);
        let phases = self.run.plan.phases();
        if let Some(position) = phases.position(self.measured.window.from, beat.until) {
            self.measured.phases[position].add(&beat.tally);
        }
        if let Some(round) = self.round_of(beat.until) {
            round.tally.add(&beat.tally);
        }
        let second = self.open_seconds.entry(beat.until).or_default();
        let until = beat.until;
        second.push(beat);
        if second.len() < self.run.plan.shares_count() {
            return;
        }
        let beats = self.open_seconds.remove(&until).unwrap_or_default();
        let (mut sum, mut playing) = (Tally::default(), 0);
        for beat in &beats {
            sum.add(&beat.tally);
            playing += beat.playing;
        }
        let mut interval = self.interval(until, playing, &sum);
        if let Some(sighting) = self.view.poll_sighting() {
            if let Some(round) = self.round_of(until) {
                let late_us = sighting.second.tick_late_p99_us_max();
                round.tick_late_p99_us = round.tick_late_p99_us.max(late_us);
            }
            interval.server = Some(sighting.second);
            self.measured.server_version = sighting.version;
        }
        (self.run.progress)(&interval);
        self.measured.intervals.push(interval);
    }

    /// The round that `until` ends or lies in.
    fn round_of(&mut self, until: Timestamp) -> Option<&mut Round> {
        let mut rounds = self.run.plan.storm()?.rounds(self.measured.window);
        let position = rounds.position(|(begin, end)| begin < until && until <= end)?;
        self.measured.rounds.get_mut(position)
    }

    fn interval(&self, until: Timestamp, playing: u64, sum: &Tally) -> Interval {
        let counters = &sum.counters;
        let window = self.measured.window;
        let wrong = counters.gaps
            + counters.malformed
            + counters.hash_mismatches
            + counters.messages_wrong
            + counters.writes_missing
            + counters.events_doubled
            + counters.events_overtaken
            + counters.lobby_strayed
            + counters.lobby_let_in
            + counters.lobby_kept_out;
        Interval {
            t_us: until.0.saturating_sub(self.start.0),
            measured: window.from < until && until <= window.until,
            playing,
            state_age_p50_us: sum.state_age.quantile_us(0.5),
            state_age_p99_us: sum.state_age.quantile_us(0.99),
            input_ack_p99_us: sum.input_ack.quantile_us(0.99),
            rtt_p50_us: sum.rtt.quantile_us(0.5),
            rtt_p99_us: sum.rtt.quantile_us(0.99),
            delivery_p50_us: sum.delivery.quantile_us(0.5),
            delivery_p99_us: sum.delivery.quantile_us(0.99),
            join_p50_us: sum.join.quantile_us(0.5),
            join_p99_us: sum.join.quantile_us(0.99),
            lobby_joins: counters.lobby_joins(),
            lobby_rooms_made: counters.lobby_rooms_made,
            lobby_refusals: counters.lobby_refusals(),
            deltas_received: counters.deltas_received,
            messages_received: counters.messages_received,
            messages_sent: counters.messages_sent,
            events_received: counters.events_received,
            ops_sent: counters.ops_sent,
            bytes_down: counters.bytes_down,
            inputs_sent: counters.inputs_sent,
            errors: wrong + sum.closes.total() + sum.refusals.total() + counters.clients_failed,
            sched_lag_p99_us: sum.sched_lag.quantile_us(0.99),
            server_core_ppm: self.server_core_ppm,
            server_resident_bytes: self.last_server_sample.map_or(0, |s| s.resident_bytes),
            server: None,
        }
    }
}
