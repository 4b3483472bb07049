//! A server that records, over real sockets, and `tickloom replay` on what it kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use player::Player;
use tickloom_server::config::Config;
use tickloom_server::protocol::client::ClientEvent;
use tickloom_server::protocol::recording::{Header, Reader, Recorder, prologue};
use tickloom_server::recording::{Recording, RecordingConfig};
use tickloom_server::rooms::built_in_types;
use tickloom_server::runtime;

mod player;

/// A folder of its own, gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    /// Its only file.
    fn file(&self) -> PathBuf {
        let entries = fs::read_dir(&self.0).expect("a folder");
        let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        assert_eq!(paths.len(), 1, "{paths:?}");
        paths.remove(0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Two players in an arena of 60 Hz for `ticks` ticks.
fn play(folder: &Folder, ticks: u32) -> PathBuf {
    let config = Config {
        tick_rate_hz: 60,
        recording: Some(RecordingConfig {
            dir: folder.0.clone(),
            of_all: Recording::Inputs,
            file_bytes_max: 1 << 20,
            dir_bytes_max: 1 << 20,
        }),
        ..Config::loopback()
    };
    let server = runtime::serve(&config, &built_in_types(&config)).expect("a loopback port");
    let mut players = [(); 2].map(|()| Player::join(server.address(), "arena", "cellar"));
    for turn in 0..ticks {
        for player in &mut players {
            let schema = player.client.seat().expect("a seat").replica.entities().schema();
            let mut row = vec![0; schema.input().row_bytes()];
            row[0] = (turn / 20) as u8;
            player.client.input(&row);
            player.until(|event| matches!(event, ClientEvent::Applied { .. }));
        }
    }
    server.stopper().stop();
    let reports = server.join().expect("it stops in order");
    let counts = reports[0].metrics.recordings;
    assert_eq!((counts, reports[0].metrics.recordings_stopped), (1, 0));
    folder.file()
}

/// Exit code, output, errors.
fn replay(file: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickloom"));
    let output = command.arg("replay").arg(file).args(args).output().expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn what_a_server_recorded_is_replayed_to_the_same_hashes() {
    let folder = Folder::new("replayed");
    let file = play(&folder, 150);
    let (code, said, errors) = replay(&file, &["--dump"]);
    assert_eq!((code, &*errors), (Some(0), ""), "{said}");
    for expected in [
        "arena/cellar, recorded by tickloom ",
        " x real time\n",
        " 2 checkpoints equal\n",
        "ended before its room: the server stopped",
        "arena/cellar, before tick ",
        "  body: x=",
    ] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    let (code, said, _) = replay(&file, &["--until", "61"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\n61 ticks in ") && said.contains(" 1 checkpoints equal\n"), "{said}");
}

#[test]
fn another_state_is_exit_code_1_and_a_bad_file_2_with_a_way_out() {
    let folder = Folder::new("refused");
    let file = play(&folder, 80);
    let bytes = fs::read(&file).expect("a file");
    let other = folder.0.join("other");
    let complain = |bytes: &[u8], code: i32, expected: [&str; 2]| {
        fs::write(&other, bytes).expect("written");
        let (ended, said, errors) = replay(&other, &[]);
        let all = format!("{said}{errors}");
        assert_eq!(ended, Some(code), "{all}");
        for expected in expected {
            assert!(all.contains(expected), "{expected:?} is not in\n{all}");
        }
    };
    complain(b"\x7fELF", 2, ["this is no recording of a room", "`room.recordings_dir`"]);
    complain(&bytes[..60], 2, ["ends before it says which room", "cannot replay"]);
    let mut newer = bytes.clone();
    newer[19] = 9;
    complain(&newer, 2, ["a recording of format 9", "the tickloom that wrote it"]);
    let mut damaged = bytes.clone();
    let at = bytes.len() - 100;
    damaged[at] ^= 1;
    complain(&damaged, 2, ["the recording is damaged at byte ", "--until "]);
    let astray = with_header(&bytes, |header| header.seed ^= 1);
    complain(&astray, 1, ["desync: behind tick 60 ", "0 checkpoints equal"]);
    // At these rates no room can be made.
    for rate_hz in [1_000, 2_000_000, u32::MAX] {
        let too_fast = with_header(&bytes, |header| header.tick_rate_hz = rate_hz);
        complain(&too_fast, 2, ["they tick at another rate", "--config"]);
    }
    let (code, _, errors) = replay(&folder.0.join("none"), &[]);
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("cannot read the recording"), "{errors}");
}

/// The same recording of a room that was made otherwise.
fn with_header(file: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Reader::open(file).expect("a recording").header().clone();
    let header_bytes = Recorder::new(&header).take().len();
    change(&mut header);
    let mut changed = prologue(7);
    let rest = changed.len() + header_bytes;
    changed.extend(Recorder::new(&header).take());
    changed.extend_from_slice(&file[rest..]);
    changed
}
