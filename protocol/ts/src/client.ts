import { bounded, GONE } from "./asking.js";
import { bodyOf, bytesOfHex } from "./bytes.js";
import { ServerClock } from "./clock.js";
import { Connection } from "./connection.js";
import { Emitter, throwLater, type Unsubscribe } from "./emitter.js";
import { TickloomError } from "./errors.js";
import { type ClientKind, decodeServer, encodeClient, type ServerMessage } from "./messages.js";
import type {
  Address,
  ClientEvents,
  ClientOptions,
  ConnectionState,
  JoinOptions,
} from "./options.js";
import { watchPage } from "./page.js";
import { encodeProperties } from "./properties.js";
import { Pulse } from "./pulse.js";
import { Room } from "./room.js";
import type { AnyShape, RoomType, Shape } from "./shape.js";
import { newStats, type Stats } from "./stats.js";
import { keepTicket, takeTicket } from "./tickets.js";
import { platformTimers, type Timers } from "./timers.js";
import {
  type ClientMessages,
  type Joined,
  leaveReason,
  type Refused,
  refusalCode,
} from "./wire.gen.js";

/** Indices of {@link joinMode}. */
const JOIN_OR_CREATE = 0;
const CREATE = 1;
const JOIN = 2;

/** A seat that somebody asked for. It stands until the seat is gone. */
interface Wish {
  readonly type: RoomType;
  readonly options: JoinOptions;
  /** Of the `Join`, what is the same each time. */
  readonly fields: ClientMessages["Join"];
  resolve(room: Room): void;
  reject(error: unknown): void;
  /** The seat. */
  room?: Room;
}

/** A client of one server, with a seat in at most one room at a time. */
export class Client {
  /** What it has done so far. */
  readonly stats: Stats = newStats();
  /** @internal */
  readonly _options: ClientOptions;
  /** @internal */
  readonly _timers: Timers;
  /** @internal */
  readonly _emitter = new Emitter<ClientEvents>((error) => this._report(error));
  /** @internal */
  readonly _serverClock = new ServerClock();
  readonly #connection: Connection;
  readonly #pulse = new Pulse(this);
  readonly #unwatch: Unsubscribe;
  #wish: Wish | undefined;
  /** Whose seat was asked for over this connection and is not answered yet, or is given back. */
  #asked: Wish | undefined;
  /** The member that it is if it gets the seat it had before. */
  #resumes: number | undefined;
  /** A handler of errors may throw, too. */
  #isReporting = false;

