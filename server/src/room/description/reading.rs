//! From what was written to a [`Description`], with everything that is wrong with it.

use std::time::Duration;

use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::limits;
use tickloom_protocol::schema::{ComponentDesc, Interest, TopicDesc, WritePolicy};

use crate::config::fields::Fields;
use crate::config::node::{Entry, Node, Raw};
use crate::config::problem::Problem;
use crate::config::settings::TICK_RATES;
use crate::config::units::{Rate, Size};
use crate::config::value::Value;
use crate::room::description::components::{Names, read_components, too_many};
use crate::room::description::interest::{SightBounds, read_interest};
use crate::room::description::words::Publisher;
use crate::room::description::{
    BUILT_IN, Describer, Description, DescriptionError, Descriptions, EVENTS_MAX, MEMBERS_MAX,
};
use crate::room::events;
use crate::room::logic::{Cadence, Cameras, Dilation, RoomSpec};

/// The interval of the fastest tick, and about as long as anybody waits for a change.
const FLUSH_MIN: Duration = Duration::from_millis(8);
const FLUSH_MAX: Duration = Duration::from_secs(60);

/// As for all rooms.
const LINGER_MAX: Duration = Duration::from_secs(86_400);
/// The longest that a seat may be kept.
const GRACE_MAX: Duration = Duration::from_secs(3600);

/// Reads everything under `[rooms]`.
pub fn read_all(rooms: &Node, problems: &mut Vec<Problem>) -> Descriptions {
    let mut descriptions = Descriptions::new();
    let Raw::Table(table) = &rooms.raw else {
        let problem = Problem::new("`rooms` holds tables: write [rooms.NAME]");
        problems.push(problem.at(&rooms.span, format!("this is {}", rooms.raw.kind())));
        return descriptions;
    };
    for Entry { key: name, key_span, node } in &table.entries {
        if BUILT_IN.contains(&&**name) {
            let problem = Problem::new(format!("`rooms.{name}` cannot be described"));
            problems
                .push(problem.at(key_span, "this type is built in").help("choose another name"));
        } else if RoomKey::parse(name, "any").is_none() {
            let message = format!("{name:?} cannot be the name of a room type");
            let help = format!(
                "a name has 1 to {} bytes and no control characters",
                limits::NAME_BYTES_MAX
            );
            problems.push(Problem::new(message).at(key_span, "").help(help));
        }
        let reader = Reader { base: &Description::default(), author: Author::Server, problems };
        if let Some(description) = reader.read(format!("rooms.{name}"), node) {
            descriptions.insert(name.as_str().into(), description);
        }
    }
    descriptions
}

impl Description {
    /// The description of one room by its first joiner: JSON with the keys of the file. What it
    /// leaves out is as described here, and its capacities and pace are at most the ones here.
    ///
    /// # Errors
    /// Everything that is wrong with it; also, that joiners may not describe these rooms.
    pub fn by_joiner(&self, json: &[u8]) -> Result<Self, DescriptionError> {
        let refused = |message: String| DescriptionError(vec![Problem::new(message)]);
        if self.described_by == Describer::Server {
            return Err(refused("rooms of this type are described by the server alone".to_owned()));
        }
        let value: serde_json::Value = serde_json::from_slice(json)
            .map_err(|error| refused(format!("the description is not JSON: {error}")))?;
        let mut problems = Vec::new();
        let reader = Reader { base: self, author: Author::Joiner, problems: &mut problems };
        let read = reader.read(String::new(), &Node::from(value));
        match read {
            Some(description) if problems.is_empty() => Ok(description),
            _ => Err(DescriptionError(problems)),
        }
    }
}

/// Who wrote what is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Author {
    Server,
    Joiner,
}

