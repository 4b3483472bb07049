/** A seat this old says that what was wrong is over (SPEC.md section 12). */
const SETTLED_US = 60_000_000;

/**
 * How long to wait before the next try to connect: a random time between 0 and twice as much with
 * each try (SPEC.md section 12), so that the clients of a server that restarts do not come as one.
 */
export class Backoff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #attempts = 0;
  #isFresh = true;
  #hintMs: number | undefined;
  /** NaN without a seat since the last try. */
  #seatedUs = NaN;

  /** Delays in milliseconds, `minMs` above 0; `random` gives numbers from 0 to below 1. */
  constructor(minMs: number, maxMs: number, random: () => number = Math.random) {
    this.#minMs = minMs;
    this.#maxMs = maxMs;
    this.#random = random;
  }

  /** The client has a seat since `nowUs`. */
  succeeded(nowUs: number): void {
    this.#seatedUs = nowUs;
    this.#hintMs = undefined;
  }

  /** The server said in `GoAway` when to come back. */
  hint(ms: number): void {
    this.#hintMs = ms;
  }

  /**
   * A connection ended, or did not come about: how many milliseconds to wait before the next.
   *
   * 0 after one with a seat, once in a while: one that breaks again within a minute waits. And not
   * with 1011 to 1013, which everybody in the room or on the server was told at the same moment.
   */
  nextMs(nowUs: number, closeCode = 1006): number {
    const hintMs = this.#hintMs;
    const seatUs = nowUs - this.#seatedUs;
    if (seatUs >= SETTLED_US) {
      this.#attempts = 0;
      this.#isFresh = true;
    }
    const isAtOnce = seatUs >= 0 && this.#isFresh && (closeCode < 1011 || closeCode > 1013);
    this.#seatedUs = NaN;
    this.#hintMs = undefined;
    if (hintMs !== undefined || isAtOnce) {
      this.#isFresh = false;
      return hintMs ?? 0;
    }
    return this.#random() * Math.min(this.#maxMs, this.#minMs * 2 ** this.#attempts++);
  }
}
