//! A world too large to send whole: what its members are sent, and what that costs.
//!
//! ```text
//! cargo bench -p tickloom-benches --bench interest
//! ```
//!
//! 10,000 entities on 2,048 x 2,048 m, 70 % of them walking at 4 to 12 m/s, 1,000 members, 30 Hz,
//! cells of 64 m, rings of 3 x 3 cells with every state, 5 x 5 with every second, 9 x 9 with every
//! fourth. In the second world half of everybody is in four towns. Columns:
//!
//! - `bytes`: a member's frame, all of it, on average; `worst` that of the member who got most;
//! - `encode`: all chunks of the tick, each once;
//! - `gather`: everything else of the broadcast, per member: whose view moved, which chunks, frames;
//! - `alone`: the same frames, queued as well, but encoded for each member by itself, as servers with
//!   a view per client do, and how many times the processor time of the broadcast that is. It is
//!   generous: views are known already, and it finds what is in a cell as quickly as we do.
//!
//! Times are of the thread's processor time, medians over the ticks. No sockets.

#[path = "machine.rs"]
#[expect(dead_code, reason = "pinning is for those with sockets")]
mod machine;

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use tickloom_benches::audience::MemoryOutboxes;
use tickloom_protocol::delta_prefix::DeltaPrefix;
use tickloom_protocol::ids::{CellId, ComponentId, EntityId, MemberId, Tick};
use tickloom_protocol::link::put_binary_header;
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Ring, RoomSchema,
};
use tickloom_protocol::server_message::DeltaHead;
use tickloom_server::outbox::Backpressure;
use tickloom_server::room::broadcast::{Broadcast, Content, Occasion, SharedWindow, ViewSettings};
use tickloom_server::room::events::EventLog;
use tickloom_server::room::member::Member;
use tickloom_server::room::sight::{Sight, SightLimits};
use tickloom_server::room::state::State;
use tickloom_server::room::state::places::PlaceId;
use tickloom_server::session::SessionId;
use tickloom_server::session_table::Outboxes;

use crate::machine::thread_cpu;

const ENTITIES: usize = 10_000;
const MEMBERS: u16 = 1_000;
const EXTENT: f64 = 1_024.0;
const TICK_RATE_HZ: f64 = 30.0;
const TICKS: usize = 300;
const WARM_UP_TICKS: usize = 60;
/// Every so many ticks the members are also encoded for one by one; odd, so that every ring is due
/// as often as in all.
const ALONE_EVERY: usize = 9;
const BODY: ComponentId = ComponentId(0);

/// What the project wants to reach.
const BYTES_MAX: f64 = 2_000.0;
const ENCODE_MAX: Duration = Duration::from_micros(400);
const GATHER_MAX_NS: f64 = 800.0;
const ALONE_MIN: f64 = 5.0;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Crowd {
    Uniform,
    Towns,
}

struct World {
    state: State,
    events: EventLog,
    window: SharedWindow,
    broadcast: Broadcast,
    members: BTreeMap<MemberId, Member>,
    outboxes: MemoryOutboxes,
    walkers: Vec<Walker>,
    sent: Tick,
}

/// What it takes to encode for each member by itself.
struct Alone {
    prefix: DeltaPrefix,
    chunks: Vec<u8>,
    output: Vec<u8>,
    frames: Vec<(SessionId, Range<usize>)>,
    outboxes: MemoryOutboxes,
    spent: Option<Bytes>,
}

impl Alone {
    fn new() -> Self {
        let (prefix, outboxes) = (DeltaPrefix::new(), MemoryOutboxes::new(MEMBERS.into()));
        let (chunks, output, frames, spent) = (Vec::new(), Vec::new(), Vec::new(), None);
        Self { prefix, chunks, output, frames, outboxes, spent }
    }
}

struct Walker {
    entity: EntityId,
    at: [f64; 2],
    /// Metres per tick; nothing for those who stand.
    step: [f64; 2],
}

fn schema() -> Arc<RoomSchema> {
    let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, -EXTENT, EXTENT);
    let fields = vec![axis("x"), axis("y"), FieldDesc::angle("yaw", FieldType::Quant8)];
    let body = ComponentDesc::packed("body", fields).expect("a row").as_motion();
    let rings = [(1, 1), (2, 2), (4, 4)].map(|(distance, every)| Ring { distance, every });
    let axes = [FieldId(0), FieldId(1)];
    let interest = Interest { component: BODY, axes, cell_size: 64.0, rings: rings.into() };
    let schema = RoomSchema::new(vec![body], vec![]);
    Arc::new(schema.and_then(|schema| schema.with_interest(interest)).expect("a schema"))
}

