//! The binary as people and supervisors meet it: what it prints, where, and how it exits.
#![expect(clippy::disallowed_types, reason = "an address in use needs a listener")]

mod codegen;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tickloom_server::runtime::allowed_cores;

/// Nothing here takes longer, except when something is wrong.
const DEADLINE: Duration = Duration::from_secs(20);

/// A folder of its own, with a `tickloom.toml` in it.
struct Folder(PathBuf);

/// How a run ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Folder {
    fn new(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        // Left over from an earlier run, or not there.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    fn with_file(self, text: &str) -> Self {
        fs::write(self.0.join("tickloom.toml"), text).expect("written");
        self
    }

    /// The command, in this folder and without variables of ours. May open 1000 files.
    fn command(&self, args: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 1000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_tickloom")]);
        command.args(args).current_dir(&self.0).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TICKLOOM_") {
                command.env_remove(name);
            }
        }
        command.envs(environment.iter().copied());
        command
    }

    fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Ended {
        let mut command = self.command(args, environment);
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || sender.send(command.output()));
        let output = ended.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{args:?} hangs"));
        let output = output.expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Ended {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// What is wrong with a file alone.
fn complaint(test: &str, file: &str) -> String {
    let ended = Folder::new(test).with_file(file).run(&["check-config"], &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{}", ended.stderr);
    ended.stderr
}

#[test]
fn syntax_errors_point_into_the_file() {
    assert_eq!(
        complaint("syntax", "[tick]\nrate = 30 Hz\n[room\n"),
        "\
error: tickloom.toml is not TOML
 --> tickloom.toml:2:8
  |
2 | rate = 30 Hz
  |        ^^^^^ string values must be quoted, expected literal string

error: tickloom.toml is not TOML
 --> tickloom.toml:3:6
  |
3 | [room
  |      ^ unclosed table, expected `]`
"
    );
}

#[test]
fn unknown_names_bring_the_nearest_ones() {
    assert_eq!(
        complaint(
            "unknown",
            "listen = '[::]:1'\n[tick]\nrate_hz = 30\n[sever]\nx = 1\n[server]\nrooms_max = 1\n\
             soft = 2\n[colours]\n"
        ),
        "\
error: unknown key `listen` before the first section
 --> tickloom.toml:1:1
  |
1 | listen = '[::]:1'
  | ^^^^^^ did you mean `listen` in [server]?

error: unknown key `tick.rate_hz`
 --> tickloom.toml:3:1
  |
3 | rate_hz = 30
  | ^^^^^^^ did you mean `rate`?

error: unknown section `[sever]`
 --> tickloom.toml:4:2
  |
4 | [sever]
  |  ^^^^^ did you mean `[server]`?

error: unknown key `server.rooms_max`
 --> tickloom.toml:7:1
  |
7 | rooms_max = 1
  | ^^^^^^^^^ did you mean `rooms_max` in [room]?

error: unknown key `server.soft`
 --> tickloom.toml:8:1
  |
8 | soft = 2
  | ^^^^
  |
  = help: [server] has listen, cores, connections_max, memory_max, trusted_proxies, forwarded_header, proxy_protocol, seed

error: unknown section `[colours]`
 --> tickloom.toml:9:2
  |
9 | [colours]
  |  ^^^^^^^
  |
  = help: there are [server], [websocket], [tls], [tick], [room], [limits], [outbound], [http], [stop], [watchdog], [echo], [log], [rooms]
"
    );
}

#[test]
fn wrong_values_are_told_what_is_accepted() {
    assert_eq!(
        complaint(
            "values",
            "tick = 3\n[websocket]\nping_interval = 25\npong_timeout = \"8 parsecs\"\n\
             [outbound]\nhard_max = \"1M\"\n[room]\nrooms_max = 0\n[server]\nlisten = \"lo:1\"\n\
             [log]\nlevel = \"verbose\"\nformat = \"jason\"\n[echo]\nenabled = \"yes\"\n"
        ),
        "\
error: `tick` is a section
 --> tickloom.toml:1:8
  |
1 | tick = 3
  |        ^ this is a whole number
  |
  = help: write [tick], then rate = 20

error: `websocket.ping_interval` takes a duration such as \"250ms\", \"10s\" or \"2m\", from \"1s\" to \"1h\"
 --> tickloom.toml:3:17
  |
3 | ping_interval = 25
  |                 ^^ 25 has no unit: use one of ms, s, m, h

error: `websocket.pong_timeout` takes a duration such as \"250ms\", \"10s\" or \"2m\", from \"100ms\" to \"1h\"
 --> tickloom.toml:4:16
  |
4 | pong_timeout = \"8 parsecs\"
  |                ^^^^^^^^^^^ `parsecs` is not a unit of time: use one of ms, s, m, h

error: `outbound.hard_max` takes a size such as \"64KiB\", \"1MiB\" or \"10kB\", from \"4KiB\" to \"1GiB\"
 --> tickloom.toml:6:12
  |
6 | hard_max = \"1M\"
  |            ^^^^ `M` is not a unit of size: use one of B, kB, KiB, MB, MiB, GB, GiB

error: `room.rooms_max` takes a whole number such as 1000, at least 1
 --> tickloom.toml:8:13
  |
8 | rooms_max = 0
  |             ^ at least 1 is needed

error: `server.listen` takes an IP address and a port such as \"127.0.0.1:7420\" or \"[::]:7420\"
  --> tickloom.toml:10:10
   |
10 | listen = \"lo:1\"
   |          ^^^^^^ `lo` is not an IP address

error: `log.level` takes \"error\", \"warn\", \"info\", \"debug\" or \"trace\"
  --> tickloom.toml:12:9
   |
12 | level = \"verbose\"
   |         ^^^^^^^^^

error: `log.format` takes \"auto\", \"text\" or \"json\"
  --> tickloom.toml:13:10
   |
13 | format = \"jason\"
   |          ^^^^^^^ did you mean \"json\"?

error: `echo.enabled` takes true or false
  --> tickloom.toml:15:11
   |
15 | enabled = \"yes\"
   |           ^^^^^ this is text
"
    );
}

#[test]
fn rooms_are_checked_like_everything_else() {
    assert_eq!(
        complaint(
            "rooms",
            "[rooms.arena]\n[rooms.board]\nflush = '50ms'\ntick_rate = 20\n\
             [[rooms.board.components]]\nname = 'cursor'\nkind = 'packt'\n\
             [[rooms.board.components]]\nname = 'cursor'\nkind = 'props'\ntre = true\n"
        ),
        "\
error: `rooms.arena` cannot be described
 --> tickloom.toml:1:8
  |
1 | [rooms.arena]
  |        ^^^^^ this type is built in
  |
  = help: choose another name

error: `rooms.board.flush` and `rooms.board.tick_rate` exclude each other
 --> tickloom.toml:3:1
  |
3 | flush = '50ms'
  | ^^^^^ at once, and then at most this often
4 | tick_rate = 20
  | --------- always at this rate

error: `rooms.board.components[0].kind` takes \"packed\", \"opaque\" or \"props\"
 --> tickloom.toml:7:8
  |
7 | kind = 'packt'
  |        ^^^^^^^ did you mean \"packed\"?

error: `rooms.board.components[1].name` is used twice
 --> tickloom.toml:9:8
  |
9 | name = 'cursor'
  |        ^^^^^^^^ there is one before it

error: unknown key `rooms.board.components[1].tre`
  --> tickloom.toml:11:1
   |
11 | tre = true
   | ^^^ did you mean `tree`?
"
    );
}

#[test]
fn problems_of_all_layers_and_between_them_come_in_one_message() {
    let folder = Folder::new("layers")
        .with_file("[outbound]\nsoft_max = \"2MiB\"\n[websocket]\npong_timeout = \"20s\"\n");
    let ended = folder.run(
        &["serve", "--tick-rate", "500", "--connections-max", "937", "--cores", "4000"],
        &[
            ("TICKLOOM_TICK_RATES", "30"),
            ("TICKLOOM_LOG_LEVEL", "loud"),
            ("TICKLOOM_WEBSOCKET_PING_INTERVAL", "10s"),
            ("TICKLOOM_COLOUR", "blue"),
        ],
    );
    let cores = allowed_cores();
    let numbers = cores.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let plural = if cores.len() == 1 { "core" } else { "cores" };
    let expected = format!(
        "\
error: `outbound.soft_max` must be less than `outbound.hard_max`
 --> tickloom.toml:2:12
  |
2 | soft_max = \"2MiB\"
  |            ^^^^^^
  |
  = note: `outbound.hard_max` is \"1MiB\" by default
  = help: between the two a client that fell behind still gets what it must have

error: `websocket.pong_timeout` must be less than `websocket.ping_interval`
 --> tickloom.toml:4:16
  |
4 | pong_timeout = \"20s\"
  |                ^^^^^
  |
  = note: `websocket.ping_interval` is \"10s\" by env TICKLOOM_WEBSOCKET_PING_INTERVAL
  = help: one ping is answered, or given up, before the next

error: unknown variable `TICKLOOM_COLOUR` in the environment
 |
 = help: `tickloom config default` names every variable

error: `log.level` takes \"error\", \"warn\", \"info\", \"debug\" or \"trace\"
 |
 = note: TICKLOOM_LOG_LEVEL=loud in the environment

error: unknown variable `TICKLOOM_TICK_RATES` in the environment
 |
 = help: did you mean `TICKLOOM_TICK_RATE`?

error: `tick.rate` takes a rate per second such as 20 or \"20/s\", from 1 to 128
 |
 = note: --tick-rate 500 on the command line: this is too much

error: `server.cores` names core 4000
 |
 = note: `server.cores` is [4000] by flag --cores
 = help: this process may run on {plural} {numbers}

error: `server.connections_max` = 937 needs 1001 file descriptors, but the limit is 1000
 |
 = note: `server.connections_max` is 937 by flag --connections-max
 = help: lower it, or raise the limit: `ulimit -n 1001`, LimitNOFILE=1001 in a unit
"
    );
    assert_eq!((ended.code, &*ended.stdout, ended.stderr), (Some(2), "", expected));
}

#[test]
fn a_named_file_must_be_there_and_the_usual_one_need_not() {
    let folder = Folder::new("no_file");
    for args in [&["check-config", "other.toml"][..], &["--config", "other.toml"]] {
        let ended = folder.run(args, &[]);
        let expected = "error: cannot read the configuration file `other.toml`: No such file or \
                        directory (os error 2)\n";
        assert_eq!((ended.code, &*ended.stderr), (Some(2), expected), "{args:?}");
    }
    let ended = folder.run(&["check-config"], &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "the configuration is fine\n"));
    let ended = Folder::new("a_file").with_file("").run(&["serve", "--check"], &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "tickloom.toml is fine\n"));
    fs::write(folder.0.join("latin1.toml"), b"# \xe9\n").expect("written");
    let ended = folder.run(&["check-config", "latin1.toml"], &[]);
    let expected = "error: cannot read the configuration file `latin1.toml`: invalid utf-8 \
                    sequence of 1 bytes from index 2\n";
    assert_eq!((ended.code, &*ended.stderr), (Some(2), expected));
}

#[test]
fn an_address_in_use_says_so_and_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let ended = Folder::new("in_use").run(&["--listen", &address], &[]);
    let expected = format!(
        "error: address {address} is in use
 |
 = help: stop the program that listens there, or take a free port: --listen 127.0.0.1:0
"
    );
    assert_eq!((ended.code, ended.stderr), (Some(1), expected));
    let ended = Folder::new("no_address").run(&["--listen", "192.0.2.1:0"], &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("this machine has no such address"), "{ended:?}");
}

