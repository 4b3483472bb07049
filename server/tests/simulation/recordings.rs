//! What the rooms of a simulation record, made to happen again when they are gone.

use std::collections::BTreeMap;

use tickloom_server::directory::ShardIndex;
use tickloom_server::protocol::recording::prologue;
use tickloom_server::recording::Piece;
use tickloom_server::recording::replay::{Ending, Replay, Verdict};
use tickloom_server::room::RoomId;
use tickloom_server::rooms::RoomTypes;

/// The files, in memory.
#[derive(Default)]
pub struct Recordings {
    files: BTreeMap<(ShardIndex, RoomId), Vec<u8>>,
}

impl Recordings {
    pub fn write(&mut self, shard: ShardIndex, piece: &Piece) {
        let file = self.files.entry((shard, piece.room)).or_default();
        assert_eq!(piece.opens.is_some(), file.is_empty(), "a room is opened once, and first");
        if file.is_empty() {
            *file = prologue(0);
        }
        file.extend_from_slice(&piece.bytes);
    }

    /// Replays everything; says how many checkpoints were compared.
    pub fn check(&self, room_types: &RoomTypes) -> u64 {
        let mut checkpoints = 0;
        for (id, file) in &self.files {
            let replay = Replay::open(file, room_types);
            let mut replay = replay.unwrap_or_else(|error| panic!("{id:?}: {error}"));
            let verdict = replay.run(None).unwrap_or_else(|error| panic!("{id:?}: {error}"));
            let ended = matches!(verdict, Verdict::AtEnd(Ending::Room(_) | Ending::Panicked(_)));
            assert!(ended, "{id:?}, {replay:?}: {verdict:?}");
            checkpoints += replay.done().checkpoints;
        }
        checkpoints
    }
}
