//! Rooms with interest: everybody is held to what is in its view, and to nothing else.

use tickloom_protocol::ids::{CellId, MemberId};
use tickloom_protocol::schema::{FieldId, Interest, Ring};

use super::*;
use crate::room::logic::Cameras;
use crate::room::sight::SightLimits;
use crate::room::state::TeamId;

const PLACE: ComponentId = ComponentId(0);
const HEALTH: ComponentId = ComponentId(1);
const SECRET: ComponentId = ComponentId(2);
const PLAN: ComponentId = ComponentId(3);

/// Those who walk all the time.
const WALKERS: u16 = 60;

fn spec(cadence: Cadence) -> RoomSpec {
    let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, 0.0, 160.0);
    let byte = |name| vec![FieldDesc::new(name, FieldType::U8)];
    let components = vec![
        ComponentDesc::packed("place", vec![axis("x"), axis("y")])
            .expect("layout")
            .as_motion()
            .writable_by(WritePolicy::Owner),
        ComponentDesc::packed("health", byte("hp")).expect("layout"),
        ComponentDesc::packed("secret", byte("of")).expect("layout").for_owner(),
        ComponentDesc::packed("plan", byte("of")).expect("layout").for_team(),
    ];
    let ring = |distance, every| Ring { distance, every };
    let interest = Interest {
        component: PLACE,
        axes: [FieldId(0), FieldId(1)],
        cell_size: 10.0,
        rings: vec![ring(0, 1), ring(1, 2), ring(2, 8)],
    };
    let schema = RoomSchema::new(components, vec![axis("x"), axis("y")])
        .and_then(|schema| schema.with_interest(interest))
        .expect("schema");
    RoomSpec {
        cadence,
        spectators_max: 2,
        cameras: Cameras::Free,
        sight: SightLimits { new_cells_max: 3, bytes_per_second_max: None },
        ..RoomSpec::at_rate(20, schema)
    }
}

/// Members are where they say; those of even ids are one team.
struct Meadow {
    walkers: Vec<EntityId>,
}

impl RoomLogic for Meadow {
    fn on_create(&mut self, room: &mut Context<'_>) {
        for at in 0..self.walkers.capacity() as u16 {
            let Some(entity) = room.state_mut().spawn(MemberId::SERVER) else { return };
            let place = [f64::from(at % 16), f64::from(at / 16)].map(|axis| axis * 10.0 + 5.0);
            room.state_mut().set_numbers(PLACE, entity, &place);
            self.walkers.push(entity);
        }
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        let (number, entity) = (f64::from(joiner.member.0), joiner.entity);
        let state = room.state_mut();
        state.set_team(joiner.member, Some(TeamId(joiner.member.0 % 2)));
        state.set_numbers(PLACE, entity, &[number * 30.0, 15.0]);
        state.set_numbers(HEALTH, entity, &[number]);
        state.set_numbers(SECRET, entity, &[number]);
        state.set_numbers(PLAN, entity, &[number]);
        Ok(())
    }

    fn on_input(&mut self, room: &mut Context<'_>, member: MemberId, row: &[u8], _: Freshness) {
        let place: [f64; 2] = room.input(row);
        let entity = room.entity_of(member).expect("a member has one");
        room.state_mut().set_numbers(PLACE, entity, &place);
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        for walker in &self.walkers {
            let Some([x, y]) = room.state().numbers(PLACE, *walker) else { continue };
            room.state_mut().set_numbers(PLACE, *walker, &[(x + 1.0) % 160.0, y]);
        }
        Next::Tick
    }
}

const AT_20_HZ: Cadence = Cadence::Fixed { tick_rate_hz: 20, send_every: 1 };

fn meadow(cadence: Cadence, walkers: u16) -> TestRoom {
    let create = move || Meadow { walkers: Vec::with_capacity(usize::from(walkers)) };
    TestRoom::new(room_type("meadow", spec(cadence), create)).seed(3)
}

fn knows(room: &TestRoom, member: TestMember, entity: EntityId) -> bool {
    room.replica(member).entities().contains(entity)
}

#[test]
fn everybody_is_held_to_what_is_in_its_view() {
    let mut room = meadow(AT_20_HZ, WALKERS);
    let [ann, bob, cy] = ["ann", "bob", "cy"].map(|name| room.join(name));
    room.assert_converged();
    assert!(knows(&room, ann, bob.entity()) == knows(&room, bob, ann.entity()));
    let all = room.state().entities().count();
    assert!(room.replica(ann).entities().count() < all / 2, "most of them are out of sight");
    // A teleport comes in pieces, which are awaited.
    room.input(ann, &[("x", 155.0), ("y", 155.0)]);
    room.assert_converged();
    assert!(!knows(&room, ann, bob.entity()) && !knows(&room, bob, ann.entity()));
    // What a team shares does not depend on where anybody is.
    assert_eq!(room.number(ann, cy.entity(), ("plan", "of")), Some(3.0));
    assert_eq!(room.number(ann, bob.entity(), ("plan", "of")), None);
    room.leave(cy);
    room.assert_converged();
}

