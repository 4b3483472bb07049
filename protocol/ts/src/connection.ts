import { Backoff } from "./backoff.js";
import type { Client } from "./client.js";
import { TickloomError } from "./errors.js";
import type { Address, ConnectionState } from "./options.js";
import { isOffline } from "./page.js";

/** What a client needs of a WebSocket: that of browsers, of Node 22 and later, or of npm's `ws`. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  // biome-ignore lint/suspicious/noExplicitAny: platforms differ in what bytes they take
  send(bytes: any): void;
  close(code?: number, reason?: string): void;
}

/** A class of WebSockets. */
export type WebSocketClass = new (url: string, protocols: string) => WebSocketLike;

/** Without a connection for so long, people should be told. */
const LOST_MS = 5000;

/**
 * The connection of a client, one WebSocket after the other: when to try, how long to wait, and when
 * to stop (SPEC.md section 12).
 */
export class Connection {
  readonly backoff: Backoff;
  state: ConnectionState = "waiting";
  /** When waiting for the next try: its time on the clock of the timers, in milliseconds. */
  retryAtMs: number | undefined;
  readonly #address: Address;
  readonly #client: Client;
  /** The try that counts: what an earlier one still does means nothing. */
  #try: object | undefined;
  #socket: WebSocketLike | undefined;
  /** The next try, or the end of this one's patience. */
  #timer: unknown;
  #lostTimer: unknown;
  #isLost = false;
  #isFrozen = false;

  constructor(address: Address, client: Client) {
    this.#address = address;
    this.#client = client;
    const { delayMinMs = 500, delayMaxMs = 30_000 } = client._options.reconnect || {};
    this.backoff = new Backoff(delayMinMs, delayMaxMs);
  }

  /** Bytes that wait in the socket. */
  get bufferedBytes(): number {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(bytes: Uint8Array): void {
    this.#socket?.send(bytes);
  }

  /** Begins a connection, unless there is one. */
  connect(): void {
    if (this.state !== "waiting") {
      return;
    }
    const own = {};
    this.#try = own;
    this.#setState("connecting", () => {
      this.#after(this.#client._options.connectTimeoutMs ?? 5000, () => this.drop());
      this.#open(() => this.#try === own).catch((error) => {
        if (this.#try === own) {
          // What is no address will not become one; where to connect may be found out later.
          error instanceof TickloomError ? this.close(error) : this.drop();
        }
      });
    });
  }

  /** Ends the connection as a bad line would. */
  drop(): void {
    this.#end(1006, "");
  }

  /** Ends the connection for good. With 1000 the server gives the seat back. */
  close(error: TickloomError): void {
    if (this.state !== "closed") {
      this.#setState("closed");
      this.#client._timers.clear(this.#timer);
      this.#cut(error.closeCode ?? 1000);
      this.#client._closed(error);
    }
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

  async #open(isOwn: () => boolean): Promise<void> {
    const { WebSocket = globalThis.WebSocket as unknown as WebSocketClass } = this.#client._options;
    const from = this.#address;
    const address = typeof from === "function" ? await from() : from;
    if (!isOwn()) {
      return;
    }
    const socket = newSocket(WebSocket, address);
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (isOwn()) {
        this.#client._timers.clear(this.#timer);
        this.#setState("open", () => this.#client._opened());
      }
    };
    socket.onmessage = ({ data }: { data: unknown }) => {
      // Texts are passed over: a newer server's business. Bytes may be of another realm.
      if (isOwn() && typeof data !== "string") {
        this.#client._message(new Uint8Array(data as ArrayBuffer));
      }
    };
    // Says nothing that the close does not; without a handler npm's `ws` would throw.
    socket.onerror = () => {};
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => {
      if (isOwn()) {
        this.#end(code, reason);
      }
    };
  }

  /**
   * Lets go of the socket now, whatever the other end does. With 1000 the server gives the seat
   * back, with any other code it keeps it for its grace.
   */
  #cut(code: number): void {
    const socket = this.#socket;
    this.#try = this.#socket = undefined;
    try {
      socket?.close(code === 1000 ? 1000 : 3000);
    } catch {
      // It is not open yet, or not any more.
    }
  }

  /** This try is over: without a close frame when `code` is 1006. */
  #end(code: number, reason: string): void {
    const before = this.state;
    if (before === "closed" || before === "waiting") {
      return;
    }
    // A server does not wait for long for whoever has no seat and wants none yet.
    const isIdle = reason.startsWith("join-timeout") && this.#client._isIdle;
    if ((isFinal(code) && !isIdle) || this.#client._options.reconnect === false) {
      this.close(new TickloomError("Closed", reason || "no connection", 0, code));
      return;
    }
    this.#cut(code);
    this.#setState("waiting", () => {
      this.#client._timers.clear(this.#timer);
      if (isIdle) {
        this.#client._timers.clear(this.#lostTimer);
        this.#lostTimer = undefined;
      } else if (!this.#isFrozen && !isOffline()) {
        const nowUs = this.#client._timers.nowUs();
        const delayMs = this.backoff.nextMs(nowUs, code);
        this.retryAtMs = nowUs / 1000 + delayMs;
        this.#after(delayMs, () => this.connect());
      }
    });
    if (before === "open") {
      this.#client._dropped();
    }
  }

  #after(ms: number, act: () => void): void {
    this.#client._timers.clear(this.#timer);
    this.#timer = this.#client._timers.set(act, ms);
  }

  /** Handlers may close the client or connect it: what the state needs, `act`, comes first. */
  #setState(state: ConnectionState, act?: () => void): void {
    const before = this.state;
    this.state = state;
    this.retryAtMs = undefined;
    if (state === "open" || state === "closed") {
      this.#client._timers.clear(this.#lostTimer);
      this.#lostTimer = undefined;
    } else {
      this.#lostTimer ??= this.#client._timers.set(() => {
        this.#isLost = true;
        this.#client._emitter.emit("lost");
      }, LOST_MS);
    }
    act?.();
    this.#client._emitter.emit("state", state, before);
    if (state === "open" && this.#isLost) {
      this.#isLost = false;
      this.#client._emitter.emit("restored");
    }
  }
}

/** Whether to stay away after this code (SPEC.md section 12). 1005 is a close frame without one. */
export const isFinal = (code: number): boolean =>
  [1000, 1002, 1003, 1005, 1007, 1008, 1009].includes(code) || (code >= 4500 && code <= 4999);

/** A socket of an address made absolute, `ws` for `http`. Says what to do about what is none. */
function newSocket(WebSocket: WebSocketClass, address: string | URL): WebSocketLike {
  try {
    const url = new URL(address, globalThis.location?.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (!WebSocket) {
      throw new TypeError("no WebSocket here: give that of npm's ws as an option");
    }
    return new WebSocket(url.href, "tickloom.v1");
  } catch (error) {
    throw new TickloomError("Closed", `${address}: ${(error as Error).message}`);
  }
}
