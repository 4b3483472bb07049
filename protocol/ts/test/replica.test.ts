import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32, snapshotOf, stateHash, verify } from "../src/hash.js";
import { Replica } from "../src/replica.js";
import { chunk, component, DELTA, EVENTS, field, HASH, join, SNAPSHOT, schema } from "./chunks.js";
import { delta, deltaOf, hex, schemaOf, unhex, vector } from "./vectors.js";

const hp = { fields: [field("hp", 0)] };
const small = () =>
  schema([component("body", hp), component("secret", { ...hp, scope: 1 })], {
    topics: [{ name: "chat", publish: 2, history: false }],
  });
const replica = () => new Replica(small(), 3, verify);

/** A room with entities 0 and 5, the second with 9 hit points. */
const SNAP = chunk(0, SNAPSHOT, "00 01 00 05 03 00 01 00 06 09 00");
const EMPTY = chunk(0, DELTA, "00 00");

const hpOf = (of: Replica, entity: number): unknown =>
  (of.tables[0]!.get(entity) as { hp: number } | undefined)?.hp;

/** Everything that a replica's handlers hear, in order. */
function listen(to: Replica): string[] {
  const heard: string[] = [];
  const tables = [to.entities, ...to.tables];
  for (const table of tables) {
    const name = table.component?.name ?? "entity";
    table.onAdd((value, id) => heard.push(`+${name} ${id} ${JSON.stringify(value)}`));
    table.onChange((value, id) => heard.push(`~${name} ${id} ${JSON.stringify(value)}`));
    table.onRemove((value, id) => heard.push(`-${name} ${id} ${JSON.stringify(value)}`));
  }
  return heard;
}

const take = (heard: string[]): string[] => heard.splice(0);

test("a snapshot replaces and a delta applies", () => {
  const room = replica();
  assert.equal(room.apply(delta(0, 4, SNAP)), "applied");
  assert.equal(hpOf(room, 5), 9);
  assert.deepEqual(room.entities.get(5), { id: 5, owner: 3 });
  const next = chunk(0, DELTA, "00 08 00 00 01 00 06 08 02 01 00");
  assert.equal(room.apply(delta(4, 5, next)), "applied");
  assert.deepEqual(
    [...room.tables[0]!].map(([id]) => [id, hpOf(room, id)]),
    [
      [5, 8],
      [7, 1],
    ],
  );
  assert.equal(room.apply(delta(0, 9, SNAP)), "applied");
  assert.equal(room.entities.has(7), false, "a snapshot leaves nothing behind");
  assert.deepEqual([...room.entities.keys()], [0, 5]);
});

test("a gap waits for a snapshot and a duplicate does nothing", () => {
  const room = replica();
  assert.equal(room.apply(delta(3, 4, EMPTY)), "ignored");
  assert.equal(room.apply(delta(0, 4, SNAP)), "applied");
  assert.equal(room.apply(delta(3, 4, EMPTY)), "ignored");
  assert.equal(room.tick, 4);
  assert.deepEqual(room.apply(delta(6, 7, EMPTY)), { resync: 0, haveTick: 4 });
  assert.equal(room.apply(delta(4, 8, EMPTY)), "ignored", "one resync is enough");
  assert.equal(room.apply(delta(7, 8, EMPTY)), "ignored");
  assert.equal(room.apply(delta(0, 9, SNAP)), "applied");
});

test("the two checks of the conversation that need no file", () => {
  const room = new Replica(schemaOf("server-joined.bin"), 7, verify);
  room.apply(deltaOf("conversation-10.bin"));
  assert.deepEqual(room.apply(deltaOf("conversation-12.bin")), { resync: 0, haveTick: 10 });
  assert.equal(room.apply(deltaOf("conversation-11.bin")), "ignored");
  room.apply(deltaOf("conversation-10.bin"));
  room.apply(deltaOf("conversation-11.bin"));
  assert.equal(room.apply(deltaOf("conversation-11.bin")), "ignored");
  assert.equal(room.tick, 11);
});

