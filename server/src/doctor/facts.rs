//! The facts and where they are found: the doctor's edge.
#![expect(clippy::disallowed_types, reason = "whether an address is free is tried")]

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use rustix::process::{Resource, getrlimit};

/// What there is to know about a machine. `None` is what nobody could find out.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    /// Whether the configuration has problems of its own.
    pub config_is_wrong: bool,
    /// Whether the configured address can be listened on.
    pub listening: Listening,
    /// Files this process may open once it has raised its limit, as the server does.
    pub open_files_max: u64,
    /// Cores this process may run on.
    pub cores: Vec<usize>,
    /// Cores that are threads of one physical core, for each that has more than one.
    pub siblings: Option<BTreeSet<Vec<usize>>>,
    /// First and last port of outgoing connections.
    pub port_range: Option<(u16, u16)>,
    /// Most connections that wait to be accepted.
    pub somaxconn: Option<u64>,
    /// Most handshakes in flight.
    pub syn_backlog: Option<u64>,
    /// The frequency governors of all cores.
    pub governors: Option<BTreeSet<String>>,
    /// Share of the last 10 s in which something waited for a core.
    pub pressure_percent: Option<f64>,
    /// Share of time since boot that the host gave to others.
    pub steal_percent: Option<f64>,
    /// When the kernel uses huge pages by itself.
    pub huge_pages: Option<String>,
    /// Where the kernel's clock comes from.
    pub clock_source: Option<String>,
}

/// Whether an address can be listened on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listening {
    /// It can.
    Possible(SocketAddr),
    /// It cannot, and what the system says.
    Impossible(SocketAddr, String),
}

impl Facts {
    /// Looks at the machine whose `/proc` and `/sys` are below `root`.
    #[must_use]
    pub fn look(root: &Path, listen: SocketAddr, config_is_wrong: bool) -> Self {
        let read = |path: &str| fs::read_to_string(root.join(path)).ok();
        let number = |path: &str| read(path)?.trim().parse().ok();
        let listening = match TcpListener::bind(listen) {
            Ok(_) => Listening::Possible(listen),
            Err(error) => Listening::Impossible(listen, error.to_string()),
        };
        Self {
            config_is_wrong,
            listening,
            open_files_max: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            cores: crate::runtime::allowed_cores(),
            siblings: per_core(root, "topology/thread_siblings_list").map(|lists| {
                let groups = lists.iter().map(|list| core_list(list));
                groups.filter(|group| group.len() > 1).collect()
            }),
            port_range: read("proc/sys/net/ipv4/ip_local_port_range").and_then(|range| {
                let mut ports = range.split_whitespace().map(|port| port.parse().ok());
                Some((ports.next()??, ports.next()??))
            }),
            somaxconn: number("proc/sys/net/core/somaxconn"),
            syn_backlog: number("proc/sys/net/ipv4/tcp_max_syn_backlog"),
            governors: per_core(root, "cpufreq/scaling_governor"),
            pressure_percent: read("proc/pressure/cpu").and_then(|text| pressure(&text)),
            steal_percent: read("proc/stat").and_then(|text| steal(&text)),
            huge_pages: read("sys/kernel/mm/transparent_hugepage/enabled")
                .and_then(|text| chosen(&text)),
            clock_source: read("sys/devices/system/clocksource/clocksource0/current_clocksource")
                .map(|text| text.trim().to_owned()),
        }
    }
}

/// What a file of each core says; `None` when no core has it.
fn per_core(root: &Path, file: &str) -> Option<BTreeSet<String>> {
    let folders = fs::read_dir(root.join("sys/devices/system/cpu")).ok()?;
    let texts = folders.flatten().filter_map(|folder| {
        let text = fs::read_to_string(folder.path().join(file)).ok()?;
        Some(text.trim().to_owned())
    });
    let texts: BTreeSet<String> = texts.collect();
    (!texts.is_empty()).then_some(texts)
}

/// `0,4` and `0-1` as the kernel writes them.
fn core_list(list: &str) -> Vec<usize> {
    let ranges = list.split(',').filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    });
    ranges.flatten().collect()
}

/// `some avg10=1.23 avg60=...`.
fn pressure(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let average = line.split_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    average.parse().ok()
}

/// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests are counted in
/// the first two already.
fn steal(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let numbers = line.split_whitespace().skip(1).take(8).map(|word| word.parse::<u64>().ok());
    let numbers = numbers.collect::<Option<Vec<_>>>()?;
    let all: u64 = numbers.iter().sum();
    (numbers.len() == 8 && all > 0).then(|| numbers[7] as f64 * 100.0 / all as f64)
}

/// The word in brackets of `always [madvise] never`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_shows_nothing_is_unknown() {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let facts = Facts::look(Path::new("/nothing/is/here"), address, false);
        assert_eq!(facts.listening, Listening::Possible(address));
        let Facts { siblings, port_range, somaxconn, syn_backlog, governors, .. } = &facts;
        assert!(siblings.is_none() && port_range.is_none() && somaxconn.is_none());
        assert!(syn_backlog.is_none() && governors.is_none());
        let Facts { pressure_percent, steal_percent, huge_pages, clock_source, .. } = &facts;
        assert!(pressure_percent.is_none() && steal_percent.is_none());
        assert!(huge_pages.is_none() && clock_source.is_none());
    }

    #[test]
    fn the_kernels_formats_are_read() {
        for (text, expected) in [
            ("some avg10=1.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=9 x", Some(1.5)),
            ("full avg10=9", None),
            ("some avg60=1", None),
            ("", None),
        ] {
            assert_eq!(pressure(text), expected, "{text:?}");
        }
        for (text, expected) in [
            ("cpu  10 0 10 60 0 0 0 20 5 5\ncpu0 1 1", Some(20.0)),
            ("cpu  10 0 10", None),
            ("cpu  0 0 0 0 0 0 0 0", None),
            ("cpu  a b c d e f g h", None),
            ("", None),
        ] {
            assert_eq!(steal(text), expected, "{text:?}");
        }
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen("always madvise never"), None);
        assert_eq!(core_list("0,4"), [0, 4]);
        assert_eq!(core_list("2-3\n"), [2, 3]);
        assert_eq!(core_list("none"), [0; 0]);
    }
}
