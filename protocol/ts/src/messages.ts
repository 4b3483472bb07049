/** Messages: one envelope per WebSocket message (SPEC.md sections 2 and 4). */
import { Builder } from "flatbuffers";
import { FlatReader, malformed, writeTable } from "./flat.js";
import { type ClientMessages, clientBody, type ServerMessages, serverBody } from "./wire.gen.js";

/** What a message of a server says, by its `kind`. */
export type ServerMessage = {
  [K in keyof ServerMessages]: { kind: K } & ServerMessages[K];
}[keyof ServerMessages];

/** What a client can send. */
export type ClientKind = keyof ClientMessages;

/** Reads an envelope whose body is one of `kinds`; `undefined` when it is one of a newer version. */
export function decode(bytes: Uint8Array, kinds: readonly string[]): unknown {
  const reader = new FlatReader(bytes);
  const envelope = reader.follow(0);
  const [tag, body] = [reader.field(envelope, 0), reader.field(envelope, 1)];
  const position = (tag && (reader.scalar("b", tag) as number)) - 1;
  if (position < 0 || !body) throw malformed("body");
  const kind = kinds[position];
  return kind && { kind, ...reader.table(kind, reader.follow(body)) };
}

/**
 * Reads a message of the server; `undefined` for a kind that this version does not know. Its bytes
 * are views of `bytes`. Throws a `RangeError` or `TypeError` when it is malformed.
 */
export function decodeServer(bytes: Uint8Array): ServerMessage | undefined {
  return decode(bytes, serverBody) as ServerMessage | undefined;
}

const builder = new Builder(256);

/** Writes a message of a client. What is left out has its default. The bytes are the caller's. */
export function encodeClient<K extends ClientKind>(kind: K, fields: ClientMessages[K]): Uint8Array {
  builder.clear();
  const body = writeTable(builder, kind, fields as Record<string, unknown>);
  builder.startObject(2);
  builder.addFieldInt8(0, clientBody.indexOf(kind) + 1, 0);
  builder.addFieldOffset(1, body, 0);
  builder.finish(builder.endObject());
  return builder.asUint8Array().slice();
}
