//! What members do to a room and to each other, on a shard without sockets: writes, trees, events,
//! rooms without a rate, described rooms, and what all that may cost.

#[path = "../harness/mod.rs"]
mod harness;

mod acks;
mod budget;
mod described;
mod events;
mod hooks;
mod ladder;
mod pace;
mod pauses;
mod returns;
mod rewind;
mod sleep;
mod trees;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tickloom_protocol::schema::{ComponentDesc, FieldDesc, FieldType, RoomSchema, WritePolicy};
use tickloom_server::room::logic::{Context, Denial, Joiner, RoomLogic, RoomSpec, RoomType};
use tickloom_server::rooms::RoomTypes;

use harness::{WIDE, World};

/// How long a tick of the rooms here takes, at least.
const FLUSH: Duration = Duration::from_millis(50);

/// Rooms of type `plain`, in which members do everything.
struct Plain(RoomSpec);

impl RoomType for Plain {
    fn name(&self) -> &str {
        "plain"
    }

    fn spec(&self) -> RoomSpec {
        self.0.clone()
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(Silent)
    }
}

struct Silent;

impl RoomLogic for Silent {
    fn on_join(&mut self, _: &mut Context<'_>, _: &Joiner<'_>) -> Result<(), Denial> {
        Ok(())
    }
}

/// Props, opaque bytes, a row and a tree that every member may write.
fn components() -> Vec<ComponentDesc> {
    let members = WritePolicy::Members;
    let row = vec![FieldDesc::new("on", FieldType::Bool)];
    vec![
        ComponentDesc::props("props").writable_by(members),
        ComponentDesc::opaque("opaque", "x/y", 4096).writable_by(members),
        ComponentDesc::packed("row", row).expect("a row").writable_by(members),
        ComponentDesc::props("layer").as_tree().writable_by(members),
    ]
}

fn schema() -> RoomSchema {
    RoomSchema::new(components(), vec![]).expect("schema").with_entities_by(WritePolicy::Members)
}

fn spec(schema: RoomSchema) -> RoomSpec {
    RoomSpec::on_change(FLUSH, Arc::new(schema))
}

fn world(spec: RoomSpec) -> World {
    World::new(RoomTypes::default().with(Plain(spec)), WIDE)
}
