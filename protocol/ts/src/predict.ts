import type { ValueIn } from "./interpolate.js";
import { type DrawnField, fieldsOf, LINEAR, shortWay, withinTurn } from "./turn.js";

/** Inputs that may wait for the room's answer. */
const PENDING_MAX = 256;

/** Ticks in which what is drawn reaches the last input: longer than one, because timers are late. */
const GLIDE_TICKS = 1.1;

/** How much a new state counts in what is said of the drift. */
const DRIFT_PART = 1 / 16;

/** Types of fields: those that are quantised, to 8, 16, 24 and 32 bits, and floats. */
const FLOAT = 6;
const QUANT8 = 8;
const QUANT32 = 11;

type Unsubscribe = () => void;

/** What `predict` needs of a room. */
export interface PredictedRoom {
  readonly entity: number;
  readonly schema: {
    component(name: string): { fields: readonly DrawnField[] } | undefined;
  };
  readonly state: { readonly [component: string]: { get(entity: number): unknown } };
  readonly clock: {
    readonly timers: { nowUs(): number };
    readonly timetable: { readonly tickUs: number };
  };
  readonly input: {
    readonly ackSeq: number;
    /** What goes out with each tick: it is asked for its type only. */
    readonly row: object;
    // biome-ignore lint/suspicious/noExplicitAny: rooms differ in their rows
    onSent(handler: (seq: number, row: any) => void): Unsubscribe;
  };
  on(event: "tick" | "resumed", handler: () => void): Unsubscribe;
}

/** The input row of a room. */
export type InputIn<R extends PredictedRoom> = R["input"]["row"];

/** How well the predictions agree with the room. */
export interface Drift {
  /**
   * `matched`: what the room says is what was predicted. `jitter`: now and then it is not, as when
   * an input came late. `diverging`: it rarely is; the two compute something else.
   */
  status: "matched" | "jitter" | "diverging";
  /** How far the predictions were off, in the units of the straight fields: on average, and lately at most. */
  mean: number;
  peak: number;
}

type Numbers = Record<string, number>;

/** How far a number may be from what is told of it and still be the same. */
function noiseOf({ type, min, max }: DrawnField, told: number): number {
  // Whoever keeps floats and tells what they are rounded to is off by half a step.
  return type >= QUANT8 && type <= QUANT32
    ? (0.51 * (max - min)) / (2 ** (8 * (type - 7)) - 2)
    : type === FLOAT
      ? 2 ** -20 * Math.max(1, Math.abs(told))
      : 0.51;
}

/** A state that runs ahead of what the room says, and is put right by it. */
export class Prediction<P extends object, I> {
  /** What it is after all inputs. Replaced, never changed. */
  exact: P;
  readonly drift: Drift = { status: "matched", mean: 0, peak: 0 };
  readonly #fields: readonly DrawnField[];
  readonly #step: (state: P, input: I) => void;
  readonly #start: P;
  /** What it was after the last input that the room has taken. */
  #acked: P;
  /** Inputs that the room has not taken, and what it was after each. */
  #pending: [seq: number, input: I, after: P][] = [];
  #wrong = 0;

  constructor(fields: readonly DrawnField[], step: (state: P, input: I) => void, state: P) {
    this.#fields = fields;
    this.#step = step;
    this.exact = this.#acked = this.#start = state;
  }

  /** An input leaves. */
  act(seq: number, input: I): void {
    if (this.#pending.push([seq, input, this.#go(input)]) > PENDING_MAX) {
      this.#pending.shift();
    }
  }

  /** The numbers of inputs begin anew. */
  beginAgain(): void {
    this.#pending = [];
    this.#acked = this.exact;
  }

