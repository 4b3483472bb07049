//! Where things were: the last half second of some packed components, so that a room can decide a
//! shot by what its shooter saw.
//!
//! ```text
//! tick:     ... 97  98  99  100        a column is copied at ticks that change it
//! pictures:     [97     ][99][100]     the one of 97 is that of 98, too
//!                      ^ 98.25: rows of 98 and 99, between them as each field says
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use fixedbitset::FixedBitSet;
use tickloom_protocol::entities::PackedColumn;
use tickloom_protocol::ids::{ComponentId, EntityId, Moment, Tick};
use tickloom_protocol::schema::{FieldDesc, FieldId, Interpolation};

use crate::room::state::State;

/// What a room remembers of where things were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RewindSpec {
    /// Packed components.
    pub components: Vec<ComponentId>,
    /// How far back, at most [`RewindSpec::MAX`]. Whoever sees an older past than this hits by the
    /// oldest that is remembered.
    pub max: Duration,
}

impl RewindSpec {
    /// The longest past there is: those who hide behind a wall do not understand more.
    pub const MAX: Duration = Duration::from_millis(500);
}

/// The past of one room.
#[derive(Debug)]
pub struct Rewind {
    columns: Vec<Column>,
    /// Ticks it reaches back.
    ticks_max: u32,
    /// The last tick that was noted, and the first.
    newest: Tick,
    first: Tick,
}

/// The past of one component.
#[derive(Debug)]
struct Column {
    component: ComponentId,
    /// Ascending. Only the first may be older than is needed.
    pictures: VecDeque<Picture>,
    /// Pictures that are not needed any more, for their memory. With `pictures` they are never more
    /// than the past is long: after a still tick several are forgotten at once.
    spares: Vec<Picture>,
}

/// What a column was like from one tick on.
#[derive(Debug, Default)]
struct Picture {
    since: Tick,
    present: FixedBitSet,
    rows: Vec<u8>,
}

impl Rewind {
    /// A past without anything in it, of a room with steps of this length.
    ///
    /// # Panics
    /// When the room has no rate, or the past is longer than [`RewindSpec::MAX`]: both are bugs of
    /// a room's description.
    #[must_use]
    pub fn new(spec: &RewindSpec, tick_us: u32) -> Self {
        assert!(tick_us > 0, "a room without a rate has no moments");
        assert!(spec.max <= RewindSpec::MAX, "{:?} is too far back", spec.max);
        let column = |component: &ComponentId| Column {
            component: *component,
            pictures: VecDeque::new(),
            spares: Vec::new(),
        };
        Self {
            columns: spec.components.iter().map(column).collect(),
            ticks_max: spec.max.as_micros().div_ceil(u128::from(tick_us)) as u32,
            newest: Tick::ZERO,
            first: Tick::ZERO,
        }
    }

    /// Notes the tick under construction, which is complete. Costs a copy of each column that it
    /// changed.
    ///
    /// # Panics
    /// When a component is not packed.
    pub fn note(&mut self, state: &State) {
        self.newest = state.building();
        if self.first == Tick::ZERO {
            self.first = self.newest;
        }
        let oldest = self.oldest();
        for column in &mut self.columns {
            let is_new = state.last_change(column.component) >= self.newest;
            if is_new || column.pictures.is_empty() {
                column.note(state, self.newest);
            }
            column.forget(oldest);
        }
    }

    /// The nearest moment that is remembered; for [`Moment::ZERO`] the newest.
    #[must_use]
    pub fn clamp(&self, moment: Moment) -> Moment {
        if moment == Moment::ZERO {
            return Moment::of(self.newest);
        }
        moment.clamp(Moment::of(self.oldest()), Moment::of(self.newest))
    }

    fn oldest(&self) -> Tick {
        Tick(self.newest.0.saturating_sub(self.ticks_max)).max(self.first)
    }

    fn column(&self, component: ComponentId) -> Option<&Column> {
        self.columns.iter().find(|column| column.component == component)
    }
}

impl Column {
    fn note(&mut self, state: &State, tick: Tick) {
        let column = state.entities().packed(self.component);
        let PackedColumn { present, rows } = column.expect("what is rewound is packed");
        let mut picture = self.spares.pop().unwrap_or_default();
        picture.since = tick;
        picture.rows.clear();
        picture.rows.extend_from_slice(rows);
        picture.present.clone_from(present);
        self.pictures.push_back(picture);
    }

