//! The binary against servers that are not Tickloom, over real sockets: what it sends, what it
//! notices, what it reports, and that its report keeps to its schema.
#![expect(clippy::disallowed_types, reason = "socket tests")]

mod parrot;

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;

use parrot::{Manners, Parrot, serve};
use serde_json::Value;
use tickloom_loadtest::tally::Times;

/// As short as runs get.
const SHORT: &str = "-d 1s --warmup 100ms --connect-rate 1k";

/// Long enough for a view: two looks lie a second apart, and what is between them has to belong
/// to a second that is measured.
const LONGER: &str = "-d 3s --warmup 100ms --connect-rate 1k";

fn loadtest(flags: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(flags.split_whitespace()).output().expect("the binary runs")
}

/// A file of this test run.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// Runs an echo against `parrot`; the exit code, the report and its text.
fn echo(parrot: &Parrot, name: &str, flags: &str) -> (i32, Value, String) {
    echo_for(SHORT, parrot, name, flags)
}

fn echo_for(course: &str, parrot: &Parrot, name: &str, flags: &str) -> (i32, Value, String) {
    let path = file(name);
    let (url, path_text) = (parrot.url(), path.display());
    let output = loadtest(&format!("echo --url {url} {course} --json {path_text} {flags}"));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    let json = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}: {text}"));
    let report: Value = serde_json::from_str(&json).expect("JSON");
    check_schema(&report);
    (output.status.code().expect("no signal"), report, text)
}

fn check_schema(report: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/result.v1.json");
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let location = path.to_str().expect("UTF-8");
    let schema = compiler.compile(location, &mut schemas).expect("a schema");
    if let Err(error) = schemas.validate(report, schema) {
        panic!("{error:#}");
    }
    // One that takes everything would prove nothing.
    let mut broken = report.clone();
    broken["counters"]["messages_sent"] = "many".into();
    assert!(schemas.validate(&broken, schema).is_err());
}

#[test]
fn every_message_comes_back_in_every_pattern() {
    for (name, flags) in [
        ("closed.json", "-n 8 --in-flight 4"),
        ("text.json", "-n 8 --text --payload 4k"),
        ("open.json", "-n 8 --rate 800"),
    ] {
        let parrot = Parrot::start(Manners::default());
        // The parrot is a thread of ours.
        let flags = format!("{flags} --server-pid {}", std::process::id());
        let (exit, report, text) = echo(&parrot, name, &flags);
        let counters = &report["counters"];
        assert_eq!((exit, &counters["clients_joined"]), (0, &8.into()), "{text}");
        if name == "closed.json" {
            let cpu_ns = report["metrics"]["server.cpu_per_message_ns"].as_u64();
            assert!((100..10_000_000).contains(&cpu_ns.unwrap_or(0)), "{text}");
        }
        assert_eq!(counters["messages_sent"], counters["messages_received"], "{text}");
        assert!(counters["messages_received"].as_u64() > Some(100), "{text}");
        assert_eq!(report["summary"]["rtt_us"]["count"], counters["messages_received"], "{text}");
        assert_eq!(report["reach_ppm"], 1_000_000, "{text}");
        let whole: Times = serde_json::from_value(report["histograms"]["rtt_us"].clone())
            .unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(report["summary"]["rtt_us"]["p99"], whole.quantile_us(0.99), "{text}");
        assert_eq!(report["histograms"]["state_age_us"], Value::Null, "{text}");
        assert_eq!(report["metrics"]["errors"], 0, "{text}");
        if name == "open.json" {
            let sent = counters["messages_sent"].as_u64().expect("a count");
            assert!((799..=801).contains(&sent), "800 a second: {text}");
        }
    }
}

