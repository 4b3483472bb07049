//! Room types as types of another language, so that a client's compiler knows what its rooms are
//! made of.
//!
//! ```text
//! RoomTypes -> RoomSpec, RoomSchema --typescript--> text of a module -> a file of the client's
//! ```
//!
//! The text is the same for the same room types: it may be committed, and a server that changes
//! shows in a diff. Clients look everything up by name at run time, so types that are old break no
//! state; they only promise too much.

mod names;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, Interpolation, Kind, RoomSchema, RowLayout, Scope,
    WritePolicy,
};

use crate::bindings::names::{Names, property};
use crate::config::units::Size;
use crate::config::value::Value;
use crate::room::logic::{Cadence, RoomSpec, RoomType};

/// Formatters break longer lines.
const LINE_CHARS_MAX: usize = 100;

const HEAD: &str = "// Room types of this server. Written by `tickloom codegen ts`; do not edit.\n";

/// A TypeScript module with a type and a constant for each of these room types, for
/// `@tickloom/client`.
pub fn typescript<'a>(room_types: impl IntoIterator<Item = &'a dyn RoomType>) -> String {
    let mut names = Names::default();
    let (mut text, mut has_props) = (String::new(), false);
    for room_type in room_types {
        let (name, spec) = (room_type.name(), room_type.spec());
        let (interface, constant) = names.of_room_type(name);
        has_props |= spec.schema.components().iter().any(|desc| desc.kind == Kind::Props);
        let about = about_type(room_type, &spec);
        let _ = writeln!(text, "\n{about}\nexport interface {interface} {{");
        write_shape(&mut text, &spec.schema);
        let _ = writeln!(text, "}}\n{}", constant_of(&constant, &interface, name, &spec.schema));
    }
    let props = if has_props { "type Props, " } else { "" };
    let imports =
        format!("import {{ {props}type RoomType, roomType }} from \"@tickloom/client\";\n");
    format!("{HEAD}{imports}{text}")
}

fn about_type(room_type: &dyn RoomType, spec: &RoomSpec) -> String {
    let mut about = format!("A room of the type `{}`", room_type.name());
    about += &match spec.cadence {
        Cadence::Fixed { tick_rate_hz, send_every: 1 } => format!(": {tick_rate_hz} Hz."),
        Cadence::Fixed { tick_rate_hz, send_every } => {
            format!(": {tick_rate_hz} Hz, one tick in {send_every} is sent.")
        }
        Cadence::OnChange { interval } => {
            let interval = interval.as_millis();
            format!(": on change, at most every {interval} ms.")
        }
    };
    if spec.schema.interest().is_some() {
        about += " Members are sent what is around them.";
    }
    if room_type.is_described_by_joiners() {
        about += " Its first joiner may describe it.";
    }
    comment("", &about)
}

/// What is between the braces of a type.
fn write_shape(text: &mut String, schema: &RoomSchema) {
    if schema.components().is_empty() {
        text.push_str("  state: Record<string, never>;\n");
    } else {
        text.push_str("  state: {\n");
        for desc in schema.components() {
            let _ = writeln!(text, "{}", comment("    ", &about_component(desc)));
            write_component(text, desc);
        }
        text.push_str("  };\n");
    }
    if schema.input().fields().len() > 0 {
        text.push_str("  input: ");
        write_row(text, "  ", schema.input());
    }
    let topics: Vec<String> = schema.topics().iter().map(|topic| quoted(&topic.name)).collect();
    let line = match &topics[..] {
        [] => "  topics: never;".to_owned(),
        topics => format!("  topics: {};", topics.join(" | ")),
    };
    if line.chars().count() <= LINE_CHARS_MAX {
        text.push_str(&line);
    } else {
        let _ = write!(text, "  topics:\n    | {};", topics.join("\n    | "));
    }
    text.push('\n');
}

fn about_component(desc: &ComponentDesc) -> String {
    let mut about = match &desc.kind {
        Kind::Packed(_) => "Packed".to_owned(),
        Kind::Opaque { content_type, value_bytes_max } => {
            format!("{content_type}, up to {}", Size(*value_bytes_max).show().trim_matches('"'))
        }
        Kind::Props => "Props".to_owned(),
    };
    about += match desc.write {
        WritePolicy::Server => "; written by the server",
        WritePolicy::Owner => "; written by the entity's owner",
        WritePolicy::Members => "; written by every member",
        WritePolicy::Host => "; written by the host",
    };
    about += match desc.scope {
        Scope::Room => "",
        Scope::Owner => "; only the entity's owner is sent it",
        Scope::Team => "; only the owner's team is sent it",
    };
    if desc.tree {
        about += "; a tree by `parent` and `order`";
    }
    if desc.motion {
        about += "; from far away it comes more rarely";
    }
    about + "."
}

