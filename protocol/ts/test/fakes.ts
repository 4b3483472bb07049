/** A server, a network and a clock that tests hold in their hands. */
import assert from "node:assert/strict";
import { Builder } from "flatbuffers";
import { Client } from "../src/client.js";
import type { WebSocketLike } from "../src/connection.js";
import { TickloomError } from "../src/errors.js";
import { decode } from "../src/messages.js";
import type { ClientOptions } from "../src/options.js";
import type { Timers } from "../src/timers.js";
import { clientBody, layouts, serverBody } from "../src/wire.gen.js";

/** Time that passes when a test says so. */
export class FakeTimers implements Timers {
  #nowUs = 1_000_000;
  #due: { at: number; act: () => void }[] = [];

  nowUs(): number {
    return this.#nowUs;
  }

  set(act: () => void, ms: number): unknown {
    const timer = { at: this.#nowUs + ms * 1000, act };
    this.#due.push(timer);
    return timer;
  }

  clear(timer: unknown): void {
    this.#due = this.#due.filter((other) => other !== timer);
  }

  get pending(): number {
    return this.#due.length;
  }

  /** Lets time pass, and everything happen that is due meanwhile, in order. */
  async pass(ms: number): Promise<void> {
    const end = this.#nowUs + ms * 1000;
    for (;;) {
      await settle();
      const next = this.#due.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) {
        break;
      }
      this.clear(next);
      this.#nowUs = Math.max(this.#nowUs, next.at);
      next.act();
    }
    this.#nowUs = end;
    await settle();
  }
}

/** Lets promises go on. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) {
    await null;
  }
}

/** What a client sent. */
export type Sent = { kind: string } & Record<string, unknown>;

/** A WebSocket whose other end is the test. */
export class FakeSocket implements WebSocketLike {
  static all: FakeSocket[] = [];
  binaryType = "";
  bufferedAmount = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: never) => void) | null = null;
  onclose: ((event: never) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  closedWith: number | undefined;
  #sent: Sent[] = [];

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {
    FakeSocket.all.push(this);
  }

  static get last(): FakeSocket {
    return FakeSocket.all.at(-1)!;
  }

  send(bytes: Uint8Array): void {
    this.#sent.push(decode(bytes.slice(), clientBody) as Sent);
  }

  close(code?: number): void {
    this.closedWith = code ?? 1005;
  }

  /** What the client sent since the last time, of one kind or of all. */
  take(kind?: string): Sent[] {
    const taken = this.#sent.filter((sent) => !kind || sent.kind === kind);
    this.#sent = this.#sent.filter((sent) => !taken.includes(sent));
    return taken;
  }

  open(): void {
    this.onopen?.({} as never);
  }

  receive(kind: string, fields: Record<string, unknown>): void {
    this.receiveBytes(encodeServer(kind, fields));
  }

  receiveBytes(bytes: Uint8Array): void {
    const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    this.onmessage?.({ data } as never);
  }

  end(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason } as never);
  }
}

/** A client of such a server. */
export function connectFake(options: ClientOptions = {}): { client: Client; timers: FakeTimers } {
  FakeSocket.all = [];
  const timers = new FakeTimers();
  const client = new Client("ws://localhost:7420/ws", {
    WebSocket: FakeSocket,
    timers,
    ...options,
  });
  return { client, timers };
}

/** A description with a component of each kind, as a server sends it. */
export const SCHEMA = {
  components: [
    { name: "name", kind: 1, contentType: "text/plain", valueBytesMax: 64, fields: [] },
    {
      name: "body",
      kind: 0,
      fields: [
        { name: "x", type: 3 },
        { name: "y", type: 3 },
      ],
    },
    {
      name: "cursor",
      kind: 0,
      write: 1,
      fields: [
        { name: "x", type: 2 },
        { name: "y", type: 2 },
      ],
    },
    { name: "shared", kind: 2, write: 2, fields: [] },
  ],
  input: [{ name: "dx", type: 1 }],
  topics: [
    { name: "chat", publish: 2, history: true },
    { name: "news", publish: 3 },
  ],
  entities: 2,
};

/** A seat. */
export const JOINED = {
  member: 7,
  entity: 1,
  tick: 10,
  tickUs: 50_000,
  sendEvery: 1,
  epochUs: 1_000_000_000,
  schema: SCHEMA,
  token: Uint8Array.of(1, 2, 3),
  graceMs: 20_000,
};

