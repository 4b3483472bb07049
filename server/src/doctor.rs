//! Whether a machine and a configuration go together: facts in, findings out.
//!
//! ```text
//! /proc, /sys, the address --Facts::look--> Facts + [server] --judge--> findings --render--> text
//! ```
//!
//! Judging is pure. A fact that cannot be had is unknown, which is no reason for anything.

mod facts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::config::cores::CoreList;
use crate::config::settings::Server;
use crate::config::value::Count;
use crate::config::{DESCRIPTORS_RESERVED, describe_cores};

pub use facts::{Facts, Listening};

/// Connections the kernel keeps for us between two turns of a loop: what we ask for.
const BACKLOG: u64 = crate::runtime::BACKLOG as u64;

/// Handshakes in flight that a wave of reconnecting clients needs.
const SYN_BACKLOG_MIN: u64 = 1024;

/// The share of time in which something waited for a core, past which ticks come late.
const PRESSURE_PERCENT_MAX: f64 = 10.0;

/// The share of time that the host gave to others, past which ticks come late.
const STEAL_PERCENT_MAX: f64 = 1.0;

/// How it looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, not as well as it could.
    Warning,
    /// It will not work.
    Bad,
    /// Nobody could tell.
    Unknown,
}

/// One thing that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How it looks.
    pub verdict: Verdict,
    /// What was looked at.
    pub subject: &'static str,
    /// What is so.
    pub fact: String,
    /// What to do. Empty when there is nothing to do.
    pub hint: String,
}

/// A finding without a subject yet.
type Opinion = (Verdict, String, String);

/// Everything there is to say.
#[must_use]
pub fn judge(facts: &Facts, server: &Server) -> Vec<Finding> {
    let connections_max = server.connections_max.value.map(Count::get);
    let cores = server.cores.value.as_ref().map(CoreList::numbers);
    let used = cores.unwrap_or(&facts.cores);
    let opinions = [
        ("configuration", Some(configuration(facts.config_is_wrong))),
        ("listen", Some(listening(&facts.listening))),
        ("open files", Some(open_files(facts.open_files_max, connections_max))),
        ("cores", Some(allowed_cores(&facts.cores, used))),
        ("siblings", facts.siblings.as_ref().map(|groups| siblings(groups, used))),
        ("port range", facts.port_range.map(|range| port_range(range, connections_max))),
        ("somaxconn", facts.somaxconn.map(somaxconn)),
        ("SYN backlog", facts.syn_backlog.map(syn_backlog)),
        ("governor", facts.governors.as_ref().map(governor)),
        ("CPU pressure", facts.pressure_percent.map(pressure)),
        ("steal", facts.steal_percent.map(steal)),
        ("huge pages", facts.huge_pages.as_deref().map(huge_pages)),
        ("clock source", facts.clock_source.as_deref().map(clock_source)),
    ];
    let unknown = || (Verdict::Unknown, "unknown here".to_owned(), String::new());
    let finding = |(subject, opinion): (_, Option<Opinion>)| {
        let (verdict, fact, hint) = opinion.unwrap_or_else(unknown);
        Finding { verdict, subject, fact, hint }
    };
    opinions.into_iter().map(finding).collect()
}

/// The findings as lines, with their hints below.
#[must_use]
pub fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { verdict, subject, fact, hint } in findings {
        let sign = match verdict {
            Verdict::Good => '✓',
            Verdict::Warning => '!',
            Verdict::Bad => '✗',
            Verdict::Unknown => '?',
        };
        let _ = writeln!(text, "{sign} {subject:14} {fact}");
        if !hint.is_empty() {
            let _ = writeln!(text, "  {:14} -> {hint}", "");
        }
    }
    text
}

fn good(fact: impl Into<String>) -> Opinion {
    (Verdict::Good, fact.into(), String::new())
}

fn warning(fact: impl Into<String>, hint: impl Into<String>) -> Opinion {
    (Verdict::Warning, fact.into(), hint.into())
}

fn bad(fact: impl Into<String>, hint: impl Into<String>) -> Opinion {
    (Verdict::Bad, fact.into(), hint.into())
}

fn configuration(is_wrong: bool) -> Opinion {
    if is_wrong {
        return bad("is wrong", "`tickloom serve --check`, with the same flags, says what is");
    }
    good("is fine")
}

fn listening(listening: &Listening) -> Opinion {
    match listening {
        Listening::Possible(address) => good(format!("{address} is free")),
        Listening::Impossible(address, why) => bad(
            format!("{address}: {why}"),
            "stop what listens there, or take another address: --listen 127.0.0.1:0",
        ),
    }
}

