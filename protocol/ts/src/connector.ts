import { Backoff } from "./backoff.js";
import { Connection, type WebSocketClass } from "./connection.js";
import { TickloomError } from "./errors.js";
import type { Address, ClientOptions, ConnectionState } from "./options.js";
import { isOffline } from "./page.js";
import type { Timers } from "./timers.js";

/** Without a connection for so long, people should be told. */
const LOST_MS = 5000;

/** What a {@link Connector} tells its client. */
export interface ConnectorHandlers {
  state(now: ConnectionState, before: ConnectionState): void;
  opened(): void;
  message(bytes: Uint8Array): void;
  /** The connection is gone; there may be another one. */
  dropped(): void;
  lost(): void;
  restored(): void;
  /** There will be no other. */
  closed(error: TickloomError): void;
}

/** Keeps a client connected: when to try, how long to wait, and when to stop (SPEC.md section 12). */
export class Connector {
  readonly backoff: Backoff;
  readonly #address: Address;
  readonly #options: ClientOptions;
  readonly #timers: Timers;
  readonly #handlers: ConnectorHandlers;
  #state: ConnectionState = "waiting";
  #connection: Connection | undefined;
  /** How many were begun: whatever an earlier one still does means nothing. */
  #tries = 0;
  /** The next try, or the end of this one's patience. */
  #timer: unknown;
  #lostTimer: unknown;
  #isLost = false;
  #isFrozen = false;
  #retryAtMs: number | undefined;

  constructor(
    address: Address,
    options: ClientOptions,
    timers: Timers,
    handlers: ConnectorHandlers,
  ) {
    this.#address = address;
    this.#options = options;
    this.#timers = timers;
    this.#handlers = handlers;
    const { delayMinMs = 500, delayMaxMs = 30_000 } = options.reconnect || {};
    this.backoff = new Backoff(delayMinMs, delayMaxMs);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get retryAtMs(): number | undefined {
    return this.#retryAtMs;
  }

  get bufferedBytes(): number {
    return this.#connection?.bufferedBytes ?? 0;
  }

  send(bytes: Uint8Array): void {
    this.#connection?.send(bytes);
  }

  /** Begins a connection, unless there is one. */
  connect(): void {
    if (this.#state !== "waiting") {
      return;
    }
    this.#tries += 1;
    const own = this.#tries;
    this.#retryAtMs = undefined;
    this.#setState("connecting");
    const { connectTimeoutMs = 5000 } = this.#options;
    this.#after(connectTimeoutMs, () => {
      this.#tries += 1;
      this.drop();
    });
    this.#open(own).catch((error) => {
      if (own === this.#tries) {
        // What is no address will not become one; where to connect may be found out later.
        const isMistake = error instanceof SyntaxError || error instanceof TypeError;
        isMistake ? this.close(new TickloomError("Closed", error.message)) : this.drop();
      }
    });
  }

  /** Ends the connection as a bad line would. */
  drop(): void {
    this.#connection ? this.#connection.end(1006, "") : this.#end(1006, "");
  }

  /** Ends the connection for good. With 1000 the server gives the seat back. */
  close(error: TickloomError): void {
    if (this.#state === "closed") {
      return;
    }
    const connection = this.#connection;
    this.#connection = undefined;
    this.#setState("closed");
    this.#timers.clear(this.#timer);
    this.#timers.clear(this.#lostTimer);
    connection?.end(error.closeCode ?? 1000, "");
    this.#handlers.closed(error);
  }

  /** The page is put away: nothing is connected until it is back. */
  freeze(): void {
    this.#isFrozen = true;
    this.drop();
  }

  /** The page or the network is back: no reason to wait any longer. */
  thaw(): void {
    this.#isFrozen = false;
    this.connect();
  }

  async #open(own: number): Promise<void> {
    const { WebSocket = globalThis.WebSocket as unknown as WebSocketClass } = this.#options;
    const address = this.#address;
    const url = socketUrl(typeof address === "function" ? await address() : address);
    if (own !== this.#tries || this.#state !== "connecting") {
      return;
    }
    this.#connection = new Connection(WebSocket, url, {
      open: () => {
        this.#timers.clear(this.#timer);
        this.#setState("open");
        this.#handlers.opened();
      },
      message: (bytes) => this.#handlers.message(bytes),
      end: (code, reason) => this.#end(code, reason),
    });
  }

  #end(code: number, reason: string): void {
    this.#connection = undefined;
    if (this.#state === "closed" || this.#state === "waiting") {
      return;
    }
    if (isFinal(code) || this.#options.reconnect === false) {
      this.close(new TickloomError("Closed", reason || "no connection", 0, code));
      return;
    }
    const wasOpen = this.#state === "open";
    this.#setState("waiting");
    if (wasOpen) {
      this.#handlers.dropped();
    }
    this.#timers.clear(this.#timer);
    if (this.#isFrozen || isOffline()) {
      return;
    }
    const delayMs = this.backoff.nextMs(this.#timers.nowUs(), code);
    this.#retryAtMs = this.#timers.nowUs() / 1000 + delayMs;
    this.#after(delayMs, () => this.connect());
  }

  #after(ms: number, act: () => void): void {
    this.#timers.clear(this.#timer);
    this.#timer = this.#timers.set(act, ms);
  }

  #setState(state: ConnectionState): void {
    const before = this.#state;
    this.#state = state;
    if (state === "open" || state === "closed") {
      this.#timers.clear(this.#lostTimer);
      this.#lostTimer = undefined;
    } else {
      this.#lostTimer ??= this.#timers.set(() => {
        this.#isLost = true;
        this.#handlers.lost();
      }, LOST_MS);
    }
    this.#handlers.state(state, before);
    if (state === "open" && this.#isLost) {
      this.#isLost = false;
      this.#handlers.restored();
    }
  }
}

/** Whether to stay away after this code (SPEC.md section 12). 1005 is a close frame without one. */
export const isFinal = (code: number): boolean =>
  [1000, 1002, 1003, 1005, 1007, 1008, 1009].includes(code) || (code >= 4500 && code <= 4999);

/** An address as a WebSocket wants it: absolute, `ws` for `http`. */
function socketUrl(address: string | URL): string {
  const url = new URL(address, globalThis.location?.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url.href;
}
