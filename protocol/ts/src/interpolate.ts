import { clamp, type ServerClock, type Timetable } from "./clock.js";
import { type DrawnField, fieldsOf, LINEAR, STEP, shortWay, withinTurn } from "./turn.js";

/** Samples that are kept of each entity. */
const SAMPLES = 32;

/** What is drawn runs at most this much faster or slower than time while it is put right. */
const DILATION_MAX = 0.05;
/** Off by more than this it jumps: a page that was frozen, another seat. */
const SNAP_US = 250_000;
/** Moments are this far apart at the least. */
const FRAME_US = 1_000;

/** `type` of a field that is a boolean. */
const BOOL = 7;

type Unsubscribe = () => void;

/** What a table gives. */
interface DrawnTable {
  get(entity: number): unknown;
  onAdd(handler: ValueHandler): Unsubscribe;
  onChange(handler: ValueHandler): Unsubscribe;
  onRemove(handler: ValueHandler): Unsubscribe;
}

// biome-ignore lint/suspicious/noExplicitAny: tables differ in their values
type ValueHandler = (value: any, entity: number) => void;

/** What `interpolate` needs of a room. */
export interface DrawnRoom {
  readonly tick: number;
  readonly schema: {
    component(name: string): { fields: readonly DrawnField[]; motion: boolean } | undefined;
    readonly interest?: { rings: readonly { every: number }[] } | undefined;
  };
  readonly state: { readonly [component: string]: DrawnTable };
  readonly clock: {
    readonly timers: { nowUs(): number };
    readonly server: ServerClock;
    readonly timetable: Timetable;
  };
  readonly input: { view: { readonly renderTick: number } | undefined };
  on(event: "tick", handler: (tick: { tick: number; base: number }) => void): Unsubscribe;
}

/** The values of a component of a room. */
export type ValueIn<R extends { state: object }, K extends keyof R["state"]> = NonNullable<
  R["state"][K] extends { get(entity: number): infer V } ? V : never
>;

type Numbers = Record<string, number | boolean>;

/** The last samples of one entity, and what they say it was like in between. */
export class Track<V extends object> {
  readonly #fields: readonly DrawnField[];
  readonly #snap: number;
  /** A ring of samples: when, and a number for each field. */
  readonly #samples: Float64Array;
  readonly #drawn: V;
  #count = 0;
  /** When the last sample is of. */
  #newest = NaN;
  /** How far the last two changes were apart, as far as that is the sender's doing. */
  #gap = 0;
  /** How much longer ago than others it is drawn because of that, and when it last was. */
  #lag = 0;
  #drawnAt = 0;

  constructor(fields: readonly DrawnField[], snap: number, value: V) {
    this.#fields = fields;
    this.#snap = snap;
    this.#samples = new Float64Array(SAMPLES * (fields.length + 1));
    this.#drawn = { ...value };
  }

