//! Somebody on a board: moves a cursor all the time, and now and then edits what is shared.
//!
//! ```text
//! every act      the cursor, without asking for an answer
//! every 20th     its presence, or an edit: the own key of `shared`, the count that all raise
//!                together by compare-and-set, an item added, moved or removed
//! every delta    what was accepted is looked for; a neighbour's presence says how late it is
//! ```

use std::collections::VecDeque;
use std::f64::consts::TAU;

use fastrand::Rng;
use tickloom_protocol::changes::{ChangesBuilder, Target};
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::{Client as ProtocolClient, Seat};
use tickloom_protocol::client_message::{ClientMessage, Write};
use tickloom_protocol::entities::Entities;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, OpId, Tick};
use tickloom_protocol::schema::{FieldId, RoomSchema};
use tickloom_protocol::server_message::{Accepted, DeltaHead, RefusalCode};
use tickloom_protocol::time::Timestamp;

use super::writes::{Found, Spot, Writes, Written};
use super::{Absence, Identity, MissingName, Workload};
use crate::client::{Increments, Ledger, Turn};
use crate::scenario::bots::Place;

/// Acts from one edit to the next.
const EDIT_EVERY: u32 = 20;

/// Items of one client.
const ITEMS_MAX: usize = 8;

/// Keys that the clients of a room share among them: an entity takes 256 at most.
const KEYS_MAX: u32 = 128;

/// Edits that may wait for their answer.
const PENDING_MAX: usize = 1024;

/// The key that everybody raises.
const COUNT: &str = "count";

/// The key of presence that says when it was meant to be written.
const AT: &str = "at";

/// The key that puts one item below another.
const PARENT: &str = "parent";

/// Somebody on a board.
pub(super) struct State {
    /// Present from `Joined` on.
    names: Option<Names>,
    member: MemberId,
    entity: EntityId,
    is_slow: bool,
    sender: u32,
    /// The client's own key of what is shared.
    key: String,
    rng: Rng,
    row: Vec<u8>,
    bytes: Vec<u8>,
    /// Acts so far; begins anywhere, or all would edit at once.
    acts_count: u32,
    next_number: u32,
    /// Edits without an answer, in the order they were sent.
    pending: VecDeque<Pending>,
    /// Edits that were accepted, with the tick that shows them.
    awaited: VecDeque<(Tick, Timestamp)>,
    writes: Writes,
    /// Items of its own, in the order they were added; those below another come after it.
    items: Vec<EntityId>,
    /// The neighbour whose presence is watched, and when that was last written.
    watched: Option<(EntityId, i64)>,
    increments: Increments,
}

/// Where in the room's description things are.
#[derive(Clone, Copy, Debug)]
struct Names {
    cursor: ComponentId,
    x: FieldId,
    y: FieldId,
    presence: ComponentId,
    shared: ComponentId,
    item: ComponentId,
    layer: ComponentId,
}

/// An edit that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Pending {
    op: OpId,
    intended: Timestamp,
    edit: Edit,
}

#[derive(Clone, Copy, Debug)]
enum Edit {
    Presence,
    Write(Spot, Written),
    Add(u32),
    Count,
}

impl Names {
    fn new(schema: &RoomSchema) -> Result<Self, MissingName> {
        let component = |name| {
            let missing = MissingName { what: "component", name };
            schema.component(name).ok_or(missing)
        };
        let cursor = component("cursor")?;
        let field = |name| {
            let layout = schema.layout(cursor);
            layout.and_then(|layout| layout.field(name)).ok_or(MissingName { what: "field", name })
        };
        Ok(Self {
            cursor,
            x: field("x")?,
            y: field("y")?,
            presence: component("presence")?,
            shared: component("shared")?,
            item: component("item")?,
            layer: component("layer")?,
        })
    }
}

