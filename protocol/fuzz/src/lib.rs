//! The checks of `tests/hostile_bytes`, for fuzzers to call: a finding here becomes a row there.

#[path = "../../tests/hostile_bytes/corpus.rs"]
mod corpus;
#[path = "../../tests/frame/mod.rs"]
mod frame;
#[path = "../../tests/hostile_bytes/recorded.rs"]
mod recorded;
#[path = "../../tests/hostile_bytes/targets.rs"]
pub mod targets;
#[path = "../../tests/hostile_bytes/world.rs"]
mod world;
#[path = "../../tests/hostile_bytes/written.rs"]
mod written;

#[doc(hidden)]
pub use libfuzzer_sys;

/// A fuzzer for the check of this name.
#[macro_export]
macro_rules! fuzz {
    ($name:literal) => {
        $crate::libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            ($crate::targets::target($name).check)(bytes);
        });
    };
}
