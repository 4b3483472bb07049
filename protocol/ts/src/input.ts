import { viewOf } from "./bytes.js";
import type { Unsubscribe } from "./emitter.js";
import { TickloomError } from "./errors.js";
import { Lead } from "./lead.js";
import type { Room } from "./room.js";
import type { Row } from "./rows.js";
import type { Delta } from "./wire.gen.js";

/** How far the numbers of inputs may be ahead of what the room has taken (SPEC.md section 7). */
const AHEAD_MAX = 64;

/**
 * What the player does, sent once per tick of the room, each time the newest.
 *
 * Nothing is sent before the first {@link InputSender.set}, nothing is kept while there is no
 * connection, and nothing leaves while more than `bufferedBytesMax` wait in the socket.
 */
export class InputSender<I extends Row = Row> {
  /** What goes out with each tick. */
  readonly row = {} as Readonly<I>;
  /** The last input that the room has taken, SPEC.md section 7. */
  ackSeq = 0;
  /** What the player looks at: inputs say which moment that was. Set by `interpolate`. */
  view: { readonly renderTick: number } | undefined;
  readonly #room: Room;
  readonly #lead: Lead;
  #once: Partial<I> = {};
  #isActive = false;
  /** The next input is the last one: a room repeats what it heard last for some ticks. */
  #isLast = false;
  #seq = 0;
  #lastTick = 0;
  #timer: unknown;

  /** @internal */
  constructor(room: Room) {
    this.#room = room;
    this.#lead = new Lead(room._client._timers.nowUs(), room.tickMs * 1000);
    this.#neutralise();
  }

  /** Changes fields of what goes out with each tick from now on. */
  set(fields: Partial<I>): void {
    this.#check(fields);
    Object.assign(this.row, fields);
    this.start();
  }

  /** The same for one tick only, such as a jump or a shot: it is in exactly one input. */
  once(fields: Partial<I>): void {
    this.#check(fields);
    this.#once = { ...this.#once, ...fields };
    this.start();
  }

  /** Every field is 0 again, or what is nearest to it. That goes out once, and nothing after it. */
  clear(): void {
    this.#neutralise();
    this.#once = {};
    this.#isLast = true;
  }

  /** Told of every input that leaves: its number, and its row as the room will read it. */
  onSent(handler: (seq: number, row: Readonly<I>) => void): Unsubscribe {
    return this.#room._emitter.on("sent", handler as (seq: number, row: Row) => void);
  }

  /** Begins to send, as `set` does. */
  start(): void {
    this.#isActive = this.#room.status !== "left";
    this.#isLast = false;
    this.#arm(0);
  }

  stop(): void {
    this.#isActive = false;
    this.#room._client._timers.clear(this.#timer);
    this.#timer = undefined;
  }

  /** A seat: numbers begin anew. @internal */
  _beginAgain(): void {
    this.ackSeq = this.#seq = this.#lastTick = 0;
    this.#arm(0);
  }

  /** @internal */
  _handleDelta(nowUs: number, { ackSeq, margin }: Delta): void {
    this.ackSeq = ackSeq;
    this.#lead.handleMargin(nowUs, margin);
  }

  #arm(ms: number): void {
    if (this.#isActive && this.#timer === undefined) {
      this.#timer = this.#room._client._timers.set(() => {
        this.#timer = undefined;
        this.#arm(this.#turn());
      }, ms);
    }
  }

  /** Sends what is due and says how many milliseconds to wait for the next. */
  #turn(): number {
    const { _client, clock, tickMs, isSpectator, _isReady } = this.#room;
    const nowUs = _client._timers.nowUs();
    const at = clock.server.actAt(nowUs, clock.timetable, this.#lead.leadUs(nowUs));
    if (at === undefined) {
      return 50;
    }
    const tick = Math.floor(at);
    // Far back it is not late: another server has another clock.
    if (tick > this.#lastTick || tick < this.#lastTick - AHEAD_MAX) {
      this.#lastTick = tick;
      if (_isReady && !isSpectator && this.#seq < this.ackSeq + AHEAD_MAX) {
        this.#send();
        if (this.#isLast) {
          this.stop();
        }
      }
    }
    return Math.max(1, Math.min(1000, (this.#lastTick + 1 - at) * tickMs));
  }

  /** Fields are 0, also where 0 is not the least that they can be. */
  #neutralise(): void {
    for (const { name } of this.#room.schema.input.fields) {
      (this.row as Row)[name] = 0;
    }
  }

  #check(fields: Partial<I>): void {
    for (const name of Object.keys(fields)) {
      if (!(name in this.row)) {
        throw new TickloomError("UnknownName", `inputs here have no field ${name}`);
      }
    }
  }

  #send(): void {
    const { _client, _emitter, schema, tick } = this.#room;
    const row = new Uint8Array(schema.input.bytes);
    const view = viewOf(row);
    schema.input.write({ ...this.row, ...this.#once }, view, 0);
    this.#once = {};
    this.#seq += 1;
    const renderQ8 = Math.max(0, Math.round((this.view?.renderTick ?? 0) * 256));
    _client.stats.inputsSent += 1;
    _client._send("Input", { seq: this.#seq, appliedTick: tick, row, renderQ8 });
    // What the server reads is not always what was set: fields have their steps.
    if (_emitter.list("sent").length) {
      _emitter.emit("sent", this.#seq, schema.input.create(view, 0));
    }
  }
}
