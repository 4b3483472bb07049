//! Layers over layers, and what does not go together.

use crate::config::layers::{Asked, Layers};
use crate::config::node::Raw;
use crate::config::problem::Source;
use crate::config::settings::KEYS;
use crate::config::{Config, Machine};

fn machine() -> Machine {
    Machine { cores: vec![0, 2, 3], descriptors_max: 1000 }
}

fn source(text: &str) -> Option<Source> {
    Some(Source { name: "f.toml".to_owned(), text: text.to_owned() })
}

fn file(text: &str) -> Layers {
    Layers { file: source(text), ..Layers::default() }
}

fn flags(flags: &[(&str, &str)]) -> Layers {
    let keyed = flags.iter().map(|(name, value)| {
        let key = KEYS.iter().find(|key| key.flag.is_some_and(|flag| flag.name == *name));
        (key.expect("a flag"), Raw::Word((*value).to_owned()))
    });
    Layers { flags: keyed.collect(), ..Layers::default() }
}

fn environment(variables: &[(&str, &str)]) -> Layers {
    let owned = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Layers { environment: owned.collect(), ..Layers::default() }
}

fn problems(layers: Layers) -> String {
    match Config::resolve(&layers.merge(), &machine(), 9) {
        Ok(config) => panic!("nobody complained: {config:?}"),
        Err(problems) => problems.to_string(),
    }
}

fn origin(asked: &Asked, path: &str) -> String {
    let key = KEYS.iter().find(|key| key.path() == path).expect("a key");
    format!("{} by {}", (key.show)(&asked.settings), (key.origin)(&asked.settings))
}

#[test]
fn defaults_fit_the_machine() {
    let config = Config::resolve(&Asked::default(), &machine(), 9).expect("defaults");
    assert_eq!((config.cores, config.connections_max, config.seed), (vec![0, 2, 3], 936, 9));
}

#[test]
fn later_layers_win_and_are_remembered() {
    let text = "[tick]\n\nrate = 1\n[room]\nrooms_max = 2\nlinger = '3s'\n";
    let asked = Layers {
        file: source(text),
        environment: environment(&[("TICKLOOM_TICK_RATE", "4"), ("TICKLOOM_ROOM_ROOMS_MAX", "5")])
            .environment,
        flags: flags(&[("tick-rate", "6")]).flags,
    }
    .merge();
    assert_eq!(asked.problems, []);
    for (path, expected) in [
        ("tick.rate", "6 by flag --tick-rate"),
        ("room.rooms_max", "5 by env TICKLOOM_ROOM_ROOMS_MAX"),
        ("room.linger", "\"3s\" by f.toml:6"),
        ("outbound.soft_max", "\"256KiB\" by default"),
    ] {
        assert_eq!(origin(&asked, path), expected, "{path}");
    }
}

#[test]
fn every_key_can_be_set_from_file_and_environment() {
    for key in KEYS {
        let default = (key.show)(&Asked::default().settings);
        let asked = file(&format!("[{}]\n{} = {default}\n", key.section, key.name)).merge();
        assert_eq!(origin(&asked, &key.path()), format!("{default} by f.toml:2"));
        let variable = key.variable();
        let asked = environment(&[(&variable, default.trim_matches('"'))]).merge();
        assert_eq!(asked.problems, [], "{variable}");
        assert_eq!(origin(&asked, &key.path()), format!("{default} by env {variable}"));
    }
}

#[test]
fn variables_of_others_are_none_of_ours() {
    let asked = environment(&[
        ("HOME", "/"),
        ("TICKLOOM_SERVICE_HOST", "10.0.0.1"),
        ("TICKLOOM_SERVICE_PORT", "7420"),
        ("TICKLOOM_PORT", "tcp://10.0.0.1:7420"),
        ("TICKLOOM_PORT_7420_TCP", "tcp://10.0.0.1:7420"),
    ])
    .merge();
    assert_eq!(asked.problems, []);
    // Somebody who means the port of the server.
    let problems = problems(environment(&[("TICKLOOM_PORT", "7420")]));
    assert!(problems.contains("unknown variable `TICKLOOM_PORT`"), "{problems}");
}

