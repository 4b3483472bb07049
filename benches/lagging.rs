//! What members cost a tick that cannot take it: their queues are full, and they are passed over.
//!
//! ```text
//! cargo bench -p tickloom-benches --bench lagging
//! ```
//!
//! Two rooms of the same 2,000 entities, all walking, are broadcast in turn, tick by tick, in one
//! process: one to 1,000 members who keep up, the other to the same and 1,000 who lag behind. Once
//! as rooms that are sent whole, once as rooms with interest. Columns:
//!
//! - `without`, `with`: processor time of a broadcast, medians over the ticks;
//! - `adds`: the median of what the second takes longer than the first in the same tick, and its
//!   quartiles;
//! - `each`: that, for one of those who lag;
//! - `of a tick`: the same for all of them, of the 50 ms that a tick at 20 Hz lasts.
//!
//! What they hold in memory `server/tests/rooms/budget.rs` asserts. No sockets.

#[path = "machine.rs"]
#[expect(dead_code, reason = "pinning is for those with sockets")]
mod machine;

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tickloom_benches::audience::MemoryOutboxes;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Ring, RoomSchema,
};
use tickloom_server::room::broadcast::{Broadcast, Content, Occasion, SharedWindow, ViewSettings};
use tickloom_server::room::events::EventLog;
use tickloom_server::room::member::Member;
use tickloom_server::room::sight::SightLimits;
use tickloom_server::room::state::State;
use tickloom_server::session::SessionId;

use crate::machine::thread_cpu;

const READY: u16 = 1_000;
const LAGGING: u16 = 1_000;
const EXTENT: f64 = 512.0;
const TICK: Duration = Duration::from_millis(50);
const TICKS: usize = 400;
const WARM_UP_TICKS: usize = 40;
const BODY: ComponentId = ComponentId(0);

/// What a thousand of them may take of a tick, in parts of a million, to be called nothing: what a
/// tick is late because the kernel woke its thread so much later.
const OF_TICK_PPM_MAX: f64 = 1_000.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sent {
    Whole,
    ByCells,
}

/// A room in memory.
struct Room {
    sent: Sent,
    state: State,
    events: EventLog,
    window: SharedWindow,
    broadcast: Broadcast,
    members: BTreeMap<MemberId, Member>,
    outboxes: MemoryOutboxes,
    walkers: Vec<Walker>,
    previous: Tick,
}

struct Walker {
    entity: EntityId,
    at: [f64; 2],
    step: [f64; 2],
}

fn schema(sent: Sent) -> Arc<RoomSchema> {
    let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, -EXTENT, EXTENT);
    let fields = vec![axis("x"), axis("y"), FieldDesc::angle("yaw", FieldType::Quant8)];
    let body = ComponentDesc::packed("body", fields).expect("a row");
    let schema = match sent {
        Sent::Whole => RoomSchema::new(vec![body], vec![]),
        Sent::ByCells => {
            let rings = [(1, 1), (2, 2), (4, 4)].map(|(distance, every)| Ring { distance, every });
            let axes = [FieldId(0), FieldId(1)];
            let interest = Interest { component: BODY, axes, cell_size: 64.0, rings: rings.into() };
            RoomSchema::new(vec![body.as_motion()], vec![])
                .and_then(|schema| schema.with_interest(interest))
        }
    };
    Arc::new(schema.expect("a schema"))
}

impl Room {
    /// A room with an entity for everybody, of whom this many are members.
    fn new(sent: Sent, members_count: u16) -> Self {
        let schema = schema(sent);
        let mut state = State::new(Arc::clone(&schema), usize::from(READY + LAGGING) + 1);
        let events = EventLog::new(64, 4096, schema.topics());
        let (mut members, mut walkers) = (BTreeMap::new(), Vec::new());
        let mut rng = Rng::with_seed(7);
        for index in 0..READY + LAGGING {
            let is_member = index < members_count;
            let owner = if is_member { MemberId(index + 1) } else { MemberId::SERVER };
            let entity = state.spawn(owner).expect("a place for all");
            let at = [0; 2].map(|_| (rng.f64() * 2.0 - 1.0) * EXTENT);
            let angle = rng.f64() * TAU;
            walkers.push(Walker { entity, at, step: [angle.cos() * 0.3, angle.sin() * 0.3] });
            if is_member {
                let session = SessionId { index: index.into(), generation: 0 };
                let hearing = events.hearing_of_newcomer();
                members.insert(owner, Member::new(session, entity, hearing, u64::from(owner.0)));
            }
        }
        Self {
            sent,
            state,
            events,
            window: SharedWindow::default(),
            broadcast: Broadcast::default(),
            members,
            outboxes: MemoryOutboxes::new(members_count.into()),
            walkers,
            previous: Tick::ZERO,
        }
    }

