use super::*;
use crate::attack::AttackKind;
use crate::tally::Window;
use clap::{CommandFactory, Parser, ValueEnum};
use tickloom_protocol::time::Timestamp;

fn plan(flags: &str) -> Result<Result<Plan, PlanError>, clap::Error> {
    let words = std::iter::once("loadtest").chain(flags.split_whitespace());
    let job = Args::try_parse_from(words).map(Job::new)?;
    Ok(job.map(|job| match job {
        Job::Load(plan) => *plan,
        other => panic!("{flags}: {other:?}"),
    }))
}

fn good(flags: &str) -> Plan {
    plan(flags).expect("parses").expect("fits")
}

fn rooms(plan: &Plan) -> u32 {
    match &plan.load {
        Load::Rooms(rooms) => rooms.cast.rooms_count(),
        Load::Echo(echo) => panic!("{echo:?}"),
    }
}

#[test]
fn the_command_line_is_well_formed() {
    Args::command().debug_assert();
}

#[test]
fn no_arguments_mean_the_main_job() {
    let plan = good("");
    assert_eq!(plan, good("run"));
    assert_eq!(plan.target, Target::Spawn { tick_rate_hz: 20, scheme: Scheme::Ws });
    assert_eq!(plan.clients_count, 1000);
    let rooms = plan.rooms_load().expect("rooms");
    assert_eq!((rooms.scenario.as_str(), rooms.rate_hz_max()), ("arena", 20));
    assert_eq!((rooms.cast.rooms_count(), rooms.churn), (50, None));
    assert_eq!((plan.duration, plan.warmup), (Duration::from_secs(10), Duration::from_secs(2)));
    assert_eq!((plan.connect_rate_hz, plan.seed), (2000, 42));
    assert_eq!((plan.threads_count, plan.processes_count), (1, 1));
    assert!(!plan.deflate && good("run --deflate").deflate && good("echo --deflate").deflate);
}

#[test]
fn units_are_understood() {
    let plan = good("run -n 5k -r 250 -d 1.5m --warmup 250ms --connect-rate 3k --seed 7");
    assert_eq!((plan.clients_count, rooms(&plan)), (5000, 250));
    assert_eq!((plan.duration.as_secs(), plan.warmup.as_millis()), (90, 250));
    assert_eq!((plan.connect_rate_hz, plan.seed), (3000, 7));
    assert_eq!(rooms(&good("--clients 7 --room-size 3")), 3);
}

#[test]
fn values_that_make_no_sense_are_refused_with_an_example() {
    for flags in [
        "-d 30",
        "-d s",
        "-d -1s",
        "-d 1y",
        "-n 0",
        "-n x",
        "-n 1.5",
        "-n -5",
        "-n 1e3",
        "-r 0",
        "--input-rate 5/m",
        "-u http://a",
        "-u wss:///ws",
        "--insecure",
        "-u wss://a --insecure --ca a.pem",
        "-u wss://a --tls",
        "-u ws:///ws",
        "-u ws://a --tick-rate 30",
        "-r 5 --room-size 5",
        "--threads x",
        "--threshold state_age.p99=80ms",
        "--threshold stat_age.p99<80ms",
        "--server-pid 1",
        "--payload 64",
        "--storm 10",
        "--storm 10s --drop-rate 1/s",
        "--storm 10s --churn 1/s",
        "--storm 10s --hidden 5%",
        "--storm 10s --patience 5s",
        "--storm 10s --slow-readers 1%@4KB/s",
        "echo --text --binary",
        "echo --senders 2",
        "echo --rate 5 --in-flight 2",
        "echo --spawn x",
        "echo --subprotocol a,b",
        "echo --rooms 3",
        "compare a.json",
    ] {
        assert!(plan(flags).is_err(), "{flags}");
    }
}

#[test]
fn combinations_that_do_not_fit_name_the_flag() {
    for (flags, flag) in [
        ("-n 10 -r 11", "--rooms"),
        ("-d 500ms", "--duration"),
        ("--connect-rate 0", "--connect-rate"),
        ("--tick-rate 0", "--tick-rate"),
        ("--tick-rate 129", "--tick-rate"),
        ("--input-rate 1k", "--input-rate"),
        ("--threads 0", "--threads"),
        ("-n 2 --threads 3", "--threads"),
        ("-n 2m", "--clients"),
        ("-n 3 --threads 2 --processes 2", "--threads"),
        ("-u ws://a --server-cores 0", "--server-cores"),
        ("-u ws://a --insecure", "--insecure"),
        ("echo -u ws://a --ca a.pem", "--ca"),
        ("attack silent -u wss://a", "--url of `attack silent` must be a ws://"),
        ("attack slow-body -u wss://a", "--url of `attack slow-body` must be a ws://"),
        ("attack handshakes -u ws://a", "--url of `attack handshakes` must be a wss://"),
        ("echo --payload 15", "--payload"),
        ("echo --payload 31 --text", "--payload"),
        ("echo --payload 70k", "--payload"),
        ("echo --rate 0", "--rate"),
        ("echo --in-flight 2k", "--in-flight"),
        ("echo --broadcast -n 1", "--broadcast"),
        ("echo --broadcast -n 5 --senders 6", "--senders"),
        ("echo --broadcast -n 5k --senders 2k", "--senders"),
    ] {
        let error = plan(flags).expect("parses").expect_err(flags);
        assert!(error.to_string().starts_with(flag), "{flags}: {error}");
    }
}