struct Reader<'a> {
    /// What holds where nothing is written.
    base: &'a Description,
    author: Author,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn read(self, path: String, node: &Node) -> Option<Description> {
        let Self { base, author, problems } = self;
        let mut fields = Fields::of(path, node, problems)?;
        let bounds = match author {
            Author::Server => Bounds::SERVER,
            Author::Joiner => Bounds::of(base),
        };
        let cadence = read_cadence(&mut fields, bounds.interval_min, problems);
        let described_by = match author {
            Author::Server => fields.read("describe", problems).unwrap_or(base.described_by),
            Author::Joiner => base.described_by,
        };
        let compression = match author {
            Author::Server => fields.read("compression", problems).or(base.compression),
            Author::Joiner => base.compression,
        };
        let keeping = match author {
            Author::Server => Keeping::read(base, &mut fields, problems),
            Author::Joiner => Keeping::of(base),
        };
        let record = match author {
            Author::Server => fields.read("record", problems).unwrap_or(base.record),
            Author::Joiner => base.record,
        };
        let members_max = fields.read_within("members_max", &(1..=bounds.members), problems);
        let spectators = 0..=bounds.spectators;
        let spectators_max = fields.read_within("spectators_max", &spectators, problems);
        let delays = Duration::ZERO..=bounds.spectator_delay;
        let spectator_delay = fields.read_within("spectator_delay", &delays, problems);
        let entities_max = fields.read_within("entities_max", &(2..=bounds.entities), problems);
        let events_max = fields.read_within("events_max", &(0..=bounds.events), problems);
        let events_bytes = Size(0)..=Size(bounds.events_bytes);
        let events_bytes_max = fields.read_within("events_bytes_max", &events_bytes, problems);
        let content = Content::read(base, &mut fields, bounds.sight, problems);
        let description = Description {
            cadence: cadence.unwrap_or(base.cadence),
            described_by,
            members_max: members_max.unwrap_or(base.members_max),
            spectators_max: spectators_max.unwrap_or(base.spectators_max),
            spectator_delay: spectator_delay.unwrap_or(base.spectator_delay),
            names_max: keeping.names_max,
            presence_rate: keeping.presence_rate,
            entities_max: entities_max.unwrap_or(base.entities_max),
            entities: fields.read("entities", problems).unwrap_or(base.entities),
            events_max: events_max.unwrap_or(base.events_max),
            events_bytes_max: events_bytes_max.map_or(base.events_bytes_max, |size| size.0),
            compression,
            is_listed: keeping.is_listed,
            dilation: keeping.dilation,
            linger: keeping.linger,
            record,
            grace: keeping.grace,
            components: content.components,
            interest: content.interest,
            cameras: content.cameras,
            topics: read_topics(&mut fields, problems).unwrap_or_else(|| base.topics.clone()),
        };
        check_capacities(&mut fields, &description, problems);
        check_time(&mut fields, &description, problems);
        fields.finish(problems);
        Some(description)
    }
}

/// What entities are made of, and which of them members are sent.
struct Content {
    components: Vec<ComponentDesc>,
    interest: Option<Interest>,
    cameras: Cameras,
}

impl Content {
    fn read(
        base: &Description,
        fields: &mut Fields<'_>,
        bounds: SightBounds,
        problems: &mut Vec<Problem>,
    ) -> Self {
        // Positions are in a component: whoever writes other ones says where they are, too.
        let (components, otherwise) = match read_components(fields, problems) {
            Some(components) => (components, None),
            None => (base.components.clone(), base.interest.clone().map(|i| (i, base.cameras))),
        };
        let read = read_interest(fields, &components, bounds, problems);
        match read.or(otherwise) {
            Some((interest, cameras)) => Self { components, interest: Some(interest), cameras },
            None => Self { components, interest: None, cameras: Cameras::Own },
        }
    }
}

/// How rooms are kept, which is not for joiners to say.
struct Keeping {
    names_max: usize,
    presence_rate: Option<Rate>,
    is_listed: bool,
    dilation: Dilation,
    linger: Option<Duration>,
    grace: Option<Duration>,
}

impl Keeping {
    fn of(base: &Description) -> Self {
        let Description { names_max, presence_rate, is_listed, dilation, linger, grace, .. } =
            *base;
        Self { names_max, presence_rate, is_listed, dilation, linger, grace }
    }

    fn read(base: &Description, fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Self {
        let names_max = fields.read_within("names_max", &(0..=MEMBERS_MAX), problems);
        let presence_rate = fields.read_within("presence_rate", &TICK_RATES, problems);
        let linger = fields.read_within("linger", &(Duration::ZERO..=LINGER_MAX), problems);
        let grace = fields.read_within("grace", &(Duration::ZERO..=GRACE_MAX), problems);
        Self {
            names_max: names_max.unwrap_or(base.names_max),
            presence_rate: presence_rate.or(base.presence_rate),
            is_listed: fields.read("listed", problems).unwrap_or(base.is_listed),
            dilation: fields.read("dilation", problems).unwrap_or(base.dilation),
            linger: linger.or(base.linger),
            grace: grace.or(base.grace),
        }
    }
}

/// The most that may be asked for.
struct Bounds {
    interval_min: Duration,
    members: usize,
    spectators: usize,
    spectator_delay: Duration,
    entities: usize,
    events: usize,
    events_bytes: usize,
    sight: SightBounds,
}

impl Bounds {
    const SERVER: Self = Self {
        interval_min: Duration::ZERO,
        members: MEMBERS_MAX,
        spectators: MEMBERS_MAX,
        spectator_delay: RoomSpec::SPECTATOR_DELAY_MAX,
        entities: limits::ENTITY_ID_MAX as usize,
        events: EVENTS_MAX,
        events_bytes: events::KEPT_BYTES_MAX,
        sight: SightBounds::SERVER,
    };

