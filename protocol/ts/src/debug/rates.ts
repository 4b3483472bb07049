import type { Stats } from "../stats.js";

/** What went through a connection, a second. */
export interface Rates {
  readonly kilobytesIn: number;
  readonly kilobytesOut: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
}

const counters = ["bytesIn", "bytesOut", "messagesIn", "messagesOut"] as const;

/** Makes rates of counters that only grow. */
export class Meter {
  #atMs: number | undefined;
  #before: Pick<Stats, (typeof counters)[number]> | undefined;

  /** The rates since the last call; zero at the first. `nowMs` must not run backwards. */
  measure(nowMs: number, stats: Pick<Stats, (typeof counters)[number]>): Rates {
    const { bytesIn, bytesOut, messagesIn, messagesOut } = stats;
    const before = this.#before ?? stats;
    const seconds = Math.max((nowMs - (this.#atMs ?? nowMs)) / 1000, 1e-3);
    const rates = {
      kilobytesIn: (bytesIn - before.bytesIn) / 1000 / seconds,
      kilobytesOut: (bytesOut - before.bytesOut) / 1000 / seconds,
      messagesIn: (messagesIn - before.messagesIn) / seconds,
      messagesOut: (messagesOut - before.messagesOut) / seconds,
    };
    this.#atMs = nowMs;
    this.#before = { bytesIn, bytesOut, messagesIn, messagesOut };
    return rates;
  }
}

/** The newest of a row of numbers, and what they look like. */
export class History {
  readonly #numbers: number[] = [];
  readonly #count: number;

  /** @param count How many are kept, 2 at least. */
  constructor(count: number) {
    this.#count = count;
  }

  add(number: number): void {
    this.#numbers.push(number);
    if (this.#numbers.length > this.#count) {
      this.#numbers.shift();
    }
  }

  /** The points of an SVG polyline in a box: the newest at its right, the largest at its top. */
  points(width: number, height: number): string {
    const most = Math.max(...this.#numbers, 1e-9);
    const left = this.#count - this.#numbers.length;
    return this.#numbers
      .map((number, index) => {
        const x = ((left + index) / (this.#count - 1)) * width;
        return `${x.toFixed(1)},${(height - (number / most) * height).toFixed(1)}`;
      })
      .join(" ");
  }
}
