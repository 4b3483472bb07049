// The numbers are what the server's own functions give for the same inputs, as 32-bit floats.

import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeMap, type Obstacle, slide } from "../src/arena/map.js";
import { type Mover, steer, walk } from "../src/arena/steer.js";

/** A coordinate of a stick, as the input's eight bits have it. */
const stick = (steps: number) => -1 + (steps / 254) * 2;

const boxes: Obstacle[] = [
  { minX: 40, minY: -100, maxX: 140, maxY: 60 },
  { minX: -300, minY: 150, maxX: 200, maxY: 260 },
];

/** Into the corner between two boxes, a halt, back out, and along one of them. */
function sticksAt(tick: number): [number, number] {
  if (tick < 12) return [254, 170];
  if (tick < 24) return [127, 254];
  if (tick < 30) return [127, 127];
  return tick < 44 ? [20, 90] : [230, 254];
}

// Tick, x, y, velocity along x and y.
const steered: Record<number, number[][]> = {
  50000: [
    [5, 24.0, 26.590336, 0.0, 102.62371],
    [11, 24.0, 57.377457, 0.0, 102.62371],
    [17, 24.0, 134.0, 0.0, 0.0],
    [23, 24.0, 134.0, 0.0, 0.0],
    [29, 24.0, 134.0, 0.0, 0.0],
    [35, -39.12313, 112.17238, -269.6063, -93.22835],
    [41, -120.00503, 84.20389, -269.6063, -93.22835],
    [47, -168.50781, 79.72142, -10.573441, 94.65984],
    [53, -120.431076, 134.0, 201.56854, 0.0],
    [59, -59.9605, 134.0, 201.56854, 0.0],
  ],
  33333: [
    [5, 24.0, 15.00257, 0.0, 88.52386],
    [11, 24.0, 34.01456, 0.0, 98.20608],
    [17, 24.0, 86.21912, 0.0, 320.0],
    [23, 24.0, 134.0, 0.0, 0.0],
    [29, 24.0, 134.0, 0.0, 0.0],
    [35, -10.188708, 122.17774, -269.6063, -93.22835],
    [41, -64.10943, 103.53225, -269.6063, -93.22835],
    [47, -103.639725, 95.32478, -96.919464, 32.029194],
    [53, -92.80353, 123.65041, 162.1108, 219.9155],
    [59, -52.49021, 134.0, 201.56854, 0.0],
  ],
};

// Tick, x, y.
const walked: Record<number, number[][]> = {
  50000: [
    [19, 1010.5383, -8.740223],
    [39, 1015.8075, -5.6103325],
    [59, 1015.8075, 6.3896666],
  ],
  33333: [
    [19, 1007.02515, -6.826779],
    [39, 1010.5377, -4.7402096],
    [59, 1010.5377, 3.2597106],
  ],
};

test("a fighter is steered to the digit where the server steers it", () => {
  for (const [tickUs, rows] of Object.entries(steered)) {
    const mover: Mover = { x: -0.25, y: 3.5, yaw: 0, vx: 0, vy: 0 };
    for (let tick = 0; tick < 60; tick++) {
      const [x, y] = sticksAt(tick);
      const input = { move_x: stick(x), move_y: stick(y), aim: 1.5, buttons: 0 };
      steer(mover, input, Number(tickUs) / 1e6, boxes);
      const expected = rows.find(([at]) => at === tick);
      if (expected) {
        const actual = [tick, mover.x, mover.y, mover.vx, mover.vy];
        assert.deepEqual(actual, expected.map(Math.fround), `tick ${tick} of ${tickUs} us`);
      }
    }
    assert.equal(mover.yaw, 1.5);
  }
});

test("a player of a world walks to the digit where the server lets it walk", () => {
  for (const [tickUs, rows] of Object.entries(walked)) {
    const mover: Mover = { x: 1000, y: -3, yaw: 0, vx: 0, vy: 0 };
    for (let tick = 0; tick < 60; tick++) {
      const [x, y] = tick < 30 ? [250, 60] : [127, 254];
      const input = { move_x: stick(x), move_y: stick(y), aim: 0, buttons: 0 };
      walk(mover, input, Number(tickUs) / 1e6, 1024);
      const expected = rows.find(([at]) => at === tick);
      if (expected) {
        assert.deepEqual(
          [tick, mover.x, mover.y],
          expected.map(Math.fround),
          `tick ${tick} of ${tickUs} us`,
        );
      }
    }
  }
});

test("movers slide along boxes and borders", () => {
  const one: Obstacle[] = [{ minX: -50, minY: -20, maxX: 50, maxY: 20 }];
  const cases: [string, number[], number[], number[]][] = [
    ["free", [0, 100], [5, 5], [5, 105]],
    ["head on", [-100, 0], [60, 0], [-60, 0]],
    ["along the left side", [-60, 0], [9, 7], [-60, 7]],
    ["along the top", [0, 30], [7, -9], [7, 30]],
    ["away from the right side", [60, 0], [9, 0], [69, 0]],
    ["no tunnel", [-500, 0], [1000, 0], [-60, 0]],
    ["right border", [1000, 0], [100, 3], [1014, 3]],
    ["corner of the world", [-1000, -1000], [-99, -99], [-1014, -1014]],
  ];
  for (const [name, from, step, expected] of cases) {
    const [x = 0, y = 0] = from;
    const [stepX = 0, stepY = 0] = step;
    const to = slide(one, { x, y }, { x: stepX, y: stepY }, 10);
    assert.deepEqual([to.x, to.y], expected, name);
  }
});

test("a map is a count and four sides per box", () => {
  const bytes = new Uint8Array([1, 0xce, 0xff, 0xec, 0xff, 50, 0, 20, 0]);
  assert.deepEqual(decodeMap(bytes), [{ minX: -50, minY: -20, maxX: 50, maxY: 20 }]);
  assert.deepEqual(decodeMap(new Uint8Array([0])), []);
  const within = new Uint8Array([9, ...bytes]).subarray(1);
  assert.equal(decodeMap(within).length, 1, "a part of a larger buffer");
  assert.throws(() => decodeMap(bytes.subarray(0, 8)), /1 boxes cannot have 8 bytes/);
});
