//! A room too large to send whole: members walk, leap, crowd, hide and change sides, strangers come
//! and go, and everybody is sent what is around its body or its camera.

use std::sync::Arc;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldId, FieldType, Interest, Ring, RoomSchema,
};
use tickloom_server::room::logic::{
    Allowed, Cadence, Cameras, Context, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType,
};
use tickloom_server::room::sight::SightLimits;
use tickloom_server::room::state::TeamId;

use crate::fuse::Fuse;

const BODY: ComponentId = ComponentId(0);
const HEALTH: ComponentId = ComponentId(1);
const NOTES: ComponentId = ComponentId(2);
const SECRET: ComponentId = ComponentId(3);
const PLAN: ComponentId = ComponentId(4);

/// Half of the side of the meadow: 8 x 8 cells.
pub const EXTENT: f64 = 64.0;
const CELL_SIZE: f32 = 16.0;

/// Entities the room itself keeps at most.
const STRANGERS_MAX: usize = 40;

pub struct Meadow {
    schema: Arc<RoomSchema>,
}

impl Meadow {
    pub fn new() -> Self {
        let axis = |name| FieldDesc::quantised(name, FieldType::Quant16, -EXTENT, EXTENT);
        let number = |name| vec![FieldDesc::new(name, FieldType::U16)];
        let components = vec![
            ComponentDesc::packed("body", vec![axis("x"), axis("y")]).expect("layout").as_motion(),
            ComponentDesc::packed("health", number("hp")).expect("layout"),
            ComponentDesc::props("notes"),
            ComponentDesc::packed("secret", number("of")).expect("layout").for_owner(),
            ComponentDesc::packed("plan", number("of")).expect("layout").for_team(),
        ];
        let input = ["act", "x", "y"].map(|name| FieldDesc::new(name, FieldType::U8));
        let ring = |distance, every| Ring { distance, every };
        let interest = Interest {
            component: BODY,
            axes: [FieldId(0), FieldId(1)],
            cell_size: CELL_SIZE,
            rings: vec![ring(0, 1), ring(1, 2), ring(2, 4)],
        };
        let schema = RoomSchema::new(components, input.into())
            .and_then(|schema| schema.with_interest(interest));
        Self { schema: Arc::new(schema.expect("schema")) }
    }
}

impl RoomType for Meadow {
    fn name(&self) -> &str {
        "meadow"
    }

    fn spec(&self) -> RoomSpec {
        RoomSpec {
            cadence: Cadence::Fixed { tick_rate_hz: 40, send_every: 2 },
            members_max: 6,
            spectators_max: 3,
            entities_max: 64,
            cameras: Cameras::Free,
            // Few enough that a leap takes several states, and that a crowd shrinks the rings.
            sight: SightLimits { new_cells_max: 4, bytes_per_second_max: 4_000.try_into().ok() },
            ..RoomSpec::at_rate(40, Arc::clone(&self.schema))
        }
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(MeadowLogic::default())
    }
}

#[derive(Default)]
struct MeadowLogic {
    strangers: Vec<EntityId>,
    fuse: Fuse,
}

impl RoomLogic for MeadowLogic {
    fn save(&self, output: &mut Vec<u8>) {
        output.extend(format!("{:?} {:?}", self.strangers, self.fuse).bytes());
    }

