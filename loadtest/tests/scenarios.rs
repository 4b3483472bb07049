//! Every scenario against a server that is started for it: small, short, and to the end.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs the binary; returns its exit code, what it printed, and its report when there is one.
fn run(name: &str, flags: &str) -> (i32, String, Value) {
    let json = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.json"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.arg("run").args(flags.split_whitespace()).arg("--json").arg(&json);
    let output = command.output().expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("UTF-8");
    let report = fs::read(&json).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let code = output.status.code().expect("no signal");
    (code, text, report.unwrap_or_default())
}

/// A run in which nothing is to go wrong; a busy machine may make its numbers worthless.
fn good(name: &str, flags: &str) -> (String, Value) {
    let (code, text, report) = run(name, flags);
    assert!([0, 98].contains(&code), "exit {code}: {text}");
    assert_eq!(report["failures"], Value::Array(Vec::new()), "{text}");
    (text, report)
}

fn metric(report: &Value, name: &str) -> u64 {
    report["metrics"][name].as_u64().unwrap_or_else(|| panic!("{name} of {}", report["metrics"]))
}

const SHORT: &str = "-d 1s --warmup 200ms --connect-rate 500/s";

#[test]
fn players_who_leave_are_replaced_and_slow_readers_catch_up() {
    let flags = format!("{SHORT} -n 30 --room-size 10 --churn 30/s --slow-readers 10%@300B/s");
    let (text, report) = good("churn", &flags);
    let leaves = metric(&report, "churn.leaves");
    assert!((20..=30).contains(&leaves), "{text}");
    assert_eq!(metric(&report, "churn.joins"), leaves, "{text}");
    let converged = metric(&report, "slow.converged");
    assert_eq!((metric(&report, "slow.readers"), converged), (3, 3), "{text}");
    // They are behind, and the others are not.
    let ages = ["slow_age.max_us", "state_age.p50_us"].map(|name| metric(&report, name));
    assert!(ages[0] > 2 * ages[1], "{text}");
    assert!(report["agreement"]["replicas_compared"].as_u64() > Some(20), "{text}");
    assert!(report["settled"]["after_bytes"].as_u64() > Some(1 << 20), "{text}");
}

#[test]
fn the_cells_that_players_of_a_world_see_are_compared_with_its_own() {
    let flags = "-d 3s --warmup 200ms --connect-rate 500/s -n 40 --scenario world";
    let (text, report) = good("world", flags);
    let count = |name: &str| report["counters"][name].as_u64().unwrap_or_default();
    assert_eq!(report["scenario"]["rooms"]["rooms_count"], 1, "{text}");
    let (views, cells) = (count("views_counted"), count("view_cells"));
    assert!(views == 40 && cells > 10 * views, "{text}");
    assert!(count("view_entities") < 200 * views, "of 540 entities: {text}");
    // Each cell in view states its hash once in two seconds.
    assert!(count("hashes_checked") > cells / 2, "{text}");
    assert!(count("inputs_acked") > 1_000, "{text}");
}

#[test]
fn those_who_are_cut_off_come_back_to_what_they_had() {
    for scenario in ["arena", "state", "chat"] {
        let flags = "-d 3s --warmup 200ms --connect-rate 500/s -n 20 --rooms 2 --drop-rate 10/s";
        let (text, report) = good("cut", &format!("{flags} --scenario {scenario}"));
        let [cut, resumed, recovered] =
            ["drops.cut", "drops.resumed", "drops.recovered"].map(|name| metric(&report, name));
        assert!(cut >= 15, "{scenario}: {text}");
        assert_eq!((resumed, recovered), (cut, cut), "{scenario}: {text}");
        assert!(metric(&report, "resume.p50_us") < 1_000_000, "{scenario}: {text}");
        assert!(text.contains("  cut off "), "{scenario}: {text}");
    }
}

#[test]
fn a_storm_cuts_everybody_off_at_once_and_everybody_comes_back() {
    let flags = "-d 6s --storm 2s --warmup 200ms --connect-rate 500/s -n 60 --rooms 3";
    let (text, report) = good("storm", flags);
    let rounds = report["storm"].as_array().expect("rounds");
    assert_eq!(rounds.len(), 2, "{text}");
    for round in rounds {
        let count = |name: &str| round[name].as_u64().unwrap_or_default();
        assert_eq!((count("cut"), count("resumed")), (60, 60), "{text}");
        assert_eq!((count("recovered"), count("refused")), (60, 0), "{text}");
        assert_eq!(round["resume_us"]["count"], 60, "{text}");
        assert!(count("server_bytes") > 1 << 20, "{text}");
    }
    assert_eq!(metric(&report, "drops.cut"), 120, "{text}");
    assert_eq!(metric(&report, "storm.unrecovered_max"), 0, "{text}");
    assert_eq!(report["reach_ppm"], 1_000_000, "{text}");
    assert!(text.contains("  storm 2       60 cut  60 resumed"), "{text}");
}

