import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Prediction, predict } from "../src/predict.js";
import { BODY, type Body, FakeRoom } from "./fake_room.js";
import { InputQueue } from "./input_queue.js";
import { Line, type LineSpec, seeded } from "./line.js";

const TICK_US = 50_000;
const NEUTRAL = { dx: 0 };

interface Walker {
  x: number;
  vx: number;
}

/** Speeds up towards what the input says, with friction, and moves. */
function walk(state: Walker, input: { dx: number }, dt: number) {
  state.vx += (input.dx * 6 - state.vx) * Math.min(1, 10 * dt);
  state.x += state.vx * dt;
}

/** Has no memory but the place. */
function glide(state: Walker, input: { dx: number }, dt: number) {
  state.x += input.dx * 6 * dt;
}

const FLOATS = [{ ...BODY[0]!, type: 6 }];

interface Play {
  seed?: number;
  line?: LineSpec;
  fields?: typeof BODY;
  step?: typeof walk;
  serverStep?: typeof walk;
  /** What the server keeps of a number, and what it tells. */
  kept?: (x: number) => number;
  told?: (x: number) => number;
  /** Inputs that never arrive. */
  isLost?: (seq: number) => boolean;
  /** From when on the line is as good as can be. */
  calmSeconds?: number;
  seconds?: number;
  smoothMs?: number;
}

const GOOD: LineSpec = { rttMs: 90, jitterMs: 0, lossPercent: 0 };

/** Somebody walks about in a room behind a line. */
function played(play: Play) {
  const { seed = 1, line = GOOD, step = walk, serverStep = step, isLost, seconds = 10 } = play;
  const same = (x: number) => x;
  const { kept = same, told = same, calmSeconds = Infinity, smoothMs = 100 } = play;
  const room = new FakeRoom<{ x: number }, { dx: number }>({ fields: play.fields ?? FLOATS });
  const random = seeded(seed);
  type Input = { seq: number; row: { dx: number } };
  const [up, down] = [
    new Line<Input>(seed, line),
    new Line<[number, number, { x: number }]>(~seed, line),
  ];
  const server = { x: 0, vx: 0 };
  const queue = new InputQueue<Input>();
  let [seq, ack, starved, last] = [0, 0, 0, NEUTRAL];
  room.delta(1, 0, { 1: { x: 0 } });
  const predictor = predict(room, { component: "body", step, extra: { vx: 0 }, smoothMs });
  const corrections: { atUs: number; way: number }[] = [];
  const drawn: { atUs: number; x: number }[] = [];
  for (let ms = 1; ms <= seconds * 1000; ms++) {
    room.nowUs += 1_000;
    if (ms === calmSeconds * 1000) {
      up.calm();
      down.calm();
    }
    if (ms % 50 === 0) {
      seq += 1;
      const row = { dx: Math.round(random() * 254 - 127) / 127 };
      room.input.row = row;
      if (!isLost?.(seq)) {
        up.send(room.nowUs, { seq, row });
      }
      room.emit("sent", seq, row);
    }
    for (const [, input] of up.arrived(room.nowUs)) {
      queue.push(input);
    }
    if (ms % 50 === 47) {
      const { taken } = queue.take();
      starved = taken.length ? 0 : starved + 1;
      for (const { row } of taken.length ? taken : [{ row: starved > 8 ? NEUTRAL : last }]) {
        serverStep(server, row, TICK_US / 1e6);
        server.x = kept(server.x);
        last = row;
      }
      ack = taken.at(-1)?.seq ?? ack;
      down.send(room.nowUs, [Math.ceil(ms / 50), ack, { x: told(server.x) }]);
    }
    for (const [, [tick, acked, row]] of down.arrived(room.nowUs)) {
      const before = predictor.exact;
      room.input.ackSeq = acked;
      room.delta(tick + 1, tick, { 1: row });
      if (predictor.exact !== before) {
        corrections.push({ atUs: room.nowUs, way: Math.abs(predictor.exact.x - before.x) });
      }
    }
    drawn.push({ atUs: room.nowUs, x: predictor.state.x });
  }
  // The server takes what is under way, without anything new.
  for (const [, input] of up.arrived(Infinity)) {
    queue.push(input);
  }
  for (let taken = queue.take().taken; taken.length; taken = queue.take().taken) {
    for (const { row } of taken) {
      serverStep(server, row, TICK_US / 1e6);
      server.x = kept(server.x);
    }
  }
  return { room, predictor, server, corrections, drawn };
}

