import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client, JoinOptions, Room, RoomEvent, Table } from "../src/index.js";
import { openPage } from "./dom.js";

openPage();

const { act, createElement, StrictMode, useState } = await import("react");
const { createRoot } = await import("react-dom/client");
const { renderToString } = await import("react-dom/server");
const hooks = await import("../src/react.js");
(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

type Handler = (...args: never[]) => void;

/** Handlers by name, as clients, rooms and tables have them. */
class Emitter {
  readonly handlers = new Map<string, Set<Handler>>();

  on = (event: string, handler: Handler) => {
    const handlers = this.handlers.get(event) ?? new Set();
    this.handlers.set(event, handlers.add(handler));
    return () => handlers.delete(handler) as unknown as undefined;
  };

  emit(event: string, ...args: unknown[]): void {
    for (const handler of this.handlers.get(event) ?? []) {
      handler(...(args as never[]));
    }
  }

  get count(): number {
    return [...this.handlers.values()].reduce((sum, { size }) => sum + size, 0);
  }
}

class FakeTable<V extends object | string> extends Emitter {
  version = 0;
  readonly rows = new Map<number, V>();
  onAdd = (handler: (value: V, entity: number) => void) => {
    for (const [entity, value] of this.rows) {
      handler(value, entity);
    }
    return this.on("add", handler as Handler);
  };
  onChange = (handler: Handler) => this.on("change", handler);
  onRemove = (handler: Handler) => this.on("remove", handler);
  get = (entity: number) => this.rows.get(entity);
  [Symbol.iterator] = () => this.rows[Symbol.iterator]();

  /** As the real one: objects are changed in place. */
  set(entity: number, value: V): void {
    const row = this.rows.get(entity);
    if (typeof row === "object") {
      Object.assign(row, value);
    } else {
      this.rows.set(entity, value);
    }
    this.emit(row ? "change" : "add", this.rows.get(entity), entity);
  }

  remove(entity: number): void {
    const row = this.rows.get(entity);
    this.rows.delete(entity);
    this.emit("remove", row, entity);
  }

  get table(): Table<V> {
    return this as unknown as Table<V>;
  }
}

/** Counts what happens to seats, and refuses a second one as a server does. */
class FakeClient extends Emitter {
  state = "open";
  seats = 0;
  readonly log: string[] = [];
  readonly rooms: (Emitter & { status: string; name: string })[] = [];

  join = async (type: string, options: JoinOptions = {}) => {
    this.log.push(`join ${type} ${options.room}`);
    await sleep(1);
    if (options.room === "full") {
      throw new Error("RoomFull");
    }
    assert.equal(this.seats, 0, "a client has one seat");
    this.seats += 1;
    const leave = async () => {
      this.log.push(`leave ${type} ${options.room}`);
      await sleep(1);
      this.seats -= 1;
    };
    const room = Object.assign(new Emitter(), { status: "joined", name: options.room!, leave });
    this.rooms.push(room);
    return room;
  };

  get client(): Client {
    return this as unknown as Client;
  }
}

const roots: ReturnType<typeof createRoot>[] = [];

/** A component that only uses a hook, and tells what it returned and how to be rendered again. */
function Probe<T>({ hook, tell }: { hook: (given: number) => T; tell: Tell<T> }) {
  const [given, setGiven] = useState(0);
  tell(hook(given), setGiven);
  return null;
}

type Tell<T> = (returned: T, give: (given: number) => void) => void;

/** Renders a hook, and keeps what it returned at each rendering. */
async function use<T>(hook: (given: number) => T, { isStrict = false } = {}) {
  const seen: T[] = [];
  let giveIt = (_: number) => {};
  const tell: Tell<T> = (returned, give) => {
    seen.push(returned);
    giveIt = give;
  };
  const root = createRoot(document.createElement("div"));
  roots.push(root);
  const probe = createElement(Probe<T>, { hook, tell });
  await act(async () => root.render(isStrict ? createElement(StrictMode, null, probe) : probe));
  return {
    seen,
    last: () => seen.at(-1)!,
    give: (given: number) => act(async () => giveIt(given)),
    unmount: () => act(async () => root.unmount()),
  };
}

const wait = (ms: number) => act(async () => sleep(ms));

afterEach(() =>
  act(async () => {
    for (const root of roots.splice(0)) {
      root.unmount();
    }
  }),
);

test("a connection shows its state and takes its handler back", async () => {
  const client = new FakeClient();
  const { last, unmount } = await use(() => hooks.useConnection(client.client));
  assert.equal(last(), "open");
  client.state = "waiting";
  await act(async () => client.emit("state"));
  assert.equal(last(), "waiting");
  await unmount();
  assert.equal(client.count, 0);
});

test("a connection is told to be lost until it is restored", async () => {
  const client = new FakeClient();
  const { last, unmount } = await use(() => hooks.useLostConnection(client.client));
  assert.equal(last(), false);
  await act(async () => client.emit("lost"));
  assert.equal(last(), true);
  await act(async () => client.emit("restored"));
  assert.equal(last(), false);
  await unmount();
  assert.equal(client.count, 0);
});

test("a room is joined once in StrictMode and left when the component goes", async () => {
  const client = new FakeClient();
  const { seen, last, unmount } = await use(
    () => hooks.useRoom(client.client, "arena", { room: "one" }),
    { isStrict: true },
  );
  assert.equal(seen[0]!.status, "joining");
  await wait(5);
  assert.equal(last().status, "joined");
  assert.equal(last().room?.name, "one");
  assert.deepEqual(client.log, ["join arena one"]);
  await unmount();
  await wait(5);
  assert.deepEqual(client.log, ["join arena one", "leave arena one"]);
});

test("another room is joined after the one before was left", async () => {
  const client = new FakeClient();
  const { last, give } = await use((given) =>
    hooks.useRoom(client.client, "arena", { room: `room ${given}` }),
  );
  await give(1);
  await give(2);
  await wait(20);
  assert.equal(last().room?.name, "room 2");
  assert.equal(client.seats, 1);
  assert.equal(client.log.at(-1), "join arena room 2");
});

test("a room that is refused says why, and the next one is tried", async () => {
  const client = new FakeClient();
  const { last, give } = await use((given) =>
    hooks.useRoom(client.client, "arena", { room: given ? "free" : "full" }),
  );
  await wait(5);
  assert.equal(last().status, "failed");
  assert.equal((last().error as Error).message, "RoomFull");
  await give(1);
  await wait(5);
  assert.equal(last().status, "joined");
});

test("a room shows when its connection breaks and when its seat is gone", async () => {
  const client = new FakeClient();
  const { last } = await use(() => hooks.useRoom(client.client, "arena", { room: "one" }));
  await wait(5);
  for (const [event, status] of [
    ["dropped", "away"],
    ["resumed", "joined"],
    ["left", "left"],
  ] as const) {
    client.rooms[0]!.status = status;
    await act(async () => client.rooms[0]!.emit(event));
    assert.equal(last().status, status);
  }
});

test("a table is rendered as often as it is asked for and no more", async () => {
  const players = new FakeTable<{ x: number }>();
  players.set(1, { x: 0 });
  const { seen, last } = await use(() => hooks.useTable(players.table, { fps: 20 }));
  assert.deepEqual(
    last(),
    [[1, { x: 0 }]].map(([entity, row]) => [entity, bare(row)]),
  );
  // The first rendering may be followed by one because of what the subscription was told.
  await wait(60);
  const before = seen.length;
  const startMs = Date.now();
  for (let x = 1; x <= 100; x += 1) {
    players.set(1, { x });
    await wait(2);
  }
  await wait(60);
  const seconds = (Date.now() - startMs) / 1000;
  assert.equal(last()[0]![1].x, 100);
  const renderings = seen.length - before;
  assert.ok(renderings > 2 && renderings <= seconds * 20 + 2, `${renderings} in ${seconds} s`);
});

test("what did not change in a table is the same object as before", async () => {
  const players = new FakeTable<{ x: number }>();
  players.set(1, { x: 1 });
  players.set(2, { x: 2 });
  const { last, seen, give } = await use(() => hooks.useTable(players.table, { fps: 1000 }));
  const [one, two] = last();
  players.set(2, { x: 3 });
  await wait(10);
  assert.equal(last()[0], one);
  assert.notEqual(last()[1], two);
  assert.deepEqual(last()[1]![1].x, 3);
  assert.equal(two![1].x, 2, "what a component has seen does not change");
  const rows = last();
  await give(1);
  assert.equal(last(), rows, "rendering for another reason is no change");
  players.remove(1);
  await wait(10);
  assert.deepEqual(
    last().map(([entity]) => entity),
    [2],
  );
  assert.ok(seen.length < 12);
});

test("keys that other members wrote cannot harm", async () => {
  const profiles = new FakeTable<object>();
  const row = JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}');
  profiles.rows.set(1, row);
  const { last, seen } = await use(() => hooks.useTable(profiles.table));
  await wait(10);
  assert.deepEqual(Object.keys(last()[0]![1]), ["__proto__", "constructor"]);
  assert.equal(seen.length, 1);
});

