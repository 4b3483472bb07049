// Plays in a room with the TypeScript client, and tells what it knows of it when it is asked.
//
//   node play.cjs ws://127.0.0.1:7420/ws '{"type": "arena", "room": "one", "play": "steer"}'
//
// Standard input has a word per line, standard output a line of JSON for each:
//
//   (start) -> {"member", "entity"}    it is in the room and plays
//   stop    -> {}                      it plays no longer, and all it asked for was answered
//   show    -> what it knows now
import { createInterface } from "node:readline";
import ws from "ws";
import { stateHash, verify } from "../../../protocol/ts/src/hash.ts";
import { connect, keyBetween } from "../../../protocol/ts/src/index.ts";
import { arena, relay, state, world } from "../../../protocol/ts/test/rooms.gen.ts";

/** The types that `tickloom codegen ts` wrote; rooms that are described elsewhere have none. */
const written = { arena, relay, state, world };

/** Ticks of which the hash is remembered. */
const HASHES_MAX = 100;

const [url, wish] = process.argv.slice(2);
const { type, room: name, play, compileRows } = JSON.parse(wish);

// The client warns when a room lacks what was written for it.
console.warn = (...words) => {
  throw new Error(words.join(" "));
};

const answer = (about) => console.log(JSON.stringify(about));
const heard = [];
const hashes = new Map();
/** Hashes of the server's that were compared, by stream. */
const checked = new Map();
/** What was asked of the server and is not answered yet. */
const asked = new Set();
let timer;

function every(ms, act) {
  let count = 0;
  timer = setInterval(() => act(count++), ms);
}

/** Waits for it before it stops. What fails ends the program. */
function ask(promise) {
  asked.add(promise);
  promise.then(
    () => asked.delete(promise),
    (error) => {
      throw error;
    },
  );
}