/// A line without the spaces that put its comment below the others.
fn narrow(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_of_defaults_is_a_file_that_changes_nothing() {
    let folder = Folder::new("defaults");
    let page = folder.run(&["config", "default"], &[]).stdout;
    let before = folder.run(&["config", "effective"], &[]).stdout;
    let after = folder.with_file(&page).run(&["config", "effective"], &[]).stdout;
    let values = |text: &str| -> Vec<String> {
        text.lines().map(|line| line.split("  # ").next().unwrap_or("").trim().into()).collect()
    };
    assert_eq!(values(&before), values(&after));
    assert!(before.lines().any(|line| narrow(line) == "rate = 20 # default"), "{before}");
    assert!(!after.contains("# default"), "the page has every key: {after}");
}

#[test]
fn every_value_tells_where_it_comes_from() {
    let folder = Folder::new("provenance").with_file(
        "[tick]\nrate = \"30/s\"\n[outbound]\nhard_max = \"2MiB\"\n[rooms.board]\n\
         [[rooms.board.topics]]\nname = \"chat\"\n",
    );
    let args = ["config", "effective", "--enable-echo", "--seed", "7", "--cores"];
    let core = allowed_cores()[0].to_string();
    let ended = folder.run(
        &[&args[..], &[&core]].concat(),
        &[("TICKLOOM_OUTBOUND_HARD_MAX", "3MiB"), ("TICKLOOM_SERVER_SEED", "8")],
    );
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    for line in [
        "rate = 30 # tickloom.toml:2".to_owned(),
        "hard_max = \"3MiB\" # env TICKLOOM_OUTBOUND_HARD_MAX".to_owned(),
        "enabled = true # flag --enable-echo".to_owned(),
        "seed = 7 # flag --seed".to_owned(),
        "soft_max = \"256KiB\" # default".to_owned(),
        format!("# Here that is core {core} and 936 connections."),
        "# [rooms.board] comes from tickloom.toml: components 0, topics 1.".to_owned(),
    ] {
        assert!(
            ended.stdout.lines().any(|shown| narrow(shown) == line),
            "{line}: {}",
            ended.stdout
        );
    }
}

/// The first lines that a server logs; then it is ended.
fn first_lines(folder: &Folder, count: usize) -> Vec<String> {
    let mut child = folder.command(&[], &[]).stdout(Stdio::piped()).spawn().expect("it starts");
    let stdout = child.stdout.take().expect("stdout is piped");
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || sender.send(BufReader::new(stdout).lines().take(count).collect()));
    let lines = lines.recv_timeout(DEADLINE);
    child.kill().expect("it still runs");
    child.wait().expect("it ends");
    let lines: Result<_, std::io::Error> = lines.expect("the first lines come in time");
    lines.expect("lines")
}