  /** @internal */
  constructor(address: Address, options: ClientOptions) {
    this._options = options;
    this._timers = options.timers ?? platformTimers;
    const pulse = this.#pulse;
    const connection = new Connection(address, this);
    this.#connection = connection;
    this.#unwatch = watchPage({
      seen: () => pulse.look(),
      gone: (isKept) => this.#leavePage(isKept),
      back: () => connection.thaw(),
      offline: () => pulse.probe(),
    });
    connection.connect();
  }

  /** Where it is. */
  get state(): ConnectionState {
    return this.#connection.state;
  }

  /** When waiting for the next try: its time, on the clock of `performance.now()`. */
  get retryAtMs(): number | undefined {
    return this.#connection.retryAtMs;
  }

  /** The room it has a seat in, also while its connection is broken. */
  get room(): Room | undefined {
    const room = this.#wish?.room;
    return room?.status === "left" ? undefined : room;
  }

  /** Bytes that wait in the socket. */
  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  /** Calls `handler` whenever this happens. */
  on<E extends keyof ClientEvents>(event: E, handler: ClientEvents[E]): Unsubscribe {
    return this._emitter.on(event, handler);
  }

  /**
   * Takes a seat in a room, which is made when it is not there. Resolves when its state is there.
   * Rejects with a refusal code, `"AlreadyJoined"` while this client has a seat.
   */
  join<S extends Shape = AnyShape>(
    type: string | RoomType<S>,
    options: JoinOptions = {},
  ): Promise<Room<S>> {
    return this.#ask(type, options, options.mode ? JOIN : JOIN_OR_CREATE);
  }

  /** Makes a room and takes a seat in it. Rejects with `"RoomExists"` if it is there. */
  create<S extends Shape = AnyShape>(
    type: string | RoomType<S>,
    options: JoinOptions = {},
  ): Promise<Room<S>> {
    return this.#ask(type, options, CREATE);
  }

  /** Watches a room that is there. */
  spectate<S extends Shape = AnyShape>(
    type: string | RoomType<S>,
    options: JoinOptions & { room: string },
  ): Promise<Room<S>> {
    return this.#ask(type, options, JOIN_OR_CREATE, true);
  }

  /** Gives the seat back and ends the connection for good. */
  close(): void {
    this.#connection.close(new TickloomError("Closed", "closed by the client", 0, 1000));
  }

  /** Cuts the connection, as a bad line would; the client comes back by itself. For tests. */
  drop(): void {
    this.#connection.drop();
  }

  /** Tries now, when it waits. */
  reconnect(): void {
    this.#connection.connect();
  }

  #ask<S extends Shape>(
    type: string | RoomType<S>,
    options: JoinOptions,
    mode: number,
    spectate = false,
  ): Promise<Room<S>> {
    let wish: Wish | undefined;
    const start = (resolve: (room: Room<S>) => void, reject: (error: unknown) => void) => {
      if (this.state === "closed") {
        throw new TickloomError("Closed", "this client is closed");
      }
      if (this.room || (this.#wish && !this.#wish.room)) {
        throw new TickloomError("AlreadyJoined", "a client has a seat in one room at a time");
      }
      const { seat, metadata, filter } = options;
      const fields = {
        ...options,
        room: options.room ?? "",
        roomType: typeof type === "string" ? type : type.name,
        mode,
        spectate,
        options: options.options && bodyOf(options.options),
        seat: typeof seat === "string" ? bytesOfHex(seat) : seat,
        metadata: metadata && encodeProperties(metadata),
        filter: filter && encodeProperties(filter),
      };
      // What cannot be asked for is said now, and not when there is a connection.
      encodeClient("Join", fields);
      wish = {
        type: (typeof type === "string" ? { name: type, needs: [] } : type) as RoomType,
        options,
        fields,
        resolve: resolve as (room: never) => void,
        reject,
      };
      this.#wish = wish;
      this.#connection.connect();
      this.#askForSeat();
    };
    return bounded(this._timers, options, start, () => {
      if (this.#wish === wish) {
        if (wish?.room?._isSeated) {
          this.#giveBack();
        }
        this.#wish = undefined;
      }
    });
  }

  /** Asks for the seat that is wanted: the one from before, or another. */
  #askForSeat(): void {
    const wish = this.#wish;
    const { room: before, type, fields, options } = wish ?? ({} as Wish);
    if (!wish || this.#asked || this.state !== "open" || before?.status === "left") {
      return;
    }
    const kept = before || !options.remember ? undefined : takeTicket(type.name, options);
    const resume = before ? before._ticket : kept?.ticket;
    this._send("Join", {
      ...fields,
      room: before?.name ?? kept?.room ?? fields.room,
      // Whoever made the room comes back to it.
      mode: before && fields.mode === CREATE ? JOIN_OR_CREATE : fields.mode,
      // A seat that was kept is good once.
      seat: before ? undefined : fields.seat,
      resume,
    });
    this.#asked = wish;
    this.#resumes = resume?.member;
  }

  /** There is a connection. @internal */
  _opened(): void {
    this.stats.connections += 1;
    this.#pulse.start();
    this.#askForSeat();
  }

  /** Whether nobody wants a seat. @internal */
  get _isIdle(): boolean {
    return !this.room && (!this.#wish || !!this.#wish.room);
  }

  /** The connection is gone; there may be another one. @internal */
  _dropped(): void {
    this.#asked = undefined;
    this.#pulse.stop();
    this.room?._dropped();
  }

  /** There will be no other. @internal */
  _closed(error: TickloomError): void {
    this.#pulse.stop();
    this.#unwatch();
    const wish = this.#wish;
    this.room?._left("Closed", error.message);
    wish?.reject(error);
    this._emitter.emit("closed", error);
  }

  /** @internal */
  _message(bytes: Uint8Array): void {
    this.stats.bytesIn += bytes.length;
    this.stats.messagesIn += 1;
    this.#pulse.heard();
    let message: ServerMessage | undefined;
    try {
      message = decodeServer(bytes);
    } catch (error) {
      this._fail(String(error), 1007);
      return;
    }
    this.#handle(message);
  }

  #handle(message: ServerMessage | undefined): void {
    const { room } = this;
    switch (message?.kind) {
      case "Delta":
        room?._delta(message);
        break;
      case "TimeSync":
        this._serverClock.handleSync(this._timers.nowUs(), message);
        room?.clock.timetable.handleSync(message);
        break;
      case "Accepted":
        room?._accepted(message);
        break;
      case "Joined":
        this.#handleJoined(message);
        break;
      case "Refused":
        this.#handleRefused(message);
        break;
      case "Left":
        this.#asked = undefined;
        room?._left(leaveReason[message.reason]!, message.message);
        this.#askForSeat();
        break;
      case "GoAway":
        this.#connection.backoff.hint(message.retryMs);
        break;
      // A kind that this version does not know is passed over.
      case undefined:
    }
  }

  #handleJoined(joined: Joined): void {
    const wish = this.#asked;
    if (!wish || wish !== this.#wish || wish.room?.status === "left") {
      this.#giveBack();
      return;
    }
    this.#asked = undefined;
    this.#connection.backoff.succeeded(this._timers.nowUs());
    const { room, type, options } = wish;
    const isSame = joined.member === this.#resumes;
    this.stats.resumed += +isSame;
    this.stats.recovered += +(isSame && joined.recovered);
    if (!room) {
      const made = new Room(this, type.name, options.room ?? "", joined, () => wish.resolve(made));
      wish.room = made;
      made.on("left", ({ message }) => wish.reject(new TickloomError("Left", message || GONE)));
      type._warn?.(made.schema);
    } else if (!room._rejoined(joined, isSame)) {
      // First, because handlers may ask for another seat.
      this.#giveBack();
      room._left("RoomEnded", "the room is made of something else now: join again");
      return;
    }
    this.#pulse.look();
  }

  /** Nobody wants the seat any more. */
  #giveBack(): void {
    this.#asked ??= this.#wish;
    this._send("Leave", {});
  }

  #handleRefused(refused: Refused): void {
    const code = refusalCode[refused.code]!;
    const error = new TickloomError(code, refused.message, refused.retryMs);
    const wish = this.#asked;
    // A `Leave` has crossed the end of the seat: not what the next `Join` is answered with.
    if (code === "NotJoined") {
      return;
    }
    if (refused.op || !wish) {
      this.room?._refused(refused, error);
      return;
    }
    this.#asked = undefined;
    if (!wish.room) {
      wish.reject(error);
    } else if (error.retryMs) {
      // The server bounds how often a connection asks, and for how long it has no seat.
      this.#connection.backoff.hint(error.retryMs);
      this.drop();
    } else {
      wish.room._left("Refused", error.message);
    }
    this.#askForSeat();
  }

  #leavePage(isKept: boolean): void {
    const room = this.room;
    if (isKept) {
      this.#connection.freeze();
    } else if (room) {
      const { type, options } = this.#wish!;
      const ticket = options.remember && room._ticket;
      // Firefox may have closed the connection of a page that goes before it says so.
      if (ticket) {
        keepTicket(type.name, options, room.name, ticket);
      } else if (room.status === "joined") {
        // Otherwise the others would see somebody who is away until the grace is over.
        this._send("Leave", {});
      }
    }
  }

  /** Whether so much waits in the socket that what can wait should. @internal */
  get _isCongested(): boolean {
    return this.bufferedBytes > (this._options.bufferedBytesMax ?? 65_536);
  }

  /** @internal */
  _send<K extends ClientKind>(kind: K, fields: ClientMessages[K]): void {
    this._sendBytes(encodeClient(kind, fields));
  }

  /** @internal */
  _sendBytes(bytes: Uint8Array): void {
    this.stats.bytesOut += bytes.length;
    this.stats.messagesOut += 1;
    this.#connection.send(bytes);
  }

  /** The server sends what makes no sense: there is no point in going on. @internal */
  _fail(message: string, closeCode: number): void {
    this.#connection.close(new TickloomError("Closed", message, 0, closeCode));
  }

  /** A handler has thrown. @internal */
  readonly _report = (error: unknown): void => {
    this.stats.handlerErrors += 1;
    if (this.#isReporting || !this._emitter.list("error").length) {
      throwLater(error);
      return;
    }
    this.#isReporting = true;
    this._emitter.emit("error", error);
    this.#isReporting = false;
  };
}
