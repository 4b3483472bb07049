import { bounded } from "./asking.js";
import { bytesOf, bytesOfHex } from "./body.js";
import { ServerClock } from "./clock.js";
import { Connector } from "./connector.js";
import { Emitter, throwLater, type Unsubscribe } from "./emitter.js";
import { TickloomError } from "./errors.js";
import { decodeServer, encodeClient, type ServerMessage } from "./messages.js";
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
import { type AnyShape, type RoomType, type Shape, warnOfMissing } from "./shape.js";
import { newStats, type Stats } from "./stats.js";
import { keepTicket, takeTicket } from "./tickets.js";
import { platformTimers, type Timers } from "./timers.js";
import {
  type Joined,
  type LeaveReason,
  leaveReason,
  type Refused,
  refusalCode,
} from "./wire.gen.js";

const MODES = { JoinOrCreate: 0, Create: 1, Join: 2, Spectate: 0 };

/** A seat that somebody asked for. It stands until the seat is gone. */
interface Wish {
  readonly kind: keyof typeof MODES;
  readonly type: RoomType;
  readonly options: JoinOptions;
  resolve(room: Room): void;
  reject(error: unknown): void;
  /** The seat. */
  room?: Room;
}

/** A client of one server, with a seat in at most one room at a time. */
export class Client {
  /** What it has done so far. */
  readonly stats: Stats = newStats();
  readonly #options: ClientOptions;
  readonly #timers: Timers;
  readonly #emitter = new Emitter<ClientEvents>((error) => this.#report(error));
  readonly #serverClock = new ServerClock();
  readonly #connector: Connector;
  readonly #pulse: Pulse;
  readonly #unwatch: Unsubscribe;
  #wish: Wish | undefined;
  /** Whose seat was asked for over this connection and is not answered yet, or is given back. */
  #asked: Wish | undefined;
  /** The member that it is if it gets the seat it had before. */
  #resumes: number | undefined;
  #isCongested = false;
  /** A handler of errors may throw, too. */
  #isReporting = false;

