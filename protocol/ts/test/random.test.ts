import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { PropValue } from "../src/bytes.js";
import { crc32, verify } from "../src/hash.js";
import { Replica } from "../src/replica.js";
import {
  body,
  chunk,
  component,
  DELTA,
  field,
  HASH,
  join,
  SNAPSHOT,
  schema,
  type Values,
} from "./chunks.js";
import { delta, deltaOf, schemaOf } from "./vectors.js";

// What a room holds, in the plainest way, and what a listener believes who only hears handlers.

type Value = Uint8Array | Map<string, PropValue>;
type State = { owners: Map<number, number>; values: Map<number, Value>[] };
const KINDS = [0, 1, 2, 0];
const PRIVATE = 3;
const MEMBER = 3;

const made = (compile: boolean) =>
  schema(
    [
      component("at", { fields: [field("x", 9, { max: 10 }), field("on", 7)] }),
      component("note", { kind: 1, contentType: "application/json" }),
      component("props", { kind: 2 }),
      component("hand", { fields: [field("card", 0)], scope: 1 }),
    ],
    {},
    compile,
  );

const propValue = fc.oneof(
  fc.boolean(),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc
    .bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    .filter((big) => !Number.isSafeInteger(Number(big))),
  fc.string({ unit: "grapheme", maxLength: 5 }),
  fc.uint8Array({ maxLength: 4 }),
  fc.nat(65_535).map((entity) => ({ entity })),
);
const entity = fc.nat(6);
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ enter: entity, owner: fc.integer({ min: 2, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ leave: entity }) },
  { weight: 3, arbitrary: fc.record({ row: entity, x: fc.nat(65_535), on: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ note: entity, json: fc.json({ maxDepth: 1 }) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      prop: entity,
      key: fc.constantFrom("a", "é", "__proto__"),
      value: fc.option(propValue),
    }),
  },
  { weight: 1, arbitrary: fc.record({ card: entity, n: fc.nat(255) }) },
  { weight: 1, arbitrary: fc.record({ remove: entity, of: fc.nat(3) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
const ticks = fc.array(
  fc.record({
    steps: fc.array(step, { maxLength: 12 }),
    how: fc.constantFrom("delta", "delta", "delta", "snapshot", "broken"),
  }),
  { maxLength: 12 },
);

/** What one tick's steps make of a state, and who left on the way. */
function advance(before: State, steps: readonly Step[]): { after: State; left: Set<number> } {
  const owners = new Map(before.owners);
  const values = before.values.map(
    (column) =>
      new Map(
        [...column].map(([id, value]) => [id, value instanceof Map ? new Map(value) : value]),
      ),
  );
  const left = new Set<number>();
  for (const one of steps) {
    if ("enter" in one && one.enter) owners.set(one.enter, one.owner);
    if ("leave" in one && one.leave && owners.delete(one.leave)) {
      if (before.owners.has(one.leave)) left.add(one.leave);
      for (const column of values) column.delete(one.leave);
    }
    const set = (component: number, id: number, value: Value) => {
      if (owners.has(id)) values[component]!.set(id, value);
    };
    if ("row" in one) set(0, one.row, new Uint8Array([one.x & 255, one.x >> 8, one.on]));
    if ("note" in one) set(1, one.note, new TextEncoder().encode(one.json));
    if ("card" in one && owners.get(one.card) === MEMBER)
      set(PRIVATE, one.card, new Uint8Array([one.n]));
    if ("remove" in one) values[one.of]!.delete(one.remove);
    if ("prop" in one && owners.has(one.prop)) {
      const props = (values[2]!.get(one.prop) as Map<string, PropValue>) ?? new Map();
      if (one.value === null) props.delete(one.key);
      else props.set(one.key, one.value === 0 ? 0 : one.value);
      if (props.size) values[2]!.set(one.prop, props);
      else values[2]!.delete(one.prop);
    }
  }
  // Private values end with the ownership.
  for (const id of values[PRIVATE]!.keys())
    if (owners.get(id) !== MEMBER) values[PRIVATE]!.delete(id);
  return { after: { owners, values }, left };
}

const equal = (one: Value | undefined, other: Value | undefined): boolean => {
  try {
    assert.deepEqual(one, other);
    return typeof one === typeof other;
  } catch {
    return false;
  }
};

/** The chunks of a delta between two states, as a server would write them. */
function difference(before: State, after: State, left: Set<number>): Uint8Array {
  const enters = [...after.owners].filter(
    ([id, owner]) => left.has(id) || before.owners.get(id) !== owner,
  );
  const leaves = [...before.owners.keys()].filter((id) => left.has(id) || !after.owners.has(id));
  const sections = KINDS.map((kind, index): [number, number, Values] => {
    const values: Values = new Map();
    for (const id of after.owners.keys()) {
      const had = left.has(id) ? undefined : before.values[index]!.get(id);
      const has = after.values[index]!.get(id);
      if (equal(had, has)) continue;
      if (kind === 2 && has) {
        const changed = new Map<string, PropValue | undefined>();
        for (const [key, value] of has as Map<string, PropValue>) {
          const old = (had as Map<string, PropValue> | undefined)?.get(key);
          if (!equal(new Map([["", old!]]), new Map([["", value]]))) changed.set(key, value);
        }
        for (const key of (had as Map<string, PropValue> | undefined)?.keys() ?? []) {
          if (!(has as Map<string, PropValue>).has(key)) changed.set(key, undefined);
        }
        values.set(id, changed);
      } else values.set(id, has);
    }
    return [index, kind, values];
  });
  return join(
    chunk(0, DELTA, body(leaves, enters, sections.slice(0, PRIVATE))),
    chunk(1, DELTA, body([], [], sections.slice(PRIVATE))),
  );
}

const utf8 = (text: string) => Buffer.from(text);
/** Both streams of a state, in canonical form. */
function canonical({ owners, values }: State): [Uint8Array, Uint8Array] {
  const sections = KINDS.map((kind, index): [number, number, Values] => {
    const sorted = [...values[index]!].map(([id, value]): [number, Value] => [
      id,
      value instanceof Map
        ? new Map([...value].sort(([one], [other]) => Buffer.compare(utf8(one), utf8(other))))
        : value,
    ]);
    return [index, kind, new Map(sorted)];
  });
  return [body([], owners, sections.slice(0, PRIVATE)), body([], [], sections.slice(PRIVATE))];
}

function shownOf(component: number, value: Value): unknown {
  if (value instanceof Map)
    return Object.fromEntries([...value].map(([key, prop]) => [`.${key}`, prop]));
  if (component === 1) return JSON.parse(new TextDecoder().decode(value));
  if (component === PRIVATE) return { card: value[0] };
  return { x: ((value[0]! + value[1]! * 256) / 65_535) * 10, on: value[2] === 1 };
}

/** Keys are marked so that `__proto__` is one of them. */
const plain = (component: number, value: unknown): unknown =>
  component === 2
    ? Object.fromEntries(Object.entries(value as object).map(([key, prop]) => [`.${key}`, prop]))
    : value;

for (const compile of [true, false]) {
  test(`a replica and its listeners follow any room, ${compile ? "compiled" : "interpreted"}`, () => {
    fc.assert(
      fc.property(ticks, (list) => {
        const replica = new Replica(made(compile), MEMBER, verify);
        const believed = replica.tables.map((table) => {
          const told = new Map<number, { value: unknown; copy: unknown }>();
          const { id } = table.component!;
          const note = (value: unknown, entity: number) =>
            told.set(entity, { value, copy: structuredClone(plain(id, value)) });
          table.onAdd((value, entity) => {
            assert(!told.has(entity), "added once");
            note(value, entity);
          });
          table.onChange((value, entity) => {
            if (KINDS[id] !== 1) assert.equal(told.get(entity)?.value, value, "the same object");
            note(value, entity);
          });
          table.onRemove((value, entity) => {
            assert.equal(told.get(entity)?.value, value, "what was told before");
            told.delete(entity);
          });
          return told;
        });
        let state: State = { owners: new Map([[0, 0]]), values: KINDS.map(() => new Map()) };
        const whole = () => {
          const [room, own] = canonical(state);
          return join(chunk(0, SNAPSHOT, room), chunk(1, SNAPSHOT, own));
        };
        const hashes = () =>
          canonical(state).map((bytes, stream) => {
            const crc = new Uint8Array(4);
            new DataView(crc.buffer).setUint32(0, crc32(bytes), true);
            return chunk(stream, HASH, crc);
          });
        replica.apply(delta(0, 1, whole()));
        list.forEach(({ steps, how }, index) => {
          const tick = index + 2;
          const { after, left } = advance(state, steps);
          const chunks = difference(state, after, left);
          state = after;
          if (how === "broken") {
            const result = replica.apply(
              delta(tick - 1, tick, chunks.subarray(0, chunks.length - 1)),
            );
            assert(typeof result === "object" && result.resync === 1);
          }
          const isDelta = how === "delta";
          const news = join(isDelta ? chunks : whole(), ...hashes());
          assert.equal(replica.apply(delta(isDelta ? tick - 1 : 0, tick, news)), "applied");
          replica.notify();
          replica.tables.forEach((table, component) => {
            const expected = [...state.values[component]!].sort(([one], [other]) => one - other);
            const shown = [...table].map(([id, value]) => [id, plain(component, value)]);
            const wanted = expected.map(([id, value]) => [id, shownOf(component, value)]);
            assert.deepEqual(shown, wanted);
            assert.equal(table.size, wanted.length);
            const told = [...believed[component]!].sort(([one], [other]) => one - other);
            assert.deepEqual(
              told.map(([id, { copy }]) => [id, copy]),
              wanted,
            );
          });
          const owners = [...replica.entities].map(([id, { owner }]) => [id, owner]);
          assert.deepEqual(
            owners,
            [...state.owners].sort(([one], [other]) => one - other),
          );
        });
      }),
      { numRuns: 300 },
    );
  });
}

test("chunks with changed bytes are malformed or another delta, and the next snapshot repairs", () => {
  const golden = ["conversation-10.bin", "conversation-11.bin"].map(deltaOf);
  const described = [schemaOf("server-joined.bin"), schemaOf("server-joined.bin", false)];
  const edits = fc.array(
    fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 128, 255))),
    {
      minLength: 1,
      maxLength: 3,
    },
  );
  fc.assert(
    fc.property(edits, fc.nat(1), fc.nat(1), (list, which, how) => {
      const replica = new Replica(described[how]!, 7);
      const told = new Map<object, Set<number>>();
      for (const table of [replica.entities, ...replica.tables]) {
        const known = new Set<number>();
        told.set(table, known);
        table.onAdd((_, entity) => assert(known.size < known.add(entity).size, "added once"));
        table.onRemove((_, entity) => assert(known.delete(entity), "removed once"));
      }
      replica.apply(golden[0]!);
      replica.notify();
      const chunks = golden[which]!.chunks.slice();
      for (const [at, byte] of list) chunks[at % chunks.length] = byte;
      const result = replica.apply({ ...golden[which]!, tick: 12, chunks });
      assert(result === "applied" || (typeof result === "object" && result.resync === 1));
      replica.notify();
      assert.equal(replica.apply({ ...golden[0]!, tick: 13 }), "applied");
      replica.notify();
      assert.equal(verify(replica, 0), 0xeb868f6b);
      assert.equal(verify(replica, 1), 0x3cbedfc8);
      for (const table of [replica.entities, ...replica.tables]) {
        assert.deepEqual(
          [...told.get(table)!].sort((one, other) => one - other),
          [...table.keys()],
        );
        assert.equal(table.size, told.get(table)!.size);
      }
    }),
    { numRuns: 2_000 },
  );
});
