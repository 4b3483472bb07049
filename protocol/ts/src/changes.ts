/**
 * What a write asks for (SPEC.md section 8): the body of a delta chunk, in the other direction.
 *
 * Entities that the write adds have no ids yet: they are numbered from 65,536 on, and the answer says
 * which ids they got.
 */
import { ByteWriter, bytesOf, ENTITIES_MAX, type PropValue, viewOf } from "./bytes.js";
import { checkProperty } from "./properties.js";
import { type Component, PACKED, PROPS, type Schema } from "./schema.js";
import type { ComponentOf, Shape, Writable } from "./shape.js";

/** An entity that a write adds. It may stand for an entity wherever the same write names one. */
export interface NewEntity {
  readonly entity: number;
}

/**
 * Collects the changes of one write; {@link ChangesWriter} says what each throws. Those of one
 * component take effect in the order of the calls.
 */
export interface Changes<S extends Shape> {
  /** Adds an entity of the writer's own, or of the room. */
  add(owner?: "me" | "room"): NewEntity;
  /** Sets a value: a row, a text or bytes whole; of properties those that are named. */
  set<K extends ComponentOf<S>>(
    component: K,
    entity: number | NewEntity,
    value: Writable<S["state"][K]>,
  ): void;
  /** Takes a component off an entity. */
  remove(component: ComponentOf<S>, entity: number | NewEntity): void;
  /** Removes an entity that is there. */
  despawn(entity: number): void;
}

/** What the changes do to a value that is there, for {@link Pending}. */
export interface Effect {
  component: number;
  entity: number;
  /** Of a property. */
  key: string | undefined;
  /** A row, opaque bytes or a property's value; `undefined` removes. */
  value: PropValue | undefined;
}

interface Section {
  kind: number;
  component: Component;
  /** What was written about each entity. */
  items: Map<number, ByteWriter>;
}

/** Entities that one write may add. */
const ADDED_MAX = 256;

const ROWS = 1;
const REMOVED = 2;
const OPAQUE_VALUES = 3;
const PROPERTIES = 4;

/**
 * Collects the changes of one write. Those of one component take effect in the order of the calls.
 * Every method throws a `RangeError` that says what does not fit the room's description.
 */
export class ChangesWriter {
  /** What to show before the server has answered. */
  readonly effects: Effect[] = [];
  readonly #schema: Schema;
  readonly #member: number;
  readonly #leaves = new Set<number>();
  readonly #owners: number[] = [];
  /** In the order of their first item. */
  readonly #sections: Section[] = [];

  constructor(schema: Schema, member: number) {
    this.#schema = schema;
    this.#member = member;
  }

  /** Adds an entity of the writer's own, or of the room. */
  add(owner: "me" | "room" = "me"): NewEntity {
    if (this.#owners.length >= ADDED_MAX)
      throw new RangeError(`more than ${ADDED_MAX} entities added`);
    return { entity: ENTITIES_MAX - 1 + this.#owners.push(owner === "me" ? this.#member : 0) };
  }

  /** Removes an entity that is there. */
  despawn(entity: number): void {
    this.#leaves.add(idOf(entity, ENTITIES_MAX));
  }

  /**
   * Sets a value: a row whole, with all its fields; an opaque value as bytes, as text, or as what
   * JSON can say where the component is JSON; of properties the keys that are named, where
   * `undefined` and `null` remove one.
   */
  set(component: string, entity: number | NewEntity, value: unknown): void {
    const desc = this.#component(component);
    const { kind, rows, valueBytesMax } = desc;
    if (value === undefined) {
      this.remove(component, entity);
    } else if (kind === PACKED) {
      const row = new Uint8Array(rows!.bytes);
      rows!.write(Object(value), viewOf(row), 0, component);
      this.#item(ROWS, desc, entity, row, undefined, row).put(row);
    } else if (kind === PROPS) {
      for (const [key, prop] of Object.entries(value as Record<string, PropValue | null>)) {
        checkProperty(component, key, prop);
        const shown = prop ?? undefined;
        const item = this.#item(PROPERTIES, desc, entity, shown, key);
        item.sized(bytesOf(key));
        item.value(shown);
      }
    } else {
      const bytes = opaqueBytes(desc, value);
      if (bytes.length > valueBytesMax) {
        throw new RangeError(`${component}: ${bytes.length} bytes, at most ${valueBytesMax}`);
      }
      this.#item(OPAQUE_VALUES, desc, entity, bytes, undefined, bytes).sized(bytes);
    }
  }

  /** Takes a component off an entity. */
  remove(component: string, entity: number | NewEntity): void {
    this.#item(REMOVED, this.#component(component), entity, undefined);
  }

  /** The bytes of the write. */
  finish(): Uint8Array {
    const writer = new ByteWriter();
    let before = -1;
    const gap = (id: number) => {
      writer.varint(id - before);
      before = id;
    };
    const ascending = (one: number, other: number) => one - other;
    for (const id of [...this.#leaves].sort(ascending)) gap(id);
    writer.u8(0);
    before = -1;
    this.#owners.forEach((owner, index) => {
      gap(ENTITIES_MAX + index);
      writer.varint(owner);
    });
    writer.u8(0);
    for (const { kind, component, items } of this.#sections) {
      writer.u8(kind);
      writer.u8(component.id);
      before = -1;
      for (const id of [...items.keys()].sort(ascending)) {
        gap(id);
        writer.put(items.get(id)!.finish());
        if (kind === PROPERTIES) writer.u8(0);
      }
      writer.u8(0);
    }
    return writer.finish();
  }

  #component(name: string): Component {
    const component = this.#schema.component(name);
    if (!component) throw new RangeError(`this room has no component ${name}`);
    return component;
  }

  /** Where to write about an entity; what `whole` was written about it before is gone. */
  #item(
    kind: number,
    component: Component,
    target: number | NewEntity,
    value: PropValue | undefined,
    key?: string,
    whole?: Uint8Array,
  ): ByteWriter {
    const entity = idOf(
      typeof target === "object" ? target.entity : target,
      ENTITIES_MAX + this.#owners.length,
    );
    // What refers to an entity without an id cannot be shown yet.
    const refers = (value as { entity?: number } | undefined)?.entity ?? 0;
    if (Math.max(entity, refers) < ENTITIES_MAX) {
      this.effects.push({ component: component.id, entity, key, value });
    }
    // Behind a section of another kind the same kind begins anew: a row that is set after its
    // removal must also lie there.
    let section = this.#sections.filter((other) => other.component === component).at(-1);
    if (section?.kind !== kind) {
      section = { kind, component, items: new Map() };
      this.#sections.push(section);
    }
    const { items } = section;
    let item = items.get(entity);
    if (!item || whole) {
      item = new ByteWriter();
      items.set(entity, item);
    }
    return item;
  }
}

function idOf(entity: number, limit: number): number {
  if (!Number.isInteger(entity) || entity < 0 || entity >= limit) {
    throw new RangeError(`${entity} is no entity`);
  }
  return entity;
}

function opaqueBytes({ name, contentType }: Component, value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return value.slice();
  const text = contentType.startsWith("application/json") ? JSON.stringify(value) : value;
  if (typeof text !== "string") throw new RangeError(`${name}: neither text nor bytes`);
  return bytesOf(text);
}