fn write_component(text: &mut String, desc: &ComponentDesc) {
    let name = property(&desc.name);
    let _ = write!(text, "    {name}: ");
    match &desc.kind {
        Kind::Packed(layout) => write_row(text, "    ", layout),
        Kind::Opaque { content_type, .. } => {
            let _ = writeln!(text, "{};", value_of(content_type));
        }
        Kind::Props => text.push_str("Props;\n"),
    }
}

/// What the client makes of opaque bytes.
fn value_of(content_type: &str) -> &'static str {
    match content_type {
        "application/json" => "unknown",
        text if text.starts_with("text/") => "string",
        _ => "Uint8Array",
    }
}

fn write_row(text: &mut String, indent: &str, layout: &RowLayout) {
    text.push_str("{\n");
    let inner = format!("{indent}  ");
    for field in layout.fields() {
        let of_type = if field.field_type == FieldType::Bool { "boolean" } else { "number" };
        let about = comment(&inner, &about_field(field));
        let _ = writeln!(text, "{about}\n{inner}{}: {of_type};", property(&field.name));
    }
    let _ = writeln!(text, "{indent}}};");
}

fn about_field(field: &FieldDesc) -> String {
    let range = |name: &str, min: f64, max: f64| format!("{name}, {min} to {max}");
    let quantised = |name| range(name, field.min, field.max);
    let mut about = match field.field_type {
        FieldType::U8 => range("U8", 0.0, u8::MAX.into()),
        FieldType::I8 => range("I8", i8::MIN.into(), i8::MAX.into()),
        FieldType::U16 => range("U16", 0.0, u16::MAX.into()),
        FieldType::I16 => range("I16", i16::MIN.into(), i16::MAX.into()),
        FieldType::U32 => range("U32", 0.0, u32::MAX.into()),
        FieldType::I32 => range("I32", i32::MIN.into(), i32::MAX.into()),
        FieldType::F32 => "F32".to_owned(),
        FieldType::Bool => "Bool".to_owned(),
        FieldType::Quant8 => quantised("Quant8"),
        FieldType::Quant16 => quantised("Quant16"),
        FieldType::Quant24 => quantised("Quant24"),
        FieldType::Quant32 => quantised("Quant32"),
        FieldType::EntityRef => "EntityRef: the id of an entity".to_owned(),
    };
    about += match field.interpolation {
        Interpolation::Step => "",
        Interpolation::Linear => "; moves in straight lines",
        Interpolation::Angle => "; turns the short way round",
    };
    about
}

/// The value that a client joins with, and what its code looks up by name.
fn constant_of(constant: &str, interface: &str, name: &str, schema: &RoomSchema) -> String {
    let fields = |of: &str, layout: &RowLayout| -> Vec<String> {
        layout.fields().map(|field| quoted(&format!("{of}.{}", field.name))).collect()
    };
    let mut needs: Vec<String> = Vec::new();
    for desc in schema.components() {
        match &desc.kind {
            Kind::Packed(layout) => needs.extend(fields(&desc.name, layout)),
            Kind::Opaque { .. } | Kind::Props => needs.push(quoted(&desc.name)),
        }
    }
    needs.extend(fields("input", schema.input()));
    needs.extend(schema.topics().iter().map(|topic| quoted(&format!("#{}", topic.name))));
    let call =
        format!("export const {constant}: RoomType<{interface}> = roomType({}", quoted(name));
    let line = match &needs[..] {
        [] => format!("{call});"),
        needs => format!("{call}, [{}]);", needs.join(", ")),
    };
    if needs.is_empty() || line.chars().count() <= LINE_CHARS_MAX {
        return line;
    }
    format!("{call}, [\n  {},\n]);", needs.join(",\n  "))
}

/// A comment of one line, whatever names are in it.
fn comment(indent: &str, text: &str) -> String {
    let text: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    format!("{indent}/** {} */", text.replace("*/", "*\\/"))
}

/// A text as a literal; those of JSON are TypeScript's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
