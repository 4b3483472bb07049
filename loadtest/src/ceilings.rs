//! What the kernel lets one process and one address have, and which flag helps when a plan needs
//! more. Judged before anything starts: a run that fails at client 20,001 has wasted a minute.

use std::fs;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::plan::{Plan, Target};

/// Descriptors needed beside the clients' sockets: polls, timers, files, pipes.
const FILES_SPARE: u64 = 64;

/// Ports the kernel deals out when `/proc` does not say.
const PORTS_DEFAULT: u64 = 28_232;

/// What there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ceilings {
    /// Files one process may open, at most.
    pub files_max: u64,
    /// Ports connections from one address to one server may come from.
    pub ports_count: u64,
}

/// Why a plan does not fit under them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CeilingError {
    /// Too few file descriptors.
    #[error(
        "--clients {clients} needs {needed} open files in each of {processes} generator \
         process(es), and the limit is {limit}; add --processes {enough}, or raise the hard limit \
         (ulimit -Hn)"
    )]
    Files {
        /// What `--clients` said.
        clients: u32,
        /// What `--processes` said.
        processes: usize,
        /// What each process needs.
        needed: u64,
        /// What there is.
        limit: u64,
        /// Processes that would do.
        enough: u64,
    },
    /// Too few ports.
    #[error(
        "--clients {clients} needs {needed} ports from each of {addresses} source address(es), and \
         there are {limit}; add --local-addr with {enough} addresses, such as 127.0.0.2-{last} for \
         a server on this machine, or widen net.ipv4.ip_local_port_range"
    )]
    Ports {
        /// What `--clients` said.
        clients: u32,
        /// Source addresses.
        addresses: usize,
        /// What each needs.
        needed: u64,
        /// What there is.
        limit: u64,
        /// Addresses that would do.
        enough: u64,
        /// The end of an example.
        last: u64,
    },
    /// The server we would start has the same limit, and only one process.
    #[error(
        "--clients {clients} are more than a server started here may have connections: it is one \
         process with {limit} open files; raise the hard limit (ulimit -Hn) or drive a server \
         elsewhere with --url"
    )]
    Server {
        /// What `--clients` said.
        clients: u32,
        /// What there is.
        limit: u64,
    },
}

impl Ceilings {
    /// Looks at this machine.
    #[must_use]
    pub fn look() -> Self {
        let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
        Self {
            files_max: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            ports_count: range.and_then(|text| parse_ports(&text)).unwrap_or(PORTS_DEFAULT),
        }
    }

    /// Whether a plan fits; when it takes several processes or addresses, what each of them gets.
    ///
    /// # Errors
    /// [`CeilingError`], with the flag that helps.
    pub fn check(&self, plan: &Plan) -> Result<Option<String>, CeilingError> {
        let (clients, processes) = (plan.clients_count, plan.processes_count);
        let addresses = plan.local_addresses.len().max(1);
        let is_ours = !matches!(plan.target, Target::Url(_));
        if is_ours && u64::from(clients) + FILES_SPARE > self.files_max {
            return Err(CeilingError::Server { clients, limit: self.files_max });
        }
        let per_process = u64::from(clients).div_ceil(processes as u64);
        let needed = per_process + FILES_SPARE;
        if needed > self.files_max {
            let room = self.files_max.saturating_sub(FILES_SPARE).max(1);
            let enough = u64::from(clients).div_ceil(room);
            let limit = self.files_max;
            return Err(CeilingError::Files { clients, processes, needed, limit, enough });
        }
        let per_address = u64::from(clients).div_ceil(addresses as u64);
        if per_address > self.ports_count {
            let enough = u64::from(clients).div_ceil(self.ports_count.max(1));
            return Err(CeilingError::Ports {
                clients,
                addresses,
                needed: per_address,
                limit: self.ports_count,
                enough,
                last: enough + 1,
            });
        }
        if processes == 1 && addresses == 1 {
            return Ok(None);
        }
        Ok(Some(format!(
            "plan     {processes} process(es) with {per_process} clients each (open files: {} of \
             {}), {addresses} source address(es) with {per_address} each (ports: {per_address} of \
             {})",
            needed, self.files_max, self.ports_count
        )))
    }
}

/// Raises the limit of open files as far as it goes, for this process and its children.
///
/// # Errors
/// The kernel refuses.
pub fn raise_files_limit() -> io::Result<()> {
    let limits = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: limits.maximum, ..limits })?)
}

/// `32768 60999` as the number of ports between them.
pub(crate) fn parse_ports(range: &str) -> Option<u64> {
    let mut ends = range.split_whitespace();
    let first: u64 = ends.next()?.parse().ok()?;
    let last: u64 = ends.next()?.parse().ok()?;
    Some(last.checked_sub(first)? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Args, Job};
    use clap::Parser;

    const HERE: Ceilings = Ceilings { files_max: 20_000, ports_count: 28_232 };

    fn check(flags: &str) -> Result<Option<String>, CeilingError> {
        let words = std::iter::once("loadtest").chain(flags.split_whitespace());
        match Job::new(Args::parse_from(words)) {
            Ok(Job::Load(plan)) => HERE.check(&plan),
            other => panic!("{flags}: {other:?}"),
        }
    }

    #[test]
    fn a_plan_that_does_not_fit_names_the_flag_that_helps() {
        for (flags, help) in [
            ("-n 20k -u ws://a", "add --processes 2"),
            ("-n 60k --processes 2 -u ws://a", "add --processes 4"),
            (
                "-n 30k --processes 2 -u ws://a",
                "add --local-addr with 2 addresses, such as 127.0.0.2-3",
            ),
            ("-n 30k --processes 2 --local-addr 127.0.0.2-9", "a server started here"),
        ] {
            let error = check(flags).expect_err(flags);
            assert!(error.to_string().contains(help), "{flags}: {error}");
        }
    }

    #[test]
    fn a_plan_that_fits_says_what_each_process_and_address_gets() {
        for (flags, says) in [
            ("-n 19k", None),
            (
                "-n 30k --processes 2 --local-addr 127.0.0.2-3 -u ws://a",
                Some("2 process(es) with 15000 clients each"),
            ),
            ("echo -n 10 --local-addr 127.0.0.2-6", Some("5 source address(es) with 2 each")),
        ] {
            let plan = check(flags).expect(flags);
            assert_eq!(plan.is_some(), says.is_some(), "{flags}: {plan:?}");
            assert!(plan.unwrap_or_default().contains(says.unwrap_or_default()), "{flags}");
        }
    }

    #[test]
    fn port_ranges_are_inclusive() {
        for (range, count) in [("32768\t60999\n", Some(28_232)), ("9 8", None), ("", None)] {
            assert_eq!(parse_ports(range), count, "{range:?}");
        }
    }
}
