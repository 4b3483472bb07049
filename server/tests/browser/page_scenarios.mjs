// The pages that a server shows, as people use them: with a mouse and keys, two at a time.
import assert from "node:assert/strict";
import { bring } from "./bundle.mjs";

/** Somebody who opens a page and, unless it has no line yet, waits until it is connected. */
async function opened(visit, server, path, { wantsLine = true } = {}) {
  const visitor = await visit();
  await visitor.goto(`${server.http}/${path}`);
  if (wantsLine) {
    await visitor.until("a connection", () => document.documentElement.dataset.state === "open");
  }
  return visitor;
}

/** What the page says of itself, in its `data-` attributes. */
const dataset = () => ({ ...document.getElementById("main").dataset });

const membersAre = (count) => document.getElementById("main").dataset.members === String(count);

/** Draws a line on the board, as a hand does. */
async function draw({ page }, [fromX, fromY], [toX, toY]) {
  await page.mouse.move(fromX, fromY);
  await page.mouse.down();
  await page.mouse.move((fromX + toX) / 2, (fromY + toY) / 2, { steps: 4 });
  await page.mouse.move(toX, toY, { steps: 4 });
  await page.mouse.up();
}

async function say({ page }, field, text) {
  await page.click(`#${field}`);
  await page.keyboard.type(text);
  await page.keyboard.press("Enter");
}

const hears = (text) => document.getElementById("chat").textContent.includes(text);

export const pageScenarios = [
  {
    name: "the index counts its visitors",
    async run({ visit, server }) {
      const ann = await opened(visit, server, "");
      const bob = await opened(visit, server, "");
      await ann.until("both to be counted", membersAre, 2);
      await bob.until("both to be counted", membersAre, 2);
      await ann.until("the server's health", () =>
        document.getElementById("health").textContent.includes("ready"),
      );
    },
  },
  {
    name: "two players of an arena see each other move",
    async run({ visit, server }) {
      const ann = await opened(visit, server, "arena?name=Ann#duel");
      const bob = await opened(visit, server, "arena?name=Bob#duel");
      await ann.until("both to be there", membersAre, 2);
      await bob.until("both to be there", membersAre, 2);
      // What the pages draw cannot be asked of a canvas; somebody who watches is sent the same.
      const watcher = await visit();
      await bring(watcher, server);
      await watcher.evaluate(async (url) => {
        globalThis.room = await tickloom.connect(url).spectate("arena", { room: "duel" });
      }, server.socket);
      for (const [visitor, name, key] of [
        [ann, "Ann", "KeyD"],
        [bob, "Bob", "ArrowLeft"],
      ]) {
        const entity = await watcher.until(
          `${name} in the room`,
          (name) => [...room.state.profile].find(([, profile]) => profile.name === name)?.[0],
          name,
        );
        const place = (entity) => ({ ...room.state.body.get(entity) });
        const from = await watcher.evaluate(place, entity);
        const before = Number((await visitor.evaluate(dataset)).x);
        // A wall may be in the way, so up or down counts too.
        await visitor.page.keyboard.down(key);
        await visitor.page.keyboard.down("KeyS");
        await watcher.until(
          `${name} elsewhere`,
          (entity, from) => {
            const { x, y } = room.state.body.get(entity) ?? from;
            return Math.hypot(x - from.x, y - from.y) > 30;
          },
          entity,
          from,
        );
        await visitor.page.keyboard.up("KeyS");
        await visitor.page.keyboard.up(key);
        const { x, y } = await visitor.evaluate(dataset);
        assert.ok(Number.isFinite(before) && (x !== "0" || y !== "0"), "its own page shows where");
      }
    },
  },
  {
    name: "two at a board see each other's strokes, and undo takes them back",
    async run({ visit, server }) {
      const ann = await opened(visit, server, "board?name=Ann#sheet");
      const bob = await opened(visit, server, "board?name=Bob#sheet");
      await ann.until("both to be there", membersAre, 2);
      const strokes = (count) => document.getElementById("main").dataset.strokes === String(count);
      await draw(ann, [400, 300], [600, 420]);
      await bob.until("Ann's stroke", strokes, 1);
      await draw(bob, [620, 300], [500, 500]);
      await ann.until("Bob's stroke", strokes, 2);
      await bob.until("Ann's cursor", () => document.getElementById("cursors").children.length > 0);
      const late = await opened(visit, server, "board?name=Cid#sheet");
      await late.until("both strokes", strokes, 2);
      await ann.page.click("#undo");
      await bob.until("Ann's undoing", strokes, 1);
    },
  },
  {
    name: "two who watch live hear each other, and who comes late hears it too",
    async run({ visit, server }) {
      const ann = await opened(visit, server, "live?name=Ann#hall");
      const bob = await opened(visit, server, "live?name=Bob#hall");
      await ann.until("both to be there", membersAre, 2);
      await say(ann, "chat-text", "Hello, Bob");
      await bob.until("Ann's words", hears, "Hello, Bob");
      await say(bob, "danmaku-text", "Whoosh");
      await ann.until(
        "what flies by",
        () => document.getElementById("main").dataset.danmaku === "Whoosh",
      );
      await bob.until("quotes", () => Number(document.getElementById("main").dataset.quotes) > 3);
      const late = await opened(visit, server, "live?name=Cid#hall");
      await late.until("what was said before", hears, "Hello, Bob");
    },
  },
  {
    name: "the playground takes a seat, and keeps it when it is cut and loaded again",
    async run({ visit, server }) {
      const ann = await opened(visit, server, "playground", { wantsLine: false });
      await ann.until("room types", () => document.querySelector("#type [value=arena]"));
      await ann.page.select("#type", "arena");
      await ann.page.type("#room", "by hand");
      await ann.page.click("#join");
      const seat = () => {
        const text = document.getElementById("figure-seat").textContent;
        return text.startsWith("joined") && text;
      };
      const before = await ann.until("a seat", seat);
      await ann.until("state", () => document.querySelector("#tree summary, #tree details"));
      await ann.page.click("#drop");
      const isBack = () => document.getElementById("resumed").dataset.recovered === "true";
      await ann.until("the seat again", isBack);
      assert.equal(await ann.until("the seat", seat), before);
      await Promise.all([ann.page.waitForNavigation(), ann.page.click("#reload")]);
      assert.equal(await ann.until("the seat of the page before", seat), before);
    },
  },
  {
    name: "a page without a bundler imports the client from the server",
    async run({ visit, server }) {
      const ann = await opened(visit, server, "");
      const type = await ann.evaluate(async () => {
        const { connect } = await import("/sdk.js");
        const client = connect("/ws", { compileRows: false });
        const room = await client.join("arena", { room: "sdk" });
        client.close();
        return room.type;
      });
      assert.equal(type, "arena");
    },
  },
];
