import { TickloomError } from "./errors.js";
import type { Timers } from "./timers.js";
import type { Accepted } from "./wire.gen.js";

/** How long to wait for an answer. */
export interface AskOptions {
  /** Milliseconds until the promise rejects with `"Timeout"`; 10,000 unless said. */
  timeoutMs?: number;
  /** Rejects with its reason when it aborts. What was sent may still happen. */
  signal?: AbortSignal;
}

interface Question {
  resolve(accepted: Accepted): void;
  reject(error: unknown): void;
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
  giveUp: () => void = () => {},
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
      giveUp();
      reject(error);
    };
    signal?.addEventListener("abort", abort);
    start((value) => {
      stop();
      resolve(value);
    }, fail);
  });
  promise.catch(() => {});
  return promise;
}

/** What was asked of the server and not answered yet, by its number. */
export class Asking {
  readonly #questions = new Map<number, Question>();
  #lastOp = 0;

  nextOp(): number {
    this.#lastOp += 1;
    return this.#lastOp;
  }

  wait(op: number, question: Question): void {
    this.#questions.set(op, question);
  }

  accept(accepted: Accepted): void {
    this.#take(accepted.op)?.resolve(accepted);
  }

  refuse(op: number, error: TickloomError): void {
    this.#take(op)?.reject(error);
  }

  /** Nothing of this will be answered any more, but those that are kept. */
  giveUp(error: TickloomError, isKept: (op: number) => boolean): number[] {
    const over = [...this.#questions.keys()].filter((op) => !isKept(op));
    for (const op of over) {
      this.refuse(op, error);
    }
    return over;
  }

  #take(op: number): Question | undefined {
    const question = this.#questions.get(op);
    this.#questions.delete(op);
    return question;
  }
}
