/** Takes back what it was returned for: a handler, a subscription. */
export type Unsubscribe = () => void;

/** Says that a handler has thrown, without stopping whoever called it. */
export type Report = (error: unknown) => void;

type Handler = (first?: unknown, second?: unknown) => void;

/** Throws in a task of its own, as browsers do for listeners: nothing here stops for it. */
export const throwLater: Report = (error) => {
  setTimeout(() => {
    throw error;
  });
};

/**
 * Handlers by what they want to be told of. `E` maps each of these to the handler's type; they are
 * told of at most two things at once, so that telling allocates nothing.
 */
export class Emitter<E extends { [K in keyof E]: (...args: never[]) => void }> {
  readonly #lists = new Map<keyof E, Handler[]>();
  readonly #report: Report;

  constructor(report: Report = throwLater) {
    this.#report = report;
  }

  /** Handlers may come and go while others are called: the list is replaced, not changed. */
  on<K extends keyof E>(event: K, handler: E[K]): Unsubscribe {
    const entry: Handler = (first, second) => handler(first as never, second as never);
    this.#lists.set(event, [...this.list(event), entry]);
    return () => {
      this.#lists.set(
        event,
        this.list(event).filter((other) => other !== entry),
      );
    };
  }

  /** Nothing will happen any more. */
  clear(): void {
    this.#lists.clear();
  }

  /** Who wants to be told of this now. */
  list(event: keyof E): readonly Handler[] {
    return this.#lists.get(event) ?? [];
  }

  emit<K extends keyof E>(
    event: K,
    first?: Parameters<E[K]>[0],
    second?: Parameters<E[K]>[1],
  ): void {
    for (const handler of this.list(event)) {
      this.call(handler, first, second);
    }
  }

  /** Tells one handler. What it throws is reported and stops nobody. */
  call<A, B>(handler: (first: A, second: B) => void, first: A, second: B): void {
    try {
      handler(first, second);
    } catch (error) {
      this.#report(error);
    }
  }
}
