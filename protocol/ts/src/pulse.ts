import type { Client } from "./client.js";
import { isHidden } from "./page.js";

/** Silence after which a client asks whether anybody is there, and for how long it waits. */
const SILENCE_US = 20e6;
const ANSWER_US = 8e6;
/** From one report to the next. */
const REPORT_US = 1e6;
const BEAT_MS = 250;

/** What a client does regularly while it is connected (SPEC.md section 11). */
export class Pulse {
  readonly #client: Client;
  #timer: unknown;
  #heardUs = 0;
  /** When it asked whether anybody is there; 0 when it did not, or was answered. */
  #probedUs = 0;
  #reportedUs = 0;
  #isCongested = false;

  constructor(client: Client) {
    this.#client = client;
  }

  start(): void {
    this.heard();
    this.#client._serverClock.beginAgain();
    this.#beat();
  }

  stop(): void {
    this.#client._timers.clear(this.#timer);
    this.#timer = undefined;
  }

  /** Something came. */
  heard(): void {
    this.#heardUs = this.#client._timers.nowUs();
    this.#probedUs = 0;
  }

  /** Reports now: a page was hidden or is seen again, or there is a seat. */
  look(): void {
    if (this.#timer !== undefined) {
      this.#report();
      this.probe();
    }
  }

  /** Asks whether the server is still there. */
  probe(): void {
    if (this.#timer !== undefined && !this.#probedUs) {
      this.#probedUs = this.#client._timers.nowUs();
      this.#client._send("Ping", { clientUs: this.#probedUs });
    }
  }

  #report(): void {
    const { room, _timers } = this.#client;
    this.#reportedUs = _timers.nowUs();
    if (room?.status === "joined") {
      this.#client._send("Report", { appliedTick: room.tick, hidden: isHidden() });
    }
  }

  #beat(): void {
    const client = this.#client;
    const { _timers, _serverClock, _isCongested } = client;
    this.stop();
    const nowUs = _timers.nowUs();
    if (this.#probedUs && nowUs - this.#probedUs > ANSWER_US) {
      client.drop();
      return;
    }
    this.#timer = _timers.set(() => this.#beat(), BEAT_MS);
    const clientUs = _serverClock.pollPing(nowUs);
    if (clientUs) {
      client._send("Ping", { clientUs });
    }
    if (nowUs - this.#heardUs > SILENCE_US) {
      this.probe();
    }
    if (nowUs - this.#reportedUs >= REPORT_US) {
      this.#report();
    }
    if (_isCongested !== this.#isCongested) {
      this.#isCongested = _isCongested;
      client._emitter.emit("congested", _isCongested);
    }
  }
}
