import { Asking, type AskOptions, bounded, GONE } from "./asking.js";
import { bodyOf } from "./bytes.js";
import { type Changes, ChangesWriter, type Effect } from "./changes.js";
import type { Client } from "./client.js";
import { Timetable } from "./clock.js";
import { Emitter, type Unsubscribe } from "./emitter.js";
import { TickloomError } from "./errors.js";
import type { RoomEvent } from "./events.js";
import { InputSender } from "./input.js";
import type { ClientKind } from "./messages.js";
import { Presence } from "./presence.js";
import { encodeProperties } from "./properties.js";
import { type Entity, Replica } from "./replica.js";
import { RoomClock } from "./room_clock.js";
import type { Row } from "./rows.js";
import { Schema } from "./schema.js";
import type { AnyShape, ComponentOf, InputOf, Shape, TopicOf, Writable } from "./shape.js";
import type { Props, Table } from "./table.js";
import {
  type Accepted,
  type ClientMessages,
  type Delta,
  type Joined,
  type LeaveReason,
  type Refused,
  type Resume,
  resyncReason,
} from "./wire.gen.js";

/** Snapshots asked for in a row, without one that could be applied, after which the client leaves. */
const RESYNCS_MAX = 8;

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

/** Beside what users are told of: inputs, and what is said on a topic, as `#` and its name. */
interface InnerEvents extends RoomEvents {
  sent(seq: number, row: Row): void;
  [topic: `#${string}`]: (event: RoomEvent) => void;
}

/** A seat in a room, and the room's state as far as this member is shown it. */
export class Room<S extends Shape = AnyShape> {
  /** The room's type. */
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
  /** @internal */
  readonly _client: Client;
  /** @internal */
  readonly _emitter: Emitter<InnerEvents>;
  /** @internal */
  readonly _replica: Replica;
  readonly #asking: Asking;
  #joined: Joined;
  #status: RoomStatus = "joined";
  #loadLevel = 0;
  #name: string;
  /** What was said before this client came, for handlers that come later still. */
  #history: readonly RoomEvent[] = [];
  #lostCount = 0;
  #resyncs = 0;
  /** Where it looks: whoever comes back looks at the own entity, as far as the server knows. */
  #place: ClientMessages["Interest"] | undefined;
  #whenShown: (() => void) | undefined;

