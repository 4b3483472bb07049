/** Messages: one envelope per WebSocket message (SPEC.md sections 2 and 4). */
import { ByteWriter, bytesOf, malformed } from "./bytes.js";
import { FlatReader, writeTable } from "./flat.js";
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
  const position = (reader.table("envelope", envelope, "tag:b").tag as number) - 1;
  if (position < 0) throw malformed("envelope");
  const kind = kinds[position];
  return kind && { kind, ...(reader.table("envelope", envelope, layoutOf(kind)).body as object) };
}

/** An envelope around a message of a kind. */
const layoutOf = (kind: string): string => `tag:b body:${kind}!`;

/**
 * Reads a message of the server; `undefined` for a kind that this version does not know. Its bytes
 * are views of `bytes`. Throws a `RangeError` or `TypeError` when it is malformed.
 */
export function decodeServer(bytes: Uint8Array): ServerMessage | undefined {
  return decode(bytes, serverBody) as ServerMessage | undefined;
}

/** The most bytes, or members, that a server takes; more than that ends the connection. */
const LENGTHS = {
  roomType: 64,
  room: 64,
  name: 64,
  password: 128,
  seat: 64,
  options: 16_384,
  metadata: 1024,
  filter: 1024,
  to: 64,
  body: 16_384,
  message: 123,
  changes: 65_400,
};

/**
 * Writes a message of a client. What is left out has its default. The bytes are the caller's.
 * Throws a `RangeError` that names a field that is too long.
 */
export function encodeClient<K extends ClientKind>(kind: K, body: ClientMessages[K]): Uint8Array {
  for (const [name, most] of Object.entries(LENGTHS)) {
    const field = (body as Record<string, string | Uint8Array | undefined>)[name] ?? "";
    const { length } = typeof field === "string" ? bytesOf(field) : field;
    if (length > most) {
      throw new RangeError(`${name} of ${kind}: ${length} bytes, at most ${most}`);
    }
  }
  const writer = new ByteWriter();
  const tag = clientBody.indexOf(kind) + 1;
  writeTable(writer, writer.room(4), layoutOf(kind), { tag, body });
  return writer.finish();
}
