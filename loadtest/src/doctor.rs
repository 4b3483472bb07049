//! What of this machine limits a load test, and what to do about it. [`Facts`] are looked up,
//! [`findings`] judges them and is pure.

use std::fmt;
use std::fs;

use rustix::process::{Resource, getrlimit};

use crate::ceilings::parse_ports;
use crate::environment::{clock_source, governor, read};
use crate::health::HostSample;

/// Clients an ordinary run has; below this a machine is not fit for any.
const CLIENTS_COMMON: u64 = 1_000;

/// Clients a large run has: fewer are worth a hint.
const CLIENTS_MANY: u64 = 10_000;

/// A listener's queue for a thousand connections a second that nobody looks at for a second.
const BACKLOG_MIN: u64 = 1_024;

/// CPU pressure of a machine that is busy with something else.
const PSI_PPM_MAX: u64 = 200_000;

/// Stolen time of a machine whose host is busy with something else.
const STEAL_PPM_MAX: u64 = 50_000;

/// Nothing to say about it.
const GOOD: (Mark, Option<&str>) = (Mark::Good, None);

/// What is known about this machine. What cannot be found out is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Open files now and at most.
    pub open_files: Option<(u64, u64)>,
    /// Ports of one source address.
    pub ports_count: Option<u64>,
    /// Longest queue of a listener.
    pub backlog_max: Option<u64>,
    /// Cores of the machine.
    pub cores_count: Option<u64>,
    /// Cores this process may use.
    pub affinity: Vec<usize>,
    /// How the clock rate is governed.
    pub governor: Option<String>,
    /// Time tasks waited for a core, in parts of a million.
    pub psi_ppm: Option<u64>,
    /// Time the hypervisor took away since the machine started, in parts of a million.
    pub steal_ppm: Option<u64>,
    /// What the kernel tells time by.
    pub clock_source: Option<String>,
}

/// How a finding is to be taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mark {
    /// As it should be.
    Good,
    /// Worth knowing.
    Caution,
    /// A load test here is of no use until it is changed.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How to take it.
    pub mark: Mark,
    /// What was looked at.
    pub subject: &'static str,
    /// What there is.
    pub found: String,
    /// What to do, when there is something to do.
    pub hint: Option<&'static str>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.mark {
            Mark::Good => '✓',
            Mark::Caution => '!',
            Mark::Bad => '✗',
        };
        write!(f, "{mark} {:<13} {}", self.subject, self.found)?;
        match self.hint {
            Some(hint) => write!(f, "\n  {:<13} {hint}", ""),
            None => Ok(()),
        }
    }
}

impl Facts {
    /// Looks around.
    #[must_use]
    pub fn look(affinity: Vec<usize>) -> Self {
        let number = |path: &str| read(path)?.parse().ok();
        let limits = getrlimit(Resource::Nofile);
        let host = HostSample::take();
        let cpus = fs::read_to_string("/proc/cpuinfo").ok();
        Self {
            open_files: Some((
                limits.current.unwrap_or(u64::MAX),
                limits.maximum.unwrap_or(u64::MAX),
            )),
            ports_count: read("/proc/sys/net/ipv4/ip_local_port_range")
                .and_then(|range| parse_ports(&range)),
            backlog_max: number("/proc/sys/net/core/somaxconn"),
            cores_count: cpus.map(|text| {
                text.lines().filter(|line| line.starts_with("processor")).count() as u64
            }),
            affinity,
            governor: governor(),
            psi_ppm: host.psi_ppm,
            steal_ppm: host
                .steal_of_total
                .and_then(|(steal, total)| (steal * 1_000_000).checked_div(total)),
            clock_source: clock_source(),
        }
    }
}

/// Judges what is known, in the order a load test meets it.
#[must_use]
pub fn findings(facts: &Facts) -> Vec<Finding> {
    [
        open_files(facts),
        ports(facts),
        backlog(facts),
        cores(facts),
        rate(facts),
        pressure(facts),
        steal(facts),
        clock(facts),
    ]
    .into()
}

