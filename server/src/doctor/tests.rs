//! Facts in, findings out.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use super::*;
use crate::config::node::Raw;
use crate::config::settings::Settings;
use crate::config::value::Value;

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7420))
}

fn healthy() -> Facts {
    Facts {
        config_is_wrong: false,
        listening: Listening::Possible(address()),
        open_files_max: 65_536,
        cores: vec![0, 1, 2, 3],
        siblings: Some(BTreeSet::new()),
        port_range: Some((32_768, 60_999)),
        somaxconn: Some(4096),
        syn_backlog: Some(1024),
        governors: Some(BTreeSet::from(["performance".to_owned()])),
        pressure_percent: Some(0.5),
        steal_percent: Some(0.01),
        huge_pages: Some("madvise".to_owned()),
        clock_source: Some("tsc".to_owned()),
    }
}

fn server(cores: Option<&str>, connections_max: Option<usize>) -> Server {
    let mut server = Settings::default().server;
    server.cores.value =
        cores.map(|list| CoreList::read(&Raw::Word(list.to_owned())).expect("cores"));
    server.connections_max.value =
        connections_max.map(|count| Count(NonZeroUsize::new(count).expect("a count")));
    server
}

#[test]
fn a_healthy_machine_gets_ticks_only() {
    let findings = judge(&healthy(), &server(None, Some(60_000)));
    let verdicts: Vec<_> = findings.iter().map(|finding| finding.verdict).collect();
    // 60,000 connections are more than there are ports for a proxy on the same machine.
    let warned = findings.iter().position(|finding| finding.verdict == Verdict::Warning);
    assert_eq!(warned.map(|at| findings[at].subject), Some("port range"), "{findings:?}");
    assert_eq!(verdicts.iter().filter(|verdict| **verdict == Verdict::Good).count(), 12);
    let findings = judge(&healthy(), &server(Some("0,3"), None));
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
    assert!(findings.iter().all(|finding| finding.hint.is_empty()), "{findings:?}");
}

#[test]
fn each_fault_is_found_and_has_a_hint() {
    use Verdict::{Bad, Warning};
    let governors = |name: &str| Some(BTreeSet::from([name.to_owned(), "performance".to_owned()]));
    let taken = Listening::Impossible(address(), "Address already in use".to_owned());
    let pairs = Some(BTreeSet::from([vec![0, 2], vec![1, 3]]));
    let auto = || server(None, None);
    for (facts, server, subject, verdict) in [
        (Facts { config_is_wrong: true, ..healthy() }, auto(), "configuration", Bad),
        (Facts { listening: taken, ..healthy() }, auto(), "listen", Bad),
        (Facts { open_files_max: 1000, ..healthy() }, auto(), "open files", Warning),
        (Facts { open_files_max: 1000, ..healthy() }, server(None, Some(937)), "open files", Bad),
        (healthy(), server(Some("3-4"), None), "cores", Bad),
        (Facts { siblings: pairs.clone(), ..healthy() }, auto(), "siblings", Warning),
        (Facts { siblings: pairs, ..healthy() }, server(Some("1,3"), None), "siblings", Warning),
        (Facts { port_range: Some((50_000, 50_999)), ..healthy() }, auto(), "port range", Warning),
        (Facts { port_range: Some((2, 1)), ..healthy() }, auto(), "port range", Warning),
        (Facts { somaxconn: Some(128), ..healthy() }, auto(), "somaxconn", Warning),
        (Facts { syn_backlog: Some(128), ..healthy() }, auto(), "SYN backlog", Warning),
        (Facts { governors: governors("powersave"), ..healthy() }, auto(), "governor", Warning),
        (Facts { pressure_percent: Some(10.0), ..healthy() }, auto(), "CPU pressure", Warning),
        (Facts { steal_percent: Some(1.0), ..healthy() }, auto(), "steal", Warning),
        (Facts { huge_pages: Some("always".into()), ..healthy() }, auto(), "huge pages", Warning),
        (Facts { clock_source: Some("hpet".into()), ..healthy() }, auto(), "clock source", Warning),
    ] {
        let findings = judge(&facts, &server);
        let faults: Vec<_> =
            findings.iter().filter(|finding| finding.verdict != Verdict::Good).collect();
        assert_eq!(faults.len(), 1, "{subject}: {faults:?}");
        assert_eq!((faults[0].subject, faults[0].verdict), (subject, verdict), "{faults:?}");
        assert!(!faults[0].hint.is_empty(), "{faults:?}");
    }
}

#[test]
fn shards_on_one_thread_of_each_physical_core_share_nothing() {
    let siblings = Some(BTreeSet::from([vec![0, 2], vec![1, 3]]));
    let findings = judge(&Facts { siblings, ..healthy() }, &server(Some("0-1"), None));
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:?}");
}

#[test]
fn what_nobody_knows_is_said_and_is_no_fault() {
    let facts = Facts {
        siblings: None,
        port_range: None,
        somaxconn: None,
        syn_backlog: None,
        governors: None,
        pressure_percent: None,
        steal_percent: None,
        huge_pages: None,
        clock_source: None,
        ..healthy()
    };
    let findings = judge(&facts, &server(None, None));
    let unknown = findings.iter().filter(|finding| finding.verdict == Verdict::Unknown).count();
    let good = findings.iter().filter(|finding| finding.verdict == Verdict::Good).count();
    assert_eq!((unknown, good), (9, 4), "{findings:?}");
}

#[test]
fn findings_are_lines_with_hints_below() {
    let finding = |verdict, subject, hint: &str| Finding {
        verdict,
        subject,
        fact: "so it is".to_owned(),
        hint: hint.to_owned(),
    };
    let findings = [
        finding(Verdict::Good, "listen", ""),
        finding(Verdict::Warning, "steal", "move"),
        finding(Verdict::Bad, "cores", "change"),
        finding(Verdict::Unknown, "governor", ""),
    ];
    assert_eq!(
        render(&findings),
        "✓ listen         so it is\n\
         ! steal          so it is\n                 -> move\n\
         ✗ cores          so it is\n                 -> change\n\
         ? governor       so it is\n"
    );
}
