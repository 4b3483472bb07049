//! From what was written to a [`Description`], with everything that is wrong with it.

use std::collections::BTreeSet;
use std::time::Duration;

use tickloom_protocol::ids::RoomKey;
use tickloom_protocol::limits;
use tickloom_protocol::quantise::{Mode, Quantiser};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, Kind, RowLayout, Scope, TopicDesc, WritePolicy,
};

use crate::config::fields::Fields;
use crate::config::node::{Entry, Node, Raw};
use crate::config::problem::{Problem, Span};
use crate::config::settings::TICK_RATES;
use crate::config::units::{Rate, Size};
use crate::config::value::Value;
use crate::room::description::words::{KindName, MediaType, Name, Publisher};
use crate::room::description::{
    BUILT_IN, COMPONENTS_MAX, Describer, Description, DescriptionError, Descriptions, EVENTS_MAX,
    MEMBERS_MAX, OWN_COMPONENTS, ROW_BYTES_SUM_MAX,
};
use crate::room::events;
use crate::room::logic::Cadence;

/// The interval of the fastest tick, and about as long as anybody waits for a change.
const FLUSH_MIN: Duration = Duration::from_millis(8);
const FLUSH_MAX: Duration = Duration::from_secs(60);

/// As for all rooms.
const LINGER_MAX: Duration = Duration::from_secs(86_400);
/// The longest that a seat may be kept.
const GRACE_MAX: Duration = Duration::from_secs(3600);

const VALUE_BYTES_MAX_DEFAULT: usize = 16 * 1024;

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
        let entities_max = fields.read_within("entities_max", &(2..=bounds.entities), problems);
        let events_max = fields.read_within("events_max", &(0..=bounds.events), problems);
        let events_bytes = Size(0)..=Size(bounds.events_bytes);
        let events_bytes_max = fields.read_within("events_bytes_max", &events_bytes, problems);
        let description = Description {
            cadence: cadence.unwrap_or(base.cadence),
            described_by,
            members_max: members_max.unwrap_or(base.members_max),
            spectators_max: spectators_max.unwrap_or(base.spectators_max),
            names_max: keeping.names_max,
            presence_rate: keeping.presence_rate,
            entities_max: entities_max.unwrap_or(base.entities_max),
            entities: fields.read("entities", problems).unwrap_or(base.entities),
            events_max: events_max.unwrap_or(base.events_max),
            events_bytes_max: events_bytes_max.map_or(base.events_bytes_max, |size| size.0),
            compression,
            is_listed: keeping.is_listed,
            linger: keeping.linger,
            record,
            grace: keeping.grace,
            components: read_components(&mut fields, problems)
                .unwrap_or_else(|| base.components.clone()),
            topics: read_topics(&mut fields, problems).unwrap_or_else(|| base.topics.clone()),
        };
        check_capacities(&mut fields, &description, problems);
        fields.finish(problems);
        Some(description)
    }
}

/// How rooms are kept, which is not for joiners to say.
struct Keeping {
    names_max: usize,
    presence_rate: Option<Rate>,
    is_listed: bool,
    linger: Option<Duration>,
    grace: Option<Duration>,
}

impl Keeping {
    fn of(base: &Description) -> Self {
        let Description { names_max, presence_rate, is_listed, linger, grace, .. } = *base;
        Self { names_max, presence_rate, is_listed, linger, grace }
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
    entities: usize,
    events: usize,
    events_bytes: usize,
}

impl Bounds {
    const SERVER: Self = Self {
        interval_min: Duration::ZERO,
        members: MEMBERS_MAX,
        spectators: MEMBERS_MAX,
        entities: limits::ENTITY_ID_MAX as usize,
        events: EVENTS_MAX,
        events_bytes: events::KEPT_BYTES_MAX,
    };

