/** What a client needs of a WebSocket: that of browsers, of Node 22 and later, or of npm's `ws`. */
export interface WebSocketLike {
  binaryType: string;
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  onerror: ((event: never) => void) | null;
  send(bytes: Uint8Array): void;
  close(code?: number, reason?: string): void;
}

/** A class of WebSockets. */
export type WebSocketClass = new (url: string, protocols: string) => WebSocketLike;

/** What happens to one connection. */
export interface ConnectionHandlers {
  open(): void;
  message(bytes: Uint8Array): void;
  /** The last thing that happens. 1006 is an end without a close frame. */
  end(code: number, reason: string): void;
}

/** One WebSocket, from its handshake to its end, which comes exactly once. */
export class Connection {
  readonly #socket: WebSocketLike;
  readonly #handlers: ConnectionHandlers;
  #isOpen = false;
  #isOver = false;

  constructor(Socket: WebSocketClass, url: string, handlers: ConnectionHandlers) {
    this.#handlers = handlers;
    const socket = new Socket(url, "tickloom.v1");
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      if (!this.#isOver) {
        this.#isOpen = true;
        handlers.open();
      }
    };
    socket.onmessage = (event: { data: unknown }) => {
      // Texts are passed over: a newer server's business.
      if (!this.#isOver && event.data instanceof ArrayBuffer) {
        handlers.message(new Uint8Array(event.data));
      }
    };
    // Says nothing that the close does not; without a handler npm's `ws` would throw.
    socket.onerror = () => {};
    socket.onclose = (event: { code: number; reason: string }) =>
      this.#end(event.code, String(event.reason));
  }

  get isOpen(): boolean {
    return this.#isOpen && !this.#isOver;
  }

  get bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  send(bytes: Uint8Array): void {
    this.#socket.send(bytes);
  }

  /**
   * Ends the connection now, whatever the other end does. With 1000 the server gives the seat
   * back, with any other code it keeps it for its grace.
   */
  end(code: number, reason: string): void {
    try {
      this.#socket.close(code === 1000 ? 1000 : 3000, reason);
    } catch {
      // It is not open yet, or not any more.
    }
    this.#end(code, reason);
  }

  #end(code: number, reason: string): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#handlers.end(code, reason);
    }
  }
}
