import { ByteWriter, bytesOf, type PropValue } from "../src/bytes.js";
import { Schema } from "../src/schema.js";
import type { ComponentDesc, FieldDesc, RoomSchema } from "../src/wire.gen.js";
import { unhex } from "./vectors.js";

export const SNAPSHOT = 1;
export const DELTA = 2;
export const HASH = 3;
export const EVENTS = 4;
export const MOTION = 5;
export const GONE = 6;

/** A chunk with this body, given as bytes or as hexadecimal digits. */
export function chunk(stream: number, kind: number, body: Uint8Array | string): Uint8Array {
  const writer = new ByteWriter();
  writer.varint(stream);
  writer.u8(kind);
  writer.sized(typeof body === "string" ? unhex(body) : body);
  return writer.finish();
}

export const join = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

/** What a section says of each entity: `undefined` removes. */
export type Values = Map<number, Uint8Array | Map<string, PropValue | undefined> | undefined>;

/** The body of a snapshot or delta chunk. */
export function body(
  leaves: Iterable<number>,
  enters: Iterable<[number, number]>,
  sections: Iterable<[component: number, kind: number, values: Values]> = [],
): Uint8Array {
  const writer = new ByteWriter();
  const list = <T>(items: Iterable<[number, T]>, put: (item: T) => void) => {
    let before = -1;
    for (const [id, item] of [...items].sort(([one], [other]) => one - other)) {
      writer.varint(id - before);
      before = id;
      put(item);
    }
    writer.u8(0);
  };
  list(
    [...leaves].map((id): [number, undefined] => [id, undefined]),
    () => {},
  );
  list(enters, (owner) => writer.varint(owner));
  for (const [component, kind, values] of sections) {
    const removed = [...values].filter(([, value]) => value === undefined);
    const set = [...values].filter(([, value]) => value !== undefined);
    if (set.length) {
      writer.u8([1, 3, 4][kind]!);
      writer.u8(component);
      list(set, (value) => {
        if (value instanceof Map) {
          for (const [key, prop] of value) {
            writer.sized(bytesOf(key));
            writer.value(prop);
          }
          writer.u8(0);
        } else if (kind === 0) writer.put(value!);
        else writer.sized(value!);
      });
    }
    if (removed.length) {
      writer.u8(2);
      writer.u8(component);
      list(removed, () => {});
    }
  }
  return writer.finish();
}

export const field = (name: string, type: number, more: Partial<FieldDesc> = {}): FieldDesc => ({
  name,
  type,
  mode: 0,
  min: 0,
  max: 1,
  interpolation: 0,
  ...more,
});

export const component = (name: string, more: Partial<ComponentDesc> = {}): ComponentDesc => ({
  name,
  kind: 0,
  scope: 0,
  fields: [],
  contentType: "",
  valueBytesMax: 4096,
  write: 0,
  tree: false,
  motion: false,
  ...more,
});

export const schema = (
  components: ComponentDesc[],
  more: Partial<RoomSchema> = {},
  compile = true,
): Schema => new Schema({ components, input: [], topics: [], entities: 0, ...more }, compile);
