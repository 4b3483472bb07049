import type { ServerClock } from "./clock.js";
import { isHidden } from "./page.js";
import type { Timers } from "./timers.js";

/** Silence after which a client asks whether anybody is there, and for how long it waits. */
const SILENCE_US = 20e6;
const ANSWER_US = 8e6;
/** From one report to the next. */
const REPORT_US = 1e6;
const BEAT_MS = 250;

/** What a {@link Pulse} has its client do. */
export interface PulseHandlers {
  ping(clientUs: number): void;
  report(isHidden: boolean): void;
  beat(): void;
  /** Nothing came for too long: the connection is not one any more. */
  dead(): void;
}

/** What a client does regularly while it is connected (SPEC.md section 11). */
export class Pulse {
  readonly #timers: Timers;
  readonly #clock: ServerClock;
  readonly #handlers: PulseHandlers;
  #timer: unknown;
  #heardUs = 0;
  /** When it asked whether anybody is there; 0 when it did not, or was answered. */
  #probedUs = 0;
  #reportedUs = 0;

  constructor(timers: Timers, clock: ServerClock, handlers: PulseHandlers) {
    this.#timers = timers;
    this.#clock = clock;
    this.#handlers = handlers;
  }

  start(): void {
    this.heard();
    this.#clock.beginAgain();
    this.#beat();
  }

  stop(): void {
    this.#timers.clear(this.#timer);
    this.#timer = undefined;
  }

  /** Something came. */
  heard(): void {
    this.#heardUs = this.#timers.nowUs();
    this.#probedUs = 0;
  }

  /** Reports now: a page was hidden or is seen again, or there is a seat. */
  look(): void {
    if (this.#timer !== undefined) {
      this.#reportedUs = this.#timers.nowUs();
      this.#handlers.report(isHidden());
      this.probe();
    }
  }

  /** Asks whether the server is still there. */
  probe(): void {
    if (this.#timer !== undefined && !this.#probedUs) {
      this.#probedUs = this.#timers.nowUs();
      this.#handlers.ping(this.#probedUs);
    }
  }

  #beat(): void {
    this.stop();
    const nowUs = this.#timers.nowUs();
    if (this.#probedUs && nowUs - this.#probedUs > ANSWER_US) {
      this.#handlers.dead();
      return;
    }
    this.#timer = this.#timers.set(() => this.#beat(), BEAT_MS);
    const ping = this.#clock.pollPing(nowUs);
    if (ping !== undefined) {
      this.#handlers.ping(ping);
    }
    if (nowUs - this.#heardUs > SILENCE_US) {
      this.probe();
    }
    if (nowUs - this.#reportedUs >= REPORT_US) {
      this.#reportedUs = nowUs;
      this.#handlers.report(isHidden());
    }
    this.#handlers.beat();
  }
}
