/**
 * Packed rows: numbers side by side, little endian, without padding (SPEC.md section 5).
 *
 * A row is a plain object whose fields are in the schema's order. Reading is compiled from the
 * description, so that every row of a component has one shape and is updated in place; where a page
 * forbids compiling (a CSP without `unsafe-eval`), the same is interpreted.
 */
import { ENTITIES_MAX, sizeOf } from "./bytes.js";
import { dequantise, type Quantiser, quantise, quantiser } from "./quantise.js";
import type { FieldDesc } from "./wire.gen.js";

/** A packed value: its fields by name. */
export type Row = Record<string, number | boolean>;

/** A field and where it lies. */
export interface Field extends FieldDesc {
  /** Bytes from the row's start. */
  offset: number;
  /** Its range. */
  least: number;
  most: number;
  /** Of quantised fields. */
  quantiser?: Quantiser;
}

/** What a DataView calls each type, by its number; Quant24 is one of 16 bits and one of 8. */
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
  "Uint16",
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

/** The range of a type that is not quantised. */
function rangeOf(type: number, bytes: number): [number, number] {
  if (type === FLOAT) return [-FLOAT_MAX, FLOAT_MAX];
  const count = type === BOOL ? 2 : type === ENTITY ? ENTITIES_MAX : 256 ** bytes;
  // Signed types have odd numbers; a boolean is no number.
  return type % 2 && type !== BOOL ? [-count / 2, count / 2 - 1] : [0, count - 1];
}

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
      const bytes = sizeOf(ACCESSORS[type]!) + +(type === QUANT24);
      const isQuantised = type >= QUANT8 && type < ENTITY;
      const [least, most] = isQuantised ? [min, max] : rangeOf(type, bytes);
      offset += bytes;
      return {
        ...field,
        least,
        most,
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
    for (const { name, type, offset, least, most, quantiser } of this.fields) {
      const given = row[name];
      const value = typeof given === "number" || typeof given === "boolean" ? +given : NaN;
      const isFit = quantiser ? !Number.isNaN(value) : value >= least && value <= most;
      if (owner !== undefined && !isFit) {
        throw new RangeError(`${owner}.${name}: ${given} is not a number from ${least} to ${most}`);
      }
      // NaN is 0, or what is nearest to it.
      const clamped = Math.min(Math.max(value || 0, least), most);
      const bits = quantiser
        ? quantise(quantiser, value)
        : type === FLOAT
          ? clamped
          : type === BOOL
            ? Math.ceil(clamped)
            : Math.trunc(clamped);
      const accessor = ACCESSORS[type] as "Uint16";
      view[`set${accessor}`](at + offset, bits, true);
      if (type === QUANT24) view.setUint8(at + offset + 2, bits >> 16);
    }
  }
}

function readField({ type, quantiser }: Field, view: DataView, at: number): number | boolean {
  let bits = view[`get${ACCESSORS[type] as "Uint16"}`](at, true);
  if (type === QUANT24) bits |= view.getUint8(at + 2) << 16;
  return quantiser ? dequantise(quantiser, bits) : type === BOOL ? bits !== 0 : bits;
}

/** The same as source text, of the row at `p` of the DataView `v`. */
function expressionOf({ type, offset, quantiser }: Field): string {
  let bits = `v.get${ACCESSORS[type]}(p+${offset},true)`;
  if (type === QUANT24) bits = `(${bits}|v.getUint8(p+${offset + 2})<<16)`;
  if (quantiser) return `${quantiser.min}+${bits}/${quantiser.steps}*${quantiser.range}`;
  return type === BOOL ? `${bits}!==0` : bits;
}
