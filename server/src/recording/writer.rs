//! The folder in which recordings are kept, one file each, and the thread that writes them.
//!
//! A shard hands pieces over and goes on. What cannot be written is not waited for: the recording
//! ends with its last whole record, and the shard is told so with the next piece of any of its
//! rooms. No file is open between two pieces, so that recording takes no descriptors; nothing is
//! forced to the disk, so a machine that loses power loses the last seconds.
//!
//! Names begin with the time, so that their order is the order of the recordings, also over several
//! runs of a server. Two servers need two folders.
#![expect(clippy::disallowed_methods, reason = "an edge module: files are named by the time")]

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::thread;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::recording::prologue;

use crate::directory::ShardIndex;
use crate::recording::{Piece, RecordingConfig, Stopped};
use crate::room::RoomId;

/// Pieces that wait for the disk, of about 20 KB each: a busy shard makes some hundreds a second.
const WAITING_MAX: usize = 256;

/// Recordings of one shard that ended and that it did not hear of yet. Those beyond wait here.
const STOPPED_MAX: usize = 64;

/// What our files are called, and what is therefore ours to delete.
const SUFFIX: &str = ".recording";

/// Bytes of a room's type and of its name that are in the name of its file.
const NAME_BYTES_MAX: usize = 40;

/// The end of the channel that one shard holds. The thread ends when all of them are gone.
#[derive(Debug)]
pub struct RecordingSender {
    shard: ShardIndex,
    pieces: Sender<(ShardIndex, Box<Piece>)>,
    stopped: Receiver<(RoomId, Stopped)>,
    /// Rooms of which a piece was lost and the thread does not know it yet. What still comes of
    /// them must not be written behind the hole.
    lost: Vec<RoomId>,
}

impl RecordingSender {
    /// Has a piece written. Never blocks.
    ///
    /// # Errors
    /// The piece is lost, and with it the rest of its recording.
    pub fn send(&mut self, piece: Box<Piece>) -> Result<(), Stopped> {
        let room = piece.room;
        if self.lost.contains(&room) {
            return Ok(());
        }
        while let Some(lost) = self.lost.last().copied() {
            let end = Piece { room: lost, opens: None, bytes: Vec::new(), is_last: true };
            if self.pieces.try_send((self.shard, Box::new(end))).is_err() {
                break;
            }
            self.lost.pop();
        }
        self.pieces.try_send((self.shard, piece)).map_err(|_| {
            self.lost.push(room);
            Stopped::TooManyWait
        })
    }

    /// The next recording of this shard that has ended without its room.
    #[must_use]
    pub fn poll_stopped(&self) -> Option<(RoomId, Stopped)> {
        self.stopped.try_recv().ok()
    }
}

/// Makes the folder if it is not there, and starts the thread that writes into it. There is a sender
/// for each shard. Nothing is ever sent to the receiver: it is disconnected when everything is
/// written.
///
/// # Errors
/// The folder cannot be made or read, or the kernel has no thread.
pub fn open(
    config: &RecordingConfig,
    shards_count: usize,
) -> io::Result<(Vec<RecordingSender>, Receiver<Infallible>)> {
    let context = |error: io::Error| {
        let message = format!("cannot keep recordings in {}: {error}", config.dir.display());
        io::Error::new(error.kind(), message)
    };
    let mut files = RecordingFiles::open(config.clone()).map_err(context)?;
    let (pieces, waiting) = bounded::<(ShardIndex, Box<Piece>)>(WAITING_MAX);
    let (tell, stopped): (Vec<_>, Vec<_>) = (0..shards_count).map(|_| bounded(STOPPED_MAX)).unzip();
    let (writing, written) = bounded(0);
    let thread = thread::Builder::new().name("recordings".to_owned());
    thread.spawn(move || {
        let mut untold = VecDeque::new();
        for (shard, piece) in waiting {
            let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            if let Err(why) = files.write(age.as_millis() as u64, shard, &piece) {
                untold.push_back((shard, (piece.room, why)));
            }
            while let Some((shard, stopped)) = untold.pop_front() {
                // Full while a shard hears of many at once; disconnected when it has ended.
                if let Err(TrySendError::Full(stopped)) = tell[shard.0].try_send(stopped) {
                    untold.push_front((shard, stopped));
                    break;
                }
            }
        }
        drop(writing);
    })?;
    let shards = stopped.into_iter().enumerate();
    let senders = shards.map(|(index, stopped)| RecordingSender {
        shard: ShardIndex(index),
        pieces: pieces.clone(),
        stopped,
        lost: Vec::new(),
    });
    Ok((senders.collect(), written))
}

/// The files of one folder.
#[derive(Debug)]
struct RecordingFiles {
    config: RecordingConfig,
    /// Those that are written, by who writes them.
    written: BTreeMap<(ShardIndex, RoomId), File>,
    /// Those that are not, oldest first.
    finished: VecDeque<File>,
    /// Bytes of all of them.
    bytes: u64,
    /// How many were begun: tells those of one millisecond apart.
    begun: u64,
}