test("chunks that do not fit the room are malformed, and the next snapshot repairs", () => {
  const rows: [string, Uint8Array][] = [
    ["row for a stranger", chunk(0, DELTA, "00 00 01 00 08 01 00")],
    ["leave of a stranger", chunk(0, DELTA, "08 00 00")],
    ["leave of the room", chunk(0, DELTA, "01 00 00")],
    ["leave in a snapshot", chunk(0, SNAPSHOT, "06 00 00")],
    ["enter on the member stream", chunk(1, DELTA, "00 08 00 00")],
    ["a private component in public", chunk(0, DELTA, "00 00 01 01 06 01 00")],
    ["component 2", chunk(0, DELTA, "00 00 01 02 06 01 00")],
    ["props of a packed component", chunk(0, DELTA, "00 00 04 00 00")],
    ["section 9", chunk(0, DELTA, "00 00 09 00")],
    ["stream 3", chunk(3, DELTA, "00 00")],
    ["a cell", chunk(16, DELTA, "00 00")],
    ["motion on the room stream", chunk(0, 5, "")],
    ["gone on the room stream", chunk(0, 6, "")],
    ["events on the team stream", chunk(2, EVENTS, "01 00")],
    ["chunk kind 9", unhex("00 09 00")],
    ["chunk kind 0", unhex("00 00 00")],
    ["cut row", chunk(0, DELTA, "00 00 01 00 06")],
    ["no end of list", chunk(0, DELTA, "00 00 01 00 06 01")],
    ["an owner of 17 bits", chunk(0, DELTA, "00 08 80 80 04 00")],
    ["an entity of 17 bits", chunk(0, DELTA, "00 81 80 04 00 00")],
    ["a chunk that is too long", unhex("00 02 7f 00 00")],
    ["a varint of 33 bits", unhex("ff ff ff ff 1f 02 00")],
    ["an endless varint", unhex("80 80 80 80 80 80 80 80 80 80 80 00")],
    ["a topic that is not there", chunk(0, EVENTS, "01 02 00 00 00")],
    ["event 0", chunk(0, EVENTS, "00 00")],
    ["bytes behind events", chunk(0, EVENTS, "01 00 00")],
    ["three bytes of a hash", chunk(0, HASH, "01 01 01")],
    ["five bytes of a hash", chunk(0, HASH, "01 01 01 01 01")],
  ];
  for (const [name, chunks] of rows) {
    const room = replica();
    room.apply(delta(0, 4, SNAP));
    const result = room.apply(delta(4, 5, chunks));
    assert(typeof result === "object", `${name} was ${result}`);
    assert.deepEqual([result.resync, result.haveTick], [1, 4], name);
    assert.equal(room.tick, 0, name);
    assert.equal(room.apply(delta(5, 6, EMPTY)), "ignored", `${name}: one resync`);
    assert.equal(room.apply(delta(0, 7, SNAP)), "applied", name);
    assert.deepEqual([hpOf(room, 5), [...room.entities.keys()]], [9, [0, 5]], name);
  }
});

test("a longer number than needed is read", () => {
  const room = replica();
  room.apply(delta(0, 4, SNAP));
  // Stream 0 in two bytes, and a gap of 6 in three.
  const result = room.apply(delta(4, 5, unhex("80 00 02 09 00 00 01 00 86 80 00 08 00")));
  assert.deepEqual([result, hpOf(room, 5)], ["applied", 8]);
});

test("a hash that differs asks for a resync, and one that fits ends its stream", () => {
  const room = replica();
  room.apply(delta(0, 4, SNAP));
  const hashOf = (stream: number) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, verify(room, stream), true);
    return chunk(stream, HASH, bytes);
  };
  const [own, member, nothing] = [hashOf(0), hashOf(1), chunk(1, DELTA, "00 00")];
  const rows: [string, Uint8Array, number | undefined][] = [
    ["one each", join(own, nothing, member), undefined],
    ["in the other order", join(member, EMPTY, own), undefined],
    ["two of them", join(own, own), 1],
    ["a delta behind", join(own, EMPTY), 1],
    ["another hash", chunk(0, HASH, "01 02 03 04"), 2],
  ];
  for (const [name, chunks, resync] of rows) {
    room.apply(delta(0, 4, SNAP));
    const result = room.apply(delta(4, 5, chunks));
    assert.equal(typeof result === "object" ? result.resync : undefined, resync, name);
  }
  const blind = new Replica(small(), 3);
  blind.apply(delta(0, 4, SNAP));
  assert.equal(blind.apply(delta(4, 5, chunk(0, HASH, "01 02 03 04"))), "applied");
});