    fn on_create(&mut self, room: &mut Context<'_>) {
        self.fuse = Fuse::lay(room.rng());
        (0..STRANGERS_MAX / 2).for_each(|_| self.spawn(room));
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Allowed {
        let Joiner { member, entity, .. } = *joiner;
        let place = somewhere(room.rng());
        let number = f64::from(member.0);
        let state = room.state_mut();
        state.set_numbers(BODY, entity, &place);
        state.set_numbers(SECRET, entity, &[number]);
        state.set_numbers(PLAN, entity, &[number]);
        state.set_team(member, Some(TeamId(member.0 % 2)));
        Ok(())
    }

    fn on_input(&mut self, room: &mut Context<'_>, member: MemberId, row: &[u8], from: Freshness) {
        let Some(entity) = room.entity_of(member) else { return };
        let [act, x, y] = room.input(row);
        let wish = [x, y].map(|axis| (axis - 127.0) / 2.0);
        match (act as u8 % 32, from) {
            (0 | 1, Freshness::Fresh) => room.state_mut().set_numbers(BODY, entity, &wish),
            // Everybody meets here.
            (2 | 3, Freshness::Fresh) => room.state_mut().set_numbers(BODY, entity, &[1.0, 1.0]),
            (4, Freshness::Fresh) => room.state_mut().remove_value(BODY, entity),
            (5, Freshness::Fresh) => {
                let team = [None, Some(TeamId(0)), Some(TeamId(1))][x as usize % 3];
                room.state_mut().set_team(member, team);
            }
            (6, Freshness::Fresh) => room.state_mut().set_numbers(SECRET, entity, &[x]),
            (7, Freshness::Fresh) => room.state_mut().set_numbers(PLAN, entity, &[x]),
            (8, Freshness::Fresh) => drop(room.state_mut().spawn(member)),
            _ => walk(room, entity, wish.map(|axis| axis / 32.0)),
        }
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        self.fuse.burn();
        for at in 0..self.strangers.len() {
            // Some stand for a while.
            if room.rng().u8(0..3) == 0 {
                let step = [(); 2].map(|()| room.rng().f64() * 6.0 - 3.0);
                walk(room, self.strangers[at], step);
            }
        }
        if room.rng().u8(0..4) == 0 {
            self.change(room);
        }
        // Some have nothing to do now and then.
        if room.rng().u8(0..100) == 0 { Next::Sleep } else { Next::Tick }
    }

    fn on_leave(&mut self, _: &mut Context<'_>, _: MemberId) {
        self.fuse.shake();
    }
}

impl MeadowLogic {
    fn spawn(&mut self, room: &mut Context<'_>) {
        let Some(entity) = room.state_mut().spawn(MemberId::SERVER) else { return };
        let place = somewhere(room.rng());
        room.state_mut().set_numbers(BODY, entity, &place);
        self.strangers.push(entity);
    }

    fn change(&mut self, room: &mut Context<'_>) {
        let number = room.rng().u16(..);
        let at = room.rng().usize(0..self.strangers.len().max(1));
        let stranger = self.strangers.get(at).copied().unwrap_or(EntityId::ROOM);
        match number % 8 {
            0 if self.strangers.len() < STRANGERS_MAX => self.spawn(room),
            1 if !self.strangers.is_empty() => {
                room.state_mut().despawn(self.strangers.swap_remove(at));
            }
            2 | 3 => room.state_mut().set_numbers(HEALTH, stranger, &[f64::from(number)]),
            4 => room.state_mut().remove_value(HEALTH, stranger),
            5 => {
                let value = Value::Int(i64::from(number));
                room.state_mut().set_prop(NOTES, stranger, "n", value);
            }
            6 => {
                room.state_mut().set_prop(NOTES, stranger, "n", Value::Nil);
            }
            _ if stranger != EntityId::ROOM => {
                let place = somewhere(room.rng());
                room.state_mut().set_numbers(BODY, stranger, &place);
            }
            _ => {}
        }
    }
}

fn walk(room: &mut Context<'_>, entity: EntityId, [x, y]: [f64; 2]) {
    if let Some([at_x, at_y]) = room.state().numbers(BODY, entity) {
        room.state_mut().set_numbers(BODY, entity, &[at_x + x, at_y + y]);
    }
}

fn somewhere(rng: &mut fastrand::Rng) -> [f64; 2] {
    [(); 2].map(|()| (rng.f64() * 2.0 - 1.0) * EXTENT)
}