fn open_files(files_max: u64, connections_max: Option<usize>) -> Opinion {
    let reserved = DESCRIPTORS_RESERVED as u64;
    let fits = files_max.saturating_sub(reserved);
    match connections_max.map(|connections_max| connections_max as u64) {
        Some(wanted) if wanted > fits => {
            let needed = wanted + reserved;
            bad(
                format!("at most {files_max}, but {wanted} connections need {needed}"),
                format!("LimitNOFILE={needed} in the unit, or `ulimit -n {needed}`"),
            )
        }
        None if fits < 1024 => warning(
            format!("at most {files_max}, enough for {fits} connections"),
            "LimitNOFILE=65536 in the unit, or `ulimit -n 65536`",
        ),
        Some(_) | None => good(format!("at most {files_max}, enough for {fits} connections")),
    }
}

fn allowed_cores(allowed: &[usize], used: &[usize]) -> Opinion {
    let missing: Vec<usize> = used.iter().copied().filter(|core| !allowed.contains(core)).collect();
    if missing.is_empty() {
        return good(format!("runs on {}", describe_cores(used)));
    }
    bad(
        format!("{} cannot be had", describe_cores(&missing)),
        format!("this process may run on {}; change `server.cores`", describe_cores(allowed)),
    )
}

fn siblings(groups: &BTreeSet<Vec<usize>>, used: &[usize]) -> Opinion {
    let shared =
        groups.iter().find(|group| group.iter().filter(|thread| used.contains(thread)).count() > 1);
    match shared {
        None => good("every shard has a physical core of its own"),
        Some(group) => warning(
            format!("{} are threads of one physical core", describe_cores(group)),
            "one of each for the server leaves the other to the kernel: see `server.cores`",
        ),
    }
}

fn port_range((first, last): (u16, u16), connections_max: Option<usize>) -> Opinion {
    let ports = usize::from(last.saturating_sub(first)) + 1;
    let fact = format!("{first} to {last}, {ports} ports");
    if connections_max.is_some_and(|wanted| wanted > ports) || ports < 16_384 {
        return warning(
            fact,
            "a proxy or load generator on this machine has no more connections per address: \
             sysctl -w net.ipv4.ip_local_port_range='1024 65535'",
        );
    }
    good(fact)
}

fn somaxconn(somaxconn: u64) -> Opinion {
    if somaxconn < BACKLOG {
        return warning(
            format!("{somaxconn}: connections that wait for a turn beyond that are dropped"),
            format!("sysctl -w net.core.somaxconn={BACKLOG}"),
        );
    }
    good(somaxconn.to_string())
}

fn syn_backlog(backlog: u64) -> Opinion {
    if backlog < SYN_BACKLOG_MIN {
        return warning(
            format!("{backlog}: a wave of reconnecting clients is more"),
            format!("sysctl -w net.ipv4.tcp_max_syn_backlog={BACKLOG}"),
        );
    }
    good(backlog.to_string())
}

fn governor(governors: &BTreeSet<String>) -> Opinion {
    let names = governors.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if governors.iter().any(|name| name != "performance" && name != "schedutil") {
        return warning(
            format!("{names}: cores that sleep between ticks wake up slow"),
            "cpupower frequency-set -g performance",
        );
    }
    good(names)
}

fn pressure(percent: f64) -> Opinion {
    let fact = format!("something waited for a core {percent:.1} % of the last 10 s");
    if percent >= PRESSURE_PERCENT_MAX {
        return warning(fact, "ticks come late: stop other work, or give the server its own cores");
    }
    good(fact)
}

fn steal(percent: f64) -> Opinion {
    let fact = format!("{percent:.2} % since boot");
    if percent >= STEAL_PERCENT_MAX {
        return warning(fact, "the host gives cores to others: take a machine with its own");
    }
    good(fact)
}

fn huge_pages(chosen: &str) -> Opinion {
    if chosen == "always" {
        return warning(
            "transparent ones always: memory grows in steps of 2 MiB",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        );
    }
    good(format!("transparent ones: {chosen}"))
}

fn clock_source(name: &str) -> Opinion {
    if matches!(name, "hpet" | "acpi_pm" | "jiffies" | "refined-jiffies" | "pit" | "xen") {
        return warning(
            format!("{name}: each look at the clock is a system call"),
            "see /sys/devices/system/clocksource/clocksource0/available_clocksource for tsc",
        );
    }
    good(name)
}
