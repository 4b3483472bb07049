//! What the machine did beside a measurement, and whether its figures are worth keeping.
//!
//! Everything here is read from the kernel and is zero or absent where the kernel does not tell.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use core_affinity::CoreId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use tickloom_server::runtime::allowed_cores;

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

/// Where the two ends of a measurement run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cores {
    /// The measured end's.
    pub server: usize,
    /// The other end's.
    pub clients: usize,
}

impl Cores {
    /// The first core and the last one this process may run on; `None` when that is the same.
    #[must_use]
    pub fn split() -> Option<Self> {
        match allowed_cores()[..] {
            [server, .., clients] => Some(Self { server, clients }),
            _ => None,
        }
    }

    /// Pins the calling thread to the server's core.
    ///
    /// # Errors
    /// The kernel does not want to.
    pub fn pin_server(self) -> anyhow::Result<()> {
        pin(self.server)
    }

    /// Pins the calling thread to the clients' core.
    ///
    /// # Errors
    /// The kernel does not want to.
    pub fn pin_clients(self) -> anyhow::Result<()> {
        pin(self.clients)
    }
}

fn pin(core: usize) -> anyhow::Result<()> {
    ensure!(core_affinity::set_for_current(CoreId { id: core }), "cannot pin to core {core}");
    Ok(())
}

/// CPU time the calling thread has used.
#[must_use]
pub fn thread_cpu() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec as u64, used.tv_nsec as u32)
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

    /// Of all threads whose names begin like this, together; `None` when there are none.
    #[must_use]
    pub fn of_named(beginning: &str) -> Option<Self> {
        let threads = fs::read_dir("/proc/self/task").ok()?.flatten();
        let named = threads.filter(|thread| {
            let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
            name.starts_with(beginning)
        });
        named.filter_map(|thread| Self::read(&thread.path())).reduce(|sum, one| Self {
            on_core: sum.on_core + one.on_core,
            waiting: sum.waiting + one.waiting,
        })
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
