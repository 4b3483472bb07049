//! `components` of a description: what entities are made of.

use std::collections::BTreeSet;

use tickloom_protocol::limits;
use tickloom_protocol::quantise::{Mode, Quantiser};
use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, Kind, RowLayout, Scope, WritePolicy,
};

use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::problem::{Problem, Span};
use crate::config::units::Size;
use crate::config::value::Value;
use crate::room::description::reading::mark;
use crate::room::description::words::{KindName, MediaType, Name};
use crate::room::description::{COMPONENTS_MAX, OWN_COMPONENTS, ROW_BYTES_SUM_MAX};

const VALUE_BYTES_MAX_DEFAULT: usize = 16 * 1024;

/// Reads `components`, if they are there.
pub(super) fn read_components(
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
    let tree = read_public(&mut fields, "tree", scope, problems);
    let motion = read_public(&mut fields, "motion", scope, problems);
    fields.finish(problems);
    // What belongs to another kind is told above, and is nothing to go on with.
    let (tree, motion) =
        (tree && kind_name == Some(KindName::Props), motion && kind_name == Some(KindName::Packed));
    Some(ComponentDesc { name: name?, kind: kind?, scope, write, tree, motion })
}

/// Whether the component is a tree or motion, which everybody must see in the same way.
fn read_public(
    fields: &mut Fields<'_>,
    key: &'static str,
    scope: Scope,
    problems: &mut Vec<Problem>,
) -> bool {
    let is_set = fields.read(key, problems).unwrap_or(false);
    if is_set
        && scope != Scope::Room
        && let Some(entry) = fields.entry(key)
    {
        let message = format!("`{}` needs scope = {}", fields.path_of(key), Scope::Room.show());
        let problem = Problem::new(message).help(format!("everybody must see the same {key}"));
        problems.push(problem.at(&entry.key_span, ""));
    }
    is_set
}

/// The keys that only one kind has.
const KIND_KEYS: &[(&str, KindName)] = &[
    ("fields", KindName::Packed),
    ("value_bytes_max", KindName::Opaque),
    ("content_type", KindName::Opaque),
    ("tree", KindName::Props),
    ("motion", KindName::Packed),
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

/// A list is too long.
pub(super) fn too_many(count: usize, what: &str, max: usize, span: &Span) -> Problem {
    Problem::new(format!("{count} {what} are too many: at most {max}")).at(span, "")
}

/// The names that one list cannot use any more.
#[derive(Default)]
pub(super) struct Names {
    /// Those that were never free.
    own: &'static [&'static str],
    taken: BTreeSet<Box<str>>,
}

impl Names {
    /// The `name` of a table, which must differ from the others.
    pub fn read(
        &mut self,
        fields: &mut Fields<'_>,
        problems: &mut Vec<Problem>,
    ) -> Option<Box<str>> {
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