  /** @internal */
  constructor(address: Address, options: ClientOptions) {
    this.#options = options;
    this.#timers = options.timers ?? platformTimers;
    this.#connector = new Connector(address, options, this.#timers, {
      state: (now, before) => this.#emitter.emit("state", now, before),
      opened: () => this.#opened(),
      message: (bytes) => this.#handleMessage(bytes),
      dropped: () => this.#dropped(),
      lost: () => this.#emitter.emit("lost"),
      restored: () => this.#emitter.emit("restored"),
      closed: (error) => this.#closed(error),
    });
    this.#pulse = new Pulse(this.#timers, this.#serverClock, {
      ping: (clientUs) => this.#send(encodeClient("Ping", { clientUs })),
      report: (hidden) => this.#sendReport(hidden),
      beat: () => this.#beat(),
      dead: () => this.#connector.drop(),
    });
    this.#unwatch = watchPage({
      seen: () => this.#pulse.look(),
      gone: (isKept) => this.#leavePage(isKept),
      back: () => this.#connector.thaw(),
      online: (isOnline) => (isOnline ? this.#connector.thaw() : this.#pulse.probe()),
    });
    this.#connector.connect();
  }

  /** Where it is. */
  get state(): ConnectionState {
    return this.#connector.state;
  }

  /** When waiting for the next try: its time, on the clock of `performance.now()`. */
  get retryAtMs(): number | undefined {
    return this.#connector.retryAtMs;
  }

  /** The room it has a seat in, also while its connection is broken. */
  get room(): Room | undefined {
    const room = this.#wish?.room;
    return room?.status === "left" ? undefined : room;
  }

  /** Bytes that wait in the socket. */
  get bufferedBytes(): number {
    return this.#connector.bufferedBytes;
  }

  /** Calls `handler` whenever this happens. */
  on<E extends keyof ClientEvents>(event: E, handler: ClientEvents[E]): Unsubscribe {
    return this.#emitter.on(event, handler);
  }

  /**
   * Takes a seat in a room, which is made when it is not there. Resolves when its state is there.
   * Rejects with a refusal code, `"AlreadyJoined"` while this client has a seat.
   */
  join<S extends Shape = AnyShape>(
    type: string | RoomType<S>,
    options: JoinOptions = {},
  ): Promise<Room<S>> {
    return this.#ask(options.mode ? "Join" : "JoinOrCreate", type, options);
  }

  /** Makes a room and takes a seat in it. Rejects with `"RoomExists"` if it is there. */
  create<S extends Shape = AnyShape>(
    type: string | RoomType<S>,
    options: JoinOptions = {},
  ): Promise<Room<S>> {
    return this.#ask("Create", type, options);
  }

  /** Watches a room that is there. */
  spectate<S extends Shape = AnyShape>(
    type: string | RoomType<S>,
    options: JoinOptions & { room: string },
  ): Promise<Room<S>> {
    return this.#ask("Spectate", type, options);
  }

  /** Gives the seat back and ends the connection for good. */
  close(): void {
    this.#connector.close(new TickloomError("Closed", "closed by the client", 0, 1000));
  }

  /** Cuts the connection, as a bad line would; the client comes back by itself. For tests. */
  drop(): void {
    this.#connector.drop();
  }

  /** Tries now, when it waits. */
  reconnect(): void {
    this.#connector.connect();
  }

  #ask<S extends Shape>(
    kind: Wish["kind"],
    type: string | RoomType<S>,
    options: JoinOptions,
  ): Promise<Room<S>> {
    let wish: Wish | undefined;
    const forget = () => {
      if (wish && this.#wish === wish) {
        this.#wish = undefined;
      }
    };
    const start = (resolve: (room: Room<S>) => void, reject: (error: unknown) => void) => {
      if (this.state === "closed") {
        throw new TickloomError("Closed", "this client is closed");
      }
      if (this.room || (this.#wish && !this.#wish.room)) {
        throw new TickloomError("AlreadyJoined", "a client has a seat in one room at a time");
      }
      const named = (typeof type === "string" ? { name: type, needs: [] } : type) as RoomType;
      wish = { kind, type: named, options, resolve: resolve as (room: never) => void, reject };
      this.#wish = wish;
      this.#askForSeat();
    };
    return bounded(this.#timers, options, start, forget);
  }

  /** Asks for the seat that is wanted: the one from before, or another. */
  #askForSeat(): void {
    const wish = this.#wish;
    if (!wish || this.#asked || this.state !== "open" || wish.room?.status === "left") {
      return;
    }
    this.#asked = wish;
    const { type, options, kind } = wish;
    const before = wish.room;
    const kept = before || !options.remember ? undefined : takeTicket(type.name, options);
    // Whoever made the room comes back to it.
    const mode = before && kind === "Create" ? 0 : MODES[kind];
    const { name = "", password, seat, metadata, filter } = options;
    const ticket = before ? before._ticket : kept?.ticket;
    this.#resumes = ticket?.member;
    this.#send(
      encodeClient("Join", {
        roomType: type.name,
        room: before?.name ?? kept?.room ?? options.room ?? "",
        name,
        mode,
        spectate: kind === "Spectate",
        options: options.options && bytesOf(options.options),
        password,
        seat: typeof seat === "string" ? bytesOfHex(seat) : seat,
        metadata: metadata && encodeProperties(metadata),
        filter: filter && encodeProperties(filter),
        resume: ticket,
      }),
    );
  }

  #opened(): void {
    this.stats.connections += 1;
    this.#pulse.start();
    this.#askForSeat();
  }

  #dropped(): void {
    this.#asked = undefined;
    this.#pulse.stop();
    this.room?._dropped();
  }

  #closed(error: TickloomError): void {
    this.#pulse.stop();
    this.#unwatch();
    const wish = this.#wish;
    this.room?._left("Closed", error.message);
    wish?.reject(error);
    this.#emitter.emit("closed", error);
  }

  #handleMessage(bytes: Uint8Array): void {
    this.stats.bytesIn += bytes.length;
    this.stats.messagesIn += 1;
    this.#pulse.heard();
    let message: ServerMessage | undefined;
    try {
      message = decodeServer(bytes);
    } catch (error) {
      this.#connector.close(new TickloomError("Closed", `malformed: ${error}`, 0, 1007));
      return;
    }
    this.#handle(message);
  }

  #handle(message: ServerMessage | undefined): void {
    switch (message?.kind) {
      case "Delta":
        this.room?._delta(message);
        break;
      case "TimeSync":
        this.#serverClock.handleSync(this.#timers.nowUs(), message);
        this.room?._timeSync(message);
        break;
      case "Accepted":
        this.room?._accepted(message);
        break;
      case "Joined":
        this.#handleJoined(message);
        break;
      case "Refused":
        this.#handleRefused(message);
        break;
      case "Left":
        this.#handleLeft(leaveReason[message.reason]!, message.message);
        break;
      case "GoAway":
        this.#connector.backoff.hint(message.retryMs);
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
    this.#connector.backoff.succeeded(this.#timers.nowUs());
    const { room, type, options } = wish;
    const isSame = joined.member === this.#resumes;
    this.stats.resumed += +isSame;
    this.stats.recovered += +(isSame && joined.recovered);
    if (!room) {
      const made = new Room(this.#line(), type.name, options.room ?? "", joined, () =>
        wish.resolve(made),
      );
      wish.room = made;
      warnOfMissing(made.schema, type);
    } else if (!room._rejoined(joined, isSame)) {
      room._left("RoomEnded", "the room is made of something else now: join again");
      this.#giveBack();
      return;
    }
    this.#pulse.look();
  }

  /** Nobody wants the seat any more. */
  #giveBack(): void {
    this.#asked ??= this.#wish;
    this.#send(encodeClient("Leave", {}));
  }

  #handleRefused(refused: Refused): void {
    const code = refusalCode[refused.code]!;
    const error = new TickloomError(code, refused.message, refused.retryMs);
    const wish = this.#asked;
    if (refused.op || !wish) {
      this.room?._refused(refused, error);
      return;
    }
    this.#asked = undefined;
    if (!wish.room) {
      wish.reject(error);
    } else if (error.retryMs) {
      this.#timers.set(() => this.#askForSeat(), error.retryMs);
    } else {
      wish.room._left("Refused", error.message);
    }
    this.#askForSeat();
  }

  #handleLeft(reason: LeaveReason, message: string): void {
    this.#asked = undefined;
    this.room?._left(reason, message);
    this.#askForSeat();
  }

  #leavePage(isKept: boolean): void {
    const room = this.room;
    if (isKept) {
      this.#connector.freeze();
    } else if (room?.status === "joined") {
      const { type, options } = this.#wish!;
      const ticket = options.remember && room._ticket;
      // Otherwise the others would see somebody who is away until the grace is over.
      ticket
        ? keepTicket(type.name, options, room.name, ticket)
        : this.#send(encodeClient("Leave", {}));
    }
  }

  #beat(): void {
    const isCongested = !this.#isUncongested;
    if (isCongested !== this.#isCongested) {
      this.#isCongested = isCongested;
      this.#emitter.emit("congested", isCongested);
    }
  }

  #sendReport(hidden: boolean): void {
    const room = this.room;
    if (room?.status === "joined") {
      this.#send(encodeClient("Report", { appliedTick: room.tick, hidden }));
    }
  }

  #send(bytes: Uint8Array): void {
    this.stats.bytesOut += bytes.length;
    this.stats.messagesOut += 1;
    this.#connector.send(bytes);
  }

  #line() {
    const client = this;
    const { compileRows = true, verify, offlineBytesMax = 65_536 } = this.#options;
    return {
      timers: this.#timers,
      report: (error: unknown) => this.#report(error),
      stats: this.stats,
      serverClock: this.#serverClock,
      compileRows,
      verify,
      offlineBytesMax,
      get isSeated() {
        return client.state === "open";
      },
      get isReady() {
        return client.state === "open" && client.#isUncongested;
      },
      send: (bytes: Uint8Array) => this.#send(bytes),
      giveUp: (error: TickloomError) => this.#connector.close(error),
    };
  }

  get #isUncongested(): boolean {
    return this.bufferedBytes <= (this.#options.bufferedBytesMax ?? 65_536);
  }

  #report(error: unknown): void {
    this.stats.handlerErrors += 1;
    if (this.#isReporting || !this.#emitter.has("error")) {
      throwLater(error);
      return;
    }
    this.#isReporting = true;
    this.#emitter.emit("error", error);
    this.#isReporting = false;
  }
}