fn finding(
    subject: &'static str,
    (mark, hint): (Mark, Option<&'static str>),
    found: String,
) -> Finding {
    Finding { mark, subject, found, hint }
}

fn unknown(subject: &'static str) -> Finding {
    finding(subject, (Mark::Caution, None), "unknown: the kernel does not say".to_owned())
}

fn open_files(facts: &Facts) -> Finding {
    let Some((now, most)) = facts.open_files else { return unknown("open files") };
    let judged = match most {
        0..CLIENTS_COMMON => {
            (Mark::Bad, Some("raise the hard limit (ulimit -Hn); each client takes a file"))
        }
        CLIENTS_COMMON..CLIENTS_MANY => {
            (Mark::Caution, Some("each client takes a file; --processes N has N times as many"))
        }
        _ => GOOD,
    };
    finding("open files", judged, format!("{now}, raised to {most} for each process of a run"))
}

fn ports(facts: &Facts) -> Finding {
    let Some(count) = facts.ports_count else { return unknown("ports") };
    let judged = match count {
        0..CLIENTS_COMMON => {
            (Mark::Bad, Some("widen net.ipv4.ip_local_port_range; each client takes a port"))
        }
        CLIENTS_COMMON..CLIENTS_MANY => {
            (Mark::Caution, Some("more source addresses have more: --local-addr 127.0.0.2-9"))
        }
        _ => GOOD,
    };
    finding("ports", judged, format!("{count} for each source address"))
}

fn backlog(facts: &Facts) -> Finding {
    let Some(most) = facts.backlog_max else { return unknown("backlog") };
    let hint = "connections that come faster are dropped and retried after a second: raise \
                net.core.somaxconn, or lower --connect-rate";
    let judged = if most < BACKLOG_MIN { (Mark::Caution, Some(hint)) } else { GOOD };
    finding("backlog", judged, format!("listeners queue up to {most} connections"))
}

fn cores(facts: &Facts) -> Finding {
    let ours = facts.affinity.len();
    let judged = match ours {
        0 => return unknown("cores"),
        1 => (
            Mark::Caution,
            Some("server and generator share it: run the server on another machine, with --url"),
        ),
        _ => GOOD,
    };
    let all = facts.cores_count.map_or(String::new(), |all| format!(" of {all}"));
    finding("cores", judged, format!("{ours}{all} may be used: {:?}", facts.affinity))
}

fn rate(facts: &Facts) -> Finding {
    let Some(governor) = &facts.governor else {
        return finding("clock rate", GOOD, "not governed by this kernel".to_owned());
    };
    let hint = "rates that follow the load make latencies of idle moments worse: \
                cpupower frequency-set -g performance";
    let judged = if governor == "performance" { GOOD } else { (Mark::Caution, Some(hint)) };
    finding("clock rate", judged, format!("governed by `{governor}`"))
}

fn pressure(facts: &Facts) -> Finding {
    let Some(ppm) = facts.psi_ppm else { return unknown("pressure") };
    let hint = "something else is busy here; a run would be called NOISY";
    let judged = if ppm > PSI_PPM_MAX { (Mark::Caution, Some(hint)) } else { GOOD };
    finding("pressure", judged, format!("tasks waited for a core {} % of 10 s", ppm / 10_000))
}

fn steal(facts: &Facts) -> Finding {
    let Some(ppm) = facts.steal_ppm else { return unknown("steal") };
    let hint = "another machine of the same host is busy; a run may be called NOISY";
    let judged = if ppm > STEAL_PPM_MAX { (Mark::Caution, Some(hint)) } else { GOOD };
    let percent = ppm as f64 / 1e4;
    finding("steal", judged, format!("the hypervisor took {percent:.2} % of the time since boot"))
}

fn clock(facts: &Facts) -> Finding {
    let Some(source) = &facts.clock_source else { return unknown("clock") };
    let hint = "each look at it is a system call, and a run looks at each message";
    let is_fast = ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];
    let judged =
        if is_fast.contains(&source.as_str()) { GOOD } else { (Mark::Caution, Some(hint)) };
    finding("clock", judged, format!("read from `{source}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            open_files: Some((1_024, 20_000)),
            ports_count: Some(28_232),
            backlog_max: Some(4_096),
            cores_count: Some(2),
            affinity: vec![0, 1],
            governor: Some("performance".to_owned()),
            psi_ppm: Some(10_000),
            steal_ppm: Some(0),
            clock_source: Some("tsc".to_owned()),
        }
    }

    #[test]
    fn each_fact_is_judged_by_itself() {
        type Change = fn(&mut Facts);
        let rows: [(&str, Change, Mark, bool); 14] = [
            ("open files", |f| f.open_files = Some((100, 999)), Mark::Bad, true),
            ("open files", |f| f.open_files = Some((100, 4_096)), Mark::Caution, true),
            ("open files", |f| f.open_files = None, Mark::Caution, false),
            ("ports", |f| f.ports_count = Some(500), Mark::Bad, true),
            ("ports", |f| f.ports_count = Some(5_000), Mark::Caution, true),
            ("backlog", |f| f.backlog_max = Some(128), Mark::Caution, true),
            ("cores", |f| f.affinity = vec![3], Mark::Caution, true),
            ("cores", |f| f.affinity = vec![], Mark::Caution, false),
            ("clock rate", |f| f.governor = Some("powersave".to_owned()), Mark::Caution, true),
            ("clock rate", |f| f.governor = None, Mark::Good, false),
            ("pressure", |f| f.psi_ppm = Some(200_001), Mark::Caution, true),
            ("steal", |f| f.steal_ppm = Some(50_001), Mark::Caution, true),
            ("clock", |f| f.clock_source = Some("hpet".to_owned()), Mark::Caution, true),
            ("clock", |f| f.clock_source = None, Mark::Caution, false),
        ];
        assert!(findings(&good()).iter().all(|finding| finding.mark == Mark::Good));
        for (subject, change, mark, has_hint) in rows {
            let mut facts = good();
            change(&mut facts);
            for finding in findings(&facts) {
                let expected = if finding.subject == subject { mark } else { Mark::Good };
                assert_eq!(finding.mark, expected, "{subject}: {finding}");
                let hinted = finding.subject == subject && has_hint;
                assert_eq!(finding.hint.is_some(), hinted, "{subject}: {finding}");
            }
        }
    }

    #[test]
    fn a_machine_that_says_nothing_is_no_machine_to_refuse() {
        assert!(findings(&Facts::default()).iter().all(|finding| finding.mark < Mark::Bad));
    }
}
