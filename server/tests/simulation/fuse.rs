//! Rooms that panic: some of them, when their time has come.

/// What the panics of rooms here say.
pub const MESSAGE: &str = "the fuse has burned down";

/// When a room panics.
#[derive(Debug, Default)]
pub struct Fuse {
    /// Ticks until it does; never, without any.
    ticks_left: Option<u32>,
    /// It does when the next member leaves.
    is_loose: bool,
}

impl Fuse {
    pub fn lay(rng: &mut fastrand::Rng) -> Self {
        let ticks_left = (rng.u8(0..12) == 0).then(|| rng.u32(20..150));
        Self { ticks_left, is_loose: rng.u8(0..40) == 0 }
    }

    /// A tick goes by.
    pub fn burn(&mut self) {
        match &mut self.ticks_left {
            Some(0) => go_off(),
            Some(ticks) => *ticks -= 1,
            None => {}
        }
    }

    /// Somebody leaves.
    pub fn shake(&self) {
        if self.is_loose {
            go_off();
        }
    }
}

/// Panics without the report on standard error, of which a wide sweep would make thousands.
fn go_off() -> ! {
    std::panic::resume_unwind(Box::new(MESSAGE))
}
