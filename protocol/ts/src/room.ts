import { Asking, type AskOptions, bounded } from "./asking.js";
import { bytesOf } from "./body.js";
import { type Changes, ChangesWriter, type Effect } from "./changes.js";
import { type ServerClock, Timetable } from "./clock.js";
import { Emitter, Handlers, type Report, type Unsubscribe } from "./emitter.js";
import { TickloomError } from "./errors.js";
import type { RoomEvent } from "./events.js";
import { InputSender } from "./input.js";
import { Lead } from "./lead.js";
import { type ClientKind, encodeClient } from "./messages.js";
import { Presence } from "./presence.js";
import { encodeProperties } from "./properties.js";
import { type Entity, Replica, type Verify } from "./replica.js";
import { RoomClock } from "./room_clock.js";
import { Schema } from "./schema.js";
import type { AnyShape, ComponentOf, InputOf, Shape, TopicOf, Writable } from "./shape.js";
import type { Stats } from "./stats.js";
import type { Props, Table } from "./table.js";
import type { Timers } from "./timers.js";
import {
  type Accepted,
  type ClientMessages,
  type Delta,
  type Joined,
  type LeaveReason,
  type Refused,
  resyncReason,
  type TimeSync,
  writePolicy,
} from "./wire.gen.js";

/** Snapshots asked for in a row, without one that could be applied, after which the client leaves. */
const RESYNCS_MAX = 8;

/** What a room needs of its client. @internal */
export interface Line {
  readonly timers: Timers;
  readonly report: Report;
  readonly stats: Stats;
  readonly serverClock: ServerClock;
  readonly compileRows: boolean;
  readonly verify: Verify | undefined;
  readonly offlineBytesMax: number;
  /** Whether messages about the room's seat reach the server now. */
  readonly isSeated: boolean;
  /** The same, and not many bytes wait before them. */
  readonly isReady: boolean;
  send(bytes: Uint8Array): void;
  /** The server sends what cannot be read: there is no point in going on. */
  giveUp(error: TickloomError): void;
}

/** What was said or asked while there was no connection. */
interface Unsent {
  readonly op: number;
  readonly bytes: Uint8Array;
  /** Whether it means the same in a seat that begins anew: words do, writes may not. */
  readonly isForAnySeat: boolean;
}

/** What brings a client back to its seat. @internal */
export interface Ticket {
  member: number;
  token: Uint8Array;
  tick: number;
  eventsFrom: number;
  privateFrom: number;
}

/** What a delta did to a room. */
export interface TickInfo {
  /** The room's tick now. */
  readonly tick: number;
  /** The tick it had before; 0 when everything was sent anew. */
  readonly base: number;
  readonly isSnapshot: boolean;
  /** Ids of entities that came, changed or went. Valid during the call: the array is used again. */
  readonly changed: Uint16Array;
}

/** What happens to a room, with what its handlers are told. */
export interface RoomEvents {
  /** State changed; every table and its handlers are up to date. Events of this tick follow. */
  tick(info: TickInfo): void;
  /** The connection broke; the seat is kept for a while, and the client comes back by itself. */
  dropped(): void;
  /**
   * There is a connection again. `isSame`: it is the seat from before. `recovered`: it is, and
   * nothing that was said meanwhile is missing.
   */
  resumed(how: { isSame: boolean; recovered: boolean }): void;
  /** The seat is gone, and the client does not come back by itself. Nothing follows. */
  left(why: { reason: LeaveReason | "Refused" | "Closed"; message: string }): void;
  /** So many events did not reach this client, because it fell far behind. */
  missed(count: number): void;
  /** The server said no to something that was sent, whether or not somebody waits for the answer. */
  refused(error: TickloomError): void;
}

/** Where a room's seat is. */
export type RoomStatus = "joined" | "away" | "left";