    /// Keeps what is needed from this tick on.
    fn forget(&mut self, oldest: Tick) {
        while self.pictures.get(1).is_some_and(|next| next.since <= oldest) {
            self.spares.extend(self.pictures.pop_front());
        }
    }

    /// What an entity had at a tick.
    fn row(&self, tick: Tick, entity: EntityId, row_bytes: usize) -> Option<&[u8]> {
        let behind = self.pictures.partition_point(|picture| picture.since <= tick);
        let picture = self.pictures.get(behind.checked_sub(1)?)?;
        let start = entity.index() * row_bytes;
        let is_there = picture.present.contains(entity.index());
        is_there.then(|| &picture.rows[start..start + row_bytes])
    }
}

/// A room as it was at one moment.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    state: &'a State,
    /// Absent: as it is.
    past: Option<(&'a Rewind, Moment)>,
}

impl<'a> View<'a> {
    /// The room as it was at the nearest moment that is remembered; as it is when nothing is.
    pub(crate) fn new(state: &'a State, rewind: Option<&'a Rewind>, moment: Moment) -> Self {
        let past = rewind.filter(|rewind| rewind.newest != Tick::ZERO);
        Self { state, past: past.map(|rewind| (rewind, rewind.clamp(moment))) }
    }

    /// The moment it is of.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.past.map_or(Moment::of(self.state.building()), |(_, moment)| moment)
    }

    /// The fields of a packed value, in the order of the schema. None when the entity is gone by
    /// now, had not come yet, or had no value. A component that is not remembered is as it is.
    ///
    /// # Panics
    /// When the component is not packed or does not have exactly this many fields.
    #[must_use]
    pub fn numbers<const FIELDS: usize>(
        &self,
        component: ComponentId,
        entity: EntityId,
    ) -> Option<[f64; FIELDS]> {
        let column =
            self.past.and_then(|(rewind, moment)| Some((rewind.column(component)?, moment)));
        let Some((column, moment)) = column else {
            return self.state.numbers(component, entity);
        };
        let tick = moment.tick();
        // Its id may have been another's.
        if !self.state.entities().contains(entity) || self.state.born_at(entity) > tick {
            return None;
        }
        let layout = self.state.schema().layout(component).expect("what is rewound is packed");
        let count = layout.fields().len();
        assert_eq!(count, FIELDS, "component {} has {count} fields", component.0);
        let before = column.row(tick, entity, layout.row_bytes())?;
        let after = column.row(tick.next(), entity, layout.row_bytes()).unwrap_or(before);
        let mut numbers = [0.0; FIELDS];
        for ((index, field), number) in layout.fields().enumerate().zip(&mut numbers) {
            let read = |row| layout.read(row, FieldId(index as u8));
            *number = between(field, read(before), read(after), moment.share());
        }
        Some(numbers)
    }
}