#[test]
fn a_camera_is_followed_where_the_room_lets_it() {
    let mut room = meadow(AT_20_HZ, WALKERS);
    let ann = room.join("ann");
    let eve = room.watch("eve");
    room.look(eve, Some([155.0, 155.0]));
    room.assert_converged();
    assert!(!knows(&room, eve, ann.entity()));
    room.look(eve, Some([35.0, 15.0]));
    room.assert_converged();
    assert!(knows(&room, eve, ann.entity()));
    assert_eq!(room.number(eve, ann.entity(), ("secret", "of")), None);
    room.look(ann, Some([155.0, 155.0]));
    room.assert_converged();
    assert!(!knows(&room, ann, ann.entity()), "it looks away from itself");
    room.look(ann, None);
    room.assert_converged();
    assert!(knows(&room, ann, ann.entity()));
}

#[test]
fn who_fell_behind_or_came_back_is_held_to_its_view_again() {
    let mut room = meadow(AT_20_HZ, WALKERS);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    room.tick();
    room.stall(bob);
    room.drop_connection(ann);
    room.ticks(9);
    room.assert_converged();
    room.unstall(bob);
    room.resume(ann);
    room.assert_converged();
}

#[test]
fn a_room_without_a_rate_tells_everybody_in_view_how_things_came_to_rest() {
    let mut room = meadow(Cadence::OnChange { interval: Duration::from_millis(50) }, 0);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    // Bob is on the outermost of ann's rings, and stays in his cell.
    let [x, y] = [50.0, 15.0].map(|axis: f64| ((axis / 160.0) * 65_535.0) as u16);
    for step in 0..5 {
        let mut changes = ChangesBuilder::default();
        let row = [(x + step * 100).to_le_bytes(), y.to_le_bytes()].concat();
        changes.row(PLACE, bob.entity(), &row);
        room.write(bob, &changes);
        room.tick();
    }
    assert_eq!(room.accepted(bob).len(), 5);
    room.assert_converged();
    let x = |member| room.number(member, bob.entity(), ("place", "x"));
    assert!(x(bob).is_some() && x(ann) == x(bob));
    room.advance(Duration::from_secs(2));
    assert!(!room.tick(), "and then nothing is left to be told");
}

// ---- what it must notice -----------------------------------------------------------------------

/// What is said of a meadow in which everybody stands, and in which ann's replica has taken in a
/// chunk that no server sent. What the server sends for that state comes too late.
fn forged(stream: StreamId, kind: ChunkKind, body: &[u8]) -> String {
    let mut room = meadow(AT_20_HZ, 0);
    let [ann, _bob] = ["ann", "bob"].map(|name| room.join(name));
    room.assert_converged();
    let mut chunks = Vec::new();
    put_chunk(&mut chunks, stream, kind, body);
    let base = room.replica(ann).tick();
    forge(&mut room, ann, DeltaHead { tick: base.next(), base, ..DeltaHead::default() }, &chunks);
    assert_eq!(room.clients[0].broken, None, "it is well-formed");
    verdict(&mut room, TestRoom::assert_converged)
}

#[test]
fn a_view_that_differs_is_noticed() {
    // 16 cells to a row; ann is at 30, 15, bob at 60, 15.
    let cell = |column: u32, row: u32| StreamId::of_cell(CellId(row * 16 + column));
    let (near, far) = (cell(3, 1), cell(9, 9));
    let row = |component: ComponentId, entity: u8, row: &[u8]| {
        [&[1, component.0, entity + 1], row, &[0]].concat()
    };
    let delta = |sections: &[u8]| [&[0, 0], sections].concat();
    let rows: [(&str, StreamId, ChunkKind, Vec<u8>, &str); 7] = [
        (
            "another number",
            near,
            ChunkKind::Delta,
            delta(&row(HEALTH, 1, &[9])),
            "`health` of entity 1 is hp = 1 in the room, and hp = 9 here",
        ),
        (
            "a place where it has not been",
            near,
            ChunkKind::Motion,
            row(PLACE, 1, &[0, 0, 0, 0]),
            "`place` of entity 1 is x = 30",
        ),
        (
            "a view without its own cell",
            near,
            ChunkKind::Gone,
            vec![],
            "entity 1 in cell 19 is missing",
        ),
        (
            "somebody out of sight",
            far,
            ChunkKind::Delta,
            vec![0, 3, 2, 0],
            "it knows entity 2 in cell 22, which it is not sent",
        ),
        (
            "somebody who is nowhere",
            far,
            ChunkKind::Delta,
            vec![0, 9, 0, 0],
            "entity 8 is not in the room any more",
        ),
        (
            "another's secret",
            StreamId::MEMBER,
            ChunkKind::Delta,
            delta(&row(SECRET, 2, &[7])),
            "it knows `secret` of entity 2, which is not its own: of = 7",
        ),
        (
            "the other team's plan",
            StreamId::TEAM,
            ChunkKind::Delta,
            delta(&row(PLAN, 2, &[7])),
            "it knows `plan` of entity 2, which is not its team's: of = 7",
        ),
    ];
    for (name, stream, kind, body, expected) in rows {
        let text = forged(stream, kind, &body);
        assert!(text.contains(expected) && text.starts_with("ann, at tick "), "{name}: {text}");
    }
}