impl World {
    fn new(crowd: Crowd) -> Self {
        let schema = schema();
        let mut state = State::new(Arc::clone(&schema), ENTITIES + 1);
        let events = EventLog::new(64, 4096, schema.topics());
        let (mut members, mut walkers) = (BTreeMap::new(), Vec::new());
        let mut rng = Rng::with_seed(7);
        for index in 0..ENTITIES as u16 {
            let owner = if index < MEMBERS { MemberId(index + 1) } else { MemberId::SERVER };
            let entity = state.spawn(owner).expect("a place for all");
            let at = place(crowd, &mut rng);
            let angle = rng.f64() * TAU;
            let speed = if rng.u8(0..10) < 7 { 4.0 + rng.f64() * 8.0 } else { 0.0 } / TICK_RATE_HZ;
            walkers.push(Walker { entity, at, step: [angle.cos() * speed, angle.sin() * speed] });
            if index < MEMBERS {
                let session = SessionId { index: index.into(), generation: 0 };
                let hearing = events.hearing_of_newcomer();
                members.insert(owner, Member::new(session, entity, hearing, u64::from(owner.0)));
            }
        }
        Self {
            state,
            events,
            window: SharedWindow::default(),
            broadcast: Broadcast::default(),
            members,
            outboxes: MemoryOutboxes::new(MEMBERS.into()),
            walkers,
            sent: Tick::ZERO,
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
            if *step != [0.0; 2] {
                let yaw = step[1].atan2(step[0]).rem_euclid(TAU);
                self.state.set_numbers(BODY, *entity, &[at[0], at[1], yaw]);
            }
        }
    }

    /// Sends one state; returns the processor time.
    fn send(&mut self) -> Duration {
        let occasion = Occasion { previous: self.sent, with_hash: false, states_waiting_max: 30 };
        let (state, events) = (&mut self.state, &mut self.events);
        let mut content = Content { state, events, window: &mut self.window };
        // Budgets would make the towns cheaper than they are.
        let limits = SightLimits { bytes_per_second_max: None, ..SightLimits::default() };
        let settings = ViewSettings { limits, steps: 0 };
        let (members, outboxes) = (&mut self.members, &mut self.outboxes);
        let start = thread_cpu();
        let sent = self.broadcast.send_views(&mut content, members, occasion, settings, outboxes);
        let spent = thread_cpu() - start;
        sent.expect("states are small");
        self.sent = self.state.building();
        spent
    }

    /// Encodes what is due of every cell at every rate, as if each had a subscriber.
    fn encode(&mut self, chunks: &mut Vec<u8>) -> Duration {
        let places = self.state.places().expect("a world with interest");
        let (count, schedule) = (places.count(), places.schedule());
        let [columns, _] = places.grid().sides();
        chunks.clear();
        let start = thread_cpu();
        for cell in 0..count as u32 - 1 {
            let place = PlaceId::of_cell(CellId(cell));
            let row = (cell / columns) as u16;
            self.state.encode_place(place, chunks);
            for every in [1, 2, 4] {
                if schedule.is_due(row, every) {
                    self.state.encode_motion(place, every, chunks);
                }
            }
        }
        thread_cpu() - start
    }

    /// Sends every member the frame it was sent before, with chunks encoded for it alone; returns
    /// the processor time.
    fn send_alone(&mut self, alone: &mut Alone) -> Duration {
        let places = self.state.places().expect("a world with interest");
        let (grid, schedule) = (*places.grid(), places.schedule());
        let tick = self.state.building();
        let Alone { prefix, chunks, output, frames, outboxes, .. } = alone;
        let start = thread_cpu();
        if let Some(Ok(mut spent)) = alone.spent.take().map(Bytes::try_into_mut) {
            spent.clear();
            *output = spent.into();
        }
        output.clear();
        frames.clear();
        for member in self.members.values() {
            let Some(outbox) = outboxes.outbox(member.session()) else { continue };
            if outbox.backpressure() != Backpressure::Ready {
                continue;
            }
            chunks.clear();
            self.state.encode_place(PlaceId::EVERYWHERE, chunks);
            for subscription in member.sight().into_iter().flat_map(Sight::subscriptions) {
                let place = PlaceId::of_cell(subscription.cell);
                self.state.encode_place(place, chunks);
                if schedule.is_due(subscription.run(&grid).row, subscription.every) {
                    self.state.encode_motion(place, subscription.every, chunks);
                }
            }
            let head = DeltaHead { tick, base: Tick(tick.0 - 1), ..DeltaHead::default() };
            let from = output.len();
            put_binary_header(prefix.bytes() + chunks.len(), output);
            prefix.put(&head, chunks.len(), output);
            output.extend_from_slice(chunks);
            frames.push((member.session(), from..output.len()));
        }
        let shared = Bytes::from(std::mem::take(output));
        for (session, range) in frames.drain(..) {
            if let Some(outbox) = outboxes.outbox(session) {
                outbox.push(shared.slice(range));
            }
        }
        alone.spent = Some(shared);
        thread_cpu() - start
    }

