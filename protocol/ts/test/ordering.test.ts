import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { keyBetween } from "../src/ordering.js";
import { csv } from "./vectors.js";

test("keys are those of the golden table, and so are the reasons why there is none", () => {
  const rows = csv("ordering.csv");
  assert.equal(rows.length, 99);
  for (const row of rows) {
    const [before, after, expected] = Object.values(row);
    let key: string;
    try {
      key = keyBetween(before || undefined, after || undefined);
    } catch (error) {
      assert(error instanceof RangeError);
      key = error.message.split(":")[0]!;
    }
    assert.equal(key, expected, `${before} ${after}`);
  }
});

test("a list that is inserted into anywhere stays in order", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(), { maxLength: 200 }), (places) => {
      const keys: string[] = [];
      for (const place of places) {
        const at = place % (keys.length + 1);
        keys.splice(at, 0, keyBetween(keys[at - 1], keys[at]));
      }
      assert.deepEqual([...keys].sort(), keys);
    }),
  );
});