  /** @internal */
  constructor(client: Client, type: string, name: string, joined: Joined, whenShown: () => void) {
    const { _options, _timers, _serverClock, _report } = client;
    const self = this as unknown as Room;
    this._client = client;
    this.type = type;
    this.#name = joined.room || name;
    this.#joined = joined;
    this.#whenShown = whenShown;
    this._emitter = new Emitter(_report);
    this.schema = new Schema(joined.schema, _options.compileRows);
    this._replica = new Replica(this.schema, joined.member, _options.verify, _report, (act) =>
      _timers.set(act, 0),
    );
    this.entities = this._replica.entities;
    this.state = Object.fromEntries(
      this.schema.components.map(({ name, id }) => [name, this._replica.tables[id]]),
    ) as typeof this.state;
    this.clock = new RoomClock(_timers, _serverClock, new Timetable(joined));
    this.#asking = new Asking(self);
    this.input = new InputSender(self);
    this.presence = new Presence(self);
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

  /** Where the seat is. */
  get status(): RoomStatus {
    return this.#status;
  }

  /** The tick whose state is shown; 0 before the first. */
  get tick(): number {
    return this._replica.tick;
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
    return (this._emitter as Emitter<RoomEvents>).on(event, handler);
  }

  /**
   * Calls `handler` with everything that is said on a topic, after the state of its tick; first,
   * at once, with what was said before this client came, on topics that have a history.
   */
  onEvent(topic: TopicOf<S>, handler: (event: RoomEvent) => void): Unsubscribe {
    this.#topic(topic);
    for (const event of this.#history) {
      if (event.topic === topic) {
        this._emitter.call(handler, event, undefined);
      }
    }
    return this._emitter.on(`#${topic}`, handler);
  }

  /**
   * Says something to everybody in the room, or to the members in `to`. A text or bytes travel as
   * they are, anything else as JSON; at most 16,384 bytes. Without a connection it is kept for the
   * next one; returns false when there is no place for it. `request` tells whether it was taken.
   */
  send(topic: TopicOf<S>, body: Uint8Array | string | object, to: readonly number[] = []): boolean {
    const publish = { topic: this.#topic(topic), to: [...to], body: bodyOf(body) };
    return this.#asking.say("Publish", publish) !== undefined;
  }

  /** The same, and resolves when it is said: with the tick whose state comes with it. */
  request(
    topic: TopicOf<S>,
    body: Uint8Array | string | object,
    { to = [], ...options }: AskOptions & { to?: readonly number[] } = {},
  ): Promise<{ tick: number }> {
    const publish = { topic: this.#topic(topic), to: [...to], body: bodyOf(body) };
    return this.#ask("Publish", publish, options);
  }

  /**
   * Changes the room's state: all of what `build` says happens, or nothing. Values of entities
   * that are there are shown at once, and taken back when the server refuses.
   *
   * With `ifTick` it is refused with `"Conflict"` if anything it touches changed after that tick.
   * What does not fit the room's description throws a `RangeError` at once, and nothing is sent.
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
      (changes) => changes.set(component, entity, this._whole(component, entity, value)),
      options,
    );
  }

  /** Changes what the room is to newcomers. Only the host may. What is left out stays as it is. */
  configure(
    changes: { locked?: boolean; listed?: boolean; password?: string; metadata?: Props },
    options: AskOptions = {},
  ): Promise<void> {
    const { locked, listed, metadata } = changes;
    const fields = {
      ...changes,
      locked: switchOf(locked),
      listed: switchOf(listed),
      metadata: metadata && encodeProperties(metadata),
    };
    return this.#ask("Configure", fields, options) as Promise<unknown> as Promise<void>;
  }

  /** Sends a member away, with a sentence for them. Only the host may. */
  kick(member: number, message = "", options: AskOptions = {}): Promise<void> {
    const kicked: Promise<unknown> = this.#ask("Kick", { member, message }, options);
    return kicked as Promise<void>;
  }

  /** Looks at another place, in a room with interest that lets this client (SPEC.md section 6). */
  lookAt(x: number, y: number): void {
    if (![x, y].every((place) => Number.isFinite(Math.fround(place)))) {
      throw new RangeError(`${x}, ${y} is no place`);
    }
    this.#lookAt({ x, y });
  }

  /** Looks at the own entity again. */
  lookAtOwn(): void {
    this.#lookAt({ own: true });
  }

  #lookAt(place: ClientMessages["Interest"]): void {
    this.#place = place;
    if (this._isSeated) {
      this._client._send("Interest", place);
    }
  }

  /** Gives the seat back. Resolves when the server said so, or there was no connection anyway. */
  leave(options: AskOptions = {}): Promise<void> {
    const { _client, _isSeated } = this;
    return bounded(_client._timers, options, (resolve) => {
      this.on("left", () => resolve());
      // The connection may break before the answer: nobody wants the seat back then.
      this.on("dropped", () => this._left("Asked", ""));
      _isSeated ? _client._send("Leave", {}) : this._left("Asked", "");
      if (this.status === "left") resolve();
    });
  }

  /** Whether messages about the seat reach the server now. @internal */
  get _isSeated(): boolean {
    return this.status === "joined" && this._client.state === "open";
  }

  /** The same, and not many bytes wait before them. @internal */
  get _isReady(): boolean {
    return this._isSeated && !this._client._isCongested;
  }

  /** What brings the client back over another connection, if anything does. @internal */
  get _ticket(): Required<Resume> | undefined {
    const { member, token } = this.#joined;
    const [eventsFrom, privateFrom] = this._replica.heard.next;
    return token.length ? { member, token, tick: this.tick, eventsFrom, privateFrom } : undefined;
  }

  /** A packed row is written whole: what is not said stays as it is. @internal */
  _whole(component: string, entity: number, value: unknown): never {
    const { _replica, schema } = this;
    const { rows, id = 0 } = schema.component(component) ?? {};
    return (rows ? { ..._replica.tables[id]!.get(entity)!, ...(value as object) } : value) as never;
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
    this.input._beginAgain();
    if (isSame) {
      // Nobody knows what became of writes that were sent; those that were not are still to come.
      this._replica.continueWith(this.#asking.unsentOp);
    } else {
      this._replica.beginAgain(joined.member);
    }
    this.#asking.resume(isSame);
    if (this.#place) {
      this.#lookAt(this.#place);
    }
    this.presence._resume(isSame);
    this._emitter.emit("resumed", { isSame, recovered: joined.recovered });
    return true;
  }

  /** The connection is gone. @internal */
  _dropped(): void {
    if (this.status === "joined") {
      this.#status = "away";
      this.#asking.drop(new TickloomError("Lost", "the connection broke before the answer came"));
      this._emitter.emit("dropped");
    }
  }

  /** The seat is gone. @internal */
  _left(reason: LeaveReason | "Refused" | "Closed", message: string): void {
    if (this.status !== "left") {
      this.#status = "left";
      this.input.stop();
      this.presence._stop();
      this.#asking.stop(new TickloomError("Left", message || GONE));
      this._emitter.emit("left", { reason, message });
      this._emitter.clear();
    }
  }

  /** @internal */
  _delta(delta: Delta): void {
    const { _replica, _emitter, _client, clock } = this;
    const { stats } = _client;
    const { tick, base } = delta;
    if (this.status === "left") {
      return;
    }
    const nowUs = _client._timers.nowUs();
    this.input._handleDelta(nowUs, delta);
    const outcome = _replica.apply(delta);
    if (outcome === "ignored") {
      return;
    }
    if (outcome !== "applied") {
      const { resync: reason, haveTick, error } = outcome;
      stats.resyncs += 1;
      this.#resyncs += 1;
      this.#resyncs > RESYNCS_MAX
        ? _client._fail(`states do not fit: ${error ?? resyncReason[reason]}`, 1002)
        : _client._send("Resync", { haveTick, reason });
      return;
    }
    this.#resyncs = 0;
    this.#loadLevel = Math.min(delta.loadLevel, 4);
    clock.server.handleDelta(nowUs, clock.timetable.dueUs(tick));
    stats[base ? "deltas" : "snapshots"] += 1;
    _replica.notify();
    _emitter.emit("tick", { tick, base, isSnapshot: !base, changed: _replica.changed });
    this.#hear();
  }

  /** A question was accepted. @internal */
  _accepted(accepted: Accepted): void {
    this.#asking.take(accepted.op)?.resolve(accepted);
  }

  /** @internal */
  _refused({ op }: Refused, error: TickloomError): void {
    this._replica.pending.refused(op);
    this._replica.notify();
    this.#asking.take(op)?.reject(error);
    this._emitter.emit("refused", error);
  }

  #hear(): void {
    const { events, lostCount } = this._replica.heard;
    const lost = lostCount - this.#lostCount;
    this.#lostCount = lostCount;
    if (lost > 0) {
      this._client.stats.eventsLost += lost;
      this._emitter.emit("missed", lost);
    }
    const shown = this.#whenShown;
    if (shown) {
      // Nobody can have a handler yet: those who come later are told.
      this.#whenShown = undefined;
      this.#history = events;
      shown();
      return;
    }
    for (const event of events) {
      this._emitter.emit(`#${event.topic}`, event);
    }
  }

  #topic(name: string): number {
    const topic = this.schema.topic(name);
    if (!topic) {
      throw new TickloomError("UnknownName", `a room of type ${this.type} has no topic ${name}`);
    }
    return topic.id;
  }

  #ask<K extends ClientKind>(
    kind: K,
    fields: ClientMessages[K],
    options: AskOptions,
    effects: readonly Effect[] = [],
  ): Promise<Accepted> {
    let op: number | undefined;
    const start = (resolve: (answer: Accepted) => void, reject: (error: unknown) => void) => {
      if (this.status === "left") {
        throw new TickloomError("Left", GONE);
      }
      op = this.#asking.say(kind, fields, { resolve, reject });
      if (op === undefined) {
        throw new TickloomError("OfflineFull", "too much waits for a connection already");
      }
      for (const { component, entity, key, value } of effects) {
        this._replica.pending.write(op, component, entity, key, value);
      }
      if (effects.length) {
        this._replica.notify();
      }
    };
    return bounded(this._client._timers, options, start, () => {
      if (op && this.#asking.forget(op) && effects.length) {
        this._replica.pending.refused(op);
        this._replica.notify();
      }
    });
  }
}

/** An index of {@link switchNames}: Keep, Off or On. */
const switchOf = (is: boolean | undefined): number => (is === undefined ? 0 : is ? 2 : 1);
