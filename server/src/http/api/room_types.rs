//! `GET /api/room-types`: which rooms there may be, for programs that know none of them.
//!
//! Components, topics and interest are told with the keys and words of a description, so that
//! what is read here can be changed and, where joiners may describe rooms, sent back in `Join`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value as Json, json};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, Interest, Kind, RoomSchema, RowLayout, Scope, TopicDesc,
};

use crate::config::units::Size;
use crate::config::value::{Value, word_for};
use crate::http::routes::{Site, headed};
use crate::room::logic::{Cadence, RoomType};
use crate::rooms::RoomTypes;

/// Tells what was made once when the server started.
pub(in crate::http) async fn list_room_types(State(site): State<Arc<Site>>) -> Response {
    headed(StatusCode::OK, "application/json", site.room_types().to_owned())
}

/// All types, as JSON. As long as the configuration and the code make it: no client adds to it.
pub(in crate::http) fn describe_room_types(room_types: &RoomTypes) -> String {
    let room_types: Vec<Json> =
        room_types.by_name().into_values().map(|room_type| describe(&**room_type)).collect();
    format!("{}\n", json!({ "room_types": room_types }))
}

fn describe(room_type: &dyn RoomType) -> Json {
    let spec = room_type.spec();
    let schema = &*spec.schema;
    let mut about = json!({
        "name": room_type.name(),
        "describe": if room_type.is_described_by_joiners() { "joiner" } else { "server" },
        "members_max": spec.members_max,
        "spectators_max": spec.spectators_max,
        "listed": spec.is_listed,
        "entities": word_for(schema.entities_by()),
        "components": schema.components().iter().map(component).collect::<Vec<Json>>(),
        "input": row(schema.input()),
        "topics": schema.topics().iter().map(topic).collect::<Vec<Json>>(),
    });
    match spec.cadence {
        Cadence::Fixed { tick_rate_hz, send_every } => {
            about["tick_rate"] = tick_rate_hz.into();
            about["send_every"] = send_every.into();
        }
        Cadence::OnChange { interval } => {
            about["flush"] = with_unit(&interval);
        }
    }
    if let Some(interest) =
        schema.interest().and_then(|interest| describe_interest(schema, interest))
    {
        about["interest"] = interest;
        about["interest"]["cameras"] = word_for(spec.cameras).into();
    }
    about
}

fn component(desc: &ComponentDesc) -> Json {
    let mut about = json!({
        "name": desc.name,
        "scope": match desc.scope {
            Scope::Room => "room",
            Scope::Owner => "owner",
            Scope::Team => "team",
        },
        "write": word_for(desc.write),
    });
    match &desc.kind {
        Kind::Packed(layout) => {
            about["kind"] = "packed".into();
            about["fields"] = row(layout);
            about["motion"] = desc.motion.into();
        }
        Kind::Opaque { content_type, value_bytes_max } => {
            about["kind"] = "opaque".into();
            about["content_type"] = (&**content_type).into();
            about["value_bytes_max"] = with_unit(&Size(*value_bytes_max));
        }
        Kind::Props => {
            about["kind"] = "props".into();
            about["tree"] = desc.tree.into();
        }
    }
    about
}

fn row(layout: &RowLayout) -> Json {
    layout.fields().map(field).collect()
}

fn field(desc: &FieldDesc) -> Json {
    let mut about = Map::new();
    about.insert("name".into(), (&*desc.name).into());
    about.insert("type".into(), word_for(desc.field_type).into());
    about.insert("interpolation".into(), word_for(desc.interpolation).into());
    if desc.field_type.is_quantised() {
        about.insert("min".into(), desc.min.into());
        about.insert("max".into(), desc.max.into());
        about.insert("mode".into(), word_for(desc.mode).into());
    }
    about.into()
}

fn topic(desc: &TopicDesc) -> Json {
    json!({ "name": desc.name, "publish": word_for(desc.publish), "history": desc.history })
}

/// A size or a time as people write it.
fn with_unit(value: &impl Value) -> Json {
    value.show().trim_matches('"').into()
}

