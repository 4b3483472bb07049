import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Timetable } from "../src/clock.js";
import { interpolate, Track } from "../src/interpolate.js";
import { BODY, type Body, FakeRoom } from "./fake_room.js";
import { Line, seeded } from "./line.js";

const TURN = 2 * Math.PI;
const row = (x: number, yaw = 0, hp = 100, isOut = false) => ({ x, yaw, hp, isOut });

test("between two samples, straight fields move, angles turn the short way, the others jump", () => {
  for (const [at, x, yaw, hp, isOut] of [
    [9, 0, 6, 100, false],
    [10, 0, 6, 100, false],
    [11, 5, 6 + (TURN - 5.9) / 4, 100, false],
    [13, 15, (6 + (3 * (TURN - 5.9)) / 4) % TURN, 100, false],
    [14, 20, 0.1, 50, true],
    [99, 20, 0.1, 50, true],
  ] as const) {
    const track = new Track(BODY, Infinity, row(0));
    track.put(0, 10, row(0, 6));
    track.put(10, 14, row(20, 0.1, 50, true));
    const drawn = track.draw(at);
    assert.deepEqual([drawn.x, drawn.hp, drawn.isOut], [x, hp, isOut], `at ${at}`);
    assert.ok(Math.abs(drawn.yaw - yaw) < 1e-9, `at ${at}: ${drawn.yaw}, not ${yaw}`);
  }
});

test("what was not sent stood still until the state before", () => {
  const track = new Track(BODY, Infinity, row(0));
  track.put(0, 10, row(0));
  track.put(19, 20, row(8));
  const drawn = [15, 19, 19.25, 20].map((at) => track.draw(at).x);
  assert.deepEqual(drawn, [0, 0, 2, 8]);
});

test("a way longer than snap is a jump, at the tick that shows it", () => {
  const track = new Track(BODY, 50, row(0));
  track.put(0, 10, row(0));
  track.put(10, 12, row(49.9));
  track.put(12, 14, row(100.1, 1));
  const drawn = [11, 13, 13.99, 14].map((at) => track.draw(at).x);
  assert.deepEqual(drawn, [24.95, 49.9, 49.9, 100.1]);
  assert.equal(track.draw(13.5).yaw, 0, "nothing else slides either");
});

