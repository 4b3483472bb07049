/**
 * A bad line, for trying out how a game feels on one: messages come later, never in another order
 * and never not at all, because that is what TCP makes of a bad line.
 */
import type { WebSocketClass, WebSocketLike } from "../connection.js";
import { platformTimers, type Timers } from "../timers.js";

/** How bad the line is. It may be changed at any time, for messages from then on. */
export interface Network {
  /** Milliseconds that every message takes each way, beside what the real line takes. */
  latencyMs: number;
  /** Up to so many milliseconds more, another number for each message. */
  jitterMs: number;
  /** Bytes a second each way; 0 for no limit. */
  throughputBps: number;
}

/** A WebSocket class over a bad line, to be given as `ClientOptions.WebSocket`. */
export interface SimulatedWebSocket extends WebSocketClass {
  readonly network: Network;
}

/**
 * Makes every connection of a WebSocket class one over a bad line. Without `network` the line is as
 * it is, until somebody changes the `network` of what is returned, such as `debugPanel` does.
 */
export function simulate(
  WebSocket: new (url: string, protocols: string) => WebSocketLike,
  network: Partial<Network> = {},
  { timers = platformTimers, random = Math.random }: SimulateOptions = {},
): SimulatedWebSocket {
  const shared: Network = { latencyMs: 0, jitterMs: 0, throughputBps: 0, ...network };
  return class Simulated extends SlowSocket {
    static readonly network = shared;

    constructor(url: string, protocols: string) {
      const way = () => new Way(shared, timers, random);
      super(new WebSocket(url, protocols), way(), way());
    }
  };
}

/** For tests. */
export interface SimulateOptions {
  timers?: Timers;
  /** From 0 to below 1. */
  random?: () => number;
}

/** Things on their way in one direction. They arrive in the order in which they were sent. */
class Way {
  readonly #network: Network;
  readonly #timers: Timers;
  readonly #random: () => number;
  /** Ascending by `dueUs`. A timer runs for the first if there is one. */
  #queue: { dueUs: number; bytes: number; arrive: () => void }[] = [];
  /** When the line has taken all that was sent. */
  #freeUs = 0;
  #bytes = 0;

  constructor(network: Network, timers: Timers, random: () => number) {
    this.#network = network;
    this.#timers = timers;
    this.#random = random;
  }

  /** Bytes on their way. */
  get bytes(): number {
    return this.#bytes;
  }

  send(bytes: number, arrive: () => void): void {
    const { latencyMs, jitterMs, throughputBps } = this.#network;
    const nowUs = this.#timers.nowUs();
    const takesUs = throughputBps > 0 ? (bytes * 1e6) / throughputBps : 0;
    this.#freeUs = Math.max(this.#freeUs, nowUs) + takesUs;
    const delayUs = 1000 * (latencyMs + jitterMs * this.#random());
    const dueUs = Math.max(this.#freeUs + delayUs, this.#queue.at(-1)?.dueUs ?? 0);
    this.#queue.push({ dueUs, bytes, arrive });
    this.#bytes += bytes;
    if (this.#queue.length === 1) {
      this.#arm(nowUs);
    }
  }

  #arm(nowUs: number): void {
    const first = this.#queue[0];
    if (first) {
      this.#timers.set(() => this.#deliver(), Math.max(0, (first.dueUs - nowUs) / 1000));
    }
  }

  #deliver(): void {
    const nowUs = this.#timers.nowUs();
    // Timers may be early by what they round.
    while (this.#queue.length > 0 && this.#queue[0]!.dueUs <= nowUs + 1000) {
      const { bytes, arrive } = this.#queue.shift()!;
      this.#bytes -= bytes;
      arrive();
    }
    this.#arm(nowUs);
  }
}

/** A socket of which everything, its opening and its end included, takes its time. */
class SlowSocket implements WebSocketLike {
  onopen: WebSocketLike["onopen"] = null;
  onmessage: WebSocketLike["onmessage"] = null;
  onclose: WebSocketLike["onclose"] = null;
  onerror: WebSocketLike["onerror"] = null;
  readonly #socket: WebSocketLike;
  readonly #out: Way;

  constructor(socket: WebSocketLike, out: Way, back: Way) {
    this.#socket = socket;
    this.#out = out;
    for (const name of ["onopen", "onmessage", "onclose", "onerror"] as const) {
      socket[name] = (event: { data?: { byteLength?: number; length?: number } }) => {
        const bytes = event.data?.byteLength ?? event.data?.length ?? 0;
        back.send(bytes, () => this[name]?.(event as never));
      };
    }
  }

  get binaryType(): string {
    return this.#socket.binaryType;
  }

  set binaryType(type: string) {
    this.#socket.binaryType = type;
  }

  get bufferedAmount(): number {
    return this.#out.bytes + this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array): void {
    const copy = bytes.slice();
    this.#out.send(copy.byteLength, () => this.#socket.send(copy));
  }

  close(code?: number, reason?: string): void {
    this.#out.send(0, () => this.#socket.close(code, reason));
  }
}
