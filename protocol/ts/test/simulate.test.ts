import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { WebSocketLike } from "../src/connection.js";
import { simulate } from "../src/debug/simulate.js";

/** Timers that only run when they are told to. */
class FakeTimers {
  us = 0;
  readonly #timers: { atUs: number; act: () => void }[] = [];

  nowUs = () => this.us;
  set = (act: () => void, ms: number) => this.#timers.push({ atUs: this.us + ms * 1000, act });
  clear = () => assert.fail("the simulator takes no timer back");

  runTo(ms: number): void {
    for (;;) {
      this.#timers.sort((one, other) => one.atUs - other.atUs);
      const first = this.#timers[0];
      if (!first || first.atUs > ms * 1000) {
        break;
      }
      this.#timers.shift();
      this.us = Math.max(this.us, first.atUs);
      first.act();
    }
    this.us = ms * 1000;
  }
}

class FakeSocket implements WebSocketLike {
  static newest: FakeSocket;
  binaryType = "";
  bufferedAmount = 0;
  onopen: WebSocketLike["onopen"] = null;
  onmessage: WebSocketLike["onmessage"] = null;
  onclose: WebSocketLike["onclose"] = null;
  onerror: WebSocketLike["onerror"] = null;
  readonly sent: (number | undefined)[] = [];

  constructor(
    readonly url: string,
    readonly protocols: string,
  ) {
    FakeSocket.newest = this;
  }

  send(bytes: Uint8Array): void {
    this.sent.push(bytes[0]);
  }

  close(code?: number): void {
    this.sent.push(code);
  }

  hear(first: number, length = 1): void {
    const data = new Uint8Array(length);
    data[0] = first;
    this.onmessage?.({ data: data.buffer } as never);
  }
}

function connected(network: Parameters<typeof simulate>[1], random = () => 0) {
  const timers = new FakeTimers();
  const Simulated = simulate(FakeSocket, network, { timers, random });
  const socket = new Simulated("ws://here", "tickloom.v1");
  const heard: { byte: number | string; atMs: number }[] = [];
  socket.onopen = () => heard.push({ byte: "open", atMs: timers.us / 1000 });
  socket.onmessage = (event: { data: ArrayBuffer }) =>
    heard.push({ byte: new Uint8Array(event.data)[0]!, atMs: timers.us / 1000 });
  socket.onclose = () => heard.push({ byte: "close", atMs: timers.us / 1000 });
  return { timers, socket, heard, inner: FakeSocket.newest, network: Simulated.network };
}

test("everything takes its latency each way, the opening and the end included", () => {
  const { timers, socket, heard, inner } = connected({ latencyMs: 50 });
  inner.onopen?.({} as never);
  inner.hear(7);
  inner.onclose?.({ code: 1006 } as never);
  timers.runTo(49);
  assert.deepEqual(heard, []);
  timers.runTo(50);
  assert.deepEqual(heard, [
    { byte: "open", atMs: 50 },
    { byte: 7, atMs: 50 },
    { byte: "close", atMs: 50 },
  ]);
  socket.send(new Uint8Array([1]));
  socket.close(3000);
  timers.runTo(99);
  assert.deepEqual(inner.sent, []);
  timers.runTo(100);
  assert.deepEqual(inner.sent, [1, 3000]);
});

test("jitter delays but never changes the order", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({ gapMs: fc.nat(20), random: fc.double({ min: 0, max: 0.999, noNaN: true }) }),
        {
          minLength: 1,
          maxLength: 50,
        },
      ),
      (messages) => {
        let index = 0;
        const line = connected({ latencyMs: 30, jitterMs: 40 }, () => messages[index]!.random);
        const sentMs: number[] = [];
        let nowMs = 0;
        for (; index < messages.length; index += 1) {
          nowMs += messages[index]!.gapMs;
          line.timers.runTo(nowMs);
          sentMs.push(nowMs);
          line.inner.hear(index);
        }
        line.timers.runTo(nowMs + 100);
        assert.deepEqual(
          line.heard.map(({ byte }) => byte),
          messages.map((_, at) => at),
        );
        for (const [at, { atMs }] of line.heard.entries()) {
          const delayMs = atMs - sentMs[at]!;
          // A message waits for its own jitter or for that of one before it; timers round by 1 ms.
          assert.ok(delayMs >= 29 && delayMs <= 71, `message ${at} took ${delayMs} ms`);
        }
      },
    ),
  );
});

test("a thin line takes its time for every byte", () => {
  const { timers, socket, inner, network } = connected({ throughputBps: 1000 });
  socket.send(new Uint8Array(500).fill(1));
  socket.send(new Uint8Array(500).fill(2));
  assert.equal(socket.bufferedAmount, 1000);
  timers.runTo(498);
  assert.deepEqual(inner.sent, []);
  timers.runTo(500);
  assert.deepEqual(inner.sent, [1]);
  assert.equal(socket.bufferedAmount, 500);
  timers.runTo(1000);
  assert.deepEqual(inner.sent, [1, 2]);
  network.throughputBps = 0;
  socket.send(new Uint8Array([3]));
  timers.runTo(1001);
  assert.deepEqual(inner.sent, [1, 2, 3]);
});

test("what is changed later holds for messages from then on", () => {
  const { timers, heard, inner, network } = connected({ latencyMs: 100 });
  inner.hear(1);
  network.latencyMs = 0;
  inner.hear(2);
  timers.runTo(99);
  assert.deepEqual(
    heard.map(({ byte }) => byte),
    [],
  );
  timers.runTo(101);
  assert.deepEqual(
    heard.map(({ byte }) => byte),
    [1, 2],
  );
  inner.hear(3);
  timers.runTo(102);
  assert.deepEqual(
    heard.map(({ byte }) => byte),
    [1, 2, 3],
  );
});

test("the bytes of a message are those it was sent with", () => {
  const { timers, socket, inner } = connected({ latencyMs: 10 });
  const bytes = new Uint8Array([1]);
  socket.send(bytes);
  bytes[0] = 2;
  timers.runTo(10);
  assert.deepEqual(inner.sent, [1]);
});
