//! The figures of a run as a table and as JSON.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tickloom_benches::machine::{Cores, ThreadTime, Verdict};
use tickloom_benches::window::Window;

use crate::Args;
use crate::figures::Figures;

/// Where in a run a histogram is.
type Stretch = fn(&Figures) -> &Histogram<u32>;

/// Histograms by what the table calls them and by their key in JSON.
const STRETCHES: [(&str, &str, Stretch); 7] = [
    ("tick lateness, from start", "tick_lateness", |figures| &figures.tick_lateness),
    ("tick duration, from start", "tick_duration", |figures| &figures.tick_duration),
    ("due to enqueue", "due_to_enqueue", |figures| &figures.due_to_enqueue),
    ("enqueue to socket", "enqueue_to_socket", |figures| &figures.enqueue_to_socket),
    ("socket to client", "socket_to_client", |figures| &figures.socket_to_client),
    ("age at receipt", "age_at_receipt", |figures| &figures.age_at_receipt),
    ("lateness of our inputs", "input_lateness", |figures| &figures.input_lateness),
];

const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

pub(crate) fn print(args: &Args, cores: Option<Cores>, figures: &Figures) {
    let Args { clients, tick_rate, input_rate, duration, warmup, .. } = args;
    println!(
        "{clients} clients in {} rooms, ticks at {tick_rate} Hz, inputs at {input_rate} Hz, \
         {duration} s after {warmup} s",
        args.rooms_count(),
    );
    match cores {
        Some(Cores { server, clients }) => {
            println!("server on core {server}, clients on {clients}");
        }
        None => println!("one core only: the ends share it, so latencies mean nothing"),
    }
    print!("{:<26}{:>9}", "microseconds", "count");
    QUANTILES.iter().for_each(|(name, _)| print!("{name:>9}"));
    println!("{:>9}", "max");
    for (name, _, stretch) in STRETCHES {
        let histogram = stretch(figures);
        print!("{name:<26}{:>9}", histogram.len());
        QUANTILES
            .iter()
            .for_each(|(_, quantile)| print!("{:>9}", histogram.value_at_quantile(*quantile)));
        println!("{:>9}", histogram.max());
    }
    println!(
        "{} states received, {} of them over more than a tick, {} before the write returned; \
         {} hashes checked",
        figures.receipts, figures.leaps, figures.early, figures.hashes_checked,
    );
    if let Some(cpu_ns) = figures.server_cpu_ns() {
        println!("server: {cpu_ns:.0} ns of CPU per client and tick");
    }
    print_thread("server", figures.window.servers(), &figures.window);
    print_thread("clients", figures.window.clients(), &figures.window);
    let contention = figures.window.contention() * 100.0;
    println!("the machine: some thread without a core {contention:.0} % of the time");
    let advice = match figures.verdict {
        Verdict::Valid => "",
        Verdict::Noisy => {
            ": others took our cores; only ratios between figures of this one run mean anything"
        }
        Verdict::Invalid => ": states or inputs were a tick late or missing; use fewer clients",
    };
    println!("{}{advice}", figures.verdict.name());
}

fn print_thread(name: &str, time: Option<ThreadTime>, window: &Window) {
    let Some(ThreadTime { on_core, waiting }) = time else { return };
    let share = on_core.as_secs_f64() / window.wall().as_secs_f64() * 100.0;
    println!("{name}: {share:.0} % of a core, {} ms without one", waiting.as_millis());
}

pub(crate) fn json(args: &Args, cores: Option<Cores>, figures: &Figures) -> Value {
    let mut microseconds = json!({});
    for (_, key, stretch) in STRETCHES {
        microseconds[key] = distribution(stretch(figures));
    }
    let thread = |time: Option<ThreadTime>| {
        time.map(|ThreadTime { on_core, waiting }| {
            json!({
                "on_core_us": on_core.as_micros() as u64,
                "waiting_us": waiting.as_micros() as u64,
            })
        })
    };
    json!({
        "schema": "tickloom.tick_latency/1",
        "config": {
            "clients": args.clients,
            "rooms": args.rooms_count(),
            "tick_rate_hz": args.tick_rate,
            "input_rate_hz": args.input_rate,
            "duration_s": args.duration,
            "warmup_s": args.warmup,
            "quick": args.asked.quick,
            "server_core": cores.map(|cores| cores.server),
            "clients_core": cores.map(|cores| cores.clients),
        },
        "verdict": figures.verdict.name(),
        "microseconds": microseconds,
        "work": {
            "states_received": figures.receipts,
            "over_more_than_a_tick": figures.leaps,
            "before_write_returned": figures.early,
            "unmatched": figures.unmatched,
            "hashes_checked": figures.hashes_checked,
        },
        "machine": {
            "wall_us": figures.window.wall().as_micros() as u64,
            "contention": figures.window.contention(),
            "server": thread(figures.window.servers()),
            "clients": thread(figures.window.clients()),
            "server_cpu_ns_per_client_tick": figures.server_cpu_ns().map(f64::round),
        },
    })
}

fn distribution(histogram: &Histogram<u32>) -> Value {
    let mut distribution = json!({ "count": histogram.len(), "max": histogram.max() });
    for (name, quantile) in QUANTILES {
        distribution[name] = json!(histogram.value_at_quantile(quantile));
    }
    distribution
}
