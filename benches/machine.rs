//! What the machine did beside a measurement, and whether its figures are worth keeping.
//!
//! Everything here is read from the kernel and is zero or absent where the kernel does not tell.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Contention past which figures are not worth keeping.
pub const CONTENTION_MAX: f64 = 0.05;

/// What a run is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Its figures say what they claim to.
    Valid,
    /// Others wanted the cores: only ratios between figures of this one run mean anything.
    Noisy,
    /// It was not the run that was asked for: something came too late.
    Invalid,
}

impl Verdict {
    /// The verdict on a run that did everything in time.
    #[must_use]
    pub fn of_contention(contention: f64) -> Self {
        if contention > CONTENTION_MAX { Self::Noisy } else { Self::Valid }
    }

    /// How reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Noisy => "NOISY",
            Self::Invalid => "INVALID",
        }
    }
}

/// For how long, since boot, some thread of the machine wanted a core and had none. The threads
/// of a benchmark have a core each and do not compete, so it is others that do.
#[must_use]
pub fn stalled() -> Duration {
    let pressure = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let total = pressure.lines().next().and_then(|some| some.rsplit_once("total="));
    let micros = total.and_then(|(_, micros)| micros.parse().ok());
    Duration::from_micros(micros.unwrap_or_default())
}

/// What a thread of this process got since it started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ThreadTime {
    /// CPU time, user and system.
    pub on_core: Duration,
    /// Time in which it could have run and had no core.
    pub waiting: Duration,
}

impl ThreadTime {
    /// Of the calling thread.
    #[must_use]
    pub fn of_this() -> Option<Self> {
        Self::read(Path::new("/proc/thread-self"))
    }

    /// Of the first thread with this name.
    #[must_use]
    pub fn of_named(name: &str) -> Option<Self> {
        let mut threads = fs::read_dir("/proc/self/task").ok()?.flatten();
        let thread = threads.find(|thread| {
            let found = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            found.trim_end() == name
        });
        Self::read(&thread?.path())
    }

    /// What it got between an earlier moment and this one.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            on_core: self.on_core.saturating_sub(earlier.on_core),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }

    fn read(thread: &Path) -> Option<Self> {
        let schedstat = fs::read_to_string(thread.join("schedstat")).ok()?;
        let mut nanos = schedstat.split_ascii_whitespace().map_while(|word| word.parse().ok());
        let (on_core, waiting) = (nanos.next()?, nanos.next()?);
        let [on_core, waiting] = [on_core, waiting].map(Duration::from_nanos);
        Some(Self { on_core, waiting })
    }
}

/// Lifts the soft limit of open files to `files_count`, if the hard limit allows it. `flag` is
/// what asks for so many.
///
/// # Errors
/// The limit cannot be lifted that far.
pub fn raise_files_limit(flag: &str, files_count: u64) -> anyhow::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|soft| soft >= files_count) {
        return Ok(());
    }
    ensure!(
        maximum.is_none_or(|hard| hard >= files_count),
        "{flag} needs {files_count} open files, the hard limit is {}",
        maximum.unwrap_or_default(),
    );
    setrlimit(Resource::Nofile, Rlimit { current: Some(files_count), maximum })
        .context("cannot raise the limit of open files")
}