/// What a field was between two ticks.
fn between(field: &FieldDesc, before: f64, after: f64, share: f64) -> f64 {
    match field.interpolation {
        Interpolation::Step => before,
        Interpolation::Linear => before + (after - before) * share,
        Interpolation::Angle => {
            let turn = field.max - field.min;
            let way = (after - before + turn / 2.0).rem_euclid(turn) - turn / 2.0;
            field.min + (before + way * share - field.min).rem_euclid(turn)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tickloom_protocol::ids::MemberId;
    use tickloom_protocol::schema::{ComponentDesc, FieldType, RoomSchema};

    use super::*;

    const BODY: ComponentId = ComponentId(0);
    const TICK_US: u32 = 50_000;

    fn state() -> State {
        let fields = vec![
            FieldDesc::quantised("x", FieldType::Quant16, -1000.0, 1000.0),
            FieldDesc::angle("yaw", FieldType::Quant16),
            FieldDesc::new("hp", FieldType::U8),
        ];
        let body = ComponentDesc::packed("body", fields).expect("a row");
        State::new(Arc::new(RoomSchema::new(vec![body], vec![]).expect("schema")), 20_000)
    }

    fn rewind() -> Rewind {
        let max = Duration::from_millis(200);
        Rewind::new(&RewindSpec { components: vec![BODY], max }, TICK_US)
    }

    fn at(state: &State, rewind: &Rewind, moment: u64, entity: EntityId) -> Option<[f64; 3]> {
        View::new(state, Some(rewind), Moment(moment)).numbers(BODY, entity)
    }

    fn near(numbers: Option<[f64; 3]>, expected: [f64; 3]) -> bool {
        numbers.is_some_and(|numbers| {
            numbers.iter().zip(expected).all(|(number, expected)| (number - expected).abs() < 0.05)
        })
    }

    #[test]
    fn each_field_is_between_two_ticks_as_it_says_and_the_past_ends_where_it_is_forgotten() {
        let (mut state, mut rewind) = (state(), rewind());
        let entity = state.spawn(MemberId::SERVER).expect("a place");
        for tick in 1..=10 {
            let x = f64::from(tick) * 10.0;
            // Through the whole turn and over its end.
            let yaw = (6.0 + f64::from(tick) * 0.1).rem_euclid(std::f64::consts::TAU);
            state.set_numbers(BODY, entity, &[x, yaw, x]);
            rewind.note(&state);
            state.advance();
        }
        // At 200 ms, 4 ticks are remembered.
        for (moment, x, yaw, hp) in [
            (0, 100.0, 7.0, 100.0),
            (10 * 256, 100.0, 7.0, 100.0),
            (u64::MAX, 100.0, 7.0, 100.0),
            (8 * 256, 80.0, 6.8, 80.0),
            (8 * 256 + 64, 82.5, 6.825, 80.0),
            (6 * 256, 60.0, 6.6, 60.0),
            (5 * 256, 60.0, 6.6, 60.0),
            (1, 60.0, 6.6, 60.0),
        ] {
            let seen = at(&state, &rewind, moment, entity);
            let yaw = f64::rem_euclid(yaw, std::f64::consts::TAU);
            assert!(near(seen, [x, yaw, hp]), "{moment}: {seen:?}");
        }
        // From 6.2 to 0.02 the short way: over the end and not back through the middle.
        let (mut state, mut rewind) = (self::state(), self::rewind());
        let entity = state.spawn(MemberId::SERVER).expect("a place");
        for yaw in [6.2, 0.02] {
            state.set_numbers(BODY, entity, &[0.0, yaw, 0.0]);
            rewind.note(&state);
            state.advance();
        }
        let seen = at(&state, &rewind, 256 + 128, entity);
        assert!(near(seen, [0.0, 6.2515, 0.0]), "{seen:?}");
    }

    #[test]
    fn a_column_that_rests_is_not_copied_and_those_who_come_and_go_are_not_confused() {
        let (mut state, mut rewind) = (state(), rewind());
        let entity = state.spawn(MemberId::SERVER).expect("a place");
        state.set_numbers(BODY, entity, &[5.0, 0.0, 1.0]);
        for _ in 1..=20 {
            rewind.note(&state);
            state.advance();
        }
        assert_eq!(rewind.columns[0].pictures.len(), 1, "nothing moved");
        assert!(near(at(&state, &rewind, 18 * 256, entity), [5.0, 0.0, 1.0]));
        state.despawn(entity);
        assert_eq!(at(&state, &rewind, 18 * 256, entity), None, "it is gone");
        let heir = loop {
            rewind.note(&state);
            state.advance();
            let next = state.spawn(MemberId::SERVER).expect("a place");
            state.set_numbers(BODY, next, &[7.0, 0.0, 1.0]);
            if next == entity {
                break next;
            }
        };
        let came = u64::from(state.building().0);
        rewind.note(&state);
        assert_eq!(at(&state, &rewind, (came - 1) * 256, heir), None, "it was not there yet");
        assert!(near(at(&state, &rewind, came * 256, heir), [7.0, 0.0, 1.0]));
    }

    #[test]
    fn memory_is_used_again() {
        let (mut state, mut rewind) = (state(), rewind());
        let entity = state.spawn(MemberId::SERVER).expect("a place");
        for tick in 0..100 {
            // After a tick that moves nothing two pictures are forgotten at once.
            if tick % 7 != 0 {
                state.set_numbers(BODY, entity, &[f64::from(tick), 0.0, 1.0]);
            }
            rewind.note(&state);
            state.advance();
            let column = &rewind.columns[0];
            assert!(column.pictures.len() <= 5, "200 ms and the newest");
            assert!(column.pictures.len() + column.spares.len() <= 6, "tick {tick}");
            assert!(tick < 10 || column.pictures.len() + column.spares.len() >= 5, "tick {tick}");
        }
        assert!(!rewind.columns[0].spares.is_empty());
    }
}