    fn end_tick(&mut self) {
        self.state.mark_sent();
        self.events.mark_sent();
        self.state.advance();
    }
}

fn place(crowd: Crowd, rng: &mut Rng) -> [f64; 2] {
    let mut anywhere = || (rng.f64() * 2.0 - 1.0) * EXTENT;
    let place = [anywhere(), anywhere()];
    if crowd == Crowd::Uniform || rng.bool() {
        return place;
    }
    // Four towns of 200 x 200 m.
    let town = [[-500.0, -500.0], [500.0, -500.0], [-500.0, 500.0], [500.0, 500.0]];
    town[rng.usize(0..4)].map(|centre| centre + (rng.f64() * 2.0 - 1.0) * 100.0)
}

fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_unstable_by(|a, b| a.partial_cmp(b).expect("numbers"));
    values[values.len() / 2]
}

fn measure(name: &str, crowd: Crowd) -> bool {
    let mut world = World::new(crowd);
    let (mut alone, mut chunks, mut worst) = (Alone::new(), Vec::new(), 0);
    let (mut totals, mut encodes, mut alones) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    for tick in 0..WARM_UP_TICKS + TICKS {
        world.walk();
        let total = world.send();
        let sent =
            world.outboxes.drain_each(|bytes| worst = worst.max(if tick > 0 { bytes } else { 0 }));
        if tick >= WARM_UP_TICKS {
            totals.push(total);
            bytes.push(sent as f64 / f64::from(MEMBERS));
            encodes.push(world.encode(&mut chunks));
            if tick % ALONE_EVERY == 0 {
                alones.push(world.send_alone(&mut alone));
                let sent_alone = alone.outboxes.drain();
                // Whose view moved got a few snapshots beside.
                assert!(sent_alone.abs_diff(sent) < sent / 20, "{sent_alone} of {sent} bytes");
            }
        }
        world.end_tick();
    }
    let counts = world.broadcast.counts();
    assert_eq!(counts.snapshots, u64::from(MEMBERS), "nobody fell behind: {counts:?}");
    let (total, encode, alone) = (median(totals), median(encodes), median(alones));
    let mean_bytes = bytes.iter().sum::<f64>() / bytes.len() as f64;
    let gather_ns = (total.saturating_sub(encode)).as_nanos() as f64 / f64::from(MEMBERS);
    let times = alone.as_secs_f64() / total.as_secs_f64();
    println!(
        "{name:<8} {mean_bytes:>6.0} B {worst:>6} B {:>8.0} us {gather_ns:>7.0} ns {:>8.1} us {:>8.1} ms {times:>6.1} x",
        encode.as_secs_f64() * 1e6,
        total.as_secs_f64() * 1e6,
        alone.as_secs_f64() * 1e3,
    );
    let reached = mean_bytes <= BYTES_MAX
        && encode <= ENCODE_MAX
        && gather_ns <= GATHER_MAX_NS
        && times >= ALONE_MIN;
    crowd == Crowd::Towns || reached
}

fn main() {
    println!("{ENTITIES} entities, {MEMBERS} members, {TICK_RATE_HZ} Hz, medians of {TICKS} ticks");
    println!("world     bytes    worst      encode    gather       all    alone");
    let reached = measure("uniform", Crowd::Uniform);
    measure("towns", Crowd::Towns);
    println!(
        "{}: uniform, <= {BYTES_MAX} B, encode <= {} us, gather <= {GATHER_MAX_NS} ns per member, \
         alone >= {ALONE_MIN} x",
        if reached { "REACHED" } else { "MISSED" },
        ENCODE_MAX.as_micros(),
    );
}