#[derive(Debug)]
struct File {
    name: String,
    bytes: u64,
}

impl RecordingFiles {
    fn open(config: RecordingConfig) -> io::Result<Self> {
        fs::create_dir_all(&config.dir)?;
        let mut finished = Vec::new();
        for entry in fs::read_dir(&config.dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(SUFFIX) {
                finished.push(File { name, bytes: entry.metadata()?.len() });
            }
        }
        finished.sort_by(|a, b| a.name.cmp(&b.name));
        let bytes = finished.iter().map(|file| file.bytes).sum();
        let (written, finished) = (BTreeMap::new(), finished.into());
        Ok(Self { config, written, finished, bytes, begun: 0 })
    }

    /// Writes a piece, `unix_ms` after 1970. Of a recording that ended before, nothing is written.
    fn write(&mut self, unix_ms: u64, shard: ShardIndex, piece: &Piece) -> Result<(), Stopped> {
        let id = (shard, piece.room);
        let (mut file, head) = match (&piece.opens, self.written.remove(&id)) {
            (Some(room), before) => {
                // Its room is gone, and its last piece was lost.
                self.finished.extend(before);
                self.begun += 1;
                let name = file_name(unix_ms, self.begun, room);
                (File { name, bytes: 0 }, prologue(unix_ms))
            }
            (None, Some(file)) => (file, Vec::new()),
            // Its recording has ended, and its shard was told or will be.
            (None, None) => return Ok(()),
        };
        let result = self.append(&mut file, &head, &piece.bytes);
        if result.is_ok() && !piece.is_last {
            self.written.insert(id, file);
        } else if file.bytes > 0 {
            self.finished.push_back(file);
        }
        result
    }

    fn append(&mut self, file: &mut File, head: &[u8], piece: &[u8]) -> Result<(), Stopped> {
        let bytes = (head.len() + piece.len()) as u64;
        if bytes == 0 {
            return Ok(());
        }
        if file.bytes + bytes > self.config.file_bytes_max {
            return Err(Stopped::FileFull);
        }
        self.make_room(bytes)?;
        let path = self.config.dir.join(&file.name);
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .and_then(|mut open| open.write_all(&[head, piece].concat()));
        if let Err(error) = written {
            // What got through of it does not matter to a reader, but to those who count.
            let length = fs::metadata(&path).map_or(file.bytes, |metadata| metadata.len());
            self.bytes += length.saturating_sub(file.bytes);
            file.bytes = length;
            return Err(Stopped::Disk(error.to_string()));
        }
        file.bytes += bytes;
        self.bytes += bytes;
        Ok(())
    }

    /// Deletes the oldest files that nobody writes, until so many bytes fit in.
    fn make_room(&mut self, bytes: u64) -> Result<(), Stopped> {
        while self.bytes + bytes > self.config.dir_bytes_max {
            let oldest = self.finished.pop_front().ok_or(Stopped::FolderFull)?;
            // Somebody may have taken it away already.
            let _ = fs::remove_file(self.config.dir.join(&oldest.name));
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
        }
        Ok(())
    }
}