#[test]
fn those_whom_nobody_sees_are_sent_no_state_until_they_are_seen() {
    let flags = "-d 4s --warmup 200ms --connect-rate 500/s -n 20 --rooms 2 --hidden 50%";
    let (text, report) = good("hidden", flags);
    let [times, returns, states] =
        ["hidden.times", "hidden.returns", "hidden.states"].map(|name| metric(&report, name));
    assert!(times >= 4, "{text}");
    assert_eq!((returns, states), (times, 0), "{text}");
    assert_eq!(report["reach_ppm"], 1_000_000, "{text}");
}

#[test]
fn over_encrypted_connections_those_who_come_back_resume() {
    let flags = format!("{SHORT} -n 20 --room-size 10 --churn 30/s --tls --processes 2");
    let (text, report) = good("tls", &flags);
    assert!(text.contains("wss://127.0.0.1:"), "{text}");
    let leaves = metric(&report, "churn.leaves");
    assert!(leaves >= 20, "{text}");
    assert_eq!(metric(&report, "tls.full"), 20, "each comes for the first time once: {text}");
    assert_eq!(metric(&report, "tls.resumed"), leaves, "{text}");
    assert!(report["agreement"]["replicas_compared"].as_u64() > Some(15), "{text}");
}

#[test]
fn rooms_of_text_come_compressed_to_those_who_offer_it() {
    for (flags, is_compressed) in [("--deflate", true), ("", false)] {
        let flags = format!("{SHORT} -n 10 --rooms 1 --scenario chat {flags}");
        let (text, report) = good("deflate", &flags);
        let inflated = metric(&report, "messages_inflated");
        assert_eq!(inflated > 0, is_compressed, "{text}");
        assert_eq!(text.contains("  deflate "), is_compressed, "{text}");
        let [before, after] =
            ["inflated_bytes_before", "inflated_bytes_after"].map(|name| metric(&report, name));
        assert!(!is_compressed || 2 * before < after, "{text}");
    }
}

#[test]
fn a_file_says_how_many_clients_there_are_when() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("evening.toml");
    let scenario = r#"
        name = "evening"
        [[phase]]
        clients = "0 -> 20"
        over = "500ms"
        [[phase]]
        hold = "400ms"
        [[phase]]
        clients = 5
        over = "300ms"
        [[phase]]
        clients = "5 -> 20"
        over = "300ms"
        [[bot]]
        weight = 3
        kind = "arena"
        [[bot]]
        kind = "spectator"
        [thresholds]
        clients_begun = ">= 1k"
    "#;
    fs::write(&file, scenario).expect("a folder for tests");
    let (text, report) = good("phases", &format!("--scenario {}", file.display()));
    let joined = |phase: usize| report["phases"][phase]["clients_joined"].as_u64();
    // The last ones of a ramp may get their first state when the next phase has begun.
    let all: u64 = (0..4).filter_map(joined).sum();
    assert!(joined(0) >= Some(12) && joined(2) == Some(0) && all >= 20, "{text}");
    assert_eq!(report["counters"]["clients_joined"], 35, "{text}");
    assert_eq!(report["scenario"]["rooms"]["name"], "evening");
    assert_eq!(report["thresholds"][0]["ok"], false, "{text}");
    assert!(text.contains("phase 3       20 -> 5"), "{text}");
}

#[test]
fn a_board_keeps_what_it_accepted() {
    let flags = format!("{SHORT} -n 20 --scenario state --room-size 10 --input-rate 100/s");
    let (text, report) = good("state", &flags);
    assert!(metric(&report, "ops.accepted") >= 80, "{text}");
    assert!(metric(&report, "writes.checked") >= 40, "{text}");
    assert_eq!(metric(&report, "writes.missing"), 0, "{text}");
    assert!(metric(&report, "ops.conflicts") > 0, "clients get into each other's way: {text}");
    assert_eq!(report["agreement"]["counts_compared"], 2, "{text}");
    assert_eq!(report["agreement"]["replicas_compared"], 20, "{text}");
    assert!(report["summary"]["delivery_us"]["count"].as_u64() > Some(5), "{text}");
}

