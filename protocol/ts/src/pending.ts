/**
 * A member's own writes, shown before the server has taken them (SPEC.md section 8).
 *
 * ```text
 * write hp = 2 (op 7)   shown 2            the server's hp = 1 is still the base
 * delta, ackOp 6        shown 2, not 1     whatever the delta says of hp
 * delta, ackOp 7        shown is the base: 2, or what somebody wrote after it
 * Refused, op 7         shown is the base
 * ```
 *
 * A delta acknowledges exactly those writes that its state shows, so a value never goes back to
 * one from before the write.
 */
import type { PropValue } from "./bytes.js";
import { OPAQUE, PROPS } from "./schema.js";
import { adopt, BASE, decodeValue, type Props, same, type Table, type Write } from "./table.js";

/** Own writes over what the server said, in all tables of a replica. */
export class Pending {
  readonly #tables: readonly Table<unknown>[];
  readonly #mayShow: (entity: number, scope: number) => boolean;

  /** `mayShow` says whether an entity may have a value of a component with this scope. */
  constructor(
    tables: readonly Table<unknown>[],
    mayShow: (entity: number, scope: number) => boolean,
  ) {
    this.#tables = tables;
    this.#mayShow = mayShow;
  }

  /**
   * The member has sent a write under a number above those of all its writes before. `value` is a
   * row's bytes, opaque bytes, or with `key` a property's value; `undefined` removes.
   */
  write(
    op: number,
    component: number,
    entity: number,
    key: string | undefined,
    value: PropValue | undefined,
  ): void {
    const table = this.#tables[component]!;
    const writes = table._writes.get(entity) ?? [];
    if (!writes.length) {
      table._writes.set(entity, writes);
      // What is shown stays the same object, so from here on the base is another.
      const base = table._base[entity];
      if (base && table.component!.kind === PROPS) table._base[entity] = copyOf(base as Props);
    }
    writes.push({ op, key, value });
    this.#show(table, entity, writes);
  }

  /** A delta was applied whose `ackOp` this is. */
  ack(op: number): void {
    this.#keep((write) => write.op > op);
  }

  /** The server refused a write. Those before and after it are not concerned. */
  refused(op: number): void {
    this.#keep((write) => write.op !== op);
  }

  /** Nothing that was written before will be answered. */
  clear(): void {
    this.#keep(() => false);
  }

  /** The next delta shows what became of the writes below `op`; those from it on are still to come. */
  beginAgain(op: number): void {
    for (const table of this.#tables) {
      for (const writes of table._writes.values()) {
        for (const write of writes) if (write.op < op) write.op = 0;
      }
    }
  }

  #keep(keeps: (write: Write) => boolean): void {
    for (const table of this.#tables) {
      if (!table._writes.size) continue;
      for (const [entity, before] of table._writes) {
        const writes = before.filter(keeps);
        if (writes.length) table._writes.set(entity, writes);
        else table._writes.delete(entity);
        this.#show(table, entity, writes);
      }
    }
  }

  /** Shows the base with the writes over it. */
  #show(table: Table<unknown>, entity: number, writes: Write[]): void {
    const { kind, scope } = table.component!;
    let value = table._baseValue(entity);
    if (kind === PROPS) value = copyOf(value as Props | undefined);
    for (const write of writes) {
      if (write.key === undefined) {
        value =
          write.value === undefined
            ? undefined
            : decodeValue(table.component!, write.value as Uint8Array);
        continue;
      }
      value ??= copyOf(undefined);
      const props = value as Props;
      if (write.value === undefined) delete props[write.key];
      else props[write.key] = write.value;
    }
    if (kind === PROPS && value && !Object.keys(value).length) value = undefined;
    const shown = table._all[entity];
    if (value === undefined || !this.#mayShow(entity, scope)) table._hide(entity);
    else if (shown === undefined) table._show(entity, value);
    else if (kind === OPAQUE) {
      if (!same(shown, value)) table._show(entity, value);
    } else if (adopt(shown as Props, value as Props)) table._show(entity, shown);
    // Without writes the base of properties is what is shown.
    if (kind === PROPS && !writes.length && table._marks[entity]! & BASE) {
      table._base[entity] = table._all[entity] as Props;
    }
  }
}

const copyOf = (props: Props | undefined): Props => Object.assign(Object.create(null), props);
