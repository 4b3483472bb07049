import { clamp } from "./clock.js";

/** How far back margins count. */
const WINDOW_US = 2_000_000;

/** Margins kept: two seconds of the fastest room. */
const MARGINS_MAX = 256;

/** The farthest ahead: beyond this, a player feels the wait more than a repeated input. */
const LEAD_US_MAX = 100_000;

/** A client's clock runs at most this much faster or slower while the lead changes. */
const DILATION_MAX = 0.05;

/**
 * How far ahead of a room's ticks a client acts, so that its inputs are there when they are taken
 * (SPEC.md section 11). It moves so slowly that whoever plays does not see it. All times are
 * microseconds.
 */
export class Lead {
  readonly #tickUs: number;
  #leadUs: number;
  #targetUs: number;
  #movedUs: number;
  /** When each margin came, and what it would have been without any lead, in microseconds. */
  #margins: [atUs: number, marginUs: number][] = [];

  /** A lead of a tick, as long as nothing is known. `tickUs` is 0 in a room without a rate. */
  constructor(nowUs: number, tickUs: number) {
    this.#tickUs = tickUs;
    this.#movedUs = nowUs;
    this.#leadUs = this.#targetUs = Math.min(tickUs, LEAD_US_MAX);
  }

  /** A delta said how many inputs waited: its `margin`, from -128 to 16. */
  handleMargin(nowUs: number, margin: number): void {
    const tickUs = this.#tickUs;
    const leadUs = this.leadUs(nowUs);
    // One that waits came somewhere within the tick before, one that does not somewhere within the
    // next: the middle is as good as any.
    this.#margins.push([nowUs, (margin - 0.5 * Math.sign(margin)) * tickUs - leadUs]);
    while (this.#margins.length > MARGINS_MAX || nowUs - this.#margins[0]![0] > WINDOW_US) {
      this.#margins.shift();
    }
    const sorted = this.#margins.map(([, marginUs]) => marginUs).sort((a, b) => a - b);
    // One in ten may be worse: over TCP the worst are spikes behind a lost segment, far too long to
    // wait for; the room repeats the last input meanwhile.
    const marginUs = sorted[Math.floor((sorted.length - 1) / 10)]! + leadUs;
    // A quarter of a tick at least is wanted. Margins are whole ticks, so nothing is learnt from
    // moves within one.
    const leastUs = tickUs / 4 - marginUs;
    const moveUs = leastUs > 0 ? leastUs : Math.min(0, leastUs + tickUs);
    this.#targetUs = Math.max(0, clamp(leadUs + moveUs, LEAD_US_MAX));
  }

  /** How much earlier than just in time an input that leaves now is to arrive. */
  leadUs(nowUs: number): number {
    const stepUs = Math.max(0, nowUs - this.#movedUs) * DILATION_MAX;
    this.#movedUs = Math.max(this.#movedUs, nowUs);
    this.#leadUs += clamp(this.#targetUs - this.#leadUs, stepUs);
    return this.#leadUs;
  }
}
