//! The directory in which failures of rooms are kept, one JSON file each, and the thread that
//! writes them.
//!
//! A shard hands a record over and goes on; how long the disk takes is nobody's business but this
//! thread's. Names begin with the time, so that their order is the order of the failures, also
//! over several runs of a server. Two servers need two directories.
#![expect(clippy::disallowed_methods, reason = "an edge module: files are named by the time")]

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;

use crate::room::failure::FailureRecord;

/// Files kept; a new one replaces the oldest. At 12 KiB each that is a good megabyte.
const FILES_MAX: usize = 100;

/// Records that wait for the disk. Room types in quarantine fail no more, so more would mean that
/// the disk has been gone for minutes.
const WAITING_MAX: usize = 64;

/// What our files are called, and what is therefore ours to replace.
const PREFIX: &str = "failure-";
const SUFFIX: &str = ".json";

/// The end of the channel that shards hold. The thread ends when all of them are gone.
#[derive(Clone, Debug)]
pub struct FailureSender {
    sender: Sender<Box<FailureRecord>>,
}

impl FailureSender {
    /// Has a record kept, unless too many wait already. Never blocks.
    pub fn send(&self, record: Box<FailureRecord>) {
        if self.sender.try_send(record).is_err() {
            tracing::warn!(event = "failure.dropped", "too many failures wait for the disk");
        }
    }
}

/// Makes the directory if it is not there, and starts the thread that writes into it.
/// Nothing is ever sent to the receiver: it is disconnected when everything is written.
///
/// # Errors
/// The directory cannot be made or read, or the kernel has no thread.
pub fn open(dir: &Path) -> io::Result<(FailureSender, Receiver<Infallible>)> {
    let context = |error: io::Error| {
        let message = format!("cannot keep failures in {}: {error}", dir.display());
        io::Error::new(error.kind(), message)
    };
    let files = FailureFiles::open(dir).map_err(context)?;
    let (sender, receiver) = bounded(WAITING_MAX);
    let (writing, written) = bounded(0);
    let thread = thread::Builder::new().name("failures".to_owned());
    thread.spawn(move || {
        write_all(files, &receiver);
        drop(writing);
    })?;
    Ok((FailureSender { sender }, written))
}

fn write_all(mut files: FailureFiles, records: &Receiver<Box<FailureRecord>>) {
    // A full disk would otherwise fill the log too: said once, until it works again.
    let mut is_failing = false;
    for record in records {
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let result = files.write(age, &record);
        if let Err(error) = &result
            && !is_failing
        {
            let dir = files.dir.display();
            tracing::error!(event = "failure.unsaved", %dir, %error, "a failure was not kept");
        }
        is_failing = result.is_err();
    }
}

/// The files of one directory.
#[derive(Debug)]
struct FailureFiles {
    dir: PathBuf,
    /// Their names, oldest first; at most [`FILES_MAX`].
    names: BTreeSet<String>,
    /// How many were written: tells those of one millisecond apart.
    written: u64,
}

impl FailureFiles {
    fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(dir)? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
                names.insert(name);
            }
        }
        Ok(Self { dir: dir.to_owned(), names, written: 0 })
    }

    /// Writes a record that came `age` after 1970, and deletes the oldest beyond the bound.
    fn write(&mut self, age: Duration, record: &FailureRecord) -> io::Result<()> {
        let panicked = &record.panicked;
        let file = File {
            version: env!("CARGO_PKG_VERSION"),
            unix_ms: age.as_millis() as u64,
            room_type: &record.room.room_type,
            room: &record.room.room,
            seed: format!("{:#x}", record.seed),
            tick: record.tick.0,
            members_count: record.members_count,
            panic: &panicked.message,
            hook: panicked.hook,
            member: panicked.member.map(|member| member.0),
            name: &panicked.name,
            bytes_count: panicked.bytes_count,
            bytes: panicked.bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let name = format!("{PREFIX}{:013}-{:06}{SUFFIX}", file.unix_ms, self.written);
        self.written += 1;
        // Whoever looks into the directory finds whole files only.
        let unfinished = self.dir.join("unfinished");
        fs::write(&unfinished, serde_json::to_vec_pretty(&file)?)?;
        fs::rename(&unfinished, self.dir.join(&name))?;
        self.names.insert(name);
        while self.names.len() > FILES_MAX
            && let Some(oldest) = self.names.pop_first()
        {
            // Somebody may have taken it away already.
            let _ = fs::remove_file(self.dir.join(oldest));
        }
        Ok(())
    }
}

