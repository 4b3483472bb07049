import assert from "node:assert/strict";
import { test } from "node:test";
import { Builder } from "flatbuffers";
import { type ClientKind, decode, decodeServer, encodeClient } from "../src/messages.js";
import { clientBody, refusalCode } from "../src/wire.gen.js";
import { hex, unhex, vector } from "./vectors.js";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const bytes = (value: string): Uint8Array => unhex(value);

/** What `protocol/vectors/README.md` says of each message of a client. */
const SENT: [file: string, kind: ClientKind, fields: Record<string, unknown>][] = [
  ["join", "Join", { roomType: "arena", room: "комната", name: "Zoë", options: bytes("00 01 ff") }],
  [
    "join-private",
    "Join",
    {
      roomType: "arena",
      room: "",
      mode: 1,
      spectate: true,
      password: "Сезам",
      seat: new Uint8Array(32).fill(7),
      metadata: bytes("03 6d6170 05 01 78 00"),
      filter: bytes("00"),
    },
  ],
  [
    "resume",
    "Join",
    {
      roomType: "arena",
      room: "a",
      resume: {
        member: 9,
        token: new Uint8Array(32).fill(0x5a),
        tick: 1000,
        eventsFrom: 12,
        privateFrom: 1,
      },
    },
  ],
  ["configure", "Configure", { op: 8, locked: 2, password: "", metadata: bytes("00") }],
  ["kick", "Kick", { op: 9, member: 3, message: "no shouting" }],
  ["interest", "Interest", { x: -12.5, y: 300.25 }],
  ["interest-own", "Interest", { own: true }],
  ["report", "Report", { appliedTick: 42, hidden: true }],
  ["leave", "Leave", {}],
  ["input", "Input", { seq: 1001, appliedTick: 42, row: bytes("05 34 12 ff") }],
  [
    "input-seeing",
    "Input",
    { seq: 1001, appliedTick: 42, row: bytes("05 34 12 ff"), renderQ8: 10304 },
  ],
  ["ping", "Ping", { clientUs: 1234567890123 }],
  ["resync-gap", "Resync", { haveTick: 41 }],
  ["resync-malformed", "Resync", { haveTick: 41, reason: 1 }],
  ["resync-hash-mismatch", "Resync", { haveTick: 41, reason: 2 }],
  ["write", "Write", { op: 5, ifTick: 10, changes: vector("changes-worked-example.bin") }],
  ["write-plain", "Write", { changes: bytes("00 00") }],
  ["publish", "Publish", { op: 6, body: text("hi") }],
  ["publish-to", "Publish", { op: 6, topic: 2, to: [9, 300], body: bytes("00 ff") }],
];

/** Values of golden messages of a server; what is not named has its default. */
const RECEIVED: [file: string, fields: Record<string, unknown> | undefined][] = [
  ["accepted", { kind: "Accepted", op: 5, tick: 11, entities: [4, 65535] }],
  ["accepted-publication", { kind: "Accepted", op: 6, tick: 11, entities: [] }],
  ["refused-write", { kind: "Refused", code: 9, message: "something changed", retryMs: 0, op: 5 }],
  ["go-away", { kind: "GoAway", retryMs: 4321 }],
  [
    "delta",
    {
      kind: "Delta",
      tick: 9,
      base: 8,
      ackSeq: 1001,
      margin: -3,
      chunks: bytes("00 02 02 00 00"),
      ackOp: 0,
      loadLevel: 0,
    },
  ],
  [
    "delta-padded",
    { kind: "Delta", tick: 9, base: 8, ackSeq: 1001, margin: -3, chunks: bytes("00 02 02 00 00") },
  ],
  [
    "delta-pressed",
    { kind: "Delta", tick: 9, base: 8, ackSeq: 1001, margin: -3, ackOp: 77, loadLevel: 2 },
  ],
  [
    "time-sync",
    {
      kind: "TimeSync",
      clientUs: 1234567890123,
      serverUs: 2 ** 40 + 525000,
      tick: 10,
      epochUs: 2 ** 40,
      scaleQ16: 65536,
    },
  ],
  ["clock-moved", { kind: "TimeSync", clientUs: 0, serverUs: 2 ** 40 + 525000, epochUs: 2 ** 40 }],
  ["time-dilated", { kind: "TimeSync", clientUs: 1234567890123, scaleQ16: 32768 }],
  [
    "newer-time-sync",
    { kind: "TimeSync", clientUs: 77, serverUs: 0, tick: 0, epochUs: 0, scaleQ16: 65536 },
  ],
  ["refused", { kind: "Refused", code: 3, message: "the room is full", retryMs: 2000, op: 0 }],
  ["left", { kind: "Left", reason: 0, message: "" }],
  ["kicked", { kind: "Left", reason: 1, message: "no shouting" }],
  ["unknown", undefined],
  [
    "joined-resumed",
    {
      kind: "Joined",
      member: 7,
      entity: 1,
      tick: 10,
      tickUs: 50000,
      sendEvery: 2,
      epochUs: 2 ** 40,
      room: "K7Q2ZD",
      token: new Uint8Array(32).fill(0x5a),
      graceMs: 20000,
      recovered: true,
      spectator: true,
    },
  ],
  [
    "joined-board",
    { kind: "Joined", member: 7, entity: 1, tickUs: 0, sendEvery: 1, room: "", spectator: false },
  ],
];

