import assert from "node:assert/strict";
import { test } from "node:test";
import { HALF_EXTENT, readNote } from "../src/board/description.js";

test("whatever somebody wrote into a note, it can be drawn", () => {
  assert.deepEqual(readNote({ x: 1.5, y: -2, text: "milk", colour: 3 }), {
    x: 1.5,
    y: -2,
    text: "milk",
    colour: 3,
  });
  const nothing = { x: 0, y: 0, text: "", colour: 0 };
  assert.deepEqual(readNote({}), nothing);
  assert.deepEqual(readNote({ x: "left", y: null, text: 7n, colour: {} }), nothing);
  const far = readNote({ x: 2n ** 60n, y: -Infinity, text: "far", colour: -1.5 });
  assert.deepEqual(far, { x: HALF_EXTENT, y: 0, text: "far", colour: 1 });
});