test("a delta from zero leaves nothing of what was there before", () => {
  for (const chunks of [new Uint8Array(), EMPTY, chunk(1, SNAPSHOT, "00 00")]) {
    const room = replica();
    room.apply(delta(0, 4, SNAP));
    assert.equal(room.apply(delta(0, 5, chunks)), "applied");
    assert.deepEqual([...room.entities], [[0, { id: 0, owner: 0 }]]);
    assert.equal(room.tables[0]!.size, 0);
  }
});

test("an empty room and an empty member stream have the hashes of the specification", () => {
  const room = replica();
  room.apply(delta(0, 1, chunk(0, SNAPSHOT, "00 01 00 00")));
  assert.equal(hex(snapshotOf(room, 0)), "00010000");
  assert.deepEqual([stateHash(room), verify(room, 1)], [0x2086b52b, 0x41d912ff]);
  assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
});

test("the golden chunks bring state A, state B, and back into canonical form", () => {
  const room = new Replica(schemaOf("server-joined.bin"), 7, verify);
  const [first, own] = [vector("chunks-snapshot.bin"), vector("chunks-member-snapshot.bin")];
  assert.equal(room.apply(delta(0, 10, join(first, own))), "applied");
  assert.equal(hex(chunk(0, SNAPSHOT, snapshotOf(room, 0))), hex(first));
  assert.equal(hex(chunk(1, SNAPSHOT, snapshotOf(room, 1))), hex(own));
  const value = (name: string, id: number) => room.tables[room.schema.component(name)!.id]!.get(id);
  assert.deepEqual(value("map", 0), { w: 8 });
  assert.deepEqual(value("body", 1), { x: 0, y: 512, yaw: 0, hp: 100 });
  assert.deepEqual(value("secret", 1), new Uint8Array([1, 2, 3]));
  assert.deepEqual(
    { ...(value("profile", 1) as object) },
    {
      no: false,
      yes: true,
      zero: 0,
      least: -(2n ** 63n),
      most: 2n ** 63n - 1n,
      half: -0.5,
      name: "né",
      raw: new Uint8Array([0, 255]),
      friend: { entity: 300 },
    },
  );
  const every = value("every", 2) as Record<string, number | boolean>;
  assert.deepEqual(
    Object.entries(every).slice(0, 8),
    Object.entries({
      u8: 255,
      i8: -128,
      u16: 65535,
      i16: -32768,
      u32: 4294967295,
      i32: -2147483648,
      f32: -0.5,
      bool: true,
    }),
  );
  const near = { quant8: 0.5, quant16: -0.25, quant24: 1234.5, quant32: 1, entity_ref: 300 };
  for (const [name, expected] of Object.entries(near)) {
    assert(Math.abs((every[name] as number) - expected) < 0.002, `${name} is ${every[name]}`);
  }
  const changes = [
    vector("chunks-delta.bin"),
    vector("chunks-hash.bin"),
    vector("chunks-member-delta.bin"),
    vector("chunks-member-hash.bin"),
  ];
  assert.equal(room.apply(delta(10, 11, join(...changes))), "applied");
  assert.deepEqual([...room.entities.keys()], [0, 1, 2, 5, 301]);
  assert.equal(value("map", 301), "", "JSON that is none is text");
  assert.equal((value("profile", 1) as Record<string, unknown>).zero, -1);
  assert.equal(value("every", 2), undefined);
});

