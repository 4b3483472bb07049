import assert from "node:assert/strict";
import { test } from "node:test";
import {
  connectFake,
  FakeSocket,
  isError,
  refused,
  reopen,
  JOINED as SEAT,
  SNAPSHOT,
  seated,
  settle,
} from "./fakes.js";

test("a join that is aborted before the state is there gives its seat back", async () => {
  const { client } = connectFake();
  await settle();
  const stop = new AbortController();
  const joined = client.join("board", { room: "a", signal: stop.signal });
  const socket = FakeSocket.last;
  socket.open();
  socket.receive("Joined", SEAT);
  stop.abort(new Error("never mind"));
  await assert.rejects(joined, /never mind/);
  assert.equal(socket.take("Leave").length, 1);
  const other = client.join("board", { room: "b" });
  socket.receive("Delta", SNAPSHOT);
  socket.take("Join");
  socket.receive("Left", { reason: 0 });
  assert.deepEqual(
    socket.take("Join").map(({ room }) => room),
    ["b"],
  );
  socket.receive("Joined", SEAT);
  socket.receive("Delta", SNAPSHOT);
  assert.equal((await other).name, "b");
});

test("a seat that is lost before its state is there rejects the join", async () => {
  const { client } = connectFake();
  await settle();
  const joined = client.join("board", { room: "a" });
  const socket = FakeSocket.last;
  socket.open();
  socket.receive("Joined", SEAT);
  socket.receive("Left", { reason: 3, message: "over" });
  await assert.rejects(joined, isError("Left"));
});

test("a leave that crosses the end of the seat does not refuse the next join", async () => {
  const { client, socket, room } = await seated();
  const leaves = [room.leave(), room.leave()];
  socket.receive("Left", { reason: 0 });
  await Promise.all(leaves);
  const next = client.join("board", { room: "b" });
  socket.receive("Refused", refused(6));
  socket.receive("Joined", SEAT);
  socket.receive("Delta", SNAPSHOT);
  assert.equal((await next).name, "b");
});

test("a handler may join again when a room is made of something else", async () => {
  const { client, timers, socket, room } = await seated();
  room.on("left", () => {
    client.join("board", { room: "b" });
  });
  socket.end(1012);
  const again = await reopen(timers);
  again.take();
  again.receive("Joined", { ...SEAT, member: 8, schema: { ...SEAT.schema, topics: [] } });
  assert.deepEqual(
    again
      .take()
      .map((s) => s.kind)
      .filter((k) => k === "Join" || k === "Leave"),
    ["Leave"],
  );
  again.receive("Left", { reason: 0 });
  assert.equal(again.take("Join").length, 1);
});

test("a join that cannot be asked for fails before there is a connection", async () => {
  const { client } = connectFake();
  const joined = client.join("board", { options: { a: 1n } });
  FakeSocket.last.open();
  await assert.rejects(joined, TypeError);
});