#[test]
fn keys_that_do_not_go_together_are_both_named() {
    for (layers, left, right) in [
        (file("[outbound]\nsoft_max = '1MiB'"), "outbound.soft_max", "outbound.hard_max"),
        (file("[outbound]\nhard_max = '256KiB'"), "outbound.soft_max", "outbound.hard_max"),
        (
            environment(&[("TICKLOOM_WEBSOCKET_PONG_TIMEOUT", "25s")]),
            "websocket.pong_timeout",
            "websocket.ping_interval",
        ),
        (file("[watchdog]\nabort_after = '2s'"), "watchdog.unready_after", "watchdog.abort_after"),
        (file("[limits]\nmessages_rate = 19"), "tick.rate", "limits.messages_rate"),
        (file("[stop]\ndeadline = '1s'"), "websocket.drain_timeout", "stop.deadline"),
        (file("[server]\nmemory_max = '1MB'"), "outbound.hard_max", "server.memory_max"),
        (
            file("[websocket]\nmessage_max = '8MiB'"),
            "websocket.message_max",
            "websocket.message_timeout",
        ),
        (file("[room]\nrecord = 'inputs'"), "room.record", "room.recordings_dir"),
        (file("[room]\nrecordings_max = '1MB'"), "room.recording_max", "room.recordings_max"),
        (file("[rooms.a]\nrecord = 'inputs'"), "rooms.a.record", "room.recordings_dir"),
    ] {
        let problems = problems(layers);
        assert_eq!(problems.matches("error: ").count(), 1, "{problems}");
        let title = problems.lines().next().unwrap_or_default();
        let at = [left, right].map(|path| title.find(&format!("`{path}`")));
        assert!(at[0].is_some() && at[0] < at[1], "{left} {right}: {problems}");
    }
}

#[test]
fn a_wrong_value_has_no_part_in_conflicts() {
    let problems = problems(file("[outbound]\nsoft_max = 'much'\nhard_max = '4KiB'"));
    assert_eq!(problems.matches("error: ").count(), 1, "{problems}");
    assert!(problems.contains("`outbound.soft_max` takes"), "{problems}");
}

#[test]
fn what_cannot_be_had_names_its_key_and_its_origin() {
    for (layers, expected) in [
        (flags(&[("tick-rate", "0")]), ["`tick.rate` takes", "--tick-rate 0"]),
        (flags(&[("tick-rate", "129")]), ["`tick.rate` takes", "--tick-rate 129"]),
        (flags(&[("cores", "1,2")]), ["`server.cores` names core 1", "--cores"]),
        (flags(&[("cores", "2,2")]), ["`server.cores` takes", "core 2 is named twice"]),
        (flags(&[("connections-max", "937")]), ["needs 1001 file", "--connections-max"]),
        (flags(&[("connections-max", "0")]), ["`server.connections_max` takes", "at least 1"]),
        (flags(&[("rooms-max", "0")]), ["`room.rooms_max` takes", "--rooms-max 0"]),
        (flags(&[("seed", "-1")]), ["`server.seed` takes", "--seed -1"]),
    ] {
        let problems = problems(layers);
        for expected in expected {
            assert!(problems.contains(expected), "{expected}: {problems}");
        }
    }
}

