//! A room whose tick does not return while a gate is closed: a shard that hangs when asked to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tickloom_protocol::ids::MemberId;
use tickloom_protocol::schema::RoomSchema;
use tickloom_server::room::logic::{
    Context, Denial, Freshness, Joiner, Next, RoomLogic, RoomSpec, RoomType,
};

/// The room type `gate`, and the way to open and close all its rooms.
#[derive(Clone, Default)]
pub struct Gate {
    is_closed: Arc<AtomicBool>,
    /// A room waits for the gate to open.
    is_stuck: Arc<AtomicBool>,
}

impl Gate {
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Closes it and waits until a room stands before it.
    pub fn close_on_a_room(&self) {
        self.close();
        while !self.is_stuck.load(Ordering::Relaxed) {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    pub fn open(&self) {
        self.is_closed.store(false, Ordering::Relaxed);
    }
}

impl RoomType for Gate {
    fn name(&self) -> &str {
        "gate"
    }

    fn spec(&self) -> RoomSpec {
        let schema = RoomSchema::new(vec![], vec![]).expect("schema");
        RoomSpec { members_max: 10, entities_max: 20, ..RoomSpec::at_rate(20, Arc::new(schema)) }
    }

    fn create(&self) -> Box<dyn RoomLogic> {
        Box::new(self.clone())
    }
}

impl RoomLogic for Gate {
    fn on_join(&mut self, _: &mut Context<'_>, _: &Joiner<'_>) -> Result<(), Denial> {
        Ok(())
    }

    fn on_input(&mut self, _: &mut Context<'_>, _: MemberId, _: &[u8], _: Freshness) {}

    fn on_tick(&mut self, _: &mut Context<'_>) -> Next {
        while self.is_closed.load(Ordering::Relaxed) {
            self.is_stuck.store(true, Ordering::Relaxed);
            std::thread::park_timeout(Duration::from_millis(1));
        }
        Next::Tick
    }
}