test("the worked example of a delta applies", () => {
  const room = new Replica(schemaOf("server-joined.bin"), 7);
  const every = `01 01 02${"00".repeat(34)}`;
  const tag = "04 03 02 03 746167 02 00 00";
  room.apply(delta(0, 1, chunk(0, SNAPSHOT, `00 01 00 01 07 03 00 00 ${every} ${tag}`)));
  assert.equal(room.apply(delta(1, 2, vector("chunks-worked-example.bin"))), "applied");
  const [body, every2, map, profile] = room.tables;
  assert.deepEqual(
    [...room.entities].map(([id, { owner }]) => [id, owner]),
    [
      [0, 0],
      [1, 7],
      [5, 3],
    ],
  );
  assert.deepEqual(body!.get(1), { x: 0, y: 512, yaw: Math.PI, hp: 100 });
  assert.deepEqual(body!.get(5), { x: -512, y: 0, yaw: 0, hp: 255 });
  assert.deepEqual([every2!.size, map!.get(0)], [0, {}]);
  assert.deepEqual({ ...(profile!.get(1) as object) }, { gold: 300 });
});

test("golden events are heard with what they say", () => {
  const room = new Replica(schemaOf("server-joined-board.bin"), 7);
  const chunks = join(vector("chunks-events.bin"), vector("chunks-member-events.bin"));
  assert.equal(room.apply(delta(0, 1, chunks)), "applied");
  assert.deepEqual(
    room.heard.events.map(({ topic, from, bytes, seq, isPrivate }) => [
      topic,
      from,
      hex(bytes),
      seq,
      isPrivate,
    ]),
    [
      ["chat", 9, "6869", 0x123456789, false],
      ["log", 300, "00ff", 0x12345678a, false],
      ["news", 0, "", 1, true],
    ],
  );
  assert.equal(room.heard.events[0]!.text, "hi");
  assert.throws(() => room.heard.events[0]!.json, SyntaxError);
});

test("what was said before a member came is history, and is not lost", () => {
  const room = replica();
  const said = (first: string, text: string) =>
    chunk(0, EVENTS, `${first} 01 09 01 ${hex(new TextEncoder().encode(text))} 00`);
  room.apply(delta(0, 4, join(SNAP, said("05", "a"), said("09", "b"), said("0c", "c"))));
  const texts = () => room.heard.events.map(({ text, isHistory }) => [text, isHistory]);
  assert.deepEqual(
    [texts(), room.heard.lostCount],
    [
      [
        ["a", true],
        ["b", true],
        ["c", false],
      ],
      0,
    ],
  );
  room.apply(delta(4, 5, said("0f", "d")));
  assert.deepEqual([texts(), room.heard.lostCount], [[["d", false]], 2]);
  room.apply(delta(4, 5, said("10", "e")));
  assert.deepEqual(room.heard.events, [], "a duplicate says nothing");
});

test("events of a delta that breaks are heard from the next", () => {
  const room = replica();
  room.apply(delta(0, 4, SNAP));
  const events = chunk(0, EVENTS, "05 01 03 01 61 00");
  room.apply(delta(4, 5, join(events, chunk(0, HASH, "00 00 00 00"))));
  assert.equal(room.heard.events.length, 0);
  room.apply(delta(0, 6, join(SNAP, events)));
  assert.deepEqual(
    [room.heard.events.map((event) => event.text), room.heard.lostCount],
    [["a"], 0],
  );
});

test("chunks that are cut anywhere are malformed or another delta, and nothing crashes", () => {
  for (const file of ["chunks-snapshot.bin", "chunks-delta.bin", "chunks-worked-example.bin"]) {
    const whole = join(vector(file), vector("chunks-member-snapshot.bin"));
    for (let length = 0; length <= whole.length; length++) {
      const room = new Replica(schemaOf("server-joined.bin"), 7, verify);
      room.apply(deltaOf("conversation-10.bin"));
      const base = file.includes("snapshot") ? 0 : 10;
      const result = room.apply(delta(base, 11, whole.subarray(0, length)));
      assert(
        result === "applied" || (typeof result === "object" && result.resync === 1),
        `${length}`,
      );
      room.notify();
      const golden = { ...deltaOf("conversation-10.bin"), tick: 12 };
      assert.equal(room.apply(golden), "applied", `${file} cut at ${length}`);
      room.notify();
    }
  }
});

