//! How members come to rooms and leave them: modes of joining, codes, rooms that are found, locks,
//! passwords, hosts, reserved seats.

#[path = "../harness/mod.rs"]
mod harness;

mod cameras;
mod crowd;
mod elsewhere;
mod hosting;
mod joining;
mod late;
mod seats;
mod spectating;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::client::ClientEvent;
use tickloom_protocol::client_message::Join;
use tickloom_protocol::schema::RoomSchema;
use tickloom_protocol::server_message::RefusalCode;
use tickloom_server::properties::Properties;
use tickloom_server::room::logic::{Context, Denial, Joiner, Next, RoomLogic, RoomSpec, room_type};
use tickloom_server::rooms::RoomTypes;

use harness::{Peer, WIDE, World};

/// Rooms that tick at 20 Hz, and what they do when they are told to.
#[derive(Default)]
struct Duel {
    ticks: u32,
    /// What the first member sent along.
    orders: Vec<u8>,
}

impl RoomLogic for Duel {
    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        match joiner.options {
            b"not me" => return Err(Denial::new("as you wish")),
            b"lock" => room.set_locked(true),
            orders => self.orders = orders.to_vec(),
        }
        Ok(())
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        self.ticks += 1;
        if self.orders == b"kick at tick 3" && self.ticks == 3 {
            for member in room.members().collect::<Vec<_>>() {
                room.kick(member, "the match is over");
            }
        }
        Next::Tick
    }
}

/// Two seats, listed.
fn duel_spec() -> RoomSpec {
    let schema = RoomSchema::new(vec![], vec![]).expect("schema");
    RoomSpec { members_max: 2, entities_max: 8, ..RoomSpec::at_rate(20, schema) }
}

fn room_types() -> RoomTypes {
    RoomTypes::default().with(room_type("duel", duel_spec(), Duel::default))
}

fn world() -> World {
    World::new(room_types(), WIDE)
}

/// A join of a duel of this name.
fn duel(room: &str) -> Join<'_> {
    Join { room_type: "duel", room, name: "x", ..Join::default() }
}

/// Properties as they travel.
fn properties(rows: &[(&str, Value)]) -> Vec<u8> {
    let mut properties = Properties::default();
    for (key, value) in rows {
        properties.insert(key, value.clone()).expect("a property");
    }
    properties.bytes()
}

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

/// Asks for a seat: which room it is in, if the server says so, or why there is none.
fn ask(world: &mut World, peer: &mut Peer, join: Join<'_>) -> Result<String, RefusalCode> {
    peer.events.clear();
    peer.client.join(join);
    world.turn(peer);
    let answer = peer.events.iter().find_map(|event| match event {
        ClientEvent::Joined => Some(Ok(())),
        ClientEvent::Refused { code, .. } => Some(Err(*code)),
        _ => None,
    });
    let seat = || peer.client.seat().expect("a seat");
    answer.expect("an answer").map(|()| seat().room.to_string())
}

/// Joins over a connection of its own, which stays.
fn enter(world: &mut World, join: Join<'_>) -> Result<(Peer, String), RefusalCode> {
    let mut peer = world.connect();
    let room = ask(world, &mut peer, join)?;
    Ok((peer, room))
}

/// Why a join is refused.
fn refusal(world: &mut World, join: Join<'_>) -> RefusalCode {
    enter(world, join).map(|(_, room)| room).expect_err("a refusal")
}
