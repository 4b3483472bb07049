import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { PropValue } from "../src/bytes.js";
import { verify } from "../src/hash.js";
import { Replica } from "../src/replica.js";
import { body, chunk, component, DELTA, field, SNAPSHOT, schema, type Values } from "./chunks.js";
import { delta } from "./vectors.js";

const HP = 0;
const NOTE = 1;
const PROPS = 2;

const room = () => {
  const replica = new Replica(
    schema([
      component("hp", { fields: [field("n", 2)] }),
      component("note", { kind: 1, contentType: "text/plain" }),
      component("props", { kind: 2 }),
    ]),
    3,
    verify,
  );
  const sections: [number, number, Values][] = [
    [HP, 0, new Map([[1, row(10)]])],
    [NOTE, 1, new Map([[1, text("base")]])],
    [PROPS, 2, new Map([[1, new Map<string, PropValue>([["k", 1]])]])],
  ];
  replica.apply(
    delta(
      0,
      1,
      chunk(
        0,
        SNAPSHOT,
        body(
          [],
          [
            [0, 0],
            [1, 3],
          ],
          sections,
        ),
      ),
    ),
  );
  replica.notify();
  return replica;
};

const row = (n: number): Uint8Array => new Uint8Array([n & 255, n >> 8]);
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** A delta that says these values of entity 1. */
function say(
  replica: Replica,
  values: [component: number, value: Uint8Array | Map<string, PropValue | undefined> | undefined][],
  ackOp = 0,
): void {
  const sections = values.map(([id, value]): [number, number, Values] => [
    id,
    id,
    new Map([[1, value]]),
  ]);
  const { tick } = replica;
  const chunks = chunk(0, DELTA, body([], [], sections));
  assert.equal(replica.apply(delta(tick, tick + 1, chunks, ackOp)), "applied");
  replica.notify();
}

const shown = (replica: Replica) => {
  const [hp, note, props] = replica.tables.map((table) => table.get(1));
  return [(hp as { n: number } | undefined)?.n, note, props && { ...props }];
};

test("own writes are shown until a delta shows them, and the base is kept for the hash", () => {
  const replica = room();
  const base = verify(replica, 0);
  const changes: string[] = [];
  for (const table of replica.tables) {
    table.onChange((_, id) => changes.push(`${table.component!.name} ${id}`));
  }
  const objects = replica.tables.map((table) => table.get(1));
  replica.pending.write(1, HP, 1, undefined, row(20));
  replica.pending.write(1, NOTE, 1, undefined, text("own"));
  replica.pending.write(2, PROPS, 1, "k", 2);
  replica.pending.write(3, PROPS, 1, "l", "new");
  replica.notify();
  assert.deepEqual(shown(replica), [20, "own", { k: 2, l: "new" }]);
  assert.deepEqual(changes.splice(0), ["hp 1", "note 1", "props 1"]);
  assert.equal(verify(replica, 0), base);
  // What the server says meanwhile is not shown, and not forgotten.
  say(replica, [
    [HP, row(11)],
    [NOTE, text("theirs")],
    [
      PROPS,
      new Map([
        ["k", 5],
        ["m", 6],
      ]),
    ],
  ]);
  assert.deepEqual(shown(replica), [20, "own", { k: 2, l: "new", m: 6 }]);
  assert.deepEqual(changes.splice(0), ["props 1"]);
  say(replica, [], 1);
  assert.deepEqual(shown(replica), [11, "theirs", { k: 2, l: "new", m: 6 }]);
  replica.pending.refused(3);
  assert.deepEqual(shown(replica)[2], { k: 2, m: 6 });
  say(replica, [[PROPS, new Map([["k", 2]])]], 3);
  assert.deepEqual(
    [shown(replica)[2], replica.tables.every(({ _writes }) => !_writes.size)],
    [{ k: 2, m: 6 }, true],
  );
  assert.deepEqual(
    [replica.tables[HP]!.get(1), replica.tables[PROPS]!.get(1)],
    [objects[HP], objects[PROPS]],
  );
  assert.equal(replica.tables[PROPS]!.get(1), objects[PROPS], "it is the same object");
});

test("a value may come and go before the server says so", () => {
  const replica = room();
  const heard: string[] = [];
  for (const table of replica.tables) {
    table.onAdd((_, id) => heard.push(`+${table.component!.name} ${id}`));
    table.onRemove((_, id) => heard.push(`-${table.component!.name} ${id}`));
  }
  heard.length = 0;
  replica.pending.write(1, HP, 1, undefined, undefined);
  replica.pending.write(1, HP, 0, undefined, row(5));
  replica.pending.write(1, PROPS, 1, "k", undefined);
  replica.pending.write(1, PROPS, 0, "x", 1);
  replica.notify();
  assert.deepEqual(heard.splice(0), ["-hp 1", "-props 1", "+hp 0", "+props 0"]);
  assert.deepEqual([replica.tables[HP]!.size, replica.tables[PROPS]!.size], [1, 1]);
  replica.pending.clear();
  replica.notify();
  assert.deepEqual(heard.splice(0), ["-hp 0", "-props 0", "+hp 1", "+props 1"]);
  assert.deepEqual(shown(replica), [10, "base", { k: 1 }]);
});

test("what a handler writes is told in a later task", async () => {
  const replica = room();
  const heard: number[] = [];
  replica.tables[HP]!.onChange((value) => {
    const { n } = value as { n: number };
    heard.push(n);
    if (n < 13) replica.pending.write(n, HP, 1, undefined, row(n + 1));
    replica.notify();
  });
  say(replica, [[HP, row(11)]]);
  assert.deepEqual([heard, shown(replica)[0]], [[11], 12]);
  while (heard.length < 3) await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(heard, [11, 12, 13]);
});

