//! Descriptions of rooms that are too large to send whole.

use tickloom_protocol::ids::ComponentId;
use tickloom_protocol::schema::{FieldId, Grid, Interest, Ring, RoomSchema};

use super::*;

/// Interest in the first two fields of the first component.
pub(super) fn interest(cell_size: f32, rings: &[(u8, u8)]) -> Interest {
    let rings = rings.iter().map(|&(distance, every)| Ring { distance, every }).collect();
    Interest { component: ComponentId(0), axes: [FieldId(0), FieldId(1)], cell_size, rings }
}

/// A room with a position, a look and notes, and interest with these lines.
fn field(lines: &str) -> String {
    let axis = |name| format!("{{ name = '{name}', type = 'quant16', min = -100, max = 100 }}");
    let angle = "{ name = 'yaw', type = 'quant8', max = 6.3, mode = 'wrap' }";
    let fields = format!("[{}, {}, {angle}, {{ name = 'n', type = 'u8' }}]", axis("x"), axis("y"));
    format!(
        "[rooms.a]\n[[rooms.a.components]]\nname = 'place'\nkind = 'packed'\nmotion = true\n\
         fields = {fields}\n[[rooms.a.components]]\nname = 'hidden'\nkind = 'packed'\n\
         scope = 'owner'\nfields = {fields}\n[[rooms.a.components]]\nname = 'notes'\n\
         kind = 'props'\n[rooms.a.interest]\n{lines}\n"
    )
}

/// Before the lines of `field`.
const FIELD_LINES: usize = 15;

const RINGS: &str = "rings = [{ distance = 1 }]";

#[test]
fn interest_is_read_as_it_is_written() {
    let text = field(
        "component = 'place'\nx = 'y'\ny = 'x'\ncell_size = 12.5\ncameras = 'free'
        rings = [{ distance = 0 }, { distance = 3, every = 8 }]",
    );
    let asked = read(&text);
    assert_eq!(asked.problems, []);
    let expected = Interest { axes: [FieldId(1), FieldId(0)], ..interest(12.5, &[(0, 1), (3, 8)]) };
    let room = &asked.rooms["a"];
    assert_eq!((room.interest.as_ref(), room.cameras), (Some(&expected), Cameras::Free));
    let asked = read(&field(&format!("component = 'place'\ncell_size = 25\n{RINGS}")));
    assert_eq!(asked.rooms["a"].interest, Some(interest(25.0, &[(1, 1)])), "axes are x and y");
    assert_eq!(asked.rooms["a"].cameras, Cameras::Own);
}

/// Lines of interest, and where in them which problems are.
fn check(rows: &[(String, &[(usize, &str)])]) {
    for (lines, expected) in rows {
        let expected: Vec<_> =
            expected.iter().map(|(line, text)| format!("{}:{text}", FIELD_LINES + line)).collect();
        assert_eq!(problems(&field(lines)), expected, "{lines}");
    }
}

fn whole(lines: &str) -> String {
    format!("component = 'place'\ncell_size = 10\n{lines}")
}

