//! Rooms that need no code: a [`Description`] makes the room, members do the rest.
//!
//! Every described room has two components before those of its description: 0 `name`, which the
//! server writes on each member's own entity, so that the entities with a name are the members;
//! and 1 `host`, one field on the room's own entity that says which entity the host's is; and one
//! behind them, `away`, on the entities of members whose connection broke. Who comes or goes is one
//! entity that enters or leaves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::ids::{ComponentId, EntityId, MemberId};
use tickloom_protocol::limits;
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, Interest, RoomSchema, TopicDesc, WritePolicy,
};

use crate::config::units::Rate;
use crate::room::description::{AWAY, Describer, Description, OWN_COMPONENTS};
use crate::room::logic::{
    Cadence, Compression, Context, Denial, Dilation, Joiner, RoomLogic, RoomSpec, RoomType,
};

/// What a member calls itself, on its own entity.
pub const NAME: ComponentId = ComponentId(0);

/// The host's own entity, on the room's; 0 when nobody is the host.
pub const HOST: ComponentId = ComponentId(1);

/// A room type that is data.
pub struct Described {
    name: Box<str>,
    description: Description,
    spec: RoomSpec,
}

impl Described {
    /// The room type of this name and description.
    #[must_use]
    pub fn new(name: &str, description: Description) -> Self {
        let spec = spec_of(&description);
        Self { name: name.into(), description, spec }
    }

    /// Shared state for collaboration, as the first joiner of a room describes it or, without a
    /// word of theirs, with cursors, presence, shared values, and items in a tree of layers.
    #[must_use]
    pub fn state() -> Self {
        let field = |name| FieldDesc::quantised(name, FieldType::Quant16, 0.0, 65_535.0);
        let cursor = ComponentDesc::packed("cursor", vec![field("x"), field("y")]);
        let cursor = cursor.expect("two fields make a row").writable_by(WritePolicy::Owner);
        let item = ComponentDesc::opaque("item", "application/octet-stream", 4 * 1024);
        let members = WritePolicy::Members;
        let description = Description {
            components: vec![
                cursor,
                ComponentDesc::props("presence").writable_by(WritePolicy::Owner),
                ComponentDesc::props("shared").writable_by(members),
                item.writable_by(members),
                ComponentDesc::props("layer").as_tree().writable_by(members),
            ],
            topics: vec![TopicDesc::new("event")],
            entities: members,
            ..open_to_many()
        };
        Self::new("state", description)
    }

    /// Messages without state. `chat` is for those who come late, too; `danmaku` flies by;
    /// `quotes` come from the host; `signal` is for what two members say to each other.
    #[must_use]
    pub fn relay() -> Self {
        let description = Description {
            topics: vec![
                TopicDesc { history: true, ..TopicDesc::new("chat") },
                TopicDesc::new("danmaku"),
                TopicDesc { publish: WritePolicy::Host, ..TopicDesc::new("quotes") },
                TopicDesc::new("signal"),
            ],
            entities: WritePolicy::Server,
            ..open_to_many()
        };
        Self::new("relay", description)
    }
}

/// What the types that a server offers by itself have in common.
fn open_to_many() -> Description {
    Description {
        cadence: Cadence::OnChange { interval: Duration::from_millis(50) },
        described_by: Describer::Joiner,
        members_max: 1_000,
        spectators_max: 1_000,
        ..Description::default()
    }
}

