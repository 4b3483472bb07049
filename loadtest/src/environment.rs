//! Where a run happened, and with which generator: what a second run must share to be comparable.

use std::fs;

use schemars::JsonSchema;
use serde::Serialize;

use crate::ceilings::Ceilings;

/// Where a run happened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Environment {
    /// The kernel's release.
    pub kernel: String,
    /// The processor's name.
    pub cpu_model: String,
    /// Cores of the machine.
    pub cores_count: usize,
    /// Cores this process may use.
    pub affinity: Vec<usize>,
    /// How the first core's clock rate is governed; null where nobody says.
    pub governor: Option<String>,
    /// What the kernel tells time by.
    pub clock_source: Option<String>,
    /// Files one process may open, at most.
    pub open_files_max: u64,
    /// `release` or `debug`.
    pub profile: &'static str,
    /// The compiler the generator was built with.
    pub rustc: &'static str,
    /// The revision the generator was built from; null outside of a repository.
    pub git_revision: Option<&'static str>,
    /// The generator's version.
    pub version: &'static str,
    /// What was typed.
    pub command_line: String,
}

impl Environment {
    /// Looks around. To be called before any thread is pinned.
    #[must_use]
    pub fn look(command_line: String, affinity: Vec<usize>) -> Self {
        let cpu_info = read("/proc/cpuinfo").unwrap_or_default();
        let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name"));
        Self {
            kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            cpu_model: model.unwrap_or_default().trim_start_matches(['\t', ' ', ':']).to_owned(),
            cores_count: cpu_info.lines().filter(|line| line.starts_with("processor")).count(),
            affinity,
            governor: governor(),
            clock_source: clock_source(),
            open_files_max: Ceilings::look().files_max,
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            rustc: env!("LOADTEST_RUSTC"),
            git_revision: option_env!("LOADTEST_GIT_REVISION"),
            version: env!("CARGO_PKG_VERSION"),
            command_line,
        }
    }
}

/// How the first core's clock rate is governed.
pub(crate) fn governor() -> Option<String> {
    read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
}

/// What the kernel tells time by.
pub(crate) fn clock_source() -> Option<String> {
    read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
}

/// A file of `/proc` or `/sys` without the line's end; `None` where it is missing.
pub(crate) fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}