/// Names instead of positions. `None` only for what no schema can hold.
fn describe_interest(schema: &RoomSchema, interest: &Interest) -> Option<Json> {
    let layout = schema.layout(interest.component)?;
    let name = |axis: usize| {
        let at = usize::from(interest.axes[axis].0);
        layout.fields().nth(at).map(|field| field.name.clone())
    };
    let rings = interest.rings.iter();
    let rings = rings.map(|ring| json!({ "distance": ring.distance, "every": ring.every }));
    Some(json!({
        "component": schema.components()[interest.component.index()].name,
        "x": name(0)?,
        "y": name(1)?,
        "cell_size": interest.cell_size,
        "rings": rings.collect::<Vec<Json>>(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::room::description::OWN_COMPONENTS;
    use crate::room::logic::{RoomLogic, RoomSpec, room_type};
    use crate::rooms::built_in_types;

    fn all() -> Vec<Json> {
        let text = describe_room_types(&built_in_types(&Config::loopback()));
        let answer: Json = serde_json::from_str(&text).expect("JSON");
        answer["room_types"].as_array().expect("a list").clone()
    }

    fn of(name: &str) -> Json {
        all().into_iter().find(|about| about["name"] == *name).expect("it is offered")
    }

    #[test]
    fn every_type_is_told_once_and_in_order() {
        let names: Vec<Json> = all().into_iter().map(|about| about["name"].clone()).collect();
        assert_eq!(names, ["arena", "relay", "state", "world"]);
    }

    #[test]
    fn of_two_types_with_one_name_the_later_one_is_told() {
        struct Mine;
        impl RoomLogic for Mine {}
        let schema = RoomSchema::new(vec![], vec![]).expect("a schema");
        let mine = room_type("arena", RoomSpec::at_rate(60, schema), || Mine);
        let text = describe_room_types(&built_in_types(&Config::loopback()).with(mine));
        let answer: Json = serde_json::from_str(&text).expect("JSON");
        let arenas = answer["room_types"].as_array().expect("a list").iter();
        let rates: Vec<&Json> = arenas
            .filter(|about| about["name"] == "arena")
            .map(|about| &about["tick_rate"])
            .collect();
        assert_eq!(rates, [60]);
    }

    #[test]
    fn what_a_game_is_made_of_is_told_as_descriptions_say_it() {
        let arena = of("arena");
        for (path, expected) in [
            ("/describe", json!("server")),
            ("/tick_rate", json!(20)),
            ("/send_every", json!(1)),
            ("/flush", Json::Null),
            ("/interest", Json::Null),
            ("/entities", json!("server")),
            ("/topics", json!([])),
            (
                "/components/0/fields/0",
                json!({ "name": "x", "type": "quant16", "min": -1024.0, "max": 1024.0,
                        "mode": "clamp", "interpolation": "linear" }),
            ),
            (
                "/components/1/fields/0",
                json!({ "name": "kind", "type": "u8", "interpolation": "step" }),
            ),
            (
                "/components/3",
                json!({ "name": "profile", "kind": "props", "scope": "room",
                                      "write": "server", "tree": false }),
            ),
            ("/components/4/scope", json!("owner")),
            ("/components/5/content_type", json!("application/x-tickloom-arena-map")),
            ("/input/3/name", json!("buttons")),
        ] {
            assert_eq!(arena.pointer(path).unwrap_or(&Json::Null), &expected, "{path}");
        }
        let world = of("world");
        assert_eq!(
            world["interest"],
            json!({ "component": "body", "x": "x", "y": "y", "cell_size": 64.0, "cameras": "own",
                    "rings": [{ "distance": 1, "every": 1 }, { "distance": 2, "every": 2 },
                              { "distance": 4, "every": 4 }] })
        );
        assert_eq!(world.pointer("/components/0/motion"), Some(&json!(true)));
        let topics: Vec<Json> = of("relay")["topics"].as_array().expect("a list").to_vec();
        assert_eq!(topics[0], json!({ "name": "chat", "publish": "members", "history": true }));
        assert_eq!(topics[2], json!({ "name": "quotes", "publish": "host", "history": false }));
    }

    #[test]
    fn what_is_told_of_a_room_describes_the_same_room_again() {
        let room_types = built_in_types(&Config::loopback());
        for name in ["state", "relay"] {
            let told = of(name);
            assert_eq!(told["describe"], "joiner", "{name}");
            let own = |desc: &&Json| OWN_COMPONENTS.iter().any(|own| desc["name"] == *own);
            let components = told["components"].as_array().expect("a list").iter();
            let components: Vec<&Json> = components.filter(|desc| !own(desc)).collect();
            let options = json!({
                "components": components,
                "topics": told["topics"],
                "entities": told["entities"],
                "flush": told["flush"],
            });
            let room_type = room_types.get(name).expect("it is offered");
            let again = room_type.spec_for(options.to_string().as_bytes());
            let again = again.unwrap_or_else(|denial| panic!("{name}: {}", denial.message));
            assert_eq!(again.schema, room_type.spec().schema, "{name}");
            assert_eq!(again.cadence, room_type.spec().cadence, "{name}");
        }
    }
}
