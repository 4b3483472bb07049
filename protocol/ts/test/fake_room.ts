// What interpolate and predict need of a room, without a room.
import { ServerClock, Timetable } from "../src/clock.js";

export type Row = Record<string, number | boolean>;
type Handler = (value: never, entity: number) => void;
/** A body as {@link BODY} describes it. */
export type Body = { x: number; yaw: number; hp: number; isOut: boolean };

const field = (name: string, type: number, interpolation: number, min = 0, max = 1) => ({
  name,
  type,
  mode: 0,
  min,
  max,
  interpolation,
});

/** A place in 16 bits, a heading of a full turn, an integer and a boolean that jump. */
export const BODY = [
  field("x", 9, 1, -512, 512),
  field("yaw", 8, 2, 0, 2 * Math.PI),
  field("hp", 0, 0),
  field("isOut", 7, 0),
];

export class FakeTable<V extends object> {
  readonly #values = new Map<number, V>();
  readonly #handlers: Record<string, Set<Handler>> = {};
  readonly #due: [string, V, number][] = [];

  get = (entity: number) => this.#values.get(entity);

  onAdd(handler: Handler) {
    for (const [entity, value] of this.#values) {
      handler(value as never, entity);
    }
    return this.#on("add", handler);
  }
  onChange = (handler: Handler) => this.#on("change", handler);
  onRemove = (handler: Handler) => this.#on("remove", handler);

  set(entity: number, fields: Partial<V>) {
    const value = this.#values.get(entity);
    if (value) {
      this.#due.push(["change", Object.assign(value, fields), entity]);
    } else {
      this.#values.set(entity, { ...fields } as V);
      this.#due.push(["add", this.#values.get(entity)!, entity]);
    }
  }

  remove(entity: number) {
    this.#due.push(["remove", this.#values.get(entity)!, entity]);
    this.#values.delete(entity);
  }

  notify() {
    for (const kind of ["remove", "add", "change"]) {
      for (const [, value, entity] of this.#due.filter((due) => due[0] === kind)) {
        for (const handler of this.#handlers[kind] ?? []) {
          handler(value as never, entity);
        }
      }
    }
    this.#due.length = 0;
  }

  get handlersCount() {
    return Object.values(this.#handlers).reduce((sum, handlers) => sum + handlers.size, 0);
  }

  #on(kind: string, handler: Handler) {
    this.#handlers[kind] ??= new Set();
    const handlers = this.#handlers[kind].add(handler);
    return () => void handlers.delete(handler);
  }
}

interface RoomSpec {
  tickUs?: number;
  fields?: typeof BODY;
  motion?: boolean;
  rings?: { every: number }[];
}

/** A room whose server has the clock of the client. */
export class FakeRoom<V extends object = Row, I extends object = Row> {
  nowUs = 1_000_000;
  tick = 0;
  entity = 1;
  readonly table = new FakeTable<V>();
  readonly state = { body: this.table };
  readonly server = new ServerClock();
  readonly clock: {
    timers: { nowUs(): number };
    server: ServerClock;
    timetable: Timetable;
  };
  readonly schema;
  readonly input = {
    view: undefined as { readonly renderTick: number } | undefined,
    ackSeq: 0,
    row: {} as I,
    onSent: (handler: (seq: number, row: I) => void) => this.#on("sent", handler),
  };
  readonly #handlers: Record<string, Set<(...args: never[]) => void>> = {};

  constructor({ tickUs = 50_000, fields = BODY, motion = false, rings }: RoomSpec = {}) {
    this.clock = {
      timers: { nowUs: () => this.nowUs },
      server: this.server,
      timetable: new Timetable({ tick: 0, tickUs, epochUs: 1_000_000 }),
    };
    this.schema = {
      component: (name: string) => (name === "body" ? { fields, motion } : undefined),
      interest: rings && { rings },
    };
    this.learnTime(this.nowUs);
  }

  /** A ping is answered at once by a server whose clock is this one. */
  learnTime(serverUs: number) {
    const sync = { clientUs: this.nowUs, serverUs, tick: 0, epochUs: 0, scaleQ16: 65536 };
    this.server.handleSync(this.nowUs, sync);
  }

  on(event: string, handler: (...args: never[]) => void) {
    return this.#on(event, handler);
  }

  emit(event: string, ...args: unknown[]) {
    for (const handler of this.#handlers[event] ?? []) {
      handler(...(args as never[]));
    }
  }

  /** A delta comes that brings these rows. */
  delta(tick: number, base: number, rows: Record<number, Partial<V>> = {}) {
    this.tick = tick;
    for (const [entity, row] of Object.entries(rows)) {
      this.table.set(+entity, row);
    }
    this.table.notify();
    this.emit("tick", { tick, base, isSnapshot: base === 0 });
  }

  get handlersCount() {
    const own = Object.values(this.#handlers).reduce((sum, handlers) => sum + handlers.size, 0);
    return own + this.table.handlersCount;
  }

  #on(event: string, handler: (...args: never[]) => void) {
    this.#handlers[event] ??= new Set();
    const handlers = this.#handlers[event].add(handler);
    return () => void handlers.delete(handler);
  }
}