/// What a room of this description is made of.
fn spec_of(description: &Description) -> RoomSpec {
    let [name, host, away] = OWN_COMPONENTS;
    let host = ComponentDesc::packed(host, vec![FieldDesc::new("entity", FieldType::EntityRef)]);
    let mut components = vec![
        ComponentDesc::opaque(name, "text/plain", limits::NAME_BYTES_MAX),
        host.expect("one field makes a row"),
    ];
    components.extend(description.components.iter().cloned());
    let away = ComponentDesc::packed(away, vec![FieldDesc::new("away", FieldType::Bool)]);
    components.push(away.expect("one field makes a row"));
    let schema = RoomSchema::new(components, vec![])
        .and_then(|schema| schema.with_topics(description.topics.clone()))
        .and_then(|schema| match &description.interest {
            Some(interest) => schema.with_interest(behind_own(interest)),
            None => Ok(schema),
        })
        .expect("what makes a description keeps to the limits of a schema")
        .with_entities_by(description.entities);
    RoomSpec {
        members_max: description.members_max,
        spectators_max: description.spectators_max,
        spectator_delay: description.spectator_delay,
        cameras: description.cameras,
        dilation: match description.cadence {
            Cadence::Fixed { .. } => description.dilation,
            // It has no time that could run slower.
            Cadence::OnChange { .. } => Dilation::Never,
        },
        presence_rate: description.presence_rate.map(Rate::with_a_second_at_once),
        entities_max: description.entities_max,
        events_max: description.events_max,
        events_bytes_max: description.events_bytes_max,
        record: description.record,
        compression: description.compression.unwrap_or(Compression::of(description.cadence)),
        is_listed: description.is_listed,
        linger: description.linger,
        grace: description.grace,
        ..RoomSpec::new(description.cadence, Arc::new(schema))
    }
}

/// The same for a room's components, in which two come before those that are described.
fn behind_own(interest: &Interest) -> Interest {
    let component = ComponentId(interest.component.0 + HOST.0 + 1);
    Interest { component, ..interest.clone() }
}

impl RoomType for Described {
    fn name(&self) -> &str {
        &self.name
    }

    fn spec(&self) -> RoomSpec {
        self.spec.clone()
    }

    fn spec_for(&self, options: &[u8]) -> Result<RoomSpec, Denial> {
        if options.is_empty() {
            return Ok(self.spec());
        }
        let described = self.description.by_joiner(options);
        let described = described.map_err(|error| Denial { message: error.to_string() })?;
        Ok(spec_of(&described))
    }

    fn is_described_by_joiners(&self) -> bool {
        self.description.described_by == Describer::Joiner
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(DescribedLogic::new(self.description.names_max))
    }
}

/// What the server itself does in a described room.
struct DescribedLogic {
    names_max: usize,
    /// How many members are shown by name; at most `names_max`.
    named_count: usize,
    /// What the others are called.
    unnamed: BTreeMap<MemberId, Box<str>>,
}

impl DescribedLogic {
    fn new(names_max: usize) -> Self {
        Self { names_max, named_count: 0, unnamed: BTreeMap::new() }
    }
}

impl RoomLogic for DescribedLogic {
    fn save(&self, output: &mut Vec<u8>) {
        output.extend(format!("{} {:?}", self.named_count, self.unnamed).bytes());
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        if self.named_count < self.names_max {
            self.named_count += 1;
            room.state_mut().set_opaque(NAME, joiner.entity, joiner.name.as_bytes());
        } else if self.names_max > 0 {
            self.unnamed.insert(joiner.member, joiner.name.into());
        }
        Ok(())
    }

    /// The name that goes makes room for another.
    fn on_leave(&mut self, room: &mut Context<'_>, member: MemberId) {
        if self.unnamed.remove(&member).is_some() {
            return;
        }
        let Some((next, name)) = self.unnamed.pop_first() else {
            self.named_count = self.named_count.saturating_sub(1);
            return;
        };
        if let Some(entity) = room.entity_of(next) {
            room.state_mut().set_opaque(NAME, entity, name.as_bytes());
        }
    }

    fn on_drop(&mut self, room: &mut Context<'_>, member: MemberId) {
        if let Some((away, entity)) = away(room).zip(room.entity_of(member)) {
            room.state_mut().set_row(away, entity, &[1]);
        }
    }

    fn on_return(&mut self, room: &mut Context<'_>, member: MemberId) {
        if let Some((away, entity)) = away(room).zip(room.entity_of(member)) {
            room.state_mut().remove_value(away, entity);
        }
    }

    fn on_host(&mut self, room: &mut Context<'_>, host: Option<MemberId>) {
        let entity = host.and_then(|host| room.entity_of(host)).unwrap_or(EntityId::ROOM);
        room.state_mut().set_row(HOST, EntityId::ROOM, &entity.0.to_le_bytes());
    }
}

/// Whose connection broke: the last component, wherever the described ones put it.
fn away(room: &Context<'_>) -> Option<ComponentId> {
    room.state().schema().component(AWAY)
}
