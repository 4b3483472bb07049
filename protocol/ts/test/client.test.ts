import assert from "node:assert/strict";
import { test } from "node:test";
import type { Client, Room, TickloomError } from "../src/index.js";
import {
  chunk,
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

test("a join resolves when the room's state is there", async () => {
  const { client, timers } = connectFake();
  await settle();
  assert.equal(client.state, "connecting");
  const rooms: Room[] = [];
  const joined = client.join("board", { room: "a", name: "Zoë" }).then((it) => rooms.push(it));
  const socket = FakeSocket.last;
  assert.deepEqual([socket.url, socket.protocol], ["ws://localhost:7420/ws", "tickloom.v1"]);
  socket.open();
  assert.equal(client.state, "open");
  const [join] = socket.take("Join");
  assert.equal(join?.roomType, "board");
  assert.equal(join?.room, "a");
  assert.equal(join?.name, "Zoë");
  assert.equal(join?.resume, undefined);
  socket.receive("Joined", SEAT);
  await timers.pass(1);
  assert.equal(rooms.length, 0);
  socket.receive("Delta", SNAPSHOT);
  await joined;
  const [room] = rooms;
  assert.equal(room?.tick, 11);
  assert.equal(room?.member, 7);
  assert.equal(room?.state.name?.get(1), "Zoë");
  assert.equal(client.room, room);
});

test("a refusal rejects with its code and leaves the connection usable", async () => {
  const { client } = connectFake();
  await settle();
  FakeSocket.last.open();
  const joined = client.join("board", { room: "a" });
  FakeSocket.last.receive("Refused", refused(3, 0, 2000));
  await assert.rejects(joined, (error: TickloomError) => {
    assert.equal(error.code, "RoomFull");
    assert.equal(error.retryMs, 2000);
    return true;
  });
  const again = client.join("board", { room: "b" });
  assert.equal(FakeSocket.last.take("Join").length, 2);
  FakeSocket.last.receive("Joined", SEAT);
  FakeSocket.last.receive("Delta", SNAPSHOT);
  assert.equal((await again).name, "b");
});

test("modes are what the wire calls them", async () => {
  const rows: [(client: Client) => Promise<unknown>, number, boolean][] = [
    [(client) => client.join("board", { room: "a" }), 0, false],
    [(client) => client.join("board", { room: "a", mode: "join" }), 2, false],
    [(client) => client.create("board"), 1, false],
    [(client) => client.spectate("board", { room: "a" }), 0, true],
  ];
  for (const [ask, mode, spectate] of rows) {
    const { client } = connectFake();
    await settle();
    ask(client);
    FakeSocket.last.open();
    const [join] = FakeSocket.last.take("Join");
    assert.deepEqual([join?.mode, join?.spectate], [mode, spectate]);
  }
});

test("one client has one seat", async () => {
  const { client, room, socket } = await seated();
  await assert.rejects(client.join("board", { room: "b" }), isError("AlreadyJoined"));
  const left = room.leave();
  assert.equal(socket.take("Leave").length, 1);
  socket.receive("Left", { reason: 0 });
  await left;
  assert.equal(room.status, "left");
  client.join("board", { room: "b" });
  assert.equal(socket.take("Join").length, 1);
});

test("a join that nobody waits for any more gives its seat back", async () => {
  const { client } = connectFake();
  await settle();
  FakeSocket.last.open();
  const stop = new AbortController();
  const joined = client.join("board", { room: "a", signal: stop.signal });
  stop.abort(new Error("never mind"));
  await assert.rejects(joined, /never mind/);
  const other = client.join("board", { room: "b" });
  const socket = FakeSocket.last;
  assert.deepEqual(
    socket.take("Join").map(({ room }) => room),
    ["a"],
  );
  socket.receive("Joined", SEAT);
  assert.equal(socket.take("Leave").length, 1);
  socket.receive("Delta", SNAPSHOT);
  socket.receive("Left", { reason: 0 });
  assert.deepEqual(
    socket.take("Join").map(({ room }) => room),
    ["b"],
  );
  socket.receive("Joined", SEAT);
  socket.receive("Delta", SNAPSHOT);
  assert.equal((await other).name, "b");
});

test("a join without an answer times out", async () => {
  const { client, timers } = connectFake();
  const joined = client.join("board", { room: "a", timeoutMs: 3000 });
  await timers.pass(3001);
  await assert.rejects(joined, isError("Timeout"));
});

test("a join with metadata that cannot be fails alone", async () => {
  // The story: the seat stood as asked for, and every later join was refused as the second one.
  const { client, timers } = connectFake();
  await settle();
  FakeSocket.last.open();
  const join = (hp: number) => client.join("board", { room: "a", metadata: { hp } });
  await assert.rejects(join(Number.NaN), /metadata\.hp: NaN/);
  assert.equal(timers.pending, 1, "the pulse; nobody waits for an answer");
  join(1).catch(() => {});
  assert.equal(FakeSocket.last.take("Join").length, 1);
});

test("a broken connection comes back to its seat and goes on", async () => {
  const { client, timers, socket, room } = await seated();
  const told: string[] = [];
  room.on("dropped", () => told.push("dropped"));
  room.on("resumed", (how) => told.push(JSON.stringify(how)));
  client.on("state", (now) => told.push(now));
  const named = room.state.name!;
  socket.end(1006);
  assert.equal(room.status, "away");
  await timers.pass(0);
  const again = FakeSocket.last;
  assert.notEqual(again, socket, "a connection that worked is tried again at once");
  again.open();
  const [join] = again.take("Join");
  const resume = join?.resume as Record<string, unknown>;
  assert.deepEqual(
    [resume.member, resume.tick, [...(resume.token as Uint8Array)]],
    [7, 11, [1, 2, 3]],
  );
  again.receive("Joined", { ...SEAT, token: Uint8Array.of(4), recovered: true });
  again.receive("Delta", { tick: 14, base: 11 });
  assert.deepEqual(told, [
    "waiting",
    "dropped",
    "connecting",
    "open",
    '{"isSame":true,"recovered":true}',
  ]);
  assert.equal(room.tick, 14);
  assert.equal(room.state.name, named);
  assert.deepEqual(
    [client.stats.connections, client.stats.resumed, client.stats.recovered],
    [2, 1, 1],
  );
});

test("whose seat is gone gets another in the same room, with everything anew", async () => {
  const { client, timers, socket, room } = await seated();
  let how = {};
  room.on("resumed", (resumed) => {
    how = resumed;
  });
  socket.end(1012);
  const again = await reopen(timers);
  again.receive("Joined", { ...SEAT, member: 8, entity: 2 });
  again.receive("Delta", { ...SNAPSHOT, tick: 3, chunks: chunk(0, 1, [0, 1, 0, 2, 8, 0]) });
  assert.deepEqual(how, { isSame: false, recovered: false });
  assert.deepEqual([room.member, room.entity, room.tick], [8, 2, 3]);
  assert.equal(room.state.name!.size, 0);
  assert.equal(client.stats.resumed, 0);
});

test("a room that is made of something else now is left", async () => {
  const { timers, socket, room } = await seated();
  let why = "";
  room.on("left", ({ reason }) => {
    why = reason;
  });
  socket.end(1012);
  const again = await reopen(timers);
  const schema = { ...SEAT.schema, topics: [] };
  again.receive("Joined", { ...SEAT, member: 8, schema });
  assert.equal(why, "RoomEnded");
  assert.equal(again.take("Leave").length, 1);
});

test("a room that refuses for good is left, one that refuses for now is asked again", async () => {
  for (const [retryMs, status] of [
    [0, "left"],
    [500, "away"],
  ] as const) {
    const { timers, socket, room } = await seated();
    socket.end(1006);
    const again = await reopen(timers);
    again.take();
    again.receive("Refused", refused(4, 0, retryMs));
    assert.equal(room.status, status);
    assert.equal(again.take("Join").length, 0, "not before its time");
    await timers.pass(600);
    FakeSocket.last.open();
    assert.equal(FakeSocket.last.take("Join").length, retryMs ? 1 : 0);
  }
});

test("close codes say whether to come back", async () => {
  for (const [code, isFinal] of [
    [1000, true],
    [1001, false],
    [1002, true],
    [1003, true],
    [1005, true],
    [1006, false],
    [1007, true],
    [1008, true],
    [1009, true],
    [1011, false],
    [1012, false],
    [1013, false],
    [3000, false],
    [4001, false],
    [4499, false],
    [4500, true],
    [4999, true],
  ] as const) {
    const { client, socket, room } = await seated();
    let closed: TickloomError | undefined;
    client.on("closed", (error) => {
      closed = error;
    });
    socket.end(code, "slug: a sentence");
    assert.equal(client.state, isFinal ? "closed" : "waiting", `${code}`);
    assert.equal(room.status, isFinal ? "left" : "away", `${code}`);
    assert.equal(closed?.closeCode, isFinal ? code : undefined);
  }
});

test("tries come with growing random delays, or when the server said", async () => {
  const { client, timers, socket } = await seated();
  socket.receive("GoAway", { retryMs: 4321 });
  socket.end(1012);
  assert.equal(Math.round(client.retryAtMs! - timers.nowUs() / 1000), 4321);
  await timers.pass(4322);
  for (let attempt = 0; attempt < 10; attempt += 1) {
    assert.equal(client.state, "connecting");
    FakeSocket.last.end(1006);
    const delayMs = client.retryAtMs! - timers.nowUs() / 1000;
    const most = Math.min(30_000, 500 * 2 ** attempt);
    assert.ok(delayMs >= 0 && delayMs <= most, `${delayMs} of ${most}`);
    await timers.pass(delayMs + 1);
  }
});

test("a connection that does not open is given up after its time", async () => {
  const { client, timers } = connectFake({ connectTimeoutMs: 1000 });
  await timers.pass(1001);
  assert.equal(client.state, "waiting");
  assert.equal(FakeSocket.all[0]!.closedWith, 3000);
  FakeSocket.all[0]!.open();
  assert.equal(client.state, "waiting", "one that was given up means nothing any more");
});

test("an address that makes no sense closes the client and says so", async () => {
  const { client } = connectFake();
  client.close();
  const wrong = new (client.constructor as typeof Client)("http://", { timers: undefined });
  let message = "";
  wrong.on("closed", (error) => {
    message = error.message;
  });
  await settle();
  assert.equal(wrong.state, "closed");
  assert.match(message, /URL/);
});

test("people are told after five seconds without a connection, and when it is back", async () => {
  const { client, timers, socket } = await seated();
  const told: string[] = [];
  client.on("lost", () => told.push("lost"));
  client.on("restored", () => told.push("restored"));
  socket.end(1006);
  // The try that comes at once does not open.
  await timers.pass(4900);
  assert.deepEqual(told, []);
  await timers.pass(200);
  assert.deepEqual(told, ["lost"]);
  (await reopen(timers)).receive("Joined", SEAT);
  assert.deepEqual(told, ["lost", "restored"]);
});

test("silence is asked about and then ends the connection", async () => {
  const { client, timers, socket } = await seated();
  await timers.pass(6000);
  socket.take();
  // Pings go on every five seconds, and nobody answers.
  await timers.pass(13_000);
  assert.equal(client.state, "open");
  await timers.pass(10_000);
  assert.equal(socket.closedWith, 3000);
});

test("a report goes out every second with the tick that is shown", async () => {
  const { timers, socket } = await seated();
  await timers.pass(3000);
  const reports = socket.take("Report");
  assert.ok(reports.length >= 2 && reports.length <= 4, `${reports.length}`);
  assert.deepEqual([reports[0]?.appliedTick, reports[0]?.hidden], [11, false]);
});

test("what is asked is answered, refused, timed out, aborted, or lost", async () => {
  const { timers, socket, room } = await seated();
  const ask = (options = {}) => room.request("chat", "hi", options);
  const [accepted, refusedOne, late, aborted, lost] = [
    ask(),
    ask(),
    ask({ timeoutMs: 100 }),
    ask({ signal: AbortSignal.abort(new Error("enough")) }),
    ask(),
  ];
  const ops = socket.take("Publish").map(({ op }) => op as number);
  assert.equal(ops.length, 4, "what was aborted before was not sent");
  socket.receive("Accepted", { op: ops[0], tick: 12 });
  assert.equal((await accepted!).tick, 12);
  socket.receive("Refused", refused(11, ops[1], 50));
  await assert.rejects(refusedOne!, isError("Busy"));
  await timers.pass(101);
  await assert.rejects(late!, isError("Timeout"));
  await assert.rejects(aborted!, /enough/);
  socket.end(1006);
  await assert.rejects(lost!, isError("Lost"));
});

test("what nobody has heard of is said at once", async () => {
  const { room } = await seated();
  assert.throws(() => room.send("gossip", "x"), /no topic gossip/);
  assert.throws(() => room.input.set({ jump: 1 }), /no field jump/);
  assert.throws(() => room.presence.set({ shared: { a: 1 } }), /shared/);
  await assert.rejects(async () => room.set("colour", 1, {}), /colour/);
});

test("words are kept while there is no connection, up to a bound, and said later", async () => {
  const { client, timers, socket, room } = await seated({ offlineBytesMax: 400 });
  socket.end(1006);
  const asked = room.request("chat", "one");
  assert.equal(room.send("chat", { text: "two" }), true);
  const bytes = client.stats.offlineBytes;
  assert.ok(bytes > 0);
  let kept = 2;
  while (room.send("chat", "x".repeat(50))) {
    kept += 1;
  }
  assert.ok(client.stats.offlineBytes <= 400);
  await assert.rejects(room.request("chat", "x".repeat(99)), isError("OfflineFull"));
  const again = await reopen(timers);
  assert.equal(again.take("Publish").length, 0, "not before there is a seat");
  again.receive("Joined", SEAT);
  const said = again.take("Publish");
  assert.equal(said.length, kept);
  assert.equal(new TextDecoder().decode(said[1]?.body as Uint8Array), '{"text":"two"}');
  again.receive("Accepted", { op: said[0]?.op, tick: 20 });
  assert.equal((await asked).tick, 20);
  assert.equal(client.stats.offlineBytes, 0);
});

test("writes for a seat that is gone are not sent for another", async () => {
  const { timers, socket, room } = await seated();
  socket.end(1012);
  const written = room.set("shared", 0, { title: "x" }, { timeoutMs: 60_000 });
  const again = await reopen(timers);
  again.receive("Joined", { ...SEAT, member: 9 });
  await assert.rejects(written, isError("Left"));
  assert.equal(again.take("Write").length, 0);
});

test("a value that is set shows at once and goes back when it is refused", async () => {
  const { socket, room } = await seated();
  const changes: unknown[] = [];
  const shared = room.state.shared!;
  shared.onAdd((value) => changes.push({ ...value }));
  shared.onChange((value) => changes.push({ ...value }));
  shared.onRemove(() => changes.push("removed"));
  const written = room.set("shared", 0, { title: "mine" });
  assert.equal(shared.get(0)?.title, "mine");
  const [write] = socket.take("Write");
  socket.receive("Refused", refused(8, write?.op as number));
  await assert.rejects(written, isError("NotAllowed"));
  assert.equal(shared.get(0)?.title, undefined);
  assert.deepEqual(changes, [{ title: "mine" }, "removed"]);
});

test("a value that is taken stays until the state that shows it", async () => {
  const { socket, room } = await seated();
  const shared = room.state.shared!;
  const written = room.set("shared", 0, { title: "mine" });
  const [write] = socket.take("Write");
  // Section 4: entity 0, "title" = "old".
  const old = chunk(0, 2, [0, 0, 4, 3, 1, 5, ...ascii("title"), 5, 3, ...ascii("old"), 0, 0]);
  socket.receive("Delta", { tick: 12, base: 11, chunks: old });
  assert.equal(shared.get(0)?.title, "mine");
  socket.receive("Accepted", { op: write?.op, tick: 13, entities: [] });
  await written;
  const mine = chunk(0, 2, [0, 0, 4, 3, 1, 5, ...ascii("title"), 5, 4, ...ascii("mine"), 0, 0]);
  socket.receive("Delta", { tick: 13, base: 12, chunks: mine, ackOp: write?.op });
  assert.equal(shared.get(0)?.title, "mine");
  const theirs = chunk(0, 2, [0, 0, 4, 3, 1, 5, ...ascii("title"), 5, 6, ...ascii("theirs"), 0, 0]);
  socket.receive("Delta", { tick: 14, base: 13, chunks: theirs });
  assert.equal(shared.get(0)?.title, "theirs");
});

const ascii = (text: string): number[] => [...new TextEncoder().encode(text)];

test("a handler that throws is reported and stops nobody", async () => {
  const { client, socket, room } = await seated();
  const errors: unknown[] = [];
  client.on("error", (error) => errors.push(error));
  const seen: number[] = [];
  room.on("tick", () => {
    throw new Error("mine");
  });
  room.on("tick", ({ tick }) => seen.push(tick));
  room.state.name!.onChange(() => {
    throw new Error("table");
  });
  socket.receive("Delta", { tick: 12, base: 11, chunks: chunk(0, 2, [0, 0, 3, 0, 2, 1, 0x41, 0]) });
  socket.receive("Delta", { tick: 13, base: 12 });
  assert.deepEqual(seen, [12, 13]);
  assert.deepEqual(errors.map(String), ["Error: table", "Error: mine", "Error: mine"]);
  assert.equal(client.stats.handlerErrors, 3);
});

test("a gap asks for one snapshot, and the snapshot repairs", async () => {
  const { client, socket, room } = await seated();
  socket.receive("Delta", { tick: 15, base: 14 });
  socket.receive("Delta", { tick: 16, base: 15 });
  const resyncs = socket.take("Resync");
  assert.deepEqual(
    resyncs.map(({ haveTick, reason }) => [haveTick, reason]),
    [[11, 0]],
  );
  socket.receive("Delta", { ...SNAPSHOT, tick: 17 });
  assert.equal(room.tick, 17);
  assert.equal(client.stats.resyncs, 1);
});

test("a server whose states never fit is left", async () => {
  const { client, socket } = await seated();
  for (let tick = 20; tick < 40; tick += 2) {
    socket.receive("Delta", { tick, base: 0, chunks: Uint8Array.of(9, 9, 9) });
  }
  assert.equal(client.state, "closed");
  assert.equal(socket.take("Resync").length, 8);
});

test("a malformed message closes the client, an unknown one is passed over", async () => {
  const { client, socket } = await seated();
  socket.receiveBytes(Uint8Array.of(1, 2, 3));
  assert.equal(client.state, "closed");
  assert.equal(socket.closedWith, 3000);
});

test("events come after the state of their tick, and history to whoever asks later", async () => {
  const { client } = connectFake();
  await settle();
  const joined = client.join("board", { room: "a" });
  const socket = FakeSocket.last;
  socket.open();
  socket.receive("Joined", SEAT);
  // Event 1 on topic 0 by member 3 was said before; the member's own hearing begins with 2.
  const past = chunk(0, 4, [1, 1, 3, 2, 0x68, 0x69, 0]);
  const chunks = Uint8Array.of(...SNAPSHOT.chunks, ...past, ...chunk(0, 4, [2, 0]));
  socket.receive("Delta", { ...SNAPSHOT, chunks });
  const room = await joined;
  const heard: string[] = [];
  room.onEvent("chat", (event) => heard.push(`${event.from} ${event.text} ${event.isHistory}`));
  assert.deepEqual(heard, ["3 hi true"]);
  room.on("tick", ({ tick }) => heard.push(`tick ${tick}`));
  const said = chunk(0, 4, [2, 1, 5, 2, 0x68, 0x6f, 0]);
  socket.receive("Delta", { tick: 12, base: 11, chunks: said });
  assert.deepEqual(heard.slice(1), ["tick 12", "5 ho false"]);
});

test("what was missed is counted", async () => {
  const { client, socket, room } = await seated();
  let missed = 0;
  room.on("missed", (count) => {
    missed += count;
  });
  socket.receive("Delta", { tick: 12, base: 11, chunks: chunk(0, 4, [5, 0]) });
  socket.receive("Delta", { tick: 13, base: 12, chunks: chunk(0, 4, [9, 0]) });
  assert.equal(missed, 4);
  assert.equal(client.stats.eventsLost, 4);
});

test("closing gives the seat back, and nothing is left running", async () => {
  const { client, timers, socket, room } = await seated();
  room.input.set({ dx: 1 });
  client.close();
  assert.equal(socket.closedWith, 1000);
  assert.equal(room.status, "left");
  await assert.rejects(client.join("board"), isError("Closed"));
  await timers.pass(20_000);
  assert.equal(timers.pending, 0);
});

test("a member that is sent away hears why", async () => {
  const { client, socket, room } = await seated();
  let why: unknown;
  room.on("left", (left) => {
    why = left;
  });
  socket.receive("Left", { reason: 1, message: "no shouting" });
  assert.deepEqual(why, { reason: "Kicked", message: "no shouting" });
  assert.equal(client.room, undefined);
  assert.equal(client.state, "open");
  await assert.rejects(room.request("chat", "sorry"), isError("Left"));
});
