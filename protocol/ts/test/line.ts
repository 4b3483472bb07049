// A network that is a function, for tests.

/** Numbers from 0 to below 1, the same for a seed (mulberry32). */
export const seeded = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};

export interface LineSpec {
  rttMs: number;
  jitterMs: number;
  lossPercent: number;
}

export const HOME: LineSpec = { rttMs: 60, jitterMs: 4, lossPercent: 0.1 };
export const WIFI: LineSpec = { rttMs: 60, jitterMs: 25, lossPercent: 1 };

/** One direction of a TCP connection: jitter, and spikes behind lost segments. */
export class Line<T> {
  readonly #random: () => number;
  readonly #delayUs: number;
  #jitterUs: number;
  #loss: number;
  #lastUs = 0;
  #queue: [atUs: number, what: T][] = [];

  constructor(seed: number, spec: LineSpec) {
    this.#random = seeded(seed);
    this.#delayUs = spec.rttMs * 500;
    this.#jitterUs = spec.jitterMs * 500;
    this.#loss = spec.lossPercent / 100;
  }

  /** From now on every delay is the shortest. */
  calm() {
    this.#jitterUs = this.#loss = 0;
  }

  /** Sends something and says when it arrives: not before what was sent earlier. */
  send(nowUs: number, what: T): number {
    let delayUs = this.#delayUs - this.#jitterUs * Math.log(1 - this.#random());
    if (this.#random() < this.#loss) {
      // A duplicate acknowledgement asks for it again.
      delayUs += 3 * this.#delayUs;
    }
    this.#lastUs = Math.max(this.#lastUs, Math.round(nowUs + delayUs));
    this.#queue.push([this.#lastUs, what]);
    return this.#lastUs;
  }

  /** What has arrived by now, with when it did. */
  *arrived(nowUs: number): Iterable<[atUs: number, what: T]> {
    while (this.#queue[0] && this.#queue[0][0] <= nowUs) {
      yield this.#queue.shift()!;
    }
  }
}

export const percentile = (values: number[], percent: number): number =>
  values.sort((a, b) => a - b)[Math.floor(((values.length - 1) * percent) / 100)]!;
