/**
 * FlatBuffers tables by layout (SPEC.md section 2): one reader and one writer for every message.
 *
 * A layout is text, fields in the schema's order: `name:type`, then `!` when it is required or
 * `=default`. Types are `z` bool, `i` byte, `b` ubyte, `h` ushort, `u` uint, `l` ulong, `f` float,
 * `d` double, `e5` an enum with five names, `s` string, `y` bytes, `[` a vector of what follows, and
 * the name of another table.
 *
 * ```text
 * vtable   its length, the table's length, per field where it is in the table or 0    u16 each
 * table    where the vtable is, as a distance back; scalars; distances to what follows
 * then     what the distances lead to: texts, bytes and vectors behind their length, tables
 * ```
 */
import { type ByteWriter, bytesOf, malformed, sizeOf, textOf, viewOf } from "./bytes.js";
import { layouts } from "./wire.gen.js";

interface Field {
  name: string;
  /** The type's first letter; a capital when it is a table. */
  code: string;
  type: string;
  isVector: boolean;
  isRequired: boolean;
  /** What is there when nothing is; of a scalar. */
  value: number;
  /** The bytes of a scalar or of a distance. */
  bytes: number;
  /** How a DataView reads and writes a scalar. */
  get: "getUint32" | undefined;
  set: "setUint32" | undefined;
}

/** What a DataView calls the scalars. */
const SCALARS: Record<string, string> = {
  z: "Uint8",
  i: "Int8",
  b: "Uint8",
  e: "Uint8",
  h: "Uint16",
  u: "Uint32",
  l: "BigUint64",
  f: "Float32",
  d: "Float64",
};

/** Tables, the envelope twice, and bytes that one message may visit; shared ones once per visit. */
const TABLES_MAX = 2_226;
const BYTES_MAX = 4_195_328;

const parsed = new Map<string, Field[]>();

/** The fields of a layout. */
function fieldsOf(layout: string): Field[] {
  let fields = parsed.get(layout);
  if (!fields) {
    fields = [...layout.matchAll(/(\w+):(\[?)(\w)(\w*)(!?)=?(\S*)/g)].map(
      ([, name, vector, code, rest, required, value]) => {
        const scalar = SCALARS[code!] as "Uint32" | undefined;
        return {
          name: name!,
          code: code!,
          type: code! + rest,
          isVector: !!vector,
          isRequired: !!required,
          value: +value!,
          bytes: sizeOf(scalar ?? "Uint32"),
          get: scalar && `get${scalar}`,
          set: scalar && `set${scalar}`,
        };
      },
    );
    parsed.set(layout, fields);
  }
  return fields;
}

/** Reads tables off bytes. Throws a `RangeError` or `TypeError` when there is none. */
export class FlatReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #tablesLeft = TABLES_MAX;
  #bytesLeft = BYTES_MAX;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }

  /** Where the reference at `at` leads to. */
  follow(at: number): number {
    return at + this.#view.getUint32(at, true);
  }

  /** The table at `table` and all that it refers to. */
  table(name: string, table: number, layout = layouts[name]!): Record<string, unknown> {
    if (--this.#tablesLeft < 0) throw malformed(name);
    const view = this.#view;
    const vtable = table - view.getInt32(table, true);
    const end = view.getUint16(vtable, true);
    const row: Record<string, unknown> = {};
    fieldsOf(layout).forEach((field, index) => {
      const at = 4 + 2 * index;
      const offset = at < end ? view.getUint16(vtable + at, true) : 0;
      if (!offset && field.isRequired) throw malformed(`${name}.${field.name}`);
      row[field.name] = offset ? this.#field(field, table + offset) : absent(field);
    });
    return row;
  }

  #field(field: Field, at: number): unknown {
    if (!field.isVector) return this.#value(field, at);
    const start = this.follow(at) + 4;
    const count = this.#view.getUint32(start - 4, true);
    // Whatever a vector holds lies within the buffer, so a count cannot promise more than that.
    this.#take(start, count * field.bytes);
    return Array.from({ length: count }, (_, index) =>
      this.#value(field, start + index * field.bytes),
    );
  }

  #value({ code, type, get }: Field, at: number): unknown {
    if (get) {
      const value = Number(this.#view[get](at, true));
      if (code === "e" && value >= +type.slice(1)) throw malformed("enum");
      return code === "z" ? value > 0 : value;
    }
    const start = this.follow(at) + 4;
    if (code < "a") return this.table(type, start - 4);
    const bytes = this.#take(start, this.#view.getUint32(start - 4, true));
    return code === "s" ? textOf(bytes) : bytes;
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

/**
 * Appends a table and, behind it, what it refers to; `from` is the place of the reference to it.
 * What is undefined or has its default is left out.
 */
export function writeTable(
  writer: ByteWriter,
  from: number,
  layout: string,
  row: Readonly<Record<string, unknown>>,
): void {
  const present = fieldsOf(layout)
    .map((field, index) => ({ field, slot: 4 + 2 * index, value: row[field.name] ?? field.value }))
    .filter(({ field, value }) => value !== field.value && value !== false);
  const vtableBytes = (present.at(-1)?.slot ?? 2) + 2;
  const vtable = writer.room(vtableBytes, 2);
  const table = writeScalar(writer, 4, 0);
  writer.view.setUint16(vtable, vtableBytes, true);
  writer.view.setInt32(table, table - vtable, true);
  writer.view.setUint32(from, table - from, true);
  const places = present.map(({ field: { code, isVector, bytes, set }, slot, value }) => {
    const isScalar = set && !isVector;
    const given = code === "l" ? BigInt(value as number) : value;
    const at = isScalar ? writeScalar(writer, bytes, given, set) : writeScalar(writer, 4, 0);
    writer.view.setUint16(vtable + slot, at - table, true);
    return at;
  });
  writer.view.setUint16(vtable + 2, writer.length - table, true);
  present.forEach(({ field: { code, type, isVector, bytes, set }, value }, index) => {
    const at = places[index]!;
    if (code < "a") {
      writeTable(writer, at, layouts[type]!, value as Record<string, unknown>);
    } else if (isVector || !set) {
      const items = code === "s" ? bytesOf(value as string) : (value as Uint8Array | number[]);
      const start = writeScalar(writer, 4, items.length);
      writer.view.setUint32(at, start - at, true);
      if (!isVector) writer.put(items as Uint8Array);
      else for (const item of items) writeScalar(writer, bytes, item, set);
      // Texts end with a zero that does not count.
      if (code === "s") writer.u8(0);
    }
  });
}

/** Appends a scalar at a border of its size, and returns where it is. */
function writeScalar(
  writer: ByteWriter,
  bytes: number,
  value: unknown,
  set: "setUint32" = "setUint32",
): number {
  const at = writer.room(bytes, bytes);
  writer.view[set](at, value as number, true);
  return at;
}
