/** What members do with every tick, and what they say of themselves. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { chunk, reopen, JOINED as SEAT, SNAPSHOT, seated } from "./fakes.js";

test("one input leaves per tick, with the newest of each field", async () => {
  const { timers, socket, room } = await seated();
  socket.receive("TimeSync", {
    clientUs: timers.nowUs(),
    serverUs: SEAT.epochUs + 10.5 * SEAT.tickUs,
    tick: 10,
    epochUs: SEAT.epochUs,
  });
  const sent: unknown[] = [];
  room.input.onSent((seq, row) => sent.push([seq, row.dx]));
  room.input.set({ dx: 3 });
  room.input.set({ dx: 5 });
  await timers.pass(1);
  room.input.once({ dx: 9 });
  await timers.pass(199);
  const inputs = socket.take("Input");
  assert.deepEqual(
    inputs.map(({ seq, row }) => [seq, (row as Uint8Array)[0]]),
    [[1, 5], [2, 9], [3, 5], [4, 5], ...(inputs.length > 4 ? [[5, 5]] : [])],
  );
  assert.deepEqual(sent.slice(0, 2), [
    [1, 5],
    [2, 9],
  ]);
  assert.equal(inputs[0]?.appliedTick, 11);
});

test("what is cleared goes out once, and then nothing", async () => {
  const { timers, socket, room } = await seated();
  const now = { clientUs: timers.nowUs(), serverUs: SEAT.epochUs + 500_000, tick: 10 };
  socket.receive("TimeSync", { ...now, epochUs: SEAT.epochUs });
  room.input.set({ dx: 3 });
  await timers.pass(60);
  socket.take("Input");
  room.input.once({ dx: 7 });
  room.input.clear();
  await timers.pass(1000);
  const rows = socket.take("Input").map(({ row }) => [...(row as Uint8Array)]);
  assert.deepEqual(rows, [[0]]);
  room.input.set({ dx: 4 });
  await timers.pass(60);
  assert.ok(socket.take("Input").length > 0);
});

test("inputs wait while the socket is full, are bounded ahead, and are never kept", async () => {
  const { client, timers, socket, room } = await seated({ bufferedBytesMax: 1000 });
  const now = { clientUs: timers.nowUs(), serverUs: SEAT.epochUs + 500_000, tick: 10 };
  socket.receive("TimeSync", { ...now, epochUs: SEAT.epochUs });
  const told: boolean[] = [];
  client.on("congested", (is) => told.push(is));
  room.input.set({ dx: 1 });
  socket.bufferedAmount = 1001;
  await timers.pass(1000);
  assert.equal(socket.take("Input").length, 0);
  socket.bufferedAmount = 0;
  await timers.pass(6000);
  assert.equal(socket.take("Input").length, 64, "no more than 64 beyond what was taken");
  assert.deepEqual(told, [true, false]);
});

test("presence sends what is newest, not more often than it is told to", async () => {
  const { timers, socket, room } = await seated();
  room.presence.set({ cursor: { x: 1, y: 1 } });
  assert.equal(socket.take("Write").length, 1);
  for (let x = 2; x < 10; x += 1) {
    room.presence.set({ cursor: { x } });
    await timers.pass(2);
  }
  assert.equal(socket.take("Write").length, 0);
  await timers.pass(50);
  const [write] = socket.take("Write");
  // No leaves, no enters, a section of rows of component 2: entity 1 has x 9, y 1.
  assert.deepEqual([...(write!.changes as Uint8Array)], [0, 0, 1, 2, 2, 9, 0, 1, 0, 0]);
  assert.deepEqual(room.state.cursor?.get(1), { x: 9, y: 1 });
});

test("presence is said again in a seat that begins anew", async () => {
  const { timers, socket, room } = await seated();
  room.presence.set({ cursor: { x: 4, y: 2 } });
  socket.end(1012);
  const again = await reopen(timers);
  again.receive("Joined", { ...SEAT, member: 9, entity: 3 });
  again.receive("Delta", { ...SNAPSHOT, chunks: chunk(0, 1, [0, 1, 0, 3, 9, 0]) });
  await timers.pass(200);
  const [write] = again.take("Write");
  assert.deepEqual([...(write!.changes as Uint8Array)], [0, 0, 1, 2, 4, 4, 0, 2, 0, 0]);
});

test("others are the members in view, the same list until something changes", async () => {
  const { socket, room } = await seated();
  // Gap 3 from -1 is entity 2, which is called "bob".
  const chunks = chunk(0, 2, [0, 3, 9, 0, 3, 0, 3, 3, 0x62, 0x6f, 0x62, 0]);
  socket.receive("Delta", { tick: 12, base: 11, chunks });
  const { others } = room.presence;
  assert.deepEqual(
    others.map(({ entity, member, name }) => [entity, member, name]),
    [[2, 9, "bob"]],
  );
  assert.equal(room.presence.others, others);
});
