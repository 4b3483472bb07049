//! What a room shows one member against what the member knows, value by value.
//!
//! ```text
//! everybody's   all entities; in a room with interest those that are nowhere in particular and
//!               those in the cells the member is sent, and no other one
//! its own       the private values of what it owns, wherever that is
//! its team's    the same of what its team owns
//! ```
//!
//! In a room with interest, motion in the outer rings comes with every second, fourth or eighth
//! state. A row that changed since it was due last cannot be judged by one look, so its cell is
//! named, for whoever wants to look again later; every other row must be right.

use std::collections::BTreeSet;
use std::fmt::Write;

use tickloom_protocol::entities::{Entities, View, hash_of_snapshot};
use tickloom_protocol::ids::{CellId, ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::replica::Replica;
use tickloom_protocol::schema::{ComponentDesc, FieldId, Interest, Kind, Ring, Scope};

use crate::room::Room;
use crate::room::member::Member;
use crate::room::sight::Sight;
use crate::room::state::State;
use crate::room::state::places::{PlaceId, Places};

/// Bytes of a value that are shown.
const SHOWN_BYTES_MAX: usize = 16;

/// Cells in which something has moved since their motion was due last.
pub type Moving = BTreeSet<CellId>;

/// Compares what a member knows with what its room has sent it. The room must not have changed
/// since, nor the member have looked elsewhere, and the replica must be at that tick.
///
/// # Errors
/// The first difference, in words.
pub fn compare(room: &Room, replica: &Replica) -> Result<Moving, String> {
    let member = replica.member();
    let Some(seat) = room.members().get(&member) else {
        return Err(format!("member {} has no seat", member.0));
    };
    let shown = Shown { state: room.state(), member, sight: seat.sight() };
    shown.check_sight(seat)?;
    let last = room.state().entities().ids().chain(replica.entities().ids()).max();
    let ids = (0..=last.map_or(0, |last| last.0)).map(EntityId);
    ids.clone().try_for_each(|entity| shown.check_entity(entity, replica.entities()))?;
    let components = (0..room.state().schema().components().len()).map(|at| ComponentId(at as u8));
    let values =
        ids.flat_map(|entity| components.clone().map(move |component| (component, entity)));
    // What somebody must not know is worse than what it does not know.
    for (component, entity) in values.clone() {
        shown.check_leak(component, entity, replica.entities())?;
    }
    let mut moving = Moving::new();
    for (component, entity) in values {
        moving.extend(shown.check_value(component, entity, replica.entities())?);
    }
    shown.check_whole(replica)?;
    Ok(moving)
}

/// What a member is sent of a room.
struct Shown<'a> {
    state: &'a State,
    member: MemberId,
    /// Absent where everybody is sent everything.
    sight: Option<&'a Sight>,
}