test("an entity is rendered only when what was selected changes", async () => {
  const players = new FakeTable<{ x: number; hp: number }>();
  players.set(7, { x: 0, hp: 9 });
  const { seen, last, unmount } = await use(() =>
    hooks.useEntity(players.table, 7, (player) => ({ isHurt: (player?.hp ?? 0) < 5 }), {
      fps: 1000,
    }),
  );
  for (let x = 1; x < 5; x += 1) {
    players.set(7, { x, hp: 9 });
    players.set(8, { x, hp: 0 });
    await wait(5);
  }
  assert.equal(seen.length, 1);
  players.set(7, { x: 9, hp: 1 });
  await wait(5);
  assert.equal(last().isHurt, true);
  players.remove(7);
  await wait(5);
  assert.equal(seen.length, 2, "no value is hurt as well");
  await unmount();
  assert.equal(players.count, 0);
});

test("tables and entities may be asked for before there is a room", async () => {
  const { last } = await use(() => [
    hooks.useTable(undefined),
    hooks.useEntity(undefined, 1),
    hooks.usePresence(undefined),
  ]);
  assert.deepEqual(last(), [[], undefined, []]);
});

test("presence shows the others as they were when it was rendered", async () => {
  const cursor = { x: 1 };
  const room = Object.assign(new Emitter(), {
    presence: { others: [{ entity: 2, name: "Ann", values: { cursor } }] },
  });
  const { last, seen } = await use(() => hooks.usePresence(room as unknown as Room, { fps: 1000 }));
  const [ann] = last();
  assert.equal(ann?.name, "Ann");
  cursor.x = 2;
  await act(async () => room.emit("tick"));
  await wait(10);
  assert.equal((last()[0]!.values as { cursor: { x: number } }).cursor.x, 2);
  assert.equal((ann!.values as { cursor: { x: number } }).cursor.x, 1);
  const renderings = seen.length;
  await act(async () => room.emit("tick"));
  await wait(10);
  assert.equal(seen.length, renderings, "a tick without a change is no rendering");
});