#[test]
fn what_a_file_says_is_what_the_server_does() {
    let folder = Folder::new("serve").with_file(
        "[server]\nlisten = \"127.0.0.1:0\"\n[tick]\nrate = 7\n[log]\nformat = 'json'\n",
    );
    let lines = first_lines(&folder, 1);
    let record: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
    assert_eq!((&record["event"], &record["tick_rate_hz"]), (&"listening".into(), &7.into()));
}

#[test]
fn people_are_told_what_to_open() {
    let folder = Folder::new("open")
        .with_file("[server]\nlisten = \"127.0.0.1:0\"\n[log]\nformat = 'text'\n");
    let lines = first_lines(&folder, 2);
    let (_, address) = lines[0].split_once(" address=").expect("where it listens");
    let address = address.split(' ').next().expect("an address");
    let open = format!("open this in a browser event=\"pages\" url=http://{address}/");
    assert!(lines[1].ends_with(&open), "{lines:?}");
}

#[test]
fn the_doctor_looks_at_everything_and_a_cross_is_a_failure() {
    let folder = Folder::new("doctor");
    let ended = folder.run(&["doctor", "--listen", "127.0.0.1:0"], &[]);
    // 1000 open files are few, which is worth an exclamation mark and no failure.
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{}", ended.stdout);
    let hint = "! open files     at most 1000, enough for 936 connections\n                 -> ";
    assert!(ended.stdout.contains(hint), "{}", ended.stdout);
    for subject in [
        "configuration",
        "listen",
        "open files",
        "cores",
        "siblings",
        "port range",
        "somaxconn",
        "SYN backlog",
        "governor",
        "CPU pressure",
        "steal",
        "huge pages",
        "clock source",
    ] {
        let line = |line: &&str| line.contains(&format!(" {subject:14} "));
        assert_eq!(ended.stdout.lines().filter(line).count(), 1, "{subject}: {}", ended.stdout);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let ended = folder.run(&["doctor", "--listen", &address, "--tick-rate", "0"], &[]);
    assert_eq!(ended.code, Some(1));
    for line in [
        format!("✗ listen         {address}: Address already in use (os error 98)"),
        "✗ configuration  is wrong".to_owned(),
    ] {
        assert!(ended.stdout.contains(&line), "{line}: {}", ended.stdout);
    }
}

#[test]
fn help_mentions_what_it_must() {
    let folder = Folder::new("help");
    for (args, mentions) in [
        (
            &["--help"][..],
            &["serve", "check-config", "config", "doctor", "version", "--config <FILE>"][..],
        ),
        (
            &["serve", "--help"],
            &[
                "--config <FILE>",
                "--listen <ADDRESS>",
                "[default: 127.0.0.1:7420] [env: TICKLOOM_SERVER_LISTEN]",
                "--cores <LIST>",
                "--tick-rate <HZ>",
                "--enable-echo",
                "--connections-max <COUNT>",
                "costs about 2 KiB",
                "--rooms-max <COUNT>",
                "--seed <NUMBER>",
                "--log-format <FORMAT>",
                "--log-level <LEVEL>",
                "--check",
            ],
        ),
        (&["check-config", "--help"], &["[FILE]", "tickloom.toml", "environment"]),
        (&["config", "--help"], &["default", "effective", "where that comes from"]),
        (&["config", "default", "--help"], &["its unit", "what it costs"]),
        (&["config", "effective", "--help"], &["--config <FILE>", "--tick-rate <HZ>"]),
        (&["doctor", "--help"], &["this machine", "--connections-max <COUNT>"]),
        (&["codegen", "--help"], &["ts", "TypeScript"]),
        (
            &["codegen", "ts", "--help"],
            &["[TYPE]...", "--config <FILE>", "--out <FILE>", "--check", "exit with 1"],
        ),
        (&["version", "--help"], &["--json"]),
    ] {
        let ended = folder.run(args, &[]);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{args:?}");
        for mention in mentions {
            assert!(ended.stdout.contains(mention), "{args:?} {mention}: {}", ended.stdout);
        }
    }
}

#[test]
fn exit_codes_tell_usage_from_failure() {
    let folder = Folder::new("exit_codes");
    for (args, code, stdout, stderr) in [
        (&["version"][..], 0, concat!("tickloom ", env!("CARGO_PKG_VERSION"), "\n"), ""),
        (&["version", "--json"], 0, "\"subprotocol\":\"tickloom.v1\"", ""),
        (&["--version"], 0, concat!("tickloom ", env!("CARGO_PKG_VERSION")), ""),
        (&["--lisen", "127.0.0.1:0"], 2, "", "--listen"),
        (&["serv"], 2, "", "serve"),
        (&["config"], 2, "", "effective"),
        (&["codegen", "ts", "arna"], 2, "", "did you mean `arena`?"),
        (&["codegen", "ts", "--check"], 2, "", "--out <FILE>"),
        (&["codegen", "ts", "--out", "/nowhere/a.ts"], 2, "", "cannot write `/nowhere/a.ts`"),
        (&["codegen", "ts", "--config", "other.toml"], 2, "", "cannot read"),
        (&["config", "effective", "--tick-rate", "0"], 2, "", "--tick-rate 0"),
        (&["serve", "--check", "--seed", "x"], 2, "", "--seed x"),
        (&["serve", "--check", "--seed", "18446744073709551615"], 0, "is fine", ""),
    ] {
        let ended = folder.run(args, &[]);
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(ended.stdout.contains(stdout), "{args:?}: {ended:?}");
        assert!(ended.stderr.contains(stderr), "{args:?}: {ended:?}");
        assert_eq!((stdout.is_empty(), stderr.is_empty()), (code != 0, code == 0));
    }
}
