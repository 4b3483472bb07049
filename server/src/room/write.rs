//! What members write: checked as a whole against the room and their rights, then applied as a
//! whole.

use std::collections::{BTreeMap, BTreeSet};

use tickloom_protocol::changes::{Change, Target, read_changes};
use tickloom_protocol::chunks::{ChunkError, Value};
use tickloom_protocol::client_message::Write;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, OpId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::schema::WritePolicy;
use tickloom_protocol::server_message::{Accepted, RefusalCode};

use crate::room::state::State;
use crate::room::tree::{PARENT, TreeError, check_place};

/// Why something a member asked of the room does not happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// Why a write does not happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// Its bytes are not changes of this room: a client that sends them has a bug.
    Malformed(ChunkError),
    /// The room says no.
    Refused(Refusal),
}

/// Who writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Writer {
    /// The member.
    pub member: MemberId,
    /// The member's own entity, which nobody removes.
    pub entity: EntityId,
    /// Whether it is the room's host.
    pub is_host: bool,
}

impl Writer {
    /// Whether the policy lets this member write about something that `owner` owns.
    #[must_use]
    pub fn may(self, policy: WritePolicy, owner: MemberId) -> bool {
        match policy {
            WritePolicy::Server => false,
            WritePolicy::Owner => owner == self.member,
            WritePolicy::Members => true,
            WritePolicy::Host => self.is_host,
        }
    }
}

/// Reads a write's changes, and checks that they fit the room and the writer's rights. What comes
/// out can be applied.
///
/// # Errors
/// [`WriteError`].
pub fn check<'a>(
    state: &State,
    writer: Writer,
    write: &Write<'a>,
) -> Result<Vec<Change<'a>>, WriteError> {
    let mut changes = Vec::new();
    read_changes(write.changes, state.schema(), &mut changes).map_err(|error| {
        if error.is_too_long() {
            return WriteError::Refused(Refusal::new(RefusalCode::Invalid, error.to_string()));
        }
        WriteError::Malformed(error)
    })?;
    let check = Check {
        state,
        writer,
        if_tick: (write.if_tick != Tick::ZERO).then_some(write.if_tick),
        gone: BTreeSet::new(),
        owners: Vec::new(),
        new_keys: BTreeMap::new(),
        places: BTreeMap::new(),
    };
    check.run(&changes).map_err(WriteError::Refused)?;
    Ok(changes)
}

/// Applies changes that [`check`] found in order, and says what they added.
pub fn apply(state: &mut State, op: OpId, changes: &[Change<'_>]) -> Accepted {
    let mut entities = Vec::new();
    for change in changes {
        let resolve = |target: &Target| target.resolve(&entities).expect("targets were checked");
        match change {
            Change::Leave(entity) => state.despawn(*entity),
            Change::Enter { owner } => {
                entities.push(state.spawn(*owner).expect("vacancies were counted"));
            }
            Change::Row(component, target, row) => state.set_row(*component, resolve(target), row),
            Change::Removed(component, target) => state.remove_value(*component, resolve(target)),
            Change::Opaque(component, target, value) => {
                state.set_opaque(*component, resolve(target), value);
            }
            Change::Prop(component, target, key, value) => {
                let value = match value {
                    Value::Entity(id) => Value::Entity(resolve(&Target::from(*id))),
                    other => other.clone(),
                };
                let is_set = state.set_prop(*component, resolve(target), key, value);
                debug_assert!(is_set, "keys and places were checked: {key}");
            }
        }
    }
    Accepted { op, tick: state.building(), entities }
}

/// One write on its way through the rules.
struct Check<'a> {
    state: &'a State,
    writer: Writer,
    /// Nothing that is touched may have changed after it.
    if_tick: Option<Tick>,
    /// What the write removes, with what goes along.
    gone: BTreeSet<EntityId>,
    /// The owners of what the write adds.
    owners: Vec<MemberId>,
    /// Keys that the write may add, per component and entity.
    new_keys: BTreeMap<(ComponentId, Target), usize>,
    /// Places in trees that the write changes.
    places: BTreeMap<(ComponentId, Target), Option<Target>>,
}