#[test]
fn what_is_configured_is_what_the_server_gets() {
    let text = "
        [server]\nlisten = '[::1]:80'\ncores = [3, 0]\nconnections_max = 11\nmemory_max = '1GiB'
        seed = 12\ntrusted_proxies = ['10.0.0.0/8', '::1']\nforwarded_header = 'forwarded'
        proxy_protocol = true\n
        [websocket]\norigins = ['https://a.b']\nmessage_max = '35KiB'\n
        fragments_max = 'none'\nping_interval = '9s'\npong_timeout = '8s'\nhead_timeout = '3s'
        join_timeout = '4s'\nmessage_timeout = '10s'\ndrain_timeout = '5s'\n
        [tls]\ncert = 'c.pem'\nkey = 'k.pem'\nhandshake_timeout = '6s'\nhandshakes_pace = 50\n
        [tick]\nrate = '7/s'\n[room]\nrooms_max = 13\nlinger = '14s'\nfailures_dir = 'a b'
        record = 'inputs'\nrecordings_dir = 'r'\nrecording_max = '43KiB'\nrecordings_max = '44KiB'\n
        [outbound]\nsoft_max = '15KiB'\nhard_max = '16KiB'\nstall_max = '17s'\n
        [limits]\nmessages_rate = 30\nmessages_burst = 31\nbytes_rate = '32KiB'\n
        bytes_burst = '64KiB'\ncontrols_rate = 'none'\nlead_max = '33s'\n
        rooms_per_connection_max = 34\nexempt = 'none'\nconnections_per_address_max = 36\n
        handshakes_per_address = 37\nhandshakes_per_address_burst = 38\n
        handshakes_rate = 39\nhandshakes_burst = 40\nrooms_per_address = 41\n
        rooms_per_address_burst = 42\nshed_when_busy = false\n
        [http]\npages = false\nseats_rate = 45\n[stop]\ndeadline = '18s'\nretry_spread = '19s'\n
        [watchdog]\nunready_after = '20s'\nabort_after = '21s'\n
        [echo]\nenabled = true\n[rooms.board]\nmembers_max = 22\n";
    let config = Config::resolve(&file(text).merge(), &machine(), 9);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let shown = format!(
        "{} {:?} {:?} {:?} {} {:?} {} {:?} {:?} {} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {:?} {:?} {:?} {:?} {:?}",
        config.listen,
        config.cores,
        config.proxies,
        config.origins,
        config.connections_max,
        config.memory_bytes_max,
        config.seed,
        config.patience,
        config.tls,
        config.tick_rate_hz,
        config.rooms_max,
        config.room_linger,
        config.failures_dir,
        config.outbox,
        config.stall_max,
        config.stop,
        config.watchdog,
        config.echo,
        config.rooms["board"].members_max,
        config.allowance,
        (config.link, config.addresses, config.handshakes, config.busy),
        config.handshakes_pace,
        config.recording,
        (config.http.has_pages, config.seats_rate),
    );
    assert_eq!(
        shown,
        "[::1]:80 [3, 0] Proxies { trusted: Networks([10.0.0.0/8, ::1/128]), header: Forwarded, protocol: \
         Required } List([Origin { scheme: \"https\", host: \"a.b\", port: Some(443) }]) 11 Some(1073741824) 12 Patience { handshake: 6s, head: 3s, join: 4s, message: 10s, ping: \
         9s, pong: 8s, drain: 5s } Files(PemFiles { cert: \"c.pem\", key: \"k.pem\" }) 7 13 14s Some(\"a b\") OutboxLimits { soft_bytes_max: 15360, hard_bytes_max: 16384 } \
         17s StopConfig { deadline: 18s, retry_spread: 19s } WatchdogConfig { unready_after: 20s, \
         abort_after: 21s } Enabled 22 Allowance { messages: Some(Rate { unit_ns: 33333334, burst_ns: \
         1033333354 }), bytes: Some(Rate { unit_ns: 30518, burst_ns: 2000027648 }), controls: None, \
         lead_max: 33s, rooms_max: Some(34) } (LinkLimits { message_bytes_max: 35840, \
         fragments_max: None }, AddressLimits { exempt: Networks([]), connections_max: Some(36), \
         handshakes: Some(Rate { unit_ns: 27027028, burst_ns: 1027027064 }), rooms: Some(Rate { \
         unit_ns: 24390244, burst_ns: 1024390248 }) }, Some(Rate { unit_ns: 25641026, burst_ns: \
         1025641040 }), GoOn) Some(Rate { unit_ns: 20000000, burst_ns: 100000000 }) \
         Some(RecordingConfig { dir: \"r\", of_all: Inputs, file_bytes_max: 44032, \
         dir_bytes_max: 45056 }) (false, Some(Rate { unit_ns: 22222223, burst_ns: 1000000035 }))"
    );
}
