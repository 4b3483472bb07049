/** Takes back what it was returned for: a handler, a subscription. */
export type Unsubscribe = () => void;

/** Says that a handler has thrown, without stopping whoever called it. */
export type Report = (error: unknown) => void;

/** Throws in a task of its own, as browsers do for listeners: nothing here stops for it. */
export const throwLater: Report = (error) => {
  setTimeout(() => {
    throw error;
  });
};

/** Functions that want to be told, in the order they came. */
export class Handlers<A extends unknown[]> {
  #list: ((...args: A) => void)[] = [];
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  get size(): number {
    return this.#list.length;
  }

  /** Handlers may come and go while others are called: the list is replaced, not changed. */
  add(handler: (...args: A) => void): Unsubscribe {
    const entry = (...args: A) => handler(...args);
    this.#list = [...this.#list, entry];
    return () => {
      this.#list = this.#list.filter((other) => other !== entry);
    };
  }

  call(...args: A): void {
    for (const handler of this.#list) {
      try {
        handler(...args);
      } catch (error) {
        this.#report(error);
      }
    }
  }
}

/** Handlers by the name of what happens. `E` maps each name to the handler's type. */
export class Emitter<E extends { [K in keyof E]: (...args: never[]) => void }> {
  readonly #handlers = new Map<keyof E, Handlers<unknown[]>>();
  readonly #report: Report;

  constructor(report: Report) {
    this.#report = report;
  }

  on<K extends keyof E>(event: K, handler: E[K]): Unsubscribe {
    let handlers = this.#handlers.get(event);
    if (!handlers) {
      handlers = new Handlers(this.#report);
      this.#handlers.set(event, handlers);
    }
    return handlers.add(handler as unknown as (...args: unknown[]) => void);
  }

  /** Whether anybody wants to be told of this. */
  has(event: keyof E): boolean {
    return !!this.#handlers.get(event)?.size;
  }

  emit<K extends keyof E>(event: K, ...args: Parameters<E[K]>): void {
    this.#handlers.get(event)?.call(...args);
  }
}
