/**
 * All values of one component, by entity, and who wants to hear of them.
 *
 * There are two layers. The base is what the server said, as its bytes where a decoded value could
 * not give them back: rows, opaque bytes, properties. What is shown is decoded from it, unless own
 * writes lie over it ({@link Pending}). Handlers are told later, of everything at once, by what
 * differs from what they were told before: until then marks and a list of ids say what to look at.
 */
import { type ByteReader, looseTextOf, malformed, type PropValue, viewOf } from "./bytes.js";
import { Emitter, type Report, type Unsubscribe } from "./emitter.js";
import { type Component, PROPS } from "./schema.js";

/** Is called with a value and its entity. */
export type TableHandler<V> = (value: V, entity: number) => void;

/** Properties: an object without a prototype, so that every key is its own. */
export type Props = Record<string, PropValue>;

/** Keys in the properties of one entity. */
const KEYS_MAX = 256;

// What is known of an entity's value, in its marks:
/** It is in the list of those to look at. */
const LISTED = 1;
/** It is another one than handlers were told. */
const CHANGED = 2;
/** The value that handlers know is gone, even if there is one again. */
const GONE = 4;
/** Handlers know of a value. */
const KNOWN = 8;
/** It is gone unless something later in the delta says otherwise. */
export const STALE = 16;
/** The server said it. */
export const BASE = 32;
/** What handlers are being told, while they are. */
export const REMOVE = 64;
export const ADD = 128;
export const CHANGE = 256;

/** An own write that the server has not answered. */
export interface Write {
  op: number;
  /** Of a property; without one it is about the whole value. */
  key: string | undefined;
  /** A row, opaque bytes or a property's value; `undefined` removes. */
  value: PropValue | undefined;
}

/**
 * The values of one component, by entity. Rows and properties are objects that are updated in place
 * as long as their entity stays; opaque values are what their content type says, or bytes.
 */
export class Table<V> implements Iterable<[number, V]> {
  /** How many entities have a value. */
  size = 0;
  /** Grows with each tick that changes anything here. */
  version = 0;
  /** What is shown, by entity. @internal */
  readonly _all: (V | undefined)[] = [];
  /** By entity. @internal */
  readonly _marks: number[] = [];
  /** The base of packed values: rows by entity. @internal */
  _rows = new DataView(new ArrayBuffer(0));
  /** The base of other values, by entity: bytes or properties. @internal */
  readonly _base: (Uint8Array | Props | undefined)[] = [];
  /** Properties, as entity and key, that are floats with whole values. @internal */
  readonly _wholeFloats = new Set<string>();
  /** Own writes over the base, by entity, oldest first; no empty lists. @internal */
  readonly _writes = new Map<number, Write[]>();
  /** Entities of which handlers are being told. @internal */
  _told: number[] = [];
  /** How many of them; the rest is of other ticks. @internal */
  _toldCount = 0;
  /** Entities to look at when handlers are told next. Lists stay as long as they ever were. */
  #listed: number[] = [];
  #listedCount = 0;
  /** Values that are gone and that handlers know; by entity. */
  #gone = new Map<number, V>();
  #left = new Map<number, V>();
  readonly #emitter: Emitter<Record<number, TableHandler<V>>>;

  constructor(
    report: Report,
    /** Whose values these are; none in the table of entities. @internal */
    readonly component?: Component,
  ) {
    this.#emitter = new Emitter(report);
  }

  get(entity: number): V | undefined {
    return this._all[entity];
  }

  has(entity: number): boolean {
    return this._all[entity] !== undefined;
  }

  /** Entities and their values, ascending. */
  *[Symbol.iterator](): Generator<[number, V]> {
    for (let entity = 0; entity < this._all.length; entity++) {
      const value = this._all[entity];
      if (value !== undefined) yield [entity, value];
    }
  }

  *keys(): Generator<number> {
    for (const [entity] of this) yield entity;
  }

  *values(): Generator<V> {
    for (const [, value] of this) yield value;
  }

  /** Calls `handler` for each value that is there, at once, and for each that comes. */
  onAdd(handler: TableHandler<V>): Unsubscribe {
    for (const [entity, value] of this) {
      // The others are about to be told.
      if (this._marks[entity]! & KNOWN) this.#emitter.call(handler, value, entity);
    }
    return this.#emitter.on(ADD, handler);
  }

  /** Calls `handler` for each value that changes, once per tick. */
  onChange(handler: TableHandler<V>): Unsubscribe {
    return this.#emitter.on(CHANGE, handler);
  }

