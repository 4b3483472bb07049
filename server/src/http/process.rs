//! What the kernel says about this process, under the names that Prometheus has for it.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Facts from `/proc`; what cannot be read is missing.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct ProcessFacts {
    /// Time on processors, in seconds.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) threads_count: Option<u64>,
    /// When it started, in seconds since 1970.
    pub(super) start_seconds: Option<f64>,
    pub(super) open_fds: Option<u64>,
    pub(super) fds_max: Option<u64>,
}

impl ProcessFacts {
    /// Looks at this process. Counting descriptors is the dearest part, with 4 ms for 10,000.
    pub(super) fn this() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let booted = fs::read_to_string("/proc/stat").unwrap_or_default();
        let fds = fs::read_dir("/proc/self/fd").map(|fds| fds.count() as u64);
        Self {
            // The directory is open while it is read.
            open_fds: fds.ok().map(|count| count.saturating_sub(1)),
            fds_max: getrlimit(Resource::Nofile).current,
            ..Self::of(&stat, &booted, clock_ticks_per_second())
        }
    }

    /// From the texts of `/proc/self/stat` and `/proc/stat`.
    fn of(stat: &str, booted: &str, ticks_per_second: u64) -> Self {
        // The second field is the program's name, in which anything may be.
        let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        // Numbered from 3 in proc(5).
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second.max(1) as f64;
        let boot = booted.lines().find_map(|line| line.strip_prefix("btime "));
        let boot = boot.and_then(|text| text.trim().parse::<u64>().ok());
        Self {
            cpu_seconds: number(14).zip(number(15)).map(|(user, system)| seconds(user + system)),
            resident_bytes: number(24).map(|pages| pages * page_size() as u64),
            virtual_bytes: number(23),
            threads_count: number(20),
            start_seconds: boot.zip(number(22)).map(|(boot, ticks)| boot as f64 + seconds(ticks)),
            open_fds: None,
            fds_max: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_a_name_with_anything_in_it() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 5 18 1000 4096000 30 23";
        let facts = ProcessFacts::of(stat, "cpu 1\nbtime 1700000000\n", 100);
        assert_eq!(facts.cpu_seconds, Some(2.0));
        assert_eq!(facts.start_seconds, Some(1_700_000_010.0));
        assert_eq!(facts.virtual_bytes, Some(4_096_000));
        assert_eq!(facts.resident_bytes, Some(30 * page_size() as u64));
        assert_eq!(facts.threads_count, Some(5));
        assert_eq!(ProcessFacts::of("", "", 100), ProcessFacts::default());
    }

    #[test]
    fn this_process_has_all_of_them() {
        let facts = ProcessFacts::this();
        assert!(facts.cpu_seconds.is_some() && facts.start_seconds > Some(1e9), "{facts:?}");
        assert!(facts.resident_bytes > Some(100_000), "{facts:?}");
        assert!(facts.virtual_bytes > facts.resident_bytes, "{facts:?}");
        assert!(facts.open_fds >= Some(3) && facts.fds_max >= facts.open_fds, "{facts:?}");
        assert!(facts.threads_count >= Some(1), "{facts:?}");
    }
}