const plays = {
  /** Walks in circles and presses a button now and then. */
  steer(room) {
    every(30, (count) => {
      const angle = count / 10;
      const row = { move_x: Math.cos(angle), move_y: Math.sin(angle), aim: angle % 6, buttons: 0 };
      room.input.set({ ...row, buttons: count % 20 === 0 ? 1 : 0 });
    });
    // In a world the second button leads home, a second after the last leap.
    return async () => {
      const still = { move_x: 0, move_y: 0, aim: 0 };
      room.input.set({ ...still, buttons: 2 });
      await new Promise((resolve) => setTimeout(resolve, 1_300));
      room.input.set({ ...still, buttons: 0 });
    };
  },

  /** Does everything to shared state that a member may. */
  share(room) {
    const layers = [];
    let order;
    every(20, (count) => {
      room.presence.set({
        cursor: { x: count * 7, y: 65_535 - count },
        presence: { typing: count % 2 === 0, line: count },
      });
      if (count % 5 === 0) {
        order = keyBetween(order, undefined);
        const parent = layers.at(-1) ?? 0;
        const added = room.write((changes) => {
          const item = changes.add("room");
          changes.set("item", item, Uint8Array.from({ length: count }, (_, at) => at * 31));
          changes.set("layer", item, { order, parent: { entity: parent } });
        });
        // Some go again before anything hangs below them.
        const remove = ({ entities }) => room.write((changes) => changes.despawn(entities[0]));
        const keep = ({ entities }) => layers.push(entities[0]);
        ask(added.then(count % 15 === 10 ? remove : keep));
      }
      const title = `${"ä€🎈".repeat(count % 7)} ${count}`;
      const values = { title, half: count / 2, whole: count, odd: count % 2 === 1, [`k${count % 9}`]: count };
      ask(room.set("shared", 0, values));
      if (count === 3) {
        const bytes = Uint8Array.of(0, 1, 255);
        const more = { large: -(2n ** 62n), nothing: "", bytes, me: { entity: room.entity } };
        ask(room.set("shared", room.entity, more));
      }
      if (count % 9 === 8) {
        ask(room.set("shared", 0, { [`k${(count + 1) % 9}`]: null }));
      }
    });
  },

  /** Talks. */
  talk(room) {
    for (const topic of ["chat", "danmaku", "signal"]) {
      room.onEvent(topic, ({ from, text, isHistory }) => heard.push({ topic, from, text, isHistory }));
    }
    every(20, (count) => {
      room.send("chat", `chat ${count}`);
      ask(room.request("danmaku", `danmaku ${count} ${"é".repeat(count)}`));
    });
  },

  /** Hears what others say; its connection breaks twice meanwhile. */
  stumble(room, client) {
    room.onEvent("signal", ({ from, text }) => heard.push({ topic: "signal", from, text }));
    room.on("resumed", ({ recovered }) => answer({ recovered }));
    for (const ms of [1_000, 2_000]) {
      setTimeout(() => client.drop(), ms);
    }
  },

  /** Moves things about in a place that is too large to be sent whole. */
  scatter(room) {
    const things = [];
    every(20, (count) => {
      if (count % 10 === 0) {
        room.lookAt(100 * (count % 7) - 300, 100 * (count % 11) - 500);
      }
      const place = (index) => ({
        x: 900 * Math.sin(index * 2.4 + count / 40),
        y: 900 * Math.cos(index * 1.7 + count / 40),
      });
      ask(room.set("place", room.entity, place(0)));
      if (things.length < 30) {
        const added = room.write((changes) => {
          const thing = changes.add("room");
          changes.set("place", thing, place(things.length));
          changes.set("label", thing, { colour: `#${count}`, at: count });
        });
        ask(added.then(({ entities }) => things.push(entities[0])));
      }
      const moved = things[count % 30];
      if (moved) {
        ask(room.set("place", moved, place(count)));
      }
      if (moved && count % 13 === 0) {
        ask(room.set("label", moved, { at: count, colour: null }));
      }
    });
    // From where nothing of the middle is in view to the middle: as the other member does.
    return async () => {
      for (const place of [[1_000, 1_000], [0, 0]]) {
        room.lookAt(...place);
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
    };
  },
};

/** A value as the other side tells it, too. */
function plain(value) {
  if (typeof value === "bigint") {
    return { int: `${value}` };
  }
  // As a text, which is read to the last bit.
  if (typeof value === "number") {
    return { number: `${value}` };
  }
  if (value instanceof Uint8Array) {
    return { hex: Buffer.from(value).toString("hex") };
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
  }
  return value;
}

/** What everybody in view sees: owners and values by component and entity. */
function valuesOf(room) {
  const values = { entities: {} };
  for (const [entity, { owner }] of room.entities) {
    values.entities[entity] = owner;
  }
  for (const { name: component, scope } of room.schema.components) {
    if (scope === 0) {
      const table = [...room.state[component]];
      values[component] = Object.fromEntries(table.map(([entity, value]) => [entity, plain(value)]));
    }
  }
  return values;
}

function show(client, room) {
  const { resyncs, eventsLost, handlerErrors, resumed, recovered, snapshots } = client.stats;
  answer({
    tick: room.tick,
    hashes: Object.fromEntries(hashes),
    values: valuesOf(room),
    heard,
    checked: Object.fromEntries(checked),

    stats: { resyncs, eventsLost, handlerErrors, resumed, recovered, snapshots },
  });
}

async function main() {
  const client = connect(url, {
    WebSocket: globalThis.WebSocket ?? ws,
    compileRows,
    verify(replica, stream) {
      checked.set(stream, (checked.get(stream) ?? 0) + 1);
      return verify(replica, stream);
    },
  });
  client.on("closed", (error) => {
    throw error;
  });
  const room = await client.join(written[type] ?? type, { room: name, name: "node" });
  const remember = () => {
    hashes.set(room.tick, stateHash(room._replica));
    if (hashes.size > HASHES_MAX) {
      hashes.delete(hashes.keys().next().value);
    }
  };
  remember();
  room.on("tick", remember);
  room.on("left", (why) => {
    throw new Error(`it left: ${JSON.stringify(why)}`);
  });
  const rest = plays[play](room, client);
  answer({ member: room.member, entity: room.entity });
  for await (const word of createInterface({ input: process.stdin })) {
    if (word === "stop") {
      clearInterval(timer);
      await rest?.();
      while (asked.size > 0) {
        await Promise.all(asked);
      }
      answer({});
    } else {
      show(client, room);
    }
  }
  process.exit(0);
}

main();
