//! Medians of the rounds, as a table and as one line of JSON.

use std::time::Duration;

use serde_json::json;
use tickloom_benches::INPUT_FRAME_BYTES;
use tickloom_benches::machine::{Cores, Verdict};

use crate::{Args, Round};

/// Where in a round a figure is.
type Figure = fn(&Round) -> f64;

/// The figures by what the table calls them and by their key in JSON.
const FIGURES: [(&str, &str, Figure); 7] = [
    ("null syscall", "null_syscall_ns", |round| round.null_syscall),
    ("write one frame", "write_ns", |round| round.write),
    ("read one input", "read_ns", |round| round.read),
    ("client and tick, batched", "batched_ns", |round| round.batched),
    ("client and tick, paced", "paced_ns", |round| round.paced),
    ("echo of 64 B", "echo_ns", |round| round.echo),
    ("delivery of a fan-out", "fanout_ns", |round| round.fanout),
];

struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

fn spread(rounds: &[Round], figure: Figure) -> Spread {
    let mut values: Vec<f64> = rounds.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    Spread { min: values[0], median: values[values.len() / 2], max: values[values.len() - 1] }
}

/// Whether the paced form was what it claims to be: every tick handled, no input a tick late.
fn on_time(args: &Args, rounds: &[Round]) -> bool {
    let interval = Duration::from_secs(1) / args.tick_rate_hz;
    rounds.iter().all(|round| round.paced_missed == 0 && round.input_lateness_max < interval)
}

fn verdict(args: &Args, rounds: &[Round], contention: f64) -> Verdict {
    if on_time(args, rounds) { Verdict::of_contention(contention) } else { Verdict::Invalid }
}

pub(crate) fn json(args: &Args, rounds: &[Round], contention: f64) -> serde_json::Value {
    let mut report = json!({
        "bench": "floor",
        "connections": args.connections,
        "payload_bytes": args.payload,
        "input_bytes": INPUT_FRAME_BYTES,
        "tick_rate_hz": args.tick_rate_hz,
        "rounds": args.rounds,
        "ticks": args.ticks,
        "quick": args.asked.quick,
        "contention": contention,
        "verdict": verdict(args, rounds, contention).name(),
        "paced_turns_per_tick": spread(rounds, |round| round.paced_turns).median,
        "paced_on_time": on_time(args, rounds),
    });
    for (_, key, figure) in FIGURES {
        report[key] = json!(spread(rounds, figure).median.round());
    }
    report
}

pub(crate) fn print(args: &Args, cores: Option<Cores>, rounds: &[Round], contention: f64) {
    let Args { connections, payload, tick_rate_hz, ticks, .. } = args;
    println!(
        "{connections} connections, {payload} B frames, {INPUT_FRAME_BYTES} B inputs, \
         {} rounds of {ticks} ticks, paced at {tick_rate_hz} Hz",
        args.rounds,
    );
    match cores {
        Some(Cores { server, clients }) => {
            println!("servers on core {server}, clients on {clients}");
        }
        None => println!("one core only: nothing is pinned and the ends share it"),
    }
    println!("{:<26}{:>9}{:>9}{:>9}", "server CPU, ns", "median", "min", "max");
    for (name, _, figure) in FIGURES {
        let Spread { min, median, max } = spread(rounds, figure);
        println!("{name:<26}{median:>9.0}{min:>9.0}{max:>9.0}");
    }
    let turns = spread(rounds, |round| round.paced_turns).median;
    println!("paced: {turns:.0} turns of the loop per tick");
    println!("others wanted the cores {:.0} % of the time", contention * 100.0);
    let verdict = verdict(args, rounds, contention);
    let advice = match verdict {
        Verdict::Valid => "",
        Verdict::Noisy => ": only ratios between figures of this one run mean anything",
        Verdict::Invalid => " when paced: ticks or inputs were late; use fewer connections",
    };
    println!("{}{advice}", verdict.name());
}
