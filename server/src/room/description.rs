//! Rooms that need no code: what they are made of and who may do what, as data.
//!
//! A description comes from `[rooms.<name>]` in the configuration file, or as JSON of the same
//! shape from the first joiner of a room, where the file allows it. `reading` turns either into a
//! [`Description`]; whoever has one may rely on every rule that is checked there.

mod reading;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tickloom_protocol::limits;
use tickloom_protocol::schema::{FieldDesc, Scope};

use crate::config::problem::Problem;

pub use reading::read_all;

/// Described room types by name.
pub type Descriptions = BTreeMap<Box<str>, Description>;

/// Room types that are code and cannot be described.
pub const BUILT_IN: &[&str] = &["arena"];

/// Most seats in a described room: member ids have 16 bits, 0 is the server.
pub const MEMBERS_MAX: usize = u16::MAX as usize - 1;

/// Most topics of a room, for the reason that bounds its components.
pub const TOPICS_MAX: usize = limits::COMPONENTS_MAX;

/// Most events a room keeps.
pub const EVENTS_MAX: usize = 65_536;

/// Most bytes of events a room keeps: a late joiner gets all of them in one message.
pub const EVENTS_BYTES_MAX: usize = limits::SERVER_MESSAGE_BYTES_MAX;

/// What a room type is.
#[derive(Clone, PartialEq, Debug)]
pub struct Description {
    /// When state goes out.
    pub pace: Pace,
    /// Who says what the rooms are made of.
    pub described_by: Describer,
    /// Seats.
    pub members_max: usize,
    /// Entities, the room and one per member among them.
    pub entities_max: usize,
    /// Who may add and remove entities.
    pub entities: Party,
    /// Events kept for those who fall behind or come late.
    pub events_max: usize,
    /// Bytes of events kept.
    pub events_bytes_max: usize,
    /// What entities have. Within the limits of the wire, no name twice.
    pub components: Vec<Component>,
    /// What members can publish on. No name twice.
    pub topics: Vec<Topic>,
}

/// When state goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// At once, and then not again before this has passed.
    Flush(Duration),
    /// At a fixed rate.
    Tick {
        /// Ticks per second, within what a room may have.
        rate_hz: u32,
    },
}

/// Who says what rooms are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Describer {
    /// The configuration file alone.
    Server,
    /// The first joiner of a room may; the file has what they leave out.
    Joiner,
}

/// Who may do something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// No client.
    Server,
    /// Who owns the entity; of adding and removing: each member entities of their own.
    Owner,
    /// Every member.
    Members,
    /// The one member that the room has made its host.
    Host,
}

/// Who may publish. Nobody owns a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Publisher {
    /// No client.
    Server,
    /// Every member.
    Members,
    /// The one member that the room has made its host.
    Host,
}

/// A component.
#[derive(Clone, PartialEq, Debug)]
pub struct Component {
    /// What clients look it up by.
    pub name: Box<str>,
    /// What its values are.
    pub kind: Kind,
    /// Who receives them.
    pub scope: Scope,
    /// Who may write them.
    pub write: Party,
}

/// What a component's values are.
#[derive(Clone, PartialEq, Debug)]
pub enum Kind {
    /// Rows of numbers; at least one field, no name twice, ranges not empty.
    Packed(Vec<FieldDesc>),
    /// Bytes.
    Opaque {
        /// What the bytes are, as a media type.
        content_type: Box<str>,
        /// Largest value in bytes.
        value_bytes_max: usize,
    },
    /// Keys and values.
    Props {
        /// Whether `parent` and `order` make a tree that stays free of cycles.
        tree: bool,
    },
}

/// A topic of events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// What clients call it.
    pub name: Box<str>,
    /// Who may publish.
    pub publish: Publisher,
    /// Whether late joiners get the events that are still kept.
    pub history: bool,
}

/// What a table without keys means.
impl Default for Description {
    fn default() -> Self {
        Self {
            pace: Pace::Flush(Duration::from_millis(50)),
            described_by: Describer::Server,
            members_max: 200,
            entities_max: 10_000,
            entities: Party::Members,
            events_max: 256,
            events_bytes_max: 64 * 1024,
            components: Vec::new(),
            topics: Vec::new(),
        }
    }
}

impl Pace {
    /// The shortest time from one broadcast to the next.
    #[must_use]
    pub fn interval(self) -> Duration {
        match self {
            Self::Flush(interval) => interval,
            Self::Tick { rate_hz } => Duration::from_secs(1) / rate_hz,
        }
    }
}

/// Why a joiner's description cannot be used: at least one problem.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescriptionError(Vec<Problem>);

/// The first problems, in one line: this travels to a client.
impl fmt::Display for DescriptionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 3;
        for (at, problem) in self.0.iter().take(SHOWN_MAX).enumerate() {
            if at > 0 {
                f.write_str(" / ")?;
            }
            problem.fmt(f)?;
        }
        match self.0.len().saturating_sub(SHOWN_MAX) {
            0 => Ok(()),
            more => write!(f, " / and {more} more"),
        }
    }
}

impl std::error::Error for DescriptionError {}
