//! Which cores do what: a generator on the server's core measures itself.

/// Which cores do what.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cores {
    /// The server's, when we start it.
    pub server: Vec<usize>,
    /// The generator's, which its threads take in turn; empty when they are not pinned.
    pub generator: Vec<usize>,
    /// Whether one core does both.
    pub shared: bool,
}

/// Why the cores cannot be dealt out as asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CoresError {
    /// Too many generator threads.
    #[error(
        "--threads {threads_count} leaves no core for the server: this process may use \
         {cores_count}; ask for fewer threads, or start the server elsewhere and give its --url"
    )]
    NoCoreLeft {
        /// What `--threads` said.
        threads_count: usize,
        /// Cores there are.
        cores_count: usize,
    },
    /// A core this process may not use.
    #[error("{flag} {core}: this process may run on {available:?} only")]
    NotAllowed {
        /// Which flag.
        flag: &'static str,
        /// What it said.
        core: usize,
        /// Cores there are.
        available: Vec<usize>,
    },
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct CoresAsked<'a> {
    /// `--cores`.
    pub generator: Option<&'a [usize]>,
    /// `--server-cores`.
    pub server: Option<&'a [usize]>,
    /// Threads of each generator process.
    pub threads_count: usize,
    /// Generator processes.
    pub processes_count: usize,
}

impl Cores {
    /// Deals `available` out to the generator and a server that is started. What is not asked for
    /// is split: the generator takes the last cores, one for each thread, the server the rest; a
    /// single core is shared.
    ///
    /// # Errors
    /// A core is not ours, or nothing would be left to the server.
    pub fn split(available: &[usize], asked: CoresAsked<'_>) -> Result<Self, CoresError> {
        for (flag, cores) in [("--cores", asked.generator), ("--server-cores", asked.server)] {
            let stranger = cores.unwrap_or_default().iter().find(|core| !available.contains(core));
            if let Some(&core) = stranger {
                return Err(CoresError::NotAllowed { flag, core, available: available.to_vec() });
            }
        }
        let without = |taken: &[usize]| -> Vec<usize> {
            available.iter().copied().filter(|core| !taken.contains(core)).collect()
        };
        let (server, generator) = match (asked.server, asked.generator) {
            (Some(server), Some(generator)) => (server.to_vec(), generator.to_vec()),
            (Some(server), None) => (server.to_vec(), without(server)),
            (None, Some(generator)) => (without(generator), generator.to_vec()),
            (None, None) => default_split(available, asked)?,
        };
        // Somebody who leaves no core over means one for both.
        let or_all = |cores: Vec<usize>| if cores.is_empty() { available.to_vec() } else { cores };
        let (server, generator) = (or_all(server), or_all(generator));
        let shared = server.iter().any(|core| generator.contains(core)) || available.is_empty();
        Ok(Self { server, generator, shared })
    }

    /// The generator's part alone, beside a server we did not start.
    ///
    /// # Errors
    /// A core is not ours.
    pub fn of_generator(available: &[usize], asked: CoresAsked<'_>) -> Result<Self, CoresError> {
        let cores = match Self::split(available, asked) {
            // On a host with fewer cores than threads the scheduler knows better.
            Err(CoresError::NoCoreLeft { .. }) => Self::default(),
            other => other?,
        };
        Ok(Self { server: Vec::new(), shared: false, ..cores })
    }
}

fn default_split(
    available: &[usize],
    asked: CoresAsked<'_>,
) -> Result<(Vec<usize>, Vec<usize>), CoresError> {
    let CoresAsked { threads_count, processes_count, .. } = asked;
    if available.len() < 2 && threads_count == 1 {
        return Ok((available.to_vec(), available.to_vec()));
    }
    if threads_count >= available.len() {
        return Err(CoresError::NoCoreLeft { threads_count, cores_count: available.len() });
    }
    // Processes are there for descriptors; they share cores where there are too few.
    let wanted = threads_count.saturating_mul(processes_count).min(available.len() - 1);
    let (server, generator) = available.split_at(available.len() - wanted);
    Ok((server.to_vec(), generator.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: CoresAsked<'_> =
        CoresAsked { generator: None, server: None, threads_count: 1, processes_count: 1 };

    #[test]
    fn the_generator_takes_the_last_cores() {
        for (available, threads_count, processes_count, server, generator, shared) in [
            (&[0, 1][..], 1, 1, vec![0], vec![1], false),
            (&[2, 5, 7, 9], 2, 1, vec![2, 5], vec![7, 9], false),
            (&[2, 5, 7, 9], 1, 2, vec![2, 5], vec![7, 9], false),
            (&[0, 1], 1, 4, vec![0], vec![1], false),
            (&[3], 1, 1, vec![3], vec![3], true),
            (&[], 1, 1, vec![], vec![], true),
        ] {
            let asked = CoresAsked { threads_count, processes_count, ..ASKED };
            let cores = Cores::split(available, asked).expect("enough cores");
            let expected = Cores { server, generator, shared };
            assert_eq!(cores, expected, "{available:?}");
        }
        for (available, threads_count) in [(&[0, 1][..], 2), (&[0][..], 2), (&[][..], 3)] {
            let asked = CoresAsked { threads_count, ..ASKED };
            assert!(Cores::split(available, asked).is_err(), "{available:?}");
            let alone = Cores::of_generator(available, asked).expect("the scheduler's choice");
            assert_eq!(alone, Cores::default(), "{available:?}");
        }
    }

    #[test]
    fn cores_that_are_asked_for_are_given_and_the_rest_is_the_others() {
        let available = [0, 1, 2, 3];
        for (generator, server, expected, shared) in [
            (Some(&[1][..]), None, (vec![0, 2, 3], vec![1]), false),
            (None, Some(&[0][..]), (vec![0], vec![1, 2, 3]), false),
            (Some(&[2, 3]), Some(&[0]), (vec![0], vec![2, 3]), false),
            (Some(&[1]), Some(&[1]), (vec![1], vec![1]), true),
            (Some(&[0, 1, 2, 3]), None, (vec![0, 1, 2, 3], vec![0, 1, 2, 3]), true),
        ] {
            let cores = Cores::split(&available, CoresAsked { generator, server, ..ASKED });
            let cores = cores.expect("all of them are ours");
            assert_eq!((cores.server, cores.generator), expected, "{generator:?} {server:?}");
            assert_eq!(cores.shared, shared, "{generator:?} {server:?}");
        }
        let stranger = CoresAsked { generator: Some(&[4]), ..ASKED };
        let error = Cores::split(&available, stranger).expect_err("not ours");
        assert!(error.to_string().starts_with("--cores 4"), "{error}");
    }
}
