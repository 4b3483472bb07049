//! `interest` of a description: where entities are, and how far members see.

use tickloom_protocol::ids::ComponentId;
use tickloom_protocol::limits;
use tickloom_protocol::quantise::Mode;
use tickloom_protocol::schema::{
    ComponentDesc, FieldId, FieldType, Interest, Kind, Ring, RowLayout, Scope,
};

use crate::config::fields::Fields;
use crate::config::node::{Node, Raw};
use crate::config::problem::Problem;
use crate::config::suggestions::nearest;
use crate::config::value::{Value, misfit};
use crate::room::description::words::Name;
use crate::room::logic::Cameras;

/// The most that may be asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct SightBounds {
    /// Every cell costs the room memory and each tick a look, whether anybody is there or not.
    pub cells_max: usize,
    /// The cells in a view cost each member's frame a piece.
    pub distance_max: u8,
}

impl SightBounds {
    pub const SERVER: Self =
        Self { cells_max: limits::CELLS_MAX, distance_max: limits::RING_DISTANCE_MAX };

    /// As many cells as the built-in `world` has, and views as large as there.
    const JOINER: Self = Self { cells_max: 1_024, distance_max: 4 };

    /// What a stranger may ask for: no more than that, or than the file describes.
    pub fn of_joiner(base: Option<&Interest>, components: &[ComponentDesc]) -> Self {
        let grid = base.and_then(|interest| interest.grid(components).ok());
        let Self { cells_max, distance_max } = Self::JOINER;
        Self {
            cells_max: cells_max.max(grid.map_or(0, |grid| grid.cells_count())),
            distance_max: distance_max.max(base.map_or(0, Interest::reach)),
        }
    }
}

/// Reads `interest`, if it is there and right. Its component counts in `components`.
pub(super) fn read_interest(
    fields: &mut Fields<'_>,
    components: &[ComponentDesc],
    bounds: SightBounds,
    problems: &mut Vec<Problem>,
) -> Option<(Interest, Cameras)> {
    let entry = fields.entry("interest")?;
    let mut fields = Fields::of(fields.path_of("interest"), &entry.node, problems)?;
    let found = read_component(&mut fields, components, problems);
    let axes = ["x", "y"].map(|key| {
        let (_, layout) = found?;
        read_axis(&mut fields, key, layout, problems)
    });
    let [x, y] = ["x", "y"].map(|key| fields.entry(key));
    let cell_size = read_cell_size(&mut fields, problems);
    let rings = read_rings(&mut fields, bounds, problems);
    let cameras = fields.read("cameras", problems).unwrap_or_default();
    let interest = (|| {
        let ((component, layout), [across, along]) = (found?, axes);
        let axes = [across?, along?];
        if axes[0] == axes[1] {
            let problem = Problem::new(format!(
                "`{}` and `{}` are the same field",
                fields.path_of("x"),
                fields.path_of("y")
            ));
            let marks = [x, y].into_iter().flatten();
            problems.push(marks.fold(problem, |problem, at| problem.at(&at.node.span, "")));
            return None;
        }
        let cell_size = check_cells(&mut fields, layout, axes, cell_size?, bounds, problems)?;
        Some(Interest { component, axes, cell_size, rings: rings? })
    })();
    if let Some(interest) = &interest {
        check_motion(&mut fields, &interest.rings, components, problems);
    }
    fields.finish(problems);
    Some((interest?, cameras))
}

/// The packed component that holds positions.
fn read_component<'a>(
    fields: &mut Fields<'_>,
    components: &'a [ComponentDesc],
    problems: &mut Vec<Problem>,
) -> Option<(ComponentId, &'a RowLayout)> {
    let Some(entry) = fields.entry("component") else {
        let help = "name the packed component that holds positions";
        problems.push(fields.missing("component").help(help));
        return None;
    };
    let Name(name) = fields.read("component", problems)?;
    let path = fields.path_of("component");
    let Some(index) = components.iter().position(|desc| desc.name == name) else {
        let names = components.iter().map(|desc| &*desc.name);
        let problem = Problem::new(format!("`{path}` is none of the components"));
        let label = match nearest(&name, names) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there is no {name:?}"),
        };
        problems.push(problem.at(&entry.node.span, label).help("describe it under `components`"));
        return None;
    };
    match &components[index] {
        ComponentDesc { kind: Kind::Packed(layout), scope: Scope::Room, .. } => {
            Some((ComponentId(index as u8), layout))
        }
        _ => {
            let message = format!("`{path}` needs a packed component with scope = \"room\"");
            let problem = Problem::new(message).help("cells are told to everybody in view");
            problems.push(problem.at(&entry.node.span, format!("{name:?} is none")));
            None
        }
    }
}

/// One field of the positions, which is called like the key unless that says otherwise.
fn read_axis(
    fields: &mut Fields<'_>,
    key: &'static str,
    layout: &RowLayout,
    problems: &mut Vec<Problem>,
) -> Option<FieldId> {
    let span = fields.entry(key).map_or(&None, |entry| &entry.node.span);
    let name = match fields.entry(key) {
        Some(_) => fields.read(key, problems).map(|Name(name)| name)?,
        None => key.into(),
    };
    let path = fields.path_of(key);
    let Some((id, field)) = layout.fields().enumerate().find(|(_, field)| field.name == name)
    else {
        let names: Vec<_> = layout.fields().map(|field| format!("{:?}", field.name)).collect();
        let problem = Problem::new(format!("`{path}` is none of the fields of the positions"));
        let problem = problem.help(format!("name one of {}", names.join(", ")));
        problems.push(problem.at(span, format!("there is no {name:?}")));
        return None;
    };
    let is_quantised = matches!(
        field.field_type,
        FieldType::Quant8 | FieldType::Quant16 | FieldType::Quant24 | FieldType::Quant32
    );
    if is_quantised && field.mode == Mode::Clamp {
        return Some(FieldId(id as u8));
    }
    let message = format!("`{path}` needs a quantised field with mode = \"clamp\"");
    let help = "its `min` and `max` say how far cells reach, and nothing may be outside";
    problems.push(Problem::new(message).help(help).at(span, format!("{name:?} is none")));
    None
}

