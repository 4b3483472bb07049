//! The client of `tickloom_protocol` in the same room: what it knows, the other one must know.
#![expect(clippy::disallowed_types, reason = "it is on a real socket")]

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::{Client, ClientEvent, Seat};
use tickloom_protocol::client_message::Join;
use tickloom_protocol::entities::{Entities, View};
use tickloom_protocol::ids::{ComponentId, EntityId};
use tickloom_protocol::schema::{ComponentDesc, FieldType, Kind, RowLayout, Scope};

/// How long one look for bytes takes when there are none.
const LOOK: Duration = Duration::from_millis(5);

pub struct Companion {
    stream: TcpStream,
    pub client: Client,
    /// The hash of the room stream after each tick that was the last of some bytes.
    pub hashes: BTreeMap<u32, u32>,
    /// What was said: topic, sender, text.
    pub heard: Vec<(u16, u16, String)>,
}

impl Companion {
    /// Takes a seat.
    pub fn join(server: SocketAddr, room_type: &str, room: &str) -> Self {
        let stream = TcpStream::connect(server).expect("the server listens");
        stream.set_read_timeout(Some(LOOK)).expect("a timeout");
        let client = Client::connect("localhost", "/ws", [7; 16]);
        let (hashes, heard) = (BTreeMap::new(), Vec::new());
        let mut companion = Self { stream, client, hashes, heard };
        companion.pump_until(|event| matches!(event, ClientEvent::Upgraded));
        companion.client.join(Join { room_type, room, name: "rust", ..Join::default() });
        companion.pump_until(|event| matches!(event, ClientEvent::Applied { .. }));
        companion
    }

    /// Sends what waits, and takes what has come.
    pub fn pump(&mut self) -> Vec<ClientEvent> {
        self.stream.write_all(&self.client.take_output()).expect("sent");
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => panic!("the server closed without a word"),
            Ok(length) => self.client.handle_bytes(&buffer[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
        let events: Vec<ClientEvent> = std::iter::from_fn(|| self.client.poll_event()).collect();
        for event in &events {
            match event {
                ClientEvent::Applied { events, .. } => {
                    let said = events.iter().map(|event| {
                        let text = String::from_utf8_lossy(&event.body).into_owned();
                        (event.topic.0, event.from.0, text)
                    });
                    self.heard.extend(said);
                }
                ClientEvent::Broken(_) | ClientEvent::Refused { .. } | ClientEvent::Closed(_) => {
                    panic!("{event:?}")
                }
                _ => {}
            }
        }
        if let Some(seat) = self.client.seat() {
            let tick = seat.replica.tick().0;
            let hash = seat.replica.entities().hash(View::Room, &mut Vec::new());
            self.hashes.insert(tick, hash);
        }
        events
    }

    fn pump_until(&mut self, wanted: impl Fn(&ClientEvent) -> bool) {
        while !self.pump().iter().any(&wanted) {}
    }

    pub fn seat(&self) -> &Seat {
        self.client.seat().expect("it has joined")
    }

    pub fn component(&self, name: &str) -> ComponentId {
        let schema = self.seat().replica.entities().schema();
        schema.component(name).unwrap_or_else(|| panic!("a component `{name}`"))
    }

    /// What everybody in view sees: owners and values by component and entity, as the program
    /// tells them.
    pub fn values(&self) -> Json {
        let entities = self.seat().replica.entities();
        let owners = entities.ids().map(|entity| {
            let owner = entities.owner(entity).map_or(0, |owner| owner.0);
            (entity.0.to_string(), json!(f64::from(owner)))
        });
        let mut values = Map::new();
        values.insert("entities".into(), Json::Object(owners.collect()));
        for (index, desc) in entities.schema().components().iter().enumerate() {
            if desc.scope == Scope::Room {
                let id = ComponentId(index as u8);
                let table = entities.ids().filter_map(|entity| {
                    Some((entity.0.to_string(), value_of(entities, desc, id, entity)?))
                });
                values.insert(desc.name.to_string(), Json::Object(table.collect()));
            }
        }
        Json::Object(values)
    }
}

fn value_of(
    entities: &Entities,
    desc: &ComponentDesc,
    component: ComponentId,
    entity: EntityId,
) -> Option<Json> {
    match &desc.kind {
        Kind::Packed(layout) => Some(row_of(layout, entities.row(component, entity)?)),
        Kind::Opaque { content_type, .. } => {
            let bytes = entities.opaque(component, entity)?;
            let is_text = content_type.starts_with("text/");
            let text = is_text.then(|| json!(String::from_utf8_lossy(bytes)));
            Some(text.unwrap_or_else(|| hex(bytes)))
        }
        Kind::Props => {
            let props = entities.props(component, entity)?;
            Some(Json::Object(
                props.iter().map(|(key, value)| (key.to_string(), property(value))).collect(),
            ))
        }
    }
}

fn row_of(layout: &RowLayout, row: &[u8]) -> Json {
    let field = |field: &tickloom_protocol::schema::FieldDesc| {
        let id = layout.field(&field.name).expect("one of its own");
        let value = layout.read(row, id);
        let is_truth = field.field_type == FieldType::Bool;
        (field.name.to_string(), if is_truth { json!(value != 0.0) } else { json!(value) })
    };
    Json::Object(layout.fields().map(field).collect())
}

/// Whole numbers that are no exact floats have a type of their own there.
fn property(value: &Value) -> Json {
    const EXACT_MAX: u64 = (1 << 53) - 1;
    match value {
        Value::Bool(value) => json!(value),
        Value::Int(value) if value.unsigned_abs() <= EXACT_MAX => json!(*value as f64),
        Value::Int(value) => json!({ "int": value.to_string() }),
        Value::Num(value) => json!(value),
        Value::Str(value) => json!(value.as_str()),
        Value::Bytes(value) => hex(value),
        Value::Entity(entity) => json!({ "entity": f64::from(entity.0) }),
        Value::Nil => panic!("a key without a value is not there"),
    }
}

fn hex(bytes: &[u8]) -> Json {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "hex": digits })
}
