import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ByteReader, type PropValue } from "../src/bytes.js";
import { encodeProperties } from "../src/properties.js";
import { hex, unhex } from "./vectors.js";

test("properties are keys and values up to a key of no bytes", () => {
  const rows: [Record<string, PropValue | undefined>, string][] = [
    [{}, "00"],
    [{ map: "x" }, "03 6d6170 05 01 78 00"],
    [
      { a: true, no: undefined, b: -2, c: new Uint8Array([7]) },
      "01 61 02 01 62 03 03 01 63 06 01 07 00",
    ],
  ];
  for (const [props, expected] of rows) {
    assert.equal(hex(encodeProperties(props)), hex(unhex(expected)));
  }
});

test("what is no property is refused with its key", () => {
  for (const value of [
    NaN,
    Infinity,
    2n ** 63n,
    Symbol("s"),
    () => 1,
    {},
    [1],
    { entity: 1 },
    null,
  ]) {
    const act = () => encodeProperties({ level: value } as never);
    assert.throws(act, { name: "RangeError", message: /metadata\.level: / }, String(value));
  }
  assert.throws(() => encodeProperties({ ["é".repeat(33)]: 1 }), /key of 66 bytes, not 1 to 64/);
});

test("values survive, whatever they are", () => {
  const value = fc.oneof(
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.maxSafeInteger(),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.string({ unit: "grapheme" }),
    fc.uint8Array(),
  );
  fc.assert(
    fc.property(value, (before) => {
      const reader = new ByteReader(encodeProperties({ k: before }));
      assert.equal(reader.key(), "k");
      const after = reader.value();
      // Small bigints come back as numbers, and there is one zero.
      const expected =
        typeof before === "bigint" && Number.isSafeInteger(Number(before))
          ? Number(before)
          : before;
      assert.deepEqual(after, Object.is(expected, -0) ? 0 : expected);
      assert.deepEqual([reader.key(), reader.at], ["", reader.end]);
    }),
    { numRuns: 1_000 },
  );
});