impl State {
    pub(super) fn new(place: &Place<'_>, identity: Identity) -> Self {
        Self {
            names: None,
            member: MemberId::SERVER,
            entity: EntityId::ROOM,
            is_slow: place.read_rate.is_some(),
            sender: identity.sender,
            key: format!("bot-{}", place.position % KEYS_MAX),
            rng: Rng::with_seed(identity.seed),
            row: Vec::new(),
            bytes: Vec::new(),
            acts_count: identity.index % EDIT_EVERY,
            next_number: 1,
            pending: VecDeque::new(),
            awaited: VecDeque::new(),
            writes: Writes::default(),
            items: Vec::new(),
            watched: None,
            increments: Increments::default(),
        }
    }

    fn move_cursor(&mut self, names: Names, protocol: &mut ProtocolClient, turn: &mut Turn<'_>) {
        let Some(seat) = protocol.seat() else { return };
        let Some(layout) = seat.replica.entities().schema().layout(names.cursor) else { return };
        // A slow round over the middle of the board, a little uneven.
        let angle = f64::from(self.acts_count) / 50.0 * TAU + f64::from(self.sender);
        let reach = 500.0 + self.rng.f64() * 50.0;
        self.row.clear();
        self.row.resize(layout.row_bytes(), 0);
        layout.write(&mut self.row, names.x, 1_000.0 + reach * angle.cos());
        layout.write(&mut self.row, names.y, 1_000.0 + reach * angle.sin());
        let mut changes = ChangesBuilder::default();
        changes.row(names.cursor, self.entity, &self.row);
        self.bytes.clear();
        changes.put(&mut self.bytes);
        let write = Write { op: OpId::NONE, if_tick: Tick::ZERO, changes: &self.bytes };
        protocol.send(ClientMessage::Write(write));
        turn.tally.counters.moves_sent += 1;
    }

    fn edit(
        &mut self,
        names: Names,
        intended: Timestamp,
        protocol: &mut ProtocolClient,
        turn: &mut Turn<'_>,
    ) {
        if self.pending.len() >= PENDING_MAX {
            turn.tally.counters.inputs_blocked += 1;
            return;
        }
        let Some(tick) = protocol.seat().map(|seat| seat.replica.tick()) else { return };
        let number = self.next_number;
        self.next_number += 1;
        let mut changes = ChangesBuilder::default();
        let mut if_tick = Tick::ZERO;
        let is_adding = self.pending.iter().any(|pending| matches!(pending.edit, Edit::Add(_)));
        let edit = match self.rng.u32(..6) {
            0 | 1 => {
                let at = Value::Int(intended.0.cast_signed());
                changes.prop(names.presence, self.entity, AT, &at);
                Edit::Presence
            }
            2 if tick != Tick::ZERO => {
                let seat = protocol.seat().expect("it has a tick");
                let count = count_of(seat.replica.entities(), names);
                changes.prop(names.shared, EntityId::ROOM, COUNT, &Value::Int(count + 1));
                if_tick = tick;
                Edit::Count
            }
            3 if self.items.len() < ITEMS_MAX && !is_adding => {
                let item = changes.enter(self.member);
                changes.opaque(names.item, item, &value_of(self.sender, number));
                if let Some(first) = self.items.first() {
                    changes.link(names.layer, item, PARENT, Target::from(*first));
                }
                Edit::Add(number)
            }
            // What is below another goes first, so nothing goes along.
            4 if !is_adding && let Some(item) = self.items.pop() => {
                changes.leave(item);
                Edit::Write(Spot::Item(item), Written::Removal(number))
            }
            5 if !self.items.is_empty() => {
                let item = self.items[self.rng.usize(..self.items.len())];
                changes.opaque(names.item, item, &value_of(self.sender, number));
                Edit::Write(Spot::Item(item), Written::Value(number))
            }
            // Whatever cannot be done now leaves a note instead.
            _ => {
                let value = Value::Bytes(value_of(self.sender, number).into());
                changes.prop(names.shared, EntityId::ROOM, &self.key, &value);
                Edit::Write(Spot::Shared, Written::Value(number))
            }
        };
        if let Edit::Write(spot, written) = edit {
            self.writes.handle_sent(spot, written);
        }
        let op = protocol.write_if(&changes, if_tick);
        self.pending.push_back(Pending { op, intended, edit });
        turn.tally.counters.ops_sent += u64::from(turn.window.contains(intended));
    }

