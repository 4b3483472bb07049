//! What a member knows and has heard.

use tickloom_protocol::chunks::Value;
use tickloom_protocol::close::CloseReason;
use tickloom_protocol::ids::{ComponentId, EntityId};
use tickloom_protocol::replica::Replica;
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::Accepted;

use crate::test_room::{TestEvent, TestMember, TestRefusal, TestRoom};

impl TestRoom {
    /// What the member knows of the room. Readable after its connection has ended, not after it
    /// has left.
    ///
    /// # Panics
    /// When it has left.
    #[must_use]
    pub fn replica(&self, member: TestMember) -> &Replica {
        let client = self.client(member);
        let seat = client.client.seat();
        &seat.unwrap_or_else(|| panic!("{} has left the room", client.name)).replica
    }

    /// One field of a packed value as the member knows it, such as `("body", "x")`; `None` when
    /// the entity has no such value.
    ///
    /// # Panics
    /// When the room has no such packed component or it no such field.
    #[must_use]
    pub fn number(
        &self,
        member: TestMember,
        entity: EntityId,
        (component, field): (&str, &str),
    ) -> Option<f64> {
        let entities = self.replica(member).entities();
        let id = component_id(entities.schema(), component);
        let layout = entities.schema().layout(id);
        let layout = layout.unwrap_or_else(|| panic!("`{component}` is not packed"));
        let field =
            layout.field(field).unwrap_or_else(|| panic!("`{component}` has no field {field:?}"));
        Some(layout.read(entities.row(id, entity)?, field))
    }

    /// A property as the member knows it, such as `("profile", "name")`.
    ///
    /// # Panics
    /// When the room has no such component.
    #[must_use]
    pub fn prop(
        &self,
        member: TestMember,
        entity: EntityId,
        (component, key): (&str, &str),
    ) -> Option<&Value> {
        let entities = self.replica(member).entities();
        let id = component_id(entities.schema(), component);
        entities.props(id, entity)?.get(key)
    }

    /// Everything the member has heard since it joined.
    #[must_use]
    pub fn heard(&self, member: TestMember) -> &[TestEvent] {
        &self.client(member).heard
    }

    /// Everything the member was refused since it joined.
    #[must_use]
    pub fn refusals(&self, member: TestMember) -> &[TestRefusal] {
        &self.client(member).refusals
    }

    /// Its writes and publications that took effect.
    #[must_use]
    pub fn accepted(&self, member: TestMember) -> &[Accepted] {
        &self.client(member).accepted
    }

    /// Why the server closed the member's connection, if the member has heard of it.
    #[must_use]
    pub fn closed(&self, member: TestMember) -> Option<&CloseReason> {
        self.client(member).closed.as_ref()
    }
}

fn component_id(schema: &RoomSchema, name: &str) -> ComponentId {
    schema.component(name).unwrap_or_else(|| {
        let names: Vec<_> = schema.components().iter().map(|desc| &*desc.name).collect();
        panic!("the room has no component {name:?}, only {names:?}")
    })
}
