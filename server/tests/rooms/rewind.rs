//! What a room learns of what its members saw.

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::ids::{ComponentId, EntityId, MemberId, Moment};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_server::room::logic::{Context, Freshness, Next, RoomLogic, RoomSpec, room_type};
use tickloom_server::room::rewind::RewindSpec;
use tickloom_server::rooms::RoomTypes;

use crate::harness::{WIDE, World};

const STEP: Duration = Duration::from_millis(50);
const COUNT: ComponentId = ComponentId(0);
const SEEN: ComponentId = ComponentId(1);

/// Counts its ticks, and shows each member what its last input says that it saw of the count.
struct Witness;

impl RoomLogic for Witness {
    fn on_input(&mut self, room: &mut Context<'_>, who: MemberId, _: &[u8], _: Freshness) {
        let entity = room.entity_of(who).expect("a member has one");
        let view = room.rewind(room.seen());
        let [count] = view.numbers(COUNT, EntityId::ROOM).expect("the room is always there");
        room.state_mut().set_numbers(SEEN, entity, &[count]);
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        let count = f64::from(room.tick().0);
        room.state_mut().set_numbers(COUNT, EntityId::ROOM, &[count]);
        Next::Tick
    }
}

#[test]
fn an_input_says_what_its_player_saw_and_the_room_can_look_there() {
    let number = |name| {
        let field = FieldDesc::quantised("n", FieldType::Quant32, 0.0, 1_000.0);
        ComponentDesc::packed(name, vec![field]).expect("a row")
    };
    let input = vec![FieldDesc::new("button", FieldType::U8)];
    let schema = RoomSchema::new(vec![number("count"), number("seen")], input).expect("schema");
    let past = RewindSpec { components: vec![COUNT], max: RewindSpec::MAX };
    let spec = RoomSpec { rewind: Some(past), ..RoomSpec::at_rate(20, Arc::new(schema)) };
    let types = RoomTypes::default().with(room_type("plain", spec, || Witness));
    let mut world = World::new(types, WIDE);
    let mut ann = world.join("plain", "ann");
    world.pass(STEP * 30);
    world.turn(&mut ann);
    let mut see = |seen: Moment| {
        ann.client.input_seeing(seen, &[1]).expect("a seat");
        world.turn(&mut ann);
        let newest = world.room().state().building().0 - 1;
        world.pass(STEP);
        world.turn(&mut ann);
        let entities = ann.client.seat().expect("a seat").replica.entities();
        let layout = entities.schema().layout(SEEN).expect("packed");
        let row = entities.row(SEEN, ann.entity()).expect("it acted");
        (f64::from(newest), layout.read(row, layout.field("n").expect("a field")))
    };
    let (newest, seen) = see(Moment::ZERO);
    assert!((seen - newest).abs() < 0.01, "who says nothing sees the newest: {seen}, {newest}");
    let (_, seen) = see(Moment(25 * 256 + 128));
    assert!((seen - 25.5).abs() < 0.01, "between two ticks: {seen}");
    let (newest, seen) = see(Moment(1));
    assert!((seen - (newest - 10.0)).abs() < 0.01, "no older than 500 ms: {seen}, {newest}");
    let (newest, seen) = see(Moment(u64::MAX));
    assert!((seen - newest).abs() < 0.01, "and no newer than there is: {seen}, {newest}");
}