/** A seat in a room, and the room's state as far as this member is shown it. */
export class Room<S extends Shape = AnyShape> {
  /** The room's type and its name, which the server may have chosen. */
  readonly type: string;
  /** What the room is made of: components, topics, the input row. */
  readonly schema: Schema;
  /** The values of each component, by its name. */
  readonly state: { readonly [K in ComponentOf<S>]: Table<S["state"][K]> };
  /** Everything that is in the room or in view, with its owner. Entity 0 is the room itself. */
  readonly entities: Table<Entity>;
  /** The server's time, and when ticks are due. */
  readonly clock: RoomClock;
  /** What the player does. */
  readonly input: InputSender<InputOf<S>>;
  /** What members say of themselves. */
  readonly presence: Presence<S>;
  readonly #line: Line;
  readonly #replica: Replica;
  readonly #emitter: Emitter<RoomEvents>;
  readonly #topics = new Map<string, Handlers<[RoomEvent]>>();
  readonly #asking = new Asking();
  readonly #ownTables = new Map<string, Table<unknown>>();
  readonly #lead: Lead;
  #joined: Joined;
  #name: string;
  #status: RoomStatus = "joined";
  #loadLevel = 0;
  /** What was said before this client came, for handlers that come later still. */
  #history: RoomEvent[] = [];
  #unsent: Unsent[] = [];
  #unsentBytes = 0;
  #lostCount = 0;
  #resyncs = 0;
  #whenShown: (() => void) | undefined;

  /** @internal */
  constructor(line: Line, type: string, name: string, joined: Joined, whenShown: () => void) {
    this.#line = line;
    this.type = type;
    this.#name = joined.room || name;
    this.#joined = joined;
    this.#whenShown = whenShown;
    this.schema = new Schema(joined.schema, line.compileRows);
    this.#replica = new Replica(this.schema, joined.member, line.verify, line.report);
    this.#emitter = new Emitter(line.report);
    this.entities = this.#replica.entities;
    const tables: Record<string, Table<unknown>> = {};
    for (const component of this.schema.components) {
      const table = this.#replica.tables[component.id]!;
      tables[component.name] = table;
      if (writePolicy[component.write] === "Owner") {
        this.#ownTables.set(component.name, table);
      }
    }
    this.state = tables as typeof this.state;
    this.clock = new RoomClock(line.timers, line.serverClock, new Timetable(joined));
    this.#lead = new Lead(line.timers.nowUs(), joined.tickUs);
    this.input = this.#newInput();
    this.presence = this.#newPresence();
  }

  /** The room's name: what was asked for, or what the server chose. */
  get name(): string {
    return this.#name;
  }

  /** This client's member id. Another seat has another one. */
  get member(): number {
    return this.#joined.member;
  }

  /** This client's own entity; 0 for a spectator. */
  get entity(): number {
    return this.#joined.entity;
  }

  get isSpectator(): boolean {
    return this.#joined.spectator;
  }

  get status(): RoomStatus {
    return this.#status;
  }

  /** The tick whose state is shown; 0 before the first. */
  get tick(): number {
    return this.#replica.tick;
  }

  /** Milliseconds from one tick to the next; 0 in a room that ticks when something changed. */
  get tickMs(): number {
    return this.#joined.tickUs / 1000;
  }

  /** State comes every so many ticks. */
  get sendEvery(): number {
    return this.#joined.sendEvery;
  }

  /** Milliseconds that the seat is kept when the connection breaks. */
  get graceMs(): number {
    return this.#joined.graceMs;
  }

  /** 0 to 4: how much the server leaves out to keep up (SPEC.md section 11). */
  get loadLevel(): number {
    return this.#loadLevel;
  }

  /** Calls `handler` whenever this happens. */
  on<E extends keyof RoomEvents>(event: E, handler: RoomEvents[E]): Unsubscribe {
    return this.#emitter.on(event, handler);
  }

