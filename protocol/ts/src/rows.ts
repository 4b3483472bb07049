/**
 * Packed rows: numbers side by side, little endian, without padding (SPEC.md section 5).
 *
 * A row is a plain object whose fields are in the schema's order. Reading is compiled from the
 * description, so that every row of a component has one shape and is updated in place; where a page
 * forbids compiling (a CSP without `unsafe-eval`), the same is interpreted.
 */
import { ENTITIES_MAX } from "./bytes.js";
import { dequantise, type Quantiser, quantise, quantiser } from "./quantise.js";
import type { FieldDesc } from "./wire.gen.js";

/** A packed value: its fields by name. */
export type Row = Record<string, number | boolean>;

/** A field and where it lies. */
export interface Field extends FieldDesc {
  /** Bytes from the row's start. */
  offset: number;
  /** Of quantised fields. */
  quantiser?: Quantiser;
}

/** What a DataView calls each type, by its number; Quant24 has no name. */
const ACCESSORS = [
  "Uint8",
  "Int8",
  "Uint16",
  "Int16",
  "Uint32",
  "Int32",
  "Float32",
  "Uint8",
  "Uint8",
  "Uint16",
  "",
  "Uint32",
  "Uint32",
] as const;
const FLOAT = 6;
const BOOL = 7;
const QUANT8 = 8;
const QUANT24 = 10;
const ENTITY = 12;

/** The largest float of 32 bits. */
const FLOAT_MAX = 2 ** 128 - 2 ** 104;

const sizeOf = (type: number): number =>
  type === QUANT24 ? 3 : +/\d+/.exec(ACCESSORS[type]!)![0] / 8;

/** Reads and writes the rows of one component, or input rows. */
export class RowCodec {
  readonly fields: readonly Field[];
  /** Bytes of a row. */
  readonly bytes: number;
  /** A new object with the values of the row that lies at `at`. */
  create: (view: DataView, at: number) => Row;
  /** Puts the values of the row that lies at `at` into `row`. */
  read: (row: Row, view: DataView, at: number) => void;

  constructor(fields: readonly FieldDesc[], compile = true) {
    let offset = 0;
    this.fields = fields.map((field) => {
      const { type, mode, min, max } = field;
      const bytes = sizeOf(type);
      offset += bytes;
      const isQuantised = type >= QUANT8 && type < ENTITY;
      return {
        ...field,
        offset: offset - bytes,
        quantiser: isQuantised ? quantiser(8 * bytes, mode > 0, min, max) : undefined,
      };
    });
    this.bytes = offset;
    this.read = (row, view, at) => {
      for (const field of this.fields) row[field.name] = readField(field, view, at + field.offset);
    };
    this.create = (view, at) =>
      Object.fromEntries(
        this.fields.map((field) => [field.name, readField(field, view, at + field.offset)]),
      );
    if (compile) this.#compile();
  }

  #compile(): void {
    // As a computed key `__proto__` is an ordinary field.
    const keys = this.fields.map(({ name }) => JSON.stringify(name));
    const values = this.fields.map(expressionOf);
    const literal = keys.map(
      (key, index) => `${key === '"__proto__"' ? `[${key}]` : key}:${values[index]}`,
    );
    const assignments = keys.map((key, index) => `r[${key}]=${values[index]};`);
    try {
      this.create = new Function("v", "p", `return{${literal}}`) as typeof this.create;
      this.read = new Function("r", "v", "p", assignments.join("")) as typeof this.read;
    } catch {
      // The page does not let us: interpreted rows are as right, only slower.
    }
  }

  /**
   * Writes a row. Whatever the fields are, it is one that the server accepts: integers, floats and
   * entities are cut to their range, quantised fields follow their mode, what is missing is 0.
   * With `owner`, the name of a component, what does not fit throws a `RangeError` instead; being
   * outside a quantised range is no such thing.
   */
  write(row: Readonly<Record<string, unknown>>, view: DataView, at: number, owner?: string): void {
    for (const { name, type, offset, quantiser } of this.fields) {
      const given = row[name];
      const value = typeof given === "number" || typeof given === "boolean" ? +given : NaN;
      const [least, most] = rangeOf(type, quantiser);
      const isFit = quantiser ? !Number.isNaN(value) : value >= least && value <= most;
      if (owner !== undefined && !isFit) {
        throw new RangeError(`${owner}.${name}: ${given} is not a number from ${least} to ${most}`);
      }
      // Clamping also maps NaN to a number.
      const clamped = Math.min(Math.max(value, least), most) || 0;
      const bits = quantiser
        ? quantise(quantiser, value)
        : type === BOOL
          ? +(value !== 0)
          : type === FLOAT
            ? clamped
            : Math.trunc(clamped);
      writeBits(view, type, at + offset, bits);
    }
  }
}

function rangeOf(type: number, quantiser: Quantiser | undefined): [number, number] {
  if (quantiser) return [quantiser.min, quantiser.min + quantiser.range];
  if (type === FLOAT) return [-FLOAT_MAX, FLOAT_MAX];
  if (type === BOOL) return [0, 1];
  if (type === ENTITY) return [0, ENTITIES_MAX - 1];
  const full = 2 ** (8 * sizeOf(type));
  // Signed types have odd numbers.
  return type % 2 ? [-full / 2, full / 2 - 1] : [0, full - 1];
}

function readField({ type, quantiser }: Field, view: DataView, at: number): number | boolean {
  const bits =
    type === QUANT24
      ? view.getUint16(at, true) | (view.getUint8(at + 2) << 16)
      : view[`get${ACCESSORS[type] as "Uint16"}`](at, true);
  return quantiser ? dequantise(quantiser, bits) : type === BOOL ? bits !== 0 : bits;
}

/** The same as source text, of the row at `p` of the DataView `v`. */
function expressionOf({ type, offset, quantiser }: Field): string {
  const get = (accessor: string, at: number) => `v.get${accessor}(p+${at},true)`;
  const bits =
    type === QUANT24
      ? `(${get("Uint16", offset)}|${get("Uint8", offset + 2)}<<16)`
      : get(ACCESSORS[type]!, offset);
  if (quantiser) return `${quantiser.min}+${bits}/${quantiser.steps}*${quantiser.range}`;
  return type === BOOL ? `${bits}!==0` : bits;
}

function writeBits(view: DataView, type: number, at: number, bits: number): void {
  if (type === QUANT24) {
    view.setUint16(at, bits & 0xffff, true);
    view.setUint8(at + 2, bits >> 16);
  } else {
    view[`set${ACCESSORS[type] as "Uint16"}`](at, bits, true);
  }
}
