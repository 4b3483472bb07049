// What is drawn and what is predicted, with a whole client and a server that is played by the test.
import assert from "node:assert/strict";
import { test } from "node:test";
import { interpolate, predict, type RoomType, roomType } from "../src/index.js";
import { chunk, connectFake, FakeSocket, JOINED, settle } from "./fakes.js";

interface Race {
  state: { body: { x: number; hp: number } };
  input: { dx: number };
}

const race: RoomType<Race> = roomType("race", ["body.x", "input.dx"]);

const OWN = 1;
const OTHER = 2;
/** In hundredths, and straight; hp jumps. */
const SCHEMA = {
  components: [
    {
      name: "body",
      kind: 0,
      fields: [
        { name: "x", type: 9, min: 0, max: 655.35, interpolation: 1 },
        { name: "hp", type: 0 },
      ],
    },
  ],
  input: [{ name: "dx", type: 8, min: -1, max: 1 }],
};

/** Rows of the own entity and of another, in hundredths. */
function rows(own: number, other: number): number[] {
  const row = (x: number) => [x & 255, x >> 8, 100];
  return [1, 0, OWN + 1, ...row(own), OTHER - OWN, ...row(other), 0];
}

test("a client's room is drawn between its states, and the own entity ahead of them", async () => {
  const { client, timers } = connectFake();
  await settle();
  const joining = client.join(race, { room: "a" });
  const socket = FakeSocket.last;
  socket.open();
  const epochUs = timers.nowUs();
  socket.receive("Joined", { ...JOINED, tick: 1, epochUs, schema: SCHEMA });
  const entities = [0, 1, 0, 1, 7, 1, 0, 0];
  socket.receive("Delta", { tick: 1, base: 0, chunks: chunk(0, 1, [...entities, ...rows(0, 0)]) });
  const room = await joining;
  const view = interpolate(room, "body");
  const me = predict(room, {
    component: "body",
    extra: { vx: 0 },
    step(state, input, dt) {
      state.vx += (input.dx * 100 - state.vx) * Math.min(1, 5 * dt);
      state.x += state.vx * dt;
    },
  });
  assert.equal(me.state.x, 0);
  room.input.set({ dx: 1 });

  // The server takes each input as soon as it hears of it, and keeps floats.
  const server = { x: 0, vx: 0, ack: 0 };
  const seen: { x: number; tick: number; own: number }[] = [];
  for (let ms = 1; ms <= 4_000; ms++) {
    await timers.pass(1);
    for (const { clientUs } of socket.take("Ping")) {
      socket.receive("TimeSync", { clientUs, serverUs: timers.nowUs(), tick: 1, epochUs });
    }
    if (ms % 50 === 0) {
      const tick = ms / 50 + 1;
      for (const input of socket.take("Input")) {
        assert.ok(Math.abs((input.renderQ8 as number) / 256 - view.renderTick) < 1.2);
        const dx = ((input.row as Uint8Array)[0]! / 254) * 2 - 1;
        server.vx += (dx * 100 - server.vx) * Math.min(1, 5 * 0.05);
        server.x += server.vx * 0.05;
        server.ack = input.seq as number;
      }
      const chunks = chunk(0, 2, [0, 0, ...rows(Math.round(server.x * 100), tick * 200)]);
      socket.receive("Delta", { tick, base: tick - 1, ackSeq: server.ack, margin: 1, chunks });
    }
    if (ms === 2_000) {
      room.input.set({ dx: -1 });
    }
    if (ms > 500) {
      seen.push({ x: view.at(OTHER)!.x, tick: view.renderTick, own: me.state.x });
    }
  }
  for (const [index, { x, tick, own }] of seen.entries()) {
    assert.ok(Math.abs(x - tick * 2) < 0.011, `${x} at ${tick}`);
    const before = seen[index - 1]?.own ?? own;
    assert.ok(Math.abs(own - before) < 0.25, `100 per second: from ${before} to ${own}`);
  }
  assert.deepEqual(me.drift, { status: "matched", mean: 0, peak: 0 });
  assert.ok(server.ack > 70 && server.x > 10 && server.vx < -90, JSON.stringify(server));
  assert.ok(Math.abs(me.exact.x - server.x) < 10, "ahead by what the server has not taken");
  assert.equal(me.exact.hp, 100);
  me.stop();
  view.stop();
  client.close();
});