#[test]
fn positions_and_cells_that_break_a_rule_are_told_where() {
    check(&[
        (
            String::new(),
            &[
                (0, "1 `rooms.a.interest` needs `component`"),
                (0, "1 `rooms.a.interest` needs `cell_size`"),
                (0, "1 `rooms.a.interest` needs `rings`"),
            ],
        ),
        (whole(""), &[(0, "1 `rooms.a.interest` needs `rings`")]),
        (format!("component = 'place'\n{RINGS}"), &[(0, "1 `rooms.a.interest` needs `cell_size`")]),
        (
            format!("component = 'plaice'\ncell_size = 1\n{RINGS}"),
            &[(1, "13 `rooms.a.interest.component` is none of the components")],
        ),
        (
            format!("component = 'hidden'\ncell_size = 1\n{RINGS}"),
            &[(
                1,
                "13 `rooms.a.interest.component` needs a packed component with scope = \"room\"",
            )],
        ),
        (
            format!("component = 'notes'\ncell_size = 1\n{RINGS}"),
            &[(
                1,
                "13 `rooms.a.interest.component` needs a packed component with scope = \"room\"",
            )],
        ),
        (
            whole(&format!("x = 'z'\n{RINGS}")),
            &[(3, "5 `rooms.a.interest.x` is none of the fields of the positions")],
        ),
        (
            whole(&format!("x = 'yaw'\ny = 'n'\n{RINGS}")),
            &[
                (3, "5 `rooms.a.interest.x` needs a quantised field with mode = \"clamp\""),
                (4, "5 `rooms.a.interest.y` needs a quantised field with mode = \"clamp\""),
            ],
        ),
        (
            whole(&format!("y = 'x'\n{RINGS}")),
            &[(3, "5 `rooms.a.interest.x` and `rooms.a.interest.y` are the same field")],
        ),
        (
            format!("component = 'place'\ncell_size = 0\n{RINGS}"),
            &[(2, "13 `rooms.a.interest.cell_size` must be more than 0, and less than 1e38")],
        ),
        (
            format!("component = 'place'\ncell_size = 0.78\n{RINGS}"),
            &[(2, "13 `rooms.a.interest.cell_size` makes more than 65536 cells")],
        ),
    ]);
}

#[test]
fn rings_and_cameras_that_break_a_rule_are_told_where() {
    check(&[
        (whole("rings = []"), &[(3, "9 `rooms.a.interest.rings` takes 1 to 4 rings")]),
        (
            whole("rings = [{ distance = 17 }]"),
            &[(
                3,
                "23 `rooms.a.interest.rings[0].distance` takes a whole number such as 100, from 0 to 16",
            )],
        ),
        (
            whole("rings = [{ distance = 1, every = 3 }]"),
            &[(3, "34 `rooms.a.interest.rings[0].every` takes 1, 2, 4 or 8")],
        ),
        (
            whole("rings = [{ every = 1 }]"),
            &[(3, "10 `rooms.a.interest.rings[0]` needs `distance`")],
        ),
        (
            whole("rings = [{ distance = 2 }, { distance = 2 }]"),
            &[(3, "28 `rooms.a.interest.rings[1].distance` must be more than in the ring before")],
        ),
        (
            whole("rings = [{ distance = 1, every = 4 }, { distance = 2, every = 2 }]"),
            &[(3, "39 `rooms.a.interest.rings[1].every` must not be less than in the ring before")],
        ),
        (
            whole(&format!("{RINGS}\ncameras = 'mine'")),
            &[(4, "11 `rooms.a.interest.cameras` takes \"own\" or \"free\"")],
        ),
        (whole(&format!("{RINGS}\nsize = 3")), &[(4, "1 unknown key `rooms.a.interest.size`")]),
    ]);
}

#[test]
fn what_does_not_go_together_with_interest_is_told_where() {
    let late = field(&whole(RINGS))
        .replace("[rooms.a]", "[rooms.a]\ntick_rate = 9\nspectator_delay = '1s'");
    let expected = "3:19 `rooms.a.spectator_delay` and `rooms.a.interest` exclude each other";
    assert_eq!(problems(&late), [expected]);
    let still =
        field(&whole("rings = [{ distance = 1, every = 2 }]")).replace("motion = true\n", "");
    let expected =
        "17:9 `rooms.a.interest.rings` say how often motion comes, and no component is motion";
    assert_eq!(problems(&still), [expected]);
    assert_eq!(problems("[rooms.a]\ninterest = 3"), ["2:12 `rooms.a.interest` takes a table"]);
}