#[test]
fn every_attack_has_an_address_it_takes() {
    for kind in AttackKind::value_variants() {
        let url = if kind.scheme().is_encrypted() { "wss://a/ws" } else { "ws://a/ws" };
        let words = format!("loadtest attack {kind} --url {url}");
        let args = Args::try_parse_from(words.split(' ')).expect("parses");
        let Ok(Job::Attack(attack)) = Job::new(args) else { panic!("{words}") };
        assert_eq!((attack.kind, attack.url.scheme), (*kind, kind.scheme()));
    }
}

#[test]
fn echo_is_a_closed_loop_until_a_rate_opens_it() {
    for (flags, pattern, period_us) in [
        ("echo", Pattern::Closed { in_flight: 1 }, None),
        ("echo --in-flight 16", Pattern::Closed { in_flight: 16 }, None),
        ("echo -n 10 --rate 5k", Pattern::Open { rate_hz: 5000 }, Some(2_000)),
        (
            "echo --broadcast --senders 3",
            Pattern::Broadcast { senders_count: 3, rate_hz: 30 },
            Some(100_000),
        ),
    ] {
        let plan = good(flags);
        let Load::Echo(echo) = &plan.load else { panic!("{flags}: {plan:?}") };
        assert_eq!((echo.pattern, plan.send_period_us()), (pattern, period_us), "{flags}");
    }
    let plan = good("echo -u ws://a/x --spawn true");
    let Target::Command { url, command } = plan.target else { panic!("{:?}", plan.target) };
    assert_eq!((url.path.as_str(), command.as_str()), ("/x", "true"));
}

#[test]
fn a_lobby_is_for_clients_that_go_from_room_to_room_alone() {
    let plan = good("run --scenario lobby -n 40 --room-size 3 --threads 2");
    let rooms = plan.rooms_load().expect("rooms");
    assert!(rooms.is_lobby() && rooms.has_hashes() && !rooms.comes_and_goes());
    assert_eq!(plan.load.headline(), Headline::Lobby);
    for flag in [
        "--rooms 3",
        "--input-rate 5",
        "--tick-rate 5",
        "--slow-readers 1%@4KB/s",
        "--churn 1/s",
        "--storm 10s",
        "--drop-rate 1/s",
        "--patience 1s",
        "--hidden 1%",
    ] {
        let error = plan_of_lobby(flag).expect_err(flag).to_string();
        let name = flag.split_whitespace().next().expect("a flag");
        assert!(error.starts_with(name), "{flag}: {error}");
    }
}

fn plan_of_lobby(flag: &str) -> Result<Plan, PlanError> {
    plan(&format!("run --scenario lobby -n 40 {flag}")).expect(flag)
}

#[test]
fn a_storm_has_rounds_that_all_have_their_time() {
    let plan = good("run --storm 10s");
    assert_eq!(plan.duration.as_secs(), 110, "ten rounds after a quiet time");
    let storm = plan.storm().expect("a storm");
    assert!(plan.rooms_load().expect("rooms").comes_and_goes());
    for (seconds, expected) in [(20, 1), (29, 1), (30, 2), (110, 10)] {
        let window = Window { from: Timestamp(5), until: Timestamp(5 + seconds * 1_000_000) };
        let rounds: Vec<_> = storm.rounds(window).collect();
        assert_eq!(rounds.len(), expected, "{seconds} s");
        assert_eq!(rounds[0], (Timestamp(10_000_005), Timestamp(20_000_005)));
    }
    for (flags, says) in
        [("--storm 10s -d 19s", "--duration of 20s"), ("--storm 1s -d 60s", "at least 2s")]
    {
        let error = plan_error(flags);
        assert!(error.contains(says), "{flags}: {error}");
    }
}

fn plan_error(flags: &str) -> String {
    plan(flags).expect(flags).expect_err(flags).to_string()
}