    fn walk(&mut self) {
        for Walker { entity, at, step } in &mut self.walkers {
            for axis in 0..2 {
                at[axis] += step[axis];
                if at[axis].abs() > EXTENT {
                    step[axis] = -step[axis];
                }
            }
            let yaw = step[1].atan2(step[0]).rem_euclid(TAU);
            self.state.set_numbers(BODY, *entity, &[at[0], at[1], yaw]);
        }
    }

    /// Broadcasts one state; returns the processor time.
    fn send(&mut self) -> Duration {
        let previous = self.previous;
        let occasion = Occasion { previous, with_hash: false, states_waiting_max: 20 };
        let (state, events) = (&mut self.state, &mut self.events);
        let mut content = Content { state, events, window: &mut self.window };
        let (members, outboxes) = (&mut self.members, &mut self.outboxes);
        // Nobody is sent less than there is: that would be another measurement.
        let limits = SightLimits { bytes_per_second_max: None, ..SightLimits::default() };
        let settings = ViewSettings { limits, steps: 0 };
        let start = thread_cpu();
        let sent = match self.sent {
            Sent::Whole => self.broadcast.send(content, members, occasion, outboxes),
            Sent::ByCells => {
                self.broadcast.send_views(&mut content, members, occasion, settings, outboxes)
            }
        };
        let spent = thread_cpu() - start;
        sent.expect("states are small");
        self.previous = self.state.building();
        self.state.mark_sent();
        self.events.mark_sent();
        self.state.advance();
        spent
    }

    /// One tick: those who keep up take what they get, and those who lag nothing.
    fn tick(&mut self) -> Duration {
        self.walk();
        let spent = self.send();
        self.outboxes.drain_first(READY.into());
        spent
    }

    /// Everybody gets the first state; then the queues of those who lag are full.
    fn begin(&mut self) {
        while self.broadcast.counts().snapshots < self.members.len() as u64 {
            self.walk();
            self.send();
            self.outboxes.drain();
        }
        for index in usize::from(READY)..self.members.len() {
            self.outboxes.congest(index);
        }
    }
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * quantile) as usize]
}

/// Prints a row; says whether those who lag take next to nothing.
fn measure(name: &str, sent: Sent) -> bool {
    let mut without = Room::new(sent, READY);
    let mut with = Room::new(sent, READY + LAGGING);
    for room in [&mut without, &mut with] {
        room.begin();
    }
    let (mut times, mut adds) = ([Vec::new(), Vec::new()], Vec::new());
    for tick in 0..WARM_UP_TICKS + TICKS {
        // Each is first as often as the other: what comes first warms what both use.
        let spent = if tick % 2 == 0 {
            let first = without.tick();
            [first, with.tick()]
        } else {
            let first = with.tick();
            [without.tick(), first]
        };
        if tick >= WARM_UP_TICKS {
            let us = spent.map(|spent| spent.as_secs_f64() * 1e6);
            times[0].push(us[0]);
            times[1].push(us[1]);
            adds.push(us[1] - us[0]);
        }
    }
    let counts = with.broadcast.counts();
    let passed_over = u64::from(LAGGING) * (WARM_UP_TICKS + TICKS) as u64;
    assert_eq!(counts.skipped, passed_over, "those who lag, in every tick: {counts:?}");
    assert_eq!(without.broadcast.counts().skipped, 0, "nobody else does");
    let (adds, [without, with]) = (sorted(adds), times.map(sorted));
    let added = quantile(&adds, 0.5);
    let of_tick_ppm = added / TICK.as_secs_f64();
    println!(
        "{name:<9} {:>7.0} us {:>7.0} us {added:>6.1} us ({:.1} to {:.1}) {:>6.1} ns {:>8.3} %",
        quantile(&without, 0.5),
        quantile(&with, 0.5),
        quantile(&adds, 0.25),
        quantile(&adds, 0.75),
        added * 1e3 / f64::from(LAGGING),
        of_tick_ppm / 1e4,
    );
    of_tick_ppm <= OF_TICK_PPM_MAX
}

fn main() {
    println!("{READY} members who keep up, with and without {LAGGING} who lag, {TICKS} ticks");
    println!("room       without        with       adds                each  of a tick");
    let reached = [("whole", Sent::Whole), ("interest", Sent::ByCells)]
        .map(|(name, sent)| measure(name, sent));
    println!(
        "{}: {LAGGING} who lag take <= {} % of a tick",
        if reached == [true; 2] { "REACHED" } else { "MISSED" },
        OF_TICK_PPM_MAX / 1e4,
    );
}