test("a track drawn from random samples lies between neighbours and goes the short way", () => {
  const samples = fc.array(
    fc.record({
      gap: fc.integer({ min: 1, max: 9 }),
      still: fc.integer({ min: 0, max: 9 }),
      x: fc.integer({ min: -512, max: 512 }),
      yaw: fc.double({ min: 0, max: TURN, maxExcluded: true, noNaN: true }),
    }),
    { minLength: 2, maxLength: 60, size: "max" },
  );
  const shares = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 5 });
  const property = fc.property(samples, shares, (samples, shares) => {
    const track = new Track(BODY, Infinity, row(0));
    // The same as a list, with what stood still as samples of their own.
    const list: { at: number; x: number; yaw: number }[] = [];
    let at = 0;
    for (const { gap, still, x, yaw } of samples) {
      const since = at + Math.min(still, gap - 1);
      at += gap;
      track.put(since, at, row(x, yaw));
      if (list.length && since > list.at(-1)!.at) {
        list.push({ ...list.at(-1)!, at: since });
      }
      list.push({ at, x, yaw });
    }
    // As many as are remembered.
    const known = list.slice(-32);
    for (const share of shares) {
      const moment = known[0]!.at - 5 + share * (at + 8 - known[0]!.at);
      const before = known.filter((sample) => sample.at <= moment).at(-1) ?? known[0]!;
      const after = known.find((sample) => sample.at > moment) ?? before;
      const drawn = track.draw(moment);
      assert.ok(drawn.x >= Math.min(before.x, after.x) && drawn.x <= Math.max(before.x, after.x));
      const part = (moment - before.at) / (after.at - before.at || 1);
      assert.ok(Math.abs(drawn.x - before.x - (after.x - before.x) * part) < 1e-9);
      assert.ok(drawn.yaw >= 0 && drawn.yaw <= TURN, `${drawn.yaw}`);
      const apart = (a: number, b: number) =>
        Math.abs(Math.atan2(Math.sin(a - b), Math.cos(a - b)));
      const turns = apart(before.yaw, drawn.yaw) + apart(drawn.yaw, after.yaw);
      assert.ok(Math.abs(turns - apart(before.yaw, after.yaw)) < 1e-6, `turned by ${turns}`);
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test("drawing allocates no object and changes no shape", () => {
  const track = new Track(BODY, Infinity, row(0));
  track.put(0, 1, row(0));
  track.put(1, 2, row(10, 1, 90, true));
  const drawn = track.draw(1.25);
  assert.equal(track.draw(1.5), drawn);
  assert.deepEqual(Object.keys(drawn), ["x", "yaw", "hp", "isOut"]);
  assert.equal(typeof drawn.isOut, "boolean");
});

/** Somebody who walks one unit per tick over a line, drawn at 60 Hz. */
function walked(seed: number, line: { rttMs: number; jitterMs: number; lossPercent: number }) {
  const room = new FakeRoom();
  const view = interpolate(room, "body");
  const random = seeded(seed);
  const down = new Line<number>(seed, line);
  const pings = new Line<number>(~seed, line);
  const drawn: { tick: number; x: number; delayMs: number; atUs: number }[] = [];
  let sent = 0;
  for (let frame = 0; frame < 60 * 60; frame++) {
    room.nowUs += 10_000 + Math.round(random() * 13_333);
    const due = Math.floor((room.nowUs - 1_000_000) / 50_000);
    while (sent < due) {
      sent += 1;
      down.send(1_000_000 + sent * 50_000, sent);
    }
    if (frame % 30 === 0) {
      pings.send(room.nowUs, room.nowUs);
    }
    for (const [at, clientUs] of pings.arrived(room.nowUs)) {
      // Answered half way, as far as anybody knows.
      const serverUs = clientUs + (at - clientUs) * random();
      const sync = { clientUs, serverUs, tick: 0, epochUs: 0, scaleQ16: 65536 };
      room.server.handleSync(at, sync);
    }
    for (const [at, tick] of down.arrived(room.nowUs)) {
      room.server.handleDelta(at, room.clock.timetable.dueUs(tick));
      room.delta(tick, tick - 1, { 7: row(tick) });
    }
    const tick = view.renderTick;
    const { x } = view.at(7) ?? { x: NaN };
    drawn.push({ tick, x: x as number, delayMs: view.delayMs, atUs: room.nowUs });
  }
  return drawn;
}

test("whatever the line does, drawn time flows, and what is drawn never goes back", () => {
  const lines = fc.record({
    rttMs: fc.integer({ min: 1, max: 120 }),
    jitterMs: fc.integer({ min: 0, max: 40 }),
    lossPercent: fc.integer({ min: 0, max: 3 }),
  });
  const property = fc.property(fc.integer(), lines, (seed, line) => {
    const drawn = walked(seed, line);
    for (let frame = 1; frame < drawn.length; frame++) {
      const [before, after] = [drawn[frame - 1]!, drawn[frame]!];
      const elapsed = (after.atUs - before.atUs) / 50_000;
      const moved = after.tick - before.tick;
      const says = `frame ${frame}: ${moved} of ${elapsed} ticks`;
      assert.ok(Math.abs(moved - elapsed) <= 0.05 * elapsed + 1e-6, says);
      assert.ok(!(after.x < before.x), says);
    }
  });
  fc.assert(property, { numRuns: 25 });
});

test("on a good line nobody who walks is seen to stop, on a poor one rarely", () => {
  for (const [line, delayMsMax, stillPercentMax] of [
    [{ rttMs: 20, jitterMs: 1, lossPercent: 0 }, 115, 0],
    [{ rttMs: 60, jitterMs: 25, lossPercent: 1 }, 180, 4],
  ] as const) {
    // After the first ten seconds.
    const drawn = walked(3, line).slice(600);
    const still = drawn.filter(({ x, tick }) => x < tick - 1e-6);
    const percent = (100 * still.length) / drawn.length;
    assert.ok(percent <= stillPercentMax, `${JSON.stringify(line)}: still ${percent} %`);
    const delayMs = Math.max(...drawn.map((frame) => frame.delayMs));
    assert.ok(delayMs <= delayMsMax, `${JSON.stringify(line)}: ${delayMs} ms`);
  }
});

test("the delay is two states and three times the jitter, within bounds, and moves slowly", () => {
  const room = new FakeRoom();
  const view = interpolate(room, "body");
  const follow = (ticks: number, every = 1) => {
    for (let tick = 0; tick < ticks; tick += every) {
      const before = view.delayMs;
      room.nowUs += 50_000 * every;
      room.delta(room.tick + every, room.tick);
      assert.ok(Math.abs(view.delayMs - before) <= 2.5 * every + 1e-6);
    }
    return view.delayMs;
  };
  assert.equal(follow(10), 100);
  room.server.jitterUs = 10_000;
  assert.equal(follow(100), 130);
  room.server.jitterUs = 90_000;
  assert.equal(follow(200), 250);
  room.server.jitterUs = 0;
  assert.ok(Math.abs(follow(400, 2) - 200) < 1, "states come half as often");
  const fixed = interpolate(room, "body", { delayMs: 20 });
  assert.ok(Math.abs(fixed.renderTick - view.renderTick - 3.6) < 0.1);
  assert.equal(fixed.delayMs, 20);
});

test("a room that falls asleep is drawn to its end, and one that slips never runs backwards", () => {
  const room = new FakeRoom();
  const view = interpolate(room, "body");
  for (let tick = 1; tick <= 40; tick++) {
    room.nowUs += 50_000;
    room.delta(tick, tick - 1, { 7: row(tick) });
  }
  const told = (epochUs: number, scaleQ16: number) =>
    room.clock.timetable.handleSync({ clientUs: 0, serverUs: 0, tick: 40, epochUs, scaleQ16 });
  assert.equal(view.at(7)!.x, 38);
  told(1_200_000, 65536);
  assert.equal(view.renderTick, 38, "ticks are due 200 ms later, and it waits");
  room.nowUs += 150_000;
  assert.equal(view.renderTick, 38);
  room.nowUs += 100_000;
  assert.equal(view.renderTick, 39);
  told(1_200_000, 0);
  room.nowUs += 5_000_000;
  assert.equal(view.at(7)!.x, 40);
});

test("a page that was frozen and another seat are jumped over", () => {
  const room = new FakeRoom();
  const view = interpolate(room, "body");
  room.nowUs += 5_000_000;
  room.delta(100, 0, { 7: row(5), 8: row(1) });
  assert.equal(view.renderTick, 98);
  room.nowUs += 3_600_000_000;
  assert.equal(view.renderTick, 98 + 72_000);
  room.server.beginAgain();
  room.learnTime(room.nowUs + 1_000_000);
  room.nowUs += 1_000;
  assert.equal(Math.round(view.renderTick), 98 + 72_020, "a server with another clock");
  room.server.beginAgain();
  room.learnTime(room.nowUs);
  room.nowUs += 1_000;
  room.clock.timetable = new Timetable({ tick: 1, tickUs: 50_000, epochUs: room.nowUs });
  room.table.remove(8);
  room.nowUs += 150_000;
  room.delta(2, 0, { 7: row(9) });
  assert.ok(Math.abs(view.renderTick - 1) < 1e-9);
  assert.equal(view.at(7)!.x, 9, "what another room's ticks said is forgotten");
  assert.equal(view.at(8), undefined);
});

test("before the server's time is known the newest is drawn", () => {
  const room = new FakeRoom();
  Object.assign(room.clock, { server: { serverAt: () => undefined, jitterUs: 0 } });
  const view = interpolate(room, "body");
  room.delta(7, 0, { 7: row(5) });
  room.delta(8, 7, { 7: row(6) });
  assert.equal(view.at(7)!.x, 6);
  assert.equal(view.renderTick, 8);
});

test("a room without a rate eases to the newest within its interval, from what is drawn", () => {
  const room = new FakeRoom({ tickUs: 0 });
  const view = interpolate(room, "body");
  room.delta(1, 0, { 7: row(0) });
  const drawnAfter = (ms: number) => {
    room.nowUs += ms * 1_000;
    return view.at(7)!.x;
  };
  assert.equal(drawnAfter(1_000), 0);
  room.delta(2, 1, { 7: row(10) });
  assert.deepEqual([0, 25, 25, 50].map(drawnAfter), [0, 5, 10, 10]);
  room.nowUs += 1_000_000;
  room.delta(3, 2, { 7: row(20) });
  assert.equal(drawnAfter(25), 15);
  room.delta(4, 3, { 7: row(15) });
  assert.equal(view.at(7)!.x, 15, "it goes on from where it was");
  const way = Array.from({ length: 10 }, () => drawnAfter(10) as number);
  assert.ok(
    way.every((x, index) => x >= 15 && x <= 20 && Math.abs(x - (way[index - 1] ?? 15)) <= 2),
  );
  assert.equal(way.at(-1), 15);
  assert.equal(view.renderTick, 0, "inputs say that the player saw the newest");
});

test("what is far away and sent more rarely moves evenly all the same", () => {
  const room = new FakeRoom<Body>({ motion: true, rings: [{ every: 1 }, { every: 4 }] });
  const view = interpolate(room, "body");
  const [FAR, NEAR, LEAVING] = [7, 8, 9];
  /** How far each went with each frame of 10 ms. */
  const steps: Record<number, number[]> = { [FAR]: [], [NEAR]: [], [LEAVING]: [] };
  const last: Record<number, number> = {};
  for (let frame = 0; frame <= 200 * 5; frame++) {
    const tick = frame / 5 + 4;
    if (Number.isInteger(tick)) {
      const isSent = (entity: number) => entity === NEAR || (entity === LEAVING && tick < 100);
      const sent = [FAR, NEAR, LEAVING].filter((entity) => isSent(entity) || tick % 4 === 0);
      room.delta(tick, tick - 1, Object.fromEntries(sent.map((entity) => [entity, row(tick)])));
    }
    for (const [entity, list] of Object.entries(steps)) {
      const { x } = view.at(+entity)!;
      list.push(x - (last[+entity] ?? x));
      last[+entity] = x;
    }
    room.nowUs += 10_000;
  }
  for (const [entity, list] of Object.entries(steps)) {
    assert.ok(Math.min(...list) >= 0, `${entity} is never drawn backwards`);
    // A fifth of a tick with each frame, in the end.
    const settled = list.slice(-200);
    const [least, most] = [Math.min(...settled), Math.max(...settled)];
    assert.ok(least > 0.19 && most < 0.21, `${entity}: ${least} to ${most}`);
  }
  assert.ok(Math.abs(last[NEAR]! - last[FAR]! - 3) < 0.1, "as far back as it has to be");
});

test("what a room did not send stood still, and a picture is of one moment", () => {
  const room = new FakeRoom<Body>();
  const view = interpolate(room, "body");
  for (let tick = 1; tick <= 20; tick++) {
    room.nowUs = 1_000_000 + tick * 50_000;
    room.delta(tick, tick - 1, tick === 1 || tick === 20 ? { 7: row(tick) } : {});
  }
  const drawnAt = (tick: number) => {
    room.nowUs = 1_000_000 + (tick + 2) * 50_000;
    return Math.round(view.at(7)!.x * 1e6) / 1e6;
  };
  assert.deepEqual([18, 19, 19.5, 20, 21].map(drawnAt), [1, 1, 10.5, 20, 20]);
  const tick = view.renderTick;
  room.nowUs += 900;
  assert.equal(view.renderTick, tick);
  room.nowUs += 100;
  assert.ok(view.renderTick > tick);
});

test("only the named fields are drawn smoothly", () => {
  const room = new FakeRoom();
  const view = interpolate(room, "body", { fields: ["yaw"] });
  room.nowUs += 175_000;
  room.delta(1, 0, { 7: row(0) });
  room.delta(2, 1, { 7: row(10, 1) });
  assert.equal(view.renderTick, 1.5);
  assert.deepEqual(view.at(7), row(0, 0.5));
});

test("a view follows values that come and go, and nothing after it was stopped", () => {
  const room = new FakeRoom();
  room.delta(1, 0, { 7: row(1) });
  const view = interpolate(room, "body");
  assert.equal(view.at(7)!.x, 1, "those that were there");
  room.table.remove(7);
  room.delta(2, 1, { 8: row(2) });
  assert.equal(view.at(7), undefined);
  assert.equal(view.at(8)!.x, 2);
  room.table.remove(8);
  room.delta(3, 2, { 8: row(90) });
  assert.equal(view.at(8)!.x, 90, "another one with the same number does not slide there");
  assert.equal(room.input.view, view);
  const other = interpolate(room, "body");
  assert.equal(room.input.view, view, "the first says what the player sees");
  other.stop();
  view.stop();
  assert.equal(room.input.view, undefined);
  assert.equal(room.handlersCount, 0);
});

test("a component without rows is told apart by name", () => {
  assert.throws(() => interpolate(new FakeRoom(), "bodi" as "body"), {
    name: "RangeError",
    message: 'the room has no rows "bodi"',
  });
});
