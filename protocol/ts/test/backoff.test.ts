import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Backoff } from "../src/backoff.js";
import { seeded } from "./line.js";

const MINUTE_US = 60e6;

test("every wait is within what its attempt allows, and never above the most", () => {
  const delays = fc.tuple(fc.integer({ min: 1, max: 5_000 }), fc.integer({ min: 1, max: 60_000 }));
  const property = fc.property(fc.integer(), delays, (seed, [minMs, maxMs]) => {
    const backoff = new Backoff(minMs, maxMs, seeded(seed));
    for (let attempt = 0; attempt < 2_000; attempt++) {
      const ms = backoff.nextMs(0);
      assert.ok(ms >= 0 && ms < Math.min(maxMs, minMs * 2 ** attempt), `${ms} at ${attempt}`);
    }
  });
  fc.assert(property, { numRuns: 20 });
});

test("clients of one server that ended come back spread over the whole time", () => {
  // 4000 clients at their third try: an eighth of them in each eighth of two seconds.
  const eighths = Array.from({ length: 8 }, () => 0);
  for (let seed = 0; seed < 4_000; seed++) {
    const backoff = new Backoff(500, 30_000, seeded(seed));
    backoff.nextMs(0, 1012);
    backoff.nextMs(0);
    eighths[Math.floor(backoff.nextMs(0) / 250)]!++;
  }
  for (const count of eighths) {
    assert.ok(count > 400 && count < 600, `${eighths}`);
  }
});

test("the first try after a connection that worked is at once, but not again and again", () => {
  const backoff = new Backoff(500, 30_000, () => 0.5);
  assert.equal(backoff.nextMs(0), 250, "there was no connection yet");
  backoff.succeeded(1e6);
  assert.equal(backoff.nextMs(3e6), 0);
  assert.equal(backoff.nextMs(3e6), 500, "it failed, and counts go on");
  backoff.succeeded(4e6);
  assert.equal(backoff.nextMs(4e6 + MINUTE_US - 1), 1_000, "it broke again within a minute");
  backoff.succeeded(1e9);
  assert.equal(backoff.nextMs(1e9 + MINUTE_US), 0, "a minute with a seat");
  assert.equal(backoff.nextMs(1e9 + MINUTE_US), 250, "counts start over");
});

test("what everybody is told at once is not answered at once", () => {
  for (const [code, ms] of [
    [1006, 0],
    [4001, 0],
    [1010, 0],
    [1011, 250],
    [1012, 250],
    [1013, 250],
    [1014, 0],
  ] as const) {
    const backoff = new Backoff(500, 30_000, () => 0.5);
    backoff.succeeded(0);
    assert.equal(backoff.nextMs(MINUTE_US, code), ms, `${code}`);
  }
});

test("the time that the server named replaces the first wait only", () => {
  const backoff = new Backoff(500, 30_000, () => 0.5);
  backoff.succeeded(0);
  backoff.hint(1_234);
  assert.equal(backoff.nextMs(1e6, 1012), 1_234);
  assert.equal(backoff.nextMs(2e6), 250);
  backoff.hint(1_234);
  backoff.succeeded(3e6);
  assert.equal(backoff.nextMs(4e6), 500, "another connection since, and no minute with a seat");
});
