import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, verify } from "../src/hash.js";
import { Replica } from "../src/replica.js";
import {
  body,
  chunk,
  component,
  DELTA,
  field,
  GONE,
  HASH,
  join,
  MOTION,
  SNAPSHOT,
  schema,
  type Values,
} from "./chunks.js";
import { delta, unhex } from "./vectors.js";

const axis = { min: 0, max: 100 };
/** 4 x 4 cells; positions move, tags do not, coins are told to their owner. */
const world = (verifies = true) =>
  new Replica(
    schema(
      [
        component("at", { fields: [field("x", 8, axis), field("y", 8, axis)], motion: true }),
        component("tag", { kind: 1, contentType: "text/plain" }),
        component("coins", { fields: [field("n", 0)], scope: 1 }),
      ],
      { interest: { component: 0, x: 0, y: 1, cellSize: 25, rings: [{ distance: 1, every: 1 }] } },
    ),
    3,
    verifies ? verify : undefined,
  );

const cell = (id: number): number => 16 + id;
const at = (rows: Record<number, string>): [number, number, Values] => [
  0,
  0,
  new Map(Object.entries(rows).map(([id, row]) => [Number(id), unhex(row)])),
];
const tag = (tags: Record<number, string>): [number, number, Values] => [
  1,
  1,
  new Map(Object.entries(tags).map(([id, text]) => [Number(id), new TextEncoder().encode(text)])),
];
const coins = (id: number, count: number): Uint8Array =>
  chunk(1, DELTA, body([], [], [[2, 0, new Map([[id, new Uint8Array([count])]])]]));
const ROOM = chunk(0, SNAPSHOT, body([], [[0, 0]]));

/** Cells 5 and 6 in view: entity 1 in the first, entity 2 in the second. */
const SNAP = join(
  ROOM,
  chunk(cell(5), SNAPSHOT, body([], [[1, 3]], [at({ 1: "50 50" }), tag({ 1: "me" })])),
  chunk(cell(6), SNAPSHOT, body([], [[2, 4]], [at({ 2: "90 50" })])),
);

function listening(room: Replica): string[] {
  const heard: string[] = [];
  for (const table of [room.entities, ...room.tables]) {
    const name = table.component?.name ?? "entity";
    table.onAdd((_, id) => heard.push(`+${name} ${id}`));
    table.onChange((_, id) => heard.push(`~${name} ${id}`));
    table.onRemove((_, id) => heard.push(`-${name} ${id}`));
  }
  room.notify();
  heard.length = 0;
  return heard;
}

const move = (from: number, to: number): Uint8Array[] => [
  chunk(cell(from), DELTA, body([1], [])),
  chunk(cell(to), DELTA, body([], [[1, 3]], [at({ 1: "70 50" }), tag({ 1: "me" })])),
];

test("who goes from one cell in view to another stays, in either order of their chunks", () => {
  for (const reversed of [false, true]) {
    const room = world();
    room.apply(delta(0, 1, SNAP));
    const heard = listening(room);
    const before = room.tables[0]!.get(1);
    const chunks = move(5, 6);
    if (reversed) chunks.reverse();
    assert.equal(room.apply(delta(1, 2, join(...chunks))), "applied");
    room.notify();
    assert.equal(room.tables[0]!.get(1), before);
    assert.deepEqual(heard, ["~at 1"], `reversed: ${reversed}`);
    assert.deepEqual([room.streamOf(1), room.tables[1]!.get(1)], [cell(6), "me"]);
  }
});

test("what an entity had in the cell it left does not come along", () => {
  const room = world();
  room.apply(delta(0, 1, SNAP));
  const enter = chunk(cell(6), DELTA, body([], [[1, 3]], [at({ 1: "70 50" })]));
  room.apply(delta(1, 2, enter));
  assert.equal(room.tables[1]!.has(1), false);
  // The leave comes with a later delta and does not count any more.
  assert.equal(room.apply(delta(2, 3, chunk(cell(5), DELTA, body([1], [])))), "applied");
  assert.equal(room.entities.has(1), true);
});

test("who leaves a cell and comes there within one chunk is another one", () => {
  const room = world();
  room.apply(delta(0, 1, SNAP));
  const heard = listening(room);
  const chunks = chunk(cell(5), DELTA, body([1], [[1, 9]], [at({ 1: "50 50" })]));
  assert.equal(room.apply(delta(1, 2, chunks)), "applied");
  room.notify();
  assert.deepEqual(heard, ["-entity 1", "-at 1", "-tag 1", "+entity 1", "+at 1"]);
});

