import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Moving } from "./moving.js";

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

/** What running something allocates, in bytes: what the heap grows by when nothing is collected. */
function allocated(run: () => void): number {
  collect();
  const before = process.memoryUsage().heapUsed;
  run();
  return process.memoryUsage().heapUsed - before;
}

test("a tick of 1,000 moving entities allocates nothing for each of them", () => {
  const room = new Moving();
  let [told, sum] = [0, 0];
  room.replica.tables[0]!.onChange((value) => {
    told += 1;
    sum += (value as { hp: number }).hp;
  });
  for (let tick = 0; tick < 3_000; tick++) room.tick();
  const ticks = 50;
  const samples = Array.from({ length: 21 }, () =>
    allocated(() => {
      for (let tick = 0; tick < ticks; tick++) room.tick();
    }),
  );
  // What the compiler still does beside a run counts, too, so the runs with least say most.
  const perTick = samples.sort((one, other) => one - other)[3]! / ticks;
  assert.equal(told, (3_000 + 21 * ticks) * room.entitiesCount);
  assert.equal(sum, 100 * told);
  // The least thing that could be made for an entity is a number, of 12 bytes: 12,000 in a tick.
  assert(perTick < 6_000, `${perTick} bytes per tick: ${samples}`);
});