test("as long as inputs are in time, what was predicted is what happens, to the last bit", () => {
  for (const step of [walk, glide]) {
    const { predictor, server, corrections } = played({ step });
    assert.deepEqual(corrections, []);
    assert.equal(predictor.exact.x, server.x);
    assert.ok(server.x !== 0);
    assert.deepEqual(predictor.drift, { status: "matched", mean: 0, peak: 0 });
  }
});

test("a server that rounds what it tells is not corrected by", () => {
  const quantum = 1024 / 65_534;
  const told = (x: number) => Math.round(x / quantum) * quantum;
  const { predictor, server, corrections } = played({ fields: BODY.slice(0, 1), told });
  assert.deepEqual(corrections, []);
  assert.equal(predictor.exact.x, server.x, "with all its digits");
});

test("a server that rounds what it keeps is never further away than it rounds", () => {
  const quantum = 1024 / 65_534;
  const round = (x: number) => Math.round(x / quantum) * quantum;
  const naive = played({ fields: BODY.slice(0, 1), kept: round });
  assert.ok(Math.max(...naive.corrections.map(({ way }) => way)) < 3 * quantum);
  const rounding: typeof walk = (state, input, dt) => {
    walk(state, input, dt);
    state.x = round(state.x);
  };
  const { corrections, predictor, server } = played({ fields: BODY.slice(0, 1), step: rounding });
  assert.deepEqual(corrections, [], "and a step that rounds as it does is right");
  assert.equal(predictor.exact.x, server.x);
});

test("after lost and late inputs a prediction is right again, however it began", () => {
  const lines = fc.record({
    rttMs: fc.integer({ min: 2, max: 200 }),
    jitterMs: fc.integer({ min: 0, max: 60 }),
    lossPercent: fc.integer({ min: 0, max: 5 }),
  });
  const lost = fc.array(fc.integer({ min: 1, max: 150 }), { maxLength: 40 });
  const property = fc.property(fc.integer(), lines, lost, (seed, line, lost) => {
    const isLost = (seq: number) => lost.includes(seq);
    const play = { seed, line, isLost, calmSeconds: 8, seconds: 16 };
    const gliding = played({ ...play, step: glide });
    assert.equal(gliding.predictor.exact.x, gliding.server.x);
    const walking = played(play);
    const off = Math.abs(walking.predictor.exact.x - walking.server.x);
    // A velocity is never told: it is right again as soon as friction has forgotten it.
    assert.ok(off < 1e-3, `off by ${off}`);
    const { status } = gliding.predictor.drift;
    assert.equal(status, "matched", "and that is known");
  });
  fc.assert(property, { numRuns: 40 });
});

test("now and then a correction is jitter, one with nearly every state is divergence", () => {
  const late = played({ step: glide, isLost: (seq) => seq > 10 && seq % 40 === 0 });
  assert.equal(late.predictor.drift.status, "jitter");
  assert.ok(late.predictor.drift.peak > 0 && late.predictor.drift.mean < 0.2);
  const faster: typeof glide = (state, input, dt) => glide(state, { dx: input.dx * 1.1 }, dt);
  const other = played({ step: glide, serverStep: faster });
  assert.equal(other.predictor.drift.status, "diverging");
  assert.ok(other.predictor.drift.mean > 0.001, `${other.predictor.drift.mean}`);
});

test("a correction is not seen when it comes, and is gone after its time", () => {
  const { drawn, corrections, room, predictor } = played({
    step: glide,
    isLost: (seq) => seq === 100 || seq === 101,
  });
  assert.ok(corrections.length > 0 && Math.max(...corrections.map(({ way }) => way)) > 0.05);
  // 6 units per second, and what fades, in each millisecond.
  const most = Math.max(...drawn.slice(1).map(({ x }, index) => Math.abs(x - drawn[index]!.x)));
  assert.ok(most < 0.006 + 0.01, `jumped by ${most}`);
  room.input.row = NEUTRAL;
  room.nowUs += 100_000;
  assert.equal(predictor.state.x, predictor.exact.x);
});

/** A room in which the own entity stands still, and a prediction that says the same. */
function standing(options: { snap?: number; smoothMs?: number } = {}) {
  const room = new FakeRoom<Body>();
  room.delta(1, 0, { 1: { x: 0, yaw: 0.1, hp: 100, isOut: false } });
  const step = (_: object, __: object, ___: number) => {};
  return { room, predictor: predict(room, { component: "body", step, ...options }) };
}

