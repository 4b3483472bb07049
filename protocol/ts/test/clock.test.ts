import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ServerClock, type TimeSync, Timetable } from "../src/clock.js";
import { HOME, Line, type LineSpec, percentile, WIFI } from "./line.js";

/** The server's clock minus the client's. */
const OFFSET_US = 7_000_000_000;

const sync = (clientUs: number, serverUs: number): TimeSync => ({
  clientUs,
  serverUs,
  tick: 0,
  epochUs: 0,
  scaleQ16: 65536,
});

/** How far the estimate is off every 100 ms of some minutes, and how far each sample is. */
function errors(seed: number, line: LineSpec, seconds = 120) {
  const [up, down] = [new Line<number>(seed, line), new Line<TimeSync>(~seed, line)];
  const clock = new ServerClock();
  const [estimate, last, rtts, jumps]: number[][] = [[], [], [], []];
  for (let now = 1_000; now < seconds * 1e6; now += 1_000) {
    const clientUs = clock.pollPing(now);
    if (clientUs !== undefined) {
      const heard = up.send(now, clientUs);
      down.send(heard, sync(clientUs, heard + OFFSET_US));
    }
    for (const [at, answer] of down.arrived(now)) {
      const before = clock.serverAt(at);
      clock.handleSync(at, answer);
      rtts!.push(at - answer.clientUs);
      last!.push(Math.abs(answer.serverUs - (at + answer.clientUs) / 2 - OFFSET_US));
      if (before !== undefined) {
        jumps!.push(Math.abs(clock.serverAt(at)! - before));
      }
    }
    if (now >= 2e6 && now % 100_000 === 0) {
      estimate!.push(Math.abs(clock.serverAt(now)! - now - OFFSET_US));
    }
  }
  return { estimate: estimate!, last: last!, rtts: rtts!, jumps: jumps! };
}

test("the best of eight knows the time better than the last", () => {
  for (const { name, line, p50Max, p99Max } of [
    { name: "home", line: HOME, p50Max: 500, p99Max: 1_500 },
    { name: "wifi", line: WIFI, p50Max: 1_500, p99Max: 6_000 },
  ]) {
    const runs = Array.from({ length: 32 }, (_, seed) => errors(seed, line));
    const estimate = runs.flatMap((run) => run.estimate);
    const last = runs.flatMap((run) => run.last);
    const [p50, p99] = [percentile(estimate, 50), percentile(estimate, 99)];
    assert.ok(p50 <= p50Max && p99 <= p99Max, `${name}: off by ${p50} us, ${p99} us`);
    assert.ok(2 * p50 < percentile(last, 50) && 2 * p99 < percentile(last, 99), name);
  }
});

test("over any line the estimate stays within half a round trip and never jumps", () => {
  const lines = fc.record({
    rttMs: fc.integer({ min: 1, max: 290 }),
    jitterMs: fc.integer({ min: 0, max: 100 }),
    lossPercent: fc.integer({ min: 0, max: 5 }),
  });
  const property = fc.property(fc.integer(), lines, (seed, line) => {
    const { estimate, rtts, jumps } = errors(seed, line, 30);
    // The estimate is a mean of samples, each of which is within half its own round trip.
    const bound = Math.max(...rtts) / 2;
    for (const error of estimate) {
      assert.ok(error <= bound, `off by ${error} us with round trips up to ${2 * bound}`);
    }
    // A sample that is off by more than 150 ms may be jumped to.
    if (bound <= 75_000) {
      assert.ok(Math.max(...jumps) <= 25_000 + 1e-3, `jumped by ${Math.max(...jumps)} us`);
    }
    const end = estimate.at(-1)!;
    assert.ok(end <= percentile(rtts, 50) / 2, `off by ${end} us in the end`);
  });
  fc.assert(property, { numRuns: 60 });
});

test("pings are eager at first and then rare, and eager again on another connection", () => {
  const clock = new ServerClock();
  const asked = [];
  for (let ms = 0; ms < 20_000; ms++) {
    if (clock.pollPing(ms * 1_000) !== undefined) {
      asked.push(ms);
      assert.ok(clock.pingDueUs > ms * 1_000);
    }
  }
  const eager = Array.from({ length: 11 }, (_, ping) => ping * 500);
  assert.deepEqual(asked, [...eager, 10_000, 15_000]);
  clock.beginAgain();
  assert.equal(clock.pollPing(20_000_000), 20_000_000);
  assert.equal(clock.pingDueUs, 20_500_000);
  assert.equal(new ServerClock().pollPing(0), 1, "0 would say that nobody asked");
});