  /**
   * Calls `handler` with everything that is said on a topic, after the state of its tick; first,
   * at once, with what was said before this client came, on topics that have a history.
   */
  onEvent(topic: TopicOf<S>, handler: (event: RoomEvent) => void): Unsubscribe {
    this.#topic(topic);
    let handlers = this.#topics.get(topic);
    if (!handlers) {
      handlers = new Handlers(this.#line.report);
      this.#topics.set(topic, handlers);
    }
    const told = new Handlers<[RoomEvent]>(this.#line.report);
    told.add(handler);
    for (const event of this.#history) {
      if (event.topic === topic) {
        told.call(event);
      }
    }
    return handlers.add(handler);
  }

  /**
   * Says something to everybody in the room, or to the members in `to`. A text or bytes travel as
   * they are, anything else as JSON; at most 16,384 bytes. Without a connection it is kept for the
   * next one; returns false when there is no place for it. `request` tells whether it was taken.
   */
  send(topic: TopicOf<S>, body: Uint8Array | string | object, to: readonly number[] = []): boolean {
    const publish = { op: 0, topic: this.#topic(topic), to: [...to], body: bytesOf(body) };
    return this.#say(0, encodeClient("Publish", publish), true);
  }

  /** The same, and resolves when it is said: with the tick whose state comes with it. */
  async request(
    topic: TopicOf<S>,
    body: Uint8Array | string | object,
    { to = [], ...options }: AskOptions & { to?: readonly number[] } = {},
  ): Promise<{ tick: number }> {
    const publish = { topic: this.#topic(topic), to: [...to], body: bytesOf(body) };
    return this.#ask("Publish", publish, options);
  }

  /**
   * Changes the room's state: all of what `build` says happens, or nothing. Values of entities
   * that are there are shown at once, and taken back when the server refuses.
   *
   * With `ifTick` it is refused with `"Conflict"` if anything it touches changed after that tick.
   */
  write(
    build: (changes: Changes<S>) => void,
    { ifTick = 0, ...options }: AskOptions & { ifTick?: number } = {},
  ): Promise<{ tick: number; entities: readonly number[] }> {
    const writer = new ChangesWriter(this.schema, this.member);
    build(writer as unknown as Changes<S>);
    return this.#ask("Write", { ifTick, changes: writer.finish() }, options, writer.effects);
  }

  /**
   * Sets one value: a row or properties in part, a text or bytes whole; a null removes a property.
   * It is shown at once, and taken back when the server refuses.
   */
  set<K extends ComponentOf<S>>(
    component: K,
    entity: number,
    value: Writable<S["state"][K]>,
    options?: AskOptions,
  ): Promise<{ tick: number }> {
    return this.write(
      (changes) => changes.set(component, entity, this.#whole(component, entity, value)),
      options,
    );
  }

  /** Changes what the room is to newcomers. Only the host may. What is left out stays as it is. */
  async configure(
    changes: { locked?: boolean; listed?: boolean; password?: string; metadata?: Props },
    options: AskOptions = {},
  ): Promise<void> {
    const flag = (is: boolean | undefined) => (is === undefined ? 0 : is ? 2 : 1);
    const { locked, listed, password, metadata } = changes;
    const fields = {
      locked: flag(locked),
      listed: flag(listed),
      password,
      metadata: metadata && encodeProperties(metadata),
    };
    await this.#ask("Configure", fields, options);
  }

  /** Sends a member away, with a sentence for them. Only the host may. */
  async kick(member: number, message = "", options: AskOptions = {}): Promise<void> {
    await this.#ask("Kick", { member, message }, options);
  }

  /** Looks at another place, in a room with interest that lets this client (SPEC.md section 6). */
  lookAt(x: number, y: number): void {
    this.#say(0, encodeClient("Interest", { x, y }), false);
  }

  /** Looks at the own entity again. */
  lookAtOwn(): void {
    this.#say(0, encodeClient("Interest", { own: true }), false);
  }

  /** Gives the seat back. Resolves when the server said so, or there was no connection anyway. */
  leave(options: AskOptions = {}): Promise<void> {
    if (this.#status !== "joined" || !this.#line.isSeated) {
      this._left("Asked", "");
      return Promise.resolve();
    }
    return bounded(this.#line.timers, options, (resolve) => {
      this.on("left", () => resolve());
      this.#line.send(encodeClient("Leave", {}));
    });
  }

  /** What brings the client back over another connection, if anything does. @internal */
  get _ticket(): Ticket | undefined {
    const { member, token } = this.#joined;
    if (!token?.length) {
      return undefined;
    }
    const { room, private: own } = this.#replica.eventsFrom();
    return { member, token, tick: this.tick, eventsFrom: room, privateFrom: own };
  }

  /** A replica of this room, for checks. @internal */
  get _replica(): Replica {
    return this.#replica;
  }

  /** There is a seat over a new connection; false when it is in a room made of something else. @internal */
  _rejoined(joined: Joined, isSame: boolean): boolean {
    if (!isSame && JSON.stringify(joined.schema) !== JSON.stringify(this.#joined.schema)) {
      return false;
    }
    this.#joined = joined;
    this.#name = joined.room || this.#name;
    this.#status = "joined";
    this.clock.timetable = new Timetable(joined);
    this.input.beginAgain();
    if (isSame) {
      // Nobody knows what became of writes that were sent; those that were not are still to come.
      this.#replica.continueWith(this.#unsent.find(({ op }) => op)?.op);
    } else {
      this.#replica.beginAgain(joined.member);
    }
    this.#flush(isSame);
    this.presence.resume(isSame);
    this.#emitter.emit("resumed", { isSame, recovered: joined.recovered });
    return true;
  }

  /** The connection is gone. @internal */
  _dropped(): void {
    if (this.#status === "joined") {
      this.#status = "away";
      const isUnsent = (op: number) => this.#unsent.some((unsent) => unsent.op === op);
      const lost = new TickloomError("Lost", "the connection broke before the answer came");
      this.#asking.giveUp(lost, isUnsent);
      this.#emitter.emit("dropped");
    }
  }

  /** The seat is gone. @internal */
  _left(reason: LeaveReason | "Refused" | "Closed", message: string): void {
    if (this.#status !== "left") {
      this.#status = "left";
      this.input.stop();
      this.presence.stop();
      this.#unsent = [];
      this.#asking.giveUp(new TickloomError("Left", message || "the seat is gone"), () => false);
      this.#emitter.emit("left", { reason, message });
    }
  }

  /** @internal */
  _delta(delta: Delta): void {
    const { stats } = this.#line;
    if (this.#status === "left") {
      return;
    }
    const nowUs = this.#line.timers.nowUs();
    this.input.ackSeq = delta.ackSeq;
    this.#lead.handleMargin(nowUs, delta.margin);
    const outcome = this.#replica.apply(delta);
    if (outcome === "ignored") {
      return;
    }
    if (outcome !== "applied") {
      stats.resyncs += 1;
      this.#resync(outcome.resync, outcome.haveTick);
      return;
    }
    this.#resyncs = 0;
    this.#loadLevel = Math.min(delta.loadLevel, 4);
    this.clock.handleDelta(delta.tick);
    if (delta.base) {
      stats.deltas += 1;
    } else {
      stats.snapshots += 1;
    }
    this.#replica.notify();
    const { tick, base } = delta;
    this.#emitter.emit("tick", { tick, base, isSnapshot: !base, changed: this.#replica.changed });
    this.#hear();
  }

  /** @internal */
  _timeSync(sync: TimeSync): void {
    this.clock.handleSync(sync);
  }

  /** @internal */
  _accepted(accepted: Accepted): void {
    this.#asking.accept(accepted);
  }

  /** @internal */
  _refused({ op }: Refused, error: TickloomError): void {
    this.#replica.pending.refused(op);
    this.#replica.notify();
    this.#asking.refuse(op, error);
    this.#emitter.emit("refused", error);
  }

  #hear(): void {
    const { heard, lostCount } = this.#replica;
    const lost = lostCount - this.#lostCount;
    this.#lostCount = lostCount;
    if (lost > 0) {
      this.#line.stats.eventsLost += lost;
      this.#emitter.emit("missed", lost);
    }
    const shown = this.#whenShown;
    if (shown) {
      // Nobody can have a handler yet: those who come later are told.
      this.#whenShown = undefined;
      this.#history = [...heard];
      shown();
      return;
    }
    for (const event of heard) {
      this.#topics.get(event.topic)?.call(event);
    }
  }

  #resync(reason: number, haveTick: number): void {
    this.#resyncs += 1;
    if (this.#resyncs > RESYNCS_MAX) {
      const message = `states that do not fit: ${resyncReason[reason]}`;
      this.#line.giveUp(new TickloomError("Closed", message, 0, 1002));
      return;
    }
    this.#line.send(encodeClient("Resync", { haveTick, reason }));
  }

  #table(component: string): Table<unknown> | undefined {
    const id = this.schema.component(component)?.id;
    return id === undefined ? undefined : this.#replica.tables[id];
  }

  #topic(name: string): number {
    const topic = this.schema.topic(name);
    if (!topic) {
      throw new TickloomError("UnknownName", `a room of type ${this.type} has no topic ${name}`);
    }
    return topic.id;
  }

  /** A packed row is written whole: what is not said stays as it is. */
  #whole(component: string, entity: number, value: unknown): never {
    const isPacked = !!this.schema.component(component)?.rows;
    const before = this.#table(component)?.get(entity);
    return (isPacked ? { ...(before as object), ...(value as object) } : value) as never;
  }

