import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { dequantise, quantise, quantiser } from "../src/quantise.js";
import { RowCodec } from "../src/rows.js";
import { type FieldDesc, fieldType } from "../src/wire.gen.js";
import { field } from "./chunks.js";
import { csv, hex, unhex } from "./vectors.js";

const number = (text: string): number => (text === "NaN" ? NaN : Number(text));

test("the golden table of quantisation agrees in every bit", () => {
  const rows = csv("quantise.csv");
  assert.equal(rows.length, 360);
  for (const { mode, bits, min, max, value, q, back } of rows) {
    const by = quantiser(Number(bits), mode === "wrap", Number(min), Number(max));
    const line = `${mode} ${bits} [${min}, ${max}] ${value}`;
    assert.equal(quantise(by, number(value!)), Number(q), line);
    assert(Object.is(dequantise(by, Number(q)), Number(back)), line);
  }
});

test("every integer of 8 and 16 bits survives the round trip", () => {
  for (const [wraps, min, max] of [
    [false, -1024, 1024],
    [false, -3, 17.5],
    [true, 0, 2 * Math.PI],
    [true, -180, 180],
  ] as const) {
    for (const bits of [8, 16]) {
      const by = quantiser(bits, wraps, min, max);
      for (let q = 0; q <= by.qMax; q++) assert.equal(quantise(by, dequantise(by, q)), q);
    }
  }
});

const fields = fc.uniqueArray(
  fc.record({
    name: fc.oneof(
      fc.string({ minLength: 1, maxLength: 8 }),
      fc.constantFrom("__proto__", 'a"b\u2028'),
    ),
    type: fc.nat(fieldType.length - 1),
    mode: fc.nat(1),
    min: fc.integer({ min: -1000, max: 1000 }),
    range: fc.integer({ min: 1, max: 5000 }),
  }),
  { minLength: 1, maxLength: 12, selector: ({ name }) => name },
);
const described = fields.map((list) =>
  list.map(
    ({ range, ...desc }): FieldDesc => ({ ...desc, max: desc.min + range, interpolation: 0 }),
  ),
);

test("compiled and interpreted rows agree, also in their shape", () => {
  fc.assert(
    fc.property(described, fc.uint8Array({ minLength: 200, maxLength: 200 }), (list, bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset);
      const [compiled, interpreted] = [new RowCodec(list), new RowCodec(list, false)];
      assert.notEqual(compiled.create, interpreted.create);
      const [one, other] = [compiled.create(view, 3), interpreted.create(view, 3)];
      assert.deepEqual(Object.entries(one), Object.entries(other));
      // Names that are numbers come first in any object.
      assert.deepEqual(Object.keys(one).sort(), list.map(({ name }) => name).sort());
      compiled.read(one, view, 60);
      interpreted.read(other, view, 60);
      assert.deepEqual(Object.entries(one), Object.entries(other));
      assert.deepEqual(Object.entries(one), Object.entries(interpreted.create(view, 60)));
    }),
  );
});

test("rows are interpreted where a page forbids compiling", () => {
  const { Function: before } = globalThis;
  globalThis.Function = class {
    constructor() {
      throw new EvalError("unsafe-eval");
    }
  } as never;
  try {
    const codec = new RowCodec([field("hp", 0)]);
    assert.deepEqual(codec.create(new DataView(new Uint8Array([7]).buffer), 0), { hp: 7 });
  } finally {
    globalThis.Function = before;
  }
});

test("what was read is what is written", () => {
  fc.assert(
    fc.property(described, fc.uint8Array({ minLength: 60, maxLength: 60 }), (list, noise) => {
      const codec = new RowCodec(list);
      const view = new DataView(noise.buffer, noise.byteOffset);
      // Noise is made a row first: not every bit pattern is one.
      codec.write(codec.create(view, 0), view, 0);
      const row = codec.create(view, 0);
      const again = new Uint8Array(codec.bytes);
      codec.write(row, new DataView(again.buffer), 0, "body");
      assert.equal(hex(again), hex(noise.subarray(0, codec.bytes)));
    }),
  );
});

test("fields lie little endian without padding", () => {
  const codec = new RowCodec([
    field("hp", 0),
    field("dx", 3),
    field("x", 10, { max: 16_777_215 }),
    field("f", 6),
    field("on", 7),
  ]);
  const row = { hp: 200, dx: -2, x: 66_051, f: 1, on: true };
  const bytes = new Uint8Array(codec.bytes);
  codec.write(row, new DataView(bytes.buffer), 0);
  assert.equal(hex(bytes), hex(unhex("c8 feff 030201 0000803f 01")));
  assert.deepEqual(codec.create(new DataView(bytes.buffer), 0), row);
});

test("whatever is written is a row, unless it shall throw", () => {
  const most = 2 ** 128 - 2 ** 104;
  const rows: [type: number, value: number, expected: number | boolean, message?: RegExp][] = [
    [6, 1e39, most, /body\.f: 1e\+39 is not a number from -3\.4\d+e\+38 to 3\.4/],
    [6, -Infinity, -most, /-Infinity/],
    [6, NaN, 0, /NaN/],
    [12, 65_535, 65_535],
    [12, 65_536, 65_535, /body\.f: 65536 is not a number from 0 to 65535/],
    [12, -1, 0, /-1 is not a number/],
    [0, 1e9, 255, /from 0 to 255/],
    [0, 99.7, 99],
    [1, -129, -128, /from -128 to 127/],
    [3, -1e9, -32_768, /from -32768 to 32767/],
    [5, 2 ** 31, 2 ** 31 - 1, /to 2147483647/],
    [4, 2 ** 32 - 1, 2 ** 32 - 1],
    [7, 1, true],
    [7, 2, true, /from 0 to 1/],
    [10, Infinity, 1],
    [10, 7, 1],
    [11, NaN, 0, /from 0 to 1/],
  ];
  for (const [type, value, expected, message] of rows) {
    const codec = new RowCodec([field("f", type)]);
    const view = new DataView(new ArrayBuffer(codec.bytes));
    codec.write({ f: value }, view, 0);
    assert.equal(codec.create(view, 0).f, expected, `${fieldType[type]} ${value}`);
    const strict = () => codec.write({ f: value }, view, 0, "body");
    if (message) assert.throws(strict, { name: "RangeError", message });
    else strict();
  }
});
