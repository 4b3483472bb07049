//! A room type that changes everything that can change, at random.

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::chunks::Value;
use tickloom_protocol::ids::{ComponentId, EntityId, MemberId};
use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema};
use tickloom_server::room::logic::{
    Cadence, Compression, Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType,
};

use crate::fuse::Fuse;

const BODY: ComponentId = ComponentId(0);
const NOTE: ComponentId = ComponentId(1);
const PROFILE: ComponentId = ComponentId(2);
const HAND: ComponentId = ComponentId(3);
const SECRET: ComponentId = ComponentId(4);

/// Entities the room itself keeps at most.
const CRITTERS_MAX: usize = 40;

pub struct Chaos {
    schema: Arc<RoomSchema>,
}

impl Chaos {
    pub fn new() -> Self {
        let body = vec![
            FieldDesc::quantised("x", FieldType::Quant16, -100.0, 100.0),
            FieldDesc::new("hp", FieldType::U8),
        ];
        let hand = vec![FieldDesc::new("card", FieldType::U32)];
        let components = vec![
            ComponentDesc::packed("body", body).expect("layout"),
            ComponentDesc::opaque("note", "text/plain", 64),
            ComponentDesc::props("profile"),
            ComponentDesc::packed("hand", hand).expect("layout").for_owner(),
            ComponentDesc::props("secret").for_owner(),
        ];
        let input = vec![FieldDesc::new("x", FieldType::U8)];
        Self { schema: Arc::new(RoomSchema::new(components, input).expect("schema")) }
    }
}

impl RoomType for Chaos {
    fn name(&self) -> &str {
        "chaos"
    }

    fn spec(&self) -> RoomSpec {
        RoomSpec {
            cadence: Cadence::Fixed { tick_rate_hz: 60, send_every: 2 },
            members_max: 6,
            entities_max: 64,
            spectators_max: 3,
            // Rows are packed, and most frames differ: it is here for what it does to windows.
            compression: Compression::On,
            ..RoomSpec::at_rate(60, Arc::clone(&self.schema))
        }
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(ChaosLogic::default())
    }
}

#[derive(Default)]
struct ChaosLogic {
    critters: Vec<EntityId>,
    ticks_left: Option<u32>,
    fuse: Fuse,
}

impl ChaosLogic {
    fn change(&mut self, room: &mut Context<'_>, entity: EntityId) {
        let number = room.rng().u32(..);
        let component = ComponentId(room.rng().u8(0..5));
        let key = ["a", "b", "c", "d"][room.rng().usize(0..4)];
        let state = room.state_mut();
        match (component, number % 8) {
            (component, 0) => state.remove_value(component, entity),
            (BODY, _) => {
                let x = f64::from(number % 1000) / 5.0 - 100.0;
                state.set_numbers(BODY, entity, &[x, f64::from(number % 5)]);
            }
            (NOTE, _) => {
                let note = number.to_string();
                state.set_opaque(NOTE, entity, note.as_bytes());
            }
            (HAND, _) => state.set_row(HAND, entity, &number.to_le_bytes()),
            (PROFILE | SECRET, 1) => {
                state.set_prop(component, entity, key, Value::Nil);
            }
            (PROFILE | SECRET, 2) => {
                state.set_prop(component, entity, key, Value::Str(number.to_string().into()));
            }
            (_, _) => {
                state.set_prop(PROFILE, entity, key, Value::Int(i64::from(number) - 7));
            }
        }
    }
}

impl RoomLogic for ChaosLogic {
    fn save(&self, output: &mut Vec<u8>) {
        output.extend(format!("{:?} {:?} {:?}", self.critters, self.ticks_left, self.fuse).bytes());
    }

    fn on_create(&mut self, room: &mut Context<'_>) {
        self.fuse = Fuse::lay(room.rng());
        // Some rooms end by themselves.
        self.ticks_left = (room.rng().u8(0..3) == 0).then(|| room.rng().u32(60..200));
    }

    fn on_join(&mut self, room: &mut Context<'_>, joiner: &Joiner<'_>) -> Result<(), Denial> {
        if joiner.name == "denied" {
            return Err(Denial { message: "not you".to_owned() });
        }
        let card = room.rng().u32(..);
        room.state_mut().set_row(HAND, joiner.entity, &card.to_le_bytes());
        Ok(())
    }

    fn on_input(
        &mut self,
        room: &mut Context<'_>,
        member: MemberId,
        row: &[u8],
        freshness: Freshness,
    ) {
        let Some(entity) = room.entity_of(member) else { return };
        if freshness == Freshness::Fresh {
            let x = f64::from(row[0]) - 100.0;
            room.state_mut().set_numbers(BODY, entity, &[x, 1.0]);
        }
    }

    fn on_tick(&mut self, room: &mut Context<'_>) -> Next {
        self.fuse.burn();
        for _ in 0..room.rng().usize(0..6) {
            if self.critters.len() < CRITTERS_MAX && room.rng().bool() {
                self.critters.extend(room.state_mut().spawn(MemberId::SERVER));
            } else if !self.critters.is_empty() {
                let victim = room.rng().usize(0..self.critters.len());
                let victim = self.critters.swap_remove(victim);
                room.state_mut().despawn(victim);
            }
        }
        for _ in 0..room.rng().usize(0..12) {
            let members: Vec<_> = room.members().collect();
            let own = members.iter().filter_map(|member| room.entity_of(*member));
            let all: Vec<_> =
                own.chain(self.critters.iter().copied()).chain([EntityId::ROOM]).collect();
            let entity = all[room.rng().usize(0..all.len())];
            self.change(room, entity);
        }
        let first = room.members().next();
        if let Some(member) = first.filter(|_| room.rng().u16(0..2_000) == 0) {
            room.kick(member, "by chance");
        }
        match &mut self.ticks_left {
            Some(0) => Next::Close,
            Some(ticks) => {
                *ticks -= 1;
                Next::Tick
            }
            // Some have nothing to do now and then.
            None => match room.rng().u8(0..40) {
                0 => Next::Sleep,
                1 => Next::WakeIn(Duration::from_millis(room.rng().u64(1..400))),
                _ => Next::Tick,
            },
        }
    }
}
