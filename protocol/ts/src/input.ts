import { Handlers, type Report, type Unsubscribe } from "./emitter.js";
import { TickloomError } from "./errors.js";
import type { Row, RowCodec } from "./rows.js";
import type { Timers } from "./timers.js";

/** How far the numbers of inputs may be ahead of what the room has taken (SPEC.md section 7). */
const AHEAD_MAX = 64;

/** What an {@link InputSender} needs of its room. */
export interface InputLine {
  /** The tick, with its fraction, that an input is for which leaves now; undefined while unknown. */
  actTick(): number | undefined;
  readonly tickMs: number;
  /** Whether an input would reach the room now, without waiting behind others. */
  readonly isReady: boolean;
  sendInput(seq: number, row: Uint8Array, seenTick: number): void;
}

/**
 * What the player does, sent once per tick of the room, each time the newest.
 *
 * Nothing is sent before the first {@link InputSender.set}, nothing is kept while there is no
 * connection, and nothing leaves while more than `bufferedBytesMax` wait in the socket.
 */
export class InputSender<I extends Row = Row> {
  /** The last input that the room has taken, SPEC.md section 7. */
  ackSeq = 0;
  /** What the player looks at: inputs say which moment that was. Set by `interpolate`. */
  view: { readonly renderTick: number } | undefined;
  readonly #codec: RowCodec;
  /** What a row is sent from. */
  readonly #view: DataView;
  readonly #line: InputLine;
  readonly #timers: Timers;
  readonly #sent: Handlers<[number, I]>;
  readonly #row: Record<string, unknown> = {};
  #once: Partial<I> = {};
  #isActive = false;
  #seq = 0;
  #lastTick = 0;
  #timer: unknown;

  /** @internal */
  constructor(codec: RowCodec, line: InputLine, timers: Timers, report: Report) {
    this.#codec = codec;
    this.#line = line;
    this.#timers = timers;
    this.#sent = new Handlers(report);
    this.#view = new DataView(new ArrayBuffer(codec.bytes));
    this.#neutralise();
  }

  /** What goes out with each tick. */
  get row(): Readonly<I> {
    return this.#row as I;
  }

  /** Changes fields of what goes out with each tick from now on. */
  set(fields: Partial<I>): void {
    this.#check(fields);
    Object.assign(this.#row, fields);
    this.start();
  }

  /** The same for one tick only, such as a jump or a shot: it is in exactly one input. */
  once(fields: Partial<I>): void {
    this.#check(fields);
    this.#once = { ...this.#once, ...fields };
    this.start();
  }

  /** Every field is 0 again, or what is nearest to it, and nothing more is sent. */
  clear(): void {
    this.#neutralise();
    this.stop();
  }

  /** Told of every input that leaves: its number, and its row as the room will read it. */
  onSent(handler: (seq: number, row: Readonly<I>) => void): Unsubscribe {
    return this.#sent.add(handler);
  }

  /** Begins to send, as `set` does. */
  start(): void {
    this.#isActive = true;
    this.#arm(0);
  }

  stop(): void {
    this.#isActive = false;
    this.#timers.clear(this.#timer);
    this.#timer = undefined;
  }

  /** A seat: numbers begin anew. @internal */
  beginAgain(): void {
    this.ackSeq = 0;
    this.#seq = 0;
    this.#lastTick = 0;
    this.#arm(0);
  }

  #arm(ms: number): void {
    if (this.#isActive && this.#timer === undefined) {
      this.#timer = this.#timers.set(() => {
        this.#timer = undefined;
        this.#arm(this.#turn());
      }, ms);
    }
  }

  /** Sends what is due and says how many milliseconds to wait for the next. */
  #turn(): number {
    const { tickMs, isReady } = this.#line;
    const at = this.#line.actTick();
    if (at === undefined) {
      return 50;
    }
    const tick = Math.floor(at);
    if (tick > this.#lastTick) {
      this.#lastTick = tick;
      if (isReady && this.#seq < this.ackSeq + AHEAD_MAX) {
        this.#send();
      }
    }
    return Math.max(1, Math.min(1000, (this.#lastTick + 1 - at) * tickMs));
  }

  /** Fields are 0, also where 0 is not the least that they can be. */
  #neutralise(): void {
    for (const { name } of this.#codec.fields) {
      this.#row[name] = 0;
    }
  }

  #check(fields: Partial<I>): void {
    for (const name of Object.keys(fields)) {
      if (!(name in this.#row)) {
        throw new TickloomError("UnknownName", `inputs here have no field ${name}`);
      }
    }
  }

  #send(): void {
    const view = this.#view;
    this.#codec.write({ ...this.#row, ...this.#once }, view, 0);
    this.#once = {};
    this.#seq += 1;
    const bytes = new Uint8Array(view.buffer);
    this.#line.sendInput(this.#seq, bytes, this.view?.renderTick ?? 0);
    // What the server reads is not always what was set: fields have their steps.
    this.#sent.call(this.#seq, this.#codec.create(view, 0) as I);
  }
}
