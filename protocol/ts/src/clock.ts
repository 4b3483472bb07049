/** From one ping to the next, for the first ten and later on (SPEC.md section 11). */
const EAGER_PINGS = 10;
const EAGER_PING_US = 500_000;
const PING_US = 5_000_000;

/** Samples of which the one with the shortest round trip counts. */
const SAMPLES = 8;

/** The estimate goes a fifth of the way to each new one, no further than this at once. */
const SLEW_US_MAX = 25_000;
/** Off by more than this it jumps all the same: the clock was set, or the device slept. */
const SNAP_US = 150_000;

/** `scale_q16` of a room whose time runs as it should. */
const REAL_TIME = 65_536;

/** `value`, or the nearer end of what lies between `-max` and `max`. */
export const clamp = (value: number, max: number): number => Math.max(-max, Math.min(max, value));

/** What `TimeSync` says. Times in microseconds of the server's clock, but for `clientUs`. */
export interface TimeSync {
  readonly clientUs: number;
  readonly serverUs: number;
  readonly tick: number;
  readonly epochUs: number;
  readonly scaleQ16: number;
}

/**
 * The server's clock, estimated from pings and their answers (SPEC.md section 11).
 *
 * All times are microseconds; `nowUs` is the client's own monotonic clock.
 */
export class ServerClock {
  /** When {@link ServerClock.pollPing} has the next one. */
  pingDueUs = 0;
  /** How unevenly deltas arrive, as RFC 3550 counts it. */
  jitterUs = 0;
  /** How long a message is under way, at best; undefined before the first answer. */
  oneWayUs: number | undefined;
  /** The last ones: round trip, and the server's clock minus the client's. */
  #samples: [rttUs: number, offsetUs: number][] = [];
  #offsetUs = NaN;
  #pings = 0;
  #arrivedUs = NaN;
  #dueUs = NaN;

  /** Another connection: pings are eager again, and samples of the line before do not count. */
  beginAgain(): void {
    this.#samples = [];
    this.#pings = this.pingDueUs = 0;
  }

  /** What to say in a `Ping`, if it is time for one. */
  pollPing(nowUs: number): number | undefined {
    if (nowUs < this.pingDueUs) {
      return undefined;
    }
    this.pingDueUs = nowUs + (this.#pings++ < EAGER_PINGS ? EAGER_PING_US : PING_US);
    // 0 would say that nobody asked.
    return Math.max(1, Math.round(nowUs));
  }

  /** The server told its time. What answers no ping says nothing about the clock. */
  handleSync(nowUs: number, { clientUs, serverUs }: TimeSync): void {
    const rttUs = nowUs - clientUs;
    if (!clientUs || rttUs < 0) {
      return;
    }
    // The answer was written somewhere between the two: in the middle, at best.
    this.#samples.push([rttUs, serverUs - clientUs - rttUs / 2]);
    if (this.#samples.length > SAMPLES) {
      this.#samples.shift();
    }
    // Of equals the newest: the clocks drift.
    const [bestRttUs, bestUs] = this.#samples.reduce((a, b) => (b[0] <= a[0] ? b : a));
    this.oneWayUs = bestRttUs / 2;
    const errorUs = bestUs - this.#offsetUs;
    this.#offsetUs =
      Math.abs(errorUs) <= SNAP_US ? this.#offsetUs + clamp(errorUs / 5, SLEW_US_MAX) : bestUs;
  }

  /** A delta arrived whose tick was due at `dueUs` of the server's clock. */
  handleDelta(nowUs: number, dueUs: number): void {
    const gapUs = nowUs - this.#arrivedUs;
    const dueGapUs = dueUs - this.#dueUs;
    this.#arrivedUs = nowUs;
    this.#dueUs = dueUs;
    // A page that was frozen tells nothing about its line, and a room that sleeps has no due times.
    if (gapUs <= 4 * dueGapUs && dueGapUs < Infinity) {
      this.jitterUs += (Math.abs(gapUs - dueGapUs) - this.jitterUs) / 16;
    }
  }

  /** What the server's clock says when the client's says `nowUs`; undefined before the first answer. */
  serverAt(nowUs: number): number | undefined {
    return this.oneWayUs === undefined ? undefined : nowUs + this.#offsetUs;
  }

  /**
   * The tick, with its fraction, that an input is for which leaves now: it arrives `leadUs` before
   * that tick is due. Undefined before the first answer, and in a room without a rate.
   */
  actAt(nowUs: number, timetable: Timetable, leadUs: number): number | undefined {
    const serverUs = this.serverAt(nowUs + this.oneWayUs! + leadUs);
    return serverUs && timetable.tickAt(serverUs);
  }
}

/**
 * When the ticks of one room are due on the server's clock, in microseconds (SPEC.md section 11).
 *
 * A room's time may run slower than the server's, and stands still while the room sleeps; the
 * numbers of its ticks go on from where they were.
 */
export class Timetable {
  /** From one tick to the next as long as time runs as it should; 0 in a room without a rate. */
  readonly tickUs: number;
  /** How fast the room's time runs, in 65536ths of real time. */
  scaleQ16 = REAL_TIME;
  #epochUs: number;
  /** Behind this tick, time runs at `scaleQ16`. */
  #from: number;

  constructor(joined: { tick: number; tickUs: number; epochUs: number }) {
    this.tickUs = joined.tickUs;
    this.#epochUs = joined.epochUs;
    this.#from = joined.tick;
  }

  /** The server told its time. Without a seat it says nothing about a room. */
  handleSync({ epochUs, tick, scaleQ16 }: TimeSync): void {
    if (epochUs) {
      this.#epochUs = epochUs;
      this.#from = tick;
      this.scaleQ16 = scaleQ16;
    }
  }

  /** When a tick is or was due; Infinity for one of a room that sleeps. */
  dueUs(tick: number): number {
    const { tickUs } = this;
    const later = tick - this.#from;
    return later > 0
      ? this.dueUs(this.#from) + (later * tickUs * REAL_TIME) / this.scaleQ16
      : this.#epochUs + tick * tickUs;
  }

  /**
   * The tick that is due at a moment of the server's clock, with the part of the next that has
   * passed; undefined in a room without a rate.
   */
  tickAt(serverUs: number): number | undefined {
    const us = serverUs - this.dueUs(this.#from);
    return this.tickUs
      ? this.#from + (us > 0 ? (us * this.scaleQ16) / REAL_TIME : us) / this.tickUs
      : undefined;
  }
}