  /**
   * It is `value` at `at`, and was what it was before until `since`. Changes up to `gapMax` apart
   * may have been under way in between.
   */
  put(since: number, at: number, value: V, gapMax = 0): void {
    const samples = this.#samples;
    const gap = at - this.#newest;
    // Another room's ticks, or the same tick again.
    if (gap <= 0) {
      this.#count = 0;
    }
    const last = this.#start(this.#count - 1);
    let way = 0;
    this.#fields.forEach(({ name, interpolation }, index) => {
      if (interpolation === LINEAR) {
        way = Math.hypot(way, ((value as Numbers)[name] as number) - samples[last + 1 + index]!);
      }
    });
    since = way > this.#snap ? at : Math.min(since, at - Math.min(gap, this.#gap));
    this.#gap = Math.min(gap, gapMax) || 0;
    if (this.#count && since > this.#newest) {
      const still = this.#start(this.#count++);
      samples.copyWithin(still, last, last + this.#fields.length + 1);
      samples[still] = since;
    }
    let next = this.#start(this.#count++);
    samples[next] = this.#newest = at;
    for (const { name } of this.#fields) {
      samples[++next] = +(value as Numbers)[name]!;
    }
  }

  /**
   * What it was like at a moment: the same object each time, with all fields. What changes come
   * further apart than `usual` is drawn as much longer ago.
   */
  draw(at: number, usual = Infinity): V {
    const samples = this.#samples;
    const drawn = this.#drawn as Numbers;
    // Half as fast as time at the least, so that nothing is drawn backwards.
    const lag = Math.max(0, this.#gap - usual);
    this.#lag += clamp(lag - this.#lag, Math.abs(at - this.#drawnAt) / 2);
    this.#drawnAt = at;
    at -= this.#lag;
    let index = this.#count - 1;
    while (index > 0 && index > this.#count - SAMPLES && samples[this.#start(index)]! > at) {
      index--;
    }
    let from = this.#start(index);
    // The newest stays as it is, and so does the oldest before its time.
    let to = index + 1 < this.#count ? this.#start(index + 1) : from;
    const share = Math.max(0, (at - samples[from]!) / (samples[to]! - samples[from]! || Infinity));
    for (const field of this.#fields) {
      const { name, type, interpolation } = field;
      const value = samples[++from]!;
      to++;
      const way = interpolation && shortWay(field, samples[to]! - value) * share;
      drawn[name] = type === BOOL ? value > 0 : withinTurn(field, value + way);
    }
    return this.#drawn;
  }

  #start(index: number): number {
    return (index % SAMPLES) * (this.#fields.length + 1);
  }
}

/** The moment that is drawn: a little while ago, and never by jumps. */
class Playhead {
  /** How long ago it was. */
  delayUs = 0;
  /** From one state to the next. */
  intervalUs: number;
  readonly #room: DrawnRoom;
  readonly #delayMs: number | "auto";
  /** The moment on the clock it is taken from, the same as a tick, and when that was so. */
  #drawnUs = NaN;
  #drawn = NaN;
  #nowUs = NaN;
  #arrivedUs = NaN;

  constructor(room: DrawnRoom, delayMs: number | "auto") {
    this.#room = room;
    this.#delayMs = delayMs;
    this.intervalUs = room.clock.timetable.tickUs || 50_000;
  }

  /** A state came. */
  handleTick(tick: number, base: number): void {
    const { timers, timetable } = this.#room.clock;
    const nowUs = timers.nowUs();
    const gapUs = timetable.tickUs ? (tick - base) * timetable.tickUs : nowUs - this.#arrivedUs;
    this.#arrivedUs = nowUs;
    if (base && gapUs <= SNAP_US) {
      this.intervalUs += (gapUs - this.intervalUs) / 8;
    }
  }

