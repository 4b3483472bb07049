import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerClock, type TimeSync, Timetable } from "../src/clock.js";
import { Lead } from "../src/lead.js";
import { InputQueue } from "./input_queue.js";
import { HOME, Line, type LineSpec, WIFI } from "./line.js";

const OFFSET_US = 7_000_000_000;

/** The share of ticks without an input in percent, and how long an input waits in milliseconds. */
function played(seed: number, line: LineSpec, tickUs: number) {
  const [up, down] = [new Line<number>(seed, line), new Line<TimeSync>(~seed, line)];
  const [inputs, deltas] = [new Line<null>(seed + 1, line), new Line<number>(~seed - 1, line)];
  const timetable = new Timetable({ tick: 0, tickUs, epochUs: OFFSET_US });
  const [clock, lead, queue] = [new ServerClock(), new Lead(0, tickUs), new InputQueue<number>()];
  let [acted, missed, waitedUs, taken] = [0, 0, 0, 0];
  for (let now = 1_000; now < 60e6; now += 1_000) {
    const clientUs = clock.pollPing(now);
    if (clientUs !== undefined) {
      const heard = up.send(now, clientUs);
      const serverUs = heard + OFFSET_US;
      down.send(heard, { clientUs, serverUs, tick: 0, epochUs: 0, scaleQ16: 65536 });
    }
    for (const [at, answer] of down.arrived(now)) {
      clock.handleSync(at, answer);
    }
    for (const [, margin] of deltas.arrived(now)) {
      lead.handleMargin(now, margin);
    }
    const act = clock.actAt(now, timetable, lead.leadUs(now));
    if (act !== undefined && act >= acted + 1) {
      acted = Math.floor(act);
      inputs.send(now, null);
    }
    for (const [at] of inputs.arrived(now)) {
      queue.push(at);
    }
    if (now % tickUs === 0) {
      const tick = queue.take();
      deltas.send(now, tick.margin);
      if (now > 10e6) {
        missed += tick.taken.length ? 0 : 1;
        taken += tick.taken.length;
        waitedUs += tick.taken.reduce((sum, at) => sum + now - at, 0);
      }
    }
  }
  return { starved: (missed * 100 * tickUs) / 50e6, waitedMs: waitedUs / 1e3 / taken };
}

test("inputs are in time without waiting for long", () => {
  for (const { name, line, starvedMax, waitedMsMax } of [
    { name: "home", line: HOME, starvedMax: 1.9, waitedMsMax: 40 },
    { name: "wifi", line: WIFI, starvedMax: 7, waitedMsMax: 75 },
  ]) {
    for (const tickUs of [50_000, 16_000]) {
      const runs = [0, 1, 2].map((seed) => played(seed, line, tickUs));
      const mean = (of: (run: (typeof runs)[number]) => number) =>
        runs.reduce((sum, run) => sum + of(run), 0) / runs.length;
      const [starved, waitedMs] = [mean((run) => run.starved), mean((run) => run.waitedMs)];
      assert.ok(starved <= starvedMax, `${name}, ${tickUs} us: starved ${starved} %`);
      assert.ok(waitedMs <= waitedMsMax, `${name}, ${tickUs} us: waited ${waitedMs} ms`);
    }
  }
});

test("a lead changes slowly and within bounds", () => {
  const lead = new Lead(0, 50_000);
  let [last, now] = [lead.leadUs(0), 0];
  assert.equal(last, 50_000);
  for (const [margin, endUs] of [
    [-3, 100_000],
    [16, 0],
  ] as const) {
    for (let tick = 0; tick < 400; tick++) {
      now += 50_000;
      lead.handleMargin(now, margin);
      const next = lead.leadUs(now);
      assert.ok(Math.abs(next - last) <= 2_500.001, `${last} to ${next}`);
      last = next;
    }
    assert.equal(last, endUs, `margin ${margin}`);
  }
});

test("margins older than two seconds count no longer, and one in ten may be late", () => {
  const lead = new Lead(0, 50_000);
  let now = 0;
  const say = (margin: number) => {
    now += 50_000;
    lead.handleMargin(now, margin);
  };
  for (let tick = 0; tick < 200; tick++) {
    say(tick % 20 === 19 ? -1 : 1);
  }
  const quiet = lead.leadUs(now);
  assert.equal(quiet, 50_000, "one in twenty is late, the others in time: nothing moves");
  for (let tick = 0; tick < 40; tick++) {
    say(tick % 5 === 4 ? -1 : 1);
  }
  const late = lead.leadUs(now);
  assert.ok(late > quiet + 30_000, "one in five is too many");
  for (let tick = 0; tick < 60; tick++) {
    say(3);
  }
  assert.ok(lead.leadUs(now) < late - 30_000, "nothing of the last two seconds is late");
  const last = lead.leadUs(now);
  assert.equal(lead.leadUs(now - 1e6), last, "time that runs backwards changes nothing");
});

test("a room without a rate has no lead", () => {
  const lead = new Lead(0, 0);
  lead.handleMargin(1e6, -128);
  assert.equal(lead.leadUs(2e6), 0);
});