  /**
   * The room has taken the inputs up to `ackSeq`, and then it is as `told`. What is further away than
   * `snap` was moved by something else than inputs: it begins as it did at first, and is no drift.
   */
  acknowledge(ackSeq: number, told: Partial<P>, snap = Infinity): void {
    while (this.#pending[0] && this.#pending[0][0] <= ackSeq) {
      this.#acked = this.#pending.shift()![2];
    }
    const acked = { ...this.#acked } as Numbers;
    let isOff = false;
    let isWrong = false;
    let off = 0;
    for (const field of this.#fields) {
      const { name, interpolation } = field;
      const value = (told as Numbers)[name]!;
      const way = shortWay(field, value - acked[name]!);
      // What jumps is not predicted, it is what the room says. NaN: nothing was known.
      if (!(Math.abs(way) <= (interpolation && noiseOf(field, value)))) {
        acked[name] = value;
        isOff = true;
        isWrong ||= !!interpolation;
        off = Math.hypot(off, interpolation === LINEAR ? way : 0) || 0;
      }
    }
    const isJump = off > snap;
    if (isOff) {
      Object.assign(acked, isJump && { ...this.#start, ...told });
      this.exact = this.#acked = acked as P;
      for (const pending of this.#pending) {
        pending[2] = this.#go(pending[1]);
      }
    }
    if (isJump) {
      return;
    }
    const { drift } = this;
    this.#wrong += (+isWrong - this.#wrong) * DRIFT_PART;
    drift.mean += (off - drift.mean) * DRIFT_PART;
    drift.peak = Math.max(off, drift.peak * (1 - DRIFT_PART));
    // One wrong state in so many is forgotten after some 60.
    drift.status = this.#wrong < 1e-3 ? "matched" : this.#wrong < 0.5 ? "jitter" : "diverging";
  }

  #go(input: I): P {
    this.exact = { ...this.exact };
    this.#step(this.exact, input);
    return this.exact;
  }
}

/** What is drawn of a state that jumps with each input and each correction. */
class Smoothing {
  readonly #fields: readonly DrawnField[];
  readonly #clock: PredictedRoom["clock"];
  readonly #smoothUs: number;
  /** When the last input left, and what each field was drawn as then. */
  #actedUs = -Infinity;
  #from: number[];
  /** When the last correction came, and what was drawn too much of each field then. */
  #wrongUs = -Infinity;
  #wrong: number[];

  constructor(fields: readonly DrawnField[], clock: PredictedRoom["clock"], smoothUs: number) {
    this.#fields = fields;
    this.#clock = clock;
    this.#smoothUs = smoothUs;
    this.#from = this.#wrong = fields.map(() => 0);
  }

  /** An input is about to change the state. */
  act(state: Numbers): void {
    this.#from = this.#fields.map((field, index) => this.#glide(state, field, index));
    this.#actedUs = this.#clock.timers.nowUs();
  }

  /** What was thought of the state is not so. A way longer than `snap` is a jump. */
  correct(before: Numbers, after: Numbers, snap: number): void {
    const off = this.#fields.map(
      (field) => shortWay(field, before[field.name]! - after[field.name]!) || 0,
    );
    const way = Math.hypot(
      ...off.map((value, index) => (this.#fields[index]!.interpolation === LINEAR ? value : 0)),
    );
    const share = this.#left(this.#wrongUs, this.#smoothUs);
    this.#from = this.#from.map((value, index) => value - off[index]!);
    this.#wrong = off.map((value, index) => value + this.#wrong[index]! * share);
    this.#wrongUs = way > snap ? -Infinity : this.#clock.timers.nowUs();
  }

  /** Puts what is drawn of a state now in the place of what it is. */
  draw(state: Numbers): void {
    const share = this.#left(this.#wrongUs, this.#smoothUs);
    this.#fields.forEach((field, index) => {
      if (field.interpolation) {
        const value = this.#glide(state, field, index) + this.#wrong[index]! * share;
        state[field.name] = withinTurn(field, value);
      }
    });
  }

  /** What a field is on its way to what the last input made of it. */
  #glide(state: Numbers, field: DrawnField, index: number): number {
    const value = state[field.name]!;
    const share = this.#left(this.#actedUs, this.#clock.timetable.tickUs * GLIDE_TICKS);
    return value - shortWay(field, value - this.#from[index]!) * share || 0;
  }

  /** What remains of a time that began at `sinceUs`, from 1 to 0. */
  #left(sinceUs: number, us: number): number {
    return Math.max(0, 1 - (this.#clock.timers.nowUs() - sinceUs) / us) || 0;
  }
}

/** The own entity as it will be once the room has taken all inputs that are under way. */
export interface Predictor<P> {
  /**
   * What to draw now: one object, which goes on evenly from what it was before the last input to
   * what it is after it, and in which corrections fade.
   */
  readonly state: P;
  /** What it is after the last input, without any smoothing: another object each time. */
  readonly exact: P;
  readonly drift: Drift;
  /** Follows the room no longer. */
  stop(): void;
}

export interface PredictOptions<V, E, I> {
  /** A packed component of the own entity. */
  component: string;
  /**
   * Does to `state` what the room does to it in one tick with one input, whose numbers are those
   * that the room reads. It is called many times for one input, so it changes nothing but `state`.
   */
  step: (state: V & E, input: I, dtSeconds: number) => void;
  /** Fields that only the predictor knows, such as a velocity, and what they are at first. */
  extra?: E;
  /**
   * Corrections longer than this are jumps, such as that of a player who comes back to life: nothing
   * fades, and `extra` is as at first.
   */
  snap?: number;
  /** How long a correction fades, in milliseconds; 100 by default. */
  smoothMs?: number;
}

/**
 * Shows at once what the player's inputs will do (SPEC.md section 7): each input is applied as it
 * leaves; when a state comes, what it says and what the inputs behind it do take its place.
 *
 * A number of the own entity is right when it is what the room says as exactly as the wire can
 * tell, and is kept then with all its digits.
 *
 * Throws a RangeError when the room has no such component, or it has no rows.
 */
export function predict<
  R extends PredictedRoom,
  K extends keyof R["state"] & string,
  E extends object = object,
>(
  room: R,
  options: PredictOptions<ValueIn<R, K>, E, InputIn<R>> & { component: K },
): Predictor<ValueIn<R, K> & E> {
  type P = ValueIn<R, K> & E;
  const { component, step, extra, snap = Infinity, smoothMs = 100 } = options;
  const fields = fieldsOf(room.schema, component);
  const { clock, input } = room;
  const smoothing = new Smoothing(fields, clock, smoothMs * 1e3);
  const told = () => room.state[component]!.get(room.entity) as P | undefined;
  const prediction = new Prediction<P, InputIn<R>>(
    fields,
    (state, row) => step(state, row, clock.timetable.tickUs / 1e6),
    { ...extra, ...told() } as P,
  );
  const drawn = {} as Numbers;
  const stops = [
    input.onSent((seq: number, row: InputIn<R>) => {
      smoothing.act(prediction.exact as Numbers);
      prediction.act(seq, row);
    }),
    room.on("resumed", () => prediction.beginAgain()),
    room.on("tick", () => {
      const before = prediction.exact;
      const value = told();
      if (value) {
        prediction.acknowledge(input.ackSeq, value, snap);
      }
      if (prediction.exact !== before) {
        smoothing.correct(before as Numbers, prediction.exact as Numbers, snap);
      }
    }),
  ];

  return {
    drift: prediction.drift,
    get exact() {
      return prediction.exact;
    },
    get state() {
      Object.assign(drawn, prediction.exact);
      smoothing.draw(drawn);
      return drawn as P;
    },
    stop() {
      for (const stop of stops) {
        stop();
      }
    },
  };
}
