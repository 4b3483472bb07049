//! Whether every replica equals the room; if not, where they differ, in words.

use std::fmt::Write;

use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{ComponentId, EntityId};
use tickloom_protocol::replica::Replica;
use tickloom_protocol::schema::{FieldId, Kind, Scope};

use crate::room::Room;
use crate::test_room::TestRoom;
use crate::test_room::client::TestClient;

/// Ticks that [`TestRoom::assert_converged`] waits for a room that is still sending: state is sent
/// every 255 ticks at least.
const SETTLE_TICKS_MAX: usize = 300;

/// Bytes of a value that are shown.
const SHOWN_BYTES_MAX: usize = 16;

impl TestRoom {
    /// Checks that every member knows exactly what the room holds, byte for byte: what everybody
    /// sees, and what it alone sees. When something is still to be sent, the room ticks until it
    /// was. Members that are stalled or gone are passed over.
    ///
    /// # Panics
    /// With the first difference; when a replica broke on the way, even if it was healed; when
    /// there is no room.
    pub fn assert_converged(&mut self) {
        for _ in 0..SETTLE_TICKS_MAX {
            let room = self.expect_room();
            let is_settled = room.state().is_sent()
                && self.listening(room).all(|(_, replica)| replica.tick() == room.sent());
            if is_settled || !self.tick() {
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
        for (client, replica) in self.listening(room) {
            for view in [View::Room, View::Member(replica.member())] {
                if let Some(text) = describe(room.state().entities(), replica.entities(), view) {
                    let (name, tick) = (&client.name, replica.tick());
                    panic!("{name}, at tick {tick}, differs from the room: {text}{hint}");
                }
            }
            assert_eq!(replica.tick(), room.sent(), "{} is behind{hint}", client.name);
        }
        assert!(hint.is_empty(), "{hint}");
    }

    /// The clients that hear everything, with what they know.
    fn listening(&self, room: &Room) -> impl Iterator<Item = (&TestClient, &Replica)> {
        self.clients.iter().filter(|client| !client.is_stalled).filter_map(|client| {
            let seat = client.client.seat()?;
            let member = room.members().get(&seat.member)?;
            (client.session == Some(member.session())).then_some((client, &seat.replica))
        })
    }
}

/// The first difference between what a room holds and what a member knows, in one of the member's
/// views. `None` when they are the same, byte for byte.
fn describe(room: &Entities, replica: &Entities, view: View) -> Option<String> {
    if let Some(leak) = leak(replica, view) {
        return Some(leak);
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    room.put_snapshot(view, &mut ours);
    replica.put_snapshot(view, &mut theirs);
    if ours == theirs {
        return None;
    }
    let words = first_entity(room, replica).or_else(|| first_value(room, replica, view));
    words.or_else(|| Some("their snapshots differ, but no entity and no value does".to_owned()))
}

/// A value in the replica that only somebody else may see.
fn leak(replica: &Entities, view: View) -> Option<String> {
    let View::Member(member) = view else { return None };
    let strangers = replica.ids().filter(|id| replica.owner(*id) != Some(member));
    for (entity, (index, desc)) in strangers
        .flat_map(|id| replica.schema().components().iter().enumerate().map(move |c| (id, c)))
    {
        let component = ComponentId(index as u8);
        if desc.scope == Scope::Owner && replica.has_value(component, entity) {
            let value = value(replica, component, entity);
            let (name, id) = (&desc.name, entity.0);
            return Some(format!(
                "it knows `{name}` of entity {id}, which is not its own: {value}"
            ));
        }
    }
    None
}

fn first_entity(room: &Entities, replica: &Entities) -> Option<String> {
    let last = room.ids().chain(replica.ids()).max()?;
    (0..=last.0).map(EntityId).find_map(|id| match (room.owner(id), replica.owner(id)) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            let (id, ours, theirs) = (id.0, ours.0, theirs.0);
            Some(format!("entity {id} is member {ours}'s in the room, and member {theirs}'s here"))
        }
        (Some(_), None) => Some(format!("entity {} is missing", id.0)),
        (None, Some(_)) => Some(format!("entity {} is not in the room any more", id.0)),
        (Some(_), Some(_)) | (None, None) => None,
    })
}

fn first_value(room: &Entities, replica: &Entities, view: View) -> Option<String> {
    for entity in room.ids() {
        for (index, desc) in room.schema().components().iter().enumerate() {
            let component = ComponentId(index as u8);
            let is_seen = match view {
                View::Room => desc.scope == Scope::Room,
                View::Member(member) => {
                    desc.scope == Scope::Owner && room.owner(entity) == Some(member)
                }
                View::Held(scope) => desc.scope == scope,
            };
            let ours = value(room, component, entity);
            let theirs = value(replica, component, entity);
            if is_seen && ours != theirs {
                let (name, id) = (&desc.name, entity.0);
                return Some(format!(
                    "`{name}` of entity {id} is {ours} in the room, and {theirs} here"
                ));
            }
        }
    }
    None
}

/// A value, whole, but cut where a person would not read on.
fn value(entities: &Entities, component: ComponentId, entity: EntityId) -> String {
    if !entities.has_value(component, entity) {
        return "nothing".to_owned();
    }
    let mut text = String::new();
    match &entities.schema().components()[component.index()].kind {
        Kind::Packed(layout) => {
            let row = entities.row(component, entity).unwrap_or_default();
            for (index, field) in layout.fields().enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                let number = layout.read(row, FieldId(index as u8));
                let _ = write!(text, "{comma}{} = {number}", field.name);
            }
        }
        Kind::Opaque { .. } => {
            let bytes = entities.opaque(component, entity).unwrap_or_default();
            let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
            // Two long values may begin alike.
            let crc = tickloom_protocol::entities::hash_of_snapshot(bytes);
            let _ = write!(text, "{} bytes {shown:02x?} (hash {crc:08x})", bytes.len());
        }
        Kind::Props => {
            for (key, value) in entities.props(component, entity).into_iter().flat_map(|p| p.iter())
            {
                let comma = if text.is_empty() { "" } else { ", " };
                let _ = write!(text, "{comma}{key} = {value:?}");
            }
        }
    }
    text
}
