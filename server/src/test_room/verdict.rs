//! Whether every replica equals the room, as far as its member sees it.

use std::collections::BTreeSet;

use tickloom_protocol::ids::{CellId, MemberId};
use tickloom_protocol::limits;
use tickloom_protocol::replica::Replica;

use crate::room::Room;
use crate::room::member::Member;
use crate::room::sight::Sight;
use crate::test_room::TestRoom;
use crate::test_room::client::TestClient;
use crate::test_room::comparison::{compare, is_drawn_where_it_looks};

/// Ticks that [`TestRoom::assert_converged`] waits for a room that is still sending: state is sent
/// every 255 ticks at least.
const SETTLE_TICKS_MAX: usize = 300;

/// States within which everything that moves is due once, wherever it goes meanwhile.
const LOOKS_MAX: usize = 4 * limits::RING_EVERY_MAX as usize;

impl TestRoom {
    /// Checks that every member knows exactly what the room shows it, byte for byte: what everybody
    /// sees, what it alone sees, and what its team sees. In a room with interest, everybody sees
    /// the cells around it and nothing else. When something is still to be sent, the room ticks
    /// until it was; so it does when things move where a member is told of it only now and then.
    /// Members that are stalled or gone are passed over, and so are those who watch late.
    ///
    /// # Panics
    /// With the first difference; when a replica broke on the way, even if it was healed; when
    /// there is no room.
    pub fn assert_converged(&mut self) {
        let mut moving = self.compare_all();
        for _ in 0..LOOKS_MAX {
            if moving.is_empty() {
                return;
            }
            if !self.tick() {
                break;
            }
            let still = self.compare_all();
            moving.retain(|place| still.contains(place));
        }
        if let Some((member, cell)) = moving.first() {
            let (member, cell) = (member.0, cell.0);
            panic!("member {member} is not told how things move in cell {cell}, which it sees");
        }
    }

    /// Compares everybody's replica; returns where somebody sees things move that were not due yet.
    fn compare_all(&mut self) -> BTreeSet<(MemberId, CellId)> {
        for _ in 0..SETTLE_TICKS_MAX {
            if self.is_settled() || !self.tick() {
                break;
            }
        }
        let room = self.expect_room();
        for client in &self.clients {
            if let Some(error) = &client.broken {
                panic!("the replica of {} broke: {error}", client.name);
            }
        }
        // An empty room sleeps, and has nobody to send anything to.
        let hint = if room.state().is_sent() || room.members().is_empty() {
            String::new()
        } else {
            format!(
                "\nThe room changed after tick {} and wants no tick to send it: a hook that \
                 refuses must change nothing",
                room.sent()
            )
        };
        let mut moving = BTreeSet::new();
        for (client, replica, seat) in self.listening(room) {
            let (name, tick, member) = (&client.name, replica.tick(), replica.member());
            match compare(room, replica) {
                Ok(cells) => moving.extend(cells.into_iter().map(|cell| (member, cell))),
                Err(text) => panic!("{name}, at tick {tick}, differs from the room: {text}{hint}"),
            }
            assert_eq!(tick, room.sent(), "{name} is behind{hint}");
            assert!(sees_all(room, seat), "{name} is never sent all that is in its view");
        }
        assert!(hint.is_empty(), "{hint}");
        moving
    }

    /// Whether everybody was sent everything there is to be sent.
    fn is_settled(&self) -> bool {
        let room = self.expect_room();
        let has_all = |(_, replica, seat): (_, &Replica, &Member)| {
            replica.tick() == room.sent() && sees_all(room, seat)
        };
        room.state().is_sent() && self.listening(room).all(has_all)
    }

    /// The clients that hear everything, with what they know and where they sit.
    fn listening<'a>(
        &'a self,
        room: &'a Room,
    ) -> impl Iterator<Item = (&'a TestClient, &'a Replica, &'a Member)> {
        self.clients.iter().filter(|client| !client.is_stalled).filter_map(|client| {
            let seat = client.client.seat()?;
            let member = room.members().get(&seat.member)?;
            let hears = client.session == Some(member.session()) && !member.is_late();
            hears.then_some((client, &seat.replica, member))
        })
    }
}

/// Whether a member was sent everything around the place it looks at.
fn sees_all(room: &Room, seat: &Member) -> bool {
    seat.sight().is_none_or(Sight::is_whole) && is_drawn_where_it_looks(room, seat)
}