test("the estimate glides over small errors and jumps over large ones", () => {
  const clock = new ServerClock();
  assert.equal(clock.serverAt(1), undefined);
  assert.equal(clock.oneWayUs, undefined);
  const say = (now: number, offset: number) => {
    clock.handleSync(now + 20, sync(now, now + 10 + offset));
    return clock.serverAt(now)! - now;
  };
  assert.equal(say(1_000, 500_000), 500_000, "the first is taken as it is");
  // Samples as good as those before count, because they are newer.
  assert.equal(say(2_000, 510_000), 502_000, "a fifth of the way");
  assert.equal(say(3_000, 652_000), 527_000, "and 25 ms at most");
  assert.equal(say(4_000, 700_000), 700_000, "off by more than 150 ms");
  assert.equal(clock.oneWayUs, 10);
  for (const answer of [sync(0, 9), sync(9_000, 9)]) {
    clock.handleSync(5_000, answer);
    assert.equal(clock.serverAt(5_000), 705_000, "nobody asked, or not this client");
  }
});

test("after another connection to a server that started anew the clock is right at once", () => {
  const clock = new ServerClock();
  for (let now = 1_000; now < 9_000; now += 1_000) {
    clock.handleSync(now + 20, sync(now, now + 10 + 700_000));
  }
  clock.beginAgain();
  assert.equal(clock.serverAt(10_000), 710_000, "what is known is still the best guess");
  clock.handleSync(12_000, sync(10_000, 11_000 + 9_000_000));
  assert.equal(clock.serverAt(12_000), 9_012_000);
});

test("a timetable follows a room that slips, slows down and sleeps", () => {
  const timetable = new Timetable({ tick: 10, tickUs: 50_000, epochUs: 1_000_000 });
  const told = (tick: number, epochUs: number, scaleQ16: number) =>
    timetable.handleSync({ ...sync(0, 0), tick, epochUs, scaleQ16 });
  assert.equal(timetable.dueUs(30), 2_500_000);
  assert.equal(timetable.tickAt(2_525_000), 30.5);
  told(30, 1_200_000, 65536);
  assert.equal(timetable.dueUs(31), 2_750_000, "it slipped by 200 ms");
  told(30, 1_200_000, 65536 / 4);
  assert.equal(timetable.dueUs(30), 2_700_000, "what was stays");
  assert.equal(timetable.dueUs(31), 2_900_000, "a tick takes four times as long");
  assert.equal(timetable.tickAt(2_800_000), 30.5);
  assert.equal(timetable.tickAt(2_600_000), 28, "before it, time ran as it should");
  told(30, 1_200_000, 0);
  assert.equal(timetable.dueUs(31), Infinity, "it sleeps");
  assert.equal(timetable.tickAt(9_000_000), 30);
  told(0, 0, 65536);
  assert.equal(timetable.dueUs(30), 2_700_000, "that was about no room");
  assert.equal(timetable.scaleQ16, 0);
  const withoutRate = new Timetable({ tick: 3, tickUs: 0, epochUs: 1_000_000 });
  assert.equal(withoutRate.tickAt(9_000_000), undefined);
});

test("an input is for the tick that is due when it arrives", () => {
  const clock = new ServerClock();
  const timetable = new Timetable({ tick: 0, tickUs: 50_000, epochUs: 1_000_000 });
  assert.equal(clock.actAt(0, timetable, 0), undefined, "no time is known yet");
  clock.handleSync(21_000, sync(1_000, 1_011_000));
  assert.equal(clock.actAt(0, timetable, 15_000), 0.5);
  const withoutRate = new Timetable({ tick: 3, tickUs: 0, epochUs: 1_000_000 });
  assert.equal(clock.actAt(0, withoutRate, 0), undefined);
});

test("jitter is that of the line, whatever the room and the page do", () => {
  const clock = new ServerClock();
  let due = 1e9;
  const arrive = (gapMs: number, dueGapMs: number) => {
    due += dueGapMs * 1_000;
    now += gapMs * 1_000;
    clock.handleDelta(now, due);
    return clock.jitterUs;
  };
  let now = 5;
  for (let tick = 0; tick < 100; tick++) {
    assert.equal(arrive(50, 50), 0, "as even as can be");
  }
  assert.equal(arrive(100, 100), 0, "a tick that was not sent");
  assert.equal(arrive(66, 50), 1_000, "a sixteenth of 16 ms");
  assert.equal(arrive(201, 50), 1_000, "a page that was frozen");
  assert.equal(arrive(5, 0), 1_000, "the same tick again");
  assert.equal(arrive(50, Infinity), 1_000, "a room that sleeps");
  for (let tick = 0; tick < 400; tick++) {
    arrive(tick % 2 ? 40 : 60, 50);
  }
  due = 1e9;
  assert.equal(arrive(50, 50), 1_000, "after a sleep there is no gap to compare");
  for (let tick = 0; tick < 400; tick++) {
    arrive(tick % 2 ? 40 : 60, 50);
  }
  assert.ok(Math.abs(clock.jitterUs - 10_000) < 1, `${clock.jitterUs}`);
});