  /** Moves on to now. Where there is no rate, "ticks" are moments of arrival in microseconds. */
  advance(): number {
    const { timers, server, timetable } = this.#room.clock;
    const { tickUs } = timetable;
    const nowUs = timers.nowUs();
    const elapsedUs = nowUs - this.#nowUs;
    // All that is in one picture is of one moment.
    if (elapsedUs < FRAME_US) {
      return this.#drawn;
    }
    const clockUs = tickUs ? server.serverAt(nowUs) : nowUs;
    if (clockUs === undefined) {
      return this.#room.tick;
    }
    this.#nowUs = nowUs;
    const onUs = this.#drawnUs + elapsedUs;
    const errorUs = clockUs - this.#wantedUs() - onUs;
    this.#drawnUs =
      Math.abs(errorUs) <= SNAP_US
        ? onUs + clamp(errorUs, elapsedUs * DILATION_MAX)
        : clockUs - this.#wantedUs();
    this.delayUs = clockUs - this.#drawnUs;
    const at = tickUs ? timetable.tickAt(this.#drawnUs)! : this.#drawnUs;
    // When the room slips its ticks are due later than they were: what is drawn waits for them.
    const backUs = (this.#drawn - at) * tickUs;
    if (!(backUs > 0 && backUs <= SNAP_US)) {
      this.#drawn = at;
    }
    return this.#drawn;
  }

  #wantedUs(): number {
    const { server, timetable } = this.#room.clock;
    const autoUs = timetable.tickUs ? 2 * this.intervalUs + 3 * server.jitterUs : this.intervalUs;
    return this.#delayMs === "auto" ? Math.max(50e3, Math.min(250e3, autoUs)) : this.#delayMs * 1e3;
  }
}

/** The past of one component, drawn smoothly. */
export interface View<V> {
  /**
   * What an entity is drawn like now; undefined when it has no value. It is one object for as long
   * as the entity is there, with all fields.
   */
  at(entity: number): V | undefined;
  /** The moment that is drawn, as a tick with its fraction; 0 in a room without a rate. */
  readonly renderTick: number;
  /** How long ago that was, in milliseconds. */
  readonly delayMs: number;
  /** Follows the room no longer. */
  stop(): void;
}

export interface InterpolateOptions {
  /**
   * How long ago to draw. `"auto"`, the default, is two states and three times the jitter of the
   * line, and 50 to 250 ms.
   */
  delayMs?: number | "auto";
  /** A way longer than this from one state to the next is a jump. Without, nothing is. */
  snap?: number;
  /** Which fields to draw smoothly, among those that are not Step; all by default. */
  fields?: readonly string[];
}

/**
 * Draws a packed component as it was a little while ago, between two states that are known, by the
 * `interpolation` of its fields (SPEC.md section 5). Nothing is guessed: what stands still because
 * nothing newer came stands still. Inputs tell the room what the player saw (section 7).
 *
 * Throws a RangeError when the room has no such component, or it has no rows.
 */
export function interpolate<R extends DrawnRoom, K extends keyof R["state"] & string>(
  room: R,
  component: K,
  { delayMs = "auto", snap = Infinity, fields: smooth }: InterpolateOptions = {},
): View<ValueIn<R, K>> {
  type V = ValueIn<R, K> & object;
  const fields = fieldsOf(room.schema, component).map((field) =>
    smooth?.includes(field.name) === false ? { ...field, interpolation: STEP } : field,
  );
  // Motion far away is sent more rarely: what changes is then under way in between.
  const { motion } = room.schema.component(component)!;
  const rings = (motion && room.schema.interest?.rings) || [];
  const everyMax = Math.max(0, ...rings.map(({ every }) => every));
  const { clock } = room;
  const tracks = new Map<number, Track<V>>();
  const changed = new Map<Track<V>, V>();
  const playhead = new Playhead(room, delayMs);

  const put = (track: Track<V>, value: V, base: number): void => {
    const { tickUs } = clock.timetable;
    // What did not change is not sent, so until the state before it was what it was.
    if (tickUs) {
      track.put(base, room.tick, value, (everyMax * playhead.intervalUs) / tickUs);
    } else {
      track.put(playhead.advance(), clock.timers.nowUs(), value);
    }
  };

  const view = {
    at(entity: number) {
      return tracks
        .get(entity)
        ?.draw(playhead.advance(), playhead.intervalUs / clock.timetable.tickUs);
    },
    get renderTick() {
      return clock.timetable.tickUs ? playhead.advance() : 0;
    },
    get delayMs() {
      playhead.advance();
      return playhead.delayUs / 1e3;
    },
    stop() {
      for (const stop of stops) {
        stop();
      }
      if (room.input.view === view) {
        room.input.view = undefined;
      }
    },
  };
  const table = room.state[component]!;
  const stops = [
    table.onRemove((_, entity) => tracks.delete(entity)),
    table.onAdd((value: V, entity) => {
      const track = new Track<V>(fields, snap, value);
      tracks.set(entity, track);
      put(track, value, 0);
    }),
    table.onChange((value: V, entity) => changed.set(tracks.get(entity)!, value)),
    room.on("tick", ({ tick, base }) => {
      playhead.handleTick(tick, base);
      changed.forEach((value, track) => {
        put(track, value, base);
      });
      changed.clear();
    }),
  ];
  room.input.view ??= view;
  return view;
}