    fn answered(&mut self, op: OpId) -> Option<Pending> {
        let at = self.pending.iter().position(|pending| pending.op == op)?;
        self.pending.remove(at)
    }

    /// What the replica has at a spot.
    fn find(entities: &Entities, names: Names, key: &str, sender: u32, spot: Spot) -> Found {
        let value = match spot {
            Spot::Item(entity) => entities.opaque(names.item, entity),
            Spot::Shared => {
                match entities.props(names.shared, EntityId::ROOM).and_then(|p| p.get(key)) {
                    Some(Value::Bytes(bytes)) => Some(&**bytes),
                    _ => None,
                }
            }
        };
        let is_there = matches!(spot, Spot::Item(entity) if entities.contains(entity));
        match value.map(|bytes| (bytes.get(..4), bytes.get(4..8))) {
            Some((Some(from), Some(number))) if from == sender.to_le_bytes() => {
                Found::Own(number.try_into().map_or(0, u32::from_le_bytes))
            }
            Some(_) => Found::Foreign,
            None if is_there => Found::Foreign,
            None => Found::Nothing,
        }
    }

    /// Sees how late a neighbour's presence is; only one, or looking would cost more than playing.
    fn watch(&mut self, names: Names, entities: &Entities, turn: &mut Turn<'_>) {
        let at_of = |entity| match entities.props(names.presence, entity)?.get(AT)? {
            Value::Int(at) => Some(*at),
            _ => None,
        };
        let Some((entity, before)) = self.watched else {
            let own = self.entity;
            let behind =
                entities.ids().filter(|id| *id > own).find_map(|id| Some((id, at_of(id)?)));
            let first =
                || entities.ids().filter(|id| *id < own).find_map(|id| Some((id, at_of(id)?)));
            self.watched = behind.or_else(first);
            return;
        };
        let Some(at) = at_of(entity) else {
            self.watched = None;
            return;
        };
        if at == before {
            return;
        }
        self.watched = Some((entity, at));
        let intended = Timestamp(at.cast_unsigned());
        if turn.window.contains(intended) {
            turn.tally.counters.events_received += 1;
            let times =
                if self.is_slow { &mut turn.tally.slow_delivery } else { &mut turn.tally.delivery };
            times.record_between(intended, turn.now);
        }
    }
}

impl Workload for State {
    fn handle_joined(&mut self, seat: &Seat) -> Result<(), MissingName> {
        self.names = Some(Names::new(seat.replica.entities().schema())?);
        (self.member, self.entity) = (seat.member, seat.entity);
        Ok(())
    }

    fn act(&mut self, intended: Timestamp, protocol: &mut ProtocolClient, turn: &mut Turn<'_>) {
        let Some(names) = self.names else { return };
        self.acts_count = self.acts_count.wrapping_add(1);
        if self.acts_count.is_multiple_of(EDIT_EVERY) {
            self.edit(names, intended, protocol, turn);
        } else {
            self.move_cursor(names, protocol, turn);
        }
    }

    fn handle_applied(&mut self, _head: DeltaHead, seat: &Seat, turn: &mut Turn<'_>) {
        let (Some(names), tick) = (self.names, seat.replica.tick()) else { return };
        if tick == Tick::ZERO {
            return;
        }
        let entities = seat.replica.entities();
        self.increments.first.get_or_insert((tick.0, count_of(entities, names)));
        while let Some((_, intended)) = self.awaited.pop_front_if(|(at, _)| *at <= tick) {
            if turn.window.contains(intended) && !self.is_slow {
                turn.tally.input_ack.record_between(intended, turn.now);
            }
        }
        let (key, sender) = (&self.key, self.sender);
        let seen =
            self.writes.handle_tick(tick, |spot| Self::find(entities, names, key, sender, spot));
        let counters = &mut turn.tally.counters;
        counters.writes_checked += seen.there + seen.missing;
        counters.writes_missing += seen.missing;
        if seen.missing > 0 {
            let sample = format!("client {} at tick {}", self.sender, tick.0);
            turn.tally.errors.count("an accepted write is not there", &sample);
        }
        self.watch(names, entities, turn);
    }

