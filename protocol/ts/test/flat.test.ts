/** Two implementations of FlatBuffers: what one writes, the other reads. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ByteBuffer } from "flatbuffers";
import { decodeServer, encodeClient } from "../src/messages.js";
import { type ClientMessages, clientBody, layouts, serverBody } from "../src/wire.gen.js";
import { encodeServer } from "./fakes.js";

/** One field of a layout. */
interface Field {
  name: string;
  code: string;
  type: string;
  isVector: boolean;
  isRequired: boolean;
  value: number;
}

const fieldsOf = (table: string): Field[] =>
  [...layouts[table]!.matchAll(/(\w+):(\[?)(\w)(\w*)(!?)=?(\S*)/g)].map(
    ([, name, vector, code, rest, required, value]) => ({
      name: name!,
      code: code!,
      type: code! + rest,
      isVector: !!vector,
      isRequired: !!required,
      value: +value!,
    }),
  );

const text = fc.string({ unit: "grapheme", maxLength: 80 });
const bytes = fc.uint8Array({ maxLength: 300 });

/** Any value of a field, borders and defaults more often than others. */
function anyOf({ code, type, isVector, value }: Field): fc.Arbitrary<unknown> {
  const upTo = (max: number) => fc.oneof(fc.constant(value), fc.constant(max), fc.maxSafeNat());
  const below = (limit: number) => upTo(limit - 1).map((any) => any % limit);
  if (isVector)
    return fc.array<unknown>(code < "a" ? rowOf(type) : fc.nat(0xffff), { maxLength: 5 });
  if (code < "a") return rowOf(type);
  switch (code) {
    case "z":
      return fc.boolean();
    case "i":
      return fc.integer({ min: -128, max: 127 });
    case "b":
      return below(256);
    case "e":
      return below(+type.slice(1));
    case "h":
      return below(2 ** 16);
    case "u":
      return below(2 ** 32);
    case "l":
      return upTo(Number.MAX_SAFE_INTEGER);
    case "f":
      return fc.float({ noNaN: true }).map((any) => any + 0);
    case "d":
      return fc.double({ noNaN: true }).map((any) => any + 0);
    case "s":
      return text;
  }
  assert.equal(code, "y");
  return bytes;
}

/** Any row of a table: what is not required may be left out. */
function rowOf(table: string): fc.Arbitrary<Record<string, unknown>> {
  const fields = fieldsOf(table);
  return fc.record(Object.fromEntries(fields.map((field) => [field.name, anyOf(field)])), {
    requiredKeys: fields.filter(({ isRequired }) => isRequired).map(({ name }) => name),
  });
}

/**
 * A table as the runtime of FlatBuffers reads it, after the checks that the server's verifier makes:
 * every scalar, distance and length lies at a border of its size and within the buffer.
 */
class Verifier {
  readonly #buffer: ByteBuffer;

  constructor(message: Uint8Array) {
    this.#buffer = new ByteBuffer(message);
  }

  envelope(): { tag: number; body: Record<string, unknown> } {
    const envelope = this.#follow(0);
    const tag = this.#buffer.readUint8(envelope + this.#offset(envelope, 0));
    const place = envelope + this.#offset(envelope, 1);
    return { tag, body: this.#table(clientBody[tag - 1]!, this.#follow(place)) };
  }

  #table(name: string, at: number): Record<string, unknown> {
    const vtable = at - this.#buffer.readInt32(this.#checked(at, 4));
    const vtableBytes = this.#buffer.readUint16(this.#checked(vtable, 2));
    const tableBytes = this.#buffer.readUint16(this.#checked(vtable + 2, 2));
    assert(vtableBytes % 2 === 0, `${name}: a vtable of ${vtableBytes} bytes`);
    this.#checked(vtable, 2, vtableBytes);
    this.#checked(at, 4, tableBytes);
    const row: Record<string, unknown> = {};
    fieldsOf(name).forEach((field, index) => {
      const offset = this.#offset(at, index);
      if (offset) row[field.name] = this.#value(field, at + offset, at + tableBytes);
    });
    return row;
  }

  #offset(table: number, index: number): number {
    return this.#buffer.__offset(table, 4 + 2 * index);
  }

  #value({ code, type, isVector }: Field, at: number, tableEnd: number): unknown {
    const buffer = this.#buffer;
    const place = (bytes: number) => {
      assert(at + bytes <= tableEnd, `${at} is behind its table`);
      return this.#checked(at, bytes);
    };
    if (isVector || code === "y" || code === "s") {
      const start = this.#follow(place(4));
      const count = buffer.readUint32(this.#checked(start, 4));
      const itemBytes = isVector ? 2 : 1;
      this.#checked(start + 4, itemBytes, count * itemBytes);
      const items = Array.from({ length: count }, (_, index) =>
        isVector ? buffer.readUint16(start + 4 + 2 * index) : buffer.readUint8(start + 4 + index),
      );
      if (code === "s") {
        assert.equal(buffer.readUint8(this.#checked(start + 4 + count, 1)), 0, "a text's end");
        return buffer.__string(at);
      }
      return isVector ? items : Uint8Array.from(items);
    }
    if (code < "a") return this.#table(type, this.#follow(place(4)));
    if (code === "z") return buffer.readInt8(place(1)) !== 0;
    if (code === "i") return buffer.readInt8(place(1));
    if (code === "h") return buffer.readUint16(place(2));
    if (code === "u") return buffer.readUint32(place(4));
    if (code === "f") return buffer.readFloat32(place(4));
    if (code === "l") return Number(buffer.readUint64(place(8)));
    return buffer.readUint8(place(1));
  }

  #follow(at: number): number {
    const distance = this.#buffer.readUint32(this.#checked(at, 4));
    assert(distance > 0 && distance < 2 ** 31, `a distance of ${distance}`);
    return at + distance;
  }

  #checked(at: number, border: number, bytes = border): number {
    assert(at >= 0 && at % border === 0, `${at} is no border of ${border}`);
    assert(at + bytes <= this.#buffer.capacity(), `${at} and ${bytes} bytes are behind the end`);
    return at;
  }
}

/** What is read when a field has its default: nothing. */
function withoutDefaults(table: string, row: Record<string, unknown>): Record<string, unknown> {
  const kept = fieldsOf(table).flatMap(({ name, type, code, isVector, value }) => {
    const given = row[name];
    if (given === undefined || given === value || given === false) return [];
    const isTable = code < "a" && !isVector;
    return [[name, isTable ? withoutDefaults(type, given as typeof row) : given]];
  });
  return Object.fromEntries(kept);
}

for (const kind of clientBody) {
  test(`any ${kind} is read by the runtime of FlatBuffers as it was written`, () => {
    fc.assert(
      fc.property(rowOf(kind), (row) => {
        const message = encodeClient(kind, row as ClientMessages[typeof kind] & never);
        const { tag, body } = new Verifier(message).envelope();
        assert.equal(clientBody[tag - 1], kind);
        assert.deepEqual(body, withoutDefaults(kind, row));
      }),
    );
  });
}

/** What is read of a row, with what is not there. */
function withDefaults(table: string, row: Record<string, unknown>): Record<string, unknown> {
  const all = fieldsOf(table).map(({ name, type, code, isVector, value }) => {
    const given = row[name] as Record<string, unknown> | undefined;
    if (isVector) {
      const items = (given ?? []) as unknown as Record<string, unknown>[];
      return [name, code < "a" ? items.map((item) => withDefaults(type, item)) : items];
    }
    if (code < "a") return [name, given && withDefaults(type, given)];
    const absent: Record<string, unknown> = { s: "", y: new Uint8Array(), z: false };
    return [name, given ?? absent[code] ?? value];
  });
  return Object.fromEntries(all);
}

for (const kind of serverBody) {
  test(`any ${kind} that the runtime of FlatBuffers wrote is read as it was written`, () => {
    fc.assert(
      fc.property(rowOf(kind), (row) => {
        const message = decodeServer(encodeServer(kind, row));
        assert.deepEqual({ ...message }, { kind, ...withDefaults(kind, row) });
      }),
    );
  });
}
