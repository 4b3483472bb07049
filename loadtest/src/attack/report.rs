//! What an attack found out about its server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Answer, Attack};
use crate::verdict::Exit;

/// What became of the connections of an attack.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// Connections that were there.
    pub opened: u64,
    /// Connections that the server or the kernel did not let come about.
    pub failed: u64,
    /// Answers by what they said.
    pub answers: BTreeMap<Answer, u64>,
    /// How long those lived that the server ended; in the order of their ends.
    pub lifetimes: Vec<Duration>,
    /// Connections that were open when the attack ended.
    pub open_count: u64,
    /// How old the oldest of them was.
    pub open_age_max: Duration,
}

impl Findings {
    /// Whether the server put up with nobody for longer than it may.
    #[must_use]
    pub fn exit(&self, attack: &Attack) -> Exit {
        let longest = self.lifetimes.iter().copied().max().unwrap_or_default();
        let longest = longest.max(self.open_age_max);
        let is_too_long = attack.lifetime_max.is_some_and(|most| longest > most);
        if is_too_long { Exit::Failed } else { Exit::Passed }
    }

    /// The report.
    #[must_use]
    pub fn text<'a>(&'a self, attack: &'a Attack) -> impl fmt::Display + 'a {
        Text { findings: self, attack }
    }
}

struct Text<'a> {
    findings: &'a Findings,
    attack: &'a Attack,
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { findings, attack } = self;
        let (kind, count) = (attack.kind, attack.connections_count);
        writeln!(f, "  attack        {kind} by {count} at once for {:?}", attack.duration)?;
        writeln!(f, "  opened        {}, {} failed", findings.opened, findings.failed)?;
        if !findings.answers.is_empty() {
            let answers = findings.answers.iter();
            let answers = answers.map(|(answer, count)| format!("{answer}: {count}"));
            writeln!(f, "  answered      {}", answers.collect::<Vec<_>>().join(", "))?;
        }
        let mut lifetimes = findings.lifetimes.clone();
        lifetimes.sort_unstable();
        if let Some(longest) = lifetimes.last() {
            let at = |percent: usize| lifetimes[(lifetimes.len() - 1) * percent / 100];
            writeln!(
                f,
                "  ended         {} by the server, after {:.2?} (p50), {:.2?} (p99), {longest:.2?} \
                 at most",
                lifetimes.len(),
                at(50),
                at(99)
            )?;
        }
        let (open, age) = (findings.open_count, findings.open_age_max);
        writeln!(f, "  still open    {open}, the oldest for {age:.2?}")?;
        if let Some(most) = attack.lifetime_max {
            let holds = findings.exit(attack) == Exit::Passed;
            let verdict = if holds { "nobody was put up with for longer" } else { "MISSED" };
            writeln!(f, "  lifetime      <= {most:.2?}: {verdict}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::attack::AttackKind;
    use crate::plan::{Scheme, Url};

    #[test]
    fn one_that_lives_too_long_fails_the_server_whether_it_ended_or_not() {
        let seconds = Duration::from_secs;
        let attack = Attack {
            url: Url { scheme: Scheme::Ws, authority: "a:1".to_owned(), path: "/ws".to_owned() },
            kind: AttackKind::Silent,
            connections_count: NonZeroU32::MIN,
            connect_rate_hz: NonZeroU32::MIN,
            duration: seconds(20),
            lifetime_max: Some(seconds(6)),
        };
        for (ended, open, exit) in
            [(5, 5, Exit::Passed), (7, 5, Exit::Failed), (5, 7, Exit::Failed)]
        {
            let findings = Findings {
                lifetimes: vec![seconds(ended)],
                open_age_max: seconds(open),
                ..Findings::default()
            };
            assert_eq!(findings.exit(&attack), exit, "{ended} {open}");
            let says_so = findings.text(&attack).to_string().contains("MISSED");
            assert_eq!(says_so, exit == Exit::Failed);
        }
        let answers =
            [(Answer::Hello, 7), (Answer::Status(503), 2), (Answer::Status(101), 3)].into();
        let text = Findings { answers, ..Findings::default() }.text(&attack).to_string();
        assert!(text.contains("answered      101: 3, 503: 2, hello: 7\n"), "{text}");
    }
}