impl Check<'_> {
    fn run(mut self, changes: &[Change<'_>]) -> Result<(), Refusal> {
        for change in changes {
            match change {
                Change::Leave(entity) => self.leave(*entity)?,
                Change::Enter { owner } => self.enter(*owner)?,
                Change::Row(component, target, _) | Change::Opaque(component, target, _) => {
                    self.value(*component, *target)?;
                }
                Change::Removed(component, target) => self.value(*component, *target)?,
                Change::Prop(component, target, key, value) => {
                    self.prop(*component, *target, key, value)?;
                }
            }
        }
        Ok(())
    }

    fn leave(&mut self, entity: EntityId) -> Result<(), Refusal> {
        let Some(owner) = self.state.entities().owner(entity) else {
            return Err(unknown(entity));
        };
        let allowed = match owner {
            MemberId::SERVER => {
                let policy = self.state.schema().entities_by();
                policy != WritePolicy::Owner && self.writer.may(policy, owner)
            }
            owner => owner == self.writer.member,
        };
        if !allowed || entity == EntityId::ROOM || entity == self.writer.entity {
            let message = format!("entity {} is not yours to remove", entity.0);
            return Err(Refusal::new(RefusalCode::NotAllowed, message));
        }
        self.check_stamp(self.state.born_at(entity), || format!("entity {}", entity.0))?;
        self.gone.extend(self.state.subtree(entity));
        Ok(())
    }

    fn enter(&mut self, owner: MemberId) -> Result<(), Refusal> {
        let policy = self.state.schema().entities_by();
        let allowed = match owner {
            MemberId::SERVER => policy != WritePolicy::Owner && self.writer.may(policy, owner),
            owner => owner == self.writer.member && policy != WritePolicy::Server,
        };
        if !allowed {
            let message = "this room does not let you add such an entity";
            return Err(Refusal::new(RefusalCode::NotAllowed, message));
        }
        self.owners.push(owner);
        // Ids of those that leave in the same write rest first, so they make no place.
        if self.owners.len() > self.state.vacancies() {
            return Err(Refusal::new(RefusalCode::RoomFull, "the room has no free entity"));
        }
        Ok(())
    }

    fn value(&self, component: ComponentId, target: Target) -> Result<(), Refusal> {
        let entity = self.target(component, target)?;
        let Some(entity) = entity else { return Ok(()) };
        self.check_stamp(self.state.changed_at(component, entity), || self.name(component, entity))
    }

    fn prop(
        &mut self,
        component: ComponentId,
        target: Target,
        key: &str,
        value: &Value,
    ) -> Result<(), Refusal> {
        let entity = self.target(component, target)?;
        if let Some(entity) = entity {
            let changed = self.state.prop_changed_at(component, entity, key);
            self.check_stamp(changed, || format!("`{key}` of {}", self.name(component, entity)))?;
        }
        if let Value::Entity(id) = value {
            self.owner_of(Target::from(*id))?;
        }
        let props = entity.and_then(|entity| self.state.entities().props(component, entity));
        if *value != Value::Nil && props.is_none_or(|props| props.get(key).is_none()) {
            let added = self.new_keys.entry((component, target)).or_default();
            *added += 1;
            if props.map_or(0, |props| props.len()) + *added > limits::PROP_KEYS_MAX {
                let message = format!("an entity has at most {} keys", limits::PROP_KEYS_MAX);
                return Err(Refusal::new(RefusalCode::Invalid, message));
            }
        }
        if key == PARENT && self.state.tree(component).is_some() {
            self.place(component, target, value)?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        component: ComponentId,
        child: Target,
        value: &Value,
    ) -> Result<(), Refusal> {
        let invalid = |message: String| Refusal::new(RefusalCode::Invalid, message);
        let parent = match value {
            Value::Nil => None,
            Value::Entity(id) => Some(Target::from(*id)),
            _ => return Err(invalid(format!("`{PARENT}` is an entity or nothing"))),
        };
        if child == EntityId::ROOM.into() && parent.is_some() {
            return Err(invalid("the room itself hangs below nothing".to_owned()));
        }
        if let Some(parent) = parent {
            let parent_of = |target: &Target| match self.places.get(&(component, *target)) {
                Some(place) => *place,
                None => {
                    let parent = self.state.tree(component)?.parent(target.resolve(&[])?)?;
                    (!self.gone.contains(&parent)).then(|| Target::from(parent))
                }
            };
            check_place(child, parent, parent_of)
                .map_err(|error: TreeError| invalid(error.to_string()))?;
        }
        self.places.insert((component, child), parent);
        Ok(())
    }

    /// Whether the writer may write a component of this entity; `None` when the write adds it.
    fn target(&self, component: ComponentId, target: Target) -> Result<Option<EntityId>, Refusal> {
        let owner = self.owner_of(target)?;
        let desc = &self.state.schema().components()[component.index()];
        if !self.writer.may(desc.write, owner) {
            let message = format!("`{}` is not yours to write here", desc.name);
            return Err(Refusal::new(RefusalCode::NotAllowed, message));
        }
        Ok(target.resolve(&[]))
    }

    fn owner_of(&self, target: Target) -> Result<MemberId, Refusal> {
        if let Some(position) = target.position() {
            let message = "the write does not add as many entities as it names";
            let owner = self.owners.get(position).copied();
            return owner.ok_or_else(|| Refusal::new(RefusalCode::Invalid, message));
        }
        let entity = target.resolve(&[]).expect("it is not one the write adds");
        let owner = self.state.entities().owner(entity).filter(|_| !self.gone.contains(&entity));
        owner.ok_or_else(|| unknown(entity))
    }

    fn check_stamp(&self, changed: Tick, what: impl FnOnce() -> String) -> Result<(), Refusal> {
        let Some(if_tick) = self.if_tick else { return Ok(()) };
        if changed <= if_tick && self.state.remembers(if_tick) {
            return Ok(());
        }
        let message = format!("{} changed after tick {if_tick}", what());
        Err(Refusal::new(RefusalCode::Conflict, message))
    }

    fn name(&self, component: ComponentId, entity: EntityId) -> String {
        let name = &self.state.schema().components()[component.index()].name;
        format!("`{name}` of entity {}", entity.0)
    }
}

fn unknown(entity: EntityId) -> Refusal {
    Refusal::new(RefusalCode::Invalid, format!("there is no entity {}", entity.0))
}
