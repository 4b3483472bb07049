//! The TypeScript client in rooms of a real server, beside the client of `tickloom_protocol`.
//!
//! Both play for a while. The TypeScript one compares every hash that the server states; at the
//! end both must know the same: the hash of the room at the same ticks where it never rests, and
//! every value where it does. Node and `npm ci` in `protocol/ts` are needed; without them nobody
//! plays, unless `NODE_TESTS=required`.
#![expect(clippy::disallowed_methods, reason = "a program of somebody else's takes real time")]

mod companion;
mod node;
#[path = "../process/mod.rs"]
mod process;
mod stage;

use std::f64::consts::TAU;

use serde_json::{Value as Json, json};
use tickloom_protocol::changes::ChangesBuilder;
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client_message::{ClientMessage, Interest};
use tickloom_protocol::ids::{EntityId, MemberId};

use companion::Companion;
use stage::Stage;

/// Steers like somebody who runs in circles the other way round.
fn steer(companion: &mut Companion, step: u32, buttons: f64) {
    let angle = f64::from(step) / 9.0;
    let fields = [("move_x", angle.sin()), ("move_y", angle.cos()), ("aim", angle % TAU)];
    input(companion, fields.into_iter().chain([("buttons", buttons)]));
}

fn input(companion: &mut Companion, fields: impl IntoIterator<Item = (&'static str, f64)>) {
    let layout = companion.seat().replica.entities().schema().input();
    let mut row = vec![0; layout.row_bytes()];
    // A stick that nobody touches is in the middle of its range, which is not 0 on the wire.
    let still = ["move_x", "move_y"].map(|name| (name, 0.0));
    for (name, value) in still.into_iter().chain(fields) {
        layout.write(&mut row, layout.field(name).expect("games have it"), value);
    }
    companion.client.input(&row);
}

#[test]
fn in_a_game_both_clients_have_the_same_hash_at_the_same_tick() {
    let wish = json!({ "type": "arena", "room": "one", "play": "steer" });
    let Some(mut stage) = Stage::open("arena", "", &wish) else { return };
    stage.play(|companion, step| steer(companion, step, f64::from(step % 3 == 0)));
    let shown = stage.show();
    stage.assert_checked(&shown, |stream| stream <= 1);
    let theirs = shown["hashes"].as_object().expect("by tick");
    let hash_of = |tick: &str| stage.companion.hashes.get(&tick.parse().expect("a tick"));
    let both: Vec<_> =
        theirs.iter().filter_map(|(tick, hash)| Some((tick, hash, hash_of(tick)?))).collect();
    assert!(both.len() >= 20, "{} ticks that both were at", both.len());
    for (tick, theirs, ours) in both {
        assert_eq!(theirs, &json!(f64::from(*ours)), "at tick {tick}");
    }
}

#[test]
fn in_a_world_every_cell_in_view_proves_its_hash() {
    const HOME: f64 = 2.0;
    let wish = json!({ "type": "world", "room": "one", "play": "steer" });
    let Some(mut stage) = Stage::open("world", "", &wish) else { return };
    stage.play(|companion, step| steer(companion, step, f64::from(step % 40 == 0)));
    // Both come home, where they see each other, and stand still; from one leap to the next it
    // takes a second.
    stage.run(60, |companion, step| {
        input(companion, [("buttons", if step < 50 { HOME } else { 0.0 })]);
    });
    let own = stage.own();
    let shown = stage.settle(|values| {
        own.each_ref()
            .map(|entity| ["body", "look", "profile"].map(|name| values[name][&**entity].clone()))
    });
    stage.assert_checked(&shown, |stream| stream == 0 || stream >= 16);
}

#[test]
fn what_two_clients_share_is_the_same_for_both() {
    // As in a page whose policy forbids to compile.
    let wish = json!({ "type": "state", "room": "one", "play": "share", "compileRows": false });
    let Some(mut stage) = Stage::open("state", "", &wish) else { return };
    stage.play(|companion, step| {
        let entity = companion.seat().entity;
        let names = ["shared", "presence", "item", "layer"];
        let [shared, presence, item, layer] = names.map(|name| companion.component(name));
        let mut changes = ChangesBuilder::default();
        changes.prop(shared, EntityId::ROOM, "title", &Value::Str(format!("rust {step}").into()));
        changes.prop(presence, entity, "step", &Value::Num(f64::from(step)));
        if step % 10 == 0 {
            let added = changes.enter(MemberId::SERVER);
            changes.opaque(item, added, &step.to_le_bytes());
            changes.prop(layer, added, "order", &Value::Str("a0".into()));
            changes.prop(layer, added, "large", &Value::Int(i64::MIN + i64::from(step)));
        }
        companion.client.write(&changes);
    });
    let shown = stage.settle(Json::clone);
    stage.assert_checked(&shown, |stream| stream == 0);
    stage.assert_same_hash(&shown);
}

#[test]
fn what_is_said_is_heard_once_and_in_order_by_both() {
    let wish = json!({ "type": "relay", "room": "one", "play": "talk" });
    let Some(mut stage) = Stage::open("relay", "", &wish) else { return };
    let mut said = 0;
    stage.play(|companion, step| {
        let schema = companion.seat().replica.entities().schema();
        let signal = schema.topic("signal").expect("relays have it");
        companion.client.publish(signal, &[], format!("signal {step}").as_bytes());
        said += 1;
    });
    let shown = stage.settle(Json::clone);
    stage.assert_same_hash(&shown);
    let topics = ["chat", "danmaku", "quotes", "signal"];
    let heard = stage.companion.heard.iter().map(|(topic, from, text)| {
        let from = f64::from(*from);
        json!({ "topic": topics[usize::from(*topic)], "from": from, "text": text,
                "isHistory": false })
    });
    let theirs = shown["heard"].as_array().expect("a list");
    assert_eq!(theirs, &heard.collect::<Vec<Json>>());
    for (topic, count) in [("signal", said), ("chat", 20), ("danmaku", 20)] {
        let texts: Vec<&str> = theirs
            .iter()
            .filter(|event| event["topic"] == topic)
            .map(|event| event["text"].as_str().expect("a text"))
            .collect();
        assert!(texts.len() >= count, "{count} of {topic}: {texts:?}");
        let numbers = texts.iter().map(|text| text.split(' ').nth(1));
        let numbers: Vec<usize> =
            numbers.map(|number| number.expect("one").parse().expect("a number")).collect();
        assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{topic}: {numbers:?}");
    }
}

#[test]
fn whoever_comes_back_to_its_seat_has_missed_nothing() {
    let wish = json!({ "type": "relay", "room": "one", "play": "stumble" });
    let Some(mut stage) = Stage::open("resumed", "", &wish) else { return };
    let mut said = 0;
    stage.run(160, |companion, step| {
        let schema = companion.seat().replica.entities().schema();
        let signal = schema.topic("signal").expect("relays have it");
        companion.client.publish(signal, &[], format!("signal {step}").as_bytes());
        said += 1;
    });
    for _ in 0..2 {
        assert_eq!(stage.answer(), json!({ "recovered": true }));
    }
    let shown = stage.settle(Json::clone);
    stage.assert_same_hash(&shown);
    let stats = &shown["stats"];
    let back = [&stats["resumed"], &stats["recovered"], &stats["snapshots"]];
    assert_eq!(back, [2.0, 2.0, 1.0].map(|count| json!(count)).each_ref(), "{stats}");
    let from = f64::from(stage.companion.seat().member.0);
    let expected = (0..said)
        .map(|step| json!({ "topic": "signal", "from": from, "text": format!("signal {step}") }));
    assert_eq!(shown["heard"], expected.collect::<Json>());
}

#[test]
fn in_a_described_room_with_interest_both_see_the_same_place() {
    const FIELD: &str = r##"
        [rooms.field]
        entities = "members"
        flush = "30ms"
        topics = []
        [[rooms.field.components]]
        name = "place"
        kind = "packed"
        motion = true
        write = "members"
        fields = [
          { name = "x", type = "quant16", min = -1024, max = 1024 },
          { name = "y", type = "quant24", min = -1024, max = 1024 },
        ]
        [[rooms.field.components]]
        name = "label"
        kind = "props"
        write = "members"
        [rooms.field.interest]
        component = "place"
        cell_size = 64
        rings = [{ distance = 2, every = 1 }, { distance = 4, every = 2 }, { distance = 9, every = 4 }]
        cameras = "free"
    "##;
    let wish = json!({ "type": "field", "room": "one", "play": "scatter" });
    let Some(mut stage) = Stage::open("field", FIELD, &wish) else { return };
    stage.play(|companion, step| {
        let entities = companion.seat().replica.entities();
        let place = companion.component("place");
        let layout = entities.schema().layout(place).expect("it is packed");
        let mut row = vec![0; layout.row_bytes()];
        let angle = f64::from(step) / 20.0;
        for (name, value) in [("x", 300.0 * angle.sin()), ("y", 300.0 * angle.cos())] {
            layout.write(&mut row, layout.field(name).expect("it has it"), value);
        }
        let mut changes = ChangesBuilder::default();
        changes.row(place, companion.seat().entity, &row);
        companion.client.write(&changes);
    });
    for place in [1_000.0, 0.0] {
        let interest = Interest::At { x: place, y: place };
        stage.companion.client.send(ClientMessage::Interest(interest));
        stage.run(12, |_, _| {});
    }
    let shown = stage.settle(Json::clone);
    stage.assert_checked(&shown, |stream| stream == 0 || stream >= 16);
    let seen = shown["values"]["place"].as_object().expect("places").len();
    assert!((3..32).contains(&seen), "{seen} of 32 are in view");
}
