import assert from "node:assert/strict";
import { test } from "node:test";
import { runInNewContext } from "node:vm";
import { Client } from "../src/client.js";
import type { Address, ClientOptions } from "../src/options.js";
import { platformTimers } from "../src/timers.js";
import {
  connectFake,
  encodeServer,
  FakeSocket,
  JOINED as SEAT,
  SNAPSHOT,
  seated,
  settle,
} from "./fakes.js";

/** A client that tries once, and why it was closed. */
async function tried(address: Address, options: ClientOptions = { WebSocket: FakeSocket }) {
  const client = new Client(address, options);
  let message = "";
  client.on("closed", (error) => {
    message = error.message;
  });
  await settle();
  const { state } = client;
  client.close();
  return { state, message };
}

test("a client that a handler closes leaves nothing running", async () => {
  for (const when of ["connecting", "open", "waiting"]) {
    const { client, timers } = connectFake();
    client.on("state", (now) => {
      if (now === when) client.close();
    });
    FakeSocket.last.open();
    FakeSocket.last.end(1006);
    await timers.pass(100);
    if (client.state !== "closed") {
      await timers.pass(40_000);
      FakeSocket.last.end(1006);
    }
    assert.equal(client.state, "closed", when);
    assert.equal(timers.pending, 0, when);
  }
});

test("whoever hears of waiting knows until when", async () => {
  const { client, socket } = await seated();
  let at: number | undefined;
  client.on("state", (now) => {
    if (now === "waiting") at = client.retryAtMs;
  });
  socket.end(1013);
  assert.notEqual(at, undefined);
});

test("a handler may connect a client that waits, and the try has its time", async () => {
  const { client, timers, socket } = await seated();
  client.on("state", (now) => {
    if (now === "waiting") client.reconnect();
  });
  socket.end(1013);
  assert.equal(client.state, "connecting");
  assert.equal(client.retryAtMs, undefined);
  const count = FakeSocket.all.length;
  await timers.pass(5100);
  assert.ok(FakeSocket.all.length > count, "given up after its time");
});

test("where to connect may be found out later", async () => {
  for (const error of [new TypeError("fetch failed"), new SyntaxError("Unexpected token <")]) {
    assert.equal((await tried(() => Promise.reject(error))).state, "waiting", `${error}`);
    const throws = () => {
      throw error;
    };
    assert.equal((await tried(throws)).state, "waiting", `${error}`);
  }
});

test("an address that no WebSocket takes closes the client", async () => {
  // Those of browsers throw what is no SyntaxError of the language.
  class Strict extends FakeSocket {
    constructor() {
      super("", "");
      throw new DOMException("no such scheme", "SyntaxError");
    }
  }
  const { state, message } = await tried("localhost:7420/ws", { WebSocket: Strict });
  assert.equal(state, "closed");
  assert.match(message, /localhost:7420.*no such scheme/);
});

test("a platform without WebSockets is told what to do", async () => {
  const { WebSocket } = globalThis;
  Object.assign(globalThis, { WebSocket: undefined });
  const { state, message } = await tried("ws://localhost:7420/ws", {});
  Object.assign(globalThis, { WebSocket });
  assert.equal(state, "closed");
  assert.match(message, /npm's ws as an option/);
});

test("an endless timeout does not end at once", async () => {
  let fired = false;
  const fire = () => {
    fired = true;
  };
  const timers = [Infinity, 4e9].map((ms) => platformTimers.set(fire, ms));
  await new Promise((resolve) => setTimeout(resolve, 30));
  timers.map(platformTimers.clear);
  assert.equal(fired, false);
});

test("a client that nobody joins with waits for a join", async () => {
  const { client, timers } = connectFake();
  await settle();
  FakeSocket.last.open();
  await timers.pass(10_000);
  FakeSocket.last.end(1008, "join-timeout: no Join in time");
  assert.notEqual(client.state, "closed");
  const joined = client.join("board", { room: "a" });
  await timers.pass(10);
  FakeSocket.last.open();
  FakeSocket.last.receive("Joined", SEAT);
  FakeSocket.last.receive("Delta", SNAPSHOT);
  await joined;
});

test("bytes of another realm are bytes", async () => {
  const { client } = connectFake();
  const joined = client.join("board", { room: "a" });
  FakeSocket.last.open();
  const bytes = encodeServer("Joined", SEAT);
  const foreign = runInNewContext(`Uint8Array.from(${JSON.stringify([...bytes])}).buffer`);
  FakeSocket.last.onmessage?.({ data: foreign } as never);
  FakeSocket.last.receive("Delta", SNAPSHOT);
  await joined;
});
