//! The world walked through from outside: members join, inputs come in, ticks go by.

use std::collections::BTreeSet;

use tickloom_protocol::entities::View;

use super::*;
use crate::room::state::places::PlaceId;
use crate::test_room::{TestMember, TestRoom};

const TICK_RATE_HZ: u32 = 20;

fn room(seed: u64) -> TestRoom {
    TestRoom::new(World::new(TICK_RATE_HZ)).seed(seed)
}

fn at(room: &TestRoom, entity: EntityId) -> [f64; 2] {
    let [x, y, _] = room.state().numbers(BODY, entity).expect("it is somewhere");
    [x, y]
}

fn distance([x, y]: [f64; 2], [other_x, other_y]: [f64; 2]) -> f64 {
    (x - other_x).hypot(y - other_y)
}

fn entities(room: &TestRoom, kind: EntityKind) -> Vec<EntityId> {
    let entities = room.state().entities();
    let is_kind = |id: &EntityId| entities.row(LOOK, *id).is_some_and(|row| row[0] == kind as u8);
    entities.ids().filter(is_kind).collect()
}

fn hash(room: &TestRoom) -> u32 {
    room.state().entities().hash(View::Room, &mut Vec::new())
}

#[test]
fn component_ids_are_positions_in_the_schema() {
    let schema = World::new(TICK_RATE_HZ).spec().schema;
    let names = ["body", "look", "profile"];
    assert_eq!(schema.components().len(), names.len());
    for (id, name) in [BODY, LOOK, PROFILE].into_iter().zip(names) {
        assert_eq!(schema.component(name), Some(id), "{name}");
    }
    let inputs: Vec<_> = schema.input().fields().map(|field| &*field.name).collect();
    assert_eq!(inputs, ["move_x", "move_y", "aim", "buttons"], "`on_input` reads them in order");
    let grid = schema.grid().expect("a world with interest");
    assert_eq!(grid.sides(), [32, 32]);
}

