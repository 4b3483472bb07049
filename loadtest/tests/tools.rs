//! The subcommands that put no load on anything, and what is refused before any does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

fn loadtest(words: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = command.args(words).output().expect("the binary runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("no signal"), String::from_utf8(text).expect("UTF-8"))
}

fn report(name: &str, p99_us: u64, change: fn(&mut Value)) -> PathBuf {
    let second = |at: u64| json!({"measured": true, "state_age_p99_us": p99_us + at % 5});
    let mut report = json!({
        "schema": "tickloom.loadtest/1",
        "verdict": "VALID",
        "scenario": {"kind": "rooms", "clients_count": 1000},
        "metrics": {"state_age.p99_us": p99_us},
        "intervals": (0..10).map(second).collect::<Vec<_>>(),
    });
    change(&mut report);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, report.to_string()).expect("a folder for tests");
    path
}

#[test]
fn doctor_looks_at_everything_and_exits_by_its_worst_finding() {
    let (exit, text) = loadtest(&["doctor"]);
    for subject in
        ["open files", "ports", "backlog", "cores", "clock rate", "pressure", "steal", "clock"]
    {
        let marked = |line: &str| {
            line.strip_prefix(['✓', '!', '✗']).is_some_and(|rest| rest.trim().starts_with(subject))
        };
        assert!(text.lines().any(marked), "{subject}: {text}");
    }
    let is_bad = text.lines().any(|line| line.starts_with('✗'));
    assert_eq!(exit, i32::from(is_bad), "{text}");
}

#[test]
fn compare_exits_by_how_much_slower_the_second_run_was() {
    let base = report("base.json", 50_000, |_| {});
    let slow = report("slow.json", 54_000, |_| {});
    let other = report("other.json", 54_000, |r| r["scenario"]["clients_count"] = json!(9));
    let text = |path: &PathBuf| path.display().to_string();
    let (base, slow, other) = (text(&base), text(&slow), text(&other));
    for (words, exit, says) in [
        (vec![&base[..], &slow], 0, "■ WORSE"),
        (vec![&slow, &base], 0, "■ BETTER"),
        (vec![&base, &base, "--max-regress", "0%"], 0, "■ NO DIFFERENCE"),
        (vec![&base, &slow, "--max-regress", "5%"], 99, "+8.0 %"),
        (vec![&base, &slow, "--max-regress", "9%"], 0, "■ WORSE"),
        (vec![&base, &other, "--max-regress", "5%"], 98, "✗ not comparable: clients_count"),
        (vec![&base, "/no/such/file"], 2, "cannot compare /no/such/file"),
        (vec![&base, "Cargo.toml"], 2, "cannot compare Cargo.toml"),
        (vec![&base, &slow, "--max-regress", "5"], 2, "such as 5%"),
    ] {
        let (code, output) = loadtest(&[vec!["compare"], words.clone()].concat());
        assert_eq!(code, exit, "{words:?}: {output}");
        assert!(output.contains(says), "{words:?}: {output}");
    }
}

#[test]
fn every_scenario_is_listed_and_can_be_given_back_as_a_file() {
    let (exit, list) = loadtest(&["scenarios"]);
    assert_eq!(exit, 0, "{list}");
    for name in ["arena", "state", "chat", "danmaku", "quotes", "idle"] {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name}: {list}");
        let (exit, text) = loadtest(&["scenarios", name]);
        assert_eq!(exit, 0, "{text}");
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
        fs::write(&path, &text).expect("a folder for tests");
        let path = path.display().to_string();
        // Nobody is there to drive, but the file is read before that is known.
        let (exit, output) =
            loadtest(&["run", "--url", "ws://127.0.0.1:1/ws", "--scenario", &path]);
        assert_eq!(exit, 97, "{name}: {output}");
    }
}

#[test]
fn flags_do_not_contradict_the_file() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mixed.toml");
    let bots = "[[bot]]\nkind = \"arena\"\n[[bot]]\nkind = \"chat\"\n";
    let phase = "[[phase]]\nclients = 9\nhold = \"1s\"\n";
    for (text, flags, says) in [
        (bots.to_owned(), "--rooms 2", "--rooms is for one room type"),
        ([bots, phase].concat(), "-n 5", "--clients is said by the scenario's phases"),
        ([bots, phase].concat(), "-d 5s", "--duration is said by the scenario's phases"),
        ([bots, "[[bots]]"].concat(), "", "has no key `bots`; did you mean `bot`?"),
        (bots.to_owned(), "--input-rate 200", "--input-rate 200 is over the limit"),
        (bots.to_owned(), "--slow-readers 5%", "such as 1%@4KB/s"),
        (bots.to_owned(), "--churn 5", "such as 500/s or 1%/s"),
    ] {
        fs::write(&path, &text).expect("a folder for tests");
        let file = path.display().to_string();
        let words = ["run", "--url", "ws://127.0.0.1:1/ws", "--scenario", &file];
        let words: Vec<&str> = words.into_iter().chain(flags.split_whitespace()).collect();
        let (exit, output) = loadtest(&words);
        assert_eq!(exit, 2, "{flags}: {output}");
        assert!(output.contains(says), "{flags}: {output}");
    }
}

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
    for (flags, says) in [
        ("--threshold stat_age.p99<80ms", "did you mean `state_age.p99`?"),
        ("-n 900k --url ws://127.0.0.1:1/ws", "--processes"),
        ("--cores 4000", "--cores 4000"),
        ("--scenario aren", "did you mean `arena`?"),
        ("--scenario /no/such/file.toml", "No such file"),
        ("scenarios chess", "there is no scenario `chess`"),
        ("echo --payload 3", "--payload 3 must be between 16 and 65536"),
        ("echo --spawn x", "--url"),
        // The kernel gives no process a number this high.
        ("--url ws://127.0.0.1:1/ws --server-pid 4194305", "--server-pid 4194305: there is no"),
    ] {
        let words: Vec<&str> = flags.split_whitespace().collect();
        let (exit, output) = loadtest(&words);
        assert_eq!(exit, 2, "{flags}: {output}");
        assert!(output.contains(says), "{flags}: {output}");
    }
}

#[test]
fn a_command_that_is_no_server_is_unreachable() {
    let words = ["echo", "--url", "ws://127.0.0.1:1/x", "--spawn", "echo no such thing"];
    let (exit, output) = loadtest(&words);
    assert_eq!(exit, 97, "{output}");
    assert!(output.contains("no such thing"), "its last words: {output}");
}