/** A snapshot of two entities: the room, and entity 1 of member 7, which is called "Zoë". */
export const SNAPSHOT = {
  tick: 11,
  base: 0,
  chunks: chunk(0, 1, [0, 1, 0, 1, 7, 0, 3, 0, 2, 4, 0x5a, 0x6f, 0xc3, 0xab, 0]),
};

/** A chunk: stream, kind, body. */
export function chunk(stream: number, kind: number, body: number[]): Uint8Array {
  return Uint8Array.of(stream, kind, body.length, ...body);
}

/** A message of a server. Vectors of tables, which no client sends, are among what it holds. */
export function encodeServer(kind: string, fields: Record<string, unknown>): Uint8Array {
  const builder = new Builder(256);
  const body = write(builder, kind, fields);
  builder.startObject(2);
  builder.addFieldInt8(0, (serverBody as readonly string[]).indexOf(kind) + 1, 0);
  builder.addFieldOffset(1, body, 0);
  builder.finish(builder.endObject());
  return builder.asUint8Array().slice();
}

function write(builder: Builder, table: string, row: Record<string, unknown>): number {
  const fields = [
    ...(layouts as Record<string, string>)[table]!.matchAll(/(\w+):(\[?)(\w)(\w*)!?=?(\S*)/g),
  ].map(([, name, vector, code, rest, value]) => {
    return {
      value: row[name!],
      isVector: !!vector,
      code: code!,
      type: code! + rest,
      least: +value!,
    };
  });
  const offsets = fields.map(({ value, isVector, code, type }) => {
    if (value === undefined) {
      return 0;
    }
    if (isVector && type < "a") {
      const places = (value as Record<string, unknown>[]).map((item) => write(builder, type, item));
      builder.startVector(4, places.length, 4);
      for (const place of places.reverse()) {
        builder.addOffset(place);
      }
      return builder.endVector();
    }
    if (isVector) {
      const list = value as number[];
      builder.startVector(4, list.length, 4);
      for (const item of [...list].reverse()) {
        builder.addInt32(item);
      }
      return builder.endVector();
    }
    if (code === "s") {
      return builder.createString(value as string);
    }
    if (code === "y") {
      return builder.createByteVector(value as Uint8Array);
    }
    return type < "a" ? write(builder, type, value as Record<string, unknown>) : 0;
  });
  builder.startObject(fields.length);
  fields.forEach(({ value, code, least }, index) => {
    if (offsets[index]) {
      builder.addFieldOffset(index, offsets[index]!, 0);
    } else if (value !== undefined && "zibe".includes(code)) {
      builder.addFieldInt8(index, Number(value), least);
    } else if (value !== undefined && code === "h") {
      builder.addFieldInt16(index, Number(value), least);
    } else if (value !== undefined && code === "u") {
      builder.addFieldInt32(index, Number(value), least);
    } else if (value !== undefined && code === "l") {
      builder.addFieldInt64(index, BigInt(value as number), 0n);
    } else if (value !== undefined && code === "f") {
      builder.addFieldFloat32(index, Number(value), least);
    } else if (value !== undefined && code === "d") {
      builder.addFieldFloat64(index, Number(value), least);
    }
  });
  return builder.endObject();
}

/** A client with a seat in the room "a", and what it has sent until then taken away. */
export async function seated(options: ClientOptions = {}) {
  const { client, timers } = connectFake(options);
  await settle();
  const joined = client.join("board", { room: "a", name: "Zoë" });
  const socket = FakeSocket.last;
  socket.open();
  socket.receive("Joined", JOINED);
  socket.receive("Delta", SNAPSHOT);
  const room = await joined;
  socket.take();
  return { client, timers, socket, room };
}

/** The next connection of a client that waits for it. */
export async function reopen(timers: FakeTimers): Promise<FakeSocket> {
  const before = FakeSocket.last;
  for (let ms = 0; FakeSocket.last === before; ms += 10) {
    assert.ok(ms < 31_000, "there is another try");
    await timers.pass(10);
  }
  FakeSocket.last.open();
  return FakeSocket.last;
}

/** A refusal of a code of the wire. */
export const refused = (code: number, op = 0, retryMs = 0) => ({
  code,
  message: "no",
  op,
  retryMs,
});

export const isError = (code: string) => (error: unknown) =>
  error instanceof TickloomError && error.code === code;
