import { ChangesWriter } from "./changes.js";
import { TickloomError } from "./errors.js";
import type { Room } from "./room.js";
import type { AnyShape, ComponentOf, Shape, Writable } from "./shape.js";
import type { Table } from "./table.js";

/** What {@link writePolicy} calls "Owner": members write the component on their own entities. */
const OWNER = 1;

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
  readonly #room: Room;
  /** The components that members write on their own. */
  readonly #components: readonly string[];
  /** Everything that was ever set, for a seat that begins anew. */
  #all: Record<string, unknown> = {};
  /** What the server was not told yet. */
  #unsaid: Record<string, unknown> = {};
  #timer: unknown;
  #saidUs = Number.NEGATIVE_INFINITY;
  #others: readonly Other<S>[] = [];
  #othersVersion = -1;

  /** @internal */
  constructor(room: Room) {
    this.#room = room;
    this.#components = room.schema.components
      .filter(({ write }) => write === OWNER)
      .map(({ name }) => name);
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
      if (!this.#components.includes(component)) {
        throw new TickloomError("UnknownName", `members do not write ${component} on their own`);
      }
    }
    const unsaid = { ...this.#unsaid };
    merge(unsaid, values);
    // Throws for what cannot be said, which is then forgotten.
    this.#put(new ChangesWriter(this.#room.schema, 0), unsaid);
    this.#unsaid = unsaid;
    merge(this.#all, values);
    this.#arm(throttleMs - (this.#room._client._timers.nowUs() - this.#saidUs) / 1000);
  }

  /** Everybody else who is here, in view where the room has interest. The same list until it changes. */
  get others(): readonly Other<S>[] {
    const { entity: own, entities, state } = this.#room;
    const names: Table<string> | undefined = state.name;
    const tables = [entities, names, state.away, ...this.#components.map((name) => state[name])];
    const version = tables.reduce((sum, table) => sum + (table?.version ?? 0), 0);
    if (version !== this.#othersVersion) {
      this.#othersVersion = version;
      this.#others = [...(names ?? [])]
        .filter(([entity]) => entity !== own)
        .map(([entity, name]) => ({
          entity,
          member: entities.get(entity)?.owner ?? 0,
          name,
          isAway: !!state.away?.has(entity),
          values: Object.fromEntries(
            this.#components.map((component) => [component, state[component]!.get(entity)]),
          ) as Other<S>["values"],
        }));
    }
    return this.#others;
  }

  /** There is a seat again. One that begins anew has to be told everything. @internal */
  _resume(isSame: boolean): void {
    if (!isSame) {
      this.#unsaid = {};
      merge(this.#unsaid, this.#all);
    }
    this.#arm(0);
  }

  /** @internal */
  _stop(): void {
    this.#room._client._timers.clear(this.#timer);
    this.#unsaid = {};
  }

  #arm(ms: number): void {
    const { _client, _isReady, status } = this.#room;
    const isIdle = status === "left" || !Object.keys(this.#unsaid).length;
    if (isIdle || this.#timer !== undefined) {
      return;
    }
    if (ms <= 0 && _isReady) {
      this.#say();
      return;
    }
    this.#timer = _client._timers.set(
      () => {
        this.#timer = undefined;
        this.#arm(this.#room._isReady ? 0 : 100);
      },
      Math.max(ms, 0),
    );
  }

  #say(): void {
    const room = this.#room;
    const values = this.#unsaid;
    this.#unsaid = {};
    this.#saidUs = room._client._timers.nowUs();
    try {
      room
        .write((changes) => this.#put(changes, values))
        .catch((error: TickloomError) => {
          if (error.code === "Busy" || error.code === "Lost") {
            // What was set since then is newer.
            merge(values, this.#unsaid);
            this.#unsaid = values;
            this.#arm(error.retryMs || 50);
          }
        });
    } catch (error) {
      // What was whole over a value of the room's need not be whole without it.
      room._client._report(error);
    }
  }

  #put(changes: Pick<ChangesWriter, "set">, values: Record<string, unknown>): void {
    const room = this.#room;
    for (const component of Object.keys(values)) {
      changes.set(component, room.entity, room._whole(component, room.entity, values[component]));
    }
  }
}

/** Puts newer values over older ones, rows and properties key by key. */
function merge(into: Record<string, unknown>, values: Record<string, unknown>): void {
  for (const [component, value] of Object.entries(values)) {
    into[component] = isPlain(value) ? { ...(into[component] as object), ...value } : value;
  }
}