    fn of(base: &Description) -> Self {
        Self {
            interval_min: base.cadence.interval(),
            members: base.members_max,
            spectators: base.spectators_max,
            entities: base.entities_max,
            events: base.events_max,
            events_bytes: base.events_bytes_max,
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

/// Points at those of the keys that were written.
fn mark(problem: Problem, fields: &mut Fields<'_>, keys: &[&'static str]) -> Problem {
    keys.iter().fold(problem, |problem, key| match fields.entry(key) {
        Some(entry) => problem.at(&entry.node.span, ""),
        None => problem,
    })
}

fn read_components(
    fields: &mut Fields<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Vec<ComponentDesc>> {
    let list = fields.list("components", problems)?;
    let span = fields.entry("components").map_or(&None, |entry| &entry.node.span);
    let mut names = Names { own: &OWN_COMPONENTS, ..Names::default() };
    let mut components = Vec::new();
    if list.len() > COMPONENTS_MAX {
        problems.push(too_many(list.len(), "components", COMPONENTS_MAX, span));
    }
    let mut row_bytes = 0;
    for (path, node) in list.into_iter().take(COMPONENTS_MAX) {
        let Some(component) = read_component(path.clone(), node, &mut names, problems) else {
            continue;
        };
        if let Kind::Packed(layout) = &component.kind {
            let before = row_bytes;
            row_bytes += layout.row_bytes();
            let max = ROW_BYTES_SUM_MAX;
            if before <= max && row_bytes > max {
                let message = format!("the rows of all components have at most {max} bytes");
                let label = format!("with `{path}` they have {row_bytes}");
                problems.push(Problem::new(message).at(&node.span, label));
            }
        }
        components.push(component);
    }
    Some(components)
}

fn read_component(
    path: String,
    node: &Node,
    names: &mut Names,
    problems: &mut Vec<Problem>,
) -> Option<ComponentDesc> {
    let mut fields = Fields::of(path, node, problems)?;
    let name = names.read(&mut fields, problems);
    let scope = fields.read("scope", problems).unwrap_or_default();
    let write = fields.read("write", problems).unwrap_or(WritePolicy::Owner);
    let kind_name = fields.read::<KindName>("kind", problems);
    if fields.entry("kind").is_none() {
        let help = format!("write kind = {}", KindName::accepts());
        problems.push(fields.missing("kind").help(help));
    }
    let kind = kind_name.and_then(|kind| read_kind(&mut fields, kind, problems));
    for (key, owner) in KIND_KEYS {
        let entry = fields.entry(key);
        if let (Some(kind), Some(entry)) = (kind_name, entry)
            && kind != *owner
        {
            let message = format!(
                "`{}` belongs to kind = {}, this one is {}",
                fields.path_of(key),
                owner.show(),
                kind.show()
            );
            problems.push(Problem::new(message).at(&entry.key_span, ""));
        }
    }
    let tree = read_tree(&mut fields, scope, problems);
    fields.finish(problems);
    Some(ComponentDesc { name: name?, kind: kind?, scope, write, tree, motion: false })
}

/// Whether the component makes a tree, which everybody must see in the same way.
fn read_tree(fields: &mut Fields<'_>, scope: Scope, problems: &mut Vec<Problem>) -> bool {
    let is_tree = fields.read("tree", problems).unwrap_or(false);
    if is_tree
        && scope != Scope::Room
        && let Some(entry) = fields.entry("tree")
    {
        let message = format!("`{}` needs scope = {}", fields.path_of("tree"), Scope::Room.show());
        let problem = Problem::new(message).help("everybody must see the same tree");
        problems.push(problem.at(&entry.key_span, ""));
    }
    is_tree
}

/// The keys that only one kind has.
const KIND_KEYS: &[(&str, KindName)] = &[
    ("fields", KindName::Packed),
    ("value_bytes_max", KindName::Opaque),
    ("content_type", KindName::Opaque),
    ("tree", KindName::Props),
];

fn read_kind(fields: &mut Fields<'_>, kind: KindName, problems: &mut Vec<Problem>) -> Option<Kind> {
    match kind {
        KindName::Packed => read_row(fields, problems).map(Kind::Packed),
        KindName::Opaque => {
            let sizes = Size(1)..=Size(limits::OPAQUE_BYTES_MAX);
            let size = fields.read_within("value_bytes_max", &sizes, problems);
            let content_type = fields.read("content_type", problems);
            let content_type = content_type.unwrap_or(MediaType("application/octet-stream".into()));
            let value_bytes_max = size.map_or(VALUE_BYTES_MAX_DEFAULT, |size| size.0);
            Some(Kind::Opaque { content_type: content_type.0, value_bytes_max })
        }
        KindName::Props => Some(Kind::Props),
    }
}

fn read_row(fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Option<RowLayout> {
    if fields.entry("fields").is_none() {
        problems.push(fields.missing("fields").help("a packed component is made of fields"));
        return None;
    }
    let list = fields.list("fields", problems)?;
    let span = fields.entry("fields").map_or(&None, |entry| &entry.node.span);
    if list.is_empty() {
        let message = format!("`{}` needs at least one field", fields.path_of("fields"));
        problems.push(Problem::new(message).at(span, ""));
        return None;
    }
    if list.len() > limits::FIELDS_MAX {
        problems.push(too_many(list.len(), "fields", limits::FIELDS_MAX, span));
    }
    let mut names = Names::default();
    let row = list.into_iter().take(limits::FIELDS_MAX);
    let row: Vec<_> =
        row.filter_map(|(path, node)| read_field(path, node, &mut names, problems)).collect();
    // Without a field that is missing for a problem, the rest makes a row; what cannot is told.
    RowLayout::new(row).ok()
}

fn read_field(
    path: String,
    node: &Node,
    names: &mut Names,
    problems: &mut Vec<Problem>,
) -> Option<FieldDesc> {
    let mut fields = Fields::of(path, node, problems)?;
    let name = names.read(&mut fields, problems);
    let field_type = fields.read::<FieldType>("type", problems);
    if fields.entry("type").is_none() {
        problems.push(fields.missing("type").help(format!("write {}", FieldType::accepts())));
    }
    let mode = fields.read("mode", problems);
    let (min, max) = (fields.read("min", problems), fields.read("max", problems));
    let interpolation = fields.read("interpolation", problems).unwrap_or_default();
    if let Some(field_type) = field_type {
        check_range(&mut fields, field_type, [min.unwrap_or(0.0), max.unwrap_or(0.0)], problems);
    }
    fields.finish(problems);
    let mut field = FieldDesc::new(&name?, field_type?);
    field.mode = mode.unwrap_or(field.mode);
    field.min = min.unwrap_or(field.min);
    field.max = max.unwrap_or(field.max);
    field.interpolation = interpolation;
    Some(field)
}

/// Quantised fields need a range, others have none.
fn check_range(
    fields: &mut Fields<'_>,
    field_type: FieldType,
    [min, max]: [f64; 2],
    problems: &mut Vec<Problem>,
) {
    let quantised = matches!(
        field_type,
        FieldType::Quant8 | FieldType::Quant16 | FieldType::Quant24 | FieldType::Quant32
    );
    if quantised && fields.entry("max").is_none() {
        problems.push(fields.missing("max").help("a quantised field maps `min` to `max`"));
        return;
    }
    let bits = field_type.bytes() as u32 * 8;
    // The mode changes nothing about which ranges there are.
    let range = Quantiser::new(bits, Mode::Clamp, min, max);
    if quantised && range.is_none() && !fields.any_wrong(&["min", "max"]) {
        let [low, high] = ["min", "max"].map(|key| fields.path_of(key));
        let problem = Problem::new(format!("`{low}` must be less than `{high}`, by a finite span"));
        let problem = mark(problem, fields, &["max", "min"]);
        problems.push(problem.note(format!("{} to {}", min.show(), max.show())));
    }
    for key in ["min", "max", "mode"] {
        if !quantised && let Some(entry) = fields.entry(key) {
            let path = fields.path_of(key);
            let shown = field_type.show();
            let problem =
                Problem::new(format!("`{path}` is for quantised fields, not for {shown}"));
            let problem = problem.help("only quant8, quant16, quant24 and quant32 have a range");
            problems.push(problem.at(&entry.key_span, ""));
        }
    }
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

fn too_many(count: usize, what: &str, max: usize, span: &Span) -> Problem {
    Problem::new(format!("{count} {what} are too many: at most {max}")).at(span, "")
}

/// The names that one list cannot use any more.
#[derive(Default)]
struct Names {
    /// Those that were never free.
    own: &'static [&'static str],
    taken: BTreeSet<Box<str>>,
}

impl Names {
    /// The `name` of a table, which must differ from the others.
    fn read(&mut self, fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Option<Box<str>> {
        let Some(entry) = fields.entry("name") else {
            problems.push(fields.missing("name"));
            return None;
        };
        let Name(name) = fields.read("name", problems)?;
        let path = fields.path_of("name");
        if self.own.contains(&&*name) {
            let problem = Problem::new(format!("`{path}` cannot be {name:?}"));
            let problem = problem.help("every described room has one of this name: choose another");
            problems.push(problem.at(&entry.node.span, ""));
        } else if !self.taken.insert(name.clone()) {
            let message = format!("`{path}` is used twice");
            problems.push(Problem::new(message).at(&entry.node.span, "there is one before it"));
        }
        Some(name)
    }
}