    fn of(base: &Description) -> Self {
        Self {
            interval_min: base.cadence.interval(),
            members: base.members_max,
            spectators: base.spectators_max,
            spectator_delay: base.spectator_delay,
            entities: base.entities_max,
            events: base.events_max,
            events_bytes: base.events_bytes_max,
            sight: SightBounds::of_joiner(base.interest.as_ref(), &base.components),
        }
    }
}

fn read_cadence(
    fields: &mut Fields<'_>,
    interval_min: Duration,
    problems: &mut Vec<Problem>,
) -> Option<Cadence> {
    let flush = fields.read_within("flush", &(FLUSH_MIN..=FLUSH_MAX), problems);
    let flush = flush.map(|interval| Cadence::OnChange { interval });
    let rate = fields.read_within("tick_rate", &TICK_RATES, problems);
    let rate = rate.map(|rate| Cadence::Fixed { tick_rate_hz: rate.0, send_every: 1 });
    let (flush_key, rate_key) = (fields.entry("flush"), fields.entry("tick_rate"));
    if let (Some(flush_key), Some(rate_key)) = (flush_key, rate_key) {
        let [left, right] = ["flush", "tick_rate"].map(|key| fields.path_of(key));
        let problem = Problem::new(format!("`{left}` and `{right}` exclude each other"));
        let problem = problem.at(&flush_key.key_span, "at once, and then at most this often");
        problems.push(problem.at(&rate_key.key_span, "always at this rate"));
    }
    let cadence = flush.or(rate)?;
    if cadence.interval() < interval_min {
        let entry = flush_key.or(rate_key)?;
        let path = fields.path_of(&entry.key);
        let problem = Problem::new(format!("`{path}` is faster than rooms of this type may be"));
        let label = format!("at least {} from one to the next", interval_min.show());
        problems.push(problem.at(&entry.node.span, label));
    }
    Some(cadence)
}

/// What holds between the capacities of a room.
fn check_capacities(
    fields: &mut Fields<'_>,
    description: &Description,
    problems: &mut Vec<Problem>,
) {
    let Description { members_max, entities_max, .. } = description;
    if entities_max <= members_max && !fields.any_wrong(&["entities_max", "members_max"]) {
        let [members, entities] = ["members_max", "entities_max"].map(|key| fields.path_of(key));
        let message = format!("`{entities}` must be more than `{members}`");
        let problem = Problem::new(message)
            .help("the room is an entity, and so is every member")
            .note(format!("{entities_max} entities, {members_max} members"));
        problems.push(mark(problem, fields, &["entities_max", "members_max"]));
    }
    let keeps_nothing = description.events_max == 0 || description.events_bytes_max == 0;
    if keeps_nothing && let Some(topic) = description.topics.iter().find(|topic| topic.history) {
        let message = format!("topic {:?} has a history, but no events are kept", topic.name);
        let problem = Problem::new(message).help("raise it, or leave `history` out");
        problems.push(mark(problem, fields, &["events_max", "events_bytes_max"]));
    }
}

/// What only rooms with a rate have, and what rooms that are not sent whole have not.
fn check_time(fields: &mut Fields<'_>, description: &Description, problems: &mut Vec<Problem>) {
    let [delay, rate, interest, dilation] =
        ["spectator_delay", "tick_rate", "interest", "dilation"].map(|key| fields.path_of(key));
    let has_rate = matches!(description.cadence, Cadence::Fixed { .. });
    let is_late = !description.spectator_delay.is_zero();
    if is_late && !has_rate && !fields.any_wrong(&["tick_rate"]) {
        let problem = Problem::new(format!("`{delay}` needs `{rate}`"));
        let problem = problem.help("without a rate, nothing is due later");
        problems.push(mark(problem, fields, &["spectator_delay", "flush"]));
    }
    if is_late && description.interest.is_some() {
        let problem = Problem::new(format!("`{delay}` and `{interest}` exclude each other"));
        let problem = problem.help("only what everybody is sent is kept for later");
        problems.push(mark(problem, fields, &["spectator_delay", "interest"]));
    }
    // Where the file allows it and a joiner does without a rate, there is nothing to allow.
    let is_allowed =
        description.dilation == Dilation::Allowed && fields.entry("dilation").is_some();
    if is_allowed && !has_rate && !fields.any_wrong(&["tick_rate"]) {
        let problem = Problem::new(format!("`{dilation}` needs `{rate}`"));
        let problem = problem.help("without a rate, there is no time that could run slower");
        problems.push(mark(problem, fields, &["dilation", "flush"]));
    }
}

/// Points at those of the keys that were written.
pub(super) fn mark(problem: Problem, fields: &mut Fields<'_>, keys: &[&'static str]) -> Problem {
    keys.iter().fold(problem, |problem, key| match fields.entry(key) {
        Some(entry) => problem.at(&entry.node.span, ""),
        None => problem,
    })
}

fn read_topics(fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Option<Vec<TopicDesc>> {
    let list = fields.list("topics", problems)?;
    let span = fields.entry("topics").map_or(&None, |entry| &entry.node.span);
    if list.len() > limits::TOPICS_MAX {
        problems.push(too_many(list.len(), "topics", limits::TOPICS_MAX, span));
    }
    let mut names = Names::default();
    let topics = list.into_iter().take(limits::TOPICS_MAX).filter_map(|(path, node)| {
        let mut fields = Fields::of(path, node, problems)?;
        let name = names.read(&mut fields, problems);
        let Publisher(publish) =
            fields.read("publish", problems).unwrap_or(Publisher(WritePolicy::Members));
        let history = fields.read("history", problems).unwrap_or(false);
        fields.finish(problems);
        Some(TopicDesc { name: name?, publish, history })
    });
    Some(topics.collect())
}
