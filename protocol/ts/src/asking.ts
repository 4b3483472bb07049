import type { Client } from "./client.js";
import { TickloomError } from "./errors.js";
import { type ClientKind, encodeClient } from "./messages.js";
import type { Room } from "./room.js";
import type { Timers } from "./timers.js";
import type { Accepted, ClientMessages } from "./wire.gen.js";

/** How long to wait for an answer. */
export interface AskOptions {
  /** Milliseconds until the promise rejects with `"Timeout"`; 10,000 unless said. */
  timeoutMs?: number;
  /** Rejects with its reason when it aborts. What was sent may still happen. */
  signal?: AbortSignal;
}

/** What is said of whatever nobody will answer any more. */
export const GONE = "the seat is gone";

/** Somebody who waits for an answer. */
export interface Question {
  resolve(accepted: Accepted): void;
  reject(error: unknown): void;
}

/** What was said or asked while there was no connection. */
interface Unsent {
  readonly op: number;
  readonly bytes: Uint8Array;
  /** Whether it means the same in a seat that begins anew: words do, writes may not. */
  readonly isForAnySeat: boolean;
}

/**
 * A promise that ends by itself when its time is over or its signal aborts; `giveUp` is called
 * before every rejection. It counts as handled: who does not wait for an answer is not told of its
 * rejection as an error that nobody caught.
 */
export function bounded<T>(
  timers: Timers,
  { timeoutMs = 10_000, signal }: AskOptions,
  start: (resolve: (value: T) => void, reject: (error: unknown) => void) => void,
  giveUp?: () => void,
): Promise<T> {
  const promise = new Promise<T>((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => fail(signal?.reason);
    const timer = timers.set(
      () => fail(new TickloomError("Timeout", `no answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    const stop = () => {
      timers.clear(timer);
      signal?.removeEventListener("abort", abort);
    };
    const fail = (error: unknown) => {
      stop();
      giveUp?.();
      reject(error);
    };
    signal?.addEventListener("abort", abort);
    try {
      start((value) => {
        stop();
        resolve(value);
      }, fail);
    } catch (error) {
      fail(error);
    }
  });
  promise.catch(() => {});
  return promise;
}

/** What is said and asked in a room: sent, or kept while there is no connection, and answered. */
export class Asking {
  readonly #room: Room;
  readonly #client: Client;
  readonly #questions = new Map<number, Question>();
  #unsent: Unsent[] = [];
  #lastOp = 0;

  constructor(room: Room) {
    this.#room = room;
    this.#client = room._client;
  }

  /** The first question that was not sent. */
  get unsentOp(): number | undefined {
    return this.#unsent.find(({ op }) => op)?.op;
  }

  /**
   * Sends or keeps a message about the seat. Returns its number, 0 for one that nobody waits for;
   * undefined when there is no place for it.
   */
  say<K extends ClientKind>(
    kind: K,
    fields: ClientMessages[K],
    question?: Question,
  ): number | undefined {
    const { stats, _options } = this.#client;
    const op = question ? this.#lastOp + 1 : 0;
    const bytes = encodeClient(kind, { ...fields, op });
    if (this.#room._isSeated) {
      this.#client._sendBytes(bytes);
    } else {
      const after = stats.offlineBytes + bytes.length;
      if (this.#room.status === "left" || after > (_options.offlineBytesMax ?? 65_536)) {
        return undefined;
      }
      stats.offlineBytes = after;
      this.#unsent.push({ op, bytes, isForAnySeat: kind === "Publish" });
    }
    if (question) {
      this.#lastOp = op;
      this.#questions.set(op, question);
    }
    return op;
  }

  /** Takes out who waits for this answer. */
  take(op: number): Question | undefined {
    const question = this.#questions.get(op);
    this.#questions.delete(op);
    return question;
  }

  /** Nobody waits any more: what was not sent need not be. Says whether it was not. */
  forget(op: number): boolean {
    this.take(op);
    const index = this.#unsent.findIndex((unsent) => unsent.op === op);
    for (const { bytes } of index < 0 ? [] : this.#unsent.splice(index, 1)) {
      this.#client.stats.offlineBytes -= bytes.length;
    }
    return index >= 0;
  }

  /** There is a seat again: sends what was kept, in another seat only what is for any. */
  resume(isSame: boolean): void {
    for (const { op, bytes, isForAnySeat } of this.#takeUnsent()) {
      if (isSame || isForAnySeat) {
        this.#client._sendBytes(bytes);
      } else {
        this.take(op)?.reject(new TickloomError("Left", GONE));
      }
    }
  }

  /** What was sent will not be answered any more. */
  drop(error: TickloomError): void {
    for (const [op, { reject }] of this.#questions) {
      if (!this.#unsent.some((unsent) => unsent.op === op)) {
        this.#questions.delete(op);
        reject(error);
      }
    }
  }

  /** Nothing will be answered any more. */
  stop(error: TickloomError): void {
    this.#takeUnsent();
    this.drop(error);
  }

  #takeUnsent(): Unsent[] {
    const unsent = this.#unsent;
    this.#unsent = [];
    this.#client.stats.offlineBytes = 0;
    return unsent;
  }
}
