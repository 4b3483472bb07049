/** Where a client takes its time from: the platform's clocks, or those of a test or a game loop. */
export interface Timers {
  /** Microseconds of a clock that never runs backwards, from any origin. */
  nowUs(): number;
  /** Calls `act` once, `ms` milliseconds from now. */
  set(act: () => void, ms: number): unknown;
  /** Takes back what `set` returned. */
  clear(timer: unknown): void;
}

/** The platform's. */
export const platformTimers: Timers = {
  nowUs: () => Math.round(performance.now() * 1000),
  // Longer ones end at once.
  set: (act, ms) => setTimeout(act, Math.min(ms, 2 ** 31 - 1)),
  clear: (timer) => clearTimeout(timer as number),
};
