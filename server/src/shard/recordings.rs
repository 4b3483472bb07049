//! What a shard does with what its rooms record: it hands it over, and hears when that is no use.

use tickloom_protocol::recording::EndReason;
use tickloom_protocol::time::Timestamp;

use crate::recording::{Piece, RecordedRooms, Recording, Stopped};
use crate::room::recorded::Recorded;
use crate::room::{Room, RoomId};
use crate::shard::{Effect, Shard};

impl Shard {
    /// Has what happens to a room kept, if it is to be. It was just made for these options.
    pub(super) fn begin_recording(&mut self, now: Timestamp, id: RoomId, options: &[u8]) {
        let recorded = self.config.recorded;
        let Some(room) = self.rooms.get_mut(id) else { return };
        let is_wanted = match recorded {
            RecordedRooms::None => false,
            RecordedRooms::Chosen => room.recording() == Recording::Inputs,
            RecordedRooms::All => true,
        };
        if is_wanted {
            room.begin_recording(now, options);
            self.metrics.recordings += 1;
            let opens = Some(room.key().clone());
            let bytes = room.take_recording_head();
            let piece = Piece { room: id, opens, bytes, is_last: false };
            self.effects.push_back(Effect::Recording(Box::new(piece)));
        }
    }

    /// Hands over what a room has recorded, if there is enough of it.
    pub(super) fn hand_over_recorded(&mut self, id: RoomId) {
        let Some(room) = self.rooms.get_mut(id) else { return };
        let recorded = room.take_recorded();
        self.keep_recorded(id, recorded, false);
    }

    /// Hands over the rest of what a room has recorded that is no more.
    pub(super) fn end_recording(&mut self, id: RoomId, room: &mut Room, reason: EndReason) {
        let recorded = room.end_recording(reason);
        self.keep_recorded(id, recorded, true);
    }

    fn keep_recorded(&mut self, id: RoomId, recorded: Recorded, is_last: bool) {
        match recorded {
            Recorded::Nothing => {}
            Recorded::Records(bytes) => {
                let piece = Piece { room: id, opens: None, bytes, is_last };
                self.effects.push_back(Effect::Recording(Box::new(piece)));
            }
            Recorded::Overfull => {
                let piece = Piece { room: id, opens: None, bytes: Vec::new(), is_last: true };
                self.effects.push_back(Effect::Recording(Box::new(piece)));
                self.handle_recording_stopped(id, &Stopped::TooMuchAtOnce);
            }
        }
    }

    /// What a room records cannot be kept any more: its recording ends here.
    pub fn handle_recording_stopped(&mut self, id: RoomId, why: &Stopped) {
        let message = "the rest of what happens to this room is not kept";
        self.metrics.recordings_stopped += 1;
        match self.rooms.get_mut(id) {
            Some(room) => {
                room.stop_recording();
                tracing::warn!(event = "recording.stopped", room = %room.key(), %why, message);
            }
            // The room was faster at its end than the disk.
            None => tracing::warn!(event = "recording.stopped", room = ?id, %why, message),
        }
    }
}
