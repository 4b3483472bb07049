//! Whether every client knows what its room shows it, and nothing else.

use tickloom_protocol::ids::Tick;
use tickloom_server::room::Room;
use tickloom_server::room::sight::Sight;
use tickloom_server::test_room::comparison::{compare, is_drawn_where_it_looks};

use super::*;

impl World {
    /// Ends all weather and all mischief and lets everybody catch up; then every replica equals
    /// its room.
    pub fn settle(&mut self) {
        for connection in self.connections.values_mut() {
            connection.up.calm();
            connection.down.calm();
        }
        self.returning.clear();
        for step in 0..300 {
            if step % 50 == 0 {
                self.wake_all();
            }
            self.pass(Duration::from_millis(5));
        }
        let numbers: Vec<usize> = self.connections.keys().copied().collect();
        for number in numbers {
            self.compare(number);
        }
    }

    /// Compares one client's replica with its room, at a moment when nothing has changed in the
    /// room since its last broadcast and that broadcast has arrived.
    fn compare(&mut self, number: usize) {
        self.wake_all();
        for _ in 0..100 {
            let Some((shard, room)) = self.room_of(number) else { return };
            let room = self.shards[shard.0].rooms().get(room).expect("just found");
            if is_quiet(room) && self.sees_all(number, room) {
                break;
            }
            self.pass(Duration::from_millis(4));
        }
        // The rooms stand still from here on; what is under way arrives.
        for _ in 0..100 {
            self.now = self.now + Duration::from_millis(1);
            self.move_bytes();
        }
        let Some((shard, room)) = self.room_of(number) else { return };
        let room = self.shards[shard.0].rooms().get(room).expect("just found");
        let Peer::Honest(honest) = &self.connections[&number].peer else { return };
        let Some(seat) = honest.client.seat() else { return };
        assert_eq!(seat.replica.tick(), room.sent(), "connection {number} is up to date");
        assert!(self.sees_all(number, room), "connection {number} is sent all that is in view");
        if let Err(text) = compare(room, &seat.replica) {
            panic!("connection {number} differs from its room: {text}");
        }
        let next = room.events().next();
        honest.witness().check_complete(seat, next);
        self.outcome.compared += 1;
    }

    /// Whether a member was sent everything around the place it looks at.
    fn sees_all(&self, number: usize, room: &Room) -> bool {
        let Some((shard, session)) = self.connections[&number].socket else { return true };
        debug_assert!(self.shards[shard.0].sessions().get(session).is_some(), "it is there");
        let mut seats = room.members().values();
        seats.find(|seat| seat.session() == session).is_none_or(|seat| {
            let is_whole = seat.sight().is_none_or(Sight::is_whole);
            is_whole && is_drawn_where_it_looks(room, seat)
        })
    }

    /// Looks at everybody who is up to date with a room that has not changed since: it knows what
    /// the room shows it, in the middle of everything.
    pub(super) fn glance(&mut self) {
        for (number, connection) in &self.connections {
            let Peer::Honest(honest) = &connection.peer else { continue };
            let Some(seat) = honest.client.seat() else { continue };
            let Some((shard, room)) = self.room_of(*number) else { continue };
            let room = self.shards[shard.0].rooms().get(room).expect("just found");
            let Some(member) = room.members().get(&seat.member) else { continue };
            let is_current = seat.replica.tick() == room.sent() && room.sent() != Tick::ZERO;
            if !is_current || !is_quiet(room) || !is_drawn_where_it_looks(room, member) {
                continue;
            }
            if let Err(text) = compare(room, &seat.replica) {
                panic!("connection {number} differs from its room: {text}");
            }
            self.outcome.glances += 1;
            if member.sight().is_some() {
                self.outcome.view_glances += 1;
                self.outcome.camera_glances += u64::from(member.is_spectator());
            }
        }
    }
}

/// Whether nothing has changed in a room since its last broadcast.
fn is_quiet(room: &Room) -> bool {
    room.sent().next() == room.state().building() && room.state().is_sent()
}