test("errors fade evenly, turns the short way, and what jumps is not faded", () => {
  const { room, predictor } = standing({ smoothMs: 200 });
  room.delta(2, 1, { 1: { x: 10, yaw: 2 * Math.PI - 0.1, hp: 50, isOut: true } });
  assert.deepEqual({ ...predictor.exact }, { x: 10, yaw: 2 * Math.PI - 0.1, hp: 50, isOut: true });
  for (const [ms, x, yaw] of [
    [0, 0, 0.1],
    [50, 2.5, 0.05],
    [75, 6.25, 2 * Math.PI - 0.025],
    [50, 8.75, 2 * Math.PI - 0.075],
    [25, 10, 2 * Math.PI - 0.1],
    [1000, 10, 2 * Math.PI - 0.1],
  ] as const) {
    room.nowUs += ms * 1_000;
    const { state } = predictor;
    assert.ok(Math.abs(state.x - x) < 1e-9, `${ms}: x ${state.x}`);
    assert.ok(Math.abs(state.yaw - yaw) < 1e-9, `${ms}: yaw ${state.yaw}`);
    assert.deepEqual([state.hp, state.isOut], [50, true]);
  }
  assert.equal(predictor.state, predictor.state, "one object");
});

test("a second correction goes on from what is drawn", () => {
  const { room, predictor } = standing();
  room.delta(2, 1, { 1: { x: 10 } });
  room.nowUs += 50_000;
  assert.equal(predictor.state.x, 5);
  room.delta(3, 2, { 1: { x: 20 } });
  assert.equal(predictor.state.x, 5);
  room.nowUs += 50_000;
  assert.equal(predictor.state.x, 12.5);
});

test("without smoothing a correction is there at once", () => {
  const { room, predictor } = standing({ smoothMs: 0 });
  room.delta(2, 1, { 1: { x: 10 } });
  assert.equal(predictor.state.x, 10);
});

test("a correction longer than snap is a jump, and earlier errors go with it", () => {
  const { room, predictor } = standing({ snap: 15 });
  room.delta(2, 1, { 1: { x: 10 } });
  room.nowUs += 10_000;
  room.delta(3, 2, { 1: { x: 30 } });
  assert.equal(predictor.state.x, 30);
  room.delta(4, 3, { 1: { x: 31 } });
  assert.equal(predictor.state.x, 30);
});

test("who is moved further than snap begins anew, and that is no drift", () => {
  const step = (state: { x: number; vx: number }) => {
    state.vx += 1;
    state.x += state.vx;
  };
  const prediction = new Prediction(FLOATS, step, { x: 0, vx: 0 });
  for (let seq = 1; seq <= 3; seq += 1) {
    prediction.act(seq, {});
  }
  assert.deepEqual(prediction.exact, { x: 6, vx: 3 });
  prediction.acknowledge(2, { x: 400 }, 15);
  assert.deepEqual(prediction.exact, { x: 401, vx: 1 }, "the third input is still under way");
  assert.deepEqual(prediction.drift, { status: "matched", mean: 0, peak: 0 });
});

test("what jumps is what the room says, and no drift", () => {
  const { room, predictor } = standing();
  room.delta(2, 1, { 1: { hp: 99 } });
  assert.equal(predictor.exact.hp, 99);
  assert.deepEqual(predictor.drift, { status: "matched", mean: 0, peak: 0 });
});

test("what is drawn goes on evenly from one input to the next", () => {
  const room = new FakeRoom<{ x: number }, { dx: number }>();
  room.delta(1, 0, { 1: { x: 0 } });
  const predictor = predict(room, { component: "body", step: glide, extra: { vx: 0 } });
  room.nowUs += 70_000;
  assert.equal(predictor.state.x, 0, "nothing left yet");
  room.emit("sent", 1, { dx: 1 });
  const drawnAfter = (ms: number) => {
    room.nowUs += ms * 1_000;
    return Math.round(predictor.state.x * 1e6) / 1e6;
  };
  assert.deepEqual([0, 11, 22, 11, 11, 10].map(drawnAfter), [0, 0.06, 0.18, 0.24, 0.3, 0.3]);
  // Timers are uneven, what is drawn is not.
  let last = drawnAfter(0);
  for (const [seq, ms] of [50, 48, 51, 50, 49, 53, 46, 50].entries()) {
    room.emit("sent", 2 + seq, { dx: 1 });
    assert.equal(drawnAfter(0), last);
    const half = drawnAfter(ms / 2);
    const speed = (half - last) / ms;
    last = drawnAfter(ms / 2);
    assert.ok(Math.abs(speed - 0.003) < 0.0004, `${speed} per millisecond`);
    assert.ok(Math.abs(last - half - speed * ms) < 1e-4);
  }
  assert.equal(drawnAfter(55), 2.7);
  assert.ok(Math.abs(predictor.exact.x - 2.7) < 1e-9);
});

