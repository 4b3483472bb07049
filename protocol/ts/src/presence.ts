import { TickloomError } from "./errors.js";
import type { Entity } from "./replica.js";
import type { AnyShape, ComponentOf, Shape, Writable } from "./shape.js";
import type { Table } from "./table.js";
import type { Timers } from "./timers.js";

/** What {@link Presence} needs of its room. */
export interface PresenceLine {
  readonly entity: number;
  readonly isReady: boolean;
  /** The tables of components that members write on their own entities, by name. */
  readonly ownTables: ReadonlyMap<string, Table<unknown>>;
  readonly entities: Table<Entity>;
  table(component: string): Table<unknown> | undefined;
  writeOwn(values: Record<string, unknown>): Promise<unknown>;
}

/** Somebody else in the room. */
export interface Other<S extends Shape = AnyShape> {
  readonly entity: number;
  readonly member: number;
  readonly name: string;
  /** Whether their connection broke and their seat is kept. */
  readonly isAway: boolean;
  /** What they say of themselves: the values of components that members write on their own. */
  readonly values: { readonly [K in ComponentOf<S>]?: S["state"][K] };
}

const isPlain = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !ArrayBuffer.isView(value);

/**
 * What members say of themselves as often as it changes: cursors, selections, who is typing. It is
 * state on the member's own entity, so those who come late see it, and it goes with the member.
 */
export class Presence<S extends Shape = AnyShape> {
  readonly #line: PresenceLine;
  readonly #timers: Timers;
  /** Everything that was ever set, for a seat that begins anew. */
  #all: Record<string, unknown> = {};
  /** What the server was not told yet. */
  #unsaid: Record<string, unknown> = {};
  #isUnsaid = false;
  #timer: unknown;
  #saidUs = Number.NEGATIVE_INFINITY;
  #others: readonly Other<S>[] = [];
  #othersVersion = -1;

  /** @internal */
  constructor(line: PresenceLine, timers: Timers) {
    this.#line = line;
    this.#timers = timers;
  }

  /**
   * Says so, now or `throttleMs` (50 unless said) after the last time; of what changes meanwhile
   * only the newest goes out. Values are those of components that members may write on their own.
   */
  set(
    values: { [K in ComponentOf<S>]?: Writable<S["state"][K]> },
    { throttleMs = 50 }: { throttleMs?: number } = {},
  ): void {
    for (const component of Object.keys(values)) {
      if (!this.#line.ownTables.has(component)) {
        throw new TickloomError("UnknownName", `members do not write ${component} on their own`);
      }
    }
    merge(this.#all, values);
    merge(this.#unsaid, values);
    this.#isUnsaid = true;
    this.#arm(throttleMs - (this.#timers.nowUs() - this.#saidUs) / 1000);
  }

  /** Everybody else who is here, in view where the room has interest. The same list until it changes. */
  get others(): readonly Other<S>[] {
    const { entity: own, entities, ownTables } = this.#line;
    const names = this.#line.table("name") as Table<string> | undefined;
    const away = this.#line.table("away");
    let version = entities.version + (names?.version ?? 0) + (away?.version ?? 0);
    for (const table of ownTables.values()) {
      version += table.version;
    }
    if (version !== this.#othersVersion) {
      this.#othersVersion = version;
      const others: Other<S>[] = [];
      for (const [entity, name] of names ?? []) {
        if (entity !== own) {
          const values: Record<string, unknown> = {};
          for (const [component, table] of ownTables) {
            values[component] = table.get(entity);
          }
          const member = entities.get(entity)?.owner ?? 0;
          const isAway = !!away?.has(entity);
          others.push({ entity, member, name, isAway, values: values as Other<S>["values"] });
        }
      }
      this.#others = others;
    }
    return this.#others;
  }

  /** There is a seat again. One that begins anew has to be told everything. @internal */
  resume(isSame: boolean): void {
    if (!isSame) {
      this.#unsaid = {};
      merge(this.#unsaid, this.#all);
      this.#isUnsaid = Object.keys(this.#all).length > 0;
    }
    this.#arm(0);
  }

  /** @internal */
  stop(): void {
    this.#timers.clear(this.#timer);
    this.#timer = undefined;
    this.#isUnsaid = false;
  }

  #arm(ms: number): void {
    if (!this.#isUnsaid || this.#timer !== undefined) {
      return;
    }
    if (ms <= 0 && this.#line.isReady) {
      this.#say();
      return;
    }
    this.#timer = this.#timers.set(
      () => {
        this.#timer = undefined;
        this.#arm(this.#line.isReady ? 0 : 100);
      },
      Math.max(ms, 0),
    );
  }

  #say(): void {
    const values = this.#unsaid;
    this.#unsaid = {};
    this.#isUnsaid = false;
    this.#saidUs = this.#timers.nowUs();
    this.#line.writeOwn(values).catch((error: TickloomError) => {
      if (error.code === "Busy") {
        // What was set since then is newer.
        merge(values, this.#unsaid);
        this.#unsaid = values;
        this.#isUnsaid = true;
        this.#arm(error.retryMs || 50);
      }
    });
  }
}

/** Puts newer values over older ones, rows and properties key by key. */
function merge(into: Record<string, unknown>, values: Record<string, unknown>): void {
  for (const [component, value] of Object.entries(values)) {
    into[component] = isPlain(value) ? { ...(into[component] as object), ...value } : value;
  }
}
