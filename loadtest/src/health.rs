//! What processes and the host were busy with: read from `/proc`, compared over time.
//!
//! Everything is optional: a file that is missing leaves a hole in the report, never an error.

use std::fs;

use rustix::param::clock_ticks_per_second;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tickloom_protocol::time::Timestamp;

/// Resident memory may grow by this and still be called flat: an allocator's own steps.
const FLAT_BYTES_MAX: u64 = 1024 * 1024;

/// A process at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcessSample {
    /// When.
    pub at: Timestamp,
    /// CPU time since its start, user and system.
    pub cpu_us: u64,
    /// Resident memory.
    pub resident_bytes: u64,
}

impl ProcessSample {
    /// Looks at several processes and adds them up; `None` when one of them is not there.
    #[must_use]
    pub fn sum(pids: &[u32], at: Timestamp) -> Option<Self> {
        let samples: Option<Vec<Self>> = pids.iter().map(|pid| Self::take(*pid, at)).collect();
        samples?.into_iter().reduce(|sum, next| Self {
            at,
            cpu_us: sum.cpu_us + next.cpu_us,
            resident_bytes: sum.resident_bytes + next.resident_bytes,
        })
    }

    /// Looks at process `pid`.
    #[must_use]
    pub fn take(pid: u32, at: Timestamp) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let ticks = parse_cpu_ticks(&stat)?;
        Some(Self {
            at,
            cpu_us: ticks * 1_000_000 / clock_ticks_per_second(),
            resident_bytes: parse_resident(&status)?,
        })
    }
}

/// A process over the measured window: its first and last sample are the window's ends.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessTrack(pub Vec<ProcessSample>);

impl ProcessTrack {
    /// CPU time between the first and the last sample.
    #[must_use]
    pub fn cpu_us(&self) -> u64 {
        self.ends().map_or(0, |(first, last)| last.cpu_us.saturating_sub(first.cpu_us))
    }

    /// Share of one core between the first and the last sample, in parts of a million.
    #[must_use]
    pub fn core_ppm(&self) -> u64 {
        let Some((first, last)) = self.ends() else { return 0 };
        let wall_us = last.at.0.saturating_sub(first.at.0);
        (self.cpu_us() * 1_000_000).checked_div(wall_us).unwrap_or(0)
    }

    /// What resident memory did.
    #[must_use]
    pub fn memory(&self) -> Option<MemoryTrend> {
        let (first, last) = self.ends()?;
        let grown = i128::from(last.resident_bytes) - i128::from(first.resident_bytes);
        let wall_us = i128::from(last.at.0.saturating_sub(first.at.0)).max(1);
        let tolerated = first.resident_bytes + first.resident_bytes / 50 + FLAT_BYTES_MAX;
        Some(MemoryTrend {
            first_bytes: first.resident_bytes,
            last_bytes: last.resident_bytes,
            max_bytes: self.0.iter().map(|sample| sample.resident_bytes).max()?,
            slope_bytes_per_s: i64::try_from(grown * 1_000_000 / wall_us).unwrap_or(0),
            flat: last.resident_bytes <= tolerated,
        })
    }

    fn ends(&self) -> Option<(&ProcessSample, &ProcessSample)> {
        Some((self.0.first()?, self.0.last()?))
    }
}

/// What resident memory did over the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct MemoryTrend {
    /// At the window's start.
    pub first_bytes: u64,
    /// At its end.
    pub last_bytes: u64,
    /// The most of all samples.
    pub max_bytes: u64,
    /// From the first to the last.
    pub slope_bytes_per_s: i64,
    /// Whether it grew by no more than 2 % and 1 MiB.
    pub flat: bool,
}

/// The host at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostSample {
    /// `/proc/pressure/cpu`, some avg10.
    pub psi_ppm: Option<u64>,
    /// Ticks of all cores so far: taken away by the hypervisor, and in total.
    pub steal_of_total: Option<(u64, u64)>,
}

impl HostSample {
    /// Looks at the host.
    #[must_use]
    pub fn take() -> Self {
        let pressure = fs::read_to_string("/proc/pressure/cpu").ok();
        let stat = fs::read_to_string("/proc/stat").ok();
        Self {
            psi_ppm: pressure.and_then(|text| parse_psi(&text)),
            steal_of_total: stat.and_then(|text| parse_steal(&text)),
        }
    }
}

/// The host over the measured window.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HostTrack(pub Vec<HostSample>);

impl HostTrack {
    /// The worst CPU pressure seen, in parts of a million.
    #[must_use]
    pub fn psi_ppm_max(&self) -> Option<u64> {
        self.0.iter().filter_map(|sample| sample.psi_ppm).max()
    }