test("an event reaches the newest handler through one subscription", async () => {
  const emitter = new Emitter();
  let subscriptions = 0;
  const room = {
    onEvent: (topic: string, handler: Handler) => {
      subscriptions += 1;
      return emitter.on(topic, handler);
    },
  };
  const heard: string[] = [];
  const { give, unmount } = await use((given) =>
    hooks.useEvent(room as unknown as Room, "chat", (event: RoomEvent) =>
      heard.push(`${given} ${event.text}`),
    ),
  );
  emitter.emit("chat", { text: "hello" });
  await give(5);
  emitter.emit("chat", { text: "again" });
  assert.deepEqual(heard, ["0 hello", "5 again"]);
  assert.equal(subscriptions, 1);
  await unmount();
  assert.equal(emitter.count, 0);
});

test("a server renders what there is and joins nothing", () => {
  const client = new FakeClient();
  const players = new FakeTable<{ x: number }>();
  players.set(3, { x: 4 });
  const text = () => {
    const state = hooks.useConnection(client.client);
    const { status } = hooks.useRoom(client.client, "arena");
    const rows = hooks.useTable(players.table);
    return `${state} ${status} ${rows.map(([entity, { x }]) => `${entity}:${x}`)}`;
  };
  let said = "";
  const tell = (returned: string) => {
    said = returned;
  };
  renderToString(createElement(Probe<string>, { hook: text, tell }));
  assert.equal(said, "open joining 3:4");
  assert.deepEqual(client.log, []);
});

/** The same fields on an object without a prototype. */
function bare(fields: unknown): unknown {
  return typeof fields === "object" ? Object.assign(Object.create(null), fields) : fields;
}