test("handlers hear removes, adds and changes after all of a delta", () => {
  const room = replica();
  const heard = listen(room);
  room.apply(delta(0, 4, SNAP));
  assert.deepEqual(take(heard), [], "nothing before everything was applied");
  room.notify();
  assert.deepEqual(take(heard), [
    '+entity 0 {"id":0,"owner":0}',
    '+entity 5 {"id":5,"owner":3}',
    '+body 5 {"hp":9}',
  ]);
  // 5 has other hit points, 7 comes, then 5 goes and 9 comes.
  room.apply(delta(4, 5, chunk(0, DELTA, "00 08 00 00 01 00 06 08 02 01 00")));
  room.notify();
  assert.deepEqual([...room.changed], [7, 5]);
  assert.deepEqual(take(heard), [
    '+entity 7 {"id":7,"owner":0}',
    '+body 7 {"hp":1}',
    '~body 5 {"hp":8}',
  ]);
  room.apply(delta(5, 6, chunk(0, DELTA, "06 00 0a 01 00 01 00 0a 04 00")));
  room.notify();
  assert.deepEqual(take(heard), [
    '-entity 5 {"id":5,"owner":3}',
    '-body 5 {"hp":8}',
    '+entity 9 {"id":9,"owner":1}',
    '+body 9 {"hp":4}',
  ]);
  const { version } = room.tables[0]!;
  room.apply(delta(6, 7, EMPTY));
  room.notify();
  assert.deepEqual([take(heard), room.tables[0]!.version, [...room.changed]], [[], version, []]);
});

test("who leaves and comes within one delta is another one", () => {
  const room = replica();
  room.apply(delta(0, 4, SNAP));
  room.notify();
  const before = room.tables[0]!.get(5);
  const heard = listen(room);
  take(heard);
  room.apply(delta(4, 5, chunk(0, DELTA, "06 00 06 03 00 01 00 06 09 00")));
  room.notify();
  assert.notEqual(room.tables[0]!.get(5), before);
  assert.deepEqual(take(heard), [
    '-entity 5 {"id":5,"owner":3}',
    '-body 5 {"hp":9}',
    '+entity 5 {"id":5,"owner":3}',
    '+body 5 {"hp":9}',
  ]);
});

test("a later snapshot is compared: what stays keeps its object", () => {
  const room = replica();
  room.apply(delta(0, 4, join(SNAP, chunk(1, SNAPSHOT, "00 00 01 01 06 07 00"))));
  room.notify();
  const [body, entity] = [room.tables[0]!.get(5), room.entities.get(5)];
  const heard = listen(room);
  take(heard);
  room.apply(delta(0, 9, join(SNAP, chunk(1, SNAPSHOT, "00 00 01 01 06 07 00"))));
  room.notify();
  assert.deepEqual(take(heard), []);
  // Other hit points, another owner, no secret, and somebody new.
  room.apply(delta(0, 12, chunk(0, SNAPSHOT, "00 01 00 05 04 01 00 00 01 00 06 08 01 02 00")));
  room.notify();
  assert.equal(room.tables[0]!.get(5), body);
  assert.equal(room.entities.get(5), entity);
  assert.deepEqual(take(heard), [
    '-secret 5 {"hp":7}',
    '+entity 6 {"id":6,"owner":0}',
    '+body 6 {"hp":2}',
    '~entity 5 {"id":5,"owner":4}',
    '~body 5 {"hp":8}',
  ]);
});

test("what a broken delta changed is told with the snapshot that repairs it", () => {
  // The story: a delta sets hit points to 8 and then breaks, and the snapshot says 8 as well.
  const room = replica();
  room.apply(delta(0, 4, SNAP));
  room.notify();
  const heard = listen(room);
  take(heard);
  room.apply(delta(4, 5, chunk(0, DELTA, "00 00 01 00 06 08 00 09")));
  room.apply(delta(0, 6, chunk(0, SNAPSHOT, "00 01 00 05 03 00 01 00 06 08 00")));
  room.notify();
  assert.deepEqual(take(heard), ['~body 5 {"hp":8}']);
});

