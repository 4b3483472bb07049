import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { DebugPanel } from "../src/debug/index.js";
import { History, Meter } from "../src/debug/rates.js";
import type { Client } from "../src/index.js";
import { openPage } from "./dom.js";

openPage();
const { debugPanel } = await import("../src/debug/panel.js");
const { describe } = await import("../src/debug/tree.js");

const newStats = () => ({
  bytesIn: 0,
  bytesOut: 0,
  messagesIn: 0,
  messagesOut: 0,
  connections: 1,
  resumed: 0,
  resyncs: 0,
});

/** As much of a client as the panel looks at. */
function fakeClient() {
  const players = new Map([[1, { x: 1.23456, name: "<b>Ann</b>" }]]);
  const fake = {
    state: "open",
    stats: newStats(),
    log: [] as string[],
    told: undefined as (() => void) | undefined,
    players,
    room: {
      type: "arena",
      name: "one",
      status: "joined",
      member: 3,
      entity: 4,
      tick: 99,
      loadLevel: 0,
      clock: { rttMs: 12.34, jitterMs: 1.5 },
      state: { players },
    },
    on: (_: string, handler: () => void) => {
      fake.told = handler;
      return () => {
        fake.told = undefined;
      };
    },
    drop: () => fake.log.push("drop"),
    reconnect: () => fake.log.push("reconnect"),
  };
  return { fake, client: fake as unknown as Client };
}

let panel: DebugPanel | undefined;
afterEach(() => panel?.close());

const inside = (selector: string) => panel!.element.shadowRoot!.querySelector(selector)!;
const text = () => inside("section").textContent!;

test("rates are what was counted over the time it took", () => {
  const meter = new Meter();
  assert.equal(meter.measure(1000, newStats()).kilobytesIn, 0);
  const stats = { ...newStats(), bytesIn: 4000, bytesOut: 1000, messagesIn: 40, messagesOut: 10 };
  assert.deepEqual(meter.measure(3000, stats), {
    kilobytesIn: 2,
    kilobytesOut: 0.5,
    messagesIn: 20,
    messagesOut: 5,
  });
  assert.equal(meter.measure(4000, stats).messagesIn, 0);
  stats.messagesIn += 3;
  assert.equal(meter.measure(5000, stats).messagesIn, 3, "the counters are read, not kept");
});

test("a history draws the newest at its right and forgets the oldest", () => {
  const history = new History(3);
  history.add(5);
  assert.equal(history.points(100, 20), "100.0,0.0");
  history.add(10);
  history.add(0);
  history.add(5);
  assert.equal(history.points(100, 20), "0.0,0.0 50.0,20.0 100.0,10.0");
});

test("the panel shows the client, its room and how a prediction fits", () => {
  const { fake, client } = fakeClient();
  const predictor = { drift: { status: "matched", mean: 0.01, peak: 0.2 } };
  panel = debugPanel(client, { predictor });
  for (const part of [
    "open",
    "arena one",
    "member 3, entity 4",
    "12.3, 1.5 ms",
    "matched, 0.010",
  ]) {
    assert.ok(text().includes(part), `${part} in ${text()}`);
  }
  fake.state = "waiting";
  fake.told?.();
  assert.equal(inside("[role=status]").textContent, "waiting");
});

test("the panel looks again by itself, and no longer when it is closed", async () => {
  const { fake, client } = fakeClient();
  panel = debugPanel(client);
  fake.room.tick = 100;
  await sleep(600);
  assert.match(text(), /tick100, load level 0/);
  const section = inside("section");
  panel.close();
  assert.equal(fake.told, undefined);
  assert.equal(document.querySelector("tickloom-debug"), null);
  fake.room.tick = 101;
  await sleep(600);
  assert.match(section.textContent!, /tick100/);
});

test("state is drawn only where it is open, as text, and not without end", () => {
  const { fake, client } = fakeClient();
  panel = debugPanel(client);
  const fold = inside("details") as HTMLDetailsElement;
  assert.equal(fold.querySelector("summary")!.textContent, "players 1");
  assert.equal(fold.querySelector("pre")!.textContent, "");
  fold.open = true;
  fake.told?.();
  assert.equal(fold.querySelector("pre")!.textContent, '1 {"x":1.235,"name":"<b>Ann</b>"}');
  assert.equal(fold.querySelector("b"), null);
  for (let entity = 2; entity <= 60; entity += 1) {
    fake.players.set(entity, { x: entity, name: "" });
  }
  fake.told?.();
  assert.equal(fold.querySelector("pre")!.textContent!.split("\n").length, 51);
  assert.match(fold.querySelector("pre")!.textContent!, /\nand 10 more$/);
});

test("every kind of value has a short text", () => {
  const rows: [unknown, string][] = [
    ["hello", '1 "hello"'],
    [new Uint8Array(3), '1 "3 bytes"'],
    [
      { gold: 9007199254740993n, at: { entity: 5 } },
      '1 {"gold":"9007199254740993n","at":{"entity":5}}',
    ],
    ["x".repeat(500), `1 "${"x".repeat(159)}...`],
    [undefined, "1 undefined"],
  ];
  for (const [value, expected] of rows) {
    assert.equal(describe(new Map([[1, value]])), expected);
  }
});

test("buttons and sliders do what they say and have names", () => {
  const { fake, client } = fakeClient();
  const network = { latencyMs: 20, jitterMs: 0, throughputBps: 0 };
  panel = debugPanel(client, { network: { network } });
  const root = panel.element.shadowRoot!;
  for (const button of root.querySelectorAll("button")) {
    button.click();
  }
  assert.deepEqual(fake.log, ["drop", "reconnect"]);
  assert.equal((inside("section > div") as HTMLElement).hidden, true, "it is folded");
  const [latency] = root.querySelectorAll("input");
  assert.equal(latency!.closest("label")!.firstChild!.textContent, "latency");
  assert.equal(latency!.value, "20");
  latency!.value = "150";
  latency!.dispatchEvent(new Event("input"));
  assert.equal(network.latencyMs, 150);
  assert.equal(latency!.closest("label")!.querySelector("output")!.textContent, "150 ms");
});

test("styles come from a sheet, which a Content-Security-Policy allows", () => {
  const { client } = fakeClient();
  panel = debugPanel(client, {
    network: { network: { latencyMs: 0, jitterMs: 0, throughputBps: 0 } },
  });
  const root = panel.element.shadowRoot!;
  assert.equal(root.adoptedStyleSheets.length, 1);
  assert.equal(root.querySelectorAll("style, [style]").length, 0);
});