test("nothing is shown of an entity that is gone, and everything of one that came back", () => {
  const replica = room();
  replica.pending.write(1, PROPS, 1, "k", 2);
  const { tick } = replica;
  replica.apply(delta(tick, tick + 1, chunk(0, DELTA, body([1], []))));
  assert.deepEqual(shown(replica), [undefined, undefined, undefined]);
  replica.apply(delta(tick + 1, tick + 2, chunk(0, DELTA, body([], [[1, 3]]))));
  assert.deepEqual(shown(replica)[2], { k: 2 });
  replica.pending.refused(1);
  assert.deepEqual([shown(replica)[2], replica.tables[PROPS]!.size], [undefined, 0]);
});

test("what was sent over the connection before is shown until the next delta", () => {
  const replica = room();
  replica.pending.write(7, HP, 1, undefined, row(20));
  replica.pending.write(9, HP, 1, undefined, row(21));
  replica.continueWith(9);
  say(replica, []);
  assert.deepEqual(
    [shown(replica)[0], replica.tables.every(({ _writes }) => !_writes.size)],
    [21, false],
  );
  replica.continueWith();
  say(replica, []);
  assert.deepEqual(
    [shown(replica)[0], replica.tables.every(({ _writes }) => !_writes.size)],
    [10, true],
  );
});

test("a snapshot keeps what is written over it, and its objects", () => {
  const replica = room();
  replica.pending.write(1, PROPS, 1, "k", 2);
  replica.pending.write(1, HP, 1, undefined, row(20));
  replica.notify();
  const before = replica.tables.map((table) => table.get(1));
  const sections: [number, number, Values][] = [
    [HP, 0, new Map([[1, row(12)]])],
    [
      PROPS,
      2,
      new Map([
        [
          1,
          new Map<string, PropValue>([
            ["k", 7],
            ["z", 8],
          ]),
        ],
      ]),
    ],
  ];
  replica.apply(
    delta(
      0,
      9,
      chunk(
        0,
        SNAPSHOT,
        body(
          [],
          [
            [0, 0],
            [1, 3],
          ],
          sections,
        ),
      ),
    ),
  );
  assert.deepEqual(shown(replica), [20, undefined, { k: 2, z: 8 }]);
  assert.equal(replica.tables[PROPS]!.get(1), before[PROPS]);
  assert.equal(replica.tables[HP]!.get(1), before[HP]);
  say(replica, [], 1);
  assert.deepEqual(shown(replica), [12, undefined, { k: 7, z: 8 }]);
  assert.equal(replica.tables[PROPS]!.get(1), before[PROPS]);
});

/** A server and one member of it. Values are numbered as they are written, so each is another one. */
type Step = "write" | "take" | "refuse" | "other" | "tick" | "receive";
const steps = fc.array(
  fc.constantFrom<Step>(
    "write",
    "write",
    "take",
    "take",
    "take",
    "refuse",
    "other",
    "tick",
    "receive",
    "receive",
  ),
  { maxLength: 120 },
);

for (const kind of [HP, PROPS]) {
  test(`what is shown never goes back and ends where the server is, ${kind === HP ? "rows" : "properties"}`, () => {
    fc.assert(
      fc.property(steps, (list) => {
        const replica = room();
        const order = new Map<number, number>([[kind === HP ? 10 : 1, 0]]);
        let value = kind === HP ? 10 : 1;
        let [lastValue, lastOp, answered, hasNews] = [100, 0, 0, false];
        const up: { op: number; value: number }[] = [];
        const down: ({ refused: number } | { value: number; ackOp: number })[] = [];
        const take = (next: number) => {
          value = next;
          order.set(next, order.size);
        };
        const now = () =>
          (kind === HP ? shown(replica)[0] : (shown(replica)[2] as { k: number }).k) as number;
        let before = now();
        const ending = list.flatMap((): Step[] => ["take"]);
        const drain = list.flatMap((): Step[] => ["receive", "receive"]);
        for (const step of [...list, ...ending, "tick", ...drain, "receive"] as Step[]) {
          const isRefusal = step === "receive" && !!down[0] && "refused" in down[0];
          if (step === "write") {
            lastOp += 1;
            lastValue += 1;
            up.push({ op: lastOp, value: lastValue });
            if (kind === HP) replica.pending.write(lastOp, HP, 1, undefined, row(lastValue));
            else replica.pending.write(lastOp, PROPS, 1, "k", lastValue);
          } else if (step === "take" || step === "refuse") {
            const write = up.shift();
            if (!write) continue;
            [answered, hasNews] = [write.op, true];
            if (step === "take") take(write.value);
            else down.push({ refused: write.op });
          } else if (step === "other") {
            lastValue += 1;
            take(lastValue);
          } else if (step === "tick") {
            down.push({ value, ackOp: hasNews ? answered : 0 });
            hasNews = false;
          } else {
            const message = down.shift();
            if (!message) continue;
            if ("refused" in message) replica.pending.refused(message.refused);
            else
              say(
                replica,
                [[kind, kind === HP ? row(message.value) : new Map([["k", message.value]])]],
                message.ackOp,
              );
          }
          // A value that the server has not taken is newer than all it has.
          const age = (of: number) => order.get(of) ?? Infinity;
          assert(isRefusal || age(now()) >= age(before), `${before} to ${now()} at ${step}`);
          before = now();
        }
        assert(
          replica.tables.every(({ _writes }) => !_writes.size),
          "everything was answered",
        );
        assert.equal(before, value);
      }),
    );
  });
}