fn read_cell_size(fields: &mut Fields<'_>, problems: &mut Vec<Problem>) -> Option<f32> {
    let Some(entry) = fields.entry("cell_size") else {
        let help = "write the side of a cell, in the units of the positions";
        problems.push(fields.missing("cell_size").help(help));
        return None;
    };
    let size = fields.read::<f64>("cell_size", problems)? as f32;
    if size > 0.0 && size.is_finite() {
        return Some(size);
    }
    let message =
        format!("`{}` must be more than 0, and less than 1e38", fields.path_of("cell_size"));
    problems.push(Problem::new(message).at(&entry.node.span, "a cell has a side"));
    None
}

/// The cells that cover all positions are not too many.
fn check_cells(
    fields: &mut Fields<'_>,
    layout: &RowLayout,
    axes: [FieldId; 2],
    cell_size: f32,
    bounds: SightBounds,
    problems: &mut Vec<Problem>,
) -> Option<f32> {
    let sides = axes.map(|axis| {
        let field = layout.fields().nth(usize::from(axis.0));
        let span = field.map_or(0.0, |field| field.max - field.min);
        (span / f64::from(cell_size)).ceil().max(1.0)
    });
    let [columns, rows] = sides;
    if columns * rows <= bounds.cells_max as f64 {
        return Some(cell_size);
    }
    let (path, max) = (fields.path_of("cell_size"), bounds.cells_max);
    let problem = Problem::new(format!("`{path}` makes more than {max} cells"));
    let problem = match fields.entry("cell_size") {
        Some(entry) => problem.at(&entry.node.span, format!("{columns} x {rows}")),
        None => problem,
    };
    problems.push(problem.help("make cells larger, or the positions' `min` to `max` smaller"));
    None
}

fn read_rings(
    fields: &mut Fields<'_>,
    bounds: SightBounds,
    problems: &mut Vec<Problem>,
) -> Option<Vec<Ring>> {
    let Some(entry) = fields.entry("rings") else {
        let help = "write rings = [{ distance = 1 }] for 3 x 3 cells, nearest first";
        problems.push(fields.missing("rings").help(help));
        return None;
    };
    let list = fields.list("rings", problems)?;
    if !(1..=limits::RINGS_MAX).contains(&list.len()) {
        let (path, max) = (fields.path_of("rings"), limits::RINGS_MAX);
        let problem = Problem::new(format!("`{path}` takes 1 to {max} rings"));
        problems.push(problem.at(&entry.node.span, format!("these are {}", list.len())));
        return None;
    }
    let mut rings: Vec<Ring> = Vec::new();
    for (path, node) in list {
        let ring = read_ring(&path, node, bounds, problems)?;
        if let Some(nearer) = rings.last() {
            let (rule, help) = if ring.distance <= nearer.distance {
                ("distance` must be more than", "rings go from the nearest to the farthest")
            } else if ring.every < nearer.every {
                ("every` must not be less than", "what is farther comes more rarely")
            } else {
                rings.push(ring);
                continue;
            };
            let problem = Problem::new(format!("`{path}.{rule} in the ring before"));
            problems.push(problem.at(&node.span, "").help(help));
            return None;
        }
        rings.push(ring);
    }
    Some(rings)
}

fn read_ring(
    path: &str,
    node: &Node,
    bounds: SightBounds,
    problems: &mut Vec<Problem>,
) -> Option<Ring> {
    let mut fields = Fields::of(path.to_owned(), node, problems)?;
    if fields.entry("distance").is_none() {
        let help = "write how many cells from the middle it reaches";
        problems.push(fields.missing("distance").help(help));
    }
    let distances = 0..=usize::from(bounds.distance_max);
    let distance = fields.read_within("distance", &distances, problems);
    let every = match fields.entry("every") {
        Some(_) => fields.read("every", problems),
        None => Some(Every(1)),
    };
    fields.finish(problems);
    Some(Ring { distance: distance? as u8, every: every?.0 })
}

/// Rings that differ in how often motion comes are of no use where nothing is motion.
fn check_motion(
    fields: &mut Fields<'_>,
    rings: &[Ring],
    components: &[ComponentDesc],
    problems: &mut Vec<Problem>,
) {
    let is_spread = rings.iter().any(|ring| ring.every > 1);
    let Some(entry) = fields.entry("rings").filter(|_| is_spread) else { return };
    if !components.iter().any(|desc| desc.motion) {
        let path = fields.path_of("rings");
        let message = format!("`{path}` say how often motion comes, and no component is motion");
        let help = "write motion = true where only the newest row counts, or leave `every` out";
        problems.push(Problem::new(message).at(&entry.node.span, "").help(help));
    }
}

/// Every how-manieth state brings the motion of a ring.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Every(u8);

impl Value for Every {
    fn accepts() -> String {
        "1, 2, 4 or 8".to_owned()
    }

    fn read(raw: &Raw) -> Result<Self, String> {
        let Raw::Integer(number) = raw else { return Err(misfit(raw)) };
        match number {
            1 | 2 | 4 | 8 => Ok(Self(*number as u8)),
            _ => Err(format!("this is {number}")),
        }
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

const _: () = assert!(limits::RING_EVERY_MAX == 8, "`Every` names all there are");
