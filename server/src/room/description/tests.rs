//! Descriptions as they are written, and everything that can be wrong with them.

mod interest;

use tickloom_protocol::quantise::Mode;
use tickloom_protocol::schema::{FieldDesc, FieldType, Interpolation};

use super::*;
use crate::config::layers::{Asked, Layers};
use crate::config::problem::{Problems, Source};
use crate::config::units::Rate;
use crate::room::logic::Compression;

fn read(text: &str) -> Asked {
    let file = Some(Source { name: "f.toml".to_owned(), text: text.to_owned() });
    Layers { file, ..Layers::default() }.merge()
}

/// The problems of a file as lines `LINE:COLUMN message`.
fn problems(text: &str) -> Vec<String> {
    let asked = read(text);
    let Some(problems) = Problems::found(asked.problems, asked.file) else { return Vec::new() };
    let rendered = problems.to_string();
    let lines: Vec<&str> = rendered.lines().collect();
    let titles = lines.windows(2).filter_map(|pair| {
        let title = pair[0].strip_prefix("error: ")?;
        let (_, place) = pair[1].split_once("f.toml:").unwrap_or(("", "nowhere"));
        Some(format!("{place} {title}"))
    });
    titles.collect()
}

fn component(lines: &str) -> String {
    format!("[[rooms.board.components]]\n{lines}\n")
}

#[test]
fn a_description_says_everything_once() {
    let asked = read(include_str!("../../config/rooms_example.toml"));
    assert_eq!(asked.problems, []);
    let field = |name: &str| FieldDesc {
        mode: Mode::Clamp,
        interpolation: Interpolation::Linear,
        ..FieldDesc::quantised(name, FieldType::Quant16, 0.0, 4096.0)
    };
    let cursor = ComponentDesc::packed("cursor", vec![field("x"), field("y")]).expect("a row");
    let stroke = ComponentDesc::opaque("stroke", "application/json", 16 * 1024);
    let layer = ComponentDesc::props("layer").as_tree();
    let expected = Description {
        components: vec![
            cursor.writable_by(WritePolicy::Owner),
            stroke.writable_by(WritePolicy::Members),
            layer.writable_by(WritePolicy::Members),
        ],
        topics: vec![TopicDesc { history: true, ..TopicDesc::new("chat") }],
        compression: Some(Compression::On),
        linger: Some(Duration::from_secs(30)),
        names_max: 200,
        presence_rate: Some(Rate(30)),
        grace: Some(Duration::from_secs(20)),
        ..Description::default()
    };
    assert_eq!(asked.rooms["board"], expected);
    let place = |name| FieldDesc::quantised(name, FieldType::Quant16, -1024.0, 1024.0);
    let place = |name| FieldDesc { interpolation: Interpolation::default(), ..place(name) };
    let place = ComponentDesc::packed("place", vec![place("x"), place("y")]).expect("a row");
    let expected = Description {
        cadence: Cadence::Fixed { tick_rate_hz: 20, send_every: 1 },
        components: vec![place.as_motion().writable_by(WritePolicy::Owner)],
        interest: Some(interest::interest(64.0, &[(1, 1), (2, 2), (4, 4)])),
        ..Description::default()
    };
    assert_eq!(asked.rooms["field"], expected);
    assert_eq!(asked.rooms.len(), 2);
}

#[test]
fn what_is_left_out_has_its_default_and_what_is_written_does_not() {
    let text = "[rooms.a]\n[rooms.b]\ntick_rate = 30\ndescribe = 'joiner'\nmembers_max = 3
        spectators_max = 5
        spectator_delay = '7s'
        dilation = 'allowed'
        names_max = 2
        presence_rate = 10
        entities_max = 4\nentities = 'host'\nevents_max = 0\nevents_bytes_max = '0B'
        compression = 'off'\nlisted = true\nlinger = '2m'\nrecord = 'inputs'\ngrace = '3s'\n
        [[rooms.b.components]]\nname = 'c'\nkind = 'packed'\nscope = 'owner'\nwrite = 'server'
        fields = [{ name = 'f', type = 'quant8', min = -1.5, max = 1, mode = 'wrap',
                    interpolation = 'angle' }, { name = 'g', type = 'entity' }]\n
        [[rooms.b.topics]]\nname = 't'\npublish = 'host'\n";
    let asked = read(text);
    assert_eq!(asked.problems, []);
    assert_eq!(asked.rooms["a"], Description::default());
    let range = FieldDesc {
        mode: Mode::Wrap,
        interpolation: Interpolation::Angle,
        ..FieldDesc::quantised("f", FieldType::Quant8, -1.5, 1.0)
    };
    let row = vec![range, FieldDesc::new("g", FieldType::EntityRef)];
    let expected = Description {
        cadence: Cadence::Fixed { tick_rate_hz: 30, send_every: 1 },
        described_by: Describer::Joiner,
        members_max: 3,
        spectators_max: 5,
        spectator_delay: Duration::from_secs(7),
        dilation: Dilation::Allowed,
        names_max: 2,
        presence_rate: Some(Rate(10)),
        entities_max: 4,
        entities: WritePolicy::Host,
        events_max: 0,
        events_bytes_max: 0,
        compression: Some(Compression::Off),
        is_listed: true,
        linger: Some(Duration::from_secs(120)),
        record: Recording::Inputs,
        grace: Some(Duration::from_secs(3)),
        components: vec![ComponentDesc::packed("c", row).expect("a row").for_owner()],
        interest: None,
        cameras: Cameras::Own,
        topics: vec![TopicDesc { publish: WritePolicy::Host, ..TopicDesc::new("t") }],
    };
    assert_eq!(asked.rooms["b"], expected);
}