  /** Sends or keeps a message about the seat; false when there is no place for it. */
  #say(op: number, bytes: Uint8Array, isForAnySeat: boolean): boolean {
    if (this.#line.isSeated && this.#status === "joined") {
      this.#line.send(bytes);
      return true;
    }
    const after = this.#unsentBytes + bytes.length;
    if (this.#status === "left" || after > this.#line.offlineBytesMax) {
      return false;
    }
    this.#unsentBytes = after;
    this.#line.stats.offlineBytes = after;
    this.#unsent.push({ op, bytes, isForAnySeat });
    return true;
  }

  #ask<K extends ClientKind>(
    kind: K,
    fields: Omit<ClientMessages[K], "op">,
    options: AskOptions,
    effects: readonly Effect[] = [],
  ): Promise<Accepted> {
    return bounded(this.#line.timers, options, (resolve, reject) => {
      if (this.#status === "left") {
        throw new TickloomError("Left", "the seat is gone");
      }
      const op = this.#asking.nextOp();
      const bytes = encodeClient(kind, { ...fields, op } as unknown as ClientMessages[K]);
      if (!this.#say(op, bytes, kind === "Publish")) {
        throw new TickloomError("OfflineFull", "too much waits for a connection already");
      }
      this.#asking.wait(op, { resolve, reject });
      for (const effect of effects) {
        const { component, entity, key, value } = effect;
        this.#replica.pending.write(op, component, entity, key, value);
      }
      if (effects.length) {
        this.#replica.notify();
      }
    });
  }

  /** Sends what was kept while there was no connection. */
  #flush(isSame: boolean): void {
    const unsent = this.#unsent;
    this.#unsent = [];
    this.#unsentBytes = 0;
    this.#line.stats.offlineBytes = 0;
    for (const { op, bytes, isForAnySeat } of unsent) {
      if (isSame || isForAnySeat) {
        this.#line.send(bytes);
      } else if (op) {
        this.#asking.refuse(op, new TickloomError("Left", "the seat it was about is gone"));
      }
    }
  }

  #newInput(): InputSender<InputOf<S>> {
    const room = this;
    const line = {
      get tickMs() {
        return room.tickMs;
      },
      get isReady() {
        return room.#status === "joined" && !room.isSpectator && room.#line.isReady;
      },
      actTick() {
        const nowUs = room.#line.timers.nowUs();
        return room.clock.actTick(room.#lead.leadUs(nowUs));
      },
      sendInput(seq: number, row: Uint8Array, seenTick: number) {
        room.#line.stats.inputsSent += 1;
        const renderQ8 = Math.max(0, Math.round(seenTick * 256));
        room.#line.send(encodeClient("Input", { seq, appliedTick: room.tick, row, renderQ8 }));
      },
    };
    const { timers, report } = this.#line;
    return new InputSender<InputOf<S>>(this.schema.input, line, timers, report);
  }

  #newPresence(): Presence<S> {
    const room = this;
    const line = {
      get entity() {
        return room.entity;
      },
      get isReady() {
        return room.#status === "joined" && room.#line.isReady;
      },
      ownTables: this.#ownTables,
      entities: this.entities,
      table: (component: string) => room.#table(component),
      writeOwn: (values: Record<string, unknown>) =>
        room.write((changes) => {
          for (const component of Object.keys(values) as ComponentOf<S>[]) {
            const value = room.#whole(component, room.entity, values[component]);
            changes.set(component, room.entity, value);
          }
        }),
    };
    return new Presence<S>(line, this.#line.timers);
  }
}
