//! What members write: checked as a whole against the room and their rights, then applied as a
//! whole.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tickloom_protocol::changes::{Change, Target, read_changes};
use tickloom_protocol::chunks::{ChunkError, Value};
use tickloom_protocol::client_message::Write;
use tickloom_protocol::entities::prop_bytes;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, OpId, Tick};
use tickloom_protocol::limits;
use tickloom_protocol::props::Props;
use tickloom_protocol::schema::WritePolicy;
use tickloom_protocol::server_message::{Accepted, RefusalCode};

use crate::room::state::State;
use crate::room::tree::{PARENT, TreeError, check_place};

/// Bytes up to which members may fill a room, as a snapshot would take them. A room whose state
/// no longer fits a message ends; one that is full says so and goes on.
pub const STATE_BYTES_MAX: usize = limits::SERVER_MESSAGE_BYTES_MAX / 2;

/// What an entity that a write adds takes in a snapshot, at most.
const ENTITY_BYTES: usize = 6;

/// What a value takes in a snapshot beside itself, at most.
const VALUE_OVERHEAD_BYTES: usize = 7;

/// Why something a member asked of the room does not happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub message: String,
    /// When to try again, if that is known better than the code says.
    pub retry: Option<Duration>,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry: None }
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
    /// Seats that nobody has yet: whoever takes one needs an entity, which writers leave to them.
    pub seats_free: usize,
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
        taken_off: BTreeSet::new(),
        keys: BTreeMap::new(),
        places: BTreeMap::new(),
        bytes: state.entities().bytes_max(),
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
    /// Props that the write takes off as a whole.
    taken_off: BTreeSet<(ComponentId, Target)>,
    /// Props whose keys the write changes.
    keys: BTreeMap<(ComponentId, Target), Keys<'a>>,
    /// Places in trees that the write changes.
    places: BTreeMap<(ComponentId, Target), Option<Target>>,
    /// What a snapshot would take behind the changes so far, at most: what they replace is not
    /// taken off.
    bytes: usize,
}

/// The keys of one entity and component behind some changes of a write.
#[derive(Default)]
struct Keys<'a> {
    /// How many there are.
    count: usize,
    /// Those the write set or removed, and which of the two.
    changed: BTreeMap<&'a str, bool>,
}

impl<'a> Check<'a> {
    fn run(mut self, changes: &[Change<'a>]) -> Result<(), Refusal> {
        for change in changes {
            match change {
                Change::Leave(entity) => self.leave(*entity)?,
                Change::Enter { owner } => self.enter(*owner)?,
                Change::Row(component, target, row) => {
                    self.value(*component, *target)?;
                    let is_there = target
                        .resolve(&[])
                        .is_some_and(|entity| self.state.entities().has_value(*component, entity));
                    self.fill(if is_there { 0 } else { row.len() + VALUE_OVERHEAD_BYTES })?;
                }
                Change::Opaque(component, target, value) => {
                    self.value(*component, *target)?;
                    let entity = target.resolve(&[]);
                    let before = entity
                        .and_then(|entity| self.state.entities().opaque(*component, entity))
                        .map_or(0, |before| before.len() + VALUE_OVERHEAD_BYTES);
                    self.fill((value.len() + VALUE_OVERHEAD_BYTES).saturating_sub(before))?;
                }
                Change::Removed(component, target) => self.take_off(*component, *target)?,
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
        self.state.extend_subtree(entity, &mut self.gone);
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
        if self.owners.len() + self.writer.seats_free > self.state.vacancies() {
            return Err(Refusal::new(RefusalCode::RoomFull, "the room has no free entity"));
        }
        self.fill(ENTITY_BYTES)
    }

    /// Makes the room longer by this many bytes.
    fn fill(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes += bytes;
        if bytes > 0 && self.bytes > STATE_BYTES_MAX {
            let message = "the room holds as much as it may: remove something first";
            return Err(Refusal::new(RefusalCode::RoomFull, message));
        }
        Ok(())
    }

    fn value(&self, component: ComponentId, target: Target) -> Result<(), Refusal> {
        let entity = self.target(component, target)?;
        let Some(entity) = entity else { return Ok(()) };
        let changed = self.state.changed_at(component, entity);
        self.check_value_stamp(entity, changed, || self.name(component, entity))
    }

    fn take_off(&mut self, component: ComponentId, target: Target) -> Result<(), Refusal> {
        self.value(component, target)?;
        self.taken_off.insert((component, target));
        self.keys.remove(&(component, target));
        if self.state.tree(component).is_some() {
            self.places.insert((component, target), None);
        }
        Ok(())
    }

    fn prop(
        &mut self,
        component: ComponentId,
        target: Target,
        key: &'a str,
        value: &Value,
    ) -> Result<(), Refusal> {
        let entity = self.target(component, target)?;
        if let Some(entity) = entity {
            let changed = self.state.prop_changed_at(component, entity, key);
            let what = || format!("`{key}` of {}", self.name(component, entity));
            self.check_value_stamp(entity, changed, what)?;
        }
        if let Value::Entity(id) = value {
            self.owner_of(Target::from(*id))?;
        }
        let is_off = self.taken_off.contains(&(component, target));
        let props = entity.filter(|_| !is_off);
        let props = props.and_then(|entity| self.state.entities().props(component, entity));
        let before = props.and_then(|props| props.get(key));
        let keys = self.keys.entry((component, target)).or_insert_with(|| Keys {
            count: props.map_or(0, Props::len),
            changed: BTreeMap::new(),
        });
        let (is_there, stays) = (before.is_some(), *value != Value::Nil);
        let is_there = keys.changed.insert(key, stays).unwrap_or(is_there);
        keys.count = keys.count + usize::from(stays) - usize::from(is_there);
        if !is_there && keys.count > limits::PROP_KEYS_MAX {
            let message = format!("an entity has at most {} keys", limits::PROP_KEYS_MAX);
            return Err(Refusal::new(RefusalCode::Invalid, message));
        }
        let before = before.map_or(0, |before| prop_bytes(key, before));
        self.fill(prop_bytes(key, value).saturating_sub(before))?;
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

    /// A value counts as changed when its entity came, too: an id may have had another entity.
    fn check_value_stamp(
        &self,
        entity: EntityId,
        changed: Tick,
        what: impl FnOnce() -> String,
    ) -> Result<(), Refusal> {
        self.check_stamp(changed.max(self.state.born_at(entity)), what)
    }

    fn check_stamp(&self, changed: Tick, what: impl FnOnce() -> String) -> Result<(), Refusal> {
        let Some(if_tick) = self.if_tick else { return Ok(()) };
        // Nobody has seen the tick under construction, whatever they say.
        let if_tick = if_tick.min(Tick(self.state.building().0 - 1));
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