    fn handle_accepted(&mut self, accepted: &Accepted, seat: &Seat, turn: &mut Turn<'_>) {
        let Some(Pending { intended, edit, .. }) = self.answered(accepted.op) else { return };
        turn.tally.counters.ops_accepted += u64::from(turn.window.contains(intended));
        self.awaited.push_back((accepted.tick, intended));
        match edit {
            Edit::Presence => {}
            Edit::Count => self.increments.accepted += 1,
            Edit::Write(spot, written) => self.writes.handle_accepted(accepted.tick, spot, written),
            Edit::Add(number) => match accepted.entities.first() {
                Some(item) => {
                    self.items.push(*item);
                    let (spot, written) = (Spot::Item(*item), Written::Value(number));
                    self.writes.handle_accepted(accepted.tick, spot, written);
                }
                None => {
                    turn.tally.counters.writes_missing += 1;
                    let sample = format!("op {}", accepted.op.0);
                    turn.tally.errors.count("an accepted write added nothing", &sample);
                }
            },
        }
        // An answer may be behind the delta that shows what it is about.
        if seat.replica.tick() >= accepted.tick {
            self.handle_applied(DeltaHead::default(), seat, turn);
        }
    }

    fn handle_refused(&mut self, op: OpId, code: RefusalCode, turn: &mut Turn<'_>) -> bool {
        let Some(Pending { intended, edit, .. }) = self.answered(op) else { return false };
        let is_conflict = code == RefusalCode::Conflict && matches!(edit, Edit::Count);
        let counted = u64::from(turn.window.contains(intended));
        if is_conflict {
            turn.tally.counters.ops_conflicts += counted;
        } else {
            turn.tally.counters.ops_refused += counted;
        }
        is_conflict
    }

    fn handle_absence(&mut self, absence: Absence, turn: &mut Turn<'_>) {
        // When a state shows what was accepted says nothing about the server any more.
        self.awaited.clear();
        if absence == Absence::Cut {
            turn.tally.counters.drops_unanswered += self.pending.len() as u64;
            let counts = self.pending.iter().filter(|pending| matches!(pending.edit, Edit::Count));
            self.increments.unanswered += counts.count() as u64;
            self.pending.clear();
        }
    }

    fn finish(&mut self, seat: Option<&Seat>, turn: &mut Turn<'_>, ledger: &mut Ledger) {
        for Pending { intended, edit, .. } in self.pending.drain(..) {
            self.increments.unanswered += u64::from(matches!(edit, Edit::Count));
            if ledger.stayed && turn.window.contains(intended) {
                turn.tally.counters.ops_unanswered += 1;
            }
        }
        if ledger.stayed && self.writes.waiting_count() > 0 {
            turn.tally.counters.writes_unseen += self.writes.waiting_count() as u64;
        }
        if let (Some(names), Some(seat)) = (self.names, seat) {
            self.increments.last = count_of(seat.replica.entities(), names);
        }
        ledger.increments = Some(self.increments);
    }
}

/// What a value consists of: whose it is, and which of theirs.
fn value_of(sender: u32, number: u32) -> [u8; 8] {
    let mut value = [0; 8];
    value[..4].copy_from_slice(&sender.to_le_bytes());
    value[4..].copy_from_slice(&number.to_le_bytes());
    value
}

/// What everybody raised together so far.
fn count_of(entities: &Entities, names: Names) -> i64 {
    let count = entities.props(names.shared, EntityId::ROOM).and_then(|props| props.get(COUNT));
    match count {
        Some(Value::Int(count)) => *count,
        _ => 0,
    }
}
