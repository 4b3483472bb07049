/** The pieces that chunks and changes are made of (SPEC.md section 6, "Chunks"). */

/** A property's value: whole numbers beyond 2^53 are bigints, an entity is an object with its id. */
export type PropValue =
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | { readonly entity: number };

/** Entity ids are below this. */
export const ENTITIES_MAX = 65_536;
/** Bytes of a property's text or bytes. */
export const PROP_BYTES_MAX = 16_384;
/** Bytes of a property's key. */
export const KEY_BYTES_MAX = 64;

const encoder = /* @__PURE__ */ new TextEncoder();
const loose = /* @__PURE__ */ new TextDecoder("utf-8", { ignoreBOM: true });
const decoder = /* @__PURE__ */ new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The bytes of what a DataView calls so. */
export const sizeOf = (accessor: string): number => +/\d+/.exec(accessor)![0] / 8;

/** The same bytes, for numbers of more than 8 bits. */
export const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);

/** What is thrown for bytes that are not what they should be. */
export const malformed = (what: string): RangeError => new RangeError(`malformed ${what}`);

/** UTF-8 bytes of a text. */
export const bytesOf = (text: string): Uint8Array => encoder.encode(text);

/** What bytes, a text or an object that travels as JSON are on the wire. */
export const bodyOf = (body: Uint8Array | string | object): Uint8Array =>
  body instanceof Uint8Array
    ? body
    : bytesOf(typeof body === "string" ? body : JSON.stringify(body));

/** The bytes that hexadecimal digits stand for. */
export const bytesOfHex = (digits: string): Uint8Array =>
  Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));

/** Text of UTF-8 bytes; throws when they are none. */
export const textOf = (bytes: Uint8Array): string => decoder.decode(bytes);

/** Text of bytes that need not be UTF-8: what is none becomes U+FFFD. */
export const looseTextOf = (bytes: Uint8Array): string => loose.decode(bytes);

/** Reads pieces off the front of bytes. Whatever ends early or is out of range is a `RangeError`. */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at = 0;
  /** Where reading ends: that of a chunk while it is read. */
  end: number;
  /** Whether the property read last was a float with a whole value, which no integer may replace. */
  isWholeFloat = false;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = viewOf(bytes);
    this.end = bytes.length;
  }

  /** Goes past `length` bytes and returns where they are. */
  skip(length: number): number {
    const at = this.at;
    if (length > this.end - at) throw malformed("end");
    this.at += length;
    return at;
  }

  u8(): number {
    if (this.at >= this.end) throw malformed("end");
    return this.bytes[this.at++]!;
  }

  /** An unsigned LEB128 below `limit`; exact below 2^53. */
  varint(limit = 2 ** 32): number {
    let byte = this.u8();
    if (byte < 128 && byte < limit) return byte;
    let value = byte & 127;
    for (let scale = 128; byte > 127; scale *= 128) {
      if (scale > 2 ** 63) throw malformed("number");
      byte = this.u8();
      value += (byte & 127) * scale;
    }
    if (value >= limit) throw malformed("number");
    return value;
  }

  /** The id behind `before` in an ascending list, -1 before the first; -1 at the list's end. */
  gap(before: number): number {
    const gap = this.varint();
    if (!gap) return -1;
    if (before + gap >= ENTITIES_MAX) throw malformed("entity");
    return before + gap;
  }

  /** Bytes behind their length, as a view. */
  sized(limit = Infinity): Uint8Array {
    const length = this.varint();
    if (length > limit) throw malformed("length");
    const at = this.skip(length);
    return this.bytes.subarray(at, at + length);
  }

  /** The next key of a list of properties; empty at the list's end. */
  key(): string {
    return textOf(this.sized(KEY_BYTES_MAX));
  }

  /** A property's value; `undefined` for nil. */
  value(): PropValue | undefined {
    const kind = this.u8();
    this.isWholeFloat = false;
    switch (kind) {
      case 0:
        return undefined;
      case 1:
      case 2:
        return kind > 1;
      case 3:
        return this.#whole();
      case 4: {
        // The two zeros are one value.
        const value = this.view.getFloat64(this.skip(8), true) + 0;
        if (!Number.isFinite(value)) throw malformed("float");
        this.isWholeFloat = Number.isInteger(value);
        return value;
      }
      case 5:
        return textOf(this.sized(PROP_BYTES_MAX));
      case 6:
        return this.sized(PROP_BYTES_MAX).slice();
      case 7:
        return { entity: this.varint(ENTITIES_MAX) };
    }
    throw malformed("value");
  }

  /** A zigzag LEB128 of 64 bits. */
  #whole(): number | bigint {
    let zigzag = 0n;
    let byte = 128;
    for (let shift = 0n; byte > 127; shift += 7n) {
      byte = this.u8();
      zigzag += BigInt(byte & 127) << shift;
      if (zigzag >> 64n || shift > 63n) throw malformed("number");
    }
    const whole = (zigzag >> 1n) ^ -(zigzag & 1n);
    return Number.isSafeInteger(Number(whole)) ? Number(whole) : whole;
  }
}

/** Collects the same pieces. */
export class ByteWriter {
  #bytes = new Uint8Array(64);
  /** Of what was written, until more is. */
  view = new DataView(this.#bytes.buffer);
  length = 0;

  /** Makes room for `length` bytes at a multiple of `align` and returns where they are; all are 0. */
  room(length: number, align = 1): number {
    const at = Math.ceil(this.length / align) * align;
    this.length = at + length;
    if (this.length > this.#bytes.length) {
      const grown = new Uint8Array(2 * this.length);
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    return at;
  }

  u8(value: number): void {
    const at = this.room(1);
    this.#bytes[at] = value;
  }

  /** An unsigned LEB128. */
  varint(value: number | bigint): void {
    let rest = BigInt(value);
    for (; rest > 127; rest >>= 7n) this.u8(Number(rest & 127n) + 128);
    this.u8(Number(rest));
  }

  put(bytes: Uint8Array): void {
    const at = this.room(bytes.length);
    this.#bytes.set(bytes, at);
  }

  sized(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.put(bytes);
  }

  /** A value; `undefined` and `null` are nil. Its range is the caller's to check. */
  value(value: PropValue | null | undefined, isWholeFloat = false): void {
    if (value === undefined || value === null) this.u8(0);
    else if (typeof value === "boolean") this.u8(value ? 2 : 1);
    else if (typeof value === "bigint" || (Number.isSafeInteger(value) && !isWholeFloat)) {
      this.u8(3);
      const whole = BigInt(value as bigint | number);
      this.varint((whole << 1n) ^ (whole >> 63n));
    } else if (typeof value === "number") {
      this.u8(4);
      const at = this.room(8);
      this.view.setFloat64(at, value + 0, true);
    } else if (typeof value === "string") {
      this.u8(5);
      this.sized(bytesOf(value));
    } else if (value instanceof Uint8Array) {
      this.u8(6);
      this.sized(value);
    } else {
      this.u8(7);
      this.varint((value as { entity: number }).entity);
    }
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }
}
