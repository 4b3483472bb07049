import type { AskOptions } from "./asking.js";
import type { WebSocketClass } from "./connection.js";
import type { TickloomError } from "./errors.js";
import type { Verify } from "./replica.js";
import type { Props } from "./table.js";
import type { Timers } from "./timers.js";

/** Where the server is: an address, or what finds it out before each connection. */
export type Address = string | URL | (() => string | URL | Promise<string | URL>);

/** How a client is made. Everything may be left out. */
export interface ClientOptions {
  /** A WebSocket class, where the platform has none: that of npm's `ws` on Node before 22. */
  WebSocket?: WebSocketClass;
  /**
   * How to come back after a connection broke: at once if it worked, then after a random time
   * between 0 and `delayMinMs` (500) doubled by each attempt, at most `delayMaxMs` (30,000).
   * False: not at all.
   */
  reconnect?: false | { delayMinMs?: number; delayMaxMs?: number };
  /** Milliseconds that a connection may take to open: 5,000. */
  connectTimeoutMs?: number;
  /** Bytes kept of what is said and written while there is no connection: 65,536. */
  offlineBytesMax?: number;
  /** Bytes waiting in the socket beyond which inputs and presence wait: 65,536. */
  bufferedBytesMax?: number;
  /** Whether row decoders are compiled: yes, unless a Content-Security-Policy forbids it. */
  compileRows?: boolean;
  /** Checks the hashes that the server sends; `verify` of `@tickloom/client/debug`. */
  verify?: Verify;
  /** The clock and the timers, for tests and for programs with a loop of their own. */
  timers?: Timers;
}

/** Which seat to ask for. */
export interface JoinOptions extends AskOptions {
  /** The room's name. Without one the server finds a room, or makes one and names it. */
  room?: string;
  /** What this member wants to be called. */
  name?: string;
  /** `"join"` makes no room when there is none: it rejects with `"UnknownRoom"`. */
  mode?: "join";
  /** For the room's logic, or what a described room is to be like. Objects travel as JSON. */
  options?: Uint8Array | object;
  password?: string;
  /** The token of a seat that is kept for this member, as bytes or hexadecimal digits. */
  seat?: Uint8Array | string;
  /** What a new room says of itself, and what a room must say that the server finds. */
  metadata?: Props;
  filter?: Props;
  /** Keeps the seat for a page that is loaded again, by way of `sessionStorage`. */
  remember?: boolean;
}

/**
 * Where a client is.
 *
 * ```text
 * connecting -> open -> waiting -> connecting -> ...      closed, from any of them
 * ```
 *
 * `waiting` is for the next try, at `retryAtMs`, or for the network or the page to come back,
 * or for a join: a server closes connections on which nobody joins within 10 s.
 */
export type ConnectionState = "connecting" | "open" | "waiting" | "closed";

/** What happens to a client, with what its handlers are told. */
export interface ClientEvents {
  state(now: ConnectionState, before: ConnectionState): void;
  /** There has been no connection for 5 s: tell people. */
  lost(): void;
  /** There is one again. */
  restored(): void;
  /** The client is closed for good. */
  closed(error: TickloomError): void;
  /** So much waits in the socket that inputs and presence have to wait, too; or not any more. */
  congested(is: boolean): void;
  /** A handler has thrown. Without a handler of this event, it is thrown again in a later task. */
  error(error: unknown): void;
}