#[test]
fn everything_said_is_heard_by_everybody() {
    for (scenario, flags, published) in [
        ("chat", "-n 20 --room-size 10 --input-rate 50", 80..=110),
        ("danmaku", "-n 20 --room-size 10 --input-rate 20", 80..=110),
        ("quotes", "-n 20 --room-size 10 --input-rate 50", 80..=110),
    ] {
        let (text, report) = good(scenario, &format!("{SHORT} --scenario {scenario} {flags}"));
        let accepted = metric(&report, "ops.accepted");
        assert!(published.contains(&accepted), "{scenario}: {text}");
        // Every room of ten hears what is said in it, and who says it does, too.
        assert_eq!(metric(&report, "events.received"), accepted * 10, "{scenario}: {text}");
        assert_eq!(metric(&report, "reach_ppm"), 1_000_000, "{scenario}: {text}");
        assert!(metric(&report, "delivery.p99_us") > 0, "{scenario}: {text}");
    }
}

#[test]
fn listeners_come_and_go_while_others_talk() {
    let flags =
        format!("{SHORT} -n 20 --scenario chat --room-size 10 --input-rate 50 --churn 20/s");
    let (text, report) = good("chat-churn", &flags);
    assert!(metric(&report, "churn.joins") >= 10, "{text}");
    for wrong in ["events.doubled", "events.overtaken", "events.unannounced", "events.skipped"] {
        assert_eq!(metric(&report, wrong), 0, "{wrong}: {text}");
    }
}

#[test]
fn idle_clients_stay_and_cost_memory() {
    let (text, report) = good("idle", &format!("{SHORT} -n 50 --scenario idle"));
    assert_eq!(report["counters"]["clients_joined"], 50, "{text}");
    assert_eq!(metric(&report, "ops.sent") + metric(&report, "inputs_sent"), 0, "{text}");
    assert!(report["settled"]["bytes_per_client"].is_u64(), "{text}");
}

#[test]
fn a_room_type_that_lacks_a_name_fails_the_run_and_says_which() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lacking.toml");
    for (kind, room_type, says) in [
        ("state", "arena", "room type `arena`: the room has no component `cursor`"),
        ("chat", "arena", "room type `arena`: the room has no topic `chat`"),
        ("idle", "chess", "UnknownRoomType"),
    ] {
        let scenario = format!("[[bot]]\nkind = \"{kind}\"\nroom_type = \"{room_type}\"\n");
        fs::write(&file, scenario).expect("a folder for tests");
        let flags = format!("{SHORT} -n 3 --scenario {}", file.display());
        let (code, text, _) = run("lacking", &flags);
        assert_eq!(code, 99, "{text}");
        assert!(text.contains(says) && text.contains("clients did not find"), "{text}");
    }
}

#[test]
fn rooms_come_and_go_and_everybody_lands_where_it_asked_to() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crowd.toml");
    let scenario = r#"
        name = "crowd"
        [[bot]]
        kind = "lobby"
        room_size = 3
        stay = "100ms..500ms"
    "#;
    fs::write(&file, scenario).expect("a folder for tests");
    let flags = format!("{SHORT} -n 60 --processes 2 --scenario {}", file.display());
    let (text, report) = good("lobby", &flags.replace("-d 1s", "-d 3s"));
    let count = |name: &str| metric(&report, &format!("lobby.{name}"));
    let (created, by_code, found) = (count("created"), count("by_code"), count("found"));
    assert!(created > 20 && by_code > 20 && found > 20, "{text}");
    assert!(count("rooms_made") >= created && count("rooms_made") < created + found, "{text}");
    assert!(count("full") > 0 && count("private") > 0 && count("locks") > 0, "{text}");
    assert!(metric(&report, "join.p99_us") > 0, "{text}");
    assert!(report["counters"]["hashes_checked"].as_u64() > Some(0), "{text}");
    for name in ["strayed", "let_in", "kept_out", "unanswered"] {
        assert_eq!(count(name), 0, "{name}: {text}");
    }
    assert_eq!(report["counters"]["clients_joined"], 60, "{text}");
    assert_eq!(report["rooms_left"], 0, "rooms end when everybody has left: {text}");
}
