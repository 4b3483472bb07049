import assert from "node:assert/strict";
import { test } from "node:test";
import { ChangesWriter } from "../src/changes.js";
import { hex, schemaOf, unhex, vector } from "./vectors.js";

const board = () => new ChangesWriter(schemaOf("server-joined-board.bin"), 7);

test("the worked example of a write is written byte for byte", () => {
  const writer = board();
  writer.despawn(3);
  const [first, second] = [writer.add(), writer.add("room")];
  writer.set("cursor", 1, { x: 0, y: 8 });
  writer.set("cursor", first, { x: -8, y: 0 });
  writer.remove("ink", 1);
  writer.set("ink", first, new Uint8Array([1, 2]));
  writer.set("layer", first, { order: "a0", parent: second });
  writer.set("layer", second, { order: "a0V" });
  writer.set("rules", 0, { open: true });
  assert.equal(hex(writer.finish()), hex(vector("changes-worked-example.bin")));
  assert.deepEqual(
    writer.effects.map(({ component, entity, key }) => [component, entity, key]),
    [
      [2, 1, undefined],
      [3, 1, undefined],
      [5, 0, "open"],
    ],
  );
});

test("the last of two changes of one value lies last", () => {
  const writer = board();
  writer.set("cursor", 1, { x: 0, y: 0 });
  writer.remove("cursor", 2);
  writer.remove("cursor", 1);
  writer.set("cursor", 1, { x: 8, y: 8 });
  const expected = "00 00  01 02 02 ff7fff7f 00  02 02 02 01 00  01 02 02 fefffeff 00";
  assert.equal(hex(writer.finish()), hex(unhex(expected)));
});

test("numbers are whole or floats by what they are", () => {
  const writer = board();
  const most = 2n ** 63n - 1n;
  writer.set("rules", 0, { i: -1, n: 0.5, l: most, z: -0, b: 2 ** 53, s: 2 ** 53 - 1, no: null });
  const expected = [
    "00 00 04 05 01",
    "01 69 03 01",
    "01 6e 04 000000000000e03f",
    "01 6c 03 feffffffffffffffff01",
    "01 7a 03 00",
    "01 62 04 0000000000004043",
    "01 73 03 feffffffffffff1f",
    "02 6e6f 00",
    "00 00",
  ];
  assert.equal(hex(writer.finish()), hex(unhex(expected.join(" "))));
});

test("what does not fit the room is refused with its name, value and range", () => {
  const long = new Uint8Array(1001);
  const rows: [() => void, RegExp][] = [
    [() => board().set("nope", 1, {}), /no component nope/],
    [() => board().set("cursor", 70_000, { x: 0, y: 0 }), /70000 is no entity/],
    [() => board().set("cursor", { entity: 65_536 }, { x: 0, y: 0 }), /65536 is no entity/],
    [() => board().set("cursor", 1, { x: 0 }), /cursor\.y: undefined is not a number from -8 to 8/],
    [() => board().set("cursor", 1, { x: NaN, y: 0 }), /cursor\.x: NaN/],
    [() => board().set("host", 0, { entity: 65_536 }), /host\.entity: 65536 .* 0 to 65535/],
    [() => board().set("ink", 1, long), /ink: 1001 bytes, at most 1000/],
    [() => board().set("ink", 1, 5), /ink: neither text nor bytes/],
    [() => board().set("rules", 0, { a: NaN }), /rules\.a: NaN/],
    [() => board().set("rules", 0, { a: 2n ** 63n }), /rules\.a: 9223372036854775808/],
    [() => board().set("rules", 0, { a: { b: 1 } }), /rules\.a/],
    [() => board().set("rules", 0, { a: "x".repeat(16_385) }), /rules\.a: x+ is no .* up to 16384/],
    [() => board().set("rules", 0, { "": 1 }), /key of 0 bytes/],
    [() => board().despawn(-1), /-1 is no entity/],
  ];
  for (const [act, message] of rows) assert.throws(act, { name: "RangeError", message });
  const writer = board();
  for (let count = 0; count < 256; count++) writer.add();
  assert.throws(() => writer.add(), /more than 256/);
});
