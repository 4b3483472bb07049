/**
 * FlatBuffers tables by layout (SPEC.md section 2): one reader and one writer for every message.
 *
 * A layout is text, fields in the schema's order: `name:type`, then `!` when it is required or
 * `=default`. Types are `z` bool, `i` byte, `b` ubyte, `h` ushort, `u` uint, `l` ulong, `f` float,
 * `d` double, `e5` an enum with five names, `s` string, `y` bytes, `[` a vector of what follows, and
 * the name of another table.
 *
 * Reading goes through a DataView, which throws at the end of the bytes, where the runtime's
 * ByteBuffer reads zeros; writing goes through the runtime's Builder.
 */
import type { Builder } from "flatbuffers";
import { layouts } from "./wire.gen.js";

interface Field {
  name: string;
  /** The type's first letter; a capital when it is a table. */
  code: string;
  type: string;
  isVector: boolean;
  isRequired: boolean;
  /** Of a scalar. */
  value: number;
}

/** Tables and bytes that one message may visit, shared ones once per visit. */
const TABLES_MAX = 2_224;
const BYTES_MAX = 4_195_328;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const parsed = new Map<string, Field[]>();

/** What is thrown for bytes that are not what they should be. */
export const malformed = (what: string): RangeError => new RangeError(`malformed ${what}`);

/** Text of UTF-8 bytes; throws when they are none. */
export const textOf = (bytes: Uint8Array): string => utf8.decode(bytes);

function fieldsOf(table: string): Field[] {
  let fields = parsed.get(table);
  if (!fields) {
    fields = [...layouts[table]!.matchAll(/(\w+):(\[?)(\w)(\w*)(!?)=?(\S*)/g)].map(
      ([, name, vector, code, rest, required, value]) => ({
        name: name!,
        code: code!,
        type: code! + rest,
        isVector: !!vector,
        isRequired: !!required,
        value: +value!,
      }),
    );
    parsed.set(table, fields);
  }
  return fields;
}

/** Reads one table and what it refers to. Throws when the bytes are no such table. */
export class FlatReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #tablesLeft = TABLES_MAX;
  #bytesLeft = BYTES_MAX;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Where the field's value is; 0 when it is absent. */
  field(table: number, index: number): number {
    const vtable = table - this.#view.getInt32(table, true);
    const at = 4 + 2 * index;
    const offset =
      at < this.#view.getUint16(vtable, true) ? this.#view.getUint16(vtable + at, true) : 0;
    return offset && table + offset;
  }

  /** Where what the reference at `at` refers to is. */
  follow(at: number): number {
    return at + this.#view.getUint32(at, true);
  }

  table(name: string, at: number): Record<string, unknown> {
    if (--this.#tablesLeft < 0) throw malformed(name);
    const row: Record<string, unknown> = {};
    fieldsOf(name).forEach((field, index) => {
      const place = this.field(at, index);
      if (!place && field.isRequired) throw malformed(`${name}.${field.name}`);
      row[field.name] = place ? this.#value(field, place) : absent(field);
    });
    return row;
  }

  #value(field: Field, at: number): unknown {
    if (!field.isVector) return this.scalar(field.type, at);
    const start = this.follow(at) + 4;
    const count = this.#view.getUint32(start - 4, true);
    const bytes = "h" === field.code ? 2 : 4;
    // Whatever a vector holds lies within the buffer, so a count cannot promise more than that.
    this.#take(start, count * bytes);
    return Array.from({ length: count }, (_, index) =>
      this.scalar(field.type, start + bytes * index),
    );
  }

  scalar(type: string, at: number): unknown {
    const view = this.#view;
    switch (type[0]) {
      case "z":
        return view.getUint8(at) !== 0;
      case "i":
        return view.getInt8(at);
      case "b":
        return view.getUint8(at);
      case "e": {
        const value = view.getUint8(at);
        if (value >= +type.slice(1)) throw malformed("enum");
        return value;
      }
      case "h":
        return view.getUint16(at, true);
      case "u":
        return view.getUint32(at, true);
      case "l":
        return view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
      case "f":
        return view.getFloat32(at, true);
      case "d":
        return view.getFloat64(at, true);
      case "s":
      case "y": {
        const start = this.follow(at) + 4;
        const bytes = this.#take(start, view.getUint32(start - 4, true));
        return type === "s" ? textOf(bytes) : bytes;
      }
    }
    return this.table(type, this.follow(at));
  }

  #take(start: number, length: number): Uint8Array {
    this.#bytesLeft -= length;
    if (this.#bytesLeft < 0 || start + length > this.#bytes.length) throw malformed("length");
    return this.#bytes.subarray(start, start + length);
  }
}

function absent({ code, isVector, value }: Field): unknown {
  if (isVector) return [];
  if (code === "s") return "";
  if (code === "y") return new Uint8Array();
  if (code === "z") return false;
  return code < "a" ? undefined : value;
}

/** Writes one table and what it refers to, and returns where it is. */
export function writeTable(builder: Builder, name: string, row: Record<string, unknown>): number {
  const fields = fieldsOf(name);
  // What a table refers to lies before it.
  const offsets = fields.map(({ name, code, type, isVector }) => {
    const value = row[name];
    if (value === undefined) return 0;
    if (isVector) {
      // Only `Publish.to` is one: no client sends a vector of tables.
      const list = value as number[];
      builder.startVector(2, list.length, 2);
      for (let index = list.length; index--; ) builder.addInt16(list[index]!);
      return builder.endVector();
    }
    if (code === "s") return builder.createString(value as string);
    if (code === "y") return builder.createByteVector(value as Uint8Array);
    return code < "a" ? writeTable(builder, type, value as Record<string, unknown>) : 0;
  });
  builder.startObject(fields.length);
  fields.forEach((field, index) => {
    const value = Number(row[field.name] ?? field.value);
    if (offsets[index]) builder.addFieldOffset(index, offsets[index]!, 0);
    else if (field.code === "l") builder.addFieldInt64(index, BigInt(value), 0n);
    else if (field.code === "u") builder.addFieldInt32(index, value, field.value);
    else if (field.code === "h") builder.addFieldInt16(index, value, field.value);
    else if (field.code === "f") builder.addFieldFloat32(index, value, field.value);
    else if ("zibe".includes(field.code)) builder.addFieldInt8(index, value, field.value);
  });
  return builder.endObject();
}