test("handlers that come late, go early, throw or write do not stop others", () => {
  const errors: unknown[] = [];
  const room = new Replica(small(), 3, undefined, (error) => errors.push(error));
  const body = room.tables[0]!;
  const heard: string[] = [];
  body.onAdd(() => {
    throw new Error("mine");
  });
  const off = body.onAdd((_, id) => {
    heard.push(`first ${id}`);
    off();
    body.onAdd((_, other) => heard.push(`late ${other}`));
    room.notify();
  });
  room.apply(delta(0, 4, SNAP));
  room.notify();
  assert.deepEqual(heard, ["first 5", "late 5"]);
  assert.deepEqual(errors.map(String), ["Error: mine"]);
  room.apply(delta(4, 5, chunk(0, DELTA, "00 08 00 00 01 00 08 01 00")));
  room.notify();
  assert.deepEqual(heard, ["first 5", "late 5", "late 7"]);
  assert.equal(errors.length, 2);
});

test("a member that begins again compares its new seat with what it had", () => {
  const room = replica();
  room.apply(delta(0, 4, SNAP));
  room.notify();
  const before = room.tables[0]!.get(5);
  const heard = listen(room);
  take(heard);
  room.beginAgain(8);
  assert.equal(room.apply(delta(4, 5, EMPTY)), "ignored");
  room.apply(delta(0, 2, chunk(0, SNAPSHOT, "00 01 00 05 08 00 01 00 06 08 00")));
  room.notify();
  assert.equal(room.tables[0]!.get(5), before);
  assert.deepEqual(take(heard), ['~entity 5 {"id":5,"owner":8}', '~body 5 {"hp":8}']);
  assert.deepEqual(room.heard.next, [0, 1]);
});

test("a whole float is not a whole number, and the two zeros are one value", () => {
  const rows: [name: string, value: string, canonical: string, shown: number][] = [
    ["3.0", "04 0000000000000840", "04 0000000000000840", 3],
    ["3", "03 06", "03 06", 3],
    ["3.0 again", "04 0000000000000840", "04 0000000000000840", 3],
    ["-0", "04 0000000000000080", "04 0000000000000000", 0],
    ["0", "03 00", "03 00", 0],
    ["1e300", "04 9c7500883ce4377e", "04 9c7500883ce4377e", 1e300],
    ["2^53 - 1", "03 feffffffffffff1f", "03 feffffffffffff1f", 2 ** 53 - 1],
  ];
  const room = new Replica(schema([component("props", { kind: 2 })]), 3, verify);
  room.apply(delta(0, 1, chunk(0, SNAPSHOT, "00 01 00 00")));
  for (const [name, value, canonical, shown] of rows) {
    const { tick } = room;
    room.apply(delta(tick, tick + 1, chunk(0, DELTA, `00 00 04 00 01 01 6b ${value} 00 00`)));
    const expected = hex(unhex(`00 01 00 00 04 00 01 01 6b ${canonical} 00 00`));
    assert.equal(hex(snapshotOf(room, 0)), expected, name);
    assert(Object.is((room.tables[0]!.get(0) as Record<string, unknown>).k, shown), name);
  }
});

test("which floats were whole is forgotten with them", () => {
  const room = new Replica(schema([component("props", { kind: 2 })]), 3, verify);
  const { _wholeFloats: wholeFloats } = room.tables[0]!;
  const value = "01 6b 04 0000000000000840";
  const snapshot = `00 01 00 01 00 00 04 00 02 ${value}`;
  const rows: [name: string, chunks: Uint8Array][] = [
    ["a key that goes", chunk(0, DELTA, "00 00 04 00 02 01 6b 00 00 00")],
    ["a value that goes", chunk(0, DELTA, "00 00 02 00 02 00")],
    ["an entity that goes", chunk(0, DELTA, "02 00 00")],
    ["another value", chunk(0, DELTA, "00 00 04 00 02 01 6b 03 02 00 00")],
    ["a snapshot without the key", chunk(0, SNAPSHOT, "00 01 00 01 00 00 04 00 02 01 6c 02 00 00")],
  ];
  for (const [name, chunks] of rows) {
    room.apply(delta(0, 1, chunk(0, SNAPSHOT, `${snapshot} 00 00`)));
    assert.deepEqual([...wholeFloats], ["1 k"], name);
    assert.equal(room.apply(delta(1, 2, chunks)), "applied", name);
    assert.deepEqual([...wholeFloats], [], name);
  }
});
