//! Where those look who only watch a room that is too large to send whole.

use std::time::Duration;

use tickloom_protocol::client_message::{ClientMessage, Interest, Join};
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId};
use tickloom_protocol::schema::{
    self, ComponentDesc, FieldDesc, FieldId, FieldType, Ring, RoomSchema,
};
use tickloom_server::room::logic::{
    Allowed, Cameras, Context, Joiner, RoomLogic, RoomSpec, room_type,
};
use tickloom_server::rooms::RoomTypes;

use crate::enter;
use crate::harness::{Peer, WIDE, World};

const PLACE: ComponentId = ComponentId(0);

/// 10 x 10 cells with something in the middle of each; members are in the first.
struct Map;

impl RoomLogic for Map {
    fn on_create(&mut self, room: &mut Context<'_>) {
        for cell in 0..100 {
            let thing = room.state_mut().spawn(MemberId::SERVER).expect("there is room");
            let place = [f64::from(cell % 10), f64::from(cell / 10)].map(|at| at * 10.0 + 5.0);
            room.state_mut().set_numbers(PLACE, thing, &place);
        }
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Allowed {
        room.state_mut().set_numbers(PLACE, joiner.entity, &[1.0, 1.0]);
        Ok(())
    }
}

fn world(cameras: Cameras) -> World {
    let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, 0.0, 100.0);
    let place = ComponentDesc::packed("place", vec![axis("x"), axis("y")]).expect("a row");
    let interest = schema::Interest {
        component: PLACE,
        axes: [FieldId(0), FieldId(1)],
        cell_size: 10.0,
        rings: vec![Ring { distance: 1, every: 1 }],
    };
    let schema = RoomSchema::new(vec![place], vec![]).and_then(|s| s.with_interest(interest));
    let schema = schema.expect("a schema");
    let spec = RoomSpec { spectators_max: 2, cameras, ..RoomSpec::at_rate(20, schema) };
    World::new(RoomTypes::default().with(room_type("map", spec, || Map)), WIDE)
}

fn join(spectate: bool) -> Join<'static> {
    Join { room_type: "map", room: "a", name: "x", spectate, ..Join::default() }
}

/// The least and the greatest column and row of what is in view, or nothing.
fn view(world: &mut World, peer: &mut Peer) -> Option<[i32; 4]> {
    // What goes out of view by one cell stays in view.
    world.pass(Duration::from_millis(200));
    world.turn(peer);
    let entities = peer.client.seat().expect("a seat").replica.entities();
    let layout = entities.schema().layout(PLACE).expect("a row");
    let is_thing =
        |id: &EntityId| *id != EntityId::ROOM && entities.owner(*id) == Some(MemberId::SERVER);
    let things = entities.ids().filter(is_thing).map(|id| {
        let row = entities.row(PLACE, id).expect("it is somewhere");
        [0, 1].map(|axis| (layout.read(row, FieldId(axis)) / 10.0) as i32)
    });
    things.fold(None, |bounds, [column, row]| {
        let [left, top, right, bottom] = bounds.unwrap_or([column, row, column, row]);
        Some([left.min(column), top.min(row), right.max(column), bottom.max(row)])
    })
}

fn look(world: &mut World, peer: &mut Peer, interest: Interest) -> Option<[i32; 4]> {
    peer.client.send(ClientMessage::Interest(interest));
    world.turn(peer);
    view(world, peer)
}

#[test]
fn a_spectator_looks_wherever_it_likes_and_at_the_edge_when_that_is_outside() {
    let mut world = world(Cameras::Own);
    let (mut ann, _) = enter(&mut world, join(false)).expect("a seat");
    let (mut eve, _) = enter(&mut world, join(true)).expect("a place");
    assert_eq!(view(&mut world, &mut ann), Some([0, 0, 1, 1]));
    assert_eq!(view(&mut world, &mut eve), Some([4, 4, 6, 6]), "at first at the middle");
    for ([x, y], expected) in [
        ([15.0, 25.0], [0, 1, 2, 3]),
        ([75.0, 15.0], [6, 0, 8, 2]),
        ([-1e30, 1e30], [0, 8, 1, 9]),
        ([100.0, 100.0], [8, 8, 9, 9]),
        ([f32::MAX, -0.0], [8, 0, 9, 1]),
    ] {
        let seen = look(&mut world, &mut eve, Interest::At { x, y });
        assert_eq!(seen, Some(expected), "{x} {y}");
    }
    // It has no entity to look from, and goes on looking where it looked.
    assert_eq!(look(&mut world, &mut eve, Interest::Own), Some([8, 0, 9, 1]));
    assert_eq!(world.shard.metrics().refusals, 0, "it is not answered");
    // The one who plays is not asked.
    let seen = look(&mut world, &mut ann, Interest::At { x: 75.0, y: 75.0 });
    assert_eq!(seen, Some([0, 0, 1, 1]));
}

#[test]
fn a_player_looks_around_where_the_rooms_type_lets_it() {
    let mut world = world(Cameras::Free);
    let (mut ann, _) = enter(&mut world, join(false)).expect("a seat");
    let seen = look(&mut world, &mut ann, Interest::At { x: 75.0, y: 75.0 });
    assert_eq!(seen, Some([6, 6, 8, 8]));
    assert!(!ann.sees(ann.entity()), "it is sent what it looks at");
    assert_eq!(look(&mut world, &mut ann, Interest::Own), Some([0, 0, 1, 1]));
}

#[test]
fn a_place_that_is_no_number_is_refused() {
    for place in [[f32::NAN, 1.0], [1.0, f32::INFINITY], [f32::NEG_INFINITY, 1.0]] {
        let mut world = world(Cameras::Free);
        let (_ann, _) = enter(&mut world, join(false)).expect("a seat");
        let (mut eve, _) = enter(&mut world, join(true)).expect("a place");
        let [x, y] = place;
        eve.client.send(ClientMessage::Interest(Interest::At { x, y }));
        world.turn(&mut eve);
        assert_eq!(eve.closed().map(|reason| reason.code()), Some(1007), "{place:?}");
    }
}