/// A name that sorts by time and that every file system takes.
fn file_name(unix_ms: u64, number: u64, room: &RoomKey) -> String {
    let plain = |name: &str| -> String {
        let letters = name.chars().take(NAME_BYTES_MAX);
        let safe = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        letters.map(safe).collect()
    };
    let (room_type, room) = (plain(&room.room_type), plain(&room.room));
    format!("{unix_ms:013}-{number:06}-{room_type}-{room}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use crossbeam_channel::RecvTimeoutError;

    use super::*;
    use crate::recording::Recording;

    /// A folder of this test run, empty, and gone at the end.
    struct TempDir(PathBuf);

    impl TempDir {
        fn new(name: &str) -> Self {
            let name = format!("tickloom-recordings-{}-{name}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&dir);
            Self(dir)
        }

        fn config(&self, file_bytes_max: u64, dir_bytes_max: u64) -> RecordingConfig {
            let (dir, of_all) = (self.0.clone(), Recording::Inputs);
            RecordingConfig { dir, of_all, file_bytes_max, dir_bytes_max }
        }

        /// What is in it, by name.
        fn files(&self) -> Vec<(String, Vec<u8>)> {
            let entries = fs::read_dir(&self.0).expect("a directory");
            let paths = entries.map(|entry| entry.expect("an entry").path());
            let mut files: Vec<_> = paths
                .map(|path| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    (name.into_owned(), fs::read(&path).expect("a file"))
                })
                .collect();
            files.sort();
            files
        }
    }

    impl Drop for TempDir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const SHARD: ShardIndex = ShardIndex(0);

    fn room(index: u32) -> RoomId {
        RoomId { index, generation: 1 }
    }

    fn first(index: u32, bytes: &[u8]) -> Box<Piece> {
        let opens = RoomKey::parse("tag", "a/\"b");
        Box::new(Piece { room: room(index), opens, bytes: bytes.to_vec(), is_last: false })
    }

    fn next(index: u32, bytes: &[u8]) -> Box<Piece> {
        Box::new(Piece { opens: None, ..*first(index, bytes) })
    }

    fn last(index: u32, bytes: &[u8]) -> Box<Piece> {
        Box::new(Piece { is_last: true, ..*next(index, bytes) })
    }

    #[test]
    fn pieces_become_one_file_for_each_room() {
        let dir = TempDir::new("file");
        let (senders, written) = open(&dir.config(1_000, 10_000), 1).expect("a folder");
        let [mut sender] = <[_; 1]>::try_from(senders).expect("one shard");
        for piece in [first(1, b"a"), first(2, b"x"), next(1, b"b"), last(1, b"c"), next(1, b"?")] {
            assert_eq!(sender.send(piece), Ok(()));
        }
        assert_eq!(sender.poll_stopped(), None);
        drop(sender);
        let ended = written.recv_timeout(Duration::from_secs(20));
        assert_eq!(ended, Err(RecvTimeoutError::Disconnected), "it ends when nobody sends");
        let files = dir.files();
        let [(one, bytes), (two, other)] = &files[..] else { panic!("{files:?}") };
        assert!(one.ends_with("-000001-tag-a--b.recording"), "{one}");
        assert!(two.ends_with("-000002-tag-a--b.recording"), "{two}");
        assert!(bytes.starts_with(b"tickloom recording\n") && bytes.ends_with(b"abc"));
        assert!(other.ends_with(b"x"));
    }

    #[test]
    fn a_file_and_a_folder_take_what_they_may_and_the_oldest_go_first() {
        let dir = TempDir::new("full");
        let head = prologue(0).len() as u64;
        let config = dir.config(head + 10, 3 * (head + 10));
        let mut files = RecordingFiles::open(config.clone()).expect("a folder");
        let mut write = |ms, piece: Box<Piece>| files.write(ms, SHARD, &piece);
        assert_eq!(write(0, first(1, &[1; 8])), Ok(()));
        assert_eq!(write(0, next(1, &[1; 3])), Err(Stopped::FileFull));
        assert_eq!(write(0, next(1, &[1; 1])), Ok(()), "nobody writes behind a hole");
        for index in 2..5 {
            assert_eq!(write(u64::from(index), first(index, &[1; 10])), Ok(()), "{index}");
        }
        assert_eq!(write(5, first(5, &[1; 10])), Err(Stopped::FolderFull), "all are written");
        assert_eq!(write(5, last(2, &[])), Ok(()));
        // Of another run, in which the one that ended is as old as any.
        let mut files = RecordingFiles::open(config).expect("a folder");
        assert_eq!(files.write(6, SHARD, &first(6, &[2; 10])), Ok(()));
        let names: Vec<_> =
            dir.files().into_iter().map(|(name, _)| name[..13].to_owned()).collect();
        assert_eq!(names, ["0000000000003", "0000000000004", "0000000000006"]);
    }

    #[test]
    fn a_disk_that_takes_nothing_ends_the_recording_and_says_so() {
        let dir = TempDir::new("gone");
        let (senders, _written) = open(&dir.config(1_000, 10_000), 1).expect("a folder");
        let [mut sender] = <[_; 1]>::try_from(senders).expect("one shard");
        fs::remove_dir(&dir.0).expect("it was empty");
        assert_eq!(sender.send(first(1, b"a")), Ok(()));
        let stopped = sender.stopped.recv_timeout(Duration::from_secs(20));
        let Ok((stopped, Stopped::Disk(why))) = stopped else { panic!("{stopped:?}") };
        assert!(stopped == room(1) && !why.is_empty(), "{why}");
    }

    #[test]
    fn a_full_channel_loses_the_rest_of_the_recordings_that_do_not_fit_and_waits_for_nobody() {
        let (pieces, waiting) = bounded(2);
        let (_tell, stopped) = bounded(1);
        let mut sender = RecordingSender { shard: SHARD, pieces, stopped, lost: Vec::new() };
        assert_eq!(sender.send(first(1, b"a")), Ok(()));
        assert_eq!(sender.send(first(2, b"a")), Ok(()));
        assert_eq!(sender.send(next(1, b"b")), Err(Stopped::TooManyWait));
        let taken: Vec<_> = waiting.try_iter().collect();
        assert_eq!(taken.len(), 2);
        assert_eq!(sender.send(next(1, b"c")), Ok(()), "it was said once");
        assert_eq!(waiting.try_recv().ok(), None, "nothing is written behind the hole");
        assert_eq!(sender.send(next(2, b"b")), Ok(()));
        let taken: Vec<_> = waiting.try_iter().map(|(_, piece)| piece).collect();
        assert_eq!(taken, [last(1, b""), next(2, b"b")], "the one with the hole is closed");
    }
}