#[test]
fn the_first_joiner_says_how_many_wanderers_there_are() {
    for (options, wanderers) in [
        ("", Ok(WANDERERS_COUNT)),
        (r#"{"wanderers": 0}"#, Ok(0)),
        (r#"{"wanderers":10000}"#, Ok(WANDERERS_MAX)),
        (r#"{"wanderers":10001}"#, Err("a world has 10000 wanderers at most")),
        (r#"{"wanderer":1}"#, Err("unknown field `wanderer`, expected `wanderers`")),
        (r#"{"wanderers":-1}"#, Err("expected usize")),
        ("many", Err("JSON such as {\"wanderers\": 500}")),
    ] {
        let mut room = room(1);
        match (room.try_join("ann", options.as_bytes()), wanderers) {
            (Ok(_), Ok(count)) => {
                room.join_with("bob", br#"{"wanderers": 7}"#);
                assert_eq!(entities(&room, EntityKind::Wanderer).len(), count, "{options}");
            }
            (Err(refusal), Err(part)) => {
                assert!(refusal.message.contains(part), "{options}: {}", refusal.message);
            }
            (result, expected) => panic!("{options}: {result:?}, not {expected:?}"),
        }
    }
}

#[test]
fn everybody_who_joins_finds_a_place() {
    let mut room = room(2);
    let ann = room.join_with("ann", br#"{"wanderers": 10000}"#);
    let others: Vec<_> = (1..50).map(|_| room.join("")).collect();
    room.tick();
    assert_eq!(room.prop(ann, ann.entity(), ("profile", "name")), Some(&Value::Str("ann".into())));
    let last = others[48];
    let name = room.prop(last, last.entity(), ("profile", "name"));
    assert_eq!(name, Some(&Value::Str("player-50".into())));
    assert_eq!(entities(&room, EntityKind::Player).len(), 50);
    room.leave(ann);
    room.tick();
    assert_eq!(entities(&room, EntityKind::Player).len(), 49);
}

#[test]
fn players_walk_as_fast_in_every_direction() {
    for movement in [[1.0, 0.0], [0.0, -1.0], [-1.0, 1.0], [0.8, 0.8]] {
        let mut room = room(3);
        let ann = room.join_with("ann", br#"{"wanderers": 0}"#);
        // Away from the edges first.
        room.input(ann, &[("buttons", f64::from(BUTTON_HOME))]);
        room.tick();
        let start = at(&room, ann.entity());
        let fields = [("move_x", movement[0]), ("move_y", movement[1]), ("aim", 1.0)];
        for _ in 0..20 {
            room.input(ann, &fields);
            room.tick();
        }
        let metres = distance(at(&room, ann.entity()), start);
        assert!((metres - f64::from(SPEED_MAX)).abs() < 0.2, "{movement:?}: {metres} m");
    }
}

#[test]
fn nobody_walks_off_the_edge() {
    let mut rng = fastrand::Rng::with_seed(1);
    let member = MemberId(1);
    let mut player =
        Player { member, entity: EntityId(1), at: [0.0; 2], intent: None, leap_ticks: 0 };
    for (movement, corner) in [([1.0, -1.0], [1.0, -1.0]), ([-0.1, 1.0], [-1.0, 1.0])] {
        let intent = Intent { movement, aim: 0.0, leap: None };
        for _ in 0..40_000 {
            player.act(&intent, 0.05, &mut rng);
            assert!(player.at.iter().all(|at| at.abs() <= HALF_EXTENT), "{player:?}");
        }
        assert_eq!(player.at, corner.map(|sign| sign * HALF_EXTENT), "{movement:?}");
    }
}

#[test]
fn a_leap_happens_once_for_each_that_is_asked_for_and_once_a_second() {
    let mut room = room(4);
    let ann = room.join_with("ann", br#"{"wanderers": 0}"#);
    room.tick();
    let leaps = |room: &mut TestRoom, inputs: u32, ticks: u32| {
        let mut leaps = 0;
        for tick in 0..ticks {
            if tick < inputs {
                room.input(ann, &[("buttons", f64::from(BUTTON_LEAP))]);
            }
            let before = at(room, ann.entity());
            room.tick();
            leaps += u32::from(distance(at(room, ann.entity()), before) > 1.0);
        }
        leaps
    };
    assert_eq!(leaps(&mut room, 1, 40), 1, "what is repeated for want of inputs is not");
    assert_eq!(leaps(&mut room, 60, 60), 3, "whoever keeps the button down");
}

#[test]
fn home_is_the_town_in_the_middle() {
    let mut room = room(5);
    let members: Vec<TestMember> = (0..100).map(|_| room.join("")).collect();
    for member in &members {
        room.input(*member, &[("buttons", f64::from(BUTTON_HOME))]);
    }
    room.tick();
    let town = f64::from(TOWN_HALF_EXTENT);
    for member in &members {
        let place = at(&room, member.entity());
        assert!(place.iter().all(|axis| axis.abs() <= town + 0.1), "{place:?}");
    }
}

#[test]
fn a_player_whose_connection_is_broken_stands_and_is_shown_as_away() {
    let mut room = room(10);
    let [ann, bob] = ["ann", "bob"].map(|name| room.join(name));
    for member in [ann, bob] {
        room.input(member, &[("buttons", f64::from(BUTTON_HOME))]);
    }
    room.assert_converged();
    let away = |room: &TestRoom| room.prop(bob, ann.entity(), ("profile", "away")).cloned();
    assert_eq!(away(&room), None);
    room.input(ann, &[("move_x", 1.0)]);
    room.drop_connection(ann);
    room.tick();
    assert_eq!(away(&room), Some(Value::Bool(true)));
    let stands = at(&room, ann.entity());
    room.ticks(20);
    assert_eq!(at(&room, ann.entity()), stands);
    room.resume(ann);
    room.assert_converged();
    assert_eq!(away(&room), None);
    room.drop_connection(ann);
    room.advance(std::time::Duration::from_secs(21));
    assert!(!room.replica(bob).entities().contains(ann.entity()), "its seat is gone");
    room.assert_converged();
}

#[test]
fn wanderers_walk_or_stand_and_stay_in_the_world() {
    let mut room = room(6);
    room.join_with("ann", br#"{"wanderers": 2000}"#);
    let wanderers = entities(&room, EntityKind::Wanderer);
    let places = |room: &TestRoom| wanderers.iter().map(|id| at(room, *id)).collect::<Vec<_>>();
    let cells: BTreeSet<_> =
        places(&room).iter().map(|place| place.map(|axis| (axis / 64.0).floor() as i32)).collect();
    assert!(cells.len() > 700, "2,000 are spread over 1,024 cells: {}", cells.len());
    for second in 0..15 {
        let before = places(&room);
        room.tick();
        let metres = before
            .iter()
            .zip(places(&room))
            .map(|(a, b)| distance(*a, b) * f64::from(TICK_RATE_HZ));
        let walking: Vec<f64> = metres.filter(|speed| *speed > 1.0).collect();
        assert!((1_250..1_550).contains(&walking.len()), "{second} s: {}", walking.len());
        // Rows hold a position to 3 cm.
        assert!(walking.iter().all(|speed| *speed < 13.0), "{second} s");
        room.ticks(19);
    }
}

#[test]
fn the_same_seed_and_inputs_make_the_same_world() {
    let play = |seed| {
        let mut room = room(seed);
        let members = [room.join("ann"), room.join("bob")];
        let mut rng = fastrand::Rng::with_seed(9);
        for _ in 0..200 {
            for member in members {
                let axis = rng.f64() * 2.0 - 1.0;
                let buttons = f64::from(rng.u8(0..8));
                room.input(member, &[("move_x", axis), ("buttons", buttons)]);
            }
            room.tick();
        }
        hash(&room)
    };
    assert_eq!(play(7), play(7));
    assert_ne!(play(7), play(8));
}

#[test]
fn members_are_sent_what_is_around_them_wherever_they_leap() {
    let mut room = room(8);
    let ann = room.join_with("ann", br#"{"wanderers": 3000}"#);
    let mut in_view = Vec::new();
    for leap in 0..10 {
        room.input(ann, &[("buttons", f64::from(BUTTON_LEAP))]);
        // All cells of a view have come, and the outermost ring has been told once.
        room.ticks(25);
        let places = room.state().places().expect("a world with interest");
        let [x, y] = at(&room, ann.entity()).map(|axis| axis as f32);
        let middle = places.grid().place(x, y);
        let mut expected = 1;
        for row in -4..=4 {
            for column in -4..=4 {
                let Some(cell) = places.grid().cell([middle[0] + column, middle[1] + row]) else {
                    continue;
                };
                let here: &[EntityId] = places.entities(PlaceId::of_cell(cell));
                expected += here.len();
                for entity in here {
                    let kind = room.number(ann, *entity, ("look", "kind"));
                    assert!(kind.is_some(), "leap {leap}: {entity:?} is near");
                }
            }
        }
        let known = room.replica(ann).entities().count();
        assert!(known >= expected, "leap {leap}: {known} of {expected}");
        in_view.push(known);
    }
    let most = in_view.iter().max().copied().unwrap_or_default();
    assert!(most < 600, "of 3,000 a member is told of few: {in_view:?}");
}

#[test]
fn a_recording_notices_what_no_row_shows() {
    let (member, entity, at) = (MemberId(1), EntityId(1), [3.0, 4.0]);
    let player = Player { member, entity, at, intent: None, leap_ticks: 0 };
    let wanderer = Wanderer { whim_ticks: 7, ..Wanderer::new(EntityId(2), at) };
    let saved = |player: Player, wanderer: Wanderer| {
        let mut bytes = Vec::new();
        WorldLogic { tick_seconds: 0.05, players: vec![player], wanderers: vec![wanderer] }
            .save(&mut bytes);
        bytes
    };
    // A hair's breadth, which is far below a step of a row.
    let beside = [3.0, 4.0001];
    let all = [
        saved(player.clone(), wanderer.clone()),
        saved(Player { at: beside, ..player.clone() }, wanderer.clone()),
        saved(Player { leap_ticks: 1, ..player.clone() }, wanderer.clone()),
        saved(player.clone(), Wanderer { at: beside, ..wanderer.clone() }),
        saved(player, Wanderer { whim_ticks: 6, ..wanderer }),
    ];
    assert_eq!(BTreeSet::from(all.clone()).len(), all.len(), "{all:?}");
}
