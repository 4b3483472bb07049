//! Recordings of rooms: what happened to a room is kept in a file, and made to happen again.
//!
//! ```text
//! Room --events--> Recorder --pieces--> Shard --effect--> reactor --channel--> writer --> file
//!                                                                                          |
//! Room <--events-- replay <----------------------------------------------------------------'
//! ```
//!
//! The grammar of the file is [`tickloom_protocol::recording`]. A room's part is `room/recorded.rs`.
//! Nothing ever waits for the disk: who has too much to write for it loses a recording, which ends
//! with its last whole record, and the log and a counter say so.
//!
//! A recording holds what players sent and how they are called, so whoever keeps it keeps that.

pub mod dump;
pub mod replay;
pub mod writer;

use std::path::PathBuf;

use tickloom_protocol::ids::RoomKey;

use crate::config::value::Words;
use crate::room::RoomId;

/// What is kept of a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recording {
    /// Nothing.
    #[default]
    Off,
    /// What happened to it, from which everything else follows.
    Inputs,
}

impl Words for Recording {
    const WORDS: &'static [(&'static str, Self)] = &[("off", Self::Off), ("inputs", Self::Inputs)];
}

/// Where recordings go, and which there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordingConfig {
    /// The folder.
    pub dir: PathBuf,
    /// What is kept of rooms whose type does not ask for more.
    pub of_all: Recording,
    /// Bytes of one file, after which its recording ends.
    pub file_bytes_max: u64,
    /// Bytes of all files, after which the oldest is deleted.
    pub dir_bytes_max: u64,
}

/// Which rooms a shard records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RecordedRooms {
    /// None: there is no folder for it.
    #[default]
    None,
    /// Those whose type asks for it.
    Chosen,
    /// All.
    All,
}

impl RecordedRooms {
    /// What a configuration says.
    #[must_use]
    pub fn of(config: Option<&RecordingConfig>) -> Self {
        match config.map(|config| config.of_all) {
            None => Self::None,
            Some(Recording::Off) => Self::Chosen,
            Some(Recording::Inputs) => Self::All,
        }
    }
}

/// The next bytes of one room's recording, in whole records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Which room of the shard.
    pub room: RoomId,
    /// What it is called, with its first piece.
    pub opens: Option<RoomKey>,
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether nothing follows.
    pub is_last: bool,
}

/// Why a recording ends before its room.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Stopped {
    /// More happened to the room at once than is ever kept for the disk.
    #[error("more happened at once than may wait for the disk")]
    TooMuchAtOnce,
    /// Too many pieces wait for the disk.
    #[error("the disk does not keep up")]
    TooManyWait,
    /// The file is as long as it may be.
    #[error("the file is as long as `room.recording_max` allows")]
    FileFull,
    /// All files together are as long as they may be, and all of them are still written.
    #[error("the folder is as full as `room.recordings_max` allows")]
    FolderFull,
    /// The disk said no.
    #[error("{0}")]
    Disk(String),
}
