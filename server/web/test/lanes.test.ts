import assert from "node:assert/strict";
import { test } from "node:test";
import { FLIGHT_MS, type Flight, laneFor, leftOf } from "../src/live/lanes.js";

const STAGE = 800;
const flight = (width: number, startMs: number, lane = 0): Flight => ({
  text: "",
  isOwn: false,
  lane,
  width,
  startMs,
});

test("a comment comes in at the right and is gone at the left when its time is over", () => {
  const long = flight(300, 1_000);
  assert.equal(leftOf(long, 1_000, STAGE), 800);
  assert.equal(leftOf(long, 1_000 + FLIGHT_MS / 2, STAGE), 250);
  assert.equal(leftOf(long, 1_000 + FLIGHT_MS, STAGE), -300);
});

test("comments take the highest lane that is free", () => {
  const lane = (flights: Flight[], nowMs: number) => laneFor(flights, 3, 100, nowMs, STAGE, 20);
  assert.equal(lane([], 0), 0);
  assert.equal(lane([flight(100, 0)], 10), 1, "the one before is still coming in");
  assert.equal(lane([flight(100, 0)], 2_000), 0, "there is room behind it");
  assert.equal(lane([flight(100, 0, 0), flight(100, 500, 1)], 600), 2);
});

test("a long comment does not catch up with a short one", () => {
  const short = [flight(50, 0)];
  assert.equal(laneFor(short, 2, 50, 1_200, STAGE, 20), 0, "as fast as the one before");
  assert.equal(laneFor(short, 2, 2_000, 1_200, STAGE, 20), 1, "faster");
});

test("no two comments on a lane ever touch while there are lanes", () => {
  const flights: Flight[] = [];
  for (let at = 0; at < 60; at++) {
    const [width, nowMs] = [60 + ((at * 97) % 300), at * 700];
    const lane = laneFor(flights, 12, width, nowMs, STAGE, 10);
    flights.push(flight(width, nowMs, lane));
  }
  for (let nowMs = 0; nowMs < 60 * 700; nowMs += 50) {
    const flying = flights.filter(({ startMs }) => startMs <= nowMs && nowMs < startMs + FLIGHT_MS);
    for (const one of flying) {
      for (const other of flying) {
        const isApart =
          one === other ||
          one.lane !== other.lane ||
          leftOf(one, nowMs, STAGE) + one.width <= leftOf(other, nowMs, STAGE) ||
          leftOf(other, nowMs, STAGE) + other.width <= leftOf(one, nowMs, STAGE);
        assert.ok(isApart, `at ${nowMs} ms on lane ${one.lane}`);
      }
    }
  }
});

test("when all lanes are taken, the one with the most room is", () => {
  const flights = [flight(300, 900, 0), flight(300, 300, 1), flight(300, 600, 2)];
  assert.equal(laneFor(flights, 3, 100, 1_000, STAGE, 20), 1);
});
