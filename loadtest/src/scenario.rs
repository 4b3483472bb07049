//! What a run puts on a server: which bots, in which rooms, how many of them when, and what must
//! hold. Built in, or read from a TOML file of the same shape.
//!
//! ```text
//! text -> Scenario --> bots    who is who, and in which room
//!                  \-> phases  how many there are, and when
//! ```

pub mod bots;
pub mod phases;

use std::time::Duration;

use toml::{Table, Value};

use crate::plan::units::{
    parse_count, parse_duration, parse_rate, parse_read_rate, parse_sizes, parse_whole,
};
use crate::threshold::Threshold;
use bots::{BOTS_MAX, Bot, BotKind, STAY_MS, WEIGHTS_MAX};
use phases::{PHASES_MAX, Phase, Phases};

/// The scenarios that are built in, as the files they could be.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("arena", include_str!("../scenarios/arena.toml")),
    ("world", include_str!("../scenarios/world.toml")),
    ("state", include_str!("../scenarios/state.toml")),
    ("chat", include_str!("../scenarios/chat.toml")),
    ("danmaku", include_str!("../scenarios/danmaku.toml")),
    ("quotes", include_str!("../scenarios/quotes.toml")),
    ("idle", include_str!("../scenarios/idle.toml")),
    ("lobby", include_str!("../scenarios/lobby.toml")),
];

/// Names further from all known ones than this share of their length are not misspelt ones.
const SIMILAR_MIN: f64 = 0.6;

/// The smallest publication: a stamp, and something behind it.
const PAYLOAD_BYTES_MIN: u32 = 20;

/// The largest publication: the wire's limit of an event.
const PAYLOAD_BYTES_MAX: u32 = tickloom_protocol::limits::EVENT_BYTES_MAX as u32;

/// The longest stay in a room of a lobby.
const STAY_MS_MAX: u128 = 3_600_000;

/// What a run puts on a server.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// What reports call it.
    pub name: String,
    /// When how many clients are there; empty to keep all of them all the time.
    pub phases: Phases,
    /// At least one.
    pub bots: Vec<Bot>,
    /// What must hold.
    pub thresholds: Vec<Threshold>,
}

/// Why a text is not a scenario.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is no TOML.
    #[error("{0}")]
    Syntax(String),
    /// There is no such key.
    #[error("{place} has no key `{key}`; {hint}")]
    UnknownKey {
        /// Where it stands.
        place: String,
        /// The key.
        key: String,
        /// Which one may have been meant, or which there are.
        hint: String,
    },
    /// A value does not fit its key.
    #[error("{place}: {message}")]
    BadValue {
        /// Where it stands, with its key.
        place: String,
        /// What would do.
        message: String,
    },
}

impl Scenario {
    /// A scenario that is built in.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Self::parse(text).expect("the scenarios that are built in are tested"))
    }

    /// Reads a scenario.
    ///
    /// # Errors
    /// [`ScenarioError`], which says where and what would do.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let root: Table = text
            .parse()
            .map_err(|error: toml::de::Error| ScenarioError::Syntax(error.to_string()))?;
        let root = Section { place: "the scenario".to_owned(), table: &root };
        root.check_keys(&["name", "phase", "bot", "thresholds"])?;
        let name = root.text("name")?.unwrap_or("unnamed").to_owned();
        let mut bots = Vec::new();
        for section in root.sections("bot", BOTS_MAX)? {
            bots.push(read_bot(&section)?);
        }
        if bots.is_empty() {
            return Err(root.bad("bot", "at least one [[bot]] is needed"));
        }
        if bots.iter().map(|bot| u64::from(bot.weight)).sum::<u64>() > u64::from(WEIGHTS_MAX) {
            return Err(root.bad("bot", &format!("weights together must be {WEIGHTS_MAX} or less")));
        }
        let mut phases: Vec<Phase> = Vec::new();
        for section in root.sections("phase", PHASES_MAX)? {
            phases.push(read_phase(&section, phases.last())?);
        }
        let phases = Phases(phases);
        if !phases.0.is_empty() && phases.most() == 0 {
            return Err(root.bad("phase", "no phase has any clients"));
        }
        Ok(Self { name, phases, bots, thresholds: read_thresholds(&root)? })
    }
}