#[test]
fn built_in_names_may_be_taken_over_as_far_as_they_are_data() {
    assert_eq!(read("[rooms.state]\n[rooms.relay]\n").problems, []);
    assert_eq!(problems("[rooms.arena]"), ["1:8 `rooms.arena` cannot be described"]);
    let long = "x".repeat(limits::NAME_BYTES_MAX + 1);
    for name in ["", "a\\tb", &long] {
        let problems = problems(&format!("[rooms.\"{name}\"]"));
        assert!(problems.len() == 1 && problems[0].contains("cannot be the name"), "{problems:?}");
    }
    assert_eq!(problems("rooms = 3"), ["1:9 `rooms` holds tables: write [rooms.NAME]"]);
}

#[test]
fn a_room_that_breaks_a_rule_is_told_where() {
    for (text, expected) in [
        ("[rooms.board]\nflsh = '1s'", "2:1 unknown key `rooms.board.flsh`"),
        (
            "[rooms.board]\nflush = '1s'\ntick_rate = 3",
            "2:1 `rooms.board.flush` and `rooms.board.tick_rate` exclude each other",
        ),
        (
            "[rooms.board]\nmembers_max = 10\nentities_max = 10",
            "3:16 `rooms.board.entities_max` must be more than `rooms.board.members_max`",
        ),
        (
            "[rooms.board]\nevents_max = 0\n[[rooms.board.topics]]\nname = 't'\nhistory = true",
            "2:14 topic \"t\" has a history, but no events are kept",
        ),
        (
            "[rooms.board]\nentities_max = 65_537",
            "2:16 `rooms.board.entities_max` takes a whole number such as 100, from 2 to 65536",
        ),
        (
            "[rooms.board]\nmembers_max = 'all'\nentities_max = 10",
            "2:15 `rooms.board.members_max` takes a whole number such as 100, from 1 to 65534",
        ),
        (
            "[rooms.board]\nspectator_delay = '301s'",
            "2:19 `rooms.board.spectator_delay` takes a duration such as \"250ms\", \"10s\" or \
             \"2m\", from \"0ms\" to \"5m\"",
        ),
        (
            "[rooms.board]\nspectator_delay = '3s'",
            "2:19 `rooms.board.spectator_delay` needs `rooms.board.tick_rate`",
        ),
        (
            "[rooms.board]\nflush = '1s'\ndilation = 'allowed'",
            "3:12 `rooms.board.dilation` needs `rooms.board.tick_rate`",
        ),
        (
            "[rooms.board]\ndilation = true",
            "2:12 `rooms.board.dilation` takes \"never\" or \"allowed\"",
        ),
        ("[rooms.board]\ntopics = 3", "2:10 `rooms.board.topics` takes a list of tables"),
        ("[rooms.board]\ntopics = [3]", "2:11 `rooms.board.topics[0]` takes a table"),
        (
            "[[rooms.board.topics]]\nname = 't'\n[[rooms.board.topics]]\nname = 't'",
            "4:8 `rooms.board.topics[1].name` is used twice",
        ),
        (
            "[[rooms.board.topics]]\nname = 't'\npublish = 'owner'",
            "3:11 `rooms.board.topics[0].publish` takes \"server\", \"members\" or \"host\"",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn a_component_that_breaks_a_rule_is_told_where() {
    let packed = "name = 'c'\nkind = 'packed'\n";
    for (text, expected) in [
        (&component("name = 'c'"), "1:1 `rooms.board.components[0]` needs `kind`"),
        (&component("kind = 'props'"), "1:1 `rooms.board.components[0]` needs `name`"),
        (
            &component("name = 'c'\nkind = 'props'\ncontent_type = 'a/b'"),
            "4:1 `rooms.board.components[0].content_type` belongs to kind = \"opaque\", this one \
             is \"props\"",
        ),
        (
            &component("name = 'c'\nkind = 'opaque'\nvalue_bytes_max = '65KiB'"),
            "4:19 `rooms.board.components[0].value_bytes_max` takes a size such as \"64KiB\", \
             \"1MiB\" or \"10kB\", from \"1B\" to \"64KiB\"",
        ),
        (
            &component("name = 'c'\nkind = 'opaque'\ncontent_type = 'json'"),
            "4:16 `rooms.board.components[0].content_type` takes a media type such as \
             \"application/json\"",
        ),
        (
            &component("name = 'host'\nkind = 'props'"),
            "2:8 `rooms.board.components[0].name` cannot be \"host\"",
        ),
        (
            &component("name = 'c'\nkind = 'props'\ntree = true\nscope = 'owner'"),
            "4:1 `rooms.board.components[0].tree` needs scope = \"room\"",
        ),
        (
            &component("name = 'c'\nkind = 'props'\nmotion = true"),
            "4:1 `rooms.board.components[0].motion` belongs to kind = \"packed\", this one is \
             \"props\"",
        ),
        (
            &component(&format!(
                "{packed}fields = [{{ name = 'f', type = 'u8' }}]\nmotion = true\nscope = 'owner'"
            )),
            "5:1 `rooms.board.components[0].motion` needs scope = \"room\"",
        ),
        (&component(packed), "1:1 `rooms.board.components[0]` needs `fields`"),
        (
            &component(&format!("{packed}fields = []")),
            "4:10 `rooms.board.components[0].fields` needs at least one field",
        ),
        (
            &component(&format!("{packed}fields = [{{ name = 'f', type = 'quant8' }}]")),
            "4:11 `rooms.board.components[0].fields[0]` needs `max`",
        ),
        (
            &component(&format!("{packed}fields = [{{ name = 'f', type = 'f32', min = 1 }}]")),
            "4:39 `rooms.board.components[0].fields[0].min` is for quantised fields, not for \
             \"f32\"",
        ),
        (
            &component(&format!(
                "{packed}fields = [{{ name = 'f', type = 'quant8', min = 1, max = 1 }}]"
            )),
            "4:57 `rooms.board.components[0].fields[0].min` must be less than \
             `rooms.board.components[0].fields[0].max`, by a finite span",
        ),
        (
            &component(&format!("{packed}fields = [{{ name = 'f', type = 'quant8', max = inf }}]")),
            "4:48 `rooms.board.components[0].fields[0].max` takes a number such as 0, -12.5 or \
             4096",
        ),
    ] {
        assert_eq!(problems(text), [expected], "{text}");
    }
}

#[test]
fn the_limits_of_the_wire_hold() {
    let repeat = |count: usize, line: &dyn Fn(usize) -> String| -> String {
        (0..count).map(line).collect::<Vec<_>>().join("\n")
    };
    let props = |at: usize| component(&format!("name = 'c{at}'\nkind = 'props'"));
    let topics = |at: usize| format!("[[rooms.board.topics]]\nname = 't{at}'");
    let field = |at: usize| format!("{{ name = 'f{at}', type = 'u8' }},");
    let packed = |fields: usize| {
        move |at: usize| {
            let row: String = (0..fields)
                .map(|field| format!("{{ name = 'f{field}', type = 'u32' }},"))
                .collect();
            component(&format!("name = 'c{at}'\nkind = 'packed'\nfields = [{row}]"))
        }
    };
    let row = |count: usize| {
        component(&format!("name = 'c'\nkind = 'packed'\nfields = [{}]", repeat(count, &field)))
    };
    for (text, expected) in [
        (repeat(COMPONENTS_MAX, &props), None),
        (repeat(COMPONENTS_MAX + 1, &props), Some("62 components are too many")),
        (repeat(limits::TOPICS_MAX, &topics), None),
        (repeat(limits::TOPICS_MAX + 1, &topics), Some("65 topics are too many")),
        (row(limits::FIELDS_MAX), None),
        (row(limits::FIELDS_MAX + 1), Some("33 fields are too many")),
        (repeat(23, &packed(11)), None),
        (repeat(8, &packed(32)), Some("the rows of all components have at most 1019 bytes")),
    ] {
        let problems = problems(&text);
        match expected {
            None => assert_eq!(problems, [""; 0]),
            Some(expected) => {
                assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
            }
        }
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = "[rooms.a]\nflush = 3\ndescribe = 'all'\n[[rooms.a.components]]\nname = ''
kind = 'packed'\nfields = [{}, { name = 3, type = 'quant9' }]\n[rooms.b]\ntick_rate = 0\n";
    let places: Vec<String> = problems(text)
        .iter()
        .filter_map(|line| line.split_once(' ').map(|(place, _)| place.to_owned()))
        .collect();
    assert_eq!(places, ["2:9", "3:12", "5:8", "7:11", "7:11", "7:24", "7:34", "9:13"]);
}

fn by_joiner(json: &str) -> Result<Description, String> {
    let base = Description {
        described_by: Describer::Joiner,
        topics: vec![TopicDesc { history: true, ..TopicDesc::new("t") }],
        ..Description::default()
    };
    base.by_joiner(json.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_joiner_describes_its_room_within_what_the_file_allows() {
    let json = r#"{ "members_max": 3, "flush": "100ms", "components": [
        { "name": "p", "kind": "props", "write": "members" },
        { "name": "c", "kind": "packed", "fields": [{ "name": "x", "type": "quant8", "max": 2.5 }] }
    ] }"#;
    let described = by_joiner(json).expect("a description");
    assert_eq!((described.members_max, described.entities_max), (3, 10_000));
    let interval = Duration::from_millis(100);
    assert_eq!(described.cadence, Cadence::OnChange { interval });
    assert_eq!((described.components.len(), described.topics.len()), (2, 1));
    for (json, expected) in [
        ("[]", "the description takes a table; this is a list"),
        ("{", "the description is not JSON: EOF while parsing an object at line 1 column 1"),
        (
            r#"{ "members_max": 201 }"#,
            "`members_max` takes a whole number such as 100, from 1 to 200; this is too much",
        ),
        (
            r#"{ "tick_rate": 21 }"#,
            "`tick_rate` is faster than rooms of this type may be; at least \"50ms\" from one to \
             the next",
        ),
        (
            r#"{ "components": [{ "name": "name", "kind": "props" }] }"#,
            "`components[0].name` cannot be \"name\"; every described room has one of this name: \
             choose another",
        ),
        (
            r#"{ "events_max": 0, "topics": [{ "name": "u", "history": true }] }"#,
            "topic \"u\" has a history, but no events are kept; raise it, or leave `history` out",
        ),
        (
            r#"{ "topics": [{ "name": "u", "histry": true }] }"#,
            "unknown key `topics[0].histry`; did you mean `history`?",
        ),
        (
            r#"{ "members_max": "1", "entities_max": null, "events_max": {}, "flush": 1e9 }"#,
            "`flush` takes a duration such as \"250ms\", \"10s\" or \"2m\", from \"8ms\" to \
             \"1m\"; this is a number with a fraction / `members_max` takes a whole number such \
             as 100, from 1 to 200; this is text / `entities_max` takes a whole number such as \
             100, from 2 to 10000; this is null / and 1 more",
        ),
    ] {
        assert_eq!(by_joiner(json), Err(expected.to_owned()), "{json}");
    }
}

#[test]
fn what_the_file_says_of_time_holds_for_joiners_as_far_as_they_have_any() {
    let text = "[rooms.a]\ndescribe = 'joiner'\ntick_rate = 20\ndilation = 'allowed'
        spectator_delay = '9s'";
    let base = read(text).rooms["a"].clone();
    let by = |json: &str| base.by_joiner(json.as_bytes()).map_err(|error| error.to_string());
    let shorter = by(r#"{ "spectator_delay": "2s" }"#).expect("a description");
    assert_eq!(shorter.spectator_delay, Duration::from_secs(2));
    assert_eq!(shorter.dilation, Dilation::Allowed);
    let refused = by(r#"{ "flush": "1s" }"#).expect_err("the delay stays");
    assert!(refused.contains("`spectator_delay` needs `tick_rate`"), "{refused}");
    assert!(by(r#"{ "flush": "1s", "spectator_delay": "0s" }"#).is_ok());
}

#[test]
fn only_where_the_file_allows_it_a_joiner_describes_anything() {
    let refusal = Description::default().by_joiner(b"{}").expect_err("the server describes");
    assert_eq!(refusal.to_string(), "rooms of this type are described by the server alone");
}

#[test]
fn hundreds_of_unknown_keys_are_not_worth_a_look_at_each() {
    let keys: Vec<String> = (0..500).map(|at| format!("\"tick_{at}\": 0")).collect();
    let refusal = by_joiner(&format!("{{{}}}", keys.join(","))).expect_err("unknown keys");
    assert!(refusal.ends_with(" / and 61 more"), "{refusal}");
}