  /** Calls `handler` for each value that goes. */
  onRemove(handler: TableHandler<V>): Unsubscribe {
    return this.#emitter.on(REMOVE, handler);
  }

  /** Makes room for an entity. */
  #grow(entity: number): void {
    while (this._all.length <= entity) {
      this._all.push(undefined);
      this._base.push(undefined);
      this._marks.push(0);
    }
    const bytes = this._all.length * (this.component?.rows?.bytes ?? 0);
    if (bytes > this._rows.byteLength) {
      const grown = new Uint8Array(2 * bytes);
      grown.set(new Uint8Array(this._rows.buffer));
      this._rows = new DataView(grown.buffer);
    }
  }

  #list(entity: number, mark: number): void {
    const marks = this._marks[entity]!;
    if (!(marks & LISTED)) this.#listed[this.#listedCount++] = entity;
    this._marks[entity] = marks | mark | LISTED;
  }

  /** Shows a value, which differs from the one that was shown. @internal */
  _show(entity: number, value: V): void {
    if (entity >= this._all.length) this.#grow(entity);
    const isNew = this._all[entity] === undefined;
    if (isNew) this.size++;
    this._all[entity] = value;
    this.#list(entity, isNew ? 0 : CHANGED);
  }

  /** Shows no value. @internal */
  _hide(entity: number): void {
    const value = this._all[entity];
    if (value === undefined) return;
    this._all[entity] = undefined;
    this.size--;
    const marks = this._marks[entity]!;
    if (marks & KNOWN && !(marks & GONE)) this.#gone.set(entity, value);
    this.#list(entity, GONE);
  }

  /** The server says that the entity has a value; whether it had one. @internal */
  _confirm(entity: number): boolean {
    if (entity >= this._all.length) this.#grow(entity);
    const marks = this._marks[entity]!;
    this._marks[entity] = (marks & ~STALE) | BASE;
    return (marks & BASE) > 0;
  }

  /** The value is gone, unless it is confirmed before {@link Table._sweep}. @internal */
  _doubt(entity: number): void {
    if (this._marks[entity]! & BASE) this.#list(entity, STALE);
  }

  /** Doubts every value. @internal */
  _doubtAll(): void {
    for (let entity = 0; entity < this._all.length; entity++) this._doubt(entity);
  }

  /** Drops a value that is in doubt: what comes now is another one. @internal */
  _dropDoubted(entity: number): void {
    if (this._marks[entity]! & STALE) {
      this._drop(entity);
      this._hide(entity);
    }
  }

  /** The server says that there is no value. @internal */
  _drop(entity: number): void {
    if (!(this._marks[entity]! & BASE)) return;
    this._marks[entity]! &= ~(BASE | STALE);
    this.#forgetFloats(entity);
    this._base[entity] = undefined;
    if (!this._writes.has(entity)) this._hide(entity);
  }

  /** Drops what was not confirmed. @internal */
  _sweep(): void {
    for (let index = 0; index < this.#listedCount; index++) this._dropDoubted(this.#listed[index]!);
  }

  /** Takes the row that lies at `at` over. @internal */
  _setRow(entity: number, reader: ByteReader, at: number): void {
    let isOther = !this._confirm(entity);
    const { bytes } = reader;
    const rows = this._rows;
    const length = this.component!.rows!.bytes;
    const start = entity * length;
    for (let index = 0; index < length; index++) {
      const byte = bytes[at + index]!;
      if (rows.getUint8(start + index) !== byte) {
        rows.setUint8(start + index, byte);
        isOther = true;
      }
    }
    if (!isOther || (this._writes.size && this._writes.has(entity))) return;
    const codec = this.component!.rows!;
    const row = this._all[entity];
    if (row === undefined) {
      this._show(entity, codec.create(rows, start) as V);
    } else {
      codec.read(row as never, rows, start);
      this.#list(entity, CHANGED);
    }
  }

  /** Takes a copy of an opaque value over. @internal */
  _setOpaque(entity: number, bytes: Uint8Array): void {
    if (this._confirm(entity) && same(this._base[entity], bytes)) return;
    this._base[entity] = bytes.slice();
    if (!this._writes.has(entity)) this._show(entity, this._baseValue(entity)!);
  }

  /** Reads the properties of an entity: those that changed, or all if they were in doubt. @internal */
  _setProps(entity: number, reader: ByteReader): void {
    const isWhole = (this._marks[entity]! & (BASE | STALE)) !== BASE;
    const props = isWhole ? (Object.create(null) as Props) : (this._base[entity] as Props);
    if (isWhole) this.#forgetFloats(entity);
    let count = Object.keys(props).length;
    let isOther = false;
    for (let key = reader.key(); key; key = reader.key()) {
      const value = reader.value();
      const before = props[key];
      if (reader.isWholeFloat) this._wholeFloats.add(`${entity} ${key}`);
      else if (this._wholeFloats.size) this._wholeFloats.delete(`${entity} ${key}`);
      if (same(value, before)) continue;
      isOther = true;
      if (value === undefined) {
        delete props[key];
        count--;
      } else {
        props[key] = value;
        if (before === undefined && ++count > KEYS_MAX) throw malformed("keys");
      }
    }
    if (!isOther) return;
    if (!count) {
      this._drop(entity);
      return;
    }
    this._confirm(entity);
    const shown = this._all[entity] as Props | undefined;
    this._base[entity] = props;
    if (this._writes.has(entity)) return;
    if (shown && shown !== props) {
      this._base[entity] = shown;
      if (!adopt(shown, props)) return;
    }
    this._show(entity, this._base[entity] as V);
  }

  #forgetFloats(entity: number): void {
    if (!this._wholeFloats.size) return;
    for (const key of Object.keys(this._base[entity] ?? {})) {
      this._wholeFloats.delete(`${entity} ${key}`);
    }
  }

  /** A value decoded from the base; properties are the base itself. @internal */
  _baseValue(entity: number): V | undefined {
    if (!((this._marks[entity] ?? 0) & BASE)) return undefined;
    const { kind, rows } = this.component!;
    const base = this._base[entity];
    if (kind === PROPS) return base as V;
    const row = rows && new Uint8Array(this._rows.buffer, entity * rows.bytes);
    return decodeValue(this.component!, row ?? (base as Uint8Array)) as V;
  }

  /** Works out what handlers are due to be told. @internal */
  _begin(): void {
    [this.#listed, this._told] = [this._told, this.#listed];
    [this.#gone, this.#left] = [this.#left, this.#gone];
    this.#gone.clear();
    let count = 0;
    for (let index = 0; index < this.#listedCount; index++) {
      const entity = this._told[index]!;
      const marks = this._marks[entity]!;
      const isThere = this._all[entity] !== undefined;
      const known = marks & KNOWN;
      let due = known && marks & GONE ? REMOVE : 0;
      if (isThere && (due || !known)) due |= ADD;
      else if (isThere && marks & CHANGED) due = CHANGE;
      this._marks[entity] = (marks & (BASE | STALE)) | (due & REMOVE ? 0 : known) | due;
      if (due) this._told[count++] = entity;
    }
    this.#listedCount = 0;
    this._toldCount = count;
    if (count) this.version++;
  }

  /** Tells handlers one kind of what they are due to be told. @internal */
  _tell(what: number): void {
    const handlers = this.#emitter.list(what);
    if (what !== ADD && !handlers.length) return;
    for (let index = 0; index < this._toldCount; index++) {
      const entity = this._told[index]!;
      if (!(this._marks[entity]! & what)) continue;
      const value = what === REMOVE ? this.#left.get(entity) : this._all[entity];
      if (value === undefined) continue;
      if (what === ADD) this._marks[entity]! |= KNOWN;
      for (const handler of handlers) this.#emitter.call(handler, value, entity);
    }
  }
}

/** What a row's bytes say, or opaque bytes by their content type; JSON that is none is text. */
export function decodeValue({ rows, contentType }: Component, bytes: Uint8Array): unknown {
  if (rows) return rows.create(viewOf(bytes), 0);
  const isJson = contentType.startsWith("application/json");
  if (!isJson && !contentType.startsWith("text/")) return bytes;
  const text = looseTextOf(bytes);
  if (isJson) {
    try {
      return JSON.parse(text);
    } catch {}
  }
  return text;
}

/** Whether two values are equal: bytes, entities, rows and what JSON can say. */
export function same(one: unknown, other: unknown): boolean {
  if (one === other || typeof one !== "object" || typeof other !== "object") return one === other;
  if (one instanceof Uint8Array && other instanceof Uint8Array) {
    return one.length === other.length && one.every((byte, index) => byte === other[index]);
  }
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Makes an object equal to another one; says whether that changed it. */
export function adopt(target: Record<string, unknown>, source: Record<string, unknown>): boolean {
  let isOther = false;
  for (const key of Object.keys(target)) {
    if (!(key in source)) isOther = delete target[key];
  }
  for (const key of Object.keys(source)) {
    if (!same(target[key], source[key])) {
      target[key] = source[key];
      isOther = true;
    }
  }
  return isOther;
}