impl Shown<'_> {
    /// How often an entity's motion comes; `None` when it is out of sight.
    fn every(&self, entity: EntityId) -> Option<u8> {
        let Some(places) = self.state.places() else {
            return self.state.entities().contains(entity).then_some(1);
        };
        match places.of(entity) {
            PlaceId::NOWHERE => None,
            PlaceId::EVERYWHERE => Some(1),
            place => self.every_of(place.cell()?),
        }
    }

    /// How often a cell's motion comes; `None` when the member is not sent it.
    fn every_of(&self, cell: CellId) -> Option<u8> {
        let cells = self.sight?.subscriptions();
        let at = cells.binary_search_by_key(&cell, |known| known.cell).ok()?;
        Some(cells[at].every)
    }

    /// Whether a value of this kind is for the member.
    fn is_for_it(&self, desc: &ComponentDesc, entity: EntityId) -> bool {
        let Some(owner) = self.state.entities().owner(entity) else { return false };
        match desc.scope {
            Scope::Room => self.every(entity).is_some(),
            Scope::Owner => owner == self.member,
            Scope::Team => {
                let team = self.state.team(self.member);
                team.is_some() && self.state.team(owner) == team
            }
        }
    }

    /// A member that is sent everything around it is sent the nearest ring at least.
    fn check_sight(&self, seat: &Member) -> Result<(), String> {
        let (Some(sight), Some(places)) = (self.sight, self.state.places()) else {
            return Ok(());
        };
        let (Some(middle), true) = (middle(places, seat, sight), sight.is_whole()) else {
            return Ok(());
        };
        let interest = self.state.schema().interest();
        let near = interest.and_then(|Interest { rings, .. }| rings.first());
        let reach = near.map_or(0, |Ring { distance, .. }| i32::from(*distance));
        for row in middle[1] - reach..=middle[1] + reach {
            for column in middle[0] - reach..=middle[0] + reach {
                let cell = places.grid().cell([column, row]);
                if let Some(cell) = cell.filter(|cell| self.every_of(*cell).is_none()) {
                    let cell = cell.0;
                    return Err(format!("it looks at {middle:?}, and is not sent cell {cell}"));
                }
            }
        }
        Ok(())
    }

    fn check_entity(&self, entity: EntityId, known: &Entities) -> Result<(), String> {
        let held = self.state.entities().owner(entity);
        let ours = held.filter(|_| self.every(entity).is_some());
        let id = entity.0;
        let text = match (ours, known.owner(entity)) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                let (ours, theirs) = (ours.0, theirs.0);
                format!("entity {id} is member {ours}'s in the room, and member {theirs}'s here")
            }
            (Some(_), None) => format!("entity {id}{} is missing", self.place(entity)),
            (None, Some(_)) if held.is_some() => {
                format!("it knows entity {id}{}, which it is not sent", self.place(entity))
            }
            (None, Some(_)) => format!("entity {id} is not in the room any more"),
            (Some(_), Some(_)) | (None, None) => return Ok(()),
        };
        Err(text)
    }

    /// Where an entity is, as part of a sentence.
    fn place(&self, entity: EntityId) -> String {
        let place = self.state.places().map(|places| places.of(entity));
        let cell = place.filter(|place| *place != PlaceId::NOWHERE).and_then(PlaceId::cell);
        cell.map(|cell| format!(" in cell {}", cell.0)).unwrap_or_default()
    }

    /// A value that is not for the member is not in its replica.
    fn check_leak(
        &self,
        component: ComponentId,
        entity: EntityId,
        known: &Entities,
    ) -> Result<(), String> {
        let desc = &self.state.schema().components()[component.index()];
        if !known.has_value(component, entity) || self.is_for_it(desc, entity) {
            return Ok(());
        }
        let whose = match desc.scope {
            Scope::Room => "which it is not sent",
            Scope::Owner => "which is not its own",
            Scope::Team => "which is not its team's",
        };
        let (name, value) = (&desc.name, show(known, component, entity));
        Err(format!("it knows `{name}` of entity {}, {whose}: {value}", entity.0))
    }

    /// A value that is for the member is in its replica. Returns its cell when it has changed since
    /// the member was due it, and is another one.
    fn check_value(
        &self,
        component: ComponentId,
        entity: EntityId,
        known: &Entities,
    ) -> Result<Option<CellId>, String> {
        let held = self.state.entities();
        let desc = &self.state.schema().components()[component.index()];
        if !self.is_for_it(desc, entity) || is_same(held, known, component, entity) {
            return Ok(None);
        }
        let changed_at = self.state.changed_at(component, entity);
        let may_be_old = desc.motion && held.has_value(component, entity);
        let due = self.due(entity).filter(|(_, due)| may_be_old && changed_at > *due);
        if let Some((cell, _)) = due {
            return Ok(Some(cell));
        }
        let (name, id) = (&desc.name, entity.0);
        let (ours, theirs) = (show(held, component, entity), show(known, component, entity));
        Err(format!("`{name}` of entity {id} is {ours} in the room, and {theirs} here"))
    }

    /// The cell of an entity, and when the member was due its motion last.
    fn due(&self, entity: EntityId) -> Option<(CellId, Tick)> {
        let places = self.state.places()?;
        let place = places.of(entity);
        let cell = place.cell().filter(|_| place != PlaceId::NOWHERE)?;
        let [_, row] = places.grid().place_of(cell);
        Some((cell, places.last_due(row as u16, self.every_of(cell)?)))
    }

    /// The sums: what the values are right of must not be of two minds about how many there are.
    fn check_whole(&self, replica: &Replica) -> Result<(), String> {
        let Some(places) = self.state.places() else {
            for view in [View::Room, View::Member(self.member)] {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                self.state.entities().put_snapshot(view, &mut ours);
                replica.entities().put_snapshot(view, &mut theirs);
                if ours != theirs {
                    return Err(format!("no entity and no value differs, but {view:?} does"));
                }
            }
            return Ok(());
        };
        for (stream, count) in replica.streams() {
            let place = stream.cell().map_or(PlaceId::EVERYWHERE, PlaceId::of_cell);
            let held = places.entities(place).len();
            if held != count {
                let stream = stream.0;
                return Err(format!("stream {stream} holds {held} entities, and {count} here"));
            }
        }
        Ok(())
    }
}

/// Whether what a member was sent last is what is around the place it looks at now. Whoever is
/// nowhere and has no camera goes on looking where it looked.
#[must_use]
pub fn is_drawn_where_it_looks(room: &Room, seat: &Member) -> bool {
    let (Some(places), Some(sight)) = (room.state().places(), seat.sight()) else { return true };
    let middle = middle(places, seat, sight);
    middle.is_none() || middle == sight.middle()
}

/// The column and row that a member looks at; `None` for one that is nowhere and has no camera.
fn middle(places: &Places, seat: &Member, sight: &Sight) -> Option<[i32; 2]> {
    if let Some([x, y]) = sight.camera() {
        return Some(places.grid().place(x, y));
    }
    let own = places.of(seat.entity());
    let cell = own.cell().filter(|_| own != PlaceId::NOWHERE)?;
    Some(places.grid().place_of(cell))
}

fn is_same(ours: &Entities, theirs: &Entities, component: ComponentId, entity: EntityId) -> bool {
    ours.has_value(component, entity) == theirs.has_value(component, entity)
        && ours.row(component, entity) == theirs.row(component, entity)
        && ours.opaque(component, entity) == theirs.opaque(component, entity)
        && ours.props(component, entity) == theirs.props(component, entity)
}

/// A value, whole, but cut where a person would not read on.
fn show(entities: &Entities, component: ComponentId, entity: EntityId) -> String {
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
            let crc = hash_of_snapshot(bytes);
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
