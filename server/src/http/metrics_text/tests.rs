use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tickloom_protocol::time::Timestamp;

use super::*;
use crate::board::ShardStats;
use crate::http::HttpReport;
use crate::ledger::{LedgerPage, Spent};

/// One family of the text, read by the rules of the format and of what we promise beyond it.
#[derive(Debug, Default)]
struct Read {
    kind: String,
    /// By suffix and labels, as written.
    samples: BTreeMap<(String, String), f64>,
}

/// Reads the whole text; panics at whatever a strict reader would not take.
fn read(text: &str) -> BTreeMap<String, Read> {
    let mut families: BTreeMap<String, Read> = BTreeMap::new();
    let mut helped = String::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'), "the last line ends, too");
    for line in text.lines() {
        assert!(!line.is_empty() && line == line.trim(), "{line:?}");
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help");
            assert!(help.ends_with('.') && !help.contains('\\'), "a sentence: {line}");
            helped = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, helped, "its help is just above");
            let family = Read { kind: kind.to_owned(), ..Read::default() };
            assert!(families.insert(name.to_owned(), family).is_none(), "{name} twice");
            current = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').expect("an end")),
                None => (series, ""),
            };
            let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.chars().all(is_word), "{line}");
            let suffix = name.strip_prefix(&*current).expect("samples follow their family");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (key, value) = label.split_once('=').expect("a value");
                let known = ["core", "kind", "code", "phase", "room_type", "le", "version"];
                assert!(known.contains(&key), "{line}");
                let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                let value = value.expect("quotes");
                assert!(!value.contains(['"', '\\', '\n']) && !value.is_empty(), "{line}");
            }
            let value: f64 = value.parse().expect("a number");
            assert!(value.is_finite() && value >= 0.0, "{line}");
            let key = (suffix.to_owned(), labels.to_owned());
            let samples = &mut families.get_mut(&current).expect("begun").samples;
            assert!(samples.insert(key, value).is_none(), "{series} twice");
        }
    }
    for (name, family) in &families {
        assert!(!family.samples.is_empty(), "{name} has no samples");
        check_family(name, family);
    }
    families
}

fn check_family(name: &str, family: &Read) {
    let suffixes: BTreeSet<&str> = family.samples.keys().map(|(suffix, _)| &**suffix).collect();
    assert!(!name.ends_with("_us") && !name.ends_with("_ms"), "{name} is not in a base unit");
    match &*family.kind {
        "counter" => assert!(name.ends_with("_total"), "{name}"),
        "gauge" => assert!(!name.ends_with("_total"), "{name}"),
        "histogram" => {
            assert_eq!(suffixes, BTreeSet::from(["_bucket", "_count", "_sum"]), "{name}");
            return check_histogram(name, family);
        }
        other => panic!("{name} is a {other}"),
    }
    assert_eq!(suffixes, BTreeSet::from([""]), "{name}");
}

fn check_histogram(name: &str, family: &Read) {
    let mut by_core: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for ((suffix, labels), count) in &family.samples {
        if suffix == "_bucket" {
            let (core, bound) = labels.split_once(",le=").expect("a bound, last");
            let bound = bound.trim_matches('"').replace("+Inf", "inf").parse().expect("a bound");
            by_core.entry(core.to_owned()).or_default().push((bound, *count));
        }
    }
    assert!(!by_core.is_empty(), "{name}");
    for (core, mut buckets) in by_core {
        buckets.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{name} {core}: {buckets:?}");
        let (last, all) = *buckets.last().expect("some");
        assert!(last.is_infinite(), "{name} {core}");
        assert_eq!(family.samples[&("_count".to_owned(), core.clone())], all, "{name} {core}");
    }
}

fn board() -> Board {
    Board::new(2, Timestamp(1_000_000), Some(1 << 30))
}

#[test]
fn the_text_is_what_a_strict_reader_takes() {
    let board = board();
    let mut buckets = Buckets::default();
    for micros in [10, 70, 900, 20_000, 3_000_000] {
        buckets.record(Duration::from_micros(micros));
    }
    board.shard(1).publish_ticks(&buckets, &Buckets::default());
    let mut spent = Spent::default();
    spent.add(Phase::Logic, 2_500_000);
    let types = ["arena".into(), "my \"room\"".into()].map(|name| (name, spent)).into();
    board.shard(1).publish_ledger(LedgerPage { types, ..LedgerPage::default() });
    let report = StatsReport::new(Timestamp(5_000_000), &board, HttpReport::default());
    let families = read(&render(&report, &board, &ProcessFacts::this()));
    let sample = |name: &str, suffix: &str, labels: &str| {
        families[name].samples[&(suffix.to_owned(), labels.to_owned())]
    };
    let labels =
        |room_type, phase| format!("core=\"1\",room_type=\"{room_type}\",phase=\"{phase}\"");
    let spent = "tickloom_room_seconds_total";
    assert_eq!(sample(spent, "", &labels("arena", "logic")), 0.0025);
    assert_eq!(sample(spent, "", &labels("my__room_", "flush")), 0.0, "names are made plain");
    let duration = "tickloom_tick_duration_seconds";
    assert_eq!(sample(duration, "_bucket", "core=\"1\",le=\"0.0001\""), 2.0);
    assert_eq!(sample(duration, "_count", "core=\"1\""), 5.0);
    assert_eq!(sample(duration, "_sum", "core=\"1\""), 3.02098);
    assert_eq!(
        sample("tickloom_build_info", "", concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"")),
        1.0
    );
    assert_eq!(sample("tickloom_ready", "", ""), 0.0, "no shard has begun");
    for name in ["process_cpu_seconds_total", "process_open_fds", "tickloom_http_requests_total"] {
        assert!(families.contains_key(name), "{name}");
    }
}

#[test]
fn everything_that_stats_tell_of_a_shard_is_told_here_too() {
    // Each field has a number of its own, so that it can be found again.
    let names = serde_json::to_value(ShardStats::default()).expect("JSON");
    let names: Vec<&String> = names.as_object().expect("an object").keys().collect();
    for name in names {
        let stats = one_field(name, 7_000_011);
        let board = board();
        board.shard(1).publish(Timestamp(2_000_000), &stats);
        let report = StatsReport::new(Timestamp(2_000_000), &board, HttpReport::default());
        let text = render(&report, &board, &ProcessFacts::default());
        let value = if name.contains("_us") { "7.000011" } else { "7000011" };
        let lines: Vec<&str> =
            text.lines().filter(|line| line.ends_with(&format!(" {value}"))).collect();
        let [line] = lines[..] else { panic!("{name} of /stats.json is not in /metrics") };
        assert!(line.contains("core=\"1\""), "{name}: {line}");
    }
}

/// Numbers that are zero but for one.
fn one_field(name: &str, value: u64) -> ShardStats {
    let mut stats = serde_json::to_value(ShardStats::default()).expect("JSON");
    stats[name] = value.into();
    serde_json::from_value(stats).expect("the same fields")
}