fn read_bot(section: &Section<'_>) -> Result<Bot, ScenarioError> {
    section.check_keys(&[
        "weight",
        "kind",
        "room_type",
        "room_size",
        "rate",
        "payload",
        "read_rate",
        "options",
        "stay",
    ])?;
    let name = section
        .text("kind")?
        .ok_or_else(|| section.bad("kind", &format!("is needed: {}", names(BotKind::ALL))))?;
    let kind = BotKind::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| {
        let hint = hint(name, BotKind::ALL.iter().map(|(name, _)| *name));
        section.bad("kind", &format!("there are no `{name}` bots; {hint}"))
    })?;
    let payload_bytes = section
        .read("payload", parse_sizes)?
        .unwrap_or((PAYLOAD_BYTES_MIN, 10 * PAYLOAD_BYTES_MIN));
    if payload_bytes.0 < PAYLOAD_BYTES_MIN || payload_bytes.1 > PAYLOAD_BYTES_MAX {
        let message = format!("must be within {PAYLOAD_BYTES_MIN}..{PAYLOAD_BYTES_MAX}");
        return Err(section.bad("payload", &message));
    }
    let rate_hz = section.read("rate", parse_rate)?.unwrap_or(kind.rate_hz());
    if rate_hz > 0 && kind.rate_hz() == 0 {
        return Err(section.bad("rate", &format!("`{name}` bots send nothing by the clock")));
    }
    let stay_ms = section.read("stay", parse_stay)?;
    if stay_ms.is_some() && kind != BotKind::Lobby {
        return Err(section.bad("stay", "only `lobby` bots go from room to room"));
    }
    Ok(Bot {
        weight: section.read("weight", parse_count)?.map_or(1, u32::from),
        kind,
        room_type: section.text("room_type")?.unwrap_or(kind.room_type()).to_owned(),
        room_size: section.read("room_size", parse_count)?.map_or(kind.room_size(), u32::from),
        rate_hz,
        payload_bytes,
        read_rate: section.read("read_rate", parse_read_rate)?,
        options: section.text("options")?.unwrap_or_default().to_owned(),
        stay_ms: stay_ms.unwrap_or(STAY_MS),
    })
}

fn read_phase(section: &Section<'_>, before: Option<&Phase>) -> Result<Phase, ScenarioError> {
    section.check_keys(&["clients", "over", "hold"])?;
    let clients = section.read("clients", parse_ramp)?;
    let (over, hold) =
        (section.read("over", parse_duration)?, section.read("hold", parse_duration)?);
    let (from, to) = match (clients, before) {
        (Some((Some(from), to)), _) => (from, to),
        // A single number is where a ramp leads, and with `hold` how many there are.
        (Some((None, to)), Some(before)) if over.is_some() => (before.to, to),
        (Some((None, to)), _) => (to, to),
        (None, Some(before)) => (before.to, before.to),
        (None, None) => {
            return Err(
                section.bad("clients", "the first phase says how many, such as \"0 -> 4k\"")
            );
        }
    };
    let duration = match (over, hold) {
        (Some(over), None) => over,
        (None, Some(hold)) if from == to => hold,
        (None, Some(_)) => return Err(section.bad("hold", "a ramp takes its time `over`")),
        _ => return Err(section.bad("over", "either `over` or `hold` says how long it takes")),
    };
    if let Some(before) = before.filter(|before| before.to != from) {
        let message = format!("the phase before ends with {} clients", before.to);
        return Err(section.bad("clients", &message));
    }
    if duration < Duration::from_millis(100) {
        return Err(section.bad("over", "a phase takes at least 100ms"));
    }
    Ok(Phase { from, to, duration })
}