    /// Time taken away by the hypervisor, in parts of a million.
    #[must_use]
    pub fn steal_ppm(&self) -> Option<u64> {
        let (steal_0, total_0) = self.0.first()?.steal_of_total?;
        let (steal_1, total_1) = self.0.last()?.steal_of_total?;
        let total = total_1.saturating_sub(total_0);
        (steal_1.saturating_sub(steal_0) * 1_000_000).checked_div(total)
    }
}

/// One generator thread over the measured window.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ThreadHealth {
    /// Time spent outside of the poll call.
    pub busy_us: u64,
    /// Time in total.
    pub wall_us: u64,
    /// Time it really ran; less than it was busy when other tasks took its core.
    pub cpu_us: u64,
}

impl ThreadHealth {
    /// Adds another stretch of the same thread.
    pub fn add(&mut self, other: Self) {
        self.busy_us += other.busy_us;
        self.wall_us += other.wall_us;
        self.cpu_us += other.cpu_us;
    }

    /// How busy it was, in parts of a million.
    #[must_use]
    pub fn busy_ppm(&self) -> u64 {
        (self.busy_us * 1_000_000).checked_div(self.wall_us).unwrap_or(0)
    }

    /// How much of a core it had, in parts of a million.
    #[must_use]
    pub fn cpu_ppm(&self) -> u64 {
        (self.cpu_us * 1_000_000).checked_div(self.wall_us).unwrap_or(0)
    }
}

/// User plus system time of `/proc/PID/stat`. The process's name, in parentheses, may itself
/// hold spaces and parentheses.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user + system)
}

/// `VmRSS` of `/proc/PID/status`, which is in kibibytes.
fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn parse_psi(pressure: &str) -> Option<u64> {
    let some = pressure.lines().find_map(|line| line.strip_prefix("some "))?;
    let percent: f64 =
        some.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?.parse().ok()?;
    Some((percent * 10_000.0) as u64)
}

fn parse_steal(stat: &str) -> Option<(u64, u64)> {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // user nice system idle iowait irq softirq steal; guest time is part of user already.
    let ticks: Vec<u64> = all.split_whitespace().take(8).map_while(|t| t.parse().ok()).collect();
    Some((*ticks.get(7)?, ticks.iter().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read_with_all_their_quirks() {
        let stat = "12 (a) b (c)) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 1 2 3";
        assert_eq!(parse_cpu_ticks(stat), Some(300));
        assert_eq!(parse_cpu_ticks("12 (x) R 1"), None);
        let status = "Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t3\n";
        assert_eq!(parse_resident(status), Some(1234 * 1024));
        let pressure = "some avg10=3.21 avg60=0.14 avg300=0.21 total=5\nfull avg10=9.00";
        assert_eq!(parse_psi(pressure), Some(32_100));
        assert_eq!(parse_steal("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1"), Some((8, 36)));
        for garbage in ["", "cpu ", "some", "VmRSS: x kB", ")"] {
            assert_eq!(parse_psi(garbage), None, "{garbage:?}");
            assert_eq!(parse_steal(garbage), None, "{garbage:?}");
            assert_eq!(parse_resident(garbage), None, "{garbage:?}");
            assert_eq!(parse_cpu_ticks(garbage), None, "{garbage:?}");
        }
    }

    #[test]
    fn this_process_can_be_looked_at() {
        let own = std::process::id();
        let sample = ProcessSample::take(own, Timestamp(1)).expect("/proc is there");
        assert!(sample.resident_bytes > 100 * 1024, "{sample:?}");
        let twice = ProcessSample::sum(&[own, own], Timestamp(1)).expect("the same twice");
        assert!(twice.resident_bytes > sample.resident_bytes, "{twice:?}");
        for gone in [&[][..], &[own, u32::MAX]] {
            assert_eq!(ProcessSample::sum(gone, Timestamp(1)), None, "{gone:?}");
        }
    }

    #[test]
    fn memory_is_flat_until_it_is_not() {
        const MIB: u64 = 1024 * 1024;
        for (last, flat) in [(100, true), (103, true), (104, false), (90, true)] {
            let sample = |seconds: u64, mib| ProcessSample {
                at: Timestamp(seconds * 1_000_000),
                cpu_us: seconds * 250_000,
                resident_bytes: mib * MIB,
            };
            let track = ProcessTrack(vec![sample(0, 100), sample(5, 110), sample(10, last)]);
            let memory = track.memory().expect("samples");
            assert_eq!((memory.flat, memory.max_bytes), (flat, 110 * MIB), "{last} MiB");
            assert_eq!(track.core_ppm(), 250_000);
        }
        assert_eq!(ProcessTrack::default().memory(), None);
    }
}
