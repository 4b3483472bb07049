//! What is written for rooms that the server does not have by itself.

use std::time::Duration;

use tickloom_protocol::schema::{
    ComponentDesc, FieldDesc, FieldType, RoomSchema, TopicDesc, WritePolicy,
};

use super::*;
use crate::room::logic::{RoomLogic, room_type};

struct Quiet;

impl RoomLogic for Quiet {}

fn written(name: &str, spec: RoomSpec) -> String {
    let room_type = room_type(name, spec, || Quiet);
    typescript([&room_type as &dyn RoomType])
}

#[test]
fn every_kind_of_value_has_its_type() {
    let row = vec![
        FieldDesc::new("on", FieldType::Bool),
        FieldDesc::new("target", FieldType::EntityRef),
        FieldDesc::new("delta-x", FieldType::I16),
        FieldDesc::new("weight", FieldType::F32),
        FieldDesc::quantised("x", FieldType::Quant24, -0.5, 2.0),
    ];
    let components = vec![
        ComponentDesc::packed("row", row).expect("a row").for_team(),
        ComponentDesc::opaque("title", "text/markdown", 100).writable_by(WritePolicy::Host),
        ComponentDesc::opaque("shape", "application/json", 4096).writable_by(WritePolicy::Members),
        ComponentDesc::opaque("blob", "*/*", 64 << 10),
        ComponentDesc::props("layer").as_tree().writable_by(WritePolicy::Owner),
    ];
    let schema = RoomSchema::new(components, vec![]).expect("a schema");
    let topics = vec![TopicDesc::new("say"), TopicDesc::new("a \"b\"")];
    let schema = schema.with_topics(topics).expect("a schema");
    let spec = RoomSpec::on_change(Duration::from_millis(40), schema);
    assert_eq!(
        written("two words", spec),
        r##"// Room types of this server. Written by `tickloom codegen ts`; do not edit.
import { type Props, type RoomType, roomType } from "@tickloom/client";

/** A room of the type `two words`: on change, at most every 40 ms. */
export interface TwoWords {
  state: {
    /** Packed; written by the server; only the owner's team is sent it. */
    row: {
      /** Bool */
      on: boolean;
      /** EntityRef: the id of an entity */
      target: number;
      /** I16, -32768 to 32767 */
      "delta-x": number;
      /** F32 */
      weight: number;
      /** Quant24, -0.5 to 2; moves in straight lines */
      x: number;
    };
    /** text/markdown, up to 100B; written by the host. */
    title: string;
    /** application/json, up to 4KiB; written by every member. */
    shape: unknown;
    /** *\/*, up to 64KiB; written by the server. */
    blob: Uint8Array;
    /** Props; written by the entity's owner; a tree by `parent` and `order`. */
    layer: Props;
  };
  topics: "say" | "a \"b\"";
}
export const twoWords: RoomType<TwoWords> = roomType("two words", [
  "row.on",
  "row.target",
  "row.delta-x",
  "row.weight",
  "row.x",
  "title",
  "shape",
  "blob",
  "layer",
  "#say",
  "#a \"b\"",
]);
"##
    );
}

#[test]
fn a_room_of_nothing_is_a_type_too() {
    let schema = RoomSchema::new(vec![], vec![]).expect("a schema");
    assert_eq!(
        written("bare", RoomSpec::at_rate(60, schema)),
        r#"// Room types of this server. Written by `tickloom codegen ts`; do not edit.
import { type RoomType, roomType } from "@tickloom/client";

/** A room of the type `bare`: 60 Hz. */
export interface Bare {
  state: Record<string, never>;
  topics: never;
}
export const bare: RoomType<Bare> = roomType("bare");
"#
    );
}

#[test]
fn many_topics_take_a_line_each() {
    let topic = |number| TopicDesc::new(&format!("topic-number-{number}"));
    let schema = RoomSchema::new(vec![], vec![]).expect("a schema");
    let schema = schema.with_topics((0..6).map(topic).collect()).expect("a schema");
    let text = written("many", RoomSpec::at_rate(60, schema));
    assert!(text.contains("  topics:\n    | \"topic-number-0\"\n    | "), "{text}");
    assert!(text.contains("\n    | \"topic-number-5\";\n}\n"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= LINE_CHARS_MAX), "{text}");
}