fn read_thresholds(root: &Section<'_>) -> Result<Vec<Threshold>, ScenarioError> {
    let Some(value) = root.table.get("thresholds") else { return Ok(Vec::new()) };
    let wrong =
        || root.bad("thresholds", "expected a table such as \"state_age.p99\" = \"< 80ms\"");
    let table = value.as_table().ok_or_else(wrong)?;
    table
        .iter()
        .map(|(figure, limit)| {
            let limit = limit.as_str().ok_or_else(wrong)?;
            let place = || format!("thresholds.\"{figure}\"");
            Threshold::parse(&format!("{figure} {limit}"))
                .map_err(|message| ScenarioError::BadValue { place: place(), message })
        })
        .collect()
}

/// `0 -> 4k`, or a single number.
fn parse_ramp(text: &str) -> Result<(Option<u32>, u32), String> {
    match text.split_once("->") {
        Some((from, to)) => Ok((Some(parse_whole(from.trim())?), parse_whole(to.trim())?)),
        None => Ok((None, parse_whole(text.trim())?)),
    }
}

/// Milliseconds from the shortest to the longest: `1s..5s`, or a single time.
fn parse_stay(text: &str) -> Result<(u32, u32), String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let ms = |text: &str| parse_duration(text.trim()).map(|stay| stay.as_millis());
    match (ms(least)?, ms(most)?) {
        (least, most) if (1..=most).contains(&least) && most <= STAY_MS_MAX => {
            Ok((least as u32, most as u32))
        }
        _ => Err("expected times such as 2s or 1s..5s, of an hour at most".to_owned()),
    }
}

/// A table with the place it stands at.
struct Section<'a> {
    place: String,
    table: &'a Table,
}

impl Section<'_> {
    fn bad(&self, key: &str, message: &str) -> ScenarioError {
        let place = format!("`{key}` of {}", self.place);
        ScenarioError::BadValue { place, message: message.to_owned() }
    }

    fn check_keys(&self, known: &[&str]) -> Result<(), ScenarioError> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(ScenarioError::UnknownKey {
                place: self.place.clone(),
                key: key.clone(),
                hint: hint(key, known.iter().copied()),
            }),
        }
    }

    /// The tables of an array, `[[key]]`.
    fn sections(&self, key: &str, most: usize) -> Result<Vec<Section<'_>>, ScenarioError> {
        let Some(value) = self.table.get(key) else { return Ok(Vec::new()) };
        let wrong = || self.bad(key, &format!("expected tables, each under [[{key}]]"));
        let values = value.as_array().ok_or_else(wrong)?;
        if values.len() > most {
            return Err(self.bad(key, &format!("there may be {most} of them")));
        }
        values
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let table = value.as_table().ok_or_else(wrong)?;
                Ok(Section { place: format!("[[{key}]] number {}", at + 1), table })
            })
            .collect()
    }

    fn text(&self, key: &str) -> Result<Option<&str>, ScenarioError> {
        let text = |value| Value::as_str(value).ok_or_else(|| self.bad(key, "expected text"));
        self.table.get(key).map(text).transpose()
    }

    /// A value with its unit, which a plain number may do without.
    fn read<T>(
        &self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ScenarioError> {
        let read = |value: &Value| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Integer(number) => number.to_string(),
                Value::Float(number) => number.to_string(),
                // Nothing is parsed from it; it is named as what it is.
                other => other.type_str().to_owned(),
            };
            parse(&text).map_err(|message| self.bad(key, &format!("{message}; found `{text}`")))
        };
        self.table.get(key).map(read).transpose()
    }
}

/// The known name that is nearest to what was typed, or all of them.
pub(crate) fn hint<'a>(typed: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let nearest = known
        .clone()
        .map(|name| (strsim::normalized_damerau_levenshtein(typed, name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((similar, name)) if similar >= SIMILAR_MIN => format!("did you mean `{name}`?"),
        _ => format!("there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn names<const N: usize>(known: [(&str, BotKind); N]) -> String {
    known.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests;
