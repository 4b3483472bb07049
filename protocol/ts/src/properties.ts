/** Properties by themselves: what a room says of itself, and what one must say that is looked for. */
import {
  ByteWriter,
  bytesOf,
  ENTITIES_MAX,
  KEY_BYTES_MAX,
  PROP_BYTES_MAX,
  type PropValue,
} from "./bytes.js";

/** The highest id that an entity can have in a write, exclusive: it may add 256. */
const IDS_MAX = ENTITIES_MAX + 256;

/** Throws a `RangeError` that names `where` when a server would not take the property. */
export function checkProperty(where: string, key: string, value: unknown): void {
  const keyBytes = bytesOf(key).length;
  if (!keyBytes || keyBytes > KEY_BYTES_MAX) {
    throw new RangeError(`${where}: a key of ${keyBytes} bytes, not 1 to ${KEY_BYTES_MAX}`);
  }
  if (!isProperty(value)) {
    const text = String(value).slice(0, 40);
    throw new RangeError(
      `${where}.${key}: ${text} is no finite number, bigint of 64 bits, entity, or text or bytes up to ${PROP_BYTES_MAX}`,
    );
  }
}

function isProperty(value: unknown): boolean {
  switch (typeof value) {
    case "undefined":
    case "boolean":
      return true;
    case "number":
      return Number.isFinite(value);
    case "bigint":
      return BigInt.asIntN(64, value) === value;
    case "string":
      return bytesOf(value).length <= PROP_BYTES_MAX;
    case "object": {
      if (value instanceof Uint8Array) return value.length <= PROP_BYTES_MAX;
      const { entity } = (value ?? { entity: 0 }) as { entity: number };
      return Number.isInteger(entity) && entity >= 0 && entity < IDS_MAX;
    }
  }
  return false;
}

/**
 * Writes properties as `Join.metadata`, `Join.filter` and `Configure.metadata` carry them. Throws a
 * `RangeError` for what cannot be one.
 */
export function encodeProperties(
  props: Readonly<Record<string, PropValue | undefined>>,
): Uint8Array {
  const writer = new ByteWriter();
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined) continue;
    checkProperty("metadata", key, value);
    if (typeof value === "object" && !(value instanceof Uint8Array)) {
      throw new RangeError(`metadata.${key}: an entity means nothing outside its room`);
    }
    writer.sized(bytesOf(key));
    writer.value(value);
  }
  writer.u8(0);
  return writer.finish();
}
