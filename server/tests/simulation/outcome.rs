//! What a simulation may be told to get wrong, and what it counts.

use crate::described::Counts;

/// A bug of the edge, to see whether it is noticed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plant {
    Nothing,
    /// Bytes go to whoever has the session's index now.
    StaleToken,
    /// Now and then a frame of state is left out.
    SkippedDelta,
    /// Now and then a member gets a frame of another room instead of its own.
    ForeignFrame,
    /// Now and then a member is sent a compressed frame that its room's window does not know of.
    OutOfStep,
}

/// What happened, to see that a sweep covers what it should.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub joins: u64,
    pub deltas: u64,
    pub catch_ups: u64,
    pub snapshots: u64,
    pub hashes_checked: u64,
    pub moves_between_shards: u64,
    pub dropped: u64,
    pub half_closed: u64,
    pub trickled: u64,
    pub hostile_ended: u64,
    pub pauses: u64,
    pub turned_away: u64,
    pub handed_over: u64,
    pub compared: u64,
    /// Frames that members were sent compressed.
    pub packed: u64,
    /// Times a room's window began anew.
    pub window_resets: u64,
    /// Handshakes with certificate and key exchange.
    pub encrypted: u64,
    /// Handshakes by ticket.
    pub resumed: u64,
    pub handshakes_failed: u64,
    /// Clients that came to watch.
    pub watching: u64,
    /// Rooms that the server chose or named.
    pub chosen: u64,
    /// Joins that a lock, a password or a room's absence kept out, and all others.
    pub kept_out: u64,
    pub refused: u64,
    /// Seats taken with a token, and tokens that were good no more.
    pub seats_taken: u64,
    pub seats_lost: u64,
    /// Orders of hosts, and of those who are none.
    pub ruled: u64,
    pub overruled: u64,
    pub kicked: u64,
    /// Seats that clients came back to, those that missed nothing, and those that were taken over.
    pub resumes: u64,
    pub recovered: u64,
    pub takeovers: u64,
    /// Seats that nobody came back to in time.
    pub graces_expired: u64,
    /// Steps after which somebody was paused.
    pub paused: u64,
    /// Times clients of rooms with interest looked elsewhere.
    pub looks: u64,
    /// Hashes that matched in rooms with interest: of cells, of everywhere, of private streams.
    pub view_hashes: u64,
    /// Times a replica was compared with its room while both went on, those in rooms with interest
    /// and those of spectators in them.
    pub glances: u64,
    pub view_glances: u64,
    pub camera_glances: u64,
    /// Members that heard the end of their room, and those whose connection ended with it because
    /// it had failed.
    pub rooms_ended: u64,
    pub failed: u64,
    /// Rooms that failed.
    pub rooms_failed: u64,
    pub described: Counts,
    /// Hashes of rooms that their recordings came to again.
    pub checkpoints: u64,
    /// A hash over everything honest clients saw, in order.
    pub trace: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.joins += other.joins;
        self.deltas += other.deltas;
        self.catch_ups += other.catch_ups;
        self.snapshots += other.snapshots;
        self.hashes_checked += other.hashes_checked;
        self.moves_between_shards += other.moves_between_shards;
        self.dropped += other.dropped;
        self.half_closed += other.half_closed;
        self.trickled += other.trickled;
        self.pauses += other.pauses;
        self.turned_away += other.turned_away;
        self.hostile_ended += other.hostile_ended;
        self.handed_over += other.handed_over;
        self.compared += other.compared;
        self.packed += other.packed;
        self.window_resets += other.window_resets;
        self.encrypted += other.encrypted;
        self.resumed += other.resumed;
        self.handshakes_failed += other.handshakes_failed;
        self.watching += other.watching;
        self.chosen += other.chosen;
        self.kept_out += other.kept_out;
        self.refused += other.refused;
        self.seats_taken += other.seats_taken;
        self.seats_lost += other.seats_lost;
        self.ruled += other.ruled;
        self.overruled += other.overruled;
        self.kicked += other.kicked;
        self.checkpoints += other.checkpoints;
        self.resumes += other.resumes;
        self.recovered += other.recovered;
        self.takeovers += other.takeovers;
        self.graces_expired += other.graces_expired;
        self.paused += other.paused;
        self.looks += other.looks;
        self.view_hashes += other.view_hashes;
        self.glances += other.glances;
        self.view_glances += other.view_glances;
        self.camera_glances += other.camera_glances;
        self.rooms_ended += other.rooms_ended;
        self.failed += other.failed;
        self.rooms_failed += other.rooms_failed;
        self.described.add(&other.described);
    }
}
