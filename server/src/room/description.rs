//! Rooms that need no code: what they are made of and who may do what, as data.
//!
//! A description comes from `[rooms.<name>]` in the configuration file, or as JSON of the same
//! shape from the first joiner of a room, where the file allows it. `reading` turns either into a
//! [`Description`]; whoever has one may rely on every rule that is checked there. A joiner is a
//! stranger: what it asks for is at most what the file describes, and where the file says nothing
//! of interest, it is cells and views that cost no more than those of the built-in `world`.

mod components;
mod interest;
mod reading;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tickloom_protocol::limits;
use tickloom_protocol::schema::{ComponentDesc, FieldType, Interest, TopicDesc, WritePolicy};

use crate::config::problem::Problem;
use crate::config::units::Rate;
use crate::recording::Recording;
use crate::room::logic::{Cadence, Cameras, Compression, Dilation};

pub use reading::read_all;

/// Described room types by name.
pub type Descriptions = BTreeMap<Box<str>, Description>;

/// Room types that are code and cannot be described.
pub const BUILT_IN: &[&str] = &["arena", "world"];

/// Most seats in a described room: member ids have 16 bits, 0 is the server.
pub const MEMBERS_MAX: usize = u16::MAX as usize - 1;

/// The component that says whose connection broke.
pub const AWAY: &str = "away";

/// The components that every described room has beside those it describes: what each member calls
/// itself and which entity is the host's before them, and who is away behind them.
pub const OWN_COMPONENTS: [&str; 3] = ["name", "host", AWAY];

/// Most components that can be described.
pub const COMPONENTS_MAX: usize = limits::COMPONENTS_MAX - OWN_COMPONENTS.len();

/// Bytes of one row of each packed component that can be described, added up: one entity is the
/// host's, and somebody may be away.
pub const ROW_BYTES_SUM_MAX: usize =
    limits::ROW_BYTES_SUM_MAX - FieldType::EntityRef.bytes() - FieldType::Bool.bytes();

/// Most events a room keeps.
pub const EVENTS_MAX: usize = 65_536;

/// What a room type is.
#[derive(Clone, PartialEq, Debug)]
pub struct Description {
    /// When state goes out.
    pub cadence: Cadence,
    /// Who says what the rooms are made of.
    pub described_by: Describer,
    /// Seats.
    pub members_max: usize,
    /// Places for those who only watch.
    pub spectators_max: usize,
    /// How much later those see what happens, where there is a rate and no interest.
    pub spectator_delay: Duration,
    /// Members beyond which those who come are not shown by name, until one who is goes.
    pub names_max: usize,
    /// How often a member may change its own entity; as often as it likes when absent.
    pub presence_rate: Option<Rate>,
    /// Entities, the room and one per member among them.
    pub entities_max: usize,
    /// Who may add and remove entities.
    pub entities: WritePolicy,
    /// Events kept for those who fall behind or come late.
    pub events_max: usize,
    /// Bytes of events kept.
    pub events_bytes_max: usize,
    /// Whether what is sent to many is compressed; absent, as suits the cadence.
    pub compression: Option<Compression>,
    /// Whether new rooms are shown to those who do not know their names.
    pub is_listed: bool,
    /// Whether time may run slower when the server has too much to do, where there is a rate.
    pub dilation: Dilation,
    /// How long a room without members keeps its state; as for all rooms when absent.
    pub linger: Option<Duration>,
    /// What is kept of the rooms, where the server has a place for it.
    pub record: Recording,
    /// How long the seat of a member is kept whose connection broke; absent, as the server is
    /// configured.
    pub grace: Option<Duration>,
    /// What entities have beside what every described room has. Together within the limits of the
    /// wire, no name twice.
    pub components: Vec<ComponentDesc>,
    /// Where entities are, in one of `components`, by its position there, and how far members see;
    /// everybody is sent everything when absent.
    pub interest: Option<Interest>,
    /// Where members may look, if not all is sent.
    pub cameras: Cameras,
    /// What members can publish on. No name twice.
    pub topics: Vec<TopicDesc>,
}

/// Who says what rooms are made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Describer {
    /// The configuration file alone.
    Server,
    /// The first joiner of a room may; the file has what they leave out.
    Joiner,
}

/// What a table without keys means.
impl Default for Description {
    fn default() -> Self {
        Self {
            cadence: Cadence::OnChange { interval: Duration::from_millis(50) },
            described_by: Describer::Server,
            members_max: 200,
            spectators_max: 0,
            spectator_delay: Duration::ZERO,
            names_max: MEMBERS_MAX,
            presence_rate: None,
            entities_max: 10_000,
            entities: WritePolicy::Members,
            events_max: 256,
            events_bytes_max: 64 * 1024,
            compression: None,
            is_listed: false,
            dilation: Dilation::Never,
            linger: None,
            record: Recording::Off,
            grace: None,
            components: Vec::new(),
            interest: None,
            cameras: Cameras::Own,
            topics: Vec::new(),
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
