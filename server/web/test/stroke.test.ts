import assert from "node:assert/strict";
import { test } from "node:test";
import {
  decodeStroke,
  encodeStroke,
  type Point,
  passesNear,
  type Stroke,
  simplify,
} from "../src/board/stroke.js";

const line = (points: [number, number][]): Stroke => ({
  pen: 3,
  width: 6,
  author: 0xfedcba98,
  startedMs: 1_795_000_000_123,
  points: points.map(([x, y]) => ({ x, y })),
});

test("a stroke is what its bytes say", () => {
  const bytes = encodeStroke({ ...line([[1, -2]]), startedMs: 300 });
  const expected = "01 03 06 98 ba dc fe ac 02 08 0f";
  const hex = (value: Uint8Array) =>
    [...value].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
  assert.equal(hex(bytes), expected);
});

test("strokes survive their bytes", () => {
  const cases: [string, [number, number][]][] = [
    ["a dot", [[0, 0]]],
    [
      "quarters of a unit",
      [
        [0.25, -0.5],
        [1.75, 3],
      ],
    ],
    [
      "the corners of the board",
      [
        [-32768, -32768],
        [32767.75, 32767.75],
        [-32768, 32767],
      ],
    ],
    ["nothing yet", []],
  ];
  for (const [name, points] of cases) {
    const stroke = line(points);
    assert.deepEqual(decodeStroke(encodeStroke(stroke)), stroke, name);
    const within = new Uint8Array([9, 9, ...encodeStroke(stroke)]).subarray(2);
    assert.deepEqual(decodeStroke(within), stroke, `${name}, in a larger buffer`);
  }
});

test("a point that is near the one before takes two bytes", () => {
  const points: Point[] = Array.from({ length: 500 }, (_, at) => ({
    x: at * 5,
    y: Math.sin(at / 9) * 20,
  }));
  const bytes = encodeStroke({ ...line([]), points });
  assert.ok(bytes.length < 20 + 500 * 2, `${bytes.length} bytes`);
});

test("bytes that are no stroke are none", () => {
  const bytes = encodeStroke(
    line([
      [100, 100],
      [200, 250],
    ]),
  );
  assert.equal(decodeStroke(new Uint8Array()), undefined);
  assert.equal(decodeStroke(Uint8Array.of(2, ...bytes.subarray(1))), undefined, "another version");
  // Cut between two points it is a shorter stroke, cut anywhere else it is none.
  const lengths = Array.from(
    { length: bytes.length },
    (_, end) => decodeStroke(bytes.subarray(0, end))?.points.length,
  );
  assert.deepEqual(lengths.slice(0, 13), new Array(13).fill(undefined));
  assert.deepEqual(lengths.slice(13), [
    0,
    undefined,
    undefined,
    undefined,
    1,
    undefined,
    undefined,
    undefined,
  ]);
  const endless = new Uint8Array(40).fill(255);
  endless[0] = 1;
  assert.equal(decodeStroke(endless), undefined, "a number without an end");
});

test("what lies on a line is left out, and corners stay", () => {
  const corner: Point[] = [];
  for (let at = 0; at <= 50; at++) corner.push({ x: at, y: 0.1 * (at % 2) });
  for (let at = 1; at <= 50; at++) corner.push({ x: 50, y: at });
  assert.deepEqual(simplify(corner, 0.5), [
    { x: 0, y: 0 },
    { x: 50, y: 0 },
    { x: 50, y: 50 },
  ]);
  assert.deepEqual(simplify([{ x: 1, y: 2 }], 0.5), [{ x: 1, y: 2 }]);
  assert.deepEqual(simplify([], 0.5), []);
  const circle = Array.from({ length: 400 }, (_, at) => ({
    x: 100 * Math.cos((at * Math.PI) / 200),
    y: 100 * Math.sin((at * Math.PI) / 200),
  }));
  const simpler = simplify(circle, 0.5);
  assert.ok(simpler.length > 20 && simpler.length < 60, `${simpler.length} points`);
});

test("an eraser takes what it touches, the width of the line counted", () => {
  const stroke = line([
    [0, 0],
    [100, 0],
  ]);
  const cases: [number, number, boolean][] = [
    [50, 0, true],
    [50, 12.9, true],
    [50, 13.1, false],
    [-12.9, 0, true],
    [-13.1, 0, false],
    [109, 9, true],
  ];
  for (const [x, y, expected] of cases) {
    assert.equal(passesNear(stroke, { x, y }, 10), expected, `${x}, ${y}`);
  }
  assert.equal(passesNear(line([[5, 5]]), { x: 8, y: 9 }, 3), true, "a dot");
});
