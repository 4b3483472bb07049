// What only a real browser has: its WebSocket, its timers, pages that are hidden, kept and shown
// again. The pages of the server are played in `page_scenarios.mjs`.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { bring, slipIn } from "./bundle.mjs";

/** A visitor whose page has a seat: `client` and `room` are globals of the page. */
async function seated(visit, server, type, options) {
  const visitor = await visit();
  await bring(visitor, server);
  await visitor.evaluate(
    async (url, type, options) => {
      globalThis.client = tickloom.connect(url, { verify: tickloom.verify });
      globalThis.room = await client.join(type, options);
      globalThis.ticks = [];
      room.on("tick", ({ tick, base }) => ticks.push({ tick, base }));
    },
    server.socket,
    type,
    options,
  );
  await visitor.until("the first state", () => room.tick > 0);
  return visitor;
}

/** What tells one seat from another, and how it was come by. */
const seat = () => ({
  member: room.member,
  entity: room.entity,
  status: room.status,
  resumed: client.stats.resumed,
  connections: client.stats.connections,
});

/** Makes a page look hidden, or seen again, as a change of tabs does. */
const look = (isHidden) => {
  const state = isHidden ? "hidden" : "visible";
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
};

export const clientScenarios = [
  {
    name: "a connection that is cut comes back to its seat",
    async run({ visit, server }) {
      const visitor = await seated(visit, server, "arena", { room: "cut" });
      const before = await visitor.evaluate(seat);
      const how = await visitor.evaluate(
        () =>
          new Promise((resolve) => {
            room.on("resumed", resolve);
            client.drop();
          }),
      );
      const after = await visitor.evaluate(seat);
      assert.deepEqual(how, { isSame: true, recovered: true });
      assert.deepEqual(after, { ...before, resumed: 1, connections: 2 });
      const tick = await visitor.evaluate(() => room.tick);
      await visitor.until("state after it", (tick) => room.tick > tick + 5, tick);
      const stats = await visitor.evaluate(() => ({ ...client.stats }));
      assert.equal(stats.snapshots, 1, "it got what it missed and nothing more");
      assert.equal(stats.resyncs, 0);
    },
  },
  {
    name: "a server that is killed is survived, on a new seat",
    async run({ visit, server }) {
      const visitor = await seated(visit, server, "arena", { room: "killed" });
      visitor.mayMissTheServer();
      await visitor.evaluate(() => {
        globalThis.how = undefined;
        room.on("resumed", (given) => {
          globalThis.how = given;
        });
      });
      await server.kill();
      await visitor.until("the client to notice", () => room.status === "away");
      await server.start();
      const startMs = performance.now();
      const how = await visitor.until("a new seat", () => globalThis.how);
      const ms = Math.round(performance.now() - startMs);
      assert.deepEqual(how, { isSame: false, recovered: false });
      await visitor.until("state of the new room", () => room.tick > 0 && client.state === "open");
      const after = await visitor.evaluate(() => ({
        resumed: client.stats.resumed,
        entities: room.entities.has(room.entity),
        own: room.state.body.has(room.entity),
      }));
      assert.deepEqual(after, { resumed: 0, entities: true, own: true });
      return `back ${ms} ms after the start`;
    },
  },
  {
    name: "a hidden page gets nothing, and then all of it in one message",
    async run({ visit, server }) {
      // Bots play in an arena, so every tick has something to say.
      const visitor = await seated(visit, server, "arena", { room: "hidden" });
      await visitor.evaluate(look, true);
      const told = () => visitor.evaluate(() => ({ ...client.stats, tick: room.tick }));
      // What was under way still comes.
      let before = await told();
      for (let again = 0, last = -1; again < 20 && before.deltas !== last; again++) {
        last = before.deltas;
        await sleep(300);
        before = await told();
      }
      await sleep(1500);
      const hidden = await told();
      assert.equal(hidden.deltas, before.deltas, "no state comes while nobody looks");
      await visitor.evaluate(() => ticks.splice(0));
      await visitor.evaluate(look, false);
      await visitor.until("the stream again", () => ticks.length >= 3);
      const [first, second] = await visitor.evaluate(() => ticks);
      assert.equal(first.base, hidden.tick, "the first delta goes on from what the page had");
      assert.ok(first.tick - first.base >= 25, `it spans ${first.tick - first.base} ticks`);
      assert.equal(second.base, first.tick);
      assert.ok(second.tick - second.base <= 3, "and then all is as before");
      const after = await visitor.evaluate(() => ({ ...client.stats }));
      assert.equal(after.snapshots, hidden.snapshots);
      return `${first.tick - first.base} ticks in one`;
    },
  },
  {
    name: "a page that the browser kept has its seat again",
    async run({ visit, server }) {
      const visitor = await seated(visit, server, "arena", { room: "kept" });
      const before = await visitor.evaluate(seat);
      const show = (type) => dispatchEvent(new PageTransitionEvent(type, { persisted: true }));
      await visitor.evaluate(show, "pagehide");
      await visitor.until("the client to wait", () => client.state === "waiting");
      await sleep(700);
      assert.equal(await visitor.evaluate(() => client.state), "waiting");
      await visitor.evaluate(show, "pageshow");
      await visitor.until("the seat", () => room.status === "joined" && client.state === "open");
      const after = await visitor.evaluate(seat);
      assert.deepEqual(after, { ...before, resumed: 1, connections: 2 });
    },
  },
  {
    name: "a bad line delays and loses nothing",
    async run({ visit, server }) {
      const visitor = await visit();
      await bring(visitor, server);
      const { rttMs, resyncs } = await visitor.evaluate(async (url) => {
        const WebSocket = tickloom.simulate(globalThis.WebSocket, { latencyMs: 60, jitterMs: 40 });
        const client = tickloom.connect(url, { WebSocket, verify: tickloom.verify });
        const room = await client.join("arena", { room: "bad line" });
        await new Promise((resolve) => room.on("tick", ({ tick }) => tick > 40 && resolve()));
        const { rttMs } = room.clock;
        const { resyncs } = client.stats;
        client.close();
        return { rttMs, resyncs };
      }, server.socket);
      assert.ok(rttMs >= 119 && rttMs < 320, `the line took ${rttMs} ms there and back`);
      assert.equal(resyncs, 0);
      return `${Math.round(rttMs)} ms there and back`;
    },
  },
  {
    name: "the debug panel shows a room under the policy of the pages",
    async run({ visit, server }) {
      const visitor = await visit();
      await slipIn(visitor, server);
      const shown = await visitor.evaluate(async (url) => {
        const line = tickloom.simulate(WebSocket, { latencyMs: 20 });
        const client = tickloom.connect(url, { WebSocket: line, compileRows: false });
        const panel = tickloom.debugPanel(client, { network: line });
        await client.join("arena", { room: "panel" });
        const root = panel.element.shadowRoot;
        const wait = () => new Promise((resolve) => setTimeout(resolve, 600));
        // It looks at the room twice a second.
        await wait();
        root.querySelector("details").open = true;
        await wait();
        const shown = {
          position: getComputedStyle(panel.element).position,
          border: getComputedStyle(root.querySelector("section")).borderTopWidth,
          text: root.querySelector("section").textContent,
          state: root.querySelector("pre").textContent,
          sliders: root.querySelectorAll("input[type=range]").length,
        };
        client.close();
        return shown;
      }, server.socket);
      assert.equal(shown.position, "fixed");
      assert.equal(shown.border, "1px");
      assert.equal(shown.sliders, 3);
      assert.match(shown.text, /openfold.*arena panel.*joined, member/);
      assert.match(shown.state, /^\d+ \{"x":/);
    },
  },
];