test("messages of a server are read as they were written", () => {
  for (const [file, expected] of RECEIVED) {
    const message = decodeServer(vector(`server-${file}.bin`)) as
      | Record<string, unknown>
      | undefined;
    if (!expected) assert.equal(message, undefined, file);
    for (const [key, value] of Object.entries(expected ?? {})) {
      assert.deepEqual(message![key], value, `${file}: ${key}`);
    }
  }
  assert.equal(refusalCode[3], "RoomFull");
});

test("a room's description is read whole", () => {
  const message = decodeServer(vector("server-joined.bin"));
  assert(message?.kind === "Joined");
  const { components, input, topics, interest } = message.schema;
  assert.deepEqual(
    components.map(({ name, kind, scope, fields }) => [name, kind, scope, fields.length]),
    [
      ["body", 0, 0, 4],
      ["every", 0, 0, 13],
      ["map", 1, 0, 0],
      ["profile", 2, 0, 0],
      ["hand", 0, 1, 1],
      ["notes", 2, 1, 0],
      ["secret", 1, 1, 0],
    ],
  );
  assert.deepEqual(components[0]!.fields[0], {
    name: "x",
    type: 9,
    mode: 0,
    min: -512,
    max: 512,
    interpolation: 1,
  });
  assert.deepEqual(
    [components[2]!.contentType, components[2]!.valueBytesMax],
    ["application/json", 1000],
  );
  assert.deepEqual(
    input.map(({ name, max }) => [name, max]),
    [
      ["buttons", 1],
      ["aim", 2 * Math.PI],
      ["dx", 1],
    ],
  );
  assert.deepEqual([topics, interest], [[], undefined]);
});

test("messages of a client are read back as what they were made of", () => {
  for (const [file, kind, fields] of SENT) {
    const golden = decode(vector(`client-${file}.bin`), clientBody) as Record<string, unknown>;
    const ours = decode(encodeClient(kind, fields as never), clientBody);
    assert.deepEqual(ours, golden, file);
    assert.equal(golden.kind, kind, file);
    for (const [key, value] of Object.entries(fields)) {
      assert.deepEqual(golden[key], value, `${file}: ${key}`);
    }
  }
});

test("what is newer is passed over", () => {
  assert.equal(decode(vector("client-unknown.bin"), clientBody), undefined);
  assert.deepEqual(decode(vector("client-newer-ping.bin"), clientBody), {
    kind: "Ping",
    clientUs: 77,
  });
});

test("an empty password is sent and an absent one is not", () => {
  // Reading does not tell them apart, and to a room they are different things.
  const lengths = [{ password: "" }, {}].map((fields) => encodeClient("Configure", fields).length);
  assert(lengths[0]! > lengths[1]!, `${lengths}`);
});

test("a message is the caller's to keep", () => {
  const first = encodeClient("Ping", { clientUs: 1 });
  const copy = hex(first);
  encodeClient("Ping", { clientUs: 2 });
  assert.equal(hex(first), copy);
});

test("a buffer that does not begin at a border is read", () => {
  const message = vector("server-joined.bin");
  const shifted = new Uint8Array(message.length + 3).subarray(3);
  shifted.set(message);
  assert.deepEqual(decodeServer(shifted), decodeServer(message));
});

test("bytes that are cut or changed throw or are another message", () => {
  const isExpected = (error: unknown) => error instanceof RangeError || error instanceof TypeError;
  for (const file of ["joined", "delta", "refused", "accepted", "time-sync"]) {
    const message = vector(`server-${file}.bin`);
    for (let length = 0; length < message.length; length++) {
      try {
        decodeServer(message.subarray(0, length));
      } catch (error) {
        assert(isExpected(error), `${file} cut at ${length}: ${error}`);
      }
    }
    for (let at = 0; at < message.length; at++) {
      for (const byte of [0, 1, 0x7f, 0x80, 0xff]) {
        const broken = message.slice();
        broken[at] = byte;
        try {
          decodeServer(broken);
        } catch (error) {
          assert(isExpected(error), `${file} with ${byte} at ${at}: ${error}`);
        }
      }
    }
  }
  assert.throws(() => decodeServer(new Uint8Array()), RangeError);
});

test("tables that are shared do not stand for a million visits", () => {
  // The story: a component of a few bytes, and a list that names it as often as the room's bound of
  // visits allows, or once more.
  const joined = (count: number): Uint8Array => {
    const builder = new Builder();
    const name = builder.createString("c");
    builder.startObject(9);
    builder.addFieldOffset(0, name, 0);
    const component = builder.endObject();
    builder.startVector(4, count, 4);
    for (let index = 0; index < count; index++) builder.addOffset(component);
    const components = builder.endVector();
    builder.startVector(4, 0, 4);
    const input = builder.endVector();
    builder.startObject(5);
    builder.addFieldOffset(0, components, 0);
    builder.addFieldOffset(1, input, 0);
    const schema = builder.endObject();
    builder.startObject(12);
    builder.addFieldOffset(6, schema, 0);
    const body = builder.endObject();
    builder.startObject(2);
    builder.addFieldInt8(0, 1, 0);
    builder.addFieldOffset(1, body, 0);
    builder.finish(builder.endObject());
    return builder.asUint8Array();
  };
  const message = decodeServer(joined(2_222));
  assert(message?.kind === "Joined" && message.schema.components.length === 2_222);
  assert.throws(() => decodeServer(joined(2_223)), /malformed ComponentDesc/);
});
