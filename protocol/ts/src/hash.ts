/**
 * The hash of a stream (SPEC.md section 6, "The hash"): the CRC-32 of its snapshot in canonical form.
 * Nobody needs it to play, so it is no part of the client but of its tools.
 */
import { ByteWriter, bytesOf } from "./bytes.js";
import type { Replica } from "./replica.js";
import { OPAQUE, PACKED } from "./schema.js";
import { BASE, type Props, STALE, type Table } from "./table.js";

const MEMBER = 1;
const CELLS = 16;

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  return crc;
});

/** CRC-32 (ISO-HDLC), as zlib has it. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ crcTable[(crc ^ byte) & 255]!;
  return ~crc >>> 0;
}

/** Compares bytes, and those that end first come first. */
function compareBytes(one: Uint8Array, other: Uint8Array): number {
  for (let index = 0; index < one.length && index < other.length; index++) {
    if (one[index] !== other[index]) return one[index]! - other[index]!;
  }
  return one.length - other.length;
}

function putValue(table: Table<unknown>, entity: number, writer: ByteWriter): void {
  const { kind, rows } = table.component!;
  const base = table._base[entity];
  if (kind === PACKED) {
    writer.put(new Uint8Array(table._rows.buffer, entity * rows!.bytes, rows!.bytes));
  } else if (kind === OPAQUE) {
    writer.sized(base as Uint8Array);
  } else {
    const props = Object.entries(base as Props).map(([key, value]) => ({
      key,
      name: bytesOf(key),
      value,
    }));
    props.sort((one, other) => compareBytes(one.name, other.name));
    for (const { key, name, value } of props) {
      writer.sized(name);
      writer.value(value, table._wholeFloats.has(`${entity} ${key}`));
    }
    writer.u8(0);
  }
}

/** The body of a stream's snapshot chunk: what the server said, whatever is shown over it. */
export function snapshotOf(replica: Replica, stream: number): Uint8Array {
  const writer = new ByteWriter();
  const { entities, schema } = replica;
  const scope = stream < CELLS ? stream : 0;
  /** Whether a table has a value of the entity that is on this stream. */
  const has = (table: Table<unknown>, entity: number) =>
    (table._marks[entity]! & (BASE | STALE)) === BASE &&
    (scope === 0
      ? replica.streamOf(entity) === stream
      : scope !== MEMBER || !!schema.interest || entities.get(entity)?.owner === replica.member);
  const putList = (table: Table<unknown>, put: (entity: number) => void) => {
    let before = -1;
    for (let entity = 0; entity < table._all.length; entity++) {
      if (!has(table, entity)) continue;
      writer.varint(entity - before);
      before = entity;
      put(entity);
    }
    writer.u8(0);
  };
  writer.u8(0);
  if (scope) writer.u8(0);
  else putList(entities as Table<unknown>, (entity) => writer.varint(entities.get(entity)!.owner));
  for (const table of replica.tables) {
    const { id, kind } = table.component!;
    const isEmpty = !table._all.some((_, entity) => has(table, entity));
    if (table.component!.scope !== scope || isEmpty) continue;
    writer.u8([1, 3, 4][kind]!);
    writer.u8(id);
    putList(table, (entity) => putValue(table, entity, writer));
  }
  return writer.finish();
}

/** The hash of what a replica holds of a stream; give it to a client that shall check every hash. */
export const verify = (replica: Replica, stream: number): number =>
  crc32(snapshotOf(replica, stream));

/** The hash of the room stream: two replicas of a room without interest at one tick have the same. */
export const stateHash = (replica: Replica): number => verify(replica, 0);
