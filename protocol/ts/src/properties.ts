/** Properties by themselves: what a room says of itself, and what one must say that is looked for. */
import { ByteWriter, bytesOf, KEY_BYTES_MAX, PROP_BYTES_MAX, type PropValue } from "./bytes.js";

/** Throws a `RangeError` that names `where` when a server would not take the property. */
export function checkProperty(where: string, key: string, value: unknown): void {
  const keyBytes = bytesOf(key).length;
  if (!keyBytes || keyBytes > KEY_BYTES_MAX) {
    throw new RangeError(`${where}: a key of ${keyBytes} bytes, not 1 to ${KEY_BYTES_MAX}`);
  }
  const isBytes = value instanceof Uint8Array;
  const length = isBytes ? value.length : typeof value === "string" ? bytesOf(value).length : 0;
  if (length > PROP_BYTES_MAX) {
    throw new RangeError(`${where}.${key}: ${length} bytes, at most ${PROP_BYTES_MAX}`);
  }
  const isFit =
    typeof value === "number"
      ? Number.isFinite(value)
      : typeof value === "bigint"
        ? BigInt.asIntN(64, value) === value
        : typeof value !== "object" || !value || isBytes || isEntity(value);
  if (!isFit || typeof value === "function" || typeof value === "symbol") {
    throw new RangeError(`${where}.${key}: ${String(value)} is no property`);
  }
}

const isEntity = (value: object): boolean => {
  const { entity } = value as { entity?: unknown };
  return Number.isInteger(entity) && (entity as number) >= 0 && (entity as number) < 65_536 + 256;
};

/** Writes properties as `Join.metadata`, `Join.filter` and `Configure.metadata` carry them. */
export function encodeProperties(
  props: Readonly<Record<string, PropValue | undefined>>,
): Uint8Array {
  const writer = new ByteWriter();
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined) continue;
    checkProperty("metadata", key, value);
    writer.sized(bytesOf(key));
    writer.value(value);
  }
  writer.u8(0);
  return writer.finish();
}