#[test]
fn a_server_that_changes_messages_fails_on_any_machine() {
    let parrot = Parrot::start(Manners { mumbles_from: Some(500), ..Manners::default() });
    let (exit, report, text) = echo(&parrot, "mumbled.json", "-n 4");
    assert_eq!(exit, 99, "{text}");
    assert!(report["counters"]["messages_wrong"].as_u64() > Some(0), "{text}");
    assert!(text.contains("messages came changed"), "{text}");
}

#[test]
fn a_broadcast_reaches_every_other_connection() {
    let parrot = Parrot::start(Manners { broadcasts: true, ..Manners::default() });
    let flags = "-n 10 --broadcast --senders 2 --rate 100 --threshold reach==100%";
    let (exit, report, text) = echo(&parrot, "broadcast.json", flags);
    let counters = &report["counters"];
    let sent = counters["messages_sent"].as_u64().expect("a count");
    assert!((99..=101).contains(&sent), "{text}");
    assert_eq!(counters["messages_received"], sent * 9, "{text}");
    assert_eq!(counters["messages_to_sender"], sent, "{text}");
    assert_eq!((exit, &report["scenario"]["kind"]), (0, &"broadcast".into()), "{text}");
    assert_eq!(report["summary"]["delivery_us"]["count"], sent * 9, "{text}");
    assert!(text.contains("✓ reach==100%"), "{text}");
}

#[test]
fn a_server_that_echoes_to_nobody_else_does_not_pass_for_one_that_broadcasts() {
    let parrot = Parrot::start(Manners::default());
    let (exit, report, text) = echo(&parrot, "mute.json", "-n 3 --broadcast --rate 50");
    assert_eq!(report["counters"]["messages_received"], 0, "{text}");
    assert_eq!((exit, &report["verdict"]), (98, &"INVALID".into()), "{text}");
    assert!(text.contains("deliveries never came"), "{text}");
}

#[test]
fn a_subprotocol_opens_doors_that_are_shut_otherwise() {
    let parrot = Parrot::start(Manners { insists_on: Some("chat.v2"), ..Manners::default() });
    let (exit, _, text) = echo(&parrot, "chat.json", "-n 2 --subprotocol chat.v2");
    assert_eq!(exit, 0, "{text}");
    let output = loadtest(&format!("echo --url {} {SHORT} -n 2", parrot.url()));
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(97), "{error}");
    assert!(error.contains("status 400"), "{error}");
}

#[test]
fn processes_share_the_clients_and_addresses_take_turns() {
    let parrot = Parrot::start(Manners::default());
    let flags = "-n 12 --processes 3 --threads 2 --cores 0 --local-addr 127.0.0.2-4 --rate 600";
    let (exit, report, text) = echo(&parrot, "processes.json", flags);
    assert_eq!(exit, 0, "{text}");
    assert_eq!(report["counters"]["clients_joined"], 12, "{text}");
    let sent = report["counters"]["messages_sent"].as_u64().expect("a count");
    assert!((598..=602).contains(&sent), "600 a second from all together: {text}");
    assert_eq!(report["generator"]["threads"].as_array().map(Vec::len), Some(6), "{text}");
    assert_eq!(report["cores"]["generator"], serde_json::json!([0]), "{text}");
    let threads = report["generator"]["threads"].as_array().expect("threads");
    assert!(threads.iter().all(|thread| thread["wall_us"].as_u64() > Some(0)), "{threads:?}");
    let peers = parrot.peers();
    for address in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        let came = peers.iter().filter(|peer| peer.to_string() == address).count();
        assert_eq!(came, 4, "{address}: {peers:?}");
    }
    assert!(text.contains("plan     3 process(es) with 4 clients each"), "{text}");
}

/// A worker's threads go on for a second when nobody answers their close frames. The parent had
/// closed its books by then and no longer read what the worker said, which broke the worker.
#[test]
fn workers_end_in_order_when_a_server_never_says_goodbye() {
    let parrot = Parrot::start(Manners { ignores_goodbyes: true, ..Manners::default() });
    let (exit, report, text) = echo(&parrot, "goodbye.json", "-n 4 --processes 2 --rate 100");
    assert_eq!((exit, &report["counters"]["messages_lost"]), (0, &0.into()), "{text}");
}