test("a cell that goes out of view takes along who is still in it, but what is told in private", () => {
  const room = world();
  room.apply(delta(0, 1, join(SNAP, coins(1, 5), coins(40, 6))));
  const heard = listening(room);
  assert.equal(room.apply(delta(1, 2, chunk(cell(5), GONE, ""))), "applied");
  room.notify();
  assert.deepEqual(heard, ["-entity 1", "-at 1", "-tag 1"]);
  assert.deepEqual(
    [...room.tables[2]!].map(([id, value]) => [id, (value as { n: number }).n]),
    [
      [1, 5],
      [40, 6],
    ],
  );
  assert.equal(
    room.apply(delta(2, 3, chunk(1, DELTA, body([], [], [[2, 0, new Map([[40, undefined]])]])))),
    "applied",
  );
  assert.equal(room.tables[2]!.size, 1);
});

test("a cell that comes again with a base is compared", () => {
  const room = world();
  room.apply(delta(0, 1, SNAP));
  const heard = listening(room);
  const again = chunk(
    cell(5),
    SNAPSHOT,
    body(
      [],
      [
        [1, 3],
        [7, 0],
      ],
      [at({ 1: "50 50", 7: "51 51" }), tag({ 1: "me" })],
    ),
  );
  assert.equal(room.apply(delta(1, 2, again)), "applied");
  room.notify();
  assert.deepEqual(heard, ["+entity 7", "+at 7"]);
});

test("motion is rows of motion, of those that are in the cell", () => {
  const rows: [string, Uint8Array, boolean][] = [
    ["a row", chunk(cell(5), MOTION, body([], [], [at({ 1: "51 50" })]).subarray(2)), true],
    [
      "of another cell",
      chunk(cell(5), MOTION, body([], [], [at({ 2: "51 50" })]).subarray(2)),
      false,
    ],
    ["a tag", chunk(cell(5), MOTION, body([], [], [tag({ 1: "x" })]).subarray(2)), false],
    ["a removal", chunk(cell(5), MOTION, "02 00 02 00"), false],
    ["lists", chunk(cell(5), MOTION, "00 00"), false],
    ["a body of gone", chunk(cell(5), GONE, "00"), false],
    ["a cell outside", chunk(cell(16), GONE, ""), false],
    ["the room in a cell", chunk(cell(5), DELTA, body([], [[0, 0]])), false],
    ["a value of another cell", chunk(cell(5), DELTA, body([], [], [tag({ 2: "x" })])), false],
    ["events of a cell", chunk(cell(5), 4, "01 00"), false],
    ["the last cell", chunk(cell(15), GONE, ""), true],
  ];
  for (const [name, chunks, isFine] of rows) {
    const room = world();
    room.apply(delta(0, 1, SNAP));
    const result = room.apply(delta(1, 2, chunks));
    assert.equal(typeof result === "object" ? result.resync : result, isFine ? "applied" : 1, name);
  }
});

test("every stream has a hash of its own", () => {
  const room = world();
  const hash = (stream: number, content: Uint8Array) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, crc32(content), true);
    return chunk(stream, HASH, bytes);
  };
  const chunks = join(
    SNAP,
    hash(0, body([], [[0, 0]])),
    hash(cell(5), body([], [[1, 3]], [at({ 1: "50 50" }), tag({ 1: "me" })])),
    hash(cell(6), body([], [[2, 4]], [at({ 2: "90 50" })])),
    hash(cell(9), body([], [])),
    coins(40, 6),
    hash(1, body([], [], [[2, 0, new Map([[40, new Uint8Array([6])]])]])),
  );
  assert.equal(room.apply(delta(0, 1, chunks)), "applied");
});

test("a snapshot of the world forgets what is not in view any more", () => {
  const room = world();
  room.apply(delta(0, 1, join(SNAP, coins(1, 5))));
  const heard = listening(room);
  room.apply(
    delta(0, 9, join(ROOM, chunk(cell(6), SNAPSHOT, body([], [[1, 3]], [at({ 1: "70 50" })])))),
  );
  room.notify();
  assert.deepEqual(heard, ["-entity 2", "-at 2", "-tag 1", "-coins 1", "~at 1"]);
});