test("inputs that have no answer for long are bounded in number", () => {
  let steps = 0;
  const step = (state: { x: number }) => {
    steps += 1;
    state.x += 1;
  };
  const prediction = new Prediction(FLOATS, step, { x: 0 });
  for (let seq = 1; seq <= 1_000; seq++) {
    prediction.act(seq, {});
  }
  steps = 0;
  prediction.acknowledge(0, { x: 5 });
  assert.equal(steps, 256);
  assert.equal(prediction.exact.x, 5 + 256);
});

test("one correction corrects all that was predicted since", () => {
  const step = (state: { x: number }, { dx }: { dx: number }) => {
    state.x += dx;
  };
  const prediction = new Prediction(FLOATS, step, { x: 0 });
  for (let seq = 1; seq <= 4; seq++) {
    prediction.act(seq, { dx: seq });
  }
  prediction.acknowledge(1, { x: 100 });
  const { exact } = prediction;
  assert.equal(exact.x, 109);
  prediction.acknowledge(3, { x: 105 });
  assert.equal(prediction.exact, exact, "that is what was expected by now");
});

test("half of the states and more in disagreement is divergence, less is jitter", () => {
  for (const [wrong, status] of [
    [2, "jitter"],
    [4, "jitter"],
    [6, "diverging"],
    [9, "diverging"],
  ] as const) {
    const prediction = new Prediction(FLOATS, () => {}, { x: 0 });
    let x = 0;
    for (let delta = 0; delta < 205; delta++) {
      x += (delta * 7) % 10 < wrong ? 1 : 0;
      prediction.acknowledge(0, { x });
    }
    assert.equal(prediction.drift.status, status, `${wrong} of 10`);
    assert.ok(Math.abs(prediction.drift.mean - wrong / 10) < 0.1, `${prediction.drift.mean}`);
    assert.ok(prediction.drift.peak > 0.8 && prediction.drift.peak <= 1);
  }
});

test("over another connection numbers begin anew, and what was under way is forgotten", () => {
  const room = new FakeRoom<{ x: number }, { dx: number }>();
  room.delta(1, 0, { 1: { x: 0 } });
  const predictor = predict(room, { component: "body", step: glide, extra: { vx: 0 } });
  for (let seq = 1; seq <= 5; seq++) {
    room.emit("sent", seq, { dx: 1 });
  }
  room.emit("resumed");
  room.delta(9, 0, { 1: { x: 0.6 } });
  assert.equal(predictor.exact.x, 0.6);
  room.emit("sent", 1, { dx: 1 });
  room.delta(10, 9, { 1: { x: 0.6 } });
  assert.ok(Math.abs(predictor.exact.x - 0.9) < 1e-9, "it is not taken yet");
});

test("a prediction waits for its entity, and may get another one", () => {
  const room = new FakeRoom<{ x: number }, { dx: number }>();
  const predictor = predict(room, { component: "body", step: glide, extra: { vx: 0 } });
  room.delta(1, 0, {});
  assert.deepEqual({ ...predictor.exact }, { vx: 0 });
  room.delta(2, 1, { 1: { x: 3 } });
  assert.equal(predictor.state.x, 3, "it does not slide there");
  room.entity = 2;
  room.delta(3, 0, { 2: { x: 3.5 } });
  assert.equal(predictor.exact.x, 3.5);
  predictor.stop();
  assert.equal(room.handlersCount, 0);
});

test("a component without rows is told apart by name", () => {
  const options = { component: "bodi" as "body", step: glide, extra: { vx: 0 } };
  assert.throws(() => predict(new FakeRoom<{ x: number }, { dx: number }>(), options), {
    name: "RangeError",
    message: 'the room has no rows "bodi"',
  });
});