/// What a file says.
#[derive(Serialize)]
struct File<'a> {
    /// The server's.
    version: &'a str,
    unix_ms: u64,
    room_type: &'a str,
    room: &'a str,
    /// Hexadecimal text: 64 bits are more than the numbers of many JSON readers have.
    seed: String,
    tick: u32,
    members_count: usize,
    panic: &'a str,
    hook: &'a str,
    member: Option<u16>,
    name: &'a str,
    bytes_count: usize,
    /// Two hexadecimal digits each.
    bytes: String,
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::RecvTimeoutError;
    use tickloom_protocol::ids::{MemberId, RoomKey, Tick};

    use super::*;
    use crate::room::failure::Panicked;

    /// A directory of this test run, empty, and gone at the end.
    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("tickloom-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).expect("a directory");
            let names = entries.map(|entry| entry.expect("an entry").file_name());
            let mut names: Vec<_> = names.filter_map(|name| name.into_string().ok()).collect();
            names.sort();
            names
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn record(seed: u64, message: &str, bytes: &[u8]) -> FailureRecord {
        FailureRecord {
            room: RoomKey::parse("tag", "a/\"b").expect("a name"),
            seed,
            tick: Tick(7),
            members_count: 2,
            panicked: Panicked {
                message: message.to_owned(),
                hook: "on_input",
                member: Some(MemberId(3)),
                // The longest a joiner can have, and six bytes in JSON each.
                name: "\u{1}".repeat(64).into(),
                bytes: bytes.into(),
                bytes_count: 5_000,
            },
        }
    }

    #[test]
    fn a_file_says_what_is_needed_to_make_the_call_again() {
        let dir = TempDir::new("file");
        let (sender, written) = open(&dir.0.join("deeper")).expect("a directory");
        sender.send(Box::new(record(u64::MAX, "stepped on", &[0x00, 0xff])));
        drop(sender);
        let ended = written.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "it ends when nobody sends");
        let dir = TempDir(dir.0.join("deeper"));
        let [name] = &dir.names()[..] else { panic!("{:?}", dir.names()) };
        let bytes = fs::read(dir.0.join(name)).expect("a file");
        let file: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        for (key, expected) in [
            ("room_type", serde_json::json!("tag")),
            ("room", "a/\"b".into()),
            ("seed", "0xffffffffffffffff".into()),
            ("tick", 7.into()),
            ("members_count", 2.into()),
            ("hook", "on_input".into()),
            ("member", 3.into()),
            ("bytes", "00ff".into()),
            ("bytes_count", 5_000.into()),
            ("panic", "stepped on".into()),
        ] {
            assert_eq!(file[key], expected, "{key}");
        }
    }

    #[test]
    fn a_hundred_files_are_kept_also_over_several_runs_and_nothing_else_is_touched() {
        let dir = TempDir::new("many");
        let (message, bytes) = ("\u{1}".repeat(200), [0xff; 4_096]);
        let mut written = 0;
        for run in 0..3 {
            let mut files = FailureFiles::open(&dir.0).expect("a directory");
            fs::write(dir.0.join("failure-notes.txt"), "somebody else's").expect("written");
            for _ in 0..60 {
                // Two in every millisecond.
                let age = Duration::from_millis(1_700_000_000_000 + written / 2);
                files.write(age, &record(written, &message, &bytes)).expect("written");
                written += 1;
            }
            let names = dir.names();
            let expected = FILES_MAX.min(60 * (run + 1)) + 1;
            assert_eq!(names.len(), expected, "after run {run}: {names:?}");
        }
        assert!(dir.names().contains(&"failure-notes.txt".to_owned()));
        let oldest = dir.names().into_iter().find(|name| name.ends_with(SUFFIX)).expect("files");
        let file = fs::read(dir.0.join(&oldest)).expect("a file");
        assert!(file.len() < 12 * 1024, "{} bytes", file.len());
        let file: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
        assert_eq!(file["seed"], "0x50", "80 of 180 were replaced");
    }

    #[test]
    fn a_disk_that_fails_is_survived_and_used_again_when_it_works() {
        let dir = TempDir::new("broken");
        let mut files = FailureFiles::open(&dir.0).expect("a directory");
        fs::remove_dir_all(&dir.0).expect("removed");
        for _ in 0..2 {
            assert!(files.write(Duration::from_millis(1), &record(1, "", &[])).is_err());
        }
        fs::create_dir_all(&dir.0).expect("made");
        files.write(Duration::from_millis(2), &record(2, "", &[])).expect("written");
        assert_eq!(dir.names().len(), 1);

        fs::write(dir.0.join("taken"), "").expect("written");
        let error = open(&dir.0.join("taken")).expect_err("a file is no directory");
        assert!(error.to_string().contains("taken"), "{error}");
    }
}
