import assert from "node:assert/strict";
import { test } from "node:test";
import {
  chunk,
  connectFake,
  type FakeSocket,
  reopen,
  JOINED as SEAT,
  SNAPSHOT,
  seated,
} from "./fakes.js";

test("nobody has to catch what a question that nobody waits for rejects with", async () => {
  const seen: unknown[] = [];
  const on = (e: unknown) => {
    seen.push(e);
  };
  process.on("unhandledRejection", on);
  const { socket, room } = await seated();
  room.request("chat", "x");
  room.kick(3);
  room.configure({ locked: true });
  socket.end(1006);
  await new Promise((r) => setTimeout(r, 20));
  process.off("unhandledRejection", on);
  assert.deepEqual(seen, []);
});

test("what is set in a room that was left leaves nothing running", async () => {
  const { client, timers, room } = await seated();
  client.close();
  room.presence.set({ cursor: { x: 1, y: 2 } });
  room.input.set({ dx: 1 });
  await timers.pass(5000);
  assert.equal(timers.pending, 0);
});

test("presence that makes no sense is said to be, and is forgotten", async () => {
  const { timers, socket, room } = await seated();
  room.presence.set({ cursor: { x: 1, y: 2 } });
  assert.throws(() => room.presence.set({ cursor: { x: Number.NaN, y: 2 } }));
  await timers.pass(200);
  socket.end(1012);
  const again = await reopen(timers);
  let resumed = 0;
  room.on("resumed", () => {
    resumed += 1;
  });
  again.receive("Joined", { ...SEAT, member: 8 });
  again.receive("Delta", SNAPSHOT);
  await timers.pass(200);
  assert.equal(resumed, 1);
  assert.equal(again.take("Write").length, 1);
});

test("presence that was lost with the connection is said again", async () => {
  const { timers, socket, room } = await seated();
  room.presence.set({ cursor: { x: 1, y: 2 } });
  assert.equal(socket.take("Write").length, 1);
  socket.end(1006);
  const again = await reopen(timers);
  again.receive("Joined", SEAT);
  await timers.pass(200);
  assert.equal(again.take("Write").length, 1);
});

test("the newest place looked at is looked at again over another connection", async () => {
  const { timers, socket, room } = await seated();
  room.lookAt(1, 2);
  socket.end(1006);
  for (let i = 0; i < 5000; i++) room.lookAt(i, 2);
  assert.equal(room.send("chat", "x"), true);
  const again = await reopen(timers);
  again.receive("Joined", SEAT);
  assert.equal(again.take("Interest").length, 1);
  again.end(1006);
  const third = await reopen(timers);
  third.receive("Joined", SEAT);
  assert.equal(third.take("Interest").length, 1);
});

test("what is too long for the server is said so, before it ends the connection", async () => {
  const { room } = await seated();
  assert.throws(() => room.send("chat", "x".repeat(16_385)), RangeError);
  const { client: c } = connectFake();
  await assert.rejects(c.join("board", { name: "x".repeat(65) }), RangeError);
});

test("nothing follows the end of a seat", async () => {
  const { client, socket, room } = await seated();
  const log: string[] = [];
  room.on("left", () => log.push("left"));
  room.on("tick", () => {
    log.push("tick");
  });
  room.on("tick", () => {
    client.close();
  });
  room.onEvent("chat", () => log.push("event"));
  socket.receive("Delta", { tick: 12, base: 11, chunks: chunk(0, 4, [1, 1, 7, 1, 65, 0]) });
  assert.deepEqual(log, ["tick", "left"]);
});

test("a question that was aborted before there is a connection is not sent", async () => {
  const { timers, socket, room } = await seated();
  socket.end(1006);
  const stop = new AbortController();
  const asked = room.request("chat", "x", { signal: stop.signal });
  stop.abort(new Error("no"));
  await assert.rejects(asked, /no/);
  const again = await reopen(timers);
  again.receive("Joined", SEAT);
  assert.equal(again.take("Publish").length, 0);
});

test("inputs go on at a server whose clock is another", async () => {
  const { timers, socket, room } = await seated();
  const answer = (from: FakeSocket, epochUs: number) => {
    for (const { clientUs } of from.take("Ping")) {
      const serverUs = epochUs + 600_000;
      from.receive("TimeSync", { clientUs, serverUs, tick: 12, epochUs, scaleQ16: 65_536 });
    }
  };
  room.input.set({ dx: 1 });
  await timers.pass(600);
  answer(socket, 9e12);
  await timers.pass(300);
  assert.ok(socket.take("Input").length > 0);
  socket.end(1012);
  const again = await reopen(timers);
  again.receive("Joined", { ...SEAT, member: 8 });
  again.receive("Delta", SNAPSHOT);
  await timers.pass(100);
  answer(again, 1e9);
  again.take("Input");
  await timers.pass(1000);
  assert.ok(again.take("Input").length > 10);
});

test("a room that is being left does not come back when the connection breaks", async () => {
  const { timers, socket, room } = await seated();
  const left = room.leave();
  socket.end(1012);
  await left;
  const again = await reopen(timers);
  assert.equal(again.take("Join").length, 0);
});