#[test]
fn the_servers_own_view_stands_beside_the_clients() {
    let stats = r#"{"version":"9.9","shards":[{"tick_duration_p99_us":4100,"outbox_bytes":7000,
        "members_lagging_count":3,"news":"unknown"}]}"#;
    let parrot = Parrot::start(Manners { stats: Some(stats), ..Manners::default() });
    let flags = "-n 2 --rate 50 --progress";
    let (exit, report, text) = echo_for(LONGER, &parrot, "view.json", flags);
    assert_eq!((exit, &report["server_version"]), (0, &"9.9".into()), "{text}");
    let seconds = report["intervals"].as_array().expect("intervals");
    let seen = seconds.iter().find(|second| !second["server"].is_null()).expect(&text);
    let shard = &seen["server"]["shards"][0];
    assert_eq!((&shard["tick_p99_us"], &shard["queued_bytes"]), (&4100.into(), &7000.into()));
    assert_eq!((&shard["members_lagging_count"], &shard["busy_ppm"]), (&3.into(), &Value::Null));
    assert_eq!(report["metrics"]["server.tick_p99_max_us"], 4100, "{text}");
    assert!(text.contains("| srv busy") && text.contains("4.10 ms"), "{text}");
    assert!(text.contains("server says   at worst: tick p99 4.10 ms   queued 0.0 MiB"), "{text}");
}

#[test]
fn a_threshold_that_does_not_hold_is_a_cross_and_decides_nothing_in_doubt() {
    let parrot = Parrot::start(Manners::default());
    // A debug build is never VALID, and what runs in CI may be either.
    let flags = "-n 2 --threshold rtt.p50<1us --threshold errors==0 --threshold delivery.p99<1s";
    let (exit, report, text) = echo(&parrot, "thresholds.json", flags);
    let oks: Vec<_> = (0..3).map(|at| report["thresholds"][at]["ok"].as_bool()).collect();
    assert_eq!(oks, [Some(false), Some(true), Some(false)], "{text}");
    assert_eq!(report["thresholds"][2]["actual"], Value::Null, "nothing was delivered: {text}");
    assert!(text.contains("✗ rtt.p50<1us") && text.contains("✓ errors==0"), "{text}");
    let expected = if report["verdict"] == "VALID" { 99 } else { 98 };
    assert_eq!(exit, expected, "{text}");
}

#[test]
fn a_command_starts_the_server_and_its_cpu_is_known() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let (own, path) = (env::current_exe().expect("a path"), file("spawned.json"));
    let command = format!(
        "env PARROT_LISTEN={port} {} --exact parrot_of_another_test --ignored --nocapture",
        own.display()
    );
    let url = format!("ws://{port}/any");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["echo", "--url", &url, "--spawn", &command, "--server-cores", "0"])
        .args(["-n", "2", "--json", &path.display().to_string()])
        .args(SHORT.split_whitespace())
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let json = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}: {text}"));
    let report: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(report["scenario"]["spawned"], true, "{text}");
    assert_eq!(report["cores"]["server"], serde_json::json!([0]), "{text}");
    assert!(report["server"]["cpu_us"].as_u64() > Some(0), "{text}");
    assert!(report["metrics"]["server.cpu_per_message_ns"].as_u64() > Some(0), "{text}");
    assert!(TcpListener::bind(port).is_ok(), "the server was stopped");
}

#[test]
#[ignore = "the server that another test starts, as a process of its own"]
fn parrot_of_another_test() {
    let Ok(address) = env::var("PARROT_LISTEN") else { return };
    let listener = TcpListener::bind(address).expect("a free port");
    let (peers, _nobody) = mpsc::channel();
    serve(&listener, Manners::default(), &peers, &AtomicBool::new(false));
}
