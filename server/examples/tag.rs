//! Tag: one player is it, and whoever it touches is it next. Being somebody else scores.
//! `cargo run --release -p tickloom-server --example tag` serves the room type `tag`.

use signal_hook::{consts::SIGINT, iterator::Signals};
use tickloom_server::prelude::*;

/// A component's id is its position in the schema: `x` and `y` in metres; for how many `seconds` a
/// player was not it; and, on the room itself, who is `it`.
const PLACE: ComponentId = ComponentId(0);
const SCORE: ComponentId = ComponentId(1);
const GAME: ComponentId = ComponentId(2);
const FIELD_METRES: f64 = 40.0;
const SPEED_MPS: f64 = 5.0;
const REACH_METRES: f64 = 1.0;
const PAUSE_SECONDS: f64 = 2.0;

#[derive(Debug, Default)]
struct Tag {
    it: Option<EntityId>,
    pause: f64,
}

impl RoomLogic for Tag {
    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Allowed {
        let place = [room.rng().f64() * FIELD_METRES, room.rng().f64() * FIELD_METRES];
        room.state_mut().set_numbers(PLACE, joiner.entity, &place);
        Ok(())
    }

    fn on_input(&mut self, room: &mut Context<'_>, member: MemberId, row: &[u8], _: Freshness) {
        let Some(entity) = room.entity_of(member) else { return };
        let Some([x, y]) = room.state().numbers(PLACE, entity) else { return };
        let [right, up] = room.input(row);
        let step = SPEED_MPS * f64::from(room.tick_seconds()) / f64::hypot(right, up).max(1.0);
        room.state_mut().set_numbers(PLACE, entity, &[x + right * step, y + up * step]);
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        let seconds = f64::from(room.tick_seconds());
        self.pause -= seconds;
        let players: Vec<EntityId> = room.members().filter_map(|id| room.entity_of(id)).collect();
        // Somebody begins, also when whoever was it has left.
        let it = self.it.filter(|it| players.contains(it)).or(players.first().copied());
        let [x, y] = it.and_then(|it| room.state().numbers(PLACE, it)).unwrap_or_default();
        self.it = it;
        for player in players.into_iter().filter(|player| Some(*player) != it) {
            let [free] = room.state().numbers(SCORE, player).unwrap_or_default();
            room.state_mut().set_numbers(SCORE, player, &[free + seconds]);
            let [px, py] = room.state().numbers(PLACE, player).unwrap_or_default();
            if self.pause <= 0.0 && f64::hypot(px - x, py - y) < REACH_METRES {
                (self.it, self.pause) = (Some(player), PAUSE_SECONDS);
            }
        }
        let it = self.it.map_or(Value::Nil, Value::Entity);
        room.state_mut().set_prop(GAME, EntityId::ROOM, "it", it);
        Next::Tick
    }

    // For recordings: what the state does not show.
    fn save(&self, output: &mut Vec<u8>) {
        output.extend(format!("{self:?}").bytes());
    }
}

/// What clients read and write, twenty times a second.
pub fn tag() -> Result<impl RoomType, SchemaError> {
    let metres = |name| FieldDesc::quantised(name, FieldType::Quant16, 0.0, FIELD_METRES);
    let stick = |name| FieldDesc::quantised(name, FieldType::Quant8, -1.0, 1.0);
    let place = ComponentDesc::packed("place", vec![metres("x"), metres("y")])?;
    let score = ComponentDesc::packed("score", vec![FieldDesc::new("seconds", FieldType::F32)])?;
    let components = vec![place, score, ComponentDesc::props("game")];
    let schema = RoomSchema::new(components, vec![stick("right"), stick("up")])?;
    Ok(room_type("tag", RoomSpec::at_rate(20, schema), Tag::default))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut signals = Signals::new([SIGINT])?;
    let server = serve(&Config::loopback(), &RoomTypes::default().with(tag()?))?;
    println!("ws://{}/ws, room type `tag`; Ctrl-C ends it", server.address());
    signals.forever().next();
    server.stopper().stop();
    server.join()?;
    Ok(())
}
