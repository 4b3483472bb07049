//! A room's state as text, for people who look for a fault in it.

use std::fmt::{self, Display, Formatter};

use tickloom_protocol::ids::{ComponentId, EntityId, MemberId};
use tickloom_protocol::schema::{FieldId, Kind};

use crate::room::Room;

/// Bytes of an opaque value that are shown.
const SHOWN_BYTES_MAX: usize = 64;

/// Everything a room holds, one line for each entity and one for each of its values.
#[derive(Clone, Copy, Debug)]
pub struct Dump<'a>(pub &'a Room);

impl Display for Dump<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let room = self.0;
        let (state, entities) = (room.state(), room.state().entities());
        let members = room.members().len();
        let host = room.host().map_or("nobody".to_owned(), |host| format!("member {}", host.0));
        let (key, building) = (room.key(), state.building());
        writeln!(f, "{key}, before tick {building}: {members} members, host {host}")?;
        for entity in entities.ids() {
            match entities.owner(entity) {
                _ if entity == EntityId::ROOM => writeln!(f, "entity 0, the room")?,
                Some(MemberId::SERVER) | None => writeln!(f, "entity {}", entity.0)?,
                Some(owner) => writeln!(f, "entity {} of member {}", entity.0, owner.0)?,
            }
            for index in 0..state.schema().components().len() {
                self.put_value(f, ComponentId(index as u8), entity)?;
            }
        }
        Ok(())
    }
}

impl Dump<'_> {
    fn put_value(
        &self,
        f: &mut Formatter<'_>,
        component: ComponentId,
        entity: EntityId,
    ) -> fmt::Result {
        let (state, entities) = (self.0.state(), self.0.state().entities());
        let desc = &state.schema().components()[component.index()];
        if !entities.has_value(component, entity) {
            return Ok(());
        }
        write!(f, "  {}:", desc.name)?;
        match &desc.kind {
            Kind::Packed(layout) => {
                let row = entities.row(component, entity).unwrap_or_default();
                for (index, field) in layout.fields().enumerate() {
                    write!(f, " {}={}", field.name, layout.read(row, FieldId(index as u8)))?;
                }
            }
            Kind::Opaque { .. } => {
                let value = entities.opaque(component, entity).unwrap_or_default();
                let shown = &value[..value.len().min(SHOWN_BYTES_MAX)];
                write!(f, " {} bytes {:?}", value.len(), String::from_utf8_lossy(shown))?;
            }
            Kind::Props => {
                let props = entities.props(component, entity);
                for (key, value) in props.into_iter().flat_map(|props| props.iter()) {
                    write!(f, " {key}={value:?}")?;
                }
            }
        }
        writeln!(f)
    }
}