/// Every description of interest that is taken makes a room, whatever its numbers.
#[test]
fn what_is_taken_makes_a_schema() {
    fastrand::seed(11);
    let mut taken = 0;
    for _ in 0..2_000 {
        let size = 10.0_f64.powf(fastrand::f64() * 44.0 - 40.0);
        let size = [size, 0.78125, 0.7, fastrand::f64() * 300.0][fastrand::usize(0..4)];
        let (distance, every) = (fastrand::u8(0..20), 1 << fastrand::u8(0..5));
        let rings = format!("[{{ distance = 0 }}, {{ distance = {distance}, every = {every} }}]");
        let asked =
            read(&field(&format!("component = 'place'\ncell_size = {size:e}\nrings = {rings}")));
        if !asked.problems.is_empty() {
            continue;
        }
        taken += 1;
        let Description { components, interest, .. } = asked.rooms["a"].clone();
        let schema = RoomSchema::new(components, vec![]).expect("components");
        let schema = schema.with_interest(interest.expect("interest"));
        assert!(schema.is_ok(), "{size:e} {rings}");
    }
    assert!(taken > 100, "{taken} were taken");
}

#[test]
fn a_joiner_describes_interest_that_costs_no_more_than_a_world() {
    let described = |max: f64, size: f64, distance: u8| {
        let json = format!(
            r#"{{ "components": [{{ "name": "place", "kind": "packed", "fields": [
                {{ "name": "x", "type": "quant16", "max": {max} }},
                {{ "name": "y", "type": "quant16", "max": {max} }}] }}],
            "interest": {{ "component": "place", "cell_size": {size},
                "rings": [{{ "distance": {distance} }}] }} }}"#
        );
        by_joiner(&json)
    };
    let room = described(320.0, 10.0, 4).expect("as many cells as a world");
    let grid = room.interest.and_then(|interest| interest.grid(&room.components).ok());
    assert_eq!(grid.as_ref().map(Grid::cells_count), Some(1_024));
    for (described, expected) in [
        (described(321.0, 10.0, 4), "`interest.cell_size` makes more than 1024 cells; 33 x 33; "),
        (
            described(320.0, 10.0, 5),
            "`interest.rings[0].distance` takes a whole number such as 100, from 0 to 4",
        ),
        (by_joiner(r#"{ "spectator_delay": "1s", "tick_rate": 20 }"#), "from \"0ms\" to \"0ms\""),
        (by_joiner(r#"{ "dilation": "allowed" }"#), "unknown key `dilation`"),
    ] {
        let problems = described.expect_err(expected);
        assert!(problems.contains(expected), "{problems}");
    }
}

#[test]
fn a_joiner_goes_on_from_the_files_interest_or_leaves_it_with_its_components() {
    let text = field(&format!("component = 'place'\ncell_size = 2\n{RINGS}\ncameras = 'free'"));
    let text = text.replace("[rooms.a]\n", "[rooms.a]\ndescribe = 'joiner'\n");
    let base = read(&text).rooms["a"].clone();
    let by = |json: &str| base.by_joiner(json.as_bytes()).map_err(|error| error.to_string());
    let smaller = by(r#"{ "members_max": 2 }"#).expect("a description");
    assert_eq!((smaller.interest, smaller.cameras), (base.interest.clone(), Cameras::Free));
    // The file has 10,000 cells, which is more than strangers may ask for elsewhere.
    let json = |size: f64| {
        format!(
            r#"{{ "interest": {{ "component": "place", "cell_size": {size},
                "rings": [{{ "distance": 2 }}] }} }}"#
        )
    };
    let other = by(&json(2.5)).expect("a description");
    assert_eq!((other.interest, other.cameras), (Some(interest(2.5, &[(2, 1)])), Cameras::Own));
    assert!(by(&json(1.9)).expect_err("too many").contains("makes more than 10000 cells"));
    let without = by(r#"{ "components": [{ "name": "p", "kind": "props" }] }"#);
    assert_eq!(without.expect("a description").interest, None, "its positions are gone");
}
